"""Scaling laws and learning curves of a table: fits, bands, held-out errors, sensitivity, and comparisons in words."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import combinations
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from surefoot.core import SurefootError, counted
from surefoot.laws._results._checks import check_draws
from surefoot.laws._results._table import Floats, ResultTable
from surefoot.laws._scaling._points import Columns, PointOptions, ScalingPoints, scaling_points
from surefoot.laws._scaling._predict import along, predictive_band
from surefoot.laws._scaling._types import WIDER, FamilyLaw, LawOptions, ScalingLaws
from surefoot.laws._scaling._words import SEEN, verdict_of
from surefoot.stats import (
    FORMS,
    ONE_VARIABLE_FORMS,
    ExponentComparison,
    Form,
    HeldOut,
    Interval,
    Law,
    ParameterIntervals,
    SensitivityRow,
    binned_envelope,
    choose_form,
    compare_tasks,
    fit_law,
    form_of,
    intervals,
    pareto_front,
    residuals,
    restricted,
    rolling_hold_out,
    sensitivity,
)
from surefoot.tables import Remark

_BEYOND = 10.0
_BAND_POINTS = 60
_MOST_HELD_OUT, _MOST_COMPARED = 5_000, 100
_FLOORED = {"power": "power+floor", "shifted": "shifted+floor", "broken": "broken+floor"}
_PLAIN = LawOptions()


def fit_scaling(table: ResultTable | Columns, points: PointOptions, options: LawOptions = _PLAIN) -> ScalingLaws:
    """Fit a law to each family of a table (a `ResultTable`, or columns by name); families are compared by Holm.

    A family that no law fits (too few points) is left out and said. Learning curves are families whose points come from
    one training each: fit intermediate points only if the schedule allows it (a constant rate, not the middle of a
    cosine). Raises SurefootError that names the column, the row or the family at fault.
    """
    _check_options(options)
    families, remarks = scaling_points(table, points)
    fits, faults = [], []
    with np.errstate(all="ignore"):
        for family in families:
            try:
                fits.append(_fit_family(family, options))
            except SurefootError as error:
                faults.append((family, str(error)))
        if not fits:
            raise SurefootError(faults[0][1])
        comparisons, said = _comparisons(fits, options)
    return ScalingLaws(
        fits=tuple(fits),
        comparisons=comparisons,
        remarks=(*remarks, *(_left_out(family, fault) for family, fault in faults), *said),
    )


def predict_band(fit: FamilyLaw, x: ArrayLike) -> tuple[Floats, Floats, Floats]:
    """Prediction (m,) at `x` (m,) or (m, variables) with the bounds (m,), (m,) of a new run (`predictive_band`)."""
    return predictive_band(fit.law, fit.laws, fit.choice, x, level=fit.options.level)


def _check_options(options: LawOptions) -> None:
    if options.form != "auto":
        form_of(options.form)
    if options.selection not in ("all", "pareto", "envelope"):
        raise SurefootError(f"There is no selection '{options.selection}'. Choose all, pareto or envelope.")
    check_draws(options.seed, options.replicates, options.level)
    if options.huber is not None and not options.huber > 0:
        raise SurefootError(f"The corner of Huber's loss must be above 0; got {options.huber}.")
    if options.form == "auto" and (options.tied or options.fixed):
        raise SurefootError("Parameters are tied or fixed in a form that is named, not in an automatic one.")


def _left_out(points: ScalingPoints, fault: str) -> Remark:
    message = f"{counted(points.y.size, 'point', 'were')} left out: {fault}"
    rows = tuple(points.rows.tolist())
    return Remark(code="family-left-out", severity="warning", message=message, rows=rows)


def _fit_family(points: ScalingPoints, options: LawOptions) -> FamilyLaw:
    used, used_x, used_y = _selected(points, options)
    clusters = None if points.runs is None or options.selection != "all" else points.runs[used]
    forms = _candidates(used_x, used_y, clusters, options)
    held = _held_out(used_x, used_y, forms, options)
    choice = choose_form(held) if held else None
    chosen = choice.form if choice and options.form == "auto" else forms[0].name
    tried = set(choice.weights) if choice and options.form == "auto" else set()
    tests = None if points.tests is None else points.tests[used]

    def fit_one(form: Form) -> Law:
        return fit_law(used_x, used_y, form, huber=options.huber, tests=tests, clusters=clusters)

    try:
        laws = {form.name: fit_one(form) for form in forms if form.name in {chosen, *tried}}
    except SurefootError as error:
        raise SurefootError(f"{points_name(points)}: {error}") from None
    law = laws[chosen]
    found = _intervals(law, laws.get(WIDER), options)
    single = used_x.shape[1] == 1
    grid = np.geomspace(points.x.min(), points.x.max() * _BEYOND, _BAND_POINTS) if single else np.empty(0)
    nothing = (np.empty(0),) * 3
    curve = predictive_band(law, laws, choice, grid, level=options.level) if single else nothing
    fit = FamilyLaw(
        points=points,
        options=options,
        used=used,
        used_x=used_x,
        used_y=used_y,
        law=law,
        intervals=found,
        residuals=residuals(law),
        curve_x=grid,
        curve_y=curve[0],
        curve_low=curve[1],
        curve_high=curve[2],
        choice=choice,
        floored=next(iter(_held_out(used_x, used_y, _floored(law, options), options)), None),
        free=_unrestricted(fit_one, options),
        laws=MappingProxyType(laws),
        verdict="",
    )
    return replace(fit, verdict=f"{points_name(points)}: {verdict_of(fit)}")


def _intervals(law: Law, wider: Law | None, options: LawOptions) -> ParameterIntervals:
    """Intervals of the law; the exponent's spans that of `wider`, which allows for a floor where the form is chosen."""
    named: dict[str, Any] = {name: getattr(options, name) for name in ("method", "level", "replicates", "seed")}
    found = intervals(law, **named)
    if wider is None or wider is law or "exponent" not in law.names:
        return found
    own, other = found.by_name["exponent"], intervals(wider, **named).by_name["exponent"]
    if not other.low <= other.high:
        return found
    wide = Interval(own.estimate, min(own.low, other.low), max(own.high, other.high), level=own.level)
    return replace(found, by_name=MappingProxyType({**found.by_name, "exponent": wide}))


