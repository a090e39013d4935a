"""Contact sheets: many small pictures on one page, with whose they are and under which licence."""

import base64
import html
import io
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from surefoot.contrastive._drawn._concepts import Emoji
from surefoot.contrastive._drawn._drawings import credit_of, read_style
from surefoot.contrastive._drawn._iconify import Icon
from surefoot.contrastive._drawn._render import render_png
from surefoot.contrastive._drawn._split import WIDELY_DRAWN
from surefoot.contrastive._drawn._styles import style
from surefoot.contrastive._pictures._directory import count_images, load_images, read_credit, read_items
from surefoot.contrastive._pictures._listing import list_pictures
from surefoot.contrastive._pictures._photos import (
    RefusedPictureError,
    decode,
    read_stored,
    square,
)
from surefoot.core import SurefootError
from surefoot.stats import shuffled

if TYPE_CHECKING:
    import numpy as np
    from PIL import Image, ImageDraw, ImageFont

LabelledPicture = tuple[str, bytes]


@dataclass(frozen=True, kw_only=True)
class Section:
    """One part of a contact sheet: a title, whose pictures they are, and (label, PNG) pairs."""

    title: str
    credit: str
    pictures: tuple[LabelledPicture, ...]


def sample_pictures(directory: Path, n: int, *, seed: int = 0, size: int = 64) -> list[LabelledPicture]:
    """`n` pictures (or all, if fewer) of a made Step of this room: (label, PNG bytes).

    They are chosen at random by `seed`, concepts that two styles share in both, and come in the Step's order. Photos
    are cut to squares of `size` pixels. Raises `SurefootError` when the directory holds no pictures.
    """
    items = read_items(directory)
    by_id = {item.get("hexcode") or item["name"]: row for row, item in enumerate(items) if not item.get("variant")}
    if count_images(directory) != len(items):
        raise SurefootError(f"{directory} is damaged: it does not hold as many pictures as it describes.")
    rows = sorted(by_id[name] for name in shuffled(by_id, seed)[:n])
    pictures = load_images(directory, rows)
    return [(items[row]["label"], _png(picture, size)) for row, picture in zip(rows, pictures, strict=True)]


def png_of(image: "np.ndarray") -> bytes:
    """A picture (height, width, 3) uint8 as PNG."""
    from PIL import Image

    return _encoded(Image.fromarray(image))


def png_uri(png: bytes) -> str:
    """A PNG as a data URI, for pages that load nothing."""
    return f"data:image/png;base64,{base64.b64encode(png).decode()}"


def credits_of(directory: Path) -> list[str]:
    """The lines that must stand beside the pictures of a made Step."""
    return [_credit_line(row) for row in read_credit(directory)]


def style_sections(names: Sequence[str], n: int, *, seed: int = 0, size: int = 64) -> list[Section]:
    """`n` drawings of each style, drawn now: of the same concepts, those that all of the styles draw."""
    read = {name: read_style(style(name), size) for name in names}
    by_code = {name: _usual_drawings(*read[name]) for name in names}
    common = set.intersection(*(set(drawings) for drawings in by_code.values()))
    chosen = shuffled(common, seed)[:n]
    return [
        Section(
            title=style(name).title,
            credit=_credit_line(credit_of(style(name))),
            pictures=tuple((label, render_png(svg)) for label, svg in map(by_code[name].__getitem__, chosen)),
        )
        for name in names
    ]


def _usual_drawings(icons: tuple[Icon, ...], shown: dict[str, Emoji]) -> dict[str, tuple[str, str]]:
    """Label and document of the drawings of widely drawn concepts, by hexcode."""
    svg = {icon.name: icon.svg for icon in icons}
    usual = {key: item for key, item in shown.items() if item.group and item.since <= WIDELY_DRAWN and not item.variant}
    return {item.hexcode: (item.label, svg[key]) for key, item in usual.items()}


