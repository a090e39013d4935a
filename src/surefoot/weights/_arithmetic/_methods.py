"""Merge methods: functions of a `ChunkReader` and of the parameters in their signatures that return a `ChunkMerge`.

A parameter annotated `PerModel` has one value for each tuned input; any other is one value for the tensor. The function
may stream statistics of the whole tensor first; its kernel then works on chunks, element by element.
"""

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import combinations
from typing import Any

import numpy as np

from surefoot.core import SurefootError
from surefoot.weights._arithmetic._chunks import Chunk, ChunkReader
from surefoot.weights._arithmetic._kernel import Edit
from surefoot.weights._arithmetic._merging import ChunkMerge, Method, PerModel, as_computed, stepped, times
from surefoot.weights._arithmetic._selection import nth_values
from surefoot.weights._arithmetic._sparse import breadcrumbs, dare, della, della_linear, sce, ties
from surefoot.weights._files._types import Floats


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
                back = times(back, coefficient)
            total = back if total is None else np.add(total, back, out=total)
        return np.zeros_like(chunk.base) if total is None else total

    def finish(chunk: Chunk, back: Floats, weight: float) -> Floats:
        if pair is not None and 0.5 < weight <= 1 and chunk.raw[pair + 1] is not None:
            return stepped(chunk.tuned(pair), back, 1 - weight)
        step = times(back, weight)
        step += 0.0  # no step, of either sign, leaves the base its sign
        return np.subtract(chunk.base, step, out=step)

    def copy(weight: float) -> int | None:
        if weight == 0 or not terms:
            return 0
        return pair + 1 if pair is not None and weight == 1 else None

    return ChunkMerge(compute, finish, copy, gain=common, fused=Edit(terms=terms, mixed=mixed, pair=pair))


def _combined(inputs: ChunkReader, shares: Sequence[float], *, from_base: bool, fixed: bool = True) -> ChunkMerge:
    # The sum of shares times the changes from the base, or times the inputs themselves.
    if from_base:
        return edit(inputs, terms=[(share, index, None) for index, share in enumerate(shares)])

    def compute(chunk: Chunk) -> Floats:
        total = times(chunk.base, shares[0])
        for index, share in enumerate(shares[1:]):
            total += times(chunk.tuned(index), share)
        return total

    return ChunkMerge(compute, as_computed, fixed=fixed, linear=False)


def linear(inputs: ChunkReader, *, weight: PerModel, base_weight: float = 0.0, normalize: bool = True) -> ChunkMerge:
    """Weighted mean of all inputs (model soups, arXiv 2203.05482); a weighted sum without `normalize`."""
    total = base_weight + sum(weight)
    if normalize and abs(total) < 1e-8:
        said = f"linear weights {[base_weight, *weight]} sum to zero"
        raise SurefootError(f"Tensor {inputs.name!r}: {said}; normalize: false?")
    if normalize:
        return _combined(inputs, [one / total for one in weight], from_base=True)
    return _combined(inputs, [base_weight, *weight], from_base=False, fixed=False)


def passthrough(inputs: ChunkReader, *, scale: float | None = None) -> ChunkMerge:
    """The one input as it is, or times `scale`."""
    factor = 1.0 if scale is None else scale
    made = _combined(inputs, [factor], from_base=False, fixed=False)
    return replace(made, copy=lambda _: 0 if factor == 1 else None)


def _arc(gram: np.ndarray, t: float, straight: float, least: float) -> tuple[float, float]:
    # Shares of two vectors at t of the arc between their directions; of the chord where they are nearly parallel.
    lengths = [length if length > least else 1.0 for length in np.sqrt(np.diag(gram))]
    cosine = float(gram[0, 1] / (lengths[0] * lengths[1]))
    if abs(cosine) > straight:
        return 1 - t, t
    angle = np.arccos(np.clip(cosine, -1, 1))
    return float(np.sin((1 - t) * angle) / np.sin(angle)), float(np.sin(t * angle) / np.sin(angle))


def slerp(inputs: ChunkReader, *, t: float) -> ChunkMerge:
    """Interpolate along the arc between base and tuned, each tensor one vector (Shoemake 1985).

    Nearly parallel pairs (|cosine| > 0.9995) are interpolated along the chord.
    """
    _exactly(inputs, 1, "slerp")
    made = _combined(inputs, _arc(inputs.gram(whole=True), t, 0.9995, 1e-8), from_base=False)
    return replace(made, copy=lambda _: {0.0: 0, 1.0: 1}.get(t))


