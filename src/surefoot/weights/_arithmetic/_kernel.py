"""The compiled kernel, where it was built: the work of a merge on one chunk in one pass, with the bits of numpy.

`hatch_build.py` compiles `_kernel.c` when the package is built and a C compiler is there. Without it every function
here returns None, and the numpy code does the same work with more time.
"""

import ctypes
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from surefoot.weights._arithmetic._chunks import Chunk, ChunkReader
from surefoot.weights._arithmetic._random import stream_key
from surefoot.weights._files._checkpoint import LowRank, StoredTensor
from surefoot.weights._files._types import BYTES, Bytes

_TYPES = {"BF16": 0, "F16": 1, "F32": 2}
WIDER = 4  # times the chunk of numpy: the kernel has its own blocks, and a call costs as much as a thousand elements
_BLOCK = 1024  # as in the C file
_HIGH, _LOW = 16, 15  # bits of a magnitude that the two passes of a selection look at


@dataclass(frozen=True, kw_only=True)
class Edit:
    """The sum of `coefficient * (tuned - start)`: a term is (coefficient, tuned, start or None for the base).

    Coefficients count when they are `mixed`; else they are the gain of the method. `pair` is the one tuned input of an
    interpolation, which is computed from the nearer end.
    """

    terms: Sequence[tuple[float, int, int | None]]
    mixed: bool
    pair: int | None


@dataclass(frozen=True, kw_only=True)
class Thinning:
    """What is kept of one tuned input's change: magnitudes from `low` to `high`, of them a random `share`, divided."""

    low: float = 0.0
    high: float = float("inf")
    share: float = 1.0
    divisor: float = 1.0
    seed: int = 0


@dataclass(frozen=True, kw_only=True)
class Thinned:
    """The weighted sum of thinned changes, or of those that agree on a sign; over `divisor` with `normalize`."""

    inputs: Sequence[Thinning]
    weights: Sequence[float]
    elect: bool
    normalize: bool
    divisor: float
    scale: float


Fused = Edit | Thinned


@dataclass(frozen=True)
class Made:
    """Bytes of each output, and sums of squares: of the change, and for each output of what rounding took."""

    raw: list[Bytes]
    squares: float
    lost: list[float]


class _Target(ctypes.Structure):
    _fields_ = (
        ("outputs", ctypes.c_int64), ("weights", ctypes.POINTER(ctypes.c_double)),
        ("ends", ctypes.POINTER(ctypes.c_int32)), ("out", ctypes.POINTER(ctypes.c_void_p)),
        ("type", ctypes.c_int64), ("sums", ctypes.c_void_p),
    )  # fmt: skip


class _Thinning(ctypes.Structure):
    _fields_ = (
        *((name, ctypes.c_float) for name in ("low", "high", "divisor", "weight")),
        *((name, ctypes.c_uint32) for name in ("first", "second", "limit", "random")),
    )


def stamp(source: bytes) -> int:
    """What a library compiled from this source says of itself: an old one beside newer code is not used."""
    return zlib.crc32(source)


@cache
def library() -> Any:
    """The compiled kernel, or None where it was not built or was built from another source."""
    here = Path(__file__)
    try:
        found = ctypes.CDLL(str(here.with_name("libsurefoot.so")))
        return found if found.surefoot_stamp() & 0xFFFFFFFF == stamp(here.with_name("_kernel.c").read_bytes()) else None
    except (OSError, AttributeError):
        return None


def engine() -> str:
    """What computes: `the compiled kernel`, or `numpy` where it was not built. The bits are the same."""
    return "numpy" if library() is None else "the compiled kernel"


def widened(chunk: int, fused: Fused | None) -> int:
    """Elements to read at once: more where the kernel does the work than where numpy does."""
    return chunk * WIDER if fused is not None and library() is not None else chunk


def compute(fused: Fused | None, chunk: Chunk, weights: Sequence[float], dtype: str) -> Made | None:
    """The outputs of a chunk at each weight; None where there is no kernel, or it does not know these types or values.

    Infinities and NaN are left to the numpy code, so that there is one place with their rules.
    """
    found = library()
    known = dtype in _TYPES and chunk.inputs.accumulate is np.float32 and all(map(_readable, chunk.inputs.sources))
    if found is None or fused is None or not known:
        return None
    starts = [_start(fused, weight) for weight in weights]
    out = [np.empty(chunk.count * BYTES[dtype], np.uint8) for _ in weights]
    sums = np.zeros(1 + len(out))
    held = (
        _of(ctypes.c_double, (signed for _, signed in starts)),
        _of(ctypes.c_int32, (end for end, _ in starts)),
        _of(ctypes.c_void_p, map(_address, out)),
    )
    target = _Target(len(out), *held, _TYPES[dtype], _address(sums))
    if _edited(found, fused, chunk, target) if isinstance(fused, Edit) else _thinned(found, fused, chunk, target):
        return None
    return Made(out, float(sums[0]), sums[1:].tolist())


