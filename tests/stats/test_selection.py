"""Rolling hold-out, the choice and the average of forms, and what an exponent depends on."""

import numpy as np
import pytest
import scipy.stats

from surefoot.core import SurefootError
from surefoot.stats import (
    choose_form,
    error_per_decade,
    fit_law,
    held_out_half_width,
    predict,
    predict_average,
    rolling_hold_out,
    sensitivity,
)

X = np.geomspace(10, 1e5, 40)


def noisy(curve: np.ndarray, noise: float = 0.005, seed: int = 0) -> np.ndarray:
    return curve * np.exp(np.random.default_rng(seed).normal(0, noise, len(curve)))


def test_a_held_out_error_is_that_of_a_fit_to_the_first_points() -> None:
    y = noisy(0.1 + 5 * X**-0.4)
    held = rolling_hold_out(X, y, ["power", "power+floor"], cuts=[20, 30])
    for one in held:
        for k in (20, 30):
            law = fit_law(X[:k], y[:k], one.form)
            here = one.fitted == k
            np.testing.assert_allclose(one.log_error[here], np.log(predict(law, X[k:]) / y[k:]), rtol=1e-3, atol=1e-5)
            np.testing.assert_allclose(one.decades[here], np.log10(X[k:] / X[k - 1]))
        each = [np.sqrt(np.mean(one.log_error[one.fitted == k] ** 2)) for k in (20, 30)]
        assert one.score == pytest.approx(np.sqrt(np.prod(each)))


def test_no_point_that_is_held_out_is_seen() -> None:
    y = noisy(5 * X**-0.4)
    changed = y.copy()
    changed[30:] *= 3
    first, second = (rolling_hold_out(X, each, ["power"], cuts=[30])[0] for each in (y, changed))
    np.testing.assert_allclose(second.log_error, first.log_error - np.log(3), atol=1e-9)


def test_the_order_of_the_rows_does_not_matter() -> None:
    y = noisy(5 * X**-0.4)
    mixed = np.random.default_rng(3).permutation(len(X))
    straight, shuffled = (rolling_hold_out(a, b, ["power"])[0] for a, b in ((X, y), (X[mixed], y[mixed])))
    assert shuffled.score == pytest.approx(straight.score)
    assert set(mixed[shuffled.row]) == set(straight.row)


def test_a_floor_is_kept_only_if_held_out_error_asks_for_it() -> None:
    forms = ["power", "power+floor"]
    plain = [choose_form(rolling_hold_out(X, noisy(5 * X**-0.3, seed=i), forms)).form for i in range(20)]
    assert plain.count("power") >= 17
    choice = choose_form(rolling_hold_out(X, noisy(0.3 + 5 * X**-0.5), forms))
    assert choice.form == "power+floor"
    assert choice.reason.startswith("held-out error in log units: power+floor 0.0")
    assert sum(choice.weights.values()) == pytest.approx(1)
    assert choice.weights["power+floor"] > 0.95


def test_error_grows_with_the_decades_of_extrapolation() -> None:
    held = rolling_hold_out(X, noisy(0.3 + 5 * X**-0.5), ["power"], cuts=[15])[0]
    by_decade = list(error_per_decade(held).values())
    assert list(error_per_decade(held)) == ["0 to 0.25", "0.25 to 0.5", "0.5 to 1", "1 to 2", "above 2"]
    assert by_decade == sorted(by_decade)


def test_an_average_of_forms_is_the_weighted_geometric_mean() -> None:
    y = noisy(0.3 + 5 * X**-0.5)
    laws = {name: fit_law(X, y, name) for name in ("power", "power+floor")}
    mixed = predict_average(laws, {"power": 0.25, "power+floor": 0.75}, [1e6])
    each = [predict(law, [1e6])[0] for law in laws.values()]
    assert mixed[0] == pytest.approx(each[0] ** 0.25 * each[1] ** 0.75)


def test_cuts_are_where_the_issue_of_extrapolation_is_and_never_part_equal_x() -> None:
    def cuts(x: np.ndarray) -> list[int]:
        (held,) = rolling_hold_out(x, noisy(5 * x**-0.5), ["power"])
        return sorted(set(held.fitted.tolist()))

    assert cuts(np.geomspace(1, 100, 40))[-1] < 40
    assert cuts(np.arange(1.0, 6)) == [4]
    with pytest.raises(SurefootError, match="too few to hold any out"):
        cuts(np.array([1.0, 2, 2, 3, 3, 3]))


def test_too_few_points_to_hold_any_out_are_refused() -> None:
    with pytest.raises(SurefootError, match="3 points are too few to hold any out"):
        rolling_hold_out([1, 2, 3], [3, 2, 1])


def test_two_variables_are_held_out_along_a_given_order() -> None:
    generator = np.random.default_rng(5)
    sizes = np.exp(generator.uniform(2, 12, (60, 2)))
    y = noisy(0.5 + 3 * sizes[:, 0] ** -0.4 + 2 * sizes[:, 1] ** -0.3)
    held = rolling_hold_out(sizes, y, ["two-variable"], order=sizes.prod(axis=1))[0]
    assert held.score < 0.05


def test_sensitivity_names_each_choice_and_the_run_that_matters_most() -> None:
    x = np.geomspace(1, 1e4, 12)
    y = noisy(3 * x**-0.2, noise=0.02)
    y[-1] *= 1.5
    rows = {row.choice: row for row in sensitivity(x, y, labels=[f"run {i}" for i in range(12)])}
    reference = rows["all points, least squares"]
    assert reference.change == 0.0
    assert rows["without run 11 (largest exponent of any one dropped)"].exponent == pytest.approx(
        fit_law(x[:-1], y[:-1]).parameters["exponent"]
    )
    assert abs(rows["all points, Huber 0.01"].exponent - 0.2) < abs(reference.exponent - 0.2)
    assert {f"lower envelope, {bins} bins, eps 0.1" for bins in range(3, 9)} <= set(rows)


def test_the_half_width_by_held_out_error_is_students_over_the_cut_offs_and_grows_with_the_decades() -> None:
    x = np.geomspace(1, 1e4, 9)
    y = 3 * x**-0.2 * np.exp(np.random.default_rng(0).normal(0, 0.05, 9))
    choice = choose_form(rolling_hold_out(x, y, ("power",), cuts=(5, 7)))
    (held,) = choice.held_out
    mass = np.where(held.fitted == 5, 1 / 4, 1 / 2)
    per_decade = (mass * held.log_error**2).sum() / (mass * held.decades).sum()
    expected = scipy.stats.t.ppf(0.975, 1) * np.sqrt(per_decade * np.array([1.0, 4.0]))
    assert held_out_half_width(choice, [1, 4]) == pytest.approx(expected)
    assert held_out_half_width(choice, [-1, 0]).tolist() == [0, 0]
