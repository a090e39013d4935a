"""What is to be made, and the making of it: each input is read once, every output is computed at once."""

import contextlib
import hashlib
import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass, replace
from math import isfinite, prod
from pathlib import Path
from typing import Any

import numpy as np

from surefoot.core import SurefootError
from surefoot.weights._arithmetic._chunks import Chunk, ChunkReader, dot
from surefoot.weights._arithmetic._kernel import compute as compiled
from surefoot.weights._arithmetic._kernel import widened
from surefoot.weights._arithmetic._merging import ChunkMerge
from surefoot.weights._arithmetic._plan import ROW, Assignment, MergePlan, Row, parts
from surefoot.weights._files._checkpoint import Array, Files, LowRank
from surefoot.weights._files._types import BYTES, Bytes, encode

Sink = Callable[[int, int, Bytes], None]  # output, byte from the start of the data, bytes
Progress = Callable[[int, int], None]  # bytes done, bytes in all


def hasher(kind: str) -> Any:
    """A hash object: XXH3 (128 bits, against accidents) or SHA-256 (against malice, at 25 times the cost)."""
    if kind == "xxh3":
        with contextlib.suppress(ImportError):
            import xxhash

            return xxhash.xxh3_128()
    return hashlib.sha256()


def digest_in_memory(source: Array | LowRank, kind: str) -> str:
    """The digest of a tensor that no file is read for any more."""
    each = hasher(kind)
    for part in (source.up, source.down) if isinstance(source, LowRank) else (source.data,):
        each.update(np.ascontiguousarray(part).data)
    return each.hexdigest()


def _rows(assignment: Assignment) -> Iterator[tuple[int, int]]:
    size = prod(assignment.shape)
    return ((start, min(ROW, size - start)) for start in range(0, size, ROW))


def reader_of(plan: MergePlan, one: Assignment, files: Files) -> ChunkReader:
    """The inputs of one tensor, in 64 bits where the rules say so or one of them has as many."""
    wide = plan.rules.accumulate == "float64" or any(source.dtype == "F64" for source in one.sources)
    accumulate = np.float64 if wide else np.float32
    return ChunkReader(
        name=one.name,
        shape=one.shape,
        sources=one.sources,
        labels=one.labels[1:],
        files=files,
        accumulate=accumulate,
        chunk=plan.chunk,
    )


@dataclass(frozen=True)
class _Job:
    plan: MergePlan
    one: Assignment
    kernel: ChunkMerge | None
    files: Files
    sink: Sink
    offset: int


def compute(plan: MergePlan, group: Iterable[int], sink: Sink, files: Files, workers: Executor) -> list[Row]:
    """Make the assignments of `group`, hand the bytes to `sink`, and tell what was seen, in the order of the plan."""
    offsets = np.cumsum([0, *(one.nbytes for one in plan.assignments)]).tolist()
    members = [(plan.assignments[index], offsets[index]) for index in group]
    kernels = workers.map(lambda member: _kernel(plan, member[0], files), members)
    jobs = [
        _Job(plan, one, kernel, files, sink, offset) for (one, offset), kernel in zip(members, kernels, strict=True)
    ]
    work = [(job, start, count) for job in jobs for start, count in _rows(job.one)]
    return list(workers.map(lambda row: _row(*row), work))


def _kernel(plan: MergePlan, one: Assignment, files: Files) -> ChunkMerge | None:
    with np.errstate(all="ignore"):
        return one.method(reader_of(plan, one, files)) if one.method and prod(one.shape) else None


