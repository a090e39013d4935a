"""Exact and sequential tests against scipy, closed forms and simulations."""

import math

import numpy as np
import pytest
from scipy.stats import binom, binomtest

from surefoot.scrutiny import elub, first_order, mean_ratio_p, rate_sequence, sequential_p, smallest_rate_seen


def test_the_smallest_rate_seen_is_the_closed_form_and_has_the_power_it_says() -> None:
    assert smallest_rate_seen(60, 0) == pytest.approx(1 - 0.1 ** (1 / 60))
    rate = smallest_rate_seen(200, 0.01)
    enough = next(k for k in range(200) if binomtest(k, 200, 0.01, alternative="greater").pvalue <= 0.05)
    assert binom.sf(enough - 1, 200, rate) == pytest.approx(0.9)
    assert math.isnan(smallest_rate_seen(2, 0.5))


def test_an_interval_looked_at_after_every_query_holds_at_all_of_them() -> None:
    draw, missed, refuted = np.random.default_rng(4), 0, 0
    for _ in range(400):
        failed = draw.random(120) < 0.1
        k = np.cumsum(failed)
        missed += any(0.1 not in rate_sequence(int(k[n - 1]), n) for n in range(5, 121, 5))
        refuted += sequential_p(list(failed), 0.1) <= 0.05
    assert binomtest(missed, 400, 0.05, alternative="greater").pvalue > 0.01
    assert 0 < refuted <= 400 * 0.05 + 3 * math.sqrt(400 * 0.05 * 0.95)


def test_an_interval_of_no_or_only_failures_reaches_the_edge() -> None:
    assert (rate_sequence(0, 60).low, rate_sequence(60, 60).high) == (0.0, 1.0)
    # Beta mixture at 0 of n: (1 - p)^n (n + 1) = 1 / 20.
    assert rate_sequence(0, 60).high == pytest.approx(1 - (0.05 / 61) ** (1 / 60), rel=1e-6)
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


def test_the_supported_range_is_that_of_the_closed_form_and_of_another_library() -> None:
    # No error at all: at t > 1 only the added ones count, (1 + t) / 101 < 1 up to t = 100; no ratio is beyond 1.5.
    assert elub(np.full(100, 5.0), np.full(100, -5.0)).high == pytest.approx(2.0, abs=0.011)
    assert elub(np.full(100, 1.5), np.full(100, -1.5)).low == pytest.approx(-1.5, abs=0.011)
    # What lir 1.3.1 gives for the same ratios.
    draw = np.random.default_rng(0)
    for n, mean, low, high in (
        (50, 2, -1.06, 1.22),
        (300, 2, -1.33, 1.67),
        (300, 3, -2.1, 1.71),
        (2000, 1.5, -1.69, 1.62),
    ):
        logs = [(mean * draw.normal(centre, 1, n) - mean**2 / 2) / np.log(10) for centre in (mean, 0)]
        found = elub(*logs)
        assert (found.low, found.high) == pytest.approx((low, high), abs=0.021)


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
