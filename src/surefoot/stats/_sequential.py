"""How many questions are enough: what some of a full set say of all of it, however often one looks."""

from dataclasses import dataclass
from math import ceil, inf, log
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from surefoot.stats._arrays import numbers
from surefoot.stats._intervals import Interval

Floats = NDArray[np.float64]
Side = Literal["above", "within", "below", "not yet"]
_STAKES = (0.01, 0.1, 1.0)
"""Bets are sized for a decision at these shares of the full set; what they win is pooled."""
_MOST_STAKED = 0.75
_BISECTIONS = 40
_COST = 1.1
"""By how much the squared half width exceeds 2 s^2 log(2 / alpha) / n: in simulations 0.9 to 1.1 at 50 to 400."""


@dataclass(frozen=True, kw_only=True)
class Asked:
    """Scores (n,) of things drawn at random from a full set of `of`, without replacement, in the order they were asked.

    They lie between `least` and `most`: -1 and 1 for paired differences of two models. Raises ValueError otherwise.
    """

    scores: Floats
    of: int
    least: float = 0.0
    most: float = 1.0

    def __post_init__(self) -> None:
        scores = numbers(self.scores)
        inside = bool(np.all((scores >= self.least) & (scores <= self.most)))
        if scores.ndim != 1 or not 1 <= len(scores) <= self.of or not inside:
            raise ValueError(
                f"scores of shape {scores.shape} of a set of {self.of} must lie from {self.least:g} to {self.most:g}"
            )
        object.__setattr__(self, "scores", scores)


@dataclass(frozen=True, kw_only=True)
class Enough:
    """What the answers so far say of the full set: its `effect`, with an interval that holds at all looks together.

    `side` is where the full set lies, beside or within the band of the margin; "not yet" while that is open. `needed`
    is about how many answers decide it, of as many as there are in all; None when all of them leave it near an edge.
    """

    effect: Interval
    side: Side
    asked: int
    of: int
    needed: int | None


def mean_of_all(asked: Asked, *, level: float = 0.95) -> Interval:
    """The mean of the full set from those asked, with an interval that holds at every look together: one may stop.

    By betting against each mean, without replacement (Waudby-Smith and Ramdas 2024, Estimating means of bounded random
    variables by betting, section 5): exact at any n and for any scores within their bounds, no normal distribution. It
    is a point once all are asked. Whether questions stand in clusters does not matter, since they were drawn one by one
    from a set that is given; what other articles would say is another question (`clustered_mean`).
    """
    unit = _unit(asked)
    tail = log(2 / (1 - level))
    known, rest = float(unit.sum()), asked.of - len(unit)
    ends = [
        _where_lost(unit, asked.of, known / asked.of, tail),
        1 - _where_lost(1 - unit, asked.of, (len(unit) - known) / asked.of, tail),
    ]
    low, high = (min(max(end, known / asked.of), (known + rest) / asked.of) for end in ends)
    width = asked.most - asked.least
    return Interval(*(asked.least + width * place for place in (float(unit.mean()), low, high)), level=level)


def decided_at(asked: Asked, *, bound: float = 0.0, margin: float = 0.0, level: float = 0.95) -> tuple[Side, int]:
    """On which side of the band `bound` +- `margin` the full set lies, and after how many answers that was decided.

    The first look at which the interval of `mean_of_all` lies in the band, or on one side of it.
    """
    above = _decided_above(asked, bound + margin, level)
    below = _decided_above(_mirrored(asked), margin - bound, level)
    inside = max(_decided_above(asked, bound - margin, level), _decided_above(_mirrored(asked), -margin - bound, level))
    sides: dict[Side, float] = {"above": above, "below": below, "within": inside if margin > 0 else inf}
    first = min(sides, key=lambda side: sides[side])
    return (first, int(sides[first])) if sides[first] < inf else ("not yet", len(asked.scores))


def enough(asked: Asked, *, bound: float = 0.0, margin: float = 0.0, level: float = 0.95) -> Enough:
    """Whether what was asked decides on which side of the band `bound` +- `margin` (fractions) the full set lies."""
    if not (abs(bound) <= 1 and 0 <= margin <= 1):
        raise ValueError(f"the bound {bound} and the margin {margin} must be fractions, and the margin at least 0")
    effect, (side, _) = mean_of_all(asked, level=level), decided_at(asked, bound=bound, margin=margin, level=level)
    gap = min(abs(effect.estimate - bound - sign * margin) for sign in (-1, 1))
    needed = len(asked.scores) if side != "not yet" else _needed(asked, gap, level)
    return Enough(effect=effect, side=side, asked=len(asked.scores), of=asked.of, needed=needed)


def _unit(asked: Asked) -> Floats:
    return (asked.scores - asked.least) / (asked.most - asked.least)


def _mirrored(asked: Asked) -> Asked:
    return Asked(scores=-asked.scores, of=asked.of, least=-asked.most, most=-asked.least)


def _decided_above(asked: Asked, edge: float, level: float) -> float:
    """After how many answers the full set is known to lie above the edge; infinite when it is not."""
    place = (edge - asked.least) / (asked.most - asked.least)
    if place < 0:
        return 1.0
    tail = log(2 / (1 - level))
    won = np.flatnonzero(_fortune(_unit(asked), asked.of, place, tail) > tail)
    return float(won[0] + 1) if len(won) else inf


def _where_lost(unit: Floats, of: int, low: float, tail: float) -> float:
    """The lowest mean that bets on a higher one do not refute at any look; the fortune falls as the mean rises."""
    high = float(unit.mean())
    if _fortune(unit, of, low, tail).max() <= tail:
        return low
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        low, high = (middle, high) if _fortune(unit, of, middle, tail).max() > tail else (low, middle)
    return low


def _fortune(unit: Floats, of: int, mean: float, tail: float) -> Floats:
    """The logarithm of what bets on a higher mean have won after each answer (n,), if the full set's mean were `mean`.

    A fair game if it is: before each answer the rest has the mean that is left. Infinite once no rest could have it.
    """
    n = len(unit)
    before = np.concatenate([[0.0], np.cumsum(unit)[:-1]])
    left = (of * mean - before) / (of - np.arange(n))
    # The spread of the answers before, begun with one half of a success and of a failure: a bet may not see its answer.
    count = np.arange(n) + 1.0
    centre = (before + 0.5) / count
    squares = np.concatenate([[0.0], np.cumsum((unit - centre) ** 2)[:-1]])
    spread = (0.25 + squares) / count
    fair = np.clip(left, 1e-12, 1.0)
    won = []
    for share in _STAKES:
        stake = np.sqrt(2 * tail / (spread * max(share * of, 1.0)))
        gains = np.minimum(stake, _MOST_STAKED / fair) * (unit - fair)
        won.append(np.cumsum(np.log1p(gains)))
    pooled = np.logaddexp.reduce(won, axis=0) - log(len(_STAKES))
    return np.where(of * mean - np.cumsum(unit) < -1e-9, inf, pooled)


def _needed(asked: Asked, gap: float, level: float) -> int | None:
    """About how many answers give a half width of `gap` at the spread of these; None when it takes all."""
    spread = float(np.var(np.append(asked.scores, (asked.least, asked.most))))
    if gap <= 0:
        return None
    alone = _COST * 2 * spread * log(2 / (1 - level)) / gap**2
    size = ceil(alone * asked.of / (asked.of + alone))
    return max(size, len(asked.scores) + 1) if size < asked.of else None
