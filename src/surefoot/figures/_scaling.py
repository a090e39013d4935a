"""Error against scale, and what a fit leaves over."""

from collections.abc import Iterable, Sequence
from typing import Any

from surefoot.core import Figure, Unit
from surefoot.figures._axes import above_the_axis, interval_text, log_axis, log_bounds, unit_axis, wrapped
from surefoot.figures._layers import (
    HEIGHT,
    Row,
    band,
    columns_of,
    curve,
    drawing,
    marks,
    named_fields,
    plain_rows,
    whisker,
)
from surefoot.figures._palette import NEUTRAL, families_of


def scaling_curve(
    points: Iterable[Row],
    fit: Iterable[Row] = (),
    *,
    name: str,
    title: str,
    caption: str,
    x_title: str,
    y_title: str,
    unit: Unit = "share",
    families: Sequence[str] | None = None,
    family_title: str | None = None,
) -> Figure:
    """Points with intervals and fitted curves with bands, on logarithmic axes.

    Rows of `points` have `x` and `y` (both above 0) and may have `low`, `high`, `family`, `label`, `n`, and `held_out`
    (true: not used by the fit; drawn hollow). Rows of `fit` have `x`, `y` and may have `low`, `high`, `family`.
    With `unit` "share", y is a fraction and the axis is in percent. `families` fixes their order, hence their colours.
    """
    rows = [*plain_rows("point", points, ("x", "y")), *plain_rows("fit", fit, ("x", "y"))]
    seen = [row for row in rows if row["part"] == "point"]
    names = families_of(rows, families, family_title)
    x_low, x_high = log_bounds(columns_of(rows, "x"), "x values")
    y_low, y_high = log_bounds(columns_of(seen, "y", "low", "high"), "y values")
    x = _log_channel("x", x_low, x_high, log_axis(x_low, x_high, x_title, "number") | {"title": wrapped(x_title)})
    y = _log_channel("y", y_low, y_high, log_axis(y_low, y_high, y_title, unit) | above_the_axis(y_title))
    low = {**y, "field": "low_drawn"}
    tooltip = _tooltip(seen, x_title, y_title)
    layers = [
        *band(rows, x, low, "high", names),
        *curve(rows, x, y, names),
        *whisker(rows, "low", ("y", low, "high"), x, names),
        *marks(rows, x, y, names, tooltip),
    ]
    transform = [
        {"calculate": f"isValid(datum.low) ? max(datum.low, {y_low}) : null", "as": "low_drawn"},
        {"calculate": interval_text("y", "low", "high", unit), "as": "shown"},
    ]
    spec = drawing(HEIGHT, transform, layers)
    return Figure(name=name, title=title, caption=caption, rows=tuple(rows), vega_lite=spec)


def residual_plot(
    points: Iterable[Row],
    *,
    name: str,
    title: str,
    caption: str,
    x_title: str,
    y_title: str,
    unit: Unit = "share",
    families: Sequence[str] | None = None,
    family_title: str | None = None,
) -> Figure:
    """What a fit leaves over, against x, around a line at zero; `unit` "share" shows relative residuals in percent.

    Rows have `x` and `y` (the residual) and may have `low`, `high`, `family`, `label`, `n` and `held_out`.
    """
    rows = plain_rows("point", points, ("x", "y"))
    names = families_of(rows, families, family_title)
    x_low, x_high = log_bounds(columns_of(rows, "x"), "x values")
    x = _log_channel("x", x_low, x_high, log_axis(x_low, x_high, x_title, "number") | {"title": wrapped(x_title)})
    y = {"field": "y", "type": "quantitative", "axis": unit_axis(unit, y_title) | above_the_axis(y_title)}
    tooltip = _tooltip(rows, x_title, y_title)
    layers = [
        {"data": {"values": [{"y": 0}]}, "mark": {"type": "rule", "color": NEUTRAL}, "encoding": {"y": y}},
        *whisker(rows, "low", ("y", {**y, "field": "low"}, "high"), x, names),
        *marks(rows, x, y, names, tooltip),
    ]
    transform = [{"calculate": interval_text("y", "low", "high", unit), "as": "shown"}]
    spec = drawing(240, transform, layers)
    return Figure(name=name, title=title, caption=caption, rows=tuple(rows), vega_lite=spec)


def coefficient_curve(
    points: Iterable[Row],
    *,
    name: str,
    title: str,
    caption: str,
    x_title: str,
    y_title: str,
    unit: Unit = "share",
    chosen: float | None = None,
    families: Sequence[str] | None = None,
    family_title: str | None = None,
) -> Figure:
    """A metric against a coefficient (of an interpolation, of a task vector), one line a family, with its band.

    Rows have `x`, `y` and may have `low`, `high`, `family` (the task, for instance), `label`, `n`. `chosen` marks the
    coefficient that was chosen on validation data with a dashed vertical line.
    """
    rows = plain_rows("point", points, ("x", "y"))
    names = families_of(rows, families, family_title)
    x = {
        "field": "x",
        "type": "quantitative",
        "scale": {"zero": False, "nice": False, "padding": 12},
        "axis": {"title": wrapped(x_title), "format": "~g", "tickCount": 6},
    }
    axis = unit_axis(unit, y_title) | above_the_axis(y_title)
    y = {"field": "y", "type": "quantitative", "scale": {"zero": False}, "axis": axis}
    mark = {"type": "rule", "color": NEUTRAL, "strokeDash": [5, 4]}
    dashed = {"data": {"values": [{"x": chosen}]}, "mark": mark}
    tooltip = _tooltip(rows, x_title, y_title)
    layers = [
        *band(rows, x, {**y, "field": "low"}, "high", names, part="point"),
        *curve(rows, x, y, names, part="point"),
        *([] if chosen is None else [{**dashed, "encoding": {"x": x}}]),
        *marks(rows, x, y, names, tooltip),
    ]
    transform = [{"calculate": interval_text("y", "low", "high", unit), "as": "shown"}]
    spec = drawing(HEIGHT, transform, layers)
    return Figure(name=name, title=title, caption=caption, rows=tuple(rows), vega_lite=spec)


def _tooltip(rows: Sequence[Row], x_title: str, y_title: str) -> list[dict[str, Any]]:
    return [
        *named_fields(rows, "label", "family"),
        {"field": "x", "title": x_title, "type": "quantitative", "format": ".4~g"},
        {"field": "shown", "title": y_title, "type": "nominal"},
        *named_fields(rows, "n", "held_out"),
    ]


def _log_channel(field: str, low: float, high: float, axis: dict[str, Any]) -> dict[str, Any]:
    scale = {"type": "log", "domain": [low, high], "nice": False}
    return {"field": field, "type": "quantitative", "scale": scale, "axis": axis}
