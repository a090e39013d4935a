"""Every learner by name fits, is the same twice, and shares work without changing what comes out."""

from itertools import product

import numpy as np
import pytest
from drawn import random_configurations
from numpy.testing import assert_allclose, assert_array_equal
from scipy.optimize import check_grad

from surefoot.core import SurefootError
from surefoot.stats import disparities, group_metrics
from surefoot.tabular import (
    DEFAULTS,
    GRIDS,
    LEARNERS,
    Fitted,
    GroupedRows,
    fit_many,
    full_grid,
)
from surefoot.tabular._learners._fair import _held_out
from surefoot.tabular._learners._fit import NETWORKS
from surefoot.tabular._learners._representation import _group_means, fit_representation, representation_loss, transform
from surefoot.tabular.estimators import RobustBoostingClassifier

for module in ("sklearn", "lightgbm", "xgboost", "fairlearn", "torch"):
    pytest.importorskip(module)


def data(n: int = 160, seed: int = 0) -> GroupedRows:
    generator = np.random.default_rng(seed)
    x = generator.normal(size=(n, 4)).astype(np.float32)
    g = np.arange(n) % 3
    y = (x[:, 0] + 0.4 * (g == 1) + 0.5 * generator.normal(size=n) > 0).astype(np.uint8)
    return GroupedRows(x=x, y=y, g=g)


def fitted(learner: str, configurations: list[dict[str, object]]) -> list[Fitted]:
    found = fit_many(learner, configurations, data(), [data(seed=1), data(seed=2)], seed=0, epochs=3)
    return sorted(found, key=lambda each: each.place)


SMALL = {"n_estimators": 6, "max_depth": 3}


@pytest.mark.parametrize("learner", LEARNERS)
def test_every_learner_scores_every_part_and_is_the_same_in_any_company(learner: str) -> None:
    """Networks are the same twice; alone they are the same to rounding (`test_networks.py`)."""
    chosen = [dict(each) for each in random_configurations(learner, 2, seed=0)]
    chosen = [each | {name: value for name, value in SMALL.items() if name in each} for each in chosen]
    parts = [chosen] if learner in NETWORKS else [chosen[:1], chosen[1:]]
    first, again = fitted(learner, chosen), [each for part in parts for each in fitted(learner, part)]
    assert [each.place for each in first] == [0, 1]
    for one, other in zip(first, again, strict=True):
        assert [len(scores) for scores in one.scores] == [160, 160]
        assert all(((scores >= 0) & (scores <= 1)).all() for scores in one.scores)
        for scores, same in zip(one.scores, other.scores, strict=True):
            assert_array_equal(scores, same)


@pytest.mark.parametrize("learner", ["logistic", "forest", "gbm", "lightgbm", "xgboost", "constrained-lightgbm"])
def test_a_sensible_configuration_learns_the_planted_rule(learner: str) -> None:
    settings = {
        "logistic": {"C": 1.0},
        "constrained-lightgbm": {**SMALL, "step": 0.1, "allowed": 0.0, "constraint": "loss"},
    }
    found = fitted(learner, [settings.get(learner, {"n_estimators": 30})])
    assert np.mean((found[0].scores[1] >= 0.5) == data(seed=2).y) > 0.7


@pytest.mark.parametrize("learner", ["forest", "gbm"])
def test_shorter_ensembles_are_those_of_scikit_learn(learner: str) -> None:
    from sklearn.ensemble import GradientBoostingClassifier, RandomForestClassifier

    kind = {"forest": RandomForestClassifier, "gbm": GradientBoostingClassifier}[learner]
    shared = fitted(learner, [{"n_estimators": 4}, {"n_estimators": 9}])
    train = data()
    for found, trees in zip(shared, (4, 9), strict=True):
        model = kind(n_estimators=trees, random_state=0).fit(train.x, train.y)
        assert_allclose(found.scores[1], model.predict_proba(data(seed=2).x)[:, 1], atol=1e-6)


def test_the_grids_are_the_papers_without_their_dead_factors() -> None:
    sizes = {"logistic": 8, "gbm": 100, "forest": 640, "xgboost": 1944, "lightgbm": 3136, "svm": 288, "mlp": 405}
    sizes |= {"mwld": 2025, "cvar-dro": 3240, "group-dro": 1620, "cvar-doro": 12150, "marginal-dro": 56}
    sizes |= {"representation-gbm": 2500, "reduction-gbm": 1500, "threshold-gbm": 200}
    assert {name: len(full_grid(name)) for name in sizes} == sizes
    assert set(GRIDS) == set(LEARNERS)
    for name in ("xgboost", "svm", "gbm"):
        assert len(set(full_grid(name))) == len(full_grid(name))


