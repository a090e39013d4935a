"""Pieces that the figures share: rows made plain, points with intervals, fitted curves with bands."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from surefoot.core import SurefootError
from surefoot.figures._palette import Families, family_channels, family_colour

Row = Mapping[str, Any]
Layer = dict[str, Any]
FAINT = 0.12
HEIGHT = 380


def plain_rows(part: str, rows: Iterable[Row], needed: Sequence[str]) -> list[dict[str, Any]]:
    """The rows as built-in values, marked with the part of the figure that they are; NaN and infinity become None."""
    made = []
    for number, row in enumerate(rows, start=1):
        if lacking := [name for name in needed if row.get(name) is None]:
            raise SurefootError(f"Row {number} of the figure's {part} has no '{lacking[0]}'; it has: {', '.join(row)}.")
        made.append({"part": part} | {name: _plain(value) for name, value in row.items()})
    return made


def _plain(value: Any) -> Any:
    item = value.item() if hasattr(value, "item") else value
    return None if isinstance(item, float) and not math.isfinite(item) else item


def of_part(rows: Iterable[Row], part: str) -> list[Row]:
    return [row for row in rows if row["part"] == part]


def columns_of(rows: Iterable[Row], *names: str) -> list[Any]:
    """All values under these names, those that are missing left out."""
    return [row[name] for row in rows for name in names if row.get(name) is not None]


def only(part: str) -> Layer:
    """The transform that keeps one part of the rows."""
    return {"filter": f"datum.part === '{part}'"}


def legend_choice(families: Families) -> dict[str, Any]:
    """A click on the legend keeps one family: the parameter for the layer of points, where there is a legend."""
    if not families.several:
        return {}
    select = {"type": "point", "fields": ["family"]}
    return {"params": [{"name": "chosen_family", "select": select, "bind": "legend"}]}


def chosen_opacity(families: Families, opacity: float = 1.0) -> dict[str, Any]:
    if not families.several:
        return {"value": opacity}
    return {"condition": {"param": "chosen_family", "value": opacity}, "value": min(FAINT, opacity)}


def band(rows: Iterable[Row], x: Layer, low: Layer, high: str, families: Families, *, part: str = "fit") -> list[Layer]:
    """The band from `low` to `high` around a curve; no layer when no row has one."""
    if not columns_of(of_part(rows, part), "low"):
        return []
    encoding = {"x": x, "y": low, "y2": {"field": high}, **family_colour(families), "detail": {"field": "family"}}
    return [{"transform": [only(part)], "mark": {"type": "area", "opacity": 0.16, "clip": True}, "encoding": encoding}]


def curve(rows: Iterable[Row], x: Layer, y: Layer, families: Families, *, part: str = "fit") -> list[Layer]:
    """The line of a fit, or through the points; no layer when there is none."""
    if not of_part(rows, part):
        return []
    encoding = {"x": x, "y": y, **family_colour(families), "detail": {"field": "family"}}
    encoding["opacity"] = chosen_opacity(families)
    return [{"transform": [only(part)], "mark": {"type": "line", "clip": True}, "encoding": encoding}]


def whisker(
    rows: Iterable[Row], given: str, along: tuple[str, Layer, str], at: Layer, families: Families
) -> list[Layer]:
    """Intervals of the points that have a column `given`; `along` is x or y, the lower bound's channel, the upper's."""
    if not columns_of(of_part(rows, "point"), given):
        return []
    direction, low, high = along
    across = "y" if direction == "x" else "x"
    encoding = {direction: low, f"{direction}2": {"field": high}, across: at, **family_colour(families)}
    encoding["opacity"] = chosen_opacity(families, 0.55)
    return [{"transform": [only("point")], "mark": {"type": "rule", "clip": True}, "encoding": encoding}]


def marks(rows: Iterable[Row], x: Layer, y: Layer, families: Families, tooltip: list[Layer]) -> list[Layer]:
    """The points: filled, and hollow where `held_out` is true."""
    encoding = {"x": x, "y": y, **family_channels(families), "opacity": chosen_opacity(families), "tooltip": tooltip}
    used = {"transform": [only("point"), {"filter": "datum.held_out !== true"}], "encoding": encoding}
    layers = [{**legend_choice(families), **used, "mark": {"type": "point", "filled": True}}]
    if any(row.get("held_out") is True for row in rows):
        kept_back = {"transform": [only("point"), {"filter": "datum.held_out === true"}], "encoding": encoding}
        layers.append({**kept_back, "mark": {"type": "point", "filled": False}})
    return layers


def drawing(height: int, transform: list[Layer], layers: list[Layer]) -> Layer:
    """Layers as a specification that fills the width of its place."""
    fit = {"type": "fit-x", "contains": "padding"}
    return {"width": "container", "height": height, "autosize": fit, "transform": transform, "layer": layers}


def named_fields(rows: Iterable[Row], *names: str) -> list[Layer]:
    """Tooltip lines for the columns among `names` that some row fills."""
    filled = {name for row in rows for name, value in row.items() if value is not None}
    kinds = {"n": {"type": "quantitative", "format": ",d"}}
    return [
        {"field": name, "title": name.replace("_", " "), **kinds.get(name, {"type": "nominal"})}
        for name in names
        if name in filled
    ]
