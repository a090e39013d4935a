"""Do two families scale differently? Against Welch's test, and in words."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy import stats

from surefoot.core import SurefootError
from surefoot.stats import compare_exponents, compare_paired, compare_tasks, fit_law

X = np.geomspace(1, 1e4, 10)


def family(exponent: float, seed: int, noise: float = 0.05, x: np.ndarray = X) -> tuple[np.ndarray, np.ndarray]:
    return x, 3 * x**-exponent * np.exp(np.random.default_rng(seed).normal(0, noise, len(x)))


def test_a_difference_of_exponents_is_tested_by_welch() -> None:
    one, other = family(0.25, 4), family(0.2, 1, noise=0.15, x=X[:6])
    found = compare_exponents(fit_law(*one), fit_law(*other))
    lines = [stats.linregress(np.log(x), np.log(y)) for x, y in (one, other)]
    errors = [line.stderr for line in lines]
    error = np.hypot(*errors)
    freedom = error**4 / (errors[0] ** 4 / 8 + errors[1] ** 4 / 4)
    difference = lines[1].slope - lines[0].slope
    assert found.difference.estimate == pytest.approx(difference)
    assert found.degrees_of_freedom == pytest.approx(freedom)
    assert found.p == pytest.approx(2 * stats.t.sf(abs(difference) / error, freedom))
    assert found.difference.high - difference == pytest.approx(stats.t.ppf(0.975, freedom) * error)


def test_equal_exponents_are_called_different_at_the_nominal_rate() -> None:
    p = [
        compare_exponents(fit_law(*family(0.2, 2 * i)), fit_law(*family(0.2, 2 * i + 1, noise=0.1))).p
        for i in range(800)
    ]
    assert 0.03 <= np.mean(np.array(p) < 0.05) <= 0.07


def test_pairing_by_size_removes_what_is_particular_to_each_size() -> None:
    generator = np.random.default_rng(7)
    shared = np.exp(generator.normal(0, 0.3, 10))
    first, second = family(0.25, 0, noise=0.01)[1] * shared, family(0.2, 1, noise=0.01)[1] * shared
    paired = compare_paired(X, first, second)
    loose = compare_exponents(fit_law(X, first), fit_law(X, second))
    assert paired.difference.estimate == pytest.approx(loose.difference.estimate)
    assert paired.p < 1e-6 < loose.p
    assert paired.words.startswith("the first falls faster: exponents differ by 0.0")


def test_small_samples_are_told_what_they_could_have_shown() -> None:
    one, other = family(0.2, 3, x=X[::4]), family(0.2, 4, x=X[::4])
    found = compare_exponents(fit_law(*one), fit_law(*other))
    assert found.words.startswith("undecided: exponents differ by ")
    assert "3 and 3 points" in found.words
    assert "degrees of freedom only a difference above" in found.words
    two = compare_exponents(fit_law(X[:2], [2.0, 1.0]), fit_law(*other))
    assert two.words.startswith("untestable: 2 and 3 points leave no degree of freedom")


def test_many_tasks_are_corrected_by_holm() -> None:
    flat = {f"task {i}": (fit_law(*family(0.2, 2 * i)), fit_law(*family(0.2, 2 * i + 1))) for i in range(12)}
    close = (fit_law(*family(0.22, 50, noise=0.02)), fit_law(*family(0.2, 51, noise=0.02)))
    found = compare_tasks(flat | {"close": close})
    assert all(one.p_holm >= one.p for one in found.values())
    assert found["close"].p_holm == pytest.approx(min(1, 13 * found["close"].p))
    assert "by Holm over 13 comparisons" in found["close"].words


def test_only_exponents_are_compared() -> None:
    x = np.array([(size, data) for size in (1e8, 1e9, 1e10) for data in (1e9, 1e10, 1e11)])
    plane = fit_law(x, 1 + 50 * x[:, 0] ** -0.3 + 40 * x[:, 1] ** -0.3, "two-variable")
    with pytest.raises(SurefootError, match="The form 'two-variable' has no exponent of one x"):
        compare_exponents(plane, plane)


def test_what_cannot_be_tested_is_no_comparison_for_holm() -> None:
    tested = (fit_law(*family(0.25, 1)), fit_law(*family(0.2, 2)))
    two_points = (fit_law(X[:2], [2.0, 1.0]), fit_law(*family(0.2, 3)))
    alone = compare_tasks({"one": tested})["one"]
    found = compare_tasks({"one": tested, **{f"short {i}": two_points for i in range(5)}})
    assert found["one"].p_holm == pytest.approx(alone.p) and found["one"].words == alone.words
    both = compare_tasks({"one": tested, "other": tested, "short": two_points})
    assert "by Holm over 2 comparisons" in both["one"].words


def test_a_small_corner_of_huber_makes_no_law_surer_than_least_squares() -> None:
    """As many points as parameters lie next to such a law by the fit itself: taken for density, most pairs differed."""
    generator, told = np.random.default_rng(0), 0
    for n in (5, 12):
        x, errors = np.logspace(0, 3, n), []
        for _ in range(8):
            tables = [2 * x**-0.25 * np.exp(0.03 * generator.standard_normal(n)) for _ in range(2)]
            first, second = (fit_law(x, y, huber=1e-3) for y in tables)
            told += compare_exponents(first, second).p < 0.05
            errors.append(float(first.covariance[0, 0] / fit_law(x, tables[0]).covariance[0, 0]))
        assert 1 < float(np.median(errors)) ** 0.5 < 2.5  # of least absolute deviations 1.25
    assert told <= 2
    x = np.logspace(0, 3, 12)
    y = 2 * x**-0.25 * np.exp(0.03 * generator.standard_normal(12))
    assert_allclose(fit_law(x, y, huber=10.0).covariance, fit_law(x, y).covariance, rtol=1e-5)
    y[4] *= 2
    assert fit_law(x, y, huber=0.02).covariance[0, 0] < fit_law(x, y).covariance[0, 0] / 4
