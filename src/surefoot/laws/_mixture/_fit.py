"""The law of a mixture: from runs on single sources and a few mixtures to the score of any shares and size."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import minimize_scalar

from surefoot.core import SurefootError
from surefoot.laws._results._checks import check_draws, check_once
from surefoot.stats import (
    Interval,
    from_axis,
    jackknife_covariance,
    jackknife_freedom,
    moved_without,
    t_quantile,
    to_axis,
)

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
_LEAST, _MOST = 0.02, 4.0  # of the likeness of sources
_FLOOR = 0.01  # under the shares whose logarithm is taken
_ROUNDING = 1e-9  # by which places and scores of one mixture may differ
_CANDIDATES, _DRAWS = 10_000, 1_000


@dataclass(frozen=True, kw_only=True)
class MixtureLaw:
    """What mixtures of sources score in one test: z = sum of p_i z_i(N) / sqrt(k + (1 - k) sum of p_i^2).

    z is probit accuracy less that of `chance`, p are shares, z_i(N) = a_i + b_i log N what a source alone gives with N
    pairs. This is the Gaussian model of sources whose class means have the cosine k, their `likeness`: 1 is a weighted
    mean, less is what unlike sources gain together. `parameters` are all a, then b (one a source, or one for all, or
    none where all runs have one size), then k, with their `covariance`; `error` is the standard deviation of a run,
    with `freedom`. `centre` is the mean log N, from which N counts. `slopes` (runs, parameters) are the derivatives of
    the runs, `draws` (runs) number what is independent.
    """

    sources: tuple[str, ...]
    chance: float
    parameters: Floats
    covariance: Floats
    error: float
    freedom: int
    centre: float
    sizes: tuple[float, float]
    mixed: int
    slopes: Floats
    draws: NDArray[np.intp]

    @property
    def likeness(self) -> float:
        """How alike the sources' directions are."""
        return float(self.parameters[-1])

    @property
    def shared_draws(self) -> int | None:
        """How many draws the runs share; None where each run has its own."""
        count = int(self.draws.max()) + 1
        return count if count < len(self.draws) else None

    @property
    def at_end(self) -> bool:
        """Whether the likeness is the end of what is searched: no likeness describes these mixtures well."""
        return min(self.likeness - _LEAST, _MOST - self.likeness) < 1e-4


@dataclass(frozen=True, kw_only=True)
class MixturePrediction:
    """Predicted scores (n), shares from 0 to 1, with the bounds of a new run."""

    value: Floats
    low: Floats
    high: Floats


@dataclass(frozen=True, kw_only=True)
class BestShares:
    """The shares that score highest: of each source the share and the bounds of 90 percent of equally good fits.

    `gain` is the predicted score less that of equal shares, `sure` how often, over Student draws of the parameters, it
    is above 0; `over_single` the same against the best single source.
    """

    shares: Floats
    low: Floats
    high: Floats
    score: MixturePrediction
    equal: MixturePrediction
    gain: Interval
    sure: float
    single: str
    over_single: float


def fit_mixture(
    sources: Sequence[str],
    shares: ArrayLike,
    sizes: ArrayLike,
    scores: ArrayLike,
    *,
    chance: float,
    draws: ArrayLike | None = None,
) -> MixtureLaw:
    """The law of runs with `shares` (n, sources), `sizes` (n) and `scores` (n, shares of right answers).

    Least squares in probit; for a given likeness all else is linear. The error of a new run is the greater of that of
    all runs and that of the mixtures, each draw left out. Runs with one label in `draws` (n) share a seed or data: the
    covariance is then the jackknife's over draws. Raises `SurefootError` where a source or mixtures are missing, or the
    runs or draws are too few.
    """
    check_once("A law of mixtures", *sources)
    mix, logs = _normal(shares, len(sources)), _logs(sizes)
    z = _place(scores, chance)
    mixed = (mix > 0).sum(axis=1) > 1
    if not mixed.any() or not np.isfinite(z).all():
        raise SurefootError(
            "A law of mixtures needs runs on some mixtures of two sources or more, and scores between 0 and 1."
        )
    centre = float(logs.mean())
    columns = _identified(mix, logs - centre, sources)

    def linear(likeness: float) -> Floats:
        return columns / _spread(mix, likeness)[:, None]

    def squares(likeness: float) -> float:
        design = linear(likeness)
        return float(((z - design @ np.linalg.lstsq(design, z)[0]) ** 2).sum())

    found = minimize_scalar(squares, bounds=(_LEAST, _MOST), method="bounded", options={"xatol": 1e-6})
    likeness = float(np.asarray(found.x))
    design = linear(likeness)
    weights = np.linalg.lstsq(design, z)[0]
    jacobian = np.column_stack([design, _by_likeness(mix, likeness) * (design @ weights)])
    labels = np.arange(len(z)) if draws is None else np.unique(np.asarray(draws), return_inverse=True)[1].ravel()
    variance, covariance, freedom = _errors(jacobian, z - design @ weights, labels, mixed)
    return MixtureLaw(
        sources=tuple(sources),
        chance=chance,
        parameters=np.append(weights, likeness),
        covariance=covariance,
        error=variance**0.5,
        freedom=freedom,
        centre=centre,
        sizes=(float(np.min(sizes)), float(np.max(sizes))),
        mixed=int(mixed.sum()),
        slopes=jacobian,
        draws=labels,
    )


