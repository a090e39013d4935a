"""Tables as people have them: every format gives the same table, and what is no table is refused with its place."""

import gzip
import io
import sys
import zipfile
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from surefoot.core import SurefootError
from surefoot.tables import Remark, column_names, database, load_table, parse_numbers, type_columns

CSV = "model,val,sketch\na,61.5,40\nb,70.25,\n"
MARKDOWN = (
    "Results\n\n| model | val | sketch |\n|:--|--:|--:|\n| a | 61.5 | 40 |\n| b | 70.25 | - |\n\nEnd | not a row\n"
)
ROWS = [("a", 61.5, 40.0), ("b", 70.25, None)]


def _read(path: Path | str, **options: Any) -> tuple[tuple[str, ...], list[tuple[Any, ...]], tuple[Remark, ...]]:
    with database() as connection:
        table = load_table(connection, path)
        remarks = type_columns(connection, table, **options)
        return table.columns, connection.execute("SELECT * FROM raw").fetchall(), remarks


def _written(folder: Path, name: str, content: str | bytes) -> Path:
    file = folder / name
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    return file


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("t.csv", CSV),
        ("t.csv", "\ufeff" + CSV.replace("\n", "\r\n")),
        ("t.csv", CSV.replace(",", ";")),
        ("t.csv", CSV.replace("\nb", "\n\n\nb")),
        ("t.csv", "model,val,sketch,,\na,61.5,40,,\nb,70.25,,,\n"),
        ("t.csv", CSV.replace(",40", ",40,").replace("70.25,", "70.25,,")),
        ("t.txt", CSV.replace(",", "|")),
        ("t.tsv", CSV.replace(",", "\t")),
        ("t.md", MARKDOWN),
        ("t.csv.gz", gzip.compress(CSV.encode(), mtime=0)),
        ("t.json", '[{"model": "a", "val": 61.5, "sketch": 40}, {"model": "b", "val": 70.25, "sketch": null}]'),
        ("t.json", '{"model": ["a", "b"], "val": [61.5, 70.25], "sketch": [40, null]}'),
        ("t.jsonl", '{"model": "a", "val": 61.5, "sketch": 40}\n{"model": "b", "val": 70.25}\n'),
        ("t.jsonl", '{"model": "a", "val": "61.5", "sketch": 40}\n{"model": "b", "val": 70.25, "sketch": "NA"}\n'),
    ],
)
def test_every_format_gives_the_same_table(tmp_path: Path, name: str, content: str | bytes) -> None:
    (folder := tmp_path / "val=9").mkdir()  # to DuckDB such a name is a column, in the place of the file's own
    columns, rows, remarks = _read(_written(folder, name, content))
    assert (columns, rows, remarks) == (("model", "val", "sketch"), ROWS, ())


def test_parquet_and_arrow_are_read_with_the_same_words_for_missing(tmp_path: Path) -> None:
    relation = duckdb.sql("SELECT * FROM (VALUES ('a', 61.5::DOUBLE, ' ? '), ('b', 70.25, 'x')) AS t(model, val, note)")
    (folder := tmp_path / "val=9").mkdir()
    relation.write_parquet(str(folder / "t.parquet"))
    expected = [("a", 61.5, None), ("b", 70.25, "x")]
    assert _read(folder / "t.parquet")[1] == expected
    assert "column 'note' has words that are read as no value: '?' (1)." in _read(folder / "t.parquet")[2][0].message
    feather = pytest.importorskip("pyarrow.feather")
    feather.write_feather(relation.to_arrow_table(), str(tmp_path / "t.feather"))
    assert _read(tmp_path / "t.feather")[1] == expected


@pytest.mark.parametrize("ending", ["feather", "arrow"])
def test_half_floats_and_wide_decimals_of_arrow_are_numbers(tmp_path: Path, ending: str) -> None:
    wide = pa.array([Decimal("2.25"), None, Decimal(-3)], type=pa.decimal256(50, 3))
    table = pa.table({"half": pa.array(np.array([1.5, np.nan, 4], "float16")), "name": ["a", "b", "c"], "wide": wide})
    with pa.OSFile(str(tmp_path / f"t.{ending}"), "wb") as file:
        kind = pa.ipc.new_file if ending == "feather" else pa.ipc.new_stream
        with kind(file, table.schema) as writer:
            writer.write_table(table)
    assert _read(tmp_path / f"t.{ending}")[1] == [(1.5, "a", 2.25), (None, "b", None), (4.0, "c", -3.0)]


