"""Ways to ask a question of several hops, as plain functions of a client; and all of them side by side."""

from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, TypeVar

from surefoot.core import SurefootError
from surefoot.language._clients._protocol import Completion, LanguageClient, Request
from surefoot.language._multihop._parse import first_hops, own_part, parse_completion, short_answer, tidy
from surefoot.language._multihop._prompts import Prompts, our_prompts
from surefoot.language._multihop._questions import MultiHopQuestion
from surefoot.language._multihop._search import Query, SearchEngine, SearchResult, search_all

Ended = Literal["answered", "asked", "hop limit", "no answer", "refused"]


@dataclass(frozen=True, kw_only=True)
class Call:
    """A request and what the model made of it."""

    request: Request
    completion: Completion


@dataclass(frozen=True, kw_only=True)
class FollowUp:
    """A follow-up question and its intermediate answer.

    `results` are what a search engine found for it, the first best; `used` is the place of the result that gave the
    intermediate answer, None where the model gave it.
    """

    question: str
    answer: str
    results: tuple[SearchResult, ...] = ()
    used: int | None = None


@dataclass(frozen=True)
class Trace:
    """How an answer came about. `text` is all that the model wrote and was given after the question.

    `ended`: "answered" by the model itself; "asked" for the final answer because its text had none; "hop limit": after
    too many follow-up questions it was made to answer; "no answer": nothing came; "refused" by the server.
    """

    strategy: str
    text: str
    ended: Ended
    calls: tuple[Call, ...]
    follow_ups: tuple[FollowUp, ...] = ()


@dataclass(frozen=True, kw_only=True)
class TracedAnswer:
    """A short answer, '' where there is none, and its trace."""

    text: str
    trace: Trace


# A strategy yields what it wants to know and is sent what came: so thousands of them go on side by side, and one
# client and one engine are asked for all that is wanted at a time.
Given = TypeVar("Given")
Strategy = Generator[Request | Query, Completion | tuple[SearchResult, ...], Given]

_FINAL = "\nSo the final answer is:"
_INTERMEDIATE = "\nIntermediate answer"


@dataclass(frozen=True, kw_only=True)
class Asking:
    """How strategies ask.

    A text without a final answer is asked for it once more, if `force`. After `hops` follow-up questions an answer is
    asked for. A search gives `results` results: the only one is the intermediate answer, of several the model says it.
    `stop` ends each request beside what the strategy needs; a next question that is invented all the same is not read.
    """

    force: bool = True
    hops: int = 4
    results: int = 1
    max_tokens: int = 256
    stop: tuple[str, ...] = ("\nQuestion:",)

    def __post_init__(self) -> None:
        for name in ("hops", "results", "max_tokens"):
            if getattr(self, name) < 1:
                raise SurefootError(f"{name} is {getattr(self, name)}: it must be at least 1.")


ASKING = Asking()


def direct(client: LanguageClient, question: str, *, asking: Asking = ASKING) -> TracedAnswer:
    """Ask for the answer at once, after our own examples; `ask_multihop` takes other prompts."""
    return _one(client, asked_once("direct", our_prompts().direct(question), asking))


def chain_of_thought(client: LanguageClient, question: str, *, asking: Asking = ASKING) -> TracedAnswer:
    """Let the model reason before it answers."""
    return _one(client, reasoned(our_prompts().chain_of_thought(question), asking))


def self_ask(
    client: LanguageClient,
    question: str,
    *,
    search: SearchEngine | None = None,
    hops: int | None = None,
    asking: Asking = ASKING,
) -> TracedAnswer:
    """Let the model ask itself follow-up questions before it answers (Press et al. 2023, arXiv 2210.03350).

    With `search` each follow-up question goes to the engine, see `Asking.results`; where it finds nothing the model
    answers itself. At most 2 `hops` + 2 requests and `hops` queries are made; `hops` stands for that of `asking`.
    """
    prompt = our_prompts().self_ask(question)
    chosen = asking if hops is None else replace(asking, hops=hops)
    return _one(client, searching(prompt, chosen) if search else asking_itself(prompt, chosen), search)


def asked_once(strategy: str, prompt: str, asking: Asking) -> Strategy[TracedAnswer]:
    """One request whose answer is short."""
    log = _Log(strategy, asking)
    said = yield from log.ask(prompt)
    answer = short_answer(said.text, prompt)
    return log.end(answer, said.text, "answered" if answer else "no answer")


