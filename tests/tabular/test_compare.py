"""Intervals of a sweep's comparison, from draws and folds."""

import numpy as np
import pytest

from surefoot.tabular._sweep._compare import _with_draws


def test_an_interval_of_draws_holds_95_percent_of_them_and_is_stretched_where_folds_spread_more() -> None:
    draws = np.random.default_rng(0).gamma(4, 0.01, 20_000)  # skewed
    low, high = np.percentile(draws, [2.5, 97.5])
    named = {"metric": "accuracy", "n": 9}
    found = _with_draws(0.04, draws, 0.001, named)
    assert (found.low, found.high, found.stderr) == pytest.approx((low, high, draws.std(ddof=1)))
    wide = _with_draws(0.04, draws, 3 * draws.std(ddof=1), named)
    assert (wide.low, wide.high) == pytest.approx((0.04 - 3 * (0.04 - low), 0.04 + 3 * (high - 0.04)))
