"""Axes: where the ticks go and how they are labelled, for logarithmic, logit and probit scales."""

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from textwrap import wrap
from typing import Any

import numpy as np

from surefoot.core import SurefootError, Unit
from surefoot.stats import Axis, from_axis, to_axis

_TITLE_WIDTH = 46
_FINE = (1, 1.5, 2, 3, 4, 5, 6, 7, 8, 9)
_PERCENTS = (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 30, 40, 50, 60, 70, 80, 90, 95, 98, 99, 99.5, 99.8, 99.9)
_TO_AXIS = {"logit": "log({0}/(1-{0}))", "probit": "quantileNormal({0})", "linear": "{0}"}
_FROM_AXIS = {"logit": "1/(1+exp(-datum.value))", "probit": "cumulativeNormal(datum.value)", "linear": "datum.value"}


@dataclass(frozen=True, kw_only=True)
class ShareScale:
    """One axis of shares: its bounds as fractions, and as positions on the axis."""

    axis: Axis
    low: float
    high: float
    ticks: tuple[float, ...]

    def place(self, field: str) -> str:
        """The Vega expression that puts the fraction in `field` on this axis; 0 and 1 lie at its ends."""
        held = f"(datum.{field} <= 0 ? {self.low} : datum.{field} >= 1 ? {self.high} : datum.{field})"
        return f"isValid(datum.{field}) ? {_TO_AXIS[self.axis].format(held)} : null"

    def encoding(self, field: str, title: str) -> dict[str, Any]:
        positions = [float(place) for place in to_axis(self.ticks, self.axis)]
        return {
            "field": field,
            "type": "quantitative",
            "scale": {
                "domain": [float(place) for place in to_axis([self.low, self.high], self.axis)],
                "nice": False,
                "zero": False,
            },
            "axis": {"title": title, "values": positions, "labelExpr": f"format({_FROM_AXIS[self.axis]}, '.1~%')"},
        }


def share_scale(values: Iterable[Any], axis: Axis) -> ShareScale:
    """The scale that holds these fractions with a margin; exact 0 and 1 end at the margin unless the axis is linear."""
    if axis not in _TO_AXIS:
        raise SurefootError(f"An axis is one of {', '.join(_TO_AXIS)}; got '{axis}'.")
    known = np.array([value for value in values if value is not None], dtype=np.float64)
    if np.any((known < 0) | (known > 1)):
        raise SurefootError("Accuracies are fractions between 0 and 1: divide percentages by 100 first.")
    inside = known if axis == "linear" else known[(known > 0) & (known < 1)]
    if not len(inside):
        raise SurefootError("No accuracy strictly between 0 and 1: there is nothing to show on this axis.")
    places = to_axis(inside, axis)
    margin = 0.05 * float(np.ptp(places)) or 0.1
    low, high = (float(share) for share in from_axis([places.min() - margin, places.max() + margin], axis))
    if axis == "linear":
        low, high = max(low, 0.0), min(high, 1.0)
    return ShareScale(axis=axis, low=low, high=high, ticks=_share_ticks(low, high))


def _share_ticks(low: float, high: float) -> tuple[float, ...]:
    """Round percentages between the bounds: the coarse ones, or a finer step when fewer than four of them fit."""
    coarse = [percent / 100 for percent in _PERCENTS if low <= percent / 100 <= high]
    for step in (5, 2, 1, 0.5, 0.2, 0.1):
        if len(coarse) >= 4:
            break
        first = math.ceil(low * 100 / step)
        coarse = [round(index * step / 100, 6) for index in range(first, math.floor(high * 100 / step) + 1)]
    return tuple(coarse)


def log_axis(low: float, high: float, title: str, unit: Unit) -> dict[str, Any]:
    """The `axis` of a logarithmic scale: percents for shares, powers of ten for wide ranges, else plain numbers."""
    ticks = _log_ticks(low, high)
    return {"title": title, "values": ticks, "labelExpr": pick(ticks, [_log_label(tick, high, unit) for tick in ticks])}


