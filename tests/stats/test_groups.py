"""All group metrics in one pass agree with fairlearn's MetricFrame and with their definitions."""

from collections.abc import Callable

import numpy as np
import pytest
from numpy.testing import assert_allclose
from numpy.typing import NDArray

from surefoot.stats import (
    clopper_pearson,
    disparities,
    group_metrics,
    resample_calibration,
    resample_disparities,
    tail_mean,
    worst_group,
    worst_loss,
)

Arrays = tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.int64]]


def sample(n: int = 3000, classifiers: int = 3, groups: int = 4, seed: int = 0) -> Arrays:
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, 2, n)
    scores = np.clip(0.35 * labels + generator.random((classifiers, n)) * 0.7, 0, 1)
    return labels, scores, generator.integers(0, groups, n)


def test_rates_and_differences_are_those_of_fairlearn() -> None:
    metrics = pytest.importorskip("fairlearn.metrics")
    from sklearn.metrics import accuracy_score, log_loss

    labels, scores, codes = sample()
    ours = group_metrics(labels, scores, codes)
    gaps = disparities(ours)
    for place, score in enumerate(scores):
        called = (score >= 0.5).astype(int)
        functions: dict[str, Callable[..., float]] = {
            "accuracy": accuracy_score,
            "selection_rate": metrics.selection_rate,
            "true_positive_rate": metrics.true_positive_rate,
            "false_positive_rate": metrics.false_positive_rate,
        }
        frame = metrics.MetricFrame(metrics=functions, y_true=labels, y_pred=called, sensitive_features=codes)
        for name in functions:
            assert_allclose(ours.by_group[name][place], frame.by_group[name], atol=1e-12)
            assert_allclose(ours.overall[name][place], frame.overall[name], atol=1e-12)
        named = {"y_true": labels, "y_pred": called, "sensitive_features": codes}
        assert_allclose(gaps["demographic_parity"][place], metrics.demographic_parity_difference(**named), atol=1e-12)
        assert_allclose(gaps["equalised_odds"][place], metrics.equalized_odds_difference(**named), atol=1e-12)
        assert_allclose(gaps["accuracy_disparity"][place], frame.difference()["accuracy"], atol=1e-12)
        assert_allclose(worst_group(ours).value[place], frame.group_min()["accuracy"], atol=1e-12)
        assert_allclose(ours.overall["cross_entropy"][place], log_loss(labels, score.clip(1e-7, 1 - 1e-7)), atol=1e-6)


def test_losses_follow_their_definitions_in_every_group() -> None:
    labels, scores, codes = sample(900, 2, 3)
    ours = group_metrics(labels, scores, codes)
    for place in range(2):
        losses = -np.log(np.clip(np.where(labels == 1, scores[place], 1 - scores[place]), 1e-7, 1))
        for group in range(3):
            inside = np.sort(losses[codes == group])[::-1]
            assert_allclose(ours.by_group["cross_entropy"][place, group], inside.mean(), rtol=1e-12)
            assert_allclose(ours.by_group["loss_variance"][place, group], inside.var(), rtol=1e-10)
            assert_allclose(ours.by_group["cvar"][place, group], _cvar_by_duality(inside, 0.2), rtol=1e-10)
            rest = inside[int(0.005 * len(inside)) :]
            assert_allclose(ours.by_group["cvar_doro"][place, group], _cvar_by_duality(rest, 0.2), rtol=1e-10)
    assert_allclose(worst_loss(ours, "cvar"), ours.by_group["cvar"].max(axis=1))


def _cvar_by_duality(losses: NDArray[np.float64], share: float) -> float:
    """The minimum over eta of eta + mean(max(loss - eta, 0)) / share lies at one of the losses."""
    return min(eta + np.maximum(losses - eta, 0).mean() / share for eta in losses)


