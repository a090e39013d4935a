"""The case at hand, and the conditions that may differ from it: typed, with sources, at a distance."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any, Literal

import numpy as np

from surefoot.core import SurefootError

Value = float | int | str | bool
Condition = Mapping[str, Value]
Sampling = Literal["sobol", "latin hypercube", "random"]
_MOST_TRIES = 1_000  # points drawn for each that is allowed


def _own(value: Any) -> Any:
    """Python's own number for one of numpy, of which JSON knows nothing."""
    return value.item() if isinstance(value, np.generic) else value


@dataclass(frozen=True, kw_only=True)
class Variable:
    """A condition: its value in the case, and what else it may be, from `low` to `high` or one of `choices`.

    A number is whole where `case`, `low` and `high` all are. `scale` is how much of it counts as a distance of 1 (a
    choice other than the case's is a distance of 1 / scale). `source` says on what range and scale stand: a validation
    study, literature, an expert. `assumption`: of the model, such as how drop-out is modelled, not a fact.
    """

    name: str
    case: Any
    source: str
    low: float = 0
    high: float = 0
    choices: tuple[Value, ...] = ()
    scale: float = 1.0
    assumption: bool = False

    def __post_init__(self) -> None:
        for name in ("case", "low", "high", "scale"):
            object.__setattr__(self, name, _own(getattr(self, name)))
        object.__setattr__(self, "choices", tuple(map(_own, self.choices)))
        if not (isinstance(self.name, str) and self.name.strip()):
            raise SurefootError(f"The name of a condition must be a text, and it is {self.name!r}.")
        if not self.source.strip() or not 0 < self.scale < math.inf:
            raise SurefootError(f"The condition {self.name} needs a source, and a scale above 0.")
        strange = {*map(type, self.choices)} - {str, int, float, bool, type(None)}
        if strange or min(len({*self.choices}), len({*map(str, self.choices)})) < len(self.choices):
            raise SurefootError(f"The choices of {self.name} must be texts, numbers or booleans, none twice.")
        number = isinstance(self.case, (int, float)) and math.isfinite(self.high - self.low)
        if self.case not in self.choices if self.choices else not (number and self.low <= self.case <= self.high):
            among = f"among {self.choices}" if self.choices else f"a number from {self.low} to {self.high}"
            raise SurefootError(f"The case's {self.name} must be {among}, and it is {self.case!r}.")

    @property
    def whole(self) -> bool:
        """Whether it takes whole numbers alone."""
        return not self.choices and all(isinstance(one, int) for one in (self.case, self.low, self.high))

    @property
    def values(self) -> float:
        """How many values it may take."""
        return len(self.choices) or (self.high - self.low + 1 if self.whole else math.inf)

    def at(self, place: float) -> Any:
        """The value at a place from 0 to 1 of its range."""
        place, width = min(max(float(place), 0.0), 1.0), self.high - self.low
        if self.choices:
            return self.choices[min(int(place * len(self.choices)), len(self.choices) - 1)]
        return self.low + (min(int(place * (width + 1)), width) if self.whole else place * width)

    def place(self, value: Any) -> float:
        """The place from 0 to 1 of a value: the inverse of `at`."""
        if self.choices or self.whole:
            return ((self.choices.index(value) if self.choices else value - self.low) + 0.5) / self.values
        return (value - self.low) / ((self.high - self.low) or 1)

    def holds(self, value: Any) -> bool:
        """Whether a value is in the range, but for rounding."""
        near = 1e-9 * self.scale
        return value in self.choices if self.choices else self.low - near <= value <= self.high + near

    def distance(self, value: Any) -> float:
        """How far a value is from the case's, in units of `scale`."""
        return (float(value != self.case) if self.choices else abs(value - self.case)) / self.scale

    def towards(self, value: Any, share: float) -> Any:
        """The case's value at 0, this one at 1, and between them for a number."""
        if self.choices or share in (0, 1):
            return value if share else self.case
        moved = self.case + share * (value - self.case)
        return round(moved) if self.whole else moved

    def within(self, radius: float) -> "Variable":
        """The same with the values up to that distance alone."""
        if self.choices:
            return replace(self, choices=tuple(one for one in self.choices if self.distance(one) <= radius))
        reach = int(radius * self.scale + 1e-9) if self.whole else radius * self.scale
        return replace(self, low=max(self.low, self.case - reach), high=min(self.high, self.case + reach))


