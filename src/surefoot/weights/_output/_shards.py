"""Output in several files with an index, as Hugging Face writes them."""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import replace
from functools import partial
from pathlib import Path

from surefoot.core import SurefootError, write_text
from surefoot.weights._arithmetic._engine import Progress
from surefoot.weights._arithmetic._plan import MergePlan, Row
from surefoot.weights._output._journal import record, resume, sync_folder
from surefoot.weights._output._writing import identity, write

INDEX = "model.safetensors.index.json"
_UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}

Provenance = Callable[[MergePlan, int, Sequence[Row]], Mapping[str, str]]


def shard_bytes(size: int | str) -> int:
    """A number of bytes from 5000000, `500MB`, `2GB` (powers of ten, as Hugging Face counts)."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMGT]?)B?", str(size).strip().upper())
    count = int(float(found[1]) * _UNITS[found[2]]) if found else 0
    if count < 1:
        raise SurefootError(f"The size of a shard is a number of bytes such as 500MB or 2GB, not {size!r}.")
    return count


def split(plan: MergePlan, limit: int) -> list[range]:
    """Tensors of each shard, in file order: as many as fit into `limit` bytes, and at least one."""
    groups: list[range] = []
    first, held = 0, 0
    for index, one in enumerate(plan.assignments):
        if index > first and held + one.nbytes > limit:
            groups.append(range(first, index))
            first, held = index, 0
        held += one.nbytes
    return [*groups, range(first, len(plan.assignments))]


def write_shards(
    plan: MergePlan,
    folders: Sequence[Path],
    limit: int,
    *,
    provenance: Provenance,
    threads: int | None = None,
    progress: Progress | None = None,
    pool: Executor | None = None,
) -> list[Row]:
    """Write a plan into a folder for each coefficient: shards, then the index that makes them a checkpoint.

    An index of an earlier checkpoint there is removed first, so that it never names files of two. After a kill the
    shards that were complete stay, and the one that was not goes on where it stopped. Returns what was seen.
    """
    groups = split(plan, limit)
    names = [f"model-{number + 1:05d}-of-{len(groups):05d}.safetensors" for number in range(len(groups))]
    journal, key = folders[0] / f"{INDEX}.journal", f"{identity(plan)} {limit}"
    done = resume(key, journal, (), ())
    for folder in folders:
        (folder / INDEX).unlink(missing_ok=True)
    if not done:
        journal.write_text(key + "\n", "utf-8")
    before, total = 0, plan.written_bytes // len(folders)
    for number, group in enumerate(groups):
        part = replace(plan, shard=True, assignments=plan.assignments[group.start : group.stop])
        size, paths = part.written_bytes // len(folders), [folder / names[number] for folder in folders]
        if number not in done or not all(path.is_file() for path in paths):
            shown = _shifted(progress, before, total)
            said = partial(provenance, part)
            done[number] = write(part, paths, threads=threads, progress=shown, provenance=said, pool=pool)
            record(journal, (), number, done[number])
        before += size
    places = {plan.assignments[index].name: names[number] for number, group in enumerate(groups) for index in group}
    for folder in folders:
        _write_index(folder, places, total)
    journal.unlink(missing_ok=True)
    return [row for number in range(len(groups)) for row in done[number]]


def _shifted(progress: Progress | None, before: int, total: int) -> Progress | None:
    return (lambda done, _: progress(before + done, total)) if progress else None


def _write_index(folder: Path, places: Mapping[str, str], total: int) -> None:
    text = json.dumps({"metadata": {"total_size": total}, "weight_map": places}, indent=2, sort_keys=True) + "\n"
    write_text(folder / INDEX, text)
    sync_folder(folder)
