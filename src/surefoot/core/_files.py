"""Writing that survives a crash: a file or directory is either whole and on the disk, or not there."""

import errno
import os
import re
import shutil
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from hashlib import file_digest, sha256
from pathlib import Path
from typing import IO, Protocol, Self, cast
from uuid import uuid4

from surefoot.core._errors import SurefootError
from surefoot.core._step import Step, unkeyed

_FULL = re.compile(
    "No space left on device|Disk quota exceeded|[0-9]+ requested and [0-9]+ written|failed to offload|disk is full"
)
_STREAMS = {Path("/dev/stdout"): "stdout", Path("/dev/stderr"): "stderr"}


class StoreError(SurefootError):
    """Nothing can be kept where the store lies (disk full, read-only): no other Step could be kept either."""


def file_place(path: Path) -> Path:
    """Where a file of this name is written: a link's target. Raises `SurefootError` for a folder, a device, a pipe."""
    place = Path(os.path.realpath(path))
    if place.is_dir() or place.is_symlink() or (place.exists() and not place.is_file()):
        what = "it is a folder" if place.is_dir() else "it is a device, a pipe or a link to itself, and no file"
        raise SurefootError(f"{path} cannot be written: {what}.")
    return place


def is_stream(path: Path) -> bool:
    """Whether what is written there goes on at once: standard output or error, a pipe, the shell's `>(...)`."""
    return path in _STREAMS or path.is_fifo() or str(path) == os.devnull


def write_text(path: Path, text: str) -> None:
    """Write a text as `write_bytes` does, in UTF-8; what that cannot hold (of the name of a file) as its escape."""
    write_bytes(path, text.encode("utf-8", "backslashreplace"))


def write_bytes(path: Path, data: bytes) -> None:
    """Write a file (see `file_place`) through a temporary one beside it and one rename, after fsync; or to a stream."""
    if is_stream(path):
        if path in _STREAMS:
            stream = getattr(sys, _STREAMS[path])
            stream.flush()
            stream.buffer.write(data)
            stream.flush()
        else:
            path.write_bytes(data)
        return
    path = file_place(path)
    temporary = path.with_name(f"{path.name}.{uuid4().hex[:8]}.tmp")
    with full_disk_is_said(path.parent):
        try:
            temporary.write_bytes(data)
            _sync(temporary)
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)


def make_directory(path: Path) -> None:
    """Create a directory and its parents; a new one is on the disk when this returns."""
    if not path.is_dir():
        path.mkdir(parents=True, exist_ok=True)
        _sync(path.parent)


def sync_tree(directory: Path) -> None:
    """Wait until a directory and all in it are on the disk."""
    for place, _, names in os.walk(directory):
        for name in names:
            _sync(Path(place, name))
        _sync(Path(place))


def publish(made: Path, final: Path, *, lasting: bool) -> None:
    """Move a finished directory to its place with one rename; what lies there (a copy cut short) is set aside.

    It is on the disk when this returns, if `lasting`.
    """
    try:
        made.rename(final)
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
            raise
        remove_tree(final)
        made.rename(final)
    if lasting:
        _sync(final.parent)


def remove(path: Path) -> None:
    """Delete a file, or a directory with all that is in it or put into it meanwhile; it may be gone already."""
    if path.is_dir():
        with suppress(OSError):
            remove_tree(path)
    else:
        path.unlink(missing_ok=True)


def remove_tree(directory: Path) -> None:
    """Delete a directory: renamed first, so that a half-deleted one is never seen in its place."""
    grave = directory.with_name(f"{directory.name}.{uuid4().hex[:8]}.part")
    directory.rename(grave)
    shutil.rmtree(grave, ignore_errors=True)


def file_digests(directory: Path) -> dict[str, tuple[int, str]]:
    """Size in bytes and SHA-256 of every file below a directory, by relative path.

    Raises for a symbolic link: it would point to nothing once the directory is published or copied.
    """
    found = {}
    for path in sorted(item for item in directory.rglob("*") if item.is_symlink() or not item.is_dir()):
        name = path.relative_to(directory).as_posix()
        if path.is_symlink() or not path.is_file():
            raise SurefootError(f"A Step may only leave files and directories: {name} is a link or a device.")
        found[name] = (path.stat().st_size, _sha256(path))
    return found


def files_below(folder: Path) -> Iterator[Path]:
    """All files below a folder; a link counts as what it leads to, but for one that leads back to where it lies."""
    for place, names, files in os.walk(folder, onerror=_raise, followlinks=True):
        here = Path(place)
        above = {here.resolve(), *here.resolve().parents, *(one.resolve() for one in here.parents)}
        names[:] = (name for name in names if Path(place, name).resolve() not in above)
        yield from (Path(place, name) for name in files)


