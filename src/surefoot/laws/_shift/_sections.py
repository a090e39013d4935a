"""A fit of robustness as tables and as Measurements."""

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from surefoot.core import Measurement, Table
from surefoot.laws._results._table import plain_cell
from surefoot.laws._shift._fit import RobustnessFit

Numbers = Sequence[float]
SECTIONS = ("lines", "groups", "models", "families", "sensitivity", "relative", "remarks", "left_out")


def shift_table(fit: RobustnessFit, section: str) -> Table:
    """One section of the fit as a table; what is not known is None, robustness is in percentage points.

    `lines`: one row a shift; `groups`: a row a group and shift; `models`: a row a model and shift; `families`: lines
    and tests; `sensitivity`: the other axes and left-out families; `relative`: what models add to those they were made
    from; `remarks`; `left_out`: what is no shift unasked, and why.
    """
    columns, rows = _WRITERS[section]
    return Table(columns, tuple(tuple(map(plain_cell, row)) for row in rows(fit)))


def shift_measurements(fit: RobustnessFit) -> Iterator[Measurement]:
    """The fit as Measurements, `task` its x axis: slope, intercept, r2 and kink_p of each line; of each group its
    mean_effective_robustness (points) and the extrapolated_share of its models; effective_robustness of each model
    (points, `group` is its name). What could not be computed is left out.
    """
    for column, shift in enumerate(fit.data.shifts):
        place = {"task": _axis_name(fit, column), "shift": shift}
        n = int(fit.lines.n[column])
        for metric, *numbers in _line_numbers(fit, column):
            yield from _measured(metric, numbers, n=n, **place)
        for row, group in enumerate(fit.groups.groups):
            size = int(fit.groups.n[row, column])
            bounds = (fit.groups.points[row, column], fit.groups.low[row, column], fit.groups.high[row, column])
            yield from _measured("mean_effective_robustness", bounds, n=size, group=group, **place)
            share = fit.groups.n_outside[row, column] / size if size else math.nan
            yield from _measured("extrapolated_share", (share, math.nan, math.nan), n=size, group=group, **place)
        for row, model in enumerate(fit.data.models):
            seen = fit.effective
            bounds = (seen.points[row, column], seen.low[row, column], seen.high[row, column])
            size = fit.data.y_n[row, column]
            count = int(size) if math.isfinite(size) else 1
            yield from _measured("effective_robustness", bounds, n=count, group=model, **place)


def _line_numbers(fit: RobustnessFit, column: int) -> Iterator[tuple[str, float, float, float]]:
    lines, bend = fit.lines, fit.linearity[column]
    for term in range(lines.coefficients.shape[1]):
        metric = "intercept" if term == 0 else "slope" if term == 1 else f"slope_{term}"
        yield metric, lines.coefficients[column, term], lines.low[column, term], lines.high[column, term]
    yield "r2", lines.r2[column], lines.r2_low[column], lines.r2_high[column]
    yield "kink_p", bend.kink_p if bend else math.nan, math.nan, math.nan


def _measured(
    metric: str, numbers: Numbers, *, n: int, task: str, shift: str, group: str = ""
) -> Iterator[Measurement]:
    value, low, high = map(float, numbers)
    if math.isfinite(value):
        known = math.isfinite(low) and math.isfinite(high)
        bounds = (low, high) if known else (None, None)
        yield Measurement(
            metric=metric, value=value, n=n, low=bounds[0], high=bounds[1], task=task, shift=shift, group=group
        )


def _axis_name(fit: RobustnessFit, column: int) -> str:
    return " + ".join(fit.data.x_names[column])


def _line_rows(fit: RobustnessFit) -> Iterator[Iterable[Any]]:
    lines = fit.lines
    for s, shift in enumerate(fit.data.shifts):
        bend = fit.linearity[s]
        terms = [(part[s, 0], part[s, 1:].tolist()) for part in (lines.coefficients, lines.low, lines.high)]
        method = "bootstrap" if lines.bootstrapped[s] else "t"
        curved = (bend.kink_p, bend.curve.p) if bend else (None, None)
        several = [f"{name} (of {_axis_name(fit, s)})" for name in fit.data.x_names[s]]
        axes = several if len(several) > 1 else list(fit.data.x_names[s])
        axes += [] if fit.pivot is None else [f"{axes[0]}: what the slope changes by beyond {fit.pivot:g}"]
        for place, axis in enumerate(axes):
            numbers = *(slopes[place] for _, slopes in terms), *(intercept for intercept, _ in terms)
            yield shift, axis, lines.n[s], *numbers, method, lines.r2[s], *curved


