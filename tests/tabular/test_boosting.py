"""Robust objectives for boosting: their gradients, what they do for a planted group, and ensembles within ensembles."""

from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from surefoot.core import SurefootError
from surefoot.stats import disparities, group_metrics, worst_loss

pytest.importorskip("lightgbm")
pytest.importorskip("xgboost")

from surefoot.tabular._learners import _boosting
from surefoot.tabular._learners._boosting import (
    FITTERS,
    ConstrainedObjective,
    GroupDroObjective,
    Library,
    bins_of,
    objective_maker,
)

LIBRARIES: tuple[Library, ...] = ("lightgbm", "xgboost")


def rows(n: int = 3000, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A large group whose label follows the first column, a small one whose label opposes it; the group is not told."""
    generator = np.random.default_rng(seed)
    x = generator.normal(size=(n, 4)).astype(np.float32)
    g = (generator.random(n) < 0.15).astype(np.int64)
    y = (np.where(g == 1, x[:, 1] - 0.5 * x[:, 0], x[:, 0]) + 0.5 * generator.normal(size=n) > 0).astype(np.uint8)
    return x, y, g


def test_with_one_group_group_dro_is_the_logistic_loss() -> None:
    _, y, _ = rows(200)
    margins = np.random.default_rng(1).normal(size=200)
    gradient, hessian = GroupDroObjective(y, np.zeros(200, int), 0.3)(margins)
    share = 1 / (1 + np.exp(-margins))
    assert_allclose(gradient, share - y)
    assert_allclose(hessian, share * (1 - share))


def test_group_dro_weights_follow_the_losses() -> None:
    goal = GroupDroObjective(np.array([1, 1, 0]), np.array([0, 0, 1]), 0.5)
    gradient, _ = goal(np.array([0.0, 0.0, 2.0]))
    means = np.array([np.log(2), np.log1p(np.exp(2.0))])
    weights = np.exp(0.5 * means) / np.exp(0.5 * means).sum()
    assert_allclose(goal.weights, weights)
    assert_allclose(gradient, [-0.5 * weights[0] * 3 / 2] * 2 + [weights[1] * 3 / (1 + np.exp(-2.0))])


@pytest.mark.parametrize("constraint", ["loss", "equalised_odds"])
def test_the_constrained_gradient_is_that_of_the_lagrangian(constraint: str) -> None:
    _, y, g = rows(80)
    margins = np.random.default_rng(1).normal(size=80)
    goal = ConstrainedObjective(y, g, step=0.2, allowed=0.0, constraint=constraint)
    gradient, _ = goal(margins)
    multipliers = goal.multipliers.copy()

    def lagrangian(at: np.ndarray) -> float:
        losses = np.logaddexp(0, at) - y * at
        sliced = y if constraint == "equalised_odds" else np.zeros_like(y)
        total = losses.sum()
        for part in np.unique(sliced):
            mean = losses[sliced == part].mean()
            for group in np.unique(g):
                inside = (sliced == part) & (g == group)
                total += 80 * multipliers[group, part] * (losses[inside].mean() - mean)
        return total

    for place in (0, 11, 42):
        step = np.zeros(80)
        step[place] = 1e-6
        assert_allclose(gradient[place], (lagrangian(margins + step) - lagrangian(margins - step)) / 2e-6, atol=1e-5)


@pytest.mark.parametrize("library", LIBRARIES)
def test_group_dro_boosting_serves_a_planted_worst_group_better(library: Library) -> None:
    x, y, g = rows()
    held_x, held_y, held_g = rows(seed=1)
    settings = {"n_estimators": 60, "max_depth": 3, "learning_rate": 0.1, "step": 0.05}
    plain = next(FITTERS[library]((x, y), [held_x], [settings], 0))[1][0]
    robust = next(FITTERS[library]((x, y), [held_x], [settings], 0, objective_maker("group-dro", y, g)))[1][0]
    losses = [worst_loss(group_metrics(held_y, scores, held_g), "cross_entropy")[0] for scores in (plain, robust)]
    assert losses[1] < losses[0] - 0.05


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_constraint_narrows_the_disparity(library: Library) -> None:
    x, y, g = rows()
    settings = {"n_estimators": 60, "max_depth": 3, "step": 0.3, "allowed": 0.0, "constraint": "loss"}
    plain = next(FITTERS[library]((x, y), [x], [settings], 0))[1][0]
    fair = next(FITTERS[library]((x, y), [x], [settings], 0, objective_maker("constrained", y, g)))[1][0]
    gaps = [disparities(group_metrics(y, scores, g))["accuracy_disparity"][0] for scores in (plain, fair)]
    assert gaps[1] < gaps[0] - 0.02


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("robust", [False, True])
def test_a_smaller_ensemble_is_the_first_trees_of_a_larger_one(library: Library, robust: bool) -> None:
    x, y, g = rows(800)
    maker = objective_maker("group-dro", y, g) if robust else None
    settings = [{"n_estimators": trees, "learning_rate": 0.2, "step": 0.01} for trees in (5, 12, 30)]
    shared = dict(FITTERS[library]((x, y), [x], settings, 0, maker))
    for place, setting in enumerate(settings):
        alone = dict(FITTERS[library]((x, y), [x], [setting], 0, maker))
        assert_array_equal(shared[place][0], alone[0][0])


def test_scores_by_blocks_are_those_of_xgboost_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    xgboost = pytest.importorskip("xgboost")
    monkeypatch.setattr(_boosting, "_BLOCK_ROWS", 77)
    x, y, _ = rows(800)
    settings = [{"n_estimators": 20, "learning_rate": 0.2, "max_depth": 3, "max_bin": 64}]
    ours = dict(_boosting.fit_xgboost((x, y), [x[:300]], settings, 0))[0][0]
    model = xgboost.XGBClassifier(**settings[0], random_state=0, n_jobs=1, tree_method="hist").fit(x, y)
    assert_allclose(ours, model.predict_proba(x[:300])[:, 1], atol=1e-6)


def test_of_large_tables_the_last_bins_alone_are_kept(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(_boosting, "_LARGE_BYTES", 100)
    np.save(tmp_path / "x.npy", rows(400)[0])
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    first = bins_of("lightgbm", mapped, 64)
    assert bins_of("lightgbm", mapped, 64) is first
    bins_of("lightgbm", mapped, 32)
    assert bins_of("lightgbm", mapped, 64) is not first


def test_an_unknown_constraint_is_refused() -> None:
    with pytest.raises(SurefootError, match="equalised_odds"):
        ConstrainedObjective(np.array([0, 1]), np.array([0, 1]), step=0.1, allowed=0.0, constraint="height")


@pytest.mark.parametrize("library", LIBRARIES)
def test_rows_of_a_file_are_binned_once_a_process(library: Library, tmp_path: Path) -> None:
    x, y, _ = rows(400)
    np.save(tmp_path / "x.npy", x)
    settings = [{"n_estimators": 20, "learning_rate": 0.2}]
    mapped = [np.load(tmp_path / "x.npy", mmap_mode="r") for _ in range(2)]
    assert bins_of(library, mapped[0], 64) is bins_of(library, mapped[1], 64)
    assert bins_of(library, x, 64) is not bins_of(library, x, 64)
    for labels in (y, 1 - y):
        kept, alone = (next(FITTERS[library]((part, labels), [x], settings, 0)) for part in (mapped[1], x))
        assert_array_equal(kept[1][0], alone[1][0])
    before = bins_of(library, mapped[0], 64)
    (tmp_path / "x.npy").unlink()
    np.save(tmp_path / "x.npy", x[::-1])
    assert bins_of(library, np.load(tmp_path / "x.npy", mmap_mode="r"), 64) is not before
