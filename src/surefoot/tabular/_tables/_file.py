"""A user's CSV, Parquet or Arrow file in DuckDB: its columns as they are written, and what is wrong with it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any

from surefoot.core import SurefootError

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

SUFFIXES = (".csv", ".tsv", ".txt", ".gz", ".parquet", ".arrow", ".feather")
_ARROW = (".arrow", ".feather")
_MISSING = "['', '?', 'NA', 'N/A', 'NaN', 'nan', 'NULL', 'null', 'None']"
# No truth values among them: a column of F alone is a sex, and an answer of yes is to stay 'yes'.
_KINDS = "['BIGINT', 'DOUBLE', 'DATE', 'TIMESTAMP', 'VARCHAR']"
_OURS = ("label__", "test__")
_OUR_ENDS = ("__group", "__sensitive")


def load_file(connection: DuckDBPyConnection, path: Path) -> list[str]:
    """Read a CSV, Parquet or Arrow file into the DuckDB table `raw`; returns the names of its columns.

    Values of a CSV are numbers, dates or texts as they are written. Raises `SurefootError`, with what to do, for a file
    that is empty, of another encoding, ragged or no table at all.
    """
    with _source(connection, path) as (source, values):
        connection.execute(f"CREATE TABLE raw AS SELECT * FROM {source}", values)
    return _named(connection.execute("DESCRIBE raw").fetchall(), path)


def columns_of_file(path: Path) -> list[str]:
    """The names of a file's columns, from its beginning alone. Raises as `load_file` does."""
    import duckdb

    with duckdb.connect() as connection, _source(connection, path, beginning=True) as (source, values):
        return _named(connection.execute(f"DESCRIBE SELECT * FROM {source}", values).fetchall(), path)


@contextmanager
def _source(
    connection: DuckDBPyConnection, path: Path, *, beginning: bool = False
) -> Iterator[tuple[str, list[str] | None]]:
    """What to select from, with its values; faults of the file become one sentence."""
    import duckdb

    _refuse_nothing(path)
    suffix = path.suffix.lower()
    try:
        if suffix in _ARROW:
            connection.register("arrow_file", _arrow(path))
            yield "arrow_file", None
            connection.unregister("arrow_file")
        elif suffix == ".parquet":
            yield "read_parquet(?)", [str(path)]
        else:
            how = "all_varchar=true" if beginning else f"sample_size=-1, auto_type_candidates={_KINDS}"
            yield f"read_csv(?, {how}, nullstr={_MISSING})", [str(path)]
    except duckdb.Error as error:
        raise SurefootError(f"{path} cannot be read: {_reason(str(error))}") from error


def _refuse_nothing(path: Path) -> None:
    if not path.is_file():
        raise SurefootError(f"There is no file {path}.")
    if path.stat().st_size == 0:
        raise SurefootError(f"The file {path} is empty.")


def _arrow(path: Path) -> Any:
    """An Arrow file or stream, batch after batch."""
    from pyarrow import ArrowException, dataset, ipc

    # Wild bytes can read as the length of a message, which then is not there: an OSError.
    try:
        return dataset.dataset(path, format="ipc")
    except (ArrowException, OSError) as error:
        try:
            return ipc.open_stream(path)
        except (ArrowException, OSError):
            raise SurefootError(f"{path} is not an Arrow (Feather) file or stream.") from error


def _reason(message: str) -> str:
    """DuckDB's message as far as it says what is wrong, and what to do about it."""
    lines = [line.strip() for line in message.splitlines() if line.strip()]
    first = lines[0].partition("Error: ")[2] or lines[0]
    if "not utf-8" in message or "unicode" in message.lower():
        return f"it is not UTF-8 text ({first}). Save it as UTF-8, or as Parquet."
    if "sniffing" in first:
        return "it is no table of text: no delimiter (, ; | or tab) splits its lines into columns."
    fault = next((line for line in lines[1:] if not line.startswith(("Original Line", "LINE 1:"))), "")
    return f"{first.rstrip('.')}. {fault}".strip()


def _named(described: Sequence[Any], path: Path) -> list[str]:
    """The names of the columns. Raises for names that are kept for the groups, and for lines that do not split."""
    names = [str(name) for name, *_ in described]
    for name in names:
        if name in _OURS or name.endswith(_OUR_ENDS):
            raise SurefootError(f"{path} has a column '{name}', a name that is kept for labels and groups: rename it.")
    if len(names) == 1 and any(mark in names[0] for mark in ",;|\t"):
        raise SurefootError(
            f"{path} cannot be split into columns: its lines do not all have as many fields as its first, "
            f"{names[0][:80]!r}."
        )
    return names


def repeated_names(connection: DuckDBPyConnection, path: Path, names: Sequence[str]) -> list[str]:
    """Notes on names that stand twice in the first line of a CSV, of which DuckDB numbers the later ones."""
    if path.suffix.lower() in (*_ARROW, ".parquet"):
        return []
    first = connection.execute("SELECT * FROM read_csv(?, header=false, all_varchar=true) LIMIT 1", [str(path)])
    written = [str(name) for name in first.fetchone() or ()]
    if len(written) != len(names):
        return []
    pairs = zip(written, names, strict=True)
    return [f"The name {said} stands twice: a later column is {name}." for said, name in pairs if name != said]


def check_column(column: str, names: Sequence[str], path: str) -> None:
    """Raise, with a hint, when a file has no such column."""
    if column not in names:
        near = get_close_matches(column, names, n=1)
        hint = f"Did you mean '{near[0]}'?" if near else f"It has: {', '.join(names[:30])}."
        if names[0] == "column0":
            hint += " Its first line was not taken for names: are all lines as long as that one?"
        raise SurefootError(f"{path} has no column '{column}'. {hint}")
