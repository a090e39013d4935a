"""IconPairs: drawings of many icon sets with their names, from one package, where their licence is open."""

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from surefoot.contrastive._drawn._iconify import Icon, icons_of
from surefoot.contrastive._drawn._render import RefusedDrawingError, render
from surefoot.contrastive._pictures._directory import ImageAppender, Item, write_captions, write_items
from surefoot.contrastive._pictures._photos import check_side
from surefoot.core import Inputs, Measurement, Step, SurefootError, report_progress
from surefoot.registry import Package, fetch, read_members
from surefoot.stats import shuffled

ICONIFY = Package(
    registry="npm",
    name="@iconify/json",
    version="2.2.535",
    sha256="1a545f86fa224d6531d8fb101dcbe83aac2b28689a21cbed6fc68318a5af4d91",
    size=104_043_282,
    licence="by set",
    author="the authors of each set",
    url="https://github.com/iconify/icon-sets",
)
"""All icon sets of iconify in one package; the licence is that of each set."""

ICON_SETS = (
    *("fluent-color", "flat-color-icons", "streamline-color", "streamline-plump-color", "icon-park", "marketeq"),
    *("material-symbols", "mdi", "ph", "tabler", "solar", "game-icons", "ri", "mingcute", "carbon", "healthicons"),
    *("hugeicons", "boxicons", "fa7-solid", "lucide"),
)
"""Sets of things, not of logos, of many hands: 90,000 drawings."""

CLOSED = re.compile(r"\bNC\b|GPL")
"""Licences that are left out: not for commercial use, or passed on to what is made with them."""


@dataclass(frozen=True, kw_only=True)
class IconPairs(Step):
    """Icons on white, each with its name as a caption: `limit` of the `sets` in the package of all, by `seed`.

    A name such as `arrow-left-bold` is the caption "arrow left bold"; aliases are captions, too. Sets whose licence has
    NC or GPL in its SPDX name are refused, and drawings that are equal are taken once. A larger limit of one seed holds
    a smaller one. Files as in `TrainingPairs`, with the licence of each set in `credit.json`. Measures `pictures`,
    `refused` (drawings that could not be drawn) and `sets`.
    """

    sets: tuple[str, ...] = ICON_SETS
    limit: int
    size: int = 48
    seed: int = 0
    requires: ClassVar[tuple[str, ...]] = ("PIL", "resvg_py")

    def make(self, out: Path, inputs: Inputs) -> Iterable[Measurement]:
        """Read, choose, draw."""
        check_side(self.size)
        icons, credit = read_icons(fetch(ICONIFY), self.sets, self.size)
        if self.limit > len(icons):
            raise SurefootError(f"limit is {self.limit}, and the sets have {len(icons)} different drawings.")
        captions: list[list[str]] = []
        items: list[Item] = []
        refused: list[Item] = []
        with ImageAppender(out, self.size) as images:
            for name in shuffled(icons, self.seed):
                if len(items) == self.limit:
                    break
                if len(items) % 64 == 0:
                    report_progress(out, len(items), self.limit)
                try:
                    images.append(np.asarray(render(icons[name].svg, self.size)))
                except RefusedDrawingError as error:
                    refused.append({"name": name, "reason": str(error)})
                    continue
                captions.append(list(dict.fromkeys(one.replace("-", " ") for one in icons[name].names)))
                items.append({"name": name, "style": name.partition(":")[0], "label": captions[-1][0], "concept": ""})
        write_captions(out, captions)
        write_items(out, items, credit, refused)
        counts = {"pictures": len(items), "refused": len(refused), "sets": len(self.sets)}
        return [Measurement(metric=name, value=count, n=len(items)) for name, count in counts.items()]


def read_icons(package: Path, sets: Iterable[str], size: int) -> tuple[dict[str, Icon], list[dict[str, str]]]:
    """The different drawings of the sets as `set:name`, and whose they are. Raises for a set that is not open."""
    members = read_members(package, ["package/collections.json", *(f"package/json/{name}.json" for name in sets)])
    told = json.loads(members["package/collections.json"])
    credit = [_credit(name, told[name]) for name in sets]
    if closed := [f"{row['style']} ({row['licence']})" for row in credit if CLOSED.search(row["licence"])]:
        raise SurefootError(f"These sets are not openly licensed: {', '.join(closed)}.")
    found: dict[str, Icon] = {}
    drawn: set[str] = set()
    for name, icon in _all(members, sets, size):
        if icon.svg not in drawn:
            drawn.add(icon.svg)
            found[name] = icon
    return found, credit


def _all(members: dict[str, bytes], sets: Iterable[str], size: int) -> Iterator[tuple[str, Icon]]:
    for name in sets:
        for icon in icons_of(json.loads(members[f"package/json/{name}.json"]), size):
            if not icon.hidden:
                yield f"{name}:{icon.name}", icon


def _credit(name: str, told: dict[str, Any]) -> dict[str, str]:
    author, licence = told["author"], told["license"]
    row = {"style": name, "title": told["name"], "author": author["name"], "licence": licence.get("spdx", "")}
    return row | {"url": author.get("url", ""), "package": ICONIFY.label}