@pytest.mark.parametrize("ending", ["parquet", "arrow"])
@pytest.mark.parametrize("kind", [pa.float64(), pa.float32()])
def test_nan_is_no_value_whatever_the_statistics_of_the_file_say(tmp_path: Path, ending: str, kind: Any) -> None:
    """Parquet's least and greatest leave NaN out, and DuckDB trusts them: there isnan() is false of every row."""
    table = pa.table({"x": pa.array([float("nan"), 0.25, float("inf")], kind), "pair": [[1, 2], [3, 4], [5, 6]]})
    if ending == "parquet":
        pyarrow.parquet.write_table(table, tmp_path / "t.parquet")
    else:
        with pa.ipc.new_file(tmp_path / "t.arrow", table.schema) as file:
            file.write_table(table)
    assert [row[0] for row in _read(tmp_path / f"t.{ending}")[1]] == [None, 0.25, float("inf")]


TEXTS = "g,x,n\nNone,1,null\nnan,2,3\nNA,3,4\nNull,4,5\nnil,5,6\n,6,7\n None ,7,8\n"


def _columnar(path: Path) -> None:
    """The same texts in a format of columns, a stream of Arrow too, which can be read once only."""
    rows = [line.split(",") for line in TEXTS.splitlines()[1:]]
    table = pa.table({name: pa.array([row[at] for row in rows], pa.string()) for at, name in enumerate("gxn")})
    if path.suffix == ".parquet":
        pyarrow.parquet.write_table(table, path)
    else:
        with pa.ipc.new_stream(path, table.schema) as stream:
            stream.write_table(table)


