"""Means of values that are not independent: in clusters, and crossed (runs by examples)."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from surefoot.stats._arrays import finite_numbers, numbers, places
from surefoot.stats._intervals import Interval, are_alike, t_quantile

Floats = NDArray[np.float64]
POWER = 0.9


@dataclass(frozen=True, kw_only=True)
class ClusteredMean:
    """A mean over `n` values in clusters: its standard error, the degrees of freedom of that, and how many clusters.

    `effective` is the number of clusters of one size that weigh as much as these: (sum of sizes)^2 / sum of squares.
    """

    estimate: float
    stderr: float
    freedom: float
    n: float
    clusters: int
    effective: float


def clustered_mean(values: ArrayLike, clusters: ArrayLike, *, sizes: ArrayLike | None = None) -> ClusteredMean:
    """The mean of 1-d `values` whose rows of one label in `clusters` belong together: whole clusters are the sample.

    The error is CR2, unbiased where values are independent after all; the degrees of freedom are those of Bell and
    McCaffrey (2002), so that few or unequal clusters are not taken for many. Equal clusters give Student's t over their
    means. With `sizes` the values are totals over so many (tokens of a text), and the mean is total by size. Raises
    ValueError below two clusters, and for a value or a label that is missing.
    """
    sample, weight = finite_numbers(values), finite_numbers(np.ones(np.shape(values)) if sizes is None else sizes)
    labels, member = places(clusters)
    if len(labels) < 2 or len(member) != len(sample):
        raise ValueError(
            f"whole clusters are the sample, so that two at least are needed, and a label for each of {len(sample)} "
            f"values: there are {len(labels)} and {len(member)}"
        )
    total, size = np.bincount(member, weights=sample), np.bincount(member, weights=weight)
    if (weight < 0).any() or (size > 0).sum() < 2:
        raise ValueError("sizes must not be below 0, and above 0 in two clusters at least")
    n = float(size.sum())
    estimate = float(total.sum()) / n
    spared = 1 - size / n
    squares = (total - estimate * size) ** 2 / spared
    share = size / np.sqrt(spared)
    # Of the quadratic form above with independent values: n squared over the sum of squares of its matrix.
    matrix = (share**2).sum() ** 2 - (share**4).sum()
    return ClusteredMean(
        estimate=estimate,
        stderr=float(squares.sum()) ** 0.5 / n,
        freedom=n**2 / float((size**2).sum() + matrix / n**2),
        n=n,
        clusters=len(labels),
        effective=n**2 / float((size**2).sum()),
    )


def mean_crossed(values: ArrayLike, *, level: float = 0.95) -> Interval:
    """Mean of `values` (rows, columns) where both are samples, with Student's interval of `crossed_error`.

    The bounds are NaN where all values are equal, see `mean_t`. Raises ValueError for fewer than two rows or columns.
    """
    error, freedom = crossed_error(values)
    mean, half = float(numbers(values).mean()), t_quantile(level, freedom) * error
    return Interval(mean, mean - half, mean + half, level=level)


def crossed_error(values: ArrayLike) -> tuple[float, float]:
    """The standard error of the mean of `values` (rows, columns), runs by examples, and its degrees of freedom.

    The error is that of a two-way random layout without repeats, (MS_rows + MS_columns - MS_rest) / n, with
    Satterthwaite's degrees of freedom (Searle, Casella and McCulloch 1992, Variance Components, chapter 4); never below
    what rows or columns alone would give; NaN where all values are equal. Raises ValueError for fewer than two rows or
    columns.
    """
    squares, free = _crossed(values)
    variance = squares @ [1, 1, -1]
    freedom = variance**2 / (squares**2 / free).sum() if variance > 0 else 1.0
    if variance < squares[:2].max():
        variance, freedom = squares[:2].max(), free[int(squares[:2].argmax())]
    table = numbers(values)
    return float("nan") if are_alike(table) else float(variance / table.size) ** 0.5, float(freedom)


def runs_to_see(values: ArrayLike, effect: float, *, level: float = 0.95, power: float = POWER) -> int | None:
    """How many rows of a crossed mean would show a true `effect` with that power, as noisy as `values` are; a guess.

    None: no number would, since the columns alone (the examples) leave too much open. From the components of variance
    of `mean_crossed` and the normal distribution, so that a handful of runs needs one or two more.
    """
    squares = _crossed(values)[0]
    runs, examples = np.shape(values)
    of_column = max(squares[1] - squares[2], 0.0) / runs / examples
    bearable = (effect / (t_quantile(level, np.inf) + t_quantile(2 * power - 1, np.inf))) ** 2 - of_column
    return None if bearable <= 0 else max(2, int(np.ceil(max(squares[0], squares[2]) / examples / bearable)))


def seen_with(found: Interval, *, power: float = POWER) -> float:
    """The smallest true effect that an interval of this width excludes zero for with that power (normal)."""
    return (found.high - found.low) / 2 * (1 + t_quantile(2 * power - 1, np.inf) / t_quantile(found.level, np.inf))


def smallest_seen(stderr: float, freedom: float, *, level: float = 0.95, power: float = POWER) -> float:
    """The smallest true difference that a two-sided t test at 1 - `level` sees with that power; NaN without spread."""
    if not stderr > 0:
        return float("nan")
    return (t_quantile(level, freedom) + t_quantile(2 * power - 1, freedom)) * stderr


def moved_without(slopes: Floats, gap: Floats, clusters: NDArray[np.intp]) -> Floats:
    """The parameters of least squares less those without each cluster (clusters, p), to first order.

    `slopes` (n, p) are derivatives of the n points by the parameters, `gap` what the fit leaves of them, `clusters`
    numbers from 0. Infinite for a cluster that alone determines a parameter.
    """
    norm = np.maximum(np.linalg.norm(slopes, axis=0), 1e-300)
    curvature = _curvature(slopes / norm, clusters)
    left = curvature.sum(axis=0) - curvature
    scores = np.stack([np.bincount(clusters, weights=column * gap) for column in (slopes / norm).T], axis=1)
    told, moved = np.linalg.cond(left) < 1e12, np.full(scores.shape, np.inf)
    moved[told] = np.linalg.solve(left[told], scores[told][..., None])[..., 0] / norm
    return moved


def jackknife_covariance(moved: Floats) -> Floats:
    """The cluster-robust covariance CR3 (Bell and McCaffrey 2002) of parameters that move so without each cluster."""
    return (len(moved) - 1) / len(moved) * moved.T @ moved


def jackknife_freedom(slopes: Floats, clusters: NDArray[np.intp], contrast: Floats) -> float:
    """Degrees of freedom of the variance of a `contrast` (p) of parameters by `jackknife_covariance`.

    Those of Bell and McCaffrey (2002), for points of equal and independent errors: few clusters that decide a contrast
    are not taken for the many that do not. Infinite where the contrast is none.
    """
    curvature = _curvature(slopes, clusters)
    whole = curvature.sum(axis=0)
    weight = np.linalg.solve(whole - curvature, contrast[:, None])[..., 0]
    pull = np.einsum("gij,gj->gi", curvature, weight)
    products = np.diag(np.einsum("gi,gi->g", weight, pull)) - pull @ np.linalg.pinv(whole) @ pull.T
    return float(np.trace(products) ** 2 / (products**2).sum()) if products.any() else np.inf


def _curvature(slopes: Floats, clusters: NDArray[np.intp]) -> Floats:
    parts = np.split(slopes[np.argsort(clusters, kind="stable")], np.bincount(clusters).cumsum()[:-1])
    return np.array([part.T @ part for part in parts])


def _crossed(values: ArrayLike) -> tuple[Floats, Floats]:
    """Mean squares of rows, columns and rest, and their degrees of freedom."""
    table = numbers(values)
    if table.ndim != 2 or min(table.shape) < 2 or not np.isfinite(table).all():
        raise ValueError(f"a crossed mean needs finite values (rows, columns), two of each at least: {table.shape}")
    runs, examples = table.shape
    mean, by_row, by_column = table.mean(), table.mean(axis=1), table.mean(axis=0)
    rest = table - by_row[:, None] - by_column + mean
    free = np.array([runs - 1, examples - 1, (runs - 1) * (examples - 1)], dtype=np.float64)
    sums = np.array([examples * ((by_row - mean) ** 2).sum(), runs * ((by_column - mean) ** 2).sum(), (rest**2).sum()])
    return sums / free, free
