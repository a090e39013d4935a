"""The range of likelihood ratios that a validation set of its size supports."""

import numpy as np
from numpy.typing import ArrayLike

from surefoot.core import SurefootError


def invariance_bounds(log10_ratios: ArrayLike, same: ArrayLike) -> tuple[float, float]:
    """The log10 LRs within which "the ratio of the ratio is the ratio" may hold, by data of this size.

    At a threshold t, P(LR >= t) where the first proposition is true must be t times that where the second is; both are
    counts with Jeffreys' prior. The bounds are where that first fails going out from 1 (Alberink et al. 2025).
    """
    logs, y = np.clip(np.asarray(log10_ratios, dtype=np.float64), -9, 9), np.asarray(same, dtype=bool)
    if y.all() or not y.any():
        raise SurefootError("Bounds need ratios of both kinds: of one source, and of different sources.")
    grid = np.arange(np.floor(1000 * min(logs.min(), 0)), np.ceil(1000 * max(logs.max(), 0)) + 1) / 1000
    above = [
        (len(one) - np.searchsorted(np.sort(one), grid, "left") + 0.5) / (len(one) + 1) for one in (logs[y], logs[~y])
    ]
    up = (np.log10(above[0]) - np.log10(above[1]) < grid) & (grid > 0)
    down = (np.log10(1 - above[0]) - np.log10(1 - above[1]) > grid) & (grid < 0)
    high = grid[np.argmax(up)] - 0.001 if up.any() else max(0.0, float(np.max(logs[y])))
    low = grid[len(grid) - 1 - np.argmax(down[::-1])] + 0.001 if down.any() else min(0.0, float(np.min(logs[~y])))
    return float(min(low, 0.0)), float(max(high, 0.0))
