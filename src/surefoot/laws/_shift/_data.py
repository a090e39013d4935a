"""Which accuracies make up a robustness line: axes, shifts, baseline, groups; and what is wrong with the choice."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from surefoot.core import SurefootError, agreed, counted
from surefoot.laws._results._checks import check_once, find_aggregates
from surefoot.laws._results._table import Floats, check_groups, meets
from surefoot.laws._shift._accuracies import Accuracies
from surefoot.laws._shift._known_sets import is_error, is_matched_axis, known_set, matched_axis
from surefoot.stats import rank_agreement, t_p_value
from surefoot.tables import Remark, alike

AVERAGE = "average"


@dataclass(frozen=True, kw_only=True)
class ShiftData:
    """Accuracies in distribution and under each shift, ready to fit; fractions, NaN where missing.

    `x`, `x_stderr`, `x_n` (models, S, K): K in-distribution axes, which may differ between shifts (`x_names`, S of K).
    `y`, `y_stderr`, `y_n` (models, S). `baseline` (models, S): who is fitted. `groups` and `families` (models,).
    `parents` (models,): the model that each was made from, empty where there is none. `left_out` are the columns that
    are no shifts unasked, with the reason.
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
    left_out: Mapping[str, str]


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

    `x` names one or several in-distribution sets, `shifts` the others. By default all but averages of others, x axes
    restricted to some classes and, of columns that nobody named, those that are constant, in another unit than x, or
    do not rise with x; all are said. Shifts that are named stay, and those that fall with x are said. `baseline` are
    conditions that must all hold, `column=pattern` or `column!=pattern`, where the column is a label or `model` and the
    pattern may hold `*`; `baseline_above` is the lowest x, a fraction, on the axis of that shift. `group` and
    `family` are labels; `parent` is one that names the model which each was made from, for relative robustness.

    Where a shift holds a subset of the classes and the scores have the matching x axis, that axis takes the place of
    the (one) x, unless `matched` is false. Either way, and where there is no such axis, a remark says it.
    Raises SurefootError for names that are not there and for a baseline of fewer than three models.
    """
    axes = (x,) if isinstance(x, str) else tuple(x)
    check_once(scores.source, *axes, *shifts)
    for name in (*axes, *shifts):
        _check_set(scores, name)
    chosen, left_out = (tuple(shifts), {}) if shifts else _all_shifts(scores, axes)
    remarks = (*_aggregates(scores, shifts or scores.sets), *_left_out_remarks(left_out))
    x_names, said = _x_names(scores, axes, chosen, matched=matched)
    places = np.array([[scores.sets.index(name) for name in names] for names in x_names])
    columns = [scores.sets.index(name) for name in chosen]
    member, never = meets(baseline, lambda column: _labels(scores, column, []), len(scores.models), scores.source)
    said = (*said, *never)
    if not baseline:
        message = (
            "No baseline is named: the line is fitted on all models, so it cannot say what is beyond the ordinary."
        )
        said = (*said, Remark(code="no-baseline", severity="warning", message=message))
    named = {name: _labels(scores, name, ()) for name in (group, family) if name}
    for name, labels in named.items():
        check_groups(scores.source, name, labels, scores.rows)
    twice = [remark for name, labels in named.items() for remark in alike(name, labels)]
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
        remarks=(*scores.remarks, *remarks, *_chosen_remarks(scores, axes, chosen), *said, *twice),
        left_out=left_out,
    )
    return _with_average(_restricted(data, baseline_above))


def _check_set(scores: Accuracies, name: str) -> None:
    if name not in scores.sets:
        known = ", ".join(repr(known) for known in scores.sets[:40])
        raise SurefootError(f"{scores.source} has no accuracies on '{name}'. It has: {known}.")


def _all_shifts(scores: Accuracies, axes: Sequence[str]) -> tuple[tuple[str, ...], dict[str, str]]:
    """The sets beside the axes that are shifts as far as can be known unasked, and why others are left out."""
    averages = {name for each in _aggregates(scores, scores.sets) for name in each.columns}
    reasons: dict[str, str] = {}
    for place, name in enumerate(scores.sets):
        if name in averages:
            reasons[name] = "averages of other sets"
        elif is_matched_axis(name):
            reasons[name] = "x axes on some of the classes"
        elif np.isnan(scores.values[:, place]).all():
            reasons[name] = "no model has a value there"
        elif name in scores.guessed:
            reasons[name] = _doubt(scores, name, axes)
    left_out = {name: why for name, why in reasons.items() if why and name not in axes} | dict(scores.left_out)
    chosen = tuple(name for name in scores.sets if name not in (*axes, *left_out))
    if not chosen:
        raise SurefootError(
            f"{scores.source} has no column beside {', '.join(map(repr, axes))} that is surely a shift: name them with "
            f"--shifts.{''.join(f' {each.message}' for each in _left_out_remarks(left_out))}"
        )
    return chosen, left_out


def _doubt(scores: Accuracies, name: str, axes: Sequence[str]) -> str:
    """Why a column that nobody named is no accuracy under a shift, as its values say; '' where they may be that."""
    values = scores.values[:, scores.sets.index(name)]
    if np.nanmin(values) == np.nanmax(values):
        return "constant"
    if scores.guessed[name] not in {scores.guessed[axis] for axis in axes}:
        return "in another unit than x"
    rho, n = _follows(scores, name, axes)
    chance = n >= 10 and t_p_value(rho, ((1 - rho**2) / (n - 2)) ** 0.5, n - 2) > 0.1
    return "not rising with x: an error, a cost, or nothing that follows it" if rho <= 0 or chance else ""


def _follows(scores: Accuracies, name: str, axes: Sequence[str]) -> tuple[float, int]:
    """The highest rank correlation of a set with an x axis (NaN where there is none), and how many models it is of."""
    both = scores.values[:, [scores.sets.index(each) for each in (name, *axes)]]
    n = int(np.isfinite(both).all(axis=1).sum())
    return float(np.max(rank_agreement(both)[0, 1:])) if n > 2 else np.nan, n


def _left_out_remarks(left_out: Mapping[str, str]) -> tuple[Remark, ...]:
    """One remark a reason."""
    return tuple(
        Remark(
            code="left-out",
            severity="warning",
            message=f"Left out of the shifts: {', '.join(map(repr, names))} ({why}).",
            columns=tuple(names),
        )
        for why in dict.fromkeys(left_out.values())
        if (names := [name for name, each in left_out.items() if each == why])
    )


def _chosen_remarks(scores: Accuracies, axes: Sequence[str], shifts: Sequence[str]) -> Iterator[Remark]:
    """Which shifts were chosen unasked, which fall where x rises, and what is named as an error."""
    if errors := tuple(filter(is_error, (*axes, *shifts))):
        message = f"Read as accuracies, though named as errors: {', '.join(map(repr, errors))}. Give 1 less the error."
        yield Remark(code="errors", severity="warning", message=message, columns=errors)
    if scores.guessed:
        message = f"Taken as shifts: {', '.join(map(repr, shifts))}; --shifts names others."
        yield Remark(code="shifts", severity="note", message=message, columns=tuple(shifts))
    for name in shifts:
        rho, _ = _follows(scores, name, axes)
        if rho < 0:
            message = f"'{name}' falls where x rises (rank correlation {rho:.2f}): is it an error or a cost?"
            yield Remark(code="falls-with-x", severity="warning", message=message, columns=(name,))


def _aggregates(scores: Accuracies, names: Sequence[str]) -> tuple[Remark, ...]:
    """Averages among these sets: those that the user named stay, and are said, if their parts may be there too."""
    places = [scores.sets.index(name) for name in names]
    return find_aggregates(names, scores.values[:, places]) if len(names) > 1 else ()


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


def _labels(scores: Accuracies, column: str | None, default: Sequence[str]) -> tuple[str, ...]:
    if column is None:
        return tuple(default)
    if column in scores.labels:
        return scores.labels[column]
    if column == "model":
        return scores.models
    known = ", ".join(map(repr, dict.fromkeys(("model", *scores.labels))))
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
            f"The baseline holds {largest} of {counted(len(data.models), 'model')} of {data.source}; "
            "a line needs three or more."
        )
    if len(data.shifts) < 2:
        return data
    n_shifts = len(data.shifts)
    lacking = int(np.isnan(data.y).any(axis=1).sum())
    remarks = data.remarks
    if lacking:
        message = (
            f"{lacking} of {counted(len(data.models), 'model')} {agreed(lacking, 'lack')} one of {n_shifts} shifts: "
            "without an average, but with the other shifts."
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
        # Axes of several shifts are one measurement, or nearly: no average of independent ones.
        "x_stderr": mean(data.x_stderr),
        "x_n": np.concatenate([data.x_n.min(axis=1, keepdims=True), data.x_n], axis=1),
        "y": mean(data.y),
        "y_stderr": mean_error(data.y_stderr),
        "y_n": np.concatenate([data.y_n.sum(axis=1, keepdims=True), data.y_n], axis=1),
    }
    average_axes = data.x_names[0] if shared else ("mean of the x axes",)
    return replace(
        data, shifts=(AVERAGE, *data.shifts), x_names=(average_axes, *data.x_names), remarks=remarks, **extra
    )
