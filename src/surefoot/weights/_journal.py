"""Files that are written piece by piece: pre-sized, journaled, and gone on with after a kill."""

import contextlib
import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from surefoot.core import SurefootError


@dataclass(frozen=True, kw_only=True)
class Row:
    """What one piece of work saw: input digests, and for each output sums over its elements."""

    name: str
    start: int
    digests: tuple[str | None, ...]
    edit: tuple[float, ...]  # sum of squares of the exact change
    lost: tuple[float, ...]  # sum of squares of what rounding took
    nonfinite: tuple[int, ...]


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


def allocate(stack: contextlib.ExitStack, path: Path, size: int) -> int:
    """Open a file of a size for writing and reserve its room; raises SurefootError when the disk has not that much."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    stack.callback(os.close, descriptor)
    try:
        os.ftruncate(descriptor, size)
        if hasattr(os, "posix_fallocate") and size:
            os.posix_fallocate(descriptor, 0, size)
    except OSError as error:
        path.unlink(missing_ok=True)
        raise SurefootError(f"{path}: no room for {size} bytes: {error.strerror}") from None
    return descriptor


def put(descriptor: int, data: memoryview, position: int) -> None:
    """Write all of the data from a byte of the file on."""
    rest = data.cast("B")
    while rest:
        try:
            written = os.pwrite(descriptor, rest, position)
        except OSError as error:
            raise SurefootError(f"could not write the output: {error.strerror}; run again to go on from here") from None
        rest, position = rest[written:], position + written


def sync_folder(folder: Path) -> None:
    """Wait until the disk has the names in a folder."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
