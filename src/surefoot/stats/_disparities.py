"""The worst group, and differences and ratios between groups, with bounds that hold whichever are the extremes."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtr

from surefoot.stats._arrays import places, verdicts
from surefoot.stats._groups import GroupMetrics, checked_weights
from surefoot.stats._intervals import Interval, clopper_pearson_bounds
from surefoot.stats._paired import share_difference

Floats = NDArray[np.float64]
Combine = Callable[[tuple[Floats, Floats, Floats], tuple[Floats, Floats, Floats]], tuple[Floats, Floats]]

DISPARITIES: Mapping[str, tuple[str, ...]] = {
    "accuracy_disparity": ("accuracy",),
    "demographic_parity": ("selection_rate",),
    "equal_opportunity": ("true_positive_rate",),
    "equalised_odds": ("true_positive_rate", "false_positive_rate"),
}
"""The rates that each disparity compares between groups; of two, the larger difference counts."""
_BALANCED = ("true_positive_rate", "false_positive_rate")
_MOST_TUKEY = 100
"""From more groups on Bonferroni's bound stands for the studentised range, which it exceeds by two percent there."""


@dataclass(frozen=True, kw_only=True)
class WorstGroup:
    """The lowest value of a rate over the kept groups: (C,) values, their bounds, and the index of the group."""

    value: Floats
    low: Floats
    high: Floats
    group: NDArray[np.intp]
    n: NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class Disparity:
    """How far groups are apart: (C,) values with their bounds; NaN where fewer than two groups can be compared."""

    value: Floats
    low: Floats
    high: Floats


def compared(metrics: GroupMetrics, name: str) -> NDArray[np.bool_]:
    """Which groups have at least `least` rows behind this rate (of balanced accuracy: of both labels), (C, G)."""
    if name == "balanced_accuracy":
        return np.logical_and(*(compared(metrics, part) for part in _BALANCED))
    return (metrics.rates[name].rows[:, :-1] >= metrics.least) & metrics.kept


def rate_bounds(metrics: GroupMetrics, name: str, *, level: float = 0.95) -> tuple[Floats, Floats]:
    """Exact bounds (C, G + 1) of a rate in each group and, last, over all rows; 0 and 1 where it has no rows.

    Clopper and Pearson's of a share; with weights, of a share of the effective rows. Those of `balanced_accuracy` join
    its two rates (the method of variance estimates recovery: Zou and Donner 2008, Statistics in Medicine 27).
    """
    if name != "balanced_accuracy":
        rate = metrics.rates[name]
        n = np.where(rate.effective > 0, rate.effective, 1.0)
        low, high = clopper_pearson_bounds(np.clip(np.nan_to_num(rate.value) * n, 0, n), n, level=level)
        return np.where(rate.effective > 0, low, 0.0), np.where(rate.effective > 0, high, 1.0)
    right, wrong = (metrics.rates[part].value for part in _BALANCED)
    (low, high), (under, over) = (rate_bounds(metrics, part, level=level) for part in _BALANCED)
    middle = (right + 1 - wrong) / 2
    below = middle - np.hypot(right - low, over - wrong) / 2
    above = middle + np.hypot(high - right, wrong - under) / 2
    return np.fmax(np.nan_to_num(below), 0.0), np.fmin(np.nan_to_num(above, nan=1.0), 1.0)


def worst_group(metrics: GroupMetrics, name: str = "accuracy", *, level: float = 0.95) -> WorstGroup:
    """The lowest value of a rate (or of `balanced_accuracy`) over the groups that can be compared in it.

    The bounds hold whichever group is the worst. The upper one is the lowest of the groups' upper bounds, each at
    (1 - level) / 2 / G (Bonferroni). The lower one needs no correction: the lowest of the groups' lower bounds is above
    the lowest value only if that of the group with this value is. NaN when no group is large enough.
    """
    there = compared(metrics, name) & np.isfinite(metrics.by_group[name])
    count = max(int(there.sum(axis=1).max()), 1)
    value = np.where(there, metrics.by_group[name], np.inf)
    low = rate_bounds(metrics, name, level=level)[0][:, :-1]
    high = rate_bounds(metrics, name, level=1 - (1 - level) / count)[1][:, :-1]
    known = there.any(axis=1)
    found = (np.where(there, each, np.inf).min(axis=1) for each in (value, low, high))
    shown = dict(zip(("value", "low", "high"), (np.where(known, each, np.nan) for each in found), strict=True))
    place = value.argmin(axis=1)
    return WorstGroup(**shown, group=np.where(known, place, -1), n=np.where(known, metrics.n[place], 0))


