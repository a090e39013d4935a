"""The colours, against published definitions: WCAG contrast and the simulation of colour vision deficiencies."""

from itertools import combinations

import numpy as np
import pytest
from numpy.typing import NDArray

from surefoot.figures import COLOURS, SHAPES, theme_config

# Severity 1.0, in linear RGB, from Machado, Oliveira and Fernandes (2009), table 1.
DEFICIENCIES = {
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "tritanopia": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}
TO_XYZ = np.array(
    [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
)
WHITE = TO_XYZ.sum(axis=1)


def linear(colour: str) -> NDArray[np.float64]:
    channels = np.array([int(colour[start : start + 2], 16) / 255 for start in (1, 3, 5)])
    return np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)


def contrast(first: str, second: str) -> float:
    light = sorted(float(TO_XYZ[1] @ linear(colour)) for colour in (first, second))
    return (light[1] + 0.05) / (light[0] + 0.05)


def lab(rgb: NDArray[np.float64]) -> NDArray[np.float64]:
    ratio = TO_XYZ @ np.clip(rgb, 0, 1) / WHITE
    root = np.where(ratio > 216 / 24389, np.cbrt(ratio), (24389 / 27 * ratio + 16) / 116)
    return np.array([116 * root[1] - 16, 500 * (root[0] - root[1]), 200 * (root[1] - root[2])])


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("colour", COLOURS)
def test_every_colour_stands_out_from_the_page(colour: str, theme: str) -> None:
    paper = theme_config("light" if theme == "light" else "dark")["background"]
    assert contrast(colour, paper) >= 3


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_text_can_be_read(theme: str) -> None:
    config = theme_config("light" if theme == "light" else "dark")
    for ink in (config["text"]["color"], config["axis"]["labelColor"], config["legend"]["labelColor"]):
        assert contrast(ink, config["background"]) >= 4.5


@pytest.mark.parametrize("deficiency", DEFICIENCIES)
def test_the_first_five_colours_stay_apart_for_every_colour_vision(deficiency: str) -> None:
    seen = [lab(np.array(DEFICIENCIES[deficiency]) @ linear(colour)) for colour in COLOURS[:5]]
    distances = [float(np.linalg.norm(first - second)) for first, second in combinations(seen, 2)]
    assert min(distances) > 15


def test_all_colours_differ_for_normal_colour_vision() -> None:
    seen = [lab(linear(colour)) for colour in COLOURS]
    assert min(float(np.linalg.norm(first - second)) for first, second in combinations(seen, 2)) > 20


def test_shapes_go_on_telling_families_apart_when_colours_come_round_again() -> None:
    pairs = {(COLOURS[index % len(COLOURS)], SHAPES[index % len(SHAPES)]) for index in range(56)}
    assert len(pairs) == 56
