"""A bundle says what was asked and answered: nothing is asked twice, and no byte of it can be changed unseen."""

import hashlib
import json
import random
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from scipy.stats import binom, binomtest
from statsmodels.stats.multitest import multipletests

from surefoot.core import SurefootError, open_pool
from surefoot.scrutiny import ask_again, deposit_line, read_plan, run_scrutiny, verify_bundle, write_plan

Sealed = tuple[Path, dict[str, Any]]
CASE = Path(__file__).with_name("case.py")


def test_a_sealed_bundle_is_verified_and_gives_the_same_answers_again(sealed: Sealed) -> None:
    verified = verify_bundle(sealed[0], share=0.1)
    assert verified.queries == verified.findings["cases"] > len(verified.drawn) > 0
    assert ask_again(CASE, verified.drawn) == []


def test_one_changed_byte_anywhere_is_found(sealed: Sealed, tmp_path: Path) -> None:
    draw = random.Random(1)
    for file in sorted(sealed[0].iterdir()):
        data = file.read_bytes()
        for place in {0, len(data) - 1, *(draw.randrange(len(data)) for _ in range(4))}:
            copy = tmp_path / f"{file.name}-{place}"
            shutil.copytree(sealed[0], copy)
            (copy / file.name).write_bytes(data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :])
            with pytest.raises(SurefootError):
                verify_bundle(copy)


def test_the_toy_fault_is_found_where_it_lies_and_only_there(sealed: Sealed) -> None:
    claims = {one["name"]: one for one in sealed[1]["claims"]}
    wrong = claims["false inclusion above 1"]
    assert wrong["verdict"] == "fails where it was searched"
    assert all(
        one["condition"]["kind"] == "b" and one["condition"]["amount"] < 60 for one in wrong["found"] if one["p"] < 0.01
    )
    assert 1.0 <= wrong["fails at distance"] <= 1.4
    assert {one["verdict"] for name, one in claims.items() if name != wrong["name"]} == {"no failure shown"}


def test_a_run_that_was_stopped_goes_on_and_asks_nothing_twice(sealed: Sealed, tmp_path: Path) -> None:
    bundle, kept = tmp_path / "toy.bundle", 40
    shutil.copytree(sealed[0], bundle)
    shutil.copy(f"{sealed[0]}.key", f"{bundle}.key")
    lines = (bundle / "queries.jsonl").read_bytes().splitlines(keepends=True)
    (bundle / "queries.jsonl").write_bytes(b"".join(lines[:kept]) + lines[kept][:50])
    (bundle / "seal.json").unlink()
    with open_pool("here") as pool:
        findings = run_scrutiny(CASE, bundle, pool=pool)
    again = (bundle / "queries.jsonl").read_bytes().splitlines(keepends=True)
    assert again[:kept] == lines[:kept]
    assert verify_bundle(bundle).queries == sealed[1]["cases"]
    assert findings["claims"] == sealed[1]["claims"]


KILLED = """
import os, signal, sys
from pathlib import Path
from surefoot.core import open_pool
from surefoot.scrutiny import run_scrutiny
def progress(done, stage):
    if done >= 20:
        os.kill(os.getpid(), signal.SIGKILL)
with open_pool("here") as pool:
    run_scrutiny(Path(sys.argv[1]), Path(sys.argv[2]), pool=pool, progress=progress)
"""


def test_a_second_run_at_once_is_refused_and_a_killed_one_frees_the_bundle(tmp_path: Path, sealed: Sealed) -> None:
    bundle, refused = tmp_path / "a.bundle", []
    write_plan(CASE, bundle)
    killed = subprocess.run([sys.executable, "-c", KILLED, str(CASE), str(bundle)], check=False)
    assert killed.returncode == -signal.SIGKILL

    def second(done: int, stage: str) -> None:
        if not refused:
            with open_pool("here") as other, pytest.raises(SurefootError, match="Another run works on") as said:
                run_scrutiny(CASE, bundle, pool=other)
            refused.append(said)

    with open_pool("here") as pool:
        run_scrutiny(CASE, bundle, pool=pool, progress=second)
    records = [json.loads(line)["record"] for line in (bundle / "queries.jsonl").read_text().splitlines()]
    asked = [(one["stage"], one["number"]) for one in records if "stage" in one]
    assert refused
    assert [one["event"] for one in records if "event" in one] == ["begun", "resumed", "ended"]
    assert verify_bundle(bundle).queries == len(set(asked)) == len(asked) == sealed[1]["cases"]


