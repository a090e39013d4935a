"""Merge methods: functions of a `ChunkReader` and of the parameters in their signatures that return a `ChunkMerge`.

A parameter annotated `PerModel` has one value for each tuned input; any other is one value for the tensor. The function
may stream statistics of the whole tensor first; its kernel then works on chunks, element by element.
"""

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np

from surefoot.core import SurefootError
from surefoot.weights._arithmetic._chunks import Chunk, ChunkReader, wide_dot
from surefoot.weights._arithmetic._kernel import Edit, Fused, Thinned, Thinning
from surefoot.weights._arithmetic._selection import nth_magnitudes
from surefoot.weights._files._types import Floats

PerModel = Sequence[float]


def _add(chunk: Chunk, change: Floats, scale: float) -> Floats:
    return _from(chunk.base, change, scale)


def _times(values: Floats, weight: float) -> Floats:
    # 0.3 has no exact 32-bit value, and neighbours of a half-way point would round the wrong way by its error: the
    # product is taken with the nearest 32-bit value and with the rest, as if the weight had 48 bits.
    near = values.dtype.type(weight)
    product = values * near
    rest = values.dtype.type(weight - float(near))
    if rest:
        product += values * rest
    return product


def _from(base: Floats, change: Floats, scale: float) -> Floats:
    # Where the change is zero, of either sign, the result has the very bits of the base, even of -0: x - (+0) is x.
    negated = _times(change, -scale)
    negated += 0.0
    return np.subtract(base, negated, out=negated)


def _value(chunk: Chunk, value: Floats, scale: float) -> Floats:
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


def edit(inputs: ChunkReader, *, terms: Sequence[tuple[float, int, int | None]]) -> ChunkMerge:
    """Sum of c (tuned - start): a term is (c, index of tuned, index of start or None for the base). arXiv 2212.04089.

    One term around the base is an interpolation and is computed from the nearer end, so that coefficients 0 and 1 give
    the bytes of the two ends.
    """
    distinct = {coefficient for coefficient, _, _ in terms}
    common = distinct.pop() if len(distinct) == 1 else 1.0
    mixed = bool(distinct)
    pair = terms[0][1] if len(terms) == 1 and terms[0][2] is None else None

    def compute(chunk: Chunk) -> Floats:
        total: Floats | None = None
        for coefficient, tuned, start in terms:
            back = chunk.retreat(tuned)
            if start is not None:
                back -= chunk.retreat(start)
            if mixed:
                back = _times(back, coefficient)
            total = back if total is None else np.add(total, back, out=total)
        return np.zeros_like(chunk.base) if total is None else total

    def finish(chunk: Chunk, back: Floats, weight: float) -> Floats:
        if pair is not None and 0.5 < weight <= 1 and chunk.raw[pair + 1] is not None:
            return _from(chunk.tuned(pair), back, 1 - weight)
        step = _times(back, weight)
        step += 0.0  # no step, of either sign, leaves the base its sign
        return np.subtract(chunk.base, step, out=step)

    def copy(weight: float) -> int | None:
        if weight == 0 or not terms:
            return 0
        return pair + 1 if pair is not None and weight == 1 else None

    return ChunkMerge(compute, finish, copy, gain=common, fused=Edit(terms=terms, mixed=mixed, pair=pair))


def linear(inputs: ChunkReader, *, weight: PerModel, base_weight: float = 0.0, normalize: bool = True) -> ChunkMerge:
    """Weighted mean of all inputs (model soups, arXiv 2203.05482); a weighted sum without `normalize`.

    Raises SurefootError when the weights to normalise by sum to zero.
    """
    total = base_weight + sum(weight)
    if normalize and abs(total) < 1e-8:
        raise SurefootError(
            f"Tensor {inputs.name!r}: linear weights {[base_weight, *weight]} sum to zero; normalize: false?"
        )
    if normalize:
        return edit(inputs, terms=[(one / total, index, None) for index, one in enumerate(weight)])

    def compute(chunk: Chunk) -> Floats:
        result = _times(chunk.base, base_weight)
        for index, one in enumerate(weight):
            result += _times(chunk.tuned(index), one)
        return result

    return ChunkMerge(compute, _value, fixed=False, linear=False)


