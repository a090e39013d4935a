"""Colours and shapes that tell families apart, on white and on near-black paper, for every kind of colour vision."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

COLOURS = ("#0072b2", "#d55e00", "#00a55a", "#b43c78", "#694be1", "#8a7400", "#5d7a8c", "#b4602d")
"""Each has a contrast of at least 3 to 1 against white and against the dark page; the first five also stay apart
under protanopia, deuteranopia and tritanopia (Machado, Oliveira and Fernandes 2009). Beyond that, shapes tell."""
SHAPES = ("circle", "square", "triangle-up", "diamond", "cross", "triangle-down", "triangle-right")
NEUTRAL = "#7b8087"
"""Reference lines and what belongs to no family."""
SEQUENTIAL = ("#f3f6f9", "#c9dbe9", "#8fb8d6", "#4a8dbd", "#1b6299", "#0b3a66")
"""Light to dark, for shares in a table of cells."""


@dataclass(frozen=True, kw_only=True)
class Families:
    """The families of a figure, in the order that gives them their colours and shapes, and the legend's title."""

    names: tuple[str, ...]
    title: str | None = None
    colour: str = COLOURS[0]
    """The colour where there is nothing to tell apart."""

    @property
    def several(self) -> bool:
        return len(self.names) > 1


GREY = Families(names=(), colour=NEUTRAL)


def families_of(rows: Iterable[Mapping[str, Any]], wanted: Sequence[str] | None, title: str | None) -> Families:
    """The families in the order of `wanted`, then in the order in which the rows name them."""
    named = [str(row["family"]) for row in rows if row.get("family") is not None]
    return Families(names=tuple(dict.fromkeys([*(wanted or ()), *named])), title=title)


def family_channels(families: Families) -> dict[str, Any]:
    """The encoding of `family` by colour and by shape; a constant colour for one family or none."""
    if not families.several:
        return {"color": {"value": families.colour}}
    return {"color": _channel(families, COLOURS), "shape": _channel(families, SHAPES)}


def family_colour(families: Families) -> dict[str, Any]:
    """The encoding of `family` by colour alone, for marks without a shape."""
    return {"color": family_channels(families)["color"]}


def _channel(families: Families, values: Sequence[str]) -> dict[str, Any]:
    cycled = [values[index % len(values)] for index in range(len(families.names))]
    return {
        "field": "family",
        "type": "nominal",
        "title": families.title,
        "scale": {"domain": list(families.names), "range": cycled},
        "legend": {"symbolOpacity": 1},
    }
