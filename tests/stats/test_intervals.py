"""Intervals against scipy, and their coverage by simulation."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats as scipy_stats

from surefoot.stats import (
    Interval,
    clopper_pearson,
    clopper_pearson_bounds,
    clustered_mean,
    mean_crossed,
    mean_of_shares,
    mean_t,
    resample_counts,
    share_interval,
    wilson,
    wilson_bounds,
)


@given(n=st.integers(1, 5000), share=st.floats(0, 1), level=st.sampled_from([0.9, 0.95, 0.995]))
def test_intervals_of_shares_agree_with_scipy(n: int, share: float, level: float) -> None:
    k = round(share * n)
    test = scipy_stats.binomtest(k, n)
    for ours, method in (
        (wilson(k, n, level=level), "wilson"),
        (clopper_pearson(k, n, level=level), "exact"),
    ):
        theirs = test.proportion_ci(level, method=method)
        assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=1e-9)
        assert ours.low <= k / n <= ours.high
        assert k / n in ours


def test_bounds_of_many_shares_are_those_of_each() -> None:
    k, n = np.array([0, 3, 10]), np.array([10, 7, 10])
    for bounds, one in ((wilson_bounds, wilson), (clopper_pearson_bounds, clopper_pearson)):
        low, high = bounds(k, n)
        each = [one(float(a), float(b)) for a, b in zip(k, n, strict=True)]
        np.testing.assert_allclose(low, [i.low for i in each])
        np.testing.assert_allclose(high, [i.high for i in each])


def test_exact_coverage_of_shares() -> None:
    n = 60
    k = np.arange(n + 1)
    shares = np.linspace(0.02, 0.98, 97)
    probability = scipy_stats.binom.pmf(k[None, :], n, shares[:, None])
    coverage = {}
    for name, bounds in (("wilson", wilson_bounds), ("exact", clopper_pearson_bounds)):
        low, high = bounds(k, n)
        inside = (low[None, :] <= shares[:, None]) & (shares[:, None] <= high[None, :])
        coverage[name] = (probability * inside).sum(axis=1)
    assert coverage["exact"].min() >= 0.95
    assert 0.94 <= coverage["wilson"].mean() <= 0.96


@pytest.mark.parametrize("captions", [7, 49, 98])
def test_a_share_that_is_alike_in_all_clusters_has_an_interval(captions: int) -> None:
    """One caption of each picture is right: the clustered error is 0, or, of 49, the rounding of 1 / 49."""
    hits, pictures = np.tile([1.0] + [0.0] * (captions - 1), 36), np.repeat(range(36), captions)
    mean = clustered_mean(hits, pictures)
    found = share_interval(mean.estimate, mean.stderr, mean.clusters)
    known = scipy_stats.binomtest(36, 36 * captions).proportion_ci(method="wilson")
    assert found.high - found.low > known.high - known.low


def test_mean_t_agrees_with_scipy_and_has_no_interval_for_one_value() -> None:
    values = np.random.default_rng(1).gamma(2.0, size=9)
    ours = mean_t(values, level=0.9)
    low, high = scipy_stats.t.interval(0.9, 8, values.mean(), scipy_stats.sem(values))
    assert (ours.low, ours.high) == pytest.approx((low, high))
    assert np.isnan(mean_t([3.0]).low)


def test_counts_of_a_resample_sum_to_n_and_keep_clusters_together() -> None:
    counts = resample_counts(12, 50, seed=0)
    assert counts.shape == (50, 12)
    assert (counts.sum(axis=1) == 12).all()
    clustered = resample_counts(12, 50, seed=0, clusters=np.repeat(["a", "b", "c"], 4))
    assert (clustered[:, :4] == clustered[:, :1]).all()


def test_coverage_of_mean_intervals_is_nominal() -> None:
    generator = np.random.default_rng(8)
    assert 0.94 <= np.mean([0.0 in mean_t(sample) for sample in generator.normal(size=(4000, 6))]) <= 0.96


@pytest.mark.parametrize("value", [0.1, 0.0, 1.0, -3e7])
def test_equal_values_give_no_interval(value: float) -> None:
    """Three seeds of one accuracy are not certain of it; neither is a sum in another order a spread."""
    for found in (mean_t([value] * 3), mean_t([value, value, value + 4e-17]), mean_crossed(np.full((3, 7), value))):
        assert found.estimate == pytest.approx(value)
        assert np.isnan([found.low, found.high]).all()


def test_the_mean_of_shares_of_many_draws_has_the_interval_of_their_variance() -> None:
    k, n = np.array([300, 700, 100]), np.array([1000, 2000, 400])
    share = k / n
    half = 1.959964 * (share * (1 - share) / n).sum() ** 0.5 / 3
    found = mean_of_shares(k, n)
    assert found.estimate == pytest.approx(share.mean())
    assert (found.low, found.high) == pytest.approx((share.mean() - half, share.mean() + half), abs=4e-4)


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(1, 9)), min_size=1, max_size=30))
def test_a_mean_of_shares_is_never_certain_and_stays_a_share(pairs: list[tuple[int, int]]) -> None:
    k, n = np.array([(min(k, n), n) for k, n in pairs]).T
    found = mean_of_shares(k, n)
    assert 0 <= found.low <= found.estimate + 1e-12
    assert found.estimate - 1e-12 <= found.high <= 1
    assert found.high - found.low > 1 / (1 + n.sum())


def test_one_share_alone_has_nearly_wilsons_interval() -> None:
    assert mean_of_shares([20], [80]).low == pytest.approx(wilson(20, 80).low, abs=2e-3)
    assert mean_of_shares([0, 0, 0], [4, 4, 4]).high == pytest.approx(wilson(0, 12).high)


@pytest.mark.parametrize("draws", [1, 2, 5, 8, 50])
@pytest.mark.parametrize("classes", [10, 100])
def test_a_mean_of_shares_covers_at_few_draws(classes: int, draws: int) -> None:
    """A bootstrap within the classes covered 0, 82, 89 and 92 percent at 1, 2, 5 and 8 draws."""
    generator = np.random.default_rng(draws * classes)
    for truth in (np.full(classes, 0.2), generator.random(classes), generator.beta(0.5, 0.5, classes)):
        hits = generator.binomial(draws, truth, size=(400, classes))
        assert np.mean([truth.mean() in mean_of_shares(row, np.full(classes, draws)) for row in hits]) >= 0.925


def test_wrong_arguments_say_what_is_wrong() -> None:
    with pytest.raises(ValueError, match="0 <= successes <= n"):
        wilson(5, 4)
    with pytest.raises(ValueError, match=r"level is a share .* got 95"):
        mean_t([1.0, 2.0], level=95)
    with pytest.raises(ValueError, match="finite"):
        mean_t([1.0, np.nan])
    with pytest.raises(ValueError, match="9 labels for 10 values"):
        resample_counts(10, 3, seed=0, clusters=np.arange(9))
    assert str(Interval(0.5, 0.25, 0.75)) == "0.5 [0.25, 0.75]"
