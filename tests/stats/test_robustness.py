"""Effective and relative robustness, and how far their intervals can be trusted."""

import numpy as np
import pytest
import scipy.stats
from statsmodels.stats.proportion import confint_proportions_2indep

from surefoot.stats import (
    Axis,
    binomial_stderr,
    carried_error,
    effective_robustness,
    fit_lines,
    from_axis,
    group_robustness,
    place_on_axis,
    rank_agreement,
    relative_robustness,
    resample_counts,
    to_axis,
)


def _testbed(
    *, models: int, trials: int, sizes: tuple[int, int], scatter: float, axis: Axis = "logit", at: float = 0.7
) -> tuple[np.ndarray, np.ndarray, float]:
    """Observed accuracies of a baseline and of one model (last row) that truly has 5 points over the true line."""
    generator = np.random.default_rng(models)
    x = np.vstack(
        [to_axis(generator.uniform(0.55, 0.85, (models, trials)), axis), np.full((1, trials), to_axis(at, axis))]
    )
    scattered = generator.normal(0, scatter, x.shape)
    scattered[-1] = 0
    y = from_axis(-0.5 + 0.9 * x + scattered, axis)
    y[-1] += 0.05
    seen_x = generator.binomial(sizes[0], from_axis(x, axis)) / sizes[0]
    return seen_x, generator.binomial(sizes[1], y) / sizes[1], 5.0


def test_the_error_of_each_axis_is_carried_by_its_own_slope() -> None:
    x = np.random.default_rng(0).uniform(0.3, 0.8, (12, 1, 2))
    lines = fit_lines(to_axis(x), to_axis(x)[:, 0] @ [2.5, -0.4] + 1)
    error = np.full(x.shape, 0.01)
    speed = 1 / (x * (1 - x))[:, 0]  # of the logit
    by_hand = 0.01 * np.hypot(2.5 * speed[:, 0], 0.4 * speed[:, 1])
    np.testing.assert_allclose(carried_error(x, error, lines)[:, 0], by_hand)


@pytest.mark.parametrize(
    ("models", "sizes", "scatter", "axis", "at"),
    [
        (15, (50_000, 10_000), 0.1, "logit", 0.85),
        (30, (10_000, 1_000), 0.02, "logit", 0.7),
        (30, (50_000, 10_000), 0.3, "logit", 0.7),
        (85, (50_000, 10_000), 0.1, "logit", 0.7),
        (40, (50_000, 2_000), 0.1, "probit", 0.6),
    ],
)
def test_the_interval_of_effective_robustness_holds_the_truth_94_to_96_times_in_100(
    models: int, sizes: tuple[int, int], scatter: float, axis: Axis, at: float
) -> None:
    x, y, truth = _testbed(models=models, trials=6000, sizes=sizes, scatter=scatter, axis=axis, at=at)
    baseline = np.arange(models + 1) < models
    lines = fit_lines(
        place_on_axis(x, axis, n=sizes[0]).value, place_on_axis(y, axis, n=sizes[1]).value, baseline=baseline
    )
    result = effective_robustness(
        place_on_axis(x, axis, n=sizes[0]).value,
        y,
        lines,
        axis=axis,
        carried=carried_error(x, binomial_stderr(x, sizes[0]), lines, axis=axis),
        y_stderr=binomial_stderr(y, sizes[1]),
    )
    covered = np.mean((result.low[-1] <= truth) & (truth <= result.high[-1]))
    assert 0.94 <= covered <= 0.96


def test_a_model_on_the_line_has_no_effective_robustness() -> None:
    x = np.linspace(0.5, 0.9, 12)
    y = from_axis(-1 + 0.8 * to_axis(x))
    result = effective_robustness(to_axis(x), y, fit_lines(to_axis(x), to_axis(y)))
    assert result.points[:, 0] == pytest.approx(np.zeros(12), abs=1e-9)
    assert not result.outside.any()


def test_without_sampling_noise_only_the_line_is_uncertain_and_with_it_the_interval_is_wider() -> None:
    x, y, _ = _testbed(models=20, trials=3, sizes=(5000, 2000), scatter=0.1)
    lines = fit_lines(to_axis(x), to_axis(y))
    exact = effective_robustness(to_axis(x), y, lines)
    noisy = effective_robustness(to_axis(x), y, lines, y_stderr=binomial_stderr(y, 2000))
    noisier = effective_robustness(
        to_axis(x),
        y,
        lines,
        carried=carried_error(x, binomial_stderr(x, 5000), lines),
        y_stderr=binomial_stderr(y, 2000),
    )
    assert (exact.high - exact.low < noisy.high - noisy.low).all()
    assert (noisy.high - noisy.low < noisier.high - noisier.low).all()


def test_models_beyond_the_range_of_the_baseline_are_marked() -> None:
    x = np.array([0.5, 0.55, 0.6, 0.65, 0.7, 0.3, 0.62])
    y = x - 0.1 + np.array([0.0, 0.01, -0.01, 0.01, 0.0, 0.2, 0.2])
    baseline = np.arange(7) < 5
    result = effective_robustness(x, y, fit_lines(x, y, baseline=baseline), axis="linear")
    assert result.outside[:, 0].tolist() == [False] * 5 + [True, False]
    assert result.unusual[6, 0]
    assert not result.unusual[:5].any()


def test_missing_accuracies_have_no_robustness() -> None:
    x = np.linspace(0.5, 0.9, 12)
    y = x[:, None] * np.array([0.8, 0.7])
    y[2, 1] = np.nan
    result = effective_robustness(to_axis(x), y, fit_lines(to_axis(x), to_axis(y)))
    assert np.isnan(result.points).sum() == 1
    assert not result.outside[2, 1]