@pytest.mark.parametrize("name", ["t.csv", "t.csv.gz", "t.parquet", "t.arrow"])
def test_words_for_no_value_are_one_rule_in_every_format_and_said_of_texts(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    if path.suffix in (".parquet", ".arrow"):
        _columnar(path)
    else:
        _written(tmp_path, name, gzip.compress(TEXTS.encode(), mtime=0) if name.endswith("gz") else TEXTS)
    columns, rows, remarks = _read(path)
    assert columns == ("g", "x", "n")
    assert [row[0] for row in rows] == [None, None, None, None, "nil", None, None]
    assert rows[0][2] is None and rows[1][2] == 3.0
    shown = "'NA' (1), 'None' (2), 'Null' (1), 'nan' (1)"  # of 'n', a column of numbers, nothing is to be said
    assert [remark.message for remark in remarks] == [
        f"{path}: column 'g' has words that are read as no value: {shown}."
    ]


def test_the_first_sheet_of_a_workbook_is_read() -> None:
    columns, rows, _ = _read(Path(__file__).parent / "data" / "results.xlsx")
    assert columns == ("model", "val", "note")
    assert rows == [("a", 61.5, "x, y"), ("b", 70.25, None), ("c", None, "true"), ("ü", 0.001, "3,2")]


_OPEN = "http://schemas.openxmlformats.org"
_SHEET = """<row r="2"><c r="A2" t="s"><v>0</v></c><c r="B2" t="inlineStr"><is><t>day</t></is></c>
<c r="C2" t="str"><v>acc</v></c><c r="D2" t="str"><v>f</v></c><c r="E2" t="str"><v>clock</v></c></row>
<row r="3"><c r="A3" t="str"><v>a</v></c><c r="B3" s="1"><v>45292</v></c><c r="C3" s="2"><v>0.381</v></c>
<c r="D3"><f>C3*2</f><v/></c><c r="E3" s="3"><v>0.0625</v></c></row>
<row r="4" hidden="1"><c r="B4" s="1"><v>45323.5</v></c><c r="C4"><v>44.5</v></c>
<c r="D4" t="e"><v>#N/A</v></c></row>"""


def _workbook(file: Path, sheet: str, *, after: str = "", before: str = "", formats: str = "") -> Path:
    """Three sheets, the first tab hidden and the second the last part, as Excel leaves them when tabs are moved."""
    main, rels = f"{_OPEN}/spreadsheetml/2006/main", f"{_OPEN}/officeDocument/2006/relationships"
    tabs = '<sheet name="s0" r:id="s0" state="hidden"/><sheet name="s2" r:id="s2"/><sheet name="s1" r:id="s1"/>'
    links = "".join(
        f'<Relationship Id="s{i}" Type="{rels}/worksheet" Target="worksheets/sheet{i}.xml"/>' for i in (0, 1, 2)
    )
    styles = "".join(f'<xf numFmtId="{code}"/>' for code in (0, 164, 10, 20))
    other = '<row r="1"><c r="A1"><v>7</v></c></row>'
    parts = {
        "worksheets/sheet0.xml": f'<worksheet xmlns="{main}"><sheetData>{other}</sheetData></worksheet>',
        "worksheets/sheet1.xml": f'<worksheet xmlns="{main}"><sheetData>{other}</sheetData></worksheet>',
        "worksheets/sheet2.xml": f'<worksheet xmlns="{main}"><sheetData>{sheet}</sheetData>{after}</worksheet>',
        "workbook.xml": f'<workbook xmlns="{main}" xmlns:r="{rels}">{before}<sheets>{tabs}</sheets></workbook>',
        "_rels/workbook.xml.rels": f'<Relationships xmlns="{_OPEN}/package">{links}</Relationships>',
        "sharedStrings.xml": f'<sst xmlns="{main}"><si><r><t>mod</t></r><r><t>el</t></r><rPh><t>M</t></rPh></si></sst>',
        "styles.xml": f'<styleSheet xmlns="{main}"><numFmts><numFmt numFmtId="164" formatCode="d\\. mmm yy;@"/>'
        f"{formats}</numFmts><cellXfs>{styles}</cellXfs></styleSheet>",
    }
    with zipfile.ZipFile(file, "w") as book:
        for name, text in parts.items():
            book.writestr(f"xl/{name}", text)
    return file


def test_a_workbook_is_read_as_it_is_seen(tmp_path: Path) -> None:
    """The first tab, dates, shares beside percentages, merged cells; what cannot be seen in the numbers is said."""
    file = _workbook(tmp_path / "t.xlsx", _SHEET, after='<mergeCells><mergeCell ref="A3:A1048576"/></mergeCells>')
    columns, rows, remarks = _read(file)
    assert columns == ("model", "day", "acc", "f", "clock")
    assert rows == [("a", "2024-01-01", 38.1, "=C3*2", "01:30:00"), ("a", "2024-02-01 12:00:00", 44.5, None, None)]
    said = " ".join(remark.message for remark in remarks)
    assert "the sheet 's2' is read, the first that is not hidden; not read: 's0' (hidden), 's1'." in said
    assert "1 cell holds an error, read as empty: D4 #N/A." in said and "hidden rows are read" in said
    assert [remark.rows for remark in remarks if remark.code == "percent-sign"] == [(1,)]
    notes = '<row r="1"><c r="A1" t="inlineStr"><is><t>Notes</t></is></c></row>'
    with pytest.raises(SurefootError, match=r"no rows of data.*not read: 's0'"):
        _read(_workbook(tmp_path / "v.xlsx", notes))
    whole = _workbook(tmp_path / "u.xlsx", _SHEET.replace("<v>44.5</v>", "").replace("#N/A", "#REF!"))
    assert _read(whole)[1][0][2] == 0.381
    shown = '<numFmt numFmtId="10" formatCode="0.0%_);(0.0%);\\-"/>'  # as accountants have it
    other = _workbook(tmp_path / "w.xlsx", _SHEET, formats=shown)
    assert _read(other)[1][0][2] == 38.1
    hours = _workbook(tmp_path / "h.xlsx", _SHEET, formats='<numFmt numFmtId="20" formatCode="[h]"/>')
    assert _read(hours)[1][0][4] == "01:30:00"  # not the sixteenth of a day that Excel keeps
    late = _workbook(tmp_path / "v.xlsx", _SHEET, before='<workbookPr date1904="1"/>')  # of Excel for Mac, once
    assert [row[1] for row in _read(late)[1]] == ["2028-01-02", "2028-02-02 12:00:00"]


@pytest.mark.parametrize("content", [CSV, MARKDOWN, '[{"model": "a", "val": 61.5, "sketch": 40}]'])
def test_standard_input_is_read_whatever_it_holds(monkeypatch: pytest.MonkeyPatch, content: str) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content.encode())))
    assert _read("-")[1][0] == ROWS[0]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("t.csv", "", "is empty"),
        ("t.csv", "\n\n", "no header line"),
        ("t.csv", "a,b\n", "no rows of data"),
        ("t.csv", "a,b\n1,2\n3\n", "row 2 has 1 cells and the header has 2"),
        ("t.csv", "a,b\n1,2\n3,4,5\n", "row 2 has 3 cells and the header has 2 .leave out lines above"),
        ("t.csv", "a,a\n1,2\n", "two columns of one name: 'a'"),
        ("t.csv", "Acc,acc\n1,2\n", "two columns of one name: 'Acc', 'acc'"),
        ("t.csv", 'a,b\n1,"2\n', "row 1 opens a quotation mark"),
        ("t.csv", b"a,b\n\xff\xfe,1\n", "not UTF-8"),
        ("t.csv", "Gr\u00f6\u00dfe,b\n1,2\n".encode("latin-1"), "not UTF-8 text \\(its header\\)"),
        ("t.csv", "a,b\n1,2\n".encode("utf-16"), "UTF-16"),
        ("t.json", "[1, 2]", "must be a list of objects"),
        ("t.json", "{", "is not JSON"),
        ("t.json", '{"a": [1, 2], "b": [1]}', "columns of different lengths"),
        ("t.json", '{"a": {"0": 1, "1": 2}, "b": {"0": 3, "1": 4}}', "save it with to_json\\(orient='records'\\)"),
        ("t.json", '{"columns": ["a"], "index": [0], "data": [[1]]}', "as pandas' to_json"),
        ("t.json", '{"schema": {"fields": []}, "data": [{"a": 1}]}', "as pandas' to_json"),
        ("t.xlsx", "a", "not an Excel workbook"),
        ("t.parquet", "no", "is not a Parquet file"),
        ("t.arrow", "no", "is not an Arrow"),
        ("t.csv.gz", "no", "cannot be read"),
        ("t.doc", "a", "not a table I can read"),
    ],
)
def test_what_is_no_table_is_refused_in_one_line_with_its_place(
    tmp_path: Path, name: str, content: str | bytes, message: str
) -> None:
    file = _written(tmp_path, name, content)
    with pytest.raises(SurefootError, match=message) as error:
        _read(file)
    assert str(file) in str(error.value)
    assert "\n" not in str(error.value)


