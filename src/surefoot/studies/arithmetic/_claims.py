"""What the paper on task vectors says, as checks over the measurements. Every mean is first taken within a seed."""

from collections.abc import Callable, Sequence
from statistics import fmean

from surefoot.contrastive import DirectionAngles
from surefoot.core import Claim, Step, SurefootError
from surefoot.studies._drawn import OverSeeds, TaskAccuracies, claims_of
from surefoot.studies.arithmetic._steps import ArithmeticSeed

PAPER = "2212.04089"
KEPT = 0.95
LARGEST_COSINE = 0.2


def claims(trials: Sequence[ArithmeticSeed]) -> tuple[Claim, ...]:
    """The claims over these seeds."""

    claim = claims_of(trials, PAPER)
    return (
        claim("negation-forgets", "Subtracting a task vector lowers accuracy on its task.", _forgets, "section 3"),
        claim("negation-keeps", "The control task keeps at least 95 percent of its accuracy.", _keeps, "section 3"),
        claim(
            "negation-beats-random",
            "A random direction of the same length in every tensor, chosen by the same rule, forgets less.",
            _beats_random,
            "table 1",
        ),
        claim("ascent-destroys", "Going up the loss instead destroys the control task.", _ascent_destroys, "table 1"),
        claim("addition-helps", "The sum of two task vectors improves both tasks at once.", _pairs_help, "section 4"),
        claim("addition-thins", "With six vectors each task keeps less than with two.", _more_costs, "section 4"),
        claim("joint-above", "Training on all tasks jointly is above adding six vectors.", _joint_above, "section 4"),
        claim(
            "analogy-beats-base",
            "The analogy improves on a combination of task and style that no model saw.",
            _analogy_beats_base,
            "section 5",
        ),
        claim(
            "analogy-beats-alone",
            "The analogy is above the vector of the task in the known style alone.",
            _analogy_beats_alone,
            "section 5",
        ),
        claim(
            "near-orthogonal",
            f"Vectors of different tasks are nearly orthogonal: mean cosine below {LARGEST_COSINE}.",
            _orthogonal,
            "figure 5",
        ),
    )


def target_and_control(found: TaskAccuracies, trial: ArithmeticSeed, group: str, model: Step) -> tuple[float, float]:
    """Accuracy of a model on a group, and its mean accuracy on all other groups."""
    return found.measurement(model, trial.tests[group]).value, found.mean(model, trial.others(group))


def normalised(found: TaskAccuracies, trial: ArithmeticSeed, model: Step, groups: Sequence[str]) -> float:
    """Mean over tasks of the accuracy divided by that of the task's own model."""
    return fmean(
        found.measurement(model, trial.tests[group]).value
        / found.measurement(trial.tuned[group], trial.tests[group]).value
        for group in groups
    )


def by_size(trial: ArithmeticSeed) -> dict[int, list[tuple[str, ...]]]:
    """The subsets of tasks that were added, by how many they are."""
    sizes = sorted({len(groups) for groups in trial.added})
    return {size: [groups for groups in trial.added if len(groups) == size] for size in sizes}


def added_normalised(found: TaskAccuracies, trial: ArithmeticSeed, size: int) -> float:
    """Normalised accuracy of the sums of `size` vectors, mean over the subsets of that size."""
    return fmean(normalised(found, trial, trial.added[groups], groups) for groups in by_size(trial)[size])


def _per_task(trials: Sequence[ArithmeticSeed], value: Callable[[ArithmeticSeed, str], float]) -> list[float]:
    return [fmean(value(trial, group) for group in trial.tuned) for trial in trials]


def _forgets(trials: Sequence[ArithmeticSeed], found: TaskAccuracies) -> OverSeeds:

    def drop(trial: ArithmeticSeed, group: str) -> float:
        before, after = (target_and_control(found, trial, group, one)[0] for one in (trial.base, trial.negated[group]))
        return before - after

    before = fmean(_per_task(trials, lambda trial, group: found.measurement(trial.base, trial.tests[group]).value))
    detail = (
        f"Accuracy of the start less that of the edited model, on the task that was to be forgotten, mean over "
        f"{len(trials[0].tuned)} tasks; the start has {before:.1%}."
    )
    return OverSeeds(_per_task(trials, drop), detail=detail)


