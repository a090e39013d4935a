"""Intervals against scipy and statsmodels, and their coverage by simulation."""

import numpy as np
import pytest
import statsmodels.api as sm
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats as scipy_stats

from surefoot.stats import (
    Interval,
    bootstrap,
    clopper_pearson,
    clopper_pearson_bounds,
    mean_crossed,
    mean_t,
    quantile_bounds,
    resample_counts,
    t_quantile,
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


def test_mean_t_agrees_with_scipy_and_has_no_interval_for_one_value() -> None:
    values = np.random.default_rng(1).gamma(2.0, size=9)
    ours = mean_t(values, level=0.9)
    low, high = scipy_stats.t.interval(0.9, 8, values.mean(), scipy_stats.sem(values))
    assert (ours.low, ours.high) == pytest.approx((low, high))
    assert np.isnan(mean_t([3.0]).low)


@pytest.mark.parametrize("method", ["percentile", "bca"])
def test_bootstrap_agrees_with_scipy(method: str) -> None:
    values = np.random.default_rng(2).exponential(size=80)
    ours = bootstrap(values, method=method, replicates=20_000, seed=3)  # type: ignore[arg-type]
    theirs = scipy_stats.bootstrap(
        (values,), np.mean, method=method, n_resamples=20_000, rng=np.random.default_rng(4)
    ).confidence_interval
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=0.01)


def test_bootstrap_takes_any_statistic_and_a_seed() -> None:
    values = np.random.default_rng(5).normal(size=50)
    first = bootstrap(values, np.median, seed=7, replicates=400)
    assert first == bootstrap(values, np.median, seed=7, replicates=400)
    assert first.estimate == np.median(values)
    assert first.low <= first.estimate <= first.high


def test_bootstrap_of_clusters_is_wider_when_rows_repeat() -> None:
    values = np.repeat(np.random.default_rng(6).normal(size=40), 10)
    runs = np.repeat(np.arange(40), 10)
    rows, clustered = bootstrap(values), bootstrap(values, clusters=runs)
    single = bootstrap(values[::10])
    assert rows.high - rows.low < 0.5 * (clustered.high - clustered.low)
    assert clustered.high - clustered.low == pytest.approx(single.high - single.low, rel=0.1)


def test_a_bootstrap_over_three_values_is_refused() -> None:
    with pytest.raises(ValueError, match="over 3 independent values is refused"):
        bootstrap([1.0, 2.0, 3.0])
    with pytest.raises(ValueError, match="over 2 independent values is refused"):
        bootstrap(np.arange(10.0), clusters=np.arange(10) % 2)


def test_counts_of_a_resample_sum_to_n_and_keep_clusters_together() -> None:
    counts = resample_counts(12, 50, seed=0)
    assert counts.shape == (50, 12)
    assert (counts.sum(axis=1) == 12).all()
    clustered = resample_counts(12, 50, seed=0, clusters=np.repeat(["a", "b", "c"], 4))
    assert (clustered[:, :4] == clustered[:, :1]).all()


def test_coverage_of_mean_intervals_is_nominal() -> None:
    generator = np.random.default_rng(8)
    t_hits = [0.0 in mean_t(sample) for sample in generator.normal(size=(4000, 6))]
    boot_hits = []
    for sample in generator.normal(size=(1500, 80)):
        boot_hits.append(0.0 in bootstrap(sample, replicates=600, seed=len(boot_hits)))
    assert 0.94 <= np.mean(t_hits) <= 0.96
    assert 0.93 <= np.mean(boot_hits) <= 0.96


def test_bounds_of_constant_draws_are_the_constant() -> None:
    assert quantile_bounds(np.full(100, 2.0), 2.0, jackknife=np.full(5, 2.0)) == (2.0, 2.0)


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


def test_a_crossed_mean_has_the_error_of_a_mixed_model_of_statsmodels() -> None:
    """The ANOVA and the likelihood estimators agree in a balanced layout whose components are positive."""
    import pandas as pd

    generator = np.random.default_rng(4)
    rows, columns = 6, 40
    values = generator.normal(size=(rows, 1)) + generator.normal(size=columns) + generator.normal(size=(rows, columns))
    frame = pd.DataFrame(
        {"y": values.ravel(), "row": np.repeat(range(rows), columns), "column": np.tile(range(columns), rows)}
    )
    parts = {"row": "0 + C(row)", "column": "0 + C(column)"}
    fitted = sm.MixedLM.from_formula("y ~ 1", frame, groups=np.ones(len(frame)), vc_formula=parts).fit(reml=True)
    ours = mean_crossed(values)
    assert ours.estimate == pytest.approx(values.mean())
    components = dict(zip(fitted.model.exog_vc.names, fitted.vcomp, strict=True))
    rest = fitted.scale
    squares = np.array([columns * components["row"] + rest, rows * components["column"] + rest, rest])
    variance = squares @ [1, 1, -1]
    free = variance**2 / (squares**2 / [rows - 1, columns - 1, (rows - 1) * (columns - 1)]).sum()
    half = t_quantile(0.95, free) * (variance / values.size) ** 0.5
    assert (ours.high - ours.low) / 2 == pytest.approx(half, rel=1e-3)


@pytest.mark.parametrize(("of_rows", "of_columns"), [(0.0, 0.0), (1.0, 0.0), (0.0, 1.0), (1.0, 1.0), (0.3, 3.0)])
def test_a_crossed_mean_covers_where_either_side_varies(of_rows: float, of_columns: float) -> None:
    generator = np.random.default_rng(5)
    hits = 0
    for _ in range(400):
        table = of_rows * generator.normal(size=(5, 1)) + of_columns * generator.normal(size=60)
        hits += 0.0 in mean_crossed(table + generator.normal(size=(5, 60)))
    assert hits / 400 > 0.93


def test_a_crossed_mean_needs_two_of_each() -> None:
    with pytest.raises(ValueError, match="two of each"):
        mean_crossed([[1.0, 2.0]])
    constant = mean_crossed(np.full((3, 4), 0.5))
    assert (constant.estimate, constant.low, constant.high) == (0.5, 0.5, 0.5)
