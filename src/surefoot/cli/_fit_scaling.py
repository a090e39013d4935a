"""`surefoot fit scaling` and `surefoot fit curve`: laws of a user's table."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from surefoot.cli._fit_figures import HELP, write_law_figures
from surefoot.cli._output import Format, emit
from surefoot.core import SurefootError, Table

if TYPE_CHECKING:
    from surefoot.figures import Unit
    from surefoot.laws import FamilyLaw, ScalingLaws

Section = Literal["laws", "points", "band", "held-out", "sensitivity", "comparisons"]


@dataclass(frozen=True, kw_only=True)
class PointOptions:
    """Which rows are points, and of what."""

    score: Annotated[bool, Parameter(help="y is a score, better when larger: fit 1 - y.", negative=())] = False
    unit: Annotated[
        Literal["auto", "fraction", "percent", "none"], Parameter(help="The unit of y; none takes it as it is.")
    ] = "none"
    where: Annotated[
        tuple[str, ...], Parameter(help="Keep rows with COLUMN=VALUE.", consume_multiple=True, negative=())
    ] = ()
    run: Annotated[str | None, Parameter(help="The column that names a run with several points.")] = None
    label: Annotated[str | None, Parameter(help="The column that names a point.")] = None
    n_test: Annotated[str | None, Parameter(help="Test examples behind each y: a number or a column.")] = None


@dataclass(frozen=True, kw_only=True)
class LawOptions:
    """How the law is fitted."""

    huber: Annotated[float | None, Parameter(help="Corner of Huber's loss on log y. Default: least squares.")] = None
    method: Annotated[
        Literal["auto", "t", "profile", "wild", "pairs"], Parameter(help="The method of the intervals.")
    ] = "auto"
    level: Annotated[float, Parameter(help="The level of the intervals.")] = 0.95
    replicates: Annotated[int, Parameter(help="Bootstrap samples.")] = 1000
    seed: Annotated[int, Parameter(help="Seed of the bootstrap.")] = 0


def scaling(
    table: Annotated[Path, Parameter(help="A .csv, .tsv, .json, .jsonl or .parquet file of results.")],
    /,
    *,
    x: Annotated[tuple[str, ...], Parameter(help="The column of x, or several.", consume_multiple=True, negative=())],
    y: Annotated[str, Parameter(help="The column of the error (or, with --score, of the score).")],
    family: Annotated[str | None, Parameter(help="The column of families: one law each, compared.")] = None,
    form: Annotated[str, Parameter(help="A form, or auto: what held-out error asks for.")] = "power",
    selection: Annotated[
        Literal["all", "pareto", "envelope"], Parameter(help="The points that the law is fitted on.")
    ] = "all",
    bins: Annotated[int, Parameter(help="Bins of the envelope.")] = 5,
    eps: Annotated[float, Parameter(help="What the last bin of the envelope reaches beyond the data.")] = 0.1,
    points: Annotated[PointOptions, Parameter(name="*")] = PointOptions(),
    fit: Annotated[LawOptions, Parameter(name="*")] = LawOptions(),
    show: Annotated[Section, Parameter(help="What to print.")] = "laws",
    format: Annotated[Format | None, Parameter(help="Default: text on a terminal, TSV in a pipe.")] = None,
    out: Annotated[Path | None, Parameter(help="A file: .tsv, .json, .tex, .parquet or .txt.")] = None,
    figure: Annotated[Path | None, Parameter(help=HELP)] = None,
) -> None:
    """Fit scaling laws with intervals, say in a sentence what they show, and what the numbers depend on.

    The verdicts and everything odd about the table go to the error stream, the numbers to the output.
    """
    from surefoot.laws import fit_scaling, read_table

    laws = fit_scaling(
        read_table(table),
        x=x,
        y=y,
        family=family,
        form=form,
        selection=selection,
        bins=bins,
        eps=eps,
        **_reading(points),
        **vars(fit),
    )
    _say(laws)
    emit(law_table(laws, show), format, out)
    if figure:
        write_law_figures(laws, figure, " ".join(x), laws.fits[0].points.y_name, _unit(points))


def curve(
    table: Annotated[Path, Parameter(help="A .csv, .tsv, .json, .jsonl or .parquet file of learning curves.")],
    /,
    *,
    x: Annotated[str, Parameter(help="The column of samples, steps or tokens.")],
    y: Annotated[str, Parameter(help="The column of the loss (or, with --score, of the score).")],
    name: Annotated[str | None, Parameter(help="The column that tells the curves apart.")] = None,
    form: Annotated[str, Parameter(help="A form, or auto: what held-out error asks for.")] = "auto",
    at: Annotated[
        tuple[float, ...], Parameter(help="Values of x to predict y at.", consume_multiple=True, negative=())
    ] = (),
    points: Annotated[PointOptions, Parameter(name="*")] = PointOptions(),
    fit: Annotated[LawOptions, Parameter(name="*")] = LawOptions(),
    show: Annotated[Section, Parameter(help="What to print.")] = "laws",
    format: Annotated[Format | None, Parameter(help="Default: text on a terminal, TSV in a pipe.")] = None,
    out: Annotated[Path | None, Parameter(help="A file: .tsv, .json, .tex, .parquet or .txt.")] = None,
    figure: Annotated[Path | None, Parameter(help=HELP)] = None,
) -> None:
    """Fit learning curves, choose the form by held-out error, and extrapolate by the average of forms."""
    from surefoot.laws import fit_curve, read_table

    laws = fit_curve(read_table(table), x=x, y=y, curve=name, form=form, **_reading(points), **vars(fit))
    _say(laws)
    emit(_prediction_table(laws, at) if at else law_table(laws, show), format, out)
    if figure:
        write_law_figures(laws, figure, x, laws.fits[0].points.y_name, _unit(points))


def _unit(points: PointOptions) -> Unit:
    return "share" if points.score or points.unit != "none" else "number"


def _reading(points: PointOptions) -> dict[str, Any]:
    filters = dict(_pair(text) for text in points.where)
    return vars(points) | {"where": filters}


def _pair(text: str) -> tuple[str, str]:
    column, sign, value = text.partition("=")
    if not sign or not column:
        raise SurefootError(f"'{text}' must have the form COLUMN=VALUE, for example dataset=imagenet1k.")
    return column, value


def _say(laws: ScalingLaws) -> None:
    for finding in laws.findings:
        print(f"{finding.severity}: {finding.message} [{finding.code}]", file=sys.stderr)
    for fit in laws.fits:
        print(fit.verdict, file=sys.stderr)
        if fit.choice is not None:
            print(f"  {fit.choice.reason}", file=sys.stderr)
    for pair, found in laws.comparisons.items():
        print(f"{pair}: {found.words}", file=sys.stderr)


def law_table(laws: ScalingLaws, section: Section = "laws") -> Table:
    """One section of fitted laws as a table."""
    if section == "comparisons":
        columns = ("pair", "difference", "low", "high", "p", "p_holm", "words")
        return Table(
            columns,
            tuple(
                (pair, one.difference.estimate, one.difference.low, one.difference.high, one.p, one.p_holm, one.words)
                for pair, one in laws.comparisons.items()
            ),
        )
    parts = {
        "laws": (("form", "parameter", "value", "low", "high", "method", "n", "p_constant"), _law_rows),
        "points": (("label", "row", "x", "y", "used"), _point_rows),
        "band": (("x", "y", "low", "high"), _band_rows),
        "held-out": (("form", "fitted", "label", "decades", "log_error"), _held_rows),
        "sensitivity": (("choice", "exponent", "change", "n"), _sensitivity_rows),
    }
    columns, rows_of = parts[section]
    rows = tuple((fit.points.family, *row) for fit in laws.fits for row in rows_of(fit))
    return Table(("family", *columns), rows)


def _law_rows(fit: FamilyLaw) -> list[tuple[object, ...]]:
    law, found = fit.law, fit.intervals
    return [
        (law.form, name, one.estimate, one.low, one.high, found.method, law.n, law.p_constant)
        for name, one in found.by_name.items()
    ]


def _point_rows(fit: FamilyLaw) -> list[tuple[object, ...]]:
    used = set(fit.used.tolist())
    points = fit.points
    return [
        (points.labels[i], int(points.rows[i]), " ".join(map(repr, points.x[i].tolist())), float(y), i in used)
        for i, y in enumerate(points.y)
    ]


def _band_rows(fit: FamilyLaw) -> list[tuple[object, ...]]:
    curves = (fit.curve_x, fit.curve_y, fit.curve_low, fit.curve_high)
    return list(zip(*(curve.tolist() for curve in curves), strict=True))


def _held_rows(fit: FamilyLaw) -> list[tuple[object, ...]]:
    labels = [fit.points.labels[i] for i in fit.used]
    return [
        (held.form, int(k), labels[row], float(decades), float(error))
        for held in (fit.choice.held_out if fit.choice else ())
        for k, row, decades, error in zip(held.fitted, held.row, held.decades, held.log_error, strict=True)
    ]


def _sensitivity_rows(fit: FamilyLaw) -> list[tuple[object, ...]]:
    return [(row.choice, row.exponent, row.change, row.n) for row in fit.sensitivity]


def _prediction_table(laws: ScalingLaws, at: tuple[float, ...]) -> Table:
    from surefoot.laws import predict_band

    rows = []
    for fit in laws.fits:
        values = zip(at, *(part.tolist() for part in predict_band(fit, at)), strict=True)
        rows += [(fit.points.family, *row) for row in values]
    return Table(("curve", "x", "prediction", "low", "high"), tuple(rows))
