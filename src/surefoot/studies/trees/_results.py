"""What the comparisons of a sweep say, averaged over splits, and over tables: the numbers behind claims and figures."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import final

from surefoot.core import Observation, Results, SurefootError, Unit, Verdict, verdict_above, verdict_below
from surefoot.stats import t_quantile
from surefoot.tabular import FileTable, Table, TableComparison

Z = 1.959964
_LEAST_FREEDOM = 4
FAMILIES = ("trees", "robust trees", "robust", "fair", "network", "linear")
"""The families of learners in the order of figures."""


@dataclass(frozen=True, kw_only=True)
class Pooled:
    """A mean with its standard error (None: not known), over `n` values, each of about `rows` examples."""

    value: float
    stderr: float | None
    n: int
    rows: int = 0

    @property
    def low(self) -> float | None:
        """The lower end of the 95 percent interval."""
        return None if self.stderr is None else self.value - Z * self.stderr

    @property
    def high(self) -> float | None:
        """The upper end of the 95 percent interval."""
        return None if self.stderr is None else self.value + Z * self.stderr


def name_of(table: Table) -> str:
    """The name of a public table, or of the user's file."""
    return Path(table.path).stem if isinstance(table, FileTable) else table.name


def table_of(observation: Observation) -> str:
    """The name of the table that an observation of a comparison is on."""
    step = observation.step
    if not isinstance(step, TableComparison):
        raise SurefootError(f"{type(step).__name__} is not a comparison of learners on a table.")
    return name_of(step.fits[0].design.table)


def by_table(results: Results, metric: str, group: str, shift: str) -> dict[str, Pooled]:
    """One measurement of the comparisons for each table, averaged over its splits.

    The standard error joins what the test rows leave open (their bootstrap, which splits of one table share) with the
    spread between splits: sqrt(mean(stderr^2) + variance / splits). It is on the safe side.
    """
    found: dict[str, list[Observation]] = {}
    for observation in _indexed(_Same(results)).get((metric, group, shift), ()):
        found.setdefault(table_of(observation), []).append(observation)
    return {name: _over_splits(observations) for name, observations in found.items()}


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
def _indexed(same: _Same) -> Mapping[tuple[str, str, str], list[Observation]]:
    """The observations of the comparisons by metric, group and shift."""
    found: dict[tuple[str, str, str], list[Observation]] = {}
    for observation in same.results.select(TableComparison):
        measured = observation.measurement
        found.setdefault((measured.metric, measured.group, measured.shift), []).append(observation)
    return found


def over_tables(parts: Iterable[Pooled]) -> Pooled:
    """The plain mean over tables, each with its own standard error; one table is itself. Raises when there is none."""
    known = list(parts)
    if not known:
        raise SurefootError("No comparison in the store has this measurement: run the study first.")
    if len(known) == 1:
        return known[0]
    errors = [part.stderr for part in known if part.stderr is not None]
    stderr = sum(error**2 for error in errors) ** 0.5 / len(known) if len(errors) == len(known) else None
    mean = sum(part.value for part in known) / len(known)
    return Pooled(value=mean, stderr=stderr, n=len(known), rows=sum(part.rows for part in known))


def by_precision(parts: Iterable[Pooled]) -> Pooled | None:
    """The mean in which each table counts by one over its variance: what the large tables say. None without errors."""
    known = [(part.value, part.stderr) for part in parts if part.stderr]
    total = sum(stderr**-2 for _, stderr in known)
    if len(known) < 2:
        return None
    return Pooled(value=sum(value * stderr**-2 for value, stderr in known) / total, stderr=total**-0.5, n=len(known))


def spread_over(values: Sequence[float]) -> Pooled:
    """The mean of values that stand each for a table or learner, with the standard error of their spread (t)."""
    n = len(values)
    if n < 2:
        raise SurefootError(f"An interval over tables needs at least two of them, and {n} is there.")
    mean = sum(values) / n
    stderr = (sum((value - mean) ** 2 for value in values) / (n - 1) / n) ** 0.5
    return Pooled(value=mean, stderr=stderr * t_quantile(0.95, n - 1) / Z, n=n)


def mean_over_splits(values: Mapping[tuple[str, int], float]) -> dict[str, float]:
    """The mean `y` of values by table and split, with `low` and `high` of the spread of splits within tables.

    Tables differ from each other by nature: that is no noise of the mean over these tables. No bounds below four
    degrees of freedom, where Student's interval says little.
    """
    tables: dict[str, list[float]] = {}
    for (table, _), value in values.items():
        tables.setdefault(table, []).append(value)
    means = {name: sum(each) / len(each) for name, each in tables.items()}
    mean = sum(means.values()) / len(means)
    if any(len(each) < 2 for each in tables.values()) or (freedom := len(values) - len(tables)) < _LEAST_FREEDOM:
        return {"y": mean}
    squares = {name: sum((value - means[name]) ** 2 for value in each) for name, each in tables.items()}
    variance = sum(squares[name] / (len(each) - 1) / len(each) for name, each in tables.items()) / len(tables) ** 2
    half = t_quantile(0.95, freedom) * variance**0.5
    return {"y": mean, "low": mean - half, "high": mean + half}


def judge(pooled: Pooled, bound: float, detail: str, *, below: bool = False, unit: Unit = "points") -> Verdict:
    """The verdict on 'the mean is above (below) the bound'; most means are differences of shares, in points."""
    if pooled.low is None or pooled.high is None:
        raise SurefootError("This mean has no interval.")
    decide = verdict_below if below else verdict_above
    return decide(pooled.value, pooled.low, pooled.high, pooled.n, bound=bound, detail=detail, unit=unit)


def _over_splits(observations: Sequence[Observation]) -> Pooled:
    values = [each.value for each in observations]
    rows = round(sum(each.measurement.n for each in observations) / len(observations))
    errors = [each.measurement.stderr for each in observations if each.measurement.stderr is not None]
    spread = spread_over(values) if len(values) > 1 else Pooled(value=values[0], stderr=None, n=1)
    if not errors:
        return replace(spread, rows=rows)
    mean = spread.value
    between = sum((value - mean) ** 2 for value in values) / (len(values) - 1) if len(values) > 1 else 0.0
    within = sum(error**2 for error in errors) / len(errors)
    return Pooled(value=mean, stderr=(within + between / len(values)) ** 0.5, n=len(values), rows=rows)
