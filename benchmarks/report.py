"""How long a report takes, and how large its page is, from a small study to 600,000 measurements.

Run it with `python benchmarks/report.py [--measurements 600000]`. The numbers are invented, the store is real. The peer
is pandas' HTML table of the same measurements (`DataFrame.to_html`), which draws, sorts, filters and bounds nothing; it
is skipped where pandas is not installed.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent / "tests" / "report"))

import laboratory

from surefoot.core import Measurement, Results, Store, Study, walk
from surefoot.report import write_report

PER_STEP = 20


def timed(what: str, act: Callable[[], Any]) -> tuple[float, Any]:
    """Run once; print wall and CPU seconds; give the CPU seconds and the result."""
    wall, processor = time.perf_counter(), time.process_time()
    made = act()
    wall, processor = time.perf_counter() - wall, time.process_time() - processor
    print(f"{what:<58} {wall:8.2f} s wall {processor:8.2f} s CPU")
    return processor, made


def large_study(root: Path, measurements: int) -> tuple[Study, Results]:
    """A study of evaluations with 20 measurements each, in a store."""
    store = Store(root)
    steps = tuple(
        replace(step, model=replace(step.model, seed=seed))
        for seed in range(-(-measurements // (PER_STEP * 120)))
        for step in laboratory.evaluations()
    )[: measurements // PER_STEP]
    for step in steps:
        first = laboratory.accuracy(step)
        rows = [first] + [
            Measurement(
                metric="recall", value=first.value, n=25, stderr=0.05, group=f"group {number}", shift=step.style
            )
            for number in range(PER_STEP - 1)
        ]
        laboratory.publish(store, step, rows)
    study = Study(name="large", title="A large study", summary="", steps=steps)
    return study, Results(store=store, steps=tuple(walk(steps)))


def size(path: Path) -> str:
    """Megabytes of a file."""
    return f"{path.stat().st_size / 1e6:.2f} MB"


def pandas_page(results: Results, path: Path) -> Path:
    """The peer: every measurement as a row of an HTML table."""
    import pandas

    rows = [(item.step.key, item.measurement.metric, item.value, item.measurement.n) for item in results.observations]
    path.write_text(pandas.DataFrame(rows).to_html())
    return path


def main() -> None:
    """Time both studies."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--measurements", type=int, default=600_000)
    wanted = parser.parse_args().measurements
    with tempfile.TemporaryDirectory() as directory:
        root = Path(directory)
        study, results = laboratory.study_in(root / "small")
        _, page = timed(
            "first report of a study with 7 figures (bundles Vega)",
            lambda: write_report(study, results, root / "a.html"),
        )
        timed("the same again in one process", lambda: write_report(study, results, root / "a.html"))
        print(f"{'its page':<58} {size(page)}")
        study, results = large_study(root / "large", wanted)
        _, count = timed(f"reading {wanted:,} measurements from the store", lambda: len(results.observations))
        cost, page = timed(
            f"report of {count:,} measurements, read before", lambda: write_report(study, results, root / "b.html")
        )
        print(f"{'its page':<58} {size(page)}")
        if find_spec("pandas"):
            peer, other = timed("peer: pandas.DataFrame.to_html", lambda: pandas_page(results, root / "c.html"))
            print(f"{'its page':<58} {size(other)}")
            ratio = other.stat().st_size / page.stat().st_size
            print(f"peer over Surefoot: {peer / cost:.2f} times the CPU time, {ratio:.1f} times the size")


if __name__ == "__main__":
    main()
