"""What the holder of the key can write: a bundle that is not what its plan asks is refused, however it was signed."""

import json
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from surefoot.core import SurefootError
from surefoot.scrutiny import check_asked, read_plan, verify_bundle
from surefoot.scrutiny._bundle import Chain, signing_key, write_seal
from surefoot.scrutiny._bundle import _write as write_signed
from surefoot.scrutiny._findings import find
from surefoot.scrutiny._scrutiny import load_scrutiny

Sealed = tuple[Path, dict[str, Any]]
Record = dict[str, Any]
CASE = Path(__file__).with_name("case.py")


def forged(
    sealed: Path,
    bundle: Path,
    *,
    records: Callable[[Record], bool] = lambda record: True,
    findings: Callable[[Record], object] | None = None,
    plan: Callable[[Record], object] = lambda plan: None,
    files: Callable[[Path], object] = lambda bundle: None,
) -> Path:
    """A copy whose owner changed its plan, kept some records and changed them, and signed all of it again."""
    shutil.copytree(sealed, bundle)
    shutil.copy(f"{sealed}.key", f"{bundle}.key")
    told = json.loads((bundle / "plan.json").read_bytes())
    plan(told)
    write_signed(bundle / "plan.json", told, signing_key(bundle, None))
    files(bundle)
    lines = [json.loads(line)["record"] for line in (bundle / "queries.jsonl").read_text().splitlines()]
    (bundle / "queries.jsonl").unlink()
    chain = Chain(bundle)
    for one in filter(records, lines):
        chain.append(one)
    chain.close()
    found = json.loads((bundle / "findings.json").read_bytes())
    if findings:
        findings(found)
    else:
        asked = load_scrutiny(CASE)
        found = json.loads(json.dumps(find(asked.domain, asked.claims, asked.plan, chain.records.values())))
    write_seal(bundle, found, chain)
    return bundle


def stage(record: Record) -> str:
    return record.get("stage", "")


def elsewhere(record: Record) -> bool:
    if stage(record) == "near" and record["number"] == 3:
        record["condition"] = {"amount": 399.0, "kind": "a"}
    return True


def other_seeds(record: Record) -> bool:
    if stage(record) == "at the case":
        record["seed"] += 10_000_000
    return True


@pytest.mark.parametrize(
    ("kept", "said"),
    [
        (
            lambda one: not (stage(one) == "near" and one["number"] >= 20),
            "The sample 'near' has 20 queries, and not as",
        ),
        (lambda one: not (stage(one) == "near" and one["number"] == 4), "Query 5 of stage near, .* is none that"),
        (lambda one: stage(one) != "overall", "The sample 'overall' has 0 queries"),
        (other_seeds, "Query 0 of stage .* is none that the plan asks"),
        (elsewhere, "Query 3 of stage near, .*399.* is none that"),
    ],
)
def test_queries_that_were_left_out_or_chosen_are_missed(sealed: Sealed, tmp_path: Path, kept: Any, said: str) -> None:
    with pytest.raises(SurefootError, match=said):
        verify_bundle(forged(sealed[0], tmp_path / "a.bundle", records=kept))


def test_a_confirmation_ends_where_the_plan_ends_it(sealed: Sealed, tmp_path: Path) -> None:
    found = sealed[1]["claims"][0]["found"][-1]
    cut = f"confirm/{found['which']}/"
    bundle = tmp_path / "a.bundle"
    with pytest.raises(SurefootError, match=f"was confirmed, {found['which']}, are 39 queries: not as planned"):
        forged(sealed[0], bundle, records=lambda one: not (stage(one).startswith(cut) and one["number"] >= 39))


@pytest.mark.parametrize("gone", ["search/cma/", "confirm/nearest/false", "approach/"])
def test_a_stage_that_was_left_out_is_missed_by_the_run_again_on_its_answers(
    sealed: Sealed, tmp_path: Path, gone: str
) -> None:
    check_asked(CASE, verify_bundle(sealed[0], keep=True))
    bundle = forged(sealed[0], tmp_path / "a.bundle", records=lambda one: not stage(one).startswith(gone))
    verify_bundle(bundle)  # which does not run the case file
    with pytest.raises(
        SurefootError, match=rf"(Query \d+ of stage {gone}.*, which its plan asks, is not there|the plan asks)"
    ):
        check_asked(CASE, verify_bundle(bundle, keep=True))


def chosen(record: Record) -> bool:
    if stage(record) == "near":
        record["condition"]["amount"] = 150.0
    return True


