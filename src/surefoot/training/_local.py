"""Models that were tuned alone: their average, their merge, and the outer step of rounds (lo-fi, local SGD, DiLoCo)."""

import json
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from math import prod
from pathlib import Path
from typing import Any, ClassVar

from surefoot.core import Inputs, Measurement, Step, SurefootError
from surefoot.training._vectors import WEIGHTS
from surefoot.weights import Checkpoint, EditRules, TaskVector, apply, from_state, mean, merge, open_checkpoint

DESCRIPTION, VELOCITY = "model.json", "momentum.safetensors"
_TOKENIZER = "tokenizer"  # the folder of a tokenizer that OpenCLIP does not bring
_LANGUAGE_FILES = ("config.json", "tokenizer.json", "tokenizer_config.json")
_BYTES = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2}


@dataclass(frozen=True, kw_only=True)
class Average(Step):
    """The mean of the weights of several models, as a model artifact: lo-fi (Wortsman et al. 2022, 2210.11948).

    `models` were trained from one start, on their own, on other data or in another order. Tensors that fit no pattern
    of `only` are the first model's. `base`, where given, is what all started from: its samples are counted once.
    Sums are in 64 bits and rounded once. The file's header says which files were averaged. Measures `bytes`, what the
    workers send to be averaged, and `models`. Raises `SurefootError` for models of different layouts.
    """

    models: tuple[Step, ...]
    base: Step | None = None
    only: tuple[str, ...] = ("visual.*",)
    requires: ClassVar[tuple[str, ...]] = ("safetensors",)

    def make(self, out: Path, inputs: Inputs) -> Iterable[Measurement]:
        """Stream the mean to disk."""
        if not self.models:
            raise SurefootError("Average needs at least one model.")
        opened = [open_checkpoint(inputs[model] / WEIGHTS) for model in self.models]
        apply(mean(opened).filter(*self.only), out / WEIGHTS, rules=EditRules(accumulate="float64"), threads=1)
        _describe(out, [inputs[model] for model in self.models], inputs[self.base] if self.base else None)
        return _sent(opened, self.only)


@dataclass(frozen=True, kw_only=True)
class Merge(Step):
    """Models tuned from `base`, merged into one by a method of `surefoot weights merge`, as a model artifact.

    `settings` are the method's for the whole merge and `of_each` those of every model, by name: `density` 0.2 for TIES
    (2306.01708), for instance. Whole numbers are the base's. `WeightEdit(plus=(merge,))` chooses how far to go on the
    line from `base` to the merge. Measures `bytes` and `models`, as `Average`.
    """

    base: Step
    models: tuple[Step, ...]
    method: str
    of_each: tuple[tuple[str, float], ...] = ()
    settings: tuple[tuple[str, float | bool], ...] = ()
    requires: ClassVar[tuple[str, ...]] = ("safetensors", "yaml")

    def make(self, out: Path, inputs: Inputs) -> Iterable[Measurement]:
        """Stream the merge to disk."""
        base, *tuned = (str(inputs[model] / WEIGHTS) for model in (self.base, *self.models))
        configuration = {
            "merge_method": self.method,
            "base_model": base,
            "models": [{"model": one, "parameters": {"weight": 1.0, **dict(self.of_each)}} for one in tuned],
            "parameters": dict(self.settings),
            "integers": "base",
        }
        merge(configuration, out / WEIGHTS, threads=1)
        _describe(out, [inputs[model] for model in self.models], inputs[self.base])
        return _sent([open_checkpoint(one) for one in tuned], ())


