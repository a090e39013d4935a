"""Every error, test and width of a law against an independent reference: statsmodels, scipy, or its definition."""

from typing import Any

import numpy as np
import pytest
import statsmodels.api as sm
from scipy import stats

from surefoot.stats import (
    HeldOut,
    Law,
    band,
    choose_form,
    fit_law,
    form_of,
    intervals,
    log_error_variance,
    predict,
    residuals,
    restricted,
    restriction_p,
)

X = np.geomspace(1, 1e4, 24)
Z = np.log(X)


def points(seed: int, grows: float = 0.0) -> np.ndarray:
    return 3 * X**-0.2 * np.exp(np.random.default_rng(seed).normal(0, 0.05, 24) * (X / 100) ** grows)


def line(y: np.ndarray, *more: np.ndarray) -> Any:
    return sm.OLS(np.log(y), sm.add_constant(np.column_stack([Z, *more]))).fit()


def trend_p(fitted: Any) -> float:
    """p of Glejser's regression by simulation: residuals of the same line through even noise."""

    def t_of(one: Any) -> float:
        size = np.abs(one.resid) / np.sqrt(1 - one.get_influence().hat_matrix_diag)
        return abs(stats.linregress(Z, size).slope / stats.linregress(Z, size).stderr)

    generator = np.random.default_rng(99)
    drawn = [t_of(line(np.exp(generator.normal(0, 1, 24)))) for _ in range(600)]
    return float(np.mean(np.array(drawn) >= t_of(fitted)))


def half_width(law: Law, level: float = 0.95) -> float:
    found = intervals(law, method="t", level=level).by_name["exponent"]
    return (found.high - found.low) / 2


def test_the_bands_are_those_of_a_prediction_by_the_line() -> None:
    y, at = points(0), np.array([3.0, 1e5, 1e7])
    theirs = line(y).get_prediction(sm.add_constant(np.log(at))).summary_frame(alpha=0.1)
    law = fit_law(X, y)
    for new_run, name in ((True, "obs_ci"), (False, "mean_ci")):
        low, high = band(law, at, level=0.9, new_run=new_run)
        np.testing.assert_allclose(np.log(low), theirs[f"{name}_lower"])
        np.testing.assert_allclose(np.log(high), theirs[f"{name}_upper"])


def test_the_tests_of_a_curve_of_even_noise_and_of_a_constant_are_those_of_the_line() -> None:
    for seed in range(3):
        y = points(seed)
        theirs, checks = line(y), fit_law(X, y).checks
        assert checks.noise_p > 0.05
        assert checks.curve_p == pytest.approx(line(y, Z**2).compare_f_test(theirs)[1])
        assert checks.noise_p == pytest.approx(trend_p(theirs), abs=0.04)
        added = line(y, np.exp(-theirs.fittedvalues))  # Tukey's test of one degree of freedom, on the side of a floor
        assert checks.floor_p == pytest.approx(stats.t.sf(added.tvalues[2], 21))
    flat = np.exp(np.random.default_rng(5).normal(0, 0.05, 24))
    assert fit_law(X, flat).p_constant == pytest.approx(line(flat).f_pvalue)


def test_where_the_noise_grows_a_curve_and_a_floor_are_tested_by_the_weighted_line() -> None:
    """Weights are one over the variance; what is left is counted about the plain line, which spares false alarms.

    About the weighted line 17 in place of 12 of 100 laws of 12 points were called curved (noise that grew hundredfold).
    """
    y = points(1, grows=0.4)
    checks = fit_law(X, y).checks
    assert checks.noise_p < 0.05
    even = np.exp(-checks.noise_slope * (Z - Z.mean()))
    plain, theirs = sm.add_constant(Z), line(y)
    without = sm.WLS(np.log(y), plain, weights=even).fit().ssr
    for added, found, side in ((Z**2, checks.curve_p, 1), (np.exp(-theirs.fittedvalues), checks.floor_p, 2)):
        one = sm.WLS(np.log(y), np.column_stack([plain, added]), weights=even).fit()
        gain = without - one.ssr
        p = stats.f.sf(gain / ((even @ theirs.resid**2 - gain) / 21), 1, 21)
        assert found == pytest.approx(p if side == 1 else p / 2 if one.params[2] > 0 else 1 - p / 2)


