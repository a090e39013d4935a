"""What the study claims of sources, mixtures, filters and predictions."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import combinations, permutations, product
from statistics import NormalDist, fmean

import duckdb
import numpy as np
from numpy.typing import NDArray

from surefoot.core import Results, Step, SurefootError
from surefoot.laws import MixtureFit, mixture_slope
from surefoot.stats import error_of_bounds, mean_crossed, mean_t
from surefoot.studies._drawn import BLOCKS
from surefoot.studies._hypotheses import Hypothesis, Pooled, read_once
from surefoot.studies.sources._steps import (
    DRAWN,
    JUDGES,
    PHOTOS,
    RATIOS,
    REFERENCE,
    SHIFTS,
    SOURCES,
    STYLES_SEEN,
    UNSEEN,
    Mix,
    Plan,
    TwoWay,
    between,
    only,
)

PAPER, OURS = "arXiv 2208.05516, abstract", "ours"
MARGIN = 0.01
"""What lies within one point is called the same."""
_NORMAL = NormalDist()
Crossing = tuple[tuple[str, str], tuple[str, str]]
"""Two sources and two shifts."""
Parts = Mapping[tuple[str, str], NDArray[np.float64]]


def _parts(results: Results) -> Parts:
    """By the key of a test and the shift: sums of scores and counts of pictures (2, blocks of pictures)."""
    steps = {str(results.store.path(step) / "examples.parquet"): step.key
             for step in results.steps if isinstance(step, TwoWay) and results.store.has(step)}  # fmt: skip
    if not steps:
        raise SurefootError("No model was tested yet.")
    block = f"('0x' || substr(md5(example), 1, 7))::INTEGER % {BLOCKS}"
    query = f"""SELECT filename, split_part(example, ':', 1), {block}, sum(score), count(*)
        FROM read_parquet(?, filename = true) GROUP BY ALL"""
    found: dict[tuple[str, str], NDArray[np.float64]] = {}
    with duckdb.connect() as connection:
        for name, shift, place, right, pictures in connection.execute(query, [list(steps)]).fetchall():
            found.setdefault((steps[name], shift), np.zeros((2, BLOCKS)))[:, place] = right, pictures
    return found


@dataclass(frozen=True, eq=False)
class Footing:
    """Accuracies and effective robustness of what was tested; `without` a block of pictures where asked."""

    plan: Plan
    parts: Parts
    without: int | None = None
    _known: dict[tuple[object, ...], float] = field(default_factory=dict)  # shared by all blocks

    @property
    def whole(self) -> "Footing":
        """With all pictures: what is chosen is chosen on them."""
        return replace(self, without=None)

    def accuracy(self, test: Step, shift: str) -> float:
        """Two-way accuracy. Raises `SurefootError` when it was not measured."""
        part = self.parts.get((test.key, shift))
        if part is None:
            raise SurefootError(f"Accuracy under '{shift}' was not measured for all models yet.")
        right, pictures = part.sum(axis=1) - (0 if self.without is None else part[:, self.without])
        return float(right / pictures)

    def place(self, test: Step, shift: str) -> float:
        """Two-way accuracy in probit: 0 is chance."""
        return self._once(lambda: _NORMAL.inv_cdf(self.accuracy(test, shift)), "place", test.key, shift)

    def line(self, shift: str) -> float:
        """The slope of the line through chance of all models of single styles."""
        return self._once(lambda: self._fitted(shift), "line", shift)

    def robustness(self, test: Step, shift: str) -> float:
        """Effective robustness: accuracy under shift less what the line of all single styles has at its reference."""
        return self._once(lambda: self.above(test, shift, self.line(shift)), "robustness", test.key, shift)

    def above(self, test: Step, shift: str, slope: float) -> float:
        """Accuracy under shift less that on the line of this slope, at the accuracy in the reference."""
        return self.accuracy(test, shift) - _NORMAL.cdf(slope * self.place(test, REFERENCE))

    def of_source(self, source: str, shift: str, seeds: Sequence[int], sizes: Sequence[int] = ()) -> float:
        """The mean effective robustness of a single source over these seeds and sizes (default: all)."""
        every = tuple(product(seeds, sizes or self.plan.sizes))

        def mean() -> float:
            tests = (self.plan.tested(Mix(only(source), size, seed)) for seed, size in every)
            return fmean(self.robustness(test, shift) for test in tests)

        return self._once(mean, "source", source, shift, every)

    def _fitted(self, shift: str) -> float:
        every = product(STYLES_SEEN, self.plan.sizes, self.plan.seeds)
        tests = [self.plan.tested(Mix(only(source), size, seed)) for source, size, seed in every]
        x, y = (np.array([self.place(test, each) for test in tests]) for each in (REFERENCE, shift))
        return float(x @ y / (x @ x))

    def _once(self, read: Callable[[], float], *name: object) -> float:
        if (key := (self.without, *name)) not in self._known:
            self._known[key] = read()
        return self._known[key]


@read_once
def footing(results: Results, plan: Plan) -> Footing:
    """All that was measured."""
    return Footing(plan, _parts(results))


Rows = Callable[[Footing], Sequence[float]]


def crossed(plan: Plan, rows: Rows, results: Results) -> Pooled:
    """The mean of rows that have models of their own, with its error over rows and over pictures, which they share.

    Each row without one block of pictures after the other gives its pseudo-values (Tukey 1958).
    """
    found = footing(results, plan)
    whole = np.array(rows(found))
    if len(plan.seeds) < 2:
        raise SurefootError("One seed gives no interval: run the study with several.")
    left = np.array([rows(replace(found, without=block)) for block in range(BLOCKS)]).T
    mean = mean_crossed(BLOCKS * whole[:, None] - (BLOCKS - 1) * left)
    error = error_of_bounds(mean.low, mean.high, level=mean.level, freedom=len(whole) - 1)
    return Pooled(value=float(whole.mean()), stderr=error, n=len(whole), freedom=len(whole) - 1)


def _others(plan: Plan, seed: int) -> list[int]:
    return [one for one in plan.seeds if one != seed]


def _by_size(plan: Plan) -> list[tuple[int, int]]:
    return list(product(plan.seeds, plan.sizes))


def _ranked(found: Footing, shift: str, seed: int, sources: Sequence[str] = STYLES_SEEN) -> list[str]:
    """Sources from the least robust to the most, by the models of the other seeds."""
    others = _others(found.plan, seed)
    return sorted(sources, key=lambda source: found.whole.of_source(source, shift, others))


def _differ(found: Footing) -> list[float]:
    """Of each seed and size: the most robust source less the least, chosen on the other seeds, mean over shifts."""

    def gap(seed: int, size: int, shift: str) -> float:
        least, *_, most = _ranked(found, shift, seed)
        return found.of_source(most, shift, [seed], [size]) - found.of_source(least, shift, [seed], [size])

    return [fmean(gap(*each, shift) for shift in SHIFTS) for each in _by_size(found.plan)]


def _cross(found: Footing) -> list[float]:
    """Of each seed and size the lesser of two differences: one source leads in a shift, the other in another.

    The sources and shifts are those that cross the most on the other seeds.
    """

    every = list(product(permutations(STYLES_SEEN, 2), combinations(SHIFTS, 2)))

    def crossing(at: Footing, one: Crossing, seeds: Sequence[int], sizes: Sequence[int] = ()) -> float:
        (a, b), shifts = one
        first, second = (at.of_source(a, each, seeds, sizes) - at.of_source(b, each, seeds, sizes) for each in shifts)
        return min(first, -second)

    def chosen(seed: int) -> Crossing:
        return max(every, key=lambda one: crossing(found.whole, one, _others(found.plan, seed)))

    best = {seed: chosen(seed) for seed in found.plan.seeds}
    return [crossing(found, best[seed], [seed], [size]) for seed, size in _by_size(found.plan)]


def _drawn_couples(plan: Plan) -> list[tuple[int, tuple[str, str]]]:
    return list(product(plan.seeds, [couple for couple in plan.couples if PHOTOS not in couple]))


def _mixed(found: Footing, couple: tuple[str, str], ratio: float, seed: int) -> TwoWay:
    return found.plan.tested(Mix(between(*couple, ratio), found.plan.pairs, seed))


def _dilution(side: int, found: Footing) -> list[float]:
    """Of each seed and pair: the more robust parent less the mixture (side 1), or the mixture less the other (-1)."""

    def gap(seed: int, couple: tuple[str, str], ratio: float, shift: str) -> float:
        parent = _ranked(found, shift, seed, couple)[1 if side > 0 else 0]
        mixture = found.robustness(_mixed(found, couple, ratio, seed), shift)
        return side * (found.of_source(parent, shift, [seed], [found.plan.pairs]) - mixture)

    return [fmean(gap(*each, *how) for how in product(RATIOS, SHIFTS)) for each in _drawn_couples(found.plan)]


def mediant_of(found: Footing, couple: tuple[str, str], ratio: float, seed: int, shift: str) -> float:
    """The slope that the mediant gives a mixture, from its parents of as many pairs."""
    parents = [found.plan.tested(Mix(only(name), found.plan.pairs, seed)) for name in couple]
    x, y = (np.array([found.place(test, each) for test in parents]) for each in (REFERENCE, shift))
    return float(mixture_slope([ratio, 1 - ratio], y / x, x))


def _off_the_mediant(found: Footing) -> list[float]:
    """Of each seed and pair: accuracy of the mixture less that of the mediant's line at its reference accuracy."""

    def off(seed: int, couple: tuple[str, str], ratio: float, shift: str) -> float:
        test = _mixed(found, couple, ratio, seed)
        slope = mediant_of(found, couple, ratio, seed, shift)
        return found.above(test, shift, slope)

    return [fmean(off(*each, *how) for how in product(RATIOS, SHIFTS)) for each in _drawn_couples(found.plan)]


