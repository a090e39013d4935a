"""Intervals of the parameters of a law: t, profile, wild and cluster bootstrap."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from surefoot.core import counted
from surefoot.stats._intervals import Interval, resample_counts, t_quantile
from surefoot.stats._laws._checks import UNEVEN
from surefoot.stats._laws._engine import Problem, is_log, jacobian, log_curve, natural, solve, user_map, vanished
from surefoot.stats._laws._law import Law

Floats = NDArray[np.float64]
Method = Literal["auto", "t", "profile", "wild", "pairs"]

FEWEST_RUNS = 6
"""Below this many independent runs a bootstrap is refused."""

_MULTIPLES = np.array([0.3, 0.6, 0.8, 0.9, 1.0, 1.1, 1.25, 1.5, 2.0, 3.0, 5.0, 10.0, 20.0])
_ZOOMS, _STEEP = 4, 0.5
_DRAW = 1e-7
_WEBB = np.array([0.5**0.5, 1.0, 1.5**0.5])
_FLOOR_OF_START = -6.0
_MOST_WILD = 10_000


@dataclass(frozen=True, kw_only=True)
class ParameterIntervals:
    """Intervals by parameter name, the method that was used, and `note`: why it is not the one asked for, or ''.

    `draws` (replicates, p) are the bootstrap parameters in the user's units, or an empty array.
    """

    by_name: Mapping[str, Interval]
    method: str
    note: str
    draws: Floats


def intervals(
    law: Law, *, method: Method = "auto", level: float = 0.95, replicates: int = 1000, seed: int = 0
) -> ParameterIntervals:
    """Intervals of all parameters of a law.

    `t`: Student's, on exponents and on logs of coefficients (exact for a power law with normal noise).
    `profile`: the values at which the residual sum of squares, all else refitted, rises by the t quantile squared
    times the variance (Bates and Watts 1988, chapter 6); t for coefficients of columns that depend on x.
    `wild`: residuals with random signs (Webb's six points below 12 points), with t calibration (Cameron, Gelbach and
    Miller 2008); one or two points below the nominal level under 20 points. Not for clusters of runs: over six runs
    along x it held 86 of 100, the jackknife of `t` 94.
    `pairs`: whole runs drawn with replacement, percentiles expanded for small n.
    `auto`: pairs for Huber's loss, t for clusters of runs, wild where the noise changes with x (t with the robust
    covariance above 10,000 points), else t for a power law and profile for other forms.
    A bootstrap over fewer than 6 independent runs is refused: the t interval is given and `note` says so.
    """
    chosen = _automatic(law) if method == "auto" else method
    runs = int(law.clusters.max()) + 1
    note = ""
    if chosen in ("wild", "pairs") and runs < FEWEST_RUNS:
        note = _refusal(law, runs)
        chosen = "t"
    if chosen in ("wild", "profile") and runs < law.n:
        note, chosen = f"'{chosen}' is for independent points; the t interval over runs is given instead", "t"
    if chosen == "profile" and (law.huber is not None or law.degrees_of_freedom < 1):
        note, chosen = "a profile needs least squares and a degree of freedom; the t interval is given instead", "t"
    draws = np.empty((0, len(law.params)))
    if law.exact:
        note, chosen = "the points lie on the law exactly: there is no noise to estimate an interval from", "t"
    if chosen in ("wild", "pairs"):
        bounds, draws = _bootstrap(law, chosen, level, replicates, seed)
    else:
        bounds = _t_bounds(law, level)
        if chosen == "profile":
            bounds = _profile_bounds(law, bounds, level)
    values = law.parameters
    found = {
        name: Interval(values[name], float(low), float(high), level=level)
        for name, low, high in zip(law.names, *bounds, strict=True)
    }
    return ParameterIntervals(by_name=MappingProxyType(found), method=chosen, note=note, draws=draws)


def _automatic(law: Law) -> str:
    if law.huber is not None:
        return "pairs"
    if int(law.clusters.max()) + 1 < law.n:
        return "t"
    if law.checks.noise_p < UNEVEN:
        return "wild" if FEWEST_RUNS <= law.n <= _MOST_WILD else "t"
    return "t" if law.form == "power" else "profile"


def _refusal(law: Law, runs: int) -> str:
    return (
        f"a bootstrap over {runs} {'points' if runs == law.n else 'runs'} is refused: too few to resample; "
        f"the t interval with {counted(law.degrees_of_freedom, 'degree')} of freedom is given instead"
    )


def _t_bounds(law: Law, level: float) -> tuple[Floats, Floats]:
    matrix, offset = user_map(law.problem)
    centre = law.params @ matrix.T + offset
    if law.degrees_of_freedom < 1 or law.exact:
        return np.full(len(centre), np.nan), np.full(len(centre), np.nan)
    variance = np.einsum("ij,jk,ik->i", matrix, law.covariance, matrix)
    half = t_quantile(level, law.degrees_of_freedom) * np.sqrt(np.maximum(variance, 0))
    return _around(law, centre, half)


def _around(law: Law, centre: Floats, half: Floats) -> tuple[Floats, Floats]:
    """Bounds in the user's units; of an offset that may have either sign on its own scale, so that they can span 0."""
    low, high = _user(law, centre - half), _user(law, centre + half)
    if law.problem.form.signs:
        place = len(law.problem.form.exponents)
        offset = law.parameters[law.names[place]]
        reach = np.exp(centre[place]) * half[place]
        low[place], high[place] = offset - reach, offset + reach
    return low, high


