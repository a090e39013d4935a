"""Decoding pictures of unknown makers: limits, known formats only, upright, on white."""

import io
import json
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from surefoot.core import SurefootError

if TYPE_CHECKING:
    from PIL import Image

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM")
"""What is read: formats that Pillow decodes by itself, without calling another program."""

SUFFIXES = frozenset((".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".ppm"))
MAX_FILE_BYTES = 256 << 20
MAX_PIXELS = 80_000_000


class RefusedPictureError(SurefootError):
    """A picture that is refused, with the reason."""


@dataclass(frozen=True, kw_only=True)
class Stored:
    """Where the bytes of a picture lie: `size` bytes at `offset` of a file (a whole file, or a member of a tar)."""

    file: str
    offset: int
    size: int


def decode(data: bytes, *, at_least: int | None = None) -> "Image.Image":
    """A picture from its encoded bytes: upright (EXIF), RGB, transparency on white, the first frame only.

    With `at_least` a JPEG is decoded at the smallest scale that keeps both sides that long, which is many times
    faster. Raises `RefusedPictureError`.
    """
    from PIL import Image, ImageOps, UnidentifiedImageError

    with warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        warnings.filterwarnings("ignore", module="PIL", category=UserWarning)
        try:
            picture = Image.open(io.BytesIO(data), formats=FORMATS)
            if picture.width * picture.height > MAX_PIXELS:
                raise RefusedPictureError(f"it has {picture.width} x {picture.height} pixels")
            if at_least is not None:
                picture.draft("RGB", (at_least, at_least))
            picture.load()
            return _on_white(ImageOps.exif_transpose(picture))
        except RefusedPictureError:
            raise
        except UnidentifiedImageError as error:
            raise RefusedPictureError(f"it is not a picture in a format that is read ({', '.join(FORMATS)})") from error
        except (Exception, Image.DecompressionBombWarning) as error:
            # Decoders of broken files raise errors of nearly every type.
            raise RefusedPictureError(f"it cannot be decoded ({type(error).__name__}: {error})") from error


def read_stored(stored: Stored) -> bytes:
    """The encoded bytes. Raises `SurefootError` when the file is no longer there, or is shorter than it was."""
    try:
        with Path(stored.file).open("rb") as stream:
            stream.seek(stored.offset)
            data = stream.read(stored.size)
    except OSError as error:
        raise SurefootError(f"{stored.file} cannot be read ({error.strerror}): was it moved?") from error
    if len(data) != stored.size:
        raise SurefootError(f"{stored.file} is shorter than it was when it was listed: it has been changed.")
    return data


def square(picture: "Image.Image", size: int) -> "Image.Image":
    """The largest centred square of a picture, resized to `size` x `size` pixels (bicubic)."""
    from PIL import Image, ImageOps

    return ImageOps.fit(picture, (size, size), Image.Resampling.BICUBIC)


def load_images(directory: Path, indices: Iterable[int] | None = None) -> "list[Image.Image]":
    """Pictures of a made `ClassificationSet`, `TrainingPairs`, `Drawings` or `ImageFolder`, as RGB Pillow images.

    `indices` are rows, all without. Works for an array of pictures (`images.npy`) and for a list of files
    (`files.json`), which are decoded when they are asked for. Raises `SurefootError` when a file was moved or changed.
    """
    from PIL import Image

    array = directory / "images.npy"
    if array.exists():
        import numpy as np

        images = np.load(array, mmap_mode="r")
        return [Image.fromarray(np.array(images[index])) for index in _rows(indices, len(images))]
    stored = _listed(directory)
    return [_open(stored[index]) for index in _rows(indices, len(stored))]


def count_images(directory: Path) -> int:
    """The number of pictures in such a directory."""
    if (directory / "images.npy").exists():
        import numpy as np

        return len(np.load(directory / "images.npy", mmap_mode="r"))
    return len(_listed(directory))


def _listed(directory: Path) -> list[Stored]:
    try:
        text = (directory / "files.json").read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise SurefootError(f"{directory} holds no pictures: neither images.npy nor files.json is there.") from error
    return [Stored(**row) for row in json.loads(text)]


def _rows(indices: Iterable[int] | None, count: int) -> Sequence[int]:
    return range(count) if indices is None else list(indices)


def _open(stored: Stored) -> "Image.Image":
    try:
        return decode(read_stored(stored))
    except RefusedPictureError as error:
        raise SurefootError(f"The picture at byte {stored.offset} of {stored.file}: {error}.") from error


def _on_white(picture: "Image.Image") -> "Image.Image":
    from PIL import Image

    if not picture.has_transparency_data:
        return picture.convert("RGB")
    rgba = picture.convert("RGBA")
    page = Image.new("RGBA", rgba.size, "white")
    return Image.alpha_composite(page, rgba).convert("RGB")
