"""Files that are written piece by piece: pre-sized, journaled, and gone on with after a kill."""

import contextlib
import fcntl
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from surefoot.core import SurefootError, claim
from surefoot.weights._arithmetic._plan import Row


def resume(key: str, journal: Path, working: Sequence[Path], sizes: Sequence[int]) -> dict[int, list[Row]]:
    """The pieces that a journal of this key says are done, when the files in work are there with their sizes."""
    done: dict[int, list[Row]] = {}
    whole = all(path.is_file() and path.stat().st_size == size for path, size in zip(working, sizes, strict=True))
    if whole and journal.is_file():
        first, *lines = journal.read_text("utf-8").splitlines() or [""]
        for line in lines if first == key else ():
            with contextlib.suppress(ValueError):  # the last line may have been cut by the kill
                number, rows = json.loads(line)
                done[number] = [Row(**{name: _tupled(value) for name, value in row.items()}) for row in rows]
    return done


def _tupled(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def record(journal: Path, outs: Sequence[int], number: int, rows: list[Row]) -> None:
    """Wait until the disk has a piece, then say so in the journal."""
    for descriptor in outs:
        os.fdatasync(descriptor) if hasattr(os, "fdatasync") else os.fsync(descriptor)
    with journal.open("a", encoding="utf-8") as file:
        file.write(json.dumps([number, [asdict(row) for row in rows]]) + "\n")
        file.flush()
        os.fsync(file.fileno())


@contextlib.contextmanager
def claimed(path: Path) -> Iterator[int]:
    """Open a file for writing that no other process is writing, and keep others away; raises SurefootError if one is.

    A claim ends with its process, however that ends.
    """
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            claim(descriptor, path, f"{path}: Another process is writing it; wait for it, or name another output.")
            if _is_there(path, descriptor):  # the one before may have given the file its last name meanwhile
                yield descriptor
                return
        finally:
            _unlock(descriptor)


def _unlock(descriptor: int) -> None:
    with contextlib.suppress(OSError):
        fcntl.flock(descriptor, fcntl.LOCK_UN)  # a forked worker holds a copy of the descriptor, and lives on
    os.close(descriptor)


def _is_there(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


@contextlib.contextmanager
def cleared(paths: Sequence[Path]) -> Iterator[None]:
    """Remove unfinished files when the work is refused; after a kill or a full disk they stay, to be gone on with."""
    try:
        yield
    except SurefootError:
        for path in paths:
            path.unlink(missing_ok=True)
        raise


def reserve(descriptor: int, path: Path, size: int) -> None:
    """Give a file its size and reserve its room; raises SurefootError when the disk has not that much."""
    try:
        os.ftruncate(descriptor, size)
        if hasattr(os, "posix_fallocate") and size:
            os.posix_fallocate(descriptor, 0, size)
    except OSError as error:
        raise SurefootError(f"{path}: No room for {size} bytes: {error.strerror}.") from None


def put(descriptor: int, data: memoryview, position: int) -> None:
    """Write all of the data from a byte of the file on."""
    rest = data.cast("B")
    while rest:
        written = os.pwrite(descriptor, rest, position)
        rest, position = rest[written:], position + written


def sync_folder(folder: Path) -> None:
    """Wait until the disk has the names in a folder."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
