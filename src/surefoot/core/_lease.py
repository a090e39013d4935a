"""A lease says who is making a Step, so that two runners on one store never make it twice."""

import fcntl
import json
import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from uuid import uuid4

HEARTBEAT_SECONDS = 2.0
EXPIRY_SECONDS = 60.0


class HeldError(Exception):
    """Someone else is making this Step."""


@contextmanager
def lease(path: Path, *, expired: int | None = None) -> Iterator[str]:
    """Hold the lease at `path` while the body runs, with a heartbeat; yields a token of this holder.

    A lease whose holder died on this machine is taken over at once. One whose modification time is still `expired`
    (nanoseconds) is taken over too: the caller watched it without a heartbeat for `EXPIRY_SECONDS` of its own clock,
    which no difference between the clocks of two machines can upset. Raises `HeldError` when it is held.
    """
    token = uuid4().hex[:12]
    _acquire(path, token, expired)
    stop = threading.Event()
    heart = threading.Thread(target=_beat, args=(path, stop), daemon=True, name=f"lease {path.name}")
    heart.start()
    try:
        yield token
    finally:
        stop.set()
        heart.join()
        _release(path, token)


def is_dead(path: Path) -> bool:
    """Whether the holder ran on this machine and is gone. A lease that vanished has no holder: False."""
    try:
        holder = json.loads(path.read_text(encoding="utf-8") or "{}")
    except FileNotFoundError:
        return False
    return holder.get("machine") == _machine() and _started(holder["pid"]) != holder["started"]


def _acquire(path: Path, token: str, expired: int | None) -> None:
    holder = {"token": token, "machine": _machine(), "pid": os.getpid(), "started": _started(os.getpid())}
    draft = path.with_name(f"{path.name}.{token}.tmp")
    draft.write_text(json.dumps(holder), encoding="utf-8")
    try:
        with _guard(path):
            if path.exists() and not _may_take_over(path, expired):
                raise HeldError(path)
            # One rename puts the whole text in place: a lease is never seen empty.
            draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


def _may_take_over(path: Path, expired: int | None) -> bool:
    return is_dead(path) or path.stat().st_mtime_ns == expired


def _release(path: Path, token: str) -> None:
    with _guard(path):
        if path.exists() and json.loads(path.read_text(encoding="utf-8")).get("token") == token:
            path.unlink()


@contextmanager
def _guard(path: Path) -> Iterator[None]:
    """Only one process at a time decides about leases of one kind of Step; the kernel frees it at a death."""
    descriptor = os.open(path.parent / ".guard", os.O_CREAT | os.O_RDWR, 0o666)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _beat(path: Path, stop: threading.Event) -> None:
    while not stop.wait(HEARTBEAT_SECONDS):
        try:
            os.utime(path)
        except FileNotFoundError:
            return  # taken over: the new holder beats now


@cache
def _machine() -> str:
    """This machine since its last start, as far as process numbers mean the same."""
    boot = Path("/proc/sys/kernel/random/boot_id")
    namespace = Path("/proc/self/ns/pid")
    where = [
        boot.read_text().strip() if boot.exists() else "",
        str(namespace.readlink()) if namespace.exists() else "",
    ]
    return "/".join([socket.gethostname(), *where])


def _started(pid: int) -> str | None:
    """When a process started, in clock ticks since the machine did; None when there is no such process."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None if Path("/proc/self").exists() or not _alive(pid) else ""
    state, *rest = text.rpartition(")")[2].split()
    return None if state in "ZX" else rest[18]  # a zombie makes nothing


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def holder_is_alive(path: Path) -> bool:
    """Whether work beside an artifact (`<key>.lease`, `<key>.part` ...) may still be going on."""
    held = path.with_name(f"{path.name.split('.')[0]}.lease")
    return held.exists() and not is_dead(held)
