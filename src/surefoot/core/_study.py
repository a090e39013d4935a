"""A Study: a grid of Steps, the claims it tests, and its figures."""

import hashlib
import json
import math
import traceback
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, time
from decimal import Decimal
from difflib import get_close_matches
from fractions import Fraction
from functools import cached_property
from importlib import import_module
from numbers import Real
from pathlib import Path, PurePath
from typing import Any, Literal, get_args

from surefoot.core._errors import SurefootError
from surefoot.core._files import make_directory, store_is_writable, write_text
from surefoot.core._measurement import COLUMNS, Measurement
from surefoot.core._step import Step, walk
from surefoot.core._store import Store

_STUDIES = ".studies"
_NAMED = 8

Status = Literal["supported", "contradicted", "undecided", "imprecise", "unmeasured", "broken"]
"""By the interval: supported, contradicted or undecided; `imprecise` is undecided with an interval wider than the claim
needs. Without one: `unmeasured` for want of measurements, `broken` for a check that raises or asks for what no Step
measures."""
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


@dataclass
class _Asked:
    """What one claim asked of the Results: whether it was given anything, and names that nothing answers to."""

    times: int = 0
    answered: bool = False
    unknown: str = ""
    misspelt: bool = False
    mistaken: bool = False

    def note(self, offered: list[Observation], wanted: Mapping[str, tuple[Any, ...]], answered: bool) -> None:
        self.times, self.answered = self.times + 1, self.answered or answered
        for name, values in wanted.items() if offered and not answered else ():
            known = {getattr(item.measurement, name) for item in offered}
            near = get_close_matches(str(values[0] if values else ""), map(str, known), n=1, cutoff=0.75)
            if not known.intersection(values) and (near or name == "metric"):
                asked = ", ".join(map(repr, values))
                there = sorted(map(str, known))
                listed = ", ".join(there[:_NAMED]) + (" ..." if len(there) > _NAMED else "")
                hint = f"did you mean '{near[0]}'" if near else f"there are: {listed}"
                self.unknown = self.unknown or f"no Step measures the {name} {asked} ({hint})"
                self.misspelt = self.misspelt or bool(near)


@dataclass(frozen=True)
class Results:
    """The Measurements of a study's Steps, as claims and figures read them."""

    store: Store
    steps: tuple[Step, ...]
    _asked: _Asked = field(default_factory=_Asked, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "steps", tuple(self.steps))

    @cached_property
    def missing(self) -> tuple[Step, ...]:
        """The Steps that are not in the store."""
        held = self.store.held(self.steps)
        return tuple(step for step in self.steps if step.key not in held)

    @cached_property
    def observations(self) -> tuple[Observation, ...]:
        """Every Measurement of every Step that is in the store, in the order of the Steps."""
        missing = {step.key for step in self.missing}
        return tuple(
            Observation(step=step, measurement=measurement)
            for step in self.steps
            if step.key not in missing
            for measurement in self.store.measurements(step)
        )

    def select(self, kind: type[Step] | None = None, **conditions: Any) -> list[Observation]:
        """The observations of one kind of Step whose Measurement has these values.

        A condition names a column of Measurement; a tuple means any of its values. Raises for an unknown column.
        """
        if unknown := [name for name in conditions if name not in COLUMNS]:
            self._asked.mistaken = True
            own = any(unknown[0] in vars(step) for step in self.steps)
            hint = f" It is a field of the Step: read it as 'observation.step.{unknown[0]}'." if own else ""
            raise SurefootError(f"Measurements have no column '{unknown[0]}'. They have: {', '.join(COLUMNS)}.{hint}")
        wanted = {name: value if isinstance(value, tuple) else (value,) for name, value in conditions.items()}
        of_kind = [item for item in self.observations if kind is None or isinstance(item.step, kind)]
        fitting = [
            item
            for item in of_kind
            if all(getattr(item.measurement, name) in values for name, values in wanted.items())
        ]
        self._asked.note(of_kind, wanted, bool(fitting))
        return fitting

    def one(self, kind: type[Step] | None = None, **conditions: Any) -> Observation:
        """The only observation that fits. Raises when there is none, or more than one."""
        fitting = self.select(kind, **conditions)
        if len(fitting) != 1:
            self._asked.mistaken = not fitting and not self.missing and bool(self._asked.unknown)
            raise SurefootError(f"Expected one measurement with {conditions}, found {len(fitting)}.")
        return fitting[0]


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
    `needed_width` is the widest 95 percent interval (high - low, points and shares as fractions) that an undecided
    effect may have before nothing can be built on it: wider, the verdict is `imprecise`. `effect` says what the number
    is ("exponent", "fall of accuracy") and `counted` what its n counts ("seeds", "models"): both are shown beside them.
    """

    name: str
    sentence: str
    check: Callable[[Results], Verdict]
    source: str = ""
    needed_width: float | None = None
    effect: str = ""
    counted: str = ""


@dataclass(frozen=True, kw_only=True)
class Figure:
    """A figure that is data first: `rows` is its table, and `vega_lite` draws it (the data are put in by `spec`).

    Numbers of numpy, dates and paths in it become what JSON holds.

    With `vega_lite` None it is a contact sheet: each row has `image` (a data URI), `label` and `section`.
    """

    name: str
    title: str
    caption: str
    rows: tuple[Mapping[str, Any], ...]
    vega_lite: Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        _as_tuples(self, "rows")
        rows = tuple({str(name): _plain(value) for name, value in row.items()} for row in self.rows)
        object.__setattr__(self, "rows", rows)

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

    notice: str = ""
    """What is said before anything is made: what to expect of it."""

    def __post_init__(self) -> None:
        _as_tuples(self, "steps", "claims", "figures", "credits")


def _plain(value: Any) -> Any:
    """A cell as JSON holds it: built-in numbers for numpy's, a text for a date or a path."""
    plain = value.tolist() if hasattr(value, "tolist") else value
    if isinstance(plain, Decimal | Fraction):
        return float(plain)
    if isinstance(plain, date | time):
        return plain.isoformat()
    return str(plain) if isinstance(plain, PurePath) else plain


