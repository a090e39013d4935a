"""A lease says who is making a Step, so that two runners on one store never make it twice."""

import errno
import fcntl
import json
import os
import socket
import sys
import threading
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal
from uuid import uuid4

from surefoot.core._errors import SurefootError
from surefoot.core._files import StoreError

HEARTBEAT_SECONDS = 2.0
EXPIRY_SECONDS = 60.0
GUARD_SAID_SECONDS, GUARD_SECONDS = 5.0, 300.0
_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL)

HolderState = Literal["none", "alive", "dead", "unknown"]


class HeldError(Exception):
    """Someone else is making this Step."""


@dataclass(frozen=True)
class Lease:
    """A lease that is held, by its file and the token of its holder."""

    path: Path
    token: str

    @contextmanager
    def kept(self) -> Iterator[None]:
        """The body runs only if nobody took the lease over (this machine slept), and nobody can meanwhile.

        Raises `HeldError` when it was lost: the body must be the only place where results become visible.
        """
        with guard(self.path):
            if _holder(self.path).get("token") != self.token:
                raise HeldError(self.path)
            yield


@contextmanager
def lease(path: Path, *, expired: int | None = None) -> Iterator[Lease]:
    """Hold the lease at `path` while the body runs, with a heartbeat.

    A lease whose holder died on this machine is taken over at once. One of which nothing is known is taken over when
    its modification time is still `expired` (nanoseconds): the caller watched it without a heartbeat for
    `EXPIRY_SECONDS` of its own clock, which no difference between the clocks of two machines can upset. Raises
    `HeldError` when it is held.
    """
    held = Lease(path, uuid4().hex[:12])
    _acquire(held, expired)
    _HEART.begin(held)
    try:
        yield held
    finally:
        _HEART.end(held)
        with suppress(HeldError, FileNotFoundError), held.kept():
            path.unlink()


def holder_state(path: Path) -> HolderState:
    """What is known of the holder of a lease: on this machine by its process, elsewhere only by its heartbeat."""
    if not path.exists():
        return "none"
    holder = _holder(path)
    if holder.get("machine") != _machine():
        return "unknown"
    began = _started(holder["pid"])
    if began is None:
        return "dead"
    known = began and holder["started"]
    return "unknown" if not known else "alive" if began == holder["started"] else "dead"


def holder_is_alive(path: Path) -> bool:
    """Whether work beside an artifact (`<key>.lease`, `<key>.part` ...) may still be going on."""
    return holder_state(path.with_name(f"{path.name.split('.')[0]}.lease")) in ("alive", "unknown")


def _acquire(held: Lease, expired: int | None) -> None:
    me = {"token": held.token, "machine": _machine(), "pid": os.getpid(), "started": _my_start(os.getpid())}
    draft = held.path.with_name(f"{held.path.name}.{held.token}.tmp")
    try:
        with guard(held.path):
            draft.write_text(json.dumps(me), encoding="utf-8")
            if not _is_free(held.path, expired):
                raise HeldError(held.path)
            # One rename puts the whole text in place: a lease is never seen empty.
            draft.replace(held.path)
    finally:
        draft.unlink(missing_ok=True)


def _is_free(path: Path, expired: int | None) -> bool:
    state = holder_state(path)
    return state in ("none", "dead") or (state == "unknown" and path.stat().st_mtime_ns == expired)


def _holder(path: Path) -> dict[str, Any]:
    """Who holds a lease; {} when it vanished, or is empty after a power failure."""
    holder = told(path)
    return holder if {"token", "machine", "pid", "started"} <= holder.keys() else {}


def told(path: Path) -> dict[str, Any]:
    """The JSON object in a file beside an artifact, which may vanish at any moment; {} without one."""
    with suppress(FileNotFoundError, ValueError):
        if isinstance(content := json.loads(path.read_text(encoding="utf-8")), dict):
            return content
    return {}


@contextmanager
def guard(path: Path) -> Iterator[None]:
    """Only one process at a time decides about leases of one kind of Step; the kernel frees it at a death.

    Raises `StoreError` when another process, which was stopped, holds it for `GUARD_SECONDS`, and on a file system
    that has no locks.
    """
    place = path.parent / ".guard"
    descriptor = os.open(place, os.O_CREAT | os.O_RDWR, 0o666)
    try:
        for waited in _patience():
            try:
                if _lock(descriptor):
                    break
            except BlockingIOError:
                _say_or_give_up(place, waited)
                continue
            raise StoreError(
                f"The file system of {place.parent} has no locks (flock), which keep two runners from making one "
                "Step twice: put the store on another file system, or mount this one with locks."
            )
        yield
    finally:
        os.close(descriptor)


