"""Validity claims: what a system under test must do, judged query by query and assess over many."""

import math
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import pairwise
from typing import Any, Literal, NamedTuple, get_args

import numpy as np

from surefoot.core import SurefootError
from surefoot.scrutiny._domain import Condition
from surefoot.scrutiny._statistics import (
    cllr_costs,
    decided,
    elub,
    mean_cost,
    mean_ratio,
    mean_ratio_p,
    rate_after_looks,
    sequential_p,
    tail_p,
)
from surefoot.scrutiny._systems._kinds import Reply, Values
from surefoot.stats import Interval, clopper_pearson

Effect = Literal["rate", "mean ratio", "calibration", "gap"]
Change = Callable[[Mapping[str, Any], int], Values]
Bounds = Callable[[float], Interval]
_FAR = 1e9  # stands for an infinite margin, which no search can follow
_LARGEST = 300.0  # log10 of a ratio; the mean of larger ones is beyond all floats
SUSPICION = 0.05  # the p of a condition that is asked again, with fresh seeds
_TAILS = np.geomspace(1e-6, 1.0, 61)


@dataclass(frozen=True, kw_only=True)
class Trial:
    """A case that was made, and the replies: the system's, and to a claim that asks twice the `second`, by its name."""

    condition: Condition
    evidence: Mapping[str, Any]
    truth: Mapping[str, Any]
    reply: Reply
    second: Mapping[str, Reply] = field(default_factory=dict)


class Judged(NamedTuple):
    """What a claim says of one query: the margin by which it fails (above 0: it does), its number, and its group."""

    margin: float
    number: float = math.nan
    group: str = ""


@dataclass(frozen=True, kw_only=True)
class ValidityClaim:
    """A sentence about a system: `judge` says of one query what margin it fails by, or None where it has no say.

    The `effect` is at most `bound`: of a "rate" the share of queries that fail, of a "mean ratio" the mean of 10 to the
    judged number, of "calibration" Cllr, of a "gap" the largest difference of failure rates between groups. With
    `change` a second query is asked about changed evidence (evidence and seed to evidence), of the `other` version if
    so said. `ratio`: it speaks of likelihood ratios. `always`: it judges queries without an answer too. `truth` and
    `variable` name what it reads of the truth, true or false there, and of the condition, which is cut at `edges`.
    """

    name: str
    sentence: str
    judge: Callable[[Trial], Judged | None]
    effect: Effect = "rate"
    bound: float = 0.0
    ratio: bool = False
    change: Change | None = None
    other: bool = False
    always: bool = False
    truth: str = ""
    variable: str = ""
    edges: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if self.effect not in get_args(Effect):
            raise SurefootError(f"There is no effect '{self.effect}'. There are: {', '.join(get_args(Effect))}.")
        share = self.effect in ("rate", "gap")
        if not (0 <= self.bound < 1 if share else 0 < self.bound < math.inf):
            must = "at least 0 and below 1" if share else "a number above 0"
            raise SurefootError(f"The {self.effect} of '{self.name}' is at most {self.bound:g}: it must be {must}.")

    @property
    def searched(self) -> bool:
        """Whether single conditions can be told apart by it."""
        return self.effect in ("rate", "mean ratio")


@dataclass(frozen=True, kw_only=True)
class Tested:
    """A claim over queries: the effect with its interval, p against the claim, how many were judged and failed."""

    effect: Interval
    p: float
    n: int
    failed: int
    detail: Mapping[str, Any] = field(default_factory=dict)


def judge(claim: ValidityClaim, trial: Trial) -> Judged | None:
    """What a claim says of one query; None where it has no say.

    Raises what its own check raises, and `SurefootError` where it has a say and there is no answer, or no number.
    """
    asked = (trial.reply, trial.second.get(claim.name, trial.reply)) if claim.change else (trial.reply,)
    silent = [one.status for one in asked if one.status != "answered"]
    if silent and not claim.always:
        with suppress(Exception):
            if claim.judge(trial) is None:  # it did not ask for the answer: of a donor, say
                return None
        raise SurefootError(f"There is no answer: {silent[0]}.")
    if (found := claim.judge(trial)) and math.isnan(found.margin):
        raise SurefootError(f"What '{claim.name}' makes of the answer is not a number.")
    return found and Judged(float(np.clip(found.margin, -_FAR, _FAR)), found.number, found.group)


