"""Audits of predictions made elsewhere: every number against fairlearn, and what must not be said."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.stats
from numpy.testing import assert_allclose
from numpy.typing import ArrayLike

from surefoot.core import SurefootError
from surefoot.stats import clopper_pearson, holm, share_difference
from surefoot.tabular import Audit, PredictionColumns, audit_predictions

COLUMNS = PredictionColumns(label="y", score="p", sensitive=("g",))


def write(path: Path, columns: Mapping[str, ArrayLike]) -> Path:
    rows = zip(*(np.asarray(values).tolist() for values in columns.values()), strict=True)
    path.write_text("\n".join([",".join(columns), *(",".join(map(str, row)) for row in rows)]) + "\n", encoding="utf-8")
    return path


def people(n: int = 900, seed: int = 0) -> dict[str, Any]:
    """Scores that are better for some than for others, of two models."""
    generator = np.random.default_rng(seed)
    sex, race = generator.integers(0, 2, n), generator.integers(0, 3, n)
    y = (generator.random(n) < 0.3 + 0.2 * sex).astype(int)
    first = np.clip(0.5 + 0.3 * (2 * y - 1) + generator.normal(0, 0.2 + 0.1 * race), 0, 1).round(4)
    second = np.clip(0.5 + 0.2 * (2 * y - 1) + generator.normal(0, 0.3, n), 0, 1).round(4)
    weight = generator.uniform(0.5, 4, n).round(3)
    return {"y": y, "p": first, "q": second, "sex": sex, "race": race, "w": weight}


def named(audit: Audit, model: str = "p") -> dict[str, Mapping[str, Any]]:
    return {line["group"]: line for line in audit.groups if line["model"] == model}


def between(audit: Audit, division: str, model: str = "p") -> Mapping[str, Any]:
    (line,) = [line for line in audit.between if (line["division"], line["model"]) == (division, model)]
    return line


@pytest.mark.parametrize("weighted", [False, True])
def test_every_number_is_that_of_fairlearn(tmp_path: Path, weighted: bool) -> None:
    fair, scores = pytest.importorskip("fairlearn.metrics"), pytest.importorskip("sklearn.metrics")
    data = people()
    columns = replace(COLUMNS, sensitive=("sex", "race"), weight="w" if weighted else "")
    audit = audit_predictions(write(tmp_path / "p.csv", data), columns, least=1)
    called = (data["p"] >= 0.5).astype(int)
    functions = {
        "accuracy": scores.accuracy_score,
        "selection_rate": fair.selection_rate,
        "true_positive_rate": fair.true_positive_rate,
        "false_positive_rate": fair.false_positive_rate,
        "false_negative_rate": fair.false_negative_rate,
        "precision": scores.precision_score,
        "balanced_accuracy": scores.balanced_accuracy_score,
    }
    weights = {"sample_weight": data["w"]} if weighted else {}
    by_sex = {name: {"sample_weight": data["w"]} if weighted else {} for name in functions}
    for title, sensitive in (
        ("sex x race", [f"sex {s}, race {r}" for s, r in zip(data["sex"], data["race"], strict=True)]),
        ("sex", [f"sex {s}" for s in data["sex"]]),
        ("race", [f"race {r}" for r in data["race"]]),
    ):
        at = {"y_true": data["y"], "y_pred": called, "sensitive_features": sensitive}
        frame = fair.MetricFrame(metrics=functions, sample_params=by_sex, **at)
        for group, expected in frame.by_group.iterrows():
            line = named(audit)[str(group)]
            for name in functions:
                assert_allclose(line[name], expected[name], atol=1e-12, err_msg=f"{group} {name}")
                assert line[f"{name}_low"] <= line[name] <= line[f"{name}_high"]
        found = between(audit, title)
        assert_allclose(found["worst_group_accuracy"], frame.group_min()["accuracy"])
        assert_allclose(found["accuracy_disparity"], frame.difference()["accuracy"])
        assert_allclose(found["equal_opportunity"], frame.difference()["true_positive_rate"])
        assert_allclose(found["demographic_parity"], fair.demographic_parity_difference(**at, **weights))
        assert_allclose(found["demographic_parity_ratio"], fair.demographic_parity_ratio(**at, **weights))
        assert_allclose(found["equalised_odds"], fair.equalized_odds_difference(**at, **weights))
        assert_allclose(found["equalised_odds_ratio"], fair.equalized_odds_ratio(**at, **weights))
    whole = named(audit)["all rows"]
    assert_allclose(whole["auc"], scores.roc_auc_score(data["y"], data["p"], **weights))
    assert_allclose(whole["false_discovery_rate"], 1 - whole["precision"])
    assert whole["rows"] == 900 and whole["positives"] == data["y"].sum()


def test_random_labels_show_no_disparity(tmp_path: Path) -> None:
    """Six groups that are alike: of 40 tables nearly none has a lower bound above 0."""
    generator, above = np.random.default_rng(0), 0
    for _ in range(40):
        data = {"y": generator.integers(0, 2, 600), "p": generator.random(600).round(3), "g": np.arange(600) % 6}
        found = between(audit_predictions(write(tmp_path / "p.csv", data), COLUMNS), "g")
        above += found["accuracy_disparity_low"] > 0
        assert found["accuracy_disparity"] > 0.02
    assert above <= 3


def test_one_missed_positive_is_no_difference_between_groups(tmp_path: Path) -> None:
    y = np.r_[1, np.zeros(29), np.tile([0, 1], 60)].astype(int)
    p = np.r_[np.full(30, 0.1), np.tile([0.1, 0.9], 60)]
    data = {"y": y, "p": p, "g": np.repeat(["a", "b", "c"], [30, 60, 60])}
    audit = audit_predictions(write(tmp_path / "p.csv", data), COLUMNS)
    line, found = named(audit)["g a"], between(audit, "g")
    assert (line["positives"], line["true_positive_rate"]) == (1, 0.0)
    assert_allclose([line["true_positive_rate_low"], line["true_positive_rate_high"]], [0, 0.975])
    assert (found["equal_opportunity"], found["equalised_odds"], found["equalised_odds_low"]) == (0, 0, 0)
    assert any("Fewer than 20 positives" in note and "g a (1)" in note for note in audit.notes)


def test_what_cannot_be_compared_is_left_empty_and_said(tmp_path: Path) -> None:
    data = {"y": np.r_[np.zeros(40), np.tile([0, 1], 30)].astype(int), "p": np.full(100, 0.7)}
    audit = audit_predictions(write(tmp_path / "p.csv", {**data, "g": np.repeat([1, 2], [40, 60])}), COLUMNS)
    found = between(audit, "g")
    assert found["equalised_odds"] is None and found["equal_opportunity"] is None
    assert found["demographic_parity"] == 0
    assert named(audit)["g 1"]["true_positive_rate"] is None
    assert any("g 1 (0)" in note for note in audit.notes)
    assert "p gives every row one answer (yes): no rate can differ." in audit.notes


def test_notes_speak_of_the_columns_of_the_audit_by_their_names_in_the_file(tmp_path: Path) -> None:
    ages = np.tile([*map(str, range(20, 33)), "old"], 60)
    data = {
        "y": np.tile([0, 1], 420),
        "p": np.linspace(0, 1, 840),
        "g": ages,
        "income": np.tile(["1", "2", "n/k"], 280),
    }
    notes = " ".join(audit_predictions(write(tmp_path / "p.csv", data), COLUMNS).notes)
    assert "column 'g' has 60 cells without a number" in notes
    assert "__group" not in notes and "income" not in notes


def test_words_that_are_read_as_no_group_are_said_with_their_number(tmp_path: Path) -> None:
    data = {"y": np.tile([0, 1], 60), "p": np.linspace(0, 1, 120), "g": np.tile(["a", "None", "b", "NA"], 30)}
    notes = audit_predictions(write(tmp_path / "p.csv", data), COLUMNS).notes
    assert f"{tmp_path / 'p.csv'}: column 'g' has words that are read as no value: 'NA' (30), 'None' (30)." in notes
    assert "60 rows have no g: they are a side of their own." in notes


def test_bounds_of_groups_are_exact_and_never_of_no_width(tmp_path: Path) -> None:
    data = {"y": np.tile([0, 1], 60), "p": np.tile([0.1, 0.9], 60), "g": np.repeat([1, 2], 60)}
    audit = audit_predictions(write(tmp_path / "p.csv", data), COLUMNS)
    exact = clopper_pearson(60, 60)
    assert_allclose(named(audit)["g 1"]["accuracy_low"], exact.low)
    found = between(audit, "g")
    assert found["worst_group_accuracy_low"] < found["worst_group_accuracy"] == found["worst_group_accuracy_high"] == 1
    assert found["accuracy_disparity_low"] == 0 < found["accuracy_disparity_high"] < 0.1


def test_without_labels_there_are_selection_rates(tmp_path: Path) -> None:
    data = {"p": np.r_[np.tile([0.9, 0.1], 100), np.tile([0.9, 0.1, 0.1, 0.1], 50)], "g": np.repeat([1, 2], 200)}
    path = write(tmp_path / "p.csv", data)
    audit = audit_predictions(path, replace(COLUMNS, label=""))
    line, found = named(audit)["g 2"], between(audit, "g")
    assert line["selection_rate"] == 0.25 and "accuracy" not in line and "positives" not in line
    assert (found["demographic_parity"], found["demographic_parity_ratio"]) == (0.25, 0.5)
    assert found["four_fifths"] == "broken" and "worst_group" not in found


@pytest.mark.parametrize(("shares", "verdict"), [((50, 50), "kept"), ((50, 25), "broken"), ((50, 40), "undecided")])
def test_the_four_fifths_rule_is_judged_by_its_interval(tmp_path: Path, shares: tuple[int, int], verdict: str) -> None:
    called = np.concatenate([np.arange(2000) % 100 < share for share in shares])
    data = {"y": called * 1, "p": called * 1, "g": np.repeat([1, 2], 2000)}
    found = between(audit_predictions(write(tmp_path / "p.csv", data), COLUMNS), "g")
    assert found["four_fifths"] == verdict
    assert_allclose(found["demographic_parity_ratio"], shares[1] / shares[0])


def test_two_models_are_compared_on_the_same_rows(tmp_path: Path) -> None:
    data = people()
    path = write(tmp_path / "p.csv", data)
    audit = audit_predictions(path, replace(COLUMNS, other="q", sensitive=("sex", "race")))
    right = {name: (data[name] >= 0.5) == (data["y"] == 1) for name in "pq"}
    by_group = {line["group"]: line for line in audit.differences}
    assert by_group["all rows"]["model"] == "p - q"
    for sex in (0, 1):
        rows = data["sex"] == sex
        line = by_group[f"sex {sex}"]
        assert_allclose(line["accuracy_difference"], right["p"][rows].mean() - right["q"][rows].mean())
        assert line["accuracy_difference_low"] < line["accuracy_difference"] < line["accuracy_difference_high"]
        assert 0 <= line["p_holm"] <= 1
    assert named(audit, "q")["all rows"]["accuracy"] == right["q"].mean()
    rates = {name: [right[name][data["race"] == race].mean() for race in range(3)] for name in "pq"}
    extremes = {line["group"]: line for line in audit.differences if line["division"] == "race"}
    assert_allclose(extremes["worst group"]["accuracy_difference"], min(rates["p"]) - min(rates["q"]))
    assert_allclose(extremes["between groups"]["accuracy_difference"], np.ptp(rates["p"]) - np.ptp(rates["q"]))
    for line in (extremes["worst group"], extremes["between groups"]):
        assert line["accuracy_difference_low"] < line["accuracy_difference"] < line["accuracy_difference_high"]
        assert line["rows"] == len(data["y"]) and line["p_holm"] is None
    same = audit_predictions(write(path, {**data, "q": data["p"]}), replace(COLUMNS, other="q", sensitive=("sex",)))
    assert {line["accuracy_difference"] for line in same.differences} == {0.0}
    assert all(line["accuracy_difference_low"] < 0 < line["accuracy_difference_high"] for line in same.differences)


def test_of_weighted_rows_two_models_differ_by_the_interval_of_as_many_effective_pairs(tmp_path: Path) -> None:
    data = people()
    columns = replace(COLUMNS, other="q", sensitive=("sex",), weight="w")
    found = {line["group"]: line for line in audit_predictions(write(tmp_path / "p.csv", data), columns).differences}
    for sex in (0, 1):
        rows = data["sex"] == sex
        weights = data["w"][rows] / data["w"][rows].sum()
        first, second = ((data[name] >= 0.5)[rows] == (data["y"] == 1)[rows] for name in "pq")
        effective = 1 / (weights**2).sum()
        only = [effective * weights[part].sum() for part in (first & ~second, second & ~first)]
        peer, line = share_difference(*only, effective), found[f"sex {sex}"]
        bounds = (line["accuracy_difference_low"], line["accuracy_difference_high"])
        assert_allclose((line["accuracy_difference"], *bounds), (peer.estimate, peer.low, peer.high))
        assert line["p_holm"] is None
    p = [
        scipy.stats.binomtest(int((first & ~second).sum()), int((first ^ second).sum())).pvalue
        for rows in (data["sex"] == 0, data["sex"] == 1)
        for first, second in [[(data[name] >= 0.5)[rows] == (data["y"] == 1)[rows] for name in "pq"]]
    ]
    plain = audit_predictions(tmp_path / "p.csv", replace(columns, weight="")).differences
    assert_allclose([line["p_holm"] for line in plain if line["group"] in ("sex 0", "sex 1")], holm(p))


def test_a_small_group_is_no_extreme_of_the_difference_of_two_models(tmp_path: Path) -> None:
    y, g = np.tile([0, 1], 205), np.repeat(["a", "b", "c"], [200, 200, 10])
    right = {"p": np.arange(410) % 10 < np.where(g == "a", 8, 9), "q": np.arange(410) % 10 < 7}
    right["p"][g == "c"], right["q"][g == "c"] = False, True
    data = {"y": y, "g": g} | {name: np.where(each, y, 1 - y) for name, each in right.items()}
    found = audit_predictions(write(tmp_path / "p.csv", data), replace(COLUMNS, other="q")).differences
    lines = {line["group"]: line for line in found}
    assert lines["worst group"]["rows"] == lines["between groups"]["rows"] == 400
    assert_allclose(lines["worst group"]["accuracy_difference"], 0.8 - 0.7)
    assert_allclose(lines["between groups"]["accuracy_difference"], 0.1)


def test_a_score_at_the_threshold_is_a_yes_for_both_models(tmp_path: Path) -> None:
    data = {"y": np.tile([0, 1, 1], 40), "g": np.arange(120) % 2, "p": np.full(120, 0.4), "q": np.full(120, 0.3)}
    audit = audit_predictions(write(tmp_path / "p.csv", data), replace(COLUMNS, other="q"), threshold=0.4)
    assert named(audit)["all rows"]["selection_rate"] == 1 and named(audit, "q")["all rows"]["selection_rate"] == 0
    assert_allclose(audit.differences[0]["accuracy_difference"], 2 / 3 - 1 / 3)


def test_groups_by_a_large_number_are_named_by_their_whole_median(tmp_path: Path) -> None:
    data = {"y": np.tile([0, 1], 60), "p": np.tile([0.2, 0.7], 60), "g": 1_234_500 + np.arange(120)}
    names = {line["group"] for line in audit_predictions(write(tmp_path / "p.csv", data), COLUMNS).groups}
    assert names == {"all rows", "g <= 1234559.5", "g > 1234559.5"}


def test_a_number_of_which_half_is_the_highest_is_cut_below_it(tmp_path: Path) -> None:
    years = np.where(np.arange(240) % 5 < 3, 15, np.arange(240) % 13)
    data = {"y": np.tile([0, 1], 120), "p": np.linspace(0, 1, 240), "g": years, "h": np.arange(240) % 2}
    audit = audit_predictions(write(tmp_path / "p.csv", data), replace(COLUMNS, sensitive=("g", "h")))
    found = {name: line["rows"] for name, line in named(audit).items() if name.startswith("g ") and "h" not in name}
    assert found == {"g < 15": (years < 15).sum(), "g >= 15": (years == 15).sum()}
    assert "Column g is a number: its groups are below, and from, its median 15." in audit.notes


def test_small_groups_are_named_and_not_the_worst(tmp_path: Path) -> None:
    rows = [(row % 2, 0.9 if (row % 2) ^ (row % 10 == 0) else 0.1, "ab"[row % 4 > 1]) for row in range(100)]
    y, p, g = zip(*rows, (1, 0.2, "c"), strict=True)
    path = write(tmp_path / "p.csv", {"y": y, "p": p, "g": g})
    audit = audit_predictions(path, COLUMNS)
    assert named(audit)["g c"]["too_few_rows"]
    assert any("g c" in note for note in audit.notes)
    found = between(audit, "g")
    assert found["worst_group"] == min(("g a", "g b"), key=lambda name: named(audit)[name]["accuracy"])
    with pytest.raises(SurefootError, match="No group has 1000 rows"):
        audit_predictions(path, COLUMNS, least=1000)


def test_the_answer_that_counts_is_taken_by_name(tmp_path: Path) -> None:
    values: Sequence[tuple[int, float, str]] = [
        (row % 2, 0.2 + 0.5 * (row % 3 == 0), "ab"[row % 4 > 1]) for row in range(120)
    ]
    y, p, g = zip(*values, strict=True)
    found = []
    for words in (("0", "1"), ("no", "yes"), ("denied", "granted")):
        path = write(tmp_path / "p.csv", {"y": [words[answer] for answer in y], "p": p, "g": g})
        columns = replace(COLUMNS, positive="granted" if words[1] == "granted" else "")
        found.append(audit_predictions(path, columns).groups)
    assert found[0] == found[1] == found[2]
    for changed, threshold, message in (
        ({}, 0.5, "row 1: the label y must be 0 or 1"),
        ({"positive": "given"}, 0.5, "No row has y = 'given'"),
        ({}, 1.5, "threshold must be from 0 to 1"),
    ):
        with pytest.raises(SurefootError, match=message):
            audit_predictions(path, replace(COLUMNS, **changed), threshold=threshold)


def test_decisions_may_bear_the_names_of_the_labels(tmp_path: Path) -> None:
    """As `predict` of scikit-learn gives them; the positive label is the one that is asked for."""
    called, y, g = np.arange(240) % 3 > 0, np.arange(240) % 2, np.arange(240) // 120
    cases = (("yes", "no", "no"), ("True", "False", "False"), ("denied", "granted", "granted"), ("1", "0", "0"))
    for no, yes, positive in (*cases, ("-1", "1", "1"), ("2", "1", "1.0"), ("0", "1", "1")):
        words = {"y": np.where(y, yes, no), "p": np.where(called, yes, no), "g": g}
        found = audit_predictions(write(tmp_path / "p.csv", words), replace(COLUMNS, positive=positive))
        plain = audit_predictions(write(tmp_path / "p.csv", {"y": y, "p": called.astype(int), "g": g}), COLUMNS)
        assert found.groups == plain.groups and named(found)["all rows"]["selection_rate"] == 2 / 3
        assert f"p has the values of y: '{positive}' counts as yes, any other as no." in found.notes
    words = {"y": np.where(y, "granted", "denied"), "p": called.astype(int), "g": g}
    found = audit_predictions(write(tmp_path / "p.csv", words), replace(COLUMNS, positive="granted"))
    assert found.groups == plain.groups and "1 or yes in p is for y = 'granted'." in found.notes
    for other, rest, expected in (("maybe", "denied", "are numbers, or no and yes"), ("2", "0", "must be from 0 to 1")):
        odd = {"y": np.where(y, "granted", "denied"), "p": np.where(called, other, rest), "g": g}
        with pytest.raises(SurefootError, match=expected):
            audit_predictions(write(tmp_path / "p.csv", odd), replace(COLUMNS, positive="granted"))


def test_a_predicted_class_that_is_no_label_of_these_rows_counts_as_no_and_is_said(tmp_path: Path) -> None:
    y, p = np.array(["cat", "dog", "owl"] * 80), np.array(["cat", "cat", "dog", "fox"] * 60)
    data = {"y": y, "p": p, "g": np.arange(240) // 120}
    found = audit_predictions(write(tmp_path / "p.csv", data), replace(COLUMNS, positive="cat"))
    assert named(found)["all rows"]["accuracy"] == np.mean((p == "cat") == (y == "cat"))
    assert "p has the values of y: 'cat' counts as yes, any other as no ('fox' is no y)." in found.notes
    for scores in (["1", "7"], ["1", "0,7"], ["1", "7%"]):  # percentages, and a decimal comma, are no classes
        data |= {"y": np.arange(240) % 2, "p": np.array(scores * 120)}
        try:
            notes = audit_predictions(write(tmp_path / "p.csv", data), replace(COLUMNS, positive="1")).notes
        except SurefootError as error:
            notes = (str(error),)
        assert not any("has the values of y" in note for note in notes)


def test_groups_that_are_one_number_written_in_two_ways_are_said(tmp_path: Path) -> None:
    data = {"y": [0, 1] * 120, "p": [0, 1, 1] * 80, "g": ["1", "1.0", "2", "10"] * 60}
    said = audit_predictions(write(tmp_path / "p.csv", data), COLUMNS).notes
    assert any(note.endswith("zeros or Unicode alone, kept apart: '1' and '1.0'.") for note in said)


@pytest.mark.parametrize(
    ("labels", "positive", "decisions"),
    [("01", "0", ("no", "yes")), ("01", "0", ("False", "True")), (("no", "yes"), "no", "01"), ("012", "2", "01")],
)
def test_a_yes_that_may_be_of_either_label_is_refused(
    tmp_path: Path, labels: Sequence[str], positive: str, decisions: Sequence[str]
) -> None:
    rows = range(240)
    data = {"y": [labels[row % len(labels)] for row in rows], "p": [decisions[row % 3 > 0] for row in rows]}
    with pytest.raises(SurefootError, match=f"whether the yes of column 'p' means that y is '{positive}'"):
        audit_predictions(
            write(tmp_path / "p.csv", {**data, "g": [row // 120 for row in rows]}), replace(COLUMNS, positive=positive)
        )


@pytest.mark.parametrize("decided", [False, True])
def test_scores_of_the_other_label_are_said(tmp_path: Path, decided: bool) -> None:
    data = people()
    for p, wrong in ((data["p"], False), (1 - data["p"], True), (np.full(900, 0.2), False)):
        scores = (p > 0.5).astype(int) if decided else p
        audit = audit_predictions(
            write(tmp_path / "p.csv", {**data, "p": scores}), replace(COLUMNS, sensitive=("sex",))
        )
        assert any("is it of the other label" in note for note in audit.notes) == wrong


def test_scores_in_percent_are_shares_where_all_say_so(tmp_path: Path) -> None:
    data = people()
    columns = replace(COLUMNS, sensitive=("sex",))
    expected = audit_predictions(write(tmp_path / "p.csv", data), columns)
    percents = [f"{100 * score:.4f}%" for score in data["p"]]
    found = audit_predictions(write(tmp_path / "p.csv", {**data, "p": percents}), columns)
    for line, same in zip(found.groups, expected.groups, strict=True):
        assert_allclose([line["auc"], line["cross_entropy"]], [same["auc"], same["cross_entropy"]])
        assert line["selection_rate"] == same["selection_rate"]
    at = {"y": np.tile([0, 1], 60), "g": np.arange(120) % 3, "p": ["70.1%"] * 120}  # 70.1 / 100 is below .701
    line = named(audit_predictions(write(tmp_path / "p.csv", at), COLUMNS, threshold=0.701))["all rows"]
    assert line["selection_rate"] == 1
    mixed = ["0.5%", *(str(score) for score in data["p"][1:])]
    with pytest.raises(SurefootError, match="column 'p' has a percent sign in row 1 and none in others"):
        audit_predictions(write(tmp_path / "p.csv", {**data, "p": mixed}), columns)


def test_decisions_have_no_calibration(tmp_path: Path) -> None:
    data = {"y": np.arange(90) % 2, "p": np.arange(90) % 2, "g": np.arange(90) % 3}
    audit = audit_predictions(write(tmp_path / "p.csv", data), COLUMNS)
    assert named(audit)["all rows"]["accuracy"] == 1
    assert not {"calibration_error", "auc"} & set(named(audit)["all rows"])
    assert any("decisions" in note for note in audit.notes)


def test_groups_written_in_two_ways_and_groups_without_weight_are_named(tmp_path: Path) -> None:
    sex = ["M", "F", "m ", "f", "X"] * 60
    weight = np.where(np.array(sex) == "X", 0.0, 1.0)
    data = {"y": [0, 1, 1] * 100, "p": [0.2, 0.7, 0.4] * 100, "g": sex, "w": weight}
    found = audit_predictions(write(tmp_path / "a.csv", data), replace(COLUMNS, weight="w"))
    assert [line["group"] for line in found.groups] == ["all rows", "g F", "g M", "g f", "g m"]
    assert (
        "Column g has values that differ in case, spaces, zeros or Unicode alone, kept apart: 'F' and 'f'; 'M' and 'm'."
        in (found.notes)
    )
    assert "No row is left of X: nothing is said of it." in found.notes
    plain = audit_predictions(tmp_path / "a.csv", COLUMNS)
    assert not any("No row is left" in note for note in plain.notes)
