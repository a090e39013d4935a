"""The scrutiny itself: sample, search, come nearer, confirm with fresh seeds. A pure function of plan and answers."""

import json
import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from copy import deepcopy
from dataclasses import asdict, dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

from surefoot.core import SurefootError, alone, full_disk_is_said, what_failed
from surefoot.scrutiny._bundle import (
    BUSY,
    SEAL,
    Chain,
    Verified,
    check_findings,
    check_planned,
    check_same,
    event,
    signing_key,
    write_seal,
)
from surefoot.scrutiny._claims import Trial, ValidityClaim, judge, suspicious
from surefoot.scrutiny._domain import Condition, key_of
from surefoot.scrutiny._findings import LOOK, STAGE, Query, Record, ends, find, judged_by, query_of, replies_of, score
from surefoot.scrutiny._replay import plain
from surefoot.scrutiny._scrutiny import Scrutiny, load_scrutiny, samples_of, tests_of
from surefoot.scrutiny._search import Weigh, Weighed, approach, search
from surefoot.scrutiny._systems._session import Session

_JOB_SECONDS, _MOST = 0.25, 64  # of work, and queries, in one call of a pool


@cache
def _session(path: Path, which: str) -> Session:
    return Session(getattr(load_scrutiny(path), which), path, which)


def _close(path: Path) -> None:
    for which in ("system", "other"):
        if getattr(load_scrutiny(path), which):
            _session(path, which).close()
    _session.cache_clear()  # the next run may be of another case at this place


def _ask(path: Path, wanted: Sequence[Record]) -> list[Record]:
    """The records of queries, in a worker of a pool."""
    scrutiny = load_scrutiny(path)
    return [_record(path, scrutiny, one) for one in wanted]


def _record(path: Path, scrutiny: Scrutiny, wanted: Record) -> Record:
    condition, seed = wanted["condition"], wanted["seed"]
    try:
        evidence, truth = scrutiny.generate(dict(condition), seed)
        json.dumps([plain(evidence), plain(truth)])  # or it cannot be kept
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
                which, changed = "other" if claim.other else "system", claim.change(deepcopy(evidence), seed)
                again = _session(path, which).ask(changed, seed)
                record["second"][claim.name] = {"which": which, "evidence": plain(changed), "reply": asdict(again)}
                trial = replace(trial, second={claim.name: again})
            found = judge(claim, trial)
            record["judged"][claim.name] = found and [found.margin, plain(found.number), found.group]
        except Exception as error:  # an output that it cannot judge counts for nothing, and is told
            record["unjudged"][claim.name] = str(error) if isinstance(error, SurefootError) else what_failed(error)
    return record


def ask_again(case: Path, records: Iterable[Mapping[str, Any]]) -> list[str]:
    """Make, ask and judge once more what records say; what is another now."""
    scrutiny, differ, same = load_scrutiny(case), [], ("stage", "number", "condition", "seed")
    try:
        for one in records:
            again = _record(case, scrutiny, {name: one[name] for name in same})
            said = next(_differences(one, json.loads(json.dumps(again))), "")
            differ += [f"{one['stage']} {one['number']}: {said}"] if said else []
    finally:
        _close(case)
    return differ


