"""The page of a robustness card: where a reader stands beside the line of the published ones, and what it loses."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from surefoot.figures import interval_plot
from surefoot.report._page import still
from surefoot.report._sheet import Section, write_sheet

if TYPE_CHECKING:
    from surefoot.studies.reading import ReaderCard

_METHOD = (
    "The line is fitted to the fully fine-tuned readers of arXiv 2210.12517 on logit axes: F1 under a shift against F1 "
    "on SQuAD 1.1. Effective robustness is the reader's F1 less what the line gives at its F1 on SQuAD.",
    "Intervals are of 95 percent and join three errors: of the questions under shift and of those on SQuAD, with whole "
    "articles as the sample, and of the line. On the line means within the margin, with the whole interval.",
    "The questions shown are drawn at random among those with an F1 of 0.",
)
_COLUMNS = ("shift", "questions", "F1", "the line gives", "points", "95 percent", "verdict")


def write_card(card: ReaderCard, path: Path, *, source: str) -> Path:
    """Write a card as one HTML file that opens from disk and loads nothing; returns its path.

    `source` is the reader, as it is shown. Raises `SurefootError` when the file cannot be written.
    """
    from surefoot.studies.reading import card_words

    words, first = card_words(card), card.sets[0]
    opening = {
        "above": "More robust than a fully fine-tuned reader of its accuracy",
        "below": "Less robust than a fully fine-tuned reader of its accuracy",
        "on the line": "As robust as a fully fine-tuned reader of its accuracy",
        "open": "Not decided: beside the line of fully fine-tuned readers",
    }[first.place]
    return write_sheet(
        path,
        kind="robustness card",
        source=source,
        opening=f"{opening}.",
        leads=words[:2],
        facts=(f"{max(one.questions for one in card.sets):,} questions under shift",),
        sections=(_placed(card, words[1 : 1 + len(card.sets)]), *_lost(card)),
        notes=card.remarks,
        method=_METHOD,
    )


def _placed(card: ReaderCard, sentences: tuple[str, ...]) -> Section:
    effects = [
        {"label": one.shift, "n": one.questions}
        | {"value": one.points / 100, "low": one.low / 100, "high": one.high / 100}
        for one in card.sets
    ]
    title = "Beside the line of the published readers"
    drawn = interval_plot(effects, name="card", title=title, caption="", x_title="Effective robustness")
    rows = tuple(
        (
            one.shift,
            f"{one.questions:,}",
            f"{100 * one.f1:.1f}",
            f"{100 * one.expected:.1f}",
            f"{one.points:+.1f}",
            f"{one.low:+.1f} to {one.high:+.1f}",
            one.place,
        )
        for one in card.sets
    )
    return Section(title=title, anchor="line", sentences=sentences, still=still(drawn), columns=_COLUMNS, rows=rows)


def _lost(card: ReaderCard) -> tuple[Section, ...]:
    sections = []
    for name in dict.fromkeys(one.shift for one in card.lost):
        rows = tuple(
            (asked.question, one.answer or "(none)", " / ".join(dict.fromkeys(asked.answers)), asked.context)
            for one in card.lost
            if one.shift == name
            for asked in (one.question,)
        )
        shown = {"columns": ("question", "answered", "right", "paragraph"), "rows": rows, "text": True}
        sections.append(Section(title=f"Lost on {name}", anchor=f"lost-{name}", sentences=(), still="", **shown))
    return tuple(sections)
