"""The study `local`: what its claims make of planted accuracies, and what its workers share."""

import json
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import sem, t

from surefoot.contrastive import Finetune, ImageNetModel, ZeroShot
from surefoot.core import Measurement, Results, Step, Store, Study, decide, walk
from surefoot.examples import write_examples
from surefoot.studies import load_study
from surefoot.studies.local._claims import bytes_moved, seconds_of_run
from surefoot.studies.local._steps import COUNTS, MAIN, LocalSeed, LocalSettings, trial
from surefoot.training import Average, OuterStep

Publish = Callable[[Store, Step, list[Measurement]], Path]
SEEDS = (0, 1, 2)
SENT = 4 * 1000.0
SETTINGS = LocalSettings(
    seeds=SEEDS,
    size="rn-4",
    pretrain_samples=64,
    weaker_samples=32,
    steps=72,
    batch=4,
    rounds=3,
    learning_rate=1e-3,
)
OPTIONS = {
    "seeds": "0,1,2",
    "size": "rn-4",
    "pretrain_samples": "64",
    "weaker_samples": "32",
    "steps": "72",
    "batch": "4",
    "rounds": "3",
} | {"learning_rate": "1e-3"}


@pytest.fixture(scope="module")
def study() -> Study:
    return load_study("local", OPTIONS)


def jitter(seed: int, *parts: str) -> float:
    """A little noise of its own for each seed and model: seeds that all give one difference give no interval."""
    return 1e-4 * (int(sha256(f"{seed} {parts}".encode()).hexdigest()[:4], 16) / 2**16 - 0.5)


def planted(step: ZeroShot, world: LocalSeed) -> float:
    """A world in which the average is as good as communicating in distribution, and better under shift."""
    noise = 0.002 * ((world.seed * 7) % 3 - 1) + 80 * jitter(world.seed, step.key)
    model, known = step.model, step.data == world.known
    weaker = world.weaker
    if model in (world.base, weaker.base):
        return 0.30 + noise
    if model in (weaker.lofi, weaker.together):
        return (0.50 if model == weaker.together else 0.42) + noise
    if model in world.alone[MAIN]:
        return (0.50 if known else 0.40) + noise
    if model in world.together.values():
        return (0.60 if known else 0.42) + noise / 2
    if model in (world.partly, world.local):
        best = 0.62 if model == world.partly else 0.65
        return (best if known else 0.46) + noise / 2
    if model == world.lofi[max(COUNTS)] and known:
        return 0.585 + noise / 2
    return (0.595 if known else 0.43 if step.data == world.shifted[0] else 0.47) + noise


THINGS = 500


def plant(publish: Publish, store: Store, step: ZeroShot, world: LocalSeed) -> None:
    """So many of the things are named rightly, each drawn by two hands, that the accuracy is the planted one."""
    right = round(planted(step, world) * THINGS)
    value = right / THINGS
    place = publish(store, step, [Measurement(metric="top1", value=value, n=2 * THINGS, low=value, high=value)])
    order = np.random.default_rng(world.seed).permutation(THINGS)  # the same things are easy for every model
    ids = [f"{hand}:{thing:04X}" for hand in ("one", "other") for thing in order]
    write_examples(place, {"example": ids, "score": np.tile(np.arange(THINGS) < right, 2).astype(float)})


@pytest.fixture(scope="module")
def results(study: Study, publish: Publish, tmp_path_factory: pytest.TempPathFactory) -> Results:
    """A store in which every accuracy is planted, what an average sends, and how fast a worker was."""
    store = Store(tmp_path_factory.mktemp("local") / "store")
    for seed in SEEDS:
        world = trial(seed, SETTINGS)
        for step in world.measured():
            plant(publish, store, step, world)
        publish(store, world.lofi[MAIN], [Measurement(metric="bytes", value=SENT, n=MAIN)])
        for worker in world.alone[MAIN]:
            (publish(store, worker, []) / "history.json").write_text(json.dumps({"samples_per_second": 100 + seed}))
    return Results(store, tuple(walk(study.steps)))


def test_a_start_of_photographs_is_not_compared_with_a_weaker_one() -> None:
    options = {name: text for name, text in OPTIONS.items() if "samples" not in name}
    photographs = load_study("local", options | {"size": "photographs"})
    assert "better-start-keeps-more" not in {claim.name for claim in photographs.claims}
    starts = [step for step in walk(photographs.steps) if isinstance(step, ImageNetModel)]
    assert [start.seed for start in starts] == [*SEEDS]
    assert len({step.key for step in photographs.steps}) == len(photographs.steps)