@dataclass(frozen=True, kw_only=True)
class Constraint:
    """What holds of every possible condition: a name, a check, and on what it stands."""

    name: str
    holds: Callable[[Condition], bool]
    source: str


@dataclass(frozen=True, kw_only=True)
class Domain:
    """The conditions that may differ from the case, what binds them, and how plausible they are.

    `plausibility` gives 0 to 1, on what `plausibility_source` says; a condition below `least_plausible` is not tested.
    The distance of a condition from the case is the largest of its variables' distances, each in its own stated scale
    (Gower 1971 takes their mean): so all within a distance is a box that a sentence describes.
    """

    variables: tuple[Variable, ...]
    constraints: tuple[Constraint, ...] = ()
    plausibility: Callable[[Condition], float] | None = None
    plausibility_source: str = ""
    least_plausible: float = 0.0

    def __post_init__(self) -> None:
        names = [one.name for one in self.variables]
        if not names or len(set(names)) < len(names):
            raise SurefootError(f"A domain needs conditions of different names, got: {', '.join(names) or 'none'}.")
        sources = [one.source for one in self.constraints]
        if not all(map(str.strip, [*sources, self.plausibility_source] if self.plausibility else sources)):
            raise SurefootError("A constraint needs its source=..., and a plausibility its plausibility_source=...")
        if broken := self.refusal(self.case):
            raise SurefootError(f"The case itself is refused by '{broken}': mend the case or that constraint.")

    @property
    def case(self) -> dict[str, Any]:
        """The condition of the case at hand."""
        return {one.name: one.case for one in self.variables}

    def at(self, point: Sequence[float]) -> dict[str, Any]:
        """The condition at a point of the unit cube, a coordinate a variable; further coordinates are ignored."""
        return {one.name: one.at(place) for one, place in zip(self.variables, point, strict=False)}

    def points(self, conditions: Sequence[Condition]) -> np.ndarray:
        """The points of conditions, a row each: the inverse of `at`."""
        return np.array([[one.place(each[one.name]) for one in self.variables] for each in conditions])

    def holds(self, condition: Condition) -> bool:
        """Whether a condition lies in the ranges of its variables, but for rounding."""
        return len(condition) == len(self.variables) and all(
            one.name in condition and one.holds(condition[one.name]) for one in self.variables
        )

    def distances(self, condition: Condition) -> list[float]:
        """How far a condition is from the case in each variable."""
        return [one.distance(condition[one.name]) for one in self.variables]

    def distance(self, condition: Condition) -> float:
        """How far a condition is from the case."""
        return max(self.distances(condition))

    def plausible(self, condition: Condition) -> float:
        """How plausible a condition is, 0 to 1; 1 where nothing was declared."""
        return float(self.plausibility(condition)) if self.plausibility else 1.0

    def refusal(self, condition: Condition) -> str:
        """The name of what refuses a condition; '' for one that is allowed."""
        broken = next((one.name for one in self.constraints if not one.holds(condition)), "")
        return broken or ("" if self.plausible(condition) >= self.least_plausible else "plausibility")

    def within(self, radius: float) -> "Domain":
        """The part of it up to that distance from the case."""
        return replace(self, variables=tuple(one.within(radius) for one in self.variables))


def key_of(condition: Condition) -> tuple[Any, ...]:
    """A condition, to look up."""
    return tuple(sorted(condition.items()))


def sample(domain: Domain, n: int, *, method: Sampling, seed: int) -> list[dict[str, Any]]:
    """Draw `n` allowed conditions, evenly over the ranges; those refused are drawn again.

    Raises `SurefootError` where hardly any is allowed.
    """
    drawn = islice(_points(len(domain.variables), n, method, seed), (n + 1) * _MOST_TRIES)
    kept = list(islice((one for one in map(domain.at, drawn) if not domain.refusal(one)), n))
    if len(kept) < n:
        raise SurefootError(f"Of {_MOST_TRIES:,} conditions hardly one is allowed: loosen constraints, narrow ranges.")
    return kept


def _points(d: int, n: int, method: Sampling, seed: int) -> Iterator[Any]:
    from scipy.stats import qmc  # a second that no process of a system under test should take

    draw, made = np.random.default_rng(seed), {"sobol": qmc.Sobol, "latin hypercube": qmc.LatinHypercube}
    while n:
        if method == "sobol":
            yield from qmc.Sobol(d, seed=draw).random(2 ** (n - 1).bit_length())  # pyright: ignore[reportCallIssue]
        else:
            yield from (made[method](d, seed=draw).random(n) if method in made else draw.random((n, d)))
