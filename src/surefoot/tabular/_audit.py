"""Group metrics of predictions made elsewhere."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from surefoot.core import SurefootError
from surefoot.stats import (
    GroupMetrics,
    clopper_pearson_bounds,
    disparities,
    group_metrics,
    resample_disparities,
    wilson_bounds,
    worst_group,
)
from surefoot.tabular._tables._predictions import read_predictions

_SHOWN = ("selection_rate", "true_positive_rate", "false_positive_rate", "cross_entropy", "cvar", "calibration_error")


def audit_predictions(
    path: Path,
    *,
    label: str,
    score: str,
    sensitive: Sequence[str],
    threshold: float = 0.5,
    least: int = 20,
    positive: str = "",
) -> tuple[list[dict[str, Any]], list[str]]:
    """A line for all rows, each group, the worst group and each disparity; and notes on what was read or left out.

    Scores of which all are 0 or 1 are decisions: they have no losses and no calibration. `positive` is the label's
    value that counts as yes (left out: 0 and 1, no and yes, or false and true). Intervals are exact for groups,
    Wilson's for all rows, over whichever group it is for the worst, and of the bootstrap for the disparities. Raises
    `SurefootError` for a missing column, another label, scores outside 0 to 1, a threshold outside it, or one group.
    """
    if not 0 <= threshold <= 1 or least < 1:
        raise SurefootError("The threshold must be from 0 to 1, and the least rows of a group at least 1.")
    found_rows = read_predictions(path, label=label, score=score, sensitive=sensitive, positive=positive)
    truth, scores, codes, groups, notes = found_rows
    probabilities = not np.isin(scores, (0, 1)).all()
    named = {"groups": groups, "threshold": threshold, "probabilities": probabilities, "least": least}
    found = group_metrics(truth, scores, codes, **named)
    if not probabilities:
        notes.append("All scores are 0 or 1: they are taken as decisions, which have no calibration.")
    if found.small:
        notes.append(f"Fewer than {least} rows, named and not compared: {'; '.join(found.small)}.")
    if not found.kept.any():
        raise SurefootError(f"No group has {least} rows: nothing can be said of the worst one (see --least).")
    correct = (scores >= threshold) == (truth == 1)
    drawn = resample_disparities(correct, truth, codes, found.kept) if found.kept.sum() > 1 else {}
    return [*_groups(found), *_across(found, drawn)], notes


def _groups(found: GroupMetrics) -> Iterator[dict[str, Any]]:
    yield _line("all rows", found, None)
    for place, name in enumerate(found.groups):
        shown = name if found.kept[place] else f"{name} (too few rows)"
        yield _line(shown, found, place)


def _line(name: str, found: GroupMetrics, place: int | None) -> dict[str, Any]:
    table = found.overall if place is None else {key: values[:, place] for key, values in found.by_group.items()}
    n, accuracy = int(found.n.sum() if place is None else found.n[place]), float(table["accuracy"][0])
    low, high = (wilson_bounds if place is None else clopper_pearson_bounds)(np.rint(accuracy * n), n)
    rest = {key: _known(table[key][0]) if key in table else None for key in _SHOWN}
    return {"group": name, "rows": n, "accuracy": accuracy, "low": float(low), "high": float(high), **rest}


def _across(found: GroupMetrics, drawn: Mapping[str, NDArray[np.float64]]) -> Iterator[dict[str, Any]]:
    """The worst group with an interval that holds whichever it is, and the disparities."""
    empty: dict[str, Any] = dict.fromkeys(_SHOWN)
    worst = worst_group(found)
    name = found.groups[int(worst.group[0])]
    bounds = {"low": float(worst.low[0]), "high": float(worst.high[0])}
    line = {"group": f"worst group: {name}", "rows": int(worst.n[0]), "accuracy": float(worst.value[0]), **bounds}
    yield line | empty
    for title, values in disparities(found).items():
        if np.isfinite(values[0]):
            shown = {"group": title.replace("_", " ") + " (difference)", "rows": int(found.n[found.kept].sum())}
            low, high = np.quantile(drawn[title], (0.025, 0.975))
            value = float(values[0])
            bounds = {"low": min(float(low), value), "high": max(float(high), value)}
            yield {**shown, "accuracy": value, **bounds, **empty}


def _known(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
