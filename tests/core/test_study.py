"""A Study reads its Measurements through Results; a Claim gives a Verdict by an interval."""

import json
import math
import sys
from collections.abc import Callable
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from core_steps import Number, Slow, Total, Wave

from surefoot.core import (
    Claim,
    Event,
    Figure,
    Results,
    Store,
    Study,
    SurefootError,
    Verdict,
    decide,
    verdict_above,
    verdict_below,
    walk,
)

Make = Callable[..., list[Event]]


@pytest.fixture
def results(store: Store, make: Make) -> Results:
    steps = (Wave(frequency=1.0, terms=50), Number(value=4.0, label="red"), Number(value=5.0, label="blue"))
    make(*steps)
    return Results(store, (*steps, Slow(name=1)))


def test_results_are_the_measurements_of_the_steps_that_are_made_in_their_order(results: Results) -> None:
    found = [(type(item.step).__name__, item.measurement.metric) for item in results.observations]
    assert found == [("Wave", "wave"), ("Wave", "wave"), ("Number", "value"), ("Number", "value")]


def test_observations_are_selected_by_kind_and_by_columns(results: Results) -> None:
    assert [item.value for item in results.select(Number)] == [4.0, 5.0]
    assert [item.value for item in results.select(task="red")] == [4.0]
    assert [item.value for item in results.select(Number, task=("red", "blue"), metric="value")] == [4.0, 5.0]
    assert len(results.select(group="inverse")) == 1
    assert results.select(Slow) == []
    assert results.select(Number)[0].step == results.steps[1]


def test_the_only_observation_that_fits_is_given_and_others_are_refused(results: Results) -> None:
    assert results.one(Number, task="blue").value == 5.0
    with pytest.raises(SurefootError, match=r"Expected one measurement with \{'metric': 'value'\}, found 2"):
        results.one(metric="value")
    with pytest.raises(SurefootError, match="found 0"):
        results.one(Slow)


def test_an_unknown_column_is_refused(results: Results) -> None:
    with pytest.raises(SurefootError, match=r"no column 'tusk'. They have: metric, value"):
        results.select(tusk="red")
    with pytest.raises(SurefootError, match=r"no column 'label'.* read it as 'observation\.step\.label'\.$"):
        results.select(Number, label="red")


@pytest.mark.parametrize(
    ("low", "high", "bound", "above", "below"),
    [
        (0.1, 0.3, 0.0, "supported", "contradicted"),
        (-0.3, -0.1, 0.0, "contradicted", "supported"),
        (-0.1, 0.1, 0.0, "undecided", "undecided"),
        (0.0, 0.2, 0.0, "undecided", "undecided"),
        (-0.2, 0.0, 0.0, "undecided", "undecided"),
        (0.6, 0.7, 0.65, "undecided", "undecided"),
        (0.6, 0.7, 0.5, "supported", "contradicted"),
    ],
)
def test_an_interval_decides_only_when_all_of_it_lies_on_one_side(
    low: float, high: float, bound: float, above: str, below: str
) -> None:
    assert verdict_above(0.5 * (low + high), low, high, 100, bound=bound).status == above
    found = verdict_below(0.5 * (low + high), low, high, 100, bound=bound, detail="why")
    effect = 0.5 * (low + high)
    assert found == Verdict(status=found.status, effect=effect, low=low, high=high, n=100, detail="why", bound=bound)
    assert found.status == below


def judged(check: Callable[[Results], object], results: Results, needed_width: float | None = None) -> Verdict:
    claim = Claim(name="a", sentence="s", check=check, needed_width=needed_width)  # type: ignore[arg-type]
    return decide([claim], results)[0][1]


def test_a_claim_whose_measurements_are_missing_is_unmeasured_and_says_why(results: Results) -> None:
    claims = (
        Claim(name="a", sentence="red is above 3", check=lambda found: above_three(found, "red")),
        Claim(name="b", sentence="green is above 3", check=lambda found: above_three(found, "green")),
    )
    decided = decide(claims, results)
    assert [(claim.name, verdict.status) for claim, verdict in decided] == [("a", "supported"), ("b", "unmeasured")]
    assert decided[1][1].detail == (
        "Expected one measurement with {'task': 'green'}, found 0. 1 of 4 Steps are not in the store."
    )


def complete(results: Results) -> Results:
    """The same without the Step that was not made."""
    return Results(results.store, results.steps[:3])


def too_few(results: Results) -> Verdict:
    raise SurefootError("One seed gives no interval: run the study with several.")


def test_a_design_that_is_too_small_is_unmeasured_and_no_mistake(results: Results) -> None:
    found = judged(too_few, complete(results))
    assert (found.status, found.detail) == (
        "unmeasured",
        "One seed gives no interval: run the study with several.",
    )


def none_of_a_part(results: Results) -> Verdict:
    if not results.select(Wave, metric="correlation"):
        raise SurefootError("The language part was not measured.")
    return Verdict(status="supported")


