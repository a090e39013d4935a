"""Sources in the Gaussian model of Miller et al. (2021, 2107.04649): lines of accuracy, and what mixing does to them.

Two classes y = +-1 have pictures x = y mu + noise, normal with a standard deviation in every direction. A linear
classifier w is right with probability Phi(w.mu / (sd |w|)), so on probit axes a source lies on a line through chance.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtr

Floats = NDArray[np.float64]


def gaussian_accuracy(weights: ArrayLike, mean: ArrayLike, *, deviation: float = 1.0) -> Floats:
    """The accuracy of classifiers (..., d) where the classes have means +-`mean` (d) and this standard deviation."""
    w = np.asarray(weights, dtype=np.float64)
    return ndtr(w @ np.asarray(mean, dtype=np.float64) / (deviation * np.linalg.norm(w, axis=-1)))


def mixture_slope(shares: ArrayLike, slopes: ArrayLike, margins: ArrayLike) -> Floats:
    """The probit slope of a classifier trained on a mixture, from the slopes of its sources (all (..., sources)).

    The mean of a mixture is the mean of its sources' means by `shares`, so its slope is the mediant of theirs: the mean
    weighted by shares and `margins` (each source's probit accuracy on the reference). It lies between the least and the
    greatest slope of its sources, and so never above the best of them.
    """
    weight = np.asarray(shares, dtype=np.float64) * np.asarray(margins, dtype=np.float64)
    return (weight * np.asarray(slopes)).sum(axis=-1) / weight.sum(axis=-1)


def kept_mean(mean: ArrayLike, judge: ArrayLike, kept: float) -> Floats:
    """The mean (d) of y x over the share `kept` that a judge scores highest by y judge.x, with noise of deviation 1.

    It moves along the judge by the mean of the upper tail of a normal distribution, so that the slope of what is
    trained on moves to the judge's.
    """
    from scipy.stats import norm

    direction = np.asarray(judge, dtype=np.float64) / np.linalg.norm(judge)
    return np.asarray(mean) + direction * (norm.pdf(norm.isf(kept)) / kept)
