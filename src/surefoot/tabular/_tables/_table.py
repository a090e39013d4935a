"""Tables with a yes-or-no label and groups: the public ones by name, and a user's own file."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Self

from surefoot.core import Inputs, Measurement, Step, SurefootError, check_pinned, counted, digest_of, unkeyed
from surefoot.tables import check_column, column_names, database, load_table, quote, type_columns
from surefoot.tabular._tables._arrays import described, write_arrays
from surefoot.tabular._tables._columns import index_levels, read_times
from surefoot.tabular._tables._groups import add_sides, refuse_reserved, said_of, written
from surefoot.tabular._tables._raw import RawTable
from surefoot.tabular._tables._recipes import RECIPES, Recipe, two_sides

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

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
    """A user's table, known by its contents: `FileTable(path="a.csv", label="paid", sensitive=("sex",)).pinned()`.

    `name` is what results call it: the file's name without its ending, if not given.

    `label` names the column to predict and `positive` its value that counts as yes (left out: 1, true, yes, or the
    last of its two values in order); rows without a label are left out. `sensitive` name the columns whose
    intersections are the groups; a number with more than ten values is cut at its median. `drop` names columns that
    are not features, `categorical` columns whose numbers are codes. A CSV's values are as they are written: an answer
    of `yes` is 'yes'.
    """

    version: ClassVar[int] = 7

    path: str = unkeyed("")
    digest: str = ""
    name: str = ""
    label: str
    sensitive: tuple[str, ...]
    positive: str = ""
    drop: tuple[str, ...] = ()
    categorical: tuple[str, ...] = ()

    def pinned(self) -> Self:
        """With the whole path and the digest of the file as it is now; a sensitive column named twice counts once.

        Raises `SurefootError` when the file is not there, empty or of an unknown kind, or has no such columns: all that
        can be seen without reading the whole of it.
        """
        path = Path(self.path)
        if not (groups := tuple(dict.fromkeys(self.sensitive))):
            raise SurefootError("Name at least one sensitive column: its values are the groups.")
        if self.label in groups:
            raise SurefootError(
                f"The label {self.label} cannot be a sensitive column: each group would have one answer."
            )
        names = column_names(path)
        refuse_reserved(names, str(path))
        for column in (self.label, *groups, *self.drop, *self.categorical):
            check_column(column, names, str(path))
        whole = path.resolve()
        return replace(self, path=str(whole), digest=digest_of(whole), name=self.name or path.stem, sensitive=groups)

    def make(self, out: Path, inputs: Inputs) -> Iterable[Measurement]:
        """Read and encode the file; measures the rows and the share of positives of each group."""
        check_pinned(self)
        notes: list[str] = []
        with database() as connection:
            loaded = load_table(connection, self.path)
            refuse_reserved(loaded.columns, self.path)
            for column in (self.label, *self.sensitive, *self.drop, *self.categorical):
                check_column(column, loaded.columns, self.path)
            kept = [self.label, *self.categorical, *add_sides(connection, "raw", self.sensitive)]
            notes += said_of(type_columns(connection, loaded, keep=kept))
            read_times(connection, "raw", kept)
            if levels := [name for name in index_levels(connection, Path(self.path)) if name not in self.sensitive]:
                notes.append(f"The index of the rows ({', '.join(levels)}) is no feature and was left out.")
            self._select(connection, (*self.drop, *levels), notes)
            sensitive = [f"{name}__group" for name in self.sensitive]
            table, sizes = write_arrays(out, connection, sensitive=sensitive, categorical=self.categorical, notes=notes)
        return described(table, sizes, self.name)

    def _select(self, connection: DuckDBPyConnection, drop: tuple[str, ...], notes: list[str]) -> None:
        answer = _positive_answer(connection, self.label, self.positive, notes)
        left_out = ", ".join(quote(name) for name in dict.fromkeys((self.label, *drop)))
        connection.execute(
            f"CREATE TABLE features AS SELECT * EXCLUDE ({left_out}), {quote(self.label)}::VARCHAR = ? AS label__, "
            f"false AS test__ FROM raw WHERE {quote(self.label)} IS NOT NULL",
            [answer],
        )


Table = PublicTable | FileTable | RawTable


def recipe_of(name: str) -> Recipe:
    """The recipe of a public table. Raises `SurefootError` for an unknown name."""
    if name not in RECIPES:
        near = get_close_matches(name, RECIPES, n=1)
        hint = f"Did you mean '{near[0]}'?" if near else f"Known: {', '.join(RECIPES)}."
        raise SurefootError(f"There is no public table named '{name}'. {hint}")
    return RECIPES[name]


def _positive_answer(connection: DuckDBPyConnection, label: str, positive: str, notes: list[str]) -> str:
    quoted = quote(label)
    found = connection.execute(
        f"SELECT {quoted}::VARCHAR, count(*) FROM raw WHERE {quoted} IS NOT NULL GROUP BY 1 ORDER BY 1 LIMIT 21"
    ).fetchall()
    values = [value for value, _ in found]
    shown = ", ".join(values[:8]) + (" ..." if len(values) > 8 else "")
    if not positive and len(values) != 2:
        cure = " Say which one counts as yes with --positive VALUE." if len(values) > 2 else ""
        raise SurefootError(
            f"The label {label} must have two values, and has {len(values) if len(values) < 21 else 'more than 20'}: "
            f"{shown}.{cure}"
        )
    chosen = (
        written(connection, label, positive)
        if positive
        else next((value for value in values if value.lower() in _YES), values[-1])
    )
    rest = [value for value in values if value != chosen]
    missing = connection.execute(f"SELECT count(*) - count({quoted}) FROM raw").fetchone() or (0,)
    if missing[0]:
        notes.append(f"{counted(missing[0], 'row', 'have')} no {label}: left out.")
    notes.append(f"The label is yes where {label} is '{chosen}', and no for: {', '.join(rest[:8])}.")
    return chosen
