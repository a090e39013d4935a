"""What a claim says of a query and of many, on replies made by hand; domains; how a case file is refused."""

import json
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.optimize import brentq
from scipy.stats import binomtest, rankdata, t

from surefoot.core import SurefootError
from surefoot.scrutiny import (
    Constraint,
    Domain,
    Judged,
    Ratios,
    Reply,
    Trial,
    ValidityClaim,
    Variable,
    answers,
    assess,
    calibration,
    decided,
    deterministic,
    false_inclusion,
    invariant,
    judge,
    monotone,
    rate_after_looks,
    ratio_bounds,
    same_in_versions,
    sample,
    sequential_p,
    subgroup_gap,
    worst_case,
    write_plan,
)
from surefoot.scrutiny._claims import is_decided, suspicious
from surefoot.scrutiny._findings import Query, _Asked, _drivers, _least, _searched, _told, correct, judged_by, score

RATIOS = Ratios(value="log10_lr", truth="donor")
FROM = "__import__('surefoot.scrutiny').scrutiny."
TIGHT = f'source="e"),), constraints=({FROM}Constraint(name="c", source="s", holds=lambda one: one["amount"] == 150),)'
BY_NOTHING = f"answers(), {FROM}subgroup_gap(answers(), 'nosuch', bound=0.1),"
BY_EACH, BY_EDGES = BY_NOTHING.replace("nosuch", "amount"), BY_NOTHING.replace("nosuch', ", "kind', edges=(1,), ")
CASE = Path(__file__).with_name("case.py")


def trial(value: object, *, donor: bool = False, second: object = None, name: str = "", **condition: Any) -> Trial:
    replies = {name: Reply(status="answered", output={"log10_lr": second, "text": "same"})} if name else {}
    reply = Reply(status="answered", output={"log10_lr": value, "text": "same"})
    return Trial(condition=condition, evidence={}, truth={"donor": donor}, reply=reply, second=replies)


def margin(claim: ValidityClaim, of: Trial) -> float:
    found = judge(claim, of)
    assert found
    return found.margin


def test_ratios_of_non_contributors_are_judged_and_of_contributors_not() -> None:
    claim = false_inclusion(0.1, RATIOS)
    assert margin(claim, trial(0.5)) > 0 >= margin(claim, trial(0.0))
    assert judge(claim, trial(5.0, donor=True)) is None
    assert margin(claim, trial("inf")) > 1e6
    hundred = ratio_bounds((100,), RATIOS)[0]
    assert margin(hundred, trial(2.0)) > 0 > margin(hundred, trial(1.999))
    plain = false_inclusion(0.1, Ratios(value="log10_lr", truth="donor", log10=False))
    assert margin(plain, trial(0)) < -1e6
    for value, said in ((None, "no number"), ("nan", "no number"), (True, "no number")):
        with pytest.raises(SurefootError, match=said):
            judge(claim, trial(value))
    with pytest.raises(SurefootError, match="is it a logarithm"):
        judge(plain, trial(-0.5))


def test_a_whole_number_beyond_all_floats_is_a_number() -> None:
    plain = false_inclusion(0.1, Ratios(value="log10_lr", truth="donor", log10=False))
    assert margin(plain, trial(10**400)) == 400.0
    assert (
        margin(false_inclusion(0.1, RATIOS), trial(10**400))
        > 1e6
        > -1e6
        > margin(false_inclusion(0.1, RATIOS), trial(-(10**400)))
    )
    assert margin(deterministic(), trial(10**400, second=1.5, name="deterministic")) > 1e6
    assert margin(deterministic(), trial(10**400, second=10**400, name="deterministic")) == 0.0


