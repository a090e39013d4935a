"""Choosing coefficients on validation data: every trial is kept, and the test split is touched once, at the end."""

import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from math import isnan
from typing import Any

import numpy as np

from surefoot.core import SurefootError, missing_module
from surefoot.weights._arithmetic._expression import TaskVector, mean
from surefoot.weights._arithmetic._memory import state
from surefoot.weights._files._checkpoint import Checkpoint

State = Mapping[str, np.ndarray]
_ROUNDING = 1e-12  # of a bound: .9 - .2 is above .7


@dataclass(frozen=True, kw_only=True)
class EditScore:
    """A share of `n` examples, 0 to 1 (an accuracy), with its Wilson interval; or any number when `n` is 0.

    `within` is its interval where it is another: that of a mean over sets of several sizes.
    """

    value: float
    n: int = 0
    within: tuple[float, float] | None = None

    @property
    def interval(self) -> tuple[float, float]:
        """Lower and upper bound at the 95 percent level; NaN when `n` is 0."""
        if self.within:
            return self.within
        if not self.n:
            return float("nan"), float("nan")
        from surefoot.stats import wilson

        found = wilson(self.value * self.n, self.n)
        return found.low, found.high


EditScores = Mapping[str, EditScore]
Evaluate = Callable[[Any], Mapping[str, EditScore | float]]
Objective = Callable[[EditScores], float]  # to be maximised
Constraint = Callable[[EditScores, EditScores], bool]  # of a trial, and of the base


@dataclass(frozen=True, kw_only=True)
class CoefficientTrial:
    """One row of the search table: coefficients, scores on validation data, objective, whether it was allowed."""

    coefficients: tuple[float, ...]
    scores: EditScores
    objective: float
    allowed: bool


@dataclass(frozen=True, kw_only=True)
class CoefficientSearch:
    """All trials, the first being the base itself, the one chosen (None when none was allowed), and its test scores."""

    table: tuple[CoefficientTrial, ...]
    chosen: CoefficientTrial | None
    test: EditScores = field(default_factory=dict)
    message: str = ""

    def rows(self) -> list[dict[str, float | bool | str]]:
        """The table as plain values, a line for each trial and metric, with the interval."""
        return [
            {
                "coefficients": " ".join(f"{one:g}" for one in trial.coefficients),
                "metric": metric,
                "value": score.value,
                "low": score.interval[0],
                "high": score.interval[1],
                "objective": trial.objective,
                "allowed": trial.allowed,
                "chosen": trial is self.chosen,
            }
            for trial in self.table
            for metric, score in trial.scores.items()
        ]


def search(
    edit: TaskVector | Sequence[TaskVector],
    grid: Iterable[float | Sequence[float]],
    evaluate: Evaluate,
    objective: Objective,
    constraint: Constraint | None = None,
    *,
    test: Evaluate | None = None,
    build: Callable[[TaskVector], Any] = state,
) -> CoefficientSearch:
    """Try every coefficient (or tuple of them, one for each edit) of `grid` and keep the best that is allowed.

    `build` makes of an edit what `evaluate` takes: by default a mapping of arrays; a function that calls `apply_to` and
    returns the model for a torch model. `evaluate` sees validation data only; `test`, when given, is called once, with
    what was chosen. Of equal objectives the smallest edit wins. When nothing is allowed, `chosen` is None and `message`
    says how close it came.
    """
    size = 1 if isinstance(edit, TaskVector) else len(edit)
    make = partial(_built, edit, build)
    return _searched(_trials(make, evaluate, objective, constraint), size, grid, make, test)


Make = Callable[[tuple[float, ...]], Any]
Try = Callable[[tuple[float, ...], EditScores | None], CoefficientTrial]


def _searched(
    trial: Try, size: int, grid: Iterable[float | Sequence[float]], make: Make, test: Evaluate | None
) -> CoefficientSearch:
    zero = (0.0,) * size
    points = [tuple(map(float, np.atleast_1d(point))) for point in grid]
    if wrong := [point for point in points if len(point) != size]:
        raise SurefootError(f"{size} edits need {size} coefficients at each point of the grid, not {wrong[0]}.")
    table = [trial(zero, None)]
    table += [trial(point, table[0].scores) for point in dict.fromkeys(points) if point != zero]
    return _chosen(table, zero in points, make, test)


