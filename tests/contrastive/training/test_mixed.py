"""Pairs of several sources: how many of each, and what a judge keeps."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from surefoot.contrastive import MixedPairs, Pretrain, embed_images, embed_texts, load_model
from surefoot.core import Measurement, Step, SurefootError

Made = Callable[[Step], tuple[Path, list[Measurement]]]


def rows_of(place: Path) -> list[tuple[bytes, list[str]]]:
    pictures, captions = np.load(place / "images.npy"), json.loads((place / "captions.json").read_text())
    return list(zip([picture.tobytes() for picture in pictures], captions, strict=True))


def test_each_source_gives_its_count_and_more_of_one_seed_hold_fewer(made: Made, shapes_data: Step) -> None:
    given = rows_of(made(shapes_data)[0])
    few, _ = made(MixedPairs(sources=(shapes_data, shapes_data), counts=(5, 0), seed=3))
    many, told = made(MixedPairs(sources=(shapes_data, shapes_data), counts=(9, 4), seed=3))
    other, _ = made(MixedPairs(sources=(shapes_data,), counts=(5,), seed=4))
    assert [one.value for one in told if one.metric == "pictures"] == [13]
    first, second = rows_of(many)[:9], rows_of(many)[9:]
    assert all(row in given for row in first) and len({row[0] for row in first}) == 9
    assert all(row in first for row in rows_of(few)) and all(row in first for row in second)
    assert rows_of(other) != rows_of(few)
    assert [item["source"] for item in json.loads((many / "items.json").read_text())] == [0] * 9 + [1] * 4


def test_a_judge_keeps_the_pictures_most_similar_to_their_captions(made: Made, shapes_data: Step) -> None:
    judge = Pretrain(data=shapes_data, model="rn-4", samples=64)
    pool = MixedPairs(sources=(shapes_data,), counts=(20,), seed=1)
    kept, told = made(MixedPairs(sources=(shapes_data,), counts=(20,), seed=1, judge=judge, kept=0.3))
    loaded, place = load_model(made(judge)[0]), made(pool)[0]
    pictures, texts = np.load(place / "images.npy"), json.loads((place / "captions.json").read_text())
    images = embed_images(loaded, pictures)
    scores = [float((embed_texts(loaded, said) @ image).mean()) for said, image in zip(texts, images, strict=True)]
    best = sorted(np.argsort(scores)[-6:])
    assert rows_of(kept) == [rows_of(place)[row] for row in best]
    assert {one.metric: one.value for one in told} == {
        "pictures": 6,
        "threshold": pytest.approx(np.sort(scores)[-6], abs=1e-5),
    }


def test_more_pairs_than_there_are_and_no_pairs_are_refused(made: Made, shapes_data: Step) -> None:
    with pytest.raises(SurefootError, match=r"Source 2 of the mixture has .* pairs, not the 99,999 asked for"):
        made(MixedPairs(sources=(shapes_data, shapes_data), counts=(1, 99_999)))
    with pytest.raises(SurefootError, match="needs a count a source"):
        made(MixedPairs(sources=(shapes_data,), counts=(0,)))


def test_a_training_goes_on_with_other_pairs_and_the_words_of_its_start(made: Made, shapes_data: Step) -> None:
    start = Pretrain(data=shapes_data, model="rn-4", samples=64, decay="constant")
    few = MixedPairs(sources=(shapes_data,), counts=(2,))
    then = Pretrain(data=few, model="rn-4", samples=1, start=start, learning_rate=1e-9, decay="cooldown")
    first, last = load_model(made(start)[0]), load_model(made(then)[0])
    assert first.description.vocabulary == last.description.vocabulary
    named = dict(first.model.named_parameters())
    assert all(abs(value - named[name]).max() < 1e-6 for name, value in last.model.named_parameters())
