"""What a stranger sends, held against its limits."""

from __future__ import annotations

from typing import Any, TypeVar, cast

from surefoot.core import SurefootError

_T = TypeVar("_T")
_KINDS = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "a text",
    list: "a list",
    dict: "an object",
}


def checked(name: str, value: Any, kind: type[_T], low: float = 0, high: float = 1_000) -> _T:
    """The value, if it is of this kind of JSON, and it, or its length, within the limits; a text is made whole UTF-8.

    Raises `SurefootError` for any other, and NaN is one.
    """
    found: Any = value
    given = type(value) is kind or (kind is float and type(value) is int)
    size = low if kind is bool or not given else found if kind in (int, float) else len(found)
    if not given or not low <= size <= high or (kind is str and "\0" in found):
        limits = (
            "" if kind in (bool, dict) else f" (from {low:,g} to {high:,g}{'' if kind in (int, float) else ' long'})"
        )
        raise SurefootError(f"The {name} must be {_KINDS[kind]}{limits}, got {found!s:.40}.")
    if kind is float:
        return cast(_T, float(found))
    return found.encode("utf-8", "replace").decode() if kind is str else found
