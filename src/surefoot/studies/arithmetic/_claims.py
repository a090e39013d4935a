"""What the paper on task vectors says, as checks over the measurements. Every mean is first taken within a seed."""

from collections.abc import Callable, Mapping, Sequence
from statistics import fmean

from surefoot.contrastive import DirectionAngles
from surefoot.core import Claim, Step, SurefootError
from surefoot.studies._drawn import SeedClaims, TaskAccuracies
from surefoot.studies._hypotheses import Hypothesis, claims_of
from surefoot.studies.arithmetic._steps import Analogy, ArithmeticSeed

PAPER = "2212.04089"
KEPT = 0.95
LARGEST_COSINE = 0.2

Numbers = tuple[float, ...]


def claims(trials: Sequence[ArithmeticSeed]) -> tuple[Claim, ...]:
    """The claims over these seeds."""
    return claims_of((*_of_negation(trials), *_of_addition(trials), *_of_analogies(trials)))


def _of_negation(trials: Sequence[ArithmeticSeed]) -> tuple[Hypothesis, ...]:
    claim = SeedClaims(trials)
    return (
        claim(
            "negation-forgets",
            "Subtracting a task vector lowers accuracy on its task.",
            _forgets,
            "Accuracy of the start less that of the edited model, on the task that was to be forgotten, mean over "
            f"{len(trials[0].tuned)} tasks; the start has {{0:.1%}}.",
            f"{PAPER}, section 3",
        ),
        claim(
            "negation-keeps",
            "The control task keeps at least 95 percent of its accuracy.",
            _keeps,
            "Mean accuracy on the other seven groups, edited by start, on test data; chosen at 95 percent or more.",
            f"{PAPER}, section 3",
            bound=KEPT,
            unit="share",
        ),
        claim(
            "negation-beats-random",
            "A random direction of the same length in every tensor, chosen by the same rule, forgets less.",
            lambda found, trial: (own(found, trial, trial.random) - own(found, trial, trial.negated),),
            "Accuracy left by the random direction less that by negation.",
            f"{PAPER}, table 1",
        ),
        claim(
            "ascent-destroys",
            "Going up the loss instead destroys the control task.",
            lambda found, trial: (control(found, trial, trial.negated) - control(found, trial, trial.ascended),),
            "Control accuracy after negation less that after gradient ascent at the rate of fine-tuning.",
            f"{PAPER}, table 1",
        ),
        claim(
            "near-orthogonal",
            f"Vectors of different tasks are nearly orthogonal: mean cosine below {LARGEST_COSINE}.",
            _cosine,
            "Mean cosine over the pairs of tasks; the largest one of a seed is {0:.2f}, mean over seeds.",
            f"{PAPER}, figure 5",
            bound=LARGEST_COSINE,
            below=True,
            unit="number",
        ),
    )


def _of_addition(trials: Sequence[ArithmeticSeed]) -> tuple[Hypothesis, ...]:
    claim, largest = SeedClaims(trials), max(by_size(trials[0]))
    return (
        claim(
            "addition-helps",
            "The sum of two task vectors improves both tasks at once.",
            _pairs_help,
            "Normalised accuracy of the sums of two vectors less that of the start.",
            f"{PAPER}, section 4",
        ),
        claim(
            "addition-thins",
            "With six vectors each task keeps less than with two.",
            lambda found, trial: (added_normalised(found, trial, 2) - added_normalised(found, trial, largest),),
            f"Normalised accuracy with two vectors less that with {largest}.",
            f"{PAPER}, section 4",
        ),
        claim(
            "joint-above",
            "Training on all tasks jointly is above adding six vectors.",
            lambda found, trial: (
                normalised(found, trial, trial.joint, tuple(trial.tuned)) - added_normalised(found, trial, largest),
            ),
            "Normalised accuracy of joint training less that of the sum of all vectors.",
            f"{PAPER}, section 4",
        ),
        *(
            claim(
                f"{name.lower()}-above",
                f"Merging all tasks by {name} is above adding their vectors.",
                lambda found, trial, name=name: (
                    merged_normalised(found, trial, name) - added_normalised(found, trial, largest),
                ),
                "Normalised accuracy of the merge less that of the sum of all vectors, each with its own coefficient.",
                source,
            )
            for name, source in (("TIES", "2306.01708, table 1"), ("DARE", "2311.03099, section 4"))
        ),
    )