def _row(job: _Job, start: int, count: int) -> Row:
    plan, one = job.plan, job.one
    hashers = [None if isinstance(source, LowRank) else hasher(plan.rules.digest) for source in one.sources]
    inputs = replace(
        reader_of(plan, one, job.files),
        seen=lambda position, raw: hashers[position].update(raw.data),
        chunk=widened(plan.chunk, job.kernel.fused if job.kernel else None),
    )
    tally = np.zeros((3, len(plan.coefficients)))
    width = BYTES[one.dtype]
    with np.errstate(all="ignore"):
        for chunk in inputs.chunks(start, count):
            for output, raw in enumerate(_outputs(job, chunk, tally)):
                job.sink(output, job.offset + chunk.start * width, raw)
    edited, lost, bad = (tuple(values.tolist()) for values in tally)
    if any(bad) and plan.rules.nonfinite == "refuse":
        raise SurefootError(
            f"Tensor {one.name!r}: {int(max(bad))} values would be NaN or infinite near element {start}; "
            "look at the inputs (surefoot weights inspect), or allow them with nonfinite='flag'."
        )
    digests = tuple(each.hexdigest() if each else None for each in hashers)
    return Row(name=one.name, start=start, digests=digests, edit=edited, lost=lost, nonfinite=tuple(map(int, bad)))


def _outputs(job: _Job, chunk: Chunk, tally: np.ndarray) -> Iterator[Bytes]:
    one, kernel, coefficients = job.one, job.kernel, job.plan.coefficients
    if kernel is None:
        if len(one.sources) > 1 and not chunk.untouched:
            raise SurefootError(
                f"Tensor {one.name!r} ({one.sources[0].dtype}) differs between the checkpoints and is not a number to "
                "average; keep the base's with integers='base'."
            )
        yield from (chunk.raw[0] if chunk.raw[0] is not None else np.empty(0, np.uint8) for _ in coefficients)
        return
    weights = [coefficient * kernel.gain for coefficient in coefficients]
    still = kernel.fixed and chunk.untouched
    copied = [0 if still else kernel.copy(weight) for weight in weights]
    copied = [None if source is None or chunk.raw[source] is None else source for source in copied]
    computed = [output for output, source in enumerate(copied) if source is None]
    made = _compiled(job, chunk, weights, computed, tally) or _numpy(job, chunk, weights, computed, tally)
    for output, source in enumerate(copied):
        yield next(made) if source is None else _copied(job, chunk, source, tally[:, output])


def _copied(job: _Job, chunk: Chunk, source: int, tally: np.ndarray) -> Bytes:
    # The bytes of an input; what they change, and whether they are finite, is seen all the same.
    value = chunk.tuned(source - 1) if source else chunk.base
    moved = _distance(value, chunk.base) if source else 0.0
    kept = chunk.raw[source] if job.one.sources[source].dtype == job.one.dtype else None
    return _rounded(job, chunk, value, moved, tally, kept=kept)


def _compiled(
    job: _Job, chunk: Chunk, weights: Sequence[float], computed: Sequence[int], tally: np.ndarray
) -> Iterator[Bytes] | None:
    fused = job.kernel.fused if job.kernel else None
    made = compiled(fused, chunk, [weights[output] for output in computed], job.one.dtype) if computed else None
    if made is None:
        return None
    for output, lost in zip(computed, made.lost, strict=True):
        tally[:2, output] += weights[output] ** 2 * made.squares, lost
    return iter(made.raw)


def _numpy(
    job: _Job, chunk: Chunk, weights: Sequence[float], computed: Sequence[int], tally: np.ndarray
) -> Iterator[Bytes]:
    kernel = job.kernel
    if kernel is None or not computed:
        return
    change = kernel.compute(chunk)
    squares = dot(change, change) if kernel.linear else 0.0
    for output in computed:
        value = kernel.finish(chunk, change, weights[output])
        moved = weights[output] ** 2 * squares if kernel.linear else _distance(value, chunk.base)
        exact = kernel.finish(chunk, change.astype(np.float64), weights[output]) if kernel.linear else value
        yield _rounded(job, chunk, value, moved, tally[:, output], exact=exact)


def _distance(one: np.ndarray, other: np.ndarray) -> float:
    difference = one - other
    return dot(difference, difference)