EVERYWHERE = """
from surefoot.scrutiny import *

def scrutiny():
    domain = Domain(variables=(Variable(name="x", case=0.0, low=0.0, high=100.0, scale=1.0, source="expert"),))
    return Scrutiny(
        name="far", question="?", domain=domain,
        system=PythonSystem(call=lambda evidence, seed: {"wrong": {RULE}}, version="1"),
        generate=lambda condition, seed: (dict(condition), {"seed": seed}),
        claims=(worst_case("wrong", lambda trial: trial.reply.output["wrong"], bound=0.5, rate={RATE}),),
        plan=ScrutinyPlan(overall=93, near=40, at_case=40, methods=(), approach=0, confirm=40, seed=3),
    )
"""


@pytest.mark.parametrize(
    ("rule", "rate", "verdict"),
    [
        ("float(evidence['x'] > 50)", 0.3, "fails over the domain"),
        ("float(evidence['x'] > 50)", 0.6, "no failure shown"),
        ("float(evidence['x'] == 0)", 0.4, "fails at the case, where it was searched"),
        ("float(seed % 2)", 0.2, "fails at the case, near the case, over the domain, where it was searched"),
        ("float(seed % 10 == 0)", 0.5, "no failure shown"),
    ],
)
def test_each_sample_can_show_a_failure(tmp_path: Path, rule: str, rate: float, verdict: str) -> None:
    """93 over the domain, 40 near, 40 at the case, and two conditions that were found: Holm over these five."""
    case = tmp_path / "case.py"
    case.write_text(EVERYWHERE.replace("{RULE}", rule).replace("{RATE}", str(rate)), encoding="utf-8")
    told = write_plan(case, tmp_path / "a.bundle")
    with open_pool("here") as pool:
        claim = run_scrutiny(case, tmp_path / "a.bundle", pool=pool)["claims"][0]
    assert claim["verdict"] == verdict
    tests = [*claim["samples"], *claim["found"]]
    raw = [one["p"] for one in tests] + [1.0] * (5 - len(tests))
    assert [one["p (Holm)"] for one in tests] == pytest.approx(multipletests(raw, method="holm")[1][: len(tests)])
    for one, row in zip(claim["samples"], told["can find"], strict=True):  # the power is that of the strictest step
        least = next(
            k for k in range(one["n"] + 1) if binomtest(k, one["n"], rate, alternative="greater").pvalue <= 0.01
        )
        assert binom.sf(least - 1, one["n"], row["rate"]) == pytest.approx(0.9)


def test_a_plan_is_signed_once_and_a_changed_case_is_refused(tmp_path: Path) -> None:
    case, bundle = tmp_path / "case.py", tmp_path / "a.bundle"
    shutil.copy(CASE, case)
    write_plan(case, bundle)
    assert read_plan(bundle)["plan"]["seed"] == 5
    with pytest.raises(SurefootError, match="signed plan already"):
        write_plan(case, bundle)
    case.write_text(case.read_text() + "\n# changed\n")
    with open_pool("here") as pool, pytest.raises(SurefootError, match="changed since the plan"):
        run_scrutiny(case, bundle, pool=pool)


WITHOUT_A_WORD = """
import numpy as np
from surefoot.scrutiny import *

def odd(evidence, seed):
    return {"a": [np.inf, float("nan")], "b": np.array([-np.inf, 1.0]), "c": float("nan")}

def scrutiny():
    domain = Domain(variables=(Variable(name="x", case=0.0, low=0.0, high=1.0, source="expert"),))
    return Scrutiny(
        name="odd", question="?", domain=domain, system=PythonSystem(call=odd, version="1"),
        generate=lambda condition, seed: (dict(condition), {}), claims=(deterministic(),),
        plan=ScrutinyPlan(overall=2, near=2, at_case=2, methods=(), approach=0, confirm=2, seed=3),
    )
"""


def test_the_same_inf_and_nan_are_the_same_again_and_the_line_names_the_plan(tmp_path: Path) -> None:
    case, bundle = tmp_path / "case.py", tmp_path / "a.bundle"
    case.write_text(WITHOUT_A_WORD, encoding="utf-8")
    told = write_plan(case, bundle)
    digest = hashlib.sha256((bundle / "plan.json").read_bytes()).hexdigest()
    assert deposit_line(bundle) == f"Plan {digest}, signed at {told['signed at']} by {told['public key']}"
    with open_pool("here") as pool:
        assert run_scrutiny(case, bundle, pool=pool)["claims"][0]["verdict"] == "no failure shown"
    assert ask_again(case, verify_bundle(bundle, share=1.0).drawn) == []
    again = subprocess.run([sys.executable, bundle / "replay.py"], capture_output=True, text=True, check=False)
    assert (again.returncode, again.stdout) == (0, "6 of 6 queries gave the same output again.\n")
