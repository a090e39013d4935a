"""Probabilistic genotyping: how much better a stain is explained with the suspect than without."""

from collections.abc import Mapping
from math import inf
from typing import Any

from surefoot.core import SurefootError
from surefoot.scrutiny._forensic._likelihood import REST, Locus, log10_likelihoods
from surefoot.scrutiny._forensic._populations import LEAST_FREQUENCY, Population, population

Evidence = Mapping[str, Any]
"""Plain JSON values. `population`; `replicates`, each the alleles seen by locus; `suspect`, two alleles by locus; those
who are `known` likewise; `contributors`, how many in all; `dropout` of each, the suspect's first, then those of the
known, or `amounts` with `unit` "pg" or "ng"; `dropin`, `fst`, `least_frequency`."""
ByLocus = dict[str, tuple[float, float]]
"""log10 of the stain's probability with the suspect and without, by locus."""
MOST_CONTRIBUTORS = 4
HALF_LOST, STEEPNESS = 30.0, 2.0
"""Half of the alleles drop out at 30 picograms; the odds fall with the square of the amount: declared, not measured."""


def dropout_of(picograms: float) -> float:
    """The probability that one copy of an allele drops out, by the contributor's amount of DNA."""
    return 1 / (1 + (max(picograms, 0.0) / HALF_LOST) ** STEEPNESS)


def dropouts(evidence: Evidence) -> list[float]:
    """The drop-out of each contributor, as stated or by amount. Raises for an unknown unit."""
    if "dropout" in evidence:
        return [float(one) for one in evidence["dropout"]]
    unit = {"pg": 1.0, "ng": 1000.0}.get(evidence.get("unit", "pg"))
    if unit is None:
        raise SurefootError(f"Amounts are in pg or ng, not in '{evidence.get('unit')}'.")
    return [dropout_of(float(one) * unit) for one in evidence["amounts"]]


def genotype_ratio(evidence: Evidence, seed: int = 0) -> dict[str, object]:
    """The likelihood ratio of a stain, with its propositions and population; the same for every seed.

    `log10_lr` is -inf for a ratio of zero. Raises `SurefootError` where the second proposition cannot give the stain.
    """
    return report(evidence, by_locus(evidence))


def by_locus(evidence: Evidence) -> ByLocus:
    """The likelihoods of both propositions at every locus of the suspect's profile. Raises for wrong evidence."""
    suspect, known, dropout = evidence["suspect"], list(evidence.get("known", ())), _checked(evidence)
    people, least = population(evidence["population"]), float(evidence.get("least_frequency", LEAST_FREQUENCY))
    model = {"dropin": float(evidence.get("dropin", 0.0)), "fst": float(evidence.get("fst", 0.0))}
    loci = [_locus(evidence, name, people, least, model["dropin"]) for name in suspect]
    pairs = [[profile[name] for name in suspect] for profile in known]
    theirs, unknown = dropout[1 : 1 + len(known)], dropout[1 + len(known) :]
    above = log10_likelihoods(loci, [[*suspect.values()], *pairs], [dropout[0], *theirs], unknown=unknown, **model)
    below = log10_likelihoods(loci, pairs, theirs, unknown=[dropout[0], *unknown], **model)
    return dict(zip(suspect, zip(above.tolist(), below.tolist(), strict=True), strict=True))


def report(evidence: Evidence, likelihoods: ByLocus) -> dict[str, object]:
    """What is handed out: the ratio, its two propositions, the population and the assumptions of the model."""
    prosecution = sum(one for one, _ in likelihoods.values())
    defence = sum(one for _, one in likelihoods.values())
    if impossible := [name for name, (_, without) in likelihoods.items() if without == -inf]:
        raise SurefootError(
            f"No {evidence['contributors']} unknown persons can give the stain at {impossible[0]}: state more "
            "contributors, or allow drop-in and drop-out."
        )
    value = prosecution - defence
    known, several = len(evidence.get("known", ())), int(evidence["contributors"])
    shared = f"{known} known and " if known else ""
    where = f"unrelated unknown persons of the population {evidence['population']}"
    return {
        "log10_lr": value,
        "lr": 10 ** min(value, 300.0),
        "loci": len(evidence["suspect"]),
        "prosecution": f"the stain comes from the suspect, {shared}{several - known - 1} {where}",
        "defence": f"the stain comes from {shared}{several - known} {where}, none of them the suspect",
        "population": str(evidence["population"]),
        "model": f"semi-continuous; drop-out of each contributor {', '.join(f'{d:.3g}' for d in dropouts(evidence))}; "
        f"drop-in {evidence.get('dropin', 0.0):g}; FST {evidence.get('fst', 0.0):g}",
    }


def _checked(evidence: Evidence) -> list[float]:
    """The drop-outs of evidence that can be judged."""
    needed = ("population", "replicates", "suspect", "contributors")
    if lacks := [name for name in needed if not evidence.get(name)]:
        raise SurefootError(f"The evidence has no '{lacks[0]}': a stain is judged by its whole description.")
    dropout, known, several = dropouts(evidence), list(evidence.get("known", ())), int(evidence["contributors"])
    if not len(known) < several <= MOST_CONTRIBUTORS or len(dropout) != several:
        raise SurefootError(
            f"The evidence names {several} contributors, {len(known)} of them known, and {len(dropout)} drop-outs or "
            f"amounts: give 1 to {MOST_CONTRIBUTORS}, more than are known, and a drop-out for each."
        )
    if any(not 0 <= one < 1 for one in (*dropout, evidence.get("dropin", 0.0), evidence.get("fst", 0.0))):
        raise SurefootError("Drop-out, drop-in and FST must be from 0 to below 1.")
    if lacks := [n for n in evidence["suspect"] for one in (evidence["suspect"], *known) if len(one.get(n, ())) != 2]:
        raise SurefootError(f"The locus {lacks[0]} has not two alleles in every profile: type it or leave it out.")
    return dropout


def _locus(evidence: Evidence, name: str, people: Population, least: float, dropin: float) -> Locus:
    seen = [list(replicate.get(name, ())) for replicate in evidence["replicates"]]
    typed = [profile[name] for profile in (evidence["suspect"], *evidence.get("known", ()))]
    alleles = dict.fromkeys(allele for group in (*seen, *typed) for allele in group)
    raised = {allele: people.frequency(name, allele, least=least) for allele in alleles}
    total = sum(raised.values())
    if total > 1:
        raised, total = {allele: value / total for allele, value in raised.items()}, 1.0
    unseen = [dropin * value for allele, value in people.of(name).items() if allele not in alleles]
    return Locus(frequencies={**raised, REST: 1 - total}, replicates=seen, typed=typed, unseen=unseen)
