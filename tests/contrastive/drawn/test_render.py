"""Drawings of unknown makers are drawn on white, or refused with the reason; they reach no file and no network."""

from pathlib import Path

import numpy as np
import pytest

from surefoot.contrastive._drawn._render import MAX_CHARACTERS, RefusedDrawingError, render

SIZE = 32


def svg(body: str, attributes: str = "") -> str:
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
        f'viewBox="0 0 32 32" width="{SIZE}" height="{SIZE}" {attributes}>{body}</svg>'
    )


def test_a_drawing_lies_on_white() -> None:
    picture = render(svg('<rect width="16" height="32" fill="#102030"/>'), SIZE)
    assert picture.shape == (SIZE, SIZE, 3)
    assert picture.dtype == np.uint8
    assert (picture[:, :16] == [0x10, 0x20, 0x30]).all()
    assert (picture[:, 16:] == 255).all()


def test_what_is_half_transparent_is_mixed_with_white() -> None:
    picture = render(svg('<rect width="32" height="32" fill="#000" fill-opacity="0.5"/>'), SIZE)
    assert abs(int(picture[5, 5, 0]) - 128) <= 1


def bomb(element: str, use: str) -> str:
    """Eleven levels that each refer ten times to the one before: ten to the eleventh in all."""
    levels = "".join(f"<{element} id='a{n}'>{use.format(n - 1) * 10}</{element}>" for n in range(1, 12))
    return f"<defs><{element} id='a0'><path d='M0 0h9v9z'/></{element}>{levels}</defs>{use.format(11)}"


BLURS = "<filter id='f'>" + "<feGaussianBlur stdDeviation='9'/>" * 200 + "</filter>" + "<g filter='url(#f)'/>" * 200


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("<script>alert(1)</script>", "<script>"),
        ("<style>@import url(http://example.org/x.css)</style>", "<style>"),
        ("<text>words</text>", "<text>"),
        ("<foreignObject><b/></foreignObject>", "<foreignObject>"),
        ("<image href='file:///etc/passwd'/>", "<image>"),
        ("<image xlink:href='https://example.org/x.png'/>", "<image>"),
        ("<image href='data:image/png;base64,AAAA'/>", "<image>"),
        ("<feImage href='file:///etc/passwd'/>", "<feImage>"),
        ("<use href='other.svg#a'/>", r"outside itself \(other.svg#a\)"),
        ("<use xlink:href='file:///etc/passwd'/>", "outside itself"),
        ("<path fill='url(https://example.org/x#a)' d='M0 0h9v9z'/>", "fill refers to something outside"),
        ("<path style='fill:url( \"x.svg#a\")' d='M0 0h9v9z'/>", "style refers to something outside"),
        ("<path style='fill:u\\72l(x.svg#a)' d='M0 0h9v9z'/>", "style refers to something outside"),
        ("<path onload='alert(1)' d='M0 0h9v9z'/>", "event handler"),
        ("<path d='M0 0h9v9z'>", "not well-formed"),
        ("<!-- --><path d='M0 0h9v9z'/>", "document type"),
        ("<?xml-stylesheet href='x.css'?><path d='M0 0h9v9z'/>", "processing instruction"),
        ("<path d='M0 0h9v9z'/>" * 60_000, "60,001 elements"),
        ("<g>" * 300 + "</g>" * 300, "more than 16 deep"),
        (bomb("g", "<use href='#a{}'/>"), "multiply"),
        (bomb("pattern", "<path d='M0 0h9v9z' fill='url(#a{})'/>"), "multiply"),
        (bomb("mask", "<path d='M0 0h9v9z' style='mask: url( \"#a{}\" )'/>"), "multiply"),
        (BLURS, "multiply"),
        ("<g id='a'><use href='#a'/></g>", "multiply"),
        ("<path d='M0 0h9v9z' fill='#fff'/>", "blank"),
        ("", "blank"),
        ("<path d='" + "M0 0h9v9z" * (MAX_CHARACTERS // 9) + "'/>", "characters"),
    ],
)
def test_a_hostile_or_empty_drawing_is_refused(body: str, reason: str) -> None:
    with pytest.raises(RefusedDrawingError, match=reason):
        render(svg(body), SIZE)


def test_entities_are_refused_before_they_are_expanded() -> None:
    laughs = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 12))
    document = f'<!DOCTYPE svg [<!ENTITY l0 "ha">{laughs}<!ENTITY f SYSTEM "file:///etc/passwd">]>' + svg("&l11;&f;")
    with pytest.raises(RefusedDrawingError, match="document type"):
        render(document, SIZE)


def test_a_picture_file_beside_the_drawing_is_never_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from PIL import Image

    Image.new("RGB", (32, 32), "red").save(tmp_path / "secret.png")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(RefusedDrawingError):
        render(svg("<image href='secret.png' width='32' height='32'/>"), SIZE)


def test_a_drawing_of_another_size_is_refused() -> None:
    with pytest.raises(RefusedDrawingError, match="32 x 32 pixels, not 48 x 48"):
        render(svg("<path d='M0 0h9v9z'/>"), 48)


def test_references_within_the_drawing_are_followed() -> None:
    body = "<defs><rect id='r' width='32' height='32' fill='#f00'/></defs><use xlink:href='#r'/>"
    assert (render(svg(body), SIZE) == [255, 0, 0]).all()
