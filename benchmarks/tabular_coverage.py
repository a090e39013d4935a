"""How often the intervals of an audit hold the truth: worst group, differences and ratios between groups.

Tables of random answers with known rates, alike in all groups or not, of equal and unequal sizes; the share of them
whose interval holds the true value, and the mean width. At 2,000 tables the error of a share of 95 is half a point.

Run: python benchmarks/tabular_coverage.py [tables]
"""

import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace

import numpy as np
from numpy.typing import NDArray

from surefoot.core import Measurement
from surefoot.stats import (
    disparity_bounds,
    disparity_difference,
    group_auc,
    group_metrics,
    rate_bounds,
    ratio_bounds,
    worst_group,
    worst_group_difference,
)
from surefoot.tabular import BY_WORST_GROUP
from surefoot.tabular._sweep._compare import _Board, _differences, _reached

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


def weighted(tables: int) -> Iterator[tuple[str, dict[str, tuple[float, float]]]]:
    """An audit with weights: of six groups, one worse; weights even, ragged, and heavier where answers are wrong."""
    generator = np.random.default_rng(0)
    codes = np.repeat(np.arange(6), 200)
    labels = np.arange(len(codes)) % 2
    right = np.where(codes == 0, 0.7, 0.85)
    for shown, spread, pull in (("0.5 to 4", 0.6, 0.0), ("1 to 50", 1.2, 0.0), ("1 to 50, informative", 1.2, 0.8)):
        weights = np.exp(generator.normal(0, spread, len(codes)))
        # Where weights say who is judged badly, the truth is the weighted share.
        rate = np.clip(right - pull * 0.1 * np.log(weights), 0.02, 0.98)
        truth = np.bincount(codes, weights * rate) / np.bincount(codes, weights)
        bounds: dict[str, list[tuple[float, float]]] = {"one group": [], "worst group": [], "accuracy disparity": []}
        for _ in range(tables // 4):
            called = np.where(generator.random(len(codes)) < rate, labels, 1 - labels).astype(float)
            found = group_metrics(labels, called, codes, probabilities=False, weights=weights)
            low, high = rate_bounds(found, "accuracy")
            worst, gap = worst_group(found), disparity_bounds(found, "accuracy_disparity")
            bounds["one group"].append((low[0, 1], high[0, 1]))
            bounds["worst group"].append((worst.low[0], worst.high[0]))
            bounds["accuracy disparity"].append((gap.low[0], gap.high[0]))
        truths_of = {"one group": truth[1], "worst group": truth.min(), "accuracy disparity": np.ptp(truth)}
        yield shown, {name: covered(*np.array(bounds[name]).T, truths_of[name]) for name in bounds}


def differences(tables: int) -> Iterator[tuple[str, dict[str, tuple[float, float]]]]:
    """Two models on the same rows, whose answers agree in three of five: six groups of 60."""
    generator, codes = np.random.default_rng(0), np.repeat(np.arange(6), 60)
    for shown, first, second in (
        ("alike", [0.8] * 6, [0.8] * 6),
        ("one group worse under one", [0.6] + [0.8] * 5, [0.8] * 6),
        ("the same group worse", [0.6] + [0.9] * 5, [0.7] + [0.9] * 5),
        ("another group worse", [0.6] + [0.8] * 5, [0.8] * 5 + [0.65]),
    ):
        bounds: dict[str, list[tuple[float, float]]] = {"worst group": [], "accuracy disparity": []}
        for _ in range(tables // 4):
            chance = generator.random(len(codes))
            own = np.where(generator.random(len(codes)) < 0.6, chance, generator.random(len(codes)))
            answers = chance < np.array(first)[codes], own < np.array(second)[codes]
            for name, function in (
                ("worst group", worst_group_difference),
                ("accuracy disparity", disparity_difference),
            ):
                found = function(*answers, codes)
                bounds[name].append((found.low, found.high))
        truth = {"worst group": min(first) - min(second), "accuracy disparity": np.ptp(first) - np.ptp(second)}
        yield shown, {name: covered(*np.array(bounds[name]).T, truth[name]) for name in bounds}


def swept(tables: int) -> Iterator[tuple[str, float, dict[str, tuple[float, float]]]]:
    """Two learners of a sweep in five folds of 120 test rows and four groups, whose trainings move a fold by chance.

    The training rows move a fold's accuracy by nothing, by half as much as its test rows do, and by as much.
    """
    generator = np.random.default_rng(0)
    for shown, first, second in (
        ("alike", [0.8] * 4, [0.8] * 4),
        ("one worse", [0.65, 0.8, 0.8, 0.8], [0.8] + [0.85] * 3),
    ):
        for moved in (0.0, 0.018, 0.037):
            held: dict[str, list[tuple[float, float, float]]] = {}
            for _ in range(tables):
                for each in _one_sweep(generator, (first, second), moved):
                    rates = {"lightgbm": [first], "logistic": [second]}.get(each.group, [first, second])
                    extreme = _EXTREMES[each.metric.removeprefix("difference in ")]
                    truth = extreme(rates[0]) - sum(map(extreme, rates[1:]))
                    held.setdefault(each.metric, []).append((each.low, each.high, truth))
            bounds = {name: np.array(found, dtype=float).T for name, found in held.items()}
            yield shown, moved, {name: covered(low, high, truth) for name, (low, high, truth) in bounds.items()}


_EXTREMES = {"accuracy": np.mean, "worst_group_accuracy": np.min, "accuracy_disparity": np.ptp}


def _one_sweep(generator: np.random.Generator, rates: tuple[list[float], ...], moved: float) -> Iterator[Measurement]:
    """What a comparison says of one configuration of each learner, from answers that are drawn."""
    full: dict[str, list[object]] = {"learner": [], "fit": [], "place": [], "fold": []}
    folds = [(generator.integers(0, 4, 120), generator.integers(0, 2, 120)) for _ in range(5)]
    with TemporaryDirectory() as folder:
        paths = []
        for learner, rate in zip(("lightgbm", "logistic"), rates, strict=True):
            for fold, (group, label) in enumerate(folds):
                share = np.clip(np.array(rate)[group] + generator.normal(0, moved), 0, 1)
                said = np.where(generator.random(120) < share, label, 1 - label)
                for name, value in zip(full, (learner, len(paths), 0, fold), strict=True):
                    full[name].append(value)
                paths.append(Path(folder) / f"{len(paths)}.npz")
                np.savez(paths[-1], test=said.astype(np.float16)[None])
        table = {name: np.array(values, object if name == "learner" else None) for name, values in full.items()}
        table |= {f"{part}_{name}": np.zeros(10) for part in ("goal", "test") for name in list(_EXTREMES)[:2]}
        parts = [SimpleNamespace(test=SimpleNamespace(y=y, g=g), groups=tuple("abcd")) for g, y in folds]
        board = _Board.of(table, paths, parts, 100)
        for each in (
            *_reached(table, board),
            *_differences(table, board, SimpleNamespace(pairs=(), simultaneous=True)),
        ):
            named = each.metric.removeprefix("difference in ") in _EXTREMES
            if each.shift == BY_WORST_GROUP and named and not each.group.startswith("family"):
                yield each


def main(tables: int) -> None:
    """Print both tables as Markdown."""
    names = ("worst group", "accuracy disparity", "equalised odds", "selection ratio")
    print("| groups | rows | truth | " + " | ".join(names) + " |")
    print("|---|---|---|" + "---|" * len(names))
    for groups, shown, truth, cells in results(tables):
        values = [f"{100 * cells[name][0]:.1f} ({cells[name][1]:.2f})" for name in names]
        print(f"| {groups} | {shown} | {truth} | " + " | ".join(values) + " |", flush=True)
    for shown, each in (("weights", weighted(tables)), ("two models", differences(tables))):
        for place, (truth, cells) in enumerate(each):
            if not place:
                print(f"\n| {shown} | {' | '.join(cells)} |\n|---|" + "---|" * len(cells))
            print(f"| {truth} | {' | '.join(f'{100 * a:.1f} ({b:.2f})' for a, b in cells.values())} |", flush=True)
    for place, (shown, moved, cells) in enumerate(swept(tables // 20)):
        if not place:
            print(f"\n| a sweep | moved | {' | '.join(cells)} |\n|---|---|" + "---|" * len(cells))
        values = [f"{100 * share:.1f} ({width:.2f})" for share, width in cells.values()]
        print(f"| {shown} | {moved} | {' | '.join(values)} |", flush=True)
    print("\n| positives and negatives | area under ROC |\n|---|---|")
    for shown, share, width in areas(tables):
        print(f"| {shown} | {100 * share:.1f} ({width:.2f}) |", flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 2000)
