"""Tables with groups: sweep learners over your own table, and audit predictions made elsewhere."""

import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import App, Parameter

from surefoot.cli._claims import MARKS
from surefoot.cli._common import StoreOption, WorkersOption, open_store, results_of
from surefoot.cli._output import Format, chosen_format, emit, say
from surefoot.cli._study import PoolOption, make_missing
from surefoot.core import Store, Study, SurefootError, Table, counted, decide, plan

if TYPE_CHECKING:
    from surefoot.tabular import Audit, OpenedDesign

tabular = App(name="tabular", help="Subgroup robustness of models on tables.", help_format="plaintext")


@tabular.command
def sweep(
    data: Annotated[
        str, Parameter(help="A table (CSV, Excel, JSON, Parquet, Arrow, Markdown), or the name of a public one.")
    ],
    /,
    *,
    label: Annotated[str, Parameter(help="The column to predict; it has two values.")] = "",
    sensitive: Annotated[str, Parameter(help="Columns, separated by commas, whose intersections are the groups.")] = "",
    positive: Annotated[str, Parameter(help="The label's value that counts as yes.")] = "",
    drop: Annotated[str, Parameter(help="Columns that are not features, separated by commas.")] = "",
    categorical: Annotated[str, Parameter(help="Columns whose numbers are codes, separated by commas.")] = "",
    raw: Annotated[str, Parameter(help="Published files of acs-income-published and the others like it.")] = "",
    learners: Annotated[str, Parameter(help="Learners, separated by commas; 'all' for every one.")] = "",
    budget: Annotated[int, Parameter(help="Configurations of each learner.")] = 16,
    splits: Annotated[int, Parameter(help="Splits, best a multiple of five: each of five tests a fifth.")] = 5,
    rows: Annotated[int, Parameter(help="The most training rows; 0: all.")] = 0,
    epochs: Annotated[int, Parameter(help="Passes of the networks over the training rows.")] = 20,
    halving: Annotated[int, Parameter(help="Successive halving by this factor; 1: everything in full.")] = 1,
    metric: Annotated[
        Literal["accuracy", "balanced_accuracy"], Parameter(help="What choices are made by, also in the worst group.")
    ] = "accuracy",
    store: StoreOption = None,
    pool: PoolOption = "processes",
    workers: WorkersOption = None,
    report: Annotated[Path | None, Parameter(help="Where the report goes. Default: ./sweep-NAME.html.")] = None,
    format: Format | None = None,
) -> int:
    """Fit many configurations of several learners and compare them by group: the worst group, accuracy, the cost.

    It says how the columns were read. Exits with 1 when a Step failed.

    Example: surefoot tabular sweep people.csv --label hired --sensitive sex,race --budget 16
    """
    from surefoot.studies.trees import SWEPT
    from surefoot.studies.trees import sweep as sweep_study

    chosen = _learners(learners)
    if halving > max(budget, 1):
        raise SurefootError(f"--halving {halving} would stop nothing of a --budget of {budget}: take a smaller factor.")
    options = (label, _names(sensitive), positive, _names(drop), _names(categorical))
    table = _published(data, raw, *options) if raw else _table(data, *options)
    place = open_store(store)
    named: dict[str, Any] = {"budget": budget, "splits": splits, "rows": rows, "epochs": epochs}
    named |= {"halving": halving, "metric": metric}
    study = sweep_study(table, learners=chosen or SWEPT, **named)
    failed = make_missing(study, place, (pool, workers), retry=True)
    if failed and (rest := _without_failed(study, place, chosen or SWEPT)):
        study = sweep_study(table, learners=rest, **named)
        make_missing(study, place, (pool, workers), retry=False)
    say_what_was_read(_opened(study, place))
    results = results_of(study, place)
    emit(reached := _reached(results), format)
    _say_blank(reached, metric)
    for claim, verdict in decide(study.claims, results):
        print(f"{MARKS[verdict.status]} {claim.sentence} {verdict.detail}", file=sys.stderr)
    from surefoot.report import write_report

    print(f"Report: {write_report(study, results, report or Path(f'{study.name}.html'))}", file=sys.stderr)
    return 1 if failed else 0


