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
from surefoot.tables import LoadedTable, check_column, database, literal, load_table, quote

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

_SQL_TYPES = {"bool_": "BOOLEAN", "strings": "VARCHAR[]", "string": "VARCHAR"}
_WHOLE = "-?(0|[1-9][0-9]{0,17})"
_NUMBER = "[+-]?((0|[1-9][0-9]{0,14})([.][0-9]*)?|[.][0-9]+)([eE][+-]?[0-9]{1,3})?"


@dataclass(frozen=True, kw_only=True)
class PairColumns:
    """Which columns of a user's table hold the URL and the text; without `text` the texts are empty."""

    url: str = "url"
    text: str = "text"


def pairs_from_tables(
    files: Sequence[Path], out: Path, *, columns: PairColumns | None = None, rows: int = 100_000
) -> Manifest:
    """Write tables (Parquet, CSV, TSV, JSON Lines, ...) as a stage's directory of parts of so many `rows`, in order.

    A column named as one of ours, in any case of letters, is taken as ours; one called `url` or `text` beside those
    that were named becomes `candidate_url` or `candidate_text`. Others stay, as numbers where a format of text has
    nothing but plain numbers in them. `uid` is made where there is none, and a row without a URL has the reason
    `url_missing`. The fault `text_missing_word` counts texts such as "None", which are read as none. Raises
    `SurefootError` as `load_table` does, and when `out` is not empty.
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
        loaded = [load_table(connection, file, name=f"file{place}") for place, file in enumerate(files)]
        selected = [_selected(one, named) for one in loaded]
        try:
            connection.execute(f"CREATE TABLE pairs AS {' UNION ALL BY NAME '.join(selected)}")
        except (duckdb.BinderException, duckdb.ConversionException) as error:
            raise SurefootError(
                f"{', '.join(inputs)}: a column is called as one of ours and is of another type (uid, url and text are "
                f"texts, reasons a list of them): rename it. {str(error).splitlines()[0]}"
            ) from None
        _make_numbers(connection, loaded)
        ((total,),) = connection.execute("SELECT count(*) FROM pairs").fetchall()
        words = sum(sum(one.blanks.get(named.text, {}).values()) for one in loaded)
        parts = []
        for number, start in enumerate(range(0, total, rows)):
            path = out / part_name(number)
            chosen = f"SELECT * FROM pairs WHERE rowid >= {start} AND rowid < {start + rows} ORDER BY rowid"
            connection.execute(f"COPY ({chosen}) TO {literal(path)} (FORMAT parquet)")
            faults = {"text_missing_word": words} if words and not start else None  # of all files, told once
            parts.append(described_part(path, faults))
    manifest = manifest_of("read", Recipe(name="columns", version=2, rules=asdict(named)), inputs, parts)
    write_manifest(out, manifest)
    return manifest


def pairs_directory(path: Path) -> bool:
    """Whether this is the finished output of a stage."""
    return (path / MANIFEST).is_file()


def _selected(loaded: LoadedTable, named: PairColumns) -> str:
    """The rows of a file with our columns first, as a query."""
    for name in (named.url, named.text or named.url):
        check_column(name, loaded.columns, loaded.source)
    given = {name.lower(): quote(name) for name in loaded.columns}
    url = quote(named.url)
    text = f"coalesce({quote(named.text)}, '')" if named.text else "''"
    missing = f"CASE WHEN {url} IS NULL THEN ['url_missing'] ELSE [] END"
    uid = f"coalesce({given.get('uid', 'NULL')}, md5({text} || coalesce({url}, '')))"
    reasons = f"list_concat(coalesce({given.get('reasons', 'NULL')}, []), {missing})"
    made = given | {"uid": uid, "url": url, "text": text, "reasons": reasons}
    ours = {name: f"CAST({made.get(name, 'NULL')} AS {_SQL_TYPES[kind]})" for name, kind in PAIR_TYPES.items()}
    others = [name for name in loaded.columns if name not in (named.url, named.text)]
    rest = {name: quote(name) for name in others if name.lower() not in PAIR_TYPES}
    rest |= {f"candidate_{name.lower()}": quote(name) for name in others if name.lower() in ("url", "text")}
    listed = ", ".join(f"{sql} AS {quote(name)}" for name, sql in (ours | rest).items())
    return f"SELECT {listed} FROM {quote(loaded.name)}"


def _make_numbers(connection: DuckDBPyConnection, loaded: Sequence[LoadedTable]) -> None:
    """Make numbers of columns that are texts only since CSV and its like have no types, where all of them are plain."""
    described = {one.name: connection.execute(f"DESCRIBE {quote(one.name)}").fetchall() for one in loaded}
    texts = {name.lower() for one in loaded if one.typed for name, kind, *_ in described[one.name] if kind == "VARCHAR"}
    for name, kind, *_ in connection.execute("DESCRIBE pairs").fetchall():
        if kind == "VARCHAR" and name.lower() not in {*PAIR_TYPES, *texts}:
            column, asked = quote(name), "coalesce(bool_and(regexp_full_match({}, {})), false)"
            fits = ", ".join(asked.format(column, literal(form)) for form in (_WHOLE, _NUMBER))
            ((whole, number),) = connection.execute(f"SELECT {fits} FROM pairs").fetchall()
            if whole or number:
                connection.execute(f"ALTER TABLE pairs ALTER {column} TYPE {'BIGINT' if whole else 'DOUBLE'}")
