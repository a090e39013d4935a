"""Intervals of laws: coverage by simulation at the nominal rate, and refusals in plain words."""

import numpy as np
import pytest
import scipy.stats
import statsmodels.api as sm

from surefoot.stats import band, fit_law, intervals, predict

X = np.geomspace(1, 1e4, 12)


def coverage(
    form: str, method: str, truth: dict[str, float], noise: float, *, replicates: int, x: np.ndarray = X
) -> dict[str, float]:
    generator = np.random.default_rng(11)
    curve = truth.get("floor", 0.0) + truth["coefficient"] * x ** -truth["exponent"]
    hits = dict.fromkeys(truth, 0)
    for seed in range(replicates):
        law = fit_law(x, curve * np.exp(generator.normal(0, noise, len(x))), form)
        found = intervals(law, method=method, replicates=399, seed=seed).by_name  # type: ignore[arg-type]
        for name, value in truth.items():
            hits[name] += value in found[name]
    return {name: count / replicates for name, count in hits.items()}


def test_t_intervals_of_a_power_law_are_those_of_statsmodels() -> None:
    y = 3 * X**-0.2 * np.exp(np.random.default_rng(0).normal(0, 0.1, 12))
    found = intervals(fit_law(X, y), level=0.9)
    line = sm.OLS(np.log(y), sm.add_constant(np.log(X))).fit().conf_int(0.1)
    assert found.method == "t"
    assert (found.by_name["exponent"].high, found.by_name["exponent"].low) == pytest.approx(tuple(-line[1]))
    assert np.log([found.by_name["coefficient"].low, found.by_name["coefficient"].high]) == pytest.approx(line[0])


def test_coverage_of_t_and_wild_bootstrap_intervals_of_a_power_law() -> None:
    truth = {"exponent": 0.2, "coefficient": 3.0}
    for value in coverage("power", "t", truth, 0.05, replicates=1000).values():
        assert 0.935 <= value <= 0.965
    # Over 3,000 other samples: 0.950 for the exponent and 0.941 for the coefficient; 0.937 and 0.926 with 12 points.
    for value in coverage("power", "wild", truth, 0.05, replicates=300, x=np.geomspace(1, 1e4, 30)).values():
        assert 0.92 <= value <= 0.97


def test_coverage_of_profile_intervals_with_a_floor_where_t_fails() -> None:
    truth = {"exponent": 0.2, "coefficient": 3.0, "floor": 0.02}
    profile = coverage("power+floor", "profile", truth, 0.03, replicates=80)
    t = coverage("power+floor", "t", truth, 0.03, replicates=80)
    assert profile["floor"] >= 0.92
    assert profile["exponent"] >= 0.92
    assert t["floor"] < 0.8


def test_the_band_of_a_new_run_is_of_as_many_examples_as_the_harmonic_mean() -> None:
    generator, x = np.random.default_rng(2), np.geomspace(1e3, 1e8, 12)
    n = np.repeat([50, 20_000], 6)
    y = generator.binomial(n, 0.9 * x**-0.12) / n
    law = fit_law(x, y, tests=n)
    t = scipy.stats.t.ppf(0.975, 10)
    run, line = (np.log(np.divide(*band(law, [1e9], new_run=new))[0]) / 2 / t for new in (True, False))
    error = predict(law, [1e9])[0]
    sampling = (1 - error) / error * np.mean(1 / n)
    assert run**2 == pytest.approx(line**2 + law.spread**2 + sampling)


def test_where_noise_grows_the_band_is_as_wide_as_the_noise_there_and_no_wider_beyond() -> None:
    x = np.geomspace(1, 1e4, 40)
    law = fit_law(x, 3 * x**-0.2 * np.exp(np.random.default_rng(0).normal(0, 0.01, 40) * x**0.25))
    slope, z = law.checks.noise_slope, np.log(x) - np.log(x).mean()
    assert slope > 0.2
    t, at = scipy.stats.t.ppf(0.975, 38), np.array([1.0, 100.0, 1e4, 1e6])
    run, line = (np.log(np.divide(*band(law, at, new_run=new)[::-1])) / 2 / t for new in (True, False))
    there = np.minimum(np.log(at) - np.log(x).mean(), z[-1])
    noise = law.spread**2 * np.exp(slope * there) / np.exp(slope * z).mean()  # the mean over the points is the spread's
    assert run**2 == pytest.approx(line**2 + noise)


