"""Verdicts as people, pipes and CI servers read them, and the exit code that they give."""

import re
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING
from xml.etree import ElementTree

from surefoot.cli._common import Exit
from surefoot.cli._output import say
from surefoot.core import Claim, Status, Study, SurefootError, Table, Verdict, write_text

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

Decided = list[tuple[Claim, Verdict]]
MARKS: dict[Status, str] = {
    "supported": "✓",
    "contradicted": "✗",
    "undecided": "?",
    "imprecise": "?",
    "unmeasured": "-",
    "broken": "!",
}
_UNITS = {"points": "difference of shares"}  # points are what people read
_NOT_IN_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def verdict_lines(decided: Decided) -> str:
    from surefoot.report import effect_text, interval_text

    lines = []
    for claim, verdict in decided:
        effect = "" if verdict.effect is None else f" {effect_text(verdict)}"
        interval = f" [{shown}], n = {verdict.n:,}" if (shown := interval_text(verdict)) else ""
        lines += [f"{MARKS[verdict.status]} {verdict.status}: {claim.sentence}{effect}{interval}"]
        lines += [f"    {verdict.detail}"] if verdict.detail else []
    return "".join(f"{line}\n" for line in lines)


def verdict_table(decided: Decided) -> Table:
    """For pipes, with all digits: shares and their differences as fractions, which `unit` says."""
    columns = ("claim", "verdict", "effect", "low", "high", "bound", "unit", "n", "sentence", "detail", "source")
    rows = (
        (
            claim.name, verdict.status, verdict.effect, verdict.low, verdict.high,
            *((None, "") if verdict.effect is None else (verdict.bound, _UNITS.get(verdict.unit, verdict.unit))),
            verdict.n, claim.sentence, verdict.detail, claim.source,
        )
        for claim, verdict in decided
    )  # fmt: skip
    return Table(columns, tuple(rows))


def exit_code(decided: Decided, *, strict: bool) -> Exit:
    """The code of a gate: what could not be judged comes before what is contradicted."""
    found = {verdict.status for _, verdict in decided}
    if not decided or found & {"imprecise", "unmeasured", "broken"}:
        return Exit.UNJUDGED
    return Exit.CONTRADICTED if found & {"contradicted", *(["undecided"] if strict else [])} else Exit.HOLDS


def say_why(decided: Decided, code: Exit, *, strict: bool) -> None:
    """Say on standard error what kept the gate from being green, or how little a green one says."""
    counts = Counter(verdict.status for _, verdict in decided)
    bad = [f"{counts[status]} {status}" for status in MARKS if status != "supported" and counts[status]]
    if not decided:
        say("surefoot: The study has no claims: there is nothing to judge.")
    elif bad:
        hint = "; --strict fails on what is undecided" if counts["undecided"] and not strict and not code else ""
        say(f"surefoot: Of {len(decided)} claims: {', '.join(bad)}{hint}.")


def write_junit(path: Path, study: Study, decided: Decided, unjudged: str, *, strict: bool) -> None:
    """JUnit XML: a case a claim, one for what keeps all from being judged. What cannot be judged is an error."""
    cases = [_case(study, "steps", "error", unjudged)] if unjudged else []
    for claim, verdict in decided:
        outcome = {"supported": "", "contradicted": "failure", "undecided": "failure" if strict else "skipped"}
        text = f"{claim.sentence} {verdict.detail}".strip()
        cases.append(_case(study, claim.name, outcome.get(verdict.status, "error"), f"{verdict.status}: {text}"))
    counts = Counter(child.tag for case in cases for child in case)
    kinds = {
        name: str(counts[tag]) for name, tag in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped"))
    }
    suite = ElementTree.Element("testsuite", {"name": study.name, "tests": str(len(cases)), **kinds})
    suite.extend(cases)
    root = ElementTree.Element("testsuites")
    root.append(suite)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, ElementTree.tostring(root, encoding="unicode", xml_declaration=True))
    except OSError as error:
        raise SurefootError(f"The file {path} cannot be written: {error.strerror}.") from error


def _case(study: Study, name: str, outcome: str, text: str) -> "Element":
    case = ElementTree.Element("testcase", {"classname": f"surefoot.{study.name}", "name": name})
    if outcome:
        ElementTree.SubElement(case, outcome, {"message": _NOT_IN_XML.sub("\ufffd", text)})
    return case
