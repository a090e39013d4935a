"""The quickstart's claims on planted answers: what they decide, by how much, and over whom their intervals run."""

from collections.abc import Callable, Iterable
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
import statsmodels.api as sm
from scipy.special import expit, logit
from scipy.stats import t

from surefoot.contrastive import Pretrain, ZeroShot
from surefoot.core import Measurement, Results, Step, Store, StoredInputs, Study, Verdict, decide, walk
from surefoot.examples import write_examples
from surefoot.laws import ScalingFit, ShiftFit
from surefoot.stats import Interval, mean_crossed, mean_t, wilson
from surefoot.studies.quickstart import study as quickstart
from surefoot.studies.quickstart._claims import _of_the_weakest, _surest
from surefoot.studies.quickstart._steps import (
    SHIFTS,
    SOURCES,
    UNSEEN,
    measured,
    models_of,
    robustness_by_thing,
    source_of,
)

Publish = Callable[[Store, Step, list[Measurement]], Path]
THINGS = 120
COMPUTE = {"rn-4": 1.0, "rn-8": 3.0}
STUDY = quickstart(seeds=(0, 1, 2))


def scores(step: ZeroShot, fall: float, gift: float) -> np.ndarray:
    """Right or wrong of each thing: things and their way with each style are shared by all models, runs differ."""
    model = step.model
    assert isinstance(model, Pretrain)
    thing = np.random.default_rng(7).normal(size=THINGS)
    in_style = np.random.default_rng([ord(letter) for letter in step.shift]).normal(size=THINGS)
    run = f"{model.model} {source_of(model)} {step.shift}"
    generator = np.random.default_rng([model.seed, model.samples, *map(ord, run)])
    skill = 0.5 * np.log(COMPUTE[model.model] * model.samples / 6000) + 0.05 * generator.normal()
    worse = fall * (step.shift in UNSEEN) - gift * (source_of(model) == "noto" and step.shift in SHIFTS)
    return (generator.random(THINGS) < expit(skill - 1 - worse + thing + in_style)).astype(float)


def plant(publish: Publish, store: Store, study: Study, *, fall: float = 1.0, gift: float = 0.0) -> Results:
    """A store with answers of every model, and the fits over them."""
    steps = tuple(walk(study.steps))
    for step in steps:
        if isinstance(step, Pretrain):
            gmacs = COMPUTE[step.model] * step.samples
            publish(store, step, [Measurement(metric="gmacs", value=gmacs, n=1)])
        if isinstance(step, ZeroShot):
            right = scores(step, fall, gift)
            share = wilson(right.sum(), THINGS)
            bounds = {"low": share.low, "high": share.high, "shift": step.shift, "task": step.task}
            place = publish(store, step, [Measurement(metric="top1", value=share.estimate, n=THINGS, **bounds)])
            write_examples(place, {"example": [f"{row:04X}" for row in range(THINGS)], "score": right})
    for step in steps:
        if isinstance(step, (ScalingFit, ShiftFit)):
            place = publish(store, step, [])
            publish(store, step, list(step.make(place, StoredInputs(store))))
    return Results(store, steps)


@pytest.fixture(scope="module")
def results(publish: Publish, tmp_path_factory: pytest.TempPathFactory) -> Results:
    """A world in which accuracy falls under shift, alike for all sources."""
    return plant(publish, Store(tmp_path_factory.mktemp("quickstart") / "store"), STUDY)


def verdicts(study: Study, results: Results) -> dict[str, Verdict]:
    return {claim.name: verdict for claim, verdict in decide(study.claims, results)}


@pytest.fixture(scope="module")
def found(results: Results) -> dict[str, Verdict]:
    return verdicts(STUDY, results)


def by_run(models: Iterable[Pretrain], styles: Iterable[str]) -> np.ndarray:
    """What was planted of each run, by thing, mean over styles."""
    return np.array(
        [np.mean([scores(measured(model, style), 1.0, 0.0) for style in styles], axis=0) for model in models]
    )


def test_what_the_title_asks_is_decided(results: Results, found: dict[str, Verdict]) -> None:
    assert {name: one.status for name, one in found.items()} == {
        "error-falls": "supported",
        "footing-is-lost": "supported",
        "sources-differ": "undecided",
    }
    assert {claim.name: (found[claim.name].n, claim.counted) for claim in STUDY.claims} == {
        "error-falls": (12, "models"),
        "footing-is-lost": (12, "models"),
        "sources-differ": (12, "pairs of models"),
    }
    falls = {
        source: (by_run(models, SOURCES[source]) - by_run(models, UNSEEN)).mean()
        for source, models in models_of(results).items()
    }
    weakest = next(source for source in falls if f"weakest, {source}." in found["footing-is-lost"].detail)
    assert found["footing-is-lost"].effect == pytest.approx(falls[weakest])


