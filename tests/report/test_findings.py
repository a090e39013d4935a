"""The checks: each says something exactly when there is something to object to."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import pytest
from laboratory import ZeroShot, evaluations

from surefoot.core import Claim, Figure, Measurement, Observation, Verdict
from surefoot.figures import scaling_curve
from surefoot.report import Finding, effect_text, interval_text
from surefoot.report._findings import (
    claim_findings,
    figure_findings,
    measurement_findings,
    step_findings,
    unfinished_findings,
)
from surefoot.report._numbers import bound_text
from surefoot.report._steps import environments_of

STEP = evaluations()[0]


def codes(findings: Iterable[Finding]) -> list[str]:
    return [finding.code for finding in findings]


def observed(step: ZeroShot = STEP, **changed: Any) -> Observation:
    values: dict[str, Any] = {"metric": "accuracy", "value": 0.5, "n": 100, "low": 0.4, "high": 0.6} | changed
    return Observation(step=step, measurement=Measurement(**values))


@pytest.mark.parametrize(
    ("verdict", "expected"),
    [
        (Verdict(status="supported", effect=1.0, low=0.5, high=1.5, n=9), []),
        (Verdict(status="contradicted", effect=-1.0, low=-1.5, high=-0.5, n=9), []),
        (Verdict(status="undecided", effect=0.1, low=-0.5, high=0.6, n=9), ["C1"]),
        (Verdict(status="undecided", detail="no measurement"), ["C2"]),
        (Verdict(status="supported", effect=1.0, n=9), ["C3"]),
        (Verdict(status="supported", effect=1.0, low=0.5, n=9), []),
        (Verdict(status="undecided", effect=1.0, high=1.5, n=9), ["C1"]),
    ],
)
def test_claims_within_noise_unchecked_or_without_an_interval(verdict: Verdict, expected: list[str]) -> None:
    claim = Claim(name="c", sentence="It rises.", check=lambda results: verdict)
    assert codes(claim_findings([(claim, verdict)])) == expected


@pytest.mark.parametrize(("low", "said"), [(-0.5, "holds 0;"), (0.1, "leaves out 0;")])
def test_an_interval_is_said_to_hold_only_what_it_holds(low: float, said: str) -> None:
    """An interval beyond the bound may be undecided still: as one of many claims, or where a line is extrapolated."""
    verdict = Verdict(status="undecided", effect=0.3, low=low, high=0.6, n=9)
    (found,) = claim_findings([(Claim(name="c", sentence="It rises.", check=lambda results: verdict), verdict)])
    assert said in found.text


def test_small_samples_bare_numbers_and_standard_errors_are_counted_and_named() -> None:
    group = [observed(n=12, group="left-handed"), observed(n=49, group="left-handed"), observed(n=50)]
    bare, approximate = observed(low=None, high=None), observed(low=None, high=None, stderr=0.05)
    found = list(measurement_findings([*group, bare, approximate]))
    assert codes(found) == ["M1", "M2", "M3"]
    assert found[0].text.startswith("2 of 5 measurements rest on fewer than 50 examples")
    assert "accuracy / left-handed (2)" in found[0].text
    assert codes(measurement_findings([observed()])) == []


def drawn(last: float, *, held_out: bool) -> Figure:
    points = [{"x": 1.0, "y": 0.5}, {"x": 10.0, "y": 0.4}, {"x": 100.0, "y": 0.3, "held_out": held_out}]
    fit = [{"x": 1.0, "y": 0.5}, {"x": last, "y": 0.2}]
    return scaling_curve(points, fit, name="f", title="F", caption="", x_title="x", y_title="y")


@pytest.mark.parametrize(
    ("last", "held_out", "expected"), [(100.0, False, []), (101.0, False, ["F1"]), (100.0, True, ["F1"])]
)
def test_a_curve_beyond_the_points_it_was_fitted_to_is_an_extrapolation(
    last: float, held_out: bool, expected: list[str]
) -> None:
    found = list(figure_findings([("figure-f", drawn(last, held_out=held_out))]))
    assert codes(found) == expected
    assert all(finding.anchor == "figure-f" for finding in found)


def test_one_seed_only_is_said_and_a_second_seed_silences_it() -> None:
    again = replace(STEP, model=replace(STEP.model, seed=1))
    assert codes(step_findings([observed()], [])) == ["S1"]
    assert codes(step_findings([observed(), observed(again)], [])) == []
    assert codes(step_findings([observed(), observed(replicate=1)], [])) == []
    assert codes(step_findings([observed(evaluations()[1]), observed()], [])) == ["S1"]


def test_uncommitted_code_and_several_commits_are_said() -> None:
    repeated = [observed(), observed(replicate=1)]
    assert codes(step_findings(repeated, [{"commit": "a"}, {"commit": "a"}])) == []
    assert codes(step_findings(repeated, [{"commit": "a+changes"}, {"commit": "b"}])) == ["S2", "S3"]


def test_failed_and_missing_steps_are_told_apart() -> None:
    first, second, third = evaluations()[:3]
    assert codes(unfinished_findings((), ())) == []
    assert codes(unfinished_findings((first,), (first,))) == ["R1"]
    found = list(unfinished_findings((first, second, third), (first,)))
    assert codes(found) == ["R1", "R2"]
    assert found[1].text.startswith("2 Steps")


@pytest.mark.parametrize(
    ("values", "effect", "interval", "bound"),
    [
        ((0.1086, 0.1005, 0.1166, 0.0, "points"), "+10.9 points", "+10.1 to +11.7", "0"),
        ((-0.0281, -0.0383, 0.0013, -0.02, "points"), "−2.8 points", "−3.8 to +0.13", "−2.0"),
        ((0.939, 0.919, 0.958, 0.95, "share"), "93.9%", "91.9% to 95.8%", "95.0%"),
        ((0.0602, 0.049, 0.071, 0.2, "number"), "0.0602", "0.049 to 0.071", "0.2"),
        ((None, None, None, 0.0, "points"), "", "", "0"),
        ((0.3, 0.1, None, 0.0, "number"), "0.3", "0.1 to ∞", "0"),
        ((0.3, None, 0.4, 0.0, "points"), "+30.0 points", "−∞ to +40.0", "0"),
    ],
)
def test_an_effect_is_read_in_its_unit(values: tuple[Any, ...], effect: str, interval: str, bound: str) -> None:
    value, low, high, against, unit = values
    verdict = Verdict(status="undecided", effect=value, low=low, high=high, bound=against, unit=unit)
    assert (effect_text(verdict), interval_text(verdict), bound_text(verdict)) == (effect, interval, bound)


def test_a_claim_that_is_not_decided_names_the_bound_that_its_interval_holds() -> None:
    verdict = Verdict(status="undecided", effect=-0.028, low=-0.038, high=-0.018, n=5, bound=-0.02, unit="points")
    claim = Claim(name="keeps", sentence="", check=lambda _: verdict)
    (finding,) = claim_findings([(claim, verdict)])
    assert "−2.8 points, and the interval −3.8 to −1.8 holds −2.0; n = 5" in finding.text


def test_steps_of_one_machine_are_of_one_environment_until_a_package_changes_its_version() -> None:
    def made(machine: str, **packages: str) -> dict[str, Any]:
        return {"machine": {"host": machine}, "packages": packages}

    found, numbers = environments_of(
        {
            "elsewhere": made("b", numpy="2.0"),
            "first": made("a", numpy="2.0"),
            "loaded more": made("a", numpy="2.0", torch="2.6"),
            "another torch": made("a", numpy="2.0", torch="2.7"),
            "loaded less": made("a", torch="2.6"),
        }
    )
    assert numbers == {"first": 1, "loaded more": 1, "loaded less": 1, "elsewhere": 2, "another torch": 3}
    assert [(one.count, one.packages) for one in found] == [
        (3, "numpy 2.0, torch 2.6"),
        (1, "numpy 2.0"),
        (1, "numpy 2.0, torch 2.7"),
    ]
    assert [dict(one.machine)["host"] for one in found] == ["a", "b", "a"]
