"""The store: a directory of immutable artifacts, one for each Step that was made."""

import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from surefoot.core._errors import SurefootError
from surefoot.core._measurement import Measurement, load_measurements
from surefoot.core._step import KEY_LENGTH, Spec, Step

STEP, MEASUREMENTS, PROVENANCE, EXAMPLES = (
    "step.json",
    "measurements.json",
    "provenance.json",
    "examples.parquet",
)


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
        """Every published artifact by its key: one listing a kind, whatever the number of artifacts."""
        return {path.name: path for path in self._entries() if len(path.name) == KEY_LENGTH}

    def failures(self) -> dict[str, Path]:
        """The record of every Step whose last try failed, by its key."""
        return {path.name[:KEY_LENGTH]: path for path in self._entries() if path.name.endswith(".failed.json")}

    def leftovers(self) -> list[Path]:
        """Unfinished work, checkpoints, leases and failure records: everything that is not an artifact."""
        return [path for path in self._entries() if "." in path.name and not path.name.startswith(".")]

    def measurements(self, step: Step) -> tuple[Measurement, ...]:
        """What a Step measured. Raises when it was not made."""
        return load_measurements(self._read(step, MEASUREMENTS))

    def provenance(self, step: Step) -> dict[str, Any]:
        """Versions, machine, times and file digests of the run that made a Step. Raises when it was not made."""
        return json.loads(self._read(step, PROVENANCE))

    def find(self, prefix: str) -> Path:
        """The artifact whose key begins with `prefix`. Raises when there is none, or more than one."""
        found = sorted(path for key, path in self.made().items() if key.startswith(prefix)) if prefix else []
        if len(found) != 1:
            known = "no artifact" if not found else f"{len(found)} artifacts"
            raise SurefootError(f"The store {self.root} has {known} whose key begins with '{prefix}'.")
        return found[0]

    def remove(self, step_path: Path) -> None:
        """Delete one artifact: renamed first, so that a half-deleted one is never seen."""
        grave = step_path.with_name(f"{step_path.name}.deleted.part")
        step_path.rename(grave)
        shutil.rmtree(grave)

    def _read(self, step: Step, name: str) -> str:
        try:
            return (self.path(step) / name).read_text(encoding="utf-8")
        except FileNotFoundError as error:
            raise SurefootError(
                f"{step.kind} {step.key} is not in the store {self.root}: run it first (surefoot run STUDY)."
            ) from error

    def _entries(self) -> Iterator[Path]:
        if not self.root.is_dir():
            return
        for kind in os.scandir(self.root):
            if kind.is_dir() and not kind.name.startswith("."):
                with os.scandir(kind.path) as entries:
                    yield from (Path(entry.path) for entry in entries)


@dataclass(frozen=True)
class Inputs:
    """What a Step may read while it is made: the finished artifacts of the Steps that it holds."""

    store: Store

    def __getitem__(self, step: Step) -> Path:
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
        return json.loads((self.path / STEP).read_text(encoding="utf-8"))

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
        return load_measurements((self.path / MEASUREMENTS).read_text(encoding="utf-8"))

    @property
    def provenance(self) -> dict[str, Any]:
        """Versions, machine, times and file digests of the run that made it."""
        return json.loads((self.path / PROVENANCE).read_text(encoding="utf-8"))
