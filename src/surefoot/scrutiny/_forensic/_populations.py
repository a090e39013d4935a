"""Allele frequencies of a population: those of a table, or drawn where no table is at hand."""

import csv
import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from surefoot.core import SurefootError

LEAST_FREQUENCY = 0.002
"""An allele that the table has not seen, or hardly ever, is given this frequency."""
SYNTHETIC = ("synthetic", "synthetic-b")
"""Drawn populations of twelve loci, .03 apart by Wright's index: they need no table."""


@dataclass(frozen=True)
class Population:
    """Allele frequencies by locus; those of a locus sum to one."""

    name: str
    loci: Mapping[str, Mapping[str, float]]

    def frequency(self, locus: str, allele: str, *, least: float = LEAST_FREQUENCY) -> float:
        """The frequency of an allele, at least `least`."""
        return max(self.of(locus).get(allele, 0.0), least)

    def of(self, locus: str) -> Mapping[str, float]:
        """The frequencies of one locus. Raises when the table lacks it."""
        if locus not in self.loci:
            raise SurefootError(f"The population {self.name} has no locus '{locus}': it has {', '.join(self.loci)}.")
        return self.loci[locus]


def published(*parts: str) -> Path:
    """A file of published forensic data in `SUREFOOT_DATA`/scrutiny. Raises when it is not there."""
    folder = Path(os.environ.get("SUREFOOT_DATA", "")) / "scrutiny"
    if not os.environ.get("SUREFOOT_DATA") or not folder.is_dir():
        raise SurefootError("Forensic data are read from SUREFOOT_DATA: set it to the folder that holds 'scrutiny'.")
    if not (path := folder.joinpath(*parts)).is_file():
        raise SurefootError(f"There is no file of published data {path}.")
    return path


@lru_cache(maxsize=16)
def population(name: str) -> Population:
    """A population by name: one of `SYNTHETIC`, a table of the published ones ("NGM_Holland"), or a CSV file.

    A table has a column `Allele` and one for each locus, separated by commas or semicolons. Raises for another name.
    """
    if name in SYNTHETIC:
        return _drawn(name)
    own = Path(name)
    path = (
        own if name.endswith(".csv") and own.is_file() else published("frequencies", name.removesuffix(".csv") + ".csv")
    )
    text = path.read_text(encoding="utf-8-sig")
    rows = list(csv.DictReader(text.splitlines(), delimiter=";" if ";" in text.split("\n", 1)[0] else ","))
    return Population(name, {n: _frequencies(path, n, rows) for n in (rows[0] if rows else {}) if n != "Allele"})


def _frequencies(path: Path, locus: str, rows: list[dict[str, str]]) -> dict[str, float]:
    try:
        found = {row["Allele"].strip(): float(row[locus]) for row in rows if (row[locus] or "").strip()}
    except (KeyError, ValueError) as error:
        raise SurefootError(f"{path}, column {locus}: no column Allele, or no number with a decimal point.") from error
    total = sum(found.values())
    if not 0.98 < total < 1.02 or min(found.values()) < 0:
        raise SurefootError(f"{path}, column {locus}: frequencies must be at least 0 and sum to one, not {total:.4g}.")
    return {allele: value / total for allele, value in found.items() if value > 0}


def _drawn(name: str) -> Population:
    """Both populations drift from one set of ancestors: a Dirichlet distribution about it (Balding and Nichols)."""
    ancestors, drift = np.random.default_rng(1), np.random.default_rng(2 + SYNTHETIC.index(name))
    spread = (1 - 0.03) / 0.03
    loci = {}
    for locus in range(12):
        alleles = [f"{8 + place}{'.3' if locus % 3 == 0 and place == 1 else ''}" for place in range(7 + locus % 6)]
        base = ancestors.dirichlet(np.full(len(alleles), 1.2)) + 0.002
        found = drift.dirichlet(spread * base / base.sum()) + 0.001
        loci[f"L{locus + 1}"] = dict(zip(alleles, (found / found.sum()).tolist(), strict=True))
    return Population(name=name, loci=loci)
