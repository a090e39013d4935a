"""Laws of a table file as Steps: one family of one table, and whether two families scale differently."""

import json
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, final

import numpy as np

from surefoot.core import Inputs, Measurement, Step, SurefootError, UserFile, check_pinned, write_text
from surefoot.laws._results._table import (
    ResultTable,
    keep_rows,
    keep_where,
    numbers_of,
    plain_record,
    read_table,
    text_of,
)
from surefoot.laws._scaling._fit import fit_scaling
from surefoot.laws._scaling._points import PointOptions
from surefoot.laws._scaling._step import law_measurements, law_record
from surefoot.laws._scaling._types import FamilyLaw, LawOptions, Selection
from surefoot.stats import ExponentComparison, compare_paired, compare_tasks, fit_law, holm

_SAME_X = 0.1


@final
@dataclass(frozen=True, kw_only=True)
class TableScaling(UserFile):
    """A scaling law of one family of a table file: known by its contents: see `pinned`.

    `x`, `y` and `label` name columns; with `score` the law is of 1 - y. `where` are conditions that must all hold,
    `column=pattern` or `column!=pattern`, where a pattern may hold `*`. `only` keeps the rows of these labels; of rows
    that are equal in the columns `best_of` the one with the best y is kept. `selection`, `bins` and `eps` are those of
    `fit_scaling`. `task` and `family` name the result: they become `task` and `group` of the Measurements.

    Gives the Measurements of `law_measurements` and `law.json` (see `law_record`), with `fitted` (the points as the
    law saw them) and `remarks`. Raises `SurefootError` when the file has changed since the digest was taken.
    """

    x: str
    y: str
    label: str
    score: bool = True
    where: tuple[str, ...] = ()
    only: tuple[str, ...] = ()
    best_of: tuple[str, ...] = ()
    selection: Selection = "all"
    bins: int = 5
    eps: float = 0.1
    task: str = ""
    family: str = ""

    version = 7  # few points: curves and floors are tested with errors that allow for uneven noise

    def make(self, out: Path, inputs: Inputs) -> Iterable[Measurement]:
        """Read, choose the rows, fit, and write `law.json`."""
        check_pinned(self)
        points = PointOptions(x=(self.x,), y=self.y, score=self.score, label=self.label)
        options = LawOptions(selection=self.selection, bins=self.bins, eps=self.eps)
        laws = fit_scaling(_chosen(self, read_table(self.path)), points, options)
        fit = laws.fits[0]
        record = law_record(fit) | {"fitted": _fitted(fit), "findings": [one.message for one in laws.remarks]}
        write_text(out / "law.json", json.dumps(record, indent=1, allow_nan=False) + "\n")
        return law_measurements(fit, task=self.task, group=self.family)


@final
@dataclass(frozen=True, kw_only=True)
class ExponentDifference(Step):
    """Whether the laws `first` fall faster than the laws `second`, pair by pair: exponents compared by Welch's t.

    Both hold Steps that write `law.json` (`TableScaling`, `ScalingFit`), in the order of `names`. With `paired` the two
    laws of a pair were measured at the same x (to a tenth), and the trend of their ratio is tested instead.
    Gives, with `task` the name: `exponent_difference` (positive: the first falls faster; its bounds hold for all pairs
    together, at Bonferroni's level), `p_unadjusted`, and `p`, corrected by Holm for the number of pairs; `n` counts the
    points of both laws. `comparisons.json` holds each comparison in words. What has no degree of freedom is left out.
    """

    first: tuple[Step, ...]
    second: tuple[Step, ...]
    names: tuple[str, ...]
    paired: bool = False
    level: float = 0.95

    def make(self, out: Path, inputs: Inputs) -> Iterable[Measurement]:
        """Read the points of both laws of each pair, fit them, and compare."""
        if not len(self.first) == len(self.second) == len(self.names) > 0:
            raise SurefootError("ExponentDifference needs as many first laws as second ones, and a name for each pair.")
        pairs = {
            name: (_points(first, inputs), _points(second, inputs))
            for name, first, second in zip(self.names, self.first, self.second, strict=True)
        }
        strict_level = 1 - (1 - self.level) / len(pairs)
        nominal, strict = (_compared(pairs, level, paired=self.paired) for level in (self.level, strict_level))
        write_text(out / "comparisons.json", json.dumps({name: _words(one) for name, one in nominal.items()}, indent=1))
        return [measured for name in pairs for measured in _difference_measurements(name, nominal[name], strict[name])]


