"""Run a command so that it can harm nothing: a script of the standard library alone, started by `_systems`.

python _contain.py LIMITS STATUS COMMAND...: LIMITS is JSON, STATUS the descriptor where two lines of JSON are written:
what this machine allows, and how the command ended. The working directory is the only place it may write to.
"""

import ctypes
import json
import os
import resource
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path

_USER, _PROCESSES, _NETWORK, _FILES = 0x10000000, 0x20000000, 0x40000000, 0x00020000  # CLONE_NEW... of Linux
_DEATH_SIGNAL, _SUBREAPER = 1, 36  # of prctl
_BIND, _PRIVATE_BELOW = 0x1000, 0x44000  # of mount
_MOUNT_SETATTR, _HERE, _BELOW = 442, -100, 0x8000


def main(limits: dict[str, float], status: int, command: list[str]) -> None:
    apart = sys.platform == "linux" and _isolate(bool(limits["network"]))
    had = {"network": "open" if limits["network"] or not apart else "none", "files": apart, "processes": apart}
    os.write(status, json.dumps(had).encode() + b"\n")
    if apart and (first := os.fork()):  # all that the first process of a namespace leaves behind ends with it
        os.waitpid(first, 0)
        os._exit(0)
    _call("prctl", _DEATH_SIGNAL, signal.SIGKILL, 0, 0, 0)
    _call("prctl", _SUBREAPER, 1, 0, 0, 0)
    signal.signal(signal.SIGTERM, lambda *_: (_end_children(), os._exit(0)))
    target = os.fork()
    if not target:
        _become(limits, status, command)
    while (ended := os.wait())[0] != target:
        pass
    left = _end_children()
    os.write(status, json.dumps({"code": os.waitstatus_to_exitcode(ended[1]), "left": left}).encode() + b"\n")
    os._exit(0)


def _become(limits: dict[str, float], status: int, command: list[str]) -> None:
    os.close(status)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    os.setsid()
    _call("prctl", _SUBREAPER, 1, 0, 0, 0)  # what a program leaves comes to the process that started it, which tells it
    for kind, most in (("RLIMIT_AS", limits["memory"]), ("RLIMIT_FSIZE", limits["output"]), ("RLIMIT_CORE", 0)):
        with suppress(ValueError, OSError):
            resource.setrlimit(getattr(resource, kind), (int(most), int(most)))
    try:
        os.execvp(command[0], command)
    except OSError as error:
        print(f"{command[0]} cannot be started: {error.strerror}", file=sys.stderr, flush=True)
        os._exit(127)


def _isolate(network: bool) -> bool:
    """Namespaces of its own, with all but the working directory read-only; False where this machine forbids that."""
    user, group, place = os.getuid(), os.getgid(), os.fsencode(Path.cwd())
    if _call("unshare", _USER | _PROCESSES | _FILES | (0 if network else _NETWORK)):
        return False
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"{user} {user} 1")
    Path("/proc/self/gid_map").write_text(f"{group} {group} 1")
    read_only, writable = (ctypes.c_uint64 * 4)(1, 0, 0, 0), (ctypes.c_uint64 * 4)(0, 1, 0, 0)
    failed = _call("mount", b"none", b"/", None, _PRIVATE_BELOW, None) or _call(
        "mount", place, place, None, _BIND, None
    )
    failed = failed or _call("syscall", _MOUNT_SETATTR, _HERE, b"/", _BELOW, read_only, 32)
    failed = failed or _call("syscall", _MOUNT_SETATTR, _HERE, place, 0, writable, 32)
    os.chdir(place)
    _call("mount", b"tmpfs", b"/dev/shm", b"tmpfs", 0, None)
    return not failed


def _call(name: str, *arguments: object) -> int:
    try:
        return getattr(ctypes.CDLL(None), name)(*arguments)
    except (AttributeError, OSError):
        return -1


def _end_children() -> int:
    """Kill what the command left running, whatever group it fled to (orphans come to us); how many there were."""
    ended, deadline = 0, time.monotonic() + 5
    with suppress(ChildProcessError, OSError):
        while time.monotonic() < deadline:
            if os.getpid() == 1:  # the first of a namespace: these are all that there are
                os.kill(-1, signal.SIGKILL)
            else:
                for child in Path("/proc/thread-self/children").read_text().split():
                    os.kill(int(child), signal.SIGKILL)
            found = os.waitpid(-1, os.WNOHANG)[0]
            ended += bool(found)
            time.sleep(0 if found else 0.01)
    return ended


if __name__ == "__main__":
    main(json.loads(sys.argv[1]), int(sys.argv[2]), sys.argv[3:])
