"""Balance by concept, against a reference that compares every entry with every caption, word by word."""

import hashlib
import json
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pyarrow.parquet as pq
import pytest

from surefoot.core import SurefootError
from surefoot.pairs import Balance, pairs_from_tables, read_entries, read_manifest, subset

ENTRIES = ("a", "at", "cat", "cats", "red cat", " art ", "dog", "Zebra crossing", "é", "猫", "never there", "okapi",
           "St. Dog", "café")  # fmt: skip


def captions(n: int) -> list[str]:
    draw = np.random.default_rng(4)
    words = ["cat", "cats", "red", "art", "party", "dog", "Zebra", "zebra", "crossing", "café", "猫犬", "b"]
    shares = 1 / np.arange(1, len(words) + 1)
    drawn = (draw.choice(words, draw.integers(0, 5), p=shares / shares.sum()) for _ in range(n))
    joined = [draw.choice([" ", ", ", ".", "\n", "-"], p=[0.6, 0.1, 0.1, 0.1, 0.1]).join(one) for one in drawn]
    return joined + ["okapi art", "a Zebra crossing", "St. Dog!", "caté"] * 7


def words(text: str) -> list[str]:
    return re.findall(r"[,.;:?!`]|[^\s,.;:?!`]+", text)


def held_in(text: str, entry: str) -> bool:
    """Whether the words of an entry stand in a caption one after the other; without spaces, anywhere."""
    sought, there = words(entry), words(text)
    runs = (there[at : at + len(sought)] for at in range(len(there)))
    return entry in text if entry == "猫" else sought in runs


def stage(folder: Path, texts: list[str]) -> Path:
    folder.mkdir()
    rows = [{"url": f"u{n}", "text": text, "width": n, "reasons": ["gone"] if n % 10 == 9 else []}
            for n, text in enumerate(texts)]  # fmt: skip
    pq.write_table(pyarrow.Table.from_pylist(rows), folder / "rows.parquet")
    pairs_from_tables([folder / "rows.parquet"], folder / "pairs", rows=400)
    return folder / "pairs"


def reference(rows: list[dict[str, Any]], entries: tuple[str, ...], most: int, seed: int) -> list[str]:
    held = {row["uid"]: [entry for entry in entries if held_in(row["text"], entry)] for row in rows}
    counts = Counter(entry for some in held.values() for entry in some)
    kept = []
    for uid, some in held.items():
        for entry in some:
            key = entry if entry == "猫" else f" {entry.strip()} ".replace(".", " . ")
            said = hashlib.blake2b(f"{seed}\0{uid}\0{key}".encode(), digest_size=8).digest()
            if int.from_bytes(said, "big") / 2**64 < most / counts[entry]:
                kept.append(uid)
                break
    return sorted(kept)


def test_a_balanced_subset_is_that_of_all_entries_and_all_captions(
    tmp_path: Path, surefoot: Callable[..., Any]
) -> None:
    pairs = stage(tmp_path / "in", captions(1200))
    (tmp_path / "entries.txt").write_text("\n".join([*ENTRIES, "", "cat", "  "]), encoding="utf-8")
    call = ("pairs", "subset", pairs, "--balance", tmp_path / "entries.txt", "--most", "40", "--seed", "3")
    ended = surefoot(*call, "--where", "width > 100", "--out", "folder", "--format", "json")
    assert ended.code == 0, ended.err
    every = [row for part in read_manifest(pairs).parts for row in pq.read_table(pairs / part.file).to_pylist()]
    rows = [row for row in every if row["width"] > 100 and not row["reasons"]]
    wanted = reference(rows, ENTRIES, 40, 3)
    found = [row for file in sorted(Path("folder").glob("*.parquet")) for row in pq.read_table(file).to_pylist()]
    assert sorted(row["uid"] for row in found) == wanted and 50 < len(wanted) < len(rows) / 2
    assert [row["width"] for row in found] == sorted(row["width"] for row in found)
    told = {one["of"]: one["n"] for one in json.loads(ended.out)}
    counts = Counter(entry for row in rows for entry in ENTRIES if held_in(row["text"], entry))
    assert {*ENTRIES} - {*counts} == {"at", "é", "never there"}  # "at" is in "cat", and no word
    assert told["subset"] == len(wanted) and told["entries matched"] == len(counts)
    assert told["entries over 40"] == sum(n > 40 for n in counts.values())
    for name in ("rows.parquet", "uids.npy"):
        assert surefoot(*call, "--where", "width > 100", "--out", name).code == 0
    assert sorted(pq.read_table("rows.parquet")["uid"].to_pylist()) == wanted
    assert [f"{high:016x}{low:016x}" for high, low in np.load("uids.npy").tolist()] == wanted
    rules = read_manifest(Path("folder")).recipe.rules
    assert (rules["balance"]["most"], rules["balance"]["seed"]) == (40, 3) and "balance" in rules["where"]
    again = surefoot(*call[:-1], "4", "--where", "width > 100", "--out", "folder")
    assert again.code == 2 and "another run" in again.err


def test_common_entries_keep_about_as_many_as_allowed_and_rare_ones_all(tmp_path: Path) -> None:
    texts = ["head"] * 3000 + ["tail"] * 50 + ["middle"] * 200 + ["nothing of these"] * 300
    pairs, entries, kept = stage(tmp_path / "in", texts), ("head", "middle", "tail"), list[Counter[str]]()
    for seed in range(10):
        subset(
            pairs, "true", tmp_path / "rows.parquet", balance=Balance(entries=frozenset(entries), most=200, seed=seed)
        )
        kept.append(Counter(pq.read_table(tmp_path / "rows.parquet")["text"].to_pylist()))
    assert {(one["middle"], one["tail"], one["nothing of these"]) for one in kept} == {(180, 45, 0)}  # a tenth was gone
    heads = np.array([one["head"] for one in kept])
    deviation = np.sqrt(200 * (1 - 200 / 2700))  # of a binomial count
    assert len(set(heads)) > 5 and abs(heads - 200).max() < 4 * deviation
    assert abs(heads.mean() - 200) < 3 * deviation / np.sqrt(10)


def test_what_is_no_balance_is_refused(tmp_path: Path) -> None:
    (tmp_path / "none.txt").write_text("\n \n")
    assert not read_entries(tmp_path / "none.txt")
    for entries, most in ((frozenset[str](), 5), (frozenset({"a"}), 0), (frozenset({" "}), 5)):
        with pytest.raises(SurefootError, match="needs entries"):
            Balance(entries=entries, most=most)
    with pytest.raises(SurefootError, match="cannot be read as a list of entries"):
        read_entries(tmp_path / "nowhere.txt")
    with pytest.raises(SurefootError, match="and the balance"):
        subset(stage(tmp_path / "in", ["b"]), "true", balance=Balance(entries=frozenset({"zz"}), most=1))
