"""Tests of a straight line and of lines that differ between families, against statsmodels."""

import numpy as np
import pandas as pd
import pytest
import scipy.stats
import statsmodels.formula.api as smf
from statsmodels.stats.anova import anova_lm

from surefoot.core import SurefootError
from surefoot.stats import fit_families, fit_lines, hinge, linearity


def _families(seed: int = 0) -> pd.DataFrame:
    generator = np.random.default_rng(seed)
    family = np.repeat(["a", "b", "c"], [9, 12, 7])
    x = generator.normal(size=len(family))
    slope = {"a": 1.0, "b": 1.3, "c": 0.9}
    y = np.array([slope[name] for name in family]) * x + (family == "c") * 0.2 + generator.normal(0, 0.2, len(family))
    return pd.DataFrame({"x": x, "y": y, "family": family})


def test_tests_of_slopes_and_intercepts_are_the_analysis_of_covariance() -> None:
    table = _families()
    result = fit_families(table.x, table.y, table.family)
    models = [smf.ols(f"y ~ {right}", table).fit() for right in ("x", "x + C(family)", "x * C(family)")]
    for ours, pair in (
        (result.intercepts, models[:2]),
        (result.slopes, models[1:]),
        (result.both, (models[0], models[2])),
    ):
        peer = anova_lm(*pair).iloc[1]
        assert ours.statistic == pytest.approx(peer["F"], rel=1e-9)
        assert ours.p == pytest.approx(peer["Pr(>F)"], rel=1e-9)


def test_the_line_of_a_family_is_its_own_regression() -> None:
    table = _families()
    line = fit_families(table.x, table.y, table.family).lines[1]
    peer = smf.ols("y ~ x", table[table.family == "b"]).fit(cov_type="HC3", use_t=True)
    assert (line.slope.low, line.slope.high) == pytest.approx(tuple(peer.conf_int().loc["x"]))
    assert (line.intercept.low, line.intercept.high) == pytest.approx(tuple(peer.conf_int().loc["Intercept"]))


def test_families_without_a_line_are_named() -> None:
    table = _families()
    extra = pd.DataFrame({"x": [0.1, 0.4, 0.4], "y": [0.0, 1.0, 1.1], "family": ["lonely", "flat", "flat"]})
    table = pd.concat([table, extra])
    result = fit_families(table.x, table.y, table.family)
    assert [line.family for line in result.lines] == ["a", "b", "c"]


def test_a_known_kink_is_the_f_test_of_the_hinge() -> None:
    generator = np.random.default_rng(1)
    x = generator.uniform(-1, 1, 40)
    y = x + 0.3 * np.maximum(x - 0.2, 0) + generator.normal(0, 0.1, 40)
    table = pd.DataFrame({"x": x, "y": y, "h": np.maximum(x - 0.2, 0)})
    peer = anova_lm(smf.ols("y ~ x", table).fit(), smf.ols("y ~ x + h", table).fit()).iloc[1]
    ours = linearity(x, y, pivot=0.2)
    assert (ours.kink.statistic, ours.kink_p) == pytest.approx((peer["F"], peer["Pr(>F)"]))


def test_a_searched_kink_is_found_and_a_straight_line_is_rarely_called_bent() -> None:
    generator = np.random.default_rng(2)
    x = generator.uniform(-1, 1, 60)
    bent = linearity(x, x + np.maximum(x - 0.2, 0) + generator.normal(0, 0.05, 60))
    assert bent.kink_p < 0.01
    # A kink that no draw reaches has the least p there is, one of all draws with the sample itself, not 0.
    assert linearity(x, x + 3 * np.maximum(x, 0), replicates=99).kink_p == pytest.approx(1 / 100)
    assert bent.pivot == pytest.approx(0.2, abs=0.1)
    straight = [linearity(x, x + generator.normal(0, 0.1, 60), replicates=200, seed=i).kink_p for i in range(200)]
    assert np.mean(np.array(straight) < 0.05) < 0.09


def test_the_hinge_as_regressors_makes_a_piecewise_baseline() -> None:
    x = np.linspace(-1, 1, 21)
    y = 0.5 * x + 0.7 * np.maximum(x - 0.1, 0)
    coefficients = fit_lines(hinge(x, 0.1)[:, None, :], y).coefficients[0]
    assert coefficients == pytest.approx([0.0, 0.5, 0.7], abs=1e-9)


def test_a_quadratic_term_is_tested() -> None:
    x = np.linspace(0, 1, 30)
    y = x + 0.4 * x**2 + np.random.default_rng(0).normal(0, 0.02, 30)
    peer = smf.ols("y ~ x + I(x ** 2)", pd.DataFrame({"x": x, "y": y})).fit()
    assert linearity(x, y, pivot=0.5).curve.p == pytest.approx(peer.pvalues.iloc[2], rel=1e-6)


def test_too_few_points_are_refused() -> None:
    with pytest.raises(SurefootError, match="at least 6 points"):
        linearity([1, 2, 3], [1, 2, 3])


def test_scipy_agrees_on_two_points() -> None:
    assert np.isnan(fit_families([0.0, 1.0], [0.0, 2.0], ["a", "a"]).slopes.p)
    assert fit_families([0.0, 1.0], [0.0, 2.0], ["a", "a"]).lines[0].slope.estimate == pytest.approx(
        scipy.stats.linregress([0.0, 1.0], [0.0, 2.0]).slope
    )
