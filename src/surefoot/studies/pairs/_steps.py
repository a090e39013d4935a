"""Candidates as a crawl would give them, with the truth known, what is kept of them, and a model of each choice."""

import io
import tarfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property, partial
from glob import escape
from pathlib import Path
from typing import Any, Self

import numpy as np

from surefoot.contrastive import (
    CaptionedPictures,
    Drawings,
    ImageFolder,
    PictureFeatures,
    Pretrain,
    Retrieval,
    captioned_pictures,
    load_images,
    png_of,
)  # fmt: skip
from surefoot.core import Inputs, Measurement, Step, SurefootError, check_pinned, digest_of, in_memory, unkeyed
from surefoot.pairs import Embed, subset
from surefoot.registry import read_json
from surefoot.stats import shuffled

THINGS = {
    "airplane": ("airplane plane jet", "2708 1F6E9 1F6EB 1F6EC"), "truck": ("truck lorry", "1F69A 1F69B 1F6FB 1F692"),
    "automobile": ("automobile car sedan", "1F697 1F698 1F699"), "ship": ("ship boat vessel", "1F6A2 26F5 1F6F3 26F4"),
    "bird": ("bird songbird", "1F426 1F985 1F986 1F54A"), "cat": ("cat kitten", "1F408 1F431 1F408-200D-2B1B"),
    "deer": ("deer stag fawn", "1F98C"), "dog": ("dog puppy", "1F415 1F436 1F429 1F9AE"),
    "frog": ("frog toad", "1F438"), "horse": ("horse pony mare", "1F40E 1F434"),
}  # fmt: skip
"""The classes of CIFAR-10: what texts call them, and the emoji that show them."""

RIGHT, OTHER, BOILERPLATE, PARTLY = KINDS = ("right", "of another thing", "boilerplate", "true in part")
"""What texts are: of the wrong ones three, two and one sixth."""

PHOTOS, DRAWINGS = "photographs", "drawings (shift)"
RANDOM, TRUE, ALL = "as many at random", "as many right ones", 1.0
"""What is trained on beside the most similar share of the candidates, which is named by that number."""

Choice = str | float
_VEHICLES = ("airplane", "automobile", "ship", "truck")
_TEMPLATES = ("{}", "a photo of a {}", "my {}", "picture of a {}", "the {} we saw last summer", "{} seen from the side")
_BOILERPLATE = ("image", "photo gallery", "click to enlarge", "IMG_0231", "free shipping on all orders",
                "loading, please wait", "company logo", "share on facebook", "read more", "our newsletter")  # fmt: skip


def write_shard(out: Path, samples: Iterable[tuple[str, Mapping[str, bytes]]]) -> None:
    """A WebDataset shard: of each sample the base of its names, and its contents by suffix."""
    with tarfile.open(out / "0.tar", "w") as archive:
        for base, suffix, data in ((base, *one) for base, contents in samples for one in contents.items()):
            member = tarfile.TarInfo(f"{base}{suffix}")
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))


def scored(directory: Path, columns: str, files: str = "part-*.parquet") -> list[tuple[Any, ...]]:
    """These columns of all pairs of a stage, the most similar first. Raises where there are none yet."""
    if not any(directory.glob(files)):
        raise SurefootError(f"The pairs of {directory} were not embedded yet.")
    with in_memory() as connection:
        rows = connection.read_parquet(f"{escape(str(directory))}/{files}")
        return rows.order("similarity DESC, uid").project(columns).fetchall()


@dataclass(frozen=True, kw_only=True)
class Photographs(Step):
    """`count` photographs of CIFAR-10 with a text and a class each in a shard; the share `right` of texts is right.

    `path` is a folder or archive with a folder a class; parts (`part`) of one count share no photograph. Other texts
    are those of another thing, boilerplate, or say "animal"; `kind` in the Parquet file beside the shard says which.
    """

    path: str = unkeyed("")
    digest: str = ""
    count: int
    right: float = 1.0
    part: int = 0

    def pinned(self) -> Self:
        """With the digest of the photographs as they are now."""
        return replace(self, digest=digest_of(Path(self.path)))

    def make(self, out: Path, inputs: Inputs) -> list[Measurement]:
        """Draw photographs, give them texts, write."""
        import pyarrow.parquet

        check_pinned(self)
        known = {one.name: one for one in captioned_pictures(Path(self.path), "{}")}
        drawn = shuffled(known, 0)[self.part * self.count : (self.part + 1) * self.count]
        if len(drawn) < self.count or {one.captions[0] for one in known.values()} != THINGS.keys():
            asked = f"{self.count:,} photographs a part, in folders named {', '.join(THINGS)}"
            raise SurefootError(f"{self.path} holds {len(known):,} photographs, and must hold {asked}.")
        generator = np.random.default_rng([self.part, self.count])
        ends = np.cumsum([self.right, *((1 - self.right) * part / 6 for part in (3, 2, 1))]) * self.count
        kinds = generator.permutation(np.repeat(KINDS, np.diff(ends.round().astype(int), prepend=0))).tolist()
        things = [known[name].captions[0] for name in drawn]
        texts = [_text(thing, kind, generator) for thing, kind in zip(things, kinds, strict=True)]
        keys = [f"{row:06d}" for row in range(self.count)]
        pyarrow.parquet.write_table(pyarrow.table({"key": keys, "kind": kinds, "text": texts}), out / "0.parquet")
        said = zip(keys, drawn, texts, things, strict=True)
        write_shard(out, ((key, {".jpg": known[name].read(), ".txt": text.encode(), ".cls": thing.encode()})
                          for key, name, text, thing in said))  # fmt: skip
        return [Measurement(metric="pictures", value=self.count, n=len(known))]