def test_metamorphic_claims_compare_two_replies() -> None:
    rises = monotone("more", lambda evidence, seed: evidence, value="log10_lr")
    still = invariant("order", lambda evidence, seed: evidence, value="log10_lr", tolerance=0.1)
    assert margin(rises, trial(1.0, second=0.5, name="more")) == 0.5
    assert margin(rises, trial("-inf", second="-inf", name="more")) < 0
    assert (
        margin(still, trial(1.0, second=1.05, name="order")) < 0 < margin(still, trial(1.0, second=1.2, name="order"))
    )
    assert margin(deterministic(), trial(1.0, second=1.0 + 1e-12, name="deterministic")) > 0
    versions = same_in_versions(tolerance=0.01)
    assert margin(versions, trial(1.0, second=1.005, name=versions.name)) < 0
    other = trial(1.0, second=1.0, name=versions.name)
    changed = replace(
        other, second={versions.name: Reply(status="answered", output={"log10_lr": 1.0, "text": "other"})}
    )
    assert margin(versions, changed) > 1e6


@pytest.mark.parametrize(
    ("first", "second", "moved"),
    [
        ({"a": [1.0, {"b": 2}]}, {"a": [1.25, {"b": 2.5}]}, 0.5),
        ({"a": ["x", 1]}, {"a": ["x", 1.0]}, 0.0),
        ([1.0], [1.0, 2.0], np.inf),
        ({"a": None}, {}, np.inf),
        (True, 1, np.inf),
        ("inf", "inf", 0.0),
        ("1", 1, np.inf),
    ],
)
def test_versions_are_compared_within_what_they_nest(first: object, second: object, moved: float) -> None:
    claim = same_in_versions(tolerance=0.125)
    assert margin(claim, trial(first, second=second, name=claim.name)) == min(moved - 0.125, 1e9)


def test_a_tolerance_is_said() -> None:
    still = partial(monotone, "more", lambda evidence, seed: evidence, value="x")
    assert "never falls under" in still().sentence
    assert "falls by at most 0.25 under" in still(tolerance=0.25).sentence


def test_a_rate_is_tested_exactly_and_at_every_look() -> None:
    claim = false_inclusion(0.1, RATIOS)
    judged = [Judged(1.0 if number % 3 == 0 else -1.0) for number in range(15)]
    found, looked = assess(claim, judged), assess(claim, judged, looks=(5, 10, 15))
    exact = binomtest(5, 15, 0.1, alternative="greater")
    both = binomtest(5, 15).proportion_ci(method="exact")
    assert (found.failed, found.n, found.p) == (5, 15, pytest.approx(exact.pvalue))
    assert (found.effect.low, found.effect.high) == (pytest.approx(both.low), pytest.approx(both.high))
    assert (looked.effect.estimate, looked.p) == (1 / 3, sequential_p([one.margin > 0 for one in judged], 0.1))
    assert looked.effect == rate_after_looks(5, (5, 10, 15), partial(decided, rate=0.1, alpha=0.05))
    mean = ratio_bounds((10,), RATIOS)[1]
    assert assess(mean, [Judged(1.0, 1.0)] * 20).p < 0.01 < assess(mean, [Judged(-1.0, -1.0)] * 20).p == 1.0


def test_what_has_no_answer_is_judged_by_one_claim_alone() -> None:
    silent = replace(trial(1.0), reply=Reply(status="crashed", error="SIGSEGV"))
    with pytest.raises(SurefootError, match="There is no answer: crashed"):
        judge(false_inclusion(0.1, RATIOS), silent)
    assert judge(false_inclusion(0.1, RATIOS), replace(silent, truth={"donor": True})) is None
    assert margin(answers(), silent) > 0 > margin(answers(), trial(1.0))
    score = worst_case("error", lambda one: abs(one.reply.output["log10_lr"]), bound=2.0)
    assert margin(score, trial(-3.0)) == 1.0
    assert margin(score, trial("-inf")) > 1e6
    with pytest.raises(SurefootError, match="'error' makes of the answer is not a number"):
        judge(score, trial("nan"))


@pytest.mark.parametrize("value", ["nan", None, "", {}, [], [1.0, "nan"], {"a": None}])
def test_an_output_that_says_nothing_is_no_answer(value: object) -> None:
    assert margin(answers(), trial(value)) > 0 > margin(answers(leave_out=["log10_lr"]), trial(value))
    assert margin(answers(), replace(trial(1.0), reply=Reply(status="answered", output={}))) > 0