def test_coverage_of_bands_for_a_new_run_and_for_the_curve() -> None:
    generator = np.random.default_rng(12)
    new_run, curve = [], []
    for _ in range(1000):
        law = fit_law(X, 3 * X**-0.2 * np.exp(generator.normal(0, 0.05, 12)))
        truth = 3 * 1e6**-0.2
        low, high = band(law, [1e6])
        new_run.append(low[0] <= truth * np.exp(generator.normal(0, 0.05)) <= high[0])
        low, high = band(law, [1e6], new_run=False)
        curve.append(low[0] <= truth <= high[0])
    assert 0.935 <= np.mean(new_run) <= 0.965
    assert 0.935 <= np.mean(curve) <= 0.965


@pytest.mark.parametrize(("runs", "points"), [(6, 3), (20, 5)])
def test_coverage_with_several_points_of_each_run(runs: int, points: int) -> None:
    """Runs that lie one after the other along x: CR1 with a wild bootstrap held 86 of 100 over six of them."""
    generator = np.random.default_rng(13)
    run = np.repeat(np.arange(runs), points)
    size = np.geomspace(1, 1e4, len(run))
    hits, naive = [], []
    for _ in range(200):
        shared, own = generator.normal(0, 0.05, runs)[run], generator.normal(0, 0.02, len(run))
        law = fit_law(size, 3 * size**-0.2 * np.exp(shared + own), clusters=run)
        hits.append(0.2 in intervals(law).by_name["exponent"])
        naive.append(0.2 in intervals(fit_law(size, 3 * size**-0.2 * np.exp(shared + own))).by_name["exponent"])
    assert 0.92 <= np.mean(hits) <= 0.98
    assert np.mean(naive) < 0.85


def test_few_runs_are_called_runs() -> None:
    y = 3 * X**-0.2 * np.exp(np.random.default_rng(3).normal(0, 0.05, 12))
    law = fit_law(X, y, clusters=np.arange(12) % 2)
    assert law.notes == ("2 runs leave 1 degree of freedom",)
    assert intervals(law, method="wild").note.startswith("a bootstrap over 2 runs is refused")