@tabular.command
def audit(
    predictions: Annotated[str, Parameter(help="A file of labels, scores and groups, or - for standard input.")],
    /,
    *,
    score: Annotated[str, Parameter(help="The column of scores: probabilities, or decisions.")],
    sensitive: Annotated[str, Parameter(help="Columns, separated by commas: their intersections and each alone.")],
    label: Annotated[str, Parameter(help="The column of true labels. Without it: selection rates alone.")] = "",
    against: Annotated[str, Parameter(help="The column of a second model's scores, to compare with.")] = "",
    weight: Annotated[str, Parameter(help="The column of the rows' weights.")] = "",
    threshold: Annotated[float, Parameter(help="A row is called positive from this score on.")] = 0.5,
    positive: Annotated[str, Parameter(help="The label's value that counts as yes.")] = "",
    least: Annotated[int, Parameter(help="The rows that a rate must stand on to be compared.")] = 20,
    report: Annotated[Path | None, Parameter(help="An HTML file to write, which opens without a network.")] = None,
    format: Format | None = None,
) -> None:
    """Measure a model made elsewhere by group: every rate with its interval, the worst group, what groups differ by.

    A line a group and model, one between the groups of each division, and of two models one of their difference. Text
    shows the main columns, every other format all of them.

    Example: surefoot tabular audit predictions.csv --label y --score p --sensitive sex,race --report audit.html
    """
    from surefoot.tabular import PredictionColumns, audit_predictions

    columns = PredictionColumns(
        label=label, score=score, other=against, weight=weight, sensitive=_names(sensitive), positive=positive
    )
    found = audit_predictions(predictions, columns, threshold=threshold, least=least)
    for note in found.notes:
        say(note)
    if chosen_format(format) == "text":
        for table in _shown(found):
            emit(table, format)
    else:
        emit(_table_of((*found.groups, *found.between, *found.differences)), format)
    if report:
        from surefoot.report import write_audit

        say(f"Report: {write_audit(found, report, source=predictions)}")


_GROUP_COLUMNS = (
    *("model", "group", "rows", "positives", "accuracy", "accuracy_low", "accuracy_high", "selection_rate"),
    *("true_positive_rate", "false_positive_rate", "precision", "auc"),
)
"""What a terminal is wide enough for."""


def _shown(found: "Audit") -> Iterator[Table]:
    rows = [
        (line["model"], line["division"], name.replace("_", " "), line[name], *ends, _note(line, name))
        for line in found.between
        for name in line
        if (ends := [line[f"{name}{end}"] for end in ("_low", "_high") if f"{name}{end}" in line])
    ]
    between = Table(("model", "division", "between groups", "value", "low", "high", "note"), tuple(rows))
    differences = [_table_of(found.differences)] if found.differences else []
    for table in (_table_of(found.groups, _GROUP_COLUMNS), between, *differences):
        rounded = [[round(cell, 3) if isinstance(cell, float) else cell for cell in row] for row in table.rows]
        yield Table(table.columns, tuple(map(tuple, rounded)))


def _note(line: Mapping[str, Any], name: str) -> str:
    notes = {"worst_group_accuracy": line.get("worst_group")}
    notes |= {"demographic_parity_ratio": f"four-fifths rule: {line.get('four_fifths')}"}
    return "undefined" if line[name] is None else notes.get(name) or ""


def _table_of(lines: Sequence[Mapping[str, Any]], chosen: Sequence[str] = ()) -> Table:
    """Lines as a table, each metric in its own column; a column that no line has is left out."""
    there = tuple(dict.fromkeys(name for line in lines for name in line))
    columns = tuple(name for name in chosen if name in there) or there
    return Table(columns, tuple(tuple(line.get(name) for name in columns) for line in lines))


