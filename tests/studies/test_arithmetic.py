"""The study `arithmetic`: what its claims make of planted accuracies, and what it would run."""

import json
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import t as student

from surefoot.contrastive import DirectionAngles, Finetune, WeightEdit, ZeroShot
from surefoot.core import Measurement, Results, Step, Store, Study, SurefootError, decide, walk
from surefoot.examples import write_examples
from surefoot.language import LanguageEdit, Perplexity
from surefoot.studies import load_study
from surefoot.studies.arithmetic import TASKS, ArithmeticSeed, ArithmeticSettings, trial

Publish = Callable[[Store, Step, list[Measurement]], Path]
Answer = Callable[[Path, float, int], None]
SEEDS = (0, 1, 2)
SETTINGS = ArithmeticSettings(seeds=SEEDS, size="rn-4", pretrain_samples=64, samples=64, learning_rate=1e-3, points=20)
OPTIONS = {
    "seeds": "0,1,2",
    "size": "rn-4",
    "pretrain_samples": "64",
    "samples": "64",
    "learning_rate": "1e-3",
    "language_steps": "0",
}


@pytest.fixture(scope="module")
def study() -> Study:
    return load_study("arithmetic", OPTIONS)


def jitter(seed: int, *parts: str) -> float:
    """A little noise of its own for each seed and model: seeds that all give one difference give no interval."""
    return 1e-4 * (int(sha256(f"{seed} {parts}".encode()).hexdigest()[:4], 16) / 2**16 - 0.5)


def planted(seed: int, model: Step, own: str, world: ArithmeticSeed) -> float:
    """TaskAccuracies as the paper describes them, with a little noise by seed."""
    noise = 0.01 * ((seed * 7 + len(own)) % 3 - 1) + jitter(seed, model.key, own)
    more = 0.0 if own in TASKS else 0.10  # groups on which nothing was tuned are easier
    if model == world.base:
        return 0.40 + more + noise
    if isinstance(model, Finetune):
        if model.ascent:
            return 0.02
        tuned_on = {group for data in model.data for group in data.groups}  # type: ignore[attr-defined]
        return (0.56 if len(tuned_on) > 1 else 0.60) + noise if own in tuned_on else 0.35 + noise
    assert isinstance(model, WeightEdit)
    if model.objective == "forget":
        known = isinstance(model.minus[0], Finetune)
        forgotten = own in model.target[0].groups  # type: ignore[attr-defined]
        left = 0.15 + 0.02 * (TASKS.index(own) - 2.5) if known and forgotten else 0.395
        return left + more + noise
    if model.objective == "transfer":
        return (0.50 if len(model.plus) > 1 else 0.42) + noise
    return 0.60 - 0.03 * len(model.plus) + noise


@pytest.fixture(scope="module")
def results(study: Study, publish: Publish, answer: Answer, tmp_path_factory: pytest.TempPathFactory) -> Results:
    """A store in which every accuracy is planted, and the angles and searches too."""
    store = Store(tmp_path_factory.mktemp("arithmetic") / "store")
    for seed in SEEDS:
        world = trial(seed, SETTINGS)
        for step in {one.key: one for one in world.measured()}.values():
            own = step.data.groups[0]  # type: ignore[attr-defined]
            value = planted(seed, step.model, own, world)
            one = Measurement(metric="top1", value=value, n=100, low=value - 0.1, high=value + 0.1)
            answer(publish(store, step, [one]), value, seed)
        for edit in world.negated.values():
            rows = [
                {"coefficients": f"{point:g}", "metric": metric, "value": 0.4 - fall * point}
                for point in (0.0, 0.5, 1.0)
                for metric, fall in (("target", 0.3), ("control", 0.02))
            ]
            (publish(store, edit, []) / "search.json").write_text(json.dumps({"message": "", "rows": rows}))
        names = world.angles.names
        cosines = [(a, b) for place, a in enumerate(names) for b in names[:place]]
        publish(
            store,
            world.angles,
            [
                Measurement(metric="cosine", value=0.05 + 0.03 * (-1) ** k + jitter(seed, a, b), n=1, task=a, group=b)
                for k, (a, b) in enumerate(cosines)
            ],
        )
    return Results(store, tuple(walk(study.steps)))


def test_a_world_like_the_papers_supports_its_claims(study: Study, results: Results) -> None:
    verdicts = {claim.name: verdict for claim, verdict in decide(study.claims, results)}
    assert {name: verdict.status for name, verdict in verdicts.items()} == dict.fromkeys(verdicts, "supported")
    effects = {
        "negation-forgets": 0.25,
        "negation-keeps": (5 * 0.395 + 2 * 0.495) / (5 * 0.40 + 2 * 0.50),
        "negation-beats-random": 0.395 - 0.15,
        "ascent-destroys": (5 * 0.395 + 2 * 0.495) / 7 - 0.02,
        "addition-helps": (0.54 - 0.40) / 0.60,
        "addition-thins": (0.54 - 0.42) / 0.60,
        "joint-above": (0.56 - 0.42) / 0.60,
        "ties-above": (0.57 - 0.42) / 0.60,
        "dare-above": (0.57 - 0.42) / 0.60,
        "analogy-beats-base": 0.10,
        "analogy-beats-alone": 0.08,
        "near-orthogonal": 0.05,
    }
    assert {name: verdict.effect for name, verdict in verdicts.items()} == pytest.approx(effects, abs=0.004)
    bounds = {name: verdict.bound for name, verdict in verdicts.items() if verdict.bound}
    assert bounds == {"negation-keeps": 0.95, "near-orthogonal": 0.2}
    assert all(verdict.n == len(SEEDS) for verdict in verdicts.values())