def assess(
    claim: ValidityClaim,
    judged: Sequence[Judged],
    *,
    level: float = 0.95,
    looks: Sequence[int] = (),
    alpha: float = 0.05,
) -> Tested:
    """A claim over queries in the order they were asked.

    With `looks`, numbers of queries that were judged, one stopped at the last of them, and `is_decided` at none before.
    """
    failed = [one.margin > 0 for one in judged]
    k, n = sum(failed), len(failed)
    nothing = Tested(effect=Interval(math.nan, 0.0, math.inf, level=level), p=1.0, n=n, failed=k)
    if claim.effect == "rate":
        if not n:
            return replace(nothing, effect=Interval(math.nan, 0.0, 1.0, level=level))
        if not looks:
            return Tested(effect=clopper_pearson(k, n, level=level), p=tail_p(k, n, claim.bound), n=n, failed=k)
        effect = rate_after_looks(k, looks, partial(decided, rate=claim.bound, alpha=alpha), level=level)
        return Tested(effect=effect, p=sequential_p(failed, claim.bound), n=n, failed=k)
    if claim.effect == "mean ratio":
        ratios, endless = _ratios(judged), any(one.number > _LARGEST for one in judged)
        effect = mean_ratio(ratios, level=level) if n else nothing.effect
        effect = Interval(math.inf, math.inf, math.inf, level=level) if endless else effect
        return Tested(effect=effect, p=mean_ratio_p(ratios, claim.bound), n=n, failed=k)
    groups = {name: [one for one in judged if one.group == name] for name in sorted({one.group for one in judged})}
    if looks or len(groups) < 2 or (claim.effect == "calibration" and min(map(len, groups.values())) < 2):
        return nothing
    bounds, detail = (_cllr if claim.effect == "calibration" else _gap)(groups)
    effect = bounds(level)
    first = bisect_left(_TAILS[:-1], True, key=lambda tail: bounds(1 - tail).low > claim.bound)
    return Tested(effect=effect, p=float(_TAILS[first]), n=n, failed=k, detail=detail)


def is_decided(claim: ValidityClaim, judged: Sequence[Judged], alpha: float) -> bool:
    """Whether a test that is looked at often may stop: its p is at most `alpha`, or its rate within bounds."""
    if claim.effect == "mean ratio":
        return mean_ratio_p(_ratios(judged), claim.bound) <= alpha
    return bool(decided(sum(one.margin > 0 for one in judged), len(judged), claim.bound, alpha=alpha))


def suspicious(claim: ValidityClaim, judged: Sequence[Judged]) -> bool:
    """Whether a few queries are reason enough to confirm with fresh seeds."""
    if claim.effect == "mean ratio":
        return bool(judged) and float(_ratios(judged).mean()) > claim.bound
    failed = sum(one.margin > 0 for one in judged)
    return claim.effect == "rate" and tail_p(failed, len(judged), claim.bound) <= SUSPICION


def _ratios(judged: Sequence[Judged]) -> np.ndarray:
    return 10.0 ** np.clip(np.array([one.number for one in judged], dtype=float), -_LARGEST, _LARGEST)


def _cllr(groups: Mapping[str, Sequence[Judged]]) -> tuple[Bounds, dict[str, Any]]:
    """Both classes count by half; each class's interval takes half of the error rate, so that both hold together.

    The cost consists of misleading ratios, of more than 1 bit: where a class has none, nothing bounds it from above.
    """
    logs = {name: np.array([one.number for one in group]) for name, group in groups.items()}
    costs = [cllr_costs(values, name == "same") for name, values in logs.items()]
    lowest, highest = elub(logs["same"], logs["different"])
    infinite = int(sum(np.isinf(one).sum() for one in costs))
    detail = {"elub low": lowest, "elub high": highest, "infinite": infinite}
    misleading = [int((one > 1).sum()) for one in costs]
    detail |= {f"misleading, {name}": f"{k} of {len(logs[name])}" for name, k in zip(logs, misleading, strict=True)}
    detail["outside"] = sum(int(((one < lowest) | (one > highest)).sum()) for one in logs.values())

    def bounds(level: float) -> Interval:
        if infinite:
            return Interval(math.inf, math.inf, math.inf, level=level)
        ends = [mean_cost(one, level=(1 + level) / 2) for one in costs]
        estimate, low, high = (sum(getattr(one, end) for one in ends) / 2 for end in ("estimate", "low", "high"))
        return Interval(estimate, low, high if all(misleading) else math.inf, level=level)

    return bounds, detail


