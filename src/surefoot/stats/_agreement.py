"""Whether two raters agree."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from surefoot.stats._arrays import verdicts
from surefoot.stats._intervals import Interval

_DRAWS = 20_000


def cohen_kappa(first: ArrayLike, second: ArrayLike, *, level: float = 0.95) -> Interval:
    """Cohen's kappa of two boolean arrays (n,) of verdicts on the same things (Cohen 1960): 1 is full agreement.

    The interval holds the central quantiles of kappa where the shares of the four pairs of verdicts are
    Dirichlet(counts + 1/2), Jeffreys' prior: it has a width where all agree, too. The estimate is NaN where agreement
    by chance is certain (both raters say one thing alone). Raises ValueError for unequal or empty arrays.
    """
    a, b = verdicts(first), verdicts(second)
    if a.shape != b.shape or a.ndim != 1 or not len(a):
        raise ValueError(f"agreement needs two 1-d arrays of one length, got {a.shape} and {b.shape}")
    counts = np.bincount(2 * a + b, minlength=4).astype(np.float64)
    drawn = _kappa(np.random.default_rng(0).dirichlet(counts + 0.5, _DRAWS))
    low, high = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(_kappa(counts[None] / len(a))[0]), float(low), float(high), level=level)


def _kappa(shares: NDArray[np.float64]) -> NDArray[np.float64]:
    """Of shares (rows, 4) of neither, second alone, first alone, both."""
    neither, second, first, both = shares.T
    by_chance = (first + both) * (second + both) + (neither + second) * (neither + first)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(by_chance < 1, (neither + both - by_chance) / (1 - by_chance), np.nan)
