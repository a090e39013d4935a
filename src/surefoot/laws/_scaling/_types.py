"""What a fit of laws is asked and what it gives."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from surefoot.laws._results._table import Floats
from surefoot.laws._scaling._points import ScalingPoints
from surefoot.stats import Choice, ExponentComparison, HeldOut, Law, ParameterIntervals
from surefoot.tables import Remark

Selection = Literal["all", "pareto", "envelope"]
WIDER = "power+floor"
"""The form whose interval of the exponent holds a power law with a floor or without, whichever form was chosen."""


@dataclass(frozen=True, kw_only=True)
class LawOptions:
    """How a law is fitted.

    `form` is a name in `FORMS`, or `auto`: the form that rolling hold-out asks for. `selection` takes all points, the
    Pareto front, or the published lower envelope of `bins` bins (with `eps`). `tied` are pairs such as `alpha=beta`,
    `fixed` values such as `exponent=0.5` or `floor=0`. `huber`, `method`, `level`, `replicates` and `seed` are those of
    `fit_law` and `intervals`.
    """

    form: str = "power"
    selection: Selection = "all"
    bins: int = 5
    eps: float = 0.1
    tied: tuple[str, ...] = ()
    fixed: tuple[str, ...] = ()
    huber: float | None = None
    method: Literal["auto", "t", "profile", "wild", "pairs"] = "auto"
    level: float = 0.95
    replicates: int = 1000
    seed: int = 0


@dataclass(frozen=True, kw_only=True)
class FamilyLaw:
    """One family's law with all that a report needs.

    `points` are all its points, `used` (m,) the indices of those that the law was fitted on, `used_x` and `used_y`
    the values it saw (an envelope moves x to the centre of the bin). `residuals` (m,) are logs of observed over
    fitted. `curve_x`, `curve_y`, `curve_low`, `curve_high` (60,) are the prediction and the band of a new run, to ten
    times the largest x (empty for several variables). `choice` is what held-out error says, or None where nothing
    could be held out; `floored` what it says of the form with a floor, if the points show one. `free` is the law with
    nothing fixed or tied, where something is. `laws` are all the fits that an average of
    forms needs. `verdict` is a sentence.
    """

    points: ScalingPoints
    options: LawOptions
    used: NDArray[np.intp]
    used_x: Floats
    used_y: Floats
    law: Law
    intervals: ParameterIntervals
    residuals: Floats
    curve_x: Floats
    curve_y: Floats
    curve_low: Floats
    curve_high: Floats
    choice: Choice | None
    floored: HeldOut | None
    free: Law | None
    laws: Mapping[str, Law]
    verdict: str


@dataclass(frozen=True, kw_only=True)
class ScalingLaws:
    """The laws of all families, the comparisons of each two of them ("A against B"), and the remarks."""

    fits: tuple[FamilyLaw, ...]
    comparisons: Mapping[str, ExponentComparison]
    remarks: tuple[Remark, ...]
