"""The store: a directory of immutable artifacts, one for each Step that was made."""

import json
import os
import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from surefoot.core._errors import SurefootError
from surefoot.core._files import remove_tree
from surefoot.core._measurement import Measurement, load_measurements
from surefoot.core._step import KEY_LENGTH, Spec, Step

STEP, MEASUREMENTS, PROVENANCE, EXAMPLES = (
    "step.json",
    "measurements.json",
    "provenance.json",
    "examples.parquet",
)
RUNS = ".runs"  # what the Steps of the runs going on are, in one file a run
_IS_KEY = re.compile(f"[0-9a-f]{{{KEY_LENGTH}}}").fullmatch


@dataclass(frozen=True)
class Store:
    """A directory of artifacts: `<kind>/<key>/` holds step.json, measurements.json, provenance.json and the files.

    Beside a finished directory may lie `<key>.lease` (someone is making it), `<key>.failed.json` (it failed)
    and `<key>.part` (unfinished work and checkpoints, never read as a result).
    """

    root: Path

    def path(self, step: Step) -> Path:
        """Where the artifact of a Step lies, or would lie."""
        return self.root / step.kind / step.key

    def has(self, step: Step) -> bool:
        """Whether the Step was made and published."""
        return (self.path(step) / STEP).is_file()

    def made(self) -> dict[str, Path]:
        """Every published artifact by its key."""
        return {key: Path(path) for key, (path, _) in self.stamps().items()}

    def stamps(self) -> dict[str, tuple[str, int]]:
        """The path of every published artifact and when it was made (nanoseconds), by key.

        Another stamp is another artifact. Plain text: paths as objects would take most of the time of a question.
        """
        found = {}
        for kind in self._kinds():
            for key in filter(_IS_KEY, os.listdir(kind)):  # noqa: PTH208
                with suppress(FileNotFoundError, NotADirectoryError):
                    found[key] = f"{kind}/{key}", os.stat(f"{kind}/{key}/{STEP}").st_mtime_ns  # noqa: PTH116
        return found

    def failures(self) -> dict[str, Path]:
        """The record of every Step whose last try failed, by its key."""
        ended = ((path, path.name.partition(".")) for path in self._entries())
        return {key: path for path, (key, _, rest) in ended if rest == "failed.json"}

    def leftovers(self) -> list[Path]:
        """Unfinished work, checkpoints, leases and failure records: everything that is not an artifact."""
        return [path for path in self._entries() if "." in path.name and not path.name.startswith(".")]

    def measurements(self, step: Step) -> tuple[Measurement, ...]:
        """What a Step measured. Raises when it was not made."""
        return self.artifact(step).measurements

    def provenance(self, step: Step) -> dict[str, Any]:
        """Versions, machine, times and file digests of the run that made a Step. Raises when it was not made."""
        return self.artifact(step).provenance

    def find(self, prefix: str) -> Path:
        """The artifact whose key begins with `prefix`. Raises when there is none, or more than one."""
        found = sorted(path for key, path in self.made().items() if key.startswith(prefix)) if prefix else []
        if len(found) != 1:
            known = "no artifact" if not found else f"{len(found)} artifacts"
            raise SurefootError(f"The store {self.root} has {known} whose key begins with '{prefix}'.")
        return found[0]

    def remove(self, step_path: Path) -> None:
        """Delete one artifact: renamed first, so that a half-deleted one is never seen."""
        remove_tree(step_path)

    def artifact(self, step: Step) -> "Artifact":
        """What a Step made. Raises when it was not made."""
        if not self.has(step):
            raise SurefootError(
                f"{step.kind} {step.key} is not in the store {self.root}: run it first (surefoot run STUDY)."
            )
        return Artifact(self.path(step))

    def _entries(self) -> Iterator[Path]:
        for kind in [*self._kinds(), self.root / RUNS]:
            yield from kind.iterdir() if kind.is_dir() else ()

    def _kinds(self) -> list[Path]:
        here = self.root.iterdir() if self.root.is_dir() else ()
        return [kind for kind in here if not kind.name.startswith(".") and kind.is_dir()]


@dataclass(frozen=True)
class Inputs:
    """What a Step may read while it is made: the finished artifacts of the Steps that it holds."""

    store: Store

    def __getitem__(self, step: Step) -> Path:
        if not self.store.has(step):
            raise SurefootError(f"{step.kind} {step.key} was not made: a Step may read only Steps that it holds.")
        return self.store.path(step)

    def measurements(self, step: Step) -> tuple[Measurement, ...]:
        """What a held Step measured."""
        return self.store.measurements(step)


@dataclass(frozen=True)
class Artifact:
    """A published directory, read as plain data: it needs none of the code that made it."""

    path: Path

    @cached_property
    def spec(self) -> Spec:
        """The described Step and all Steps below it."""
        return read_file(self.path / STEP)

    @property
    def key(self) -> str:
        """The key of the Step."""
        return self.path.name

    @property
    def kind(self) -> str:
        """The qualified public name of the Step's class."""
        return self.path.parent.name

    @property
    def measurements(self) -> tuple[Measurement, ...]:
        """What the Step measured."""
        return read_file(self.path / MEASUREMENTS, load_measurements)

    @property
    def provenance(self) -> dict[str, Any]:
        """Versions, machine, times and file digests of the run that made it."""
        return read_file(self.path / PROVENANCE)


def read_file(path: Path, parse: Callable[[str], Any] = json.loads) -> Any:
    """The content of a file that the store wrote. Raises `SurefootError` that names the file when it is damaged."""
    try:
        return parse(path.read_text(encoding="utf-8"))
    except (ValueError, TypeError) as error:
        raise SurefootError(f"{path} is damaged ({error}): delete its directory and run again.") from error
