"""What a validation study could not have seen: its own samples against a library of faults that are planted."""

from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from surefoot.core import SurefootError
from surefoot.scrutiny._claims import Trial, ValidityClaim, judge
from surefoot.scrutiny._systems._kinds import Reply, Values
from surefoot.stats import Interval, clopper_pearson

Sample = tuple[Values, Values]
"""Evidence and its truth."""


@dataclass(frozen=True, kw_only=True)
class FaultSeen:
    """A fault: how many samples of the study show it, and of further ones the share, and the chance that `n` would."""

    name: str
    shown: int
    share: Interval
    chance: Interval


@dataclass(frozen=True, kw_only=True)
class ValidationPower:
    """Each fault, those that no sample of the study shows, the further samples to add, and what these show."""

    faults: tuple[FaultSeen, ...]
    missed: tuple[str, ...]
    add: tuple[int, ...]
    then_seen: tuple[str, ...]


def validation_power(
    study: ArrayLike, further: ArrayLike, names: Sequence[str], *, most: int = 14, level: float = 0.95
) -> ValidationPower:
    """Say of faults, by whether each sample shows it, what a study sees: boolean (faults, samples), as `shows` gives.

    `chance` is that of a study of as many samples drawn as the `further` ones: 1 - (1 - share)^n at the share's exact
    bounds. The samples to add, at most `most`, are chosen greedily from the further ones: existence, no rate.
    """
    seen, more = np.asarray(study, dtype=bool), np.asarray(further, dtype=bool)
    if seen.ndim != 2 or more.ndim != 2 or not len(seen) == len(more) == len(names) or not more.shape[1]:
        raise SurefootError(f"{len(names)} faults need a row each, of samples of the study and at least one further.")
    faults = []
    for name, own, other in zip(names, seen, more, strict=True):
        share = clopper_pearson(int(other.sum()), len(other), level=level)
        ends = (1 - (1 - one) ** len(own) for one in (share.estimate, share.low, share.high))
        faults.append(FaultSeen(name=name, shown=int(own.sum()), share=share, chance=Interval(*ends, level=level)))
    left = np.asarray(seen.sum(axis=1) == 0)
    add: list[int] = []
    while len(add) < most and (gains := more[left].sum(axis=0)).any():
        add.append(int(gains.argmax()))
        left = left & ~more[:, add[-1]]
    missed = [name for name, own in zip(names, seen, strict=True) if not own.any()]
    then = [name for name, still in zip(names, left, strict=True) if name in missed and not still]
    return ValidationPower(faults=tuple(faults), missed=tuple(missed), add=tuple(add), then_seen=tuple(then))


def shows(
    claims: Sequence[ValidityClaim],
    samples: Sequence[Sample],
    system: Callable[[Values, int], Values],
    faulty: Mapping[str, Callable[[Values, int], Values]],
) -> np.ndarray:
    """Whether each sample shows each fault: some claim fails there that the sound system keeps. (faults, samples).

    The systems are called here, with seed 0: give those that are trusted. One that raises is shown.
    """
    sound = [_fails(claims, one, system) for one in samples]
    found = [
        [_fails(claims, one, call) - kept for one, kept in zip(samples, sound, strict=True)] for call in faulty.values()
    ]
    return np.array([[bool(new) for new in row] for row in found], dtype=bool).reshape(len(faulty), len(samples))


def _fails(claims: Sequence[ValidityClaim], sample: Sample, call: Callable[[Values, int], Values]) -> set[str]:
    evidence, truth = sample
    try:
        reply = Reply(status="answered", output=call(evidence, 0))
        second = {
            one.name: Reply(status="answered", output=call(one.change(deepcopy(evidence), 0), 0))
            for one in claims
            if one.change
        }
        trial = Trial(condition={}, evidence=evidence, truth=truth, reply=reply, second=second)
        return {one.name for one in claims if (found := judge(one, trial)) and found.margin > 0}
    except Exception:
        return {"answers"}
