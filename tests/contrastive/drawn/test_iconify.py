"""Icon sets become complete drawings: boxes, aliases and transformations as the iconify schema has them."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from surefoot.contrastive import STYLES
from surefoot.contrastive._drawn._iconify import Icon, read_icon_set
from surefoot.contrastive._drawn._render import render
from surefoot.core import SurefootError

# A red bar at the left and a blue block in the lower right corner: no symmetry at all.
BODY = '<path fill="#f00" d="M0 0h4v16H0z"/><path fill="#00f" d="M8 12h8v4H8z"/>'


Write = Callable[[dict[str, Any]], Path]
Draw = Callable[[dict[str, Any]], dict[str, np.ndarray]]


@pytest.fixture
def write(tmp_path: Path, tarball: Callable[..., Path]) -> Write:
    """Write a package of one icon set."""

    def written(data: dict[str, Any]) -> Path:
        icon_set = {"prefix": "test", "icons": {"base": {"body": BODY}}} | data
        members = {"package/icons.json": json.dumps(icon_set).encode(), "package/chars.json": b"{}"}
        return tarball(tmp_path / "set.tgz", members)

    return written


@pytest.fixture
def draw(write: Write) -> Draw:
    """Draw every icon of a set, 16 pixels wide."""
    return lambda data: {icon.name: render(icon.svg, 16) for icon in read_icon_set(write(data), size=16).icons}


def test_mirroring_and_turning_are_those_of_the_pixels(draw: Draw) -> None:
    aliases = {
        "mirrored": {"parent": "base", "hFlip": True},
        "flipped": {"parent": "base", "vFlip": True},
        "both": {"parent": "mirrored", "vFlip": True},
        "right": {"parent": "base", "rotate": 1},
        "half": {"parent": "right", "rotate": 1},
        "back": {"parent": "mirrored", "hFlip": True},
        "mirrored-right": {"parent": "mirrored", "rotate": 1},
    }
    made = draw({"aliases": aliases})
    base = made["base"]
    assert (base[0, 0] == [255, 0, 0]).all()
    assert (base[15, 15] == [0, 0, 255]).all()
    expected = {
        "mirrored": np.fliplr(base),
        "flipped": np.flipud(base),
        "both": base[::-1, ::-1],
        "right": np.rot90(base, -1),
        "half": base[::-1, ::-1],
        "back": base,
        "mirrored-right": np.rot90(np.fliplr(base), -1),
    }
    for name, picture in expected.items():
        assert (made[name] == picture).all(), name


def test_a_box_with_an_offset_shows_that_part(draw: Draw) -> None:
    icons = {"base": {"body": BODY}, "part": {"body": BODY, "left": 8, "top": 8, "width": 8, "height": 8}}
    made = draw({"icons": icons})
    assert (made["part"][:, 0] == made["base"][8:, 8].repeat(2, axis=0)).all()
    assert (made["part"][8:] == [0, 0, 255]).all()


def test_a_turned_part_turns_about_its_own_centre(draw: Draw) -> None:
    icons = {"base": {"body": BODY, "left": 8, "top": 8, "width": 8, "height": 8}}
    made = draw({"icons": icons, "aliases": {"turned": {"parent": "base", "rotate": 1}}})
    assert (made["turned"] == np.rot90(made["base"], -1)).all()


def test_a_drawing_that_is_not_square_is_fitted_whole_on_white(draw: Draw) -> None:
    wide = {"body": '<path d="M0 0h32v16H0z"/>', "width": 32, "height": 16}
    made = draw({"icons": {"wide": wide}, "aliases": {"tall": {"parent": "wide", "rotate": 1}}})
    assert (made["wide"][4:12] == 0).all()
    assert (made["wide"][:4] == 255).all()
    assert (made["tall"] == np.rot90(made["wide"], -1)).all()


def test_the_set_gives_the_sizes_that_its_drawings_leave_out(draw: Draw) -> None:
    made = draw({"icons": {"all": {"body": '<path d="M0 0h64v64H0z"/>'}}, "width": 64, "height": 64})
    assert (made["all"] == 0).all()


def test_an_alias_that_only_renames_is_another_name_of_its_drawing(write: Write) -> None:
    data = {"icons": {"base": {"body": BODY}}, "aliases": {"other": {"parent": "base"}, "third": {"parent": "other"}}}
    icons = read_icon_set(write(data), size=16).icons
    assert [icon.names for icon in icons] == [("base", "other", "third")]


@pytest.mark.parametrize(
    "data",
    [
        {"aliases": {"a": {"parent": "b"}, "b": {"parent": "a"}}},
        {"aliases": {"a": {"parent": "nobody"}}},
        {"icons": {"a": {}}},
        {"icons": {"a": {"body": BODY, "width": "wide"}}},
        {"icons": ["a"]},
    ],
)
def test_a_set_that_breaks_the_schema_is_refused(data: dict[str, Any], draw: Draw) -> None:
    with pytest.raises(SurefootError, match=r"set\.tgz is not an icon set in the iconify schema"):
        draw(data)


@pytest.mark.parametrize("name", STYLES)
def test_each_style_has_the_drawings_that_its_record_says(
    name: str, styles_read: dict[str, tuple[tuple[Icon, ...], object]]
) -> None:
    icons, _ = styles_read[name]
    mirrored = [icon for icon in icons if "scale(-1 1)" in icon.svg[:200]]
    assert len(icons) - len(mirrored) == STYLES[name].icons
    assert len({icon.name for icon in icons}) == len(icons)


def test_the_packages_are_about_thirty_megabytes_in_all() -> None:
    assert sum(style.package.size for style in STYLES.values()) == pytest.approx(30e6, rel=0.03)