@dataclass(frozen=True, kw_only=True)
class OuterStep(Step):
    """One round's end: an outer step from `previous` along the mean of what its `workers` changed, as a model artifact.

    With the mean change d and the velocity v, `v = momentum v + d`; the model moves by `rate (d + momentum v)` with
    `nesterov`, else by `rate v`: SGD as torch has it, with the averaged change for a gradient (DiLoCo, Douillard et al.
    2023, 2311.08105, algorithm 1). Rate 1 without momentum is local SGD (Stich 2018, 1805.09767): the plain mean. Where
    `previous` is an OuterStep with momentum, its velocity goes on; else it starts at zero. Tensors that fit no pattern
    of `only` stay. Sums are in 64 bits and rounded once. With momentum the velocity goes to `momentum.safetensors`.
    Measures `bytes`, what the workers send, and `models`.
    """

    previous: Step
    workers: tuple[Step, ...]
    rate: float = 0.7
    momentum: float = 0.9
    nesterov: bool = True
    only: tuple[str, ...] = ("visual.*",)
    requires: ClassVar[tuple[str, ...]] = ("safetensors",)

    def make(self, out: Path, inputs: Inputs) -> Iterable[Measurement]:
        """Stream the new weights, and the velocity, to disk."""
        if not self.workers or self.rate <= 0 or not 0 <= self.momentum < 1:
            raise SurefootError(
                f"OuterStep needs workers, a rate above 0 and a momentum from 0 to below 1; got {len(self.workers)} "
                f"workers, {self.rate} and {self.momentum}."
            )
        start = open_checkpoint(inputs[self.previous] / WEIGHTS)
        opened = [open_checkpoint(inputs[worker] / WEIGHTS) for worker in self.workers]
        change = sum((TaskVector(start, one) for one in opened[1:]), TaskVector(start, opened[0])) / len(opened)
        edit = self.rate * change.filter(*self.only)
        if self.momentum:
            edit = self.rate * self._accelerated(change, inputs[self.previous] / VELOCITY, out / VELOCITY)
        apply(edit, out / WEIGHTS, rules=EditRules(accumulate="float64", missing="base"), threads=1)
        _describe(out, [inputs[worker] for worker in self.workers], inputs[self.previous])
        return _sent(opened, self.only)

    def _accelerated(self, change: TaskVector, before: Path, after: Path) -> TaskVector:
        """The way to go at rate 1, from the change and the velocity so far; writes the new velocity."""
        zero = _zeros(change.base, self.only)
        known = open_checkpoint(before) if before.is_file() else zero
        kept = TaskVector(zero, known) * self.momentum
        apply((kept + change).on(zero), after, rules=EditRules(accumulate="float64", extra="drop"), threads=1)
        own, old = (1 + self.momentum, self.momentum) if self.nesterov else (1.0, 1.0)
        return (own * change.filter(*self.only) + old * kept).on(change.base)


def _zeros(like: Checkpoint, only: Sequence[str]) -> Checkpoint:
    """Zero for every floating tensor that may move; the memory of zeros is not touched before it is read."""
    import numpy as np

    shapes = {name: one.shape for name, one in like.tensors.items() if one.dtype in _BYTES and _fits(name, only)}
    return from_state({name: np.zeros(shape, np.float32) for name, shape in shapes.items()}, label="zero")


def _fits(name: str, only: Sequence[str]) -> bool:
    return not only or any(fnmatchcase(name, pattern) for pattern in only)


def _describe(out: Path, models: Sequence[Path], base: Path | None) -> None:
    """What the first model says of itself; samples, where they are counted, are those that all models together saw."""
    for name in (DESCRIPTION, *_LANGUAGE_FILES):
        if (models[0] / name).is_file():
            shutil.copyfile(models[0] / name, out / name)
    if (models[0] / _TOKENIZER).is_dir():
        shutil.copytree(models[0] / _TOKENIZER, out / _TOKENIZER)
    if (out / DESCRIPTION).is_file():
        start = _told(base)["samples"] if base else 0
        samples = start + sum(_told(model)["samples"] - start for model in models)
        (out / DESCRIPTION).write_text(
            json.dumps(_told(models[0]) | {"samples": samples}, indent=1) + "\n", encoding="utf-8"
        )


def _told(model: Path) -> dict[str, Any]:
    path = model / DESCRIPTION
    try:
        told: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return told | {"samples": int(told["samples"])}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise SurefootError(f"{path} does not describe a model: {error!r}.") from error


def _sent(models: Sequence[Checkpoint], only: Sequence[str]) -> list[Measurement]:
    tensors = [one for name, one in models[0].tensors.items() if _fits(name, only)]
    each = sum(prod(one.shape) * _BYTES.get(one.dtype, 0) for one in tensors)
    return [
        Measurement(metric="bytes", value=each * len(models), n=len(models)),
        Measurement(metric="models", value=len(models), n=len(models)),
    ]
