"""Glass, calibration and toolmarks: against closed forms, a simulation, and what published data are known to show."""

import os

import numpy as np
import pytest
from scipy.stats import multivariate_normal

from surefoot.core import SurefootError
from surefoot.scrutiny._forensic._glass import (
    TwoLevel,
    fit_two_level,
    glass,
    glass_pair,
    glass_ratio,
    invariance_bounds,
)
from surefoot.scrutiny._forensic._striations import simulate_striations, striation_score

needs_data = pytest.mark.skipif(not os.environ.get("SUREFOOT_DATA"), reason="SUREFOOT_DATA has the published data")
WITHIN, BETWEEN = np.array([[0.02, 0.005], [0.005, 0.01]]), np.array([[1.0, 0.3], [0.3, 0.5]])


def windows(count: int, repeats: int, seed: int) -> np.ndarray:
    generator = np.random.default_rng(seed)
    means = generator.multivariate_normal([1.0, -2.0], BETWEEN, size=count)
    return means[:, None] + generator.multivariate_normal([0, 0], WITHIN, size=(count, repeats))


def test_the_two_level_ratio_is_that_of_all_measurements_together() -> None:
    """The joint normal density of five measurements: of one window their means are shared, of two they are not."""
    model = TwoLevel(np.array([1.0, -2.0]), WITHIN, BETWEEN)
    x, y = windows(2, 3, 4)[0, :2], windows(2, 3, 5)[0]

    def density(blocks: list[list[int]]) -> float:
        shared = np.zeros((5, 5))
        for block in blocks:
            shared[np.ix_(block, block)] = 1
        covariance = np.kron(shared, BETWEEN) + np.kron(np.eye(5), WITHIN)
        return float(multivariate_normal(np.tile([1.0, -2.0], 5), covariance).logpdf(np.vstack([x, y]).ravel()))

    by_hand = (density([[0, 1, 2, 3, 4]]) - density([[0, 1], [2, 3, 4]])) / np.log(10)
    assert model.log10_ratio(x, y) == pytest.approx(by_hand)


def test_moments_give_back_what_windows_were_drawn_with() -> None:
    found = fit_two_level(windows(4000, 3, 1))
    assert found.within == pytest.approx(WITHIN, abs=0.001) and found.between == pytest.approx(BETWEEN, abs=0.05)


def test_invariance_bounds_say_what_a_sample_of_that_size_supports() -> None:
    """Of 100 perfect ratios a side the upper bound is P(LR >= t) over it: (100 + .5) / .5, 2.303 in log10."""
    logs = np.repeat([5.0, -5.0], 100)
    assert invariance_bounds(logs, logs > 0) == pytest.approx((-2.303, 2.303), abs=1e-3)
    assert invariance_bounds([np.inf] * 100 + [-np.inf] * 100, logs > 0) == pytest.approx((-2.303, 2.303), abs=1e-3)
    assert invariance_bounds(-logs, logs > 0) == (0.0, 0.0)
    with pytest.raises(SurefootError, match="both kinds"):
        invariance_bounds([1.0], [True])


def test_invariance_bounds_are_those_of_lir() -> None:
    peer = pytest.importorskip("lir.algorithms.invariance_bounds", reason="the peer lir is not installed")
    generator = np.random.default_rng(4)
    logs, same = np.concatenate([generator.normal(1, 1, 200), generator.normal(-1, 1, 500)]), np.arange(700) < 200
    low, high = peer.calculate_invariance_bounds(10**logs, same.astype(int))[:2]
    assert invariance_bounds(logs, same) == pytest.approx((np.log10(low), np.log10(high)), abs=0.003)


@needs_data
def test_windows_of_validation_are_judged_rightly_and_near_ones_are_not() -> None:
    """Over all windows hardly one pair in fifty misleads; of those nearest in composition a third and more do."""
    assert glass("training").shape == (659, 3, 10) and glass("duplo").shape == (320, 2, 10)
    wrong = {}
    for name, condition in {"same": {"same": True}, "any": {"same": False}, "nearest": {"rank": 1}}.items():
        pairs = [glass_pair(condition, seed) for seed in range(100)]
        assert all(truth["same"] == (name == "same") for _, truth in pairs)
        found = [glass_ratio(evidence) for evidence, _ in pairs]
        for kind in ("log10_lr", "score"):
            wrong[name, kind] = np.mean([(one[kind] > 0) != (name == "same") for one in found])
        assert all(-4 < one["log10_lr_bounded"] < 4 for one in found) and "window" in str(found[0]["defence"])
        assert {np.sign(one["log10_lr"] * one["log10_lr_elub"]) for one in found} == {1.0}
        assert all(-2.3 < one["log10_lr_elub"] < 2.3 for one in found)
    assert max(wrong[name, kind] for name in ("same", "any") for kind in ("log10_lr", "score")) < 0.06
    assert min(wrong["nearest", kind] for kind in ("log10_lr", "score")) > 0.25


def test_marks_of_a_tool_match_and_a_feature_of_the_make_misleads() -> None:
    def scores(**condition: float) -> list[float]:
        return [float(str(striation_score(simulate_striations(condition, k)[0])["score"])) for k in range(12)]

    assert min(scores(same=True)) > 0.8 and max(scores(same=False)) < 0.6
    assert max(scores(same=False, feature=0.8)) > 0.8
    assert np.mean(scores(same=True, wear=0.8)) < 0.7


def test_a_shift_is_found_and_flat_profiles_are_refused() -> None:
    mark = np.random.default_rng(1).normal(size=100)
    found = striation_score({"first": mark[10:].tolist(), "second": mark[:-10].tolist()})
    assert (found["shift"], found["score"]) == (-10, pytest.approx(1.0))
    with pytest.raises(SurefootError, match="not flat"):
        striation_score({"first": [1.0] * 30, "second": [1.0] * 30})
