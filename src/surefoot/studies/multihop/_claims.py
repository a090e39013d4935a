"""The findings of arXiv 2210.03350 as claims, on models that learnt a world here and on published transcripts."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from math import log10, sqrt
from statistics import fmean, stdev
from typing import Any

import numpy as np

from surefoot.core import Measurement, Results, SurefootError
from surefoot.stats import error_of_bounds
from surefoot.studies._hypotheses import Hypothesis, Pooled, read_once
from surefoot.studies.multihop._gaps import HELD_OUT, FactGaps
from surefoot.studies.multihop._model import FactModel
from surefoot.studies.multihop._published import BAMBOOGLE, CELEBRITIES, MODELS, NAMES, PAIRS, PublishedGaps

PAPER = "arXiv 2210.03350"
FALLS = -0.05
"""A gap that falls by five points or more a tenfold of parameters falls with size."""
WORDS = {"seen": "compositions seen", "pair": "pairs held out", "bridge": "bridges held out"}
FEWEST = 30
"""With fewer questions whose hops are known no verdict is built on a gap."""
Where = tuple[str, str, str]
"""Metric, part of the world, group."""
Within = Callable[[Results, Sequence[FactModel]], float]


@read_once
def _found(results: Results) -> Mapping[tuple[str, int, Where], Measurement]:
    found: dict[tuple[str, int, Where], Measurement] = {}
    for each in results.select(FactGaps):
        if isinstance(each.step, FactGaps):
            one = each.measurement
            found[each.step.model.key, int(one.task.split()[1]), (one.metric, one.shift, one.group)] = one
    return found


def value_of(results: Results, model: FactModel, step: int, where: Where) -> float | None:
    """What a model of the study has at a step; None where that is not measured, or undefined."""
    found = _found(results).get((model.key, step, where))
    return None if found is None else found.value


def size_of(model: FactModel) -> str:
    """The size of a model as it is shown."""
    return f"{model.layers} layers of {model.width}"


def parameters_of(results: Results, model: FactModel) -> float:
    """How many parameters a model has."""
    told = [one for one in results.select(FactModel, metric="parameters") if one.step.key == model.key]
    if not told:
        raise SurefootError(f"A model of {size_of(model)}, seed {model.seed}, is not trained yet.")
    return told[0].value


def own_claims(models: Sequence[FactModel]) -> Iterator[Hypothesis]:
    """What the paper says of sizes and of self-ask, asked of the study's own models: seeds are the sample."""

    def claim(
        name: str, sentence: str, within: Within, shown: str, *, part: str = "", bound: float = 0.0
    ) -> Hypothesis:
        effect, source = partial(_over_seeds, models, within, part), f"{PAPER}, sections 2 and 3"
        told: dict[str, Any] = {"sentence": sentence, "source": source, "shown": shown, "counted": "seeds"}
        return Hypothesis(name=f"own: {name}", effect=effect, bound=bound, **told)

    for part in HELD_OUT:
        yield claim(
            f"no fall with size, {part}",
            f"The gap of direct answers ({WORDS[part]}) does not fall by {-100 * FALLS:g} points a tenfold of size.",
            partial(_slope, partial(_last, ("gap", part, "direct"))),
            "slope of the gap, a tenfold of parameters",
            part=part,
            bound=FALLS,
        )
    yield claim(
        "faster with size",
        "With size answers of one hop improve faster than direct answers of two (pairs held out).",
        partial(_slope, lambda results, model: ahead(results, model, model.steps)),
        "slope of one hop less that of two, a tenfold of parameters",
    )
    yield claim(
        "earlier in training",
        "While a model trains, answers of one hop are ahead of direct answers of two (pairs held out).",
        lambda results, own: fmean(ahead(results, one, step) for one in own for step in one.asked_at),
        "accuracy of one hop less that of two, mean over steps and sizes",
    )
    for part in HELD_OUT:
        for size in dict.fromkeys(map(size_of, models)):
            yield claim(
                f"self-ask narrows, {part}, {size}",
                f"Self-ask narrows the gap of a model of {size} ({WORDS[part]}).",
                partial(_narrowed, part, size),
                "gap of direct answers less that of self-ask, same questions",
                part=part,
            )


