"""Sparse merges: each tuned input's change is thinned, then the changes are summed, or agree on a sign first."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from surefoot.core import SurefootError
from surefoot.weights._arithmetic._chunks import Chunk, ChunkReader, wide_dot
from surefoot.weights._arithmetic._kernel import Thinned, Thinning
from surefoot.weights._arithmetic._merging import ChunkMerge, PerModel
from surefoot.weights._arithmetic._selection import nth_magnitudes, nth_values
from surefoot.weights._files._types import Floats

Thin = Callable[[Chunk, int, Floats], Floats]


def _combine(
    inputs: ChunkReader, how: Sequence[Thinning] | Thin, *, weight: PerModel, scale: float, normalize: bool, elect: bool
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


def dare(
    inputs: ChunkReader,
    *,
    elect: bool,
    weight: PerModel,
    density: PerModel,
    scale: float = 1.0,
    normalize: bool = False,
    rescale: bool = True,
    seed: int = 0,
) -> ChunkMerge:
    """DARE (arXiv 2311.03099): drop entries of each task vector at random, divide the rest by the density, and add.

    With `elect` the signs are elected as in TIES.
    """
    how = [Thinning(share=share, divisor=share if rescale and 0 < share < 1 else 1.0, seed=seed) for share in density]
    return _combine(inputs, how, weight=weight, scale=scale, normalize=normalize, elect=elect)


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
    elect: bool,
    weight: PerModel,
    density: PerModel,
    gamma: PerModel,
    scale: float = 1.0,
    normalize: bool = False,
) -> ChunkMerge:
    """Model breadcrumbs (arXiv 2312.06795): drop the `gamma` largest entries and, down to `density`, the smallest.

    With `elect` the signs are elected as in TIES.
    """
    how = _band(inputs, density, gamma)
    return _combine(inputs, how, weight=weight, scale=scale, normalize=normalize, elect=elect)


def _ranked(density: PerModel, epsilon: PerModel, rescale: bool, seed: int) -> Thin:
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

    return thin


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
    how = _ranked(density, epsilon, rescale, seed)
    return _combine(inputs, how, weight=weight, scale=scale, normalize=normalize, elect=True)


def della_linear(
    inputs: ChunkReader,
    *,
    weight: PerModel,
    density: PerModel,
    epsilon: PerModel,
    scale: float = 1.0,
    normalize: bool = False,
    rescale: bool = True,
    seed: int = 0,
) -> ChunkMerge:
    """DELLA (arXiv 2406.11617) without the election: what is kept is added."""
    how = _ranked(density, epsilon, rescale, seed)
    return _combine(inputs, how, weight=weight, scale=scale, normalize=normalize, elect=False)


def sce(inputs: ChunkReader, *, select_topk: float = 1.0) -> ChunkMerge:
    """SCE (arXiv 2408.07990): select where the models differ most, weight each by its energy there, erase by sign.

    Of the elements with a variance over the models the share `select_topk` with the largest is kept. The weight of a
    model is the share of the squares of its changes; below 1e-6 in all, which says nothing, all weigh the same.
    """

    def variance(chunk: Chunk) -> Floats:
        return np.var([chunk.delta(index) for index in range(inputs.count)], axis=0, dtype=np.float64).astype(
            np.float32
        )

    bound = np.float32(0)
    if select_topk < 1 and inputs.count:
        kept = int(int(inputs.total(lambda chunk: np.count_nonzero(variance(chunk)))) * select_topk)
        bound = nth_values(inputs, variance, [inputs.size - kept])[0] if kept else np.float32(np.inf)

    def selected(chunk: Chunk) -> list[Floats]:
        mask = variance(chunk) >= bound if bound else np.ones(chunk.count, np.bool_)
        return [chunk.delta(index) * mask for index in range(inputs.count)]

    energies = inputs.total(lambda chunk: [wide_dot(one, one) for one in selected(chunk)]) / max(inputs.size, 1)
    energies = np.broadcast_to(energies, inputs.count)
    even = np.full(inputs.count, 1 / max(inputs.count, 1))
    weights = (energies / energies.sum() if energies.sum() >= 1e-6 else even).astype(inputs.accumulate)

    def compute(chunk: Chunk) -> Floats:
        parts = selected(chunk)
        total = sum(parts, np.zeros_like(chunk.base))
        merged, divisor = _elected([part * one for part, one in zip(parts, weights, strict=True)], weights, total)
        return merged / np.maximum(divisor, inputs.accumulate(1e-6))

    return ChunkMerge(compute)
