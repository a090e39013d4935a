"""The gate by itself: the exit code of verdicts, and what a CI server reads of them."""

from pathlib import Path
from xml.etree import ElementTree

import pytest

from surefoot.cli._claims import exit_code, write_junit
from surefoot.core import Claim, Status, Study, Verdict

STUDY = Study(name="s", title="", summary="", steps=())


def decided(*statuses: Status, sentence: str = "It rises.") -> list[tuple[Claim, Verdict]]:
    verdicts = [Verdict(status=status) for status in statuses]
    return [(Claim(name="c", sentence=sentence, check=lambda _, one=one: one), one) for one in verdicts]


@pytest.mark.parametrize(
    ("statuses", "code", "strict"),
    [
        (("supported", "supported"), 0, 0),
        (("supported", "undecided"), 0, 1),
        (("supported", "contradicted"), 1, 1),
        (("contradicted", "imprecise"), 2, 2),
        (("contradicted", "unmeasured"), 2, 2),
        (("contradicted", "broken"), 2, 2),
        ((), 2, 2),
    ],
)
def test_what_cannot_be_judged_comes_before_what_is_contradicted(
    statuses: tuple[Status, ...], code: int, strict: int
) -> None:
    assert (exit_code(decided(*statuses), strict=False), exit_code(decided(*statuses), strict=True)) == (code, strict)


@pytest.mark.parametrize("strict", [False, True])
def test_junit_is_xml_whatever_a_claim_says_and_counts_as_the_gate_does(tmp_path: Path, strict: bool) -> None:
    found = decided(
        "supported", "contradicted", "undecided", "imprecise", "broken", sentence='A \x1b[2J <b> & \ufffe "'
    )
    write_junit(tmp_path / "new" / "gate.xml", STUDY, found, 3, strict=strict)
    suite = ElementTree.parse(tmp_path / "new" / "gate.xml").getroot()[0]
    counts = [suite.get(name) for name in ("tests", "failures", "errors", "skipped")]
    assert counts == (["6", "2", "3", "0"] if strict else ["6", "1", "3", "1"])
    said = {child.get("message", "") for case in suite for child in case}
    assert 'contradicted: A \ufffd[2J <b> & \ufffd "' in said
    assert "3 Steps are not in the store." in said
