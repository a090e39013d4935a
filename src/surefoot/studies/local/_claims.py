"""What the papers on workers that hardly communicate say, as checks over the measurements, paired within a seed."""

from collections.abc import Callable, Iterator, Sequence
from statistics import fmean
from typing import Any

import numpy as np
from numpy.typing import NDArray

from surefoot.core import Claim, Results, Step, SurefootError, Verdict, verdict_above
from surefoot.stats import mean_crossed
from surefoot.studies._drawn import OverSeeds, TaskAccuracies, crossed_verdict, over_seeds, seeds_row
from surefoot.studies.local._steps import MAIN, LocalSeed, LocalSettings, Start
from surefoot.training import Average

LOFI, DILOCO = "2210.11948", "2311.08105"
KEPT = 0.9
"""What a method must keep of the accuracy that communicating at each step gains over the start."""
SHARE = f"{100 * KEPT:g} percent"
FEWER = 100

Models = Callable[[LocalSeed], Sequence[Step]]
Row = dict[str, Any]


def claims(trials: Sequence[LocalSeed], settings: LocalSettings) -> tuple[Claim, ...]:
    """The claims over these seeds."""
    return (
        *_of_lofi(trials),
        *_of_variants(trials, settings),
        Claim(
            name="bytes",
            sentence=f"Lo-fi moves less than 1/{FEWER} of the bytes of averaging gradients at each step.",
            check=lambda results: _fewer_bytes(trials, settings, results),
            source=LOFI,
        ),
    )


def _of_lofi(trials: Sequence[LocalSeed]) -> Iterator[Claim]:
    largest = max(trials[0].lofi)
    yield Claim(
        name="lofi-keeps",
        sentence=f"{MAIN} workers that never communicate gain {SHARE} of what {MAIN} gain that do at each step.",
        check=_share_kept(trials, _lofi(MAIN), _together(MAIN)),
        source=f"{LOFI}, abstract; the share is ours",
    )
    yield Claim(
        name="lofi-keeps-with-more",
        sentence=f"So do {largest}.",
        check=_share_kept(trials, _lofi(largest), _together(largest)),
        source=f"{LOFI}; the share is ours",
    )
    yield Claim(
        name="lofi-helps-under-shift",
        sentence="In styles that fine-tuning did not show, workers that never communicate are more accurate.",
        check=_shifted(trials, _lofi(MAIN), _together(MAIN)),
        source=f"{LOFI}, abstract",
    )
    yield Claim(
        name="average-above-worker",
        sentence="The average is above the workers that it is made of.",
        check=_difference(trials, _lofi(MAIN), lambda trial: trial.alone[MAIN]),
        source=LOFI,
    )
    yield Claim(
        name="average-above-worker-under-shift",
        sentence="It is so in styles that fine-tuning did not show, too.",
        check=_shifted(trials, _lofi(MAIN), lambda trial: trial.alone[MAIN]),
        source=LOFI,
    )


def _of_variants(trials: Sequence[LocalSeed], settings: LocalSettings) -> Iterator[Claim]:
    yield Claim(
        name="lost-worker",
        sentence=f"With one of {MAIN} workers lost, {SHARE} of what lo-fi gains is left.",
        check=_share_kept(trials, lambda trial: (trial.lost,), _lofi(MAIN)),
        source="our own question",
    )
    yield Claim(
        name="early-communication-helps",
        sentence="To communicate in the first quarter and then no more is above never.",
        check=_difference(trials, lambda trial: (trial.partly,), _lofi(MAIN)),
        source=LOFI,
    )
    yield Claim(
        name="rounds-help",
        sentence=f"To average in {settings.rounds} rounds (local SGD) is above averaging once.",
        check=_difference(trials, lambda trial: (trial.local,), _lofi(MAIN)),
        source="1805.09767",
    )
    yield Claim(
        name="diloco-keeps",
        sentence=f"DiLoCo in {settings.rounds} rounds gains {SHARE} of what communicating at each step does.",
        check=_share_kept(trials, lambda trial: (trial.diloco,), _together(MAIN)),
        source=f"{DILOCO}, abstract; the share is ours",
    )
    yield Claim(
        name="better-start-keeps-more",
        sentence=f"From a start that saw {settings.pretrain_samples:,} pictures lo-fi keeps a larger share of the gain "
        f"than from one that saw {settings.weaker_samples:,}.",
        check=lambda results: crossed_verdict(lambda found: _better_start(trials, found), results),
        source=f"{LOFI}: the gap shrinks with scale; the comparison is ours",
    )


