"""The scrutiny itself: sample, search, come nearer, confirm with fresh seeds. A pure function of plan and answers."""

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import asdict, dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from surefoot.core import SurefootError, alone, what_failed
from surefoot.scrutiny._bundle import BUSY, SEAL, Chain, check_same, event, write_seal
from surefoot.scrutiny._claims import Judged, Tested, Trial, ValidityClaim, assess, judge, suspicious
from surefoot.scrutiny._domain import Condition, sample
from surefoot.scrutiny._replay import plain
from surefoot.scrutiny._scrutiny import SAMPLES, Scrutiny, load_scrutiny, tests_of
from surefoot.scrutiny._search import Weigh, Weighed, approach, search
from surefoot.scrutiny._statistics import first_order
from surefoot.scrutiny._systems._session import Session
from surefoot.stats import holm

_STAGE = 10_000_000  # seeds of one stage: those of two never meet
_JOB_SECONDS, _MOST = 0.25, 64  # of work, and queries, in one call of a pool
_PLACES = {"overall": "over the domain", "near": "near the case", "at the case": "at the case"}
_LOOK, _LEAST = 20, 40  # queries between two looks of a confirmation, and before it may stop
Record = dict[str, Any]


@cache
def _session(path: Path, which: str) -> Session:
    return Session(getattr(load_scrutiny(path), which), path, which)


def _close(path: Path) -> None:
    for which in ("system", "other"):
        if getattr(load_scrutiny(path), which):
            _session(path, which).close()


def _ask(path: Path, wanted: Sequence[Record]) -> list[Record]:
    """The records of queries, in a worker of a pool."""
    return [_record(path, load_scrutiny(path), one) for one in wanted]


def _record(path: Path, scrutiny: Scrutiny, wanted: Record) -> Record:
    condition, seed = wanted["condition"], wanted["seed"]
    try:
        evidence, truth = scrutiny.generate(condition, seed)
    except Exception as error:
        raise SurefootError(f"generate fails at {condition} with seed {seed}: {what_failed(error)}") from error
    session = _session(path, "system")
    reply = session.ask(evidence, seed)
    record: Record = wanted | {"evidence": plain(evidence), "truth": plain(truth), "reply": asdict(reply)}
    record |= {"held": dict(session.had), "second": {}, "judged": {}, "unjudged": {}}
    trial = Trial(condition=condition, evidence=evidence, truth=truth, reply=reply)
    for claim in scrutiny.claims:
        try:
            if claim.change and reply.status == "answered":
                which, changed = "other" if claim.other else "system", claim.change(evidence, seed)
                again = _session(path, which).ask(changed, seed)
                record["second"][claim.name] = {"which": which, "evidence": plain(changed), "reply": asdict(again)}
                trial = replace(trial, second={claim.name: again})
            found = judge(claim, trial) if claim.change is None or trial.second.get(claim.name) else None
            record["judged"][claim.name] = found and [found.margin, plain(found.number), found.group]
        except Exception as error:  # an output that it cannot judge counts for nothing, and is told
            record["unjudged"][claim.name] = str(error) if isinstance(error, SurefootError) else what_failed(error)
    return record


def ask_again(case: Path, records: Iterable[Mapping[str, Any]]) -> list[str]:
    """Ask what records asked once more; what is another output now."""
    differ = []
    try:
        for one in records:
            for asked in ({"which": "system", **one}, *one["second"].values()):
                was, now = asked["reply"], _session(case, asked["which"]).ask(asked["evidence"], one["seed"])
                if (was["status"], was["output"]) != (now.status, dict(now.output)):
                    both = f"was {was['output'] or was['status']}, is {dict(now.output) or now.status}"
                    differ.append(f"{one['stage']} {one['number']}: {both}")
    finally:
        _close(case)
    return differ


def run_scrutiny(
    case: Path,
    bundle: Path,
    *,
    pool: Executor,
    workers: int = 1,
    key: Path | None = None,
    progress: Callable[[int, str], None] = lambda done, stage: None,
) -> dict[str, Any]:
    """Ask what the signed plan of a bundle says, and seal it with what was found, which is returned.

    A run that was stopped goes on: no query whose answer is in the bundle is asked again. Raises `SurefootError` where
    the case file or the system is not what was signed, the bundle is sealed, or another run works on it.
    """
    plan, scrutiny = check_same(bundle, case), load_scrutiny(case)
    with alone(bundle, BUSY.format(bundle)):
        if (bundle / SEAL).exists():
            raise SurefootError(
                f"{bundle} is sealed: its run is finished. To ask more, sign a new plan in a new bundle."
            )
        scrutiny, chain = replace(scrutiny, plan=replace(scrutiny.plan, seed=plan["plan"]["seed"])), Chain(bundle)
        try:
            chain.append(event("resumed" if chain.length else "begun") | {"cut": chain.cut})
            findings = _Run(case, scrutiny, chain, pool, workers, progress).findings()
            chain.append(event("ended") | {"system": check_same(bundle, case)["system"]})
        finally:
            chain.close()
            _close(case)
        write_seal(bundle, findings, chain, key=key)
    return findings


