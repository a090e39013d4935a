"""The columns of a table as features: what each is, its values, and those that must not be features."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from surefoot.tables import is_number, parquet_note, quote

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

MOST_LEVELS = 5000
TELLING = 0.95
"""From this balanced accuracy on a single column is named: it may hold the answer."""
_TIMES = ("DATE", "TIMESTAMP", "INTERVAL")
_INDEX = ("index", "id", "row", "rowid", "row_id", "row number", "row_number", "unnamed: 0", "nr", "no")
_FEWEST_NUMBERED = 20
_FEW_VALUES = 100
_STEPS = 4096
"""Of values that span less of their size than one over this, single precision tells too few apart."""


@dataclass(frozen=True, kw_only=True)
class Column:
    """A feature: a number (no levels), or a category whose value is the place of its level; NaN is missing."""

    name: str
    levels: tuple[str, ...] = ()


def read_features(
    connection: DuckDBPyConnection, names: Sequence[str], categorical: Sequence[str], notes: list[str]
) -> Iterator[tuple[Column, NDArray[np.float32]]]:
    """The columns of `features` that say something, with their values (rows,); what is left out is noted."""
    kinds = {name: kind for name, kind, *_ in connection.execute("DESCRIBE features").fetchall()}
    labels = plain(connection, "label__::UTINYINT").astype(bool)
    for name in names:
        found = _read(connection, name, kinds[name], name in categorical, notes)
        if found is None:
            continue
        share = _telling(found[1], labels)
        if share >= TELLING:
            notes.append(
                f"Column {name} alone tells the label, in {100 * share:.1f} percent (both answers counted alike): "
                "if it is known only after the answer, leave it out (drop)."
            )
        yield found


def _read(
    connection: DuckDBPyConnection, name: str, kind: str, category: bool, notes: list[str]
) -> tuple[Column, NDArray[np.float32]] | None:
    quoted = quote(name)
    counts = f"SELECT count(DISTINCT {quoted}), count({quoted}), count(*) FROM features"
    ((distinct, present, rows),) = connection.execute(counts).fetchall()
    if distinct == 0 or (distinct == 1 and present == rows):
        notes.append(f"Column {name} {'is constant' if distinct else 'has no value'} and was left out.")
        return None
    if present < rows:
        notes.append(f"Column {name} has {rows - present} missing values of {rows}.")
    if not category and (is_number(kind) or kind == "BOOLEAN" or (kind.startswith(_TIMES) and kind[-1] != "]")):
        value = f"epoch({quoted})" if kind.startswith(_TIMES) else quoted
        values = plain(connection, f"{value}::DOUBLE")
        if not kind.startswith(_TIMES) and _numbers_the_rows(name, values):
            notes.append(f"Column {name} only numbers the rows and was left out.")
            return None
        return Column(name=name), _single(values, name, notes)
    if distinct > MOST_LEVELS or (distinct > 50 and distinct > 0.5 * present):
        notes.append(f"Column {name} has {distinct} different texts in {rows} rows (an identifier?) and was left out.")
        return None
    levels, codes = coded(connection, name, "count(*) DESC, 1")
    return Column(name=name, levels=levels), np.where(codes < 0, np.nan, codes).astype(np.float32)


def _numbers_the_rows(name: str, values: NDArray[np.float64]) -> bool:
    """Whether whole numbers count the rows: one more each, a shuffled or a thinned count, or named as an index is."""
    if len(values) < _FEWEST_NUMBERED or not (abs(values) < 2**53).all() or (values != np.floor(values)).any():
        return False
    steps = np.diff(values)
    if abs(np.mean(np.sign(steps) * (np.abs(steps) == 1))) > 0.98:
        return True
    if len(np.unique(values)) < len(values):
        return False
    named = name.strip().lower() in _INDEX or name.startswith(("column", "__index_level"))
    return bool(np.ptp(values) == len(values) - 1 or (steps > 0).all() or (steps < 0).all() or named)


def _single(values: NDArray[np.float64], name: str, notes: list[str]) -> NDArray[np.float32]:
    """Single precision, from the median on where it would merge values; what is infinite is missing, and said."""
    known = values[np.isfinite(values)]
    if len(known) and 0 < np.ptp(known) < np.abs(known).max() / _STEPS:
        middle = float(np.median(known))
        values = values - middle
        notes.append(f"Column {name} is counted from its median {middle:.15g}: its values lie near each other.")
    with np.errstate(over="ignore"):
        found = values.astype(np.float32)
    beyond = np.isinf(found)
    if beyond.any():
        notes.append(f"Column {name}: {int(beyond.sum())} values are infinite or beyond 3.4e38, and count as missing.")
    found[beyond] = np.nan
    return found


def _telling(values: NDArray[np.float32], labels: NDArray[np.bool_]) -> float:
    """The balanced accuracy of the label by this column alone: by each value's other rows, or by the best threshold."""
    levels, codes = np.unique(values, return_inverse=True)
    if len(levels) <= _FEW_VALUES:
        yes, no = (np.bincount(codes, mask, len(levels)) for mask in (labels, ~labels))
        return float(_left_out(yes, no) + _left_out(no, yes)) / 2
    # Missing values once below and once above all others.
    orders = [np.argsort(np.nan_to_num(values, nan=filled)) for filled in (-np.inf, np.inf)]
    return max(_threshold(labels[order], np.nan_to_num(values)[order]) for order in orders)


