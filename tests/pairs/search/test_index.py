"""Indexes and search in them, against brute force."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from surefoot.core import SurefootError, digest_of
from surefoot.pairs import (
    DuplicateRules,
    Head,
    IndexDescription,
    IndexKind,
    Manifest,
    PairIndex,
    RemovalRequest,
    build_index,
    deduplicate,
    head_taggers,
    open_index,
    read_index,
    remove_pairs,
    search_pairs,
    tag_pairs,
    write_head,
)

N, DIMENSION = 3000, 32
Clustered = Callable[[int, int, int], NDArray[np.float32]]
Write = Callable[..., Manifest]


@pytest.fixture(scope="module")
def vectors(clustered: Clustered) -> NDArray[np.float32]:
    return clustered(N, DIMENSION, 0)


@pytest.fixture(scope="module")
def source(embedded: Write, vectors: NDArray[np.float32], tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("source") / "embedded"
    embedded(place, vectors)
    return place


@pytest.fixture(scope="module")
def kept(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """The vectors of the rows without a reason: row i of these is id i."""
    return vectors[np.arange(N) % 10 != 9]


@pytest.fixture(scope="module")
def indexes(source: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[IndexKind, Path]:
    place = tmp_path_factory.mktemp("indexes")
    kinds: tuple[IndexKind, ...] = ("exact", "sq8", "pq4")
    for kind in kinds:
        assert build_index(source, place / kind, kind=kind).kind == kind
    return {kind: place / kind for kind in kinds}


def brute(kept: NDArray[np.float32], vector: NDArray[np.float32], k: int, allowed: NDArray[np.bool_]) -> list[int]:
    scores = np.where(allowed, kept @ vector, -np.inf)
    return np.argsort(-scores, kind="stable")[: min(k, int(allowed.sum()))].tolist()


@pytest.mark.parametrize("kind", ["exact", "sq8", "pq4"])
def test_rows_that_are_kept_are_found_with_the_recall_that_was_told(
    kind: IndexKind, indexes: dict[IndexKind, Path], kept: NDArray[np.float32], clustered: Clustered
) -> None:
    told = read_index(indexes[kind])
    assert told.rows == len(kept)
    queries = clustered(N, DIMENSION, 0)[9::30]  # rows that a rule dropped: in none of the indexes
    with open_index(indexes[kind]) as index:
        found = [[one.id for one in search_pairs(index, query, k=10)] for query in queries]
    every = np.ones(len(kept), bool)
    shares = [
        len(set(ids) & set(brute(kept, query, 10, every))) / 10 for ids, query in zip(found, queries, strict=True)
    ]
    assert np.mean(shares) >= (1 if kind == "exact" else 0.97)
    assert len(told.recall) == (0 if kind == "exact" else 2)
    for one in told.recall:  # another sample of queries: the interval of the difference is about twice as wide
        assert one.low <= one.value <= one.high
        assert one.n == 200
        assert abs(np.mean(shares) - one.value) < 2 * (one.high - one.low)


def test_pq_without_comparing_more_candidates_would_miss_most(
    indexes: dict[IndexKind, Path], kept: NDArray[np.float32]
) -> None:
    told = read_index(indexes["pq4"])
    assert told.refined >= 4  # codes of 4 bits alone order the nearest badly
    with open_index(indexes["pq4"]) as index:
        bare = PairIndex(told=IndexDescription(**vars(told) | {"refined": 1}), vectors=index.vectors, rows=index.rows)
        every = np.ones(len(kept), bool)
        shares = [
            len({one.id for one in search_pairs(bare, kept[at], k=10)} & set(brute(kept, kept[at], 10, every))) / 10
            for at in range(0, 600, 20)
        ]
    assert np.mean(shares) < 0.9


@settings(deadline=None, max_examples=40)
@given(data=st.data())
def test_k_results_come_back_where_k_rows_meet_the_condition(
    data: st.DataObject, indexes: dict[IndexKind, Path], kept: NDArray[np.float32]
) -> None:
    kind = data.draw(st.sampled_from(["exact", "sq8", "pq4"]))
    low = data.draw(st.integers(0, N))
    high = data.draw(st.integers(low, N) | st.integers(low, min(N, low + 40)))
    k = data.draw(st.sampled_from([1, 10, 50]))
    language = data.draw(st.sampled_from(["", " AND language = 'en'", " AND license IS NULL"]))
    vector = kept[data.draw(st.integers(0, len(kept) - 1))]
    widths = np.arange(N)[np.arange(N) % 10 != 9]
    allowed = (widths >= low) & (widths < high)
    allowed &= {"": widths >= 0, " AND language = 'en'": widths % 3 == 0, " AND license IS NULL": widths % 2 == 0}[
        language
    ]
    with open_index(indexes[kind]) as index:
        found = search_pairs(index, vector, k=k, where=f"width >= {low} AND width < {high}{language}")
    ids = [one.id for one in found]
    expected = brute(kept, vector, k, allowed)
    assert len(ids) == len(set(ids)) == len(expected)
    assert all(allowed[one] for one in ids)
    assert all(one.row["width"] == widths[one.id] for one in found)
    assert [one.score for one in found] == sorted((one.score for one in found), reverse=True)
    assert [one.score for one in found] == pytest.approx([float(kept[one] @ vector) for one in ids], abs=2e-3)
    if kind == "exact":
        assert set(ids) == set(expected) or kept[ids] @ vector == pytest.approx(kept[expected] @ vector, abs=1e-3)


def test_a_condition_loses_no_recall(indexes: dict[IndexKind, Path], kept: NDArray[np.float32]) -> None:
    widths = np.arange(N)[np.arange(N) % 10 != 9]
    with open_index(indexes["pq4"]) as index:
        for modulus in (2, 3, 5, 20, 100):
            allowed, shares = widths % modulus == 0, []
            for at in range(0, 400, 25):
                ids = {one.id for one in search_pairs(index, kept[at], k=10, where=f"width % {modulus} = 0")}
                shares.append(len(ids & set(brute(kept, kept[at], 10, allowed))) / 10)
            assert np.mean(shares) >= 0.95, modulus


def test_cells_are_widened_by_what_a_condition_leaves_out(
    embedded: Write, clustered: Clustered, tmp_path: Path
) -> None:
    """Of many rows, where a search among a few cells is not exact: without more cells the share is .97 here."""
    every = clustered(20_000, 32, 5)
    embedded(tmp_path / "e", every)
    build_index(tmp_path / "e", tmp_path / "i", kind="sq8")
    widths = np.arange(len(every))[np.arange(len(every)) % 10 != 9]
    kept, shares = every[widths], []
    with open_index(tmp_path / "i") as index:
        assert index.told.probes < index.told.cells / 4
        for modulus in (4, 5, 7):
            for at in range(0, 600, 20):
                ids = {one.id for one in search_pairs(index, kept[at], k=10, where=f"width % {modulus} = 0")}
                shares.append(len(ids & set(brute(kept, kept[at], 10, widths % modulus == 0))) / 10)
    assert np.mean(shares) >= 0.99


def test_near_duplicates_are_folded_into_the_best_of_them(
    embedded: Write, clustered: Clustered, tmp_path: Path
) -> None:
    one = clustered(200, 16, 3)
    twice = np.concatenate([one[:50], one[:50], one[50:]])
    embedded(tmp_path / "e", twice)
    build_index(tmp_path / "e", tmp_path / "i")
    with open_index(tmp_path / "i") as index:
        plain = search_pairs(index, one[0], k=20)
        folded = search_pairs(index, one[0], k=20, fold=0.999)
        stored = {found.row["width"]: found for found in folded}
    assert len(plain) == len(folded) == 20
    assert stored[0].folded
    assert plain[0].score == pytest.approx(plain[1].score)
    texts = [tuple(twice[found.row["width"]]) for found in folded]
    assert len(set(texts)) == 20


def test_a_picture_of_just_the_cosine_asked_for_is_folded(embedded: Write, tmp_path: Path) -> None:
    embedded(tmp_path / "e", np.eye(8, dtype=np.float32))
    build_index(tmp_path / "e", tmp_path / "i")
    with open_index(tmp_path / "i") as index:
        (best,) = search_pairs(index, np.eye(8, dtype=np.float32)[2], fold=0.0)
        assert (best.row["width"], len(best.folded)) == (2, 7)
        assert len(search_pairs(index, np.eye(8, dtype=np.float32)[2], fold=0.001)) == 8
    twice = np.random.default_rng(2).normal(size=(20, 48))
    twice = np.tile(twice / np.linalg.norm(twice, axis=1, keepdims=True), (2, 1))  # in 16 bits most are not of length 1
    embedded(tmp_path / "twice", twice.astype(np.float32))
    build_index(tmp_path / "twice", tmp_path / "j")
    with open_index(tmp_path / "j") as index:
        found = search_pairs(index, twice[0].astype(np.float32), fold=1.0)
        assert [len(one.folded) for one in found] == [1] * 18  # two of twenty pairs were dropped


def test_the_same_input_gives_the_same_bytes(source: Path, indexes: dict[IndexKind, Path], tmp_path: Path) -> None:
    build_index(source, tmp_path / "again", kind="pq4")
    assert digest_of(tmp_path / "again") == digest_of(indexes["pq4"])
    assert build_index(source, tmp_path / "again", kind="pq4") == read_index(indexes["pq4"])


@pytest.mark.parametrize("kind", ["exact", "pq4"])
def test_rows_are_added_once_and_keep_their_ids(  # noqa: PLR0917
    kind: IndexKind, embedded: Write, clustered: Clustered, source: Path, tmp_path: Path, kept: NDArray[np.float32]
) -> None:
    more = clustered(200, DIMENSION, 9)
    embedded(tmp_path / "more", more, name="q")
    build_index(source, tmp_path / "i", kind=kind)
    told = build_index(tmp_path / "more", tmp_path / "i")
    assert (told.kind, told.rows, len(told.inputs)) == (kind, len(kept) + 180, 2)
    assert sorted(path.name for path in (tmp_path / "i").iterdir()) == [
        "index.json",
        "rows-1.parquet",
        "vectors-1.faiss",
    ]
    with open_index(tmp_path / "i") as index:
        first, last = search_pairs(index, kept[7], k=1)[0], search_pairs(index, more[0], k=1)[0]
    assert (first.id, first.row["url"]) == (7, "https://example.org/p7")
    assert (last.id, last.row["url"]) == (len(kept), "https://example.org/q0")
    assert build_index(source, tmp_path / "i").rows == told.rows  # all of these are there already
    embedded(tmp_path / "again", np.concatenate([more, more[:20]]), name="q")
    last_told = build_index(tmp_path / "again", tmp_path / "i")
    assert (last_told.rows - told.rows, last_told.repeated) == (18, 180)
    embedded(tmp_path / "other", more, digest="another")
    with pytest.raises(SurefootError, match="was made with the model numbers"):
        build_index(tmp_path / "other", tmp_path / "i")


@pytest.mark.parametrize("kind", ["sq8", "pq4"])
def test_the_recall_that_is_told_is_of_the_queries_that_chose_nothing(
    kind: IndexKind, indexes: dict[IndexKind, Path], kept: NDArray[np.float32]
) -> None:
    queries = np.random.default_rng([0, 1]).permutation(len(kept))[:400]
    told = read_index(indexes[kind])
    with open_index(indexes[kind]) as index:
        shares = []
        for one in queries.tolist():
            true = [row for row in brute(kept, kept[one], 11, np.ones(len(kept), bool)) if row != one][:10]
            found = [row.id for row in search_pairs(index, kept[one], k=11) if row.id != one][:10]
            shares.append(len({*true} & {*found}) / 10)
    odd, even = np.mean(shares[1::2]), np.mean(shares[::2])
    assert told.recall[0].queries == "pictures" and even != odd
    assert told.recall[0].value == pytest.approx(odd, abs=1e-9)


def test_a_few_rows_that_are_easily_found_do_not_lower_what_a_search_finds_of_the_others(
    embedded: Write, clustered: Clustered, tmp_path: Path
) -> None:
    """Cells and candidates were chosen by the new rows alone: near copies of one picture halved the recall, unsaid."""
    old = clustered(3000, DIMENSION, 1)
    new = old[:1] + 1e-3 * np.random.default_rng(2).normal(size=(12, DIMENSION)).astype(np.float32)
    new /= np.linalg.norm(new, axis=1, keepdims=True)
    embedded(tmp_path / "old", old)
    embedded(tmp_path / "new", new, name="q")
    first = build_index(tmp_path / "old", tmp_path / "i", kind="pq4")
    told = build_index(tmp_path / "new", tmp_path / "i")
    assert (told.probes, told.refined) >= (first.probes, first.refined) and told.recall[0].n == 200
    rows = np.concatenate([some[np.arange(len(some)) % 10 != 9] for some in (old, new)])
    shares = list[float]()
    with open_index(tmp_path / "i") as index:
        for place in range(0, 2700, 30):
            best = set(np.argsort(-(rows @ rows[place]))[:10].tolist())
            shares.append(len(best & {one.id for one in search_pairs(index, rows[place], k=10)}) / 10)
    assert np.mean(shares) > 0.95
    described = json.loads((tmp_path / "i" / "index.json").read_text())
    (tmp_path / "i" / "index.json").write_text(json.dumps(described | {"probes": 16, "refined": 64}))  # for its texts
    remove_pairs([tmp_path / "i"], RemovalRequest(where="id = 5"))
    told = read_index(tmp_path / "i")
    assert (told.probes, told.refined) == (16, 64)


def test_files_that_are_not_those_of_the_index_are_refused_by_name(
    embedded: Write, clustered: Clustered, tmp_path: Path
) -> None:
    for name, seed in (("a", 1), ("b", 2)):
        embedded(tmp_path / name, clustered(100, 16, seed))
    told, other = (build_index(tmp_path / name, tmp_path / f"{name}i") for name in "ab")
    assert told.digests == {name: digest_of(tmp_path / "ai" / name) for name in (told.vectors, told.table)}
    assert told.digests[told.vectors] != other.digests[other.vectors]
    for name in (told.vectors, told.table):  # of as many rows and numbers, but of others
        kept = (tmp_path / "ai" / name).read_bytes()
        (tmp_path / "ai" / name).write_bytes((tmp_path / "bi" / name).read_bytes()[:-1] + b"x")
        with pytest.raises(SurefootError, match=name), open_index(tmp_path / "ai"):
            pass
        with pytest.raises(SurefootError, match=name):
            build_index(tmp_path / "b", tmp_path / "ai")
        (tmp_path / "ai" / name).write_bytes(kept)
    with open_index(tmp_path / "ai") as index:
        assert index.told == told


REFUSED = [
    "width IN (SELECT 1)", "true) OR (true", "true) UNION (SELECT 1", "true) GROUP BY (1", "1=1; DROP VIEW rows",
    "count(*) > 1", "random() < 0.5", "width > 3 AND gen_random_uuid()::VARCHAR < url",
    "EXISTS (FROM read_text('/etc/hostname'))", "read_text('/etc/hostname') = ''", "nowhere > 1", "true) --", "width >",
    "(SELECT content FROM read_text('/etc/hostname')) LIKE 'a%'", "true) ORDER BY (1",
]  # fmt: skip


@pytest.mark.parametrize("where", REFUSED)
def test_what_is_no_condition_on_a_row_is_refused(
    where: str, indexes: dict[IndexKind, Path], kept: NDArray[np.float32]
) -> None:
    with open_index(indexes["exact"]) as index, pytest.raises(SurefootError, match="--where"):
        search_pairs(index, kept[0], where=where)


def test_what_is_no_index_is_refused_with_a_sentence(
    source: Path, indexes: dict[IndexKind, Path], tmp_path: Path, kept: NDArray[np.float32]
) -> None:
    with pytest.raises(SurefootError, match="is no index"), open_index(source):
        pass
    (tmp_path / "index.json").write_text('{"format": 1, "vectors": "../x"}')
    with pytest.raises(SurefootError, match="does not describe an index"), open_index(tmp_path):
        pass
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "letter.txt").write_text("mine")
    with pytest.raises(SurefootError, match="holds other files"):
        build_index(source, tmp_path / "other")
    for kind in ("exact", "pq4"):
        told = read_index(indexes[kind])
        broken = tmp_path / kind
        broken.mkdir()
        for name in ("index.json", told.vectors, told.table):
            (broken / name).write_bytes((indexes[kind] / name).read_bytes())
        whole = (broken / told.vectors).read_bytes()
        for cut in (0, 10, len(whole) // 2, len(whole) - 1):
            (broken / told.vectors).write_bytes(whole[:cut])
            with pytest.raises(SurefootError, match="missing or damaged"), open_index(broken):
                pass
        (broken / told.vectors).write_bytes(whole)
        (broken / told.table).write_bytes(b"no table")
        with pytest.raises(SurefootError, match="damaged"), open_index(broken):
            pass
    with open_index(indexes["exact"]) as index:
        for options in ({"k": 0}, {"k": 10**9}, {"fold": 2.0}):
            with pytest.raises(SurefootError, match=r"k is|fold is"):
                search_pairs(index, kept[0], **options)
        for wrong in (kept[0][:5], kept[0] * np.nan):
            with pytest.raises(SurefootError, match="finite numbers"):
                search_pairs(index, wrong)


@pytest.mark.parametrize("file", ["part-00000.images.npy", "part-00001.texts.npy", "part-00001.parquet"])
@pytest.mark.parametrize("verb", ["index", "tag", "subset", "deduplicate", "train-head", "remove", "release"])
def test_files_that_are_not_those_of_the_manifest_are_refused_by_name(  # noqa: PLR0917
    verb: str, file: str, embedded: Write, clustered: Clustered, tmp_path: Path, surefoot: Callable[..., Any]
) -> None:  # fmt: skip
    """Vectors in another order are of other rows."""
    place = tmp_path / "embedded"
    embedded(place, clustered(60, DIMENSION, 2))
    if file.endswith(".npy"):
        vectors = np.load(place / file)
        vectors[:10] = vectors[:10][::-1]
        np.save(place / file, vectors)
    else:
        table = pyarrow.parquet.read_table(place / file)
        pyarrow.parquet.write_table(table.take([*range(len(table) - 1, -1, -1)]), place / file)
    write_head(tmp_path / "head.npz", Head(layers=((np.ones((1, DIMENSION), np.float32), np.zeros(1, np.float32)),)))
    more = {
        "index": (), "tag": ("--head", f"score={tmp_path / 'head.npz'}"), "subset": ("--where", "width > 3"),
        "deduplicate": ("--cosine", "0.9"), "train-head": ("--label", "width > 30"),
        "remove": ("--url", "https://example.org/p3"), "release": (),
    }  # fmt: skip
    out = () if verb == "remove" else ("--out", tmp_path / "out")
    ended = surefoot("pairs", verb, place, *more[verb], *out)
    assert ended.code == 2 and f"{place / file} is not the file of manifest.json" in ended.err, ended.err


NONE = {"NaN": np.nan, "infinite": np.inf, "zero": 0.0}


@pytest.mark.parametrize("kind", NONE)
def test_rows_whose_vectors_have_no_direction_are_left_out_and_counted(
    kind: str, embedded: Write, clustered: Clustered, tmp_path: Path, surefoot: Callable[..., Any]
) -> None:
    vectors = clustered(70, DIMENSION, 4)
    vectors[[3, 40]] = NONE[kind]
    embedded(tmp_path / "e", vectors)
    ended = surefoot("pairs", "index", tmp_path / "e", "--out", tmp_path / "i")
    assert ended.code == 0 and "2 rows are left out: their vectors are zero or not finite." in ended.err
    told = read_index(tmp_path / "i")
    assert (told.rows, told.left_out) == (63 - 2, 2)
    with open_index(tmp_path / "i") as index:
        found = search_pairs(index, vectors[0], k=70)
    assert {one.row["width"] for one in found} == {n for n in range(70) if n % 10 != 9} - {3, 40}
    deduplicate(tmp_path / "e", tmp_path / "d", DuplicateRules(by=(), cosine=0.0001))
    rows = pyarrow.parquet.read_table(tmp_path / "d" / "part-00000.parquet").to_pylist()
    assert rows[3]["reasons"] == []  # it is like no other
    head = Head(layers=((np.zeros((1, DIMENSION), np.float32), np.ones(1, np.float32)),))
    tag_pairs(tmp_path / "e", tmp_path / "t", head_taggers("score", head))
    rows = pyarrow.parquet.read_table(tmp_path / "t" / "part-00000.parquet").to_pylist()
    assert [rows[n][name] for n in (2, 3) for name in ("score", "score_text")] == [1, 1, None, None]


def test_a_row_that_faiss_does_not_find_is_none(indexes: dict[IndexKind, Path]) -> None:
    """An index that was made before such vectors were left out."""
    import faiss

    with open_index(indexes["exact"]) as index:
        vectors = faiss.IndexFlatIP(DIMENSION)
        given = np.zeros((index.told.rows, DIMENSION), np.float32)
        given[:, 0], given[5] = 1, np.nan
        vectors.add(given)
        found = search_pairs(PairIndex(told=index.told, vectors=vectors, rows=index.rows), given[0], k=10_000)
    assert {one.id for one in found} == {*range(index.told.rows)} - {5}