def _user(law: Law, values: Floats) -> Floats:
    """From logs to the user's units where the user map gives logs; a vanished coefficient is 0."""
    out = np.where(is_log(law.problem), np.exp(np.clip(values, -700, 700)), values)
    return np.where(vanished(law.problem, law.params[None, :])[0], 0.0, out)


def _profile_bounds(law: Law, fallback: tuple[Floats, Floats], level: float) -> tuple[Floats, Floats]:
    low, high = fallback[0].copy(), fallback[1].copy()
    matrix, offset = user_map(law.problem)
    for j in range(len(law.params)):
        signed = bool(law.problem.form.signs) and j == len(law.problem.form.exponents)
        if signed or (np.count_nonzero(matrix[j]) > 1 and np.abs(matrix[j]).sum() > 1 + 1e-12):
            continue
        edges = [_profile_edge(law, j, side, level) for side in (-1.0, 1.0)]
        low[j], high[j] = (_one_user(law, j, edge + offset[j]) for edge in edges)
    return low, high


def _one_user(law: Law, j: int, value: float) -> float:
    if not is_log(law.problem)[j]:
        return value
    return float(np.exp(min(value, 700.0))) if np.isfinite(value) else (0.0 if value < 0 else np.inf)


def _profile_edge(law: Law, j: int, side: float, level: float) -> float:
    """Inner value of parameter j, on one side, where the profile reaches the t quantile.

    Where it does not, 0 below an exponent, else infinite.
    """
    error = float(law.covariance[j, j]) ** 0.5
    gone = bool(vanished(law.problem, law.params[None, :])[0, j])
    base = law.params.copy()
    if gone:
        if side < 0:
            return -np.inf
        base[j], error = -8.0, 2.0
    quantile = t_quantile(level, law.degrees_of_freedom)
    values = base[j] + side * min(max(error, 1e-6), 4.0) * quantile * _MULTIPLES
    lowest, highest = (*law.problem.form.bounds, *[(-np.inf, np.inf)] * len(base))[j]
    values = np.unique(np.clip(values, lowest, highest))[:: int(side)]
    starts = np.maximum(base, _start_floor(law.problem)) + _ridge(law, j) * (values - base[j])[:, None]
    near, root, reached, top = base, 0.0, base, np.inf
    for _ in range(_ZOOMS):
        starts[:, j] = values
        far, roots = _profiled(law, j, starts, np.maximum(near, _start_floor(law.problem)))
        beyond = np.flatnonzero(roots >= quantile)
        if not len(beyond):
            return 0.0 if side < 0 and lowest == 0 else side * np.inf
        i = int(beyond[0])
        if i:
            near, root = far[i - 1], float(roots[i - 1])
        reached, top = far[i], float(roots[i])
        if top - root < _STEEP * quantile:
            break
        starts = near + np.linspace(0, 1, len(_MULTIPLES) + 1)[1:, None] * (reached - near)
        values = starts[:, j].copy()
    return float(np.interp(quantile, [root, top], [near[j], reached[j]]))


def _profiled(law: Law, j: int, starts: Floats, near: Floats) -> tuple[Floats, Floats]:
    """Fits (m, p) with parameter j held where it starts, and by how many standard errors (m,) they are worse.

    Each is begun at its start and at `near` (p,), since valleys bend: the better of both is kept.
    """
    free = np.arange(len(near)) != j
    both = np.concatenate([starts, np.where(free, near, starts)])
    found = solve(law.problem, weights=law.weights[None, :], starts=both, free=free, tolerance=_DRAW)
    best = found.cost.reshape(2, -1).argmin(axis=0) * len(starts) + np.arange(len(starts))
    # The cost is half the weighted sum of squares, and the weights give every point the same variance.
    variance = 2 * law.cost / law.degrees_of_freedom
    return found.params[best], np.sqrt(np.maximum(2 * (found.cost[best] - law.cost), 0) / variance)


def _ridge(law: Law, j: int) -> Floats:
    """How the other parameters move with parameter j along the bottom of the valley, to first order."""
    variance = law.covariance[j, j]
    return np.clip(law.covariance[j] / variance, -50, 50) if variance > 0 else np.zeros(len(law.params))


def _start_floor(problem: Problem) -> Floats:
    """Least starting value: a vanished coefficient starts where it can still be felt."""
    out = np.full(problem.size, -np.inf)
    out[len(problem.form.exponents) :] = _FLOOR_OF_START
    return out


