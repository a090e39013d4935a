"""What was found: a pure function of what was planned and of the recorded queries, in the order they were asked.

A run ends with it, and whoever verifies a bundle computes it again.
"""

import json
import math
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import accumulate
from typing import Any, NamedTuple

import numpy as np

from surefoot.scrutiny._claims import Judged, Tested, ValidityClaim, assess, suspicious
from surefoot.scrutiny._domain import Condition, Domain, Variable, key_of
from surefoot.scrutiny._replay import plain
from surefoot.scrutiny._scrutiny import SAMPLES, ScrutinyPlan, tests_of
from surefoot.scrutiny._statistics import first_order
from surefoot.stats import holm

Record = dict[str, Any]
LOOK, _LEAST = 20, 40  # queries between two looks of a confirmation, and before it may stop
_PLACES = {"overall": "over the domain", "near": "near the case", "at the case": "at the case"}


class Query(NamedTuple):
    """A recorded query: where it was asked, and what each claim says of it."""

    stage: str
    condition: Condition
    judged: Mapping[str, Judged]
    unjudged: Collection[str]


def query_of(record: Mapping[str, Any]) -> Query:
    """What findings need of a record."""
    told = {name: Judged(one[0], float(one[1]), one[2]) for name, one in record["judged"].items() if one}
    return Query(record["stage"], record["condition"], told, tuple(record["unjudged"]))


def judged_by(claim: ValidityClaim, queries: Iterable[Query]) -> list[Judged]:
    """What a claim says of queries, those left out of which it says nothing."""
    return [one.judged[claim.name] for one in queries if claim.name in one.judged]


def score(judged: Sequence[Judged]) -> float:
    """How bad a condition is by its queries: their mean margin."""
    return float(np.mean([one.margin for one in judged])) if judged else -math.inf


def find(domain: Domain, claims: Sequence[ValidityClaim], plan: ScrutinyPlan, records: Iterable[Record]) -> Record:
    """Every test of every claim, what was found, Holm over all of them, the verdicts, and what came of the queries."""
    asked, held, status, errors = _Asked(plan.repeats), {}, Counter[str](), Counter[str]()
    unjudged: dict[str, Counter[str]] = {one.name: Counter() for one in claims}
    for record in records:
        asked.add(query_of(record))
        for one in replies_of(record):
            status[one["status"]] += 1
            errors[one["error"]] += 1
        held = record["held"]
        for name, why in record["unjudged"].items():
            unjudged[name][why] += 1
    drawn = [(one, domain.point(one.condition)) for name in ("overall", "near") for one in asked.stages[name]]
    tests = tests_of(claims)
    told = [_claim(one, domain, plan, tests, asked, drawn) | {"unjudged": unjudged[one.name]} for one in claims]
    correct(told, plan.alpha, tests)
    del errors[""]
    found = {"claims": told, "cases": sum(map(len, asked.stages.values())), "queries": status.total(), "held": held}
    return _finite(found | {"status": status, "errors": errors.most_common(5)})


def _finite(value: Any) -> Any:
    """What JSON has no number for is null, and why stands beside it under 'not finite'."""
    if isinstance(value, (list, tuple)):
        return [_finite(one) for one in value]
    if not isinstance(value, Mapping):
        return value
    odd = {name: one for name, one in value.items() if isinstance(one, float) and not math.isfinite(one)}
    said = {name: "not a number" if math.isnan(one) else "infinite" for name, one in odd.items()}
    told = {name: None if name in odd else _finite(one) for name, one in value.items()}
    return told | ({"not finite": said} if said else {})


class _Asked:
    """Queries by stage, and of each condition that a search tried all that were asked at it until then."""

    def __init__(self, repeats: int) -> None:
        self.repeats, self.stages = repeats, defaultdict[str, list[Query]](list)
        self.at = defaultdict[Any, list[Query]](list)
        self.tried = defaultdict[str, list[tuple[list[Query], int]]](list)

    def add(self, query: Query) -> None:
        stage, at = self.stages[query.stage], self.at[key_of(query.condition)]
        stage.append(query)
        at.append(query)
        if query.stage.startswith("search/") and len(stage) % self.repeats == 0:
            self.tried[query.stage].append((at, len(at)))