def test_calibration_error_is_the_weighted_gap_of_the_bins() -> None:
    labels, scores, codes = sample(500, 1, 2)
    inside = codes == 1
    total = 0.0
    for place in range(10):
        chosen = inside & (np.minimum((scores[0] * 10).astype(int), 9) == place)
        if chosen.any():
            total += chosen.sum() * abs(scores[0][chosen].mean() - labels[chosen].mean())
    found = group_metrics(labels, scores, codes).by_group["calibration_error"][0, 1]
    assert_allclose(found, total / inside.sum(), rtol=1e-10)


def test_the_spread_of_the_calibration_error_is_that_of_rows_drawn_again() -> None:
    labels, scores, _ = sample(700, 2, 2)
    generator = np.random.default_rng(3)
    drawn = []
    for _ in range(600):
        rows = generator.integers(0, len(labels), len(labels))
        again = group_metrics(labels[rows], scores[:, rows], np.zeros(len(rows), int))
        drawn.append(again.overall["calibration_error"])
    found = resample_calibration(labels, scores, replicates=4000)
    assert_allclose(found.std(axis=0), np.std(drawn, axis=0), rtol=0.12)
    assert_allclose(found.mean(axis=0), np.mean(drawn, axis=0), rtol=0.05)


def test_disparities_are_resampled_as_rows_drawn_again() -> None:
    """The draws against a plain bootstrap with fairlearn's differences; a group that is not kept has no part."""
    fairlearn = pytest.importorskip("fairlearn.metrics")
    generator = np.random.default_rng(5)
    n = 1600
    g, y = generator.integers(0, 3, n), generator.integers(0, 2, n)
    called = (y ^ (generator.random(n) < np.array([0.15, 0.3, 0.5])[g])).astype(int)
    drawn = resample_disparities(called == y, y, g, [True, True, False], replicates=800)
    kept = np.flatnonzero(g < 2)
    plain: dict[str, list[float]] = {name: [] for name in drawn}
    for _ in range(300):
        rows = generator.choice(kept, len(kept))
        of = {"y_true": y[rows], "y_pred": called[rows], "sensitive_features": g[rows]}
        plain["demographic_parity"].append(fairlearn.demographic_parity_difference(**of))
        plain["equalised_odds"].append(fairlearn.equalized_odds_difference(**of))
        right = called[rows] == y[rows]
        plain["accuracy_disparity"].append(abs(right[g[rows] == 0].mean() - right[g[rows] == 1].mean()))
    for name, draws in drawn.items():
        assert_allclose(draws.mean(), np.mean(plain[name]), atol=0.012)
        assert_allclose(draws.std(), np.std(plain[name]), rtol=0.25)


def test_many_classifiers_give_what_each_gives_alone() -> None:
    labels, scores, codes = sample(400, 7)
    together = group_metrics(labels, scores, codes)
    for place, score in enumerate(scores):
        alone = group_metrics(labels, score, codes)
        for name, values in alone.by_group.items():
            assert_allclose(together.by_group[name][place], values[0], rtol=1e-12)


def test_a_group_with_too_few_rows_is_named_and_not_the_worst() -> None:
    labels = np.r_[np.ones(100), np.ones(50), np.ones(5)].astype(int)
    scores = np.r_[np.full(90, 0.9), np.full(10, 0.1), np.full(40, 0.9), np.full(10, 0.1), np.full(5, 0.1)]
    codes = np.r_[np.zeros(100), np.ones(50), np.full(5, 2)].astype(int)
    found = group_metrics(labels, scores, codes, groups=("old", "young", "very old"))
    worst = worst_group(found)
    assert found.small == ("very old",)
    assert (worst.value[0], found.groups[worst.group[0]], worst.n[0]) == (0.8, "young", 50)
    assert_allclose(disparities(found)["accuracy_disparity"], 0.1)


def test_a_rate_without_rows_is_undefined_and_does_not_count() -> None:
    labels = np.r_[np.zeros(30), np.tile([0, 1], 15), np.tile([0, 1], 15)].astype(int)
    scores = np.r_[np.zeros(30), np.tile([0.1, 0.9], 15), np.full(30, 0.9)]
    found = group_metrics(labels, scores, np.repeat([0, 1, 2], 30))
    assert np.isnan(found.by_group["true_positive_rate"][0, 0])
    assert_allclose(disparities(found)["equalised_odds"], 1.0)