def _text(thing: str, kind: str, generator: np.random.Generator) -> str:
    if kind == BOILERPLATE:
        return str(generator.choice(_BOILERPLATE))
    said = str(generator.choice([name for name in THINGS if name != thing])) if kind == OTHER else thing
    words = ["vehicle" if thing in _VEHICLES else "animal"] if kind == PARTLY else THINGS[said][0].split()
    return str(generator.choice(_TEMPLATES)).format(generator.choice(words))


@dataclass(frozen=True, kw_only=True)
class DrawnThings(Step):
    """The drawings of the same things in all these styles, in a shard with a folder a class."""

    drawings: tuple[Drawings, ...]

    def make(self, out: Path, inputs: Inputs) -> list[Measurement]:
        """Choose by code point, write."""
        shown = {code: thing for thing, (_, codes) in THINGS.items() for code in codes.split()}
        samples: dict[str, dict[str, bytes]] = {}
        for one in self.drawings:
            items = enumerate(read_json(inputs[one] / "items.json"))
            rows = {row: code for row, item in items if (code := item["hexcode"]) in shown}
            for code, picture in zip(rows.values(), load_images(inputs[one], rows), strict=True):
                samples[f"{shown[code]}/{one.style}:{code}"] = {".png": png_of(np.asarray(picture))}
        write_shard(out, samples.items())
        return [Measurement(metric="pictures", value=len(samples), n=len(samples))]


@dataclass(frozen=True, kw_only=True)
class KeptPairs(Step):
    """A shard of the candidates that are kept: the `top` share by similarity, or (`right`) those whose text is right.

    `rows.parquet` is what `subset` gives. Measures `pairs` and `threshold`, the similarity of the last of that share.
    """

    candidates: Photographs
    embedded: Embed
    top: float = 1.0
    right: bool = False

    def make(self, out: Path, inputs: Inputs) -> list[Measurement]:
        """Choose by the condition of a subset, and copy."""
        scores = [score for (score,) in scored(inputs[self.embedded], "similarity")]
        threshold = scores[max(1, round(self.top * len(scores))) - 1]
        where = f"kind = '{RIGHT}'" if self.right else f"similarity >= {threshold!r}"
        subset(inputs[self.embedded], where, out / "rows.parquet")
        kept = {f"0/{key}": key for (key,) in scored(out, "key", "rows.parquet")}
        found = (one for one in captioned_pictures(inputs[self.candidates], None) if one.name in kept)
        write_shard(out, ((kept[one.name], {".jpg": one.read(), ".txt": one.captions[0].encode()}) for one in found))
        told = {"pairs": len(kept), "threshold": threshold}
        return [Measurement(metric=name, value=value, n=len(scores)) for name, value in told.items()]


@dataclass(frozen=True, kw_only=True)
class PairsSeed:
    """The models trained on choices of a candidate set, and what they are tested on; the set's part is the seed.

    The first of the `shares` is the filter of the claims; what it is compared with at equal size has as many pairs.
    """

    candidates: Photographs
    shares: tuple[float, ...]
    size: str
    samples: int
    tests: Mapping[str, ImageFolder]
    captioned: Photographs

    @property
    def embedded(self) -> Embed:
        """The similarities of the candidates."""
        return Embed(pairs=self.candidates)

    @cached_property
    def models(self) -> Mapping[Choice, Pretrain]:
        """A model of each choice."""
        kept = partial(KeptPairs, candidates=self.candidates, embedded=self.embedded)
        chosen: dict[Choice, Step] = {share: kept(top=share) for share in self.shares}
        chosen |= {RANDOM: self.candidates, TRUE: kept(right=True), ALL: self.candidates}
        return {choice: self._trained(choice, pairs) for choice, pairs in chosen.items()}

    @cached_property
    def retrieval(self) -> tuple[Retrieval, ...]:
        """Photographs that no other seed has are found by their texts: of the filter, and of as many at random."""
        data = CaptionedPictures(pairs=replace(self.captioned, part=self.candidates.part))
        found = (PictureFeatures(model=self.models[one], data=data) for one in (self.shares[0], RANDOM))
        return tuple(Retrieval(features=one) for one in found)

    def _trained(self, choice: Choice, pairs: Step) -> Pretrain:
        limit = round((self.shares[0] if isinstance(choice, str) else choice) * self.candidates.count)
        seed, rate = self.candidates.part, 3e-3  # slower and longer, models of the pilot learned wrong texts by heart
        data = CaptionedPictures(pairs=pairs, limit=limit, seed=seed)
        return Pretrain(data=data, model=self.size, samples=self.samples, learning_rate=rate, seed=seed)
