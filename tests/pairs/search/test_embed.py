"""Embedding pictures of users, thresholds after the fact, and search by what the pictures show."""

import io
import json
import os
import runpy
import shutil
import signal
import struct
import subprocess
import sys
import tarfile
import zlib
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pyarrow.parquet as pq
import pytest

from surefoot.contrastive import (
    LoadedModel,
    ModelDescription,
    Pixels,
    build,
    captioned_pictures,
    embed_images,
    embed_texts,
    save_model,
)
from surefoot.core import Inputs, Measurement, Step, Store, SurefootError, digest_of, run
from surefoot.pairs import (
    Embed,
    Index,
    Manifest,
    PairEncoder,
    Recipe,
    RemovalRequest,
    Source,
    build_index,
    conse_encoder,
    embed_pairs,
    gather_set,
    make_parts,
    open_index,
    openclip_encoder,
    pairs_from_tables,
    places_of,
    query_vector,
    remove_pairs,
    search_pairs,
    sources_in,
    subset,
    uid_of,
)
from surefoot.pairs._search._pictures import picture_of

Png = Callable[..., bytes]
Shard = Callable[[Path, dict[str, bytes]], Path]
PHOTOS = Path(os.environ.get("SUREFOOT_DATA", "")) / "photos" / "cifar10_test.tar.gz"


@pytest.fixture
def folder(tmp_path: Path, png: Png) -> Path:
    """Nine pictures of three colours, three of them with a caption of their own, and one that is none."""
    place = tmp_path / "pictures"
    for colour in ("red", "green", "blue"):
        (place / colour).mkdir(parents=True)
        for number in range(3):
            (place / colour / f"{number}.png").write_bytes(png(colour, (8 + number, 6), seed=number))
        (place / colour / "0.txt").write_text(f"a {colour} <b>thing</b>\nanother line")
    (place / "red" / "broken.png").write_bytes(b"no picture")
    return place


def rows_of(out: Path) -> list[dict[str, object]]:
    return [row for path in sorted(out.glob("*.parquet")) for row in pq.ParquetFile(path).read().to_pylist()]


def test_a_folder_is_embedded_part_by_part(folder: Path, tmp_path: Path, colour_model: PairEncoder) -> None:
    told = embed_pairs(folder, tmp_path / "out", colour_model, template="{} paint", rows=4)
    assert (told.rows, told.kept, len(told.parts), dict(told.reasons)) == (10, 9, 3, {"picture_refused": 1})
    rows = {str(row["picture"]): row for row in rows_of(tmp_path / "out")}
    assert rows["blue/0.png"]["text"] == "a blue <b>thing</b>"
    assert rows["blue/1.png"]["text"] == "blue paint"
    assert (rows["blue/2.png"]["width"], rows["blue/2.png"]["height"]) == (10, 6)
    assert rows["red/broken.png"]["vector"] is rows["red/broken.png"]["similarity"] is None
    assert "not a picture" in str(rows["red/broken.png"]["picture_error"])
    assert all(0.9 < float(str(row["similarity"])) <= 1 for row in rows.values() if row["vector"] is not None)
    before = digest_of(tmp_path / "out")
    embed_pairs(folder, tmp_path / "again", colour_model, template="{} paint", rows=4)
    assert digest_of(tmp_path / "again") == before


