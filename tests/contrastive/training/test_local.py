"""Averages are means to the bit, rounds are SGD on what workers changed, and parts of a training are its steps."""

import json
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from surefoot.contrastive import Drawings, DrawnTask, Finetune, Pretrain, load_model, read_description
from surefoot.contrastive._training._finetune import finetuning_loss, read_labelled
from surefoot.core import Measurement, Step, SurefootError
from surefoot.training import Average, Merge, OuterStep
from surefoot.weights import EditRules, mean, open_checkpoint, state

Made = Callable[[Step], tuple[Path, list[Measurement]]]
WARM = DrawnTask(drawings=(Drawings(style="twemoji"),), groups=("food-drink",), least=1, part="all")
COLD = DrawnTask(drawings=(Drawings(style="twemoji"),), groups=("objects",), least=1, part="all")
WORKERS = 3


@pytest.fixture(scope="module")
def workers(start: Pretrain) -> tuple[Finetune, ...]:
    return tuple(
        Finetune(model=start, data=(WARM,), samples=64, batch=8, learning_rate=2e-3, shard=(part, WORKERS), seed=part)
        for part in range(WORKERS)
    )


def weights(made: Made, step: Step, file: str = "model.safetensors") -> dict[str, np.ndarray]:
    return load_file(made(step)[0] / file)


def told(made: Made, step: Step) -> dict[str, float]:
    return {one.metric: one.value for one in made(step)[1]}


