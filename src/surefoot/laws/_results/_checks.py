"""The traps of tables of results: units, keys, repeated rows, and aggregates among their own parts."""

import re
from collections.abc import Sequence
from itertools import combinations
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from surefoot.core import SurefootError, agreed
from surefoot.laws._results._table import Floats, ResultTable, check_groups, is_numeric, keep_rows, numbers_of, text_of
from surefoot.tables import Remark, rows_text

ShareUnit = Literal["auto", "fraction", "percent"]
# Values of 1 and below and values above are of two units where nothing lies between them for a factor this large.
GAP_OF_TWO_UNITS = 10.0
# No more values above 1 than this share of a column may be slips in one of fractions.
SHARE_OF_SLIPS = 0.1
# Two results that agree to this many units of the last place kept (four decimals of a fraction) are taken as equal.
SAME = 2e-4
AGGREGATE_NAME = re.compile(r"(?<![a-z])(mean|average|avg|overall|aggregate|macro)(?![a-z])|^all$", re.IGNORECASE)


def as_fractions(
    table: ResultTable, names: Sequence[str], *, unit: ShareUnit = "auto", what: str = "accuracies"
) -> tuple[dict[str, Floats], tuple[Remark, ...]]:
    """The named columns (of `what`) as fractions from 0 to 1, and what was decided of their unit.

    With `auto` a column is of percentages if it holds a value above 1 or a percent sign, else of fractions. A cell with
    a percent sign is a percentage whatever the unit of the others. Raises SurefootError, with the rows, for values
    below 0 or above 100, and for one column that mixes both units: signs beside values up to 1, or values up to 1 and
    values above, ten times apart with nothing between, or a tenth of the values above where no column is plainly of
    percentages. Naming the unit settles it.
    """
    columns = {name: numbers_of(table, name) for name in names}
    percent = [name for name in names if _is_percent(table, name, columns[name], unit)]
    plain = any(np.nanmedian(columns[name]) > 1 for name in percent)
    remarks: list[Remark] = []
    fractions = {}
    for name in names:
        values, signed = columns[name], _signed(table, name)
        if unit == "auto":
            refuse_mixed_signs(table, name, values)
            if name in percent and not signed.any():
                _check_mixture(table, name, values)
                if not plain:
                    _check_slips(table, name, values)
        elif unit == "percent":
            remarks += _small_percentages(table, name, values)
        hundreds = signed | (name in percent)
        _check_bounds(table, name, values, np.where(hundreds, 100.0, 1.0))
        fractions[name] = np.where(hundreds, values / 100, values)
    if unit == "auto":
        remarks.append(_unit_remark(percent, [name for name in names if name not in percent], what))
    return fractions, tuple(remarks)


def refuse_mixed_signs(table: ResultTable, name: str, values: Floats) -> None:
    """Raise SurefootError where percent signs stand beside values up to 1, which may be of either unit."""
    signed = _signed(table, name)
    bare = ~signed & (values > 0) & (values <= 1)
    if signed.any() and bare.any():
        raise SurefootError(
            f"{table.source}: column '{name}' mixes cells with a percent sign and values up to 1 without one "
            f"({rows_text(table.rows[bare].tolist())}). Mend them, or say which unit the others have."
        )


def check_draws(seed: int, replicates: int = 1000, level: float = 0.95) -> None:
    """Raise SurefootError for a seed below 0, a level that is no share, and too few draws for percentiles."""
    if seed < 0:
        raise SurefootError(f"A seed is a number of 0 or above; got {seed}.")
    if not 0 < level < 1:
        raise SurefootError(f"The level is a share between 0 and 1, for example 0.95; got {level}.")
    if not 40 <= replicates <= 100_000:
        raise SurefootError(f"The bootstrap samples must number between 40 and 100,000; got {replicates}.")


