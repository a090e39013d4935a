"""Making the parts of a stage: one pure function from a source to a part, resumed where it was stopped."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, as_completed
from dataclasses import asdict
from glob import escape
from pathlib import Path
from uuid import uuid4

from surefoot.core import Measurement, SurefootError, alone, digest_of, full_disk_is_said, write_text
from surefoot.pairs._stages._manifest import (
    MANIFEST,
    Manifest,
    Part,
    Recipe,
    Source,
    manifest_of,
    read_manifest,
    write_manifest,
)

MakePart = Callable[[Source, Path], Mapping[str, int]]
"""Writes the Parquet file at the path, and what else belongs to it beside it under the same stem; returns how often
each fault of the source was met. The same source gives the same bytes. It runs in a worker process: a module's function
or a `functools.partial` of one."""
Progress = Callable[[int, int], None]
"""Is called with the parts done and the parts in all."""
WORK = ".unfinished"
BUSY = "Another run works in {}: wait for it to end, or name another folder."
MEMORY = "400MB"  # of the tables of a stage; above it they spill to the disk


def make_parts(
    stage: str, recipe: Recipe, sources: Sequence[Source], out: Path, make: MakePart, *,
    pool: Executor | None = None, progress: Progress | None = None,
) -> Manifest:  # fmt: skip
    """Make a part of each source in `out`, in workers of `pool` or here, and write the manifest last.

    What an earlier call finished is not made again: a part, or all. Raises `SurefootError` when `out` holds anything
    else: other files, or the output of another stage, of other rules or sources; and while another run works there.
    """
    inputs = {source.path.name: source.sha256 for source in sources}
    head = asdict(manifest_of(stage, recipe, inputs, ()))
    out.mkdir(parents=True, exist_ok=True)
    with full_disk_is_said(out), alone(out, BUSY.format(out)):
        if (out / MANIFEST).exists():
            check_same(out, asdict(headed(read_manifest(out))), head)
            return read_manifest(out)
        begin(out, head)
        parts: dict[int, Part] = {}
        for number, part in _made(sources, out, make, pool):
            parts[number] = part
            if progress:
                progress(len(parts), len(sources))
        write_manifest(out, manifest_of(stage, recipe, inputs, [parts[number] for number in range(len(sources))]))
        shutil.rmtree(out / WORK, ignore_errors=True)
    return read_manifest(out)


def keep(made: Path, out: Path) -> None:
    """Put a finished stage into the directory of a Step: by links, since shards may be of any size."""
    shutil.copytree(made, out, copy_function=_linked, dirs_exist_ok=True)


def finished(made: Manifest, work: Path, out: Path, *, dropped: str = "") -> list[Measurement]:
    """Keep a stage as a Step; its rows, kept rows, and as the metric `dropped` those of each reason (its group)."""
    keep(work, out)
    counted = {("rows", ""): made.rows, ("kept", ""): made.kept}
    counted |= {(dropped, reason): rows for reason, rows in made.reasons.items() if dropped}
    counted |= {("faults", fault): times for fault, times in made.faults.items() if dropped == "dropped"}
    return [Measurement(metric=name, value=n, n=made.rows, group=group) for (name, group), n in counted.items()]


def carry(source: Path, out: Path) -> None:
    """Put what lies beside a part beside another one, by links where the disk has them."""
    for file in source.parent.glob(f"{source.stem}.*"):
        if file != source:
            _linked(file, out.with_suffix(file.name.removeprefix(source.stem)))


def _linked(file: str | Path, target: str | Path) -> None:
    try:
        os.link(file, target)
    except OSError:  # another disk, or one that knows no links
        shutil.copyfile(file, target)


def part_name(number: int) -> str:
    """The file name of a part."""
    return f"part-{number:05d}.parquet"


def described_part(path: Path, faults: Mapping[str, int] | None = None) -> Part:
    """A Parquet file with a column `reasons` and what lies beside it under its stem: counted and digested."""
    import duckdb

    place = escape(str(path))  # DuckDB takes `[` and `*` for a pattern
    with duckdb.connect(config={"threads": 1}) as connection:
        listed = "SELECT count(*), count(*) FILTER (len(reasons) = 0) FROM read_parquet(?)"
        ((rows, kept),) = connection.execute(listed, [place]).fetchall()
        counted = "SELECT reason, count(*) FROM (SELECT unnest(list_distinct(reasons)) AS reason FROM read_parquet(?))"
        reasons = dict(connection.execute(f"{counted} GROUP BY reason ORDER BY reason", [place]).fetchall())
    beside = {other.name: digest_of(other) for other in sorted(path.parent.glob(f"{path.stem}.*")) if other != path}
    return Part(
        file=path.name, sha256=digest_of(path), rows=rows, kept=kept, reasons=reasons,
        faults=dict(sorted((faults or {}).items())), beside=beside,
    )  # fmt: skip


def headed(manifest: Manifest) -> Manifest:
    return manifest_of(manifest.stage, manifest.recipe, manifest.inputs, ())


def begin(out: Path, head: Mapping[str, object]) -> None:
    work = out / WORK
    if any(out.iterdir()) and not (work / "stage.json").is_file():
        raise SurefootError(f"{out} holds other files already: name an empty or a new folder with --out.")
    work.mkdir(parents=True, exist_ok=True)
    if (work / "stage.json").is_file():
        check_same(out, json.loads((work / "stage.json").read_text(encoding="utf-8")), head)
    else:
        write_text(work / "stage.json", json.dumps(head, ensure_ascii=False))


def check_same(out: Path, found: Mapping[str, object], head: Mapping[str, object]) -> None:
    """Compared as JSON, in which a tuple is a list."""
    texts = [json.loads(json.dumps(one)) for one in (found, head)]
    other = [name for name in texts[1] if texts[0].get(name) != texts[1][name]]
    if other:
        raise SurefootError(
            f"{out} holds the output of another run (its {other[0]} differs): name another folder with --out, or "
            "delete this one."
        )


def _made(sources: Sequence[Source], out: Path, make: MakePart, pool: Executor | None) -> Iterator[tuple[int, Part]]:
    numbered = enumerate(sources)
    if pool is None:
        yield from ((number, _make_part(number, source, out, make)) for number, source in numbered)
        return
    futures = {pool.submit(_make_part, number, source, out, make): number for number, source in numbered}
    for future in as_completed(futures):
        yield futures[future], future.result()


def _make_part(number: int, source: Source, out: Path, make: MakePart) -> Part:
    name = part_name(number)
    record = out / WORK / f"{name}.json"
    if record.is_file():
        return Part(**json.loads(record.read_text(encoding="utf-8")))
    draft = out / WORK / f"{name}.{uuid4().hex[:8]}.tmp"
    draft.mkdir()
    try:
        part = described_part(draft / name, make(source, draft / name))
        for file in (*part.beside, part.file):
            (draft / file).replace(out / file)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    write_text(record, json.dumps(asdict(part), ensure_ascii=False))
    return part