def whole_members(archive: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    """The members of an open tar, which Python takes to end at the first header that is damaged or cut short.

    Raises `SurefootError` there, and for one that ends without the blocks of zeros that every writer puts at the end.
    """
    yield from archive
    stream, empty = cast(IO[bytes], archive.fileobj), True
    stream.seek(archive.offset)
    while rest := stream.read(1 << 20):
        empty = False
        if rest.count(0) < len(rest):
            raise SurefootError(
                f"{archive.name} cannot be read from byte {archive.offset:,} on: it is damaged there, or several "
                "archives were put one behind the other (join them with tar --concatenate)."
            )
    if empty:
        raise SurefootError(f"{archive.name} has no mark of its end: it was cut short. Copy or write it again.")


def digest_of(path: Path) -> str:
    """The SHA-256 of a file, or of the relative names and contents of all files below a folder, in hexadecimal digits.

    A link counts as what it leads to. Raises `SurefootError` for what is missing, cannot be read, is neither file nor
    folder, or holds no file.
    """
    try:
        if not path.is_dir():
            return _sha256(path)
        files = {file.relative_to(path).as_posix(): file for file in files_below(path)}
        lines = [f"{name}\0{_sha256(file)}\n" for name, file in sorted(files.items())]
    except FileNotFoundError as error:
        raise SurefootError(f"{error.filename} does not exist.") from error
    except OSError as error:
        raise SurefootError(f"{error.filename or path} cannot be read: {error.strerror}.") from error
    if not lines:
        raise SurefootError(f"The folder {path} holds no files.")
    return sha256("".join(lines).encode("utf-8", "surrogateescape")).hexdigest()


@contextmanager
def full_disk_is_said(place: Path) -> Iterator[None]:
    """Turn 'no space left' into one sentence that names the place, also where a library says it by words alone."""
    try:
        yield
    except Exception as error:
        known = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
        if isinstance(error, SurefootError) or not (known or _FULL.search(str(error))):
            raise
        named = re.search(r'"(/[^"\\]+)\\?"', str(error))  # DuckDB may have filled another disk: of temporary files
        passing = tempfile.gettempdir() if "failed to offload" in str(error) else None
        where = getattr(error, "filename", None) or (named[1] if named else passing or place)
        raise StoreError(f"The disk that holds {where} is full: free some space, then run again.") from error


@contextmanager
def store_is_writable(place: Path) -> Iterator[None]:
    """Turn whatever keeps us from writing in the store into one sentence that names the place and the reason."""
    try:
        with full_disk_is_said(place):
            yield
    except OSError as error:
        raise StoreError(f"The store {place} cannot be written: {error}.") from error


def _sha256(path: Path) -> str:
    if path.exists() and not path.is_file():
        raise SurefootError(f"{path} is neither a file nor a folder.")  # a pipe would wait for ever
    with path.open("rb") as stream:
        return file_digest(stream, "sha256").hexdigest()


def _raise(error: OSError) -> None:
    raise SurefootError(f"{error.filename} cannot be read: {error.strerror}.") from error


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class Pinned(Protocol):
    """A Step that reads files of the user: `digest` is in its key, where they lie (`unkeyed`) is not.

    A user writes `ImageFolder(path="pets").pinned()`; a store that is copied to another place then still answers.
    """

    @property
    def digest(self) -> str:
        """What the files hold, in hexadecimal digits; empty before `pinned`."""
        ...

    def pinned(self) -> Self:
        """The same Step with whole paths and the digest of the files as they are now. Raises for unreadable ones."""
        ...


@dataclass(frozen=True, kw_only=True)
class UserFile(Step):
    """A Step that reads one file of the user."""

    path: str = unkeyed("")
    digest: str = ""

    def pinned(self) -> Self:
        """With the whole path and the digest of the file as it is now. Raises for what cannot be read."""
        path = Path(self.path).resolve()
        return replace(self, path=str(path), digest=digest_of(path))


def check_pinned(step: Pinned) -> None:
    """Raise when the files of a Step are not those that its digest was taken of, or none was taken."""
    name = type(step).__name__
    if not step.digest:
        raise SurefootError(f"{name} has no digest of its files: write {name}(...).pinned().")
    if step.pinned().digest != step.digest:
        raise SurefootError(
            f"The files of {name} have changed since their digest was taken: describe it anew with .pinned(). "
            f"It is {step!r:.200}."
        )
