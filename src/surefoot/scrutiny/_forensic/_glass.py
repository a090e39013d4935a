"""Glass: whether two pieces come from one window, by the elements in them (LA-ICP-MS, log10, relative to silicon)."""

import csv
import gzip
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from surefoot.core import SurefootError
from surefoot.scrutiny._forensic._populations import scrutiny_folder
from surefoot.scrutiny._statistics import SupportedRatios, elub

Floats = NDArray[np.float64]
Method = Literal["two-level", "learned"]


@lru_cache(maxsize=4)
def glass(part: str) -> Floats:
    """The windows of a part ("training", "duplo" or "triplo"), (windows, measurements, 10 elements)."""
    path = scrutiny_folder() / "glass" / f"{part}.csv.gz"
    if not path.is_file():
        raise SurefootError(f"There is no part of the glass data {path}: parts are training, duplo and triplo.")
    windows: dict[str, list[list[float]]] = {}
    with gzip.open(path, "rt", encoding="utf-8", newline="") as lines:
        for row in list(csv.reader(lines))[1:]:
            windows.setdefault(row[1], []).append([float(one) for one in row[3:]])
    most = max(map(len, windows.values()))
    return np.array([one for one in windows.values() if len(one) == most])


@dataclass(frozen=True)
class TwoLevel:
    """Windows differ normally about `mean` with `between`, pieces of a window with `within` (Aitken and Lucy 2004)."""

    mean: Floats
    within: Floats
    between: Floats

    def log10_ratio(self, recovered: ArrayLike, control: ArrayLike) -> float:
        """log10 LR of two sets of measurements, (n, d) and (m, d), of one window against two windows."""
        x, y = np.atleast_2d(recovered), np.atleast_2d(control)
        n, m, a, b = len(x), len(y), x.mean(axis=0), y.mean(axis=0)
        sets = ((a, n), (b, m), ((n * a + m * b) / (n + m), n + m))
        first, second, both = (_normal(mean - self.mean, self.between + self.within / k) for mean, k in sets)
        return float((_normal(a - b, self.within * (1 / n + 1 / m)) + both - first - second) / np.log(10))


def fit_two_level(windows: ArrayLike) -> TwoLevel:
    """Fit by moments to (windows, measurements, d)."""
    x = np.asarray(windows, dtype=np.float64)
    means, (count, repeats, d) = x.mean(axis=1), x.shape
    left = (x - means[:, None]).reshape(-1, d)
    within = left.T @ left / (count * (repeats - 1))
    return TwoLevel(means.mean(axis=0), within, np.cov(means.T) - within / repeats)


def _normal(x: Floats, covariance: Floats) -> float:
    _, determinant = np.linalg.slogdet(2 * np.pi * covariance)
    return -(determinant + float(x @ np.linalg.solve(covariance, x))) / 2


def invariance_bounds(log10_ratios: ArrayLike, same: ArrayLike) -> tuple[float, float]:
    """The log10 LRs within which "the ratio of the ratio is the ratio" may hold, by data of this size.

    At a threshold t, P(LR >= t) where the first proposition is true must be t times that where the second is; both are
    counts with Jeffreys' prior. The bounds are where that first fails going out from 1 (Alberink et al. 2025).
    """
    logs, y = np.clip(np.asarray(log10_ratios, dtype=np.float64), -9, 9), np.asarray(same, dtype=bool)
    if y.all() or not y.any():
        raise SurefootError("Bounds need ratios of both kinds: of one source, and of different sources.")
    grid = np.arange(np.floor(1000 * min(logs.min(), 0)), np.ceil(1000 * max(logs.max(), 0)) + 1) / 1000
    above = [
        (len(one) - np.searchsorted(np.sort(one), grid, "left") + 0.5) / (len(one) + 1) for one in (logs[y], logs[~y])
    ]
    up = (np.log10(above[0]) - np.log10(above[1]) < grid) & (grid > 0)
    down = (np.log10(1 - above[0]) - np.log10(1 - above[1]) > grid) & (grid < 0)
    high = grid[np.argmax(up)] - 0.001 if up.any() else max(0.0, float(np.max(logs[y])))
    low = grid[len(grid) - 1 - np.argmax(down[::-1])] + 0.001 if down.any() else min(0.0, float(np.min(logs[~y])))
    return float(min(low, 0.0)), float(max(high, 0.0))