def _bootstrap(law: Law, method: str, level: float, replicates: int, seed: int) -> tuple[tuple[Floats, Floats], Floats]:
    if method == "pairs":
        draws = natural(law.problem, _pairs(law, replicates, seed))
        tail = _expanded_tail(int(law.clusters.max()) + 1, len(law.params), level)
        low, high = np.nanquantile(draws, [tail, 1 - tail], axis=0)
        return (low, high), draws
    inner, errors = _wild(law, replicates, seed)
    return _calibrated(law, inner, errors, level), natural(law.problem, inner)


def _expanded_tail(runs: int, parameters: int, level: float) -> float:
    """Tail share at which percentiles of a bootstrap are as wide as a t interval (Hesterberg 2015, expanded)."""
    freedom = max(runs - parameters, 1)
    return float(ndtr(-t_quantile(level, freedom) * (runs / freedom) ** 0.5))


def _pairs(law: Law, replicates: int, seed: int) -> Floats:
    counts = resample_counts(law.n, replicates, seed=seed, clusters=law.clusters)
    start = np.maximum(law.params, _start_floor(law.problem))[None, :]
    return solve(
        law.problem,
        weights=counts if (law.weights == 1).all() else counts * law.weights,
        starts=start,
        huber=law.huber,
        tolerance=_DRAW,
    ).params


def _wild(law: Law, replicates: int, seed: int) -> tuple[Floats, Floats]:
    """Refits of the fit plus leverage-corrected residuals under random signs, and their robust errors."""
    log_e = log_curve(law.problem, law.params[None, :])
    flips = (law.problem.log_y - log_e[0]) / (1 - law.checks.leverage)
    generator = np.random.default_rng(seed)
    # Chunks that stay in the cache of the processor: ten thousand points are ten times faster so.
    rows = max(1, 400_000 // law.n)
    params, errors = [], []
    for start in range(0, replicates, rows):
        target = log_e + _signs(law.n, min(rows, replicates - start), generator) * flips
        params.append(_refit(law, target))
        errors.append(_robust_errors(law, params[-1], target))
    return np.concatenate(params), np.concatenate(errors)


def _refit(law: Law, target: Floats) -> Floats:
    start = np.maximum(law.params, _start_floor(law.problem))[None, :]
    weights = law.weights[None, :]
    return solve(law.problem, log_y=target, weights=weights, starts=start, huber=law.huber, tolerance=_DRAW).params


def _signs(n: int, replicates: int, generator: np.random.Generator) -> Floats:
    signs: Floats = generator.integers(0, 2, size=(replicates, n), dtype=np.int8) * np.float64(2) - 1
    return signs if n >= 12 else signs * generator.choice(_WEBB, size=signs.shape)


def _calibrated(law: Law, inner: Floats, errors: Floats, level: float) -> tuple[Floats, Floats]:
    """Symmetric bootstrap-t bounds with the cluster-robust error of the fit and of each replicate."""
    matrix, offset = user_map(law.problem)
    centre = law.params @ matrix.T + offset
    error = _robust_errors(law, law.params[None, :], law.problem.log_y[None, :])[0]
    with np.errstate(divide="ignore", invalid="ignore"):
        t = np.abs(inner @ matrix.T + offset - centre) / errors
    quantile = np.nanquantile(np.where(np.isfinite(t), t, np.nan), level, axis=0)
    return _around(law, centre, quantile * error)


def _robust_errors(law: Law, params: Floats, target: Floats) -> Floats:
    """Standard errors (B, p) in the user map that hold where the noise changes with x (HC3)."""
    matrix, _ = user_map(law.problem)
    if law.problem.straight and law.huber is None:
        slopes = jacobian(law.problem, law.params[None, :])[1]
        log_e = params @ slopes[0].T
    else:
        log_e, slopes = jacobian(law.problem, params)
    pull = law.weights * (target - log_e) / (1 - law.checks.leverage)
    curvature = np.matmul((slopes * law.weights[:, None]).transpose(0, 2, 1), slopes)
    inverse = np.linalg.pinv(curvature, rcond=1e-13, hermitian=True)
    spread = matrix @ inverse @ _meat(slopes, pull) @ inverse @ matrix.T
    variance: Floats = np.einsum("bii->bi", spread)
    return np.asarray(np.sqrt(np.maximum(variance, 0)), dtype=np.float64)


def _meat(slopes: Floats, pull: Floats) -> Floats:
    """Sum over points of the outer product of their scores: (B, p, p)."""
    p = slopes.shape[2]
    if len(slopes) == 1:
        products = (slopes[0][:, :, None] * slopes[0][:, None, :]).reshape(-1, p * p)
        return (pull**2 @ products).reshape(len(pull), p, p)
    scores = slopes * pull[..., None]
    return np.matmul(scores.transpose(0, 2, 1), scores)