def _as_tuples(item: Any, *names: str) -> None:
    """What may be gone through once alone (a generator) is kept, so that whoever comes second finds it, too."""
    for name in names:
        value = getattr(item, name)
        if isinstance(value, str | Mapping) or not isinstance(value, Iterable):
            kind = type(item).__name__
            raise SurefootError(f"{kind} '{item.name}': its {name} must be a tuple, got {value!r:.80}.")
        object.__setattr__(item, name, tuple(value))


@dataclass(frozen=True)
class Recorded:
    """A study as it was once run on a store: its name, its options as given, and the keys of all its Steps."""

    study: str
    options: tuple[str, ...]
    keys: frozenset[str]


def remember(study: Study, options: Sequence[str], store: Store) -> None:
    """Note in a store which study, with which options, its artifacts are made for; `clean` asks for it."""
    keys = sorted(step.key for step in walk(study.steps))
    text = json.dumps({"study": study.name, "options": sorted(options), "steps": keys})
    path = store.root / _STUDIES / f"{hashlib.sha256(text.encode()).hexdigest()[:20]}.json"
    if not path.exists():
        with store_is_writable(store.root):
            make_directory(path.parent)
            write_text(path, text)


def recorded(store: Store) -> list[Recorded]:
    """The studies that were run on a store, by whatever options. Raises for a record that is damaged."""
    runs = []
    for path in sorted((store.root / _STUDIES).glob("*.json")):
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            runs.append(Recorded(str(content["study"]), tuple(content["options"]), frozenset(content["steps"])))
        except (ValueError, TypeError, KeyError, OSError) as error:
            raise SurefootError(
                f"{path} is damaged ({error!r:.100}): delete it, and run its study again to keep what that made."
            ) from error
    return runs


def verdict_above(
    effect: float, low: float, high: float, n: int, *, bound: float = 0.0, detail: str = "", unit: Unit = "number"
) -> Verdict:
    """The verdict on 'the effect is above `bound`' by its interval: all above, all below, or undecided.

    `n` counts what the effect rests on; of nothing (0) there is none.
    """
    if n < 1:
        return Verdict(status="undecided", detail=detail or "The effect rests on n = 0.")
    status: Status = "supported" if low > bound else "contradicted" if high < bound else "undecided"
    return Verdict(status=status, effect=effect, low=low, high=high, n=n, detail=detail, bound=bound, unit=unit)


def verdict_below(
    effect: float, low: float, high: float, n: int, *, bound: float = 0.0, detail: str = "", unit: Unit = "number"
) -> Verdict:
    """The verdict on 'the effect is below `bound`' by its interval."""
    other: dict[Status, Status] = {"supported": "contradicted", "contradicted": "supported", "undecided": "undecided"}
    above = verdict_above(effect, low, high, n, bound=bound, detail=detail, unit=unit)
    return replace(above, status=other[above.status])


