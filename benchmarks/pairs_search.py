"""Milliseconds a query of an index of 50,000 vectors of 512 numbers at recall .99, beside a flat index in one process.

Run: python benchmarks/pairs_search.py [VECTORS.npy] [QUERIES]. One thread, one query at a time, CPU time. Without a
file the vectors are 500 clusters, which flatter every index. The flat index of faiss (32 bits) is the truth and the
peer. The whole search adds the rows of the results from Parquet.
"""

import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import faiss
import numpy as np
import pyarrow
import pyarrow.parquet
from numpy.typing import NDArray

from surefoot.pairs import PairIndex, Recipe, Source, build_index, make_parts, open_index, search_pairs, uid_of
from surefoot.pairs._search._query import _nearest


def main() -> None:
    """Print a line an index."""
    rounds = int(sys.argv[2]) if len(sys.argv) > 2 else 300
    every = np.load(sys.argv[1]).astype(np.float32) if len(sys.argv) > 1 else clusters(50_000 + rounds, 512)
    vectors, queries = every[:-rounds].astype(np.float16), every[-rounds:]
    faiss.omp_set_num_threads(1)
    flat = faiss.IndexFlatIP(vectors.shape[1])
    flat.add(vectors.astype(np.float32))
    spent, truth = timed(lambda query: flat.search(query[None], 10)[1][0].tolist(), queries)
    print(f"flat, 32 bits: {spent:.3f} ms a query, recall 1")
    with TemporaryDirectory() as place:
        root = Path(place)
        make_parts("embed", Recipe(name="embed", rules={"digest": "x"}), [Source(path=Path("a"), sha256="a")],
                   root / "e", lambda source, out: write(vectors, out))  # fmt: skip
        for kind in ("exact", "sq8", "pq4"):
            before = time.process_time()
            told = build_index(root / "e", root / kind, kind=kind)
            built = time.process_time() - before
            with open_index(root / kind) as index:
                quick, bare = timed(partial(bare_ids, index), queries)
                slow, _ = timed(partial(search_pairs, index, k=10), queries)
            recall = np.mean([len({*one} & {*true}) / 10 for one, true in zip(bare, truth, strict=True)])
            measured = ", ".join(f"{one.value:.4f} ({one.low:.3f} to {one.high:.3f})" for one in told.recall)
            print(
                f"{kind}: {quick:.3f} ms a query ({spent / quick:.0f} times), with rows {slow:.2f} ms, recall "
                f"{recall:.4f}, told {measured}; {told.probes} of {told.cells} cells, {told.refined} k; built in "
                f"{built:.1f} s"
            )


def bare_ids(index: PairIndex, query: NDArray[np.float32]) -> list[int]:
    """The ids of the ten nearest, without their rows."""
    return _nearest(index, query, 10, None, index.told.rows)[0].tolist()


def clusters(n: int, dimension: int) -> NDArray[np.float32]:
    """Unit vectors around 500 centres."""
    random = np.random.default_rng(0)
    centres = random.normal(size=(500, dimension))
    found = centres[random.integers(500, size=n)] + 0.9 * random.normal(size=(n, dimension))
    return (found / np.linalg.norm(found, axis=1, keepdims=True)).astype(np.float32)


def write(vectors: NDArray[np.float16], out: Path) -> dict[str, int]:
    """A part of embedded pairs."""
    n = len(vectors)
    for suffix in (".images.npy", ".texts.npy"):
        np.save(out.with_suffix(suffix), vectors)
    columns = {"uid": [uid_of(str(row), "") for row in range(n)], "text": ["a thing"] * n, "vector": range(n)}
    table = pyarrow.table({name: pyarrow.array(list(values)) for name, values in columns.items()})
    none = pyarrow.array([[]] * n, pyarrow.list_(pyarrow.string()))
    pyarrow.parquet.write_table(table.append_column("reasons", none), out)
    return {}


def timed(ask: Callable[[NDArray[np.float32]], Any], queries: NDArray[np.float32]) -> tuple[float, list[Any]]:
    """Milliseconds of CPU a query, and the answers."""
    ask(queries[0])
    before = time.process_time()
    answers = [ask(query) for query in queries]
    return 1000 * (time.process_time() - before) / len(queries), answers


if __name__ == "__main__":
    main()
