"""Coefficients are chosen on validation data by the rules of the papers, and test data is touched once."""

from collections.abc import Mapping

import numpy as np
import pytest

from surefoot.core import SurefootError
from surefoot.stats import wilson
from surefoot.weights import (
    EditScore,
    TaskVector,
    forgetting,
    from_state,
    greedy_soup,
    guarding,
    learning,
    patching,
    search,
    search_evolution,
)

BASE = from_state({"w": np.zeros(2)}, label="base")
FIRST = TaskVector(BASE, from_state({"w": np.array([1.0, 0.0])}, label="first"))
SECOND = TaskVector(BASE, from_state({"w": np.array([0.0, 1.0])}, label="second"))
GRID = [step / 20 for step in range(21)]
State = Mapping[str, np.ndarray]


def accuracies(state: State) -> dict[str, EditScore]:
    x, y = state["w"]
    return {
        "target": EditScore(value=max(0.0, 0.8 + x), n=1000),
        "control": EditScore(value=0.6 + x * 0.1 - y**2, n=1000),
    }


def test_negation_takes_the_lowest_target_that_keeps_the_control() -> None:
    tested = []

    def test(state: State) -> dict[str, float]:
        tested.append(state["w"][0])
        return {"target": 0.5}

    found = search(-FIRST, GRID, accuracies, *forgetting("target", "control"), test=test)
    assert found.chosen is not None and found.chosen.coefficients == (0.3,)  # control: 0.6 - 0.03 = 0.95 * 0.6
    assert tested == [-0.3] and found.test["target"].value == 0.5
    assert len(found.table) == 21 and found.table[0].coefficients == (0.0,)
    expected = wilson(found.chosen.scores["control"].value * 1000, 1000)
    assert found.chosen.scores["control"].interval == (expected.low, expected.high)
    assert sum(row["chosen"] is True for row in found.rows()) == 2


def test_nothing_allowed_is_said_and_the_test_split_is_not_touched() -> None:
    def test(_: State) -> dict[str, float]:
        raise AssertionError("the test split was touched")

    found = search(-FIRST, [0.5, 1.0], accuracies, *forgetting("target", "control", keep=0.999), test=test)
    assert found.chosen is None and "none of 2 trials satisfies the constraint" in found.message
    assert len(found.table) == 3


def test_of_equal_objectives_the_smallest_edit_is_taken() -> None:
    found = search(FIRST, [1.0, 0.5, 0.75], lambda _: {"a": 0.5}, learning({"a": 0.9}))
    assert found.chosen is not None and found.chosen.coefficients == (0.5,)


def test_patching_weighs_patched_and_supported_tasks_equally() -> None:
    scores = {"p": EditScore(value=0.9), "s": EditScore(value=0.5), "t": EditScore(value=0.7)}
    assert patching(["p"], ["s", "t"])(scores) == pytest.approx((0.9 + 0.6) / 2)
    assert learning({"s": 0.5, "t": 1.4})(scores) == pytest.approx((1.0 + 0.5) / 2)


def test_a_grid_over_two_edits_tries_each_pair() -> None:
    grid = [(x, y) for x in (0.0, 0.5, 1.0) for y in (0.0, 0.5, 1.0)]
    found = search(
        [FIRST, SECOND], grid, lambda s: {"m": -float(np.abs(s["w"] - [0.5, 1.0]).sum())}, lambda s: s["m"].value
    )
    assert found.chosen is not None and found.chosen.coefficients == (0.5, 1.0)
    with pytest.raises(SurefootError, match="2 edits need 2 coefficients"):
        search([FIRST, SECOND], [(1.0,)], accuracies, lambda _: 0.0)


def test_evolution_finds_many_coefficients_and_obeys_the_constraint() -> None:
    goal = np.array([0.62, 0.15])

    def evaluate(state: State) -> dict[str, float]:
        return {"m": -float(((state["w"] - goal) ** 2).sum()), "x": float(state["w"][0])}

    def keeps(scores: Mapping[str, EditScore], _base: Mapping[str, EditScore]) -> bool:
        return scores["x"].value <= 0.5

    found = search_evolution([FIRST, SECOND], evaluate, lambda s: s["m"].value, keeps, budget=150, seed=1)
    again = search_evolution([FIRST, SECOND], evaluate, lambda s: s["m"].value, keeps, budget=150, seed=1)
    assert found.chosen is not None and again.chosen == found.chosen
    assert np.allclose(found.chosen.coefficients, [0.5, 0.15], atol=0.05) and found.chosen.coefficients[0] <= 0.5


