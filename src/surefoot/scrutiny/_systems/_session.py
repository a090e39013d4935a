"""Asking a system under test: whatever it does, an answer comes within its limits and nothing of it stays behind."""

import json
import os
import selectors
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

from surefoot.core import SurefootError
from surefoot.scrutiny._replay import plain
from surefoot.scrutiny._systems._kinds import Reply, Status, System, Values, reply_of

_CONTAIN = Path(__file__).with_name("_contain.py")
_START_SECONDS = 120.0  # for the imports of a case file
_TRIES, _MOST_SECONDS = 7, 600.0  # of a service that is busy, and to wait between two
_LEFT = "It left processes running, which were ended."


class Session:
    """A system that is being asked, in a process that stays for many queries and is replaced where it crashed or hung.

    `had` says what this machine holds it back from: `network`, `files`, `processes`.
    """

    def __init__(self, system: System, case: Path, which: str) -> None:
        self.limits, self.case, self.which = system.limits, case.resolve(), which
        self.had: Mapping[str, Any] = {}
        self.process: subprocess.Popen[bytes] | None = None

    def ask(self, evidence: Values, seed: int, *, attempt: int = 0) -> Reply:
        """The answer to one query; it comes within the limits. Raises `SurefootError` for inf or nan as evidence."""
        try:
            asked = json.dumps({"evidence": plain(evidence, finite=True), "seed": seed}).encode() + b"\n"
        except ValueError as error:
            raise SurefootError(
                f"The evidence holds the number {error}, for which JSON has no word: give None or a text."
            ) from error
        if not self.process or self.process.poll() is not None:
            self._start()
        begun = time.perf_counter()
        line, status = self._exchange(asked)
        reply = reply_of(line) if status == "answered" else self._ended(status)
        if reply.status == "unreachable" and attempt < _TRIES:
            time.sleep(min(_MOST_SECONDS, max(0.1 * 2**attempt, json.loads(line)["wait"])))
            return self.ask(evidence, seed, attempt=attempt + 1)
        if status == "answered" and b'"left": true' in line[-20:]:
            self.close()
            reply = replace(reply, error=f"{reply.error} {_LEFT}".strip())
        return replace(reply, seconds=time.perf_counter() - begun)

    def close(self, seconds: float = 0.0) -> Mapping[str, Any]:
        """End it and all that it started; how it ended by itself within that time, else nothing."""
        ended = b""
        if self.process:
            ended = _line(self.status, seconds)
            self.process.terminate()
            try:
                self.process.wait(8)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
            self.open.close()
            self.process = None
        return json.loads(ended or b"{}")

    def _start(self) -> None:
        self.close()
        self.open = ExitStack()
        place = tempfile.TemporaryDirectory(prefix="surefoot-", ignore_cleanup_errors=True)
        directory = str(Path(self.open.enter_context(place)).resolve())
        self.channel, theirs = map(self.open.enter_context, socket.socketpair())
        read, write = os.pipe()
        self.status = self.open.enter_context(os.fdopen(read, "rb", buffering=0))
        most = {
            "memory": self.limits.memory_mb * 2**20,
            "output": 64 * self.limits.output_bytes,
        }  # of all its own files
        told = {"network": self.limits.network} | most
        command = [sys.executable, "-S", "-E", str(_CONTAIN), json.dumps(told), str(write), sys.executable, "-m"]
        serve = ("surefoot.scrutiny._systems._serve", self.case, self.which, theirs.fileno(), Path.cwd())
        command += map(str, serve)
        environment = os.environ | {"TMPDIR": directory, "HOME": directory, "OMP_NUM_THREADS": "1"}
        quiet, keep = subprocess.DEVNULL, (write, theirs.fileno())
        self.process = subprocess.Popen(
            command, cwd=directory, env=environment, pass_fds=keep, stdin=quiet, stdout=quiet, stderr=quiet
        )
        os.close(write)
        theirs.close()
        self.had = json.loads(_line(self.status, _START_SECONDS) or b"{}")
        if self._exchange(b"", _START_SECONDS)[0] != b"ready\n":
            self.close(0.5)
            raise SurefootError(
                f"The case file {self.case} cannot be loaded in {_START_SECONDS:g} s where it is to run."
            )

    def _exchange(self, data: bytes, seconds: float = 0.0) -> tuple[bytes, Status]:
        deadline, found = time.monotonic() + (seconds or self.limits.seconds), bytearray()
        try:
            self.channel.settimeout(seconds or self.limits.seconds)
            self.channel.sendall(data)
            while not found.endswith(b"\n"):
                self.channel.settimeout(max(deadline - time.monotonic(), 1e-3))
                part = self.channel.recv(65536)
                found += part
                if not part or len(found) > 2 * self.limits.output_bytes:
                    return bytes(found), "too much output" if part else "crashed"
        except OSError as error:
            return bytes(found), "timed out" if isinstance(error, TimeoutError) else "crashed"
        return bytes(found), "answered"

    def _ended(self, status: Status) -> Reply:
        ended = self.close(2.0 if status == "crashed" else 0.0)
        code = ended.get("code", -signal.SIGKILL)
        how = f"It was ended by {signal.Signals(-code).name}." if code < 0 else f"It ended with exit code {code}."
        words = {"crashed": how, "too much output": f"It answered with more than {self.limits.output_bytes:,} bytes."}
        words |= {"timed out": f"No answer within {self.limits.seconds:g} seconds."}
        return Reply(status=status, error=f"{words[status]} {_LEFT if ended.get('left') else ''}".strip())


def _line(stream: Any, seconds: float) -> bytes:
    """A line that is written within that time; b'' for none."""
    with selectors.DefaultSelector() as ready:
        ready.register(stream, selectors.EVENT_READ)
        return stream.readline() if ready.select(seconds) else b""
