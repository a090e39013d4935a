"""Image-text pairs of users: folders, tables and shards give the same pairs; what is left out is said."""

import gzip
import io
import json
import tarfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from surefoot.contrastive import CaptionedPictures, Pretrain, captioned_pictures, load_model, read_captions
from surefoot.core import Step, Store, SurefootError

Made = Callable[[Step], Path]
COLOURS = ("red", "green", "blue", "white")


def encoded(colour: str) -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (20, 14), colour).save(stream, "PNG")
    return stream.getvalue()


def json_of(place: Path, name: str) -> Any:
    return json.loads((place / f"{name}.json").read_text(encoding="utf-8"))


def folder_of(place: Path) -> Path:
    place.mkdir()
    for colour in COLOURS:
        (place / f"{colour}.png").write_bytes(encoded(colour))
        (place / f"{colour}.txt").write_text(f"{colour} paint\n\nall {colour}\n", encoding="utf-8")
    return place


def table_of(place: Path, suffix: str) -> Path:
    import duckdb

    folder_of(place)
    lines = [(f"{colour}.png", text) for colour in COLOURS for text in (f"{colour} paint", f"all {colour}")]
    path = place / f"pairs{suffix}"
    if suffix == ".parquet":
        values = ", ".join(map(str, lines))
        duckdb.execute(f"COPY (SELECT * FROM (VALUES {values}) AS t(path, caption)) TO '{path}' (FORMAT parquet)")
    else:
        mark = "\t" if suffix == ".tsv" else ","
        path.write_text("\n".join(mark.join(line) for line in [("file_name", "text"), *lines]) + "\n")
    return path


def shard_of(place: Path, suffix: str) -> Path:
    folder_of(place)
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for file in sorted(place.iterdir(), key=lambda file: (COLOURS.index(file.stem), file.suffix)):
            archive.add(file, f"x/{file.name}")
    path = place.parent / f"shard{suffix}"
    path.write_bytes(gzip.compress(stream.getvalue()) if suffix == ".tar.gz" else stream.getvalue())
    return path


SOURCES: dict[str, Callable[[Path], Path]] = {
    "folder": folder_of,
    ".csv": lambda place: table_of(place, ".csv"),
    ".tsv": lambda place: table_of(place, ".tsv"),
    ".parquet": lambda place: table_of(place, ".parquet"),
    ".tar": lambda place: shard_of(place, ".tar"),
    ".tar.gz": lambda place: shard_of(place, ".tar.gz"),
}


@pytest.mark.parametrize("source", SOURCES)
def test_every_source_gives_the_same_pairs(source: str, tmp_path: Path, made: Made, store: Store) -> None:
    step = CaptionedPictures(path=str(SOURCES[source](tmp_path / "pairs")), size=8).pinned()
    out = made(step)
    images = np.load(out / "images.npy", mmap_mode="r")
    assert images.shape == (4, 8, 8, 3)
    found = {texts[0]: (tuple(image[4, 4]), texts[1:]) for image, texts in zip(images, read_captions(out), strict=True)}
    assert found["red paint"] == ((255, 0, 0), ["all red"])
    assert found["blue paint"] == ((0, 0, 255), ["all blue"])
    counts = {one.metric: one.value for one in store.measurements(step)}
    assert counts == {"pictures": 4, "captions": 8, "refused": 0}


def test_members_of_a_shard_belong_together_as_for_classes(tmp_path: Path, made: Made) -> None:
    """Names with dots are split where that makes a sample, and a second picture of one sample is none."""
    members = [("a.v1.png", "red"), ("a.v1.txt", ""), ("b.png", "blue"), ("b.mask.png", "lime"), ("b.txt", "")]
    with tarfile.open(tmp_path / "s.tar", "w") as archive:
        for name, colour in members:
            content = encoded(colour) if colour else f"of {name}".encode()
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    out = made(CaptionedPictures(path=str(tmp_path / "s.tar"), size=8).pinned())
    assert [row["name"] for row in json_of(out, "items")] == ["s/a.v1", "s/b"]
    assert read_captions(out) == [["of a.v1.txt"], ["of b.txt"]]
    assert np.load(out / "images.npy")[1, 4, 4].tolist() == [0, 0, 255]


def test_shards_with_dots_in_their_names_are_kept_apart_and_two_pictures_of_one_name_are_refused(
    tmp_path: Path,
) -> None:
    def shard(name: str, colour: str) -> None:
        with tarfile.open(tmp_path / name, "w") as archive:
            for suffix, content in (("png", encoded(colour)), ("txt", colour.encode())):
                member = tarfile.TarInfo(f"0.{suffix}")
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))

    shard("train.0.tar", "red")
    shard("train.1.tar", "blue")
    found = [(one.name, one.captions) for one in captioned_pictures(tmp_path, None)]
    assert found == [("train.0/0", ("red",)), ("train.1/0", ("blue",))]
    shard("train.1.tgz", "lime")
    with pytest.raises(SurefootError, match=r"two pictures are called train\.1/0: give every one a name of its own"):
        list(captioned_pictures(tmp_path, None))


def test_a_limit_takes_pictures_by_the_seed_and_a_larger_one_holds_a_smaller(tmp_path: Path, made: Made) -> None:
    step = CaptionedPictures(path=str(folder_of(tmp_path / "pairs")), size=8).pinned()
    taken = [{row["name"] for row in json_of(made(replace(step, limit=limit)), "items")} for limit in (1, 2, 3)]
    assert [len(one) for one in taken] == [1, 2, 3]
    assert taken[0] < taken[1] < taken[2]
    with pytest.raises(SurefootError, match=r"limit is 9, but .* has 4 pictures with captions"):
        list(replace(step, limit=9).make(tmp_path, None))  # pyright: ignore[reportArgumentType]


def test_pictures_without_captions_are_refused_by_name_or_take_their_folders_word(tmp_path: Path, made: Made) -> None:
    place = folder_of(tmp_path / "pairs")
    (place / "hot_dog").mkdir()
    (place / "hot_dog" / "a.png").write_bytes(encoded("red"))
    (place / "broken.png").write_bytes(b"words")
    (place / "broken.txt").write_text("broken")
    step = CaptionedPictures(path=str(place), size=8).pinned()
    refused = {row["name"]: row["reason"] for row in json_of(made(step), "refused")}
    assert refused["hot_dog/a.png"] == "it has no caption"
    assert "not a picture" in refused["broken.png"]
    captions = read_captions(made(replace(step, template="a photo of a {}")))
    assert ["a photo of a hot dog"] in captions
    assert ["red paint", "all red"] in captions


def test_what_is_wrong_with_pairs_is_said(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("picture,words\na.png,b\n")
    (tmp_path / "empty").mkdir()
    with pytest.raises(SurefootError, match=r"needs a column of pictures .* it has picture, words"):
        CaptionedPictures(path=str(tmp_path / "t.csv")).pinned()
    with pytest.raises(SurefootError, match="does not exist"):
        CaptionedPictures(path=str(tmp_path / "none")).pinned()
    with pytest.raises(SurefootError, match=r"has no \{\} for the name"):
        CaptionedPictures(path=str(tmp_path), template="a photo").pinned()


def test_a_model_is_trained_on_them(tmp_path: Path, made: Made) -> None:
    data = CaptionedPictures(path=str(folder_of(tmp_path / "pairs")), size=32).pinned()
    place = made(Pretrain(data=data, model="rn-4", samples=8, batch=4))
    assert load_model(place).tokenizer(["all red paint"]).count_nonzero() == 5
