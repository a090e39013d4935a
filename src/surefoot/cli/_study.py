"""The verbs of a study: plan, run, why, check, report."""

import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from surefoot.cli._claims import exit_code, say_why, verdict_lines, verdict_table, write_junit
from surefoot.cli._common import (
    Exit,
    Options,
    StoreOption,
    StudyName,
    WorkersOption,
    existing_store,
    line_that_makes,
    open_store,
    open_study,
    results_of,
    say_made_otherwise,
)
from surefoot.cli._output import Format, emit, plain, say
from surefoot.core import (
    Plan,
    Results,
    Step,
    Store,
    Study,
    SurefootError,
    Table,
    decide,
    describe,
    from_spec,
    open_pool,
    remember,
    walk,
    why_each,
)
from surefoot.core import check_modules as check_modules_of
from surefoot.core import plan as plan_of
from surefoot.core import run as run_steps
from surefoot.studies import list_studies

PoolOption = Annotated[
    str, Parameter(help="processes, here, dask[:ADDRESS], ray[:ADDRESS] or slurm[:PARTITION, or settings].")
]


def studies(*, format: Format | None = None) -> None:
    """List the studies that come with Surefoot or with other packages, with a line on each."""
    emit(Table(("study", "about"), tuple(list_studies().items())), format)


def plan(
    study: StudyName,
    /,
    *,
    option: Options = (),
    store: StoreOption = None,
    workers: WorkersOption = None,
    format: Annotated[Format | None, Parameter(help="Output format; text on a terminal, TSV in a pipe.")] = None,
) -> None:
    """Say what a run would do: what is kept, what is missing, and about how long it takes."""
    asked, place = open_study(study, option), open_store(store)
    found = plan_of(asked.steps, place)
    say_made_otherwise(asked, place)
    emit(_plan_table(found), format)
    say(_plan_sentence(found, workers or os.cpu_count() or 1))
    if asked.notice:
        say(asked.notice)


def run(
    study: StudyName,
    /,
    *,
    option: Options = (),
    store: StoreOption = None,
    pool: PoolOption = "processes",
    workers: WorkersOption = None,
    retry: Annotated[bool, Parameter(help="Try Steps again that failed in an earlier run.", negative=())] = False,
    report: Annotated[Path | None, Parameter(help="Where the report goes. Default: ./STUDY.html.")] = None,
    show: Annotated[
        bool | None, Parameter(name="--open", help="Open the report in a browser. Default: on a terminal.")
    ] = None,
) -> int:
    """Make what is missing of a study, test its claims, write its report. What is in the store is kept."""
    asked, place = open_study(study, option), open_store(store)
    failed = make_missing(asked, place, (pool, workers), retry=retry, option=option)
    results = results_of(asked, place)
    print(plain(verdict_lines(decide(asked.claims, results))), end="")
    path = _write(asked, results, report)
    print(f"Report: {path}")
    if show if show is not None else sys.stdout.isatty():
        _open(path)
    return Exit.CONTRADICTED if failed else Exit.HOLDS


def why(
    study: StudyName,
    key: Annotated[str | None, Parameter(help="The beginning of a Step's key. Default: every missing Step.")] = None,
    /,
    *,
    option: Options = (),
    store: StoreOption = None,
    format: Format | None = None,
) -> None:
    """Say which field makes a Step new: it is compared with the most similar artifact of its kind in the store."""
    place = existing_store(store)
    steps = _asked_steps(study, option, key)
    made = place.held(steps)
    emit(
        Table(("step", "asked for", "nearest", "field", "made", "asked"), tuple(_why_rows(steps, place, made))), format
    )


def check(
    study: StudyName,
    /,
    *,
    option: Options = (),
    store: StoreOption = None,
    run: Annotated[bool, Parameter(help="First make what is missing.", negative=())] = False,
    pool: PoolOption = "processes",
    workers: WorkersOption = None,
    strict: Annotated[bool, Parameter(help="Fail on undecided claims, too.", negative=())] = False,
    partial: Annotated[bool, Parameter(help="Judge by what is there when Steps are missing.", negative=())] = False,
    junit: Annotated[Path | None, Parameter(help="Also write the verdicts as JUnit XML, for a CI server.")] = None,
    format: Format | None = None,
) -> int:
    """Test the claims of a study on what the store holds: a gate for CI."""
    asked, place = open_study(study, option), open_store(store)
    if run:
        make_missing(asked, place, (pool, workers), retry=False, option=option)
    results = results_of(asked, place)
    decided = decide(asked.claims, results)
    if format is None and sys.stdout.isatty():
        print(plain(verdict_lines(decided)), end="")
    else:
        emit(verdict_table(decided), format)
    missing = len(results.missing)
    enough = partial and missing < len(results.steps)
    unjudged = f"{missing} Steps are not in the store." if missing and not enough else ""
    if not results.steps:
        unjudged = "The study has no Steps: there is nothing to judge."
        say(f"surefoot: {unjudged}")
    if junit:
        write_junit(junit, asked, decided, unjudged, strict=strict)
    code = exit_code(decided, strict=strict)
    say_why(decided, code, strict=strict)
    if missing:
        failed = len(place.failures().keys() & {step.key for step in results.missing})
        more = f", {failed} of them failed (--retry)" if failed else ""
        more += "" if place.root.is_dir() else f": there is no store at {place.root}"
        line = line_that_makes(study, option, store)
        say(f"surefoot: {missing} of {len(results.steps)} Steps are missing{more}. Make them: {line}")
    return Exit.UNJUDGED if unjudged else code


