"""Many straight lines at once, each fitted on a baseline set, with their intervals."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtri, stdtrit

from surefoot.core import SurefootError
from surefoot.stats._arrays import numbers, places

Floats = NDArray[np.float64]
FEWEST_FOR_BOOTSTRAP = 50
"""Below this many baseline points the interval of a line is Student's t, whatever the number of replicates.

By simulation, percentiles meant to hold 95 of 100 slopes hold 92 with 10 to 30 points, and 94 to 95 from 50 on.
"""


@dataclass(frozen=True, kw_only=True)
class Lines:
    """S least-squares lines y = intercept + slopes . x on axis units, one a shift, with K regressors.

    `coefficients` (S, 1 + K): intercept first. `covariance` (S, 1 + K, 1 + K): heteroscedasticity-consistent.
    `low`, `high` (S, 1 + K): bounds of the coefficients at `level`. `bootstrapped` (S): whether those are percentiles
    of the bootstrap or Student's t. `freedom` (S): degrees of freedom behind the covariance.
    `r2`, `r2_low`, `r2_high` (S); the bounds are NaN where not bootstrapped.
    `residual_sd` (S). `n` (S): baseline points used. `x_low`, `x_high` (S, K): the baseline's range. `draws`
    (B, S, 1 + K): the bootstrapped coefficients, B = 0 if none; a draw that gives no line is NaN.
    A line that its points do not fix (fewer than 2 + K, or no spread in x) is NaN throughout.
    """

    level: float
    coefficients: Floats
    covariance: Floats
    freedom: Floats
    low: Floats
    high: Floats
    bootstrapped: NDArray[np.bool_]
    r2: Floats
    r2_low: Floats
    r2_high: Floats
    residual_sd: Floats
    n: NDArray[np.int64]
    x_low: Floats
    x_high: Floats
    draws: Floats


def fit_lines(
    x: ArrayLike,
    y: ArrayLike,
    *,
    baseline: ArrayLike | None = None,
    counts: ArrayLike | None = None,
    clusters: ArrayLike | None = None,
    level: float = 0.95,
) -> Lines:
    """Fit one line a column of `y` by least squares on the baseline, with robust and bootstrap intervals.

    `y` is (models, S) or (models,); `x` is (models,) shared by all columns, (models, S) matched to each, or
    (models, S or 1, K) for several regressors. All are on their axis already; NaN is missing, in that column only.
    `baseline` marks the models fitted on (models,) or (models, S). `counts` (B, models) are bootstrap counts
    (`resample_counts`); with them the bounds are percentiles, except where the
    baseline has fewer than 50 points, since they cover too little there.

    Each replicate is a weighted fit, so all B x S of them are a few products of matrices. The closed-form covariance is
    HC3 (MacKinnon and White 1985), with n - 1 - K degrees of freedom for Student's t. With `clusters` (models,), the
    families whose models belong together, it is CR3, the jackknife over families, with one degree of freedom less than
    there are families (Bell and McCaffrey 2002); and families, not models, must number 50 for percentiles.
    """
    points = _points(x, y, baseline)
    size = points.used.sum(axis=0).astype(np.int64)
    estimate, _ = _weighted_fits(points, np.ones((1, len(points.used))))
    coefficients = estimate[0]
    coefficients[size < 2 + points.x.shape[2]] = np.nan
    residuals = _residuals(points, coefficients)
    freedom, units = np.maximum(size - coefficients.shape[1], 1), size
    if clusters is None:
        covariance = _hc3(points, residuals)
    else:
        covariance, units = _jackknife(points, coefficients, places(clusters)[1])
        freedom = np.maximum(np.minimum(units - 1, freedom), 1)
    half = stdtrit(freedom, 0.5 + level / 2)[:, None] * np.sqrt(np.einsum("spp->sp", covariance))
    weights = np.empty((0, len(points.used))) if counts is None else np.asarray(counts, dtype=np.float64)
    draws, r2_draws = _weighted_fits(points, weights)
    chosen = (units >= FEWEST_FOR_BOOTSTRAP) & (len(draws) > 0)
    low, high = _percentiles(draws, chosen, coefficients - half, coefficients + half, level=level)
    stretch = np.where(chosen, expansion(units, freedom, level), 1.0)[:, None]
    low, high = coefficients + stretch * (low - coefficients), coefficients + stretch * (high - coefficients)
    unknown = np.full(len(size), np.nan)
    r2_low, r2_high = _percentiles(r2_draws, chosen, unknown, unknown, level=level)
    squares = np.sum(residuals**2, axis=0)
    x_low, x_high = _ranges(np.where(points.used[:, :, None], points.x, np.nan))
    return Lines(
        level=level,
        coefficients=coefficients,
        covariance=covariance,
        freedom=freedom.astype(np.float64),
        low=low,
        high=high,
        bootstrapped=chosen,
        r2=_r2(points, squares),
        r2_low=r2_low,
        r2_high=r2_high,
        residual_sd=np.sqrt(squares / np.maximum(size - coefficients.shape[1], 1)),
        n=size,
        x_low=x_low,
        x_high=x_high,
        draws=draws,
    )


def predict_lines(lines: Lines, x: ArrayLike) -> tuple[Floats, Floats]:
    """Where each line runs at `x`, and the standard error of that, both (models, S), in axis units."""
    regressor = as_regressors(x, len(lines.n))
    columns = np.concatenate([np.ones((*regressor.shape[:2], 1)), regressor], axis=2)
    place = np.einsum("msp,sp->ms", columns, lines.coefficients)
    variance = np.einsum("msp,spq,msq->ms", columns, lines.covariance, columns)
    return place, np.sqrt(np.maximum(variance, 0))


def as_regressors(x: ArrayLike, n_shifts: int) -> Floats:
    """`x` as (models, S, K), whether it was given as (models,), (models, S) or (models, S or 1, K)."""
    values = numbers(x)
    values = values.reshape(*values.shape, *(1,) * (3 - values.ndim))
    return np.broadcast_to(values, (values.shape[0], n_shifts, values.shape[2]))


def _percentiles(
    draws: Floats, chosen: NDArray[np.bool_], low: Floats, high: Floats, *, level: float
) -> tuple[Floats, Floats]:
    """`low` and `high`, replaced by percentiles of the draws in the chosen columns."""
    low, high = low.copy(), high.copy()
    if chosen.any():
        low[chosen], high[chosen] = column_quantiles(draws[:, chosen], [(1 - level) / 2, (1 + level) / 2])
    return low, high


def expansion(n: ArrayLike, freedom: ArrayLike, level: float) -> Floats:
    """By how much percentiles of a bootstrap over n rows are too narrow: sqrt(n / freedom) t / z (Hesterberg 2015)."""
    degrees = np.asarray(freedom, dtype=np.float64)
    return np.sqrt(np.asarray(n) / degrees) * stdtrit(degrees, 0.5 + level / 2) / ndtri(0.5 + level / 2)


def column_quantiles(draws: Floats, tails: list[float]) -> Floats:
    """Quantiles over the first axis, draws that gave no line (NaN) left out."""
    if not np.isnan(draws).any():
        return np.quantile(draws, tails, axis=0)
    empty = np.isnan(draws).all(axis=0)
    result = np.nanquantile(np.where(empty, 0.0, draws), tails, axis=0)
    result[:, empty] = np.nan
    return result


@dataclass(frozen=True)
class _Points:
    """`x` (m, S, K) and `y` (m, S) with 0 where not used; both were centred and x scaled, column by column."""

    x: Floats
    y: Floats
    used: NDArray[np.bool_]
    x_mean: Floats
    x_scale: Floats
    y_mean: Floats
    centred: Floats


def _points(x: ArrayLike, y: ArrayLike, baseline: ArrayLike | None) -> _Points:
    target = numbers(y)
    target = target[:, None] if target.ndim == 1 else target
    regressor = as_regressors(x, target.shape[1])
    if len(regressor) != len(target):
        raise SurefootError(f"x has {len(regressor)} models and y has {len(target)}.")
    used = np.isfinite(target) & np.isfinite(regressor).all(axis=2)
    if baseline is not None:
        chosen = np.asarray(baseline, dtype=bool)
        used &= chosen[:, None] if chosen.ndim == 1 else chosen
    count = np.maximum(used.sum(axis=0), 1)
    x_used, y_used = np.where(used[:, :, None], regressor, 0.0), np.where(used, target, 0.0)
    x_mean, y_mean = x_used.sum(axis=0) / count[:, None], y_used.sum(axis=0) / count
    centred = np.where(used[:, :, None], x_used - x_mean, 0.0)
    scale = np.sqrt((centred**2).sum(axis=0) / count[:, None])
    scale[scale <= 1e-12 * np.maximum(1, np.abs(x_mean))] = 1.0
    return _Points(x_used, np.where(used, y_used - y_mean, 0.0), used, x_mean, scale, y_mean, centred / scale)


def _weighted_fits(points: _Points, weights: Floats) -> tuple[Floats, Floats]:
    """Coefficients (B, S, 1 + K) and r2 (B, S) of the fits weighted by each row of `weights` (B, models)."""
    columns = [points.used.astype(np.float64), *np.moveaxis(points.centred, 2, 0)]
    size = len(columns)
    gram = np.empty((len(weights), points.y.shape[1], size, size))
    moment = np.empty((*gram.shape[:3], 1))
    for i, left in enumerate(columns):
        moment[:, :, i, 0] = weights @ (left * points.y)
        for j in range(i + 1):
            gram[:, :, i, j] = gram[:, :, j, i] = weights @ (left * columns[j])
    total = gram[:, :, 0, 0]
    # The regressors have unit variance, so that a determinant near zero means that no line is fixed.
    lost = np.linalg.det(gram) <= 1e-9 * np.maximum(total, 1) ** size
    gram[lost] = np.eye(size)
    solution: Floats = np.linalg.solve(gram, moment)[..., 0].astype(np.float64, copy=False)
    explained = np.einsum("bsp,bsp->bs", solution, moment[..., 0])
    mean_part = moment[:, :, 0, 0] ** 2 / np.maximum(total, 1)
    spread = weights @ points.y**2 - mean_part
    solution[lost] = np.nan
    return _uncentred(points, solution), np.where(lost, np.nan, _share(explained - mean_part, spread, points))


def _share(part: Floats, whole: Floats, points: _Points) -> Floats:
    """A share of the squares of y, not defined (NaN) where y is constant but for rounding."""
    least = len(points.y) * (1e-14 * np.maximum(1.0, np.abs(points.y_mean))) ** 2
    return np.where(whole > least, part / np.where(whole > least, whole, 1.0), np.nan)


def _uncentred(points: _Points, solution: Floats) -> Floats:
    slopes = solution[..., 1:] / points.x_scale
    intercept = solution[..., 0] + points.y_mean - np.einsum("bsk,sk->bs", slopes, points.x_mean)
    return np.concatenate([intercept[..., None], slopes], axis=2)


def _residuals(points: _Points, coefficients: Floats) -> Floats:
    line = np.einsum("msk,sk->ms", points.x - points.x_mean, coefficients[:, 1:])
    offset = coefficients[:, 0] + np.einsum("sk,sk->s", coefficients[:, 1:], points.x_mean) - points.y_mean
    return np.where(points.used, points.y - line - offset, 0.0)


def _hc3(points: _Points, residuals: Floats) -> Floats:
    """Covariance (S, 1 + K, 1 + K): each squared residual is divided by (1 - leverage) squared."""
    columns = np.concatenate([points.used[:, :, None].astype(np.float64), points.centred], axis=2)
    inverse = np.linalg.pinv(np.einsum("msp,msq->spq", columns, columns), hermitian=True)
    leverage = np.einsum("msp,spq,msq->ms", columns, inverse, columns)
    scaled = columns * (residuals / np.maximum(1 - leverage, 1e-6))[:, :, None]
    middle = np.einsum("msp,msq->spq", scaled, scaled)
    back = _to_raw(points)
    return back @ inverse @ middle @ inverse @ np.swapaxes(back, 1, 2)


def _jackknife(points: _Points, coefficients: Floats, clusters: NDArray[np.intp]) -> tuple[Floats, NDArray[np.int64]]:
    """CR3: covariance (S, 1 + K, 1 + K) of fits without each cluster, and the number of clusters in each line (S).

    NaN where a line is lost without one of its clusters.
    """
    one_hot = (clusters[:, None] == np.arange(clusters.max() + 1)).astype(np.float64)
    present = (one_hot.T @ points.used) > 0
    number = present.sum(axis=0)
    without, _ = _weighted_fits(points, 1 - one_hot.T)
    off = np.where(present[:, :, None], without - coefficients, 0.0)
    share = (number - 1) / np.maximum(number, 1)
    return share[:, None, None] * np.einsum("gsp,gsq->spq", off, off), number


def _to_raw(points: _Points) -> Floats:
    """The matrix that takes centred, scaled coefficients to raw ones, (S, 1 + K, 1 + K)."""
    n_shifts, size = points.x_mean.shape
    back = np.zeros((n_shifts, 1 + size, 1 + size))
    back[:, 0, 0] = 1
    back[:, 0, 1:] = -points.x_mean / points.x_scale
    back[:, range(1, 1 + size), range(1, 1 + size)] = 1 / points.x_scale
    return back


def _r2(points: _Points, squares: Floats) -> Floats:
    total = np.sum(points.y**2, axis=0)
    return _share(total - squares, total, points)


def _ranges(regressor: Floats) -> tuple[Floats, Floats]:
    missing = np.isnan(regressor)
    low = np.where(missing, np.inf, regressor).min(axis=0, initial=np.inf)
    return low, np.where(missing, -np.inf, regressor).max(axis=0, initial=-np.inf)
