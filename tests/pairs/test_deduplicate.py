"""The first of same rows is kept, in a stated order; the others stay, with a reason and the name of the first."""

import random
from concurrent.futures import ThreadPoolExecutor
from itertools import combinations
from pathlib import Path

import duckdb
import numpy as np
import pyarrow
import pyarrow.parquet
import pytest

from surefoot.core import Store, SurefootError, run
from surefoot.pairs import (
    Deduplicate,
    DuplicateRules,
    PairTables,
    deduplicate,
    gather_set,
    pairs_from_tables,
    read_manifest,
)

Row = dict[str, object]


def stage(folder: Path, rows: list[Row], size: int = 100) -> Path:
    folder.mkdir()
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), folder / "rows.parquet")
    pairs_from_tables([folder / "rows.parquet"], folder / "pairs", rows=size)
    return folder / "pairs"


def result(out: Path) -> list[tuple[object, ...]]:
    query = f"SELECT uid, duplicate_of, reasons FROM read_parquet('{out}/*.parquet')"
    return duckdb.sql(query).fetchall()


def row(uid: str, url: str = "u", text: str = "t", **more: object) -> Row:
    return {"uid": uid, "url": url, "text": text, "reasons": []} | more


def test_the_first_row_is_kept_over_parts_and_the_others_stay(tmp_path: Path) -> None:
    given = [row("a", "1"), row("b", "2"), row("c", "1"), row("d", "2", "x"), row("e", "3"), row("f", "1", "y")]
    made = deduplicate(stage(tmp_path / "in", given, size=2), tmp_path / "out", DuplicateRules())
    assert result(tmp_path / "out") == [
        ("a", None, []), ("b", None, []), ("c", "a", ["duplicate_url"]), ("d", "b", ["duplicate_url"]),
        ("e", None, []), ("f", "a", ["duplicate_url"]),
    ]  # fmt: skip
    assert (made.rows, made.kept, made.reasons) == (6, 3, {"duplicate_url": 3})
    assert [part.rows for part in made.parts] == [2, 2, 2]
    assert deduplicate(tmp_path / "in" / "pairs", tmp_path / "out", DuplicateRules()) == made


def test_several_columns_are_one_key_and_keys_come_one_after_the_other(tmp_path: Path) -> None:
    given = [row("a", "1", "x"), row("b", "1", "y"), row("c", "1", "x"), row("d", "2", "y"), row("e", "3", "z")]
    deduplicate(stage(tmp_path / "in", given), tmp_path / "out", DuplicateRules(by=("url+text", "text")))
    assert [(one[1], one[2]) for one in result(tmp_path / "out")] == [
        (None, []), (None, []), ("a", ["duplicate_url+text"]), ("b", ["duplicate_text"]), (None, []),
    ]  # fmt: skip


def test_missing_values_and_rows_with_a_reason_are_not_compared(tmp_path: Path) -> None:
    given = [row("a", sha256=None), row("b", sha256=None), row("c", sha256="s") | {"reasons": ["gone"]}]
    given += [row("d", sha256="s"), row("e", sha256="s")]
    deduplicate(stage(tmp_path / "in", given), tmp_path / "out", DuplicateRules(by=("sha256",)))
    assert [one[2] for one in result(tmp_path / "out")] == [[], [], ["gone"], [], ["duplicate_sha256"]]


def test_rows_without_a_text_are_not_the_same_by_it_and_a_key_of_two_has_one_empty_part(tmp_path: Path) -> None:
    given = [row("a", "1", ""), row("b", "2", ""), row("c", "2", ""), row("d", "3"), row("e", "4")]
    deduplicate(stage(tmp_path / "in", given), tmp_path / "out", DuplicateRules(by=("text", "url+text")))
    assert [one[2] for one in result(tmp_path / "out")] == [[], [], ["duplicate_url+text"], [], ["duplicate_text"]]


def test_the_largest_in_a_column_is_kept(tmp_path: Path) -> None:
    given = [row("a", width=1.0), row("b", width=None), row("c", width=3.0), row("d", width=3.0)]
    given.append(row("e", width=float("nan")))
    deduplicate(stage(tmp_path / "in", given), tmp_path / "out", DuplicateRules(first="width"))
    assert [one[1] for one in result(tmp_path / "out")] == ["c", "c", None, "c", "c"]