def folder_section(path: Path, n: int, *, seed: int = 0, size: int = 64) -> Section:
    """`n` pictures of an engineer's own folder or shards; those that cannot be decoded are left out."""
    by_name = {item.name: item for item in list_pictures(path).pictures}
    pictures: list[LabelledPicture] = []
    for name in shuffled(by_name, seed):
        with suppress(RefusedPictureError):
            data = read_stored(by_name[name].stored)
            pictures.append((by_name[name].label or name, _png(decode(data, at_least=2 * size), size)))
        if len(pictures) == n:
            break
    return Section(title=path.name, credit=f"From {path}", pictures=tuple(pictures))


def contact_sheet_html(sections: Sequence[Section], *, title: str = "Contact sheet") -> str:
    """The sections as one HTML page that needs nothing beside it."""
    body = "".join(map(_section_html, sections))
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{html.escape(title)}</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<style>{_CSS}</style><main><h1>{html.escape(title)}</h1>{body}</main></html>\n"
    )


def contact_sheet_png(sections: Sequence[Section], *, columns: int = 12, cell: int = 72) -> bytes:
    """The sections as one PNG picture, `columns` pictures wide, with titles and credits. Raises without a section."""
    from PIL import Image, ImageDraw, ImageFont

    if not sections:
        raise SurefootError("A contact sheet needs at least one section.")
    heights = [_HEAD + -(-len(section.pictures) // columns) * cell for section in sections]
    page = Image.new("RGB", (columns * cell + 2 * _MARGIN, sum(heights) + 2 * _MARGIN), "white")
    draw = ImageDraw.Draw(page)
    fonts = (ImageFont.load_default(16), ImageFont.load_default(11))
    top = _MARGIN
    for section, height in zip(sections, heights, strict=True):
        _write_head(draw, section, top, fonts)
        for place, (_, png) in enumerate(section.pictures):
            row, column = divmod(place, columns)
            with Image.open(io.BytesIO(png)) as picture:
                small = square(picture.convert("RGB"), cell - 8)
            page.paste(small, (_MARGIN + column * cell + 4, top + _HEAD + row * cell + 4))
        top += height
    return _encoded(page)


_MARGIN, _HEAD = 16, 52
_CSS = """
:root { color-scheme: light dark; font: 15px/1.4 system-ui, sans-serif }
main { max-width: 72rem; margin: 2rem auto; padding: 0 1rem }
h1 { font-size: 1.5rem } h2 { margin: 2rem 0 0; font-size: 1.1rem }
.credit { margin: .1rem 0 .8rem; font-size: .8rem; opacity: .75; overflow-wrap: anywhere }
.sheet { display: grid; grid-template-columns: repeat(auto-fill, minmax(6rem, 1fr)); gap: .6rem }
figure { margin: 0; text-align: center } figcaption { font-size: .7rem; overflow-wrap: anywhere }
img { width: 64px; height: 64px; background: #fff; border-radius: 4px }
"""


def _section_html(section: Section) -> str:
    figures = "".join(
        f'<figure><img src="{png_uri(png)}" alt="{html.escape(label)}">'
        f"<figcaption>{html.escape(label)}</figcaption></figure>"
        for label, png in section.pictures
    )
    credit = f'<p class="credit">{html.escape(section.credit)}</p>'
    return f'<h2>{html.escape(section.title)}</h2>{credit}<div class="sheet">{figures}</div>'


def _write_head(
    draw: "ImageDraw.ImageDraw",
    section: Section,
    top: int,
    fonts: "tuple[ImageFont.FreeTypeFont | ImageFont.ImageFont, ImageFont.FreeTypeFont | ImageFont.ImageFont]",
) -> None:
    draw.text((_MARGIN + 4, top + 6), section.title, fill="black", font=fonts[0])
    draw.text((_MARGIN + 4, top + 28), section.credit, fill="#555555", font=fonts[1])


def _credit_line(row: dict[str, str]) -> str:
    return f"{row['title']}: {row['author']}, {row['licence']}, {row['url']} ({row['package']})"


def _png(picture: "Image.Image", size: int) -> bytes:
    return _encoded(picture if picture.width == picture.height <= size else square(picture, size))


def _encoded(picture: "Image.Image") -> bytes:
    stream = io.BytesIO()
    picture.save(stream, format="PNG")
    return stream.getvalue()
