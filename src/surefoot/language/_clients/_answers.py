"""The cache of answers: one SQLite file beside the artifacts of a store, shared by all studies, that only grows."""

import json
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from hashlib import sha256
from pathlib import Path
from threading import Lock

from surefoot.core import SurefootError
from surefoot.language._clients._protocol import Completion, Request

_MADE = "CREATE TABLE IF NOT EXISTS answers (key TEXT PRIMARY KEY, identity TEXT, request TEXT, answer TEXT, at TEXT)"
_ADD = "INSERT OR IGNORE INTO answers VALUES (?, ?, ?, ?, strftime('%Y-%m-%dT%H:%M:%SZ', 'now'))"
_AT_ONCE = 500  # keys in one question; SQLite takes 999 and more
_PATIENCE = 60.0  # seconds to wait while another process writes
_UNKEPT = ("cached", "error")


def answers_file(place: Path) -> Path:
    """Where the answers of a store are kept; `place` is the store, or the directory that a Step is made in.

    The file lies in the store under `.answers`, which `clean` never takes.
    """
    root = place.parents[2] if place.parent.suffix == ".part" else place
    return root / ".answers" / "answers.sqlite"


@dataclass(frozen=True)
class Answers:
    """Answers by key in a file, or in memory without one; none is ever changed.

    Several threads and processes may write; what a killed one had kept stays. Raises `SurefootError` for a file that
    is no cache of answers or cannot be written.
    """

    path: Path | None
    _kept: dict[str, Completion] = field(default_factory=dict, compare=False)

    def find(self, keys: Sequence[str]) -> dict[str, Completion]:
        """Those that are there, by key."""
        if self.path is None:
            return {key: self._kept[key] for key in keys if key in self._kept}
        if not self.path.is_file():
            return {}
        found = {}
        with self._connected() as database, self._faults_are_said():
            for at in range(0, len(keys), _AT_ONCE):
                some = keys[at : at + _AT_ONCE]
                marks = ", ".join("?" * len(some))
                found |= dict(database.execute(f"SELECT key, answer FROM answers WHERE key IN ({marks})", some))
        return {key: _read(answer) for key, answer in found.items()}

    @contextmanager
    def writer(self, identity: str) -> Iterator[Callable[[Request, Completion], None]]:
        """A function that keeps one answer of the model with this identity; any thread may call it."""
        if self.path is None:
            yield lambda request, answer: self._kept.update({request.key(identity): replace(answer, cached=True)})
            return
        lock = Lock()
        with self._connected() as database:

            def keep(request: Request, answer: Completion) -> None:
                told = {name: value for name, value in vars(answer).items() if value and name not in _UNKEPT}
                asked = json.dumps(vars(request), sort_keys=True)
                with lock, self._faults_are_said(), database:
                    database.execute(_ADD, (request.key(identity), identity, asked, json.dumps(told)))

            yield keep

    def digest(self, identity: str, requests: Iterable[Request]) -> str:
        """One digest of the answers to these requests: what provenance cites. 64 hexadecimal digits."""
        keys = sorted(request.key(identity) for request in requests)
        found = self.find(keys)
        told = json.dumps([[key, found[key].text if key in found else None] for key in keys])
        return sha256(told.encode()).hexdigest()

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
            raise SurefootError(
                f"The file of answers {self.path} cannot be used ({error}): name another, or move it away."
            ) from error


def _read(answer: str) -> Completion:
    told = json.loads(answer)
    told["tokens"] = tuple((token, value) for token, value in told.get("tokens", ()))
    told["top_logprobs"] = tuple(tuple((t, v) for t, v in place) for place in told.get("top_logprobs", ()))
    return Completion(**{"text": "", "cached": True} | told)
