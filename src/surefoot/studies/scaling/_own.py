"""What our own grid claims: laws in and out of distribution, forecasts that were stored first, amounts of data."""

from collections.abc import Callable, Iterator
from math import log

import numpy as np

from surefoot.core import Claim, Measurement, Results, SurefootError, Verdict, verdict_above
from surefoot.examples import EXAMPLES, read_examples
from surefoot.laws import ExponentDifference, ScalingFit
from surefoot.stats import Interval, clopper_pearson, mean_crossed, seen_with
from surefoot.studies.scaling._grid import AMOUNTS, SEEN, TASKS, Amount, Forecast, Grid, StyleScores

MARGIN = 0.02
Claimed = Callable[[str, str, Callable[[Results], Verdict], str], Claim]


def own_claims(grid: Grid, claim: Claimed) -> Iterator[Claim]:
    """The claims of a grid."""
    for task in TASKS:
        for where, shifts in (("the styles seen", (SEEN,)), ("unseen styles", grid.unseen)):
            sentence = f"Error falls as a power of compute: {task} in {where}, our own models."
            yield claim(f"power law: {task} in {where}", sentence, _falls(grid, task, shifts), "exponent")
    sentence = "Error falls faster in the styles that were trained on than in at least one unseen style."
    yield claim("shift changes the exponent", sentence, _shift(grid), "difference of exponents")
    sentence = "Of what laws of smaller models said of the largest before these were trained, 90 percent holds."
    yield claim("forecasts hold", sentence, _forecasts(grid), "share inside the interval")
    few = "At equal compute more pairs of the same styles lower the error."
    icons = "At equal compute pairs of other hands (icons), nine of ten, raise the error on the styles."
    if "few" in grid.amounts:
        yield claim("more pairs", few, _amounts(grid, "few"), "gain of accuracy")
    if "icons" in grid.amounts:
        yield claim("other pairs", icons, _amounts(grid, "icons"), "gain of accuracy")
    sentence = "A trunk at a constant rate with a cool-down is no worse than a cosine by more than two points."
    yield claim("cool-down", sentence, _cooled(grid), "difference of accuracy")


def _falls(grid: Grid, task: str, shifts: tuple[str, ...]) -> Callable[[Results], Verdict]:
    laws = {law.shift: law.key for law in grid.laws if law.task == task}

    def check(results: Results) -> Verdict:
        found = {one.step.key: one.measurement for one in results.select(ScalingFit, metric="exponent", task=task)}
        rows = {shift: one for shift in shifts if (one := found.get(laws[shift])) and one.low is not None}
        if len(rows) < len(shifts):
            raise SurefootError("Our own models are not all trained, or too few for an interval.")
        shift, weakest = min(rows.items(), key=lambda row: row[1].low or 0.0)
        low, high = weakest.low or 0.0, weakest.high or 0.0
        listed = "; ".join(f"{name} {one.value:.3f} [{one.low:.3f}, {one.high:.3f}]" for name, one in rows.items())
        seen = seen_with(Interval(weakest.value, low, high))
        detail = (
            f"Exponents: {listed}. The verdict is that of the weakest, {shift}, where {seen:.3f} would have been seen "
            "nine times of ten."
        )
        if low <= 0 < weakest.value:
            more = ((high - low) / 2 / weakest.value) ** 2
            detail += f" It would be decided with {more:.1f} times as many models of this spread."
        return verdict_above(weakest.value, low, high, weakest.n, detail=detail)

    return check


def _shift(grid: Grid) -> Callable[[Results], Verdict]:
    def check(results: Results) -> Verdict:
        key = grid.shift_of_exponents.key
        rows = results.select(ExponentDifference, metric="exponent_difference")
        found = [one.measurement for one in rows if one.step.key == key]
        if not found:
            raise SurefootError("The exponents of our own models were not compared.")
        bounded = [(one, one.low or 0.0, one.high or 0.0) for one in found]
        one, low, high = max(bounded, key=lambda row: row[0].value / (row[2] - row[1]))
        listed = ", ".join(f"{each.task} {each.value:+.3f}" for each in found)
        detail = f"{listed}. The verdict is that of the surest, {one.task}, at Bonferroni's level for {len(found)}."
        return verdict_above(one.value, low, high, one.n, detail=detail)

    return check


