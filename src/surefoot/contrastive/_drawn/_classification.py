"""Pictures of one style with a class each, to test on."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

from surefoot.contrastive._drawn._concepts import Emoji, read_class_words, read_emoji
from surefoot.contrastive._drawn._drawings import Drawings
from surefoot.contrastive._drawn._split import (
    all_concepts,
    concept_classes,
    group_classes,
    held_out_concepts,
    subgroup_classes,
)
from surefoot.contrastive._drawn._styles import EMOJIBASE
from surefoot.contrastive._pictures._directory import (
    Item,
    copy_images,
    read_credit,
    read_items,
    write_classes,
    write_items,
)
from surefoot.core import Inputs, Measurement, Step, SurefootError
from surefoot.registry import fetch
from surefoot.stats import shuffled


@dataclass(frozen=True, kw_only=True)
class ClassificationSet(Step):
    """Pictures of one style and their classes.

    `labels` "subgroup" (40 classes of kinds of things, such as fruit), "group" (8), or "concept" (each concept is its
    own class; `ways` of them that nearly every style draws). `concepts` "held_out" are never in `TrainingPairs` of the
    same `held_out` and `split_seed`; "trained" is the other side. The classes depend on these fields and not on the
    style, so that chance is the same in every style. `ways` with "subgroup" or "group" takes that many classes at
    random. `variants` True adds the skin tones and genders of each concept. Files:
    - `images.npy`: (N, size, size, 3) uint8; `labels.npy`: (N,) int64 into `classes.json`;
    - `classes.json`: the names of the classes in the words of `locale`; `class_keys.json`: their keys;
    - `ids.json`: the hexcode of each example, by which styles and models are paired;
    - `items.json`, `credit.json`: as in `Drawings`.
    Measures `examples` and `classes`. Raises `SurefootError` when nothing is left.
    """

    drawings: Drawings
    labels: Literal["subgroup", "concept", "group"] = "subgroup"
    concepts: Literal["held_out", "trained"] = "held_out"
    ways: int | None = None
    variants: bool = False
    held_out: int = 320
    split_seed: int = 0
    locale: str = "en"
    requires: ClassVar[tuple[str, ...]] = ("PIL", "resvg_py")

    def make(self, out: Path, inputs: Inputs) -> Iterable[Measurement]:
        """Choose and label."""
        package = fetch(EMOJIBASE)
        emoji, words = read_emoji(package, self.locale), read_class_words(package, self.locale)
        side = _side(self, emoji)
        keys = _class_keys(self, emoji, side)
        items = read_items(inputs[self.drawings])
        if not (rows := [index for index, item in enumerate(items) if self._shows(item, side, keys)]):
            raise SurefootError(f"The style {self.drawings.style} draws none of the {self.concepts} concepts.")
        chosen = [items[index] for index in rows]
        copy_images([inputs[self.drawings]], [(0, index) for index in rows], out)
        names = {key: emoji[key].label if self.labels == "concept" else words[key] for key in keys}
        write_classes(out, [item["hexcode"] for item in chosen], [item[self.labels] for item in chosen], names)
        write_items(out, chosen, read_credit(inputs[self.drawings]))
        counts = {"examples": len(chosen), "classes": len(keys)}
        return [Measurement(metric=name, value=count, n=len(chosen)) for name, count in counts.items()]

    def _shows(self, item: Item, side: frozenset[str], keys: list[str]) -> bool:
        return item["concept"] in side and item[self.labels] in keys and (self.variants or not item["variant"])


def _side(step: ClassificationSet, emoji: dict[str, Emoji]) -> frozenset[str]:
    held_out = held_out_concepts(emoji, step.held_out, step.split_seed)
    return held_out if step.concepts == "held_out" else all_concepts(emoji) - held_out


def _class_keys(step: ClassificationSet, emoji: dict[str, Emoji], side: frozenset[str]) -> list[str]:
    if step.labels == "concept":
        return concept_classes(emoji, side, step.ways, step.split_seed)
    keys = subgroup_classes(emoji) if step.labels == "subgroup" else group_classes(emoji)
    if step.ways is None:
        return keys
    if not 1 < step.ways <= len(keys):
        raise SurefootError(f"ways is {step.ways}: it must be from 2 to {len(keys)} for labels='{step.labels}'.")
    chosen = set(shuffled(keys, step.split_seed)[: step.ways])
    return [key for key in keys if key in chosen]
