"""`surefoot scrutiny`, from a case file to a page, as a person types it."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from surefoot.scrutiny._scrutiny import load_scrutiny

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


def test_a_case_file_is_read_as_it_is_now(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two files of one name in two folders, and one that was written anew: none is taken for another."""
    text, found = CASE.read_text(encoding="utf-8"), []
    for folder, name in (("one", "toy"), ("other", "toys"), ("other", "two toys")):
        (tmp_path / folder).mkdir(exist_ok=True)
        (tmp_path / folder / "case.py").write_text(text.replace('name="toy"', f'name="{name}"'), encoding="utf-8")
        monkeypatch.chdir(tmp_path / folder)
        found.append(load_scrutiny(Path("case.py")).name)
    assert found == ["toy", "toys", "two toys"]


def test_a_system_that_gives_no_figures_near_the_case_is_not_judged(tmp_path: Path, surefoot) -> None:
    text = CASE.read_text(encoding="utf-8")
    before, _, after = text.partition("ScrutinyPlan(overall")
    text = before + SMALL + after.partition(")")[2]
    text = text.replace(
        "    wrong =", '    wrong = float("nan" if 60 < evidence["amount"] < 260 else "0")\n    unused ='
    )
    text = text.replace("deterministic(),", "*ratio_bounds((10,), RATIOS),").replace(
        "    deterministic", "    ratio_bounds"
    )
    (tmp_path / "case.py").write_text(text.replace("answers(),", ""), encoding="utf-8")
    assert surefoot("scrutiny", "plan", "case.py").code == 0
    ran = surefoot("scrutiny", "run", "case.py", "--format", "json")
    table = {one["claim"]: one for one in json.loads(ran.out)}
    assert ran.code == 2, ran.err + ran.out
    for name in ("false inclusion above 1", "ratio of 10", "mean ratio"):
        assert table[name]["verdict"] == table[name]["failed near"] == "not judged"
        assert table[name]["low"] is None
        assert 0 < table[name]["unjudged near"] <= 8
    found = json.loads((tmp_path / "case.bundle" / "findings.json").read_bytes())
    mean = next(one for one in found["claims"] if one["name"] == "mean ratio")["samples"]
    assert (mean[2]["n"], mean[2]["unjudged"] > 0, mean[2]["estimate"]) == (0, True, None)
    assert mean[2]["not finite"] == {"estimate": "not a number", "high": "infinite"}
    assert surefoot("scrutiny", "verify", "case.bundle").code == 0
    assert surefoot("scrutiny", "report", "case.bundle").code == 0
    page = (tmp_path / "case.html").read_text(encoding="utf-8")
    assert "No failure was shown. 4 of 4 claims could not be judged." in page
    assert "nothing could be judged" in page
