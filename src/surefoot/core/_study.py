"""A Study: a grid of Steps, the claims it tests, and its figures."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Literal

from surefoot.core._errors import SurefootError
from surefoot.core._measurement import COLUMNS, Measurement
from surefoot.core._step import Step
from surefoot.core._store import Store

Status = Literal["supported", "contradicted", "undecided"]
Unit = Literal["number", "points", "share"]
"""How an effect is read: a number, a difference of fractions in percentage points, or a fraction in percent."""


@dataclass(frozen=True, kw_only=True)
class Observation:
    """One Measurement and the Step that made it: what is known of the model is read off the Step."""

    step: Step
    measurement: Measurement

    @property
    def value(self) -> float:
        """The measured number."""
        return self.measurement.value


@dataclass(frozen=True)
class Results:
    """The Measurements of a study's Steps, as claims and figures read them."""

    store: Store
    steps: tuple[Step, ...]

    @cached_property
    def observations(self) -> tuple[Observation, ...]:
        """Every Measurement of every Step that is in the store, in the order of the Steps."""
        made = self.store.made()
        return tuple(
            Observation(step=step, measurement=measurement)
            for step in self.steps
            if step.key in made
            for measurement in self.store.measurements(step)
        )

    def select(self, kind: type[Step] | None = None, **conditions: Any) -> list[Observation]:
        """The observations of one kind of Step whose Measurement has these values.

        A condition names a column of Measurement; a tuple means any of its values. Raises for an unknown column.
        """
        unknown = [name for name in conditions if name not in COLUMNS]
        if unknown:
            raise SurefootError(f"Measurements have no column '{unknown[0]}'. They have: {', '.join(COLUMNS)}.")
        wanted = {name: value if isinstance(value, tuple) else (value,) for name, value in conditions.items()}
        return [
            item
            for item in self.observations
            if (kind is None or isinstance(item.step, kind))
            and all(getattr(item.measurement, name) in values for name, values in wanted.items())
        ]

    def one(self, kind: type[Step] | None = None, **conditions: Any) -> Observation:
        """The only observation that fits. Raises when there is none, or more than one."""
        found = self.select(kind, **conditions)
        if len(found) != 1:
            raise SurefootError(f"Expected one measurement with {conditions}, found {len(found)}.")
        return found[0]


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What the measurements say of a claim: the effect, its 95 percent interval, and the n behind it.

    `bound` is what the effect was compared with. Points and shares are kept as fractions.
    """

    status: Status
    effect: float | None = None
    low: float | None = None
    high: float | None = None
    n: int = 0
    detail: str = ""
    bound: float = 0.0
    unit: Unit = "number"


@dataclass(frozen=True, kw_only=True)
class Claim:
    """A sentence of a paper (or of the user) as a check over measurements.

    `check` takes the Results and returns a Verdict; `source` says who made the claim (a paper's number and section).
    """

    name: str
    sentence: str
    check: Callable[[Results], Verdict]
    source: str = ""


@dataclass(frozen=True, kw_only=True)
class Figure:
    """A figure that is data first: `rows` is its table, and `vega_lite` draws it (the data are put in by `spec`).

    With `vega_lite` None it is a contact sheet: each row has `image` (a data URI), `label` and `section`.
    """

    name: str
    title: str
    caption: str
    rows: tuple[Mapping[str, Any], ...]
    vega_lite: Mapping[str, Any] | None = None

    def table(self) -> list[dict[str, Any]]:
        """The rows that the figure shows."""
        return [dict(row) for row in self.rows]

    def spec(self) -> dict[str, Any]:
        """The complete Vega-Lite specification, data included. Raises for a contact sheet, which has none."""
        if self.vega_lite is None:
            raise SurefootError(f"Figure '{self.name}' is a contact sheet: it has a table and no specification.")
        return {**self.vega_lite, "data": {"values": self.table()}}


@dataclass(frozen=True, kw_only=True)
class Study:
    """A named set of Steps with the claims they test and the figures that show them. `steps` are the outermost."""

    name: str
    title: str
    summary: str
    steps: tuple[Step, ...]
    claims: tuple[Claim, ...] = ()
    figures: tuple[Callable[[Results], Figure], ...] = ()
    credits: tuple[str, ...] = field(default=())
    """Source and licence of what the report shows (pictures, data)."""


def verdict_above(
    effect: float,
    low: float,
    high: float,
    n: int,
    *,
    bound: float = 0.0,
    detail: str = "",
    unit: Unit = "number",
) -> Verdict:
    """The verdict on 'the effect is above `bound`' by its interval: all above, all below, or undecided."""
    status: Status = "supported" if low > bound else "contradicted" if high < bound else "undecided"
    return Verdict(status=status, effect=effect, low=low, high=high, n=n, detail=detail, bound=bound, unit=unit)


def verdict_below(
    effect: float,
    low: float,
    high: float,
    n: int,
    *,
    bound: float = 0.0,
    detail: str = "",
    unit: Unit = "number",
) -> Verdict:
    """The verdict on 'the effect is below `bound`' by its interval."""
    other: dict[Status, Status] = {"supported": "contradicted", "contradicted": "supported", "undecided": "undecided"}
    above = verdict_above(effect, low, high, n, bound=bound, detail=detail, unit=unit)
    return replace(above, status=other[above.status])


def decide(claims: Iterable[Claim], results: Results) -> list[tuple[Claim, Verdict]]:
    """Each claim with its verdict; a claim whose measurements are not all there is undecided, with the reason."""
    return [(claim, _verdict(claim, results)) for claim in claims]


def _verdict(claim: Claim, results: Results) -> Verdict:
    try:
        return claim.check(results)
    except SurefootError as error:
        return Verdict(status="undecided", detail=str(error))