def test_the_largest_of_numbers_that_are_written_as_texts_is_the_largest_number(tmp_path: Path) -> None:
    """A column of a CSV file is text: there "9" would be above "10"."""
    for name, values, first in (("n", ("9", None, "10", "1e1", "-3"), "c"), ("t", ("9", "b", "10", "a", ""), "b")):
        given = [row(uid, size=value) for uid, value in zip("abcde", values, strict=True)]
        deduplicate(stage(tmp_path / name, given), tmp_path / f"{name}-out", DuplicateRules(first="size"))
        assert [one[0] for one in result(tmp_path / f"{name}-out") if not one[2]] == [first]


@pytest.mark.parametrize("distance", [0, 1, 4, 9])
def test_near_hashes_are_those_of_all_pairs_in_order(tmp_path: Path, distance: int) -> None:
    draw = random.Random(distance)
    hashes = [draw.getrandbits(64) for _ in range(12)]
    hashes += [hashes[draw.randrange(12)] ^ sum(1 << bit for bit in draw.sample(range(64), k % 12)) for k in range(60)]
    given = [row(f"{number:03d}", url=str(number), phash=f"{one:016x}") for number, one in enumerate(hashes)]
    deduplicate(stage(tmp_path / "in", given, 25), tmp_path / "out", DuplicateRules(phash_distance=distance))
    dropped: dict[int, int] = {}
    for later, earlier in sorted((b, a) for a, b in combinations(range(len(hashes)), 2)):
        same = hashes[earlier] == hashes[later]
        if later not in dropped and earlier not in dropped and same:
            dropped[later] = earlier
    for later, earlier in sorted((b, a) for a, b in combinations(range(len(hashes)), 2)):
        near = (hashes[earlier] ^ hashes[later]).bit_count() <= distance
        if later not in dropped and earlier not in dropped and near:
            dropped[later] = earlier
    assert {int(str(uid)): int(str(of)) for uid, of, _ in result(tmp_path / "out") if of} == dropped


