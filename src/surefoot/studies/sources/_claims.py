"""What the study claims of sources, mixtures, filters and predictions."""

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import combinations, permutations, product
from statistics import NormalDist, fmean

import numpy as np
from numpy.typing import NDArray

from surefoot.core import Results, Step, SurefootError, in_memory
from surefoot.examples import EXAMPLES
from surefoot.laws import MixtureFit, mixture_slope
from surefoot.stats import Interval, clopper_pearson, mean_t
from surefoot.studies._drawn import BLOCKS
from surefoot.studies._hypotheses import Hypothesis, Pooled, pooled, read_once
from surefoot.studies.sources import _steps as steps
from surefoot.studies.sources._steps import JUDGES, PHOTOS, RATIOS, REFERENCE, SHIFTS, STYLES_SEEN, UNSEEN, Draw, Plan

PAPER, OURS = "arXiv 2208.05516, abstract", "ours"
MARGIN = 0.01
"""What lies within one point is called the same."""
Couple = tuple[str, str]
Floats = NDArray[np.float64]
_NORMAL = NormalDist()


@dataclass(frozen=True, eq=False)
class Footing:
    """Accuracies and effective robustness of what was tested; `without` a block of things where asked.

    `parts` are, by the key of a test and the shift, sums of scores and counts of pictures (2, blocks). Of the tests of
    one `draw` of `plan.draws` the mean over the other draws is taken.
    """

    plan: Plan
    parts: Mapping[tuple[str, str], Floats]
    without: int | None = None
    draw: Draw | None = None
    _known: dict[tuple[object, ...], float] = field(default_factory=dict)  # shared by all blocks

    def accuracy(self, test: Step, shift: str) -> float:
        """Two-way accuracy. Raises `SurefootError` when it was not measured."""
        parts = [self.parts.get((key, shift)) for key in self._read(test)]
        if any(part is None for part in parts):
            raise SurefootError(f"Accuracy under '{shift}' was not measured for all models yet.")
        part = np.sum([part for part in parts if part is not None], axis=0)
        right, pictures = part.sum(axis=1) - (0 if self.without is None else part[:, self.without])
        return float(right / pictures)

    def place(self, test: Step, shift: str) -> float:
        """Two-way accuracy in probit: 0 is chance."""
        return self._once(lambda: _NORMAL.inv_cdf(self.accuracy(test, shift)), "place", *self._read(test), shift)

    def slope(self, tests: Iterable[Step], shift: str) -> float:
        """The slope of the line through chance of these tests."""
        x, y = np.array([[self.place(test, each) for each in (REFERENCE, shift)] for test in tests]).T
        return float(x @ y / (x @ x))

    def above(self, test: Step, shift: str, slope: float) -> float:
        """Accuracy under shift less that on the line of this slope, at the accuracy in the reference."""
        return self.accuracy(test, shift) - _NORMAL.cdf(slope * self.place(test, REFERENCE))

    def robustness(self, test: Step, shift: str) -> float:
        """Effective robustness: accuracy under shift above the line of all models of single styles."""
        line = self._once(lambda: replace(self, draw=None).slope(self.plan.of_styles, shift), "line", shift)
        return self._once(lambda: self.above(test, shift, line), "robustness", *self._read(test), shift)

    def of_source(self, source: str, shift: str, seeds: Sequence[int], sizes: Sequence[int] = ()) -> float:
        """The mean effective robustness of a single source over these seeds and sizes (default: all)."""
        every = product(seeds, sizes or self.plan.sizes)
        return self._once(
            lambda: fmean(self.robustness(self.plan.single(source, size, seed), shift) for seed, size in every),
            self.draw, source, shift, *seeds, "of sizes", *sizes,
        )  # fmt: skip

    def ranked(self, shift: str, seed: int, sources: Sequence[str] = STYLES_SEEN) -> list[str]:
        """Sources from the least robust to the most, by all pictures and the models of the other seeds."""
        others = self.plan.others(seed)
        return sorted(sources, key=lambda source: self.whole.of_source(source, shift, others))

    @property
    def whole(self) -> "Footing":
        """The same of all pictures and all draws."""
        return replace(self, without=None, draw=None)

    def _read(self, test: Step) -> tuple[str, ...]:
        return self.plan.draws[self.draw].get(test.key, (test.key,)) if self.draw else (test.key,)

    def _once(self, read: Callable[[], float], *name: object) -> float:
        if (key := (self.without, *name)) not in self._known:
            self._known[key] = read()
        return self._known[key]


Rows = Callable[[Footing], Sequence[float]]


