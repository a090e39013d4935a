"""Why known hops do not make a right answer: the gap taken apart."""

from collections.abc import Sequence
from typing import Literal, get_args

from surefoot.core import Figure, SurefootError, Table
from surefoot.figures import interval_plot
from surefoot.language._multihop._ask import MultiHopRun
from surefoot.language._multihop._gap import RuleMarks, mark_run, numbers_of, rules_of
from surefoot.language._multihop._questions import MultiHopQuestion
from surefoot.language._multihop._rules import is_recognisable, is_right
from surefoot.language._multihop._strategies import TracedAnswer
from surefoot.stats import wilson

Cause = Literal["bridge not found", "second hop not applied", "not recognised", "no answer", "not known"]
CAUSES: tuple[Cause, ...] = get_args(Cause)
_COLUMNS = ("rule", "strategy", "cause", "from", "hops known", "questions", "share", "low", "high")


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
    rows = [row for marks in marked for name in run.answers for row in _rows(run, marks, name, judged[name])]
    return Table(_COLUMNS, tuple(rows))


def _rows(run: MultiHopRun, marks: RuleMarks, strategy: str, judged: Sequence[bool]) -> list[tuple[object, ...]]:
    causes = [
        cause_of_loss(one, answer, judged=judged[at], with_bridge=marks.bridge[at])
        for at, (one, answer) in enumerate(zip(run.questions, run.answers[strategy], strict=True))
        if marks.known[at] and not marks.whole[strategy][at]
    ]
    known = sum(marks.known)
    source = "bridge given" if strategy == "direct" else "trace"
    return [
        (marks.rule, strategy, cause, source, known, lost, *numbers_of(wilson(lost, known) if known else None))
        for cause in CAUSES
        for lost in (causes.count(cause),)
        if cause != "not known" or cause in causes
    ]


def causes_figure(table: Table, rule: str = "cover_answer") -> Figure:
    """The shares of each cause by strategy, by one rule. Raises `SurefootError` where no question's hops are known."""
    rows = [row for row in table.records() if row["rule"] == rule and row["share"] is not None]
    if not rows:
        raise SurefootError(f"There is no gap to draw: by the rule {rule} no question has all its hops right.")
    effects = [
        {
            "label": row["cause"],
            "group": row["strategy"].replace("_", " "),
            "family": row["cause"],
            "value": row["share"],
            "low": row["low"],
            "high": row["high"],
            "n": row["hops known"],
        }
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
