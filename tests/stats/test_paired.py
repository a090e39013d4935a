"""Paired comparisons against scipy and statsmodels."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats as scipy_stats
from statsmodels.stats.contingency_tables import mcnemar as their_mcnemar
from statsmodels.stats.multitest import multipletests

from surefoot.stats import (
    holm,
    mcnemar,
    mcnemar_p,
    mean_share_difference,
    paired_difference,
    share_difference,
    t_p_value,
    tied,
)


def test_paired_t_agrees_with_scipy() -> None:
    generator = np.random.default_rng(0)
    first, second = generator.normal(0.3, 1, 30), generator.normal(0, 1, 30)
    ours = paired_difference(first, second)
    theirs = scipy_stats.ttest_rel(first, second)
    interval = theirs.confidence_interval(0.95)
    assert ours.p == pytest.approx(theirs.pvalue)
    assert (ours.difference.low, ours.difference.high) == pytest.approx((interval.low, interval.high))
    assert (ours.n, ours.method, ours.clusters) == (30, "t", None)


def likeliest(b: int, c: int, n: int, difference: float) -> float:
    """The share of pairs where only the second is right that is likeliest at this true difference, by search."""
    least = max(0.0, -difference)
    grid = np.linspace(least, (1 - difference) / 2 if difference < 1 else 0.0, 200_001)[1:-1]
    likelihood = b * np.log(grid + difference) + c * np.log(grid) + (n - b - c) * np.log1p(-2 * grid - difference)
    return float(grid[np.nanargmax(likelihood)])


def test_clusters_that_all_differ_have_an_interval_too() -> None:
    found = paired_difference([1, 1, 1], [0, 0, 0], clusters=[1, 0, 1]).difference
    assert (found.estimate, found.high) == (1.0, 1.0)
    assert found.low < 0.5


@pytest.mark.parametrize(("b", "c", "n"), [(1, 7, 21), (40, 20, 160), (3, 9, 36), (12, 2, 500)])
def test_the_score_interval_is_where_the_score_test_at_the_likeliest_shares_rejects(b: int, c: int, n: int) -> None:
    found = share_difference(b, c, n)
    for bound in (found.low, found.high):
        share = likeliest(b, c, n, bound)
        variance = n * (2 * share + bound * (1 - bound))
        assert abs(b - c - n * bound) / variance**0.5 == pytest.approx(1.959964, abs=1e-3)


def test_the_score_interval_of_a_published_table() -> None:
    """Airway hyper-responsiveness before and after a transplant: 1 and 7 of 21 pairs (Fagerland et al. 2014)."""
    found = share_difference(1, 7, 21)
    assert (found.low, found.high) == pytest.approx((-0.517, -0.026), abs=5e-4)


@pytest.mark.parametrize("n", [2, 36, 1000])
def test_pairs_without_a_difference_are_not_certain(n: int) -> None:
    z = 1.959964
    found = paired_difference(np.ones(n), np.ones(n))
    assert (found.difference.low, found.difference.high) == pytest.approx((-(z**2) / (n + z**2), z**2 / (n + z**2)))
    assert found.p == 1.0
    opposite = paired_difference(np.ones(n), np.zeros(n)).difference
    assert opposite.high == 1.0
    assert opposite.low < 1.0


def test_a_mean_over_sets_counts_each_alike_and_is_not_certain_either() -> None:
    found = mean_share_difference([40, 20], [10, 20], [1000, 800])
    assert found.estimate == pytest.approx((0.03 + 0.0) / 2)
    half = 1.959964 * ((0.05 - 0.03**2) / 1000 + 0.05 / 800) ** 0.5 / 2
    assert (found.high - found.low) / 2 == pytest.approx(half, rel=0.05)
    one = share_difference(6, 1, 80)
    assert mean_share_difference([6], [1], [80]).low == pytest.approx(one.low, abs=1e-3)
    none = mean_share_difference([0, 0], [0, 0], [18, 18])
    assert none.low == pytest.approx(share_difference(0, 0, 36).low)


@given(b=st.integers(0, 40), c=st.integers(0, 40), more=st.integers(0, 40))
def test_a_difference_of_shares_lies_within_its_range_and_mirrors(b: int, c: int, more: int) -> None:
    n = b + c + max(more, 1)
    found, mirrored = share_difference(b, c, n), share_difference(c, b, n)
    assert -1 <= found.low < found.estimate < found.high <= 1
    assert (mirrored.low, mirrored.high) == pytest.approx((-found.high, -found.low))


@pytest.mark.parametrize("n", [20, 36])
def test_the_score_interval_covers(n: int) -> None:
    from scipy.special import gammaln

    b, c = (grid.ravel() for grid in np.mgrid[0 : n + 1, 0 : n + 1])
    b, c = b[b + c <= n], c[b + c <= n]
    near = b + c <= n // 2  # others do not occur at these shares
    bounds = [share_difference(int(i), int(j), n) for i, j in zip(b[near], c[near], strict=True)]
    for only_first, only_second in ((0.02, 0.02), (0.08, 0.01), (0.1, 0.1), (0.05, 0.005)):
        counts = (b[near], c[near], n - (b + c)[near])
        shares = (only_first, only_second, 1 - only_first - only_second)
        log = gammaln(n + 1) + sum(k * np.log(p) - gammaln(k + 1) for k, p in zip(counts, shares, strict=True))
        inside = np.array([only_first - only_second in interval for interval in bounds])
        assert np.exp(log) @ inside >= 0.935


def test_scores_that_are_no_answers_have_no_interval_where_all_differences_are_equal() -> None:
    found = paired_difference([0.5, 0.7, 0.2], [0.4, 0.6, 0.1])
    assert np.isnan([found.difference.low, found.difference.high, found.smallest_seen]).all()
    assert found.p == scipy_stats.binomtest(3, 3).pvalue == 0.25
    assert paired_difference([0.5, 0.7], [0.5, 0.7]).p == 1.0
    assert paired_difference([0.1 + 0.2] * 9, [0.3] * 9).p == 1.0


def test_clusters_of_one_mean_are_no_interval_of_width_zero() -> None:
    first, second = np.array([1.0, 2.0] * 6), np.zeros(12)
    found = paired_difference(first, second, clusters=np.repeat(np.arange(6), 2))
    assert np.isnan([found.difference.low, found.difference.high, found.smallest_seen]).all()
    assert (found.difference.estimate, found.p) == (1.5, scipy_stats.binomtest(6, 6).pvalue)
    even = paired_difference(np.array([1.5, -1.5] * 6), second, clusters=np.repeat(np.arange(6), 2))
    assert (even.difference.estimate, even.p) == (0.0, 1.0)


@pytest.mark.parametrize(("n", "differing"), [(60, 0.0), (200, 0.1), (1000, 0.1)])
def test_the_smallest_difference_seen_is_seen_nine_times_of_ten(n: int, differing: float) -> None:
    generator = np.random.default_rng(n)
    pairs = np.zeros(n)
    pairs[: round(differing * n / 2)], pairs[n - round(differing * n / 2) :] = 1, -1
    smallest = paired_difference((pairs > 0).astype(float), (pairs < 0).astype(float)).smallest_seen
    more = max(differing, smallest)
    shares = [(more + smallest) / 2, (more - smallest) / 2, 1 - more]
    counts = generator.multinomial(n, shares, size=1500)
    tables, times = np.unique(counts[:, :2], axis=0, return_counts=True)
    seen = [share_difference(b, c, n).low > 0 for b, c in tables.tolist()] @ times / 1500
    assert 0.87 <= seen <= 0.99


def test_the_smallest_difference_of_scores_is_seen_nine_times_of_ten() -> None:
    generator = np.random.default_rng(4)
    smallest = float(
        np.median([paired_difference(row, 0 * row).smallest_seen for row in generator.normal(size=(99, 20))])
    )
    seen = [paired_difference(row + smallest, 0 * row).p < 0.05 for row in generator.normal(size=(1000, 20))]
    assert np.mean(seen) == pytest.approx(0.9, abs=0.03)


def test_models_are_tied_that_no_test_tells_apart() -> None:
    p_values = {("a", "c"): 0.01, ("a", "d"): 0.01, ("b", "d"): 0.01, ("a", "b"): 0.3, ("c", "d"): float("nan")}
    assert tied(["a", "b", "c", "d"], p_values) == ["a", "ab", "bc", "c"]
    assert tied(["a", "b"], {}) == ["a", "a"]
    assert tied(["a", "b", "c"], {("b", "a"): 0.001, ("c", "a"): 0.04}) == ["a", "b", "b"]
    everyone = [f"model {place}" for place in range(28)]
    apart = {(one, other): 0.0 for place, one in enumerate(everyone) for other in everyone[place + 1 :]}
    assert len(set(tied(everyone, apart))) == 28


@given(b=st.integers(0, 60), c=st.integers(0, 60))
def test_mcnemar_agrees_with_statsmodels_and_scipy(b: int, c: int) -> None:
    p = mcnemar_p(b, c)
    theirs = their_mcnemar([[5, b], [c, 5]], exact=True).pvalue if b + c else 1.0
    assert p == pytest.approx(theirs)


def test_mcnemar_counts_the_four_cells() -> None:
    first = np.array([1, 1, 1, 0, 0, 1], dtype=bool)
    second = np.array([1, 0, 0, 1, 0, 0], dtype=bool)
    table = mcnemar(first, second)
    assert (table.both, table.only_first, table.only_second) == (1, 3, 1)


@pytest.mark.parametrize("n", [1, 2, 7, 40])
def test_holm_agrees_with_statsmodels(n: int) -> None:
    p_values = np.random.default_rng(n).beta(0.3, 1.0, n).round(3)
    theirs = multipletests(p_values, method="holm")[1]
    np.testing.assert_allclose(holm(p_values), theirs, atol=1e-12)


def test_holm_leaves_missing_tests_out() -> None:
    np.testing.assert_allclose(holm([0.01, np.nan, 0.04]), [0.02, np.nan, 0.04])


def test_wrong_pairs_say_what_is_wrong() -> None:
    with pytest.raises(ValueError, match="one length"):
        paired_difference([1.0, 2.0], [1.0])
    with pytest.raises(ValueError, match="one length"):
        mcnemar([True], [True, False])
    with pytest.raises(ValueError, match="at least two independent pairs"):
        paired_difference([1.0], [2.0])
    assert np.isnan(t_p_value(1.0, 1.0, 0))
    assert t_p_value(0.0, 0.0, 3) == 1.0
    assert t_p_value(1.0, 0.0, 3) == 0.0