def robust_t(y: np.ndarray, design: np.ndarray, weights: np.ndarray) -> tuple[float, float]:
    """t of the last column with HC2's error, and Bell and McCaffrey's degrees of freedom, by their definitions."""
    root = np.sqrt(weights)
    x, target = design * root[:, None], np.log(y) * root
    inverse = np.linalg.inv(x.T @ x)
    away = np.eye(len(y)) - x @ inverse @ x.T
    per_point = (inverse @ x.T)[-1] ** 2 / np.diag(away)
    moved = (per_point[:, None] * away) @ away
    freedom = np.trace(moved) ** 2 / np.trace(moved @ moved)
    return float((inverse @ x.T @ target)[-1] / (per_point @ (away @ target) ** 2) ** 0.5), float(freedom)


@pytest.mark.parametrize(("n", "grows", "seed"), [(12, 0.2, 9), (6, 0.0, 0)])
def test_of_few_points_a_curve_and_a_floor_are_tested_with_errors_that_allow_for_uneven_noise(
    n: int, grows: float, seed: int
) -> None:
    """Weights are one over the variance where noise is surely uneven; below eight points it cannot be tested."""
    x = np.geomspace(1, 1e4, n)
    y = 3 * x**-0.2 * np.exp(np.random.default_rng(seed).normal(0, 0.05, n) * (x / 100) ** grows)
    z, law = np.log(x), fit_law(x, y)
    assert not law.checks.noise_p > 0.3
    if law.checks.noise_slope == 0:
        theirs = sm.OLS(np.log(y), sm.add_constant(np.column_stack([z, z**2]))).fit(cov_type="HC2")
        assert theirs.tvalues[2] == pytest.approx(robust_t(y, theirs.model.exog, np.ones(n))[0])
    even = np.exp(-law.checks.noise_slope * (z - z.mean()))
    for added, found, sides in ((z**2, law.checks.curve_p, 2), (1 / predict(law, x), law.checks.floor_p, 1)):
        t, freedom = robust_t(y, np.column_stack([np.ones(n), z, added]), even)
        assert found == pytest.approx(2 * stats.t.sf(abs(t), freedom) if sides == 2 else stats.t.sf(t, freedom))


def test_growing_noise_of_few_points_is_rarely_taken_for_a_curve() -> None:
    """Of power laws of eight points whose noise grows hundredfold the F test called 18 of 100 curved."""
    x, generator = np.geomspace(1, 1e4, 8), np.random.default_rng(7)
    noisy = [x**-0.25 * np.exp(0.003 * x**0.5 * generator.normal(size=8)) for _ in range(200)]
    assert sum(fit_law(x, y).checks.curve_p < 0.05 for y in noisy) <= 24


def test_where_the_noise_grows_the_error_is_hc3() -> None:
    y = points(1, grows=0.4)
    law = fit_law(X, y)
    assert law.checks.noise_p < 0.05 and law.checks.noise_slope == pytest.approx(0.8, abs=0.4)
    assert half_width(law) == pytest.approx(stats.t.ppf(0.975, 22) * line(y).HC3_se[1])


def test_with_runs_the_error_is_the_jackknifes_over_them() -> None:
    """Lines without one run after the other (statsmodels), about the line through all; one run fewer of freedom."""
    y, runs = points(2), np.repeat(np.arange(8), 3)
    theirs = line(y)
    without = [sm.OLS(np.log(y)[runs != run], sm.add_constant(Z)[runs != run]).fit().params[1] for run in range(8)]
    law = fit_law(X, y, clusters=runs)
    assert law.degrees_of_freedom == 7
    error = (7 / 8 * np.sum((np.array(without) - theirs.params[1]) ** 2)) ** 0.5
    assert half_width(law, 0.9) == pytest.approx(stats.t.ppf(0.95, 7) * error)


def test_a_run_without_which_there_is_no_law_leaves_no_interval() -> None:
    law = fit_law(np.repeat([1.0, 10.0], 3), [3, 3.1, 2.9, 2, 2.1, 1.9], clusters=np.repeat([0, 1], 3))
    assert law.degrees_of_freedom == 0
    assert law.trouble == "no test: without one of its runs the points do not determine the law"
    assert np.isnan(intervals(law).by_name["exponent"].low)


def test_a_profile_ends_where_the_points_contradict_the_value_at_the_level() -> None:
    y = 0.8 + points(3)
    law = fit_law(X, y, "power+floor")
    for name in ("exponent", "floor"):
        found = intervals(law, method="profile", level=0.9).by_name[name]
        for end in (found.low, found.high):
            fixed = fit_law(X, y, restricted(form_of("power+floor"), fixed={name: end}))
            assert restriction_p(fixed, law) == pytest.approx(0.1, rel=0.08)


