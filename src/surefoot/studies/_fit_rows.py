"""What studies read from the artifacts of fits, as rows for figures."""

import csv
import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from surefoot.core import Results, Step
from surefoot.stats import Interval, fit_lines, from_axis, paired_difference, predict_lines, to_axis

Row = dict[str, Any]
_LINE_POINTS = 40


def law_rows(results: Results, law: Step, family: str) -> list[Row]:
    """The curve of a `ScalingFit` with its band, as rows of one family; none when the law was not fitted."""
    path = results.store.path(law) / "law.json"
    if not path.exists():
        return []
    curve: list[Row] = json.loads(path.read_text(encoding="utf-8"))["curve"]
    return [point | {"family": family} for point in curve]


def fit_rows(results: Results, fit: Step, section: str, **conditions: str) -> list[Row]:
    """Rows of one section of a `ShiftFit` (such as "models") whose columns have these values; numbers as floats."""
    path = results.store.path(fit) / f"{section}.tsv"
    if not path.exists():
        return []
    with path.open(encoding="utf-8", newline="") as stream:
        rows = [dict(row) for row in csv.DictReader(stream, delimiter="\t")]
    return [
        {name: _number(text) for name, text in row.items()}
        for row in rows
        if all(row[name] == wanted for name, wanted in conditions.items())
    ]


def line_rows(x: Sequence[float], y: Sequence[float]) -> list[Row]:
    """The line of y on x, both fractions, on logit axes, over the range of x, with its 95 percent band."""
    place, target = to_axis(x), to_axis(y)
    lines = fit_lines(place, target)
    grid = np.linspace(place.min(), place.max(), _LINE_POINTS)
    middle, error = predict_lines(lines, grid)
    half = 1.96 * error[:, 0]
    columns = (grid, middle[:, 0], middle[:, 0] - half, middle[:, 0] + half)
    shares = [from_axis(column).tolist() for column in columns]
    return [dict(zip(("x", "y", "low", "high"), row, strict=True)) for row in zip(*shares, strict=True)]


def largest_difference(groups: Mapping[str, Sequence[float]], *, level: float = 0.95) -> tuple[str, str, Interval, int]:
    """The two groups whose matched values differ most surely: their names, mean difference and n pairs.

    Values stand in the same order in each group (the same size, budget and seed). The interval is Student's for the
    paired differences at Bonferroni's level for all pairs of groups.
    """
    names = list(groups)
    pairs = [(a, b) for place, a in enumerate(names) for b in names[place + 1 :]]
    strict_level = 1 - (1 - level) / len(pairs)
    found = [(a, b, paired_difference(groups[a], groups[b], level=strict_level)) for a, b in pairs]
    a, b, best = min(found, key=lambda item: item[2].p)
    return a, b, best.difference, best.n


def _number(text: str) -> Any:
    try:
        return float(text)
    except ValueError:
        return text