def test_a_world_like_the_papers_supports_its_claims(study: Study, results: Results) -> None:
    verdicts = {claim.name: verdict for claim, verdict in decide(study.claims, results)}
    assert {name: verdict.status for name, verdict in verdicts.items()} == dict.fromkeys(verdicts, "supported")
    effects = {
        "lofi-keeps": (0.295 / 0.3, 0.01),
        "lofi-keeps-with-more": (0.285 / 0.3, 0.015),
        "lofi-parity": (-0.005, 0.005),
        "lofi-helps-under-shift": (0.03, 0.005),
        "average-above-worker": (0.095, 0.004),
        "average-above-worker-under-shift": (0.05, 0.004),
        "lost-worker": (1.0, 0.02),
        "early-communication-helps": (0.025, 0.005),
        "rounds-help": (0.055, 0.005),
        "diloco-keeps": (0.295 / 0.3, 0.02),
        "better-start-keeps-more": (0.295 / 0.3 - 0.12 / 0.20, 0.03),
        "bytes": (1.5 * 72, 1e-9),
    }
    assert verdicts.keys() == effects.keys()
    for name, (value, apart) in effects.items():
        assert verdicts[name].effect == pytest.approx(value, abs=apart), name
    assert {verdicts[name].bound for name in ("lofi-keeps", "lofi-keeps-with-more", "lost-worker", "diloco-keeps")} == {
        0.9
    }
    assert all(verdict.n == len(SEEDS) for name, verdict in verdicts.items() if name != "bytes")


def test_under_shift_the_interval_is_over_things_as_well(study: Study, results: Results) -> None:
    """The things are the same for all seeds: as many seeds as one likes leave what things they are uncertain."""
    verdicts = {claim.name: verdict for claim, verdict in decide(study.claims, results)}
    gap = verdicts["average-above-worker-under-shift"]
    assert gap.low is not None
    assert gap.high is not None
    changed = 0.05 * THINGS  # a twentieth of the things is right for one model and wrong for the other
    of_things = (changed / THINGS * (1 - changed / THINGS) / THINGS) ** 0.5
    assert (gap.high - gap.low) / 2 > of_things / len(SEEDS) ** 0.5


