"""Ask every question, and its sub-questions, in every way that is wanted: all side by side."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from surefoot.core import SurefootError
from surefoot.language._clients._protocol import LanguageClient, Request
from surefoot.language._multihop._prompts import Prompts, our_prompts
from surefoot.language._multihop._questions import MultiHopQuestion
from surefoot.language._multihop._search import SearchEngine
from surefoot.language._multihop._strategies import (
    ASKING,
    Asking,
    Strategy,
    TracedAnswer,
    answer_all,
    asked_once,
    asking_itself,
    reasoned,
    searching,
)

_MAKERS: Mapping[str, Callable[[Prompts, MultiHopQuestion, Asking], Strategy[TracedAnswer]]] = {
    "direct": lambda prompts, one, asking: asked_once("direct", prompts.direct(one.question, one.category), asking),
    "chain_of_thought": lambda prompts, one, asking: reasoned(
        prompts.chain_of_thought(one.question, one.category), asking
    ),
    "self_ask": lambda prompts, one, asking: asking_itself(prompts.self_ask(one.question, one.category), asking),
    "self_ask_search": lambda prompts, one, asking: searching(prompts.self_ask(one.question, one.category), asking),
}
STRATEGIES = tuple(_MAKERS)


@dataclass(frozen=True, kw_only=True)
class MultiHopRun:
    """What a model answered to `questions`, of `of` that their file has.

    `answers` are by strategy, in the order of the questions; `hop_answers` by question and hop; `bridge_given` to each
    question after its hops but the last are told with their answers, empty where it has none or was not asked so.
    `verdicts` are those of the judge, by question, gold answers and answer: None where it said neither yes nor no.
    """

    model: str
    questions: tuple[MultiHopQuestion, ...]
    of: int
    prompts: Prompts
    asking: Asking = ASKING
    engine: str = ""
    answers: Mapping[str, tuple[TracedAnswer, ...]]
    hop_answers: tuple[tuple[TracedAnswer, ...], ...]
    bridge_given: tuple[TracedAnswer | None, ...]
    judge: str = ""
    verdicts: Mapping[tuple[str, tuple[str, ...], str], bool | None] = field(default_factory=dict)


def ask_multihop(
    client: LanguageClient,
    questions: Sequence[MultiHopQuestion],
    strategies: Sequence[str] = STRATEGIES[:3],
    *,
    of: int | None = None,
    prompts: Prompts | None = None,
    asking: Asking = ASKING,
    search: SearchEngine | None = None,
    judge: LanguageClient | None = None,
) -> MultiHopRun:
    """Ask each sub-question alone and each question in every strategy; then, if named, a judge about each answer.

    All go on side by side, so that the client has many requests at a time. With "direct" among the strategies each
    question is also asked with its bridge given, which tells apart what a text without reasoning does not. Raises
    `SurefootError` for an unknown strategy, and for "self_ask_search" without a search engine.
    """
    prompts, questions = prompts or our_prompts(), tuple(questions)
    plans = _plans(questions, strategies, prompts, asking)
    if "self_ask_search" in strategies and search is None:
        raise SurefootError("The strategy self_ask_search needs a search engine: name one.")
    found = dict(zip(plans, answer_all(client, list(plans.values()), search), strict=True))
    run = MultiHopRun(
        model=client.name,
        questions=questions,
        of=len(questions) if of is None else of,
        prompts=prompts,
        asking=asking,
        engine=search.identity if search and "self_ask_search" in strategies else "",
        answers={name: tuple(found[name, at, 0] for at in range(len(questions))) for name in strategies},
        hop_answers=tuple(
            tuple(found["hop", at, hop] for hop in range(len(one.hops))) for at, one in enumerate(questions)
        ),
        bridge_given=tuple(found.get(("bridge", at, 0)) for at in range(len(questions))),
        judge=judge.name if judge else "",
    )
    return _judged(run, judge) if judge else run


def first_requests(
    questions: Sequence[MultiHopQuestion], strategies: Sequence[str], prompts: Prompts, asking: Asking = ASKING
) -> list[Request]:
    """What is asked at the start, whatever the answers: the least that a run asks."""
    plans = _plans(tuple(questions), strategies, prompts, asking)
    return [wanted for plan in plans.values() if isinstance(wanted := next(plan), Request)]


def most_requests(strategies: Sequence[str], asking: Asking, first: int, questions: int) -> int:
    """The most requests that a run asks of the model, of which `first` at the start."""
    more = {"chain_of_thought": 1, "self_ask": 1, "self_ask_search": 2 * asking.hops + 1}
    return first + questions * sum(more.get(name, 0) for name in strategies)


def _plans(
    questions: tuple[MultiHopQuestion, ...], strategies: Sequence[str], prompts: Prompts, asking: Asking
) -> dict[tuple[str, int, int], Strategy[TracedAnswer]]:
    """What is to be asked, by strategy (also "hop" and "bridge"), question and hop."""
    wrong = next((name for name in strategies if name not in _MAKERS), None)
    if wrong is not None or not strategies:
        said = f"There is no strategy '{wrong}'" if strategies else "No strategy is named"
        raise SurefootError(f"{said}: there is {', '.join(_MAKERS)}.")
    plans = {
        (name, at, 0): _MAKERS[name](prompts, one, asking) for name in strategies for at, one in enumerate(questions)
    }
    for at, one in enumerate(questions):
        for hop, sub in enumerate(one.hops):
            prompt = prompts.sub_question(sub.question, hop, one.category)
            plans["hop", at, hop] = asked_once("hop", prompt, asking)
        if "direct" in strategies and len(one.hops) > 1:
            prompt = prompts.direct(bridge_given(one), one.category)
            plans["bridge", at, 0] = asked_once("bridge given", prompt, asking)
    return plans


def bridge_given(question: MultiHopQuestion) -> str:
    """The question after all its hops but the last, each with its answer."""
    told = " ".join(f"{hop.question} {hop.answers[0].rstrip('.')}." for hop in question.hops[:-1])
    return f"{told} {question.question}"


def _judged(run: MultiHopRun, judge: LanguageClient) -> MultiHopRun:
    """The run with the judge's verdict on every answer; an empty answer is wrong without being shown."""
    answers = [
        (one.question, one.answers, answer)
        for given in run.answers.values()
        for one, answer in zip(run.questions, given, strict=True)
    ]
    for one, given, bridge in zip(run.questions, run.hop_answers, run.bridge_given, strict=True):
        answers += [(hop.question, hop.answers, answer) for hop, answer in zip(one.hops, given, strict=True)]
        answers += [(one.question, one.answers, bridge)] if bridge else []
    shown = list(dict.fromkeys((question, golds, answer.text) for question, golds, answer in answers if answer.text))
    said = judge.answer([Request(prompt=_judging(*one), max_tokens=8) for one in shown])
    return replace(run, verdicts={one: _verdict(answer.text) for one, answer in zip(shown, said, strict=True)})


def _judging(question: str, golds: tuple[str, ...], answer: str) -> str:
    right = " or ".join(golds)
    return (
        "Say whether an answer means the same as the right answer, whatever its wording. Answer with yes or no alone."
        f"\n\nQuestion: {question}\nRight answer: {right}\nAnswer: {answer}\nDoes it mean the same (yes or no):"
    )


def _verdict(text: str) -> bool | None:
    word = text.strip().lstrip("*_\"' ").lower()
    return True if word.startswith("yes") else False if word.startswith("no") else None
