"""Tables of users as the directory of a stage: any format, columns by name, in parts of a size."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from surefoot.core import SurefootError, full_disk_is_said
from surefoot.pairs._stages._columns import PAIR_TYPES
from surefoot.pairs._stages._manifest import MANIFEST, Manifest, Recipe, manifest_of, sources_of, write_manifest
from surefoot.pairs._stages._work import MEMORY, described_part, part_name
from surefoot.tables import check_column, database, literal, load_table, quote

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

_SQL_TYPES = {"bool_": "BOOLEAN", "strings": "VARCHAR[]", "string": "VARCHAR"}


@dataclass(frozen=True, kw_only=True)
class PairColumns:
    """Which columns of a user's table hold the URL and the text; without `text` the texts are empty."""

    url: str = "url"
    text: str = "text"


def pairs_from_tables(
    files: Sequence[Path], out: Path, *, columns: PairColumns | None = None, rows: int = 100_000
) -> Manifest:
    """Write tables (Parquet, CSV, TSV, JSON Lines, ...) as a stage's directory of parts of so many `rows`, in order.

    A column named as one of ours is taken as ours, others stay as they are; `uid` is made where there is none, and a
    row without a URL has the reason `url_missing`. Raises `SurefootError` as `load_table` does, and when `out` is not
    empty.
    """
    if rows < 1:
        raise SurefootError(f"A part must have at least 1 row, got {rows}.")
    if out.is_dir() and any(out.iterdir()):
        raise SurefootError(f"{out} holds files already: name an empty or a new folder with --out.")
    import duckdb

    named = columns or PairColumns()
    inputs = {source.path.name: source.sha256 for source in sources_of(files)}
    out.mkdir(parents=True, exist_ok=True)
    with full_disk_is_said(out), database(MEMORY) as connection:
        selected = [_selected(connection, place, file, named) for place, file in enumerate(files)]
        try:
            connection.execute(f"CREATE TABLE pairs AS {' UNION ALL BY NAME '.join(selected)}")
        except (duckdb.BinderException, duckdb.ConversionException) as error:
            raise SurefootError(
                f"{', '.join(inputs)}: a column is called as one of ours and is of another type (uid, url and text are "
                f"texts, reasons a list of them): rename it. {str(error).splitlines()[0]}"
            ) from None
        ((total,),) = connection.execute("SELECT count(*) FROM pairs").fetchall()
        parts = []
        for number, start in enumerate(range(0, total, rows)):
            path = out / part_name(number)
            chosen = f"SELECT * FROM pairs WHERE rowid >= {start} AND rowid < {start + rows} ORDER BY rowid"
            connection.execute(f"COPY ({chosen}) TO {literal(path)} (FORMAT parquet)")
            parts.append(described_part(path))
    manifest = manifest_of("read", Recipe(name="columns", rules=asdict(named)), inputs, parts)
    write_manifest(out, manifest)
    return manifest


def pairs_directory(path: Path) -> bool:
    """Whether this is the finished output of a stage."""
    return (path / MANIFEST).is_file()


def _selected(connection: DuckDBPyConnection, place: int, file: Path, named: PairColumns) -> str:
    """The rows of a file with our columns first, as a query."""
    loaded = load_table(connection, file, name=f"file{place}")
    for name in (named.url, named.text or named.url):
        check_column(name, loaded.columns, loaded.source)
    given = {name: quote(name) for name in loaded.columns}
    url = given[named.url]
    text = f"coalesce({given[named.text]}, '')" if named.text else "''"
    missing = f"CASE WHEN {url} IS NULL THEN ['url_missing'] ELSE [] END"
    uid = f"coalesce({given.get('uid', 'NULL')}, md5({text} || coalesce({url}, '')))"
    reasons = f"list_concat(coalesce({given.get('reasons', 'NULL')}, []), {missing})"
    made = given | {"uid": uid, "url": url, "text": text, "reasons": reasons}
    ours = {name: f"CAST({made.get(name, 'NULL')} AS {_SQL_TYPES[kind]})" for name, kind in PAIR_TYPES.items()}
    rest = {name: sql for name, sql in given.items() if name not in {*PAIR_TYPES, named.url, named.text}}
    listed = ", ".join(f"{sql} AS {quote(name)}" for name, sql in (ours | rest).items())
    return f"SELECT {listed} FROM {quote(loaded.name)}"
