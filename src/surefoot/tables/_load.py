"""Any table file into DuckDB: its columns as they are written, and what is wrong with it."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from difflib import get_close_matches
from glob import escape
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from surefoot.core import PARQUET, SurefootError, full_disk_is_said, in_memory, without_nan
from surefoot.tables._files import LARGEST_BYTES, TableFile, opened
from surefoot.tables._numbers import MISSING

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

MEMORY_LIMIT = "1GB"
_NO_FOLDERS = "hive_partitioning=false"
_PEEKED = 1 << 20
_MOST_PEEKED_ROWS = 200


@dataclass(frozen=True, kw_only=True)
class LoadedTable:
    """What `load_table` read: the DuckDB table, its file, its columns in order, and its number of rows.

    `semicolons`: whether semicolons part its cells, so that a comma in a number is decimal. `typed`: whether the file
    itself says which columns are texts. `blanks`: by column, how many of its cells hold which word of `MISSING`.
    `notes`: what a reader must know of the file.
    """

    name: str
    source: str
    columns: tuple[str, ...]
    rows: int
    semicolons: bool = False
    typed: bool = False
    blanks: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


@contextmanager
def database(memory_limit: str = MEMORY_LIMIT) -> Iterator[DuckDBPyConnection]:
    """A DuckDB connection that spills to a temporary file above its limit (1 GB), and keeps the order of rows."""
    import duckdb

    with TemporaryDirectory() as place, full_disk_is_said(Path(place)):
        settings = {"memory_limit": memory_limit, "threads": 1, "temp_directory": place}
        with duckdb.connect(config=settings) as connection:
            # `python -c` and notebooks would have it on standard output.
            connection.execute("SET enable_progress_bar = false")
            yield connection


def load_table(
    connection: DuckDBPyConnection,
    path: Path | str,
    *,
    name: str = "raw",
    largest_bytes: int = LARGEST_BYTES,
    most_cells: int | None = None,
) -> LoadedTable:
    """Read a file (`-`: stdin) into the DuckDB table `name`, rows in order, one VARCHAR a column of a text format.

    Texts are trimmed; words in `MISSING`, and NaN, are NULL. `largest_bytes` bounds the unpacked size, `most_cells`
    rows times columns. Raises `SurefootError`, with file and row, for what is no table.
    """
    with opened(path, largest_bytes) as file, _source(connection, file) as source:
        _refuse_size(connection, source, file.shown, most_cells)
        listed = ", ".join(
            f"{_cleaned(f'q{place}', kind)} AS {quote(column)}"
            for place, (column, kind) in enumerate(zip(source.columns, source.kinds, strict=True))
        )
        alias = ", ".join(f"q{place}" for place in range(len(source.columns)))
        sql = f"CREATE TABLE {quote(name)} AS SELECT {listed} FROM (SELECT * FROM {source.sql}) AS t({alias})"
        connection.execute(sql, source.values)
        columns = _without_empty(connection, name, source.columns, file.shown)
        if not (rows := _count(connection, quote(name), [])):
            raise SurefootError(" ".join((f"{file.shown} has no rows of data.", *file.notes)))
        return LoadedTable(
            name=name,
            source=file.shown,
            columns=columns,
            rows=rows,
            semicolons=source.delimiter == ";",
            typed=not source.delimiter,
            blanks=_blanks(connection, source, name),
            notes=file.notes,
        )


def _blanks(connection: DuckDBPyConnection, source: _Source, table: str) -> dict[str, dict[str, int]]:
    """Which words of the file were read as missing; columns without a missing value are not read again."""
    places = [f"q{place}" for place in range(len(source.columns))]
    texts = [
        (place, name)
        for place, name, kind in zip(places, source.columns, source.kinds, strict=True)
        if kind == "VARCHAR" and not name.startswith(_EMPTY)
    ]
    counts = ", ".join(f"count({quote(name)}) < count(*)" for _, name in texts)
    some = connection.execute(f"SELECT {counts or 'false'} FROM {quote(table)}").fetchall()[0]
    lacking = {place: name for (place, name), missing in zip(texts, some, strict=False) if missing}
    if not lacking:
        return {}
    trimmed = ", ".join(f"trim({place}, {_AROUND}) AS {place}" for place in lacking)
    sql = f"""SELECT place, word, count(*) FROM (SELECT {trimmed} FROM (SELECT * FROM {source.sql})
        AS t({", ".join(places)})) UNPIVOT (word FOR place IN ({", ".join(lacking)}))
        WHERE word <> '' AND lower(word) IN ({_WORDS}) GROUP BY ALL"""  # a histogram of each column would take 1 GB
    found: dict[str, dict[str, int]] = {}
    for place, word, count in connection.execute(sql, source.values).fetchall():
        found.setdefault(lacking[place], {})[word] = count
    return found


def column_names(path: Path | str) -> tuple[str, ...]:
    """The names of a file's columns, from its beginning where the format allows it. Raises as `load_table` does."""
    with opened(path, LARGEST_BYTES) as file, in_memory() as connection, _source(connection, file) as source:
        return tuple(name for name in source.columns if not name.startswith(_EMPTY))