def test_thresholds_are_learned_on_rows_that_the_base_did_not_see() -> None:
    """A base that knows its rows by heart is right on all of them; its thresholds must come from others."""
    generator = np.random.default_rng(0)
    g = np.arange(3000) % 2
    x = generator.normal(size=(3000, 12)).astype(np.float32)
    y = (x[:, 0] + 1.2 * g + (0.3 + 1.5 * g) * generator.normal(size=3000) > 0.6).astype(np.uint8)
    train, test = GroupedRows(x=x[:1500], y=y[:1500], g=g[:1500]), GroupedRows(x=x[1500:], y=y[1500:], g=g[1500:])
    by_heart = {"n_estimators": 300, "max_depth": -1, "learning_rate": 0.2, "constraint": "equalized_odds"}
    (found,) = fit_many("threshold-gbm", [by_heart], train, [test], seed=0)
    metrics = group_metrics(test.y, found.scores[0], test.g, probabilities=False)
    assert disparities(metrics)["equalised_odds"][0] < 0.1


def test_thresholds_are_learned_on_a_third_of_each_group_and_label() -> None:
    g, y = np.arange(1200) % 2, np.arange(1200) % 8 > 2
    held = _held_out(y, g, 0)
    for group, label in product((0, 1), (False, True)):
        assert held[(g == group) & (y == label)].mean() == pytest.approx(1 / 3, abs=0.01)


def test_thresholds_need_both_labels_in_each_group() -> None:
    rows = data()
    one = GroupedRows(x=rows.x, y=np.where(rows.g == 1, 1, rows.y), g=rows.g)
    with pytest.raises(SurefootError, match="both labels in each group, and 1 group lacks two"):
        list(fit_many("threshold-gbm", [dict(DEFAULTS["threshold-gbm"])], one, [one], seed=0))


@pytest.mark.parametrize("learner", [name for name in LEARNERS if name != "threshold-gbm"])
def test_a_group_with_one_label_is_fitted_by_the_other_learners(learner: str) -> None:
    rows = data()
    one = GroupedRows(x=rows.x, y=np.where(rows.g == 1, 1, rows.y).astype(np.uint8), g=rows.g)
    chosen = dict(DEFAULTS[learner]) | {name: value for name, value in SMALL.items() if name in DEFAULTS[learner]}
    (found,) = fit_many(learner, [chosen], one, [one], seed=0, epochs=2)
    assert np.isfinite(found.scores[0]).all()


@pytest.mark.parametrize("library", ["lightgbm", "xgboost"])
@pytest.mark.parametrize("objective", ["group-dro", "constrained"])
def test_robust_boosting_begins_at_the_share_of_the_label(library: str, objective: str) -> None:
    """With steps of nearly no size an ensemble is its start: the share of yes, not half a logit above it."""
    rows = data(400)
    y = (np.arange(400) % 5 == 0).astype(np.uint8)
    named = GroupedRows(x=rows.x, y=y, g=rows.g)
    chosen = dict(DEFAULTS[f"{objective}-{library}"]) | {"n_estimators": 1, "learning_rate": 1e-9}
    (found,) = fit_many(f"{objective}-{library}", [chosen], named, [named], seed=0)
    assert_allclose(found.scores[0], 0.2, atol=1e-4)
    model = RobustBoostingClassifier(objective, library=library, n_estimators=1, learning_rate=1e-9)  # type: ignore[arg-type]
    assert_allclose(model.fit(named.x, y, groups=named.g).predict_proba(named.x)[:, 1], 0.2, atol=1e-4)


def test_unknown_learners_are_refused() -> None:
    with pytest.raises(SurefootError, match="no learner named 'tree'"):
        next(fit_many("tree", [{}], data(), [data()]))
    with pytest.raises(SurefootError, match="no learner named 'tree'"):
        full_grid("tree")


def test_the_gradient_of_the_representation_is_that_of_finite_differences() -> None:
    rows = data(60)
    shares = _group_means(np.asarray(rows.g))
    point = np.random.default_rng(0).normal(size=3 * 5)

    def loss(at: np.ndarray) -> float:
        return representation_loss(at, rows.x.astype(float), rows.y.astype(float), shares, (0.3, 1.0, 2.0))[0]

    def gradient(at: np.ndarray) -> np.ndarray:
        return representation_loss(at, rows.x.astype(float), rows.y.astype(float), shares, (0.3, 1.0, 2.0))[1]

    assert check_grad(loss, gradient, point) < 1e-5


def test_parity_brings_the_groups_together() -> None:
    generator = np.random.default_rng(0)
    g = np.arange(400) % 2
    x = generator.normal(size=(400, 3)) + g[:, None]
    y = (x[:, 0] > 0.5).astype(int)
    gaps = []
    for parity in (0.0, 50.0):
        seen = transform(fit_representation(x, y, g, prototypes=5, parity=parity, iterations=100), x)
        gaps.append(np.abs(seen[g == 0].mean(0) - seen[g == 1].mean(0)).max())
    assert gaps[1] < 0.3 * gaps[0]
