"""Figures of fits: laws with bands and residuals, robustness lines, and effects with their intervals."""

from collections.abc import Iterator, Mapping, Sequence
from math import exp, isfinite
from typing import Any

import numpy as np

from surefoot.core import Figure, SurefootError, Unit, counted
from surefoot.figures import interval_plot, residual_plot, robustness_scatter, scaling_curve
from surefoot.laws._shift._data import AVERAGE
from surefoot.laws._shift._fit import RobustnessFit
from surefoot.stats import from_axis, hinge, predict_lines, share_bounds, t_quantile, to_axis

LawRecord = Mapping[str, Any]
"""What `law_record` makes of a fit, and what `law.json` holds."""

_LINE_POINTS = 40
_MOST_EFFECTS = 60


def law_figure(
    laws: Mapping[str, LawRecord],
    *,
    name: str = "law",
    title: str,
    x_title: str,
    y_title: str,
    caption: str = "",
    unit: Unit = "share",
    family_title: str | None = None,
    beyond: float = 10.0,
) -> Figure:
    """Points and laws of each family on logarithmic axes, with the 95 percent band of a new run.

    `laws` are records by family (see `law_record`), each of one x. Points that the law was not fitted on are hollow.
    The curves end at `beyond` times the largest x of their family (at most 10).
    """
    points = [row for family, law in laws.items() for row in _law_points(family, law)]
    curves = [row | {"family": family} for family, law in laws.items() for row in _curve(law, beyond)]
    hollow = " Hollow: not used by the fit." if any(row.get("held_out") for row in points) else ""
    told = "; ".join(_told(family, law) for family, law in laws.items())
    return scaling_curve(
        points,
        curves,
        name=name,
        title=title,
        caption=f"{caption or 'Curves with the 95 percent band of a new run.'} {told}.{hollow}",
        x_title=x_title,
        y_title=y_title,
        unit=unit,
        families=list(laws),
        family_title=family_title,
    )


def law_residual_figure(
    laws: Mapping[str, LawRecord], *, name: str = "residuals", title: str, x_title: str, family_title: str | None = None
) -> Figure:
    """What laws leave over, relative to the law: filled where fitted, hollow where the point was held out.

    A held-out point is shown once, as the fit on the most points before it predicted it.
    """
    rows = [row for family, law in laws.items() for row in _residuals(family, law)]
    hollow = (
        " Hollow: the error at points beyond a fit on smaller ones." if any("held_out" in row for row in rows) else ""
    )
    return residual_plot(
        rows,
        name=name,
        title=title,
        caption=f"Observed over fitted, less one.{hollow}",
        x_title=x_title,
        y_title="Relative residual",
        families=list(laws),
        family_title=family_title,
    )


def robustness_figure(fit: RobustnessFit, shift: str | None = None) -> Figure:
    """Models under a shift (by default the first column: the average) with the baseline's line and its band.

    Labels are in percent on the axes of the fit. Raises `SurefootError` for an unknown shift, and where accuracy in
    distribution is on several axes, which no scatter can show.
    """
    data = fit.data
    if data.x.shape[2] > 1:
        raise SurefootError("A fit with several in-distribution axes has no scatter: name a single x.")
    if shift is not None and shift not in data.shifts:
        raise SurefootError(f"There is no shift '{shift}'. Known: {', '.join(data.shifts)}.")
    column, level = data.shifts.index(shift) if shift else 0, _level(fit)
    under = "the averaged shifts" if data.shifts[column] == AVERAGE else data.shifts[column]
    points = list(_model_points(fit, column))
    low, high = (float(bound([row["x"] for row in points])) for bound in (min, max))
    r2 = float(fit.lines.r2[column])
    inside = (
        f"{counted(int(fit.lines.n[column]), 'baseline model')}, R2 {f'= {r2:.3f}' if isfinite(r2) else 'not defined'}"
    )
    return robustness_scatter(
        points,
        _line_rows(fit, column, low, high) if isfinite(fit.lines.coefficients[column, 1]) else [],
        name="robustness",
        title=f"Accuracy under {under} against accuracy on {data.x_names[column][0]}",
        caption=f"Each point is a model, with {level} intervals where n is known. Line: {inside}, with its "
        f"{level} band, on {fit.axis} axes; the height of a model over it is its effective robustness.",
        x_title=f"Accuracy on {data.x_names[column][0]}",
        y_title=f"Accuracy under {under}",
        axis=fit.axis,
        families=list(dict.fromkeys(data.groups)),
        family_title="Group",
    )


