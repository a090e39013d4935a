"""The full tree grids on Adult, from a random share of each, and successive halving against the same in full.

Run: python benchmarks/tabular_grids.py [--share 0.1] [--learners lightgbm,xgboost,gbm] [--halving 3]

Every configuration is fitted on all 26,000 training rows in one process and on one core; hours are extrapolated by the
CPU seconds of the share. Halving starts on a ninth of the rows and is compared by what it finds and at what cost.
"""

import argparse
import random
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from surefoot.core import Store, open_pool, run
from surefoot.stats import resample_accuracies
from surefoot.tabular import GRIDS, Design, PublicTable, TableFits, full_grid, open_design
from surefoot.tabular._sweep._compare import _gather


@dataclass(frozen=True, kw_only=True)
class Found:
    """What a sweep cost in CPU seconds, and the configuration it chose by its worst group on validation."""

    seconds: float
    finished: int
    validation: float
    test: float
    correct: np.ndarray


def sweep(store: Store, fit: TableFits) -> Found:
    """Run one Step, and choose."""
    with open_pool("here") as pool:
        failed = [event.error for event in run([fit], store, pool) if event.error]
    assert not failed, failed
    table = _gather([store.path(fit) / "configurations.parquet"])
    whole = np.flatnonzero(table["share"] == 1)
    chosen = whole[np.argmax(table["validation_worst_group_accuracy"][whole])]
    test = open_design(store.path(fit.design)).test
    scores = np.load(store.path(fit) / "scores.npz")["test"][chosen]
    return Found(
        seconds=float(store.provenance(fit)["cpu_seconds"]),
        finished=len(whole),
        validation=float(table["validation_worst_group_accuracy"][chosen]),
        test=float(table["test_worst_group_accuracy"][chosen]),
        correct=(scores >= 0.5) == (np.asarray(test.y) == 1),
    )


def difference(full: Found, halved: Found, codes: np.ndarray) -> tuple[float, float]:
    """The 95 percent interval of the difference in worst-group accuracy on the same resampled test rows."""
    groups = int(codes.max()) + 1
    _, draws = resample_accuracies(np.stack([full.correct, halved.correct]), codes, groups, replicates=2000)
    low, high = np.quantile(draws[:, 1].min(1) - draws[:, 0].min(1), (0.025, 0.975))
    return float(low), float(high)


def main() -> None:
    """One line for each grid, and one for halving on it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--share", type=float, default=0.1)
    parser.add_argument("--learners", default="lightgbm,xgboost,gbm")
    parser.add_argument("--halving", type=int, default=3)
    asked = parser.parse_args()
    design = Design(table=PublicTable(name="adult"), official=False, validation=0.2333, test=0.2333)
    minutes = 0.0
    with tempfile.TemporaryDirectory() as place:
        store = Store(Path(place))
        for learner in asked.learners.split(","):
            grid, lengths = full_grid(learner), len(GRIDS[learner][0]["n_estimators"])
            size = len(grid)
            drawn = random.Random(0).sample(range(0, size, lengths), max(1, round(asked.share * size / lengths)))
            chosen = tuple(each for place in drawn for each in grid[place : place + lengths])
            full = sweep(store, TableFits(design=design, learner=learner, configurations=chosen))
            each = full.seconds / len(chosen)
            minutes += each * size / 60
            print(
                f"{learner}: {len(chosen)} of {size} configurations, {full.seconds:.0f} CPU s, {each:.3f} each,",
                end=" ",
            )
            print(f"{7200 / each:,.0f} an hour on two cores; the full grid: {each * size / 120:.1f} min on two cores")
            halved = sweep(
                store, TableFits(design=design, learner=learner, configurations=chosen, halving=asked.halving)
            )
            low, high = difference(full, halved, np.asarray(open_design(store.path(design)).test.g))
            print(
                f"  worst group chosen on validation, on test: full {full.test:.4f}, halving {halved.test:.4f}", end=" "
            )
            print(f"(difference {halved.test - full.test:+.4f}, interval {low:+.4f} to {high:+.4f}),", end=" ")
            print(f"{halved.finished} finished at {halved.seconds / full.seconds:.2f} of the cost", flush=True)
    print(f"all of these grids in full: {minutes / 2:.0f} minutes on two cores")


if __name__ == "__main__":
    main()
