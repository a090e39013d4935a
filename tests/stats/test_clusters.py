"""Means of values in clusters and crossed, against statsmodels and the textbook matrices, and their coverage."""

import numpy as np
import pytest
import statsmodels.api as sm
from numpy.typing import NDArray
from scipy import stats as scipy_stats

from surefoot.stats import (
    clustered_mean,
    jackknife_covariance,
    jackknife_freedom,
    mean_crossed,
    moved_without,
    paired_difference,
    runs_to_see,
    t_quantile,
)


def by_matrices(values: NDArray[np.float64], clusters: NDArray[np.int64]) -> tuple[float, float]:
    """CR2 standard error of a mean and Bell and McCaffrey's degrees of freedom, from their definition."""
    n, groups = len(values), [np.flatnonzero(clusters == label) for label in np.unique(clusters)]
    residual_maker, rest = np.eye(n) - 1 / n, values - values.mean()
    total, columns = 0.0, []
    for rows in groups:
        size, basis = np.linalg.eigh(residual_maker[np.ix_(rows, rows)])
        adjusted = basis @ np.diag(size**-0.5) @ basis.T @ np.ones(len(rows)) / n
        total += float(adjusted @ rest[rows]) ** 2
        columns.append(residual_maker[:, rows] @ adjusted)
    form = np.array(columns) @ np.array(columns).T
    return total**0.5, float(np.trace(form) ** 2 / (form**2).sum())


@pytest.mark.parametrize("sizes", [[3, 4, 5, 9, 1, 2], [5, 5, 5], [1, 40], [7, 1, 1, 1, 30]])
def test_a_clustered_mean_has_the_error_and_freedom_of_the_definition(sizes: list[int]) -> None:
    clusters = np.repeat(np.arange(len(sizes)), sizes)
    values = np.random.default_rng(1).normal(size=len(clusters))
    found = clustered_mean(values, clusters)
    assert (found.stderr, found.freedom) == pytest.approx(by_matrices(values, clusters))
    assert (found.estimate, found.clusters) == (pytest.approx(values.mean()), len(sizes))


def test_with_equal_clusters_the_error_is_that_of_statsmodels() -> None:
    clusters = np.repeat(np.arange(25), 12)
    values = np.random.default_rng(1).normal(size=25)[clusters] + np.random.default_rng(2).normal(size=300)
    kinds = {"groups": clusters, "use_correction": False}
    theirs = sm.OLS(values, np.ones(300)).fit(cov_type="cluster", cov_kwds=kinds, use_t=True)
    found = paired_difference(values, np.zeros(300), clusters=clusters)
    error = float(theirs.bse[0]) * (25 / 24) ** 0.5
    assert found.p == pytest.approx(2 * scipy_stats.t.sf(abs(values.mean() / error), 24))
    assert (found.difference.high - values.mean()) == pytest.approx(t_quantile(0.95, 24) * error)


def test_totals_over_sizes_are_the_mean_of_all_their_parts() -> None:
    clusters = np.repeat(["a", "b", "c", "d"], [9, 12, 30, 3])
    values = np.random.default_rng(3).normal(size=54)
    totals, sizes = (np.array([of(values[clusters == name]) for name in "abcd"]) for of in (np.sum, len))
    assert clustered_mean(totals, list("abcd"), sizes=sizes) == clustered_mean(values, clusters)


def test_one_cluster_or_labels_of_another_length_are_refused() -> None:
    with pytest.raises(ValueError, match="two at least are needed"):
        clustered_mean([1.0, 2.0], ["a", "a"])
    with pytest.raises(ValueError, match="a label for each of 2 values"):
        clustered_mean([1.0, 2.0], ["a", "b", "c"])


@pytest.mark.parametrize("clusters", [5, 48])
def test_clustered_differences_cover_where_articles_differ(clusters: int) -> None:
    """Unequal articles with an effect of their own; intervals that take the questions for independent cover half."""
    generator, hits, naive = np.random.default_rng(clusters), 0, 0
    for _ in range(400):
        label = np.repeat(np.arange(clusters), generator.integers(3, 60, clusters))
        own = generator.normal(size=clusters)[label]
        first, second = (own + generator.normal(size=(2, len(label))) > 0.3).astype(float)
        second = np.where(generator.random(len(label)) < 0.5 + 0.2 * np.tanh(own), second, first)
        hits += 0.0 in paired_difference(first, second, clusters=label).difference
        naive += 0.0 in paired_difference(first + own, second, clusters=None).difference
    assert hits / 400 >= 0.93
    assert naive / 400 < 0.8


def test_without_a_difference_clusters_are_what_is_counted() -> None:
    same = np.ones(1000)
    found = paired_difference(same, same, clusters=np.repeat(np.arange(10), 100))
    alone = paired_difference(same, same)
    assert (found.clusters, found.p) == (10, 1.0)
    t = scipy_stats.t.ppf(0.975, 9)
    assert found.difference.high == pytest.approx(t**2 / (10 + t**2))  # ten articles allow a third
    assert alone.difference.high == pytest.approx(0.0038, abs=1e-4)  # a thousand questions four in a thousand


