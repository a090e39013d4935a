"""Whole audits of systems whose failure rates are known: false alarms, and intervals after a search."""

from collections import Counter
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from scipy.stats import binomtest, rankdata
from simulated import at_the_bound, audited, failing_beyond, intervals, known_rate

from surefoot.scrutiny import ScrutinyPlan, decided, first_order, rate_after_looks, worst_case

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


@pytest.mark.parametrize(("bound", "most"), [(0.3, 120), (0.02, 40)])
def test_a_confirmation_is_looked_at_from_40_on_and_stops_where_all_tests_together_decide(
    bound: float, most: int
) -> None:
    plan = replace(PLAN, overall=20, near=10, at_case=10, budget=45, approach=15, confirm=120, seed=8)
    asked = known_rate(plan)
    asked = replace(asked, claims=(replace(asked.claims[0], bound=bound),))
    found, records = audited(asked)
    one = found["claims"][0]["found"][-1]
    stage = [record for (name, _), record in records.items() if name == f"confirm/{one['which']}/first"]
    counts = np.cumsum([record["judged"]["first"][0] > 0 for record in stage])
    looks = range(40, len(counts) + 1, 20)
    decides = partial(decided, rate=bound, alpha=0.05 / 5)  # three samples, and two conditions that are found
    said = [int(decides(counts[n - 1], n)) for n in looks]
    assert (len(counts), any(said[:-1])) == (most, False)
    # One test alone would have stopped.
    assert any(decided(counts[n - 1], n, bound, alpha=0.05) for n in looks)
    interval = rate_after_looks(int(counts[-1]), looks, decides)
    assert (one["low"], one["high"]) == pytest.approx((interval.low, interval.high))


def test_what_a_score_cannot_read_is_told_with_the_line_of_who_wrote_it() -> None:
    claim = worst_case("odd", lambda trial: trial.reply.output["no"], bound=0.5)
    plan = ScrutinyPlan(overall=1, near=1, at_case=1, methods=(), approach=0, confirm=1, seed=2)
    _, records = audited(replace(known_rate(plan), claims=(claim,)))
    assert {one["unjudged"]["odd"].rstrip("0123456789).") for one in records.values()} == {
        "KeyError: 'no' (test_known_truth.py, line "
    }


def test_what_is_confirmed_as_nearest_is_the_failing_condition_nearest_to_the_case() -> None:
    plan = ScrutinyPlan(overall=40, near=10, at_case=10, methods=(), approach=0, confirm=20, seed=2)
    found, records = audited(failing_beyond(0.3, plan))
    asked = [one for (stage, _), one in records.items() if stage == "overall" and one["judged"]["first"][0] > 0]
    failing = [4 * max(one["condition"]["x"], abs(one["condition"]["y"] - 0.5)) for one in asked]
    nearest = found["claims"][0]["found"][0]
    assert (nearest["which"], nearest["distance"]) == ("nearest", pytest.approx(min(failing)))
    assert 1.2 < min(failing) < max(failing)


def test_what_is_confirmed_as_worst_has_the_largest_margin_and_drivers_are_of_both_even_samples() -> None:
    plan = ScrutinyPlan(overall=20, near=20, at_case=5, methods=(), approach=0, confirm=5, seed=2)
    claim = worst_case("first", lambda trial: float(trial.condition["x"]) ** 2, bound=0.04, rate=0.02)
    asked = replace(known_rate(plan), claims=(claim,))
    found, records = audited(asked)
    even = [one["condition"] for (stage, _), one in records.items() if stage in ("overall", "near")]
    worst = found["claims"][0]["found"][1]
    assert (worst["which"], worst["condition"]["x"]) == ("worst", max(one["x"] for one in even))
    points = np.array([[one["x"], one["y"]] for one in even])
    shares = first_order(points, rankdata(points[:, 0]))
    assert [one["share"] for one in found["claims"][0]["drivers"]] == pytest.approx([*shares])
    assert len(even) == 40 and shares[0] > 0.5
