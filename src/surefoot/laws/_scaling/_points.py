"""From a table to the points of scaling laws: filters, units, families, and what is odd about them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from surefoot.core import SurefootError
from surefoot.laws._results._checks import (
    as_fractions,
    check_once,
    refuse_mixed_signs,
    without_copies,
)
from surefoot.laws._results._table import (
    Floats,
    ResultTable,
    check_groups,
    keep_rows,
    keep_where,
    make_table,
    number_remarks,
    numbers_of,
    text_of,
)
from surefoot.tables import Remark, alike, parse_numbers, rows_text

Columns = Mapping[str, Sequence[Any] | NDArray[Any]]
Bools = NDArray[np.bool_]
_FEW = 10
"""Below so many errors of a point their log is off by 5 percent and more."""
_MOST = 1e12
"""Test examples of a point: of more, it outweighs others by more than a float holds."""


@dataclass(frozen=True, kw_only=True)
class PointOptions:
    """Which rows of a table are points of a law, and of what.

    `x` names one column or several, `y` the error, or with `score` a score between 0 and 1 (or 0 and 100 percent): the
    law is then of 1 - y. `unit` none takes y as it is. `where` are conditions `column=pattern` or `column!=pattern`.
    `family` parts the rows into laws, `run` names runs with several points, `label` a point. `n_test`, a number or a
    column, is the number of test examples behind each y, which is then a share.
    """

    x: tuple[str, ...]
    y: str
    score: bool = False
    unit: Literal["auto", "fraction", "percent", "none"] = "none"
    where: tuple[str, ...] = ()
    family: str | None = None
    run: str | None = None
    label: str | None = None
    n_test: str | None = None


@dataclass(frozen=True, kw_only=True)
class ScalingPoints:
    """The points of one family: `x` (n, variables), `y` (n,), their rows in the file, and labels.

    `runs` labels points of one run (or is None), `tests` is the number of test examples behind each y (or None).
    """

    family: str
    x_names: tuple[str, ...]
    y_name: str
    x: Floats
    y: Floats
    rows: NDArray[np.int64]
    labels: tuple[str, ...]
    runs: NDArray[Any] | None = None
    tests: Floats | None = None


def scaling_points(
    table: ResultTable | Columns, options: PointOptions
) -> tuple[tuple[ScalingPoints, ...], tuple[Remark, ...]]:
    """The points of each family, in order of first appearance, and everything that was noticed or left out.

    Repeated rows count once, unless runs are repeated and tie; rows with no number in x, y or n are left out and named.
    An error of exactly 0 has no logarithm: where n is known half an error more is counted in all rows, else it is left
    out.
    Raises SurefootError for columns that are not there and when no row is left.
    """
    whole = table if isinstance(table, ResultTable) else make_table(table)
    check_once(whole.source, *options.x, options.y)
    kept, copies = without_copies(keep_where(whole, options.where), options.y)
    values, unit_remarks = _targets(kept, options)
    inputs = np.column_stack([numbers_of(kept, name) for name in options.x])
    for name, column in zip(options.x, inputs.T, strict=True):
        refuse_mixed_signs(kept, name, column)
    tests = None if options.n_test is None else _tests(kept, options.n_test)
    values, moved = _moved(kept, values, tests, options.y)
    usable, dropped = _usable(kept, options, inputs, values, tests)
    written = number_remarks(kept, (*options.x, options.y))
    if not usable.any():
        raise SurefootError(f"{whole.source}: no row has numbers above 0 in {', '.join(options.x)} and '{options.y}'.")
    groups = np.full(len(kept), "", dtype=object) if options.family is None else text_of(kept, options.family)
    names = [name for name in (options.family, options.run) if name is not None]
    for name in names:
        check_groups(kept.source, name, text_of(kept, name)[usable], kept.rows[usable])
    families = dict.fromkeys(groups[usable].tolist())
    points = tuple(
        _points(kept, options, name, usable & (groups == name), (inputs, values, tests)) for name in families
    )
    twice = [remark for name in names for remark in alike(name, text_of(kept, name).tolist())]
    return points, (*kept.remarks, *copies, *unit_remarks, *written, *moved, *dropped, *twice)


def _points(
    table: ResultTable, options: PointOptions, family: str, rows: Bools, numbers: tuple[Floats, Floats, Floats | None]
) -> ScalingPoints:
    inputs, values, tests = numbers
    part = keep_rows(table, rows)
    labels = text_of(part, options.label).tolist() if options.label else [f"row {row}" for row in part.rows.tolist()]
    return ScalingPoints(
        family=family,
        x_names=options.x,
        y_name=f"1 - {options.y}" if options.score else options.y,
        x=inputs[rows],
        y=values[rows],
        rows=part.rows,
        labels=tuple(labels),
        runs=text_of(part, options.run) if options.run else None,
        tests=None if tests is None else tests[rows],
    )


def _targets(table: ResultTable, options: PointOptions) -> tuple[Floats, tuple[Remark, ...]]:
    y, unit = options.y, options.unit
    if unit == "none" and (options.score or options.n_test is not None):
        unit = "auto"
    if unit == "none":
        refuse_mixed_signs(table, y, numbers_of(table, y))
        return numbers_of(table, y), ()
    fractions, remarks = as_fractions(table, [y], unit=unit, what="accuracies" if options.score else "errors")
    return (1 - fractions[y] if options.score else fractions[y]), remarks


def _moved(table: ResultTable, values: Floats, tests: Floats | None, y: str) -> tuple[Floats, tuple[Remark, ...]]:
    """Errors with half an example more of n, whose logs are then right in the mean (Anscombe 1956), said where few."""
    if tests is None:
        return values, ()
    rows = tuple(table.rows[(tests >= 1) & (values * tests < _FEW)].tolist())
    message = f"{table.source}: {rows_text(rows, 'have')} fewer than {_FEW} errors among n in '{y}': "
    message += "half an error more is counted everywhere, so that their logs are right in the mean."
    said = Remark(code="few-errors", severity="note", message=message, rows=rows, columns=(y,))
    return np.where(tests >= 1, (values * tests + 0.5) / (tests + 0.5), values), (said,) if rows else ()


def _usable(
    table: ResultTable, options: PointOptions, inputs: Floats, values: Floats, tests: Floats | None
) -> tuple[Bools, tuple[Remark, ...]]:
    missing = ~(np.isfinite(inputs).all(axis=1) & np.isfinite(values))
    with np.errstate(invalid="ignore"):
        without_log = ~missing & ((inputs <= 0).any(axis=1) | (values <= 0))
        counted = np.ones(len(values), dtype=bool) if tests is None else (tests >= 1) & (tests <= _MOST)
    untested = ~missing & ~without_log & ~counted
    remarks, where = [], f"in {', '.join(options.x)} or '{options.y}'"
    for mask, code, why in (
        (missing, "missing", f"no number {where}"),
        (without_log, "no-logarithm", f"a value of 0 or below, which has no logarithm, {where}"),
        (untested, "no-examples", f"no number of test examples from 1 to {_MOST:g} in '{options.n_test}'"),
    ):
        if mask.any():
            rows = tuple(table.rows[mask].tolist())
            message = f"{table.source}: {rows_text(rows, 'have')} {why}: left out."
            remarks.append(Remark(code=code, severity="warning", message=message, rows=rows))
    return ~missing & ~without_log & ~untested, tuple(remarks)


def _tests(table: ResultTable, n_test: str) -> Floats:
    number = parse_numbers([n_test], magnitudes=True).values[0]
    if n_test in table.columns or np.isnan(number):
        return numbers_of(table, n_test)
    if not 1 <= number <= _MOST:
        raise SurefootError(f"The test examples behind each y must be 1 to {_MOST:g}; got {n_test}.")
    return np.full(len(table), number)
