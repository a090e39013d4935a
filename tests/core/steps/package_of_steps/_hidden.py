"""A private module: its name must not enter a key."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from surefoot.core import Inputs, Measurement, Step


@dataclass(frozen=True, kw_only=True)
class Open(Step):
    """Exported by the package."""

    size: int = 1

    def make(self, out: Path, inputs: Inputs) -> Iterable[Measurement]:
        return ()


@dataclass(frozen=True, kw_only=True)
class Closed(Step):
    """Not exported by the package."""

    def make(self, out: Path, inputs: Inputs) -> Iterable[Measurement]:
        return ()


@dataclass(frozen=True, kw_only=True)
class Twice(Step):
    """There is another one of this name."""

    def make(self, out: Path, inputs: Inputs) -> Iterable[Measurement]:
        return ()
