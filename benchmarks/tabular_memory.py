"""Peak memory of a table of a million rows, read, encoded and fitted, and how fast 100,000 configurations are browsed.

Run: python benchmarks/tabular_memory.py [rows]
"""

import resource
import sys
import tempfile
import time
from pathlib import Path

import duckdb
import numpy as np

from surefoot.core import Store, open_pool, run
from surefoot.tabular import Design, FileTable, TableFits, full_grid, open_design
from surefoot.tabular._sweep._fits import write_columns


def peak_mb() -> float:
    """The most memory this process has held."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def table(rows: int, folder: Path) -> None:
    """Write a CSV of this many rows, read and split it, and print the peak."""
    path = folder / "large.csv"
    with duckdb.connect() as connection:
        connection.execute("SET threads=1; SET memory_limit='500MB'")
        numbers = ", ".join(f"random() AS x{place}" for place in range(10))
        words = ", ".join(
            f"'level ' || (hash(i * {place + 7}) % {5 * (place + 1)})::VARCHAR AS c{place}" for place in range(10)
        )
        groups = "i % 2 AS sex, (i // 2) % 2 AS race, (random() > 0.6)::INTEGER AS y"
        sql = f"SELECT {numbers}, {words}, {groups} FROM range({rows}) t(i)"
        connection.execute(f"COPY ({sql}) TO '{path}' (HEADER)")
    before, begun = peak_mb(), time.process_time()
    step = FileTable(path=str(path), label="y", sensitive=("sex", "race")).pinned()
    design, store = Design(table=step), Store(folder / "store")
    with open_pool("here") as pool:
        failed = [event.error for event in run([design], store, pool) if event.error]
    assert not failed, failed
    seconds = time.process_time() - begun
    x = open_design(store.path(design)).train.x
    print(f"{rows:,} rows, CSV of {path.stat().st_size >> 20} MB: {x.shape[1]} features, {seconds:.0f} CPU s")
    print(
        f"peak memory {peak_mb():.0f} MB ({before:.0f} MB before reading); "
        f"the encoded matrix on disk: {x.nbytes >> 20} MB"
    )
    for learner in ("logistic", "lightgbm", "xgboost"):
        fits(design, learner, store)


def fits(design: Design, learner: str, store: Store) -> None:
    """Fit four configurations of a learner on all rows, in a process of its own, and print its peak."""
    step = TableFits(design=design, learner=learner, configurations=full_grid(learner)[:4])
    with open_pool("processes", 1) as pool:
        failed = [event.error for event in run([step], store, pool) if event.error]
    assert not failed, failed
    said = store.provenance(step)
    print(
        f"{learner}: {said['cpu_seconds']:.0f} CPU s, peak {said['peak_memory_bytes'] >> 20} MB, mapped files counted"
    )


def browse(count: int, folder: Path) -> None:
    """A page of 50 configurations out of `count`, sorted by one metric and filtered by another."""
    generator = np.random.default_rng(0)
    columns = {f"test_metric_{place}": generator.random(count) for place in range(40)}
    columns |= {"learner": np.array(["lightgbm", "mlp"] * (count // 2), dtype=object), "place": np.arange(count)}
    path = folder / "configurations.parquet"
    write_columns(path, columns)
    begun = time.perf_counter()
    with duckdb.connect() as connection:
        sql = f"SELECT * FROM '{path}' WHERE test_metric_3 > 0.5 ORDER BY test_metric_7 DESC LIMIT 50 OFFSET 5000"
        connection.execute(sql).fetchall()
    seconds = time.perf_counter() - begun
    print(f"{count:,} configurations, {path.stat().st_size >> 20} MB: a page of 50 in {seconds:.3f} s wall")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as name:
        table(int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000, Path(name))
        browse(100_000, Path(name))
