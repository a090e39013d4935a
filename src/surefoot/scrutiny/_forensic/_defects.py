"""Faults planted in the genotyping system, each of a kind that was found in real software or is easily made.

A defect changes the evidence as it is read, the likelihoods between the loci and their product, or what is printed.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import inf, log
from typing import Any

import numpy as np

from surefoot.core import SurefootError
from surefoot.scrutiny._forensic._genotyping import (
    HALF_LOST,
    STEEPNESS,
    ByLocus,
    Evidence,
    by_locus,
    dropout_of,
    dropouts,
    report,
)
from surefoot.scrutiny._forensic._populations import population

Output = dict[str, object]


@dataclass(frozen=True)
class Defect:
    """A planted fault: what it does, and what would expose it."""

    says: str
    exposed_by: str
    read: Callable[[Evidence], Evidence] = lambda evidence: evidence
    combine: Callable[[ByLocus, Evidence], ByLocus] = lambda found, evidence: found
    logarithm: Callable[[float, int], float] = lambda value, seed: value
    both: bool = True
    """Whether the ratio moves with its logarithm."""


def defective_ratio(name: str, evidence: Evidence, seed: int = 0) -> Output:
    """What the genotyping system answers with the defect of that name. Its report is that of the sound one."""
    if name not in DEFECTS:
        raise SurefootError(f"There is no planted defect '{name}'. Known: {', '.join(DEFECTS)}.")
    defect = DEFECTS[name]
    output = report(evidence, defect.combine(by_locus(defect.read(evidence)), evidence))
    value = defect.logarithm(float(str(output["log10_lr"])), seed)
    return {**output, "log10_lr": value, **({"lr": 10 ** min(value, 300.0)} if defect.both else {})}


def seen_frequency(evidence: Evidence, locus: str) -> float:
    """The frequencies of the alleles seen at a locus, in any replicate, summed."""
    people = population(evidence["population"])
    seen = {allele for replicate in evidence["replicates"] for allele in replicate.get(locus, ())}
    return sum(people.of(locus).get(allele, 0.0) for allele in seen)


def _counted(evidence: Evidence) -> Evidence:
    """The number of contributors by the most alleles at a locus, in place of the stated one."""
    most = max(len(found) for replicate in evidence["replicates"] for found in replicate.values())
    several = max(1, len(evidence.get("known", ())) + 1, -(-most // 2))
    lost = dropouts(evidence)
    return _stated(evidence, (lost + [lost[-1]] * several)[:several], contributors=several)


def _stated(evidence: Evidence, dropout: list[float], **changed: object) -> Evidence:
    kept = {name: value for name, value in evidence.items() if name not in ("amounts", "unit")}
    return {**kept, "dropout": dropout, **changed}


def _on_a_line(evidence: Evidence) -> Evidence:
    """Drop-out as a straight line through its values at 60 and 200 picograms, however far that is."""
    near, far = dropout_of(60), dropout_of(200)
    amounts = [HALF_LOST * (1 / max(one, 1e-9) - 1) ** (1 / STEEPNESS) for one in dropouts(evidence)]
    line = [near + (one - 60) * (far - near) / 140 for one in amounts]
    return _stated(evidence, [min(max(one, 0.001), 0.95) for one in line])


def _alleles(evidence: Evidence, change: Callable[[str], str]) -> Evidence:
    def changed(profile: Mapping[str, Any]) -> dict[str, list[str]]:
        return {name: [change(allele) for allele in found] for name, found in profile.items()}

    lists = {name: [changed(one) for one in evidence.get(name, ())] for name in ("known", "replicates")}
    return {**evidence, "suspect": changed(evidence["suspect"]), **lists}


_OTHERS = {"synthetic-b": "synthetic", "SGMPlus_UK": "SGMPlus_Norway", "SGMPlus_Norway": "SGMPlus_UK"}


DEFECTS: Mapping[str, Defect] = {
    "common locus dropped": Defect(
        "A locus is left out without a word where the frequencies of the alleles seen sum to .97 or more (as in New "
        "York's program FST, whose code was unsealed in 2017).",
        "a suspect who loses a match must lose; three persons, not two",
        combine=lambda found, evidence: {n: one for n, one in found.items() if seen_frequency(evidence, n) < 0.97},
    ),
    "swallowed locus": Defect(
        "A locus at which the suspect is excluded raises an error that is caught, and is left out.",
        "one person without drop-in, and a suspect who is another",
        combine=lambda found, evidence: {name: one for name, one in found.items() if one[0] > -inf},
    ),
    "unit ignored": Defect(
        "Amounts in nanograms are read as picograms.",
        "the same amounts in another unit",
        read=lambda evidence: {**evidence, "unit": "pg"},
    ),
    "contributors counted": Defect(
        "The stated number of contributors is replaced by the least that explains the most alleles.",
        "a second version, where contributors share alleles",
        read=_counted,
    ),
    "population swapped": Defect(
        "The frequencies are those of another population than the report says.",
        "one person without drop-out: Balding and Nichols by hand",
        read=lambda evidence: {**evidence, "population": _OTHERS.get(evidence["population"], "synthetic-b")},
    ),
    "seed leaks": Defect(
        "Unknown persons are drawn at random and too few: the ratio moves with the seed.",
        "the same question with another seed",
        logarithm=lambda value, seed: value + float(np.random.default_rng(seed).normal(0, 0.05)),
    ),
    "decimal mark": Defect(
        "Alleles such as 9.3 are read up to the decimal mark, as under a locale with a comma.",
        "intermediate alleles: Balding and Nichols by hand",
        read=lambda evidence: _alleles(evidence, lambda allele: allele.split(".")[0]),
    ),
    "extrapolated drop-out": Defect(
        "Drop-out is a straight line through 60 and 200 picograms, used at any amount.",
        "a second version; amounts outside of that range",
        read=_on_a_line,
    ),
    "drop-out squared": Defect(
        "Each copy drops out with the square of its probability.",
        "a second version; small amounts",
        read=lambda evidence: _stated(evidence, [one**2 for one in dropouts(evidence)]),
    ),
    "no least frequency": Defect(
        "An allele that the table lacks has frequency one in a billion.",
        "an allele that nobody has: Balding and Nichols by hand",
        read=lambda evidence: {**evidence, "least_frequency": 1e-9},
    ),
    "first replicate alone": Defect(
        "All replicates but the first are left out.",
        "the order of the replicates",
        read=lambda evidence: {**evidence, "replicates": list(evidence["replicates"])[:1]},
    ),
    "coancestry ignored": Defect(
        "The stated FST is not used.",
        "one person without drop-out: Balding and Nichols by hand",
        read=lambda evidence: {**evidence, "fst": 0.0},
    ),
    "known contributor forgotten": Defect(
        "A known contributor is printed in both propositions and counted as an unknown person.",
        "a second version, where somebody is known; its text is the same",
        read=lambda evidence: {**evidence, "known": []},
    ),
    "natural logarithm": Defect(
        "The logarithm printed as log10 is the natural one.",
        "the ratio and its logarithm, side by side",
        logarithm=lambda value, seed: value * log(10),
        both=False,
    ),
}
"""All planted defects by name."""
