"""The compositionality gap of a run, by strategy and matching rule, with paired tests; and the gap taken apart."""

import re
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
from surefoot.language._multihop._ask import MultiHopRun, TracedAnswer, to_judge
from surefoot.language._multihop._questions import Hop, MultiHopQuestion
from surefoot.language._multihop._rules import RULES, is_recognisable, is_right
from surefoot.stats import Interval, cohen_kappa, holm, paired_difference, wilson

FEWEST = 30
"""With fewer questions whose hops are all known a gap is given with a warning."""


@dataclass(frozen=True, kw_only=True)
class RuleMarks:
    """What is right by one rule: `whole` by strategy and question, `known` by question (all its hops), `bridge` whether
    the question is right after its bridge was given. None where a server refused, where it was not asked, and in
    `known` where the question has fewer than two hops: what is None counts neither as right nor as wrong."""

    rule: str
    whole: Mapping[str, tuple[bool | None, ...]]
    known: tuple[bool | None, ...]
    bridge: tuple[bool | None, ...]


def mark_run(run: MultiHopRun, rule: str) -> RuleMarks:
    """Mark every answer of a run by a rule, or by its "judge"."""

    def right(one: MultiHopQuestion | Hop, answer: TracedAnswer) -> bool | None:
        shown = (one.question, one.answers, answer.text)
        if answer.trace.ended == "refused" or (rule == "judge" and answer.text and shown not in run.verdicts):
            return None
        if rule != "judge":
            return is_right(rule, answer.text, answer.trace.text, one.answers)
        return run.verdicts.get(shown) is True

    def all_right(one: MultiHopQuestion, given: Sequence[TracedAnswer]) -> bool | None:
        marks = list(map(right, one.hops, given))
        return None if len(marks) < 2 or None in marks else all(marks)

    return RuleMarks(
        rule=rule,
        whole={name: tuple(map(right, run.questions, given)) for name, given in run.answers.items()},
        known=tuple(map(all_right, run.questions, run.hop_answers)),
        bridge=tuple(
            None if given is None else right(one, given)
            for one, given in zip(run.questions, run.bridge_given, strict=True)
        ),
    )


def rules_of(run: MultiHopRun) -> tuple[str, ...]:
    """The rules by which a run is measured: all of `RULES`, and "judge" where one was asked."""
    return (*RULES, "judge") if run.judge else tuple(RULES)


_GAP = (
    "rule", "strategy", "questions", "of", "refused", "accuracy", "accuracy low", "accuracy high", "with hops",
    "hops known", "whole wrong", "gap", "gap low", "gap high", "right without hops", "recall", "recall on", "note",
)  # fmt: skip


def gap_table(run: MultiHopRun) -> Table:
    """One row a rule and strategy: accuracy with Wilson's interval, the gap, and in a search the recall of supports.

    `questions` count for accuracy; `refused` have no answer, because a server would not give one, and count for
    nothing. Of the questions `with hops` (two or more, none of them refused) `hops known` have all of them right, and
    `whole wrong` of these are answered wrong: `gap` is their share (Press et al. 2023, section 2), None (undefined)
    where none is known; `right without hops` are right though a sub-question is not. `recall` is the mean share of a
    question's supports that are among the results, over `recall on` questions; None: not measured.
    """
    marks = [mark_run(run, rule) for rule in rules_of(run)]
    return Table(_GAP, tuple(_gap_row(run, one, name) for one in marks for name in run.answers))


def _gap_row(run: MultiHopRun, marks: RuleMarks, strategy: str) -> tuple[object, ...]:
    whole = [mark for mark in marks.whole[strategy] if mark is not None]
    pairs = zip(marks.known, marks.whole[strategy], strict=True)
    both = Counter(pair for pair in pairs if None not in pair)
    lost, known = both[True, False], both[True, False] + both[True, True]
    gap = wilson(lost, known) if known else None
    recalls = retrieval_recall(run, strategy)
    accuracy, recall = wilson(sum(whole), len(whole)) if whole else None, float(np.mean(recalls)) if recalls else None
    return (
        marks.rule, strategy, len(whole), run.of, len(run.questions) - len(whole), *numbers_of(accuracy), both.total(),
        known, lost, *numbers_of(gap), both[False, True], recall, len(recalls) or None,
        _note(run, known, strategy, measured=bool(recalls)),
    )  # fmt: skip


