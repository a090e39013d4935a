"""Removal from a whole set: what goes, what stays, kills at every step, and faults that the proof must see."""

import hashlib
import io
import json
import os
import shutil
import tarfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pyarrow.parquet as pq
import pytest
from PIL import Image

from surefoot.cli import app
from surefoot.core import Store, SurefootError, digest_of, run
from surefoot.pairs import (
    Embed,
    IndexKind,
    PairEncoder,
    Recipe,
    RemovalRequest,
    Source,
    build_index,
    embed_pairs,
    gather_set,
    make_parts,
    open_index,
    pairs_from_tables,
    read_manifest,
    release_set,
    remove_pairs,
    screen_pairs,
    search_pairs,
    sources_in,
    uid_of,
    verify_removal,
)

COLOURS = ("red", "green", "blue", "white")
N = 24


def picture(number: int) -> bytes:
    stream = io.BytesIO()
    colour = {"red": (255, 0, 0), "green": (0, 255, 0), "blue": (0, 0, 255), "white": (255, 255, 255)}
    noise = np.random.default_rng(number).integers(0, 60, (9, 9, 3))
    Image.fromarray(np.abs(np.array(colour[COLOURS[number % 4]]) - noise).astype(np.uint8)).save(stream, "PNG")
    return stream.getvalue()


def url_of(number: int) -> str:
    return f"https://example.org/p{number}.png"


def _downloaded(source: Source, path: Path) -> dict[str, int]:
    """A part as `download` leaves it, without a web."""
    table = pq.read_table(source.path)
    numbers = [int(url.split("/p")[1][:-4]) for url in table["url"].to_pylist()]
    keys = [f"{path.stem[-5:]}{at:06d}" for at in range(len(table))]
    with path.with_suffix(".tar").open("wb") as tar:
        for key, number, text in zip(keys, numbers, table["text"].to_pylist(), strict=True):
            told = json.dumps({"url": url_of(number), "caption": text}).encode()
            for suffix, data in (("jpg", picture(number)), ("txt", text.encode()), ("json", told)):
                member = tarfile.TarInfo(f"{key}.{suffix}")
                member.size = len(data)
                tar.write(member.tobuf(tarfile.USTAR_FORMAT) + data + bytes(-len(data) % 512))
        tar.write(bytes(1024))
    for name, values in (
        ("key", keys), ("caption", table["text"].to_pylist()), ("state", ["ok"] * len(keys)),
        ("md5", [hashlib.md5(picture(one)).hexdigest() for one in numbers]),
        ("sha256", [hashlib.sha256(picture(one)).hexdigest() for one in numbers]),
        ("duplicate_of", [None] * (len(keys) - 1) + [table["uid"].to_pylist()[0]]),
    ):  # fmt: skip
        table = table.add_column(0, name, pyarrow.array(values, pyarrow.string()))
    pq.write_table(table, path)
    return {}


@pytest.fixture
def whole(tmp_path: Path, colour_model: PairEncoder) -> Path:
    """Candidates (each picture 5 twice, with another text), pictures, embeddings and an index, in one folder."""
    place = tmp_path / "set"
    rows = [{"url": url_of(one), "text": f"{COLOURS[one % 4]} thing {one}"} for one in range(N)]
    rows += [{"url": url_of(5), "text": "another text"}]
    pq.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "urls.parquet")
    place.mkdir()
    pairs_from_tables([tmp_path / "urls.parquet"], place / "candidates", rows=10)
    make_parts("download", Recipe(name="download"), sources_in(place / "candidates"), place / "pictures", _downloaded)
    embed_pairs(place / "pictures", place / "embedded", colour_model)
    build_index(place / "embedded", place / "index")
    return place


def state_of(place: Path) -> dict[str, str]:
    return {str(one.relative_to(place)): digest_of(one) for one in sorted(place.rglob("*")) if one.is_file()}


def raw(place: Path) -> bytes:
    """All bytes of a set, tables unpacked, tars as they are."""
    found = [one.read_bytes() for one in place.rglob("*") if one.is_file()]
    found += [repr(pq.ParquetFile(one).read().to_pylist()).encode() for one in place.rglob("*.parquet")]
    return b"\n".join(found)


