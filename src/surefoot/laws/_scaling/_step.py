"""Fits as Steps: laws over the Measurements of the Steps they hold."""

import json
import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from surefoot.core import Inputs, Measurement, Step, SurefootError, write_text
from surefoot.laws._results._table import plain_record
from surefoot.laws._scaling._fit import fit_scaling, law_sensitivity
from surefoot.laws._scaling._points import PointOptions
from surefoot.laws._scaling._types import FamilyLaw, LawOptions, Selection
from surefoot.laws._scaling._words import floor_gain
from surefoot.stats import error_per_decade

_OF_LAW = ("cost", "n", "degrees_of_freedom", "spread", "condition", "p_constant", "r2")


@dataclass(frozen=True, kw_only=True)
class ScalingFit(Step):
    """A scaling law over runs: each gives one point, x from `x` or its measurement `x_metric`, y from `metric`.

    `x_runs` are the Steps that measured `x_metric`, one for each run (a run measures accuracy, the training its
    compute); by default the runs themselves.

    `score`: the metric is a share that is better when larger; the law is of 1 - value. `task`, `shift` and `group`
    pick the measurement. `form`, `selection` and `huber` are those of `fit_scaling`; `huber` 0 is least squares.
    Gives `exponent`, `coefficient`, ... with 95 percent bounds, `p_constant`, `spread` and `held_out_error`, and the
    file `law.json` with points, residuals, band, held-out errors and sensitivity.
    """

    runs: tuple[Step, ...]
    metric: str
    x: tuple[float, ...] = ()
    x_metric: str = ""
    x_runs: tuple[Step, ...] = ()
    score: bool = True
    task: str = ""
    shift: str = ""
    group: str = ""
    form: str = "power"
    selection: Selection = "all"
    huber: float = 0.0

    version = 7  # errors of a fit with a small corner of Huber

    def make(self, out: Path, inputs: Inputs) -> Iterable[Measurement]:
        """Fit, write `law.json`, and return the parameters as Measurements."""
        x = self.x or tuple(_one(run, inputs, self.x_metric) for run in self.x_runs or self.runs)
        if len(x) != len(self.runs):
            raise SurefootError(f"ScalingFit holds {len(self.runs)} runs and {len(x)} values of x: give one for each.")
        y = [_one(run, inputs, self.metric, task=self.task, shift=self.shift, group=self.group) for run in self.runs]
        columns = {"x": np.array(x), "y": np.array(y), "run": [run.key for run in self.runs]}
        points = PointOptions(x=("x",), y="y", score=self.score, label="run", unit="fraction" if self.score else "none")
        options = LawOptions(form=self.form, selection=self.selection, huber=self.huber or None)
        laws = fit_scaling(columns, points, options)
        law = laws.fits[0]
        write_text(out / "law.json", json.dumps(law_record(law), indent=1, allow_nan=False) + "\n")
        return law_measurements(law, task=self.task, shift=self.shift, group=self.group)


def law_measurements(fit: FamilyLaw, *, task: str = "", shift: str = "", group: str = "") -> list[Measurement]:
    """Parameters of a law with bounds, its p against a constant, spread and held-out error, as Measurements."""
    where = {"n": fit.law.n, "task": task, "shift": shift, "group": group or fit.points.family}
    out = [
        Measurement(
            metric=name, value=found.estimate, low=finite_or_none(found.low), high=finite_or_none(found.high), **where
        )
        for name, found in fit.intervals.by_name.items()
    ]
    extra = {"p_constant": fit.law.p_constant, "spread": fit.law.spread}
    if fit.choice is not None:
        scores = {held.form: held.score for held in fit.choice.held_out}
        extra["held_out_error"] = scores.get(fit.law.form, math.nan)
    return out + [
        Measurement(metric=name, value=value, **where) for name, value in extra.items() if math.isfinite(value)
    ]


def law_record(fit: FamilyLaw) -> dict[str, Any]:
    """All of a fit as plain values, unrounded, for JSON: the checklist that a published law should come with."""
    law = fit.law
    record = {
        "verdict": fit.verdict,
        "form": law.form,
        "formula": law.problem.form.formula,
        "parameters": {
            name: {"value": found.estimate, "low": found.low, "high": found.high}
            for name, found in fit.intervals.by_name.items()
        },
        "interval_method": fit.intervals.method,
        "selection": fit.options.selection,
        "loss": "least squares on log y" if law.huber is None else f"Huber on log y, corner {law.huber:g}",
        **{name: getattr(law, name) for name in _OF_LAW},
        "points": [
            {"label": label, "row": int(row), "x": x.tolist(), "y": float(y)}
            for label, row, x, y in zip(fit.points.labels, fit.points.rows, fit.points.x, fit.points.y, strict=True)
        ],
        "used": np.asarray(fit.used).tolist(),
        "residuals": fit.residuals.tolist(),
        "curve": [
            {"x": x, "y": y, "low": low, "high": high}
            for x, y, low, high in np.column_stack([fit.curve_x, fit.curve_y, fit.curve_low, fit.curve_high]).tolist()
        ],
        "held_out": [] if fit.choice is None else [_held_record(held) for held in fit.choice.held_out],
        "weights": {} if fit.choice is None else dict(fit.choice.weights),
        "curve_p": law.checks.curve_p,
        "noise_p": law.checks.noise_p,
        "held_out_without_and_with_floor": floor_gain(fit),
        "sensitivity": [vars(row) for row in law_sensitivity(fit)],
    }
    return plain_record(record)


def _held_record(held: Any) -> dict[str, Any]:
    return {
        "form": held.form,
        "score": held.score,
        "error_per_decade": dict(error_per_decade(held)),
        **{name: getattr(held, name).tolist() for name in ("fitted", "row", "decades", "log_error")},
    }


def finite_or_none(value: float) -> float | None:
    """A number that JSON and a Measurement can hold, or None."""
    return float(value) if math.isfinite(value) else None


def _one(run: Step, inputs: Inputs, metric: str, **labels: str) -> float:
    found = [
        one.value
        for one in inputs.measurements(run)
        if one.metric == metric and all(getattr(one, name) == label for name, label in labels.items() if label)
    ]
    if len(found) != 1:
        what = ", ".join([f"metric '{metric}'", *(f"{name} '{label}'" for name, label in labels.items() if label)])
        raise SurefootError(
            f"{run.key} has {len(found)} measurements of {what}; a law needs exactly one: name task, shift or group."
        )
    return found[0]
