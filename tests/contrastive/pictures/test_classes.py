"""Which class a picture has, and what of a picture is read: nothing is misread or left out without a word."""

import io
import json
import struct
import tarfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, features

from surefoot.contrastive import ImageFolder, captioned_pictures
from surefoot.contrastive._pictures._classes import Labels, read_class_file
from surefoot.contrastive._pictures._folder import read_labelled
from surefoot.contrastive._pictures._listing import list_pictures
from surefoot.contrastive._pictures._photos import RefusedPictureError, decode
from surefoot.core import Step, SurefootError

Made = Callable[[Step], Path]


def rows(directory: Path, name: str) -> list[Any]:
    return json.loads((directory / f"{name}.json").read_text(encoding="utf-8"))


def saved(picture: Image.Image, form: str, **options: Any) -> bytes:
    stream = io.BytesIO()
    picture.save(stream, form, **options)
    return stream.getvalue()


def plain(colour: str) -> bytes:
    return saved(Image.new("RGB", (20, 10), colour), "PNG")


def shard(path: Path, members: list[tuple[str, bytes]]) -> Path:
    with tarfile.open(path, "w") as archive:
        for name, content in members:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path


def labelled(folder: Path, folders: Sequence[str], lines: str, name: str = "classes.txt") -> Labels:
    """A picture in each folder, and a file of classes."""
    for one in folders:
        (folder / one).mkdir(parents=True, exist_ok=True)
        (folder / one / "x.png").write_bytes(plain("red"))
    table = folder.parent / name
    table.write_text(lines, encoding="utf-8")
    return read_labelled(folder, table)[1]


@pytest.mark.parametrize(
    ("folders", "lines", "expected"),
    [
        ("1 2 3 4", "1 2 3 4", "1 2 3 4"),  # by name, not by the number of the line
        ("0 1 2", "cat dog owl", "cat dog owl"),
        ("000 001 002", "cat dog owl", "cat dog owl"),
        ("0 1 2 10", "0 1 2 3 4 5 6 7 8 9 10", "0 1 10 2"),
        ("hot_dog cat", "cat hot~dog", "cat hot~dog"),
    ],
)
def test_a_folder_whose_name_is_a_class_name_has_that_class(
    folders: str, lines: str, expected: str, tmp_path: Path
) -> None:
    written = lines.replace(" ", "\n").replace("~", " ")
    found = labelled(tmp_path / "x", folders.split(), written)
    assert [found.names[key] for key in found.keys] == [one.replace("~", " ") for one in expected.split()]


def test_a_label_of_a_shard_that_is_a_name_and_a_number_stops(tmp_path: Path) -> None:
    (tmp_path / "names.txt").write_text("1\n2\n3\n")
    with pytest.raises(SurefootError, match="label 1 of a/x is '1' by name and '2' by the number of the line"):
        read_labelled(shard(tmp_path / "a.tar", [("x.png", plain("red")), ("x.cls", b"1")]), tmp_path / "names.txt")


@pytest.mark.parametrize(
    ("folders", "lines", "message"),
    [
        (
            "0 1 2",
            "2\n1\n0\n",
            "label 0 of 0/x.png is '0' by name and '2' by the number of the line, from 0. Say which",
        ),
        ("1 2 3", "1\n2\n3\n4\n", "label 1 of 1/x.png is '1' by name and '2' by the number of the line"),
        ("0 cat", "dog\ncat\n", r"no row for 0/x\.png .*not the name of a class, as the others are"),
        ("0 5", "dog\ncat\n", r"no row for 5/x\.png .*not a line from 0 to 1"),
        ("cat", "cat, house cat\ndog\n", r"Several names of a class are written 'a \| b'; 'cat, house cat' is one"),
        ("cat", "dog\n\ncat\n", "line 2 is empty"),
        ("crane", "crane\nowl\ncrane\n", r"'crane' is the name of 2 classes \(crane \[line 1\], crane \[line 3\]\)"),
        ("0 1", "class\ncat\ndog\n", "line 1, 'class', would be the first class: take the heading out"),
        ("cat dog", "# of 2024\ncat\ndog\n", "line 1, '# of 2024', would be the first class"),
        ("01 1", "dog\ncat\n", "the labels 01 and 1 are both line 1: rename one"),
        ("0 00 1", "dog\ncat\n", "the labels 0 and 00 are both line 0"),
        ("cat", "cat|\n", r"line 1: 'cat\|' has a bar without a name beside it"),
        ("a", "a\tcat || dog\n", "line 1: .* a bar without a name beside it"),
        ("cat", "cat\tlion\ncat\tpuma\n", "'cat' is 'lion' in line 1 and 'puma' in line 2"),
        ("a b", "a\tcrane\nb\tcrane\na/x.png\tcrane\n", "name of 2 folders, so that it is unclear"),
    ],
)
def test_where_readings_of_a_class_disagree_it_says_so_and_stops(
    folders: str, lines: str, message: str, tmp_path: Path
) -> None:
    with pytest.raises(SurefootError, match=message):
        labelled(tmp_path / "x", folders.split(), lines)


