"""A bundle says what was asked and answered: nothing is asked twice, and no byte of it can be changed unseen."""

import random
import shutil
from pathlib import Path
from typing import Any

import pytest

from surefoot.core import SurefootError, open_pool
from surefoot.scrutiny import ask_again, read_plan, run_scrutiny, verify_bundle, write_plan

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