def replies_of(record: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """The replies of a record: the system's, and those of claims that ask twice."""
    yield from (record["reply"], *(one["reply"] for one in record["second"].values()))


def _claim(  # noqa: PLR0917
    claim: ValidityClaim, domain: Domain, plan: ScrutinyPlan, tests: int, asked: _Asked, drawn: Any
) -> Record:
    told: Record = {"name": claim.name, "sentence": claim.sentence, "bound": claim.bound, "effect": claim.effect}
    samples = {name: asked.stages[name] for name in SAMPLES}
    told["samples"] = [
        {"sample": name, "asked": len(of)} | _told(claim, of, assess(claim, judged_by(claim, of)))
        for name, of in samples.items()
    ]
    told["searches"] = [_searched(claim, one, asked) for one in (plan.methods if claim.searched else ())]
    confirmed = {which: asked.stages[f"confirm/{which}/{claim.name}"] for which in ("nearest", "worst")}
    alpha = plan.alpha / tests
    told["found"] = [_confirmed(claim, domain, which, one, alpha) for which, one in confirmed.items() if one]
    told["drivers"] = _drivers(claim, domain, drawn)
    return told


def _searched(claim: ValidityClaim, method: str, asked: _Asked) -> Record:
    """How far a method came."""
    groups = [judged_by(claim, at[:n]) for at, n in asked.tried[f"search/{method}/{claim.name}"]]
    first = next((place for place, group in enumerate(groups, 1) if suspicious(claim, group)), None)
    told = {"method": method, "queries": len(groups) * asked.repeats}
    told["worst margin"] = max((one for one in map(score, groups) if math.isfinite(one)), default=None)
    return told | {"queries to find": first and first * asked.repeats}


def is_look(asked: int) -> bool:
    """Whether a confirmation is looked at, and may stop, after so many queries."""
    return asked >= _LEAST and asked % LOOK == 0


def _confirmed(claim: ValidityClaim, domain: Domain, which: str, queries: Sequence[Query], alpha: float) -> Record:
    judged = accumulate(claim.name in one.judged for one in queries)
    looks = [n for asked, n in enumerate(judged, 1) if is_look(asked) or asked == len(queries)]
    condition = queries[0].condition
    told: Record = {"which": which, "condition": dict(condition), "distance": domain.distance(condition)}
    told["asked"] = len(queries)
    told["changed"] = [one.name for one in domain.variables if condition[one.name] != one.case]
    test = assess(claim, judged_by(claim, queries), looks=looks, alpha=alpha)
    return told | {"plausibility": domain.plausible(condition)} | _told(claim, queries, test)


def _drivers(claim: ValidityClaim, domain: Domain, drawn: Sequence[tuple[Query, Sequence[float]]]) -> list[Record]:
    from scipy.stats import rankdata

    judged = [(point, one.judged[claim.name].margin) for one, point in drawn if claim.name in one.judged]
    if len(judged) < 20:
        return []
    points, margins = zip(*judged, strict=True)
    shares = first_order(points, rankdata(margins))
    return [
        {"condition": one.name, "assumption": one.assumption, "share": float(share)}
        for one, share in sorted(zip(domain.variables, shares, strict=True), key=lambda pair: -pair[1])
    ]


def _told(claim: ValidityClaim, queries: Sequence[Query], test: Tested) -> Record:
    """A test. It judged where it gives a figure, from at least half of the queries of which the claim has a say."""
    told: Record = {name: getattr(test.effect, name) for name in ("estimate", "low", "high")}
    told["unjudged"] = sum(claim.name in one.unjudged for one in queries)
    told["judged"] = not math.isnan(test.effect.estimate) and told["unjudged"] <= test.n
    told["failed"] = test.failed if claim.effect == "rate" else None
    return told | {"n": test.n, "p": test.p, "detail": plain(test.detail)}


def correct(claims: Sequence[Record], alpha: float, most: int) -> None:
    """Holm over all tests of all claims, `most` of them (what no search found counts as p = 1), and the verdicts."""
    tests = [one for told in claims for one in (*told["samples"], *told["found"])]
    adjusted = holm([*(one["p"] for one in tests), *[1.0] * (most - len(tests))])
    for one, p in zip(tests, adjusted, strict=False):
        one["p (Holm)"] = float(p)
    for told in claims:
        failing = [_PLACES[one["sample"]] for one in told["samples"][::-1] if one["p (Holm)"] <= alpha]
        held = [one["distance"] for one in told["found"] if one["p (Holm)"] <= alpha]
        told["fails at distance"] = min(held, default=None)
        shown = ", ".join([*failing, *(["where it was searched"] if held else [])])
        judged = [one["judged"] for one in told["samples"]]
        if told["effect"] == "gap":  # near the case, and at it, there may be but one group
            judged = [any(judged), all(one["unjudged"] <= one["n"] for one in told["samples"])]
        told["verdict"] = f"fails {shown}" if shown else "no failure shown" if all(judged) else "not judged"


def found_again(plan: Mapping[str, Any], records: Iterable[Record]) -> Record:
    """The findings by a signed plan, without its case file, which is not run: plausibilities are not known then."""
    domain = Domain(variables=tuple(Variable(**one | {"choices": tuple(one["choices"])}) for one in plan["domain"]))
    claims = [ValidityClaim(**one, judge=lambda trial: None) for one in plan["claims"]]
    asked = ScrutinyPlan(**plan["plan"] | {"methods": tuple(plan["plan"]["methods"])})
    return json.loads(json.dumps(find(domain, claims, asked, records)))


def difference(told: Record, found: Record, *, every: bool = True) -> str:
    """The first place where two findings differ beyond rounding, and both values; '' for none.

    Without `every`, what only one of them has (of another version of Surefoot) is left out. So are plausibilities.
    """
    first, second = dict(_flat(told)), dict(_flat(found))
    for name in first | second if every else [name for name in first if name in second]:
        one, other = first.get(name), second.get(name)
        close = isinstance(one, float) and isinstance(other, float) and math.isclose(one, other, rel_tol=1e-6)
        if one != other and not close and not name.endswith("plausibility"):
            return f"{name} {one!r:.80}, and its queries give {other!r:.80}"
    return ""


def _flat(value: Any, where: str = "") -> Iterator[tuple[str, Any]]:
    if not isinstance(value, (dict, list)):
        yield where, value
        return
    for name, one in value.items() if isinstance(value, dict) else enumerate(value):
        named = one if isinstance(value, list) and isinstance(one, dict) else {}
        known = (named.get(field) for field in ("name", "sample", "which", "method", "condition"))
        yield from _flat(one, f"{where}, {next(filter(None, known), name)}".lstrip(", "))
