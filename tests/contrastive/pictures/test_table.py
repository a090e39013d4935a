"""Tables of the paths of pictures: their classes and captions are those of the rows."""

import json
import tarfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from PIL import Image
from pyarrow import parquet

from surefoot.contrastive import ImageFolder, captioned_pictures, unpacked
from surefoot.contrastive._pictures._folder import read_labelled
from surefoot.contrastive._pictures._photos import read_stored
from surefoot.core import SurefootError

NAMES = ("sub/0.png", "sub/1.png", "2.png")
FEATURES = {"info": {"features": {"label": {"names": ["cat", "dog"], "_type": "ClassLabel"}}}}


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "sub").mkdir()
    for row, name in enumerate(NAMES):
        Image.new("RGB", (9, 9), (row, 0, 0)).save(tmp_path / name)
    return tmp_path


def table(file: Path, columns: dict[str, Any], metadata: Any = None) -> Path:
    found = pa.table(columns)
    if metadata:
        found = found.replace_schema_metadata({"huggingface": json.dumps(metadata)})
    parquet.write_table(found, file)
    return file


def labelled(path: Path, classes: Path | None = None) -> dict[str, str]:
    listing, labels = read_labelled(path, classes)
    assert all(read_stored(one.stored).startswith(b"\x89PNG") for one in listing.pictures)
    return dict(zip([one.name for one in listing.pictures], labels.keys, strict=True))


@pytest.mark.parametrize("column", ["path", "image", "file_name", "Image_Path"])
def test_a_parquet_file_of_paths_is_read_as_a_table_of_pictures(place: Path, column: str) -> None:
    file = table(place / "t.parquet", {column: NAMES, "label": [1, 0, 1]}, FEATURES)
    with unpacked(file) as given:
        assert given == file
    assert labelled(file) == dict(zip(NAMES, ("dog", "cat", "dog"), strict=True))


def test_a_table_without_classes_has_those_of_its_folders_or_of_a_file(place: Path) -> None:
    (place / "t.csv").write_text("path,caption\nsub/0.png,a\nsub/0.png,b\nsub/1.png,c\n")
    assert labelled(place / "t.csv") == {"sub/0.png": "sub", "sub/1.png": "sub"}
    (place / "classes.tsv").write_text("sub/0.png\tcat\nsub/1.png\tdog\n")
    assert labelled(place / "t.csv", place / "classes.tsv") == {"sub/0.png": "cat", "sub/1.png": "dog"}


def test_captions_in_lists_are_several(place: Path) -> None:
    file = table(place / "t.parquet", {"path": NAMES, "caption": [["a", "b"], ["c"], []]})
    assert [one.captions for one in captioned_pictures(file, None)] == [("a", "b"), ("c",), ()]


def test_what_is_wrong_with_a_table_of_pictures_is_said(place: Path) -> None:
    for columns, said in (
        ({"url": NAMES, "label": [0, 1, 1]}, "needs a column of pictures .* it has url, label"),
        ({"path": ["a.png"], "label": [1]}, r"There is no picture .*a\.png\."),
        ({"path": ["2.png"] * 2, "label": ["x", "y"]}, "the picture 2.png is of the classes x and y"),
        ({"path": ["2.png"], "label": [0.5]}, "the column 'label' is DOUBLE, and a class is"),
        ({"path": NAMES, "label": ["x", None, "x"]}, "row 2 has no label"),
        (
            {"path": NAMES, "label": ["x", "y", "x"], "Class": ["x", "x", "x"]},
            'the columns "label" and "Class" give dif',
        ),
        ({"path": NAMES, "label": [0, 1, 0], "target": [0, 1, 1]}, 'the columns "label" and "target" give different'),
        (
            {"path": NAMES, "label": pa.array([0, 1, 0], pa.int32()), "class": pa.array([0, 1, 1], pa.int64())},
            'the columns "label" and "class" give different',
        ),
    ):
        with pytest.raises(SurefootError, match=said):
            labelled(table(place / "t.parquet", columns))


def test_columns_of_classes_that_agree_or_are_of_two_kinds_are_no_contradiction(place: Path) -> None:
    columns = {"path": NAMES, "label": ["x", "y", "x"], "class": ["x", "y", "x"], "target": [0, 1, 0]}
    assert [*labelled(table(place / "t.parquet", columns)).values()] == ["x", "y", "x"]
    rows = {"image": [(place / name).read_bytes() for name in NAMES], "label": [0, 1, 0], "target": [0, 1, 1]}
    with (
        pytest.raises(SurefootError, match='the columns "label" and "target" give'),
        unpacked(table(place / "p.parquet", rows)),
    ):
        pass


