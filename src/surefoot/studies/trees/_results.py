"""What comparisons say of each table, and over tables: the numbers behind claims and figures."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import variance
from typing import Any

import numpy as np
from numpy.typing import NDArray

from surefoot.core import Observation, Results, SurefootError
from surefoot.studies._hypotheses import Pooled, read_once
from surefoot.tabular import FileTable, Table, TableComparison

FAMILIES = ("trees", "robust trees", "robust", "fair", "network", "linear")
"""The families of learners in the order of figures."""


def name_of(table: Table) -> str:
    """The name of a public table, or of the user's file."""
    return Path(table.path).stem if isinstance(table, FileTable) else table.name


def comparison_of(observation: Observation) -> TableComparison:
    if not isinstance(observation.step, TableComparison):
        raise SurefootError(f"{type(observation.step).__name__} is not a comparison of learners on a table.")
    return observation.step


def table_of(observation: Observation) -> str:
    return name_of(comparison_of(observation).fits[0].design.table)


def by_table(results: Results, metric: str, group: str, shift: str) -> dict[str, Pooled]:
    """One measurement for each table, of all learners' comparison.

    Repeats of its folds test the same rows, so that their mean has the error of one: sqrt(mean(stderr^2)). A repeat of
    fewer folds weighs less.
    """
    found: dict[str, list[Observation]] = {}
    for observation in observed(results, metric, group, shift):
        found.setdefault(table_of(observation), []).append(observation)
    return {name: _over_repeats(observations) for name, observations in found.items()}


def observed(results: Results, metric: str, group: str, shift: str, *, curve: bool = False) -> list[Observation]:
    """The observations of all learners' comparisons, or of those of the few learners of a `curve`."""
    return _indexed(results).get((metric, group, shift, curve), [])


@read_once
def _indexed(results: Results) -> Mapping[tuple[str, str, str, bool], list[Observation]]:
    """By metric, group, shift, and whether a comparison is of a curve: fewer fits than another of its seed."""
    seen = results.select(TableComparison)
    most: dict[tuple[str, int], int] = {}
    for each in seen:
        most[_split_of(each)] = max(most.get(_split_of(each), 0), len(comparison_of(each).fits))
    found: dict[tuple[str, str, str, bool], list[Observation]] = {}
    for each in seen:
        measured, curve = each.measurement, len(comparison_of(each).fits) < most[_split_of(each)]
        found.setdefault((measured.metric, measured.group, measured.shift, curve), []).append(each)
    return found


def _split_of(observation: Observation) -> tuple[str, int]:
    return table_of(observation), comparison_of(observation).fits[0].design.seed


def _over_repeats(observations: Sequence[Observation]) -> Pooled:
    folds = [len({fit.design for fit in comparison_of(each).fits}) for each in observations]
    shares = np.array(folds) / sum(folds)

    def mean(name: str, power: int = 1) -> float | None:
        values = [getattr(each.measurement, name) for each in observations]
        return None if None in values else float(shares @ np.array(values) ** power) ** (1 / power)

    value, low, high = mean("value"), mean("low"), mean("high")
    return Pooled(
        value=value or 0.0,
        stderr=mean("stderr", 2),
        n=len(observations),
        rows=observations[0].measurement.n,
        bounds=None if low is None or high is None else (low, high),
        folds=folds[0],
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
    if not (known := list(parts)):
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