@pytest.mark.parametrize("said", ["False", "no", None, 0, 1.0])
def test_a_truth_that_is_no_boolean_judges_nothing(said: object, tmp_path: Path) -> None:
    for claim in (false_inclusion(0.1, RATIOS), calibration(RATIOS)):
        assert judge(claim, replace(trial(1.0), truth={"donor": np.bool_(False)}))
        with pytest.raises(SurefootError, match="truth 'donor' must be True or False"):
            judge(claim, replace(trial(1.0), truth={"donor": said}))
    case = tmp_path / "case.py"
    text = CASE.read_text(encoding="utf-8").replace('{"contributor": same}', f'{{"contributor": {said!r}}}')
    case.write_text(text, encoding="utf-8")
    with pytest.raises(SurefootError, match="truth 'contributor' must be True or False"):
        write_plan(case, tmp_path / "a.bundle")


@pytest.mark.parametrize(
    "made",
    [
        lambda: false_inclusion(20, RATIOS),
        lambda: false_inclusion(1.0, RATIOS),
        lambda: false_inclusion(-0.1, RATIOS),
        lambda: false_inclusion(0.1, RATIOS, above=0),
        lambda: false_inclusion(0.1, RATIOS, above=np.inf),
        lambda: calibration(RATIOS, bound=-1),
        lambda: calibration(RATIOS, bound=np.nan),
        lambda: ratio_bounds((), RATIOS),
        lambda: ratio_bounds((10, 0), RATIOS),
        lambda: ratio_bounds((-5,), RATIOS),
        lambda: invariant("i", lambda evidence, seed: evidence, value="x", tolerance=-1),
        lambda: monotone("m", lambda evidence, seed: evidence, value="x", tolerance=np.nan),
        lambda: same_in_versions(tolerance=np.inf),
        lambda: worst_case("w", lambda one: 0.0, bound=np.nan),
        lambda: worst_case("w", lambda one: 0.0, bound=0, rate=-1),
        lambda: subgroup_gap(answers(), "x", bound=1.5),
        lambda: replace(answers(), effect="mean ratio", bound=0.0),
    ],
)
def test_a_bound_without_sense_is_refused(made: Any) -> None:
    with pytest.raises(SurefootError, match=r"must be .*\."):
        made()


def test_infinite_and_huge_ratios_have_no_finite_mean_and_warn_of_nothing() -> None:
    mean, cost = ratio_bounds((10,), RATIOS)[1], calibration(RATIOS)
    for value in ("inf", 400, 10**400):
        found = assess(mean, [one for one in [judge(mean, trial(value))] * 20 if one])
        assert (found.effect.estimate, found.effect.low, found.p < 0.01) == (np.inf, np.inf, True)
    finite = assess(mean, [Judged(-1.0, -np.inf), Judged(-1.0, 0.0)])
    assert finite.effect.estimate == 0.5
    huge = [judge(cost, trial(value, donor=donor)) for value in (1e308, -1e308, 1.0) for donor in (True, False)]
    assert assess(cost, [one for one in huge if one]).effect.estimate > 1e99