def test_without_measurements_nothing_is_decided(study: Study, tmp_path: Path) -> None:
    empty = Results(Store(tmp_path), tuple(walk(study.steps)))
    assert {verdict.status for _, verdict in decide(study.claims, empty)} == {"unmeasured"}


def test_one_seed_decides_nothing(results: Results) -> None:
    single = load_study("arithmetic", OPTIONS | {"seeds": "0"})
    found = decide(single.claims, Results(results.store, tuple(walk(single.steps))))
    assert {verdict.status for _, verdict in found} == {"unmeasured"}
    assert all("One seed gives no interval" in verdict.detail for _, verdict in found)


def test_every_figure_is_drawn_from_its_rows(study: Study, results: Results) -> None:
    figures = {
        figure.name: figure for figure in (make(results) for make in study.figures[:-1])
    }  # the last shows pictures
    assert set(figures) == {"negation", "negation-curve", "addition", "analogies", "angles"}
    assert all(figure.spec()["data"]["values"] for figure in figures.values())
    forgotten = next(
        row
        for row in figures["negation"].table()
        if row["label"] == "negation" and row["group"] == "task to be forgotten"
    )
    assert forgotten["value"] == pytest.approx(0.15, abs=0.001)
    assert len(figures["angles"].table()) == len(TASKS) * (len(TASKS) - 1)


def test_no_coefficient_is_chosen_on_test_drawings(study: Study) -> None:
    steps = walk(study.steps)
    tests = {step.data.key for step in steps if isinstance(step, ZeroShot)}
    edits = [step for step in steps if isinstance(step, WeightEdit)]
    assert edits
    assert not tests & {data.key for edit in edits for data in (*edit.target, *edit.control)}
    tuned = [step for step in steps if isinstance(step, Finetune)]
    assert not tests & {data.key for step in tuned for data in step.data}


def test_each_number_of_tasks_is_added_for_every_seed() -> None:
    for seed in SEEDS:
        world = trial(seed, SETTINGS)
        assert sorted(len(groups) for groups in world.added) == [2, 2, 2, 3, 3, 4, 5, 6]
        assert isinstance(world.angles, DirectionAngles)


def test_claims_over_texts_have_students_and_welchs_interval_over_documents(publish: Publish, tmp_path: Path) -> None:
    study = load_study("arithmetic", OPTIONS | {"language_steps": "2"})
    store, generator = Store(tmp_path / "store"), np.random.default_rng(0)
    changed: dict[str, list[float]] = {"own": [], "control": [], "added": []}
    for step in (step for step in walk(study.steps) if isinstance(step, Perplexity)):
        count, edit = 9 if step.shift == "address" else 4, step.model
        rise = np.zeros(count)
        if isinstance(edit, LanguageEdit):
            target = {data.style for data in edit.target}  # type: ignore[attr-defined]
            kind = "other" if step.shift not in {*target, "address"} else "added" if edit.plus else "own"
            kind = "control" if kind == "own" and step.shift == "address" else kind
            mean, spread = {"added": (-0.4, 0.3), "control": (0.1, 0.05), "own": (0.8, 0.9), "other": (0, 1)}[kind]
            rise = mean + spread * generator.standard_normal(count)
            if kind != "other" and not (edit.plus and step.shift == "address"):
                changed[kind] += rise.tolist()
        names = [f"{step.shift}:{place}" for place in range(count) for _ in (0, 1)]
        scores = np.repeat(3 + np.arange(count) / 10 + rise, 2) + np.tile([-0.2, 0.2], count)
        place = publish(store, step, [Measurement(metric="perplexity", value=20, n=count, low=18, high=23)])
        ids = [f"{name}:{part}" for part, name in enumerate(names)]
        write_examples(place, {"example": ids, "document": names, "score": scores})
    results = Results(store, tuple(walk(study.steps)))
    verdicts = {claim.name: verdict for claim, verdict in decide(study.claims, results)}
    own, control, falls = (np.array(changed[kind]) for kind in ("own", "control", "added"))
    assert (len(own), len(control), len(falls)) == (8, 18, 8)
    parts = [values.var(ddof=1) / len(values) for values in (own, control)]
    freedom = sum(parts) ** 2 / sum(
        part**2 / (len(values) - 1) for part, values in zip(parts, (own, control), strict=True)
    )
    gap, half = own.mean() - control.mean(), student.ppf(0.975, freedom) * sum(parts) ** 0.5
    forgets, adds = verdicts["language-forgets"], verdicts["language-adds"]
    assert (forgets.effect, forgets.low, forgets.high) == pytest.approx((gap, gap - half, gap + half))
    half = student.ppf(0.975, 7) * falls.std(ddof=1) / 8**0.5
    assert (adds.effect, adds.low, adds.high) == pytest.approx(
        (-falls.mean(), -falls.mean() - half, -falls.mean() + half)
    )
    shown = next(
        figure for figure in (make(results) for make in study.figures[-1:]) if figure.name == "language"
    ).table()
    assert {(row["value"], row["low"], row["high"]) for row in shown} == {(20, 18, 23)}
    assert len(shown) == 3 * 6


def test_every_search_tries_as_many_coefficients_as_were_asked_for() -> None:
    found = load_study("arithmetic", OPTIONS | {"points": "5"})
    grids = {step.grid for step in walk(found.steps) if isinstance(step, WeightEdit)}
    assert grids == {(0.0, 0.2, 0.4, 0.6, 0.8, 1.0)}
    default = load_study("arithmetic", OPTIONS)
    costs = [sum(step.cost for step in walk(one.steps) if isinstance(step, WeightEdit)) for one in (found, default)]
    assert costs[1] / costs[0] == pytest.approx(21 / 6)
    with pytest.raises(SurefootError, match="points is 0"):
        load_study("arithmetic", OPTIONS | {"points": "0"})
