"""Configurations of learners: the paper's grids without their dead factors, and defaults."""

import itertools
from collections.abc import Mapping, Sequence
from functools import lru_cache

from surefoot.core import SurefootError

Value = bool | int | float | str
Configuration = tuple[tuple[str, Value], ...]
Axes = Mapping[str, Sequence[Value]]

_NETWORK: Axes = {
    "layers": (1, 2, 3),
    "width": (64, 128, 256),
    "momentum": (0.0, 0.1, 0.9),
    "weight_decay": (0.0, 0.1, 1.0),
    "learning_rate": (0.1, 0.01, 0.001, 0.0001, 0.00001),
}
_BASE: Axes = {
    "learning_rate": (0.01, 0.1, 0.5, 1.0, 2.0),
    "n_estimators": (64, 128, 256, 512, 1024),
    "max_depth": (2, 4, 8, 16),
}
_LIGHTGBM: Axes = {
    "learning_rate": (0.01, 0.1, 0.5, 1.0),
    "n_estimators": (64, 128, 256, 512),
    "reg_lambda": (0.0, 0.00001, 0.0001, 0.001, 0.01, 0.1, 1.0),
    "min_child_samples": (1, 2, 4, 8, 16, 32, 64),
    "max_depth": (-1, 2, 4, 8),
}
_XGBOOST: Axes = {
    "learning_rate": (0.1, 0.3, 1.0, 2.0),
    "min_split_loss": (0.0, 0.1, 0.5),
    "max_depth": (4, 6, 8),
    "colsample_bytree": (0.7, 0.9, 1.0),
    "colsample_bylevel": (0.7, 0.9, 1.0),
    "max_bin": (128, 256, 512),
    "grow_policy": ("depthwise", "lossguide"),
}
_ALPHAS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6)
_DORO: Axes = {**_NETWORK, "alpha": _ALPHAS, "outliers": (0.001, 0.01, 0.1, 0.2, 0.3)}
_SVM: Axes = {"C": (0.01, 0.1, 1.0, 10.0, 100.0, 1000.0), "gamma": (0.5, 1.0, 2.0), "components": (64, 128, 256, 512)}
_ROBUST: Axes = {
    "learning_rate": (0.05, 0.1, 0.3),
    "n_estimators": (64, 128, 256, 512),
    "max_depth": (3, 4, 6, 8),
    "step": (0.001, 0.01, 0.1),
}

GRIDS: Mapping[str, tuple[Axes, ...]] = {
    "logistic": ({"C": (0.001, 0.01, 0.1, 1.0, 10.0, 100.0, 1000.0, 10000.0)},),
    "svm": ({**_SVM, "features": ("fourier", "nystroem")}, {**_SVM, "features": ("polynomial",), "degree": (2, 3)}),
    "forest": (
        {
            "n_estimators": (64, 128, 256, 512),
            "min_samples_split": (2, 4, 8, 16),
            "min_samples_leaf": (1, 2, 4, 8, 16),
            "max_features": ("sqrt", "log2"),
            "ccp_alpha": (0.0, 0.001, 0.01, 0.1),
        },
    ),
    "gbm": (_BASE,),
    "lightgbm": (_LIGHTGBM,),
    "xgboost": (_XGBOOST,),
    "mlp": (_NETWORK,),
    "group-dro": ({**_NETWORK, "step": (0.001, 0.01, 0.1, 0.2)},),
    "chi-square-dro": ({**_NETWORK, "size": (0.01, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 1.0)},),
    "cvar-dro": ({**_NETWORK, "alpha": (0.001, 0.01, *_ALPHAS)},),
    "chi-square-doro": (_DORO,),
    "cvar-doro": (_DORO,),
    "mwld": ({**_NETWORK, "penalty": (0.001, 0.01, 0.1, 1.0, 10.0)},),
    "marginal-dro": (
        {
            "radius": (0.1, 0.3728, 1.3895, 5.1795, 19.307, 71.9686, 268.2696, 1000.0),
            "least_share": (0.01, 0.0215, 0.0464, 0.1, 0.2154, 0.4642, 1.0),
        },
    ),
    "representation-gbm": ({**_BASE, "label": (0.001, 0.01, 0.1, 1.0, 10.0), "parity": (0.001, 0.01, 0.1, 1.0, 10.0)},),
    "reduction-gbm": (
        {
            **_BASE,
            "constraint": ("demographic_parity", "equalized_odds", "error_rate_parity"),
            "allowed": (0.0001, 0.001, 0.01, 0.1, 1.0),
        },
    ),
    "threshold-gbm": ({**_BASE, "constraint": ("demographic_parity", "equalized_odds")},),
    "group-dro-lightgbm": (_ROBUST,),
    "group-dro-xgboost": (_ROBUST,),
    "constrained-lightgbm": ({**_ROBUST, "constraint": ("loss", "equalised_odds"), "allowed": (0.0, 0.02)},),
    "constrained-xgboost": ({**_ROBUST, "constraint": ("loss", "equalised_odds"), "allowed": (0.0, 0.02)},),
}
"""The hyper-parameters of each learner as the paper swept them (its released sweep files), less what had no effect:
3,136 for LightGBM (not 12,544: `colsample_bytree` never reached the model), 288 for the support vector machine (not
576), 2,025 for MWLD (not 6,075). The last four, boosting that is robust itself, are ours."""


