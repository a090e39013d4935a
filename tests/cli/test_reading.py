"""`surefoot reading score` and `reading data`, as their users see them."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Verb = Callable[..., Any]


def question(name: str, *answers: str) -> dict[str, Any]:
    return {"id": name, "question": "Who?", "answers": [{"text": one, "answer_start": 4} for one in answers]}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Three articles of two questions, the second of each without an answer."""
    articles = [
        {
            "title": f"T{n}",
            "paragraphs": [{"context": "The cat.", "qas": [question(f"{n}a", "cat"), question(f"{n}b")]}],
        }
        for n in range(3)
    ]
    path = tmp_path / "dev.json"
    path.write_text(json.dumps({"version": "v2.0", "data": articles}))
    return path


@pytest.fixture
def answers(tmp_path: Path) -> Path:
    path = tmp_path / "answers.json"
    path.write_text(json.dumps({"0a": "the cat", "0b": "", "1a": "dog", "1b": "unanswerable", "2a": "cat", "9z": "x"}))
    return path


def test_score_prints_every_number_and_says_what_it_chose(surefoot: Verb, data: Path, answers: Path) -> None:
    ended = surefoot("reading", "score", answers, data, "--abstain", "unanswerable", "--format", "json")
    told = {row["metric"]: row for row in json.loads(ended.out)}
    assert ended.code == 0
    assert (told["exact_match"]["value"], told["total"]["value"], told["exact_match"]["unit"]) == (80, 5, "percent")
    assert (round(told["HasAns_f1"]["value"], 4), told["NoAns_exact_match"]["value"]) == (66.6667, 100)
    assert (told["HasAns_total"]["value"], told["NoAns_total"]["value"]) == (3, 2)
    assert 0 <= told["f1"]["low"] < 80 < told["f1"]["high"] <= 100
    assert "The rule is squad-2.0, by the data" in ended.err
    assert "1 of 6 questions (2b) have no prediction and are left out." in ended.err
    assert "1 of 6 predictions (9z) are for no question of the data." in ended.err
    assert "1 of 5 answers (1b) are phrases of abstention" in ended.err


def test_official_prints_the_keys_of_the_script_alone(
    surefoot: Verb, data: Path, answers: Path, tmp_path: Path
) -> None:
    told = json.loads(surefoot("reading", "score", answers, data, "--official").out)
    assert list(told) == [
        f"{group}{name}" for group in ("", "HasAns_", "NoAns_") for name in ("exact", "f1", "total")
    ]  # fmt: skip
    assert (told["exact"], told["total"], told["NoAns_exact"]) == (60, 5, 50)
    scores = tmp_path / "no_answer.json"
    scores.write_text(json.dumps({"0a": 0.1, "0b": 0.9, "1a": 0.2, "1b": 0.8, "2a": 0.3, "2b": 1}))
    with_scores = json.loads(surefoot("reading", "score", answers, data, "--official", "--no-answer", scores).out)
    assert with_scores == told | {"best_exact": 80, "best_exact_thresh": 0.3, "best_f1": 80, "best_f1_thresh": 0.3}
    applied = surefoot(
        "reading", "score", answers, data, "--official", "--no-answer", scores, "--no-answer-above", "0.5"
    )
    assert json.loads(applied.out)["exact"] == 80


def test_examples_are_compared_by_article(surefoot: Verb, data: Path, answers: Path, tmp_path: Path) -> None:
    worse = tmp_path / "worse.json"
    worse.write_text(json.dumps({"0a": "dog", "0b": "", "1a": "dog", "1b": "", "2a": "cat dog"}))
    for path in (answers, worse):
        assert surefoot("reading", "score", path, data, "--examples", path.with_suffix(".parquet")).code == 0
    ended = surefoot(
        "compare", answers.with_suffix(".parquet"), worse.with_suffix(".parquet"), "--cluster", "article",
        "--format", "json",
    )  # fmt: skip
    (row,) = json.loads(ended.out)
    assert (row["examples"], row["clusters"], round(row["difference"], 4)) == (5, 3, -0.0667)
    assert row["smallest seen"] > 0
    exact = surefoot(
        "compare", answers.with_suffix(".parquet"), worse.with_suffix(".parquet"), "--score", "exact_match",
        "--format", "json",
    )  # fmt: skip
    (row,) = json.loads(exact.out)
    assert (row["baseline score"], row["model score"], row["only baseline right"]) == (0.6, 0.4, 2)


def test_data_says_what_files_hold(surefoot: Verb, data: Path, tmp_path: Path) -> None:
    off = tmp_path / "off.json"
    off.write_text(data.read_text().replace('"answer_start": 4', '"answer_start": 3'))
    ended = surefoot("reading", "data", data, off, "--format", "json")
    first, second = json.loads(ended.out)
    assert (first["format"], first["questions"], first["articles"], first["unanswerable"]) == ("squad", 6, 3, 3)
    assert (first["nowhere"], second["nowhere"], second["untrainable"]) == (0, 3, 3)
    assert "3 of 3 answers do not stand in their paragraph where the file says" in ended.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["dev.json", "answers.json"], "dev.json holds questions, where predictions should be"),
        (["answers.json", "nothing.json"], "There is no file 'nothing.json'."),
        (["answers.json", "answers.json"], "is in no format that I know"),
        (["answers.json", "dev.json", "--rule", "squad-1.1"], "3 questions have no answer"),
        (["answers.json", "dev.json", "--no-answer-above", "1"], "needs a score of every question"),
        (["answers.json", "dev.json", "--official", "--format", "json"], "leave out --format"),
        (["answers.json", "dev.json", "--examples", "rows.csv"], "must end in .parquet"),
    ],
)
def test_mistakes_are_one_sentence(
    surefoot: Verb, data: Path, answers: Path, arguments: list[str], message: str
) -> None:
    ended = surefoot("reading", "score", *arguments)
    assert (ended.code, ended.out) == (2, "")
    assert message in ended.err
    assert "Traceback" not in ended.err
    assert ended.err.splitlines()[-1].endswith(".")
