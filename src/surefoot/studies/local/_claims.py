"""What the papers on workers that hardly communicate say, as checks over the measurements, paired within a seed."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from statistics import fmean

from surefoot.core import Claim, Results, Step, SurefootError, Verdict, verdict_above
from surefoot.studies._drawn import PHOTOGRAPHS, SeedClaims, TaskAccuracies
from surefoot.studies._hypotheses import Hypothesis, claims_of
from surefoot.studies.local._steps import MAIN, LocalSeed, LocalSettings, Start
from surefoot.training import Average

LOFI, DILOCO = "2210.11948", "2311.08105"
KEPT = 0.9
"""What a method must keep of the accuracy that communicating at each step gains over the start."""
SHARE = f"{100 * KEPT:g} percent"
FEWER = 100
PARITY = 0.01
"""How far two accuracies may differ to be called equal."""

Models = Callable[[LocalSeed], Sequence[Step]]
Numbers = tuple[float, ...]


def claims(trials: Sequence[LocalSeed], settings: LocalSettings, more: Sequence[Hypothesis] = ()) -> tuple[Claim, ...]:
    """The claims over these seeds, and those of other parts, which hold together with them."""
    if not trials:
        return claims_of(more)
    return (
        *claims_of((*_of_lofi(trials), *_of_variants(trials, settings), *more)),
        Claim(
            name="bytes",
            sentence=f"Lo-fi moves less than 1/{FEWER} of the bytes of averaging gradients at each step.",
            check=lambda results: _fewer_bytes(trials, settings, results),
            source=LOFI,
        ),
    )


def _of_lofi(trials: Sequence[LocalSeed]) -> Iterator[Hypothesis]:
    kept, above = partial(_kept, trials), partial(_above, trials)
    largest = max(trials[0].lofi)
    many = "workers that never communicate"
    yield kept(
        "lofi-keeps",
        f"{MAIN} {many} gain {SHARE} of what {MAIN} gain that do at each step.",
        (_lofi(MAIN), _together(MAIN)),
        f"{LOFI}, abstract; the share is ours",
    )
    both = (_lofi(largest), _together(largest))
    yield kept("lofi-keeps-with-more", f"So do {largest}.", both, f"{LOFI}; the share is ours")
    yield above(
        "lofi-parity",
        f"{MAIN} {many} are as accurate, to {100 * PARITY:g} point, in the styles tuned on.",
        (_lofi(MAIN), _together(MAIN)),
        f"{LOFI}, abstract",
        within=PARITY,
    )
    yield above(
        "lofi-helps-under-shift",
        f"In styles that fine-tuning did not show, {many} are more accurate.",
        (_lofi(MAIN), _together(MAIN)),
        f"{LOFI}, abstract",
        shifted=True,
    )
    pair = (_lofi(MAIN), lambda trial: trial.alone[MAIN])
    yield above("average-above-worker", "The average is above the workers that it is made of.", pair, LOFI)
    said = "It is so in styles that fine-tuning did not show, too."
    yield above("average-above-worker-under-shift", said, pair, LOFI, shifted=True)


def _of_variants(trials: Sequence[LocalSeed], settings: LocalSettings) -> Iterator[Hypothesis]:
    kept, above = partial(_kept, trials), partial(_above, trials)
    yield kept(
        "lost-worker",
        f"With one of {MAIN} workers lost, {SHARE} of what lo-fi gains is left.",
        (lambda trial: (trial.lost,), _lofi(MAIN)),
        "our own question",
    )
    yield above(
        "early-communication-helps",
        "To communicate in the first quarter and then no more is above never.",
        (lambda trial: (trial.partly,), _lofi(MAIN)),
        LOFI,
    )
    yield above(
        "rounds-help",
        f"To average in {settings.rounds} rounds (local SGD) is above averaging once.",
        (lambda trial: (trial.local,), _lofi(MAIN)),
        "1805.09767",
    )
    yield kept(
        "diloco-keeps",
        f"DiLoCo in {settings.rounds} rounds gains {SHARE} of what communicating at each step does.",
        (lambda trial: (trial.diloco,), _together(MAIN)),
        f"{DILOCO}, abstract; the share is ours",
    )
    if settings.size == PHOTOGRAPHS:
        return  # what it saw is not ours to change
    yield SeedClaims(trials)(
        "better-start-keeps-more",
        f"From a start that saw {settings.pretrain_samples:,} pictures lo-fi keeps a larger share of the gain "
        f"than from one that saw {settings.weaker_samples:,}.",
        _better_start,
        "Share kept from the better start less that from the weaker: {0:.1%} less {1:.1%}.",
        f"{LOFI}: the gap shrinks with scale; the comparison is ours",
    )


def _kept(
    trials: Sequence[LocalSeed], name: str, sentence: str, pair: tuple[Models, Models], source: str
) -> Hypothesis:
    """The claim that models gain most of what others gain over the start."""
    models, full = pair

    def number(found: TaskAccuracies, trial: LocalSeed) -> Numbers:
        gained = [mean_accuracy(found, trial, each) for each in ((trial.base,), models(trial), full(trial))]
        return (_share(*gained), *gained)

    detail = "Share of the gain in the styles tuned on: from {0:.1%} to {1:.1%}, against {2:.1%}."
    return SeedClaims(trials)(name, sentence, number, detail, source, bound=KEPT, unit="share")


def _above(
    trials: Sequence[LocalSeed],
    name: str,
    sentence: str,
    pair: tuple[Models, Models],
    source: str,
    *,
    shifted: bool = False,
    within: float = 0.0,
) -> Hypothesis:
    """The claim that models are more accurate than others (or as accurate, `within` so much), here or elsewhere."""

    def number(found: TaskAccuracies, trial: LocalSeed) -> Numbers:
        one, other = (mean_accuracy(found, trial, of(trial), shifted=shifted) for of in pair)
        return one - other, one, other

    where = "styles not tuned on, mean over the two sets" if shifted else "the styles tuned on"
    detail = f"Difference of accuracies in {where}: {{0:.1%}} less {{1:.1%}}."
    return SeedClaims(trials)(name, sentence, number, detail, source, bound=within, within=within > 0)


def _lofi(count: int) -> Models:
    return lambda trial: (trial.lofi[count],)


def _together(count: int) -> Models:
    return lambda trial: (trial.together[count],)


def mean_accuracy(found: TaskAccuracies, trial: LocalSeed, models: Sequence[Step], *, shifted: bool = False) -> float:
    """Accuracy on the styles of fine-tuning, or the mean over the sets of other styles; mean over the models."""
    sets = trial.shifted if shifted else (trial.known,)
    return fmean(found.mean(model, sets) for model in models)


def _share(start: float, part: float, whole: float) -> float:
    """What is gained over the start, as a share of what the whole gains."""
    if whole <= start:
        raise SurefootError("Without a gain over the start in every seed there is no share of it.")
    return (part - start) / (whole - start)


def _better_start(found: TaskAccuracies, trial: LocalSeed) -> Numbers:
    def kept(start: Start) -> float:
        """The share of the gain of communicating that lo-fi keeps from this start."""
        return _share(*(found.value(model, trial.known) for model in (start.base, start.lofi, start.together)))

    better, weaker = kept(trial.stronger), kept(trial.weaker)
    return better - weaker, better, weaker


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


def _fewer_bytes(trials: Sequence[LocalSeed], settings: LocalSettings, results: Results) -> Verdict:
    sent = sent_once(trials, results)
    ratio = bytes_moved(sent, settings)["together at each step"] / sent
    detail = (
        f"Exact: {MAIN} workers send {sent / 1e6:.2f} MB once; a ring all-reduce of their gradients moves "
        f"2 (n - 1) / n times that in each of {settings.steps} steps."
    )
    return verdict_above(ratio, ratio, ratio, 1, bound=FEWER, detail=detail)
