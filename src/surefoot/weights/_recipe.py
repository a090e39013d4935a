"""Files that say how they were made: writing an edit, a grid of edits or a merge, and replaying any of them."""

import json
import shutil
from collections import defaultdict
from collections.abc import Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from math import sqrt
from pathlib import Path
from typing import Any

from surefoot import __version__
from surefoot.core import SurefootError, write_text
from surefoot.weights._checkpoint import LowRank, open_checkpoint
from surefoot.weights._configuration import plan_merge, read_configuration
from surefoot.weights._engine import Plan, Progress, Row, compare, hasher
from surefoot.weights._expression import TaskVector, describe, plan_edit, restore
from surefoot.weights._safetensors import Tensor, read_header
from surefoot.weights._shards import INDEX, shard_bytes, write_shards
from surefoot.weights._writing import write

KEY = "surefoot"  # of the metadata
LOSSY = 0.1  # share of an edit lost to rounding from which a report warns
_COMPANIONS = ("*.json", "*.txt", "*.model", "*.jinja")


@dataclass(frozen=True, kw_only=True)
class Report:
    """What one written file holds.

    `lost` is the share of the edit that rounding to the output type took: ||rounded - exact|| / ||exact - base||, more
    than 1 when the noise of rounding exceeds the edit; `worst` names the tensors with the largest, `inputs` gives the
    digests of what was read, by checkpoint.
    """

    path: Path
    bytes: int
    tensors: int
    coefficient: float
    lost: float
    edit_norm: float
    nonfinite: int
    worst: Mapping[str, float] = field(default_factory=dict)
    inputs: Mapping[str, str] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()


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


def apply(
    vector: TaskVector,
    out: Path | str,
    coefficient: float = 1.0,
    *,
    dtype: str | None = None,
    threads: int | None = None,
    progress: Progress | None = None,
    shard: int | str | None = None,
    pool: Executor | None = None,
    **rules: Any,
) -> Report:
    """Write `base + coefficient * vector` to a safetensors file, or to `model.safetensors` in a folder.

    A name without the suffix `.safetensors` is a folder; configuration and tokenizer files beside the base are copied
    there. Memory stays flat whatever the sizes, and the file appears complete or not at all. `rules` are `missing`,
    `extra` and `integers` (see `plan_edit`), and `accumulate`, `nonfinite` and `digest` (see `Plan`). With `shard`
    (bytes, `2GB`) a folder gets several files and their index. The workers of `pool`, any executor whose processes see
    the same files, compute instead of threads here, and the bytes are the same. Raises
    SurefootError where a rule is broken, where the result would not be finite, and where the disk is full.
    """
    how = How(threads=threads, progress=progress, shard=shard, pool=pool)
    return _apply(vector, {coefficient: out}, dtype, how, rules)[0]


def apply_grid(
    vector: TaskVector,
    outs: Mapping[float, Path | str],
    *,
    dtype: str | None = None,
    threads: int | None = None,
    progress: Progress | None = None,
    shard: int | str | None = None,
    pool: Executor | None = None,
    **rules: Any,
) -> list[Report]:
    """Write one file for each coefficient, in one pass over the inputs; otherwise as `apply`."""
    return _apply(vector, outs, dtype, How(threads=threads, progress=progress, shard=shard, pool=pool), rules)


@dataclass(frozen=True, kw_only=True)
class How:
    """How files are written, none of which changes a bit of the tensors."""

    threads: int | None = None
    progress: Progress | None = None
    shard: int | str | None = None
    pool: Executor | None = None


def _apply(
    vector: TaskVector, outs: Mapping[float, Path | str], dtype: str | None, how: How, rules: Mapping[str, Any]
) -> list[Report]:
    plan = plan_edit(vector, tuple(outs), dtype=dtype, **rules)
    recipe = {"kind": "edit", "edit": describe(vector), "rules": {**rules, **({"dtype": dtype} if dtype else {})}}
    folder = _folder_of(vector.base.origin)
    return _write(replace(plan, recipe=recipe), [Path(out) for out in outs.values()], folder, how)