@read_once
def footing(results: Results, plan: Plan) -> Footing:
    """All that was measured."""
    found: dict[tuple[str, str], Floats] = {}
    tests = {str(results.store.file(step, EXAMPLES)): step.key
             for step in results.steps if isinstance(step, steps.TwoWay) and results.store.has(step)}  # fmt: skip
    if not tests:
        raise SurefootError("No model was tested yet.")
    block = f"('0x' || substr(md5(split_part(example, ':', -1)), 1, 7))::INTEGER % {BLOCKS}"  # of a thing in all styles
    query = f"""SELECT filename, split_part(example, ':', 1), {block}, sum(score), count(*)
        FROM read_parquet(?, filename = true) GROUP BY ALL"""
    with in_memory() as connection:
        for name, shift, place, *sums in connection.execute(query, [list(tests)]).fetchall():
            found.setdefault((tests[name], shift), np.zeros((2, BLOCKS)))[:, place] = sums
    return Footing(plan, found)


def crossed(plan: Plan, rows: Rows, said: str, results: Results) -> tuple[Pooled, str]:
    """The mean of rows with its error over draws, which rows share, and over things, which all models are tested on.

    A jackknife of both: how the mean changes where a draw is replaced by the same of the other seeds, and without one
    block of things after the other (pseudo-values, Tukey 1958). Degrees of freedom are Satterthwaite's.
    """
    found = footing(results, plan)
    if (seeds := len(plan.seeds)) < 2:
        raise SurefootError("One seed gives no interval: run the study with several.")
    whole = rows(found)
    mean = fmean(whole)
    moved: dict[Hashable, float] = {}
    for what, seed in plan.draws:
        change = fmean(rows(replace(found, draw=(what, seed)))) - mean
        moved[what] = moved.get(what, 0) + change**2 * (seeds - 1) / seeds
    left = [fmean(rows(replace(found, without=block))) for block in range(BLOCKS)]
    squares = np.array([*moved.values(), np.var(left) * (BLOCKS - 1)])
    variance, free = squares.sum(), np.array([seeds - 1] * len(moved) + [BLOCKS - 1])
    freedom = float(variance**2 / (squares**2 / free).sum()) if variance else 0.0
    return Pooled(value=mean, stderr=float(variance) ** 0.5, n=len(whole), freedom=freedom), said


def _differ(found: Footing) -> list[float]:
    """Of each seed and size: the most robust source less the least, chosen on the other seeds, mean over shifts."""

    def gap(seed: int, size: int, shift: str) -> float:
        least, *_, most = (found.of_source(one, shift, [seed], [size]) for one in found.ranked(shift, seed))
        return most - least

    return [fmean(gap(*each, shift) for shift in SHIFTS) for each in found.plan.by_size]


def _cross(found: Footing) -> list[float]:
    """Of each seed and size the lesser of two differences: one source leads in a shift, the other in another.

    The sources and shifts are those that cross the most on the other seeds.
    """
    every = list(product(permutations(STYLES_SEEN, 2), combinations(SHIFTS, 2)))

    def crossing(at: Footing, one: tuple[Couple, Couple], seeds: Sequence[int], sizes: Sequence[int] = ()) -> float:
        (a, b), shifts = one
        first, second = (at.of_source(a, each, seeds, sizes) - at.of_source(b, each, seeds, sizes) for each in shifts)
        return min(first, -second)

    others = found.plan.others
    best = {seed: max(every, key=lambda one: crossing(found.whole, one, others(seed))) for seed in found.plan.seeds}
    return [crossing(found, best[seed], [seed], [size]) for seed, size in found.plan.by_size]


def _dilution(side: int, found: Footing) -> list[float]:
    """Of each seed and pair: the more robust parent less the mixture (side 1), or the mixture less the other (-1)."""

    def gap(seed: int, couple: Couple, ratio: float, shift: str) -> float:
        parent = found.ranked(shift, seed, couple)[1 if side > 0 else 0]
        mixture = found.robustness(found.plan.mixed(couple, ratio, seed), shift)
        return side * (found.of_source(parent, shift, [seed], [found.plan.pairs]) - mixture)

    return [fmean(gap(*each, *how) for how in product(RATIOS, SHIFTS)) for each in found.plan.by_couple]


def off_the_mediant(found: Footing, couple: Couple, ratio: float, seed: int, shift: str) -> float:
    """Accuracy of a mixture less that on the line whose slope is the mediant of its parents' of as many pairs."""
    parents = [found.plan.single(name, found.plan.pairs, seed) for name in couple]
    x, y = np.array([[found.place(test, each) for test in parents] for each in (REFERENCE, shift)])
    mediant = float(mixture_slope([ratio, 1 - ratio], y / x, x))
    return found.above(found.plan.mixed(couple, ratio, seed), shift, mediant)


