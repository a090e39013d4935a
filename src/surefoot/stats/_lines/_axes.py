"""The axes on which accuracies lie on a line: logit, probit and linear."""

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit, logit, ndtr, ndtri

from surefoot.core import SurefootError

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Axis = Literal["logit", "probit", "linear"]
AXES: tuple[Axis, ...] = get_args(Axis)


@dataclass(frozen=True, kw_only=True)
class Placed:
    """Fractions placed on an axis.

    `value` is NaN where the fraction is missing or was left out. `moved` marks exact 0 and 1 that were moved to
    (k + 1/2) / (n + 1), `left_out` those that could not be, because their n is not known. Same shape, all three.
    """

    value: Floats
    moved: Bools
    left_out: Bools


def to_axis(fraction: ArrayLike, axis: Axis = "logit") -> Floats:
    """Fractions (0 to 1, any shape) on an axis; 0 and 1 are infinite there unless it is linear."""
    share = _checked(fraction)
    if axis == "linear":
        return share
    return logit(share) if axis == "logit" else ndtri(share)


def from_axis(value: ArrayLike, axis: Axis = "logit") -> Floats:
    """The inverse of `to_axis`: fractions, which a linear axis does not hold within 0 to 1."""
    place = np.asarray(value, dtype=np.float64)
    _known(axis)
    if axis == "linear":
        return place
    return expit(place) if axis == "logit" else ndtr(place)


def axis_slope(fraction: ArrayLike, axis: Axis = "logit") -> Floats:
    """How fast the axis moves per unit of fraction, for the delta method; infinite at 0 and 1 unless linear."""
    share = _checked(fraction)
    _known(axis)
    if axis == "linear":
        return np.where(np.isnan(share), np.nan, 1.0)
    with np.errstate(divide="ignore", over="ignore"):
        return 1 / (share * (1 - share)) if axis == "logit" else np.sqrt(2 * np.pi) * np.exp(ndtri(share) ** 2 / 2)


def place_on_axis(fraction: ArrayLike, axis: Axis = "logit", *, n: ArrayLike | None = None) -> Placed:
    """Fractions on an axis, with a rule for exact 0 and 1, which a logit or probit axis cannot show.

    Where `n` (examples behind each fraction, broadcast, NaN if unknown) is known, k of n is moved to
    (k + 1/2) / (n + 1), half a success and half a failure added (Haldane 1955, Anscombe 1956); elsewhere it is
    left out. Both are marked, so that nothing is dropped in silence.
    """
    share = _checked(fraction)
    size = np.broadcast_to(np.nan if n is None else np.asarray(n, dtype=np.float64), share.shape)
    extreme = ((share == 0) | (share == 1)) & (axis != "linear")
    moved, left_out = extreme & np.isfinite(size), extreme & ~np.isfinite(size)
    inside = np.where(moved, inside_shares(share, np.where(moved, size, 1.0)), share)
    return Placed(value=to_axis(np.where(left_out, np.nan, inside), axis), moved=moved, left_out=left_out)


def inside_shares(fraction: ArrayLike, n: ArrayLike) -> Floats:
    """Fractions of `n`, exact 0 and 1 moved by half an example: k of n to (k + 1/2) / (n + 1)."""
    share, size = np.broadcast_arrays(np.asarray(fraction, dtype=np.float64), np.asarray(n, dtype=np.float64))
    return np.where((share == 0) | (share == 1), (share * size + 0.5) / (size + 1), share)


def _checked(fraction: ArrayLike) -> Floats:
    share = np.asarray(fraction, dtype=np.float64)
    if np.any((share < 0) | (share > 1)):
        raise SurefootError("Fractions lie between 0 and 1: divide percentages by 100 first.")
    return share


def _known(axis: str) -> None:
    if axis not in AXES:
        raise SurefootError(f"An axis is one of {', '.join(AXES)}; got {axis!r}.")
