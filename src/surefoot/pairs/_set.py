"""A set: a folder of the outputs of stages, from candidates to index, as `pairs run` leaves them."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from surefoot.core import SurefootError
from surefoot.pairs._search._index import INDEX
from surefoot.pairs._stages._manifest import Manifest, read_manifest
from surefoot.pairs._stages._tables import pairs_directory

_ORDER = ("read", "extract", "deduplicate", "download", "embed", "tag", "subset")


@dataclass(frozen=True, kw_only=True)
class SetPlaces:
    """The stages of a set with their manifests, in the order of the way; its index; its pictures and model."""

    stages: tuple[tuple[Path, Manifest], ...]
    index: Path | None
    pictures: Path | None
    model: Path | None


def places_of(path: Path) -> SetPlaces:
    """What a set holds: `path` is the folder of a stage, an index, or a folder of such. Raises for one of none."""
    inner = [path, *(sorted(one for one in path.iterdir() if one.is_dir()) if path.is_dir() else [])]
    stages = [(one, read_manifest(one)) for one in inner if pairs_directory(one)]
    placed = in_order(stages)
    index = next((one for one in inner if (one / INDEX).is_file()), None)
    if not (placed or index):
        raise SurefootError(f"{path} holds no output of a stage and no index: 'surefoot pairs run' makes a set.")
    pictures = [one for one, manifest in placed if manifest.stage == "download"]
    linked = [(path.parent if path == index else path) / name for name in ("pictures", "model")]
    pictures = [linked[0]] if linked[0].is_symlink() or (path / "pictures").is_dir() else pictures
    model = linked[1] if linked[1].is_symlink() else None
    return SetPlaces(stages=tuple(placed), index=index, pictures=pictures[-1] if pictures else None, model=model)


def in_order(stages: Sequence[tuple[Path, Manifest]]) -> list[tuple[Path, Manifest]]:
    """Stages in the order of the way: by their kinds, and one that comes twice behind what it was made of."""
    stages = sorted(stages, key=lambda one: _ORDER.index(one[1].stage) if one[1].stage in _ORDER else len(_ORDER))
    placed = list[tuple[Path, Manifest]]()
    while stages:
        ready = (one for one in stages if not any(made_of(one[1], other) for _, other in stages))
        placed.append(next(ready, stages[0]))
        stages.remove(placed[-1])
    return placed


def made_of(one: Manifest, other: Manifest) -> bool:
    """Whether a part of the other stage went into this one."""
    digests = {told[start : start + 64] for told in one.inputs.values() for start in (0, 64)}  # embed joins two
    return one is not other and any(part.sha256 in digests for part in other.parts)


def ways_of(stages: Sequence[tuple[Path, Manifest]]) -> list[list[int]]:
    """The places of the stages, way by way: of an archive and all that was made of it.

    A stage of nothing that is there, as after a download was asked again, follows the way that ends in an earlier kind.
    """
    ways = list[list[int]]()
    for at, (_, one) in enumerate(stages):
        linked = [way for way in ways if any(made_of(one, stages[other][1]) for other in way)]
        if not linked and one.stage not in _ORDER[:2]:
            linked = [way for way in ways if stages[way[-1]][1].stage != one.stage][-1:]
        ways = [*(way for way in ways if way not in linked), [*(other for way in linked for other in way), at]]
    return ways


def ends_of(stages: Sequence[tuple[Path, Manifest]]) -> list[tuple[Path, Manifest]]:
    """The last stage, and those of its kind in which other ways end: together they have the rows of a set."""
    ends = [stages[way[-1]] for way in ways_of(stages)]
    return [one for one in ends if one[1].stage == stages[-1][1].stage]


def pictures_of_stage(stage: Path) -> Path | None:
    """Where the pictures of a stage lie: in the download beside it that it was made of, or where its set leads to."""
    around = list[tuple[Path, Manifest]]()
    for one in sorted(stage.resolve().parent.iterdir()):
        with suppress(SurefootError):  # of a neighbour that is of no use
            around += [(one, read_manifest(one))] if pairs_directory(one) else []

    def back(folder: Path, manifest: Manifest) -> Path | None:
        ways = (back(*one) for one in around if one[0] != folder and made_of(manifest, one[1]))
        return folder if manifest.stage == "download" else next(filter(None, ways), None)

    link = stage.resolve().parent / "pictures"
    return back(stage.resolve(), read_manifest(stage)) or (link.resolve() if link.is_symlink() else None)
