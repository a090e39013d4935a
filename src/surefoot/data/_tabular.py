"""Tables with a yes-or-no label and groups: the public ones by name, and a user's own file."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any

from surefoot.core import Inputs, Measurement, Step, SurefootError
from surefoot.data._source import sha256_of
from surefoot.data._tabular_raw import RawTable
from surefoot.data._tabular_read import database, described, quote, write_arrays
from surefoot.data._tabular_recipes import RECIPES, Recipe, two_sides

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

SUFFIXES = (".csv", ".tsv", ".txt", ".gz", ".parquet", ".arrow", ".feather")
_MISSING = "['', '?', 'NA', 'N/A', 'NaN', 'nan', 'NULL', 'null', 'None']"
_YES = ("1", "1.0", "true", "yes", "y", "t", "positive")


@dataclass(frozen=True, kw_only=True)
class PublicTable(Step):
    """One of the public tables of arXiv 2211.12703 by name, with the paper's label and two-by-two groups.

    It writes the features as columns, labels, groups and what was done to the data. The sensitive attributes stay
    among the features, as in the paper. Raises `SurefootError` for an unknown name, or when its files are not there.
    """

    name: str

    def make(self, out: Path, inputs: Inputs) -> Iterable[Measurement]:
        """Fetch, read and encode the table; measures the rows and the share of positives of each group."""
        recipe = recipe_of(self.name)
        notes = [recipe.note] if recipe.note else []
        with database() as connection:
            recipe.load(connection)
            sides = ", ".join(two_sides(attribute) for attribute in recipe.sensitive)
            official = recipe.official_test or "false"
            connection.execute(
                f"CREATE TABLE features AS SELECT {recipe.features}, {sides}, "
                f"coalesce({recipe.label}, false) AS label__, ({official}) AS test__ FROM raw"
            )
            names = [f"{attribute.name}__sensitive" for attribute in recipe.sensitive]
            table, sizes = write_arrays(out, connection, sensitive=names, categorical=recipe.categorical, notes=notes)
        return described(table, sizes, self.name)


@dataclass(frozen=True, kw_only=True)
class FileTable(Step):
    """A user's CSV, Parquet or Arrow file; `sha256` is its digest, so that a changed file is another Step.

    `label` names the column to predict and `positive` its value that counts as yes (left out: 1, true, yes, or the
    last of its two values in order); rows without a label are left out. `sensitive` name the columns whose
    intersections are the groups; a number with more than ten values is cut at its median. `drop` names columns that
    are not features, `categorical` columns whose numbers are codes.
    """

    path: str
    sha256: str
    label: str
    sensitive: tuple[str, ...]
    positive: str = ""
    drop: tuple[str, ...] = ()
    categorical: tuple[str, ...] = ()

    def make(self, out: Path, inputs: Inputs) -> Iterable[Measurement]:
        """Read and encode the file; measures the rows and the share of positives of each group."""
        if sha256_of(Path(self.path)) != self.sha256:
            raise SurefootError(f"The file {self.path} changed after it was named: ask again to use the new contents.")
        notes: list[str] = []
        with database() as connection:
            names = load_file(connection, Path(self.path))
            for column in (self.label, *self.sensitive, *self.drop, *self.categorical):
                check_column(column, names, self.path)
            self._select(connection, notes)
            sensitive = [f"{name}__group" for name in self.sensitive]
            table, sizes = write_arrays(out, connection, sensitive=sensitive, categorical=self.categorical, notes=notes)
        return described(table, sizes, Path(self.path).stem)

    def _select(self, connection: DuckDBPyConnection, notes: list[str]) -> None:
        condition = _label_condition(connection, self.label, self.positive, notes)
        sides = ", ".join(f"{quote(name)} AS {quote(name + '__group')}" for name in self.sensitive)
        left_out = ", ".join(quote(name) for name in dict.fromkeys((self.label, *self.drop)))
        connection.execute(
            f"CREATE TABLE features AS SELECT * EXCLUDE ({left_out}), {sides}, {condition} AS label__, "
            f"false AS test__ FROM raw WHERE {quote(self.label)} IS NOT NULL"
        )


Table = PublicTable | FileTable | RawTable


def file_table(path: Path, *, label: str, sensitive: tuple[str, ...], **options: Any) -> FileTable:
    """The Step of a user's file, with its digest. Raises when the file is not there or of an unknown kind."""
    if not path.is_file():
        raise SurefootError(f"There is no file {path}.")
    if path.suffix.lower() not in SUFFIXES:
        raise SurefootError(f"{path} is of an unknown kind: its name must end in one of {', '.join(SUFFIXES)}.")
    if not sensitive:
        raise SurefootError("Name at least one sensitive column: its values are the groups.")
    absolute = path.resolve()
    return FileTable(path=str(absolute), sha256=sha256_of(absolute), label=label, sensitive=sensitive, **options)


