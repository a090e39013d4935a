"""An engineer's own pictures: folders, tables of classes, WebDataset shards; hostile and broken files are listed."""

import gzip
import io
import json
import re
import struct
import tarfile
import zlib
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from surefoot.contrastive import ImageFolder, load_images
from surefoot.contrastive._pictures._listing import list_pictures
from surefoot.contrastive._pictures._photos import read_stored
from surefoot.core import Step, Store, StoredInputs, SurefootError, whole_members

Made = Callable[[Step], Path]


def image_folder(path: Path, classes: Path | None = None, size: int | None = None) -> ImageFolder:
    return ImageFolder(path=str(path), classes=str(classes) if classes else None, size=size).pinned()


def rows(directory: Path, name: str) -> list[Any]:
    return json.loads((directory / f"{name}.json").read_text(encoding="utf-8"))


def encoded(picture: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    stream = io.BytesIO()
    picture.save(stream, format=kind, **options)
    return stream.getvalue()


def plain(colour: str, size: tuple[int, int] = (20, 10)) -> bytes:
    return encoded(Image.new("RGB", size, colour))


def photo(seed: int, size: tuple[int, int] = (160, 120)) -> Image.Image:
    noise = np.random.default_rng(seed).integers(0, 256, (12, 16, 3), np.uint8)
    return Image.fromarray(noise).resize(size, Image.Resampling.BICUBIC)


@pytest.fixture
def pets(tmp_path: Path) -> Path:
    """Two classes of two pictures, and files that are none."""
    folder = tmp_path / "pets"
    files = {
        "hot_dog/b.png": plain("red"),
        "hot_dog/a.jpg": encoded(photo(1), "JPEG"),
        "cat/deep/er/c.webp": encoded(photo(2), "WEBP"),
        "cat/d.PNG": plain("blue", (8, 30)),
        "cat/notes.txt": b"not a picture",
        "cat/.hidden.png": plain("green"),
    }
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return folder


def shard(path: Path, members: list[tuple[str, bytes]]) -> Path:
    with tarfile.open(path, "w") as archive:
        for name, content in members:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path


def test_a_folder_has_a_class_each_subfolder(pets: Path, made: Made, store: Store) -> None:
    step = image_folder(pets)
    out = made(step)
    assert rows(out, "ids") == ["cat/d.PNG", "cat/deep/er/c.webp", "hot_dog/a.jpg", "hot_dog/b.png"]
    assert np.load(out / "labels.npy").tolist() == [0, 0, 1, 1]
    assert rows(out, "classes") == ["cat", "hot dog"]
    assert rows(out, "class_keys") == ["cat", "hot_dog"]
    assert rows(out, "items")[3] == {"name": "hot_dog/b.png", "label": "hot_dog"}
    assert not (out / "images.npy").exists()
    assert len(load_images(out)) == 4
    images = load_images(out)
    assert [image.size for image in images] == [(8, 30), (160, 120), (160, 120), (20, 10)]
    assert {image.mode for image in images} == {"RGB"}
    assert load_images(out, [3])[0].getpixel((0, 0)) == (255, 0, 0)
    counts = {"examples": 4, "classes": 2, "refused": 0, "unread": 1}
    assert {m.metric: m.value for m in store.measurements(step)} == counts


def test_with_a_size_the_pictures_are_an_array_of_centred_squares(pets: Path, made: Made) -> None:
    left = Image.new("RGB", (30, 10), "red")
    left.paste("blue", (10, 0, 20, 10))
    (pets / "cat" / "e.png").write_bytes(encoded(left))
    out = made(image_folder(pets, size=10))
    images = np.load(out / "images.npy")
    assert images.shape == (5, 10, 10, 3)
    assert (images[rows(out, "ids").index("cat/e.png")] == [0, 0, 255]).all()
    assert load_images(out, [0])[0].size == (10, 10)


def test_a_small_array_of_large_photos_is_close_to_the_photos(tmp_path: Path, made: Made) -> None:
    (tmp_path / "a").mkdir()
    large = photo(5, (1600, 1600))
    large.save(tmp_path / "a" / "large.jpg", quality=95)
    images = np.load(made(image_folder(tmp_path, size=64)) / "images.npy")
    expected = np.asarray(large.resize((64, 64), Image.Resampling.BICUBIC), dtype=float)
    assert np.abs(images[0] - expected).mean() < 3


def test_changed_pictures_are_another_step(pets: Path, store: Store, tmp_path: Path) -> None:
    before = image_folder(pets)
    assert image_folder(pets) == before
    (pets / "cat" / "d.PNG").write_bytes(plain("white"))
    changed = image_folder(pets)
    assert changed.key != before.key
    (pets / "cat" / "d.PNG").rename(pets / "hot_dog" / "d.PNG")
    assert image_folder(pets).key not in (before.key, changed.key)
    with pytest.raises(SurefootError, match="have changed since"):
        before.make(tmp_path, StoredInputs(store))


@pytest.mark.parametrize("separator", ["\t", ","])
def test_a_table_gives_words_to_folders_and_classes_to_files(
    separator: str, pets: Path, tmp_path: Path, made: Made
) -> None:
    lines = ["name class", "hot_dog sausage", "cat kitten", "cat/d.PNG lion", "unused zebra"]
    table = tmp_path / "classes.txt"
    table.write_text("\ufeff" + "\n".join(line.replace(" ", separator) for line in lines), encoding="utf-8")
    out = made(image_folder(pets, table))
    assert rows(out, "classes") == ["sausage", "kitten", "lion", "zebra"]
    assert np.load(out / "labels.npy").tolist() == [2, 1, 0, 0]


def test_pictures_without_a_class_are_named(pets: Path, tmp_path: Path, store: Store) -> None:
    (pets / "loose.png").write_bytes(plain("red"))
    with pytest.raises(SurefootError, match=r"loose\.png has no class\. Put pictures in a subfolder"):
        image_folder(pets).make(tmp_path, StoredInputs(store))
    table = tmp_path / "classes.tsv"
    table.write_text("cat\tcat\nloose.png\tdog\n")
    with pytest.raises(SurefootError, match=r"no row for hot_dog/a\.jpg \(class 'hot_dog'\)"):
        image_folder(pets, table).make(tmp_path, StoredInputs(store))
    for name in ("owl", "pig", "elk"):
        (pets / name).mkdir()
        (pets / name / "a.png").write_bytes(plain("red"))
    for text, first in (("cat\tcat\nloose.png\tdog\n", "elk/a.png (class 'elk')"), ("cat\nhot_dog\n", "")):
        table.write_text(text)
        (pets / "loose.png").unlink(missing_ok=not first)
        with pytest.raises(
            SurefootError, match=rf"no row for {re.escape(first)}.* and \d others, of \d labels: .*'pig'"
        ):
            image_folder(pets, table).make(tmp_path, StoredInputs(store))


@pytest.mark.parametrize("text", ["", "a\tb\nc\td\te\n", "a\tb\nalone\n"])
def test_a_table_with_a_wrong_row_is_refused_with_its_line(text: str, pets: Path, tmp_path: Path, store: Store) -> None:
    table = tmp_path / "classes.tsv"
    table.write_text(text)
    with pytest.raises(SurefootError, match=r"classes\.tsv:( line 2:)? every row must be NAME<tab>CLASS"):
        image_folder(pets, table).make(tmp_path, StoredInputs(store))


def test_a_webdataset_shard_is_read_where_it_lies(tmp_path: Path, made: Made) -> None:
    members = [
        ("s/000.png", plain("red")),
        ("s/000.cls", b"10\n"),
        ("s/001.cls", b"2"),
        ("s/001.jpg", encoded(photo(3), "JPEG")),
        ("s/001.json", b'{"cls": "two"}'),
        ("s/002.json", b'{"width": 3, "label": 2}'),
        ("s/002.png", plain("blue")),
        ("s/003.txt", b"no picture"),
        ("../../evil.png", plain("white")),
        ("../../evil.txt", b"10"),
    ]
    path = shard(tmp_path / "train-0.tar", members)
    out = made(image_folder(path))
    assert rows(out, "ids") == ["train-0/s/000", "train-0/s/001", "train-0/s/002", "train-0/../../evil"]
    assert rows(out, "classes") == ["2", "10"]
    assert np.load(out / "labels.npy").tolist() == [1, 0, 0, 1]
    images = load_images(out, [2, 0])
    assert [image.getpixel((0, 0)) for image in images] == [(0, 0, 255), (255, 0, 0)]
    assert not list(tmp_path.parent.glob("evil*"))


def test_a_folder_of_shards_with_a_list_of_class_names(tmp_path: Path, made: Made) -> None:
    folder = tmp_path / "shards"
    folder.mkdir()
    for number, colour in enumerate(("red", "blue")):
        shard(folder / f"{number}.tar", [("x.png", plain(colour)), ("x.cls", str(number).encode())])
    names = tmp_path / "names.txt"
    names.write_text("tench\ngoldfish\nshark\n")
    out = made(image_folder(folder, names))
    assert rows(out, "classes") == ["tench", "goldfish", "shark"]
    assert rows(out, "ids") == ["0/x", "1/x"]
    assert np.load(out / "labels.npy").tolist() == [0, 1]


def test_links_in_a_shard_are_not_followed(tmp_path: Path) -> None:
    secret = tmp_path / "secret.png"
    secret.write_bytes(plain("red"))
    path = tmp_path / "a.tar"
    with tarfile.open(path, "w") as archive:
        link = tarfile.TarInfo("x.png")
        link.type, link.linkname = tarfile.SYMTYPE, str(secret)
        archive.addfile(link)
    with pytest.raises(SurefootError, match=r"a\.tar holds no pictures"):
        image_folder(path)


def test_of_equal_files_that_tar_keeps_once_each_is_read(tmp_path: Path) -> None:
    (tmp_path / "s").mkdir()
    for number, colour in enumerate(("red", "blue")):
        (tmp_path / "s" / f"{number}.png").write_bytes(plain(colour))
    (tmp_path / "s" / "0.cls").write_text("7")
    (tmp_path / "s" / "1.cls").hardlink_to(tmp_path / "s" / "0.cls")
    (tmp_path / "s" / "2.png").hardlink_to(tmp_path / "s" / "0.png")
    (tmp_path / "s" / "3.png").symlink_to(tmp_path / "s" / "0.png")
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        for path in sorted((tmp_path / "s").iterdir()):
            archive.add(path, path.name)
        assert [member.islnk() for member in archive] == [False, False, True, False, True, False]
    found = list_pictures(tmp_path / "a.tar")
    assert [(one.name, one.label) for one in found.pictures] == [("a/0", "7"), ("a/1", "7"), ("a/2", "")]
    assert read_stored(found.pictures[2].stored) == plain("red")
    assert found.unread == ("a.tar/3.png (a link)",)


@pytest.mark.parametrize("content", [b"not a tar file" * 99, b""])
def test_what_is_no_shard_is_said(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    path.write_bytes(content)
    with pytest.raises(SurefootError, match=r"a\.tar (is not a readable \.tar file|holds no pictures)"):
        image_folder(path)


@pytest.mark.parametrize("ending", [".tar", ".tar.gz"])
@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda whole: whole[:1024] + bytes(512) + whole[1536:], "cannot be read from byte 1,024 on: it is damaged"),
        (lambda whole: whole[:1100] + b"x" + whole[1101:], "cannot be read from byte 1,024 on: it is damaged"),
        (lambda whole: whole[:1500], "cannot be read from byte 1,024 on: it is damaged"),
        (lambda whole: whole + whole, "several archives were put one behind the other"),
        (lambda whole: whole[:1024], "has no mark of its end: it was cut short"),
    ],
)
def test_a_shard_that_ends_before_its_end_is_refused(
    damage: Callable[[bytes], bytes], message: str, ending: str, tmp_path: Path
) -> None:
    """To Python's reader it ends there, with the pictures before: accuracy was told of those alone."""
    whole = shard(tmp_path / "whole.tar", [(f"{number}.png", plain("red")) for number in range(3)]).read_bytes()
    path = tmp_path / f"a{ending}"
    for content, said in ((whole, ""), (damage(whole), message)):
        path.write_bytes(gzip.compress(content) if ending == ".tar.gz" else content)
        with ExitStack() as stack:
            if said:
                stack.enter_context(pytest.raises(SurefootError, match=said))
            with tarfile.open(path) as archive:
                assert len([*whole_members(archive)]) == 3
    if ending == ".tar":
        with pytest.raises(SurefootError, match=message):
            image_folder(path)


