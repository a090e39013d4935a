"""CaptionedPictures: image-text pairs of the user to train on."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import ClassVar, Self

import numpy as np

from surefoot.contrastive._pictures._captioned import captioned_pictures, files_read
from surefoot.contrastive._pictures._directory import ImageAppender, Item, write_captions, write_items
from surefoot.contrastive._pictures._photos import RefusedPictureError, check_side, decode, square
from surefoot.core import Inputs, Measurement, Step, SurefootError, check_pinned, digest_of, report_progress, unkeyed
from surefoot.stats import shuffled


@dataclass(frozen=True, kw_only=True)
class CaptionedPictures(Step):
    """Image-text pairs of the user, for `Pretrain` as `TrainingPairs` are: `CaptionedPictures(path="pairs").pinned()`.

    `path` is a folder of pictures with a `.txt` beside each, a table with columns of path and caption, or WebDataset
    shards (`.tar`, also compressed; see `captioned_pictures`). A picture may have several captions,
    one a line; without one it has `template` with its folder's name in place of `{}` ("a photo of a {}"), or is
    refused. Pictures are cut to centred squares of `size` pixels; `limit` of them are taken at random by `seed`, a
    larger limit of one seed holding a smaller one. Files: `images.npy` (N, size, size, 3) uint8, `captions.json`,
    `items.json`, `credit.json` (empty), `refused.json` (`{name, reason}`). Measures `pictures`, `captions`, `refused`.
    Raises `SurefootError` when nothing is left, and when the files have changed since the digest was taken. `pairs` is,
    in place of a path, a Step that leaves such a folder or shards.
    """

    path: str = unkeyed("")
    digest: str = ""
    size: int = 32
    template: str | None = None
    limit: int | None = None
    seed: int = 0
    pairs: Step | None = None
    version: ClassVar[int] = 2  # TIFFs of 12 and 16 bits by their own scale
    requires: ClassVar[tuple[str, ...]] = ("PIL",)

    def pinned(self) -> Self:
        """With the whole path and the digest of the files as they are now. Raises for what cannot be read."""
        path = Path(self.path).resolve()
        check_side(self.size)
        if self.template is not None and "{}" not in self.template:
            raise SurefootError(f"The template '{self.template}' has no {{}} for the name of the folder.")
        if not path.exists():
            raise SurefootError(
                f"{path} does not exist: give a folder of pictures, a table of captions or .tar shards."
            )
        files = files_read(path)
        names = [file.name if file == path else file.relative_to(path.parent).as_posix() for file in files]
        digest = sha256(
            "".join(f"{name}\0{digest_of(file)}\n" for name, file in zip(names, files, strict=True)).encode()
        )
        return replace(self, path=str(path), digest=digest.hexdigest())

    def make(self, out: Path, inputs: Inputs) -> Iterable[Measurement]:
        """Choose, decode each picture once, and keep."""
        if self.pairs is None:
            check_pinned(self)
        path = inputs[self.pairs] if self.pairs else Path(self.path)
        chosen = None if self.limit is None else _chosen(self, path, self.limit)
        captions: list[tuple[str, ...]] = []
        items: list[Item] = []
        refused: list[Item] = []
        with ImageAppender(out, self.size) as images:
            for one in captioned_pictures(path, self.template):
                if chosen is not None and one.name not in chosen:
                    continue
                if len(items) % 64 == 0:
                    report_progress(out, len(items), len(chosen) if chosen else len(items) + 1)
                try:
                    if not one.captions:
                        raise RefusedPictureError("it has no caption")
                    picture = decode(one.read(), at_least=2 * self.size)
                except RefusedPictureError as error:
                    refused.append({"name": one.name, "reason": str(error)})
                    continue
                images.append(np.asarray(square(picture, self.size)))
                captions.append(one.captions)
                items.append({"name": one.name, "label": one.captions[0]})
        if not items:
            why = f" The first: {refused[0]['name']}, {refused[0]['reason']}." if refused else ""
            raise SurefootError(f"{path} holds no pictures with captions.{why}")
        write_captions(out, captions)
        write_items(out, items, [], refused)
        counts = {"pictures": len(items), "captions": sum(map(len, captions)), "refused": len(refused)}
        return [Measurement(metric=name, value=count, n=len(items) + len(refused)) for name, count in counts.items()]


def _chosen(step: CaptionedPictures, path: Path, limit: int) -> frozenset[str]:
    names = [one.name for one in captioned_pictures(path, step.template) if one.captions]
    if limit > len(names):
        raise SurefootError(f"limit is {limit}, but {path} has {len(names)} pictures with captions.")
    return frozenset(shuffled(names, step.seed)[:limit])
