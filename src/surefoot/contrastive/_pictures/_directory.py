"""The directory of pictures that a Step leaves: written and read here alone.

- `images.npy` (n, size, size, 3) uint8, or `files.json` (`{file, offset, size}`): where each picture of the user lies;
- `items.json`: what is known of each; `credit.json`: whose they are; `refused.json` (`{name, reason}`): left out;
- of a classification set `labels.npy` (n) int64 into `classes.json` (names) and `class_keys.json`, and `ids.json`, by
  which examples are paired;
- of image-text pairs `captions.json`: n lists of captions.
"""

import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from surefoot.contrastive._pictures._photos import RefusedPictureError, Stored, decode, read_stored
from surefoot.core import SurefootError
from surefoot.registry import CREDIT, read_json, write_json

if TYPE_CHECKING:
    from PIL import Image

Item = dict[str, Any]
Row = tuple[int, int]  # which of the sources, and which of its pictures
_IMAGES, _FILES, _ITEMS, _REFUSED = "images.npy", "files.json", "items.json", "refused.json"
_CAPTIONS = "captions.json"
_LABELS, _CLASSES, _KEYS, _IDS = "labels.npy", "classes.json", "class_keys.json", "ids.json"


@dataclass(frozen=True, kw_only=True)
class Classes:
    """Classes of n examples: `names` and `keys` of the classes, the `ids` of the examples and their `labels` (n)."""

    names: tuple[str, ...]
    keys: tuple[str, ...]
    ids: tuple[str, ...]
    labels: NDArray[np.int64]


def write_items(out: Path, items: Sequence[Item], credit: Sequence[Any], refused: Sequence[Item] | None = None) -> None:
    """Say of each picture what is known, whose they are, and what was refused."""
    write_json(out / _ITEMS, items)
    write_json(out / CREDIT, credit)
    if refused is not None:
        write_json(out / _REFUSED, refused)


def write_classes(out: Path, ids: Sequence[str], keys: Sequence[str], names: Mapping[str, str]) -> None:
    """Label the examples `ids` with the `keys` of their classes (n); `names` has every class in order, by its key."""
    number = {key: index for index, key in enumerate(names)}
    np.save(out / _LABELS, np.array([number[key] for key in keys], np.int64))
    write_json(out / _CLASSES, names.values())
    write_json(out / _KEYS, names)
    write_json(out / _IDS, ids)


def write_images(out: Path, images: NDArray[np.uint8]) -> None:
    np.save(out / _IMAGES, images)


class ImageAppender:
    """Writes an array of pictures one by one, however many there will be. A context manager."""

    def __init__(self, out: Path, size: int) -> None:
        self.count, self._size = 0, size
        self._stream = (out / _IMAGES).open("wb")
        self._write_header()

    def __enter__(self) -> "ImageAppender":
        return self

    def append(self, image: NDArray[np.uint8]) -> None:
        self._stream.write(np.ascontiguousarray(image, np.uint8).tobytes())
        self.count += 1

    def __exit__(self, *_: object) -> None:
        self._stream.seek(0)
        self._write_header()
        self._stream.close()

    def _write_header(self) -> None:
        """The header of the format leaves room for the first axis to grow."""
        shape = (self.count, self._size, self._size, 3)
        np.lib.format.write_array_header_1_0(self._stream, {"descr": "|u1", "fortran_order": False, "shape": shape})


def write_files(out: Path, stored: Iterable[Stored]) -> None:
    write_json(out / _FILES, [asdict(one) for one in stored])


def write_captions(out: Path, captions: Sequence[Sequence[str]]) -> None:
    write_json(out / _CAPTIONS, captions)


def copy_images(sources: Sequence[Path], rows: Sequence[Row], out: Path) -> None:
    """Copy chosen pictures of several directories' arrays into one, in the order of `rows`."""
    arrays = [open_images(source) for source in sources]
    write_images(out, np.stack([arrays[source][index] for source, index in rows]))


def copy_description(source: Path, out: Path) -> None:
    for name in (_ITEMS, CREDIT, _REFUSED, _LABELS, _CLASSES, _KEYS, _IDS, _CAPTIONS):
        if (source / name).exists():
            shutil.copyfile(source / name, out / name)


def read_items(directory: Path) -> list[Item]:
    return read_json(directory / _ITEMS)


def read_credit(directory: Path) -> list[dict[str, str]]:
    """Whose the pictures are, and under which licence."""
    return read_json(directory / CREDIT)


def has_classes(directory: Path) -> bool:
    return (directory / _LABELS).exists()


def read_classes(directory: Path) -> Classes:
    """The classes of a classification set. Raises `SurefootError` for a directory of something else."""
    if not has_classes(directory):
        raise SurefootError(f"{directory} is no classification set: it has no {_LABELS}.")
    names, ids = (tuple(read_json(directory / name)) for name in (_CLASSES, _IDS))
    keys = tuple(read_json(directory / _KEYS)) if (directory / _KEYS).exists() else names
    return Classes(names=names, keys=keys, ids=ids, labels=np.load(directory / _LABELS))


def has_captions(directory: Path) -> bool:
    return (directory / _CAPTIONS).exists()


def read_captions(directory: Path) -> list[list[str]]:
    """The captions in the directory of a Step that gives image-text pairs. Raises `SurefootError` if one is missing."""
    path = directory / _CAPTIONS
    if not has_captions(directory):
        raise SurefootError(f"{directory} has no captions: give a Step of image-text pairs.")
    captions: list[list[str]] = read_json(path)
    empty = next((row for row, texts in enumerate(captions) if not texts), None)
    if empty is not None or not captions:
        where = "there are none" if empty is None else f"picture {empty} has none"
        raise SurefootError(f"Training needs a caption for every picture: in {path} {where}.")
    return captions


def has_array(directory: Path) -> bool:
    """Whether the pictures are kept as an array, and not as a list of files."""
    return (directory / _IMAGES).is_file()


def open_images(directory: Path, mode: Literal["r", "c"] = "r") -> NDArray[np.uint8]:
    """The array of pictures, mapped: read-only or, with "c", copied on write. Raises `SurefootError` without one."""
    if not has_array(directory):
        raise SurefootError(f"{directory} has no {_IMAGES}: give ImageFolder a size, such as that of the model.")
    return np.load(directory / _IMAGES, mmap_mode=mode)


def read_files(directory: Path) -> list[Stored]:
    """Where the pictures of the user lie. Raises `SurefootError` for a directory without."""
    if not (directory / _FILES).exists():
        raise SurefootError(f"{directory} holds no pictures: neither {_IMAGES} nor {_FILES} is there.")
    return [Stored(**row) for row in read_json(directory / _FILES)]


def load_images(directory: Path, indices: Iterable[int] | None = None) -> "list[Image.Image]":
    """Pictures of a made Step of pictures, as RGB Pillow images.

    `indices` are rows, all without. Works for an array of pictures (`images.npy`) and for a list of files
    (`files.json`), which are decoded when they are asked for. Raises `SurefootError` when a file was moved or changed.
    """
    from PIL import Image

    if has_array(directory):
        images = open_images(directory)
        chosen = range(len(images)) if indices is None else indices
        return [Image.fromarray(np.array(images[index])) for index in chosen]
    stored = read_files(directory)
    return [_open(stored[index]) for index in (range(len(stored)) if indices is None else indices)]


def _open(stored: Stored) -> "Image.Image":
    try:
        return decode(read_stored(stored))
    except RefusedPictureError as error:
        raise SurefootError(f"The picture at byte {stored.offset} of {stored.file}: {error}.") from error
