"""What is asked of a language model, how, and what it answers: one protocol for all clients."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from itertools import accumulate
from typing import Literal, Protocol

from surefoot.core import SurefootError

Api = Literal["completions", "chat"]
Finish = Literal["stop", "length", "error"]
TokenLogprob = tuple[str, float]
CHARACTERS_A_TOKEN = 3.5  # of English under byte-pair encodings it is nearer 4: too many tokens rather than too few
THINK_TAGS = ("<think>", "</think>")


@dataclass(frozen=True, kw_only=True)
class Request:
    """One question to a language model: a `prompt` to continue, or `messages` of a chat as (role, content).

    At most `max_tokens` are generated, up to the first of the `stop` sequences (which is not part of the answer).
    `temperature` 0 takes the likeliest token each time. Equal requests are one: who wants several samples of one
    prompt gives each its own `seed`. `top_logprobs` asks for the natural logarithms of the probabilities of the tokens
    of the answer, and of so many alternatives at each place (0: none); None asks for nothing.
    """

    prompt: str = ""
    messages: tuple[tuple[str, str], ...] = ()
    max_tokens: int = 256
    stop: tuple[str, ...] = ()
    temperature: float = 0.0
    seed: int = 0
    top_logprobs: int | None = None

    def __post_init__(self) -> None:
        if bool(self.prompt) == bool(self.messages):
            raise SurefootError("A Request has either a prompt or messages, and what it has is not empty.")
        if self.max_tokens < 1 or not self.temperature >= 0 or (self.top_logprobs or 0) < 0:
            raise SurefootError(
                f"A Request has max_tokens = {self.max_tokens}, temperature = {self.temperature}, top_logprobs = "
                f"{self.top_logprobs}: they must be at least 1, 0 and 0."
            )
        if not all(self.stop):
            raise SurefootError("A stop sequence of a Request is empty: leave it out.")

    @property
    def text(self) -> str:
        """The prompt, or all messages, a line each."""
        return self.prompt or "\n".join(content for _, content in self.messages)

    def key(self, identity: str) -> str:
        """The name under which the answer of the model with this identity is kept: 32 hexadecimal digits."""
        told = json.dumps([identity, vars(self)], sort_keys=True)
        return sha256(told.encode()).hexdigest()[:32]


@dataclass(frozen=True, kw_only=True)
class Completion:
    """What a language model answered.

    `text` ends before the first stop sequence, whatever the server did. `finish` is "stop" (the model or a stop
    sequence ended it), "length" (cut at `max_tokens`) or "error" (`error` says why, and the text is empty: see
    `ClientOptions.on_error`). Token counts are the server's, or `estimated`. `cached` says that nothing was asked now.
    `tokens` are those of the text with their log-probabilities in nats, and `top_logprobs` the alternatives at each
    place, likeliest first, where they were asked for and given. `thinking` is what a reasoning model thought aloud
    before the text. `build` is what the server said of itself.
    """

    text: str
    finish: Finish = "stop"
    prompt_tokens: int = 0
    completion_tokens: int = 0
    estimated: bool = False
    cached: bool = False
    tokens: tuple[TokenLogprob, ...] = ()
    top_logprobs: tuple[tuple[TokenLogprob, ...], ...] = ()
    thinking: str = ""
    build: str = ""
    error: str = ""

    @property
    def logprob(self) -> float | None:
        """The log-probability of the text in nats, summed over `tokens`; None where no model gave them."""
        return sum(logprob for _, logprob in self.tokens) if self.tokens else None


@dataclass(frozen=True, kw_only=True)
class ClientOptions:
    """How a client asks. What changes an answer goes into the identity, all else does not.

    Of the answer: `api` is how a prompt is sent to an endpoint ("chat" sends it as a user's message; messages always
    go to chat); `body` are fields sent with every request, in which None leaves a field out, such as
    `(("cache_prompt", False), ("stop", None))`; `token_limit` names the field of the limit; `build` says what an
    endpoint serves where that is known (digest of weights, build of the server), and then stands in the key in the
    place of its URL; `context` is the window in tokens and `threads` the number of threads of a model that runs here.

    Of the asking: `connections` requests at once; `per_minute` requests at most, those already answered not counted;
    `timeout` seconds a try; `retries` after status 429, 5xx, timeouts and lost connections, the first after
    `first_wait` seconds, each next after twice as long, or when the server says, if that is within `longest_wait`;
    `deadline` seconds for one call of `answer`; `key_variable` names the environment variable with the API key;
    `largest_response` in bytes; `on_error` "record" gives a refused request a completion with finish "error" in place
    of an exception. Of the view: `think_tags` enclose what a reasoning model thinks aloud first.
    """

    api: Api = "completions"
    body: tuple[tuple[str, str | float | bool | None], ...] = ()
    token_limit: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    build: str = ""
    context: int = 2048
    threads: int = 1
    connections: int = 8
    per_minute: float | None = None
    timeout: float = 120.0
    retries: int = 6
    first_wait: float = 0.5
    longest_wait: float = 120.0
    deadline: float | None = None
    key_variable: str = "SUREFOOT_API_KEY"
    largest_response: int = 16 * 2**20
    on_error: Literal["raise", "record"] = "raise"
    think_tags: tuple[str, str] | None = THINK_TAGS

    def __post_init__(self) -> None:
        least = {"context": 16, "threads": 1, "connections": 1, "retries": 0, "largest_response": 1024}
        for name, bound in least.items():
            if not getattr(self, name) >= bound:
                raise SurefootError(f"{name} is {getattr(self, name)}: it must be at least {bound}.")
        for name in ("per_minute", "timeout", "first_wait", "longest_wait", "deadline"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise SurefootError(f"{name} is {value}: it must be above 0.")


class LanguageClient(Protocol):
    """A language model that can be asked. `open_client` gives one; whatever has these three members is one, too."""

    @property
    def name(self) -> str:
        """What tables and messages call it."""
        ...

    @property
    def identity(self) -> str:
        """What its answers depend on beside the request: digest of weights, or URL and model; build and settings."""
        ...

    def answer(self, requests: Sequence[Request]) -> list[Completion]:
        """The answers, in the order of the requests. Raises `SurefootError` where the model cannot be asked."""
        ...


@dataclass(frozen=True, kw_only=True)
class ScriptedClient:
    """A client without a model: `script` is a function of the request, or recorded answers by prompt.

    For tests, and to send recorded transcripts through the path of live models. A prompt is the text of the last
    message where the request is a chat. Answers are cut at stop sequences, as all clients do; tokens are counted as
    words. Raises `SurefootError` for a prompt that was not recorded.
    """

    script: Callable[[Request], str] | Mapping[str, str]
    name: str = "script"

    @property
    def identity(self) -> str:
        """The name: a script has no weights."""
        return f"script {self.name}"

    def answer(self, requests: Sequence[Request]) -> list[Completion]:
        """What the script says to each."""
        return [self._one(request) for request in requests]

    def _one(self, request: Request) -> Completion:
        prompt = request.prompt or request.messages[-1][1]
        said = self.script(request) if callable(self.script) else self.script.get(prompt)
        if said is None:
            raise SurefootError(f"The script {self.name} has no answer to the prompt that ends '{prompt[-60:]}'.")
        words, said_words = len(prompt.split()), len(said.split())
        raw = Completion(text=said, estimated=True, prompt_tokens=words, completion_tokens=said_words)
        return finished(raw, request.stop, THINK_TAGS)


def estimated_tokens(text: str) -> int:
    """About how many tokens a text has, where nothing counts them."""
    return round(len(text) / CHARACTERS_A_TOKEN) + 1 if text else 0


def finished(raw: Completion, stop: Sequence[str], think_tags: tuple[str, str] | None) -> Completion:
    """What a user sees of a model's whole answer: without what it thought aloud first, up to the first stop sequence.

    An answer cut while it was thinking has an empty text. Where the opening tag stood in the prompt only the closing
    one is found.
    """
    thinking, start = raw.thinking, 0
    if think_tags:
        opened, (before, closed, _) = raw.text.lstrip().startswith(think_tags[0]), raw.text.partition(think_tags[1])
        if opened or closed:
            thinking, start = before.strip().removeprefix(think_tags[0]).strip(), len(before) + len(closed)
    after = raw.text[start:].lstrip() if start else raw.text
    stops = [at for one in stop if (at := after.find(one)) >= 0]
    text = after[: min(stops)] if stops else after
    if text == raw.text:
        return raw
    first, ends = len(raw.text) - len(after), accumulate(len(token) for token, _ in raw.tokens)
    last = first + len(text) if stops else len(raw.text) + 1
    kept = [at for at, end in enumerate(ends) if first <= end - len(raw.tokens[at][0]) < last]
    return replace(
        raw,
        text=text,
        thinking=thinking,
        finish="stop" if stops else raw.finish,
        tokens=tuple(raw.tokens[at] for at in kept),
        top_logprobs=tuple(raw.top_logprobs[at] for at in kept if at < len(raw.top_logprobs)),
    )
