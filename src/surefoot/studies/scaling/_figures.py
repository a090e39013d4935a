"""Figures of the study `scaling`."""

import json
import re
from collections.abc import Callable
from typing import Any

from surefoot.contrastive import Pretrain
from surefoot.core import Figure, Observation, Results, Step
from surefoot.figures import interval_plot
from surefoot.laws import LawRecord, ScalingFit, TableScaling, law_figure, law_residual_figure
from surefoot.studies.scaling._grid import Grid
from surefoot.studies.scaling._own import forecast_rows

OPENAI = "OpenAI"
PUBLISHED = "OpenCLIP, envelope of five bins"
ALL = "OpenCLIP, all points"
MATCHED = "OpenCLIP, matched to OpenAI"
LAION = ("LAION-80M", "LAION-400M", "LAION-2B")
COMPUTE = "Training compute (billions of multiply-accumulates)"
_FIRST = "ImageNet"


def task_curve(task: str) -> Callable[[Results], Figure]:
    """The figure of one task: the published envelope and OpenAI's line, each with its band."""

    def figure(results: Results) -> Figure:
        laws = {family.split(",")[0]: _law(results, task, family) for family in (PUBLISHED, OPENAI)}
        return law_figure(
            {family: law for family, law in laws.items() if law},
            name=f"scaling-{'-'.join(re.findall('[a-z0-9]+', task.lower()))}",
            title=f"Error against compute: {task}",
            caption="As published: OpenCLIP's law through the lowest points of five bins of compute, OpenAI's through "
            "three points. Shaded: the 95 percent band of a new run.",
            x_title=COMPUTE,
            y_title=f"Zero-shot error, {task}",
            family_title="Trained by",
            beyond=1.5,
        )

    return figure


def own_curve(grid: Grid, task: str) -> Callable[[Results], Figure]:
    """The figure of one task: our laws in the styles seen and in each unseen one, with the held-out largest models."""

    def figure(results: Results) -> Figure:
        laws: dict[str, LawRecord] = {}
        for law in grid.laws:
            if law.task == task and (record := _record(results, law)):
                laws[law.shift] = _with_held_out(results, grid, law, record)
        return law_figure(
            laws,
            name=f"own-{task}",
            title=f"Error against compute: our own models, {task}",
            caption="Hollow: the largest models, trained after the law had said where they would be. Shaded: the 95 "
            "percent band of a new run.",
            x_title=COMPUTE,
            y_title=f"Error, {task}",
            family_title="Tested in",
        )

    return figure


def _with_held_out(results: Results, grid: Grid, law: ScalingFit, record: LawRecord) -> LawRecord:
    compute = {one.step.key: one.value for one in results.select(Pretrain, metric="gmacs")}
    points = [
        {"label": f"{scores.model.model}, held out", "row": -1, "x": [compute[scores.model.key]], "y": 1 - one.value}
        for _, scores in grid.held_out
        if isinstance(scores.model, Pretrain) and results.store.has(scores)
        for one in results.store.measurements(scores)
        if (one.task, one.shift) == (law.task, law.shift)
    ]
    return {**record, "points": [*record["points"], *points]}


def forecasts(grid: Grid) -> Callable[[Results], Figure]:
    """What was said of the largest models before they were trained, and what they are."""

    def figure(results: Results) -> Figure:
        rows = []
        for forecast, _, said, seen in forecast_rows(results, grid):
            place = {"label": f"{said.task}, {said.shift}", "group": f"{forecast.model}, {forecast.samples:,} samples"}
            bounds = {"value": said.value, "low": said.low, "high": said.high, "family": "forecast"}
            error = {"value": 1 - seen.value, "low": 1 - (seen.high or 1), "high": 1 - (seen.low or 0)}
            rows += [place | bounds | {"n": said.n}, place | error | {"family": "measured", "n": seen.n}]
        return interval_plot(
            rows,
            name="forecasts",
            title="Forecasts of the largest models, and what came",
            caption="Error. Forecasts with the 95 percent interval of a new run, stored before the training; measured "
            "errors with Wilson's interval.",
            x_title="Error",
            reference=None,
            families=["forecast", "measured"],
        )

    return figure


def exponents(results: Results) -> Figure:
    """Every law's exponent with its interval, by task."""
    found = results.select(metric="exponent")
    return interval_plot(
        [_exponent_row(one) for one in found],
        name="exponents",
        title="How fast error falls, and how sure that is",
        caption="Exponents of error against compute with 95 percent intervals (Student's t): larger falls faster. The "
        "lowest points of bins, or of a front, are no independent runs, so their intervals are only indicative; three "
        "points leave one degree of freedom.",
        x_title="Exponent",
        unit="number",
        families=["OpenCLIP", OPENAI],
        family_title="Trained by",
    )


def sensitivity(results: Results) -> Figure:
    """How far the exponent of all points moves with bins, front rule, loss and dropped runs, on each task."""
    steps = [step for step in results.steps if isinstance(step, TableScaling) and step.family == ALL]
    rows = [
        {"label": _short(row["choice"]), "value": row["exponent"], "group": step.task, "n": row["n"]}
        for step in steps
        if not step.best_of
        for row in (_record(results, step) or {"sensitivity": ()})["sensitivity"]
    ]
    return interval_plot(
        rows,
        name="sensitivity",
        title="What the exponent owes to choices",
        caption="The OpenCLIP exponent under each choice of points, bins, loss and left-out run; no choice here is "
        "wrong, and a published law states one of them.",
        x_title="Exponent",
        unit="number",
        reference=None,
    )


def residuals(results: Results) -> Figure:
    """What the laws of ImageNet leave over."""
    laws = {family.split(",")[0]: _law(results, _FIRST, family) for family in (ALL, OPENAI)}
    return law_residual_figure(
        {family: law for family, law in laws.items() if law},
        title=f"What the laws leave over: {_FIRST}, all points",
        x_title=COMPUTE,
        family_title="Trained by",
    )


def _exponent_row(one: Observation) -> dict[str, Any]:
    found, own = one.measurement, isinstance(one.step, ScalingFit)
    label = f"{found.task}, {found.shift}" if isinstance(one.step, ScalingFit) else found.group
    family = "our own" if own else found.group.split(",")[0]
    place = {"label": label, "group": "our own models" if own else found.task, "family": family}
    return place | {"value": found.value, "low": found.low, "high": found.high, "n": found.n}


def _short(choice: str) -> str:
    """A choice as a label; of a dropped run only which of the two it is, not its long name."""
    name, bracket, which = choice.partition(" (")
    return f"one run less, {which.split()[0]} exponent" if bracket and name.startswith("without ") else choice


def _law(results: Results, task: str, family: str) -> LawRecord | None:
    for step in results.steps:
        if isinstance(step, TableScaling) and (step.task, step.family) == (task, family):
            return _record(results, step)
    return None


def _record(results: Results, step: Step) -> LawRecord | None:
    path = results.store.file(step, "law.json")
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None