def test_a_greedy_soup_is_that_of_the_model_soups_recipe() -> None:
    rng = np.random.default_rng(0)
    truth = rng.standard_normal(20)
    members = [truth + rng.standard_normal(20) * spread for spread in (0.3, 0.9, 0.3, 2.0, 0.4)]
    checkpoints = [from_state({"w": one}, label=str(number)) for number, one in enumerate(members)]
    found = greedy_soup(checkpoints, lambda state: -float(np.linalg.norm(state["w"] - truth)))

    def loss(chosen: list[int]) -> float:
        return float(np.linalg.norm(np.mean([members[one] for one in chosen], axis=0) - truth))

    order = sorted(range(5), key=lambda one: loss([one]))
    soup = order[:1]
    for one in order[1:]:
        if loss([*soup, one]) < loss(soup):
            soup.append(one)
    assert found.members == tuple(soup) and len(soup) > 1
    assert len(found.table) == 5 + 4 and found.table[0][1].value == pytest.approx(-loss([0]))


def test_a_soup_keeps_out_what_changes_no_score() -> None:
    checkpoints = [from_state({"w": np.array([float(one)])}, label=str(one)) for one in range(3)]
    found = greedy_soup(checkpoints, lambda state: 0.5 + 0.1 * bool(state["w"][0] > 1.6))
    assert found.members == (2,) and [members for members, _ in found.table[3:]] == [(2, 0), (2, 1)]
    assert greedy_soup(checkpoints, lambda _: 0.5).members == (0,)


def test_a_guarded_control_falls_by_points_and_not_by_a_share_of_itself() -> None:
    def best(fall: float) -> tuple[float, ...] | None:
        found = search(-FIRST, GRID, accuracies, lambda s: -s["target"].value, guarding("control", fall))
        return found.chosen and found.chosen.coefficients

    assert best(0.0301) == (0.3,)  # 0.6 - 0.03; three percent of 0.6 would end at 0.15
    assert best(0.0) == (0.0,)
    with pytest.raises(SurefootError, match="no score of 'contrl'"):
        search(FIRST, GRID, accuracies, lambda s: s["target"].value, guarding("contrl", 0.1))


@pytest.mark.parametrize(("was", "fall", "left"), [(0.9, 0.2, 0.7), (0.98, 0.41, 0.57)])
def test_a_fall_of_just_what_is_allowed_is_allowed(was: float, fall: float, left: float) -> None:
    before, after, lower = ({"c": EditScore(value=value)} for value in (was, left, left - 1e-3))
    assert guarding("c", fall)(after, before)
    assert not guarding("c", fall)(lower, before)
    assert forgetting("t", "c", left / was)[1](after, before)


def test_the_table_of_a_soup_has_an_interval_where_the_number_of_examples_is_known() -> None:
    checkpoints = [from_state({"w": np.array([value])}, label=str(value)) for value in (0.2, 0.6)]
    found = greedy_soup(checkpoints, lambda state: EditScore(value=float(state["w"][0]), n=50))
    assert [members for members, _ in found.table] == [(0,), (1,), (1, 0)] and found.members == (1,)
    expected = wilson(30, 50)
    assert found.table[1][1].interval == (expected.low, expected.high)


def test_a_grid_may_be_an_array_and_a_score_that_is_not_there_is_named() -> None:
    grid = np.array([[0.0, 0.0], [0.5, 1.0]])
    found = search([FIRST, SECOND], grid, lambda s: {"m": float(s["w"].sum())}, lambda s: s["m"].value)
    assert found.chosen is not None and found.chosen.coefficients == (0.5, 1.0)
    with pytest.raises(SurefootError, match="no score of 'targt'; evaluate gave target, control"):
        search(FIRST, GRID, accuracies, *forgetting("targt", "control"))
    with pytest.raises(SurefootError, match="above 0, to divide by"):
        learning({"a": 0.0})


def test_a_score_that_is_not_a_number_orders_no_soup() -> None:
    checkpoints = [from_state({"w": np.array([float(one)])}, label=f"run {one}") for one in range(3)]
    scores = {0.0: float("nan"), 1.0: 0.7, 2.0: 0.9}
    with pytest.raises(SurefootError, match="The score of run 0 is NaN"):
        greedy_soup(checkpoints, lambda state: scores[float(state["w"][0])])
