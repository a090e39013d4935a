"""What results can be narrowed by: every column of numbers or texts, and the columns that safe mode reads."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeVar, cast

from surefoot.core import SurefootError
from surefoot.pairs._search._where import is_number
from surefoot.tables import literal, quote

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

_T = TypeVar("_T")
_KINDS = {bool: "true or false", int: "a whole number", float: "a number", str: "a whole text", list: "a list",
          dict: "an object"}  # fmt: skip
_INTERNAL = ("id", "root", "vector")
_MOST_VALUES = 40
_UNSAFE = re.compile(r"(^|[^a-z])(p?unsafe|nsfw|toxic(ity)?|violen(t|ce))([^a-z]|$)", re.IGNORECASE)
_SAFE_WORDS = "('unlikely', 'safe', 'sfw', 'no', 'false', '0')"


@dataclass(frozen=True, kw_only=True)
class Facet:
    """A column: numbers from `low` to `high`, a few `values` with the rows of each, or a text of many values.

    `single` numbers have 32 bits: a bound is rounded as they are, as it is in a condition, so that .26 is at least .26.
    """

    column: str
    kind: Literal["number", "choice", "text"]
    low: float | None = None
    high: float | None = None
    single: bool = False
    values: tuple[tuple[str | None, int], ...] = ()


def facets_of(rows: DuckDBPyConnection) -> tuple[Facet, ...]:
    """The columns that differ between rows, in order; where most texts differ, only words and paths."""
    found = []
    for name, kind, *_ in rows.execute("DESCRIBE rows").fetchall():
        column = quote(name)
        if is_number(kind) and name not in _INTERNAL:
            number = f"{column}::DOUBLE"
            asked = f"SELECT min({number}), max({number}) FROM rows WHERE isfinite({number})"
            ((low, high),) = rows.execute(asked).fetchall()
            facet = Facet(column=name, kind="number", low=low, high=high, single=kind == "FLOAT")
            found += [facet] if low != high else []
        elif kind in ("VARCHAR", "BOOLEAN") and name not in _INTERNAL:
            counted = f"SELECT {column}::VARCHAR, count(*) FROM rows GROUP BY 1 ORDER BY 2 DESC, 1"
            values = tuple(rows.execute(f"{counted} LIMIT {_MOST_VALUES + 1}").fetchall())
            counted = f"count(DISTINCT {column}), count({column}), bool_or(regexp_matches({column}::VARCHAR, '[ /]'))"
            ((different, known, worded),) = rows.execute(f"SELECT {counted} FROM rows").fetchall()
            apart = different > max(2, known / 2)
            many = apart or len(values) > _MOST_VALUES
            facet = Facet(column=name, kind="text" if many else "choice", values=() if many else values)
            found += [facet] if len(values) > 1 and (worded or not apart) else []
    return tuple(found)


def condition_of(asked: Mapping[str, Any], facets: Sequence[Facet]) -> str:
    """The SQL of what is asked: {column: {"min": 1, "max": 2} or {"is": ["en", None]} or {"has": "word"}}; '' for none.

    Raises `SurefootError` for a column that is none of these, and for other values.
    """
    numbers = {one.column: one.kind == "number" for one in facets}
    single = {one.column for one in facets if one.single}
    parts: list[str] = []
    for name, want in asked.items():
        known = ({"min", "max"}, {"min"}, {"max"}) if numbers.get(name) else ({"is"}, {"has"})
        if name not in numbers or not isinstance(want, dict) or want.keys() not in known:
            raise SurefootError(f"There is no facet '{name:.80}' of this form: ask /api/about for those there are.")
        column = quote(name) if numbers[name] else f"{quote(name)}::VARCHAR"
        for end, value in want.items():
            if end == "has":
                parts.append(f"contains(lower({column}), lower({literal(checked(name, value, str))}))")
            elif end == "is":
                listed = checked(name, value, list, 1, 2 * _MOST_VALUES)
                words = ", ".join(literal(checked(name, one, str)) for one in listed if one is not None) or "NULL"
                parts.append(f"({column} IN ({words}){f' OR {column} IS NULL' if None in listed else ''})")
            else:
                bound, kind = checked(name, value, float, -1e30, 1e30), "FLOAT" if name in single else "DOUBLE"
                parts.append(f"{column} {'>=' if end == 'min' else '<='} ({bound!r}::{kind})")
    return " AND ".join(parts)


def safe_columns(rows: DuckDBPyConnection) -> tuple[tuple[str, str], ...]:
    """The columns named nsfw, unsafe, punsafe, toxic or violent (also as a word of a longer name), with their types."""
    return tuple((name, kind) for name, kind, *_ in rows.execute("DESCRIBE rows").fetchall() if _UNSAFE.search(name))


def safe_condition(columns: Sequence[tuple[str, str]], threshold: float) -> str:
    """The SQL of a row that each of them calls safe, by a number, also one of a CSV file, or a word. A row that was not
    judged is not shown to be safe.
    """
    parts = []
    for name, kind in columns:
        as_type = kind if kind == "FLOAT" else "DOUBLE"
        number = f"try_cast({quote(name)} AS {as_type}) <= {threshold!r}::{as_type}, " if kind != "BOOLEAN" else ""
        parts.append(f"coalesce({number}lower({quote(name)}::VARCHAR) IN {_SAFE_WORDS}, false)")
    return " AND ".join(parts)


def checked(name: str, value: Any, kind: type[_T], low: float = 0, high: float = 1_000) -> _T:
    """The value, if it is of this kind of JSON, and it, or its length, within the limits.

    Raises `SurefootError` for any other; NaN and half a character are such.
    """
    found: Any = value
    given = type(value) is kind or (kind is float and type(value) is int)
    size = low if kind is bool or not given else found if kind in (int, float) else len(found)
    if not given or not low <= size <= high or (kind is str and re.search(r"[\0\ud800-\udfff]", found)):
        long = "" if kind in (int, float) else " long"
        limits = "" if kind in (bool, dict) else f" (from {low:,g} to {high:,g}{long})"
        raise SurefootError(f"The {name} must be {_KINDS[kind]}{limits}, got {found!s:.40}.")
    return cast(_T, float(found)) if kind is float else found
