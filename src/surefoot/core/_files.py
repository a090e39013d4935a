"""Writing that survives a crash: a file or directory is either whole and on the disk, or not there."""

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from uuid import uuid4

from surefoot.core._errors import SurefootError


class DiskFullError(SurefootError):
    """No space is left where the store lies: no other Step could be kept either."""


def write_text(path: Path, text: str) -> None:
    """Write a file through a temporary one beside it and one rename, after fsync."""
    temporary = path.with_name(f"{path.name}.{uuid4().hex[:8]}.tmp")
    with full_disk_is_said(path.parent):
        try:
            temporary.write_text(text, encoding="utf-8")
            _sync(temporary)
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)


def publish(made: Path, final: Path) -> bool:
    """Move a finished directory to its place with one rename, after fsync; False if another was there first."""
    for directory, _, names in os.walk(made):
        for name in names:
            _sync(Path(directory, name))
        _sync(Path(directory))
    try:
        made.rename(final)
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
            raise
        shutil.rmtree(made)
        return False
    _sync(final.parent)
    return True


def file_digests(directory: Path) -> dict[str, tuple[int, str]]:
    """Size in bytes and SHA-256 of every file below a directory, by relative path."""
    found = {}
    for path in sorted(item for item in directory.rglob("*") if item.is_file()):
        with path.open("rb") as stream:
            digest = sha256()
            while chunk := stream.read(1 << 20):
                digest.update(chunk)
        found[path.relative_to(directory).as_posix()] = (path.stat().st_size, digest.hexdigest())
    return found


@contextmanager
def full_disk_is_said(place: Path) -> Iterator[None]:
    """Turn 'no space left' into one sentence that names the place."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise DiskFullError(f"The disk that holds {place} is full: free some space, then run again.") from error


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