def passthrough(inputs: ChunkReader, *, scale: float | None = None) -> ChunkMerge:
    """The one input as it is, or times `scale`."""
    factor = 1.0 if scale is None else scale
    return ChunkMerge(
        lambda chunk: _times(chunk.base, factor),
        _value,
        lambda _: 0 if factor == 1 else None,
        fixed=False,
        linear=False,
    )


def _arc(cosine: float, t: float, straight: float) -> tuple[float, float]:
    if abs(cosine) > straight:
        return 1 - t, t
    angle = np.arccos(np.clip(cosine, -1, 1))
    return float(np.sin((1 - t) * angle) / np.sin(angle)), float(np.sin(t * angle) / np.sin(angle))


def slerp(inputs: ChunkReader, *, t: float) -> ChunkMerge:
    """Interpolate along the arc between base and tuned, each tensor one vector (Shoemake 1985).

    Nearly parallel pairs (|cosine| > 0.9995) are interpolated along the chord.
    """
    _exactly(inputs, 1, "slerp")

    def products(chunk: Chunk) -> np.ndarray:
        one, other = chunk.base, chunk.tuned(0)
        return np.array([wide_dot(one, one), wide_dot(one, other), wide_dot(other, other)])

    first, cross, second = np.broadcast_to(inputs.total(products), 3)
    norms = [norm if norm > 1e-8 else 1.0 for norm in np.sqrt([first, second])]
    here, there = _arc(float(cross / (norms[0] * norms[1])), t, 0.9995)
    ends = {0.0: 0, 1.0: 1}

    def compute(chunk: Chunk) -> Floats:
        return _times(chunk.base, here) + _times(chunk.tuned(0), there)

    return ChunkMerge(compute, _value, lambda _: ends.get(t), linear=False)


def nuslerp(inputs: ChunkReader, *, weight: PerModel, has_base: bool = True) -> ChunkMerge:
    """Interpolate two inputs, or their deltas from a base, along the arc; t is the share of the second weight."""
    _exactly(inputs, 2 if has_base else 1, "nuslerp")
    total = sum(weight)
    t = 0.5 if abs(total) < 1e-6 else weight[-1] / total

    def pair(chunk: Chunk) -> tuple[Floats, Floats]:
        return (chunk.delta(0), chunk.delta(1)) if has_base else (chunk.base, chunk.tuned(0))

    def products(chunk: Chunk) -> np.ndarray:
        one, other = pair(chunk)
        return np.array([wide_dot(one, one), wide_dot(one, other), wide_dot(other, other)])

    first, cross, second = np.broadcast_to(inputs.total(products), 3)
    norms = max(np.sqrt(first), 1e-7) * max(np.sqrt(second), 1e-7)
    here, there = _arc(float(cross / norms), t, 1 - 1e-16)

    def compute(chunk: Chunk) -> Floats:
        one, other = pair(chunk)
        return _times(one, here) + _times(other, there)

    return ChunkMerge(compute) if has_base else ChunkMerge(compute, _value, linear=False)


def _exactly(inputs: ChunkReader, count: int, method: str) -> None:
    if inputs.count != count:
        raise SurefootError(f"The method {method} needs two models, not {inputs.count + 2 - count}.")


def model_stock(inputs: ChunkReader, *, filter_wise: bool = False) -> ChunkMerge:
    """Between base and average, where the angle between the tuned models says (arXiv 2403.19522, equation 3).

    t = N cos / (1 + (N - 1) cos) with the mean cosine over pairs; where that is singular the base is kept.
    """
    if inputs.count < 2:
        raise SurefootError("The method model_stock needs at least two models beside the base.")
    if filter_wise:
        raise SurefootError("The parameter filter_wise of model_stock is not offered; leave it out.")
    gram = np.broadcast_to(inputs.gram(), (inputs.count, inputs.count))
    norms = np.sqrt(np.diag(gram))
    cosines = [gram[i, j] / max(norms[i] * norms[j], 1e-6) for i, j in combinations(range(inputs.count), 2)]
    cosine = float(np.mean(np.clip(cosines, -1, 1)))
    denominator = 1 + (inputs.count - 1) * cosine
    t = 0.0 if abs(denominator) < 1e-6 else inputs.count * cosine / denominator
    return edit(inputs, terms=[(t / inputs.count, index, None) for index in range(inputs.count)])


