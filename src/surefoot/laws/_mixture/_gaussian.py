"""Sources in the Gaussian model of Miller et al. (2021, 2107.04649): lines of accuracy, and what mixing does to them.

Two classes y = +-1 have pictures x = y mu + noise, normal with a standard deviation in every direction. A linear
classifier w is right with probability Phi(w.mu / (sd |w|)), so on probit axes a source lies on a line through chance.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]


def mixture_slope(shares: ArrayLike, slopes: ArrayLike, margins: ArrayLike) -> Floats:
    """The probit slope of a classifier trained on a mixture, from the slopes of its sources (all (..., sources)).

    The mean of a mixture is the mean of its sources' means by `shares`, so its slope is the mediant of theirs: the mean
    weighted by shares and `margins` (each source's probit accuracy on the reference). It lies between the least and the
    greatest slope of its sources, and so never above the best of them.
    """
    weight = np.asarray(shares, dtype=np.float64) * np.asarray(margins, dtype=np.float64)
    return (weight * np.asarray(slopes)).sum(axis=-1) / weight.sum(axis=-1)
