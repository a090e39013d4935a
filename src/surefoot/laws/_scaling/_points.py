"""From a table to the points of scaling laws: filters, units, families, and what is odd about them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from surefoot.core import SurefootError
from surefoot.laws._results._checks import as_fractions, check_keys, drop_repeated
from surefoot.laws._results._table import (
    Finding,
    Floats,
    ResultTable,
    column_of,
    keep_rows,
    make_table,
    numbers_of,
    text_of,
)

Columns = Mapping[str, Sequence[Any] | NDArray[Any]]


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
    runs: NDArray[np.str_] | None = None
    tests: Floats | None = None


def scaling_points(
    table: ResultTable | Columns,
    *,
    x: str | Sequence[str],
    y: str,
    score: bool = False,
    unit: Literal["auto", "fraction", "percent", "none"] = "none",
    where: Mapping[str, str] | None = None,
    family: str | None = None,
    run: str | None = None,
    label: str | None = None,
    n_test: str | int | None = None,
) -> tuple[tuple[ScalingPoints, ...], tuple[Finding, ...]]:
    """The points of each family, in order of first appearance, and everything that was noticed or left out.

    `score`: y is a score between 0 and 1 (or 0 and 100 percent, recognised); the law is of the error 1 - y. `where`
    keeps rows whose column has that value. Repeated rows count once; rows with no number in x or y, and errors of
    exactly 0, which have no logarithm, are left out and named. `n_test` is a number or a column.
    Raises SurefootError for columns that are not there and when no row is left.
    """
    whole = table if isinstance(table, ResultTable) else make_table(table)
    kept, findings = _filtered(whole, where or {})
    names = (x,) if isinstance(x, str) else tuple(x)
    values, unit_findings = _targets(kept, y, score, unit)
    inputs = np.column_stack([numbers_of(kept, name) for name in names])
    usable, dropped = _usable(kept, names, inputs, y, values)
    findings += (*unit_findings, *dropped)
    if family is None and where is not None and not usable.any():
        raise SurefootError(f"{whole.source}: no row has numbers above 0 in {', '.join(names)} and '{y}'.")
    groups = np.array([""] * len(kept)) if family is None else text_of(kept, family)
    tests = None if n_test is None else _tests(kept, n_test)
    labels = text_of(kept, label) if label else np.array([f"row {row}" for row in kept.rows])
    runs = text_of(kept, run) if run else None
    points = []
    for name in dict.fromkeys(groups[usable].tolist()):
        rows = usable & (groups == name)
        points.append(
            ScalingPoints(
                family=name,
                x_names=names,
                y_name=f"1 - {y}" if score else y,
                x=inputs[rows],
                y=values[rows],
                rows=kept.rows[rows],
                labels=tuple(labels[rows].tolist()),
                runs=None if runs is None else runs[rows],
                tests=None if tests is None else tests[rows],
            )
        )
    if not points:
        raise SurefootError(f"{whole.source}: no row has numbers above 0 in {', '.join(names)} and '{y}'.")
    return tuple(points), findings


def _filtered(table: ResultTable, where: Mapping[str, str]) -> tuple[ResultTable, tuple[Finding, ...]]:
    keep = np.ones(len(table), dtype=bool)
    for column, wanted in where.items():
        cells = text_of(table, column)
        if wanted not in set(cells.tolist()):
            some = ", ".join(repr(cell) for cell in list(dict.fromkeys(cells.tolist()))[:12])
            raise SurefootError(f"{table.source}: column '{column}' never is '{wanted}'. It has: {some}.")
        keep &= cells == wanted
    if not keep.any():
        raise SurefootError(f"{table.source}: no row satisfies all of {dict(where)}.")
    kept = keep_rows(table, keep)
    once = drop_repeated(kept)
    findings = tuple(table.findings) + tuple(
        finding for finding in check_keys(kept, list(kept.columns)) if finding.code == "duplicate-rows"
    )
    return keep_rows(kept, once), findings


def _targets(
    table: ResultTable, y: str, score: bool, unit: Literal["auto", "fraction", "percent", "none"]
) -> tuple[Floats, tuple[Finding, ...]]:
    if not score and unit == "none":
        return numbers_of(table, y), ()
    known = keep_rows(table, np.isfinite(numbers_of(table, y)))
    fractions, findings = as_fractions(known, [y], unit="auto" if unit == "none" else unit)
    values = np.full(len(table), np.nan)
    values[np.isin(table.rows, known.rows)] = fractions[y]
    return (1 - values if score else values), findings


def _usable(
    table: ResultTable, names: Sequence[str], inputs: Floats, y: str, values: Floats
) -> tuple[NDArray[np.bool_], tuple[Finding, ...]]:
    missing = ~(np.isfinite(inputs).all(axis=1) & np.isfinite(values))
    without_log = ~missing & ((inputs <= 0).any(axis=1) | (values <= 0))
    findings = []
    for mask, code, why in (
        (missing, "missing", "have no number"),
        (without_log, "no-logarithm", "have a value of 0 or below, which has no logarithm,"),
    ):
        if mask.any():
            rows = tuple(table.rows[mask].tolist())
            where = f"row{'s' if len(rows) > 1 else ''} {', '.join(map(str, rows[:8]))}"
            more = f" and {len(rows) - 8} more" if len(rows) > 8 else ""
            message = f"{table.source}: {where}{more} {why} in {', '.join(names)} or '{y}' and were left out."
            findings.append(Finding(code=code, severity="warning", message=message, rows=rows))
    return ~missing & ~without_log, tuple(findings)


def _tests(table: ResultTable, n_test: str | int) -> Floats:
    if isinstance(n_test, int) or n_test.isdecimal():
        return np.full(len(table), float(n_test))
    column_of(table, n_test)
    return numbers_of(table, n_test)
