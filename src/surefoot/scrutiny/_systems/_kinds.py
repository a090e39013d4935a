"""The system under test: a Python function, a command, or an HTTP service, and what came of asking it."""

import json
import re
import shutil
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

from surefoot.core import SurefootError, digest_of
from surefoot.scrutiny._replay import plain

Values = Mapping[str, Any]
Status = Literal["answered", "failed", "malformed", "unreachable", "timed out", "crashed", "too much output"]
_WHOLE = (("memory_mb", (int,), 10**9), ("output_bytes", (int,), 10**12))


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What one query may take: seconds, memory in MB, bytes of output. `network`: whether a program may use it."""

    seconds: float = 60.0
    memory_mb: int = 4_096
    output_bytes: int = 1_000_000
    network: bool = False

    def __post_init__(self) -> None:
        for name, kinds, most in (("seconds", (int, float), 10**7), *_WHOLE):
            if type(given := getattr(self, name)) not in kinds or not 0 < given <= most:
                whole = "" if float in kinds else "whole "
                raise SurefootError(f"The limit {name} is {given!r}: it must be a {whole}number above 0, to {most:,}.")


@dataclass(frozen=True, kw_only=True)
class Reply:
    """What came of one query: how it ended, the output, what went wrong (also of an answer), and seconds."""

    status: Status
    output: Values = field(default_factory=dict)
    error: str = ""
    seconds: float = 0.0


@dataclass(frozen=True, kw_only=True)
class PythonSystem:
    """A function `(evidence, seed) -> output`. Its file is hashed, and further `files`; `version` is its maker's."""

    call: Callable[[Values, int], Values]
    version: str
    files: tuple[str, ...] = ()
    limits: Limits = Limits()


@dataclass(frozen=True, kw_only=True)
class CommandSystem:
    """A program that is started for each query: `("tool", "--in", "{input}", "--out", "{output}", "{seed}")`.

    It reads a JSON object of evidence (without `{input}`: from standard input), and writes one of output into that file
    (without `{output}`: to standard output). `write(evidence, path)` and `read(text)` replace JSON by its own formats.
    """

    command: tuple[str, ...]
    version: str
    files: tuple[str, ...] = ()
    limits: Limits = Limits()
    write: Callable[[Values, Path], object] | None = None
    read: Callable[[str], Values] | None = None


@dataclass(frozen=True, kw_only=True)
class HttpSystem:
    """A service that takes a POST of `{"evidence": ..., "seed": ...}` and answers with a JSON object of output.

    A private or loopback address is asked only with `private`. It is asked again, later, where it says it is busy.
    """

    url: str
    version: str
    files: tuple[str, ...] = ()
    limits: Limits = Limits()
    private: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "limits", replace(self.limits, network=True))  # whoever asks a service needs it


System = PythonSystem | CommandSystem | HttpSystem


def describe_system(system: System) -> dict[str, Any]:
    """What is under test: kind, version, how it is called, and the digest of each of its files that is here."""
    told: dict[str, Any] = {"kind": type(system).__name__, "version": system.version, "limits": asdict(system.limits)}
    told["plain"] = True  # whether it can be called without the case file
    files = list(system.files)
    if isinstance(system, CommandSystem):
        told |= {"command": list(system.command), "plain": not (system.write or system.read)}
        files += [one for one in (shutil.which(system.command[0]), *system.command[1:]) if one and Path(one).is_file()]
    elif isinstance(system, HttpSystem):
        told["url"] = system.url
    else:
        call = system.call.func if isinstance(system.call, partial) else system.call
        module = re.sub("^surefoot_case_.*", "case", call.__module__)  # as it is named in a bundle
        told["function"] = f"{module}:{getattr(call, '__qualname__', type(call).__qualname__)}"
        written = Path(getattr(getattr(call, "__code__", None), "co_filename", ""))  # two case files may have one name
        told["plain"] = call is system.call and getattr(call, "__qualname__", "").isidentifier()
        module = getattr(sys.modules.get(call.__module__), "__file__", "") or __file__
        files.append(str(written if written.is_file() else module))
    return told | {"files": {name: digest_of(Path(name)) for name in dict.fromkeys(files)}}


def reply_of(line: bytes) -> Reply:
    """The reply in a line of JSON; `malformed` for what is none."""
    try:
        told = json.loads(line)
        error = str(told["error"]).encode(errors="backslashreplace").decode()
        return Reply(status=told["status"], output=plain(dict(told["output"])), error=error)
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        return Reply(status="malformed", error=f"The answer cannot be read: {type(error).__name__}: {error}"[:500])
