"""What the paper on patching says, as checks over the measurements. Every mean is first taken within a seed."""

import json
from collections.abc import Callable, Mapping, Sequence
from statistics import fmean

from surefoot.contrastive import DirectionAngles
from surefoot.core import Claim, Results, Step, SurefootError
from surefoot.studies._drawn import OverSeeds, TaskAccuracies, claims_of, search_scores
from surefoot.studies.patching._steps import (
    JOINT,
    PARALLEL,
    SEQUENTIAL,
    Attack,
    PatchedTask,
    PatchingSeed,
    Rung,
    WordsRead,
)

PAPER = "2208.05592"
MARGIN = 0.02
"""What may be lost: the paper has one point; two is what a few seeds of a thousand test drawings can decide."""

POINTS = f"{100 * MARGIN:g} points"

Check = Callable[[Sequence[PatchingSeed], TaskAccuracies], OverSeeds]
MakeClaim = Callable[[str, str, Check, str], Claim]


def claims(trials: Sequence[PatchingSeed]) -> tuple[Claim, ...]:
    """The claims over these seeds."""
    claim = claims_of(trials, PAPER)
    return (*_of_patches(claim), *_of_words(claim))


def _of_patches(claim: MakeClaim) -> tuple[Claim, ...]:
    return (
        claim("patch-gains", "Patching raises accuracy on the task that is patched.", _gains, "section 4"),
        claim("patch-keeps", f"Accuracy on supported tasks falls by less than {POINTS}.", _keeps, "section 4"),
        claim("keeps-more", "Patching loses less of the supported tasks than fine-tuning.", _spares, "section 4"),
        claim(
            "guarded-gains", "A guarded patch raises accuracy on its task, too.", _guarded_gains, "with a guard of ours"
        ),
        claim(
            "guarded-keeps",
            f"After a guarded patch accuracy on supported tasks falls by less than {POINTS}.",
            _guarded_keeps,
            "section 4, with a guard of ours",
        ),
        claim("above-chord", "Along the way, the mean accuracy is above the chord.", _above_chord, "figure 1"),
        claim("joint-above", "Joint patching is above sequential patching.", _joint_above, "section 5"),
        claim("sequential-above", "Sequential patching is above parallel patching.", _sequential_above, "section 5"),
        claim(
            "broad-transfer",
            "A patch on half of the classes raises accuracy on the other half, which it never saw.",
            _transfers,
            "section 6",
        ),
        claim("larger-lose-less", "Patching the largest model loses less than the smallest.", _less_lost, "section 4"),
        claim(
            "larger-move-less",
            "Fine-tuning moves the weights of the largest model less, relative to their length, than of the smallest.",
            _less_moved,
            "section 4",
        ),
    )


def _of_words(claim: MakeClaim) -> tuple[Claim, ...]:
    return (
        claim("words-mislead", "Wrong words over the pictures mislead a model that reads.", _mislead, "section 6"),
        claim(
            "words-repaired",
            "A patch on pictures with wrong words raises accuracy on other drawings with wrong words.",
            _repaired,
            "section 6",
        ),
        claim(
            "words-not-classes",
            "It raises it more than a patch on the same pictures without words.",
            _beyond_classes,
            "section 6, with a control of ours",
        ),
        claim("words-unread", "Words that no patch has seen are said less often, too.", _unread, "section 6"),
        claim(
            "words-transfer",
            "The patch raises accuracy under wrong words on classes that it never saw.",
            _repair_transfers,
            "section 6",
        ),
        claim("words-keep", f"Pictures without words lose less than {POINTS}.", _clean_kept, "section 6"),
    )


def supported(found: TaskAccuracies, trial: PatchingSeed, model: Step) -> float:
    """Mean accuracy over the supported tasks."""
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
    """The patched model."""
    return patch.edit


def guarded(patch: PatchedTask) -> Step:
    """The model patched with a guard."""
    return patch.guarded


def gained(
    found: TaskAccuracies, base: Step, patches: Sequence[PatchedTask], model: Callable[[PatchedTask], Step] = edited
) -> float:
    """Accuracy on the tasks' own tests, after the patch less before, mean over patches."""
    return fmean(
        found.measurement(model(patch), patch.task.test).value - found.measurement(base, patch.task.test).value
        for patch in patches
    )


def above_chord(scores: Mapping[float, Mapping[str, float]]) -> float:
    """How far the mean of target and control is above the straight line between its ends, mean over the points between.

    Target rises and control falls, so a point whose mean is above is on the upper right of the chord between the ends.
    """
    means = {point: (one["target"] + one["control"]) / 2 for point, one in scores.items()}
    start, end = means[min(means)], means[max(means)]
    return fmean(value - (1 - point) * start - point * end for point, value in means.items() if 0 < point < 1)


