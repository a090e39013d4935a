"""Verdicts over seeds that are tested on the same things."""

from collections.abc import Callable
from hashlib import md5
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import t as student

from surefoot.contrastive import ZeroShot
from surefoot.core import Measurement, Results, Step, Store, SurefootError
from surefoot.examples import write_examples
from surefoot.stats import mean_crossed, mean_t
from surefoot.studies._drawn import TaskAccuracies, compared_rows, crossed_interval, drawn_task, seeds_row, start_model
from surefoot.studies._hypotheses import pooled

Publish = Callable[[Store, Step, list[Measurement]], Path]
SEEDS, THINGS = range(5), 240


def models(seed: int) -> tuple[Step, Step]:
    return start_model(seed), start_model(seed, size="rn-4")


def gap(found: TaskAccuracies) -> list[float]:
    """How much better the first model is, by seed, each on its own drawings of the things."""
    tests = {seed: drawn_task("food-drink", "test", seed) for seed in SEEDS}
    values = [[found.value(model, tests[seed]) for model in models(seed)] for seed in SEEDS]
    return [one - other for one, other in values]


def planted(publish: Publish, place: Path, *, of_thing: float) -> tuple[Results, np.ndarray]:
    """Answers in which the first model is better at some things, the same for every seed; and the gaps by thing."""
    generator, store, steps, gaps = np.random.default_rng(3), Store(place / "store"), [], []
    better = 0.1 + of_thing * generator.choice([-1, 1], size=THINGS)
    for seed in SEEDS:
        right = []
        for model, chance in zip(models(seed), (0.5 + better / 2, 0.5 - better / 2), strict=True):
            right.append((generator.random(THINGS) < chance).astype(float))
            step = ZeroShot(model=model, data=drawn_task("food-drink", "test", seed))
            steps.append(step)
            at = publish(store, step, [Measurement(metric="top1", value=right[-1].mean(), n=THINGS)])
            order = generator.permutation(THINGS)
            ids = [f"style {thing % 6}:{thing:04X}" for thing in order]
            write_examples(at, {"example": ids, "score": right[-1][order]})
        gaps.append(right[0] - right[1])
    return Results(store, tuple(steps)), np.array(gaps)


@pytest.mark.parametrize("of_thing", [0.0, 0.8])
def test_the_interval_is_that_of_seeds_crossed_with_things(publish: Publish, tmp_path: Path, of_thing: float) -> None:
    results, gaps = planted(publish, tmp_path, of_thing=of_thing)
    found, crossed = crossed_interval(gap, results), mean_crossed(gaps)
    assert found.estimate == pytest.approx(gaps.mean())
    assert (found.low + found.high) / 2 == pytest.approx(found.estimate)
    assert found.high - found.low == pytest.approx(crossed.high - crossed.low, rel=0.35)
    alone = mean_t(gaps.mean(axis=1))
    assert (found.high - found.low > 1.3 * (alone.high - alone.low)) == (of_thing > 0)


def test_things_are_left_out_block_by_block(publish: Publish, tmp_path: Path) -> None:
    """The interval is that of pseudo-values (Tukey 1958) reckoned from the answers, for any order of the pictures."""
    results, gaps = planted(publish, tmp_path, of_thing=0.8)
    block = np.array([int(md5(f"{thing:04X}".encode()).hexdigest()[:7], 16) % 20 for thing in range(THINGS)])
    without = np.array([gaps[:, block != left].mean(axis=1) for left in range(20)]).T
    crossed = mean_crossed(20 * gaps.mean(axis=1)[:, None] - 19 * without)
    found = crossed_interval(gap, results)
    assert found.high - found.low == pytest.approx(crossed.high - crossed.low, rel=1e-9)


def test_one_seed_and_equal_numbers_decide_nothing(publish: Publish, tmp_path: Path) -> None:
    results, _ = planted(publish, tmp_path, of_thing=0.0)
    with pytest.raises(SurefootError, match="One seed gives no interval"):
        crossed_interval(lambda found: gap(found)[:1], results)
    with pytest.raises(SurefootError, match=r"All 3 seeds gave 0\.5: equal values give no interval"):
        crossed_interval(lambda _: [0.5, 0.5, 0.5], results)
    with pytest.raises(SurefootError, match=r"All 2 gave 0\.25: equal values give no interval"):
        pooled(mean_t([0.25, 0.25]), 2)


def test_the_interval_of_a_share_over_seeds_stays_within_0_and_1() -> None:
    values = [0.31, 0.16, 0.46]
    low, high = student.interval(0.95, 2, loc=np.mean(values), scale=np.std(values, ddof=1) / np.sqrt(3))
    assert low < 0
    row = seeds_row(values, shares=True)
    assert (row["low"], row["high"]) == (0.0, pytest.approx(high))
    assert seeds_row([1 - one for one in values], shares=True)["high"] == 1.0
    assert seeds_row(values)["low"] == pytest.approx(low)  # a loss may be below 0
    rows = compared_rows(values, {"a": lambda value: value}, {"b": lambda value, _: value})
    assert rows[0]["low"] == 0.0
