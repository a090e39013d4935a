"""`surefoot fit shift`: robustness under shift from a table of results."""

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from surefoot.cli._fit._figures import HELP, write_figures
from surefoot.cli._fit._scaling import TABLE, names_of
from surefoot.cli._output import Format, check_place, emit, say_remarks
from surefoot.core import SurefootError, Table, write_text

if TYPE_CHECKING:
    from surefoot.laws import Accuracies

Section = Literal["lines", "groups", "models", "families", "sensitivity", "relative", "remarks", "left_out"]


@dataclass(frozen=True, kw_only=True)
class TableOptions:
    """How the table is to be read."""

    where: Annotated[tuple[str, ...], names_of("Keep rows with COLUMN=PATTERN or COLUMN!=PATTERN.")] = ()
    model: Annotated[tuple[str, ...], names_of("Columns that name a model. Default: recognised.")] = ()
    task: Annotated[str | None, Parameter(help="In a long table, the column that names the set.")] = None
    value: Annotated[str | None, Parameter(help="In a long table, the column of accuracies.")] = None
    half_width: Annotated[tuple[str, ...], names_of("In a long table, half widths of 95 percent intervals.")] = ()
    n: Annotated[tuple[str, ...], names_of("Examples in a set, as SET=NUMBER; in a long table a column too.")] = ()
    unit: Annotated[Literal["auto", "fraction", "percent"], Parameter(help="The unit of the accuracies.")] = "auto"


@dataclass(frozen=True, kw_only=True)
class BaselineOptions:
    """Who is compared with whom."""

    baseline: Annotated[tuple[str, ...], names_of("COLUMN=PATTERN or COLUMN!=PATTERN; all must hold.")] = ()
    baseline_above: Annotated[float, Parameter(help="The lowest x of the baseline, a fraction.")] = 0.0
    group: Annotated[str | None, Parameter(help="The column of groups whose means are compared.")] = None
    family: Annotated[str | None, Parameter(help="The column of families, for lines and tests of their own.")] = None
    parent: Annotated[str | None, Parameter(help="The column that names the model which each was made from.")] = None
    matched: Annotated[bool, Parameter(help="Use x on the classes of a shift where the table has it.")] = True


@dataclass(frozen=True, kw_only=True)
class FitOptions:
    """How the line is fitted."""

    axis: Annotated[Literal["logit", "probit", "linear"], Parameter(help="The axes of the line.")] = "logit"
    pivot: Annotated[float | None, Parameter(help="A fraction of x at which the line may bend.")] = None
    cluster: Annotated[bool, Parameter(help="Draw whole families in the bootstrap.", negative=())] = False
    replicates: Annotated[int, Parameter(help="Bootstrap samples.")] = 1000
    level: Annotated[float, Parameter(help="The level of the intervals.")] = 0.95
    seed: Annotated[int, Parameter(help="Seed of the bootstrap.")] = 0


def shift(
    table: Annotated[Path, Parameter(help=TABLE)],
    /,
    *,
    x: Annotated[tuple[str, ...], names_of("The in-distribution set, or several.")],
    shifts: Annotated[tuple[str, ...], names_of("The shifted sets. Default: all others.")] = (),
    read: Annotated[TableOptions, Parameter(name="*")] = TableOptions(),
    choose: Annotated[BaselineOptions, Parameter(name="*")] = BaselineOptions(),
    fit: Annotated[FitOptions, Parameter(name="*")] = FitOptions(),
    show: Annotated[tuple[Section, ...], names_of("Default: lines and groups as text, else models.")] = (),
    format: Annotated[Format | None, Parameter(help="Default: text on a terminal, TSV in a pipe.")] = None,
    out: Annotated[Path | None, Parameter(help="A file: .tsv, .csv, .json, .md, .tex, .parquet or .txt.")] = None,
    figure: Annotated[Path | None, Parameter(help=HELP)] = None,
) -> None:
    """Fit the robustness line of a baseline, and say what each model has over it, in percentage points."""
    from dataclasses import asdict

    from surefoot.laws import effect_figure, fit_shift, robustness_figure, shift_data, shift_table

    check_place(out, format)
    text = format == "text" or (format is None and out is None and sys.stdout.isatty())
    sections = show or (("lines", "groups") if text else ("models",))
    if len(set(sections)) > 1 and not _is_json(format, out) and (out or format not in {None, "text"}):
        raise SurefootError("Several sections are printed as text or JSON only: name one with --show.")
    scores = _scores(table, x, shifts, read)
    result = fit_shift(shift_data(scores, x=x, shifts=shifts, **asdict(choose)), **asdict(fit))
    say_remarks(result.remarks)
    _print({section: shift_table(result, section) for section in (*sections, "left_out")}, sections, format, out)
    if figure:
        write_figures((robustness_figure(result), effect_figure(result)), figure)


def _scores(table: Path, x: tuple[str, ...], shifts: tuple[str, ...], read: TableOptions) -> "Accuracies":
    from surefoot.laws import keep_where, long_accuracies, read_table, wide_accuracies

    results = keep_where(read_table(table), read.where)
    sizes = read.n[0] if read.task and len(read.n) == 1 and "=" not in read.n[0] else dict(map(_size, read.n))
    if read.task and read.value:
        return long_accuracies(
            results,
            task=read.task,
            value=read.value,
            half_widths=read.half_width,
            model=read.model,
            unit=read.unit,
            n=sizes,
        )
    if read.task or read.value or read.half_width or isinstance(sizes, str):
        raise SurefootError("A long table needs both --task and --value.")
    sets = tuple(dict.fromkeys((*x, *shifts))) if shifts else ()
    return wide_accuracies(results, model=read.model, sets=sets, axes=x, unit=read.unit, n=sizes)


def _size(text: str) -> tuple[str, int]:
    name, _, number = text.rpartition("=")
    if not name or not number.isdecimal() or int(number) < 1:
        raise SurefootError(
            f"'{text}' must have the form SET=NUMBER, for example val=50000; a column of examples is "
            "of a long table (--task, --value)."
        )
    return name, int(number)


def _is_json(format: Format | None, out: Path | None) -> bool:
    return format == "json" or (format is None and out is not None and out.suffix.lower() == ".json")


def _print(tables: dict[str, Table], names: Sequence[str], format: Format | None, out: Path | None) -> None:
    """JSON as one object of sections with what was left out; else one section as any format, several as text."""
    if _is_json(format, out):
        text = (
            json.dumps({name: table.records() for name, table in tables.items()}, indent=1, ensure_ascii=False) + "\n"
        )
        write_text(out, text) if out else sys.stdout.write(text)
        return
    asked = {name: tables[name] for name in names}
    if len(asked) == 1:
        emit(next(iter(asked.values())), format, out)
    else:
        for name, table in asked.items():
            print(f"\n{name}" if table.rows else f"\n{name}: none")
            if table.rows:
                emit(table, "text", None)
