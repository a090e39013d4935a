"""Groups of rows: the sides of each sensitive column, crossed with each other and alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from surefoot.core import SurefootError
from surefoot.tables import Remark, alike, is_number, quote
from surefoot.tabular._tables._columns import coded, plain

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

MOST_GROUPS = 64
_FEW = 10
_OURS = ("label__", "test__", "score__", "other__", "weight__")
_OUR_ENDS = ("__group", "__sensitive")


@dataclass(frozen=True, kw_only=True)
class Division:
    """One way to divide rows: its name, the names of its groups, and the group number of each row (rows,)."""

    name: str
    groups: tuple[str, ...]
    codes: NDArray[np.uint16]


def refuse_reserved(names: Sequence[str], source: str) -> None:
    """Raise for a column whose name is kept for labels and groups."""
    for name in names:
        if name in _OURS or name.endswith(_OUR_ENDS):
            raise SurefootError(
                f"{source} has a column '{name}', a name that is kept for labels and groups: rename it."
            )


def add_sides(connection: DuckDBPyConnection, table: str, sensitive: Sequence[str]) -> list[str]:
    """Copy each sensitive column as NAME__group; returns those with few values, which are names and no numbers."""
    few = []
    for name in sensitive:
        side = f"{name}__group"
        connection.execute(f"ALTER TABLE {table} ADD COLUMN {quote(side)} VARCHAR")
        connection.execute(f"UPDATE {table} SET {quote(side)} = {quote(name)}")
        ((distinct,),) = connection.execute(f"SELECT count(DISTINCT {quote(side)}) FROM {table}").fetchall()
        if distinct <= _FEW:
            few.append(side)
    return few


def said_of(remarks: Sequence[Remark]) -> list[str]:
    """What was said of columns, each by its name in the file, and once."""
    return list(dict.fromkeys(remark.message.replace("__group'", "'") for remark in remarks))


def written(connection: DuckDBPyConnection, column: str, value: str) -> str:
    """The text in a column of `raw` that is `value`, or the same number. Raises with the column's values if none is."""
    text = f"{quote(column)}::VARCHAR"
    same = f"{text} = $1 OR TRY_CAST({text} AS DOUBLE) = TRY_CAST($1 AS DOUBLE)"
    found = connection.execute(f"SELECT {text} FROM raw WHERE {same} ORDER BY {text} <> $1 LIMIT 1", [value]).fetchone()
    if found is None:
        query = f"SELECT DISTINCT {text} FROM raw WHERE {text} IS NOT NULL ORDER BY 1 LIMIT 9"
        values = [str(each) for (each,) in connection.execute(query).fetchall()]
        shown = ", ".join(values[:8]) + (" ..." if len(values) > 8 else "")
        raise SurefootError(f"No row has {column} = '{value}'. Its values: {shown}.")
    return str(found[0])


def divide(connection: DuckDBPyConnection, sensitive: Sequence[str], notes: list[str]) -> tuple[Division, ...]:
    """The intersections of the sensitive columns of `features` that occur, then each column alone, if several."""
    alone = [_sides(connection, name, notes) for name in sensitive]
    crossed = _crossed(alone)
    if len(crossed.groups) < 2:
        only = ", ".join(crossed.groups)
        raise SurefootError(f"All rows are in one group ({only}): choose sensitive columns that differ between rows.")
    if len(crossed.groups) > MOST_GROUPS:
        shown = ", ".join(division.name for division in alone)
        raise SurefootError(
            f"The columns {shown} make {len(crossed.groups)} groups; {MOST_GROUPS} are the most. Choose fewer "
            "columns, or columns with fewer values."
        )
    return (crossed, *(division for division in alone if len(alone) > 1 and len(division.groups) > 1))


def _crossed(divisions: Sequence[Division]) -> Division:
    sizes = [len(division.groups) for division in divisions]
    number = np.ravel_multi_index([division.codes.astype(np.intp) for division in divisions], sizes)
    there, codes = np.unique(number, return_inverse=True)
    parts = zip(divisions, np.unravel_index(there, sizes), strict=True)
    columns = [[division.groups[side] for side in sides] for division, sides in parts]
    names = [", ".join(sides) for sides in zip(*columns, strict=True)]
    order = sorted(range(len(names)), key=lambda place: names[place])
    name = " x ".join(division.name for division in divisions)
    return Division(
        name=name, groups=tuple(names[place] for place in order), codes=np.argsort(order)[codes].astype(np.uint16)
    )


def _sides(connection: DuckDBPyConnection, column: str, notes: list[str]) -> Division:
    """The sides of one attribute; a number with many values is cut at its median, and what is missing is a side."""
    quoted = quote(column)
    kind = next(kind for name, kind, *_ in connection.execute("DESCRIBE features").fetchall() if name == column)
    label = column.removesuffix("__sensitive").removesuffix("__group")
    distinct, missing = connection.execute(
        f"SELECT count(DISTINCT {quoted}), count(*) - count({quoted}) FROM features"
    ).fetchall()[0]
    if missing:
        notes.append(f"{missing} row{'s have' if missing > 1 else ' has'} no {label}: they are a side of their own.")
    if distinct > _FEW and is_number(kind):
        ((middle, most),) = connection.execute(f"SELECT median({quoted}), max({quoted}) FROM features").fetchall()
        # Where half of the rows have the highest value, nothing is above the median.
        words, under, over = ("up to, and above,", "<=", ">") if middle < most else ("below, and from,", "<", ">=")
        notes.append(f"Column {label} is a number: its groups are {words} its median {middle:.12g}.")
        names = [f"{label} {under} {middle:.12g}", f"{label} {over} {middle:.12g}"]
        codes = plain(connection, f"coalesce(({quoted} {over} ?)::INTEGER, -1)", [middle])
    else:
        levels, codes = coded(connection, column, "1")
        notes += [remark.message for remark in alike(label, levels)]
        names = list(levels) if column.endswith("__sensitive") else [f"{label} {level}" for level in levels]
    filled = np.where(codes < 0, len(names), codes).astype(np.uint16)
    blank = f"{label} missing" if f"{label} missing" not in names else f"{label} without a value"
    return Division(name=label, groups=(*names, *([blank] if missing else [])), codes=filled)