def test_a_sample_that_is_easier_than_its_plan_and_a_plausibility_are_found(sealed: Sealed, tmp_path: Path) -> None:
    bundle = forged(sealed[0], tmp_path / "a.bundle", records=chosen)
    with pytest.raises(SurefootError, match="Query 0 of stage near in the bundle is not what this plan asks for"):
        check_asked(CASE, verify_bundle(bundle, keep=True))

    def likely(found: Record) -> None:
        found["claims"][0]["found"][0]["plausibility"] = 0.01

    bundle = forged(sealed[0], tmp_path / "b.bundle", findings=likely)
    with pytest.raises(SurefootError, match=r"plausibility 0\.01, and its queries give 1\.0"):
        check_asked(CASE, verify_bundle(bundle, keep=True))


def twice(found: Record) -> None:
    found["claims"].insert(0, found["claims"][0] | {"verdict": "no failure shown"})


def fewer(found: Record) -> None:
    del found["claims"][0]


@pytest.mark.parametrize("version", ["", "0.0.1"])
@pytest.mark.parametrize("change", [twice, fewer])
def test_a_claim_that_is_there_twice_or_left_out_is_found(
    sealed: Sealed, tmp_path: Path, change: Any, version: str
) -> None:
    def plan(told: Record) -> None:
        told["surefoot"] = version or told["surefoot"]

    with pytest.raises(SurefootError, match="is not what its queries give"):
        verify_bundle(forged(sealed[0], tmp_path / "a.bundle", findings=change, plan=plan))


def test_another_case_file_than_was_signed_is_found_and_another_replay_is_told(
    sealed: Sealed, tmp_path: Path, surefoot: Any
) -> None:
    def change(name: str, bundle: Path) -> None:
        (bundle / name).write_text((bundle / name).read_text(encoding="utf-8") + "\n# more\n", encoding="utf-8")

    with pytest.raises(SurefootError, match=r"case\.py is not the one of its plan"):
        verify_bundle(forged(sealed[0], tmp_path / "a.bundle", files=partial(change, "case.py")))
    bundle = forged(sealed[0], tmp_path / "b.bundle", files=partial(change, "replay.py"))
    told = [surefoot("scrutiny", "verify", one).err for one in (sealed[0], bundle)]
    assert ["read it before you run it" in one for one in told] == [False, True]


def test_a_name_that_is_there_twice_is_found(sealed: Sealed, tmp_path: Path) -> None:
    bundle = forged(sealed[0], tmp_path / "a.bundle")
    plan = (bundle / "plan.json").read_text(encoding="utf-8").replace(' "name":', ' "name": "other",\n "name":', 1)
    (bundle / "plan.json").write_text(plan, encoding="utf-8")
    (bundle / "plan.json.signature").write_text(signed(bundle, plan))
    with pytest.raises(SurefootError, match="is not what was signed"):
        read_plan(bundle)


def signed(bundle: Path, text: str) -> str:
    return signing_key(bundle, bundle.with_name("a.bundle.key"), new=True).sign(text.encode()).hex() + "\n"


def test_what_the_plan_says_of_its_claims_is_what_its_case_file_says(sealed: Sealed, tmp_path: Path) -> None:
    def plan(told: Record) -> None:
        told["claims"][0]["sentence"] = "It is perfect."

    def findings(found: Record) -> None:
        found["claims"][0]["sentence"] = "It is perfect."

    bundle = forged(sealed[0], tmp_path / "a.bundle", plan=plan, findings=findings)
    verify_bundle(bundle)
    with pytest.raises(SurefootError, match="says of its claims is not what the plan"):
        check_asked(CASE, verify_bundle(bundle, keep=True))


def test_a_seal_without_sense_is_refused(sealed: Sealed, tmp_path: Path) -> None:
    bundle = forged(sealed[0], tmp_path / "a.bundle")
    for name, value, said in (("lines", "many", "as Surefoot writes it"), ("files", {}, "is not as it was sealed")):
        seal = json.loads((sealed[0] / "seal.json").read_bytes())
        write_signed(bundle / "seal.json", seal | {name: value}, signing_key(bundle, None))
        with pytest.raises(SurefootError, match=said):
            verify_bundle(bundle)


def test_a_name_twice_in_a_query_is_refused(sealed: Sealed, tmp_path: Path) -> None:
    """One reader takes the last, another the first: the chain and the signature hold both."""

    class Twice(dict):
        def items(self):
            return [("number", 7), *super().items()]

    bundle = tmp_path / "toy.bundle"
    shutil.copytree(sealed[0], bundle)
    shutil.copy(f"{sealed[0]}.key", f"{bundle}.key")
    lines = [json.loads(line)["record"] for line in (bundle / "queries.jsonl").read_text().splitlines()]
    (bundle / "queries.jsonl").unlink()
    chain = Chain(bundle)
    for place, one in enumerate(lines):
        chain.append(Twice(one) if place == 3 else one)
    chain.close()
    write_seal(bundle, sealed[1], chain)
    assert (bundle / "queries.jsonl").read_text().splitlines()[3].count('"number":') == 2
    with pytest.raises(SurefootError, match="a name is there twice"):
        verify_bundle(bundle)