# Sparse methods: each tuned input's delta is thinned, then the thinned deltas are summed, or agree on a sign first.

Thin = Callable[[Chunk, int, Floats], Floats]


def _combine(
    inputs: ChunkReader,
    how: Sequence[Thinning] | Thin,
    *,
    weight: PerModel,
    scale: float,
    normalize: bool,
    elect: bool,
) -> ChunkMerge:
    thin, weights = (_thin(how) if isinstance(how, Sequence) else how), np.asarray(weight, inputs.accumulate)
    total_weight = weights.sum() if abs(weights.sum()) >= 1e-8 else inputs.accumulate(1)

    def compute(chunk: Chunk) -> Floats:
        parts = [thin(chunk, index, chunk.delta(index)) * weights[index] for index in range(inputs.count)]
        total = parts[0].copy() if parts else np.zeros_like(chunk.base)
        for part in parts[1:]:
            total += part
        divisor: Any = total_weight
        if elect:
            total, divisor = _elected(parts, weights, total)
        if normalize:
            total /= divisor
        return total if scale == 1 else total * inputs.accumulate(scale)

    if not isinstance(how, Sequence):
        return ChunkMerge(compute)
    said: dict[str, Any] = {"elect": elect, "normalize": normalize, "divisor": float(total_weight), "scale": scale}
    return ChunkMerge(compute, fused=Thinned(inputs=how, weights=weight, **said))


def _thin(how: Sequence[Thinning]) -> Thin:
    def thin(chunk: Chunk, index: int, delta: Floats) -> Floats:
        one = how[index]
        if (one.low, one.high) != (0, np.inf):
            magnitude = np.abs(delta)
            delta = delta * ((magnitude >= one.low) & (magnitude <= one.high))
        if one.share < 1:
            delta = delta * chunk.keep(one.seed, index, one.share)
        return delta / chunk.inputs.accumulate(one.divisor) if one.divisor != 1 else delta

    return thin


def _elected(parts: list[Floats], weights: np.ndarray, total: Floats) -> tuple[Floats, Floats]:
    # TIES, steps 2 and 3 (arXiv 2306.01708): the sign of the summed mass wins, and those that agree with it are merged.
    positive = total >= 0
    merged, divisor = np.zeros_like(total), np.zeros_like(total)
    for part, weight in zip(parts, weights, strict=True):
        agrees = np.where(positive, part > 0, part < 0)
        merged += part * agrees
        divisor += weight * agrees
    divisor += divisor == 0
    return merged, divisor


def task_arithmetic(
    inputs: ChunkReader, *, weight: PerModel, scale: float = 1.0, normalize: bool = False
) -> ChunkMerge:
    """Base plus the weighted sum of task vectors (arXiv 2212.04089)."""
    total = sum(weight) if normalize and abs(sum(weight)) >= 1e-8 else 1.0
    return edit(inputs, terms=[(scale * one / total, index, None) for index, one in enumerate(weight)])


def _top(inputs: ChunkReader, density: PerModel) -> list[Thinning]:
    # Trim: the k = density * n largest magnitudes; those equal to the k-th are all kept, in whatever order they come.
    size = inputs.size
    kept = [size if share >= 1 else 0 if share <= 0 else max(1, int(share * size)) for share in density]
    cuts = nth_magnitudes(inputs, [[size - one] if 0 < one < size else [] for one in kept])
    return [
        Thinning(low=float(cut[0]) if cut else 0.0 if one == size else np.inf)
        for one, cut in zip(kept, cuts, strict=True)
    ]


def ties(
    inputs: ChunkReader, *, weight: PerModel, density: PerModel, scale: float = 1.0, normalize: bool = True
) -> ChunkMerge:
    """TIES merging (arXiv 2306.01708): trim each task vector to its largest entries, elect a sign, merge who agrees."""
    how = _top(inputs, density)
    return _combine(inputs, how, weight=weight, scale=scale, normalize=normalize, elect=True)


