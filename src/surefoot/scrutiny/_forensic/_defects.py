"""Faults planted in the genotyping system, each of a kind that was found in real software or is easily made."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import inf, log
from typing import Any

from surefoot.core import SurefootError
from surefoot.scrutiny._forensic import _genotyping as sound
from surefoot.scrutiny._forensic._genotyping import ByLocus, Evidence, dropout_of, dropouts
from surefoot.scrutiny._forensic._populations import population


@dataclass(frozen=True)
class Defect:
    """A planted fault: how it reads evidence, combines loci, and prints the logarithm."""

    read: Callable[[Evidence], Evidence] = lambda evidence: evidence
    combine: Callable[[ByLocus, Evidence], ByLocus] = lambda found, evidence: found
    logarithm: Callable[[float, int], float] = lambda value, seed: value
    both: bool = True  # whether the ratio moves with its logarithm


def defective_ratio(name: str, evidence: Evidence, seed: int = 0) -> dict[str, object]:
    """What the genotyping system answers with the defect of that name. Its report is that of the sound one."""
    if name not in DEFECTS:
        raise SurefootError(f"There is no planted defect '{name}'. Known: {', '.join(DEFECTS)}.")
    defect = DEFECTS[name]
    output = sound.report(evidence, defect.combine(sound.by_locus(defect.read(evidence)), evidence))
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
    return {**evidence, "dropout": dropout, **changed}


def _on_a_line(evidence: Evidence) -> Evidence:
    """Drop-out as a straight line through its values at 60 and 200 picograms, however far that is."""
    near, far = dropout_of(60), dropout_of(200)
    amounts = [sound.HALF_LOST * (1 / max(one, 1e-9) - 1) ** (1 / sound.STEEPNESS) for one in dropouts(evidence)]
    line = [near + (one - 60) * (far - near) / 140 for one in amounts]
    return _stated(evidence, [min(max(one, 0.001), 0.95) for one in line])


def _truncated(evidence: Evidence) -> Evidence:
    def changed(profile: Mapping[str, Any]) -> dict[str, list[str]]:
        return {name: [allele.split(".")[0] for allele in found] for name, found in profile.items()}

    lists = {name: [changed(one) for one in evidence.get(name, ())] for name in ("known", "replicates")}
    return {**evidence, "suspect": changed(evidence["suspect"]), **lists}


def _elsewhere(evidence: Evidence) -> Evidence:
    others = {"synthetic-b": "synthetic", "SGMPlus_UK": "SGMPlus_Norway", "SGMPlus_Norway": "SGMPlus_UK"}
    return {**evidence, "population": others.get(evidence["population"], "synthetic-b")}


DEFECTS: Mapping[str, Defect] = {
    # As in New York's program FST, whose code was unsealed in 2017: where alleles that are seen sum to .97.
    "common locus dropped": Defect(
        combine=lambda found, e: {n: f for n, f in found.items() if seen_frequency(e, n) < 0.97}
    ),
    "swallowed locus": Defect(combine=lambda found, e: {n: f for n, f in found.items() if f[0] > -inf}),  # excludes
    "unit ignored": Defect(lambda e: {**e, "unit": "pg"}),
    "contributors counted": Defect(_counted),
    "population swapped": Defect(_elsewhere),
    "seed leaks": Defect(logarithm=lambda x, seed: x + seed % 7 / 50),
    "decimal mark": Defect(_truncated),
    "extrapolated drop-out": Defect(_on_a_line),
    "drop-out squared": Defect(lambda e: _stated(e, [d * d for d in dropouts(e)])),
    "no least frequency": Defect(lambda e: {**e, "least_frequency": 1e-9}),
    "first replicate alone": Defect(lambda e: {**e, "replicates": e["replicates"][:1]}),
    "coancestry ignored": Defect(lambda e: {**e, "fst": 0.0}),
    "known contributor forgotten": Defect(lambda e: {**e, "known": []}),
    "natural logarithm": Defect(logarithm=lambda x, _: x * log(10), both=False),  # printed as log10
}
"""All planted defects by name."""
