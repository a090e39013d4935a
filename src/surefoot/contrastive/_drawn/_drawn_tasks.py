"""DrawnTask: say what is drawn, among one group of things, in drawings by several hands."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

from surefoot.contrastive._drawn._concepts import Emoji, read_class_words, read_emoji
from surefoot.contrastive._drawn._drawings import Drawings
from surefoot.contrastive._drawn._styles import EMOJIBASE
from surefoot.contrastive._pictures._directory import (
    Item,
    Row,
    copy_images,
    read_credit,
    read_items,
    write_classes,
    write_items,
)
from surefoot.core import Inputs, Measurement, Step, SurefootError
from surefoot.registry import fetch
from surefoot.stats import shuffled

Part = Literal["train", "validation", "test", "rest", "all"]
GROUPS = (
    *("smileys-emotion", "people-body", "animals-nature", "food-drink", "travel-places", "activities", "objects"),
    "symbols",
)
"""The groups of things that every style draws."""


@dataclass(frozen=True, kw_only=True)
class DrawnTask(Step):
    """Drawings of the things of some groups, split drawing by drawing.

    Of each thing that at least `least` of the styles draw, one drawing is for "test", one for "validation" and the
    others are for "train", by `split_seed`; "rest" takes all but those for test, where nothing is to be chosen, and
    "all" takes every drawing. The classes are the kinds of things, such as fruit. `half` 0 or 1 leaves only that half
    of what is `halved`: of the classes, so that the two halves share none, or of the things, so that all classes stay.
    Variants (skin tones, genders) are left out. Styles of one designer resemble each other (see `STYLES`): take one of
    each, or training and test are not independent. Files as in `ClassificationSet`; `ids.json` holds `style:hexcode`.
    Measures
    `examples` and `classes`. Raises `SurefootError` when a field names nothing, or nothing is left.
    """

    drawings: tuple[Drawings, ...]
    groups: tuple[str, ...] = GROUPS
    part: Part = "train"
    half: Literal[0, 1] | None = None
    halved: Literal["classes", "things"] = "classes"
    least: int = 4
    split_seed: int = 0
    locale: str = "en"
    requires: ClassVar[tuple[str, ...]] = ("PIL", "resvg_py")

    def make(self, out: Path, inputs: Inputs) -> Iterable[Measurement]:
        """Split, choose, label, and copy the pictures together."""
        _check(self)
        package = fetch(EMOJIBASE)
        emoji, words = read_emoji(package, self.locale), read_class_words(package, self.locale)
        items = [read_items(inputs[source]) for source in self.drawings]
        drawn = _drawings_by_concept(items, self, emoji)
        kinds = list(dict.fromkeys(emoji[concept].subgroup for concept in drawn))
        classes = _halved(kinds, self) if self.halved == "classes" else kinds
        things = _halved(list(drawn), self) if self.halved == "things" else list(drawn)
        rows = sorted(row for concept in things for row in _part(drawn[concept], items, self))
        if not (rows := [(source, index) for source, index in rows if items[source][index]["subgroup"] in classes]):
            raise SurefootError(f"No thing of {', '.join(self.groups)} is drawn by {self.least} of the styles.")
        chosen = [items[source][index] for source, index in rows]
        copy_images([inputs[source] for source in self.drawings], rows, out)
        ids = [f"{item['style']}:{item['hexcode']}" for item in chosen]
        write_classes(out, ids, [item["subgroup"] for item in chosen], {key: words[key] for key in classes})
        write_items(out, chosen, [row for source in self.drawings for row in read_credit(inputs[source])])
        counts = {"examples": len(chosen), "classes": len(classes)}
        return [Measurement(metric=name, value=count, n=len(chosen)) for name, count in counts.items()]


def _check(step: DrawnTask) -> None:
    if not step.drawings or len({source.size for source in step.drawings}) != 1:
        raise SurefootError("DrawnTask needs at least one style, and all of one size.")
    if not step.groups or not set(step.groups) <= set(GROUPS):
        raise SurefootError(f"groups must be some of {', '.join(GROUPS)}; got {step.groups}.")
    fewest = 1 if step.part == "all" else 3
    if not fewest <= step.least <= len(step.drawings):
        raise SurefootError(
            f"least is {step.least}: it must be from {fewest} to the {len(step.drawings)} styles given."
        )


def _drawings_by_concept(items: list[list[Item]], step: DrawnTask, emoji: Mapping[str, Emoji]) -> dict[str, list[Row]]:
    found: dict[str, list[Row]] = {
        code: [] for code, one in emoji.items() if not one.variant and one.group in step.groups
    }
    for source, drawn in enumerate(items):
        for index, item in enumerate(drawn):
            if item["hexcode"] in found:
                found[item["hexcode"]].append((source, index))
    return {concept: rows for concept, rows in found.items() if len({source for source, _ in rows}) >= step.least}


def _halved(keys: list[str], step: DrawnTask) -> list[str]:
    if step.half is None:
        return keys
    taken = set(shuffled(keys, step.split_seed)[step.half :: 2])
    return [key for key in keys if key in taken]


def _part(rows: list[Row], items: list[list[Item]], step: DrawnTask) -> list[Row]:
    """The drawings of one thing in the part, in an order by hash: the first to test, the next to validate."""
    if step.part == "all":
        return rows
    names = {"{style}:{name}".format(**items[source][index]): (source, index) for source, index in rows}
    order = [names[name] for name in shuffled(names, step.split_seed)]
    return {"test": order[:1], "validation": order[1:2], "train": order[2:], "rest": order[1:]}[step.part]
