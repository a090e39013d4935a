"""The verbs of a study: plan, run, why, check, report."""

import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from surefoot.cli._common import Options, StoreOption, StudyName, open_store, open_study, results_of
from surefoot.cli._output import Format, emit
from surefoot.core import (
    Claim,
    Plan,
    Results,
    Step,
    Store,
    Study,
    SurefootError,
    Table,
    Verdict,
    decide,
    describe,
    from_spec,
    open_pool,
    walk,
)
from surefoot.core import check_modules as check_modules_of
from surefoot.core import plan as plan_of
from surefoot.core import run as run_steps
from surefoot.core import why as why_new

_MARKS = {"supported": "✓", "contradicted": "✗", "undecided": "?"}


def plan(
    study: StudyName,
    /,
    *,
    option: Options = (),
    store: StoreOption = None,
    workers: int | None = None,
    format: Annotated[Format | None, Parameter(help="Output format; text on a terminal, TSV in a pipe.")] = None,
) -> None:
    """Say what a run would do: what is kept, what is missing, and about how long it takes."""
    found = plan_of(open_study(study, option).steps, open_store(store))
    emit(_plan_table(found), format)
    print(_plan_sentence(found, workers or os.cpu_count() or 1), file=sys.stderr)


def run(
    study: StudyName,
    /,
    *,
    option: Options = (),
    store: StoreOption = None,
    pool: Annotated[
        str, Parameter(help="processes, here, dask[:ADDRESS], ray[:ADDRESS] or slurm[:PARTITION].")
    ] = "processes",
    workers: Annotated[int | None, Parameter(help="How many Steps at once. Default: the number of cores.")] = None,
    retry: Annotated[bool, Parameter(help="Try Steps again that failed in an earlier run.", negative=())] = False,
    report: Annotated[Path | None, Parameter(help="Where the report goes. Default: ./STUDY.html.")] = None,
    show: Annotated[
        bool | None, Parameter(name="--open", help="Open the report in a browser. Default: on a terminal.")
    ] = None,
) -> int:
    """Make what is missing of a study, test its claims, write its report. What is in the store is kept.

    It can be stopped at any moment and run again. Exits with 1 when a Step failed.
    """
    asked, place = open_study(study, option), open_store(store)
    counts = _make(asked, place, pool, workers, retry)
    results = results_of(asked, place)
    _print_claims(decide(asked.claims, results))
    path = _write(asked, results, report)
    print(f"Report: {path}")
    if show if show is not None else sys.stdout.isatty():
        _open(path)
    return 1 if counts else 0


def why(
    study: StudyName,
    key: Annotated[str | None, Parameter(help="The beginning of a Step's key. Default: every missing Step.")] = None,
    /,
    *,
    option: Options = (),
    store: StoreOption = None,
    format: Format | None = None,
) -> None:
    """Say which field makes a Step new: it is compared with the most similar artifact of its kind in the store.

    STUDY may be a JSON file with the spec of one Step.
    """
    place = open_store(store)
    steps = _asked_steps(study, option, key)
    made = place.made()
    emit(
        Table(("step", "asked for", "nearest", "field", "made", "asked"), tuple(_why_rows(steps, place, made))), format
    )


def check(
    study: StudyName,
    /,
    *,
    option: Options = (),
    store: StoreOption = None,
    strict: Annotated[bool, Parameter(help="Fail on undecided claims, too.", negative=())] = False,
    format: Format | None = None,
) -> int:
    """Test the claims of a study on what the store holds. Exits with 1 when one is contradicted: a gate for CI."""
    asked = open_study(study, option)
    decided = decide(asked.claims, results_of(asked, open_store(store)))
    emit(_claim_table(decided), format)
    failing = {"contradicted", "undecided"} if strict else {"contradicted"}
    return 1 if any(verdict.status in failing for _, verdict in decided) else 0


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