def test_bootstraps_are_as_wide_as_their_degrees_of_freedom_ask() -> None:
    y = points(4)
    pairs = intervals(fit_law(X, y, huber=0.05), replicates=300, level=0.9)
    tail = stats.norm.cdf(-stats.t.ppf(0.95, 22) * (24 / 22) ** 0.5)
    exponents = pairs.draws[:, 0]
    assert pairs.method == "pairs"
    low, high = np.quantile(exponents, [tail, 1 - tail])
    assert (pairs.by_name["exponent"].low, pairs.by_name["exponent"].high) == pytest.approx((low, high))


def test_the_wild_bootstrap_is_that_of_the_line_with_hc3_errors() -> None:
    """Residuals over one less leverage under random signs; |b* - b| over its own HC3 error; symmetric bounds."""
    y, design = points(4), sm.add_constant(Z)
    found = intervals(fit_law(X, y), method="wild", replicates=400, seed=1, level=0.9).by_name["exponent"]
    theirs = line(y)
    flips = theirs.resid / (1 - theirs.get_influence().hat_matrix_diag)
    signs = np.random.default_rng(1).integers(0, 2, size=(400, 24), dtype=np.int8) * 2.0 - 1
    drawn = [sm.OLS(theirs.fittedvalues + sign * flips, design).fit() for sign in signs]
    t = [abs(one.params[1] - theirs.params[1]) / one.HC3_se[1] for one in drawn]
    half = float(np.quantile(t, 0.9)) * theirs.HC3_se[1]
    assert (found.low, found.high) == pytest.approx((-theirs.params[1] - half, -theirs.params[1] + half))


def test_points_are_weighted_by_what_they_were_measured_on() -> None:
    tests = np.geomspace(50, 20_000, 24)
    error = 0.8 * X**-0.2
    noise = log_error_variance(error, tests)
    np.testing.assert_allclose(noise, (1 - error) / error / tests)
    seen = error * np.exp(np.random.default_rng(6).normal(0, np.sqrt(noise + 0.03**2)))
    law = fit_law(X, seen, tests=tests)
    # At the errors of the law itself: an error that is low by chance would weigh less than one that is high.
    total = law.spread**2 + log_error_variance(np.minimum(predict(law, X), (1 + seen) / 2), tests)
    assert (residuals(law) ** 2 / total).sum() == pytest.approx(22, rel=1e-3)
    np.testing.assert_allclose(law.weights, (1 / total) / (1 / total).mean(), rtol=1e-3)
    theirs = sm.WLS(np.log(seen), sm.add_constant(Z), weights=1 / total).fit()
    assert law.parameters["exponent"] == pytest.approx(-theirs.params[1], rel=1e-3)
    assert half_width(law) == pytest.approx(stats.t.ppf(0.975, 22) * theirs.bse[1], rel=1e-3)


def test_a_more_complex_form_must_be_better_by_a_quarter_and_weights_are_inverse_squares() -> None:
    def held(form: str, score: float) -> HeldOut:
        return HeldOut(
            form=form, fitted=np.array([3]), row=np.array([3]), decades=np.ones(1), log_error=np.ones(1), score=score
        )

    for score, chosen in ((1.24, "power"), (1.26, "power+floor")):
        found = choose_form([held("power+floor", 1.0), held("power", score)])
        assert found.form == chosen
        assert found.weights["power"] == pytest.approx(score**-2 / (1 + score**-2))


@pytest.mark.parametrize("form", ["bounded", "shifted+floor"])
def test_a_profile_finds_the_floor_of_a_valley_that_bends(form: str) -> None:
    """A power law seen through a form that it is a limit of: what the other parameters are is all but undetermined."""
    x = np.repeat(np.geomspace(1e8, 1e11, 4), 8)
    law = fit_law(x, 20 * x**-0.1 * np.exp(np.random.default_rng(0).normal(0, 0.02, 32)), form)
    for name in ("exponent", "floor"):
        end = getattr(intervals(law).by_name[name], "low" if name == "exponent" else "high")
        fixed = fit_law(x, np.exp(law.problem.log_y + law.problem.scale), restricted(form_of(form), fixed={name: end}))
        assert restriction_p(fixed, law) == pytest.approx(0.05, rel=0.3)
