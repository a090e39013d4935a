"""The decoder: a program of its own, with little memory and no files, that turns bytes of the web into one JPEG.

It is run by its path and imports nothing of Surefoot, so that it starts at once. It speaks over its standard input, a
socket: a length and a picture in; a length, JSON, a length and a JPEG out. What it stores is always its own encoding:
no metadata, no bytes behind the end, nothing that is two formats at once.
"""

from __future__ import annotations

import io
import json
import resource
import socket
import struct
import sys
from typing import Any

import numpy as np
import simplejpeg
from numpy.typing import NDArray
from PIL import Image

Pixels = NDArray[np.uint8]
_LONGEST = 65_500  # the longest side that a JPEG can have
_ORIENTATION = 0x0112
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180, 4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE, 6: Image.Transpose.ROTATE_270, 7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}  # fmt: skip
_COSINES = np.cos(np.pi * (np.arange(32) + 0.5) * np.arange(8)[:, None] / 32)


class Unusable(Exception):
    """The bytes give no picture: the state, a short reason, and what more is known."""


def kind_of(data: bytes) -> str:
    """The format by the first bytes, whatever the server called it."""
    if data.startswith(b"\xff\xd8\xff"):
        return "JPEG"
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return "PNG"
    if data.startswith((b"GIF87a", b"GIF89a")):
        return "GIF"
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "WEBP"
    raise Unusable("undecodable", "no picture", "neither JPEG, PNG, WebP nor GIF by its first bytes")


def encoded(
    data: bytes, *, size: int, resize: str, quality: int, exact: bool, most: int
) -> tuple[dict[str, Any], bytes]:
    """The picture as JPEG, and what is known of it. The header is read, and held against `most` pixels, first."""
    kind = kind_of(data)
    header = simplejpeg.decode_jpeg_header(data, strict=False) if kind == "JPEG" else None
    opened = Image.open(io.BytesIO(data), formats=[kind]) if header is None or header[2] in ("CMYK", "YCCK") else None
    width, height = opened.size if opened else (int(header[1]), int(header[0])) if header else (0, 0)
    if width * height > most:
        raise Unusable("too_big", "pixels", f"{width} x {height}")
    wanted = _wanted(width, height, size, resize)
    turn = _orientation(data, opened)
    if opened:
        image = _opaque(opened)
    else:
        least = (0, 0) if exact or resize == "none" else (min(wanted[1], height), min(wanted[0], width))
        decoded = _jpeg(data, *least)
        image = Image.fromarray(decoded)
    smaller = wanted[0] < image.width or wanted[1] < image.height
    image = image.resize(wanted, Image.Resampling.BOX if smaller else Image.Resampling.BICUBIC)
    phash = _phash(_turned(image, turn))
    image = _turned(_framed(image, size, resize), turn)
    turned = turn in (_TURNS[5], _TURNS[6], _TURNS[7], _TURNS[8])
    original = (height, width) if turned else (width, height)
    told = dict(zip(("original_width", "original_height", "width", "height"), (*original, *image.size), strict=True))
    return told | {"phash": phash}, simplejpeg.encode_jpeg(np.ascontiguousarray(image), quality, "RGB", "420")


def _jpeg(data: bytes, height: int, width: int) -> Pixels:
    """A JPEG at the smallest of its own scales that is large enough. One that breaks off is none; small faults pass."""
    try:
        return simplejpeg.decode_jpeg(data, "RGB", min_height=height, min_width=width)
    except ValueError as error:
        if "premature" in str(error).lower():
            raise
        return simplejpeg.decode_jpeg(data, "RGB", min_height=height, min_width=width, strict=False)


def _wanted(width: int, height: int, size: int, resize: str) -> tuple[int, int]:
    if resize == "none" and max(width, height) <= _LONGEST:
        return width, height
    scale = size / (max(width, height) if resize == "border" else min(width, height))
    wanted = max(1, round(width * scale)), max(1, round(height * scale))
    if resize == "none" or max(wanted) > 20 * size:
        raise Unusable("too_big", "aspect", f"{width} x {height}")
    return wanted


