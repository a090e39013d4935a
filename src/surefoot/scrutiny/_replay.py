"""Ask the system again what this bundle asked it, and say what differs. It needs Python, this bundle and the system.

python replay.py [--share 0.05] [--system "tool --in {input} --out {output}" | http://host/path | module:function]

Without --system the system is called as plan.json says. Times and messages of errors are not compared.
"""

import argparse
import importlib
import json
import random
import shlex
import subprocess
import sys
import tempfile
import urllib.request
from pathlib import Path

HERE = Path(__file__).resolve().parent


def answer(system: str, evidence: object, seed: int) -> object:
    if system.startswith("http"):
        body = json.dumps({"evidence": evidence, "seed": seed}).encode()
        with urllib.request.urlopen(
            urllib.request.Request(system, body, {"Content-Type": "application/json"})
        ) as reply:
            return json.load(reply)
    if "{" not in system and ":" in system:
        module, _, name = system.partition(":")
        sys.path.insert(0, str(HERE))
        found = importlib.import_module(module.removeprefix("surefoot_case_"))
        return json.loads(json.dumps(getattr(found, name)(evidence, seed), default=float))
    with tempfile.TemporaryDirectory() as place:
        given, made = Path(place, "input.json"), Path(place, "output.json")
        given.write_text(json.dumps(evidence), encoding="utf-8")
        named = {"{input}": str(given), "{output}": str(made), "{seed}": str(seed)}
        command = [named.get(part, part) for part in shlex.split(system)]
        with given.open("rb") as stdin:
            said = subprocess.run(command, stdin=stdin, capture_output=True, check=False).stdout
        return json.loads(made.read_bytes() if made.exists() else said)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--share", type=float, default=1.0, help="the share of queries to ask again")
    parser.add_argument("--system", default="", help="how to call the system")
    parser.add_argument("--seed", type=int, default=0, help="which queries are drawn")
    given = parser.parse_args()
    plan = json.loads((HERE / "plan.json").read_text(encoding="utf-8"))["system"]
    system = given.system or plan.get("url") or shlex.join(plan.get("command", [])) or plan.get("function", "")
    asked = differ = 0
    drawn = random.Random(given.seed)
    with (HERE / "queries.jsonl").open(encoding="utf-8") as lines:
        records = (json.loads(line)["record"] for line in lines)
        for record in (one for one in records if "stage" in one and drawn.random() < given.share):
            if record["reply"]["status"] != "answered":
                continue
            asked += 1
            found = answer(system, record["evidence"], record["seed"])
            if json.loads(json.dumps(found)) != record["reply"]["output"]:
                differ += 1
                print(f"{record['stage']} {record['number']}: was {record['reply']['output']}, is {found}")
    print(f"{asked - differ} of {asked} queries gave the same output again.")
    return 1 if differ or not asked else 0


if __name__ == "__main__":
    sys.exit(main())
