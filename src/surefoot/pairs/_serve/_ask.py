"""A question to the search page, read from JSON and held against its limits, and the answer to it."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from surefoot.core import SurefootError
from surefoot.pairs._search._index import exact_of
from surefoot.pairs._search._query import MOST_RESULTS, FoundPair, PairIndex, query_vector, search_pairs
from surefoot.pairs._serve._facets import Facet, checked, condition_of, safe_condition

if TYPE_CHECKING:
    from surefoot.pairs._search._encoders import PairEncoder

_LARGEST_ID = 1 << 62
USUAL_FOLD = 0.94


@dataclass(frozen=True, kw_only=True)
class Ask:
    """What is looked for: texts, encoded pictures, rows of the set by id or URL, a vector; and what away from."""

    texts: tuple[str, ...] = ()
    without: tuple[str, ...] = ()
    images: tuple[bytes, ...] = ()
    ids: tuple[int, ...] = ()
    urls: tuple[str, ...] = ()
    vector: tuple[float, ...] = ()
    facets: Mapping[str, Any] = field(default_factory=dict)
    safe: bool = True
    fold: float | None = USUAL_FOLD
    k: int = 24


@dataclass(frozen=True, kw_only=True)
class PairSet:
    """What is served: an open index, the model of its vectors, its facets, and the folder of its pictures."""

    name: str
    index: PairIndex
    encoder: PairEncoder
    pictures: Path | None
    facets: tuple[Facet, ...]
    safe_by: tuple[tuple[str, str], ...]
    threshold: float


def read_ask(told: object) -> Ask:
    """A question from JSON data. Raises `SurefootError` for what is none, naming the field."""
    given = checked("question", told, dict)
    if unknown := given.keys() - Ask.__dataclass_fields__.keys():
        raise SurefootError(f"There is no field '{min(unknown):.40}' in a question.")

    def many(name: str, kind: type[Any], low: float, high: float, most: int = 16) -> tuple[Any, ...]:
        listed = checked(name, given.get(name, []), list, 0, most)
        return tuple(checked(f"part of {name}", one, kind, low, high) for one in listed)

    texts, without, urls = (many(name, str, 1, 1_000) for name in ("texts", "without", "urls"))
    fold = given.get("fold", USUAL_FOLD)
    return Ask(
        texts=texts, without=without, urls=urls, ids=many("ids", int, 0, _LARGEST_ID),
        images=tuple(map(_decoded, many("images", str, 1, 1 << 24))),
        vector=many("vector", float, -1e15, 1e15, 1 << 16),
        facets=checked("facets", given.get("facets", {}), dict),
        safe=checked("safe", given.get("safe", True), bool),
        fold=None if fold is None else checked("fold", fold, float, -1, 1),
        k=checked("k", given.get("k", 24), int, 1, MOST_RESULTS),
    )  # fmt: skip


def read_client(told: object) -> tuple[Ask, int]:
    """The question of a client of clip-retrieval's /knn-service, and of how many results it wants the rows.

    Its model of safety and its near duplicates are our safe mode and folding; its models of violence, of other
    languages and of beauty are passed over.
    """
    given = {name: one for name, one in checked("question", told, dict).items() if one not in (None, "", [])}
    if given.get("modality", "image") != "image":
        raise SurefootError("This index holds vectors of pictures: ask with modality 'image'.")
    ours = {"texts": "text", "images": "image", "urls": "image_url"}
    asked: dict[str, Any] = {name: [given[their]] for name, their in ours.items() if their in given}
    shown = checked("num_images", given.get("num_images", 100), int, 1, MOST_RESULTS)
    k = checked("num_result_ids", given.get("num_result_ids", shown), int, 1, MOST_RESULTS)
    folded = checked("deduplicate", given.get("deduplicate", False), bool)
    asked |= {"vector": given.get("embedding_input", []), "safe": given.get("use_safety_model", True)}
    return read_ask(asked | {"k": max(k, shown), "fold": USUAL_FOLD if folded else None}), shown


def read_ids(told: object) -> list[int]:
    """The ids that a client of /metadata asks for."""
    listed = checked("list of ids", checked("question", told, dict).get("ids"), list, 0, MOST_RESULTS)
    return [checked("id", one, int, 0, _LARGEST_ID) for one in listed]


def answer(pairs: PairSet, ask: Ask) -> tuple[list[FoundPair], int, int]:
    """The results, the rows that meet the facets, and those of them that are not shown to be safe.

    Raises `SurefootError` for an empty question and for rows that are not there.
    """
    vectors = _vectors(pairs, ask)
    vector = query_vector(pairs.encoder, texts=ask.texts, images=ask.images, without=ask.without, vectors=vectors)
    facets = condition_of(ask.facets, pairs.facets) or "true"
    safe = (safe_condition(pairs.safe_by, pairs.threshold) if ask.safe else "") or "true"
    counted = f"SELECT count(*), count(*) FILTER (NOT ({safe})) FROM rows WHERE {facets}"
    ((matching, hidden),) = pairs.index.rows.execute(counted).fetchall()
    where = "" if (facets, safe) == ("true", "true") else f"{facets} AND {safe}"
    return search_pairs(pairs.index, vector, k=ask.k, where=where, fold=ask.fold), matching, hidden


def rows_by_id(pairs: PairSet, ids: Sequence[int], columns: str = "*") -> dict[int, dict[str, Any]]:
    """The rows with these ids; those that are not there are left out."""
    listed = ", ".join(map(str, ids)) or "NULL"
    found = pairs.index.rows.execute(f"SELECT id AS at, {columns} FROM rows WHERE id IN ({listed})")
    names = [column[0] for column in found.description or ()]
    return {row[0]: dict(zip(names[1:], row[1:], strict=True)) for row in found.fetchall()}


def _vectors(pairs: PairSet, ask: Ask) -> np.ndarray | None:
    """The stored vectors of rows of the set, and one that is given. A URL is looked up, never fetched."""
    ids = list(ask.ids)
    for url in ask.urls:
        ((found,),) = pairs.index.rows.execute("SELECT min(id) FROM rows WHERE url = ?", [url]).fetchall()
        if found is None:
            raise SurefootError(f"No row of this set has the URL {url:.80}; others are never fetched.")
        ids.append(found)
    if missing := set(ids) - rows_by_id(pairs, ids).keys():
        raise SurefootError(f"There is no row {min(missing)} in this set.")
    stored = [exact_of(pairs.index.vectors).reconstruct_batch(np.array(ids, np.int64))] if ids else []
    if ask.vector:
        given, dimension = np.array([ask.vector], np.float32), pairs.index.told.dimension
        if given.shape[1] != dimension or (length := float(np.linalg.norm(given))) < 1e-6:
            raise SurefootError(f"A vector must be {dimension} numbers, not all 0, got {given.shape[1]}.")
        stored.append(given / length)
    return np.concatenate(stored) if stored else None


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text.rpartition("base64,")[2], validate=True)
    except ValueError:
        raise SurefootError("A picture must come as base64.") from None
