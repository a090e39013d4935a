"""A study whose claims end as its options say, over Steps that nobody makes."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from surefoot.core import Claim, Inputs, Results, Status, Step, Study, SurefootError, Verdict


@dataclass(frozen=True, kw_only=True)
class Nothing(Step):
    """Nothing, by number."""

    number: int = 0

    def make(self, out: Path, inputs: Inputs) -> tuple[()]:
        return ()


def ends_as(status: Status) -> Callable[[Results], Verdict]:
    def check(results: Results) -> Verdict:
        if status == "unmeasured":
            raise SurefootError("It was not measured.")
        if status == "broken":
            raise ValueError("A fault.")
        return Verdict(status=status, effect=1.0, n=3)  # one that rests on nothing is no verdict

    return check


def study(statuses: str = "", sentence: str = "It rises.", steps: int = 0) -> Study:
    named = enumerate(statuses.split())
    claims = tuple(Claim(name=f"c{at}", sentence=sentence, check=ends_as(one)) for at, one in named)  # type: ignore[arg-type]
    return Study(name="s", title="", summary="", steps=tuple(map(numbered, range(steps))), claims=claims)


def numbered(number: int) -> Nothing:
    return Nothing(number=number)
