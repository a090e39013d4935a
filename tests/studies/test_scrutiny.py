"""The study on scrutiny: its claims hold of a sound program and not of a defective one; its verdicts are counts."""

import os
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import surefoot.scrutiny
from surefoot.core import Measurement, Observation, Results, Step, Store, SurefootError
from surefoot.scrutiny import DEFECTS, PythonSystem, Reply, Trial, ValidityClaim, sample
from surefoot.scrutiny._scrutiny import describe
from surefoot.scrutiny._systems._kinds import describe_system
from surefoot.stats import clopper_pearson
from surefoot.studies import load_study
from surefoot.studies.scrutiny import CASES, Audit, ByDistance, ValidationStudy, _steps, case
from surefoot.studies.scrutiny._cases import _calibrated

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


def test_a_calibrated_share_is_a_ratio_without_the_prior_odds_of_its_training(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of equal scores a of A are of one source, b of B of two: their ratio is (a / A) / (b / B)."""
    known = SimpleNamespace(scores=np.repeat([0.0, 1.0], [6, 3]), same=np.array([1, 0, 0, 0, 0, 0, 1, 1, 0], bool))
    monkeypatch.setattr(surefoot.scrutiny, "trained_on_glass", lambda: known)
    call = _calibrated("isotonic")
    for score, ratio in ((0.0, (1 / 3) / (5 / 6)), (1.0, (2 / 3) / (1 / 6))):
        assert call({"score": score, "column": False}, 0)["log10_lr"] == pytest.approx(np.log10(ratio))


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


@pytest.mark.parametrize("name", [*CASES, "genotyping: seed leaks"])
def test_each_audit_can_be_planned(name: str) -> None:
    """Whatever its system is: a function, one with arguments of its own, or an object that is called."""
    told = describe(case(name, 0.1), Path(__file__))
    assert all(told["system"]["files"].values()) and told["question"].endswith("?")
    function = told["system"]["function"]
    assert function.startswith("surefoot.s") and "functools" not in function and "0x" not in function


def test_an_object_that_is_called_is_named_by_its_class() -> None:
    class Tool:
        def __call__(self, evidence, seed):
            return evidence

    told = describe_system(PythonSystem(call=partial(Tool(), seed=1), version="1"))
    assert told["function"].endswith(".Tool") and told["files"][__file__]


def test_an_unknown_audit_is_refused() -> None:
    with pytest.raises(SurefootError, match="no audit 'handwriting'"):
        case("handwriting")


def results(store: Store, found: dict[str, list[Measurement]]) -> Results:
    return observed({Audit(name=name): seen for name, seen in found.items()}, store)


def observed(found: Mapping[Step, list[Measurement]], store: Store) -> Results:
    steps = [*found]
    made = Results(store, tuple(steps))
    made.__dict__["missing"] = ()
    made.__dict__["observations"] = tuple(
        Observation(step=step, measurement=one) for step, seen in found.items() for one in seen
    )
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


def test_a_third_person_is_a_difference_of_two_audits_and_a_validation_a_share(store: Store) -> None:
    def rate(failed: int) -> list[Measurement]:
        told = {"metric": "failure_rate", "task": "same in both versions", "shift": "at the case"}
        return [Measurement(value=failed / 300, n=300, **told)]

    checks = {claim.name: claim.check for claim in load_study("scrutiny").claims}
    three, two = "unsealed defect, three persons", "unsealed defect, two persons"
    verdict = checks["unsealed defect"](results(store, {three: rate(47), two: rate(0)}))
    ends = clopper_pearson(47, 300, level=0.975), clopper_pearson(0, 300, level=0.975)
    assert (verdict.status, verdict.low) == ("supported", pytest.approx(ends[0].low - ends[1].high))
    assert verdict.detail == f"47 of 300 at the case, 0 of 300 of {two}"
    assert checks["unsealed defect"](results(store, {three: rate(0), two: rate(47)})).status == "contradicted"
    counts = {"missed": 9, "added": 3, "then_seen": 4}
    seen = [Measurement(metric=name, value=value, n=14) for name, value in counts.items()]
    verdict = checks["validation study"](observed({ValidationStudy(): seen}, store))
    share = clopper_pearson(9, 14)
    assert (verdict.status, verdict.low) == ("supported", pytest.approx(share.low))
    assert verdict.detail == "9 of 14 missed; 3 more stains near the case would show 4 of them"
    with pytest.raises(SurefootError, match="validation study is not in the store"):
        checks["validation study"](observed({}, store))


def test_a_validation_of_routine_stains_sees_what_any_stain_shows_and_not_what_needs_a_second_version() -> None:
    told = ValidationStudy(samples=4, further=6).make(Path(), None)  # type: ignore[arg-type]
    found = {(one.metric, one.task): one for one in told}
    assert {found["shown", name].value for name in ("unit ignored", "seed leaks")} == {4.0}
    assert {found["shown", name].value for name in ("contributors counted", "coancestry ignored")} == {0.0}
    missed = sum(one.value == 0 for (metric, _), one in found.items() if metric == "shown")
    assert found["missed", ""].value == missed >= found["then_seen", ""].value
    assert found["chance", "unit ignored"].high > 0.999 and found["chance", "seed leaks"].low > 0.5


def test_an_audit_measures_what_was_kept_as_well_as_what_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    near = {"sample": "near", "n": 20, "estimate": 0.1, "low": 0.01, "high": 0.32}
    kept = {"name": "kept", "verdict": "no failure shown", "effect": "rate", "samples": [near], "found": []}
    told = {"claims": [kept | {"searches": [{"method": "cma", "queries to find": None}]}]}
    monkeypatch.setattr(_steps, "write_plan", lambda case, bundle: None)
    monkeypatch.setattr(_steps, "run_scrutiny", lambda case, bundle, pool: told)
    made = [*Audit(name="genotyping").make(tmp_path, None)]  # type: ignore[arg-type]
    assert [(one.metric, one.shift, one.value, one.n) for one in made] == [
        ("fails", "", 0.0, 1),
        ("failure_rate", "near", 0.1, 20),
    ]


@needs_data
def test_failures_by_distance_are_the_samples_of_the_audit_and_are_drawn(made, store: Store) -> None:
    audit = Audit(name="tablets, two-level", scale=0.1)
    step = ByDistance(audit=audit, claim="false inclusion above 1")
    made(step)
    assert (made(audit) / "bundle" / "plan.json").exists()
    found = store.measurements(step)
    samples = {one.shift: one for one in store.measurements(audit) if one.task == step.claim}
    case_alone = next(one for one in found if one.shift == "at the case")
    assert sum(one.n for one in found) == sum(samples[name].n for name in ("overall", "near", "at the case"))
    assert case_alone.n >= samples["at the case"].n == 10 and case_alone.value > 0.4
    assert found[-1].shift == "up to 100" and found[-1].value < case_alone.value
    shown = [Measurement(metric="shown", value=0.0, n=60, task="seed leaks")]
    chance = Measurement(metric="chance", value=0.5, low=0.2, high=0.7, n=80, task="seed leaks")
    several = {step: [*found], ValidationStudy(): [*shown, chance]}
    planted = [Measurement(metric="queries_to_find", value=6.0, n=1, task="another seed", group="cma")]
    everything = observed({**several, Audit(name="genotyping: seed leaks"): planted}, store)
    tables = [make(everything).table() for make in load_study("scrutiny").figures]
    assert [len(table) for table in tables] == [len(found), 1, 1]


def test_a_number_that_is_too_low_and_a_ratio_below_its_bounds_fail_as_those_above_do() -> None:
    def margin(claim: ValidityClaim, truth: int, **output: float) -> float:
        answered = Reply(status="answered", output=output)
        found = claim.judge(Trial(condition={}, evidence={}, truth={"contributors": truth}, reply=answered))
        assert found
        return found.margin

    count, bounds = case("count of alleles").claims[0], case("glass, two-level within bounds").claims[-1]
    assert [margin(count, 4, contributors=n) for n in (3, 4, 5)] == [0.5, -0.5, 0.5]
    assert [margin(bounds, 0, log10_lr=one, log10_lr_elub=one / 2) for one in (-4.0, 4.0)] == [2.0, 2.0]
