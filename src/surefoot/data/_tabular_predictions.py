"""A file of labels, scores and sensitive columns, as arrays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from surefoot.core import SurefootError
from surefoot.data._tabular_file import check_column, load_file
from surefoot.data._tabular_read import database, group_rows, quote

Predictions = tuple[NDArray[np.intp], NDArray[np.float64], NDArray[np.uint16], tuple[str, ...], list[str]]


def read_predictions(path: Path, *, label: str, score: str, sensitive: Sequence[str]) -> Predictions:
    """Labels (n,), scores (n,), group codes (n,), names of the groups, and notes on what was left out.

    Rows without a label or a score are left out and said. Raises `SurefootError` for a missing file or column, labels
    that are not 0 and 1, or scores that are not between 0 and 1.
    """
    if not path.is_file():
        raise SurefootError(f"There is no file {path}.")
    if not sensitive:
        raise SurefootError("Name at least one sensitive column: its values are the groups.")
    with database() as connection:
        names = load_file(connection, path)
        for column in (label, score, *sensitive):
            check_column(column, names, str(path))
        columns = f"{quote(label)}::VARCHAR AS label__, TRY_CAST({quote(score)} AS DOUBLE) AS score__"
        sides = ", ".join(f"{quote(name)} AS {quote(name + '__group')}" for name in sensitive)
        connection.execute(f"CREATE TABLE every AS SELECT {columns}, {sides} FROM raw")
        total = (connection.execute("SELECT count(*) FROM every").fetchone() or (0,))[0]
        connection.execute(
            "CREATE TABLE features AS SELECT * FROM every WHERE label__ IS NOT NULL AND score__ IS NOT NULL"
        )
        found = connection.execute(
            "SELECT CASE lower(label__) WHEN '1' THEN 1 WHEN '1.0' THEN 1 WHEN 'true' THEN 1 WHEN '0' THEN 0 "
            "WHEN '0.0' THEN 0 WHEN 'false' THEN 0 ELSE 2 END AS truth, score__ AS score FROM features"
        ).fetchnumpy()
        _check(found, path, label, score)
        notes: list[str] = []
        left_out = total - len(found["truth"])
        if left_out:
            notes.append(f"{left_out} of {total} rows have no {label}, or no {score} that is a number: left out.")
        groups, codes = group_rows(connection, [f"{name}__group" for name in sensitive], notes)
    return np.asarray(found["truth"], np.intp), np.asarray(found["score"], np.float64), codes, tuple(groups), notes


def _check(found: Mapping[str, Any], path: Path, label: str, score: str) -> None:
    if not len(found["truth"]):
        raise SurefootError(f"{path} has no row with both a {label} and a {score}.")
    if (np.asarray(found["truth"]) == 2).any():
        row = int(np.argmax(np.asarray(found["truth"]) == 2)) + 1
        raise SurefootError(f"{path}, row {row}: the label {label} must be 0 or 1 (or true and false).")
    values = np.asarray(found["score"])
    outside = (values < 0) | (values > 1)
    if outside.any():
        row = int(np.argmax(outside)) + 1
        raise SurefootError(f"{path}, row {row}: the score {score} is {values[row - 1]:g}; it must be from 0 to 1.")
