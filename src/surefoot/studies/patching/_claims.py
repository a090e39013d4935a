"""What the paper on patching says, as checks over the measurements. Every mean is first taken within a seed."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import pairwise
from statistics import fmean

import numpy as np

from surefoot.contrastive import DirectionAngles
from surefoot.core import Claim, Results, Step, SurefootError
from surefoot.studies._drawn import PHOTOGRAPHS, SeedClaims, TaskAccuracies, search_scores
from surefoot.studies._hypotheses import Hypothesis, claims_of
from surefoot.studies.patching._steps import JOINT, PARALLEL, SEQUENTIAL, Attack, PatchedTask, PatchingSeed, Rung

PAPER = "2208.05592"
MARGIN = 0.02
"""What may be lost: the paper has one point; two is what a few seeds of a thousand test drawings can decide."""

POINT = 0.01
"""What the paper says is lost at most."""

GAIN = 0.05
"""The gain at which starts are compared: what a patch costs grows with what it gains."""

POINTS = f"{100 * MARGIN:g} points"

Numbers = tuple[float, ...]


def claims(trials: Sequence[PatchingSeed]) -> tuple[Claim, ...]:
    """The claims over these seeds."""
    return claims_of(
        (*_of_patches(trials), *_of_several(trials), *_of_sizes(trials), *_of_starts(trials), *_of_words(trials))
    )


def _of_patches(trials: Sequence[PatchingSeed]) -> tuple[Hypothesis, ...]:
    claim, tasks = SeedClaims(trials), len(trials[0].middle.patches)
    gained = f"Test accuracy after less before, mean over {tasks} tasks; the start has {{0:.1%}}."
    kept = (
        f"Mean accuracy on {len(trials[0].supported)} supported tasks, after less before: above -{MARGIN:.0%}? "
        "The start has {0:.1%}."
    )
    return (
        claim(
            "patch-gains",
            "Patching raises accuracy on the task that is patched.",
            lambda found, trial: _gains(found, trial, edited),
            gained,
            f"{PAPER}, section 4",
        ),
        claim(
            "patch-keeps",
            f"Accuracy on supported tasks falls by less than {POINTS}.",
            lambda found, trial: _keeps(found, trial, edited),
            kept,
            f"{PAPER}, section 4",
            bound=-MARGIN,
        ),
        claim(
            "keeps-more",
            "Patching loses less of the supported tasks than fine-tuning.",
            _spares,
            "Supported accuracy of the patched less that of the fine-tuned models.",
            f"{PAPER}, section 4",
        ),
        claim(
            "guarded-gains",
            "A guarded patch raises accuracy on its task, too.",
            lambda found, trial: _gains(found, trial, guarded),
            gained,
            f"{PAPER}, with a guard of ours",
        ),
        claim(
            "guarded-keeps",
            f"After a guarded patch accuracy on supported tasks falls by less than {POINTS}.",
            lambda found, trial: _keeps(found, trial, guarded),
            kept,
            f"{PAPER}, section 4, with a guard of ours",
            bound=-MARGIN,
        ),
        claim(
            "above-chord",
            "Along the way, the mean accuracy is above the chord.",
            _height,
            "Mean of patched and supported accuracy less what the chord has, over the coefficients between 0 and 1. "
            "Validation data; nothing is chosen by it.",
            f"{PAPER}, figure 1",
        ),
    )


def _of_several(trials: Sequence[PatchingSeed]) -> tuple[Hypothesis, ...]:
    claim = SeedClaims(trials)
    pairs = (("joint-above", JOINT, SEQUENTIAL), ("sequential-above", SEQUENTIAL, PARALLEL))
    return (
        *(
            claim(
                name,
                f"{first.capitalize()} patching is above {other} patching.",
                lambda found, trial, first=first, other=other: (
                    both(found, trial, trial.several[first]) - both(found, trial, trial.several[other]),
                ),
                f"Mean of patched and supported accuracy, {first} less {other}.",
                f"{PAPER}, section 5",
            )
            for name, first, other in pairs
        ),
        claim(
            "broad-transfer",
            "A patch on half of the classes raises accuracy on the other half, which it never saw.",
            lambda found, trial: (gained(found, trial.middle.base, trial.transfers),),
            "Accuracy on the classes of the other half, after the patch less before.",
            f"{PAPER}, section 6",
        ),
    )


def _of_sizes(trials: Sequence[PatchingSeed]) -> tuple[Hypothesis, ...]:
    claim, sizes = SeedClaims(trials), list(trials[0].rungs)
    return (
        claim(
            "larger-lose-less",
            "Patching the largest model loses less than the smallest.",
            lambda found, trial: _less(trial, lambda rung: lost(found, trial, rung, edited)),
            f"Supported accuracy lost by {sizes[0]} less that lost by {sizes[-1]}.",
            f"{PAPER}, section 4",
        ),
        claim(
            "larger-move-less",
            "Fine-tuning moves the weights of the largest model less, relative to their length, than of the smallest.",
            lambda found, trial: _less(trial, lambda rung: moved(found.results, rung)),
            "Relative length of the change, smallest model less largest.",
            f"{PAPER}, section 4",
            unit="number",
        ),
    )


def _of_starts(trials: Sequence[PatchingSeed]) -> Iterator[Hypothesis]:
    """Why a patch costs more here than in the paper: a start that knows less, or one that was trained on less?"""
    claim, shorter = SeedClaims(trials), [name for name in trials[0].starts if name != PHOTOGRAPHS]
    spared = (
        f"Supported validation accuracy lost where the patched tasks have gained {100 * GAIN:g} points, {{}}, on "
        "the line between start and tuned model, mean over tasks."
    )
    yield claim(
        "patch-keeps-a-point",
        "Accuracy on supported tasks falls by less than one point.",
        lambda found, trial: _keeps(found, trial, edited),
        "Mean accuracy on the supported tasks, after less before.",
        f"{PAPER}, abstract",
        bound=-POINT,
    )
    if shorter:
        yield claim(
            "longer-costs-less",
            "At an equal gain a patch of a start that was trained longer costs less.",
            lambda found, trial: _cheaper(found, trial.middle, trial.starts[shorter[0]]),
            spared.format("after the shortest pre-training less after the longest ({0:.1%} less {1:.1%})"),
            f"{PAPER}, section 4: stronger starts",
        )
    if PHOTOGRAPHS in trials[0].starts:
        yield claim(
            "photographs-cost-less",
            "At an equal gain a patch costs a start of photographs less than one that has seen drawings alone.",
            lambda found, trial: _cheaper(found, trial.starts[PHOTOGRAPHS], trial.middle),
            spared.format("drawings alone less photographs ({0:.1%} less {1:.1%})"),
            f"{PAPER}: pre-trained starts",
        )
        yield claim(
            "photographs-keep-a-point",
            "From a start of photographs accuracy on supported tasks falls by less than one point.",
            lambda found, trial: (-lost(found, trial, trial.starts[PHOTOGRAPHS], edited),),
            "Mean accuracy on the supported tasks, after less before.",
            f"{PAPER}, abstract",
            bound=-POINT,
        )


def _of_words(trials: Sequence[PatchingSeed]) -> tuple[Hypothesis, ...]:
    claim = SeedClaims(trials)
    return (
        claim(
            "words-mislead",
            "Wrong words over the pictures mislead a model that reads.",
            _misled,
            "Accuracy without words ({0:.1%}) less that with wrong words; the model says the wrong word for {1:.1%} of "
            "pictures.",
            f"{PAPER}, section 6",
        ),
        claim(
            "words-repaired",
            "A patch on pictures with wrong words raises accuracy on other drawings with wrong words.",
            lambda found, trial: _repaired(found, trial, trial.reading.base, trial.reading.own),
            "Accuracy under wrong words on the classes of the patch, after less before.",
            f"{PAPER}, section 6",
        ),
        claim(
            "words-not-classes",
            "It raises it more than a patch on the same pictures without words.",
            lambda found, trial: _repaired(found, trial, trial.reading.control.edit, trial.reading.own),
            "Accuracy under wrong words, patched with words less patched without.",
            f"{PAPER}, section 6, with a control of ours",
        ),
        claim(
            "words-unread",
            "Words that no patch has seen are said less often, too.",
            _unread,
            "Share of pictures of unseen classes for which the word is said, before ({0:.1%}) less after.",
            f"{PAPER}, section 6",
        ),
        claim(
            "words-transfer",
            "The patch raises accuracy under wrong words on classes that it never saw.",
            lambda found, trial: _repaired(found, trial, trial.reading.base, trial.reading.unseen),
            "Accuracy under wrong words on the other half of the classes, with words of that half, after less before.",
            f"{PAPER}, section 6",
        ),
        claim(
            "words-keep",
            f"Pictures without words lose less than {POINTS}.",
            _clean_kept,
            f"Accuracy without words, both halves of the classes, after less before: above -{MARGIN:.0%}?",
            f"{PAPER}, section 6",
            bound=-MARGIN,
        ),
    )


def supported(found: TaskAccuracies, trial: PatchingSeed, model: Step) -> float:
    return found.mean(model, trial.supported.values())


def patched(found: TaskAccuracies, rung: Rung, model: Step) -> float:
    """Mean accuracy of one model over the tasks of all patches."""
    return found.mean(model, (patch.task.test for patch in rung.patches))


def both(found: TaskAccuracies, trial: PatchingSeed, model: Step) -> float:
    """What patching maximises, on test data: the mean of patched and supported accuracy."""
    return (patched(found, trial.middle, model) + supported(found, trial, model)) / 2


def lost(found: TaskAccuracies, trial: PatchingSeed, rung: Rung, model: Callable[[PatchedTask], Step]) -> float:
    """Supported accuracy of the start less that after a patch, mean over patches."""
    after = fmean(supported(found, trial, model(patch)) for patch in rung.patches)
    return supported(found, trial, rung.base) - after


def edited(patch: PatchedTask) -> Step:
    return patch.edit


def guarded(patch: PatchedTask) -> Step:
    return patch.guarded


def gained(
    found: TaskAccuracies, base: Step, patches: Sequence[PatchedTask], model: Callable[[PatchedTask], Step] = edited
) -> float:
    """Accuracy on the tasks' own tests, after the patch less before, mean over patches."""
    return fmean(found.value(model(patch), patch.task.test) - found.value(base, patch.task.test) for patch in patches)


