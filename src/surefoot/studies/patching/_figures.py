"""The figures of the study of patching."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from statistics import fmean

import numpy as np

from surefoot.contrastive import png_of, png_uri, wrong_sheet
from surefoot.core import Figure, Results, Step
from surefoot.figures import coefficient_curve, contact_sheet, interval_plot
from surefoot.stats import wilson
from surefoot.studies._drawn import TOP1, Row, accuracies_of, compared_rows, seeds_row
from surefoot.studies.patching._claims import (
    POINT,
    cost_at_gain,
    gain_at_cost,
    largest_gain,
    lost,
    mean_curve,
    moved,
    patched,
    said,
    supported,
    words_said,
    words_written,
)
from surefoot.studies.patching._steps import GUARD, JOINT, PARALLEL, SEQUENTIAL, Attack, PatchedTask, PatchingSeed, Rung

SHOWN = 12
_BOTH = "mean of both"
_OUTCOMES: Mapping[str, Callable[[str, str, str], bool]] = {
    "what is shown": lambda label, answer, _: answer == label,
    "what is written": lambda label, answer, word: answer == word != label,
    "something else": lambda label, answer, word: answer not in (label, word),
}


_MODELS: Mapping[str, Callable[[PatchingSeed, PatchedTask], Step]] = {
    "start": lambda trial, _: trial.middle.base,
    "patched": lambda _, patch: patch.edit,
    "patched, guarded": lambda _, patch: patch.guarded,
    "fine-tuned": lambda _, patch: patch.tuned,
}


def _models(patch: Callable[[PatchingSeed], PatchedTask]) -> dict[str, Callable[[PatchingSeed], Step]]:
    return {name: lambda trial, model=model: model(trial, patch(trial)) for name, model in _MODELS.items()}


def figures(trials: Sequence[PatchingSeed]) -> tuple[Callable[[Results], Figure], ...]:
    """The figures over these seeds."""
    makers = (_curve, _singles, _several, _transfer, _sizes, _moved, _price, _starts, _words, _sheet, _wrong)
    return tuple(lambda results, make=make: make(trials, results) for make in makers)


def _wrong(trials: Sequence[PatchingSeed], results: Results) -> Figure:
    found, patches = accuracies_of(results), trials[0].middle.patches
    return wrong_sheet(
        results, {f"{one.task.name}, patched": found.observation(one.edit, one.task.test) for one in patches}
    )


def _curve(trials: Sequence[PatchingSeed], results: Results) -> Figure:
    """Mean over tasks within a seed, so that the band is over seeds."""
    names = {"target": "patched task", "control": "supported tasks", _BOTH: _BOTH}
    curves = [
        {point: means | {_BOTH: fmean(means.values())} for point, means in mean_curve(results, trial.middle).items()}
        for trial in trials
    ]
    rows: list[Row] = [
        seeds_row([curve[point][kind] for curve in curves], mean="y", x=point, family=family, shares=True)
        for kind, family in names.items()
        for point in curves[0]
    ]
    ends = [row for row in rows if row["family"] == _BOTH and row["x"] in (0.0, 1.0)]
    rows += [{"x": row["x"], "y": row["y"], "family": "chord", "n": len(trials)} for row in ends]
    return coefficient_curve(
        rows,
        name="curve",
        title="From the start to the tuned model",
        caption="Validation accuracy against the coefficient, mean over "
        f"{len(trials[0].middle.patches)} tasks, with Student's 95 percent band over {len(trials)} seeds. Where the "
        "mean of both is above the chord, interpolating gives more than it costs.",
        x_title="Coefficient: 0 is the start, 1 the fine-tuned model",
        y_title="Top-1 accuracy",
        families=[*names.values(), "chord"],
    )


def _singles(trials: Sequence[PatchingSeed], results: Results) -> Figure:
    found = accuracies_of(results)
    rows: list[Row] = []
    for index, example in enumerate(trials[0].middle.patches):

        def own(trial: PatchingSeed, model: Step, index: int = index) -> float:
            return found.value(model, trial.middle.patches[index].task.test)

        measures = {"patched task": own, "supported tasks": partial(supported, found)}
        of_task = {f"{example.task.name}: {kind}": value for kind, value in measures.items()}
        rows += compared_rows(trials, _models(lambda trial, index=index: trial.middle.patches[index]), of_task)
    return interval_plot(
        rows,
        name="singles",
        title="One task at a time",
        caption="Test accuracy on the patched task, and the mean over the supported tasks; Student's intervals over "
        f"{len(trials)} seeds. The coefficient was chosen on validation data; guarded: only among points at which the "
        f"supported tasks lose at most {100 * GUARD:g} point there.",
        **TOP1,
        families=list(_MODELS),
    )


def _several(trials: Sequence[PatchingSeed], results: Results) -> Figure:
    found = accuracies_of(results)
    models: Mapping[str, Callable[[PatchingSeed], Step]] = {"start": lambda trial: trial.middle.base} | {
        name: lambda trial, name=name: trial.several[name] for name in (PARALLEL, SEQUENTIAL, JOINT)
    }
    measures: Mapping[str, Callable[[PatchingSeed, Step], float]] = {
        "mean over the patched tasks": lambda trial, model: patched(found, trial.middle, model),
        "mean over the supported tasks": partial(supported, found),
    }
    rows = compared_rows(trials, models, measures)
    patches = [trial.middle.patches for trial in trials]
    specialists = [fmean(found.value(patch.tuned, patch.task.test) for patch in each) for each in patches]
    name = "each task's own tuned model"
    rows.append(seeds_row(specialists, label=name, group="mean over the patched tasks", family=name, shares=True))
    return interval_plot(
        rows,
        name="several",
        title=f"{len(trials[0].middle.patches)} tasks in one model",
        caption=f"Test accuracy; Student's intervals over {len(trials)} seeds. Joint: one tuning on all tasks, one "
        "interpolation. Sequential: a patch, then a patch of the result. Parallel: tuned apart, one coefficient each.",
        **TOP1,
        families=[*models, name],
    )


def _transfer(trials: Sequence[PatchingSeed], results: Results) -> Figure:
    found = accuracies_of(results)
    rows: list[Row] = []
    for index, example in enumerate(trials[0].transfers):

        def unseen(trial: PatchingSeed, model: Step, index: int = index) -> float:
            return found.value(model, trial.transfers[index].task.test)

        models = _models(lambda trial, index=index: trial.transfers[index])
        rows += compared_rows(trials, models, {example.task.name: unseen})
    return interval_plot(
        rows,
        name="transfer",
        title="Classes that the patch never saw",
        caption="Models are tuned on half of a task's classes and their coefficient is chosen there; test accuracy is "
        f"on the other half. Student's intervals over {len(trials)} seeds, each with its own halves.",
        **TOP1,
        families=list(_MODELS),
    )


def _sizes(trials: Sequence[PatchingSeed], results: Results) -> Figure:
    found = accuracies_of(results)
    kinds: Mapping[str, Callable[[PatchedTask], Step]] = {
        "patched": lambda patch: patch.edit,
        "fine-tuned": lambda patch: patch.tuned,
    }
    measures = {name: lambda trial, rung, model=model: lost(found, trial, rung, model) for name, model in kinds.items()}
    rows = compared_rows(trials, _rungs(trials), measures, shares=False)
    rows = [row | {"family": row["group"]} for row in rows]
    return interval_plot(
        rows,
        name="sizes",
        title="What is lost, by the size of the model",
        caption="Supported accuracy of the start less that afterwards, mean over tasks, on test data; Student's "
        f"intervals over {len(trials)} seeds. Sizes from narrow to wide.",
        x_title="Supported accuracy lost",
        families=list(kinds),
    )


def _rungs(trials: Sequence[PatchingSeed]) -> dict[str, Callable[[PatchingSeed], Rung]]:
    return {size: lambda trial, size=size: trial.rungs[size] for size in trials[0].rungs}


def _price(trials: Sequence[PatchingSeed], results: Results) -> Figure:
    """What is paid along the line from each start, up to the gain that every seed of it reaches."""
    rows: list[Row] = []
    for name, rungs in _all_starts(trials).items():
        curves = [mean_curve(results, rung) for rung in rungs]
        most = min(largest_gain(curve) for curve in curves)
        for points in range(1, int(100 * most) + 1):
            costs = [cost_at_gain(curve, points / 100) for curve in curves]
            rows.append(seeds_row(costs, mean="y", x=points, family=name))
    return coefficient_curve(
        rows,
        name="price",
        title="What a gain costs, by the start",
        caption="Supported validation accuracy that is lost where the patched tasks have first gained so much, on the "
        "line from start to tuned model, mean over tasks, with Student's 95 percent band over "
        f"{len(trials)} seeds. A line ends where one seed gains no more. The paper has {100 * POINT:g} point at most.",
        x_title="Points of accuracy gained on the patched task",
        y_title="Supported accuracy lost",
        families=list(_all_starts(trials)),
    )


def _starts(trials: Sequence[PatchingSeed], results: Results) -> Figure:
    found, rows = accuracies_of(results), list[Row]()
    for name, rungs in _all_starts(trials).items():
        before = fmean(supported(found, trial, rung.base) for trial, rung in zip(trials, rungs, strict=True))
        far = fmean(moved(results, rung) for rung in rungs)
        gains = [gain_at_cost(mean_curve(results, rung)) for rung in rungs]
        rows.append(seeds_row(gains, label=f"{name}: starts at {before:.0%}, moves {far:.2g}"))
    return interval_plot(
        rows,
        name="starts",
        title=f"Up to which gain a patch costs less than {100 * POINT:g} point",
        caption="Validation accuracy that the patched tasks have gained where the supported ones first lose a point, "
        "on the line from start to tuned model, mean over tasks; where they never do, the most gained on it. Each "
        "start is named with its accuracy on the supported tasks and with how far tuning moved its weights, relative "
        f"to their length. Student's intervals over {len(trials)} seeds.",
        x_title="Accuracy gained on the patched task",
    )


def _all_starts(trials: Sequence[PatchingSeed]) -> dict[str, list[Rung]]:
    """Every start by its name, a rung a seed: of other training first, then by size."""
    return {name: [(one.starts | one.rungs)[name] for one in trials] for name in (*trials[0].starts, *trials[0].rungs)}


def _moved(trials: Sequence[PatchingSeed], results: Results) -> Figure:
    rows = [
        seeds_row([moved(results, rung(trial)) for trial in trials], label=size)
        for size, rung in _rungs(trials).items()
    ]
    return interval_plot(
        rows,
        name="moved",
        title="How far fine-tuning moves the weights, by size",
        caption="Length of the change of the vision tower over the length of its weights, mean over tasks; Student's "
        f"intervals over {len(trials)} seeds.",
        x_title="Relative length of the change",
        unit="share",
        reference=None,
    )


def _words(trials: Sequence[PatchingSeed], results: Results) -> Figure:
    found, names = accuracies_of(results), list(trials[0].reading.models())
    measures: Mapping[str, Callable[[Attack, Step], float]] = {
        "no words": lambda attack, model: found.value(model, attack.clean),
        "wrong words": lambda attack, model: found.value(model, attack.attacked),
        "word believed": lambda attack, model: words_said(found, attack, model),
    }
    attacks: Mapping[str, Callable[[PatchingSeed], Attack]] = {
        "patched": lambda trial: trial.reading.own,
        "unseen": lambda trial: trial.reading.unseen,
    }
    rows = compared_rows(
        trials,
        {name: lambda trial, name=name: trial.reading.models()[name] for name in names},
        {
            f"{place}: {measure}": lambda trial, model, attack=attack, value=value: value(attack(trial), model)
            for place, attack in attacks.items()
            for measure, value in measures.items()
        },
    )
    return interval_plot(
        rows,
        name="words",
        title="Words that mislead, before and after a patch",
        caption="A model that learned to read, on test drawings in styles that it never saw: accuracy where nothing is "
        "written and where a wrong word is, and the share of pictures for which that word is believed. Patched: "
        "classes and words of the patch. Unseen: other classes, other words. 'Patched without words' saw the same "
        f"pictures as 'patched', but nothing was written on them. Student's intervals over {len(trials)} seeds.",
        x_title="Share of pictures",
        unit="share",
        reference=None,
        families=names,
    )


def _sheet(trials: Sequence[PatchingSeed], results: Results) -> Figure:
    return contact_sheet(
        list(_pictures(trials[0], results)),
        name="attacked",
        title="Pictures with wrong words, by what the model says of them",
        caption="Test drawings of the classes of the patch, of the first seed, with words of other classes; shares are "
        f"of all of them, and at most {SHOWN} are shown of each kind. Models see them at 32 pixels.",
    )


def _pictures(trial: PatchingSeed, results: Results) -> Iterator[Row]:
    attack, found = trial.reading.own, accuracies_of(results)
    pictures = np.load(results.store.file(attack.attacked, "images.npy"))
    written = words_written(results, attack)
    for name, model in (("before", trial.reading.base), ("patched", trial.reading.repaired.edit)):
        answers = [(*pair, word) for pair, word in zip(said(found, model, attack.attacked), written, strict=True)]
        for outcome, fits in _OUTCOMES.items():
            rows = [row for row, answer in enumerate(answers) if fits(*answer)]
            share = wilson(len(rows), len(answers))
            score = {"value": share.estimate, "low": share.low, "high": share.high, "n": len(answers)}
            for row in rows[:: max(1, len(rows) // SHOWN)][:SHOWN]:
                label, answer, word = answers[row]
                text = f"shows: {label}; written: {word}; said: {answer}"
                shown = {"image": png_uri(png_of(pictures[row])), "label": text, "section": f"{name}: {outcome}"}
                yield {**shown, "metric": "share", **score}
