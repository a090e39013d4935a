"""Robustness under shift: the line of the baseline, and what each model has over it."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from surefoot.core import SurefootError, agreed, counted
from surefoot.laws._results._checks import check_draws
from surefoot.laws._results._table import Floats
from surefoot.laws._shift._data import AVERAGE, ShiftData
from surefoot.stats import (
    AXES,
    Axis,
    Effective,
    FamilyLines,
    GroupMeans,
    Linearity,
    Lines,
    axis_slope,
    carried_error,
    effective_robustness,
    fit_families,
    fit_lines,
    from_axis,
    group_robustness,
    hinge,
    linearity,
    place_on_axis,
    relative_robustness,
    resample_counts,
    to_axis,
)
from surefoot.tables import Remark, rows_text

MOST_GROUPS_NAMED = 10
ATTENUATION_SAID = 0.05
_FEW_FAMILIES = 6


@dataclass(frozen=True, kw_only=True)
class Variant:
    """The same fit with one choice changed: `kind` is `axis` or `without-family`, `name` which one.

    `slope` and `r2` (S,); `points` (groups, S): mean effective robustness in percentage points, in the order of the
    groups of the fit.
    """

    kind: str
    name: str
    slope: Floats
    r2: Floats
    points: Floats


@dataclass(frozen=True, kw_only=True)
class Relative:
    """Relative robustness of models made from another one: points under each shift, (children, S), with bounds."""

    children: tuple[str, ...]
    parents: tuple[str, ...]
    points: Floats
    low: Floats
    high: Floats


@dataclass(frozen=True, kw_only=True)
class RobustnessFit:
    """Everything that a report of robustness under shift needs; S columns, the average first if there are several.

    `lines`: the baseline's lines on `axis`. `effective`: each model's points over them. `groups`: mean of each group.
    `linearity` (S): tests of a straight line on the baseline, None below 6 points. `families` (S): lines and tests of
    the families, None without families. `variants`: the other axes, and the baseline without each family.
    `relative`: what each model adds to the one it was made from. `remarks`: those of the data and of the fit.
    """

    data: ShiftData
    axis: Axis
    pivot: float | None
    lines: Lines
    effective: Effective
    groups: GroupMeans
    linearity: tuple[Linearity | None, ...]
    families: tuple[FamilyLines, ...] | None
    variants: tuple[Variant, ...]
    relative: Relative
    remarks: tuple[Remark, ...]


def fit_shift(
    data: ShiftData,
    *,
    axis: Axis = "logit",
    pivot: float | None = None,
    replicates: int = 1000,
    level: float = 0.95,
    seed: int = 0,
    cluster: bool = False,
) -> RobustnessFit:
    """Fit the baseline's line under every shift, and measure every model against it.

    On logit (default), probit or linear axes. `pivot` (a fraction of x) bends the line there: a piecewise baseline.
    Intervals of lines and groups come from `replicates` bootstrap samples of models, drawn within baseline and groups,
    or of whole families if `cluster` (lines of fewer than 50 families: CR3 and Student's t, see `fit_lines`); those of
    single models hold their own sampling noise and the line's (see `surefoot.stats.effective_robustness`). Exact 0 and
    1 are moved where n is known, else left out, and said. Raises SurefootError if a pivot is asked for with several
    in-distribution axes, or clusters without families.
    """
    if pivot is not None and data.x.shape[2] > 1:
        raise SurefootError("A piecewise baseline needs a single in-distribution axis.")
    if cluster and not any(data.families):
        raise SurefootError("To draw whole families, name the column of families.")
    if axis not in AXES:
        raise SurefootError(f"An axis is one of {', '.join(AXES)}; got '{axis}'.")
    if pivot is not None and not 0 < pivot < 1:
        raise SurefootError(f"A pivot is a fraction between 0 and 1, for example 0.76; got {pivot}.")
    check_draws(seed, replicates, level)
    counts = _counts(data, replicates, seed, cluster=cluster)
    points = _place(data, axis, pivot)
    families = _clusters(data) if cluster else None
    lines, effective, groups = _fit(data, points, counts, level, families)
    return RobustnessFit(
        data=data,
        axis=axis,
        pivot=pivot,
        lines=lines,
        effective=effective,
        groups=groups,
        linearity=tuple(_linearity(points, data.baseline[:, s], s, replicates, seed) for s in range(len(data.shifts))),
        families=_families(data, points, level),
        variants=tuple(_variants(data, axis, pivot, level)),
        relative=_relative(data, level),
        remarks=(
            *data.remarks,
            *_edge_remarks(data, points),
            *_fit_remarks(data, points, lines, effective),
            *_family_remarks(data, lines, cluster),
        ),
    )


@dataclass(frozen=True)
class _Points:
    """The data on an axis: regressors `x` (models, S, K, or K + 1 if bent) and `y` (models, S)."""

    axis: Axis
    pivot: float | None
    x: Floats
    y: Floats
    moved: NDArray[np.bool_]
    left_out: NDArray[np.bool_]


def _place(data: ShiftData, axis: Axis, pivot: float | None) -> _Points:
    x, y = place_on_axis(data.x, axis, n=data.x_n), place_on_axis(data.y, axis, n=data.y_n)
    if data.shifts[0] == AVERAGE:
        for placed in (x, y):
            # The average is that of its shifts as they are placed: without a model that one of them is without.
            edged = (placed.moved | placed.left_out)[:, 1:].any(axis=1)
            placed.value[:, 0][edged] = to_axis(from_axis(placed.value[:, 1:], axis).mean(axis=1), axis)[edged]
    bend = None if pivot is None else float(to_axis(pivot, axis))
    return _Points(
        axis,
        bend,
        x.value if bend is None else hinge(x.value[:, :, 0], bend),
        y.value,
        x.moved.any(axis=2) | y.moved,
        x.left_out.any(axis=2) | y.left_out,
    )


def _fit(
    data: ShiftData, points: _Points, counts: Floats, level: float, clusters: NDArray[np.str_] | None = None
) -> tuple[Lines, Effective, GroupMeans]:
    lines = fit_lines(points.x, points.y, baseline=data.baseline, counts=counts, clusters=clusters, level=level)
    placed = np.where(np.isnan(points.y), np.nan, data.y)
    effective = effective_robustness(
        points.x, placed, lines, axis=points.axis, carried=_carried(data, points, lines), y_stderr=data.y_stderr
    )
    groups = group_robustness(
        points.x, placed, lines, effective, data.groups, counts=counts, clusters=clusters, axis=points.axis
    )
    return lines, effective, groups


def _carried(data: ShiftData, points: _Points, lines: Lines) -> Floats:
    """The error of x carried to the line; beyond a pivot both slopes act on one and the same x."""
    stderr = np.nan_to_num(data.x_stderr)
    if points.pivot is None:
        return carried_error(data.x, stderr, lines, axis=points.axis)
    slope = lines.coefficients[:, 1] + lines.coefficients[:, 2] * (points.x[:, :, 0] > points.pivot)
    speed = axis_slope(np.clip(data.x[:, :, 0], 1e-9, 1 - 1e-9), points.axis)
    return np.abs(slope) * stderr[:, :, 0] * speed


def _counts(data: ShiftData, replicates: int, seed: int, *, cluster: bool) -> Floats:
    """Bootstrap counts (B, models): drawn within baseline and group, or family by family."""
    if cluster:
        return resample_counts(len(data.models), replicates, seed=seed, clusters=_clusters(data))
    inside = np.where(data.baseline.any(axis=1), "in|", "out|")
    strata = np.char.add(inside, np.array(data.groups))
    counts = np.zeros((replicates, len(strata)))
    for place, stratum in enumerate(np.unique(strata)):
        members = np.flatnonzero(strata == stratum)
        counts[:, members] = resample_counts(len(members), replicates, seed=seed + place)
    return counts


def _clusters(data: ShiftData) -> NDArray[np.str_]:
    """The family of each model; one without is a family of its own."""
    return np.array([name or f"\0{place}" for place, name in enumerate(data.families)])


def _linearity(points: _Points, fitted: NDArray[np.bool_], column: int, replicates: int, seed: int) -> Linearity | None:
    x, y = points.x[fitted, column, 0], points.y[fitted, column]
    known = np.isfinite(x) & np.isfinite(y)
    if known.sum() < 6 or np.ptp(x[known]) == 0:
        return None
    return linearity(x, y, pivot=points.pivot, replicates=replicates, seed=seed)


def _families(data: ShiftData, points: _Points, level: float) -> tuple[FamilyLines, ...] | None:
    if not any(data.families) or points.x.shape[2] > 1:
        return None
    columns = range(len(data.shifts))
    return tuple(fit_families(points.x[:, s, 0], points.y[:, s], data.families, level=level) for s in columns)


def _variants(data: ShiftData, axis: Axis, pivot: float | None, level: float) -> Iterator[Variant]:
    """The fit on the other axes, and with each family of the baseline taken out of it."""
    for other in AXES:
        if other != axis:
            yield _variant("axis", other, data, _place(data, other, pivot), level)
    points = _place(data, axis, pivot)
    labels = np.array(data.families)
    families = np.unique(labels[data.baseline.any(axis=1) & (labels != "")]).tolist()
    for family in families if len(families) > 1 else ():
        kept = data.baseline & (labels != family)[:, None]
        yield _variant("without-family", family, replace(data, baseline=kept), points, level)


def _variant(kind: str, name: str, data: ShiftData, points: _Points, level: float) -> Variant:
    lines, _, groups = _fit(data, points, np.ones((1, len(data.models))), level)
    return Variant(kind=kind, name=name, slope=lines.coefficients[:, 1], r2=lines.r2, points=groups.points)


def _relative(data: ShiftData, level: float) -> Relative:
    children = [place for place, parent in enumerate(data.parents) if parent]
    parents = [data.models.index(data.parents[place]) for place in children]
    points, low, high = relative_robustness(
        data.y[children],
        data.y[parents],
        after_stderr=data.y_stderr[children],
        before_stderr=data.y_stderr[parents],
        level=level,
    )
    names = [tuple(data.models[place] for place in places) for places in (children, parents)]
    return Relative(children=names[0], parents=names[1], points=points, low=low, high=high)


def _edge_remarks(data: ShiftData, points: _Points) -> Iterator[Remark]:
    moved = "moved by half an example, as n is known"
    left_out = "left out, there and of the average, as n is not known: give it to keep them"
    for code, marks, what in (
        ("exact-0-or-1-moved", points.moved, moved),
        ("exact-0-or-1-left-out", points.left_out, left_out),
    ):
        if marks.any():
            row, column = (places.tolist() for places in np.where(marks))
            named = [f"{data.models[i]} on {data.shifts[j]}" for i, j in zip(row[:4], column[:4], strict=True)]
            rows = tuple(sorted({data.rows[i] for i in row}))
            message = (
                f"Of the accuracies {len(row)} {agreed(len(row), 'are')} exactly 0 or 1, with no place on a "
                f"{points.axis} axis: {what}: {'; '.join(named)}{' ...' if len(row) > 4 else ''} ({rows_text(rows)})."
            )
            yield Remark(code=code, severity="note" if what is moved else "warning", message=message, rows=rows)


def _fit_remarks(data: ShiftData, points: _Points, lines: Lines, effective: Effective) -> Iterator[Remark]:
    if lost := [name for name, slope in zip(data.shifts, lines.coefficients[:, 1], strict=True) if np.isnan(slope)]:
        bent = "" if points.pivot is None else " on a side of the pivot"
        message = f"No line: too few baseline models, or no spread in x{bent}, under {', '.join(map(repr, lost[:8]))}."
        yield Remark(code="no-line", severity="warning", message=message)
    yield from _extrapolated(data, effective)
    yield from _attenuated(data, points)
    few = int(lines.n[lines.n > 0].min(initial=10))
    if few < 10:
        message = f"The smallest baseline holds {counted(few, 'model')}: read its intervals before its estimates."
        yield Remark(code="few-baseline-models", severity="warning", message=message)


def _family_remarks(data: ShiftData, lines: Lines, cluster: bool) -> Iterator[Remark]:
    """Of whole families, how few the smallest baseline has; else that models of one family count as independent."""
    names = _clusters(data)
    if not cluster and len(set(names)) < len(data.families):
        message = "Models of one family count as independent: with --cluster intervals are over whole families."
        yield Remark(code="families-not-clustered", severity="note", message=message)
    sizes = [len(set(names[fitted])) for fitted in (data.baseline & np.isfinite(data.y)).T if fitted.any()]
    few = min(sizes, default=_FEW_FAMILIES) if cluster else _FEW_FAMILIES
    if few < _FEW_FAMILIES:
        line = "one degree of freedom less" if few > 1 else "no interval"
        groups = "" if few > 2 else ", and means of groups have no interval"
        message = f"The smallest baseline holds {counted(few, 'family')}: its line has {line}{groups}."
        yield Remark(code="few-families", severity="warning", message=message)


def _extrapolated(data: ShiftData, effective: Effective) -> Iterator[Remark]:
    """Which groups have models beyond the baseline's range: one sentence each, or one for all if they are many."""
    labels = np.array(data.groups)
    beyond: dict[str, tuple[int, int]] = {}
    for group in dict.fromkeys(data.groups):
        chosen = labels == group
        size, outside = (int(np.isfinite(effective.points[chosen, 0]).sum()), int(effective.outside[chosen, 0].sum()))
        if outside:
            beyond[group] = (size - outside, size)
    if len(beyond) > MOST_GROUPS_NAMED:
        whole = [group for group, (inside, _) in beyond.items() if not inside]
        listed = ", ".join(map(repr, whole[:4])) + (", ..." if len(whole) > 4 else "")
        message = (
            f"{len(beyond)} groups have models beyond the baseline's range of x, where the line is extrapolated; "
            f"{len(whole)} of them {agreed(len(whole), 'lie')} beyond it entirely{f' ({listed})' if whole else ''}."
        )
        yield Remark(code="extrapolated", severity="warning", message=message)
        return
    for group, (inside, size) in beyond.items():
        rest = "all of them" if inside == 0 else "the others" if size - inside > 1 else "the other"
        message = (
            f"Group '{group}': {inside} of {counted(size, 'model')} {agreed(inside, 'lie')} inside the baseline's "
            f"range of x; the line is extrapolated for {rest}."
        )
        yield Remark(code="extrapolated", severity="warning", message=message)


def _attenuated(data: ShiftData, points: _Points) -> Iterator[Remark]:
    """Shifts whose x is so noisy that the slope is pulled to zero: noise is this share of the variance of x or more."""
    error = np.nan_to_num(data.x_stderr) * axis_slope(np.clip(data.x, 1e-9, 1 - 1e-9), points.axis)
    x = place_on_axis(data.x, points.axis, n=data.x_n).value
    names, shares = [], []
    for column, shift in enumerate(data.shifts):
        known = data.baseline[:, column] & np.isfinite(x[:, column]).all(axis=1)
        if known.sum() > 2:
            spread = np.maximum(x[known, column].var(axis=0), 1e-12)
            share = float(((error[known, column] ** 2).mean(axis=0) / spread).max())
            if share >= ATTENUATION_SAID:
                names.append(shift)
                shares.append(share)
    if names:
        message = (
            f"Sampling noise is up to {100 * max(shares):.0f} % of the variance of x in the baseline "
            f"({', '.join(names[:4])}{', ...' if len(names) > 4 else ''}): slopes are too flat by about that share."
        )
        yield Remark(code="noisy-axis", severity="warning", message=message)