def test_intervals_are_over_things_as_well_as_runs(results: Results, found: dict[str, Verdict]) -> None:
    """More seeds would shrink an interval over runs to nothing, though all are tested on the same things."""
    verdict = found["footing-is-lost"]
    weakest = next(source for source in SOURCES if f"weakest, {source}." in verdict.detail)
    models = models_of(results)[weakest]
    gap = by_run(models, SOURCES[weakest]) - by_run(models, UNSEEN)
    runs, things = mean_t(gap.mean(axis=1)), mean_t(gap.mean(axis=0))
    assert verdict.low is not None
    assert verdict.high is not None
    width = verdict.high - verdict.low
    assert width > 0.95 * (things.high - things.low)
    assert width > 1.15 * (runs.high - runs.low)


def test_the_weakest_source_is_the_one_of_the_lowest_bound_not_of_the_smallest_effect() -> None:
    means = {"unsure": Interval(0.5, -0.1, 1.1), "small": Interval(0.2, 0.1, 0.3)}
    verdict = _of_the_weakest(means, "", n=9, unit="points")
    assert (verdict.status, verdict.effect, verdict.low) == ("undecided", 0.5, -0.1)


def test_the_exponent_is_that_of_the_runs_and_its_interval_wider(results: Results, found: dict[str, Verdict]) -> None:
    verdict = found["error-falls"]
    fits = results.select(ScalingFit, metric="exponent")
    fitted = min(fits, key=lambda item: abs(item.value - (verdict.effect or 0)))
    assert isinstance(fitted.step, ScalingFit)
    errors = [1 - scores(run, 1.0, 0.0).mean() for run in fitted.step.runs if isinstance(run, ZeroShot)]
    gmacs = [COMPUTE[run.model] * run.samples for run in fitted.step.x_runs if isinstance(run, Pretrain)]
    assert verdict.effect == pytest.approx(-np.polyfit(np.log(gmacs), np.log(errors), 1)[0], rel=1e-3)
    assert verdict.low is not None
    assert fitted.measurement.low is not None
    assert verdict.low < fitted.measurement.low - 0.002


def test_the_things_widen_the_exponents_interval_by_what_drawing_them_again_says(
    results: Results, found: dict[str, Verdict]
) -> None:
    verdict = found["error-falls"]
    assert verdict.effect is not None and verdict.low is not None
    fitted = min(
        results.select(ScalingFit, metric="exponent"), key=lambda item: abs(item.value - (verdict.effect or 0))
    )
    assert isinstance(fitted.step, ScalingFit) and fitted.measurement.low is not None
    wrong = np.array([1 - scores(run, 1.0, 0.0) for run in fitted.step.runs if isinstance(run, ZeroShot)])
    gmacs = [COMPUTE[run.model] * run.samples for run in fitted.step.x_runs if isinstance(run, Pretrain)]
    generator = np.random.default_rng(0)
    drawn = [wrong[:, generator.integers(0, THINGS, THINGS)].mean(axis=1) for _ in range(400)]
    of_things = t.ppf(0.975, THINGS - 1) * np.polyfit(np.log(gmacs), np.log(drawn).T, 1)[0].std(ddof=1)
    expected = np.hypot(fitted.measurement.value - fitted.measurement.low, of_things)
    assert verdict.effect - verdict.low == pytest.approx(expected, rel=0.1)


def test_the_difference_of_sources_is_the_surest_of_all_pairs_at_bonferronis_level(
    results: Results, found: dict[str, Verdict]
) -> None:
    differ, by_source = found["sources-differ"], robustness_by_thing(results)
    pairs = {(a, b): by_source[a] - by_source[b] for a, b in combinations(SOURCES, 2)}
    means = {pair: mean_crossed(gap, level=1 - 0.05 / 3) for pair, gap in pairs.items()}
    (a, b), surest = max(means.items(), key=lambda item: abs(item[1].estimate) / (item[1].high - item[1].low))
    assert f"Effective robustness of {a} less that of {b}, over" in differ.detail
    assert (differ.effect, differ.low, differ.high) == pytest.approx((surest.estimate, surest.low, surest.high))


def test_the_surest_pair_is_not_the_one_of_the_largest_difference() -> None:
    means = {("a", "b"): Interval(-0.3, -0.4, -0.2), ("a", "c"): Interval(0.5, -0.5, 1.5)}
    assert _surest(means)[0] == ("a", "b")


