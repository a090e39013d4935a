"""The figures of the study of workers that do not communicate."""

import json
from collections.abc import Callable, Mapping, Sequence
from statistics import median

from surefoot.contrastive import wrong_sheet
from surefoot.core import Figure, Results, Step, SurefootError
from surefoot.figures import heat_table, interval_plot, scaling_curve
from surefoot.studies._drawn import TOP1, Row, accuracies_of, compared_rows, crossed_interval, seeds_row
from surefoot.studies.local._claims import Models, bytes_moved, mean_accuracy, seconds_of_run, sent_once
from surefoot.studies.local._steps import COUNTS, KNOWN, MAIN, SHIFTS, LocalSeed, LocalSettings

LINKS = (1, 10, 100, 1000)
OTHER = "other styles (shift)"
PLACES = {False: "styles tuned on", True: OTHER}


def figures(trials: Sequence[LocalSeed], settings: LocalSettings) -> tuple[Callable[[Results], Figure], ...]:
    """The figures over these seeds."""
    makers = (_methods, _workers, _bytes, _seconds, _wrong)
    return tuple(lambda results, make=make: make(trials, settings, results) for make in makers)


def _methods(trials: Sequence[LocalSeed], settings: LocalSettings, results: Results) -> Figure:
    names = list(trials[0].methods())
    methods: dict[str, Models] = {name: lambda trial, name=name: trial.methods()[name] for name in names}
    rows = _accuracy_rows(trials, results, methods)
    return interval_plot(
        rows,
        name="methods",
        title=f"{MAIN} workers, from no communication to all",
        caption=f"Test accuracy after {settings.steps} steps of {settings.batch} pictures for each of {MAIN} workers; "
        f"rounds: {settings.rounds}. Together, batches are {MAIN} times as large; one worker on all data has its own. "
        f"All use the learning rate {settings.learning_rate:g}. Intervals are over {len(trials)} seeds, each with its "
        "own start and split; under shift over the things that are shown, too.",
        **TOP1,
        families=names,
    )


def _wrong(trials: Sequence[LocalSeed], _: LocalSettings, results: Results) -> Figure:
    found, first = accuracies_of(results), trials[0]
    sets = {KNOWN: first.known, **dict(zip(SHIFTS, first.shifted, strict=True))}
    return wrong_sheet(
        results, {f"lo-fi, {name}": found.observation(first.lofi[MAIN], test) for name, test in sets.items()}
    )


def _workers(trials: Sequence[LocalSeed], settings: LocalSettings, results: Results) -> Figure:
    kinds: dict[str, Callable[[LocalSeed, int], Step]] = {
        "lo-fi": lambda trial, count: trial.lofi[count],
        "together at each step": lambda trial, count: trial.together[count],
    }
    models: dict[str, Models] = {
        f"{count} workers, {name}": lambda trial, model=model, count=count: (model(trial, count),)
        for count in COUNTS
        for name, model in kinds.items()
    }
    rows = [row | {"family": row["label"].split(", ")[1]} for row in _accuracy_rows(trials, results, models)]
    return interval_plot(
        rows,
        name="workers",
        title="More workers, the same number of steps for each",
        caption=f"Test accuracy; together, n workers have batches of n times {settings.batch} at the same learning "
        f"rate. Intervals are over {len(trials)} seeds; under shift over the things that are shown, too.",
        **TOP1,
        families=list(kinds),
    )


def _accuracy_rows(trials: Sequence[LocalSeed], results: Results, models: Mapping[str, Models]) -> list[Row]:
    """The mean accuracy over seeds, by place and model; under shift the interval is over things as well."""
    found = accuracies_of(results)
    measures = {
        place: lambda trial, each, shifted=shifted: mean_accuracy(found, trial, each, shifted=shifted)
        for shifted, place in PLACES.items()
    }
    rows = compared_rows(trials, models, measures)
    return [row | _over_things(trials, results, models[row["label"]]) if row["group"] == OTHER else row for row in rows]


def _over_things(trials: Sequence[LocalSeed], results: Results, models: Models) -> Row:
    if len(trials) < 2:
        return {}
    crossed = crossed_interval(
        lambda found: [mean_accuracy(found, trial, models(trial), shifted=True) for trial in trials], results
    )
    return {"low": crossed.low, "high": crossed.high}


def _bytes(trials: Sequence[LocalSeed], settings: LocalSettings, results: Results) -> Figure:
    found = accuracies_of(results)
    rows: list[Row] = []
    for name, moved in bytes_moved(sent_once(trials, results), settings).items():
        values = [mean_accuracy(found, trial, trial.methods()[name], shifted=False) for trial in trials]
        rows.append(seeds_row(values, mean="y", x=moved / 1e6, label=name, family=name, shares=True))
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


def _seconds(trials: Sequence[LocalSeed], settings: LocalSettings, results: Results) -> Figure:
    sent, speed = sent_once(trials, results), _speed(trials, results)
    rows = [
        {"row": method, "column": f"{megabits:,} Mbit/s", "value": seconds, "n": MAIN}
        for megabits in LINKS
        for method, seconds in seconds_of_run(sent, settings, speed, megabits * 1e6 / 8).items()
    ]
    return heat_table(
        rows,
        name="seconds",
        title="How long a run takes on a network",
        caption=f"Seconds, reckoned: a worker trains at the {speed:.0f} pictures a second that one core had here, and "
        "the bytes go through one link. Nothing overlaps and no message waits. Slow links are where it matters: the "
        "model is small, and for a larger one the same holds of links as much faster as it is larger.",
        row_title="Method",
        column_title="Each worker's link",
        value_title="Seconds",
        unit="number",
        column_order=[f"{megabits:,} Mbit/s" for megabits in LINKS],
    )


def _speed(trials: Sequence[LocalSeed], results: Results) -> float:
    """The pictures a second that a worker saw here, the median of all workers: told, never a measurement."""
    files = [results.store.file(worker, "history.json") for trial in trials for worker in trial.alone[MAIN]]
    if not (told := [json.loads(file.read_text(encoding="utf-8")) for file in files if file.is_file()]):
        raise SurefootError("No worker trained yet, so how long a run takes is not known.")
    return median(one["samples_per_second"] for one in told)