def nuslerp(inputs: ChunkReader, *, weight: PerModel, has_base: bool = True) -> ChunkMerge:
    """Interpolate two inputs, or their deltas from a base, along the arc; t is the share of the second weight."""
    _exactly(inputs, 2 if has_base else 1, "nuslerp")
    total = sum(weight)
    t = 0.5 if abs(total) < 1e-6 else weight[-1] / total
    return _combined(inputs, _arc(inputs.gram(whole=not has_base), t, 1 - 1e-16, 0.0), from_base=has_base)


def agreed(inputs: ChunkReader) -> ChunkMerge:
    """The value that all inputs share. Raises SurefootError where they differ."""

    def compute(chunk: Chunk) -> Floats:
        raise SurefootError(f"Tensor {inputs.name!r}, which the base lacks, differs between the checkpoints.")

    return ChunkMerge(compute, as_computed, linear=False)


def _exactly(inputs: ChunkReader, count: int, method: str) -> None:
    if inputs.count != count:
        where = "beside base_model" if count == 2 else "with base_model counted"
        raise SurefootError(f"The method {method} needs two models {where}, not {inputs.count + 2 - count}.")


# The means on a sphere lie in the span of their inputs: a Gram matrix, read in one pass, is all that they need.


def multislerp(
    inputs: ChunkReader, *, weight: PerModel, has_base: bool = True, normalize_weights: bool = True, eps: float = 1e-8
) -> ChunkMerge:
    """Weighted mean of directions, of inputs or of their deltas from a base, in the tangent space at their mean.

    The length is the weighted mean of the lengths. Raises SurefootError where more than two directions cancel out.
    """
    if len(weight) == 1:
        return edit(inputs, terms=[(1.0, 0, None)]) if has_base else passthrough(inputs)
    shares = np.array(weight)
    if normalize_weights and abs(shares.sum()) < 1e-8:
        raise SurefootError(f"Tensor {inputs.name!r}: multislerp weights {list(weight)} sum to zero.")
    shares = shares / shares.sum() if normalize_weights else shares
    gram = inputs.gram(whole=not has_base)
    lengths = np.sqrt(np.diag(gram))
    units = gram / np.outer(lengths + eps, lengths + eps)
    size = _size(shares, units)
    if size < eps and len(shares) > 2:
        raise SurefootError(f"Tensor {inputs.name!r}: multislerp directions cancel out; take other weights.")
    if size >= eps:
        mean = shares / size
        tangent = shares - mean * (shares @ units @ mean)
        angle = _size(tangent, units) + eps
        along = np.cos(angle) * mean + np.sin(angle) / angle * tangent
        shares = along * (lengths @ shares) / (lengths + eps)
    return _combined(inputs, shares.tolist(), from_base=has_base, fixed=normalize_weights)


def karcher(inputs: ChunkReader, *, max_iter: float = 10, tol: float = 1e-5) -> ChunkMerge:
    """Mean of the directions of all inputs on the sphere (Karcher 1977), with the mean of their lengths."""
    gram = inputs.gram(whole=True)
    lengths = np.sqrt(np.diag(gram))
    inside = lengths > tol
    shares = np.zeros(len(lengths))
    if inside.any():
        own = lengths[inside]
        directions = _sphere_mean(gram[np.ix_(inside, inside)] / np.outer(own, own), int(max_iter), tol)
        shares[inside] = directions / own * lengths.mean()
    return _combined(inputs, shares.tolist(), from_base=False) if len(lengths) > 1 else passthrough(inputs)


def _sphere_mean(units: np.ndarray, iterations: int, tolerance: float) -> np.ndarray:
    # Shares of the units whose inner products are given; each step goes along the mean of the ways to them.
    count = len(units)
    shares = np.full(count, 1 / count)
    size = _size(shares, units)
    shares = shares / size if size >= tolerance else np.eye(count)[0]
    for _ in range(iterations):
        cosines = np.clip(units @ shares, -1, 1)
        angles = np.arccos(cosines)
        pulls = np.divide(angles, np.sin(angles), out=np.zeros(count), where=angles >= tolerance) / count
        step = pulls - shares * (pulls @ cosines)
        size = _size(step, units)
        if size < tolerance:
            break
        shares = np.cos(size) * shares + np.sin(size) / size * step
        shares /= max(_size(shares, units), tolerance)
    return shares


def _size(shares: np.ndarray, units: np.ndarray) -> float:
    return float(np.sqrt(max(shares @ units @ shares, 0.0)))