def _keeps(trials: Sequence[ArithmeticSeed], found: TaskAccuracies) -> OverSeeds:

    def share(trial: ArithmeticSeed, group: str) -> float:
        before, after = (target_and_control(found, trial, group, one)[1] for one in (trial.base, trial.negated[group]))
        return after / before

    detail = "Mean accuracy on the other seven groups, edited by start, on test data; chosen at 95 percent or more."
    return OverSeeds(_per_task(trials, share), bound=KEPT, detail=detail, unit="share")


def _beats_random(trials: Sequence[ArithmeticSeed], found: TaskAccuracies) -> OverSeeds:

    def gain(trial: ArithmeticSeed, group: str) -> float:
        test = trial.tests[group]
        return found.measurement(trial.random[group], test).value - found.measurement(trial.negated[group], test).value

    return OverSeeds(_per_task(trials, gain), detail="Accuracy left by the random direction less that by negation.")


def _ascent_destroys(trials: Sequence[ArithmeticSeed], found: TaskAccuracies) -> OverSeeds:

    def lost(trial: ArithmeticSeed, group: str) -> float:
        return found.mean(trial.negated[group], trial.others(group)) - found.mean(
            trial.ascended[group], trial.others(group)
        )

    detail = "Control accuracy after negation less that after gradient ascent at the rate of fine-tuning."
    return OverSeeds(_per_task(trials, lost), detail=detail)


def _pairs_help(trials: Sequence[ArithmeticSeed], found: TaskAccuracies) -> OverSeeds:
    gains = []
    for trial in trials:
        pairs = by_size(trial)[2]
        start = fmean(normalised(found, trial, trial.base, pair) for pair in pairs)
        gains.append(added_normalised(found, trial, 2) - start)
    return OverSeeds(gains, detail="Normalised accuracy of the sums of two vectors less that of the start.")


def _more_costs(trials: Sequence[ArithmeticSeed], found: TaskAccuracies) -> OverSeeds:
    largest = max(by_size(trials[0]))
    costs = [added_normalised(found, trial, 2) - added_normalised(found, trial, largest) for trial in trials]
    return OverSeeds(costs, detail=f"Normalised accuracy with two vectors less that with {largest}.")


def _joint_above(trials: Sequence[ArithmeticSeed], found: TaskAccuracies) -> OverSeeds:
    gains = [
        normalised(found, trial, trial.joint, tuple(trial.tuned)) - added_normalised(found, trial, max(by_size(trial)))
        for trial in trials
    ]
    return OverSeeds(gains, detail="Normalised accuracy of joint training less that of the sum of all vectors.")


def _analogy_beats_base(trials: Sequence[ArithmeticSeed], found: TaskAccuracies) -> OverSeeds:
    return _analogy_gain(trials, found, lambda trial, _: trial.base, "the start")


def _analogy_beats_alone(trials: Sequence[ArithmeticSeed], found: TaskAccuracies) -> OverSeeds:
    return _analogy_gain(trials, found, lambda trial, index: trial.analogies[index].alone, "the known task alone")


def _analogy_gain(
    trials: Sequence[ArithmeticSeed], found: TaskAccuracies, other: Callable[[ArithmeticSeed, int], Step], name: str
) -> OverSeeds:
    gains = [
        fmean(
            found.measurement(one.edit, one.test).value - found.measurement(other(trial, index), one.test).value
            for index, one in enumerate(trial.analogies)
        )
        for trial in trials
    ]
    detail = f"Accuracy of the analogy less that of {name}, mean over {len(trials[0].analogies)} analogies a seed."
    return OverSeeds(gains, detail=detail)


def _orthogonal(trials: Sequence[ArithmeticSeed], found: TaskAccuracies) -> OverSeeds:
    wanted = {trial.angles.key for trial in trials}
    by_seed: dict[str, list[float]] = {}
    for item in found.results.select(DirectionAngles, metric="cosine"):
        if item.step.key in wanted:
            by_seed.setdefault(item.step.key, []).append(item.value)
    if not by_seed:
        raise SurefootError("The angles between the vectors were not measured.")
    cosines = [fmean(values) for values in by_seed.values()]
    detail = f"Mean cosine over the pairs of tasks; the largest single one is {max(map(max, by_seed.values())):.2f}."
    return OverSeeds(cosines, bound=LARGEST_COSINE, below=True, detail=detail, unit="number")
