"""Our own grid of the study `scaling`: laws, forecasts that come first, amounts of data and schedules."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import beta

from surefoot.contrastive import (
    Drawings,
    DrawnTask,
    PooledPairs,
    Pretrain,
    TrainingPairs,
    count_gmacs,
    embed_images,
    embed_texts,
    ladder_config,
    load_model,
    read_items,
    vocabulary_of,
)
from surefoot.core import Claim, Measurement, Results, Step, Store, StoredInputs, SurefootError, Verdict, walk
from surefoot.examples import write_examples
from surefoot.laws import ExponentDifference, ScalingFit
from surefoot.stats import shuffled
from surefoot.studies.scaling._figures import forecasts, own_curve
from surefoot.studies.scaling._grid import BUDGET, FULL, SEEN, TASKS, Grid, StyleScores
from surefoot.studies.scaling._own import own_claims

Publish = Callable[[Store, Step, list[Measurement]], Path]
GMACS = {"rn-4": 0.0008, "rn-8": 0.0021, "rn-16": 0.006, "rn-24": 0.0134}
EXPONENTS = {"naming": 0.09, "retrieval": 0.07, "probe": 0.06}
SLOWER = 0.6  # the exponent in an unseen style, of that in the styles seen
DRAWINGS = 400
GRID = Grid(unseen=("twemoji",))


def compute(model: Pretrain) -> float:
    """Of the whole training: a cool-down's counts what came before it."""
    before = compute(model.start) if isinstance(model.start, Pretrain) else 0.0
    return before + GMACS[model.model] * model.samples


def error(model: Pretrain, task: str, shift: str, gain: float) -> float:
    """A power of compute, with less at equal compute for few pairs, and some noise of the model."""
    generator = np.random.default_rng(list(f"{model.key} {task} {shift}".encode()))
    exponent = EXPONENTS[task] * (1 if shift == SEEN else SLOWER)
    data = model.data
    fewer = gain if getattr(data, "limit", None) else -gain if len(getattr(data, "sources", ())) > 1 else 0.0
    base = 0.8 if shift == SEEN else 0.9
    return base * compute(model) ** -exponent * float(np.exp(0.01 * generator.standard_normal())) + fewer


def plant(publish: Publish, store: Store, grid: Grid, gain: float = 0.1) -> Results:
    steps = tuple(walk(list(grid.steps())))
    for step in steps:
        if isinstance(step, Pretrain):
            publish(store, step, [Measurement(metric="gmacs", value=compute(step), n=1)])
        elif isinstance(step, StyleScores):
            assert isinstance(step.model, Pretrain)
            rows = []
            for task, metric in TASKS.items():
                for shift in step.names:
                    right = 1 - error(step.model, task, shift, gain)
                    where: dict[str, Any] = {"metric": metric, "task": task, "shift": shift}
                    rows.append(Measurement(value=right, n=DRAWINGS, low=right - 0.02, high=right + 0.02, **where))
            place = publish(store, step, rows)
            share = 1 - error(step.model, "naming", SEEN, gain)
            hits = np.random.default_rng(5).permutation(DRAWINGS) < share * DRAWINGS
            write_examples(
                place, {"example": [f"{SEEN}/{row}" for row in range(DRAWINGS)], "score": hits.astype(float)}
            )
    for step in steps:
        if isinstance(step, (ScalingFit, ExponentDifference)):
            place = publish(store, step, [])
            publish(store, step, list(step.make(place, StoredInputs(store))))
    (store.path(grid.data("all"))).mkdir(parents=True, exist_ok=True)
    return Results(store, steps)


def claimed(name: str, sentence: str, check: Callable[[Results], Verdict], effect: str) -> Claim:
    return Claim(name=name, sentence=sentence, check=check, source="here", effect=effect, counted="models")


@pytest.fixture(scope="module")
def results(publish: Publish, tmp_path_factory: pytest.TempPathFactory) -> Results:
    store = Store(tmp_path_factory.mktemp("own") / "store")
    found = plant(publish, store, GRID)
    for forecast, scores in GRID.held_out:
        assert isinstance(scores.model, Pretrain)
        rows = []
        for task in TASKS:
            for shift in scores.names:
                said = error(scores.model, task, shift, 0.0)
                off = {("probe", "twemoji"): 1.5, ("naming", "twemoji"): 0.6}.get((task, shift), 1.0)
                where: dict[str, Any] = {"metric": "error", "task": task, "shift": shift}
                low, high = 0.97 * off * said, 1.03 * off * said
                rows.append(Measurement(value=off * said, n=15, low=low, high=high, **where))
        publish(store, forecast, rows)
    return found


@pytest.fixture(scope="module")
def verdicts(results: Results) -> dict[str, Verdict]:
    return {claim.name: claim.check(results) for claim in own_claims(GRID, claimed)}


def test_a_power_of_compute_is_found_in_every_task(verdicts: dict[str, Verdict]) -> None:
    for task, exponent in EXPONENTS.items():
        for where, times in (("the styles seen", 1.0), ("unseen styles", SLOWER)):
            verdict = verdicts[f"power law: {task} in {where}"]
            assert (verdict.status, verdict.n) == ("supported", 15)
            assert verdict.effect == pytest.approx(times * exponent, abs=0.01)
    assert verdicts["shift changes the exponent"].status == "supported"


