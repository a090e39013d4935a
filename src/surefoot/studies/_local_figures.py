"""The figures of the study of workers that do not communicate."""

import json
from collections.abc import Callable, Sequence
from typing import Any

from surefoot.core import Figure, Results, Step
from surefoot.figures import interval_plot, scaling_curve
from surefoot.studies._drawn import Accuracies, seeds_row
from surefoot.studies._local_claims import bytes_moved, mean_accuracy, sent_once
from surefoot.studies._local_steps import COUNTS, MAIN, Settings, Trial

Row = dict[str, Any]
PLACES = {False: "styles tuned on", True: "other styles (shift)"}


def figures(trials: Sequence[Trial], settings: Settings) -> tuple[Callable[[Results], Figure], ...]:
    """The figures over these seeds."""
    makers = (_methods, _workers, _bytes)
    return tuple(lambda results, make=make: make(trials, settings, results) for make in makers)


def _methods(trials: Sequence[Trial], settings: Settings, results: Results) -> Figure:
    found = Accuracies(results)
    names = list(trials[0].methods())
    rows: list[Row] = []
    for shifted, place in PLACES.items():
        for name in names:
            values = [mean_accuracy(found, trial, trial.methods()[name], shifted=shifted) for trial in trials]
            rows.append(seeds_row(values, label=name, group=place, family=name))
    return interval_plot(
        rows,
        name="methods",
        title=f"{MAIN} workers, from no communication to all",
        caption=f"Test accuracy after {settings.steps} steps of {settings.batch} pictures for each of {MAIN} workers; "
        f"rounds: {settings.rounds}, in each of which the inner optimizer starts anew. All use the learning rate "
        f"{settings.learning_rate:g}. Student's intervals over {len(trials)} seeds, each with its own start and split."
        + _speed(trials, results),
        x_title="Top-1 accuracy",
        unit="share",
        reference=None,
        families=names,
    )


def _workers(trials: Sequence[Trial], settings: Settings, results: Results) -> Figure:
    found = Accuracies(results)
    kinds: dict[str, Callable[[Trial, int], Step]] = {
        "lo-fi": lambda trial, count: trial.lofi[count],
        "together at each step": lambda trial, count: trial.together[count],
    }
    rows: list[Row] = []
    for shifted, place in PLACES.items():
        for count in COUNTS:
            for name, model in kinds.items():
                values = [mean_accuracy(found, trial, (model(trial, count),), shifted=shifted) for trial in trials]
                rows.append(seeds_row(values, label=f"{count} workers, {name}", group=place, family=name))
    return interval_plot(
        rows,
        name="workers",
        title="More workers, the same number of steps for each",
        caption=f"Test accuracy; together, n workers have batches of n times {settings.batch} at the same learning "
        f"rate. Student's intervals over {len(trials)} seeds.",
        x_title="Top-1 accuracy",
        unit="share",
        reference=None,
        families=list(kinds),
    )


def _bytes(trials: Sequence[Trial], settings: Settings, results: Results) -> Figure:
    found = Accuracies(results)
    rows: list[Row] = []
    for name, moved in bytes_moved(sent_once(trials, results), settings).items():
        values = [mean_accuracy(found, trial, trial.methods()[name], shifted=False) for trial in trials]
        rows.append(seeds_row(values, mean="y", x=moved / 1e6, label=name, family=name))
    return scaling_curve(
        rows,
        name="bytes",
        title="What communication buys",
        caption=f"Test accuracy in the styles tuned on against the megabytes that all {MAIN} workers move in a run, "
        "counted from the weights of the vision tower in 32 bits: a ring for gradients, sending and receiving for "
        "whole weights. Student's intervals over seeds.",
        x_title="Megabytes moved",
        y_title="Top-1 accuracy",
        unit="share",
        families=[row["family"] for row in rows],
    )


def _speed(trials: Sequence[Trial], results: Results) -> str:
    """How fast a worker was on this machine: told, never measured as a result."""
    file = results.store.path(trials[0].alone[MAIN][0]) / "history.json"
    if not file.is_file():
        return ""
    told = json.loads(file.read_text(encoding="utf-8"))
    return f" On the machine of this run a worker saw {told['samples_per_second']:.0f} pictures a second."