def _note(run: MultiHopRun, known: int, strategy: str, *, measured: bool) -> str:
    notes = []
    refused = sum(answer.trace.ended == "refused" for answer in run.answers[strategy])
    hops = sum(any(one.trace.ended == "refused" for one in given) for given in run.hop_answers)
    notes += [f"{refused} questions refused by the server are left out"] * bool(refused)
    notes += [f"{hops} with a refused sub-question have no gap"] * bool(hops)
    if not known:
        several = any(len(one.hops) > 1 for one in run.questions)
        what = "all its sub-questions right" if several else "two sub-questions"
        notes.append(f"gap undefined: no question has {what}")
    elif known < FEWEST:
        notes.append(f"gap on fewer than {FEWEST} questions")
    searches = [one for answer in run.answers[strategy] for one in answer.trace.follow_ups]
    nothing = sum(not one.results for one in searches)
    if strategy == "self_ask_search" and nothing:
        notes.append(f"{nothing} of {len(searches)} searches found nothing")
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
        if answer.trace.ended == "refused":
            continue
        wanted = set(one.supports) | {support for hop in one.hops for support in hop.supports}
        found = {result.source for follow_up in answer.trace.follow_ups for result in follow_up.results}
        shares += [len(wanted & found) / len(wanted)] if wanted else []
    return shares


_PAIRS = ("rule", "measure", "first", "second", "questions", "difference", "low", "high", "p", "p (Holm)")


def pairs_table(run: MultiHopRun) -> Table:
    """Strategies against each other on the same questions: second less first, Tango's interval, McNemar's exact p.

    `accuracy` is over all questions that both answered, `gap` over those whose hops are known by the rule.
    Holm's correction is over the
    pairs of one rule and measure.
    """
    rows: list[tuple[object, ...]] = []
    for marks in (mark_run(run, rule) for rule in rules_of(run)):
        whole, known = _numbers(marks), np.array(marks.known, dtype=np.float64)
        for measure, wanted, sign in (("accuracy", np.full(len(known), True), 1), ("gap", known == 1, -1)):
            compared = {}
            for a, b in combinations(whole, 2):
                kept = wanted & ~np.isnan(whole[a] + whole[b])
                if kept.sum() > 1:
                    # The gap is the share of wrong answers: what is won in right ones is lost there.
                    compared[a, b] = paired_difference(*((whole[b][kept], whole[a][kept])[::sign]))
            adjusted = holm([one.p for one in compared.values()]) if compared else ()
            rows += [
                (marks.rule, measure, *pair, one.n, *numbers_of(one.difference), _finite(one.p), _finite(float(p)))
                for (pair, one), p in zip(compared.items(), adjusted, strict=True)
            ]
    return Table(_PAIRS, tuple(rows))


def agreement_table(run: MultiHopRun) -> Table:
    """How far the judge agrees with each rule on the whole answers of all strategies: share, and Cohen's kappa."""
    columns = ("judge", "rule", "answers", "agreement", "kappa", "low", "high")
    if not run.judge:
        return Table(columns, ())
    judged = np.concatenate(list(_numbers(mark_run(run, "judge")).values()))
    rows = []
    for rule in RULES:
        marked = np.concatenate(list(_numbers(mark_run(run, rule)).values()))
        said, other = (one[~np.isnan(judged + marked)] == 1 for one in (judged, marked))
        if not len(said):
            continue
        share = float((said == other).mean())
        rows.append((run.judge, rule, len(said), share, *numbers_of(cohen_kappa(said, other))))
    return Table(columns, tuple(rows))