def test_near_embeddings_are_those_of_all_pairs_in_order(tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    centres = draw.normal(size=(300, 8))
    vectors = np.concatenate([centres, centres[draw.integers(300, size=1200)] + 0.2 * draw.normal(size=(1200, 8))])
    given = [row(str(n), url=str(n), embedding=one.tolist()) for n, one in enumerate(vectors)]
    deduplicate(stage(tmp_path / "in", given), tmp_path / "out", DuplicateRules(cosine=0.98))
    unit = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    kept: list[int] = []
    for place in range(len(unit)):
        if not kept or (unit[kept] @ unit[place]).max() < 0.98:
            kept.append(place)
    assert 300 < len(kept) < 1500
    assert [int(str(uid)) for uid, _, reasons in result(tmp_path / "out") if not reasons] == kept


def test_equal_vectors_have_the_cosine_one(tmp_path: Path) -> None:
    vectors = np.random.default_rng(1).normal(size=(50, 64)).astype(np.float16)
    given = [row(str(n), url=str(n), embedding=vectors[n % 50].astype(float).tolist()) for n in range(100)]
    assert deduplicate(stage(tmp_path / "in", given), tmp_path / "out", DuplicateRules(cosine=1.0)).kept == 50


def test_the_same_bytes_each_time(tmp_path: Path) -> None:
    draw = random.Random(1)
    given = [row(str(n), url=str(draw.randrange(300)), text=str(draw.randrange(3))) for n in range(1000)]
    pairs = stage(tmp_path / "in", given)
    one, other = (deduplicate(pairs, tmp_path / name, DuplicateRules(by=("url+text",))) for name in "ab")
    assert one == other == read_manifest(tmp_path / "a")
    first = {}
    for each in given:
        first.setdefault((each["url"], each["text"]), each["uid"])
    assert one.kept == len(first)


def test_what_is_not_there_is_named(tmp_path: Path) -> None:
    pairs = stage(tmp_path / "in", [row("a")])
    with pytest.raises(SurefootError, match="no column 'sha256'"):
        deduplicate(pairs, tmp_path / "out", DuplicateRules(by=("sha256",)))
    with pytest.raises(SurefootError, match="no column 'embedding'"):
        deduplicate(pairs, tmp_path / "out2", DuplicateRules(cosine=0.9))
    with pytest.raises(SurefootError, match="no finished output"):
        deduplicate(tmp_path / "in", tmp_path / "out3", DuplicateRules())
    odd = stage(
        tmp_path / "odd", [row("a", phash="cat", embedding=[1.0]), row("b", phash="0" * 16, embedding=[1.0, 0])]
    )
    with pytest.raises(SurefootError, match="'cat' is not 64 bits"):
        deduplicate(odd, tmp_path / "out4", DuplicateRules(by=(), phash_distance=2))
    with pytest.raises(SurefootError, match="differ in length"):
        deduplicate(odd, tmp_path / "out5", DuplicateRules(by=(), cosine=0.9))
    with pytest.raises(SurefootError, match="0 to 16 bits"):
        DuplicateRules(phash_distance=17)


def test_what_is_near_an_evaluation_set_is_dropped_as_all_pairs_say(tmp_path: Path) -> None:
    """By key, hash and vector; the reference compares each row with the evaluation set and with kept rows before it."""
    draw, distance, cosine = np.random.default_rng(3), 3, 0.97
    centres, bases = draw.normal(size=(60, 8)), [draw.integers(2, size=64) for _ in range(60)]

    def drawn(name: str, n: int) -> list[Row]:
        rows = list[Row]()
        for number in range(n):
            bits = bases[draw.integers(60)].copy()
            bits[draw.choice(64, draw.integers(4), replace=False)] ^= 1
            vector = centres[draw.integers(60)] + 0.2 * draw.normal(size=8)
            url = str(draw.integers(150))
            rows.append(row(f"{name}{number}", url=url, phash=f"{int(''.join(map(str, bits)), 2):016x}",
                            embedding=vector.tolist(), width=int(draw.integers(9))))  # fmt: skip
        return rows

    own, test, other = drawn("o", 150), drawn("t", 12), drawn("v", 3)
    for one in (*test, *other):
        del one["width"]  # what orders the rows is of the set alone
    test[1]["reasons"] = ["too_small"]  # it is not part of the evaluation
    places = [stage(tmp_path / name, rows, 40) for name, rows in (("own", own), ("test", test), ("other", other))]
    rules = DuplicateRules(first="width", phash_distance=distance, cosine=cosine)
    made = deduplicate(places[0], tmp_path / "out", rules, against=places[1:])

    by_width = sorted(own, key=lambda one: -one["width"])  # type: ignore[operator]
    rows = [*(one for one in test + other if not one["reasons"]), *by_width]
    first, why = len(test) + len(other) - 1, dict[int, tuple[str, int]]()
    hashes = [int(str(one["phash"]), 16) for one in rows]
    unit = np.array([one["embedding"] for one in rows], np.float32)
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    same = {
        "url": lambda a, b: rows[a]["url"] == rows[b]["url"],
        "phash": lambda a, b: hashes[a] == hashes[b],
        "phash_near": lambda a, b: (hashes[a] ^ hashes[b]).bit_count() <= distance,
        "embedding_near": lambda a, b: unit[a] @ unit[b] >= cosine,
    }
    for name, alike in same.items():
        for later in (one for one in range(first, len(rows)) if one not in why):
            earlier = next((one for one in range(later) if one not in why and alike(one, later)), None)
            if earlier is not None:
                why[later] = (f"{'contaminated' if earlier < first else 'duplicate'}_{name}", earlier)

    def kept(one: int) -> int:
        return kept(why[one][1]) if one in why else one

    told = {rows[later]["uid"]: (rows[kept(later)]["uid"], [reason]) for later, (reason, _) in why.items()}
    assert sum(earlier in why for _, earlier in why.values()) > 10
    assert {uid: (of, reasons) for uid, of, reasons in result(tmp_path / "out") if reasons} == told
    assert len({reason for reason, _ in why.values()}) == 8 and made.rows == 150 and made.kept == 150 - len(why)


def test_a_step_drops_what_is_in_an_evaluation_set_which_is_no_stage_of_the_set(tmp_path: Path) -> None:
    for name, urls in (("own", "a b c a"), ("test", "b x")):
        (tmp_path / f"{name}.csv").write_text("url,text\n" + "".join(f"{url},{name}\n" for url in urls.split()))
    own, test = (PairTables(files=(str(tmp_path / f"{name}.csv"),)).pinned() for name in ("own", "test"))
    clean = Deduplicate(pairs=own, by=("url",), against=(Deduplicate(pairs=test),))
    assert Deduplicate(pairs=own, by=("url",)).key != clean.key
    store = Store(tmp_path / "store")
    with ThreadPoolExecutor(1) as pool:
        assert {event.kind for event in run([clean], store, pool)} >= {"made"}
    told = {(one.metric, one.group): one.value for one in store.measurements(clean)}
    assert told["dropped", "contaminated_url"] == told["dropped", "duplicate_url"] == 1 and told["kept", ""] == 2
    stages = gather_set([clean], store, tmp_path / "set").stages
    assert [manifest.stage for _, manifest in stages] == ["read", "deduplicate"] and stages[0][1].rows == 4


def test_an_evaluation_set_that_cannot_be_compared_is_refused(tmp_path: Path) -> None:
    own, other = stage(tmp_path / "own", [row("a", phash="0" * 16)]), stage(tmp_path / "other", [row("b")])
    with pytest.raises(SurefootError, match=r"other.* has no column 'phash'"):
        deduplicate(own, tmp_path / "out", DuplicateRules(phash_distance=2), against=[other])
    with pytest.raises(SurefootError, match="compared with itself"):
        deduplicate(own, tmp_path / "out", DuplicateRules(), against=[tmp_path / "own"])
    (other / "part-00000.parquet").unlink()
    with pytest.raises(SurefootError, match="no rows to compare with"):
        deduplicate(own, tmp_path / "out", DuplicateRules(), against=[other])


def test_rows_of_an_evaluation_set_all_count_also_those_that_are_alike(tmp_path: Path) -> None:
    test = [row("a", "1", phash=f"{0:016x}"), row("b", "1", phash=f"{0b111:016x}"), row("c", "2", phash="f" * 16)]
    own = [row("x", "3", phash=f"{0b111111:016x}"), row("y", "4", phash=f"{0xFF << 8:016x}")]
    places = [stage(tmp_path / name, rows) for name, rows in (("own", own), ("test", test))]
    deduplicate(places[0], tmp_path / "out", DuplicateRules(phash_distance=3), against=places[1:])
    assert result(tmp_path / "out") == [("x", "b", ["contaminated_phash_near"]), ("y", None, [])]


def test_a_duplicate_names_a_row_that_is_kept_also_where_a_later_key_or_stage_drops_what_it_was_like(
    tmp_path: Path,
) -> None:
    """b is like a, a like c of a better name; a second stage drops c for d: no row may name one that is dropped."""
    given = [row("d", "4", "w", page="1"), row("c", "3", "s", page="1"), row("a", "1", "s"), row("b", "1", "x")]
    given += [row("b", "1", "s")]  # of a name that two rows have
    pairs = stage(tmp_path / "in", given, size=2)
    deduplicate(pairs, tmp_path / "once", DuplicateRules(by=("url", "text")))
    assert result(tmp_path / "once") == [
        ("d", None, []), ("c", None, []), ("a", "c", ["duplicate_text"]), ("b", "c", ["duplicate_url"]),
        ("b", "c", ["duplicate_url"]),
    ]  # fmt: skip
    deduplicate(tmp_path / "once", tmp_path / "twice", DuplicateRules(by=("page",)))
    assert [(uid, of) for uid, of, _ in result(tmp_path / "twice")] == [
        ("d", None), ("c", "d"), ("a", "d"), ("b", "d"), ("b", "d"),
    ]  # fmt: skip
    test = stage(tmp_path / "test", [row("t", "9", "w")])
    deduplicate(tmp_path / "twice", tmp_path / "clean", DuplicateRules(by=("text",)), against=[test])
    assert result(tmp_path / "clean")[0] == ("d", "t", ["contaminated_text"])
    assert {of for _, of, _ in result(tmp_path / "clean")} == {"t"}


def test_a_duplicate_goes_on_to_name_a_uid_of_which_a_row_is_kept(tmp_path: Path) -> None:
    given = [row("u", "1", duplicate_of=None), row("v", "2", duplicate_of=None), row("u", "2", duplicate_of=None)]
    given.append(row("x", "9", duplicate_of="u") | {"reasons": ["duplicate_text"]})
    deduplicate(stage(tmp_path / "in", given), tmp_path / "out", DuplicateRules())
    assert [one[1] for one in result(tmp_path / "out")] == [None, None, "v", "u"]


def test_near_duplicates_are_those_of_a_kept_row_and_not_of_a_dropped_one(tmp_path: Path) -> None:
    """a and b differ in 3 bits, b and c in 3, a and c in 6: c is no near duplicate of any row that is kept."""
    given = [row(uid, uid, phash=f"{bits:016x}") for uid, bits in (("a", 0), ("b", 0b111), ("c", 0b111111))]
    deduplicate(stage(tmp_path / "in", given), tmp_path / "out", DuplicateRules(phash_distance=3))
    assert result(tmp_path / "out") == [("a", None, []), ("b", "a", ["duplicate_phash_near"]), ("c", None, [])]