def effect_figure(fit: RobustnessFit) -> Figure:
    """Mean effective robustness of each group under each shift, with intervals.

    With more than 60 of them the average alone is shown, and of more than 60 groups those furthest from the line.
    """
    rows = list(_effects(fit, range(len(fit.data.shifts))))
    left_out = ""
    if len(rows) > _MOST_EFFECTS:
        rows = sorted(_effects(fit, range(1)), key=lambda row: -abs(row["value"]))
        left_out = f" Shown: {fit.data.shifts[0]} only" + (
            f", the {_MOST_EFFECTS} of {len(rows)} groups furthest from the line." if len(rows) > _MOST_EFFECTS else "."
        )
    return interval_plot(
        rows[:_MOST_EFFECTS],
        name="effects",
        title="Effective robustness by group",
        caption="Mean over models of accuracy less what the baseline's line gives at their accuracy in distribution. "
        f"Bars: {_level(fit)}, bootstrap over models and line.{left_out}",
        x_title="Effective robustness",
        families=list(dict.fromkeys(fit.data.groups)),
        family_title="Group",
    )


def _level(fit: RobustnessFit) -> str:
    return f"{100 * fit.lines.level:g} percent"


def _law_points(family: str, law: LawRecord) -> Iterator[dict[str, Any]]:
    used = set(law["used"])
    for place, point in enumerate(law["points"]):
        if len(point["x"]) > 1:
            raise SurefootError("A law of several variables has no curve: name a single x for a figure.")
        row = {"x": point["x"][0], "y": point["y"], "label": point["label"], "family": family}
        yield row if place in used else row | {"held_out": True}


def _curve(law: LawRecord, beyond: float) -> list[dict[str, Any]]:
    last = beyond * max(point["x"][0] for point in law["points"])
    return [row for row in law["curve"] if row["x"] <= last * (1 + 1e-9)]


def _told(family: str, law: LawRecord) -> str:
    name = "exponent" if "exponent" in law["parameters"] else next(iter(law["parameters"]))
    found = law["parameters"][name]
    bounds = "" if found["low"] is None or found["high"] is None else f" [{found['low']:.3g}, {found['high']:.3g}]"
    return f"{f'{family}: ' if family else ''}{name} {found['value']:.3g}{bounds}, n = {law['n']}"


def _residuals(family: str, law: LawRecord) -> Iterator[dict[str, Any]]:
    points = [law["points"][place] for place in law["used"]]
    for point, left in zip(points, law["residuals"], strict=True):
        yield {"x": point["x"][0], "y": exp(left) - 1, "label": point["label"], "family": family}
    held = next((one for one in law["held_out"] if one["form"] == law["form"]), None)
    nearest: dict[int, tuple[int, float]] = {}
    for fitted, row, error in zip(held["fitted"], held["row"], held["log_error"], strict=True) if held else ():
        nearest[row] = max(nearest.get(row, (0, 0.0)), (fitted, error))
    for row, (fitted, error) in nearest.items():
        point = points[row]
        label = f"{point['label']} (fitted on {fitted} points)"
        yield {"x": point["x"][0], "y": exp(-error) - 1, "label": label, "family": family, "held_out": True}


def _model_points(fit: RobustnessFit, column: int) -> Iterator[dict[str, Any]]:
    data = fit.data
    for row, model in enumerate(data.models):
        x, y = data.x[row, column, 0], data.y[row, column]
        if isfinite(x) and isfinite(y):
            bounds = {
                f"{name}_{side}": float(bound)
                for name, value, error in (
                    ("x", x, data.x_stderr[row, column, 0]),
                    ("y", y, data.y_stderr[row, column]),
                )
                if isfinite(error)
                for side, bound in zip(("low", "high"), share_bounds(value, error, fit.lines.level), strict=True)
            }
            yield {"x": x, "y": y, **bounds, "family": data.groups[row], "label": model}


def _line_rows(fit: RobustnessFit, column: int, low: float, high: float) -> list[dict[str, float]]:
    ends = to_axis(np.clip([low, high], 1e-4, 1 - 1e-4), fit.axis)
    grid = np.linspace(ends[0], ends[1], _LINE_POINTS)
    bend = None if fit.pivot is None else float(to_axis(fit.pivot, fit.axis))
    middle, error = predict_lines(fit.lines, grid if bend is None else hinge(grid, bend)[:, None, :])
    # A band for the line itself: Student's t, with the degrees of freedom of its covariance.
    half = t_quantile(fit.lines.level, float(fit.lines.freedom[column])) * error[:, column]
    columns = (grid, middle[:, column], middle[:, column] - half, middle[:, column] + half)
    shares = [np.clip(from_axis(one, fit.axis), 0, 1).tolist() for one in columns]
    return [dict(zip(("x", "y", "low", "high"), row, strict=True)) for row in zip(*shares, strict=True)]


def _effects(fit: RobustnessFit, columns: Sequence[int]) -> Iterator[dict[str, Any]]:
    groups = fit.groups
    for column in columns:
        for row, group in enumerate(groups.groups):
            if isfinite(groups.points[row, column]):
                bounds = {"low": groups.low[row, column] / 100, "high": groups.high[row, column] / 100}
                effect = {"label": group, "group": fit.data.shifts[column], "family": group}
                size = int(groups.n[row, column])
                yield effect | bounds | {"value": groups.points[row, column] / 100, "n": size}
