"""LightGBM and XGBoost: data binned once, small ensembles taken from large ones, and objectives that are robust."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from surefoot.core import SurefootError

Floats = NDArray[np.float64]
Library = Literal["lightgbm", "xgboost"]
DEFAULT_TREES = 100
_BLOCK_ROWS = 65_536
_LARGE_BYTES = 2**28


class GroupDroObjective:
    """Logistic loss under Group DRO's weights of the groups, as gradient and Hessian for a boosting library.

    Before each tree the weight of a group grows as exp(step * its mean loss) (Sagawa et al. 2020, arXiv 1911.08731);
    rows are weighted so that the groups count by these weights, whatever their sizes. `weights` (G,) are the present.
    """

    def __init__(self, labels: NDArray[Any], groups: NDArray[Any], step: float) -> None:
        self._labels, self._groups = np.asarray(labels, np.float64), np.asarray(groups, np.intp)
        self._sizes = np.maximum(np.bincount(self._groups), 1)
        self._step = step
        self.weights = np.where(np.bincount(self._groups) > 0, 1.0, 0.0)
        self.weights /= self.weights.sum()

    def __call__(self, margins: Floats) -> tuple[Floats, Floats]:
        share = 1 / (1 + np.exp(-margins))
        losses = np.logaddexp(0, margins) - self._labels * margins
        means = np.bincount(self._groups, losses, minlength=len(self._sizes)) / self._sizes
        self.weights = self.weights * np.exp(self._step * means)
        self.weights /= self.weights.sum()
        row = (self.weights * len(share) / self._sizes)[self._groups]
        return row * (share - self._labels), np.maximum(row * share * (1 - share), 1e-16)


class ConstrainedObjective:
    """Logistic loss under the constraint that no group is worse off than all rows together by more than `allowed`.

    The Lagrangian of FairGBM (Cruz et al. 2023, arXiv 2209.07850) on stock libraries: a multiplier of each constraint
    rises by `step` times its violation before each tree. What is compared is the mean logistic loss ("loss"), or that
    of negatives and of positives apart, which stand for false positive and negative rates ("equalised_odds").
    """

    def __init__(
        self, labels: NDArray[Any], groups: NDArray[Any], *, step: float, allowed: float, constraint: str
    ) -> None:
        truth, group = np.asarray(labels, np.intp), np.asarray(groups, np.intp)
        sliced = {"loss": np.zeros_like(truth), "equalised_odds": truth}
        if constraint not in sliced:
            raise SurefootError(f"A constraint is one of {', '.join(sliced)}; got '{constraint}'.")
        self._labels, self._slice = truth.astype(np.float64), sliced[constraint]
        slices = int(self._slice.max()) + 1
        self._cell = group * slices + self._slice
        counts = np.bincount(self._cell, minlength=(int(group.max()) + 1) * slices).reshape(-1, slices)
        self._sizes, self._step, self._allowed = counts, step, allowed
        self.multipliers = np.zeros(counts.shape)

    def __call__(self, margins: Floats) -> tuple[Floats, Floats]:
        share = 1 / (1 + np.exp(-margins))
        losses = np.logaddexp(0, margins) - self._labels * margins
        sums = np.bincount(self._cell, losses, minlength=self._sizes.size).reshape(self._sizes.shape)
        total = self._sizes.sum(0)
        excess = np.where(self._sizes > 0, sums / np.maximum(self._sizes, 1) - sums.sum(0) / total, 0.0)
        self.multipliers = np.maximum(0.0, self.multipliers + self._step * (excess - self._allowed))
        by_cell = 1 + len(share) * (self.multipliers / np.maximum(self._sizes, 1) - self.multipliers.sum(0) / total)
        # A negative weight would ask for a worse fit and leaves no Newton step: it is held just above zero.
        row = np.maximum(by_cell, 1e-3).ravel()[self._cell]
        return row * (share - self._labels), np.maximum(row * share * (1 - share), 1e-16)


Objective = Callable[[Floats], tuple[Floats, Floats]]
ObjectiveMaker = Callable[[Mapping[str, Any]], Objective]
Scores = tuple[NDArray[np.float32], ...]


def fit_lightgbm(
    train: tuple[Any, Any],
    scored: Sequence[Any],
    configurations: Sequence[Mapping[str, Any]],
    seed: int,
    make_objective: ObjectiveMaker | None = None,
) -> Iterator[tuple[int, Scores]]:
    """The scores of each part by LightGBM, for each configuration by its place.

    The data are binned once; configurations that differ in `n_estimators` alone are one fit, whose first trees are the
    smaller ensembles (the sums of their leaves to the last bit of a float32). One thread, deterministic.
    """
    import lightgbm

    y = np.asarray(train[1])
    binned = bins_of("lightgbm", train[0], 0)
    binned.set_label(y)
    base = _log_odds(y) if make_objective else 0.0
    for places, values in _ensembles(configurations):
        settings = {**_plain(values), "seed": seed, "num_threads": 1, "verbosity": -1, "deterministic": True}
        goal = make_objective(values) if make_objective else None
        settings["objective"] = _at_base(goal, base) if goal else "binary"
        trees = max(places.values())
        booster = lightgbm.train(settings, binned, num_boost_round=trees)
        margins = [_growing(booster, part, sorted(set(places.values()))) for part in scored]
        for place, count in places.items():
            yield place, tuple(_probability(margin[count] + base) for margin in margins)


def _growing(booster: Any, part: Any, counts: Sequence[int]) -> dict[int, Floats]:
    """Margins after each number of trees; every tree is asked once."""
    found, before, total = {}, 0, np.zeros(len(part))
    for count in counts:
        told = booster.predict(part, start_iteration=before, num_iteration=count - before, raw_score=True)
        found[count] = total = total + np.asarray(told)
        before = count
    return found


def fit_xgboost(
    train: tuple[Any, Any],
    scored: Sequence[Any],
    configurations: Sequence[Mapping[str, Any]],
    seed: int,
    make_objective: ObjectiveMaker | None = None,
) -> Iterator[tuple[int, Scores]]:
    """The same by XGBoost (histograms); the data are binned once for each `max_bin`."""
    import xgboost

    y = np.asarray(train[1])
    base = _log_odds(y) if make_objective else 0.0
    for places, values in _ensembles(configurations):
        bins = int(values.get("max_bin", 256))
        binned = bins_of("xgboost", train[0], bins)
        binned.set_label(y)
        goal = make_objective(values) if make_objective else None
        settings = {
            **_plain(values) | {"max_bin": bins},
            "seed": seed,
            "nthread": 1,
            "tree_method": "hist",
            "verbosity": 0,
        }
        settings |= {"base_score": 0.0, "disable_default_eval_metric": 1} if goal else {"objective": "binary:logistic"}
        booster = xgboost.train(settings, binned, max(places.values()), obj=_at_base(goal, base) if goal else None)
        for place, count in places.items():
            raw = [_margins(booster, part, count) for part in scored]
            yield place, tuple(_probability(margin + base) for margin in raw)


def _margins(booster: Any, part: Any, count: int) -> NDArray[np.float32]:
    """Of the first trees, block by block as the rows are: a DMatrix of them would be three times their size."""
    blocks = [part[begin : begin + _BLOCK_ROWS] for begin in range(0, len(part), _BLOCK_ROWS)]
    told = {"iteration_range": (0, count), "predict_type": "margin"}
    return np.concatenate([booster.inplace_predict(np.asarray(block), **told) for block in blocks])


@dataclass(frozen=True)
class _Rows:
    """A matrix by the file that it is mapped from: what does not change need not be binned again."""

    file: tuple[str, int, int]
    x: Any = field(compare=False, repr=False)


def bins_of(library: Library, x: Any, bins: int) -> Any:
    """The binned rows of a library, without labels; those of a mapped file are kept for the next Step of this process.

    Learners of one design follow each other in a worker: what LightGBM binned, robust and constrained boosting use.
    """
    name = getattr(x, "filename", None)
    if name is None:
        return _bin(library, x, bins)
    said = Path(name).stat()
    keep = _kept_bins if x.nbytes <= _LARGE_BYTES else _last_bins
    return keep(library, _Rows((str(name), said.st_mtime_ns, said.st_ino), x), bins)


@lru_cache(maxsize=4)
def _kept_bins(library: Library, rows: _Rows, bins: int) -> Any:
    return _bin(library, rows.x, bins)


@lru_cache(maxsize=1)
def _last_bins(library: Library, rows: _Rows, bins: int) -> Any:
    """Of large tables only the last: four of a million rows would be gigabytes."""
    return _bin(library, rows.x, bins)


def _bin(library: Library, x: Any, bins: int) -> Any:
    if library == "xgboost":
        import xgboost

        return xgboost.QuantileDMatrix(np.asarray(x), max_bin=bins, nthread=1)
    import lightgbm

    settings = {"feature_pre_filter": False, "verbosity": -1, "num_threads": 1}
    return lightgbm.Dataset(x, params=settings).construct()


FITTERS: Mapping[Library, Callable[..., Iterator[tuple[int, Scores]]]] = {
    "lightgbm": fit_lightgbm,
    "xgboost": fit_xgboost,
}


def train_booster(
    library: Library, train: tuple[Any, Any], values: Mapping[str, Any], seed: int, make_objective: ObjectiveMaker
) -> Callable[[Any], NDArray[np.float32]]:
    """One robust ensemble, as the function from rows (n, features) to probabilities (n,)."""
    base, trees = _log_odds(train[1]), int(values["n_estimators"])
    goal = _at_base(make_objective(values), base)
    settings = {name: value for name, value in _plain(values).items() if name != "n_estimators"} | {"seed": seed}
    if library == "lightgbm":
        import lightgbm

        settings |= {"num_threads": 1, "verbosity": -1, "deterministic": True, "objective": goal}
        booster = lightgbm.train(settings, lightgbm.Dataset(train[0], label=train[1]), num_boost_round=trees)
        return lambda x: _probability(np.asarray(booster.predict(x, raw_score=True)) + base)
    import xgboost

    settings |= {"nthread": 1, "tree_method": "hist", "base_score": 0.0, "disable_default_eval_metric": 1}
    model = xgboost.train(settings, xgboost.QuantileDMatrix(*train, nthread=1), trees, obj=goal)
    return lambda x: _probability(model.predict(xgboost.DMatrix(x, nthread=1), output_margin=True) + base)


def objective_maker(name: str, labels: NDArray[Any], groups: NDArray[Any]) -> ObjectiveMaker:
    """What makes the robust objective "group-dro" or "constrained" of a configuration."""
    if name == "group-dro":
        return lambda values: GroupDroObjective(labels, groups, float(values["step"]))
    return lambda values: ConstrainedObjective(
        labels,
        groups,
        step=float(values["step"]),
        allowed=float(values["allowed"]),
        constraint=str(values["constraint"]),
    )


def _ensembles(configurations: Sequence[Mapping[str, Any]]) -> Iterator[tuple[dict[int, int], dict[str, Any]]]:
    """Configurations that are one ensemble of different lengths: place and length of each, and what they share."""
    found: dict[tuple[tuple[str, Any], ...], dict[int, int]] = {}
    for place, each in enumerate(configurations):
        shared = {name: value for name, value in each.items() if name != "n_estimators"}
        found.setdefault(tuple(sorted(shared.items())), {})[place] = int(each.get("n_estimators", DEFAULT_TREES))
    for shared, places in sorted(found.items(), key=lambda item: dict(item[0]).get("max_bin", 0)):
        yield places, dict(shared)


def _plain(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if name not in ("step", "allowed", "constraint")}


def _at_base(goal: Objective, base: float) -> Callable[[Any, Any], tuple[Floats, Floats]]:
    """The objective around the log odds of the labels; a custom one starts at a margin of zero (XGBoost if told so)."""
    return lambda margins, _: goal(np.asarray(margins, np.float64) + base)


def _log_odds(labels: Any) -> float:
    share = float(np.clip(np.mean(labels), 1e-6, 1 - 1e-6))
    return float(np.log(share / (1 - share)))


def _probability(margins: NDArray[Any]) -> NDArray[np.float32]:
    return (1 / (1 + np.exp(-np.clip(margins, -60, 60)))).astype(np.float32)
