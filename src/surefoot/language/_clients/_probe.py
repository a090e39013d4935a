"""What a server can do of what it says it can: a few tiny requests, and a table of what came back."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from surefoot.core import SurefootError
from surefoot.language._clients._endpoint import Endpoint
from surefoot.language._clients._open import DEFAULT_OPTIONS, open_client
from surefoot.language._clients._options import ClientOptions
from surefoot.language._clients._pace import Call, Pace
from surefoot.language._clients._protocol import Completion, Request

_PROMPT = "one two three"
_CHAT = (("user", "Count to three."),)


@dataclass(frozen=True, kw_only=True)
class Ability:
    """One thing that a server can or cannot do, and what was seen of it."""

    name: str
    works: bool
    seen: str


def probe_endpoint(model: str, options: ClientOptions = DEFAULT_OPTIONS) -> list[Ability]:
    """What the endpoint `http(s)://host/v1#name` can do, found by eight requests of a few tokens; nothing is kept.

    Of a server that cannot be asked at all every ability is missing, with the reason.
    """
    wanted = replace(options, retries=min(options.retries, 1), on_error="raise")
    with open_client(model, wanted) as client:
        if not isinstance(client.source, Endpoint):
            raise SurefootError(f"'{model}' is no endpoint: give http(s)://host/v1#name.")
        endpoint = client.source
        short = Request(prompt=_PROMPT, max_tokens=3)
        return [
            _ability("completions", endpoint, short, lambda one: (True, f"'{one.text}'")),
            _ability("chat", endpoint, replace(short, prompt="", messages=_CHAT), lambda one: (True, f"'{one.text}'")),
            _ability("log-probabilities", endpoint, replace(short, top_logprobs=1), _logprobs),
            _ability("stop sequences", endpoint, replace(short, max_tokens=9, stop=(" ",)), _stops),
            _ability("max_tokens", endpoint, short, _limit),
            _ability("usage", endpoint, short, lambda one: (not one.estimated, f"{one.prompt_tokens} prompt tokens")),
            _ability("echo", endpoint, short, _echoes, echo=True),
            _ability("n", endpoint, short, lambda one: (True, "several answers to a request"), n=2),
        ]


def _ability(
    name: str, endpoint: Endpoint, request: Request, judge: Callable[[Completion], tuple[bool, str]], **body: Any
) -> Ability:
    asked = replace(endpoint, options=replace(endpoint.options, body=(*endpoint.options.body, *body.items())))
    try:
        works, seen = judge(asked.ask(request, Call(Pace(None))))
    except SurefootError as error:
        works, seen = False, str(error)
    return Ability(name=name, works=works, seen=seen)


def _logprobs(one: Completion) -> tuple[bool, str]:
    return one.logprob is not None, f"{len(one.tokens)} tokens, {len(one.top_logprobs)} places with alternatives"


def _stops(one: Completion) -> tuple[bool, str]:
    return " " not in one.text, f"'{one.text}' with the stop sequence ' '; the client cuts in any case"


def _limit(one: Completion) -> tuple[bool, str]:
    return one.completion_tokens <= 3, f"{one.completion_tokens} tokens where 3 were allowed"


def _echoes(one: Completion) -> tuple[bool, str]:
    return one.text.startswith(_PROMPT), f"'{one.text}'"
