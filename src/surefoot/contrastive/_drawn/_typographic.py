"""Typographic: pictures with a word written over them, the right one or a wrong one."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np

from surefoot.contrastive._pictures._directory import (
    copy_description,
    has_classes,
    open_images,
    read_classes,
    read_items,
    write_images,
)
from surefoot.core import Inputs, Measurement, Step, SurefootError
from surefoot.registry import write_json

if TYPE_CHECKING:
    from PIL.ImageFont import FreeTypeFont

_SMALLEST = 6
_WORDS, _ATTACKS = "words.json", "attacks.npy"


@dataclass(frozen=True, kw_only=True)
class Typographic(Step):
    """The pictures of `data` with the name of a kind of thing written over a `share` of them, in capitals on white.

    `word` "right" writes the kind that is shown, as labels and packages do in pictures from the web: a model that
    learns from them learns to read. "wrong" writes another kind that occurs in the data: a typographic attack (Goh et
    al. 2021; PAINT, 2208.05592, section 6). Which pictures, which words and whether at the top or the bottom depend on
    `seed` and the picture's style and name.

    Letters are as large as the width allows, up to `largest` pixels; with `letters` only so many of a word are written,
    so that they stay large. Of the share `erased` of written pictures the drawing is painted white: the word is all
    that is left to go by. `data` is `TrainingPairs`, `ClassificationSet` or `DrawnTask` (with kinds as labels); its
    other files are copied. More files: `words.json`, the word of each picture or null; for "wrong" on a classification
    set `attacks.npy`, the class number of the word or -1. Measures `written`. Raises `SurefootError` for fields out of
    range and data that show one kind only.
    """

    data: Step
    word: Literal["right", "wrong"]
    share: float = 1.0
    letters: int | None = None
    largest: int = 14
    erased: float = 0.0
    seed: int = 0
    requires: ClassVar[tuple[str, ...]] = ("PIL",)

    def make(self, out: Path, inputs: Inputs) -> Iterable[Measurement]:
        """Choose the words, write them, copy the rest."""
        _check(self)
        source = inputs[self.data]
        items = read_items(source)
        known = sorted({item["subgroup"] for item in items} - {""})
        if self.word == "wrong" and len(known) < 2:
            raise SurefootError("A wrong word needs pictures of at least two kinds of things.")
        kinds = [_kind(item, known, self) for item in items]
        images = np.array(open_images(source))
        for row, kind in enumerate(kinds):
            if kind:
                if _number(items[row], self, "erased") < self.erased:
                    images[row] = 255
                at_top = _number(items[row], self, "place") < 0.5
                images[row] = with_word(images[row], word_of(kind, self.letters), at_top=at_top, largest=self.largest)
        write_images(out, images)
        copy_description(source, out)
        write_json(out / _WORDS, [word_of(kind, self.letters) if kind else None for kind in kinds])
        if self.word == "wrong" and has_classes(source):
            keys = read_classes(source).keys
            attacks = [keys.index(kind) if kind in keys else -1 for kind in kinds]
            np.save(out / _ATTACKS, np.array(attacks, np.int64))
        return [Measurement(metric="written", value=sum(kind is not None for kind in kinds), n=len(kinds))]


def _check(step: Typographic) -> None:
    if not 0 < step.share <= 1:
        raise SurefootError(f"share is {step.share}: it must be above 0 and at most 1.")
    if not 0 <= step.erased <= 1:
        raise SurefootError(f"erased is {step.erased}: it must be from 0 to 1.")
    if step.largest < _SMALLEST or (step.letters is not None and step.letters < 1):
        raise SurefootError(
            f"largest is {step.largest}, letters is {step.letters}: at least {_SMALLEST} pixels and one letter."
        )


def word_of(kind: str, letters: int | None = None) -> str:
    """The word for a key of a kind of thing: "food-fruit" is FRUIT; of it the first `letters` where that is given."""
    return (kind.rpartition("-")[2] or kind).upper()[:letters]


def with_word(image: np.ndarray, word: str, *, at_top: bool, largest: int = 14) -> np.ndarray:
    """A picture (height, width, 3) uint8 with a black word on a white strip over its top or bottom."""
    from PIL import Image, ImageDraw

    picture = Image.fromarray(image)
    width, height = picture.size
    font = _font_for(word, width - 2, largest)
    left, top, right, bottom = font.getbbox(word)
    high = int(bottom - top) + 2
    strip = 0 if at_top else height - high
    draw = ImageDraw.Draw(picture)
    draw.rectangle((0, strip, width, strip + high), fill=(255, 255, 255))
    draw.text(((width - right + left) / 2 - left, strip + 1 - top), word, fill=(0, 0, 0), font=font)
    return np.asarray(picture)


@cache
def _font_for(word: str, width: int, largest: int) -> "FreeTypeFont":
    """The largest size at which Pillow's own font keeps the word within the width."""
    from PIL import ImageFont

    fonts: list[Any] = [ImageFont.load_default(size) for size in range(largest, _SMALLEST - 1, -1)]
    return next((font for font in fonts if font.getlength(word) <= width), fonts[-1])


def _kind(item: dict[str, Any], known: list[str], step: Typographic) -> str | None:
    if not item["subgroup"] or _number(item, step, "share") >= step.share:
        return None
    if step.word == "right":
        return item["subgroup"]
    others = [kind for kind in known if kind != item["subgroup"]]
    return others[int(_number(item, step, "word") * len(others))]


def _number(item: dict[str, Any], step: Typographic, use: str) -> float:
    told = f"{step.seed}:{use}:{item['style']}:{item['name']}"
    return int.from_bytes(sha256(told.encode()).digest()[:6], "big") / 2**48
