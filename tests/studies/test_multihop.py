"""The study `multihop`: worlds, training that resumes, gaps counted by hand, claims that turn with what is planted."""

import json
import os
from collections.abc import Callable
from dataclasses import replace
from itertools import product
from pathlib import Path

import pytest

from surefoot.core import Measurement, Results, Step, Store, StoredInputs, SurefootError, Verdict, decide
from surefoot.stats import paired_difference, share_difference
from surefoot.studies import load_study
from surefoot.studies.multihop import FactGaps, FactModel, FactWorld, PublishedGaps, study, widest_difference
from surefoot.studies.multihop._model import questions_asked
from surefoot.studies.multihop._world import PARTS, direct_text, read_world, self_ask_text, training_texts

Made = Callable[[Step], Path]
Publish = Callable[[Store, Step, list[Measurement]], Path]
DATA = os.environ.get("SUREFOOT_DATA")
WORLD = FactWorld(people=30, bridges=8, relations=3)
TINY = FactModel(world=WORLD, width=32, layers=1, steps=8, measured=(0, 4), asked=10, batch=4)


@pytest.fixture(scope="module")
def trained(made: Made) -> Path:
    return made(TINY)


def test_what_is_held_out_is_never_composed(made: Made) -> None:
    world = read_world(made(WORLD))
    asked = {part: {one.id for one in world.questions[part]} for part in PARTS}
    assert sum(map(len, asked.values())) == len(set.union(*asked.values())) == 30 * 3
    through = {part: {one.hops[0].answers[0] for one in world.questions[part]} for part in PARTS}
    assert through["bridge"].isdisjoint(through["seen"] | through["pair"])
    assert {round(len(asked["pair"]) / (len(asked["pair"]) + len(asked["seen"])), 1)} == {0.3}
    written = {"".join((*given, *follows)) for each in training_texts(world).values() for given, follows in each}
    for part in ("pair", "bridge"):
        for one in world.questions[part]:
            hops = world.hops(one)
            for given, follows in (direct_text(hops), self_ask_text(hops)):
                assert "".join((*given, *follows)) not in written
            assert all(f"{hop.question}\nAnswer: {hop.answers[0]}\n" in written for hop in one.hops)


def test_a_world_and_a_training_are_the_same_bits_twice(trained: Path, tmp_path: Path, made: Made) -> None:
    again = tmp_path / "again"
    again.mkdir()
    store = Store(made(WORLD).parents[1])
    assert list(TINY.make(again, StoredInputs(store))) == list(store.measurements(TINY))
    assert (again / "answers.json").read_bytes() == (trained / "answers.json").read_bytes()
    made(other := replace(TINY, seed=1))
    assert store.measurements(other) != store.measurements(TINY)


