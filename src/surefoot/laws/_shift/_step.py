"""Robustness under shift as a Step over what other Steps measured."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, final

from surefoot.core import Inputs, Measurement, Step, SurefootError
from surefoot.laws._shift._accuracies import measured_accuracies
from surefoot.laws._shift._data import ShiftData, shift_data
from surefoot.laws._shift._fit import RobustnessFit, fit_shift
from surefoot.laws._shift._sections import SECTIONS, shift_measurements, shift_table


@final
@dataclass(frozen=True, kw_only=True)
class ShiftFit(Step):
    """Fit the robustness line of `baseline` models over what `results` measured, and every model against it.

    `results` are Steps that measured `metric` by task and shift; `models` names the model of each (several Steps may be
    of one model); by default a result belongs to the Step in its field `model`, named by the start of that Step's key.
    A set is named `task` or `task/shift`. `x` are the in-distribution sets, `shifts` the others (default: all).
    `baseline` are names of models (default: all), `groups` and `families` those of each result; with `cluster` whole
    families are drawn. See `fit_shift` for the rest.

    Makes the Measurements of `shift_measurements`, and one TSV a section of `shift_table`.
    """

    results: tuple[Step, ...]
    x: tuple[str, ...]
    shifts: tuple[str, ...] = ()
    models: tuple[str, ...] = ()
    baseline: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    families: tuple[str, ...] = ()
    cluster: bool = False
    metric: str = "accuracy"
    baseline_above: float = 0.0
    axis: Literal["logit", "probit", "linear"] = "logit"
    pivot: float | None = None
    matched: bool = True
    replicates: int = 1000
    level: float = 0.95
    seed: int = 0

    version = 2  # accuracies of exactly 0 or 1 have no place on the axis; a family's line has its own interval

    def make(self, out: Path, inputs: Inputs) -> Iterable[Measurement]:
        """Join the measurements by model, fit, and write the tables."""
        fit = fit_shift(
            _data(self, inputs),
            axis=self.axis,
            pivot=self.pivot,
            replicates=self.replicates,
            level=self.level,
            seed=self.seed,
            cluster=self.cluster,
        )
        return write_shift(out, fit)


def write_shift(out: Path, fit: RobustnessFit) -> Iterable[Measurement]:
    """Write one TSV a section of `shift_table` into a directory; gives the Measurements of `shift_measurements`."""
    for section in SECTIONS:
        table = shift_table(fit, section)
        rows = [["" if cell is None else str(cell) for cell in row] for row in (table.columns, *table.rows)]
        text = "".join("\t".join(row) + "\n" for row in rows)
        (out / f"{section}.tsv").write_text(text, encoding="utf-8")
    return shift_measurements(fit)


def _data(step: ShiftFit, inputs: Inputs) -> ShiftData:
    names = step.models or tuple(map(_model_name, step.results))
    given = {"group": step.groups, "family": step.families}
    _check_lengths(len(step.results), models=names, groups=step.groups or names, families=step.families or names)
    measured: dict[str, list[Measurement]] = {}
    for name, result in zip(names, step.results, strict=True):
        measured.setdefault(name, []).extend(inputs.measurements(result))
    if unknown := [name for name in step.baseline if name not in measured]:
        raise SurefootError(f"The baseline names '{unknown[0]}', which is none of the models.")
    labels = {"member": ["yes" if name in step.baseline else "no" for name in measured]}
    for label, values in given.items():
        if values:
            of_model = dict(zip(names, values, strict=True))
            labels[label] = [of_model[name] for name in measured]
    return shift_data(
        measured_accuracies(measured, metric=step.metric, labels=labels),
        x=step.x,
        shifts=step.shifts,
        baseline=("member=yes",) if step.baseline else (),
        baseline_above=step.baseline_above,
        group="group" if step.groups else None,
        family="family" if step.families else None,
        matched=step.matched,
    )


def _model_name(result: Step) -> str:
    inner = getattr(result, "model", None)
    return (inner if isinstance(inner, Step) else result).key[:10]


def _check_lengths(n: int, **given: tuple[str, ...]) -> None:
    for name, values in given.items():
        if len(values) != n:
            raise SurefootError(f"ShiftFit has {n} results and {len(values)} {name}: give one for each.")
