"""Exact and sequential tests against scipy, closed forms and simulations."""

import math
from functools import partial

import numpy as np
import pytest
from scipy.stats import binom, binomtest

from surefoot.scrutiny import (
    decided,
    elub,
    first_order,
    mean_ratio_p,
    rate_after_looks,
    sequential_p,
    smallest_rate_seen,
)


def test_the_smallest_rate_seen_is_the_closed_form_and_has_the_power_it_says() -> None:
    assert smallest_rate_seen(60, 0) == pytest.approx(1 - 0.1 ** (1 / 60))
    rate = smallest_rate_seen(200, 0.01)
    enough = next(k for k in range(200) if binomtest(k, 200, 0.01, alternative="greater").pvalue <= 0.05)
    assert binom.sf(enough - 1, 200, rate) == pytest.approx(0.9)
    assert math.isnan(smallest_rate_seen(2, 0.5))


def test_what_is_decided_at_any_look_is_seldom_wrong() -> None:
    draw, few, many, refuted = np.random.default_rng(4), 0, 0, 0
    for _ in range(300):
        failed = draw.random(200) < 0.1
        k = np.cumsum(failed)
        found = {int(decided(k[n - 1], n, 0.1, alpha=0.05)) for n in range(10, 201, 10)}
        many, few = many + (1 in found), few + (-1 in found)
        refuted += sequential_p(list(failed), 0.1) <= 0.05
    assert binomtest(few, 300, 0.05, alternative="greater").pvalue > 0.01
    assert 0 < many <= refuted <= 300 * 0.05 + 3 * math.sqrt(300 * 0.05 * 0.95)
    # At 0 of n the mixture of rates is 1 / (n + 1), and the likelihood at .1 is .9^n: 20 times that from n = 69 on.
    assert [int(decided(0, n, 0.1, alpha=0.05)) for n in (68, 69)] == [0, -1]
    assert list(decided([0, 1], 40, 0.0, alpha=1e-9)) == [0, 1]  # none may fail, and one did


LOOKS = (40, 60, 80, 100)


def stopped_at(rate: float, bound: float) -> dict[tuple[int, int], float]:
    """The chance of each look and count at which one stops, by the probabilities of all paths."""
    chances, ended, before = np.ones(1), {}, 0
    for look, n in enumerate(LOOKS):
        chances = np.convolve(chances, binom.pmf(np.arange(n - before + 1), n - before, rate))
        over = (decided(np.arange(n + 1), n, bound, alpha=0.01) != 0) | (n == LOOKS[-1])
        ended |= {(look, int(k)): float(chances[k]) for k in np.flatnonzero(over & (chances > 1e-5))}
        chances, before = np.where(over, 0.0, chances), n
    return ended


@pytest.mark.parametrize("bound", [0.0, 0.1])
def test_the_interval_after_stopping_never_holds_less_often_than_it_says_and_hardly_more(bound: float) -> None:
    decides, held, known = partial(decided, rate=bound, alpha=0.01), [], {}
    for rate in (0.01, 0.15, 0.3):
        ended = stopped_at(rate, bound)
        assert sum(ended.values()) == pytest.approx(1.0, abs=1e-3)
        for look, k in ended:
            known.setdefault((look, k), rate_after_looks(k, LOOKS[: look + 1], decides))
        held.append(sum(chance for at, chance in ended.items() if rate in known[at]))
    assert min(held) >= 0.949  # but for the rarest, which are left out
    assert np.mean(held) < 0.98
    assert all(one.low <= one.estimate <= one.high for one in known.values())


def test_an_interval_of_one_look_is_the_exact_one_and_of_a_late_stop_is_drawn_to_where_it_did_not() -> None:
    for k, n in ((0, 60), (7, 60), (60, 60), (30, 1500)):
        exact = binomtest(k, n).proportion_ci(method="exact")
        found = rate_after_looks(k, [n], lambda counts, n: 0 * counts)
        assert (found.low, found.high) == (pytest.approx(exact.low), pytest.approx(exact.high))
    decides = partial(decided, rate=0.0, alpha=0.01)
    # One failure that came between 41 and 60: the chance of none in 40 and at most one in 20 more is .025.
    late = rate_after_looks(1, (40, 60), decides).high
    assert binom.pmf(0, 40, late) * binom.cdf(1, 20, late) == pytest.approx(0.025)
    # Thus that of any in 40, or one in 20 more, is .025.
    low = rate_after_looks(1, (40, 60), decides).low
    assert 1 - binom.pmf(0, 60, low) == pytest.approx(0.025)


def test_a_rate_of_zero_is_refuted_by_one_failure() -> None:
    assert sequential_p([False, True], 0.0) == 0.0
    # One failure: the likelihood averaged over rates above .1, (1 + .1) / 2, over that of .1.
    assert sequential_p([True], 0.1) == pytest.approx(0.2 / 1.1)


def test_calibrated_ratios_are_not_refuted_and_three_times_as_large_ones_are() -> None:
    draw, refuted, seen = np.random.default_rng(5), 0, 0
    for _ in range(300):
        ratios = np.exp(1.5 * draw.normal(size=200) - 1.5**2 / 2)
        refuted, seen = refuted + (mean_ratio_p(ratios) <= 0.05), seen + (mean_ratio_p(3 * ratios) <= 0.05)
    assert refuted <= 300 * 0.05
    assert seen >= 270


def test_a_ratio_at_a_threshold_is_above_it() -> None:
    assert elub([1.0] * 20, [-1.0] * 20) == pytest.approx((-0.99, 1.0))


def test_the_supported_range_is_that_of_the_closed_form_and_of_another_library() -> None:
    # No error at all: at t > 1 only the added ones count, (1 + t) / 101 < 1 up to t = 100; no ratio is beyond 1.5.
    assert elub(np.full(100, 5.0), np.full(100, -5.0))[1] == pytest.approx(2.0, abs=0.011)
    assert elub(np.full(100, 1.5), np.full(100, -1.5))[0] == pytest.approx(-1.5, abs=0.011)
    # What lir 1.3.1 gives for the same ratios.
    draw = np.random.default_rng(0)
    for n, mean, low, high in (
        (50, 2, -1.06, 1.22),
        (300, 2, -1.33, 1.67),
        (300, 3, -2.1, 1.71),
        (2000, 1.5, -1.69, 1.62),
    ):
        logs = [(mean * draw.normal(centre, 1, n) - mean**2 / 2) / np.log(10) for centre in (mean, 0)]
        assert elub(*logs) == pytest.approx((low, high), abs=0.021)


def test_the_driver_is_the_coordinate_that_the_value_depends_on() -> None:
    draw = np.random.default_rng(6)
    points = draw.random((800, 3))
    found = first_order(points, np.sin(6 * points[:, 0]) + 0.5 * points[:, 2])
    expected = np.var(np.sin(6 * points[:, 0])), 0.25 / 12
    assert found[0] == pytest.approx(expected[0] / sum(expected), abs=0.05)
    assert found[1] < 0.02
    assert found[2] == pytest.approx(expected[1] / sum(expected), abs=0.03)
    by_chance = [first_order(draw.random((60, 1)), draw.random(60))[0] for _ in range(100)]
    assert np.mean(by_chance) < 0.05  # seven degrees of freedom would explain .12
    assert list(first_order(points, np.ones(800))) == [0.0, 0.0, 0.0]