def test_what_is_removed_is_gone_everywhere_and_the_rest_is_as_it_was(whole: Path, colour_model: PairEncoder) -> None:
    before = {row["uid"]: row for file in sorted((whole / "embedded").glob("*.parquet"))
              for row in pq.read_table(file).to_pylist()}  # fmt: skip
    vectors = {one: np.load(one) for one in sorted((whole / "embedded").glob("*.images.npy"))}
    assert url_of(5).encode() in raw(whole) and picture(5) in raw(whole)
    told = remove_pairs([whole], RemovalRequest(urls=(url_of(5),)))
    assert [(row[0], row[1], row[4]) for row in told.rows] == [
        ("candidates", 2, 0), ("embedded", 2, 0), ("index", 2, 0), ("pictures", 2, 0)
    ]  # fmt: skip
    sought = [url_of(5).encode(), b"green thing 5'", b"another text", picture(5)]
    sought += [hashlib.new(kind, picture(5)).hexdigest().encode() for kind in ("md5", "sha256")]
    assert not any(one in raw(whole) for one in sought)
    after = {row["uid"]: row for file in sorted((whole / "embedded").glob("*.parquet"))
             for row in pq.read_table(file).to_pylist()}  # fmt: skip
    assert len(after) == len(before) - 2
    for file, old in vectors.items():
        part, new = file.name.removesuffix(".images.npy"), np.load(file)
        for row in pq.read_table(file.with_name(f"{part}.parquet")).to_pylist():
            assert (new[row["vector"]] == old[before[row["uid"]]["vector"]]).all()
            assert {k: v for k, v in row.items() if k not in ("vector", "duplicate_of")} == {
                k: v for k, v in before[row["uid"]].items() if k not in ("vector", "duplicate_of")
            }
    with open_index(whole / "index") as index:
        found = search_pairs(index, colour_model.texts(["green"])[0], k=N)
        assert index.told.rows == len(found) == N - 1 and url_of(5) not in {one.row["url"] for one in found}
    for file in (whole / "pictures").glob("*.tar"):
        assert file.stat().st_size % 512 == 0 and file.read_bytes().endswith(bytes(1024))
    assert len(embed_pairs(whole / "pictures", whole / "embedded", colour_model).parts) == 3  # nothing is made again
    assert build_index(whole / "embedded", whole / "index").rows == N - 1
    assert oct((whole / "index" / "removed.key").stat().st_mode)[-3:] == "600"


@pytest.mark.parametrize("kind", ["exact", "sq8", "pq4"])
def test_no_kind_of_index_keeps_a_vector_or_what_was_trained_on_it(
    kind: IndexKind, embedded: Callable[..., Any], clustered: Callable[..., Any], tmp_path: Path
) -> None:
    vectors, gone = clustered(400, 16, 4), (3, 120, 318)
    embedded(tmp_path / "set" / "embedded", vectors)
    build_index(tmp_path / "set" / "embedded", tmp_path / "set" / "index", kind=kind)
    old = (tmp_path / "set" / "index" / "vectors-0.faiss").read_bytes()
    told = remove_pairs([tmp_path / "set"], RemovalRequest(urls=tuple(f"https://example.org/p{one}" for one in gone)))
    assert [(row[0], row[1], row[4]) for row in told.rows] == [("embedded", 3, 0), ("index", 3, 0)]
    every = raw(tmp_path / "set")
    for one in gone:
        assert vectors[one].astype(np.float16).tobytes() in old
        left = (vectors[one].astype(np.float16).tobytes(), f"'thing {one}'".encode(), f"/p{one}'".encode())
        assert not any(value in every for value in left)
    made = build_index(tmp_path / "set" / "embedded", tmp_path / "fresh", kind=kind)  # which never had these rows
    assert made.kind == kind and made.rows == 357
    assert made.digests[made.vectors] == digest_of(tmp_path / "set" / "index" / "vectors-0.faiss")
    (tmp_path / "set" / "index" / "vectors-0.faiss").write_bytes(old)
    assert verify_removal([tmp_path / "set"]).rows[1][4] == 4  # three vectors, and a file of another index


