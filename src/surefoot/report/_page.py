"""One self-contained HTML file for a study."""

import base64
import hashlib
import json
import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment as Templates
from jinja2 import PackageLoader, StrictUndefined
from markupsafe import Markup

from surefoot import __version__
from surefoot.core import (
    Figure,
    Observation,
    Plan,
    Results,
    Step,
    Study,
    SurefootError,
    Verdict,
    counted,
    decide,
    walk,
    what_failed,
    write_text,
)
from surefoot.core import plan as plan_of
from surefoot.figures import accuracy_text, render_svg, sorted_by_section, theme_config
from surefoot.report._browse import Browsed, browse_configurations
from surefoot.report._bundle import drawing_library, inline_script
from surefoot.report._findings import (
    Finding,
    claim_findings,
    figure_findings,
    measurement_findings,
    step_findings,
    unfinished_findings,
)
from surefoot.report._notes import METHOD_NOTES
from surefoot.report._numbers import duration, effect_text, interval_text, number
from surefoot.report._steps import environments_of, read_provenances, step_entries
from surefoot.report._tables import PageTable, choose, figure_columns, measurement_table, summary_table

STILL_WIDTH = 720
STEPS_SHOWN = 1000
ROWS_WITHOUT_SCRIPT = 25


@dataclass(frozen=True, kw_only=True)
class FigureEntry:
    """A figure as the page shows it: drawn, as a sheet of pictures by section, or the reason why it is neither."""

    anchor: str
    title: str
    caption: str = ""
    still: str = ""
    sections: tuple[tuple[str, str, tuple[dict[str, Any], ...]], ...] = ()
    problem: str = ""
    count: int = 0


def write_report(
    study: Study,
    results: Results,
    path: Path,
    *,
    plan: Plan | None = None,
    findings: Iterable[Finding] = (),
    made_at: str = "",
    row_limit: int = 5000,
) -> Path:
    """Write the report of a study as one HTML file that opens from disk and loads nothing; returns its path.

    `plan` says what is made, missing and failed (asked of the store when not given). `findings` are checks of the
    study's own, shown before the general ones. `made_at` is printed as it is; without it the same input gives the same
    bytes. The page lists at most `row_limit` measurements, an equal share for each metric, and says what it left out.
    Raises `SurefootError` when the file cannot be written.
    """
    known = plan or plan_of(study.steps, results.store)
    page = render_report(study, results, known, findings=tuple(findings), made_at=made_at, row_limit=row_limit)
    return write_page(path, page)