def reasoned(prompt: str, asking: Asking) -> Strategy[TracedAnswer]:
    """One request, and one more for the final answer."""
    log = _Log("chain_of_thought", asking)
    said = yield from log.ask(prompt)
    parsed = parse_completion(said.text)
    if parsed.answer is not None or not asking.force:
        answered = parsed.answer is not None
        return log.end(parsed.answer or _last_line(parsed.text), said.text, "answered" if answered else "no answer")
    return (yield from log.force(prompt, parsed.text, "asked"))


def asking_itself(prompt: str, asking: Asking) -> Strategy[TracedAnswer]:
    """Self-ask in which the model answers its follow-up questions."""
    log = _Log("self_ask", asking)
    said = yield from log.ask(prompt)
    parsed = parse_completion(said.text)
    log.found += [FollowUp(question=asked, answer=answer) for asked, answer in parsed.follow_ups]
    too_many = len(log.found) > asking.hops
    if parsed.answer is not None:
        return log.end(parsed.answer, said.text, "answered")
    if not asking.force:
        return log.end(log.last_answer(parsed.text), said.text, "hop limit" if too_many else "no answer")
    del log.found[asking.hops :]
    return (yield from log.force(prompt, first_hops(parsed.text, asking.hops), "hop limit" if too_many else "asked"))


def searching(prompt: str, asking: Asking) -> Strategy[TracedAnswer]:
    """Self-ask in which a search engine answers the follow-up questions."""
    log, text = _Log("self_ask_search", asking), ""
    while True:
        said = yield from log.ask(prompt + text, _INTERMEDIATE)
        # A model that ignores stop sequences invents answers and results: of what it wrote the next question counts.
        before = parse_completion(first_hops(own_part(said.text), 0))
        if before.answer is not None:
            return log.end(before.answer, text + before.text, "answered")
        asked = parse_completion(said.text).follow_ups[:1]
        if not asked or len(log.found) == asking.hops:
            break
        follow_up = yield from _looked_up(log, asked[0][0], prompt + text)
        log.found.append(follow_up)
        text += f"Follow up: {follow_up.question}{_INTERMEDIATE}: {follow_up.answer}\n"
    text = (text + before.text).rstrip("\n")
    if not asking.force:
        return log.end(log.last_answer(text), text, "hop limit" if asked else "no answer")
    return (yield from log.force(prompt, text, "hop limit" if asked else "asked"))


def _looked_up(log: "_Log", asked: str, so_far: str) -> Strategy[FollowUp]:
    """The intermediate answer of a follow-up question from the engine, from a model that reads, or from the model."""
    came = yield Query(asked, log.asking.results)
    found = came if isinstance(came, tuple) else ()
    if found and log.asking.results == 1:
        return FollowUp(question=asked, answer=_one_line(found[0].snippet), results=found, used=0)
    shown = "".join(f"[{at}] {_one_line(one.title)}: {_one_line(one.snippet)}\n" for at, one in enumerate(found, 1))
    own = f"{so_far}Follow up: {asked}{_INTERMEDIATE}:"
    prompt = f"{shown}\nQuestion: {asked}\nAnswer:" if found else own
    said = yield from log.ask(prompt, "\nFollow up:", _FINAL)
    answer = short_answer(said.text)
    holds = [at for at, one in enumerate(found) if answer and answer.lower() in f"{one.title} {one.snippet}".lower()]
    return FollowUp(question=asked, answer=answer, results=found, used=holds[0] if holds else None)


@dataclass
class _Log:
    """What a strategy has asked and found so far."""

    strategy: str
    asking: Asking
    calls: list[Call] = field(default_factory=list)
    found: list[FollowUp] = field(default_factory=list)
    refused: bool = False

    def ask(self, prompt: str, *stop: str) -> Strategy[Completion]:
        request = Request(prompt=prompt, stop=(*stop, *self.asking.stop), max_tokens=self.asking.max_tokens)
        said = yield request
        assert isinstance(said, Completion)
        self.calls.append(Call(request=request, completion=said))
        self.refused = self.refused or said.finish == "error"
        return said

    def force(self, prompt: str, text: str, ended: Ended) -> Strategy[TracedAnswer]:
        """Ask for the final answer alone, unless the server refuses what is asked."""
        asked = f"{prompt}{'' if prompt[-1:].isspace() else ' '}{text}{_FINAL}"
        said = Completion(text="") if self.refused else (yield from self.ask(asked))
        answer = short_answer(said.text)
        return self.end(answer, f"{text}{_FINAL} {answer}", ended if answer or ended == "hop limit" else "no answer")

    def end(self, answer: str, text: str, ended: Ended) -> TracedAnswer:
        how: Ended = "refused" if self.refused else ended
        found, calls = tuple(self.found), tuple(self.calls)
        return TracedAnswer(text=answer, trace=Trace(self.strategy, text, how, calls, found))

    def last_answer(self, text: str) -> str:
        return self.found[-1].answer if self.found else _last_line(text)