def above_chord(scores: Mapping[float, Mapping[str, float]]) -> float:
    """How far the mean of target and control is above the straight line between its ends, mean over the points between.

    Target rises and control falls, so a point whose mean is above is on the upper right of the chord between the ends.
    """
    means = {point: (one["target"] + one["control"]) / 2 for point, one in scores.items()}
    start, end = means[min(means)], means[max(means)]
    return fmean(value - (1 - point) * start - point * end for point, value in means.items() if 0 < point < 1)


def mean_curve(results: Results, rung: Rung) -> dict[float, dict[str, float]]:
    """Validation accuracy on the patched and the supported tasks by the coefficient, mean over the patches."""
    found = [search_scores(results, patch.edit) for patch in rung.patches]
    return {
        point: {kind: fmean(one[point][kind] for one in found) for kind in ("target", "control")} for point in found[0]
    }


def cost_at_gain(curve: Mapping[float, Mapping[str, float]], gain: float = GAIN) -> float:
    """What supported tasks lose where the patched ones first have gained so much, between points along the line.

    Raises `SurefootError` where they never do.
    """
    if (lost := _first(*_moves(curve), gain)) is None:
        raise SurefootError(
            f"No patch on the line gains {100 * gain:g} points, {100 * largest_gain(curve):.1f} at most."
        )
    return lost


