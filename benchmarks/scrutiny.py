"""What a scrutiny adds to a query, and how long a bundle of 100,000 queries takes to verify.

python benchmarks/scrutiny.py [--queries 100000] [--audits 0]

With `--audits N` a correct system is scrutinised N times: the share that shows a failure, at most the error rate.
"""

import argparse
import importlib.util
import random
import tempfile
import time
from pathlib import Path

from surefoot.core import open_pool
from surefoot.scrutiny import Session, run_scrutiny, verify_bundle, write_plan
from surefoot.scrutiny._bundle import Chain, write_seal
from surefoot.stats import clopper_pearson

CASE = Path(__file__).parents[1] / "tests" / "scrutiny" / "case.py"


def overhead(calls: int = 2_000) -> None:
    """Milliseconds of a query beside the system's own, which takes microseconds."""
    spec = importlib.util.spec_from_file_location("toy", CASE)
    assert spec and spec.loader
    toy = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(toy)
    session, evidence = Session(toy.scrutiny().system, CASE, "system"), {"score": 1.0, "amount": 100.0, "kind": "a"}
    session.ask(evidence, 0)
    wall, cpu = time.perf_counter(), time.process_time()
    for seed in range(calls):
        session.ask(evidence, seed)
    spent = time.perf_counter() - wall, time.process_time() - cpu
    print("asking: {:.3f} ms a query, {:.3f} of CPU here".format(*(1e3 * one / calls for one in spent)))
    session.close()


def bundle(queries: int) -> None:
    """A chain of so many records, sealed and verified."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place, "big.bundle")
        write_plan(CASE, folder)
        record = {
            "condition": {"amount": 150.0, "kind": "a"},
            "seed": 1,
            "evidence": {"score": 1.0, "amount": 150.0},
            "judged": {},
        }
        record |= {
            "truth": {"contributor": False},
            "reply": {"status": "answered", "output": {"log10_lr": 1.0}, "seconds": 0.1},
        }
        chain, wall, cpu = Chain(folder), time.perf_counter(), time.process_time()
        for number in range(queries):
            chain.append({"stage": "overall", "number": number, **record})
        spent = time.perf_counter() - wall, time.process_time() - cpu
        chain.close()
        print("appending: {:.3f} ms a query, {:.3f} of CPU".format(*(1e3 * one / queries for one in spent)))
        write_seal(folder, {}, chain)
        wall, cpu = time.perf_counter(), time.process_time()
        assert verify_bundle(folder).queries == queries
        print(f"verifying {queries:,}: {time.perf_counter() - wall:.2f} s, {time.process_time() - cpu:.2f} of CPU")


def false_alarms(audits: int) -> None:
    """How often a correct system is shown to fail, with a bound that it just keeps."""
    text = (
        CASE.read_text(encoding="utf-8")
        .replace("wrong = 3.0", "wrong = 0.0")
        .replace("false_inclusion(0.25", "false_inclusion(0.1587")
    )
    alarms = 0
    for number in range(audits):
        with tempfile.TemporaryDirectory() as place, open_pool("here") as pool:
            case, folder = Path(place, f"case_{random.getrandbits(32)}.py"), Path(place, "a.bundle")
            case.write_text(text.replace("seed=5", f"seed={number + 1}"), encoding="utf-8")
            write_plan(case, folder)
            alarms += any(one["verdict"].startswith("fails") for one in run_scrutiny(case, folder, pool=pool)["claims"])
    print(f"false alarms: {alarms} of {audits}, {clopper_pearson(alarms, audits)}, error rate .05")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--queries", type=int, default=100_000)
    parser.add_argument("--audits", type=int, default=0)
    given = parser.parse_args()
    overhead()
    bundle(given.queries)
    if given.audits:
        false_alarms(given.audits)


if __name__ == "__main__":
    main()
