"""Read a table of results as it is, with the file and row of every number, and say what is odd about it."""

from __future__ import annotations

import csv
import gzip
import io
import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from surefoot.core import SurefootError

Floats = NDArray[np.float64]
Cells = NDArray[Any]
Severity = Literal["note", "warning"]
LARGEST_BYTES = 512 * 2**20
LARGEST_CELLS = 50_000_000
MOST_BAD_CELLS = 0.1
"""A column with more cells than this share (and more than one) that are not numbers is of text."""
MISSING = frozenset({"", "na", "n/a", "nan", "null", "none", "-", "--"})


@dataclass(frozen=True, kw_only=True)
class Finding:
    """Something about a table that a reader must know: a stable code, how grave it is, a sentence, and the rows."""

    code: str
    severity: Severity
    message: str
    rows: tuple[int, ...] = ()


@dataclass(frozen=True, kw_only=True)
class ResultTable:
    """A table of results: columns of numbers (float64, NaN is missing) or of text, in the order of the file.

    `rows` are row numbers in the file, 1 for the first row of data. `percent_signs` are columns whose cells carried
    a percent sign (their numbers are still percentages). `findings` is what was odd.
    """

    source: str
    columns: Mapping[str, Cells]
    rows: NDArray[np.int64]
    percent_signs: tuple[str, ...] = ()
    findings: tuple[Finding, ...] = ()

    def __len__(self) -> int:
        """Number of rows."""
        return len(self.rows)


def read_table(path: Path | str, *, largest_bytes: int = LARGEST_BYTES) -> ResultTable:
    """Read a CSV, TSV, Parquet, JSON (a list of objects, or of columns) or JSON Lines file; `.gz` is unpacked.

    A column is of numbers where at least nine in ten of its filled cells are; its other cells become missing, and are
    named in the findings with their rows. Raises SurefootError, with file and row, for what is not a table, and above
    the size limit (which holds for the unpacked size, too).
    """
    file = Path(path)
    if not file.is_file():
        raise SurefootError(f"There is no file '{file}'.")
    kind = _kind(file)
    if file.stat().st_size > largest_bytes:
        raise SurefootError(f"{file} is larger than the limit of {largest_bytes / 2**20:,.0f} MiB; cut it down first.")
    if kind == "parquet":
        return make_table(_read_parquet(file), source=str(file))
    text = _read_text(file, largest_bytes)
    columns = (
        _read_json(file, text, lines=kind == "jsonl") if kind in {"json", "jsonl"} else _read_csv(file, text, kind)
    )
    return make_table(columns, source=str(file))


def make_table(columns: Mapping[str, Sequence[Any] | Cells], *, source: str = "memory") -> ResultTable:
    """A table from columns in memory, typed as those of a file are. Raises SurefootError if they are ragged."""
    lengths = {name: len(cells) for name, cells in columns.items()}
    if not lengths or max(lengths.values()) == 0:
        raise SurefootError(f"{source} has no rows of data.")
    if len(set(lengths.values())) > 1:
        raise SurefootError(f"{source} has columns of different lengths: {lengths}.")
    typed = {name: _typed(source, name, cells) for name, cells in columns.items()}
    return ResultTable(
        source=source,
        columns=MappingProxyType({name: column.cells for name, column in typed.items()}),
        rows=np.arange(1, next(iter(lengths.values())) + 1),
        percent_signs=tuple(name for name, column in typed.items() if column.percent_sign),
        findings=tuple(column.finding for column in typed.values() if column.finding),
    )


def column_of(table: ResultTable, name: str) -> Cells:
    """One column. Raises SurefootError that lists the columns there are, if it is not among them."""
    if name not in table.columns:
        known = ", ".join(f"'{known}'" for known in list(table.columns)[:40])
        raise SurefootError(f"{table.source} has no column '{name}'. Its columns are: {known}.")
    return table.columns[name]