def test_methods_for_independent_points_are_not_taken_for_runs() -> None:
    x = np.geomspace(1, 1e4, 24)
    y = 3 * x**-0.2 * np.exp(np.random.default_rng(1).normal(0, 0.05, 24))
    law = fit_law(x, y, clusters=np.arange(24) // 3)
    for method in ("wild", "profile"):
        found = intervals(law, method=method)
        assert found.by_name == intervals(law).by_name
        assert found.note == f"'{method}' is for independent points; the t interval over runs is given instead"


def test_the_five_planted_parameters_are_inside_their_intervals_at_the_nominal_rate() -> None:
    generator = np.random.default_rng(14)
    sizes = np.exp(generator.uniform(np.log([5e7, 1e9]), np.log([1.6e10, 3e11]), (240, 2)))
    truth = {"alpha": 0.3473, "beta": 0.3672, "floor": 1.8172, "A": 477.84, "B": 2143.86}
    curve = truth["floor"] + truth["A"] * sizes[:, 0] ** -truth["alpha"] + truth["B"] * sizes[:, 1] ** -truth["beta"]
    hits = []
    for _ in range(40):
        law = fit_law(sizes, curve * np.exp(generator.normal(0, 0.01, 240)), "two-variable")
        found = intervals(law, method="t").by_name
        hits.append([value in found[name] for name, value in truth.items()])
    assert 0.92 <= np.mean(hits) <= 0.98


def test_bootstraps_of_one_law_agree_with_its_t_interval_and_with_their_seed() -> None:
    x = np.geomspace(1, 1e4, 200)
    law = fit_law(x, 3 * x**-0.2 * np.exp(np.random.default_rng(1).normal(0, 0.05, 200)))
    t = intervals(law).by_name["exponent"]
    for method in ("wild", "pairs"):
        found = intervals(law, method=method, seed=5)
        again = intervals(law, method=method, seed=5)
        assert found.by_name["exponent"] == again.by_name["exponent"]
        assert found.by_name["exponent"].low == pytest.approx(t.low, abs=0.0006)
        assert found.by_name["exponent"].high == pytest.approx(t.high, abs=0.0006)
        assert found.draws.shape == (1000, 2)


def test_the_bootstrap_of_runs_draws_whole_runs_with_percentiles_as_wide_as_students() -> None:
    """Five points of each of eight runs at its own x are the law of their eight means, to the last draw."""
    x = np.geomspace(1, 1e4, 8)
    noise = np.random.default_rng(4).normal(0, 0.05, (8, 5))
    logs = np.log(3 * x**-0.2)[:, None] + noise - noise.mean(axis=1, keepdims=True) + noise[:, :1]
    runs = fit_law(np.repeat(x, 5), np.exp(logs.ravel()), clusters=np.repeat([f"run {place}" for place in range(8)], 5))
    means = fit_law(x, np.exp(logs.mean(axis=1)))
    found, peer = (intervals(law, method="pairs", replicates=200, seed=3) for law in (runs, means))
    assert found.draws == pytest.approx(peer.draws, rel=1e-6)
    tail = scipy.stats.norm.cdf(-scipy.stats.t.ppf(0.975, 6) * (8 / 6) ** 0.5)
    low, high = np.quantile(peer.draws[:, 0], [tail, 1 - tail])
    for one in (found, peer):
        bounds = one.by_name["exponent"]
        assert (bounds.low, bounds.high) == pytest.approx((low, high))


def test_a_refit_in_the_bootstrap_is_the_fit_of_its_sample() -> None:
    x = np.geomspace(1, 1e4, 30)
    y = 0.3 + 3 * x**-0.4 * np.exp(np.random.default_rng(2).normal(0, 0.05, 30))
    law = fit_law(x, y, "power+floor")
    from surefoot.stats import resample_counts

    counts = resample_counts(30, 3, seed=7)
    draws = intervals(law, method="pairs", replicates=3, seed=7).draws
    for row, draw in zip(counts.astype(int), draws, strict=True):
        sample = fit_law(np.repeat(x, row), np.repeat(y, row), "power+floor")
        np.testing.assert_allclose(draw, list(sample.parameters.values()), rtol=2e-3)


def test_a_bootstrap_over_three_points_is_refused_and_the_t_interval_given() -> None:
    law = fit_law([1e10, 1e11, 1e12], [0.5, 0.37, 0.25])
    for method in ("wild", "pairs"):
        found = intervals(law, method=method)
        assert found.method == "t"
        assert found.by_name == intervals(law, method="t").by_name
        assert found.note == (
            "a bootstrap over 3 points is refused: too few to resample; "
            "the t interval with 1 degree of freedom is given instead"
        )


def test_two_points_have_no_interval() -> None:
    found = intervals(fit_law([1.0, 10.0], [0.5, 0.4])).by_name["exponent"]
    assert np.isnan(found.low)
    assert np.isinf(band(fit_law([1.0, 10.0], [0.5, 0.4]), [100.0])[1]).all()


def test_an_interval_of_an_unneeded_floor_reaches_zero() -> None:
    y = 3 * X**-0.2 * np.exp(np.random.default_rng(4).normal(0, 0.05, 12))
    found = intervals(fit_law(X, y, "power+floor")).by_name["floor"]
    assert found.low == 0.0
    assert 0.0 < found.high < 0.7