def test_a_file_above_the_limit_is_refused_before_and_after_unpacking(tmp_path: Path) -> None:
    bomb = _written(tmp_path, "bomb.csv.gz", gzip.compress(b"a,b\n" + b"1,2\n" * 100_000))
    with database() as connection:
        with pytest.raises(SurefootError, match="unpacks to more than the limit"):
            load_table(connection, bomb, largest_bytes=10_000)
        with pytest.raises(SurefootError, match="larger than the limit"):
            load_table(connection, _written(tmp_path, "t.csv", CSV), largest_bytes=10)
        with pytest.raises(SurefootError, match="2 rows of 3 columns"):
            load_table(connection, tmp_path / "t.csv", most_cells=5)


def test_names_that_sql_could_trip_over_are_only_names(tmp_path: Path) -> None:
    folder = tmp_path / 'o\'brien "x"'
    folder.mkdir()
    file = _written(folder, "t.csv", 'it\'s,"a ""b""",drop table\n1,2,3\n')
    assert _read(file)[0] == ("it's", 'a "b"', "drop table")
    assert column_names(file) == ("it's", 'a "b"', "drop table")


def test_blank_lines_before_the_header_are_no_rows(tmp_path: Path) -> None:
    assert _read(_written(tmp_path, "t.csv", "\n \n\na,b\n1,x\n2,y\n")) == _read(
        _written(tmp_path, "u.csv", "a,b\n1,x\n2,y\n")
    )


