"""What the report of a scrutiny says in words and tables, against what the bundle holds."""

import hashlib
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from scipy.stats import binomtest

from surefoot.core import open_pool
from surefoot.report import _scrutiny as _report
from surefoot.report import write_scrutiny
from surefoot.scrutiny import (
    Judged,
    Ratios,
    _findings,
    answers,
    assess,
    ratio_bounds,
    run_scrutiny,
    subgroup_gap,
    verify_bundle,
    write_plan,
)
from surefoot.scrutiny._findings import Query

Sealed = tuple[Path, dict[str, Any]]


def test_the_counts_of_the_page_are_those_of_the_findings(sealed: Sealed, tmp_path: Path) -> None:
    page = write_scrutiny(verify_bundle(sealed[0]), tmp_path / "page.html", source="toy").read_text(encoding="utf-8")
    wrong = sealed[1]["claims"][0]
    overall, near, case = (
        f"{one['failed']} of {one['n']} did not keep to it ({100 * one['low']:.3g} to {100 * one['high']:.3g} in 100)"
        for one in wrong["samples"]
    )
    assert len({overall, near, case}) == 3
    assert f"Over all conditions {overall}; near this case {near}; exactly like it {case}. Asked again" in page
    assert "Near this case&#39; means amount 50 to 250; kind a or b." in page
    nearest = min(wrong["found"], key=lambda one: one["distance"])
    there = f"amount {nearest['condition']['amount']:.6g}, kind b, a distance of {nearest['distance']:.2g}. "
    assert f"The confirmed failure nearest to the case lies at {there}" in page
    plan = hashlib.sha256((sealed[0] / "plan.json").read_bytes()).hexdigest()
    assert f"deposited before the run: SHA-256 {plan}" in page
    worst = wrong["found"][-1]
    assert f"{worst['failed']} of {worst['n']} did not keep to it" in page
    lines = [json.loads(line)["record"] for line in (sealed[0] / "queries.jsonl").read_text().splitlines()]
    queries = [one for one in lines if "stage" in one]
    counts = (sum(1 + len(one["second"]) for one in queries), len(queries))
    assert all(f"{n:,} {what}" in page for n, what in zip(counts, ("queries", "cases"), strict=True))
    every = page[page.index("All tests, passed and failed.") :].partition("</table>")[0].split("<tr")[2:]
    cells = [re.findall(r"<td[^>]*>(.*?)</td>", row) for row in every]
    shown = [(*row[:2], *(float(one) for one in row[3:4]), *(float(one) for one in row[9:11])) for row in cells]
    assert shown == [
        (claim["name"], test.get("sample") or f"{test['which']}, distance {test['distance']:.3g}", test["n"],
         pytest.approx(test["p"], rel=1e-2), pytest.approx(test["p (Holm)"], rel=1e-2))
        for claim in sealed[1]["claims"] for test in (*claim["samples"], *claim["found"])
    ]  # fmt: skip
    assert "1 of 4 claims is shown to fail" in page


def test_the_nearest_failure_is_where_it_was_confirmed_and_a_value_keeps_its_digits() -> None:
    """Both lie as far off; the first was not confirmed."""
    test = {"judged": True, "unjudged": 0, "n": 9, "failed": 3, "low": 0.1, "high": 0.7, "p (Holm)": 1.0}
    odd = [test | {"distance": 1.0, "changed": ["pg"], "condition": {"pg": one}} for one in (50.25, 1250.5)]
    claim = {"sentence": "It holds.", "effect": "rate", "bound": 0.2, "samples": [test] * 3}
    claim |= {"found": [odd[0], odd[1] | {"p (Holm)": 0.01, "failed": 7}], "verdict": "fails where it was searched"}
    plan = {"plan": {"alpha": 0.05}}
    said = _report._in_words(claim | {"fails at distance": 1.0}, plan)
    assert "Asked again where it seemed worst (pg 1250.5), 7 of 9 did not keep to it" in said
    assert "nearest to the case lies at pg 1250.5, a dist" in _report._in_words(
        claim | {"fails at distance": 1.0}, plan
    )
    assert "nearest to the case lies at the case's own" in _report._in_words(claim | {"fails at distance": 0.0}, plan)


