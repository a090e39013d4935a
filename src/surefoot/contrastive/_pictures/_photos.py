"""Decoding pictures of unknown makers: limits, known formats only, upright, on white."""

import io
import warnings
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from surefoot.core import SurefootError

if TYPE_CHECKING:
    from PIL import Image

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "AVIF")
"""What is read: formats that Pillow decodes by itself, without calling another program (AVIF since Pillow 11.3)."""

_READ = "jpg jpeg jpe jfif png apng webp gif bmp dib tif tiff ppm pgm pbm pnm avif"
_REFUSED = "heic heif jp2 j2k jxl svg psd tga ico eps dng cr2 nef arw hdr exr"
SUFFIXES = frozenset(f".{suffix}" for suffix in f"{_READ} {_REFUSED}".split())
"""Names of pictures, also of those that are then refused by name: a picture is never left out without a word."""

_BITS, _GREY = 258, 262  # tags of TIFF: bits a sample, and whether 0 is white (0) or black (1)
MAX_FILE_BYTES = 256 << 20
MAX_PIXELS = 80_000_000
LARGEST, SMALLEST = 512, 8
"""Sides in pixels that an array of pictures can have."""


def check_side(size: int) -> None:
    """Raise for a side in pixels that an array of pictures cannot have."""
    if not SMALLEST <= size <= LARGEST:
        raise SurefootError(f"size is {size}: pictures can be {SMALLEST} to {LARGEST} pixels wide.")


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

    Of 16 bits a channel the upper 8 are kept. Colours that have no known place in RGB (LAB, floating point, 32 bits)
    are refused.

    With `at_least` a JPEG is decoded at the smallest scale that keeps both sides that long, which is many times
    faster. Raises `RefusedPictureError`.
    """
    from PIL import Image, ImageOps, UnidentifiedImageError

    with warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        warnings.filterwarnings("ignore", module="PIL", category=UserWarning)
        try:
            picture = Image.open(io.BytesIO(data), formats=_known_formats())
            if picture.width * picture.height > MAX_PIXELS:
                raise RefusedPictureError(f"it has {picture.width} x {picture.height} pixels")
            if at_least is not None:
                picture.draft("RGB", (at_least, at_least))
            picture.load()
            return _on_white(_in_eight_bits(ImageOps.exif_transpose(picture), picture))
        except RefusedPictureError:
            raise
        except UnidentifiedImageError as error:
            raise RefusedPictureError(f"it is not a picture in a format that is read ({', '.join(FORMATS)})") from error
        except (Exception, Image.DecompressionBombWarning) as error:
            # Decoders of broken files raise errors of nearly every type.
            raise RefusedPictureError(f"it cannot be decoded ({type(error).__name__}: {error})") from error


@cache
def _known_formats() -> tuple[str, ...]:
    from PIL import Image

    Image.init()
    return tuple(name for name in FORMATS if name in Image.OPEN)


def _in_eight_bits(picture: "Image.Image", opened: "Image.Image") -> "Image.Image":
    """Grey of 12 and 16 bits as grey of 8: Pillow's own conversion turns all above 255 into white.

    Where a TIFF says that 0 is white, Pillow turns the grey of 8 bits about and leaves that of more as it is.
    """
    from PIL import Image

    if picture.mode.startswith("I;16") or (picture.mode == "I" and opened.format == "PNG"):
        tags: Any = getattr(opened, "tag_v2", {})
        grey = (np.asarray(picture) >> tags.get(_BITS, (16,))[0] - 8).astype(np.uint8)
        return Image.fromarray(255 - grey if tags.get(_GREY) == 0 else grey)
    if picture.mode in ("I", "F", "LAB"):
        raise RefusedPictureError(f"its pixels are of the kind '{picture.mode}', which has no known place in RGB")
    return picture


def whole_file(path: Path) -> Stored:
    """A picture that is a file of its own. Raises `SurefootError` where there is none."""
    if not path.is_file():
        why = " (a link that leads nowhere: copy what it leads to, or remove it)" if path.is_symlink() else ""
        raise SurefootError(f"There is no picture {path}{why}.")
    return Stored(file=str(path.resolve()), offset=0, size=path.stat().st_size)


def read_stored(stored: Stored) -> bytes:
    """The encoded bytes."""
    if stored.size > MAX_FILE_BYTES:
        raise RefusedPictureError(f"it has {stored.size:,} bytes")
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


def _on_white(picture: "Image.Image") -> "Image.Image":
    from PIL import Image

    if not picture.has_transparency_data:
        return picture.convert("RGB")
    rgba = picture.convert("RGBA")
    page = Image.new("RGBA", rgba.size, "white")
    return Image.alpha_composite(page, rgba).convert("RGB")
