"""Questions and predictions out of files: formats told by content, hostile ones refused in one sentence."""

import gzip
import json
import os
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from threading import Thread
from typing import Any

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import surefoot.language._unpacked as limits
from surefoot.core import Step, Store, SurefootError
from surefoot.language import (
    NOWHERE,
    PredictionFile,
    Predictions,
    Question,
    QuestionFile,
    QuestionSample,
    ReadingScores,
    count_questions,
    question_part,
    read_predictions,
    read_question_file,
    read_questions,
    write_predictions,
    write_questions,
)

ROOT = os.environ.get("SUREFOOT_DATA")
FOLDER = Path(ROOT or "") / "reading"
Made = Callable[[Step], Path]


def squad(*qas: dict[str, Any], title: str = "Cats", context: str = "The cat sat on the mat.") -> dict[str, Any]:
    return {"version": "1.1", "data": [{"title": title, "paragraphs": [{"context": context, "qas": list(qas)}]}]}


def qa(name: Any = "q1", *answers: tuple[Any, Any]) -> dict[str, Any]:
    return {"id": name, "question": "Who?", "answers": [{"text": text, "answer_start": at} for text, at in answers]}


def written(folder: Path, told: Any, name: str = "questions.bin") -> Path:
    path = folder / name
    path.write_text(told if isinstance(told, str) else json.dumps(told), encoding="utf-8")
    return path


def test_an_answer_that_is_not_where_it_should_be_is_kept_and_counted(tmp_path: Path) -> None:
    told = squad(qa("q1", ("cat", 4), ("cat", 5), ("dog", 0), ("mat", -4)), qa("q2", ("dog", 0)), qa("q3"))
    questions = read_questions(written(tmp_path, told))
    assert questions[0].answers == ("cat", "cat", "dog", "mat")
    assert questions[0].starts == (4, NOWHERE, NOWHERE, NOWHERE)
    counts = count_questions(questions)
    assert [counts[name] for name in ("answers", "nowhere", "untrainable", "unanswerable")] == [5, 4, 1, 1]
    write_questions(tmp_path, questions)
    assert read_questions(tmp_path) == questions


ASKED = {"qid": "t1", "question": "Who?", "answers": ["cat", "the cat", "dog"]}
SPANS = [{"text": "Cat", "char_spans": [[21, 23]], "token_spans": [[4, 4]]}]
LINES = (
    {"header": {"dataset": "TriviaQA", "split": "dev"}},
    {"context": "[TLE] Cats [PAR] The Cat sat.", "qas": [ASKED | {"detected_answers": SPANS}]},
    {"context": "Rain.", "qas": [{"id": "t2", "question": "What?", "answers": ["Rain"]}], "context_tokens": []},
)
MRQA = "\n".join(map(json.dumps, LINES)) + "\n"
GOLD = {
    "question": "who sat",
    "answers": ["cat", "Cat"],
    "ctxs": [{"title": "C", "text": "The cat sat."}, {"text": ""}],
}


def test_lines_of_mrqa_and_of_natural_questions_are_told_by_content(tmp_path: Path) -> None:
    packed = tmp_path / "dev.txt"
    packed.write_bytes(gzip.compress(MRQA.encode()))
    form, (first, second) = read_question_file(packed)
    assert (form, first.id, second.id) == ("mrqa", "t1", "t2")
    assert first.answers == ("Cat", "the cat", "dog")  # as the paragraph spells it: its capitals change no score
    assert (first.starts, first.context[21:24]) == ((21, NOWHERE, NOWHERE), "Cat")
    assert first.article != second.article
    form, (only,) = read_question_file(written(tmp_path, json.dumps(GOLD) + "\n"))
    assert (form, only.starts, only.article, len(only.id)) == ("gold-paragraph", (4, NOWHERE), "C", 20)
    marked = GOLD | {"ctxs": [{"text": "A dog.", "isgold": False}, GOLD["ctxs"][0] | {"isgold": True}]}
    assert read_questions(written(tmp_path, json.dumps(marked) + "\n")) == [only]  # wherever the gold passage stands


ROWS = [
    {"id": "q1", "title": "Cats", "context": "The cat sat.", "question": "Who sat?",
     "answers": {"text": ["cat", "The cat", "dog"], "answer_start": [4, 0, 4]}},
    {"id": "q2", "title": "Rain", "context": "It rained.", "question": "Who?",
     "answers": {"text": [], "answer_start": []}},
]  # fmt: skip


