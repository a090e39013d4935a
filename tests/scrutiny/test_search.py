"""Ways to choose conditions: what is allowed alone, within the budget, the same for a seed, and towards the worst."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, get_args

import numpy as np
import pytest

from surefoot.scrutiny import Constraint, Domain, Variable, sample
from surefoot.scrutiny._scrutiny import Method
from surefoot.scrutiny._search import Weighed, approach, search

DOMAIN = Domain(
    variables=(
        Variable(name="x", case=10.0, low=0.0, high=100.0, scale=10.0, source="study"),
        Variable(name="k", case=0, low=0, high=9, source="study"),
        Variable(name="kind", case="a", choices=("a", "b", "c"), source="study"),
    ),
    constraints=(
        Constraint(name="no more than there is", holds=lambda one: one["x"] + 5 * one["k"] <= 95, source="-"),
    ),
)


class Weighing:
    """Weighs conditions, and keeps them."""

    def __init__(self, score: Any, fails: Any = lambda condition: False) -> None:
        self.score, self.fails, self.asked = score, fails, list[Mapping[str, Any]]()

    def __call__(self, conditions: Sequence[Mapping[str, Any]]) -> list[Weighed]:
        self.asked.extend(conditions)
        return [Weighed(self.score(one), self.fails(one)) for one in conditions]


def height(condition: Mapping[str, Any]) -> float:
    """Highest at x = 70, k = 5, where just what is there suffices, and of kind c."""
    return -abs(condition["x"] - 70) / 10 - abs(condition["k"] - 5) + 3 * (condition["kind"] == "c")


@pytest.mark.parametrize("method", get_args(Method))
def test_a_search_asks_only_what_is_allowed_within_its_budget_and_the_same_for_a_seed(method: Any) -> None:
    found = [Weighing(height), Weighing(height)]
    for one in found:
        search(method, DOMAIN, one, budget=60, seed=3)
    assert found[0].asked == found[1].asked
    assert 20 < len(found[0].asked) <= 60
    assert not any(map(DOMAIN.refusal, found[0].asked))
    best = max(map(height, found[0].asked))
    assert best > height(DOMAIN.case) + 5
    if method in ("local", "cma"):
        assert best > 1.5  # of kind c, and near the top


def test_what_fails_is_followed_back_to_what_matters() -> None:
    weigh = Weighing(height, lambda condition: condition["x"] > 30)
    found = approach(DOMAIN, weigh, {"x": 60.0, "k": 5, "kind": "b"}, budget=60)
    assert (found["k"], found["kind"]) == (0, "a")
    assert 30 < found["x"] <= 33
    assert not any(map(DOMAIN.refusal, weigh.asked)) and len(weigh.asked) <= 60
    assert approach(DOMAIN, weigh, {"x": 60.0, "k": 5, "kind": "b"}, budget=1) == {"x": 60.0, "k": 5, "kind": "b"}


def test_what_fails_no_more_is_not_left_for_what_does_not_fail_either() -> None:
    start = {"x": 60.0, "k": 5, "kind": "b"}
    assert approach(DOMAIN, Weighing(height), start, budget=60) == start


def test_hypothesis_shrinks_the_first_failure_towards_the_case() -> None:
    weigh = Weighing(lambda condition: condition["x"], lambda condition: condition["x"] > 40)
    search("hypothesis", DOMAIN, weigh, budget=200, seed=1)
    failing = [one for one in weigh.asked if one["x"] > 40]
    nearest = min(failing, key=lambda one: sum(DOMAIN.distances(one)))
    assert len(failing) > 2 and (nearest["k"], nearest["kind"]) == (0, "a")
    assert nearest["x"] == pytest.approx(10 + 90 * 22 / 64)  # the first of its steps beyond 40


def test_whole_numbers_below_zero_are_as_likely_as_others() -> None:
    drawn = sample(
        Domain(variables=(Variable(name="k", case=0, low=-3, high=4, source="study"),)), 64, method="sobol", seed=1
    )
    assert Counter(one["k"] for one in drawn) == dict.fromkeys(range(-3, 5), 8)
    fine = Variable(name="k", case=0, low=-99, high=99, scale=100, source="study").within(0.29)
    assert (fine.low, fine.high) == (-29, 29)


def test_a_latin_hypercube_fills_every_layer_and_near_is_a_closed_box() -> None:
    free = Domain(variables=DOMAIN.variables[:1])
    drawn = np.array([one["x"] for one in sample(free, 50, method="latin hypercube", seed=2)])
    assert sorted((drawn // 2).astype(int)) == list(range(50))
    assert len({int(one["x"] // 25) for one in sample(free, 4, method="sobol", seed=2)}) == 4
    near = DOMAIN.within(1.0)
    assert [(one.low, one.high, one.choices) for one in near.variables] == [
        (0.0, 20.0, ()), (0, 1, ()), (0, 0, ("a", "b", "c")),
    ]  # fmt: skip
    assert DOMAIN.within(0.9).variables[2].choices == ("a",)
