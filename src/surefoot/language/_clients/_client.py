"""The client that users hold: what is known is looked up, what is not is asked, and kept as it comes."""

import time
from collections.abc import Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import Protocol, Self

from surefoot.core import SurefootError
from surefoot.language._clients._answers import Answers
from surefoot.language._clients._options import ClientOptions
from surefoot.language._clients._pace import Call, DeadlineError, Pace
from surefoot.language._clients._protocol import Completion, Request, finished


class RefusedError(SurefootError):
    """One request cannot be answered; others can."""


class GivenUpError(RefusedError):
    """A server failed at one request again and again."""


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
        refusals = _Refusals(record=self.options.on_error == "record", most=2 * self.source.connections)
        with self.answers.writer(self.identity) as keep, ThreadPoolExecutor(self.source.connections) as pool:

            def one(request: Request) -> Completion:
                try:
                    answer = self.source.ask(request, call)
                except RefusedError as error:
                    return refusals.completion(error)
                keep(request, answer)
                refusals.in_a_row = 0
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


@dataclass
class _Refusals:
    """What becomes of refused requests: they end the call, or are recorded until too many follow on each other."""

    record: bool
    most: int
    in_a_row: int = 0

    def completion(self, error: RefusedError) -> Completion:
        self.in_a_row += isinstance(error, GivenUpError)
        if not self.record or self.in_a_row > self.most:
            raise error
        return Completion(text="", finish="error", error=str(error))
