"""A robustness card: one reader placed on the published landscape, with what it loses and what is still open."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import ceil, inf
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from surefoot.core import SurefootError
from surefoot.language import READING_RULES, Question, QuestionScores, reading_measurements
from surefoot.laws import AVERAGE, RobustnessFit
from surefoot.stats import (
    Effective,
    carried_error,
    effective_robustness,
    error_of_bounds,
    share_bounds,
    shuffled,
    to_axis,
)
from surefoot.studies.reading._published import IN_DISTRIBUTION

Floats = NDArray[np.float64]
Place = Literal["above", "on the line", "below", "open"]
PUBLISHED_SIZES = {
    **{IN_DISTRIBUTION: 10_570, "squadshifts_new_wiki": 7938, "squadshifts_nyt": 10_065},
    **{"squadshifts_reddit": 9803, "squadshifts_amazon": 9885},
    **{"newsqa": 4212, "triviaqa-web": 7785, "searchqa": 16_980, "naturalquestionsshort": 12_836, "race": 674},
    **{"drop": 1503, "textbookqa": 1503, "bioasq": 1504, "relationextraction": 2948, "duorc.paraphraserc": 1501},
}
"""Questions in the sets of the landscape; a set of another size is not quite the published one, or a sample of it."""


@dataclass(frozen=True, kw_only=True)
class PlacedSet:
    """A reader under one shift: F1 and what the line gives at its accuracy in distribution, fractions; the rest points.

    `place` is where the 95 percent interval of effective robustness lies beside the margin. `needed` is about how many
    questions in all would decide what is open: None where no number of them would, since the line is not known better,
    or where nothing is open. `extrapolated`: no fully fine-tuned reader is as weak or as strong, so that nothing is
    decided. `unusual`: outside the band that would hold a new fully fine-tuned reader.
    """

    shift: str
    questions: int
    f1: float
    f1_low: float
    f1_high: float
    expected: float
    points: float
    low: float
    high: float
    place: Place
    needed: int | None
    extrapolated: bool
    unusual: bool


@dataclass(frozen=True, kw_only=True)
class LostQuestion:
    """A question that the reader lost (F1 of 0), with what it said."""

    shift: str
    question: Question
    answer: str


@dataclass(frozen=True, kw_only=True)
class ReaderCard:
    """Where a reader stands: its F1 in distribution, each shift (the average first), questions it lost, and remarks."""

    in_distribution: tuple[float, float, float]
    margin: float
    sets: tuple[PlacedSet, ...]
    lost: tuple[LostQuestion, ...]
    remarks: tuple[str, ...]


def reader_card(
    fit: RobustnessFit, scored: Mapping[str, QuestionScores], *, margin: float = 2.0, shown: int = 5, seed: int = 0
) -> ReaderCard:
    """Place a reader, scored on `squad` and on the shifts of the fit by their published names, against the fit's line.

    Intervals join three errors: of the questions under shift and of those in distribution (whole articles are the
    sample), and of the line. `margin` in points is what counts as on the line. `shown` lost questions of each set are
    drawn by `seed`. Raises `SurefootError` for sets that are missing, and for one article, which gives no interval.
    """
    if not 0 <= margin < inf or shown < 0:
        raise SurefootError(f"margin is {margin:g} and shown is {shown}: both must be finite, and at least 0.")
    shifts = [name for name in fit.data.shifts if name != AVERAGE]
    lacking = [name for name in (IN_DISTRIBUTION, *shifts) if name not in scored]
    if lacking:
        raise SurefootError(f"The card needs the reader's answers on '{lacking[0]}': {IN_DISTRIBUTION} and a shift.")
    means = {name: _mean(name, found) for name, found in scored.items()}
    y, error = _under_shift([means[name] for name in shifts], average=fit.data.shifts[0] == AVERAGE)
    x, x_error = (np.full((1, 1), value) for value in means[IN_DISTRIBUTION])
    across = np.broadcast_to(x, y.shape)
    carried = carried_error(across, np.broadcast_to(x_error, y.shape), fit.lines, axis=fit.axis)
    at = to_axis(np.clip(across, 1e-4, 1 - 1e-4), fit.axis)
    placed = effective_robustness(at, y, fit.lines, axis=fit.axis, carried=carried, y_stderr=error)
    of_line = effective_robustness(at, y, fit.lines, axis=fit.axis)
    f1_low, f1_high = share_bounds(y, error, fit.lines.level)
    sizes = {name: len(scored[name].questions) for name in shifts}
    told = {"f1": y, "f1_low": f1_low, "f1_high": f1_high, "expected": placed.expected}
    told |= {"points": placed.points, "low": placed.low, "high": placed.high}
    sets = [
        PlacedSet(
            shift=shift,
            questions=(n := sizes.get(shift, sum(sizes.values()))),
            place=_place(placed, s, margin),
            needed=_needed(placed, of_line, s, n, margin),
            extrapolated=bool(placed.outside[0, s]),
            unusual=bool(placed.unusual[0, s]),
            **{name: float(values[0, s]) for name, values in told.items()},
        )
        for s, shift in enumerate(fit.data.shifts)
    ]
    known = (x, *share_bounds(x, x_error, fit.lines.level))
    f1, low, high = (float(one[0, 0]) for one in known)
    return ReaderCard(
        in_distribution=(f1, low, high),
        margin=margin,
        sets=tuple(sets),
        lost=tuple(one for name, found in scored.items() for one in _lost(name, found, shown, seed)),
        remarks=tuple(_remarks(scored)),
    )


def _under_shift(means: Sequence[tuple[float, float]], *, average: bool) -> tuple[Floats, Floats]:
    """F1 and its error under each shift, (1, S), their average first if there are several."""
    y, error = (np.array([column]) for column in zip(*means, strict=True))
    if not average:
        return y, error
    joint = np.sqrt((error**2).sum(axis=1, keepdims=True)) / len(means)
    return np.hstack([y.mean(axis=1, keepdims=True), y]), np.hstack([joint, error])


def _mean(name: str, found: QuestionScores) -> tuple[float, float]:
    """F1, and the error that its interval stands for, whole articles being the sample."""
    measured = next(one for one in reading_measurements(found) if one.metric == "f1" and not one.group)
    if measured.low is None or measured.high is None:
        raise SurefootError(f"All questions of '{name}' are of one article: that gives no interval.")
    return measured.value, error_of_bounds(measured.low, measured.high)


def _place(placed: Effective, s: int, margin: float) -> Place:
    low, high = float(placed.low[0, s]), float(placed.high[0, s])
    if placed.outside[0, s]:
        return "open"
    if low > margin or high < -margin:
        return "above" if low > margin else "below"
    return "on the line" if -margin <= low and high <= margin else "open"


def _needed(placed: Effective, of_line: Effective, s: int, n: int, margin: float) -> int | None:
    """About how many questions in all leave the interval on one side of the nearest edge of what is open."""
    half, known = (float(one.high[0, s] - one.low[0, s]) / 2 for one in (placed, of_line))
    bearable = (abs(float(placed.points[0, s])) - margin) ** 2 - known**2
    decided = _place(placed, s, margin) != "open" or placed.outside[0, s]
    return None if decided or bearable <= 0 else ceil(n * (half**2 - known**2) / bearable)


def _lost(name: str, found: QuestionScores, shown: int, seed: int) -> list[LostQuestion]:
    rows = zip(found.questions, found.answers, found.f1, strict=True)
    lost = {one.id: LostQuestion(shift=name, question=one, answer=said) for one, said, f1 in rows if f1 == 0}
    for unanswered in found.missing:
        lost.pop(unanswered, None)
    return [lost[key] for key in shuffled(lost, seed)[:shown]]


def _remarks(scored: Mapping[str, QuestionScores]) -> Iterator[str]:
    for name, found in scored.items():
        n, published = len(found.questions), PUBLISHED_SIZES.get(name)
        if published is not None and n != published:
            told = "a sample of it, or another version" if n < published else "another version of it"
            yield f"'{name}' has {n:,} questions here and {published:,} where it was published: {told}."
        if found.missing:
            how = READING_RULES[found.rule].missing
            yield f"{len(found.missing):,} questions of '{name}' have no prediction: they are {how}."


def card_words(card: ReaderCard) -> tuple[str, ...]:
    """The card in sentences: in distribution, then each shift."""
    f1, low, high = (100 * share for share in card.in_distribution)
    told = [f"F1 in distribution {f1:.1f} [{low:.1f}, {high:.1f}]."]
    for one in card.sets:
        said = one.place if one.place == "on the line" else f"{one.place} the line"
        if one.extrapolated:
            said = "no verdict: no fully fine-tuned reader is as weak or as strong, the line is an extrapolation"
        elif one.place == "open":
            would = f"about {one.needed:,} questions in all" if one.needed else "for this line no number of questions"
            said = f"not decided at a margin of {card.margin:g} points ({would} would decide it)"
        told.append(f"{one.shift}: {one.points:+.1f} points [{one.low:+.1f}, {one.high:+.1f}], {said}.")
    return (*told, *card.remarks)