def test_a_folder_without_a_picture_is_said_to_be_no_class(tmp_path: Path) -> None:
    for name in ("bird", ".hidden", "cafe\u0301"):
        (tmp_path / "x" / name).mkdir(parents=True)
    labelled(tmp_path / "x", ["cat", "dog", "caf\u00e9"], "cat\ndog\ncaf\u00e9\n")
    found = read_labelled(tmp_path / "x", None)[1]
    assert found.notes == ("Folders without a picture are no classes: bird.",)


def test_numbers_that_could_count_from_1_are_said(tmp_path: Path) -> None:
    found = labelled(tmp_path / "x", ["2", "1"], "cat\ndog\nbird\n")
    assert [found.names[key] for key in found.keys] == ["dog", "bird"]
    said = "The labels are numbers of lines from 0: '1' is 'dog', and counted from 1 it would be 'cat'."
    assert any(note.startswith(said) for note in found.notes)
    assert labelled(tmp_path / "y", ["0", "2"], "cat\ndog\nbird\n").notes[0].startswith("1 classes have no picture")
    assert labelled(tmp_path / "z", ["class", "dog"], "class\ndog\n").keys == ("class", "dog")  # it has pictures


def test_a_comma_is_part_of_a_name_and_a_bar_parts_several_names(tmp_path: Path) -> None:
    found = labelled(tmp_path / "x", ["0", "1"], "cat, house cat\ndog, hound\n")
    assert list(found.names.values()) == ["cat, house cat", "dog, hound"]
    assert (
        "2 names are read whole; several names of a class are written 'a | b': cat, house cat, dog, hound."
        in found.notes
    )
    found = labelled(tmp_path / "y", ["house_cat", "dog"], "cat | house cat\ndog\n")
    assert [found.names[key] for key in found.keys] == ["dog", "cat | house cat"]
    found = labelled(tmp_path / "tight", ["house_cat", "dog"], "cat|house cat\ndog |hound\n")
    assert [found.names[key] for key in found.keys] == ["dog | hound", "cat | house cat"]
    found = labelled(tmp_path / "rows", ["a", "b"], "a\tcat|house cat\nb\tdog\n", "rows.tsv")
    assert [found.names[key] for key in found.keys] == ["cat | house cat", "dog"]
    found = labelled(tmp_path / "z", ["cat", "dog"], 'cat,"cat, house cat"\ndog,dog\n', "classes.csv")
    assert [found.names[key] for key in found.keys] == ["cat, house cat", "dog"]
    found = labelled(tmp_path / "h", ["cat"], "folder,label\ncat,lion\n")
    assert list(found.names.values()) == ["lion"]


def test_two_classes_of_one_name_are_kept_apart_and_said(tmp_path: Path, made: Made) -> None:
    found = labelled(tmp_path / "x", ["n1", "n2", "n3"], "n1\tcrane\nn2\towl\nn3\tcrane\n", "classes.tsv")
    assert len(set(found.keys)) == 3
    assert "1 names are those of several classes, which are kept apart: crane." in found.notes
    out = made(ImageFolder(path=str(tmp_path / "x"), classes=str(tmp_path / "classes.tsv")).pinned())
    assert rows(out, "classes") == ["crane", "owl", "crane"]
    assert np.load(out / "labels.npy").tolist() == [0, 1, 2]


def test_two_folders_that_are_one_class_or_of_one_name_are_said(tmp_path: Path) -> None:
    found = labelled(tmp_path / "x", ["cat", "house_cat", "dog"], "cat | house cat\ndog\n")
    assert "The folders cat and house_cat are one class." in found.notes
    assert len(set(found.keys)) == 2
    for one in ("hot_dog", "hot dog"):
        (tmp_path / "y" / one).mkdir(parents=True)
        (tmp_path / "y" / one / "x.png").write_bytes(plain("red"))
    alone = read_labelled(tmp_path / "y", None)[1]
    assert "1 names are those of several classes, which are kept apart: hot dog." in alone.notes


def test_a_name_in_two_unicode_forms_is_one_class_and_said(tmp_path: Path) -> None:
    composed, apart = "Z\u00fcrich", "Zu\u0308rich"
    for place, (folder, listed) in enumerate(((composed, apart), (apart, composed), (apart, apart))):
        for content, name in ((f"{listed}\nBern\n", "names.txt"), (f"{listed}\tone\nBern\ttwo\n", "rows.tsv")):
            found = labelled(tmp_path / f"{place}{name}", ["Bern", folder], content, name)
            assert [found.names[key] for key in found.keys] in (["Bern", composed], ["two", "one"])
    both = labelled(tmp_path / "both", [composed, apart, "Bern"], f"{apart}\nBern\n")
    assert len(set(both.keys)) == 2
    assert f"1 labels stand in two Unicode forms, and are one class each: {composed}." in both.notes


