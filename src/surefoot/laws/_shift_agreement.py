"""Accuracy under shift from a table of predictions, without labels there."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from surefoot.core import SurefootError, Table
from surefoot.laws._tables import Floats, ResultTable, plain_cell, rows_text, text_of
from surefoot.stats import AgreementLine, Axis, agreement_on_the_line, resample_counts

Labels = NDArray[np.str_]
TRUSTED_R2 = 0.95


@dataclass(frozen=True, kw_only=True)
class PredictedAccuracy:
    """What agreement between models says of their accuracy under a shift; arrays are (models,), fractions.

    `accuracy` in distribution; `actual` under the shift, NaN where the table has no labels there. `trusted`: whether
    agreement lies on a line (r2 of 0.95 or more), as Baek et al. (2022) ask before its prediction is used.
    """

    models: tuple[str, ...]
    x: str
    shift: str
    accuracy: Floats
    actual: Floats
    line: AgreementLine
    trusted: bool


def predict_accuracy(
    table: ResultTable,
    *,
    x: str,
    shift: str,
    model: str = "model",
    task: str = "task",
    example: str = "example",
    prediction: str = "prediction",
    target: str = "target",
    axis: Axis = "probit",
    replicates: int = 1000,
    seed: int = 0,
) -> PredictedAccuracy:
    """Predict accuracy on set `shift` from labels on set `x` and agreement on both (agreement on the line).

    The table has one row a model, set and example: the predicted label and, on `x`, the right one. Raises
    SurefootError where a model lacks an example that another has, has one twice, or a label of `x` is missing.
    """
    sets = text_of(table, task)
    parts = {name: _Predictions.of(table, sets == name, (model, example, prediction, target)) for name in (x, shift)}
    here, there = parts[x], parts[shift]
    if here.models != there.models:
        odd = sorted(set(here.models) ^ set(there.models)) or ["the order"]
        raise SurefootError(f"{table.source}: '{x}' and '{shift}' hold different models; '{odd[0]}' is not on both.")
    if (here.targets == "").any():
        raise SurefootError(
            f"{table.source}: some examples of '{x}' have no '{target}', so accuracy is not known there."
        )
    accuracy = (here.labels == here.targets).mean(axis=1)
    labelled = there.targets != ""
    known = np.mean(there.labels[:, labelled] == there.targets[labelled], axis=1) if labelled.any() else None
    counts = resample_counts(len(here.models), replicates, seed=seed)
    line = agreement_on_the_line(here.labels, there.labels, accuracy, axis=axis, counts=counts)
    return PredictedAccuracy(
        models=here.models,
        x=x,
        shift=shift,
        accuracy=accuracy,
        actual=np.full(len(accuracy), np.nan) if known is None else known,
        line=line,
        trusted=bool(line.line.r2[0] >= TRUSTED_R2),
    )


def agreement_table(result: PredictedAccuracy) -> Table:
    """One row a model: accuracy, the two predictions under the shift, and the accuracy there where it is known."""
    columns = ("model", result.x, f"{result.shift} by line", f"{result.shift} by pairs", f"{result.shift} actual")
    arrays = (result.accuracy, result.line.by_line, result.line.by_pairs, result.actual)
    rows = zip(result.models, *(array.tolist() for array in arrays), strict=True)
    return Table(columns, tuple(tuple(map(plain_cell, row)) for row in rows))


@dataclass(frozen=True)
class _Predictions:
    """Labels (models, examples) and the right ones (examples,), examples in one order."""

    models: tuple[str, ...]
    labels: Labels
    targets: Labels

    @staticmethod
    def of(table: ResultTable, chosen: NDArray[np.bool_], columns: tuple[str, str, str, str]) -> _Predictions:
        names, examples, labels, targets = (text_of(table, column)[chosen] for column in columns)
        models, member = np.unique(names, return_inverse=True)
        items, item = np.unique(examples, return_inverse=True)
        order = np.lexsort((item.ravel(), member.ravel()))
        expected = np.repeat(np.arange(len(models)), len(items)), np.tile(np.arange(len(items)), len(models))
        found = member.ravel()[order], item.ravel()[order]
        if (
            not len(order)
            or len(order) != len(expected[0])
            or (found[0] != expected[0]).any()
            or (found[1] != expected[1]).any()
        ):
            raise SurefootError(_uneven(table, chosen, models, member.ravel(), item.ravel()))
        grid = labels[order].reshape(len(models), len(items))
        right = targets[order].reshape(len(models), len(items))
        differing = (right != right[0]).any(axis=0)
        if differing.any():
            raise SurefootError(f"{table.source}: example '{items[differing][0]}' has different '{columns[3]}' cells.")
        return _Predictions(tuple(models.tolist()), grid, right[0])


def _uneven(
    table: ResultTable, chosen: NDArray[np.bool_], models: Labels, member: NDArray[np.int64], item: NDArray[np.int64]
) -> str:
    if not len(models):
        return f"{table.source} has no predictions on one of the two sets."
    pairs, first, size = np.unique(np.stack([member, item]), axis=1, return_index=True, return_counts=True)
    if (size > 1).any():
        place = first[size > 1][0]
        rows = table.rows[chosen][(member == member[place]) & (item == item[place])].tolist()
        return f"{table.source}: model '{models[member[place]]}' predicts one example twice ({rows_text(rows)})."
    counts = np.bincount(pairs[0], minlength=len(models))
    few = int(counts.argmin())
    return f"{table.source}: model '{models[few]}' has {counts[few]} examples where another has {counts.max()}."
