"""Whatever a system under test does, an answer comes in time and nothing of it stays behind."""

import shutil
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from surefoot.core import SurefootError
from surefoot.scrutiny import Limits, Session
from surefoot.scrutiny._scrutiny import load_scrutiny

HOSTILE = Path(__file__).with_name("hostile.py")


@pytest.fixture(scope="module")
def python() -> Iterator[Session]:
    session = Session(load_scrutiny(HOSTILE).system, HOSTILE, "system")
    yield session
    session.close()


@pytest.fixture(scope="module")
def program() -> Iterator[Session]:
    other = load_scrutiny(HOSTILE).other
    assert other
    session = Session(other, HOSTILE, "other")
    yield session
    session.close()


def test_answers_pass_infinite_numbers_and_prints_are_no_answers(python: Session) -> None:
    assert python.ask({"do": ""}, 1).output == {"value": 1.0}
    assert python.ask({"do": "infinite"}, 1).output == {"value": "inf"}
    assert python.ask({"do": "print"}, 1).output == {"value": 1.0}
    assert python.ask({"do": "count"}, 1).output != python.ask({"do": "count"}, 1).output


@pytest.mark.parametrize("value", [float("inf"), [1.0, float("-inf")], np.array([np.nan]), {"a": np.float32("nan")}])
def test_evidence_without_a_word_in_json_is_refused_and_not_charged_to_the_system(python: Session, value: Any) -> None:
    with pytest.raises(SurefootError, match=r"The evidence holds the number (inf|-inf|nan)"):
        python.ask({"do": "", "x": value}, 1)


@pytest.mark.parametrize(
    ("word", "status", "error"),
    [
        ("crash", "crashed", "SIGSEGV"),
        ("hang", "timed out", "3 seconds"),
        ("flood", "too much output", "100,000 bytes"),
        ("memory", "failed", "MemoryError"),
        ("nonsense", "malformed", "no object"),
    ],
)
def test_a_python_system_that_fails_is_told_and_asked_on(python: Session, word: str, status: str, error: str) -> None:
    reply = python.ask({"do": word}, 1)
    assert (reply.status, error in reply.error) == (status, True)
    assert reply.seconds < 20
    assert python.ask({"do": ""}, 1).output == {"value": 1.0}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *[("seconds", one) for one in (0, -1.0, float("nan"), float("inf"), 1e12, "60", True, None)],
        *[("memory_mb", one) for one in (0, -5, 2.5, float("nan"), 10**18, "4096")],
        *[("output_bytes", one) for one in (0, -5, 1e6, 10**20)],
    ],
)
def test_a_limit_that_makes_no_sense_is_refused(name: str, value: Any) -> None:
    with pytest.raises(SurefootError, match=f"The limit {name} is .*: it must be a .*number above 0, to 1"):
        Limits(**{name: value})


def test_what_it_leaves_running_is_ended_and_told(python: Session) -> None:
    reply = python.ask({"do": "fork"}, 1)
    assert (reply.status, reply.error) == ("answered", "It left processes running, which were ended.")
    running = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout
    assert "sleep 61.5" not in running


def test_it_writes_nowhere_but_in_its_own_directory(python: Session, tmp_path: Path) -> None:
    place = tmp_path / "outside"
    reply = python.ask({"do": "write", "where": str(place)}, 1)
    if python.had["files"]:
        assert reply.output == {"refused": "Read-only file system"}
        assert not place.exists()
    assert python.had["network"] == "none" or not python.had["files"]
    assert python.ask({"do": "write", "where": "inside"}, 1).output == {"value": 1.0}


@pytest.mark.parametrize(
    ("word", "status", "error"),
    [
        ("crash", "crashed", "SIGSEGV"),
        ("exit", "crashed", "exit code 1: no licence"),
        ("link", "malformed", "no plain file"),
        ("flood", "malformed", "at most 100,000 bytes"),
        ("disk", "crashed", "File too large"),
        ("nothing", "malformed", "no plain file"),
    ],
)
def test_a_program_that_fails_is_told(program: Session, word: str, status: str, error: str) -> None:
    reply = program.ask({"do": word, "x": 1}, 1)
    assert (reply.status, error in reply.error) == (status, True), reply


