"""Does a fitted law have the right shape, and even noise? Tests on its residuals."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import fdtrc

from surefoot.stats._paired import t_p_value

Floats = NDArray[np.float64]
UNEVEN = 0.05
"""The p of the test of even noise below which the noise of a law is taken to change with x."""
_FEWEST = 8
"""Below this many points the size of residuals has no trend that could be told from chance."""


@dataclass(frozen=True, kw_only=True)
class LawChecks:
    """What the residuals of a law say of it; p values are NaN where nothing can be tested.

    `curve_p`: F test of the squares of log x added to the law (Ramsey 1969, to first order). `noise_p`: test of a trend
    of the size of residuals in log x (Glejser 1969). `noise_slope`: by how much the log of the noise variance grows
    with log x (Harvey 1976), 0 where the test sees no trend; `z_low` to `z_high` is the range of x, in centred logs,
    and `level` the mean of what the slope makes of it. `leverage` (n,) of each point.
    """

    curve_p: float
    noise_p: float
    noise_slope: float
    z_low: float
    z_high: float
    level: float
    leverage: Floats

    def noise_at(self, z: Floats) -> Floats:
        """Noise variance at centred logs z, relative to its mean over the points; held constant beyond them."""
        return np.exp(self.noise_slope * np.clip(z, self.z_low, self.z_high)) / self.level


def check_fit(z: Floats, gap: Floats, slopes: Floats, weights: Floats) -> LawChecks:
    """Check residuals `gap` (n,) of a law with derivatives `slopes` (n, p) at centred logs `z` (n, variables)."""
    root = np.sqrt(weights)
    gap = root * gap
    basis, _ = np.linalg.qr(slopes * root[:, None])
    leverage = np.minimum((basis**2).sum(axis=1), 0.99)
    along = z.mean(axis=1)
    noise_p, slope = _noise(along, gap / np.sqrt(1 - leverage), slopes.shape[1])
    if not noise_p < UNEVEN:
        slope = 0.0
    even = np.exp(-slope * (along - along.mean()) / 2)
    return LawChecks(
        curve_p=_curve_p(z, gap * even, np.linalg.qr(slopes * (root * even)[:, None])[0], root * even),
        noise_p=noise_p,
        noise_slope=slope,
        z_low=float(along.min()),
        z_high=float(along.max()),
        level=float(np.exp(slope * along).mean()),
        leverage=leverage,
    )


def _curve_p(z: Floats, gap: Floats, basis: Floats, weight: Floats) -> float:
    """F test of what the squares of z explain of the residuals, beyond what the law could take up itself."""
    n, p = basis.shape
    squares = z**2 * weight[:, None]
    free = squares - basis @ (basis.T @ squares)
    kept = free[:, np.linalg.norm(free, axis=0) > 1e-6 * np.linalg.norm(squares, axis=0)]
    freedom = n - p - kept.shape[1]
    if freedom < 1 or not kept.shape[1]:
        return float("nan")
    extra, _ = np.linalg.qr(kept)
    gain = float(((extra.T @ gap) ** 2).sum())
    left = float(gap @ gap) - gain
    if left <= 1e-24:
        return float("nan")
    return float(fdtrc(kept.shape[1], freedom, gain / kept.shape[1] / (left / freedom)))


def _noise(along: Floats, gap: Floats, parameters: int) -> tuple[float, float]:
    """p of a trend of the size of residuals, and the slope of the log of their variance."""
    n, centred = len(gap), along - along.mean()
    spread, size = float(centred @ centred), np.abs(gap)
    if n < _FEWEST or n - parameters < 2 or spread <= 0 or float(size.max()) <= 1e-12:
        return float("nan"), 0.0
    slope = float(centred @ size) / spread
    left = size - size.mean() - slope * centred
    error = float(left @ left / (n - 2) / spread) ** 0.5
    logs = np.log(np.maximum(gap**2, 1e-4 * float((gap**2).mean())))
    return t_p_value(slope, error, n - 2), float(centred @ logs) / spread
