"""Streams a plan to disk: files appear complete or not at all, and the work can be killed at any moment."""

import contextlib
import hashlib
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor, as_completed
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

from surefoot.core import SurefootError, file_place
from surefoot.weights._arithmetic._engine import Progress, Sink, calm_allocator, compute, digest_in_memory, thread_count
from surefoot.weights._arithmetic._merging import Method
from surefoot.weights._arithmetic._plan import MergePlan, Row, parts
from surefoot.weights._files._checkpoint import Files, StoredTensor
from surefoot.weights._files._safetensors import Tensor, header_bytes
from surefoot.weights._files._types import Bytes
from surefoot.weights._output._journal import claimed, cleared, put, record, reserve, resume, sync_folder

Starts = Sequence[tuple[Path, int]]  # of each output: the file, and the byte that its data begin at


def write(
    plan: MergePlan,
    paths: Sequence[Path],
    *,
    threads: int | None = None,
    progress: Progress | None = None,
    provenance: Callable[[int, list[Row]], Mapping[str, str]] | None = None,
    pool: Executor | None = None,
) -> list[Row]:
    """Write one safetensors file for each coefficient of the plan and return what was seen.

    The files appear under their names, complete, or not at all: work is done in `NAME.part` beside them, whose size is
    allocated before the first byte is computed, and `NAME.part.journal` says which parts are on the disk, so that a
    second call after a kill goes on there and gives the same bytes. `provenance` gives metadata that is known only at
    the end, of one length for any rows. The workers of a `pool`, which must see the same files, write the same bytes.
    """
    calm_allocator()
    paths = [file_place(path) for path in paths]
    _check_outputs(plan, paths)
    given = provenance or (lambda _output, _rows: {})
    layout = {one.name: (one.dtype, one.shape) for one in plan.assignments}

    def heads(rows: list[Row]) -> list[bytes]:
        return [header_bytes(layout, {**plan.metadata, **given(output, rows)}) for output in range(len(paths))]

    first = heads([])
    working = [path.with_name(path.name + ".part") for path in paths]
    journal = working[0].with_name(working[0].name + ".journal")
    with contextlib.ExitStack() as stack:
        outs = [stack.enter_context(claimed(path)) for path in working]
        stack.enter_context(cleared([*working, journal]))
        sizes = [len(head) + plan.written_bytes // len(paths) for head in first]
        done = _begun(plan, journal, working, outs, sizes)
        starts = [(path, len(head)) for path, head in zip(working, first, strict=True)]
        _fill(plan, journal, outs, starts, done, threads=threads, progress=progress, pool=pool)
        rows = [row for number in sorted(done) for row in done[number]]
        for descriptor, head, final in zip(outs, first, heads(rows), strict=True):
            if len(final) != len(head):
                raise SurefootError("Provenance changed its length; this is a mistake of its function.")
            put(descriptor, memoryview(final), 0)
            os.fsync(descriptor)
        for part, path in zip(working, paths, strict=True):
            part.replace(path)
    journal.unlink(missing_ok=True)
    sync_folder(paths[0].parent)
    return rows


def _begun(
    plan: MergePlan, journal: Path, working: Sequence[Path], outs: Sequence[int], sizes: Sequence[int]
) -> dict[int, list[Row]]:
    # What is done already; room for all that is not.
    key = identity(plan)
    done = resume(key, journal, working, sizes)
    for descriptor, path, size in zip(outs, working, sizes, strict=True):
        reserve(descriptor, path, size)
    if not done:
        journal.write_text(key + "\n", "utf-8")
    return done


def _fill(
    plan: MergePlan,
    journal: Path,
    outs: Sequence[int],
    starts: Starts,
    done: dict[int, list[Row]],
    *,
    threads: int | None,
    progress: Progress | None,
    pool: Executor | None,
) -> None:
    todo = {number: group for number, group in enumerate(parts(plan)) if number not in done}
    found = _pooled(plan, todo, starts, pool) if pool else _here(plan, todo, starts, thread_count(threads))
    total = plan.written_bytes // len(outs)
    left = sum(_bytes_of(plan, group) for group in todo.values())
    with ThreadPoolExecutor(1) as scribe:  # waits for the disk while the next part is computed
        recorded = scribe.submit(lambda: None)
        for number, rows in found:
            done[number] = rows
            recorded.result()
            recorded = scribe.submit(record, journal, outs, number, rows)
            left -= _bytes_of(plan, todo[number])
            if progress:
                progress(total - left, total)
        recorded.result()


def _bytes_of(plan: MergePlan, group: range) -> int:
    return sum(plan.assignments[index].nbytes for index in group)


def _here(plan: MergePlan, todo: Mapping[int, range], starts: Starts, threads: int) -> Iterator[tuple[int, list[Row]]]:
    with Files() as files, _opened(starts) as sink, ThreadPoolExecutor(threads) as workers:
        for number, group in todo.items():
            yield number, compute(plan, group, sink, files, workers)


def _pooled(
    plan: MergePlan, todo: Mapping[int, range], starts: Starts, pool: Executor
) -> Iterator[tuple[int, list[Row]]]:
    futures = {}
    for number, group in todo.items():
        one = replace(plan, assignments=plan.assignments[group.start : group.stop], recipe={}, metadata={})
        offset = _bytes_of(plan, range(group.start))
        futures[pool.submit(make_part, one, [(path, start + offset) for path, start in starts])] = number
    try:
        for future in as_completed(futures):
            yield futures[future], future.result()
    finally:
        for future in futures:
            future.cancel()


def make_part(plan: MergePlan, starts: Starts) -> list[Row]:
    """Compute all of a plan into files that are there, and wait for the disk: what a worker of a pool does."""
    calm_allocator()
    with Files() as files, _opened(starts) as sink, ThreadPoolExecutor(1) as workers:
        rows = compute(plan, range(len(plan.assignments)), sink, files, workers)
    for path, _ in starts:
        with path.open("rb") as file:
            os.fsync(file.fileno())
    return rows


@contextlib.contextmanager
def _opened(starts: Starts) -> Iterator[Sink]:
    with contextlib.ExitStack() as stack:
        outs = [(stack.enter_context(path.open("r+b", buffering=0)).fileno(), start) for path, start in starts]

        def sink(output: int, position: int, raw: Bytes) -> None:
            descriptor, start = outs[output]
            put(descriptor, raw.data, start + position)

        yield sink


def _check_outputs(plan: MergePlan, paths: Sequence[Path]) -> None:
    if not len(paths) == len(plan.coefficients) == (different := len({path.resolve() for path in paths})):
        raise SurefootError(f"{len(plan.coefficients)} coefficients need as many different files, not {different}.")
    inputs = {Path(os.path.realpath(getattr(source, "path", ""))) for one in plan.assignments for source in one.sources}
    for path in paths:
        if path.resolve() in inputs:
            raise SurefootError(f"{path} is one of the inputs; write somewhere else.")
        if not path.parent.is_dir():
            raise SurefootError(f"{path.parent}: No such folder.")


def identity(plan: MergePlan) -> str:
    """Digest of all that decides the bits: tensors, times of files, what is in memory, coefficients and recipe."""
    stat = cache(Path.stat)  # a file holds many tensors, and may lie on a network
    stamps = [_stamp(plan, source, stat) for one in plan.assignments for source in one.sources]
    described = [(one.name, one.dtype, one.shape, one.labels, _named(one.method)) for one in plan.assignments]
    text = json.dumps(
        [described, stamps, plan.coefficients, plan.rules.accumulate, plan.rules.digest, plan.recipe], default=str
    )
    return hashlib.sha256(text.encode()).hexdigest()


def _stamp(plan: MergePlan, source: StoredTensor, stat: Callable[[Path], os.stat_result]) -> list[Any]:
    # An adapter or a pickle is in memory, and the file that it came from may hold another one when work goes on.
    if not isinstance(source, Tensor):
        return [digest_in_memory(source, plan.rules.digest)]
    status = stat(source.path)
    # Copying keeps the time of the content (cp -p, rsync); that of the entry is always the system's own.
    return [str(source.path), source.start, status.st_size, status.st_mtime_ns, status.st_ctime_ns]


def _named(method: Method | None) -> list[Any]:
    # A partial's repr has an address in it, which is new in each process.
    function, bound = getattr(method, "func", method), getattr(method, "keywords", {})
    return [getattr(function, "__module__", ""), getattr(function, "__qualname__", ""), sorted(bound.items())]
