"""Questions to a whole store, answered by DuckDB in memory; no database file is ever the truth."""

import json
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from surefoot.core._errors import SurefootError
from surefoot.core._measurement import COLUMNS
from surefoot.core._plan import flatten
from surefoot.core._store import MEASUREMENTS, PROVENANCE, STEP, Store

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

COMPACT_ABOVE = 2000
_INDEX = ".index"
_TABLES = {
    "steps": "step VARCHAR, kind VARCHAR, fields JSON, started VARCHAR, wall_seconds DOUBLE, cpu_seconds DOUBLE, "
    "peak_memory_bytes BIGINT",
    "edges": "step VARCHAR, input VARCHAR",
    "measurements": "step VARCHAR, metric VARCHAR, value DOUBLE, n BIGINT, stderr DOUBLE, low DOUBLE, high DOUBLE, "
    'task VARCHAR, shift VARCHAR, "group" VARCHAR, replicate BIGINT',
}


@dataclass(frozen=True)
class Table:
    """A result as named columns and rows of plain values."""

    columns: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]

    def records(self) -> list[dict[str, Any]]:
        """The rows as dictionaries."""
        return [dict(zip(self.columns, row, strict=True)) for row in self.rows]


def connect(store: Store) -> "DuckDBPyConnection":
    """A connection with the tables `steps`, `edges` and `measurements` of everything in the store.

    `steps.fields` is JSON: every field of the Step and of the Steps below it by its path (`model.samples`). Past 2,000
    new artifacts a Parquet index is written into the store; it is derived and may be deleted at any time.
    """
    import duckdb

    connection = duckdb.connect()
    made = store.made()
    index = _newest_index(store)
    for name, columns in _TABLES.items():
        connection.execute(f"CREATE TABLE {name} ({columns})")
        if index:
            connection.execute(f"INSERT INTO {name} FROM read_parquet(?)", [str(index / f"{name}.parquet")])
    indexed = {row[0] for row in connection.execute("SELECT step FROM steps").fetchall()}
    _forget(connection, indexed - made.keys())
    fresh = [path for key, path in made.items() if key not in indexed]
    _load(connection, fresh)
    if len(fresh) > COMPACT_ABOVE:
        _compact(connection, store)
    return connection


def query(store: Store, sql: str, parameters: Sequence[Any] = ()) -> Table:
    """The answer to one SQL query over the tables of `connect`. Raises `SurefootError` with DuckDB's message."""
    import duckdb

    with connect(store) as connection:
        try:
            answer = connection.execute(sql, list(parameters))
        except duckdb.Error as error:
            raise SurefootError(f"The query cannot be answered: {error}") from error
        columns = tuple(column[0] for column in answer.description or ())
        return Table(columns, tuple(answer.fetchall()))


def pivot(
    store: Store,
    *,
    rows: Sequence[str],
    columns: Sequence[str] = (),
    values: Sequence[str] = ("value",),
    where: str = "",
    steps: Iterable[str] | None = None,
) -> Table:
    """Measurements by any fields: a line for each combination of `rows`, a column for each combination of `columns`.

    A name is a column of Measurement, `step`, `kind`, or a field of the Step by its path (`model.samples`). Cells are
    means of `values`. `where` is an SQL condition over the same names in double quotes; `steps` limits the keys.
    """
    names = list(dict.fromkeys([*rows, *columns]))
    keyed = [f"{_column(name)} AS {_quoted(name)}" for name in names]
    cells = [f"avg({_column(name)}) AS {_quoted('mean ' + name)}" for name in values]
    keys = list(steps) if steps is not None else None
    source = "measurements m JOIN steps s USING (step)"
    limits = ["m.step IN (SELECT unnest(?))"] * (keys is not None) + [f"({_condition(where)})"] * bool(where)
    condition = f" WHERE {' AND '.join(limits)}" if limits else ""
    order = ", ".join(map(str, range(1, len(names) + 1)))
    sql = f"SELECT {', '.join([*keyed, *cells])} FROM {source}{condition} GROUP BY {order} ORDER BY {order}"
    long = query(store, sql, [keys] if keys is not None else [])
    return _spread(long, len(rows), len(names), values)


def examples_path(store: Store, prefix: str) -> Path:
    """The per-example scores of the artifact whose key begins with `prefix`. Raises when it keeps none."""
    path = store.find(prefix) / "examples.parquet"
    if not path.exists():
        raise SurefootError(f"{path.parent.parent.name} {path.parent.name} keeps no per-example scores.")
    return path