def assert_equal(one: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> None:
    assert one.keys() == other.keys()
    assert all(value.tobytes() == other[name].tobytes() for name, value in one.items())


def moving(base: dict[str, np.ndarray]) -> list[str]:
    return [name for name, value in base.items() if value.dtype == np.float32 and name.startswith("visual.")]


def test_an_average_is_the_exact_mean_rounded_once(made: Made, workers: tuple[Finetune, ...]) -> None:
    models, averaged = [weights(made, one) for one in workers], weights(made, Average(models=workers))
    for name in moving(averaged):
        parts = [one[name].ravel()[:5].tolist() for one in models]
        exact = [float(sum(map(Fraction, values)) / WORKERS) for values in zip(*parts, strict=True)]
        assert averaged[name].ravel()[:5].tolist() == [float(np.float32(value)) for value in exact]


def test_a_merge_of_ties_is_trimmed_elected_and_summed(
    made: Made, start: Pretrain, workers: tuple[Finetune, ...]
) -> None:
    settings = {"of_each": (("density", 0.2),), "settings": (("normalize", False),)}
    merge = Merge(base=start, models=workers, method="ties", **settings)  # type: ignore[arg-type]
    base, merged, models = weights(made, start), weights(made, merge), [weights(made, one) for one in workers]
    for name, value in base.items():
        changes = [(one[name] - value).astype(np.float64) for one in models]
        if value.dtype != np.float32 or not any(change.any() for change in changes):
            assert merged[name].tobytes() == value.tobytes(), "what no model changed, and whole numbers, are the base's"
            continue
        kept = [_largest(change, max(1, int(0.2 * value.size))) for change in changes]
        sign = np.where(sum(kept) >= 0, 1, -1)
        wanted = value + sum(np.where(change * sign > 0, change, 0) for change in kept)
        np.testing.assert_allclose(merged[name], wanted, rtol=1e-5, atol=1e-7)
    assert load_model(made(merge)[0]).description.samples == start.samples + 64 * WORKERS


def _largest(change: np.ndarray, count: int) -> np.ndarray:
    return np.where(np.abs(change) >= np.sort(np.abs(change).ravel())[-count], change, 0)


def test_an_average_is_the_mean_of_the_weights_room(made: Made, workers: tuple[Finetune, ...]) -> None:
    opened = [open_checkpoint(made(one)[0] / "model.safetensors") for one in workers]
    assert_equal(weights(made, Average(models=workers)), state(mean(opened), rules=EditRules(accumulate="float64")))


def test_one_worker_alone_is_plain_fine_tuning(made: Made, start: Pretrain, workers: tuple[Finetune, ...]) -> None:
    plain = replace(workers[0], shard=(0, 1))
    assert plain == Finetune(model=start, data=(WARM,), samples=64, batch=8, learning_rate=2e-3)
    assert_equal(weights(made, Average(models=(plain,), base=start)), weights(made, plain))


@pytest.mark.parametrize("count", [2, 3])
def test_lofi_is_one_outer_step_of_rate_one(
    made: Made, start: Pretrain, workers: tuple[Finetune, ...], count: int
) -> None:
    """To the bit: both sums are in 64 bits, in which the two ways to write the mean agree before they are rounded."""
    once = OuterStep(previous=start, workers=workers[:count], rate=1.0, momentum=0.0)
    assert_equal(weights(made, once), weights(made, Average(models=workers[:count])))
    assert not (made(once)[0] / "momentum.safetensors").exists()


@pytest.mark.parametrize("nesterov", [True, False])
def test_rounds_are_sgd_of_torch_on_the_mean_change(
    made: Made, start: Pretrain, workers: tuple[Finetune, ...], nesterov: bool
) -> None:
    first = OuterStep(previous=start, workers=workers, rate=0.7, momentum=0.9, nesterov=nesterov)
    again = tuple(replace(one, model=first, first_step=8) for one in workers)
    second = OuterStep(previous=first, workers=again, rate=0.7, momentum=0.9, nesterov=nesterov)
    base = weights(made, start)
    values = {name: torch.nn.Parameter(torch.from_numpy(base[name]).double()) for name in moving(base)}
    outer = torch.optim.SGD(values.values(), lr=0.7, momentum=0.9, nesterov=nesterov)
    for models, made_step in ((workers, first), (again, second)):
        tuned = [weights(made, one) for one in models]
        found = weights(made, made_step)
        for name, value in values.items():
            changes = np.stack([one[name].astype(float) for one in tuned]) - value.detach().numpy()
            value.grad = -torch.from_numpy(changes.mean(0))
        outer.step()
        for name, value in values.items():
            np.testing.assert_allclose(found[name], value.detach().numpy(), rtol=3e-7, atol=1e-7)
        still = [name for name in base if name not in values]
        assert still
        assert all(found[name].tobytes() == base[name].tobytes() for name in still)


def test_the_velocity_is_the_decayed_sum_of_changes(made: Made, start: Pretrain, workers: tuple[Finetune, ...]) -> None:
    first = OuterStep(previous=start, workers=workers[:1], momentum=0.5)
    second = OuterStep(previous=first, workers=workers[:1], momentum=0.5)
    base, tuned, middle = weights(made, start), weights(made, workers[0]), weights(made, first)
    velocity = weights(made, second, "momentum.safetensors")
    assert sorted(velocity) == sorted(moving(base))
    for name, value in velocity.items():
        exact = 0.5 * (tuned[name].astype(float) - base[name]) + (tuned[name].astype(float) - middle[name])
        np.testing.assert_allclose(value, exact, rtol=1e-4, atol=1e-8)


def test_bytes_and_samples_are_counted(made: Made, start: Pretrain, workers: tuple[Finetune, ...]) -> None:
    base = weights(made, start)
    each = sum(base[name].nbytes for name in moving(base))
    for step in (Average(models=workers, base=start), OuterStep(previous=start, workers=workers)):
        assert told(made, step) == {"bytes": WORKERS * each, "models": WORKERS}
        seen = read_description(made(step)[0]).samples - read_description(made(start)[0]).samples
        assert seen == WORKERS * 64
        assert load_model(made(step)[0]).description is not None


def test_the_mean_of_the_workers_gradients_is_that_of_one_large_batch(made: Made, start: Pretrain) -> None:
    """Batch statistics are fixed and losses are means, so four batches of 8 have the mean gradient of one of 32."""
    large = Finetune(model=start, data=(WARM,), samples=32, batch=32, augmentation="none")
    loaded = load_model(made(start)[0])
    data = [read_labelled(made(WARM)[0], loaded, ("{}",))]

    def gradient(step: Finetune, at: int) -> np.ndarray:
        loaded.model.zero_grad()
        finetuning_loss(step, loaded, data)(at).backward()
        parts = [one.grad for name, one in loaded.model.named_parameters() if name.startswith("visual.")]
        return np.concatenate([one.double().numpy().ravel() for one in parts if one is not None])

    small = replace(large, batch=8)
    mean_of_four = np.mean([gradient(small, at) for at in range(4)], axis=0)
    whole = gradient(large, 0)
    assert np.linalg.norm(mean_of_four - whole) < 1e-5 * np.linalg.norm(whole)


def test_a_part_has_the_data_and_rates_of_its_place_in_the_whole(made: Made, start: Pretrain) -> None:
    whole = Finetune(model=start, data=(WARM, COLD), samples=32, batch=8, learning_rate=2e-3, warmup=0.5)
    parts = [replace(whole, samples=16, first_step=first, whole_steps=8) for first in (0, 4)]
    rates = [
        row["learning_rate"]
        for part in parts
        for row in json.loads((made(part)[0] / "history.json").read_text())["rows"]
    ]
    expected = [row["learning_rate"] for row in json.loads((made(whole)[0] / "history.json").read_text())["rows"]]
    assert rates == expected
    losses = [
        [row["loss"] for row in json.loads((made(one)[0] / "history.json").read_text())["rows"]]
        for one in (parts[0], whole)
    ]
    assert losses[0] == losses[1][:4]
    shown = replace(whole, learning_rate=1e-12)  # the weights stay, so that losses tell of the data alone
    late = [replace(shown, samples=16, first_step=4, whole_steps=8), shown]
    told_losses = [
        [row["loss"] for row in json.loads((made(one)[0] / "history.json").read_text())["rows"]] for one in late
    ]
    assert told_losses[0] == pytest.approx(told_losses[1][4:], rel=1e-5)


def test_a_part_that_is_the_whole_has_the_same_key_and_bits(made: Made, workers: tuple[Finetune, ...]) -> None:
    assert replace(workers[0], first_step=0, whole_steps=None).key == workers[0].key
    assert_equal(weights(made, replace(workers[0], whole_steps=8)), weights(made, workers[0]))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [({"first_step": -1}, "the whole has"), ({"first_step": 5, "whole_steps": 8}, "the whole has 8 steps")],
)
def test_parts_that_are_in_no_whole_are_refused(
    made: Made, workers: tuple[Finetune, ...], wrong: dict[str, Any], message: str
) -> None:
    with pytest.raises(SurefootError, match=message):
        made(replace(workers[0], **wrong))