def _over_seeds(models: Sequence[FactModel], within: Within, part: str, results: Results) -> tuple[Pooled, str]:
    """The mean over seeds of what is first taken within a seed, with Student's error; of a gap in a `part` of the world
    there is doubt where a model knows the hops of few questions."""
    seeds = dict.fromkeys(one.seed for one in models)
    values = [within(results, [one for one in models if one.seed == seed]) for seed in seeds]
    error = stdev(values) / sqrt(len(values)) if len(set(values)) > 1 else None
    said = "points by seed: " + ", ".join(f"{100 * one:+.1f}" for one in values)
    gaps = [_found(results).get((one.key, one.steps, ("gap", part, "direct"))) for one in models] if part else []
    few = sum(one is None or one.n < FEWEST for one in gaps)
    doubt = f"In {few} of {len(gaps)} models the hops of fewer than {FEWEST} questions are known." if few else ""
    freedom = len(values) - 1 if error else 0
    return Pooled(value=fmean(values), stderr=error, n=len(values), freedom=freedom, doubt=doubt), said


def _needed(results: Results, model: FactModel, step: int, where: Where) -> float:
    found = value_of(results, model, step, where)
    if found is None:
        of = f"{size_of(model)}, seed {model.seed}, step {step}"
        raise SurefootError(f"There is no {' / '.join(where)} of {of}: it was not asked, or knows no question's hops.")
    return found


def _last(where: Where, results: Results, model: FactModel) -> float:
    return _needed(results, model, model.steps, where)


def one_hop(results: Results, model: FactModel, step: int) -> float:
    """The mean accuracy of both hops of questions with pairs held out, asked alone."""
    return fmean(_needed(results, model, step, ("hop", "pair", hop)) for hop in ("first", "second"))


def ahead(results: Results, model: FactModel, step: int) -> float:
    """By how much one hop is ahead of two, asked directly."""
    return one_hop(results, model, step) - _needed(results, model, step, ("accuracy", "pair", "direct"))


def _slope(value: Callable[[Results, FactModel], float], results: Results, own: Sequence[FactModel]) -> float:
    """Least squares against the logarithm of the parameters: what a tenfold of them adds."""
    x = [log10(parameters_of(results, one)) for one in own]
    if len(set(x)) < 2:
        raise SurefootError("A slope over sizes needs two of them.")
    return float(np.polyfit(x, [value(results, one) for one in own], 1)[0])


def _narrowed(part: str, size: str, results: Results, own: Sequence[FactModel]) -> float:
    return _last(("narrowed", part, ""), results, next(one for one in own if size_of(one) == size))


def published_claims() -> Iterator[Hypothesis]:
    """What it says of direct answers, chain of thought and self-ask, on the transcripts of others."""
    for task in (BAMBOOGLE, CELEBRITIES):
        for model in MODELS:
            for names in PAIRS:
                first, second = (name.replace("_", " ") for name in names)
                yield Hypothesis(
                    name=f"published: {task}, {model}, {second}",
                    sentence=f"On {task} {second} leaves {model} a narrower gap than {first}.",
                    source=f"{PAPER}, section 3",
                    effect=partial(_published, task, model, names[1]),
                    as_measured=True,
                    counted="questions with known hops",
                    shown=f"gap of {first} less that of {second}",
                )


def _published(task: str, model: str, second: str, results: Results) -> tuple[Pooled, str]:
    """Tango's bounds, with the error that they stand for."""
    found = results.one(PublishedGaps, metric="narrowed", task=task, shift=model, group=second).measurement
    if found.low is None or found.high is None:
        raise SurefootError(f"The gaps of {model} on {task} have no interval.")
    error = error_of_bounds(found.low, found.high)
    told = {one.measurement.group: one for one in results.select(PublishedGaps, metric="gap", task=task, shift=model)}
    said = ", ".join(f"{name.replace('_', ' ')} {100 * told[name].value:.1f}" for name in NAMES)
    return Pooled(value=found.value, stderr=error, n=found.n, bounds=(found.low, found.high)), f"gaps, percent: {said}"