def _errors(jacobian: Floats, gap: Floats, draws: NDArray[np.intp], mixed: Bools) -> tuple[float, Floats, int]:
    """Variance of a new run, covariance of the parameters and degrees of freedom; `gap` (n) is what the law leaves."""
    freedom = len(gap) - jacobian.shape[1]
    if freedom < 1:
        raise SurefootError(f"{len(gap)} runs are too few for a law with {jacobian.shape[1]} parameters.")
    moved = moved_without(jacobian, gap, draws)
    left = gap + np.einsum("ij,ij->i", jacobian, np.where(np.isfinite(moved), moved, 0)[draws])
    variance = max(float((gap**2).sum()) / freedom, float((left[mixed] ** 2).mean()))
    if len(moved) == len(gap):
        return variance, variance * np.linalg.pinv(jacobian.T @ jacobian), freedom
    if not np.isfinite(moved).all():
        raise SurefootError("One draw alone tells the law of a source: give that source runs of another draw.")
    return variance, jackknife_covariance(moved), len(moved) - 1


def predict_mixture(law: MixtureLaw, shares: ArrayLike, sizes: ArrayLike, *, level: float = 0.95) -> MixturePrediction:
    """What new runs with these shares (n, sources) and sizes (n) will score, with the interval of one run."""
    place, jacobian = _predicted(law, shares, sizes)
    error = np.sqrt(law.error**2 + np.einsum("ij,jk,ik->i", jacobian, law.covariance, jacobian))
    half = t_quantile(level, law.freedom) * error
    return MixturePrediction(**{
        name: _score(place + side * half, law.chance) for name, side in (("value", 0), ("low", -1), ("high", 1))
    })  # fmt: skip


def log_share_scores(
    known: tuple[ArrayLike, ArrayLike, ArrayLike], shares: ArrayLike, sizes: ArrayLike, *, chance: float
) -> Floats:
    """The baseline: a linear regression of probit accuracy on log shares and log size of the `known` runs.

    `known` are shares, sizes and scores as in `fit_mixture`. A share of 0 is taken as one percent.
    """

    def design(parts: ArrayLike, counts: ArrayLike) -> Floats:
        mix = np.asarray(parts, dtype=np.float64)
        return np.column_stack([np.ones(len(mix)), np.log(mix.clip(_FLOOR)), np.log(counts)])

    weights = np.linalg.lstsq(design(*known[:2]), _place(known[2], chance))[0]
    return _score(design(shares, sizes) @ weights, chance)


def size_line_scores(sizes: ArrayLike, scores: ArrayLike, asked: ArrayLike, *, chance: float) -> Floats:
    """What runs of these sizes and scores give at the sizes that are asked: a line in log size, or one size's mean."""
    logs = _logs(sizes)
    line = np.polyfit(logs, _place(scores, chance), int(np.ptp(logs) > 0))
    return _score(np.polyval(line, _logs(asked)), chance)


def best_shares(law: MixtureLaw, size: float, *, seed: int = 0) -> BestShares:
    """The shares that the law says score highest with so many pairs, among an even grid, and how sure that is."""
    check_draws(seed)
    grid = _grid(len(law.sources))
    equal = np.full((1, len(law.sources)), 1 / len(law.sources))
    every = np.concatenate([grid, equal, np.eye(len(law.sources))])
    place, jacobian = _predicted(law, every, np.full(len(every), size))
    chosen, single = int(place[: len(grid)].argmax()), int(place[len(grid) + 1 :].argmax())
    drawn = place + _student(law, jacobian[chosen] - jacobian[len(grid)], seed) @ jacobian.T
    best = grid[drawn[:, : len(grid)].argmax(axis=1)]
    low, high = np.quantile(best, [0.05, 0.95], axis=0)
    scores = _score(drawn[:, [chosen, len(grid)]], law.chance)
    gains = scores[:, 0] - scores[:, 1]
    point = float(_score(place[chosen], law.chance) - _score(place[len(grid)], law.chance))
    return BestShares(
        shares=grid[chosen],
        low=low,
        high=high,
        score=predict_mixture(law, grid[[chosen]], [size]),
        equal=predict_mixture(law, equal, [size]),
        gain=Interval(point, *map(float, np.quantile(gains, [0.025, 0.975]))),
        sure=float((gains > _ROUNDING).mean()),
        single=law.sources[single],
        over_single=float((drawn[:, chosen] - drawn[:, len(grid) + 1 + single] > _ROUNDING).mean()),
    )


