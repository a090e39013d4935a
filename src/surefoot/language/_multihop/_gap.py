"""The compositionality gap of a run, by strategy and matching rule, with paired tests; and the gap taken apart."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from math import isfinite
from pathlib import Path
from typing import Literal, get_args

import numpy as np

from surefoot.core import Figure, SurefootError, Table
from surefoot.examples import write_examples
from surefoot.figures import interval_plot
from surefoot.language._multihop._ask import MultiHopRun, TracedAnswer
from surefoot.language._multihop._questions import MultiHopQuestion
from surefoot.language._multihop._rules import RULES, is_recognisable, is_right
from surefoot.stats import Interval, cohen_kappa, holm, paired_difference, wilson

FEWEST = 30
"""With fewer questions whose hops are all known a gap is given with a warning."""


@dataclass(frozen=True, kw_only=True)
class CompositionalityGap:
    """Of `known` questions whose sub-questions are all answered right, `lost` whole questions are answered wrong.

    `gap` is their share with Wilson's interval, None (undefined) where none is known (Press et al. 2023, section 2).
    """

    known: int
    lost: int
    gap: Interval | None


def compositionality_gap(lost: int, known: int) -> CompositionalityGap:
    """The gap from its two counts. Raises `SurefootError` for counts that cannot be."""
    if not 0 <= lost <= known:
        raise SurefootError(f"{lost} questions lost of {known} with known hops: the first cannot be above the second.")
    return CompositionalityGap(known=known, lost=lost, gap=wilson(lost, known) if known else None)


@dataclass(frozen=True, kw_only=True)
class RuleMarks:
    """What is right by one rule: `whole` by strategy and question, `known` by question (all its hops), `bridge` whether
    the question is right after its bridge was given; None where it was not asked."""

    rule: str
    whole: Mapping[str, tuple[bool, ...]]
    known: tuple[bool, ...]
    bridge: tuple[bool | None, ...]


def mark_run(run: MultiHopRun, rule: str) -> RuleMarks:
    """Mark every answer of a run by a rule, or by its "judge"."""

    def right(question: str, golds: tuple[str, ...], answer: TracedAnswer) -> bool:
        if rule != "judge":
            return is_right(rule, answer.text, answer.trace.text, golds)
        return bool(answer.text) and run.verdicts.get((question, golds, answer.text)) is True

    def wholly(one: MultiHopQuestion, answer: TracedAnswer) -> bool:
        return right(one.question, one.answers, answer)

    return RuleMarks(
        rule=rule,
        whole={name: tuple(map(wholly, run.questions, given)) for name, given in run.answers.items()},
        known=tuple(
            bool(one.hops) and all(map(lambda hop, answer: right(hop.question, hop.answers, answer), one.hops, given))
            for one, given in zip(run.questions, run.hop_answers, strict=True)
        ),
        bridge=tuple(
            None if given is None else wholly(one, given)
            for one, given in zip(run.questions, run.bridge_given, strict=True)
        ),
    )


def rules_of(run: MultiHopRun) -> tuple[str, ...]:
    """The rules by which a run is measured: all of `RULES`, and "judge" where one was asked."""
    return (*RULES, "judge") if run.judge else tuple(RULES)


_GAP = (
    "rule", "strategy", "questions", "of", "accuracy", "accuracy low", "accuracy high", "hops known", "whole wrong",
    "gap", "gap low", "gap high", "right without hops", "recall", "recall on", "note",
)  # fmt: skip


def gap_table(run: MultiHopRun) -> Table:
    """One row a rule and strategy: accuracy with Wilson's interval, the gap, and in a search the recall of supports.

    `hops known` questions have all sub-questions right, `whole wrong` of them are answered wrong; `right without hops`
    are right though a sub-question is not. `recall` is the mean share of a question's supports that are among the
    results, over `recall on` questions; None: not measured.
    """
    marks = [mark_run(run, rule) for rule in rules_of(run)]
    return Table(_GAP, tuple(_gap_row(run, one, name) for one in marks for name in run.answers))


def _gap_row(run: MultiHopRun, marks: RuleMarks, strategy: str) -> tuple[object, ...]:
    whole, known = np.array(marks.whole[strategy]), np.array(marks.known)
    hops = np.array([bool(one.hops) for one in run.questions])
    accuracy = wilson(int(whole.sum()), len(whole))
    found = compositionality_gap(int((known & ~whole).sum()), int(known.sum()))
    recalls = retrieval_recall(run, strategy)
    return (
        marks.rule,
        strategy,
        len(whole),
        run.of,
        *numbers_of(accuracy),
        found.known,
        found.lost,
        *numbers_of(found.gap),
        int((hops & ~known & whole).sum()),
        float(np.mean(recalls)) if recalls else None,
        len(recalls) or None,
        _note(run, found, strategy, measured=bool(recalls)),
    )


def _note(run: MultiHopRun, found: CompositionalityGap, strategy: str, *, measured: bool) -> str:
    notes = []
    if found.gap is None:
        notes.append("gap undefined: no question has all its sub-questions right")
    elif found.known < FEWEST:
        notes.append(f"gap on fewer than {FEWEST} questions")
    if strategy == "self_ask_search" and not measured:
        notes.append("recall not measured: no question names its supports")
    if len(run.questions) < run.of:
        notes.append(f"a sample of {run.of}: not to be compared with all")
    return "; ".join(notes)


def retrieval_recall(run: MultiHopRun, strategy: str) -> list[float]:
    """Of each question with supports the share of them that a search found, in any of its results."""
    if strategy != "self_ask_search":
        return []
    shares = []
    for one, answer in zip(run.questions, run.answers[strategy], strict=True):
        wanted = set(one.supports) | {support for hop in one.hops for support in hop.supports}
        found = {result.source for follow_up in answer.trace.follow_ups for result in follow_up.results}
        shares += [len(wanted & found) / len(wanted)] if wanted else []
    return shares


_PAIRS = ("rule", "measure", "first", "second", "questions", "difference", "low", "high", "p", "p (Holm)")


def pairs_table(run: MultiHopRun) -> Table:
    """Strategies against each other on the same questions: second less first, Tango's interval, McNemar's exact p.

    `accuracy` is over all questions, `gap` over those whose hops are known by the rule. Holm's correction is over the
    pairs of one rule and measure.
    """
    rows: list[tuple[object, ...]] = []
    for marks in (mark_run(run, rule) for rule in rules_of(run)):
        known = np.array(marks.known)
        for measure, kept, sign in (("accuracy", np.ones(len(known), dtype=bool), 1), ("gap", known, -1)):
            if kept.sum() < 2:
                continue
            whole = {name: np.array(given, dtype=np.float64)[kept] for name, given in marks.whole.items()}
            pairs = list(combinations(whole, 2))
            # The gap is the share of wrong answers: what is won in right ones is lost there.
            compared = [paired_difference(*((whole[b], whole[a])[::sign])) for a, b in pairs]
            adjusted = holm([one.p for one in compared])
            rows += [
                (marks.rule, measure, a, b, one.n, *numbers_of(one.difference), _finite(one.p), _finite(float(p)))
                for (a, b), one, p in zip(pairs, compared, adjusted, strict=True)
            ]
    return Table(_PAIRS, tuple(rows))


def agreement_table(run: MultiHopRun) -> Table:
    """How far the judge agrees with each rule on the whole answers of all strategies: share, and Cohen's kappa."""
    columns = ("judge", "rule", "answers", "agreement", "kappa", "low", "high")
    if not run.judge:
        return Table(columns, ())
    said = _flat(mark_run(run, "judge"))
    rows = []
    for rule in RULES:
        other = _flat(mark_run(run, rule))
        share = float((said == other).mean())
        rows.append((run.judge, rule, len(said), share, *numbers_of(cohen_kappa(said, other))))
    return Table(columns, tuple(rows))