def _spread(long: Table, row_count: int, name_count: int, values: Sequence[str]) -> Table:
    """Turn the last key columns of a long table into columns of their own."""
    if row_count == name_count:
        return Table((*long.columns[:row_count], *values), long.rows)
    heads = sorted({row[row_count:name_count] for row in long.rows}, key=str)
    cells: dict[tuple[Any, ...], dict[tuple[Any, ...], tuple[Any, ...]]] = {}
    for row in long.rows:
        cells.setdefault(row[:row_count], {})[row[row_count:name_count]] = row[name_count:]
    empty = (None,) * len(values)
    names = [" / ".join([*map(str, head), *([value] if len(values) > 1 else [])]) for head in heads for value in values]
    lines = [(*key, *(item for head in heads for item in found.get(head, empty))) for key, found in cells.items()]
    return Table((*long.columns[:row_count], *names), tuple(lines))


def _column(name: str) -> str:
    if name in COLUMNS or name == "step":
        return f"m.{_quoted(name)}"
    if name in ("kind", "wall_seconds", "cpu_seconds", "peak_memory_bytes"):
        return f"s.{name}"
    path = name.replace("'", "''").replace('"', "")
    return f"json_extract_string(s.fields, '$.\"{path}\"')"


def _condition(where: str) -> str:
    """Replace each name in double quotes by the expression that finds it."""
    parts = where.split('"')
    return "".join(_column(part) if place % 2 else part for place, part in enumerate(parts))


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _forget(connection: "DuckDBPyConnection", keys: set[str]) -> None:
    for name in _TABLES if keys else ():
        connection.execute(f"DELETE FROM {name} WHERE step IN (SELECT unnest(?))", [sorted(keys)])


def _load(connection: "DuckDBPyConnection", artifacts: list[Path]) -> None:
    """Read fresh artifacts through newline-delimited JSON files, which DuckDB takes in far faster than inserts."""
    if not artifacts:
        return
    with tempfile.TemporaryDirectory() as place:
        drafts = {name: Path(place, f"{name}.jsonl") for name in _TABLES}
        streams = {name: path.open("w", encoding="utf-8") for name, path in drafts.items()}
        for artifact in artifacts:
            for name, row in _rows(artifact):
                streams[name].write(json.dumps(row) + "\n")
        for name, stream in streams.items():
            stream.close()
            columns = {part.split()[0].strip('"'): part.split()[1] for part in _TABLES[name].split(", ")}
            if drafts[name].stat().st_size:
                connection.execute(
                    f"INSERT INTO {name} FROM read_json(?, format='newline_delimited', columns={columns})",
                    [str(drafts[name])],
                )


def _rows(artifact: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    key = artifact.name
    spec, measurements, provenance = (
        json.loads((artifact / name).read_text(encoding="utf-8")) for name in (STEP, MEASUREMENTS, PROVENANCE)
    )
    timed = {name: provenance.get(name) for name in ("started", "wall_seconds", "cpu_seconds", "peak_memory_bytes")}
    yield "steps", {"step": key, "kind": artifact.parent.name, "fields": flatten(spec), **timed}
    for held in _held(spec["steps"][key]["fields"].values()):
        yield "edges", {"step": key, "input": held}
    for measurement in measurements:
        yield "measurements", {"step": key, **measurement}


def _held(values: Iterable[Any]) -> Iterator[str]:
    for value in values:
        if isinstance(value, dict):
            yield value["step"]
        elif isinstance(value, list):
            yield from _held(value)


def _newest_index(store: Store) -> Path | None:
    found = [path for path in (store.root / _INDEX).glob("*") if not path.name.endswith(".part")]
    return max(found, key=lambda path: path.stat().st_mtime_ns, default=None)


def _compact(connection: "DuckDBPyConnection", store: Store) -> None:
    """Write a new index beside the old ones and rename it: a reader finds one whole index, old or new."""
    draft = store.root / _INDEX / f"{uuid4().hex[:12]}.part"
    draft.mkdir(parents=True)
    for name in _TABLES:
        connection.table(name).write_parquet(str(draft / f"{name}.parquet"))
    older = [path for path in draft.parent.iterdir() if path != draft]
    draft.rename(draft.with_suffix(""))
    for path in older:
        shutil.rmtree(path, ignore_errors=True)