def _gap(groups: Mapping[str, Sequence[Judged]]) -> tuple[Bounds, dict[str, Any]]:
    """The largest difference of shares, within bounds in which all groups' exact intervals hold (Bonferroni)."""
    counts = {name: (sum(one.margin > 0 for one in group), len(group)) for name, group in groups.items()}

    def bounds(level: float) -> Interval:
        each = [clopper_pearson(k, n, level=1 - (1 - level) / len(counts)) for k, n in counts.values()]
        estimates, lows, highs = ([getattr(one, end) for one in each] for end in ("estimate", "low", "high"))
        widest = max(estimates) - min(estimates)
        return Interval(widest, max(0.0, max(lows) - min(highs)), max(highs) - min(lows), level=level)

    return bounds, {name: f"{k} of {n}" for name, (k, n) in counts.items()}


def number_of(values: Values, name: str) -> float:
    """A number by its name, which may be infinite. Raises `SurefootError` for none, and for NaN."""
    found = values.get(name)
    try:
        value = math.nan if isinstance(found, bool) else float(found)  # type: ignore[arg-type]
    except OverflowError:  # a whole number beyond all floats
        value = math.inf if found > 0 else -math.inf  # type: ignore[operator]
    except (TypeError, ValueError):
        value = math.nan
    if math.isnan(value):
        raise SurefootError(f"There is no number '{name}', it is {found!r:.60}. There are: {', '.join(values)}.")
    return value


@dataclass(frozen=True, kw_only=True)
class Ratios:
    """Where likelihood ratios are: `value` names one in the output, a logarithm to base 10 unless not `log10`.

    `truth` names what the generator says of the first proposition: true, or false for "did not contribute".
    """

    value: str
    truth: str
    log10: bool = True

    def of(self, trial: Trial) -> float:
        """log10 of the ratio; infinite for a ratio of 0 or infinity."""
        found = number_of(trial.reply.output, self.value)
        if not self.log10 and found < 0:
            raise SurefootError(f"The likelihood ratio '{self.value}' is below 0: is it a logarithm?")
        exact = trial.reply.output[self.value]
        return found if self.log10 else math.log10(exact if isinstance(exact, int) else found) if found else -math.inf


def truth_of(truth: Mapping[str, Any], name: str) -> bool:
    """What a generator says is true or false. Raises `SurefootError` for nothing, and for what is not a boolean."""
    if name not in truth:
        raise SurefootError(f"The generator's truth has no '{name}'. It has: {', '.join(truth)}.")
    if not isinstance(truth[name], (bool, np.bool_)):
        raise SurefootError(f"The generator's truth '{name}' must be True or False, and it is {truth[name]!r:.60}.")
    return bool(truth[name])


def false_inclusion(rate: float, ratios: Ratios, *, above: float = 1.0) -> ValidityClaim:
    """At most a share `rate` of non-contributors gets a ratio above `above`."""
    if not 0 < above < math.inf:
        raise SurefootError(f"A false inclusion is above a ratio of {above:g}: it must be a number above 0.")
    said = f"Where the first proposition is false, at most {100 * rate:.4g} in 100 ratios are above {above:g}."
    return _included(f"false inclusion above {above:g}", said, rate, ratios, math.log10(above))


def ratio_bounds(thresholds: Sequence[float], ratios: Ratios) -> tuple[ValidityClaim, ...]:
    """P(LR >= t) <= 1 / t for each t where the second proposition is true, and a mean ratio of at most 1 there.

    The mean of a calibrated system is 1; of one below 1 nothing is said, since a rare large ratio may be missing.
    """
    if not len(thresholds) or not all(1 < one < math.inf for one in thresholds):
        raise SurefootError(f"The thresholds of ratios must be numbers above 1, at least one: {tuple(thresholds)}.")
    said = "Where the first proposition is false, at most 1 in {0:g} ratios is {0:g} or more."
    rates = [
        _included(f"ratio of {t:g}", said.format(t), 1 / t, ratios, math.nextafter(math.log10(t), -math.inf))
        for t in thresholds
    ]
    mean = "Where the first proposition is false, the mean ratio is at most 1."
    return (*rates, _included("mean ratio", mean, 1.0, ratios, 0.0, "mean ratio"))