def said(found: TaskAccuracies, model: Step, data: Step) -> list[tuple[str, str]]:
    """Label and prediction of every test picture, in the order of the data."""
    return [(label, prediction) for label, prediction in found.examples(model, data, "label, prediction")]


def words_said(found: TaskAccuracies, attack: Attack, model: Step) -> float:
    """The share of attacked pictures for which a model says the wrong word that is written on them."""
    answers = said(found, model, attack.attacked)
    return fmean(
        word == answer for word, (_, answer) in zip(words_written(found.results, attack), answers, strict=True)
    )


def words_written(results: Results, attack: Attack) -> list[str]:
    """The name of the class that is written over each attacked picture."""
    import numpy as np

    place = results.store.path(attack.attacked)
    classes: list[str] = json.loads((place / "classes.json").read_text(encoding="utf-8"))
    return [classes[number] for number in np.load(place / "attacks.npy")]


def _gains(trials: Sequence[PatchingSeed], found: TaskAccuracies) -> OverSeeds:
    return _gain_of(trials, found, edited)


def _guarded_gains(trials: Sequence[PatchingSeed], found: TaskAccuracies) -> OverSeeds:
    return _gain_of(trials, found, guarded)


def _gain_of(trials: Sequence[PatchingSeed], found: TaskAccuracies, model: Callable[[PatchedTask], Step]) -> OverSeeds:
    starts = fmean([patched(found, trial.middle, trial.middle.base) for trial in trials])
    gains = [gained(found, trial.middle.base, trial.middle.patches, model) for trial in trials]
    detail = f"Test accuracy after less before, mean over {len(trials[0].middle.patches)} tasks"
    return OverSeeds(gains, detail=f"{detail}; the start has {starts:.1%}.")


def _keeps(trials: Sequence[PatchingSeed], found: TaskAccuracies) -> OverSeeds:
    return _kept_by(trials, found, edited)


def _guarded_keeps(trials: Sequence[PatchingSeed], found: TaskAccuracies) -> OverSeeds:
    return _kept_by(trials, found, guarded)


def _kept_by(trials: Sequence[PatchingSeed], found: TaskAccuracies, model: Callable[[PatchedTask], Step]) -> OverSeeds:
    changes = [-lost(found, trial, trial.middle, model) for trial in trials]
    start = fmean([supported(found, trial, trial.middle.base) for trial in trials])
    detail = f"Mean accuracy on {len(trials[0].supported)} supported tasks, after less before: above -{MARGIN:.0%}?"
    return OverSeeds(changes, bound=-MARGIN, detail=f"{detail} The start has {start:.1%}.")


def _spares(trials: Sequence[PatchingSeed], found: TaskAccuracies) -> OverSeeds:
    spared = [
        lost(found, trial, trial.middle, lambda patch: patch.tuned) - lost(found, trial, trial.middle, edited)
        for trial in trials
    ]
    return OverSeeds(spared, detail="Supported accuracy of the patched less that of the fine-tuned models.")


def _above_chord(trials: Sequence[PatchingSeed], found: TaskAccuracies) -> OverSeeds:
    heights = [
        fmean(above_chord(search_scores(found.results, patch.edit)) for patch in trial.middle.patches)
        for trial in trials
    ]
    detail = "Mean of patched and supported accuracy less what the chord has, over the coefficients between 0 and 1."
    return OverSeeds(heights, detail=f"{detail} Validation data; nothing is chosen by it.")


def _joint_above(trials: Sequence[PatchingSeed], found: TaskAccuracies) -> OverSeeds:
    return _one_above_other(trials, found, JOINT, SEQUENTIAL)


def _sequential_above(trials: Sequence[PatchingSeed], found: TaskAccuracies) -> OverSeeds:
    return _one_above_other(trials, found, SEQUENTIAL, PARALLEL)


def _one_above_other(trials: Sequence[PatchingSeed], found: TaskAccuracies, one: str, other: str) -> OverSeeds:
    gains = [both(found, trial, trial.several[one]) - both(found, trial, trial.several[other]) for trial in trials]
    return OverSeeds(gains, detail=f"Mean of patched and supported accuracy, {one} less {other}.")


def _transfers(trials: Sequence[PatchingSeed], found: TaskAccuracies) -> OverSeeds:
    gains = [gained(found, trial.middle.base, trial.transfers) for trial in trials]
    return OverSeeds(gains, detail="Accuracy on the classes of the other half, after the patch less before.")


