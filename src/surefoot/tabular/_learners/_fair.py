"""Fair learners around LightGBM: a fair representation before, a reduction during, thresholds after."""

import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from surefoot.core import SurefootError, counted
from surefoot.tabular._learners._boosting import fit_lightgbm
from surefoot.tabular._learners._representation import fit_representation, transform

Scores = tuple[NDArray[np.float32], ...]
ORACLE_CALLS = 20


def fit_representation_gbm(
    train: tuple[Any, Any, Any], scored: Sequence[Any], configurations: Sequence[Mapping[str, Any]], seed: int
) -> Iterator[tuple[int, Scores]]:
    """LightGBM on a fair representation; each pair of weights is fitted once for all boosting configurations."""
    x, y, g = train
    for weights, places in _by(configurations, ("label", "parity")):
        fitted = fit_representation(x, y, g, label=weights["label"], parity=weights["parity"], seed=seed)
        parts = [transform(fitted, part) for part in (x, *scored)]
        boosting = [_base(configurations[place]) for place in places]
        for inner, scores in fit_lightgbm((parts[0], y), parts[1:], boosting, seed):
            yield places[inner], scores


def fit_reduction_gbm(
    train: tuple[Any, Any, Any],
    scored: Sequence[tuple[Any, Any]],
    configurations: Sequence[Mapping[str, Any]],
    seed: int,
) -> Iterator[tuple[int, Scores]]:
    """Exponentiated gradient (Agarwal et al. 2018, arXiv 1803.02453; fairlearn) over LightGBM, at most 20 rounds.

    It gives a random mixture of classifiers: the score of a row is a decision drawn once, by the seed.
    """
    from fairlearn.reductions import ExponentiatedGradient

    x, y, g = (np.asarray(array) for array in train)
    for place, values in enumerate(configurations):
        model = ExponentiatedGradient(
            _classifier(values, seed),
            _constraint(str(values["constraint"])),
            eps=values["allowed"],
            max_iter=ORACLE_CALLS,
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model.fit(x, y.astype(int), sensitive_features=g)
            decisions = [model.predict(np.asarray(part), random_state=seed) for part, _ in scored]
        yield place, tuple(np.asarray(decision, np.float32) for decision in decisions)


def fit_threshold_gbm(
    train: tuple[Any, Any, Any],
    scored: Sequence[tuple[Any, Any]],
    configurations: Sequence[Mapping[str, Any]],
    seed: int,
) -> Iterator[tuple[int, Scores]]:
    """Thresholds by group (Hardt et al. 2016, arXiv 1610.02413; fairlearn) on LightGBM, one base fit a pair.

    The base is fitted on two thirds of the rows, and the thresholds are learned on the rest: on its own rows its rates
    are not those of new ones. They are random mixtures: the score of a row is a decision drawn once, by the seed.
    Raises `SurefootError` when a group has not two rows of each label.
    """
    from fairlearn.postprocessing import ThresholdOptimizer

    x, y, g = (np.asarray(array) for array in train)
    held = _held_out(y, g, seed)
    for values, places in _by(configurations, ("learning_rate", "n_estimators", "max_depth")):
        base = _classifier(values, seed)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            base.fit(x[~held], y[~held].astype(int))
            for place in places:
                model = ThresholdOptimizer(
                    estimator=base,
                    constraints=configurations[place]["constraint"],
                    prefit=True,
                    predict_method="predict_proba",
                )
                model.fit(x[held], y[held].astype(int), sensitive_features=g[held])
                decisions = [
                    model.predict(np.asarray(part), sensitive_features=np.asarray(groups), random_state=seed)
                    for part, groups in scored
                ]
                yield place, tuple(np.asarray(decision, np.float32) for decision in decisions)


def _held_out(y: NDArray[Any], g: NDArray[Any], seed: int) -> NDArray[np.bool_]:
    """A third of the rows of each group and label. Raises when a group has fewer than two rows of a label."""
    strata = 2 * g.astype(np.intp) + y.astype(np.intp)
    counts = np.bincount(strata, minlength=2 * (int(g.max()) + 1)).reshape(-1, 2)
    few = np.flatnonzero((counts.sum(1) > 0) & (counts.min(1) < 2))
    if len(few):
        raise SurefootError(
            "Thresholds by group need rows of both labels in each group, and "
            f"{counted(len(few), 'group', 'lack')} two of each."
        )
    order = np.lexsort((np.random.default_rng(seed).random(len(strata)), strata))
    starts = np.cumsum(counts.ravel()) - counts.ravel()
    rank = np.arange(len(strata)) - starts[strata[order]]
    held = np.zeros(len(strata), bool)
    held[order] = rank < np.maximum(1, counts.ravel()[strata[order]] // 3)
    return held


def _constraint(name: str) -> Any:
    from fairlearn import reductions

    kinds = {
        "demographic_parity": reductions.DemographicParity,
        "equalized_odds": reductions.EqualizedOdds,
        "error_rate_parity": reductions.ErrorRateParity,
    }
    return kinds[name]()


def _classifier(values: Mapping[str, Any], seed: int) -> Any:
    from lightgbm import LGBMClassifier

    return LGBMClassifier(**_base(values), random_state=seed, n_jobs=1, verbosity=-1, deterministic=True)


def _base(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: values[name] for name in ("learning_rate", "n_estimators", "max_depth") if name in values}


def _by(
    configurations: Sequence[Mapping[str, Any]], names: Sequence[str]
) -> Iterator[tuple[dict[str, Any], list[int]]]:
    found: dict[tuple[tuple[str, Any], ...], list[int]] = {}
    for place, values in enumerate(configurations):
        found.setdefault(tuple((name, values[name]) for name in names if name in values), []).append(place)
    for shared, places in found.items():
        yield dict(shared), places
