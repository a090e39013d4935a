"""Accuracies of models on evaluation sets, from a wide table, a long table, or Measurements."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import inf

import numpy as np

from surefoot.core import Measurement, SurefootError, counted
from surefoot.laws._results._checks import ShareUnit, as_fractions, check_keys, drop_repeated, pivot_scores
from surefoot.laws._results._table import (
    LARGEST_CELLS,
    Floats,
    ResultTable,
    is_numeric,
    keep_rows,
    number_remarks,
    numbers_of,
    text_of,
)
from surefoot.laws._shift._known_sets import known_set, matched_axis, no_accuracy
from surefoot.stats import binomial_stderr, t_quantile
from surefoot.tables import Remark, rows_text

MODEL_COLUMNS = ("model", "model_name", "model_fullname", "name", "Model", "Name")


@dataclass(frozen=True, kw_only=True)
class Accuracies:
    """Accuracies (fractions) of models on evaluation sets, `values` (models, sets), NaN where not measured.

    `stderr` and `n` have the same shape, NaN where not known. `rows` is the first row of each model in its file.
    `labels` are the text columns that have one value a model. `guessed` are the sets that nobody named, with whether
    they are in percent, and `left_out` the columns of numbers that are none, with the reason.
    """

    source: str
    models: tuple[str, ...]
    sets: tuple[str, ...]
    values: Floats
    stderr: Floats
    n: Floats
    rows: tuple[int, ...]
    labels: Mapping[str, tuple[str, ...]]
    remarks: tuple[Remark, ...] = ()
    guessed: Mapping[str, bool] = field(default_factory=dict)
    left_out: Mapping[str, str] = field(default_factory=dict)


def wide_accuracies(
    table: ResultTable,
    *,
    model: Sequence[str] = (),
    sets: Sequence[str] = (),
    axes: Sequence[str] = (),
    unit: ShareUnit = "auto",
    n: Mapping[str, int] | None = None,
) -> Accuracies:
    """Accuracies of a table with one row a model and one column an evaluation set.

    `model` are the columns that name a model (recognised if empty), `sets` the columns of accuracies; x axes on the
    classes of a set come along. By default every column of numbers between 0 and 100 is taken, unless its
    name says that it is something else (parameters, year, epoch) and it is none of `axes`; `shift_data` says which.
    Single cells outside are missing, and named with their rows. `n` gives examples a set; sets that are known by name
    get their published size.
    Raises SurefootError for models that appear twice with different values.
    """
    keys, said = _model_columns(table, model)
    checks = check_keys(table, keys)
    _refuse_clashes(checks, table, keys)
    kept = keep_rows(table, drop_repeated(table))
    names, left_out = (_with_matched(sets, list(table.columns)), {}) if sets else _score_columns(kept, keys, axes)
    written = number_remarks(kept, names)
    kept, outliers = _without_outliers(kept, names)
    fractions, units = as_fractions(kept, names, unit=unit)
    values = np.column_stack([fractions[name] for name in names])
    size, sizes = _sizes(names, n or {})
    labels = {name: tuple(text_of(kept, name).tolist()) for name in kept.columns if name not in names}
    return Accuracies(
        source=table.source,
        models=_joined(kept, keys),
        sets=tuple(names),
        values=values,
        stderr=binomial_stderr(values, size),
        n=np.broadcast_to(size, values.shape),
        rows=tuple(kept.rows.tolist()),
        labels=labels,
        remarks=(*table.remarks, *said, *checks, *written, *outliers, *units, *sizes),
        guessed={}
        if sets
        else {name: bool(np.nanmax(numbers_of(kept, name)) > np.nanmax(fractions[name])) for name in names},
        left_out=left_out,
    )


def long_accuracies(
    table: ResultTable,
    *,
    task: str,
    value: str,
    model: Sequence[str] = (),
    unit: ShareUnit = "auto",
    n: Mapping[str, int] | str | None = None,
    half_widths: Sequence[str] = (),
) -> Accuracies:
    """Accuracies of a table with one row a model and evaluation set.

    `n` may also name the column of examples. `half_widths` are the columns (one, or lower and upper) with the half
    width of a 95 percent interval, in the unit of `value`; they take the place of `n`. Otherwise as `wide_accuracies`.
    """
    keys, said = _model_columns(table, model)
    checks = check_keys(table, (*keys, task))
    kept = keep_rows(table, drop_repeated(table))
    names = np.array(_joined(kept, keys))
    fractions, units = as_fractions(kept, [value], unit=unit)
    tasks, spelling = _one_spelling(table.source, text_of(kept, task))
    columns = {"model": names, "task": tasks, "value": fractions[value]}
    unknown: tuple[Remark, ...] = ()
    if half_widths:
        scale = 100.0 if np.nanmax(numbers_of(kept, value)) > np.nanmax(fractions[value]) else 1.0
        half, unknown = _half_widths(kept, value, half_widths, scale)
        columns["error"] = half / t_quantile(0.95, inf)
    if isinstance(n, str):
        columns["n"] = _examples(kept, n)
    flat = ResultTable(source=table.source, columns=columns, rows=kept.rows)
    models, sets, values, _ = pivot_scores(flat, model="model", task="task", value="value")
    if half_widths:
        stderr = pivot_scores(flat, model="model", task="task", value="error")[2]
        size, sizes = np.full(len(sets), np.nan), unknown
    elif isinstance(n, str):
        size, sizes = pivot_scores(flat, model="model", task="task", value="n")[2], ()
        stderr = binomial_stderr(values, size)
    else:
        size, sizes = _sizes(sets, n or {})
        stderr = binomial_stderr(values, size)
    first = [int(np.flatnonzero(names == name)[0]) for name in models]
    labels, differing = _labels_of_models(kept, names, models)
    return Accuracies(
        source=table.source,
        models=models,
        sets=sets,
        values=values,
        stderr=stderr,
        n=np.broadcast_to(size, values.shape),
        rows=tuple(int(kept.rows[place]) for place in first),
        labels=labels,
        remarks=(*table.remarks, *said, *checks, *spelling, *differing, *units, *sizes),
    )


def measured_accuracies(
    models: Mapping[str, Sequence[Measurement]],
    *,
    metric: str = "accuracy",
    labels: Mapping[str, Sequence[str]] | None = None,
) -> Accuracies:
    """Accuracies from the Measurements of each model: one set for each task and shift (`task` or `task/shift`).

    Replicates are averaged, their n and the weight of their errors added. Measurements of a group are left out.
    `labels` name one value a model, in the order of `models`, to choose baseline and groups by.
    """
    found: dict[tuple[str, str], list[Measurement]] = {}
    for model, measurements in models.items():
        for measurement in measurements:
            if measurement.metric == metric and not measurement.group:
                name = "/".join(part for part in (measurement.task, measurement.shift) if part)
                found.setdefault((model, name), []).append(measurement)
    if not found:
        raise SurefootError(f"No model of {len(models)} has a measurement of '{metric}'.")
    sets = tuple(dict.fromkeys(name for _, name in found))
    shape = (len(models), len(sets))
    values, stderr, n = np.full(shape, np.nan), np.full(shape, np.nan), np.full(shape, np.nan)
    order = {model: place for place, model in enumerate(models)}
    for (model, name), items in found.items():
        cell = order[model], sets.index(name)
        values[cell] = np.mean([item.value for item in items])
        n[cell] = sum(item.n for item in items)
        known = [item.stderr for item in items if item.stderr is not None]
        if len(known) == len(items):
            stderr[cell] = np.sqrt(np.sum(np.square(known))) / len(items)
    if np.nanmin(values) < 0 or np.nanmax(values) > 1:
        raise SurefootError(f"Measurements of '{metric}' must be fractions from 0 to 1; {np.nanmax(values):g} is not.")
    return Accuracies(
        source="measurements",
        models=tuple(models),
        sets=sets,
        values=values,
        stderr=np.where(np.isnan(stderr), binomial_stderr(values, n), stderr),
        n=n,
        rows=tuple(range(1, len(models) + 1)),
        labels={name: tuple(values) for name, values in (labels or {}).items()},
    )


def _model_columns(table: ResultTable, model: Sequence[str]) -> tuple[tuple[str, ...], tuple[Remark, ...]]:
    if model:
        for name in model:
            text_of(table, name)
        return tuple(model), ()
    known = next((name for name in MODEL_COLUMNS if name in table.columns), None)
    texts = [name for name, cells in table.columns.items() if not is_numeric(cells)]
    chosen = known or (texts[0] if texts else None)
    if chosen is None:
        raise SurefootError(f"{table.source} has no column of text that could name the models; say which column does.")
    message = f"Models are named by column '{chosen}'."
    return (chosen,), (Remark(code="model-column", severity="note", message=message),)


def _one_spelling(source: str, tasks: np.ndarray) -> tuple[np.ndarray, tuple[Remark, ...]]:
    """Names of sets that differ only in capital letters are one set: spelled as the most rows do."""
    names, sizes = np.unique(tasks, return_counts=True)
    spelled = {str(names[place]).casefold(): str(names[place]) for place in np.argsort(sizes, kind="stable")}
    if len(spelled) == len(names):
        return tasks, ()
    message = (
        f"{source}: {len(names)} names of sets differ in capital letters only, and are read as {len(spelled)}: "
        f"{', '.join(sorted(spelled.values())[:5])}, ..."
    )
    one = np.array([spelled[name.casefold()] for name in tasks.tolist()])
    return one, (Remark(code="spelling", severity="warning", message=message),)


def _half_widths(
    table: ResultTable, value: str, columns: Sequence[str], scale: float
) -> tuple[Floats, tuple[Remark, ...]]:
    """Mean half widths as fractions; where each repeats the value none was computed: missing, and said with the rows.

    Those with a percent sign are hundredths whatever the `scale` of the others.
    """
    each = np.array([numbers_of(table, name) for name in columns])
    filled = (each == numbers_of(table, value)).all(axis=0) & (each != 0).all(axis=0)
    signed = np.array([np.isin(table.rows, table.percent_rows.get(name, ())) for name in columns])
    half = (each / np.where(signed, 100.0, scale)).mean(axis=0)
    if not filled.any():
        return half, ()
    rows = tuple(table.rows[filled].tolist())
    message = (
        f"{table.source}: {counted(len(rows), 'half width', 'repeat')} the value itself, so that none is known there: "
        f"{counted(len(rows), 'score', 'count')} as exact ({rows_text(rows)})."
    )
    remark = Remark(code="half-width-repeats-value", severity="warning", message=message, rows=rows)
    return np.where(filled, np.nan, half), (remark,)


def _refuse_clashes(checks: Sequence[Remark], table: ResultTable, keys: Sequence[str]) -> None:
    for remark in checks:
        if remark.code == "not-a-key":
            task = _task_column(table, keys)
            shares = [name for name, cells in table.columns.items() if is_numeric(cells) and not _outside(cells).any()]
            value = shares[0] if len(shares) == 1 else "COLUMN"
            long = f" If '{task}' names the evaluation sets, the table is long: --task {task} --value {value}."
            raise SurefootError(f"{remark.message} Name all the columns that make up a model.{long if task else ''}")


def _task_column(table: ResultTable, keys: Sequence[str]) -> str:
    """The column of text that tells the rows of a model apart and has the same values for several models, or ''."""
    models = _joined(table, keys)
    for name, cells in table.columns.items():
        if name not in keys and not is_numeric(cells):
            pairs = set(zip(models, cells.tolist(), strict=True))
            if len(pairs) == len(table) and len(set(cells.tolist())) <= len(table) / 2:
                return name
    return ""


def _score_columns(table: ResultTable, keys: Sequence[str], axes: Sequence[str]) -> tuple[list[str], Mapping[str, str]]:
    """The columns that hold accuracies, by their values and names, and why others of numbers do not."""
    numeric = [name for name, cells in table.columns.items() if name not in keys and is_numeric(cells)]
    left_out = {name: "no model has a value there" for name in numeric if np.isnan(table.columns[name]).all()}
    for name in numeric:
        wrong = _outside(table.columns[name])
        if name not in left_out and (wrong.sum() > max(0.1 * len(wrong), 1) or wrong.all()):
            left_out[name] = "no accuracies between 0 and 1 or 0 and 100 percent"
        elif name not in (*left_out, *axes) and (reason := no_accuracy(name, [one for one in numeric if one != name])):
            left_out[name] = reason
    names = [name for name in numeric if name not in left_out]
    if not names:
        raise SurefootError(f"{table.source} has no column of accuracies between 0 and 1 or 0 and 100 percent.")
    return names, left_out


def _outside(cells: Floats) -> np.ndarray:
    with np.errstate(invalid="ignore"):
        return (cells < 0) | (cells > 100)


def _without_outliers(table: ResultTable, names: Sequence[str]) -> tuple[ResultTable, tuple[Remark, ...]]:
    """The table with single cells below 0 or above 100 missing, and which those were."""
    columns, remarks = dict(table.columns), []
    for name in names:
        wrong = _outside(numbers_of(table, name))
        if wrong.any() and wrong.sum() <= max(0.1 * len(wrong), 1):
            rows = tuple(table.rows[wrong].tolist())
            first = columns[name][wrong][0]
            message = (
                f"{table.source}: '{name}' has {first:g} in row {rows[0]}, which is no accuracy; "
                f"{rows_text(rows, 'count')} as missing there."
            )
            remarks.append(Remark(code="no-accuracy", severity="warning", message=message, rows=rows, columns=(name,)))
            columns[name] = np.where(wrong, np.nan, numbers_of(table, name))
    return replace(table, columns=columns), tuple(remarks)


def _with_matched(sets: Sequence[str], columns: Sequence[str]) -> list[str]:
    axes = [axis for name in sets if (axis := matched_axis(name, columns))]
    return list(dict.fromkeys((*sets, *axes)))


def _sizes(names: Sequence[str], given: Mapping[str, int]) -> tuple[Floats, tuple[Remark, ...]]:
    """Examples in each set: as given, else the published size of a set known by name, else NaN."""
    if unknown := sorted(set(given) - set(names)):
        raise SurefootError(f"A number of examples is given for '{unknown[0]}', which is no column of accuracies.")
    recognised = {name: known.examples for name in names if (known := known_set(name, names)) and known.examples}
    size = np.array([given.get(name, recognised.get(name, np.nan)) for name in names], dtype=np.float64)
    remarks = []
    if taken := [name for name in recognised if name not in given]:
        listed = ", ".join(f"{name} {recognised[name]:,}" for name in taken[:6]) + (" ..." if len(taken) > 6 else "")
        message = f"Examples in a set are taken from its published size: {listed}."
        remarks.append(Remark(code="known-size", severity="note", message=message))
    if missing := [name for name, count in zip(names, size, strict=True) if np.isnan(count)]:
        message = (
            f"{counted(len(missing), 'set', 'have')} no known number of examples ({', '.join(missing[:4])}"
            f"{', ...' if len(missing) > 4 else ''}): their sampling noise is not in the intervals."
        )
        remarks.append(Remark(code="unknown-size", severity="warning", message=message))
    return size, tuple(remarks)


def _examples(table: ResultTable, name: str) -> Floats:
    """The column of examples behind each accuracy, all of which must be there."""
    size = numbers_of(table, name)
    bad = ~(size >= 1)
    if bad.any():
        raise SurefootError(
            f"{table.source}: column '{name}' must hold the examples behind each accuracy, 1 or more; "
            f"{rows_text(table.rows[bad].tolist(), 'do')} not."
        )
    return size


def _joined(table: ResultTable, keys: Sequence[str]) -> tuple[str, ...]:
    parts = [text_of(table, name).tolist() for name in keys]
    names = tuple(" ".join(part) for part in zip(*parts, strict=True))
    if empty := [row for row, name in zip(table.rows.tolist(), names, strict=True) if not name.strip()]:
        raise SurefootError(f"{table.source} has models without a name ({rows_text(empty)}).")
    return names


def _labels_of_models(
    table: ResultTable, names: np.ndarray, models: Sequence[str]
) -> tuple[dict[str, tuple[str, ...]], tuple[Remark, ...]]:
    """The columns with one value a model; a model in ten may differ within, which is said: its most frequent value."""
    places = {name: place for place, name in enumerate(models)}
    member = np.array([places[name] for name in names.tolist()])
    labels, remarks = {}, []
    for name in table.columns:
        values, code = np.unique(text_of(table, name), return_inverse=True)
        if len(values) * len(models) > LARGEST_CELLS:
            continue
        tally = np.zeros((len(models), len(values)), dtype=np.int64)
        np.add.at(tally, (member, code.ravel()), 1)
        differing = np.flatnonzero((tally > 0).sum(axis=1) > 1)
        if len(differing) > 0.1 * len(models):
            continue
        labels[name] = tuple(values[tally.argmax(axis=1)].tolist())
        if len(differing):
            odd = np.isin(member, differing) & (code.ravel() != tally.argmax(axis=1)[member])
            listed = ", ".join(f"'{models[place]}'" for place in differing[:4])
            message = (
                f"{table.source}: '{name}' differs within {counted(len(differing), 'model')} ({listed}); "
                "the most frequent value counts."
            )
            rows = tuple(table.rows[odd].tolist())
            remarks.append(Remark(code="label-differs", severity="warning", message=message, rows=rows))
    return labels, tuple(remarks)