def _without_failed(study: Study, place: Store, learners: Sequence[str]) -> tuple[str, ...]:
    """The learners without those of which a Step failed, which are named; none when it is not they that failed."""
    from surefoot.tabular import TableFits

    failed = plan(study.steps, place).failed
    out = {step.learner for step in failed if isinstance(step, TableFits)}
    rest = tuple(name for name in learners if name not in out)
    if rest and len(rest) < len(learners):
        say(f"Left out, because a fit failed (the reason is above): {', '.join(sorted(out))}. The others are compared.")
        return rest
    return ()


def _names(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


def _learners(text: str) -> tuple[str, ...]:
    from surefoot.tabular import LEARNERS

    names = tuple(LEARNERS) if text == "all" else _names(text)
    if unknown := [name for name in names if name not in LEARNERS]:
        raise SurefootError(f"There is no learner named '{unknown[0]}'. Known: {', '.join(LEARNERS)}.")
    return names


def _table(data: str, *options: Any) -> Any:
    from surefoot.tabular import RECIPES, FileTable, PublicTable

    if data in RECIPES:
        _refuse_options(data, *options)
        return PublicTable(name=data)
    label, sensitive, positive, drop, categorical = options
    if not label and not Path(data).exists():
        raise SurefootError(f"There is no file '{data}', nor a public table of that name: {', '.join(RECIPES)}.")
    if not label:
        raise SurefootError("Name the column to predict: --label COLUMN.")
    named = {"positive": positive, "drop": drop, "categorical": categorical}
    return FileTable(path=str(Path(data)), label=label, sensitive=sensitive, **named).pinned()


def _refuse_options(name: str, *given: Any) -> None:
    if any(given):
        raise SurefootError(
            f"{name} comes with its label, groups and features: leave out --label, --sensitive, --positive, --drop and "
            "--categorical, or name a file of your own."
        )


def _published(name: str, files: str, *options: Any) -> Any:
    from surefoot.tabular import RawTable

    _refuse_options(name, *options)
    return RawTable(name=name, files=tuple(_names(files))).pinned()


def _opened(study: Study, place: Store) -> "OpenedDesign":
    from surefoot.core import walk
    from surefoot.tabular import Design, open_design

    if not (designs := [step for step in walk(study.steps) if isinstance(step, Design) and place.has(step)]):
        raise SurefootError("The table could not be read; the reason is above.")
    return open_design(place.path(designs[0]))


def say_what_was_read(opened: "OpenedDesign") -> None:
    """How many features and rows there are, which groups are too small, and what was done to the columns."""
    sizes = [int((opened.test.g == group).sum()) for group in range(len(opened.groups))]
    say(f"{counted(len(opened.features), 'feature')} from the columns; training rows: {len(opened.train.y)}.")
    say("Test rows: " + "; ".join(map("{} {}".format, opened.groups, sizes)) + ".")
    if small := [name for name, size in zip(opened.groups, sizes, strict=True) if size < 20]:
        say(f"Too few test rows to say anything (left out): {'; '.join(small)}.")
    for note in opened.notes:
        say(note)


def _say_blank(reached: Table, metric: str) -> None:
    """Which columns have cells without a number, and why, or why there is no learner at all."""
    from surefoot.stats import LEAST_ROWS

    rows = [row for row in reached.records() if row["configurations"] is not None]
    if not rows and metric == "balanced_accuracy":
        say(
            f"No learner is listed: in some split no group has {LEAST_ROWS} validation rows of each label, so that "
            "nothing can be chosen by the worst group's balanced accuracy. Take --metric accuracy, or more rows."
        )
    ends = ("accuracy", "disparity", "odds")
    if blank := [name for name in reached.columns if name.endswith(ends) and any(row[name] is None for row in rows)]:
        say(
            f"Blank cells in {', '.join(blank)}: of a label, or of all but one group, fewer than {LEAST_ROWS} test "
            "rows stand behind them."
        )


def _reached(results: Any) -> Table:
    from surefoot.studies.trees import reached
    from surefoot.tabular import LEARNERS, MAJORITY

    return _table_of([line for party in (*LEARNERS, MAJORITY) if (line := reached(results, party))])