def decide(claims: Iterable[Claim], results: Results) -> list[tuple[Claim, Verdict]]:
    """Each claim with its verdict. A check that raises takes no other with it: `unmeasured` or `broken`, and why."""
    return [(claim, _verdict(claim, results)) for claim in claims]


def _verdict(claim: Claim, results: Results) -> Verdict:
    asked = results._asked
    asked.__init__()
    try:
        verdict = claim.check(results)
    except SurefootError as error:
        return _unjudged(results, asked, str(error))
    except (Exception, SystemExit) as error:
        return Verdict(status="broken", detail=f"{what_failed(error)}{_incomplete(results)}")
    if not isinstance(verdict, Verdict):
        return Verdict(status="broken", detail=f"Its check returned {type(verdict).__name__}, not a Verdict.")
    if wrong := _what_is_wrong(verdict):
        return Verdict(status="broken", detail=wrong)
    if asked.times and not asked.answered:
        asked.misspelt = bool(asked.unknown)  # a check that does not mind is none
        return _unjudged(results, asked, verdict.detail or "It found no measurement.")
    if verdict.status == "undecided" and verdict.effect is None:
        return _unjudged(results, asked, verdict.detail or "It found no measurement.")
    if verdict.status in ("supported", "contradicted") and verdict.n < 1:
        return Verdict(status="broken", detail=f"It is {verdict.status}, and rests on n = {verdict.n}.")
    return _precise_enough(verdict, claim.needed_width)


def _what_is_wrong(verdict: Verdict) -> str:
    """Why a verdict of a user's own making says nothing; a gate must not be green on it."""
    if verdict.status not in get_args(Status):
        return f"Its status is {verdict.status!r:.40}: one of {', '.join(get_args(Status))} is."
    if verdict.unit not in get_args(Unit):
        return f"Its unit is {verdict.unit!r:.40}: one of {', '.join(get_args(Unit))} is."
    numbers = [one for one in (verdict.effect, verdict.low, verdict.high, verdict.bound, verdict.n) if one is not None]
    if wrong := [one for one in numbers if not isinstance(one, Real) or math.isnan(one)]:
        return f"Its effect, interval, bound or n is not a number: {wrong[0]!r:.40}."
    if verdict.effect is not None and math.isinf(verdict.effect):
        return "Its effect is infinite."
    if verdict.low is None or verdict.high is None or verdict.low < verdict.high:
        return ""
    if verdict.low > verdict.high:
        return "Its interval has a low end above the high one."
    wrong = verdict.n > 1 and verdict.status in ("supported", "contradicted")
    return f"Its interval has no width: {verdict.n} equal numbers do not say how they vary." if wrong else ""


def _unjudged(results: Results, asked: _Asked, reason: str) -> Verdict:
    """For want of measurements: in the store, or in a design that is too small. Broken where the check is at fault."""
    broken = asked.mistaken or (asked.misspelt and not results.missing)
    more = f" In its check: {asked.unknown}." if asked.unknown and not results.missing else ""
    return Verdict(status="broken" if broken else "unmeasured", detail=f"{reason}{more}{_incomplete(results)}")


def _incomplete(results: Results) -> str:
    missing = len(results.missing)
    return f" {missing} of {len(results.steps)} Steps are not in the store." if missing else ""


def _precise_enough(verdict: Verdict, needed: float | None) -> Verdict:
    if needed is None or verdict.status != "undecided":
        return verdict
    bounded = verdict.low is not None and verdict.high is not None
    width = verdict.high - verdict.low if bounded else math.inf  # type: ignore[operator]
    if width <= needed:
        return verdict
    factor, name = {"number": (1, ""), "points": (100, " points"), "share": (100, " percent")}[verdict.unit]
    how_wide = f"is {factor * width:.3g}{name} wide" if bounded else "is missing"
    detail = f"{verdict.detail} The interval {how_wide}; the claim needs {factor * needed:.3g}{name} or less.".strip()
    return replace(verdict, status="imprecise", detail=detail)


def what_failed(error: BaseException) -> str:
    """The error and the line of the user's code that it came from: 'NameError: ... (study.py, line 12).'"""
    frames = traceback.extract_tb(error.__traceback__)
    ours = {Path(one).parent for one in (import_module.__code__.co_filename, *(frame.filename for frame in frames[:1]))}
    theirs = [one for one in frames if Path(one.filename).parent not in ours and not one.filename.startswith("<frozen")]
    last = [frame for frame in theirs if frame.filename == theirs[0].filename]
    where = f" ({Path(last[-1].filename).name}, line {last[-1].lineno})" if last else ""
    return f"{type(error).__name__}: {error}".rstrip(".: ") + f"{where}."
