"""Texts come from public packages, in parts that share no document and no page of one."""

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from surefoot.core import Step, Store, StoredInputs, SurefootError
from surefoot.language import TEXT_STYLES, TextSet, read_texts
from surefoot.language._texts._styles import _distinct, _shingles, cut
from surefoot.registry import fetch

PARTS = ("train", "validation", "test")
Made = Callable[[Step], Path]
LICENCES = TextSet(style="licence", part="test", excerpts=30)


def documents_in(directory: Path) -> set[str]:
    return {row["document"] for row in read_texts(directory)}


@pytest.mark.parametrize("style", list(TEXT_STYLES))
def test_the_parts_of_a_style_share_no_document(style: str, made: Made) -> None:
    train, validation, test = (documents_in(made(TextSet(style=style, part=part))) for part in PARTS)
    assert not train & validation
    assert not train & test
    assert not validation & test
    together = len(train | validation | test)
    assert len(train) == pytest.approx(0.6 * together, abs=0.04 * together + 1)
    assert min(len(validation), len(test)) >= 10


def test_no_licence_is_a_near_duplicate_of_one_in_another_part(made: Made) -> None:
    texts = {part: read_texts(made(TextSet(style="licence", part=part))) for part in PARTS}
    train = {shingle for row in texts["train"] for shingle in _shingles(row["text"])}
    for row in texts["test"]:
        own = set(_shingles(row["text"]))
        assert len(own & train) <= 0.5 * len(own) + 20, row["id"]
    assert len({row["document"] for rows in texts.values() for row in rows}) > 100


def test_a_document_that_repeats_another_is_left_out() -> None:
    words = [f"word{at}" for at in range(100)]
    texts = {"one": " ".join(words), "same, but for one word": " ".join(["other", *words[1:]]), "other": "b " * 50}
    assert len(_distinct(texts)) == 2
    assert "other" in _distinct(texts)


def test_every_text_is_what_its_style_says() -> None:
    read = {name: style.read(fetch(style.package)) for name, style in TEXT_STYLES.items()}
    assert len(read["scripture"]) == 66
    assert read["scripture"]["Genesis"].startswith("In the beginning God created the heaven and the earth.")
    assert "Jesus wept." in read["scripture"]["John"]
    assert read["scripture"]["Revelation"].rstrip().endswith("be with you all. Amen.")
    assert len(read["novel"]) == 135
    assert read["novel"]["chapter_1"].startswith("Call me Ishmael.")
    assert "without warranty of any kind" in read["licence"]["MIT"].lower()
    assert read["code"]["networkx/algorithms/bridges.py"].count("def ") >= 3
    assert not any("/tests/" in name for name in read["code"])
    years = [int(name[:4]) for name in read["address"]]
    assert (min(years), max(years)) == (1946, 2021)


def test_excerpts_are_cut_from_their_document_and_credited(made: Made) -> None:
    directory = made(LICENCES)
    source = TEXT_STYLES["licence"]
    whole = source.read(fetch(source.package))
    rows = read_texts(directory)
    assert len(rows) == len({row["id"] for row in rows}) == 30
    for row in rows:
        assert row["text"] in whole[row["document"]]
        assert 200 <= len(row["text"]) <= LICENCES.characters
    (credit,) = json.loads((directory / "credit.json").read_text())
    assert credit["licence"] == "CC0-1.0 (list)"
    assert credit["package"] == "spdx-license-list 6.12.0"


def test_each_document_is_drawn_once_before_any_is_drawn_twice(made: Made) -> None:
    assert len(documents_in(made(LICENCES))) == 30


def test_a_larger_set_of_one_seed_contains_a_smaller_one_and_another_seed_is_another(made: Made) -> None:
    small, large = read_texts(made(LICENCES)), read_texts(made(replace(LICENCES, excerpts=60)))
    assert large[:30] == small
    assert read_texts(made(replace(LICENCES, seed=1))) != small


def test_another_split_puts_other_documents_into_a_part(made: Made) -> None:
    assert documents_in(made(replace(LICENCES, excerpts=None))) != documents_in(
        made(replace(LICENCES, excerpts=None, split_seed=1))
    )


@given(st.text(alphabet="ab \n", max_size=400), st.integers(4, 60))
def test_cuts_lose_no_character_but_blanks_and_the_rest(text: str, characters: int) -> None:
    pieces = cut(text, characters)
    assert all(piece.strip() and len(piece) <= characters for piece in pieces)
    letters = re.sub(r"\s", "", text)
    found = re.sub(r"\s", "", "".join(pieces))
    assert letters.startswith(found)
    assert len(letters) - len(found) <= characters / 2


def test_cuts_end_where_a_line_does_else_a_word() -> None:
    assert cut("one two\nthree four five", 12) == ["one two", "three four"]
    assert cut("x" * 25, 10) == ["x" * 10, "x" * 10, "x" * 5]


@pytest.mark.parametrize(
    ("step", "message"),
    [
        (TextSet(style="gossip", part="train"), "no style of text 'gossip': choose from scripture, "),
        (
            TextSet(style="licence", part="test", excerpts=99999),
            r"the test part of 'licence' has \d+ of 512 characters",
        ),
        (TextSet(style="licence", part="test", excerpts=0), "choose from 1 to"),
        (TextSet(style="licence", part="test", characters=0), "characters is 0: it must be at least 16"),
    ],
)
def test_what_cannot_be_drawn_is_said(step: TextSet, message: str, tmp_path: Path) -> None:
    with pytest.raises(SurefootError, match=message):
        step.make(tmp_path, StoredInputs(Store(tmp_path / "store")))


def test_texts_of_the_user_may_be_a_plain_list(tmp_path: Path) -> None:
    (tmp_path / "texts.json").write_text('["mine", "and mine"]')
    rows = read_texts(tmp_path)
    assert [row["text"] for row in rows] == ["mine", "and mine"]
    assert [row["document"] for row in rows] == ["0", "1"]


@pytest.mark.parametrize("content", ["{", '[{"id": "a"}]', "[1]"])
def test_a_file_that_holds_no_texts_is_refused(content: str, tmp_path: Path) -> None:
    with pytest.raises(SurefootError, match="holds no texts"):
        read_texts(tmp_path)
    (tmp_path / "texts.json").write_text(content)
    with pytest.raises(SurefootError, match=r"texts\.json must be a list of texts"):
        read_texts(tmp_path)
