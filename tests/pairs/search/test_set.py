"""A recipe of a user, from an archive on loopback to a search that finds the right picture, and its release."""

import errno
import io
import json
import os
import re
import signal
import subprocess
import sys
import tarfile
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pyarrow.parquet as pq
import pytest
from archives import WebPage, response, write_archive
from hostile_web import Web, reply, serving

from surefoot.core import Store, SurefootError, digest_of, run
from surefoot.pairs import (
    Deduplicate,
    DuplicateRules,
    Embed,
    Index,
    PairEncoder,
    PairTables,
    Recipe,
    RemovalRequest,
    Source,
    build_index,
    deduplicate,
    embed_pairs,
    explain_urls,
    gather_set,
    make_parts,
    open_index,
    pairs_from_tables,
    places_of,
    read_index,
    read_manifest,
    release_set,
    remove_pairs,
    sources_in,
    subset,
)
from surefoot.pairs._search._pictures import picture_of

GUIDE = Path(__file__).parents[3] / "docs" / "how-to" / "pairs-chain.md"
COLOURS = ("red", "green", "blue")


@pytest.fixture
def recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, colour_model: PairEncoder) -> Path:
    """The recipe of the guide, with a model that needs no weights."""
    for place in ("surefoot.pairs._search._encoders", "surefoot.cli._pairs._search"):
        monkeypatch.setattr(f"{place}.conse_encoder", lambda: colour_model)
    text = re.search(r"```python\n(.*?)```", GUIDE.read_text(encoding="utf-8"), re.DOTALL)
    assert text
    file = tmp_path / f"recipe_{tmp_path.name}.py".replace("-", "_")
    file.write_text(text[1])
    return file


def pages(web: Web, png: Callable[..., bytes], folder: Path) -> Path:
    for colour in COLOURS:
        web.routes[f"/{colour}.png"] = reply(png(colour, (64, 48)))
    tags = "".join(f'<img src="/{colour}.png" alt="a {colour} thing">' for colour in (*COLOURS, "red"))
    body = f'<html><body>{tags}<img src="/gone.png" alt="it is gone"><img src="/x.png" alt="no"></body></html>'
    page = WebPage(url=f"{web.base}/index.html", body=body.encode())
    return write_archive(folder / "crawl.warc.gz", [response(page)])