def test_the_figures_draw_the_intervals_of_their_numbers(results: Results) -> None:
    """The band is by statsmodels' HC3, a point's bar by the spread of its things, effects are over runs by things."""
    drawn = {figure.name: figure.table() for figure in (draw(results) for draw in STUDY.figures[:4])}
    points, line = ([row for row in drawn["robustness"] if row["part"] == part] for part in ("point", "fit"))
    x, y = (logit([row[axis] for row in points]) for axis in "xy")
    least_squares = sm.OLS(y, sm.add_constant(x)).fit(cov_type="HC3")
    told = least_squares.get_prediction(sm.add_constant(logit([row["x"] for row in line])))
    half = t.ppf(0.975, len(points) - 2) * told.se_mean
    for side, bound in ((-1, "low"), (1, "high")):
        assert logit([row[bound] for row in line]) == pytest.approx(told.predicted_mean + side * half, rel=1e-6)
    shown = {row["y"]: row["y_high"] - row["y_low"] for row in points}
    for models in models_of(results).values():
        by_thing = by_run(models[:1], SHIFTS)[0]
        width = 2 * 1.96 * by_thing.std(ddof=1) / THINGS**0.5
        assert shown[min(shown, key=lambda value: abs(value - by_thing.mean()))] == pytest.approx(width, rel=0.1)
    effects = {row["label"]: row for row in drawn["effective-robustness"] if row["group"] == "mean of the shifts"}
    for source, table in robustness_by_thing(results).items():
        crossed = mean_crossed(table)
        row = effects[source]
        assert (row["value"], row["low"], row["high"]) == pytest.approx((crossed.estimate, crossed.low, crossed.high))


def test_what_is_undecided_says_what_would_have_been_seen(found: dict[str, Verdict]) -> None:
    verdict = found["sources-differ"]
    assert "points would be seen nine times of ten; one as small as this with" in verdict.detail
    assert verdict.low is not None
    assert verdict.high is not None
    seen = float(verdict.detail.split("A difference of ")[1].split()[0]) / 100
    assert (verdict.high - verdict.low) / 2 < seen < verdict.high - verdict.low


def test_a_source_that_helps_under_shift_is_found(publish: Publish, tmp_path: Path) -> None:
    study = quickstart(seeds=(0, 1), samples=(6_000,))
    found = verdicts(study, plant(publish, Store(tmp_path / "store"), study, gift=1.5))["sources-differ"]
    assert found.status == "supported"
    assert "Effective robustness of noto less that of" in found.detail
    assert (found.effect or 0) > 0.1


def reads_as_a_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def test_models_whose_keys_read_as_numbers_are_models(publish: Publish, tmp_path: Path) -> None:
    """A key such as 1234567890 or 12345e6789 was taken for a number, and the report was lost after all training."""
    options = {"sizes": ("rn-4",), "samples": (6_000, 18_000)}
    seed = next(
        seed
        for seed in range(1000)
        if any(
            reads_as_a_number(step.key[:10])
            for step in walk(quickstart(**options, seeds=(seed,)).steps)
            if isinstance(step, Pretrain)
        )
    )
    study = quickstart(**options, seeds=(seed, seed + 1))
    planted = plant(publish, Store(tmp_path / "store"), study)
    assert "broken" not in {one.status for one in verdicts(study, planted).values()}
    drawn = {figure.name: figure for figure in (draw(planted) for draw in study.figures[:4])}
    assert len(drawn["robustness"].table()) >= 12


def test_one_run_a_source_is_too_few_and_that_is_said(publish: Publish, tmp_path: Path) -> None:
    study = quickstart(sizes=("rn-4",), samples=(6_000,), seeds=(0,))
    planted = Results(Store(tmp_path / "store"), tuple(walk(study.steps)))
    for step in planted.steps:
        if isinstance(step, ZeroShot):
            place = publish(planted.store, step, [Measurement(metric="top1", value=0.5, n=4, shift=step.shift)])
            write_examples(place, {"example": list("abcd"), "score": [1.0, 0.0, 1.0, 0.0]})
    found = verdicts(study, planted)["footing-is-lost"]
    assert found.status == "unmeasured"
    assert "more sizes, budgets or seeds" in found.detail


def test_the_first_number_is_that_of_the_smallest_model() -> None:
    first = next(step for step in walk(quickstart().steps) if isinstance(step, Pretrain))
    assert (first.model, first.samples) == ("rn-4", 6_000)
