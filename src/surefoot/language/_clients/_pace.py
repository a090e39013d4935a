"""When a request may go out: by a rate, after pauses that a server asked for, and not after the deadline of a call."""

import time
from dataclasses import dataclass, field
from threading import Event, Lock

from surefoot.core import SurefootError


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