def test_the_recipe_of_the_guide_goes_from_a_crawl_to_the_right_picture_and_goes_on_after_a_stop(
    recipe: Path,
    tmp_path: Path,
    png: Callable[..., bytes],
    surefoot: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with serving() as web:
        archive = pages(web, png, tmp_path)
        call = ("pairs", "run", recipe, "-o", f"archives={archive}", "-o", "own_server=true", "--pool", "here")

        def stopped(*given: object, **more: object) -> None:
            raise KeyboardInterrupt

        with monkeypatch.context() as patched:
            patched.setattr("surefoot.pairs._search._steps.build_index", stopped)
            assert surefoot(*call, "--out", "set").code == 130
        asked = dict(web.asked)
        assert {path: asked.get(path) for path in ("/red.png", "/gone.png", "/x.png")} == {
            "/red.png": 1, "/gone.png": 1, "/x.png": None}  # fmt: skip
        ended = surefoot(*call, "--out", "set", "--format", "json")
        assert ended.code == 0, ended.err
        assert dict(web.asked) == asked
        assert "surefoot pairs serve set" in ended.err
    told = {row["stage"]: (row["rows"], row["kept"]) for row in json.loads(ended.out)}
    assert told == {"extract": (6, 5), "deduplicate": (6, 4), "download": (6, 3), "embed": (6, 3)}
    places = places_of(Path("set"))
    assert places.index == Path("set/5-index") and places.pictures == Path("set/3-download")
    found = json.loads(surefoot("pairs", "search", places.index, "blue", "-k", "1", "--format", "json").out)
    assert found[0]["url"].endswith("/blue.png")
    assert json.loads(surefoot("pairs", "search", "set", "blue", "-k", "1", "--format", "json").out) == found
    before = digest_of(Path("set"))
    (Path("set") / "4-embed" / "manifest.json").unlink()
    (Path("set") / "3-download" / "manifest.json").unlink()
    (Path("set") / "3-download" / "manifest.json").write_text("of another run")
    assert surefoot(*call, "--out", "set").code == 0
    assert digest_of(Path("set")) == before

    ended = surefoot("pairs", "release", "set", "--out", "release", "--format", "json")
    assert ended.code == 0, ended.err
    sheet = Path("release/datasheet.md").read_text(encoding="utf-8")
    told = ("extract | text_short | 1", "deduplicate | duplicate_url | 1", "download | download_gone | 1")
    assert all(sheet.count(f"| {line} |") == 1 for line in told) and "| 256 | 3 | 100.0% |" in sheet
    assert sheet.count("text_short") == sheet.count("duplicate_url") == 1
    stages = json.loads(Path("release/release.json").read_text(encoding="utf-8"))["stages"]
    assert [one["manifest_sha256"] for one in stages] == [
        digest_of(path / "manifest.json") for path, _ in places_of(Path("set")).stages
    ]
    page = Path("release/datasheet.html").read_text(encoding="utf-8")
    assert "3 pairs are kept of set." in page and page.count("<img") == 5


KILLED = """
import os, signal
from surefoot.core import Study
from surefoot.pairs import Deduplicate, PairTables
if os.environ.get("KILL"):
    kill = lambda *given, **more: os.kill(os.getpid(), signal.SIGKILL)
    import surefoot.pairs._steps as steps
    steps.deduplicate = kill

def study() -> Study:
    read = PairTables(files=("urls.csv",)).pinned()
    return Study(name="mine", title="Mine", summary="Mine.", steps=(Deduplicate(pairs=read),))
"""


def test_a_run_that_is_killed_keeps_the_step_that_was_made(tmp_path: Path) -> None:
    (tmp_path / "urls.csv").write_text("url,text\nu,a\nu,b\nv,c\n")
    (tmp_path / "killed.py").write_text(KILLED)
    call = [sys.executable, "-c", "from surefoot.cli import main; main()", "pairs", "run", "killed.py", "--out", "set"]
    call += ["--store", "store", "--pool", "here", "--format", "json"]
    first = subprocess.run(call, cwd=tmp_path, env=os.environ | {"KILL": "1"}, capture_output=True, check=False)
    assert first.returncode == -signal.SIGKILL, first.stderr
    made = {file: file.stat().st_mtime_ns for file in (tmp_path / "store").rglob("part-*.parquet")}
    assert len(made) == 1
    again = subprocess.run(call, cwd=tmp_path, capture_output=True, check=False)
    assert again.returncode == 0, again.stderr
    assert {file: file.stat().st_mtime_ns for file in made} == made
    told = {row["stage"]: (row["rows"], row["kept"]) for row in json.loads(again.stdout)}
    assert told == {"read": (3, 3), "deduplicate": (3, 2)}


def test_a_release_can_lie_in_the_set_or_the_stage_that_it_describes(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("url,text\nu,t\n")
    pairs_from_tables([tmp_path / "a.csv"], tmp_path / "set" / "read")
    for out in ("set/release", "set", "set/read", "set/release"):
        release_set(tmp_path / "set", tmp_path / out)
    assert [one.stage for _, one in places_of(tmp_path / "set").stages] == ["read"]
    remove_pairs([tmp_path / "set"], RemovalRequest(urls=("u",)))


def test_shares_of_a_release_are_those_of_the_kept_rows(embedded: Callable[..., Any], tmp_path: Path) -> None:
    vectors = np.eye(32, dtype=np.float32)
    embedded(tmp_path / "set" / "embedded", vectors)
    tables = {one.title: one for one in release_set(tmp_path / "set", tmp_path / "out", about="# Ours | <b>")}
    files = [tmp_path / "set" / "embedded" / part.file for part in read_manifest(tmp_path / "set" / "embedded").parts]
    rows = [row for file in files for row in pq.read_table(file).to_pylist() if not row["reasons"]]
    counts, edges = np.histogram([row["similarity"] for row in rows], bins=10)
    shown = tables["Similarity"].rows
    assert [row[1] for row in shown] == [n for n in counts if n]
    assert float(str(shown[0][0]).split(" to ")[1]) == pytest.approx(edges[1], rel=1e-3)
    languages = {str(row[0]): row[1] for row in tables["Language"].rows}
    assert languages == {name: sum((row["language"] or "not known") == name for row in rows) for name in languages}
    assert sum(row[2] for row in tables["Language"].rows) == pytest.approx(1)  # type: ignore[misc]


def test_a_release_counts_all_languages_and_what_is_no_number_apart(tmp_path: Path) -> None:
    odd = (float("nan"), float("inf"), None)
    rows = [{"url": f"u{n}", "text": "t", "language": f"l{n % 23:02d}", "similarity": [*odd, n / 60][min(n, 3)]}
            for n in range(60)]  # fmt: skip
    pq.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "a.parquet")
    pairs_from_tables([tmp_path / "a.parquet"], tmp_path / "set")
    tables = {one.title: one for one in release_set(tmp_path / "set", tmp_path / "out")}
    assert tables["Language"].rows[-1][:2] == ("3 others", 60 - sum(n for _, n in Counter(
        row["language"] for row in rows).most_common(20)))  # fmt: skip
    assert tables["Language"].sentence == "Of 60 rows that are kept."
    assert sum(row[1] for row in tables["Similarity"].rows) == 57  # type: ignore[misc]


def test_a_release_counts_what_vanished_and_passes_over_texts_that_are_called_as_a_number(tmp_path: Path) -> None:
    lines = "".join(f"u{n},t,{'x' if n == 5 else n},{n}\n" for n in range(20))
    (tmp_path / "a.csv").write_text(f"url,text,similarity,width\n{lines}u1,again,1,1\n")
    place = tmp_path / "set"
    place.mkdir()
    pairs_from_tables([tmp_path / "a.csv"], place / "read")
    deduplicate(place / "read", place / "unique", DuplicateRules())
    subset(place / "unique", "width::INTEGER >= 8", place / "wide")
    remove_pairs([place], RemovalRequest(urls=("u9", "u10")))
    tables = {one.title: one for one in release_set(place, tmp_path / "out")}
    assert tables["What each rule dropped"].rows == (
        ("deduplicate", "duplicate_url", 1), ("subset", "not (width::INTEGER >= 8)", 8),
        ("remove", "removed afterwards", 2),
    )  # fmt: skip
    assert "Similarity" not in tables and tables["Length of the text"].rows[0][1] == 10
    assert subset(place / "wide", "true").rows[1][:2] == ("subset", 10)


def test_a_part_without_rows_is_indexed_as_none(embedded: Callable[..., Any], tmp_path: Path) -> None:
    embedded(tmp_path / "embedded", np.eye(32, dtype=np.float32)[:1])
    assert build_index(tmp_path / "embedded", tmp_path / "index").rows == 1
    embedded(tmp_path / "none", np.empty((0, 32), np.float32))
    with pytest.raises(SurefootError, match="nothing to index"):
        build_index(tmp_path / "none", tmp_path / "empty")


def test_a_folder_without_stages_and_a_recipe_without_pairs_are_said(tmp_path: Path) -> None:
    from surefoot.core import Store

    with pytest.raises(SurefootError, match="no output of a stage"):
        places_of(tmp_path)
    with pytest.raises(SurefootError, match="no Step of pairs"):
        gather_set([], Store(tmp_path / "store"), tmp_path / "set")


def test_what_was_embedded_is_deduplicated_by_its_vectors_and_indexed(
    embedded: Callable[..., Any], tmp_path: Path, surefoot: Callable[..., Any]
) -> None:
    vectors = np.random.default_rng(1).normal(size=(40, 32)).astype(np.float32)
    vectors[20:36] = vectors[:16] + 0.01  # in the other part; rows 9, 19, 29, 39 are dropped by a rule
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    place = tmp_path / "set"
    embedded(place / "1-embed", vectors)
    deduplicate(place / "1-embed", place / "2-near", DuplicateRules(cosine=0.99))
    deduplicate(place / "2-near", place / "3-again", DuplicateRules(by=("license",)))
    rows = [
        row
        for part in read_manifest(place / "2-near").parts
        for row in pq.read_table(place / "2-near" / part.file).to_pylist()
    ]
    near = {int(row["url"].split("/p")[1]): row["duplicate_of"] for row in rows if row["duplicate_of"]}
    assert near == {n: rows[n - 20]["uid"] for n in range(20, 36) if n != 29}
    assert [rows[n]["reasons"] for n in (8, 9, 20, 29)] == [
        [], ["too_small"], ["duplicate_embedding_near"], ["too_small"]]  # fmt: skip
    again = pq.read_table(place / "3-again" / "part-00001.parquet")
    assert again.column_names.count("duplicate_of") == 1 and again["duplicate_of"][0].as_py() == rows[0]["uid"]
    assert [one.name for one, _ in places_of(place).stages] == ["1-embed", "2-near", "3-again"]
    index = build_index(place / "2-near", tmp_path / "index")
    assert index.rows == 40 - 4 - 15 and index.model["digest"] == "numbers"
    ended = surefoot("pairs", "index", place / "2-near", "--out", tmp_path / "other", "--format", "json")
    assert json.loads(ended.out)[0]["value"] == index.rows, ended.err


def test_a_changed_recipe_leaves_no_stage_of_the_earlier_one_in_the_set(
    tmp_path: Path, colour_model: PairEncoder, png: Callable[..., bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its index would be served: the rows that the new recipe drops would still be found. Links may not be had."""
    monkeypatch.setattr("surefoot.pairs._search._encoders.conse_encoder", lambda: colour_model)
    (tmp_path / "in").mkdir()
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        (tmp_path / "in" / f"{name}.png").write_bytes(png("red", seed=seed))
    pictures = Embed(path=str(tmp_path / "in"), template="{}").pinned()
    near = Deduplicate(pairs=pictures, by=(), cosine=0.99999)
    store, place = Store(tmp_path / "store"), tmp_path / "set"
    with ThreadPoolExecutor(1) as pool:
        for step in (Index(embedded=pictures), Index(embedded=near)):
            assert "failed" not in {event.kind for event in run([step], store, pool)}
    gather_set([Index(embedded=pictures)], store, place)
    (place / "2-mine").mkdir()
    (place / "2-index" / "mine.txt").write_text("")
    monkeypatch.setattr("os.link", partial(refused, OSError(errno.EXDEV, "Invalid cross-device link")))
    made = gather_set([Index(embedded=near)], store, place)
    assert made.index == place / "3-index" and read_index(made.index).rows == 2
    assert sorted(one.name for one in place.iterdir()) == ["1-embed", "2-deduplicate", "2-mine", "3-index", "pictures"]
    (place / "3-index" / "removed.json").write_text("")
    with pytest.raises(SurefootError, match=r"Rows were removed from .*3-index"):
        gather_set([Index(embedded=pictures)], store, place)
    assert (place / "2-deduplicate").exists()


def refused(error: Exception, *given: object) -> None:
    raise error


def test_stages_stand_behind_what_they_were_made_of_and_keep_their_pictures(tmp_path: Path) -> None:
    """A second deduplicate, by the hashes of pictures, comes after the download, whatever its folder is called."""
    place, rows = tmp_path / "set", [{"url": f"u{n}", "text": "a", "phash": f"{n // 2:016x}"} for n in range(4)]
    place.mkdir()
    pq.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "rows.parquet")
    pairs_from_tables([tmp_path / "rows.parquet"], place / "z", rows=2)
    deduplicate(place / "z", place / "y", DuplicateRules())
    make_parts("download", Recipe(name="download"), sources_in(place / "y"), place / "x", _with_pictures)
    made = deduplicate(place / "x", place / "a", DuplicateRules(phash_distance=0))
    assert [one.name for one, _ in places_of(place).stages] == ["z", "y", "x", "a"]
    assert made.reasons == {"duplicate_phash": 2}
    assert [(place / "a" / name).read_bytes() for part in made.parts for name in part.beside] == [b"u0", b"u2"]


def _with_pictures(source: Source, out: Path) -> dict[str, int]:
    table = pq.read_table(source.path)
    out.with_suffix(".tar").write_bytes(table["url"][0].as_py().encode())
    pq.write_table(table.append_column("state", pyarrow.array(["ok"] * len(table))), out)
    return {}


def test_archives_that_are_held_against_each_other_are_all_stages_of_their_set(tmp_path: Path) -> None:
    """As in the guide: the first was taken for an evaluation set, and what it dropped was counted off the second's."""
    shards = tuple[Deduplicate, ...]()
    for name, urls in (("a", "u u u v"), ("b", "v w w"), ("test", "x")):
        pq.write_table(
            pyarrow.table({"url": urls.split(), "text": ["t" for _ in urls.split()]}), tmp_path / f"{name}.parquet"
        )
        read = PairTables(files=(str(tmp_path / f"{name}.parquet"),)).pinned()
        shards = (*shards, Deduplicate(pairs=read, against=shards)) if name != "test" else shards
    last = Deduplicate(pairs=shards[1], by=("text",), against=(read,))
    store, place = Store(tmp_path / "store"), tmp_path / "set"
    with ThreadPoolExecutor(1) as pool:
        assert "failed" not in {event.kind for event in run([*shards, last], store, pool)}
    made = gather_set([*shards, last], store, place)
    assert sorted(one.stage for _, one in made.stages) == ["deduplicate"] * 3 + ["read"] * 2
    tables = {one.title: one for one in release_set(place, tmp_path / "out")}
    assert sorted(tables["What each rule dropped"].rows) == [
        ("deduplicate", "contaminated_text", 1), ("deduplicate", "contaminated_url", 1),
        ("deduplicate", "duplicate_url", 1), ("deduplicate", "duplicate_url", 2),
    ]  # fmt: skip
    assert {row[2] for url in "uvw" for row in explain_urls(place, [url]).rows} == {"kept", "dropped"}


def test_a_set_of_several_archives_is_compared_and_described_whole(tmp_path: Path) -> None:
    """Only the last archive was compared with and counted; what another one kept was told as dropped."""
    shards = tuple[Deduplicate, ...]()
    for name, urls in (("a", "u v q"), ("b", "v w"), ("c", "w z")):
        table = pyarrow.table({"url": urls.split(), "text": [name * len(urls) for _ in urls.split()]})
        pq.write_table(table, tmp_path / f"{name}.parquet")
        read = PairTables(files=(str(tmp_path / f"{name}.parquet"),)).pinned()
        shards = (*shards, Deduplicate(pairs=read, against=shards))
    store, place = Store(tmp_path / "store"), tmp_path / "set"
    with ThreadPoolExecutor(1) as pool:
        assert "failed" not in {event.kind for event in run(shards, store, pool)}
    gather_set(shards, store, place)
    ends = {url: sorted({row[1:3] for row in explain_urls(place, [url]).rows}) for url in "uvwz"}
    assert {url: sorted(str(end) for _, end in found) for url, found in ends.items()} == {
        "u": ["kept"], "v": ["dropped", "kept"], "w": ["dropped", "kept"], "z": ["kept"]
    }  # fmt: skip
    tables = {one.title: one for one in release_set(place, tmp_path / "out")}
    assert tables["Length of the text"].sentence == "Of 5 rows that are kept."
    pairs_from_tables([tmp_path / "a.parquet", tmp_path / "c.parquet"], tmp_path / "next")
    made = deduplicate(tmp_path / "next", tmp_path / "fresh", DuplicateRules(), against=[place])
    assert made.kept == 0 and made.reasons == {"contaminated_url": 5}
    remove_pairs([place], RemovalRequest(urls=("u", "z")))
    dropped = {one.title: one for one in release_set(place, tmp_path / "out")}["What each rule dropped"]
    assert ("remove", "removed afterwards", 2) in dropped.rows


def test_rows_of_two_sets_in_one_index_have_their_own_pictures(
    tmp_path: Path, colour_model: PairEncoder, png: Callable[..., bytes], surefoot: Callable[..., Any]
) -> None:
    """Shards are called alike in all sets: those of the second were shown with pictures of the first."""
    for place, colour in (("a", "red"), ("b", "blue")):
        (tmp_path / place).mkdir()
        pq.write_table(pyarrow.table({"url": [place], "text": [colour]}), tmp_path / f"{place}.parquet")
        pairs_from_tables([tmp_path / f"{place}.parquet"], tmp_path / place / "read")
        make_parts("download", Recipe(name="download"), sources_in(tmp_path / place / "read"),
                   tmp_path / place / "pictures", partial(_tar_of, picture=png(colour)))  # fmt: skip
        embed_pairs(tmp_path / place / "pictures", tmp_path / place / "embedded", colour_model)
        subset(tmp_path / place / "embedded", "true", tmp_path / place / "some")
        (tmp_path / place / "broken").mkdir()
        (tmp_path / place / "broken" / "manifest.json").write_text("{")
        assert surefoot("pairs", "index", tmp_path / place / "some", "--out", tmp_path / "index").code == 0
    with open_index(tmp_path / "index") as index:
        rows = [dict(zip(("root", "picture"), one, strict=True)) for one in
                index.rows.execute("SELECT root, picture FROM rows ORDER BY id").fetchall()]  # fmt: skip
    assert [picture_of(row) for row in rows] == [png("red"), png("blue")]


def _tar_of(source: Source, out: Path, picture: bytes) -> dict[str, int]:
    with tarfile.open(out.with_suffix(".tar"), "w") as tar:
        member = tarfile.TarInfo("0.png")
        member.size = len(picture)
        tar.addfile(member, io.BytesIO(picture))
    pq.write_table(pq.read_table(source.path).append_column("key", pyarrow.array(["0"])), out)
    return {}


def test_pictures_of_an_evaluation_folder_are_found_in_what_was_embedded(
    embedded: Callable[..., Any], tmp_path: Path, surefoot: Callable[..., Any]
) -> None:
    vectors = np.random.default_rng(2).normal(size=(30, 32)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    embedded(tmp_path / "own", vectors)
    embedded(tmp_path / "test", vectors[[3, 12, 29]] + 0.001, name="t")
    embedded(tmp_path / "foreign", vectors[:2], name="f", digest="another")
    call = ("pairs", "deduplicate", tmp_path / "own", "--cosine", "0.99", "--by", "sha256", "--format", "json")
    assert "no column 'sha256'" in surefoot(*call, "--out", "none", "--against", tmp_path / "test").err
    call = (*call[:5], "--format", "json")
    ended = surefoot(*call, "--out", "clean", "--against", tmp_path / "test")
    told = {one["reason"]: one["count"] for one in json.loads(ended.out)}
    assert told["contaminated_embedding_near"] == 2, ended.err  # row 29 was dropped before
    rows = [row for file in sorted(Path("clean").glob("*.parquet")) for row in pq.read_table(file).to_pylist()]
    assert [n for n, row in enumerate(rows) if row["duplicate_of"]] == [3, 12]
    ended = surefoot(*call, "--out", "other", "--against", tmp_path / "foreign")
    assert ended.code == 2 and "another model" in ended.err
    again = surefoot(*call, "--out", "clean")
    assert again.code == 2 and "another run" in again.err
