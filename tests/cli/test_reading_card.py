"""`surefoot reading enough` and `reading card` as their user sees them."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from surefoot.examples import write_examples

DATA = os.environ.get("SUREFOOT_DATA")


def examples(folder: Path, share: float, asked: int, of: int = 4000, seed: int = 0) -> Path:
    """A reader's examples: so many of a full set were asked, the rest is missing."""
    folder.mkdir()
    generator = np.random.default_rng(seed)
    waiting = np.ones(of, dtype=bool)
    waiting[generator.permutation(of)[:asked]] = False
    right = (generator.random(of) < share) & ~waiting
    ids = [f"q{place}" for place in range(of)]
    articles = [f"article {place % 40}" for place in range(of)]
    columns = {"example": ids, "score": right.astype(float), "missing": waiting, "article": articles}
    write_examples(folder, columns)
    return folder / "examples.parquet"


def test_answers_decide_or_say_how_many_would(surefoot: Callable[..., object], tmp_path: Path) -> None:
    file = examples(tmp_path / "a[1]", 0.7, 300)
    far = surefoot("reading", "enough", file, "--bound", 0.5, "--format", "json")
    (told,) = json.loads(far.out)
    assert (far.code, told["side"], told["asked"], told["of"]) == (0, "above", 300, 4000)
    assert told["low"] > 0.5
    assert "3700 of 4000 questions have no answer: they count as not asked yet." in far.err
    assert told["other_articles_low"] < told["effect"] < told["other_articles_high"]
    near = surefoot("reading", "enough", file, "--bound", 0.68, "--format", "json")
    (told,) = json.loads(near.out)
    assert (near.code, told["side"]) == (2, "not yet")
    assert told["needed"] is None or told["needed"] > 300


def test_what_other_articles_would_say_stays_a_score(surefoot: Callable[..., object], tmp_path: Path) -> None:
    """Two articles, one read well and one badly, say next to nothing of a third: all from 0 to 1, or -1 to 1."""
    scores = {"a": [1.0] * 50 + [0.0] * 50, "b": [0.0] * 100}
    for name, score in scores.items():
        (tmp_path / name).mkdir()
        columns = {"example": [f"q{at}" for at in range(100)], "article": ["x"] * 50 + ["y"] * 50}
        write_examples(tmp_path / name, columns | {"score": score})
    files = [tmp_path / name / "examples.parquet" for name in scores]
    for named, least in ((files[:1], 0.0), (files, -1.0)):
        told = surefoot("reading", "enough", *named, "--of", 1000, "--format", "json")
        (row,) = json.loads(told.out)
        assert (row["other_articles_low"], row["other_articles_high"]) == (least, 1.0)


def test_the_same_answers_are_decided_alike_in_any_order_of_the_file(
    surefoot: Callable[..., object], tmp_path: Path
) -> None:
    """Rows come in the order of the data; what decides is the random order of the ids."""
    folder = tmp_path / "sorted"
    folder.mkdir()
    score = np.sort(np.random.default_rng(1).random(200) < 0.5).astype(float)
    write_examples(folder, {"example": [f"q{i}" for i in range(200)], "score": score, "article": ["a", "b"] * 100})
    told = surefoot("reading", "enough", folder / "examples.parquet", "--of", 2000, "--bound", 0.5)
    assert told.code == 2


def test_two_readers_are_compared_on_the_questions_that_both_answered(
    surefoot: Callable[..., object], tmp_path: Path
) -> None:
    files = examples(tmp_path / "a", 0.8, 500), examples(tmp_path / "b", 0.5, 500)
    told = surefoot("reading", "enough", *files, "--margin", 0.02, "--format", "json")
    (row,) = json.loads(told.out)
    assert (told.code, row["side"], row["asked"]) == (0, "above", 500)
    assert row["effect"] > 0.2


def test_mistakes_are_told_in_one_sentence(surefoot: Callable[..., object], tmp_path: Path) -> None:
    file, one, none = (examples(tmp_path / name, 0.8, asked) for name, asked in (("a", 500), ("b", 1), ("c", 0)))
    assert surefoot("reading", "enough", one).code == 2  # of one article: no interval of others
    for arguments, message in (
        (("reading", "enough", none), "0 answers of a set of 4000"),
        (("reading", "enough", file, "--of", 0), "500 answers of a set of 0"),
        (("reading", "enough", file, file), "is named twice"),
        (("reading", "enough", file, "--bound", "nan"), "must be fractions"),
        (("reading", "enough", file, "--bound", "90"), "the bound 90.0 and the margin 0.0 must be fractions"),
        (("reading", "enough", file, "--margin", "2"), "the bound 0.0 and the margin 2.0 must be fractions"),
        (("reading", "enough", file, "--margin", -1), "the margin at least 0"),
        (("reading", "enough", file, "--of", 100), "a set of 100"),
        (
            ("reading", "card", "--model", "sliding-window", "--data", "squad=a.json"),
            "--data does not have SQuAD and a",
        ),
        (("reading", "card", "--model", "sliding-window", "--published", tmp_path), "does not have SQuAD and"),
        (("reading", "card", "--predictions", "squad"), "must have the form SET=FILE"),
        (("reading", "card", "--predictions", "squad=a.json"), "Give --model, or the answers to SQuAD and to a shift"),
        (
            ("reading", "card", "--sample", 9, "--predictions", "squad=a.json", "--predictions", "nq=b.json"),
            "--sample says how many questions --model is asked",
        ),
    ):
        told = surefoot(*arguments)
        assert told.code == 2
        assert message in told.err
        assert "Traceback" not in told.err


