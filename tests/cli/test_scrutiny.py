"""`surefoot scrutiny`, from a case file to a page, as a person types it."""

import subprocess
import sys
from pathlib import Path

SMALL = "ScrutinyPlan(overall=8, near=8, at_case=4, methods=('random',), budget=6, approach=0, confirm=20, seed=5)"
CASE = Path(__file__).parents[1] / "scrutiny" / "case.py"


def test_plan_run_verify_replay_and_report(tmp_path: Path, surefoot) -> None:
    text = CASE.read_text(encoding="utf-8")
    before, _, after = text.partition("ScrutinyPlan(overall")
    (tmp_path / "case.py").write_text(before + SMALL + after.partition(")")[2], encoding="utf-8")
    planned = surefoot("scrutiny", "plan", "case.py")
    assert "deposit this line" in planned.err
    assert "deterministic\toverall\t8\t0.25" in planned.out
    assert surefoot("scrutiny", "verify", "case.bundle").code == 2
    ran = surefoot("scrutiny", "run", "case.py", "--workers", "2")
    assert ran.code == 0, ran.err
    assert ran.out.count("no failure shown") == 4
    verified = surefoot("scrutiny", "verify", "case.bundle", "--rerun", "0.2")
    assert (verified.code, "0 outputs differ" in verified.err) == (0, True), verified.err
    again = subprocess.run(
        [sys.executable, "case.bundle/replay.py"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert again.returncode == 0, again.stdout + again.stderr
    assert surefoot("scrutiny", "report", "case.bundle").code == 0
    page = (tmp_path / "case.html").read_text(encoding="utf-8")
    for said in (
        "transposed conditional",
        "maker&#39;s validation, 2021",
        "toy population",
        "validation study, table 3",
    ):
        assert said in page
    assert "<script" not in page
    spoiled = (tmp_path / "case.bundle" / "queries.jsonl").read_text(encoding="utf-8").replace("150", "151", 1)
    (tmp_path / "case.bundle" / "queries.jsonl").write_text(spoiled, encoding="utf-8")
    refused = surefoot("scrutiny", "verify", "case.bundle")
    assert (refused.code, "not as it was written" in refused.err) == (2, True)
