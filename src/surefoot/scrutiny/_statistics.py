"""What tests of a system under scrutiny say: exact, or valid however often one looks. Pure functions on arrays."""

import math
from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import bdtr, betainc, betaincinv, betaln, xlog1py, xlogy

from surefoot.stats import Interval, mean_t

Floats = NDArray[np.float64]
_BISECTIONS = 60
_GRID = np.arange(0, 10, 0.01)
_HUGE = 1e100  # log10 ratios beyond it, of which no variance is a number, cost as much as it
_STAKES = 0.99 * 0.5 ** np.arange(13.0)
"""Shares of the fortune that are bet against a mean of at most 1; what they win is averaged."""


def tail_p(failures: int, n: int, rate: float) -> float:
    """Exact one-sided p that at least so many of n fail where each does with at most `rate`."""
    return float(betainc(failures, n - failures + 1, rate)) if failures else 1.0


def smallest_rate_seen(n: int, rate: float, *, alpha: float = 0.05, power: float = 0.9) -> float:
    """The smallest true failure rate that n queries show with that power to be above `rate` (exact, closed form).

    At `rate` 0 one failure is enough: 1 - (1 - power)^(1 / n). NaN where no count of n could show it.
    """
    counts = np.arange(1, n + 1)
    enough = counts[betainc(counts, n - counts + 1, rate) <= alpha]
    return float(betaincinv(enough[0], n - enough[0] + 1, power)) if len(enough) else math.nan


def _log_won(failures: ArrayLike, n: ArrayLike, rate: float) -> Floats:
    """The logarithm of what bets spread over all rates above `rate` have won, elementwise (Robbins 1970)."""
    k, n = np.asarray(failures, dtype=np.float64), np.asarray(n)
    if rate <= 0:
        return np.where(k > 0, np.inf, 0.0)
    above = np.log(np.maximum(1 - betainc(k + 1, n - k + 1, rate), 1e-300)) - math.log1p(-rate)
    return betaln(k + 1, n - k + 1) + above - xlogy(k, rate) - xlog1py(n - k, -rate)


def sequential_p(failed: Sequence[bool], rate: float) -> float:
    """The p against a failure rate of at most `rate` that holds at any look: queries in the order they were asked.

    One over the largest fortune of bets spread over all higher rates (Ville's inequality).
    """
    won = _log_won(np.cumsum(failed), np.arange(1, len(failed) + 1), rate)
    return math.exp(-max(0.0, float(won.max()))) if len(failed) else 1.0


def decided(failures: ArrayLike, n: int, rate: float, *, alpha: float) -> NDArray[np.int_]:
    """What counts of failures of n decide: 1 that more than `rate` fail, at `alpha`; -1 that no more do, at .05; or 0.

    Either holds at all looks together: confidence sequences of bets, above, and of a mixture of rates (Robbins 1970).
    """
    k = np.asarray(failures, dtype=np.float64)
    mixed = betaln(k + 1, n - k + 1) - xlogy(k, rate) - xlog1py(n - k, -rate)
    few = (k <= rate * n) & (mixed > -math.log(0.05))
    return np.where(_log_won(k, n, rate) >= -math.log(alpha), 1, -few.astype(int))


def rate_after_looks(
    failures: int, looks: Sequence[int], decides: Callable[[Floats, int], ArrayLike], *, level: float = 0.95
) -> Interval:
    """A share's exact interval where one looked after these numbers of queries, and stopped at the last of them.

    `decides(counts, n)` says of which counts one would have stopped at an earlier look: 1 for many failures, -1 for
    few, 0 for neither. More extreme is what stops earlier, then what counts more (Jennison and Turnbull 1983). With a
    single look it is Clopper and Pearson's; it never holds less often than `level`.
    """
    steps = [after - n for n, after in pairwise([0, *looks])]
    stops = [np.asarray(decides(np.arange(n + 1.0), n)) for n in looks[:-1]]

    def outside(rate: float, end: float) -> bool:
        """Whether what was found, or more towards the other end, is too rare."""
        side, going, rarer = 1 - 2 * end, np.ones(1), 0.0
        for step, where in zip(steps, stops, strict=False):
            here = _onwards(going, step, rate)
            rarer += float(here[where == side].sum())
            going = np.where(where == 0, here, 0.0)
        last = _onwards(going, steps[-1], rate)
        last = last[failures:] if end == 0 else last[: failures + 1]
        return rarer + float(last.sum()) <= (1 - level) / 2

    share = failures / looks[-1]
    ends = (_edge(end, share, partial(outside, end=end)) for end in (0.0, 1.0))
    return Interval(share, *ends, level=level)


def _edge(out: float, inside: float, outside: Callable[[float], bool]) -> float:
    """The last value outside of an interval on the way to one inside."""
    for _ in range(_BISECTIONS if out != inside else 0):
        middle = (out + inside) / 2
        out, inside = (middle, inside) if outside(middle) else (out, middle)
    return out


