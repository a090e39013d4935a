"""The figures of the study of patching."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from surefoot.contrastive import png_of, png_uri, wrong_sheet
from surefoot.core import Figure, Results, Step
from surefoot.figures import coefficient_curve, contact_sheet, interval_plot
from surefoot.stats import wilson
from surefoot.studies._drawn import TaskAccuracies, search_scores, seeds_row
from surefoot.studies.patching._claims import lost, moved, patched, said, supported, words_said, words_written
from surefoot.studies.patching._steps import GUARD, JOINT, PARALLEL, SEQUENTIAL, Attack, PatchedTask, PatchingSeed, Rung

Row = dict[str, Any]
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


def figures(trials: Sequence[PatchingSeed]) -> tuple[Callable[[Results], Figure], ...]:
    """The figures over these seeds."""
    makers = (_curve, _singles, _several, _transfer, _sizes, _moved, _words, _sheet, _wrong)
    return tuple(lambda results, make=make: make(trials, results) for make in makers)


def _wrong(trials: Sequence[PatchingSeed], results: Results) -> Figure:
    found, patches = TaskAccuracies(results), trials[0].middle.patches
    return wrong_sheet(
        results, {f"{one.task.name}, patched": found.observation(one.edit, one.task.test) for one in patches}
    )


def _curve(trials: Sequence[PatchingSeed], results: Results) -> Figure:
    """Mean over tasks within a seed, so that the band is over seeds."""
    names = {"target": "patched task", "control": "supported tasks", _BOTH: _BOTH}
    curves = [_mean_curve([search_scores(results, patch.edit) for patch in trial.middle.patches]) for trial in trials]
    rows: list[Row] = [
        seeds_row([curve[point][kind] for curve in curves], mean="y", x=point, family=family)
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


def _mean_curve(found: Sequence[Mapping[float, Mapping[str, float]]]) -> dict[float, dict[str, float]]:
    """Target, control and the mean of both along the way, mean over tasks."""
    curve = {}
    for point in found[0]:
        means = {kind: sum(one[point][kind] for one in found) / len(found) for kind in ("target", "control")}
        curve[point] = means | {_BOTH: (means["target"] + means["control"]) / 2}
    return curve


def _singles(trials: Sequence[PatchingSeed], results: Results) -> Figure:
    found = TaskAccuracies(results)
    rows: list[Row] = []
    for index, example in enumerate(trials[0].middle.patches):
        pairs = [(trial, trial.middle.patches[index]) for trial in trials]
        for name, model in _MODELS.items():
            own = [found.measurement(model(trial, patch), patch.task.test).value for trial, patch in pairs]
            kept = [supported(found, trial, model(trial, patch)) for trial, patch in pairs]
            rows.append(seeds_row(own, label=name, group=f"{example.task.name}: patched task", family=name))
            rows.append(seeds_row(kept, label=name, group=f"{example.task.name}: supported tasks", family=name))
    return interval_plot(
        rows,
        name="singles",
        title="One task at a time",
        caption="Test accuracy on the patched task, and the mean over the supported tasks; Student's intervals over "
        f"{len(trials)} seeds. The coefficient was chosen on validation data; guarded: only among points at which the "
        f"supported tasks lose at most {100 * GUARD:g} point there.",
        x_title="Top-1 accuracy",
        unit="share",
        reference=None,
        families=list(_MODELS),
    )


def _several(trials: Sequence[PatchingSeed], results: Results) -> Figure:
    found = TaskAccuracies(results)
    models: Mapping[str, Callable[[PatchingSeed], Step]] = {"start": lambda trial: trial.middle.base} | {
        name: lambda trial, name=name: trial.several[name] for name in (PARALLEL, SEQUENTIAL, JOINT)
    }
    rows: list[Row] = []
    for group, accuracy in (
        ("mean over the patched tasks", lambda trial, model: patched(found, trial.middle, model)),
        ("mean over the supported tasks", lambda trial, model: supported(found, trial, model)),
    ):
        for name, model in models.items():
            values = [accuracy(trial, model(trial)) for trial in trials]
            rows.append(seeds_row(values, label=name, group=group, family=name))
    specialists = [
        sum(found.measurement(patch.tuned, patch.task.test).value for patch in trial.middle.patches)
        / len(trial.middle.patches)
        for trial in trials
    ]
    name = "each task's own tuned model"
    rows.append(seeds_row(specialists, label=name, group="mean over the patched tasks", family=name))
    return interval_plot(
        rows,
        name="several",
        title=f"{len(trials[0].middle.patches)} tasks in one model",
        caption=f"Test accuracy; Student's intervals over {len(trials)} seeds. Joint: one tuning on all tasks, one "
        "interpolation. Sequential: a patch, then a patch of the result. Parallel: tuned apart, one coefficient each.",
        x_title="Top-1 accuracy",
        unit="share",
        reference=None,
        families=[*models, name],
    )


def _transfer(trials: Sequence[PatchingSeed], results: Results) -> Figure:
    found = TaskAccuracies(results)
    rows: list[Row] = []
    for index, example in enumerate(trials[0].transfers):
        for name, model in _MODELS.items():
            pairs = [(trial, trial.transfers[index]) for trial in trials]
            values = [found.measurement(model(trial, patch), patch.task.test).value for trial, patch in pairs]
            rows.append(seeds_row(values, label=name, group=example.task.name, family=name))
    return interval_plot(
        rows,
        name="transfer",
        title="Classes that the patch never saw",
        caption="Models are tuned on half of a task's classes and their coefficient is chosen there; test accuracy is "
        f"on the other half. Student's intervals over {len(trials)} seeds, each with its own halves.",
        x_title="Top-1 accuracy",
        unit="share",
        reference=None,
        families=list(_MODELS),
    )


def _sizes(trials: Sequence[PatchingSeed], results: Results) -> Figure:
    found = TaskAccuracies(results)
    kinds: Mapping[str, Callable[[PatchedTask], Step]] = {
        "patched": lambda patch: patch.edit,
        "fine-tuned": lambda patch: patch.tuned,
    }
    rows = [
        seeds_row(
            [lost(found, trial, trial.rungs[size], model) for trial in trials], label=size, group=name, family=name
        )
        for name, model in kinds.items()
        for size in trials[0].rungs
    ]
    return interval_plot(
        rows,
        name="sizes",
        title="What is lost, by the size of the model",
        caption="Supported accuracy of the start less that afterwards, mean over tasks, on test data; Student's "
        f"intervals over {len(trials)} seeds. Sizes from narrow to wide.",
        x_title="Supported accuracy lost",
        families=list(kinds),
    )


def _moved(trials: Sequence[PatchingSeed], results: Results) -> Figure:
    def values(rung: Callable[[PatchingSeed], Rung]) -> list[float]:
        return [moved(results, rung(trial)) for trial in trials]

    rows = [seeds_row(values(lambda trial, size=size: trial.rungs[size]), label=size) for size in trials[0].rungs]
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
    names = list(trials[0].reading.models())
    rows: list[Row] = []
    for place, attack in (
        ("patched", lambda trial: trial.reading.own),
        ("unseen", lambda trial: trial.reading.unseen),
    ):
        for measure, value in _measures(results).items():
            for name in names:
                values = [value(attack(trial), trial.reading.models()[name]) for trial in trials]
                rows.append(seeds_row(values, label=name, group=f"{place}: {measure}", family=name))
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


def _measures(results: Results) -> Mapping[str, Callable[[Attack, Step], float]]:
    found = TaskAccuracies(results)
    return {
        "no words": lambda attack, model: found.measurement(model, attack.clean).value,
        "wrong words": lambda attack, model: found.measurement(model, attack.attacked).value,
        "word believed": lambda attack, model: words_said(found, attack, model),
    }


def _sheet(trials: Sequence[PatchingSeed], results: Results) -> Figure:
    return contact_sheet(
        list(_pictures(trials[0], results)),
        name="attacked",
        title="Pictures with wrong words, by what the model says of them",
        caption="Test drawings of the classes of the patch, of the first seed, with words of other classes; shares are "
        f"of all of them, and at most {SHOWN} are shown of each kind. Models see them at 32 pixels.",
    )


def _pictures(trial: PatchingSeed, results: Results) -> Iterator[Row]:
    import numpy as np

    attack, found = trial.reading.own, TaskAccuracies(results)
    pictures = np.load(results.store.path(attack.attacked) / "images.npy")
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
                section = f"{name}: {outcome}"
                yield {
                    "image": png_uri(png_of(pictures[row])),
                    "label": text,
                    "section": section,
                    "metric": "share",
                    **score,
                }
