"""The figures of groups: who is in the tables, what each learner reaches in each group, and the frontier."""

from collections.abc import Callable, Iterable, Mapping
from statistics import median
from typing import Any

from surefoot.core import Figure, Results, SurefootError, walk
from surefoot.figures import heat_table, interval_plot, robustness_scatter
from surefoot.stats import LEAST_ROWS, wilson
from surefoot.studies.trees._results import FAMILIES, Pooled, by_table, name_of, over_tables
from surefoot.tabular import BY_WORST_GROUP, LEARNERS, TRADE_OFFS, Design, open_design

_MOST_NOTES = 20


def groups_of_tables(results: Results) -> Figure:
    """The share of positive labels in every group, with its rows; those with too few test rows stand apart."""
    designs = _first_designs(results)
    effects = [effect for design in designs for effect in _groups_of(results, design, len(designs) == 1)]
    few = f"fewer than {LEAST_ROWS} test rows in a split say nothing and are left out of every comparison"
    return interval_plot(
        sorted(effects, key=lambda effect: effect["group"]) if len(designs) > 1 else effects,
        name="groups",
        title="Who is in the table" if len(designs) == 1 else "Who is in the tables",
        caption="The share of positive labels in each group, with its 95 percent interval; rows in brackets. Groups "
        f"with {few}.{_reading(results, designs)}",
        x_title="Positive labels",
        unit="share",
        reference=None,
    )


def _first_designs(results: Results) -> list[Design]:
    """The first split of each table that is in the store, those of limited rows before those of all."""
    found: dict[str, Design] = {}
    for step in walk(results.steps):
        if isinstance(step, Design) and results.store.has(step) and results.store.has(step.table):
            found.setdefault(name_of(step.table), step)
    if not found:
        raise SurefootError("No table was read: run the study first.")
    return list(found.values())


def _groups_of(results: Results, design: Design, alone: bool) -> Iterable[dict[str, Any]]:
    tested = {
        each.group: int(each.value)
        for each in results.store.measurements(design)
        if (each.metric, each.shift) == ("rows", "test")
    }
    for each in results.store.measurements(design.table):
        if each.metric == "positive_share":
            interval = wilson(round(each.value * each.n), each.n)
            small = tested.get(each.group, 0) < LEAST_ROWS
            heading = "" if alone else name_of(design.table)
            said = {True: "too few test rows", False: "compared" if alone else ""}[small]
            yield {
                "label": f"{each.group} ({each.n:,})",
                "value": each.value,
                "low": interval.low,
                "high": interval.high,
                "n": each.n,
                "test rows": tested.get(each.group, 0),
                "group": ", ".join(part for part in (heading, said) if part),
            }


def _reading(results: Results, designs: list[Design]) -> str:
    """How the columns of a single table were read."""
    if len(designs) != 1:
        return ""
    opened = open_design(results.store.path(designs[0]))
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
        caption="What the configuration with the best worst group on validation reaches on test in each group, on "
        "average over splits (n: its test rows in one). Groups with too few rows are left out. Percent; intervals are "
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
    """A share with its interval, inside 0 to 1, the test rows behind it in a split, and the splits."""
    bounds = {} if part.low is None else {"low": max(part.low, 0.0), "high": min(part.high or 1.0, 1.0)}
    return {"value": part.value, "n": part.rows, "splits": part.n, **bounds}


def frontier(results: Results) -> Figure:
    """What each family trades: accuracy against worst-group accuracy as the rule of choice moves between them."""
    lines: dict[str, list[dict[str, Any]]] = {}
    for family in FAMILIES:
        for weight, rule in TRADE_OFFS.items():
            both = [
                by_table(results, metric, f"family: {family}", rule) for metric in ("accuracy", "worst_group_accuracy")
            ]
            if all(both):
                lines.setdefault(family, []).append(_place(family, weight, *both))
    points = [point for line in lines.values() for point in line]
    fit = [{"x": point["x"], "y": point["y"], "family": point["family"]} for point in points]
    return robustness_scatter(
        points,
        fit,
        name="frontier",
        title="The frontier",
        caption="Test accuracy and worst-group accuracy of the configuration of each family that is best on validation "
        "by a mix of the two: from worst-group accuracy alone to accuracy alone in five steps, averaged over splits "
        f"and tables.{_width(points)} A family whose points lie on one spot has nothing "
        "to trade; a line that turns back is what choosing by few rows does. The paper's frontier is the hull in this "
        "plane of configurations chosen on test.",
        x_title="Accuracy",
        y_title="Worst-group accuracy",
        axis="linear",
        families=list(lines),
        family_title="Family",
    )


def _width(points: list[dict[str, Any]]) -> str:
    """How wide the intervals of the worst group are, in words: drawn, they would hide the places."""
    widths = [point["worst_high"] - point["worst_low"] for point in points if point["worst_low"] is not None]
    if not widths:
        return ""
    half = 50 * median(widths)
    return f" The 95 percent interval of a worst group is about {half:.1f} points to both sides (in the table)."


def _place(family: str, weight: float, accuracy: Mapping[str, Pooled], worst: Mapping[str, Pooled]) -> dict[str, Any]:
    x, y = over_tables(accuracy.values()), over_tables(worst.values())
    numbers = {"worst_low": y.low, "worst_high": y.high, "accuracy_low": x.low, "accuracy_high": x.high}
    label = f"{family}, {weight:.0%} accuracy"
    return {"x": x.value, "y": y.value, "family": family, "label": label, "n": y.rows, **numbers}