def test_the_verdict_of_several_styles_is_that_of_the_lowest_interval(publish: Publish, tmp_path: Path) -> None:
    grid, store = Grid(unseen=("twemoji", "openmoji", "emojione-v1")), Store(tmp_path / "store")
    bounds = {"twemoji": (0.1, 0.05, 0.15), "openmoji": (0.2, -0.1, 0.5)}
    for law in grid.laws:
        value, low, high = bounds.get(law.shift, (0.3, 0.2, 0.4))
        where = {"n": 15, "task": law.task, "shift": law.shift}
        publish(store, law, [Measurement(metric="exponent", value=value, low=low, high=high, **where)])
    results = Results(store, tuple(walk(list(grid.steps()))))
    claims = {claim.name: claim for claim in own_claims(grid, claimed)}
    for task in TASKS:
        verdict = claims[f"power law: {task} in unseen styles"].check(results)
        assert (verdict.effect, verdict.low, verdict.high, verdict.status) == (0.2, -0.1, 0.5, "undecided")
        assert "with 2.2 times as many models" in verdict.detail  # half the width is 1.5 times the exponent
        assert claims[f"power law: {task} in the styles seen"].check(results).low == 0.2


def test_forecasts_are_counted_against_what_came(verdicts: dict[str, Verdict], results: Results) -> None:
    verdict = verdicts["forecasts hold"]
    assert verdict.effect == pytest.approx(8 / 12)  # of each model one error came above the band, one below it
    assert "8 of 12 forecasts hold" in verdict.detail
    models = len(GRID.held_out)
    assert (verdict.status, verdict.bound, verdict.n) == ("undecided", 0.9, models)
    count = 8 / 12 * models  # forecasts of one model are not a sample
    assert verdict.low == pytest.approx(beta.ppf(0.025, count, models - count + 1))
    assert verdict.high == pytest.approx(1.0 if count == models else beta.ppf(0.975, count + 1, models - count))
    assert len(forecasts(GRID)(results).table()) == 24


def test_amounts_of_data_are_compared_at_equal_compute_drawing_by_drawing(verdicts: dict[str, Verdict]) -> None:
    more, other = verdicts["more pairs"], verdicts["other pairs"]
    assert more.effect == pytest.approx(0.1, abs=0.01)
    assert other.effect == pytest.approx(-0.1, abs=0.01)
    assert (more.status, more.n) == ("supported", 3)
    assert other.status == "contradicted"  # the icons helped, as planted


def test_a_cool_down_is_judged_by_its_margin(verdicts: dict[str, Verdict]) -> None:
    verdict = verdicts["cool-down"]
    assert (verdict.bound, verdict.n) == (-0.02, 3)
    assert verdict.effect == pytest.approx(0, abs=0.02)


def test_a_cool_down_is_the_last_fifth_of_as_many_samples_as_its_cosine_sees() -> None:
    for grid in (BUDGET, FULL):
        for (cooled, cosine), samples in zip(grid.schedules, grid.cooled[1], strict=True):
            last, whole = cooled.model, cosine.model
            assert isinstance(last, Pretrain) and isinstance(whole, Pretrain)
            chain = [step for step in walk([last]) if isinstance(step, Pretrain)]
            assert [step.decay for step in chain] == ["constant"] * (len(chain) - 1) + ["cooldown"]
            assert (last.samples, sum(step.samples for step in chain)) == (samples / 5, samples)
            assert (whole.decay, whole.samples, whole.start) == ("cosine", samples, None)


def test_the_largest_models_are_hollow_in_the_figure(results: Results) -> None:
    rows = [row for row in own_curve(GRID, "naming")(results).table() if row["part"] == "point"]
    assert sum(row.get("held_out") is True for row in rows) == 4  # two models in two sets
    assert len(rows) == 2 * (15 + 2)


def test_what_is_not_trained_yet_is_said(tmp_path: Path) -> None:
    empty = Results(Store(tmp_path / "empty"), tuple(walk(list(GRID.steps()))))
    for claim in own_claims(GRID, claimed):
        with pytest.raises(SurefootError, match="not"):
            claim.check(empty)


def test_a_forecast_reads_the_band_at_the_compute_that_it_counts(
    publish: Publish, results: Results, tmp_path: Path
) -> None:
    forecast = GRID.held_out[0][0]
    store = results.store
    captions = [["cat", "black cat"], ["dog"]]
    place = store.path(forecast.data)
    place.mkdir(parents=True, exist_ok=True)
    (place / "captions.json").write_text(json.dumps(captions))
    publish(store, forecast.data, [])
    found = list(forecast.make(tmp_path, StoredInputs(store)))
    words = vocabulary_of(text for texts in captions for text in texts)
    gmacs = 16_000 * count_gmacs(ladder_config("rn-24", vocabulary_size=len(words) + 1))
    assert found[0].value == pytest.approx(gmacs)
    for one in found[1:]:
        exponent = EXPONENTS[one.task] * (1 if one.shift == SEEN else SLOWER)
        base = 0.8 if one.shift == SEEN else 0.9
        assert one.value == pytest.approx(base * gmacs**-exponent, rel=0.03)
        assert one.low is not None and one.high is not None and one.low < one.value < one.high