def check_column(column: str, names: Sequence[str], source: str) -> None:
    """Raise `SurefootError`, with a hint, when a table has no such column."""
    if column not in names:
        near = get_close_matches(column, names, n=1)
        hint = f"Did you mean '{near[0]}'? " if near else ""
        shown = ", ".join(f"'{name}'" for name in names[:40])
        raise SurefootError(f"{source} has no column '{column}'. {hint}Its columns are: {shown}.")


def quote(name: str) -> str:
    """A name as an SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def is_number(kind: str) -> bool:
    """Whether a type of DuckDB is of single numbers: no lists or records of them, and no spans of time."""
    return re.fullmatch(r"DOUBLE|FLOAT|DECIMAL\([\d,]+\)|U?(TINY|SMALL|BIG|HUGE)?INT(EGER)?", kind) is not None


def literal(text: object) -> str:
    """A text, or a path, as an SQL literal: for statements that take no parameters."""
    return "'" + str(text).replace("'", "''") + "'"


def parquet_note(connection: DuckDBPyConnection, path: Path, key: str) -> Any:
    """What a Parquet file notes as JSON under a key, None without such a note. Raises for one that is damaged."""
    query = "SELECT value FROM parquet_kv_metadata(?) WHERE key = encode(?)"  # other notes may be no text
    found = connection.execute(query, [escape(str(path)), key]).fetchone()
    try:
        return json.loads(found[0]) if found else None
    except (ValueError, RecursionError):
        raise SurefootError(f"{path} is damaged: what it notes under '{key}' is no JSON.") from None


_EMPTY = "\0"
"""The beginning of the inner name of a column without one, which is left out if it is empty."""
_WORDS = ", ".join(map(literal, sorted(MISSING)))
_AROUND = literal(" \t\r\n\u00a0")


def _cleaned(column: str, kind: str) -> str:
    """A column without what stands for a missing value: words in texts, NaN in numbers."""
    if kind not in ("VARCHAR", "JSON"):
        return without_nan(column) if kind in ("DOUBLE", "FLOAT") else column
    path = "" if kind == "VARCHAR" else " ->> '$'"  # what is JSON has texts beside numbers
    text = f"trim({column}{path}, {_AROUND})"
    return f"CASE WHEN lower({text}) IN ({_WORDS}) THEN NULL ELSE {text} END"


def _count(connection: DuckDBPyConnection, sql: str, values: list[str]) -> int:
    return int(connection.execute(f"SELECT count(*) FROM {sql}", values).fetchall()[0][0])


@dataclass(frozen=True, kw_only=True)
class _Source:
    """What to select from, with the values to bind, and its columns with DuckDB's type of each."""

    sql: str
    values: list[str]
    columns: tuple[str, ...]
    kinds: tuple[str, ...]
    delimiter: str = ""


