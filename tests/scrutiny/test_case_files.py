"""A case file binds what it imports, and its key is asked for before the first query."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from surefoot.core import SurefootError, open_pool
from surefoot.scrutiny import ask_again, run_scrutiny, verify_bundle, write_plan

CASE = """
import drawing, parts.coded
from parts.sums import shifted
from surefoot.scrutiny import *

def system(evidence, seed):
    return {"value": shifted(evidence["value"])}

def compiled_part():
    import compiled

def scrutiny():
    kind = Variable(name="kind", case="a", choices=("a", "b"), source="expert")
    return Scrutiny(
        name="neighbours", question="?", domain=Domain(variables=(kind,)),
        system=PythonSystem(call=system, version="1"), generate=drawing.generate, claims=(answers(),),
        plan=ScrutinyPlan(overall=2, near=2, at_case=2, methods=(), confirm=1, seed=4),
    )
"""


def case_with_neighbours(folder: Path, value: float) -> Path:
    """A case whose generator and sums lie beside it; the value of each query is `value` and 1 more."""
    (folder / "parts").mkdir(parents=True)
    (folder / "drawing.py").write_text(f"def generate(condition, seed):\n    return {{'value': {value}}}, {{}}\n")
    (folder / "parts" / "__init__.py").write_text("")
    (folder / "parts" / "sums.py").write_text("from .more import ONE\n\ndef shifted(x):\n    return x + ONE\n")
    (folder / "parts" / "more.py").write_text("ONE = 1\n")
    (folder / "parts" / "coded.py").write_bytes("# coding: latin-1\r\nNAME = 'é'\r\n".encode("latin-1"))
    (folder / "compiled.so").write_bytes(b"\x7fELF\xff")
    (folder / "stranger.py").write_text("raise SystemExit('no case imports it')\n")
    (folder / "case.py").write_text(CASE, encoding="utf-8")
    return folder / "case.py"


def run(case: Path, bundle: Path, key: Path | None = None) -> None:
    with open_pool("here") as pool:
        run_scrutiny(case, bundle, pool=pool, key=key)


def test_what_a_case_file_imports_from_beside_it_is_signed_kept_and_asked_with_again(tmp_path: Path) -> None:
    case, bundle = case_with_neighbours(tmp_path / "mine", 1.0), tmp_path / "a.bundle"
    names = {"drawing.py", "parts/__init__.py", "parts/sums.py", "parts/more.py", "parts/coded.py"}
    assert set(write_plan(case, bundle)["case file"]["beside"]) == names
    assert (bundle / "parts" / "coded.py").read_bytes() == (case.parent / "parts" / "coded.py").read_bytes()
    more = case.parent / "parts" / "more.py"
    more.write_text("ONE = 2\n")
    with pytest.raises(SurefootError, match="The case file changed since the plan"):
        run(case, bundle)
    more.write_text("ONE = 1\n")
    run(case, bundle)
    verified = verify_bundle(bundle, share=1.0)
    assert {one["reply"]["output"]["value"] for one in verified.drawn} == {2.0}
    # Another case of the same names is run in between, and the first one's neighbours are gone: the bundle has them.
    other = case_with_neighbours(tmp_path / "theirs", 5.0)
    write_plan(other, tmp_path / "b.bundle")
    run(other, tmp_path / "b.bundle")
    assert {one["evidence"]["value"] for one in verify_bundle(tmp_path / "b.bundle", share=1.0).drawn} == {5.0}
    (case.parent / "drawing.py").unlink()
    assert ask_again(bundle / "case.py", verified.drawn) == []
    (bundle / "parts" / "more.py").write_text("ONE = 3\n")
    with pytest.raises(SurefootError, match=r"more\.py is not as it was sealed"):
        verify_bundle(bundle)


def test_the_key_of_a_bundle_that_was_renamed_is_asked_for_before_its_first_query(tmp_path: Path) -> None:
    case = case_with_neighbours(tmp_path / "mine", 1.0)
    write_plan(case, tmp_path / "a.bundle")
    bundle = (tmp_path / "a.bundle").rename(tmp_path / "b.bundle")
    with pytest.raises(SurefootError, match=r"There is no key .*b\.bundle\.key: name the one that signed the plan"):
        run(case, bundle)
    write_plan(case, tmp_path / "c.bundle")
    with pytest.raises(SurefootError, match="is not the one that signed the plan"):
        run(case, bundle, tmp_path / "c.bundle.key")
    assert not (bundle / "queries.jsonl").exists()
    run(case, bundle, tmp_path / "a.bundle.key")


def test_a_neighbour_by_a_name_that_the_bundle_needs_is_refused(tmp_path: Path) -> None:
    case = case_with_neighbours(tmp_path / "mine", 1.0)
    mine = case.with_name("mine.py")
    mine.write_text("import case\nfrom case import scrutiny\n", encoding="utf-8")
    with pytest.raises(SurefootError, match=r"mine\.py imports case\.py from beside it, .*: rename that\."):
        write_plan(mine, tmp_path / "a.bundle")


STAIN = '''
import sys
from surefoot.scrutiny import *

TOOL = """import json, sys
print("beware", file=sys.stderr)
told = json.dumps({"log10_lr": json.load(open(sys.argv[1][5:]))["x"], "unit": chr(181)}, ensure_ascii=False)
sys.stdout.buffer.write(told.encode("latin-1"))"""

def other(evidence, seed):
    return {"log10_lr": evidence["x"], "unit": chr(0xFFFD)}  # what no UTF-8 is

def more(evidence, seed):
    evidence["x"] += 1
    return evidence

def generate(condition, seed):
    return {"x": condition.pop("x")}, {}

def scrutiny():
    tool = CommandSystem(command=(sys.executable, "-c", TOOL, "--in={input}"), version="1")
    return Scrutiny(
        name="stain", question="?", system=tool, other=PythonSystem(call=other, version="2"), generate=generate,
        domain=Domain(variables=(Variable(name="x", case=0, low=-3, high=3, source="expert"),)),
        claims=(monotone("more", more, value="log10_lr"), deterministic(), same_in_versions()),
        plan=ScrutinyPlan(overall=8, near=2, at_case=2, methods=(), confirm=1, seed=4),
        propositions=("p", "q"), population="none",
    )
'''


def test_a_case_of_another_name_whose_functions_change_what_they_are_given_is_asked_and_replayed(
    tmp_path: Path,
) -> None:
    case, other, bundle = tmp_path / "stain.py", tmp_path / "others.py", tmp_path / "a.bundle"
    case.write_text(STAIN, encoding="utf-8")
    other.write_text(STAIN.replace("system=tool, other=", "other=tool, system="), encoding="utf-8")
    for path in (case, other):
        write_plan(path, bundle := path.with_suffix(".bundle"))
        with open_pool("here") as pool:
            found = run_scrutiny(path, bundle, pool=pool)
        assert [one["verdict"] for one in found["claims"]] == ["no failure shown"] * 3
        assert found["status"] == {"answered": 48}
        seen = {one["condition"]["x"] for one in verify_bundle(bundle, share=1.0).drawn if one["stage"] == "overall"}
        assert {-3, 3} <= seen
        told = subprocess.run([sys.executable, bundle / "replay.py"], capture_output=True, text=True, check=False)
        assert told.stdout.endswith("12 of 12 queries gave the same output again.\n"), told.stdout + told.stderr


def test_a_replay_says_where_only_the_case_file_can_call_the_system(tmp_path: Path) -> None:
    case, bundle = tmp_path / "case.py", tmp_path / "a.bundle"
    for called in ("lambda evidence, seed: {}", "partial(other, seed=1)", "Tool()"):
        shutil.rmtree(bundle, ignore_errors=True)
        text = STAIN.replace("system=tool", f"system=PythonSystem(call={called}, version='1')")
        more = "from functools import partial\nclass Tool:\n    def __call__(self, evidence, seed): return {}\n"
        case.write_text(text.replace("TOOL =", more + "TOOL =", 1), encoding="utf-8")
        assert write_plan(case, bundle)["system"]["plain"] is False
        told = subprocess.run([sys.executable, bundle / "replay.py"], capture_output=True, text=True, check=False)
        assert (told.returncode, "Only the case file knows" in told.stdout) == (2, True), told.stdout + told.stderr