def _off(found: Footing) -> list[float]:
    return [fmean(off_the_mediant(found, couple, ratio, seed, shift) for ratio, shift in product(RATIOS, SHIFTS))
            for seed, couple in found.plan.by_couple]  # fmt: skip


def _best_less_all(found: Footing) -> list[float]:
    """Of each seed and size: the most robust single source (on other seeds) less all sources together."""

    def gap(seed: int, size: int, shift: str) -> float:
        together = found.robustness(found.plan.together(size, seed), shift)
        return found.of_source(found.ranked(shift, seed)[-1], shift, [seed], [size]) - together

    return [fmean(gap(*each, shift) for shift in SHIFTS) for each in found.plan.by_size]


def _kept_less(other: int | None, found: Footing) -> list[float]:
    """Of each seed and threshold: what the more robust judge keeps less as many of `other` (0: the less; None: chance).

    Mean over shifts; all keep as many pairs of one mixture.
    """
    kept = {(mix.seed, round(mix.size * mix.kept), mix.judge): found.plan.tested(mix) for mix in found.plan.filtered}

    def gap(seed: int, size: int, shift: str) -> float:
        judges = found.ranked(shift, seed, JUDGES)
        second = "" if other is None else judges[other]
        better, worse = (found.robustness(kept[seed, size, judge], shift) for judge in (judges[-1], second))
        return better - worse

    thresholds = dict.fromkeys((seed, size) for seed, size, _ in kept)
    return [fmean(gap(*each, shift) for shift in SHIFTS) for each in thresholds]


def _output_less_input(found: Footing) -> list[float]:
    """Of each seed and pair: averaged logits of two models less one model of both halves, mean over shifts."""

    def gap(seed: int, couple: Couple, shift: str) -> float:
        tests = found.plan.output_mixed(couple, seed), found.plan.mixed(couple, 0.5, seed)
        output, whole = (found.robustness(test, shift) for test in tests)
        return output - whole

    return [fmean(gap(*each, shift) for shift in SHIFTS) for each in found.plan.by_couple]


def _merge_less_mixture(found: Footing) -> list[float]:
    """Of each seed and pair: accuracy of the mean of two models' weights less that of one, mean over unseen styles."""

    def gap(seed: int, couple: Couple, style: str) -> float:
        merge, mixture = (found.accuracy(test, style) for test in found.plan.merged(couple, seed))
        return merge - mixture

    return [fmean(gap(*each, style) for style in UNSEEN) for each in found.plan.by_couple]


def _lost(sources: Sequence[str], own: str, other: str, found: Footing) -> list[float]:
    """Of each seed and size: accuracy on what is like the sources less that on the other, of the same ten things."""

    def gap(source: str, seed: int, size: int) -> float:
        test = found.plan.single(source, size, seed)
        return found.accuracy(test, own) - found.accuracy(test, other)

    return [fmean(gap(source, *each) for source in sources) for each in found.plan.by_size]


METHODS = {"predicted": "law of mixtures", "log_share": "log shares", "equal_shares": "equal shares"}


@read_once
def forecasts(results: Results, plan: Plan) -> Mapping[str, Floats]:
    """Arrays (mixtures, unseen styles): what was `measured`, `predicted` (`low`, `high`), by `METHODS`."""
    found = footing(results, plan)
    rows = {(one.measurement.metric, one.measurement.replicate, one.measurement.shift): one.measurement
            for one in results.select(MixtureFit)}  # fmt: skip
    if not rows:
        raise SurefootError("Nothing was predicted yet.")
    asked = {**{name: (name, "value") for name in METHODS}, "low": ("predicted", "low"), "high": ("predicted", "high")}
    places = range(len(plan.mixtures))
    told = {name: np.array([[getattr(rows[metric, number, shift], part) for shift in UNSEEN] for number in places])
            for name, (metric, part) in asked.items()}  # fmt: skip
    return told | {"measured": np.array([[found.accuracy(plan.tested(mix), shift) for shift in UNSEEN]
                                         for mix in plan.mixtures])}  # fmt: skip


def _covered(plan: Plan, results: Results) -> tuple[Pooled, str]:
    found = forecasts(results, plan)
    inside = (found["low"] <= found["measured"]) & (found["measured"] <= found["high"])
    width = 100 * (found["high"] - found["low"]).mean() / 2
    said = f"{inside.sum()} of {inside.size} intervals hold; their mean half width is {width:.1f} points"
    mean = mean_t(inside.mean(axis=1))
    if np.isnan(mean.low):  # as many of each mixture: as if it had one interval
        each = clopper_pearson(mean.estimate * len(inside), len(inside))
        half = max(each.high - mean.estimate, mean.estimate - each.low)
        mean = Interval(mean.estimate, mean.estimate - half, mean.estimate + half)
    return replace(pooled(mean, len(inside)), bounds=(max(mean.low, 0.0), min(mean.high, 1.0))), said


