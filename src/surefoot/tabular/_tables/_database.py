"""A DuckDB table as plain arrays: one float32 row a column, category codes, labels, groups, and what was done."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from surefoot.core import Measurement, SurefootError

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

MEMORY_LIMIT = "1GB"
MOST_GROUPS = 64
MOST_LEVELS = 5000
_FEW = 10
_WORDS_AMONG_NUMBERS = 0.1
_NUMBERS = ("INT", "DOUBLE", "FLOAT", "DECIMAL", "REAL", "BOOLEAN")
_TIMES = ("DATE", "TIMESTAMP")


@dataclass(frozen=True, kw_only=True)
class Column:
    """A feature: a number (no levels), or a category whose value is the place of its level; NaN is missing."""

    name: str
    levels: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class TableArrays:
    """An opened table: `values` (features, rows) float32, `labels` and `groups` (rows,), mapped from the disk.

    `official` marks published test rows (all False when there are none); `notes` say what was done to the data.
    """

    columns: tuple[Column, ...]
    values: NDArray[np.float32]
    labels: NDArray[np.uint8]
    groups: NDArray[np.uint16]
    official: NDArray[np.bool_]
    group_names: tuple[str, ...]
    notes: tuple[str, ...]


def open_table(path: Path) -> TableArrays:
    """Open what a table Step wrote, without reading it into memory."""
    said = json.loads((path / "table.json").read_text(encoding="utf-8"))
    arrays = {name: np.load(path / f"{name}.npy", mmap_mode="r") for name in ("values", "labels", "groups", "official")}
    columns = tuple(Column(name=each["name"], levels=tuple(each["levels"])) for each in said["columns"])
    return TableArrays(columns=columns, group_names=tuple(said["groups"]), notes=tuple(said["notes"]), **arrays)


@contextmanager
def database() -> Iterator[DuckDBPyConnection]:
    """A DuckDB connection that spills to a temporary file above one gigabyte, and keeps the order of rows."""
    import duckdb

    with TemporaryDirectory() as place:
        connection = duckdb.connect(str(Path(place, "table.duckdb")))
        try:
            connection.execute(f"SET memory_limit='{MEMORY_LIMIT}'; SET threads=1; SET preserve_insertion_order=true")
            yield connection
        finally:
            connection.close()


def write_arrays(
    out: Path,
    connection: DuckDBPyConnection,
    *,
    sensitive: Sequence[str],
    categorical: Sequence[str],
    notes: list[str],
) -> tuple[TableArrays, tuple[int, ...]]:
    """Write the DuckDB table `features` with its columns `label__`, `test__` and the attributes `sensitive`.

    Constant columns and identifiers are left out and said. Returns the opened table and the size of each group.
    Raises `SurefootError` when one label or one group is all there is.
    """
    described = connection.execute("DESCRIBE features").fetchall()
    kinds = {name: kind for name, kind, *_ in described if name not in ("label__", "test__", *sensitive)}
    rows = _count(connection, "SELECT count(*) FROM features")
    _check_labels(connection, rows)
    columns = [
        column for name, kind in kinds.items() if (column := _column(connection, name, kind, categorical, notes))
    ]
    if not columns:
        raise SurefootError("No feature is left: every column is constant, an identifier, the label or a group.")
    values = np.lib.format.open_memmap(out / "values.npy", "w+", np.float32, (len(columns), rows))
    for place, column in enumerate(columns):
        values[place] = _read(connection, column, kinds[column.name], notes)
    del values
    names, codes = group_rows(connection, sensitive, notes)
    np.save(out / "groups.npy", codes)
    np.save(out / "labels.npy", _plain(connection, "label__::UTINYINT").astype(np.uint8))
    np.save(out / "official.npy", _plain(connection, "test__::UTINYINT").astype(bool))
    said = {"columns": [asdict(column) for column in columns], "groups": names, "notes": notes}
    (out / "table.json").write_text(json.dumps(said, ensure_ascii=False, indent=1), encoding="utf-8")
    return open_table(out), tuple(np.bincount(codes, minlength=len(names)).tolist())


def _check_labels(connection: DuckDBPyConnection, rows: int) -> None:
    positive = _count(connection, "SELECT count(*) FROM features WHERE label__")
    if rows == 0:
        raise SurefootError("The table has no rows with a label.")
    if positive in (0, rows):
        raise SurefootError(f"All {rows} rows have the same label: there is nothing to learn.")


def _column(
    connection: DuckDBPyConnection, name: str, kind: str, categorical: Sequence[str], notes: list[str]
) -> Column | None:
    """The column as it will be read, or None with a note when it says nothing."""
    quoted = quote(name)
    distinct, present, rows = connection.execute(
        f"SELECT count(DISTINCT {quoted}), count({quoted}), count(*) FROM features"
    ).fetchone() or (0, 0, 0)
    if distinct == 0 or (distinct == 1 and present == rows):
        notes.append(f"Column {name} is constant and was left out.")
        return None
    if present < rows:
        notes.append(f"Column {name} has {rows - present} missing values of {rows}.")
    if name not in categorical and kind.startswith(_NUMBERS + _TIMES + ("UINT", "UBIGINT", "BIGINT", "HUGEINT")):
        return Column(name=name)
    if name not in categorical and any(mark in kind for mark in _NUMBERS):
        return Column(name=name)
    if name not in categorical and distinct > _FEW and _is_number_with_words(connection, name, present, notes):
        return Column(name=name)
    if distinct > MOST_LEVELS or (distinct > 50 and distinct > 0.5 * present):
        notes.append(f"Column {name} has {distinct} different texts in {rows} rows (an identifier?) and was left out.")
        return None
    counted = connection.execute(
        f"SELECT {quoted}::VARCHAR FROM features WHERE {quoted} IS NOT NULL GROUP BY 1 ORDER BY count(*) DESC, 1"
    ).fetchall()
    return Column(name=name, levels=tuple(level for (level,) in counted))


def _is_number_with_words(connection: DuckDBPyConnection, name: str, present: int, notes: list[str]) -> bool:
    """Whether nearly all texts of a column are finite numbers: an 'inf' or 'none given' makes no category of a wage."""
    finite = f"coalesce(isfinite(TRY_CAST({quote(name)} AS DOUBLE)), false)"
    found = connection.execute(
        f"SELECT count({quote(name)}::VARCHAR), min({quote(name)}::VARCHAR) FROM features WHERE NOT {finite}"
    ).fetchone() or (0, "")
    if not 0 < found[0] <= _WORDS_AMONG_NUMBERS * present:
        return False
    notes.append(
        f"Column {name} is read as a number: {found[0]} of its {present} values are none, such as '{found[1]}', and "
        "count as missing (to keep them, name the column as categorical)."
    )
    return True


def _read(connection: DuckDBPyConnection, column: Column, kind: str, notes: list[str]) -> NDArray[np.float32]:
    quoted = quote(column.name)
    if not column.levels:
        value = f"epoch({quoted})" if kind.startswith(_TIMES) else f"TRY_CAST({quoted} AS DOUBLE)"
        return _single(_plain(connection, f"{value}::DOUBLE"), column.name, notes)
    levels = ", ".join("'" + level.replace("'", "''") + "'" for level in column.levels)
    connection.execute(f"CREATE OR REPLACE TYPE levels__ AS ENUM ({levels})")
    return _plain(connection, f"enum_code({quoted}::VARCHAR::levels__)::DOUBLE").astype(np.float32)


def _single(values: NDArray[np.float64], name: str, notes: list[str]) -> NDArray[np.float32]:
    """Single precision; what is infinite there is missing, and said: it has no mean."""
    with np.errstate(over="ignore"):
        found = values.astype(np.float32)
    beyond = np.isinf(found)
    # A text such as 'inf' was counted when the column was taken for a number.
    if beyond.any() and not any(note.startswith(f"Column {name} is read as a number") for note in notes):
        notes.append(f"Column {name}: {int(beyond.sum())} values are infinite or beyond 3.4e38, and count as missing.")
    found[beyond] = np.nan
    return found


def _plain(connection: DuckDBPyConnection, expression: str) -> NDArray[Any]:
    """One expression over the rows in their order; NULL is NaN."""
    found = connection.execute(f"SELECT {expression} AS value FROM features").fetchnumpy()["value"]
    return found.filled(np.nan) if isinstance(found, np.ma.MaskedArray) and found.mask.any() else np.asarray(found)


def group_rows(
    connection: DuckDBPyConnection, sensitive: Sequence[str], notes: list[str]
) -> tuple[list[str], NDArray[np.uint16]]:
    """The intersections of the sensitive attributes that occur, in a fixed order, and each row's."""
    sides = [_side(connection, name, notes) for name in sensitive]
    shown = ", ".join(name.removesuffix("__sensitive").removesuffix("__group") for name in sensitive)
    joined = " || ', ' || ".join(sides)
    names = [name for (name,) in connection.execute(f"SELECT DISTINCT {joined} FROM features ORDER BY 1").fetchall()]
    if len(names) < 2:
        raise SurefootError(
            f"All rows are in one group ({names[0]}): choose sensitive columns that differ between rows."
        )
    if len(names) > MOST_GROUPS:
        raise SurefootError(
            f"The columns {shown} make {len(names)} groups; {MOST_GROUPS} are the most. Choose fewer "
            "columns, or columns with fewer values."
        )
    levels = ", ".join("'" + name.replace("'", "''") + "'" for name in names)
    connection.execute(f"CREATE OR REPLACE TYPE groups__ AS ENUM ({levels})")
    return names, _plain(connection, f"enum_code(({joined})::groups__)::USMALLINT").astype(np.uint16)


