"""Scrutiny: what tests near a case find that validation overall misses, on real evidence and on planted defects.

The published system is arXiv 2206.09305, which has no code. Stated before it was run:

- **Estimand.** Of real evidence, the rate at the case minus the rate over the whole domain, by fresh queries of both.
  Real mixtures and windows are drawn again and again: rates are of those that were published, not of casework.
- **Power.** Samples of 100 and 50 show a difference above 10 points with power .85 where the rates are .45 and .05. Of
  fourteen defects, eleven found have a lower bound of .49 and twelve of .57. False alarms need 200 audits: a benchmark.
"""

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path

from surefoot.core import Claim, Inputs, Measurement, Results, Step, Study, SurefootError, Verdict, verdict_above
from surefoot.scrutiny import DEFECTS, run_scrutiny, write_plan
from surefoot.stats import clopper_pearson
from surefoot.studies.scrutiny._cases import CASES as CASES
from surefoot.studies.scrutiny._cases import case as case

_FILE = "from surefoot.studies.scrutiny import case\n\n\ndef scrutiny():\n    return case({!r}, {!r})\n"
_REAL = {
    "count of alleles": "wrong number",
    "glass, two-level": "false inclusion above 1",
    "glass, isotonic (scikit-learn)": "false inclusion above 1",
}


@dataclass(frozen=True, kw_only=True)
class Audit(Step):
    """One audit: its signed bundle, and what was measured of each claim, by sample, and by search method."""

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
                if one["n"] and claim["effect"] == "rate":  # what was found has an interval that holds at every look
                    ends = {"value": one["estimate"], "low": one["low"], "high": one["high"], "n": one["n"]}
                    yield Measurement(metric="failure_rate", task=name, shift=one["sample"], **ends)
            for one in claim["searches"]:
                if found := one["queries to find"]:
                    yield Measurement(metric="queries_to_find", value=found, n=1, task=name, group=one["method"])


def study(*, scale: float = 0.5) -> Study:
    """The study: `scale` multiplies the counts of every plan (1: 500 queries in three samples, a search of 90 a claim).

    Calibrators of lir are audited where it is installed.
    """
    names = [name for name in CASES if "(lir)" not in name or find_spec("lir")]
    near = "At the case {} fails '{}' more often than overall, by more than 10 points."
    said = [("planted defects", "More than half of the planted defects are found.", _planted)]
    said += [(name, near.format(name, claim), partial(_nearer, name, claim)) for name, claim in _REAL.items()]
    return Study(
        name="scrutiny",
        title="Scrutiny of evidentiary software: near the case, and overall",
        summary=f"{len(names)} systems and {len(DEFECTS)} planted defects, each audited by a signed plan. What a "
        "search found is tested again with fresh seeds.",
        steps=tuple(Audit(name=name, scale=scale) for name in (*names, *(f"genotyping: {one}" for one in DEFECTS))),
        claims=tuple(Claim(name=n, sentence=s, check=c, source="ours, after arXiv 2206.09305") for n, s, c in said),
        credits=("Mixtures and glass: Netherlands Forensic Institute (Apache-2.0)",),
    )


def _nearer(name: str, claim: str, results: Results) -> Verdict:
    """The difference of two rates; each exact at 97.5 percent, so that both hold together."""
    steps = {step.key for step in results.steps if isinstance(step, Audit) and step.name == name}
    found = [one for one in results.select(Audit, metric="failure_rate", task=claim) if one.step.key in steps]
    by = {one.measurement.shift: one.measurement for one in found}
    if not {"overall", "at the case"} <= {*by}:
        raise SurefootError(f"The audit '{name}' is not in the store: run the study first.")
    counts = [(round(by[one].value * by[one].n), by[one].n) for one in ("at the case", "overall")]
    here, overall = (clopper_pearson(*one, level=0.975) for one in counts)
    difference = here.estimate - overall.estimate
    said = "{} of {} at the case, {} of {} overall".format(*counts[0], *counts[1])
    ends = (here.low - overall.high, here.high - overall.low)
    return verdict_above(difference, *ends, counts[0][1], bound=0.1, detail=said, unit="points")


def _planted(results: Results) -> Verdict:
    """A claim that fails of the sound program, too, has found nothing."""
    failing: dict[str, set[str]] = {}
    for one in results.select(Audit, metric="fails"):
        if isinstance(step := one.step, Audit) and step.name.startswith("genotyping"):
            failing.setdefault(step.name, set()).update([one.measurement.task] if one.value else [])
    alarms = failing.pop("genotyping", set()) | failing.pop("genotyping of two", set())
    flagged = {name.split(": ")[1]: found - alarms for name, found in failing.items()}
    alone = sum(any("versions" not in name for name in found) for found in flagged.values())
    missed = ", ".join(name for name, found in flagged.items() if not found) or "none"
    share = clopper_pearson(sum(map(bool, flagged.values())), len(flagged))
    said = f"{alone} without a second version to compare; missed: {missed}; false alarms of the sound program: "
    said += ", ".join(sorted(alarms)) or "none"
    return verdict_above(share.estimate, share.low, share.high, len(flagged), bound=0.5, detail=said, unit="share")
