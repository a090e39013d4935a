"""Figures as files: SVG, PNG, PDF, JSON and CSV."""

import csv
import io
import json
import re
from pathlib import Path
from textwrap import wrap
from typing import Any

from surefoot.core import Figure, SurefootError, write_bytes, write_text
from surefoot.figures._sheet import sheet_svg
from surefoot.figures._theme import Theme, theme_config

VEGA_LITE_VERSION = "6.4"
SUFFIXES = (".svg", ".png", ".pdf", ".json", ".csv")


def write_figure(figure: Figure, path: Path, *, theme: Theme = "light", width: int = 680, scale: float = 2.0) -> Path:
    """Write a figure in the format that the suffix names: .svg, .png, .pdf (drawn), .json (its spec), .csv (its table).

    `width` is in CSS pixels, `scale` multiplies the pixels of a PNG. Raises for another suffix.
    """
    suffix = check_suffix(path)
    if suffix in (".png", ".pdf"):
        from vl_convert import svg_to_pdf, svg_to_png

        svg = render_svg(figure, theme=theme, width=width)
        write_bytes(path, svg_to_png(svg, scale=scale) if suffix == ".png" else svg_to_pdf(svg))
    else:
        write_text(path, _text(figure, suffix, theme, width))
    return path


def check_suffix(path: Path) -> str:
    """The suffix of a figure's file in lower case. Raises `SurefootError` for one that names no format."""
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise SurefootError(f"Cannot write a figure as '{path.name}': the name must end in {', '.join(SUFFIXES)}.")
    return suffix


def render_svg(figure: Figure, *, theme: Theme = "light", width: int = 680, titled: bool = True) -> str:
    """The figure as SVG text, `width` CSS pixels wide; with `titled` its title stands above it."""
    if figure.vega_lite is None:
        return sheet_svg(figure, theme=theme, width=width, titled=titled)
    from vl_convert import vegalite_to_svg

    spec = sized_spec(figure, theme=theme, width=width, titled=titled)
    return _renumbered(vegalite_to_svg(spec, vl_version=VEGA_LITE_VERSION))


def sized_spec(figure: Figure, *, theme: Theme = "light", width: int = 680, titled: bool = True) -> dict[str, Any]:
    """The specification at a fixed width and in one theme, for where there is no page to fill."""
    spec = figure.spec() | {"config": theme_config(theme)}
    if spec.get("width") == "container":
        spec["width"] = width
    if titled:
        spec["title"] = {"text": wrap(figure.title, max(20, width // 9))}
    return spec


def to_csv(figure: Figure) -> str:
    """The table of the figure as CSV, every column that some row has; pictures are left out."""
    rows = figure.table()
    columns = [name for name in dict.fromkeys(name for row in rows for name in row) if name != "image"]
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _renumbered(svg: str) -> str:
    """The same SVG with its ids counted from 1: the renderer goes on counting from one figure to the next."""
    names = dict.fromkeys(re.findall(r'id="((?:clip|gradient_)\d+)"', svg))
    for position, name in enumerate(names, start=1):
        svg = re.sub(rf'(?<=["#]){name}(?=[")])', f"drawn-{position}", svg)
    return svg


def _text(figure: Figure, suffix: str, theme: Theme, width: int) -> str:
    if suffix == ".csv":
        return to_csv(figure)
    if suffix == ".svg":
        return render_svg(figure, theme=theme, width=width)
    content = figure.table() if figure.vega_lite is None else figure.spec()
    return json.dumps(content, indent=1, ensure_ascii=False) + "\n"
