"""Tasks of drawings: the parts share no drawing, the halves share no class or thing, and labels say what is shown."""

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from surefoot.contrastive import Drawings, DrawnTask
from surefoot.core import Step, Store, StoredInputs, SurefootError

Made = Callable[[Step], Path]
Drawn = dict[str, Drawings]


def rows(directory: Path, name: str = "items") -> list[Any]:
    return json.loads((directory / f"{name}.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def parts(made: Made, drawn: Drawn) -> dict[str, Path]:
    drawings = tuple(drawn.values())
    return {
        part: made(DrawnTask(drawings=drawings, groups=("food-drink",), part=part, least=3))
        for part in ("train", "validation", "test")
    }


def test_every_drawing_is_in_one_part_and_every_thing_in_all(parts: dict[str, Path], drawn: Drawn) -> None:
    drawings = Counter((item["style"], item["name"]) for part in parts.values() for item in rows(part))
    assert set(drawings.values()) == {1}
    things = [{item["hexcode"] for item in rows(part)} for part in parts.values()]
    assert things[0] == things[1] == things[2]
    assert len(drawings) == len(drawn) * len(things[0])  # only things that all three styles draw
    for part in ("validation", "test"):
        assert len(rows(parts[part])) == len(things[0])
        assert {item["style"] for item in rows(parts[part])} == set(drawn)


def test_the_rest_is_all_that_is_not_for_the_test(made: Made, parts: dict[str, Path], drawn: Drawn) -> None:
    rest = made(DrawnTask(drawings=tuple(drawn.values()), groups=("food-drink",), part="rest", least=3))
    assert sorted(rows(rest, "ids")) == sorted(rows(parts["train"], "ids") + rows(parts["validation"], "ids"))


def test_labels_are_the_kinds_of_the_things_shown(parts: dict[str, Path], drawn: Drawn) -> None:
    place = parts["train"]
    keys, labels, items = rows(place, "class_keys"), np.load(place / "labels.npy"), rows(place)
    assert [keys[label] for label in labels] == [item["subgroup"] for item in items]
    assert rows(place, "classes")[keys.index("food-fruit")] == "food, fruit"
    assert rows(place, "ids") == [f"{item['style']}:{item['hexcode']}" for item in items]
    assert not any(item["variant"] for item in items)
    item = items[7]
    source = next(step for step in drawn.values() if step.style == item["style"])
    assert np.load(place / "images.npy").shape == (len(items), source.size, source.size, 3)


def test_pictures_are_those_of_their_items(made: Made, parts: dict[str, Path], drawn: Drawn) -> None:
    images, items = np.load(parts["test"] / "images.npy"), rows(parts["test"])
    for place in (0, len(items) // 2, -1):
        source = made(drawn[items[place]["style"]])
        names = [item["name"] for item in rows(source)]
        assert np.array_equal(images[place], np.load(source / "images.npy")[names.index(items[place]["name"])])


def test_another_seed_splits_in_another_way(made: Made, parts: dict[str, Path], drawn: Drawn) -> None:
    step = DrawnTask(drawings=tuple(drawn.values()), groups=("food-drink",), part="test", least=3, split_seed=1)
    assert set(rows(made(step), "ids")) != set(rows(parts["test"], "ids"))
    assert rows(made(step), "class_keys") == rows(parts["test"], "class_keys")


def test_halves_share_no_class_or_no_thing(made: Made, drawn: Drawn) -> None:
    style = (drawn["emojione"],)

    def half(number: int, halved: str) -> Path:
        return made(
            DrawnTask(drawings=style, groups=("food-drink",), part="all", least=1, half=number, halved=halved)  # type: ignore[arg-type]
        )

    whole = made(DrawnTask(drawings=style, groups=("food-drink",), part="all", least=1))
    for halved in ("classes", "things"):
        first, second = (half(number, halved) for number in (0, 1))
        assert sorted(rows(first, "ids") + rows(second, "ids")) == sorted(rows(whole, "ids"))
        assert not set(rows(first, "ids")) & set(rows(second, "ids"))
    classes = [set(rows(half(number, "classes"), "class_keys")) for number in (0, 1)]
    assert not classes[0] & classes[1]
    assert rows(half(0, "things"), "class_keys") == rows(whole, "class_keys")


def test_what_names_nothing_is_refused(drawn: Drawn, store: Store, tmp_path: Path) -> None:
    drawings = tuple(drawn.values())
    for wrong, message in (
        (DrawnTask(drawings=(), least=1), "at least one style"),
        (DrawnTask(drawings=drawings, groups=("flags",), least=3), "groups must be some of"),
        (DrawnTask(drawings=drawings, groups=(), least=3), "groups must be some of"),
        (DrawnTask(drawings=drawings, least=4), "from 3 to the 3 styles given"),
        (DrawnTask(drawings=drawings, least=2), "from 3 to the 3"),
    ):
        with pytest.raises(SurefootError, match=message):
            list(wrong.make(tmp_path, StoredInputs(store)))