def test_calibration_is_cllr_with_the_bounds_of_its_data() -> None:
    claim = calibration(RATIOS, bound=0.5)
    neutral = [judge(claim, trial(0.0, donor=bool(number % 2))) for number in range(40)]
    uneven = [
        judge(claim, trial(value, donor=donor)) for value in (2.0, 2.2, -1.8, 1.9) * 10 for donor in (True, False)
    ]
    found = assess(claim, [one for one in neutral if one])
    assert found.effect.estimate == pytest.approx(1.0)
    assert found.detail["elub low"] == found.detail["elub high"] == 0.0
    assert assess(claim, [one for one in uneven if one]).p < 1e-3
    values = np.array([2.0, 2.2, -1.8, 1.9] * 10)
    costs = [np.log2(1 + 10**-values), np.log2(1 + 10**values)]
    ends = [t.interval(0.975, 39, loc=one.mean(), scale=one.std(ddof=1) / 40**0.5) for one in costs]
    effect = assess(claim, [one for one in uneven if one]).effect
    highs = [one.mean() * np.exp(end[1] / one.mean() - 1) for one, end in zip(costs, ends, strict=True)]
    assert (effect.low, effect.high) == pytest.approx((np.mean(ends, axis=0)[0], np.mean(highs)))
    infinite = [judge(claim, trial(value, donor=donor)) for value in ("inf", 1.0, 1.1) for donor in (True, False)]
    assert assess(claim, [one for one in infinite if one]).p == pytest.approx(1e-6)


def test_ratios_that_are_all_alike_and_wrong_are_refuted_by_bets() -> None:
    """Equal costs say nothing of their spread, and yet that a system that always gives 10^6 costs more than .5 bits."""
    alike = [Judged(0.0, 6.0, name) for name in ("same", "different") for _ in range(20)]
    found = assess(calibration(RATIOS, bound=0.5), alike)
    cost = np.log2(1 + 10.0 ** np.array([-6.0, 6.0])).mean()
    # Of both classes a bound that errs in 1 of 80: there the bets have won eighty times their stake.
    won = brentq(lambda times: np.mean((1 + 0.99 * 0.5 ** np.arange(13) * (times - 1)) ** 20) - 80, 1.0, 9.0)
    assert (found.effect.estimate, found.effect.high) == (pytest.approx(cost), np.inf)
    assert (found.effect.low, found.p < 1e-4) == (pytest.approx(cost / won), True)
    # What is known of one class is not lost where of the other it is but known that no cost is below 0.
    logs = np.array([-9.0] + [9.0] * 19)
    costs = np.log2(1 + 10.0**-logs)
    assert t.interval(0.975, 19, loc=costs.mean(), scale=costs.std(ddof=1) / 20**0.5)[0] < 0
    odd = [Judged(0.0, one, "same") for one in logs] + [Judged(0.0, 6.0, "different")] * 20
    assert assess(calibration(RATIOS), odd).effect.low == pytest.approx(np.log2(1 + 1e6) / won / 2)


def test_the_interval_of_calibrated_ratios_holds_in_small_samples() -> None:
    draw, claim = np.random.default_rng(0), calibration(RATIOS, bound=0.24)
    points, weights = np.polynomial.hermite_e.hermegauss(80)
    for n, deviation in ((30, 1), (30, 3), (30, 5), (120, 4)):  # at 4 a ratio in 44 misleads, at 5 one in 161
        # The cost of normal log ratios that are calibrated, by quadrature.
        mean = deviation**2 / 2
        true = np.sum(weights * np.logaddexp(0, -(mean + deviation * points))) / np.sum(weights) / np.log(2)
        held, refuted = 0, 0
        for _ in range(200):
            donors = draw.random(n) < 0.5
            logs = (np.where(donors, mean, -mean) + deviation * draw.normal(size=n)) / np.log(10)
            judged = [Judged(0.0, one, "same" if same else "different") for one, same in zip(logs, donors, strict=True)]
            found = assess(replace(claim, bound=true), judged)
            held, refuted = held + (true in found.effect), refuted + (found.p <= 0.05)
            assert found.effect.low >= 0
            # Without a misleading ratio in a class nothing bounds the cost from above.
            assert (found.effect.high < np.inf) == bool((logs[donors] < 0).any() and (logs[~donors] > 0).any())
        assert held >= 0.95 * 200
        assert refuted <= 0.05 * 200


