"""The process in which a system under test is called: a line of JSON for each query, and one for each answer."""

import ipaddress
import json
import os
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from collections.abc import Callable
from contextlib import suppress
from email.message import Message
from email.utils import parsedate_to_datetime
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from surefoot.core import what_failed
from surefoot.scrutiny._replay import plain
from surefoot.scrutiny._scrutiny import load_scrutiny
from surefoot.scrutiny._systems._kinds import CommandSystem, HttpSystem, Status, System, Values

_BUSY = (429, 502, 503, 504)


class _NoAnswerError(Exception):
    """How a query ended without an answer, and why."""


def main(case: str, which: str, descriptor: int, folder: str) -> None:
    """Answer the queries of a socket until it is closed; the case is read where its user stands, in `folder`."""
    own = Path.cwd()
    os.chdir(folder)
    call = _caller(getattr(load_scrutiny(Path(case)), which))
    os.chdir(own)
    with socket.socket(fileno=descriptor) as channel, channel.makefile("rb") as asked:
        channel.sendall(b"ready\n")
        for line in asked:
            query = json.loads(line)
            told: dict[str, Any] = {"status": "answered", "output": {}, "error": ""}
            try:
                told["output"] = plain(call(query["evidence"], query["seed"]))
                json.dumps(told, allow_nan=False)
                if not isinstance(told["output"], dict):
                    raise _NoAnswerError("malformed", "The output is no object of names and values.")
            except _NoAnswerError as error:
                told |= {"status": error.args[0], "error": error.args[1], "output": {}, "wait": sum(error.args[2:])}
            except Exception as error:
                told |= {"status": "failed", "error": what_failed(error)[:500], "output": {}}
            with suppress(ChildProcessError):
                while os.waitpid(-1, os.WNOHANG)[0]:  # those that ended are not left
                    pass
                told["left"] = True
            channel.sendall(json.dumps(told).encode() + b"\n")


def _caller(system: System) -> Callable[[Values, int], Any]:
    if isinstance(system, HttpSystem):
        return lambda evidence, seed: _post(system, evidence, seed)
    return (lambda given, seed: _started(system, given, seed)) if isinstance(system, CommandSystem) else system.call


def _started(system: CommandSystem, evidence: Values, seed: int) -> Any:
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as place:
        names = ("input.json", "output.json", "said.txt", "warned.txt")
        given, made, said, warned = (Path(place, name) for name in names)
        if system.write:
            system.write(evidence, given)
        else:
            given.write_text(json.dumps(evidence), encoding="utf-8")
        command = [
            part.replace("{input}", str(given)).replace("{output}", str(made)).replace("{seed}", str(seed))
            for part in system.command
        ]
        with given.open("rb") as stdin, said.open("wb") as out, warned.open("wb") as err:
            code = subprocess.run(command, cwd=place, stdin=stdin, stdout=out, stderr=err, check=False).returncode
        most = system.limits.output_bytes
        if code:
            how = f"ended by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
            status: Status = "too much output" if code == -signal.SIGXFSZ else "crashed"
            raise _NoAnswerError(status, f"{how}: {(_text(warned, most) or _text(said, most) or '')[-300:].strip()}")
        text = _text(made if any("{output}" in part for part in system.command) else said, most)
        if text is None:
            raise _NoAnswerError("malformed", f"It left no plain file of output of at most {most:,} bytes.")
        try:
            return (system.read or json.loads)(text)
        except Exception as error:
            raise _NoAnswerError("malformed", f"The output cannot be read: {error}"[:500]) from error


def _text(path: Path, most: int) -> str | None:
    """The text of a plain file that a stranger wrote; None for a link, a pipe, too long a file, or none."""
    with suppress(OSError), os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb") as stream:
        found = os.fstat(stream.fileno())
        return stream.read().decode(errors="replace") if stat.S_ISREG(found.st_mode) and found.st_size <= most else None


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A redirect could lead to an address that was not checked."""

    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> None:  # noqa: PLR0917
        return None


def _post(system: HttpSystem, evidence: Values, seed: int) -> Any:
    """Ask a service once. Where it is busy, or not there, whoever asks waits, outside of the time for an answer."""
    parts, body = urlsplit(system.url), json.dumps({"evidence": evidence, "seed": seed}).encode()
    asked = urllib.request.Request(system.url, body, {"Content-Type": "application/json"})
    opener, most = urllib.request.build_opener(urllib.request.ProxyHandler({}), _NoRedirect), system.limits.output_bytes
    try:
        found = {str(one[4][0]).partition("%")[0] for one in socket.getaddrinfo(parts.hostname, None)}
        if not system.private and (own := [one for one in found if not ipaddress.ip_address(one).is_global]):
            raise _NoAnswerError("failed", f"{own[0]} is no public address: HttpSystem(..., private=True) allows it.")
        with opener.open(asked) as response:
            text = response.read(most + 1)
    except urllib.error.HTTPError as error:
        error.close()
        status: Status = "unreachable" if error.code in _BUSY else "failed"
        raise _NoAnswerError(status, f"HTTP {error.code}.", _wait(error.headers)) from error
    except (OSError, HTTPException) as error:
        raise _NoAnswerError("unreachable", f"{type(error).__name__}: {error}") from error
    if len(text) > most:
        raise _NoAnswerError("too much output", f"It answered with more than {most:,} bytes.")
    try:
        return json.loads(text)
    except ValueError as error:
        raise _NoAnswerError("malformed", f"The answer is no JSON: {error}") from error


def _wait(headers: Message) -> float:
    """The seconds for which a busy service asks: as a number, or as a date by its own clock."""
    after = headers.get("Retry-After", "")
    if after.isascii() and after.isdigit():
        return float(after)
    with suppress(KeyError, TypeError, ValueError):
        return (parsedate_to_datetime(after) - parsedate_to_datetime(headers["Date"])).total_seconds()
    return 0.0


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4])
