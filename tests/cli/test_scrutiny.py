"""`surefoot scrutiny`, from a case file to a page, as a person types it."""

import subprocess
import sys
from pathlib import Path

SMALL = "ScrutinyPlan(overall=8, near=8, at_case=4, methods=('random',), budget=6, approach=0, confirm=20, seed=5)"
CASE = Path(__file__).parents[1] / "scrutiny" / "case.py"


def surefoot(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", "from surefoot.cli import main; main()", "scrutiny", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def test_plan_run_verify_replay_and_report(tmp_path: Path) -> None:
    text = CASE.read_text(encoding="utf-8")
    before, _, after = text.partition("ScrutinyPlan(overall")
    (tmp_path / "case.py").write_text(before + SMALL + after.partition(")")[2], encoding="utf-8")
    planned = surefoot(tmp_path, "plan", "case.py")
    assert "deposit this line" in planned.stderr
    assert "deterministic\toverall\t8\t0.25" in planned.stdout
    assert surefoot(tmp_path, "verify", "case.bundle").returncode == 2
    ran = surefoot(tmp_path, "run", "case.py", "--workers", "2")
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.count("no failure shown") == 4
    verified = surefoot(tmp_path, "verify", "case.bundle", "--rerun", "0.2")
    assert (verified.returncode, "0 outputs differ" in verified.stderr) == (0, True), verified.stderr
    again = subprocess.run(
        [sys.executable, "case.bundle/replay.py"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert again.returncode == 0, again.stdout + again.stderr
    assert surefoot(tmp_path, "report", "case.bundle").returncode == 0
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
    refused = surefoot(tmp_path, "verify", "case.bundle")
    assert (refused.returncode, "not as it was written" in refused.stderr) == (2, True)
