"""SAS transport files (XPORT, version 5), in which CDC publishes its surveys: chosen columns, block by block."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray

from surefoot.core import SurefootError

MAX_BYTES = 4 << 30
"""The most that a file may hold when it is decompressed (the survey of 2020 holds one gigabyte)."""
_RECORD = 80
_MOST_COLUMNS = 10_000
_MOST_ROW_BYTES = 1 << 20
_BLOCK_BYTES = 16 << 20
_LIBRARY = b"HEADER RECORD*******LIBRARY HEADER RECORD!!!!!!!"
_MEMBER = b"HEADER RECORD*******MEMBER  HEADER RECORD!!!!!!!"
_NAMES = b"HEADER RECORD*******NAMESTR HEADER RECORD!!!!!!!"
_ROWS = b"HEADER RECORD*******OBS     HEADER RECORD!!!!!!!"


@dataclass(frozen=True, kw_only=True)
class XportColumn:
    """A column by its name, whether it is a number, and its bytes in a row."""

    name: str
    number: bool
    start: int
    size: int


def xport_blocks(path: Path, columns: Sequence[str], *, max_bytes: int = MAX_BYTES) -> Iterator[dict[str, NDArray]]:
    """The chosen columns of an .XPT file, or of the one in a .zip, in blocks of some ten thousand rows.

    Numbers are float64 (NaN: missing, of whatever kind), texts are bytes without the blanks that fill them. Raises
    `SurefootError` for a file that is not of this format or damaged, for a column that it has not, and for more than
    `max_bytes` of contents.
    """
    with _opened(path) as stream:
        found = _header(path, stream)
        known = {column.name: column for column in found}
        missing = [name for name in columns if name not in known]
        if missing:
            raise SurefootError(f"{path} has no column {missing[0]}; it has {len(known)} others.")
        width = max(column.start + column.size for column in found)
        chosen = [known[name] for name in columns]
        for rows in _rows(path, stream, width, max_bytes):
            yield {
                column.name: _values(rows[:, column.start : column.start + column.size], column) for column in chosen
            }


def ibm_to_float(fields: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Numbers (n, size) of IBM's floating point, of 2 to 8 bytes, as float64; a missing value is NaN.

    A sign bit, seven bits of the exponent of 16 above 64, and a fraction. Zero with another first byte is missing.
    """
    padded = np.zeros((len(fields), 8), np.uint8)
    padded[:, : fields.shape[1]] = fields
    whole = padded.view(">u8")[:, 0].astype(np.uint64)
    fraction = (whole & np.uint64((1 << 56) - 1)).astype(np.float64)
    first = padded[:, 0]
    value = np.ldexp(fraction, 4 * ((first & 0x7F).astype(np.int32) - 64) - 56)
    value = np.where(first & 0x80, -value, value)
    return np.where((fraction == 0) & (first != 0), np.nan, value)


@contextmanager
def _opened(path: Path) -> Iterator[IO[bytes]]:
    try:
        if not zipfile.is_zipfile(path):
            with path.open("rb") as stream:
                yield stream
            return
        with zipfile.ZipFile(path) as archive:
            # CDC's own archives name their member with a blank at the end.
            names = [name for name in archive.namelist() if name.strip().lower().endswith(".xpt")]
            if len(names) != 1:
                raise SurefootError(f"{path} must hold one .XPT file, and holds {len(names)}.")
            with archive.open(names[0]) as stream:
                yield stream
    except OSError as error:
        raise SurefootError(f"{path} cannot be read: {error.strerror or error}.") from error
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, NotImplementedError) as error:
        raise SurefootError(f"{path} is damaged, or encrypted ({error}): download it again.") from error


def _header(path: Path, stream: IO[bytes]) -> list[XportColumn]:
    if not stream.read(_RECORD).startswith(_LIBRARY):
        raise SurefootError(f"{path} is not a SAS transport file of version 5.")
    stream.read(2 * _RECORD)
    member = stream.read(_RECORD)
    size = member[74:78].strip()
    stream.read(3 * _RECORD)
    names = stream.read(_RECORD)
    if not member.startswith(_MEMBER) or not names.startswith(_NAMES) or size not in (b"140", b"0140", b"136", b"0136"):
        raise SurefootError(f"{path} is a SAS transport file whose header is damaged.")
    count = int(names[54:58]) if names[54:58].isdigit() else 0
    if not 0 < count <= _MOST_COLUMNS:
        raise SurefootError(f"{path} says that it has {count:,} columns: from 1 to {_MOST_COLUMNS:,} are read.")
    described = stream.read(-(-count * int(size) // _RECORD) * _RECORD)
    if not stream.read(_RECORD).startswith(_ROWS):
        raise SurefootError(f"{path} is a SAS transport file whose header is damaged.")
    return [_column(path, described[place * int(size) :][: int(size)]) for place in range(count)]


def _column(path: Path, said: bytes) -> XportColumn:
    """One name record: the kind at 0, the size at 4, the name at 8 and the place at 84."""
    kind, size, start = (int.from_bytes(said[begin:end], "big") for begin, end in ((0, 2), (4, 6), (84, 88)))
    name = said[8:16].decode("latin-1").strip()
    right = kind == 2 or (kind == 1 and 2 <= size <= 8)
    if not right or not name or size == 0 or start + size > _MOST_ROW_BYTES:
        raise SurefootError(f"{path} is a SAS transport file whose description of the column '{name}' is damaged.")
    return XportColumn(name=name, number=kind == 1, start=start, size=size)


def _rows(path: Path, stream: IO[bytes], width: int, max_bytes: int) -> Iterator[NDArray[np.uint8]]:
    """Rows (n, width) as bytes; the blanks that fill the last record are no rows."""
    size = max(1, _BLOCK_BYTES // width) * width
    read = 0
    waiting = stream.read(size)
    while waiting:
        block, waiting = waiting, stream.read(size)
        read += len(block)
        if read > max_bytes:
            raise SurefootError(f"{path} holds more than {max_bytes >> 20} MB: it is taken for a decompression bomb.")
        rows = np.frombuffer(block, np.uint8, count=len(block) // width * width).reshape(-1, width)
        if not waiting and width < _RECORD:
            filled = np.flatnonzero((rows != ord(" ")).any(1))
            rows = rows[: int(filled[-1]) + 1] if len(filled) else rows[:0]
        if len(rows):
            yield rows


def _values(fields: NDArray[np.uint8], column: XportColumn) -> NDArray:
    if column.number:
        return ibm_to_float(fields)
    return np.char.rstrip(np.ascontiguousarray(fields).view(f"S{column.size}")[:, 0], b" ")