def test_a_part_that_a_design_leaves_out_is_unmeasured_with_what_is_there(results: Results) -> None:
    found = judged(none_of_a_part, complete(results))
    assert found.status == "unmeasured"
    assert found.detail.startswith("The language part was not measured. In its check: no Step measures the metric")


@pytest.mark.parametrize(
    ("check", "said"),
    [
        (lambda found: verdict_above(found.one(Number, metric="valeu").value, 0, 1, 1), "did you mean 'value'"),
        (lambda found: verdict_above(found.one(Wave, metric="top1").value, 0, 1, 1), "there are: wave"),
        (lambda found: verdict_above(found.one(task="bleu").value, 0, 1, 1), "did you mean 'blue'"),
        (lambda found: Verdict(status="supported" if all(found.select(metric="top1")) else "contradicted"), "top1"),
        (lambda found: found.select(tusk="red"), "no column 'tusk'"),
        (lambda found: verdict_above(1 / 0, 0, 1, 1), r"ZeroDivisionError: division by zero (test_study.py, line "),
        (lambda found: misspelt(found, 1), "NameError: name 'misspelt' is not defined (test_study.py, line "),  # type: ignore[name-defined] # noqa: F821
        (lambda found: max([item.value for item in found.select(Slow)]), "ValueError: max() "),
        (lambda found: None, "returned NoneType, not a Verdict"),
        (lambda found: verdict_above(float("nan"), 0.0, 1.0, 3), "not a number"),
        (lambda found: Verdict(status="supported", effect=1.0, low=float("nan"), high=2.0), "not a number"),
        (lambda found: Verdict(status="supported", effect=1.0, bound=float("nan")), "not a number"),
        (lambda found: Verdict(status="contradicted", effect=1.0, low=math.nan, high=2.0, n=3), "not a number"),
        (
            lambda found: Verdict(status="contradicted", effect=1.0, low=2.0, high=1.0, n=3),
            "a low end above the high one",
        ),
        (lambda found: verdict_above(0.5, 0.9, 0.1, 5), "a low end above the high one"),
        (lambda found: verdict_above(0.5, 0.5, 0.5, 36), "no width: 36 equal numbers"),
        (lambda found: verdict_below(-0.5, -0.5, -0.5, 3), "no width: 3 equal numbers"),
        (lambda found: sys.exit(0), "SystemExit: 0 (test_study.py, line "),
        (lambda found: Verdict(status="yes", effect=1.0, n=3), "Its status is 'yes': one of supported, "),  # type: ignore[arg-type]
        (lambda found: Verdict(status="supported", effect=1.0, n=3, unit="percent"), "Its unit is 'percent': one of "),  # type: ignore[arg-type]
        (lambda found: Verdict(status="supported", effect="1", n=3), "not a number: '1'"),  # type: ignore[arg-type]
        (lambda found: Verdict(status="supported", effect=math.inf, n=3), "Its effect is infinite"),
        (lambda found: Verdict(status="supported", effect=1.0, low=0.5, high=2.0), "supported, and rests on n = 0."),
        (lambda found: Verdict(status="contradicted", effect=1.0, n=-3), "contradicted, and rests on n = -3."),
    ],
)
def test_a_check_with_a_mistake_is_broken_and_never_undecided(
    results: Results, check: Callable[[Results], object], said: str
) -> None:
    found = judged(check, complete(results))
    assert found.status == "broken"
    assert said in found.detail


def test_a_broken_check_takes_no_other_claim_with_it(results: Results) -> None:
    claims = [
        Claim(name="a", sentence="s", check=lambda found: verdict_above(1 / 0, 0, 1, 1)),
        Claim(name="b", sentence="s", check=lambda found: above_three(found, "red")),
    ]
    assert [verdict.status for _, verdict in decide(claims, results)] == ["broken", "supported"]


def test_a_verdict_on_no_measurement_at_all_is_none(results: Results) -> None:
    incomplete = Results(results.store, (Slow(name=1),))
    vacuous = judged(lambda found: Verdict(status="supported" if all(found.select(Slow)) else "undecided"), incomplete)
    assert (vacuous.status, vacuous.detail) == (
        "unmeasured",
        "It found no measurement. 1 of 1 Steps are not in the store.",
    )
    assert judged(lambda found: Verdict(status="undecided"), results).status == "unmeasured"


