"""The columns of a pair, and its name."""

from __future__ import annotations

from hashlib import md5
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyarrow

PAIR_TYPES = {
    "uid": "string", "url": "string", "text": "string", "page_url": "string", "license": "string",
    "language": "string", "language_reliable": "bool_", "reasons": "strings",
}  # fmt: skip
"""The columns that every stage writes, with their Arrow types; a stage and a user's file may add others."""


def uid_of(url: str, text: str) -> str:
    """The name of a pair: 32 hexadecimal digits, the MD5 of the text and the URL, as in DataComp and cc2dataset."""
    return md5((text + url).encode("utf-8", "replace"), usedforsecurity=False).hexdigest()


def pair_schema(**more: str) -> pyarrow.Schema:
    """The Arrow schema of pairs; `more` are columns of one stage with the names of their types, before `reasons`."""
    import pyarrow

    types = {name: kind for name, kind in PAIR_TYPES.items() if name != "reasons"} | more
    fields: list[Any] = [(name, getattr(pyarrow, kind)()) for name, kind in types.items()]
    return pyarrow.schema([*fields, ("reasons", pyarrow.list_(pyarrow.string()))])