def _included(  # noqa: PLR0917
    name: str, said: str, bound: float, ratios: Ratios, edge: float, effect: Effect = "rate"
) -> ValidityClaim:
    def judged(trial: Trial) -> Judged | None:
        return None if truth_of(trial.truth, ratios.truth) else Judged((found := ratios.of(trial)) - edge, found)

    claim = ValidityClaim(name=name, sentence=said, judge=judged, effect=effect, bound=bound, ratio=True)
    return replace(claim, truth=ratios.truth)


def calibration(ratios: Ratios, *, bound: float = 1.0) -> ValidityClaim:
    """Cllr is at most `bound`: 0 for a perfect system, 1 for one that always answers LR = 1."""

    def judged(trial: Trial) -> Judged:
        logs, same = ratios.of(trial), truth_of(trial.truth, ratios.truth)
        return Judged(float(cllr_costs([logs], same)[0]) - bound, logs, "same" if same else "different")

    said = f"The ratios cost at most {bound:g} bits (Cllr; 1 is the cost of always answering LR = 1)."
    return replace(_included("calibration", said, bound, ratios, 0.0, "calibration"), judge=judged)


def invariant(name: str, change: Change, *, value: str, tolerance: float = 0.0) -> ValidityClaim:
    """A change that must not matter does not move the output; with a tolerance: a small change moves it little."""
    moves = f"moves by at most {tolerance:g}" if tolerance else "does not move"
    said = f"The output {value} {moves} under the change '{name}'."
    return _compared(name, said, change, value, tolerance, lambda first, second: abs(first - second))


def monotone(name: str, change: Change, *, value: str, tolerance: float = 0.0) -> ValidityClaim:
    """A change that makes the evidence stronger never lowers the output, or by no more than the tolerance."""
    falls = f"falls by at most {tolerance:g}" if tolerance else "never falls"
    said = f"The output {value} {falls} under the change '{name}'."
    return _compared(name, said, change, value, tolerance, lambda first, second: first - second)


def _compared(  # noqa: PLR0917
    name: str, said: str, change: Change, value: str, tolerance: float, moved: Callable[[float, float], float]
) -> ValidityClaim:
    _check_tolerance(name, tolerance)

    def judged(trial: Trial) -> Judged:
        first, second = (number_of(one.output, value) for one in (trial.reply, trial.second[name]))
        return Judged(-1.0 if first == second else moved(first, second) - tolerance)  # not of two infinities

    ratio = bool({"lr", "llr", "ratio"} & set(value.lower().split("_")))
    return ValidityClaim(name=name, sentence=said, judge=judged, change=change, ratio=ratio)


def _check_tolerance(name: str, tolerance: float) -> None:
    if not 0 <= tolerance < math.inf:
        raise SurefootError(f"The tolerance of '{name}' is {tolerance:g}: it must be a number of at least 0.")


def deterministic() -> ValidityClaim:
    """The same evidence with the same seed gives the same output, number by number and word by word."""
    return _same("deterministic", "The same evidence with the same seed gives the same output.", 0.0, (), other=False)


def same_in_versions(*, tolerance: float = 0.0, leave_out: Sequence[str] = ()) -> ValidityClaim:
    """Both versions of a system give the same: numbers within a tolerance, texts word by word, under the same names."""
    said = f"Both versions give the same: numbers within {tolerance:g}, texts word by word."
    return _same("same in both versions", said, tolerance, leave_out, other=True)


def _same(name: str, said: str, tolerance: float, leave_out: Sequence[str], *, other: bool) -> ValidityClaim:
    _check_tolerance(name, tolerance)

    def judged(trial: Trial) -> Judged:
        first, second = (
            {key: value for key, value in one.output.items() if key not in leave_out}
            for one in (trial.reply, trial.second[name])
        )
        return Judged(_differs(first, second) - tolerance)

    return ValidityClaim(name=name, sentence=said, judge=judged, change=lambda evidence, seed: evidence, other=other)


