"""Files that say how they were made: writing an edit, a grid of edits or a merge, and replaying any of them."""

import json
from collections.abc import Mapping, Sequence
from concurrent.futures import Executor
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from surefoot import __version__
from surefoot.core import SurefootError, digest_of, write_text
from surefoot.weights._arithmetic._engine import Progress
from surefoot.weights._arithmetic._expression import TaskVector, describe, plan_edit
from surefoot.weights._arithmetic._plan import MergePlan, Row
from surefoot.weights._arithmetic._rules import DEFAULT_RULES, EditRules
from surefoot.weights._files._opening import PICKLED, SAFE
from surefoot.weights._files._safetensors import Tensor
from surefoot.weights._mergekit._configuration import plan_merge, read_configuration
from surefoot.weights._output._companions import companions_of
from surefoot.weights._output._disagreements import differing_settings, untied
from surefoot.weights._output._recipe import (
    digests,
    files_of,
    measured,
    provenance_of,
    replan,
    rounding_said,
    said_by,
    worst,
)
from surefoot.weights._output._shards import INDEX, shard_bytes, write_shards
from surefoot.weights._output._writing import write


@dataclass(frozen=True, kw_only=True)
class EditReport:
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


def apply(
    vector: TaskVector,
    out: Path | str,
    coefficient: float = 1.0,
    *,
    rules: EditRules = DEFAULT_RULES,
    threads: int | None = None,
    progress: Progress | None = None,
    shard: int | str | None = None,
    pool: Executor | None = None,
) -> EditReport:
    """Write `base + coefficient * vector` to a safetensors file, or to `model.safetensors` in a folder.

    A name without the suffix `.safetensors` is a folder; configuration and tokenizer files beside the base are copied
    there. Memory stays flat whatever the sizes, and the file appears complete or not at all. With `shard` (bytes,
    `2GB`) a folder gets several files and their index. The workers of `pool`, any executor whose processes see
    the same files, compute instead of threads here, and the bytes are the same. Raises
    SurefootError where a rule is broken, where the result would not be finite, and where the disk is full.
    """
    how: dict[str, Any] = {"threads": threads, "progress": progress, "shard": shard, "pool": pool}
    return apply_grid(vector, {coefficient: out}, rules=rules, **how)[0]


def apply_grid(
    vector: TaskVector,
    outs: Mapping[float, Path | str],
    *,
    rules: EditRules = DEFAULT_RULES,
    threads: int | None = None,
    progress: Progress | None = None,
    shard: int | str | None = None,
    pool: Executor | None = None,
) -> list[EditReport]:
    """Write one file for each coefficient, in one pass over the inputs; otherwise as `apply`."""
    recipe = {"kind": "edit", "edit": describe(vector), "rules": rules.chosen}
    plan = replace(plan_edit(vector, tuple(outs), rules=rules), recipe=recipe)
    how = How(threads=threads, progress=progress, shard=shard, pool=pool)
    return _write(plan, [Path(out) for out in outs.values()], _folder_of(vector.base.origin), how)


@dataclass(frozen=True, kw_only=True)
class How:
    """How files are written, none of which changes a bit of the tensors."""

    threads: int | None = None
    progress: Progress | None = None
    shard: int | str | None = None
    pool: Executor | None = None


def merge(
    configuration: Path | str | Mapping[str, Any],
    out: Path | str,
    *,
    threads: int | None = None,
    progress: Progress | None = None,
    shard: int | str | None = None,
    pool: Executor | None = None,
) -> EditReport:
    """Merge as a configuration in the format of mergekit says; a path to YAML or its content. Otherwise as `apply`."""
    content = read_configuration(configuration)
    plan, first = plan_merge(content)
    plan = replace(plan, recipe={"kind": "merge", "configuration": content})
    how = How(threads=threads, progress=progress, shard=shard, pool=pool)
    return _write(plan, [Path(out)], _folder_of(first.origin), how)[0]


def rewrite(
    recipe: Path | str,
    outs: Path | str | Mapping[float, Path | str],
    *,
    threads: int | None = None,
    progress: Progress | None = None,
    shard: int | str | None = None,
    pool: Executor | None = None,
    moved: Mapping[str, str] | None = None,
) -> list[EditReport]:
    """Write again what a recipe says; an edit also at other coefficients, all in one pass over the inputs.

    Reports warn of inputs that have changed since: what comes out is not what the recipe was written for.
    """
    plan, was = replan(recipe, moved=moved), _inputs_said(Path(recipe))
    how = How(threads=threads, progress=progress, shard=shard, pool=pool)
    places = [*outs.values()] if isinstance(outs, Mapping) else [outs]
    if isinstance(outs, Mapping):
        if plan.recipe["kind"] != "edit":
            raise SurefootError(f"{recipe}: A merge has no coefficient to change.")
        plan = replace(plan, coefficients=tuple(map(float, outs)))
    reports = _write(plan, [Path(out) for out in places], None, how)
    told = _changes(was, reports[0].inputs)
    return [replace(one, warnings=(*one.warnings, *told)) for one in reports]