def _side(connection: DuckDBPyConnection, name: str, notes: list[str]) -> str:
    """The SQL that names a row's side of one attribute; a number with many values is cut at its median."""
    quoted = quote(name)
    kind = next(kind for column, kind, *_ in connection.execute("DESCRIBE features").fetchall() if column == name)
    distinct = _count(connection, f"SELECT count(DISTINCT {quoted}) FROM features")
    missing = _count(connection, f"SELECT count(*) - count({quoted}) FROM features")
    label = name.removesuffix("__sensitive").removesuffix("__group").replace("'", "''")
    if missing:
        notes.append(f"{missing} rows have no {label}: they are a side of their own.")
    if distinct > _FEW and any(mark in kind for mark in _NUMBERS):
        (middle,) = connection.execute(f"SELECT median({quoted}) FROM features").fetchone() or (0,)
        notes.append(f"Column {label} is a number: its groups are up to, and above, its median {middle:g}.")
        sides = f"CASE WHEN {quoted} > {middle} THEN '{label} > {middle:g}' ELSE '{label} <= {middle:g}' END"
        return f"CASE WHEN {quoted} IS NULL THEN '{label} missing' ELSE {sides} END"
    if name.endswith("__sensitive"):
        return f"coalesce({quoted}::VARCHAR, '{label} missing')"
    return f"coalesce('{label} ' || {quoted}::VARCHAR, '{label} missing')"


def _count(connection: DuckDBPyConnection, sql: str) -> int:
    return int((connection.execute(sql).fetchone() or (0,))[0])


def quote(name: str) -> str:
    """A column name as an SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def described(table: TableArrays, sizes: tuple[int, ...], task: str) -> Iterator[Measurement]:
    """The rows and the share of positives of each group, and the number of features."""
    for place, (name, size) in enumerate(zip(table.group_names, sizes, strict=True)):
        share = float(table.labels[table.groups == place].mean())
        yield Measurement(metric="rows", value=size, n=size, task=task, group=name)
        yield Measurement(metric="positive_share", value=share, n=size, task=task, group=name)
    yield Measurement(metric="features", value=len(table.columns), n=len(table.labels), task=task)