def test_what_a_program_leaves_running_is_ended_and_told(program: Session) -> None:
    left = "It left processes running, which were ended."
    told = {word: program.ask({"do": word, "x": 1}, 1) for word in ("session", "double", "leave and exit", "ended", "")}
    assert [(one.status, one.error) for one in told.values()] == [
        ("answered", left), ("answered", left), ("crashed", f"exit code 1: no licence {left}"), ("answered", ""),
        ("answered", ""),
    ]  # fmt: skip
    running = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout
    assert "sleep 62.5" not in running


def test_a_program_with_files_in_and_out_answers(program: Session) -> None:
    assert program.ask({"do": "", "x": 21}, 1).output == {"value": 42}


class _Service(BaseHTTPRequestHandler):
    busy = 2

    def do_POST(self) -> None:
        asked = self.rfile.read(int(self.headers["Content-Length"]))
        word = next(one for one in (b"busy", b"wrong", b"broken", b"slow", b"move", b"fine") if one in asked)
        type(self).busy -= word == b"busy"
        status = 429 if word == b"busy" and self.busy >= 0 else {b"broken": 500, b"move": 302}.get(word, 200)
        self.send_response(status)
        self.send_header("Location", "http://127.0.0.1:9/")
        self.end_headers()
        if word == b"slow":
            threading.Event().wait(6)
        self.wfile.write(b"<html>" if word == b"wrong" else b'{"value": 7}')

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


def test_a_service_may_be_busy_slow_wrong_or_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    case = Path(shutil.copy(HOSTILE, tmp_path))  # kept as first read: this one reads its surroundings
    with ThreadingHTTPServer(("127.0.0.1", 0), _Service) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv("HOSTILE_URL", f"http://127.0.0.1:{server.server_port}/")
        system = load_scrutiny(case).other
        assert system
        session = Session(system, case, "other")
        assert "no public address" in session.ask({"do": "fine"}, 1).error
        session.close()
        monkeypatch.setenv("HOSTILE_PRIVATE", "1")
        told = {word: session.ask({"do": word}, 1) for word in ("busy", "fine", "wrong", "broken", "move", "slow")}
        session.close()
        server.shutdown()
    assert {word: reply.status for word, reply in told.items()} == {
        "busy": "answered", "fine": "answered", "wrong": "malformed", "broken": "failed", "move": "failed",
        "slow": "timed out",
    }  # fmt: skip


class _Later(BaseHTTPRequestHandler):
    """A service that puts off: by seconds, by a date on its own clock, without sense, and then answers."""

    puts_off: ClassVar = [
        ("9", ""),
        ("Tue, 07 Jan 2020 10:01:40 GMT", "Tue, 07 Jan 2020 10:00:00 GMT"),
        ("99999", ""),
        ("²", ""),
    ]

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        after, date = self.puts_off.pop(0) if self.puts_off else ("", "")
        self.send_response_only(429 if after else 200)
        self.send_header("Retry-After", after)
        if date:
            self.send_header("Date", date)
        self.end_headers()
        self.wfile.write(b'{"value": 7}')

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


def test_a_service_is_asked_again_when_it_says_which_is_not_its_own_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    case, waits = Path(shutil.copy(HOSTILE, tmp_path)), list[float]()
    with ThreadingHTTPServer(("127.0.0.1", 0), _Later) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv("HOSTILE_URL", f"http://127.0.0.1:{server.server_port}/")
        monkeypatch.setenv("HOSTILE_PRIVATE", "1")
        system = load_scrutiny(case).other
        assert system
        monkeypatch.setattr("surefoot.scrutiny._systems._session.time.sleep", waits.append)
        session = Session(system, case, "other")
        reply = session.ask({"do": ""}, 1)
        server.shutdown()
    assert (reply.status, reply.output) == ("answered", {"value": 7})
    assert waits == [9.0, 100.0, 600.0, 0.8]  # more than its 4 seconds, and no day
    waits.clear()
    reply = session.ask({"do": ""}, 1)  # nobody is there
    session.close()
    assert (reply.status, [one for one in waits if one >= 0.1]) == ("unreachable", [0.1 * 2**k for k in range(7)])
