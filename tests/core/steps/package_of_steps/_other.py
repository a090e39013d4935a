"""Another private module with a class of a name that is taken."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from surefoot.core import Inputs, Measurement, Step


@dataclass(frozen=True, kw_only=True)
class Twice(Step):
    """Its public name leads to another class."""

    def make(self, out: Path, inputs: Inputs) -> Iterable[Measurement]:
        return ()
