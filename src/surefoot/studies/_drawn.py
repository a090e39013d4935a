"""What the studies on weights share: the model they start from, the tasks, and how accuracies are looked up."""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from math import isnan
from statistics import fmean
from typing import Any, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from surefoot.contrastive import STYLES, Drawings, DrawnTask, Pretrain, TrainingPairs, ZeroShot
from surefoot.core import (
    Claim,
    Measurement,
    Observation,
    Results,
    Step,
    SurefootError,
    Unit,
    Verdict,
    verdict_above,
    verdict_below,
)
from surefoot.stats import Interval, mean_crossed, mean_t

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


ONE_SEED = "One seed gives no interval: run the study with several."
BLOCKS = 20
"""Into how many blocks things are put, so that leaving one out after the other tells how far a number hangs on them."""


class TaskAccuracies:
    """Top-1 accuracy by model and test set, of all that the results hold; `without` a block of things where asked."""

    def __init__(self, results: Results, without: int | None = None, shared: "TaskAccuracies | None" = None) -> None:
        self.results = results
        self._without, self._shared = without, shared or self

    def without(self, block: int) -> "TaskAccuracies":
        """The same accuracies without the pictures of one block of things."""
        return TaskAccuracies(self.results, block, self._shared)

    @cached_property
    def _found(self) -> Mapping[tuple[str, str], Observation]:
        return {
            (item.step.model.key, item.step.data.key): item
            for item in self.results.select(ZeroShot, metric="top1")
            if isinstance(item.step, ZeroShot)
        }

    @cached_property
    def _changes(self) -> Mapping[str, Sequence[float]]:
        """By the key of a test: how its accuracy changes without each block of things, the same in all tests."""
        import duckdb

        steps = {
            str(self.results.store.path(item.step) / "examples.parquet"): item.step.key for item in self._found.values()
        }
        block = f"('0x' || substr(md5(split_part(example, ':', -1)), 1, 7))::INTEGER % {BLOCKS}"
        read = "read_parquet(?, filename = true, union_by_name = true)"
        query = f"SELECT filename, {block}, sum(score), count(*) FROM {read} GROUP BY ALL"
        with duckdb.connect() as connection:
            rows = connection.execute(query, [list(steps)]).fetchall()
        parts = {key: np.zeros((2, BLOCKS)) for key in steps.values()}
        for name, place, right, pictures in rows:
            parts[steps[name]][:, place] = right, pictures
        return {key: _changes_of(*part) for key, part in parts.items()}

    def observation(self, model: Step, data: Step) -> Observation:
        """The accuracy and the Step that measured it. Raises `SurefootError` when it was not measured."""
        found = self._shared._found.get((model.key, data.key))
        if found is None:
            raise SurefootError(f"The accuracy of {type(model).__name__} {model.key[:10]} was not measured yet.")
        return found

    def measurement(self, model: Step, data: Step) -> Measurement:
        """The accuracy with its interval (that of all things). Raises `SurefootError` when it was not measured."""
        found = self.observation(model, data)
        if self._without is None:
            return found.measurement
        change = self._shared._changes[found.step.key][self._without]
        return replace(found.measurement, value=found.value + change)

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


def _changes_of(right: NDArray[np.float64], pictures: NDArray[np.float64]) -> Sequence[float]:
    left = pictures.sum() - pictures
    without = (right.sum() - right) / np.where(left > 0, left, 1)
    return np.where(left > 0, without - right.sum() / pictures.sum(), 0.0).tolist()


def over_seeds(values: Sequence[float]) -> Interval:
    """The mean over seeds with Student's interval. Raises `SurefootError` for a single seed and for equal values."""
    if len(values) < 2:
        raise SurefootError(ONE_SEED)
    return _known(mean_t(values), len(values))


def _known(found: Interval, seeds: int) -> Interval:
    if isnan(found.low):
        raise SurefootError(f"All {seeds} seeds gave {found.estimate:.4g}: equal values give no interval.")
    return found


@dataclass(frozen=True)
class OverSeeds:
    """The number of every seed, for the claim that their mean is above (or `below`) a bound."""

    values: Sequence[float]
    bound: float = field(default=0.0, kw_only=True)
    below: bool = field(default=False, kw_only=True)
    detail: str = field(default="", kw_only=True)
    unit: Unit = field(default="points", kw_only=True)


def crossed_verdict(check: Callable[[TaskAccuracies], OverSeeds], results: Results) -> Verdict:
    """The verdict on a mean over seeds, with a 95 percent interval over seeds and over things.

    Every seed is tested on the same things, if in other drawings: more seeds alone must not narrow it to nothing. Each
    seed's number without one block of things after the other gives its pseudo-values (Tukey 1958), a table of
    seeds by blocks that `mean_crossed` takes. Raises `SurefootError` for one seed, and where nothing differs.
    """
    # One for all claims on the same results, so that the examples are read once.
    found = vars(results).setdefault("task_accuracies", TaskAccuracies(results))
    whole = check(found)
    if len(whole.values) < 2:
        raise SurefootError(ONE_SEED)
    without = np.array([check(found.without(block)).values for block in range(BLOCKS)]).T
    crossed = mean_crossed(BLOCKS * np.array(whole.values)[:, None] - (BLOCKS - 1) * without)
    mean, half = fmean(whole.values), (_known(crossed, len(whole.values)).high - crossed.low) / 2
    decide = verdict_below if whole.below else verdict_above
    return decide(
        mean, mean - half, mean + half, len(whole.values), bound=whole.bound, detail=whole.detail, unit=whole.unit
    )


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
) -> Callable[[str, str, Callable[[Sequence[T], TaskAccuracies], OverSeeds], str], Claim]:
    """What makes claims of a paper over trials: of a name, a sentence, a check, and the place in the paper."""

    def claim(name: str, sentence: str, check: Callable[[Sequence[T], TaskAccuracies], OverSeeds], where: str) -> Claim:
        return Claim(
            name=name,
            sentence=sentence,
            check=lambda results: crossed_verdict(lambda found: check(trials, found), results),
            source=f"{paper}, {where}",
            counted="seeds",
        )

    return claim
