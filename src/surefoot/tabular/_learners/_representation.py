"""Learning Fair Representations (Zemel et al. 2013) with exact gradients, for any number of groups."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

_BLOCK_ROWS = 16_384


@dataclass(frozen=True, kw_only=True)
class Representation:
    """Prototypes (k, features) and the label score (k,) of each; a row is a soft mixture of prototypes."""

    prototypes: NDArray[np.float64]
    labels: NDArray[np.float64]
    loss: float
    iterations: int


def fit_representation(
    x: Any,
    y: Any,
    groups: Any,
    *,
    prototypes: int = 10,
    reconstruction: float = 0.01,
    label: float = 1.0,
    parity: float = 1.0,
    iterations: int = 200,
    rows: int = 20_000,
    seed: int = 0,
) -> Representation:
    """Minimise reconstruction * squared error + label * cross-entropy + parity * difference of the groups' mixtures.

    `x` (n, features), `y` (n,) 0 or 1, `groups` (n,) numbers. The difference is the mean over groups and prototypes of
    |mean membership in the group - mean over groups|, which for two groups is half the paper's. L-BFGS with the exact
    gradient; from more than `rows` rows that many are drawn. Zemel et al., Learning Fair Representations, ICML 2013.
    """
    from scipy.optimize import minimize

    generator = np.random.default_rng(seed)
    chosen = np.sort(generator.choice(len(x), rows, replace=False)) if len(x) > rows else slice(None)
    sample = np.asarray(x[chosen], np.float64)
    truth, codes = np.asarray(y)[chosen].astype(np.float64), np.asarray(groups)[chosen].astype(np.intp)
    shares = _group_means(codes)
    start = np.concatenate(
        [sample[generator.choice(len(sample), prototypes)].ravel(), generator.normal(0, 0.1, prototypes)]
    )
    weights = (reconstruction, label, parity)
    found = minimize(
        representation_loss,
        start,
        (sample, truth, shares, weights),
        jac=True,
        method="L-BFGS-B",
        options={"maxiter": iterations},
    )
    places = found.x[:-prototypes].reshape(prototypes, -1)
    scores = 1 / (1 + np.exp(-found.x[-prototypes:]))
    return Representation(prototypes=places, labels=scores, loss=float(found.fun), iterations=int(found.nit))


def transform(representation: Representation, x: Any) -> NDArray[np.float32]:
    """The rows (n, features) as their mixtures of prototypes: what a learner sees in place of `x`."""
    blocks = [membership @ representation.prototypes for membership in _blocks(representation, x)]
    return np.concatenate(blocks).astype(np.float32)


def representation_loss(
    parameters: NDArray[np.float64],
    x: NDArray[np.float64],
    y: NDArray[np.float64],
    shares: NDArray[np.float64],
    weights: tuple[float, float, float],
) -> tuple[float, NDArray[np.float64]]:
    """The loss and its gradient. `shares` (groups, n) averages over a group; parameters are prototypes, then logits."""
    k = len(parameters) // (x.shape[1] + 1)
    prototypes, logits = parameters[:-k].reshape(k, -1), parameters[-k:]
    membership = _memberships(prototypes, x)
    scores = 1 / (1 + np.exp(-logits))
    error = membership @ prototypes - x
    predicted = np.clip(membership @ scores, 1e-6, 1 - 1e-6)
    by_group = shares @ membership
    gaps = by_group - by_group.mean(0)
    loss = (
        weights[0] * (error**2).sum(1).mean()
        - weights[1] * (y * np.log(predicted) + (1 - y) * np.log(1 - predicted)).mean()
        + weights[2] * np.abs(gaps).mean()
    )
    to_error = 2 * weights[0] * error / len(x)
    to_predicted = weights[1] * (predicted - y) / (predicted * (1 - predicted)) / len(x)
    signs = np.sign(gaps) / gaps.size
    to_membership = (
        to_error @ prototypes.T + to_predicted[:, None] * scores + weights[2] * (shares - shares.mean(0)).T @ signs
    )
    # Softmax of minus the squared distance: its derivative, then the distance's.
    to_score = membership * (to_membership - (to_membership * membership).sum(1, keepdims=True))
    to_prototypes = membership.T @ to_error + 2 * (to_score.T @ x - to_score.sum(0)[:, None] * prototypes)
    to_logits = (membership.T @ to_predicted) * scores * (1 - scores)
    return float(loss), np.concatenate([to_prototypes.ravel(), to_logits])


def _memberships(prototypes: NDArray[np.float64], x: NDArray[np.float64]) -> NDArray[np.float64]:
    """(n, k): softmax of minus the squared distance to each prototype."""
    closeness = 2 * x @ prototypes.T - (prototypes**2).sum(1)
    weights = np.exp(closeness - closeness.max(1, keepdims=True))
    return weights / weights.sum(1, keepdims=True)


def _blocks(representation: Representation, x: Any) -> Iterator[NDArray[np.float64]]:
    for begin in range(0, len(x), _BLOCK_ROWS):
        yield _memberships(representation.prototypes, np.asarray(x[begin : begin + _BLOCK_ROWS], np.float64))


def _group_means(codes: NDArray[np.intp]) -> NDArray[np.float64]:
    present = np.unique(codes)
    member = (codes == present[:, None]).astype(np.float64)
    return member / member.sum(1, keepdims=True)
