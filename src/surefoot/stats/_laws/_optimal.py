"""How best to spend compute on size and data, by a law of both."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtr

from surefoot.core import SurefootError
from surefoot.stats._intervals import Interval, t_quantile
from surefoot.stats._laws._engine import natural
from surefoot.stats._laws._intervals import ParameterIntervals
from surefoot.stats._laws._law import Law
from surefoot.stats._paired import t_p_value

Floats = NDArray[np.float64]
Function = Callable[[Floats], Floats]
_STEP = 1e-5


@dataclass(frozen=True, kw_only=True)
class ComputeOptimal:
    """The best split of each `compute` (m,) into size N and data D, with what it reaches; bounds at one level.

    `size`, `data` and `value`, the law there, are (m,) with their bounds. `exponent`: N grows as compute to this power.
    `exponent_error` and `degrees_of_freedom` are behind its interval.
    """

    compute: Floats
    size: Floats
    size_low: Floats
    size_high: Floats
    data: Floats
    data_low: Floats
    data_high: Floats
    value: Floats
    value_low: Floats
    value_high: Floats
    exponent: Interval
    exponent_error: float
    degrees_of_freedom: int


def compute_optimal(
    law: Law, found: ParameterIntervals, compute: ArrayLike, *, cost: float = 6.0, level: float = 0.95
) -> ComputeOptimal:
    """Least floor + A N^-alpha + B D^-beta for compute C = `cost` N D (Hoffmann et al. 2022, equation 4).

    N = (alpha A / (beta B))^(1 / (alpha + beta)) (C / cost)^(beta / (alpha + beta)). Bounds are percentiles of the
    bootstrap behind `found`, stretched to Student's t, where there is one, else by the delta method and t. Raises
    SurefootError for a law of another form, or where a coefficient or an exponent came out as 0.
    """
    budget = np.asarray(compute, dtype=np.float64)
    if law.problem.form.name != "two-variable":
        raise SurefootError(f"Only the form 'two-variable' has a best size and data; this law is '{law.form}'.")
    if not np.isfinite(budget).all() or (budget <= 0).any():
        raise SurefootError("Compute must be above 0.")
    logs = np.log(budget / cost)

    def of_params(params: Floats) -> Floats:
        return _plan(law, natural(law.problem, params), logs)

    centre = of_params(law.params[None, :])[0]
    if not np.isfinite(centre).all():
        raise SurefootError("A term of the law came out as 0, so that there is no best size and data.")
    if len(found.draws):
        low, high, error = _drawn_bounds(_plan(law, found.draws, logs), law, level)
    else:
        low, high, error = _delta_bounds(law, centre, of_params, level)
    m = len(budget)
    with np.errstate(over="ignore"):
        parts = [np.exp(np.stack([centre, low, high])[:, 1 + i * m : 1 + (i + 1) * m]) for i in range(3)]
    return ComputeOptimal(
        compute=budget,
        size=parts[0][0],
        size_low=parts[0][1],
        size_high=parts[0][2],
        data=parts[1][0],
        data_low=parts[1][1],
        data_high=parts[1][2],
        value=parts[2][0],
        value_low=parts[2][1],
        value_high=parts[2][2],
        exponent=Interval(float(centre[0]), float(low[0]), float(high[0]), level=level),
        exponent_error=error,
        degrees_of_freedom=law.degrees_of_freedom,
    )


def exponent_difference(first: ComputeOptimal, second: ComputeOptimal) -> tuple[Interval, float]:
    """How much more of compute the first gives to size, and p: Welch's t on the exponents of N."""
    level = first.exponent.level
    a, b = first.exponent_error**2, second.exponent_error**2
    freedoms = (first.degrees_of_freedom, second.degrees_of_freedom)
    freedom = (a + b) ** 2 / (a**2 / freedoms[0] + b**2 / freedoms[1]) if min(freedoms) > 0 and a + b > 0 else 0.0
    difference, error = first.exponent.estimate - second.exponent.estimate, (a + b) ** 0.5
    half = t_quantile(level, freedom) * error if freedom else float("nan")
    found = Interval(difference, difference - half, difference + half, level=level)
    return found, t_p_value(difference, error, freedom)


def _plan(law: Law, values: Floats, logs: Floats) -> Floats:
    """Exponent of N, then the logs of N, of D and of the law at each budget (B, 1 + 3 m), from parameters (B, p)."""
    form, of = law.problem.form, {name: values[:, [place]] for place, name in enumerate(law.names)}
    # Of exponents that are tied or fixed, too.
    degrees = form.degrees(values[:, : len(form.exponents)])
    alpha, beta = degrees[:, -2, :1], degrees[:, -1, 1:]
    with np.errstate(divide="ignore", invalid="ignore"):
        share = beta / (alpha + beta)
        size = np.log(alpha * of["A"] / (beta * of["B"])) / (alpha + beta) + share * logs
        data = logs - size
        value = of.get("floor", form.floor) + of["A"] * np.exp(-alpha * size) + of["B"] * np.exp(-beta * data)
        return np.concatenate([share, size, data, np.log(value)], axis=1)


def _drawn_bounds(drawn: Floats, law: Law, level: float) -> tuple[Floats, Floats, float]:
    """Percentiles of bootstrapped plans, as far out as Student's t would be."""
    tail = float(ndtr(-t_quantile(level, max(law.degrees_of_freedom, 1))))
    kept = drawn[np.isfinite(drawn).all(axis=1)]
    if len(kept) < 0.9 * len(drawn):
        raise SurefootError(
            "A term of the law vanishes in many bootstrap samples: there is no sure best size and data."
        )
    low, high = np.quantile(kept, [tail, 1 - tail], axis=0)
    return low, high, float(kept[:, 0].std())


def _delta_bounds(law: Law, centre: Floats, of_params: Function, level: float) -> tuple[Floats, Floats, float]:
    steps = _STEP * np.eye(len(law.params))
    slopes = (of_params(law.params + steps) - of_params(law.params - steps)) / (2 * _STEP)
    error = np.sqrt(np.maximum(np.einsum("pm,pq,qm->m", slopes, law.covariance, slopes), 0))
    half = (
        t_quantile(level, law.degrees_of_freedom) * error
        if law.degrees_of_freedom > 0 and not law.exact
        else np.nan * error
    )
    return centre - half, centre + half, float(error[0])
