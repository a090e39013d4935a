"""Checkpoints made of seeded numbers, and an oracle that rounds exactly."""

from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path

import numpy as np

from surefoot.weights._files._safetensors import header_bytes

WIDTHS = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2}


def raw(values: np.ndarray, dtype: str) -> np.ndarray:
    """Bytes of 64-bit values in a type, by exact rounding of each."""
    if dtype == "BF16":
        return np.array([bfloat16(value) for value in values.reshape(-1).tolist()], np.uint16).view(np.uint8)
    kinds = {"F64": np.float64, "F32": np.float32, "F16": np.float16, "I64": np.int64, "U8": np.uint8}
    return np.ascontiguousarray(values.astype(kinds[dtype])).reshape(-1).view(np.uint8)


def bfloat16(value: float) -> int:
    """Nearest bfloat16, ties to even, found by comparing exact fractions with the two neighbours."""
    single = np.float32(value)
    low = int(single.view(np.uint32)) >> 16
    if not np.isfinite(single):
        return low | (0x40 if np.isnan(single) else 0)
    candidates = [one for one in (low - 1, low, low + 1) if 0 <= one <= 0xFFFF]
    exact = Fraction(value)
    if exact == 0:
        return low

    def distance(bits: int) -> tuple[Fraction, int]:
        there = np.array([bits << 16], np.uint32).view(np.float32)[0]
        gap = Fraction(2**200) if not np.isfinite(there) else abs(Fraction(float(there)) - exact)
        return gap, bits & 1

    return min(candidates, key=distance)


def write(path: Path, tensors: Mapping[str, tuple[str, np.ndarray]], metadata: Mapping[str, str] | None = None) -> Path:
    """Write a safetensors file: name -> (type, 64-bit values)."""
    layout = {name: (dtype, values.shape) for name, (dtype, values) in tensors.items()}
    body = b"".join(raw(values, dtype).tobytes() for dtype, values in tensors.values())
    path.write_bytes(header_bytes(layout, metadata or {}) + body)
    return path


def model(
    number: int, dtype: str = "F32", *, size: int = 500, frozen: bool = True
) -> dict[str, tuple[str, np.ndarray]]:
    """Model 0 is the base, others are tuned from it, but `head` only if not `frozen`; `steps` is an integer buffer."""
    made: dict[str, tuple[str, np.ndarray]] = {}
    for index, (name, shape) in enumerate(
        (("visual.a", (size // 10, 10)), ("visual.b", (7,)), ("head", (9, 11)), ("scale", ()))
    ):
        values = np.random.default_rng([0, index]).standard_normal(shape) * 0.02
        if number and not (frozen and name == "head"):
            values = values + np.random.default_rng([number, index]).standard_normal(shape) * 0.004
        made[name] = (dtype, np.asarray(values))
    made["steps"] = ("I64", np.array([3, 4]))
    return made


def data(path: Path) -> bytes:
    """The bytes of all tensors of a safetensors file."""
    content = path.read_bytes()
    return content[8 + int.from_bytes(content[:8], "little") :]