def test_pictures_that_a_table_names_again_are_counted(place: Path) -> None:
    listing, _ = read_labelled(table(place / "t.parquet", {"path": [*NAMES, NAMES[0]], "label": list("xyxx")}), None)
    assert len(listing.pictures) == 3
    assert listing.repeated_said == "1 row names a picture again, which counts once."


def test_classes_that_are_called_by_their_numbers_are_said(place: Path) -> None:
    file = table(place / "t.parquet", {"path": NAMES, "label": [0, 1, 0]})
    assert read_labelled(file, None)[1].notes == ("The classes are called by their numbers: 0, 1.",)
    (place / "classes.txt").write_text("cat\ndog\n")
    assert read_labelled(file, place / "classes.txt")[1].notes == ()


def test_the_digest_is_also_of_the_pictures(place: Path) -> None:
    file = table(place / "t.parquet", {"path": NAMES, "label": ["x", "y", "x"]})
    first = ImageFolder(path=str(file)).pinned()
    assert ImageFolder(path=str(file)).pinned() == first
    Image.new("RGB", (9, 9), "blue").save(place / "2.png")
    assert ImageFolder(path=str(file)).pinned().digest != first.digest


def test_rows_without_bytes_are_read_where_they_name_a_file(place: Path) -> None:
    inside = {"bytes": (place / "2.png").read_bytes(), "path": None}
    file = table(place / "t.parquet", {"image": [inside, {"bytes": None, "path": NAMES[0]}], "label": [0, 1]}, FEATURES)
    with unpacked(file) as found:
        assert found
        assert labelled(found) == {"pictures/000000000": "cat", "pictures/000000001": "dog"}
    lost = table(place / "lost.parquet", {"image": [inside, {"bytes": None, "path": "no.png"}], "label": [0, 1]})
    with (
        pytest.raises(SurefootError, match=r"There is no picture .*no\.png"),
        unpacked(lost),
    ):
        pass


def test_messages_name_the_file_that_was_given(place: Path) -> None:
    file = table(place / "t.parquet", {"image": [b"x", b"y"], "caption": ["a", "b"]})
    with pytest.raises(SurefootError) as caught, unpacked(file) as found:
        read_labelled(found or file, None)
    assert str(caught.value).startswith(f"{file}, sample ")


@pytest.mark.parametrize("suffix", [".parquet", ".tar"])
def test_files_of_several_splits_in_a_folder_are_not_read_as_one_set(place: Path, suffix: str) -> None:
    names = ["train-00000-of-00002", "train-00001-of-00002", "test-00000-of-00001"]
    folder = place / "data"
    folder.mkdir()
    for at, name in enumerate(names):
        if suffix == ".parquet":
            columns = {"image": [(place / "2.png").read_bytes()], "label": [at % 2], "caption": ["a"]}
            table(folder / f"{name}.parquet", columns, FEATURES)
        else:
            with tarfile.open(folder / f"{name}.tar", "w") as archive:
                archive.add(place / "2.png", f"{'xy'[at % 2]}/{at}.png")

    def read() -> list[str]:
        with unpacked(folder) as found:
            assert found
            assert len([*captioned_pictures(found, "{}")]) == len(labelled(found))
            return [*labelled(found).values()]

    with pytest.raises(
        SurefootError, match=rf"{folder} holds the files of several splits \(test, train\): name a file"
    ):
        read()
    if suffix == ".tar":
        with pytest.raises(SurefootError, match=r"several splits \(test, train\)"):
            [*captioned_pictures(folder, "{}")]
    (folder / f"{names[2]}{suffix}").unlink()
    assert read() == (["cat", "dog"] if suffix == ".parquet" else ["x", "y"])
    (folder / f"{names[1]}{suffix}").unlink()
    with pytest.warns(UserWarning, match=rf"{folder} has 1 of the 2 files of train: the others are left out\."):
        assert read() == (["cat"] if suffix == ".parquet" else ["x"])


def test_files_that_number_their_classes_otherwise_are_not_read_as_one_set(place: Path) -> None:
    columns = {"image": [(place / "2.png").read_bytes()] * 2, "label": [0, 1]}
    folder = place / "data"
    folder.mkdir()
    table(folder / "0.parquet", columns, FEATURES)
    turned = {"info": {"features": {"label": {"names": ["dog", "cat"], "_type": "ClassLabel"}}}}
    table(folder / "1.parquet", columns, turned)
    with (
        pytest.raises(
            SurefootError, match=r"0\.parquet and .*1\.parquet give the numbers of their classes other names"
        ),
        unpacked(folder),
    ):
        pass