@pytest.mark.parametrize("layout", ["files", "parquet"])
def test_pictures_of_every_layout_go(layout: str, tmp_path: Path) -> None:
    rows = [{"url": url_of(one), "text": f"thing {one}"} for one in range(8)]
    pq.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "urls.parquet")
    place, sought = tmp_path / "set" / "pictures", picture(5)
    pairs_from_tables([tmp_path / "urls.parquet"], tmp_path / "candidates", rows=5)
    make = partial(_laid_out, files=place if layout == "files" else None)
    make_parts("download", Recipe(name="download"), sources_in(tmp_path / "candidates"), place, make)

    def pictures() -> set[bytes]:
        tables = [pq.ParquetFile(one).read() for one in place.glob("*.parquet")]
        found = [value for one in tables if "jpg" in one.column_names for value in one["jpg"].to_pylist()]
        return {*found, *(one.read_bytes() for one in place.rglob("*.jpg"))}

    assert pictures() == {picture(one) for one in range(8)}
    told = remove_pairs([place], RemovalRequest(urls=(url_of(5),)))
    assert [row[1:5:3] for row in told.rows] == [(1, 0)]
    assert pictures() == {picture(one) for one in range(8) if one != 5}
    assert not any(value in raw(place) for value in (sought, url_of(5).encode(), b"'thing 5'"))
    (place / "other.jpg").write_bytes(sought)
    assert verify_removal([place]).rows[0][4] == 1


def _laid_out(source: Source, path: Path, files: Path | None) -> dict[str, int]:
    """A part as `download` leaves it with single files, or with pictures in the table."""
    table = pq.read_table(source.path)
    numbers = [int(url.split("/p")[1][:-4]) for url in table["url"].to_pylist()]
    keys = [f"{path.stem[-5:]}{at:06d}" for at in range(len(table))]
    for key, number in zip(keys if files else (), numbers, strict=False):
        (files or path).joinpath(path.stem).mkdir(exist_ok=True)
        (files or path).joinpath(path.stem, f"{key}.jpg").write_bytes(picture(number))
    table = table.append_column("key", pyarrow.array(keys))
    pq.write_table(table if files else table.append_column("jpg", pyarrow.array(map(picture, numbers))), path)
    return {}


def test_a_row_that_was_named_as_the_kept_one_is_not_named_any_more(whole: Path) -> None:
    uid = pq.read_table(whole / "candidates" / "part-00000.parquet")["uid"].to_pylist()[0]
    assert uid in pq.read_table(whole / "pictures" / "part-00000.parquet")["duplicate_of"].to_pylist()
    assert all(row[4] == 0 for row in remove_pairs([whole], RemovalRequest(urls=(url_of(0),))).rows)
    assert uid.encode() not in raw(whole)


@pytest.mark.parametrize("kind", ["md5", "sha256"])
def test_hash_lists_are_counted_and_reach_rows_without_a_hash(whole: Path, tmp_path: Path, kind: str) -> None:
    listed = [hashlib.new(kind, picture(7)).hexdigest(), hashlib.sha1(url_of(8).encode()).hexdigest()]
    (tmp_path / "l.txt").write_text("\n".join(listed))
    counts = {row[0]: row[2] for row in screen_pairs([whole], [str(tmp_path / "l.txt")]).rows}
    assert counts == {"candidates": 1, "embedded": 2, "index": 2, "pictures": 2}
    told = remove_pairs([whole], RemovalRequest(hash_lists=(str(tmp_path / "l.txt"),)))
    assert all(row[1] == 2 and row[4] == 0 for row in told.rows)  # candidates have no hash: known by the URL
    assert not any(row[2] for row in screen_pairs([whole], [str(tmp_path / "l.txt")]).rows)


