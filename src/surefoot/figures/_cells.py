"""Tables as figures: a grid of accuracies, and a sheet of pictures."""

from base64 import b64encode
from collections.abc import Iterable, Sequence
from html import escape
from textwrap import wrap
from typing import Any

from surefoot.core import Figure, SurefootError, Unit
from surefoot.figures._axes import interval_text, wrapped
from surefoot.figures._layers import Layer, Row, columns_of, drawing, named_fields, plain_rows
from surefoot.figures._palette import SEQUENTIAL

_CELL_HEIGHT = 38
_DARK_FROM = 0.52
_CHARACTERS_ABREAST = 36


def heat_table(
    cells: Iterable[Row],
    *,
    name: str,
    title: str,
    caption: str,
    row_title: str,
    column_title: str,
    value_title: str = "Accuracy",
    unit: Unit = "share",
    row_order: Sequence[str] | None = None,
    column_order: Sequence[str] | None = None,
) -> Figure:
    """Values by row and column (training source by test style, for instance), each written in its coloured cell.

    Cells have `row`, `column`, `value` and may have `low`, `high`, `n`; the interval is in the tooltip and the table.
    """
    rows = plain_rows("cell", cells, ("row", "column", "value"))
    if not (values := columns_of(rows, "value")):
        raise SurefootError(f"The heat table '{name}' has no cells.")
    transform = [
        {"calculate": interval_text("value", "low", "high", unit), "as": "shown"},
        {"calculate": _short(unit), "as": "written"},
    ]
    layers = _cell_layers(rows, min(values), max(values), value_title)
    spec = drawing(_CELL_HEIGHT * len({row["row"] for row in rows}), transform, layers)
    spec["padding"] = {"left": 4, "top": 4, "bottom": 4, "right": 26}  # the last slanted label ends there
    spec["encoding"] = _grid(rows, (row_title, column_title), row_order, column_order)
    return Figure(name=name, title=title, caption=caption, rows=tuple(rows), vega_lite=spec)


def contact_sheet(pictures: Iterable[Row], *, name: str, title: str, caption: str) -> Figure:
    """Pictures by section, with what was measured there.

    Rows have `image` (a data URI), `label` and `section`, and may have `value`, `low`, `high`, `n` (the accuracy of
    the section, as fractions, the same in each of its rows) and `metric` (what `value` is). Raises for an image that
    is not a data URI: a report loads nothing.
    """
    rows = plain_rows("picture", pictures, ("image", "label", "section"))
    for row in rows:
        if not str(row["image"]).startswith("data:image/"):
            raise SurefootError(f"The picture '{row['label']}' of figure '{name}' is not a data URI (data:image/...).")
    return Figure(name=name, title=title, caption=caption, rows=tuple(rows), vega_lite=None)


def text_picture(text: str, lines: int = 8) -> str:
    """The first lines of a text as a picture for a contact sheet: what users wrote cannot become markup."""
    shown = [part for line in text.splitlines() for part in wrap(line, 52)][:lines]
    rows = "".join(f'<text x="8" y="{20 + 17 * place}">{escape(line)}</text>' for place, line in enumerate(shown))
    size = f'width="380" height="{24 + 17 * lines}"'
    drawn = f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="sans-serif" font-size="13">'
    svg = f'{drawn}<rect width="100%" height="100%" fill="#fff"/>{rows}</svg>'
    return f"data:image/svg+xml;base64,{b64encode(svg.encode()).decode()}"


def _short(unit: Unit) -> str:
    patterns = {"share": "format(100*datum.value, '.1f')", "points": "format(100*datum.value, '+.1f')"}
    return patterns.get(unit, "format(datum.value, abs(datum.value) < 0.001 ? '.3~g' : ',.3~r')")


def _grid(
    cells: list[dict[str, Any]], titles: tuple[str, str], rows: Sequence[str] | None, columns: Sequence[str] | None
) -> Layer:
    def channel(field: str, title: str, order: Sequence[str] | None, extra: dict[str, Any]) -> Layer:
        axis = {"title": wrapped(title), "domain": False, "ticks": False, "labelOverlap": False, **extra}
        return {"field": field, "type": "nominal", "sort": list(order) if order else None, "axis": axis}

    names = {str(cell["column"]) for cell in cells}
    crowded = len(names) * max(map(len, names)) > _CHARACTERS_ABREAST
    slant = {"labelAngle": -40, "labelAlign": "left", "labelBaseline": "bottom"} if crowded else {"labelAngle": 0}
    flat = {"titleAngle": 0, "titleAlign": "right", "titleAnchor": "end", "titleX": -6, "titleY": -8}
    return {
        "y": channel("row", titles[0], rows, flat),
        "x": channel("column", titles[1], columns, {**slant, "orient": "top"}),
    }


def _cell_layers(rows: list[dict[str, Any]], low: float, high: float, value_title: str) -> list[Layer]:
    scale = {"domain": [low, high if high > low else low + 1], "range": list(SEQUENTIAL)}
    tooltip = [
        *named_fields(rows, "row", "column"),
        {"field": "shown", "title": value_title, "type": "nominal"},
        *named_fields(rows, "n"),
    ]
    colour = {"field": "value", "type": "quantitative", "scale": scale, "legend": None}
    dark = f"datum.value > {low + _DARK_FROM * (high - low)}"
    ink = {"condition": {"test": dark, "value": "#ffffff"}, "value": "#12202e"}
    return [
        {"mark": {"type": "rect", "cornerRadius": 3}, "encoding": {"color": colour, "tooltip": tooltip}},
        {
            "mark": {"type": "text"},
            "encoding": {"text": {"field": "written", "type": "nominal"}, "color": ink, "tooltip": tooltip},
        },
    ]