def report(
    study: StudyName,
    /,
    *,
    option: Options = (),
    store: StoreOption = None,
    out: Annotated[Path | None, Parameter(help="The HTML file. Default: ./STUDY.html.")] = None,
    show: Annotated[bool | None, Parameter(name="--open", help="Open it in a browser. Default: on a terminal.")] = None,
) -> None:
    """Write the report of a study from what the store holds: one HTML file that needs no network."""
    asked = open_study(study, option)
    path = _write(asked, results_of(asked, open_store(store)), out)
    print(path)
    if show if show is not None else sys.stdout.isatty():
        _open(path)


def make_missing(
    asked: Study, place: Store, pool: tuple[str, int | None], *, retry: bool, option: tuple[str, ...] | None = None
) -> int:
    """Run the missing Steps with a progress display; returns how many failed or were blocked.

    `option` are those of a study that can be opened again by its name, so that the store remembers it.
    """
    from surefoot.cli._progress import duration, follow

    todo = plan_of(asked.steps, place)
    workers = pool[1] or os.cpu_count() or 1
    say(_plan_sentence(todo, workers))
    if not todo.missing:
        return 0
    if asked.notice:
        say(asked.notice)
    check_modules_of(todo.missing)
    import time

    begun = time.monotonic()
    with open_pool(*pool) as executor:
        if option is not None:
            remember(asked, option, place)
        counts = follow(run_steps(asked.steps, place, executor, retry=retry), todo, workers, place.measurements)
    say(
        f"{counts['made']} Steps made in {duration(time.monotonic() - begun)}, {counts['kept']} kept, "
        f"{counts['failed']} failed, {counts['blocked']} blocked."
    )
    return counts["failed"] + counts["blocked"]


def _plan_table(found: Plan) -> Table:
    failed = {step.key for step in found.failed}
    states = [(step, "kept") for step in found.kept]
    states += [(step, "failed" if step.key in failed else "missing") for step in found.missing]
    return Table(
        ("state", "key", "kind", "step"), tuple((state, step.key, step.kind, describe(step)) for step, state in states)
    )


def _plan_sentence(found: Plan, workers: int) -> str:
    from surefoot.cli._progress import time_of

    took = time_of(found.on(workers), found.unknown, len(found.missing), f" on {workers} workers")
    failed = f"; {len(found.failed)} failed earlier (--retry tries them again)" if found.failed else ""
    return f"{len(found.kept)} Steps kept, {len(found.missing)} to make{took and f', {took}'}{failed}."


def _asked_steps(study: str, option: tuple[str, ...], key: str | None) -> list[Step]:
    if study.endswith(".json"):
        return [_step_from_file(Path(study))]
    steps = walk(open_study(study, option).steps)
    if key is None:
        return steps
    if not (found := [step for step in steps if step.key.startswith(key)]):
        raise SurefootError(f"No Step of {study} has a key that begins with '{key}'. List them: surefoot plan {study}")
    return found


def _step_from_file(path: Path) -> Step:
    try:
        return from_spec(json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError as error:
        raise SurefootError(f"There is no spec file {path}.") from error
    except (ValueError, RecursionError, IsADirectoryError) as error:
        raise SurefootError(f"{path} is not a JSON file: {error}.") from error


def _why_rows(steps: Sequence[Step], place: Store, made: set[str]) -> list[tuple[object, ...]]:
    rows: list[tuple[object, ...]] = []
    damaged = place.made().keys() - made
    reasons = why_each((step for step in steps if step.key not in made | damaged), place)
    for step in steps:
        if step.key in damaged:
            rows.append((step.key, describe(step), step.key, "", "damaged", "made anew"))
            continue
        if step.key in made:
            if len(steps) == 1:
                rows.append((step.key, describe(step), step.key, "", "made", "kept: nothing is new"))
            continue
        nearest, differences = next(reasons)
        if nearest is None:
            rows.append((step.key, describe(step), "none of this kind", "", "", ""))
        rows += [
            (step.key, describe(step), nearest, item.field, str(item.made), str(item.asked)) for item in differences
        ]
    return rows


def _write(asked: Study, results: Results, path: Path | None) -> Path:
    from surefoot.report import write_report

    return write_report(asked, results, path or Path(f"{asked.name}.html"))


def _open(path: Path) -> None:
    from surefoot.report import open_in_browser

    open_in_browser(path)
