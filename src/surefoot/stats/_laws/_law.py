"""One fitted law: its parameters, how sure they are, what it predicts, and whether there is a law at all."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import fdtrc

from surefoot.core import SurefootError, counted
from surefoot.stats._arrays import places
from surefoot.stats._clusters import jackknife_covariance, moved_without
from surefoot.stats._intervals import t_quantile
from surefoot.stats._laws._checks import UNEVEN, LawChecks, check_fit
from surefoot.stats._laws._engine import Problem, jacobian, log_curve, natural, pose, solve, vanished
from surefoot.stats._laws._forms import Form, form_of
from surefoot.stats._lines._axes import inside_shares
from surefoot.stats._paired import t_p_value

Floats = NDArray[np.float64]
_EXACT = 1e-9


@dataclass(frozen=True, kw_only=True)
class Law:
    """A law fitted to n points.

    `params` (p,) are the inner parameters of `problem` (read `parameters` for the user's); `weights` (n,) average 1;
    `tests` (n,) are the test examples behind each y (None: not known); `spread` is the standard deviation of log y
    around the law that is left over, run to run; `covariance` (p, p) belongs to `params`. `condition` is the
    condition number of the scaled Jacobian. `p_constant` tests the law against a constant, `r2` is the share of the
    variance of log y that it explains, `checks` are tests of its shape and noise, `trouble` says why there is no law
    (or is empty), and `notes` hold what a reader must know.
    """

    problem: Problem
    params: Floats
    weights: Floats
    tests: Floats | None
    clusters: NDArray[np.intp]
    huber: float | None
    cost: float
    spread: float
    degrees_of_freedom: int
    covariance: Floats
    condition: float
    p_constant: float
    r2: float
    checks: LawChecks
    trouble: str
    notes: tuple[str, ...]

    @property
    def form(self) -> str:
        """Name of the form."""
        return self.problem.form.name

    @property
    def n(self) -> int:
        """Number of points."""
        return len(self.problem.log_y)

    @property
    def exact(self) -> bool:
        """Whether the points lie on the law to nine digits, so that they hold no noise to estimate an error from."""
        return self.degrees_of_freedom > 0 and float(np.abs(residuals(self)).max()) < _EXACT

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the parameters."""
        return self.problem.form.parameters

    @property
    def parameters(self) -> Mapping[str, float]:
        """Parameters by name in the user's units, unrounded."""
        values = natural(self.problem, self.params[None, :])[0]
        return MappingProxyType(dict(zip(self.names, values.tolist(), strict=True)))


def fit_law(
    x: ArrayLike,
    y: ArrayLike,
    form: str | Form = "power",
    *,
    huber: float | None = None,
    tests: ArrayLike | None = None,
    clusters: ArrayLike | None = None,
) -> Law:
    """Fit y = law(x) on log residuals; the global optimum of the form, whatever the data.

    `x` (n,) or (n, variables) and `y` (n,) are positive; `form` is a name in `FORMS`, or a form with tied or fixed
    parameters (`restricted`). `huber` is the corner of
    Huber's loss in natural-log units (1e-3 for losses, about 1e-2 for error rates); None is least squares.
    `tests` (n,) are the examples on which each y, an error rate, was measured: points are then weighted by the sampling
    variance of log y (`log_error_variance`) and the run-to-run variance, estimated as Paule and Mandel (1982). That of
    sampling is at the law's own errors: at those observed, low errors by chance would weigh less. `clusters` (n,) label
    runs whose points belong together.
    Where the noise grows or falls with x (`noise_p` below .05) the covariance is heteroscedasticity-consistent (HC3).
    Raises SurefootError for values without a logarithm, for fewer points than parameters, and for too few different x.
    """
    chosen = form_of(form)
    if chosen.either_sign:
        both = [replace(chosen, signs=(sign, 1), either_sign=False) for sign in (1, -1)]
        fits = [fit_law(x, y, one, huber=huber, tests=tests, clusters=clusters) for one in both]
        return min(fits, key=lambda law: law.cost)
    problem = pose(chosen, x, y)
    n = len(problem.log_y)
    if n < problem.size:
        raise SurefootError(f"The form '{chosen.name}' has {problem.size} parameters and there are only {n} points.")
    _check_spread(problem)
    sizes = None if tests is None else np.broadcast_to(np.asarray(tests, dtype=np.float64), n)
    labels = np.arange(n) if clusters is None else places(clusters)[1]
    params, weights, cost = _weighted_fit(problem, sizes, huber)
    return _described(
        problem,
        params=params,
        weights=weights,
        cost=cost,
        tests=sizes,
        clusters=labels.ravel().astype(np.intp),
        huber=huber,
    )


def log_error_variance(error: ArrayLike, n_test: ArrayLike) -> Floats:
    """Sampling variance of log(error rate) measured on `n_test` examples: (1 - e) / (e n), by the delta method.

    An error of exactly 0 or 1 counts as moved by half an example.
    """
    size = np.asarray(n_test, dtype=np.float64)
    rate = inside_shares(error, size)
    return (1 - rate) / (rate * size)


def predict(law: Law, x: ArrayLike) -> Floats:
    """The law at new inputs (m,) or (m, variables): array (m,) in the unit of y."""
    return np.exp(log_curve(law.problem, law.params[None, :], centred(law.problem, x))[0] + law.problem.scale)


def residuals(law: Law) -> Floats:
    """Log of the observed less log of the fitted value (n,)."""
    return law.problem.log_y - log_curve(law.problem, law.params[None, :])[0]


def band(law: Law, x: ArrayLike, *, level: float = 0.95, new_run: bool = True) -> tuple[Floats, Floats]:
    """Bounds (m,), (m,) for a new run at `x`, or (new_run=False) for the law itself, by the delta method and t.

    Of a law whose points came with `tests`, a new run is measured on as many examples as they were (harmonic mean).
    Infinite without degrees of freedom; NaN where the points lie on the law exactly.
    """
    log_e, slopes = jacobian(law.problem, law.params[None, :], centred(law.problem, x))
    variance = np.einsum("mi,ij,mj->m", slopes[0], law.covariance, slopes[0])
    centre = log_e[0] + law.problem.scale
    if new_run:
        variance = variance + law.spread**2 * law.checks.noise_at(centred(law.problem, x).mean(axis=1))
        if law.tests is not None:
            examples = 1 / np.mean(1 / law.tests)
            variance = variance + log_error_variance(np.exp(np.minimum(centre, -1e-9)), examples)
    if law.degrees_of_freedom < 1:
        return np.zeros(len(centre)), np.full(len(centre), np.inf)
    if law.exact:
        return np.full(len(centre), np.nan), np.full(len(centre), np.nan)
    half = t_quantile(level, law.degrees_of_freedom) * np.sqrt(np.maximum(variance, 0))
    with np.errstate(over="ignore"):  # a bound beyond all floats is infinite
        return np.exp(centre - half), np.exp(centre + half)


def centred(problem: Problem, x: ArrayLike) -> Floats:
    inputs = np.asarray(x, dtype=np.float64).reshape(-1, len(problem.form.variables))
    return np.log(inputs) - problem.centre


def _check_spread(problem: Problem) -> None:
    """Raise for a variable with one value, and for fewer different points than parameters."""
    for name, column in zip(problem.form.variables, problem.z.T, strict=True):
        if np.ptp(column) <= 1e-12 * max(1.0, float(np.abs(column).max())):
            raise SurefootError(f"All points have the same {name}: a law of {name} needs several values of it.")
    needed = len(problem.form.parameters)
    distinct = len(np.unique(problem.z[:, 0] if problem.z.shape[1] == 1 else problem.z[:10_000], axis=0))
    if distinct < needed:
        raise SurefootError(
            f"The form '{problem.form.name}' has {needed} parameters and the points lie at only {distinct} different x."
        )


def _weighted_fit(problem: Problem, tests: Floats | None, huber: float | None) -> tuple[Floats, Floats, float]:
    """Parameters, weights of mean 1 and cost; where the tests are known, weights and fit are found in turn."""
    weights = np.ones(len(problem.log_y))
    found = solve(problem, weights=weights[None, :], huber=huber)
    for _ in range(0 if tests is None else 6):
        log_e = log_curve(problem, found.params)[0]
        noise = _sampling(problem, log_e, tests)
        between = _between_runs(problem.log_y - log_e, noise, len(log_e) - problem.size)
        weights = 1 / (between + noise + 1e-300)
        weights = weights / weights.mean()
        found = solve(problem, weights=weights[None, :], starts=found.params, huber=huber)
    return found.params[0], weights, float(found.cost[0])


def _sampling(problem: Problem, log_e: Floats, tests: Floats | None) -> Floats:
    """Sampling variance of log y (n,) at the errors of the law, or halfway from those seen to 1: a law may pass 1."""
    if tests is None:
        return np.zeros(len(log_e))
    highest = (1 + np.exp(problem.log_y + problem.scale)) / 2
    return log_error_variance(np.minimum(np.exp(log_e + problem.scale), highest), tests)


def _between_runs(gap: Floats, noise: Floats, degrees_of_freedom: int) -> float:
    """Run-to-run variance tau2 with sum(gap^2 / (tau2 + noise)) equal to its degrees of freedom, or 0."""
    low, high = 0.0, float((gap**2).max()) + 1e-300
    if degrees_of_freedom < 1 or (gap**2 / np.maximum(noise, 1e-300)).sum() <= degrees_of_freedom:
        return 0.0
    for _ in range(60):
        middle = (low + high) / 2
        if (gap**2 / (middle + noise)).sum() > degrees_of_freedom:
            low = middle
        else:
            high = middle
    return high


def _described(
    problem: Problem,
    *,
    params: Floats,
    weights: Floats,
    cost: float,
    tests: Floats | None,
    clusters: NDArray[np.intp],
    huber: float | None,
) -> Law:
    log_e, slopes = jacobian(problem, params[None, :])
    gap = problem.log_y - log_e[0]
    moving = ~vanished(problem, params[None, :])[0]
    size = int(moving.sum())
    clustered = int(clusters.max()) + 1 < len(gap)
    freedom = len(gap) - size
    bread, condition = _bread(slopes[0], weights, moving)
    runs = clusters if clustered else np.arange(len(gap))
    floor = np.exp(log_e[0].min() - log_e[0])
    checks = check_fit(*_means((problem.z, gap, slopes[0][:, moving], weights, floor), runs))
    if clustered:
        covariance = _clustered(bread, slopes[0], weights, _influence(gap, freedom, huber), clusters)
        freedom = int(clusters.max()) if np.isfinite(covariance).all() else 0
    elif checks.noise_p < UNEVEN and huber is None:
        pull = weights * gap / (1 - checks.leverage)
        covariance = bread @ (slopes[0].T @ (slopes[0] * pull[:, None] ** 2)) @ bread
    else:
        covariance = bread * _variance(_influence(gap, freedom, huber), weights, freedom)
    p = p_against_constant(problem, gap, weights, size)
    if clustered and problem.straight:
        p = t_p_value(float(params[0]), float(covariance[0, 0]) ** 0.5, freedom)
    few = f"{runs.max() + 1} {'runs' if clustered else 'points'} leave {counted(freedom, 'degree')} of freedom"
    return Law(
        problem=problem,
        params=params,
        weights=weights,
        tests=tests,
        clusters=clusters,
        huber=huber,
        cost=cost,
        spread=_spread(gap, weights, _sampling(problem, log_e[0], tests), len(gap) - size),
        degrees_of_freedom=freedom,
        covariance=covariance,
        condition=condition,
        p_constant=p,
        r2=_r2(problem, gap, weights),
        checks=checks,
        trouble=_trouble(problem, params, p, _r2(problem, gap, weights), freedom),
        notes=_notes(problem, params, moving, condition, few if 1 <= freedom <= 2 else ""),
    )


def _means(columns: Sequence[Floats], runs: NDArray[np.intp]) -> list[Floats]:
    """The mean of each column over the points of each run: points of one run are no independent evidence."""
    size = np.bincount(runs)
    order = np.argsort(runs, kind="stable")
    starts = np.cumsum(size) - size
    return [(np.add.reduceat(column[order], starts, axis=0).T / size).T for column in columns]


def _spread(gap: Floats, weights: Floats, noise: Floats, freedom: int) -> float:
    if freedom < 1:
        return float("nan")
    if noise.any():
        return _between_runs(gap, noise, freedom) ** 0.5
    return float(np.sqrt((weights * gap**2).sum() / freedom))


def _bread(slopes: Floats, weights: Floats, moving: NDArray[np.bool_]) -> tuple[Floats, float]:
    """Inverse curvature (p, p), zero for parameters that do not move, and the condition number."""
    used = slopes[:, moving] * np.sqrt(weights)[:, None]
    norm = np.maximum(np.linalg.norm(used, axis=0), 1e-300)
    singular = np.linalg.svd(used / norm, compute_uv=False)
    condition = float(singular[0] / max(singular[-1], 1e-300))
    out = np.zeros((slopes.shape[1], slopes.shape[1]))
    inverse = np.linalg.pinv((used / norm).T @ (used / norm), rcond=1e-14, hermitian=True)
    out[np.ix_(moving, moving)] = inverse / norm[:, None] / norm[None, :]
    return out, condition


def _clustered(bread: Floats, slopes: Floats, weights: Floats, gap: Floats, clusters: NDArray[np.intp]) -> Floats:
    """Cluster-robust covariance (p, p) of the parameters of `bread` that move; infinite where a run determines one."""
    moving, root, out = np.diag(bread) > 0, np.sqrt(weights), np.zeros_like(bread)
    moved = moved_without(slopes[:, moving] * root[:, None], gap * root, clusters)
    out[np.ix_(moving, moving)] = jackknife_covariance(moved) if np.isfinite(moved).all() else np.inf
    return out


def _variance(influence: Floats, weights: Floats, freedom: int) -> float:
    return float((weights * influence**2).sum() / freedom) if freedom >= 1 else float("nan")


def _influence(gap: Floats, freedom: int, huber: float | None) -> Floats:
    """What each residual (n,) moves an M-estimator by: its pull over the share within the corner (Huber 1981, 7.6).

    Of a corner below the usual residual that share is from the density there, as of least absolute deviations. As many
    residuals as there are parameters are next to 0 by the fit itself, and no sign of a density.
    """
    if huber is None or freedom < 1:
        return gap
    size = np.sort(np.abs(gap))[len(gap) - freedom :]
    usual = max(float(np.median(size)), 1e-300)
    inside = float((size <= max(huber, usual)).mean()) * min(1.0, huber / usual)
    return np.clip(gap, -huber, huber) / inside


def p_against_constant(problem: Problem, gap: Floats, weights: Floats, parameters: int) -> float:
    """p of the F test of the law against a constant; NaN without degrees of freedom."""
    freedom, extra = len(gap) - parameters, parameters - 1
    if freedom < 1 or not problem.form.exponents:
        return float("nan")
    if extra < 1:
        return 1.0
    flat = float((weights * (problem.log_y - np.average(problem.log_y, weights=weights)) ** 2).sum())
    left = float((weights * gap**2).sum())
    if left <= 0:
        return 0.0 if flat > 0 else 1.0
    return float(fdtrc(extra, freedom, max(flat - left, 0.0) / extra / (left / freedom)))


def restriction_p(law: Law, free: Law) -> float:
    """p of the F test of what is fixed or tied in `law` against `free`, the whole form fitted to the same points.

    With clusters the test is of their means. NaN where the free form leaves no degree of freedom or no noise.
    """
    extra, runs = len(free.params) - len(law.params), int(law.clusters.max()) + 1
    freedom = runs - len(free.params)
    if extra < 1 or freedom < 1 or free.exact:
        return float("nan")
    gaps = [_means((residuals(one), free.weights), law.clusters) for one in (law, free)]
    more, left = (float((weights * gap**2).sum()) for gap, weights in gaps)
    return float(fdtrc(extra, freedom, max(more - left, 0.0) / extra / (left / freedom)))


def _r2(problem: Problem, gap: Floats, weights: Floats) -> float:
    level = np.average(problem.log_y, weights=weights)
    flat = float((weights * (problem.log_y - level) ** 2).sum())
    return 1 - float((weights * gap**2).sum()) / flat if flat > 1e-28 * len(gap) else float("nan")


def _trouble(problem: Problem, params: Floats, p: float, r2: float, freedom: int) -> str:
    n = len(problem.log_y)
    if freedom < 1 and n > len(params):
        return "no test: without one of its runs the points do not determine the law"
    if freedom < 1:
        return f"no test: {counted(n, 'point')} and as many parameters, so any such law fits exactly"
    rise = _rise(problem)
    if rise is not None and (not problem.straight or params[0] < 0):
        return f"no scaling law here: y rises with x (as x^{rise[0]:.3g}, p = {rise[1]:.2g}, n = {n})"
    if problem.form.exponents and not p < 0.05:
        explained = f"= {r2:.3g}" if np.isfinite(r2) else "not defined"
        return f"undecided: these points do not tell a law from a constant (p = {p:.2g}, R2 {explained}, n = {n})"
    return ""


def _rise(problem: Problem) -> tuple[float, float] | None:
    """Slope of log y in log x and its p where y rises with the one x, at 5 percent."""
    if problem.z.shape[1] > 1 or len(problem.log_y) < 3:
        return None
    z = problem.z[:, 0] - problem.z[:, 0].mean()
    slope = float(z @ problem.log_y / (z @ z))
    left = problem.log_y - problem.log_y.mean() - slope * z
    p = t_p_value(slope, float(left @ left / (len(z) - 2) / (z @ z)) ** 0.5, len(z) - 2)
    return (slope, p) if slope > 0 and p < 0.05 else None


def _notes(problem: Problem, params: Floats, moving: NDArray[np.bool_], condition: float, few: str) -> tuple[str, ...]:
    form = problem.form
    notes = []
    gone = [name for name, stays in zip(form.coefficients, moving[len(form.exponents) :], strict=False) if not stays]
    if gone:
        notes.append(f"{' and '.join(gone)} came out as 0: the data do not ask for it")
    if condition > 1e4:
        notes.append(
            f"condition number {condition:.1e}: the parameters trade against each other; "
            "trust the curve within the data, not the single parameters"
        )
    notes += [few] if few else []
    at_bound = [
        name
        for name, value, (low, high) in zip(form.exponents, params, form.bounds, strict=False)
        if value <= low or value >= high
    ]
    if at_bound:
        notes.append(f"{' and '.join(at_bound)} ended at the bound of the search: not identified")
    return tuple(notes)
