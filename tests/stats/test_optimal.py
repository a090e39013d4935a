"""The best size and data for compute, and laws with tied or fixed exponents."""

import numpy as np
import pytest
from scipy.optimize import minimize_scalar
from scipy.stats import norm, t

from surefoot.core import SurefootError
from surefoot.stats import FORMS, compute_optimal, exponent_difference, fit_law, intervals, predict, restricted

TRUTH = {"alpha": 0.3473, "beta": 0.3672, "floor": 1.8172, "A": 477.84, "B": 2143.86}


def losses(n: int = 80, seed: int = 0, alpha: float = 0.3473) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    x = np.exp(generator.uniform([17.7, 20.7], [23.5, 26.4], (n, 2)))
    loss = TRUTH["floor"] + TRUTH["A"] * x[:, 0] ** -alpha + TRUTH["B"] * x[:, 1] ** -TRUTH["beta"]
    return x, loss * np.exp(generator.normal(0, 0.002, n))


def test_the_best_size_is_where_the_law_is_least_for_its_compute() -> None:
    law = fit_law(*losses(), "two-variable")
    found = intervals(law, method="t")
    plan, cheap = (compute_optimal(law, found, [size * 1e21, size * 1e24], cost=6 * size) for size in (1, 0.5))
    assert cheap.size == pytest.approx(plan.size)  # half the compute, of which an example costs half
    of = law.parameters
    for place, compute in enumerate((1e21, 1e24)):

        def value(log_n: float, compute: float = compute) -> float:
            n = np.exp(log_n)
            return of["floor"] + of["A"] * n ** -of["alpha"] + of["B"] * (compute / 6 / n) ** -of["beta"]

        best = minimize_scalar(value, bounds=(15, 35), method="bounded", options={"xatol": 1e-10})
        assert plan.size[place] == pytest.approx(np.exp(best.x), rel=1e-4)
        assert plan.value[place] == pytest.approx(best.fun, rel=1e-9)
        assert 6 * plan.size[place] * plan.data[place] == pytest.approx(compute)
        assert plan.size_low[place] < plan.size[place] < plan.size_high[place]
    assert plan.exponent.estimate == pytest.approx(of["beta"] / (of["alpha"] + of["beta"]))


@pytest.mark.parametrize(
    "held",
    [
        {"fixed": {"beta": 0.28}},
        {"fixed": {"alpha": 0.28}},
        {"fixed": {"alpha": 0.3, "beta": 0.4, "floor": 1.7}},
        {"tied": [("beta", "alpha")]},
    ],
)
def test_the_best_size_of_exponents_that_are_fixed_or_tied_is_where_that_law_is_least(held: dict) -> None:
    x, loss = losses()
    law = fit_law(x, loss, restricted(FORMS["two-variable"], **held))
    plan = compute_optimal(law, intervals(law, method="t"), [1e22])
    best = minimize_scalar(
        lambda log_n: predict(law, [[np.exp(log_n), 1e22 / 6 / np.exp(log_n)]])[0],
        bounds=(15, 35),
        method="bounded",
        options={"xatol": 1e-10},
    )
    assert plan.size[0] == pytest.approx(np.exp(best.x), rel=1e-4)
    assert plan.value[0] == pytest.approx(best.fun, rel=1e-9)
    assert plan.size_low[0] < plan.size[0] < plan.size_high[0]
    values = law.parameters | held.get("fixed", {})
    beta, alpha = values["beta"], values.get("alpha", values["beta"])
    assert plan.exponent.estimate == pytest.approx(beta / (alpha + beta))


def test_bounds_by_the_delta_method_and_by_bootstrap_agree_and_hold_the_truth() -> None:
    law = fit_law(*losses(), "two-variable")
    plans = [compute_optimal(law, intervals(law, method=method), [1e23]) for method in ("t", "wild")]
    widths = [np.log(plan.size_high / plan.size_low) for plan in plans]
    assert widths[0] == pytest.approx(widths[1], rel=0.2)
    assert 0.3672 / (0.3473 + 0.3672) in plans[0].exponent