def _best_less_all(found: Footing) -> list[float]:
    """Of each seed and size: the most robust single source (on other seeds) less all sources together."""

    def gap(seed: int, size: int, shift: str) -> float:
        together = found.robustness(found.plan.tested(Mix(only(*SOURCES), size, seed)), shift)
        return found.of_source(_ranked(found, shift, seed)[-1], shift, [seed], [size]) - together

    return [fmean(gap(*each, shift) for shift in SHIFTS) for each in _by_size(found.plan)]


def _toward_the_judge(found: Footing) -> list[float]:
    """Of each seed and threshold: what the more robust judge keeps less what the other keeps, mean over shifts."""
    plan, kept = found.plan, {(mix.seed, mix.size * mix.kept, mix.judge): mix for mix in found.plan.filtered}

    def gap(seed: int, size: float, shift: str) -> float:
        worse, better = _ranked(found, shift, seed, JUDGES)
        tests = (plan.tested(kept[seed, size, judge]) for judge in (better, worse))
        first, second = (found.robustness(test, shift) for test in tests)
        return first - second

    thresholds = dict.fromkeys((seed, size) for seed, size, judge in kept if judge)
    return [fmean(gap(*each, shift) for shift in SHIFTS) for each in thresholds]


def _output_less_input(found: Footing) -> list[float]:
    """Of each seed and pair: averaged logits of two models less one model of both halves, mean over shifts."""

    def gap(seed: int, couple: tuple[str, str], shift: str) -> float:
        ensemble = found.plan.output_mixed(couple, seed)
        return found.robustness(ensemble, shift) - found.robustness(_mixed(found, couple, 0.5, seed), shift)

    return [fmean(gap(*each, shift) for shift in SHIFTS) for each in _drawn_couples(found.plan)]