def test_a_mean_ratio_is_bounded_where_bets_on_more_have_won_twenty_times_and_decided_by_its_own_alpha() -> None:
    claim, values = ratio_bounds((10,), RATIOS)[1], np.array([0.2, 3.0, 8.0, 1.5] * 6)
    judged = [Judged(0.0, one) for one in np.log10(values)]

    def won(bound: float) -> float:
        bets = [np.cumprod(1 + stake * (values / bound - 1)) for stake in 0.99 * 0.5 ** np.arange(13)]
        return float(np.mean(bets, axis=0).max())

    found = assess(claim, judged)
    assert won(found.effect.low) == pytest.approx(20) and found.p == pytest.approx(1 / won(1.0))
    assert [is_decided(claim, judged, alpha) for alpha in (0.99 * found.p, 1.01 * found.p)] == [False, True]
    assert [suspicious(claim, [Judged(0.0, one), Judged(0.0, one)]) for one in (0.0, 0.01)] == [False, True]
    # Two failures of two are confirmed from .05 on: at rates of .22 (.0484) and not of .23 (.0529).
    rates = [suspicious(false_inclusion(rate, RATIOS), [Judged(1.0)] * 2) for rate in (0.22, 0.23)]
    assert rates == [True, False]


def test_a_ratio_costs_the_class_that_it_misleads() -> None:
    costs = [margin(calibration(RATIOS), trial(2.0, donor=donor)) + 1 for donor in (True, False)]
    assert costs == pytest.approx([np.log2(1 + 1 / 100), np.log2(1 + 100)])


def test_ratios_outside_of_the_bounds_of_their_data_are_counted() -> None:
    logs = {"same": [*np.linspace(-0.5, 3.0, 30), 6.0], "different": [*np.linspace(-3.0, 0.5, 30), -5.0, -6.0]}
    detail = assess(calibration(RATIOS), [Judged(0.0, one, name) for name in logs for one in logs[name]]).detail
    every = np.concatenate([*logs.values()])
    assert detail["outside"] == sum(one < detail["elub low"] or one > detail["elub high"] for one in every) > 3
    # Of 100 each no ratio errs but the added ones: (1 + t) / 101 is below t from 1/100 on; no first one is above 1.5.
    apart = [Judged(0.0, one, name) for one, name in ((1.5, "same"), (-5.0, "different")) for _ in range(100)]
    detail = assess(calibration(RATIOS), apart).detail
    assert (detail["elub low"], detail["elub high"]) == pytest.approx((-2.0, 1.5), abs=0.011)


@pytest.mark.parametrize(
    ("at_case", "verdict", "distance"),
    [(1.0, "fails where it was searched", 0.5), (1e-3, "fails at the case, where it was searched", 0.0)],
)
def test_a_verdict_is_by_holm_and_the_distance_the_least_of_what_is_shown(
    at_case: float, verdict: str, distance: float
) -> None:
    tests = zip(("overall", "near", "at the case"), (1.0, 0.03, at_case), strict=True)
    samples = [{"sample": name, "p": p, "judged": True, "unjudged": 0, "n": 9} for name, p in tests]
    found = [{"distance": distance, "p": p} for distance, p in ((2.0, 1e-4), (0.5, 1e-3), (0.1, 0.04))]
    told: dict[str, Any] = {"effect": "rate", "samples": samples, "found": found}
    correct([told], 0.05, 6)
    assert found[2]["p (Holm)"] > 0.05
    assert (told["verdict"], told["fails at distance"]) == (verdict, distance)
    assert [one["p (Holm)"] for one in found[:2]] == pytest.approx([6e-4, 5e-3])


@pytest.mark.parametrize(("judged", "silent", "enough"), [(2, 2, True), (2, 3, False), (0, 0, False)])
def test_a_sample_is_judged_from_half_of_its_queries_on(judged: int, silent: int, enough: bool) -> None:
    claim = answers()
    queries = [Query("near", {}, {"answers": Judged(-1.0)}, ())] * judged + [
        Query("near", {}, {}, ["answers"])
    ] * silent
    told = _told(claim, queries, assess(claim, judged_by(claim, queries)))
    assert (told["judged"], told["n"], told["unjudged"]) == (enough, judged, silent)


