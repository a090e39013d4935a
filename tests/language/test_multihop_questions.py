"""Questions of several hops from the formats in which the field keeps them, and files that are none of them."""

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from surefoot.core import SurefootError
from surefoot.language import Hop, MultiHopFile, read_multihop, write_multihop

HOTPOT = {
    "_id": "5a",
    "question": "Where was the author of Emma born?",
    "answer": "Steventon",
    "type": "bridge",
    "supporting_facts": [["Emma", 0], ["Jane Austen", 0], ["Jane Austen", 2]],
    "context": [["Emma", ["Emma is by Jane Austen.", " It is a novel."]], ["Jane Austen", ["Born in Steventon."]]],
}
TWO_WIKI = HOTPOT | {"evidences": [["Emma", "author", "Jane Austen"], ["Jane Austen", "place of birth", "Steventon"]]}
MUSIQUE: dict[str, Any] = {
    "id": "2hop__1_2",
    "question": "Where was the author of Emma born?",
    "answer": "Steventon",
    "answer_aliases": ["Steventon, Hampshire"],
    "answerable": True,
    "paragraphs": [
        {"idx": 0, "title": "Emma", "paragraph_text": "Emma is by Jane Austen.", "is_supporting": True},
        {"idx": 1, "title": "Emma", "paragraph_text": "Emma is a name.", "is_supporting": False},
        {"idx": 2, "title": "Jane Austen", "paragraph_text": "Born in Steventon.", "is_supporting": True},
    ],
    "question_decomposition": [
        {"id": 1, "question": "Emma >> author", "answer": "Jane Austen", "paragraph_support_idx": 0},
        {"id": 2, "question": "Where was #1 born? See #9.", "answer": "Steventon", "paragraph_support_idx": 2},
    ],
}
BAMBOOGLE = {"Question": "Q?", "Answer": "b", "Q1": "One?", "A1": ["a"], "Q2": "Two?", "A2": ["b", "bee"]}
OWN = {
    "id": "x",
    "question": "Q?",
    "answers": ["b"],
    "hops": [{"question": "One?", "answers": ["a"], "supports": ["d"]}],
}


def _read(tmp_path: Path, told: object) -> MultiHopFile:
    path = tmp_path / "questions.json"
    lines = isinstance(told, tuple)
    path.write_text("\n".join(map(json.dumps, told)) if lines else json.dumps(told))
    return read_multihop(path)


def test_hotpotqa_gives_supports_and_documents_but_no_hops(tmp_path: Path) -> None:
    found = _read(tmp_path, [HOTPOT])
    (one,) = found.questions
    assert found.format == "hotpotqa"
    assert (one.id, one.answers, one.hops) == ("5a", ("Steventon",), ())
    assert one.supports == ("Emma", "Jane Austen")
    assert one.documents[0].text == "Emma is by Jane Austen. It is a novel."


def test_the_evidences_of_2wiki_are_its_hops(tmp_path: Path) -> None:
    found = _read(tmp_path, [TWO_WIKI])
    assert found.format == "2wikimultihop"
    assert found.questions[0].hops[1] == Hop(
        question="What is the place of birth of Jane Austen?", answers=("Steventon",), supports=("Jane Austen",)
    )


def test_the_references_of_musique_are_replaced_and_what_is_unanswerable_is_left_out_and_counted(
    tmp_path: Path,
) -> None:
    found = _read(tmp_path, (MUSIQUE, MUSIQUE | {"answerable": False}))
    (one,) = found.questions
    assert found.format == "musique"
    assert found.left_out == "1 of 2 questions are left out: they are marked as unanswerable."
    assert one.answers == ("Steventon", "Steventon, Hampshire")
    assert one.hops[1].question == "Where was Jane Austen born? See #9."
    assert len({doc.id for doc in one.documents}) == 3  # two paragraphs of one title stay two
    assert one.hops[0].supports == (one.documents[0].id,)


def test_bamboogle_and_celebrities_give_their_sub_questions(tmp_path: Path) -> None:
    (one,) = _read(tmp_path, [BAMBOOGLE]).questions
    assert one.hops == (Hop(question="One?", answers=("a",)), Hop(question="Two?", answers=("b", "bee")))
    told = {"data": [BAMBOOGLE | {"category": "c", "Answer": [5]}], "canary": "x"}
    found = _read(tmp_path, told)
    assert found.format == "compositional-celebrities"
    assert (found.questions[0].id, found.questions[0].answers) == ("c: Q?", ("5",))


def test_our_own_lines_are_read_as_they_were_written_also_packed(tmp_path: Path) -> None:
    written = _read(tmp_path, [TWO_WIKI]).questions
    path = tmp_path / "own.jsonl"
    write_multihop(path, written)
    assert read_multihop(path).questions == written
    packed = tmp_path / "own.jsonl.gz"
    packed.write_bytes(gzip.compress(path.read_bytes()))
    assert read_multihop(packed).questions == written


def _without(row: dict[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in row.items() if key != name}


@pytest.mark.parametrize(
    ("told", "message"),
    [
        ([], "holds no questions"),
        ({"data": {}}, "'data' must be a list"),
        ([1], "question 1 must be an object, not a number"),
        ([{"a": 1}], r"no format that I know .*has the names a"),
        ([OWN, OWN], "the id 'x' stands there 2 times"),
        ([OWN, OWN | {"id": "y", "answers": []}], "question 2: 'answers' has no answer"),
        ([OWN | {"answers": [" "]}], "question 1: 'answers' has no answer, or an empty one"),
        ([OWN | {"answers": [True]}], "'answers' must be text, not true or false"),
        ([OWN | {"question": " "}], "question 1: 'question' is empty"),
        ([OWN | {"hops": [{"question": "x"}]}], "question 1, hop 1: 'answers' is missing"),
        ([OWN | {"hops": "x"}], "'hops' must be a list, not text"),
        ([OWN | {"id": 7}], "'id' must be text, not a number"),
        ([_without(HOTPOT, "answer")], "question 1: 'answer' is missing"),
        ([HOTPOT | {"context": [["Emma"]]}], "must be a title and a list of sentences"),
        ([HOTPOT | {"supporting_facts": [[]]}], "the title of a supporting fact must be text, not missing"),
        ([TWO_WIKI | {"evidences": [["a", "b"]]}], "an evidence must be subject, relation and object"),
        ((MUSIQUE | {"paragraphs": [{"idx": "0"}]},), "'idx' of a paragraph must be a whole number"),
        ((MUSIQUE | {"answerable": False},), "no question that can be answered"),
    ],
)
def test_what_is_wrong_is_said_with_its_row(tmp_path: Path, told: object, message: str) -> None:
    with pytest.raises(SurefootError, match=message) as caught:
        _read(tmp_path, told)
    assert "questions.json" in str(caught.value)


@pytest.mark.parametrize("data", [b"", b"{", b"\xff\xfe", b"[" * 100_000, b'[{"question": NaN}]', b"null"])
def test_bytes_that_are_no_questions_are_one_error(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "questions.json"
    path.write_bytes(data)
    with pytest.raises(SurefootError):
        read_multihop(path)
    with pytest.raises(SurefootError, match="no file"):
        read_multihop(tmp_path / "nothing.json")