def _unrestricted(fit_one: Callable[[Form], Law], options: LawOptions) -> Law | None:
    """The law of the form with nothing fixed or tied, where something is and the points allow it."""
    if not options.fixed and not options.tied:
        return None
    try:
        return fit_one(form_of(options.form))
    except SurefootError:
        return None


def _selected(points: ScalingPoints, options: LawOptions) -> tuple[NDArray[np.intp], Floats, Floats]:
    if options.selection == "all":
        return np.arange(len(points.y)), points.x, points.y
    if points.x.shape[1] != 1:
        names = len(points.x_names)
        raise SurefootError(f"The selection '{options.selection}' needs one x column; {names} were given.")
    if options.selection == "pareto":
        index = pareto_front(points.x[:, 0], points.y)
        return index, points.x[index], points.y[index]
    centres, lowest, index = binned_envelope(points.x[:, 0], points.y, bins=options.bins, eps=options.eps)
    return index, centres[:, None], lowest


def _candidates(x: Floats, y: Floats, runs: ArrayLike | None, options: LawOptions) -> tuple[Form, ...]:
    """The form that was asked for, with its ties, or all that could be chosen: at most a parameter a run."""
    if options.form != "auto":
        form = _named_form(options)
        return (fit_law(x, y, form, huber=options.huber).problem.form if form.either_sign else form,)
    names = ONE_VARIABLE_FORMS if x.shape[1] == 1 else tuple(FORMS)
    forms = [FORMS[name] for name in names if len(FORMS[name].variables) == x.shape[1]]
    most = len(y) - 1 if runs is None else min(len(y) - 1, len(np.unique(runs)))
    return tuple(form for form in forms if len(form.parameters) <= most) or tuple(forms[:1])