def test_without_a_gain_there_is_no_share_of_it(study: Study, publish: Publish, tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    for seed in SEEDS:
        for step in trial(seed, SETTINGS).measured():
            publish(store, step, [Measurement(metric="top1", value=0.3, n=100, low=0.2, high=0.4)])
    kept = [claim for claim in study.claims if claim.name == "lofi-keeps"]
    ((_, verdict),) = decide(kept, Results(store, tuple(walk(study.steps))))
    assert verdict.status == "unmeasured"
    assert "no share of it" in verdict.detail


def test_without_measurements_nothing_is_decided(study: Study, tmp_path: Path) -> None:
    empty = Results(Store(tmp_path), tuple(walk(study.steps)))
    assert {verdict.status for _, verdict in decide(study.claims, empty)} == {"unmeasured"}


def test_one_seed_decides_nothing_but_bytes(results: Results) -> None:
    single = load_study("local", OPTIONS | {"seeds": "0"})
    found = decide(single.claims, Results(results.store, tuple(walk(single.steps))))
    assert {verdict.status for claim, verdict in found if claim.name != "bytes"} == {"unmeasured"}


def test_every_figure_is_drawn_from_its_rows(study: Study, results: Results) -> None:
    figures = {
        figure.name: figure for figure in (make(results) for make in study.figures[:-1])
    }  # the last shows pictures
    assert set(figures) == {"methods", "workers", "bytes", "seconds"}
    assert all(figure.spec()["data"]["values"] for figure in figures.values())
    alone = [row["value"] for row in figures["methods"].table() if row["label"] == "one worker alone"]
    assert alone == [pytest.approx(0.50, abs=0.005), pytest.approx(0.40, abs=0.005)]
    under_shift = [row for row in figures["methods"].table() if row["group"] != "styles tuned on"]
    assert all(row["low"] < row["value"] < row["high"] for row in under_shift)
    worlds = [trial(seed, SETTINGS) for seed in SEEDS]
    lofi = {row["group"]: row for row in figures["workers"].table() if row["label"] == f"{MAIN} workers, lo-fi"}
    over_seeds, over_things = lofi["styles tuned on"], lofi["other styles (shift)"]
    values = [
        round(planted(step, world) * THINGS) / THINGS
        for world in worlds
        for step in world.measured()
        if (step.model, step.data) == (world.lofi[MAIN], world.known)
    ]
    bounds = t.interval(0.95, len(SEEDS) - 1, loc=np.mean(values), scale=sem(values))
    assert (over_seeds["low"], over_seeds["high"]) == pytest.approx(bounds)
    of_things = (0.45 * 0.55 / THINGS / len(SEEDS)) ** 0.5
    assert over_things["high"] - over_things["low"] > 2 * 1.96 * 0.9 * of_things
    seconds = {(row["row"], row["column"]): row["value"] for row in figures["seconds"].table()}
    assert seconds["lo-fi", "1 Mbit/s"] == pytest.approx(72 * 4 / 101 + SENT / 125_000)
    assert len(figures["workers"].table()) == 2 * 2 * len(COUNTS)


def test_bytes_are_those_of_a_ring_and_of_whole_weights() -> None:
    """With 4 workers of 1,000 bytes: 2 * 3 / 4 * 1,000 a worker and step; 3 rounds send three times, receive twice."""
    moved = bytes_moved(SENT, SETTINGS)
    assert moved["lo-fi"] == SENT
    assert moved["together at each step"] == pytest.approx(72 * 4 * 1.5 * 1000)
    assert moved["together for a quarter, then lo-fi"] == pytest.approx(18 * 4 * 1.5 * 1000 + SENT)
    assert moved["local SGD"] == moved["DiLoCo"] == 5 * SENT


def test_the_time_of_a_run_is_that_of_training_and_of_one_link() -> None:
    """A worker of four sends and receives 2 * 3 / 4 of its 1,000 bytes a step; one link takes all whole weights."""
    told = seconds_of_run(SENT, SETTINGS, samples_per_second=100.0, link=500.0)
    training = 72 * 4 / 100
    assert told["lo-fi"] == pytest.approx(training + SENT / 500)
    assert told["together at each step"] == pytest.approx(training + 72 * 1500 / 500)
    assert told["DiLoCo"] == pytest.approx(training + 5 * SENT / 500)


def test_workers_share_nothing_but_their_start() -> None:
    """So that any pool can run them: no worker waits for another, and each has its own data and order."""
    world = trial(1, SETTINGS)
    for count, workers in world.alone.items():
        assert [one.shard for one in workers] == [(part, count) for part in range(count)]
        assert len({one.seed for one in workers}) == count
        for one in workers:
            assert one.model == world.base
            assert not set(walk([one])) & set(workers) - {one}


def test_every_method_sees_the_same_number_of_pictures() -> None:
    world = trial(0, SETTINGS)
    for count in COUNTS:
        assert world.together[count].samples == sum(one.samples for one in world.alone[count]) == 72 * 4 * count
    for model in (world.local, world.diloco, world.partly):
        trained = [step for step in walk([model]) if isinstance(step, Finetune)]
        assert sum(step.samples for step in trained) == 72 * 4 * MAIN
        assert {step.whole_steps for step in trained} == {72}


def test_the_baseline_is_varied_in_its_batch_and_in_its_steps() -> None:
    world = trial(0, SETTINGS)
    one, longer, together = world.single, world.longer, world.together[MAIN]
    assert (one.shard, one.batch, one.samples) == ((0, 1), SETTINGS.batch, SETTINGS.steps * SETTINGS.batch)
    assert (longer.batch, longer.samples, longer.whole_steps) == (one.batch, together.samples, MAIN * SETTINGS.steps)
    assert (together.batch, together.whole_steps) == (MAIN * one.batch, one.whole_steps)


def test_rounds_follow_each_other_through_the_whole_schedule() -> None:
    outer: Step = trial(0, SETTINGS).diloco
    first_steps = []
    while isinstance(outer, OuterStep):
        assert {one.model for one in outer.workers if isinstance(one, Finetune)} == {outer.previous}
        first_steps.append({one.first_step for one in outer.workers if isinstance(one, Finetune)})
        for worker in outer.workers:
            assert isinstance(worker, Finetune)
            before = worker.moments
            assert (before is None) == (worker.first_step == 0)
            assert worker.keep_moments == (worker.first_step < 48)
            assert before is None or (isinstance(before, Finetune) and before.seed == worker.seed)
        outer = outer.previous
    assert first_steps == [{48}, {24}, {0}]
    assert outer == trial(0, SETTINGS).base


def test_no_model_is_tuned_on_test_drawings(study: Study) -> None:
    steps = walk(study.steps)
    tests = {step.data.key for step in steps if isinstance(step, ZeroShot)}
    assert not tests & {data.key for step in steps if isinstance(step, Finetune) for data in step.data}
    assert len([step for step in steps if isinstance(step, Average)]) == len(SEEDS) * (len(COUNTS) + 3)
