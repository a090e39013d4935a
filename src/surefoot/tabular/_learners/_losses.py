"""Robust objectives over the losses of many networks at once: (networks, rows) in, one value a network out."""

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

Objective = Callable[[Tensor, Tensor], Tensor]
"""From losses (K, B) and group numbers (B,) to (K,). It may keep state (Group DRO's weights of the groups)."""


def objective(name: str, configurations: Sequence[Mapping[str, object]], groups: int) -> Objective:
    """The objective of this name, each network with its own hyper-parameters.

    `mlp` mean; `group-dro` `step` (Sagawa et al. 2020, arXiv 1911.08731); `cvar-dro` `alpha` and `chi-square-dro`
    `size` (Levy et al. 2020, arXiv 2010.05893); `cvar-doro` and `chi-square-doro` `alpha`, `outliers` (Zhai et al.
    2021, arXiv 2106.06142); `mwld` `penalty` on the variance of the loss (Khani et al. 2019, arXiv 1906.03518).
    """

    def column(field: str) -> Tensor:
        return torch.tensor([float(str(each[field])) for each in configurations])

    makers: Mapping[str, Callable[[], Objective]] = {
        "mlp": lambda: lambda losses, _: losses.mean(1),
        "group-dro": lambda: group_dro(column("step"), groups),
        "cvar-dro": lambda: _bind(cvar, column("alpha")),
        "chi-square-dro": lambda: _bind(chi_square, column("size")),
        "cvar-doro": lambda: _bind(cvar, column("alpha"), column("outliers")),
        "chi-square-doro": lambda: _bind(chi_square, ((1 / column("alpha") - 1) ** 2 / 2), column("outliers")),
        "mwld": lambda: _bind(variance_penalty, column("penalty")),
    }
    return makers[name]()


def group_dro(step: Tensor, groups: int) -> Objective:
    """Group DRO: weights (K, groups) that grow as exp(step * loss of the group); a group not in the batch stays."""
    weights = torch.full((len(step), groups), 1.0 / groups)

    def weighted(losses: Tensor, group: Tensor) -> Tensor:
        member = torch.nn.functional.one_hot(group, groups).to(losses.dtype)
        means = losses @ member / member.sum(0).clamp(min=1)
        grown = weights * torch.exp(step[:, None] * means.detach())
        weights.copy_(torch.nan_to_num(grown / grown.sum(1, keepdim=True), nan=1.0 / groups))
        return (weights * means).sum(1)

    return weighted


def cvar(losses: Tensor, share: Tensor, outliers: Tensor | None = None) -> Tensor:
    """The mean of the worst `share` (K,) of each row of losses, after dropping the share `outliers` (rounded down)."""
    ordered, dropped = _ordered(losses, outliers)
    left = losses.shape[1] - dropped
    reach = (share * left).clamp(min=1e-3)
    place = torch.arange(losses.shape[1], dtype=losses.dtype) - dropped[:, None]
    weights = (reach[:, None] - place).clamp(0, 1) * (place >= 0)
    return (weights * ordered).sum(1) / reach


def chi_square(losses: Tensor, size: Tensor, outliers: Tensor | None = None) -> Tensor:
    """The largest mean of each row of losses under weights within a chi-square ball of radius `size` (K,).

    min over eta of sqrt(1 + 2 size) * sqrt(mean(max(loss - eta, 0)^2)) + eta. The minimum is found exactly: with the k
    largest losses above eta its derivative is zero at the root of a quadratic. The gradient is that of the envelope.
    """
    ordered, dropped = _ordered(losses, outliers)
    place = torch.arange(losses.shape[1], dtype=losses.dtype) - dropped[:, None]
    kept = place >= 0
    scale = torch.sqrt(1 + 2 * size)[:, None]
    n = (losses.shape[1] - dropped)[:, None]
    eta = _best_eta(torch.where(kept, ordered, 0).detach().double(), kept, scale.double(), n.double())
    above = (torch.where(kept, ordered, -torch.inf) - eta.to(losses.dtype)).clamp(min=0)
    return (scale * torch.sqrt((above**2).sum(1, keepdim=True) / n + 1e-12) + eta.to(losses.dtype))[:, 0]


def variance_penalty(losses: Tensor, penalty: Tensor) -> Tensor:
    """Mean loss plus `penalty` (K,) times the variance of the loss."""
    return losses.mean(1) + penalty * losses.var(1, unbiased=False)


def _best_eta(ordered: Tensor, kept: Tensor, scale: Tensor, n: Tensor) -> Tensor:
    """(K, 1): where the derivative 1 - scale * S1 / sqrt(n * S2) crosses zero, S1 and S2 of losses above eta."""
    count = kept.double().cumsum(1)
    first, second = ordered.cumsum(1), (ordered**2).cumsum(1)
    # At the next lower loss as eta, the k losses above it: has the minimum been passed?
    below = torch.cat([ordered[:, 1:], ordered[:, -1:]], 1)
    excess = first - count * below
    squares = (second - 2 * below * first + count * below**2).clamp(min=0)
    passed = kept & (scale * excess >= torch.sqrt(n * squares)) & (squares > 0)
    chosen = torch.where(passed.any(1), passed.double().argmax(1), ordered.shape[1] - 1)[:, None]
    k, s1, s2 = (table.gather(1, chosen) for table in (count, first, second))
    mean = s1 / k
    spread = (s2 / k - mean**2).clamp(min=0)
    # scale^2 (S1 - k eta)^2 = n (S2 - 2 eta S1 + k eta^2), with eta = mean - d: d^2 (scale^2 k - n) = n * spread.
    steepness = (scale**2 * k - n).clamp(min=1e-9)
    return mean - torch.sqrt(n * spread / steepness)


def _ordered(losses: Tensor, outliers: Tensor | None) -> tuple[Tensor, Tensor]:
    """Losses from high to low, and how many at the top are dropped."""
    ordered = torch.sort(losses, dim=1, descending=True).values
    share = torch.zeros(len(losses)) if outliers is None else outliers
    return ordered, torch.floor(share * losses.shape[1] + 1e-6)


def _bind(function: Callable[..., Tensor], *values: Tensor | None) -> Objective:
    return lambda losses, _: function(losses, *values)
