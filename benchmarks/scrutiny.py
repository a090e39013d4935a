"""What a scrutiny adds to a query, and how long a bundle of 100,000 queries takes to verify.

python benchmarks/scrutiny.py [--queries 100000]
"""

import argparse
import importlib.util
import tempfile
import time
from pathlib import Path

from surefoot.scrutiny import Session, read_plan, verify_bundle, write_plan
from surefoot.scrutiny._bundle import Chain, write_seal
from surefoot.scrutiny._findings import STAGE, found_again

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
        folder, case, asked = (
            Path(place, "big.bundle"),
            Path(place, "case.py"),
            f"overall={queries - 2}, near=1, at_case=1",
        )
        case.write_text(CASE.read_text(encoding="utf-8").replace("overall=32, near=32, at_case=10", asked))
        write_plan(case, folder)
        record = {
            "condition": {"amount": 150.0, "kind": "a"},
            "evidence": {"score": 1.0, "amount": 150.0},
            "judged": {"false inclusion above 1": [-1.0, -1.0, ""], "answers": [-1.0, "nan", ""]},
            "unjudged": {},
            "second": {},
            "held": {},
        }
        record |= {
            "truth": {"contributor": False},
            "reply": {"status": "answered", "output": {"log10_lr": 1.0}, "error": "", "seconds": 0.1},
        }
        chain, wall, cpu = Chain(folder), time.perf_counter(), time.process_time()
        for start, (stage, count) in enumerate({"overall": queries - 2, "near": 1, "at the case": 1}.items()):
            for number in range(count):
                chain.append({"stage": stage, "number": number, **record, "seed": 5 + start * STAGE + number})
        spent = time.perf_counter() - wall, time.process_time() - cpu
        chain.close()
        print("appending: {:.3f} ms a query, {:.3f} of CPU".format(*(1e3 * one / queries for one in spent)))
        write_seal(folder, found_again(read_plan(folder), chain.records.values()), chain)
        wall, cpu = time.perf_counter(), time.process_time()
        assert verify_bundle(folder).queries == queries
        print(f"verifying {queries:,}: {time.perf_counter() - wall:.2f} s, {time.process_time() - cpu:.2f} of CPU")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--queries", type=int, default=100_000)
    given = parser.parse_args()
    overhead()
    bundle(given.queries)


if __name__ == "__main__":
    main()
