"""Drawings, TrainingPairs and ClassificationSet: what they write, and that no held-out concept is ever trained on."""

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from surefoot.contrastive import (
    EMOJIBASE,
    ClassificationSet,
    Drawings,
    TrainingPairs,
    load_images,
    read_captions,
    read_items,
)
from surefoot.contrastive._drawn._concepts import Emoji, names_and_keywords, read_emoji
from surefoot.contrastive._drawn._split import held_out_concepts
from surefoot.core import Step, Store, StoredInputs, SurefootError, from_spec, to_spec
from surefoot.registry import fetch

Made = Callable[[Step], Path]
Drawn = dict[str, Drawings]
SIZE = 24


def rows(directory: Path, name: str = "items") -> list[Any]:
    return json.loads((directory / f"{name}.json").read_text(encoding="utf-8"))


def failure(step: Step, store: Store, tmp_path: Path) -> str:

    with pytest.raises(SurefootError) as caught:
        step.make(tmp_path, StoredInputs(store))
    return str(caught.value)


def test_drawings_are_pictures_with_what_they_show(made: Made, drawn: Drawn, store: Store) -> None:
    step = drawn["emojione"]
    out = made(step)
    images, items = np.load(out / "images.npy"), rows(out)
    assert images.shape == (1834, SIZE, SIZE, 3)
    assert images.dtype == np.uint8
    assert len(items) == 1834
    assert rows(out, "refused") == []
    assert {item["style"] for item in items} == {"emojione"}
    assert {m.metric: m.value for m in store.measurements(step)} == {"pictures": 1834, "concepts": 1320, "refused": 0}
    apple = next(item for item in items if item["hexcode"] == "1F34E")
    assert apple == {
        "name": "red-apple",
        "style": "emojione",
        "hexcode": "1F34E",
        "concept": "1F34E",
        "label": "red apple",
        "tags": apple["tags"],
        "group": "food-drink",
        "subgroup": "food-fruit",
        "variant": False,
    }
    red, green, blue = images[items.index(apple)].reshape(-1, 3).astype(int).T
    assert (red > green + 60).mean() > 0.3
    assert (red >= blue).mean() > 0.9
    assert [row["licence"] for row in rows(out, "credit")] == ["CC-BY-4.0"]


def test_a_code_point_belongs_to_one_drawing_of_a_style(made: Made, drawn: Drawn) -> None:
    for step in drawn.values():
        codes = Counter(item["hexcode"] for item in rows(made(step)) if item["hexcode"])
        assert codes.most_common(1)[0][1] == 1


def test_the_same_drawings_come_out_every_time(made: Made, drawn: Drawn, tmp_path: Path, store: Store) -> None:

    step = drawn["emojione-monotone"]
    step.make(tmp_path, StoredInputs(store))
    for name in ("images.npy", "items.json", "credit.json", "refused.json"):
        assert (tmp_path / name).read_bytes() == (made(step) / name).read_bytes()


@pytest.mark.parametrize("split_seed", [0, 7])
@pytest.mark.parametrize("variants", [True, False])
def test_no_held_out_concept_nor_a_variant_of_one_is_trained_on(
    split_seed: int, variants: bool, made: Made, drawn: Drawn, emoji: dict[str, Emoji]
) -> None:
    pairs = TrainingPairs(drawings=tuple(drawn.values()), split_seed=split_seed, variants=variants)
    trained = rows(made(pairs))
    held_out = held_out_concepts(emoji, 320, split_seed)
    assert not held_out & {item["concept"] for item in trained}
    assert not held_out & {emoji[item["hexcode"]].concept for item in trained}
    for source in drawn.values():
        step = ClassificationSet(drawings=source, split_seed=split_seed, variants=True)
        tested = rows(made(step))
        assert {item["concept"] for item in tested} <= held_out
        assert not {item["concept"] for item in tested} & {item["concept"] for item in trained}
        assert not {item["label"] for item in tested} & {item["label"] for item in trained}


def test_everything_that_may_be_trained_on_is_taken_without_a_limit(
    made: Made, drawn: Drawn, emoji: dict[str, Emoji]
) -> None:
    source = drawn["emojione"]
    held_out = held_out_concepts(emoji, 320, 0)
    known = [item for item in rows(made(source)) if item["concept"] and item["concept"] not in held_out]
    pairs = made(TrainingPairs(drawings=(source,)))
    assert rows(pairs) == known
    assert len(rows(pairs, "captions")) == len(known) == len(np.load(pairs / "images.npy"))
    originals = np.load(made(source) / "images.npy")
    place = {item["name"]: index for index, item in enumerate(rows(made(source)))}
    assert (np.load(pairs / "images.npy")[100] == originals[place[known[100]["name"]]]).all()


def test_a_limit_takes_equal_shares_and_larger_limits_contain_smaller(made: Made, drawn: Drawn) -> None:
    sources = tuple(drawn.values())
    small, large = (rows(made(TrainingPairs(drawings=sources, limit=limit))) for limit in (100, 400))
    assert sorted(Counter(item["style"] for item in small).values()) == [33, 33, 34]
    assert len(large) == 400
    keys = [{(item["style"], item["hexcode"]) for item in items} for items in (small, large)]
    assert keys[0] < keys[1]
    other = rows(made(TrainingPairs(drawings=sources, limit=100, seed=1)))
    assert {(item["style"], item["hexcode"]) for item in other} != keys[0]


def test_shared_concepts_are_those_that_every_source_draws(made: Made, drawn: Drawn) -> None:
    sources = (drawn["emojione"], drawn["fluent-emoji-high-contrast"])
    items = rows(made(TrainingPairs(drawings=sources, concepts="shared", variants=False)))
    by_style = {step.style: {item["concept"] for item in items if item["style"] == step.style} for step in sources}
    union = by_style["emojione"] | by_style["fluent-emoji-high-contrast"]
    both = by_style["emojione"] & by_style["fluent-emoji-high-contrast"]
    assert len(both) > 0.97 * len(union)
    assert not any(item["variant"] for item in items)


