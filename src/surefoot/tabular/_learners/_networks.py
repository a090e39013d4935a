"""Many small networks trained at once: their weights side by side, one product a layer for all of them."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from surefoot.tabular._learners._losses import Objective, objective

BATCH_ROWS = 128
_SCORED_ROWS = 1024
_WATCHED_ROWS = 2048


@dataclass(frozen=True, kw_only=True)
class Networks:
    """K trained networks of one shape: the scores (K, rows) of each part, and the epoch that was kept of each."""

    scores: tuple[NDArray[np.float32], ...]
    epochs: tuple[int, ...]
    seconds: float
    weights: tuple[Tensor, ...]


def train_networks(
    name: str,
    configurations: Sequence[Mapping[str, Any]],
    train: tuple[Any, Any, Any],
    scored: Sequence[tuple[Any, Any]],
    *,
    groups: int,
    epochs: int,
    seed: int,
) -> Networks:
    """Train K networks that have one number of layers and one width.

    `train` is x (n, features), y (n,), g (n,); `scored` are pairs x, y whose first decides which epoch of a network is
    kept: that of the lowest cross-entropy, as in the paper, on at most 2,048 evenly spread rows of it. Weights start
    and batches come as the seed says, for every network alike, so that what a network becomes does not depend on the
    others. SGD with momentum and weight decay of each network. A network that diverges keeps its last finite epoch.
    """
    begun = time.process_time()
    x, y, g = _tensor(train[0]), _tensor(train[1]), torch.from_numpy(np.array(train[2], np.int64))
    parts = [(_tensor(inputs), _tensor(labels)) for inputs, labels in scored]
    first = configurations[0]
    parameters = initial_weights(x.shape[1], int(first["width"]), int(first["layers"]), len(configurations), seed)
    optimiser = _Sgd.start(parameters, configurations)
    goal = objective(name, configurations, groups)
    best = _Best.start(parameters)
    order = torch.Generator().manual_seed(seed)
    watched = tuple(part[:: -(-len(part) // _WATCHED_ROWS)] for part in parts[0])
    for epoch in range(1, epochs + 1):
        _epoch(parameters, optimiser, goal, (x, y, g), order)
        with torch.no_grad():
            best.keep(parameters, _losses(forward(parameters, watched[0]), watched[1]).mean(1), epoch)
    scores = tuple(np.asarray(score(best.weights, part)) for part, _ in parts)
    return Networks(
        scores=scores,
        epochs=tuple(best.epochs.tolist()),
        seconds=time.process_time() - begun,
        weights=tuple(best.weights),
    )


def initial_weights(features: int, width: int, layers: int, networks: int, seed: int) -> list[Tensor]:
    """Weights and biases in turn: (features, K * width), then (K, width, width) for inner layers, (K, width, 1) last.

    Uniform within 1 / sqrt(inputs), as linear layers of PyTorch start; the same for each network.
    """
    generator = torch.Generator().manual_seed(seed)

    def drawn(inputs: int, *shape: int) -> Tensor:
        return (2 * torch.rand(*shape, generator=generator) - 1) / inputs**0.5

    found = [drawn(features, features, width).repeat(1, networks), drawn(features, width).repeat(networks)]
    for inner in [width] * (layers - 1) + [1]:
        found += [
            drawn(width, 1, width, inner).repeat(networks, 1, 1),
            drawn(width, 1, 1, inner).repeat(networks, 1, 1),
        ]
    return [weight.contiguous().requires_grad_() for weight in found]


def forward(parameters: Sequence[Tensor], x: Tensor) -> Tensor:
    """Logits (K, rows): ReLU between layers and none after the last (the released code had one there)."""
    networks, width = parameters[2].shape[0], parameters[2].shape[1]
    hidden = torch.relu(torch.addmm(parameters[1], x, parameters[0])).view(len(x), networks, width).transpose(0, 1)
    for weight, bias in zip(parameters[2:-2:2], parameters[3:-2:2], strict=True):
        hidden = torch.relu(torch.baddbmm(bias, hidden, weight))
    return torch.baddbmm(parameters[-1], hidden, parameters[-2])[..., 0]


@torch.no_grad()
def score(parameters: Sequence[Tensor], x: Tensor) -> Tensor:
    """Probabilities (K, rows), in blocks of rows; one half where a network diverged from the start."""
    blocks = [torch.sigmoid(forward(parameters, block)) for block in torch.split(x, _SCORED_ROWS)]
    return torch.nan_to_num(torch.cat(blocks, 1), nan=0.5)


def _epoch(
    parameters: list[Tensor],
    optimiser: _Sgd,
    goal: Objective,
    rows: tuple[Tensor, Tensor, Tensor],
    order: torch.Generator,
) -> None:
    x, y, g = rows
    for batch in torch.split(torch.randperm(len(x), generator=order), BATCH_ROWS):
        losses = _losses(forward(parameters, x[batch]), y[batch])
        gradients = torch.autograd.grad(goal(losses, g[batch]).sum(), parameters)
        optimiser.step(parameters, gradients)


def _tensor(array: Any) -> Tensor:
    return torch.from_numpy(np.array(array, np.float32))


def _losses(logits: Tensor, labels: Tensor) -> Tensor:
    target = labels.expand_as(logits)
    return torch.nn.functional.binary_cross_entropy_with_logits(logits, target, reduction="none")


@dataclass(frozen=True)
class _Sgd:
    """SGD in which every network has its own rate, momentum and weight decay."""

    rates: list[Tensor]
    momenta: list[Tensor]
    decays: list[Tensor]
    velocity: list[Tensor]

    @staticmethod
    def start(parameters: Sequence[Tensor], configurations: Sequence[Mapping[str, Any]]) -> _Sgd:
        def spread(field: str) -> list[Tensor]:
            values = torch.tensor([float(each[field]) for each in configurations])
            width = parameters[2].shape[1]
            wide = values.repeat_interleave(width)
            return [wide, wide] + [values[:, None, None]] * (len(parameters) - 2)

        velocity = [torch.zeros_like(weight) for weight in parameters]
        return _Sgd(spread("learning_rate"), spread("momentum"), spread("weight_decay"), velocity)

    @torch.no_grad()
    def step(self, parameters: Sequence[Tensor], gradients: Sequence[Tensor]) -> None:
        rows = zip(parameters, gradients, self.velocity, self.rates, self.momenta, self.decays, strict=True)
        for weight, gradient, velocity, rate, momentum, decay in rows:
            velocity.mul_(momentum).add_(gradient).addcmul_(weight, decay)
            weight.addcmul_(velocity, rate, value=-1)


@dataclass
class _Best:
    weights: list[Tensor]
    loss: Tensor
    epochs: Tensor

    @staticmethod
    def start(parameters: Sequence[Tensor]) -> _Best:
        networks = parameters[2].shape[0]
        weights = [weight.detach().clone() for weight in parameters]
        return _Best(weights, torch.full((networks,), torch.inf), torch.zeros(networks, dtype=torch.long))

    def keep(self, parameters: Sequence[Tensor], loss: Tensor, epoch: int) -> None:
        better = loss < self.loss
        width = parameters[2].shape[1]
        wide = better.repeat_interleave(width)
        masks = [wide, wide] + [better[:, None, None]] * (len(parameters) - 2)
        for kept, weight, mask in zip(self.weights, parameters, masks, strict=True):
            kept.copy_(torch.where(mask, weight.detach(), kept))
        self.loss = torch.where(better, loss, self.loss)
        self.epochs[better] = epoch


def by_shape(configurations: Sequence[Mapping[str, Any]], most: int = 16) -> Iterator[list[int]]:
    """Places of configurations that train together: one shape, at most `most` of them."""
    shapes: dict[tuple[int, int], list[int]] = {}
    for place, each in enumerate(configurations):
        shapes.setdefault((int(each["layers"]), int(each["width"])), []).append(place)
    for places in shapes.values():
        yield from (places[begin : begin + most] for begin in range(0, len(places), most))