@pytest.mark.parametrize("wrong", [{"workers": ()}, {"rate": 0.0}, {"momentum": 1.0}])
def test_outer_steps_that_lead_nowhere_are_refused(
    made: Made, start: Pretrain, workers: tuple[Finetune, ...], wrong: dict[str, Any]
) -> None:
    with pytest.raises(SurefootError, match="OuterStep needs workers"):
        made(replace(OuterStep(previous=start, workers=workers), **wrong))
    with pytest.raises(SurefootError, match="at least one model"):
        made(Average(models=()))


def test_with_its_moments_a_part_goes_on_as_if_it_had_not_been_cut(made: Made, start: Pretrain) -> None:
    """To the bit: weights, moments, data and rates are all that a step depends on."""
    whole = Finetune(model=start, data=(WARM,), samples=64, batch=8, learning_rate=2e-3, keep_moments=True)
    first = replace(whole, samples=40, whole_steps=8)
    second = replace(first, model=first, samples=24, first_step=5, moments=first)
    for file in ("model.safetensors", "moments.safetensors"):
        assert_equal(weights(made, second, file), weights(made, whole, file))
    anew = replace(second, moments=None)
    assert any(value.tobytes() != weights(made, whole)[name].tobytes() for name, value in weights(made, anew).items())


def test_moments_that_are_not_there_or_of_other_parameters_are_refused(
    made: Made, start: Pretrain, workers: tuple[Finetune, ...]
) -> None:
    with pytest.raises(SurefootError, match="keep_moments=True"):
        made(replace(workers[0], moments=workers[1]))
    few = Finetune(model=start, data=(WARM,), samples=8, batch=8, trained=("visual.attnpool.*",), keep_moments=True)
    with pytest.raises(SurefootError, match="of other parameters"):
        made(replace(workers[0], moments=few))
    with pytest.raises(SurefootError, match="of other parameters"):
        made(replace(few, moments=replace(workers[0], keep_moments=True), keep_moments=False))
