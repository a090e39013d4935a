"""Published files as they are: person files of the Census Bureau, and SAS transport files of CDC."""

import zipfile
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from surefoot.core import Measurement, Step, Store, StoredInputs, SurefootError
from surefoot.tabular import RawTable, open_table
from surefoot.tabular._tables import _raw as raw_module
from surefoot.tabular._tables._raw import RAW_RECIPES

Columns = dict[str, list[float | None] | list[str]]


def raw_table(name: str, paths: list[Path]) -> RawTable:
    return RawTable(name=name, files=tuple(map(str, paths))).pinned()


def ibm(value: float | None) -> bytes:
    """A number as SAS writes it: eight bytes of IBM's floating point; None is a missing value ('.')."""
    if value is None:
        return b"." + bytes(7)
    if value == 0:
        return bytes(8)
    exponent = 0
    fraction = abs(value)
    while fraction >= 1:
        fraction, exponent = fraction / 16, exponent + 1
    while fraction < 1 / 16:
        fraction, exponent = fraction * 16, exponent - 1
    return bytes([(0x80 if value < 0 else 0) | (exponent + 64)]) + int(fraction * 2**56).to_bytes(7, "big")


def xport(columns: Columns, *, size: int = 8) -> bytes:
    """A transport file of version 5 with these columns; numbers have `size` bytes, texts eight."""

    def line(text: str) -> bytes:
        return text.encode().ljust(80)

    def padded(content: bytes) -> bytes:
        return content + b" " * (-len(content) % 80)

    names, start = b"", 0
    for place, (name, values) in enumerate(columns.items(), start=1):
        text = isinstance(values[0], str)
        width = 8 if text else size
        said = (2 if text else 1).to_bytes(2, "big") + bytes(2) + width.to_bytes(2, "big") + place.to_bytes(2, "big")
        names += (said + name.encode().ljust(8) + b" " * 40 + b" " * 8 + bytes(20) + start.to_bytes(4, "big")).ljust(
            140, b"\0"
        )
        start += width
    cells = [
        [value.encode().ljust(8) if isinstance(value, str) else ibm(value)[:size] for value in values]
        for values in columns.values()
    ]
    rows = b"".join(b"".join(row) for row in zip(*cells, strict=True))
    zeros = "0" * 30
    head = (
        line(f"HEADER RECORD*******LIBRARY HEADER RECORD!!!!!!!{zeros}")
        + line("SAS     SAS     SASLIB")
        + line("01JAN20:00:00:00")
        + line("HEADER RECORD*******MEMBER  HEADER RECORD!!!!!!!000000000000000001600000000140")
        + line(f"HEADER RECORD*******DSCRPTR HEADER RECORD!!!!!!!{zeros}")
        + line("SAS     LLCP2020SASDATA")
        + line("01JAN20:00:00:00")
        + line(f"HEADER RECORD*******NAMESTR HEADER RECORD!!!!!!!000000{len(columns):04d}{'0' * 20}")
    )
    observed = line(f"HEADER RECORD*******OBS     HEADER RECORD!!!!!!!{zeros}")
    return head + padded(names) + observed + padded(rows)


def made(step: Step, store: Store) -> list[Measurement]:
    """Make a Step without workers, so that its error is the caller's."""
    out = store.path(step)
    out.mkdir(parents=True)
    return list(step.make(out, StoredInputs(store)))


def survey(rows: int = 400) -> Columns:
    """What the health survey's table needs, with other columns beside it."""
    generator = np.random.default_rng(1)
    names = RAW_RECIPES["brfss-published"].columns
    columns: Columns = {name: list(map(float, generator.integers(1, 3, rows))) for name in names}
    columns["DIABETE4"] = [float(1 + 2 * (row % 3 > 0)) if row % 20 else 9.0 for row in range(rows)]
    columns["PHYSHLTH"] = [(88.0, 77.0, 30.0, None)[row % 4] for row in range(rows)]
    columns["SLEPTIM1"] = [0.0 if row % 2 else 7.0 for row in range(rows)]
    columns["ELSE"] = ["text"] * rows
    return columns


def test_hostile_transport_files_are_refused(tmp_path: Path) -> None:
    whole = xport(survey())
    wide = bytearray(whole)
    wide[8 * 80 + 4 : 8 * 80 + 6] = (9).to_bytes(2, "big")
    many = bytearray(whole)
    many[7 * 80 + 54 : 7 * 80 + 58] = b"0000"
    for number, (content, message) in enumerate(
        (
            (b"PK nonsense", "not a SAS transport file"),
            (whole[:400], "not a SAS transport file"),
            (bytes(wide), "damaged"),
            (bytes(many), "damaged|no column"),
            (xport({"A": [1.0, 2.0]}), "no column _MICHD"),
        )
    ):
        path = tmp_path / f"{number}.xpt"
        path.write_bytes(content)
        with pytest.raises(SurefootError, match=message):
            made(raw_table("brfss-published", [path]), Store(tmp_path / f"store{number}"))


