"""The look of every figure, in light and in dark: quiet grid, no frame, text that can be read in print."""

from typing import Any, Literal

Theme = Literal["light", "dark"]
FONT = "Arial, Helvetica, 'Liberation Sans', sans-serif"
"""Fonts of equal widths: a drawing that was laid out with one does not overflow in another."""

_INK = {"light": ("#1d232a", "#4a525b", "#e3e7eb", "#ffffff"), "dark": ("#e8ebee", "#aeb6be", "#30363d", "#14181c")}


def theme_config(theme: Theme = "light") -> dict[str, Any]:
    """The Vega-Lite `config` of a theme."""
    text, quiet, grid, paper = _INK[theme]
    return {
        "font": FONT,
        "background": paper,
        "padding": 4,
        "view": {"stroke": None},
        "axis": _axis_config(quiet, grid),
        "axisY": {"domain": False, "ticks": False, "labelPadding": 6},
        "legend": _legend_config(text, quiet),
        "title": {
            "anchor": "start",
            "color": text,
            "fontSize": 16,
            "fontWeight": 600,
            "offset": 14,
            "subtitleColor": quiet,
        },
        "text": {"fontSize": 12, "color": text},
        "point": {"size": 70, "strokeWidth": 1.6},
        "line": {"strokeWidth": 2},
        "rule": {"strokeWidth": 1.3},
        "tick": {"color": text},
    }


def _axis_config(quiet: str, grid: str) -> dict[str, Any]:
    colours = {
        **dict.fromkeys(("labelColor", "titleColor", "domainColor"), quiet),
        "tickColor": grid,
        "gridColor": grid,
    }
    fonts = {"labelFontSize": 12, "titleFontSize": 12.5, "titleFontWeight": 500}
    return {**colours, **fonts, "titlePadding": 10, "labelOverlap": True, "labelLimit": 210}


def _legend_config(text: str, quiet: str) -> dict[str, Any]:
    fonts = {"labelFontSize": 12, "titleFontSize": 12, "titleFontWeight": 500, "labelColor": text, "titleColor": quiet}
    return {
        **fonts,
        "orient": "bottom",
        "direction": "horizontal",
        "columns": 4,
        "labelLimit": 200,
        "symbolSize": 90,
        "offset": 12,
    }
