"""How fast core is: plans, re-runs, the overhead of a Step, questions to a large store, and its import.

Run: python benchmarks/core.py [NAME ...]. Prints CPU and wall seconds (the best of the repeats) beside the goal.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from concurrent.futures import Executor, Future
from dataclasses import dataclass
from pathlib import Path
from resource import RUSAGE_SELF, getrusage
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[1] / "src"))

from surefoot.core import (
    Inputs,
    Measurement,
    Step,
    Store,
    damages,
    open_pool,
    own_spec,
    pivot,
    plan,
    query,
    run,
    stale,
    why_each,
    write_record,
)
from surefoot.core._run import run as run_steps


@dataclass(frozen=True, kw_only=True)
class Cell(Step):
    """One cell of a grid: it costs nothing, so that what is measured is core."""

    source: Step | None = None
    samples: int = 0
    seed: int = 0
    learning_rate: float = 1e-3
    model: str = "small"
    batch: int = 256
    epochs: int = 1

    def make(self, out: Path, inputs: Inputs) -> Iterable[Measurement]:
        (out / "weights.bin").write_bytes(b"0" * 1000)
        return tuple(Measurement(metric="accuracy", value=0.5, n=100, replicate=place) for place in range(20))


@dataclass(frozen=True)
class Clock:
    """CPU seconds of this process and its ended children, and wall seconds."""

    cpu: float
    wall: float


def best(action: Callable[[], object], repeats: int = 3) -> Clock:
    """The least CPU and the least wall seconds of a few repeats: the machine may be shared."""
    found = []
    for _ in range(repeats):
        cpu, wall = _cpu(), time.perf_counter()
        action()
        found.append((_cpu() - cpu, time.perf_counter() - wall))
    return Clock(min(cpu for cpu, _ in found), min(wall for _, wall in found))


def _cpu() -> float:
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def grid(count: int) -> tuple[Step, ...]:
    """`count` Steps in chains of two: trained cells on ten sources."""
    sources = [Cell(model=f"source {place}") for place in range(10)]
    return tuple(Cell(source=sources[place % 10], samples=place, seed=place % 3) for place in range(count - 10))


def fill(store: Store, steps: Iterable[Step]) -> None:
    """Write finished artifacts as core writes them, without the cost of making and of fsync."""
    for step in steps:
        path = store.path(step)
        path.mkdir(parents=True)
        rows = [Measurement(metric="accuracy", value=place / 20, n=100, task=f"task {place}") for place in range(20)]
        write_record(path, step, rows, {"started": "2026", "wall_seconds": 1.0, "cpu_seconds": 1.0})


def plan_10000(place: Path) -> None:
    """A plan of 10,000 Steps in an empty store, and in one that holds 2,000 of them."""
    empty = best(lambda: plan(grid(10_000), Store(place / "none")))
    report("plan of 10,000 Steps", empty, "2 s")
    store = Store(place / "some")
    fill(store, grid(2010))
    report("plan of 10,000 Steps, 2,000 made", best(lambda: plan(grid(10_000), store)), "2 s")


def rerun_2000(place: Path) -> None:
    """A finished study of 2,000 Steps is run again."""
    store, steps = Store(place / "rerun"), grid(2000)
    fill(store, [Cell(model=f"source {number}") for number in range(10)])
    fill(store, steps)

    def again() -> None:
        with open_pool("processes") as pool:
            assert {event.kind for event in run(grid(2000), store, pool)} == {"kept"}

    report("re-run of a finished study of 2,000 Steps", best(again), "0.5 s")


def overhead(place: Path) -> None:
    """What core costs for each Step that does nothing: lease, records, digests, fsync, rename, events."""
    for workers in (1, 2):
        clocks = []
        for repeat in range(3):
            store = Store(place / f"overhead {workers} {repeat}")
            with open_pool("processes", workers) as pool:
                list(run_steps([Cell(seed=number) for number in range(-2 * workers, 0)], store, pool))  # starts workers
                cpu, wall = _group_cpu(), time.perf_counter()
                list(run_steps([Cell(seed=number) for number in range(400)], store, pool))
                clocks.append(((_group_cpu() - cpu) / 400, (time.perf_counter() - wall) / 400))
        least = Clock(min(cpu for cpu, _ in clocks), min(wall for _, wall in clocks))
        report(f"overhead a Step, {workers} workers (400 Steps)", least, "5 ms", unit="ms")


def _group_cpu() -> float:
    """CPU seconds of this process and of all that descend from it (Linux)."""
    rows = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            rest = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        rows[int(path.parent.name)] = (int(rest[1]), int(rest[11]) + int(rest[12]))
    mine = {os.getpid()}
    while more := {pid for pid, (parent, _) in rows.items() if parent in mine} - mine:
        mine |= more
    return sum(rows[pid][1] for pid in mine) / os.sysconf("SC_CLK_TCK")


def questions(place: Path) -> None:
    """600,000 measurements of 30,000 artifacts."""
    store = Store(place / "large")
    fill(store, [Cell(model=f"source {number}") for number in range(10)])
    fill(store, grid(30_000))
    report("first question: the index is written", best(lambda: query(store, "SELECT 1"), 1), "")
    asked = {
        "count by metric": lambda: query(store, "SELECT metric, count(*), avg(value) FROM measurements GROUP BY 1"),
        "pivot: task by source": lambda: pivot(store, rows=["task"], columns=["source.model"]),
        "pivot: samples over 10,000": lambda: pivot(store, rows=["task"], where='"samples" > 10000'),
        "all of one Step": lambda: pivot(store, rows=["task"], steps=[grid(20)[3].key]),
    }
    for name, ask in asked.items():
        report(f"600,000 measurements, {name}", best(ask), "1 s")


@dataclass(frozen=True, kw_only=True)
class Merge(Step):
    """Stands for a merge of shards."""

    parts: tuple[Step, ...]

    def make(self, out: Path, inputs: Inputs) -> Iterable[Measurement]:
        return (Measurement(metric="parts", value=len(self.parts), n=len(self.parts)),)


def shards(place: Path) -> None:
    """Shards, their merge and as many users of it: what the records take (10,000: under 100 MB)."""
    for count in (2500, 10_000):
        store = Store(place / f"shards {count}")
        parts = tuple(Cell(seed=number) for number in range(count))
        merge = Merge(parts=parts)
        users = [Cell(source=merge, seed=number) for number in range(count)]
        clock = best(lambda: fill(store, [*parts, merge, *users]), 1)  # noqa: B023
        size = sum(path.stat().st_size for path in store.root.rglob("record.json"))
        spec = sum(len(json.dumps(own_spec(step))) for step in [*parts, merge, *users])
        print(
            f"{count} shards, a merge, {count} users: records {size / 1e6:.0f} MB, of these specs {spec / 1e6:.1f} MB"
        )
        report("  written", clock, "")
        report("  plan", best(lambda: plan(users, store), 1), "")  # noqa: B023
        report("  stale", best(lambda: stale(store), 1), "")  # noqa: B023
        report("  question", best(lambda: pivot(store, rows=["kind", "metric"]), 1), "")  # noqa: B023


def chain(place: Path) -> None:
    """A chain of Steps is run and reported, in this process: time and peak memory (10,000: under 1 GB, linear)."""
    from surefoot.core import Results, Study
    from surefoot.report import write_report

    for count in (2500, 10_000):
        store = Store(place / f"chain {count}")
        links: list[Step] = [Cell(seed=-1)]
        for number in range(count - 1):
            links.append(Cell(source=links[-1], seed=number))
        study = Study(name="chain", title="Chain", summary="A chain.", steps=(links[-1],))
        report(f"chain of {count}: run", best(lambda: list(run(study.steps, store, Now())), 1), "")  # noqa: B023
        page = place / "chain.html"
        report("  report", best(lambda: write_report(study, Results(store, tuple(links)), page), 1), "")  # noqa: B023
        report("  stale", best(lambda: stale(store), 1), "")  # noqa: B023
        asked = [Cell(source=links[-1], seed=-number) for number in range(2, 22)]
        report("  why of 20", best(lambda: list(why_each(asked, store)), 1), "")  # noqa: B023
        print(f"  peak memory {getrusage(RUSAGE_SELF).ru_maxrss / 1e6:.2f} GB")


class Now(Executor):
    """Makes each Step where it is asked for."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> "Future[Any]":
        future: Future[Any] = Future()
        future.set_result(fn(*args, **kwargs))
        return future


