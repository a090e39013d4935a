"""The gate: the exit code of `surefoot check`, and what a CI server reads of the verdicts."""

from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from surefoot.cli._claims import verdict_lines, verdict_table
from surefoot.core import Claim, verdict_below

Verb = Callable[..., Any]
STUDY = Path(__file__).with_name("gate_study.py")


@pytest.fixture
def check(surefoot: Verb) -> Verb:
    """`surefoot check` of a study whose claims end as it is told."""

    def call(statuses: str, *words: object) -> int:
        return surefoot("check", STUDY, "-o", f"statuses={statuses}", *words).code

    return call


@pytest.mark.parametrize(
    ("statuses", "code", "strict"),
    [
        ("supported supported", 0, 0),
        ("supported undecided", 0, 1),
        ("supported contradicted", 1, 1),
        ("contradicted imprecise", 2, 2),
        ("contradicted unmeasured", 2, 2),
        ("contradicted broken", 2, 2),
        ("", 2, 2),
    ],
)
def test_what_cannot_be_judged_comes_before_what_is_contradicted(
    check: Verb, statuses: str, code: int, strict: int
) -> None:
    made = (statuses, "-o", "steps=1", "--run", "--pool", "here")
    assert (check(*made), check(*made, "--strict")) == (code, strict)


def test_a_study_without_steps_has_nothing_to_judge(check: Verb, tmp_path: Path) -> None:
    assert check("supported", "--junit", "gate.xml") == 2
    suite = ElementTree.parse(tmp_path / "gate.xml").getroot()[0]
    assert suite.get("errors") == "1"


@pytest.mark.parametrize("strict", [False, True])
def test_junit_is_xml_whatever_a_claim_says_and_counts_as_the_gate_does(
    check: Verb, tmp_path: Path, strict: bool
) -> None:
    claims = ("supported contradicted undecided imprecise broken", "-o", 'sentence=A \x1b[2J <b> & \ufffe "')
    check(*claims, "-o", "steps=3", "--junit", "new/gate.xml", *(["--strict"] if strict else []))
    suite = ElementTree.parse(tmp_path / "new" / "gate.xml").getroot()[0]
    counts = [suite.get(name) for name in ("tests", "failures", "errors", "skipped")]
    assert counts == (["6", "2", "3", "0"] if strict else ["6", "1", "3", "1"])
    said = {child.get("message", "") for case in suite for child in case}
    assert 'contradicted: A \ufffd[2J <b> & \ufffd "' in said
    assert "3 Steps are not in the store." in said


def test_what_is_there_is_judged_in_part_only_where_something_is(surefoot: Verb, check: Verb, tmp_path: Path) -> None:
    asked = ("supported", "-o", "steps=3", "--partial", "--junit", "gate.xml")

    def errors() -> str | None:
        return ElementTree.parse(tmp_path / "gate.xml").getroot()[0].get("errors")

    assert (check(*asked), errors()) == (2, "1")
    surefoot("run", STUDY, "-o", "steps=1", "--pool", "here")
    assert (check(*asked), errors()) == (0, "0")
    assert check("supported", "-o", "steps=3") == 2


def test_a_pipe_gets_fractions_and_is_told_so() -> None:
    claim = Claim(name="fall", sentence="It falls.", check=lambda results: verdict)
    verdict = verdict_below(-0.05, -0.08, -0.02, 9, bound=-0.01, unit="points")
    (row,) = verdict_table([(claim, verdict)]).records()
    assert verdict_lines([(claim, verdict)]) == "✓ supported: It falls. −5.0 points [−8.0 to −2.0], n = 9\n"
    assert [row[name] for name in ("effect", "low", "high", "bound", "unit")] == [
        -0.05, -0.08, -0.02, -0.01, "difference of shares",
    ]  # fmt: skip