def _group_rows(fit: RobustnessFit) -> Iterator[Iterable[Any]]:
    groups = fit.groups
    for s, shift in enumerate(fit.data.shifts):
        for g, group in enumerate(groups.groups):
            bounds = groups.points[g, s], groups.low[g, s], groups.high[g, s]
            yield group, shift, groups.n[g, s], groups.n[g, s] - groups.n_outside[g, s], *bounds


def _model_rows(fit: RobustnessFit) -> Iterator[Iterable[Any]]:
    data, seen = fit.data, fit.effective
    for m, model in enumerate(data.models):
        for s, shift in enumerate(data.shifts):
            bounds = seen.points[m, s], seen.low[m, s], seen.high[m, s]
            marks = bool(data.baseline[m, s]), bool(seen.outside[m, s]), bool(seen.unusual[m, s])
            yield model, data.groups[m], shift, data.x[m, s, 0], data.y[m, s], seen.expected[m, s], *bounds, *marks


def _family_rows(fit: RobustnessFit) -> Iterator[Iterable[Any]]:
    for shift, result in zip(fit.data.shifts, fit.families or (), strict=bool(fit.families)):
        for line in result.lines:
            slope, intercept = line.slope, line.intercept
            bounds = slope.estimate, slope.low, slope.high, intercept.estimate, intercept.low, intercept.high
            yield shift, line.family, line.n, *bounds, None, None, None
        tests = result.slopes.p, result.intercepts.p, result.both.p
        yield shift, "(all)", sum(line.n for line in result.lines), *(None,) * 6, *tests


def _sensitivity_rows(fit: RobustnessFit) -> Iterator[Iterable[Any]]:
    for s, shift in enumerate(fit.data.shifts):
        for g, group in enumerate(fit.groups.groups):
            chosen = fit.lines.coefficients[s, 1], fit.lines.r2[s], fit.groups.points[g, s]
            yield shift, group, "as fitted", fit.axis, *chosen
            for variant in fit.variants:
                changed = variant.slope[s], variant.r2[s], variant.points[g, s]
                yield shift, group, variant.kind, variant.name, *changed


def _relative_rows(fit: RobustnessFit) -> Iterator[Iterable[Any]]:
    known = fit.relative
    for row, (child, parent) in enumerate(zip(known.children, known.parents, strict=True)):
        for s, shift in enumerate(fit.data.shifts):
            yield child, parent, shift, known.points[row, s], known.low[row, s], known.high[row, s]


def _finding_rows(fit: RobustnessFit) -> Iterator[Iterable[Any]]:
    for remark in fit.remarks:
        yield remark.severity, remark.code, remark.message


def _left_out_rows(fit: RobustnessFit) -> Iterator[Iterable[Any]]:
    yield from fit.data.left_out.items()


_BOUNDS = ("points", "low", "high")
_LINE = ("slope", "slope_low", "slope_high", "intercept", "intercept_low", "intercept_high")
_WRITERS = {
    "lines": (("shift", "x", "baseline", *_LINE, "interval", "r2", "kink_p", "curve_p"), _line_rows),
    "groups": (("group", "shift", "models", "in_range", *_BOUNDS), _group_rows),
    "models": (
        ("model", "group", "shift", "x", "y", "expected", *_BOUNDS, "baseline", "extrapolated", "unusual"),
        _model_rows,
    ),
    "families": (("shift", "family", "models", *_LINE, "slopes_p", "intercepts_p", "one_line_p"), _family_rows),
    "sensitivity": (("shift", "group", "changed", "to", "slope", "r2", "points"), _sensitivity_rows),
    "relative": (("model", "made_from", "shift", *_BOUNDS), _relative_rows),
    "remarks": (("severity", "code", "message"), _finding_rows),
    "left_out": (("column", "reason"), _left_out_rows),
}