def gain_at_cost(curve: Mapping[float, Mapping[str, float]], cost: float = POINT) -> float:
    """What patched tasks have gained where the supported ones first lose so much; the most they gain if never."""
    gained, lost = _moves(curve)
    reached = _first(lost, gained, cost)
    return largest_gain(curve) if reached is None else reached


def largest_gain(curve: Mapping[float, Mapping[str, float]]) -> float:
    """The most that patched tasks gain at a point of the line."""
    return max(_moves(curve)[0])


def _moves(curve: Mapping[float, Mapping[str, float]]) -> tuple[list[float], list[float]]:
    """What patched tasks have gained, and supported ones lost, at each point from the start on."""
    start, points = curve[min(curve)], sorted(curve)
    gained = [curve[point]["target"] - start["target"] for point in points]
    return gained, [start["control"] - curve[point]["control"] for point in points]


def _first(along: Sequence[float], beside: Sequence[float], level: float) -> float | None:
    """`beside` where `along` first reaches a level above its beginning, on straight lines between points."""
    for (low, left), (high, right) in pairwise(zip(along, beside, strict=True)):
        if low < level <= high:
            return left + (level - low) / (high - low) * (right - left)
    return None


def said(found: TaskAccuracies, model: Step, data: Step) -> list[tuple[str, str]]:
    """Label and prediction of every test picture, in the order of the data."""
    return found.once(f"said {model.key} {data.key}", lambda: found.examples(model, data, "label, prediction"))