def _differs(first: Any, second: Any) -> float:
    """The largest difference of numbers; infinite where names, lengths, texts or kinds differ."""
    if isinstance(first, list) and isinstance(second, list):
        first, second = dict(enumerate(first)), dict(enumerate(second))
    if isinstance(first, Mapping) and isinstance(second, Mapping):
        each = [_differs(first[key], second[key]) for key in first] if first.keys() == second.keys() else [math.inf]
        return max(each, default=0.0)
    if not all(isinstance(one, (int, float)) and not isinstance(one, bool) for one in (first, second)):
        return 0.0 if type(first) is type(second) and first == second else math.inf
    try:
        return 0.0 if first == second else float(abs(first - second))
    except OverflowError:  # whole numbers beyond all floats
        return math.inf


def answers(*, leave_out: Sequence[str] = ()) -> ValidityClaim:
    """Every query is answered within its limits, and leaves nothing running.

    An output that is empty, and one of which a value is NaN, None or empty, is no answer; what may be is left out.
    """

    def judged(trial: Trial) -> Judged:
        given = {name: value for name, value in trial.reply.output.items() if name not in leave_out}
        answered = trial.reply.status == "answered" and not trial.reply.error
        return Judged(-1.0 if answered and not _says_nothing(given) else 1.0)

    said = "Every query is answered within its limits, and leaves nothing running."
    return ValidityClaim(name="answers", sentence=said, judge=judged, always=True)


def _says_nothing(value: Any) -> bool:
    if isinstance(value, (Mapping, list, tuple)):
        return not value or any(map(_says_nothing, value.values() if isinstance(value, Mapping) else value))
    return value is None or str(value) in ("", "nan")


def _with_numbers(value: Any) -> Any:
    """What a system gave, its infinities and NaN as numbers: JSON has texts for them."""
    if isinstance(value, Reply):
        return replace(value, output=_with_numbers(value.output))
    if isinstance(value, Mapping):
        return {name: _with_numbers(one) for name, one in value.items()}
    if isinstance(value, list):
        return [_with_numbers(one) for one in value]
    return float(value) if isinstance(value, str) and value in ("inf", "-inf", "nan") else value


def worst_case(name: str, score: Callable[[Trial], float | None], *, bound: float, rate: float = 0.0) -> ValidityClaim:
    """A score of a query with known truth (higher is worse) is above `bound` in at most a share `rate` of queries."""
    if not math.isfinite(bound):
        raise SurefootError(f"The score '{name}' is bounded by {bound:g}: it must be a number.")
    said = f"The score '{name}' is above {bound:g} in at most {100 * rate:.4g} of 100 queries."

    def judged(trial: Trial) -> Judged | None:
        found = score(replace(trial, reply=_with_numbers(trial.reply), second=_with_numbers(trial.second)))
        return None if found is None else Judged(found - bound)

    return ValidityClaim(name=name, sentence=said, judge=judged, bound=rate)


def subgroup_gap(of: ValidityClaim, variable: str, *, bound: float, edges: Sequence[float] = ()) -> ValidityClaim:
    """The failure rates of a claim differ by at most `bound` between the values, or ranges, of a condition.

    Of a number they are cut at `edges`: with (50, 100) below 50, from 50 to below 100, and from 100.
    """
    name, cut = f"{of.name} by {variable}", [*map("{:.8g}".format, edges)]
    if not all(first < second for first, second in pairwise([-math.inf, *edges, math.inf])):
        raise SurefootError(f"The edges of '{name}' must be numbers, each above the one before it: {tuple(edges)}.")
    ranges = [
        *(f"below {one}" for one in cut[:1]),
        *map(" to ".join, pairwise(cut)),
        *(f"from {one}" for one in cut[-1:]),
    ]

    def judged(trial: Trial) -> Judged | None:
        found = of.judge(replace(trial, second={of.name: trial.second[name]} if name in trial.second else {}))
        value = trial.condition[variable]
        return found and Judged(found.margin, group=ranges[bisect_right(edges, value)] if edges else str(value))

    said = f"Failures of '{of.name}' differ by at most {100 * bound:g} points between values of {variable}"
    said += f", cut at {', '.join(cut)}." if cut else "."
    gap = replace(of, name=name, sentence=said, judge=judged, effect="gap", bound=bound)
    return replace(gap, variable=variable, edges=tuple(edges))