def _differences(was: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[str]:
    """What differs of two records of a query, but for times and the words of errors."""
    for first, second in zip(replies_of(was), replies_of(now), strict=False):
        if any(first[name] != second[name] for name in ("status", "output")):
            yield f"was {first['output'] or first['status']}, is {second['output'] or second['status']}"
    for name in ("evidence", "truth", "judged", "unjudged"):
        if was[name] != now[name]:
            yield f"{name} was {was[name]!s:.300}, is {now[name]!s:.300}"


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
    with full_disk_is_said(bundle), alone(bundle, BUSY.format(bundle)):
        if (bundle / SEAL).exists():
            raise SurefootError(f"{bundle} is sealed: its run is finished. To ask more, sign a plan in a new bundle.")
        signing_key(bundle, key)  # before the first query: the last is too late
        scrutiny, chain = replace(scrutiny, plan=replace(scrutiny.plan, seed=plan["plan"]["seed"])), Chain(bundle)
        try:
            chain.append(event("resumed" if chain.length else "begun") | {"cut": chain.cut})
            findings = _Run(case, scrutiny, chain.records, chain, pool, workers, progress).findings()
            chain.append(event("ended") | {"system": check_same(bundle, case)["system"]})
        finally:
            chain.close()
            _close(case)
        write_seal(bundle, findings, chain, key=key)
    return findings


def check_asked(case: Path, verified: Verified) -> None:
    """Run a scrutiny again on the answers that a bundle holds, verified with `keep`. The case file is run, no system.

    Raises `SurefootError` where a query that the plan leads to is not in the bundle, one is there that it does not lead
    to, or a finding is another. Samples and searches are those of the same versions of scipy, cma and hypothesis.
    """
    check_planned(verified, case)
    bundle, was, now = verified.bundle, verified.packages, event("")["packages"]
    other = [f"{name} {was.get(name)}" for name in ("scipy", "cma", "hypothesis") if was.get(name) != now.get(name)]
    asked = replace((scrutiny := load_scrutiny(case)).plan, seed=verified.plan["plan"]["seed"])
    run = _Run(case, replace(scrutiny, plan=asked), verified.records)
    try:
        found = json.loads(json.dumps(run.findings()))
    except SurefootError as error:
        made = f" It was made with {', '.join(other)}." if other else ""
        raise SurefootError(f"{bundle}: {error}{made}") from error
    if len(verified.records) > (led_to := sum(map(len, run.at.values()))):
        raise SurefootError(f"{bundle} holds {len(verified.records):,} queries, of which the plan asks {led_to:,}.")
    check_findings(bundle, verified.findings, found, unknown="")


@dataclass
class _Run:
    """The stages one after another, each from what the ones before it found."""

    path: Path
    scrutiny: Scrutiny
    records: Mapping[tuple[str, int], Record]
    chain: Chain | None = None  # that the records are of; None: nothing is asked
    pool: Executor | None = None
    workers: int = 1
    progress: Callable[[int, str], None] = lambda done, stage: None
    seconds: float = 1.0
    stages: dict[str, int] = field(default_factory=dict)
    at: dict[tuple[Any, ...], list[Query]] = field(default_factory=lambda: defaultdict(list))

    def ask(self, stage: str, conditions: Iterable[Condition], *, first: int = 0) -> list[Query]:
        """One query for each condition, numbered from `first` within a stage; none is asked twice."""
        start = self.stages.setdefault(stage, len(self.stages)) * STAGE + self.scrutiny.plan.seed
        wanted = [
            {"stage": stage, "number": number, "condition": dict(one), "seed": start + number}
            for number, one in enumerate(conditions, first)
        ]
        if missing := [one for one in wanted if not self._known(one)]:
            self._fetch(missing)
        found = [query_of(self.records[one["stage"], one["number"]]) for one in wanted]
        for one in found:
            self.at[key_of(one.condition)].append(one)
        return found

    def _fetch(self, missing: Sequence[Record]) -> None:
        if not (self.pool and self.chain):
            number, stage = missing[0]["number"], missing[0]["stage"]
            raise SurefootError(f"Query {number} of stage {stage}, which its plan asks, is not there.")
        size = max(1, min(_MOST, int(_JOB_SECONDS / self.seconds), math.ceil(len(missing) / self.workers)))
        running = []
        for place in range(0, len(missing), size):
            running.append(self.pool.submit(_ask, self.path, missing[place : place + size]))
            if len(running) > 2 * self.workers:  # what a kill can lose is these
                self._keep(self.chain, running.pop(0).result())
        for future in running:
            self._keep(self.chain, future.result())

    def _keep(self, chain: Chain, records: Sequence[Record]) -> None:
        for record in records:
            chain.append(record)
        self.seconds = max(1e-3, sum(one["reply"]["seconds"] for one in records) / len(records))
        self.progress(len(self.records), records[-1]["stage"])

    def _known(self, wanted: Record) -> bool:
        found = self.records.get((wanted["stage"], wanted["number"]))
        if found and any(found[name] != plain(value) for name, value in wanted.items()):
            raise SurefootError(
                f"Query {wanted['number']} of stage {wanted['stage']} in the bundle is not what this plan asks for: "
                "the case draws differently now, or it was changed."
            )
        return bool(found)

    def findings(self) -> Record:
        plan, domain = self.scrutiny.plan, self.scrutiny.domain
        for name, conditions in samples_of(domain, plan).items():
            self.ask(name, conditions)
        for claim in self.scrutiny.claims:
            if claim.searched:
                self._find(claim)
        return find(domain, self.scrutiny.claims, plan, self.records.values())

    def _find(self, claim: ValidityClaim) -> None:
        """Search, and confirm what is suspicious."""
        plan = self.scrutiny.plan
        for number, method in enumerate(plan.methods):
            weigh, seed = self._weigh(claim, f"search/{method}/{claim.name}"), plan.seed + 2 + number
            search(method, self.scrutiny.domain, weigh, budget=plan.budget // plan.repeats, seed=seed)
        for which, condition in self._suspicious(claim).items():
            self._confirm(claim, which, condition)

    def _weigh(self, claim: ValidityClaim, stage: str) -> Weigh:
        repeats, asked = self.scrutiny.plan.repeats, list[Query]()

        def weigh(conditions: Sequence[Condition]) -> list[Weighed]:
            each = [one for one in conditions for _ in range(repeats)]
            asked.extend(self.ask(stage, each, first=len(asked)))
            groups = [judged_by(claim, self.at[key_of(one)]) for one in conditions]
            return [Weighed(score(group), suspicious(claim, group)) for group in groups]

        return weigh

    def _suspicious(self, claim: ValidityClaim) -> dict[str, Condition]:
        """The suspicious condition nearest to the case, after an approach, and the worst one."""
        plan, domain = self.scrutiny.plan, self.scrutiny.domain
        groups = {key: judged_by(claim, queries) for key, queries in self.at.items()}
        if not (odd := {key: group for key, group in groups.items() if suspicious(claim, group)}):
            return {}
        nearest = min(odd, key=lambda key: domain.distance(dict(key)))
        worst = dict(max(odd, key=lambda key: score(odd[key])))
        weigh = self._weigh(claim, f"approach/{claim.name}")
        chosen = {"nearest": approach(domain, weigh, dict(nearest), budget=plan.approach // plan.repeats)}
        return chosen | ({"worst": worst} if worst != chosen["nearest"] else {})

    def _confirm(self, claim: ValidityClaim, which: str, condition: Condition) -> None:
        """Ask with fresh seeds until the interval or the p is enough, or the queries are spent."""
        plan, queries, stage = self.scrutiny.plan, [], f"confirm/{which}/{claim.name}"
        alpha = plan.alpha / tests_of(self.scrutiny.claims)
        while not ends(claim, queries, plan.confirm, alpha):
            size = min(LOOK, plan.confirm - len(queries))
            queries += self.ask(stage, [condition] * size, first=len(queries))
