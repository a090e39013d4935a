"""What users hand over, as arrays: nothing is read as a number, a verdict or a label that is none."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
_MISSING = {"None", "nan", "NaT", "<NA>"}


def numbers(values: ArrayLike) -> Floats:
    """An array of floats. Raises ValueError for a masked value, which would count as what lies under the mask."""
    if np.ma.is_masked(values):
        raise ValueError("some values are masked: give those that count alone, as .compressed() does")
    return np.asarray(values, dtype=np.float64)


def finite_numbers(values: ArrayLike) -> Floats:
    """An array of floats. Raises ValueError where one is masked, missing or infinite."""
    array = numbers(values)
    if not np.isfinite(array).all():
        raise ValueError("every value must be a finite number: leave out what is missing, or count it as wrong")
    return array


def verdicts(values: ArrayLike) -> NDArray[np.bool_]:
    """An array of booleans. Raises ValueError for anything but True, False, 1 and 0: a text or -1 is no yes."""
    array = np.asarray(values)
    if np.ma.is_masked(values) or not (array.dtype.kind == "b" or np.isin(array, (0, 1)).all()):
        raise ValueError("verdicts must be True or False, or 1 or 0")
    return array.astype(bool)


def places(labels: ArrayLike) -> tuple[NDArray[Any], NDArray[np.intp]]:
    """The distinct labels, and of each of n the place of its own. Raises ValueError for one that is missing.

    Missing labels would else be one cluster, and labels of two types (1 and "1") another.
    """
    array = np.asarray(labels)
    of_texts = array.dtype.kind == "U" and not isinstance(labels, np.ndarray)
    mixed = of_texts and not all(isinstance(one, str) for one in labels)  # type: ignore[union-attr]
    if mixed or _some_are_missing(array) or np.ma.is_masked(labels):
        raise ValueError("every row needs a label, all texts or all numbers: some are missing, or of another type")
    distinct, place = np.unique(array, return_inverse=True)
    return distinct, place.ravel()


def _some_are_missing(labels: NDArray[Any]) -> bool:
    if labels.dtype.kind == "O":
        return any(not isinstance(one, str) and str(one) in _MISSING for one in labels.ravel())
    if labels.dtype.kind in "mM":
        return bool(np.isnat(labels).any())
    return labels.dtype.kind == "f" and bool(np.isnan(labels).any())
