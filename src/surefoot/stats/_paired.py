"""Two models on the same examples: differences with intervals, McNemar's test, and Holm's correction."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import bdtr, stdtr

from surefoot.stats._intervals import Interval, bootstrap, mean_t


@dataclass(frozen=True, kw_only=True)
class PairedDifference:
    """Mean of first minus second over `n` pairs, with its interval and two-sided `p` against zero."""

    difference: Interval
    p: float
    n: int
    method: str


@dataclass(frozen=True, kw_only=True)
class McNemar:
    """Pairs of answers of two classifiers; two-sided exact and mid-p values against equal accuracy."""

    both: int
    only_first: int
    only_second: int
    neither: int
    p: float
    mid_p: float


def paired_difference(
    first: ArrayLike,
    second: ArrayLike,
    *,
    method: Literal["t", "bootstrap"] = "t",
    clusters: ArrayLike | None = None,
    replicates: int = 2000,
    seed: int = 0,
    level: float = 0.95,
) -> PairedDifference:
    """Mean difference of two score arrays (n,) over the same examples in the same order.

    `t`: Student's interval and test; with `clusters` (n labels) on the sums of the clusters (equal to the
    cluster-robust standard error, with clusters - 1 degrees of freedom). `bootstrap`: BCa interval; its p is
    that of the t test on the same differences. Raises ValueError for unequal lengths or fewer than two pairs.
    """
    gaps = _gaps(first, second)
    t_interval, p = _t_test(gaps, clusters, level)
    if method == "t":
        return PairedDifference(difference=t_interval, p=p, n=len(gaps), method="t")
    interval = bootstrap(gaps, clusters=clusters, replicates=replicates, seed=seed, level=level)
    return PairedDifference(difference=interval, p=p, n=len(gaps), method="bootstrap")


def mcnemar(first_correct: ArrayLike, second_correct: ArrayLike) -> McNemar:
    """McNemar's exact test on two boolean arrays (n,) over the same examples (McNemar 1947).

    `mid_p` (Fagerland et al. 2013) is less conservative than `p` and keeps the level in practice.
    """
    first, second = np.asarray(first_correct, dtype=bool), np.asarray(second_correct, dtype=bool)
    if first.shape != second.shape or first.ndim != 1:
        raise ValueError(f"paired answers need two 1-d arrays of one length, got {first.shape}, {second.shape}")
    b, c = int((first & ~second).sum()), int((~first & second).sum())
    p, mid_p = mcnemar_p(b, c)
    both, neither = int((first & second).sum()), int((~first & ~second).sum())
    return McNemar(both=both, only_first=b, only_second=c, neither=neither, p=p, mid_p=mid_p)


def mcnemar_p(only_first: int, only_second: int) -> tuple[float, float]:
    """Two-sided exact p and mid-p from the two counts of discordant pairs."""
    n, fewer = only_first + only_second, min(only_first, only_second)
    if n == 0:
        return 1.0, 1.0
    tail = float(bdtr(fewer, n, 0.5))
    point = tail - (float(bdtr(fewer - 1, n, 0.5)) if fewer else 0.0)
    return min(1.0, 2 * tail), min(1.0, 2 * tail - point)


def holm(p_values: ArrayLike) -> NDArray[np.float64]:
    """Holm's step-down adjusted p values in the order given; NaN (no test) stays NaN and is not counted."""
    p = np.asarray(p_values, dtype=np.float64)
    adjusted = np.full(p.shape, np.nan)
    tested = np.flatnonzero(~np.isnan(p))
    order = tested[np.argsort(p[tested], kind="stable")]
    steps = p[order] * np.arange(len(order), 0, -1)
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(steps))
    return adjusted


def t_p_value(estimate: float, standard_error: float, degrees_of_freedom: float) -> float:
    """Two-sided p of an estimate against zero by Student's t; NaN without degrees of freedom."""
    if degrees_of_freedom <= 0 or np.isnan(standard_error):
        return float("nan")
    if standard_error == 0:
        return 1.0 if estimate == 0 else 0.0
    return float(2 * stdtr(degrees_of_freedom, -abs(estimate / standard_error)))


def _t_test(gaps: NDArray[np.float64], clusters: ArrayLike | None, level: float) -> tuple[Interval, float]:
    if clusters is None:
        units = gaps
    else:
        _, member = np.unique(np.asarray(clusters), return_inverse=True)
        totals, sizes = np.bincount(member.ravel(), weights=gaps), np.bincount(member.ravel())
        # Linearised ratio of totals: its mean is the mean difference, its spread the cluster-robust one.
        units = gaps.mean() + (totals - gaps.mean() * sizes) / sizes.mean()
    if len(units) < 2:
        raise ValueError("a paired difference needs at least two independent pairs")
    error = float(units.std(ddof=1)) / len(units) ** 0.5
    return mean_t(units, level=level), t_p_value(float(units.mean()), error, len(units) - 1)


def _gaps(first: ArrayLike, second: ArrayLike) -> NDArray[np.float64]:
    a, b = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    if a.shape != b.shape or a.ndim != 1:
        raise ValueError(f"paired scores need two 1-d arrays of one length, got {a.shape} and {b.shape}")
    return a - b
