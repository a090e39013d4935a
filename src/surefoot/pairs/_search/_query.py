"""Search in an index: by texts, pictures, both, and away from some; filtered by any column; near duplicates folded."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from surefoot.core import SurefootError
from surefoot.pairs._search._index import INDEX, IndexDescription, checked_index, exact_of, library, parameters
from surefoot.pairs._search._where import rows_of, select

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection
    from numpy.typing import NDArray

    from surefoot.pairs._search._encoders import PairEncoder

MOST_RESULTS = 10_000
_AWAY = 0.5
_LARGEST_QUERY = 64 << 20


@dataclass(frozen=True, kw_only=True)
class PairIndex:
    """An open index: its description, its vectors (mapped from the disk) and its rows; when its file was written."""

    told: IndexDescription
    vectors: Any
    rows: DuckDBPyConnection
    file: Path | None = None
    written: int = 0


@dataclass(frozen=True, kw_only=True)
class FoundPair:
    """A result: the cosine of its picture with the query, its row, and the ids of near duplicates folded into it."""

    id: int
    score: float
    row: Mapping[str, Any]
    folded: tuple[int, ...] = ()


@contextmanager
def open_index(directory: Path) -> Iterator[PairIndex]:
    """An index for search. Raises `SurefootError` for a folder that holds none, and for damaged files."""
    import faiss

    file = directory / INDEX
    written = file.stat().st_mtime_ns if file.is_file() else 0
    told = checked_index(directory)
    path = directory / told.vectors
    try:
        vectors = faiss.read_index(str(path), faiss.IO_FLAG_MMAP_IFC | faiss.IO_FLAG_READ_ONLY)
        if (vectors.ntotal, vectors.d) != (told.rows, told.dimension):
            raise RuntimeError("it is of another index")
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[-1][:120]
        raise SurefootError(f"{path} is missing or damaged ({reason}): make the index anew.") from error
    with rows_of([directory / told.table]) as rows:
        yield PairIndex(told=told, vectors=vectors, rows=rows, file=file, written=written)


@contextmanager
def as_opened(index: PairIndex) -> Iterator[None]:
    """Raises `SurefootError` where the index was written anew since it was opened: its ids are of other rows now."""
    try:
        yield
    finally:  # `index.json` goes first and comes last: where it is the same, so were all files
        file = index.file
        if file and not (file.is_file() and file.stat().st_mtime_ns == index.written):
            raise SurefootError(f"The index {file.parent} was changed after it was opened: open or serve it again.")


def query_vector(
    encoder: PairEncoder, *, texts: Sequence[str] = (), images: Sequence[Path | bytes] = (),
    without: Sequence[str] = (), vectors: NDArray[np.float32] | None = None,
) -> NDArray[np.float32]:  # fmt: skip
    """One unit vector (dimension): the mean of what is looked for, less half the mean of the texts to keep away from.

    `images` are files or their bytes, `vectors` (n, dimension) embeddings. Raises `SurefootError` for an empty query,
    and a picture that cannot be read.
    """
    if any(re.search(r"[\ud800-\udfff]", text) for text in (*texts, *without)):
        raise SurefootError("A text to look for has a character that is no UTF-8: write it anew.")
    wanted = [encoder.texts(list(texts))] if texts else []
    wanted += [encoder.images(np.stack([_pixels(encoder, one) for one in images]))] if images else []
    wanted += [vectors] if vectors is not None and len(vectors) else []
    if not wanted:
        raise SurefootError("There is nothing to look for: give a text or a picture (--image FILE).")
    vector = np.concatenate(wanted).mean(0) - (_AWAY * encoder.texts(list(without)).mean(0) if without else 0)
    length = float(np.linalg.norm(vector))
    if not length > 1e-6:
        raise SurefootError("The parts of the query cancel each other: leave one out.")
    return (vector / length).astype(np.float32)


def _pixels(encoder: PairEncoder, path: Path | bytes) -> NDArray[np.uint8]:
    from surefoot.contrastive import decode

    if isinstance(path, bytes):
        return encoder.prepare(decode(path))
    if not path.is_file() or path.stat().st_size > _LARGEST_QUERY:
        raise SurefootError(f"{path} is no file of a picture, or larger than {_LARGEST_QUERY >> 20} MB.")
    try:
        return encoder.prepare(decode(path.read_bytes()))
    except SurefootError as error:
        raise SurefootError(f"The picture {path} cannot be used: {error}.") from error


def search_pairs(
    index: PairIndex, vector: NDArray[np.float32], *, k: int = 20, where: str = "", fold: float | None = None
) -> list[FoundPair]:
    """The k rows whose pictures are nearest to a vector, the nearest first; fewer only where there are no more.

    `where` is an SQL condition over the columns of a row. Few rows are compared exactly; of many, as many more cells
    are looked into as the condition leaves out rows. With `fold` a result whose picture has at least this cosine with
    a better one is folded into it. Raises `SurefootError` for a condition that is none, and a vector of another length.
    """
    if not 1 <= k <= MOST_RESULTS:
        raise SurefootError(f"k is {k}: from 1 to {MOST_RESULTS:,} results can be asked for.")
    if fold is not None and not -1 <= fold <= 1:
        raise SurefootError(f"fold is {fold:g}: a cosine is from -1 to 1; 0.94 is usual.")
    if vector.shape != (index.told.dimension,) or not np.isfinite(vector).all():
        raise SurefootError(f"The query must be {index.told.dimension} finite numbers, got {vector.shape}.")
    with as_opened(index):
        return _found(index, vector, k, where, fold)


def _found(index: PairIndex, vector: NDArray[np.float32], k: int, where: str, fold: float | None) -> list[FoundPair]:
    allowed = _allowed(index, where)
    count = index.told.rows if allowed is None else int(allowed.sum())
    wanted = min(k, count)
    ids, scores = _nearest(index, vector, wanted, allowed, count)
    while fold is not None and count and len(_folded(index, ids, fold, k)) < min(k, count) and wanted < count:
        wanted = min(4 * wanted, count)
        ids, scores = _nearest(index, vector, wanted, allowed, count)
    kept = {one: [] for one in ids.tolist()} if fold is None or not len(ids) else _folded(index, ids, fold, k)
    score = dict(zip(ids.tolist(), scores.tolist(), strict=True))
    found = index.rows.execute("SELECT * FROM rows WHERE id IN (SELECT unnest(?::BIGINT[]))", [list(kept)])
    names = [column[0] for column in found.description or ()]
    rows = {row[0]: dict(zip(names, row, strict=True)) for row in found.fetchall()}
    return [FoundPair(id=one, score=score[one], row=rows[one], folded=tuple(kept[one])) for one in kept]


def _allowed(index: PairIndex, where: str) -> NDArray[np.bool_] | None:
    """Which rows may be found; None: all."""
    if not where.strip():
        return None
    chosen = np.zeros(index.told.rows, bool)
    chosen[[one for (one,) in select(index.rows, "id", where)]] = True
    return chosen


def _nearest(
    index: PairIndex, vector: NDArray[np.float32], wanted: int, allowed: NDArray[np.bool_] | None, count: int
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    faiss, told, base, query = library(), index.told, index.vectors, vector[None]
    if not wanted:
        return np.empty(0, np.int64), np.empty(0, np.float32)
    bits = None if allowed is None else np.packbits(allowed, bitorder="little")
    selector = None if bits is None else faiss.IDSelectorBitmap(bits)
    share = count / told.rows
    # Looking into cells costs as their share of all, and more of them by 1 / share of the rows that may be found.
    exactly = told.kind == "exact" or share <= math.sqrt(told.probes / told.cells) / 2 or wanted * told.refined > count
    probes = min(told.cells, math.ceil(told.probes / share))
    while not exactly:
        scores, ids = base.search(query, wanted, params=parameters(probes, told.refined, selector))
        if (ids[0] >= 0).all():
            return _ordered(scores, ids)
        exactly, probes = probes >= told.cells, min(told.cells, 4 * probes)
    chosen = faiss.SearchParameters(sel=selector) if selector is not None else None
    return _ordered(*exact_of(base).search(query, wanted, params=chosen))


def _ordered(scores: NDArray[np.float32], ids: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """The best first, of equal ones the first row; -1 is faiss's word for none."""
    order = np.lexsort((ids[0], -scores[0]))
    order = order[ids[0][order] >= 0]
    return ids[0][order], scores[0][order]


def _folded(index: PairIndex, ids: NDArray[np.int64], fold: float, k: int) -> dict[int, list[int]]:
    """The first k rows that are no near duplicates of a better one, each with its duplicates."""
    vectors = exact_of(index.vectors).reconstruct_batch(ids)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)  # 16 bits leave them a little off the length 1
    kept: dict[int, list[int]] = {}
    places: list[int] = []
    for place, one in enumerate(ids.tolist()):
        alike = vectors[places] @ vectors[place]
        if len(alike) and alike.max() >= min(fold, 1 - 1e-6):
            kept[int(ids[places[int(alike.argmax())]])].append(one)
        elif len(kept) < k:
            kept[one] = []
            places.append(place)
    return kept
