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


@dataclass(frozen=True, kw_only=True)
class Defect:
    """A planted fault: what it does, and what would expose it."""

    name: str
    says: str
    exposed_by: str
    read: Callable[[Evidence], Evidence] = lambda evidence: evidence
    combine: Callable[[ByLocus, Evidence], ByLocus] = lambda likelihoods, evidence: likelihoods
    logarithm: Callable[[float, int], float] = lambda value, seed: value


def defective_ratio(name: str, evidence: Evidence, seed: int = 0) -> Output:
    """What the genotyping system answers with the defect of that name. Its report is that of the sound one."""
    if name not in DEFECTS:
        raise SurefootError(f"There is no planted defect '{name}'. Known: {', '.join(DEFECTS)}.")
    defect = DEFECTS[name]
    output = report(evidence, defect.combine(by_locus(defect.read(evidence)), evidence))
    value = defect.logarithm(float(str(output["log10_lr"])), seed)
    return {**output, "log10_lr": value, "lr": 10 ** min(value, 300.0)}


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

    return {
        **evidence,
        "suspect": changed(evidence["suspect"]),
        "known": [changed(one) for one in evidence.get("known", ())],
        "replicates": [changed(one) for one in evidence["replicates"]],
    }


_OTHERS = {
    **{"synthetic": "synthetic-b", "synthetic-b": "synthetic", "SGMPlus_UK": "SGMPlus_Norway"},
    **{"SGMPlus_Norway": "SGMPlus_UK", "NGM_Holland": "SGMPlus_Norway"},
    **{"Identifiler_Caucasian": "Identifiler_NIST", "Identifiler_NIST": "Identifiler_Caucasian"},
}


def _elsewhere(evidence: Evidence) -> Evidence:
    """The frequencies of another population than the report says, as far as it has the loci."""
    other = population(_OTHERS.get(evidence["population"], evidence["population"]))
    kept = {name: pair for name, pair in evidence["suspect"].items() if name in other.loci}
    return {**evidence, "population": other.name, "suspect": kept}


DEFECTS: Mapping[str, Defect] = {
    one.name: one
    for one in (
        Defect(
            name="common locus dropped",
            says="A locus is left out without a word where the frequencies of the alleles seen sum to .97 or more "
            "(as in the FST program of New York, unsealed in 2017).",
            exposed_by="a suspect made to lack the stain's alleles at one locus must lose; three persons, not two",
            combine=lambda likelihoods, evidence: {
                name: pair for name, pair in likelihoods.items() if seen_frequency(evidence, name) < 0.97
            },
        ),
        Defect(
            name="swallowed locus",
            says="A locus at which the suspect is excluded raises an error that is caught, and is left out.",
            exposed_by="false inclusions without drop-out and drop-in",
            combine=lambda likelihoods, evidence: {n: pair for n, pair in likelihoods.items() if pair[0] > -inf},
        ),
        Defect(
            name="unit ignored",
            says="Amounts in nanograms are read as picograms.",
            exposed_by="the same amounts in another unit",
            read=lambda evidence: {**evidence, "unit": "pg"},
        ),
        Defect(
            name="contributors counted",
            says="The stated number of contributors is replaced by the least that explains the most alleles.",
            exposed_by="the second version; mixtures whose contributors share alleles",
            read=_counted,
        ),
        Defect(
            name="population swapped",
            says="The frequencies are those of another population than the report says.",
            exposed_by="one person without drop-out: 1 / 2pq by hand",
            read=_elsewhere,
        ),
        Defect(
            name="seed leaks",
            says="Unknown persons are drawn at random and too few: the ratio moves with the seed.",
            exposed_by="the same question twice with another seed",
            logarithm=lambda value, seed: value + float(np.random.default_rng(seed).normal(0, 0.05)),
        ),
        Defect(
            name="decimal mark",
            says="Alleles such as 9.3 are read up to the decimal mark, as under a locale with a comma.",
            exposed_by="profiles with intermediate alleles",
            read=lambda evidence: _alleles(evidence, lambda allele: allele.split(".")[0]),
        ),
        Defect(
            name="extrapolated drop-out",
            says="Drop-out is a straight line through 60 and 200 picograms, used at any amount.",
            exposed_by="amounts outside of that range; the second version",
            read=_on_a_line,
        ),
        Defect(
            name="drop-out squared",
            says="Each copy drops out with the square of its probability.",
            exposed_by="small amounts: true contributors with lost alleles are held against",
            read=lambda evidence: _stated(evidence, [one**2 for one in dropouts(evidence)]),
        ),
        Defect(
            name="no least frequency",
            says="An allele that the table lacks has frequency one in a billion.",
            exposed_by="rare alleles: the mean ratio of those who did not contribute",
            read=lambda evidence: {**evidence, "least_frequency": 1e-9},
        ),
        Defect(
            name="first replicate alone",
            says="All replicates but the first are left out.",
            exposed_by="the order of the replicates",
            read=lambda evidence: {**evidence, "replicates": list(evidence["replicates"])[:1]},
        ),
        Defect(
            name="coancestry ignored",
            says="The stated FST is not used.",
            exposed_by="one person without drop-out: Balding and Nichols by hand",
            read=lambda evidence: {**evidence, "fst": 0.0},
        ),
        Defect(
            name="known contributor forgotten",
            says="A known contributor is printed in both propositions and counted as an unknown person.",
            exposed_by="the second version where somebody is known; its text is the same",
            read=lambda evidence: {**evidence, "known": []},
        ),
        Defect(
            name="natural logarithm",
            says="The logarithm printed as log10 is the natural one.",
            exposed_by="one person without drop-out; more than one in t above t",
            logarithm=lambda value, seed: value * log(10),
        ),
    )
}
"""All planted defects by name."""
