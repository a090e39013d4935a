"""Named members of a package file, read into memory: nothing is unpacked to the disk, nothing is executed."""

import gzip
import tarfile
import zipfile
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import IO, cast

from surefoot.core import SurefootError

MAX_BYTES = 512 << 20
"""The most that one package may hold when it is decompressed: a larger one is taken for a decompression bomb."""


def read_members(path: Path, names: Iterable[str], *, max_bytes: int = MAX_BYTES) -> dict[str, bytes]:
    """The bytes of the named members of a .tgz or of a wheel (zip).

    Only regular files whose name is asked for are read, so a path that escapes, a link or a device in the archive has
    no effect. Raises `SurefootError` for a missing member, a damaged file, or more than `max_bytes` of contents.
    """
    wanted = set(names)
    try:
        found = _from_zip(path, wanted, max_bytes) if zipfile.is_zipfile(path) else _from_tar(path, wanted, max_bytes)
    except (tarfile.TarError, zipfile.BadZipFile, gzip.BadGzipFile, zlib.error, EOFError) as error:
        raise SurefootError(f"{path} is damaged ({error}): delete it, then run again.") from error
    if missing := sorted(wanted - found.keys()):
        raise SurefootError(f"{path} has no file named {missing[0]}.")
    return found


class _Limited:
    """A stream that refuses to give more than so many bytes."""

    def __init__(self, stream: gzip.GzipFile, path: Path, limit: int) -> None:
        self._stream, self._path, self._left, self._limit = stream, path, limit, limit

    def read(self, size: int) -> bytes:
        data = self._stream.read(size)
        self._left -= len(data)
        if self._left < 0:
            raise _too_large(self._path, self._limit)
        return data


def _from_tar(path: Path, wanted: set[str], limit: int) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    with gzip.open(path) as stream:
        limited = cast(IO[bytes], _Limited(stream, path, limit))
        with tarfile.open(fileobj=limited, mode="r|") as archive:
            for member in archive:
                content = archive.extractfile(member) if member.isreg() and member.name in wanted else None
                if content is not None:
                    found[member.name] = content.read()
                if found.keys() == wanted:
                    break
    return found


def _from_zip(path: Path, wanted: set[str], limit: int) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    with zipfile.ZipFile(path) as archive:
        for name in sorted(wanted & set(archive.namelist())):
            with archive.open(name) as stream:
                found[name] = stream.read(limit + 1)
            if sum(map(len, found.values())) > limit:
                raise _too_large(path, limit)
    return found


def _too_large(path: Path, limit: int) -> SurefootError:
    return SurefootError(
        f"{path} holds more than {limit >> 20} MB when it is decompressed: it is taken for a decompression bomb."
    )
