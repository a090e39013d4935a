"""A file of labels, scores and sensitive columns, as arrays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from surefoot.core import SurefootError, agreed
from surefoot.tables import Remark, check_column, database, load_table, quote, rows_text, type_columns
from surefoot.tabular._tables._columns import plain
from surefoot.tabular._tables._groups import Division, add_sides, divide, refuse_reserved, said_of, written

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

_YES, _NO = ["1", "1.0", "true", "yes", "t", "y"], ["0", "0.0", "false", "no", "f", "n"]
_ROLES = ("label", "score", "other", "weight")


@dataclass(frozen=True, kw_only=True)
class PredictionColumns:
    """The names of the columns to read; an empty one is not there. `other` holds the scores of a second model."""

    score: str
    sensitive: tuple[str, ...]
    label: str = ""
    other: str = ""
    weight: str = ""
    positive: str = ""

    def named(self) -> dict[str, str]:
        """The columns that are there, by what they are."""
        return {role: name for role in _ROLES if (name := getattr(self, role))}


@dataclass(frozen=True, kw_only=True)
class Predictions:
    """The rows that are complete: labels (n,) or None, scores (n,), those of the other model and weights or None.

    `divisions` are the intersections of the sensitive columns, then each column alone; `notes` say what was left out.
    """

    labels: NDArray[np.intp] | None
    scores: NDArray[np.float64]
    other: NDArray[np.float64] | None
    weights: NDArray[np.float64] | None
    divisions: tuple[Division, ...]
    notes: tuple[str, ...]


def read_predictions(path: Path | str, columns: PredictionColumns) -> Predictions:
    """Read a file of predictions, of any kind that `surefoot.tables` reads.

    `positive` is the label's value that counts as yes; left out, labels are 0 and 1, no and yes, or false and true,
    and so may scores be; with it they may be labels, also 0 and 1: those of `positive` are the yes. Rows without a
    label, score or weight are left out and said. Raises `SurefootError` for a missing file or column, other labels,
    scores that are not between 0 and 1, or weights that are not above 0.
    """
    _check_names(columns)
    notes: list[str] = []
    with database() as connection:
        loaded = load_table(connection, path)
        refuse_reserved(loaded.columns, loaded.source)
        for name in (*columns.named().values(), *columns.sensitive):
            check_column(name, loaded.columns, loaded.source)
        kept = [columns.label, *add_sides(connection, "raw", columns.sensitive)]
        scores = [columns.score, *([columns.other] if columns.other else [])]
        for name in scores:
            notes += _read_classes(connection, name, columns, loaded.source)
            _read_words(connection, name)
        remarks = type_columns(connection, loaded, keep=kept)
        asked = {*columns.named().values(), *columns.sensitive, *(f"{name}__group" for name in columns.sensitive)}
        notes += said_of([remark for remark in remarks if asked.issuperset(remark.columns)])
        for name in scores:
            _read_percents(connection, name, remarks, loaded.source)
        if columns.label and columns.positive:
            columns = replace(columns, positive=written(connection, columns.label, columns.positive))
        _select(connection, columns, loaded.rows, notes)
        read = {role: plain(connection, f"{role}__") for role in columns.named()}
        rows = plain(connection, "row__")
        _check(read, rows, columns, loaded.source)
        divisions = divide(connection, [f"{name}__group" for name in columns.sensitive], notes)
    return Predictions(
        labels=read["label"].astype(np.intp) if columns.label else None,
        scores=read["score"],
        other=read.get("other"),
        weights=read.get("weight"),
        divisions=divisions,
        notes=tuple(dict.fromkeys(notes)),
    )


def _check_names(columns: PredictionColumns) -> None:
    if not columns.sensitive:
        raise SurefootError("Name at least one sensitive column: its values are the groups.")
    roles = [*columns.named().items(), *(("sensitive", name) for name in columns.sensitive)]
    first: dict[str, str] = {}
    for role, name in roles:
        if name in first:
            raise SurefootError(
                f"The column '{name}' is named twice, as {first[name]} and as {role}: give each its own."
            )
        first[name] = role


def _read_classes(connection: DuckDBPyConnection, name: str, columns: PredictionColumns, source: str) -> list[str]:
    """Decisions that bear the names of the labels: the positive label counts as 1, others as 0, which is said.

    Raises where it cannot be told if a decision such as 1 or yes is for the positive label or for another.
    """
    if not columns.label or not columns.positive:
        return []
    score, label, positive = map(_same, (quote(name), quote(columns.label), "$positive"))
    labels = f"SELECT {label} FROM raw WHERE {quote(columns.label)} IS NOT NULL"
    name_of_none = f"{score} NOT IN ({labels})"
    sql = f"""SELECT count(*) FILTER (WHERE {name_of_none}) = 0, list_contains($words, {positive}),
        count(*) FILTER (WHERE NOT list_contains($words, {score})) = 0, list_contains($no, {positive}),
        bool_or({score} = {positive}) AND count(*) FILTER (WHERE {name_of_none}
            AND (list_contains($words, {score}) OR NOT regexp_matches({score}, '^\\p{{L}}'))) = 0 FROM raw"""
    values = {"positive": columns.positive, "no": _NO, "words": [*_YES, *_NO]}
    ((classes, plain, decisions, against, named),) = connection.execute(sql, values).fetchall()
    if decisions and (against if not classes else not plain):
        raise SurefootError(
            f"{source}: it cannot be told whether the yes of column '{name}' means that {columns.label} is "
            f"'{columns.positive}' or that it is not. Write decisions as {columns.label} is written."
        )
    if not classes and not named:
        return [f"1 or yes in {name} is for {columns.label} = '{columns.positive}'."] if decisions else []
    query = f"SELECT DISTINCT {quote(name)}::VARCHAR FROM raw WHERE {name_of_none} ORDER BY 1 LIMIT 5"
    others = [] if classes else [other for (other,) in connection.execute(query).fetchall()]
    strange = f" ({', '.join(map(repr, others))} {agreed(len(others), 'are')} no {columns.label})" if others else ""
    connection.execute(f"ALTER TABLE raw ALTER {quote(name)} TYPE VARCHAR")
    sql = f"UPDATE raw SET {quote(name)} = ({score} = {positive})::INTEGER WHERE {quote(name)} IS NOT NULL"
    connection.execute(sql, {"positive": columns.positive})
    return [f"{name} has the values of {columns.label}: '{columns.positive}' counts as yes, any other as no{strange}."]


def _same(text: str) -> str:
    """What is equal where two values are the same number, or the same word in whatever case."""
    return f"coalesce(TRY_CAST({text}::VARCHAR AS DOUBLE)::VARCHAR, lower({text}::VARCHAR))"


def _read_words(connection: DuckDBPyConnection, name: str) -> None:
    text = f"lower({quote(name)}::VARCHAR)"
    connection.execute(f"ALTER TABLE raw ALTER {quote(name)} TYPE VARCHAR")
    for words, number in ((_YES, "1"), (_NO, "0")):
        connection.execute(f"UPDATE raw SET {quote(name)} = ? WHERE list_contains(?, {text})", [number, words])


def _read_percents(connection: DuckDBPyConnection, name: str, remarks: Sequence[Remark], source: str) -> None:
    signed = {
        row for remark in remarks if remark.code == "percent-sign" and name in remark.columns for row in remark.rows
    }
    if signed:
        ((filled,),) = connection.execute(f"SELECT count({quote(name)}) FROM raw").fetchall()
        if len(signed) < filled:
            raise SurefootError(
                f"{source}: column '{name}' has a percent sign in {rows_text(sorted(signed))} and none in others: "
                "write all scores one way."
            )
        # 70.1 / 100 is below 0.701, where a threshold may be.
        connection.execute(f"UPDATE raw SET {quote(name)} = round({quote(name)} / 100, 15)")


def _select(connection: DuckDBPyConnection, columns: PredictionColumns, total: int, notes: list[str]) -> None:
    label = quote(columns.label)
    truth = (
        f"CASE WHEN {label} IS NULL THEN NULL WHEN $positive <> '' THEN ({label}::VARCHAR = $positive)::INTEGER "
        f"WHEN list_contains($yes, lower({label}::VARCHAR)) THEN 1 "
        f"WHEN list_contains($no, lower({label}::VARCHAR)) THEN 0 ELSE 2 END AS label__"
    )
    named = columns.named()
    # A row that weighs nothing is none.
    ends = {"weight": ", 0)"}
    numbers = [
        f"{'nullif(' if role in ends else ''}TRY_CAST({quote(name)} AS DOUBLE){ends.get(role, '')} AS {role}__"
        for role, name in named.items()
        if role != "label"
    ]
    parts = [*([truth] if columns.label else []), *numbers, "row_number() OVER () AS row__"]
    sides = [quote(f"{name}__group") for name in columns.sensitive]
    complete = " AND ".join(f"{role}__ IS NOT NULL" for role in named)
    connection.execute(
        f"CREATE TABLE features AS SELECT * FROM (SELECT {', '.join([*parts, *sides])} FROM raw) WHERE {complete}",
        {"positive": columns.positive, "yes": _YES, "no": _NO} if columns.label else None,
    )
    if columns.label and columns.positive:
        query = f"SELECT {label}::VARCHAR, count(*) FROM raw WHERE {label}::VARCHAR <> ? GROUP BY 1 ORDER BY 2 DESC, 1"
        others = connection.execute(query, [columns.positive]).fetchall()
        if len(others) > 1:
            shown = ", ".join(f"'{value}' ({count:,})" for value, count in others[:5])
            more = f" and {len(others) - 5} more" if len(others) > 5 else ""
            notes.append(f"Every {columns.label} but '{columns.positive}' counts as no: {shown}{more}.")
    ((kept,),) = connection.execute("SELECT count(*) FROM features").fetchall()
    if kept < total:
        missing = " or no ".join(named.values())
        weightless = ", or a weight of 0" if columns.weight else ""
        notes.append(
            f"{total - kept} of {total} rows {agreed(total - kept, 'have')} no {missing} that can be read"
            f"{weightless}: left out."
        )
        shown = ", ".join(sides)
        gone = f"SELECT DISTINCT {shown} FROM raw EXCEPT SELECT DISTINCT {shown} FROM features ORDER BY ALL"
        if lost := connection.execute(gone).fetchall():
            names = "; ".join(", ".join(str(side) for side in group) for group in lost)
            notes.append(f"No row is left of {names}: nothing is said of {'it' if len(lost) == 1 else 'them'}.")


def _check(read: dict[str, NDArray[Any]], rows: NDArray[Any], columns: PredictionColumns, source: str) -> None:
    if not len(rows):
        every = ", ".join(columns.named().values())
        raise SurefootError(
            f"{source} has no row with all of {every} that can be read: scores are numbers, or no and yes."
        )
    labels = read.get("label", np.zeros(1))
    if (labels == 2).any():
        raise SurefootError(
            f"{source}, row {rows[np.argmax(labels == 2)]}: the label {columns.label} must be 0 or 1 (or no and yes, "
            "false and true). Say which value counts as yes with --positive VALUE."
        )
    limits = {
        "score": (0.0, 1.0, "from 0 to 1"),
        "other": (0.0, 1.0, "from 0 to 1"),
        "weight": (1e-300, 1e300, "above 0"),
    }
    for role, (low, high, words) in limits.items():
        values = read.get(role, np.array([low]))
        outside = ~((values >= low) & (values <= high))
        if outside.any():
            at = int(np.argmax(outside))
            name = columns.named()[role]
            raise SurefootError(
                f"{source}, row {rows[at]}: the column {name} is {values[at]:.12g}; it must be {words}."
            )
