"""Accuracy under shift from a table of predictions."""

import numpy as np
import pytest

from surefoot.core import SurefootError
from surefoot.laws import ResultTable, agreement_table, keep_rows, make_table, predict_accuracy


def _predictions(seed: int = 0, *, targets_there: bool = True) -> ResultTable:
    generator = np.random.default_rng(seed)
    rows = []
    for task, offset in (("clean", 0.6), ("fog", 0.0)):
        truth, hard = generator.integers(0, 10, 1500), generator.normal(size=1500)
        for model, skill in enumerate(np.linspace(-0.6, 1.2, 9)):
            right = (
                np.sqrt(0.5) * (hard + generator.normal(size=1500)) < skill * (1 if task == "clean" else 0.8) + offset
            )
            guess = np.where(right, truth, generator.integers(0, 10, 1500))
            shown = truth if task == "clean" or targets_there else np.full(1500, -1)
            rows += [(f"m{model}", task, i, g, t) for i, (g, t) in enumerate(zip(guess, shown, strict=True))]
    model, task, example, prediction, target = zip(*rows, strict=True)
    return make_table(
        {
            "model": model,
            "task": task,
            "example": [str(i) for i in example],
            "prediction": [str(label) for label in prediction],
            "target": ["" if label < 0 else str(label) for label in target],
        },
        source="predictions.csv",
    )


def test_accuracy_under_shift_is_predicted_and_compared_where_labels_exist() -> None:
    result = predict_accuracy(_predictions(), x="clean", shift="fog", replicates=100)
    assert result.trusted
    assert np.abs(result.line.by_line - result.actual).mean() < 0.05
    assert np.abs(result.accuracy - result.actual).mean() > 0.1
    assert agreement_table(result).columns[0] == "model"


def test_no_label_under_the_shift_is_needed() -> None:
    labelled = predict_accuracy(_predictions(), x="clean", shift="fog", replicates=50)
    bare = predict_accuracy(_predictions(targets_there=False), x="clean", shift="fog", replicates=50)
    assert bare.line.by_line == pytest.approx(labelled.line.by_line)
    assert np.isnan(bare.actual).all()
    assert agreement_table(bare).rows[0][-1] is None


def test_uneven_predictions_are_named() -> None:
    table = _predictions()
    keep = np.ones(len(table), dtype=bool)
    keep[3] = False
    with pytest.raises(SurefootError, match="'m0' has 1499 examples where another has 1500"):
        predict_accuracy(keep_rows(table, keep), x="clean", shift="fog")
    with pytest.raises(SurefootError, match="no predictions on one of the two sets"):
        predict_accuracy(table, x="clean", shift="rain")
    twice = make_table({name: [*cells.tolist(), cells[0]] for name, cells in table.columns.items()}, source="p.csv")
    with pytest.raises(SurefootError, match="'m0' predicts one example twice"):
        predict_accuracy(twice, x="clean", shift="fog")
