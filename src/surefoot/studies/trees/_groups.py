"""The figures of groups: who is in the tables, and what each learner reaches, in all and in each group."""

from collections.abc import Callable
from typing import Any

from surefoot.core import Figure, Results, SurefootError, walk
from surefoot.figures import heat_table, interval_plot
from surefoot.stats import LEAST_ROWS, wilson
from surefoot.studies._hypotheses import Pooled
from surefoot.studies.trees._results import FAMILIES, by_table
from surefoot.tabular import BY_WORST_GROUP, LEARNERS, Design, open_design

_MOST_NOTES = 20


def groups_of_table(results: Results) -> Figure:
    """The share of positive labels in every group of one table; groups with too few test rows stand apart."""
    designs = [step for step in walk(results.steps) if isinstance(step, Design) and results.store.has(step)]
    if not designs:
        raise SurefootError("No table was read: run the study first.")
    tested: dict[str, int] = {}
    for each in (each for design in designs for each in results.store.measurements(design)):
        if (each.metric, each.shift) == ("rows", "test"):
            tested[each.group] = tested.get(each.group, 0) + int(each.value)
    effects = []
    for each in results.store.measurements(designs[0].table):
        if each.metric == "positive_share":
            interval, rows = wilson(round(each.value * each.n), each.n), tested.get(each.group, 0)
            said = "too few test rows" if rows < LEAST_ROWS else "compared"
            row = {"label": f"{each.group} ({each.n:,})", "value": each.value, "n": each.n, "test rows": rows}
            effects.append({**row, "low": interval.low, "high": interval.high, "group": said})
    return interval_plot(
        effects,
        name="groups",
        title="Who is in the table",
        caption="The share of positive labels in each group, with its 95 percent interval; rows in brackets. Groups "
        f"with fewer than {LEAST_ROWS} test rows in all folds say nothing and are left out of every comparison."
        f"{_reading(results, designs[0])}",
        x_title="Positive labels",
        unit="share",
        reference=None,
    )


def _reading(results: Results, design: Design) -> str:
    opened = open_design(results.store.path(design))
    notes = [note.rstrip(".") for note in opened.notes]
    more = f" And {len(notes) - _MOST_NOTES} more." if len(notes) > _MOST_NOTES else ""
    said = ". ".join(notes[:_MOST_NOTES])
    return f" How the columns were read: {len(opened.features)} features. {said}." + more if notes else ""


def in_groups(results: Results) -> Figure:
    """The accuracy of every learner in every group of one table that has enough rows."""
    prefix = "accuracy in "
    named = {each.measurement.metric for each in results.select(shift=BY_WORST_GROUP)}
    groups = sorted(metric.removeprefix(prefix) for metric in named if metric.startswith(prefix))
    cells = [
        {"row": described.title, "column": group, **_numbers(part)}
        for learner, described in LEARNERS.items()
        for group in groups
        for part in by_table(results, prefix + group, learner, BY_WORST_GROUP).values()
    ]
    return heat_table(
        cells,
        name="in-groups",
        title="Accuracy in each group",
        caption="What the configuration with the best worst group on validation reaches on test in each group "
        "(n: its test rows). Groups with too few rows are left out. Percent; intervals are "
        "in the table of the figure.",
        row_title="Learner",
        column_title="Group",
        row_order=[described.title for described in LEARNERS.values()],
    )


def by_learner(
    metric: str, *, name: str, title: str, caption: str, x_title: str, alone: bool, rule: str = BY_WORST_GROUP
) -> Callable[[Results], Figure]:
    """The figure of one metric: lines with intervals for one table (`alone`), else a grid of learners and tables."""

    def drawn(results: Results) -> Figure:
        rows = [
            {"label": described.title, "family": described.family, "table": table, **_numbers(part)}
            for learner, described in LEARNERS.items()
            for table, part in sorted(by_table(results, metric, learner, rule).items())
        ]
        if alone:
            return interval_plot(
                rows,
                name=name,
                title=title,
                caption=caption,
                x_title=x_title,
                unit="share",
                reference=None,
                families=[family for family in FAMILIES if any(row["family"] == family for row in rows)],
                family_title="Family",
            )
        return heat_table(
            [{**row, "row": row["label"], "column": row["table"]} for row in rows],
            name=name,
            title=title,
            caption=f"{caption} Percent.",
            row_title="Learner",
            column_title="Table",
            value_title=x_title,
            row_order=[described.title for described in LEARNERS.values()],
        )

    return drawn


def _numbers(part: Pooled) -> dict[str, Any]:
    """A share with its interval, inside 0 to 1, the test rows behind it, and how often they were tested."""
    bounds = {} if part.low is None else {"low": max(part.low, 0.0), "high": min(part.high or 1.0, 1.0)}
    return {"value": part.value, "n": part.rows, "repeats": part.n, **bounds}
