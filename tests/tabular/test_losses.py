"""Robust objectives equal their closed forms, their primal definitions and their gradients by finite differences."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.optimize import minimize, minimize_scalar

torch = pytest.importorskip("torch")

from surefoot.tabular._learners._losses import chi_square, cvar, group_dro, objective, variance_penalty  # noqa: E402
from surefoot.tabular._learners._marginal import marginal_objective  # noqa: E402

LOSSES = np.random.default_rng(0).exponential(size=(3, 40))


def tensor(values: object) -> "torch.Tensor":
    return torch.tensor(np.asarray(values), dtype=torch.float64)


@pytest.mark.parametrize("share", [0.05, 0.33, 0.6, 1.0])
@pytest.mark.parametrize("outliers", [0.0, 0.1])
def test_cvar_is_the_mean_of_the_worst_share(share: float, outliers: float) -> None:
    found = cvar(tensor(LOSSES), tensor([share] * 3), tensor([outliers] * 3))
    down = -np.sort(-np.asarray(LOSSES), axis=-1)
    n = down.shape[-1] - int(outliers * down.shape[-1])
    weights = np.clip(share * n - np.arange(n), 0, 1)
    assert_allclose(found, down[..., down.shape[-1] - n :] @ weights / weights.sum(), rtol=1e-10)


@pytest.mark.parametrize("size", [0.01, 0.1, 0.5, 1.0, 20.0])
def test_chi_square_is_the_minimum_over_eta(size: float) -> None:
    found = chi_square(tensor(LOSSES), tensor([size] * 3))
    scale = np.sqrt(1 + 2 * size)
    for row, value in zip(LOSSES, found, strict=True):

        def dual(eta: float, row: np.ndarray = row) -> float:
            return scale * np.sqrt(np.mean(np.maximum(row - eta, 0) ** 2)) + eta

        best = minimize_scalar(dual, bounds=(-50, row.max()), method="bounded", options={"xatol": 1e-10}).fun
        assert_allclose(value, best, rtol=1e-5)


def test_a_small_chi_square_ball_has_a_closed_form() -> None:
    size = 0.005
    found = chi_square(tensor(LOSSES), tensor([size] * 3))
    assert_allclose(found, LOSSES.mean(1) + np.sqrt(2 * size) * LOSSES.std(1), rtol=1e-7)


def test_chi_square_is_the_worst_mean_in_the_ball() -> None:
    row, size = LOSSES[0, :6], 0.3
    within = {"type": "ineq", "fun": lambda q: size - np.mean((6 * q - 1) ** 2) / 2}
    sums = {"type": "eq", "fun": lambda q: q.sum() - 1}
    worst = minimize(lambda q: -q @ row, np.full(6, 1 / 6), constraints=[within, sums], bounds=[(0, 1)] * 6)
    assert_allclose(chi_square(tensor(row[None]), tensor([size])), -worst.fun, rtol=1e-4)


def test_chi_square_drops_outliers_first() -> None:
    spoiled = np.concatenate([LOSSES, np.full((3, 10), 1e6)], axis=1)
    found = chi_square(tensor(spoiled), tensor([0.2] * 3), tensor([0.2] * 3))
    assert_allclose(found, chi_square(tensor(LOSSES), tensor([0.2] * 3)), rtol=1e-9)


def test_equal_losses_have_no_worse_mean() -> None:
    flat = tensor(np.full((2, 8), 0.7))
    assert_allclose(chi_square(flat, tensor([0.1, 5.0])), 0.7, atol=1e-4)
    assert_allclose(cvar(flat, tensor([0.1, 0.5])), 0.7)


@pytest.mark.parametrize("name", ["mlp", "cvar-dro", "chi-square-dro", "cvar-doro", "chi-square-doro", "mwld"])
def test_gradients_are_those_of_finite_differences(name: str) -> None:
    values = {"alpha": 0.37, "size": 0.4, "outliers": 0.06, "penalty": 0.5, "step": 0.1}
    goal = objective(name, [values], 2)
    groups = torch.zeros(40, dtype=torch.long)
    row = tensor(LOSSES[:1]).requires_grad_()
    (gradient,) = torch.autograd.grad(goal(row, groups).sum(), row)
    for place in (0, 7, 20, int(LOSSES[0].argmax())):
        step = np.zeros((1, 40))
        step[0, place] = 1e-5
        ahead, behind = (float(goal(tensor(LOSSES[:1] + sign * step), groups)) for sign in (1, -1))
        assert_allclose(gradient[0, place], (ahead - behind) / 2e-5, atol=1e-6)


def test_group_dro_weights_grow_with_the_loss_of_the_group() -> None:
    goal = group_dro(tensor([0.5]).float(), 3)
    groups = torch.tensor([0, 0, 1, 1])
    losses = torch.tensor([[1.0, 3.0, 0.5, 0.5]])
    grown = np.exp(0.5 * np.array([2.0, 0.5, 0.0]))
    weights = grown / grown.sum()
    assert_allclose(goal(losses, groups), weights @ [2.0, 0.5, 0.0], rtol=1e-6)
    grown = weights * np.exp(0.5 * np.array([2.0, 0.5, 0.0]))
    assert_allclose(goal(losses, groups), grown / grown.sum() @ [2.0, 0.5, 0.0], rtol=1e-6)


def test_the_variance_penalty_is_mean_plus_variance() -> None:
    assert_allclose(variance_penalty(tensor(LOSSES), tensor([2.0] * 3)), LOSSES.mean(1) + 2 * LOSSES.var(1))


def test_marginal_dro_without_transport_is_the_worst_case_of_order_two() -> None:
    losses = LOSSES[0]
    nothing = torch.zeros(40, 40, dtype=torch.float64)
    found = marginal_objective(tensor(losses), nothing, nothing, least_share=0.4, radius=1.0)
    dual = minimize_scalar(
        lambda eta: eta + np.sqrt(np.mean(np.maximum(losses - eta, 0) ** 2)) / 0.4,
        bounds=(-20, losses.max()),
        method="bounded",
        options={"xatol": 1e-10},
    )
    assert_allclose(found, dual.fun, rtol=1e-6)


def test_marginal_dro_with_free_transport_reaches_the_mean() -> None:
    losses = LOSSES[0, :10]
    # Moving each loss to the mean costs nothing at radius zero.
    excess = np.maximum(losses - losses.mean(), 0)[:, None] * np.maximum(losses.mean() - losses, 0)[None]
    transport = 10 * excess / np.maximum(losses - losses.mean(), 0).sum()
    distances = torch.ones(10, 10, dtype=torch.float64)
    found = marginal_objective(tensor(losses), tensor(transport), distances, least_share=0.3, radius=0.0)
    assert_allclose(found, losses.mean(), atol=1e-4)
