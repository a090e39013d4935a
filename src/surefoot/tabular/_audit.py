"""Group metrics of predictions made elsewhere: of one model or two, with labels or without."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from surefoot.core import SurefootError
from surefoot.stats import (
    DISPARITIES,
    LEAST_ROWS,
    RATES,
    GroupMetrics,
    Interval,
    compared,
    disparity_bounds,
    disparity_difference,
    group_auc,
    group_metrics,
    holm,
    mcnemar_p,
    rate_bounds,
    ratio_bounds,
    share_difference,
    worst_group,
    worst_group_difference,
)
from surefoot.tabular._tables._groups import Division
from surefoot.tabular._tables._predictions import PredictionColumns, Predictions, read_predictions

Line = Mapping[str, Any]
ALL_ROWS, BETWEEN = "all rows", "between groups"
FOUR_FIFTHS = 0.8
_LOSSES = ("cross_entropy", "cvar", "calibration_error")
_EXTREMES = {"worst group": worst_group_difference, BETWEEN: disparity_difference}
_RATIOS = ("demographic_parity", "equalised_odds")


@dataclass(frozen=True, kw_only=True)
class Audit:
    """What an audit found; every line has a `division` (how rows are divided), a `group` and a `model`.

    `groups`: a line for all rows and each group, with rows, positives and every metric, its bounds as NAME_low and
    NAME_high; None where it is undefined. `between`: for each division the worst group and the disparities, with bounds
    that hold whichever groups are the extremes. `differences`: of two models, the first minus the second, by group and,
    with such bounds, between groups.
    `notes` say what was read, left out or not compared.
    """

    groups: tuple[Line, ...]
    between: tuple[Line, ...]
    differences: tuple[Line, ...]
    notes: tuple[str, ...]


def audit_predictions(
    path: Path | str, columns: PredictionColumns, *, threshold: float = 0.5, least: int = LEAST_ROWS
) -> Audit:
    """Measure the predictions of a file by group: the intersections of the sensitive columns, then each column alone.

    Scores of which all are 0 or 1 are decisions: they have no area, losses or calibration. Without labels only
    selection rates are there. A rate is compared between groups that have `least` rows behind it (for a true positive
    rate: positives). Intervals of a rate are exact (Clopper and Pearson). Raises `SurefootError` for a missing column,
    another label, scores or a threshold outside 0 to 1, or when no group has `least` rows.
    """
    if not 0 <= threshold <= 1 or least < 1:
        raise SurefootError("The threshold must be from 0 to 1, and the least rows of a group at least 1.")
    read = read_predictions(path, columns)
    models = {columns.score: read.scores} | ({columns.other: read.other} if read.other is not None else {})
    notes = list(read.notes)
    groups: list[Line] = []
    between: list[Line] = []
    for model, scores in models.items():
        for division in read.divisions:
            found = _measured(read, scores, division, threshold, least)
            if not found.kept.any() and division is read.divisions[0]:
                raise SurefootError(f"No group has {least} rows: nothing can be said of the worst one (see --least).")
            lines = list(_group_lines(read, scores, division, found))
            at = {"model": model, "division": division.name}
            # All rows stand first, and once.
            groups += [{**at, **line} for line in lines[division is not read.divisions[0] :]]
            between.append({**at, "group": BETWEEN, **_between(found, read.labels is not None)})
            notes += (*_not_compared(found, read.labels is not None), *_reversed(model, lines[0]))
        if len(said := np.unique(scores >= threshold)) == 1:
            notes.append(f"{model} gives every row one answer ({'yes' if said[0] else 'no'}): no rate can differ.")
        if np.isin(scores, (0, 1)).all():
            notes.append(f"All values of {model} are 0 or 1: they are taken as decisions, without area or calibration.")
    apart = tuple(_differences(read, models, threshold, least)) if len(models) > 1 else ()
    return Audit(groups=tuple(groups), between=tuple(between), differences=apart, notes=tuple(dict.fromkeys(notes)))


def _measured(
    read: Predictions, scores: NDArray[np.float64], division: Division, threshold: float, least: int
) -> GroupMetrics:
    labels = np.zeros(len(scores), int) if read.labels is None else read.labels
    return group_metrics(
        labels,
        scores,
        division.codes,
        groups=division.groups,
        threshold=threshold,
        probabilities=read.labels is not None and not np.isin(scores, (0, 1)).all(),
        least=least,
        weights=read.weights,
    )


def _group_lines(
    read: Predictions, scores: NDArray[np.float64], division: Division, found: GroupMetrics
) -> Iterator[dict[str, Any]]:
    labelled = read.labels is not None
    table: dict[str, NDArray[Any]] = {}
    for name in (*RATES, "balanced_accuracy") if labelled else ("selection_rate",):
        low, high = rate_bounds(found, name)
        value = np.append(found.by_group[name][0], found.overall[name][0])
        # A rate without rows has no bounds to show.
        blank = np.where(np.isfinite(value), 1.0, np.nan)
        table |= {name: value, f"{name}_low": low[0] * blank, f"{name}_high": high[0] * blank}
    if read.labels is not None and not np.isin(scores, (0, 1)).all():
        area = group_auc(read.labels, scores, division.codes, weights=read.weights)
        table |= {"auc": area.value, "auc_low": area.low, "auc_high": area.high}
    for name in _LOSSES:
        if name in found.by_group:
            table[name] = np.append(found.by_group[name][0], found.overall[name][0])
    rows = np.append(found.n, found.n.sum())
    positives = np.append(found.positives, found.positives.sum())
    names = (*found.groups, ALL_ROWS)
    for place in (len(names) - 1, *range(len(names) - 1)):
        said = {"group": names[place], "rows": int(rows[place])}
        said |= {"positives": int(positives[place])} if labelled else {}
        few = place < len(found.groups) and not found.kept[place]
        yield said | {"too_few_rows": bool(few)} | {name: _known(values[place]) for name, values in table.items()}


def _between(found: GroupMetrics, labelled: bool) -> dict[str, Any]:
    """The worst group with an interval that holds whichever it is, the disparities, and the four-fifths rule."""
    line: dict[str, Any] = {"rows": int(found.n[found.kept].sum())}
    if labelled:
        worst = worst_group(found)
        place = int(worst.group[0])
        line["worst_group"] = found.groups[place] if place >= 0 else None
        line |= _bounded("worst_group_accuracy", worst)
    for title in DISPARITIES if labelled else ("demographic_parity",):
        line |= _bounded(title, disparity_bounds(found, title))
        if title in _RATIOS:
            line |= _bounded(f"{title}_ratio", ratio_bounds(found, title))
    low, high = line["demographic_parity_ratio_low"], line["demographic_parity_ratio_high"]
    if low is not None:
        line["four_fifths"] = "kept" if low >= FOUR_FIFTHS else "broken" if high < FOUR_FIFTHS else "undecided"
    return line


def _bounded(name: str, found: Any) -> dict[str, float | None]:
    parts = {name: found.value, f"{name}_low": found.low, f"{name}_high": found.high}
    return {key: _known(values[0]) for key, values in parts.items()}


def _not_compared(found: GroupMetrics, labelled: bool) -> Iterator[str]:
    """Which groups say too little, of all rows and of each label."""
    if found.small:
        yield f"Fewer than {found.least} rows, named and not compared: {'; '.join(found.small)}."
    for name, label in (("true_positive_rate", "positives"), ("false_positive_rate", "negatives")):
        left_out = found.kept & ~compared(found, name)[0]
        if labelled and left_out.any():
            counts = found.rates[name].rows[0]
            shown = "; ".join(f"{found.groups[place]} ({counts[place]:.0f})" for place in np.flatnonzero(left_out))
            yield (
                f"Fewer than {found.least} {label}, so that the {name.replace('_', ' ')} is not compared, nor are "
                f"equalised odds with these groups: {shown}."
            )


def _reversed(model: str, line: Line) -> Iterator[str]:
    """Said of scores that are surely lower where the label is yes: they may be those of the other label."""
    if (line.get("auc_high", line.get("balanced_accuracy_high")) or 1.0) < 0.5:
        yield f"{model} is lower where the label is yes than where it is no: is it of the other label (--positive)?"


def _differences(
    read: Predictions, models: Mapping[str, NDArray[np.float64]], threshold: float, least: int
) -> Iterator[dict[str, Any]]:
    """By group: the first model's accuracy (without labels: selection rate) minus the second's, on the same rows."""
    said = [scores >= threshold for scores in models.values()]
    counted = said if read.labels is None else [called == (read.labels == 1) for called in said]
    metric = "selection_rate_difference" if read.labels is None else "accuracy_difference"
    weights = np.ones(len(counted[0])) if read.weights is None else read.weights
    everyone = Division(name="", groups=(ALL_ROWS,), codes=np.zeros(len(weights), np.uint16))
    for division in (everyone, *read.divisions):
        rows = [np.flatnonzero(division.codes == place) for place in range(len(division.groups))]
        pairs = [_pair(counted[0][part], counted[1][part], weights[part]) for part in rows]
        # McNemar's test knows no weights.
        corrected = [None] * len(rows) if read.weights is not None else map(float, holm([p for _, p in pairs]))
        for name, part, (interval, _), p in zip(division.groups, rows, pairs, corrected, strict=True):
            line = {"model": " - ".join(models), "division": division.name, "group": name, "rows": len(part)}
            bounds = {f"{metric}_low": interval.low, f"{metric}_high": interval.high, "p_holm": p}
            yield line | {metric: interval.estimate} | bounds
        yield from _of_extremes(counted, division, (weights, least), {"model": " - ".join(models), "metric": metric})


def _of_extremes(
    counted: Sequence[NDArray[np.bool_]],
    division: Division,
    limits: tuple[NDArray[np.float64], int],
    said: Mapping[str, str],
) -> Iterator[dict[str, Any]]:
    """What the worst group and the gap between groups differ by, over groups that have enough rows."""
    weights, least = limits
    large = (np.bincount(division.codes) >= least)[division.codes]
    if len(np.unique(division.codes[large])) < 2:
        return
    (first, second), codes = (each[large] for each in counted), division.codes[large]
    for name, function in _EXTREMES.items():
        if name == BETWEEN or said["metric"] == "accuracy_difference":
            found = function(first, second, codes, weights=weights[large])
            line = {"model": said["model"], "division": division.name, "group": name, "rows": int(large.sum())}
            bounds = {f"{said['metric']}_low": found.low, f"{said['metric']}_high": found.high, "p_holm": None}
            yield line | {said["metric"]: found.estimate} | bounds


def _pair(first: NDArray[np.bool_], second: NDArray[np.bool_], weights: NDArray[np.float64]) -> tuple[Interval, float]:
    """The difference of two shares over the same rows with its interval, and the p of McNemar's exact test."""
    only = [first & ~second, second & ~first]
    effective = float(weights.sum() ** 2 / (weights**2).sum())
    counts = [float(weights[part].sum() / weights.sum() * effective) for part in only]
    return share_difference(counts[0], counts[1], effective), mcnemar_p(*(int(part.sum()) for part in only))


def _known(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
