"""surefoot reading evaluate and train: any kind of reader by name, through the store, to a table and files."""

import csv
import io
import json
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForQuestionAnswering, BertConfig, BertTokenizer

CONTEXTS = {"Ann": "Oslo", "Bob": "Rome", "Cleo": "Lima", "Dora": "Kyiv"}


@pytest.fixture
def questions(tmp_path: Path) -> Path:
    """Four questions, each of its own article."""
    articles = [
        {
            "title": name,
            "paragraphs": [
                {
                    "context": f"{name} was born in {city}.",
                    "qas": [
                        {
                            "id": name,
                            "question": f"Where was {name} born?",
                            "answers": [{"text": city, "answer_start": len(name) + 13}],
                        }
                    ],
                }
            ],
        }
        for name, city in CONTEXTS.items()
    ]
    path = tmp_path / "places.json"
    path.write_text(json.dumps({"version": "1.1", "data": articles}))
    return path


def rows(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text), delimiter="\t"))


def test_a_baseline_is_asked_once_and_scored(surefoot, questions: Path) -> None:  # type: ignore[no-untyped-def]
    first = surefoot("reading", "evaluate", "--model", "sliding-window", "--data", questions, "--examples", "kept")
    assert first.code == 0
    exact, row = rows(first.out)
    assert (exact["metric"], float(exact["value"])) == ("exact_match", 100.0)
    assert (row["metric"], row["group"], float(row["value"]), row["n"]) == ("f1", "", 100.0, "4")
    assert Path("kept/places.parquet").is_file()
    again = surefoot("reading", "evaluate", "--model", "sliding-window", "--data", questions)
    assert again.out == first.out
    assert "0 to make" in again.err
    other = surefoot("reading", "evaluate", "--model", "sliding-window", "--data", questions, "--rule", "squad-2.0")
    assert "1 to make" in other.err
    assert surefoot("compare", row["key"], rows(other.out)[0]["key"], "--cluster", "article").code == 0


def test_answers_of_a_file_are_scored_on_a_sample(surefoot, questions: Path) -> None:  # type: ignore[no-untyped-def]
    Path("answers.json").write_text(json.dumps(CONTEXTS | {"Ann": "the city of Oslo"}))
    ended = surefoot("reading", "evaluate", "--model", "answers.json", "--data", questions)
    exact, f1 = (float(row["value"]) for row in rows(ended.out))
    assert (exact, f1) == (75, pytest.approx(100 * (3 + 0.5) / 4))
    drawn = surefoot("reading", "evaluate", "--model", "answers.json", "--data", questions, "--sample", 2, "--seed", 1)
    assert rows(drawn.out)[0]["n"] == "2"
    assert "2 predictions are for no question of the data." in drawn.err
    Path("some.json").write_text(json.dumps({"Ann": "Oslo", list(CONTEXTS)[1]: "unknown"}))
    some = surefoot("reading", "evaluate", "--model", "some.json", "--data", questions, "--abstain", "unknown")
    assert "places.json: 2 questions have no prediction and are counted as wrong." in some.err
    assert "places.json: 1 answers are phrases of abstention: they count as ''." in some.err


def test_a_dry_run_counts_and_asks_nothing(surefoot, questions: Path) -> None:  # type: ignore[no-untyped-def]
    ended = surefoot(
        "reading", "evaluate", "--model", "http://127.0.0.1:9/v1#m", "--data", questions, "--shots", 2, "--shots-from",
        questions, "--dry-run", "--price", 1, 2,
    )  # fmt: skip
    (row,) = rows(ended.out)
    assert (row["asked"], row["cached"], row["longest answers"]) == ("4", "0", str(4 * 32))
    assert float(row["cost"]) == pytest.approx((int(row["prompt tokens"]) + 2 * 4 * 32) / 1e6)


def test_an_encoder_is_trained_and_its_reader_evaluated(surefoot, questions: Path) -> None:  # type: ignore[no-untyped-def]
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "where", "was", "born", "in", "?", "."]
    words += [one.lower() for pair in CONTEXTS.items() for one in pair]
    Path("encoder").mkdir()
    BertTokenizer(vocab={word: id for id, word in enumerate(words)}).save_pretrained("encoder")
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(words), hidden_size=24, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32,
        max_position_embeddings=128,
    )  # fmt: skip
    AutoModelForQuestionAnswering.from_config(config).base_model.save_pretrained("encoder")
    given = ("--questions", questions, "--out", "reader", "--steps", 60, "--rate", 0.01, "--layers", 1)
    ended = surefoot("reading", "train", *given, "--encoder", "encoder", "--max-tokens", 128, "--stride", 16)
    assert ended.code == 0, ended.err
    assert AutoModelForQuestionAnswering.from_pretrained("reader").config.num_hidden_layers == 1
    read = surefoot("reading", "evaluate", "--model", "reader", "--data", questions)
    assert float(rows(read.out)[0]["value"]) == 100.0
    assert "is there already: name a new directory" in surefoot("reading", "train", *given).err
    plain = surefoot("reading", "evaluate", "--model", "encoder", "--data", questions)
    assert "is neither a span model nor a causal one (architectures: BertModel)" in plain.err


def test_what_cannot_be_asked_is_refused_before_anything_is_written(surefoot, questions: Path) -> None:  # type: ignore[no-untyped-def]
    endpoint, twin = "http://127.0.0.1:9/v1#m", Path("other") / questions.name
    twin.parent.mkdir()
    twin.write_text(questions.read_text())
    for model, more, message in (
        ("http://ann:s3cret@host/v1#m", (), "give the key in the environment variable"),
        (endpoint, ("--shots", -1), "shots is -1: it must be at least 0."),
        (endpoint, ("--shots-from", questions), "--shots-from of which file: both"),
        (endpoint, ("--shots", 2), "--shots-from of which file: both"),
        (endpoint, ("--dry-run", "--price", -1, 1), "must be finite, and at least 0."),
        ("sliding-window", ("--data", twin, "--examples", "kept"), "would be written to kept/places.parquet"),
    ):
        ended = surefoot("reading", "evaluate", "--model", model, "--data", questions, *more)
        assert (ended.code, ended.out) == (2, "")
        assert message in ended.err
    ended = surefoot("reading", "evaluate", "--model", "sliding-window", "--data", questions, "--sample", 0)
    assert "n is 0: there are 4 questions to draw from." in ended.err
    kept = [path for path in Path.cwd().rglob("*") if path.is_file()]
    assert not any(b"s3cret" in path.read_bytes() for path in kept)


@pytest.mark.parametrize(
    ("model", "message"),
    [("nothing", "nothing is no model"), (".", "config.json cannot be read"), ("none.json", "does not exist")],
)
def test_what_is_no_reader_is_said(surefoot, questions: Path, model: str, message: str) -> None:  # type: ignore[no-untyped-def]
    ended = surefoot("reading", "evaluate", "--model", model, "--data", questions)
    assert ended.code == 2
    assert message in ended.err
    assert "Traceback" not in ended.err