def check_once(source: str, *names: str) -> None:
    """Raise SurefootError for a column that is named twice where each must be another."""
    if twice := [name for place, name in enumerate(names) if name in names[:place]]:
        raise SurefootError(f"{source}: the column '{twice[0]}' is named twice: give each part its own.")


def check_keys(table: ResultTable, keys: Sequence[str]) -> tuple[Remark, ...]:
    """What is wrong with `keys` as the key of the table.

    `duplicate-rows`: rows equal in every column. `not-a-key`: rows of one key that differ elsewhere, with the columns
    that would complete the key. `same-results`: rows of different keys whose numbers are all the same (three or more).
    """
    every = list(table.columns)
    whole = _codes(table, every)
    key = _codes(table, keys)
    remarks = []
    repeated = _repeats(whole)
    if repeated.any():
        remarks.append(repeated_rows(table, repeated))
    distinct = ~repeated
    clash = np.zeros(len(table), dtype=bool)
    clash[distinct] = _repeats(key[distinct])
    if clash.any():
        remarks.append(_not_a_key(table, keys, clash, distinct))
    same = _same_results(table, keys)
    return (*remarks, *same)


def repeated_rows(table: ResultTable, repeated: NDArray[np.bool_], *, tied: bool = False) -> Remark:
    """What is said of rows that repeat an earlier one: they are copies, or (`tied`) runs of one result."""
    rows = tuple(table.rows[repeated].tolist())
    fate = "kept, as runs are repeated here and may tie" if tied else "left out as copies"
    message = f"{table.source}: {rows_text(rows, 'repeat')} an earlier row in every column: {fate}."
    return Remark(code="duplicate-rows", severity="warning", message=message, rows=rows)


def without_copies(table: ResultTable, y: str) -> tuple[ResultTable, tuple[Remark, ...]]:
    """Copies of a row count once; where other rows differ in `y` alone, runs are repeated, and equal ones are ties."""
    once = drop_repeated(table)
    if once.all():
        return table, ()
    tied = not drop_repeated(keep_rows(table, once), but=y).all()
    return table if tied else keep_rows(table, once), (repeated_rows(table, ~once, tied=tied),)


def drop_repeated(table: ResultTable, *, but: str = "") -> NDArray[np.bool_]:
    """Marks the rows to keep when rows that repeat an earlier one in every column (`but` one) are left out."""
    return ~_repeats(_codes(table, [name for name in table.columns if name != but]))


def find_aggregates(names: Sequence[str], scores: Floats) -> tuple[Remark, ...]:
    """Columns of `scores` (models, columns named by `names`) that look like averages of the other columns.

    By value (`aggregate-by-value`): the column is the mean of two or more of the others, for every model to four
    decimals. By name (`aggregate-by-name`): it is called mean, average, overall and the like, or it is the folder that
    other columns are in (`vtab` beside `vtab/dtd`). Averages over all columns would count their parts twice.
    """
    remarks = []
    for place, name in enumerate(names):
        parts = _mean_of(scores, place)
        if parts:
            listed = ", ".join(names[part] for part in parts[:6]) + (", ..." if len(parts) > 6 else "")
            message = f"'{name}' is the mean of {len(parts)} other columns ({listed})."
            remarks.append(Remark(code="aggregate-by-value", severity="warning", message=message, columns=(name,)))
        elif AGGREGATE_NAME.search(name) or any(_is_folder_of(name, other) for other in names):
            message = f"'{name}' is an average of other columns, by its name."
            remarks.append(Remark(code="aggregate-by-name", severity="warning", message=message, columns=(name,)))
    return tuple(remarks)


