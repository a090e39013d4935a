"""The study on scrutiny: its claims hold of a sound program and not of a defective one; its verdicts are counts."""

import os
from collections.abc import Iterator
from dataclasses import replace

import pytest

from surefoot.core import Measurement, Observation, Results, Step, Store, SurefootError
from surefoot.scrutiny import DEFECTS, Reply, Trial, sample
from surefoot.stats import clopper_pearson
from surefoot.studies import load_study
from surefoot.studies.scrutiny import Audit, case

needs_data = pytest.mark.skipif(not os.environ.get("SUREFOOT_DATA"), reason="SUREFOOT_DATA has the published data")
EXPOSING = {
    "common locus dropped": {"suspect": "contributor", "picograms": 3000.0},
    "swallowed locus": {"contributors": 1, "dropin": 0.0, "suspect": "unrelated"},
    "known contributor forgotten": {"known": 1},
    "first replicate alone": {"replicates": 2},
    "contributors counted": {"minor": 0.05, "picograms": 200.0},
}
CLEAN = {"contributors": 1, "picograms": 5000.0, "dropin": 0.0, "suspect": "contributor"}
CLAIMED = {
    "common locus dropped": "a match is lost",
    "unit ignored": "nanograms",
    "seed leaks": "another seed",
    "first replicate alone": "replicates turned",
    **dict.fromkeys(
        ("population swapped", "decimal mark", "coancestry ignored", "natural logarithm"), "one person by hand"
    ),
    "no least frequency": "one person by hand",
}


def failures(name: str, conditions: list[dict]) -> Iterator[str]:
    """The claims that fail, query by query, asked in this process."""
    asked = case(name)
    for seed, condition in enumerate(conditions):
        whole = {**asked.domain.case, **condition}
        evidence, truth = asked.generate(whole, seed)
        trial = Trial(condition=whole, evidence=evidence, truth=truth, reply=reply(asked.system, evidence, seed))
        for claim in asked.claims:
            if claim.change:
                system = asked.other if claim.other else asked.system
                again = reply(system, claim.change(evidence, seed), seed)
                trial = replace(trial, second={claim.name: again})
            judged = claim.judge(trial)
            if judged and judged.margin > 0:
                yield claim.name


def reply(system, evidence, seed) -> Reply:
    return Reply(status="answered", output=system.call(evidence, seed))


def test_no_claim_fails_of_the_sound_program() -> None:
    for name in ("genotyping", "genotyping of two"):
        drawn = sample(case(name).domain, 12, method="sobol", seed=0)
        hard = [CLEAN | {"picograms": 900.0, "dropin": 0.01}] * 40
        assert not {*failures(name, [*map(dict, drawn), CLEAN, CLEAN | {"novel": True}, *hard])} - {"mean ratio"}


@pytest.mark.parametrize("defect", DEFECTS)
def test_each_planted_defect_breaks_a_claim(defect: str) -> None:
    """By a claim that needs no second version where there is one; the others by comparison with the sound version."""
    claim = CLAIMED.get(defect, "same in both versions")
    hard = CLEAN | ({"novel": True} if defect == "no least frequency" else {}) if "hand" in claim else {}
    asked = [EXPOSING.get(defect, hard)] * 40
    assert any(found == claim for found in failures(f"genotyping: {defect}", asked))


def test_an_unknown_audit_is_refused() -> None:
    with pytest.raises(SurefootError, match="no audit 'handwriting'"):
        case("handwriting")


def results(store: Store, found: dict[str, list[Measurement]]) -> Results:
    steps: list[Step] = [Audit(name=name) for name in found]
    made = Results(store, tuple(steps))
    made.__dict__["missing"] = ()
    observed = [(step, one) for step, name in zip(steps, found, strict=True) for one in found[name]]
    made.__dict__["observations"] = tuple(Observation(step=step, measurement=one) for step, one in observed)
    return made


def test_verdicts_are_exact_intervals_of_counts(store: Store) -> None:
    def rate(value: float, n: int, shift: str) -> Measurement:
        return Measurement(metric="failure_rate", value=value, n=n, task="false inclusion above 1", shift=shift)

    found = {f"genotyping: {name}": [fails("another seed", k < 13)] for k, name in enumerate(DEFECTS)}
    found["genotyping: natural logarithm"] = [fails("same in both versions", True)]
    found["glass, two-level"] = [rate(0.3, 50, "at the case"), rate(0.05, 100, "overall")]
    checks = {claim.name: claim.check for claim in load_study("scrutiny").claims}
    planted = checks["planted defects"](results(store, found))
    assert (planted.effect, planted.n, planted.status) == (1.0, 14, "supported")
    assert planted.low == pytest.approx(0.025 ** (1 / 14)) and "13 without a second version" in planted.detail
    found["genotyping"] = [fails("another seed", True)]  # what is said of the sound program, too, has found nothing
    planted = checks["planted defects"](results(store, found))
    assert (planted.effect, planted.status) == (pytest.approx(1 / 14), "contradicted")
    assert planted.detail.endswith("false alarms of the sound program: another seed")
    near = checks["glass, two-level"](results(store, found))
    ends = clopper_pearson(15, 50, level=0.975), clopper_pearson(5, 100, level=0.975)
    assert near.status == "undecided" and near.low == pytest.approx(ends[0].low - ends[1].high)
    assert near.effect == pytest.approx(0.25)
    found["glass, two-level"][0] = rate(0.6, 50, "at the case")
    assert checks["glass, two-level"](results(store, found)).status == "supported"
    with pytest.raises(SurefootError, match="run the study first"):
        checks["count of alleles"](results(store, found))


def fails(claim: str, failed: bool) -> Measurement:
    return Measurement(metric="fails", value=float(failed), n=1, task=claim)


@needs_data
def test_an_audit_is_a_bundle_and_its_rates(made, store: Store) -> None:
    step = Audit(name="count of alleles", scale=0.03)
    assert (made(step) / "bundle" / "plan.json").exists()
    rates = [one for one in store.measurements(step) if one.metric == "failure_rate"]
    assert {"overall", "near", "at the case"} <= {one.shift for one in rates} and {one.n for one in rates} >= {6, 3}
