"""Pictures for contact sheets, with whose they are and under which licence."""

import base64
import io
from collections.abc import Iterator, Mapping, Sequence
from glob import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from surefoot.contrastive._drawn._concepts import Emoji
from surefoot.contrastive._drawn._drawings import read_style
from surefoot.contrastive._drawn._iconify import Icon
from surefoot.contrastive._drawn._render import render_png
from surefoot.contrastive._drawn._split import WIDELY_DRAWN
from surefoot.contrastive._drawn._styles import style
from surefoot.contrastive._pictures._directory import load_images, read_classes
from surefoot.contrastive._pictures._listing import list_pictures
from surefoot.contrastive._pictures._photos import RefusedPictureError, decode, read_stored, square
from surefoot.contrastive._tasks._zero_shot import ZeroShot
from surefoot.core import Figure, Observation, Results, SurefootError, in_memory
from surefoot.examples import EXAMPLES
from surefoot.figures import contact_sheet
from surefoot.stats import shuffled

if TYPE_CHECKING:
    from PIL import Image

LabelledPicture = tuple[str, bytes]
SheetRow = dict[str, Any]
"""A picture of a contact sheet (`surefoot.figures.contact_sheet`): `image`, `label`, `section`."""


def wrong_sheet(results: Results, tests: Mapping[str, Observation], *, n: int = 12, size: int = 64) -> Figure:
    """The pictures that were named wrongly in tests (`top1` of a `ZeroShot`), by a name for each: what was answered.

    At most `n` of each test are shown, those of which the model was surest. Raises `SurefootError` where none is wrong.
    """
    if not (rows := [row for name, test in tests.items() for row in _wrong_rows(results, name, test, n, size)]):
        raise SurefootError("No picture was named wrongly.")
    return contact_sheet(
        rows,
        name="wrong",
        title="What was named wrongly, and what was answered",
        caption=f"Of each test the {n} wrong answers that were given with the highest probability, the surest first; "
        f"all of them are in {EXAMPLES} of the test, whose key is beside its number.",
    )


def _wrong_rows(results: Results, name: str, test: Observation, n: int, size: int) -> Iterator[SheetRow]:
    if not isinstance(test.step, ZeroShot):
        raise SurefootError(f"{name}: {test.step.kind} names no pictures: give a measurement of a ZeroShot.")
    place, one = results.store.path(test.step.data), test.measurement
    names = dict(zip(read_classes(place).keys, read_classes(place).names, strict=True))
    with in_memory() as connection:
        found = connection.execute(
            "SELECT file_row_number, label, prediction, probability, count(*) OVER () FROM read_parquet(?, "
            "file_row_number = true) WHERE score < 1 ORDER BY probability DESC, example LIMIT ?",
            [escape(str(results.store.file(test.step, EXAMPLES))), n],
        ).fetchall()
    pictures = load_images(place, [row for row, *_ in found])
    shown = {"value": one.value, "low": one.low, "high": one.high, "n": one.n, "metric": "top-1"}
    for picture, (_, label, answer, probability, wrong) in zip(pictures, found, strict=True):
        text = f"is: {names[label]}; answered: {names[answer]} ({probability:.0%})"
        yield {"image": png_uri(_png(picture, size)), "label": text, "section": f"{name}: {wrong:,} wrong", **shown}


def png_of(image: NDArray[np.uint8]) -> bytes:
    """A picture (height, width, 3) uint8 as PNG."""
    from PIL import Image

    return _encoded(Image.fromarray(image))


def png_uri(png: bytes) -> str:
    """A PNG as a data URI, for pages that load nothing."""
    return f"data:image/png;base64,{base64.b64encode(png).decode()}"


def style_rows(names: Sequence[str], n: int, *, seed: int = 0, size: int = 64) -> list[SheetRow]:
    """`n` drawings of each style, drawn now: of the same concepts, those that all of the styles draw.

    The section of each is its credit: whose drawings they are, and under which licence.
    """
    read = {name: read_style(style(name), size) for name in names}
    by_code = {name: _usual_drawings(*read[name]) for name in names}
    common = set.intersection(*(set(drawings) for drawings in by_code.values()))
    chosen = shuffled(common, seed)[:n]
    credits = {name: f"{style(name).title}: {style(name).package.credit}" for name in names}
    return [
        {"image": png_uri(render_png(svg)), "label": label, "section": credits[name]}
        for name in names
        for label, svg in map(by_code[name].__getitem__, chosen)
    ]


def _usual_drawings(icons: tuple[Icon, ...], shown: dict[str, Emoji]) -> dict[str, tuple[str, str]]:
    svg = {icon.name: icon.svg for icon in icons}
    usual = {key: item for key, item in shown.items() if item.group and item.since <= WIDELY_DRAWN and not item.variant}
    return {item.hexcode: (item.label, svg[key]) for key, item in usual.items()}


def folder_rows(path: Path, n: int, *, seed: int = 0, size: int = 64) -> list[SheetRow]:
    """`n` pictures of an engineer's own folder or shards; the section says how many others could not be decoded."""
    by_name = {item.name: item for item in list_pictures(path).pictures}
    shown: list[LabelledPicture] = []
    refused = 0
    for name in shuffled(by_name, seed):
        try:
            data = read_stored(by_name[name].stored)
            shown.append((by_name[name].label or name, _png(decode(data, at_least=2 * size), size)))
        except RefusedPictureError:
            refused += 1
        if len(shown) == n:
            break
    if not shown:
        raise SurefootError(f"No picture in {path} can be decoded.")
    section = f"{path.name}: from {path}" + (f"; {refused} others cannot be decoded" if refused else "")
    return [{"image": png_uri(png), "label": label, "section": section} for label, png in shown]


def _png(picture: "Image.Image", size: int) -> bytes:
    return _encoded(picture if picture.width == picture.height <= size else square(picture, size))


def _encoded(picture: "Image.Image") -> bytes:
    stream = io.BytesIO()
    picture.save(stream, format="PNG")
    return stream.getvalue()