def run_notes(run: MultiHopRun) -> list[str]:
    """What a reader of the tables must know, in sentences."""
    every = [answer for given in (*run.answers.values(), *run.hop_answers) for answer in given]
    endings = Counter(answer.trace.ended for answer in every)
    cut = sum(call.completion.finish == "length" for answer in every for call in answer.trace.calls)
    told = {
        "hop limit": "ran into the limit of follow-up questions",
        "refused": "were refused by the server: they count for nothing",
    }
    notes = [f"{endings[name]} answers {said}." for name, said in told.items() if name in endings]
    notes += [f"{cut} completions were cut at {run.asking.max_tokens} tokens."] * bool(cut)
    unread = sum(verdict is None for verdict in run.verdicts.values())
    without = sum(len(one.hops) < 2 for one in run.questions)
    unjudged = sum(pair not in run.verdicts for pair in to_judge(run)) if run.judge else 0
    notes += [f"The judge's server refused {unjudged} answers: they count for nothing by its rule."] * bool(unjudged)
    notes += [f"The judge said neither yes nor no to {unread} answers; they count as wrong."] * bool(unread)
    fewer = f"{without} questions have fewer than two sub-questions, or not all of them: they count for accuracy alone."
    notes += [fewer] * bool(without)
    return notes


def write_run_examples(run: MultiHopRun, directory: Path, rule: str) -> list[Path]:
    """A directory for each strategy with `examples.parquet`, which `surefoot compare` takes: 1 is a right answer.

    A question that a server refused is not among its rows.
    """
    marks, written = mark_run(run, rule), []
    for name, right in marks.whole.items():
        out = directory / name
        out.mkdir(parents=True, exist_ok=True)
        rows = zip(run.questions, right, run.answers[name], strict=True)
        kept = [(one, float(mark), answer) for one, mark, answer in rows if mark is not None]
        columns = {
            "example": [one.id for one, _, _ in kept],
            "score": [mark for _, mark, _ in kept],
            "label": [one.answers[0] for one, _, _ in kept],
            "category": [one.category for one, _, _ in kept],
            "answer": [answer.text for _, _, answer in kept],
        }
        write_examples(out, columns)
        written.append(out / "examples.parquet")
    return written


def _numbers(marks: RuleMarks) -> dict[str, np.ndarray]:
    """By strategy 1 for right and 0 for wrong; NaN where a server refused."""
    return {name: np.array(given, dtype=np.float64) for name, given in marks.whole.items()}


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
    bridged = all(any(_stands(gold, steps) for gold in hop.answers) for hop in question.hops[:-1])
    return "second hop not applied" if bridged else "bridge not found"


def _stands(gold: str, steps: str) -> bool:
    """Whether the words of a name stand together there; a short one in capitals (US, IT) is no word without them."""
    short = gold.replace(".", "")
    if len(short) <= 3 and short.isalpha() and short.isupper():
        return short in re.findall(r"\w+", steps.replace(".", ""))
    return is_right("cover_answer", steps, "", (gold,))


def causes_table(run: MultiHopRun) -> Table:
    """One row a rule, strategy and cause: its share of the questions with known hops; all shares add up to the gap.

    `from` is what it was told by: the trace, or asking with the bridge given.
    """
    nothing = {name: (False,) * len(run.questions) for name in run.answers}
    judged = mark_run(run, "judge").whole if run.judge else nothing
    marked = [mark_run(run, rule) for rule in rules_of(run)]
    rows = [row for marks in marked for name in run.answers for row in _cause_rows(run, marks, name, judged[name])]
    return Table(_CAUSES, tuple(rows))


def _cause_rows(
    run: MultiHopRun, marks: RuleMarks, strategy: str, judged: Sequence[bool | None]
) -> list[tuple[object, ...]]:
    causes = [
        cause_of_loss(one, answer, judged=judged[at] is True, with_bridge=marks.bridge[at])
        for at, (one, answer) in enumerate(zip(run.questions, run.answers[strategy], strict=True))
        if marks.known[at] and marks.whole[strategy][at] is False
    ]
    counted = zip(marks.known, marks.whole[strategy], strict=True)
    known = sum(pair[0] is True and None not in pair for pair in counted)
    source = "bridge given" if strategy == "direct" else "trace"
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