def _changes(was: Mapping[str, str], now: Mapping[str, str]) -> tuple[str, ...]:
    """A warning for each input whose digest, of the same kind, is another."""
    if not was:
        return ("a shard alone does not say whether inputs have changed: the recipe beside its index does",)
    changed = [
        label
        for label, digest in now.items()
        if was.get(label, digest) != digest and str(was[label]).partition(":")[0] == digest.partition(":")[0]
    ]
    return tuple(f"{label} has changed since the recipe was written: this is another result" for label in changed)


def _inputs_said(recipe: Path) -> Mapping[str, str]:
    # A shard has the digests of its own tensors; the recipe beside the index, where it is there, those of all.
    said = said_by(recipe)
    if not said.get("shard"):
        return said["inputs"]
    beside = (recipe if recipe.is_dir() else recipe.parent) / f"{INDEX}.recipe.json"
    whole = said_by(beside) if beside.is_file() else {}
    return whole["inputs"] if whole.get("recipe") == said["recipe"] else {}


def _write(plan: MergePlan, outs: Sequence[Path], companions: Path | None, how: How) -> list[EditReport]:
    try:
        return _written(plan, outs, companions, how)
    except OSError as error:
        place = error.filename or outs[0]
        hint = "; run again to go on from here" if any(map(_is_begun, outs)) else ""
        raise SurefootError(f"{place}: Could not be written: {error.strerror or error}{hint}.") from None


def _is_begun(out: Path) -> bool:
    return any(out.glob("*.journal")) if out.is_dir() else out.with_name(f"{out.name}.part.journal").is_file()


def _written(plan: MergePlan, outs: Sequence[Path], companions: Path | None, how: How) -> list[EditReport]:
    plan = replace(plan, metadata={"format": "pt"})
    files, seen = companions_of(companions if any(out.suffix != ".safetensors" for out in outs) else None, plan)
    paths = [_prepared(out, how.shard) for out in outs]
    placed = zip(plan.coefficients, outs, paths, strict=True)
    _check_folders(plan, {alpha: path for alpha, out, path in placed if path.parent == out}, how.shard)
    options: dict[str, Any] = {"threads": how.threads, "progress": how.progress, "pool": how.pool}
    if how.shard is None:
        rows = write(plan, paths, provenance=partial(provenance_of, plan), **options)
    else:
        folders = [path.parent for path in paths]
        rows = write_shards(plan, folders, shard_bytes(how.shard), provenance=provenance_of, **options)
    seen = [*differing_settings(plan), *seen]
    reports = [
        _report(plan, path, output, rows, [*seen, *untied(plan, path, rows)]) for output, path in enumerate(paths)
    ]
    for out, path, report in zip(outs, paths, reports, strict=True):
        beside = files if path.parent == out else {}
        for name, content in beside.items():
            (out / name).write_bytes(content)
        sidecar = {**asdict(report), "path": path.name, "version": __version__, "recipe": plan.recipe}
        sidecar["files"] = {name: digest_of(out / name) for name in beside}
        text = json.dumps(sidecar, indent=1, sort_keys=True) + "\n"
        write_text(path.with_name(path.name + ".recipe.json"), text)
    return reports


def _report(plan: MergePlan, path: Path, output: int, rows: Sequence[Row], seen: Sequence[str]) -> EditReport:
    found: dict[str, Any] = measured(rows, output)
    return EditReport(
        path=path,
        bytes=sum(file.stat().st_size for file in files_of(path)),
        tensors=len(plan.assignments),
        coefficient=plan.coefficients[output],
        **found,
        worst=worst(rows, output),
        inputs=digests(plan, rows),
        warnings=(*seen, *rounding_said(plan, output, rows)),
    )


def _prepared(out: Path, shard: int | str | None) -> Path:
    if out.suffix in (".pt", ".bin", ".pth", ".ckpt"):
        raise SurefootError(f"{out}: Only safetensors are written; name a .safetensors file or a folder.")
    if out.suffix == ".safetensors":
        if shard is not None:
            raise SurefootError(f"{out}: Shards are written into a folder; name one instead of a file.")
        return out
    out.mkdir(parents=True, exist_ok=True)
    return out / (INDEX if shard is not None else "model.safetensors")


def _is_of(plan: MergePlan, coefficient: float, path: Path) -> bool:
    """Whether a file is an earlier result of the same edit or merge, which may be written again."""
    with suppress(SurefootError):
        said = said_by(path)
        return (said["recipe"], said["coefficient"]) == (json.loads(json.dumps(plan.recipe)), coefficient)
    return False


def _check_folders(plan: MergePlan, folders: Mapping[float, Path], shard: int | str | None) -> None:
    # What is written would take the place of an input's files, or of another checkpoint's, or be hidden by it.
    inputs = {source.path.resolve() for one in plan.assignments for source in one.sources if isinstance(source, Tensor)}
    for coefficient, path in folders.items():
        held = [
            one for one in inputs if one.parent == path.parent.resolve() and (shard is not None or one.name in SAFE)
        ]
        if held:
            raise SurefootError(f"{path.parent} holds the input {held[0].name}; write into another folder.")
        for other in (path.parent / name for name in (*SAFE, *PICKLED)):
            if other.exists() and not (other == path and _is_of(plan, coefficient, path)):
                raise SurefootError(f"{other} is there from another checkpoint: remove it, or name another folder.")


def _folder_of(origin: Mapping[str, Any] | None) -> Path | None:
    path = Path(origin["path"]) if origin else None
    return path if path and path.is_dir() else None