def test_families_that_split_compute_alike_are_undecided_and_others_differ() -> None:
    def plan(alpha: float, seed: int):
        law = fit_law(*losses(seed=seed, alpha=alpha), "two-variable")
        return compute_optimal(law, intervals(law, method="t"), [1e22])

    same, p_same = exponent_difference(plan(0.3473, 1), plan(0.3473, 2))
    other, p_other = exponent_difference(plan(0.3473, 1), plan(0.28, 2))
    assert 0 in same
    assert p_same > 0.05
    assert other.high < 0
    assert p_other < 0.001


def test_bounds_of_few_runs_and_of_differences_are_students() -> None:
    def plan(n: int, seed: int):
        law = fit_law(*losses(n=n, seed=seed), "two-variable")
        return compute_optimal(law, intervals(law, method="t"), [1e22])

    few, many = plan(8, 1), plan(40, 2)
    for one, freedom in ((few, 3), (many, 35)):
        half = t.ppf(0.975, freedom) * one.exponent_error
        assert one.degrees_of_freedom == freedom
        assert (one.exponent.low, one.exponent.high) == pytest.approx(
            (one.exponent.estimate - half, one.exponent.estimate + half)
        )
    found, p = exponent_difference(few, many)
    a, b = few.exponent_error**2, many.exponent_error**2
    welch = (a + b) ** 2 / (a**2 / 3 + b**2 / 35)
    assert found.high - found.estimate == pytest.approx(t.ppf(0.975, welch) * (a + b) ** 0.5)
    assert p == pytest.approx(2 * t.sf(abs(found.estimate) / (a + b) ** 0.5, welch))
    back, _ = exponent_difference(many, few)
    assert (back.low, back.high) == pytest.approx((-found.high, -found.low))


def test_bootstrapped_bounds_of_few_runs_lie_as_far_out_as_students() -> None:
    law = fit_law(*losses(n=12, seed=1), "two-variable")
    found = intervals(law, method="pairs", replicates=200)
    plan = compute_optimal(law, found, [1e22])
    alpha, beta = (found.draws[:, law.names.index(name)] for name in ("alpha", "beta"))
    tail = norm.cdf(-t.ppf(0.975, 7))
    drawn = np.quantile(beta / (alpha + beta), [tail, 1 - tail])
    assert (plan.exponent.low, plan.exponent.high) == pytest.approx(tuple(drawn))


def test_only_a_law_of_size_and_data_has_a_best_size() -> None:
    law = fit_law([1, 10, 100, 1000], [4, 3, 2, 1.6])
    with pytest.raises(SurefootError, match="Only the form 'two-variable'"):
        compute_optimal(law, intervals(law), [1e20])


def test_tied_exponents_are_one_and_give_the_best_fit_with_both_alike() -> None:
    x, loss = losses()
    tied = fit_law(x, loss, restricted(FORMS["two-variable"], tied=[("alpha", "beta")]))
    assert tied.names == ("alpha", "floor", "A", "B")
    fixed = [
        fit_law(x, loss, restricted(FORMS["two-variable"], fixed={"alpha": value, "beta": value})).cost
        for value in (tied.parameters["alpha"] + shift for shift in (-1e-3, 0, 1e-3))
    ]
    assert fixed[1] == pytest.approx(tied.cost, rel=1e-6)
    assert fixed[1] < min(fixed[0], fixed[2])
    assert tied.cost >= fit_law(x, loss, "two-variable").cost
    assert compute_optimal(tied, intervals(tied, method="t"), [1e22]).exponent.estimate == pytest.approx(0.5)


def test_a_fixed_exponent_leaves_the_mean_and_a_floor_of_zero_the_power_law() -> None:
    x = np.geomspace(1, 1e4, 12)
    y = 3 * x**-0.2 * np.exp(np.random.default_rng(0).normal(0, 0.05, 12))
    fixed = fit_law(x, y, restricted(FORMS["power"], fixed={"exponent": 0.25}))
    assert fixed.names == ("coefficient",)
    assert fixed.parameters["coefficient"] == pytest.approx(np.exp(np.mean(np.log(y) + 0.25 * np.log(x))))
    assert fixed.trouble == ""
    bare = fit_law(x, y, restricted(FORMS["power+floor"], fixed={"floor": 0.0}))
    assert bare.parameters["exponent"] == pytest.approx(fit_law(x, y).parameters["exponent"], rel=1e-6)
