"""A set: a folder of the outputs of stages, from candidates to index, as `pairs run` leaves them."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from surefoot.core import Step, Store, SurefootError, digest_of, walk
from surefoot.pairs._search._index import INDEX
from surefoot.pairs._stages._manifest import MANIFEST, Manifest, read_manifest
from surefoot.pairs._stages._tables import pairs_directory
from surefoot.pairs._stages._work import keep

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
    stages.sort(key=lambda one: _ORDER.index(one[1].stage) if one[1].stage in _ORDER else len(_ORDER))
    placed = list[tuple[Path, Manifest]]()
    while stages:  # one may come twice, as deduplicate: it stands behind what it was made of
        ready = (one for one in stages if not any(_made_of(one[1], other) for _, other in stages))
        placed.append(next(ready, stages[0]))
        stages.remove(placed[-1])
    index = next((one for one in inner if (one / INDEX).is_file()), None)
    if not (placed or index):
        raise SurefootError(f"{path} holds no output of a stage and no index: 'surefoot pairs run' makes a set.")
    pictures = [one for one, manifest in placed if manifest.stage == "download"]
    linked = [(path.parent if path == index else path) / name for name in ("pictures", "model")]
    pictures = [linked[0]] if linked[0].is_symlink() or (path / "pictures").is_dir() else pictures
    model = linked[1] if linked[1].is_symlink() else None
    return SetPlaces(stages=tuple(placed), index=index, pictures=pictures[-1] if pictures else None, model=model)


def _made_of(one: Manifest, other: Manifest) -> bool:
    digests = {told[start : start + 64] for told in one.inputs.values() for start in (0, 64)}  # embed joins two
    return one is not other and any(part.sha256 in digests for part in other.parts)


def gather_set(steps: Iterable[Step], store: Store, out: Path) -> SetPlaces:
    """Put what Steps made into one folder, each stage under its place in the order and its name, by links.

    What is there already and the same stays; an older output of a stage is replaced.
    """
    from surefoot.pairs._steps import Deduplicate

    heads = (MANIFEST, INDEX)
    every = walk(tuple(steps))
    clean = [step for step in every if isinstance(step, Deduplicate) and step.against]
    apart = {one.key for one in walk(test for step in clean for test in step.against)}
    apart -= {one.key for one in walk(step.pairs for step in clean)}  # evaluation sets are no stages of this one
    every = [step for step in every if step.key not in apart]
    made = [step for step in every if any((store.path(step) / head).is_file() for head in heads)]
    if not made:
        raise SurefootError("The recipe has no Step of pairs: chain Extract, Download, Embed, Index and the like.")
    for number, step in enumerate(made, 1):
        source, target = store.path(step), out / f"{number}-{type(step).__name__.lower()}"
        head = MANIFEST if (source / MANIFEST).is_file() else INDEX
        if not (target / head).is_file() or digest_of(target / head) != digest_of(source / head):
            if (target / "removed.json").exists():
                raise SurefootError(f"Rows were removed from {target}, which {store.root} still has: name a new --out.")
            draft = out / f".{target.name}"
            for old in (draft, target):
                shutil.rmtree(old, ignore_errors=True)
            keep(source, draft)
            draft.rename(target)
        folder, model = getattr(step, "path", ""), getattr(step, "model", None)
        pictures = folder if Path(folder).is_dir() else Path(folder).parent
        for name, place in (("pictures", folder and pictures), ("model", model and store.path(model).resolve())):
            if place and ((out / name).is_symlink() or not (out / name).exists()):
                (out / name).unlink(missing_ok=True)  # of an earlier run
                (out / name).symlink_to(place)
    return places_of(out)
