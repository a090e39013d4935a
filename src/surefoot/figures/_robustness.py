"""Accuracy under shift against accuracy in distribution, on axes where such points lie on a line."""

from collections.abc import Iterable, Sequence
from typing import Any

from surefoot.core import Figure
from surefoot.figures._axes import ShareScale, above_the_axis, interval_text, share_scale, wrapped
from surefoot.figures._layers import (
    HEIGHT,
    Layer,
    Row,
    band,
    columns_of,
    curve,
    drawing,
    marks,
    named_fields,
    of_part,
    plain_rows,
    whisker,
)
from surefoot.figures._palette import GREY, NEUTRAL, families_of
from surefoot.stats import Axis

_SHARES = ("x", "x_low", "x_high", "y", "y_low", "y_high", "low", "high")


def robustness_scatter(
    points: Iterable[Row],
    fit: Iterable[Row] = (),
    *,
    name: str,
    title: str,
    caption: str,
    x_title: str = "Accuracy in distribution",
    y_title: str = "Accuracy under shift",
    axis: Axis = "logit",
    families: Sequence[str] | None = None,
    family_title: str | None = None,
) -> Figure:
    """Models as points with both intervals, the fitted line with its band, and the line y = x; labels in percent.

    All numbers are fractions; the axes are transformed (logit by default, as in Miller et al. 2021, arXiv 2107.04649).
    Rows of `points` have `x`, `y` and may have `x_low`, `x_high`, `y_low`, `y_high`, `family`, `label`, `n`. Rows of
    `fit` have `x`, `y`, may have `low`, `high`, and `family` (left out: drawn in grey, as a reference line).
    Exact 0 and 1 have no place on a logit or probit axis: they are drawn at its edge, and the caption says so.
    """
    rows = [*plain_rows("point", points, ("x", "y")), *plain_rows("fit", fit, ("x", "y"))]
    seen = [row for row in rows if row["part"] == "point"]
    names = families_of(rows, families, family_title)
    across = share_scale(columns_of(seen, "x", "x_low", "x_high"), axis)
    up = share_scale(columns_of(seen, "y", "y_low", "y_high"), axis)
    x, y = across.encoding("x_at", x_title), up.encoding("y_at", y_title)
    x["axis"]["title"] = wrapped(x_title)
    y["axis"] |= above_the_axis(y_title)
    by_family = any(row.get("family") for row in of_part(rows, "fit"))
    lines = names if by_family else GREY
    layers = [
        *_identity(across, up, x, y),
        *band(rows, x, {**y, "field": "low_at"}, "high_at", lines),
        *curve(rows, x, y, lines),
        *whisker(rows, "x_low", ("x", {**x, "field": "x_low_at"}, "x_high_at"), y, names),
        *whisker(rows, "y_low", ("y", {**y, "field": "y_low_at"}, "y_high_at"), x, names),
        *marks(rows, x, y, names, _tooltip(seen, x_title, y_title)),
    ]
    spec = drawing(HEIGHT + 40, _places(across, up), layers)
    note = _edge_note(seen, axis)
    return Figure(name=name, title=title, caption=f"{caption}{note}", rows=tuple(rows), vega_lite=spec)


def _places(across: ShareScale, up: ShareScale) -> list[Layer]:
    placed = [
        {"calculate": (across if field.startswith("x") else up).place(field), "as": f"{field}_at"} for field in _SHARES
    ]
    shown = [
        {"calculate": interval_text(name, f"{name}_low", f"{name}_high", "share"), "as": f"{name}_shown"}
        for name in ("x", "y")
    ]
    return [*placed, *shown]


def _identity(across: ShareScale, up: ShareScale, x: Layer, y: Layer) -> list[Layer]:
    """The part of y = x that is within both axes, and its name at the upper end."""
    low, high = max(across.low, up.low), min(across.high, up.high)
    if low >= high:
        return []
    ends = [{"x": share, "y": share, "name": text} for share, text in ((low, ""), (high, "y = x"))]
    placed = [{"calculate": across.place("x"), "as": "x_at"}, {"calculate": up.place("y"), "as": "y_at"}]
    data: dict[str, Any] = {"data": {"values": ends}, "transform": placed}
    line = {"type": "line", "color": NEUTRAL, "strokeDash": [4, 4], "strokeWidth": 1.2}
    text = {"type": "text", "align": "right", "baseline": "bottom", "dx": -32, "dy": 12, "color": NEUTRAL}
    text["fontStyle"] = "italic"
    return [
        {**data, "mark": line, "encoding": {"x": x, "y": y}},
        {**data, "mark": text, "encoding": {"x": x, "y": y, "text": {"field": "name", "type": "nominal"}}},
    ]


def _tooltip(points: list[dict[str, Any]], x_title: str, y_title: str) -> list[Layer]:
    return [
        *named_fields(points, "label", "family"),
        {"field": "x_shown", "title": x_title, "type": "nominal"},
        {"field": "y_shown", "title": y_title, "type": "nominal"},
        *named_fields(points, "n"),
    ]


def _edge_note(points: list[dict[str, Any]], axis: Axis) -> str:
    count = sum(row[name] in (0, 1) for row in points for name in ("x", "y"))
    if not count or axis == "linear":
        return ""
    return f" {count} accuracies are exactly 0 or 100 percent and are drawn at the edge of the {axis} axis."