def _lofi(count: int) -> Models:
    return lambda trial: (trial.lofi[count],)


def _together(count: int) -> Models:
    return lambda trial: (trial.together[count],)


def mean_accuracy(found: TaskAccuracies, trial: LocalSeed, models: Sequence[Step], *, shifted: bool) -> float:
    """Accuracy on the styles of fine-tuning, or the mean over the sets of other styles; mean over the models."""
    sets = trial.shifted if shifted else (trial.known,)
    return fmean(found.mean(model, sets) for model in models)


def bytes_moved(sent: float, settings: LocalSettings) -> dict[str, float]:
    """What all workers together move in a run, by method; `sent` is what they send once to be averaged.

    A ring takes each worker 2 (n - 1) / n times its weights to average them for all, as gradients need at each step.
    Whole weights are sent to be averaged, and come back where training goes on.
    """
    each_step, rounds = 2 * sent * (MAIN - 1) / MAIN, (2 * settings.rounds - 1) * sent
    return {
        "lo-fi": sent,
        "together for a quarter, then lo-fi": each_step * (settings.steps // 4) + sent,
        "local SGD": rounds,
        "DiLoCo": rounds,
        "together at each step": each_step * settings.steps,
    }


def seconds_of_run(sent: float, settings: LocalSettings, samples_per_second: float, link: float) -> dict[str, float]:
    """How long a run takes, by method: a worker's training, and what goes through one link of `link` bytes a second.

    In a ring each worker's link carries its own part; whole weights go through the link of whoever averages them.
    Nothing overlaps and nothing waits: a real network is slower at many small messages, a clever one hides some.
    """
    training = settings.steps * settings.batch / samples_per_second
    moved, ring = bytes_moved(sent, settings), 2 * sent * (MAIN - 1) / MAIN / MAIN
    through = moved | {
        "together for a quarter, then lo-fi": ring * (settings.steps // 4) + sent,
        "together at each step": ring * settings.steps,
    }
    return {name: training + each / link for name, each in through.items()}


def sent_once(trials: Sequence[LocalSeed], results: Results) -> float:
    """The bytes that the workers of lo-fi send. Raises `SurefootError` where no average was made yet."""
    wanted = {trial.lofi[MAIN].key for trial in trials}
    found = {item.value for item in results.select(Average, metric="bytes") if item.step.key in wanted}
    if len(found) != 1:
        raise SurefootError("The bytes of the averages were not measured yet.")
    return found.pop()


def _share_kept(trials: Sequence[LocalSeed], models: Models, full: Models) -> Callable[[Results], Verdict]:
    def check(found: TaskAccuracies) -> OverSeeds:
        start, part, whole = _known(trials, found, _start, models, full)
        detail = f"Share of the gain in the styles tuned on: from {fmean(start):.1%} to {fmean(part):.1%}, against "
        detail += f"{fmean(whole):.1%}."
        return OverSeeds(_shares(start, part, whole), bound=KEPT, detail=detail, unit="share")

    return lambda results: crossed_verdict(check, results)


def _known(trials: Sequence[LocalSeed], found: TaskAccuracies, *models: Models) -> list[list[float]]:
    """By seed: the accuracy of each of these in the styles tuned on."""
    return [[mean_accuracy(found, trial, one(trial), shifted=False) for trial in trials] for one in models]


def _shares(start: Sequence[float], part: Sequence[float], whole: Sequence[float]) -> list[float]:
    """By seed: what is gained over the start, as a share of what the whole gains."""
    if min(b - a for a, b in zip(start, whole, strict=True)) <= 0:
        raise SurefootError("Without a gain over the start in every seed there is no share of it.")
    return [(own - a) / (b - a) for a, own, b in zip(start, part, whole, strict=True)]


def _start_shares(
    trials: Sequence[LocalSeed], found: TaskAccuracies, start: Callable[[LocalSeed], Start]
) -> list[float]:
    """By seed: the share of the gain of communicating that lo-fi keeps from this start."""
    models: tuple[Models, ...] = (
        lambda trial: (start(trial).base,),
        lambda trial: (start(trial).lofi,),
        lambda trial: (start(trial).together,),
    )
    return _shares(*_known(trials, found, *models))


def _better_start(trials: Sequence[LocalSeed], found: TaskAccuracies) -> OverSeeds:
    better = _start_shares(trials, found, lambda trial: trial.stronger)
    weaker = _start_shares(trials, found, lambda trial: trial.weaker)
    detail = (
        f"Share kept from the better start less that from the weaker: {fmean(better):.1%} less {fmean(weaker):.1%}."
    )
    return OverSeeds([a - b for a, b in zip(better, weaker, strict=True)], detail=detail)


def _difference(trials: Sequence[LocalSeed], first: Models, second: Models) -> Callable[[Results], Verdict]:
    def check(found: TaskAccuracies) -> OverSeeds:
        both = _both(trials, first, second, found, shifted=False)
        return OverSeeds([a - b for a, b in zip(*both, strict=True)], detail=_told(both, "the styles tuned on"))

    return lambda results: crossed_verdict(check, results)


def _shifted(trials: Sequence[LocalSeed], first: Models, second: Models) -> Callable[[Results], Verdict]:
    """All seeds are tested on the same pictures here, so that both seeds and things are a sample."""

    def check(results: Results) -> Verdict:
        found = TaskAccuracies(results)
        both = _both(trials, first, second, found, shifted=True)
        over_seeds(both[0])  # refuses a single seed
        gaps = [_by_thing(found, trial, first(trial)) - _by_thing(found, trial, second(trial)) for trial in trials]
        mean = mean_crossed(gaps)
        detail = _told(both, "styles not tuned on, mean over the two sets")
        detail += f" The interval is over seeds and over {len(gaps[0])} things."
        return verdict_above(mean.estimate, mean.low, mean.high, len(trials), detail=detail, unit="points")

    return check


def _start(trial: LocalSeed) -> Sequence[Step]:
    return (trial.base,)


def _both(
    trials: Sequence[LocalSeed], first: Models, second: Models, found: TaskAccuracies, *, shifted: bool
) -> tuple[list[float], list[float]]:
    one, other = (
        [mean_accuracy(found, trial, models(trial), shifted=shifted) for trial in trials] for models in (first, second)
    )
    return one, other


def _told(both: tuple[Sequence[float], Sequence[float]], where: str) -> str:
    return f"Difference of accuracies in {where}: {fmean(both[0]):.1%} less {fmean(both[1]):.1%}."


def _by_thing(found: TaskAccuracies, trial: LocalSeed, models: Sequence[Step]) -> NDArray[np.float64]:
    """What each thing gives to the accuracy under shift, scaled so that the mean over things is that accuracy."""
    tables = [thing_scores(found, model, one) for one in trial.shifted for model in models]
    things = sorted(set().union(*tables))
    rights = np.array([[table.get(thing, (0.0, 0))[0] for thing in things] for table in tables])
    sizes = np.array([sum(pictures for _, pictures in table.values()) for table in tables])
    return len(things) * (rights / sizes[:, None]).mean(axis=0)


def thing_scores(found: TaskAccuracies, model: Step, data: Step) -> dict[str, tuple[float, int]]:
    """By thing: how many of its pictures the model names rightly, and how many there are."""
    scores = "split_part(example, ':', 2) AS thing, sum(score), count(*)"
    return {thing: (right, pictures) for thing, right, pictures in found.examples(model, data, scores, "thing")}


def accuracy_row(
    trials: Sequence[LocalSeed], found: TaskAccuracies, models: Models, shifted: bool, **named: Any
) -> Row:
    """A row of a figure: the mean accuracy over seeds; under shift the interval is over things as well."""
    row = seeds_row([mean_accuracy(found, trial, models(trial), shifted=shifted) for trial in trials], **named)
    if not shifted or len(trials) < 2:
        return row
    crossed = mean_crossed([_by_thing(found, trial, models(trial)) for trial in trials])
    return row | {"low": crossed.low, "high": crossed.high}


def _fewer_bytes(trials: Sequence[LocalSeed], settings: LocalSettings, results: Results) -> Verdict:
    sent = sent_once(trials, results)
    ratio = bytes_moved(sent, settings)["together at each step"] / sent
    detail = (
        f"Exact: {MAIN} workers send {sent / 1e6:.2f} MB once; a ring all-reduce of their gradients moves "
        f"2 (n - 1) / n times that in each of {settings.steps} steps."
    )
    return verdict_above(ratio, ratio, ratio, 1, bound=FEWER, detail=detail)
