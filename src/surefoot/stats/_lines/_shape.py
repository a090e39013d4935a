"""Is it one straight line? A kink in the baseline, and lines that differ between families."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import fdtrc

from surefoot.core import SurefootError
from surefoot.stats._arrays import places
from surefoot.stats._intervals import Interval
from surefoot.stats._lines._lines import fit_lines

Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class FTest:
    """An F test: the statistic and the p-value; NaN where it cannot be made."""

    statistic: float
    p: float


@dataclass(frozen=True, kw_only=True)
class Linearity:
    """Tests of a straight line against a curve and against a kink.

    `curve`: F test of a quadratic term. `pivot`: where a kink fits best, in axis units (or as given). `kink`: F test
    of it. `kink_p`: its p-value; where the pivot was searched, from the bootstrap of the largest F (Hansen 1996).
    """

    n: int
    curve: FTest
    kink: FTest
    kink_p: float
    pivot: float


def hinge(x: ArrayLike, pivot: float) -> Floats:
    """The two regressors of a continuous piecewise line, (models, ..., 2): x, and how far x is beyond the pivot.

    As the `x` of `fit_lines` (with a shift axis of 1) they make a piecewise baseline; the second slope is by how much
    the slope changes at the pivot.
    """
    values = np.asarray(x, dtype=np.float64)
    return np.stack([values, np.maximum(values - pivot, 0)], axis=-1)


def linearity(
    x: ArrayLike, y: ArrayLike, *, pivot: float | None = None, replicates: int = 2000, seed: int = 0
) -> Linearity:
    """Test the straight line of y on x (both (n,), axis units, NaN left out) against a curve and a kink.

    Without `pivot` every value of x between the 15th and 85th percentile is tried; the p-value is then of the largest
    F under errors that may differ in size (fixed-regressor bootstrap, Hansen 1996). Raises ValueError below 6 points.
    """
    place, target = _finite(x, y)
    if len(place) < 6:
        raise SurefootError(f"A test of linearity needs at least 6 points; there are {len(place)}.")
    scaled = (place - place.mean()) / place.std()
    line = np.column_stack([np.ones(len(place)), scaled])
    residual, squares = _project(line, target)
    curve = _f_test(squares, _project(np.column_stack([line, scaled**2]), target)[1], 1, len(place) - 3)
    pivots = np.unique(np.quantile(place, np.linspace(0.15, 0.85, 71))) if pivot is None else np.array([pivot])
    kinks = _directions(line, np.maximum(place[:, None] - pivots, 0))
    gains = (residual @ kinks) ** 2
    best = int(np.argmax(gains))
    kink = _f_test(squares, squares - gains[best], 1, len(place) - 3)
    noise = np.random.default_rng(seed).standard_normal((replicates if pivot is None else 0, len(place)))
    p = kink.p if pivot is not None else _searched_p(kink.statistic, kinks, residual, line, noise)
    return Linearity(n=len(place), curve=curve, kink=kink, kink_p=p, pivot=float(pivots[best]))


@dataclass(frozen=True, kw_only=True)
class FamilyLine:
    """The line of one family: slope and intercept with the intervals of `fit_lines` (NaN below 3 points)."""

    family: str
    n: int
    slope: Interval
    intercept: Interval


@dataclass(frozen=True, kw_only=True)
class FamilyLines:
    """A line a family, and three F tests (analysis of covariance).

    `slopes`: do slopes differ? `intercepts`: do intercepts differ, given one slope? `both`: is one line enough?
    Families with fewer than 2 points or no spread in x have no line.
    """

    lines: tuple[FamilyLine, ...]
    slopes: FTest
    intercepts: FTest
    both: FTest


def fit_families(x: ArrayLike, y: ArrayLike, families: ArrayLike, *, level: float = 0.95) -> FamilyLines:
    """Fit y on x (both (n,), axis units, NaN left out) in each family, and test whether the families differ."""
    place, target = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    known = np.isfinite(place) & np.isfinite(target)
    distinct, place_of = places(families)
    labels = distinct.astype(str)[place_of]
    fitted = [name for name in np.unique(labels).tolist() if _has_line(place[known & (labels == name)])]
    kept = known & np.isin(labels, fitted)
    lines = tuple(_family_line(name, place, target, kept & (labels == name), level) for name in fitted)
    slopes, intercepts, both = _family_tests(place[kept], target[kept], labels[kept], fitted)
    return FamilyLines(lines=lines, slopes=slopes, intercepts=intercepts, both=both)


def _family_tests(
    place: Floats, target: Floats, labels: NDArray[np.str_], fitted: list[str]
) -> tuple[FTest, FTest, FTest]:
    members = (labels[:, None] == np.array(fitted)).astype(np.float64)
    n, groups = len(place), len(fitted)
    centred = (place - place.mean() if n else place)[:, None]
    _, one = _project(np.column_stack([np.ones(n), centred]), target)
    _, parallel = _project(np.column_stack([members, centred]), target)
    _, free = _project(np.column_stack([members, members * centred]), target)
    return (
        _f_test(parallel, free, groups - 1, n - 2 * groups),
        _f_test(one, parallel, groups - 1, n - groups - 1),
        _f_test(one, free, 2 * (groups - 1), n - 2 * groups),
    )


def _family_line(name: str, x: Floats, y: Floats, mask: NDArray[np.bool_], level: float) -> FamilyLine:
    place, target = x[mask], y[mask]
    n, mean = len(place), place.mean()
    spread = float(((place - mean) ** 2).sum())
    slope = float((place - mean) @ target / spread)
    intercept = float(target.mean() - slope * mean)
    found = fit_lines(place, target, level=level)
    (lowest, low), (highest, high) = found.low[0].tolist(), found.high[0].tolist()
    return FamilyLine(
        family=name,
        n=n,
        slope=Interval(slope, low, high, level=level),
        intercept=Interval(intercept, lowest, highest, level=level),
    )


def _has_line(place: Floats) -> bool:
    return len(place) >= 2 and bool(np.ptp(place) > 1e-12 * max(1.0, float(np.abs(place).max())))


def _finite(x: ArrayLike, y: ArrayLike) -> tuple[Floats, Floats]:
    place, target = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    known = np.isfinite(place) & np.isfinite(target)
    return place[known], target[known]


def _project(design: Floats, target: Floats) -> tuple[Floats, float]:
    residual = target - design @ np.linalg.lstsq(design, target, rcond=None)[0]
    return residual, float(residual @ residual)


def _directions(line: Floats, columns: Floats) -> Floats:
    """Each column freed of what the line already explains, and of length 1."""
    free = columns - line @ np.linalg.lstsq(line, columns, rcond=None)[0]
    length = np.linalg.norm(free, axis=0)
    return free / np.where(length > 1e-9, length, np.inf)


def _f_test(small: float, large: float, numerator: int, denominator: int) -> FTest:
    if numerator < 1 or denominator < 1 or large <= 0:
        return FTest(statistic=np.nan, p=np.nan)
    statistic = max(small - large, 0.0) / numerator / (large / denominator)
    return FTest(statistic=statistic, p=float(fdtrc(numerator, denominator, statistic)))


def _searched_p(statistic: float, kinks: Floats, residual: Floats, line: Floats, noise: Floats) -> float:
    """Share of samples without a kink, errors as large as the residuals, whose largest F is as large."""
    noise = noise * residual
    basis = np.linalg.qr(line)[0]
    noise -= noise @ basis @ basis.T
    squares = (noise**2).sum(axis=1)
    gain = ((noise @ kinks) ** 2).max(axis=1)
    largest = gain / ((squares - gain) / (len(residual) - 3))
    return float((1 + np.sum(largest >= statistic)) / (1 + len(noise)))