def test_squad_a_question_a_row_is_squad(tmp_path: Path) -> None:
    """As the hub has it: lines, a list, and Parquet hold what the nested file holds."""
    nested = squad(qa("q1", ("cat", 4), ("The cat", 0), ("dog", 4)), context="The cat sat.")
    nested["data"][0]["paragraphs"][0]["qas"][0]["question"] = "Who sat?"
    nested["data"] += squad(qa("q2"), title="Rain", context="It rained.")["data"]
    lines = written(tmp_path, "\n".join(map(json.dumps, ROWS)), "rows.jsonl")
    parquet = tmp_path / "rows.parquet"
    duckdb.sql(f"COPY (SELECT * FROM read_json('{lines}')) TO '{parquet}' (FORMAT parquet)")
    expected = ("squad", read_questions(written(tmp_path, nested)))
    assert [one.starts for one in expected[1]] == [(4, 0, NOWHERE), ()]
    for file in (lines, parquet, written(tmp_path, ROWS, "list.json"), written(tmp_path, json.dumps(ROWS, indent=1))):
        assert read_question_file(file) == expected
    objects = [
        [dict(zip(one["answers"], pair, strict=True)) for pair in zip(*one["answers"].values(), strict=True)]
        for one in ROWS
    ]
    listed = [one | {"answers": told} for one, told in zip(ROWS, objects, strict=True)]
    assert read_question_file(written(tmp_path, listed)) == expected
    untitled = read_questions(written(tmp_path, [one | {"title": None} for one in ROWS]))  # Parquet leaves nothing out
    assert [one.article for one in untitled] == [one.paragraph for one in expected[1]]
    short = [ROWS[0] | {"answers": {"text": ["cat"], "answer_start": []}}]
    with pytest.raises(SurefootError, match="row 1, question 'q1': 'answers' has 1 texts and 0 starts"):
        read_questions(written(tmp_path, short))


def test_one_title_for_all_paragraphs_says_nothing_of_what_belongs_together(tmp_path: Path) -> None:
    told = squad(qa("q1"), title="Comments")
    told["data"][0]["paragraphs"].append({"context": "Another.", "qas": [qa("q2"), qa("q3")]})
    first, second, third = read_questions(written(tmp_path, told))
    assert first.article.startswith("Comments/")
    assert first.article != second.article == third.article
    write_questions(tmp_path, [second, third])
    assert read_questions(tmp_path) == [second, third]


def test_one_article_of_a_file_keeps_its_title_when_it_is_written_alone(tmp_path: Path) -> None:
    """What we wrote is known by its mark: one title there is one article, unlike in a stranger's file."""
    told = squad(qa("q1"), title="Cats")
    told["data"][0]["paragraphs"].append({"context": "Another.", "qas": [qa("q2")]})
    told["data"] += squad(qa("q3"), title="Dogs", context="A dog.")["data"]
    cats = [one for one in read_questions(written(tmp_path, told)) if one.article == "Cats"]
    assert len({one.paragraph for one in cats}) == 2
    write_questions(tmp_path, cats)
    assert read_questions(tmp_path) == cats


@pytest.mark.skipif(not ROOT, reason="SUREFOOT_DATA is not set")
@pytest.mark.parametrize(
    ("name", "counts"),
    [
        ("squad_v1.1_dev.json.gz", (10570, 48, 2067, 10570, 0, 34726, 0, 0)),
        ("squad_v2.0_dev.json.gz", (11873, 35, 1204, 5928, 5945, 20302, 0, 0)),
        ("squadshifts_reddit_v1.0.json.gz", (9803, 2033, 2033, 9803, 0, 27692, 0, 0)),
        ("xquad.en.json.gz", (1190, 48, 240, 1190, 0, 1190, 0, 0)),
        ("nq_gold_paragraph.jsonl.gz", (2655, 2467, 2600, 2655, 0, 4654, 549, 0)),
    ],
)
def test_real_files_hold_what_their_makers_say(name: str, counts: tuple[int, ...]) -> None:
    found = count_questions(read_questions(FOLDER / name))
    assert tuple(found.values()) == counts


