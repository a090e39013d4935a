"""A fair representation of a design as a stage of its own: learned once, for every learner that is fitted on it."""

import json
import time
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import numpy as np

from surefoot.core import Inputs, Measurement, Step
from surefoot.tabular._tables._design import PARTS, Design, OpenedDesign, open_design


@dataclass(frozen=True, kw_only=True)
class FairTable(Step):
    """The rows of a design as mixtures of prototypes that predict the label and tell the groups apart less.

    `label` and `parity` weigh the two aims against each other (Zemel et al., Learning Fair Representations, ICML 2013).
    It keeps the rows of each part, and the loss with its CPU seconds.
    """

    requires: ClassVar[tuple[str, ...]] = ("scipy",)

    design: Design
    label: float
    parity: float
    prototypes: int = 10
    seed: int = 0

    def make(self, out: Path, inputs: Inputs) -> Iterable[Measurement]:
        """Learn the prototypes on the training rows, and write every part; measures the loss."""
        from surefoot.tabular._learners._representation import fit_representation, transform

        begun = time.process_time()
        parts = open_design(inputs[self.design])
        rows = parts.train
        weights = {"label": self.label, "parity": self.parity, "prototypes": self.prototypes, "seed": self.seed}
        fitted = fit_representation(rows.x, rows.y, rows.g, **weights)
        for name in PARTS:
            np.save(out / f"{name}_x.npy", transform(fitted, getattr(parts, name).x))
        said = {"loss": fitted.loss, "iterations": fitted.iterations, "cpu_seconds": time.process_time() - begun}
        (out / "representation.json").write_text(json.dumps(said), encoding="utf-8")
        return [Measurement(metric="representation_loss", value=fitted.loss, n=len(rows.y))]


def represented(path: Path, parts: OpenedDesign) -> tuple[OpenedDesign, float]:
    """The parts of a design with the rows that a FairTable wrote in place of theirs, and its CPU seconds."""
    seconds = json.loads((path / "representation.json").read_text(encoding="utf-8"))["cpu_seconds"]
    changed = {name: replace(getattr(parts, name), x=np.load(path / f"{name}_x.npy", mmap_mode="r")) for name in PARTS}
    return replace(parts, **changed), float(seconds)
