"""One measured number, the only type of result."""

import json
import math
import re
from collections.abc import Iterable
from dataclasses import dataclass, fields
from typing import Any

from surefoot.core._errors import SurefootError


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """One measured number with its interval.

    `value` is in the unit that `metric` names (shares are fractions from 0 to 1); `n` is the number of examples (or
    points) behind it; `stderr` is its standard error in the same unit; `low` and `high` bound its 95 percent interval.
    A value that could not be computed is not measured: NaN and infinity are refused.
    """

    metric: str
    value: float
    n: int
    stderr: float | None = None
    low: float | None = None
    high: float | None = None
    task: str = ""
    shift: str = ""
    group: str = ""
    replicate: int = 0

    def __post_init__(self) -> None:
        for name in ("value", "n", "replicate", "stderr", "low", "high"):
            number = getattr(self, name)
            unknown = number is None and name in ("stderr", "low", "high")
            if not (unknown or _is_finite(number)):
                raise SurefootError(f"Measurement '{self.metric}' has {name} = {number}: it must be a finite number.")
        for name in ("n", "replicate"):
            number = getattr(self, name)
            if int(number) != number or not 0 <= int(number) < _MOST:
                raise SurefootError(f"Measurement '{self.metric}' has {name} = {number}: it must be a count.")
        if self.stderr is not None and self.stderr < 0:
            raise SurefootError(f"Measurement '{self.metric}' has stderr = {self.stderr}: no error is below 0.")
        if self.low is not None and self.high is not None and self.low > self.high + 1e-9 * abs(self.high):
            raise SurefootError(f"Measurement '{self.metric}' has low = {self.low} above high = {self.high}.")
        for name in ("metric", "task", "shift", "group"):
            if not isinstance(text := getattr(self, name), str):
                raise SurefootError(f"Measurement '{self.metric}' has {name} = {text!r}: it must be a text.")


_MOST = 1 << 63
SHARES = "(^|_)(accuracy|recall|precision|exact_match|top[0-9]+|share|f1)(@[0-9]+)?$"
CHANGES = "diff|fall|drop|gain|chang|less|delta|gap|effect"
"""Regular expressions of the names of metrics that are shares of examples, and of those that are changes of such."""
_ENCODE = json.JSONEncoder(ensure_ascii=False).encode
COLUMNS = tuple(field.name for field in fields(Measurement))


def _is_finite(number: Any) -> bool:
    """Whether it is a number that a float holds, of whatever library."""
    try:
        return math.isfinite(number)
    except (TypeError, OverflowError):
        return False


def is_share(measurement: Measurement) -> bool:
    """Whether it is a share of examples, by its value and the name of its metric."""
    named = re.search(SHARES, measurement.metric) and not re.search(CHANGES, measurement.metric)
    return bool(named) and 0 <= measurement.value <= 1


def dump_measurements(measurements: Iterable[Measurement]) -> str:
    """The measurements as JSON text: one object a line in a list, the same bytes for the same numbers."""
    lines = [_ENCODE(_plain(measurement)) for measurement in measurements]
    return "[\n" + ",\n".join(lines) + "\n]\n" if lines else "[]\n"


def _plain(measurement: Measurement) -> dict[str, Any]:
    """Built-in numbers in place of numpy's, so that the text does not depend on who computed them."""
    row = {name: getattr(measurement, name) for name in COLUMNS}
    for name in ("value", "stderr", "low", "high"):
        row[name] = None if row[name] is None else float(row[name])
    return row | {"n": int(row["n"]), "replicate": int(row["replicate"])}
