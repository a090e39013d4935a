"""Public tables from their publishers' own files: the Census Bureau's person files, and CDC's health survey."""

from __future__ import annotations

import re
import struct
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from surefoot.core import Inputs, Measurement, Step, SurefootError, check_pinned, digest_of, unkeyed, without_nan
from surefoot.tables import database, quote
from surefoot.tabular._tables._arrays import described, write_arrays
from surefoot.tabular._tables._recipes import Sensitive, by_race, by_sex, two_sides

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection
    from pandas import DataFrame

MAX_MEMBER_BYTES = 8 << 30
"""The most that one file may hold when it is decompressed (the largest person file holds three gigabytes)."""
_PERSONS = re.compile(r"(?:^|/)psam_p[a-z0-9]{2,3}\.csv$", re.IGNORECASE)
_COPIED_BYTES = 4 << 20
_BLOCK_ROWS = 20_000


@dataclass(frozen=True, kw_only=True)
class RawRecipe:
    """How a table comes out of published files: SQL over `columns`, all of them numbers, with a missing one NULL.

    `census` says whether the files are the Census Bureau's person files, else they are SAS transport files.
    """

    title: str
    census: bool
    columns: tuple[str, ...]
    rows: str
    features: str
    label: str
    sensitive: tuple[Sensitive, Sensitive]
    categorical: tuple[str, ...]
    note: str


@dataclass(frozen=True, kw_only=True)
class RawTable(Step):
    """A public table read from its publisher's own files, with the paper's label and groups; see `RAW_RECIPES`.

    `files` are paths: archives of the Census Bureau (csv_pXX.zip, of any states), or CDC's archive
    (LLCP2020XPT.zip), or what is inside. Memory is bounded by a block of rows.
    """

    name: str
    files: tuple[str, ...] = unkeyed(())
    digest: str = ""

    def pinned(self) -> Self:
        """With whole paths and the digest of the files as they are now. Raises for what is missing."""
        raw_recipe_of(self.name)
        if not self.files:
            raise SurefootError(f"Name the files of {self.name} as they were published.")
        if missing := [path for path in self.files if not Path(path).is_file()]:
            raise SurefootError(f"There is no file {missing[0]}.")
        digest = "-".join(digest_of(Path(path)) for path in self.files)
        return replace(self, files=tuple(str(Path(path).resolve()) for path in self.files), digest=digest)

    def make(self, out: Path, inputs: Inputs) -> Iterable[Measurement]:
        """Read and encode the table; measures the rows and the share of positives of each group."""
        recipe = raw_recipe_of(self.name)
        check_pinned(self)
        notes = [recipe.note]
        with database() as connection:
            columns = ", ".join(f'"{name}" DOUBLE' for name in recipe.columns)
            connection.execute(f"CREATE TABLE raw ({columns})")
            for path in self.files:
                (_load_persons if recipe.census else _load_transport)(connection, Path(path), recipe)
            _select(connection, recipe, notes)
            sensitive = [f"{attribute.name}__sensitive" for attribute in recipe.sensitive]
            table, sizes = write_arrays(
                out, connection, sensitive=sensitive, categorical=recipe.categorical, notes=notes
            )
        return described(table, sizes, self.name)


def raw_recipe_of(name: str) -> RawRecipe:
    """How a table comes out of its published files. Raises `SurefootError` for another name."""
    if name not in RAW_RECIPES:
        raise SurefootError(f"Published files are read of {', '.join(RAW_RECIPES)}; got '{name}'.")
    return RAW_RECIPES[name]


def _select(connection: DuckDBPyConnection, recipe: RawRecipe, notes: list[str]) -> None:
    sides = ", ".join(two_sides(attribute) for attribute in recipe.sensitive)
    connection.execute(
        f"CREATE TABLE features AS SELECT {recipe.features}, {sides}, coalesce({recipe.label}, false) AS label__, "
        f"false AS test__ FROM raw WHERE {recipe.rows}"
    )
    (kept, read) = connection.execute("SELECT (SELECT count(*) FROM features), (SELECT count(*) FROM raw)").fetchall()[
        0
    ]
    if not kept:
        raise SurefootError(f"None of the {read:,} rows belongs to this table ({recipe.title}): are these the files?")
    notes.append(f"{kept:,} of {read:,} rows belong to the table.")


