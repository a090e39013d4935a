"""The report of an audit of predictions: one HTML file without a script, which opens with the worst group."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from surefoot.figures import interval_plot
from surefoot.report._page import slug, still
from surefoot.report._sheet import Section, write_sheet

if TYPE_CHECKING:
    from surefoot.tabular import Audit

Line = Mapping[str, Any]
_SHOWN = {
    "accuracy": "right",
    "selection_rate": "called yes",
    "true_positive_rate": "true positive rate",
    "false_positive_rate": "false positive rate",
    "precision": "precision",
    "auc": "area under ROC",
}
_BETWEEN = {
    "accuracy_disparity": ("Accuracy differs by", "accuracy differs"),
    "demographic_parity": ("Selection rates differ by (demographic parity)", "selection rates differ"),
    "equal_opportunity": ("True positive rates differ by (equal opportunity)", "true positive rates differ"),
    "equalised_odds": (
        "The larger difference of true and of false positive rates (equalised odds) is",
        "true or false positive rates differ",
    ),
}
"""What is said of a measure between groups: how far it differs, and that it differs by at least so much."""
_METHOD = (
    "A rate of a group has Clopper and Pearson's exact 95 percent interval, from the rows that it stands on: a true "
    "positive rate from the positives, a precision from the rows called yes. Groups are compared in a rate when each "
    "has the least number of such rows.",
    "The largest difference between groups is above zero by chance alone, the more so the more and the smaller the "
    "groups are. Its interval holds whichever two groups are the furthest apart: it begins at zero unless they differ "
    "by more than chance makes of groups that are alike. That of the worst group holds whichever group is the worst.",
    "The four-fifths rule asks the lowest selection rate to be at least 0.8 of the highest. It is kept or broken here "
    "when the whole interval says so.",
)


def write_audit(audit: Audit, path: Path, *, source: str) -> Path:
    """Write an audit as one HTML file that opens from disk and loads nothing; returns its path.

    `source` is what was audited, as it is shown. Raises `SurefootError` when the file cannot be written.
    """
    first = audit.between[0]
    whole, worst = audit.groups[0], first.get("worst_group")
    return write_sheet(
        path,
        kind="audit",
        source=source,
        opening=f"Your worst group is {worst}." if worst else "Without labels: how often each group is called yes.",
        leads=tuple(_leads(audit, first, whole)),
        facts=(f"{whole['rows']:,} rows", *((f"{whole['positives']:,} positives",) if "positives" in whole else ())),
        sections=(*(_section(audit, line) for line in audit.between), *_difference_sections(audit)),
        notes=tuple(audit.notes),
        method=_METHOD,
    )


def _leads(audit: Audit, line: Line, whole: Line) -> Iterator[str]:
    """What the first screen says: the worst group in numbers, and whether groups differ at all."""
    if line.get("worst_group"):
        (rows,) = (each["rows"] for each in audit.groups if _same(each, line) and each["group"] == line["worst_group"])
        yield (
            f"{line['model']} is right for {_bounded(line, 'worst_group_accuracy')} of its {rows:,} rows, and for "
            f"{_bounded(whole, 'accuracy')} of all."
        )
    apart = {title: line.get(f"{title}_low") or 0.0 for title in _BETWEEN}
    sure = [f"{_BETWEEN[title][1]} by at least {100 * least:.1f} points" for title, least in apart.items() if least > 0]
    yield (
        f"More than chance makes of groups that are alike: {', '.join(sure)}."
        if sure
        else "No measure differs between groups by more than chance makes of groups that are alike."
    )


def _section(audit: Audit, line: Line) -> Section:
    groups = [each for each in audit.groups if _same(each, line)]
    names = [name for name in _SHOWN if name in groups[0]]
    title = f"{line['model']} by {line['division']}"
    head = [("group", "rows", *(["positives"] if "positives" in groups[0] else []))]
    rows = tuple(
        (
            each["group"] + (" (too few rows)" if each["too_few_rows"] else ""),
            *(f"{each[name]:,}" for name in head[0][1:]),
            *(_bounded(each, name, "%") for name in names),
        )
        for each in groups
    )
    return Section(
        title=title,
        anchor=slug(title),
        sentences=tuple(_sentences(line)),
        still=_drawn(groups, title, names[0]),
        columns=(*head[0], *(_SHOWN[name] for name in names)),
        rows=rows,
    )


def _sentences(line: Line) -> Iterator[str]:
    if line.get("worst_group"):
        yield f"Worst group: {line['worst_group']}, right for {_bounded(line, 'worst_group_accuracy')}."
    for title, (words, _) in _BETWEEN.items():
        if line.get(title) is not None:
            yield f"{words} {_bounded(line, title, ' points')}."
        elif title in line:
            yield f"{words}: not known, fewer than two groups have enough rows of each label."
    if line.get("demographic_parity_ratio") is not None:
        ratio = _bounded(line, "demographic_parity_ratio", "", scale=1, digits=2)
        yield f"The lowest selection rate is {ratio} of the highest: the four-fifths rule is {line['four_fifths']}."


def _difference_sections(audit: Audit) -> Iterator[Section]:
    if not audit.differences:
        return
    (metric,) = (name for name in audit.differences[0] if name.endswith("_difference"))
    title = f"{audit.differences[0]['model']}: {metric.replace('_', ' ')}"
    rows = tuple(
        (
            each["group"],
            f"{each['rows']:,}",
            _bounded(each, metric, " points"),
            "" if each["p_holm"] is None else f"{each['p_holm']:.3g}",
        )
        for each in audit.differences
    )
    columns = ("group", "rows", "difference", "p (McNemar, Holm)")
    said = ("The first model minus the second, on the same rows.",)
    yield Section(title=title, anchor=slug(title), sentences=said, still="", columns=columns, rows=rows)


def _drawn(groups: list[Line], title: str, metric: str) -> str:
    effects = [
        {"label": each["group"], "value": each[metric], "low": each[f"{metric}_low"], "high": each[f"{metric}_high"]}
        for each in groups
        if not each["too_few_rows"] and each[metric] is not None
    ]
    words = metric.replace("_", " ").capitalize()
    named = {"name": metric, "title": title, "caption": "", "x_title": words}
    return still(interval_plot(effects, unit="share", reference=None, **named)) if effects else ""


def _same(each: Line, line: Line) -> bool:
    return (each["model"], each["division"]) == (line["model"], line["division"]) and each["group"] != "all rows"


def _bounded(line: Line, name: str, unit: str = " percent", *, scale: float = 100.0, digits: int = 1) -> str:
    """A number of the audit with its bounds; a dash where it is not known."""
    numbers = [line.get(f"{name}{end}") for end in ("", "_low", "_high")]
    value, low, high = ("–" if one is None else f"{scale * one:.{digits}f}" for one in numbers)
    return "–" if "–" in (value, low, high) else f"{value}{unit} ({low} to {high})"