def claim(descriptor: int, place: Path, busy: str) -> None:
    """Keep other processes from the open file or folder at `place` until it is closed; raises `busy` if one has it.

    A file system without locks is named in a warning: there nothing keeps them away.
    """
    try:
        if not _lock(descriptor):
            warnings.warn(
                f"The file system of {place} has no locks (flock): let no other run write there.", stacklevel=2
            )
    except BlockingIOError:
        raise SurefootError(busy) from None


@contextmanager
def alone(folder: Path, busy: str) -> Iterator[None]:
    """Keep other runs from a folder until this one ends or dies; raises `busy` where another has it."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        claim(descriptor, folder, busy)
        yield
    finally:
        os.close(descriptor)


def _lock(descriptor: int) -> bool:
    """Take the lock of an open file at once; False where the file system has none."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
        return False
    return True


def _patience() -> Iterator[float]:
    """Seconds waited so far, for ever; the time in which this process was stopped does not count."""
    waited, pause = 0.0, 0.001
    while True:
        yield waited
        time.sleep(pause)
        waited, pause = waited + pause, min(2 * pause, 0.05)


def _say_or_give_up(place: Path, waited: float) -> None:
    holder = _flock_holder(place)
    if waited > GUARD_SECONDS:
        raise StoreError(
            f"{place} has been held{holder} for {waited:.0f} seconds. It is held for milliseconds only: it was "
            "stopped (Ctrl-Z), or its machine hangs. Let it go on or end it, then run again."
        )
    if waited > GUARD_SAID_SECONDS and waited - 0.05 <= GUARD_SAID_SECONDS:
        print(f"surefoot waits for {place}, which is held{holder}: it was stopped?", file=sys.stderr, flush=True)


def _flock_holder(place: Path) -> str:
    """' by process 123' where Linux says so."""
    with suppress(OSError, IndexError):
        inode = f":{place.stat().st_ino}"
        rows = [line.split() for line in Path("/proc/locks").read_text().splitlines()]
        return next((f" by process {row[4]}" for row in rows if row[1] == "FLOCK" and row[5].endswith(inode)), "")
    return ""


class _Heart:
    """One thread that beats for all leases of this process, while there are any."""

    def __init__(self) -> None:
        self.held: dict[str, Lease] = {}
        self.lock = threading.Lock()
        self.thread: threading.Thread | None = None

    def begin(self, held: Lease) -> None:
        with self.lock:
            self.held[held.token] = held
            if self.thread is None or not self.thread.is_alive():  # none yet; or this process is a fork
                self.thread = threading.Thread(target=self._beat, daemon=True, name="heartbeat of leases")
                self.thread.start()

    def end(self, held: Lease) -> None:
        with self.lock:
            del self.held[held.token]

    def _beat(self) -> None:
        while True:
            time.sleep(HEARTBEAT_SECONDS)
            with self.lock:
                if not (held := list(self.held.values())):
                    self.thread = None
                    return
            for one in held:
                # A network file system may be away for a while: the next beat tries again.
                with suppress(OSError):
                    if _holder(one.path).get("token") == one.token:  # else it was taken over: the new holder beats
                        os.utime(one.path)


_HEART = _Heart()


@cache
def _machine() -> str:
    """This machine since its last start, as far as process numbers mean the same."""
    boot = Path("/proc/sys/kernel/random/boot_id")
    namespace = Path("/proc/self/ns/pid")
    where = [
        boot.read_text().strip() if boot.exists() else "",
        str(namespace.readlink()) if namespace.is_symlink() else "",
    ]
    return "/".join([socket.gethostname(), *where])


@cache
def _my_start(pid: int) -> str | None:
    """When this process, of this number, started: asked once, and anew in a fork."""
    return _started(pid)


def _started(pid: int) -> str | None:
    """When a process started, in clock ticks since the machine did; None: there is no such process; '': unknown."""
    try:
        # A /proc of another process namespace speaks of other processes.
        ours = Path("/proc/self").readlink().name == str(os.getpid())
        text = Path(f"/proc/{pid}/stat").read_text() if ours else ""
    except OSError:
        text = ""  # gone; or no /proc here (macOS), or one that hides the processes of other users
    if not text:
        return "" if _exists(pid) else None
    state, *rest = text.rpartition(")")[2].split()
    return None if state in "ZX" else rest[18]  # a zombie makes nothing


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