def test_a_column_without_a_name_is_called_by_its_place(tmp_path: Path) -> None:
    assert _read(_written(tmp_path, "t.csv", ",a\n0,x\n1,y\n"))[0] == ("column1", "a")


@settings(max_examples=40, deadline=None)
@given(content=st.text(max_size=200))
def test_any_text_gives_a_table_or_a_clear_error(tmp_path_factory: pytest.TempPathFactory, content: str) -> None:
    file = tmp_path_factory.getbasetemp() / "any.csv"
    file.write_text(content, encoding="utf-8", newline="")
    try:
        _, rows, _ = _read(file)
    except SurefootError as error:
        assert str(file) in str(error)
    else:
        assert rows


@pytest.mark.parametrize(
    ("cells", "values"),
    [
        (["3,2", "0,125", "10"], [3.2, 0.125, 10]),
        (["1,300,000", "400,000", "900"], [1.3e6, 4e5, 900]),
        (["1,300.5", "2,100"], [1300.5, 2100]),
        (["1.300,5", "2.100", "3,25"], [1300.5, 2100, 3.25]),
        (["3.2 ± 0.1", "3.25 +/- 0.04", "4 (0.2)"], [3.2, 3.25, 4]),
        (["10^18", "2×10^9", "3.5 * 10**-2", "10¹²"], [1e18, 2e9, 0.035, 1e12]),
        (["38.1%", "40 %", "3,2%"], [38.1, 40, 3.2]),
        (["−3", "1e-5", ".5", "5."], [-3, 1e-5, 0.5, 5]),
        (["1 300", "2'000", "3_000"], [1300, 2000, 3000]),
        (["1\u2009300", "2\u202f000", "3’000"], [1300, 2000, 3000]),
        (["-", "?", "n/a", "", None], [np.nan] * 5),
    ],
)
def test_numbers_are_read_as_people_write_them(cells: list[str | None], values: list[float]) -> None:
    found = parse_numbers(cells)
    np.testing.assert_allclose(found.values, values)
    assert not found.bad.any()


def test_one_comma_before_three_digits_is_read_by_the_rest_of_the_column_and_of_the_file() -> None:
    assert parse_numbers(["1,300", "2,400"]).values.tolist() == [1300, 2400]
    assert parse_numbers(["1,300", "2,400"], semicolons=True).values.tolist() == [1.3, 2.4]
    assert parse_numbers(["1,300", "2,45"]).values.tolist() == [1.3, 2.45]
    assert parse_numbers(["1,300,000", "2,45"]).bad.tolist() == [True, True]


def test_letters_for_millions_are_labels_unless_numbers_are_asked_for() -> None:
    cells = ["1.3B", "400M", "12k", "2 T"]
    assert parse_numbers(cells).bad.all()
    assert parse_numbers(cells, magnitudes=True).values.tolist() == [1.3e9, 4e8, 12e3, 2e12]


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_every_plain_number_is_read_exactly(number: float) -> None:
    assert parse_numbers([repr(number), number]).values.tolist() == [number, number]


def test_what_was_done_to_a_column_is_said_with_its_rows(tmp_path: Path) -> None:
    rows = "".join(f'{i},"{i},5",{i}%\n' for i in range(19))
    _, cells, remarks = _read(_written(tmp_path, "t.csv", f"n,comma,percent\n{rows}failed,1,2\n"))
    assert {(one.code, one.columns, len(one.rows)) for one in remarks} == {
        ("non-numeric", ("n",), 1),
        ("written-numbers", ("comma",), 1),
        ("percent-sign", ("percent",), 19),
    }
    assert remarks[0].rows == (20,)
    assert "'failed' in row 20" in remarks[0].message
    assert cells[3] == (3.0, 3.5, 3.0)
    assert cells[19] == (None, 1.0, 2.0)


