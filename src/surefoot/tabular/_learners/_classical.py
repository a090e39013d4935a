"""Logistic regression, support vector machine on random features, forest and gradient boosting of scikit-learn."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Scores = tuple[NDArray[np.float32], ...]
Fitted = Iterator[tuple[int, Scores]]


def fit_logistic(
    train: tuple[Any, Any], scored: Sequence[Any], configurations: Sequence[Mapping[str, Any]], seed: int
) -> Fitted:
    """L2 logistic regression; no fit starts where another ended, so that what it ends at is its own."""
    from sklearn.linear_model import LogisticRegression

    x, y = np.asarray(train[0]), np.asarray(train[1])
    for place, each in enumerate(configurations):
        model = LogisticRegression(C=each["C"], max_iter=1000, random_state=seed)
        with _quiet():
            model.fit(x, y)
        yield place, tuple(model.predict_proba(np.asarray(part))[:, 1].astype(np.float32) for part in scored)


def fit_svm(
    train: tuple[Any, Any], scored: Sequence[Any], configurations: Sequence[Mapping[str, Any]], seed: int
) -> Fitted:
    """A linear support vector machine on random features, made once for all values of `C`.

    Scores are the logistic function of the margin: they say yes above one half, and are not probabilities.
    """
    from sklearn.svm import LinearSVC

    features = ("features", "gamma", "components", "degree")
    for shared, places in _sharing(configurations, features):
        # A kernel needs no more landmarks than there are rows.
        most = {**shared, "components": min(shared["components"], len(train[0]))}
        transform = _features(most, seed).fit(np.asarray(train[0]))
        x, parts = transform.transform(np.asarray(train[0])), [transform.transform(np.asarray(part)) for part in scored]
        for place in places:
            model = LinearSVC(C=configurations[place]["C"], dual="auto", max_iter=100, random_state=seed)
            with _quiet():
                model.fit(x, np.asarray(train[1]))
            yield place, tuple(_logistic(model.decision_function(part)) for part in parts)


def fit_forest(
    train: tuple[Any, Any], scored: Sequence[Any], configurations: Sequence[Mapping[str, Any]], seed: int
) -> Fitted:
    """A random forest; smaller ones are the first trees of the largest, bit for bit."""
    from sklearn.ensemble import RandomForestClassifier

    for shared, places in _sharing(configurations, without=("n_estimators",)):
        counts = {place: int(configurations[place].get("n_estimators", 100)) for place in places}
        model = RandomForestClassifier(n_estimators=max(counts.values()), random_state=seed, n_jobs=1, **shared)
        model.fit(np.asarray(train[0]), np.asarray(train[1]))
        sums = [_running_means(model.estimators_, np.asarray(part), sorted(set(counts.values()))) for part in scored]
        for place, count in counts.items():
            yield place, tuple(means[count] for means in sums)


def fit_gbm(
    train: tuple[Any, Any], scored: Sequence[Any], configurations: Sequence[Mapping[str, Any]], seed: int
) -> Fitted:
    """Gradient boosting of scikit-learn; smaller ensembles are the first stages of the largest."""
    from sklearn.ensemble import GradientBoostingClassifier

    for shared, places in _sharing(configurations, without=("n_estimators",)):
        counts = {place: int(configurations[place].get("n_estimators", 100)) for place in places}
        model = GradientBoostingClassifier(n_estimators=max(counts.values()), random_state=seed, **shared)
        with _quiet():
            model.fit(np.asarray(train[0]), np.asarray(train[1]))
            stages = [_stages(model, np.asarray(part), set(counts.values())) for part in scored]
        for place, count in counts.items():
            yield place, tuple(stage[count] for stage in stages)


def _sharing(
    configurations: Sequence[Mapping[str, Any]], within: Sequence[str] | None = None, without: Sequence[str] = ()
) -> Iterator[tuple[dict[str, Any], list[int]]]:
    found: dict[tuple[tuple[str, Any], ...], list[int]] = {}
    for place, each in enumerate(configurations):
        shared = {
            name: value for name, value in each.items() if name not in without and (within is None or name in within)
        }
        found.setdefault(tuple(sorted(shared.items())), []).append(place)
    for shared, places in found.items():
        yield dict(shared), places


def _features(shared: Mapping[str, Any], seed: int) -> Any:
    from sklearn.kernel_approximation import Nystroem, RBFSampler

    # Columns are standardised here and squared distances are near twice their number: at the grid's widths (0.5 to 2)
    # every kernel value would be zero. A hundredth of them spans the useful range on 20 to 150 columns.
    makers: Mapping[str, Callable[[], Any]] = {
        "fourier": lambda: RBFSampler(
            gamma=shared["gamma"] * 0.01, n_components=shared["components"], random_state=seed
        ),
        "nystroem": lambda: Nystroem(
            gamma=shared["gamma"] * 0.01, n_components=shared["components"], random_state=seed
        ),
        "polynomial": lambda: Nystroem(
            kernel="polynomial",
            gamma=shared["gamma"] * 0.01,
            degree=shared["degree"],
            coef0=1.0,
            n_components=shared["components"],
            random_state=seed,
        ),
    }
    return makers[shared["features"]]()


def _running_means(trees: Sequence[Any], part: NDArray[Any], counts: Sequence[int]) -> dict[int, NDArray[np.float32]]:
    total, found = np.zeros(len(part)), {}
    part = np.ascontiguousarray(part, np.float32)
    for number, tree in enumerate(trees, start=1):
        total += tree.tree_.predict(part)[:, 1]
        if number in counts:
            found[number] = (total / number).astype(np.float32)
    return found


def _stages(model: Any, part: NDArray[Any], counts: set[int]) -> dict[int, NDArray[np.float32]]:
    staged = enumerate(model.staged_predict_proba(part), start=1)
    return {number: scores[:, 1].astype(np.float32) for number, scores in staged if number in counts}


def _logistic(margins: NDArray[Any]) -> NDArray[np.float32]:
    return (1 / (1 + np.exp(-np.clip(margins, -60, 60)))).astype(np.float32)


def _quiet() -> Any:
    """A fit that stops early, or overflows at a rate of 2, is a poor configuration and no news."""
    import warnings
    from contextlib import ExitStack

    import sklearn.exceptions

    stack = ExitStack()
    stack.enter_context(warnings.catch_warnings())
    warnings.simplefilter("ignore", sklearn.exceptions.ConvergenceWarning)
    warnings.simplefilter("ignore", RuntimeWarning)
    stack.enter_context(np.errstate(over="ignore", invalid="ignore"))
    return stack
