"""Ways to ask a question of several hops, as plain functions of a client."""

from collections.abc import Generator, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, TypeVar

from surefoot.core import SurefootError
from surefoot.language._clients._protocol import Completion, LanguageClient, Request
from surefoot.language._multihop._parse import first_hops, own_part, parse_completion, short_answer, tidy
from surefoot.language._multihop._prompts import Prompts, our_prompts
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


def direct(
    client: LanguageClient,
    question: str,
    *,
    prompts: Prompts | None = None,
    category: str = "",
    asking: Asking = ASKING,
) -> TracedAnswer:
    """Ask for the answer at once. `category` chooses the prompt where prompts are by category."""
    return _one(client, asked_once("direct", (prompts or our_prompts()).direct(question, category), asking))


def chain_of_thought(
    client: LanguageClient,
    question: str,
    *,
    prompts: Prompts | None = None,
    category: str = "",
    asking: Asking = ASKING,
) -> TracedAnswer:
    """Let the model reason before it answers."""
    return _one(client, reasoned((prompts or our_prompts()).chain_of_thought(question, category), asking))


def self_ask(
    client: LanguageClient,
    question: str,
    *,
    search: SearchEngine | None = None,
    hops: int | None = None,
    prompts: Prompts | None = None,
    category: str = "",
    asking: Asking = ASKING,
) -> TracedAnswer:
    """Let the model ask itself follow-up questions before it answers (Press et al. 2023, arXiv 2210.03350).

    With `search` each follow-up question goes to the engine, see `Asking.results`; where it finds nothing the model
    answers itself. At most 2 `hops` + 2 requests and `hops` queries are made; `hops` stands for that of `asking`.
    """
    prompt = (prompts or our_prompts()).self_ask(question, category)
    chosen = asking if hops is None else replace(asking, hops=hops)
    return _one(client, searching(prompt, chosen) if search else asking_itself(prompt, chosen), search)


def asked_once(strategy: str, prompt: str, asking: Asking) -> Strategy[TracedAnswer]:
    """One request whose answer is short."""
    log = _Log(strategy, asking)
    said = yield from log.ask(prompt)
    answer = short_answer(said.text)
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
