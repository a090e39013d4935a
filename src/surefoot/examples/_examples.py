"""Per-example results, one Parquet file a Step, by which models are compared pair by pair."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from surefoot.core import SurefootError

if TYPE_CHECKING:
    import numpy as np

EXAMPLES = "examples.parquet"
Column = "Sequence[Any] | np.ndarray"


def write_examples(out: Path, columns: "Mapping[str, Sequence[Any] | np.ndarray]") -> None:
    """Write `examples.parquet` into the directory `out`: one row an example, in the given order.

    The column `example` identifies the example (text), `score` is what is averaged; others are the task's own. Raises
    `SurefootError` when the columns are of different lengths or one of these two is missing.
    """
    import duckdb
    import numpy as np

    lengths = {name: len(values) for name, values in columns.items()}
    if not {"example", "score"} <= lengths.keys() or len(set(lengths.values())) != 1:
        raise SurefootError(f"Examples need the columns example and score, and all of one length: got {lengths}.")
    arrays = {name: _plain(np.asarray(values)) for name, values in columns.items()}
    connection = duckdb.connect()
    try:
        connection.register("examples", arrays)
        target = str(out / EXAMPLES).replace("'", "''")
        connection.execute(f"COPY (SELECT * FROM examples) TO '{target}' (FORMAT parquet, COMPRESSION zstd)")
    finally:
        connection.close()


def _plain(values: "np.ndarray") -> "np.ndarray":
    """Text as objects: DuckDB reads numpy's fixed-width text as something else."""
    return values.astype(object) if values.dtype.kind == "U" else values
