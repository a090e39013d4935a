"""Files of strangers into memory: limited, unpacked, and JSON as the standard has it."""

import gzip
import json
import zlib
from collections.abc import Callable
from functools import partial
from glob import escape
from io import BytesIO
from itertools import islice
from numbers import Number
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import duckdb

from surefoot.core import PARQUET, SurefootError, in_memory

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
        return json.loads(data.decode("utf-8-sig"), parse_constant=refuse_constant, object_pairs_hook=_unique)
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


Kind = TypeVar("Kind", str, int, list[Any], dict[str, Any])
_NAMES: dict[type, str] = {str: "text", int: "a whole number", list: "a list", dict: "an object", bool: "true or false"}


def checked(kind: type[Kind], value: object, what: str) -> Kind:
    """The value where it is text that a file can hold, a whole number, a list or an object; else `SurefootError`."""
    if not isinstance(value, kind) or isinstance(value, bool):
        other = "a number" if isinstance(value, Number) else f"of the type {type(value).__name__}"
        told = _NAMES.get(type(value), other) if type(value) is not int else other
        said = str(value) if kind is int and isinstance(value, float) else told
        raise SurefootError(f"{what} must be {_NAMES[kind]}, not {'missing' if value is None else said}.")
    try:
        if isinstance(value, str):
            value.encode()
    except UnicodeEncodeError:
        raise SurefootError(f"{what} holds half of a surrogate pair: it is no text.") from None
    return value


class Row(NamedTuple):
    """An object of a file, and where it stands: every fault of a field is said with its place."""

    told: dict[str, object]
    where: str

    @staticmethod
    def of(value: object, where: str) -> "Row":
        """The object, if it is one."""
        return Row(checked(dict, value, where), where)

    def text(self, name: str, *default: str, what: str = "") -> str:
        """A field that is text; where it is not there, the default, if one is given."""
        value = self.told.get(name, *default)
        if isinstance(value, str) and value.isascii():  # a file has millions: no message is made for what is right
            return value
        return checked(str, value, f"{self.where}: {what or repr(name)}")

    def whole(self, name: str, what: str = "") -> int:
        """A field that is a whole number."""
        value = self.told.get(name)
        return value if type(value) is int else checked(int, value, f"{self.where}: {what or repr(name)}")

    def values(self, name: str, *default: list[object]) -> list[object]:
        """A field that is a list."""
        return checked(list, self.told.get(name, *default), f"{self.where}: '{name}'")

    def texts(self, name: str, *default: list[object], what: str = "") -> tuple[str, ...]:
        """A field that is a list of texts."""
        return tuple(checked(str, one, f"{self.where}: {what or repr(name)}") for one in self.values(name, *default))

    def rows(self, name: str, what: str, *default: list[object]) -> "list[Row]":
        """A field that is a list of objects."""
        where = f"{self.where}: {what}"
        return [Row.of(one, where) for one in self.values(name, *default)]


def rows_of(data: bytes, shown: str) -> list[Row]:
    """The object on each line, and where it stands; empty lines are left out."""
    places = ((f"{shown}, line {number}", line) for number, line in enumerate(data.split(b"\n"), start=1))
    return [Row.of(json_of(line, where), where) for where, line in places if line.strip()]


def parquet_rows(file: Path) -> list[dict[str, object]]:
    """The rows of a Parquet file by the names of its columns. Raises `SurefootError` for what cannot be read."""
    try:
        with in_memory() as connection:
            read = connection.execute(f"SELECT * FROM {PARQUET}", [escape(str(file))])
            names = [column[0] for column in read.description or ()]
            return [dict(zip(names, row, strict=True)) for row in read.fetchall()]
    except duckdb.Error as error:
        raise SurefootError(f"{file} is no Parquet file that can be read: {str(error).splitlines()[0]}.") from error


def refuse_constant(name: str) -> Callable[..., object]:
    """For `json.loads`: NaN and infinity, which Python reads and the standard does not know."""
    raise ValueError(f"it holds {name}, which is no number of JSON")


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"an object has the name '{twice}' twice")
    return found