def search_evolution(
    edits: Sequence[TaskVector],
    evaluate: Evaluate,
    objective: Objective,
    constraint: Constraint | None = None,
    *,
    start: float = 0.3,
    spread: float = 0.2,
    budget: int = 60,
    seed: int = 0,
    test: Evaluate | None = None,
    build: Callable[[TaskVector], Any] = state,
) -> CoefficientSearch:
    """As `search`, for many coefficients at once: CMA-ES (Hansen 2016) within `budget` evaluations.

    A trial that is not allowed ranks behind all that are. Needs the package `cma`.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that its plots need matplotlib
            import cma
    except ImportError:
        raise missing_module("cma") from None
    make = partial(_built, edits, build)
    trial = _trials(make, evaluate, objective, constraint)
    table = [trial((0.0,) * len(edits), None)]
    dimensions = max(len(edits), 2)  # the strategy needs two; a spare one is ignored
    options = {"seed": seed + 1, "verbose": -9, "verb_log": 0, "maxfevals": budget}
    strategy = cma.CMAEvolutionStrategy([start] * dimensions, spread, options)
    while not strategy.stop() and len(table) <= budget:
        points = strategy.ask()
        tried = [trial(tuple(map(float, point[: len(edits)])), table[0].scores) for point in points]
        worst = max((-one.objective for one in tried if one.allowed), default=0.0)
        strategy.tell(points, [-one.objective if one.allowed else worst + 1 - one.objective for one in tried])
        table += tried
    return _chosen(table, True, make, test)


def _built(
    edit: TaskVector | Sequence[TaskVector], build: Callable[[TaskVector], Any], point: tuple[float, ...]
) -> Any:
    parts = [edit] if isinstance(edit, TaskVector) else list(edit)
    return build(sum((factor * part for factor, part in zip(point, parts, strict=True)), TaskVector(parts[0].base)))


def _trials(make: Make, evaluate: Evaluate, objective: Objective, constraint: Constraint | None) -> Try:
    def trial(point: tuple[float, ...], reference: EditScores | None) -> CoefficientTrial:
        scores = _scores(evaluate(make(point)))
        allowed = constraint is None or constraint(scores, scores if reference is None else reference)
        return CoefficientTrial(
            coefficients=point, scores=scores, objective=float(objective(scores)), allowed=bool(allowed)
        )

    return trial


def _scores(found: Mapping[str, EditScore | float]) -> dict[str, EditScore]:
    return {name: one if isinstance(one, EditScore) else EditScore(value=float(one)) for name, one in found.items()}


def _chosen(table: Sequence[CoefficientTrial], with_base: bool, make: Make, test: Evaluate | None) -> CoefficientSearch:
    open_to_choice = [one for one in table if (with_base or one is not table[0]) and np.isfinite(one.objective)]
    if not (allowed := [one for one in open_to_choice if one.allowed]):
        best = max((one.objective for one in open_to_choice), default=float("nan"))
        message = (
            f"none of {len(open_to_choice)} trials satisfies the constraint (best objective without it: {best:.4g})"
        )
        return CoefficientSearch(table=tuple(table), chosen=None, message=message)
    chosen = min(allowed, key=lambda one: (-one.objective, np.linalg.norm(one.coefficients)))
    seen = _scores(test(make(chosen.coefficients))) if test else {}
    return CoefficientSearch(
        table=tuple(table), chosen=chosen, test=seen, message=f"{len(allowed)} of {len(open_to_choice)} allowed"
    )


def _score(scores: EditScores, task: str) -> float:
    if task not in scores:
        raise SurefootError(f"There is no score of {task!r}; evaluate gave {', '.join(scores) or 'none'}.")
    return scores[task].value


def forgetting(target: str, control: str, keep: float = 0.95) -> tuple[Objective, Constraint]:
    """Negation (arXiv 2212.04089, section 3): lowest target score that keeps a share of the base's control score."""
    return (
        lambda scores: -_score(scores, target),
        lambda scores, base: _score(scores, control) >= keep * _score(base, control) - _ROUNDING,
    )


def learning(alone: Mapping[str, float]) -> Objective:
    """Addition (section 4): mean over tasks of the score divided by that of the task's own tuned model, in `alone`."""
    if wrong := [task for task, own in alone.items() if own <= 0]:
        raise SurefootError(f"The score of {wrong[0]!r} alone must be above 0, to divide by.")
    return lambda scores: float(np.mean([_score(scores, task) / own for task, own in alone.items()]))


def patching(patched: Sequence[str], supported: Sequence[str]) -> Objective:
    """PAINT (arXiv 2208.05592): mean of the mean score on patching tasks and the mean score on supported tasks."""

    def objective(scores: EditScores) -> float:
        return sum(float(np.mean([_score(scores, task) for task in tasks])) for tasks in (patched, supported)) / 2

    return objective


def guarding(control: str, fall: float) -> Constraint:
    """A constraint for any objective: the control's score falls by at most `fall` below the base's."""
    return lambda scores, base: _score(scores, control) >= _score(base, control) - fall - _ROUNDING


@dataclass(frozen=True, kw_only=True)
class Soup:
    """Members of a greedy soup in the order they came in, the edit that is their average, and every trial's score.

    A row of `table` is the members of a trial and its score, with its interval where the number of examples was given.
    """

    members: tuple[int, ...]
    vector: TaskVector
    table: tuple[tuple[tuple[int, ...], EditScore], ...]


def greedy_soup(
    checkpoints: Sequence[Checkpoint],
    score: Callable[[Any], EditScore | float],
    *,
    build: Callable[[TaskVector], Any] = state,
) -> Soup:
    """Greedy soup (arXiv 2203.05482, recipe 1): best first, and each next one stays if the held-out score rises.

    `score` is of held-out data. A score that does not change keeps the candidate out. The average is a streamed edit:
    pass `vector` to `apply` to write it. Raises SurefootError for a score that is NaN, which has no place in the order.
    """
    if not checkpoints:
        raise SurefootError("A soup needs at least one checkpoint.")
    table: list[tuple[tuple[int, ...], EditScore]] = []

    def tried(members: tuple[int, ...]) -> float:
        found = score(build(mean([checkpoints[one] for one in members])))
        table.append((members, found if isinstance(found, EditScore) else EditScore(value=float(found))))
        if isnan(table[-1][1].value):
            raise SurefootError(f"The score of {' + '.join(checkpoints[one].label for one in members)} is NaN.")
        return table[-1][1].value

    alone = [tried((index,)) for index in range(len(checkpoints))]
    first, *others = sorted(range(len(checkpoints)), key=lambda index: -alone[index])
    members, best = (first,), alone[first]
    for index in others:
        value = tried((*members, index))
        if value > best:
            members, best = (*members, index), value
    return Soup(members=members, vector=mean([checkpoints[one] for one in members]), table=tuple(table))
