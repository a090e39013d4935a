"""Questions to a whole store, answered by DuckDB in memory; no database file is ever the truth."""

import json
import math
import os
import re
import shutil
import tempfile
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from surefoot.core._errors import SurefootError
from surefoot.core._files import full_disk_is_said
from surefoot.core._measurement import CHANGES, COLUMNS, SHARES
from surefoot.core._plan import flatten_spec
from surefoot.core._step import held_keys
from surefoot.core._store import EXAMPLES, RECORD, Artifact, DamagedError, Store, undamaged

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

PARQUET = "read_parquet(?, hive_partitioning=false)"
"""A file whose folders may be named `lr=0.1`: to DuckDB that is a column, in the place of the file's own."""
COMPACT_ABOVE = 2000
_OF_ONE = ("n", "stderr", "low", "high")  # what speaks of one measurement, and has no mean
_OF_RUN = ("started", "wall_seconds", "cpu_seconds", "peak_memory_bytes")
_ROUNDING = 1e-12
_IS_SHARE = (  # a share of examples has the interval of one, and the error that its value and n give; or only its name
    "bool_and(coalesce(m.low >= 0 AND m.high <= 1 AND (m.value IN (0, 1) OR regexp_matches(m.metric, "
    "'accuracy|recall|precision|exact_match|top[0-9]|(^|_)(share|rate|f1)$') OR "
    "abs(m.stderr - sqrt(m.value * (1 - m.value) / m.n)) < 1e-9), m.low IS NULL AND m.high IS NULL AND "
    f"m.value BETWEEN 0 AND 1 AND regexp_matches(m.metric, '{SHARES}') AND NOT regexp_matches(m.metric, '{CHANGES}'), "
    "false))"
)
_TYPES = {"BIGINT": "HUGEINT", "UBIGINT": "HUGEINT", "DOUBLE": "DOUBLE", "BOOLEAN": "BOOLEAN"}
_WHOLE = 1 << 64  # from which DuckDB reads whole numbers of JSON as floats
_INDEX, _INDEX_FORMAT = ".index", "3"
_TABLES = {
    "artifacts": "step VARCHAR, stamp BIGINT",
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
        """The rows as dictionaries. Raises where one of two columns of one name would be lost."""
        if twice := next((name for name in self.columns if self.columns.count(name) > 1), None):
            raise SurefootError(f"Two columns are called '{twice}', and one would be lost: ask for one of them.")
        return [dict(zip(self.columns, row, strict=True)) for row in self.rows]


def connect(store: Store, steps: Iterable[str] | None = None, damaged: list[str] | None = None) -> "DuckDBPyConnection":
    """A connection with the tables `steps`, `edges` and `measurements` of everything in the store.

    `steps.fields` is JSON: every field of the Step and of the Steps below it by its path (`model.samples`), as
    `flatten` gives it. Past 2,000 new artifacts a Parquet index is written into the store; it is derived and may be
    deleted at any time. Raises for a damaged record, unless there is a list `damaged`, to which is added what was left
    out; where one of `steps` alone would matter, others are named in a warning.
    """
    import duckdb

    connection = duckdb.connect()
    stamps = store.stamps()
    _load_index(connection, store)
    indexed = dict(connection.execute("SELECT step, stamp FROM artifacts").fetchall())
    _forget(connection, {key for key, stamp in indexed.items() if key not in stamps or stamps[key][1] != stamp})
    fresh = {Path(path): stamp for key, (path, stamp) in stamps.items() if indexed.get(key) != stamp}
    asked = None if steps is None else {*steps}
    _load(connection, store, fresh, asked, damaged)
    if damaged is not None:
        stamped = {path for path, _ in stamps.values()}
        places = (path for path, key in store.places() if path not in stamped and (asked is None or key in asked))
        damaged += [f"{record} is missing." for path in places if not (record := Path(path, RECORD)).exists()]
    if len(fresh) > COMPACT_ABOVE:
        # The index only saves time: a store that cannot be written (of a colleague, full) is read without it.
        with suppress(duckdb.Error, OSError):
            _compact(connection, store)
    return connection


def in_memory() -> "DuckDBPyConnection":
    """A connection, to be closed, to the one database in memory of this process: another costs 30 ms of a core.

    It sees no names that others registered; it makes no tables, which all would see.
    """
    return _memory(os.getpid()).cursor()


@cache  # by process, and never let go: one that was forked has the database, but not its threads
def _memory(process: int) -> "DuckDBPyConnection":
    import duckdb

    return duckdb.connect()


def without_nan(column: str) -> str:
    """A column of numbers, in SQL, NULL where it is NaN; the statistics of a Parquet file make isnan() false of any."""
    return f"CASE WHEN isfinite({column}) OR isinf({column}) THEN {column} END"


def query(store: Store, sql: str, parameters: Sequence[Any] = ()) -> Table:
    """The answer to one SQL query over the tables of `connect`. Raises `SurefootError` with DuckDB's message."""
    with connect(store) as connection:
        return _answer(connection, sql, parameters)


def pivot(
    store: Store,
    *,
    rows: Sequence[str],
    columns: Sequence[str] = (),
    values: Sequence[str] = ("value",),
    where: str = "",
    steps: Iterable[str] | None = None,
    damaged: list[str] | None = None,
) -> Table:
    """Measurements by any fields: a line for each combination of `rows`, a column for each combination of `columns`.

    A name is a column of Measurement, `step`, `kind`, or a field of the Step by its path (`model.samples`); a field of
    the same name as a column is `step.task`, and a warning says when a column hides one. A cell of one measurement
    shows its own numbers. One of several is the mean over its Steps (of the mean within each); `low` and `high` are
    then Student's 95 percent interval over the Steps, of shares within 0 and 1, beside their number in the column
    `Steps`. Without spread between them, or with one Step, there is no interval, and of several there is no `n`.
    Without `values` there is a line for each measurement, equal ones too.
    `where` is an SQL condition over the same names in double quotes; it can read nothing but the store. `steps` limits
    the keys, `damaged` is as in `connect`. Raises for a name that no Step has, a text in a cell, and a cell in which
    several metrics would be averaged.
    """
    rows, values = list(dict.fromkeys(rows)), list(dict.fromkeys(values))
    names = list(dict.fromkeys([*rows, *columns]))
    asked = [*values, *(name for name in ("low", "high") if "value" in values and name not in values)]
    keys = [] if steps is None else [list(steps)]
    with connect(store, keys[0] if keys else None, damaged) as connection:
        connection.execute("SET enable_external_access = false")
        keyed = [f"{_said_column(connection, name)} AS k{place}" for place, name in enumerate(names)]
        expressions = [_column(connection, name) for name in asked]
        cells = [f"avg(TRY_CAST({found} AS DOUBLE)) AS c{at}" for at, found in enumerate(expressions)]
        texts = ", ".join(
            f"any_value(CASE WHEN TRY_CAST({found} AS DOUBLE) IS NULL THEN {found} END)::VARCHAR"
            for found in expressions
        )
        limits = [f"({_condition(connection, where)})"] if where else ["true"]
        limits += ["m.step IN (SELECT unnest(?::VARCHAR[]))"] * len(keys)
        group = [f"k{place}" for place in range(len(names))]
        inner = (
            f"SELECT {', '.join([*keyed, *cells])}, count(*) AS size, avg(m.value) AS mean, list(DISTINCT m.metric) AS "
            f"metrics, {_IS_SHARE} AS share, [{texts}] AS texts "
            f"FROM measurements m JOIN steps s USING (step) WHERE {' AND '.join(limits)} "
            f"GROUP BY {', '.join([*group, 'm.step'])}"
        )
        shown = [
            f"CASE WHEN sum(size) = 1 THEN any_value(c{at}) END" if name in _OF_ONE else f"avg(c{at})"
            for at, name in enumerate(asked)
        ]
        over = ["avg(mean)", "stddev_samp(mean) / sqrt(count(*))", "count(*)", "list_distinct(flatten(list(metrics)))"]
        over += ["bool_and(share)", "list(texts)", "sum(size)"]
        sql = (
            f"SELECT {', '.join([*group, *shown, *over])} FROM ({inner}) {'GROUP BY ALL ORDER BY ALL' if names else ''}"
        )
        hint = f" Columns are step, kind, {', '.join(COLUMNS)}; a field of a Step is quoted: '\"seed\" > 0'."
        found = _answer(connection, sql, keys, hint if where else "").rows
    several = "value" in values and any(row[-5] > 1 for row in found)
    shown = [*asked, "Steps"] if several else values
    lines = [(*row[: len(names)], *_told(row, names, asked, shown)) for row in found]
    if not values:
        lines = [line for line, row in zip(lines, found, strict=True) for _ in range(int(row[-1]))]
    return _spread(Table((*names, *shown), tuple(lines)), shown, len(rows), len(names))


def _told(
    row: tuple[Any, ...], names: Sequence[str], asked: Sequence[str], shown: Sequence[str]
) -> Iterator[float | None]:
    """What one cell shows: the interval is of one measurement, or over several Steps."""
    mean, stderr, size, metrics, share, texts, _ = row[-7:]
    if text := [(name, seen) for one in texts for name, seen in zip(asked, one, strict=True) if seen is not None]:
        raise SurefootError(
            f"Cells show numbers, and '{text[0][0]}' is the text '{text[0][1]:.40}': put it in the rows or columns."
        )
    if len(metrics) > 1 and {"value", "low", "high", "stderr"}.intersection(asked):
        where = ", ".join(f"{name} = {value}" for name, value in zip(names, row, strict=False))
        raise SurefootError(
            f"The cell {where} would be a mean over the metrics {', '.join(sorted(metrics))}: add 'metric' to the rows "
            f"or columns, or a condition, such as \"metric\" = '{min(metrics)}'."
        )
    cells = dict(zip(asked, row[len(names) : -7], strict=True)) | {"Steps": size}
    if size > 1 and stderr > _ROUNDING * abs(mean):
        half = _t_quantile(size - 1) * stderr
        low, high = (max(mean - half, 0), min(mean + half, 1)) if share else (mean - half, mean + half)
        cells |= {"low": low, "high": high, "stderr": stderr}
    return (cells[name] for name in shown)


@cache
def _t_quantile(degrees: int) -> float:
    """Student's t beyond which 2.5 percent lie on either side (Abramowitz and Stegun 26.7.3, 26.7.4, by bisection)."""
    low, high = 0.0, math.pi / 2
    for _ in range(60):
        angle = (low + high) / 2
        term, total = (math.cos(angle), 0.0) if degrees % 2 else (1.0, 0.0)
        for place in range(2 + degrees % 2, degrees + 1, 2):
            total += term
            term *= math.cos(angle) ** 2 * (place - 1) / place
        within = 2 / math.pi * (angle + math.sin(angle) * total) if degrees % 2 else math.sin(angle) * total
        low, high = (angle, high) if within < 0.95 else (low, angle)
    return math.sqrt(degrees) * math.tan(low)


def _answer(connection: "DuckDBPyConnection", sql: str, parameters: Sequence[Any], hint: str = "") -> Table:
    import duckdb

    try:
        answer = connection.execute(sql, list(parameters))
    except duckdb.Error as error:
        said = str(error).partition("\n")[0] if hint else error
        raise SurefootError(f"The query cannot be answered: {str(said).rstrip('.!')}.{hint}") from error
    return Table(tuple(column[0] for column in answer.description or ()), tuple(answer.fetchall()))


def examples_path(store: Store, prefix: str) -> Path:
    """The per-example scores of the artifact whose key begins with `prefix`. Raises for none and for damaged ones."""
    path = undamaged(store.find(prefix) / EXAMPLES)
    if not path.exists():
        raise SurefootError(f"{path.parent.parent.name} {path.parent.name} keeps no per-example scores.")
    return path


def _spread(long: Table, values: Sequence[str], row_count: int, name_count: int) -> Table:
    if row_count == name_count:
        return Table((*long.columns[:row_count], *values), long.rows)
    heads = sorted({row[row_count:name_count] for row in long.rows}, key=lambda head: [*map(_order, head)])
    cells: dict[tuple[Any, ...], dict[tuple[Any, ...], tuple[Any, ...]]] = {}
    for row in long.rows:
        cells.setdefault(row[:row_count], {})[row[row_count:name_count]] = row[name_count:]
    empty = (None,) * len(values)
    lines = [(*key, *(item for head in heads for item in found.get(head, empty))) for key, found in cells.items()]
    columns = long.columns[:row_count]
    for show in (str, repr):  # None and 'None' would have one name
        ends = [(value,) if len(values) > 1 else () for value in values]
        names = [" / ".join((*map(show, head), *end)) for head in heads for end in ends]
        columns = (*long.columns[:row_count], *names)
        if len({*columns}) == len(columns):
            break
    return Table(columns, tuple(lines))


def _order(value: Any) -> tuple[int, Any]:
    return (2, "") if value is None else (1, value) if isinstance(value, str) else (0, value)


def _column(connection: "DuckDBPyConnection", name: str) -> str:
    """The expression for a name. A field has the type that all its values have: numbers compare as numbers."""
    if name in COLUMNS or name == "step":
        return f"m.{_quoted(name)}"
    if name in ("kind", *_OF_RUN):
        return f"s.{name}"
    path, found, types = _field(connection, name)
    if not types and name.startswith("step."):
        path, found, types = _field(connection, name.removeprefix("step."))
    if not types and (found or path == "NULL"):
        known = connection.execute("SELECT DISTINCT unnest(json_keys(fields)) FROM steps ORDER BY 1").fetchall()
        near = get_close_matches(name, [row[0] for row in known] + [*COLUMNS], n=3)
        hint = f" Did you mean {' or '.join(repr(other) for other in near)}?" if near else ""
        raise SurefootError(f"Neither a Measurement nor any Step in the store has '{name}'.{hint}")
    kinds = {_TYPES.get(found, "VARCHAR") for found in types - {"NULL"}}
    text = f"json_extract_string(s.fields, {path})"
    mixed = kinds == {"HUGEINT", "DOUBLE"} and not _beyond_doubles(connection, text)
    one = "DOUBLE" if mixed else kinds.pop() if len(kinds) == 1 else "VARCHAR"
    if one == "VARCHAR" and len(kinds) > 1:  # a text that reads as a value of another type is shown in quotes
        alike = (
            f"SELECT 1 FROM steps s GROUP BY {text} HAVING count(DISTINCT json_type(s.fields, {path}) = 'VARCHAR') > 1"
        )
        if connection.execute(f"{alike} LIMIT 1").fetchall():
            quoted = f"json_extract(s.fields, {path})::VARCHAR"
            return f"CASE json_type(s.fields, {path}) WHEN 'VARCHAR' THEN {quoted} ELSE {text} END"
    return f"TRY_CAST({text} AS {one})"


def _beyond_doubles(connection: "DuckDBPyConnection", text: str) -> bool:
    """Whether a field has whole numbers of which two would be one float."""
    large = f"regexp_full_match({text}, '-?[0-9]+') AND abs(TRY_CAST({text} AS HUGEINT)) > {1 << 53}"
    return bool(connection.execute(f"SELECT 1 FROM steps s WHERE {large} LIMIT 1").fetchall())


def _field(connection: "DuckDBPyConnection", name: str) -> tuple[str, list[Any], set[str]]:
    """The path of a field as SQL, what was found there, and the types that its values have in JSON."""
    # Fields are Python names: whatever is none cannot be one, and never becomes part of the SQL.
    path = f"""'$."{name}"'""" if all(part.isidentifier() for part in name.split(".")) else "NULL"
    found = connection.execute(f"SELECT DISTINCT json_type(fields, {path}) FROM steps").fetchall()
    return path, found, {row[0] for row in found} - {None}


def _said_column(connection: "DuckDBPyConnection", name: str) -> str:
    """The expression for a name, and a warning where a column that tells nothing hides a Step's own field."""
    column = _column(connection, name)
    if name in (*_OF_RUN, "step") and _field(connection, name)[2]:
        warnings.warn(f"'{name}' is of every Step; the field of the Step is 'step.{name}'.", stacklevel=3)
    elif name in COLUMNS and name not in ("metric", "value") and _field(connection, name)[2]:
        blank = f"SELECT count(*) = 0 FROM measurements m WHERE {column}::VARCHAR <> ''"
        if name not in ("task", "shift", "group") or connection.execute(blank).fetchall()[0][0]:
            told = f"'{name}' is a column of the measurements; the field of the Step is 'step.{name}'."
            warnings.warn(told, stacklevel=3)
    return column


def _condition(connection: "DuckDBPyConnection", where: str) -> str:
    """Replace each name in double quotes by the expression that finds it, but not within a quoted text."""
    parts = re.split(r"""('(?:[^']|'')*'|"[^"]*")""", where)
    return "".join(_said_column(connection, part.strip('"')) if part.startswith('"') else part for part in parts)


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _forget(connection: "DuckDBPyConnection", keys: set[str]) -> None:
    for name in _TABLES if keys else ():
        connection.execute(f"DELETE FROM {name} WHERE step IN (SELECT unnest(?))", [sorted(keys)])


def _load(
    connection: "DuckDBPyConnection",
    store: Store,
    artifacts: dict[Path, int],
    steps: set[str] | None,
    damaged: list[str] | None,
) -> None:
    """Read fresh artifacts through newline-delimited JSON files, which DuckDB takes in far faster than inserts."""
    if not artifacts:
        return
    with tempfile.TemporaryDirectory() as place, full_disk_is_said(Path(place)):
        drafts = {name: Path(place, f"{name}.jsonl") for name in _TABLES}
        with ExitStack() as stack:
            streams = {name: stack.enter_context(path.open("w", encoding="utf-8")) for name, path in drafts.items()}
            for name, row in _rows(store, artifacts, steps, damaged):
                streams[name].write(json.dumps(row) + "\n")
        for name, draft in drafts.items():
            if draft.stat().st_size:
                columns = {part.split()[0].strip('"'): part.split()[1] for part in _TABLES[name].split(", ")}
                connection.execute(
                    f"INSERT INTO {name} FROM read_json(?, format='newline_delimited', columns={columns})",
                    [_literal(draft)],
                )


def _rows(
    store: Store, artifacts: dict[Path, int], steps: set[str] | None, damaged: list[str] | None
) -> Iterator[tuple[str, dict[str, Any]]]:
    spec_of = store.specs()
    for path, stamp in artifacts.items():
        artifact = Artifact(path)
        try:
            provenance, spec = artifact.provenance, artifact.spec
        except FileNotFoundError:  # removed since it was listed
            continue
        except DamagedError as error:
            if steps is not None and artifact.key not in steps:
                warnings.warn(f"Left out, since nothing asked for stands on it: {error}", stacklevel=2)
            elif damaged is None:
                raise
            else:
                damaged.append(str(error))
            continue
        timed = {name: provenance.get(name) for name in _OF_RUN}
        yield "artifacts", {"step": artifact.key, "stamp": stamp}
        fields = {name: _exact(value) for name, value in flatten_spec(spec, spec_of).items()}
        yield "steps", {"step": artifact.key, "kind": artifact.kind, "fields": fields, **timed}
        yield from (("edges", {"step": artifact.key, "input": held}) for held in held_keys(spec))
        for row in artifact.record["measurements"]:  # plain rows: objects would double the time of a new index
            yield "measurements", {"step": artifact.key, **row}


def _exact(value: Any) -> Any:
    return str(value) if type(value) is int and not -_WHOLE // 2 <= value < _WHOLE else value


def _load_index(connection: "DuckDBPyConnection", store: Store) -> None:
    """Create the tables, filled from the newest index; empty where it is damaged, older than this code or vanishes."""
    import duckdb

    found = [path for path in (store.root / _INDEX).glob(f"{_INDEX_FORMAT}-*") if not path.name.endswith(".part")]
    try:
        newest = max(found, key=lambda path: path.stat().st_mtime_ns, default=None)
        _create(connection, newest)
    except (duckdb.Error, FileNotFoundError):
        _create(connection, None)


def _create(connection: "DuckDBPyConnection", index: Path | None) -> None:
    for name, columns in _TABLES.items():
        connection.execute(f"CREATE OR REPLACE TABLE {name} ({columns})")
        if index:
            connection.execute(f"INSERT INTO {name} FROM read_parquet(?)", [_literal(index / f"{name}.parquet")])


def _compact(connection: "DuckDBPyConnection", store: Store) -> None:
    """Write a new index beside the old ones and rename it: a reader finds one whole index, old or new."""
    final = store.root / _INDEX / f"{_INDEX_FORMAT}-{uuid4().hex[:12]}"
    draft = final.with_name(f"{final.name}.part")
    draft.mkdir(parents=True)
    try:
        for name in _TABLES:
            connection.table(name).write_parquet(str(draft / f"{name}.parquet"))
        older = [path for path in draft.parent.iterdir() if path != draft]
        draft.rename(final)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    for path in older:
        shutil.rmtree(path, ignore_errors=True)


def _literal(path: Path) -> str:
    """A path as DuckDB reads it, where `[`, `*` and `?` would be a pattern."""
    return re.sub(r"([\[*?])", r"[\1]", str(path))
