"""Drawings: all pictures of one style, drawn once."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from surefoot.contrastive._drawn._concepts import Emoji, read_emoji, read_names
from surefoot.contrastive._drawn._iconify import Icon, read_icon_set
from surefoot.contrastive._drawn._matching import hexcodes_of
from surefoot.contrastive._drawn._render import RefusedDrawingError, render
from surefoot.contrastive._drawn._styles import EMOJIBASE, STYLES, Style, style
from surefoot.contrastive._pictures._directory import write_images, write_items
from surefoot.contrastive._pictures._photos import check_side
from surefoot.core import Inputs, Measurement, Step, report_progress
from surefoot.registry import fetch


@dataclass(frozen=True, kw_only=True)
class Drawings(Step):
    """All pictures of one drawing style on white, with what each shows.

    `style` is a name in `STYLES`, `size` the side of a picture in pixels (8 to 512). Files:

    - `images.npy`: (N, size, size, 3) uint8, sRGB;
    - `items.json`: N objects `{name, style, hexcode, concept, label, tags, group, subgroup, variant}`, where hexcode,
      concept, group and subgroup are empty for a picture whose concept is not known;
    - `refused.json`: `{name, reason}` of every drawing that could not be drawn, or that pointed outside itself;
    - `credit.json`: a list of `{style, title, author, licence, url, package}`.

    Measures `pictures`, `concepts` and `refused`. Raises `SurefootError` when the package cannot be fetched.
    """

    style: str
    size: int = 48
    requires: ClassVar[tuple[str, ...]] = ("PIL", "resvg_py")

    def make(self, out: Path, inputs: Inputs) -> Iterable[Measurement]:
        """Fetch, draw, and describe."""
        chosen = style(self.style)
        icons, shown = read_style(chosen, self.size)
        images, items, refused = _draw_all(icons, shown, self, out)
        write_images(out, images)
        write_items(out, items, [chosen.package.credit_row(chosen.title, style=chosen.name)], refused)
        concepts = {item["concept"] for item in items} - {""}
        counts = {"pictures": len(items), "concepts": len(concepts), "refused": len(refused)}
        return [Measurement(metric=name, value=count, n=len(icons)) for name, count in counts.items()]


def read_style(chosen: Style, size: int) -> tuple[tuple[Icon, ...], dict[str, Emoji]]:
    """The drawings of a style, and what those that are known show, by the drawing's name."""
    check_side(size)
    icon_set = read_icon_set(fetch(chosen.package), size=size)
    code_points = icon_set.code_points
    if chosen.names_from:
        code_points = read_icon_set(fetch(STYLES[chosen.names_from].package), size=size).code_points
    package = fetch(EMOJIBASE)
    emoji = read_emoji(package)
    names = {} if code_points else read_names(package)
    hexcodes = hexcodes_of(icon_set.icons, code_points, names, chosen.renamed)
    return icon_set.icons, {name: emoji[code] for name, code in hexcodes.items() if code in emoji}


def _draw_all(
    icons: tuple[Icon, ...], shown: dict[str, Emoji], step: Drawings, out: Path
) -> tuple[np.ndarray, list[dict[str, Any]], list[dict[str, str]]]:
    images = np.empty((len(icons), step.size, step.size, 3), np.uint8)
    items: list[dict[str, Any]] = []
    refused: list[dict[str, str]] = []
    for done, icon in enumerate(icons):
        if done % 64 == 0:
            report_progress(out, done, len(icons))
        try:
            images[len(items)] = render(icon.svg, step.size)
            items.append(_describe(icon, step.style, shown.get(icon.name)))
        except RefusedDrawingError as error:
            refused.append({"name": icon.name, "reason": str(error)})
    return images[: len(items)], items, refused


def _describe(icon: Icon, style_name: str, shown: Emoji | None) -> dict[str, Any]:
    row: dict[str, Any] = {"name": icon.name, "style": style_name}
    if shown is None:
        words = icon.name.replace("-", " ")
        unknown = {"hexcode": "", "concept": "", "label": words, "tags": [], "group": "", "subgroup": ""}
        return row | unknown | {"variant": False}
    told = asdict(shown)
    told.pop("since")
    return row | told | {"variant": shown.variant}
