"""`surefoot fit scaling` and `surefoot fit curve`: laws of a user's table."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from surefoot.cli._fit._figures import HELP, write_law_figures
from surefoot.cli._output import Format, check_place, emit, say, say_remarks
from surefoot.core import SurefootError, Table

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from surefoot.laws import FamilyLaw, LawOptions, PointOptions, ScalingLaws
    from surefoot.stats import Interval

Section = Literal["laws", "points", "band", "held-out", "sensitivity", "comparisons"]
TABLE = "A table of results (.csv, .tsv, .txt, .md, .json, .jsonl, .parquet, .feather, .xlsx, .gz), or - for stdin."
_MOST_SAID = 45
_Names = tuple[str, ...]


def names_of(text: str) -> Parameter:
    return Parameter(help=text, consume_multiple=True)


@dataclass(frozen=True, kw_only=True)
class PointFlags:
    """Which rows are points, and of what."""

    score: Annotated[bool, Parameter(help="y is a score, better when larger: fit 1 - y.", negative=())] = False
    unit: Annotated[
        Literal["auto", "fraction", "percent", "none"], Parameter(help="The unit of y; none takes it as it is.")
    ] = "none"
    where: Annotated[_Names, names_of("Keep rows with COLUMN=PATTERN or COLUMN!=PATTERN.")] = ()
    run: Annotated[str | None, Parameter(help="The column that names a run with several points.")] = None
    label: Annotated[str | None, Parameter(help="The column that names a point.")] = None
    n_test: Annotated[str | None, Parameter(help="Test examples behind each y: a number or a column.")] = None


@dataclass(frozen=True, kw_only=True)
class LawFlags:
    """How the law is fitted."""

    huber: Annotated[float | None, Parameter(help="Corner of Huber's loss on log y. Default: least squares.")] = None
    tied: Annotated[_Names, names_of("Tie exponents, for example alpha=beta.")] = ()
    fixed: Annotated[_Names, names_of("Fix exponents or the floor, for example exponent=0.5 floor=0.")] = ()
    method: Annotated[
        Literal["auto", "t", "profile", "wild", "pairs"], Parameter(help="The method of the intervals.")
    ] = "auto"
    level: Annotated[float, Parameter(help="The level of the intervals.")] = 0.95
    replicates: Annotated[int, Parameter(help="Bootstrap samples.")] = 1000
    seed: Annotated[int, Parameter(help="Seed of the bootstrap.")] = 0


@dataclass(frozen=True, kw_only=True)
class LawOutput:
    """What is printed, and where to."""

    at: Annotated[
        _Names, names_of("Places to predict y at (1 - y with --score), with the band of a new run: 1e12, 34B, or N,D.")
    ] = ()
    show: Annotated[Section, Parameter(help="What to print.")] = "laws"
    format: Annotated[Format | None, Parameter(help="Default: text on a terminal, TSV in a pipe.")] = None
    out: Annotated[Path | None, Parameter(help="A file: .tsv, .csv, .json, .md, .tex, .parquet or .txt.")] = None
    figure: Annotated[Path | None, Parameter(help=HELP)] = None


def scaling(
    table: Annotated[Path, Parameter(help=TABLE)],
    /,
    *,
    x: Annotated[_Names, names_of("The column of x, or several.")],
    y: Annotated[str, Parameter(help="The column of the error (or, with --score, of the score).")],
    family: Annotated[str | None, Parameter(help="The column of families: one law each, compared.")] = None,
    form: Annotated[str, Parameter(help="A form, or auto: what held-out error asks for.")] = "power",
    selection: Annotated[
        Literal["all", "pareto", "envelope"], Parameter(help="The points that the law is fitted on.")
    ] = "all",
    bins: Annotated[int, Parameter(help="Bins of the envelope.")] = 5,
    eps: Annotated[float, Parameter(help="What the last bin of the envelope reaches beyond the data.")] = 0.1,
    optimal: Annotated[_Names, names_of("Compute to find the best size N and data D for (two-variable form).")] = (),
    cost: Annotated[float, Parameter(help="Compute of one parameter and sample: C = cost * N * D.")] = 6.0,
    points: Annotated[PointFlags, Parameter(name="*")] = PointFlags(),
    fit: Annotated[LawFlags, Parameter(name="*")] = LawFlags(),
    output: Annotated[LawOutput, Parameter(name="*")] = LawOutput(),
) -> None:
    """Fit scaling laws with intervals, say in a sentence what they show, and what the numbers depend on."""
    from surefoot.laws import LawOptions, PointOptions

    chosen = PointOptions(x=x, y=y, family=family, **asdict(points))
    options = LawOptions(form=form, selection=selection, bins=bins, eps=eps, **asdict(fit))
    _run(table, chosen, options, output, optimal=optimal, cost=cost)


def curve(
    table: Annotated[Path, Parameter(help=TABLE)],
    /,
    *,
    x: Annotated[str, Parameter(help="The column of samples, steps or tokens.")],
    y: Annotated[str, Parameter(help="The column of the loss (or, with --score, of the score).")],
    name: Annotated[str | None, Parameter(help="The column that tells the curves apart.")] = None,
    form: Annotated[str, Parameter(help="A form, or auto: what held-out error asks for.")] = "auto",
    points: Annotated[PointFlags, Parameter(name="*")] = PointFlags(),
    fit: Annotated[LawFlags, Parameter(name="*")] = LawFlags(),
    output: Annotated[LawOutput, Parameter(name="*")] = LawOutput(),
) -> None:
    """Fit learning curves, choose the form by held-out error, and extrapolate by the average of forms."""
    from surefoot.laws import LawOptions, PointOptions

    chosen = PointOptions(x=(x,), y=y, family=name, **asdict(points))
    _run(table, chosen, LawOptions(form=form, **asdict(fit)), output)


def _run(
    table: Path,
    points: PointOptions,
    options: LawOptions,
    output: LawOutput,
    *,
    optimal: _Names = (),
    cost: float = 6.0,
) -> None:
    from surefoot.laws import fit_scaling, optimal_plans, places_of, plan_table, read_table

    check_place(output.out, output.format)
    places = places_of(output.at, points.x)
    if bool(output.at) + bool(optimal) + (output.show != "laws") > 1:
        raise SurefootError("--at, --optimal and --show print a table each: give one of them.")
    if not 0 < cost < math.inf:
        raise SurefootError(f"The compute of one parameter and sample must be above 0; got {cost}.")
    if not places_of(optimal, ("compute",)).size and output.figure and len(points.x) > 1:
        raise SurefootError("A figure shows a law of one x: name a single column with --x, or --optimal COMPUTE.")
    laws = fit_scaling(read_table(table), points, options)
    plans = optimal_plans(laws, optimal, cost=cost) if optimal else None
    _say(laws)
    for fit in laws.fits:
        _say_far(fit.points.family, fit.used_x, places)
        _say_far(fit.points.family, cost * fit.used_x.prod(axis=1, keepdims=True), places_of(optimal, ("compute",)))
    if plans:
        say("\n".join(plans.words))
        emit(plan_table(plans), output.format, output.out)
    else:
        emit(_prediction_table(laws, places) if output.at else law_table(laws, output.show), output.format, output.out)
    if output.figure:
        write_law_figures(laws, plans, output.figure, points)


def _say(laws: ScalingLaws) -> None:
    say_remarks(laws.remarks)
    for fit in laws.fits:
        say(fit.verdict)
        if fit.choice is not None:
            say(f"  {fit.choice.reason}")
    many = len(laws.comparisons) > _MOST_SAID
    decided = {pair: one for pair, one in laws.comparisons.items() if one.p_holm < 1 - one.difference.level}
    for pair, found in (decided if many else laws.comparisons).items():
        say(f"{pair}: {found.words}")
    if many:
        left = len(laws.comparisons) - len(decided)
        say(f"{left:,} of {len(laws.comparisons):,} comparisons are not decided: --show comparisons")


def _say_far(family: str, seen: NDArray[np.float64], places: NDArray[np.float64]) -> None:
    """Which places lie more than a decade beyond what was seen (n, variables), where no band was ever tested."""
    ends = [(float(column.min()), float(column.max())) for column in seen.T]
    far = [place for place in places.tolist()
           if any(not low / 10 <= one <= 10 * high for one, (low, high) in zip(place, ends, strict=True))]  # fmt: skip
    if far:
        shown = "; ".join(",".join(f"{one:g}" for one in place) for place in far)
        ranges = " and ".join(f"{low:g} to {high:g}" for low, high in ends)
        say(f"warning: {family + ': ' if family else ''}{shown} is more than a decade beyond the points, of {ranges}.")


def law_table(laws: ScalingLaws, section: Section = "laws") -> Table:
    """One section of fitted laws as a table; what is not known is None."""
    from surefoot.laws import plain_cell

    if section == "comparisons":
        columns = ("pair", "difference", "low", "high", "p", "p_holm", "words")
        return Table(
            columns,
            tuple(
                (pair, *map(plain_cell, (*_bounds(one.difference), one.p, one.p_holm)), one.words)
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
    rows = tuple((fit.points.family, *map(plain_cell, row)) for fit in laws.fits for row in rows_of(fit))
    return Table(("family", *columns), rows)


def _bounds(one: Interval) -> tuple[float, float, float]:
    return one.estimate, one.low, one.high


def _law_rows(fit: FamilyLaw) -> list[tuple[object, ...]]:
    law, found = fit.law, fit.intervals
    return [(law.form, name, *_bounds(one), found.method, law.n, law.p_constant) for name, one in found.by_name.items()]


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
    from surefoot.laws import law_sensitivity

    return [(row.choice, row.exponent, row.change, row.n) for row in law_sensitivity(fit)]


def _prediction_table(laws: ScalingLaws, places: NDArray[np.float64]) -> Table:
    from surefoot.laws import plain_cell, predict_band

    names = laws.fits[0].points.x_names
    rows = []
    for fit in laws.fits:
        values = zip(places.tolist(), *(part.tolist() for part in predict_band(fit, places)), strict=True)
        tests = fit.points.tests if fit.points.tests is None else fit.points.tests[fit.used]
        of = fit.points.y_name + ("" if tests is None else f" on {1 / (1 / tests).mean():,.0f} examples")
        rows += [(fit.points.family, *place, *map(plain_cell, band), of) for place, *band in values]
    return Table(("family", *names, "prediction", "low", "high", "of"), tuple(rows))