@contextmanager
def _source(connection: DuckDBPyConnection, file: TableFile) -> Iterator[_Source]:
    """Open a file for DuckDB, whose faults become one sentence."""
    import duckdb

    try:
        if file.kind == "csv":
            yield _csv_source(file)
        elif file.kind == "arrow":
            connection.register("arrow_file", _arrow(file))
            yield _described(connection, "arrow_file", [], file)
            connection.unregister("arrow_file")
        else:
            json = f"read_json(?, {_NO_FOLDERS}, sample_size=-1, maximum_depth=3)"
            yield _described(connection, PARQUET if file.kind == "parquet" else json, [escape(str(file.path))], file)
    except duckdb.Error as error:
        raise SurefootError(f"{file.shown} {_reason(str(error), file.kind)}") from error


def _csv_source(file: TableFile) -> _Source:
    names, delimiter, skipped = _header(file)
    columns = ", ".join(f"'c{place}': 'VARCHAR'" for place in range(len(names)))
    sql = (
        f"read_csv(?, {_NO_FOLDERS}, auto_detect=false, header=true, skip={skipped}, delim='{delimiter}', quote='\"', "
        f"escape='\"', max_line_size=16777216, columns={{{columns}}})"
    )
    return _Source(
        sql=sql, values=[escape(str(file.path))], columns=names, kinds=("VARCHAR",) * len(names), delimiter=delimiter
    )


def _described(connection: DuckDBPyConnection, sql: str, values: list[str], file: TableFile) -> _Source:
    described = connection.execute(f"DESCRIBE SELECT * FROM {sql}", values).fetchall()
    names = tuple(str(name) for name, *_ in described)
    if file.kind == "json" and names == ("json",):
        raise SurefootError(f"{file.shown} is not a table: it must be a list of objects, or an object of columns.")
    kinds = tuple(str(kind) for _, kind, *_ in described)
    return _Source(sql=sql, values=values, columns=_checked(names, file.shown), kinds=kinds)


def _refuse_size(connection: DuckDBPyConnection, source: _Source, shown: str, most_cells: int | None) -> None:
    if most_cells is not None:
        rows = _count(connection, source.sql, source.values)
        if rows * len(source.columns) > most_cells:
            raise SurefootError(f"{shown} holds {rows:,} rows of {len(source.columns):,} columns; cut it down first.")


def _header(file: TableFile) -> tuple[tuple[str, ...], str, int]:
    """The names in the first line, the delimiter that parts lines most evenly, and how many blank ones stand before."""
    with file.path.open("rb") as stream:
        start = stream.read(_PEEKED)
    if start.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise SurefootError(f"{file.shown} is not UTF-8 text (but UTF-16); save it as UTF-8.")
    text = start.decode("utf-8-sig", errors="replace")
    if len(start) == _PEEKED:
        text = text.rpartition("\n")[0]
    lines = text.splitlines(keepends=True)
    blank = next((place for place, line in enumerate(lines) if line.strip()), 0)
    text, first = "".join(lines[blank:]), "".join(lines[blank : blank + 1])
    if "\ufffd" in first and "\ufffd".encode() not in start:
        raise SurefootError(f"{file.shown} is not UTF-8 text (its header). Save it as UTF-8, or as Parquet.")
    tried = {mark: _records(text, mark) for mark in ("\t" if file.shown.endswith(".tsv") else ",;\t|")}
    delimiter = max(tried, key=lambda mark: (_evenness(tried[mark]), first.count(mark)))
    records = [record for record in tried[delimiter] if record] or [[]]
    if "\x00" in text or not any(name.strip() for name in records[0]):
        raise SurefootError(f"{file.shown} has no header line with column names.")
    width = max(len(record) for record in records)
    names = [name.strip() for name in records[0]]
    trailing = [record[len(names) :] for record in records[1:] if len(record) > len(names)]
    if trailing and len(trailing) == len(records) - 1 and not any(cell.strip() for cells in trailing for cell in cells):
        names += [""] * (width - len(names))
    return _checked(names, file.shown), delimiter, blank


def _records(text: str, delimiter: str) -> list[list[str]]:
    reader = csv.reader(text.splitlines(keepends=True), delimiter=delimiter)
    records: list[list[str]] = []
    try:
        for record in reader:
            records.append(record)
            if len(records) == _MOST_PEEKED_ROWS:
                break
    except csv.Error:
        pass
    return records