def test_beyond_the_curves_of_the_laws_nothing_is_forecast_and_no_grid_asks_for_it(
    publish: Publish, results: Results, tmp_path: Path
) -> None:
    forecast = replace(GRID.held_out[0][0], samples=2_000_000)
    (results.store.path(forecast.data) / "captions.json").write_text(json.dumps([["cat"]]))
    publish(results.store, forecast.data, [])
    with pytest.raises(SurefootError, match=r"rn-24 at 2\.\d+e\+04 GMACs is out of what the laws say, to \d+"):
        list(forecast.make(tmp_path, StoredInputs(results.store)))
    for grid in (BUDGET, FULL):
        in_laws = [(model, samples) for model in grid.sizes for samples, _ in grid.cells]
        most, asked = (
            max(samples * count_gmacs(ladder_config(model, vocabulary_size=3_000)) for model, samples in cells)
            for cells in (in_laws, grid.largest)
        )
        assert asked < 10 * most


@pytest.mark.parametrize(
    ("rows", "status", "effect"),
    [
        (((0.05, 0.01, 0.09), (-0.2, -0.3, -0.1)), "supported", 0.05),  # at least one style, whatever the other is
        (((0.05, -0.01, 0.11), (-0.2, -0.3, -0.1)), "undecided", 0.05),
        (((-0.05, -0.09, -0.01), (-0.2, -0.3, -0.1)), "contradicted", -0.05),
    ],
)
def test_one_unseen_style_is_enough_to_slow_the_law(
    publish: Publish, tmp_path: Path, rows: tuple[tuple[float, float, float], ...], status: str, effect: float
) -> None:
    store, step = Store(tmp_path / "store"), GRID.shift_of_exponents
    where: dict[str, Any] = {"metric": "exponent_difference", "n": 30}
    publish(
        store,
        step,
        [Measurement(value=value, low=low, high=high, task=f"{value}", **where) for value, low, high in rows],
    )
    (claim,) = (one for one in own_claims(GRID, claimed) if one.name == "shift changes the exponent")
    verdict = claim.check(Results(store, tuple(walk([step]))))
    assert (verdict.status, verdict.effect) == (status, effect)


def test_the_largest_are_measured_after_their_forecast_and_nothing_is_tested_on_that_was_trained() -> None:
    for grid in (BUDGET, FULL):
        for forecast, scores in grid.held_out:
            assert forecast in set(walk([scores.model]))  # no training of it begins before
            assert scores.model not in {run for law in forecast.laws for run in law.x_runs}
            assert isinstance(scores.model, Pretrain)
            pool = scores.model.data
            assert scores.sets[0] in getattr(pool, "without", ())
    assert set(BUDGET.unseen).isdisjoint(BUDGET.styles)


def test_a_model_is_named_and_found_within_galleries(made: Callable[[Step], Path]) -> None:
    drawings = (Drawings(style="emojione-monotone", size=24),)
    pairs = TrainingPairs(drawings=drawings, variants=False, held_out=0)
    test = DrawnTask(drawings=drawings, part="all", least=1)
    model = Pretrain(data=PooledPairs(sources=(pairs,), limit=200), model="rn-4", samples=64)
    step = StyleScores(model=model, sets=(test,), names=(SEEN,), probe=test)
    found = {(one.task, one.metric): one for one in measured_in(made(step))}
    loaded, images, items = load_model(made(model)), np.load(made(test) / "images.npy"), read_items(made(test))
    order = shuffled([f"{item['style']}:{item['hexcode']}" for item in items], 0)
    place = {f"{item['style']}:{item['hexcode']}": row for row, item in enumerate(items)}
    seen = embed_images(loaded, images).double()
    named, retrieved = [], []
    for size, hits in ((25, named), (100, retrieved)):
        for start in range(0, len(order) - size + 1, size):
            rows = [place[one] for one in order[start : start + size]]
            texts = embed_texts(loaded, [items[row]["label"] for row in rows]).double()
            cosines = (seen[rows] @ texts.T).numpy()
            own = np.diag(cosines)
            ranks = (cosines >= own[:, None]).sum(axis=1) if size == 25 else (cosines >= own[None]).sum(axis=0)
            hits += [*(ranks <= (1 if size == 25 else 5))]
    assert found["naming", "top1"].value == pytest.approx(np.mean(named))
    assert found["retrieval", "image_retrieval_recall@5"].value == pytest.approx(np.mean(retrieved))
    assert found["naming", "top1"].n == len(items) // 25 * 25
    assert found["probe", "top1"].n == len(items)
    assert found["probe", "top1"].value > 0.2  # trained on 40 of each of these groups; chance is one of eight


def measured_in(place: Path) -> list[Measurement]:
    return [Measurement(**row) for row in json.loads((place / "record.json").read_text())["measurements"]]
