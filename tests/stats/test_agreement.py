"""Cohen's kappa: its value, and an interval that covers."""

import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score

from surefoot.stats import cohen_kappa


def test_kappa_is_scikit_learns() -> None:
    chance = np.random.default_rng(0)
    for share in (0.1, 0.5, 0.9):
        a = chance.random(80) < share
        b = np.where(chance.random(80) < 0.2, ~a, a)
        found = cohen_kappa(a, b)
        assert found.estimate == pytest.approx(cohen_kappa_score(a, b))
        assert found.low < found.estimate < found.high


def test_full_agreement_is_not_certain_and_one_sided_raters_have_no_kappa() -> None:
    half = np.arange(20) % 2 == 0
    found = cohen_kappa(half, half)
    assert found.estimate == 1
    assert 0.6 < found.low < 0.95
    alone = cohen_kappa(np.ones(20), np.ones(20))
    assert np.isnan(alone.estimate)
    with pytest.raises(ValueError, match="one length"):
        cohen_kappa([True], [True, False])


def test_the_interval_covers_about_as_often_as_it_says() -> None:
    chance = np.random.default_rng(1)
    shares = np.array([0.35, 0.1, 0.15, 0.4])
    expected = (0.75 - (0.55 * 0.5 + 0.45 * 0.5)) / (1 - (0.55 * 0.5 + 0.45 * 0.5))
    covered = 0
    for _ in range(200):
        cell = chance.choice(4, size=50, p=shares)
        covered += expected in cohen_kappa(cell >= 2, cell % 2 == 1)
    assert 0.9 <= covered / 200 <= 0.99
