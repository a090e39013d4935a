"""The robust learners keep scikit-learn's contract: clone, pipelines, probabilities of both classes, plain errors."""

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal

pytest.importorskip("sklearn")
pytest.importorskip("lightgbm")
pytest.importorskip("xgboost")
pytest.importorskip("torch")

from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression

from surefoot.core import SurefootError
from surefoot.tabular import GroupedRows, fit_many
from surefoot.tabular.estimators import (
    FairRepresentation,
    MarginalDroClassifier,
    RobustBoostingClassifier,
    RobustNetworkClassifier,
)

GENERATOR = np.random.default_rng(0)
X = GENERATOR.normal(size=(400, 3)).astype(np.float32)
GROUPS = np.array(["a", "b"])[GENERATOR.integers(0, 2, 400)]
Y = np.where(X[:, 0] + 0.3 * GENERATOR.normal(size=400) > 0, "yes", "no")
Classifier = RobustNetworkClassifier | RobustBoostingClassifier | MarginalDroClassifier
MODELS: tuple[Classifier, ...] = (
    RobustNetworkClassifier("cvar-dro", epochs=15, learning_rate=0.1),
    MarginalDroClassifier(least_share=0.5, epochs=40),
    RobustNetworkClassifier("group-dro", epochs=15, learning_rate=0.1),
    RobustBoostingClassifier(n_estimators=20),
    RobustBoostingClassifier("constrained", library="xgboost", n_estimators=20, step=0.1),
)


@pytest.mark.parametrize("model", MODELS)
def test_a_classifier_learns_and_names_its_classes(model: Classifier) -> None:
    fitted = clone(model).fit(X, Y, groups=GROUPS)
    shares = fitted.predict_proba(X)
    assert fitted.classes_.tolist() == ["no", "yes"]
    assert_allclose(shares.sum(1), 1)
    assert np.mean(fitted.predict(X) == Y) > 0.85
    assert_array_equal(shares, clone(model).fit(X, Y, groups=GROUPS).predict_proba(X))


@pytest.mark.parametrize("library", ["lightgbm", "xgboost"])
def test_boosting_is_that_of_the_sweep(library: str) -> None:
    y, g = (Y == "yes").astype(np.uint8), (GROUPS == "b").astype(int)
    values = {"n_estimators": 15, "learning_rate": 0.2, "max_depth": 3, "step": 0.05}
    data = GroupedRows(x=X, y=y, g=g)
    (swept,) = fit_many(f"group-dro-{library}", [values], data, [data])
    model = RobustBoostingClassifier(library=library, **values).fit(X, y, groups=g)
    assert_allclose(model.predict_proba(X)[:, 1], swept.scores[0], atol=1e-6)


def test_marginal_dro_is_that_of_the_sweep() -> None:
    y = (Y == "yes").astype(np.uint8)
    held = np.random.default_rng(0).random(len(X)) < 0.25
    train, kept = (GroupedRows(x=X[rows], y=y[rows], g=np.zeros(rows.sum(), int)) for rows in (~held, held))
    # A step has all rows: a sweep gives it five for each epoch of the other networks.
    (swept,) = fit_many("marginal-dro", [{"radius": 1.0, "least_share": 0.3}], train, [kept], epochs=6)
    model = MarginalDroClassifier(radius=1.0, least_share=0.3, validation=0.25, epochs=30).fit(X, Y)
    assert_allclose(model.predict_proba(X[held])[:, 1], swept.scores[0], atol=1e-6)


def test_a_fair_representation_feeds_another_learner() -> None:
    seen = FairRepresentation(prototypes=4, parity=0.1, iterations=50).fit(X, Y, groups=GROUPS).transform(X)
    assert seen.shape == X.shape
    assert LogisticRegression().fit(seen, Y).score(seen, Y) > 0.7


@pytest.mark.parametrize("model", [*MODELS[2:], FairRepresentation()])
def test_mistakes_are_said(model: Classifier | FairRepresentation) -> None:
    with pytest.raises(SurefootError, match="needs the groups"):
        clone(model).fit(X, Y)
    with pytest.raises(SurefootError, match="two classes"):
        clone(model).fit(X, np.arange(400) % 3, groups=GROUPS)
    with pytest.raises(SurefootError, match="399 groups for 400"):
        clone(model).fit(X, Y, groups=GROUPS[:-1])


def test_prediction_needs_a_fit_and_the_same_features() -> None:
    with pytest.raises(NotFittedError):
        RobustBoostingClassifier().predict(X)
    with pytest.raises(ValueError, match="has 2 features, but RobustBoostingClassifier is expecting 3"):
        RobustBoostingClassifier(n_estimators=2).fit(X, Y, groups=GROUPS).predict(X[:, :2])


@pytest.mark.parametrize("model", [RobustBoostingClassifier(n_estimators=2), FairRepresentation(iterations=2)])
def test_columns_in_another_order_are_refused(model: Classifier | FairRepresentation) -> None:
    frame = pd.DataFrame(X, columns=["a", "b", "c"])
    fitted = clone(model).fit(frame, Y, groups=GROUPS)
    used = getattr(fitted, "transform" if isinstance(model, FairRepresentation) else "predict")
    with pytest.raises(ValueError, match="same order"):
        used(frame[["c", "b", "a"]])


@pytest.mark.parametrize(
    ("model", "words"),
    [
        (RobustBoostingClassifier("groupdro"), "no objective 'groupdro': it is one of group-dro, constrained"),  # type: ignore[arg-type]
        (RobustBoostingClassifier(library="catboost"), "no library 'catboost': it is one of lightgbm, xgboost"),  # type: ignore[arg-type]
        (RobustNetworkClassifier("dro"), "no objective 'dro': it is one of mlp, group-dro"),  # type: ignore[arg-type]
        (RobustNetworkClassifier(epochs=0), "epochs is 0: it must be at least 1"),
        (MarginalDroClassifier(epochs=0), "epochs is 0: it must be at least 1"),
    ],
)
def test_a_choice_that_is_none_is_refused(model: Classifier, words: str) -> None:
    with pytest.raises(SurefootError, match=words):
        model.fit(X, Y, groups=GROUPS)


def test_groups_are_one_name_a_row() -> None:
    model = RobustBoostingClassifier(n_estimators=5, step=0.5)
    plain = model.fit(X, Y, groups=GROUPS).predict_proba(X)
    assert_array_equal(model.fit(X, Y, groups=pd.DataFrame({"group": GROUPS})).predict_proba(X), plain)
    with pytest.raises(SurefootError, match="one name or number a row"):
        model.fit(X, Y, groups=np.column_stack([GROUPS, GROUPS]))
    with pytest.raises(SurefootError, match="give missing ones a name"):
        model.fit(X, Y, groups=[None if name == "a" else name for name in GROUPS])
