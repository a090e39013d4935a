"""Floating-point types as bytes, their one rounding, and random numbers that depend on nothing but their key."""

import hashlib
from math import isfinite
from typing import Any

import numpy as np
from numpy.typing import NDArray

Bytes = NDArray[np.uint8]
Floats = NDArray[Any]  # float32 or float64

_NUMPY = {"F16": np.float16, "F32": np.float32, "F64": np.float64}


def decode(raw: Bytes, dtype: str, out: Floats) -> Floats:
    """Write the values of `raw` (BF16, F16, F32 or F64) into `out`, exactly when `out` is at least as wide."""
    if dtype == "BF16" and out.dtype == np.float32:
        _widen(raw, out.view(np.uint32))
        return out
    narrow = np.empty(out.size, np.float32) if dtype == "BF16" else raw.view(_NUMPY[dtype])
    with np.errstate(all="ignore"):
        np.copyto(out, decode(raw, dtype, narrow) if dtype == "BF16" else narrow, casting="same_kind")
    return out


def _widen(raw: Bytes, out: NDArray[np.uint32]) -> None:
    out[:] = raw.view(np.uint16)
    np.left_shift(out, 16, out=out)


def encode(values: Floats, dtype: str) -> tuple[Bytes, Floats]:
    """Round `values` once, to nearest and ties to even, into BF16, F16, F32 or F64: the bytes, and the rounded values.

    Overflow becomes infinity, a NaN stays a NaN. Values of 64 bits reach BF16 through round-to-odd, so that there is
    no double rounding.
    """
    if dtype != "BF16":
        with np.errstate(all="ignore"):
            rounded = values.astype(_NUMPY[dtype], copy=False)
        return rounded.view(np.uint8), rounded
    single = values if values.dtype == np.float32 else _round_to_odd(values)
    bits = single.view(np.uint32)
    wide = np.right_shift(bits, 16)
    np.bitwise_and(wide, 1, out=wide)
    np.add(wide, bits, out=wide)
    np.add(wide, 0x7FFF, out=wide)
    np.bitwise_and(wide, 0xFFFF0000, out=wide)
    with np.errstate(all="ignore"):
        total = float(np.add.reduce(single))
    if not isfinite(total):  # the carry may have turned a NaN into a number
        missing = np.isnan(single)
        wide[missing] = bits[missing] & 0xFFFF0000 | 0x400000
    return np.right_shift(wide, 16).astype(np.uint16).view(np.uint8), wide.view(np.float32)


def _round_to_odd(values: Floats) -> NDArray[np.float32]:
    # Truncate towards zero, then set the last bit where something was lost: a later rounding to fewer bits is exact.
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        single = values.astype(np.float32)
        back = single.astype(np.float64)
    bits = single.view(np.uint32)
    bits -= (np.abs(back) > np.abs(values)).astype(np.uint32)
    bits |= ((back != values) & ~np.isnan(values)).astype(np.uint32)
    return single


def stream_key(seed: int, tensor: str, model: str) -> tuple[int, int]:
    """Two 32-bit keys of the random stream of one tensor of one model."""
    text = f"{seed}\0{tensor}\0{model}".encode()
    digest = hashlib.blake2b(text, digest_size=8).digest()
    return int.from_bytes(digest[:4], "little"), int.from_bytes(digest[4:], "little")


def random_bits(key: tuple[int, int], start: int, count: int) -> NDArray[np.uint32]:
    """Uniform 32-bit numbers for the elements `start` to `start + count` of a stream.

    Counter-based (Salmon et al. 2011): element i depends on the key and i alone, never on what was drawn before, so a
    mask is the same for any chunk, thread, order or machine. The mixer is two rounds of a bijective 32-bit integer hash
    (two multiplications and three xor-shifts a round) with a key between them.
    """
    boundary = (start >> 32) + 1 << 32
    if start + count > boundary:
        first = random_bits(key, start, boundary - start)
        return np.concatenate([first, random_bits(key, boundary, start + count - boundary)])
    values = np.arange(count, dtype=np.uint32)
    values += np.uint32((start + key[0] + (start >> 32) * 0x9E3779B9) & 0xFFFFFFFF)
    _mix(values)
    values ^= np.uint32(key[1])
    _mix(values)
    return values


def _mix(values: NDArray[np.uint32]) -> None:
    shifted = np.right_shift(values, 16)
    values ^= shifted
    np.multiply(values, np.uint32(0x21F0AAAD), out=values)
    np.right_shift(values, 15, out=shifted)
    values ^= shifted
    np.multiply(values, np.uint32(0xD35A2D97), out=values)
    np.right_shift(values, 15, out=shifted)
    values ^= shifted


def keep_mask(key: tuple[int, int], start: int, count: int, probability: float) -> NDArray[np.bool_]:
    """True for about `probability` of the elements (resolution 2^-32)."""
    if probability >= 1:
        return np.ones(count, np.bool_)
    return random_bits(key, start, count) < np.uint32(int(probability * 2**32))