def nearswap(inputs: ChunkReader, *, t: float) -> ChunkMerge:
    """Each element goes to the tuned value by the share `t` over its distance: all the way where that is at most t."""
    _exactly(inputs, 1, "nearswap")

    def compute(chunk: Chunk) -> Floats:
        delta = chunk.delta(0)
        share = np.clip(t / np.maximum(np.abs(delta), 1e-6), 0, 1).astype(delta.dtype)
        return np.where(share == 1, chunk.tuned(0), chunk.base + share * delta)

    return ChunkMerge(compute, as_computed, copy=lambda _: 0 if t <= 0 else None, linear=False)


def arcee_fusion(inputs: ChunkReader) -> ChunkMerge:
    """The tuned values of the elements that matter most, the base's of the others.

    How much an element matters is its change times the divergence (Kullback and Leibler) of the softmax of its row (the
    last axis) from the base's; from the median plus 1.5 times the range between the quartiles on it is taken.
    """
    _exactly(inputs, 1, "arcee_fusion")
    width = inputs.shape[-1] if inputs.shape else 1
    aligned = replace(inputs, chunk=width * max(1, inputs.chunk // max(width, 1)))
    rows = np.concatenate([np.zeros(0), *(_divergences(chunk, width) for chunk in aligned.chunks())])

    def matters(chunk: Chunk) -> Floats:
        places = (chunk.start + np.arange(chunk.count)) // width
        return (np.abs(chunk.delta(0)) * rows[places]).astype(np.float32)

    ranks = [int(share * (inputs.size - 1)) for share in (0.25, 0.5, 0.75)]
    low, median, high = nth_values(inputs, matters, ranks)
    bound = median + np.float32(1.5) * (high - low)
    return ChunkMerge(
        lambda chunk: np.where(matters(chunk) >= bound, chunk.tuned(0), chunk.base), as_computed, linear=False
    )


def _divergences(chunk: Chunk, width: int) -> np.ndarray:
    def softmax(values: Floats) -> np.ndarray:
        rows = values.astype(np.float64).reshape(-1, width)
        powers = np.exp(rows - rows.max(axis=1, keepdims=True))
        return powers / powers.sum(axis=1, keepdims=True) + 1e-8

    tuned, base = softmax(chunk.tuned(0)), softmax(chunk.base)
    return (tuned * np.log(tuned / base)).sum(axis=1)


def model_stock(inputs: ChunkReader) -> ChunkMerge:
    """Between base and average, where the angle between the tuned models says (arXiv 2403.19522, equation 3).

    t = N cos / (1 + (N - 1) cos) with the mean cosine over pairs; where that is singular the base is kept.
    """
    if inputs.count < 2:
        raise SurefootError("The method model_stock needs at least two models beside the base.")
    gram = inputs.gram()
    norms = np.sqrt(np.diag(gram))
    cosines = [gram[i, j] / max(norms[i] * norms[j], 1e-6) for i, j in combinations(range(inputs.count), 2)]
    cosine = float(np.mean(np.clip(cosines, -1, 1)))
    denominator = 1 + (inputs.count - 1) * cosine
    t = 0.0 if abs(denominator) < 1e-6 else inputs.count * cosine / denominator
    return _combined(inputs, [t / inputs.count] * inputs.count, from_base=True)


def task_arithmetic(
    inputs: ChunkReader, *, weight: PerModel, scale: float = 1.0, normalize: bool = False
) -> ChunkMerge:
    """Base plus the weighted sum of task vectors (arXiv 2212.04089)."""
    total = sum(weight) if normalize and abs(sum(weight)) >= 1e-8 else 1.0
    return edit(inputs, terms=[(scale * one / total, index, None) for index, one in enumerate(weight)])


METHODS: Mapping[str, Method] = {
    "linear": linear, "slerp": slerp, "nuslerp": nuslerp, "multislerp": multislerp, "karcher": karcher,
    "task_arithmetic": task_arithmetic, "ties": ties, "dare_linear": partial(dare, elect=False),
    "dare_ties": partial(dare, elect=True), "breadcrumbs": partial(breadcrumbs, elect=False),
    "breadcrumbs_ties": partial(breadcrumbs, elect=True), "della": della, "della_linear": della_linear, "sce": sce,
    "model_stock": model_stock, "nearswap": nearswap, "arcee_fusion": arcee_fusion, "passthrough": passthrough,
}  # fmt: skip


def parameters(method: Method) -> Mapping[str, tuple[bool, Any]]:
    """What a method needs, from its signature: name -> (one value for each model?, default or `Parameter.empty`)."""
    found = list(inspect.signature(method).parameters.values())[1:]
    bound = getattr(method, "keywords", {})
    return {one.name: (one.annotation is PerModel, one.default) for one in found if one.name not in bound}
