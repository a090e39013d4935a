"""The study `patching`: what its claims make of planted accuracies, and what it would run."""

import json
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from statistics import fmean

import duckdb
import numpy as np
import pytest

from surefoot.contrastive import DrawnTask, Finetune, Typographic, WeightEdit, ZeroShot
from surefoot.contrastive._pictures._directory import write_classes
from surefoot.core import Measurement, Results, Step, Store, Study, SurefootError, decide, walk
from surefoot.studies import load_study
from surefoot.studies._drawn import PHOTOGRAPHS, TaskAccuracies
from surefoot.studies.patching._claims import above_chord, cost_at_gain, gain_at_cost, words_said
from surefoot.studies.patching._steps import (
    GRID,
    PARALLEL,
    SEQUENTIAL,
    Attack,
    PatchingSeed,
    PatchingSettings,
    Rung,
    trial,
)

Publish = Callable[[Store, Step, list[Measurement]], Path]
Answer = Callable[[Path, float, int], None]
SEEDS = (0, 1, 2)
SIZES = ("rn-4", "rn-8", "rn-16")
SHORT, SHORTER = "rn-8, 32 seen", "rn-8, 48 seen"
SETTINGS = PatchingSettings(
    seeds=SEEDS,
    sizes=SIZES,
    pretrain_samples=64,
    samples=64,
    learning_rate=1e-3,
    reading_samples=128,
    shorter=(32, 48),
    photograph_samples=32,
)
OPTIONS = {
    "seeds": "0,1,2",
    "pretrain_samples": "64",
    "samples": "64",
    "learning_rate": "1e-3",
    "reading_samples": "128",
    "shorter": "32,48",
    "photograph_samples": "32",
}
CLASSES = ("cat", "dog", "bird")


@pytest.fixture(scope="module")
def study() -> Study:
    return load_study("patching", OPTIONS)


def jitter(seed: int, *parts: str) -> float:
    """A little noise of its own for each seed and model: seeds that all give one difference give no interval."""
    return 1e-4 * (int(sha256(f"{seed} {parts}".encode()).hexdigest()[:4], 16) / 2**16 - 0.5)


LOSSES = {"rn-4": 0.015, "rn-8": 0.0075, "rn-16": 0.0025, SHORT: 0.02, SHORTER: 0.02, PHOTOGRAPHS: 0.004}
"""What a patch costs on test data; on the line the cost at one gain goes as this."""


def planted_in(name: str, rung: Rung, world: PatchingSeed, model: Step, data: Step) -> float | None:
    """TaskAccuracies of one start as the paper describes them: larger models lose less."""
    loss = LOSSES[name]
    start = {"rn-4": 0.37, "rn-8": 0.40, "rn-16": 0.43}.get(name, 0.41)
    own = {patch.task.test.key for patch in (*rung.patches, *world.transfers)}
    tuned = {patch.tuned.key for patch in (*rung.patches, *world.transfers)}
    edits = {patch.edit.key for patch in (*rung.patches, *world.transfers)}
    if model == rung.base:
        return 0.30 if data.key in own else start
    if model.key in tuned:
        return 0.60 if data.key in own else 0.30
    if model.key in {patch.guarded.key for patch in (*rung.patches, *world.transfers)}:
        return 0.50 if data.key in own else start - loss / 2
    for place, patch in enumerate(world.transfers):
        if model.key == patch.edit.key and data.key in own:
            return 0.54 + 0.03 * (place - 1)
    if model.key in edits:
        return 0.57 if data.key in own else start - loss
    return None


def planted(seed: int, model: Step, data: Step, world: PatchingSeed) -> float:
    noise = 0.002 * (seed % 3 - 1) + jitter(seed, model.key, data.key)
    reading = world.reading
    if model.key in {one.key for one in reading.models().values()}:
        if data.key in (reading.own.clean.key, reading.unseen.clean.key):
            return (0.5 if data.key == reading.own.clean.key else 0.6) + noise
        best = 0.45 if data.key == reading.own.attacked.key else 0.40
        repaired = {reading.base.key: 0.2, reading.control.edit.key: 0.25, reading.repaired.edit.key: best}
        return repaired[model.key] + noise
    kept = 0.02 if data.key in {task.key for task in world.supported.values()} else -0.02
    for name, edit in world.several.items():
        if model == edit:
            return {PARALLEL: 0.40, SEQUENTIAL: 0.45}.get(name, 0.50) + kept + noise
    rungs = (world.rungs | world.starts).items()
    found = [value for name, rung in rungs if (value := planted_in(name, rung, world, model, data)) is not None]
    return found[0] + noise


