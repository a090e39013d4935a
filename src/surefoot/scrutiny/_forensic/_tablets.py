"""Tablets: whether two come from one batch, by diameter, thickness, weight and purity (a published benchmark)."""

import csv
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import numpy as np

from surefoot.scrutiny._forensic._glass import Floats, TwoLevel, fit_two_level, pair_of
from surefoot.scrutiny._forensic._populations import published

_MEASURED = ("Diameter", "Thickness", "Weight", "Purity")


@lru_cache(maxsize=1)
def tablets() -> tuple[TwoLevel, Floats]:
    """The two-level model of every second batch, and the first two tablets of each other one, (batches, 2, 4)."""
    batches: dict[str, list[list[float]]] = {}
    for row in csv.DictReader(published("tablets", "xtc_data.csv").read_text(encoding="utf-8").splitlines()):
        batches.setdefault(row["batchnumber"], []).append([float(row[name]) for name in _MEASURED])
    every = np.array([found[:2] for found in batches.values()])
    return fit_two_level(every[::2]), every[1::2]


def tablet_ratio(evidence: Mapping[str, Any], seed: int = 0) -> dict[str, object]:
    """The likelihood ratio of two tablets by the two-level model, with its propositions and population."""
    return {
        "log10_lr": tablets()[0].log10_ratio(evidence["recovered"], evidence["control"]),
        "prosecution": "both tablets come from one batch",
        "defence": "they come from two batches of the population",
        "population": "batches of tablets of the published benchmark",
    }


def tablet_pair(condition: Mapping[str, Any], seed: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """Two tablets of batches that no training saw, and whether they are of one batch; a condition as `glass_pair`."""
    model, batches = tablets()
    return pair_of(batches, model, condition, seed)
