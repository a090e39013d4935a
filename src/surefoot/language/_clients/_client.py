"""The client that users hold: what is known is looked up, what is not is asked, and kept as it comes."""

import json
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from threading import Condition, Event, Lock
from typing import Protocol, Self

from surefoot.core import SurefootError
from surefoot.language._clients._protocol import ClientOptions, Completion, Request, finished

_MADE = "CREATE TABLE IF NOT EXISTS answers (key TEXT PRIMARY KEY, identity TEXT, request TEXT, answer TEXT, at TEXT)"
_ADD = "INSERT OR IGNORE INTO answers VALUES (?, ?, ?, ?, strftime('%Y-%m-%dT%H:%M:%SZ', 'now'))"
_AT_ONCE = 500  # keys in one question; SQLite takes 999 and more
_PATIENCE = 60.0  # seconds to wait while another process writes
_UNKEPT = ("cached", "error")


class RefusedError(SurefootError):
    """One request cannot be answered; others can."""


class GivenUpError(RefusedError):
    """A server failed at one request again and again."""


class DeadlineError(SurefootError):
    """The time for a call is over, or the call was stopped."""


@dataclass
class Queue:
    """The row in which requests stand here, over all calls: so many a minute, and so many out at once.

    A server with fewer slots than requests lets them wait, while the `timeout` of each runs. So no more are out than it
    has shown to answer within half of the timeout, first one, and `most` at most: who waits here has no clock.
    """

    per_minute: float | None
    timeout: float
    most: int
    _next: float = 0.0
    _out: int = 0
    _allowed: int = 1
    _free: Condition = field(default_factory=Condition)

    def entered(self, seconds: float) -> bool:
        """Whether there was room within so many seconds, which is then taken."""
        with self._free:
            room = self._free.wait_for(lambda: self._out < self._allowed, seconds)
            self._out += room
            return room

    def left(self, took: float) -> None:
        """One is back that was out for so many seconds."""
        with self._free:
            answered = int(self._out * self.timeout / 2 / max(took, 1e-9))
            self._allowed = max(1, min(answered, self._allowed + 1, self.most))
            self._out -= 1
            self._free.notify_all()

    def place(self) -> float:
        """The moment (of the monotonic clock) at which the next request may go out."""
        with self._free:
            moment = max(self._next, time.monotonic())
            self._next = moment + (60 / self.per_minute if self.per_minute else 0)
            return moment

    def pause(self, seconds: float) -> None:
        """Nothing goes out for so long."""
        with self._free:
            self._next = max(self._next, time.monotonic() + seconds)


