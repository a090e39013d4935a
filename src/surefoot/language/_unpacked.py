"""Files of strangers into memory: limited, unpacked, and JSON as the standard has it."""

import gzip
import json
import zlib
from collections.abc import Callable
from functools import partial
from io import BytesIO
from itertools import islice
from numbers import Number
from pathlib import Path

from surefoot.core import SurefootError

LARGEST_FILE = 256 << 20
LARGEST_UNPACKED = 1 << 30
_CHUNK = 1 << 20


def unpacked(path: Path) -> bytes:
    """The bytes of a file, unpacked where they are gzip. Raises for what is missing, no file, empty or too large."""
    if not path.exists():
        raise SurefootError(f"There is no file '{path}'.")
    try:
        with path.open("rb") as whole:  # also a pipe, which has no size and is read once
            chunks = iter(partial(whole.read, _CHUNK), b"")
            data = b"".join(islice(chunks, LARGEST_FILE // _CHUNK + 1))
        if len(data) > LARGEST_FILE:
            raise SurefootError(f"{path} is larger than the limit of {LARGEST_FILE >> 20} MiB; cut it down first.")
        if data.startswith(b"\x1f\x8b"):
            with gzip.open(BytesIO(data)) as stream:
                data = stream.read(LARGEST_UNPACKED + 1)
    except (OSError, EOFError, zlib.error) as error:
        said = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise SurefootError(f"{path} cannot be read: {said}.") from error
    if len(data) > LARGEST_UNPACKED:
        raise SurefootError(f"{path} unpacks to more than the limit of {LARGEST_UNPACKED >> 20} MiB.")
    if not data.strip():
        raise SurefootError(f"{path} is empty.")
    return data


def json_of(data: bytes, where: str) -> object:
    """The JSON value in the bytes. Raises for broken JSON, NaN and infinity, and a name that an object has twice."""
    try:
        return json.loads(data.decode("utf-8-sig"), parse_constant=_refuse, object_pairs_hook=_unique)
    except (ValueError, RecursionError) as error:
        said = "it is nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise SurefootError(f"{where} is not JSON that can be read: {said}.") from error


def object_or_none(line: bytes) -> dict[str, object] | None:
    """The object that a first line is by itself: lines begin so, a file that is one object over many does not."""
    try:
        found = json_of(line, "")
    except SurefootError:
        return None
    return found if isinstance(found, dict) else None


def lines_of(data: bytes, shown: str) -> list[tuple[str, object]]:
    """Where each line of JSON lines stands and its value; empty lines are left out."""
    places = ((f"{shown}, line {number}", line) for number, line in enumerate(data.split(b"\n"), start=1))
    return [(where, json_of(line, where)) for where, line in places if line.strip()]


def text_of(value: object, what: str) -> str:
    """The value where it is text that a file can hold; otherwise `SurefootError`, saying what it should be."""
    if not isinstance(value, str):
        raise SurefootError(f"{what} must be text, not {_kind(value)}.")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise SurefootError(f"{what} holds half of a surrogate pair: it is no text.") from None
    return value


def list_of(value: object, what: str) -> list[object]:
    """The value where it is a list; otherwise `SurefootError`."""
    if not isinstance(value, list):
        raise SurefootError(f"{what} must be a list, not {_kind(value)}.")
    return value


def object_of(value: object, what: str) -> dict[str, object]:
    """The value where it is an object; otherwise `SurefootError`."""
    if not isinstance(value, dict):
        raise SurefootError(f"{what} must be an object, not {_kind(value)}.")
    return value


def whole_of(value: object, what: str) -> int:
    """The value where it is a whole number; otherwise `SurefootError`."""
    if not isinstance(value, int) or isinstance(value, bool):
        said = f"{value:g}" if isinstance(value, float) else _kind(value)
        raise SurefootError(f"{what} must be a whole number, not {said}.")
    return value


def _kind(value: object) -> str:
    names: dict[type, str] = {dict: "an object", list: "a list", str: "text", bool: "true or false"}
    other = "a number" if isinstance(value, Number) else f"of the type {type(value).__name__}"
    return "missing" if value is None else names.get(type(value), other)


def _refuse(name: str) -> Callable[..., object]:
    raise ValueError(f"it holds {name}, which is no number of JSON")


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"an object has the name '{twice}' twice")
    return found
