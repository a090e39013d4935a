"""Fractions on logit, probit and linear axes."""

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from surefoot.core import SurefootError
from surefoot.stats import AXES, Axis, axis_slope, from_axis, place_on_axis, to_axis


@pytest.mark.parametrize("axis", AXES)
@given(fraction=st.floats(1e-6, 1 - 1e-6))
def test_the_inverse_gives_the_fraction_back(axis: Axis, fraction: float) -> None:
    assert float(from_axis(to_axis(fraction, axis), axis)) == pytest.approx(fraction, rel=1e-9)


def test_axes_are_scipys_logistic_and_normal_quantiles() -> None:
    share = np.array([0.02, 0.5, 0.93])
    assert to_axis(share, "logit") == pytest.approx(scipy.stats.logistic.ppf(share))
    assert to_axis(share, "probit") == pytest.approx(scipy.stats.norm.ppf(share))


@pytest.mark.parametrize("axis", AXES)
def test_the_slope_of_an_axis_is_its_derivative(axis: Axis) -> None:
    share, step = np.array([0.1, 0.5, 0.9]), 1e-6
    numeric = (to_axis(share + step, axis) - to_axis(share - step, axis)) / (2 * step)
    assert axis_slope(share, axis) == pytest.approx(numeric, rel=1e-6)


def test_exact_0_and_1_are_moved_by_half_an_example_where_n_is_known() -> None:
    placed = place_on_axis([0.0, 0.5, 1.0], n=[9, 9, 9])
    assert from_axis(placed.value) == pytest.approx([0.05, 0.5, 0.95])
    assert placed.moved.tolist() == [True, False, True]
    assert not placed.left_out.any()


def test_exact_0_and_1_are_left_out_and_marked_where_n_is_unknown() -> None:
    placed = place_on_axis([0.0, np.nan, 1.0, 0.5], n=[np.nan, 5, np.nan, 5])
    assert placed.left_out.tolist() == [True, False, True, False]
    assert np.isnan(placed.value).tolist() == [True, True, True, False]


def test_a_linear_axis_keeps_exact_0_and_1() -> None:
    placed = place_on_axis([0.0, 1.0], "linear")
    assert placed.value.tolist() == [0.0, 1.0]
    assert not placed.left_out.any()


def test_percentages_and_unknown_axes_are_refused() -> None:
    with pytest.raises(SurefootError, match="divide percentages by 100"):
        to_axis([0.5, 62.1])
    with pytest.raises(SurefootError, match="An axis is one of"):
        from_axis(0.5, "log")  # type: ignore[arg-type]
