"""Does a fitted law have the right shape, and even noise? Tests on its residuals."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import fdtrc, stdtr

from surefoot.stats._paired import t_p_value

Floats = NDArray[np.float64]
UNEVEN = 0.05
"""The p of the test of even noise below which the noise of a law is taken to change with x."""
_LIKELY, _PERHAPS = 0.1, 0.3
_FEWEST, _MANY, _MOST_DRAWN, _DRAWS = 8, 20, 200, 999
"""Below eight points the size of residuals has no trend that could be told from chance; up to 200 its test is drawn."""


@dataclass(frozen=True, kw_only=True)
class LawChecks:
    """What the residuals of a law say of it; p values are NaN where nothing can be tested.

    `curve_p`: F test of the squares of log x added to the law (Ramsey 1969, to first order). `floor_p`: one-sided
    score test of a floor under the law (of a power law exact, as Tukey's of 1949). Below 20
    points both have errors that allow for uneven noise (HC2, with Bell and McCaffrey's degrees of freedom), unless
    `noise_p` is above .3. `noise_p`: test of a trend of the size of residuals in log x (Glejser 1969), up to 200
    points against normal noise seen through the same law.
    `noise_slope`: by how much the log of the noise variance grows with log x (Harvey 1976), 0 where the test sees no
    trend; `z_low` to
    `z_high` is the range of x, in centred logs, and `level` the mean of what the slope makes of it. `leverage` (n,) of
    each point.
    """

    curve_p: float
    floor_p: float
    noise_p: float
    noise_slope: float
    z_low: float
    z_high: float
    level: float
    leverage: Floats

    @property
    def doubted(self) -> bool:
        """Whether the form is in doubt beyond the points: a curve or a floor is likely, or no curve is tested."""
        return not self.curve_p >= _LIKELY or self.floor_p < _LIKELY

    def noise_at(self, z: Floats) -> Floats:
        """Noise variance at centred logs z, relative to its mean over the points; held constant beyond them."""
        return np.exp(self.noise_slope * np.clip(z, self.z_low, self.z_high)) / self.level


def check_fit(z: Floats, gap: Floats, slopes: Floats, weights: Floats, floor: Floats) -> LawChecks:
    """Check residuals `gap` (n,) of a law with derivatives `slopes` (n, p) at centred logs `z` (n, variables).

    `floor` (n,) is the derivative of the log of the law in a floor under it.
    """
    root = np.sqrt(weights)
    gap = root * gap
    basis, _ = np.linalg.qr(slopes * root[:, None])
    leverage = np.minimum((basis**2).sum(axis=1), 0.99)
    along = z.mean(axis=1)
    noise_p, slope = _noise(along, gap, basis, 1 / np.sqrt(1 - leverage))
    if not noise_p < UNEVEN:
        slope = 0.0
    even = np.exp(-slope * (along - along.mean()) / 2)
    steady = np.linalg.qr(slopes * (root * even)[:, None])[0]
    trusted = noise_p >= _PERHAPS or len(gap) >= _MANY
    curve_p, _ = _added_p(z**2, gap * even, steady, root * even, trusted)
    floor_p, way = _added_p(floor[:, None], gap * even, steady, root * even, trusted)
    return LawChecks(
        curve_p=curve_p,
        floor_p=floor_p / 2 if way > 0 else 1 - floor_p / 2,
        noise_p=noise_p,
        noise_slope=slope,
        z_low=float(along.min()),
        z_high=float(along.max()),
        level=float(np.exp(slope * along).mean()),
        leverage=leverage,
    )


def _added_p(columns: Floats, gap: Floats, basis: Floats, weight: Floats, even: bool) -> tuple[float, float]:
    """Test of what columns explain of the residuals, beyond what the law could take up itself; sign of their pull.

    Of `even` noise, or where a point has no residual of its own, an F test; else the smallest p of single columns
    (`_robust_p`) times their number.
    """
    n, p = basis.shape
    columns = columns * weight[:, None]
    free = columns - basis @ (basis.T @ columns)
    kept = free[:, np.linalg.norm(free, axis=0) > 1e-6 * np.linalg.norm(columns, axis=0)]
    freedom = n - p - kept.shape[1]
    if freedom < 1 or not kept.shape[1]:
        return float("nan"), 0.0
    extra, _ = np.linalg.qr(kept)
    gain = float(((extra.T @ gap) ** 2).sum())
    left = float(gap @ gap) - gain
    if left <= 1e-24:
        return float("nan"), 0.0
    pull = float(kept[:, 0] @ gap)
    leverage = (np.column_stack([basis, extra]) ** 2).sum(axis=1)
    if even or leverage.max() > 1 - 1e-6:
        return float(fdtrc(kept.shape[1], freedom, gain / kept.shape[1] / (left / freedom))), pull
    each = [_robust_p(column / np.linalg.norm(column), gap, basis) for column in kept.T]
    return min(1.0, len(each) * min(each)), pull


def _robust_p(column: Floats, gap: Floats, basis: Floats) -> float:
    """t test of a column (of length 1, orthogonal to the basis) whose error is HC2, unbiased where noise is even.

    Its degrees of freedom are those of this error under even noise (Bell and McCaffrey 2002).
    """
    whole = np.column_stack([basis, column])
    rest = 1 - (whole**2).sum(axis=1)
    left, share = gap - whole @ (whole.T @ gap), column**2 / rest
    spread = ((whole.T * share @ whole) ** 2).sum() + (share**2 * (rest**2 - (1 - rest) ** 2)).sum()
    return 2 * float(stdtr(1 / spread, -abs(column @ gap) / (share @ left**2) ** 0.5))


def _noise(along: Floats, gap: Floats, basis: Floats, stretch: Floats) -> tuple[float, float]:
    """p of a trend of the size of residuals, and the slope of the log of their variance."""
    n, centred = len(gap), along - along.mean()
    spread = float(centred @ centred)
    if n < _FEWEST or n - basis.shape[1] < 2 or spread <= 0 or float(np.abs(gap).max()) <= 1e-12:
        return float("nan"), 0.0
    seen = float(_trend_t(centred, np.abs(gap * stretch)))
    p = t_p_value(seen, 1.0, n - 2)
    if n <= _MOST_DRAWN:
        # Residuals of few points are far from independent: the trend is compared with that of even noise, seen alike.
        drawn = np.random.default_rng(0).standard_normal((_DRAWS, n))
        drawn = np.abs((drawn - drawn @ basis @ basis.T) * stretch)
        above = int((np.abs(_trend_t(centred, drawn)) >= abs(seen)).sum())
        p = (above + 1) / (_DRAWS + 1) if above else min(p, 1 / (_DRAWS + 1))
    logs = np.log(np.maximum((gap * stretch) ** 2, 1e-4 * float(((gap * stretch) ** 2).mean())))
    return p, float(centred @ logs) / spread


def _trend_t(centred: Floats, size: Floats) -> Floats:
    """t of the slope of sizes (..., n) in `centred` (n,)."""
    spread = centred @ centred
    slope = np.asarray(size @ centred / spread)
    left = size - size.mean(axis=-1, keepdims=True) - slope[..., None] * centred
    return np.asarray(slope / np.sqrt(np.maximum((left**2).sum(axis=-1) / (len(centred) - 2) / spread, 1e-300)))