def run_notes(run: MultiHopRun) -> list[str]:
    """What a reader of the tables must know, in sentences."""
    every = [answer for given in (*run.answers.values(), *run.hop_answers) for answer in given]
    endings = Counter(answer.trace.ended for answer in every)
    cut = sum(call.completion.finish == "length" for answer in every for call in answer.trace.calls)
    told = {"hop limit": "ran into the limit of follow-up questions", "refused": "were refused by the server"}
    notes = [f"{endings[name]} answers {said}." for name, said in told.items() if name in endings]
    notes += [f"{cut} completions were cut at {run.asking.max_tokens} tokens."] * bool(cut)
    unread = sum(verdict is None for verdict in run.verdicts.values())
    without = sum(not one.hops for one in run.questions)
    notes += [f"The judge said neither yes nor no to {unread} answers; they count as wrong."] * bool(unread)
    notes += [f"{without} questions have no sub-questions: they count for accuracy alone."] * bool(without)
    return notes


def write_run_examples(run: MultiHopRun, directory: Path, rule: str) -> list[Path]:
    """A directory for each strategy with `examples.parquet`, which `surefoot compare` takes: 1 is a right answer."""
    marks, written = mark_run(run, rule), []
    for name, right in marks.whole.items():
        out = directory / name
        out.mkdir(parents=True, exist_ok=True)
        columns = {
            "example": [one.id for one in run.questions],
            "score": [float(one) for one in right],
            "label": [one.answers[0] for one in run.questions],
            "category": [one.category for one in run.questions],
            "answer": [answer.text for answer in run.answers[name]],
        }
        write_examples(out, columns)
        written.append(out / "examples.parquet")
    return written


