"""Pictures a second by drawing style: Surefoot's checked rendering against resvg and Pillow called plainly.

Run: python benchmarks/rendering.py [STYLE ...]

The peer draws the same documents with resvg_py and decodes the PNG with Pillow, without the checks of hostile input.
Both run in turn in one process, so that their ratio means something on a busy machine.
"""

import io
import sys
import time
from collections.abc import Callable, Sequence

import numpy as np
import resvg_py
from PIL import Image

from surefoot.contrastive import STYLES
from surefoot.contrastive._drawn._drawings import read_style
from surefoot.contrastive._drawn._render import render

SIZE = 48
PICTURES = 300
ROUNDS = 5


def plain(svg: str, size: int) -> np.ndarray:
    """Draw without checks."""
    png = resvg_py.svg_to_bytes(svg_string=svg, background="#ffffff", skip_system_fonts=True)
    with Image.open(io.BytesIO(png)) as picture:
        return np.asarray(picture.convert("RGB")).reshape(size, size, 3)


def seconds(draw: Callable[[str, int], np.ndarray], documents: Sequence[str]) -> float:
    """CPU seconds for all documents."""
    start = time.process_time()
    for svg in documents:
        draw(svg, SIZE)
    return time.process_time() - start


def main() -> None:
    """Print one line a style."""
    print(f"{'style':28}{'a second':>10}{'plain':>10}{'ratio':>8}")
    for name in sys.argv[1:] or STYLES:
        icons = read_style(STYLES[name], SIZE)[0]
        documents = [icon.svg for icon in icons][:: max(1, len(icons) // PICTURES)]
        documents = [svg for svg in documents if plain(svg, SIZE).min() < 250]
        pairs = [(seconds(render, documents), seconds(plain, documents)) for _ in range(ROUNDS)]
        ours, theirs = (min(times) for times in zip(*pairs, strict=True))
        count = len(documents)
        print(f"{name:28}{count / ours:10.0f}{count / theirs:10.0f}{theirs / ours:8.2f}", flush=True)


if __name__ == "__main__":
    main()