def test_without_a_large_group_there_is_no_worst_group() -> None:
    found = group_metrics([0, 1], [0.2, 0.8], [0, 1])
    assert np.isnan(worst_group(found).value[0])
    assert np.isnan(disparities(found)["accuracy_disparity"][0])
    assert np.isnan(worst_loss(found, "cvar")[0])


def test_the_interval_holds_the_worst_group_at_least_as_often_as_it_says() -> None:
    generator = np.random.default_rng(1)
    accuracies = np.array([0.80, 0.80, 0.82, 0.85])
    codes = np.repeat(np.arange(4), 60)
    right = generator.random((600, 240)) < accuracies[codes]
    found = worst_group(group_metrics(np.ones(240, int), right.astype(float), codes))
    assert np.mean((found.low <= 0.80) & (found.high >= 0.80)) >= 0.95
    exact = clopper_pearson(48, 60, level=1 - 0.05 / 4)
    single = group_metrics(np.ones(240, int), np.tile(np.r_[np.zeros(12), np.ones(48)], 4), codes)
    assert_allclose([worst_group(single).low[0], worst_group(single).high[0]], [exact.low, exact.high])


def test_decisions_have_rates_but_no_losses() -> None:
    found = group_metrics([0, 1] * 30, [0.0, 1.0] * 30, [0] * 60, probabilities=False)
    assert set(found.by_group) == {"accuracy", "selection_rate", "true_positive_rate", "false_positive_rate"}


@pytest.mark.parametrize(
    ("labels", "scores", "codes", "message"),
    [
        ([0, 2], [0.1, 0.2], [0, 0], "0 or 1"),
        ([0, 1], [0.1], [0, 0], "do not fit"),
        ([0, 1], [0.1, float("nan")], [0, 0], "NaN"),
        ([], [], [], "at least one row"),
        ([0, 1], [0.1, 0.2], [0, -1], "group codes"),
    ],
)
def test_wrong_arrays_are_refused(labels: list[int], scores: list[float], codes: list[int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        group_metrics(labels, scores, codes)


@pytest.mark.parametrize("n", [1, 2, 3, 7, 50, 201])
def test_the_tail_mean_is_that_of_the_sorted_losses(n: int) -> None:
    losses = np.random.default_rng(n).random((3, n))
    down = -np.sort(-losses, axis=1)
    for share, outliers in ((0.2, 0.0), (0.2, 0.005), (0.9, 0.0), (0.9, 0.1), (1.0, 0.0), (1.0, 0.3)):
        dropped = int(outliers * n)
        left = np.maximum(0, np.minimum(1, share * (n - dropped) - np.arange(n - dropped)))
        assert_allclose(tail_mean(losses, share, outliers), down[:, dropped:] @ left / left.sum(), rtol=1e-12)


def test_many_classifiers_are_measured_as_each_alone() -> None:
    labels, scores, codes = sample(n=1000, classifiers=300)
    together = group_metrics(labels, scores.astype(np.float32), codes)
    for place in (0, 131, 299):
        alone = group_metrics(labels, scores[place].astype(np.float32), codes)
        for name, values in alone.overall.items():
            assert_allclose(together.overall[name][place], values[0], rtol=1e-12)
            assert_allclose(together.by_group[name][place], alone.by_group[name][0], rtol=1e-12)


def test_the_tail_mean_counts_part_of_a_row() -> None:
    assert_allclose(tail_mean([1.0, 2.0, 3.0], 0.5), (3 + 0.5 * 2) / 1.5)
    assert_allclose(tail_mean([1.0, 2.0, 3.0], 1.0), 2.0)
    assert_allclose(tail_mean([1.0, 2.0, 30.0, 4.0], 1.0, 0.25), 7 / 3)
