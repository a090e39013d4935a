"""Which points a law is fitted on: all of them, the Pareto front, or the lower envelope of bins."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from surefoot.core import SurefootError

Floats = NDArray[np.float64]


def pareto_front(x: ArrayLike, y: ArrayLike) -> NDArray[np.intp]:
    """Indices, by rising x, of the points that no other point with at most their x reaches or undercuts in y."""
    cost, error = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    order = np.lexsort((error, cost))
    lowest = np.minimum.accumulate(error[order])
    return order[np.append(True, lowest[1:] < lowest[:-1])]


def binned_envelope(
    x: ArrayLike, y: ArrayLike, *, bins: int = 5, eps: float = 0.1
) -> tuple[Floats, Floats, NDArray[np.intp]]:
    """Lower envelope as published with the CLIP scaling laws (arXiv 2212.07143, figures notebook).

    log10(x) is cut into `bins` equal widths over [min, max + eps]; each bin gives its smallest y, placed at the
    CENTRE of the bin rather than at the point's own x. Empty bins give nothing. Returns x, y and the indices of
    the chosen points. The front depends on `bins` and `eps`: see `sensitivity` for how much.
    """
    logs, error = np.log10(np.asarray(x, dtype=np.float64)), np.asarray(y, dtype=np.float64)
    if bins < 1 or eps < 0:
        raise SurefootError(f"Bins must be at least 1 and eps at least 0; got {bins} and {eps}.")
    edges = np.linspace(logs.min(), logs.max() + eps, bins + 1)
    which = np.clip(np.searchsorted(edges, logs, side="right") - 1, 0, bins - 1)
    centres, chosen = [], []
    for b in np.unique(which):
        members = np.flatnonzero(which == b)
        chosen.append(members[error[members].argmin()])
        centres.append(10 ** ((edges[b] + edges[b + 1]) / 2))
    index = np.array(chosen, dtype=np.intp)
    return np.array(centres), error[index], index
