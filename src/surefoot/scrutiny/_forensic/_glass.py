"""Glass: whether two pieces come from one window, by the elements in them (LA-ICP-MS, log10, relative to silicon)."""

import csv
import gzip
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from surefoot.core import SurefootError
from surefoot.scrutiny._forensic._populations import published
from surefoot.scrutiny._statistics import elub

Floats = NDArray[np.float64]


@lru_cache(maxsize=4)
def glass(part: str) -> Floats:
    """The windows of a part ("training", "duplo" or "triplo"), (windows, measurements, 10 elements)."""
    windows: dict[str, list[list[float]]] = {}
    with gzip.open(published("glass", f"{part}.csv.gz"), "rt", encoding="utf-8", newline="") as lines:
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
    above = [(len(one) - np.searchsorted(np.sort(one), grid) + 0.5) / (len(one) + 1) for one in (logs[y], logs[~y])]
    up = (np.log10(above[0]) - np.log10(above[1]) < grid) & (grid > 0)
    down = (np.log10(1 - above[0]) - np.log10(1 - above[1]) > grid) & (grid < 0)
    high = grid[np.argmax(up)] - 0.001 if up.any() else max(0.0, float(np.max(logs[y])))
    low = grid[len(grid) - 1 - np.argmax(down[::-1])] + 0.001 if down.any() else min(0.0, float(np.min(logs[~y])))
    return float(min(low, 0.0)), float(max(high, 0.0))


def glass_ratio(evidence: Mapping[str, Any], seed: int = 0) -> dict[str, object]:
    """The likelihood ratio of `recovered` and `control` measurements, with its propositions and population.

    The `score` is what a logistic regression on absolute differences learned from half of the training windows.
    `log10_lr_bounded` is kept within the invariance bounds of the other half, `log10_lr_elub` within its ELUB, the
    bounds of these data's own publication (Vergeer et al. 2016).
    """
    system, (x, y) = trained_on_glass(), (np.atleast_2d(evidence[name]) for name in ("recovered", "control"))
    value = system.model.log10_ratio(x, y)
    return {
        "log10_lr": value,
        "log10_lr_bounded": float(np.clip(value, *system.bounds)),
        "log10_lr_elub": float(np.clip(value, *system.supported)),
        "score": float(system.score(_features(x, y, system.model)[None])[0]),
        "prosecution": "both sets of pieces come from one window",
        "defence": "they come from two windows of the population",
        "population": "float glass of Dutch casework, training part",
    }


class Trained(NamedTuple):
    """What is learned from the training part: half for model and score, half for calibration.

    Of that half: `scores`, whether they are of the `same` window, and what it supports of the model's ratios, the
    invariance `bounds` and ELUB.
    """

    model: TwoLevel
    score: Callable[[Floats], Floats]
    scores: Floats
    same: NDArray[np.bool_]
    bounds: tuple[float, float]
    supported: tuple[float, float]


@lru_cache(maxsize=1)
def trained_on_glass() -> Trained:
    """The systems for glass, trained once a process."""
    from sklearn.linear_model import LogisticRegression

    windows = glass("training")
    model = fit_two_level(windows[::2])
    fitted = LogisticRegression(C=1e4, class_weight="balanced", max_iter=2000).fit(*_pairs(windows[::2], model)[:2])
    features, same, pairs = _pairs(windows[1::2], model)
    ratios = np.array([model.log10_ratio(x, y) for x, y in pairs])

    def score(x: Floats) -> Floats:
        return np.asarray(fitted.decision_function(x) / np.log(10), dtype=np.float64)

    supported = elub(ratios[same], ratios[~same])
    return Trained(model, score, score(features), same, invariance_bounds(ratios, same), supported)


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
    return pair_of(glass(str(condition.get("part", "triplo"))), trained_on_glass().model, condition, seed)


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