@dataclass
class Call:
    """One call of `answer`: its queue, when it must end, and whether it was stopped."""

    queue: Queue
    end: float = float("inf")
    stopped: Event = field(default_factory=Event)

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Wait for a place in the row, and hold it."""
        while not self.queue.entered(0.1):
            self.sleep(0)
        began = time.monotonic()
        try:
            self.sleep(self.queue.place() - began)
            began = time.monotonic()
            yield
        finally:
            self.queue.left(time.monotonic() - began)

    def sleep(self, seconds: float) -> None:
        """Raises `DeadlineError` when the call ends before, or is stopped."""
        if self.stopped.wait(max(0.0, self.left(seconds))) or time.monotonic() >= self.end:
            raise DeadlineError("The deadline passed.")

    def left(self, seconds: float) -> float:
        """So many seconds, or fewer where the end comes first."""
        return min(seconds, self.end - time.monotonic())


class Source(Protocol):
    """A model behind a client: it knows no cache."""

    @property
    def name(self) -> str: ...
    @property
    def identity(self) -> str: ...
    def ask(self, request: Request, call: Call) -> Completion:
        """The whole answer. Raises `RefusedError` for this request alone, `SurefootError` for all."""
        ...

    def close(self) -> None: ...


def answers_file(place: Path) -> Path:
    """Where the answers of a store are kept; `place` is the store, or the directory that a Step is made in.

    The file lies in the store under `.answers`, which `clean` never takes.
    """
    root = place.parents[2] if place.parent.suffix == ".part" else place
    return root / ".answers" / "answers.sqlite"


@dataclass(frozen=True)
class Answers:
    """Answers by key in one SQLite file that only grows, or in memory without one; none is ever changed.

    Several threads and processes may write; what a killed one had kept stays. Raises `SurefootError` for a file that
    is no cache of answers or cannot be written.
    """

    path: Path | None
    _kept: dict[str, Completion] = field(default_factory=dict, compare=False)

    def find(self, keys: Sequence[str]) -> dict[str, Completion]:
        """Those that are there, by key."""
        if self.path is None:
            return {key: replace(self._kept[key], cached=True) for key in keys if key in self._kept}
        found: dict[str, str] = {}
        if self.path.is_file():
            with self._connected() as database, self._faults_are_said():
                for at in range(0, len(keys), _AT_ONCE):
                    some = keys[at : at + _AT_ONCE]
                    marks = ", ".join("?" * len(some))
                    found |= dict(database.execute(f"SELECT key, answer FROM answers WHERE key IN ({marks})", some))
        return {key: _read(answer) for key, answer in found.items()}

    @contextmanager
    def writer(self, identity: str) -> Iterator[Callable[[Request, Completion], Completion]]:
        """A function that keeps one answer of the model with this identity; any thread may call it.

        It gives the answer that is kept: that of another process, where it was the first.
        """
        if self.path is None:
            yield lambda request, answer: self._kept.setdefault(request.key(identity), answer)
            return
        lock = Lock()
        with self._connected() as database:

            def keep(request: Request, answer: Completion) -> Completion:
                told = {name: value for name, value in vars(answer).items() if value and name not in _UNKEPT}
                asked, key = json.dumps(vars(request), sort_keys=True), request.key(identity)
                with lock, self._faults_are_said(), database:
                    if database.execute(_ADD, (key, identity, asked, json.dumps(told))).rowcount:
                        return answer
                    (first,) = database.execute("SELECT answer FROM answers WHERE key = ?", (key,)).fetchone()
                    return replace(_read(first), cached=False)

            yield keep

    @contextmanager
    def _connected(self) -> Iterator[sqlite3.Connection]:
        assert self.path is not None
        with self._faults_are_said():
            self.path.parent.mkdir(parents=True, exist_ok=True)
            database = sqlite3.connect(self.path, timeout=_PATIENCE, check_same_thread=False)
        with closing(database):
            with self._faults_are_said():
                database.execute("PRAGMA journal_mode = WAL")  # with NORMAL a killed process loses nothing
                database.execute("PRAGMA synchronous = NORMAL")
                database.execute(_MADE)
            yield database

    @contextmanager
    def _faults_are_said(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            full = "full" in str(error) or "No space" in str(error)
            cure = "free some space, then run again" if full else "name another store, or move the file away"
            raise SurefootError(f"The file of answers {self.path} cannot be used ({error}): {cure}.") from error


def _read(answer: str) -> Completion:
    told = json.loads(answer)
    told["tokens"] = tuple((token, value) for token, value in told.get("tokens", ()))
    told["top_logprobs"] = tuple(tuple((t, v) for t, v in place) for place in told.get("top_logprobs", ()))
    return Completion(**{"text": "", "cached": True} | told)


@dataclass(frozen=True)
class Client:
    """A language model that is asked only what was never answered: see `open_client`.

    Close it, or use it in a `with`. Answers are kept as the model gave them; stop sequences and `think_tags` are
    applied when they are read, so that neither a server nor another setting of the tags can make one be asked again.
    """

    source: Source
    options: ClientOptions
    answers: Answers
    queue: Queue

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
        keyed = [(request.key(self.identity), request) for request in requests]
        found = self.answers.find(list(dict(keyed)))
        left = {key: request for key, request in keyed if key not in found}
        found |= self._ask(left) if left else {}
        return [finished(found[key], request.stop, self.options.think_tags) for key, request in keyed]

    def missing(self, requests: Sequence[Request]) -> list[Request]:
        """Those of the requests, each once, to which no answer is kept."""
        different = {request.key(self.identity): request for request in requests}
        found = self.answers.find(list(different))
        return [request for key, request in different.items() if key not in found]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close connections, or free the model."""
        self.source.close()

    def _ask(self, left: dict[str, Request]) -> dict[str, Completion]:
        call = Call(self.queue, time.monotonic() + (self.options.deadline or float("inf")))
        failed = 0  # requests that the server failed at, one after the other
        with self.answers.writer(self.identity) as keep, ThreadPoolExecutor(self.queue.most) as pool:

            def one(request: Request) -> Completion:
                nonlocal failed
                try:
                    answer = self.source.ask(request, call)
                except RefusedError as error:
                    failed += isinstance(error, GivenUpError)
                    if self.options.on_error == "raise" or failed > 2 * self.queue.most:
                        end = " ".join(request.text[-80:].split())
                        raise type(error)(f"{error} The request ends '{end}'.") from error
                    return Completion(text="", finish="error", error=str(error))
                failed = 0
                return keep(request, answer)

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
            done = [one.result() for one in asked if not one.cancelled() and not one.exception()]
            answered = sum(one.finish != "error" for one in done)
            kept = f" and are kept in {self.answers.path}" if self.answers.path and answered else ""
            raise type(error)(f"{error} {answered} of {len(asked)} requests were answered{kept}.") from error
