"""The figures of a landscape: its readers, effective robustness by adaptation and shift, and what the axes change."""

from collections.abc import Callable

import duckdb

from surefoot.core import Figure, Results
from surefoot.examples import EXAMPLES
from surefoot.figures import contact_sheet, heat_table, interval_plot, robustness_scatter, text_picture
from surefoot.language import ReadingScores, read_questions
from surefoot.laws import AVERAGE, ShiftFit
from surefoot.stats import AXES
from surefoot.studies.reading._landscape import MEAN, Landscape, found_in, main_fit, read_section
from surefoot.studies.reading._published import ADAPTATIONS, BASELINE, PublishedLandscape

WORDS = {PublishedLandscape: ("published", "published readers"), ShiftFit: ("own", "the study's own readers")}


def landscape_figures(kind: Landscape) -> tuple[Callable[[Results], Figure], ...]:
    """The three figures of one landscape; two landscapes have the same ones, side by side."""

    def of_kind(draw: Callable[[Landscape, Results], Figure]) -> Callable[[Results], Figure]:
        def figure(results: Results) -> Figure:
            return draw(kind, results)

        figure.__name__ = f"{WORDS[kind][0]}{draw.__name__}"  # what the page calls one that could not be drawn
        return figure

    return of_kind(_landscape), of_kind(_by_adaptation), of_kind(_scales)


def _landscape(kind: Landscape, results: Results) -> Figure:
    """Every reader under shift against itself in distribution, with the line."""
    label, readers = WORDS[kind]
    found_in(results, kind)
    told = read_section(results, main_fit(results, kind), "models")
    rows = [row for row in told if row["shift"] == AVERAGE and row["x"] and row["y"]]
    points = [
        {"x": float(row["x"]), "y": float(row["y"]), "family": row["group"], "label": row["model"]} for row in rows
    ]
    line = sorted({(float(row["x"]), float(row["expected"])) for row in rows})
    return robustness_scatter(
        points,
        [{"x": x, "y": y} for x, y in line],
        name=f"{label}-landscape",
        title=f"Accuracy under shift against accuracy in distribution: {readers}",
        caption=f"F1 averaged over shifts. The line is that of {BASELINE} readers on logit axes, drawn as far as "
        "there are readers: beyond theirs it is an extrapolation.",
        x_title="F1 in distribution",
        y_title="F1, mean of the shifts",
        families=_there({row["group"] for row in rows}),
        family_title="Adaptation",
    )


def _by_adaptation(kind: Landscape, results: Results) -> Figure:
    """What each adaptation gains over the line, under each shift."""
    label, readers = WORDS[kind]
    found = found_in(results, kind)
    cells = [
        {"row": group, "column": shift, "value": one.value / 100, "n": one.n} | _bounds(one.low, one.high)
        for (metric, shift, group), one in found.items()
        if metric == MEAN and group != BASELINE
    ]
    return heat_table(
        cells,
        name=f"{label}-effective-robustness",
        title=f"Effective robustness by adaptation and shift: {readers}",
        caption=f"Points of F1 over the line of {BASELINE} readers under that shift, mean over readers. Where "
        "nothing shifts (XQuAD in English: SQuAD's own paragraphs, of held-out articles) it must be near 0.",
        row_title="Adaptation",
        column_title="Shift",
        value_title="Effective robustness",
        unit="points",
        row_order=_there({str(cell["row"]) for cell in cells}),
        column_order=sorted({str(cell["column"]) for cell in cells}, key=lambda name: (name != AVERAGE, name)),
    )


def _scales(kind: Landscape, results: Results) -> Figure:
    """The finding on each scale of the axes."""
    label, readers = WORDS[kind]
    effects = [
        {"label": f"{axis} axes", "group": group, "family": axis, "value": one.value / 100, "n": one.n}
        | _bounds(one.low, one.high)
        for group in ADAPTATIONS[1:]
        for axis in AXES
        if (one := found_in(results, kind, axis=axis).get((MEAN, AVERAGE, group))) is not None
    ]
    return interval_plot(
        effects,
        name=f"{label}-scales",
        title=f"How the finding moves with the scale of the axes: {readers}",
        caption="Mean effective robustness over all shifts. Where readers lie beyond the range of the baseline the "
        "line is extrapolated, and the scale decides.",
        x_title="Effective robustness",
        families=AXES,
        family_title="Axes",
    )


def lost_answers(results: Results) -> Figure:
    """Wrong answers of one reader of each adaptation under each shift, with the paragraph around the right one."""
    found_in(results, ShiftFit)
    step = main_fit(results, ShiftFit)
    shown: dict[tuple[str, str], tuple[str, ReadingScores]] = {}
    for model, group, result in zip(step.models, step.groups, step.results, strict=True):
        if isinstance(result, ReadingScores):
            shown[group, result.task] = model, result  # the last of a group is its best trained
    pictures = []
    for (group, task), (model, result) in shown.items():
        asked = {one.id: one for one in read_questions(results.store.path(result.questions))}
        query = "SELECT example, answer FROM read_parquet(?) WHERE score = 0 ORDER BY hash(example) LIMIT 2"
        for name, answer in duckdb.execute(query, [str(results.store.file(result, EXAMPLES))]).fetchall():
            one = asked[name]
            label = f"{one.question} Answered: {answer or '(none)'}. Right: {one.answers[0]}."
            around = one.context[max(0, one.starts[0] - 150) :][:400]
            pictures.append({"image": text_picture(around), "label": label, "section": f"{group}, {task} ({model})"})
    return contact_sheet(
        pictures,
        name="wrong-answers",
        title="Wrong answers, with the paragraph around the right one",
        caption="Two questions with an F1 of 0 of the last reader of each adaptation, under each shift.",
    )


def _bounds(low: float | None, high: float | None) -> dict[str, float]:
    return {} if low is None or high is None else {"low": low / 100, "high": high / 100}


def _there(groups: set[str]) -> list[str]:
    return [name for name in ADAPTATIONS if name in groups] + sorted(groups - set(ADAPTATIONS))