def test_the_questions_and_the_figure_are_of_the_right_tests(
    sealed: Sealed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The report asks of the sample near the case, beside what its maker reports, which the figure shows, too."""
    drawn = []
    monkeypatch.setattr(_report, "still", lambda figure: drawn.append(figure) or "")
    page = write_scrutiny(verify_bundle(sealed[0]), tmp_path / "page.html", source="toy").read_text(encoding="utf-8")
    wrong = sealed[1]["claims"][0]
    near = wrong["samples"][1]
    asked = f"How many of the 60 were like this case? Near it, {near['failed']} of {near['n']} did not keep to it"
    assert "2 of 60 are reported to fail" in page and asked in page
    exact = binomtest(2, 60).proportion_ci(method="exact")
    reported = next(row for row in drawn[0].table() if row["label"] == "as reported")
    assert [reported[name] for name in ("value", "low", "high")] == pytest.approx([2 / 60, exact.low, exact.high])


def test_a_limit_below_a_bracket_a_difference_and_what_an_assumption_explains_are_said() -> None:
    test = {"judged": True, "unjudged": 0, "n": 9, "failed": 3, "estimate": 0.35, "low": 0.1, "high": 0.7}
    claim = {"name": "it", "sentence": "It holds.", "bound": 0.2, "samples": [test] * 3, "found": [], "unjudged": {}}
    claim |= {"verdict": "no failure shown", "fails at distance": None, "effect": "gap"}
    above = "A bracket that lies above the limit counts as no failure here"
    assert [above in _report._in_words(claim | {"bound": one}, {}) for one in (0.09, 0.1)] == [True, False]
    assert _report._told(test, claim) == "the difference of rates was 35 points (at least 10) in 9 cases"
    drivers = [{"condition": name, "assumption": True, "share": share} for name, share in (("a", 0.4), ("b", 0.2))]
    asked = [*_report._questions(claim | {"drivers": drivers}, {"known": {}, "plan": {"alpha": 0.05}})]
    assert asked == ["Why was a assumed so? It explains 40 percent of 'it'."]


def test_what_a_constraint_left_out_is_said_to_be_untested() -> None:
    held = {"held": {"files": True, "processes": True}, "status": {"answered": 3}, "claims": []}
    plan = {"domain": [], "constraints": [{"name": "warm", "source": "manual"}]}
    plausible = {"source": "a survey", "least": 0.25}
    said = " ".join(_report._untested(plan | {"plausibility": plausible}, held))
    assert said.endswith("was tested. Constraint: warm (manual). Plausibility of at least 0.25: a survey.")
    free = {"constraints": [], "plausibility": {"source": "", "least": 0.0}}
    assert len([*_report._untested(plan | free, held)]) == 1


def test_a_difference_between_groups_of_which_one_is_there_is_nothing_and_not_infinite() -> None:
    queries = [Query("near", {}, {"by": Judged(-1.0, -1.0, "a")}, ())] * 3 + [Query("near", {}, {}, ["by"])]
    claim = replace(subgroup_gap(answers(), "kind", bound=0.1), name="by")
    test = _findings._finite(_findings._told(claim, queries, assess(claim, _findings.judged_by(claim, queries))))
    assert _report._told(test, {"effect": "gap"}) == "nothing could be judged (1 gave no figure)"
    endless = replace(ratio_bounds((10,), Ratios(value="lr", truth="donor"))[1], name="by")
    queries[0] = Query("near", {}, {"by": Judged(400.0, 400.0)}, ())
    test = _findings._finite(_findings._told(endless, queries, assess(endless, _findings.judged_by(endless, queries))))
    table = [*_report._tests({"name": "by", "bound": 1.0, "samples": [test | {"sample": "near"}], "found": []})]
    assert [table[0][name] for name in ("estimate", "low", "high")] == ["infinite"] * 3  # and not as where nothing is
    assert (
        _report._told(test, {"effect": "mean ratio"})
        == "the mean ratio was infinite in 3 cases (1 more could not be judged)"
    )


NO_RATE = """
from surefoot.scrutiny import *

RATIOS = Ratios(value="lr", truth="donor")

def scrutiny():
    kind = Variable(name="kind", case="a", choices=("a", "b"), source="expert")
    never = Ratios(value="lr", truth="always")
    from dataclasses import replace
    return Scrutiny(
        name="odd", question="?", domain=Domain(variables=(kind,)),
        system=PythonSystem(call=lambda evidence, seed: {"lr": 1 + seed % 3 / 10 if seed % 4 else -1.0}, version="1"),
        generate=lambda condition, seed: ({}, {"donor": bool(seed % 2), "always": True}),
        claims=(
            calibration(RATIOS, bound=5.0),
            replace(calibration(never), name="one class"),
            ratio_bounds((10,), RATIOS)[1],
            subgroup_gap(false_inclusion(0.9, RATIOS), "kind", bound=0.9),
            false_inclusion(0.3, RATIOS),
        ),
        plan=ScrutinyPlan(overall=8, near=8, at_case=8, methods=(), approach=0, confirm=2, seed=4),
        propositions=("p", "q"), population="toy",
    )
"""


def test_the_words_of_a_report_say_what_was_measured_and_ask_of_what_was_confirmed(tmp_path: Path) -> None:
    case, bundle = tmp_path / "case.py", tmp_path / "a.bundle"
    case.write_text(NO_RATE, encoding="utf-8")
    write_plan(case, bundle)
    with open_pool("here") as pool:
        found = run_scrutiny(case, bundle, pool=pool)
    claims = {one["name"]: one for one in found["claims"]}
    page = write_scrutiny(verify_bundle(bundle), tmp_path / "page.html", source="a").read_text(encoding="utf-8")
    assert claims["one class"]["verdict"] == "not judged"
    failing = sum(one["verdict"].startswith("fails") for one in claims.values())
    assert failing < sum(bool(one["found"]) for one in claims.values())  # what is asked again is not yet a failure
    assert (f"{failing} of 5 claims" if failing else "No failure was shown") in page
    assert "near this case nothing could be judged" in page
    cost = claims["calibration"]["samples"][1]
    assert f"near this case the cost (Cllr) was {cost['estimate']:.3g} (at least {cost['low']:.3g}) in 8 cases" in page
    ratios = [10 ** (1 + seed % 3 / 10 if seed % 4 else -1.0) for seed in range(10_000_004, 10_000_012, 2)]
    assert f"near this case the mean ratio was {sum(ratios) / 4:.3g} (at least" in page
    assert "the difference of rates was" in page
    assert page.count("did not keep to it") == 3 + bool(claims["false inclusion above 1"]["found"])
    assert {one["samples"][1]["failed"] for name, one in claims.items() if name != "false inclusion above 1"} == {None}
    assert claims["mean ratio"]["found"]
    assert "Was it validated" not in page  # two cases confirm nothing
