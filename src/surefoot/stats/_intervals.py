"""Intervals for shares and means, and the bootstrap that every other interval here is built on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import betaincinv, ndtr, ndtri, stdtrit

Floats = NDArray[np.float64]
Statistic = Callable[[Floats], ArrayLike]


@dataclass(frozen=True)
class Interval:
    """An estimate with the bounds of its interval, in the unit of the estimate.

    `level` is the nominal coverage, 0 to 1. A bound may be infinite; NaN: none can be given.
    """

    estimate: float
    low: float
    high: float
    level: float = field(default=0.95, kw_only=True)

    def __contains__(self, value: float) -> bool:
        """Whether `value` lies between the bounds, both included."""
        return self.low <= value <= self.high

    def __str__(self) -> str:
        """`0.512 [0.480, 0.544]`, with four significant digits."""
        return f"{self.estimate:.4g} [{self.low:.4g}, {self.high:.4g}]"


def wilson_bounds(successes: ArrayLike, n: ArrayLike, *, level: float = 0.95) -> tuple[Floats, Floats]:
    """Wilson score bounds of shares, elementwise: arrays `low, high` in 0 to 1 (Wilson 1927)."""
    k, size = _counts(successes, n)
    z = _z(level)
    share = k / size
    centre = (share + z**2 / (2 * size)) / (1 + z**2 / size)
    half = z / (1 + z**2 / size) * np.sqrt(share * (1 - share) / size + z**2 / (4 * size**2))
    low, high = np.where(k == 0, 0.0, centre - half), np.where(k == size, 1.0, centre + half)
    return low, high


def clopper_pearson_bounds(successes: ArrayLike, n: ArrayLike, *, level: float = 0.95) -> tuple[Floats, Floats]:
    """Exact binomial bounds of shares, elementwise: arrays `low, high` in 0 to 1 (Clopper and Pearson 1934).

    Never below the nominal level. `successes` may be fractional (a share times n that was rounded in print).
    """
    k, size = _counts(successes, n)
    tail = (1 - _checked_level(level)) / 2
    low = np.where(k == 0, 0.0, betaincinv(np.where(k == 0, 1.0, k), size - k + 1, tail))
    high = np.where(k == size, 1.0, betaincinv(k + 1, np.where(k == size, 1.0, size - k), 1 - tail))
    return low, high


def wilson(successes: float, n: float, *, level: float = 0.95) -> Interval:
    """Wilson score interval of one share; the default for accuracies (mean coverage close to nominal)."""
    low, high = wilson_bounds(successes, n, level=level)
    return Interval(float(successes) / float(n), float(low), float(high), level=level)


def clopper_pearson(successes: float, n: float, *, level: float = 0.95) -> Interval:
    """Exact binomial interval of one share; use it where the nominal level must never be missed."""
    low, high = clopper_pearson_bounds(successes, n, level=level)
    return Interval(float(successes) / float(n), float(low), float(high), level=level)


def mean_t(values: ArrayLike, *, level: float = 0.95) -> Interval:
    """Mean of 1-d `values` with Student's t interval; bounds are NaN for a single value."""
    sample = _sample(values)
    if len(sample) == 1:
        return Interval(float(sample[0]), float("nan"), float("nan"), level=level)
    half = t_quantile(level, len(sample) - 1) * float(sample.std(ddof=1)) / len(sample) ** 0.5
    mean = float(sample.mean())
    return Interval(mean, mean - half, mean + half, level=level)


def mean_crossed(values: ArrayLike, *, level: float = 0.95) -> Interval:
    """Mean of `values` (rows, columns) where both are samples: runs by examples, every run on every example.

    Student's interval with the error of a two-way random layout without repeats, (MS_rows + MS_columns - MS_rest) / n,
    and Satterthwaite's degrees of freedom (Searle, Casella and McCulloch 1992, Variance Components, chapter 4); never
    below what rows or columns alone would give. Raises ValueError for fewer than two rows or columns.
    """
    table = np.asarray(values, dtype=np.float64)
    if table.ndim != 2 or min(table.shape) < 2 or not np.isfinite(table).all():
        raise ValueError(f"a crossed mean needs finite values (rows, columns), two of each at least: {table.shape}")
    runs, examples = table.shape
    mean, by_row, by_column = float(table.mean()), table.mean(axis=1), table.mean(axis=0)
    rest = table - by_row[:, None] - by_column + mean
    free = np.array([runs - 1, examples - 1, (runs - 1) * (examples - 1)])
    sums = np.array([examples * ((by_row - mean) ** 2).sum(), runs * ((by_column - mean) ** 2).sum(), (rest**2).sum()])
    squares = sums / free
    variance = squares @ [1, 1, -1]
    uncertain = variance**2 / (squares**2 / free).sum() if variance > 0 else 0.0
    if variance < squares[:2].max():
        variance, uncertain = squares[:2].max(), free[int(squares[:2].argmax())]
    half = t_quantile(level, uncertain) * float(variance / table.size) ** 0.5 if variance > 0 else 0.0
    return Interval(mean, mean - half, mean + half, level=level)


def t_quantile(level: float, degrees_of_freedom: float) -> float:
    """Half width, in standard errors, of a two-sided t interval of that level."""
    return float(stdtrit(degrees_of_freedom, 0.5 + _checked_level(level) / 2))


