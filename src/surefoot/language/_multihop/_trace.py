"""What a strategy did: every prompt, completion, query and result, and where each intermediate answer is from."""

from collections.abc import Generator
from dataclasses import dataclass
from typing import Literal, TypeVar

from surefoot.language._clients._protocol import Completion, Request
from surefoot.language._multihop._http import SearchResult

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


@dataclass(frozen=True)
class Query:
    """What a strategy wants to know from the search engine, and how many results it can use."""

    text: str
    k: int


# A strategy yields what it wants to know and is sent what came: so thousands of them go on side by side, and one
# client and one engine are asked for all that is wanted at a time.
Given = TypeVar("Given")
Strategy = Generator[Request | Query, Completion | tuple[SearchResult, ...], Given]
