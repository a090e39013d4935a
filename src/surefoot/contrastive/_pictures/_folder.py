"""ImageFolder: an engineer's own labelled pictures, in the shape of a classification set."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Self

from surefoot.contrastive._drawn._drawings import IMAGES, ITEMS, LARGEST, SMALLEST
from surefoot.contrastive._pictures._listing import (
    ClassTable,
    Labelled,
    content_digest,
    list_pictures,
    read_classes,
    too_large,
)
from surefoot.contrastive._pictures._photos import RefusedPictureError, decode, read_stored, square
from surefoot.core import Inputs, Measurement, Step, SurefootError, check_pinned, report_progress, unkeyed
from surefoot.registry import CREDIT, write_json

if TYPE_CHECKING:
    from PIL import Image

_CHECK_SIZE = 32


@dataclass(frozen=True, kw_only=True)
class ImageFolder(Step):
    """Labelled pictures of the user, known by their contents: `ImageFolder(path="pets").pinned()`.

    `path` is a folder with a subfolder a class, a WebDataset shard (.tar of pictures with .cls, .json or .txt), or a
    folder of shards. `classes` is a TSV or CSV file of NAME and CLASS, where a name is a picture, a subfolder or a
    class number, or a file of one class name a line; it fixes the order of the classes. With `size` the pictures are
    cut to centred squares and kept in `images.npy` (N, size, size, 3); without, `files.json` says where each lies
    (`{file, offset, size}`) and `load_images` decodes them when they are used. Other files: `labels.npy` (N,) int64,
    `classes.json`, `class_keys.json`, `ids.json` (names), `items.json` (`{name, label}`), `credit.json` (empty),
    `refused.json` (`{name, reason}` of every picture that cannot be decoded). Measures `examples`, `classes` and
    `refused`. Raises `SurefootError` when the files have changed since the digest was taken.
    """

    path: str = unkeyed("")
    digest: str = ""
    classes: str | None = unkeyed(None)
    size: int | None = None
    requires: ClassVar[tuple[str, ...]] = ("PIL",)

    def pinned(self) -> Self:
        """With whole paths and the digest of the files as they are now. Raises `SurefootError` without pictures."""
        folder, table = Path(self.path).resolve(), Path(self.classes).resolve() if self.classes else None
        if self.size is not None and not SMALLEST <= self.size <= LARGEST:
            raise SurefootError(f"size is {self.size}: pictures can be {SMALLEST} to {LARGEST} pixels wide.")
        if table and not table.is_file():
            raise SurefootError(f"The table of classes {table} does not exist.")
        list_pictures(folder)
        digest = content_digest(folder, table)
        return replace(self, path=str(folder), digest=digest, classes=str(table) if table else None)

    def make(self, out: Path, inputs: Inputs) -> Iterable[Measurement]:
        """List, decode each picture once, label, and keep."""
        path, classes = Path(self.path), Path(self.classes) if self.classes else None
        pictures = list_pictures(path)
        check_pinned(self)
        table = read_classes(classes) if classes else None
        labels = [_class_key(item, table, path) for item in pictures]
        rows, refused = _decode_all(pictures, self, out)
        kept = [pictures[row] for row in rows]
        if not kept:
            raise SurefootError(f"No picture in {path} can be decoded. The first: {refused[0]['reason']}.")
        names = _class_names(labels, table)
        _write(out, kept, [labels[row] for row in rows], names)
        write_json(out / "refused.json", refused)
        counts = {"examples": len(kept), "classes": len(names), "refused": len(refused)}
        return [Measurement(metric=name, value=count, n=len(pictures)) for name, count in counts.items()]


def _class_key(item: Labelled, table: ClassTable | None, path: Path) -> str:
    """The class of a picture: what the table says of it, of its folder or number, or else the folder itself."""
    if table is None:
        if not item.label:
            raise SurefootError(
                f"{path}: {item.name} has no class. Put pictures in a subfolder a class, or give a table of classes."
            )
        return item.label
    for key in (item.name, item.label):
        if key in table.of:
            return table.of[key]
    raise SurefootError(f"{path}: the table of classes has no row for {item.name} (class '{item.label}').")


def _class_names(labels: list[str], table: ClassTable | None) -> list[str]:
    """The classes in the table's order, else in the order of their names; numbers in that of numbers."""
    if table:
        return list(table.names)
    return sorted(set(labels), key=lambda name: (not name.isdigit(), int(name) if name.isdigit() else 0, name))


def _decode_all(pictures: list[Labelled], step: ImageFolder, out: Path) -> tuple[list[int], list[dict[str, str]]]:
    """The rows that can be decoded, and why the others cannot; with a size, write the array of pictures as well."""
    import numpy as np

    shape = (len(pictures), step.size or 0, step.size or 0, 3)
    images = np.lib.format.open_memmap(out / IMAGES, "w+", np.uint8, shape) if step.size else None
    rows: list[int] = []
    refused: list[dict[str, str]] = []
    for row, item in enumerate(pictures):
        if row % 64 == 0:
            report_progress(out, row, len(pictures))
        try:
            picture = _decode(item, step.size)
        except RefusedPictureError as error:
            refused.append({"name": item.name, "reason": str(error)})
            continue
        if images is not None and step.size:
            images[len(rows)] = np.asarray(square(picture, step.size))
        rows.append(row)
    if images is not None:
        images.flush()
        if refused:  # the header says how many there are
            np.save(out / f"kept.{IMAGES}", images[: len(rows)])
            (out / f"kept.{IMAGES}").replace(out / IMAGES)
    else:
        write_json(out / "files.json", [asdict(pictures[row].stored) for row in rows])
    return rows, refused


def _decode(item: Labelled, size: int | None) -> "Image.Image":
    if too_large(item):
        raise RefusedPictureError(f"it has {item.stored.size:,} bytes")
    return decode(read_stored(item.stored), at_least=2 * size if size else _CHECK_SIZE)


def _write(out: Path, kept: list[Labelled], labels: list[str], names: list[str]) -> None:
    import numpy as np

    number = {name: index for index, name in enumerate(names)}
    np.save(out / "labels.npy", np.array([number[label] for label in labels], np.int64))
    write_json(out / "classes.json", [name.replace("_", " ") for name in names])
    write_json(out / "class_keys.json", names)
    write_json(out / "ids.json", [item.name for item in kept])
    write_json(out / ITEMS, [{"name": item.name, "label": label} for item, label in zip(kept, labels, strict=True)])
    write_json(out / CREDIT, [])
