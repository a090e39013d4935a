"""What comparisons say of each table, and over tables: the numbers behind claims and figures."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from math import inf
from pathlib import Path
from statistics import variance
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from surefoot.core import Claim, Observation, Results, SurefootError, Unit, Verdict, verdict_above, verdict_below
from surefoot.stats import holm, t_p_value, t_quantile
from surefoot.tabular import FileTable, Table, TableComparison

FAMILIES = ("trees", "robust trees", "robust", "fair", "network", "linear")
"""The families of learners in the order of figures."""


@dataclass(frozen=True, kw_only=True)
class Pooled:
    """A mean over `n` values of `rows` examples, its standard error (None: not known) and degrees of freedom.

    `bounds` are those of what was measured, where they hold more than the error does; `folds` of a table were tested
    (0: not said).
    """

    value: float
    stderr: float | None
    n: int
    rows: int = 0
    freedom: float = inf
    bounds: tuple[float, float] | None = None
    folds: int = 0

    @property
    def low(self) -> float | None:
        """The lower end of the 95 percent interval."""
        return self.bounds[0] if self.bounds else self._end(-1)

    @property
    def high(self) -> float | None:
        """The upper end of the 95 percent interval."""
        return self.bounds[1] if self.bounds else self._end(1)

    def _end(self, side: int) -> float | None:
        if self.stderr is None or self.freedom < 1:
            return None
        return self.value + side * t_quantile(0.95, self.freedom) * self.stderr


def name_of(table: Table) -> str:
    """The name of a public table, or of the user's file."""
    return Path(table.path).stem if isinstance(table, FileTable) else table.name


def comparison_of(observation: Observation) -> TableComparison:
    """The comparison that an observation is of."""
    if not isinstance(observation.step, TableComparison):
        raise SurefootError(f"{type(observation.step).__name__} is not a comparison of learners on a table.")
    return observation.step


def table_of(observation: Observation) -> str:
    """The name of the table that an observation of a comparison is on."""
    return name_of(comparison_of(observation).fits[0].design.table)


def by_table(results: Results, metric: str, group: str, shift: str) -> dict[str, Pooled]:
    """One measurement for each table, of all learners' comparison.

    Repeats of its folds test the same rows, so that their mean has the error of one: sqrt(mean(stderr^2)).
    """
    found: dict[str, list[Observation]] = {}
    for observation in observed(results, metric, group, shift):
        found.setdefault(table_of(observation), []).append(observation)
    return {name: _over_repeats(observations) for name, observations in found.items()}


def observed(results: Results, metric: str, group: str, shift: str, *, curve: bool = False) -> list[Observation]:
    """The observations of all learners' comparisons, or of those of the few learners of a `curve`."""
    return _indexed(_Same(results)).get((metric, group, shift, curve), [])


@final
class _Same:
    """Results by identity: what was read of them once is not read again for the next figure."""

    def __init__(self, results: Results) -> None:
        self.results = results

    def __hash__(self) -> int:
        return id(self.results)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and self.results is other.results


@lru_cache(maxsize=1)
def _indexed(same: _Same) -> Mapping[tuple[str, str, str, bool], list[Observation]]:
    """By metric, group, shift, and whether a comparison is of a curve: it has fewer fits than another of its table."""
    seen = same.results.select(TableComparison)
    most: dict[str, int] = {}
    for each in seen:
        most[table_of(each)] = max(most.get(table_of(each), 0), len(comparison_of(each).fits))
    found: dict[tuple[str, str, str, bool], list[Observation]] = {}
    for each in seen:
        measured, curve = each.measurement, len(comparison_of(each).fits) < most[table_of(each)]
        found.setdefault((measured.metric, measured.group, measured.shift, curve), []).append(each)
    return found


def _over_repeats(observations: Sequence[Observation]) -> Pooled:
    errors = [each.measurement.stderr for each in observations if each.measurement.stderr is not None]
    ends = [(each.measurement.low, each.measurement.high) for each in observations]
    known = [(low, high) for low, high in ends if low is not None and high is not None]
    return Pooled(
        value=sum(each.value for each in observations) / len(observations),
        stderr=(sum(error**2 for error in errors) / len(errors)) ** 0.5 if len(errors) == len(observations) else None,
        n=len(observations),
        rows=observations[0].measurement.n,
        bounds=(sum(low for low, _ in known) / len(known), sum(high for _, high in known) / len(known))
        if len(known) == len(ends)
        else None,
        folds=len({fit.design for fit in comparison_of(observations[0]).fits}),
    )