def _lost(sources: Sequence[str], own: str, other: str, found: Footing) -> list[float]:
    """Of each seed and size: accuracy on what is like the sources less that on the other, of the same ten things."""

    def gap(source: str, seed: int, size: int) -> float:
        test = found.plan.tested(Mix(only(source), size, seed))
        return found.accuracy(test, own) - found.accuracy(test, other)

    return [fmean(gap(source, *each) for source in sources) for each in _by_size(found.plan)]


@dataclass(frozen=True, kw_only=True)
class Forecasts:
    """Predictions made before, and what came of them: arrays (mixtures, unseen styles)."""

    measured: NDArray[np.float64]
    predicted: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    log_share: NDArray[np.float64]
    equal_shares: NDArray[np.float64]

    @property
    def inside(self) -> NDArray[np.bool_]:
        """Which intervals hold what was measured."""
        return (self.low <= self.measured) & (self.measured <= self.high)

    def errors(self, name: str) -> NDArray[np.float64]:
        """The absolute error of each mixture, mean over styles."""
        return abs(getattr(self, name) - self.measured).mean(axis=1)


def forecasts(plan: Plan, results: Results) -> Forecasts:
    """The predictions and the scores. Raises `SurefootError` where one is missing."""
    found = footing(results, plan)
    rows = {(one.measurement.metric, one.measurement.replicate, one.measurement.shift): one.measurement
            for one in results.select(MixtureFit)}  # fmt: skip
    if not rows:
        raise SurefootError("Nothing was predicted yet.")
    places = [[(number, shift) for shift in UNSEEN] for number in range(len(plan.mixtures))]

    def told(metric: str, part: str = "value") -> NDArray[np.float64]:
        return np.array([[getattr(rows[metric, *place], part) for place in row] for row in places], dtype=float)

    return Forecasts(
        measured=np.array([[found.accuracy(plan.tested(mix), shift) for shift in UNSEEN] for mix in plan.mixtures]),
        predicted=told("predicted"),
        low=told("predicted", "low"),
        high=told("predicted", "high"),
        log_share=told("log_share"),
        equal_shares=told("equal_shares"),
    )