def _rounded(
    job: _Job,
    chunk: Chunk,
    value: np.ndarray,
    moved: float,
    tally: np.ndarray,
    *,
    kept: Bytes | None = None,
    exact: np.ndarray | None = None,
) -> Bytes:
    # `kept` are bytes that hold the value as it is, `exact` what the value is of. A product with 0 is 0 where all is
    # finite.
    exact = value if exact is None else exact
    raw, rounded = encode(value, job.one.dtype) if kept is None else (kept, value)
    lost = _distance(rounded, exact) if kept is None else 0.0 * float(np.add.reduce(value))
    if isfinite(moved + lost):
        tally[:2] += moved, lost
        return raw
    equal = chunk.equal_elements() & (job.kernel is not None and job.kernel.fixed)
    if kept is None:
        raw, rounded = encode(np.where(equal, chunk.base, value), job.one.dtype)
        if job.one.sources[0].dtype == job.one.dtype and chunk.raw[0] is not None:
            raw.reshape(equal.size, -1)[equal] = chunk.raw[0].reshape(equal.size, -1)[equal]
    # What several inputs share (the infinity of an attention mask) is meant; what a single one has is not.
    meant = equal & ~np.isfinite(chunk.base) & (len(job.one.sources) > 1)
    finite = np.isfinite(rounded) & np.isfinite(value) & np.isfinite(chunk.base)
    tally[0] += _distance(value[finite], chunk.base[finite])
    tally[1] += _distance(rounded[finite], exact[finite])
    tally[2] += np.count_nonzero(~np.isfinite(rounded) & ~meant)
    return raw


def compare(plan: MergePlan, path: Path, start: int, *, threads: int | None = None) -> tuple[int, list[Row]]:
    """Replay a plan of one output against the data of `path` from byte `start`: how many bytes differ, and the rows."""
    differing, lock, rows = [0], threading.Lock(), list[Row]()
    with Files() as files, path.open("rb") as file, ThreadPoolExecutor(thread_count(threads)) as workers:

        def sink(_output: int, position: int, raw: Bytes) -> None:
            there = np.frombuffer(os.pread(file.fileno(), raw.size, start + position), np.uint8)
            count = raw.size if there.size != raw.size else int(np.count_nonzero(there != raw.reshape(-1)))
            with lock:
                differing[0] += count

        for group in parts(plan):
            rows += compute(plan, group, sink, files, workers)
    return differing[0], rows


def calm_allocator() -> None:
    # Once a block of this size has been freed, glibc keeps blocks of the size of a chunk instead of returning each to
    # the system and faulting its pages in again: half of the processor time otherwise. Elsewhere it does nothing.
    np.empty(1 << 24, np.uint8)


def thread_count(threads: int | None) -> int:
    """The threads that were asked for, or the default. Raises SurefootError for fewer than one."""
    if threads is not None and threads < 1:
        raise SurefootError(f"{threads} threads cannot work; ask for one or more.")
    return threads or default_threads()


def default_threads() -> int:
    return min(os.cpu_count() or 1, 8)


def seconds(plan: MergePlan, threads: int) -> float:
    """Rough time of a plan in seconds, from computing a first row of its largest tensor and writing nothing."""
    if not plan.assignments:
        return 0.0
    one = max(plan.assignments, key=lambda each: each.nbytes)
    count = min(ROW, prod(one.shape))
    with Files() as files:
        started = time.perf_counter()
        kernel = _kernel(plan, one, files)
        prepared = time.perf_counter()
        tolerant = replace(plan, rules=replace(plan.rules, nonfinite="flag"))
        _row(_Job(tolerant, one, kernel, files, lambda *_: None, 0), 0, count)
        ended = time.perf_counter()
    elements = sum(prod(each.shape) for each in plan.assignments)
    return (ended - prepared) * elements / max(count, 1) / threads + (prepared - started) * elements / prod(one.shape)
