"""Do two families scale differently? Differences of exponents with interval, p and plain words."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

import numpy as np
from numpy.typing import ArrayLike

from surefoot.core import SurefootError
from surefoot.stats._intervals import Interval, t_quantile
from surefoot.stats._laws._engine import user_map
from surefoot.stats._laws._law import Law, fit_law
from surefoot.stats._paired import holm, t_p_value


@dataclass(frozen=True, kw_only=True)
class ExponentComparison:
    """First exponent less second, its interval and p, and a sentence on what the points can and cannot show.

    `p_holm` is p corrected for the other tasks of the same table (equal to p for a single comparison);
    `detectable` is the smallest difference that would reach significance with this noise and these points.
    """

    difference: Interval
    p: float
    p_holm: float
    degrees_of_freedom: float
    n_first: int
    n_second: int
    detectable: float
    words: str


def compare_exponents(first: Law, second: Law, *, level: float = 0.95) -> ExponentComparison:
    """Welch's t on the exponents of two laws fitted to different points (Satterthwaite degrees of freedom).

    Positive: the first law falls faster with x. The points of both must be runs of their own: minima of bins
    are not, and then p is only indicative.
    """
    (a, va), (b, vb) = _exponent(first), _exponent(second)
    freedoms = (first.degrees_of_freedom, second.degrees_of_freedom)
    if min(freedoms) < 1:
        freedom = 0.0
    else:
        freedom = (va + vb) ** 2 / (va**2 / freedoms[0] + vb**2 / freedoms[1]) if va + vb > 0 else sum(freedoms)
    return _comparison(a - b, (va + vb) ** 0.5, freedom, (first.n, second.n), level)


def compare_paired(x: ArrayLike, first: ArrayLike, second: ArrayLike, *, level: float = 0.95) -> ExponentComparison:
    """Exponents of two families measured at the same `x` (n,), from the trend of log(first / second).

    What is particular to a size (its architecture, its schedule) cancels within each pair.
    """
    ratio = np.asarray(first, dtype=np.float64) / np.asarray(second, dtype=np.float64)
    law = fit_law(x, ratio)
    value, variance = _exponent(law)
    return _comparison(value, variance**0.5, law.degrees_of_freedom, (law.n, law.n), level)


def compare_tasks(pairs: Mapping[str, tuple[Law, Law]], *, level: float = 0.95) -> Mapping[str, ExponentComparison]:
    """`compare_exponents` for each task, with p values corrected by Holm for the number of tasks."""
    each = {task: compare_exponents(first, second, level=level) for task, (first, second) in pairs.items()}
    adjusted = holm([one.p for one in each.values()])
    tests = int(np.isfinite(adjusted).sum())
    out = {
        task: replace(one, p_holm=float(p), words=_words(one, float(p), level, tests=tests))
        for (task, one), p in zip(each.items(), adjusted, strict=True)
    }
    return MappingProxyType(out)


def _exponent(law: Law) -> tuple[float, float]:
    if "exponent" not in law.problem.form.exponents:
        raise SurefootError(f"The form '{law.form}' has no exponent of one x to compare.")
    row = user_map(law.problem)[0][law.names.index("exponent")]
    return law.parameters["exponent"], float("nan") if law.exact else float(row @ law.covariance @ row)


def _comparison(
    difference: float, error: float, freedom: float, sizes: tuple[int, int], level: float
) -> ExponentComparison:
    half = t_quantile(level, freedom) * error if freedom > 0 else float("nan")
    p = t_p_value(difference, error, freedom)
    found = ExponentComparison(
        difference=Interval(difference, difference - half, difference + half, level=level),
        p=p,
        p_holm=p,
        degrees_of_freedom=freedom,
        n_first=sizes[0],
        n_second=sizes[1],
        detectable=half,
        words="",
    )
    return replace(found, words=_words(found, p, level))


def _words(found: ExponentComparison, p_holm: float, level: float, tests: int = 1) -> str:
    points = f"{found.n_first} and {found.n_second} points"
    if not np.isfinite(found.p):
        return f"untestable: {points} leave no degree of freedom, or no noise, in one of the laws; add runs"
    corrected = f", {p_holm:.2g} by Holm over {tests} comparisons" if tests > 1 else ""
    size = f"exponents differ by {found.difference} (p = {found.p:.2g}{corrected}; {points})"
    if p_holm < 1 - level:
        return f"the {'first' if found.difference.estimate > 0 else 'second'} falls faster: {size}"
    if found.p < 1 - level:
        return f"undecided once all comparisons count: {size}"
    if found.degrees_of_freedom < 5:
        few = f"with {found.degrees_of_freedom:.1f} degrees of freedom only a difference above"
        return f"undecided: {size}; {few} {found.detectable:.2g} would show"
    return f"undecided: {size}"
