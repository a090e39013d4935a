"""The bytes of a row's picture, from one's own folder or shards, and from nowhere else."""

from __future__ import annotations

import gzip
import math
import tarfile
import zlib
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path, PurePosixPath
from typing import Any

from surefoot.core import SurefootError
from surefoot.pairs._search._embed import SHARDS

_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff")
_LARGEST = 64 << 20


def picture_of(row: Mapping[str, Any], folder: Path | None = None) -> bytes:
    """The bytes of a row's picture, at most 64 MiB, below `folder` or the `root` that the row names.

    Raises `SurefootError` where there is none, and for a place outside.
    """
    root, place = folder or row.get("root"), PurePosixPath(str(row.get("picture") or ""))
    if not root or not place.name:
        raise SurefootError("Nothing is known of where this picture lies: name its folder with --pictures.")
    shard = next((one for one in (place, *place.parents) if one.name.endswith(SHARDS)), None)
    try:
        base = Path(root).resolve()
        file = (base / (shard or place)).resolve()
        if not (file.is_relative_to(base) and file.is_file() and (shard or place.suffix.lower() in _SUFFIXES)):
            raise SurefootError(f"There is no picture {place} here: name its folder with --pictures.")
        told = file.stat()
        inside = _places(file, told.st_mtime_ns) if shard else {str(place): (0, told.st_size)}
        offset, size = inside.get(str(place.relative_to(shard or "")), (0, 0))
        with gzip.open(file) if file.name.endswith("gz") else file.open("rb") as stream:
            stream.seek(offset)
            data = stream.read(size) if 0 < size <= _LARGEST else b""
    except (OSError, ValueError, tarfile.TarError, EOFError, zlib.error) as error:
        raise SurefootError(f"The picture {place} cannot be read: {type(error).__name__}.") from None
    if not data:
        raise SurefootError(f"The picture {place} is not there, is empty, or has more than {_LARGEST >> 20} MiB.")
    return data


@cache
def _places(tar: Path, written: int) -> dict[str, tuple[int, int]]:
    """Offset and size of every picture of a shard, by its name without the suffix; a removal writes it anew."""
    found: dict[str, tuple[int, int]] = {}
    with tarfile.open(tar) as archive:
        for member in archive:
            path = PurePosixPath(member.name)
            if member.isreg() and path.suffix.lower() in _SUFFIXES:
                for base in (path.name.partition(".")[0], path.stem):
                    found.setdefault(str(path.parent / base), (member.offset_data, member.size))
    return found


def shard_of(rows: Iterable[tuple[Mapping[str, Any], bytes]]) -> Iterator[bytes]:
    """A tar of rows and their pictures as they lie; of an empty picture there is none."""
    from surefoot.pairs._download._part import sample

    for number, (row, picture) in enumerate(rows):
        suffix = "png" if picture[:4] == b"\x89PNG" else "webp" if picture[8:12] == b"WEBP" else "jpg"
        yield sample(f"{number:09d}", str(row.get("text") or ""), plain(row), picture, suffix)
    yield bytes(1024)


def plain(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row as JSON can hold it: no bytes, no NaN, other types as texts; without its place on this machine."""
    return {name: _plain(value) for name, value in row.items() if name != "root" and not isinstance(value, bytes)}


def _plain(value: Any) -> Any:
    if isinstance(value, list):
        return [_plain(one) for one in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value if value is None or isinstance(value, (str, int, float)) else str(value)