@pytest.mark.parametrize(
    ("verdict", "needed", "status", "said"),
    [
        (Verdict(status="undecided", effect=0.01, low=-0.188, high=0.208, unit="points"), 0.1, "imprecise", "39.6 p"),
        (Verdict(status="undecided", effect=0.5, low=0.4, high=0.6, unit="share"), 0.1, "imprecise", "20 percent wide"),
        (Verdict(status="undecided", effect=0.1, low=-0.2, high=0.15), 0.3, "imprecise", "is 0.35 wide"),
        (Verdict(status="undecided", effect=-0.1, low=-0.15, high=0.2), 0.3, "imprecise", "is 0.35 wide"),
        (Verdict(status="undecided", effect=0.01, low=-0.2, high=0.2, detail="Why."), 0.1, "imprecise", "Why. The"),
        (Verdict(status="undecided", effect=0.01), 0.1, "imprecise", "The interval is missing"),
        (Verdict(status="undecided", effect=0.01, low=-0.05, high=0.05), 0.1, "undecided", ""),
        (Verdict(status="undecided", effect=0.01, low=-0.2, high=0.2), None, "undecided", ""),
        (Verdict(status="supported", effect=0.3, low=0.1, high=0.5, n=9), 0.1, "supported", ""),
    ],
)  # fmt: skip
def test_an_interval_wider_than_the_claim_needs_is_told_apart_from_undecided(
    results: Results, verdict: Verdict, needed: float | None, status: str, said: str
) -> None:
    found = judged(lambda _: verdict, results, needed)
    assert found.status == status
    assert said in found.detail


def above_three(results: Results, task: str) -> Verdict:
    value = results.one(task=task).value
    return verdict_above(value, value - 0.5, value + 0.5, 1, bound=3.0)


def test_a_figure_is_its_table_and_the_drawing_of_it() -> None:
    figure = Figure(name="f", title="F", caption="c", rows=({"x": 1}, {"x": 2}), vega_lite={"mark": "point"})
    assert figure.table() == [{"x": 1}, {"x": 2}]
    assert figure.spec() == {"mark": "point", "data": {"values": [{"x": 1}, {"x": 2}]}}
    figure.table().clear()
    assert len(figure.table()) == 2
    with pytest.raises(SurefootError, match="Figure 'sheet' is a contact sheet"):
        Figure(name="sheet", title="S", caption="c", rows=()).spec()


@pytest.mark.parametrize(
    ("cell", "plain"),
    [
        (np.int64(3), 3),
        (np.bool_(True), True),
        (np.float32(0.5), 0.5),
        (np.array([1, 2]), [1, 2]),
        (np.datetime64("2020-02-01"), "2020-02-01"),
        (datetime(2020, 2, 1, 3), "2020-02-01T03:00:00"),
        (Decimal("1.5"), 1.5),
        (Path("a", "b"), "a/b"),
        (2**60 + 1, 2**60 + 1),
        ("nan", "nan"),
        (None, None),
    ],
)
def test_a_cell_of_a_figure_is_one_that_json_holds(cell: Any, plain: Any) -> None:
    figure = Figure(name="f", title="F", caption="c", rows=({"x": cell},), vega_lite={"mark": "point"})
    assert figure.table() == [{"x": plain}]
    assert json.loads(json.dumps(figure.spec(), allow_nan=False))["data"]["values"] == [{"x": plain}]


def test_a_study_names_its_outermost_steps() -> None:
    study = Study(name="s", title="S", summary="x", steps=(Total(parts=(Number(value=1.0),)),))
    assert [type(step).__name__ for step in walk(study.steps)] == ["Number", "Total"]
    assert (study.claims, study.figures, study.credits) == ((), (), ())


def test_what_can_be_gone_through_once_alone_is_there_for_all_who_come(results: Results) -> None:
    """A comprehension in round brackets is a generator, and not a tuple: the second reader found nothing."""
    claims = [
        Claim(name=f"c{number}", sentence="It rises.", check=lambda found: Verdict(status="undecided"))
        for number in range(2)
    ]
    study = Study(
        name="s",
        title="S",
        summary="",
        steps=(one for one in results.steps),  # type: ignore[arg-type]
        claims=(one for one in claims),  # type: ignore[arg-type]
        credits=["A. Painter"],  # type: ignore[arg-type]
    )
    figure = Figure(name="f", title="F", caption="", rows=({"x": x} for x in range(3)))  # type: ignore[arg-type]
    again = Results(results.store, (one for one in results.steps))  # type: ignore[arg-type]
    for _ in range(2):
        assert walk(study.steps) == [*results.steps]
        assert [*study.claims] == claims
        assert [*study.credits] == ["A. Painter"]
        assert len(figure.table()) == 3
        assert len(again.observations) == 4
        assert again.missing == results.missing


@pytest.mark.parametrize("name", ["steps", "claims", "figures", "credits"])
def test_one_thing_in_the_place_of_several_is_a_sentence(name: str) -> None:
    given: dict[str, Any] = {"steps": ()} | {name: "A. Painter" if name == "credits" else 3}
    with pytest.raises(SurefootError, match=rf"Study 's': its {name} must be a tuple, got "):
        Study(name="s", title="S", summary="", **given)


def test_an_effect_that_rests_on_nothing_has_no_verdict() -> None:
    verdict = verdict_above(0.5, 0.1, 0.9, 0)
    assert (verdict.status, verdict.effect, verdict.detail) == ("undecided", None, "The effect rests on n = 0.")