def test_a_training_that_was_killed_ends_with_the_same_answers(
    trained: Path, tmp_path: Path, made: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    from surefoot.studies.multihop import _model
    from surefoot.training import _loop

    inputs, batches, out = StoredInputs(Store(made(WORLD).parents[1])), _model.rows_of_batch, tmp_path / "out"
    out.mkdir()

    def killed(total: int, size: int, number: int, *identity: str | int) -> object:
        if number == 6:
            raise KeyboardInterrupt
        return batches(total, size, number, *identity)

    monkeypatch.setattr(_loop, "CHECKPOINT_SECONDS", 0.0)
    monkeypatch.setattr(_model, "rows_of_batch", killed)
    with pytest.raises(KeyboardInterrupt):
        list(TINY.make(out, inputs))
    seen: list[int] = []
    monkeypatch.setattr(_model, "rows_of_batch", lambda *told: seen.append(told[2]) or batches(*told))
    assert list(TINY.make(out, inputs)) == list(inputs.measurements(TINY))
    assert 0 not in seen  # it went on from its checkpoint
    assert (out / "answers.json").read_bytes() == (trained / "answers.json").read_bytes()


@pytest.mark.parametrize(("wrong", "said"), [({"width": 40}, "multiple of 32"), ({"measured": (4, 4)}, "must rise")])
def test_settings_that_cannot_be_are_refused(wrong: dict[str, object], said: str, tmp_path: Path, made: Made) -> None:
    with pytest.raises(SurefootError, match=said):
        list(replace(TINY, **wrong).make(tmp_path, StoredInputs(Store(made(WORLD).parents[1]))))


def planted_answers(publish: Publish, root: Path, made: Made) -> dict[tuple[str, ...], Measurement]:
    """Answers written by hand: hops known but of every fifth question, direct wrong in every other, self-ask right but
    of every third, of every ninth with a wrong bridge."""
    store = Store(root)
    world, directory = read_world(made(WORLD)), publish(store, WORLD, [])
    for file in made(WORLD).iterdir():
        if file.suffix != ".json" or file.name == "facts.json":
            (directory / file.name).write_bytes(file.read_bytes())
    told: dict[str, dict[str, list[object]]] = {}
    for part, questions in questions_asked(TINY, world).items():
        rows: dict[str, list[object]] = {"hops": [], "direct": [], "self-ask": [], "bridged": []}
        for at, question in enumerate(questions):
            first, second = world.hops(question)
            final = "nothing" if at % 3 == 0 else second.object
            bridge = "nowhere" if at % 9 == 0 else first.object
            steps = f"\nFollow up: A?\nIntermediate answer: {bridge}\nFollow up: B?\nIntermediate answer: {final}"
            rows["hops"].append([first.object, "nothing" if at % 5 == 0 else second.object])
            rows["direct"].append(second.object if at % 2 else "nothing")
            rows["self-ask"].append(f"Yes.{steps}\nSo the final answer is: {final}")
            rows["bridged"].append(f"\nSo the final answer is: {second.object if at % 4 else 'nothing'}")
        told[part] = rows
    gaps = FactGaps(model=replace(TINY, measured=()))
    (publish(store, gaps.model, []) / "answers.json").write_text(json.dumps({"8": told}))
    measured = list(gaps.make(root, StoredInputs(store)))
    return {(one.metric, one.shift, one.group): one for one in measured}


def test_the_gap_counts_only_questions_whose_hops_are_known(publish: Publish, tmp_path: Path, made: Made) -> None:
    found = planted_answers(publish, tmp_path, made)
    known = [at for at in range(10) if at % 5]
    for part in ("seen", "pair", "bridge"):
        assert (found["hop", part, "first"].value, found["hop", part, "second"].value) == (1.0, 0.8)
        assert found["accuracy", part, "direct"].value == 0.5
        direct, traced = [at for at in known if at % 2 == 0], [at for at in known if at % 3 == 0]
        for name, lost in (("direct", direct), ("self-ask", traced)):
            assert (found["gap", part, name].n, found["gap", part, name].value) == (8, len(lost) / 8)
            causes = [one.value for key, one in found.items() if key[:2] == ("lost", part) and key[2].startswith(name)]
            assert sum(causes) == pytest.approx(len(lost) / 8)
        assert found["lost", part, "self-ask: bridge not found"].value == 1 / 8  # 9
        assert found["lost", part, "self-ask: second hop not applied"].value == 2 / 8  # 3 and 6
        assert found["lost", part, "direct: bridge not found"].value == 2 / 8  # 2 and 6 are right with the bridge
        paired = paired_difference([at % 2 == 0 for at in known], [at % 3 == 0 for at in known]).difference
        narrowed = found["narrowed", part, ""]
        assert (narrowed.value, narrowed.low, narrowed.high) == (paired.estimate, paired.low, paired.high)


# Claims on planted measurements


def own(**options: object) -> FactModel:
    return replace(TINY, measured=(4,), **options)


MODELS = [own(layers=layers, seed=seed) for layers in (1, 2, 3) for seed in range(4)]


def planted(
    publish: Publish,
    root: Path,
    *,
    slope: float = 0.0,
    narrowed: float = 0.4,
    two_hop_slope: float = 0.0,
    behind: float = 0.4,
    noise: float = 0.01,
    n: int = 100,
) -> dict[str, Verdict]:
    """Gaps that move by `slope` a tenfold, hops that improve with size, two hops that lag."""
    from surefoot.studies._hypotheses import claims_of
    from surefoot.studies.multihop._claims import own_claims
    from surefoot.studies.multihop._figures import own_figures

    store = Store(root)
    for place, model in enumerate(MODELS):
        decade, jitter = model.layers - 2.0, noise * ((place * 7919) % 11 - 5) / 5
        publish(store, model, [Measurement(metric="parameters", value=10 ** (5 + model.layers), n=1)])
        rows = []
        for step, share in ((4, 0.5), (8, 1.0)):
            hop = (0.8 + 0.1 * decade) * share
            two = max(0.0, hop - behind + two_hop_slope * decade + jitter)
            for part in ("pair", "bridge"):
                values = {
                    ("hop", "first"): hop,
                    ("hop", "second"): hop,
                    ("accuracy", "direct"): two,
                    ("gap", "direct"): 0.5 + slope * decade + jitter,
                    ("narrowed", ""): narrowed + jitter,
                }
                rows += [
                    Measurement(metric=metric, value=value, n=n, task=f"step {step}", shift=part, group=group)
                    for (metric, group), value in values.items()
                ]
        publish(store, FactGaps(model=model), rows)
    results = Results(store, (*MODELS, *(FactGaps(model=one) for one in MODELS)))
    gap, accuracy, *_ = own_figures(MODELS)
    assert {round(row["x"], 6) for row in gap(results).table()} == {1.0, 10.0, 100.0}
    assert {(row["x"], row["n"]) for row in accuracy(results).table()} == {(4, 4), (8, 4)}
    return {claim.name: one for claim, one in decide(claims_of(own_claims(MODELS)), results)}


def test_claims_turn_with_what_is_planted(publish: Publish, tmp_path: Path) -> None:
    flat = planted(publish, tmp_path / "flat", two_hop_slope=-0.08)
    assert len(flat) == 10
    assert {one.status for one in flat.values()} == {"supported"}
    assert flat["own: no fall with size, pair"].effect == pytest.approx(0.0, abs=0.01)
    assert flat["own: faster with size"].effect == pytest.approx(0.08, abs=0.01)
    assert flat["own: self-ask narrows, pair, 1 layers of 32"].n == 4
    falls = planted(publish, tmp_path / "falls", slope=-0.15, narrowed=-0.2, two_hop_slope=0.05, behind=-0.1)
    assert {one.status for one in falls.values()} == {"contradicted"}
    assert falls["own: no fall with size, bridge"].effect == pytest.approx(-0.15, abs=0.01)


def test_what_lies_within_the_noise_is_open(publish: Publish, tmp_path: Path) -> None:
    found = planted(publish, tmp_path, slope=-0.05, narrowed=0.0, noise=0.3)
    assert found["own: no fall with size, pair"].status == "undecided"
    assert found["own: self-ask narrows, pair, 2 layers of 32"].status == "undecided"


def test_no_verdict_is_built_on_the_gap_of_a_few_known_questions(publish: Publish, tmp_path: Path) -> None:
    found = planted(publish, tmp_path, two_hop_slope=-0.08, n=29)
    gaps = [one for name, one in found.items() if "narrows" in name or "no fall" in name]
    assert {one.status for one in gaps} == {"undecided"}
    assert all("In 12 of 12 models the hops of fewer than 30" in one.detail for one in gaps)
    assert found["own: earlier in training"].status == "supported"


def test_every_interval_of_a_pairing_is_within_the_widest() -> None:
    n = 12
    for first, second in product(range(0, n + 1, 3), repeat=2):
        widest = widest_difference(first, second, n)
        for both in range(max(0, first + second - n), min(first, second) + 1):
            one = share_difference(first - both, second - both, n)
            assert one.estimate == widest.estimate
            assert widest.low <= one.low + 1e-9
            assert one.high <= widest.high + 1e-9


@pytest.mark.skipif(not DATA, reason="SUREFOOT_DATA is not set")
def test_the_published_gaps_and_what_is_claimed_of_them(publish: Publish, tmp_path: Path) -> None:
    made, store = study(own=False), Store(tmp_path)
    (step,) = made.steps
    assert isinstance(step, PublishedGaps)
    measured = list(step.make(tmp_path, StoredInputs(store)))
    gaps = {(one.task, one.shift, one.group): one for one in measured if one.metric == "gap"}
    printed = {
        ("Bamboogle", "text-davinci-002"): (59, 43, 11),
        ("Bamboogle", "gpt-3.5-turbo"): (43, 29, 19),
        ("Compositional Celebrities", "text-davinci-002"): (46, 6, 5),
        ("Compositional Celebrities", "gpt-3.5-turbo"): (46, 16, 8),
        ("Compositional Celebrities", "ada"): (63, 28, 34),
    }
    for where, percents in printed.items():
        found = [gaps[*where, name] for name in ("direct", "chain_of_thought", "self_ask")]
        assert tuple(round(100 * one.value) for one in found) == percents
    assert gaps["Bamboogle", "text-davinci-002", "direct"].n == 44
    publish(store, step, measured)
    found = {claim.name: one for claim, one in decide(made.claims, Results(store, made.steps))}
    statuses = {name.removeprefix("published: "): one.status for name, one in found.items()}
    assert statuses["Compositional Celebrities, text-davinci-002, chain of thought"] == "supported"
    assert statuses["Compositional Celebrities, gpt-3.5-turbo, self ask"] == "supported"
    assert statuses["Compositional Celebrities, text-davinci-002, self ask"] == "undecided"
    assert "contradicted" not in statuses.values()
    assert found["published: Bamboogle, text-davinci-002, self ask"].effect == pytest.approx(14 / 44)
    (figure,) = (make(Results(store, made.steps)) for make in made.figures)
    assert len(figure.table()) == 18


def test_the_study_as_it_is_loaded_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = load_study("multihop", {"people": "50", "published": "no", "budget": "full"})
    assert len([step for step in drawn.steps if isinstance(step, FactModel)]) == 20
    monkeypatch.delenv("SUREFOOT_DATA", raising=False)
    with pytest.raises(SurefootError, match="set SUREFOOT_DATA"):
        load_study("multihop", {})


def test_the_figures_of_models_that_were_trained(made: Made) -> None:
    from surefoot.studies.multihop._figures import own_figures

    models = [replace(TINY, measured=(), steps=2, seed=seed) for seed in range(2)]
    steps = [FactGaps(model=one) for one in models]
    store = Store(made(steps[0]).parents[1])
    made(steps[1])
    results = Results(store, (*models, *steps))
    made_figures = own_figures(models)
    accuracy = made_figures[1](results)
    assert {row["family"] for row in accuracy.table()} >= {"one hop", "direct, pairs held out"}
    traces = made_figures[3](results).table()
    assert traces
    assert all(row["image"].startswith("data:image/svg") for row in traces)
    with pytest.raises(SurefootError, match="no effects"):
        made_figures[2](results)