def forecast_rows(results: Results, grid: Grid) -> Iterator[tuple[Forecast, StyleScores, Measurement, Measurement]]:
    """Each forecast with what was measured after it, of one task and set."""
    for forecast, scores in grid.held_out:
        if not (results.store.has(forecast) and results.store.has(scores)):
            continue
        measured = {(one.task, one.shift): one for one in results.store.measurements(scores)}
        for said in results.store.measurements(forecast):
            if said.metric == "error":
                yield forecast, scores, said, measured[said.task, said.shift]


def _forecasts(grid: Grid) -> Callable[[Results], Verdict]:
    def check(results: Results) -> Verdict:
        if not (rows := list(forecast_rows(results, grid))):
            raise SurefootError("The largest models are not trained yet.")
        inside = [(said.low or 0.0) <= 1 - seen.value <= (said.high or 1.0) for _, _, said, seen in rows]
        off = [log((1 - seen.value) / said.value) for _, _, said, seen in rows]
        points = np.mean([100 * abs(1 - seen.value - said.value) for _, _, said, seen in rows])
        models = len({scores.key for _, scores, _, _ in rows})
        bounds = clopper_pearson(models * sum(inside) / len(inside), models)
        detail = (
            f"{sum(inside)} of {len(inside)} forecasts hold within their 95 percent interval; they are {points:.1f} "
            f"points off on average, and errors were {100 * (np.exp(np.mean(off)) - 1):+.0f} percent off them. "
            f"Forecasts of one model hang together: the interval is that of {models} forecasts, one a model."
        )
        return verdict_above(bounds.estimate, bounds.low, bounds.high, models, bound=0.9, detail=detail)

    return check


def _naming(results: Results, steps: list[StyleScores]) -> np.ndarray:
    """Whether each drawing of the styles seen was named rightly: (models, drawings)."""
    if any(not results.store.has(step) for step in steps):
        raise SurefootError("Our own models are not all trained yet.")
    found = read_examples({step.key: results.store.file(step, EXAMPLES) for step in steps})
    known = [place for place, name in enumerate(found.examples) if name.startswith(f"{SEEN}/")]
    return np.asarray(found.scores)[:, known]


def _gain(results: Results, first: list[StyleScores], second: list[StyleScores], what: str, bound: float) -> Verdict:
    scores = _naming(results, [*first, *second])
    gap = scores[: len(first)] - scores[len(first) :]
    mean = mean_crossed(gap)
    detail = f"{what}, naming in the styles seen, over {gap.shape[0]} pairs of models by {gap.shape[1]:,} drawings."
    return verdict_above(mean.estimate, mean.low, mean.high, len(gap), bound=bound, detail=detail, unit="points")


def _amounts(grid: Grid, other: Amount) -> Callable[[Results], Verdict]:
    most = max(samples for samples, _ in grid.cells)

    def check(results: Results) -> Verdict:
        of_all = [model for model in grid.models() if model.samples == most]
        first, second = (list(map(grid.scores, models)) for models in (of_all, grid.models(other)))
        told = f"Accuracy with {AMOUNTS['all']} less that with {AMOUNTS[other]}, {most:,} samples"
        return _gain(results, first, second, told, 0.0)

    return check


def _cooled(grid: Grid) -> Callable[[Results], Verdict]:
    def check(results: Results) -> Verdict:
        first, second = (list(one) for one in zip(*grid.schedules, strict=True))
        told = f"Cool-down less cosine at {', '.join(f'{one:,}' for one in grid.cooled[1])} samples"
        return _gain(results, first, second, told, -MARGIN)

    return check