def test_a_column_of_words_stays_text_and_so_does_one_that_is_kept(tmp_path: Path) -> None:
    file = _written(tmp_path, "t.csv", "code,word\n007,1\n008,two\n009,three\n")
    assert _read(file, keep=["code"])[1] == [("007", "1"), ("008", "two"), ("009", "three")]


def test_codes_that_begin_with_a_zero_stay_as_they_are_written(tmp_path: Path) -> None:
    from surefoot.laws import make_table, numbers_of, read_table, text_of

    path = tmp_path / "codes.csv"
    path.write_text("model,zip,x\n007,01069,0.5\n8,10115,0\n012,80331,1e3\n")
    for table in (
        read_table(path),
        make_table({"model": ["007", "8", "012"], "zip": ["01069", "10115", "80331"], "x": ["0.5", "0", "1e3"]}),
    ):
        assert text_of(table, "model").tolist() == ["007", "8", "012"]
        assert text_of(table, "zip").tolist() == ["01069", "10115", "80331"]
        assert numbers_of(table, "model").tolist() == [7.0, 8.0, 12.0]
        assert table.columns["x"].tolist() == [0.5, 0.0, 1000.0]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("t.tsv", "size\tloss\tshare\n1.300\t1,612\t0,5\n30.000\t1,411\t2,25\n"),
        ("t.md", "| size | loss | share |\n|---|---|---|\n| 1.300 | 1,612 | 0,5 |\n| 30.000 | 1,411 | 2,25 |\n"),
        ("t.csv", 'size,loss,share\n1.300,"1,612","0,5 ± 0,1"\n30.000,"1,411","2,25 %"\n'),
    ],
)
def test_one_column_with_a_clear_decimal_comma_settles_what_the_others_leave_open(
    tmp_path: Path, name: str, text: str
) -> None:
    _, cells, _ = _read(_written(tmp_path, name, text))
    assert cells == [(1300.0, 1.612, 0.5), (30000.0, 1.411, 2.25)]
    text = text.replace("0,5", "1,500").replace("2,25", "2,250")
    assert [row[1] for row in _read(_written(tmp_path, name, text))[1]] == [1612.0, 1411.0]


def test_a_list_of_numbers_does_not_make_the_commas_of_other_columns_decimal(tmp_path: Path) -> None:
    _, cells, _ = _read(_written(tmp_path, "t.tsv", "gpus\ttokens\n0,1\t1,300\n0,1,2\t2,600\n2,3\t5,200\n"))
    assert [row[1] for row in cells] == [1300.0, 2600.0, 5200.0]


def test_all_rows_of_a_markdown_table_are_read_and_further_tables_are_said(tmp_path: Path) -> None:
    head = "| x | y |\n|---|---|\n"
    rows = "| 1 | 2 |\n" * 500_000 + "| - | - |\n"
    _, cells, remarks = _read(_written(tmp_path, "long.md", head + rows))
    assert len(cells) == 500_001 and not remarks
    _, cells, remarks = _read(_written(tmp_path, "two.md", f"{head}| 1 | 2 |\n| - | - |\n\nMore:\n\n{head}| 3 | 4 |\n"))
    assert cells == [(1.0, 2.0), (None, None)]
    assert "the first of 2 Markdown tables was read" in remarks[0].message


def test_dots_between_thousands_are_read_where_other_columns_have_decimal_commas(tmp_path: Path) -> None:
    from surefoot.laws import read_table

    path = tmp_path / "europe.csv"
    path.write_text("compute;error;share\n1.000;0,61;0.125\n30.000;0,41;0.250\n900.000;0,27;0.375\n")
    table = read_table(path)
    assert table.columns["compute"].tolist() == [1000.0, 30000.0, 900000.0]
    assert table.columns["share"].tolist() == [0.125, 0.25, 0.375]
    assert any("'1.000' is read as 1000" in remark.message for remark in table.remarks)
    path.write_text("compute;error\n1.000;0.610\n30.000;0.410\n")
    assert read_table(path).columns["compute"].tolist() == [1.0, 30.0]
