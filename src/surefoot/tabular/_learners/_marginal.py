"""Marginal DRO: robust to shifts of the covariates alone, with a Lipschitz bound on how the loss may vary with them."""

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from surefoot.tabular._learners._networks import forward, initial_weights, score

MOST_ROWS = 2000
"""The transport between rows has a variable for each pair: from more rows this many are drawn."""


def marginal_objective(
    losses: Tensor, transport: Tensor, distances: Tensor, *, least_share: float, radius: float
) -> Tensor:
    """The dual of marginal DRO for losses (n,), transport (n, n) >= 0 and distances (n, n), at its best eta.

    eta + 1 / share * ( sqrt(mean((loss - moved - eta)+^2)) + radius / n^2 * sum(distance * transport) ), where moved_i
    = mean_j(transport_ij - transport_ji): Duchi, Hashimoto and Namkoong 2020 (arXiv 2007.13982), order two. With no
    transport it is the worst case over weights of L2 norm at most 1 / share; a radius of zero makes it the mean.
    """
    n = len(losses)
    moved = losses - (transport.sum(1) - transport.sum(0)) / n
    eta = _eta(moved.detach(), least_share)
    spread = torch.sqrt(((moved - eta).clamp(min=0) ** 2).mean() + 1e-12)
    return eta + (spread + radius * (distances * transport).sum() / n**2) / least_share


def _eta(values: Tensor, share: float) -> Tensor:
    """The minimiser of eta + sqrt(mean((v - eta)+^2)) / share, by bisection on the derivative (it is convex)."""
    scale = 1 / share
    high = values.max()
    spread = values.std(unbiased=False) + 1e-6
    low = values.mean() - spread / max(scale**2 - 1, 1e-6) ** 0.5 - 1e-3
    for _ in range(40):
        middle = (low + high) / 2
        above = (values - middle).clamp(min=0)
        falling = scale * above.mean() > torch.sqrt((above**2).mean())
        low, high = (middle, high) if falling else (low, middle)
    return (low + high) / 2


def fit_marginal(
    train: tuple[Any, Any, Any],
    scored: Sequence[tuple[Any, Any]],
    configurations: Sequence[Mapping[str, Any]],
    seed: int,
    epochs: int,
) -> Iterator[tuple[int, tuple[NDArray[np.float32], ...], float]]:
    """Networks of two layers of 128 by full batches of at most 2,000 rows; the transport is learned with the weights.

    Projected gradient on the transport, Adam on the weights, `epochs` steps; the step with the lowest validation
    cross-entropy is kept. The released code solves the transport anew in each step, at far more cost.
    """
    rows = drawn_rows(train[0], train[1], seed)
    parts = [torch.from_numpy(np.array(part, np.float32)) for part, _ in scored]
    labels = torch.from_numpy(np.array(scored[0][1], np.float32))
    for place, values in enumerate(configurations):
        begun = time.process_time()
        weights = train_marginal(rows, (parts[0], labels), values, seed=seed, epochs=epochs)
        yield place, tuple(np.asarray(score(weights, part))[0] for part in parts), time.process_time() - begun


def drawn_rows(x: Any, y: Any, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """At most 2,000 rows (r, features), their labels (r,) and the distances between them (r, r) for each feature."""
    generator = np.random.default_rng(seed)
    rows = np.sort(generator.choice(len(x), min(MOST_ROWS, len(x)), replace=False))
    inputs, labels = (torch.from_numpy(np.array(array[rows], np.float32)) for array in (x, y))
    return inputs, labels, torch.cdist(inputs, inputs) / inputs.shape[1] ** 0.5


def train_marginal(
    rows: tuple[Tensor, Tensor, Tensor],
    validation: tuple[Tensor, Tensor],
    values: Mapping[str, Any],
    *,
    seed: int,
    epochs: int,
) -> list[Tensor]:
    """The weights of one network on `drawn_rows`, at the step with the lowest cross-entropy on `validation`."""
    x, y, distances = rows
    weights = initial_weights(x.shape[1], 128, 2, 1, seed)
    transport = torch.zeros_like(distances, requires_grad=True)
    optimiser = torch.optim.Adam(weights, lr=0.01)
    best, kept = float("inf"), [weight.detach().clone() for weight in weights]
    entropy = torch.nn.functional.binary_cross_entropy_with_logits
    for _ in range(epochs):
        losses = entropy(forward(weights, x)[0], y, reduction="none")
        named = {"least_share": float(values["least_share"]), "radius": float(values["radius"])}
        goal = marginal_objective(losses, transport, distances, **named)
        *slopes, slope = torch.autograd.grad(goal, [*weights, transport])
        for weight, gradient in zip(weights, slopes, strict=True):
            weight.grad = gradient
        optimiser.step()
        with torch.no_grad():
            transport.sub_(len(x) * slope).clamp_(min=0)
            loss = float(entropy(forward(weights, validation[0])[0], validation[1]))
        if loss < best:
            best, kept = loss, [weight.detach().clone() for weight in weights]
    return kept
