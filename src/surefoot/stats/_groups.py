"""Every group metric of many classifiers in one pass over labels, scores and group codes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from surefoot.stats._arrays import numbers, verdicts

Floats = NDArray[np.float64]
Codes = NDArray[np.intp]

LEAST_ROWS = 20
"""A group with fewer rows is named and left out: the exact 95 percent interval of a share is then 46 points wide."""
CVAR_SHARE = 0.2
OUTLIER_SHARE = 0.005
CALIBRATION_BINS = 10
_CLIP = 1e-7
_ROUNDING = 1e-6
_BLOCK_SCORES = 131_072
_NORMAL_ROWS = 5000

LOSSES = ("cross_entropy", "loss_variance", "cvar", "cvar_doro", "calibration_error")
RATES = (
    *("accuracy", "selection_rate", "true_positive_rate", "false_positive_rate", "false_negative_rate", "precision"),
    *("false_discovery_rate", "false_omission_rate"),
)


@dataclass(frozen=True, kw_only=True)
class Rate:
    """One of `RATES` of C classifiers in G groups and, last, over all rows: arrays (C, G + 1).

    `value` is NaN where there is nothing to count; `rows` says on how many rows a value stands (a true positive rate:
    the positives), `effective` how many of equal weight those are worth, (sum of weights)^2 / sum of squares.
    """

    value: Floats
    rows: Floats
    effective: Floats


@dataclass(frozen=True, kw_only=True)
class GroupMetrics:
    """The metrics of C classifiers, by group and overall.

    `by_group[name]` is (C, G) and `overall[name]` is (C,); names are `RATES`, `balanced_accuracy` and, for
    probabilities, `LOSSES`. NaN: undefined (no rows, or no positives for a true positive rate). `n` (G,) counts rows,
    `positives` (G,) those whose label is yes. `kept` (G,) says which groups have at least `least` rows: worst-group
    metrics and disparities are over these, and of a rate over those with as many rows of its own (see `Rate`); `small`
    names the others.
    """

    groups: tuple[str, ...]
    n: NDArray[np.int64]
    positives: NDArray[np.int64]
    least: int
    rates: Mapping[str, Rate]
    by_group: Mapping[str, Floats]
    overall: Mapping[str, Floats]

    @property
    def kept(self) -> NDArray[np.bool_]:
        """Which groups have enough rows."""
        return self.n >= self.least

    @property
    def small(self) -> tuple[str, ...]:
        """The groups that have too few rows to say anything, by name."""
        return tuple(name for name, kept in zip(self.groups, self.kept, strict=True) if not kept)


def group_metrics(
    labels: ArrayLike,
    scores: ArrayLike,
    codes: ArrayLike,
    *,
    groups: Sequence[str] | None = None,
    threshold: float = 0.5,
    probabilities: bool = True,
    least: int = LEAST_ROWS,
    weights: ArrayLike | None = None,
) -> GroupMetrics:
    """Metrics of one classifier, scores (n,), or of C at once, scores (C, n).

    `labels` (n,) are 0 or 1; `codes` (n,) are group numbers 0 to G - 1; a row is called positive when its score is at
    least `threshold`. With `probabilities` False the scores are decisions and the losses are left out. The losses use
    the binary cross-entropy of a row: its mean, its variance, CVaR at share 0.2, CVaR-DORO at 0.2 with 0.005 outliers
    (Zhai et al. 2021, arXiv 2106.06142), and the expected calibration error in ten equal bins. `weights` (n,) above 0
    weigh the rates; losses are not weighted and are left out with them. Raises ValueError when the shapes differ,
    labels are not 0 or 1, a weight is not above 0, probabilities are beyond 0 or 1, or nothing is there.
    """
    truth, values, group = checked(labels, scores, codes)
    count = int(group.max()) + 1 if groups is None else len(groups)
    if group.max() >= count or group.min() < 0:
        raise ValueError(f"group codes must be from 0 to {count - 1}")
    cell = 2 * group + truth
    # A small type sorts by radix, and must hold the number of the last cell.
    order = np.argsort(cell.astype(np.min_scalar_type(2 * count - 1)), kind="stable")
    heavy = None if weights is None else checked_weights(weights, truth)[order]
    shared = _Shared.of(truth[order], group[order], count, heavy)
    losses = probabilities and weights is None
    # A few classifiers at a time: what is computed of them stays in the processor's cache, and memory is bounded.
    step = max(1, _BLOCK_SCORES // len(truth))
    starts = range(0, len(values), step)
    blocks = [_block(shared, values[begin : begin + step], order, threshold, losses) for begin in starts]
    rates = _rates(shared, np.concatenate([block.pop("called") for block in blocks], axis=1))
    table = {name: rate.value for name, rate in rates.items()}
    table["balanced_accuracy"] = (table["true_positive_rate"] + 1 - table["false_positive_rate"]) / 2
    table |= {name: np.concatenate([block[name] for block in blocks]) for name in blocks[0]}
    return GroupMetrics(
        groups=tuple(groups) if groups is not None else tuple(map(str, range(count))),
        n=shared.rows[0, :-1].sum(1).astype(np.int64),
        positives=shared.rows[0, :-1, 1].astype(np.int64),
        least=least,
        rates=rates,
        by_group={name: found[:, :count] for name, found in table.items()},
        overall={name: found[:, count] for name, found in table.items()},
    )


@dataclass(frozen=True, kw_only=True)
class _Shared:
    """What all classifiers share: labels and groups of the sorted rows, and what is summed over rows.

    `weights` (M, n) are 1, or 1 and the weights and their squares; `rows` (M, G + 1, 2) their sums by group and label.
    """

    truth: Codes
    group: Codes
    weights: Floats
    rows: Floats

    @staticmethod
    def of(truth: Codes, group: Codes, count: int, weights: Floats | None) -> _Shared:
        one = np.ones(len(truth))
        summed = np.stack([one] if weights is None else [one, weights, weights**2])
        sums = [np.bincount(2 * group + truth, each, 2 * count).astype(float).reshape(-1, 2) for each in summed]
        rows = np.stack([np.concatenate([each, each.sum(0, keepdims=True)]) for each in sums])
        return _Shared(truth=truth, group=group, weights=summed, rows=rows)


def _block(shared: _Shared, scores: NDArray[Any], order: Codes, threshold: float, losses: bool) -> dict[str, Floats]:
    """Of some classifiers: rows called positive, (M, C, G + 1, 2) by label, and each loss (C, G + 1), overall last."""
    values = np.take(scores, order, axis=1).astype(np.float64, copy=False)
    if np.isnan(values).any():
        raise ValueError("scores must be numbers; some are NaN")
    if losses and (values.min() < -_ROUNDING or values.max() > 1 + _ROUNDING):
        raise ValueError("probabilities lie from 0 to 1: of other scores, give probabilities=False")
    sums = {"called": _called(shared, values >= threshold)}
    n = shared.rows[0, :-1].sum(1).astype(np.int64)
    return sums | (_losses(shared.truth, values, shared.group, n) if losses else {})


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


def checked(labels: ArrayLike, scores: ArrayLike, codes: ArrayLike) -> tuple[Codes, NDArray[Any], Codes]:
    truth, group = np.asarray(labels), np.asarray(codes)
    values = np.atleast_2d(np.asarray(scores))
    if any(map(np.ma.is_masked, (labels, scores, codes))):
        raise ValueError("some labels, scores or codes are masked: give those rows alone that count")
    if not (group == np.floor(group)).all() or (group < 0).any():
        raise ValueError("group codes must be whole numbers from 0")
    if values.dtype.kind != "f":
        values = values.astype(np.float64)
    if truth.ndim != 1 or truth.shape != group.shape or values.ndim != 2 or values.shape[1] != len(truth):
        raise ValueError(f"labels {truth.shape}, codes {group.shape} and scores {values.shape} do not fit together")
    if not len(truth) or not ((truth == 0) | (truth == 1)).all():
        raise ValueError("labels must be 0 or 1, and there must be at least one row")
    return truth.astype(np.intp), values, group.astype(np.intp)


def checked_weights(weights: ArrayLike, truth: Codes) -> Floats:
    values = numbers(weights)
    if values.shape != truth.shape or not (np.isfinite(values) & (values > 0)).all():
        raise ValueError(f"weights must be {len(truth)} numbers above 0")
    return values


def _called(shared: _Shared, called: NDArray[np.bool_]) -> Floats:
    """Rows called positive by (group, label), counted and weighted: (M, C, G + 1, 2), all groups last."""
    sizes = shared.rows[0, :-1].ravel()
    filled = np.flatnonzero(sizes)
    starts = np.concatenate([[0], np.cumsum(sizes[filled])[:-1]]).astype(np.intp)
    sums = np.zeros((len(shared.weights), len(called), len(sizes)))
    for place, weights in enumerate(shared.weights):
        summed = called * weights if place else called
        kind = np.float64 if place else np.int32
        sums[place][:, filled] = np.add.reduceat(summed, starts, axis=1, dtype=kind)
    split = sums.reshape(*sums.shape[:2], -1, 2)
    return np.concatenate([split, split.sum(2, keepdims=True)], axis=2)


def _rates(shared: _Shared, called: Floats) -> dict[str, Rate]:
    """Each of `RATES` from the rows called positive, (M, C, G + 1, 2)."""
    counted = [_fractions(each, rows) for each, rows in zip(called, shared.rows, strict=True)]
    weighted, squared = counted[1:] or (counted[0], counted[0])
    rates = {}
    with np.errstate(invalid="ignore", divide="ignore"):
        for name, (_, behind) in counted[0].items():
            hits, out_of = weighted[name]
            # Sums of weights in another order can leave a share a rounding error outside.
            value = np.where(behind > 0, np.clip(hits / out_of, 0, 1), np.nan)
            effective = np.where(behind > 0, out_of**2 / squared[name][1], 0.0)
            rows, effective = (np.broadcast_to(each, value.shape) for each in (behind, effective))
            rates[name] = Rate(value=value, rows=rows, effective=effective)
    return rates


def _fractions(called: Floats, rows: Floats) -> dict[str, tuple[Floats, Floats]]:
    """What a rate counts, and out of what, from `called` (C, G + 1, 2) and `rows` (G + 1, 2), both by label."""
    negative, positive = rows[:, 0], rows[:, 1]
    wrong, right = called[..., 0], called[..., 1]
    n, called_yes = rows.sum(-1), called.sum(-1)
    return {
        "accuracy": (right + negative - wrong, n),
        "selection_rate": (called_yes, n),
        "true_positive_rate": (right, positive),
        "false_positive_rate": (wrong, negative),
        "false_negative_rate": (positive - right, positive),
        "precision": (right, called_yes),
        "false_discovery_rate": (wrong, called_yes),
        "false_omission_rate": (positive - right, n - called_yes),
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
    table = {name: np.full((len(values), len(parts)), np.nan) for name in LOSSES}
    for place, part in enumerate(parts):
        if part.stop > part.start:
            inside = losses[:, part]
            mean = table["cross_entropy"][:, place] = inside.mean(axis=1)
            apart = inside - mean[:, None]
            table["loss_variance"][:, place] = np.einsum("ij,ij->i", apart, apart) / inside.shape[1]
            table["cvar"][:, place], table["cvar_doro"][:, place] = _tail_means(inside)
    table["calibration_error"] = _calibration(truth, values, group, n)
    return table


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


def resample_accuracies(
    correct: ArrayLike, codes: ArrayLike, groups: int, *, replicates: int = 1000, seed: int = 0
) -> tuple[Floats, Floats]:
    """Bootstrap draws of the accuracies of C classifiers on the same rows, resampled together and within groups.

    `correct` (C, n) says which rows each gets right. Returns overall (replicates, C), by group (replicates, C, groups);
    rows with one pattern of answers are drawn as one multinomial cell, so the cost is of patterns, not of rows. Groups
    of more than 5,000 rows are drawn from the normal distribution of the same means and covariances.
    """
    right, code = np.atleast_2d(verdicts(correct)), np.asarray(codes, dtype=np.intp)
    generator = np.random.default_rng(seed)
    total = np.zeros((replicates, len(right)))
    by_group = np.full((replicates, len(right), groups), np.nan)
    for group in range(groups):
        rows = np.flatnonzero(code == group)
        if len(rows) > _NORMAL_ROWS:
            inside = right[:, rows].astype(np.float32)
            mean = inside.mean(axis=1, dtype=np.float64)
            covariance = (inside @ inside.T).astype(np.float64) / len(rows) - np.outer(mean, mean)
            drawn = generator.multivariate_normal(mean, covariance / len(rows), replicates, check_valid="ignore")
            by_group[:, :, group] = drawn
            total += drawn * len(rows)
        elif len(rows):
            packed, counts = np.unique(np.packbits(right[:, rows], axis=0), axis=1, return_counts=True)
            patterns = np.unpackbits(packed, axis=0, count=len(right)).astype(np.float64)
            drawn = generator.multinomial(len(rows), counts / len(rows), size=replicates) @ patterns.T
            by_group[:, :, group] = drawn / len(rows)
            total += drawn
    return total / len(code), by_group


def resample_disparities(
    correct: ArrayLike,
    labels: ArrayLike,
    codes: ArrayLike,
    kept: ArrayLike,
    *,
    least: int = LEAST_ROWS,
    replicates: int = 1000,
    seed: int = 0,
) -> dict[str, Floats]:
    """Bootstrap draws (replicates, C) of each of `disparities` over the groups that are `kept` (G,), at least two.

    Accuracies are resampled within groups, the rates within groups and labels; a rate is of groups with `least` rows of
    its label. A difference of extremes is drawn too large on average, the more so the noisier the groups are: use the
    spread of the draws, and `disparity_bounds` for an interval.
    """
    right, group = np.atleast_2d(verdicts(correct)), np.asarray(codes, dtype=np.intp)
    large = np.asarray(kept, dtype=bool)
    named: dict[str, Any] = {"replicates": replicates, "seed": seed}
    _, accuracy = resample_accuracies(right, group, len(large), **named)
    cell = 2 * group + np.asarray(labels, dtype=np.intp)
    rows = np.bincount(cell, minlength=2 * len(large)).reshape(-1, 2)[large]
    _, drawn = resample_accuracies(right, cell, 2 * len(large), **named)
    positive, negative = drawn[:, :, 1::2][:, :, large], 1 - drawn[:, :, 0::2][:, :, large]
    called = np.nan_to_num(positive) * rows[:, 1] + np.nan_to_num(negative) * rows[:, 0]
    # A rate of a group with few rows of its label does not count, as in `disparities`.
    right_yes, wrong_no = (
        _range(np.where(rows[:, label] >= least, drawn, np.nan)) for label, drawn in ((1, positive), (0, negative))
    )
    return {
        "accuracy_disparity": _range(accuracy[:, :, large]),
        "demographic_parity": _range(called / rows.sum(1)),
        "equal_opportunity": right_yes,
        "equalised_odds": np.maximum(right_yes, wrong_no),
    }


def _range(values: Floats) -> Floats:
    """Highest minus lowest known value along the last axis; NaN when fewer than two are known."""
    apart = np.fmax.reduce(values, axis=-1) - np.fmin.reduce(values, axis=-1)
    return np.where(np.isfinite(values).sum(axis=-1) >= 2, apart, np.nan)


def calibration_bounds(
    labels: ArrayLike, scores: ArrayLike, *, level: float = 0.95, replicates: int = 1000, seed: int = 0
) -> tuple[Floats, Floats]:
    """Bounds (C,), (C,) of the expected calibration error of C classifiers, scores (C, n), also where it is zero.

    What a bin misses by is a sum over rows, close to normal. The error cannot be wrong by more than its bins are
    together, which the lower bound allows for; bootstrap draws of it lie above it, so that they give the upper one.
    """
    truth, values, _ = checked(labels, scores, np.zeros(np.shape(np.asarray(labels))))
    generator = np.random.default_rng(seed)
    bins = np.clip(values * CALIBRATION_BINS, 0, CALIBRATION_BINS - 0.5).astype(np.intp)
    bins += np.arange(len(values))[:, None] * CALIBRATION_BINS
    miss = values.astype(np.float64) - truth
    size, n = len(values) * CALIBRATION_BINS, len(truth)
    gaps = np.bincount(bins.ravel(), miss.ravel(), minlength=size)
    # The variance of a sum over n rows drawn with replacement.
    spread = np.sqrt(np.maximum(np.bincount(bins.ravel(), (miss**2).ravel(), minlength=size) - gaps**2 / n, 0))
    noise = spread * generator.standard_normal((replicates, size))
    error, wrong, again = (
        np.abs(each).reshape(-1, len(values), CALIBRATION_BINS).sum(-1) / n for each in (gaps, noise, gaps + noise)
    )
    reach, high = np.quantile(wrong, (1 + level) / 2, axis=0), np.quantile(again, (1 + level) / 2, axis=0)
    return np.maximum(error[0] - reach, 0.0), np.clip(high, error[0], 1.0)