def worst_loss(metrics: GroupMetrics, name: str) -> Floats:
    """The highest value over the kept groups of one of `LOSSES`: (C,), NaN when no group is large enough."""
    values = metrics.by_group[name][:, metrics.kept]
    return values.max(axis=1) if values.shape[1] else np.full(len(values), np.nan)


def disparities(metrics: GroupMetrics) -> dict[str, Floats]:
    """Largest minus smallest over the groups that can be compared, each (C,): one value a name of `DISPARITIES`.

    `demographic_parity` is of selection rates, `equal_opportunity` of true positive rates, `equalised_odds` the larger
    of the differences of true and of false positive rates. A group counts for a rate when it has `least` rows of it;
    NaN when fewer than two do, in either rate of two. A maximum less a minimum of noisy numbers is above zero even
    where groups are alike: `disparity_bounds` says by how much at least they differ.
    """
    spread = {name: _spread(metrics, name) for names in DISPARITIES.values() for name in names}
    return {title: np.maximum.reduce([spread[name] for name in names]) for title, names in DISPARITIES.items()}


def disparity_bounds(metrics: GroupMetrics, title: str, *, level: float = 0.95) -> Disparity:
    """One of `disparities` with bounds that hold whichever two groups are the extremes, and when all are alike.

    Each pair's difference has the bounds of its two exact intervals (Newcombe 1998, Statistics in Medicine 17, method
    10, with exact intervals). The lower bound is the highest of the pairs' lower ones, all at once at the critical
    value of the studentised range (Tukey and Kramer); the upper one is the highest of their upper ones, each alone at
    (1 - level) / 2: it fails only when that of the pair that is the furthest apart does.
    """
    names = DISPARITIES[title]
    parts = [_extreme(metrics, name, _difference, (level, len(names)), highest=True) for name in names]
    return Disparity(
        value=disparities(metrics)[title],
        low=np.maximum.reduce([low for low, _ in parts]),
        high=np.maximum.reduce([high for _, high in parts]),
    )


def ratio_bounds(metrics: GroupMetrics, title: str, *, level: float = 0.95) -> Disparity:
    """Smallest divided by largest, 0 to 1, of the rates of one of `disparities` (of two, the smaller ratio counts).

    The four-fifths rule asks that of selection rates to be at least 0.8. Bounds as those of differences, by the pairs'
    ratios (Donner and Zou 2012, Statistical Methods in Medical Research 21). NaN where the largest rate is 0.
    """
    names = DISPARITIES[title]
    parts = [_extreme(metrics, name, _ratio, (level, len(names)), highest=False) for name in names]
    values = []
    for name in names:
        smallest, largest = _ends(metrics, name)
        values.append(np.where(largest > 0, smallest / np.where(largest > 0, largest, 1.0), np.nan))
    value = np.minimum.reduce(values)
    low, high = (np.minimum.reduce([part[place] for part in parts]) for place in (0, 1))
    return Disparity(value=value, low=np.minimum(low, value), high=np.maximum(high, value))


def worst_group_difference(
    first: ArrayLike, second: ArrayLike, codes: ArrayLike, *, weights: ArrayLike | None = None, level: float = 0.95
) -> Interval:
    """Lowest share over the groups of one classifier minus that of another on the same rows.

    `first` and `second` (n,) say which rows each gets right, `codes` (n,) the groups, all of which count. The bounds
    hold whichever groups are the worst. The difference is the lowest over groups g of the first, of the highest over
    groups h of the second, of p_g - q_h; so its bounds are those of the pairs (g, h), each at 1 - (1 - level) / G
    (Bonferroni): Tango's within a group, where rows are paired, and those of `disparity_bounds` between groups. With
    `weights` (n,) rows count as the effective ones of their group.
    """
    right = np.stack([verdicts(first), verdicts(second)])
    heavy = np.ones(right.shape[1]) if weights is None else checked_weights(weights, right[0])
    code = places(codes)[1]
    total, squares = np.bincount(code, heavy), np.bincount(code, heavy**2)
    n = total**2 / squares
    each = 1 - (1 - level) / len(n)
    share = np.clip([np.bincount(code, heavy * row) / total for row in right], 0, 1)
    low, high = clopper_pearson_bounds(share * n, np.broadcast_to(n, share.shape), level=each)
    (p, under, over), (q, below, above) = ((share[place], low[place], high[place]) for place in (0, 1))
    lows, highs = _difference((p[:, None], under[:, None], over[:, None]), (q, below, above))
    only = [np.bincount(code, heavy * (right[place] & ~right[1 - place])) / total * n for place in (0, 1)]
    for group, counts in enumerate(zip(*only, n, strict=True)):
        paired = share_difference(*counts, level=each)
        lows[group, group], highs[group, group] = paired.low, paired.high
    value = float(share[0].min() - share[1].min())
    return Interval(value, float(lows.max(axis=1).min()), float(highs.min(axis=0).max()), level=level)


