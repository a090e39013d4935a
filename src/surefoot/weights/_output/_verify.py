"""Replays of what a file says of itself: every bit, every digest, every share."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import isclose
from pathlib import Path
from typing import Any

from surefoot.core import SurefootError, digest_of
from surefoot.weights._arithmetic._engine import compare
from surefoot.weights._arithmetic._plan import MergePlan, Row
from surefoot.weights._files._opening import open_checkpoint
from surefoot.weights._files._safetensors import read_header
from surefoot.weights._output._disagreements import differing_settings, untied
from surefoot.weights._output._recipe import (
    KEY,
    digests,
    files_of,
    measured,
    provenance_of,
    replan,
    rounding_said,
    said_by,
    worst,
)
from surefoot.weights._output._shards import INDEX


@dataclass(frozen=True, kw_only=True)
class Verification:
    """What a replay found: how many bytes differ, inputs that are no longer what they were, what is said wrongly.

    `disagreeing` names what the metadata or the recipe beside the file say that the replay or the other does not.
    """

    path: Path
    differing: int
    changed: tuple[str, ...]
    disagreeing: tuple[str, ...] = ()

    @property
    def holds(self) -> bool:
        """True when every bit came out again, from inputs that are what they were, and all that is said of it is so."""
        return self.differing == 0 and not self.changed and not self.disagreeing


def verify(path: Path | str, *, threads: int | None = None, moved: Mapping[str, str] | None = None) -> Verification:
    """Replay the recipe in a file's metadata and compare every bit and what it says of itself; writes nothing.

    Compared are the tensors, the digests of the inputs, the share lost in rounding, the recipe beside the file with the
    numbers and warnings of its report, and the configuration and tokenizer files that were written with it. With
    `moved`, path to path, inputs are looked for where they lie now, and warnings that name their places are let be.
    Raises SurefootError when the file has no recipe, or when the inputs are gone or no longer fit it.
    """
    files = files_of(Path(path))
    index = Path(path) / INDEX if Path(path).is_dir() else Path(path)
    whole = index if index.name.endswith(".index.json") and index.is_file() else None
    checked = [_verified(file, threads, moved) for file in files]
    found, rows = [one for one, _, _ in checked], [row for _, _, some in checked for row in some]
    changed = tuple(sorted({label for one in found for label in one.changed}))
    wrong = [name for one in found for name in one.disagreeing]
    wrong += _incomplete(whole, files, checked[0][1]) if whole else []
    plan = checked[0][1]
    warned = [] if moved else differing_settings(plan)  # which names the places of the inputs
    wrong += _beside(whole or files[0], plan, rows, warned, known=not changed)
    return Verification(
        path=files[0] if len(files) == 1 else Path(path),
        differing=sum(one.differing for one in found),
        changed=changed,
        disagreeing=tuple(dict.fromkeys(wrong)),
    )


def _verified(
    file: Path, threads: int | None, moved: Mapping[str, str] | None
) -> tuple[Verification, MergePlan, list[Row]]:
    header = read_header(file)
    plan = of_all = replan(file, moved=moved)
    said = said_by(file)
    layout = {name: (tensor.dtype, tensor.shape) for name, tensor in header.tensors.items()}
    if said.get("shard"):
        plan = replace(plan, shard=True, assignments=tuple(one for one in plan.assignments if one.name in layout))
    if layout != {one.name: (one.dtype, one.shape) for one in plan.assignments}:
        raise SurefootError(f"{file}: The recipe now gives other tensors; an input has changed its layout.")
    start = file.stat().st_size - sum(tensor.nbytes for tensor in header.tensors.values())
    differing, rows = compare(plan, file, start, threads=threads)
    now = json.loads(provenance_of(plan, 0, rows)[KEY])
    changed = sorted(
        label for label in {*now["inputs"], *said["inputs"]} if (now["inputs"].get(label) != said["inputs"].get(label))
    )
    wrong = [key for key in ("accumulate", "lost") if not _agree(said.get(key), now[key])]
    return Verification(path=file, differing=differing, changed=tuple(changed), disagreeing=tuple(wrong)), of_all, rows


def _agree(said: Any, now: str) -> bool:
    # The sums behind a share are added in another order where another engine computes: its last digit may move.
    try:
        return said == now or abs(float(said) - float(now)) < 0.0015
    except (TypeError, ValueError):
        return False


def _incomplete(index: Path, files: Sequence[Path], plan: MergePlan) -> list[str]:
    # Shards that are each what they say may still be of two results, or not be all of one.
    first, *others = [(said["recipe"], said["coefficient"]) for said in map(said_by, files)]
    missing = {one.name for one in plan.assignments} - open_checkpoint(index).tensors.keys()
    odd = [file.name for file, said in zip(files[1:], others, strict=True) if said != first]
    return odd or ([f"{index.name}, without {min(missing)}"] if missing else [])


def _beside(file: Path, plan: MergePlan, rows: Sequence[Row], warned: Sequence[str], *, known: bool) -> list[str]:
    recipe = file.with_name(file.name + ".recipe.json")
    if not recipe.exists():
        return []
    inside, size = said_by(file), sum(one.stat().st_size for one in files_of(file))
    now = {**measured(rows, 0), "tensors": len(open_checkpoint(file).tensors), "bytes": size}
    try:
        outside = json.loads(recipe.read_text("utf-8"))
        same = all(outside[key] == inside[key] for key in ("recipe", "coefficient"))
        inputs = (digests(plan, rows) if known else outside["inputs"]) if inside.get("shard") else inside["inputs"]
        same &= outside["inputs"] == inputs
        now |= {f"worst {name}": share for name, share in worst(rows, 0).items()}
        told = {**outside, **{f"worst {name}": share for name, share in outside["worst"].items()}}
        same &= all(isclose(told[key], value, rel_tol=0.0015) for key, value in now.items())
        same &= {*warned, *untied(plan, file, rows), *rounding_said(plan, 0, rows)} <= {*outside["warnings"]}
        files = outside.get("files", {}).items()  # not of those that were written before these were kept
        others = [name for name, said in files if not _is_still(file.with_name(name), said)]
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        same, others = False, []
    return [*others, *([] if same else [recipe.name])]


def _is_still(file: Path, said: str) -> bool:
    return file.is_file() and digest_of(file) == said
