"""The engine that fits any form: exact coefficients on a grid of exponents, then a polish, for many problems at once.

A batch holds problems that share their inputs x but have their own targets and weights: bootstrap samples, cut-offs
of a rolling hold-out, dropped runs and profiles are all batches. The linear part is solved exactly by non-negative
least squares at every point of a grid of exponents (variable projection, Golub and Pereyra 1973), so the answer
does not depend on the luck of a starting point; a damped Gauss-Newton step on log residuals polishes the best ones.
"""

from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from surefoot.core import SurefootError
from surefoot.stats._arrays import numbers
from surefoot.stats._laws._forms import Form

Floats = NDArray[np.float64]

_LOWEST, _HIGHEST = -40.0, 60.0
ZERO = -14.0
"""A coefficient whose log, relative to the mean of the targets, is below this has vanished."""
_GRID_ROWS = 600
_CHUNK = 3_000_000
_CACHE = 200_000
_ITERATIONS = 300
_MANY = 50_000
"""From this many points on three starts are polished: the valleys are plain, and each step costs."""


@dataclass(frozen=True, kw_only=True)
class Problem:
    """Scaled data of one fit: centred logs `z` (n, variables) and `log_y` (n,); `centre`, `scale` undo the centring."""

    form: Form
    z: Floats
    log_y: Floats
    centre: Floats
    scale: float

    @property
    def straight(self) -> bool:
        """Whether it is a line in logarithms: a power law with its exponent free."""
        return self.form.name == "power" and len(self.form.exponents) == 1

    @property
    def size(self) -> int:
        return len(self.form.parameters)

    @property
    def log_floor(self) -> float:
        """Log of the floor that was fixed, centred; minus infinity without one."""
        return float(np.log(self.form.floor)) - self.scale if self.form.floor else -np.inf


def pose(form: Form, x: ArrayLike, y: ArrayLike) -> Problem:
    """The problem of fitting `form` to positive `x` (n,) or (n, variables) and positive `y` (n,)."""
    inputs, target = numbers(x), numbers(y)
    if not len(target) or len(inputs) != len(target):
        raise SurefootError(f"A law needs points: {len(inputs)} values of x and {len(target)} of y were given.")
    inputs = inputs.reshape(len(target), -1)
    if inputs.shape[1] != len(form.variables):
        names = ", ".join(form.variables)
        raise SurefootError(f"The form '{form.name}' takes {names}; {inputs.shape[1]} columns were given.")
    for name, values in (*zip(form.variables, inputs.T, strict=True), ("y", target)):
        _check_positive(name, values)
    logs, log_y = np.log(inputs), np.log(target)
    units = np.array(form.units)
    centre = np.array([logs[:, units == unit].mean() for unit in units])
    scale = float(log_y.mean())
    return Problem(form=form, z=logs - centre, log_y=log_y - scale, centre=centre, scale=scale)


def _check_positive(name: str, values: Floats) -> None:
    bad = np.flatnonzero(~(np.isfinite(values) & (values > 0)))
    if len(bad):
        raise SurefootError(
            f"A law is fitted on logarithms: {name} must be finite and above 0, but row {bad[0] + 1} has "
            f"{values[bad[0]]:g} ({len(bad)} such rows). Drop those rows or give errors instead of scores."
        )


@dataclass(frozen=True, kw_only=True)
class Solution:
    """Fitted parameters (B, p) and the cost (B,), the sum over rows of weight times loss of the log residual."""

    params: Floats
    cost: Floats


def log_curve(problem: Problem, params: Floats, z: Floats | None = None) -> Floats:
    """Log of the law (B, m), centred, at the rows of the problem or at other inputs `z` (m, variables)."""
    q = len(problem.form.exponents)
    log_phi, _ = problem.form.basis(problem.z if z is None else z, params[:, :q])
    return _log_sum(log_phi + params[:, None, q:], problem)[0]


def jacobian(problem: Problem, params: Floats, z: Floats | None = None) -> tuple[Floats, Floats]:
    """Log of the law (B, m) and its derivatives in the parameters (B, m, p)."""
    q = len(problem.form.exponents)
    log_phi, slope = problem.form.basis(problem.z if z is None else z, params[:, :q])
    log_e, share = _log_sum(log_phi + params[:, None, q:], problem)
    out = np.empty((*log_e.shape, problem.size))
    out[..., :q] = (share[..., None] * slope).sum(axis=2)
    out[..., q:] = share
    return log_e, out


