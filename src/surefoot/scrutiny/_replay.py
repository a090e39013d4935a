"""Ask the system again what this bundle asked it, and say what differs. It needs Python, this bundle and the system.

python replay.py [--share 0.05] [--system "tool {input} {output}" | http://host/path | module:function]

Without --system it is called as plan.json says. Times and messages of errors are not compared.
"""

import argparse
import importlib
import json
import math
import random
import re
import shlex
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent


def plain(value: Any, *, finite: bool = False) -> Any:
    """A value as JSON knows it: arrays are lists, numbers without a word in JSON are 'inf', '-inf' or 'nan'.

    Raises `ValueError` for such a number where all must be `finite`.
    """
    if isinstance(value, Mapping):
        return {str(name): plain(one, finite=finite) for name, one in value.items()}
    if isinstance(value, (list, tuple)) or hasattr(value, "tolist"):
        listed = value if isinstance(value, (list, tuple)) else value.tolist()
        one = isinstance(listed, (list, tuple))
        return [plain(each, finite=finite) for each in listed] if one else plain(listed, finite=finite)
    if not isinstance(value, float) or math.isfinite(value):
        return value
    if finite:
        raise ValueError(str(value))
    return str(value)


def answer(system: str, evidence: object, seed: int, seconds: float) -> object:
    if system.startswith("http"):
        body = json.dumps({"evidence": evidence, "seed": seed}).encode()
        asked = urllib.request.Request(system, body, {"Content-Type": "application/json"})
        for wait in (0.1, 0.2, 0.4, 0.8, 1.6, 3.2):  # where it is busy
            try:
                with urllib.request.urlopen(asked, timeout=seconds) as reply:
                    return json.load(reply)
            except urllib.error.HTTPError as error:
                after = error.headers.get("Retry-After", "")
                time.sleep(max(wait, min(600.0, float(after)) if after.isdecimal() else 0.0))
        return json.load(urllib.request.urlopen(asked, timeout=seconds))
    if re.fullmatch(r"[\w.]+:\w+", system):
        module, _, name = system.partition(":")
        return getattr(importlib.import_module(module), name)(evidence, seed)
    with tempfile.TemporaryDirectory() as place:
        given, made = Path(place, "input.json"), Path(place, "output.json")
        given.write_text(json.dumps(evidence), encoding="utf-8")
        named = {"{input}": str(given), "{output}": str(made), "{seed}": str(seed)}
        with given.open("rb") as stdin:
            command = shlex.split(system)
            for word, what in named.items():
                command = [part.replace(word, what) for part in command]
            said = subprocess.run(command, stdin=stdin, capture_output=True, check=False, timeout=seconds).stdout
        return json.loads((made.read_bytes() if made.exists() else said).decode(errors="replace"))  # as it was asked


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--share", type=float, default=1.0, help="the share of queries to ask again")
    parser.add_argument("--system", default="", help="how to call the system")
    given, drawn, asked, differ = parser.parse_args(), random.Random(), 0, 0
    if not 0 < given.share <= 1:
        parser.error("--share must be above 0, and at most 1.")
    if not (HERE / "seal.json").exists():
        print("This bundle is not sealed: its run is not finished, or its seal was taken away.")
    plan = json.loads((HERE / "plan.json").read_text(encoding="utf-8"))["system"]
    if not given.system and not plan["plain"]:
        print("Only the case file knows how it is called: `surefoot scrutiny verify` asks it. Or name it by --system.")
        return 2
    own = plan.get("url") or shlex.join(plan.get("command", [])) or plan["function"]
    sys.dont_write_bytecode = True  # which would lie in the bundle
    sys.path[:0] = [str(HERE), str(Path.cwd())]
    for line in (HERE / "queries.jsonl").read_text(encoding="utf-8").split("\n")[:-1]:  # none that was cut short
        record = json.loads(line)["record"]
        if "stage" in record and record["reply"]["status"] == "answered" and drawn.random() < given.share:
            try:
                told = answer(given.system or own, record["evidence"], record["seed"], plan["limits"]["seconds"])
                found = json.loads(json.dumps(plain(told)))
            except Exception as error:
                found = f"no answer ({type(error).__name__}: {error})"
            asked, same = asked + 1, found == record["reply"]["output"]
            if not same:
                differ += 1
                print(f"{record['stage']} {record['number']}: was {record['reply']['output']}, is {found}")
    print(f"{asked - differ} of {asked} queries gave the same output again.")
    return 1 if differ or not asked else 0


if __name__ == "__main__":
    sys.exit(main())
