"""Helpers for the tests of core: real runs in processes of their own, and waiting for what they do."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

from surefoot.core import Event

STEPS = Path(__file__).parent
SOURCE = STEPS.parents[2] / "src"


def ended(events: Iterable[Event]) -> list[Event]:
    return [event for event in events if event.kind not in ("started", "progress")]


def environment() -> dict[str, str]:
    return os.environ | {"PYTHONPATH": f"{SOURCE}{os.pathsep}{STEPS}", "OMP_NUM_THREADS": "1"}


class Runner:
    """A real `run` in a process group of its own, as a person starts one in a terminal."""

    def __init__(self, *arguments: object, script: str = "runner.py") -> None:
        self.process = subprocess.Popen(
            [sys.executable, str(STEPS / script), *map(str, arguments)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment(),
            start_new_session=True,
        )

    def signal(self, number: int) -> None:
        os.killpg(self.process.pid, number)

    def kill(self) -> None:
        """kill -9 for the runner, its workers and their servers, and wait until they are gone."""
        with suppress(ProcessLookupError):
            self.signal(signal.SIGKILL)
        self.process.communicate()
        eventually(lambda: not self.members())

    def wait(self, seconds: float = 60) -> tuple[int, str, str]:
        try:
            out, err = self.process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            self.kill()
            raise
        return self.process.returncode, out, err

    def members(self) -> list[int]:
        """The processes of the group that still run."""
        found = []
        for path in Path("/proc").glob("[0-9]*/stat"):
            try:
                state, _, group = path.read_text().rpartition(")")[2].split()[:3]
            except (FileNotFoundError, ProcessLookupError):
                continue
            if int(group) == self.process.pid and state not in "ZX":
                found.append(int(path.parent.name))
        return found


def eventually(condition: Callable[[], object], seconds: float = 30) -> None:
    """Wait until a condition holds; fails when it never does."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.02)
