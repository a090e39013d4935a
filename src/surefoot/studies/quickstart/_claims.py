"""What the quickstart claims, with intervals over runs and over things: all runs are tested on the same things."""

from collections.abc import Mapping
from itertools import combinations

import numpy as np

from surefoot.contrastive import Pretrain
from surefoot.core import Claim, Measurement, Results, SurefootError, Unit, Verdict, verdict_above
from surefoot.laws import ScalingFit
from surefoot.stats import Interval, mean_crossed, mean_t, runs_to_see, seen_with
from surefoot.studies.quickstart._steps import (
    SOURCES,
    UNSEEN,
    Floats,
    measured,
    models_of,
    robustness_by_thing,
    scores_by_thing,
    source_of,
)

LEVEL = 0.95


def _error_falls(results: Results) -> Verdict:
    fits = {item.step: item.measurement for item in results.select(ScalingFit, metric="exponent")}
    bounded = {law: one for law, one in fits.items() if isinstance(law, ScalingFit) and one.low is not None}
    if len(bounded) < len(SOURCES):
        raise SurefootError("Not every source has a law with an interval: give it more sizes, budgets or seeds.")
    exponents = {source_of(law.x_runs[0]): exponent(results, law, one) for law, one in bounded.items()}
    runs = min(one.n for one in bounded.values())
    return _of_the_weakest(exponents, "error = B / compute^a, with a", n=runs, unit="number")


def exponent(results: Results, law: ScalingFit, fitted: Measurement) -> Interval:
    """The exponent of a law, its interval over runs widened by what the things leave open.

    In a line through logarithms each thing moves the exponent by a weighted sum of what it adds to the runs' errors.
    """
    compute = {item.step: item.value for item in results.select(Pretrain, metric="gmacs")}
    place = np.log([compute[run] for run in law.x_runs])
    weight = (place.mean() - place) / ((place - place.mean()) ** 2).sum()
    wrong = 1 - np.array(list(scores_by_thing(results, law.runs).values()))
    share = wrong.mean(axis=1, keepdims=True)
    moved = mean_t(weight @ ((wrong - share) / share))
    low, high = (fitted.value if bound is None else bound for bound in (fitted.low, fitted.high))
    below, above = (np.hypot(fitted.value - bound, moved.high - moved.estimate) for bound in (low, high))
    return Interval(fitted.value, fitted.value - float(below), fitted.value + float(above))


def _footing_is_lost(results: Results) -> Verdict:
    falls = {source: _fall(results, source, models) for source, models in models_of(results).items()}
    means = {source: mean_crossed(table) for source, table in falls.items()}
    runs, things = falls["noto"].shape
    detail = f"Accuracy in styles trained on less that in {len(UNSEEN)} unseen ones, {runs} runs by {things} things"
    return _of_the_weakest(means, detail, n=runs, unit="points")


def _fall(results: Results, source: str, models: list[Pretrain]) -> Floats:
    """What accuracy loses when the style changes, (runs, things): each thing in its own style less in unseen styles."""
    own = SOURCES[source]
    scores = scores_by_thing(results, [measured(model, style) for model in models for style in (*own, *UNSEEN)])

    def mean(model: Pretrain, styles: tuple[str, ...]) -> Floats:
        return np.mean([scores[measured(model, style)] for style in styles], axis=0)

    return _enough(np.array([mean(model, own) - mean(model, UNSEEN) for model in models]))


def _sources_differ(results: Results) -> Verdict:
    by_source = robustness_by_thing(results)
    pairs = list(combinations(by_source, 2))
    level = 1 - (1 - LEVEL) / len(pairs)
    gaps = {(a, b): _enough(by_source[a] - by_source[b]) for a, b in pairs}
    means = {pair: mean_crossed(gap, level=level) for pair, gap in gaps.items()}
    (a, b), surest = _surest(means)
    differs = surest.low > 0 or surest.high < 0
    runs, things = gaps[a, b].shape
    detail = (
        f"Effective robustness of {a} less that of {b}, over {runs} matched pairs of models (same size, samples, seed) "
        f"by {things} things, at Bonferroni's level for {len(pairs)} pairs of sources."
    )
    if not differs:
        seeds = {model.seed for model in models_of(results)[a]}
        detail += f" {_what_would_tell(gaps[a, b], surest, runs / len(seeds))}"
    return Verdict(
        status="supported" if differs else "undecided",
        effect=surest.estimate,
        low=surest.low,
        high=surest.high,
        n=runs,
        detail=detail,
        unit="points",
    )


def _surest(means: Mapping[tuple[str, str], Interval]) -> tuple[tuple[str, str], Interval]:
    """The pair whose difference is the largest for the width of its interval."""
    return max(means.items(), key=lambda item: abs(item[1].estimate) / (item[1].high - item[1].low))


def _what_would_tell(gap: Floats, mean: Interval, pairs_a_seed: float) -> str:
    seen = f"A difference of {100 * seen_with(mean):.1f} points would be seen nine times of ten"
    needed = runs_to_see(gap, mean.estimate, level=mean.level)
    if needed is None:
        return f"{seen}; one as small as this with no number of seeds on these things."
    return f"{seen}; one as small as this with about {int(np.ceil(needed / pairs_a_seed))} seeds."


def _enough(table: Floats) -> Floats:
    if len(table) < 2:
        raise SurefootError("One run a source gives no interval: give the study more sizes, budgets or seeds.")
    return table


def _of_the_weakest(by_source: Mapping[str, Interval], detail: str, *, n: int, unit: Unit) -> Verdict:
    """A claim about every source: what its lowest bound says, without a correction, since all must hold."""
    source, weakest = min(by_source.items(), key=lambda item: item[1].low)
    scale = 100 if unit == "points" else 1
    numbers = {name: [scale * x for x in (one.estimate, one.low, one.high)] for name, one in by_source.items()}
    listed = "; ".join(f"{name} {x:.3g} [{low:.3g}, {high:.3g}]" for name, (x, low, high) in numbers.items())
    detail = f"{detail}: {listed}. The verdict is that of the weakest, {source}."
    return verdict_above(weakest.estimate, weakest.low, weakest.high, n, detail=detail, unit=unit)


CLAIMS = (
    Claim(
        name="error-falls",
        sentence="Error falls as a power of compute, whatever the training source.",
        check=_error_falls,
        effect="exponent",
        counted="models",
        source="arXiv 2212.07143, abstract",
    ),
    Claim(
        name="footing-is-lost",
        sentence="Accuracy falls when the drawing style changes, whatever the training source.",
        check=_footing_is_lost,
        effect="fall of accuracy",
        counted="models",
        source="arXiv 2007.00644, abstract",
    ),
    Claim(
        name="sources-differ",
        sentence="The training source changes effective robustness.",
        check=_sources_differ,
        effect="difference",
        counted="pairs of models",
        source="arXiv 2208.05516, abstract",
    ),
)
