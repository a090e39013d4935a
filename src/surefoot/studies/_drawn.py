"""What the studies on weights share: the model they start from, the tasks, and how accuracies are looked up."""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import inf, isnan
from statistics import fmean
from typing import Any, Generic, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from surefoot.contrastive import (
    ALIGNED,
    GROUPS,
    STYLES,
    Drawings,
    DrawnTask,
    Finetune,
    ImageNetModel,
    Pretrain,
    TrainingPairs,
    ZeroShot,
)
from surefoot.core import Observation, Results, Step, SurefootError, Unit, in_memory
from surefoot.examples import EXAMPLES
from surefoot.stats import Interval, crossed_error, mean_t, t_quantile
from surefoot.studies._hypotheses import Hypothesis, Pooled, read_once

Trial = TypeVar("Trial")
Model = TypeVar("Model")
Value = TypeVar("Value")
Row = dict[str, Any]
SEEN_STYLES = ("noto", "fluent-emoji", "fluent-emoji-flat")
"""The styles that the start is pre-trained on."""

TASK_STYLES = ("twemoji", "openmoji", "emojione", "noto-v1", "fxemoji", "emojione-v1")
"""The styles that tasks are drawn in: none of them was seen in pre-training."""

SHORT = dict(
    zip(GROUPS, ("faces", "people", "animals", "food", "places", "activities", "objects", "symbols"), strict=True)
)
"""Short names of the groups of things."""


TOP1: dict[str, Any] = {"x_title": "Top-1 accuracy", "unit": "share", "reference": None}
"""What interval plots of accuracies have in common."""


def drawings(styles: Iterable[str]) -> tuple[Drawings, ...]:
    return tuple(Drawings(style=style) for style in styles)


PHOTOGRAPHS, ALIGNMENT = "photographs", 12_800
"""A start whose image tower has learned from photographs, and how many drawings it sees to learn what words mean."""


def start_model(seed: int, *, size: str = "rn-8", samples: int = 36_000) -> Step:
    """A contrastive model of all things, in the styles of pre-training only.

    `size` is a model of the ladder that has seen nothing but `samples` of these drawings, or "photographs":
    EfficientNet-Lite0 as it left ImageNet, whose words alone are learned on the drawings.
    """
    pairs = TrainingPairs(drawings=drawings(SEEN_STYLES), variants=False, held_out=0)
    if size != PHOTOGRAPHS:
        return Pretrain(data=pairs, model=size, samples=samples, seed=seed)
    tower = ImageNetModel(data=pairs, seed=seed)
    return Finetune(model=tower, data=(pairs,), samples=ALIGNMENT, learning_rate=1e-3, trained=ALIGNED, seed=seed)


def drawn_task(
    group: str, part: Literal["train", "validation", "test"], seed: int, *, half: Literal[0, 1] | None = None
) -> DrawnTask:
    """Kinds of things of one group, in the styles of tasks, split anew by each seed; with `half`, of half of them."""
    return DrawnTask(drawings=drawings(TASK_STYLES), groups=(group,), part=part, half=half, split_seed=seed)


def credits_of(styles: Iterable[str]) -> tuple[str, ...]:
    """Title, author and licence of the styles."""
    return tuple(f"{STYLES[name].title}: {STYLES[name].package.credit}" for name in styles)


BLOCKS = 20
"""Into how many blocks things are put, so that leaving one out after the other tells how far a number hangs on them."""

LEAST_SEEDS = 3
"""Below so many seeds no verdict is built on them."""