def plant_curve(place: Path, seed: int, lost: float = 0.1) -> None:
    rows = [
        {"coefficients": f"{point:g}", "metric": metric, "value": value}
        for point in GRID
        for metric, value in (("target", 0.3 + (0.3 + 0.001 * seed) * point**0.5), ("control", 0.4 - lost * point**2))
    ]
    (place / "search.json").write_text(json.dumps({"message": "", "rows": rows}))


def plant_answers(store: Store, world: PatchingSeed, publish: Publish) -> None:
    """Twelve pictures: before the patch half of the wrong words are said, afterwards none, or one of unseen classes."""
    for attack in (world.reading.own, world.reading.unseen):
        place = publish(store, attack.attacked, [])
        write_classes(place, [*map(str, range(12))], [CLASSES[0]] * 12, {key: f"a {key}" for key in CLASSES})
        np.save(place / "attacks.npy", np.arange(12) % 3)
        np.save(place / "images.npy", np.zeros((12, 4, 4, 3), np.uint8))
        for name, model in world.reading.models().items():
            shown = [CLASSES[(row + 1) % 3] for row in range(12)]
            still = int(name == "patched" and attack == world.reading.unseen)
            misread = 6 + world.seed % 2 if name == "before" else still
            said = [CLASSES[row % 3] if row < misread else shown[row] for row in range(12)]
            steps = [step for step in world.measured() if (step.model, step.data) == (model, attack.attacked)]
            target = str(store.path(steps[0]) / "examples.parquet")
            values = ",".join(f"({row}, '{shown[row]}', '{said[row]}')" for row in range(12))
            with duckdb.connect() as connection:
                connection.execute(
                    "COPY (SELECT 'a:' || row AS example, 0.5 AS score, label, prediction "
                    f"FROM (VALUES {values}) AS t(row, label, prediction) ORDER BY row) "
                    f"TO '{target}' (FORMAT parquet)"
                )


@pytest.fixture(scope="module")
def results(study: Study, publish: Publish, answer: Answer, tmp_path_factory: pytest.TempPathFactory) -> Results:
    """A store in which every accuracy, search and answer is planted."""
    store = Store(tmp_path_factory.mktemp("patching") / "store")
    for seed in SEEDS:
        world = trial(seed, SETTINGS)
        for step in {one.key: one for one in world.measured()}.values():
            value = planted(seed, step.model, step.data, world)
            one = Measurement(metric="top1", value=value, n=100, low=value - 0.1, high=value + 0.1)
            answer(publish(store, step, [one]), value, seed)
        for name, rung in (world.rungs | world.starts).items():
            for patch in rung.patches:
                plant_curve(publish(store, patch.edit, []), seed, LOSSES[name] / LOSSES["rn-8"] / 10)
        lengths = (0.3, 0.2, 0.1, 0.4, 0.4, 0.05)
        for rung, length in zip((world.rungs | world.starts).values(), lengths, strict=True):
            of_tasks = [length * (1 + 0.01 * seed) * share for share in (0.5, 1.0, 1.5)]
            moved = [Measurement(metric="relative_norm", value=value, n=1) for value in of_tasks]
            publish(store, rung.moved, moved)
        plant_answers(store, world, publish)
    return Results(store, tuple(walk(study.steps)))


