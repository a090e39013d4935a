"""What a file says of how it was made: written, read, and planned again."""

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import sqrt
from pathlib import Path
from typing import Any

from surefoot import __version__
from surefoot.core import SurefootError
from surefoot.weights._arithmetic._engine import digest_in_memory, hasher
from surefoot.weights._arithmetic._expression import plan_edit, restore
from surefoot.weights._arithmetic._plan import MergePlan, Row
from surefoot.weights._arithmetic._rules import EditRules
from surefoot.weights._files._checkpoint import LowRank
from surefoot.weights._files._opening import MissingCheckpoint, open_checkpoint
from surefoot.weights._files._safetensors import Tensor, read_header
from surefoot.weights._mergekit._configuration import plan_merge
from surefoot.weights._output._shards import INDEX

KEY = "surefoot"  # of the metadata
LOSSY = 0.1  # share of an edit lost to rounding from which a report warns


def said_by(path: Path) -> dict[str, Any]:
    file = path if path.suffix == ".json" and not path.name.endswith(".index.json") else files_of(path)[0]
    try:
        text = file.read_text("utf-8") if file.suffix == ".json" else read_header(file).metadata.get(KEY, "{}")
        said = json.loads(text)
    except (OSError, ValueError, RecursionError) as error:
        raise SurefootError(f"{file}: Not a recipe: {str(error)[:120]}.") from None
    whole = isinstance(said, dict) and {"recipe", "coefficient", "inputs"} <= said.keys()
    if not whole or not isinstance(said["inputs"], dict):
        raise SurefootError(f"{file}: It has no recipe of surefoot, so it cannot be replayed.")
    return said


def replan(path: Path | str, *, moved: Mapping[str, str] | None = None) -> MergePlan:
    """The plan of the recipe in a file's metadata, or in the `.recipe.json` beside it; `moved` as in `verify`."""
    said = said_by(Path(path))
    try:
        plan = _replanned(said["recipe"], said["coefficient"], moved)
    except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
        # It came with a file, perhaps from a stranger: what is not a recipe is no reason for a trace.
        raise SurefootError(f"{path}: Its recipe is damaged: {str(error)[:120]}.") from None
    return replace(plan, recipe=said["recipe"])


def _replanned(recipe: Mapping[str, Any], coefficient: float, moved: Mapping[str, str] | None) -> MergePlan:
    try:
        if recipe["kind"] == "edit":
            return plan_edit(restore(recipe["edit"], moved), (coefficient,), rules=EditRules(**recipe["rules"]))
        return plan_merge(recipe["configuration"], moved=moved)[0]
    except MissingCheckpoint as error:
        raise SurefootError(f"{error} Where an input lies elsewhere now, say so: --moved OLD=NEW.") from None


def digests(plan: MergePlan, rows: Sequence[Row]) -> dict[str, str]:
    """One digest for each checkpoint over the tensors that were read: the same for one file, many shards or memory."""
    lines: dict[str, list[str]] = defaultdict(list)
    sources = {one.name: one for one in plan.assignments}
    for one in plan.assignments:
        for label, source in zip(one.labels, one.sources, strict=True):
            lines[label] += (
                [f"{one.name} {digest_in_memory(source, plan.rules.digest)}"] if isinstance(source, LowRank) else []
            )
    for row in rows:
        for label, digest in zip(sources[row.name].labels, row.digests, strict=True):
            lines[label] += [f"{row.name} {row.start} {digest}"] if digest else []
    found: dict[str, str] = {}
    for label, texts in lines.items():
        total = hasher(plan.rules.digest)
        total.update("\n".join(sorted(set(texts))).encode())
        found[label] = f"{total.name.lower()}:{total.hexdigest()}"
    return found


def provenance_of(plan: MergePlan, output: int, rows: Sequence[Row]) -> dict[str, str]:
    said = {
        "version": __version__,
        "recipe": plan.recipe,
        "coefficient": plan.coefficients[output],
        "accumulate": plan.rules.accumulate,
        "inputs": digests(plan, rows),
        "lost": f"{min(lost_share(rows, output), 9.999):.3f}",
    }
    if plan.shard:
        said["shard"] = True
    return {KEY: json.dumps(said, sort_keys=True)}


def measured(rows: Sequence[Row], output: int) -> dict[str, float]:
    """What a report says of an output's numbers, by its fields."""
    norm, bad = sqrt(sum(row.edit[output] for row in rows)), sum(row.nonfinite[output] for row in rows)
    return {"lost": lost_share(rows, output), "edit_norm": norm, "nonfinite": bad}


def rounding_said(plan: MergePlan, output: int, rows: Sequence[Row]) -> list[str]:
    """The warnings of a report that follow from an output's numbers."""
    found, said = measured(rows, output), []
    if (lost := found["lost"]) >= LOSSY:
        wide = all(one.dtype in ("F32", "F64") for one in plan.assignments if one.method)
        more = "64-bit floats (accumulate float64, dtype F64)" if wide else "32-bit floats (dtype F32)"
        said.append(f"{min(lost, 1):.0%} of the edit was lost when it was rounded; write {more} to keep it")
    if not found["edit_norm"] and (moved := sum(row.lost[output] for row in rows)):
        said.append(f"no value was edited, and rounding to the output's type moved them by norm {moved**0.5:.3g}")
    if found["nonfinite"]:
        said.append(f"{found['nonfinite']} values are NaN or infinite")
    return said


def lost_share(rows: Sequence[Row], output: int) -> float:
    edit, lost = sum(row.edit[output] for row in rows), sum(row.lost[output] for row in rows)
    return sqrt(lost / edit) if edit > 0 else 0.0


def worst(rows: Sequence[Row], output: int) -> dict[str, float]:
    """The five tensors of which rounding took the largest share of the edit, and that share."""
    by_name: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        by_name[row.name].append(row)
    shares = {name: share for name, some in by_name.items() if (share := lost_share(some, output)) > 0}
    return dict(sorted(shares.items(), key=lambda item: -item[1])[:5])


def files_of(path: Path) -> list[Path]:
    index = path / INDEX if path.is_dir() else path
    if index.name.endswith(".index.json") and index.is_file():
        opened = open_checkpoint(index)
        return list(dict.fromkeys(tensor.path for tensor in opened.tensors.values() if isinstance(tensor, Tensor)))
    return [path / "model.safetensors" if path.is_dir() else path]