HOSTILE = [
    ("", "is empty"),
    ("[1]", "row 1 must be an object, not a number"),
    ("{", "is not JSON that can be read"),
    ('{"data": NaN}', "it holds NaN, which is no number of JSON"),
    ('{"data": 3}', "'data' must be a list, not a number"),
    ("[" * 100_000, "is nested too deeply"),
    ('{"version": "1"}', "is in no format that I know"),
    ('{"data": [], "data": []}', "the name 'data' twice"),
    ('{"data": []}', "holds no questions"),
    ([{"qid": "q1", "context": "A cat.", "question": "?", "answers": ["cat"]}], "rows with 'id', 'context'"),
    ([ROWS[0], ROWS[1] | {"answers": None}], "row 2, question 'q2': 'answers' must be an object, not missing"),
    ([ROWS[0], ROWS[1] | {"answers": ["cat"]}], "row 2, question 'q2': an answer must be an object, not text"),
    (squad(qa("q1"), qa("q1")), "the question 'q1' stands twice, in 'Cats'"),
    (squad(qa(7)), r"article 1 \('Cats'\), paragraph 1: the id of a question must be text, not a number"),
    (squad(qa("q1", (None, 0))), "question 'q1': the text of an answer must be text, not missing"),
    (squad(qa("q1", ("cat", "4"))), "question 'q1': 'answer_start' must be a whole number, not text"),
    (squad(qa("q1", ("cat", True))), "must be a whole number, not true or false"),
    (squad(qa("q1", ("cat", 4.5))), "must be a whole number, not 4.5"),
    (squad(qa("q1", ("cat", 4.0))), "must be a whole number, not 4.0"),
    (squad(qa("q1", ("cat", 1e400)) | {}), "it holds Infinity"),
    (squad({"id": "q1", "question": "?"}), "question 'q1': 'answers' must be a list, not missing"),
    (squad(qa("q1"), context="\ud800"), "half of a surrogate pair"),
    (json.dumps(GOLD) + "\n{\n", "line 2 is not JSON"),
    (json.dumps(GOLD | {"ctxs": []}), "has no passage"),
    *((MRQA.replace("[21, 23]", f"[21, {end}]"), "does not lie in its paragraph") for end in (29, 99)),
    (json.dumps(GOLD | {"ctxs": [GOLD["ctxs"][0] | {"isgold": "False"}]}) + "\n", "'isgold' must be true or false"),
]


