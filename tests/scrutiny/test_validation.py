"""The power of a validation study: predicted detection against faults that are planted."""

import numpy as np
import pytest

from surefoot.core import SurefootError
from surefoot.scrutiny import Ratios, answers, false_inclusion, shows, validation_power


def test_the_chance_to_see_a_fault_lies_in_its_interval() -> None:
    draw, rates = np.random.default_rng(3), np.array([0.002, 0.01, 0.05, 0.3])
    inside = 0
    for _ in range(100):
        study, further = (draw.random((4, n)) < rates[:, None] for n in (60, 400))
        found = validation_power(study, further, list("abcd"))
        inside += sum(1 - (1 - rate) ** 60 in one.chance for rate, one in zip(rates, found.faults, strict=True))
    assert inside >= 0.93 * 400


def test_further_samples_are_those_that_show_what_the_study_missed() -> None:
    study = [[1, 0, 0], [0, 0, 0], [0, 0, 0], [0, 0, 0]]
    further = [[0, 0, 0, 1], [0, 1, 1, 0], [0, 1, 0, 0], [0, 0, 0, 0]]
    found = validation_power(study, further, ("a", "b", "c", "d"), most=2)
    assert (found.missed, found.add, found.then_seen) == (("b", "c", "d"), (1,), ("b", "c"))
    assert found.faults[0].shown == 1
    assert found.faults[3].chance.low == 0.0 < found.faults[3].chance.high
    with pytest.raises(SurefootError, match="a row each"):
        validation_power(study, further[:3], ("a", "b", "c", "d"))


def test_a_sample_shows_a_fault_where_a_claim_fails_that_the_sound_system_keeps() -> None:
    claims = (false_inclusion(0.0, Ratios(value="lr", truth="donor")), answers())
    samples = [({"x": -1.0}, {"donor": False}), ({"x": 1.0}, {"donor": False}), ({"x": -3.0}, {"donor": True})]
    faulty = {"sign": lambda e, s: {"lr": -e["x"]}, "halts": lambda e, s: {"lr": 1 / (e["x"] + 3)}}
    found = shows(claims, samples, lambda e, s: {"lr": e["x"]}, faulty)
    assert found.tolist() == [[True, False, False], [True, False, True]]
