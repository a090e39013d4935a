"""Tables as people have them: read with file and row, and every trap named."""

import gzip
import json
from pathlib import Path

import duckdb
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from surefoot.core import SurefootError
from surefoot.laws import (
    as_fractions,
    check_keys,
    drop_repeated,
    find_aggregates,
    keep_rows,
    make_table,
    numbers_of,
    pivot_scores,
    read_table,
    text_of,
)

CSV = "model,val,sketch\na,61.5,40\nb,70.25,\n"


def _written(folder: Path, name: str, text: str) -> Path:
    file = folder / name
    file.write_text(text, encoding="utf-8")
    return file


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("t.csv", CSV),
        ("t.csv", "\ufeff" + CSV.replace("\n", "\r\n")),
        ("t.csv", CSV.replace(",", ";")),
        ("t.tsv", CSV.replace(",", "\t")),
        ("t.json", '[{"model": "a", "val": 61.5, "sketch": 40}, {"model": "b", "val": 70.25}]'),
        ("t.json", '{"model": ["a", "b"], "val": [61.5, 70.25], "sketch": [40, null]}'),
        ("t.jsonl", '{"model": "a", "val": 61.5, "sketch": 40}\n{"model": "b", "val": 70.25}\n'),
    ],
)
def test_every_format_gives_the_same_table(tmp_path: Path, name: str, text: str) -> None:
    table = read_table(_written(tmp_path, name, text))
    assert text_of(table, "model").tolist() == ["a", "b"]
    assert numbers_of(table, "val").tolist() == [61.5, 70.25]
    assert np.isnan(numbers_of(table, "sketch")).tolist() == [False, True]
    assert table.rows.tolist() == [1, 2]
    assert table.findings == ()


def test_parquet_and_gzip_are_read(tmp_path: Path) -> None:
    duckdb.sql("SELECT 'a' AS model, 61.5 AS val").write_parquet(str(tmp_path / "t.parquet"))
    assert numbers_of(read_table(tmp_path / "t.parquet"), "val").tolist() == [61.5]
    (tmp_path / "t.csv.gz").write_bytes(gzip.compress(CSV.encode()))
    assert len(read_table(tmp_path / "t.csv.gz")) == 2


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("t.csv", "", "no header line"),
        ("t.csv", "a,b\n", "no rows of data"),
        ("t.csv", "a,b\n1,2\n3\n", "row 2 has 1 cells and the header has 2"),
        ("t.csv", "a,a\n1,2\n", "two columns of one name: 'a'"),
        ("t.csv", 'a,b\n1,"2\n', "line 2 is not a line of a table"),
        ("t.json", "[1, 2]", "must be a list of objects"),
        ("t.json", "{", "is not JSON"),
        ("t.json", '{"a": [1, 2], "b": [1]}', "columns of different lengths"),
        ("t.xlsx", "a", "not a table I can read"),
        ("t.parquet", "no", "is not a Parquet file"),
        ("t.csv.gz", "no", "cannot be read"),
    ],
)
def test_what_is_no_table_is_refused_in_one_line_with_its_place(
    tmp_path: Path, name: str, text: str, message: str
) -> None:
    file = _written(tmp_path, name, text)
    with pytest.raises(SurefootError, match=message) as error:
        read_table(file)
    assert str(file) in str(error.value)
    assert "\n" not in str(error.value)


def test_missing_files_and_foreign_encodings_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SurefootError, match="There is no file"):
        read_table(tmp_path / "absent.csv")
    (tmp_path / "t.csv").write_bytes(b"a,b\n\xff\xfe,1\n")
    with pytest.raises(SurefootError, match="not UTF-8"):
        read_table(tmp_path / "t.csv")


def test_a_file_above_the_limit_is_refused_before_and_after_unpacking(tmp_path: Path) -> None:
    (tmp_path / "bomb.csv.gz").write_bytes(gzip.compress(b"a,b\n" + b"1,2\n" * 100_000))
    with pytest.raises(SurefootError, match="unpacks to more than the limit"):
        read_table(tmp_path / "bomb.csv.gz", largest_bytes=10_000)
    with pytest.raises(SurefootError, match="larger than the limit"):
        read_table(_written(tmp_path, "t.csv", CSV), largest_bytes=10)


@given(content=st.text(max_size=200))
def test_any_text_gives_a_table_or_a_clear_error(tmp_path_factory: pytest.TempPathFactory, content: str) -> None:
    file = tmp_path_factory.getbasetemp() / "any.csv"
    file.write_text(content, encoding="utf-8", newline="")
    try:
        table = read_table(file)
    except SurefootError as error:
        assert str(file) in str(error)
    else:
        assert len(table) > 0


def test_cells_that_are_no_numbers_are_named_with_file_and_row(tmp_path: Path) -> None:
    rows = "".join(f"m{i},{50 + i}\n" for i in range(19))
    table = read_table(_written(tmp_path, "t.csv", "model,val\n" + rows + "m20,failed\n"))
    (finding,) = table.findings
    assert (finding.code, finding.rows) == ("non-numeric", (20,))
    assert "'failed' in row 20" in finding.message
    assert np.isnan(numbers_of(table, "val")[-1])


