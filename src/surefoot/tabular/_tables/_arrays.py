"""A DuckDB table as plain arrays: one float32 row a column, category codes, labels, groups, and what was done."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryFile
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from surefoot.core import Measurement, SurefootError, counted
from surefoot.tables import quote
from surefoot.tabular._tables._columns import Column, plain, read_features
from surefoot.tabular._tables._groups import divide

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection


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


def write_arrays(
    out: Path, connection: DuckDBPyConnection, *, sensitive: Sequence[str], categorical: Sequence[str], notes: list[str]
) -> tuple[TableArrays, tuple[int, ...]]:
    """Write the DuckDB table `features` with its columns `label__`, `test__` and the attributes `sensitive`.

    Constant columns, identifiers and row numbers are left out and said. Returns the opened table and the size of each
    group. Raises `SurefootError` when one label or one group is all there is.
    """
    _check_labels(connection)
    described = connection.execute("DESCRIBE features").fetchall()
    names = [name for name, *_ in described if name not in ("label__", "test__", *sensitive)]
    columns = _write_values(out, read_features(connection, names, categorical, notes))
    _say_copies(connection, columns, notes)
    division = divide(connection, sensitive, notes)[0]
    np.save(out / "groups.npy", division.codes)
    np.save(out / "labels.npy", plain(connection, "label__::UTINYINT").astype(np.uint8))
    np.save(out / "official.npy", plain(connection, "test__::UTINYINT").astype(bool))
    said = {"columns": [asdict(column) for column in columns], "groups": division.groups, "notes": notes}
    (out / "table.json").write_text(json.dumps(said, ensure_ascii=False, indent=1), encoding="utf-8")
    return open_table(out), tuple(np.bincount(division.codes, minlength=len(division.groups)).tolist())


def _write_values(out: Path, features: Iterator[tuple[Column, NDArray[np.float32]]]) -> list[Column]:
    """Write one row a column, in as much memory as one takes."""
    columns, size = [], 0
    with TemporaryFile() as draft:
        for column, values in features:
            columns.append(column)
            size = draft.write(values.tobytes()) // 4
        if not columns:
            raise SurefootError("No feature is left: every column is constant, an identifier, the label or a group.")
        draft.seek(0)
        table = np.lib.format.open_memmap(out / "values.npy", "w+", np.float32, (len(columns), size))
        for place in range(len(columns)):
            table[place] = np.frombuffer(draft.read(4 * size), np.float32)
    return columns


def _say_copies(connection: DuckDBPyConnection, columns: Sequence[Column], notes: list[str]) -> None:
    """Note how many rows are others again: a learner is tested on copies of what it was trained on."""
    names = ", ".join(["label__", *(quote(column.name) for column in columns)])
    counts = f"SELECT (SELECT count(*) FROM (SELECT DISTINCT {names} FROM features)), count(*) FROM features"
    ((distinct, rows),) = connection.execute(counts).fetchall()
    if distinct < rows:
        notes.append(
            f"{counted(rows - distinct, 'row', 'repeat')} the features and the label of another of {rows}: if they are "
            "copies, not people alike, learners are tested on what they have seen, and look too good: keep one of each."
        )


def _check_labels(connection: DuckDBPyConnection) -> None:
    ((rows, positive),) = connection.execute("SELECT count(*), count(*) FILTER (label__) FROM features").fetchall()
    if rows == 0:
        raise SurefootError("The table has no rows with a label.")
    if positive in (0, rows):
        raise SurefootError(f"All {rows} rows have the same label: there is nothing to learn.")


def described(table: TableArrays, sizes: tuple[int, ...], task: str) -> Iterator[Measurement]:
    """The rows and the share of positives of each group, and the number of features."""
    for place, (name, size) in enumerate(zip(table.group_names, sizes, strict=True)):
        share = float(table.labels[table.groups == place].mean())
        yield Measurement(metric="rows", value=size, n=size, task=task, group=name)
        yield Measurement(metric="positive_share", value=share, n=size, task=task, group=name)
    yield Measurement(metric="features", value=len(table.columns), n=len(table.labels), task=task)
