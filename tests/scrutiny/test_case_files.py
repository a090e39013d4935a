"""A case file binds what it imports, and its key is asked for before the first query."""

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