def write_page(path: Path, page: str) -> Path:
    """Write a page, with the folders above it; its path. Raises `SurefootError` when it cannot be written."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, page)
    except OSError as error:
        raise SurefootError(f"The report {path} cannot be written: {error.strerror}.") from error
    return path


def render_report(
    study: Study, results: Results, plan: Plan, *, findings: tuple[Finding, ...], made_at: str, row_limit: int
) -> str:
    observations = results.observations
    chosen = choose(observations, row_limit)
    every_step = walk(study.steps)
    provenances = read_provenances(every_step, plan, results.store)
    environments, numbers = environments_of(provenances)
    shown = _steps_shown(every_step, chosen, plan)
    figures = _draw(study, results)
    drawn = [(entry.anchor, figure) for entry, figure in figures if figure]
    decided = decide(study.claims, results)
    table = measurement_table(chosen, len(observations))
    browsed = browse_configurations(study, results, first=ROWS_WITHOUT_SCRIPT)
    found = [
        *findings,
        *unfinished_findings(plan.missing, plan.failed),
        *claim_findings(decided),
        *figure_findings(drawn),
        *measurement_findings(observations),
        *step_findings(chosen, list(provenances.values())),
    ]
    return (
        templates()
        .get_template("report.html.j2")
        .render(
            study=study,
            claims=decided,
            effect_text=effect_text,
            interval_text=interval_text,
            strip_of=_strip,
            findings=sorted(found, key=lambda finding: finding.level != "warning"),
            figures=[entry for entry, _ in figures],
            table=table,
            browsed=browsed,
            first_rows=table.rows[:ROWS_WITHOUT_SCRIPT],
            summary=None if table.complete else summary_table(observations),
            groups=step_entries(shown, plan, results.store, provenances, numbers),
            steps_left_out=len(every_step) - len(shown),
            environments=environments,
            facts=_facts(plan, provenances, observations),
            notes=METHOD_NOTES,
            version=__version__,
            made_at=made_at,
            scripts=_Scripts.of(_payload(drawn, table, browsed)),
            style=Markup(asset("report.css")),
        )
    )


@dataclass(frozen=True, kw_only=True)
class _Scripts:
    """What the page runs, with the hashes by which its security policy knows it."""

    library: Markup
    page: Markup
    data: Markup
    hashes: str

    @classmethod
    def of(cls, payload: dict[str, Any]) -> "_Scripts":
        library, page = drawing_library(), inline_script(asset("report.js"))
        text = json.dumps(payload, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
        for character in "<>&\u2028\u2029":
            text = text.replace(character, f"\\u{ord(character):04x}")
        hashes = " ".join(f"'sha256-{_digest(script)}'" for script in (library, page))
        return cls(library=Markup(library), page=Markup(page), data=Markup(text), hashes=hashes)


def _digest(script: str) -> str:
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()


def _payload(drawn: Sequence[tuple[str, Figure]], table: PageTable, browsed: Browsed | None) -> dict[str, Any]:
    figures = [
        {
            "id": anchor,
            "name": slug(figure.name),
            "columns": figure_columns(figure),
            "spec": figure.spec() if figure.vega_lite is not None else None,
            "rows": [{name: row[name] for name in row if name != "image"} for row in figure.table()]
            if figure.vega_lite is None
            else None,
        }
        for anchor, figure in drawn
    ]
    themes = {"light": theme_config("light"), "dark": theme_config("dark")}
    measurements = {"columns": table.columns, "rows": table.rows}
    packed = browsed.payload() if browsed else None
    return {"figures": figures, "themes": themes, "measurements": measurements, "configurations": packed}


def _draw(study: Study, results: Results) -> list[tuple[FigureEntry, Figure | None]]:
    """Every figure of the study; one whose measurements are missing or whose code fails says so in its place."""
    made: list[tuple[FigureEntry, Figure | None]] = []
    taken: set[str] = set()
    for function in study.figures:
        try:
            figure = function(results)
            json.dumps(figure.spec() if figure.vega_lite is not None else figure.table(), allow_nan=False)
            entry = _figure_entry(figure, _anchor(f"figure-{slug(figure.name)}", taken))
            made.append((entry, figure))
        except (Exception, SystemExit) as error:
            name = getattr(function, "__name__", type(function).__name__)
            anchor = _anchor(f"figure-{slug(name)}", taken)
            problem = str(error) if isinstance(error, SurefootError) else what_failed(error)
            made.append((FigureEntry(anchor=anchor, title=name.replace("_", " ").strip(), problem=problem), None))
    return made


def _figure_entry(figure: Figure, anchor: str) -> FigureEntry:
    common = {"anchor": anchor, "title": figure.title, "caption": figure.caption, "count": len(figure.rows)}
    if figure.vega_lite is not None:
        return FigureEntry(**common, still=still(figure))
    by_section: dict[str, list[dict[str, Any]]] = {}
    for row in sorted_by_section(figure):
        by_section.setdefault(str(row["section"]), []).append(row)
    sections = tuple((name, accuracy_text(rows[0]), tuple(rows)) for name, rows in by_section.items())
    return FigureEntry(**common, sections=sections)


def still(figure: Figure) -> str:
    """The figure as a picture for print and for readers without scripts: it cannot run anything."""
    svg = render_svg(figure, width=STILL_WIDTH, titled=False)
    return f"data:image/svg+xml;base64,{base64.b64encode(svg.encode()).decode()}"


def _strip(verdict: Verdict) -> tuple[float, float, float, float | None] | None:
    """Places from 0 to 100 of low, effect, high, and of the bound where it is near enough to be seen."""
    if verdict.effect is None or verdict.low is None or verdict.high is None:
        return None
    if math.isinf(verdict.high - verdict.low):
        return None
    span = (verdict.high - verdict.low) or abs(verdict.effect) or 1.0
    near = verdict.low - 3 * span <= verdict.bound <= verdict.high + 3 * span
    ends = [verdict.low, verdict.high, *([verdict.bound] if near else [])]
    first, width = min(ends) - 0.15 * span, max(ends) - min(ends) + 0.3 * span
    low, effect, high, bound = (
        round(100 * (value - first) / width, 2) for value in (verdict.low, verdict.effect, verdict.high, verdict.bound)
    )
    return low, effect, high, bound if near else None


def _steps_shown(every_step: Sequence[Step], chosen: Iterable[Observation], plan: Plan) -> list[Step]:
    """The Steps that the page describes: all that its rows link to and all that failed, then others up to a limit."""
    wanted = {item.step.key for item in chosen} | {step.key for step in plan.failed}
    room = max(0, STEPS_SHOWN - len(wanted))
    others = [step.key for step in every_step if step.key not in wanted]
    wanted |= set(others[:room])
    return [step for step in every_step if step.key in wanted]


def _facts(plan: Plan, provenances: dict[str, dict[str, Any]], observations: Sequence[Observation]) -> list[str]:
    seconds = sum(record.get("wall_seconds", 0.0) for record in provenances.values())
    waiting = len(plan.missing) - len(plan.failed)
    facts = [
        counted(len(plan.kept) + len(plan.missing), "Step"),
        f"{len(plan.failed):,} failed" if plan.failed else "",
        f"{waiting:,} not run" if waiting else "",
        f"{duration(seconds)} of work",
        counted(len(observations), "measurement"),
    ]
    return [fact for fact in facts if fact]


def slug(text: str) -> str:
    """The text as an id and file name: lower case letters, digits and hyphens."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-") or "figure"


def _anchor(wanted: str, taken: set[str]) -> str:
    anchor, number = wanted, 2
    while anchor in taken:
        anchor, number = f"{wanted}-{number}", number + 1
    taken.add(anchor)
    return anchor


def templates() -> Templates:
    templates = Templates(
        loader=PackageLoader("surefoot.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    templates.filters["number"] = lambda value: number(value) if isinstance(value, (int, float)) else value
    return templates


def page_style() -> str:
    """The stylesheet that all pages share."""
    return asset("report.css")


def asset(name: str) -> str:
    return (Path(__file__).parent / "templates" / name).read_text(encoding="utf-8")