def over_tables(parts: Iterable[Pooled]) -> Pooled:
    """The mean of a hierarchy of tables whose effects differ: the estimand of every claim over tables.

    Tables count by one over the sum of their own variance and that between tables (Paule and Mandel 1982), so that a
    large table says more, and the less so the more tables differ. Student's t has one degree less than there are
    effective tables, (sum of weights)^2 / sum of squares: in simulations of the study's tables it covered 95 to 100
    percent at every difference between tables, with one degree less than tables 88 to 99. One table is itself, with
    Student's t of one degree less than its folds. No table is taken as more certain than one of its rows. Raises when
    there is none.
    """
    known = list(parts)
    if not known:
        raise SurefootError("No comparison in the store has this measurement: run the study first.")
    if len(known) == 1:
        return replace(known[0], freedom=known[0].folds - 1) if known[0].folds else known[0]
    if any(part.stderr is None for part in known):
        raise SurefootError("A mean over tables needs the standard error of each.")
    values = np.array([part.value for part in known])
    own = np.array([max(part.stderr or 0.0, 1 / max(part.rows, 1)) for part in known]) ** 2
    weights = 1 / (own + _variance_between(values, own))
    total = float(weights.sum())
    freedom = max(1.0, total**2 / float((weights**2).sum()) - 1)
    rows = sum(part.rows for part in known)
    return Pooled(value=float(weights @ values) / total, stderr=total**-0.5, n=len(known), rows=rows, freedom=freedom)


def _variance_between(values: NDArray[np.float64], own: NDArray[np.float64]) -> float:
    """The variance at which the weighted squares of the values' deviations are as many as their degrees of freedom."""
    from scipy.optimize import brentq

    def excess(between: float) -> float:
        weights = 1 / (own + between)
        return float(weights @ (values - weights @ values / weights.sum()) ** 2) - (len(values) - 1)

    most = len(values) * float(np.var(values))
    found: Any = brentq(excess, 0.0, most) if excess(0.0) > 0 else 0.0
    return float(found)


def spread_over(values: Sequence[float]) -> Pooled:
    """The mean of values that stand each for a table, with the standard error of their spread (Student's t)."""
    n = len(values)
    if n < 2:
        raise SurefootError(f"An interval over tables needs at least two of them, and {n} is there.")
    return Pooled(value=sum(values) / n, stderr=(variance(values) / n) ** 0.5, n=n, freedom=n - 1)


@dataclass(frozen=True, kw_only=True)
class Hypothesis:
    """A claim as a number: its `effect`, with what is said of it, is above (or `below`) the bound."""

    name: str
    sentence: str
    source: str
    effect: Callable[[Results], tuple[Pooled, str]]
    bound: float = 0.0
    below: bool = False
    unit: Unit = "points"
    needed_width: float | None = None


def claims_of(hypotheses: Iterable[Hypothesis]) -> tuple[Claim, ...]:
    """Claims whose verdicts hold together: each needs p below .05 after Holm's correction over all of them."""
    family = tuple(hypotheses)
    return tuple(
        Claim(
            name=each.name,
            sentence=each.sentence,
            source=each.source,
            check=partial(_decided, family, place),
            needed_width=each.needed_width,
        )
        for place, each in enumerate(family)
    )


def _decided(family: tuple[Hypothesis, ...], place: int, results: Results) -> Verdict:
    """The verdict of the interval alone, undecided where it does not hold among all that are tested."""
    tested = family[place]
    found, said = tested.effect(results)
    found = replace(found, bounds=None)
    if found.freedom < 1:
        said = f"{said}; one split does not say what another would give: ask for more"
        numbers = {"effect": found.value, "n": found.n, "bound": tested.bound, "unit": tested.unit}
        return Verdict(status="undecided", detail=said, **numbers)
    p_values = _p_values(_Same(results), family)
    p, adjusted = p_values[place], holm(p_values)[place]
    counted = int(np.isfinite(p_values).sum())
    verdict = _judged(tested, found, f"{said}; p {p:.2g}, among {counted} claims {adjusted:.2g} (Holm)")
    return verdict if adjusted < 0.05 else replace(verdict, status="undecided")


def _judged(tested: Hypothesis, found: Pooled, detail: str) -> Verdict:
    if found.low is None or found.high is None:
        raise SurefootError("This mean has no interval.")
    decide = verdict_below if tested.below else verdict_above
    interval = (found.value, found.low, found.high, found.n)
    return decide(*interval, bound=tested.bound, detail=detail, unit=tested.unit)


@lru_cache(maxsize=4)
def _p_values(same: _Same, family: tuple[Hypothesis, ...]) -> tuple[float, ...]:
    """Two-sided p of each hypothesis against its bound; NaN where it has no effect yet."""

    def p_of(tested: Hypothesis) -> float:
        try:
            found, _ = tested.effect(same.results)
        except SurefootError:
            return float("nan")
        error = float("nan") if found.stderr is None else found.stderr
        return t_p_value(found.value - tested.bound, error, found.freedom)

    return tuple(p_of(each) for each in family)
