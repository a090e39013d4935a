"""What was found: a pure function of what was planned and of the recorded queries, in the order they were asked.

A run ends with it, and whoever verifies a bundle computes it again.
"""

import json
import math
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import accumulate, zip_longest
from operator import itemgetter
from typing import Any, NamedTuple

import numpy as np

from surefoot.core import SurefootError
from surefoot.scrutiny._claims import Judged, Tested, ValidityClaim, assess, is_decided, suspicious
from surefoot.scrutiny._domain import Condition, Domain, Variable
from surefoot.scrutiny._replay import plain
from surefoot.scrutiny._scrutiny import SAMPLES, ScrutinyPlan, tests_of
from surefoot.scrutiny._statistics import first_order
from surefoot.stats import holm

Record = dict[str, Any]
Drawn = tuple[Sequence["Query"], np.ndarray]
STAGE = 10_000_000  # seeds of one stage: those of two never meet
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
    asked, helds, status, errors = _Asked(domain, plan.repeats), list[Record](), Counter[str](), Counter[str]()
    unjudged: dict[str, Counter[str]] = {one.name: Counter() for one in claims}
    for record in records:
        asked.add(query_of(record))
        for one in replies_of(record):
            status[one["status"]] += 1
            errors[one["error"]] += 1
        if record["held"] not in helds:
            helds.append(record["held"])
        for name, why in record["unjudged"].items():
            unjudged[name][why] += 1
    even = asked.stages["overall"] + asked.stages["near"]
    drawn, tests = (even, domain.points([one.condition for one in even])), tests_of(claims)
    told = [_claim(one, domain, plan, tests, asked, drawn) | {"unjudged": unjudged[one.name]} for one in claims]
    correct(told, plan.alpha, tests)
    del errors[""]
    found = {"claims": told, "cases": sum(map(len, asked.stages.values())), "queries": status.total()}
    return _finite(found | {"held": _least(helds), "status": status, "errors": errors.most_common(5)})


def _least(helds: Sequence[Record]) -> Record:
    """What held the system at all times: a run may have gone on where the machine allowed less."""
    names = helds[0] if helds else ()
    return {name: min((one.get(name) for one in helds), key=lambda it: it in (True, "none")) for name in names}


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

    def __init__(self, domain: Domain, repeats: int) -> None:
        self.repeats, self.stages, self.key = repeats, defaultdict[str, list[Query]](list), itemgetter(*domain.case)
        self.at = defaultdict[Any, list[Query]](list)
        self.tried = defaultdict[str, list[tuple[list[Query], int]]](list)

    def add(self, query: Query) -> None:
        stage, at = self.stages[query.stage], self.at[self.key(query.condition)]
        stage.append(query)
        at.append(query)
        if query.stage.startswith("search/") and len(stage) % self.repeats == 0:
            self.tried[query.stage].append((at, len(at)))


