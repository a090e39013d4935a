"""`surefoot tabular` as its user sees it: a sweep over a CSV, an audit, and mistakes in one line."""

import json
from collections.abc import Callable
from pathlib import Path

import duckdb
import numpy as np
import pytest

pytest.importorskip("lightgbm")

Answer = tuple[int, str, str]


@pytest.fixture
def command(surefoot: Callable[..., Answer]) -> Callable[..., Answer]:
    """Run `surefoot tabular ARGUMENTS` in an empty directory."""
    return lambda *arguments: surefoot("tabular", *arguments)


def people(path: Path) -> None:
    generator = np.random.default_rng(0)
    lines = ["skill,noise,sex,race,hired"]
    for row in range(600):
        skill = generator.normal()
        hired = skill + 0.3 * generator.normal() > 0
        lines.append(
            f"{skill:.3f},{generator.normal():.3f},{'FM'[row % 2]},{'ab'[row // 2 % 2]},{'yes' if hired else 'no'}"
        )
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def test_a_sweep_compares_learners_on_a_users_table(command: Callable[..., Answer], tmp_path: Path) -> None:
    people(tmp_path / "people.csv")
    arguments = ["sweep", "people.csv", "--label", "hired", "--sensitive", "sex,race", "--budget", "4", "--splits", "1"]
    code, out, err = command(*arguments, "--learners", "logistic,lightgbm", "--workers", "1")
    assert code == 0, err
    assert out.splitlines()[0].split("\t")[:4] == ["learner", "configurations", "accuracy", "accuracy_low"]
    lines = [line.split("\t") for line in out.splitlines()[1:]]
    assert [line[:2] for line in lines] == [
        ["Logistic regression", "4"],
        ["LightGBM", "4"],
        ["the more frequent answer", ""],
    ]
    assert "The label is yes where hired is 'yes', and no for: no." in err
    assert "robust learners" not in err  # none was fitted: no claim is about them
    assert (tmp_path / "sweep-people.html").stat().st_size > 10_000


def test_one_answer_for_everybody_is_named_and_one_split_decides_nothing(
    command: Callable[..., Answer], tmp_path: Path
) -> None:
    """Noise, and one in ten hired: what a learner reaches by saying no to all is in the table, and it is told."""
    generator = np.random.default_rng(0)
    lines = [f"{generator.normal():.3f},{'ab'[row % 2]},{int(row % 10 == 0)}" for row in range(500)]
    (tmp_path / "people.csv").write_text("noise,team,hired\n" + "\n".join(lines) + "\n", encoding="utf-8")
    arguments = ["sweep", "people.csv", "--label", "hired", "--sensitive", "team", "--budget", "1", "--splits", "1"]
    learners = ("--learners", "logistic,lightgbm,constrained-lightgbm", "--pool", "here")
    code, out, err = command(*arguments, *learners, "--format", "json")
    assert code == 0, err
    found = {line["learner"]: line for line in json.loads(out)}
    majority, logistic = found["the more frequent answer"], found["Logistic regression"]
    assert logistic["note"] == majority["note"] == "gives everybody one answer" != found["LightGBM"]["note"]
    assert majority["accuracy"] == logistic["accuracy"] > 0.85
    assert majority["balanced_accuracy"] == 0.5 and majority["equalised_odds"] in (0.0, None)
    for line in found.values():
        low, high = line["worst_group_accuracy_low"], line["worst_group_accuracy_high"]
        assert 0 <= low < line["worst_group_accuracy"] <= high <= 1 and low < high
    assert "one split does not say what another would give" in err and "nan" not in err


def test_configurations_are_chosen_by_the_metric_that_is_asked_for(
    command: Callable[..., Answer], tmp_path: Path
) -> None:
    people(tmp_path / "people.csv")
    arguments = ["sweep", "people.csv", "--label", "hired", "--sensitive", "sex", "--budget", "6", "--splits", "1"]
    learners = ("--learners", "logistic", "--pool", "here", "--store", "store", "--format", "json")
    code, out, err = command(*arguments, *learners, "--metric", "balanced_accuracy")
    assert code == 0, err
    (scores,) = (tmp_path / "store").rglob("scores.npz")
    sql = "SELECT test_balanced_accuracy FROM read_parquet(?) ORDER BY {} DESC, place LIMIT 1"
    asked = [str(scores.parent / "configurations.parquet")]
    ((best,),) = duckdb.execute(sql.format("validation_worst_group_balanced_accuracy"), asked).fetchall()
    assert abs(json.loads(out)[0]["balanced_accuracy"] - best) < 1e-9


