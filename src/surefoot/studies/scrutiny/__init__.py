"""Scrutiny: what tests near a case find that validation overall misses, on real evidence and on planted defects.

The published system is arXiv 2206.09305, which has no code.

- **Estimand.** Of real evidence, the rate at the case minus the rate over the whole domain, by fresh queries of both.
  Real mixtures and windows are drawn again and again: rates are of those that were published, not of casework.
- **Power.** Samples of 100 and 50 show a difference above 10 points with power .85 where the rates are .45 and .05. Of
  fourteen defects, eleven found have a lower bound of .49 and twelve of .57. False alarms need 200 audits: a benchmark.
  The unsealed defect, in 207 of 1,500 stains of three persons and none of two in a trial, needs 300 at each case.
- **What was known.** The claims on the count of alleles, on two-level glass and on planted defects were stated before
  they were run. Trials had shown the unsealed defect, a validation of ten stains that missed twelve defects, and the
  rates of tablets and of the learned score before their bounds were set: these report, they do not predict.
"""

from functools import partial
from importlib.util import find_spec

from surefoot.core import Claim, Results, Step, Study, SurefootError, Verdict, verdict_above
from surefoot.scrutiny import DEFECTS
from surefoot.stats import clopper_pearson
from surefoot.studies.scrutiny._cases import CASES as CASES
from surefoot.studies.scrutiny._cases import case as case
from surefoot.studies.scrutiny._figures import by_distance, by_validation, queries_to_find
from surefoot.studies.scrutiny._steps import Audit as Audit
from surefoot.studies.scrutiny._steps import ByDistance as ByDistance
from surefoot.studies.scrutiny._steps import ValidationStudy as ValidationStudy

_INCLUSION, _VERSIONS = "false inclusion above 1", "same in both versions"
_THREE, _TWO = "unsealed defect, three persons", "unsealed defect, two persons"
_REAL = {
    "count of alleles": "wrong number",
    "glass, two-level": _INCLUSION,
    "glass, isotonic (scikit-learn)": _INCLUSION,
    "glass, learned score within bounds (lir)": _INCLUSION,
    "tablets, two-level": _INCLUSION,
}


def study(*, scale: float = 0.5) -> Study:
    """The study: `scale` multiplies the counts of every plan (1: 500 queries in three samples, a search of 90 a claim).

    Calibrators of lir are audited where it is installed.
    """
    names = [name for name in CASES if "(lir)" not in name or find_spec("lir")]
    near = "At the case {} fails '{}' more often than overall, by more than 10 points."
    said = [("planted defects", "More than half of the planted defects are found.", _planted)]
    real = {name: claim for name, claim in _REAL.items() if name in names}
    for name, claim in real.items():
        check = partial(_above, (name, "at the case"), (name, "overall"), claim, 0.1)
        said.append((name, near.format(name, claim), check))
    three = "At a case of three persons the unsealed defect moves the ratio more often than at one of two, by 5 points."
    routine = "A validation of 60 routine stains misses more than a quarter of the planted defects."
    unsealed = partial(_above, (_THREE, "at the case"), (_TWO, "at the case"), _VERSIONS, 0.05)
    said += [("unsealed defect", three, unsealed), ("validation study", routine, _missed)]
    audits = {name: Audit(name=name, scale=scale) for name in (*names, *(f"genotyping: {one}" for one in DEFECTS))}
    drawn = real | dict.fromkeys((_THREE, _TWO), _VERSIONS)
    far: list[Step] = [ByDistance(audit=audits[name], claim=claim) for name, claim in drawn.items()]
    return Study(
        name="scrutiny",
        title="Scrutiny of evidentiary software: near the case, and overall",
        summary=f"{len(names)} audits and {len(DEFECTS)} planted defects, each by a signed plan. What a "
        "search found is tested again with fresh seeds.",
        steps=(*audits.values(), *far, ValidationStudy()),
        claims=tuple(Claim(name=n, sentence=s, check=c, source="ours, after arXiv 2206.09305") for n, s, c in said),
        figures=(by_distance, by_validation, queries_to_find),
        credits=("Mixtures, glass and tablets: Netherlands Forensic Institute (Apache-2.0)",),
    )


def _above(first: tuple[str, str], second: tuple[str, str], claim: str, bound: float, results: Results) -> Verdict:
    """The difference of two rates, each of an audit and a sample; each exact at 97.5 percent, so that both hold."""
    found = results.select(Audit, metric="failure_rate", task=claim)
    by = {(one.step.name, one.measurement.shift): one.measurement for one in found if isinstance(one.step, Audit)}
    if lacks := [name for name, sample in (first, second) if (name, sample) not in by]:
        raise SurefootError(f"The audit '{lacks[0]}' is not in the store: run the study first.")
    counts = [(round(by[one].value * by[one].n), by[one].n) for one in (first, second)]
    here, there = (clopper_pearson(*one, level=0.975) for one in counts)
    difference = here.estimate - there.estimate
    other = second[1] if first[0] == second[0] else f"of {second[0]}"
    said = "{} of {} at the case, {} of {} {}".format(*counts[0], *counts[1], other)
    ends = (here.low - there.high, here.high - there.low)
    return verdict_above(difference, *ends, counts[0][1], bound=bound, detail=said, unit="points")


def _missed(results: Results) -> Verdict:
    found = results.select(ValidationStudy)
    counts = {one.measurement.metric: round(one.measurement.value) for one in found if not one.measurement.task}
    if not counts:
        raise SurefootError("The validation study is not in the store: run the study first.")
    share = clopper_pearson(counts["missed"], len(DEFECTS))
    said = f"{counts['missed']} of {len(DEFECTS)} missed; {counts['added']} more stains near the case would show "
    said += f"{counts['then_seen']} of them"
    return verdict_above(share.estimate, share.low, share.high, len(DEFECTS), bound=0.25, detail=said, unit="share")


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