def png_of_size(width: int, height: int) -> bytes:
    """A PNG whose header promises more pixels than anyone should decode."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = b"".join(
        struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
        for kind, content in ((b"IHDR", header), (b"IDAT", zlib.compress(bytes(1 << 20))), (b"IEND", b""))
    )
    return b"\x89PNG\r\n\x1a\n" + chunks


BROKEN = {
    "truncated.jpg": (encoded(photo(4), "JPEG")[:900], "cannot be decoded"),
    "words.png": (b"I am no picture", "not a picture in a format that is read"),
    "empty.png": (b"", "not a picture"),
    "bomb.png": (png_of_size(50_000, 50_000), "DecompressionBomb"),
    "large.png": (png_of_size(12_000, 7_000), "12000 x 7000 pixels"),
    "script.png": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "not a picture"),
}


@pytest.mark.parametrize("name", BROKEN)
@pytest.mark.parametrize("size", [None, 16])
def test_a_picture_that_cannot_be_decoded_is_listed_with_its_reason(
    name: str, size: int | None, pets: Path, made: Made
) -> None:
    content, reason = BROKEN[name]
    (pets / "cat" / name).write_bytes(content)
    out = made(image_folder(pets, size=size))
    assert len(rows(out, "ids")) == len(load_images(out)) == len(np.load(out / "labels.npy")) == 4
    assert [row["name"] for row in rows(out, "refused")] == [f"cat/{name}"]
    assert reason in rows(out, "refused")[0]["reason"]


def test_when_nothing_can_be_decoded_it_is_an_error(tmp_path: Path, store: Store) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "x.png").write_bytes(b"words")
    with pytest.raises(SurefootError, match=r"No picture in .* can be decoded\. The first: it is not a picture"):
        image_folder(tmp_path).make(tmp_path, StoredInputs(store))


def test_photos_are_turned_upright_and_lie_on_white(tmp_path: Path, made: Made) -> None:
    (tmp_path / "a").mkdir()
    picture = Image.new("RGB", (40, 20), "red")
    turned = Image.Exif()
    turned[0x0112] = 6
    picture.save(tmp_path / "a" / "1.jpg", exif=turned)
    Image.new("RGBA", (9, 9), (0, 0, 0, 0)).save(tmp_path / "a" / "2.png")
    Image.new("CMYK", (9, 9)).save(tmp_path / "a" / "3.jpg")
    Image.new("L", (9, 9), 7).save(tmp_path / "a" / "4.png")
    palette = Image.new("P", (9, 9), 0)
    palette.save(tmp_path / "a" / "5.gif", transparency=0)
    upright, clear, ink, grey, see_through = load_images(made(image_folder(tmp_path)))
    assert upright.size == (20, 40)
    assert clear.getpixel((4, 4)) == (255, 255, 255)
    assert ink.mode == grey.mode == "RGB"
    assert grey.getpixel((4, 4)) == (7, 7, 7)
    assert see_through.getpixel((4, 4)) == (255, 255, 255)


def test_files_that_were_moved_or_changed_are_named(pets: Path, made: Made) -> None:
    (pets / "cat" / "own.png").write_bytes(plain("purple"))  # contents that no other test has, for a key of its own
    out = made(image_folder(pets))
    (pets / "cat" / "d.PNG").write_bytes(b"short")
    with pytest.raises(SurefootError, match=r"d\.PNG is shorter than it was"):
        load_images(out, [0])
    (pets / "cat" / "d.PNG").unlink()
    with pytest.raises(SurefootError, match=r"d\.PNG cannot be read .* was it moved"):
        load_images(out, [0])


def test_places_without_pictures_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SurefootError, match=r"none does not exist"):
        image_folder(tmp_path / "none")
    with pytest.raises(SurefootError, match="holds no pictures"):
        image_folder(tmp_path)
    (tmp_path / "a.png").write_bytes(plain("red"))
    with pytest.raises(SurefootError, match=r"table of classes .* does not exist"):
        image_folder(tmp_path, tmp_path / "none.tsv")
    with pytest.raises(SurefootError, match="size is 2"):
        image_folder(tmp_path, size=2)
    with pytest.raises(SurefootError, match=r"neither images\.npy nor files\.json"):
        load_images(tmp_path)


def test_the_digest_is_part_of_the_identity() -> None:
    first, second = (ImageFolder(path="x", digest=digest) for digest in ("a", "b"))
    assert first.key != second.key


def test_a_member_that_stands_twice_in_a_shard_is_refused(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "t.tar", "w") as archive:
        for colour, label in (("red", b"0"), ("blue", b"1")):
            for name, content in (("0.png", plain(colour)), ("0.cls", label)):
                member = tarfile.TarInfo(name)
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))
    with pytest.raises(SurefootError, match=r"'0.png' stands there twice"):
        image_folder(tmp_path / "t.tar")


def test_a_class_that_is_a_link_to_a_folder_is_read_and_a_link_that_leads_back_is_not(
    pets: Path, tmp_path: Path, made: Made
) -> None:
    linked = tmp_path / "linked"
    linked.mkdir()
    for folder in pets.iterdir():
        (linked / folder.name).symlink_to(folder)
    (pets / "cat" / "back").symlink_to(pets)
    before = rows(made(image_folder(pets)), "items")
    assert [row["name"] for row in before] == ["cat/d.PNG", "cat/deep/er/c.webp", "hot_dog/a.jpg", "hot_dog/b.png"]
    assert rows(made(image_folder(linked)), "items") == before
    (pets / "owl").symlink_to(tmp_path / "gone")
    assert list_pictures(pets).unread == ("cat/notes.txt", "owl")
    (pets / "cat" / "e.png").symlink_to(tmp_path / "gone.png")
    with pytest.raises(SurefootError, match=r"There is no picture .*/cat/e\.png \(a link that leads nowhere: copy"):
        list_pictures(pets)