def test_a_learner_that_fails_is_left_out_and_said(command: Callable[..., Answer], tmp_path: Path) -> None:
    """In one group everybody was hired: thresholds by group cannot be learned, and the others are compared."""
    generator = np.random.default_rng(0)
    lines = ["skill,team,hired"]
    for row in range(600):
        skill = generator.normal()
        lines.append(f"{skill:.3f},{'abc'[row % 3]},{int(row % 3 == 0 or skill + generator.normal() > 0)}")
    (tmp_path / "people.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    arguments = ["sweep", "people.csv", "--label", "hired", "--sensitive", "team", "--budget", "1", "--splits", "1"]
    code, out, err = command(*arguments, "--learners", "logistic,threshold-gbm", "--pool", "here")
    assert code == 1
    assert [line.split("\t")[0] for line in out.splitlines()[1:]] == ["Logistic regression", "the more frequent answer"]
    assert "Thresholds by group need rows of both labels in each group, and 1 group lacks two of each." in err
    assert "Left out, because a fit failed (the reason is above): threshold-gbm." in err


def test_cells_that_few_positives_leave_blank_are_said(command: Callable[..., Answer], tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    rows = [f"{generator.normal():.3f},{'FM'[row % 2]},{int(row % 60 == 0)}" for row in range(400)]
    (tmp_path / "few.csv").write_text("\n".join(["a,sex,y", *rows]) + "\n", encoding="utf-8")
    asked = ("sweep", "few.csv", "--label", "y", "--sensitive", "sex", "--budget", "1", "--splits", "1")
    code, out, err = command(*asked, "--learners", "logistic", "--workers", "1")
    assert code == 0, err
    head, line = (one.split("\t") for one in out.splitlines()[:2])
    blank = {name for name, cell in zip(head, line, strict=True) if not cell}
    assert {"equalised_odds", "worst_group_balanced_accuracy"} <= blank and "accuracy" not in blank
    assert "Blank cells in worst_group_balanced_accuracy, equalised_odds: of a label" in err
    _, out, err = command(*asked, "--learners", "logistic", "--pool", "here", "--metric", "balanced_accuracy")
    assert len(out.splitlines()) == 2 and "no group has 20 validation rows of each label" in err


def predictions(path: Path) -> None:
    rows = [
        f"{row % 2},{0.8 if row % 2 or row % 7 == 0 else 0.3},{0.6 if row % 3 else 0.4},"
        f"{'FM'[row % 4 > 1]},{'ab'[row % 8 > 3]}"
        for row in range(400)
    ]
    path.write_text("y,p,q,sex,race\n" + "\n".join(rows) + "\n", encoding="utf-8")


def test_each_metric_of_an_audit_is_a_column(command: Callable[..., Answer], tmp_path: Path) -> None:
    predictions(tmp_path / "p.csv")
    asked = ["audit", "p.csv", "--label", "y", "--score", "p", "--sensitive", "sex,race"]
    code, out, _ = command(*asked, "--format", "json")
    assert code == 0
    lines = json.loads(out)
    groups = [line["group"] for line in lines]
    assert groups[:2] == ["all rows", "sex F, race a"] and "sex F" in groups and "race b" in groups
    (between,) = [line for line in lines if (line["division"], line["group"]) == ("sex", "between groups")]
    assert between["accuracy"] is None and between["precision"] is None
    assert 0 <= between["accuracy_disparity_low"] <= between["accuracy_disparity"] <= between["accuracy_disparity_high"]
    assert lines[0]["accuracy_disparity"] is None
    _, tsv, _ = command(*asked)
    assert set(tsv.splitlines()[0].split("\t")) == set(lines[0])


def test_a_terminal_shows_what_fits(command: Callable[..., Answer], tmp_path: Path) -> None:
    predictions(tmp_path / "p.csv")
    _, out, _ = command(
        "audit", "p.csv", "--label", "y", "--score", "p", "--sensitive", "sex", "--against", "q", "--format", "text"
    )
    first = out.splitlines()[0].split()
    assert first[:4] == ["model", "group", "rows", "positives"] and "cvar" not in first
    assert "worst group accuracy" in out and "accuracy_difference" in out
    assert max(map(len, out.splitlines())) < 160


@pytest.mark.parametrize("labelled", [True, False])
def test_the_report_of_an_audit_opens_with_the_worst_group(
    command: Callable[..., Answer], tmp_path: Path, labelled: bool
) -> None:
    predictions(tmp_path / "p.csv")
    asked = ["audit", "p.csv", "--score", "p", "--sensitive", "sex,race", "--against", "q", "--report", "audit.html"]
    code, out, err = command(*asked, *(["--label", "y"] if labelled else []))
    assert code == 0, err
    page = (tmp_path / "audit.html").read_text(encoding="utf-8")
    opening = page.partition("<h1>")[2].partition("</h1>")[0]
    header = out.splitlines()[0].split("\t")
    if labelled:
        (line,) = [row for row in out.splitlines() if "between groups" in row and row.startswith("p\tsex x race")]
        assert opening == f"Your worst group is {line.split(chr(9))[header.index('worst_group')]}."
    else:
        assert "how often each group is called yes" in opening
        assert "accuracy" not in header
    assert "<script" not in page and "http" not in page.replace("http-equiv", "").replace("http://www.w3.org", "")
    assert "four-fifths" in page


def test_what_the_tutorial_prints_is_what_is_printed_today(command: Callable[..., Answer]) -> None:
    page = (Path(__file__).parents[2] / "docs" / "tutorial" / "subgroups.md").read_text(encoding="utf-8")
    for block in page.split("```python\n")[1:]:
        exec(block.partition("```")[0], {})
    read, audited = (block.partition("```")[0] for block in page.split("```text\n")[1:])
    asked = next(line for line in page.splitlines() if line.startswith("$ surefoot tabular audit")).split()[3:]
    _, out, _ = command(*asked, "--format", "text")
    assert [line.rstrip() for line in out.splitlines()] == audited.splitlines()
    swept = next(line for line in page.splitlines() if line.startswith("$ surefoot tabular sweep people")).split()[3:-1]
    _, _, err = command(*swept, "1", "--learners", "logistic", "--splits", "1", "--workers", "1")
    assert read in err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["sweep", "none.csv", "--label", "y", "--sensitive", "g"], "There is no file 'none.csv'"),
        (["sweep", "adlut"], "There is no file 'adlut', nor a public table of that name: adult, "),
        (["sweep", __file__], "Name the column to predict"),
        (["sweep", "adult", "--sensitive", "sex"], "adult comes with its label, groups and features"),
        (["sweep", "brfss-published", "--raw", "x.zip", "--drop", "sex"], "comes with its label, groups and features"),
        (["sweep", "adult", "--learners", "oak"], "no learner named 'oak'"),
        (["sweep", "adult", "--budget", "0"], "option budget must be at least 1, got 0"),
        (["sweep", "adult", "--rows=-5"], "option rows must be at least 0, got -5"),
        (["sweep", "adult", "--budget", "4", "--halving", "8"], "--halving 8 would stop nothing of a --budget of 4"),
        (["sweep", "adult", "--budget", "999", "--halving", "300"], "a Step has at most 256 configurations"),
        (["sweep", "adult", "--splits", "0"], "option splits must be at least 1"),
        (["audit", "none.csv", "--label", "y", "--score", "p", "--sensitive", "g"], "There is no file 'none.csv'"),
    ],
)
def test_mistakes_are_one_line(command: Callable[..., Answer], arguments: list[str], message: str) -> None:
    code, _, err = command(*arguments)
    assert code == 2
    assert message in err
    assert "Traceback" not in err


def test_an_audit_says_what_counts_as_no_and_refuses_one_column_twice(
    command: Callable[..., Answer], tmp_path: Path
) -> None:
    rows = [f"{'ab'[row // 40]},{['yes', 'no', 'no', 'maybe'][row % 4]},{row % 2}" for row in range(80)]
    (tmp_path / "p.csv").write_text("g,y,p\n" + "\n".join(rows) + "\n")
    audit = ("audit", "p.csv", "--label", "y", "--score", "p", "--positive", "yes", "--sensitive")
    assert "Every y but 'yes' counts as no: 'no' (40), 'maybe' (20)." in "".join(command(*audit, "g")[1:])
    code, _, err = command(*audit, "g,g")
    assert code == 2 and "The column 'g' is named twice, as sensitive and as sensitive" in err