def _ends(trial: PatchingSeed) -> tuple[Rung, Rung]:
    rungs = list(trial.rungs.values())
    if len(rungs) < 2:
        raise SurefootError("One size of model cannot be compared: run the study with several.")
    return rungs[0], rungs[-1]


def _less_lost(trials: Sequence[PatchingSeed], found: TaskAccuracies) -> OverSeeds:
    differences = []
    for trial in trials:
        small, large = (lost(found, trial, rung, edited) for rung in _ends(trial))
        differences.append(small - large)
    small, large = _ends(trials[0])
    return OverSeeds(differences, detail=f"Supported accuracy lost by {small.size} less that lost by {large.size}.")


def moved(results: Results, rung: Rung) -> float:
    """Length of the change by fine-tuning over that of the weights, mean over tasks."""
    lengths = [
        item.value for item in results.select(DirectionAngles, metric="relative_norm") if item.step == rung.moved
    ]
    if not lengths:
        raise SurefootError(f"How far the weights of {rung.size} moved was not measured yet.")
    return fmean(lengths)


def _less_moved(trials: Sequence[PatchingSeed], found: TaskAccuracies) -> OverSeeds:
    differences = []
    for trial in trials:
        small, large = (moved(found.results, rung) for rung in _ends(trial))
        differences.append(small - large)
    return OverSeeds(differences, detail="Relative length of the change, smallest model less largest.", unit="number")


def _mislead(trials: Sequence[PatchingSeed], found: TaskAccuracies) -> OverSeeds:
    clean, attacked, read = [], [], []
    for trial in trials:
        base, attacks = trial.reading.base, (trial.reading.own, trial.reading.unseen)
        clean.append(found.mean(base, (attack.clean for attack in attacks)))
        attacked.append(found.mean(base, (attack.attacked for attack in attacks)))
        read.append(fmean(words_said(found, attack, base) for attack in attacks))
    detail = (
        f"Accuracy without words ({fmean(clean):.1%}) less that with wrong words; the model says the "
        f"wrong word for {fmean(read):.1%} of pictures."
    )
    return OverSeeds([one - other for one, other in zip(clean, attacked, strict=True)], detail=detail)


def _attacked_gain(
    trials: Sequence[PatchingSeed], found: TaskAccuracies, attack: Callable[[WordsRead], Attack]
) -> list[float]:
    return [
        found.measurement(trial.reading.repaired.edit, attack(trial.reading).attacked).value
        - found.measurement(trial.reading.base, attack(trial.reading).attacked).value
        for trial in trials
    ]


def _repaired(trials: Sequence[PatchingSeed], found: TaskAccuracies) -> OverSeeds:
    gains = _attacked_gain(trials, found, lambda reading: reading.own)
    return OverSeeds(gains, detail="Accuracy under wrong words on the classes of the patch, after less before.")


def _repair_transfers(trials: Sequence[PatchingSeed], found: TaskAccuracies) -> OverSeeds:
    gains = _attacked_gain(trials, found, lambda reading: reading.unseen)
    detail = "Accuracy under wrong words on the other half of the classes, with words of that half, after less before."
    return OverSeeds(gains, detail=detail)


def _beyond_classes(trials: Sequence[PatchingSeed], found: TaskAccuracies) -> OverSeeds:
    gains = [
        found.measurement(trial.reading.repaired.edit, trial.reading.own.attacked).value
        - found.measurement(trial.reading.control.edit, trial.reading.own.attacked).value
        for trial in trials
    ]
    return OverSeeds(gains, detail="Accuracy under wrong words, patched with words less patched without.")


def _unread(trials: Sequence[PatchingSeed], found: TaskAccuracies) -> OverSeeds:
    before, after = (
        [words_said(found, trial.reading.unseen, model(trial.reading)) for trial in trials]
        for model in (lambda reading: reading.base, lambda reading: reading.repaired.edit)
    )
    detail = f"Share of pictures of unseen classes for which the word is said, before ({fmean(before):.1%}) less after."
    return OverSeeds([one - other for one, other in zip(before, after, strict=True)], detail=detail)


def _clean_kept(trials: Sequence[PatchingSeed], found: TaskAccuracies) -> OverSeeds:
    changes = []
    for trial in trials:
        clean = (trial.reading.own.clean, trial.reading.unseen.clean)
        changes.append(found.mean(trial.reading.repaired.edit, clean) - found.mean(trial.reading.base, clean))
    detail = f"Accuracy without words, both halves of the classes, after less before: above -{MARGIN:.0%}?"
    return OverSeeds(changes, bound=-MARGIN, detail=detail)
