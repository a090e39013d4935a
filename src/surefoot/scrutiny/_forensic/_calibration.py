"""From scores to likelihood ratios by logistic regression, and the bounds of what data support."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from surefoot.core import SurefootError

Floats = NDArray[np.float64]
_RIDGE = 1e-4
"""Keeps the slopes finite where the classes are apart."""


@dataclass(frozen=True)
class LogisticRatio:
    """log10 LR as a linear function of features; each class counts by half, so that no prior is in it."""

    intercept: float
    slopes: Floats

    def log10_ratio(self, features: ArrayLike) -> Floats:
        """log10 LR of each row of `features`, (n, d)."""
        x = np.asarray(features, dtype=np.float64)
        return (x @ self.slopes + self.intercept) / np.log(10)


def fit_logistic(features: ArrayLike, same: ArrayLike) -> LogisticRatio:
    """Fit by Newton's method to features (n, d) and truth (n,). Raises when a class is missing."""
    x, y = np.asarray(features, dtype=np.float64), np.asarray(same, dtype=bool)
    _check(y)
    design = np.column_stack([np.ones(len(x)), x])
    weights = np.where(y, 0.5 / y.sum(), 0.5 / (~y).sum())
    beta = np.zeros(design.shape[1])
    penalty = _RIDGE * np.append(0.0, np.maximum(x.var(axis=0), 1e-12))
    for _ in range(100):
        p = 1 / (1 + np.exp(-np.clip(design @ beta, -500, 500)))
        slope = design.T @ (weights * (y - p)) - penalty * beta
        curvature = design.T @ (design * (weights * p * (1 - p))[:, None]) + np.diag(penalty + 1e-12)
        step = np.linalg.solve(curvature, slope)
        beta = beta + step / max(1.0, float(np.abs(design @ step).max()) / 5)
        if np.abs(step).max() < 1e-10:
            break
    return LogisticRatio(float(beta[0]), beta[1:])


def invariance_bounds(log10_ratios: ArrayLike, same: ArrayLike) -> tuple[float, float]:
    """The log10 LRs within which "the ratio of the ratio is the ratio" may hold, by data of this size.

    At a threshold t, P(LR >= t) where the first proposition is true must be t times that where the second is; both are
    counts with Jeffreys' prior. The bounds are where that first fails going out from 1 (Alberink et al. 2025).
    """
    logs, y = np.clip(np.asarray(log10_ratios, dtype=np.float64), -9, 9), np.asarray(same, dtype=bool)
    _check(y)
    grid = np.arange(np.floor(1000 * min(logs.min(), 0)), np.ceil(1000 * max(logs.max(), 0)) + 1) / 1000
    above = [
        (len(one) - np.searchsorted(np.sort(one), grid, "left") + 0.5) / (len(one) + 1) for one in (logs[y], logs[~y])
    ]
    up = (np.log10(above[0]) - np.log10(above[1]) < grid) & (grid > 0)
    down = (np.log10(1 - above[0]) - np.log10(1 - above[1]) > grid) & (grid < 0)
    high = grid[np.argmax(up)] - 0.001 if up.any() else max(0.0, float(np.max(logs[y])))
    low = grid[len(grid) - 1 - np.argmax(down[::-1])] + 0.001 if down.any() else min(0.0, float(np.min(logs[~y])))
    return float(min(low, 0.0)), float(max(high, 0.0))


def _check(same: NDArray[np.bool_]) -> None:
    if same.all() or not same.any():
        raise SurefootError("A calibration needs scores of both kinds: of one source, and of different sources.")