def test_captions_are_in_the_language_that_was_asked_for(made: Made, drawn: Drawn) -> None:
    pairs = made(TrainingPairs(drawings=(drawn["emojione-monotone"],), limit=200, locale="de"))
    texts = [caption for captions in rows(pairs, "captions") for caption in captions]
    assert any("ä" in text or "ü" in text for text in texts)
    assert all(captions and all(captions) for captions in rows(pairs, "captions"))


def test_a_share_that_a_source_cannot_give_is_refused(store: Store, drawn: Drawn, tmp_path: Path) -> None:
    pairs = TrainingPairs(drawings=tuple(drawn.values()), limit=30_000)
    message = failure(pairs, store, tmp_path)
    assert "each of 3 sources must give 10000 pictures, but emojione has" in message
    assert "The most that can be asked for is" in message


def test_sources_of_two_sizes_or_none_are_refused(store: Store, drawn: Drawn, tmp_path: Path) -> None:
    mixed = (drawn["emojione"], Drawings(style="emojione", size=48))
    for drawings in (mixed, ()):
        assert "all of one size" in failure(TrainingPairs(drawings=drawings), store, tmp_path)


def test_an_unknown_style_or_size_is_refused(store: Store, tmp_path: Path) -> None:
    assert "There is no drawing style 'nope'. There are: noto, noto-v1" in failure(
        Drawings(style="nope"), store, tmp_path
    )
    assert "size is 4" in failure(Drawings(style="emojione", size=4), store, tmp_path)


@pytest.mark.parametrize(("labels", "count"), [("subgroup", 40), ("concept", 320)])
def test_classes_are_the_same_in_every_style(labels: Any, count: int, made: Made, drawn: Drawn) -> None:
    sets = [made(ClassificationSet(drawings=step, labels=labels)) for step in drawn.values()]
    assert len({json.dumps(rows(out, "classes")) for out in sets}) == 1
    for out in sets:
        items, keys = rows(out), rows(out, "class_keys")
        numbers = np.load(out / "labels.npy")
        assert len(keys) == len(rows(out, "classes")) == count
        assert numbers.dtype == np.int64
        assert [keys[number] for number in numbers] == [item[labels] for item in items]
        assert len(np.load(out / "images.npy")) == len(items) == len(set(rows(out, "ids")))
        assert not any(item["variant"] for item in items)


def test_styles_are_paired_by_the_ids_of_their_examples(made: Made, drawn: Drawn) -> None:
    colour, lines = (made(ClassificationSet(drawings=drawn[name])) for name in ("emojione", "emojione-monotone"))
    labels = [dict(zip(rows(out, "ids"), np.load(out / "labels.npy").tolist(), strict=True)) for out in (colour, lines)]
    common = labels[0].keys() & labels[1].keys()
    assert len(common) > 230
    assert all(labels[0][name] == labels[1][name] for name in common)


def test_held_out_concepts_are_named_one_by_one(made: Made, drawn: Drawn, emoji: dict[str, Emoji]) -> None:
    out = made(ClassificationSet(drawings=drawn["emojione"], labels="concept"))
    names = rows(out, "classes")
    assert [names[number] for number in np.load(out / "labels.npy")] == [item["label"] for item in rows(out)]
    assert {item["concept"] for item in rows(out)} <= held_out_concepts(emoji, 320, 0)


def test_steps_survive_their_description(drawn: Drawn) -> None:
    pairs = TrainingPairs(drawings=tuple(drawn.values()), limit=100, locale="de")
    for step in (pairs, ClassificationSet(drawings=drawn["emojione"], held_out=300)):
        assert from_spec(json.loads(json.dumps(to_spec(step)))) == step
        assert from_spec(to_spec(step)).key == step.key
    assert pairs.kind == "surefoot.contrastive.TrainingPairs"


def test_pictures_can_be_loaded(made: Made, drawn: Drawn) -> None:
    out = made(ClassificationSet(drawings=drawn["emojione"]))
    images = load_images(out, [3, 1])
    assert [image.size for image in images] == [(SIZE, SIZE)] * 2
    assert (np.asarray(images[0]) == np.load(out / "images.npy")[3]).all()
    assert len(load_images(out)) == len(rows(out))


def test_held_out_things_have_their_names_and_keywords_in_each_language(
    made: Callable[[Step], Path], drawn: dict[str, Drawings]
) -> None:
    steps = {
        locale: TrainingPairs(drawings=(drawn["emojione"],), concepts="held-out", variants=False, locale=locale)
        for locale in ("en", "de")
    }
    captions = {locale: read_captions(made(step)) for locale, step in steps.items()}
    items = read_items(made(steps["de"]))
    trained = read_items(made(TrainingPairs(drawings=(drawn["emojione"],), variants=False)))
    assert not {item["concept"] for item in items} & {item["concept"] for item in trained}
    assert len(captions["en"]) == len(captions["de"]) == len(items) > 200
    row = next(row for row, texts in enumerate(captions["en"]) if texts[0] == items[row]["label"])
    assert captions["de"][row][0] != captions["en"][row][0]
    for locale in ("en", "de", "fr", "es", "it", "pt", "pl", "ru", "ja", "zh"):
        emoji = read_emoji(fetch(EMOJIBASE), locale)
        told = [names_and_keywords(emoji[item["hexcode"]]) for item in items]
        assert all(1 <= len(texts) <= 2 and all(texts) for texts in told)
        assert len({texts[0] for texts in told}) > 0.95 * len(told)
