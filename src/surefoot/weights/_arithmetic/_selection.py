"""The n-th largest change of a tensor, exact and in bounded memory: by the kernel, or in numpy."""

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

from surefoot.weights._arithmetic import _kernel
from surefoot.weights._arithmetic._chunks import Chunk, ChunkReader
from surefoot.weights._files._types import Floats

SMALL = 1 << 22  # elements of a tensor up to which a threshold is selected from all of it at once
_DIGIT = 16


def magnitude_bits(values: Floats) -> np.ndarray:
    return np.abs(values).view(f"u{values.itemsize}")


def nth_magnitudes(inputs: ChunkReader, ranks: Sequence[Sequence[int]]) -> Sequence[Sequence[np.floating]]:
    """For each tuned input, the sizes of delta at these ranks of ascending order, exact, in bounded memory."""
    if not inputs.size:
        return [[np.float32(0)] * len(some) for some in ranks]
    found = _kernel.magnitudes(inputs, ranks)
    return found or [nth_values(inputs, partial(_delta, index), some) for index, some in enumerate(ranks)]


def _delta(index: int, chunk: Chunk) -> Floats:
    return chunk.delta(index)


def nth_values(inputs: ChunkReader, values: Callable[[Chunk], Floats], ranks: Sequence[int]) -> list[np.floating]:
    """The sizes of what `values` gives for all chunks at these ranks of ascending order, exact, of the same type."""
    if not ranks:
        return []
    if inputs.size > SMALL:
        return [_nth(inputs, values, rank) for rank in ranks]
    bits = np.concatenate([magnitude_bits(values(chunk)) for chunk in inputs.chunks()])
    return [*_floats(np.partition(bits, list(ranks))[list(ranks)])]


def _nth(inputs: ChunkReader, values: Callable[[Chunk], Floats], rank: int) -> np.floating:
    # Radix selection: the bits of non-negative floats sort as their values do. 16 bits a pass.
    kind = magnitude_bits(values(next(inputs.chunks()))).dtype
    prefix, remaining = 0, rank
    for shift in range(8 * kind.itemsize - _DIGIT, -1, -_DIGIT):
        counts = np.zeros(1 << _DIGIT, np.int64)
        for chunk in inputs.chunks():
            high = magnitude_bits(values(chunk)) >> kind.type(shift)
            counts += np.bincount(
                high[high >> kind.type(_DIGIT) == prefix].astype(np.int64) & 0xFFFF, minlength=1 << _DIGIT
            )
        below = np.cumsum(counts)
        digit = int(np.searchsorted(below, remaining, side="right"))
        remaining -= int(below[digit - 1]) if digit else 0
        prefix = (prefix << _DIGIT) | digit
    return _floats(np.array([prefix], kind))[0]


def _floats(bits: np.ndarray) -> np.ndarray:
    return bits.view(f"f{bits.itemsize}")