def _evenness(records: list[list[str]]) -> float:
    """The share of lines that have as many cells as the first, if that has several."""
    filled = [record for record in records if record]
    if not filled or len(filled[0]) < 2:
        return 0.0
    return sum(len(record) == len(filled[0]) for record in filled) / len(filled)


def _checked(names: Sequence[str], source: str) -> tuple[str, ...]:
    """The names, with inner ones for empty ones; no two may be the same (capital letters do not count in DuckDB)."""
    named = [name for name in names if name]
    if len({name.casefold() for name in named}) < len(named):
        lower = [name.casefold() for name in named]
        twice = sorted({name for name in named if lower.count(name.casefold()) > 1})
        raise SurefootError(f"{source} has two columns of one name: {', '.join(map(repr, twice[:5]))}. Rename one.")
    return tuple(name or f"{_EMPTY}{place}" for place, name in enumerate(names, start=1))


def _without_empty(connection: DuckDBPyConnection, table: str, columns: Sequence[str], source: str) -> tuple[str, ...]:
    """The columns, those without a name and without a value left out, those without a name alone called by place."""
    kept = []
    for column in columns:
        if not column.startswith(_EMPTY):
            kept.append(column)
            continue
        ((filled,),) = connection.execute(f"SELECT count({quote(column)}) FROM {quote(table)}").fetchall()
        change = "DROP COLUMN" if not filled else "RENAME COLUMN"
        new = f"column{column.removeprefix(_EMPTY)}"
        if filled and new in columns:
            raise SurefootError(f"{source} has a column without a name beside '{new}': name it.")
        to = f" TO {quote(new)}" if filled else ""
        connection.execute(f"ALTER TABLE {quote(table)} {change} {quote(column)}{to}")
        kept += [new] if filled else []
    return tuple(kept)


def _arrow(file: TableFile) -> Any:
    try:
        from pyarrow import ArrowException, Table, dataset, float64, ipc, types
    except ImportError:
        message = f"{file.shown} needs pyarrow: pip install 'surefoot[tabular]', or save it as Parquet."
        raise SurefootError(message) from None
    # Wild bytes can read as the length of a message, which then is not there: an OSError.
    try:
        read = dataset.dataset(file.path, format="ipc")
    except (ArrowException, OSError) as error:
        try:
            read = ipc.open_stream(file.path).read_all()  # a stream can be read once
        except (ArrowException, OSError):
            raise SurefootError(f"{file.shown} is not an Arrow (Feather) file or stream.") from error
    fields = enumerate(read.schema)
    strange = [place for place, field in fields if types.is_float16(field.type) or types.is_decimal256(field.type)]
    if not strange:
        return read
    table = read if isinstance(read, Table) else read.to_table()
    for place in strange:  # which DuckDB does not know
        table = table.set_column(place, table.field(place).name, table.column(place).cast(float64()))
    return table


def _reason(message: str, kind: str) -> str:
    """DuckDB's message as far as it says what is wrong, with the row, and what to do about it."""
    lines = [line.strip() for line in message.splitlines() if line.strip()]
    row = next((f"row {int(line.split()[-1]) - 1}" for line in lines if "CSV Error on Line:" in line), "a row")
    if "not utf-8" in message or "unicode" in message.lower():
        return f"is not UTF-8 text ({row}). Save it as UTF-8, or as Parquet."
    if found := next((line for line in lines if line.startswith("Expected Number of Columns")), ""):
        expected, seen = (word for word in found.replace(":", " ").split() if word.isdecimal())
        cure = "leave out lines above the header and below the table"
        return f"cannot be read: {row} has {seen} cells and the header has {expected} ({cure})."
    if "unterminated quote" in message:
        return f"cannot be read: {row} opens a quotation mark that nothing closes."
    if kind == "csv":
        return f"cannot be read: {row} is no line of a table ({lines[0].partition('Error: ')[2].rstrip('.')[:120]})."
    what = {"parquet": "a Parquet file", "json": "JSON"}.get(kind, "a table")
    return f"is not {what}: {lines[0].partition('Error: ')[2][:200].rstrip('.')}."