def test_samples_with_dots_in_their_names_are_read(tmp_path: Path) -> None:
    members = [
        ("a.v1.png", plain("red")), ("a.v1.cls", b"x"), ("a.v2.png", plain("red")), ("a.v2.cls", b"y"),
        ("b.png", plain("red")), ("b.mask.png", plain("blue")), ("b.cls", b"x"), ("c/d.1.png", plain("red")),
        ("e.png", plain("red")), ("e.cls", b"x"), ("readme", b""),
    ]  # fmt: skip
    found = list_pictures(shard(tmp_path / "s.tar", members))
    assert [(item.name, item.label) for item in found.pictures] == [
        ("s/a.v1", "x"),
        ("s/a.v2", "y"),
        ("s/b", "x"),
        ("s/c/d.1", "c"),
        ("s/e", "x"),
    ]
    assert found.unread == ("s.tar/b.mask.png", "s.tar/readme")
    assert "2 files (" in found.unread_said
    with pytest.raises(SurefootError, match="Two samples are called s/a"):
        list_pictures(shard(tmp_path / "s.tar", [("a.png", b""), ("b.png", b""), ("a.png", b"")]))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("0: cat\n1: dog\n", "every line begins with a number or a synset, as '0: cat'"),
        ("n02084071 dog, domestic dog\nn02121808 cat\n", "every line begins with a number or a synset"),
        ("cat\t0.png\ndog\tsub/1.JPG\n", "line 1 has the picture where the class belongs"),
        ("label,filename\ncat,0.png\n", "line 2 has the picture where"),
    ],
)
def test_files_of_another_layout_are_no_classes(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "c.csv").write_text(text) if "filename" in text else (tmp_path / "c.txt").write_text(text)
    with pytest.raises(SurefootError, match=said):
        read_class_file(next(tmp_path.glob("c.*")))


def test_lines_of_which_some_begin_with_a_number_are_names(tmp_path: Path) -> None:
    (tmp_path / "c.txt").write_text("4 wheel drive\nbicycle\n")
    assert [name for _, _, name in read_class_file(tmp_path / "c.txt").rows] == ["4 wheel drive", "bicycle"]


@pytest.mark.parametrize(
    ("cls", "row", "label"),
    [(b"cat", {"label": "dog"}, None), (b"3", {"cls": 4}, None), (b"3", {"label": "dog"}, "3"), (b"cat", {}, "cat"),
     (b"cat", {"caption": "a dog"}, "cat"), (b"cat", {"label": "cat"}, "cat"), (b"cat", {"label": 7}, "cat")],
)  # fmt: skip
def test_two_labels_of_one_sample_that_disagree_are_refused(
    tmp_path: Path, cls: bytes, row: dict[str, Any], label: str | None
) -> None:
    place = shard(tmp_path / "s.tar", [("0.png", b""), ("0.cls", cls), ("0.json", json.dumps(row).encode())])
    if label:
        assert list_pictures(place).pictures[0].label == label
    else:
        with pytest.raises(SurefootError, match=r"its class is '(cat|3)' in \.cls, and '(dog|4)' in \.json"):
            list_pictures(place)


@pytest.mark.parametrize("second", ["e.jpg", "e.PNG", "e.heic"])
def test_two_pictures_of_one_sample_are_refused(tmp_path: Path, second: str) -> None:
    members = [("e.png", plain("red")), ("e.cls", b"x"), (second, plain("blue"))]
    place = shard(tmp_path / "s.tar", members)
    for read in (list_pictures, lambda path: list(captioned_pictures(path, "a {}"))):
        with pytest.raises(SurefootError, match=f"one sample has the pictures e.png and {second}: which of them"):
            read(place)


def test_labels_that_are_numbers_are_said_and_those_below_zero_are_none(tmp_path: Path) -> None:
    def labels(*numbers: str, classes: Path | None = None) -> Labels:
        members = [
            (f"{at}.{end}", data)
            for at, one in enumerate(numbers)
            for end, data in (("png", plain("red")), ("cls", one.encode()))
        ]
        return read_labelled(shard(tmp_path / "numbers.tar", members), classes)[1]

    assert labels("0.0", "1.0").notes == ("The classes are called by their numbers: 0.0, 1.0.",)
    with pytest.raises(SurefootError, match=r"numbers/0 \(class '-1'\) has a label below 0, which stands for none"):
        labels("-1", "0", "1")
    (tmp_path / "classes.tsv").write_text("-1\tbackground\n0\tcat\n")
    assert labels("-1", "0", classes=tmp_path / "classes.tsv").keys == ("background", "cat")


