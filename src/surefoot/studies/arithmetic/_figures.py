"""The figures of the study of task vectors."""

from collections.abc import Callable, Mapping, Sequence
from statistics import fmean

from surefoot.contrastive import DirectionAngles, wrong_sheet
from surefoot.core import Figure, Results, Step
from surefoot.figures import coefficient_curve, heat_table, interval_plot
from surefoot.studies._drawn import SHORT, TOP1, accuracies_of, compared_rows, search_scores, seeds_row
from surefoot.studies.arithmetic._claims import added_normalised, by_size, control, merged_normalised, normalised, own
from surefoot.studies.arithmetic._steps import ALONE, ANALOGY, TASKS, Analogy, ArithmeticSeed


def figures(trials: Sequence[ArithmeticSeed]) -> tuple[Callable[[Results], Figure], ...]:
    """The figures over these seeds."""
    makers = (_negation, _negation_curve, _addition, _analogies, _angles, _wrong)
    return tuple(lambda results, make=make: make(trials, results) for make in makers)


def _wrong(trials: Sequence[ArithmeticSeed], results: Results) -> Figure:
    found, first = accuracies_of(results), trials[0]
    groups = max(first.added, key=len)
    model = first.added[groups]
    return wrong_sheet(
        results,
        {f"sum of {len(groups)}, {SHORT[group]}": found.observation(model, first.tests[group]) for group in groups},
    )


def _negation(trials: Sequence[ArithmeticSeed], results: Results) -> Figure:
    found = accuracies_of(results)
    methods: Mapping[str, Callable[[ArithmeticSeed], Mapping[str, Step]]] = {
        "start": lambda trial: trial.start,
        "fine-tuned": lambda trial: trial.tuned,
        "gradient ascent": lambda trial: trial.ascended,
        "random direction": lambda trial: trial.random,
        "negation": lambda trial: trial.negated,
    }
    measures = {
        "task to be forgotten": lambda trial, models: own(found, trial, models),
        "control: all other groups": lambda trial, models: control(found, trial, models),
    }
    rows = compared_rows(trials, methods, measures)
    return interval_plot(
        rows,
        name="negation",
        title="Forgetting by negation, beside two controls",
        caption=f"Test accuracy, mean over {len(TASKS)} tasks; intervals are Student's over {len(trials)} seeds. The "
        "coefficient is the one that forgets most on validation data while the control keeps 95 percent.",
        **TOP1,
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
    found = accuracies_of(results)
    everything = tuple(trials[0].tuned)
    bars: list[tuple[str, str, Callable[[ArithmeticSeed], float]]] = [
        ("start", "start", lambda trial: normalised(found, trial, trial.base, everything)),
        *(
            (f"{size} vectors added", "addition", lambda trial, size=size: added_normalised(found, trial, size))
            for size in by_size(trials[0])
        ),
        *(
            (f"all by {name}", "other merges", lambda trial, name=name: merged_normalised(found, trial, name))
            for name in trials[0].merged
        ),
        ("trained jointly", "joint training", lambda trial: normalised(found, trial, trial.joint, everything)),
    ]
    rows = [seeds_row([value(trial) for trial in trials], label=name, family=family) for name, family, value in bars]
    return interval_plot(
        rows,
        name="addition",
        title="Several tasks in one model, by adding vectors",
        caption="Test accuracy divided by that of each task's own fine-tuned model, mean over the tasks in the sum; "
        f"Student's intervals over {len(trials)} seeds. The start and joint training: mean over all six tasks.",
        x_title="Normalised accuracy",
        unit="share",
        reference=1.0,
        families=["start", "addition", "other merges", "joint training"],
    )


def _analogies(trials: Sequence[ArithmeticSeed], results: Results) -> Figure:
    found = accuracies_of(results)
    methods: Mapping[str, Callable[[ArithmeticSeed, Analogy], Step]] = {
        "start": lambda trial, _: trial.base,
        ALONE: lambda _, analogy: analogy.alone,
        ANALOGY: lambda _, analogy: analogy.edit,
        "tuned on the target itself": lambda _, analogy: analogy.supervised,
    }

    def mean(trial: ArithmeticSeed, model: Callable[[ArithmeticSeed, Analogy], Step], group: str) -> float:
        inside = [analogy for analogy in trial.analogies if analogy.group == group]
        return fmean(found.value(model(trial, analogy), analogy.test) for analogy in inside)

    measures = {
        f"{SHORT[group]} as silhouettes": lambda trial, model, group=group: mean(trial, model, group)
        for group in dict.fromkeys(analogy.group for analogy in trials[0].analogies)
    }
    rows = compared_rows(trials, {name: lambda _, model=model: model for name, model in methods.items()}, measures)
    return interval_plot(
        rows,
        name="analogies",
        title="A combination never seen: task in colour + (helper in silhouette - helper in colour)",
        caption="Test accuracy on silhouettes of a group that no model but the last was tuned on, mean over two "
        f"helper groups; Student's intervals over {len(trials)} seeds.",
        **TOP1,
        families=list(methods),
    )


def _angles(trials: Sequence[ArithmeticSeed], results: Results) -> Figure:
    wanted = {trial.angles.key for trial in trials}
    values: dict[tuple[str, str], list[float]] = {}
    for item in results.select(DirectionAngles, metric="cosine"):
        if item.step.key in wanted:
            pair = (item.measurement.task, item.measurement.group)
            for row, column in (pair, pair[::-1]):
                values.setdefault((row, column), []).append(item.value)
    names = [SHORT[group] for group in TASKS]
    cells = [seeds_row(cosines, row=row, column=column) for (row, column), cosines in values.items()]
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