def merge(
    configuration: Path | str | Mapping[str, Any],
    out: Path | str,
    *,
    threads: int | None = None,
    progress: Progress | None = None,
    shard: int | str | None = None,
    pool: Executor | None = None,
) -> Report:
    """Merge as a configuration in the format of mergekit says; a path to YAML or its content. Otherwise as `apply`."""
    content = read_configuration(configuration)
    plan, first = plan_merge(content)
    plan = replace(plan, recipe={"kind": "merge", "configuration": content})
    how = How(threads=threads, progress=progress, shard=shard, pool=pool)
    return _write(plan, [Path(out)], _folder_of(first.origin), how)[0]


def verify(path: Path | str, *, threads: int | None = None, moved: Mapping[str, str] | None = None) -> Verification:
    """Replay the recipe in a file's metadata and compare every bit and what it says of itself; writes nothing.

    Compared are the tensors, the digests of the inputs, the share lost in rounding, and the recipe beside the file.
    With `moved`, path to path, inputs are looked for where they lie now.
    Raises SurefootError when the file has no recipe, or when the inputs are gone or no longer fit it.
    """
    found = [_verified(file, threads, moved) for file in _files_of(Path(path))]
    beside = Path(path) / INDEX if len(found) > 1 and Path(path).is_dir() else found[0].path
    return Verification(
        path=found[0].path if len(found) == 1 else Path(path),
        differing=sum(one.differing for one in found),
        changed=tuple(sorted({label for one in found for label in one.changed})),
        disagreeing=tuple(dict.fromkeys((*(name for one in found for name in one.disagreeing), *_beside(beside)))),
    )


def _verified(file: Path, threads: int | None, moved: Mapping[str, str] | None) -> Verification:
    header = read_header(file)
    plan, said = replan(file, moved=moved), _said(file)
    layout = {name: (tensor.dtype, tensor.shape) for name, tensor in header.tensors.items()}
    if said.get("shard"):
        plan = replace(plan, shard=True, assignments=tuple(one for one in plan.assignments if one.name in layout))
    if layout != {one.name: (one.dtype, one.shape) for one in plan.assignments}:
        raise SurefootError(f"{file}: the recipe now gives other tensors; an input has changed its layout")
    start = file.stat().st_size - sum(tensor.nbytes for tensor in header.tensors.values())
    differing, rows = compare(plan, file, start, threads=threads)
    now = json.loads(_provenance(plan, 0, rows)[KEY])
    changed = sorted(label for label in {*now["inputs"], *said["inputs"]} if _differ(now, said, label))
    wrong = [key for key in ("accumulate", "lost") if not _agree(said.get(key), now[key])]
    return Verification(path=file, differing=differing, changed=tuple(changed), disagreeing=tuple(wrong))


def _differ(now: Mapping[str, Any], said: Mapping[str, Any], label: str) -> bool:
    return now["inputs"].get(label) != said["inputs"].get(label)


def _agree(said: Any, now: str) -> bool:
    # The sums behind a share are added in another order where another engine computes: its last digit may move.
    try:
        return said == now or abs(float(said) - float(now)) < 0.0015
    except (TypeError, ValueError):
        return False


def _beside(file: Path) -> list[str]:
    recipe = file.with_name(file.name + ".recipe.json")
    if not recipe.exists():
        return []
    inside = _said(file)
    try:
        outside = json.loads(recipe.read_text("utf-8"))
        same = all(outside[key] == inside[key] for key in ("recipe", "coefficient"))
        same &= bool(inside.get("shard")) or outside["inputs"] == inside["inputs"]
    except (OSError, ValueError, KeyError, TypeError):
        same = False
    return [] if same else [recipe.name]


def _said(path: Path) -> dict[str, Any]:
    file = path if path.suffix == ".json" and not path.name.endswith(".index.json") else _files_of(path)[0]
    try:
        text = file.read_text("utf-8") if file.suffix == ".json" else read_header(file).metadata.get(KEY, "{}")
        said = json.loads(text)
    except (OSError, ValueError, RecursionError) as error:
        raise SurefootError(f"{file}: not a recipe: {str(error)[:120]}") from None
    whole = isinstance(said, dict) and {"recipe", "coefficient", "inputs"} <= said.keys()
    if not whole or not isinstance(said["inputs"], dict):
        raise SurefootError(f"{file}: it has no recipe of surefoot, so it cannot be replayed")
    return said


