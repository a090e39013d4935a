"""A table of results in memory, with the file and row of every number, and what is odd about it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from surefoot.core import SurefootError, counted
from surefoot.tables import (
    Numbers,
    Remark,
    check_column,
    database,
    is_number,
    load_table,
    parse_numbers,
    quote,
    remarks_on,
    rows_text,
    type_columns,
)

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

Floats = NDArray[np.float64]
Cells = NDArray[Any]
LARGEST_BYTES = 512 * 2**20
LARGEST_CELLS = 50_000_000


@dataclass(frozen=True, kw_only=True)
class ResultTable:
    """A table of results: columns of numbers (float64, NaN is missing) or of text ('' is missing), as in the file.

    `rows` are row numbers in the file, 1 for the first row of data. `percent_rows` are the rows whose cell carried a
    percent sign, by column (their numbers are still percentages). `remarks` are what was odd.
    """

    source: str
    columns: Mapping[str, Cells]
    rows: NDArray[np.int64]
    percent_rows: Mapping[str, tuple[int, ...]] = field(default_factory=lambda: MappingProxyType({}))
    remarks: tuple[Remark, ...] = ()

    def __len__(self) -> int:
        """Number of rows."""
        return len(self.rows)


def read_table(path: Path | str, *, largest_bytes: int = LARGEST_BYTES) -> ResultTable:
    """Read a table file of any kind that `surefoot.tables` knows, or `-` (stdin).

    A column is of numbers where nine in ten of its filled cells are; its other cells become missing, and are named in
    the remarks with their rows. Raises SurefootError, with file and row, for what is not a table, and above the limit
    of bytes (which holds for the unpacked size, too) or of 50 million cells.
    """
    with database() as connection:
        loaded = load_table(connection, path, largest_bytes=largest_bytes, most_cells=LARGEST_CELLS)
        remarks = type_columns(connection, loaded)
        kinds = {name: kind for name, kind, *_ in connection.execute("DESCRIBE raw").fetchall()}
        columns = {name: _fetched(connection, name, kinds[name]) for name in loaded.columns}
    return _table(loaded.source, columns, remarks)


def make_table(columns: Mapping[str, Sequence[Any] | Cells], *, source: str = "memory") -> ResultTable:
    """A table from columns in memory, typed as those of a file are. Raises SurefootError if they are ragged."""
    lengths = {name: len(cells) for name, cells in columns.items()}
    if not lengths or max(lengths.values()) == 0:
        raise SurefootError(f"The table '{source}' has no rows of data.")
    if len(set(lengths.values())) > 1:
        raise SurefootError(f"The table '{source}' has columns of different lengths: {lengths}.")
    typed, remarks = {}, []
    for name, cells in columns.items():
        if isinstance(cells, np.ndarray) and cells.dtype.kind in "fiu":
            typed[name] = cells.astype(np.float64)
            continue
        numbers = parse_numbers(list(cells))
        typed[name] = numbers.values if numbers.obvious else _texts(cells)
        remarks += remarks_on(source, name, list(cells), numbers) if numbers.obvious else ()
    return _table(source, typed, remarks)


def column_of(table: ResultTable, name: str) -> Cells:
    """One column. Raises SurefootError that lists the columns there are, if it is not among them."""
    check_column(name, list(table.columns), table.source)
    return table.columns[name]


def numbers_of(table: ResultTable, name: str) -> Floats:
    """One column of numbers; "1.3B" and "400M" are numbers here. Raises SurefootError if it is of text."""
    cells = column_of(table, name)
    return cells if is_numeric(cells) else _asked_for(table, name).values


def whole_numbers_of(table: ResultTable, name: str) -> Floats:
    """One column of numbers of which those with a percent sign are hundredths."""
    return numbers_of(table, name) / np.where(np.isin(table.rows, table.percent_rows.get(name, ())), 100, 1)


def number_remarks(table: ResultTable, names: Sequence[str]) -> tuple[Remark, ...]:
    """What a reader must know of columns of text ("1.3B") that are read as numbers since they were asked for."""
    texts = [name for name in dict.fromkeys(names) if not is_numeric(column_of(table, name))]
    return tuple(
        remark
        for name in texts
        for remark in remarks_on(table.source, name, table.columns[name].tolist(), _asked_for(table, name))
    )


def text_of(table: ResultTable, name: str) -> NDArray[Any]:
    """One column as text; a number that is whole loses its decimal point."""
    cells = column_of(table, name)
    if is_numeric(cells):
        return np.array([f"{cell:.15g}" if math.isfinite(cell) else "" for cell in cells], dtype=object)
    return cells


def check_groups(source: str, name: str, labels: Sequence[str] | Cells, rows: Sequence[int] | Cells) -> None:
    """Raise SurefootError, with the rows, where a label to group by is blank: those would be one group."""
    if empty := [int(row) for label, row in zip(labels, rows, strict=True) if not label]:
        raise SurefootError(
            f"{source}: {rows_text(empty, 'have')} no value in the column '{name}', to group by: fill "
            f"{'them' if len(empty) > 1 else 'it'} in, or leave such rows out with --where '{name}!='."
        )


def is_numeric(cells: Cells) -> bool:
    return cells.dtype.kind == "f"


def keep_rows(table: ResultTable, mask: NDArray[np.bool_]) -> ResultTable:
    """The rows that the mask marks; their numbers in the file stay."""
    columns = {name: cells[mask] for name, cells in table.columns.items()}
    return replace(table, columns=MappingProxyType(columns), rows=table.rows[mask])


def keep_where(table: ResultTable, conditions: Sequence[str]) -> ResultTable:
    """The rows that meet all conditions (`meets`), with its remarks. Raises SurefootError if there are none."""
    mask, said = meets(conditions, lambda column: text_of(table, column), len(table), table.source)
    return replace(keep_rows(table, mask), remarks=(*table.remarks, *said)) if conditions else table


def meets(
    conditions: Sequence[str], values: Callable[[str], Sequence[str] | Cells], n: int, source: str
) -> tuple[NDArray[np.bool_], list[Remark]]:
    """Which of n rows meet all conditions `column=pattern` or `column!=pattern`, where a pattern may hold `*`.

    `values` gives a column as texts (n,). A remark says where a column never is what rows were to be without. Raises
    SurefootError, with the values there are, where it never is what rows were to have, or no row meets all.
    """
    member, said = np.ones(n, dtype=np.bool_), []
    for condition in conditions:
        column, sign, pattern = (part.strip() for part in condition.partition("!=" if "!=" in condition else "="))
        if not sign or not column:
            raise SurefootError(f"Rows are chosen by 'column=pattern' or 'column!=pattern'; got '{condition}'.")
        cells = list(values(column))
        fits = _fitting(cells, pattern)
        if not fits.any():
            some = ", ".join(repr(cell) for cell in list(dict.fromkeys(cells))[:12])
            never = f"{source}: column '{column}' never is '{pattern}'"
            if sign == "=":
                raise SurefootError(f"{never}. It has: {some}.")
            message = f"{never}, so that '{condition}' leaves nothing out. It has: {some}."
            said.append(Remark(code="never", severity="warning", message=message, columns=(column,)))
        member &= ~fits if sign == "!=" else fits
    if not member.any():
        raise SurefootError(f"{source}: no row has {' and '.join(conditions)}.")
    return member, said


def _fitting(cells: Sequence[str], pattern: str) -> NDArray[np.bool_]:
    """Which cells are the pattern, or, where none is, the number that it is written in another way: 1e9, 32.0."""
    fits = np.array([cell == pattern or fnmatchcase(cell, pattern) for cell in cells], dtype=np.bool_)
    number = parse_numbers([pattern]).values[0]
    if fits.any() or not math.isfinite(number):
        return fits
    return np.array([cell == f"{number:.15g}" for cell in cells], dtype=np.bool_)


def plain_cell(value: Any) -> Any:
    """A cell to print: of built-in types, None for what is not a finite number."""
    plain = value.item() if isinstance(value, np.generic) else value
    return None if isinstance(plain, float) and not math.isfinite(plain) else plain


def plain_record(value: Any) -> Any:
    """A record for JSON, whatever it nests: built-in types, None for what is not a finite number."""
    if isinstance(value, Mapping):
        return {key: plain_record(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [plain_record(each) for each in value]
    return plain_cell(value)


def _table(source: str, columns: Mapping[str, Cells], remarks: Sequence[Remark]) -> ResultTable:
    signs = {remark.columns[0]: remark.rows for remark in remarks if remark.code == "percent-sign"}
    return ResultTable(
        source=source,
        columns=MappingProxyType(dict(columns)),
        rows=np.arange(1, len(next(iter(columns.values()))) + 1),
        percent_rows=MappingProxyType(signs),
        remarks=tuple(remarks),
    )


def _fetched(connection: DuckDBPyConnection, name: str, kind: str) -> Cells:
    number = is_number(kind)
    sql = f"SELECT {quote(name)}::{'DOUBLE' if number else 'VARCHAR'} AS value FROM raw"
    cells = connection.execute(sql).fetchnumpy()["value"]
    if number:
        return np.asarray(np.ma.filled(cells, np.nan), dtype=np.float64)
    return _texts(np.ma.array(cells, dtype=object).filled(""))  # which `filled(None)` would write "?"


def _texts(cells: Sequence[Any] | Cells) -> Cells:
    return np.array(["" if cell is None else str(cell).strip() for cell in cells], dtype=object)


def _asked_for(table: ResultTable, name: str) -> Numbers:
    cells = table.columns[name].tolist()
    numbers = parse_numbers(cells, magnitudes=True)
    if not numbers.agree:
        bad = np.flatnonzero(numbers.bad)
        first = f"the first is '{cells[bad[0]][:40]}' in row {table.rows[bad[0]]}" if len(bad) else "all are empty"
        raise SurefootError(
            f"Column '{name}' of {table.source} is not of numbers: {counted(len(bad), 'cell', 'are')} not, {first}."
        )
    return numbers
