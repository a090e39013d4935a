"""`surefoot multihop`: a run that is killed goes on, and its file makes the same tables without a network."""

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from hostile import Reply, server

Surefoot = Callable[..., Any]
QUESTIONS = 200
FIRST = 2 + 4  # two sub-questions, and the question direct, with its bridge given, reasoned and asking itself


class Model:
    """A server on loopback that knows all facts, answers directly for each third person, and counts its prompts."""

    def __init__(self) -> None:
        self.answered: Counter[str] = Counter()
        self.slow = 0.0
        model = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                time.sleep(model.slow)
                body = json.dumps({"model": "m", "choices": [{"text": said(asked["prompt"]), "finish_reason": "stop"}]})
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body.encode())
                model.answered[asked["prompt"]] += 1

            def log_message(self, *_: object) -> None:
                """Tests print nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/v1#m"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


def said(prompt: str) -> str:
    mine = prompt.rsplit("Question: ", 1)[1]
    found = re.search(r"(?:Person|Land)(\d+)", mine)
    at = found[1] if found else "0"
    if "Are follow up" in mine:
        steps = f"Follow up: Where was Person{at} born?\nIntermediate answer: Land{at}.\n"
        return f"{steps}So the final answer is: City{at}.\n\nQuestion: Who?"
    if "birthplace" in mine:
        return f"City{at}" if int(at) % 3 == 0 else "No idea"
    return f"Land{at}" if "born" in mine else f"City{at}"


@pytest.fixture
def model() -> Iterator[Model]:
    made = Model()
    yield made
    made.server.shutdown()
    made.server.server_close()


@pytest.fixture
def questions(tmp_path: Path) -> Path:
    path = tmp_path / "questions.jsonl"
    path.write_text("".join(json.dumps(_question(at)) + "\n" for at in range(QUESTIONS)))
    return path


def _question(at: int) -> dict[str, Any]:
    hops = [(f"Where was Person{at} born?", f"Land{at}"), (f"What is the capital of Land{at}?", f"City{at}")]
    return {
        "id": str(at),
        "question": f"What is the capital of the birthplace of Person{at}?",
        "answers": [f"City{at}"],
        "hops": [{"question": question, "answers": [answer]} for question, answer in hops],
    }


def test_a_killed_run_goes_on_and_its_file_gives_the_same_tables(
    surefoot: Surefoot, model: Model, questions: Path, tmp_path: Path
) -> None:
    options = (
        "--model",
        model.url,
        "--questions",
        str(questions),
        "--store",
        str(tmp_path / "store"),
        "--format",
        "json",
    )
    model.slow = 0.02
    command = [sys.executable, "-c", "from surefoot.cli import main; main()", "multihop", "gap", *options]
    process = subprocess.Popen(command, cwd=tmp_path)
    while model.answered.total() < 100:
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    on_the_way = 8  # as many connections: these may have been answered and not kept
    model.slow = 0.0
    first = surefoot("multihop", "gap", *options)
    assert first.code == 0, first.err
    assert len(model.answered) == QUESTIONS * FIRST + _forced(model)
    assert sum(count - 1 for count in model.answered.values()) <= on_the_way
    rows = {row["strategy"]: row for row in json.loads(first.out) if row["rule"] == "exact"}
    lost = sum(at % 3 != 0 for at in range(QUESTIONS))
    assert (rows["direct"]["hops known"], rows["direct"]["whole wrong"]) == (QUESTIONS, lost)
    assert rows["self_ask"]["gap"] == 0

    before = model.answered.total()
    assert surefoot("multihop", "gap", *options).out == first.out
    assert model.answered.total() == before  # nothing is asked twice
    model.server.shutdown()
    assert surefoot("multihop", "replay", "multihop-run.jsonl.gz", "--format", "json")[:2] == (0, first.out)


def _forced(model: Model) -> int:
    """Requests for the final answer of a chain of thought that had none."""
    return sum("\nSo the final answer is:" in prompt.rsplit("Question: ", 1)[1] for prompt in model.answered)


def test_search_by_documents_and_a_figure_and_examples(
    surefoot: Surefoot, model: Model, questions: Path, tmp_path: Path
) -> None:
    docs = tmp_path / "docs.jsonl"
    docs.write_text("".join(f'{{"id": "d{at}", "text": "Person{at} was born in Land{at}."}}\n' for at in range(9)))
    code, out, err = surefoot(
        "multihop", "gap", "--model", model.url, "--questions", questions, "--sample", 9, "--search", docs,
        "--strategies", "direct", "--format", "text", "--figure", "causes.svg", "--examples", "answers",
        "--out", "run.jsonl",
    )  # fmt: skip
    assert code == 0, err
    assert "self_ask_search" in out
    assert "undefined" not in out
    assert "a sample of 200: not to be compared with all" in out
    assert "<svg" in (tmp_path / "causes.svg").read_text()
    assert (tmp_path / "answers" / "direct" / "examples.parquet").is_file()
    assert "bm25 docs.jsonl" in (tmp_path / "run.jsonl").read_text()


def test_a_gap_without_known_questions_is_undefined_in_words_and_null_in_json(
    surefoot: Surefoot, model: Model, tmp_path: Path
) -> None:
    path = tmp_path / "wrong.jsonl"
    path.write_text(
        json.dumps(_question(1) | {"hops": [{"question": "Where was Person1 born?", "answers": ["x"]}] * 2})
    )
    asked = ("--model", model.url, "--questions", path, "--strategies", "direct")
    text = surefoot("multihop", "gap", *asked, "--format", "text").out
    assert [line.split().count("undefined") for line in text.split("\n\n")[0].splitlines()[1:]] == [1] * 4
    assert "gap undefined: no question has all its sub-questions right" in text
    for row in json.loads(surefoot("multihop", "gap", *asked, "--format", "json").out):
        assert (row["gap"], row["gap low"], row["hops known"]) == (None, None, 0)


def test_a_dry_run_asks_nothing(surefoot: Surefoot, model: Model, questions: Path, tmp_path: Path) -> None:
    code, out, _ = surefoot(
        "multihop", "gap", "--model", model.url, "--questions", questions, "--dry-run", "--format", "json"
    )
    (told,) = json.loads(out)
    assert code == 0
    assert told["requests at first"] == QUESTIONS * FIRST
    assert told["requests at most"] == QUESTIONS * (FIRST + 2)
    assert not model.answered
    assert not (tmp_path / "multihop-run.jsonl.gz").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--strategies", "guess"), "There is no strategy 'guess'"),
        (("--strategies", "self_ask_search"), "needs a search engine"),
        (("--sample", "900"), "--sample is 900: it is 1 to 200"),
        (("--hops", "0"), "hops is 0: it must be at least 1"),
        (("--search", "nothing"), "There is no file 'nothing'"),
        (("--search", "http://a/{query}", "--search-fields", "x"), "'x' must have the form name=place"),
        (("--out", "no/where.jsonl"), "no/where.jsonl cannot be written: its folder is not there"),
        (("--out", "run.csv"), "must end in .jsonl or .jsonl.gz"),
        (("--out", "questions.jsonl"), "questions.jsonl is read by this command"),
        (("--out", "linked.jsonl"), "linked.jsonl is read by this command"),
        (("--out", "pipe.jsonl"), "it is a device, a pipe or a link to itself"),
        (("--out", "notes.jsonl"), "is there, and is no run"),
        (("--figure", "x.txt"), "Cannot write a figure as 'x.txt'"),
        (("--figure", "no/x.svg"), "its folder is not there"),
        (("--format", "parquet"), "choose tsv, csv or json"),
        (("--rule", "guess"), "There is no rule 'guess'"),
        (("--prompts", "questions.jsonl"), "is not JSON that can be read"),
    ],
)
def test_mistakes_are_one_sentence_before_anything_is_asked(
    surefoot: Surefoot, model: Model, questions: Path, arguments: tuple[str, ...], message: str
) -> None:
    os.mkfifo(questions.with_name("pipe.jsonl"))
    questions.with_name("linked.jsonl").symlink_to("questions.jsonl")
    questions.with_name("notes.jsonl").write_text('{"my": "notes"}\n')
    before = questions.read_bytes()
    code, _, err = surefoot("multihop", "gap", "--model", model.url, "--questions", questions, *arguments)
    assert code == 2
    assert questions.read_bytes() == before
    assert message in err
    assert "Traceback" not in err
    assert not model.answered


def test_equal_requests_are_counted_once(surefoot: Surefoot, model: Model, tmp_path: Path) -> None:
    path = tmp_path / "twice.jsonl"
    path.write_text("".join(json.dumps(_question(1) | {"id": str(at)}) + "\n" for at in range(3)))
    asked = ("--model", model.url, "--questions", path, "--format", "json")
    (told,) = json.loads(surefoot("multihop", "gap", *asked, "--dry-run").out)
    assert (told["requests at first"], told["answered already"]) == (FIRST, 0)
    assert surefoot("multihop", "gap", *asked).code == 0
    assert FIRST <= len(model.answered) == model.answered.total() <= told["requests at most"]
    (told,) = json.loads(surefoot("multihop", "gap", *asked, "--dry-run").out)
    assert (told["requests at first"], told["answered already"]) == (FIRST, FIRST)


def test_a_run_file_of_another_run_is_not_written_over(surefoot: Surefoot, model: Model, tmp_path: Path) -> None:
    path, out = tmp_path / "one.jsonl", tmp_path / "real.jsonl"
    path.write_text(json.dumps(_question(3)) + "\n")
    (tmp_path / "run.jsonl").symlink_to(out)
    asked = ("--model", model.url, "--questions", path, "--out", "run.jsonl")
    assert surefoot("multihop", "gap", *asked).code == 0
    kept = out.read_bytes()
    assert (tmp_path / "run.jsonl").is_symlink()
    assert surefoot("multihop", "gap", *asked).code == 0  # the same run may be made again
    path.write_text(json.dumps(_question(4)) + "\n")
    for more, differs in (((), "questions"), (("--strategies", "direct"), "strategies"), (("--hops", 2), "asking")):
        code, _, err = surefoot("multihop", "gap", *asked, *more)
        assert code == 2
        assert differs in err
        assert "name another file with --out" in err
    assert out.read_bytes() == kept


def test_a_server_that_has_had_enough_ends_the_run_and_what_was_answered_is_kept(
    surefoot: Surefoot, questions: Path
) -> None:
    def reply(body: dict[str, Any], number: int) -> Reply:
        if number < 5:
            return Reply({"choices": [{"text": said(body["prompt"]), "finish_reason": "stop"}]})
        return Reply({"error": {"message": "slow down"}}, status=429, headers={"Retry-After": "0"})

    with server(reply) as asked:
        code, out, err = surefoot("multihop", "gap", "--model", f"{asked.url}#m", "--questions", questions)
    assert (code, out) == (2, "")
    assert "status 429" in err
    assert "Run again later to go on. 5 of 1200 requests were answered and are kept" in err


def test_all_refused_is_an_error_and_a_part_is_counted(surefoot: Surefoot, tmp_path: Path) -> None:
    path = tmp_path / "some.jsonl"
    path.write_text("".join(json.dumps(_question(at)) + "\n" for at in (3, 6, 9, 12)))

    def part(body: dict[str, Any], number: int) -> Reply:
        if "birthplace of Person6" in body["prompt"]:
            return Reply({"error": {"message": "filtered"}}, status=400)
        return Reply({"choices": [{"text": said(body["prompt"]), "finish_reason": "stop"}]})

    with server(part) as asked:
        options = ("--model", f"{asked.url}#m", "--questions", path, "--strategies", "direct", "--format", "json")
        code, out, err = surefoot("multihop", "gap", *options)
    assert code == 0, err
    for row in json.loads(out):
        assert (row["questions"], row["refused"], row["accuracy"], row["with hops"]) == (3, 1, 1.0, 3)
        assert (row["hops known"], row["whole wrong"], row["gap"]) == (3, 0, 0.0)
        assert "1 questions refused by the server are left out" in row["note"]
    with server(lambda body, number: Reply({"error": {"message": "filtered"}}, status=400)) as asked:
        code, out, err = surefoot(
            "multihop", "gap", "--model", f"{asked.url}#m", "--questions", path, "--out", "b.jsonl"
        )
    assert (code, out) == (2, "")
    assert "m answered none of 24 requests" in err
    assert "filtered" in err