def _readable(source: StoredTensor) -> bool:
    return source.dtype in _TYPES and not isinstance(source, LowRank)


def _start(fused: Fused, weight: float) -> tuple[int, float]:
    # The input that the result starts from, and the weight of what is subtracted from it.
    if isinstance(fused, Thinned):
        return 0, -weight
    return (fused.pair + 1, weight - 1) if fused.pair is not None and 0.5 < weight <= 1 else (0, weight)


def _inputs(chunk: Chunk) -> tuple[Any, Any]:
    raw = _of(ctypes.c_void_p, (_address(one) for one in chunk.raw))
    return raw, _of(ctypes.c_int32, (_TYPES[one.dtype] for one in chunk.inputs.sources))


def _of(kind: Any, values: Any) -> Any:
    listed = list(values)
    return (kind * len(listed))(*listed)


def _address(array: Any) -> int:
    return array.__array_interface__["data"][0]


def _edited(found: Any, fused: Edit, chunk: Chunk, target: _Target) -> int:
    raw, types = _inputs(chunk)
    tuned = _of(ctypes.c_int32, (one + 1 for _, one, _ in fused.terms))
    started = _of(ctypes.c_int32, (0 if start is None else start + 1 for _, _, start in fused.terms))
    weights = _of(ctypes.c_double, (weight for weight, _, _ in fused.terms))
    count, terms, mixed = (ctypes.c_int64(one) for one in (chunk.count, len(fused.terms), fused.mixed))
    return found.surefoot_edit(raw, types, count, terms, tuned, started, weights, mixed, ctypes.byref(target))


def _thinned(found: Any, fused: Thinned, chunk: Chunk, target: _Target) -> int:
    raw, types = _inputs(chunk)
    count = len(fused.inputs)
    how = (_Thinning * count)()
    for index, (one, weight) in enumerate(zip(fused.inputs, fused.weights, strict=True)):
        first, second = stream_key(one.seed, chunk.inputs.name, chunk.inputs.labels[index])
        random = one.share < 1
        limit = int(one.share * 2**32) if random else 0
        how[index] = _Thinning(one.low, one.high, one.divisor, weight, first, second, limit, random)
    parts = np.empty(count * _BLOCK, np.float32)
    numbers = (ctypes.c_int64(one) for one in (chunk.count, chunk.start, count))
    return found.surefoot_thinned(
        raw, types, *numbers, how, ctypes.c_int64(fused.elect), ctypes.c_int64(fused.normalize),
        ctypes.c_float(fused.divisor), ctypes.c_float(fused.scale), ctypes.c_void_p(_address(parts)),
        ctypes.byref(target),
    )  # fmt: skip


def magnitudes(inputs: ChunkReader, ranks: Sequence[Sequence[int]]) -> list[list[np.float32]] | None:
    """For each tuned input, the |tuned - base| at each rank of ascending order, exact; two passes over the inputs."""
    if library() is None or inputs.accumulate is not np.float32 or not all(map(_readable, inputs.sources)):
        return None
    wanted = [(index, rank) for index, some in enumerate(ranks) for rank in some]
    firsts = {index: np.zeros(1 << _HIGH, np.int64) for index, _ in wanted}
    _count(inputs, [(index, _LOW, _HIGH, 0, counts) for index, counts in firsts.items()])
    digits = [_digit(firsts[index], rank) for index, rank in wanted]
    seconds = {
        (index, high): np.zeros(1 << _LOW, np.int64) for (index, _), (high, _) in zip(wanted, digits, strict=True)
    }
    _count(inputs, [(index, 0, _LOW, high, counts) for (index, high), counts in seconds.items()])
    found: list[list[np.float32]] = [[] for _ in ranks]
    for (index, _), (high, rest) in zip(wanted, digits, strict=True):
        low, _ = _digit(seconds[index, high], rest)
        found[index].append(np.array([high << _LOW | low], np.uint32).view(np.float32)[0])
    return found


def _count(inputs: ChunkReader, tasks: Sequence[tuple[int, int, int, int, np.ndarray]]) -> None:
    for chunk in replace(inputs, chunk=WIDER * inputs.chunk).chunks() if tasks else ():
        raw, types = _inputs(chunk)
        for index, shift, width, prefix, counts in tasks:
            numbers = (ctypes.c_int64(one) for one in (chunk.count, index + 1, shift, width))
            library().surefoot_count(raw, types, *numbers, ctypes.c_uint32(prefix), ctypes.c_void_p(_address(counts)))


def _digit(counts: np.ndarray, rank: int) -> tuple[int, int]:
    below = np.cumsum(counts)
    digit = int(np.searchsorted(below, rank, side="right"))
    return digit, rank - (int(below[digit - 1]) if digit else 0)
