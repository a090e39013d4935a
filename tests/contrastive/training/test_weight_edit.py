"""Edits of weights choose on validation data what they say they choose, and are the sum they say they are."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

from surefoot.contrastive import (
    DirectionAngles,
    Drawings,
    DrawnTask,
    Finetune,
    Pretrain,
    RandomDirection,
    WeightEdit,
    classify,
    load_model,
)
from surefoot.contrastive._training._weight_edit import _mean
from surefoot.core import Measurement, Step, SurefootError
from surefoot.weights import EditScore

Made = Callable[[Step], tuple[Path, list[Measurement]]]
WARM = DrawnTask(drawings=(Drawings(style="twemoji"),), groups=("food-drink",), least=1, part="all")
COLD = DrawnTask(drawings=(Drawings(style="twemoji"),), groups=("objects",), least=1, part="all")
GRID = (0.0, 0.25, 0.5, 1.0)


@pytest.fixture(scope="module")
def warm(start: Pretrain) -> Finetune:
    return Finetune(model=start, data=(WARM,), samples=480, batch=16, learning_rate=2e-3)


@pytest.fixture(scope="module")
def cold(start: Pretrain) -> Finetune:
    return Finetune(model=start, data=(COLD,), samples=480, batch=16, learning_rate=2e-3)


@pytest.fixture(scope="module")
def forget(start: Pretrain, warm: Finetune) -> WeightEdit:
    return WeightEdit(base=start, minus=(warm,), objective="forget", target=(WARM,), control=(COLD,), grid=GRID)


def weights(made: Made, step: Step) -> dict[str, np.ndarray]:
    return load_file(made(step)[0] / "model.safetensors")


def coefficient(made: Made, step: WeightEdit) -> float:
    return next(one.value for one in made(step)[1] if one.metric == "coefficient")


def trials(made: Made, step: WeightEdit) -> dict[float, dict[str, dict[str, Any]]]:
    found: dict[float, dict[str, dict[str, Any]]] = {}
    for row in json.loads((made(step)[0] / "search.json").read_text())["rows"]:
        found.setdefault(float(row["coefficients"]), {})[row["metric"]] = row
    return found


def test_the_whole_patch_is_the_tuned_model_to_the_bit(made: Made, start: Pretrain, warm: Finetune) -> None:
    whole = WeightEdit(base=start, plus=(warm,), objective="transfer", target=(WARM,), grid=(1.0,))
    assert coefficient(made, whole) == 1.0
    expected = weights(made, warm)
    assert all(value.tobytes() == expected[name].tobytes() for name, value in weights(made, whole).items())


def test_models_whose_norms_saw_other_numbers_of_batches_are_merged(
    made: Made, start: Pretrain, warm: Finetune
) -> None:
    """Batch statistics are numbers to average; how many batches they are of is not, and is the base's."""
    followed = [replace(warm, samples=samples, statistics=True) for samples in (32, 64)]
    half = WeightEdit(base=start, plus=tuple(followed), objective="transfer", target=(WARM,), grid=(0.5,))
    before, *ends, merged = (weights(made, step) for step in (start, *followed, half))
    for name, value in merged.items():
        if "num_batches" in name:
            assert (value == before[name]).all() and (ends[0][name] != ends[1][name]).all()
        elif "running_" in name:
            np.testing.assert_allclose(value, (ends[0][name] + ends[1][name]) / 2, rtol=1e-4, atol=1e-6)


def test_negation_takes_the_lowest_target_that_keeps_the_control(made: Made, forget: WeightEdit) -> None:
    table = trials(made, forget)
    floor = 0.95 * table[0.0]["control"]["value"]
    allowed = {point: row for point, row in table.items() if row["control"]["value"] >= floor}
    lowest = min(row["target"]["value"] for row in allowed.values())
    chosen = coefficient(made, forget)
    assert chosen in allowed
    assert allowed[chosen]["target"]["value"] == lowest
    assert set(table) == set(GRID)
    assert all(row["target"]["low"] <= row["target"]["value"] <= row["target"]["high"] for row in table.values())


