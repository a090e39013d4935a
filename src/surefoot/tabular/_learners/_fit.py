"""The learners by name: what each is, and one way to fit many configurations of any of them."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from surefoot.core import SurefootError
from surefoot.tabular._tables._design import GroupedRows

Family = Literal["linear", "trees", "network", "robust", "fair", "robust trees"]


@dataclass(frozen=True, kw_only=True)
class Learner:
    """A way to learn. `probabilities`: its scores are (else they are decisions or margins)."""

    title: str
    family: Family
    probabilities: bool = True


LEARNERS: Mapping[str, Learner] = {
    "logistic": Learner(title="Logistic regression", family="linear"),
    "svm": Learner(title="SVM on random features", family="linear", probabilities=False),
    "forest": Learner(title="Random forest", family="trees"),
    "gbm": Learner(title="Gradient boosting (scikit-learn)", family="trees"),
    "lightgbm": Learner(title="LightGBM", family="trees"),
    "xgboost": Learner(title="XGBoost", family="trees"),
    "mlp": Learner(title="Multilayer perceptron", family="network"),
    "group-dro": Learner(title="Group DRO", family="robust"),
    "chi-square-dro": Learner(title="DRO, chi-square", family="robust"),
    "cvar-dro": Learner(title="DRO, CVaR", family="robust"),
    "chi-square-doro": Learner(title="DORO, chi-square", family="robust"),
    "cvar-doro": Learner(title="DORO, CVaR", family="robust"),
    "mwld": Learner(title="Loss-variance penalty (MWLD)", family="robust"),
    "marginal-dro": Learner(title="Marginal DRO", family="robust"),
    "representation-gbm": Learner(title="Fair representation, then LightGBM", family="fair"),
    "reduction-gbm": Learner(title="Exponentiated gradient over LightGBM", family="fair", probabilities=False),
    "threshold-gbm": Learner(title="LightGBM, then thresholds by group", family="fair", probabilities=False),
    "group-dro-lightgbm": Learner(title="Group DRO LightGBM", family="robust trees"),
    "group-dro-xgboost": Learner(title="Group DRO XGBoost", family="robust trees"),
    "constrained-lightgbm": Learner(title="Constrained LightGBM", family="robust trees"),
    "constrained-xgboost": Learner(title="Constrained XGBoost", family="robust trees"),
}
NETWORKS = ("mlp", "group-dro", "chi-square-dro", "cvar-dro", "chi-square-doro", "cvar-doro", "mwld")
EPOCHS = 20


@dataclass(frozen=True, kw_only=True)
class Fitted:
    """One configuration by its place: its scores (rows,) on each part, and its share of the CPU seconds."""

    place: int
    scores: tuple[NDArray[np.float32], ...]
    seconds: float


def fit_many(
    learner: str,
    configurations: Sequence[Mapping[str, Any]],
    train: GroupedRows,
    scored: Sequence[GroupedRows],
    *,
    seed: int = 0,
    epochs: int = EPOCHS,
) -> Iterator[Fitted]:
    """Fit every configuration, sharing what can be shared; the first of `scored` is the validation part.

    Seconds are CPU seconds of this process; a configuration that came out of another's fit costs next to nothing, so
    compare sums. Raises `SurefootError` for an unknown learner.
    """
    if learner not in LEARNERS:
        raise SurefootError(f"There is no learner named '{learner}'. Known: {', '.join(LEARNERS)}.")
    if learner in NETWORKS:
        yield from _networks(learner, configurations, train, scored, seed=seed, epochs=epochs)
        return
    begun = time.process_time()
    for place, scores in _fits(learner, configurations, train, scored, seed=seed, epochs=epochs):
        now = time.process_time()
        yield Fitted(place=place, scores=tuple(map(_finite, scores)), seconds=now - begun)
        begun = time.process_time()


def _networks(
    learner: str,
    configurations: Sequence[Mapping[str, Any]],
    train: GroupedRows,
    scored: Sequence[GroupedRows],
    *,
    seed: int,
    epochs: int,
) -> Iterator[Fitted]:
    from surefoot.tabular._learners._networks import by_shape, train_networks

    groups = int(max(int(np.max(data.g)) for data in (train, *scored))) + 1
    for places in by_shape(configurations):
        found = train_networks(
            learner,
            [configurations[place] for place in places],
            (train.x, train.y, train.g),
            [(data.x, data.y) for data in scored],
            groups=groups,
            epochs=epochs,
            seed=seed,
        )
        for inner, place in enumerate(places):
            scores = tuple(part[inner] for part in found.scores)
            yield Fitted(place=place, scores=scores, seconds=found.seconds / len(places))


def _fits(
    learner: str,
    configurations: Sequence[Mapping[str, Any]],
    train: GroupedRows,
    scored: Sequence[GroupedRows],
    *,
    seed: int,
    epochs: int,
) -> Iterator[tuple[int, tuple[NDArray[np.float32], ...]]]:
    from surefoot.tabular._learners import _boosting, _classical, _fair

    pair, triple = (train.x, train.y), (train.x, train.y, train.g)
    parts, grouped = [data.x for data in scored], [(data.x, data.g) for data in scored]
    objective, _, library = learner.rpartition("-")
    plain: Mapping[str, Callable[[], Any]] = {
        "logistic": lambda: _classical.fit_logistic(pair, parts, configurations, seed),
        "svm": lambda: _classical.fit_svm(pair, parts, configurations, seed),
        "forest": lambda: _classical.fit_forest(pair, parts, configurations, seed),
        "gbm": lambda: _classical.fit_gbm(pair, parts, configurations, seed),
        "lightgbm": lambda: _boosting.fit_lightgbm(pair, parts, configurations, seed),
        "xgboost": lambda: _boosting.fit_xgboost(pair, parts, configurations, seed),
        "representation-gbm": lambda: _fair.fit_representation_gbm(triple, parts, configurations, seed),
        "reduction-gbm": lambda: _fair.fit_reduction_gbm(triple, grouped, configurations, seed),
        "threshold-gbm": lambda: _fair.fit_threshold_gbm(triple, grouped, configurations, seed),
        "marginal-dro": lambda: _marginal(triple, scored, configurations, seed, 5 * epochs),
    }
    if learner in plain:
        yield from plain[learner]()
    else:
        maker = _boosting.objective_maker(objective, np.asarray(train.y), np.asarray(train.g))
        fit = _boosting.fit_lightgbm if library == "lightgbm" else _boosting.fit_xgboost
        yield from fit(pair, parts, configurations, seed, maker)


def _marginal(triple: Any, scored: Sequence[GroupedRows], configurations: Any, seed: int, epochs: int) -> Iterator[Any]:
    from surefoot.tabular._learners._marginal import fit_marginal

    pairs = [(data.x, data.y) for data in scored]
    yield from ((place, scores) for place, scores, _ in fit_marginal(triple, pairs, configurations, seed, epochs))


def _finite(scores: NDArray[np.float32]) -> NDArray[np.float32]:
    """A fit that overflowed (a learning rate of 2 can) says one half for the rows it cannot score."""
    return np.nan_to_num(scores, nan=0.5)