def _log_sum(terms: Floats, problem: Problem) -> tuple[Floats, Floats]:
    """Log of the sum of the terms and of a fixed floor (B, m), and the share of each term in it (B, m, k)."""
    peak = np.maximum(terms.max(axis=-1, keepdims=True), problem.log_floor)
    share = np.exp(terms - peak)
    if problem.form.signs:
        share = share * np.array(problem.form.signs)
    # With a negative term the law can fall to 0, which no step may reach.
    total = np.maximum(share.sum(axis=-1, keepdims=True) + np.exp(problem.log_floor - peak), 1e-12)
    return (peak + np.log(total))[..., 0], share / total


def loss(residual: Floats, huber: float | None) -> Floats:
    """Half the square of each residual, or Huber's loss with its corner at `huber` (Huber 1964)."""
    if huber is None:
        return 0.5 * residual**2
    size = np.abs(residual)
    return np.where(size <= huber, 0.5 * residual**2, huber * (size - 0.5 * huber))


def solve(
    problem: Problem,
    *,
    log_y: Floats | None = None,
    weights: Floats | None = None,
    starts: Floats | None = None,
    free: NDArray[np.bool_] | None = None,
    huber: float | None = None,
    keep: int = 12,
    tolerance: float = 1e-11,
) -> Solution:
    """Fit a batch: targets `log_y` (B, n), centred as the problem's, and `weights` (B, n) default to one plain fit.

    Without `starts` (B, p) each problem is searched on the grid and the `keep` most different good points are
    polished. `free` (p,) marks the parameters that may move from their start. A problem is solved when a step
    lowers its cost by less than the share `tolerance`.
    """
    batch = max(1 if part is None else len(part) for part in (log_y, weights, starts))
    shape = (batch, len(problem.log_y))
    target = np.broadcast_to(problem.log_y if log_y is None else log_y, shape)
    weight = np.broadcast_to(1.0 if weights is None else weights, shape)
    if problem.straight and huber is None and free is None:
        return _lines(problem, target, weight)
    rule = _Rule(free=free, huber=huber, tolerance=tolerance)
    if starts is not None:
        return _in_chunks(problem, target, weight, np.broadcast_to(starts, (batch, problem.size)), rule)
    first = grid_starts(problem, target, weight, keep=keep if len(problem.log_y) < _MANY else 3)
    tried = first.shape[1]
    targets, masses = np.repeat(target, tried, axis=0), np.repeat(weight, tried, axis=0)
    flat = _in_chunks(problem, targets, masses, first.reshape(batch * tried, -1), rule)
    cost = flat.cost.reshape(batch, tried)
    best = cost.argmin(axis=1)
    params = flat.params.reshape(batch, tried, -1)[np.arange(batch), best]
    return Solution(params=params, cost=cost[np.arange(batch), best])


