"""The stage index: vectors of pictures for search, with the recall measured on queries that were held out."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from surefoot.core import SurefootError, alone, digest_of, full_disk_is_said, write_text
from surefoot.pairs._search._embed import IMAGES, TEXTS, has_direction
from surefoot.pairs._stages._manifest import read_manifest, sources_in
from surefoot.pairs._stages._tombs import TOMBS, digest, tombs
from surefoot.pairs._stages._work import BUSY

if TYPE_CHECKING:
    import pyarrow
    from numpy.typing import NDArray

IndexKind = Literal["exact", "sq8", "pq4"]
INDEX = "index.json"
_FORMAT = 1
_FEW = 10_000
"""Up to so many rows all are compared, by default: at 512 numbers a row that takes a millisecond."""
_LARGEST_READ = 256 << 20
_QUERIES, _NEIGHBOURS, _REFINED = 400, 10, (1, 2, 4, 10, 16, 32, 64)
_A_CELL = 64
"""The least rows of a cell, and the most that it is trained on."""
_Queries = dict[str, "tuple[NDArray[np.float32], NDArray[np.int64], NDArray[np.int64]]"]
"""Vectors of pictures and of texts, their rows, and the row that is no neighbour: the picture itself (-1: none)."""


@dataclass(frozen=True, kw_only=True)
class Recall:
    """The share of the ten nearest rows that a search finds, over n held-out `queries` ("pictures", "texts").

    The 95 percent interval is Wilson's at the number of queries: a share of ten varies no more than one draw.
    """

    queries: str
    value: float
    low: float
    high: float
    n: int


@dataclass(frozen=True, kw_only=True)
class IndexDescription:
    """What `index.json` says: `rows` were added in all, and lie in the files `vectors` and `table`.

    `probes` of `cells` are looked into, and `refined` times k candidates compared exactly (with vectors of 16 bits).
    `left_out` counts rows whose vectors are zero or not finite, `repeated` and `removed` those of the last call that
    were not added, since a row of their uid is there or was removed; `digests` are the SHA-256 of the two files.
    `model` is what embeds a query: its name, digest, and what the user said of it. `inputs` are the digests of the
    manifests that were indexed. The table's column `id` is the row of the vectors, `root` where its `picture` lies;
    a column of the user's that is called so is `candidate_id` or `candidate_root`.
    """

    kind: IndexKind
    dimension: int
    rows: int
    cells: int
    probes: int
    refined: int
    trained_on: int
    recall: tuple[Recall, ...]
    model: Mapping[str, Any]
    inputs: tuple[str, ...]
    vectors: str
    table: str
    left_out: int = 0
    repeated: int = 0
    removed: int = 0
    digests: Mapping[str, str] = field(default_factory=dict)


def build_index(
    embedded: Path, out: Path, *, kind: IndexKind | None = None, recall: float = 0.99, seed: int = 0,
    root: Path | None = None, model: Mapping[str, Any] | None = None,
) -> IndexDescription:  # fmt: skip
    """Index the pictures of what `embed_pairs` wrote, or add them to the index in `out`: rows without a reason.

    `kind`: "exact" compares all vectors (16 bits), "pq4" looks into cells of an inverted file with codes of 4 bits for
    every 8 numbers and compares the best exactly, "sq8" has a byte a number. By default exact up to 10,000 rows, else
    pq4. The cells looked into and the candidates compared are the fewest that reach `recall` on half of the held-out
    queries, pictures and texts alike; the recall that is told is of the other half. A row whose uid is there already is
    not added again, nor one whose uid, URL or vector was removed (`remove_pairs`), and one whose vector is zero or not
    finite is left out. The same input gives the same bytes. Raises `SurefootError` for vectors of another model, and
    for files that are not those of the manifest.
    """
    if not 0 < recall <= 1:
        raise SurefootError(f"recall is {recall:g}: it must be above 0 and at most 1.")
    manifest, made = read_manifest(embedded), digest_of(embedded / "manifest.json")
    told = dict(model or {}) | {name: manifest.recipe.rules.get(name) for name in ("model", "digest")}
    out.mkdir(parents=True, exist_ok=True)
    with full_disk_is_said(out), alone(out, BUSY.format(out)), _one_thread():
        before = checked_index(out) if (out / INDEX).is_file() else None
        if before and before.model.get("digest") != told["digest"]:
            raise SurefootError(
                f"{out} was made with the model {before.model['model']}: name another folder with --out."
            )
        if before:
            sweep(out, before)
        if before and made in before.inputs:
            return before
        if not before and any(not one.name.startswith(("embedded", "vectors-0", "rows-0")) for one in out.iterdir()):
            raise SurefootError(f"{out} holds other files and no index: name an empty or a new folder with --out.")
        table, images, texts, skipped = _new_rows(embedded, out, before, root)
        index, table, images, queries, trained_on = _grown(
            out, before, table, images=images, texts=texts, kind=kind, seed=seed)  # fmt: skip
        probes, refined, found = _tuned(index, queries, recall, before)
        inputs = (*(before.inputs if before else ()), made)
        described = IndexDescription(
            kind=_kind_of(index), dimension=images.shape[1], rows=len(images), cells=getattr(_base(index), "nlist", 1),
            probes=probes, refined=refined, trained_on=trained_on, recall=found, model=told, inputs=inputs,
            vectors=f"vectors-{len(inputs) - 1}.faiss", table=f"rows-{len(inputs) - 1}.parquet",
            left_out=skipped["left_out"] + (before.left_out if before else 0), repeated=skipped["repeated"],
            removed=skipped["removed"],
        )  # fmt: skip
        return _publish(out, index, table, described)


def read_index(directory: Path) -> IndexDescription:
    """What an index is. Raises `SurefootError` for a folder that holds none, or one of another version."""
    try:
        found = json.loads((directory / INDEX).read_text(encoding="utf-8"))
        names = (found["vectors"], found["table"])
        if found.pop("format") != _FORMAT or any(Path(name).name != name for name in names):
            raise ValueError("another format")
        recall = tuple(Recall(**one) for one in found["recall"])
        return IndexDescription(**found | {"recall": recall, "inputs": tuple(found["inputs"])})
    except (FileNotFoundError, NotADirectoryError):
        raise SurefootError(f"{directory} is no index: make one with 'surefoot pairs index'.") from None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise SurefootError(f"{directory / INDEX} does not describe an index ({error}): make it anew.") from None


def checked_index(directory: Path) -> IndexDescription:
    """As `read_index`. Raises `SurefootError` for missing files, and for up to 256 MiB that it was not written with."""
    told = read_index(directory)
    for name, known in told.digests.items():
        file = directory / name
        if not file.is_file() or (file.stat().st_size <= _LARGEST_READ and digest_of(file) != known):
            raise SurefootError(f"{file} is missing or damaged, or of another index: put that back, or index anew.")
    return told


def shrink_index(directory: Path, out: Path, table: pyarrow.Table, moved: Mapping[str, str]) -> None:
    """Write an index of the rows of `table` alone, trained anew on them; `moved` are new digests of manifests."""
    import pyarrow

    told, faiss = checked_index(directory), library()
    if not len(table):
        raise SurefootError(f"Nothing would be left in the index {directory}: delete it first.")
    images = exact_of(faiss.read_index(str(directory / told.vectors))).reconstruct_n(0, told.rows)[table["id"]]
    with _one_thread():
        queries = _queries(images, np.zeros_like(images), 0, 0)
        index = _trained(images, told.kind, 0, queries)
        index.add(images)
        probes, refined, found = _tuned(index, queries, 0.99, told)
    described = replace(
        told, rows=len(images), cells=getattr(_base(index), "nlist", 1), probes=probes, refined=refined, recall=found,
        trained_on=len(images), inputs=tuple(moved.get(one, one) for one in told.inputs),
    )  # fmt: skip
    table = table.set_column(0, "id", pyarrow.array(range(len(table)), pyarrow.int64()))
    _publish(out, index, table, described)


def library() -> Any:
    """faiss; its type stubs know none of the arguments that it takes by name."""
    import faiss

    return faiss


def exact_of(index: Any) -> Any:
    """The part of an index of faiss that compares vectors exactly."""
    if not hasattr(index, "refine_index"):
        return index
    part = index.refine_index
    part.referenced_objects = [index]  # it owns the memory, and would take it along
    return part


def parameters(probes: int, refined: int, selector: Any = None) -> Any:
    """How faiss is to search an index with cells: how many of them, how many candidates, and which rows."""
    faiss = library()
    more = {"sel": selector} if selector is not None else {}
    cells = faiss.SearchParametersIVF(nprobe=probes, **more)
    return faiss.IndexRefineSearchParameters(k_factor=refined, base_index_params=cells)


@contextmanager
def _one_thread() -> Iterator[None]:
    """The same sums in the same order: the bytes of an index must not depend on the number of cores."""
    import faiss

    before = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(1)
    try:
        yield
    finally:
        faiss.omp_set_num_threads(before)


def _new_rows(
    embedded: Path, out: Path, before: IndexDescription | None, root: Path | None
) -> tuple[pyarrow.Table, NDArray[np.float32], NDArray[np.float32], Counter[str]]:
    """Rows that are kept and new, the vectors of their pictures and texts, and how many others there are, by why."""
    import pyarrow
    import pyarrow.parquet as pq

    seen = set(pq.read_table(out / before.table, columns=["uid"])["uid"].to_pylist()) if before else set[str]()
    tables, images, texts, skipped, was_removed = [], [], [], Counter[str](), _removed_from(out)
    for source in sources_in(embedded):
        table = pq.ParquetFile(source.path).read()
        if "vector" not in table.column_names:
            raise SurefootError(f"{embedded} has no embeddings: make them with 'surefoot pairs embed'.")
        stored = [np.load(source.path.with_suffix(suffix), mmap_mode="r") for suffix in (IMAGES, TEXTS)]
        rows = zip(*(table[name].to_pylist() for name in ("uid", "url", "vector", "reasons")), strict=True)
        kept = [(place, uid, url, at) for place, (uid, url, at, why) in enumerate(rows) if not why and at is not None]
        usable = [(uid, place) for place, uid, url, at in kept if not was_removed(uid, url, stored[0][at])]
        fresh = dict(reversed(usable))
        new = sorted(place for uid, place in fresh.items() if uid not in seen)
        table = table.take(pyarrow.array(new, pyarrow.int64()))
        seen |= fresh.keys()
        at = table["vector"].to_numpy().astype(np.int64)
        good = has_direction(stored[0][at])
        images.append(stored[0][at][good].astype(np.float32))
        texts.append(stored[1][at][good].astype(np.float32))
        skipped.update(left_out=int((~good).sum()), repeated=len(usable) - len(new), removed=len(kept) - len(usable))
        tables.append(table.filter(pyarrow.array(good)).drop_columns(["vector", "reasons"]))
    table = pyarrow.concat_tables(tables, promote_options="permissive")
    own = [f"candidate_{name}" if name.lower() in ("id", "root") else name for name in table.column_names]
    places = pyarrow.array([root and str(root)] * len(table), pyarrow.string())
    table = table.rename_columns(own).append_column("root", places)
    return table, np.concatenate(images), np.concatenate(texts), skipped


def _removed_from(out: Path) -> Callable[[str, str | None, NDArray[np.float16]], bool]:
    """Whether a row of this uid, URL or vector was removed from an index: it must not come back."""
    key, told = tombs(out) if (out / TOMBS).is_file() else (b"", {"digests": ()})
    known = told["digests"]
    return lambda uid, url, vector: (
        bool(known) and any(digest(key, one) in known for one in (uid.encode(), (url or "").encode(), vector.tobytes()))
    )


def _grown(
    out: Path, before: IndexDescription | None, table: pyarrow.Table, *, images: NDArray[np.float32],
    texts: NDArray[np.float32], kind: IndexKind | None, seed: int,
) -> tuple[Any, pyarrow.Table, NDArray[np.float32], _Queries, int]:  # fmt: skip
    """The index with the new rows: trained anew when it has become twice as large."""
    import faiss
    import pyarrow
    import pyarrow.parquet as pq

    if not before and not len(images):
        raise SurefootError("No row has a picture and no reason against it: there is nothing to index.")
    start = before.rows if before else 0
    index: Any = None
    table = table.add_column(0, "id", pyarrow.array(range(start, start + len(images)), pyarrow.int64()))
    if before:
        index = faiss.read_index(str(out / before.vectors))
        images = np.concatenate([exact_of(index).reconstruct_n(0, start), images])
        table = pyarrow.concat_tables([pq.ParquetFile(out / before.table).read(), table], promote_options="permissive")
    queries = _queries(images, texts, start, seed)
    if before and kind in (None, before.kind) and len(images) <= 2 * before.trained_on:
        index.add(images[start:])
        return index, table, images, queries, before.trained_on
    coded = before.kind if before and before.kind != "exact" else "pq4" if images.shape[1] % 16 == 0 else "sq8"
    index = _trained(images, kind or ("exact" if len(images) <= _FEW else coded), seed, queries)
    index.add(images)
    return index, table, images, queries, len(images)


def _publish(out: Path, index: Any, table: Any, told: IndexDescription) -> IndexDescription:
    """New files first, then the description that names them; who has the old ones open still reads them."""
    import faiss
    import pyarrow.parquet

    faiss.write_index(index, str(out / told.vectors))
    pyarrow.parquet.write_table(table, out / told.table)
    told = replace(told, digests={name: digest_of(out / name) for name in (told.vectors, told.table)})
    write_text(out / INDEX, json.dumps({"format": _FORMAT} | asdict(told), indent=1, allow_nan=False) + "\n")
    sweep(out, told)
    return told


def sweep(out: Path, told: IndexDescription) -> None:
    """Delete the files of an earlier state, which a kill may have left: what is removed must not stay in them."""
    for old in (*out.glob("vectors-*.faiss"), *out.glob("rows-*.parquet")):
        if old.name not in (told.vectors, told.table):
            old.unlink()


def _base(index: Any) -> Any:
    import faiss

    return faiss.downcast_index(index.base_index) if hasattr(index, "base_index") else index


def _kind_of(index: Any) -> IndexKind:
    return {"IndexIVFPQFastScan": "pq4", "IndexIVFScalarQuantizer": "sq8"}.get(type(_base(index)).__name__, "exact")  # pyright: ignore[reportReturnType]


def _trained(images: NDArray[np.float32], kind: IndexKind, seed: int, held_out: _Queries) -> Any:
    import faiss

    n, dimension = images.shape
    cells = max(1, min(round(math.sqrt(n)), n // _A_CELL))
    codes = {"exact": "SQfp16", "sq8": f"IVF{cells},SQ8,Refine(SQfp16)"}
    factory = codes.get(kind, f"IVF{cells},PQ{dimension // 8}x4fs,Refine(SQfp16)")
    try:
        index = faiss.index_factory(dimension, factory, faiss.METRIC_INNER_PRODUCT)
    except RuntimeError:
        raise SurefootError(f"Vectors of {dimension} numbers cannot be coded as {kind}: take sq8.") from None
    if kind != "exact":
        _base(index).cp.seed = seed + 1234
    kept = np.setdiff1d(np.arange(n), np.concatenate([rows for _, rows, _ in held_out.values()]))
    kept = kept if 2 * len(kept) > n else np.arange(n)  # of few rows none can be spared
    index.train(images[np.sort(np.random.default_rng(seed).permutation(kept)[: max(1024, _A_CELL * cells)])])
    return index


def _queries(images: NDArray[np.float32], texts: NDArray[np.float32], start: int, seed: int) -> _Queries:
    """Pictures of all rows, and texts of those that are new: from `start` on."""
    order = np.random.default_rng([seed, 1]).permutation(len(images))
    chosen, new = order[:_QUERIES], order[order >= start]
    spoken = new[has_direction(texts[new - start])][:_QUERIES]
    found: _Queries = {"pictures": (images[chosen], chosen, chosen)} if len(chosen) else {}
    return found | ({"texts": (texts[spoken - start], spoken, np.full(len(spoken), -1))} if len(spoken) else {})


def _tuned(
    index: Any, queries: _Queries, target: float, before: IndexDescription | None = None
) -> tuple[int, int, tuple[Recall, ...]]:
    """The fewest cells and candidates that reach the recall on the even queries, and the recall on the odd ones.

    Not fewer than `before`: the texts that needed these are not kept, so that none of them is asked again.
    """
    from surefoot.stats import wilson

    if _base(index) is index:
        return 1, 1, ()
    asked = {
        name: (vectors, own, _nearest(exact_of(index).search(vectors, _NEIGHBOURS + 1)[1], own))
        for name, (vectors, _, own) in queries.items()
    }
    probes, refined = 1, 1
    shares: dict[str, NDArray[np.float64]] = {}
    for probes, refined in _settings(_base(index).nlist, before):
        how = parameters(probes, refined)
        for name, (vectors, own, true) in asked.items():
            found = _nearest(index.search(vectors, _NEIGHBOURS + 1, params=how)[1], own)
            both = zip(found, true, strict=True)
            shares[name] = np.array([len(one & all_) / max(1, len(all_)) for one, all_ in both])
        if all(one[::2].mean() >= target for one in shares.values()):
            break
    held = {name: one[1::2] if len(one) > 1 else one for name, one in shares.items()}
    bounds = {name: wilson(float(one.sum()), len(one)) for name, one in held.items()}
    told = (Recall(queries=name, value=one.estimate, low=one.low, high=one.high, n=len(held[name]))
            for name, one in bounds.items())  # fmt: skip
    return probes, refined, tuple(told)


def _settings(cells: int, before: IndexDescription | None) -> list[tuple[int, int]]:
    """Pairs of cells and candidates, the quickest first: a cell costs as much as forty exact comparisons."""
    probes = [*(1 << place for place in range(cells.bit_length()) if 1 << place < cells), cells]
    probes = [one for one in probes if not before or one >= min(before.probes, cells)]
    refined = [one for one in _REFINED if not before or one >= before.refined]
    return sorted(((one, more) for one in probes for more in refined), key=lambda pair: (pair[0] * 4 + pair[1], pair))


def _nearest(found: NDArray[np.int64], own: Sequence[int] | NDArray[np.int64]) -> list[set[int]]:
    """The nearest rows of each query, itself left out."""
    both = zip(found.tolist(), own, strict=True)
    return [set([row for row in rows if row not in (me, -1)][:_NEIGHBOURS]) for rows, me in both]