def numbers_of(table: ResultTable, name: str) -> Floats:
    """One column of numbers. Raises SurefootError if it is of text."""
    cells = column_of(table, name)
    if not is_numeric(cells):
        bad = [place for place, cell in enumerate(cells) if math.isnan(_number(cell) or 0.0)]
        where = (
            f": {len(bad)} cells are not, the first is '{cells[bad[0]][:40]}' in row {table.rows[bad[0]]}"
            if bad
            else ""
        )
        raise SurefootError(f"Column '{name}' of {table.source} is not of numbers{where}.")
    return cells


def text_of(table: ResultTable, name: str) -> NDArray[np.str_]:
    """One column as text; a number that is whole loses its decimal point."""
    cells = column_of(table, name)
    if is_numeric(cells):
        return np.array([f"{cell:.15g}" if math.isfinite(cell) else "" for cell in cells], dtype=np.str_)
    return cells


def is_numeric(cells: Cells) -> bool:
    """Whether a column holds numbers."""
    return cells.dtype.kind == "f"


def keep_rows(table: ResultTable, mask: NDArray[np.bool_]) -> ResultTable:
    """The rows that the mask marks; their numbers in the file stay."""
    columns = {name: cells[mask] for name, cells in table.columns.items()}
    return replace(table, columns=MappingProxyType(columns), rows=table.rows[mask])


def rows_text(rows: Iterable[int]) -> str:
    """Row numbers in words, cut after eight."""
    numbers = sorted(rows)
    shown = ", ".join(str(number) for number in numbers[:8])
    more = f" and {len(numbers) - 8} more" if len(numbers) > 8 else ""
    return f"row{'s' if len(numbers) > 1 else ''} {shown}{more}"


@dataclass(frozen=True)
class _Column:
    cells: Cells
    finding: Finding | None
    percent_sign: bool


def _typed(source: str, name: str, cells: Sequence[Any] | Cells) -> _Column:
    if isinstance(cells, np.ndarray) and cells.dtype.kind in "fiu":
        return _Column(cells.astype(np.float64), None, False)
    parsed = [_number(cell) for cell in cells]
    filled = [number is not None for number in parsed]
    bad = [row for row, number in enumerate(parsed) if number is not None and math.isnan(number)]
    if not any(filled) or len(bad) > max(MOST_BAD_CELLS * sum(filled), 1) or len(bad) == sum(filled):
        return _Column(
            np.array(["" if cell is None else str(cell).strip() for cell in cells], dtype=np.str_), None, False
        )
    values = np.array([math.nan if number is None else number for number in parsed], dtype=np.float64)
    return _Column(
        values, _not_numbers(source, name, cells, bad), any(str(cell).strip().endswith("%") for cell in cells)
    )


def _not_numbers(source: str, name: str, cells: Sequence[Any] | Cells, bad: list[int]) -> Finding | None:
    if not bad:
        return None
    rows = tuple(row + 1 for row in bad)
    examples = ", ".join(f"'{str(cells[row])[:30]}' in row {row + 1}" for row in bad[:3])
    message = (
        f"{source}: column '{name}' has {len(bad)} cells that are not numbers ({examples}); they count as missing."
    )
    return Finding(code="non-numeric", severity="warning", message=message, rows=rows)


def plain_cell(value: Any) -> Any:
    """A cell to print: of built-in types, None for what is not a finite number."""
    plain = value.item() if isinstance(value, np.generic) else value
    return None if isinstance(plain, float) and not math.isfinite(plain) else plain


def _number(cell: Any) -> float | None:
    """The number in a cell: None if the cell is empty, NaN if it is not a finite number."""
    if cell is None:
        return None
    if isinstance(cell, bool):
        return math.nan
    text = str(cell).strip()
    if text.lower() in MISSING:
        return None
    try:
        number = float(text.removesuffix("%")) if "_" not in text else math.nan
    except ValueError:
        return math.nan
    return number if math.isfinite(number) else math.nan