def test_the_model_is_the_sum_that_was_chosen(made: Made, start: Pretrain, warm: Finetune) -> None:
    away = WeightEdit(base=start, minus=(warm,), objective="transfer", target=(WARM,), grid=(0.25,))
    base, tuned, edited = (weights(made, step) for step in (start, warm, away))
    assert coefficient(made, away) == 0.25
    for name, value in edited.items():
        if value.dtype == np.float32:
            exact = base[name].astype(np.float64) - 0.25 * (tuned[name].astype(np.float64) - base[name])
            np.testing.assert_allclose(value, exact, rtol=2e-7, atol=1e-9)


def test_a_guarded_patch_takes_the_best_of_the_points_that_cost_little(
    made: Made, start: Pretrain, warm: Finetune
) -> None:
    """The edit unlearns the control, so that some points cost more than the guard lets them."""
    up = replace(warm, ascent=True)
    patch = WeightEdit(base=start, plus=(up,), objective="patch", target=(COLD,), control=(WARM,), grid=GRID)
    table = trials(made, patch)
    falls = {point: table[0.0]["control"]["value"] - row["control"]["value"] for point, row in table.items()}
    guarded = replace(patch, guard=max(falls.values()) / 2)
    allowed = [point for point in GRID if falls[point] <= max(falls.values()) / 2]
    assert 0 < len(allowed) < len(GRID)
    assert [point for point, row in trials(made, guarded).items() if row["control"]["allowed"]] == allowed
    both = {point: table[point]["target"]["value"] + table[point]["control"]["value"] for point in allowed}
    assert both[coefficient(made, guarded)] == pytest.approx(max(both.values()))


def test_the_scores_are_those_of_zero_shot_classification(made: Made, start: Pretrain, warm: Finetune) -> None:
    whole = WeightEdit(base=start, plus=(warm,), objective="patch", target=(WARM,), control=(COLD,), grid=(1.0,))
    row = trials(made, whole)[1.0]
    for name, data in (("target/0", WARM), ("control/0", COLD)):
        scores, _ = classify(load_model(made(warm)[0]), made(data)[0], ("{}",))
        assert row[name]["value"] == pytest.approx(float((scores.ranks == 1).mean()))


def test_a_mean_over_sets_is_as_uncertain_as_the_smallest_makes_it() -> None:
    """Each set counts alike: at one half the standard error is sqrt(.25 / 10 + .25 / 990) / 2 = .0795."""
    mean = _mean([EditScore(value=0.5, n=10), EditScore(value=0.5, n=990)])
    assert (mean.value, mean.n) == (0.5, 1000)
    effective = 0.25 / 0.0795**2
    half = 1.95996 * (0.25 / effective + 1.95996**2 / (4 * effective**2)) ** 0.5 / (1 + 1.95996**2 / effective)
    assert mean.interval == pytest.approx(
        (0.5 - half, 0.5 + half), abs=0.01
    )  # by all 1000 together it would be 0.031 wide on each side


def test_adding_two_vectors_is_measured_against_each_own_model(
    made: Made, start: Pretrain, warm: Finetune, cold: Finetune
) -> None:
    both = WeightEdit(
        base=start, plus=(warm, cold), objective="add", target=(WARM, COLD), alone=(warm, cold), grid=GRID
    )
    table = trials(made, both)
    own = [trials(made, replace(both, plus=(one,), grid=(1.0,)))[1.0] for one in (warm, cold)]
    alone = [own[0]["target/0"]["value"], own[1]["target/1"]["value"]]
    share = {
        point: np.mean([row[f"target/{place}"]["value"] / alone[place] for place in (0, 1)])
        for point, row in table.items()
    }
    assert share[coefficient(made, both)] == pytest.approx(max(share.values()))


def test_an_analogy_with_two_equal_terms_is_the_third(
    made: Made, start: Pretrain, warm: Finetune, cold: Finetune
) -> None:
    analogy = WeightEdit(
        base=start, plus=(cold, warm), minus=(warm,), objective="transfer", target=(COLD,), grid=(1.0,)
    )
    expected = weights(made, cold)
    assert all(value.tobytes() == expected[name].tobytes() for name, value in weights(made, analogy).items())