def _named_form(options: LawOptions) -> Form:
    form = form_of(options.form)
    if not options.tied and not options.fixed:
        return form
    tied, fixed = [_two_sides(text) for text in options.tied], {}
    for name, value in map(_two_sides, options.fixed):
        try:
            fixed[name] = float(value)
            if not math.isfinite(fixed[name]):
                raise ValueError
        except ValueError:
            raise SurefootError(f"'{name}={value}' must fix a parameter to a number, for example floor=0.") from None
    return restricted(form, tied=tied, fixed=fixed)


def _two_sides(text: str) -> tuple[str, str]:
    left, sign, right = (part.strip() for part in text.partition("="))
    if not (left and sign and right):
        raise SurefootError(f"'{text}' must have two sides, for example alpha=beta or floor=0.")
    return left, right


def _floored(law: Law, options: LawOptions) -> tuple[Form, ...]:
    """The form that was named with a floor under it, where the points show one."""
    seen = options.form in _FLOORED and not options.fixed and law.checks.floor_p < SEEN
    return (FORMS[_FLOORED[options.form]],) if seen else ()


def _held_out(x: Floats, y: Floats, forms: Sequence[Form], options: LawOptions) -> tuple[HeldOut, ...]:
    """Held-out evidence for the forms; none where nothing can be."""
    order = along(x)
    # Of very many points an even choice along x says as much of the shape, and takes seconds.
    every = np.argsort(order, kind="stable")
    some = every if len(y) <= _MOST_HELD_OUT else every[:: -(-len(y) // _MOST_HELD_OUT)]
    try:
        found = rolling_hold_out(x[some], y[some], forms, order=order[some], huber=options.huber)
    except SurefootError:
        return ()
    return tuple(replace(held, row=some[held.row]) for held in found)


def law_sensitivity(fit: FamilyLaw) -> tuple[SensitivityRow, ...]:
    """What the exponent of a power law hangs on (`sensitivity`), for a law of one x at three places or more."""
    x, points = fit.points.x, fit.points
    if x.shape[1] > 1 or len(np.unique(x[:, 0])) < 3:
        return ()
    with np.errstate(all="ignore"):
        return sensitivity(x[:, 0], points.y, labels=points.labels)


def _comparisons(
    fits: Sequence[FamilyLaw], options: LawOptions
) -> tuple[Mapping[str, ExponentComparison], tuple[Remark, ...]]:
    """Exponents of each two families; where forms were chosen under `WIDER`, as their intervals are."""
    if len(fits) > _MOST_COMPARED:
        message = f"{len(fits):,} families are not compared two by two: above {_MOST_COMPARED} name some with --where."
        return MappingProxyType({}), (Remark(code="not-compared", severity="warning", message=message),)
    remarks: tuple[Remark, ...] = ()
    # A law that is exact has no noise; what else is fitted to its points seems to have some, of rounding.
    exact = {fit.law.form for fit in fits if fit.law.exact}
    shared = [form for form in (WIDER, "power") if all(form in fit.laws for fit in fits) and exact <= {form}]
    common = shared[0] if shared else ""
    auto = options.form == "auto" and common
    if auto and len(fits) > 1 and any(fit.law.form != common for fit in fits):
        message = (
            f"The families chose their forms ({', '.join(sorted({fit.law.form for fit in fits}))}): their exponents "
            f"are compared under '{common}', since another form has another exponent for the same points."
        )
        remarks = (Remark(code="common-form", severity="note", message=message),)
    laws = [fit.laws[common] if auto else fit.law for fit in fits]
    pairs = {
        f"{fits[i].points.family} against {fits[j].points.family}": (laws[i], laws[j])
        for i, j in combinations(range(len(fits)), 2)
        if "exponent" in laws[i].problem.form.exponents and laws[i].form == laws[j].form
    }
    if not pairs and len(fits) > 1:
        message = (
            f"Exponents of '{fits[0].law.form}' are not compared between families: a power law has one"
            f"{'; --optimal COMPUTE compares that of the best size' if fits[0].used_x.shape[1] == 2 else ''}."
        )
        remarks = (Remark(code="not-compared", severity="note", message=message),)
    return (compare_tasks(pairs, level=options.level) if pairs else MappingProxyType({})), remarks


def points_name(points: ScalingPoints) -> str:
    return f"family '{points.family}'" if points.family else f"'{points.y_name}' on {', '.join(points.x_names)}"