def replan(path: Path | str, *, moved: Mapping[str, str] | None = None) -> Plan:
    """The plan of the recipe in a file's metadata, or in the `.recipe.json` beside it; `moved` as in `verify`."""
    said = _said(Path(path))
    try:
        plan = _replanned(said["recipe"], said["coefficient"], moved)
    except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
        # It came with a file, perhaps from a stranger: what is not a recipe is no reason for a trace.
        raise SurefootError(f"{path}: its recipe is damaged: {str(error)[:120]}") from None
    return replace(plan, recipe=said["recipe"])


def _replanned(recipe: Mapping[str, Any], coefficient: float, moved: Mapping[str, str] | None) -> Plan:
    try:
        if recipe["kind"] == "edit":
            return plan_edit(restore(recipe["edit"], moved), (coefficient,), **recipe["rules"])
        return plan_merge(recipe["configuration"], moved=moved)[0]
    except SurefootError as error:
        if "no such file" not in str(error):
            raise
        raise SurefootError(f"{error}; where an input lies elsewhere now, say so: --moved OLD=NEW") from None


def rewrite(
    recipe: Path | str,
    outs: Path | str | Mapping[float, Path | str],
    *,
    threads: int | None = None,
    progress: Progress | None = None,
    shard: int | str | None = None,
    pool: Executor | None = None,
    moved: Mapping[str, str] | None = None,
) -> list[Report]:
    """Write again what a recipe says; an edit also at other coefficients, all in one pass over the inputs."""
    plan = replan(recipe, moved=moved)
    how = How(threads=threads, progress=progress, shard=shard, pool=pool)
    if not isinstance(outs, Mapping):
        return _write(plan, [Path(outs)], None, how)
    if plan.recipe["kind"] != "edit":
        raise SurefootError(f"{recipe}: a merge has no coefficient to change")
    plan = replace(plan, coefficients=tuple(map(float, outs)))
    return _write(plan, [Path(out) for out in outs.values()], None, how)


def digests(plan: Plan, rows: Sequence[Row]) -> dict[str, str]:
    """One digest for each checkpoint over the tensors that were read: the same for one file, many shards or memory."""
    lines: dict[str, list[str]] = defaultdict(list)
    sources = {one.name: one for one in plan.assignments}
    for one in plan.assignments:
        for label, source in zip(one.labels, one.sources, strict=True):
            lines[label] += [_of_factors(plan, one.name, source)] if isinstance(source, LowRank) else []
    for row in rows:
        for label, digest in zip(sources[row.name].labels, row.digests, strict=True):
            lines[label] += [f"{row.name} {row.start} {digest}"] if digest else []
    found: dict[str, str] = {}
    for label, texts in lines.items():
        total = hasher(plan.digest)
        total.update("\n".join(sorted(set(texts))).encode())
        found[label] = f"{total.name.lower()}:{total.hexdigest()}"
    return found


def _of_factors(plan: Plan, name: str, source: LowRank) -> str:
    each = hasher(plan.digest)
    each.update(source.up.tobytes())
    each.update(source.down.tobytes())
    return f"{name} {each.hexdigest()}"


def _provenance(plan: Plan, output: int, rows: Sequence[Row]) -> dict[str, str]:
    said = {
        "version": __version__,
        "recipe": plan.recipe,
        "coefficient": plan.coefficients[output],
        "accumulate": plan.accumulate,
        "inputs": digests(plan, rows),
        "lost": f"{min(_lost(rows, output), 9.999):.3f}",
    }
    if plan.shard:
        said["shard"] = True
    return {KEY: json.dumps(said, sort_keys=True)}


def _lost(rows: Sequence[Row], output: int) -> float:
    edit, lost = sum(row.edit[output] for row in rows), sum(row.lost[output] for row in rows)
    return sqrt(lost / edit) if edit > 0 else 0.0