def pick(values: Sequence[float], labels: Sequence[str]) -> str:
    """The Vega expression that labels each of these tick values."""
    return f"{json.dumps(list(labels), ensure_ascii=False)}[indexof({json.dumps(list(values))}, datum.value)]"


def log_bounds(values: Iterable[Any], what: str) -> tuple[float, float]:
    """Bounds that hold the positive values with a margin. Raises when there is none."""
    if not (positive := [float(value) for value in values if value is not None and value > 0]):
        raise SurefootError(f"A logarithmic axis needs {what} above 0, and there is none.")
    low, high = math.log(min(positive)), math.log(max(positive))
    margin = 0.05 * (high - low) or 0.2
    return math.exp(low - margin), math.exp(high + margin)


def _log_ticks(low: float, high: float) -> list[float]:
    decades = math.log10(high / low)
    if decades > 4:
        step = math.ceil(decades / 7)
        return [
            float(f"1e{power}") for power in range(math.ceil(math.log10(low)), math.floor(math.log10(high)) + 1, step)
        ]
    multiples = (1, 3) if decades > 2.2 else (1, 2, 5) if decades > 1.1 else _FINE
    powers = range(math.floor(math.log10(low)), math.floor(math.log10(high)) + 1)
    ticks = [float(f"{multiple}e{power}") for power in powers for multiple in multiples]
    inside = [tick for tick in ticks if low <= tick <= high]
    return inside if len(inside) > 2 else _even_ticks(low, high)


def _even_ticks(low: float, high: float) -> list[float]:
    """About five round values with even steps, for a range so narrow that a logarithm is nearly a line."""
    rough = (high - low) / 5
    unit = 10.0 ** math.floor(math.log10(rough))
    step = next(multiple * unit for multiple in (1, 2, 5, 10) if multiple * unit >= rough)
    return [float(f"{count * step:.12g}") for count in range(math.ceil(low / step), math.floor(high / step) + 1)]


def _log_label(tick: float, high: float, unit: Unit) -> str:
    if unit == "share":
        return f"{100 * tick:.6g}%"
    if high < 1e5 and tick >= 1e-3:
        return f"{tick:,.6g}"
    mantissa, _, power = f"{tick:.6e}".partition("e")
    raised = str(int(power)).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))
    front = f"{float(mantissa):g}"
    return f"10{raised}" if front == "1" else f"{front}·10{raised}"


def unit_axis(unit: Unit, title: str) -> dict[str, Any]:
    if unit == "points":
        return {
            "title": wrapped(f"{title} (percentage points)"),
            "labelExpr": "datum.value ? format(100*datum.value, '+~r') : '0'",
        }
    return {"title": wrapped(title), "format": "~%" if unit == "share" else "~g"}


def interval_text(value: str, low: str, high: str, unit: Unit) -> str:
    """The Vega expression for a tooltip: the value and, where both bounds are known, its interval."""
    factor, pattern, suffix = {
        "share": ("", ".1%", ""),
        "points": ("100*", "+.1f", " points"),
        "number": ("", ".4~g", ""),
    }[unit]

    def shown(field: str) -> str:
        return f"format({factor}datum.{field}, '{pattern}')"

    bounds = f"' [' + {shown(low)} + ', ' + {shown(high)} + ']'"
    return f"{shown(value)} + (isValid(datum.{low}) && isValid(datum.{high}) ? {bounds} : '') + '{suffix}'"


def wrapped(title: str, width: int = _TITLE_WIDTH) -> list[str]:
    """A long axis title in lines that fit a small screen."""
    return wrap(title, width) or [""]


def above_the_axis(title: str) -> dict[str, Any]:
    """A vertical axis's title laid flat above the axis, where it is read without turning the head."""
    lines = wrapped(title)
    return {
        "title": lines,
        "titleAngle": 0,
        "titleAlign": "left",
        "titleAnchor": "start",
        "titleBaseline": "bottom",
        "titleX": 0,
        "titleY": -10 - 15 * (len(lines) - 1),
    }