_DEFAULT_NETWORK: Mapping[str, Value] = {
    "layers": 2,
    "width": 64,
    "momentum": 0.9,
    "weight_decay": 0.0,
    "learning_rate": 0.01,
}
_DEFAULT_BOOSTING: Mapping[str, Value] = {"n_estimators": 100, "learning_rate": 0.1, "max_depth": 6}
DEFAULTS: Mapping[str, Mapping[str, Value]] = {
    "logistic": {"C": 1.0},
    "svm": {"C": 1.0, "gamma": 1.0, "components": 256, "features": "nystroem"},
    "forest": {"n_estimators": 100},
    "gbm": {"n_estimators": 100},
    "lightgbm": {"n_estimators": 100},
    "xgboost": {"n_estimators": 100},
    "mlp": _DEFAULT_NETWORK,
    "group-dro": {**_DEFAULT_NETWORK, "step": 0.01},
    "chi-square-dro": {**_DEFAULT_NETWORK, "size": 0.1},
    "cvar-dro": {**_DEFAULT_NETWORK, "alpha": 0.6},
    "chi-square-doro": {**_DEFAULT_NETWORK, "alpha": 0.6, "outliers": 0.001},
    "cvar-doro": {**_DEFAULT_NETWORK, "alpha": 0.6, "outliers": 0.001},
    "mwld": {**_DEFAULT_NETWORK, "penalty": 0.1},
    "marginal-dro": {"radius": 1.3895, "least_share": 0.2154},
    "representation-gbm": {"n_estimators": 100, "label": 1.0, "parity": 1.0},
    "reduction-gbm": {"n_estimators": 100, "constraint": "equalized_odds", "allowed": 0.01},
    "threshold-gbm": {"n_estimators": 100, "constraint": "equalized_odds"},
    "group-dro-lightgbm": {**_DEFAULT_BOOSTING, "step": 0.01},
    "group-dro-xgboost": {**_DEFAULT_BOOSTING, "step": 0.01},
    "constrained-lightgbm": {**_DEFAULT_BOOSTING, "step": 0.1, "constraint": "loss", "allowed": 0.0},
    "constrained-xgboost": {**_DEFAULT_BOOSTING, "step": 0.1, "constraint": "loss", "allowed": 0.0},
}
"""One sound configuration of each learner: its library's own defaults, where it has them. It is in every budget."""


@lru_cache(maxsize=32)
def full_grid(learner: str) -> tuple[Configuration, ...]:
    """Every configuration of a learner's grid, those that share work beside each other."""
    found: list[Configuration] = []
    for axes in _axes(learner):
        # What can share work varies fastest: trees of one ensemble, then networks of one shape.
        names = sorted(
            axes, key=lambda name: (name == "n_estimators", name not in ("layers", "width", "max_bin"), name)
        )
        products = itertools.product(*(axes[name] for name in names))
        found.extend(configuration(dict(zip(names, values, strict=True))) for values in products)
    return tuple(found)


def configuration(values: Mapping[str, Value]) -> Configuration:
    """A configuration as the sorted pairs that a Step holds."""
    return tuple(sorted(values.items()))


def _axes(learner: str) -> tuple[Axes, ...]:
    if learner not in GRIDS:
        raise SurefootError(f"There is no learner named '{learner}'. Known: {', '.join(GRIDS)}.")
    return GRIDS[learner]
