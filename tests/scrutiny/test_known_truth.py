"""Whole audits of systems whose failure rates are known: false alarms, and intervals after a search."""

from collections import Counter
from dataclasses import replace

from scipy.stats import binomtest
from simulated import at_the_bound, audited, intervals, known_rate

from surefoot.scrutiny import ScrutinyPlan

PLAN = ScrutinyPlan(overall=30, near=30, at_case=20, methods=("random",), budget=18, approach=6, confirm=40, seed=1)
AUDITS = 24


def test_a_system_that_just_keeps_its_claims_is_hardly_ever_shown_to_fail() -> None:
    """Of the same tests one by one most audits have some below .05: Holm is what keeps the error rate."""
    shown = single = 0
    for number in range(AUDITS):
        found, _ = audited(at_the_bound(replace(PLAN, seed=1 + 1_000_000_000 * number)))
        shown += any(one["verdict"].startswith("fails") for one in found["claims"])
        single += any(test["p"] <= 0.05 for one in found["claims"] for test in (*one["samples"], *one["found"]))
    assert binomtest(shown, AUDITS, 0.05, alternative="greater").pvalue > 0.01
    assert single > AUDITS / 4


def test_intervals_hold_the_known_rate_also_where_a_search_led() -> None:
    held, asked = Counter(), Counter()
    for number in range(AUDITS):
        told = intervals(known_rate(replace(PLAN, seed=1 + 1_000_000_000 * number)))
        held.update(name for name, inside in told.items() if inside)
        asked.update(told.keys())
    assert {*asked} == {"overall", "near", "at the case", "nearest", "worst"}
    for name, n in asked.items():
        assert binomtest(held[name], n, 0.95, alternative="less").pvalue > 0.01, name
