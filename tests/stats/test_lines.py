"""Many least-squares lines at once, against scipy and statsmodels."""

import numpy as np
import pytest
import scipy.stats
import statsmodels.api as sm

from surefoot.stats import fit_lines, predict_lines, resample_counts


def _models(n: int = 60, shifts: int = 4, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    x = generator.normal(1.0, 0.6, n)
    noise = generator.normal(0, 0.1, (n, shifts)) * np.linspace(1, 3, shifts)
    return x, -0.5 + np.linspace(0.5, 1.2, shifts) * x[:, None] + noise


def test_each_line_is_scipys_linear_regression_with_missing_values_left_out() -> None:
    x, y = _models()
    y[::7, 1] = np.nan
    y[3:30, 2] = np.nan
    lines = fit_lines(x, y)
    for shift in range(y.shape[1]):
        known = np.isfinite(y[:, shift])
        peer = scipy.stats.linregress(x[known], y[known, shift])
        assert lines.coefficients[shift] == pytest.approx([peer.intercept, peer.slope], rel=1e-10)
        assert lines.r2[shift] == pytest.approx(peer.rvalue**2, rel=1e-10)
        assert lines.n[shift] == known.sum()


def test_t_intervals_are_those_of_statsmodels_hc3() -> None:
    x, y = _models(n=12)
    lines = fit_lines(x, y)
    for shift in range(y.shape[1]):
        peer = sm.OLS(y[:, shift], sm.add_constant(x)).fit(cov_type="HC3", use_t=True)
        assert np.column_stack([lines.low[shift], lines.high[shift]]) == pytest.approx(peer.conf_int(), rel=1e-8)
        assert lines.residual_sd[shift] == pytest.approx(np.sqrt(peer.scale), rel=1e-10)


def test_several_regressors_are_a_multiple_regression() -> None:
    x, y = _models()
    second = np.random.default_rng(5).normal(size=len(x))
    both = np.stack([x, second], axis=1)
    lines = fit_lines(both[:, None, :], y + 0.4 * second[:, None])
    peer = sm.OLS(y[:, 3] + 0.4 * second, sm.add_constant(both)).fit(cov_type="HC3", use_t=True)
    assert lines.coefficients[3] == pytest.approx(peer.params, rel=1e-9)
    assert lines.covariance[3] == pytest.approx(peer.cov_params(), rel=1e-7, abs=1e-12)
    place, error = predict_lines(lines, both[:2, None, :])
    peer_error = peer.get_prediction(sm.add_constant(both)[:2]).se_mean
    assert place[:, 3] == pytest.approx(peer.predict(sm.add_constant(both)[:2]), rel=1e-9)
    assert error[:, 3] == pytest.approx(peer_error, rel=1e-7)


def test_every_bootstrap_draw_is_the_regression_of_that_resample() -> None:
    x, y = _models()
    y[5:9, 0] = np.nan
    counts = resample_counts(len(x), 20, seed=3)
    lines = fit_lines(x, y, counts=counts)
    for replicate in (0, 19):
        rows = np.repeat(np.arange(len(x)), counts[replicate].astype(int))
        rows = rows[np.isfinite(y[rows, 0])]
        peer = scipy.stats.linregress(x[rows], y[rows, 0])
        assert lines.draws[replicate, 0] == pytest.approx([peer.intercept, peer.slope], rel=1e-9)


def test_a_baseline_below_fifty_points_gets_students_t_whatever_the_replicates() -> None:
    x, y = _models(n=80)
    y[20:, 1] = np.nan
    lines = fit_lines(x, y, counts=resample_counts(80, 200, seed=0))
    assert lines.bootstrapped.tolist() == [True, False, True, True]
    assert lines.low[1, 1] == pytest.approx(fit_lines(x, y).low[1, 1])
    assert np.isnan(lines.r2_low[1])
    assert lines.r2_low[0] < lines.r2[0] < lines.r2_high[0]


def test_only_the_baseline_is_fitted_and_its_range_is_known() -> None:
    x, y = _models()
    chosen = x > 1
    lines = fit_lines(x, y, baseline=chosen)
    assert lines.coefficients[0, 1] == pytest.approx(scipy.stats.linregress(x[chosen], y[chosen, 0]).slope)
    assert (lines.x_low[0, 0], lines.x_high[0, 0]) == (x[chosen].min(), x[chosen].max())


def test_points_that_fix_no_line_give_nan_not_a_number() -> None:
    x, y = np.array([1.0, 1.0, 1.0, 1.0]), np.array([0.1, 0.2, 0.3, 0.4])
    assert np.isnan(fit_lines(x, y).coefficients).all()
    assert np.isnan(fit_lines([1.0, 2.0], [0.1, 0.2]).coefficients).all()


def test_a_large_offset_does_not_cost_precision() -> None:
    x, y = _models()
    shifted = fit_lines(x + 1e6, y).coefficients
    assert shifted[:, 1] == pytest.approx(fit_lines(x, y).coefficients[:, 1], rel=1e-6)


@pytest.mark.parametrize(("n", "replicates"), [(8, 0), (20, 0), (60, 400)])
def test_the_interval_of_a_slope_holds_the_truth_as_often_as_it_says(n: int, replicates: int) -> None:
    generator = np.random.default_rng(n)
    x = generator.uniform(0.2, 1.7, (n, 2500))
    y = -0.5 + 0.9 * x + 0.1 * generator.normal(size=x.shape)
    counts = resample_counts(n, replicates, seed=1) if replicates else None
    lines = fit_lines(x, y, counts=counts)
    covered = np.mean((lines.low[:, 1] <= 0.9) & (lines.high[:, 1] >= 0.9))
    assert 0.94 <= covered <= 0.965


def test_families_give_the_jackknife_over_families_with_one_degree_of_freedom_less() -> None:
    x, y = _models(n=24, shifts=1)
    families = np.repeat([f"f{place}" for place in range(6)], 4)
    lines = fit_lines(x, y, clusters=families, counts=resample_counts(24, 50, seed=0, clusters=families))
    whole = np.polyfit(x, y[:, 0], 1)[::-1]
    off = np.array([np.polyfit(x[families != one], y[families != one, 0], 1)[::-1] - whole for one in set(families)])
    assert lines.covariance[0] == pytest.approx(5 / 6 * off.T @ off)
    half = scipy.stats.t.ppf(0.975, 5) * np.sqrt(lines.covariance[0, 1, 1])
    assert (lines.low[0, 1], lines.high[0, 1]) == pytest.approx((whole[1] - half, whole[1] + half))
    assert (lines.freedom[0], bool(lines.bootstrapped[0])) == (5, False)


def test_the_slope_of_families_is_covered_where_models_of_a_family_are_alike() -> None:
    generator, held = np.random.default_rng(0), {True: 0, False: 0}
    for _ in range(200):
        family = np.repeat(np.arange(6), 4)
        x = generator.normal(0, 0.6, 6)[family] + generator.normal(0, 0.2, 24)
        y = 0.9 * x + generator.normal(0, 0.25, 6)[family] + generator.normal(0, 0.1, 24)
        for clustered in held:
            lines = fit_lines(x, y, clusters=family if clustered else None)
            held[clustered] += bool(lines.low[0, 1] <= 0.9 <= lines.high[0, 1])
    assert held[True] >= 0.90 * 200
    assert held[False] < 0.85 * 200
