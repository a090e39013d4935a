"""A set: a folder that holds the outputs of stages, from candidates to index, as `pairs run` leaves them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from surefoot.core import SurefootError
from surefoot.pairs._search._index import INDEX
from surefoot.pairs._stages._manifest import Manifest, read_manifest
from surefoot.pairs._stages._tables import pairs_directory

_ORDER = ("read", "extract", "deduplicate", "screen", "download", "embed", "tag", "subset")


@dataclass(frozen=True, kw_only=True)
class StageOutput:
    """A stage's folder and its manifest."""

    path: Path
    manifest: Manifest


@dataclass(frozen=True, kw_only=True)
class PairSetPlaces:
    """The stages of a set in the order of the way, its index, and the folder of its pictures, where there are such."""

    stages: tuple[StageOutput, ...]
    index: Path | None
    pictures: Path | None


def places_of(path: Path) -> PairSetPlaces:
    """What a set holds: `path` is the folder of a stage, an index, or a folder of such. Raises for one of none."""
    inner = sorted(one for one in path.iterdir() if one.is_dir()) if path.is_dir() else []
    folders = [one for one in (path, *inner) if pairs_directory(one)]
    stages = [StageOutput(path=one, manifest=read_manifest(one)) for one in folders]
    order = {name: place for place, name in enumerate(_ORDER)}
    stages.sort(key=lambda one: (order.get(one.manifest.stage, len(order)), one.path.name))
    index = next((one for one in (path, *inner) if (one / INDEX).is_file()), None)
    if not (stages or index):
        raise SurefootError(
            f"{path} holds neither the output of a stage nor an index: 'surefoot pairs run' makes a set."
        )
    pictures = [one.path for one in stages if one.manifest.stage == "download"]
    pictures = [path / "pictures"] if (path / "pictures").is_dir() else pictures
    return PairSetPlaces(stages=tuple(stages), index=index, pictures=pictures[-1] if pictures else None)
