"""ImageFolder: an engineer's own labelled pictures, in the shape of a classification set."""

from collections.abc import Iterable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar, Self

import numpy as np

from surefoot.contrastive._pictures._classes import Labels, label, read_class_file
from surefoot.contrastive._pictures._directory import ImageAppender, Item, write_classes, write_files, write_items
from surefoot.contrastive._pictures._listing import Labelled, Listing, content_digest, list_pictures
from surefoot.contrastive._pictures._photos import RefusedPictureError, check_side, decode, read_stored, square
from surefoot.core import Inputs, Measurement, Step, SurefootError, check_pinned, report_progress, unkeyed

_CHECK_SIZE = 32


@dataclass(frozen=True, kw_only=True)
class ImageFolder(Step):
    """Labelled pictures of the user, known by their contents: `ImageFolder(path="pets").pinned()`.

    `path` is a folder with a subfolder a class, a WebDataset shard (.tar of pictures with .cls, .json or .txt, or in
    folders by class), or a folder of shards. `classes` is a file of rows NAME<tab>CLASS, where a name is a picture, a
    subfolder or a label, or of one class name a line (see `read_class_file`); it fixes the order of the classes. With
    `size` the pictures are cut to centred squares and kept in `images.npy` (N, size, size, 3); without, `files.json`
    says where each lies and `load_images` decodes them when they are used. Other files as in `ClassificationSet`, and
    `refused.json`: `{name, label, reason}` of every picture that cannot be decoded. Measures `examples`, `classes`,
    `refused` and `unread` (files that by their names are no pictures). Raises `SurefootError` when the files have
    changed since the digest was taken, and where it is unclear which class a picture has. `pictures` is, in place of a
    path, a Step that leaves such a folder or shards.
    """

    path: str = unkeyed("")
    digest: str = ""
    classes: str | None = unkeyed(None)
    size: int | None = None
    pictures: Step | None = None
    version: ClassVar[int] = 2  # TIFFs of 12 and 16 bits by their own scale
    requires: ClassVar[tuple[str, ...]] = ("PIL",)

    def pinned(self) -> Self:
        """With whole paths and the digest of the files as they are now. Raises `SurefootError` without pictures."""
        folder, table = Path(self.path).resolve(), Path(self.classes).resolve() if self.classes else None
        if self.size is not None:
            check_side(self.size)
        check_class_file(table)
        list_pictures(folder)
        digest = content_digest(folder, table)
        return replace(self, path=str(folder), digest=digest, classes=str(table) if table else None)

    def make(self, out: Path, inputs: Inputs) -> Iterable[Measurement]:
        """List, decode each picture once, label, and keep."""
        path = inputs[self.pictures] if self.pictures else Path(self.path)
        listing, labels = read_labelled(path, Path(self.classes) if self.classes else None)
        if self.pictures is None:
            check_pinned(self)
        rows, refused = _decode_all(listing.pictures, labels, self, out)
        if not (kept := [listing.pictures[row] for row in rows]):
            raise SurefootError(f"No picture in {path} can be decoded. The first: {refused[0]['reason']}.")
        write_classes(out, [item.name for item in kept], [labels.keys[row] for row in rows], labels.names)
        items = [{"name": item.name, "label": labels.keys[row]} for item, row in zip(kept, rows, strict=True)]
        write_items(out, items, [], refused)
        counts = {"examples": len(kept), "classes": len(labels.names), "refused": len(refused)}
        counts["unread"] = len(listing.unread)
        return [Measurement(metric=name, value=count, n=len(listing.pictures)) for name, count in counts.items()]


def read_labelled(path: Path, classes: Path | None) -> tuple[Listing, Labels]:
    """The pictures of a folder or of shards, and their classes."""
    check_class_file(classes)
    listing = list_pictures(path)
    return listing, label(listing.pictures, read_class_file(classes) if classes else None, path)


def check_class_file(path: Path | None) -> None:
    if path and not path.is_file():
        raise SurefootError(f"The table of classes {path} does not exist.")


def _decode_all(
    pictures: Sequence[Labelled], labels: Labels, step: ImageFolder, out: Path
) -> tuple[list[int], list[Item]]:
    images = ImageAppender(out, step.size) if step.size else None
    rows: list[int] = []
    refused: list[Item] = []
    with images or nullcontext():
        for row, item in enumerate(pictures):
            if row % 64 == 0:
                report_progress(out, row, len(pictures))
            try:
                picture = decode(read_stored(item.stored), at_least=2 * step.size if step.size else _CHECK_SIZE)
            except RefusedPictureError as error:
                refused.append({"name": item.name, "label": labels.keys[row], "reason": str(error)})
                continue
            if images is not None and step.size:
                images.append(np.asarray(square(picture, step.size)))
            rows.append(row)
    if images is None:
        write_files(out, [pictures[row].stored for row in rows])
    return rows, refused
