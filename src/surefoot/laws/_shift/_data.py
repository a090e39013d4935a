"""Which accuracies make up a robustness line: axes, shifts, baseline, groups; and what is wrong with the choice."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from surefoot.core import SurefootError
from surefoot.laws._results._checks import aggregate_names, find_aggregates
from surefoot.laws._results._table import Floats, meets
from surefoot.laws._shift._accuracies import Accuracies
from surefoot.laws._shift._known_sets import is_matched_axis, known_set, matched_axis
from surefoot.tables import Remark

AVERAGE = "average"


@dataclass(frozen=True, kw_only=True)
class ShiftData:
    """Accuracies in distribution and under each shift, ready to fit; fractions, NaN where missing.

    `x`, `x_stderr`, `x_n` (models, S, K): K in-distribution axes, which may differ between shifts (`x_names`, S of K).
    `y`, `y_stderr`, `y_n` (models, S). `baseline` (models, S): who is fitted. `groups` and `families` (models,).
    `parents` (models,): the model that each was made from, empty where there is none.
    With more than one shift the first column is their average, for the models that have them all.
    """

    source: str
    models: tuple[str, ...]
    rows: tuple[int, ...]
    shifts: tuple[str, ...]
    x_names: tuple[tuple[str, ...], ...]
    x: Floats
    x_stderr: Floats
    x_n: Floats
    y: Floats
    y_stderr: Floats
    y_n: Floats
    baseline: NDArray[np.bool_]
    groups: tuple[str, ...]
    families: tuple[str, ...]
    parents: tuple[str, ...]
    remarks: tuple[Remark, ...]


def shift_data(
    scores: Accuracies,
    *,
    x: str | Sequence[str],
    shifts: Sequence[str] = (),
    baseline: Sequence[str] = (),
    baseline_above: float = 0.0,
    group: str | None = None,
    family: str | None = None,
    parent: str | None = None,
    matched: bool = True,
) -> ShiftData:
    """Choose axes, shifts and baseline among the scores.

    `x` names one or several in-distribution sets, `shifts` the others (by default all but averages of others and x
    axes restricted to some classes; both are said). `baseline` are conditions that must all hold, `column=pattern` or
    `column!=pattern`, where the column is a label or `model` and the pattern may hold `*`; `baseline_above` is the
    lowest x, a fraction, on the axis of that shift. `group` and `family` are labels;
    `parent` is one that names the model which each was made from, for relative robustness.

    Where a shift holds a subset of the classes and the scores have the matching x axis, that axis takes the place of
    the (one) x, unless `matched` is false. Either way, and where there is no such axis, a remark says it.
    Raises SurefootError for names that are not there and for a baseline of fewer than three models.
    """
    axes = (x,) if isinstance(x, str) else tuple(x)
    for name in (*axes, *shifts):
        _check_set(scores, name)
    chosen, remarks = (tuple(shifts), _named_aggregates(scores, shifts)) if shifts else _all_shifts(scores, axes)
    x_names, said = _x_names(scores, axes, chosen, matched=matched)
    places = np.array([[scores.sets.index(name) for name in names] for names in x_names])
    columns = [scores.sets.index(name) for name in chosen]
    member = _baseline(scores, baseline)
    if not baseline:
        message = (
            "No baseline is named: the line is fitted on all models, so it cannot say what is beyond the ordinary."
        )
        said = (*said, Remark(code="no-baseline", severity="warning", message=message))
    data = ShiftData(
        source=scores.source,
        models=scores.models,
        rows=scores.rows,
        shifts=chosen,
        x_names=x_names,
        x=scores.values[:, places],
        x_stderr=scores.stderr[:, places],
        x_n=scores.n[:, places],
        y=scores.values[:, columns],
        y_stderr=scores.stderr[:, columns],
        y_n=scores.n[:, columns],
        baseline=np.repeat(member[:, None], len(chosen), axis=1),
        groups=_labels(scores, group, np.where(member, "baseline", "other").tolist()),
        families=_labels(scores, family, [""] * len(scores.models)),
        parents=_parents(scores, parent),
        remarks=(*scores.remarks, *remarks, *said),
    )
    return _with_average(_restricted(data, baseline_above))


def _check_set(scores: Accuracies, name: str) -> None:
    if name not in scores.sets:
        known = ", ".join(repr(known) for known in scores.sets[:40])
        raise SurefootError(f"{scores.source} has no accuracies on '{name}'. It has: {known}.")


def _all_shifts(scores: Accuracies, axes: Sequence[str]) -> tuple[tuple[str, ...], tuple[Remark, ...]]:
    remarks = find_aggregates(scores.sets, scores.values)
    averages = set(aggregate_names(remarks)) - set(axes)
    restricted = [name for name in scores.sets if is_matched_axis(name) and name not in axes]
    measured = np.isfinite(scores.values).sum(axis=0)
    empty = [name for place, name in enumerate(scores.sets) if measured[place] == 0]
    chosen = tuple(name for name in scores.sets if name not in {*axes, *averages, *restricted, *empty})
    if not chosen:
        raise SurefootError(f"{scores.source} has no shift beside {', '.join(map(repr, axes))}.")
    if restricted:
        message = f"Not taken as shifts, but as x axes on some of the classes: {', '.join(map(repr, restricted))}."
        remarks = (*remarks, Remark(code="matched-axes", severity="note", message=message))
    if empty:
        message = f"Left out, as no model has a value there: {', '.join(map(repr, empty))}."
        remarks = (*remarks, Remark(code="empty-sets", severity="warning", message=message))
    if averages:
        message = f"Left out as averages of other sets: {', '.join(map(repr, sorted(averages)))}."
        remarks = (*remarks, Remark(code="aggregates-left-out", severity="note", message=message))
    return chosen, remarks


def _named_aggregates(scores: Accuracies, shifts: Sequence[str]) -> tuple[Remark, ...]:
    """Averages among the shifts that the user named: they stay, and are said, if their parts may be there too."""
    if len(shifts) < 2:
        return ()
    places = [scores.sets.index(name) for name in shifts]
    return find_aggregates(shifts, scores.values[:, places])


def _x_names(
    scores: Accuracies, axes: tuple[str, ...], shifts: Sequence[str], *, matched: bool
) -> tuple[tuple[tuple[str, ...], ...], tuple[Remark, ...]]:
    names, remarks = [], []
    for shift in shifts:
        known, better = known_set(shift), matched_axis(shift, scores.sets)
        subset = known is not None and known.classes is not None and not any(map(is_matched_axis, axes))
        use = subset and matched and better is not None and len(axes) == 1
        names.append((better,) if use and better else axes)
        if subset and known:
            remarks.append(_subset_remark(shift, axes, better, known.classes or 0, used=use))
    return tuple(names), tuple(remarks)


def _subset_remark(shift: str, axes: Sequence[str], better: str | None, classes: int, *, used: bool) -> Remark:
    if used:
        message = f"'{shift}' holds {classes} classes: its x axis is '{better}', not {' and '.join(map(repr, axes))}."
        return Remark(code="subset-classes-matched", severity="note", message=message)
    remedy = f"use '{better}' as x" if better else "measure x on the same classes"
    message = (
        f"'{shift}' holds {classes} classes, but x ({', '.join(axes)}) is over all classes: effective robustness is "
        f"not comparable and mostly overstated (CLIP ViT-B/32 on ObjectNet: +23.7 points instead of +18.1); {remedy}."
    )
    return Remark(code="subset-classes", severity="warning", message=message)


def _baseline(scores: Accuracies, conditions: Sequence[str]) -> NDArray[np.bool_]:
    return meets(conditions, lambda column: _labels(scores, column, []), len(scores.models), scores.source)


def _labels(scores: Accuracies, column: str | None, default: Sequence[str]) -> tuple[str, ...]:
    if column is None:
        return tuple(default)
    if column in scores.labels:
        return scores.labels[column]
    if column == "model":
        return scores.models
    known = ", ".join(repr(name) for name in ("model", *scores.labels))
    raise SurefootError(f"{scores.source} has no label '{column}' with one value a model. It has: {known}.")


def _parents(scores: Accuracies, column: str | None) -> tuple[str, ...]:
    parents = _labels(scores, column, [""] * len(scores.models))
    lost = [(name, row) for name, row in zip(parents, scores.rows, strict=True) if name and name not in scores.models]
    if lost:
        raise SurefootError(
            f"{scores.source}, row {lost[0][1]}: '{lost[0][0]}', named in '{column}', is no model here."
        )
    return parents


def _restricted(data: ShiftData, lowest: float) -> ShiftData:
    """Baseline models below `lowest` on the axis of a shift are taken out of its baseline."""
    if not 0 <= lowest < 1:
        raise SurefootError(f"The lowest x of the baseline is a fraction from 0 to 1, for example 0.55; got {lowest}.")
    if not lowest:
        return data
    with np.errstate(invalid="ignore"):
        kept = data.baseline & (data.x >= lowest).all(axis=2)
    dropped = data.baseline.sum(axis=0) - kept.sum(axis=0)
    taken = f"{dropped.min()} to {dropped.max()} a shift"
    message = f"Models below x = {100 * lowest:g} % are taken out of the baseline: {taken}."
    note = Remark(code="baseline-range", severity="note", message=message)
    return replace(data, baseline=kept, remarks=(*data.remarks, note))


def _with_average(data: ShiftData) -> ShiftData:
    largest = int(data.baseline.sum(axis=0).max())
    if largest < 3:
        raise SurefootError(
            f"The baseline holds {largest} of {len(data.models)} models of {data.source}; a line needs three or more."
        )
    if len(data.shifts) < 2:
        return data
    n_shifts = len(data.shifts)
    lacking = int(np.isnan(data.y).any(axis=1).sum())
    remarks = data.remarks
    if lacking:
        message = (
            f"{lacking} of {len(data.models)} models lack one of the {n_shifts} shifts and have no average; "
            f"under each shift alone they are counted."
        )
        remarks = (*remarks, Remark(code="incomplete-average", severity="warning", message=message))

    def mean(values: Floats) -> Floats:
        return np.concatenate([values.mean(axis=1, keepdims=True), values], axis=1)

    def mean_error(errors: Floats) -> Floats:
        joint = np.sqrt((errors**2).sum(axis=1, keepdims=True)) / n_shifts
        return np.concatenate([joint, errors], axis=1)

    shared = len(set(data.x_names)) == 1
    extra: dict[str, Any] = {
        "baseline": np.concatenate([data.baseline.all(axis=1, keepdims=True), data.baseline], axis=1),
        "x": mean(data.x),
        # One axis for all shifts is one measurement, not an average of independent ones.
        "x_stderr": np.concatenate([data.x_stderr[:, :1], data.x_stderr], axis=1) if shared else mean(data.x_stderr),
        "x_n": np.concatenate([data.x_n.min(axis=1, keepdims=True), data.x_n], axis=1),
        "y": mean(data.y),
        "y_stderr": mean_error(data.y_stderr),
        "y_n": np.concatenate([data.y_n.sum(axis=1, keepdims=True), data.y_n], axis=1),
    }
    average_axes = data.x_names[0] if shared else ("mean of the x axes",)
    return replace(
        data, shifts=(AVERAGE, *data.shifts), x_names=(average_axes, *data.x_names), remarks=remarks, **extra
    )