def _flat(marks: RuleMarks) -> np.ndarray:
    return np.concatenate([np.array(given, dtype=bool) for given in marks.whole.values()])


def numbers_of(interval: Interval | None) -> Sequence[float | None]:
    """Estimate and bounds as cells of a table: None for what is undefined."""
    if interval is None:
        return None, None, None
    return _finite(interval.estimate), _finite(interval.low), _finite(interval.high)


def _finite(value: float) -> float | None:
    return value if isfinite(value) else None


Cause = Literal["bridge not found", "second hop not applied", "not recognised", "no answer", "not known"]
CAUSES: tuple[Cause, ...] = get_args(Cause)
_CAUSES = ("rule", "strategy", "cause", "from", "hops known", "questions", "share", "low", "high")


def cause_of_loss(
    question: MultiHopQuestion, answer: TracedAnswer, *, judged: bool = False, with_bridge: bool | None = None
) -> Cause:
    """Why a wrong answer to a question with known hops is wrong.

    - "no answer": the hop limit was reached, or nothing that could be read as an answer came;
    - "not recognised": the answer holds a gold one, or is right for the judge (`judged`), and the rule does not see it;
    - "bridge not found": the answer of a hop before the last stands nowhere in what the model wrote or was given;
    - "second hop not applied": all of these stand there.

    Where the model wrote no steps (the strategy "direct") the last two are told apart by what it answers when the
    bridge is given (`with_bridge`: right, so it was the bridge that was missing); "not known" where that was not asked.
    """
    trace = answer.trace
    if judged or is_recognisable(answer.text, question.answers):
        return "not recognised"
    if trace.ended in ("hop limit", "no answer", "refused") or not answer.text:
        return "no answer"
    if trace.strategy == "direct":
        return "not known" if with_bridge is None else "bridge not found" if with_bridge else "second hop not applied"
    steps = " ".join([*(one.answer for one in trace.follow_ups), trace.text])
    bridged = all(is_right("cover_answer", steps, "", hop.answers) for hop in question.hops[:-1])
    return "second hop not applied" if bridged else "bridge not found"


def causes_table(run: MultiHopRun) -> Table:
    """One row a rule, strategy and cause: its share of the questions with known hops; all shares add up to the gap.

    `from` is what it was told by: the trace, or asking with the bridge given.
    """
    nothing = {name: (False,) * len(run.questions) for name in run.answers}
    judged = mark_run(run, "judge").whole if run.judge else nothing
    marked = [mark_run(run, rule) for rule in rules_of(run)]
    rows = [row for marks in marked for name in run.answers for row in _cause_rows(run, marks, name, judged[name])]
    return Table(_CAUSES, tuple(rows))


def _cause_rows(run: MultiHopRun, marks: RuleMarks, strategy: str, judged: Sequence[bool]) -> list[tuple[object, ...]]:
    causes = [
        cause_of_loss(one, answer, judged=judged[at], with_bridge=marks.bridge[at])
        for at, (one, answer) in enumerate(zip(run.questions, run.answers[strategy], strict=True))
        if marks.known[at] and not marks.whole[strategy][at]
    ]
    known, source = sum(marks.known), "bridge given" if strategy == "direct" else "trace"
    counts = {cause: causes.count(cause) for cause in CAUSES if cause != "not known" or cause in causes}
    return [
        (marks.rule, strategy, cause, source, known, lost, *numbers_of(wilson(lost, known) if known else None))
        for cause, lost in counts.items()
    ]


def causes_figure(table: Table, rule: str = "cover_answer") -> Figure:
    """The shares of each cause by strategy, by one rule. Raises `SurefootError` where no question's hops are known."""
    rows = [row for row in table.records() if row["rule"] == rule and row["share"] is not None]
    if not rows:
        raise SurefootError(f"There is no gap to draw: by the rule {rule} no question has all its hops right.")
    same = {"value": "share", "low": "low", "high": "high", "n": "hops known", "label": "cause", "family": "cause"}
    effects = [
        {"group": row["strategy"].replace("_", " "), **{name: row[column] for name, column in same.items()}}
        for row in rows
    ]
    return interval_plot(
        effects,
        name="gap-causes",
        title="Why known hops do not make a right answer",
        caption=f"Share of the questions whose hops are all known, by the rule {rule}, with 95 percent intervals. The "
        "shares of a strategy add up to its compositionality gap.",
        x_title="Share of questions with known hops",
        unit="share",
        reference=0.0,
        families=[cause for cause in CAUSES if any(row["cause"] == cause for row in rows)],
        family_title="cause",
    )
