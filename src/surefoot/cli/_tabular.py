"""Tables with groups: sweep learners over your own table, and audit predictions made elsewhere."""

import sys
from pathlib import Path
from typing import Annotated, Any

from cyclopts import App, Parameter

from surefoot.cli._claims import MARKS
from surefoot.cli._common import StoreOption, WorkersOption, open_store, results_of
from surefoot.cli._output import Format, emit
from surefoot.core import Store, Study, SurefootError, Table, decide, open_pool
from surefoot.core import plan as plan_of
from surefoot.core import run as run_steps

tabular = App(name="tabular", help="Subgroup robustness of models on tables.", help_format="plaintext")


@tabular.command
def sweep(
    data: Annotated[str, Parameter(help="A CSV, Parquet or Arrow file, or the name of a public table.")],
    /,
    *,
    label: Annotated[str, Parameter(help="The column to predict; it has two values.")] = "",
    sensitive: Annotated[str, Parameter(help="Columns, separated by commas, whose intersections are the groups.")] = "",
    positive: Annotated[str, Parameter(help="The label's value that counts as yes.")] = "",
    drop: Annotated[str, Parameter(help="Columns that are not features, separated by commas.")] = "",
    categorical: Annotated[str, Parameter(help="Columns whose numbers are codes, separated by commas.")] = "",
    raw: Annotated[str, Parameter(help="Files of acs-income, acs-public-coverage or brfss as published.")] = "",
    learners: Annotated[str, Parameter(help="Learners, separated by commas; 'all' for every one.")] = "",
    budget: Annotated[int, Parameter(help="Configurations of each learner.")] = 16,
    splits: Annotated[int, Parameter(help="Random splits.")] = 2,
    rows: Annotated[int, Parameter(help="The most training rows; 0: all.")] = 0,
    epochs: Annotated[int, Parameter(help="Passes of the networks over the training rows.")] = 20,
    halving: Annotated[int, Parameter(help="Successive halving by this factor; 1: everything in full.")] = 1,
    store: StoreOption = None,
    workers: WorkersOption = None,
    report: Annotated[Path | None, Parameter(help="Where the report goes. Default: ./sweep-NAME.html.")] = None,
    format: Format | None = None,
) -> int:
    """Fit many configurations of several learners and compare them by group: the frontier, the worst group, the cost.

    It says how the columns were read. Exits with 1 when a Step failed.

    Example: surefoot tabular sweep people.csv --label hired --sensitive sex,race --budget 16
    """
    from surefoot.studies.trees import SWEPT
    from surefoot.studies.trees import sweep as sweep_study

    chosen = _learners(learners)
    options = (positive, _names(drop), _names(categorical))
    table = _published(data, raw) if raw else _table(data, label, _names(sensitive), *options)
    study = sweep_study(
        table,
        learners=chosen or SWEPT,
        budget=budget,
        splits=splits,
        rows=rows,
        epochs=epochs,
        halving=halving,
    )
    place = open_store(store)
    failed = _make(study, place, workers)
    _say_what_was_read(study, place)
    results = results_of(study, place)
    emit(_reached(results), format)
    for claim, verdict in decide(study.claims, results):
        print(f"{MARKS[verdict.status]} {claim.sentence} {verdict.detail}", file=sys.stderr)
    from surefoot.report import write_report

    print(f"Report: {write_report(study, results, report or Path(f'{study.name}.html'))}", file=sys.stderr)
    return 1 if failed else 0