def _load_persons(connection: DuckDBPyConnection, path: Path, recipe: RawRecipe) -> None:
    """A person file, or each of those in an archive, decompressed to the disk and read by its columns."""
    import duckdb

    wanted = ", ".join(f'TRY_CAST("{name}" AS DOUBLE)' for name in recipe.columns)
    with TemporaryDirectory() as place:
        for csv in _person_files(path, Path(place)):
            try:
                reader = "read_csv(?, header=true, delim=',', all_varchar=true)"
                names = {
                    name for name, *_ in connection.execute(f"DESCRIBE SELECT * FROM {reader}", [str(csv)]).fetchall()
                }
                if missing := [name for name in recipe.columns if name not in names]:
                    raise SurefootError(f"{path} has no column {missing[0]}: it is no person file of the 2018 survey.")
                connection.execute(f"INSERT INTO raw SELECT {wanted} FROM {reader}", [str(csv)])
            except duckdb.Error as error:
                raise SurefootError(f"{path} cannot be read: {str(error).splitlines()[0]}") from error


def _person_files(path: Path, place: Path) -> Iterator[Path]:
    if not zipfile.is_zipfile(path):
        yield path
        return
    with _archive(path) as archive:
        if not (names := [name for name in archive.namelist() if _PERSONS.search(name)]):
            raise SurefootError(f"{path} holds no person file (psam_pXX.csv).")
        for name in names:
            yield _unpacked(archive, name, place / "persons.csv", path)


@contextmanager
def _archive(path: Path) -> Iterator[zipfile.ZipFile]:
    try:
        with zipfile.ZipFile(path) as archive:
            yield archive
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, NotImplementedError) as error:
        raise SurefootError(f"{path} is damaged, or encrypted ({error}): download it again.") from error


def _unpacked(archive: zipfile.ZipFile, name: str, to: Path, path: Path) -> Path:
    left = MAX_MEMBER_BYTES
    with archive.open(name) as stream, to.open("wb") as out:
        while block := stream.read(_COPIED_BYTES):
            left -= len(block)
            if left < 0:
                raise SurefootError(
                    f"{path} holds more than {MAX_MEMBER_BYTES >> 20} MB: it is taken for a decompression bomb."
                )
            out.write(block)
    return to


def _load_transport(connection: DuckDBPyConnection, path: Path, recipe: RawRecipe) -> None:
    """A SAS transport file (version 5), or the one in an archive, decompressed to the disk and read in blocks."""
    with TemporaryDirectory() as place:
        for block in _transport_blocks(_transport_file(path, Path(place)), path):
            if missing := [name for name in recipe.columns if name not in block]:
                raise SurefootError(f"{path} has no column {missing[0]}; it has {len(block.columns)} others.")
            values = {name: block[name].to_numpy(np.float64) for name in recipe.columns}
            # pandas reads a zero of IBM's floating point as 5e-79.
            connection.register(
                "block", {name: np.where(abs(each) < 1e-70, 0.0, each) for name, each in values.items()}
            )
            # A missing number is NULL in SQL.
            connection.execute(
                f"INSERT INTO raw SELECT {', '.join(map(without_nan, map(quote, recipe.columns)))} FROM block"
            )
            connection.unregister("block")


def _transport_file(path: Path, place: Path) -> Path:
    if not zipfile.is_zipfile(path):
        return path
    with _archive(path) as archive:
        # CDC's own archives name their member with a blank at the end.
        names = [name for name in archive.namelist() if name.strip().lower().endswith(".xpt")]
        if len(names) != 1:
            raise SurefootError(f"{path} must hold one .XPT file, and holds {len(names)}.")
        return _unpacked(archive, names[0], place / "survey.xpt", path)


