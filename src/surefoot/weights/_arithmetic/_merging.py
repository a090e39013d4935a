"""What a merge method gives back: work on one chunk of a tensor, and how it is finished for each coefficient."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from surefoot.weights._arithmetic._chunks import Chunk
from surefoot.weights._arithmetic._kernel import Fused
from surefoot.weights._files._types import Floats

PerModel = Sequence[float]


def _add(chunk: Chunk, change: Floats, scale: float) -> Floats:
    return stepped(chunk.base, change, scale)


def times(values: Floats, weight: float) -> Floats:
    # 0.3 has no exact 32-bit value, and neighbours of a half-way point would round the wrong way by its error: the
    # product is taken with the nearest 32-bit value and with the rest, as if the weight had 48 bits.
    near = values.dtype.type(weight)
    product = values * near
    if rest := values.dtype.type(weight - float(near)):
        product += values * rest
    return product


def stepped(base: Floats, change: Floats, scale: float) -> Floats:
    # Where the change is zero, of either sign, the result has the very bits of the base, even of -0: x - (+0) is x.
    negated = times(change, -scale)
    negated += 0.0
    return np.subtract(base, negated, out=negated)


def as_computed(chunk: Chunk, value: Floats, scale: float) -> Floats:
    return value


def _never(scale: float) -> int | None:
    return None


@dataclass(frozen=True)
class ChunkMerge:
    """Work on one chunk: `compute` once, `finish` for each coefficient that is asked for, times `gain`.

    `copy` names the input (0 the base) whose bytes are the result at a coefficient. `fixed` says that equal inputs give
    themselves, so that untouched chunks are copied. `linear` says that the result is the base plus or minus the
    coefficient times what was computed. `fused` says the same work in the terms of the compiled kernel, when it can be
    said in them.
    """

    compute: Callable[[Chunk], Floats]
    finish: Callable[[Chunk, Floats, float], Floats] = _add
    copy: Callable[[float], int | None] = _never
    fixed: bool = True
    linear: bool = True
    gain: float = 1.0
    fused: Fused | None = None


Method = Callable[..., ChunkMerge]