def words_said(found: TaskAccuracies, attack: Attack, model: Step) -> float:
    """The share of attacked pictures for which a model says the wrong word that is written on them."""
    answers = said(found, model, attack.attacked)
    written = found.once(f"written {attack.attacked.key}", lambda: words_written(found.results, attack))
    return fmean(word == answer for word, (_, answer) in zip(written, answers, strict=True))


def words_written(results: Results, attack: Attack) -> list[str]:
    """The key of the class that is written over each attacked picture, as predictions name classes."""
    keys, numbers = (results.store.file(attack.attacked, name) for name in ("class_keys.json", "attacks.npy"))
    classes: list[str] = json.loads(keys.read_text(encoding="utf-8"))
    return [classes[number] for number in np.load(numbers)]


def moved(results: Results, rung: Rung) -> float:
    """Length of the change by fine-tuning over that of the weights, mean over tasks."""
    measured = results.select(DirectionAngles, metric="relative_norm")
    if not (lengths := [item.value for item in measured if item.step.key == rung.moved.key]):
        raise SurefootError(f"How far the weights of {rung.size} moved was not measured yet.")
    return fmean(lengths)


def _gains(found: TaskAccuracies, trial: PatchingSeed, model: Callable[[PatchedTask], Step]) -> Numbers:
    rung = trial.middle
    return gained(found, rung.base, rung.patches, model), patched(found, rung, rung.base)


def _keeps(found: TaskAccuracies, trial: PatchingSeed, model: Callable[[PatchedTask], Step]) -> Numbers:
    return -lost(found, trial, trial.middle, model), supported(found, trial, trial.middle.base)


def _spares(found: TaskAccuracies, trial: PatchingSeed) -> Numbers:
    tuned, patched = (lost(found, trial, trial.middle, model) for model in (lambda patch: patch.tuned, edited))
    return (tuned - patched,)


def _height(found: TaskAccuracies, trial: PatchingSeed) -> Numbers:
    curves = (
        found.once(f"search {edit.key}", lambda edit=edit: search_scores(found.results, edit))
        for edit in map(edited, trial.middle.patches)
    )
    return (fmean(map(above_chord, curves)),)


def _less(trial: PatchingSeed, value: Callable[[Rung], float]) -> Numbers:
    rungs = list(trial.rungs.values())
    if len(rungs) < 2:
        raise SurefootError("One size of model cannot be compared: run the study with several.")
    return (value(rungs[0]) - value(rungs[-1]),)


def _cheaper(found: TaskAccuracies, cheap: Rung, dear: Rung) -> Numbers:
    costs = [
        found.once(f"cost {rung.moved.key}", lambda rung=rung: cost_at_gain(mean_curve(found.results, rung)))
        for rung in (dear, cheap)
    ]
    return costs[0] - costs[1], *costs


def _misled(found: TaskAccuracies, trial: PatchingSeed) -> Numbers:
    base, attacks = trial.reading.base, (trial.reading.own, trial.reading.unseen)
    clean, attacked = (
        found.mean(base, (part(attack) for attack in attacks))
        for part in (lambda attack: attack.clean, lambda attack: attack.attacked)
    )
    return clean - attacked, clean, fmean(words_said(found, attack, base) for attack in attacks)


def _repaired(found: TaskAccuracies, trial: PatchingSeed, other: Step, attack: Attack) -> Numbers:
    return (found.value(trial.reading.repaired.edit, attack.attacked) - found.value(other, attack.attacked),)


def _unread(found: TaskAccuracies, trial: PatchingSeed) -> Numbers:
    reading = trial.reading
    before, after = (words_said(found, reading.unseen, model) for model in (reading.base, reading.repaired.edit))
    return before - after, before


def _clean_kept(found: TaskAccuracies, trial: PatchingSeed) -> Numbers:
    reading = trial.reading
    clean = (reading.own.clean, reading.unseen.clean)
    return (found.mean(reading.repaired.edit, clean) - found.mean(reading.base, clean),)