def test_an_exact_zero_keeps_an_interval() -> None:
    x, y = np.linspace(0.5, 0.9, 12), np.linspace(0.02, 0.3, 12)
    lines = fit_lines(to_axis(x), to_axis(y))
    y[3] = 0.0
    result = effective_robustness(to_axis(x), y, lines, y_stderr=binomial_stderr(y, 500)[:, None])
    assert result.low[3, 0] < result.points[3, 0] < result.high[3, 0]


def test_relative_robustness_is_newcombes_difference_of_two_shares() -> None:
    points, low, high = relative_robustness(
        [0.62],
        [0.55],
        after_stderr=binomial_stderr([0.62], 1000),
        before_stderr=binomial_stderr([0.55], 1000),
    )
    peer = confint_proportions_2indep(620, 1000, 550, 1000, compare="diff", method="newcomb")
    assert points == pytest.approx([7.0])
    assert (low[0] / 100, high[0] / 100) == pytest.approx(peer, rel=1e-3)
    # An accuracy of exactly 1 stands for as many examples, too.
    exact, n = {"after_stderr": binomial_stderr([1.0], 50), "before_stderr": binomial_stderr([0.9], 1000)}, 50
    _, low, high = relative_robustness([1.0], [0.9], **exact)
    peer = confint_proportions_2indep(n, n, 900, 1000, compare="diff", method="newcomb")
    assert (low[0] / 100, high[0] / 100) == pytest.approx(peer, abs=1e-3)


def test_group_means_and_their_draws_follow_the_models_drawn() -> None:
    generator = np.random.default_rng(0)
    x = generator.uniform(0.5, 0.9, 90)
    gain = np.repeat([0.0, 0.08], [60, 30])
    y = from_axis(-1 + 0.8 * to_axis(x) + generator.normal(0, 0.05, 90)) + gain
    baseline = gain == 0
    counts = resample_counts(90, 400, seed=1)
    lines = fit_lines(to_axis(x), to_axis(y), baseline=baseline, counts=counts)
    effective = effective_robustness(to_axis(x), y, lines)
    means = group_robustness(to_axis(x), y, lines, effective, np.where(baseline, "plain", "robust"), counts=counts)
    assert means.groups == ("plain", "robust")
    assert means.points[1, 0] == pytest.approx(effective.points[60:, 0].mean())
    assert means.low[1, 0] < 8 < means.high[1, 0]
    assert means.low[0, 0] < 0 < means.high[0, 0]


def test_percentiles_of_a_small_group_are_stretched_as_hesterberg_says() -> None:
    """By sqrt(n / (n - 1)) t(n - 1) / z about the mean of the group's models over each drawn line."""
    generator = np.random.default_rng(3)
    x, gain = generator.uniform(0.5, 0.9, 24), np.repeat([0.0, 0.08], [20, 4])
    y = 0.1 + 0.8 * x + gain + generator.normal(0, 0.02, 24)
    counts = resample_counts(24, 300, seed=1)
    lines = fit_lines(x, y, baseline=gain == 0, counts=counts)
    effective = effective_robustness(x, y, lines, axis="linear")
    means = group_robustness(x, y, lines, effective, gain > 0, counts=counts, axis="linear")
    over, weight = y[20:] - (lines.draws[:, 0, :1] + lines.draws[:, 0, 1:] * x[20:]), counts[:, 20:]
    with np.errstate(invalid="ignore"):
        drawn = 100 * (weight * over).sum(axis=1) / weight.sum(axis=1)
    wide = np.sqrt(4 / 3) * scipy.stats.t.ppf(0.975, 3) / scipy.stats.norm.ppf(0.975)
    mean = means.points[1, 0]
    expected = mean + wide * (np.nanquantile(drawn, [0.025, 0.975]) - mean)
    assert (means.low[1, 0], means.high[1, 0]) == pytest.approx(tuple(expected))


def test_the_interval_of_a_small_group_holds_its_mean_as_often_as_it_says() -> None:
    generator = np.random.default_rng(7)
    trials, size, within = 300, 60, 6
    covered = 0
    counts = resample_counts(size + within, 200, seed=2)
    for _ in range(trials):
        x = generator.uniform(0.55, 0.85, size + within)
        gain = np.r_[np.zeros(size), generator.normal(0.05, 0.02, within)]
        y = from_axis(-0.5 + 0.9 * to_axis(x) + np.r_[generator.normal(0, 0.05, size), np.zeros(within)]) + gain
        lines = fit_lines(to_axis(x), to_axis(y), baseline=np.arange(len(x)) < size, counts=counts)
        effective = effective_robustness(to_axis(x), y, lines)
        means = group_robustness(
            to_axis(x), y, lines, effective, np.r_[["base"] * size, ["new"] * within], counts=counts
        )
        covered += means.low[1, 0] <= 5 <= means.high[1, 0]
    assert covered / trials > 0.91


def test_agreement_between_shifts_is_spearmans_correlation() -> None:
    generator = np.random.default_rng(3)
    points = np.round(generator.normal(size=(25, 3)), 1)
    points[4, 1] = np.nan
    known = np.isfinite(points[:, 1])
    result = rank_agreement(points)
    assert result[0, 2] == pytest.approx(scipy.stats.spearmanr(points[:, 0], points[:, 2]).statistic)
    assert result[1, 0] == pytest.approx(scipy.stats.spearmanr(points[known, 0], points[known, 1]).statistic)
