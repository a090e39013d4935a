"""The figures of the study of task vectors."""

from collections.abc import Callable, Mapping, Sequence
from statistics import fmean
from typing import Any

from surefoot.contrastive import DirectionAngles, wrong_sheet
from surefoot.core import Figure, Results, Step
from surefoot.figures import coefficient_curve, heat_table, interval_plot
from surefoot.studies._drawn import SHORT, TaskAccuracies, over_seeds, search_scores, seeds_row
from surefoot.studies.arithmetic._claims import added_normalised, by_size, normalised, target_and_control
from surefoot.studies.arithmetic._steps import ALONE, ANALOGY, TASKS, ArithmeticSeed

Row = dict[str, Any]


def figures(trials: Sequence[ArithmeticSeed]) -> tuple[Callable[[Results], Figure], ...]:
    """The figures over these seeds."""
    makers = (_negation, _negation_curve, _addition, _analogies, _angles, _wrong)
    return tuple(lambda results, make=make: make(trials, results) for make in makers)


def _wrong(trials: Sequence[ArithmeticSeed], results: Results) -> Figure:
    """What the sum of the most vectors still names wrongly."""
    found, first = TaskAccuracies(results), trials[0]
    groups = max(first.added, key=len)
    model = first.added[groups]
    return wrong_sheet(
        results,
        {f"sum of {len(groups)}, {SHORT[group]}": found.observation(model, first.tests[group]) for group in groups},
    )


def _negation(trials: Sequence[ArithmeticSeed], results: Results) -> Figure:
    found = TaskAccuracies(results)
    methods: Mapping[str, Callable[[ArithmeticSeed, str], Step]] = {
        "start": lambda trial, _: trial.base,
        "fine-tuned": lambda trial, group: trial.tuned[group],
        "gradient ascent": lambda trial, group: trial.ascended[group],
        "random direction": lambda trial, group: trial.random[group],
        "negation": lambda trial, group: trial.negated[group],
    }
    rows: list[Row] = []
    for place, kind in enumerate(("task to be forgotten", "control: all other groups")):
        for name, model in methods.items():
            values = [
                fmean(target_and_control(found, trial, group, model(trial, group))[place] for group in trial.tuned)
                for trial in trials
            ]
            rows.append(seeds_row(values, label=name, group=kind, family=name))
    return interval_plot(
        rows,
        name="negation",
        title="Forgetting by negation, beside two controls",
        caption=f"Test accuracy, mean over {len(TASKS)} tasks; intervals are Student's over {len(trials)} seeds. The "
        "coefficient is the one that forgets most on validation data while the control keeps 95 percent.",
        x_title="Top-1 accuracy",
        unit="share",
        reference=None,
        families=list(methods),
    )


def _negation_curve(trials: Sequence[ArithmeticSeed], results: Results) -> Figure:
    """Relative to the start, so that tasks and seeds can be averaged."""
    values: dict[tuple[str, float], list[float]] = {}
    for trial in trials:
        for edit in trial.negated.values():
            by_point = search_scores(results, edit)
            start = by_point[0.0]
            for coefficient, scores in by_point.items():
                for kind in ("target", "control"):
                    values.setdefault((kind, coefficient), []).append(scores[kind] / start[kind])
    names = {"target": "task to be forgotten", "control": "control"}
    rows = []
    for (kind, coefficient), shares in sorted(values.items()):
        rows.append(seeds_row(shares, mean="y", x=coefficient, family=names[kind]))
    return coefficient_curve(
        rows,
        name="negation-curve",
        title="What is forgotten along the way, and what is kept",
        caption="Validation accuracy relative to the start against the coefficient of the negated vector, mean over "
        "tasks and seeds with its 95 percent interval. Where the two lines part, forgetting is selective.",
        x_title="Coefficient of the negated task vector",
        y_title="Accuracy relative to the start",
        unit="share",
        families=list(names.values()),
    )


def _addition(trials: Sequence[ArithmeticSeed], results: Results) -> Figure:
    found = TaskAccuracies(results)
    everything = tuple(trials[0].tuned)
    rows = [
        seeds_row([normalised(found, trial, trial.base, everything) for trial in trials], label="start", family="start")
    ]
    for size in by_size(trials[0]):
        values = [added_normalised(found, trial, size) for trial in trials]
        rows.append(seeds_row(values, label=f"{size} vectors added", family="addition"))
    joint = [normalised(found, trial, trial.joint, everything) for trial in trials]
    rows.append(seeds_row(joint, label="trained jointly", family="joint training"))
    return interval_plot(
        rows,
        name="addition",
        title="Several tasks in one model, by adding vectors",
        caption="Test accuracy divided by that of each task's own fine-tuned model, mean over the tasks in the sum; "
        f"Student's intervals over {len(trials)} seeds. The start and joint training: mean over all six tasks.",
        x_title="Normalised accuracy",
        unit="share",
        reference=1.0,
        families=["start", "addition", "joint training"],
    )


def _analogies(trials: Sequence[ArithmeticSeed], results: Results) -> Figure:
    found = TaskAccuracies(results)
    methods: Mapping[str, Callable[[ArithmeticSeed, int], Step]] = {
        "start": lambda trial, _: trial.base,
        ALONE: lambda trial, index: trial.analogies[index].alone,
        ANALOGY: lambda trial, index: trial.analogies[index].edit,
        "tuned on the target itself": lambda trial, index: trial.analogies[index].supervised,
    }
    groups = list(dict.fromkeys(one.group for one in trials[0].analogies))
    rows = []
    for group in groups:
        for name, model in methods.items():
            values = [
                fmean(
                    found.measurement(model(trial, index), one.test).value
                    for index, one in enumerate(trial.analogies)
                    if one.group == group
                )
                for trial in trials
            ]
            rows.append(seeds_row(values, label=name, group=f"{SHORT[group]} as silhouettes", family=name))
    return interval_plot(
        rows,
        name="analogies",
        title="A combination never seen: task in colour + (helper in silhouette - helper in colour)",
        caption="Test accuracy on silhouettes of a group that no model but the last was tuned on, mean over two "
        f"helper groups; Student's intervals over {len(trials)} seeds.",
        x_title="Top-1 accuracy",
        unit="share",
        reference=None,
        families=list(methods),
    )


def _angles(trials: Sequence[ArithmeticSeed], results: Results) -> Figure:
    wanted = {trial.angles.key for trial in trials}
    values: dict[tuple[str, str], list[float]] = {}
    for item in results.select(DirectionAngles, metric="cosine"):
        if item.step.key in wanted:
            one = item.measurement
            for pair in ((one.task, one.group), (one.group, one.task)):
                values.setdefault(pair, []).append(one.value)
    names = [SHORT[group] for group in TASKS]
    cells: list[Row] = []
    for (row, column), cosines in values.items():
        found = over_seeds(cosines) if len(cosines) > 1 else None
        bounds = {"low": found.low, "high": found.high} if found else {}
        cells.append({"row": row, "column": column, "value": fmean(cosines), "n": len(cosines), **bounds})
    return heat_table(
        cells,
        name="angles",
        title="Task vectors are nearly orthogonal",
        caption="Cosine of the angle between two task vectors of one seed, mean over seeds.",
        row_title="Task",
        column_title="Task",
        value_title="Cosine",
        unit="number",
        row_order=names,
        column_order=names,
    )
