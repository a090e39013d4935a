"""Robustness lines for 338 models and 212 shifts with 1,000 bootstraps each, against a plain loop.

The peer is what published scripts do: scipy.stats.linregress on the baseline of each shift, and row bootstraps with
numpy.linalg.lstsq. It runs on a fraction of the work, interleaved with ours in one process; the ratio is per line.

    SUREFOOT_DATA=... python benchmarks/robustness_lines.py
"""

import os
import time
from pathlib import Path

import numpy as np
import scipy.stats

from surefoot.laws import fit_shift, read_table, shift_data, wide_accuracies
from surefoot.stats import effective_robustness, fit_lines, place_on_axis, resample_counts

REPLICATES = 1000
PEER_SHIFTS, PEER_REPLICATES = 12, 100


def _scores() -> tuple[np.ndarray, np.ndarray]:
    """Accuracy on ImageNet (338,) and under 212 shifts: the testbed, or numbers like it where it is not at hand."""
    root = os.environ.get("SUREFOOT_DATA")
    if root:
        table = read_table(Path(root) / "laws" / "imagenet_testbed_top1.csv")
        columns = [cells / 100 for name, cells in table.columns.items() if name not in {"model", "val"}]
        return table.columns["val"] / 100, np.column_stack(columns)
    generator = np.random.default_rng(0)
    x = generator.normal(0.8, 0.8, 338)
    y = generator.uniform(0.3, 1.2, 212) * x[:, None] - 1 + generator.normal(0, 0.2, (338, 212))
    y[generator.random(y.shape) < 0.2] = np.nan
    return 1 / (1 + np.exp(-x)), 1 / (1 + np.exp(-y))


def ours(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """All lines, their intervals, and the effective robustness of every model."""
    place, shifted = place_on_axis(x, n=50_000).value, place_on_axis(y, n=10_000).value
    lines = fit_lines(place, shifted, counts=resample_counts(len(x), REPLICATES, seed=0))
    effective_robustness(place, y, lines)
    return lines.coefficients[:, 1]


def peer(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """The same lines for a few shifts and fewer bootstraps, in a loop."""
    place, shifted = place_on_axis(x, n=50_000).value, place_on_axis(y, n=10_000).value
    generator = np.random.default_rng(0)
    slopes = []
    for column in range(PEER_SHIFTS):
        known = np.isfinite(place) & np.isfinite(shifted[:, column])
        left, right = place[known], shifted[known, column]
        slopes.append(scipy.stats.linregress(left, right).slope)
        design = np.column_stack([np.ones(len(left)), left])
        for _ in range(PEER_REPLICATES):
            rows = generator.integers(0, len(left), len(left))
            np.linalg.lstsq(design[rows], right[rows], rcond=None)
    return np.array(slopes)


def main() -> None:
    """Print both, and the ratio per bootstrapped line."""
    x, y = _scores()
    work, peer_work = y.shape[1] * REPLICATES, PEER_SHIFTS * PEER_REPLICATES
    seconds: dict[str, list[float]] = {"ours": [], "peer": []}
    for _ in range(3):
        for name, run in (("ours", ours), ("peer", peer)):
            start = time.process_time()
            slopes = run(x, y)
            seconds[name].append(time.process_time() - start)
            seconds.setdefault(f"{name} slopes", slopes[:PEER_SHIFTS].tolist())
    assert np.allclose(seconds["ours slopes"], seconds["peer slopes"], rtol=1e-8), "both must fit the same lines"
    mine, other = min(seconds["ours"]) / work, min(seconds["peer"]) / peer_work
    print(
        f"{y.shape[0]} models x {y.shape[1]} shifts x {REPLICATES} bootstraps: {min(seconds['ours']):.2f} CPU seconds"
    )
    print(f"loop of linregress and lstsq: {other * work:.0f} CPU seconds for the same (from {peer_work:,} of {work:,})")
    print(f"ratio: {other / mine:.0f}")
    root = os.environ.get("SUREFOOT_DATA")
    if root:
        table = read_table(Path(root) / "laws" / "imagenet_testbed_top1.csv")
        start = time.process_time()
        fit_shift(shift_data(wide_accuracies(table), x="val", baseline_above=0.55), replicates=REPLICATES)
        print(f"the whole report, with groups, linearity and three axes: {time.process_time() - start:.2f} CPU seconds")


if __name__ == "__main__":
    main()
