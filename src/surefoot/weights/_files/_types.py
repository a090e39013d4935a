"""Types of tensors by their names in safetensors: their widths, their bytes as numbers, and their one rounding."""

from collections.abc import Sequence
from math import isfinite
from typing import Any

import numpy as np
from numpy.typing import NDArray

from surefoot.core import SurefootError

BYTES = {
    "F64": 8, "F32": 4, "F16": 2, "BF16": 2,
    "I64": 8, "I32": 4, "I16": 2, "I8": 1,
    "U64": 8, "U32": 4, "U16": 2, "U8": 1,
    "BOOL": 1, "F8_E4M3": 1, "F8_E5M2": 1, "F8_E8M0": 1, "C64": 8,
}  # fmt: skip


FLOATS = ("BF16", "F16", "F32", "F64")


FLOAT_NAMES = {"bfloat16": "BF16", "float16": "F16", "float32": "F32", "float64": "F64"}


Bytes = NDArray[np.uint8]


Floats = NDArray[Any]  # float32 or float64


_NUMPY = {"F16": np.float16, "F32": np.float32, "F64": np.float64}


WRAPPERS = ("_orig_mod.", "_fsdp_wrapped_module.", "_checkpoint_wrapped_module.")  # in names, by torch


def check_name(label: str, name: Any) -> None:
    """Raise SurefootError for the name of a tensor that no safetensors file can hold."""
    said = f"{label}: Tensors are named by text, not by {repr(name)[:80]}"
    if not isinstance(name, str) or name == "__metadata__":
        raise SurefootError(f"{said}.")
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:
        raise SurefootError(f"{said}, which holds half a character; rename it where it was made.") from None


def promoted(types: Sequence[str]) -> str:
    """The type of floats that holds all of these: of two different types 32 bits, or 64 where one of them has 64."""
    return types[0] if len(set(types)) == 1 else "F64" if "F64" in types else "F32"


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
