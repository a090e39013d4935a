"""Which form to believe: rolling hold-out, the choice of a form by it, the average of forms, and sensitivity."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from types import MappingProxyType

import numpy as np
from numpy.typing import ArrayLike, NDArray

from surefoot.core import SurefootError
from surefoot.stats._intervals import t_quantile
from surefoot.stats._laws._engine import log_curve, pose, solve
from surefoot.stats._laws._forms import FORMS, Form, form_of
from surefoot.stats._laws._frontier import binned_envelope, pareto_front
from surefoot.stats._laws._law import Law, fit_law, predict

Floats = NDArray[np.float64]

ONE_VARIABLE_FORMS = tuple(name for name, form in FORMS.items() if form.variables == ("x",) and not form.either_sign)
DECADES = (0.0, 0.25, 0.5, 1.0, 2.0, np.inf)
_RATIOS = (6.0, 4.0, 3.0, 2.0, 1.5, 1.25)
_MARGIN = 1.25


@dataclass(frozen=True, kw_only=True)
class HeldOut:
    """What a form predicted of points beyond those it was fitted on; arrays are (m,), one entry a prediction.

    `fitted` is the number of points of the fit, `row` the index of the point predicted, `decades` its distance
    in log10(x) beyond the last fitted point, `log_error` log of predicted less log of observed. `score` is the
    geometric mean over cut-offs of the root mean square of `log_error`.
    """

    form: str
    fitted: NDArray[np.intp]
    row: NDArray[np.intp]
    decades: Floats
    log_error: Floats
    score: float


@dataclass(frozen=True, kw_only=True)
class Choice:
    """The form chosen by held-out error, the weights (summing to 1) of an average of forms, and the evidence."""

    form: str
    weights: Mapping[str, float]
    held_out: tuple[HeldOut, ...]
    reason: str


def rolling_hold_out(
    x: ArrayLike,
    y: ArrayLike,
    forms: Sequence[str | Form] = ONE_VARIABLE_FORMS,
    *,
    order: ArrayLike | None = None,
    cuts: Sequence[int] | None = None,
    huber: float | None = None,
) -> tuple[HeldOut, ...]:
    """Fit each form to the k points of smallest `order` and predict the rest, for several k.

    `order` (n,) defaults to x (to its first column). `cuts` are the k; by default the points below 1/6, 1/4, 1/3,
    1/2, 1/1.5 and 1/1.25 of the largest where that leaves six, else every k from two thirds of the points. A form
    with more parameters than the smallest k is left out. Raises SurefootError when no form can be tried.
    """
    inputs, target = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    inputs = inputs.reshape(len(target), -1)
    along = inputs[:, 0] if order is None else np.asarray(order, dtype=np.float64)
    rank = np.argsort(along, kind="stable")
    different = np.cumsum(np.append(True, np.diff(along[rank]) > 0))
    sizes = default_cuts(along[rank]) if cuts is None else tuple(cuts)
    # A form is tried where even the fewest points lie at as many different x as it has parameters.
    sizes = tuple(k for k in sizes if different[k - 1] > 1)
    fewest = int(different[min(sizes) - 1]) if sizes else 0
    if not (tried := [one for one in map(form_of, forms) if len(one.parameters) <= fewest]):
        raise SurefootError(
            f"{len(target)} points are too few to hold any out: a rolling hold-out needs at least 4 different x."
        )
    sorted_x, sorted_y, sorted_along = inputs[rank], target[rank], along[rank]
    return tuple(
        _held_out(one, sorted_x, sorted_y, along=sorted_along, cuts=sizes, rank=rank, huber=huber) for one in tried
    )


def _held_out(
    form: Form, x: Floats, y: Floats, *, along: Floats, cuts: Sequence[int], rank: NDArray[np.intp], huber: float | None
) -> HeldOut:
    problem = pose(form, x, y)
    place = np.arange(len(y))
    weights = (place[None, :] < np.array(cuts)[:, None]).astype(np.float64)
    found = solve(problem, weights=weights, huber=huber, keep=6, tolerance=1e-9)
    errors = log_curve(problem, found.params) - problem.log_y
    index, row = np.nonzero(weights == 0)
    last = along[np.array(cuts) - 1]
    each = [max(float(np.sqrt(np.mean(errors[i, k:] ** 2))), 1e-12) for i, k in enumerate(cuts)]
    return HeldOut(
        form=form.name,
        fitted=np.array(cuts, dtype=np.intp)[index],
        row=rank[row],
        decades=np.log10(along[row] / last[index]),
        log_error=errors[index, row],
        score=float(np.exp(np.mean(np.log(each)))),
    )


def default_cuts(along: Floats) -> tuple[int, ...]:
    """Numbers of points to fit, for a sorted axis; points of equal x are never parted."""
    n = len(along)
    wanted = np.searchsorted(along, along[-1] / np.array(_RATIOS), side="right")
    cuts = sorted({int(k) for k in wanted if 6 <= k < n})
    if len(cuts) > 1:
        return tuple(cuts)
    ends = np.flatnonzero(np.append(along[1:] > along[:-1], True)) + 1
    return tuple(int(k) for k in ends if max(3, -(-2 * n // 3)) <= k < n)


def error_per_decade(held: HeldOut) -> Mapping[str, float]:
    """Root mean square log error by how many decades beyond the fitted points the prediction lies."""
    out = {}
    for low, high in pairwise(DECADES):
        inside = (held.decades > low) & (held.decades <= high)
        if inside.any():
            label = f"{low:g} to {high:g}" if np.isfinite(high) else f"above {low:g}"
            out[label] = float(np.sqrt(np.mean(held.log_error[inside] ** 2)))
    return MappingProxyType(out)


def choose_form(held: Sequence[HeldOut]) -> Choice:
    """The simplest form whose held-out score is within a quarter of the best, and weights 1 / score squared.

    So a floor, a shift or a break is kept only if the held-out error asks for it.
    """
    ordered = sorted(
        (one for one in held if np.isfinite(one.score)), key=lambda one: (_parameters(one.form), one.score)
    )
    if not ordered:
        raise SurefootError("No form could be fitted on the points that a hold-out leaves.")
    best = min(one.score for one in ordered)
    chosen = next(one for one in ordered if one.score <= _MARGIN * best)
    mass = {one.form: (best / one.score) ** 2 for one in ordered}
    total = sum(mass.values())
    others = ", ".join(f"{one.form} {one.score:.3g}" for one in ordered if one is not chosen)
    reason = f"held-out error in log units: {chosen.form} {chosen.score:.3g}" + (f"; {others}" if others else "")
    weights = MappingProxyType({name: value / total for name, value in mass.items()})
    return Choice(form=chosen.form, weights=weights, held_out=tuple(ordered), reason=reason)


def predict_average(laws: Mapping[str, Law], weights: Mapping[str, float], x: ArrayLike) -> Floats:
    """Weighted geometric mean (m,) of the predictions of several laws at `x`."""
    logs = [weights[name] * np.log(predict(law, x)) for name, law in laws.items()]
    return np.exp(np.sum(logs, axis=0) / sum(weights[name] for name in laws))


def held_out_half_width(choice: Choice, decades: ArrayLike, *, level: float = 0.95) -> Floats:
    """Half width (m,), in log y, of an interval for the average of forms, by how far it was off when held out.

    The squared error is taken to grow in proportion to the decades of extrapolation; the t quantile has one degree
    of freedom less than there were cut-offs. It sees what a residual cannot: a form that bends the wrong way.
    """
    first = choice.held_out[0]
    error = np.sum([choice.weights[held.form] * held.log_error for held in choice.held_out], axis=0)
    cuts, place, count = np.unique(first.fitted, return_inverse=True, return_counts=True)
    mass = 1 / count[place.ravel()]
    per_decade = float((mass * error**2).sum() / (mass * first.decades).sum())
    beyond = np.maximum(np.asarray(decades, dtype=np.float64), 0.0)
    return t_quantile(level, max(len(cuts) - 1, 1)) * np.sqrt(per_decade * beyond)


@dataclass(frozen=True, kw_only=True)
class SensitivityRow:
    """The exponent of a power law under one arbitrary choice, and how far that is from the reference."""

    choice: str
    exponent: float
    change: float
    n: int


def sensitivity(x: ArrayLike, y: ArrayLike, *, labels: Sequence[str] | None = None) -> tuple[SensitivityRow, ...]:
    """How far the exponent of a power law moves with the front rule, bins, eps, loss, floor and dropped points.

    The reference is the fit on all points by least squares. `labels` name the points for the dropped-run rows.
    """
    cost, error = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    reference = _exponent(cost, error)
    cases: list[tuple[str, Floats, Floats, str, float | None]] = [
        ("all points, least squares", cost, error, "power", None),
        ("all points, Huber 0.01", cost, error, "power", 0.01),
        ("all points, with a floor", cost, error, "power+floor", None),
    ]
    front = pareto_front(cost, error)
    cases.append(("Pareto front", cost[front], error[front], "power", None))
    for bins, eps in [(bins, 0.1) for bins in range(3, 9)] + [(5, 1e-6), (5, 0.3)]:
        ex, ey, _ = binned_envelope(cost, error, bins=bins, eps=eps)
        cases.append((f"lower envelope, {bins} bins, eps {eps:g}", ex, ey, "power", None))
    rows = [
        _row(name, _exponent(a, b, form, huber), reference, len(a))
        for name, a, b, form, huber in cases
        if len(np.unique(a)) >= max(_parameters(form), 2) and len(a) > _parameters(form)
    ]
    return tuple(rows) + _dropped(cost, error, reference, labels)


def _dropped(x: Floats, y: Floats, reference: float, labels: Sequence[str] | None) -> tuple[SensitivityRow, ...]:
    if len(x) < 4:
        return ()
    z, gap = np.log(x) - np.log(x).mean(), np.log(y) - np.log(y).mean()
    # Without a point both sums change by what it adds to them about the mean of the others.
    share = len(x) / (len(x) - 1)
    spread = z @ z - share * z**2
    slope = np.where(spread > 1e-9 * (z @ z), (z @ gap - share * z * gap) / np.maximum(spread, 1e-300), np.nan)
    if np.isnan(slope).all():
        return ()
    names = [f"point {i + 1}" for i in range(len(x))] if labels is None else labels
    ends = {int(np.nanargmax(slope)): "smallest", int(np.nanargmin(slope)): "largest"}
    return tuple(
        _row(f"without {names[i]} ({word} exponent of any one dropped)", float(-slope[i]), reference, len(x) - 1)
        for i, word in ends.items()
    )


def _row(choice: str, exponent: float, reference: float, n: int) -> SensitivityRow:
    return SensitivityRow(choice=choice, exponent=exponent, change=exponent - reference, n=n)


def _exponent(x: Floats, y: Floats, form: str = "power", huber: float | None = None) -> float:
    return fit_law(x, y, form, huber=huber).parameters["exponent"]


def _parameters(name: str) -> int:
    return len(FORMS[name].parameters)
