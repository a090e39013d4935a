"""The verbs of data: list, get and show what can be trained and tested on."""

import sys
from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from surefoot.cli._output import Format, emit
from surefoot.contrastive import EMOJIBASE, STYLES, folder_rows, style_rows
from surefoot.core import Figure, SurefootError, Table, write_text
from surefoot.figures import contact_sheet, render_svg, write_figure
from surefoot.registry import Package, fetch, is_cached

data = App(name="data", help="List, fetch and look at the pictures that can be trained and tested on.")
_COLUMNS = ("name", "pictures", "concepts", "licence", "cached", "megabytes", "author", "source")
_MOST_PICTURES = 5_000
_WIDTH = 960


@data.command(name="list")
def list_data(*, out: Path | None = None, format: Format | None = None) -> None:
    """List the drawing styles and the words that belong to them: counts, licence, size, and whether they are here.

    Example: surefoot data list
    """
    rows = [(style.name, style.icons, style.concepts, *_told(style.package)) for style in STYLES.values()]
    emit(Table(_COLUMNS, (*rows, ("words", None, None, *_told(EMOJIBASE)))), format, out)


@data.command
def get(
    names: Annotated[tuple[str, ...], Parameter(help="Names of 'surefoot data list', or all.", negative=())], /
) -> None:
    """Fetch packages into the cache, so that later work needs no network. Prints where each lies.

    Example: surefoot data get noto twemoji
    """
    for name, source in _wanted(names).items():
        if not is_cached(source):
            print(f"Fetching {name} ({source.size / 1e6:.1f} MB) ...", file=sys.stderr, flush=True)
        print(f"{name}\t{fetch(source)}", flush=True)


@data.command
def show(
    names: Annotated[
        tuple[str, ...], Parameter(help="Drawing styles, or folders or .tar files of yours.", negative=())
    ],
    /,
    *,
    out: Annotated[Path, Parameter(help="The sheet to write: .html, .svg, .png or .pdf.")] = Path("contact-sheet.html"),
    count: Annotated[int, Parameter(help="Pictures of each.")] = 60,
    seed: Annotated[int, Parameter(help="Another number chooses other pictures.")] = 0,
) -> None:
    """Draw a contact sheet with the makers and licences on it; styles show the same concepts. Prints its path.

    Example: surefoot data show noto twemoji --out sheet.png
    """
    if out.suffix not in (".html", ".svg", ".png", ".pdf"):
        raise SurefootError(f"A contact sheet is a .html, .svg, .png or .pdf file, not {out.name}.")
    if not names or not 1 <= count <= _MOST_PICTURES:
        raise SurefootError(f"Name at least one style or folder, and a count from 1 to {_MOST_PICTURES}.")
    sheet = _sheet(names, count, seed)
    if out.suffix == ".html":
        drawn = render_svg(sheet, width=_WIDTH)
        page = f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{sheet.title}</title>{drawn}</html>\n'
        write_text(out, page)
    else:
        write_figure(sheet, out, width=_WIDTH)
    print(out)


def _told(package: Package) -> tuple[str, str, float, str, str]:
    cached = "yes" if is_cached(package) else "no"
    return package.licence, cached, round(package.size / 1e6, 1), package.author, package.label


def _wanted(names: tuple[str, ...]) -> dict[str, Package]:
    """The packages behind names; a style brings the words, and the table of names that it follows."""
    known = {"words": EMOJIBASE} | {style.name: style.package for style in STYLES.values()}
    unknown = [name for name in names if name not in known and name != "all"]
    if unknown or not names:
        raise SurefootError(f"There is no data named '{''.join(unknown[:1])}'. There are: all, {', '.join(known)}.")
    if "all" in names:
        return known
    followed = [STYLES[name].names_from for name in names if name in STYLES and STYLES[name].names_from]
    return {name: known[name] for name in dict.fromkeys(["words", *names, *followed])}


def _sheet(names: tuple[str, ...], count: int, seed: int) -> Figure:
    styles = [name for name in names if name in STYLES]
    folders = [Path(name) for name in names if name not in STYLES]
    if missing := [folder for folder in folders if not folder.exists()]:
        raise SurefootError(
            f"'{missing[0]}' is neither a drawing style ({', '.join(STYLES)}) nor a folder or .tar file."
        )
    rows = style_rows(styles, count, seed=seed) if styles else []
    rows += [row for folder in folders for row in folder_rows(folder, count, seed=seed)]
    return contact_sheet(
        rows, name="sheet", title="Contact sheet", caption="Pictures, whose they are and under which licence."
    )
