"""A bundle says what was asked and answered: nothing is asked twice, and no byte of it can be changed unseen."""

import errno
import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import binom, binomtest
from statsmodels.stats.multitest import multipletests

from surefoot.core import SurefootError, open_pool
from surefoot.scrutiny import (
    ask_again,
    decided,
    deposit_line,
    rate_after_looks,
    read_plan,
    run_scrutiny,
    sequential_p,
    verify_bundle,
    write_plan,
)
from surefoot.scrutiny._bundle import Chain, write_seal
from surefoot.scrutiny._scrutiny import load_scrutiny

Sealed = tuple[Path, dict[str, Any]]
CASE = Path(__file__).with_name("case.py")


def test_a_sealed_bundle_is_verified_and_gives_the_same_answers_again(sealed: Sealed) -> None:
    verified = verify_bundle(sealed[0], share=0.1)
    assert verified.queries == verified.findings["cases"] > len(verified.drawn) > 0
    assert verified.drawn != verify_bundle(sealed[0], share=0.1).drawn  # nobody can know which will be asked again
    first, second = (verify_bundle(sealed[0], share=0.1, seed=1).drawn for _ in range(2))
    assert first == second
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


def resealed(
    sealed: Path, bundle: Path, change: Callable[[dict[str, Any]], object], file: str = "findings.json"
) -> Path:
    """A copy whose owner changed its findings, or its tenth query, and signed it again with the key."""
    shutil.copytree(sealed, bundle)
    shutil.copy(f"{sealed}.key", f"{bundle}.key")
    findings = json.loads((bundle / "findings.json").read_bytes())
    records = [json.loads(line)["record"] for line in (bundle / "queries.jsonl").read_text().splitlines()]
    change(findings if file == "findings.json" else records[9])
    (bundle / "queries.jsonl").unlink()
    chain = Chain(bundle)
    for record in records:
        chain.append(record)
    chain.close()
    write_seal(bundle, findings, chain)
    return bundle


@pytest.mark.parametrize(
    ("place", "value", "said"),
    [
        (("claims", 0, "verdict"), "no failure shown", "false inclusion above 1, verdict 'no failure shown'"),
        (("claims", 0, "samples", 1, "low"), 0.001, "samples, near, low 0.001, and its queries give 0"),
        (("claims", 0, "samples", 0, "failed"), 1, "samples, overall, failed 1, and its queries give"),
        (("claims", 0, "found", 0, "high"), 0.2, "found, nearest, high 0.2"),
        (("claims", 0, "found", 0, "p"), 0.5, "found, nearest, p 0.5"),
        (("claims", 0, "found", 0, "p (Holm)"), 0.5, r"found, nearest, p \(Holm\) 0.5"),
        (("claims", 0, "found", 0, "distance"), 3.0, "distance 3.0"),
        (("claims", 0, "fails at distance"), 3.0, "fails at distance 3.0"),
        (("claims", 0, "found"), [], "found, nearest None, and its queries give"),
        (("claims", 0, "searches", 1, "queries to find"), 3, "searches, cma, queries to find 3"),
        (("claims", 0, "drivers", 0, "share"), 0.9, "share 0.9"),
        (("claims", 1, "bound"), 0.5, "deterministic, bound 0.5"),
        (("queries",), 7, "queries 7, and its queries give"),
        (("status", "answered"), 7, "status, answered 7"),
    ],
)
def test_a_finding_that_its_queries_do_not_give_is_found(
    sealed: Sealed, tmp_path: Path, place: tuple[Any, ...], value: Any, said: str
) -> None:
    def change(found: Any) -> None:
        for step in place[:-1]:
            found = found[step]
        assert found[place[-1]] != value
        found[place[-1]] = value

    with pytest.raises(SurefootError, match=f"is not what its queries give: .*{said}"):
        verify_bundle(resealed(sealed[0], tmp_path / "a.bundle", change))