def test_a_condition_is_as_bad_as_its_queries_on_average() -> None:
    assert (score([Judged(1.0), Judged(-4.0)]), score([])) == (-1.5, -np.inf)


def test_a_gap_of_a_claim_that_asks_twice_is_of_its_own_second_reply() -> None:
    claim = subgroup_gap(monotone("more", lambda evidence, seed: evidence, value="log10_lr"), "kind", bound=0.1)
    assert judge(claim, trial(1.0, second=0.5, name=claim.name, kind="a")) == Judged(0.5, group="a")


def test_a_gap_is_the_difference_of_groups_within_their_exact_intervals() -> None:
    of = false_inclusion(0.5, RATIOS)
    claim = subgroup_gap(of, "population", bound=0.1)
    judged = [
        judge(claim, trial(1.0 if name == "a" and number % 2 else -1.0, population=name))
        for name in "ab"
        for number in range(60)
    ]
    found = assess(claim, [one for one in judged if one])
    assert (found.effect.estimate, found.detail) == (0.5, {"a": "30 of 60", "b": "0 of 60"})
    half, none = (binomtest(k, 60).proportion_ci(0.975, method="exact") for k in (30, 0))
    assert (found.effect.low, found.effect.high) == pytest.approx((half.low - none.high, half.high - none.low))
    assert found.p < 0.01
    assert assess(claim, [Judged(1.0, group="a")] * 9).p == 1.0


def test_a_driver_is_the_share_of_the_ranks_of_which_equal_ones_have_their_mean() -> None:
    """The variance between the groups of a condition less what chance makes of it, as in an analysis of variance."""
    kinds, margins = "abc" * 20, [-1.0, -1.0, 2.0, -1.0, 0.5, 0.5] * 10
    may = Domain(variables=(Variable(name="kind", case="a", choices=tuple("abc"), source="expert"),))
    asked = [
        Query("near", {"kind": kind}, {"answers": Judged(one)}, ()) for kind, one in zip(kinds, margins, strict=True)
    ]
    ranks = rankdata(margins)
    groups = [ranks[[kind == one for kind in kinds]] for one in "abc"]
    between = sum(len(one) * (one.mean() - ranks.mean()) ** 2 for one in groups)
    within = sum(((one - one.mean()) ** 2).sum() for one in groups)
    share = (between - 2 * within / 57) / (between + within)
    told = _drivers(answers(), may, asked, may.points([one.condition for one in asked]))
    assert told == [{"condition": "kind", "assumption": False, "share": pytest.approx(share)}]
    assert 0.1 < share < 0.9


def test_another_choice_is_as_far_off_as_its_scale_says() -> None:
    kind = Variable(name="kind", case="a", choices=("a", "b"), scale=0.25, source="expert")
    assert (kind.distance("a"), kind.distance("b")) == (0.0, 4.0)
    assert (kind.within(3.9).choices, kind.within(4.0).choices) == (("a",), ("a", "b"))


def test_a_search_found_after_all_queries_of_the_conditions_until_then() -> None:
    may = Domain(variables=(Variable(name="x", case=0, low=0, high=9, source="study"),))
    asked = _Asked(may, 2)
    for x, margin_there in ((0, -1.0), (1, -1.0), (2, 1.0), (3, -1.0)):
        for _ in range(2):
            asked.add(Query("search/local/answers", {"x": x}, {"answers": Judged(margin_there)}, ()))
    told = _searched(answers(), "local", asked)
    assert told == {"method": "local", "queries": 8, "worst margin": 1.0, "queries to find": 6}


def test_numbers_of_numpy_are_numbers(tmp_path: Path) -> None:
    whole = Variable(name="x", case=np.int64(2), low=np.int64(0), high=np.int64(9), source="study")
    assert whole == Variable(name="x", case=2, low=0, high=9, source="study") and whole.whole
    assert Variable(name="x", case=True, choices=(np.True_, np.False_), source="s").choices == (True, False)
    case, numpy = tmp_path / "case.py", "__import__('numpy').float32(0.25)"
    told = CASE.read_text(encoding="utf-8").replace("failed=2", "failed=__import__('numpy').int64(2)")
    case.write_text(told.replace("false_inclusion(0.25", f"false_inclusion({numpy}"), encoding="utf-8")
    plan = write_plan(case, tmp_path / "a.bundle")
    assert (plan["known"]["false inclusion above 1"]["failed"], plan["claims"][0]["bound"]) == (2, 0.25)


