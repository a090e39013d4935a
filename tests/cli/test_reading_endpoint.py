"""`surefoot reading` against an endpoint on loopback that knows the answers, or only some of them."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hostile import Reply, said, server

from surefoot.language import Question, read_questions, write_questions

DATA = os.environ.get("SUREFOOT_DATA")
SETS = ("squad", "squadshifts_reddit")


def question(article: int, place: int) -> Question:
    context = f"In article {article} the answer to question {place} is word{article}x{place}, as all know."
    answer = f"word{article}x{place}"
    name = f"q{article}-{place}"
    return Question(
        name, f"What is {article}/{place}?", context, (answer,), (context.index(answer),), f"a{article}", "p"
    )


def knowing(asked: list[Question], known: Callable[[Question], bool]) -> Callable[[dict[str, Any], int], Reply]:
    """Answers rightly what it knows, and else with a word that is in no paragraph."""

    def reply(body: dict[str, Any], number: int) -> Reply:
        (one,) = [one for one in asked if one.question in body["prompt"]]
        return Reply(said(f" {one.answers[0]}\n" if known(one) else " nonsense\n"))

    return reply


@pytest.fixture
def asked(tmp_path: Path) -> list[Question]:
    questions = [question(article, place) for article in range(6) for place in range(4)]
    (tmp_path / "set").mkdir()
    write_questions(tmp_path / "set", questions)
    return questions


def evaluate(surefoot: Callable[..., Any], url: str, tmp_path: Path, *more: object) -> Any:
    file = tmp_path / "set" / "questions.json"
    return surefoot("reading", "evaluate", "--model", f"{url}#m", "--data", file, "--format", "json", *more)


def test_an_endpoint_is_scored_by_article_and_asked_once(
    surefoot: Callable[..., Any], asked: list[Question], tmp_path: Path
) -> None:
    with server(knowing(asked, lambda one: one.article in ("a0", "a1", "a2"))) as at:
        first = evaluate(surefoot, at.url, tmp_path)
        assert first.code == 0, first.err
        assert len(at.bodies) == len(asked)
        again = evaluate(surefoot, at.url, tmp_path)
        other_rule = evaluate(surefoot, at.url, tmp_path, "--rule", "squad-2.0")
        assert len(at.bodies) == len(asked)  # neither a rerun nor another rule asks anything
        url = at.url
    gone = evaluate(surefoot, url, tmp_path)
    assert json.loads(first.out) == json.loads(again.out) == json.loads(gone.out)
    scores = {row["metric"]: row for row in json.loads(first.out)}
    assert (scores["exact_match"]["value"], scores["exact_match"]["n"]) == (50, 24)
    # Three of six articles are right and three wrong: 24 questions say no more than six articles, nearly [.1, .9].
    assert scores["exact_match"]["low"] < 20
    assert scores["exact_match"]["high"] > 80
    assert {row["metric"]: row["value"] for row in json.loads(other_rule.out)} == {"exact_match": 50, "f1": 50}


def test_more_questions_of_a_sample_ask_only_the_new_ones(
    surefoot: Callable[..., Any], asked: list[Question], tmp_path: Path
) -> None:
    with server(knowing(asked, lambda one: True)) as at:
        evaluate(surefoot, at.url, tmp_path, "--sample", 5)
        evaluate(surefoot, at.url, tmp_path, "--sample", 9)
        assert len(at.bodies) == 9
        assert set(at.prompts.values()) == {1}


def test_a_dry_run_asks_nothing_and_counts_what_is_kept(
    surefoot: Callable[..., Any], asked: list[Question], tmp_path: Path
) -> None:
    with server(knowing(asked, lambda one: True)) as at:
        dry = evaluate(surefoot, at.url, tmp_path, "--dry-run")
        assert (dry.code, len(at.bodies)) == (0, 0)
        (row,) = json.loads(dry.out)
        assert (row["asked"], row["cached"]) == (24, 0)
        evaluate(surefoot, at.url, tmp_path, "--sample", 5)
        write_questions(tmp_path, [*asked[:7], question(9, 9)])  # what two sets share is asked once
        two = json.loads(evaluate(surefoot, at.url, tmp_path, "--dry-run", "--data", tmp_path / "questions.json").out)
        assert [(row["asked"], row["cached"]) for row in two] == [(19, 5), (1, 7)]


def test_what_a_table_of_scores_does_not_show_is_said(
    surefoot: Callable[..., Any], asked: list[Question], tmp_path: Path
) -> None:
    """Tokens, their cost, answers cut at the limit, empty, too long; another model, other builds; passages cut."""
    limits = {0: ("length", " word", 32), 1: ("stop", "", 0), 2: ("stop", " word", 99)}

    def reply(body: dict[str, Any], number: int) -> Reply:
        finish, text, tokens = limits.get(number, ("stop", " word", 2))
        choice = {"text": text, "finish_reason": finish}
        used = {"prompt_tokens": 100, "completion_tokens": tokens}
        return Reply({"choices": [choice], "usage": used, "model": "other-7b", "system_fingerprint": f"f{number % 2}"})

    with server(reply) as at:
        told = evaluate(surefoot, at.url, tmp_path, "--price", 1, 10, "--connections", 1)
        for said_so in (
            "24 requests took 2,400 tokens of prompts and 173 of answers, 0.00413 at these prices.",
            "1 answers were cut at 32 tokens.",
            "1 answers are empty.",
            "1 answers are longer than was allowed.",
            "The endpoint says that other-7b f0, other-7b f1 answered.",
        ):
            assert f"questions.json: {said_so}" in told.err
        assert "did not fit" not in told.err
        again = evaluate(surefoot, at.url, tmp_path)
        assert "24 requests took 2,400 tokens of prompts and 173 of answers.\n" in again.err
        short = evaluate(surefoot, at.url, tmp_path, "--context", 70)
        assert "24 questions did not fit into the window whole, or not with all examples." in short.err


def test_a_question_that_an_endpoint_refuses_is_named_and_can_be_left_out(
    surefoot: Callable[..., Any], asked: list[Question], tmp_path: Path
) -> None:
    """Left out it has no answer: it is not the empty one, and counts by the rule, as any question without."""

    def reply(body: dict[str, Any], number: int) -> Reply:
        refused = "What is 3/2?" in body["prompt"]
        return Reply({"error": {"message": "not that"}}, status=400) if refused else knowing(asked, bool)(body, number)

    with server(reply) as at:
        told = evaluate(surefoot, at.url, tmp_path)
        assert told.code == 1
        assert "status 400: not that). The request ends" in told.err
        assert "Question: What is 3/2? Answer:'" in told.err
        left = evaluate(surefoot, at.url, tmp_path, "--skip-refused", "--examples", tmp_path / "kept")
        assert left.code == 0, left.err
        assert at.prompts.total() <= 24 + 2 + 8  # the refused one three times, and what was under way at the error
        newer = evaluate(surefoot, at.url, tmp_path, "--skip-refused", "--rule", "squad-2.0")
    assert "1 questions were refused and have no answer." in left.err
    assert "1 questions have no prediction and are counted as wrong." in left.err
    assert [(row["n"], round(row["value"], 4)) for row in json.loads(left.out)] == [(24, 95.8333)] * 2
    assert [(row["n"], row["value"]) for row in json.loads(newer.out)] == [(23, 100)] * 2
    assert "1 questions have no prediction and are left out." in newer.err


@pytest.mark.skipif(not DATA, reason="SUREFOOT_DATA is not set")
def test_a_card_of_an_endpoint_says_where_it_fails(surefoot: Callable[..., Any], tmp_path: Path) -> None:
    folder = Path(DATA or "") / "reading"
    names = {"squad": "squad_v1.1_dev.json.gz", "squadshifts_reddit": "squadshifts_reddit_v1.0.json.gz"}
    read = {name: read_questions(folder / file)[::50] for name, file in names.items()}
    files = {name: tmp_path / name / "questions.json" for name in read}
    for name, some in read.items():
        (tmp_path / name).mkdir()
        write_questions(tmp_path / name, some)
    every = [one for some in read.values() for one in some]
    answers = {one.question: one for one in every}

    def reply(body: dict[str, Any], number: int) -> Reply:
        """Right in distribution three times of four; under shift it says the first word of the paragraph."""
        asked = body["prompt"].rsplit("Question: ", 1)[-1].split("\n")[0]
        return Reply(said(f" {answers[asked].answers[0]}\n" if number % 4 and asked in answers else " nonsense\n"))

    given = [part for name in SETS for part in ("--data", f"{name}={files[name]}")]
    with server(reply) as at:
        card = ("reading", "card", "--model", f"{at.url}#m", *given, "--sample", 24, "--format", "json")
        told = surefoot(*card, "--report", tmp_path / "card.html")
        assert told.code == 0, told.err
        assert len(at.bodies) == 48
        again = surefoot(*card)
        assert len(at.bodies) == 48
    shown = json.loads(told.out)
    assert [one["shift"] for one in shown["sets"]] == ["squadshifts_reddit"]
    assert 0.5 < shown["in_distribution"][0] < 1
    assert json.loads(again.out)["sets"] == shown["sets"]
    assert (tmp_path / "card.html").read_text(encoding="utf-8").count("nonsense") >= 1


def command(url: str, tmp_path: Path, before: str = "") -> list[str]:
    file, store = tmp_path / "set" / "questions.json", tmp_path / "store"
    told = ["evaluate", "--model", f"{url}#m", "--data", str(file), "--store", str(store), "--format", "tsv"]
    return [sys.executable, "-c", f"{before}from surefoot.cli import main; main()", "reading", *told]


def test_two_runs_at_once_share_one_store_and_ask_nothing_twice(asked: list[Question], tmp_path: Path) -> None:
    with server(knowing(asked, lambda one: True)) as at:
        both = [
            subprocess.Popen(command(at.url, tmp_path), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
            for _ in range(2)
        ]
        told = [one.communicate(timeout=120) for one in both]
        assert [one.returncode for one in both] == [0, 0], told
        assert set(at.prompts.values()) == {1}
    assert told[0][0] == told[1][0] != ""


def test_a_store_that_cannot_grow_is_said_in_sentences_and_the_next_run_goes_on(
    asked: list[Question], tmp_path: Path
) -> None:
    no_file_grows = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (24_000, 24_000)); "
    with server(knowing(asked, lambda one: True)) as at:
        full = subprocess.run(command(at.url, tmp_path, no_file_grows), capture_output=True, text=True, check=False)
        assert full.returncode != 0
        assert re.search(r"answers\.sqlite cannot be used \(.*\): (free some space|name another store)", full.stderr)
        assert "Traceback" not in full.stderr
        assert subprocess.run(command(at.url, tmp_path), capture_output=True, check=False).returncode == 0
