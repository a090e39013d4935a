"""LanguageEdit: a sum of task vectors of a language model, its coefficient chosen by perplexity on validation texts."""

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

from surefoot.core import Inputs, Measurement, Step, SurefootError, report_progress
from surefoot.language._models._language import LanguageModel, load_language, save_language
from surefoot.language._texts._perplexity import text_losses
from surefoot.language._texts._styles import read_texts
from surefoot.training import WEIGHTS, reproducible, sum_of, task_vectors
from surefoot.weights import CoefficientSearch, EditScore, TaskVector, apply_to, open_checkpoint, search

LANGUAGE_GRID = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)


@dataclass(frozen=True, kw_only=True)
class LanguageEdit(Step):
    """`base + c (sum of (plus - base) - sum of (minus - base))` of language models, with c chosen on validation texts.

    `objective` "forget" takes the highest geometric mean of the perplexities on the texts of `target` among the
    coefficients of `grid` at which that on the texts of `control` is at most `most` times the base's; "add" takes the
    lowest on the targets under the same bound (Ilharco et al. 2022, 2212.04089, tables 2 and 3, where the control is
    perplexity too). Each text is read in windows of `length` tokens. Writes the model and `search.json`, all trials.
    Measures `coefficient`, `validation` perplexities, and `allowed`, the share of trials within the bound: where it is
    0 the model is the base. Raises `SurefootError` for settings that choose nothing.
    """

    base: Step
    plus: tuple[Step, ...] = ()
    minus: tuple[Step, ...] = ()
    objective: Literal["forget", "add"]
    target: tuple[Step, ...]
    control: tuple[Step, ...]
    most: float = 1.05
    grid: tuple[float, ...] = LANGUAGE_GRID
    length: int = 128
    threads: int = 1
    version: ClassVar[int] = 2
    requires: ClassVar[tuple[str, ...]] = ("torch", "safetensors", "transformers")

    def make(self, out: Path, inputs: Inputs) -> Iterable[Measurement]:
        """Search, and write the model that was chosen."""
        if not (self.plus or self.minus) or not self.target or not self.control or not self.grid:
            raise SurefootError("LanguageEdit needs a model in plus or minus, targets, controls and a grid.")
        with reproducible(self.threads):
            model = load_language(inputs[self.base])
            # The checkpoints stay on disk: an edit of large models streams.
            vectors = task_vectors(self.base, self.plus, self.minus, lambda one: open_checkpoint(inputs[one] / WEIGHTS))
            edit = sum_of(vectors)
            found = _search(self, edit, model, inputs, out)
            chosen = found.chosen or found.table[0]
            apply_to(edit, model.model, chosen.coefficients[0])
        save_language(model, out)
        told = [(one, {"coefficient": one.coefficients[0], "allowed": one.allowed}) for one in found.table]
        rows = [row | _values(one.scores) for one, row in told]
        (out / "search.json").write_text(json.dumps({"message": found.message, "rows": rows}, indent=1) + "\n", "utf-8")
        tried, share = len(found.table), sum(trial.allowed for trial in found.table) / len(found.table)
        values = {"coefficient": chosen.coefficients[0], "allowed": share if found.chosen else 0.0}
        scores = _values(chosen.scores).items()
        measured = [Measurement(metric=name, value=value, n=tried) for name, value in values.items()]
        return measured + [Measurement(metric="validation", value=value, n=1, task=name) for name, value in scores]


def _search(step: LanguageEdit, edit: TaskVector, model: LanguageModel, inputs: Inputs, out: Path) -> CoefficientSearch:
    kinds = {"target": step.target, "control": step.control}
    texts = {
        f"{kind}/{place}": [row["text"] for row in read_texts(inputs[data])]
        for kind, sets in kinds.items()
        for place, data in enumerate(sets)
    }
    done = 0

    def build(vector: TaskVector) -> LanguageModel:
        apply_to(vector, model.model)
        return model

    def evaluate(edited: LanguageModel) -> dict[str, float]:
        nonlocal done
        done += 1
        report_progress(out, min(done, len(step.grid)), len(step.grid))
        return {name: text_losses(edited, own, step.length).perplexity for name, own in texts.items()}

    up = 1.0 if step.objective == "forget" else -1.0
    return search(
        edit,
        step.grid,
        evaluate,
        lambda scores: up * _mean(scores, "target"),
        lambda scores, base: _mean(scores, "control") <= step.most * _mean(base, "control"),
        build=build,
    )


def _values(scores: Mapping[str, EditScore]) -> dict[str, float]:
    return {name: score.value for name, score in scores.items()}


def _mean(scores: Mapping[str, EditScore], kind: str) -> float:
    """The geometric mean of perplexities: the exponential of the mean loss."""
    own = [score.value for name, score in scores.items() if name.startswith(f"{kind}/")]
    return math.prod(own) ** (1 / len(own))