@pytest.mark.parametrize("size", [8, 5])
def test_numbers_of_a_transport_file_are_those_that_were_written(tmp_path: Path, size: int) -> None:
    path = tmp_path / "x.xpt"
    path.write_bytes(xport(survey() | {"_TOTINDA": [float(row % 2) for row in range(400)]}, size=size))
    step, store = raw_table("brfss-published", [path]), Store(tmp_path / "store")
    made(step, store)
    table = open_table(store.path(step))
    levels = next(column.levels for column in table.columns if column.name == "_TOTINDA")
    assert sorted(map(float, levels)) == [0.0, 1.0]  # pandas has 5e-79
    sleep = table.values[[column.name for column in table.columns].index("SLEPTIM1")]
    # IBM's zero is 0, and 0 hours are no missing value.
    assert_array_equal(np.unique(sleep), [0.0, 7.0])


def test_the_health_survey_is_read_from_the_archive_of_cdc(tmp_path: Path) -> None:
    columns = survey()
    path = tmp_path / "LLCP2020XPT.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("LLCP2020.XPT ", xport(columns))
    step = raw_table("brfss-published", [path])
    measured = made(step, Store(tmp_path / "store"))
    table = open_table(Store(tmp_path / "store").path(step))
    assert table.group_names == ("not white, female", "not white, male", "white, female", "white, male")
    assert len(table.labels) == 380
    days = table.values[[column.name for column in table.columns].index("PHYSHLTH")]
    assert_array_equal(np.unique(days[~np.isnan(days)]), [0, 30])
    assert any("380 of 400 rows" in note for note in table.notes)
    assert sum(each.value for each in measured if each.metric == "rows") == 380


def persons(rows: int, seed: int) -> str:
    """A person file of the Census Bureau with more columns than are wanted, codes with zeros before them, and gaps."""
    generator = np.random.default_rng(seed)
    names = [
        "RT",
        "SERIALNO",
        *dict.fromkeys(
            (*RAW_RECIPES["acs-income-published"].columns, *RAW_RECIPES["acs-public-coverage-published"].columns)
        ),
    ]
    lines = [",".join(names)]
    for row in range(rows):
        values = {name: str(generator.integers(1, 3)) for name in names}
        values |= {"RT": "P", "SERIALNO": f"2018HU{row:07d}", "AGEP": f"{generator.integers(10, 80):02d}"}
        values |= {"PINCP": str(generator.integers(-100, 120_000)) if row % 9 else "", "WKHP": "40", "PWGTP": "00012"}
        lines.append(",".join(values[name] for name in names))
    return "\n".join(lines) + "\n"


def test_the_person_files_of_the_census_bureau_are_read_from_its_archives(tmp_path: Path) -> None:
    paths = [tmp_path / f"csv_p{state}.zip" for state in ("al", "ca")]
    for seed, path in enumerate(paths):
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr(f"psam_p0{seed}.csv", persons(300, seed))
            archive.writestr("ACS2018_PUMS_README.pdf", b"no table")
    for name, wanted in (("acs-income-published", 0.4), ("acs-public-coverage-published", 0.5)):
        step, store = raw_table(name, paths), Store(tmp_path / "store")
        made(step, store)
        table = open_table(store.path(step))
        assert table.group_names == ("not white, female", "not white, male", "white, female", "white, male")
        assert_allclose(table.labels.mean(), wanted, atol=0.15)
        ages = table.values[[column.name for column in table.columns].index("AGEP")]
        assert ages.min() >= (17 if name == "acs-income-published" else 10)
        assert any(f"of {600:,} rows" in note for note in table.notes)
    kinds = {column.name: bool(column.levels) for column in table.columns}
    assert kinds["CIT"] and kinds["ESR"] and not kinds["AGEP"] and not kinds["PINCP"]


def test_wrong_published_files_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store(tmp_path / "store")
    other, bomb, damaged = (tmp_path / name for name in ("other.csv", "csv_pak.zip", "damaged.zip"))
    other.write_text("A,B\n1,2\n", encoding="utf-8")
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("psam_p02.csv", persons(300, 0))
    damaged.write_bytes(bomb.read_bytes()[:2000] + bytes(500) + bomb.read_bytes()[2500:])
    with zipfile.ZipFile(tmp_path / "empty.zip", "w") as archive:
        archive.writestr("readme.txt", b"")
    monkeypatch.setattr(raw_module, "MAX_MEMBER_BYTES", 1000)
    for name, paths, message in (
        ("acs-income-published", [other], "no column AGEP: it is no person file"),
        ("acs-income-published", [tmp_path / "empty.zip"], "holds no person file"),
        ("acs-income-published", [bomb], "decompression bomb"),
        ("acs-income-published", [damaged], "damaged"),
        ("brfss-published", [tmp_path / "empty.zip"], "must hold one .XPT file"),
    ):
        with pytest.raises(SurefootError, match=message):
            made(raw_table(name, paths), store)
        (store.path(raw_table(name, paths))).rename(tmp_path / f"used {message[:9]}")
    with pytest.raises(SurefootError, match="There is no file"):
        raw_table("brfss-published", [tmp_path / "nowhere.zip"])
    with pytest.raises(SurefootError, match="Published files are read of"):
        raw_table("adult", [other])
    step = raw_table("acs-income-published", [other])
    other.write_text("A,B\n1,3\n", encoding="utf-8")
    with pytest.raises(SurefootError, match="have changed since"):
        made(step, store)