class TaskAccuracies:
    """Top-1 accuracy by model and test set, of all that the results hold; `without` a block of things where asked."""

    def __init__(self, results: Results, without: int | None = None, shared: "TaskAccuracies | None" = None) -> None:
        self.results = results
        self._without, self._shared = without, shared or self
        self._read: dict[str, Any] = {}

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
        steps = {str(self.results.store.file(item.step, EXAMPLES)): item.step.key for item in self._found.values()}
        block = f"('0x' || substr(md5(split_part(example, ':', -1)), 1, 7))::INTEGER % {BLOCKS}"
        read = "read_parquet(?, filename = true, union_by_name = true)"
        query = f"SELECT filename, {block}, sum(score), count(*) FROM {read} GROUP BY ALL"
        with in_memory() as connection:
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

    def value(self, model: Step, data: Step) -> float:
        """The accuracy. Raises `SurefootError` when it was not measured."""
        found = self.observation(model, data)
        change = 0.0 if self._without is None else self._shared._changes[found.step.key][self._without]
        return found.value + change

    def once(self, name: str, read: Callable[[], Value]) -> Value:
        """What `read` gives, the same without any block of things: read once under this name."""
        if name not in self._shared._read:
            self._shared._read[name] = read()
        return self._shared._read[name]

    def examples(self, model: Step, data: Step, columns: str) -> list[tuple[Any, ...]]:
        """These columns (SQL) of the scores of every test picture, in the order of the data."""
        step = self.observation(model, data).step
        examples = str(self.results.store.file(step, EXAMPLES))
        with in_memory() as connection:
            return connection.read_parquet(examples).project(columns).fetchall()

    def mean(self, model: Step, sets: Iterable[Step]) -> float:
        """The mean accuracy over several test sets, each counted once."""
        return fmean(self.value(model, data) for data in sets)


def _changes_of(right: NDArray[np.float64], pictures: NDArray[np.float64]) -> Sequence[float]:
    left = pictures.sum() - pictures
    without = (right.sum() - right) / np.where(left > 0, left, 1)
    return np.where(left > 0, without - right.sum() / pictures.sum(), 0.0).tolist()


