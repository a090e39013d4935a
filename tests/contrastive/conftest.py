"""What the tests of pictures share: the concepts, every style as it is read, and three styles drawn small."""

from collections.abc import Callable
from pathlib import Path

import pytest

from surefoot.contrastive import EMOJIBASE, STYLES, Drawings
from surefoot.contrastive._drawn._concepts import Emoji, read_emoji
from surefoot.contrastive._drawn._drawings import read_style
from surefoot.contrastive._drawn._iconify import Icon
from surefoot.core import Step
from surefoot.registry import fetch

SIZE = 24
STYLES_DRAWN = ("emojione", "emojione-monotone", "fluent-emoji-high-contrast")


@pytest.fixture(scope="session")
def emoji() -> dict[str, Emoji]:
    return read_emoji(fetch(EMOJIBASE))


@pytest.fixture(scope="session")
def styles_read() -> dict[str, tuple[tuple[Icon, ...], dict[str, Emoji]]]:
    """The drawings of every style, and what they show."""
    return {name: read_style(style, 48) for name, style in STYLES.items()}


@pytest.fixture(scope="session")
def drawn(made: Callable[[Step], Path]) -> dict[str, Drawings]:
    """Three styles, drawn small."""
    steps = {name: Drawings(style=name, size=SIZE) for name in STYLES_DRAWN}
    for step in steps.values():
        made(step)
    return steps
