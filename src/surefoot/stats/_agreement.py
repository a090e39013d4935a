"""Agreement on the line: accuracy under shift from predictions alone, without labels there."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from surefoot.stats._axes import Axis, from_axis, place_on_axis
from surefoot.stats._lines import Lines, fit_lines

Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class AgreementLine:
    """The line of agreement between models, and the accuracies under shift that it predicts.

    `line`: agreement under shift on agreement in distribution, one point a pair of models. Where its r2 is high
    (Baek et al. 2022 ask for 0.95), accuracy follows the same line. `by_line` (models,): the line applied to each
    model's accuracy (their ALine-S). `by_pairs` (models,): least squares over all pairs (ALine-D); NaN below 3 models.
    All are fractions. `left_out`: pairs whose agreement of exactly 0 or 1 has no place on the axis (none with n known).
    """

    axis: Axis
    line: Lines
    by_line: Floats
    by_pairs: Floats
    n_pairs: int
    left_out: int


def agreement(predictions: ArrayLike) -> Floats:
    """Share of examples on which every two models agree, (models, models), from labels (models, examples)."""
    labels = np.asarray(predictions)
    if labels.ndim != 2 or not labels.size:
        raise ValueError("predictions are a table of labels: models by examples")
    _, codes = np.unique(labels, return_inverse=True)
    codes = codes.reshape(labels.shape)
    same = np.zeros((len(labels), len(labels)))
    for label in range(int(codes.max()) + 1):
        chosen = (codes == label).astype(np.float32)
        same += chosen @ chosen.T
    return same / labels.shape[1]


def agreement_on_the_line(
    within: ArrayLike,
    shifted: ArrayLike,
    accuracy: ArrayLike,
    *,
    axis: Axis = "probit",
    counts: ArrayLike | None = None,
    level: float = 0.95,
) -> AgreementLine:
    """Predict accuracy under shift from agreement (Baek et al. 2022, arXiv 2206.13089).

    `within` (models, examples) and `shifted` (models, other examples) are predicted labels; `accuracy` (models,) is
    the accuracy in distribution, a fraction. `counts` (B, models) are bootstrap counts over models: a pair is drawn
    as often as the product of its two models.
    """
    here, there = np.asarray(within), np.asarray(shifted)
    if len(here) != len(there) or len(here) != len(np.asarray(accuracy)):
        raise ValueError("within, shifted and accuracy must hold the same models in the same order")
    first, second = np.triu_indices(len(here), k=1)
    x = place_on_axis(agreement(here)[first, second], axis, n=here.shape[1])
    y = place_on_axis(agreement(there)[first, second], axis, n=there.shape[1])
    pairs = None if counts is None else np.asarray(counts)[:, first] * np.asarray(counts)[:, second]
    line = fit_lines(x.value, y.value, counts=pairs, level=level)
    known = place_on_axis(accuracy, axis, n=here.shape[1]).value
    intercept, slope = line.coefficients[0]
    return AgreementLine(
        axis=axis,
        line=line,
        by_line=from_axis(intercept + slope * known, axis),
        by_pairs=from_axis(_by_pairs(known, x.value, y.value, float(slope)), axis),
        n_pairs=len(first),
        left_out=int((x.left_out | y.left_out).sum()),
    )


def _by_pairs(known: Floats, x: Floats, y: Floats, slope: float) -> Floats:
    """Solve for all models at once: in each pair, mean accuracy less agreement is the same on both sides of the line.

    That is, under shift it is what it is in distribution, times the slope (their equation for ALine-D).
    """
    first, second = np.triu_indices(len(known), k=1)
    if len(known) < 3 or not np.isfinite(slope):
        return np.full(len(known), np.nan)
    design = np.zeros((len(first), len(known)))
    rows = np.arange(len(first))
    design[rows, first] = design[rows, second] = 0.5
    target = y + slope * ((known[first] + known[second]) / 2 - x)
    return np.asarray(np.linalg.lstsq(design, target, rcond=None)[0], dtype=np.float64)
