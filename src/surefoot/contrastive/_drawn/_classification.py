"""Pictures of one style with a class each, to test on."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

from surefoot.contrastive._drawn._concepts import read_class_words, read_emoji
from surefoot.contrastive._drawn._drawings import Drawings
from surefoot.contrastive._drawn._split import concept_classes, held_out_concepts, subgroup_classes
from surefoot.contrastive._drawn._styles import EMOJIBASE
from surefoot.contrastive._pictures._directory import (
    copy_images,
    read_credit,
    read_items,
    write_classes,
    write_items,
)
from surefoot.core import Inputs, Measurement, Step, SurefootError
from surefoot.registry import fetch


@dataclass(frozen=True, kw_only=True)
class ClassificationSet(Step):
    """Pictures of one style and their classes.

    `labels` "subgroup" (40 classes of kinds of things, such as fruit) or "concept" (each concept is its own class). The
    concepts are never in `TrainingPairs` of the same `held_out` and `split_seed`. The classes depend on these fields
    and not on the style, so that chance is the same in every style. `variants` True adds the skin tones and genders of
    each concept. Files:
    - `images.npy`: (N, size, size, 3) uint8; `labels.npy`: (N,) int64 into `classes.json`;
    - `classes.json`: the names of the classes in the words of `locale`; `class_keys.json`: their keys;
    - `ids.json`: the hexcode of each example, by which styles and models are paired;
    - `items.json`, `credit.json`: as in `Drawings`.
    Measures `examples` and `classes`. Raises `SurefootError` when nothing is left.
    """

    drawings: Drawings
    labels: Literal["subgroup", "concept"] = "subgroup"
    variants: bool = False
    held_out: int = 320
    split_seed: int = 0
    locale: str = "en"
    requires: ClassVar[tuple[str, ...]] = ("PIL", "resvg_py")

    def make(self, out: Path, inputs: Inputs) -> Iterable[Measurement]:
        """Choose and label."""
        package = fetch(EMOJIBASE)
        emoji, words = read_emoji(package, self.locale), read_class_words(package, self.locale)
        held_out = held_out_concepts(emoji, self.held_out, self.split_seed)
        keys = concept_classes(emoji, held_out) if self.labels == "concept" else subgroup_classes(emoji)
        items = read_items(inputs[self.drawings])
        rows = [
            index
            for index, item in enumerate(items)
            if item["concept"] in held_out and item[self.labels] in keys and (self.variants or not item["variant"])
        ]
        if not rows:
            raise SurefootError(f"The style {self.drawings.style} draws none of the concepts that are held out.")
        chosen = [items[index] for index in rows]
        copy_images([inputs[self.drawings]], [(0, index) for index in rows], out)
        names = {key: emoji[key].label if self.labels == "concept" else words[key] for key in keys}
        write_classes(out, [item["hexcode"] for item in chosen], [item[self.labels] for item in chosen], names)
        write_items(out, chosen, read_credit(inputs[self.drawings]))
        counts = {"examples": len(chosen), "classes": len(keys)}
        return [Measurement(metric=name, value=count, n=len(chosen)) for name, count in counts.items()]