def _last_line(text: str) -> str:
    lines = [line for line in text.split("\n") if line.strip()]
    return tidy(lines[-1]) if lines else ""


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _one(client: LanguageClient, strategy: Strategy[TracedAnswer], search: SearchEngine | None = None) -> TracedAnswer:
    return answer_all(client, [strategy], search)[0]


def answer_all(
    client: LanguageClient, strategies: Sequence[Strategy[Given]], search: SearchEngine | None = None
) -> list[Given]:
    """Run strategies side by side, in rounds: the client gets all requests of a round at once, so does the engine."""
    came: dict[int, Completion | tuple[SearchResult, ...] | None] = dict.fromkeys(range(len(strategies)))
    given: dict[int, Given] = {}
    while came:
        requests: dict[int, Request] = {}
        queries: dict[int, Query] = {}
        for at, one in came.items():
            try:
                wanted = next(strategies[at]) if one is None else strategies[at].send(one)
            except StopIteration as end:
                given[at] = end.value
                continue
            if isinstance(wanted, Request):
                requests[at] = wanted
            else:
                queries[at] = wanted
        came = dict(zip(requests, client.answer(list(requests.values())), strict=True)) if requests else {}
        if queries:
            if search is None:
                raise SurefootError("A strategy searches, and there is no search engine: name one.")
            came |= dict(zip(queries, search_all(search, list(queries.values())), strict=True))
    return [given[at] for at in range(len(strategies))]


_JUDGING = (
    "Say whether an answer means the same as the right answer, whatever its wording. Answer with yes or no alone.\n\n"
    "Question: {}\nRight answer: {}\nAnswer: {}\nDoes it mean the same (yes or no):"
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
    `verdicts` are those of the judge, by question, gold answers and answer: None where it said neither yes nor no;
    what its server refused is not among them.
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
    `SurefootError` for an unknown strategy, for "self_ask_search" without a search engine, and where every request, or
    every one of the judge, is refused.
    """
    prompts, questions = prompts or our_prompts(), tuple(questions)
    plans = _plans(questions, strategies, prompts, asking)
    if "self_ask_search" in strategies and search is None:
        raise SurefootError("The strategy self_ask_search needs a search engine: name one.")
    found = dict(zip(plans, answer_all(client, list(plans.values()), search), strict=True))
    _check_answered(client, [call.completion for answer in found.values() for call in answer.trace.calls])
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


def _check_answered(client: LanguageClient, said: Sequence[Completion]) -> None:
    if said and all(one.finish == "error" for one in said):
        raise SurefootError(f"{client.name} answered none of {len(said)} requests: {said[0].error}")


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


def to_judge(run: MultiHopRun) -> list[tuple[str, tuple[str, ...], str]]:
    """Question, gold answers and answer, each once, of all that a judge is shown: an empty answer is wrong unseen."""
    whole = [*run.answers.values(), run.bridge_given]
    pairs = [pair for given in whole for pair in zip(run.questions, given, strict=True)]
    hops = zip(run.questions, run.hop_answers, strict=True)
    every = [*pairs, *(pair for one, given in hops for pair in zip(one.hops, given, strict=True))]
    answers = [(one, answer) for one, answer in every if answer and answer.text and answer.trace.ended != "refused"]
    return list(dict.fromkeys((one.question, one.answers, answer.text) for one, answer in answers))


def _judged(run: MultiHopRun, judge: LanguageClient) -> MultiHopRun:
    """The run with the judge's verdicts."""
    shown = to_judge(run)
    prompts = [_JUDGING.format(question, " or ".join(golds), answer) for question, golds, answer in shown]
    said = judge.answer([Request(prompt=prompt, max_tokens=8) for prompt in prompts])
    _check_answered(judge, said)
    answered = [(pair, one.text) for pair, one in zip(shown, said, strict=True) if one.finish != "error"]
    words = {pair: text.strip().lstrip("*_\"' ").lower() for pair, text in answered}
    verdicts = {pair: word[:3] == "yes" if word.startswith(("yes", "no")) else None for pair, word in words.items()}
    return replace(run, verdicts=verdicts)