def test_a_gap_by_a_number_is_between_its_ranges() -> None:
    claim = subgroup_gap(answers(), "amount", bound=0.1, edges=(50, 100.5))
    groups = ("below 50", "50 to 100.5", "50 to 100.5", "from 100.5")
    for amount, group in zip((49.99, 50, 100.25, 100.5), groups, strict=True):
        assert judge(claim, trial(1.0, amount=amount)) == Judged(-1.0, group=group)
    for edges in ((2, 1), (1, 1), (np.nan,), (np.inf,)):
        with pytest.raises(SurefootError, match="edges of 'answers by amount' must be numbers"):
            subgroup_gap(answers(), "amount", bound=0.1, edges=edges)


def test_what_held_a_system_is_what_did_at_all_times() -> None:
    held = {"network": "none", "files": True, "processes": True}
    less = {"network": "open", "files": False, "processes": True}
    assert _least([held, less]) == _least([less, held]) == less
    assert (_least([held]), _least([])) == (held, {})


def test_a_domain_has_types_constraints_distances_and_says_who_stands_for_them() -> None:
    amount = Variable(name="amount", case=100.0, low=0.0, high=400.0, scale=50.0, source="study")
    people = Variable(name="people", case=2, low=1, high=5, source="expert")
    model = Variable(name="model", case="one", choices=("one", "each"), source="paper", assumption=True)
    many = Constraint(name="enough of each", holds=lambda one: one["amount"] >= 20 * one["people"], source="expert")
    domain = Domain(variables=(amount, people, model), constraints=(many,))
    assert domain.distance({"amount": 175.0, "people": 3, "model": "one"}) == 1.5
    assert domain.distance({"amount": 100.0, "people": 2, "model": "each"}) == 1.0
    for method in ("sobol", "latin hypercube", "random"):
        drawn = sample(domain, 50, method=method, seed=1)
        assert len(drawn) == 50
        assert all(one["amount"] >= 20 * one["people"] and isinstance(one["people"], int) for one in drawn)
        assert {one["people"] for one in drawn} == {1, 2, 3, 4, 5}
    near = sample(domain.within(0.9), 40, method="sobol", seed=1)
    assert {one["people"] for one in near} == {2}
    assert max(map(domain.distance, near)) <= 0.9
    for condition in drawn:
        assert domain.at(domain.points([condition])[0]) == pytest.approx(condition)
    with pytest.raises(SurefootError, match="A constraint needs its source"):
        replace(domain, constraints=(replace(many, source=" "),))
    with pytest.raises(SurefootError, match="a plausibility its plausibility_source"):
        replace(domain, plausibility=lambda one: 1.0, plausibility_source=" ")
    likely = replace(domain, plausibility=lambda one: one["people"] / 5, plausibility_source="expert")
    likely = replace(likely, least_plausible=0.4)
    assert {one["people"] for one in sample(likely, 50, method="sobol", seed=1)} == {2, 3, 4, 5}
    impossible = replace(domain, constraints=(replace(many, holds=lambda one: one == domain.case),))
    with pytest.raises(SurefootError, match="hardly one is allowed"):
        sample(impossible, 2, method="random", seed=1)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"source": " "}, "needs a source"),
        ({"name": 3}, "name of a condition must be a text, and it is 3"),
        ({"name": " "}, "must be a text"),
        ({"scale": 0.0}, "scale above 0"),
        ({"case": 7.0}, "must be a number from 0 to 1"),
        ({"case": "x"}, "must be a number"),
        ({"choices": (1.0, 2.0)}, "must be among"),
        *[
            ({"choices": one}, "texts, numbers or booleans")
            for one in ((0.5, [1]), (0.5, 0.5), (0.5, 1, True), (0.5, "0.5"))
        ],
    ],
)
def test_a_condition_that_makes_no_sense_is_refused(change: dict[str, Any], said: str) -> None:
    with pytest.raises(SurefootError, match=said):
        Variable(**({"name": "x", "case": 0.5, "low": 0, "high": 1, "source": "study"} | change))


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('population="toy population"', 'population=""', "two propositions and its population"),
        ('population="toy population"', 'population=" "', "two propositions and its population"),
        ("failed=2, n=60", "failed=2, n=1", "A known rate is failures of at least one case"),
        ('n=60, source="maker\'s validation, 2021"', "n=60, source=' '", "with its source"),
        ("deterministic(),", "deterministic(), deterministic(),", "claims of different names"),
        ("confirm=40", "confirm=0", "must be at least 1"),
        ("confirm=40", "confirm=40, methods=('locl',)", "no 'locl'. There are: random, latin hypercube, local"),
        ("confirm=40", "confirm=40, methods='local'", "no 'l'"),
        ("confirm=40", "confirm=40, methods=('cma', 'cma')", "name one twice"),
        ("confirm=40", "confirm=40.0", "at least 1, and whole"),
        ("confirm=40", "confirm=40, radius=float('inf')", "radius be a number"),
        ("confirm=40", "confirm=40, sampling='sobel'", "no 'sobel'. There are: sobol"),
        ('"false inclusion above 1": Known', '"other": Known', "no claim here"),
        ("def scrutiny()", "def other()", "must define a function"),
        ("import random", "import nowhere_random", "case.py, line 3"),
        ("answers(),", "same_in_versions(),", "same_in_versions"),
        ('"an unknown person is"', '" The person of interest is a donor"', "Both propositions are"),
        ("answers(),", BY_NOTHING, "by 'nosuch', which is no condition"),
        ("answers(),", BY_EACH, "give edges=.* where amount is a number of more than 12 values"),
        ("answers(),", BY_EDGES, "and none where it is one of choices"),
        ('source="expert, report of 3 May"),\n        )', TIGHT, "hardly one is allowed"),
    ],
)
def test_a_case_file_with_a_mistake_is_refused(tmp_path: Path, old: str, new: str, said: str) -> None:
    case = tmp_path / "case.py"
    case.write_text(CASE.read_text(encoding="utf-8").replace(old, new), encoding="utf-8")
    with pytest.raises(SurefootError, match=said):
        write_plan(case, tmp_path / "a.bundle")


