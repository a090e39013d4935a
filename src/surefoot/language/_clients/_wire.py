"""The JSON of OpenAI-compatible servers: bodies of requests, and answers in all the shapes that servers give them."""

import json
import math
from collections.abc import Mapping
from typing import Any

from surefoot.core import SurefootError
from surefoot.language._clients._client import RefusedError
from surefoot.language._clients._protocol import Api, ClientOptions, Completion, Request, TokenLogprob, estimated_tokens
from surefoot.language._unpacked import refuse_constant

Body = dict[str, Any]
_MOST_TOKENS = 1 << 40
_MOST_STOPS = 4  # more are refused by some servers; the client cuts at all of them anyway
_CUT = ("length", "max_tokens")
_WITHHELD = ("content_filter", "error")  # what came is not what the model would have said


class ShapeError(SurefootError):
    """A server answered with something that is no completion."""


def api_of(request: Request, options: ClientOptions) -> Api:
    """Which of the two interfaces a request goes to: messages always go to chat."""
    return "chat" if request.messages else options.api


def body_of(request: Request, options: ClientOptions, model: str) -> Body:
    """What is sent: the request, and the fields of `options.body` over it."""
    chat, wanted = api_of(request, options) == "chat", request.top_logprobs
    messages = request.messages or (("user", request.prompt),)
    logprobs: Body = {"logprobs": True, "top_logprobs": wanted} if chat else {"logprobs": wanted}
    body: Body = {
        "model": model or None,
        **({"messages": [{"role": role, "content": text} for role, text in messages]} if chat else {}),
        **({} if chat else {"prompt": request.prompt}),
        options.token_limit: request.max_tokens,
        "temperature": request.temperature,
        "seed": request.seed,
        "stop": list(request.stop[:_MOST_STOPS]) or None,
        **(logprobs if wanted is not None else {}),
        **dict(options.body),
    }
    return {name: value for name, value in body.items() if value is not None}


def read_json(content: bytes, kind: str = "") -> Body:
    """An object of JSON. Raises `ShapeError` for a web page, broken JSON, or another value; it says what came."""
    try:
        told = json.loads(content, parse_constant=refuse_constant)
    except (ValueError, RecursionError) as error:
        what = "a web page" if "html" in kind or content.lstrip()[:1] == b"<" else f"no JSON ({error})"
        raise ShapeError(f"answered with {what}: '{_start(content)}'") from error
    if not isinstance(told, dict):
        raise ShapeError(f"answered with JSON that is no object: '{_start(content)}'")
    return told


def read_completion(told: Body, request: Request, model: str = "") -> Completion:
    """The whole answer in a server's JSON; `build` has the name of a model that is not the one asked.

    Raises `ShapeError` where there is none, and `RefusedError` where the server keeps it back.
    """
    choices: object = told.get("choices")
    found = [one for one in choices if isinstance(one, dict)] if isinstance(choices, list) else []
    choice: Body | None = next((one for one in found if not one.get("index") or len(found) == 1), None)
    if choice is None:
        raise ShapeError(f"answered without choices: '{json.dumps(told)[:80]}'")
    if choice.get("finish_reason") in _WITHHELD:
        raise RefusedError(f"withheld an answer (finish_reason {choice['finish_reason']})")
    message = choice.get("message")
    text, thinking = (_text(choice.get("text")), "") if not isinstance(message, dict) else _spoken(message)
    if text is None:
        raise ShapeError(f"answered without a text: '{json.dumps(choice)[:80]}'")
    tokens, top = _logprobs(choice.get("logprobs"))
    builds = (told.get("model") if model else "", told.get("system_fingerprint"))
    prompt_tokens, completion_tokens, estimated = _usage(told.get("usage"), request, thinking + text)
    return Completion(
        text=text,
        finish="length" if choice.get("finish_reason") in _CUT else "stop",
        prompt_tokens=prompt_tokens,
        completion_tokens=completion_tokens,
        estimated=estimated,
        tokens=tokens,
        top_logprobs=top,
        thinking=thinking,
        build=" ".join(str(one) for one in builds if one and one != model),
    )


def error_of(told: object) -> tuple[str, Mapping[str, Any]]:
    """The message in a server's JSON of an error, and its details; servers put it in several places."""
    details = told if isinstance(told, dict) else {}
    inner = details.get("error", details)
    if not isinstance(inner, dict):
        return str(inner)[:300], details
    return str(inner.get("message") or inner.get("detail") or "")[:300], inner


def _start(content: bytes) -> str:
    return " ".join(content[:200].decode("utf-8", "replace").split())[:80]


def _text(value: object) -> str | None:
    """Text that a UTF-8 file can hold: a lone half of a surrogate pair becomes a question mark."""
    return value.encode("utf-8", "replace").decode("utf-8") if isinstance(value, str) else None


def _spoken(message: Body) -> tuple[str | None, str]:
    """Text and aloud thoughts of a message; the text is null where a model only thought or refused, or in parts."""
    thinking = _text(message.get("reasoning_content")) or _text(message.get("reasoning")) or ""
    content = message.get("content") or message.get("refusal") or message.get("content")
    if isinstance(content, list):
        parts = [part.get("text") for part in content if isinstance(part, dict)]
        content = "".join(part for part in parts if isinstance(part, str))
    return "" if content is None and "content" in message else _text(content), thinking


def _usage(told: object, request: Request, answer: str) -> tuple[int, int, bool]:
    """A server's counts of tokens, where a prompt, and an answer that is not empty, have some."""
    given = [told.get(name) if isinstance(told, dict) else None for name in ("prompt_tokens", "completion_tokens")]
    prompt, completion = (one if type(one) is int and 0 <= one < _MOST_TOKENS else -1 for one in given)
    if prompt > 0 and completion >= bool(answer):
        return prompt, completion, False
    return estimated_tokens(request.text), estimated_tokens(answer), True


def _logprobs(told: object) -> tuple[tuple[TokenLogprob, ...], tuple[tuple[TokenLogprob, ...], ...]]:
    """Tokens and alternatives in either shape: a list of objects (chat), or lists side by side (completions)."""
    if not isinstance(told, dict):
        return (), ()
    try:
        if isinstance(told.get("content"), list):
            rows = told["content"]
            tokens = [_pair(row["token"], row["logprob"]) for row in rows]
            top = [[_pair(one["token"], one["logprob"]) for one in row.get("top_logprobs") or ()] for row in rows]
        else:
            tokens = [_pair(*one) for one in zip(told["tokens"], told["token_logprobs"], strict=True)]
            top = [[_pair(*one) for one in (row or {}).items()] for row in told.get("top_logprobs") or ()]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ShapeError(f"answered with log-probabilities of no known shape: '{json.dumps(told)[:80]}'") from error
    by_value = [tuple(sorted(row, key=lambda one: -one[1])) for row in top]
    return tuple(tokens), tuple(by_value) if any(by_value) else ()


def _pair(token: object, logprob: object) -> TokenLogprob:
    text = _text(token)
    if text is None or isinstance(logprob, bool) or not isinstance(logprob, int | float) or not math.isfinite(logprob):
        raise ValueError
    return text, float(logprob)