def _student(law: MixtureLaw, contrast: Floats, seed: int) -> Floats:
    """Draws of the parameters around the fit, with the degrees of freedom that a contrast of them has."""
    freedom = jackknife_freedom(law.slopes, law.draws, contrast) if law.shared_draws else law.freedom
    generator = np.random.default_rng(seed)
    drawn = generator.multivariate_normal(np.zeros(len(law.parameters)), law.covariance, _DRAWS)
    return drawn / np.sqrt(generator.chisquare(freedom, (_DRAWS, 1)) / freedom)


def _predicted(law: MixtureLaw, shares: ArrayLike, sizes: ArrayLike) -> tuple[Floats, Floats]:
    mix, logs = _normal(shares, len(law.sources)), _logs(sizes) - law.centre
    slopes = len(law.parameters) - 1 - len(law.sources)
    design = _columns(mix, logs, slopes) / _spread(mix, law.likeness)[:, None]
    place = design @ law.parameters[:-1]
    return place, np.column_stack([design, _by_likeness(mix, law.likeness) * place])


def _spread(mix: Floats, likeness: float) -> Floats:
    """The length of a mean of unit vectors whose cosines are all the likeness."""
    return np.sqrt(likeness + (1 - likeness) * (mix**2).sum(axis=1))


def _by_likeness(mix: Floats, likeness: float) -> Floats:
    """The derivative of the logarithm of one over the spread by the likeness."""
    return -(1 - (mix**2).sum(axis=1)) / (2 * _spread(mix, likeness) ** 2)


def _columns(mix: Floats, logs: Floats, slopes: int) -> Floats:
    steep = mix * logs[:, None]
    return np.column_stack([mix, steep if slopes > 1 else steep.sum(axis=1, keepdims=True)[:, :slopes]])


def _identified(mix: Floats, logs: Floats, sources: Sequence[str]) -> Floats:
    """The columns of the law with as many slopes as the runs can tell apart."""
    for slopes in (len(sources), 1, 0):
        columns = _columns(mix, logs, slopes)
        if np.linalg.matrix_rank(columns) == columns.shape[1]:
            return columns
    missing = [name for name, share in zip(sources, mix.max(axis=0), strict=True) if share == 0] or list(sources)
    raise SurefootError(f"The runs do not tell the sources apart: give runs with other shares of {', '.join(missing)}.")


def _normal(shares: ArrayLike, sources: int) -> Floats:
    mix = np.atleast_2d(np.asarray(shares, dtype=np.float64))
    total = mix.sum(axis=1, keepdims=True)
    if mix.shape[1] != sources or not (mix >= 0).all() or not (total > 0).all():
        raise SurefootError(f"Shares must be {sources} numbers of at least 0 a run, some of them above 0.")
    return mix / total


def _logs(sizes: ArrayLike) -> Floats:
    numbers = np.asarray(sizes, dtype=np.float64)
    if not ((numbers > 0) & np.isfinite(numbers)).all():
        raise SurefootError("Sizes are numbers of examples above 0.")
    return np.log(numbers)


def _place(scores: ArrayLike, chance: float) -> Floats:
    if not 0 < chance < 1:
        raise SurefootError(f"chance is {chance:g}: it must be between 0 and 1, such as 0.1 for ten classes.")
    return to_axis(scores, "probit") - to_axis(chance, "probit")


def _score(place: ArrayLike, chance: float) -> Floats:
    return from_axis(np.asarray(place) + to_axis(chance, "probit"), "probit")


def _grid(sources: int) -> Floats:
    """All shares in even steps, as fine as leaves at most 10,000 of them."""
    from math import comb

    steps = max(step for step in range(1, 101) if step == 1 or comb(step + sources - 1, sources - 1) <= _CANDIDATES)
    bars = np.array(list(combinations(range(steps + sources - 1), sources - 1)), dtype=np.int64)
    edges = np.pad(bars.reshape(-1, sources - 1), ((0, 0), (1, 1)), constant_values=((0, 0), (-1, steps + sources - 1)))
    return (np.diff(edges, axis=1) - 1) / steps
