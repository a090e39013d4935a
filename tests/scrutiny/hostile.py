"""Systems that crash, hang, flood, fork, write elsewhere or answer nonsense, each by the word that it is asked."""

import itertools
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from surefoot.scrutiny import CommandSystem, Domain, HttpSystem, Limits, PythonSystem, Scrutiny, Variable, answers

COUNT = itertools.count()
LIMITS = Limits(seconds=3.0, output_bytes=100_000)
PROGRAM = """
import json, os, signal, subprocess, sys, time
asked = json.load(open(sys.argv[1]))
word = asked["do"]
if word == "crash": os.kill(os.getpid(), signal.SIGSEGV)
if word == "exit": sys.exit("no licence")
if word == "link": os.symlink("/etc/hostname", sys.argv[2]); sys.exit()
if word == "flood": open(sys.argv[2], "w").write("x" * 200_000); sys.exit()
if word == "disk": open(sys.argv[2], "w").write("x" * 8_000_000); sys.exit()
if word == "nothing": sys.exit()
if word == "ended": subprocess.Popen(["true"]).wait()
if word in ("session", "leave and exit"): subprocess.Popen(["sleep", "62.5"], start_new_session=True)
if word == "leave and exit": sys.exit("no licence")
if word == "double" and not os.fork():
    os.setsid()
    if not os.fork(): os.execvp("sleep", ["sleep", "62.5"])
    os._exit(0)
open(sys.argv[2], "w").write(json.dumps({"value": asked["x"] * 2}))
"""


def act(evidence: Mapping[str, Any], seed: int) -> Mapping[str, Any]:
    word = evidence["do"]
    if word == "crash":
        os.kill(os.getpid(), signal.SIGSEGV)
    if word == "hang":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        time.sleep(60)
    if word == "flood":
        return {"text": "x" * 1_000_000}
    if word == "fork":
        subprocess.Popen(["sleep", "61.5"], start_new_session=True)
    if word == "write":
        try:
            Path(evidence["where"]).write_text("outside")
        except OSError as error:
            return {"refused": error.strerror}
    if word == "memory":
        return {"size": len(bytearray(10**12))}
    if word == "print":
        print("not an answer", flush=True)
        os.write(1, b"nor this\n")
    if word == "nonsense":
        return [1, 2]  # type: ignore[return-value]
    return {"value": float("inf") if word == "infinite" else next(COUNT) if word == "count" else 1.0}


def program() -> tuple[str, ...]:
    return (sys.executable, "-c", PROGRAM, "{input}", "{output}")


def scrutiny() -> Scrutiny:
    return Scrutiny(
        name="hostile",
        question="Is it contained?",
        system=PythonSystem(call=act, version="1", limits=LIMITS),
        other=CommandSystem(command=program(), version="2", limits=LIMITS)
        if "HOSTILE_URL" not in os.environ
        else HttpSystem(
            url=os.environ["HOSTILE_URL"],
            version="3",
            limits=Limits(seconds=4, output_bytes=10_000),
            private="HOSTILE_PRIVATE" in os.environ,
        ),
        domain=Domain(variables=(Variable(name="x", case=1, low=0, high=3, source="none"),)),
        generate=lambda condition, seed: ({"x": condition["x"], "do": ""}, {}),
        claims=(answers(),),
    )