def _kind(file: Path) -> str:
    suffixes = [suffix.lower() for suffix in file.suffixes if suffix.lower() != ".gz"]
    kinds = {
        ".csv": "csv",
        ".tsv": "tsv",
        ".json": "json",
        ".jsonl": "jsonl",
        ".ndjson": "jsonl",
        ".parquet": "parquet",
    }
    if not suffixes or suffixes[-1] not in kinds:
        raise SurefootError(f"{file} is not a table I can read: give a .csv, .tsv, .json, .jsonl or .parquet file.")
    return kinds[suffixes[-1]]


def _read_text(file: Path, largest_bytes: int) -> str:
    try:
        if file.suffix.lower() == ".gz":
            with gzip.open(file) as packed:
                content = packed.read(largest_bytes + 1)
        else:
            content = file.read_bytes()
    except (OSError, EOFError) as error:
        raise SurefootError(f"{file} cannot be read: {error}.") from None
    if len(content) > largest_bytes:
        raise SurefootError(f"{file} unpacks to more than the limit of {largest_bytes / 2**20:,.0f} MiB.")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise SurefootError(f"{file} is not UTF-8 text (byte {error.start}); save it as UTF-8.") from None


def _read_csv(file: Path, text: str, kind: str) -> dict[str, list[str]]:
    header = text.split("\n", 1)[0]
    delimiter = "\t" if kind == "tsv" else max(",;\t", key=header.count)
    lines = _csv_rows(file, text, delimiter)
    names = [name.strip() for name in next(lines, [])]
    _check_header(file, names)
    rows = [row for row in lines if row]
    for number, row in enumerate(rows, start=1):
        if len(row) != len(names):
            raise SurefootError(f"{file}, row {number} has {len(row)} cells and the header has {len(names)}.")
    return {name: [row[place] for row in rows] for place, name in enumerate(names)}


def _csv_rows(file: Path, text: str, delimiter: str) -> Iterator[list[str]]:
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        yield from reader
    except csv.Error as error:
        raise SurefootError(f"{file}, line {reader.line_num} is not a line of a table: {error}.") from None


def _check_header(file: Path, names: list[str]) -> None:
    if not any(names):
        raise SurefootError(f"{file} has no header line with column names.")
    twice = sorted({name for name in names if names.count(name) > 1}) if len(names) < 10_000 else []
    if len(set(names)) < len(names):
        raise SurefootError(f"{file} has two columns of one name: {', '.join(map(repr, twice[:5]))}. Rename one.")


def _read_json(file: Path, text: str, *, lines: bool) -> dict[str, list[Any]]:
    try:
        content = [json.loads(line) for line in text.splitlines() if line.strip()] if lines else json.loads(text)
    except (json.JSONDecodeError, RecursionError) as error:
        raise SurefootError(f"{file} is not JSON: {str(error)[:200]}.") from None
    if isinstance(content, dict) and all(isinstance(cells, list) for cells in content.values()):
        return content
    if not isinstance(content, list) or not all(isinstance(row, dict) for row in content):
        raise SurefootError(f"{file} is not a table: it must be a list of objects, or an object of columns.")
    names = list(dict.fromkeys(name for row in content for name in row))
    return {name: [row.get(name) for row in content] for name in names}


def _read_parquet(file: Path) -> dict[str, Cells]:
    import duckdb

    try:
        with duckdb.connect() as connection:
            relation = connection.read_parquet(str(file))
            names, n_rows = relation.columns, relation.shape[0]
            if n_rows * len(names) > LARGEST_CELLS:
                raise SurefootError(f"{file} holds {n_rows:,} rows of {len(names):,} columns; cut it down first.")
            rows = relation.fetchall()
    except duckdb.Error as error:
        raise SurefootError(f"{file} is not a Parquet file: {str(error).splitlines()[0][:200]}.") from None
    cells = zip(*rows, strict=True) if rows else ([] for _ in names)
    return {name: np.array(list(column), dtype=object) for name, column in zip(names, cells, strict=True)}