def test_the_plan_says_what_it_can_find_and_names_no_ratio_without_its_propositions(tmp_path: Path) -> None:
    told = write_plan(CASE, tmp_path / "a.bundle")
    found = {(one["claim"], one["sample"]): one["rate"] for one in told["can find"]}
    assert found["deterministic", "overall"] == pytest.approx(1 - 0.1 ** (1 / 32))
    # A search asks three times at a condition: all fail with probability .9 at a rate of .9^(1/3), and .25^3 < .05.
    assert found["false inclusion above 1", "one searched condition"] == pytest.approx(0.9 ** (1 / 3))
    case = tmp_path / "case.py"
    case.write_text(
        CASE.read_text(encoding="utf-8").replace("false_inclusion(0.25", "false_inclusion(0.4"), encoding="utf-8"
    )
    larger = write_plan(case, tmp_path / "b.bundle")["can find"]
    assert next(one["rate"] for one in larger if one["sample"].startswith("one")) is None  # .4^3 is above .05
    assert json.loads((tmp_path / "a.bundle" / "plan.json").read_text())["propositions"] == list(told["propositions"])


def test_an_unknown_effect_is_refused() -> None:
    with pytest.raises(SurefootError, match=r"no effect 'ratio'\. There are: rate, mean ratio"):
        replace(deterministic(), effect="ratio")
