"""Paired comparisons against scipy and statsmodels."""

import numpy as np
import pytest
import statsmodels.api as sm
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats as scipy_stats
from statsmodels.stats.contingency_tables import mcnemar as their_mcnemar
from statsmodels.stats.multitest import multipletests

from surefoot.stats import holm, mcnemar, mcnemar_p, paired_difference, t_p_value


def test_paired_t_agrees_with_scipy() -> None:
    generator = np.random.default_rng(0)
    first, second = generator.normal(0.3, 1, 30), generator.normal(0, 1, 30)
    ours = paired_difference(first, second)
    theirs = scipy_stats.ttest_rel(first, second)
    interval = theirs.confidence_interval(0.95)
    assert ours.p == pytest.approx(theirs.pvalue)
    assert (ours.difference.low, ours.difference.high) == pytest.approx((interval.low, interval.high))
    assert (ours.n, ours.method) == (30, "t")


def test_clustered_difference_agrees_with_the_cluster_robust_error_of_statsmodels() -> None:
    generator = np.random.default_rng(1)
    runs = np.sort(generator.integers(0, 25, 300))
    gaps = generator.normal(size=25)[runs] + generator.normal(size=300)
    ours = paired_difference(gaps, np.zeros(300), clusters=runs)
    theirs = sm.OLS(gaps, np.ones(300)).fit(
        cov_type="cluster", cov_kwds={"groups": runs, "use_correction": False}, use_t=True
    )
    count = len(np.unique(runs))
    error = float(theirs.bse[0]) * (count / (count - 1)) ** 0.5
    assert ours.difference.estimate == pytest.approx(gaps.mean())
    assert ours.p == pytest.approx(2 * scipy_stats.t.sf(abs(gaps.mean() / error), count - 1))


def test_paired_bootstrap_is_close_to_t_in_a_large_sample() -> None:
    generator = np.random.default_rng(2)
    first, second = generator.normal(size=(2, 400))
    t, boot = paired_difference(first, second), paired_difference(first, second, method="bootstrap")
    assert (boot.difference.low, boot.difference.high) == pytest.approx((t.difference.low, t.difference.high), abs=0.02)


@given(b=st.integers(0, 60), c=st.integers(0, 60))
def test_mcnemar_agrees_with_statsmodels_and_scipy(b: int, c: int) -> None:
    p, mid_p = mcnemar_p(b, c)
    theirs = their_mcnemar([[5, b], [c, 5]], exact=True).pvalue if b + c else 1.0
    assert p == pytest.approx(theirs)
    binomial = scipy_stats.binom(b + c, 0.5)
    k = min(b, c)
    expected = 2 * binomial.cdf(k - 1) + binomial.pmf(k)
    assert mid_p == pytest.approx(expected)
    assert mid_p <= p


def test_mcnemar_counts_the_four_cells() -> None:
    first = np.array([1, 1, 1, 0, 0, 1], dtype=bool)
    second = np.array([1, 0, 0, 1, 0, 0], dtype=bool)
    table = mcnemar(first, second)
    assert (table.both, table.only_first, table.only_second, table.neither) == (1, 3, 1, 1)


def test_mid_p_keeps_the_level_better_than_the_exact_p() -> None:
    n = np.random.default_rng(3).binomial(60, 0.5, size=20_000)
    tested = [mcnemar_p(int(b), 60 - int(b)) for b in n]
    exact, mid = np.mean(np.array(tested) < 0.05, axis=0)
    assert exact <= mid <= 0.06


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