def _dropped(density: PerModel, seed: int, rescale: bool) -> list[Thinning]:
    return [Thinning(share=share, divisor=share if rescale and 0 < share < 1 else 1.0, seed=seed) for share in density]


def dare_linear(
    inputs: ChunkReader,
    *,
    weight: PerModel,
    density: PerModel,
    scale: float = 1.0,
    normalize: bool = False,
    rescale: bool = True,
    seed: int = 0,
) -> ChunkMerge:
    """DARE (arXiv 2311.03099): drop entries of each task vector at random, divide the rest by the density, and add."""
    how = _dropped(density, seed, rescale)
    return _combine(inputs, how, weight=weight, scale=scale, normalize=normalize, elect=False)


def dare_ties(
    inputs: ChunkReader,
    *,
    weight: PerModel,
    density: PerModel,
    scale: float = 1.0,
    normalize: bool = False,
    rescale: bool = True,
    seed: int = 0,
) -> ChunkMerge:
    """DARE (arXiv 2311.03099) with the sign election of TIES."""
    how = _dropped(density, seed, rescale)
    return _combine(inputs, how, weight=weight, scale=scale, normalize=normalize, elect=True)


def _band(inputs: ChunkReader, density: PerModel, gamma: PerModel) -> list[Thinning]:
    size, ranks, how = inputs.size, list[list[int]](), list[Thinning]()
    for share, outliers in zip(density, gamma, strict=True):
        kept = size if share >= 1 else int(share * size)
        low = max(0, size - kept - int(outliers * size))
        ranks.append([low, low + kept - 1] if 0 < kept < size else [])
        how.append(Thinning() if kept else Thinning(low=np.inf, high=-np.inf))
    bounds = nth_magnitudes(inputs, ranks)
    return [
        Thinning(low=float(bound[0]), high=float(bound[1])) if bound else one
        for one, bound in zip(how, bounds, strict=True)
    ]


def breadcrumbs(
    inputs: ChunkReader,
    *,
    weight: PerModel,
    density: PerModel,
    gamma: PerModel,
    scale: float = 1.0,
    normalize: bool = False,
) -> ChunkMerge:
    """Model breadcrumbs (arXiv 2312.06795): drop the `gamma` largest entries and, down to `density`, the smallest."""
    how = _band(inputs, density, gamma)
    return _combine(inputs, how, weight=weight, scale=scale, normalize=normalize, elect=False)


def della(
    inputs: ChunkReader,
    *,
    weight: PerModel,
    density: PerModel,
    epsilon: PerModel,
    scale: float = 1.0,
    normalize: bool = True,
    rescale: bool = True,
    seed: int = 0,
) -> ChunkMerge:
    """DELLA (arXiv 2406.11617): keep with a probability that rises with the rank in the row, then elect and merge.

    Probabilities run from density - epsilon to density + epsilon over the ranks of a row (first axis against the rest);
    equal magnitudes rank by position. What is kept is divided by its own probability.
    """
    for share, spread in zip(density, epsilon, strict=True):
        if share < 1 and not 0 < share - spread <= share + spread < 1:
            raise SurefootError(
                f"The method della: density {share} plus and minus epsilon {spread} must lie between 0 and 1."
            )

    def thin(chunk: Chunk, index: int, delta: Floats) -> Floats:
        share, spread = density[index], epsilon[index]
        if share >= 1:
            return delta
        probability = (share - spread) + 2 * spread * chunk.ranks(index)
        kept = delta * (chunk.random(seed, index) < probability * 2.0**32)
        return kept / probability.astype(delta.dtype) if rescale else kept

    return _combine(inputs, thin, weight=weight, scale=scale, normalize=normalize, elect=True)


METHODS: Mapping[str, Method] = {
    method.__name__: method
    for method in (
        linear, slerp, nuslerp, task_arithmetic, ties, dare_linear, dare_ties, breadcrumbs, della, model_stock,
        passthrough,
    )
}  # fmt: skip


def parameters(method: Method) -> Mapping[str, tuple[bool, Any]]:
    """What a method needs, from its signature: name -> (one value for each model?, default or `Parameter.empty`)."""
    found = list(inspect.signature(method).parameters.values())[1:]
    return {one.name: (one.annotation is PerModel, one.default) for one in found}
