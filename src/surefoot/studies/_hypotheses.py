"""Claims of a study as hypotheses about one number each, whose verdicts hold together (Holm)."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import partial, wraps
from math import inf, isnan
from typing import Concatenate, ParamSpec, TypeVar

import numpy as np

from surefoot.core import Claim, Results, SurefootError, Unit, Verdict, verdict_above, verdict_below
from surefoot.stats import Interval, error_of_bounds, holm, smallest_seen, t_p_value, t_quantile


@dataclass(frozen=True, kw_only=True)
class Pooled:
    """A mean over `n` values of `rows` examples, its standard error (None: not known) and degrees of freedom.

    `bounds` are those of what was measured, where they hold more than the error does; `folds` of a table were tested
    (0: not said). `doubt` says why no verdict is built on it, whatever its interval.
    """

    value: float
    stderr: float | None
    n: int
    rows: int = 0
    freedom: float = inf
    bounds: tuple[float, float] | None = None
    folds: int = 0
    doubt: str = ""

    @property
    def low(self) -> float | None:
        """The lower end of the 95 percent interval."""
        return self.bounds[0] if self.bounds else self._end(-1)

    @property
    def high(self) -> float | None:
        """The upper end of the 95 percent interval."""
        return self.bounds[1] if self.bounds else self._end(1)

    def _end(self, side: int) -> float | None:
        if self.stderr is None or self.freedom < 1:
            return None
        return self.value + side * t_quantile(0.95, self.freedom) * self.stderr


def pooled(mean: Interval, n: int) -> Pooled:
    """A mean over `n` values with its interval, and the degrees of freedom of these alone: few rather than many.

    Raises `SurefootError` where several are equal.
    """
    if n > 1 and isnan(mean.low):
        raise SurefootError(f"All {n} gave {mean.estimate:.4g}: equal values give no interval.")
    error = error_of_bounds(mean.low, mean.high, level=mean.level, freedom=max(n - 1, 1))
    return Pooled(value=mean.estimate, stderr=error, n=n, freedom=n - 1)


Rest = ParamSpec("Rest")
Value = TypeVar("Value")


def read_once(read: Callable[Concatenate[Results, Rest], Value]) -> Callable[Concatenate[Results, Rest], Value]:
    """What a function makes of Results (and more that can be hashed), kept with them for the next claim or figure."""

    @wraps(read)
    def kept(results: Results, *rest: Rest.args, **named: Rest.kwargs) -> Value:
        known = vars(results).setdefault("_read_once", {})
        if (key := (read, rest)) not in known:
            known[key] = read(results, *rest, **named)
        return known[key]

    return kept


@dataclass(frozen=True, kw_only=True)
class Hypothesis:
    """A claim as a number: its `effect`, with what is said of it, is above (or `below`) the bound.

    With `within` it lies between -bound and bound: no difference that matters. The interval is Student's with the error
    of the effect; with `as_measured` it has the effect's own bounds.
    """

    name: str
    sentence: str
    source: str
    effect: Callable[[Results], tuple[Pooled, str]]
    bound: float = 0.0
    below: bool = False
    within: bool = False
    as_measured: bool = False
    unit: Unit = "points"
    needed_width: float | None = None
    counted: str = ""
    shown: str = ""


def claims_of(hypotheses: Iterable[Hypothesis]) -> tuple[Claim, ...]:
    """Claims whose verdicts hold together: each needs p below .05 after Holm's correction over all of them."""
    family = tuple(hypotheses)
    return tuple(
        Claim(
            name=each.name,
            sentence=each.sentence,
            source=each.source,
            check=partial(_decided, family, place),
            needed_width=each.needed_width,
            effect=each.shown,
            counted=each.counted,
        )
        for place, each in enumerate(family)
    )


def _decided(family: tuple[Hypothesis, ...], place: int, results: Results) -> Verdict:
    """The verdict of the interval alone, undecided where it does not hold among all that are tested."""
    tested = family[place]
    found, said = tested.effect(results)
    found = found if tested.as_measured else replace(found, bounds=None)
    if found.freedom < 1:
        said = f"{said}; one split does not say what another would give: ask for more"
        numbers = {"effect": found.value, "n": found.n, "bound": tested.bound, "unit": tested.unit}
        return Verdict(status="undecided", detail=said, **numbers)
    p_values = _p_values(results, family)
    p, adjusted = p_values[place], holm(p_values)[place]
    counted = int(np.isfinite(p_values).sum())
    verdict = _judged(tested, found, f"{said}; p {p:.2g}, among {counted} claims {adjusted:.2g} (Holm)")
    if found.doubt:
        return replace(verdict, status="undecided", detail=f"{found.doubt} {verdict.detail}")
    if adjusted < 0.05 and verdict.status != "undecided":
        return verdict
    return replace(verdict, status="undecided", detail=verdict.detail + _would_be_seen(found, tested.unit))


def _would_be_seen(found: Pooled, unit: Unit) -> str:
    """What the numbers at hand could have told from the bound, by a test of this claim alone."""
    seen = smallest_seen(found.stderr or 0.0, found.freedom)
    size = f"{seen:.2g}" if unit == "number" else f"{100 * seen:.1f} points"
    return "" if isnan(seen) else f"; {size} from the bound would be seen nine times in ten"


def _judged(tested: Hypothesis, found: Pooled, detail: str) -> Verdict:
    if found.low is None or found.high is None:
        raise SurefootError("This mean has no interval.")
    # The effect must be above its bound or below it: of a band the nearer end decides.
    decide = verdict_below if tested.below or (tested.within and found.value >= 0) else verdict_above
    interval, bound = (found.value, found.low, found.high, found.n), _bound(tested, found)
    verdict = decide(*interval, bound=bound, detail=detail, unit=tested.unit)
    beyond = tested.within and max(-found.low, found.high) >= tested.bound
    return replace(verdict, status="undecided") if beyond and verdict.status == "supported" else verdict


def _bound(tested: Hypothesis, found: Pooled) -> float:
    return -tested.bound if tested.within and found.value < 0 else tested.bound


@read_once
def _p_values(results: Results, family: tuple[Hypothesis, ...]) -> tuple[float, ...]:
    """Two-sided p of each hypothesis against its bound; NaN where it has no effect yet."""

    def p_of(tested: Hypothesis) -> float:
        try:
            found, _ = tested.effect(results)
        except SurefootError:
            return float("nan")
        error = float("nan") if found.stderr is None else found.stderr
        return t_p_value(found.value - _bound(tested, found), error, found.freedom)

    return tuple(p_of(each) for each in family)
