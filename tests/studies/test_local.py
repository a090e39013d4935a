"""The study `local`: what its claims make of planted accuracies, and what its workers share."""

from collections.abc import Callable
from pathlib import Path

import pytest

from surefoot.adapt import Average, Finetune, OuterStep
from surefoot.core import Measurement, Results, Step, Store, Study, decide, walk
from surefoot.studies import load_study
from surefoot.studies._local_claims import bytes_moved
from surefoot.studies._local_steps import COUNTS, MAIN, Settings, Trial, trial
from surefoot.tasks import ZeroShot

Publish = Callable[[Store, Step, list[Measurement]], Path]
SEEDS = (0, 1, 2)
SENT = 4 * 1000.0
SETTINGS = Settings(seeds=SEEDS, size="rn-4", pretrain_samples=64, steps=72, batch=4, rounds=3, learning_rate=1e-3)
OPTIONS = {"seeds": "0,1,2", "size": "rn-4", "pretrain_samples": "64", "batch": "4", "rounds": "3"} | {
    "learning_rate": "1e-3"
}


@pytest.fixture(scope="module")
def study() -> Study:
    return load_study("local", OPTIONS)


def planted(step: ZeroShot, world: Trial) -> float:
    """A world in which the average is as good as communicating in distribution, and better under shift."""
    noise = 0.002 * ((world.seed * 7) % 3 - 1)
    model, known = step.model, step.data == world.known
    if model == world.base:
        return 0.30 + noise
    if model in world.alone[MAIN]:
        return (0.50 if known else 0.40) + noise
    if model in world.together.values():
        return (0.60 if known else 0.42) + noise / 2
    if model == world.partly:
        return (0.62 if known else 0.46) + noise / 2
    return (0.595 if known else 0.45) + noise


@pytest.fixture(scope="module")
def results(study: Study, publish: Publish, tmp_path_factory: pytest.TempPathFactory) -> Results:
    """A store in which every accuracy is planted, and what an average sends."""
    store = Store(tmp_path_factory.mktemp("local") / "store")
    for seed in SEEDS:
        world = trial(seed, SETTINGS)
        for step in world.measured():
            value = planted(step, world)
            publish(store, step, [Measurement(metric="top1", value=value, n=100, low=value - 0.1, high=value + 0.1)])
        publish(store, world.lofi[MAIN], [Measurement(metric="bytes", value=SENT, n=MAIN)])
    return Results(store, tuple(walk(study.steps)))


def test_a_world_like_the_papers_supports_its_claims(study: Study, results: Results) -> None:
    verdicts = {claim.name: verdict for claim, verdict in decide(study.claims, results)}
    assert {name: verdict.status for name, verdict in verdicts.items()} == dict.fromkeys(verdicts, "supported")
    assert verdicts["lofi-keeps"].effect == pytest.approx(-0.005)
    assert verdicts["lofi-helps-under-shift"].effect == pytest.approx(0.03)
    assert verdicts["average-above-worker"].effect == pytest.approx(0.095)
    assert verdicts["lost-worker"].effect == pytest.approx(0.0)
    assert verdicts["early-communication-helps"].effect == pytest.approx(0.025)
    assert verdicts["bytes"].effect == pytest.approx(1.5 * 72)
    assert all(verdict.n == len(SEEDS) for name, verdict in verdicts.items() if name != "bytes")


def test_without_measurements_nothing_is_decided(study: Study, tmp_path: Path) -> None:
    empty = Results(Store(tmp_path), tuple(walk(study.steps)))
    assert {verdict.status for _, verdict in decide(study.claims, empty)} == {"undecided"}


def test_one_seed_decides_nothing_but_bytes(results: Results) -> None:
    single = load_study("local", OPTIONS | {"seeds": "0"})
    found = decide(single.claims, Results(results.store, tuple(walk(single.steps))))
    assert {verdict.status for claim, verdict in found if claim.name != "bytes"} == {"undecided"}


def test_every_figure_is_drawn_from_its_rows(study: Study, results: Results) -> None:
    figures = {figure.name: figure for figure in (make(results) for make in study.figures)}
    assert set(figures) == {"methods", "workers", "bytes"}
    assert all(figure.spec()["data"]["values"] for figure in figures.values())
    alone = [row["value"] for row in figures["methods"].table() if row["label"] == "one worker alone"]
    assert alone == [pytest.approx(0.50), pytest.approx(0.40)]
    assert len(figures["workers"].table()) == 2 * 2 * len(COUNTS)


def test_bytes_are_those_of_a_ring_and_of_whole_weights() -> None:
    """With 4 workers of 1,000 bytes: 2 * 3 / 4 * 1,000 a worker and step; 3 rounds send three times, receive twice."""
    moved = bytes_moved(SENT, SETTINGS)
    assert moved["lo-fi"] == SENT
    assert moved["together at each step"] == pytest.approx(72 * 4 * 1.5 * 1000)
    assert moved["together for a quarter, then lo-fi"] == pytest.approx(18 * 4 * 1.5 * 1000 + SENT)
    assert moved["local SGD"] == moved["DiLoCo"] == 5 * SENT


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


def test_rounds_follow_each_other_through_the_whole_schedule() -> None:
    outer: Step = trial(0, SETTINGS).diloco
    first_steps = []
    while isinstance(outer, OuterStep):
        assert {one.model for one in outer.workers if isinstance(one, Finetune)} == {outer.previous}
        first_steps.append({one.first_step for one in outer.workers if isinstance(one, Finetune)})
        outer = outer.previous
    assert first_steps == [{48}, {24}, {0}]
    assert outer == trial(0, SETTINGS).base


def test_no_model_is_tuned_on_test_drawings(study: Study) -> None:
    steps = walk(study.steps)
    tests = {step.data.key for step in steps if isinstance(step, ZeroShot)}
    assert not tests & {data.key for step in steps if isinstance(step, Finetune) for data in step.data}
    assert len([step for step in steps if isinstance(step, Average)]) == len(SEEDS) * (len(COUNTS) + 2)