@dataclass
class _Run:
    """The stages one after another, each from what the ones before it found."""

    path: Path
    scrutiny: Scrutiny
    chain: Chain
    pool: Executor
    workers: int
    progress: Callable[[int, str], None]
    seconds: float = 1.0
    stages: dict[str, int] = field(default_factory=dict)
    records: list[Record] = field(default_factory=list)
    at: dict[tuple[Any, ...], list[Record]] = field(default_factory=lambda: defaultdict(list))

    def ask(self, stage: str, conditions: Iterable[Condition], *, first: int = 0) -> list[Record]:
        """The records of one query for each condition, numbered from `first` within a stage; none is asked twice."""
        start = self.stages.setdefault(stage, len(self.stages)) * _STAGE + self.scrutiny.plan.seed
        wanted = [
            {"stage": stage, "number": number, "condition": dict(one), "seed": start + number}
            for number, one in enumerate(conditions, first)
        ]
        missing = [one for one in wanted if not self._known(one)]
        size = max(1, min(_MOST, int(_JOB_SECONDS / self.seconds), math.ceil(len(missing) / self.workers)))
        running = []
        for place in range(0, len(missing), size):
            running.append(self.pool.submit(_ask, self.path, missing[place : place + size]))
            if len(running) > 2 * self.workers:  # what a kill can lose is these
                self._keep(running.pop(0).result())
        for future in running:
            self._keep(future.result())
        found = [self.chain.records[one["stage"], one["number"]] for one in wanted]
        self.records += found
        for one in found:
            self.at[_key(one["condition"])].append(one)
        return found

    def _keep(self, records: Sequence[Record]) -> None:
        for record in records:
            self.chain.append(record)
        self.seconds = max(1e-3, sum(one["reply"]["seconds"] for one in records) / len(records))
        self.progress(len(self.chain.records), records[-1]["stage"])

    def _known(self, wanted: Record) -> bool:
        found = self.chain.records.get((wanted["stage"], wanted["number"]))
        if found and any(found[name] != plain(value) for name, value in wanted.items()):
            raise SurefootError(
                f"Query {wanted['number']} of stage {wanted['stage']} in the bundle is not what this plan asks for: "
                "the case draws differently now. Make a new bundle."
            )
        return bool(found)

    def findings(self) -> Record:
        plan, domain = self.scrutiny.plan, self.scrutiny.domain
        near = sample(domain.within(plan.radius), plan.near, method=plan.sampling, seed=plan.seed + 1)
        drawn = [sample(domain, plan.overall, method=plan.sampling, seed=plan.seed), near, [domain.case] * plan.at_case]
        samples = {name: self.ask(name, conditions) for name, conditions in zip(SAMPLES, drawn, strict=True)}
        claims = [self._claim(claim, samples) for claim in self.scrutiny.claims]
        correct(claims, plan.alpha, tests_of(self.scrutiny))
        replies = [
            one
            for record in self.records
            for one in (record["reply"], *(two["reply"] for two in record["second"].values()))
        ]
        told = {"claims": claims, "cases": len(self.records), "queries": len(replies), "held": self.records[-1]["held"]}
        told |= {"status": Counter(one["status"] for one in replies)}
        return told | {"errors": Counter(one["error"] for one in replies if one["error"]).most_common(5)}

    def _distance(self, record: Record) -> float:
        return self.scrutiny.domain.distance(record["condition"])

    def _claim(self, claim: ValidityClaim, samples: Mapping[str, list[Record]]) -> Record:
        told: Record = {"name": claim.name, "sentence": claim.sentence, "bound": claim.bound, "effect": claim.effect}
        tests = {name: _told(assess(claim, _judged(records, claim)), claim) for name, records in samples.items()}
        told["samples"] = [{"sample": name, "asked": len(samples[name])} | one for name, one in tests.items()]
        methods = enumerate(self.scrutiny.plan.methods if claim.searched else ())
        told["searches"] = [self._search(claim, method, number) for number, method in methods]
        told["found"] = self._found(claim) if claim.searched else []
        told["drivers"] = self._drivers(claim, [*samples["overall"], *samples["near"]])
        told["unjudged"] = Counter(why for one in self.records if (why := one["unjudged"].get(claim.name)))
        return told

    def _weigher(self, claim: ValidityClaim, stage: str) -> tuple[Weigh, list[Weighed]]:
        tried: list[Weighed] = []
        repeats = self.scrutiny.plan.repeats

        def weigh(conditions: Sequence[Condition]) -> list[Weighed]:
            each = [one for one in conditions for _ in range(repeats)]
            self.ask(stage, each, first=len(tried) * repeats)
            groups = [_judged(self.at[_key(one)], claim) for one in conditions]
            tried.extend(Weighed(_score(group), suspicious(claim, group)) for group in groups)
            return tried[len(tried) - len(groups) :]

        return weigh, tried

    def _search(self, claim: ValidityClaim, method: Any, number: int) -> Record:
        plan = self.scrutiny.plan
        weigh, tried = self._weigher(claim, f"search/{method}/{claim.name}")
        search(method, self.scrutiny.domain, weigh, budget=plan.budget // plan.repeats, seed=plan.seed + 2 + number)
        first = next((place for place, one in enumerate(tried, 1) if one.suspicious), None)
        worst = max((one.score for one in tried if math.isfinite(one.score)), default=None)
        told = {"method": method, "queries": len(tried) * plan.repeats, "worst margin": worst}
        return told | {"queries to find": first and first * plan.repeats}

    def _found(self, claim: ValidityClaim) -> list[Record]:
        """The suspicious condition nearest to the case and the worst one, each with a test by fresh seeds."""
        plan, domain = self.scrutiny.plan, self.scrutiny.domain
        groups = {key: _judged(records, claim) for key, records in self.at.items()}
        if not (odd := {key: group for key, group in groups.items() if suspicious(claim, group)}):
            return []
        nearest, worst = (
            min(odd, key=lambda key: domain.distance(dict(key))),
            max(odd, key=lambda key: _score(odd[key])),
        )
        weigh, _ = self._weigher(claim, f"approach/{claim.name}")
        chosen = {"nearest": approach(domain, weigh, dict(nearest), budget=plan.approach // plan.repeats)}
        chosen |= {"worst": dict(worst)} if dict(worst) != chosen["nearest"] else {}
        return [self._confirm(claim, which, condition) for which, condition in chosen.items()]

    def _confirm(self, claim: ValidityClaim, which: str, condition: Condition) -> Record:
        plan, domain, records, test = self.scrutiny.plan, self.scrutiny.domain, [], None
        while len(records) < plan.confirm:
            size = min(_LOOK, plan.confirm - len(records))
            records += self.ask(f"confirm/{which}/{claim.name}", [condition] * size, first=len(records))
            test = assess(claim, _judged(records, claim), looks=True)
            enough = test.p * tests_of(self.scrutiny) <= plan.alpha or test.effect.high <= claim.bound
            if enough and len(records) >= _LEAST:
                break
        assert test
        told = {
            "which": which,
            "condition": dict(condition),
            "distance": domain.distance(condition),
            "asked": len(records),
        }
        told["changed"] = [one.name for one in domain.variables if condition[one.name] != one.case]
        return told | {"plausibility": domain.plausible(condition)} | _told(test, claim)

    def _drivers(self, claim: ValidityClaim, records: Sequence[Record]) -> list[Record]:
        from scipy.stats import rankdata

        judged = [one for one in records if one["judged"].get(claim.name)]
        if len(judged) < 20:
            return []
        domain, ranks = self.scrutiny.domain, rankdata([one["judged"][claim.name][0] for one in judged])
        shares = first_order([domain.point(one["condition"]) for one in judged], ranks)
        return [
            {"condition": one.name, "assumption": one.assumption, "share": float(share)}
            for one, share in sorted(zip(domain.variables, shares, strict=True), key=lambda pair: -pair[1])
        ]


def _key(condition: Condition) -> tuple[Any, ...]:
    return tuple(sorted(condition.items()))


def _judged(records: Iterable[Record], claim: ValidityClaim) -> list[Judged]:
    """What a claim says of queries, those left out of which it says nothing."""
    found = (record["judged"].get(claim.name) for record in records)
    return [Judged(one[0], float(one[1]), one[2]) for one in found if one]


def _score(judged: Sequence[Judged]) -> float:
    return float(np.mean([one.margin for one in judged])) if judged else -math.inf


def _told(test: Tested, claim: ValidityClaim) -> Record:
    effect = {name: getattr(test.effect, name) for name in ("estimate", "low", "high")}
    told = {name: value if math.isfinite(value) else None for name, value in effect.items()}
    told["judged"] = not math.isnan(test.effect.estimate)
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
        judged = any(one["judged"] for one in told["samples"])
        told["verdict"] = f"fails {shown}" if shown else "no failure shown" if judged else "not judged"