def pivot_scores(
    table: ResultTable, *, model: str, task: str, value: str
) -> tuple[tuple[str, ...], tuple[str, ...], Floats, Floats]:
    """A long table as models, tasks, the values (models, tasks; NaN where absent) and the rows they came from.

    Both are in order of first appearance. Raises SurefootError where a model has two values for a task.
    """
    labels, tasks, values = text_of(table, model), text_of(table, task), numbers_of(table, value)
    models = tuple(dict.fromkeys(labels.tolist()))
    columns = tuple(dict.fromkeys(tasks.tolist()))
    row = np.array([{name: i for i, name in enumerate(models)}[label] for label in labels])
    column = np.array([{name: i for i, name in enumerate(columns)}[name] for name in tasks])
    known = np.isfinite(values)
    check_groups(table.source, task, tasks[known], table.rows[known])
    cell = row[known] * len(columns) + column[known]
    repeated = _repeats(cell)
    if repeated.any():
        rows = table.rows[known][np.isin(cell, cell[repeated])]
        raise SurefootError(
            f"{table.source} has more than one '{value}' for one '{model}' and '{task}' ({rows_text(rows.tolist())}). "
            f"Name the columns that tell the rows apart, or average them first."
        )
    grid, origin = np.full(len(models) * len(columns), np.nan), np.zeros(len(models) * len(columns))
    grid[cell], origin[cell] = values[known], table.rows[known]
    shape = (len(models), len(columns))
    return models, columns, grid.reshape(shape), origin.reshape(shape)


def _signed(table: ResultTable, name: str) -> NDArray[np.bool_]:
    return np.isin(table.rows, table.percent_rows.get(name, ()))


def _is_percent(table: ResultTable, name: str, values: Floats, unit: ShareUnit) -> bool:
    if unit != "auto":
        return unit == "percent"
    return bool(_signed(table, name).any() or np.any(values > 1))


def _check_bounds(table: ResultTable, name: str, values: Floats, highest: Floats) -> None:
    wrong = (values < 0) | (values > highest)
    if wrong.any():
        rows = table.rows[wrong].tolist()
        raise SurefootError(
            f"{table.source}: column '{name}' has {values[wrong][0]:g} in row {rows[0]}, which is no share "
            f"between 0 and {highest[wrong][0]:g} ({len(rows)} such, {rows_text(rows)})."
        )


def _check_mixture(table: ResultTable, name: str, values: Floats) -> None:
    small, large = (values > 0) & (values <= 1), values > 1
    if small.any() and large.any() and values[large].min() > GAP_OF_TWO_UNITS * values[small].max():
        rows = table.rows[small].tolist()
        raise SurefootError(
            f"{table.source}: column '{name}' mixes fractions and percentages: {rows_text(rows, 'hold')} values "
            f"up to 1, all others are above {values[large].min():g}. Mend them, or say which unit the column has."
        )


def _check_slips(table: ResultTable, name: str, values: Floats) -> None:
    """A few values above 1 would turn a column of fractions into percentages, where no other column is of them."""
    large = values > 1
    if 0 < large.sum() <= SHARE_OF_SLIPS * np.isfinite(values).sum():
        rows = table.rows[large].tolist()
        raise SurefootError(
            f"{table.source}: column '{name}' holds values up to 1, but {values[large][0]:g} in row {rows[0]} "
            f"({len(rows)} such, {rows_text(rows)}). Mend them, or say which unit the column has."
        )


def _small_percentages(table: ResultTable, name: str, values: Floats) -> list[Remark]:
    """Cells of 1 and below in a column that was said to be of percentages, beside much larger ones or none: shares?"""
    small = ~_signed(table, name) & (values > 0) & (values <= 1)
    if not small.any() or (np.any(values > 1) and not np.any(values > GAP_OF_TWO_UNITS)):
        return []
    rows = tuple(table.rows[small].tolist())
    others = "beside larger ones" if np.any(values > 1) else "and none above"
    message = f"{table.source}: '{name}' has values up to 1 {others} ({rows_text(rows)}), read as percent."
    return [Remark(code="small-percentages", severity="warning", message=message, rows=rows, columns=(name,))]