def replies_of(record: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """The replies of a record: the system's, and those of claims that ask twice."""
    yield from (record["reply"], *(one["reply"] for one in record["second"].values()))


def _claim(  # noqa: PLR0917
    claim: ValidityClaim, domain: Domain, plan: ScrutinyPlan, tests: int, asked: _Asked, drawn: Drawn
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
    told["found"] = [_confirmed(claim, domain, plan, *one, alpha) for one in confirmed.items() if one[1]]
    told["drivers"] = _drivers(claim, domain, *drawn)
    return told


def _searched(claim: ValidityClaim, method: str, asked: _Asked) -> Record:
    """How far a method came."""
    groups = [judged_by(claim, at[:n]) for at, n in asked.tried[f"search/{method}/{claim.name}"]]
    first = next((place for place, group in enumerate(groups, 1) if suspicious(claim, group)), None)
    told = {"method": method, "queries": len(groups) * asked.repeats}
    told["worst margin"] = max((one for one in map(score, groups) if math.isfinite(one)), default=None)
    return told | {"queries to find": first and first * asked.repeats}


def _is_look(asked: int) -> bool:
    """Whether a confirmation is looked at, and may stop, after so many queries."""
    return asked >= _LEAST and asked % LOOK == 0


def ends(claim: ValidityClaim, queries: Sequence[Query], most: int, alpha: float) -> bool:
    """Whether a confirmation ends after these queries: they are spent, or decide where it is looked at."""
    return len(queries) >= most or (_is_look(len(queries)) and is_decided(claim, judged_by(claim, queries), alpha))


def _confirmed(  # noqa: PLR0917
    claim: ValidityClaim, domain: Domain, plan: ScrutinyPlan, which: str, queries: Sequence[Query], alpha: float
) -> Record:
    if [n for n in range(1, len(queries) + 1) if ends(claim, queries[:n], plan.confirm, alpha)] != [len(queries)]:
        raise SurefootError(f"Where '{claim.name}' was confirmed, {which}, are {len(queries)} queries: not as planned.")
    judged = accumulate(claim.name in one.judged for one in queries)
    looks = [n for asked, n in enumerate(judged, 1) if _is_look(asked) or asked == len(queries)]
    condition = queries[0].condition
    told: Record = {"which": which, "condition": dict(condition), "distance": domain.distance(condition)}
    told["asked"] = len(queries)
    told["changed"] = [one.name for one in domain.variables if condition[one.name] != one.case]
    test = assess(claim, judged_by(claim, queries), looks=looks, alpha=alpha)
    return told | {"plausibility": domain.plausible(condition)} | _told(claim, queries, test)


def _drivers(claim: ValidityClaim, domain: Domain, drawn: Sequence[Query], points: np.ndarray) -> list[Record]:
    judged = [one.judged.get(claim.name) for one in drawn]
    margins = [one.margin for one in judged if one]
    if len(margins) < 20:
        return []
    _, which, counts = np.unique(margins, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[which]  # of equal ones their mean
    shares = first_order(points[[one is not None for one in judged]], ranks)
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
        told["fails at distance"] = 0.0 if _PLACES["at the case"] in failing else min(held, default=None)
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
    return json.loads(json.dumps(find(domain, claims, asked, _as_planned(domain, asked, records))))


def _as_planned(domain: Domain, plan: ScrutinyPlan, records: Iterable[Record]) -> Iterator[Record]:
    ranges = dict(zip(SAMPLES, (domain, domain.within(plan.radius), domain.within(0.0)), strict=True))
    starts, counts = dict[str, int](), Counter[str]()
    for one in records:
        stage, start = one["stage"], one["seed"] - one["number"] - plan.seed
        if stage not in starts and start % STAGE == 0 and start > max(starts.values(), default=-1):
            starts[stage] = start
        asked = (starts.get(stage), counts[stage]) == (start, one["number"])
        if not (asked and ranges.get(stage, domain).holds(one["condition"])):
            said = f"Query {one['number']} of stage {stage}, with seed {one['seed']} at {one['condition']},"
            raise SurefootError(f"{said} is none that the plan asks.")
        counts[stage] += 1
        yield one
    for place, (name, size) in enumerate(SAMPLES.items()):
        if (counts[name], starts.get(name)) != (getattr(plan, size), STAGE * place):
            raise SurefootError(f"The sample '{name}' has {counts[name]} queries, and not as its plan asks.")


def difference(told: Any, found: Any, *, every: bool = True, unknown: str = "plausibility", where: str = "") -> str:
    """The first place where two findings differ beyond rounding, and both values; '' for none.

    Without `every`, names that only one of them has (of another version of Surefoot) are left out; and the `unknown`.
    """
    if isinstance(told, dict) and isinstance(found, dict):
        names = told | found if every else [name for name in told if name in found]
        pairs = [(name, told.get(name), found.get(name)) for name in names if name != unknown]
    elif isinstance(told, list) and isinstance(found, list):
        pairs = [
            (_named(one or other, place), one, other) for place, (one, other) in enumerate(zip_longest(told, found))
        ]
    else:
        close = isinstance(told, float) and isinstance(found, float) and math.isclose(told, found, rel_tol=1e-6)
        return "" if told == found or close else f"{where} {told!r:.80}, and its queries give {found!r:.80}"
    each = (
        difference(one, other, every=every, unknown=unknown, where=f"{where}, {name}".lstrip(", "))
        for name, one, other in pairs
    )
    return next(filter(None, each), "")


def _named(entry: Any, place: int) -> object:
    known = entry if isinstance(entry, dict) else {}
    return next(filter(None, (known.get(name) for name in ("name", "sample", "which", "method", "condition"))), place)