def glass_ratio(evidence: Mapping[str, Any], seed: int = 0, *, method: Method = "two-level") -> dict[str, object]:
    """The likelihood ratio of `recovered` and `control` measurements, with its propositions and population.

    "learned" is the `score` that a logistic regression on absolute differences learned from half of the training
    windows, calibrated on the other half. `log10_lr_bounded` is kept within the invariance bounds of that half,
    `log10_lr_elub` within its ELUB: the bounds of these data's own publication (Vergeer et al. 2016).
    """
    x, y = (np.atleast_2d(np.asarray(evidence[name], dtype=np.float64)) for name in ("recovered", "control"))
    system = trained_on_glass()
    score = system.score(_features(x, y, system.model)[None])
    value = system.model.log10_ratio(x, y) if method == "two-level" else float(system.calibrated(score[:, None])[0])
    low, high = system.bounds[method]
    supported = system.supported[method]
    return {
        "log10_lr": value,
        "log10_lr_bounded": min(max(value, low), high),
        "log10_lr_elub": min(max(value, supported.low), supported.high),
        "score": float(score[0]),
        "prosecution": "both sets of pieces come from one window",
        "defence": "they come from two windows of the population",
        "population": "float glass of Dutch casework, training part",
    }


class Trained(NamedTuple):
    """What is learned from the training part: half for model and score, half (`scores`, `same`) for calibration.

    `features` are those of the second half: absolute differences, a pair a row.
    """

    model: TwoLevel
    score: Callable[[Floats], Floats]
    calibrated: Callable[[Floats], Floats]
    scores: Floats
    same: NDArray[np.bool_]
    bounds: Mapping[str, tuple[float, float]]
    supported: Mapping[str, SupportedRatios]
    features: Floats


@lru_cache(maxsize=1)
def trained_on_glass() -> Trained:
    """The systems for glass, trained once a process."""
    windows = glass("training")
    model = fit_two_level(windows[::2])
    score = _log10_odds(*_pairs(windows[::2], model)[:2])
    features, same, pairs = _pairs(windows[1::2], model)
    scores = score(features)
    calibrated = _log10_odds(scores[:, None], same)
    ratios = {"two-level": [model.log10_ratio(x, y) for x, y in pairs], "learned": calibrated(scores[:, None])}
    bounds = {name: invariance_bounds(found, same) for name, found in ratios.items()}
    supported = {name: elub(np.asarray(found)[same], np.asarray(found)[~same]) for name, found in ratios.items()}
    return Trained(model, score, calibrated, scores, same, bounds, supported, features)


def _log10_odds(features: Floats, same: NDArray[np.bool_]) -> Callable[[Floats], Floats]:
    """A logistic regression in which both classes count by half, so that its odds are a likelihood ratio."""
    from sklearn.linear_model import LogisticRegression

    fitted = LogisticRegression(C=1e4, class_weight="balanced", max_iter=2000).fit(features, same)
    return lambda x: np.asarray(fitted.decision_function(x) / np.log(10), dtype=np.float64)


def _pairs(windows: Floats, model: TwoLevel) -> tuple[Floats, NDArray[np.bool_], list[tuple[Floats, Floats]]]:
    """Each window with itself, and with the next seven: features, truth, and the measurements."""
    several = len(windows)
    pairs = [(windows[k, :1], windows[(k + step) % several, 1:]) for step in range(8) for k in range(several)]
    return np.array([_features(x, y, model) for x, y in pairs]), np.arange(len(pairs)) < several, pairs


def _features(x: Floats, y: Floats, model: TwoLevel) -> Floats:
    return np.minimum(np.abs(x.mean(axis=0) - y.mean(axis=0)) / np.sqrt(np.diag(model.within)), 20.0)


def glass_pair(condition: Mapping[str, Any], seed: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """Two sets of pieces from windows that no training saw, and whether they are of one window.

    The condition may have `part` ("duplo" or "triplo"), `same`, and `rank`: of two windows the second is the `rank`-th
    nearest to the first in composition (0: any).
    """
    windows = glass(str(condition.get("part", "triplo")))
    return pair_of(windows, trained_on_glass().model, condition, seed)


def pair_of(
    windows: Floats, model: TwoLevel, condition: Mapping[str, Any], seed: int
) -> tuple[dict[str, Any], dict[str, Any]]:
    """One measurement of a source, and the others of the same, or of its `rank`-th nearest (0: of any)."""
    same, rank, generator = bool(condition.get("same")), int(condition.get("rank", 0)), np.random.default_rng(seed)
    first, second = (int(one) for one in generator.choice(len(windows), size=2, replace=False))
    if rank:
        means = windows.mean(axis=1) / np.sqrt(np.diag(model.within))
        order = np.argsort(((means - means[first]) ** 2).sum(axis=1), kind="stable")
        second = int(order[min(rank, len(order) - 1)])
    pieces = {"recovered": windows[first, :1].tolist(), "control": windows[first if same else second, 1:].tolist()}
    return pieces, {"same": same}


def glass_features(evidence: Mapping[str, Any]) -> Floats:
    """The absolute differences of two sets of pieces by element, in units of what one window varies: (10,)."""
    x, y = (np.atleast_2d(np.asarray(evidence[name], dtype=np.float64)) for name in ("recovered", "control"))
    return _features(x, y, trained_on_glass().model)
