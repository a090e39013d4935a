"""The client that users hold: what is known is looked up, what is not is asked, and kept as it comes."""

import time
from collections.abc import Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from threading import Event, Lock
from typing import Protocol, Self

from surefoot.core import SurefootError
from surefoot.language._clients._answers import Answers
from surefoot.language._clients._protocol import ClientOptions, Completion, Request, finished


class RefusedError(SurefootError):
    """One request cannot be answered; others can."""


class GivenUpError(RefusedError):
    """A server failed at one request again and again."""


class DeadlineError(SurefootError):
    """The time for a call is over, or the call was stopped."""


@dataclass
class Pace:
    """The row in which the requests of a client stand, on all connections and over all calls."""

    per_minute: float | None
    _next: float = 0.0
    _lock: Lock = field(default_factory=Lock)

    def place(self) -> float:
        """The moment (of the monotonic clock) at which the next request may go out."""
        with self._lock:
            moment = max(self._next, time.monotonic())
            self._next = moment + (60 / self.per_minute if self.per_minute else 0)
            return moment

    def pause(self, seconds: float) -> None:
        """Nothing goes out for so long."""
        with self._lock:
            self._next = max(self._next, time.monotonic() + seconds)


@dataclass
class Call:
    """One call of `answer`: its pace, when it must end, and whether it was stopped."""

    pace: Pace
    end: float = float("inf")
    stopped: Event = field(default_factory=Event)

    def turn(self) -> None:
        """Wait for a place in the row."""
        self.sleep(self.pace.place() - time.monotonic())

    def sleep(self, seconds: float) -> None:
        """Raises `DeadlineError` when the call ends before, or is stopped."""
        if self.stopped.wait(max(0.0, self.left(seconds))) or time.monotonic() >= self.end:
            raise DeadlineError("The deadline passed.")

    def left(self, seconds: float) -> float:
        """So many seconds, or fewer where the end comes first."""
        return min(seconds, self.end - time.monotonic())


class Source(Protocol):
    """A model behind a client: it answers one request at a time on each connection, and knows no cache."""

    @property
    def name(self) -> str: ...
    @property
    def identity(self) -> str: ...
    @property
    def connections(self) -> int: ...
    def ask(self, request: Request, call: Call) -> Completion:
        """The whole answer. Raises `RefusedError` for this request alone, `SurefootError` for all."""
        ...

    def close(self) -> None: ...


@dataclass(frozen=True)
class Client:
    """A language model that is asked only what was never answered: see `open_client`.

    Close it, or use it in a `with`. Answers are kept as the model gave them; stop sequences and `think_tags` are
    applied when they are read, so that neither a server nor another setting of the tags can make one be asked again.
    """

    source: Source
    options: ClientOptions
    answers: Answers
    pace: Pace

    @property
    def name(self) -> str:
        """What tables and messages call it."""
        return self.source.name

    @property
    def identity(self) -> str:
        """What its answers depend on beside the request."""
        return self.source.identity

    def answer(self, requests: Sequence[Request]) -> list[Completion]:
        """The answers, in the order of the requests; equal requests are asked once.

        Raises `SurefootError` where the model cannot be asked, refuses one (see `ClientOptions.on_error`), or the
        deadline passes. What was answered until then is kept.
        """
        keys = [request.key(self.identity) for request in requests]
        found = self.answers.find(list(dict.fromkeys(keys)))
        left = {key: request for key, request in zip(keys, requests, strict=True) if key not in found}
        found |= self._ask(left) if left else {}
        pairs = zip(keys, requests, strict=True)
        return [finished(found[key], request.stop, self.options.think_tags) for key, request in pairs]

    def missing(self, requests: Sequence[Request]) -> list[Request]:
        """Those of the requests, each once, to which no answer is kept."""
        different = {request.key(self.identity): request for request in requests}
        found = self.answers.find(list(different))
        return [request for key, request in different.items() if key not in found]

    def close(self) -> None:
        """Close connections, or free the model."""
        self.source.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _ask(self, left: dict[str, Request]) -> dict[str, Completion]:
        call = Call(self.pace, time.monotonic() + (self.options.deadline or float("inf")))
        failed = 0  # requests that the server failed at, one after the other
        with self.answers.writer(self.identity) as keep, ThreadPoolExecutor(self.source.connections) as pool:

            def one(request: Request) -> Completion:
                nonlocal failed
                try:
                    answer = self.source.ask(request, call)
                except RefusedError as error:
                    failed += isinstance(error, GivenUpError)
                    if self.options.on_error == "raise" or failed > 2 * self.source.connections:
                        raise
                    return Completion(text="", finish="error", error=str(error))
                keep(request, answer)
                failed = 0
                return answer

            asked = {key: pool.submit(one, request) for key, request in left.items()}
            try:
                wait(asked.values(), return_when=FIRST_EXCEPTION)
            finally:  # what is on its way ends, and is kept; also after Ctrl-C
                call.stopped.set()
                pool.shutdown(cancel_futures=True)
        self._say(list(asked.values()))
        return {key: future.result() for key, future in asked.items()}

    def _say(self, asked: "list[Future[Completion]]") -> None:
        """Raise the first error, with what was answered in spite of it."""
        errors = [error for one in asked if not one.cancelled() and (error := one.exception())]
        for error in sorted(errors, key=lambda error: isinstance(error, DeadlineError)):
            if not isinstance(error, SurefootError):
                raise error
            answered = sum(not one.cancelled() and not one.exception() for one in asked)
            kept = f" and are kept in {self.answers.path}" if self.answers.path else ""
            raise type(error)(f"{error} {answered} of {len(asked)} requests were answered{kept}.") from error