def test_where_nothing_keeps_the_control_the_model_stays(made: Made, start: Pretrain, forget: WeightEdit) -> None:
    strict = replace(forget, keep=1.5)
    told = {one.metric: one.value for one in made(strict)[1]}
    assert (told["coefficient"], told["allowed"]) == (0.0, 0.0)
    assert "none of 4 trials satisfies" in json.loads((made(strict)[0] / "search.json").read_text())["message"]
    base = weights(made, start)
    assert all(value.tobytes() == base[name].tobytes() for name, value in weights(made, strict).items())


def test_each_vector_can_have_its_own_coefficient(made: Made, start: Pretrain, warm: Finetune, cold: Finetune) -> None:
    parallel = WeightEdit(
        base=start,
        plus=(warm, cold),
        objective="transfer",
        target=(WARM, COLD),
        separate=True,
        grid=tuple(step / 20 for step in range(21)),
    )
    found = [one for one in made(parallel)[1] if one.metric == "coefficient"]
    assert [one.replicate for one in found] == [0, 1]
    assert found[0].value != found[1].value
    base, first, second, edited = (weights(made, step) for step in (start, warm, cold, parallel))
    name = next(name for name in base if name.endswith("conv1.weight"))
    exact = base[name] + sum(
        one.value * (model[name] - base[name]) for one, model in zip(found, (first, second), strict=True)
    )
    np.testing.assert_allclose(edited[name], exact, rtol=1e-5, atol=1e-7)


def test_a_random_direction_is_as_long_in_every_tensor(made: Made, start: Pretrain, warm: Finetune) -> None:
    steps = [RandomDirection(base=start, like=warm, seed=seed) for seed in (0, 1)]
    base, tuned, moved, other = (weights(made, step) for step in (start, warm, *steps))
    for name, value in base.items():
        if value.dtype != np.float32:
            continue
        length = np.linalg.norm(tuned[name].astype(float) - value)
        assert np.linalg.norm(moved[name].astype(float) - value) == pytest.approx(length, rel=1e-3, abs=1e-6)
        if length > 1e-3:
            assert not np.array_equal(moved[name], other[name])
    total = np.sqrt(sum(np.sum((tuned[name].astype(float) - base[name]) ** 2) for name in base))
    assert made(steps[0])[1][0].value == pytest.approx(total, rel=1e-4)


def test_angles_are_those_of_the_differences(made: Made, start: Pretrain, warm: Finetune, cold: Finetune) -> None:
    told = made(DirectionAngles(base=start, models=(warm, cold), names=("warm", "cold")))[1]
    base, *tuned = (weights(made, step) for step in (start, warm, cold))
    first, second = (
        np.concatenate([(one[name].astype(float) - base[name]).ravel() for name in base if "visual" in name])
        for one in tuned
    )
    cosine = first @ second / np.linalg.norm(first) / np.linalg.norm(second)
    found = {(one.metric, one.task): one.value for one in told}
    assert found["cosine", "cold"] == pytest.approx(cosine, abs=1e-6)
    assert found["relative_norm", "warm"] > 0


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"minus": ()}, "at least one model"),
        ({"control": ()}, "needs a control"),
        ({"objective": "add"}, "the own model of each target"),
        ({"grid": ()}, "a grid"),
    ],
)
def test_edits_that_cannot_be_chosen_are_refused(
    made: Made, forget: WeightEdit, wrong: dict[str, Any], message: str
) -> None:
    with pytest.raises(SurefootError, match=message):
        made(replace(forget, **wrong))


@pytest.mark.parametrize("wrong", [{"guard": -0.1}, {"guard": 0.1, "objective": "transfer"}])
def test_a_guard_that_guards_nothing_is_refused(made: Made, start: Pretrain, warm: Finetune, wrong: dict) -> None:
    patch = WeightEdit(base=start, plus=(warm,), objective="patch", target=(WARM,), control=(COLD,), grid=GRID)
    with pytest.raises(SurefootError, match="goes with the objective 'patch'"):
        made(replace(patch, **wrong))