def _left_out(yes: NDArray[Any], no: NDArray[Any]) -> float:
    """The share of the first answer that the other rows of each value give more often than by chance."""
    return float(yes @ ((yes - 1) / max(yes.sum() - 1, 1) > no / no.sum()) / yes.sum())


def _threshold(labels: NDArray[np.bool_], values: NDArray[np.float32]) -> float:
    ends = np.append(np.diff(values) != 0, True)
    apart = np.cumsum(labels)[ends] / labels.sum() - np.cumsum(~labels)[ends] / (~labels).sum()
    return float(0.5 + np.abs(apart).max() / 2)


def coded(connection: DuckDBPyConnection, name: str, order: str) -> tuple[tuple[str, ...], NDArray[np.intp]]:
    """The levels of a column of `features` in an SQL order, and the number of each row's (rows,), -1 where missing."""
    text = f"{quote(name)}::VARCHAR"
    levels = f"SELECT {text} FROM features WHERE {quote(name)} IS NOT NULL GROUP BY 1 ORDER BY {order}"
    connection.execute(f"CREATE OR REPLACE TYPE levels__ AS ENUM ({levels})")
    codes = plain(connection, f"coalesce(enum_code({text}::levels__)::INTEGER, -1)").astype(np.intp)
    return tuple(level for (level,) in connection.execute(levels).fetchall()), codes


def plain(connection: DuckDBPyConnection, expression: str, values: Sequence[Any] = ()) -> NDArray[Any]:
    """One expression over the rows of `features` in their order; NULL is NaN."""
    found = connection.execute(f"SELECT {expression} AS value FROM features", list(values)).fetchnumpy()["value"]
    return found.filled(np.nan) if isinstance(found, np.ma.MaskedArray) and found.mask.any() else np.asarray(found)


def read_times(connection: DuckDBPyConnection, table: str, keep: Sequence[str]) -> None:
    """Make times of the text columns in which every value is a date or time: of Greenwich where no offset is said."""
    connection.execute("SET TimeZone = 'UTC'")
    for name, kind, *_ in connection.execute(f"DESCRIBE {quote(table)}").fetchall():
        if kind == "VARCHAR" and name not in keep:
            time = f"TRY_CAST({quote(name)} AS TIMESTAMPTZ)"
            counts = f"SELECT count({quote(name)}), count({time}) FROM {quote(table)}"
            ((filled, times),) = connection.execute(counts).fetchall()
            if filled and times == filled:
                connection.execute(f"ALTER TABLE {quote(table)} ALTER {quote(name)} TYPE TIMESTAMPTZ USING {time}")


def index_levels(connection: DuckDBPyConnection, path: Path) -> list[str]:
    """The columns of a Parquet or Arrow file that pandas wrote as the index of its rows."""
    said: Any = None
    if path.suffix.lower() == ".parquet":
        said = parquet_note(connection, path, "pandas")
    elif path.suffix.lower() in (".arrow", ".feather"):
        from pyarrow import ArrowInvalid, ipc

        try:
            schema = ipc.open_file(path).schema
        except ArrowInvalid:
            schema = ipc.open_stream(path).schema
        said = json.loads((schema.metadata or {}).get(b"pandas", b"null"))
    levels = said.get("index_columns") if isinstance(said, dict) else None
    return [level for level in levels or () if isinstance(level, str)]