def test_a_world_like_the_papers_supports_its_claims(study: Study, results: Results) -> None:
    verdicts = {claim.name: verdict for claim, verdict in decide(study.claims, results)}
    assert {name: verdict.status for name, verdict in verdicts.items()} == dict.fromkeys(verdicts, "supported")
    between = [point for point in GRID if 0 < point < 1]
    effects = {
        "patch-gains": 0.27,
        "patch-keeps": -0.0075,
        "patch-keeps-a-point": -0.0075,
        "keeps-more": 0.10 - 0.0075,
        "guarded-gains": 0.20,
        "guarded-keeps": -0.00375,
        "above-chord": fmean((0.301 * p**0.5 - 0.301 * p + 0.1 * (p - p**2)) / 2 for p in between),
        "joint-above": 0.05,
        "sequential-above": 0.05,
        "broad-transfer": 0.24,
        "larger-lose-less": 0.0125,
        # The target gains .301 p^.5 of which .05 is between the coefficients 0 and .1: .05 / (.301 x .1^.5) of the way.
        "longer-costs-less": (0.02 / 0.0075 - 1) * 0.1 * 0.1**2 * 0.05 / (0.301 * 0.1**0.5),
        "photographs-cost-less": (1 - 0.004 / 0.0075) * 0.1 * 0.1**2 * 0.05 / (0.301 * 0.1**0.5),
        "photographs-keep-a-point": -0.004,
        "larger-move-less": 0.2 * 1.01,
        "words-mislead": 0.55 - 0.20,
        "words-repaired": 0.25,
        "words-not-classes": 0.20,
        "words-unread": (6 + 7 + 6) / 36 - 1 / 12,
        "words-transfer": 0.20,
        "words-keep": 0.0,
    }
    assert {name: verdict.effect for name, verdict in verdicts.items()} == pytest.approx(effects, abs=0.003)
    bounds = {name: verdict.bound for name, verdict in verdicts.items() if verdict.bound}
    points = dict.fromkeys(("patch-keeps-a-point", "photographs-keep-a-point"), -0.01)
    assert bounds == dict.fromkeys(("patch-keeps", "guarded-keeps", "words-keep"), -0.02) | points
    assert all(verdict.n == len(SEEDS) for verdict in verdicts.values())


def test_without_measurements_nothing_is_decided(study: Study, tmp_path: Path) -> None:
    empty = Results(Store(tmp_path), tuple(walk(study.steps)))
    assert {verdict.status for _, verdict in decide(study.claims, empty)} == {"unmeasured"}


def test_one_seed_decides_nothing(results: Results) -> None:
    single = load_study("patching", OPTIONS | {"seeds": "0"})
    found = decide(single.claims, Results(results.store, tuple(walk(single.steps))))
    assert {verdict.status for _, verdict in found} == {"unmeasured"}


def test_one_size_is_not_compared(study: Study, results: Results) -> None:
    single = load_study("patching", OPTIONS | {"sizes": "rn-8"})
    found = {claim.name: verdict for claim, verdict in decide(single.claims, results)}
    assert found["larger-lose-less"].status == "unmeasured"
    assert "several" in found["larger-lose-less"].detail
    assert found["patch-gains"].status == "supported"


def test_every_figure_is_drawn_from_its_rows(study: Study, results: Results) -> None:
    figures = {
        figure.name: figure for figure in (make(results) for make in study.figures[:-1])
    }  # the last shows pictures
    assert set(figures) == {
        "curve",
        "singles",
        "several",
        "transfer",
        "sizes",
        "moved",
        "price",
        "starts",
        "words",
        "attacked",
    }
    assert all(figure.spec()["data"]["values"] for name, figure in figures.items() if name != "attacked")
    at_one = {row["family"]: row["y"] for row in figures["curve"].table() if row["x"] == 1.0}
    assert at_one["patched task"] == pytest.approx(0.601)
    assert at_one["chord"] == pytest.approx(at_one["mean of both"])
    sheet = figures["attacked"].table()
    shares = {row["section"]: row["value"] for row in sheet}
    assert shares == {"before: what is shown": 0.5, "before: what is written": 0.5, "patched: what is shown": 1.0}


def test_the_height_over_the_chord_is_that_of_the_mean() -> None:
    bent = {0.0: (0.2, 0.6), 0.5: (0.5, 0.55), 1.0: (0.6, 0.4)}
    scores = {point: {"target": target, "control": control} for point, (target, control) in bent.items()}
    assert above_chord(scores) == pytest.approx(0.525 - (0.4 + 0.5) / 2)
    straight = {point: {"target": 0.2 + point, "control": 0.6 - point / 2} for point in GRID}
    assert above_chord(straight) == pytest.approx(0)