def _of_analogies(trials: Sequence[ArithmeticSeed]) -> tuple[Hypothesis, ...]:
    claim = SeedClaims(trials)
    detail = f"Accuracy of the analogy less that of {{}}, mean over {len(trials[0].analogies)} analogies a seed."
    return (
        claim(
            "analogy-beats-base",
            "The analogy improves on a combination of task and style that no model saw.",
            lambda found, trial: _analogy_gain(found, trial, lambda _: trial.base),
            detail.format("the start"),
            f"{PAPER}, section 5",
        ),
        claim(
            "analogy-beats-alone",
            "The analogy is above the vector of the task in the known style alone.",
            lambda found, trial: _analogy_gain(found, trial, lambda analogy: analogy.alone),
            detail.format("the known task alone"),
            f"{PAPER}, section 5",
        ),
    )


def own(found: TaskAccuracies, trial: ArithmeticSeed, models: Mapping[str, Step]) -> float:
    """Accuracy of each task's model on the task itself, mean over tasks."""
    return fmean(found.value(models[group], trial.tests[group]) for group in trial.tuned)


def control(found: TaskAccuracies, trial: ArithmeticSeed, models: Mapping[str, Step]) -> float:
    """Accuracy of each task's model on all other groups, mean over tasks."""
    return fmean(found.mean(models[group], trial.others(group)) for group in trial.tuned)


def normalised(found: TaskAccuracies, trial: ArithmeticSeed, model: Step, groups: Sequence[str]) -> float:
    """Mean over tasks of the accuracy divided by that of the task's own model."""
    return fmean(
        found.value(model, trial.tests[group]) / found.value(trial.tuned[group], trial.tests[group]) for group in groups
    )


def by_size(trial: ArithmeticSeed) -> dict[int, list[tuple[str, ...]]]:
    """The subsets of tasks that were added, by how many they are."""
    sizes = sorted({len(groups) for groups in trial.added})
    return {size: [groups for groups in trial.added if len(groups) == size] for size in sizes}


def added_normalised(found: TaskAccuracies, trial: ArithmeticSeed, size: int) -> float:
    """Normalised accuracy of the sums of `size` vectors, mean over the subsets of that size."""
    return fmean(normalised(found, trial, trial.added[groups], groups) for groups in by_size(trial)[size])


def merged_normalised(found: TaskAccuracies, trial: ArithmeticSeed, name: str) -> float:
    """Normalised accuracy over all tasks of their models, merged by the method of that name."""
    return normalised(found, trial, trial.merged[name], tuple(trial.tuned))


def _forgets(found: TaskAccuracies, trial: ArithmeticSeed) -> Numbers:
    start = own(found, trial, trial.start)
    return start - own(found, trial, trial.negated), start


def _keeps(found: TaskAccuracies, trial: ArithmeticSeed) -> Numbers:
    shares = (
        found.mean(model, trial.others(group)) / found.mean(trial.base, trial.others(group))
        for group, model in trial.negated.items()
    )
    return (fmean(shares),)


def _pairs_help(found: TaskAccuracies, trial: ArithmeticSeed) -> Numbers:
    start = fmean(normalised(found, trial, trial.base, pair) for pair in by_size(trial)[2])
    return (added_normalised(found, trial, 2) - start,)


def _analogy_gain(found: TaskAccuracies, trial: ArithmeticSeed, other: Callable[[Analogy], Step]) -> Numbers:
    gains = (found.value(each.edit, each.test) - found.value(other(each), each.test) for each in trial.analogies)
    return (fmean(gains),)


def _cosine(found: TaskAccuracies, trial: ArithmeticSeed) -> Numbers:
    if not (angles := found.once(trial.angles.key, lambda: _angles(found, trial))):
        raise SurefootError("The angles between the vectors were not measured.")
    return fmean(angles), max(angles)


def _angles(found: TaskAccuracies, trial: ArithmeticSeed) -> list[float]:
    measured = found.results.select(DirectionAngles, metric="cosine")
    return [item.value for item in measured if item.step.key == trial.angles.key]
