"""What the studies on weights share: the model they start from, the tasks, and how accuracies are looked up."""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property
from math import isnan
from statistics import fmean
from typing import Any, Literal, TypeVar

from surefoot.contrastive import STYLES, Drawings, DrawnTask, Pretrain, TrainingPairs, ZeroShot
from surefoot.core import Claim, Measurement, Observation, Results, Step, SurefootError, Unit, Verdict, verdict_above
from surefoot.stats import Interval, mean_t

T = TypeVar("T")
SEEN_STYLES = ("noto", "fluent-emoji", "fluent-emoji-flat")
"""The styles that the start is pre-trained on."""

TASK_STYLES = ("twemoji", "openmoji", "emojione", "noto-v1", "fxemoji", "emojione-v1")
"""The styles that tasks are drawn in: none of them was seen in pre-training."""

SHORT = {
    "smileys-emotion": "faces",
    "people-body": "people",
    "animals-nature": "animals",
    "food-drink": "food",
    "travel-places": "places",
    "activities": "activities",
    "objects": "objects",
    "symbols": "symbols",
}
"""Short names of the groups of things."""


def start_model(seed: int, *, size: str = "rn-8", samples: int = 36_000) -> Pretrain:
    """A contrastive model of all things, in the styles of pre-training only."""
    drawings = tuple(Drawings(style=style) for style in SEEN_STYLES)
    pairs = TrainingPairs(drawings=drawings, variants=False, held_out=0)
    return Pretrain(data=pairs, model=size, samples=samples, seed=seed)


def drawn_task(group: str, part: Literal["train", "validation", "test"], seed: int, **more: Any) -> DrawnTask:
    """Kinds of things of one group, in the styles of tasks, split anew by each seed."""
    drawings = tuple(Drawings(style=style) for style in TASK_STYLES)
    return DrawnTask(drawings=drawings, groups=(group,), part=part, split_seed=seed, **more)


def credits_of(styles: Iterable[str]) -> tuple[str, ...]:
    """Title, author and licence of the styles."""
    return tuple(f"{STYLES[name].title}: {STYLES[name].package.credit}" for name in styles)


class TaskAccuracies:
    """Top-1 accuracy by model and test set, of all that the results hold."""

    def __init__(self, results: Results) -> None:
        self.results = results

    @cached_property
    def _found(self) -> Mapping[tuple[str, str], Observation]:
        return {
            (item.step.model.key, item.step.data.key): item
            for item in self.results.select(ZeroShot, metric="top1")
            if isinstance(item.step, ZeroShot)
        }

    def observation(self, model: Step, data: Step) -> Observation:
        """The accuracy and the Step that measured it. Raises `SurefootError` when it was not measured."""
        found = self._found.get((model.key, data.key))
        if found is None:
            raise SurefootError(f"The accuracy of {type(model).__name__} {model.key[:10]} was not measured yet.")
        return found

    def measurement(self, model: Step, data: Step) -> Measurement:
        """The accuracy with its interval. Raises `SurefootError` when it was not measured."""
        return self.observation(model, data).measurement

    def examples(self, model: Step, data: Step, columns: str, groups: str = "") -> list[tuple[Any, ...]]:
        """These columns (SQL) of the scores of every test picture, in the order of the data, or by groups."""
        import duckdb

        examples = str(self.results.store.path(self.observation(model, data).step) / "examples.parquet")
        with duckdb.connect() as connection:
            read = connection.read_parquet(examples)
            return (read.aggregate(columns, groups) if groups else read.project(columns)).fetchall()

    def mean(self, model: Step, sets: Iterable[Step]) -> float:
        """The mean accuracy over several test sets, each counted once."""
        return fmean(self.measurement(model, one).value for one in sets)


def over_seeds(values: Sequence[float]) -> Interval:
    """The mean over seeds with Student's interval. Raises `SurefootError` for a single seed and for equal values."""
    if len(values) < 2:
        raise SurefootError("One seed gives no interval: run the study with several.")
    found = mean_t(values)
    if isnan(found.low):
        raise SurefootError(f"All {len(values)} seeds gave {found.estimate:.4g}: equal values give no interval.")
    return found


def seeds_verdict(values: Sequence[float], *, bound: float = 0.0, detail: str = "", unit: Unit = "points") -> Verdict:
    """The verdict on 'the mean over seeds is above `bound`', with Student's 95 percent interval over seeds."""
    found = over_seeds(values)
    return verdict_above(found.estimate, found.low, found.high, len(values), bound=bound, detail=detail, unit=unit)


def seeds_row(values: Sequence[float], *, mean: str = "value", **named: Any) -> dict[str, Any]:
    """A row of a figure: what is `named`, then the mean over seeds under `mean`, Student's interval, and the count."""
    found = mean_t(values)
    low, high = (None if isnan(bound) else bound for bound in (found.low, found.high))
    return {**named, mean: found.estimate, "low": low, "high": high, "n": len(values)}


def search_rows(results: Results, edit: Step) -> list[dict[str, Any]]:
    """The whole table of an edit's search. Raises `SurefootError` when the edit was not made yet."""
    place = results.store.path(edit) / "search.json"
    if not place.exists():
        raise SurefootError(f"The coefficients of {type(edit).__name__} {edit.key[:10]} were not tried yet.")
    return json.loads(place.read_text(encoding="utf-8"))["rows"]


def search_scores(results: Results, edit: Step) -> dict[float, dict[str, float]]:
    """The validation scores of a search with one coefficient: by the coefficient, in its order, and by metric."""
    found: dict[float, dict[str, float]] = {}
    for row in search_rows(results, edit):
        found.setdefault(float(row["coefficients"]), {})[row["metric"]] = row["value"]
    return dict(sorted(found.items()))


def claims_of(
    trials: Sequence[T], paper: str
) -> Callable[[str, str, Callable[[Sequence[T], TaskAccuracies], Verdict], str], Claim]:
    """What makes claims of a paper over trials: of a name, a sentence, a check, and the place in the paper."""

    def claim(name: str, sentence: str, check: Callable[[Sequence[T], TaskAccuracies], Verdict], where: str) -> Claim:
        return Claim(
            name=name,
            sentence=sentence,
            check=lambda results: check(trials, TaskAccuracies(results)),
            source=f"{paper}, {where}",
        )

    return claim