def test_a_crossed_mean_has_the_error_of_a_mixed_model_of_statsmodels() -> None:
    """The ANOVA and the likelihood estimators agree in a balanced layout whose components are positive."""
    import pandas as pd

    generator = np.random.default_rng(4)
    rows, columns = 6, 40
    values = generator.normal(size=(rows, 1)) + generator.normal(size=columns) + generator.normal(size=(rows, columns))
    frame = pd.DataFrame(
        {"y": values.ravel(), "row": np.repeat(range(rows), columns), "column": np.tile(range(columns), rows)}
    )
    parts = {"row": "0 + C(row)", "column": "0 + C(column)"}
    fitted = sm.MixedLM.from_formula("y ~ 1", frame, groups=np.ones(len(frame)), vc_formula=parts).fit(reml=True)
    ours = mean_crossed(values)
    assert ours.estimate == pytest.approx(values.mean())
    components = dict(zip(fitted.model.exog_vc.names, fitted.vcomp, strict=True))
    rest = fitted.scale
    squares = np.array([columns * components["row"] + rest, rows * components["column"] + rest, rest])
    variance = squares @ [1, 1, -1]
    free = variance**2 / (squares**2 / [rows - 1, columns - 1, (rows - 1) * (columns - 1)]).sum()
    half = t_quantile(0.95, free) * (variance / values.size) ** 0.5
    assert (ours.high - ours.low) / 2 == pytest.approx(half, rel=1e-3)


@pytest.mark.parametrize(("of_rows", "of_columns"), [(0.0, 0.0), (1.0, 0.0), (0.0, 1.0), (1.0, 1.0), (0.3, 3.0)])
def test_a_crossed_mean_covers_where_either_side_varies(of_rows: float, of_columns: float) -> None:
    generator = np.random.default_rng(5)
    hits = 0
    for _ in range(400):
        table = of_rows * generator.normal(size=(5, 1)) + of_columns * generator.normal(size=60)
        hits += 0.0 in mean_crossed(table + generator.normal(size=(5, 60)))
    assert hits / 400 > 0.93


def test_a_crossed_mean_needs_two_of_each() -> None:
    with pytest.raises(ValueError, match="two of each"):
        mean_crossed([[1.0, 2.0]])


def test_the_number_of_runs_that_would_see_an_effect_does() -> None:
    generator = np.random.default_rng(6)
    of_run, of_example, effect = 0.05, 0.2, 0.06

    def table(runs: int) -> NDArray[np.float64]:
        example = effect + of_example * generator.normal(size=200) + of_run * generator.normal(size=(runs, 1))
        return example + 0.3 * generator.normal(size=(runs, 200))

    guesses = [runs_to_see(table(30), effect) for _ in range(40)]
    needed = int(np.median([one for one in guesses if one is not None]))
    assert needed == pytest.approx(0.00295 / ((effect / 3.2415) ** 2 - 0.0002), abs=4)  # the true components give 21
    seen = np.mean([mean_crossed(table(needed)).low > 0 for _ in range(300)])
    assert seen == pytest.approx(0.9, abs=0.07)


def test_no_number_of_runs_sees_what_the_examples_leave_open() -> None:
    generator = np.random.default_rng(7)
    table = generator.normal(size=50) + 0.1 * generator.normal(size=(5, 50))
    assert runs_to_see(table, 0.2) is None


def test_a_jackknife_over_clusters_is_that_of_refits_without_each() -> None:
    """Exact for least squares; the freedom is Satterthwaite's of the variance as a quadratic form, with its matrix."""
    generator = np.random.default_rng(11)
    slopes, clusters = generator.normal(size=(23, 3)), np.sort(generator.integers(0, 6, 23))
    y = slopes @ [1.0, 2.0, 3.0] + generator.normal(size=23)

    def without(one: int, of: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.linalg.lstsq(slopes[clusters != one], of[clusters != one])[0]

    whole = np.linalg.lstsq(slopes, y)[0]
    refits = np.array([whole - without(one, y) for one in range(6)])
    moved = moved_without(slopes, y - slopes @ whole, clusters)
    assert moved == pytest.approx(refits)
    assert jackknife_covariance(moved) == pytest.approx(5 / 6 * sum(np.outer(one, one) for one in refits))
    contrast = np.array([1.0, -1.0, 0.5])
    each = np.array([(np.linalg.lstsq(slopes, unit)[0] - without(one, unit)) @ contrast
                     for one in range(6) for unit in np.eye(23)]).reshape(6, 23)  # fmt: skip
    matrix = each.T @ each
    assert jackknife_freedom(slopes, clusters, contrast) == pytest.approx(np.trace(matrix) ** 2 / (matrix**2).sum())


def test_equal_clusters_have_a_degree_of_freedom_less_than_they_are_and_a_lone_one_tells_nothing() -> None:
    clusters, slopes = np.repeat(np.arange(5), 4), np.ones((20, 1))
    assert jackknife_freedom(slopes, clusters, np.ones(1)) == pytest.approx(4)
    assert jackknife_freedom(slopes, clusters, np.zeros(1)) == np.inf
    two = np.column_stack([slopes, clusters == 4])
    moved = moved_without(two, np.linspace(-1, 1, 20), clusters)
    assert np.isinf(moved[4]).all() and np.isfinite(moved[:4]).all()