def resample_counts(n: int, replicates: int, *, seed: int, clusters: ArrayLike | None = None) -> NDArray[np.float64]:
    """How often each of `n` rows is drawn in each bootstrap sample: array (replicates, n).

    With `clusters` (n labels) whole clusters are drawn, so that rows of one run stay together.
    A weighted fit with a row of these counts is the fit of that bootstrap sample.
    """
    generator = np.random.default_rng(seed)
    if clusters is None:
        return _counts_of_draws(generator, n, replicates)
    labels, member = np.unique(np.asarray(clusters), return_inverse=True)
    if len(member) != n:
        raise ValueError(f"clusters has {len(member)} labels for {n} values")
    return _counts_of_draws(generator, len(labels), replicates)[:, member.ravel()]


def bootstrap(
    values: ArrayLike,
    statistic: Statistic | None = None,
    *,
    clusters: ArrayLike | None = None,
    replicates: int = 2000,
    seed: int = 0,
    level: float = 0.95,
    method: Literal["percentile", "bca"] = "bca",
) -> Interval:
    """Bootstrap interval of a statistic of 1-d `values` (default: the mean), seeded.

    `statistic` takes a 1-d sample and returns a number. `clusters` are n labels; rows with one label are
    drawn together. `method` is the percentile or the bias-corrected, accelerated interval (Efron 1987).
    Raises ValueError below four values (or four clusters): their bootstrap says nothing; use `mean_t`.
    """
    sample = _sample(values)
    units = np.arange(len(sample)) if clusters is None else np.unique(clusters, return_inverse=True)[1].ravel()
    n_units = int(units.max()) + 1
    if n_units < 4:
        raise ValueError(f"a bootstrap over {n_units} independent values is refused: use the t interval")
    counts = resample_counts(len(sample), replicates, seed=seed, clusters=clusters)
    draws = _statistics(sample, counts, statistic)
    left_out = (units[None, :] != np.arange(n_units)[:, None]).astype(float)
    estimate = float(_statistics(sample, np.ones((1, len(sample))), statistic)[0])
    jackknife = _statistics(sample, left_out, statistic) if method == "bca" else None
    low, high = quantile_bounds(draws, estimate, level=level, jackknife=jackknife)
    return Interval(estimate, low, high, level=level)


def quantile_bounds(
    draws: Floats, estimate: float, *, level: float = 0.95, jackknife: Floats | None = None
) -> tuple[float, float]:
    """Percentile bounds of bootstrap draws; bias-corrected, accelerated if `jackknife` values are given."""
    tails = np.array([(1 - _checked_level(level)) / 2, (1 + level) / 2])
    if jackknife is not None and np.ptp(draws) > 0:
        tails = _bca_tails(tails, draws, estimate, jackknife)
    low, high = np.quantile(draws, tails)
    return float(low), float(high)


def _bca_tails(tails: Floats, draws: Floats, estimate: float, jackknife: Floats) -> Floats:
    below = np.mean(draws < estimate) + np.mean(draws == estimate) / 2
    bias = ndtri(np.clip(below, 1 / (2 * len(draws)), 1 - 1 / (2 * len(draws))))
    spread = jackknife.mean() - jackknife
    squares = float((spread**2).sum())
    acceleration = float((spread**3).sum()) / (6 * squares**1.5) if squares > 0 else 0.0
    shifted = bias + ndtri(tails)
    return ndtr(bias + shifted / (1 - acceleration * shifted))


def _statistics(sample: Floats, counts: Floats, statistic: Statistic | None) -> Floats:
    if statistic is None:
        return counts @ sample / counts.sum(axis=1)
    rows = counts.astype(np.int64)
    return np.array([float(np.asarray(statistic(np.repeat(sample, row)))) for row in rows])


def _counts_of_draws(generator: np.random.Generator, n: int, replicates: int) -> Floats:
    out = np.empty((replicates, n))
    # Chunks that stay in the cache of the processor are several times faster than one pass.
    rows = max(1, 200_000 // n)
    for start in range(0, replicates, rows):
        part = out[start : start + rows]
        draws = generator.integers(0, n, size=part.shape) + n * np.arange(len(part))[:, None]
        part[:] = np.bincount(draws.ravel(), minlength=part.size).reshape(part.shape)
    return out


def _counts(successes: ArrayLike, n: ArrayLike) -> tuple[Floats, Floats]:
    k, size = np.asarray(successes, dtype=np.float64), np.asarray(n, dtype=np.float64)
    if np.any(size <= 0) or np.any(k < 0) or np.any(k > size):
        raise ValueError("a share needs n > 0 and 0 <= successes <= n")
    return k, size


def _sample(values: ArrayLike) -> Floats:
    sample = np.asarray(values, dtype=np.float64)
    if sample.ndim != 1 or not len(sample) or not np.isfinite(sample).all():
        raise ValueError("an interval needs a 1-d array of at least one finite value")
    return sample


def _checked_level(level: float) -> float:
    if not 0 < level < 1:
        raise ValueError(f"level is a share between 0 and 1, for example 0.95; got {level}")
    return level


def _z(level: float) -> float:
    return float(ndtri(0.5 + _checked_level(level) / 2))