def _unit_remark(percent: list[str], fractions: list[str], what: str) -> Remark:
    if percent and fractions:
        few = fractions if len(fractions) <= len(percent) else percent
        word = "fractions" if few is fractions else "percentages"
        message = (
            f"Columns differ in unit: {_some(few)} read as {word}, the other {len(percent + fractions) - len(few)} not."
        )
        return Remark(code="mixed-units", severity="warning", message=message)
    word = "percentages" if percent else "fractions"
    return Remark(code="unit", severity="note", message=f"{what.capitalize()} were read as {word}.")


def _some(names: Sequence[str]) -> str:
    return ", ".join(repr(name) for name in names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


def _not_a_key(
    table: ResultTable, keys: Sequence[str], clash: NDArray[np.bool_], distinct: NDArray[np.bool_]
) -> Remark:
    rows = tuple(table.rows[clash].tolist())
    others = [name for name in table.columns if name not in keys and not is_numeric(table.columns[name])]
    for size in (1, 2):
        for extra in combinations(others, size):
            if not _repeats(_codes(table, [*keys, *extra])[distinct]).any():
                hint = f" With {_some(extra)} they would be."
                break
        else:
            continue
        break
    else:
        hint = ""
    message = (
        f"{table.source}: {_some(keys)} {agreed(len(keys), 'are')} not a key: {rows_text(rows, 'repeat')} "
        f"the key of an earlier row with other values.{hint}"
    )
    return Remark(code="not-a-key", severity="warning", message=message, rows=rows)


def _same_results(table: ResultTable, keys: Sequence[str]) -> tuple[Remark, ...]:
    names = [name for name, cells in table.columns.items() if is_numeric(cells) and name not in keys]
    if len(names) < 3:
        return ()
    filled = sum(np.isfinite(table.columns[name]) for name in names) >= 3
    candidates = np.flatnonzero(np.asarray(filled) & drop_repeated(table))
    repeated = _repeats(_codes(table, names)[candidates])
    if not (rows := tuple(table.rows[candidates[repeated]].tolist())):
        return ()
    message = f"{table.source}: {rows_text(rows, 'hold')} the same numbers as an earlier row under another name."
    return (Remark(code="same-results", severity="warning", message=message, rows=rows),)


def _codes(table: ResultTable, names: Sequence[str]) -> NDArray[np.int64]:
    """One code a row, equal where the rows are equal in the named columns (missing equals missing)."""
    code = np.zeros(len(table), dtype=np.int64)
    for name in names:
        cells = table.columns[name] if name in table.columns else text_of(table, name)
        _, part = np.unique(cells, return_inverse=True)
        _, code = np.unique(code * (int(part.max(initial=0)) + 1) + part.ravel(), return_inverse=True)
    return code.ravel()


def _repeats(codes: NDArray[np.int64]) -> NDArray[np.bool_]:
    repeated = np.ones(len(codes), dtype=np.bool_)
    repeated[np.unique(codes, return_index=True)[1]] = False
    return repeated


def _is_folder_of(name: str, other: str) -> bool:
    return other != name and other.startswith(name.rstrip("+") + "/")


def _mean_of(scores: Floats, place: int) -> tuple[int, ...]:
    """Which other columns this one is the mean of, if it is; by non-negative least squares."""
    from scipy.optimize import nnls

    complete = np.isfinite(scores).mean(axis=0) > 0.5
    others = [i for i in range(scores.shape[1]) if i != place and complete[i]]
    rows = np.isfinite(scores[:, [*others, place]]).all(axis=1)
    if len(others) < 2 or rows.sum() < 5:
        return ()
    weights, _ = nnls(scores[rows][:, others], scores[rows, place])
    chosen = weights > 0.5 * weights.max(initial=0)
    parts = np.flatnonzero(chosen)
    if len(parts) < 2 or not np.any(weights > 0):
        return ()
    mean = scores[rows][:, [others[part] for part in parts]].mean(axis=1)
    off = np.abs(mean - scores[rows, place]).max()
    return tuple(others[part] for part in parts) if off <= SAME else ()
