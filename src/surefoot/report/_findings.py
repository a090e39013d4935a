"""Checks on the method: what a careful reader would object to, found in the measurements and said with a code."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from surefoot.core import Claim, Figure, Observation, Step, Verdict, agreed, counted, flatten
from surefoot.report._numbers import bound_text, effect_text, ends, interval_text, number

SMALL_N = 50
_NAMED = 3


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One check that has something to say: a code to refer to, how grave it is, and the text.

    `anchor` is the id in the page of what it is about ('' when it is about the whole study).
    """

    code: str
    level: Literal["warning", "note"]
    text: str
    anchor: str = ""


def claim_findings(decided: Iterable[tuple[Claim, Verdict]]) -> Iterator[Finding]:
    """C1: not decided, by its interval or beside its fellows. C2: could not be checked. C3: no interval."""
    for claim, verdict in decided:
        anchor = f"claim-{claim.name}"
        if verdict.effect is None:
            text = f"The claim '{claim.name}' could not be checked: {verdict.detail or 'its check gave no effect'}"
            yield Finding(code="C2", level="warning", text=_sentence(text), anchor=anchor)
        elif verdict.low is None and verdict.high is None:
            text = f"The effect of the claim '{claim.name}' has no interval: how sure it is cannot be said."
            yield Finding(code="C3", level="warning", text=text, anchor=anchor)
        elif verdict.status in ("undecided", "imprecise"):
            low, high = ends(verdict)
            held = low <= verdict.bound <= high
            text = (
                f"The claim '{claim.name}' is not decided: {effect_text(verdict)}, and the interval "
                f"{interval_text(verdict)} {'holds' if held else 'leaves out'} {bound_text(verdict)}; "
                f"n = {verdict.n:,}. {'' if held else 'What speaks against a verdict is said beside the claim.'}"
            ).rstrip()
            yield Finding(code="C1", level="note", text=text, anchor=anchor)


def measurement_findings(observations: Sequence[Observation]) -> Iterator[Finding]:
    """M1: small n. M2: no interval. M3: a standard error only. An exact count (n of 1, no error) is none of these."""
    unbounded = [item for item in observations if item.measurement.low is None and item.measurement.high is None]
    bare = [item for item in unbounded if item.measurement.stderr is None]
    exact = {id(item) for item in bare if item.measurement.n <= 1}
    bare = [item for item in bare if id(item) not in exact]
    small = [item for item in observations if item.measurement.n < SMALL_N and id(item) not in exact]
    approximate = [item for item in unbounded if item.measurement.stderr is not None]
    count = len(observations)
    yield from _tally(small, count, "M1", "warning", f"rest on fewer than {SMALL_N} examples or points")
    yield from _tally(bare, count, "M2", "warning", "have no interval")
    yield from _tally(approximate, count, "M3", "note", "have a standard error only and get an interval from that")


def figure_findings(figures: Iterable[tuple[str, Figure]]) -> Iterator[Finding]:
    """F1: a fitted curve that is drawn beyond the points it was fitted to."""
    for anchor, figure in figures:
        rows = figure.table()
        points = [row for row in rows if row.get("part") == "point" and _numeric(row.get("x"))]
        fitted = [row["x"] for row in points if row.get("held_out") is not True]
        drawn = [row["x"] for row in rows if row.get("part") == "fit" and _numeric(row.get("x"))]
        if fitted and drawn and _reaches_beyond(fitted, drawn):
            yield Finding(code="F1", level="note", text=_beyond(figure, fitted, drawn), anchor=anchor)


def _reaches_beyond(fitted: Sequence[float], drawn: Sequence[float]) -> bool:
    """Beyond by more than rounding: a grid on a logit axis comes back with other last digits."""
    slack = 1e-9 * max(map(abs, fitted))
    return min(drawn) < min(fitted) - slack or max(drawn) > max(fitted) + slack


def step_findings(observations: Sequence[Observation], provenances: Sequence[dict[str, Any]]) -> Iterator[Finding]:
    """S1: nothing was repeated with another seed. S2: uncommitted code. S3: more than one commit."""
    if observations and not _repeated(observations):
        yield Finding(
            code="S1",
            level="warning",
            text="Nothing was trained or measured twice with another seed: the intervals hold the noise of the "
            "examples, not the noise of training.",
        )
    commits = {commit for record in provenances if (commit := record.get("commit"))}
    if any(commit.endswith("+changes") for commit in commits):
        text = (
            "Some Steps were made from a working directory with uncommitted changes: their code cannot be found again."
        )
        yield Finding(code="S2", level="warning", text=text)
    if len(commits) > 1:
        yield Finding(
            code="S3", level="note", text=f"The Steps were made at {len(commits)} different commits of the code."
        )


def unfinished_findings(missing: Sequence[Step], failed: Sequence[Step]) -> Iterator[Finding]:
    """R1: Steps that failed. R2: Steps that were not run."""
    if failed:
        yield Finding(
            code="R1",
            level="warning",
            text=f"{counted(len(failed), 'Step')} failed; the numbers here are without them.",
            anchor=failed[0].key,
        )
    waiting = len(missing) - len(failed)
    if waiting > 0:
        absent = f"{counted(waiting, 'Step')} of the study {agreed(waiting, 'are')} not in the store"
        text = f"{absent}; the numbers here are without them."
        yield Finding(code="R2", level="warning", text=text)


def _repeated(observations: Sequence[Observation]) -> bool:
    """Whether some replicate differs, or two Steps differ in nothing but a field named `seed`."""
    if any(item.measurement.replicate for item in observations):
        return True
    steps = {item.step.key: item.step for item in observations}
    seeds: dict[frozenset[Any], set[Any]] = {}
    for step in steps.values():
        row = flatten(step)
        other = frozenset((name, value) for name, value in row.items() if not _is_seed(name))
        seeds.setdefault(other, set()).add(tuple(value for name, value in row.items() if _is_seed(name)))
    return any(len(found) > 1 for found in seeds.values())


def _is_seed(name: str) -> bool:
    return name.rpartition(".")[2] == "seed"


def _numeric(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _beyond(figure: Figure, fitted: Sequence[float], drawn: Sequence[float]) -> str:
    sides = []
    if min(drawn) < min(fitted):
        sides.append(f"below {number(min(fitted))} down to {number(min(drawn))}")
    if max(drawn) > max(fitted):
        sides.append(f"above {number(max(fitted))} up to {number(max(drawn))}")
    return f"The curve in '{figure.title}' extrapolates beyond the data: {' and '.join(sides)}."


def _tally(
    found: Sequence[Observation], total: int, code: str, level: Literal["warning", "note"], what: str
) -> Iterator[Finding]:
    if not found:
        return
    kinds = Counter(_kind_of(item) for item in found)
    examples = ", ".join(f"{name} ({count:,})" for name, count in kinds.most_common(_NAMED))
    text = f"{len(found):,} of {counted(total, 'measurement')} {what}: {examples}"
    rest = f" and {len(kinds) - _NAMED:,} more kinds" if len(kinds) > _NAMED else ""
    yield Finding(code=code, level=level, text=f"{text}{rest}.", anchor="measurements")


def _kind_of(item: Observation) -> str:
    measured = item.measurement
    return " / ".join(text for text in (measured.metric, measured.task, measured.shift, measured.group) if text)


def _sentence(text: str) -> str:
    return text if text.endswith((".", "!", "?")) else f"{text}."