@tabular.command
def audit(
    predictions: Annotated[Path, Parameter(help="A CSV, Parquet or Arrow file with labels, scores and groups.")],
    /,
    *,
    label: Annotated[str, Parameter(help="The column of true labels, 0 or 1, or no and yes.")],
    score: Annotated[str, Parameter(help="The column of scores: probabilities, or decisions 0 and 1.")],
    sensitive: Annotated[str, Parameter(help="Columns, separated by commas, whose intersections are the groups.")],
    threshold: Annotated[float, Parameter(help="A row is called positive from this score on.")] = 0.5,
    positive: Annotated[str, Parameter(help="The label's value that counts as yes.")] = "",
    least: Annotated[int, Parameter(help="Groups with fewer rows are named and left out.")] = 20,
    format: Format | None = None,
) -> None:
    """Measure a model made elsewhere by group: accuracy with intervals, worst group, disparities, calibration.

    Example: surefoot tabular audit predictions.csv --label y --score p --sensitive sex,race
    """
    from surefoot.tabular import audit_predictions

    rows, notes = audit_predictions(
        predictions,
        label=label,
        score=score,
        sensitive=_names(sensitive),
        threshold=threshold,
        least=least,
        positive=positive,
    )
    for note in notes:
        print(note, file=sys.stderr)
    columns = tuple(rows[0])
    emit(Table(columns, tuple(tuple(row[name] for name in columns) for row in rows)), format)


def _names(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


def _learners(text: str) -> tuple[str, ...]:
    from surefoot.tabular import LEARNERS

    names = tuple(LEARNERS) if text == "all" else _names(text)
    unknown = [name for name in names if name not in LEARNERS]
    if unknown:
        raise SurefootError(f"There is no learner named '{unknown[0]}'. Known: {', '.join(LEARNERS)}.")
    return names


def _table(data: str, label: str, sensitive: tuple[str, ...], *options: Any) -> Any:
    from surefoot.tabular import RECIPES, PublicTable, file_table

    if data in RECIPES:
        return PublicTable(name=data)
    if not label:
        raise SurefootError("Name the column to predict: --label COLUMN.")
    positive, drop, categorical = options
    named = {"positive": positive, "drop": drop, "categorical": categorical}
    return file_table(Path(data), label=label, sensitive=sensitive, **named)


def _published(name: str, files: str) -> Any:
    from surefoot.tabular import raw_table

    return raw_table(name, [Path(file) for file in _names(files)])


def _make(study: Study, place: Store, workers: int | None) -> int:
    """Run what is missing with a progress display; returns how many Steps failed or were blocked."""
    import os

    from surefoot.cli._progress import follow

    todo = plan_of(study.steps, place)
    if not todo.missing:
        return 0
    count = workers or os.cpu_count() or 1
    with open_pool("processes", count) as executor:
        counts = follow(run_steps(study.steps, place, executor, retry=True), todo, count)
    return counts["failed"] + counts["blocked"]


def _say_what_was_read(study: Study, place: Store) -> None:
    from surefoot.core import walk
    from surefoot.tabular import Design, open_design

    designs = [step for step in walk(study.steps) if isinstance(step, Design) and place.has(step)]
    if not designs:
        raise SurefootError("The table could not be read; the reason is above.")
    opened = open_design(place.path(designs[0]))
    sizes = [int((opened.test.g == group).sum()) for group in range(len(opened.groups))]
    print(f"{len(opened.features)} features from the columns; training rows: {len(opened.train.y)}.", file=sys.stderr)
    print("Test rows: " + "; ".join(map("{} {}".format, opened.groups, sizes)) + ".", file=sys.stderr)
    small = [name for name, size in zip(opened.groups, sizes, strict=True) if size < 20]
    if small:
        print(f"Too few test rows to say anything (left out): {'; '.join(small)}.", file=sys.stderr)
    for note in opened.notes:
        print(note, file=sys.stderr)


def _reached(results: Any) -> Table:
    """What each learner reaches, chosen by its worst group on validation."""
    from surefoot.studies.trees import reached
    from surefoot.tabular import LEARNERS

    columns = (
        "learner",
        "configurations",
        "accuracy",
        "worst group",
        "low",
        "high",
        "disparity",
        "equalised odds",
        "calibration",
        "seconds",
    )
    return Table(columns, tuple(row for name in LEARNERS if (row := reached(results, name))))
