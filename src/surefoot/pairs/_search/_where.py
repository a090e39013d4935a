"""Conditions of users over the rows of a stage: thresholds after the fact, and subsets by them."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from glob import escape
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np

from surefoot.core import SurefootError, Table, full_disk_is_said, without_nan
from surefoot.pairs._search._balance import Balance
from surefoot.pairs._search._embed import IMAGES, TEXTS
from surefoot.pairs._search._pictures import picture_of, shard_of
from surefoot.pairs._set import pictures_of_stage
from surefoot.pairs._stages._manifest import Recipe, Source, read_manifest, sources_in
from surefoot.pairs._stages._work import make_parts
from surefoot.tables import literal, quote

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

KEPT = "len(reasons) = 0"
_NUMBERS = ("similarity", "width", "height", "length(text)")
_SHARES = (0.05, 0.5, 0.95)
_FILES = (".npy", ".parquet", ".tar")
_KINDS = re.compile(r"U?(TINY|SMALL|BIG|HUGE)?INT(EGER)?|FLOAT|DOUBLE|DECIMAL.*")


def is_number(kind: str) -> bool:
    """Whether values of this type of DuckDB are numbers."""
    return bool(_KINDS.fullmatch(kind))


@contextmanager
def rows_of(files: Sequence[Path], draws: Callable[[str, str], bool] | None = None) -> Iterator[DuckDBPyConnection]:
    """A connection whose view `rows` are these Parquet files, and which can read nothing else; `draws` is `drawn`.

    A number that is NaN is missing there: DuckDB's NaN is above every threshold.
    """
    import duckdb

    read = [escape(str(file.absolute())) for file in files]
    shown, allowed = (", ".join(map(literal, some)) for some in (read, {*read, *(file.absolute() for file in files)}))
    with duckdb.connect(config={"threads": 1, "memory_limit": "1GB", "autoload_known_extensions": False}) as connection:
        try:
            read = f"FROM read_parquet([{shown}], union_by_name = true)"
            told = connection.execute(f"DESCRIBE {read}").fetchall()
            named = [quote(name) for name, kind, *_ in told if kind in ("FLOAT", "DOUBLE")]
            there = ", ".join(f"{without_nan(one)} AS {one}" for one in named)
            connection.execute(f"CREATE VIEW rows AS SELECT * {f'REPLACE ({there})' if there else ''} {read}")
        except duckdb.Error as error:
            raise SurefootError(f"{files[0]} is missing or damaged: {str(error).splitlines()[0]}.") from error
        connection.execute(f"SET allowed_paths = [{allowed}]; SET enable_external_access = false")
        connection.execute("SET lock_configuration = true")
        if draws:
            connection.create_function("drawn", draws, ["VARCHAR", "VARCHAR"], "BOOLEAN")
        yield connection


def select(connection: DuckDBPyConnection, columns: str, where: str) -> list[tuple[Any, ...]]:
    """Rows for which a user's condition over their columns holds.

    Raises `SurefootError` for what is no condition on one row: another statement, a subquery, a table, an aggregate, a
    function such as random(), of which another call would choose other rows.
    """
    import duckdb

    sql = "SELECT json_serialize_sql(?)"
    parsed = (connection.execute(sql, [f"FROM rows WHERE \n{one}\n"]).fetchall() for one in ("true", where))
    plain, asked = (json.loads(one[0][0]) for one in parsed)
    if asked["error"]:
        raise SurefootError(f"--where '{where}' is no condition: {asked['error_message'].splitlines()[0].rstrip('.')}.")
    conditions = [one["statements"][0]["node"].pop("where_clause", None) for one in (plain, asked)]
    if plain != asked or '"class": "SUBQUERY"' in json.dumps(conditions[1]):
        raise SurefootError(f"--where '{where}' must be one condition over the columns of a row, such as width > 256.")
    called = re.findall('"function_name": "([^"]+)"', json.dumps(conditions[1]))
    volatile = (
        "SELECT function_name FROM duckdb_functions() WHERE stability = 'VOLATILE' AND list_contains(?, function_name)"
    )
    if called and (never := connection.execute(volatile, [called]).fetchall()):
        raise SurefootError(f"--where '{where}' has {never[0][0]}(), which chooses other rows each time: leave it out.")
    try:
        return connection.execute(f"SELECT {columns} FROM rows WHERE (\n{where}\n)").fetchall()
    except duckdb.Error as error:
        raise SurefootError(f"--where '{where}' cannot be used: {str(error).splitlines()[0].rstrip('.')}.") from error


def subset(
    directory: Path, where: str, out: Path | None = None, *, balance: Balance | None = None,
    pictures: Path | None = None,
) -> Table:  # fmt: skip
    """Write the rows without a reason for which a condition holds, and give their number and statistics.

    `out` is a file `.npy` of sorted uids as two unsigned 64-bit numbers, upper half first (`u8,u8`, as DataComp's
    subsets), a file `.parquet` of the rows, a file `.tar` of them with their pictures as they lie in `pictures`
    (WebDataset, to train on; by default where the stage tells), or a folder: a stage's directory with the embeddings,
    as `embed_pairs` writes it; without it nothing is written. `balance` draws from the rows by their captions.
    Nothing is embedded again. Raises `SurefootError` for a condition that is none, and when no row is left.
    """
    sources = sources_in(directory)
    rules = dict(read_manifest(directory).recipe.rules) | {"where": where}  # an index asks which model it was
    counts, sizes = Counter[str](), dict[str, int]()
    draws = partial(balance.draws, counts) if balance else None
    with full_disk_is_said(out or directory), rows_of([source.path for source in sources], draws) as connection:
        select(connection, "count(*)", where)  # it is checked alone: "true) OR (true" would undo what stands beside it
        chosen, by = f"{KEPT} AND ({where}\n)", f"--where '{where}'"
        if balance:
            texts = connection.execute(f"SELECT text FROM rows WHERE {chosen} AND text IS NOT NULL")
            batches = iter(partial(texts.fetchmany, 10_000), [])
            counts.update(balance.counts(text for some in batches for (text,) in some))
            sizes = {"matched": len(counts), f"over {balance.most}": sum(n > balance.most for n in counts.values())}
            chosen, by = f"{chosen} AND drawn(uid, text)", f"{by} and the balance"
            known = sha256("\n".join(sorted(balance.entries)).encode()).hexdigest()
            rules |= {"where": f"({where}) and drawn by the balance"}
            rules |= {"balance": {"entries": known, "most": balance.most, "seed": balance.seed}}
        told = _statistics(connection, chosen)
        if not told.rows[1][1]:
            raise SurefootError(f"No row of {directory} is left by {by}: move the threshold.")
        if out and out.suffix == ".tar":
            _write_shard(connection, chosen, out, pictures or pictures_of_stage(directory))
        elif out and out.suffix in _FILES:
            write_rows(connection, chosen, out)
    if out and out.suffix not in _FILES:
        make = partial(_subset, chosen=chosen, draws=draws)
        make_parts("subset", Recipe(name="where", rules=rules), sources, out, make)
    more = ((f"entries {name}", n, *(None,) * (1 + len(_SHARES))) for name, n in sizes.items())
    return Table(told.columns, (*told.rows, *more))


def write_rows(connection: DuckDBPyConnection, chosen: str, out: Path) -> None:
    """The chosen rows as a file: sorted uids in `.npy`, whole rows in `.parquet`."""
    import pyarrow.parquet

    if out.suffix == ".npy":
        np.save(out, _uids(connection, chosen))
    else:
        pyarrow.parquet.write_table(connection.sql(f"SELECT * FROM rows WHERE {chosen}").to_arrow_table(), out)


def _write_shard(connection: DuckDBPyConnection, chosen: str, out: Path, pictures: Path | None) -> None:
    """The chosen rows with their pictures, in one rename. Raises `SurefootError` for a picture that is not there."""
    found = connection.sql(f"SELECT * FROM rows WHERE {chosen}").to_arrow_reader(1_000)
    rows = (row for batch in found for row in batch.to_pylist())
    with TemporaryDirectory(dir=out.parent) as place:
        with (draft := Path(place, out.name)).open("wb") as tar:
            tar.writelines(shard_of((row, picture_of(row, pictures)) for row in rows))
        draft.replace(out)


def _uids(connection: DuckDBPyConnection, chosen: str) -> np.ndarray:
    found = [uid for (uid,) in connection.execute(f"SELECT uid FROM rows WHERE {chosen}").fetchall()]
    if wrong := [uid for uid in found if not re.fullmatch("[0-9a-fA-F]{32}", str(uid))]:
        raise SurefootError(f"The uid {wrong[0]} is not 32 hexadecimal digits: write the subset as .parquet.")
    return np.sort(np.array([(int(uid[:16], 16), int(uid[16:], 16)) for uid in found], np.dtype("u8,u8")))


def _statistics(connection: DuckDBPyConnection, chosen: str) -> Table:
    """Rows in all and in the subset, and of each number its mean and quantiles there."""
    known = {name: kind for name, kind, *_ in connection.execute("DESCRIBE rows").fetchall()}
    shown = {name: name for name in _NUMBERS if is_number(known.get(name, "")) or "(" in name}
    shown |= {name: quote(name) for name, kind in known.items() if kind in ("FLOAT", "DOUBLE")}
    parts = ", ".join(f"count({sql}), avg({sql}), quantile_cont({sql}, {list(_SHARES)})" for sql in shown.values())
    asked = f"SELECT (SELECT count(*) FROM rows), count(*), {parts} FROM rows WHERE {chosen}"
    ((every, count, *told),) = connection.execute(asked).fetchall()
    blank = (None,) * (1 + len(_SHARES))
    numbers = [
        (name, n, mean, *(shares or blank[1:]))
        for name, n, mean, shares in zip(shown, told[::3], told[1::3], told[2::3], strict=True)
    ]
    columns = ("of", "n", "mean", *(f"q{round(100 * share):02d}" for share in _SHARES))
    return Table(columns, (("rows", every, *blank), ("subset", count, *blank), *numbers))


def _subset(source: Source, out: Path, *, chosen: str, draws: Callable[[str, str], bool] | None) -> Mapping[str, int]:
    """The rows of a part that are chosen, with their vectors."""
    import pyarrow.parquet

    with rows_of([source.path], draws) as connection:
        table = connection.sql(f"SELECT * FROM rows WHERE {chosen}").to_arrow_table()
        ((every,),) = connection.execute("SELECT count(*) FROM rows").fetchall()
    if "vector" in table.column_names:
        kept = [row for row in table["vector"].to_pylist() if row is not None]
        for suffix in (IMAGES, TEXTS):
            np.save(out.with_suffix(suffix), np.load(source.path.with_suffix(suffix), mmap_mode="r")[kept])
        places = dict(zip(kept, range(len(kept)), strict=True))
        moved = pyarrow.array(map(places.get, table["vector"].to_pylist()), pyarrow.int64())
        table = table.set_column(table.column_names.index("vector"), "vector", moved)
    pyarrow.parquet.write_table(table, out)
    return {"left_out": every - len(table)}
