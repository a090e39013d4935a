"""Stopping early on a full set of which some is asked: intervals that hold at every look, and verdicts that stay."""

import numpy as np
import pytest

from surefoot.stats import Asked, decided_at, enough, mean_of_all, t_quantile

N = 400


def drawn(generator: np.random.Generator, kind: str) -> np.ndarray:
    """A full set in random order: answers, rare answers, F1 with ends that pile up, or paired differences."""
    made = {
        "answers": lambda: (generator.random(N) < 0.6).astype(float),
        "rare": lambda: (generator.random(N) < 0.03).astype(float),
        "f1": lambda: generator.beta(0.3, 0.1, size=N),
        "paired": lambda: generator.choice([-1.0, 0.0, 1.0], p=[0.05, 0.85, 0.1], size=N),
    }
    return made[kind]()


@pytest.mark.parametrize("kind", ["answers", "rare", "f1", "paired"])
def test_intervals_hold_at_every_look_together(kind: str) -> None:
    """The true mean is outside at some look, from the second answer to the last, in at most one run in twenty."""
    generator, least = np.random.default_rng(7), -1.0 if kind == "paired" else 0.0
    missed = naive = 0
    for _ in range(200):
        scores = drawn(generator, kind)
        asked = Asked(scores=scores, of=N, least=least)
        # What is decided about a bound that is the mean itself is decided wrongly, at whichever look.
        missed += decided_at(asked, bound=scores.mean())[0] != "not yet"
        n = np.arange(30, N)
        mean = scores.cumsum()[29:-1] / n
        sd = np.sqrt(np.maximum((scores**2).cumsum()[29:-1] / n - mean**2, 1e-9))
        naive += bool((np.abs(mean - scores.mean()) > t_quantile(0.95, np.inf) * sd * np.sqrt(1 / n - 1 / N)).any())
    assert missed / 200 <= 0.07  # 0.05 and twice the error of 200 runs
    assert naive / 200 > 0.3


def test_it_is_not_wide_and_a_point_at_the_end() -> None:
    scores = drawn(np.random.default_rng(3), "f1")
    some = mean_of_all(Asked(scores=scores[:200], of=N))
    error = scores[:200].std() * np.sqrt(1 / 200 - 1 / N)
    assert 1.9 * error < (some.high - some.low) / 2 < 3.9 * error
    whole = mean_of_all(Asked(scores=scores, of=N))
    assert (whole.low, whole.high) == pytest.approx((scores.mean(), scores.mean()), abs=1e-9)


def test_what_cannot_change_is_decided_without_chance() -> None:
    """Of ten questions six are right: half of all is reached whatever the others give."""
    assert decided_at(Asked(scores=np.ones(6), of=10), bound=0.5)[0] == "above"
    assert decided_at(Asked(scores=np.ones(4), of=10), bound=0.5)[0] == "not yet"
    found = mean_of_all(Asked(scores=np.array([1.0, 0.0]), of=10))
    assert found.low >= 0.1
    assert found.high <= 0.9


@pytest.mark.parametrize(
    ("shift", "margin", "side"), [(0.1, 0.02, "above"), (-0.1, 0.02, "below"), (0.0, 0.08, "within")]
)
def test_the_first_decision_is_that_of_the_interval_at_that_look(shift: float, margin: float, side: str) -> None:
    generator = np.random.default_rng(5)
    scores = np.clip(generator.normal(0.5 + shift, 0.15, size=2000), 0, 1)
    found, at = decided_at(Asked(scores=scores, of=2000), bound=0.5, margin=margin)
    assert found == side
    assert at < 700
    now, before = (enough(Asked(scores=scores[:n], of=2000), bound=0.5, margin=margin) for n in (at, at - 1))
    assert (now.side, before.side) == (side, "not yet")
    edges = {"above": now.effect.low > 0.5 + margin, "below": now.effect.high < 0.5 - margin}
    assert edges.get(side, now.effect.low > 0.5 - margin and now.effect.high < 0.5 + margin)


def test_mirrored_scores_mirror_the_interval() -> None:
    scores = drawn(np.random.default_rng(2), "rare")[:150]
    found = mean_of_all(Asked(scores=scores, of=N))
    other = mean_of_all(Asked(scores=1 - scores, of=N))
    assert (other.low, other.high) == pytest.approx((1 - found.high, 1 - found.low), abs=1e-9)


def test_how_many_more_are_needed_is_about_right() -> None:
    generator = np.random.default_rng(11)
    scores = (generator.random(20_000) < 0.6).astype(float)
    told = enough(Asked(scores=scores[:200], of=20_000), bound=0.55)
    assert told.side == "not yet"
    assert told.needed is not None
    assert 0.5 < told.needed / decided_at(Asked(scores=scores, of=20_000), bound=0.55)[1] < 2
    near = enough(Asked(scores=np.tile([1.0, 0.0], 50), of=1000), bound=0.5)
    assert (near.side, near.needed) == ("not yet", None)


def test_scores_outside_their_bounds_are_refused() -> None:
    with pytest.raises(ValueError, match="from 0"):
        Asked(scores=np.array([0.5, 1.2]), of=10)
    with pytest.raises(ValueError, match="set of 1"):
        Asked(scores=np.array([0.5, 0.2]), of=1)


def test_a_bound_or_a_margin_that_is_none_is_refused() -> None:
    for wrong in ({"bound": np.nan}, {"margin": -0.1}, {"margin": np.inf}):
        with pytest.raises(ValueError, match="must be fractions, and the margin at least 0"):
            enough(Asked(scores=np.ones(2), of=10), **wrong)