def test_embedding_and_index_are_steps_that_give_what_the_functions_give(
    folder: Path, tmp_path: Path, colour_model: PairEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("surefoot.pairs._search._encoders.conse_encoder", lambda: colour_model)
    step, store = Embed(path=str(folder), template="{} paint").pinned(), Store(tmp_path / "store")
    index = Index(embedded=step)
    with ThreadPoolExecutor(1) as pool:
        assert {event.step for event in run([index], store, pool) if event.kind == "made"} == {step, index}
    told = embed_pairs(folder, tmp_path / "out", colour_model, template="{} paint")
    made = {(one.metric, one.group): one.value for one in store.measurements(step)}
    assert made == {("rows", ""): told.rows, ("kept", ""): told.kept, ("rows", "picture_refused"): 1}
    for part in told.parts:
        for file in (part.file, *part.beside):
            assert digest_of(store.path(step) / file) == digest_of(tmp_path / "out" / file)
    with open_index(store.path(index)) as opened:
        assert opened.told.rows == told.kept == store.measurements(index)[0].value


@pytest.mark.parametrize("none", [np.nan, np.inf, 0.0])
def test_pictures_and_texts_without_a_direction_are_said(
    none: float, folder: Path, tmp_path: Path, colour_model: PairEncoder
) -> None:
    """A model in few bits, or a broken one: green pictures and blue texts come to nothing."""

    def spoilt(make: Callable[..., Any], colour: int) -> Callable[..., Any]:
        def vectors(given: Any) -> Any:
            made = make(given)
            made[made[:, :3].argmax(1) == colour] = none
            return made

        return vectors

    broken = replace(colour_model, images=spoilt(colour_model.images, 1), texts=spoilt(colour_model.texts, 2))
    told = embed_pairs(folder, tmp_path / "out", broken, template="{} paint")
    assert (told.rows, told.kept, dict(told.reasons)) == (10, 6, {"picture_refused": 4})
    for row in rows_of(tmp_path / "out"):
        kind = str(row["picture"]).split("/")[0]
        if kind == "green":
            assert (row["vector"], row["picture_error"]) == (None, "Its vector is zero or not finite.")
        assert (row["similarity"] is None) is (kind != "red" or row["vector"] is None)
    assert all(np.isfinite(np.load(file)).all() for file in (tmp_path / "out").glob("*.npy"))


def test_a_stopped_run_goes_on(folder: Path, tmp_path: Path, colour_model: PairEncoder) -> None:
    calls: list[int] = []

    def stop(done: int, total: int) -> None:
        calls.append(done)
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        embed_pairs(folder, tmp_path / "out", colour_model, rows=4, progress=stop)
    second = (tmp_path / "out" / "part-00001.parquet").stat().st_mtime_ns
    embed_pairs(folder, tmp_path / "out", colour_model, rows=4)
    assert (tmp_path / "out" / "part-00001.parquet").stat().st_mtime_ns == second
    embed_pairs(folder, tmp_path / "whole", colour_model, rows=4)
    assert digest_of(tmp_path / "out") == digest_of(tmp_path / "whole")


STOPPED = """
import os, signal
from collections import Counter
from pathlib import Path
import numpy as np
from surefoot.pairs import PairEncoder, embed_pairs

def embed(out, stop=None, images=99, texts=99, batch=4):
    asked, last = Counter(), {"images": images, "texts": texts}
    def unit(kind, values):
        if asked[kind] + len(values) > last[kind]:
            stop()
        asked[kind] += len(values)
        values = np.array(values, np.float32) + 1
        return values / np.linalg.norm(values, axis=1, keepdims=True)
    model = PairEncoder(name="m", digest="m", dimension=3, prepare=lambda one: np.asarray(one.resize((1, 1))),
                        images=lambda some: unit("images", some[:, 0, 0]),
                        texts=lambda some: unit("texts", [[len(one), 0, 1] for one in some]))
    embed_pairs(Path("00000.tar"), Path(out), model, batch=batch)
    return asked

if __name__ == "__main__":
    embed("out", lambda: os.kill(os.getpid(), signal.SIGKILL), images=14)
"""


def test_a_kill_in_a_large_archive_loses_one_batch(
    tmp_path: Path, png: Png, tarball: Shard, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One part of 20 pictures, of which two are none: killed at the 15th picture, stopped at the 10th text."""
    files = dict[str, bytes]()
    for row in range(20):
        files[f"{row:03d}.png"] = b"broken" if row in (2, 13) else png(("red", "blue")[row % 2], seed=row)
        files[f"{row:03d}.txt"] = b"red and then blue"[: row + 1]
    tarball(tmp_path / "00000.tar", files)
    (tmp_path / "stopped.py").write_text(STOPPED)
    monkeypatch.chdir(tmp_path)
    assert subprocess.run([sys.executable, "stopped.py"], check=False).returncode == -signal.SIGKILL
    embed = runpy.run_path("stopped.py")["embed"]

    def stop() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        embed("out", stop, texts=9)
    assert embed("out") == {"texts": 10}  # 18 without the two batches before the stop; of the pictures all were kept
    with pytest.raises(KeyboardInterrupt):
        embed("other", stop, texts=9)
    assert embed("other", batch=5) == {"images": 18, "texts": 18}  # batches of another size are not mixed up
    embed("whole")
    assert digest_of(tmp_path / "out") == digest_of(tmp_path / "whole") == digest_of(tmp_path / "other")


def test_rows_beside_a_shard_are_kept_with_all_they_know(
    tmp_path: Path, png: Png, tarball: Shard, colour_model: PairEncoder
) -> None:
    tarball(tmp_path / "00000.tar", {"000.png": png("red"), "000.txt": b"other words", "001.png": b"broken",
                                   "003.png": png("blue"), "009.png": png("blue")})  # fmt: skip
    table = {
        "key": ["000", "001", "002", "003"],
        "URL": [f"https://example.org/{row}" for row in range(4)],
        "caption": ["red", "red", "green", None],
        "license": ["CC0", None, None, "?"],
        "phash": ["a", "b", None, "d"],
        "reasons": pyarrow.array([[], [], ["status 404"], []], pyarrow.list_(pyarrow.string())),
    }
    pq.write_table(pyarrow.table(table), tmp_path / "00000.parquet")
    told = embed_pairs(tmp_path, tmp_path / "out", colour_model)
    assert (told.rows, told.kept, dict(told.faults)) == (4, 2, {"picture_without_row": 1})
    rows = rows_of(tmp_path / "out")
    assert [row["reasons"] for row in rows] == [[], ["picture_refused"], ["status 404"], []]
    assert [row["text"] for row in rows] == ["red", "red", "green", ""]
    assert [row["similarity"] is None for row in rows] == [False, True, True, True]
    assert [row["phash"] for row in rows] == ["a", "b", None, "d"]
    assert rows[0]["url"] == "https://example.org/0"
    assert rows[3]["picture"] == "00000.tar/003"
    images = np.load(tmp_path / "out" / "part-00000.images.npy")
    assert images[int(str(rows[3]["vector"]))] == pytest.approx(colour_model.texts(["blue"])[0], abs=0.1)


def _in_tar(source: Source, path: Path, *, pixels: bytes) -> dict[str, int]:
    table = pq.read_table(source.path)
    with tarfile.open(path.with_suffix(".tar"), "w") as tar:
        for key in range(len(table)):
            member = tarfile.TarInfo(f"{key}.png")
            member.size = len(pixels)
            tar.addfile(member, io.BytesIO(pixels))
    pq.write_table(table.append_column("key", pyarrow.array([*map(str, range(len(table)))])), path)
    return {}


def test_pictures_of_a_download_must_be_those_of_its_rows(tmp_path: Path, png: Png, colour_model: PairEncoder) -> None:
    """Else a picture would have the text of another one, and the rows of a part that is gone would go with it."""
    (tmp_path / "urls.csv").write_text("url,text\nu,red\nv,green\nw,blue\n")
    pairs_from_tables([tmp_path / "urls.csv"], tmp_path / "candidates", rows=2)
    for name in ("red", "blue"):
        make = partial(_in_tar, pixels=png(name))
        make_parts("download", Recipe(name="download"), sources_in(tmp_path / "candidates"), tmp_path / name, make)
    embed_pairs(tmp_path / "red", tmp_path / "out", colour_model)
    tar = tmp_path / "red" / "part-00001.tar"
    tar.write_bytes((tmp_path / "blue" / tar.name).read_bytes())
    with pytest.raises(SurefootError, match=r"part-00001\.tar is not the file of manifest\.json"):
        embed_pairs(tmp_path / "red", tmp_path / "again", colour_model)
    tar.unlink()
    with pytest.raises(SurefootError, match=r"part-00001\.tar is not the file"):
        embed_pairs(tmp_path / "red", tmp_path / "again", colour_model)


def test_a_download_as_files_keeps_what_its_table_knows(tmp_path: Path, png: Png, colour_model: PairEncoder) -> None:
    """Else the pictures are found under names of their own, and `why` and `remove` do not know their URLs any more."""
    place = tmp_path / "in"
    place.mkdir()
    (tmp_path / "urls.csv").write_text("url,text,license\nu,red,CC0\nv,green,CC0\nw,blue,\n")
    pairs_from_tables([tmp_path / "urls.csv"], tmp_path / "candidates", rows=2)
    make_parts("download", Recipe(name="download"), sources_in(tmp_path / "candidates"), place,
               partial(_single_files, place=place, picture=png))  # fmt: skip
    told = embed_pairs(place, tmp_path / "out", colour_model)
    assert (told.rows, told.kept, dict(told.reasons)) == (3, 2, {"download_gone": 1})
    shutil.copytree(place, tmp_path / "part of" / "in")
    shutil.rmtree(tmp_path / "part of" / "in" / "part-00001")
    with pytest.raises(SurefootError, match="lacks the folder of a part"):
        embed_pairs(tmp_path / "part of" / "in", tmp_path / "part of" / "out", colour_model)
    rows = [row for part in told.parts for row in pq.read_table(tmp_path / "out" / part.file).to_pylist()]
    assert [(row["url"], row["license"], row["uid"]) for row in rows] == [
        (url, license, uid_of(url, text)) for url, text, license in
        (("u", "red", "CC0"), ("v", "green", "CC0"), ("w", "blue", None))]  # fmt: skip
    assert [row["picture"] for row in rows] == ["part-00000/0.jpg", "part-00000/1.jpg", "part-00001/0.jpg"]
    assert [row["vector"] for row in rows] == [0, None, 0] and rows[0]["similarity"] > 0.9
    assert picture_of(rows[2], place) == (place / "part-00001" / "0.jpg").read_bytes()
    assert [one.stage for _, one in places_of(tmp_path).stages] == ["read", "download", "embed"]
    told = remove_pairs([tmp_path], RemovalRequest(urls=("u",)))
    assert [(row[1], row[4]) for row in told.rows] == [(1, 0), (1, 0), (1, 0)]
    stages = [one for _, one in places_of(tmp_path).stages]
    assert {part.sha256 for part in stages[1].parts} == {told[64:] for told in stages[2].inputs.values()}


def _single_files(source: Source, out: Path, place: Path, picture: Png) -> dict[str, int]:
    table = pq.read_table(source.path)
    colours = table["text"].to_pylist()
    for at, colour in enumerate(colours):
        (place / out.stem).mkdir(exist_ok=True)
        if colour != "green":
            (place / out.stem / f"{at}.jpg").write_bytes(picture(colour))
    reasons = pyarrow.array([["download_gone"] if one == "green" else [] for one in colours],
                            pyarrow.list_(pyarrow.string()))  # fmt: skip
    table = table.set_column(table.column_names.index("reasons"), "reasons", reasons)
    pq.write_table(table.append_column("key", pyarrow.array([*map(str, range(len(table)))])), out)
    return {}


def test_a_table_of_paths_is_read(folder: Path, tmp_path: Path, colour_model: PairEncoder) -> None:
    table = folder / "captions.csv"
    table.write_text("path,caption,license\nred/1.png,red,CC0\nblue/1.png,blue,MIT\nnowhere.png,green,CC0\n")
    told = embed_pairs(table, tmp_path / "out", colour_model)
    rows = rows_of(tmp_path / "out")
    assert [(row["picture"], row["text"], row["license"]) for row in rows[:2]] == [
        ("red/1.png", "red", "CC0"),
        ("blue/1.png", "blue", "MIT"),
    ]
    assert dict(told.reasons) == {"picture_refused": 1}


def test_columns_that_are_called_as_ours_are_kept_beside_ours_or_named(
    folder: Path, tmp_path: Path, colour_model: PairEncoder
) -> None:
    table = folder / "captions.csv"
    table.write_text("path,caption,similarity,id,root\nred/1.png,red,0.25,7,/etc\nblue/1.png,blue,,8,/etc\n")
    embed_pairs(table, tmp_path / "out", colour_model)
    rows = rows_of(tmp_path / "out")
    assert [row["candidate_similarity"] for row in rows] == ["0.25", None]
    assert [row["similarity"] for row in rows] == pytest.approx([1, 1], abs=0.1)
    build_index(tmp_path / "out", tmp_path / "index", root=folder)
    remove_pairs([tmp_path / "index"], RemovalRequest(where="candidate_id = '7'"))
    with open_index(tmp_path / "index") as index:
        asked = "SELECT id, candidate_id, root, candidate_root FROM rows"
        assert index.rows.execute(asked).fetchall() == [(0, "8", str(folder), "/etc")]
    table.write_text("path,caption,reasons\nred/1.png,red,bad\n")
    with pytest.raises(SurefootError, match="The column reasons is called as one of ours and is no list"):
        embed_pairs(table, tmp_path / "other", colour_model)


def test_hostile_pictures_are_rows_with_a_reason(
    tmp_path: Path, png: Png, tarball: Shard, colour_model: PairEncoder
) -> None:
    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 0, 0, 0, 0)
    chunk = struct.pack(">I", 13) + b"IHDR" + header + struct.pack(">I", zlib.crc32(b"IHDR" + header))
    huge = b"\x89PNG\r\n\x1a\n" + chunk + png("red")[33:]
    path = tarball(tmp_path / "a.tar", {"../../../tmp/outside.png": png("red"), "huge.png": huge, "x.svg": b"<svg/>"})
    with tarfile.open(path, "a") as archive:
        link = tarfile.TarInfo("link.png")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/hostname"
        archive.addfile(link)
    told = embed_pairs(tmp_path / "a.tar", tmp_path / "out", colour_model)
    assert (told.rows, told.kept) == (3, 1)
    assert "pixels" in str(rows_of(tmp_path / "out")[1]["picture_error"])
    assert not Path("/tmp/outside.png").exists()
    for nothing in (tmp_path / "none", tmp_path):
        (tmp_path / "a.tar").unlink(missing_ok=True)
        with pytest.raises(SurefootError, match="does not exist|holds no pictures"):  # noqa: RUF043
            embed_pairs(nothing, tmp_path / "new", colour_model)


def test_vectors_of_an_openclip_model_are_those_of_the_wing(
    folder: Path, tmp_path: Path, made_model: LoadedModel
) -> None:
    embed_pairs(folder, tmp_path / "out", openclip_encoder(made_model), batch=4)
    rows = [row for row in rows_of(tmp_path / "out") if row["vector"] is not None]
    from PIL import Image

    size = made_model.pixels.shape
    for row in rows:
        with Image.open(folder / str(row["picture"])) as picture:
            pixels = np.asarray(picture.convert("RGB").resize((size[1], size[0]), Image.Resampling.BICUBIC))
        image = embed_images(made_model, pixels[None])[0].numpy()
        stored = np.load(tmp_path / "out" / "part-00000.images.npy")[int(str(row["vector"]))]
        assert stored.astype(float) @ image == pytest.approx(1, abs=0.02)  # our own resizing keeps the proportions
        if row["text"]:
            text = embed_texts(made_model, [str(row["text"])])[0].numpy()
            assert float(str(row["similarity"])) == pytest.approx(float(stored.astype(float) @ text), abs=2e-3)


@pytest.fixture(scope="module")
def made_model() -> LoadedModel:
    import open_clip
    import torch

    torch.manual_seed(0)
    tower = {"image_size": 32, "layers": 1, "width": 32, "patch_size": 8, "head_width": 16}
    text = {"context_length": 16, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1}
    model = build({"embed_dim": 16, "vision_cfg": tower, "text_cfg": text})
    pixels = Pixels(size=32, resize_mode="squash")
    told = ModelDescription(
        name="tiny", config={}, pixels=pixels, vocabulary=None, parameters=0, gmacs_per_sample=0, samples=0
    )
    tokenizer = open_clip.SimpleTokenizer(context_length=16)
    return LoadedModel(model=model.eval(), tokenizer=tokenizer, pixels=pixels, name="tiny", description=told)


def test_thresholds_are_moved_after_the_fact(
    embedded: Callable[..., Manifest], clustered: Callable[..., np.ndarray], tmp_path: Path
) -> None:
    vectors = clustered(300, 16, 0)
    embedded(tmp_path / "e", vectors)
    told = subset(tmp_path / "e", "similarity >= 0.28 AND width < 200", tmp_path / "uids.npy")
    rows = rows_of(tmp_path / "e")
    chosen = [row for row in rows if not row["reasons"] and float(str(row["similarity"])) >= 0.28
              and int(str(row["width"])) < 200]  # fmt: skip
    assert {row[0]: row[1] for row in told.rows}["subset"] == len(chosen)
    uids = np.load(tmp_path / "uids.npy")
    assert uids.dtype == np.dtype("u8,u8")
    assert [f"{high:016x}{low:016x}" for high, low in uids.tolist()] == sorted(str(row["uid"]) for row in chosen)
    widths = [int(str(row["width"])) for row in chosen]
    assert next(row for row in told.rows if row[0] == "width")[2:] == pytest.approx(
        (np.mean(widths), *np.quantile(widths, [0.05, 0.5, 0.95]))
    )
    subset(tmp_path / "e", "width < 200", tmp_path / "rows.parquet")
    assert len(pq.read_table(tmp_path / "rows.parquet")) == 180
    subset(tmp_path / "e", "width >= 100 AND width < 200", tmp_path / "part")
    assert build_index(tmp_path / "part", tmp_path / "i").model["digest"] == "numbers"
    with open_index(tmp_path / "i") as index:  # the vectors went with their rows
        assert search_pairs(index, vectors[120], k=1)[0].row["width"] == 120
        assert len(search_pairs(index, vectors[120], k=1000)) == 90
    with pytest.raises(SurefootError, match="is left by --where"):
        subset(tmp_path / "e", "width > 1000", tmp_path / "none.npy")
    with pytest.raises(SurefootError, match="--where"):
        subset(tmp_path / "e", "width IN (FROM read_csv('/etc/passwd'))", tmp_path / "none.npy")
    with pytest.raises(SurefootError, match="--where"):  # it would bring back the rows that a rule dropped
        subset(tmp_path / "e", "false) OR (true", tmp_path / "none.npy")


def test_a_subset_is_a_shard_that_models_are_trained_on(
    folder: Path, tmp_path: Path, colour_model: PairEncoder
) -> None:
    """The pictures of the chosen rows alone, byte by byte, each with its text."""
    embed_pairs(folder, tmp_path / "e", colour_model, template="{} paint", rows=4)
    with pytest.raises(SurefootError, match="--pictures"):  # a folder of the user is not told by the stage
        subset(tmp_path / "e", "width >= 9", tmp_path / "some.tar")
    assert not (tmp_path / "some.tar").exists()
    subset(tmp_path / "e", "width >= 9 AND text <> 'red paint'", tmp_path / "some.tar", pictures=folder)
    found = [(one.captions, one.read()) for one in captioned_pictures(tmp_path / "some.tar", None)]
    assert found == [((f"{colour} paint",), (folder / colour / f"{number}.png").read_bytes())
                     for colour in ("blue", "green") for number in (1, 2)]  # fmt: skip


def test_a_similarity_that_is_no_number_passes_no_threshold(tmp_path: Path) -> None:
    values = [float("nan"), 0.28, np.nextafter(np.float32(0.28), np.float32(0)), 0.3, None]
    table = pyarrow.table({"url": [f"u{n}" for n in range(5)], "text": ["t"] * 5, 'a "tag"': [0.5, None, 1.5, 2, 3],
                           "similarity": pyarrow.array(values, pyarrow.float32())})  # fmt: skip
    pq.write_table(table, tmp_path / "a.parquet")
    pairs_from_tables([tmp_path / "a.parquet"], tmp_path / "pairs")
    told = subset(tmp_path / "pairs", "similarity >= 0.28", tmp_path / "rows.parquet")
    assert pq.read_table(tmp_path / "rows.parquet")["url"].to_pylist() == ["u1", "u3"]
    assert next(row for row in told.rows if row[0] == "similarity")[2] == pytest.approx(0.29)
    every = {row[0]: row[1:3] for row in subset(tmp_path / "pairs", "true").rows}  # n: those that the mean is of
    assert every["similarity"] == (3, pytest.approx(0.86 / 3)) and every['a "tag"'] == (4, 1.75)


def test_queries_mix_texts_and_pictures_and_keep_away(
    folder: Path, tmp_path: Path, colour_model: PairEncoder, png: Png
) -> None:
    embed_pairs(folder, tmp_path / "e", colour_model)
    build_index(tmp_path / "e", tmp_path / "i", root=folder)
    (tmp_path / "query.png").write_bytes(png("blue", seed=9))

    def first(count: int, **parts: object) -> set[str]:
        with open_index(tmp_path / "i") as index:
            found = search_pairs(index, query_vector(colour_model, **parts), k=count)  # pyright: ignore[reportArgumentType]
        return {str(one.row["picture"]).partition("/")[0] for one in found}

    assert first(3, texts=["red"]) == {"red"}
    assert first(3, images=[tmp_path / "query.png"]) == {"blue"}
    assert first(6, texts=["red"], images=[tmp_path / "query.png"]) == {"red", "blue"}
    assert first(6, texts=["white"], without=["green"]) == {"red", "blue"}
    for parts in ({}, {"without": ["red"]}):
        with pytest.raises(SurefootError, match="nothing to look for"):
            query_vector(colour_model, **parts)
    for wrong in (tmp_path / "none.png", folder / "red" / "broken.png"):
        with pytest.raises(SurefootError, match="picture"):
            query_vector(colour_model, images=[wrong])


def test_a_folder_is_indexed_and_searched_from_the_command_line(
    folder: Path, surefoot: Callable[..., Any], colour_model: PairEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("surefoot.cli._pairs._search.conse_encoder", lambda: colour_model)
    ended = surefoot("pairs", "index", folder, "--out", "i", "--template", "{}", "--format", "json")
    assert (ended.code, json.loads(ended.out)[0]["value"]) == (0, 9), ended.err
    assert "1 of 10 rows are left out: picture_refused" in ended.err
    ended = surefoot("pairs", "search", "i", "red", "-k", "3", "--where", "width > 8", "--format", "json")
    found = json.loads(ended.out)
    assert [row["rank"] for row in found] == [1, 2, 3]
    assert {Path(row["picture"]) for row in found[:2]} == {folder.resolve() / "red" / f"{n}.png" for n in (1, 2)}
    assert surefoot("pairs", "search", "i", "red", "-k", "99").err.strip() == "There are 9 results, not 99."
    (folder / "blue" / "new.png").write_bytes((folder / "blue" / "1.png").read_bytes())
    assert "10" in surefoot("pairs", "index", folder, "--out", "i", "--template", "{}").out
    ended = surefoot("pairs", "search", "i", "red", "--where", "width > (SELECT 1)")
    assert (ended.code, "one condition" in ended.err) == (2, True)
    assert surefoot("pairs", "search", "nowhere", "red").code == 2
    assert surefoot("pairs", "search", "i").code == 2
    assert surefoot("pairs", "embed", folder, "--out", "e", "--rows", "0").code == 2
    ended = surefoot("pairs", "embed", folder, "--out", "e", "--model", "conse", "--pretrained", "x.pt")
    assert (ended.code, "has its own weights" in ended.err) == (2, True)
    assert surefoot("pairs", "embed", folder, "--out", "e", "--pretrained", "x.pt").code == 2
    assert surefoot("pairs", "embed", folder, "--out", "e").code == 0
    ended = surefoot("pairs", "subset", "e", "--where", "similarity IS NOT NULL", "--out", "uids.npy")
    assert (ended.code, "subset\t3" in ended.out) == (0, True)


@pytest.mark.slow
@pytest.mark.skipif(not PHOTOS.is_file(), reason="SUREFOOT_DATA holds no photos")
def test_the_model_of_packages_finds_real_photographs(tmp_path: Path) -> None:
    names: Counter[str] = Counter()
    with tarfile.open(PHOTOS) as archive:
        for member in archive:
            name = Path(member.name).parent.name
            if member.isfile() and name in ("ship", "frog", "horse", "truck") and names[name] < 20:
                names[name] += 1
                (tmp_path / "photos" / name).mkdir(parents=True, exist_ok=True)
                stream = archive.extractfile(member)
                assert stream is not None
                (tmp_path / "photos" / name / Path(member.name).name).write_bytes(stream.read())
    encoder = conse_encoder()
    embed_pairs(tmp_path / "photos", tmp_path / "e", encoder)
    build_index(tmp_path / "e", tmp_path / "i")
    right = {}
    with open_index(tmp_path / "i") as index:
        for name in names:
            found = search_pairs(index, query_vector(encoder, texts=[name]), k=10)
            right[name] = sum(str(one.row["picture"]).startswith(name) for one in found)
    assert right["ship"] >= 6  # by chance 2.5
    assert sum(right.values()) >= 28


def test_a_picture_in_a_shard_that_is_too_large_is_refused_and_not_read(
    tmp_path: Path, png: Png, tarball: Shard, colour_model: PairEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("surefoot.contrastive._pictures._captioned.MAX_FILE_BYTES", 1000)
    tarball(tmp_path / "00000.tar", {"000.png": png("red", (4, 4)), "001.png": png("blue") + bytes(1000)})
    told = embed_pairs(tmp_path, tmp_path / "out", colour_model)
    assert dict(told.reasons) == {"picture_refused": 1}
    assert str(rows_of(tmp_path / "out")[1]["picture_error"]).startswith("it has 1,")


@dataclass(frozen=True, kw_only=True)
class SmallModel(Step):
    seed: int = 0

    def make(self, out: Path, inputs: Inputs) -> list[Measurement]:
        import torch

        torch.manual_seed(self.seed)
        tower = {"image_size": 32, "layers": 1, "width": 32, "patch_size": 8, "head_width": 16}
        text = {"context_length": 16, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1}
        config = {"embed_dim": 16, "vision_cfg": tower, "text_cfg": text}
        told = ModelDescription(
            name="small", config=config, pixels=Pixels(size=32), vocabulary=None, parameters=0, gmacs_per_sample=0,
            samples=0,
        )  # fmt: skip
        save_model(build(config), told, out)
        return []


def test_a_gathered_set_knows_its_pictures_and_its_model(
    folder: Path, tmp_path: Path, surefoot: Callable[..., Any]
) -> None:
    store = Store(tmp_path / "store")
    for seed in (0, 1):  # the set is made anew with another model
        index = Index(embedded=Embed(path=str(folder), model=SmallModel(seed=seed)).pinned())
        with ThreadPoolExecutor(1) as pool:
            assert not [event for event in run([index], store, pool) if event.kind == "failed"]
        places = gather_set([index], store, tmp_path / "set")
    assert places.index and places.model and places.pictures
    assert places.model.resolve() == store.path(SmallModel(seed=1)).resolve()
    assert places_of(places.index).pictures == places.pictures and places.pictures.resolve() == folder.resolve()
    ended = surefoot("pairs", "search", places.index, "red", "-k", "1", "--format", "json")
    assert ended.code == 0, ended.err
    assert Path(json.loads(ended.out)[0]["picture"]).is_file()