def _halved(plan: Plan, results: Results) -> tuple[Pooled, str]:
    found = forecasts(results, plan)
    errors = {name: abs(found[name] - found["measured"]).mean(axis=1) for name in METHODS}
    told = ", ".join(f"{METHODS[name]} {100 * each.mean():.2f}" for name, each in errors.items())
    gain = errors["predicted"] - errors["log_share"] / 2
    return pooled(mean_t(gain), len(gain)), f"Mean absolute error in points: {told}"


def hypotheses(plan: Plan) -> Iterator[Hypothesis]:
    """The claims, each a mean over rows (see `crossed`)."""
    sizes = f"each of {len(plan.seeds)} seeds and {len(plan.sizes)} sizes"
    pairs = f"each of {len(plan.seeds)} seeds and {len(plan.couples) - 1} pairs of styles"
    one = "Mean over shifts of effective robustness, "
    told: tuple[tuple[str, str, str, Rows, str, float], ...] = (
        ("sources-differ", "Sources differ in effective robustness.", PAPER, _differ,
         f"{one}most robust source less least, chosen on other seeds; {sizes}", 0),
        ("ranking-changes", "The ranking of sources changes with the shift.", PAPER, _cross,
         f"The lesser of two opposite differences, both chosen on other seeds; {sizes}", 0),
        ("dilution", "A mixture is less robust than the better of its parents.", PAPER, partial(_dilution, 1),
         f"{one}better parent less mixture; {pairs}", 0),
        ("not-below", "A mixture is more robust than the worse of its parents.", PAPER, partial(_dilution, -1),
         f"{one}mixture less worse parent; {pairs}", 0),
        ("mediant", "A mixture lies on the line that the mediant of its parents predicts, within a point.", OURS, _off,
         f"Accuracy less that of the line, mean over shifts; {pairs}", MARGIN),
        ("more-not-better", "All sources together are less robust than the best of them.", PAPER, _best_less_all,
         f"{one}best single source (on other seeds) less all together; {sizes}", 0),
        ("filter-moves", "Filtering moves the line toward that of the model that filters.", PAPER,
         partial(_kept_less, 0),
         f"{one}what the more robust of two judges keeps less what the other keeps of one pool, as many pairs", 0),
        ("filter-over-chance", "What the more robust judge keeps is more robust than as many pairs at random.", OURS,
         partial(_kept_less, None),
         f"{one}what the judge keeps of one pool less as many at random of its mixture; first asked after five seeds "
         "had been seen", 0),
        ("output-as-input", "Averaged logits are as robust as one model of the mixture, within a point.", PAPER,
         _output_less_input, f"{one}averaged logits less one model; {pairs}", MARGIN),
        ("merge-as-mixture", "The mean of two models' weights scores as one model of the mixture, within a point.",
         "arXiv 2602.00747", _merge_less_mixture, f"Accuracy in unseen styles, all from one start; {pairs}", MARGIN),
        ("photographs-to-drawings", "Models of photographs lose accuracy on drawings of the same things.", OURS,
         partial(_lost, [PHOTOS], PHOTOS, steps.DRAWN), f"Accuracy of ten things; {sizes}", 0),
        ("drawings-to-photographs", "Models of drawings lose accuracy on photographs of the same things.", OURS,
         partial(_lost, STYLES_SEEN, steps.DRAWN, PHOTOS), f"Accuracy of ten things; {sizes}", 0),
    )  # fmt: skip
    for name, sentence, source, rows, said, bound in told:
        yield Hypothesis(name=name, sentence=sentence, source=source, counted="rows", shown="difference in accuracy",
                         bound=bound, within=bound > 0, effect=partial(crossed, plan, rows, said))  # fmt: skip
    mixtures = f"{plan.held_out} mixtures that were not trained yet"
    yield Hypothesis(name="intervals-hold", sentence=f"At least 90 percent of the intervals of {mixtures} hold.",
                     source=OURS, effect=partial(_covered, plan), bound=0.9, unit="share", counted="mixtures",
                     shown="share", as_measured=True)  # fmt: skip
    yield Hypothesis(name="half-the-error", source=OURS, effect=partial(_halved, plan), below=True, counted="mixtures",
                     sentence=f"Scores of {mixtures} are predicted with half the error of a regression on log shares.",
                     shown="error less half of that")  # fmt: skip
