"""A file of labels, scores and sensitive columns, as arrays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from surefoot.core import SurefootError
from surefoot.tabular._tables._database import database, group_rows, quote
from surefoot.tabular._tables._file import check_column, load_file

_TRUTH = (
    "CASE WHEN $positive <> '' THEN (label__ = $positive)::INTEGER WHEN lower(label__) IN ('1', '1.0', 'true', 'yes') "
    "THEN 1 WHEN lower(label__) IN ('0', '0.0', 'false', 'no') THEN 0 ELSE 2 END"
)
Predictions = tuple[NDArray[np.intp], NDArray[np.float64], NDArray[np.uint16], tuple[str, ...], list[str]]


def read_predictions(
    path: Path, *, label: str, score: str, sensitive: Sequence[str], positive: str = ""
) -> Predictions:
    """Labels (n,), scores (n,), group codes (n,), names of the groups, and notes on what was left out.

    `positive` is the label's value that counts as yes; left out, labels are 0 and 1, no and yes, or false and true.
    Rows without a label or a score are left out and said. Raises `SurefootError` for a missing file or column, other
    labels, or scores that are not between 0 and 1.
    """
    if not sensitive:
        raise SurefootError("Name at least one sensitive column: its values are the groups.")
    if {label, score} & set(sensitive):
        raise SurefootError(f"The columns {label} and {score} cannot be sensitive ones too.")
    with database() as connection:
        names = load_file(connection, path)
        for column in (label, score, *sensitive):
            check_column(column, names, str(path))
        columns = f"{quote(label)}::VARCHAR AS label__, TRY_CAST({quote(score)} AS DOUBLE) AS score__"
        sides = ", ".join(f"{quote(name)} AS {quote(name + '__group')}" for name in sensitive)
        connection.execute(f"CREATE TABLE every AS SELECT {columns}, {sides}, row_number() OVER () AS row__ FROM raw")
        total = (connection.execute("SELECT count(*) FROM every").fetchone() or (0,))[0]
        connection.execute(
            "CREATE TABLE features AS SELECT * FROM every WHERE label__ IS NOT NULL AND score__ IS NOT NULL"
        )
        sql = f"SELECT {_TRUTH} AS truth, score__ AS score, row__ AS row FROM features"
        found = connection.execute(sql, {"positive": positive}).fetchnumpy()
        _check(found, path, (label, positive), score)
        notes: list[str] = []
        left_out = total - len(found["truth"])
        if left_out:
            notes.append(f"{left_out} of {total} rows have no {label}, or no {score} that is a number: left out.")
        groups, codes = group_rows(connection, [f"{name}__group" for name in sensitive], notes)
    return np.asarray(found["truth"], np.intp), np.asarray(found["score"], np.float64), codes, tuple(groups), notes


def _check(found: Mapping[str, Any], path: Path, label: tuple[str, str], score: str) -> None:
    name, positive = label
    truth, values, rows = (np.asarray(found[column]) for column in ("truth", "score", "row"))
    if not len(truth):
        raise SurefootError(f"{path} has no row with both a {name} and a {score}.")
    if (truth == 2).any():
        row = rows[np.argmax(truth == 2)]
        raise SurefootError(
            f"{path}, row {row}: the label {name} must be 0 or 1 (or no and yes, false and true). Say which value "
            "counts as yes with --positive VALUE."
        )
    if positive and not (truth == 1).any():
        raise SurefootError(f"{path}: no row has {name} = '{positive}'.")
    outside = (values < 0) | (values > 1)
    if outside.any():
        at = int(np.argmax(outside))
        raise SurefootError(f"{path}, row {rows[at]}: the score {score} is {values[at]:g}; it must be from 0 to 1.")
