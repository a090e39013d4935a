"""Robust learners behind scikit-learn's estimator interface: networks, boosting, and fair representations.

They take the groups of the rows as `groups` in `fit`; nothing needs them to predict. The other learners of a sweep are
scikit-learn's, LightGBM's, XGBoost's and fairlearn's own estimators.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import KW_ONLY, dataclass
from typing import Any, Literal, final, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassifierMixin, TransformerMixin
from sklearn.utils.validation import check_is_fitted, validate_data

from surefoot.core import SurefootError
from surefoot.tabular._learners._boosting import Library, objective_maker, train_booster
from surefoot.tabular._learners._representation import fit_representation, transform

NetworkObjective = Literal["mlp", "group-dro", "chi-square-dro", "cvar-dro", "chi-square-doro", "cvar-doro", "mwld"]
BoostingObjective = Literal["group-dro", "constrained"]


class _Classifier(ClassifierMixin, BaseEstimator, ABC):
    """Two classes, each row in the more probable one."""

    classes_: NDArray[Any]

    @abstractmethod
    def _positive(self, X: ArrayLike) -> NDArray[Any]:
        """The probability (n,) of the second class."""

    def predict_proba(self, X: ArrayLike) -> NDArray[np.float64]:
        """Probabilities (n, 2) of the two classes, in the order of `classes_`."""
        positive = self._positive(X).astype(np.float64)
        return np.column_stack([1 - positive, positive])

    def predict(self, X: ArrayLike) -> NDArray[Any]:
        """The more probable class of each row."""
        called = self._positive(X) >= 0.5
        return self.classes_[called.astype(int)]


@final
@dataclass(eq=False, repr=False)
class RobustNetworkClassifier(_Classifier):
    """A small network under a robust objective; `step`, `alpha`, `size`, `outliers`, `penalty` belong to some of them.

    The epoch with the lowest cross-entropy on `validation` (a share of the rows, drawn by `seed`) is kept.
    """

    objective: NetworkObjective = "group-dro"
    _: KW_ONLY
    layers: int = 2
    width: int = 64
    learning_rate: float = 0.01
    momentum: float = 0.9
    weight_decay: float = 0.0
    step: float = 0.01
    alpha: float = 0.5
    size: float = 0.1
    outliers: float = 0.01
    penalty: float = 0.1
    epochs: int = 20
    validation: float = 0.1
    seed: int = 0

    def fit(self, X: ArrayLike, y: ArrayLike, groups: ArrayLike | None = None) -> RobustNetworkClassifier:
        """Fit on rows X (n, features), labels y (n,) of two classes, and groups (n,); Group DRO needs them."""
        from surefoot.tabular._learners._networks import train_networks

        _check("objective", self.objective, get_args(NetworkObjective))
        _check_epochs(self.epochs)
        if self.objective == "group-dro" and groups is None:
            raise SurefootError("Group DRO needs the groups of the rows: fit(X, y, groups=...).")
        x, truth, codes = _checked(self, X, y, groups)
        train, kept = _held_out(len(x), self.validation, self.seed)
        found = train_networks(
            self.objective,
            [self.get_params()],
            (x[train], truth[train], codes[train]),
            [(x[kept], truth[kept])],
            groups=int(codes.max()) + 1,
            epochs=self.epochs,
            seed=self.seed,
        )
        self.weights_, self.epoch_ = found.weights, found.epochs[0]
        return self

    def _positive(self, X: ArrayLike) -> NDArray[Any]:
        return _network_scores(self, X)


@final
@dataclass(eq=False, repr=False)
class MarginalDroClassifier(_Classifier):
    """A network that is robust to shifts of the covariates (Duchi, Hashimoto and Namkoong 2020, arXiv 2007.13982).

    `least_share` is the smallest share of the rows that counts as a population, `radius` the Lipschitz constant of the
    loss. At most 2,000 rows are used. The step with the lowest cross-entropy on `validation` (a share of the rows,
    drawn by `seed`) is kept.
    """

    _: KW_ONLY
    radius: float = 1.0
    least_share: float = 0.2
    epochs: int = 100
    validation: float = 0.1
    seed: int = 0

    def fit(self, X: ArrayLike, y: ArrayLike, groups: ArrayLike | None = None) -> MarginalDroClassifier:
        """Fit on rows X (n, features) and labels y (n,) of two classes; it needs no groups."""
        import torch

        from surefoot.tabular._learners._marginal import drawn_rows, train_marginal

        _check_epochs(self.epochs)
        x, truth, _ = _checked(self, X, y, groups)
        train, kept = _held_out(len(x), self.validation, self.seed)
        watched = (torch.from_numpy(x[kept]), torch.from_numpy(truth[kept].astype(np.float32)))
        rows = drawn_rows(x[train], truth[train], self.seed)
        self.weights_ = train_marginal(rows, watched, self.get_params(), seed=self.seed, epochs=self.epochs)
        return self

    def _positive(self, X: ArrayLike) -> NDArray[Any]:
        return _network_scores(self, X)


@final
@dataclass(eq=False, repr=False)
class RobustBoostingClassifier(_Classifier):
    """LightGBM or XGBoost under Group DRO or a constraint on the groups' losses ("loss", "equalised_odds").

    `step` is how fast weights or multipliers of groups grow, `allowed` the violation that is tolerated.
    """

    objective: BoostingObjective = "group-dro"
    _: KW_ONLY
    library: Library = "lightgbm"
    n_estimators: int = 100
    learning_rate: float = 0.1
    max_depth: int = 6
    step: float = 0.01
    allowed: float = 0.0
    constraint: Literal["loss", "equalised_odds"] = "loss"
    seed: int = 0

    def fit(self, X: ArrayLike, y: ArrayLike, groups: ArrayLike | None = None) -> RobustBoostingClassifier:
        """Fit on rows X (n, features), labels y (n,) of two classes, and groups (n,)."""
        _check("objective", self.objective, get_args(BoostingObjective))
        _check("library", self.library, get_args(Library))
        if groups is None:
            raise SurefootError("Robust boosting needs the groups of the rows: fit(X, y, groups=...).")
        x, truth, codes = _checked(self, X, y, groups)
        names = ("n_estimators", "learning_rate", "max_depth", "step", "allowed", "constraint")
        values = {name: getattr(self, name) for name in names}
        self.model_ = train_booster(
            self.library, (x, truth), values, self.seed, objective_maker(self.objective, truth, codes)
        )
        return self

    def _positive(self, X: ArrayLike) -> NDArray[Any]:
        x = _rows(self, X, "model_")
        return self.model_(x)


@final
@dataclass(eq=False, repr=False)
class FairRepresentation(TransformerMixin, BaseEstimator):
    """Learning Fair Representations (Zemel et al. 2013): rows as mixtures of prototypes that tell groups apart less."""

    _: KW_ONLY
    prototypes: int = 10
    reconstruction: float = 0.01
    label: float = 1.0
    parity: float = 1.0
    iterations: int = 200
    seed: int = 0

    def fit(self, X: ArrayLike, y: ArrayLike, groups: ArrayLike | None = None) -> FairRepresentation:
        """Fit on rows X (n, features), labels y (n,) of two classes, and groups (n,)."""
        if groups is None:
            raise SurefootError("A fair representation needs the groups of the rows: fit(X, y, groups=...).")
        x, truth, codes = _checked(self, X, y, groups)
        self.representation_ = fit_representation(x, truth, codes, **self.get_params())
        return self

    def transform(self, X: ArrayLike) -> NDArray[np.float32]:
        x = _rows(self, X, "representation_")
        return transform(self.representation_, x)


def _check(name: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise SurefootError(f"There is no {name} '{value}': it is one of {', '.join(known)}.")


def _check_epochs(epochs: int) -> None:
    if epochs < 1:
        raise SurefootError(f"epochs is {epochs}: it must be at least 1.")


def _checked(
    estimator: Any, X: ArrayLike, y: ArrayLike, groups: ArrayLike | None
) -> tuple[NDArray[np.float32], NDArray[np.uint8], NDArray[np.intp]]:
    """Rows, labels 0 or 1 and group numbers; raises for labels that are not of two classes."""
    x, labels = map(np.asarray, validate_data(estimator, X, y, dtype="float32"))  # type: ignore[arg-type]
    estimator.classes_, truth = np.unique(labels, return_inverse=True)
    if len(estimator.classes_) != 2:
        raise SurefootError(f"The labels must be of two classes, and have {len(estimator.classes_)}.")
    codes = np.zeros(len(x), np.intp) if groups is None else _numbered(groups)
    if len(codes) != len(x):
        raise SurefootError(f"There are {len(codes)} groups for {len(x)} rows.")
    return x, truth.astype(np.uint8), codes.astype(np.intp)


def _numbered(groups: ArrayLike) -> NDArray[np.intp]:
    """The number of each row's group; a frame of one column is that column."""
    names = np.asarray(groups)
    if names.ndim == 2 and names.shape[1] == 1:
        names = names[:, 0]
    if names.ndim != 1:
        raise SurefootError("groups must be one name or number a row: of several columns, join those of a row to one.")
    try:
        return np.unique(names, return_inverse=True)[1]
    except TypeError:
        raise SurefootError("groups must be all texts or all numbers: give missing ones a name of their own.") from None


def _held_out(rows: int, share: float, seed: int) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """The rows to train on and those to choose the epoch by: all for both when the share leaves none for one."""
    held = np.random.default_rng(seed).random(rows) < share
    held = held if 0 < held.sum() < rows else np.zeros(rows, bool)
    return ~held, held if held.any() else ~held


def _network_scores(estimator: Any, X: ArrayLike) -> NDArray[Any]:
    import torch

    from surefoot.tabular._learners._networks import score

    x = _rows(estimator, X, "weights_")
    return np.asarray(score(estimator.weights_, torch.from_numpy(x)))[0]


def _rows(estimator: Any, X: ArrayLike, fitted: str) -> NDArray[np.float32]:
    """The rows; raises ValueError, as scikit-learn does, for features of another number, name or order."""
    check_is_fitted(estimator, fitted)
    return np.asarray(validate_data(estimator, X, reset=False, dtype="float32"))  # type: ignore[arg-type]