def disparity_difference(
    first: ArrayLike, second: ArrayLike, codes: ArrayLike, *, weights: ArrayLike | None = None, level: float = 0.95
) -> Interval:
    """How far groups are apart (highest minus lowest share) under one classifier minus another; see above.

    The difference of the highest shares minus that of the lowest, each with `worst_group_difference`'s bounds.
    """
    one, other = verdicts(first), verdicts(second)
    lowest = worst_group_difference(one, other, codes, weights=weights, level=level)
    highest = worst_group_difference(~other, ~one, codes, weights=weights, level=level)
    value = highest.estimate - lowest.estimate
    below = np.hypot(highest.estimate - highest.low, lowest.high - lowest.estimate)
    above = np.hypot(highest.high - highest.estimate, lowest.estimate - lowest.low)
    return Interval(value, max(float(value - below), -1.0), min(float(value + above), 1.0), level=level)


def _spread(metrics: GroupMetrics, name: str) -> Floats:
    low, high = _ends(metrics, name)
    return high - low


def _ends(metrics: GroupMetrics, name: str) -> tuple[Floats, Floats]:
    """The smallest and the largest value over the groups that can be compared; NaN when there are fewer than two."""
    there, value = compared(metrics, name), metrics.by_group[name]
    enough = there.sum(axis=1) >= 2
    low = np.where(there, value, np.inf).min(axis=1, initial=np.inf)
    high = np.where(there, value, -np.inf).max(axis=1, initial=-np.inf)
    return np.where(enough, low, np.nan), np.where(enough, high, np.nan)


def _extreme(
    metrics: GroupMetrics, name: str, combine: Combine, levels: tuple[float, int], *, highest: bool
) -> tuple[Floats, Floats]:
    """Bounds (C,) of the highest difference or lowest ratio over all ordered pairs of groups, inside 0 to 1.

    `levels` is the level and how many rates share it.
    """
    there, value = compared(metrics, name), metrics.by_group[name]
    count, (level, shared) = int(there.sum(axis=1).max(initial=0)), levels
    alone = [bound[:, :-1] for bound in rate_bounds(metrics, name, level=level)]
    together = [
        bound[:, :-1] for bound in rate_bounds(metrics, name, level=_one_at_once((1 - level) / 2 / shared, count))
    ]
    sure, unsure = (alone, together)[::-1] if highest else (alone, together)
    lows, highs = np.full(len(value), np.nan), np.full(len(value), np.nan)
    best = np.fmax if highest else np.fmin
    for first in range(value.shape[1]):
        pair = there & there[:, [first]]
        pair[:, first] = False
        for place, (found, (low, high)) in enumerate(((lows, sure), (highs, unsure))):
            one = (value[:, [first]], low[:, [first]], high[:, [first]])
            bound = np.where(pair, combine(one, (value, low, high))[place], np.nan)
            found[:] = best(found, best.reduce(bound, axis=1))
    return np.clip(lows, 0.0, 1.0), np.clip(highs, 0.0, 1.0)


@lru_cache(maxsize=256)
def _one_at_once(tail: float, groups: int) -> float:
    """The level of single intervals at which all differences between groups are inside at once, but for `tail`."""
    from scipy.stats import studentized_range

    if groups < 2:
        return 1 - tail
    if groups > _MOST_TUKEY:
        return 1 - tail / (groups * (groups - 1) / 2)
    return float(1 - 2 * ndtr(-studentized_range.ppf(1 - tail, groups, np.inf) / 2**0.5))


def _difference(first: tuple[Floats, Floats, Floats], second: tuple[Floats, Floats, Floats]) -> tuple[Floats, Floats]:
    """Bounds of first minus second, from the value and the bounds of each."""
    (p, low, high), (q, under, over) = first, second
    return p - q - np.hypot(p - low, over - q), p - q + np.hypot(high - p, q - under)


def _ratio(first: tuple[Floats, Floats, Floats], second: tuple[Floats, Floats, Floats]) -> tuple[Floats, Floats]:
    """Bounds of first divided by second, from the value and the bounds of each; infinite where the second may be 0."""
    (p, low, high), (q, under, over) = first, second
    with np.errstate(divide="ignore", invalid="ignore"):
        inner = (p * q) ** 2 - low * over * (2 * p - low) * (2 * q - over)
        lower = low * (2 * p - low) / (p * q + np.sqrt(np.maximum(inner, 0.0)))
        inner = (p * q) ** 2 - high * under * (2 * p - high) * (2 * q - under)
        upper = (p * q + np.sqrt(np.maximum(inner, 0.0))) / (under * (2 * q - under))
    return np.where(low > 0, lower, 0.0), np.where(under > 0, upper, np.inf)
