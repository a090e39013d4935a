"""Vectors without a model, and a model of colours: what comes after embedding is tested against brute force on them."""

import io
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
from numpy.typing import NDArray
from PIL import Image

from surefoot.pairs import Manifest, PairEncoder, Recipe, Source, make_parts, uid_of

COLOURS = {"red": (255, 0, 0), "green": (0, 255, 0), "blue": (0, 0, 255), "white": (255, 255, 255)}


@pytest.fixture(scope="session")
def clustered() -> Callable[[int, int, int], NDArray[np.float32]]:
    """Unit vectors (n, dimension) around a few centres, as they are after rounding to 16 bits."""

    def make(n: int, dimension: int, seed: int) -> NDArray[np.float32]:
        random = np.random.default_rng(seed)
        centres = random.normal(size=(max(2, n // 100), dimension))
        vectors = centres[random.integers(len(centres), size=n)] + 0.8 * random.normal(size=(n, dimension))
        return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float16).astype(np.float32)

    return make


@pytest.fixture(scope="session")
def embedded() -> Callable[..., Manifest]:
    """Write vectors as `embed_pairs` does, with widths 0, 1, ... and every tenth row dropped by a rule."""

    def write(
        out: Path, images: NDArray[np.float32], name: str = "p", digest: str = "numbers", silent: int = 0
    ) -> Manifest:
        texts = images.copy()
        texts[: silent or 0] = 0
        blocks = dict(zip((Path(f"{name}{part}") for part in range(2)), np.array_split(np.arange(len(images)), 2),
                          strict=True))  # fmt: skip
        make = partial(_part, blocks=blocks, images=images, texts=texts, name=name)
        rules = {"model": "numbers", "digest": digest, "dimension": images.shape[1]}
        sources = [Source(path=path, sha256=str(path)) for path in blocks]
        return make_parts("embed", Recipe(name="embed", rules=rules), sources, out, make)

    return write


def _part(
    source: Source, out: Path, *, blocks: dict[Path, NDArray[np.int64]], images: NDArray[np.float32],
    texts: NDArray[np.float32], name: str,
) -> dict[str, int]:  # fmt: skip
    rows = blocks[source.path]
    table = pyarrow.table(
        {
            "uid": [uid_of(f"{name}{row}", "") for row in rows],
            "url": [f"https://example.org/{name}{row}" for row in rows],
            "text": [f"thing {row}" for row in rows],
            "license": ["CC0" if row % 2 else None for row in rows],
            "language": [("en", "de", None)[row % 3] for row in rows],
            "width": pyarrow.array(rows.tolist(), pyarrow.int64()),
            "picture": [f"{row}.png" for row in rows],
            "similarity": np.linspace(0, 1, len(images))[rows].astype(np.float32).tolist(),
            "vector": pyarrow.array(range(len(rows)), pyarrow.int64()),
            "reasons": pyarrow.array([["too_small"] if row % 10 == 9 else [] for row in rows],
                                     pyarrow.list_(pyarrow.string())),
        }
    )  # fmt: skip
    np.save(out.with_suffix(".images.npy"), images[rows].astype(np.float16))
    np.save(out.with_suffix(".texts.npy"), texts[rows].astype(np.float16))
    pyarrow.parquet.write_table(table, out)
    return {}


@pytest.fixture(scope="session")
def colour_model() -> PairEncoder:
    """A picture is its mean colour, a text the mean of the colours it names."""

    def unit(vectors: NDArray[np.float64]) -> NDArray[np.float32]:
        whole = np.concatenate([vectors, np.full((len(vectors), 13), 0.01)], axis=1)
        return (whole / np.linalg.norm(whole, axis=1, keepdims=True)).astype(np.float32)

    def texts(lines: Sequence[str]) -> NDArray[np.float32]:
        named = [[COLOURS[word] for word in line.split() if word in COLOURS] or [(0, 0, 0)] for line in lines]
        return unit(np.array([np.mean(one, axis=0) / 255 for one in named]))

    def prepare(picture: Image.Image) -> NDArray[np.uint8]:
        return np.asarray(picture.resize((4, 4)))

    return PairEncoder(name="colours", digest="colours", dimension=16, prepare=prepare, texts=texts,
                       images=lambda pictures: unit(pictures.mean((1, 2)) / 255))  # fmt: skip


@pytest.fixture(scope="session")
def png() -> Callable[..., bytes]:
    def encode(colour: str, size: tuple[int, int] = (8, 6), seed: int = 0) -> bytes:
        noise = np.random.default_rng(seed).integers(0, 40, (size[1], size[0], 3))
        pixels = np.abs(np.array(COLOURS[colour]) - noise).astype(np.uint8)
        stream = io.BytesIO()
        Image.fromarray(pixels).save(stream, "PNG")
        return stream.getvalue()

    return encode