@pytest.mark.parametrize(("told", "message"), HOSTILE)
def test_a_file_that_is_no_question_file_is_refused_in_a_sentence(told: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(SurefootError, match=message):
        read_questions(written(tmp_path, told))


def test_files_are_limited_before_and_after_unpacking(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bomb, cut = tmp_path / "bomb.gz", tmp_path / "cut.gz"
    bomb.write_bytes(gzip.compress(b" " * 100_000))
    cut.write_bytes(gzip.compress(os.urandom(1000))[:200])
    monkeypatch.setattr(limits, "LARGEST_UNPACKED", 1 << 16)
    with pytest.raises(SurefootError, match="unpacks to more than the limit"):
        read_questions(bomb)
    with pytest.raises(SurefootError, match=r"cut\.gz cannot be read"):
        read_questions(cut)
    monkeypatch.setattr(limits, "LARGEST_FILE", 10)
    with pytest.raises(SurefootError, match="larger than the limit"):
        read_questions(bomb)
    with pytest.raises(SurefootError, match="There is no file"):
        read_questions(tmp_path / "nothing.json")


def test_a_bomb_is_never_unpacked_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "LARGEST_UNPACKED", 1 << 16)
    bomb = tmp_path / "bomb.gz"
    bomb.write_bytes(gzip.compress(bytes(32 << 20), compresslevel=1))
    tracemalloc.start()
    with pytest.raises(SurefootError, match="unpacks to more than the limit"):
        read_questions(bomb)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 4 << 20


@settings(max_examples=8, deadline=None)
@given(st.dictionaries(st.text(max_size=5), st.text(max_size=8), min_size=1, max_size=5))
def test_predictions_come_back_as_they_were_written(tmp_path_factory: pytest.TempPathFactory, answers: Any) -> None:
    folder = tmp_path_factory.mktemp("predictions")
    told = Predictions(answers, dict.fromkeys(list(answers)[:1], 0.25))
    write_predictions(folder, told)
    assert read_predictions(folder) == told
    assert read_predictions(written(folder, answers)) == Predictions(answers)


def test_predictions_are_read_from_every_form_that_is_common(tmp_path: Path) -> None:
    wanted = Predictions({"a": "cat", "b": ""}, {"b": 0.5})
    rows = [{"id": "a", "answer": "cat"}, {"id": "b", "prediction_text": "", "no_answer_probability": 0.5}]
    assert read_predictions(written(tmp_path, rows)) == wanted
    assert read_predictions(written(tmp_path, "\n".join(map(json.dumps, rows)))) == wanted
    assert read_predictions(written(tmp_path, json.dumps(rows[1]))) == Predictions({"b": ""}, {"b": 0.5})
    table = "(VALUES ('a', 'cat', NULL), ('b', '', 0.5)) t(id, answer, no_answer)"
    duckdb.sql(f"COPY (SELECT id, answer, no_answer::DOUBLE AS no_answer FROM {table}) TO '{tmp_path}/p[1].parquet'")
    assert read_predictions(tmp_path / "p[1].parquet") == wanted
    duckdb.sql(
        f"COPY (SELECT id, answer, no_answer::DECIMAL(3, 1) AS no_answer FROM {table}) TO '{tmp_path}/d.parquet'"
    )
    assert read_predictions(tmp_path / "d.parquet") == wanted
    named = tmp_path / "prediction=other" / "answers.parquet"  # the name of a folder is no column
    named.parent.mkdir()
    assert read_predictions((tmp_path / "d.parquet").rename(named)) == wanted


def test_a_pipe_is_read_like_a_file(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = Thread(target=pipe.write_bytes, args=(gzip.compress(b'{"a": "cat"}'),))
    writer.start()
    assert read_predictions(pipe) == Predictions({"a": "cat"})
    writer.join()


@pytest.mark.parametrize(
    ("told", "message"),
    [
        ({"a": None}, "question 'a': the answer must be text, not missing"),
        ('{"a": "x", "a": "y"}', "the name 'a' twice"),
        ([{"id": "a", "answer": "x"}, {"id": "a", "answer": "y"}], "the question 'a' is answered twice"),
        ([{"id": "a", "answer": "x", "no_answer": "high"}], "'no_answer' must be a finite number"),
        ([{"id": "a", "answer": "x", "no_answer": 10**400}], "'no_answer' must be a finite number"),
        ('{"data": [\n{"title": ""}]}', "holds questions, where predictions should be"),
        ([{"answer": "x"}], "prediction 1: 'id' must be text, not missing"),
        ([{"id": "a", "answer": "gold", "prediction": "x"}], "'a' has 'answer' and 'prediction': keep only"),
        ([{"id": "a", "answer": "gold", "prediction_text": None}], "'a' has 'answer' and 'prediction_text': keep only"),
        ("PAR1 but no more", "is no Parquet file that can be read"),
    ],
)
def test_predictions_that_are_none_are_refused_in_a_sentence(told: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(SurefootError, match=message):
        read_predictions(written(tmp_path, told))


def many(articles: int) -> list[Question]:
    return [
        Question(f"{a}-{n}", "Who?", f"Cat {a}.", ("Cat",), (0,), f"A{a}", f"p{a}")
        for a in range(articles)
        for n in range(3)
    ]


def test_an_article_is_on_one_side_whatever_file_it_is_in() -> None:
    questions = many(60)
    train, held = question_part(questions, "train"), question_part(questions, "held-out")
    assert sorted(one.id for one in train + held) == sorted(one.id for one in questions)
    assert not {one.article for one in train} & {one.article for one in held}
    assert 4 <= len(held) / 3 <= 22
    assert question_part(questions[90:], "held-out") == [one for one in held if one in questions[90:]]
    assert question_part(questions, "held-out", split_seed=1) != held
    with pytest.raises(SurefootError, match="has no article"):
        question_part(questions[:3], "train" if questions[0] in held else "held-out")


def test_steps_pin_their_files_draw_alike_and_score(tmp_path: Path, made: Made, store: Store) -> None:
    write_questions(tmp_path, many(20))
    answers = written(tmp_path, {one.id: "cat" for one in many(20)}, "answers.json")
    file = QuestionFile(path=str(tmp_path / "questions.json")).pinned()
    small, large = (QuestionSample(questions=file, n=n, seed=3) for n in (10, 20))
    drawn, more = read_questions(made(small)), read_questions(made(large))
    assert (len(drawn), len(more)) == (10, 20)
    assert set(drawn) < set(more)
    assert drawn != read_questions(made(QuestionSample(questions=file, n=10, seed=4)))
    scores = ReadingScores(predictions=PredictionFile(path=str(answers)).pinned(), questions=small, shift="none")
    made(scores)
    told = {one.metric: one.value for one in store.measurements(scores)}
    assert (told["exact_match"], told["missing"], told["extra"]) == (1.0, 0, 50)
    rows = duckdb.read_parquet(str(made(scores) / "examples.parquet"))
    assert {"example", "score", "exact_match", "article", "paragraph", "content"} <= set(rows.columns)
    assert len(rows) == 10
    assert replace_path(file, "/elsewhere").key == file.key
    with pytest.raises(AssertionError, match="n is 1000: there are 60 questions"):
        made(QuestionSample(questions=file, n=1000))


def replace_path(file: QuestionFile, path: str) -> QuestionFile:
    return QuestionFile(path=path, digest=file.digest)