@pytest.mark.skipif(not DATA, reason="SUREFOOT_DATA is not set")
def test_a_card_asks_a_model_through_the_store(
    surefoot: Callable[..., object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the sets at hand, here a fiftieth of each."""
    from surefoot.language import read_questions, write_questions
    from surefoot.studies.reading import SETS

    folder = tmp_path / "data" / "reading"
    folder.mkdir(parents=True)
    for file in (Path(DATA or "") / "reading").glob("published_*"):
        (folder / file.name).symlink_to(file)
    for name in SETS.values():
        write_questions(folder, read_questions(Path(DATA or "") / "reading" / name)[::50])
        (folder / "questions.json").rename(folder / name)
    monkeypatch.setenv("SUREFOOT_DATA", str(folder.parent))
    told = surefoot("reading", "card", "--model", "sliding-window", "--sample", 60, "--format", "json", "--shown", 1)
    assert told.code == 0
    card = json.loads(told.out)
    names = ["squadshifts_new_wiki", "squadshifts_amazon", "squadshifts_reddit"]
    assert [one["shift"] for one in card["sets"]] == ["average", *names]
    assert all(one["place"] == "open" and one["extrapolated"] for one in card["sets"])
    assert "no verdict" in told.err
    assert [one["shift"] for one in card["lost"]] == ["squad", *names]


@pytest.mark.skipif(not DATA, reason="SUREFOOT_DATA is not set")
def test_a_card_of_a_published_system(surefoot: Callable[..., object], tmp_path: Path) -> None:
    """BERT's real answers on SQuAD; on New Wiki a reader that copies the first words of the paragraph."""
    from surefoot.language import read_questions

    folder = Path(DATA or "") / "reading"
    asked = read_questions(folder / "squadshifts_new_wiki_v1.0.json.gz")
    answers = tmp_path / "wiki.json"
    answers.write_text(json.dumps({one.id: " ".join(one.context.split()[:3]) for one in asked}))
    squad = folder / "predictions" / "bert_ensemble_v1.1.json.gz"
    told = surefoot(
        "reading", "card", "--predictions", f"squad={squad}", "--predictions", f"squadshifts_new_wiki={answers}",
        "--report", "card.html", "--format", "json",
    )  # fmt: skip
    assert told.code == 0
    card = json.loads(told.out)
    assert card["in_distribution"][0] == pytest.approx(0.921956, abs=1e-6)
    assert [(one["shift"], one["place"]) for one in card["sets"]] == [("squadshifts_new_wiki", "below")]
    assert card["sets"][0]["points"] < -60
    assert len(card["lost"]) == 10
    assert "Card: card.html" in told.err
    assert "Less robust" in Path("card.html").read_text(encoding="utf-8")
    regression = folder / "predictions" / "logistic_regression_v1.1.json.gz"  # 13 questions have no prediction
    for rule, f1 in (((), 0.509815), (("--rule", "squad-2.0"), 0.510443)):
        files = ("--predictions", f"squad={regression}", "--predictions", f"squadshifts_new_wiki={answers}")
        card = json.loads(surefoot("reading", "card", *files, *rule, "--format", "json").out)
        assert card["in_distribution"][0] == pytest.approx(f1, abs=1e-5)
        how = "left out" if rule else "wrong"
        assert card["remarks"][-1] == f"13 questions of 'squad' have no prediction: they are {how}."


def test_answers_that_are_all_right_say_nothing_certain_of_other_articles(
    surefoot: Callable[..., object], tmp_path: Path
) -> None:
    columns = {"example": [f"q{at}" for at in range(9)], "article": ["x", "y", "z"] * 3}
    write_examples(tmp_path, columns | {"score": [1.0] * 9})
    told = surefoot("reading", "enough", tmp_path / "examples.parquet", "--of", 1000, "--format", "json")
    (row,) = json.loads(told.out)
    assert row["effect"] == 1.0
    assert "other_articles_low" not in row