def test_a_label_without_a_picture_is_not_left_out_in_silence(tmp_path: Path) -> None:
    members = [("a/0.png", plain("red")), ("a/0.cls", b"1"), ("a/4.cls", b"1"), ("a/5.json", b"{}"), ("a/5.txt", b"x")]
    found = list_pictures(shard(tmp_path / "s.tar", members))
    assert found.unread == ("s.tar/a/4.cls", "s.tar/a/5.json", "s.tar/a/5.txt")
    assert found.unread_said == (
        "Not read, since by their names, or as links, they are no pictures: "
        "3 files (.cls 1, .json 1, .txt 1), such as s.tar/a/4.cls."
    )


def test_what_is_not_read_is_named_and_splits_are_no_classes(tmp_path: Path, made: Made) -> None:
    pets = tmp_path / "pets"
    (pets / "cat").mkdir(parents=True)
    (pets / "cat" / "a.png").write_bytes(plain("red"))
    (pets / "cat" / "x.heic").write_bytes(b"....ftypheic")
    (pets / "cat" / "noted.md").write_text("words")
    assert {"cat/noted.md"} <= set(list_pictures(pets).unread)
    assert [row["name"] for row in rows(made(ImageFolder(path=str(pets)).pinned()), "refused")] == ["cat/x.heic"]
    for split in ("train", "test"):
        (tmp_path / "all" / split / "cat").mkdir(parents=True)
        (tmp_path / "all" / split / "cat" / "x.png").write_bytes(plain("red"))
    with pytest.raises(SurefootError, match=r"holds splits \(test, train\) and not classes: name one, .*all/test"):
        list_pictures(tmp_path / "all")
    (tmp_path / "all" / "train").rename(tmp_path / "train")
    with pytest.raises(SurefootError, match=r"holds splits \(test\) and not classes: name one, .*all/test"):
        list_pictures(tmp_path / "all")


def test_sixteen_bits_keep_their_grey_and_unknown_kinds_are_refused() -> None:
    grey = np.array([[0, 1 << 14, 1 << 15, (1 << 16) - 1]], np.uint16)
    for form in ("PNG", "TIFF"):
        read = np.asarray(decode(saved(Image.fromarray(grey), form)))
        assert read[0, :, 0].tolist() == [0, 64, 128, 255]
    for kind in (np.float32, np.int32):
        with pytest.raises(RefusedPictureError, match="no known place in RGB"):
            decode(saved(Image.fromarray(np.ones((4, 4), kind)), "TIFF"))


def tiff(grey: NDArray[np.uint16], bits: int, photometric: int) -> bytes:
    """A TIFF by hand: Pillow writes neither 12 bits nor grey of which 0 is white."""
    if bits == 12:
        pairs = grey.reshape(-1, 2).tolist()
        data = b"".join(bytes([one >> 4, (one & 15) << 4 | other >> 8, other & 255]) for one, other in pairs)
    else:
        data = grey.astype("<u2").tobytes()
    height, width = grey.shape
    short = {256: width, 257: height, 258: bits, 259: 1, 262: photometric, 277: 1, 278: height}
    tags = sorted([*((tag, 3, value) for tag, value in short.items()), (273, 4, 8), (279, 4, len(data))])
    listed = b"".join(struct.pack("<HHII", tag, kind, 1, value) for tag, kind, value in tags)
    return struct.pack("<2sHI", b"II", 42, 8 + len(data)) + data + struct.pack("<H", len(tags)) + listed + bytes(4)


def test_grey_of_twelve_bits_and_grey_of_which_zero_is_white_are_read_as_they_are_meant() -> None:
    levels = np.array([[0, 64, 128, 255]], np.uint16)
    for bits, white, told in ((12, 1, levels), (16, 1, levels), (16, 0, 255 - levels)):
        read = np.asarray(decode(tiff(levels << (bits - 8), bits, white)))
        assert read[0, :, 0].tolist() == told[0].tolist()


def test_avif_the_first_of_several_frames_and_two_pictures_in_one_file_are_read() -> None:
    red, blue = Image.new("RGB", (40, 30), "red"), Image.new("RGB", (40, 30), "blue")
    if features.check("avif"):
        assert decode(saved(red, "AVIF")).size == (40, 30)
    for form in ("GIF", "PNG", "WEBP", "TIFF", "MPO"):
        several = saved(red, form, save_all=True, append_images=[blue])
        pixel = decode(several).getpixel((20, 15))
        assert isinstance(pixel, tuple)
        assert pixel[0] > 200, form
