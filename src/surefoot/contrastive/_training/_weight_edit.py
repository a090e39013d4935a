"""WeightEdit: a sum of task vectors with the coefficients that validation data choose, as a Step."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Literal

from surefoot.contrastive._models._artifact import LoadedModel, load_model, save_model
from surefoot.contrastive._models._cost import picture_cost
from surefoot.contrastive._models._embed import are_units
from surefoot.contrastive._models._pixels import normalized
from surefoot.contrastive._training._finetune import LabelledPictures, read_labelled
from surefoot.core import Inputs, Measurement, Step, SurefootError, report_progress
from surefoot.stats import mean_of_shares
from surefoot.training import WEIGHTS, reproducible, sum_of, task_vectors
from surefoot.weights import (
    CoefficientSearch,
    EditRules,
    EditScore,
    TaskVector,
    apply_to,
    forgetting,
    guarding,
    learning,
    loaded,
    open_checkpoint,
    patching,
    search,
    search_evolution,
)

GRID = tuple(step / 20 for step in range(21))
TARGET, CONTROL = "target", "control"
BATCH = 256
_RULES = EditRules(integers="base")  # how many batches a norm has seen, which no answer hangs on


@dataclass(frozen=True, kw_only=True)
class WeightEdit(Step):
    """`base + c (sum of (plus - base) - sum of (minus - base))`, with c chosen on validation data, as a model artifact.

    `plus` and `minus` are models that were tuned from `base`: one `minus` is negation, several `plus` are addition,
    `plus=(c, b), minus=(a,)` an analogy (Ilharco et al. 2022, 2212.04089), one `plus` a patch (PAINT, 2208.05592). Only
    tensors that fit `only` change. `target` and `control` are classification sets (see `Finetune`): validation data,
    never test data. The `objective` is

    - "forget": the lowest accuracy on the target that keeps the share `keep` of the base's accuracy on the control;
    - "add": the highest mean over targets of accuracy divided by that of the task's own model in `alone`;
    - "patch": the highest mean of the mean accuracies on targets and on controls; with `guard` only of points at which
      the mean accuracy on the controls is at most so far below the base's (0.01 is a point);
    - "transfer": the highest mean accuracy on the targets.

    `grid` holds the coefficients to try; with `separate` every vector has its own, found by CMA-ES within as many
    trials as the grid has points, seeded by `seed`. `threads` change sums, as in `Pretrain`. Writes the model and
    `search.json`, all trials with their scores. Measures `coefficient` (one a vector with `separate`), `validation` of
    target and control, and `allowed`, the share of trials that satisfy the constraint: where it is 0 the model is the
    base.
    """

    base: Step
    plus: tuple[Step, ...] = ()
    minus: tuple[Step, ...] = ()
    objective: Literal["forget", "add", "patch", "transfer"]
    target: tuple[Step, ...]
    control: tuple[Step, ...] = ()
    alone: tuple[Step, ...] = ()
    keep: float = 0.95
    guard: float | None = None
    grid: tuple[float, ...] = GRID
    separate: bool = False
    only: tuple[str, ...] = ("visual.*",)
    templates: tuple[str, ...] = ("{}",)
    seed: int = 0
    threads: int = 1
    version: ClassVar[int] = 3  # a fall of just what is allowed is allowed, whatever rounding says
    requires: ClassVar[tuple[str, ...]] = ("torch", "open_clip", "safetensors")

    @cached_property
    def cost(self) -> float:
        """Every coefficient is measured on every set, times what a picture takes in the model."""
        return len(self.grid) * (len(self.target) + len(self.control)) * picture_cost(self.base)

    def make(self, out: Path, inputs: Inputs) -> Iterable[Measurement]:
        """Search, and write the model that was chosen."""
        _check(self)
        with reproducible(self.threads):
            editor = _Editor.of(self, out, inputs)
            vectors = task_vectors(
                self.base, self.plus, self.minus, lambda model: loaded(open_checkpoint(inputs[model] / WEIGHTS))
            )
            vectors = [vector.filter(*self.only) for vector in vectors]
            found = _search(self, vectors, editor, inputs)
            point = found.chosen.coefficients if found.chosen else (0.0,) * len(found.table[0].coefficients)
            parts = vectors if self.separate else [sum_of(vectors)]
            editor.build(sum_of([factor * part for factor, part in zip(point, parts, strict=True)]))
            save_model(editor.model.model, editor.model.description, out, editor.model.tokenizer_directory)
        told = {"message": found.message, "rows": found.rows()}
        (out / "search.json").write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
        return _measured(found, point)


def _check(step: WeightEdit) -> None:
    if not (step.plus or step.minus) or not step.target or not step.grid:
        raise SurefootError("WeightEdit needs at least one model in plus or minus, a target, and a grid.")
    if step.objective in ("forget", "patch") and not step.control:
        raise SurefootError(f"The objective '{step.objective}' needs a control: what must not be lost.")
    if step.guard is not None and (step.objective != "patch" or step.guard < 0):
        raise SurefootError(f"guard is {step.guard}: it goes with the objective 'patch' and is at least 0.")
    if step.objective == "add" and len(step.alone) != len(step.target):
        raise SurefootError("The objective 'add' needs in alone the own model of each target, in the same order.")


@dataclass(frozen=True, kw_only=True)
class _Editor:
    """A model in memory that takes one edit after another, and the sets on which each is evaluated."""

    model: LoadedModel
    sets: Mapping[str, LabelledPictures]
    out: Path
    trials: int

    @staticmethod
    def of(step: WeightEdit, out: Path, inputs: Inputs) -> "_Editor":
        model = load_model(inputs[step.base])
        if not model.knows_words:  # its heads would be of the very pictures that are scored
            raise SurefootError(f"{model.name} knows no words to name classes by: WeightEdit is for models with words.")
        named = {f"{TARGET}/{index}": one for index, one in enumerate(step.target)}
        named |= {f"{CONTROL}/{index}": one for index, one in enumerate(step.control)}
        sets = {name: read_labelled(inputs[one], model, step.templates) for name, one in named.items()}
        return _Editor(model=model, sets=sets, out=out, trials=len(step.grid))

    def build(self, edit: TaskVector) -> LoadedModel:
        apply_to(edit, self.model.model, rules=_RULES)
        return self.model

    def evaluate(self, model: LoadedModel) -> dict[str, EditScore]:
        """Accuracy on each set, and the means over targets and over controls."""
        scores = {name: accuracy(model, one) for name, one in self.sets.items()}
        for kind in (TARGET, CONTROL):
            if own := [one for name, one in scores.items() if name.startswith(f"{kind}/")]:
                scores[kind] = own[0] if len(own) == 1 else _mean(own)
        return scores


def _mean(scores: Sequence[EditScore]) -> EditScore:
    """Every set counts alike, so that its pictures count the more the fewer they are."""
    mean = mean_of_shares([round(one.value * one.n) for one in scores], [one.n for one in scores])
    value = sum(one.value for one in scores) / len(scores)
    return EditScore(value=value, n=sum(one.n for one in scores), within=(mean.low, mean.high))


def accuracy(model: LoadedModel, data: LabelledPictures) -> EditScore:
    """Top-1 accuracy of a model on a labelled set, by its own head."""
    import torch

    hits = 0
    with torch.inference_mode():
        for start in range(0, len(data.labels), BATCH):
            rows = slice(start, start + BATCH)
            prepared = normalized(data.images[rows], model.pixels).contiguous(memory_format=torch.channels_last)
            found = model.model.encode_image(prepared, normalize=True)
            guesses = (found @ data.head.T).argmax(dim=1)  # the first class, where an edit broke the model
            hits += int(((guesses == data.labels[rows]) & are_units(found)).sum())
    return EditScore(value=hits / len(data.labels), n=len(data.labels))


def _search(step: WeightEdit, vectors: list[TaskVector], editor: _Editor, inputs: Inputs) -> CoefficientSearch:
    done = 0

    def evaluate(model: LoadedModel) -> dict[str, EditScore]:
        nonlocal done
        done += 1
        report_progress(editor.out, min(done, editor.trials), editor.trials)
        return editor.evaluate(model)

    objective, constraint = _rule(step, editor, inputs)
    if step.separate:
        return search_evolution(
            vectors, evaluate, objective, constraint, budget=len(step.grid), seed=step.seed, build=editor.build
        )
    return search(sum_of(vectors), step.grid, evaluate, objective, constraint, build=editor.build)


def _rule(step: WeightEdit, editor: _Editor, inputs: Inputs) -> Any:
    if step.objective == "forget":
        return forgetting(TARGET, CONTROL, step.keep)
    targets = [name for name in editor.sets if name.startswith(f"{TARGET}/")]
    if step.objective == "patch":
        controls = [name for name in editor.sets if name.startswith(f"{CONTROL}/")]
        return patching(targets, controls), None if step.guard is None else guarding(CONTROL, step.guard)
    if step.objective == "transfer":
        return (lambda scores: scores[TARGET].value), None
    own = {
        name: accuracy(load_model(inputs[model]), editor.sets[name]).value
        for name, model in zip(targets, step.alone, strict=True)
    }
    if zero := [name for name, value in own.items() if not value]:
        raise SurefootError(f"The own model of {zero[0]} gets nothing right, so no accuracy can be divided by its.")
    return learning(own), None


def _measured(found: CoefficientSearch, point: Sequence[float]) -> list[Measurement]:
    trial = found.chosen or found.table[0]
    tried = len(found.table)
    coefficients = [
        Measurement(metric="coefficient", value=value, n=tried, replicate=index) for index, value in enumerate(point)
    ]
    scores = [
        Measurement(
            metric="validation", value=score.value, n=score.n, low=score.interval[0], high=score.interval[1], task=kind
        )
        for kind, score in trial.scores.items()
        if kind in (TARGET, CONTROL)
    ]
    share = sum(one.allowed for one in found.table) / tried if found.chosen else 0.0
    return [*coefficients, *scores, Measurement(metric="allowed", value=share, n=tried)]
