"""Tables as people have them: read with file and row, and every trap named."""

import json
from pathlib import Path

import numpy as np
import pytest

from surefoot.core import SurefootError
from surefoot.laws import (
    PointOptions,
    as_fractions,
    check_keys,
    drop_repeated,
    find_aggregates,
    fit_scaling,
    keep_rows,
    make_table,
    numbers_of,
    pivot_scores,
    read_table,
    text_of,
)
from surefoot.tables import alike

CSV = "model,val,sketch\na,61.5,40\nb,70.25,\n"


def _written(folder: Path, name: str, text: str) -> Path:
    file = folder / name
    file.write_text(text, encoding="utf-8")
    return file


def test_cells_that_are_no_numbers_are_named_with_file_and_row(tmp_path: Path) -> None:
    rows = "".join(f"m{i},{50 + i}\n" for i in range(19))
    table = read_table(_written(tmp_path, "t.csv", "model,val\n" + rows + "m20,failed\n"))
    (remark,) = table.remarks
    assert (remark.code, remark.rows) == ("non-numeric", (20,))
    assert "'failed' in row 20" in remark.message
    assert np.isnan(numbers_of(table, "val")[-1])


def test_a_column_of_text_is_not_taken_for_numbers_and_says_why(tmp_path: Path) -> None:
    table = read_table(_written(tmp_path, "t.csv", "model,val\na,1\nb,two\nc,three\nd,4\n"))
    with pytest.raises(SurefootError, match="2 cells are not, the first is 'two' in row 2"):
        numbers_of(table, "val")
    with pytest.raises(SurefootError, match=r"no column 'vall'\. Did you mean 'val'\? Its columns are: 'model', 'val'"):
        numbers_of(table, "vall")


def test_infinite_and_missing_words_are_not_numbers() -> None:
    table = make_table({"x": ["1", "2", "inf", "NaN", "n/a", "-", "", "3", "4", "5"]})
    assert table.remarks[0].rows == (3,)
    assert np.isfinite(numbers_of(table, "x")).sum() == 5


@pytest.mark.parametrize(("values", "unit"), [([0.5, 0.7], "fractions"), ([50, 0.7, 3.0], "percentages")])
def test_percent_and_fraction_are_told_apart_and_said(values: list[float], unit: str) -> None:
    fractions, (remark,) = as_fractions(make_table({"val": values}), ["val"])
    assert remark.code == "unit"
    assert unit in remark.message
    assert fractions["val"].max() <= 1


@pytest.mark.parametrize(("score", "what"), [(False, "Errors"), (True, "Accuracies")])
def test_what_was_read_is_called_by_its_name(score: bool, what: str) -> None:
    options = PointOptions(x=("n",), y="e", unit="auto", score=score)
    remarks = fit_scaling(make_table({"n": [1, 10, 100, 1000], "e": [50, 40, 30, 25]}), options).remarks
    assert f"{what} were read as percentages." in [remark.message for remark in remarks]


def test_a_percent_sign_is_understood() -> None:
    table = make_table({"val": ["0.5%", "0.9%"]})
    fractions, _ = as_fractions(table, ["val"])
    assert fractions["val"] == pytest.approx([0.005, 0.009])


def test_columns_of_different_units_are_named() -> None:
    _, (remark,) = as_fractions(make_table({"val": [61, 70], "sketch": [0.4, 0.5]}), ["val", "sketch"])
    assert (remark.code, remark.severity) == ("mixed-units", "warning")
    assert "'sketch'" in remark.message


def test_a_column_that_mixes_units_is_refused_unless_the_unit_is_named() -> None:
    table = make_table({"val": [61.2, 0.58, 70.1, 0.62]})
    with pytest.raises(SurefootError, match="mixes fractions and percentages: rows 2, 4 hold values up to 1"):
        as_fractions(table, ["val"])
    fractions, (remark,) = as_fractions(table, ["val"], unit="percent")
    assert fractions["val"][1] == pytest.approx(0.0058)
    assert (remark.code, remark.rows) == ("small-percentages", (2, 4))
    _, (remark,) = as_fractions(make_table({"val": [0.612, 0.58]}), ["val"], unit="percent")
    assert "values up to 1 and none above (rows 1, 2), read as percent" in remark.message


def test_a_percent_sign_counts_whatever_the_unit_of_the_others() -> None:
    fractions, _ = as_fractions(make_table({"val": ["61.2%", "0.58", "70.1%"]}), ["val"], unit="fraction")
    assert fractions["val"] == pytest.approx([0.612, 0.58, 0.701])


def test_one_slip_above_1_does_not_turn_fractions_into_percentages() -> None:
    slipped = [*np.linspace(0.3, 0.9, 20), 1.1]
    with pytest.raises(SurefootError, match=r"holds values up to 1, but 1\.1 in row 21 \(1 such, row 21\)"):
        as_fractions(make_table({"val": slipped}), ["val"])
    beside, _ = as_fractions(make_table({"val": slipped, "clean": np.linspace(40, 90, 21)}), ["val", "clean"])
    assert beside["val"][-1] == pytest.approx(0.011)  # low percentages among percentages


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
    assert [remark.code for remark in check_keys(table, ["name", "arch"])] == ["duplicate-rows"]


def test_one_result_under_two_names_is_named() -> None:
    table = make_table({"name": ["a", "b"], "x": [0.11, 0.11], "y": [0.22, 0.22], "z": [0.33, 0.33]})
    (remark,) = check_keys(table, ["name"])
    assert (remark.code, remark.rows) == ("same-results", (2,))


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


def test_a_blank_text_cell_is_empty_and_never_a_group_with_the_others(tmp_path: Path) -> None:
    file = tmp_path / "runs.csv"
    rows = [f"{10**k},{1.5 * 10 ** (-0.2 * k):.6f},{name}" for k, name in enumerate(("a", "a", "NA", "b", "", "b"), 1)]
    file.write_text("c,loss,run\n" + "\n".join(rows) + "\n", encoding="utf-8")
    table = read_table(file)
    assert text_of(table, "run").tolist() == ["a", "a", "", "b", "", "b"]
    for options in ({"run": "run"}, {"family": "run"}):
        with pytest.raises(SurefootError, match=r"rows 3, 5 have no value in the column 'run', .*--where 'run!='"):
            fit_scaling(table, PointOptions(x=("c",), y="loss", **options))
    found = fit_scaling(table, PointOptions(x=("c",), y="loss", run="run", where=("run!=",)))
    assert found.fits[0].points.runs is not None
    assert found.fits[0].points.runs.tolist() == ["a", "a", "b", "b"]


def test_a_long_table_refuses_a_value_of_no_evaluation_set() -> None:
    table = make_table({"model": ["a", "b"], "set": ["x", ""], "top1": [0.5, 0.6]})
    with pytest.raises(SurefootError, match="row 2 has no value in the column 'set'"):
        pivot_scores(table, model="model", task="set", value="top1")


def test_one_word_in_two_unicode_forms_is_said_with_what_differs() -> None:
    (remark,) = alike("city", ["Z\u00fcrich", "Zu\u0308rich", "Bern", "Bern\u200b", "Basel"])
    assert remark.message.endswith(
        r"zeros or Unicode alone, kept apart: 'Zürich' and 'Zu\u0308rich'; 'Bern' and 'Bern\u200b'."
    )
