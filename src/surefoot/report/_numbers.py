"""Numbers as people read them."""

import math
from statistics import NormalDist

from surefoot.core import Measurement, Unit, Verdict, is_share
from surefoot.stats import share_interval

_RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def bounds(measurement: Measurement) -> tuple[float | None, float | None]:
    """The 95 percent interval: as measured, else that of its standard error (Wilson's of a share), else unknown."""
    if measurement.low is not None or measurement.high is not None:
        return measurement.low, measurement.high
    if measurement.stderr is not None and is_share(measurement) and measurement.n:
        found = share_interval(measurement.value, measurement.stderr, measurement.n)
        return found.low, found.high
    if measurement.stderr is not None:
        half = NormalDist().inv_cdf(0.975) * measurement.stderr
        return measurement.value - half, measurement.value + half
    return None, None


def number(value: float | None) -> str:
    """Whole numbers in full, others with four digits; a power of ten only for very small and very large ones."""
    if value is None:
        return ""
    if not math.isfinite(value):
        return {math.inf: "∞", -math.inf: "−∞"}.get(value, "not a number")
    if value == int(value) and abs(value) < 1e15:
        return f"{value:,.0f}".replace("-", "−")
    if 1e-4 <= abs(value) < 1e5:
        return f"{float(f'{value:.4g}'):,.10g}".replace("-", "−")
    mantissa, _, power = f"{value:.3e}".partition("e")
    return f"{float(mantissa):g}·10{str(int(power)).translate(_RAISED)}".replace("-", "−")


def effect_text(verdict: Verdict) -> str:
    """The effect of a verdict in its unit: `+10.9 points`, `93.9%`, or a number; empty where there is none."""
    return _in_unit(verdict.effect, verdict.unit) + (
        " points" if verdict.unit == "points" and verdict.effect is not None else ""
    )


def ends(verdict: Verdict) -> tuple[float, float]:
    """The bounds of a verdict's interval; one that is not given is infinite."""
    low = -math.inf if verdict.low is None else verdict.low
    return low, math.inf if verdict.high is None else verdict.high


def interval_text(verdict: Verdict) -> str:
    """The interval of a verdict in its unit, `+10.1 to +11.7`; a bound that is not given is infinite, none: empty."""
    if verdict.low is None and verdict.high is None:
        return ""
    low, high = ends(verdict)
    return f"{_in_unit(low, verdict.unit)} to {_in_unit(high, verdict.unit)}"


def bound_text(verdict: Verdict) -> str:
    """What the effect of a verdict was compared with, in its unit."""
    return _in_unit(verdict.bound, verdict.unit) if verdict.bound else "0"


def _in_unit(value: float | None, unit: Unit) -> str:
    if value is None or unit == "number" or not math.isfinite(value):
        return number(value)
    ends = {0.0, 100.0} - {abs(100 * value)}  # what is not zero, or not all, is not rounded to it
    least = 1 if abs(value) >= 0.005 else 2
    decimals = next((one for one in range(least, 9) if round(abs(100 * value), one) not in ends), least)
    text = f"{100 * value:+.{decimals}f}" if unit == "points" else f"{100 * value:.{decimals}f}%"
    return text.replace("-", "−")


def duration(seconds: float) -> str:
    for limit, unit, name in ((120, 1, "s"), (7200, 60, "min"), (172800, 3600, "h")):
        if seconds < limit:
            return f"{seconds / unit:.3g} {name}"
    return f"{seconds / 86400:.3g} days"


def memory(size: int | None) -> str:
    if not size:
        return ""
    return f"{size / 1e6:.0f} MB" if size < 1e9 else f"{size / 1e9:.2f} GB"