def first_use(place: Path) -> None:
    """What it costs to compare an artifact of 1 GiB with its digest when a Step first uses it."""
    store, step = Store(place / "first"), Cell(seed=1)
    path = store.path(step)
    path.mkdir(parents=True)
    with (path / "weights.bin").open("wb") as stream:
        for _ in range(1024):
            stream.write(bytes(2**20))
    write_record(path, step, ())
    clock = best(lambda: list(damages(store)), 2)
    report("digest of 1 GiB", clock, "2 s")


def imported(place: Path) -> None:
    """A fresh interpreter that imports core."""
    bare = best(lambda: subprocess.run([sys.executable, "-c", "pass"], check=True), 5)
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[1] / "src")}
    command = [sys.executable, "-c", "import surefoot.core"]
    core = best(lambda: subprocess.run(command, check=True, env=environment), 5)
    report("import surefoot.core", Clock(core.cpu - bare.cpu, core.wall - bare.wall), "")


def report(name: str, clock: Clock, goal: str, unit: str = "s") -> None:
    """One line of the table."""
    scale = 1000 if unit == "ms" else 1
    print(f"{name:48} {clock.cpu * scale:8.3f} {clock.wall * scale:8.3f} {unit:3} {goal:>8}", flush=True)


PARTS = {
    part.__name__: part for part in (imported, plan_10000, rerun_2000, overhead, shards, chain, first_use, questions)
}


def main() -> None:
    """Run the parts that were asked for, or all."""
    from core import PARTS  # under its own name, so that workers find the Steps again

    print(f"{'':48} {'CPU':>8} {'wall':>8} {'':3} {'goal':>8}")
    for name in sys.argv[1:] or PARTS:
        with tempfile.TemporaryDirectory() as place:
            PARTS[name](Path(place))


if __name__ == "__main__":
    main()
