"""Published files as they are: person files of the Census Bureau, and SAS transport files of CDC."""

import zipfile
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from surefoot.core import Inputs, Measurement, Step, Store, SurefootError
from surefoot.tabular import RAW_RECIPES, open_table, raw_table
from surefoot.tabular._tables import _raw as raw_module
from surefoot.tabular._tables._xport import ibm_to_float, xport_blocks

Columns = dict[str, list[float | None] | list[str]]


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
    return list(step.make(out, Inputs(store)))


def test_numbers_of_ibm_are_read_to_the_last_bit() -> None:
    values = [0.0, 1.0, -1.0, 0.1, 1234.5678, -3e-20, 9.9e40]
    fields = np.frombuffer(b"".join(map(ibm, values)), np.uint8).reshape(-1, 8)
    assert_allclose(ibm_to_float(fields), values, rtol=1e-15)
    assert_array_equal(ibm_to_float(fields[:3, :2]), [0.0, 1.0, -1.0])
    assert np.isnan(
        ibm_to_float(np.frombuffer(ibm(None) + b"_" + bytes(7) + b"A" + bytes(7), np.uint8).reshape(3, 8))
    ).all()


@pytest.mark.parametrize("size", [8, 5])
def test_a_transport_file_is_read_as_pandas_reads_it(tmp_path: Path, size: int) -> None:
    pandas = pytest.importorskip("pandas")
    generator = np.random.default_rng(0)
    drawn: list[float | None] = [None if value > 2 else float(value) for value in generator.normal(size=97)]
    columns: Columns = {"A": drawn, "WORD": [f"w{place % 7}" for place in range(97)], "B": list(map(float, range(97)))}
    path = tmp_path / "x.xpt"
    path.write_bytes(xport(columns, size=size))
    with path.open("rb") as stream:
        theirs = pandas.read_sas(stream, format="xport", encoding="latin-1")
    blocks = list(xport_blocks(path, ["B", "A", "WORD"]))
    ours = {name: np.concatenate([block[name] for block in blocks]) for name in blocks[0]}
    assert len(ours["A"]) == 97
    for name in ("A", "B"):
        # pandas reads a zero as 5e-79.
        assert_allclose(ours[name], theirs[name].to_numpy(), rtol=1e-14, atol=1e-70)
    assert [word.decode() for word in ours["WORD"]] == theirs["WORD"].tolist()


def test_hostile_transport_files_are_refused(tmp_path: Path) -> None:
    whole = xport({"A": [1.0, 2.0]})
    wide = bytearray(whole)
    wide[8 * 80 + 4 : 8 * 80 + 6] = (9).to_bytes(2, "big")
    far = bytearray(whole)
    far[8 * 80 + 84 : 8 * 80 + 88] = b"\x7f\xff\xff\xff"
    many = bytearray(whole)
    many[7 * 80 + 54 : 7 * 80 + 58] = b"0000"
    for content, message in (
        (b"PK nonsense", "not a SAS transport file"),
        (whole[:400], "header is damaged"),
        (bytes(wide), "column 'A' is damaged"),
        (bytes(far), "column 'A' is damaged"),
        (bytes(many), "says that it has 0 columns"),
    ):
        path = tmp_path / "x.xpt"
        path.write_bytes(content)
        with pytest.raises(SurefootError, match=message):
            list(xport_blocks(path, ["A"]))
    path.write_bytes(whole)
    with pytest.raises(SurefootError, match="no column B"):
        list(xport_blocks(path, ["B"]))
    with pytest.raises(SurefootError, match="decompression bomb"):
        list(xport_blocks(path, ["A"], max_bytes=10))


def test_the_health_survey_is_read_from_the_archive_of_cdc(tmp_path: Path) -> None:
    recipe = RAW_RECIPES["brfss"]
    generator = np.random.default_rng(1)
    columns: Columns = {name: list(map(float, generator.integers(1, 3, 400))) for name in recipe.columns}
    columns["DIABETE4"] = [float(1 + 2 * (row % 3 > 0)) if row % 20 else 9.0 for row in range(400)]
    columns["PHYSHLTH"] = [(88.0, 77.0, 30.0, None)[row % 4] for row in range(400)]
    columns["ELSE"] = ["text"] * 400
    path = tmp_path / "LLCP2020XPT.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("LLCP2020.XPT ", xport(columns))
    step = raw_table("brfss", [path])
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
        *dict.fromkeys((*RAW_RECIPES["acs-income"].columns, *RAW_RECIPES["acs-public-coverage"].columns)),
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
    for name, wanted in (("acs-income", 0.4), ("acs-public-coverage", 0.5)):
        step, store = raw_table(name, paths), Store(tmp_path / "store")
        made(step, store)
        table = open_table(store.path(step))
        assert table.group_names == ("not white, female", "not white, male", "white, female", "white, male")
        assert_allclose(table.labels.mean(), wanted, atol=0.15)
        ages = table.values[[column.name for column in table.columns].index("AGEP")]
        assert ages.min() >= (17 if name == "acs-income" else 10)
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
        ("acs-income", [other], "no column AGEP: it is no person file"),
        ("acs-income", [tmp_path / "empty.zip"], "holds no person file"),
        ("acs-income", [bomb], "decompression bomb"),
        ("acs-income", [damaged], "damaged"),
        ("brfss", [tmp_path / "empty.zip"], "must hold one .XPT file"),
    ):
        with pytest.raises(SurefootError, match=message):
            made(raw_table(name, paths), store)
        (store.path(raw_table(name, paths))).rename(tmp_path / f"used {message[:9]}")
    with pytest.raises(SurefootError, match="There is no file"):
        raw_table("brfss", [tmp_path / "nowhere.zip"])
    with pytest.raises(SurefootError, match="Published files are read of"):
        raw_table("adult", [other])
    step = raw_table("acs-income", [other])
    other.write_text("A,B\n1,3\n", encoding="utf-8")
    with pytest.raises(SurefootError, match="changed after it was named"):
        made(step, store)
