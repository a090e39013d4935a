"""Search for the worst allowed condition, and from a failing one back towards the case. It shows existence, no rate."""

import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

import numpy as np

from surefoot.core import missing_module
from surefoot.scrutiny._domain import Condition, Domain, Variable, key_of, sample
from surefoot.scrutiny._scrutiny import Method

_FAR = 1e12
_STEPS = 64  # of a number, from the case to each end of its range, as hypothesis counts them


@dataclass(frozen=True)
class Weighed:
    """What some queries at a condition say: how bad it is, and whether that is worth a confirmation."""

    score: float
    suspicious: bool


Weigh = Callable[[Sequence[Condition]], list[Weighed]]


def search(method: Method, domain: Domain, weigh: Weigh, *, budget: int, seed: int) -> None:
    """Have up to `budget` conditions weighed, chosen by one method; what is found is in what `weigh` keeps."""
    if budget < 1:
        return
    if method == "local":
        steps = tuple(0.5**power for power in range(2, 9))
        _climb(domain, weigh, domain.case, budget, steps, _beside, lambda condition, found: found.score)
    elif method in ("cma", "hypothesis"):
        (_cma if method == "cma" else _hypothesis)(domain, weigh, budget, seed)
    else:
        weigh(sample(domain, budget, method=method, seed=seed))


def approach(domain: Domain, weigh: Weigh, start: Condition, *, budget: int) -> Condition:
    """The failing condition nearest to the case that is found from a failing one: fewer conditions differ, and less."""

    def nearness(condition: Condition, found: Weighed) -> tuple[float, ...]:
        each = domain.distances(condition)
        return (True, -max(each), -sum(each)) if found.suspicious else (False,)

    return _climb(domain, weigh, start, budget, (0.0, 0.5, 0.9), _nearer, nearness)


def _climb(  # noqa: PLR0917
    domain: Domain,
    weigh: Weigh,
    start: Condition,
    budget: int,
    steps: Iterable[float],
    around: Callable[[Domain, Condition, float], Iterable[Condition]],
    rank: Callable[[Condition, Weighed], Any],
) -> Condition:
    """From a condition to the best of those around it, as long as one is better; then with the next step."""
    best, seen, left = start, {key_of(start)}, budget - 1
    reached = rank(start, weigh([start])[0])
    for step in steps:
        while left > 0:
            near = {key_of(one): one for one in around(domain, best, step)}
            fresh = [one for key, one in near.items() if key not in seen and not domain.refusal(one)][:left]
            seen.update(map(key_of, fresh))
            left -= len(fresh)
            ranked = [rank(one, found) for one, found in zip(fresh, weigh(fresh), strict=True)] if fresh else []
            if not ranked or max(ranked) <= reached:
                break
            reached = max(ranked)
            best = fresh[ranked.index(reached)]
    return best


def _beside(domain: Domain, condition: Condition, step: float) -> Iterable[Condition]:
    for one in domain.variables:
        place = one.place(condition[one.name])
        values = one.choices or (one.at(place - step), one.at(place + step))
        yield from ({**condition, one.name: value} for value in values)


def _nearer(domain: Domain, condition: Condition, step: float) -> Iterable[Condition]:
    moved = {one.name: one.towards(condition[one.name], step) for one in domain.variables}
    return [moved, *({**condition, name: value} for name, value in moved.items())]


def _cma(domain: Domain, weigh: Weigh, budget: int, seed: int) -> None:
    """CMA-ES (Hansen 2016) on the unit cube, begun at the case, and again elsewhere where it has come to rest."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that its plots need matplotlib
            import cma
    except ImportError:
        raise missing_module("cma") from None
    draw, start, left, rounds = np.random.default_rng(seed), list(domain.points([domain.case])[0]), budget, budget
    while left > 0 and rounds > 0:
        options = {"seed": int(draw.integers(1, 2**31)), "bounds": [0, 1], "verbose": -9, "verb_log": 0}
        strategy = cma.CMAEvolutionStrategy([*start, 0.5][: max(len(start), 2)], 0.3, options)  # it knows no single one
        while left > 0 and rounds > 0 and not strategy.stop():
            points = strategy.ask()
            tried = [(place, domain.at(point)) for place, point in enumerate(points)]
            allowed = [(place, one) for place, one in tried if not domain.refusal(one)][:left]
            scores = dict.fromkeys(range(len(points)), _FAR)
            for (place, _), found in zip(allowed, weigh([one for _, one in allowed]), strict=True):
                scores[place] = -max(found.score, 1 - _FAR)
            strategy.tell(points, list(scores.values()))
            left, rounds = left - len(allowed), rounds - 1
        start = list(draw.random(len(start)))


def _hypothesis(domain: Domain, weigh: Weigh, budget: int, seed: int) -> None:
    """Random conditions drawn towards worse ones, and the first that fails shrunk towards the case."""
    try:
        from hypothesis import HealthCheck, Phase, find, settings, target
        from hypothesis import strategies as st
        from hypothesis.errors import NoSuchExample
    except ModuleNotFoundError:
        raise missing_module("hypothesis") from None
    known: dict[Any, Weighed] = {}

    def fails(condition: Condition) -> bool:
        key = key_of(condition)
        if key not in known and (len(known) >= budget or domain.refusal(condition)):
            return False
        found = known.get(key) or known.setdefault(key, weigh([condition])[0])
        target(float(np.clip(found.score, -_FAR, _FAR)))
        return found.suspicious

    drawn = st.fixed_dictionaries({one.name: _values(one, st) for one in domain.variables})
    phases, checks = (Phase.generate, Phase.target, Phase.shrink), [HealthCheck.filter_too_much, HealthCheck.too_slow]
    how = settings(max_examples=4 * budget, database=None, deadline=None, suppress_health_check=checks, phases=phases)
    try:
        find(drawn, fails, settings=how, random=Random(seed))
    except NoSuchExample:
        return


def _values(variable: Variable, st: Any) -> Any:
    """Values that hypothesis shrinks towards the case's."""
    case, low, high = variable.case, variable.low, variable.high
    if variable.choices:
        return st.sampled_from([case, *(one for one in variable.choices if one != case)])
    if variable.whole:
        return st.integers(int(low - case), int(high - case)).map(lambda step: int(case + step))
    return st.integers(-_STEPS, _STEPS).map(lambda at: variable.towards(high if at > 0 else low, abs(at) / _STEPS))
