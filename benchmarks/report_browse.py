"""How long 100,000 configurations of a sweep take to open, sort, filter and turn over in the report, in a browser.

Run: python benchmarks/report_browse.py [--configurations 100000] [--chromium PATH]

The numbers are invented. Each act is timed in the page by its own clock, to the next frame that is drawn.
"""

import argparse
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from playwright.sync_api import sync_playwright

from surefoot.core import Inputs, Measurement, Results, Step, Store, Study, open_pool, run
from surefoot.report import write_report
from surefoot.tabular import LEARNERS, full_grid
from surefoot.tabular._sweep._fits import write_columns

ACT = """async ([what, value]) => {
  const grid = document.querySelector('.grid[data-table="configurations"]');
  const begun = performance.now();
  if (what === "sort") [...grid.querySelectorAll("th button")].find((one) => one.textContent === value).click();
  if (what === "next") [...grid.querySelectorAll(".pager button")].pop().click();
  if (what === "words") { const box = grid.querySelector("input"); box.value = value;
    box.dispatchEvent(new Event("input")); }
  if (what === "choose") { const list = grid.querySelector(`select[aria-label="${value}"]`); list.value = "3";
    list.dispatchEvent(new Event("change")); }
  await new Promise((done) => requestAnimationFrame(() => setTimeout(done)));
  return [performance.now() - begun, grid.querySelector(".pager span").textContent];
}"""
ACTS = (
    ("next", ""),
    ("sort", "test worst group"),
    ("sort", "test worst group"),
    ("next", ""),
    ("sort", "configuration"),
    ("words", "depth learning_rate"),
    ("choose", "learner"),
    ("sort", "test accuracy"),
    ("words", ""),
)


@dataclass(frozen=True, kw_only=True)
class Invented(Step):
    """As many configurations as asked, of all learners in turn, with random metrics."""

    count: int

    def make(self, out: Path, inputs: Inputs) -> list[Measurement]:
        """Write the file that a comparison of learners keeps."""
        generator = np.random.default_rng(0)
        learners = np.array(list(LEARNERS), dtype=object)[np.arange(self.count) % len(LEARNERS)]
        grids = {name: [str(dict(each)).replace("'", '"') for each in full_grid(name)] for name in LEARNERS}
        titles = [grids[name][place % len(grids[name])] for place, name in enumerate(learners)]
        accuracy = generator.beta(40, 8, (2, self.count))
        worst = accuracy - generator.beta(2, 40, (2, self.count))
        columns: dict[str, Any] = {
            "table": np.array([f"table {place}" for place in range(8)], dtype=object)[np.arange(self.count) % 8],
            "split": np.array([str(place) for place in range(3)], dtype=object)[np.arange(self.count) % 3],
            "learner": learners,
            "configuration": np.array(titles, dtype=object),
            "cpu_seconds": generator.exponential(1.0, self.count),
        }
        for part, name in enumerate(("validation", "test")):
            columns |= {f"{name}_accuracy": accuracy[part], f"{name}_worst_group_accuracy": worst[part]}
        columns |= {"test_worst_group_low": worst[1] - 0.03, "test_worst_group_high": worst[1] + 0.03}
        for metric in ("accuracy_disparity", "demographic_parity", "equalised_odds", "calibration_error", "cvar"):
            columns[f"test_{metric}"] = generator.beta(2, 30, self.count)
        write_columns(out / "configurations.parquet", columns)
        return [Measurement(metric="configurations", value=self.count, n=self.count)]


def main() -> None:
    """Write the page, open it, and print what each act takes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--configurations", type=int, default=100_000)
    parser.add_argument("--chromium", default="/usr/bin/chromium")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        store, step = Store(Path(name, "store")), Invented(count=asked.configurations)
        with open_pool("here") as pool:
            failed = [event.error for event in run([step], store, pool) if event.error]
        assert not failed, failed
        study = Study(name="browse", title="A large sweep", summary="Invented.", steps=(step,))
        begun = time.perf_counter()
        page = write_report(study, Results(store, (step,)), Path(name, "browse.html"))
        size = page.stat().st_size / 1e6
        print(
            f"{asked.configurations:,} configurations: a page of {size:.1f} MB in {time.perf_counter() - begun:.2f} s"
        )
        browse(page, asked.chromium)


def browse(path: Path, chromium: str) -> None:
    """Open the page in a headless browser and act on it."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page()
        begun = time.perf_counter()
        page.goto(path.as_uri())
        page.wait_for_selector("html[data-ready]")
        print(f"opened and ready in {time.perf_counter() - begun:.2f} s")
        for what, value in ACTS:
            taken, said = page.evaluate(ACT, [what, value])
            print(f"{what:7} {value:22} {taken / 1000:6.3f} s   {said}")
        browser.close()


if __name__ == "__main__":
    # A Step is found again by the name of its module.
    import report_browse

    report_browse.main()