def _covered(plan: Plan, results: Results) -> tuple[Pooled, str]:
    found = forecasts(plan, results)
    width = 100 * (found.high - found.low).mean() / 2
    said = f"{found.inside.sum()} of {found.inside.size} intervals hold; their mean half width is {width:.1f} points"
    return _over_mixtures(found.inside.mean(axis=1)), said


def _halved(plan: Plan, results: Results) -> tuple[Pooled, str]:
    found = forecasts(plan, results)
    law, log_share, equal = (found.errors(name) for name in ("predicted", "log_share", "equal_shares"))
    said = "Mean error {:.2f} points; of a regression on log shares {:.2f}, of the score of equal shares {:.2f}"
    return _over_mixtures(law - log_share / 2), said.format(*(100 * one.mean() for one in (law, log_share, equal)))


def _over_mixtures(values: NDArray[np.float64]) -> Pooled:
    mean, n = mean_t(values), len(values)
    error = error_of_bounds(mean.low, mean.high, level=mean.level, freedom=n - 1)
    return Pooled(value=mean.estimate, stderr=error, n=n, freedom=n - 1)


def hypotheses(plan: Plan) -> Iterator[Hypothesis]:
    """The claims: each row of what is compared has models of its own."""
    sizes = f"each of {len(plan.seeds)} seeds and {len(plan.sizes)} sizes"
    pairs = f"each of {len(plan.seeds)} seeds and {len(plan.couples) - 1} pairs of styles"
    one = "Mean over shifts of effective robustness, "
    told: tuple[tuple[str, str, str, Rows, str, float, str], ...] = (
        ("sources-differ", "Sources differ in effective robustness.", PAPER, _differ,
         f"{one}most robust source less least, chosen on other seeds; {sizes}", 0, "differences"),
        ("ranking-changes", "The ranking of sources changes with the shift.", PAPER, _cross,
         f"The lesser of two opposite differences, both chosen on other seeds; {sizes}", 0, "differences"),
        ("dilution", "A mixture is less robust than the better of its parents.", PAPER, partial(_dilution, 1),
         f"{one}better parent less mixture; {pairs}", 0, "differences"),
        ("not-below", "A mixture is more robust than the worse of its parents.", PAPER, partial(_dilution, -1),
         f"{one}mixture less worse parent; {pairs}", 0, "differences"),
        ("mediant", "A mixture lies on the line that the mediant of its parents predicts, within a point.", OURS,
         _off_the_mediant, f"Accuracy less that of the line, mean over shifts; {pairs}", MARGIN, "differences"),
        ("more-not-better", "All sources together are less robust than the best of them.", PAPER, _best_less_all,
         f"{one}best single source (on other seeds) less all together; {sizes}", 0, "differences"),
        ("filter-moves", "Filtering moves the line toward that of the model that filters.", PAPER, _toward_the_judge,
         f"{one}what the more robust of two judges keeps less what the other keeps of one pool, as many pairs", 0,
         "differences"),
        ("output-as-input", "Averaged logits are as robust as one model of the mixture, within a point.", PAPER,
         _output_less_input, f"{one}averaged logits less one model; {pairs}", MARGIN, "differences"),
        ("photographs-to-drawings", "Models of photographs lose accuracy on drawings of the same things.", OURS,
         partial(_lost, [PHOTOS], PHOTOS, DRAWN), f"Accuracy of ten things; {sizes}", 0, "differences"),
        ("drawings-to-photographs", "Models of drawings lose accuracy on photographs of the same things.", OURS,
         partial(_lost, STYLES_SEEN, DRAWN, PHOTOS), f"Accuracy of ten things; {sizes}", 0, "differences"),
    )  # fmt: skip
    for name, sentence, source, rows, said, bound, counted in told:
        yield Hypothesis(name=name, sentence=sentence, source=source, counted=counted, shown="difference in accuracy",
                         bound=bound, within=bound > 0, effect=partial(_effect, plan, rows, said))  # fmt: skip
    mixtures = f"{plan.held_out} mixtures that were not trained yet"
    yield Hypothesis(name="intervals-hold", sentence=f"At least 90 percent of the intervals of {mixtures} hold.",
                     source=OURS, effect=partial(_covered, plan), bound=0.9, unit="share", counted="mixtures",
                     shown="share")  # fmt: skip
    yield Hypothesis(name="half-the-error", source=OURS, effect=partial(_halved, plan), below=True, counted="mixtures",
                     sentence=f"Scores of {mixtures} are predicted with half the error of a regression on log shares.",
                     shown="error less half of that")  # fmt: skip


def _effect(plan: Plan, rows: Rows, said: str, results: Results) -> tuple[Pooled, str]:
    return crossed(plan, rows, results), said