def _onwards(going: Floats, n: int, rate: float) -> Floats:
    """The chances of counts after n more queries."""
    each = np.diff(bdtr(np.arange(n + 1), n, rate), prepend=0.0)
    return np.asarray(np.convolve(going, each), dtype=np.float64)


def mean_ratio_p(ratios: ArrayLike, bound: float = 1.0) -> float:
    """The p against a mean of at most `bound` of values of at least 0, at any look: what bets on more have won.

    Under a calibrated system the ratio of a non-contributor is itself the outcome of such a bet.
    """
    gains = np.log1p(_STAKES[:, None] * (np.asarray(ratios, dtype=np.float64) / bound - 1))
    fortune = np.logaddexp.reduce(np.cumsum(gains, axis=1), axis=0) - math.log(len(_STAKES))
    return math.exp(-max(0.0, float(fortune.max()))) if fortune.size else 1.0


def mean_ratio(ratios: ArrayLike, *, level: float = 0.95) -> Interval:
    """The mean of finite values of at least 0, with a lower bound by betting; nothing bounds it from above."""
    values = np.asarray(ratios, dtype=np.float64)
    low = _edge(0.0, mean := float(values.mean()), lambda bound: mean_ratio_p(values, bound) <= 1 - level)
    return Interval(mean, low, math.inf, level=level)


def cllr_costs(log10_ratios: ArrayLike, same: bool) -> Floats:
    """The cost of each ratio in bits: log2(1 + 1/LR) where the first proposition is true, log2(1 + LR) where not.

    Cllr is the mean of both classes' means (Brummer and du Preez 2006).
    """
    logs = np.asarray(log10_ratios, dtype=np.float64)
    logs = np.where(np.isinf(logs), logs, np.clip(logs, -_HUGE, _HUGE)) * math.log(10)
    return np.logaddexp(0.0, -logs if same else logs) / math.log(2)


def mean_cost(costs: ArrayLike, *, level: float = 0.95) -> Interval:
    """The mean of costs, skewed and at least 0: Student's, the upper end on the scale of the mean's logarithm.

    Equal costs, as of ratios that are cut off, say nothing of their spread: bets bound these from below, nothing above.
    """
    mean = mean_t(costs, level=level)
    if not mean.high > mean.estimate > 0:
        return Interval(mean.estimate, mean_ratio(costs, level=(1 + level) / 2).low, math.inf, level=level)
    high = mean.estimate * math.exp(min(mean.high / mean.estimate - 1, 700.0))
    return Interval(mean.estimate, max(0.0, mean.low), high, level=level)


def elub(same: ArrayLike, different: ArrayLike) -> tuple[float, float]:
    """Empirical lower and upper bound of log10 ratios (Vergeer et al. 2016): where they do better than LR = 1 always.

    One misleading ratio is added to each class. At a threshold t the system errs with FNR + t FPR, and deciding always
    alike with min(1, t); the range reaches out from 1, in steps of .01, as far as the first stays below the second.
    """
    first = np.sort(np.append(np.asarray(same, dtype=np.float64), -np.inf))
    second = np.sort(np.append(np.asarray(different, dtype=np.float64), np.inf))
    ends = []
    for logs in (-_GRID, _GRID):
        missed = np.searchsorted(first, logs) / len(first)
        falsely = 1 - np.searchsorted(second, logs) / len(second)
        better = missed + 10.0**logs * falsely < np.minimum(1.0, 10.0**logs)
        ends.append(float(logs[max(0, int(np.argmin([*better, False])) - 1)]) + 0.0)  # not -0
    return ends[0], ends[1]


def first_order(points: ArrayLike, values: ArrayLike, *, classes: int = 8) -> Floats:
    """Which coordinate drives a value: the share of its variance that each explains alone (first-order Sobol index).

    From a given sample (Plischke 2013), `points` (n, d) and `values` (n,): the variance between classes of about equal
    size along a coordinate, less what chance makes of it; 0 to 1.
    """
    x, y = np.asarray(points, dtype=np.float64), np.asarray(values, dtype=np.float64)
    y -= y.mean()
    total, shares = float((y**2).sum()), []
    for column in x.T:
        edges = np.unique(np.quantile(column, np.linspace(0, 1, classes + 1)[1:-1]))
        _, member = np.unique(np.searchsorted(edges, column), return_inverse=True)
        counts = np.bincount(member)
        between, free, rest = float((np.bincount(member, y) ** 2 / counts).sum()), len(counts) - 1, len(y) - len(counts)
        chance = free * (total - between) / rest if rest > 0 else total
        shares.append(max(0.0, between - chance) / total if total > 0 and free else 0.0)
    return np.asarray(shares)
