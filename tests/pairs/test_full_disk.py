"""A full disk is one sentence that names it, whichever library writes: DuckDB, NumPy, Arrow, faiss."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from surefoot.core import SurefootError
from surefoot.pairs import Recipe, Source, make_parts, pairs_from_tables
from surefoot.tables import database

FULL = r"^The disk that holds .*{} is full: free some space, then run again\.$"


@pytest.fixture
def small_disk(mount_disk: Callable[[str], Path]) -> Path:
    return mount_disk("1m")


@pytest.fixture
def urls(tmp_path: Path) -> Path:
    """Two megabytes of texts that cannot be packed."""
    random = np.random.default_rng(0)
    rows = [{"url": f"u{n}", "text": random.bytes(500).hex()} for n in range(4_000)]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "urls.parquet")
    return tmp_path / "urls.parquet"


def test_deduplicate_says_that_the_disk_is_full(
    small_disk: Path, urls: Path, tmp_path: Path, surefoot: Callable[..., Any]
) -> None:
    pairs_from_tables([urls], tmp_path / "pairs")
    ended = surefoot("pairs", "deduplicate", tmp_path / "pairs", "--out", small_disk / "out")
    assert ended.code == 2 and "A fault in Surefoot" not in ended.err
    assert f"The disk that holds {small_disk / 'out'}" in ended.err and "is full: free some space" in ended.err
    with pytest.raises(SurefootError, match=FULL.format("part-00000.parquet")):
        pairs_from_tables([urls], small_disk / "pairs")


def test_the_disk_of_temporary_files_is_named_where_that_is_full(
    small_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(small_disk))
    with pytest.raises(SurefootError, match=FULL.format(small_disk.name)), database() as connection:
        connection.execute("SET memory_limit = '20MB'")
        connection.execute("CREATE TABLE x AS SELECT md5(range::VARCHAR) AS b FROM range(1000000) ORDER BY b")


def _vectors(source: Source, out: Path) -> dict[str, int]:
    np.save(out.with_suffix(".images.npy"), np.zeros((1_000_000, 2)))
    return {}


def _table(source: Source, out: Path) -> dict[str, int]:
    pq.write_table(pa.table({"a": np.random.default_rng(0).random(1_000_000)}), out)
    return {}


def _index(source: Source, out: Path) -> dict[str, int]:
    import faiss

    index = faiss.IndexFlatIP(64)
    index.add(np.zeros((20_000, 64), np.float32))
    faiss.write_index(index, str(out.with_suffix(".faiss")))
    return {}


@pytest.mark.parametrize("make", [_vectors, _table, _index])
def test_every_library_that_writes_is_understood(
    small_disk: Path, make: Callable[[Source, Path], dict[str, int]]
) -> None:
    with pytest.raises(SurefootError, match=FULL.format("out")):
        make_parts("x", Recipe(name="x"), [Source(path=Path("a"), sha256="a")], small_disk / "out", make)


def test_other_faults_stay_what_they_are(tmp_path: Path) -> None:
    def wrong(source: Source, out: Path) -> dict[str, int]:
        raise ValueError("not of the disk")

    with pytest.raises(ValueError, match="not of the disk"):
        make_parts("x", Recipe(name="x"), [Source(path=Path("a"), sha256="a")], tmp_path / "out", wrong)