def test_a_column_of_text_is_not_taken_for_numbers_and_says_why(tmp_path: Path) -> None:
    table = read_table(_written(tmp_path, "t.csv", "model,val\na,1\nb,two\nc,three\nd,4\n"))
    with pytest.raises(SurefootError, match="2 cells are not, the first is 'two' in row 2"):
        numbers_of(table, "val")
    with pytest.raises(SurefootError, match=r"no column 'vall'\. Its columns are: 'model', 'val'"):
        numbers_of(table, "vall")


def test_infinite_and_missing_words_are_not_numbers() -> None:
    table = make_table({"x": ["1", "2", "inf", "NaN", "n/a", "-", "", "3", "4", "5"]})
    assert table.findings[0].rows == (3,)
    assert np.isfinite(numbers_of(table, "x")).sum() == 5


@pytest.mark.parametrize(("values", "unit"), [([0.5, 0.7], "fractions"), ([50, 0.7, 3.0], "percentages")])
def test_percent_and_fraction_are_told_apart_and_said(values: list[float], unit: str) -> None:
    fractions, (finding,) = as_fractions(make_table({"val": values}), ["val"])
    assert finding.code == "unit"
    assert unit in finding.message
    assert fractions["val"].max() <= 1


def test_a_percent_sign_is_understood() -> None:
    table = make_table({"val": ["0.5%", "0.9%"]})
    fractions, _ = as_fractions(table, ["val"])
    assert fractions["val"] == pytest.approx([0.005, 0.009])


def test_columns_of_different_units_are_named() -> None:
    _, (finding,) = as_fractions(make_table({"val": [61, 70], "sketch": [0.4, 0.5]}), ["val", "sketch"])
    assert (finding.code, finding.severity) == ("mixed-units", "warning")
    assert "'sketch'" in finding.message


def test_a_column_that_mixes_units_is_refused_unless_the_unit_is_named() -> None:
    table = make_table({"val": [61.2, 0.58, 70.1, 0.62]})
    with pytest.raises(SurefootError, match="mixes fractions and percentages: rows 2, 4 hold values up to 1"):
        as_fractions(table, ["val"])
    fractions, _ = as_fractions(table, ["val"], unit="percent")
    assert fractions["val"][1] == pytest.approx(0.0058)


def test_values_that_are_no_accuracy_are_refused_with_their_rows() -> None:
    with pytest.raises(SurefootError, match=r"'val' has -1 in row 2.*between 0 and 1 "):
        as_fractions(make_table({"val": [0.3, -1.0]}), ["val"])
    with pytest.raises(SurefootError, match="140"):
        as_fractions(make_table({"val": [30, 140]}), ["val"])


def test_repeated_rows_and_keys_that_are_no_keys_are_named() -> None:
    table = make_table(
        {
            "name": ["openai", "openai", "laion", "laion"],
            "arch": ["B-32", "L-14", "B-32", "B-32"],
            "acc": [0.6, 0.7, 0.5, 0.5],
        }
    )
    repeated, clash = check_keys(table, ["name"])
    assert (repeated.code, repeated.rows) == ("duplicate-rows", (4,))
    assert (clash.code, clash.rows) == ("not-a-key", (2,))
    assert "With 'arch' they would be" in clash.message
    assert drop_repeated(table).tolist() == [True, True, True, False]
    assert [finding.code for finding in check_keys(table, ["name", "arch"])] == ["duplicate-rows"]


def test_one_result_under_two_names_is_named() -> None:
    table = make_table({"name": ["a", "b"], "x": [0.11, 0.11], "y": [0.22, 0.22], "z": [0.33, 0.33]})
    (finding,) = check_keys(table, ["name"])
    assert (finding.code, finding.rows) == ("same-results", (2,))


def test_averages_among_their_parts_are_found_by_value_and_by_name() -> None:
    parts = np.random.default_rng(0).uniform(0.2, 0.9, (12, 6))
    scores = np.column_stack([parts, parts[:, :3].mean(axis=1), parts[:, 0]])
    names = ["v2", "r", "vtab/dtd", "a", "objectnet", "sketch", "robustness", "vtab"]
    value, name = find_aggregates(names, scores)
    assert (value.code, name.code) == ("aggregate-by-value", "aggregate-by-name")
    assert value.message == "'robustness' is the mean of 3 other columns (v2, r, vtab/dtd)."
    assert "'vtab'" in name.message


def test_a_long_table_is_pivoted_and_double_values_refused() -> None:
    table = make_table({"m": ["a", "a", "b"], "t": ["x", "y", "x"], "v": [0.1, 0.2, 0.3]})
    models, tasks, values, rows = pivot_scores(table, model="m", task="t", value="v")
    assert (models, tasks) == (("a", "b"), ("x", "y"))
    assert values.tolist()[0] == [0.1, 0.2]
    assert np.isnan(values[1, 1])
    assert rows[1, 0] == 3
    twice = make_table({"m": ["a", "a"], "t": ["x", "x"], "v": [0.1, 0.2]})
    with pytest.raises(SurefootError, match="more than one 'v' for one 'm' and 't'"):
        pivot_scores(twice, model="m", task="t", value="v")


def test_rows_keep_their_numbers_when_others_are_left_out(tmp_path: Path) -> None:
    table = read_table(_written(tmp_path, "t.csv", CSV))
    assert keep_rows(table, np.array([False, True])).rows.tolist() == [2]


def test_json_booleans_are_labels_not_numbers() -> None:
    table = make_table({"flag": json.loads("[true, false]")})
    assert text_of(table, "flag").tolist() == ["True", "False"]