def _opaque(opened: Image.Image) -> Image.Image:
    """The first frame as RGB, on white; 16 bits are scaled, not cut off."""
    opened.seek(0)
    if opened.mode.startswith(("I", "F")):
        grey = np.clip(np.asarray(opened, np.float32), 0, 65535)
        grey[grey == opened.info.get("transparency", -1)] = 65535
        opened = Image.fromarray((grey / 257 + 0.5).astype(np.uint8))
    if opened.mode in ("RGBA", "LA", "PA") or "transparency" in opened.info:
        layer = opened.convert("RGBA")
        image = Image.new("RGB", layer.size, "white")
        image.paste(layer, mask=layer.getchannel("A"))
        return image
    return opened.convert("RGB")


def _orientation(data: bytes, opened: Image.Image | None) -> Image.Transpose | None:
    jpeg = opened is None or opened.format == "JPEG"  # there it stands before the picture
    if data.find(b"Exif\0\0", 0, 65536) < 0 and (jpeg or (b"eXIf" not in data and b"EXIF" not in data)):
        return None
    try:
        exif = (opened or Image.open(io.BytesIO(data), formats=["JPEG"])).getexif()
        return _TURNS.get(exif.get(_ORIENTATION, 1))
    except Exception:  # broken metadata do not make the picture worse
        return None


def _turned(image: Image.Image, turn: Image.Transpose | None) -> Image.Image:
    return image if turn is None else image.transpose(turn)  # a flip from left to right is 0, not none


def _framed(image: Image.Image, size: int, resize: str) -> Image.Image:
    if resize == "border":
        canvas = Image.new("RGB", (size, size), "white")
        canvas.paste(image, ((size - image.width) // 2, (size - image.height) // 2))
        return canvas
    if resize == "crop":
        left, top = (image.width - size) // 2, (image.height - size) // 2
        return image.crop((left, top, left + size, top + size))
    return image


def _phash(image: Image.Image) -> str:
    """64 bits: which of the 8 x 8 lowest cosine frequencies of the grey picture, 32 x 32, lie above their median."""
    grey = np.asarray(image.convert("L").resize((32, 32), Image.Resampling.BOX), float)
    low = _COSINES @ grey @ _COSINES.T
    return np.packbits(low > np.median(low)).tobytes().hex()


def answer(data: bytes, options: dict[str, Any]) -> tuple[dict[str, Any], bytes]:
    """As `encoded`; what has no picture in it gives its state and the reason instead."""
    try:
        return encoded(data, **options)
    except Unusable as error:
        state, reason, detail = error.args
    except MemoryError:
        state, reason, detail = "too_big", "memory", "decoding takes more than a decoder has"
    except Exception as error:
        state, reason, detail = "undecodable", "broken picture", f"{type(error).__name__}: {error!s:.100}"
    return {"state": state, "reason": reason, "detail": detail}, b""


def serve(options: dict[str, Any], memory: int) -> None:
    """Answer until the other side closes."""
    limits = {"AS": memory, "FSIZE": 0, "CORE": 0, "NPROC": 0}
    Image.MAX_IMAGE_PIXELS = None  # held against our own limit
    Image.init()
    for name, value in limits.items():
        resource.setrlimit(getattr(resource, f"RLIMIT_{name}"), (value, value))
    with socket.socket(fileno=sys.stdin.fileno()) as line:
        while len(head := line.recv(4, socket.MSG_WAITALL)) == 4:
            (length,) = struct.unpack("<I", head)
            told, picture = answer(line.recv(length, socket.MSG_WAITALL), options)
            text = json.dumps(told).encode()
            line.sendall(struct.pack("<II", len(text), len(picture)) + text + picture)


if __name__ == "__main__":
    given = json.loads(sys.argv[1])
    serve(given["options"], given["memory"])