def recipe_of(name: str) -> Recipe:
    """The recipe of a public table. Raises `SurefootError` for an unknown name."""
    if name not in RECIPES:
        near = get_close_matches(name, RECIPES, n=1)
        hint = f"Did you mean '{near[0]}'?" if near else f"Known: {', '.join(RECIPES)}."
        raise SurefootError(f"There is no public table named '{name}'. {hint}")
    return RECIPES[name]


def load_file(connection: DuckDBPyConnection, path: Path) -> list[str]:
    """Read a CSV, Parquet or Arrow file into the DuckDB table `raw`; returns the names of its columns."""
    import duckdb

    try:
        if path.suffix.lower() in (".arrow", ".feather"):
            _load_arrow(connection, path)
        else:
            readers = {".parquet": "read_parquet(?)"}
            csv = f"read_csv(?, sample_size=-1, nullstr={_MISSING})"
            reader = readers.get(path.suffix.lower(), csv)
            connection.execute(f"CREATE TABLE raw AS SELECT * FROM {reader}", [str(path)])
    except duckdb.Error as error:
        raise SurefootError(f"{path} cannot be read: {str(error).splitlines()[0]}") from error
    return [name for name, *_ in connection.execute("DESCRIBE raw").fetchall()]


def _load_arrow(connection: DuckDBPyConnection, path: Path) -> None:
    from pyarrow import ArrowInvalid, dataset

    try:
        arrow = dataset.dataset(path, format="ipc")
        connection.register("arrow_file", arrow)
        connection.execute("CREATE TABLE raw AS SELECT * FROM arrow_file")
        connection.unregister("arrow_file")
    except ArrowInvalid as error:
        raise SurefootError(f"{path} is not an Arrow (Feather) file: {error}") from error


def _label_condition(connection: DuckDBPyConnection, label: str, positive: str, notes: list[str]) -> str:
    quoted = quote(label)
    found = connection.execute(
        f"SELECT {quoted}::VARCHAR, count(*) FROM raw WHERE {quoted} IS NOT NULL GROUP BY 1 ORDER BY 1 LIMIT 21"
    ).fetchall()
    values = [value for value, _ in found]
    shown = ", ".join(values[:8]) + (" ..." if len(values) > 8 else "")
    if positive and positive not in values:
        raise SurefootError(f"No row has {label} = '{positive}'. Its values: {shown}.")
    if not positive and len(values) != 2:
        raise SurefootError(
            f"The label {label} must have two values, and has {len(values) if len(values) < 21 else 'more than 20'}: "
            f"{shown}. Say which one counts as yes with --positive VALUE."
        )
    chosen = positive or next((value for value in values if value.lower() in _YES), values[-1])
    rest = [value for value in values if value != chosen]
    missing = connection.execute(f"SELECT count(*) - count({quoted}) FROM raw").fetchone() or (0,)
    if missing[0]:
        notes.append(f"{missing[0]} rows have no {label} and were left out.")
    notes.append(f"The label is yes where {label} is '{chosen}', and no for: {', '.join(rest[:8])}.")
    literal = chosen.replace("'", "''")
    return f"({quoted}::VARCHAR = '{literal}')"


def check_column(column: str, names: list[str], path: str) -> None:
    """Raise, with a hint, when a file has no such column."""
    if column not in names:
        near = get_close_matches(column, names, n=1)
        hint = f"Did you mean '{near[0]}'?" if near else f"It has: {', '.join(names[:30])}."
        raise SurefootError(f"{path} has no column '{column}'. {hint}")