def _make(asked: Study, place: Store, pool: str, workers: int | None, retry: bool) -> int:
    """Run the missing Steps with a progress display; returns how many failed or were blocked."""
    from surefoot.cli._progress import duration, follow

    todo = plan_of(asked.steps, place)
    print(_plan_sentence(todo, workers or os.cpu_count() or 1), file=sys.stderr)
    if not todo.missing:
        return 0
    check_modules_of(todo.missing)
    import time

    begun = time.monotonic()
    with open_pool(pool, workers) as executor:
        counts = follow(run_steps(asked.steps, place, executor, retry=retry), todo, workers or os.cpu_count() or 1)
    print(
        f"{counts['made']} Steps made in {duration(time.monotonic() - begun)}, {counts['kept']} kept, "
        f"{counts['failed']} failed, {counts['blocked']} blocked.",
        file=sys.stderr,
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
    from surefoot.cli._progress import duration

    time = "" if found.seconds is None else f", about {duration(found.seconds / workers)} on {workers} workers"
    unknown = (
        "" if found.seconds is not None or not found.missing else ", time not known yet (some kinds never ran here)"
    )
    failed = f"; {len(found.failed)} failed earlier (--retry tries them again)" if found.failed else ""
    return f"{len(found.kept)} Steps kept, {len(found.missing)} to make{time}{unknown}{failed}."


def _asked_steps(study: str, option: tuple[str, ...], key: str | None) -> list[Step]:
    if study.endswith(".json"):
        return [_step_from_file(Path(study))]
    steps = walk(open_study(study, option).steps)
    if key is None:
        return steps
    found = [step for step in steps if step.key.startswith(key)]
    if not found:
        raise SurefootError(f"No Step of {study} has a key that begins with '{key}'. List them: surefoot plan {study}")
    return found


def _step_from_file(path: Path) -> Step:
    try:
        return from_spec(json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError as error:
        raise SurefootError(f"There is no spec file {path}.") from error
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise SurefootError(f"{path} is not JSON: {error}") from error


def _why_rows(steps: Sequence[Step], place: Store, made: dict[str, Path]) -> list[tuple[object, ...]]:
    rows: list[tuple[object, ...]] = []
    for step in steps:
        if step.key in made:
            if len(steps) == 1:
                rows.append((step.key, describe(step), step.key, "", "made", "kept: nothing is new"))
            continue
        nearest, differences = why_new(step, place)
        if nearest is None:
            rows.append((step.key, describe(step), "none of this kind", "", "", ""))
        rows += [
            (step.key, describe(step), nearest, item.field, str(item.made), str(item.asked)) for item in differences
        ]
    return rows


def _claim_table(decided: list[tuple[Claim, Verdict]]) -> Table:
    columns = ("claim", "verdict", "effect", "low", "high", "bound", "unit", "n", "sentence", "detail", "source")
    rows = (
        (
            claim.name,
            verdict.status,
            verdict.effect,
            verdict.low,
            verdict.high,
            None if verdict.effect is None else verdict.bound,
            "" if verdict.effect is None else verdict.unit,
            verdict.n,
            claim.sentence,
            verdict.detail,
            claim.source,
        )
        for claim, verdict in decided
    )
    return Table(columns, tuple(rows))


def _print_claims(decided: list[tuple[Claim, Verdict]]) -> None:
    from surefoot.report import effect_text, interval_text

    for claim, verdict in decided:
        effect = "" if verdict.effect is None else f" {effect_text(verdict)}"
        interval = "" if verdict.low is None else f" [{interval_text(verdict)}], n = {verdict.n}"
        print(f"{_MARKS[verdict.status]} {verdict.status}: {claim.sentence}{effect}{interval}")
        if verdict.detail:
            print(f"    {verdict.detail}")


def _write(asked: Study, results: Results, path: Path | None) -> Path:
    from surefoot.report import write_report

    return write_report(asked, results, path or Path(f"{asked.name}.html"))


def _open(path: Path) -> None:
    from surefoot.report import open_in_browser

    open_in_browser(path)