def changes_by(
    cluster: str, results: Results, before: Step, after: Step
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """By cluster, a column of the examples, how much the scores of the same examples rise in all, and their number."""
    with in_memory() as connection:
        rows = connection.execute(
            f"SELECT sum(b.score - a.score), count(*) FROM read_parquet(?) a JOIN read_parquet(?) b "
            f"USING (example, {cluster}) GROUP BY {cluster} ORDER BY {cluster}",
            [str(results.store.file(step, EXAMPLES)) for step in (before, after)],
        ).fetchall()
    sums, counts = np.array(rows, np.float64).T
    return sums, counts


accuracies_of = read_once(TaskAccuracies)
"""The accuracies in these results: one for all claims and figures, so that the examples are read once."""


def crossed_mean(number: Callable[[TaskAccuracies], Sequence[float]], results: Results) -> Pooled:
    """The mean of the numbers of all seeds, with its error over seeds and over things.

    Every seed is tested on the same things, if in other drawings: more seeds alone must not narrow it to nothing. Each
    seed's number without one block of things after the other gives its pseudo-values (Tukey 1958), a table of
    seeds by blocks that `crossed_error` takes. Two seeds that happen to agree would say as much as many: below
    `LEAST_SEEDS` it is in doubt. Raises `SurefootError` for one seed, and where nothing differs.
    """
    accuracies = accuracies_of(results)
    whole = number(accuracies)
    if len(whole) < 2:
        raise SurefootError("One seed gives no interval: run the study with several.")
    without = np.array([number(accuracies.without(block)) for block in range(BLOCKS)]).T
    error, freedom = crossed_error(BLOCKS * np.array(whole)[:, None] - (BLOCKS - 1) * without)
    if isnan(error):
        raise SurefootError(f"All {len(whole)} seeds gave {fmean(whole):.4g}: equal values give no interval.")
    doubt = "" if len(whole) >= LEAST_SEEDS else f"{len(whole)} seeds decide nothing, {LEAST_SEEDS} are the least."
    return Pooled(value=fmean(whole), stderr=error, n=len(whole), freedom=freedom, doubt=doubt)


def crossed_interval(number: Callable[[TaskAccuracies], Sequence[float]], results: Results) -> Interval:
    """The 95 percent interval of `crossed_mean`, for figures."""
    mean = crossed_mean(number, results)
    half = t_quantile(0.95, mean.freedom) * (mean.stderr or 0.0)
    return Interval(mean.value, mean.value - half, mean.value + half)


def seeds_row(values: Sequence[float], *, mean: str = "value", shares: bool = False, **named: float | str) -> Row:
    """A row of a figure: what is `named`, then the mean over seeds under `mean`, Student's interval, and the count.

    That of `shares` of a whole ends at 0 and 1.
    """
    student, (least, most) = mean_t(values), (0.0, 1.0) if shares else (-inf, inf)
    low, high = (None if isnan(bound) else min(max(bound, least), most) for bound in (student.low, student.high))
    return {**named, mean: student.estimate, "low": low, "high": high, "n": len(values)}


def compared_rows(
    trials: Sequence[Trial],
    models: Mapping[str, Callable[[Trial], Model]],
    measures: Mapping[str, Callable[[Trial, Model], float]],
    *,
    shares: bool = True,
) -> list[Row]:
    """The rows of a figure that compares models, each of them measured in some ways: `seeds_row` of each."""
    return [
        seeds_row([value(trial, model(trial)) for trial in trials], label=name, group=group, family=name, shares=shares)
        for group, value in measures.items()
        for name, model in models.items()
    ]


def search_rows(results: Results, edit: Step) -> list[dict[str, Any]]:
    """The whole table of an edit's search. Raises `SurefootError` when the edit was not made yet."""
    place = results.store.file(edit, "search.json")
    if not place.exists():
        raise SurefootError(f"The coefficients of {type(edit).__name__} {edit.key[:10]} were not tried yet.")
    return json.loads(place.read_text(encoding="utf-8"))["rows"]


def search_scores(results: Results, edit: Step) -> dict[float, dict[str, float]]:
    """The validation scores of a search with one coefficient: by the coefficient, in its order, and by metric."""
    found: dict[float, dict[str, float]] = {}
    for row in search_rows(results, edit):
        found.setdefault(float(row["coefficients"]), {})[row["metric"]] = row["value"]
    return dict(sorted(found.items()))


@dataclass(frozen=True)
class SeedClaims(Generic[Trial]):
    """What makes hypotheses over the trials of a study, one trial a seed."""

    trials: Sequence[Trial]

    def __call__(
        self,
        name: str,
        sentence: str,
        number: Callable[[TaskAccuracies, Trial], tuple[float, ...]],
        detail: str,
        source: str,
        *,
        bound: float = 0.0,
        below: bool = False,
        within: bool = False,
        unit: Unit = "points",
    ) -> Hypothesis:
        """The hypothesis that the mean over seeds of a number is above (or `below`) the bound, or `within` it of zero.

        `number` gives that of one seed first, then others whose means over seeds stand in the `detail` as {0}, {1}...
        """

        def effect(results: Results) -> tuple[Pooled, str]:
            mean = crossed_mean(lambda found: [number(found, trial)[0] for trial in self.trials], results)
            shown = zip(*(number(accuracies_of(results), trial)[1:] for trial in self.trials), strict=True)
            return mean, detail.format(*map(fmean, shown)).rstrip(".")

        return Hypothesis(
            name=name, sentence=sentence, source=source, effect=effect, bound=bound, below=below,
            within=within, unit=unit,
            counted="seeds",
        )  # fmt: skip


def check_seeds(seeds: Sequence[int]) -> None:
    """Raise `SurefootError` where a study has no seed, one twice, or one below 0."""
    if not seeds or len(set(seeds)) < len(seeds) or min(seeds) < 0:
        given = ",".join(map(str, seeds)) or "empty"
        raise SurefootError(f"seeds is {given}: give different numbers of 0 or above, as 0,1,2,3,4.")
