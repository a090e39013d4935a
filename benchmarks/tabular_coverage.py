"""How often the intervals of an audit hold the truth: worst group, differences and ratios between groups.

Tables of random answers with known rates, alike in all groups or not, of equal and unequal sizes; the share of them
whose interval holds the true value, and the mean width. At 2,000 tables the error of a share of 95 is half a point.

Run: python benchmarks/tabular_coverage.py [tables]
"""

import sys
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from surefoot.stats import disparity_bounds, group_auc, group_metrics, ratio_bounds, worst_group

Floats = NDArray[np.float64]
GROUPS = (2, 6, 20)
SIZES = {"20 each": 20, "100 each": 100, "1,000 each": 1000, "20 to 1,000": 0}


def sizes_of(groups: int, each: int) -> NDArray[np.int64]:
    """Rows of each group: all alike, or from 20 to 1,000 in equal ratios."""
    return np.full(groups, each) if each else np.geomspace(20, 1000, groups).round().astype(np.int64)


def truths(groups: int) -> dict[str, tuple[Floats, Floats]]:
    """True and false positive rates of the groups."""
    return {
        "alike": (np.full(groups, 0.8), np.full(groups, 0.2)),
        "alike, rare": (np.full(groups, 0.97), np.full(groups, 0.03)),
        "one worse": (np.r_[0.5, np.full(groups - 1, 0.8)], np.r_[0.4, np.full(groups - 1, 0.2)]),
        "spread": (np.linspace(0.6, 0.9, groups), np.linspace(0.3, 0.1, groups)),
    }


def answers(sizes: NDArray[np.int64], rates: tuple[Floats, Floats], tables: int, seed: int) -> tuple[Floats, ...]:
    """Labels (half of them yes), group codes, and decisions (tables, n) at these rates."""
    generator = np.random.default_rng(seed)
    codes = np.repeat(np.arange(len(sizes)), sizes)
    labels = np.concatenate([np.arange(size) % 2 for size in sizes])
    share = np.where(labels == 1, rates[0][codes], rates[1][codes])
    return labels, codes, (generator.random((tables, len(codes)), dtype=np.float32) < share).astype(np.float32)


def covered(low: Floats, high: Floats, truth: float) -> tuple[float, float]:
    """The share of intervals that hold the truth, and their mean width; those that are undefined do not count."""
    known = np.isfinite(low) & np.isfinite(high)
    inside = (low <= truth + 1e-12) & (truth <= high + 1e-12)
    return float(inside[known].mean()), float((high - low)[known].mean())


def results(tables: int) -> Iterator[tuple[int, str, str, dict[str, tuple[float, float]]]]:
    """A line for each number of groups, sizes and truth."""
    for groups in GROUPS:
        for shown, each in SIZES.items():
            sizes = sizes_of(groups, each)
            for name, (right, wrong) in truths(groups).items():
                labels, codes, called = answers(sizes, (right, wrong), tables, seed=groups + each)
                found = group_metrics(labels, called, codes, probabilities=False, least=10)
                yes = np.array([labels[codes == group].mean() for group in range(groups)])
                accuracy = yes * right + (1 - yes) * (1 - wrong)
                selected = yes * right + (1 - yes) * wrong
                worst = worst_group(found)
                gap, ratio = disparity_bounds(found, "accuracy_disparity"), ratio_bounds(found, "demographic_parity")
                odds = disparity_bounds(found, "equalised_odds")
                yield (
                    groups,
                    shown,
                    name,
                    {
                        "worst group": covered(worst.low, worst.high, accuracy.min()),
                        "accuracy disparity": covered(gap.low, gap.high, np.ptp(accuracy)),
                        "equalised odds": covered(odds.low, odds.high, max(np.ptp(right), np.ptp(wrong))),
                        "selection ratio": covered(ratio.low, ratio.high, selected.min() / selected.max()),
                    },
                )


def areas(tables: int) -> Iterator[tuple[str, float, float]]:
    """The area under the ROC curve of one group, by its rows of each label."""
    from scipy.special import ndtr

    generator = np.random.default_rng(0)
    for positives, negatives, apart in ((10, 10, 1.0), (10, 200, 1.0), (20, 20, 0.0), (20, 20, 3.0), (100, 100, 1.0)):
        labels = np.r_[np.ones(positives), np.zeros(negatives)].astype(int)
        bounds = []
        for _ in range(tables // 4):
            scores = generator.normal(size=len(labels)) + apart * labels
            found = group_auc(labels, scores, np.zeros(len(labels), int))
            bounds.append((found.low[0], found.high[0]))
        low, high = np.array(bounds).T
        yield f"{positives} and {negatives}, area {ndtr(apart / 2**0.5):.2f}", *covered(low, high, ndtr(apart / 2**0.5))


def main(tables: int) -> None:
    """Print both tables as Markdown."""
    names = ("worst group", "accuracy disparity", "equalised odds", "selection ratio")
    print("| groups | rows | truth | " + " | ".join(names) + " |")
    print("|---|---|---|" + "---|" * len(names))
    for groups, shown, truth, cells in results(tables):
        values = [f"{100 * cells[name][0]:.1f} ({cells[name][1]:.2f})" for name in names]
        print(f"| {groups} | {shown} | {truth} | " + " | ".join(values) + " |", flush=True)
    print("\n| positives and negatives | area under ROC |\n|---|---|")
    for shown, share, width in areas(tables):
        print(f"| {shown} | {100 * share:.1f} ({width:.2f}) |", flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 2000)
