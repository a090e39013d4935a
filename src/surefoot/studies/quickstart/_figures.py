"""The figures of the quickstart."""

import json
from collections.abc import Iterable, Sequence
from statistics import fmean
from typing import Any

import numpy as np

from surefoot.contrastive import STYLES, Pretrain, ZeroShot, wrong_sheet
from surefoot.core import Figure, Results
from surefoot.figures import heat_table, interval_plot, robustness_scatter, scaling_curve
from surefoot.laws import AVERAGE, ScalingFit
from surefoot.stats import fit_lines, from_axis, mean_crossed, predict_lines, share_interval, t_quantile, to_axis
from surefoot.studies.quickstart._steps import (
    REFERENCE,
    SHIFTS,
    SOURCES,
    label,
    measured,
    models_of,
    robustness_by_thing,
    scores_by_thing,
    source_of,
    styles,
)

_LINE_POINTS = 40


def _measurements(results: Results) -> Iterable[tuple[Pretrain, Any]]:
    for item in results.select(ZeroShot, metric="top1"):
        step = item.step
        if isinstance(step, ZeroShot) and isinstance(step.model, Pretrain):
            yield step.model, item.measurement


def _scaling(results: Results) -> Figure:
    compute = {item.step: item.value for item in results.select(Pretrain, metric="gmacs")}
    points = [
        {
            "x": compute[model],
            "y": 1 - one.value,
            "low": 1 - one.high,
            "high": 1 - one.low,
            "family": source_of(model),
            "label": label(model),
            "n": one.n,
        }
        for model, one in _measurements(results)
        if one.shift == SOURCES[source_of(model)][0]
    ]
    laws = [step for step in results.steps if isinstance(step, ScalingFit)]
    curves = [row for law in laws for row in _curve(results, law)]
    return scaling_curve(
        points,
        curves,
        name="scaling",
        title="Error in distribution against training compute",
        caption="Top-1 error on held-out things in the style that was trained on (noto for the mix). Bars: 95 percent "
        "(Wilson). Curves: a power law a source, with the 95 percent band of a new run.",
        x_title="Training compute (billions of multiply-accumulates)",
        y_title="Zero-shot top-1 error",
        families=list(SOURCES),
        family_title="Training source",
    )


def _curve(results: Results, law: ScalingFit) -> list[dict[str, Any]]:
    path = results.store.file(law, "law.json")
    curve = json.loads(path.read_text(encoding="utf-8"))["curve"] if path.exists() else []
    return [point | {"family": source_of(law.x_runs[0])} for point in curve]


def _robustness(results: Results) -> Figure:
    points = [_point(results, model) for models in models_of(results).values() for model in models]
    return robustness_scatter(
        points,
        _line([point["x"] for point in points], [point["y"] for point in points]),
        name="robustness",
        title="Accuracy under shift against accuracy in the reference style",
        caption=f"Each point is a model. Across: top-1 in {REFERENCE}, a style never trained on. Up: mean over "
        f"{', '.join(SHIFTS)}. Both axes are logit. Line: all models, with its 95 percent band; the height of a model "
        "over it is its effective robustness.",
        x_title=f"Top-1 accuracy in {REFERENCE}",
        y_title="Top-1 accuracy in shifted styles",
        families=list(SOURCES),
        family_title="Training source",
    )


def _point(results: Results, model: Pretrain) -> dict[str, Any]:
    """A model; accuracy under shift is the mean over styles, its interval over things, which are in all of them."""
    found = {one.shift: one for of, one in _measurements(results) if of == model}
    scores = scores_by_thing(results, [measured(model, style) for style in SHIFTS])
    y = fmean(found[style].value for style in SHIFTS)
    by_thing = np.mean(list(scores.values()), axis=0)
    spread = share_interval(y, float(by_thing.std(ddof=1)) / len(by_thing) ** 0.5, len(by_thing))
    one = found[REFERENCE]
    bounds = {"x_low": one.low, "x_high": one.high, "y_low": spread.low, "y_high": spread.high}
    return {"x": one.value, "y": y, **bounds, "family": source_of(model), "label": label(model), "n": one.n}


def _line(x: Sequence[float], y: Sequence[float]) -> list[dict[str, Any]]:
    """The line of y on x, both fractions, on logit axes, over the range of x, with its 95 percent band."""
    place, target = to_axis(x), to_axis(y)
    lines = fit_lines(place, target)
    grid = np.linspace(place.min(), place.max(), _LINE_POINTS)
    middle, error = predict_lines(lines, grid)
    half = t_quantile(lines.level, len(place) - 2) * error[:, 0]
    columns = (grid, middle[:, 0], middle[:, 0] - half, middle[:, 0] + half)
    shares = [from_axis(column).tolist() for column in columns]
    return [dict(zip(("x", "y", "low", "high"), row, strict=True)) for row in zip(*shares, strict=True)]


def _effects(results: Results) -> Figure:
    rows = []
    for style in (AVERAGE, *SHIFTS):
        group = "mean of the shifts" if style == AVERAGE else style
        for source, table in robustness_by_thing(results, style).items():
            found = mean_crossed(table)
            bounds = {"value": found.estimate, "low": found.low, "high": found.high}
            rows.append({"label": source, "group": group, **bounds, "family": source, "n": len(table)})
    return interval_plot(
        rows,
        name="effective-robustness",
        title="Effective robustness by training source and style",
        caption="Mean over models of accuracy less what the line through all models gives at their accuracy in the "
        "reference style. Bars: 95 percent, over models and things; the line is taken as it is.",
        x_title="Effective robustness",
        families=list(SOURCES),
        family_title="Training source",
    )


def _cells(results: Results) -> Figure:
    best = _best_models(results)
    cells = [
        {"row": source, "column": one.shift, "value": one.value, "low": one.low, "high": one.high, "n": one.n}
        for source, model in best.items()
        for of, one in _measurements(results)
        if of.key == model.key
    ]
    return heat_table(
        cells,
        name="cells",
        title="Where each source works: the largest model of each, first seed",
        caption="Top-1 accuracy in percent on held-out things. Each row is a training source, each column a style; "
        "chance is 2.5 percent. A source is measured in its own, the reference and the shifted styles.",
        row_title="Trained on",
        column_title="Tested in",
        row_order=list(SOURCES),
        column_order=[style for style in styles() if any(cell["column"] == style for cell in cells)],
    )


def _best_models(results: Results) -> dict[str, Pretrain]:
    found: dict[str, tuple[float, Pretrain]] = {}
    for item in results.select(Pretrain, metric="gmacs"):
        model = item.step
        if isinstance(model, Pretrain) and item.value > found.get(source_of(model), (0.0, model))[0]:
            found[source_of(model)] = (item.value, model)
    return {source: found[source][1] for source in SOURCES if source in found}


def _wrong(results: Results) -> Figure:
    model = _best_models(results)["noto + fluent flat"]
    of_one = (
        item
        for item in results.select(ZeroShot, metric="top1")
        if isinstance(item.step, ZeroShot) and item.step.model.key == model.key
    )
    return wrong_sheet(results, {STYLES[item.measurement.shift].title: item for item in of_one})


FIGURES = (_scaling, _robustness, _effects, _cells, _wrong)