def _write(plan: Plan, outs: Sequence[Path], companions: Path | None, how: How) -> list[Report]:
    try:
        return _written(plan, outs, companions, how)
    except OSError as error:
        place = error.filename or outs[0]
        raise SurefootError(
            f"{place}: could not be written: {error.strerror or error}; run again to go on from here"
        ) from None


def _written(plan: Plan, outs: Sequence[Path], companions: Path | None, how: How) -> list[Report]:
    plan = replace(plan, metadata={"format": "pt"})
    paths = [_prepared(out, how.shard) for out in outs]
    options: dict[str, Any] = {"threads": how.threads, "progress": how.progress, "pool": how.pool}
    if how.shard is None:
        rows = write(plan, paths, provenance=partial(_provenance, plan), **options)
    else:
        folders = [path.parent for path in paths]
        rows = write_shards(plan, folders, shard_bytes(how.shard), provenance=_provenance, **options)
    reports = [_report(plan, path, output, rows) for output, path in enumerate(paths)]
    for out, path, report in zip(outs, paths, reports, strict=True):
        if path.parent == out and companions:
            _copy_companions(companions, out)
        sidecar = {**asdict(report), "path": path.name, "version": __version__, "recipe": plan.recipe}
        text = json.dumps(sidecar, indent=1, sort_keys=True) + "\n"
        write_text(path.with_name(path.name + ".recipe.json"), text)
    return reports


def _report(plan: Plan, path: Path, output: int, rows: Sequence[Row]) -> Report:
    by_name: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        by_name[row.name].append(row)
    shares = {name: _lost(some, output) for name, some in by_name.items()}
    worst = dict(sorted(shares.items(), key=lambda item: -item[1])[:5])
    lost, nonfinite = _lost(rows, output), sum(row.nonfinite[output] for row in rows)
    warnings = []
    if lost >= LOSSY:
        warnings.append(
            f"{min(lost, 1):.0%} of the edit was lost when it was rounded; write 32-bit floats (dtype F32) to keep it"
        )
    if nonfinite:
        warnings.append(f"{nonfinite} values are NaN or infinite")
    return Report(
        path=path,
        bytes=sum(file.stat().st_size for file in _files_of(path)),
        tensors=len(plan.assignments),
        coefficient=plan.coefficients[output],
        lost=lost,
        edit_norm=sqrt(sum(row.edit[output] for row in rows)),
        nonfinite=nonfinite,
        worst={name: share for name, share in worst.items() if share > 0},
        inputs=digests(plan, rows),
        warnings=tuple(warnings),
    )


def _prepared(out: Path, shard: int | str | None) -> Path:
    if out.suffix in (".pt", ".bin", ".pth", ".ckpt"):
        raise SurefootError(f"{out}: only safetensors are written; name a .safetensors file or a folder")
    if out.suffix == ".safetensors":
        if shard is not None:
            raise SurefootError(f"{out}: shards are written into a folder; name one instead of a file")
        return out
    out.mkdir(parents=True, exist_ok=True)
    stale = out / ("model.safetensors" if shard is not None else INDEX)
    if stale.exists():
        raise SurefootError(
            f"{stale} is there from another checkpoint, and readers would take the wrong one; remove it"
        )
    return out / (INDEX if shard is not None else "model.safetensors")


def _files_of(path: Path) -> list[Path]:
    index = path / INDEX if path.is_dir() else path
    if index.name.endswith(".index.json") and index.is_file():
        opened = open_checkpoint(index)
        return list(dict.fromkeys(tensor.path for tensor in opened.tensors.values() if isinstance(tensor, Tensor)))
    return [path / "model.safetensors" if path.is_dir() else path]


def _folder_of(origin: Mapping[str, Any] | None) -> Path | None:
    path = Path(origin["path"]) if origin else None
    return path if path and path.is_dir() else None


def _copy_companions(source: Path, target: Path) -> None:
    for pattern in _COMPANIONS:
        for file in sorted(source.glob(pattern)):
            mine = file.name.endswith((".index.json", ".recipe.json"))
            if not mine and source.resolve() != target.resolve():
                shutil.copyfile(file, target / file.name)