_Points = tuple[list[float], list[float]]


def _compared(
    pairs: dict[str, tuple[_Points, _Points]], level: float, *, paired: bool
) -> dict[str, ExponentComparison]:
    laws = {name: (fit_law(*first), fit_law(*second)) for name, (first, second) in pairs.items()}
    if not paired:
        return dict(compare_tasks(laws, level=level))
    found = {name: _paired(name, *pair, level) for name, pair in pairs.items()}
    adjusted = holm([one.p for one in found.values()])
    return {name: replace(one, p_holm=float(p)) for (name, one), p in zip(found.items(), adjusted, strict=True)}


def _paired(name: str, first: _Points, second: _Points, level: float) -> ExponentComparison:
    (x, y), (other_x, other_y) = (tuple(np.array(sorted(zip(*points, strict=True))).T) for points in (first, second))
    if len(x) != len(other_x) or np.any(np.abs(np.log(x / other_x)) > _SAME_X):
        raise SurefootError(f"{name}: the two laws are not paired, their points do not lie at the same x.")
    return compare_paired(x, y, other_y, level=level)


def _difference_measurements(
    name: str, nominal: ExponentComparison, strict: ExponentComparison
) -> Iterable[Measurement]:
    if not np.isfinite(nominal.p):
        return
    where = {"n": nominal.n_first + nominal.n_second, "task": name}
    found = strict.difference
    yield Measurement(metric="exponent_difference", value=found.estimate, low=found.low, high=found.high, **where)
    yield Measurement(metric="p_unadjusted", value=nominal.p, **where)
    yield Measurement(metric="p", value=nominal.p_holm, **where)


def _words(one: ExponentComparison) -> dict[str, Any]:
    difference = one.difference
    bounds = {"difference": difference.estimate, "low": difference.low, "high": difference.high}
    rest = ("p", "p_holm", "degrees_of_freedom", "n_first", "n_second", "detectable")
    return plain_record({"words": one.words, **bounds, **{name: getattr(one, name) for name in rest}})


def _points(step: Step, inputs: Inputs) -> _Points:
    record = json.loads((inputs[step] / "law.json").read_text(encoding="utf-8"))
    if record["form"] != "power":
        raise SurefootError(f"Exponents of power laws are compared; this law is of the form '{record['form']}'.")
    if "fitted" in record:
        return record["fitted"]["x"], record["fitted"]["y"]
    points = [record["points"][place] for place in record["used"]]
    return [point["x"][0] for point in points], [point["y"] for point in points]


def _fitted(fit: FamilyLaw) -> dict[str, list[float]]:
    return {"x": fit.used_x[:, 0].tolist(), "y": fit.used_y.tolist()}


def _chosen(step: TableScaling, table: ResultTable) -> ResultTable:
    kept = keep_where(table, step.where)
    if step.only:
        labels = text_of(kept, step.label)
        if lacking := [name for name in step.only if name not in labels]:
            raise SurefootError(f"{table.source}: no row with {', '.join(step.where)} is '{lacking[0]}'.")
        kept = keep_rows(kept, np.isin(labels, step.only))
    return _best(kept, step) if step.best_of else kept


def _best(table: ResultTable, step: TableScaling) -> ResultTable:
    values = numbers_of(table, step.y) * (1 if step.score else -1)
    keys = list(zip(*(text_of(table, name).tolist() for name in step.best_of), strict=True))
    best: dict[tuple[str, ...], int] = {}
    for row in np.flatnonzero(np.isfinite(values)).tolist():
        if keys[row] not in best or values[row] > values[best[keys[row]]]:
            best[keys[row]] = row
    return keep_rows(table, np.isin(np.arange(len(table)), list(best.values())))
