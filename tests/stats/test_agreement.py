"""Accuracy under shift from agreement between models, without labels."""

import numpy as np
import pytest

from surefoot.stats import agreement, agreement_on_the_line, resample_counts


def _predictions(skills: np.ndarray, examples: int, seed: int, classes: int = 10) -> tuple[np.ndarray, np.ndarray]:
    """Labels of models that share which examples are hard: accuracy and agreement lie on one line."""
    generator = np.random.default_rng(seed)
    truth, hard = generator.integers(0, classes, examples), generator.normal(size=examples)
    own = generator.normal(size=(len(skills), examples))
    right = np.sqrt(0.5) * (own + hard) < skills[:, None]
    return np.where(right, truth, generator.integers(0, classes, right.shape)), truth


def test_agreement_is_the_share_of_equal_labels() -> None:
    labels = np.array([["cat", "dog", "cat"], ["cat", "cat", "cat"], ["dog", "dog", "dog"]])
    expected = [[1, 2 / 3, 1 / 3], [2 / 3, 1, 0], [1 / 3, 0, 1]]
    assert agreement(labels) == pytest.approx(np.array(expected))


def test_accuracy_under_shift_is_predicted_without_its_labels() -> None:
    skills = np.linspace(-0.3, 1.5, 12)
    within, truth = _predictions(skills, 6000, 0)
    shifted, truth_there = _predictions(0.8 * skills - 0.4, 6000, 1)
    accuracy, actual = (within == truth).mean(axis=1), (shifted == truth_there).mean(axis=1)
    result = agreement_on_the_line(within, shifted, accuracy, counts=resample_counts(12, 200, seed=0))
    assert result.line.r2[0] > 0.95
    naive = np.abs(accuracy - actual).mean()
    assert np.abs(result.by_line - actual).mean() < naive / 4
    assert np.abs(result.by_pairs - actual).mean() < naive / 4
    assert result.n_pairs == 66


def test_models_that_always_agree_are_moved_off_the_edge() -> None:
    labels, truth = _predictions(np.linspace(0, 1, 5), 400, 2)
    labels = np.vstack([labels, labels[:1]])
    result = agreement_on_the_line(labels, labels, (labels == truth).mean(axis=1))
    assert result.left_out == 0
    assert result.line.coefficients[0] == pytest.approx([0, 1], abs=1e-9)


def test_two_models_make_no_line() -> None:
    labels, truth = _predictions(np.array([0.0, 1.0]), 100, 3)
    result = agreement_on_the_line(labels, labels, (labels == truth).mean(axis=1))
    assert np.isnan(result.by_line).all()
    assert np.isnan(result.by_pairs).all()


def test_tables_of_different_models_are_refused() -> None:
    with pytest.raises(ValueError, match="same models"):
        agreement_on_the_line(np.zeros((3, 5)), np.zeros((2, 5)), [0.5, 0.5, 0.5])
