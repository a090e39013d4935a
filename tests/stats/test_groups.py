"""All group metrics in one pass agree with fairlearn's MetricFrame and with their definitions."""

from collections.abc import Callable

import numpy as np
import pytest
import scipy.stats
from numpy.testing import assert_allclose
from numpy.typing import NDArray
from scipy.special import ndtr

from surefoot.stats import (
    RATES,
    calibration_bounds,
    clopper_pearson,
    compared,
    disparities,
    disparity_bounds,
    disparity_difference,
    group_auc,
    group_metrics,
    rate_bounds,
    ratio_bounds,
    resample_disparities,
    share_difference,
    worst_group,
    worst_group_difference,
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


@pytest.mark.parametrize(("beyond", "truth"), [(0.0, 0.0), (0.1, 0.1)])
def test_bounds_of_the_calibration_error_hold_for_the_calibrated_too(beyond: float, truth: float) -> None:
    """Quantiles of bootstrap draws cover a calibrated model in 0 of 100: they begin at the error and lie above it."""
    generator, n = np.random.default_rng(3), 700
    held = 0
    for _ in range(60):
        scores = generator.beta(1, 4, n)
        labels = generator.random(n) < np.minimum(scores + beyond, 1)
        low, high = calibration_bounds(labels, scores, replicates=300)
        error = group_metrics(labels, scores, np.zeros(n, int)).overall["calibration_error"]
        assert (low <= error).all() and (error <= high).all()
        held += bool(low[0] <= truth <= high[0] < 0.2)
    assert held >= 55


def test_a_calibration_error_far_from_zero_is_as_unsure_as_a_mean() -> None:
    """Where all bins miss to one side the error is a mean of misses: normal, 1.96 errors up at 95 percent."""
    generator, n = np.random.default_rng(1), 4000
    scores = generator.uniform(0.4, 1, n)
    labels = generator.random(n) < scores - 0.3
    _, high = calibration_bounds(labels, scores, replicates=20_000)
    miss, place = scores - labels, np.minimum((scores * 10).astype(int), 9)
    variance = sum((miss[place == bin_] ** 2).sum() - miss[place == bin_].sum() ** 2 / n for bin_ in range(10))
    assert_allclose(high - miss.mean(), 1.96 * variance**0.5 / n, rtol=0.03)


def test_disparities_are_resampled_as_rows_drawn_again() -> None:
    """The draws against a plain bootstrap of the rows; a group that is not kept has no part."""
    generator = np.random.default_rng(5)
    n = 1600
    g, y = generator.integers(0, 3, n), generator.integers(0, 2, n)
    called = (y ^ (generator.random(n) < np.array([0.15, 0.3, 0.5])[g])).astype(int)
    drawn = resample_disparities(called == y, y, g, [True, True, False], replicates=800)
    kept = np.flatnonzero(g < 2)
    plain: dict[str, list[float]] = {name: [] for name in drawn}
    for _ in range(300):
        rows = generator.choice(kept, len(kept))
        again = group_metrics(y[rows], called[rows] * 1.0, g[rows], probabilities=False)
        for name, values in disparities(again).items():
            plain[name].append(float(values[0]))
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


def test_a_rate_without_enough_rows_of_its_label_does_not_count() -> None:
    """One positive of a group of thirty, missed: its true positive rate of 0 says nothing."""
    labels = np.r_[np.zeros(29), 1, np.tile([0, 1], 30), np.tile([0, 1], 30)].astype(int)
    scores = np.r_[np.zeros(30), np.tile([0.1, 0.9], 30), np.full(60, 0.9)]
    found = group_metrics(labels, scores, np.repeat([0, 1, 2], [30, 60, 60]))
    assert found.by_group["true_positive_rate"][0, 0] == 0
    assert found.positives.tolist() == [1, 30, 30]
    assert compared(found, "true_positive_rate").tolist() == [[False, True, True]]
    assert_allclose(disparities(found)["equal_opportunity"], 0.0)
    assert_allclose(disparities(found)["equalised_odds"], 1.0)
    assert_allclose(disparity_bounds(found, "equal_opportunity").low, 0.0)


def test_what_no_two_groups_have_rows_of_is_undefined_and_never_replaced() -> None:
    labels = np.r_[np.zeros(30), np.tile([0, 1], 30)].astype(int)
    found = group_metrics(labels, np.full(90, 0.9), np.repeat([0, 1], [30, 60]))
    assert np.isnan(found.by_group["true_positive_rate"][0, 0])
    assert found.by_group["false_positive_rate"].tolist() == [[1.0, 1.0]]
    assert np.isnan(disparities(found)["equalised_odds"][0])
    bounds = disparity_bounds(found, "equalised_odds")
    assert np.isnan([bounds.value, bounds.low, bounds.high]).all()


def test_every_rate_is_that_of_scikit_learn_with_weights_and_without() -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    labels, scores, codes = sample(700, 3, 3)
    drawn = np.random.default_rng(2).uniform(0.2, 5, len(labels))
    for weights in (None, drawn):
        ours = group_metrics(labels, scores, codes, weights=weights)
        for place, score in enumerate(scores):
            for group in range(3):
                rows = codes == group
                truth, called = labels[rows], (score[rows] >= 0.5).astype(int)
                named = {"sample_weight": None if weights is None else weights[rows]}
                (tn, fp), (fn, tp) = metrics.confusion_matrix(truth, called, **named)
                expected = {
                    "accuracy": metrics.accuracy_score(truth, called, **named),
                    "selection_rate": (tp + fp) / (tn + fp + fn + tp),
                    "true_positive_rate": metrics.recall_score(truth, called, **named),
                    "false_positive_rate": fp / (fp + tn),
                    "false_negative_rate": fn / (fn + tp),
                    "precision": metrics.precision_score(truth, called, **named),
                    "false_discovery_rate": fp / (fp + tp),
                    "false_omission_rate": fn / (fn + tn),
                    "balanced_accuracy": metrics.balanced_accuracy_score(truth, called, **named),
                }
                for name, value in expected.items():
                    assert_allclose(ours.by_group[name][place, group], value, atol=1e-12, err_msg=name)


def test_weights_of_one_row_twice_count_as_much_as_the_row_written_twice() -> None:
    labels, scores, codes = sample(300, 1, 2)
    twice = np.r_[np.arange(300), np.arange(150)]
    weights = np.where(np.arange(300) < 150, 2.0, 1.0)
    once = group_metrics(labels, scores, codes, weights=weights)
    written = group_metrics(labels[twice], scores[:, twice], codes[twice])
    for name in written.rates:
        assert_allclose(once.by_group[name], written.by_group[name], atol=1e-12)
    # Unequal weights are worth fewer rows than there are, equal ones are worth them all.
    assert (once.rates["accuracy"].effective < once.rates["accuracy"].rows).all()
    equal = group_metrics(labels, scores, codes, weights=np.full(300, 7.0))
    assert_allclose(equal.rates["precision"].effective, equal.rates["precision"].rows)


def test_ratios_are_those_of_fairlearn() -> None:
    fairlearn = pytest.importorskip("fairlearn.metrics")
    labels, scores, codes = sample(1200, 3, 4)
    ours = group_metrics(labels, scores, codes)
    for place, score in enumerate(scores):
        named = {"y_true": labels, "y_pred": (score >= 0.5).astype(int), "sensitive_features": codes}
        found = ratio_bounds(ours, "demographic_parity")
        assert_allclose(found.value[place], fairlearn.demographic_parity_ratio(**named))
        assert found.low[place] < found.value[place] < found.high[place] <= 1
        odds = ratio_bounds(ours, "equalised_odds").value[place]
        assert_allclose(odds, fairlearn.equalized_odds_ratio(**named))


def test_of_two_rates_each_has_half_of_what_may_be_missed() -> None:
    """Where true and false positives are alike, equalised odds are the one rate at 97.5 percent, not at 95."""
    codes, labels = np.repeat([0, 1], 200), np.tile([0, 1], 200)
    called = np.concatenate([np.repeat([1.0] * 60 + [0.0] * 40, 2), np.repeat([1.0] * 30 + [0.0] * 70, 2)])
    metrics = group_metrics(labels, called, codes, probabilities=False)
    for function, side, value in ((ratio_bounds, "high", 0.5), (disparity_bounds, "low", 0.3)):
        odds, one = function(metrics, "equalised_odds"), function(metrics, "equal_opportunity", level=0.975)
        assert_allclose([odds.value, getattr(odds, side)], [[value], getattr(one, side)])


def test_more_groups_than_sixteen_bits_hold() -> None:
    groups = 40_000
    codes = np.repeat(np.arange(groups), 2)
    labels = np.tile([0, 1], groups)
    right = np.arange(groups) % 2 == 0
    scores = np.where(np.repeat(right, 2), labels, 1 - labels).astype(float)
    found = group_metrics(labels, scores, codes, least=1, probabilities=False)
    assert_allclose(found.by_group["accuracy"][0], right)


CASES = [
    pytest.param([0.8] * 6, [60] * 6, id="six alike"),
    pytest.param([0.8] * 6, [20, 40, 80, 160, 320, 1000], id="six alike, unequal sizes"),
    pytest.param([0.02] * 2, [20, 1000], id="two rare alike"),
    pytest.param([0.6, 0.8], [40, 150], id="two apart"),
    pytest.param([0.7, 0.75, 0.8, 0.8, 0.85, 0.9], [100] * 6, id="six apart"),
    pytest.param(np.linspace(0.5, 0.9, 20), [50] * 20, id="twenty apart"),
]


@pytest.mark.parametrize(("shares", "sizes"), CASES)
def test_bounds_of_differences_and_ratios_cover_what_is_true(shares: list[float], sizes: list[int]) -> None:
    """400 tables with known shares: at least 95 of 100 intervals hold the true difference and ratio, 0 and 1 too."""
    generator = np.random.default_rng(0)
    codes = np.repeat(np.arange(len(sizes)), sizes)
    called = generator.random((400, len(codes))) < np.asarray(shares)[codes]
    labels = np.tile([0, 1], len(codes))[: len(codes)]
    metrics = group_metrics(labels, called.astype(float), codes, probabilities=False)
    apart, ratio = disparity_bounds(metrics, "demographic_parity"), ratio_bounds(metrics, "demographic_parity")
    truth = max(shares) - min(shares)
    assert np.mean((apart.low <= truth) & (truth <= apart.high)) >= 0.95
    known = np.isfinite(ratio.value)
    truth = min(shares) / max(shares)
    assert np.mean(((ratio.low <= truth) & (truth <= ratio.high))[known]) >= 0.95
    assert ((apart.low <= apart.value) & (apart.value <= apart.high) & (apart.low < apart.high)).all()


@pytest.mark.parametrize(("title", "tail"), [("equal_opportunity", 0.025), ("equalised_odds", 0.0125)])
def test_the_bounds_of_two_groups_are_those_of_one_pair(title: str, tail: float) -> None:
    """Of two groups the pair's own bounds by exact intervals: below at 1 - tail, which two rates share, above .95."""
    hits = {"true_positive_rate": (90, 60), "false_positive_rate": (10, 14)}
    labels = np.repeat([1, 1, 0, 0], 100)
    scores = np.concatenate([np.arange(100) < count for pair in hits.values() for count in pair])
    found = disparity_bounds(group_metrics(labels, scores, np.tile(np.repeat([0, 1], 100), 2)), title)

    def pair(high: int, low: int, level: float) -> np.ndarray:
        bounds = [scipy.stats.binomtest(k, 100).proportion_ci(level) for k in (high, low)]
        p, q = high / 100, low / 100
        below = p - q - np.hypot(p - bounds[0].low, bounds[1].high - q)
        return np.array([below, p - q + np.hypot(bounds[0].high - p, q - bounds[1].low)])

    names = list(hits)[: 1 if title == "equal_opportunity" else 2]
    ends = [sorted(hits[name], reverse=True) for name in names]
    assert_allclose(found.low, max(pair(*each, 1 - tail)[0] for each in ends))
    assert_allclose(found.high, max(pair(*each, 0.95)[1] for each in ends))


def test_the_bounds_of_more_groups_than_tukeys_range_knows_are_bonferronis_over_pairs() -> None:
    said = np.arange(120)[:, None] % 40 >= np.arange(40) + 20  # of 40 rows a group says up to 20 yes
    rows = said.ravel().astype(int)
    bounds = disparity_bounds(group_metrics(rows, rows, np.repeat(np.arange(120), 40)), "demographic_parity")
    level = 1 - 0.025 / (120 * 119 / 2)
    none, most = (scipy.stats.binomtest(count, 40).proportion_ci(level) for count in (0, 20))
    assert_allclose(bounds.low, 0.5 - np.hypot(0.5 - most.low, none.high))


def test_the_bounds_of_balanced_accuracy_join_those_of_its_two_rates() -> None:
    labels, scores = np.repeat([1, 0], [100, 60]), np.concatenate([np.arange(100) < 90, np.arange(60) < 3])
    low, high = rate_bounds(group_metrics(labels, scores, np.zeros(160, int)), "balanced_accuracy")
    right, wrong = (scipy.stats.binomtest(k, n).proportion_ci() for k, n in ((90, 100), (3, 60)))
    middle = (0.9 + 1 - 0.05) / 2
    assert_allclose(low[0], middle - np.hypot(0.9 - right.low, wrong.high - 0.05) / 2)
    assert_allclose(high[0], middle + np.hypot(right.high - 0.9, 0.05 - wrong.low) / 2)


def test_the_bounds_of_an_area_are_newcombes_fifth() -> None:
    """At each bound the area is z errors away by Hanley and McNeil (1982), (m + n) / 2 rows in place of m and of n."""
    labels = np.repeat([1, 0], [12, 30])
    scores = np.concatenate([np.linspace(0.3, 0.95, 12), np.linspace(0.05, 0.7, 30)])
    found = group_auc(labels, scores, np.zeros(42, int))
    for bound in (found.low[0], found.high[0]):
        pairs = bound / (2 - bound) + 2 * bound**2 / (1 + bound) - 2 * bound**2
        error = np.sqrt((bound * (1 - bound) + (42 / 2 - 1) * pairs) / (12 * 30))
        assert_allclose(abs(found.value[0] - bound), scipy.stats.norm.ppf(0.975) * error, rtol=1e-6)


def test_bounds_close_in_on_a_difference_as_rows_grow() -> None:
    for rows, width in ((200, 0.30), (20_000, 0.03)):
        codes, called = np.repeat([0, 1], rows), np.r_[np.arange(rows) % 2 == 0, np.arange(rows) % 10 < 8]
        found = disparity_bounds(group_metrics(called * 1, called * 1.0, codes), "demographic_parity")
        assert_allclose(found.value, 0.3)
        assert found.low[0] > 0.3 - width and found.high[0] < 0.3 + width


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
    # The lower bound needs no correction: it fails only if that of the truly worst group does.
    assert_allclose(
        [worst_group(single).low[0], worst_group(single).high[0]], [clopper_pearson(48, 60).low, exact.high]
    )
    perfect = worst_group(group_metrics(np.tile([0, 1], 120), np.tile([0.0, 1.0], 120), codes))
    assert perfect.low[0] < perfect.value[0] == perfect.high[0] == 1


def test_decisions_have_rates_but_no_losses() -> None:
    found = group_metrics([0, 1] * 30, [0.0, 1.0] * 30, [0] * 60, probabilities=False)
    assert set(found.by_group) == {*RATES, "balanced_accuracy"}


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


def test_many_classifiers_are_measured_as_each_alone() -> None:
    labels, scores, codes = sample(n=1000, classifiers=300)
    together = group_metrics(labels, scores.astype(np.float32), codes)
    for place in (0, 131, 299):
        alone = group_metrics(labels, scores[place].astype(np.float32), codes)
        for name, values in alone.overall.items():
            assert_allclose(together.overall[name][place], values[0], rtol=1e-12)
            assert_allclose(together.by_group[name][place], alone.by_group[name][0], rtol=1e-12)


def test_the_area_of_each_group_is_that_of_scikit_learn() -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    labels, scores, codes = sample(600, 1, 3)
    rounded = scores[0].round(1)
    drawn = np.random.default_rng(4).uniform(0.5, 3, 600)
    for weights in (None, drawn):
        found = group_auc(labels, rounded, codes, weights=weights)
        for place, rows in enumerate([codes == 0, codes == 1, codes == 2, codes >= 0]):
            named = {"sample_weight": None if weights is None else weights[rows]}
            assert_allclose(found.value[place], metrics.roc_auc_score(labels[rows], rounded[rows], **named))
    assert np.isnan(group_auc([1, 1, 0, 1], [0.1, 0.2, 0.3, 0.4], [0, 0, 1, 1]).value[0])


@pytest.mark.parametrize(("apart", "positives", "negatives"), [(0.0, 20, 20), (1.0, 10, 60), (2.5, 15, 15)])
def test_the_interval_of_an_area_covers_it(apart: float, positives: int, negatives: int) -> None:
    generator = np.random.default_rng(0)
    labels = np.r_[np.ones(positives), np.zeros(negatives)].astype(int)
    truth = float(ndtr(apart / 2**0.5))
    inside = []
    for _ in range(500):
        found = group_auc(labels, generator.normal(size=len(labels)) + apart * labels, np.zeros(len(labels), int))
        inside.append(found.low[0] <= truth <= found.high[0])
    assert np.mean(inside) >= 0.935
    perfect = group_auc(labels, labels, np.zeros(len(labels), int))
    assert perfect.low[0] < perfect.value[0] == perfect.high[0] == 1


def test_bounds_of_a_difference_of_worst_groups_cover_it_whichever_groups_are_the_worst() -> None:
    generator, codes = np.random.default_rng(0), np.repeat(np.arange(6), 60)
    for first, second in (
        ([0.8] * 6, [0.8] * 6),
        ([0.6] + [0.8] * 5, [0.8] * 6),
        ([0.6] + [0.8] * 5, [0.8] * 5 + [0.65]),
        ([0.6] + [0.9] * 5, [0.7] + [0.9] * 5),
    ):
        held = np.zeros(2)
        for _ in range(60):
            chance = generator.random(360)
            own = np.where(generator.random(360) < 0.6, chance, generator.random(360))
            answers = chance < np.array(first)[codes], own < np.array(second)[codes]
            pairs = (
                (worst_group_difference, min(first) - min(second)),
                (disparity_difference, np.ptp(first) - np.ptp(second)),
            )
            for place, (function, truth) in enumerate(pairs):
                found = function(*answers, codes)
                held[place] += found.low <= truth <= found.high
        assert (held >= 56).all(), (first, second, held)


def test_differences_of_worst_groups_are_those_of_pairs_in_one_group_and_turn_with_their_models() -> None:
    generator = np.random.default_rng(1)
    first, second = generator.random((2, 300)) < np.array([[0.8], [0.7]])
    one = worst_group_difference(first, second, np.zeros(300, int))
    pair = share_difference(int((first & ~second).sum()), int((second & ~first).sum()), 300)
    assert_allclose((one.estimate, one.low, one.high), (pair.estimate, pair.low, pair.high))
    far = np.r_[np.zeros(300, int), np.ones(900, int)]
    both = [np.r_[answers, np.ones(900, bool)] for answers in (first & second, second)]
    found = worst_group_difference(*both, far)
    pair = share_difference(0, int((second & ~first).sum()), 300, level=0.975)
    # One group is the worst whatever chance does: its own pairs, at half of five percent, for two groups.
    assert_allclose((found.estimate, found.low, found.high), (pair.estimate, pair.low, pair.high))
    codes, weights = np.arange(300) % 3, generator.uniform(0.5, 4, 300)
    for function in (worst_group_difference, disparity_difference):
        found, turned = function(first, second, codes), function(second, first, codes)
        assert_allclose((found.estimate, found.low, found.high), (-turned.estimate, -turned.high, -turned.low))
        even = function(first, second, codes, weights=np.full(300, 2.5))
        assert_allclose((found.low, found.high), (even.low, even.high))
        heavy = function(first, second, codes, weights=weights)
        assert heavy.high - heavy.low > found.high - found.low


def test_weighted_bounds_cover_the_weighted_share_also_where_weights_say_who_is_judged_badly() -> None:
    generator, codes = np.random.default_rng(0), np.repeat(np.arange(6), 200)
    labels, weights = np.arange(1200) % 2, np.exp(generator.normal(0, 1, 1200))
    rate = np.clip(np.where(codes == 0, 0.7, 0.85) - 0.08 * np.log(weights), 0.02, 0.98)
    truth = np.bincount(codes, weights * rate) / np.bincount(codes, weights)
    held = np.zeros(3)
    for _ in range(80):
        called = np.where(generator.random(1200) < rate, labels, 1 - labels)
        found = group_metrics(labels, called, codes, probabilities=False, weights=weights)
        (low, high), worst, gap = (
            rate_bounds(found, "accuracy"),
            worst_group(found),
            disparity_bounds(found, "accuracy_disparity"),
        )
        held[0] += low[0, 1] <= truth[1] <= high[0, 1]
        held[1] += worst.low[0] <= truth.min() <= worst.high[0]
        held[2] += gap.low[0] <= np.ptp(truth) <= gap.high[0]
    assert (held >= 72).all(), held
