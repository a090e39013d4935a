"""The law of mixtures as a Step, which predicts mixtures that are not trained yet."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, final

import numpy as np

from surefoot.core import Inputs, Measurement, Step, SurefootError
from surefoot.laws._mixture._fit import fit_mixture, log_share_scores, predict_mixture, size_line_scores


@final
@dataclass(frozen=True, kw_only=True)
class MixtureFit(Step):
    """Fit the law of mixtures (`fit_mixture`) over what `results` measured under each shift, and predict others.

    Of each result there are the `shares` of the `sources` and the size; `asked` are shares and `asked_sizes` sizes of
    mixtures to predict. `metric` is a share of right answers, of which `chance` is what guessing gives. Measures, under
    each shift, `likeness`, and of each mixture that is asked for (`replicate` is its number) `predicted` with the 95
    percent interval of one run, `log_share` (a regression on log shares), and `equal_shares` (what runs of equal shares
    of all sources give at its size, a line in its logarithm, where there are some), from the same results.
    """

    version: ClassVar[int] = 2
    sources: tuple[str, ...]
    results: tuple[Step, ...]
    shares: tuple[tuple[float, ...], ...]
    sizes: tuple[float, ...]
    asked: tuple[tuple[float, ...], ...]
    asked_sizes: tuple[float, ...]
    shifts: tuple[str, ...]
    metric: str
    chance: float

    def make(self, out: Path, inputs: Inputs) -> Iterable[Measurement]:
        """Fit each shift, and predict."""
        measured = [inputs.measurements(result) for result in self.results]
        for shift in self.shifts:
            scores = [_one(found, self.metric, shift) for found in measured]
            yield from _of_shift(self, shift, scores)


def _one(found: Iterable[Measurement], metric: str, shift: str) -> float:
    values = [one.value for one in found if (one.metric, one.shift) == (metric, shift)]
    if len(values) != 1:
        raise SurefootError(f"A result has {len(values)} measurements of {metric} under '{shift}', not one.")
    return values[0]


def _of_shift(step: MixtureFit, shift: str, scores: list[float]) -> Iterable[Measurement]:
    known = (step.shares, step.sizes, scores)
    law = fit_mixture(step.sources, *known, chance=step.chance)
    yield Measurement(metric="likeness", value=law.likeness, n=len(scores), shift=shift)
    found = predict_mixture(law, step.asked, step.asked_sizes)
    regressed = log_share_scores(known, step.asked, step.asked_sizes, chance=step.chance)
    even = np.ptp(np.array(step.shares), axis=1) < 1e-9
    known_even = np.array(step.sizes)[even], np.array(scores)[even]
    equal = size_line_scores(*known_even, step.asked_sizes, chance=step.chance) if even.any() else None
    rows = zip(found.value, found.low, found.high, regressed, strict=True)
    for number, (value, low, high, log_share) in enumerate(rows):
        place = {"n": len(scores), "shift": shift, "replicate": number}
        yield Measurement(metric="predicted", value=float(value), low=float(low), high=float(high), **place)
        yield Measurement(metric="log_share", value=float(log_share), **place)
        if equal is not None:
            yield Measurement(metric="equal_shares", value=float(equal[number]), **place)
