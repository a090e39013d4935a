"""Scaling laws and learning curves of a table: fits, bands, held-out errors, sensitivity, and comparisons in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from types import MappingProxyType
from typing import Any, Literal

import numpy as np

from surefoot.core import SurefootError
from surefoot.laws._results._table import Finding, Floats, ResultTable
from surefoot.laws._scaling._points import Columns, ScalingPoints, scaling_points
from surefoot.stats import (
    FORMS,
    ONE_VARIABLE_FORMS,
    Choice,
    ExponentComparison,
    Law,
    ParameterIntervals,
    SensitivityRow,
    band,
    binned_envelope,
    choose_form,
    compare_tasks,
    fit_law,
    held_out_half_width,
    intervals,
    log_error_variance,
    pareto_front,
    predict,
    predict_average,
    residuals,
    rolling_hold_out,
    sensitivity,
)

Selection = Literal["all", "pareto", "envelope"]
Method = Literal["auto", "t", "profile", "wild", "pairs"]
_BEYOND = 10.0
_BAND_POINTS = 60


@dataclass(frozen=True, kw_only=True)
class FamilyLaw:
    """One family's law with all that a report needs.

    `points` are all its points, `used` (m,) the indices of those that the law was fitted on, `used_x` and `used_y`
    the values it saw (an envelope moves x to the centre of the bin). `residuals` (m,) are logs of observed over
    fitted. `curve_x`, `curve_y`, `curve_low`, `curve_high` (60,) are the law and the 95 percent band of a new run,
    to ten times the largest x (empty for several variables). `choice` is what held-out error chose, or None where
    nothing could be held out. `laws` are all the fits that an average of forms needs. `verdict` is a sentence.
    """

    points: ScalingPoints
    selection: Selection
    used: Floats
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
    laws: Mapping[str, Law]
    sensitivity: tuple[SensitivityRow, ...]
    verdict: str


@dataclass(frozen=True, kw_only=True)
class ScalingLaws:
    """The laws of all families, the comparisons of each two of them ("A against B"), and the findings."""

    fits: tuple[FamilyLaw, ...]
    comparisons: Mapping[str, ExponentComparison]
    findings: tuple[Finding, ...]


def fit_scaling(
    table: ResultTable | Columns,
    *,
    x: str | Sequence[str],
    y: str,
    form: str = "power",
    selection: Selection = "all",
    bins: int = 5,
    eps: float = 0.1,
    huber: float | None = None,
    method: Method = "auto",
    level: float = 0.95,
    replicates: int = 1000,
    seed: int = 0,
    hold_out: bool = True,
    **reading: Any,
) -> ScalingLaws:
    """Fit a law of `y` on `x` to each family of a table (a `ResultTable`, or columns by name).

    `form` is a name in `FORMS`, or `auto`: the form that rolling hold-out asks for. `selection` takes all points,
    the Pareto front, or the published lower envelope of `bins` bins (with `eps`). `huber`, `method`, `level`,
    `replicates` and `seed` are those of `fit_law` and `intervals`. `reading` goes to `scaling_points`: `score`,
    `unit`, `where`, `family`, `run`, `label`, `n_test`. Families are compared two by two, corrected by Holm.
    Raises SurefootError that names the column, the row or the family at fault.
    """
    families, findings = scaling_points(table, x=x, y=y, **reading)
    options = {"method": method, "level": level, "replicates": replicates, "seed": seed}
    fits = tuple(
        _fit_family(points, form, selection, bins=bins, eps=eps, huber=huber, hold_out=hold_out, options=options)
        for points in families
    )
    return ScalingLaws(fits=fits, comparisons=_comparisons(fits, level), findings=findings)


def fit_curve(
    table: ResultTable | Columns,
    *,
    x: str,
    y: str,
    curve: str | None = None,
    form: str = "auto",
    huber: float | None = None,
    method: Method = "auto",
    level: float = 0.95,
    replicates: int = 1000,
    seed: int = 0,
    **reading: Any,
) -> ScalingLaws:
    """Fit learning curves, one for each value of the column `curve`; the form is chosen by held-out error.

    The points of a curve come from one training; fit intermediate points only if the schedule allows it (a constant
    rate, not the middle of a cosine). Extrapolate with `predict_fit`, which averages the forms.
    """
    return fit_scaling(
        table,
        x=x,
        y=y,
        form=form,
        huber=huber,
        method=method,
        level=level,
        replicates=replicates,
        seed=seed,
        family=curve,
        **reading,
    )


def predict_fit(fit: FamilyLaw, x: Floats | Sequence[float], *, average: bool = True) -> Floats:
    """Predictions (m,): the average of forms weighted by held-out error where there is one, else the chosen law."""
    if average and fit.choice is not None and len(fit.laws) > 1:
        return predict_average(fit.laws, fit.choice.weights, x)
    return predict(fit.law, x)


def predict_band(fit: FamilyLaw, x: Floats | Sequence[float], *, level: float = 0.95) -> tuple[Floats, Floats, Floats]:
    """Prediction (m,) of `predict_fit` with the bounds (m,), (m,) for a new run.

    The half width, in log y, is the larger of the chosen law's own band and, beyond the points, of what held-out
    error says (`held_out_half_width`): residuals alone are blind to a form that bends the wrong way.
    """
    at = np.asarray(x, dtype=np.float64)
    centre = predict_fit(fit, at)
    low, high = band(fit.law, at, level=level)
    with np.errstate(divide="ignore"):
        half = (np.log(high) - np.log(low)) / 2
    if fit.choice is not None and fit.used_x.shape[1] == 1:
        decades = np.log10(at / fit.used_x.max())
        half = np.maximum(half, held_out_half_width(fit.choice, decades, level=level))
    return centre, centre * np.exp(-half), centre * np.exp(half)


def _fit_family(
    points: ScalingPoints,
    form: str,
    selection: Selection,
    *,
    bins: int,
    eps: float,
    huber: float | None,
    hold_out: bool,
    options: dict[str, Any],
) -> FamilyLaw:
    used, used_x, used_y = _selected(points, selection, bins, eps)
    single = used_x.shape[1] == 1
    shared = {
        "huber": huber,
        "clusters": None if points.runs is None or selection != "all" else points.runs[used],
        "noise": None if points.tests is None else log_error_variance(used_y, points.tests[used]),
    }
    candidates = _candidates(form, used_x.shape[1], len(used_y))
    choice = _choice(used_x, used_y, candidates, huber) if hold_out or form == "auto" else None
    chosen = form if form != "auto" else (choice.form if choice else candidates[0])
    tried = set(choice.weights) if choice and form == "auto" else set()
    try:
        laws = {name: fit_law(used_x, used_y, name, **shared) for name in dict.fromkeys((chosen, *sorted(tried)))}
    except SurefootError as error:
        raise SurefootError(f"{_who(points)}: {error}") from None
    law = laws[chosen]
    found = intervals(law, **options)
    grid = _grid(points.x) if single else np.empty(0)
    low, high = band(law, grid, level=options["level"]) if single else (grid, grid)
    return FamilyLaw(
        points=points,
        selection=selection,
        used=used,
        used_x=used_x,
        used_y=used_y,
        law=law,
        intervals=found,
        residuals=residuals(law),
        curve_x=grid,
        curve_y=predict(law, grid) if single else grid,
        curve_low=low,
        curve_high=high,
        choice=choice,
        laws=MappingProxyType(laws),
        sensitivity=_sensitivity(points) if single else (),
        verdict=_verdict(points, law, found, selection),
    )


def _selected(points: ScalingPoints, selection: Selection, bins: int, eps: float) -> tuple[Any, Floats, Floats]:
    if selection == "all":
        return np.arange(len(points.y)), points.x, points.y
    if points.x.shape[1] != 1:
        raise SurefootError(f"the selection '{selection}' needs one x column; {len(points.x_names)} were given")
    if selection == "pareto":
        index = pareto_front(points.x[:, 0], points.y)
        return index, points.x[index], points.y[index]
    if selection != "envelope":
        raise SurefootError(f"there is no selection '{selection}'; choose all, pareto or envelope")
    centres, lowest, index = binned_envelope(points.x[:, 0], points.y, bins=bins, eps=eps)
    return index, centres[:, None], lowest


def _candidates(form: str, variables: int, n: int) -> tuple[str, ...]:
    if form != "auto" and form not in FORMS:
        raise SurefootError(f"there is no form '{form}'; choose auto, {', '.join(FORMS)}")
    if form != "auto":
        return (form,)
    fitting = [name for name, one in FORMS.items() if len(one.variables) == variables]
    names = ONE_VARIABLE_FORMS if variables == 1 else tuple(fitting)
    return tuple(name for name in names if len(FORMS[name].parameters) < n) or names[:1]


def _choice(x: Floats, y: Floats, forms: Sequence[str], huber: float | None) -> Choice | None:
    """Held-out evidence, or None where the points do not allow any."""
    try:
        return choose_form(rolling_hold_out(x, y, forms, order=_order(x), huber=huber))
    except SurefootError:
        return None


def _order(x: Floats) -> Floats:
    """Along what to extrapolate: x, or the product of several variables (size times data is compute)."""
    return np.exp(np.log(x).sum(axis=1))


def _grid(x: Floats) -> Floats:
    return np.geomspace(x.min(), x.max() * _BEYOND, _BAND_POINTS)


def _sensitivity(points: ScalingPoints) -> tuple[SensitivityRow, ...]:
    distinct = len(np.unique(points.x[:, 0]))
    return sensitivity(points.x[:, 0], points.y, labels=points.labels) if distinct > 2 else ()


def _comparisons(fits: Sequence[FamilyLaw], level: float) -> Mapping[str, ExponentComparison]:
    pairs = {
        f"{a.points.family} against {b.points.family}": (a.law, b.law)
        for a, b in combinations(fits, 2)
        if "exponent" in a.law.names and a.law.form == b.law.form
    }
    return compare_tasks(pairs, level=level) if pairs else MappingProxyType({})


def _who(points: ScalingPoints) -> str:
    return f"family '{points.family}'" if points.family else f"'{points.y_name}' on {', '.join(points.x_names)}"


def _verdict(points: ScalingPoints, law: Law, found: ParameterIntervals, selection: Selection) -> str:
    """One sentence on what the points show, with what stands in the way of believing it."""
    if law.trouble:
        body = law.trouble
    else:
        name = "exponent" if "exponent" in law.names else law.problem.form.exponents[0]
        body = f"y = {law.problem.form.formula} with {name} {found.by_name[name]} ({found.method}, n = {law.n})"
    bins = ["the lowest points of bins are no independent runs, so the interval is only indicative"]
    notes = [*law.notes, *([found.note] if found.note else []), *(bins if selection == "envelope" else [])]
    return "; ".join([f"{_who(points)}: {body}", *notes])
