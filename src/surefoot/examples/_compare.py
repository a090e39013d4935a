"""Comparing models example by example, from the scores that their artifacts keep."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from surefoot.core import Store, SurefootError, Table, examples_path
from surefoot.stats import holm, mcnemar, paired_difference

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

_COLUMNS = (
    "a", "b", "examples", "mean a", "mean b", "difference", "low", "high", "p", "p (Holm)",
    "only a right", "only b right", "McNemar p",
)  # fmt: skip


def compare_examples(store: Store, baseline: str, others: Sequence[str]) -> Table:
    """The mean difference of scores (other - baseline) over the examples that both have, with a paired t interval.

    `baseline` and `others` are beginnings of keys. Scores of 0 and 1 get McNemar's exact counts and p, too; with
    several others, p is also given after Holm's correction. Raises `SurefootError` when no example is shared, or when
    an example id stands twice in one artifact (then there is nothing to pair by).
    """
    first = examples_path(store, baseline)
    rows = [_compared(first, examples_path(store, other)) for other in others]
    adjusted = holm([row[8] for row in rows])
    return Table(_COLUMNS, tuple((*row[:9], float(p), *row[9:]) for row, p in zip(rows, adjusted, strict=True)))


def _compared(first: Path, second: Path) -> tuple[Any, ...]:
    a, b = _paired_scores(first, second)
    paired = paired_difference(b, a)
    difference = paired.difference
    head = (first.parent.name, second.parent.name, len(a), float(a.mean()), float(b.mean()))
    middle = (difference.estimate, difference.low, difference.high, paired.p)
    if not np.isin(np.concatenate([a, b]), (0.0, 1.0)).all():
        return (*head, *middle, None, None, None)
    counts = mcnemar(a == 1.0, b == 1.0)
    return (*head, *middle, counts.only_first, counts.only_second, counts.p)


def _paired_scores(first: Path, second: Path) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    import duckdb

    with duckdb.connect() as connection:
        for path in (first, second):
            _refuse_twins(connection, path)
        joined = connection.execute(
            "SELECT a.score AS a, b.score AS b FROM read_parquet(?) a JOIN read_parquet(?) b USING (example) "
            "ORDER BY example",
            [str(first), str(second)],
        ).fetchnumpy()
    if not len(joined["a"]):
        raise SurefootError(f"{first.parent.name} and {second.parent.name} share no example: they cannot be paired.")
    return np.asarray(joined["a"], dtype=np.float64), np.asarray(joined["b"], dtype=np.float64)


def _refuse_twins(connection: "DuckDBPyConnection", path: Path) -> None:
    twin = connection.execute(
        "SELECT example, count(*) FROM read_parquet(?) GROUP BY example HAVING count(*) > 1 LIMIT 1", [str(path)]
    ).fetchone()
    if twin:
        raise SurefootError(f"{path}: example '{twin[0]}' stands there {twin[1]} times; ids must be unique to pair by.")
