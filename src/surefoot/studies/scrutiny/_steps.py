"""The Steps of the study: audits, their failures by distance, and what a validation study would have seen."""

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from math import inf
from pathlib import Path

from surefoot import scrutiny
from surefoot.core import Inputs, Measurement, Step
from surefoot.scrutiny import DEFECTS, run_scrutiny, sample, validation_power, verify_bundle, write_plan
from surefoot.stats import clopper_pearson
from surefoot.studies.scrutiny._cases import case

_FILE = "from surefoot.studies.scrutiny import case\n\n\ndef scrutiny():\n    return case({!r}, {!r})\n"
_EDGES = (-1.0, 0.0, 0.5, 1.0, 3.0, 10.0, 30.0, 100.0, inf)
ROUTINE = {"contributors": 2, "picograms": 2000.0, "suspect": "unrelated"}
"""Stains as they are made to validate a program: of two persons, with plenty of DNA."""


@dataclass(frozen=True, kw_only=True)
class Audit(Step):
    """One audit: its signed bundle, and what was measured of each claim, by sample, and by search method."""

    version = 5  # equal costs of ratios are bounded from below
    name: str
    scale: float = 1.0

    def make(self, out: Path, inputs: Inputs) -> Iterable[Measurement]:
        (out / "case.py").write_text(_FILE.format(self.name, self.scale), encoding="utf-8")
        write_plan(out / "case.py", out / "bundle")
        with ThreadPoolExecutor(1) as pool:
            told = run_scrutiny(out / "case.py", out / "bundle", pool=pool)
        for claim in told["claims"]:
            name, failed = claim["name"], claim["verdict"].startswith("fails")
            yield Measurement(metric="fails", value=float(failed), n=1, task=name)
            for one in (*claim["samples"], *({**found, "sample": found["which"]} for found in claim["found"])):
                if one["n"] and claim["effect"] == "rate":
                    ends = {"value": one["estimate"], "low": one["low"], "high": one["high"], "n": one["n"]}
                    yield Measurement(metric="failure_rate", task=name, shift=one["sample"], **ends)
            for one in claim["searches"]:
                if found := one["queries to find"]:
                    yield Measurement(metric="queries_to_find", value=found, n=1, task=name, group=one["method"])


@dataclass(frozen=True, kw_only=True)
class ByDistance(Step):
    """The failure rate of one claim in the samples of an audit, by how far the conditions are from the case."""

    audit: Audit
    claim: str

    def make(self, out: Path, inputs: Inputs) -> Iterable[Measurement]:
        domain = case(self.audit.name, self.audit.scale).domain
        records = verify_bundle(inputs[self.audit] / "bundle", share=1.0).drawn
        judged = [
            (domain.distance(one["condition"]), found[0] > 0)
            for one in records
            if one["stage"] in ("overall", "near", "at the case") and (found := one["judged"].get(self.claim))
        ]
        for low, high in pairwise(_EDGES):
            failed = [bad for distance, bad in judged if low < distance <= high]
            if failed:
                share = clopper_pearson(sum(failed), len(failed))
                place = "at the case" if not high else f"up to {high:g}" if high < inf else f"beyond {low:g}"
                ends = {"value": share.estimate, "low": share.low, "high": share.high, "n": len(failed)}
                yield Measurement(metric="failure_rate", task=self.claim, shift=place, **ends)


@dataclass(frozen=True, kw_only=True)
class ValidationStudy(Step):
    """What a validation of so many routine stains sees of the planted defects, by further ones near the case.

    A defect is shown where a claim fails that the sound program keeps; none compares with a second version.
    """

    samples: int = 60
    further: int = 80
    most: int = 14

    def make(self, out: Path, inputs: Inputs) -> Iterable[Measurement]:
        asked = case("genotyping")
        claims = [one for one in asked.claims if not one.other and one.effect == "rate" and not one.bound]
        who = ("contributor", "unrelated")
        routine = [asked.domain.case | ROUTINE | {"suspect": who[k % 2]} for k in range(self.samples)]
        near = sample(asked.domain, self.further, method="sobol", seed=1)
        stains = [asked.generate(one, seed) for seed, one in enumerate([*routine, *near])]
        faulty = {name: getattr(case(f"genotyping: {name}").system, "call") for name in DEFECTS}  # noqa: B009
        seen = scrutiny.shows(claims, stains, scrutiny.genotype_ratio, faulty)
        study, further = seen[:, : self.samples], seen[:, self.samples :]
        told = validation_power(study, further, list(DEFECTS), most=self.most)
        for one in told.faults:
            yield Measurement(metric="shown", value=float(one.shown), n=self.samples, task=one.name)
            value, low, high = one.chance.estimate, one.chance.low, one.chance.high
            yield Measurement(metric="chance", value=value, n=self.further, low=low, high=high, task=one.name)
        for name, found in (("missed", told.missed), ("added", told.add), ("then_seen", told.then_seen)):
            yield Measurement(metric=name, value=float(len(found)), n=len(DEFECTS))
