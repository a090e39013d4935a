"""How a model is asked: the settings of a client."""

from dataclasses import dataclass
from typing import Literal

from surefoot.core import SurefootError
from surefoot.language._clients._protocol import THINK_TAGS


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

    api: Literal["completions", "chat"] = "completions"
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
