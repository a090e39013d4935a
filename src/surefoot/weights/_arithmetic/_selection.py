"""The n-th largest change of a tensor, exact and in bounded memory: by the kernel, or in numpy."""

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

from surefoot.weights._arithmetic import _kernel
from surefoot.weights._arithmetic._chunks import Chunk, ChunkReader
from surefoot.weights._files._types import Floats

SMALL = 1 << 22  # elements of a tensor up to which a threshold is selected from all of it at once


def magnitude_bits(values: Floats) -> np.ndarray:
    return np.abs(values).astype(np.float32, copy=False).view(np.uint32)


def nth_magnitudes(inputs: ChunkReader, ranks: Sequence[Sequence[int]]) -> list[list[np.float32]]:
    """For each tuned input, the sizes of delta at these ranks of ascending order, exact, in bounded memory."""
    if not inputs.size:
        return [[np.float32(0)] * len(some) for some in ranks]
    found = _kernel.magnitudes(inputs, ranks)
    return found or [nth_values(inputs, partial(_delta, index), some) for index, some in enumerate(ranks)]


def _delta(index: int, chunk: Chunk) -> Floats:
    return chunk.delta(index)


def nth_values(inputs: ChunkReader, values: Callable[[Chunk], Floats], ranks: Sequence[int]) -> list[np.float32]:
    """The sizes of what `values` gives for all chunks at these ranks of ascending order, as 32-bit numbers."""
    if not ranks:
        return []
    if inputs.size > SMALL:
        return [_nth(inputs, values, rank) for rank in ranks]
    bits = np.concatenate([magnitude_bits(values(chunk)) for chunk in inputs.chunks()])
    return list(np.partition(bits, list(ranks))[list(ranks)].view(np.float32))


def _nth(inputs: ChunkReader, values: Callable[[Chunk], Floats], rank: int) -> np.float32:
    # Radix selection: the bits of non-negative floats sort as their values do. 12, 12 and 8 bits a pass.
    prefix, remaining = 0, rank
    for shift, width in ((20, 12), (8, 12), (0, 8)):
        counts = np.zeros(1 << width, np.int64)
        for chunk in inputs.chunks():
            bits = magnitude_bits(values(chunk))
            if shift != 20:
                bits = bits[(bits >> np.uint32(shift + width)) == prefix]
            counts += np.bincount((bits >> np.uint32(shift)) & ((1 << width) - 1), minlength=1 << width)
        below = np.cumsum(counts)
        digit = int(np.searchsorted(below, remaining, side="right"))
        remaining -= int(below[digit - 1]) if digit else 0
        prefix = (prefix << width) | digit
    return np.array([prefix], np.uint32).view(np.float32)[0]
