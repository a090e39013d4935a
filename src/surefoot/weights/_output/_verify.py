"""Replays of what a file says of itself: every bit, every digest, every share."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import isclose
from pathlib import Path
from typing import Any

from surefoot.core import SurefootError
from surefoot.weights._arithmetic._engine import compare
from surefoot.weights._arithmetic._plan import Row
from surefoot.weights._files._opening import open_checkpoint
from surefoot.weights._files._safetensors import read_header
from surefoot.weights._output._recipe import KEY, files_of, measured, provenance_of, replan, said_by
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

    Compared are the tensors, the digests of the inputs, the share lost in rounding, and the recipe beside the file with
    the numbers of its report.
    With `moved`, path to path, inputs are looked for where they lie now.
    Raises SurefootError when the file has no recipe, or when the inputs are gone or no longer fit it.
    """
    pairs = [_verified(file, threads, moved) for file in files_of(Path(path))]
    found, rows = [one for one, _ in pairs], [row for _, some in pairs for row in some]
    index = Path(path) / INDEX if Path(path).is_dir() else Path(path)
    beside = index if index.name.endswith(".index.json") and index.is_file() else found[0].path
    return Verification(
        path=found[0].path if len(found) == 1 else Path(path),
        differing=sum(one.differing for one in found),
        changed=tuple(sorted({label for one in found for label in one.changed})),
        disagreeing=tuple(
            dict.fromkeys((*(name for one in found for name in one.disagreeing), *_beside(beside, rows)))
        ),
    )


def _verified(file: Path, threads: int | None, moved: Mapping[str, str] | None) -> tuple[Verification, list[Row]]:
    header = read_header(file)
    plan, said = replan(file, moved=moved), said_by(file)
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
    return Verification(path=file, differing=differing, changed=tuple(changed), disagreeing=tuple(wrong)), rows


def _agree(said: Any, now: str) -> bool:
    # The sums behind a share are added in another order where another engine computes: its last digit may move.
    try:
        return said == now or abs(float(said) - float(now)) < 0.0015
    except (TypeError, ValueError):
        return False


def _beside(file: Path, rows: Sequence[Row]) -> list[str]:
    recipe = file.with_name(file.name + ".recipe.json")
    if not recipe.exists():
        return []
    inside = said_by(file)
    now = {**measured(rows, 0), "tensors": len(open_checkpoint(file).tensors)}
    try:
        outside = json.loads(recipe.read_text("utf-8"))
        same = all(outside[key] == inside[key] for key in ("recipe", "coefficient"))
        same &= bool(inside.get("shard")) or outside["inputs"] == inside["inputs"]
        same &= all(isclose(outside[key], value, rel_tol=0.0015) for key, value in now.items())
    except (OSError, ValueError, KeyError, TypeError):
        same = False
    return [] if same else [recipe.name]