def test_the_cost_is_read_where_the_gain_is_first_reached() -> None:
    bent = {0.0: (0.2, 0.6), 0.5: (0.3, 0.55), 1.0: (0.6, 0.4)}
    curve = {point: {"target": target, "control": control} for point, (target, control) in bent.items()}
    assert cost_at_gain(curve, 0.05) == pytest.approx(0.025)
    assert cost_at_gain(curve, 0.2) == pytest.approx(0.05 + 0.15 / 3)
    with pytest.raises(SurefootError, match=r"No patch on the line gains 50 points, 40\.0 at most"):
        cost_at_gain(curve, 0.5)
    assert gain_at_cost(curve, 0.025) == pytest.approx(0.05)
    assert gain_at_cost(curve, 0.1) == pytest.approx(0.1 + 0.3 / 3)
    assert gain_at_cost(curve, 0.3) == pytest.approx(0.4), "never lost: the most that is gained"


@pytest.mark.parametrize("seeds", ["", "1,1,2", "-1,0"])
@pytest.mark.parametrize("name", ["patching", "arithmetic", "local", "pairs", "sources", "quickstart"])
def test_no_seed_one_seed_twice_and_one_below_zero_are_refused(name: str, seeds: str) -> None:
    with pytest.raises(SurefootError, match="give different numbers of 0 or above, as 0,1,2,3,4"):
        load_study(name, {"seeds": seeds})


def test_two_seeds_decide_nothing(results: Results) -> None:
    two = load_study("patching", OPTIONS | {"seeds": "0,1"})
    found = decide(two.claims, Results(results.store, tuple(walk(two.steps))))
    assert {verdict.status for _, verdict in found} == {"undecided"}
    assert all("2 seeds decide nothing, 3 are the least" in verdict.detail for _, verdict in found)


def test_words_are_counted_where_they_are_said(results: Results) -> None:
    reading = trial(0, SETTINGS).reading
    assert words_said(TaskAccuracies(results), reading.unseen, reading.base) == pytest.approx(0.5)
    assert words_said(TaskAccuracies(results), reading.unseen, reading.repaired.edit) == pytest.approx(1 / 12)
    elsewhere = Attack(clean=reading.own.clean, attacked=Typographic(data=reading.own.clean, word="wrong", seed=9))
    with pytest.raises(SurefootError, match="not measured"):
        words_said(TaskAccuracies(results), elsewhere, reading.base)


def test_nothing_is_trained_or_chosen_on_test_drawings(study: Study) -> None:
    steps = walk(study.steps)
    tests = {step.data.key for step in steps if isinstance(step, ZeroShot)}
    tests |= {step.data.data.key for step in steps if isinstance(step, ZeroShot) and isinstance(step.data, Typographic)}
    shown = [data for step in steps if isinstance(step, Finetune) for data in step.data]
    chosen = [data for step in steps if isinstance(step, WeightEdit) for data in (*step.target, *step.control)]
    assert shown
    assert chosen
    for data in (*shown, *chosen):
        assert data.key not in tests
        assert not isinstance(data, Typographic) or data.data.key not in tests


def test_a_patch_of_half_of_the_classes_is_tested_on_the_other_half() -> None:
    for seed in SEEDS:
        for patch in trial(seed, SETTINGS).transfers:
            for shown, half in ((patch.task.train, 0), (patch.task.validation, 0), (patch.task.test, 1)):
                assert isinstance(shown, DrawnTask)
                assert (shown.half, shown.halved, shown.split_seed) == (half, "classes", seed)


def test_what_was_patched_before_counts_among_what_must_be_kept() -> None:
    world = trial(1, SETTINGS)
    last = world.several[SEQUENTIAL]
    middle = last.base
    assert isinstance(middle, WeightEdit)
    assert isinstance(middle.base, WeightEdit)
    kept = [data.key for data in last.control]
    assert [*(one.key for one in middle.control), middle.target[0].key] == kept
    assert middle.base.target[0].key in kept
    order = [edit.target[0].key for edit in (middle.base, middle, last)]
    assert order == [world.middle.patches[index].task.validation.key for index in (1, 2, 0)]