def test_a_bundle_of_another_version_that_counts_otherwise_is_told_from_one_that_was_changed(
    sealed: Sealed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def older(found: dict[str, Any]) -> None:
        found["claims"][0]["found"][0]["high"] = 0.2

    bundle = resealed(sealed[0], tmp_path / "a.bundle", older)
    with pytest.raises(SurefootError, match=r"its queries give \d\.\d+\.$"):
        verify_bundle(bundle)
    monkeypatch.setattr("surefoot.scrutiny._bundle.__version__", "9.9")
    with pytest.raises(SurefootError, match=r"Surefoot \d.* made it: verify it with that version\.$"):
        verify_bundle(bundle)


def test_a_query_that_was_judged_otherwise_or_is_of_other_evidence_is_found_when_it_is_asked_again(
    sealed: Sealed, tmp_path: Path
) -> None:
    def verdict(record: dict[str, Any]) -> None:
        record["judged"]["deterministic"][0] = -0.5  # it failed by 0, and no finding changes

    def evidence(record: dict[str, Any]) -> None:
        record["evidence"]["note"] = "added"

    for change, said in ((verdict, "judged was"), (evidence, "evidence was")):
        bundle = resealed(sealed[0], tmp_path / said, change, "queries.jsonl")
        drawn = [one for one in verify_bundle(bundle, share=1.0).drawn if one["number"] in (8, 9)]
        told = ask_again(CASE, drawn[:2])
        assert len(told) == 1 and said in told[0]


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
from functools import partial
from itertools import accumulate
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
    assert [one["p (Holm)"] for one in tests] == pytest.approx(
        np.asarray(multipletests(raw, method="holm")[1])[: len(tests)]
    )
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


def test_what_was_confirmed_is_tested_as_one_that_was_looked_at_often(sealed: Sealed) -> None:
    lines = (sealed[0] / "queries.jsonl").read_text().splitlines()
    records = [one for line in lines if "stage" in (one := json.loads(line)["record"])]
    claim = sealed[1]["claims"][0]
    assert claim["found"]
    for one in claim["found"]:
        asked = [each for each in records if each["stage"] == f"confirm/{one['which']}/{claim['name']}"]
        failed = [each["judged"][claim["name"]][0] > 0 for each in asked if each["judged"][claim["name"]]]
        each = accumulate(one["judged"][claim["name"]] is not None for one in asked)
        looks = [n for at, n in enumerate(each, 1) if (at >= 40 and at % 20 == 0) or at == len(asked)]
        decides = partial(decided, rate=claim["bound"], alpha=0.05 / 20)
        interval = rate_after_looks(sum(failed), looks, decides)
        assert (one["low"], one["high"]) == pytest.approx((interval.low, interval.high))
        assert (one["p"], one["asked"]) == (pytest.approx(sequential_p(failed, claim["bound"])), len(asked))


def test_holm_is_over_all_tests_of_all_claims(sealed: Sealed) -> None:
    """Four claims, each in three samples and at two conditions: twenty tests, of which some found nothing to ask."""
    tests = [one for claim in sealed[1]["claims"] for one in (*claim["samples"], *claim["found"])]
    raw = [one["p"] for one in tests] + [1.0] * (20 - len(tests))
    assert len(tests) == 13 and 0 < 20 * min(raw) < 0.05
    adjusted = np.asarray(multipletests(raw, method="holm")[1])
    assert [one["p (Holm)"] for one in tests] == pytest.approx(adjusted[: len(tests)], rel=1e-9, abs=0)
    row = next(one for one in read_plan(sealed[0])["can find"] if one["sample"] == "overall")
    least = next(k for k in range(33) if binomtest(k, 32, 0.25, alternative="greater").pvalue <= 0.05 / 20)
    assert binom.sf(least - 1, 32, row["rate"]) == pytest.approx(0.9)


def test_the_chain_is_what_anybody_computes_with_a_hash(sealed: Sealed) -> None:
    head = hashlib.sha256((sealed[0] / "plan.json").read_bytes()).hexdigest()
    for line in (sealed[0] / "queries.jsonl").read_bytes().splitlines():
        record = line[line.index(b'"record":') + 9 : -1]
        head = hashlib.sha256(head.encode() + record).hexdigest()
        assert json.loads(line)["hash"] == head
    assert json.loads((sealed[0] / "seal.json").read_bytes())["head"] == head


def test_a_replay_says_what_differs_and_asks_a_share(sealed: Sealed, tmp_path: Path) -> None:
    def other(record: dict[str, Any]) -> None:
        record["reply"]["output"]["log10_lr"] += 1.0

    bundle = resealed(sealed[0], tmp_path / "a.bundle", other, "queries.jsonl")
    command = [sys.executable, str(bundle / "replay.py")]
    told = subprocess.run(command, capture_output=True, text=True, check=False)
    asked = sealed[1]["cases"]
    assert (told.returncode, told.stdout.count(": was {")) == (1, 1), told.stdout
    assert told.stdout.endswith(f"{asked - 1} of {asked} queries gave the same output again.\n")
    told = subprocess.run([*command, "--share", "0.2"], capture_output=True, text=True, check=False)
    assert 0.1 * asked < int(told.stdout.split()[-7]) < 0.3 * asked, told.stdout


def test_a_run_goes_on_only_with_its_own_queries_and_its_own_system(sealed: Sealed, tmp_path: Path) -> None:
    def other(record: dict[str, Any]) -> None:
        record["seed"] += 1

    bundle = resealed(sealed[0], tmp_path / "a.bundle", other, "queries.jsonl")
    (bundle / "seal.json").unlink()
    with open_pool("here") as pool, pytest.raises(SurefootError, match="is not what this plan asks for"):
        run_scrutiny(CASE, bundle, pool=pool)
    case = tmp_path / "changing.py"
    case.write_text(WITHOUT_A_WORD.replace("odd", "changing"), encoding="utf-8")
    write_plan(case, tmp_path / "b.bundle")

    def changed(done: int, stage: str) -> None:
        case.write_text(WITHOUT_A_WORD + "# changed", encoding="utf-8")

    with open_pool("here") as pool, pytest.raises(SurefootError, match="changed since the plan"):
        run_scrutiny(case, tmp_path / "b.bundle", pool=pool, progress=changed)
    assert not (tmp_path / "b.bundle" / "seal.json").exists()


def test_two_case_files_of_one_name_are_two_systems(tmp_path: Path) -> None:
    for folder in ("one", "other"):
        (tmp_path / folder).mkdir()
        shutil.copy(CASE, tmp_path / folder / "case.py")
    told = [write_plan(tmp_path / folder / "case.py", tmp_path / folder / "a.bundle") for folder in ("one", "other")]
    assert [
        str(tmp_path / folder / "case.py") in one["system"]["files"]
        for folder, one in zip(("one", "other"), told, strict=True)
    ] == [True] * 2
    write_plan(tmp_path / "one" / "case.py", tmp_path / "b.bundle")
    again = read_plan(tmp_path / "b.bundle")
    assert again["system"] == told[0]["system"]


WITHOUT_A_WORD = """
import numpy as np
from surefoot.scrutiny import *

def odd(evidence, seed):
    return {"a": [np.inf, float("nan")], "b": np.array([-np.inf, 1.0]), "c": float("nan"),
        "d": "half \\ud800, line\\u2028"}

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
    verify_bundle(bundle)  # loading its case file leaves nothing in it
    again = subprocess.run([sys.executable, bundle / "replay.py"], capture_output=True, text=True, check=False)
    assert (again.returncode, again.stdout) == (0, "6 of 6 queries gave the same output again.\n")
    verify_bundle(bundle)
    (bundle / "seal.json").unlink()
    lines = (bundle / "queries.jsonl").read_bytes()
    (bundle / "queries.jsonl").write_bytes(lines + lines[:30])
    again = subprocess.run([sys.executable, bundle / "replay.py"], capture_output=True, text=True, check=False)
    assert (again.returncode, "not sealed" in again.stdout, "6 of 6" in again.stdout) == (0, True, True)


class _Busy(BaseHTTPRequestHandler):
    asked = 0

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        type(self).asked += 1
        self.send_response(503 if self.asked == 1 else 200)
        self.end_headers()
        if self.asked > 1:
            told = load_scrutiny(CASE).system.call(asked["evidence"], asked["seed"])  # pyright: ignore
            self.wfile.write(json.dumps(dict(told)).encode())

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


def test_a_replay_waits_for_a_busy_service_and_says_where_none_answers(sealed: Sealed) -> None:
    def replay(*more: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, str(sealed[0] / "replay.py"), *more]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    with ThreadingHTTPServer(("127.0.0.1", 0), _Busy) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        told = replay("--share", "0.05", "--system", f"http://127.0.0.1:{server.server_port}/")
        server.shutdown()
    assert told.returncode == 0, told.stdout + told.stderr
    told = replay("--share", "0.05", "--system", f"http://127.0.0.1:{server.server_port}/")
    assert (told.returncode, "is no answer (URLError" in told.stdout, told.stderr) == (1, True, "")
    assert "at most 1" in replay("--share", "5").stderr


def test_a_share_beyond_all_and_a_lost_file_are_refused(sealed: Sealed, tmp_path: Path) -> None:
    with pytest.raises(SurefootError, match="is 5: it must lie between 0 and 1"):
        verify_bundle(sealed[0], share=5)
    for name in ("queries.jsonl", "findings.json", "replay.py"):
        shutil.copytree(sealed[0], tmp_path / name)
        (tmp_path / name / name).unlink()
        with pytest.raises(SurefootError, match=f"lacks {name}, which was sealed"):
            verify_bundle(tmp_path / name)


def test_a_pipe_a_link_and_a_full_disk_are_said(
    sealed: Sealed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = Path(shutil.copytree(sealed[0], tmp_path / "toy.bundle"))
    (tmp_path / "elsewhere").write_bytes((bundle / "case.py").read_bytes())
    (bundle / "case.py").unlink()
    (bundle / "case.py").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(SurefootError, match=r"case\.py is a link"):
        verify_bundle(bundle)
    (bundle / "case.py").unlink()
    shutil.copy(tmp_path / "elsewhere", bundle / "case.py")
    for name in ("plan.json.signature", "seal.json.signature", "more"):  # to read it would wait for ever
        kept = (sealed[0] / name).read_bytes() if name != "more" else b""
        (bundle / name).unlink(missing_ok=True)
        os.mkfifo(bundle / name)
        with pytest.raises(SurefootError, match=f"{name} is a link or a pipe"):
            verify_bundle(bundle)
        (bundle / name).unlink()
        if kept:
            (bundle / name).write_bytes(kept)
    verify_bundle(bundle)
    shutil.copy(f"{sealed[0]}.key", f"{bundle}.key")
    full = OSError(errno.ENOSPC, "No space left on device")
    monkeypatch.setattr(os, "fsync", lambda stream: (_ for _ in ()).throw(full))
    (bundle / "seal.json").unlink()
    with open_pool("here") as pool, pytest.raises(SurefootError, match=r"holds .*queries\.jsonl is full"):
        run_scrutiny(CASE, bundle, pool=pool)
