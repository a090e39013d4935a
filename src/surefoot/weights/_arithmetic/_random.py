"""Floating-point types as bytes, their one rounding, and random numbers that depend on nothing but their key."""

import hashlib

import numpy as np
from numpy.typing import NDArray


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
