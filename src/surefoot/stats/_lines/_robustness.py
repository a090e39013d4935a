"""Effective and relative robustness of each model, in percentage points, with intervals."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtri, stdtrit

from surefoot.core import SurefootError
from surefoot.stats._arrays import places
from surefoot.stats._intervals import wilson_bounds
from surefoot.stats._lines._axes import Axis, axis_slope, from_axis, inside_shares
from surefoot.stats._lines._lines import Lines, as_regressors, column_quantiles, expansion, predict_lines

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
POINTS = 100.0


@dataclass(frozen=True, kw_only=True)
class Effective:
    """Effective robustness of every model under every shift; all arrays are (models, S).

    `expected` is the fraction that the line gives a model of that accuracy. `points` is the fraction seen less the
    expected one, in percentage points, with `low` and `high` bounds; NaN where either accuracy is missing.
    `outside` marks models beyond the baseline's range, where the line is extrapolated. `unusual` marks those that
    lie outside the band which would hold a new baseline model at `level`.
    """

    level: float
    expected: Floats
    points: Floats
    low: Floats
    high: Floats
    outside: Bools
    unusual: Bools


def effective_robustness(
    x: ArrayLike,
    y: ArrayLike,
    lines: Lines,
    *,
    axis: Axis = "logit",
    carried: ArrayLike | None = None,
    y_stderr: ArrayLike | None = None,
) -> Effective:
    """What each model has over the line: y - line(x) (Taori et al. 2020, equation 1), in percentage points.

    `x` is placed on the axis, as for `fit_lines`: (models,), (models, S) or (models, S or 1, K). `y` (models, S) are
    fractions and `y_stderr` their standard errors (`binomial_stderr`). `carried` (models, S) is the error of x carried
    to the line (`carried_error`). What is None, or 0, is taken as exact.

    The interval joins three errors, which are independent for a model outside the baseline: of y (Wilson's interval at
    the size which that standard error stands for), of x (through the slope), and of the line (HC3, Student's t). They
    are joined by the method of variance estimates recovery (Zou and Donner 2008), which keeps bounds within reach.
    For a model of the baseline itself the second and third are slightly overstated.
    """
    accuracy = _columns(y)
    regressor = as_regressors(x, accuracy.shape[1])
    place, line_error = predict_lines(lines, regressor)
    expected = from_axis(place, axis)
    t, z = stdtrit(lines.freedom, 0.5 + lines.level / 2), ndtri(0.5 + lines.level / 2)
    x_error = np.zeros(place.shape) if carried is None else np.nan_to_num(_columns(carried))
    half = np.sqrt((t * line_error) ** 2 + (z * x_error) ** 2)
    line_low, line_high = from_axis(place - half, axis), from_axis(place + half, axis)
    own_low, own_high = share_bounds(accuracy, y_stderr, lines.level)
    difference = accuracy - expected
    below = np.hypot(accuracy - own_low, line_high - expected)
    above = np.hypot(own_high - accuracy, expected - line_low)
    band = np.sqrt(half**2 + (t * lines.residual_sd) ** 2)
    missing = np.isnan(difference)
    outside = ((regressor < lines.x_low) | (regressor > lines.x_high)).any(axis=2)
    beyond = (own_low > from_axis(place + band, axis)) | (own_high < from_axis(place - band, axis))
    return Effective(
        level=lines.level,
        expected=expected,
        points=POINTS * difference,
        low=POINTS * (difference - below),
        high=POINTS * (difference + above),
        outside=outside & ~missing,
        unusual=beyond & ~missing,
    )


def binomial_stderr(fraction: ArrayLike, n: ArrayLike) -> Floats:
    """Standard error of accuracies over `n` examples; exact 0 and 1 get that of (k + 1/2) / (n + 1)."""
    inside = inside_shares(fraction, n)
    return np.sqrt(inside * (1 - inside) / np.asarray(n, dtype=np.float64))


def carried_error(fraction: ArrayLike, stderr: ArrayLike, lines: Lines, *, axis: Axis = "logit") -> Floats:
    """The standard errors of x carried to the line, (models, S) in axis units: each regressor's own, times its slope.

    `fraction` and `stderr` are shaped as the `x` of `fit_lines`, but fractions. Delta method; errors independent.
    """
    share = as_regressors(fraction, len(lines.n))
    speed = axis_slope(np.clip(share, 1e-9, 1 - 1e-9), axis)
    moved = as_regressors(stderr, len(lines.n)) * speed
    return np.sqrt(np.einsum("msk,sk->ms", moved**2, lines.coefficients[:, 1:] ** 2))


def relative_robustness(
    after: ArrayLike,
    before: ArrayLike,
    *,
    after_stderr: ArrayLike | None = None,
    before_stderr: ArrayLike | None = None,
    level: float = 0.95,
) -> tuple[Floats, Floats, Floats]:
    """What an intervention adds under the shift, after - before (Taori et al. 2020, tau): points, low, high.

    Fractions of any one shape. With standard errors (`binomial_stderr`) the bounds are Newcombe's (1998, method 10) for
    two independent samples; where both models saw the same examples, a paired test of the per-example scores is
    narrower.
    """
    new, old = np.asarray(after, dtype=np.float64), np.asarray(before, dtype=np.float64)
    new_low, new_high = share_bounds(new, after_stderr, level)
    old_low, old_high = share_bounds(old, before_stderr, level)
    low = new - old - np.hypot(new - new_low, old_high - old)
    high = new - old + np.hypot(new_high - new, old - old_low)
    return POINTS * (new - old), POINTS * low, POINTS * high


@dataclass(frozen=True, kw_only=True)
class GroupMeans:
    """Mean effective robustness of groups of models, in points; arrays are (groups, S).

    `n` counts the models behind each mean, `n_outside` those beyond the baseline's range.
    """

    level: float
    groups: tuple[str, ...]
    points: Floats
    low: Floats
    high: Floats
    n: NDArray[np.int64]
    n_outside: NDArray[np.int64]


def group_robustness(
    x: ArrayLike,
    y: ArrayLike,
    lines: Lines,
    effective: Effective,
    groups: ArrayLike,
    *,
    counts: ArrayLike,
    clusters: ArrayLike | None = None,
    axis: Axis = "logit",
) -> GroupMeans:
    """Mean effective robustness of each group, its interval from a bootstrap over models and baseline together.

    `x`, `y` and `lines` as for `effective_robustness`, whose answer is `effective`; `groups` are labels (models,).
    `counts` (B, models) must be the very counts that `lines` were bootstrapped with, so that a model drawn twice
    weighs twice both in its group and in the line. Percentiles are stretched about the mean by
    sqrt(n / (n - 1)) t(n - 1) / z, as small groups need (Hesterberg 2015); a group of one model has no interval (NaN).
    With `clusters` (models,), the families that `counts` drew whole, n counts the families of a group; a line of fewer
    than three families cannot be drawn anew, and its groups have no interval.
    """
    weights = np.asarray(counts, dtype=np.float64)
    if len(weights) != len(lines.draws):
        raise SurefootError(f"The lines hold {len(lines.draws)} replicates and counts has {len(weights)}.")
    accuracy = _columns(y)
    regressor = as_regressors(x, accuracy.shape[1])
    labels, member = places(groups)
    one_hot = (member[:, None] == np.arange(len(labels))).astype(np.float64)
    known = np.isfinite(effective.points)
    size = one_hot.T @ known
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = one_hot.T @ np.where(known, effective.points, 0) / size
    tails = [(1 - lines.level) / 2, (1 + lines.level) / 2]
    bounds = []
    for shift in range(accuracy.shape[1]):
        line, place, seen = lines.draws[:, shift], regressor[:, shift], accuracy[:, shift]
        drawn = _group_draws(line, place, seen, weights=weights, one_hot=one_hot, axis=axis)
        bounds.append(column_quantiles(drawn, tails))
    units = size if clusters is None else _families_in(places(clusters)[1], one_hot, known)
    units = units if clusters is None else np.where(lines.freedom >= 2, units, 0.0)
    low, high = mean + (np.stack(bounds, axis=2) - mean) * np.where(
        units > 1, expansion(units, np.maximum(units - 1, 1), lines.level), np.nan
    )
    return GroupMeans(
        level=lines.level,
        groups=tuple(labels.astype(str).tolist()),
        points=mean,
        low=low,
        high=high,
        n=size.astype(np.int64),
        n_outside=(one_hot.T @ effective.outside).astype(np.int64),
    )


def _families_in(clusters: NDArray[np.intp], one_hot: Floats, known: Bools) -> Floats:
    rows = [clusters == place for place in range(int(clusters.max()) + 1)]
    found = ((one_hot[own].T @ known[own] > 0).astype(np.float64) for own in rows)
    return sum(found, np.zeros((one_hot.shape[1], known.shape[1])))


def rank_agreement(points: ArrayLike) -> Floats:
    """Spearman's correlation of effective robustness between every two shifts, (S, S), over models with both.

    Near 1, the shifts agree on who is robust; near 0 or below, an average over them hides a disagreement.
    """
    values = np.asarray(points, dtype=np.float64)
    result = np.full((values.shape[1],) * 2, np.nan)
    # Shifts that miss the same models share their ranks, so that only pairs of patterns are ranked anew.
    patterns, member = np.unique(np.isfinite(values), axis=1, return_inverse=True)
    for i in range(patterns.shape[1]):
        for j in range(i + 1):
            left, right = np.flatnonzero(member.ravel() == i), np.flatnonzero(member.ravel() == j)
            both = patterns[:, i] & patterns[:, j]
            block = _spearman(values[both][:, left], values[both][:, right])
            result[np.ix_(left, right)], result[np.ix_(right, left)] = block, block.T
    np.fill_diagonal(result, 1.0)
    return result


def _spearman(left: Floats, right: Floats) -> Floats:
    """Spearman's correlation of every column of one with every column of the other; NaN below 3 rows."""
    from scipy.stats import rankdata

    if len(left) < 3:
        return np.full((left.shape[1], right.shape[1]), np.nan)
    ranks = [rankdata(values, axis=0) - (len(values) + 1) / 2 for values in (left, right)]
    lengths = [np.linalg.norm(rank, axis=0) for rank in ranks]
    with np.errstate(invalid="ignore", divide="ignore"):
        return ranks[0].T @ ranks[1] / np.outer(*lengths)


def _columns(values: ArrayLike) -> Floats:
    array = np.asarray(values, dtype=np.float64)
    return array[:, None] if array.ndim == 1 else array


def share_bounds(share: ArrayLike, stderr: ArrayLike | None, level: float) -> tuple[Floats, Floats]:
    """Wilson's bounds of shares at the n which their standard errors stand for; the share itself where that is 0."""
    share = np.asarray(share, dtype=np.float64)
    if stderr is None:
        return share, share
    error = np.broadcast_to(np.asarray(stderr, dtype=np.float64), share.shape)
    noisy = np.isfinite(share) & (error > 0)
    # An exact 0 or 1 has a standard error near 1 / (sqrt(2) n), which gives its n back.
    spread = share * (1 - share)
    with np.errstate(divide="ignore", invalid="ignore"):
        size = np.where(spread > 0, spread / error**2, 1 / (np.sqrt(2) * error))
    size, inside = np.where(noisy, size, 1.0), np.where(noisy, share, 0.5)
    low, high = wilson_bounds(inside * size, size, level=level)
    return np.where(noisy, low, share), np.where(noisy, high, share)


def _group_draws(
    draws: Floats, regressor: Floats, accuracy: Floats, *, weights: Floats, one_hot: Floats, axis: Axis
) -> Floats:
    known = np.isfinite(accuracy) & np.isfinite(regressor).all(axis=1)
    place = draws[:, :1] + draws[:, 1:] @ np.where(known[:, None], regressor, 0.0).T
    points = POINTS * np.where(known, np.where(known, accuracy, 0.0) - from_axis(place, axis), 0.0)
    with np.errstate(invalid="ignore", divide="ignore"):
        return (weights * points) @ one_hot / ((weights * known) @ one_hot)