def test_conditions_reach_tables_without_their_columns_and_removals_add_up(
    whole: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    app(["pairs", "remove", str(whole), "--where", "state = 'ok' AND text LIKE 'red%'"], result_action="return_value")
    assert "candidates\t6\t" in capsys.readouterr().out
    remove_pairs([whole], RemovalRequest(urls=(url_of(1),)))
    assert app(["pairs", "remove", str(whole), "--verify"], result_action="return_value") == 0
    assert "candidates\t7\t" in capsys.readouterr().out
    told = json.loads((whole / "embedded" / "removed.json").read_text())
    assert [(one["by"], one["rows"]) for one in told["removals"]] == [(["where"], 6), (["urls"], 1)]
    for request, message in (
        (RemovalRequest(urls=("x",)), "No row"),
        (RemovalRequest(where="nothing > 1"), "cannot be"),
    ):
        with pytest.raises(SurefootError, match=message):
            remove_pairs([whole], request)
    assert state_of(whole) and not list(whole.rglob(".removal"))


def test_killed_at_any_step_it_is_whole_after_the_next_call(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every rename, unlink and deletion of a tree is a place to die, with no clean-up, as by kill -9."""

    class Killed(BaseException):
        pass

    monkeypatch.setattr("secrets.token_bytes", bytes)
    monkeypatch.setattr("surefoot.pairs._remove._remove.verify_removal", lambda places: None)
    shutil.copytree(whole, tmp_path / "copy")
    request, left = RemovalRequest(urls=(url_of(5),)), [0]
    remove_pairs([whole], request)
    wanted = {name: told for name, told in state_of(whole).items() if not name.endswith("removed.json")}

    def dies(real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*given: Any, **named: Any) -> Any:
            if left[0] == 0:
                raise Killed
            left[0] -= 1
            return real(*given, **named)

        return call

    for steps in range(2, 400, 11):
        shutil.rmtree(whole)
        shutil.copytree(tmp_path / "copy", whole)
        left[0], ended = steps, False
        with monkeypatch.context() as patch:
            for place, name in (
                (Path, "replace"),
                (Path, "unlink"),
                (shutil, "rmtree"),
                (os, "replace"),
                (os, "rename"),
            ):
                patch.setattr(place, name, dies(getattr(place, name)))
            try:
                remove_pairs([whole], request)
                ended = True
            except Killed:
                pass
        for head in whole.glob("*/manifest.json"):  # what can be read is never half of each
            for part in read_manifest(head.parent).parts:
                for name, told in {part.file: part.sha256, **part.beside}.items():
                    assert digest_of(head.parent / name) == told, steps
        if (whole / "index" / "index.json").exists():
            with open_index(whole / "index") as index:
                assert index.told.rows == index.rows.execute("SELECT count(*) FROM rows").fetchall()[0][0]
        try:
            remove_pairs([whole], request)
        except SurefootError as error:
            assert ended and "No row" in str(error), steps
        found = {name: told for name, told in state_of(whole).items() if not name.endswith("removed.json")}
        assert found == wanted, steps
        if ended:
            break
    assert ended


def test_the_proof_sees_what_was_left(whole: Path, tmp_path: Path) -> None:
    shutil.copytree(whole, tmp_path / "old")
    remove_pairs([whole], RemovalRequest(urls=(url_of(5),)))
    pictures = whole / "pictures"
    clean = {row[0]: row[4] for row in verify_removal([whole]).rows}
    assert not any(clean.values())

    def found(folder: Path) -> int:
        return {row[0]: row[4] for row in verify_removal([whole]).rows}[folder.name]

    names = ["pictures/part-00000.tar", "pictures/part-00000.parquet", "index/vectors-0.faiss"]
    names += [f"embedded/part-00000.{kind}.npy" for kind in ("images", "texts")]
    for folder, name in ((whole / one.split("/")[0], one.split("/")[1]) for one in names):
        kept = (folder / name).read_bytes()
        shutil.copyfile(tmp_path / "old" / folder.name / name, folder / name)
        assert found(folder), name
        (folder / name).write_bytes(kept)
    texts = json.dumps({"of": ["green thing 5"]}).encode()
    for name, data in (("note.txt", b"x\n" + url_of(5).encode()), ("t.png", picture(5)), ("a.json", texts),
                       ("00000000005.webp", b"")):  # fmt: skip
        (pictures / name).write_bytes(data)
        assert found(pictures), name
        (pictures / name).unlink()
    assert not found(pictures)
    (pictures / "removed.key").unlink()
    with pytest.raises(SurefootError, match="key is lost"):
        verify_removal([whole])


def test_a_set_that_is_run_again_does_not_get_back_what_was_removed(
    tmp_path: Path, colour_model: PairEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "in").mkdir()
    for number in range(8):
        (tmp_path / "in" / f"{number}.png").write_bytes(picture(number))
    monkeypatch.setattr("surefoot.pairs._search._encoders.conse_encoder", lambda: colour_model)
    step, store = Embed(path=str(tmp_path / "in"), template="{}").pinned(), Store(tmp_path / "store")
    with ThreadPoolExecutor(1) as pool:
        assert "made" in {event.kind for event in run([step], store, pool)}
    gather_set([step], store, tmp_path / "set")
    told = remove_pairs([tmp_path / "set"], RemovalRequest(where="picture = '5.png'"))
    assert [(row[1], row[4]) for row in told.rows] == [(1, 0)]
    with pytest.raises(SurefootError, match="still has"):
        gather_set([step], store, tmp_path / "set")


@pytest.mark.parametrize("by", ["uid", "url", "picture"])
def test_what_was_removed_does_not_come_back_into_an_index_that_is_added_to(
    by: str, whole: Path, tmp_path: Path, colour_model: PairEncoder
) -> None:
    """One may embed the folder again with new pictures in it, or have the picture under another name."""
    remove_pairs([whole], RemovalRequest(urls=(url_of(5),)))
    rows = [(f"other {by}", 5) if by == "picture" else (url_of(5) if by == "url" else "same", 7), ("new", 9)]
    place, uid = tmp_path / "more", uid_of(url_of(5), "another text")
    pq.write_table(
        pyarrow.table({"url": [one for one, _ in rows], "uid": [uid if by == "uid" else "x", "y"],
                       "text": ["some", "more"]}), tmp_path / "more.parquet")  # fmt: skip
    (tmp_path / "in").mkdir()
    pairs_from_tables([tmp_path / "more.parquet"], tmp_path / "candidates")
    make_parts("download", Recipe(name="download"), sources_in(tmp_path / "candidates"), place,
               partial(_shard_of, numbers=[number for _, number in rows]))  # fmt: skip
    embed_pairs(place, tmp_path / "embedded", colour_model)
    told = build_index(tmp_path / "embedded", whole / "index")
    assert (told.rows, told.removed, told.repeated) == (N, 1, 0)
    with open_index(whole / "index") as index:
        asked = "SELECT url FROM rows WHERE uid IN ('x', 'y') OR uid = ?"
        assert index.rows.execute(asked, [uid]).fetchall() == [("new",)]
    (whole / "index" / "removed.key").unlink()
    (tmp_path / "embedded" / "manifest.json").write_text(
        (tmp_path / "embedded" / "manifest.json").read_text().replace('"rows"', ' "rows"', 1)
    )
    with pytest.raises(SurefootError, match="key is lost"):  # nobody can say which rows must not come
        build_index(tmp_path / "embedded", whole / "index")


def test_a_row_goes_that_is_the_same_by_way_of_others(tmp_path: Path) -> None:
    """The URL has the bytes of another URL, which is another row elsewhere, which is in a third table."""
    tables = {
        "a": {"url": ["u", "v", "x"], "text": ["1", "2", "3"], "sha256": ["s", "s", "t"]},
        "b": {"url": ["v", "y"], "text": ["4", "5"], "uid": ["f" * 32, "e" * 32]},
        "c": {"url": ["z", "w"], "text": ["6", "7"], "uid": ["f" * 32, "d" * 32]},
    }
    for name, table in tables.items():
        pq.write_table(pyarrow.table(table), tmp_path / f"{name}.parquet")
        pairs_from_tables([tmp_path / f"{name}.parquet"], tmp_path / "set" / name)
    remove_pairs([tmp_path / "set"], RemovalRequest(urls=("u",)))
    left = [pq.read_table(tmp_path / "set" / name / "part-00000.parquet")["url"].to_pylist() for name in tables]
    assert left == [["x"], ["y"], ["w"]]


def test_pairs_without_a_text_are_not_taken_for_what_was_removed(tmp_path: Path) -> None:
    """Their .txt in the tar is as empty as that of the removed one."""
    rows = [{"url": url_of(one), "text": ""} for one in range(6)]
    pq.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "urls.parquet")
    place = tmp_path / "set"
    pairs_from_tables([tmp_path / "urls.parquet"], tmp_path / "candidates")
    make_parts("download", Recipe(name="download"), sources_in(tmp_path / "candidates"), place, _downloaded)
    told = remove_pairs([place], RemovalRequest(urls=(url_of(5),)))
    assert [(row[1], row[4]) for row in told.rows] == [(1, 0)]


def test_what_a_kill_left_of_an_earlier_index_goes(whole: Path, tmp_path: Path, embedded: Any) -> None:
    old = {name: (whole / "index" / name).read_bytes() for name in ("vectors-0.faiss", "rows-0.parquet")}
    embed = np.eye(16, dtype=np.float32)
    embedded(tmp_path / "more", embed, digest="colours")
    build_index(tmp_path / "more", whole / "index")
    for again in (lambda: build_index(tmp_path / "more", whole / "index"),
                  lambda: remove_pairs([whole], RemovalRequest(urls=(url_of(5),)))):  # fmt: skip
        for name, data in old.items():
            (whole / "index" / name).write_bytes(data)
        again()
        assert not any((whole / "index" / name).exists() for name in old)
    assert not any(row[4] for row in verify_removal([whole]).rows)


def _shard_of(source: Source, path: Path, numbers: Sequence[int]) -> dict[str, int]:
    table = pq.read_table(source.path)
    keys = [f"{at}" for at in range(len(numbers))]
    with tarfile.open(path.with_suffix(".tar"), "w") as tar:
        for key, number in zip(keys, numbers, strict=True):
            member = tarfile.TarInfo(f"{key}.jpg")
            member.size = len(picture(number))
            tar.addfile(member, io.BytesIO(picture(number)))
    pq.write_table(table.append_column("key", pyarrow.array(keys)), path)
    return {}


def test_urls_that_name_no_row_are_said_but_not_those_that_were_removed_before(whole: Path) -> None:
    with pytest.warns(UserWarning, match="1 of 2 URLs name no row of this set, .* such as https://example.org/typo"):
        remove_pairs([whole], RemovalRequest(urls=(url_of(5), "https://example.org/typo")))
    remove_pairs([whole], RemovalRequest(urls=(url_of(5), url_of(6))))  # a warning would be an error


def test_a_row_of_another_stage_goes_by_its_url_alone(tmp_path: Path) -> None:
    hashed = f"text\turl\tmd5\ntext\tu\t{'0' * 32}"
    for name, rows in (("all", "text\turl\ntext\tu\nother\tu\ntext\tv"), ("some", hashed)):
        (tmp_path / f"{name}.tsv").write_text(rows)
        pairs_from_tables([tmp_path / f"{name}.tsv"], tmp_path / "set" / name)
    file = tmp_path / "set" / "all" / "part-00000.parquet"
    (tmp_path / "l.txt").write_text("0" * 32)
    remove_pairs([tmp_path / "set"], RemovalRequest(hash_lists=(str(tmp_path / "l.txt"),)))
    assert pq.read_table(file)["url"].to_pylist() == ["v"]


def test_a_release_has_no_key_of_a_removal(whole: Path, tmp_path: Path) -> None:
    remove_pairs([whole], RemovalRequest(urls=(url_of(5),)))
    release_set(whole, tmp_path / "release")
    keys = {one.read_text() for one in whole.rglob("removed.key")}
    assert keys and sorted(one.name for one in (tmp_path / "release").iterdir()) == ["datasheet.md", "release.json"]
    assert not any(key in one.read_text(encoding="utf-8") for key in keys for one in (tmp_path / "release").iterdir())
