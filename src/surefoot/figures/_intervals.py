"""Effects with their intervals, one a line."""

import json
from collections.abc import Iterable, Sequence
from typing import Any

from surefoot.core import Figure, SurefootError, Unit
from surefoot.figures._axes import interval_text, unit_axis, wrapped
from surefoot.figures._layers import (
    Layer,
    Row,
    chosen_opacity,
    columns_of,
    drawing,
    legend_choice,
    named_fields,
    plain_rows,
)
from surefoot.figures._palette import NEUTRAL, Families, families_of, family_channels

_LINE_HEIGHT = 26
_TITLE_WIDTH = 28  # the labels leave half of a small screen


def interval_plot(
    effects: Iterable[Row],
    *,
    name: str,
    title: str,
    caption: str,
    x_title: str,
    unit: Unit = "points",
    reference: float | None = 0.0,
    families: Sequence[str] | None = None,
    family_title: str | None = None,
) -> Figure:
    """A forest plot: effects with their intervals, one a line, under a heading for each `group`.

    Rows have `label` and `value` and may have `low`, `high`, `group`, `family` (colour and shape), `n`. With `unit`
    "points", values are differences of fractions and the axis is in percentage points. `reference` is the value of no
    effect, drawn as a line.
    """
    if not (rows := plain_rows("point", effects, ("label", "value"))):
        raise SurefootError(f"The interval plot '{name}' has no effects.")
    names = families_of(rows, families, family_title)
    lines, labels, headings = _lay_out(rows)
    bounds = columns_of(rows, "value", "low", "high") + ([] if reference is None else [reference])
    margin = 0.04 * (max(bounds) - min(bounds)) or 1.0
    scale = {"domain": [min(bounds) - margin, max(bounds) + margin], "nice": False}
    axis = unit_axis(unit, x_title)
    # On a small screen labels would touch.
    axis |= {"tickCount": 8, "labelOverlap": "greedy", "labelSeparation": 6}
    axis |= {"title": wrapped(" ".join(axis["title"]), _TITLE_WIDTH)}
    x = {"field": "value", "type": "quantitative", "scale": scale, "axis": axis}
    y = _line_axis(labels, headings)
    tooltip = [
        *named_fields(rows, "group", "label", "family"),
        {"field": "shown", "title": x_title, "type": "nominal"},
        *named_fields(rows, "n"),
    ]
    transform = [{"calculate": interval_text("value", "low", "high", unit), "as": "shown"}]
    line = {
        "data": {"values": [{"value": reference}]},
        "mark": {"type": "rule", "color": NEUTRAL},
        "encoding": {"x": x},
    }
    layers = [*([] if reference is None else [line]), *_effects(x, y, names, tooltip)]
    spec = drawing(_LINE_HEIGHT * len(labels), transform, layers)
    return Figure(name=name, title=title, caption=caption, rows=tuple(lines), vega_lite=spec)


def _lay_out(rows: list[dict[str, Any]]) -> tuple[list[dict[str, Any]], list[str], list[int]]:
    groups = list(dict.fromkeys(row.get("group") or "" for row in rows))
    lines, labels, headings = [], [], []
    for group in groups:
        if group:
            headings.append(len(labels))
            labels.append(str(group))
        for row in (row for row in rows if (row.get("group") or "") == group):
            lines.append(row | {"line": len(labels)})
            labels.append(str(row["label"]))
    return lines, labels, headings


def _line_axis(labels: list[str], headings: list[int]) -> Layer:
    heading = f"indexof({json.dumps(headings)}, datum.value) >= 0"
    axis = {
        "title": None,
        "labelExpr": f"{json.dumps(labels, ensure_ascii=False)}[datum.value]",
        "labelFontWeight": {"condition": {"test": heading, "value": 700}, "value": 400},
        "grid": False,
        "labelOverlap": False,
        "labelPadding": 10,
    }
    scale = {"domain": list(range(len(labels)))}
    return {"field": "line", "type": "ordinal", "scale": scale, "axis": axis}


def _effects(x: Layer, y: Layer, names: Families, tooltip: list[Layer]) -> list[Layer]:
    channels = family_channels(names)
    low = {**x, "field": "low"}
    interval = {
        "mark": {"type": "rule", "strokeWidth": 2},
        "encoding": {
            "x": low,
            "x2": {"field": "high"},
            "y": y,
            "color": channels["color"],
            "opacity": chosen_opacity(names, 0.6),
        },
    }
    points = {
        **legend_choice(names),
        "mark": {"type": "point", "filled": True, "size": 80},
        "encoding": {"x": x, "y": y, **channels, "opacity": chosen_opacity(names), "tooltip": tooltip},
    }
    return [interval, points]
