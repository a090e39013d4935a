"""Words over pictures: the right one or a wrong one, on as many pictures as asked, and nothing else is changed."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from surefoot.contrastive import Drawings, DrawnTask, Typographic
from surefoot.core import Step, Store, StoredInputs, SurefootError

Made = Callable[[Step], Path]


def rows(directory: Path, name: str) -> list[Any]:
    return json.loads((directory / f"{name}.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def task(drawn: dict[str, Drawings]) -> DrawnTask:
    return DrawnTask(drawings=(drawn["emojione"],), groups=("food-drink",), part="all", least=1)


def test_a_wrong_word_names_another_class_than_the_one_shown(made: Made, task: DrawnTask) -> None:
    plain, attacked = made(task), made(Typographic(data=task, word="wrong"))
    labels, attacks = np.load(attacked / "labels.npy"), np.load(attacked / "attacks.npy")
    assert np.array_equal(labels, np.load(plain / "labels.npy"))
    assert (attacks != labels).all()
    keys = rows(attacked, "class_keys")
    assert [keys[attack].rpartition("-")[2].upper() for attack in attacks] == rows(attacked, "words")
    before, after = (np.load(place / "images.npy") for place in (plain, attacked))
    assert all((one != other).any() for one, other in zip(before, after, strict=True))
    strips = [np.flatnonzero((one != other).any(axis=(1, 2))) for one, other in zip(before, after, strict=True)]
    half = before.shape[1] // 2
    assert all(changed.max() < half or changed.min() >= half for changed in strips)  # at the top or the bottom


def test_the_right_word_is_written_on_about_the_share_asked_for(made: Made, task: DrawnTask) -> None:
    place = made(Typographic(data=task, word="right", share=0.5))
    words, items = rows(place, "words"), rows(place, "items")
    written = [row for row, word in enumerate(words) if word]
    assert 0.3 < len(written) / len(words) < 0.7
    assert all(words[row] == items[row]["subgroup"].rpartition("-")[2].upper() for row in written)
    before, after = np.load(made(task) / "images.npy"), np.load(place / "images.npy")
    assert all(np.array_equal(before[row], after[row]) for row, word in enumerate(words) if not word)


def test_with_few_letters_they_are_larger_and_drawings_can_be_erased(made: Made, task: DrawnTask) -> None:
    short = made(Typographic(data=task, word="right", letters=3, largest=12, erased=1.0))
    assert all(1 <= len(word) <= 3 for word in rows(short, "words"))
    images = np.load(short / "images.npy")
    assert (np.abs(images.astype(int) - images[..., :1]) == 0).all()  # black and grey on white: nothing is in colour
    ink = (images[..., 0] < 128).any(axis=2).sum(axis=1)
    long = np.load(made(Typographic(data=task, word="right", largest=12, erased=1.0)) / "images.npy")
    assert ink.mean() > (long[..., 0] < 128).any(axis=2).sum(axis=1).mean()


def test_the_seed_decides_the_words(made: Made, task: DrawnTask) -> None:
    first, second = (rows(made(Typographic(data=task, word="wrong", seed=seed)), "words") for seed in (0, 1))
    assert first != second


def test_a_share_out_of_range_is_refused(task: DrawnTask, store: Store, tmp_path: Path) -> None:
    with pytest.raises(SurefootError, match="share is 0"):
        list(Typographic(data=task, word="wrong", share=0.0).make(tmp_path, StoredInputs(store)))


@pytest.mark.parametrize("fields", [{"erased": 1.5}, {"letters": 0}, {"largest": 3}])
def test_letters_that_cannot_be_written_are_refused(
    task: DrawnTask, store: Store, tmp_path: Path, fields: dict[str, Any]
) -> None:
    with pytest.raises(SurefootError, match=next(iter(fields))):
        list(Typographic(data=task, word="wrong", **fields).make(tmp_path, StoredInputs(store)))
