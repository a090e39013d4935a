"""The eleven drawing styles of one concept space, and the text that belongs to them."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from surefoot.core import SurefootError
from surefoot.registry import Package


@dataclass(frozen=True, kw_only=True)
class Style:
    """A set of drawings in one hand: `icons` is the number of drawings in its package, `concepts` of what they show.

    `names_from` is the style whose table of code points this one's names follow where it has none of its own.
    `design` is equal for styles that share their designs: never count them as independent sources. `renamed` are
    drawings whose name would mislead, or that nobody else uses, with the usual English name of what they show.
    """

    name: str
    title: str
    icons: int
    concepts: int
    design: str
    package: Package
    names_from: str = ""
    renamed: Mapping[str, str] = field(default_factory=dict)


_TOLD = json.loads(Path(__file__).with_name("styles.json").read_text(encoding="utf-8"))
STYLES: dict[str, Style] = {
    row["name"]: Style(**row | {"package": Package(**row["package"])}) for row in _TOLD["styles"]
}
"""The drawing styles by name; what is renamed was found by looking at every drawing beside its concept elsewhere."""

EMOJIBASE = Package(**_TOLD["emojibase"])
"""Labels, tags, groups and subgroups of the concepts in 28 languages."""


def style(name: str) -> Style:
    """The drawing style of a name. Raises `SurefootError` with the names there are for an unknown one."""
    if name not in STYLES:
        raise SurefootError(f"There is no drawing style '{name}'. There are: {', '.join(STYLES)}.")
    return STYLES[name]
