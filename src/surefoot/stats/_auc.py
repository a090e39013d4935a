"""The area under the ROC curve by group, with intervals inside 0 to 1."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import brentq
from scipy.special import ndtri

from surefoot.stats._groups import checked, checked_weights

Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class GroupAuc:
    """The area in each of G groups and, last, over all rows: arrays (G + 1,), NaN where a label has no rows."""

    value: Floats
    low: Floats
    high: Floats


def group_auc(
    labels: ArrayLike, scores: ArrayLike, codes: ArrayLike, *, weights: ArrayLike | None = None, level: float = 0.95
) -> GroupAuc:
    """The chance that a positive row has a higher score than a negative one of its group, a tie counted as a half.

    `labels` (n,) 0 or 1, `scores` (n,), `codes` (n,) from 0, `weights` (n,) above 0. Bounds by Newcombe's fifth method
    (2006, Statistics in Medicine 25), which stay inside 0 to 1 and are never of no width; with weights by the effective
    numbers of rows. Raises ValueError for another label, a score that is NaN, and a weight that is not above 0.
    """
    truth, table, group = checked(labels, scores, codes)
    values, weight = np.ravel(table).astype(np.float64), np.ones(len(truth))
    weight = weight if weights is None else checked_weights(weights, truth)
    if values.shape != truth.shape or np.isnan(values).any():
        raise ValueError(f"scores must be {len(truth)} numbers")
    parts = [np.flatnonzero(group == place) for place in range(int(group.max()) + 1)] + [np.arange(len(group))]
    found = np.array([_area(truth[rows], values[rows], weight[rows], level) for rows in parts])
    return GroupAuc(value=found[:, 0], low=found[:, 1], high=found[:, 2])


def _area(truth: NDArray[np.int64], scores: Floats, weights: Floats, level: float) -> tuple[float, float, float]:
    positive = truth == 1
    if positive.all() or not positive.any():
        return (np.nan, np.nan, np.nan)
    _, place = np.unique(scores, return_inverse=True)
    here, below = np.bincount(place, weights * positive), np.bincount(place, weights * ~positive)
    area = float(here @ (np.cumsum(below) - below / 2) / here.sum() / below.sum())
    area = min(max(area, 0.0), 1.0)
    positives, negatives = (
        float(part.sum() ** 2 / (part**2).sum()) for part in (weights[positive], weights[~positive])
    )
    low, high = 1 - _highest(1 - area, positives, negatives, level), _highest(area, positives, negatives, level)
    return (area, low, high)


def _highest(area: float, positives: float, negatives: float, level: float) -> float:
    """The largest true area from which this one is no further than its error there allows."""
    extra, z = (positives + negatives) / 2 - 1, float(ndtri(0.5 + level / 2))

    def beyond(true: float) -> float:
        spread = true * (1 - true) * (1 + extra * (1 - true) / (2 - true) + extra * true / (1 + true))
        return true - area - z * (max(spread, 0.0) / positives / negatives) ** 0.5

    # Just above the area itself, where the difference is negative: at an area of 0 it is 0 too.
    return 1.0 if area >= 1 else float(np.asarray(brentq(beyond, area + 1e-12, 1.0)))