def _transport_blocks(file: Path, path: Path) -> Iterator[DataFrame]:
    """Blocks of rows by pandas, whose faults over a file that is none, or is damaged, become one sentence."""
    import pandas

    try:
        with file.open("rb") as stream:
            reader: Any = pandas.read_sas(stream, format="xport", chunksize=_BLOCK_ROWS, encoding="latin-1")
            yield from reader
    except (ValueError, TypeError, KeyError, IndexError, OverflowError, MemoryError, OSError, struct.error) as error:
        raise SurefootError(f"{path} is not a SAS transport file of version 5, or is damaged ({error}).") from error


_ACS_GROUPS = (by_race("RAC1P = 1"), by_sex("SEX = 1"))
_INCOME = ("AGEP", "COW", "SCHL", "MAR", "OCCP", "POBP", "RELP", "WKHP", "SEX", "RAC1P")
_COVERAGE = (
    *("AGEP", "SCHL", "MAR", "SEX", "DIS", "ESP", "CIT", "MIG", "MIL", "ANC", "NATIVITY", "DEAR", "DEYE", "DREM"),
    *("PINCP", "ESR", "ST", "FER", "RAC1P"),
)
_HEALTH = (
    *("_MICHD", "_BMI5", "SMOKE100", "_RFDRHV7", "CVDSTRK3", "PHYSHLTH", "MENTHLTH", "DIFFWALK", "SEXVAR", "_AGEG5YR"),
    *("_IMPRACE", "_TOTINDA", "GENHLTH", "SLEPTIM1", "ASTHMA3", "CHCKDNY2", "CHCSCNCR"),
)
_UNSAID: Mapping[str, tuple[int, ...]] = {
    "PHYSHLTH": (77, 99),
    "MENTHLTH": (77, 99),
    "SLEPTIM1": (77, 99),
    "_AGEG5YR": (14,),
    "GENHLTH": (7, 9),
}
_NUMBERS = ("AGEP", "WKHP", "SCHL", "PINCP", "_BMI5", "PHYSHLTH", "MENTHLTH", "SLEPTIM1", "_AGEG5YR", "GENHLTH")


def _said(name: str) -> str:
    """A column of the health survey in which what was not said is missing, and 'none' (88 days) is zero."""
    if name not in _UNSAID:
        return name
    none = "WHEN 88 THEN 0 " if name.endswith("HLTH") and name != "GENHLTH" else ""
    unsaid = " ".join(f"WHEN {code} THEN NULL" for code in _UNSAID[name])
    return f"CASE {name} {none}{unsaid} ELSE {name} END AS {name}"


RAW_RECIPES: Mapping[str, RawRecipe] = {
    "acs-income-published": RawRecipe(
        title="ACS Income (Census Bureau, person files)",
        census=True,
        columns=(*_INCOME, "PINCP", "PWGTP"),
        rows="AGEP > 16 AND PINCP > 100 AND WKHP > 0 AND PWGTP >= 1",
        features=", ".join(_INCOME),
        label="PINCP > 56000",
        sensitive=_ACS_GROUPS,
        categorical=tuple(name for name in _INCOME if name not in _NUMBERS),
        note="The rows and ten features of folktables, at the paper's threshold of 56,000; the paper used twenty.",
    ),
    "acs-public-coverage-published": RawRecipe(
        title="ACS Public Coverage (Census Bureau, person files)",
        census=True,
        columns=(*_COVERAGE, "PUBCOV"),
        rows="AGEP < 65 AND PINCP <= 30000",
        features=", ".join(_COVERAGE),
        label="PUBCOV = 1",
        sensitive=_ACS_GROUPS,
        categorical=tuple(name for name in _COVERAGE if name not in _NUMBERS),
        note="The rows and nineteen features of folktables, as in the paper.",
    ),
    "brfss-published": RawRecipe(
        title="BRFSS health survey, diabetes (CDC, transport file of 2020)",
        census=False,
        columns=(*_HEALTH, "DIABETE4"),
        rows="DIABETE4 IN (1, 2, 3, 4)",
        features=", ".join(map(_said, _HEALTH)),
        label="DIABETE4 = 1",
        sensitive=(by_race("_IMPRACE = 1"), by_sex("SEXVAR = 1")),
        categorical=tuple(name for name in _HEALTH if name not in _NUMBERS),
        note="The survey of 2020 with 17 features; the paper used 2015 with 28.",
    ),
}
