"""A contact sheet as SVG, for print and for pages without a browser."""

from html import escape
from itertools import groupby
from textwrap import wrap
from typing import Any

from surefoot.core import Figure
from surefoot.figures._theme import FONT, Theme, theme_config

_PICTURE, _GAP, _HEADING = 56, 10, 30


def sheet_svg(figure: Figure, *, theme: Theme, width: int, titled: bool) -> str:
    """The pictures of a contact sheet in rows, under the name and the accuracy of their section."""
    config = theme_config(theme)
    ink, quiet, paper = config["text"]["color"], config["axis"]["labelColor"], config["background"]
    lines = wrap(figure.title, max(20, width // 9)) if titled else []
    parts = [_text(line, _GAP, 22 + 20 * index, ink, size=16, weight=600) for index, line in enumerate(lines)]
    y = 12 + 20 * len(lines) if titled else 0
    across = max(1, (width - _GAP) // (_PICTURE + _GAP))
    for section, rows in groupby(sorted_by_section(figure), key=lambda row: row["section"]):
        pictures = list(rows)
        y += _HEADING
        parts.append(_text(section, _GAP, y - 10, ink, weight=600))
        parts.append(_text(accuracy_text(pictures[0]), width - _GAP, y - 10, quiet, anchor="end"))
        for index, row in enumerate(pictures):
            left, top = _GAP + (index % across) * (_PICTURE + _GAP), y + (index // across) * (_PICTURE + _GAP)
            parts.append(_picture(row, left, top))
        y += -(-len(pictures) // across) * (_PICTURE + _GAP)
    frame = f'<rect width="{width}" height="{y}" fill="{paper}"/>'
    opening = f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{y}" viewBox="0 0 {width} {y}">'
    return "\n".join([opening, frame, *parts, "</svg>"])


def sorted_by_section(figure: Figure) -> list[dict[str, Any]]:
    """The pictures with those of a section together, the sections in the order in which they first appear."""
    rows = figure.table()
    place = {section: index for index, section in enumerate(dict.fromkeys(row["section"] for row in rows))}
    return sorted(rows, key=lambda row: place[row["section"]])


def accuracy_text(row: dict[str, Any]) -> str:
    """`accuracy 31.2% [29.8%, 32.7%], n = 1,200`, as far as it is known."""
    if row.get("value") is None:
        return ""
    bounds = row.get("low"), row.get("high")
    interval = "" if None in bounds else " [{:.1%}, {:.1%}]".format(*bounds)
    count = f", n = {row['n']:,}" if row.get("n") is not None else ""
    return f"{row.get('metric') or 'accuracy'} {row['value']:.1%}{interval}{count}"


def _picture(row: dict[str, Any], left: int, top: int) -> str:
    place = f'x="{left}" y="{top}" width="{_PICTURE}" height="{_PICTURE}"'
    label, image = escape(str(row["label"])), escape(str(row["image"]))
    return f'<g><title>{label}</title><rect {place} rx="4" fill="#ffffff"/><image {place} href="{image}"/></g>'


def _text(text: object, x: int, y: int, ink: str, *, size: int = 12, weight: int = 400, anchor: str = "start") -> str:
    return (
        f'<text x="{x}" y="{y}" fill="{ink}" font-family="{FONT}" font-size="{size}" font-weight="{weight}" '
        f'text-anchor="{anchor}">{escape(str(text))}</text>'
    )