def _lines(problem: Problem, target: Floats, weight: Floats) -> Solution:
    """A power law by least squares is a line in log-log: its normal equations are solved outright."""
    z = problem.z[:, 0]
    powers = np.stack([np.ones_like(z), z, z**2], axis=1)
    params, cost = np.empty((len(target), 2)), np.empty(len(target))
    rows = max(1, _CACHE // len(z))
    for start in range(0, len(target), rows):
        part = slice(start, start + rows)
        heights = weight[part] * target[part]
        s0, s1, s2 = (weight[part] @ powers).T
        t0, t1 = (heights @ powers[:, :2]).T
        spread = s0 * s2 - s1**2
        # A resample that holds one x alone has no slope.
        slope = np.where(spread > 1e-12 * s0 * s2, (s0 * t1 - s1 * t0) / np.maximum(spread, 1e-300), np.nan)
        level = (t0 - slope * s1) / s0
        params[part] = np.stack([-slope, level], axis=1)
        residual = level[:, None] + slope[:, None] * z - target[part]
        cost[part] = 0.5 * np.einsum("bn,bn,bn->b", weight[part], residual, residual)
    return Solution(params=params, cost=cost)


@dataclass(frozen=True, kw_only=True)
class _Rule:
    """What may move, under which loss, and when to stop."""

    free: NDArray[np.bool_] | None
    huber: float | None
    tolerance: float


def _in_chunks(problem: Problem, target: Floats, weight: Floats, starts: Floats, rule: _Rule) -> Solution:
    rows = max(1, _CHUNK // (target.shape[1] * problem.size))
    parts = [
        _polish(problem, target[i : i + rows], weight[i : i + rows], starts[i : i + rows], rule)
        for i in range(0, len(starts), rows)
    ]
    return Solution(
        params=np.concatenate([part.params for part in parts]), cost=np.concatenate([part.cost for part in parts])
    )


def _polish(problem: Problem, target: Floats, weight: Floats, starts: Floats, rule: _Rule) -> Solution:
    """Levenberg-Marquardt on log residuals, each problem with its own damping, until none improves."""
    low, high = _bounds(problem)
    params = np.clip(starts, low, high)
    live = np.arange(len(params))
    log_e, slopes = jacobian(problem, params)
    residual = log_e - target
    final = (weight * loss(residual, rule.huber)).sum(axis=1)
    damping, failures = np.full(len(params), 1e-2), np.zeros(len(params), dtype=np.int64)
    # Huber's loss is bent at its corners: how far a step trusts the bend rather than a curve lying above it.
    caution = np.ones(len(params))
    patience = 4 if rule.huber is None else 9
    for _ in range(_ITERATIONS):
        gradient, curvature = _normal_equations(slopes, residual, weight[live], rule.huber, caution[live, None])
        # A parameter at its bound with the descent pointing outwards must not spoil the step of the others.
        here = params[live]
        held = ((here <= low) & (gradient > 0)) | ((here >= high) & (gradient < 0))
        held |= False if rule.free is None else ~rule.free
        trial = np.clip(here - _damped_step(gradient, curvature, damping[live], held), low, high)
        log_e, trial_slopes = jacobian(problem, trial)
        trial_residual = log_e - target[live]
        cost = (weight[live] * loss(trial_residual, rule.huber)).sum(axis=1)
        gain = (final[live] - cost) / (final[live] + 1e-300)
        better = gain > 0
        moved = live[better]
        params[moved], final[moved] = trial[better], cost[better]
        slopes[better], residual[better] = trial_slopes[better], trial_residual[better]
        damping[live] = np.clip(np.where(better, damping[live] / 8, damping[live] * 6), 1e-13, 1e10)
        caution[live] = np.clip(np.where(better, caution[live] / 2, caution[live] * 6), 1e-4, 1.0)
        failures[live] = np.where(gain > rule.tolerance, 0, failures[live] + 1 + better * (patience // 2))
        going = failures[live] < patience
        if not going.all():
            live, slopes, residual = live[going], slopes[going], residual[going]
        if not len(live):
            break
    return Solution(params=params, cost=final)


def _bounds(problem: Problem) -> tuple[Floats, Floats]:
    bounds = list(problem.form.bounds)
    coefficients = [(_LOWEST, _HIGHEST)] * (problem.size - len(bounds))
    low, high = np.array(bounds + coefficients).T
    return low, high


def _normal_equations(
    slopes: Floats, residual: Floats, weight: Floats, huber: float | None, caution: Floats
) -> tuple[Floats, Floats]:
    pull = weight if huber is None else weight * np.minimum(1.0, huber / np.maximum(np.abs(residual), 1e-300))
    gradient = np.matmul(slopes.transpose(0, 2, 1), (pull * residual)[..., None])[..., 0]
    if huber is not None:
        # Beyond its corners the loss is flat in second order; a little of the majoriser keeps it solvable.
        pull = np.where(np.abs(residual) <= huber, weight, caution * pull)
    return gradient, np.matmul((slopes * pull[..., None]).transpose(0, 2, 1), slopes)


def _damped_step(gradient: Floats, curvature: Floats, damping: Floats, held: NDArray[np.bool_]) -> Floats:
    gradient = np.where(held, 0.0, gradient)
    curvature = np.where(held[:, :, None] | held[:, None, :], 0.0, curvature)
    diagonal = np.einsum("bii->bi", curvature)
    floor = 1e-12 * diagonal.max(axis=1, keepdims=True) + 1e-300
    extra = damping[:, None] * np.maximum(diagonal, floor) + np.where(held, 1.0, floor)
    index = np.arange(curvature.shape[1])
    curvature[:, index, index] += extra
    step: Floats = np.linalg.solve(curvature, gradient[..., None])[..., 0].astype(np.float64)
    return np.clip(step, -4.0, 4.0)


def grid_starts(problem: Problem, target: Floats, weight: Floats, *, keep: int) -> Floats:
    """Starting parameters (B, keep, p): the best points of the grid, spread by rank so that valleys differ."""
    grid = problem.form.grid(problem.z)
    rows = np.arange(len(problem.z))
    if len(rows) > _GRID_ROWS:
        rows = np.random.default_rng(0).permutation(rows)[:_GRID_ROWS]
    coefficients, cost = _project(problem, grid, target[:, rows], weight[:, rows], rows)
    order = np.argsort(cost, axis=1, kind="stable")
    ranks = np.unique(np.geomspace(1, len(grid), min(keep, len(grid))).astype(int) - 1)
    chosen = order[:, ranks]
    batch = np.arange(len(target))[:, None]
    logs = np.log(np.maximum(coefficients[batch, chosen], 1e-3))
    return np.concatenate([grid[chosen], logs], axis=2)


def _project(
    problem: Problem, grid: Floats, target: Floats, weight: Floats, rows: NDArray[np.intp]
) -> tuple[Floats, Floats]:
    """Best coefficients (B, G, k) of relative errors at each grid point, and their cost (B, G)."""
    log_phi, _ = problem.form.basis(problem.z[rows], grid)
    phi = np.exp(np.minimum(log_phi, 200.0)) * np.array(problem.form.signs or 1.0)
    points, _, k = phi.shape
    pairs = [(i, j) for i in range(k) for j in range(i, k)]
    products = np.stack([phi[..., i] * phi[..., j] for i, j in pairs], axis=-1)
    inverse = np.exp(-target)
    # What a fixed floor leaves of each target, relative to it.
    left = 1 - np.exp(problem.log_floor) * inverse
    moments, right = _moments(weight * inverse**2, products), _moments(weight * inverse * left, phi)
    gram = np.empty((len(target), points, k, k))
    for column, (i, j) in enumerate(pairs):
        gram[..., i, j] = gram[..., j, i] = moments[..., column]
    best, value = nonnegative(gram.reshape(-1, k, k), right.reshape(-1, k))
    cost = (weight * left**2).sum(axis=1, keepdims=True) + value.reshape(len(target), points)
    return best.reshape(len(target), points, k), cost


def _moments(mass: Floats, columns: Floats) -> Floats:
    """Weighted sums over rows: (B, m) with (G, m, c) to (B, G, c)."""
    points, m, width = columns.shape
    flat = columns.transpose(1, 0, 2).reshape(m, points * width)
    return (mass @ flat).reshape(len(mass), points, width)


def nonnegative(gram: Floats, right: Floats) -> tuple[Floats, Floats]:
    """Non-negative least squares from normal equations, for many small problems, by trying every support.

    `gram` (M, k, k) and `right` (M, k); gives the coefficients (M, k) and the cost less the target's own (M,).
    """
    k = gram.shape[1]
    norm = np.sqrt(np.maximum(np.einsum("mii->mi", gram), 1e-300))
    scaled, target = gram / norm[:, :, None] / norm[:, None, :], right / norm
    best, cost = np.zeros_like(right), np.zeros(len(right))
    for support in (list(s) for size in range(1, k + 1) for s in combinations(range(k), size)):
        part = scaled[:, support][:, :, support] + 1e-13 * np.eye(len(support))
        answer = np.linalg.solve(part, target[:, support][..., None])[..., 0]
        value = -np.einsum("mi,mi->m", answer, target[:, support])
        wins = (answer >= 0).all(axis=1) & (value < cost)
        cost[wins] = value[wins]
        full = np.zeros_like(best)
        full[:, support] = answer
        best[wins] = full[wins]
    return best / norm, cost


def user_map(problem: Problem) -> tuple[Floats, Floats]:
    """Matrix (p, p) and offset (p,) from inner parameters to the user's: exponents, and logs of all else.

    Centring moves the log of a place by the centre, and that of a coefficient by degree times centre.
    """
    form = problem.form
    q = len(form.exponents)
    matrix, offset = np.eye(problem.size), np.zeros(problem.size)
    for entry, variable in form.locations:
        offset[entry] = problem.centre[variable]
    # Degrees are linear in the exponents, but for those that are fixed.
    base = form.degrees(np.zeros((1, q)))[0] @ problem.centre
    degree = form.degrees(np.eye(q)) @ problem.centre - base
    offset[q:] = problem.scale + base
    matrix[q:, :q] = degree.T
    return matrix, offset


def is_log(problem: Problem) -> NDArray[np.bool_]:
    """Which parameters (p,) the user map gives as logs."""
    mask = np.ones(problem.size, dtype=bool)
    mask[[i for i in range(len(problem.form.exponents)) if i not in problem.form.logs]] = False
    return mask


def vanished(problem: Problem, params: Floats) -> NDArray[np.bool_]:
    """Which parameters (B, p) are coefficients driven so low that they are zero."""
    out = np.zeros(params.shape, dtype=bool)
    q = len(problem.form.exponents)
    out[:, q:] = params[:, q:] < ZERO
    return out


def natural(problem: Problem, params: Floats) -> Floats:
    """Parameters (B, p) in the user's units; a coefficient that has been driven to its bound is 0."""
    matrix, offset = user_map(problem)
    values = params @ matrix.T + offset
    log = is_log(problem)
    values[:, log] = np.exp(np.minimum(values[:, log], 700.0))
    if problem.form.signs:
        values[:, len(problem.form.exponents) :] *= problem.form.signs
    values[vanished(problem, params)] = 0.0
    return values
