"""Every group metric of many classifiers in one pass over labels, scores and group codes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from surefoot.stats._intervals import clopper_pearson_bounds

Floats = NDArray[np.float64]
Codes = NDArray[np.intp]

LEAST_ROWS = 20
"""A group with fewer rows is named and left out: the exact 95 percent interval of a share is then 46 points wide."""
CVAR_SHARE = 0.2
OUTLIER_SHARE = 0.005
CALIBRATION_BINS = 10
_CLIP = 1e-7
_BLOCK_SCORES = 131_072

LOSSES = ("cross_entropy", "loss_variance", "cvar", "cvar_doro", "calibration_error")
RATES = ("accuracy", "selection_rate", "true_positive_rate", "false_positive_rate")


@dataclass(frozen=True, kw_only=True)
class GroupMetrics:
    """The metrics of C classifiers, by group and overall.

    `by_group[name]` is (C, G) and `overall[name]` is (C,); names are `RATES` and, for probabilities, `LOSSES`. NaN:
    undefined (no rows, or no positives for a true positive rate). `n` (G,) counts rows. `kept` (G,) says which groups
    have at least `least` rows: worst-group metrics and disparities are over these; `small` names the others.
    """

    groups: tuple[str, ...]
    n: NDArray[np.int64]
    kept: NDArray[np.bool_]
    by_group: Mapping[str, Floats]
    overall: Mapping[str, Floats]

    @property
    def small(self) -> tuple[str, ...]:
        """The groups that have too few rows to say anything, by name."""
        return tuple(name for name, kept in zip(self.groups, self.kept, strict=True) if not kept)


@dataclass(frozen=True, kw_only=True)
class WorstGroup:
    """The lowest accuracy over the kept groups: (C,) values, their bounds, and the index of the group."""

    value: Floats
    low: Floats
    high: Floats
    group: Codes
    n: NDArray[np.int64]


def group_metrics(
    labels: ArrayLike,
    scores: ArrayLike,
    codes: ArrayLike,
    *,
    groups: Sequence[str] | None = None,
    threshold: float = 0.5,
    probabilities: bool = True,
    least: int = LEAST_ROWS,
) -> GroupMetrics:
    """Metrics of one classifier, scores (n,), or of C at once, scores (C, n).

    `labels` (n,) are 0 or 1; `codes` (n,) are group numbers 0 to G - 1; a row is called positive when its score is at
    least `threshold`. With `probabilities` False the scores are decisions and the losses are left out. The losses use
    the binary cross-entropy of a row: its mean, its variance, CVaR at share 0.2, CVaR-DORO at 0.2 with 0.005 outliers
    (Zhai et al. 2021, arXiv 2106.06142), and the expected calibration error in ten equal bins. Raises ValueError when
    the shapes differ, labels are not 0 or 1, or nothing is there.
    """
    truth, values, group = _checked(labels, scores, codes)
    count = int(group.max()) + 1 if groups is None else len(groups)
    if group.max() >= count or group.min() < 0:
        raise ValueError(f"group codes must be from 0 to {count - 1}")
    cell = 2 * group + truth
    order = np.argsort(cell.astype(np.uint8 if count < 128 else np.uint16), kind="stable")
    rows = np.bincount(cell, minlength=2 * count).astype(np.int64).reshape(count, 2)
    known = _Known(truth=truth[order], group=group[order], rows=rows, threshold=threshold, losses=probabilities)
    # A few classifiers at a time: what is computed of them stays in the processor's cache, and memory is bounded.
    step = max(1, _BLOCK_SCORES // len(truth))
    blocks = [_block(known, values[begin : begin + step], order) for begin in range(0, len(values), step)]
    table = {name: np.concatenate([block[name] for block in blocks]) for name in blocks[0]}
    names = tuple(groups) if groups is not None else tuple(map(str, range(count)))
    n = rows.sum(1)
    by_group = {name: found[:, :count] for name, found in table.items()}
    overall = {name: found[:, count] for name, found in table.items()}
    return GroupMetrics(groups=names, n=n, kept=n >= least, by_group=by_group, overall=overall)


@dataclass(frozen=True, kw_only=True)
class _Known:
    """What all classifiers share: labels and groups of the sorted rows, and `rows` (G, 2) by group and label."""

    truth: Codes
    group: Codes
    rows: NDArray[np.int64]
    threshold: float
    losses: bool


def _block(known: _Known, scores: NDArray[Any], order: Codes) -> dict[str, Floats]:
    """Every metric of some classifiers as (C, G + 1), overall last."""
    values = np.take(scores, order, axis=1).astype(np.float64, copy=False)
    if np.isnan(values).any():
        raise ValueError("scores must be numbers; some are NaN")
    positive = _positives(values >= known.threshold, known.rows.ravel())
    found = _rates(
        np.concatenate([positive, positive.sum(1, keepdims=True)], axis=1),
        np.concatenate([known.rows, known.rows.sum(0)[None]]),
    )
    return found | (_losses(known.truth, values, known.group, known.rows.sum(1)) if known.losses else {})


def worst_group(metrics: GroupMetrics, *, level: float = 0.95) -> WorstGroup:
    """The worst-group accuracy with an interval that holds whichever group is the worst.

    The bounds are the lowest of the groups' exact bounds, each at level 1 - (1 - level) / G (Bonferroni). NaN when no
    group is large enough.
    """
    kept = np.flatnonzero(metrics.kept)
    accuracy = metrics.by_group["accuracy"][:, kept]
    if not len(kept):
        nothing = np.full(len(accuracy), np.nan)
        none = np.full(len(accuracy), -1)
        return WorstGroup(value=nothing, low=nothing, high=nothing, group=none, n=np.zeros(len(accuracy), np.int64))
    n = metrics.n[kept]
    low, high = clopper_pearson_bounds(np.rint(accuracy * n), n, level=1 - (1 - level) / len(kept))
    at = accuracy.argmin(axis=1)
    return WorstGroup(value=accuracy.min(axis=1), low=low.min(axis=1), high=high.min(axis=1), group=kept[at], n=n[at])


def disparities(metrics: GroupMetrics) -> dict[str, Floats]:
    """Largest minus smallest over the kept groups, each (C,): of accuracy, and the fairness differences.

    `demographic_parity` is of selection rates; `equalised_odds` the larger of the differences of true and of false
    positive rates. Groups in which a rate is undefined do not count for it; NaN when fewer than two are left.
    """
    spread = {name: _spread(metrics.by_group[name][:, metrics.kept]) for name in RATES}
    return {
        "accuracy_disparity": spread["accuracy"],
        "demographic_parity": spread["selection_rate"],
        "equalised_odds": np.fmax(spread["true_positive_rate"], spread["false_positive_rate"]),
    }


def worst_loss(metrics: GroupMetrics, name: str) -> Floats:
    """The highest value over the kept groups of one of `LOSSES`: (C,), NaN when no group is large enough."""
    values = metrics.by_group[name][:, metrics.kept]
    return values.max(axis=1) if values.shape[1] else np.full(len(values), np.nan)


def tail_mean(losses: ArrayLike, share: float, outliers: float = 0.0) -> Floats:
    """CVaR along the last axis: the mean of the highest `share` of the losses, the part of a row counted as a part.

    With `outliers` that share of rows (rounded down) is dropped from the top first: CVaR-DORO.
    """
    values = np.asarray(losses, dtype=np.float64)
    return _tail(values, values.shape[-1], share, int(outliers * values.shape[-1]))


def _tail(values: Floats, n: int, share: float, dropped: int) -> Floats:
    """The mean of the highest `share` of n losses after the first `dropped`; of the n only the highest need be here.

    The tail needs no order within: only the losses at its two ends must be in their places.
    """
    weight = share * (n - dropped)
    whole = min(int(weight), n - dropped)
    reach = min(dropped + whole + 1, n)
    size = values.shape[-1]
    borders = [place for place in (size - reach, size - dropped) if 0 <= place < size]
    top = np.partition(values, borders, axis=-1) if borders else values
    above = top[..., size - reach : size - dropped]
    if dropped + whole == n:
        return above.sum(axis=-1) / weight
    return (above[..., 1:].sum(axis=-1) + (weight - whole) * above[..., 0]) / weight


def _checked(labels: ArrayLike, scores: ArrayLike, codes: ArrayLike) -> tuple[Codes, NDArray[Any], Codes]:
    truth, group = np.asarray(labels), np.asarray(codes)
    values = np.atleast_2d(np.asarray(scores))
    if values.dtype.kind != "f":
        values = values.astype(np.float64)
    if truth.ndim != 1 or truth.shape != group.shape or values.ndim != 2 or values.shape[1] != len(truth):
        raise ValueError(f"labels {truth.shape}, codes {group.shape} and scores {values.shape} do not fit together")
    if not len(truth) or not ((truth == 0) | (truth == 1)).all():
        raise ValueError("labels must be 0 or 1, and there must be at least one row")
    return truth.astype(np.intp), values, group.astype(np.intp)


def _positives(called: NDArray[np.bool_], sizes: NDArray[np.int64]) -> Floats:
    """Rows called positive by (group, label): (C, G, 2), from rows sorted in that order."""
    filled = np.flatnonzero(sizes)
    starts = np.concatenate([[0], np.cumsum(sizes[filled])[:-1]])
    found = np.zeros((len(called), len(sizes)))
    found[:, filled] = np.add.reduceat(called, starts, axis=1, dtype=np.int32)
    return found.reshape(len(called), -1, 2)


def _rates(positive: Floats, rows: NDArray[np.int64]) -> dict[str, Floats]:
    """`positive` (C, G, 2) and `rows` (G, 2), both by label."""
    negative_rows, positive_rows, n = rows[:, 0], rows[:, 1], rows.sum(1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return {
            "accuracy": (positive[..., 1] + negative_rows - positive[..., 0]) / n,
            "selection_rate": positive.sum(-1) / n,
            "true_positive_rate": positive[..., 1] / positive_rows,
            "false_positive_rate": positive[..., 0] / negative_rows,
        }


def _losses(truth: Codes, values: Floats, group: Codes, n: NDArray[np.int64]) -> dict[str, Floats]:
    """Each of `LOSSES` as (C, G + 1), overall last, from rows sorted by group."""
    losses = values.copy()
    np.subtract(1, values, out=losses, where=truth == 0)
    np.clip(losses, _CLIP, 1.0, out=losses)
    np.log(losses, out=losses)
    np.negative(losses, out=losses)
    ends = np.cumsum(n)
    parts = [slice(end - size, end) for end, size in zip(ends, n, strict=True)] + [slice(0, int(ends[-1]))]
    found = {name: np.full((len(values), len(parts)), np.nan) for name in LOSSES}
    for place, part in enumerate(parts):
        if part.stop > part.start:
            inside = losses[:, part]
            mean = found["cross_entropy"][:, place] = inside.mean(axis=1)
            apart = inside - mean[:, None]
            found["loss_variance"][:, place] = np.einsum("ij,ij->i", apart, apart) / inside.shape[1]
            found["cvar"][:, place], found["cvar_doro"][:, place] = _tail_means(inside)
    found["calibration_error"] = _calibration(truth, values, group, n)
    return found


def _tail_means(losses: Floats) -> tuple[Floats, Floats]:
    """CVaR and CVaR-DORO along the last axis, from one search for the highest losses."""
    n = losses.shape[1]
    reach = min(int(CVAR_SHARE * n) + int(OUTLIER_SHARE * n) + 2, n)
    top = np.partition(losses, n - reach, axis=1)[:, n - reach :]
    return _tail(top, n, CVAR_SHARE, 0), _tail(top, n, CVAR_SHARE, int(OUTLIER_SHARE * n))


def _calibration(truth: Codes, values: Floats, group: Codes, n: NDArray[np.int64]) -> Floats:
    """Expected calibration error by group and overall: (C, G + 1)."""
    count = len(n)
    bins = np.clip(values * CALIBRATION_BINS, 0, CALIBRATION_BINS - 0.5).astype(np.intp)
    bins += group * CALIBRATION_BINS
    bins += np.arange(0, len(values) * count * CALIBRATION_BINS, count * CALIBRATION_BINS)[:, None]
    gaps = np.bincount(bins.ravel(), (values - truth).ravel(), minlength=len(values) * count * CALIBRATION_BINS)
    gaps = gaps.reshape(len(values), count, CALIBRATION_BINS)
    with np.errstate(invalid="ignore"):
        by_group = np.abs(gaps).sum(-1) / n
    return np.concatenate([by_group, np.abs(gaps.sum(1)).sum(-1, keepdims=True) / len(truth)], axis=1)


def _spread(rate: Floats) -> Floats:
    if rate.shape[1] < 2:
        return np.full(len(rate), np.nan)
    known = np.isfinite(rate)
    low = np.where(known, rate, np.inf).min(axis=1)
    high = np.where(known, rate, -np.inf).max(axis=1)
    return np.where(known.sum(axis=1) >= 2, high - low, np.nan)


def resample_accuracies(
    correct: ArrayLike, codes: ArrayLike, groups: int, *, replicates: int = 1000, seed: int = 0
) -> tuple[Floats, Floats]:
    """Bootstrap draws of the accuracies of C classifiers on the same rows, resampled together and within groups.

    `correct` (C, n) says which rows each gets right. Returns overall (replicates, C), by group (replicates, C, groups);
    rows with one pattern of answers are drawn as one multinomial cell, so the cost is of patterns, not of rows.
    """
    right, code = np.atleast_2d(np.asarray(correct, dtype=bool)), np.asarray(codes, dtype=np.intp)
    generator = np.random.default_rng(seed)
    total = np.zeros((replicates, len(right)))
    by_group = np.full((replicates, len(right), groups), np.nan)
    for group in range(groups):
        rows = np.flatnonzero(code == group)
        if len(rows):
            packed, counts = np.unique(np.packbits(right[:, rows], axis=0), axis=1, return_counts=True)
            patterns = np.unpackbits(packed, axis=0, count=len(right)).astype(np.float64)
            drawn = generator.multinomial(len(rows), counts / len(rows), size=replicates) @ patterns.T
            by_group[:, :, group] = drawn / len(rows)
            total += drawn
    return total / len(code), by_group


def resample_disparities(
    correct: ArrayLike, labels: ArrayLike, codes: ArrayLike, kept: ArrayLike, *, replicates: int = 1000, seed: int = 0
) -> dict[str, Floats]:
    """Bootstrap draws (replicates, C) of each of `disparities` over the groups that are `kept` (G,), at least two.

    Accuracies are resampled within groups, the rates within groups and labels. A difference of extremes is drawn too
    large on average, the more so the noisier the groups are.
    """
    right, group = np.atleast_2d(np.asarray(correct, dtype=bool)), np.asarray(codes, dtype=np.intp)
    large = np.asarray(kept, dtype=bool)
    named: dict[str, Any] = {"replicates": replicates, "seed": seed}
    _, accuracy = resample_accuracies(right, group, len(large), **named)
    cell = 2 * group + np.asarray(labels, dtype=np.intp)
    rows = np.bincount(cell, minlength=2 * len(large)).reshape(-1, 2)[large]
    _, drawn = resample_accuracies(right, cell, 2 * len(large), **named)
    positive, negative = drawn[:, :, 1::2][:, :, large], 1 - drawn[:, :, 0::2][:, :, large]
    called = np.nan_to_num(positive) * rows[:, 1] + np.nan_to_num(negative) * rows[:, 0]
    return {
        "accuracy_disparity": _range(accuracy[:, :, large]),
        "demographic_parity": _range(called / rows.sum(1)),
        "equalised_odds": np.fmax(_range(positive), _range(negative)),
    }


def _range(values: Floats) -> Floats:
    """Highest minus lowest known value along the last axis."""
    return np.fmax.reduce(values, axis=-1) - np.fmin.reduce(values, axis=-1)


def resample_calibration(labels: ArrayLike, scores: ArrayLike, *, replicates: int = 1000, seed: int = 0) -> Floats:
    """Bootstrap draws (replicates, C) of the expected calibration error of C classifiers, scores (C, n).

    What a bin misses by is a sum over rows, whose bootstrap is close to normal: it is drawn from that, and the cost is
    of bins. As in any bootstrap of it, the draws lie above the error itself: use their spread.
    """
    truth, values, code = _checked(labels, scores, np.zeros(np.shape(np.asarray(labels))))
    generator = np.random.default_rng(seed)
    bins = np.clip(values * CALIBRATION_BINS, 0, CALIBRATION_BINS - 0.5).astype(np.intp)
    bins += np.arange(len(values))[:, None] * CALIBRATION_BINS
    miss = values.astype(np.float64) - truth
    size = len(values) * CALIBRATION_BINS
    gaps = np.bincount(bins.ravel(), miss.ravel(), minlength=size)
    # The variance of a sum over n rows drawn with replacement.
    spread = np.sqrt(np.maximum(np.bincount(bins.ravel(), (miss**2).ravel(), minlength=size) - gaps**2 / len(code), 0))
    drawn = gaps + spread * generator.standard_normal((replicates, size))
    return np.abs(drawn).reshape(replicates, len(values), CALIBRATION_BINS).sum(-1) / len(code)
