"""What laws predict, with one band: that of a new run, wherever a prediction is shown."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike

from surefoot.core import SurefootError
from surefoot.laws._results._table import Floats
from surefoot.laws._scaling._types import WIDER
from surefoot.stats import Choice, Law, band, held_out_half_width, predict, predict_average
from surefoot.tables import parse_numbers


def predictive_band(
    law: Law, laws: Mapping[str, Law], choice: Choice | None, x: ArrayLike, *, level: float = 0.95
) -> tuple[Floats, Floats, Floats]:
    """Prediction (m,) at `x` (m,) or (m, variables) with the bounds (m,), (m,) of a new run.

    The prediction is the average of forms weighted by held-out error where several were tried, else the law. The half
    width, in log y, is that of the law's own band. Where several forms were tried, or the points make its shape
    doubtful (`LawChecks.doubted`), it is beyond the points at least what the law was off by when held out
    (`held_out_half_width`): residuals are blind to a form that bends the wrong way. A chosen form's spans `WIDER`'s.
    """
    at = np.asarray(x, dtype=np.float64).reshape(-1, len(law.problem.form.variables))
    centre = predict_average(laws, choice.weights, at) if choice and len(laws) > 1 else predict(law, at)
    low, high = band(law, at, level=level)
    with np.errstate(divide="ignore"):
        half = (np.log(high) - np.log(low)) / 2
    if choice is not None and (len(laws) > 1 or law.checks.doubted):
        seen = np.exp(law.problem.z + law.problem.centre)
        decades = np.log10(along(at) / along(seen).max())
        half = np.maximum(half, held_out_half_width(choice, decades, level=level))
    if len(laws) > 1 and (wider := laws.get(WIDER, law)).degrees_of_freedom > 0 and not wider.exact:
        half = np.fmax(half, np.abs(np.log(band(wider, at, level=level)) - np.log(centre)).max(axis=0))
    with np.errstate(over="ignore"):
        return centre, centre * np.exp(-half), centre * np.exp(half)


def along(x: Floats) -> Floats:
    """Along what to extrapolate (n,): x, or the product of several variables (size times data is compute)."""
    return np.exp(np.log(x).sum(axis=1))


def places_of(texts: Sequence[str], x_names: Sequence[str]) -> Floats:
    """Values of x to predict at (m, variables), as people write them: 1e12, 34B, or 1e9,2e10 for two variables.

    Raises SurefootError for what is no number above 0, or not as many numbers as there are variables.
    """
    rows = []
    for text in texts:
        parts = text.split(",") if len(x_names) > 1 else [text]
        numbers = parse_numbers(parts, magnitudes=True).values
        if len(parts) != len(x_names) or not (numbers > 0).all():
            wanted = ",".join(x_names)
            raise SurefootError(f"'{text}' is no place to predict at: give numbers above 0 for {wanted}.")
        rows.append(numbers)
    return np.array(rows, dtype=np.float64).reshape(-1, len(x_names))
