"""What the papers on workers that hardly communicate say, as checks over the measurements, paired within a seed."""

from collections.abc import Callable, Iterator, Sequence
from statistics import fmean

from surefoot.adapt import Average
from surefoot.core import Claim, Results, Step, SurefootError, Verdict, verdict_above
from surefoot.studies._drawn import Accuracies, over_seeds, seeds_verdict
from surefoot.studies._local_steps import MAIN, Settings, Trial

LOFI, DILOCO = "2210.11948", "2311.08105"
MARGIN = 0.02
POINTS = f"{100 * MARGIN:g} points"
FEWER = 100

Models = Callable[[Trial], Sequence[Step]]


def claims(trials: Sequence[Trial], settings: Settings) -> tuple[Claim, ...]:
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


def _of_lofi(trials: Sequence[Trial]) -> Iterator[Claim]:
    largest = max(trials[0].lofi)
    yield Claim(
        name="lofi-keeps",
        sentence=f"{MAIN} workers that never communicate are within {POINTS} of {MAIN} that do at each step.",
        check=_difference(trials, (_lofi(MAIN), _together(MAIN)), MARGIN),
        source=f"{LOFI}, abstract",
    )
    yield Claim(
        name="lofi-keeps-with-more",
        sentence=f"So are {largest}.",
        check=_difference(trials, (_lofi(largest), _together(largest)), MARGIN),
        source=LOFI,
    )
    yield Claim(
        name="lofi-helps-under-shift",
        sentence="In styles that fine-tuning did not show, workers that never communicate are more accurate.",
        check=_difference(trials, (_lofi(MAIN), _together(MAIN)), shifted=True),
        source=f"{LOFI}, abstract",
    )
    yield Claim(
        name="average-above-worker",
        sentence="The average is above the workers that it is made of.",
        check=_difference(trials, (_lofi(MAIN), lambda trial: trial.alone[MAIN])),
        source=LOFI,
    )


def _of_variants(trials: Sequence[Trial], settings: Settings) -> Iterator[Claim]:
    yield Claim(
        name="lost-worker",
        sentence=f"To lose one of {MAIN} workers costs less than {POINTS}.",
        check=_difference(trials, (lambda trial: (trial.lost,), _lofi(MAIN)), MARGIN),
        source="our own question",
    )
    yield Claim(
        name="early-communication-helps",
        sentence="To communicate in the first quarter and then no more is above never.",
        check=_difference(trials, (lambda trial: (trial.partly,), _lofi(MAIN))),
        source=LOFI,
    )
    yield Claim(
        name="diloco-keeps",
        sentence=f"DiLoCo in {settings.rounds} rounds is within {POINTS} of communicating at each step.",
        check=_difference(trials, (lambda trial: (trial.diloco,), _together(MAIN)), MARGIN),
        source=f"{DILOCO}, abstract",
    )


def _lofi(count: int) -> Models:
    return lambda trial: (trial.lofi[count],)


def _together(count: int) -> Models:
    return lambda trial: (trial.together[count],)


def mean_accuracy(found: Accuracies, trial: Trial, models: Sequence[Step], *, shifted: bool) -> float:
    """Accuracy on the styles of fine-tuning, or the mean over the sets of other styles; mean over the models."""
    sets = trial.shifted if shifted else (trial.known,)
    return fmean(found.mean(model, sets) for model in models)


def bytes_moved(sent: float, settings: Settings) -> dict[str, float]:
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


def sent_once(trials: Sequence[Trial], results: Results) -> float:
    """The bytes that the workers of lo-fi send. Raises `SurefootError` where no average was made yet."""
    wanted = {trial.lofi[MAIN].key for trial in trials}
    found = {item.value for item in results.select(Average, metric="bytes") if item.step.key in wanted}
    if len(found) != 1:
        raise SurefootError("The bytes of the averages were not measured yet.")
    return found.pop()


def _difference(
    trials: Sequence[Trial], pair: tuple[Models, Models], margin: float = 0, *, shifted: bool = False
) -> Callable[[Results], Verdict]:
    def check(results: Results) -> Verdict:
        found = Accuracies(results)
        both = [[mean_accuracy(found, trial, models(trial), shifted=shifted) for trial in trials] for models in pair]
        first, second = (over_seeds(values).estimate for values in both)
        start = fmean(mean_accuracy(found, trial, (trial.base,), shifted=shifted) for trial in trials)
        where = "in styles not tuned on, mean over two sets" if shifted else "in the styles tuned on"
        detail = f"Difference of accuracies {where}: {first:.1%} less {second:.1%}; the start has {start:.1%}."
        return seeds_verdict([a - b for a, b in zip(*both, strict=True)], bound=-margin, detail=detail)

    return check


def _fewer_bytes(trials: Sequence[Trial], settings: Settings, results: Results) -> Verdict:
    sent = sent_once(trials, results)
    ratio = bytes_moved(sent, settings)["together at each step"] / sent
    detail = (
        f"Exact: {MAIN} workers send {sent / 1e6:.2f} MB once; a ring all-reduce of their gradients moves "
        f"2 (n - 1) / n times that in each of {settings.steps} steps."
    )
    return verdict_above(ratio, ratio, ratio, 1, bound=FEWER, detail=detail)
