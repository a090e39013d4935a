"""Stains whose contributors are known: simulated ones of any condition, and the number of contributors of real ones."""

import csv
import gzip
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from surefoot.core import SurefootError
from surefoot.scrutiny._forensic._genotyping import dropout_of
from surefoot.scrutiny._forensic._populations import population, published

Values = dict[str, Any]
SUSPECTS = ("contributor", "unrelated", "sibling")
_TYPES = "A 300 150 150 150 150, B 300 30 30 30 30, C 150 150 60 60 60, D 150 30 60 30 30, E 600 30 60 30 30"
PICOGRAMS = {one[0]: tuple(map(float, one.split()[1:])) for one in _TYPES.split(", ")}
"""Amounts of DNA by type of mixture, one for each contributor (Benschop et al. 2019)."""
NOVEL = "99"
"""An allele that no table has."""
_SEX = ("AMEL", "DYS391", "DYS576", "DYS570")


def simulate_stain(condition: Mapping[str, Any], seed: int) -> tuple[Values, Values]:
    """A stain with known contributors as evidence for `genotype_ratio`, and the truth.

    The condition may have `population`, `contributors`, `picograms` in all, `minor` (the share of the first
    contributor, whose place the suspect has; the others share alike), `replicates`, `dropin`, `fst`, `loci` (how many),
    `suspect` (one of `SUSPECTS`), `known` (how many of the others are typed), `novel` (the first contributor has an
    allele that no table has), and as assumptions `declared` contributors and `dropout_model` ("each" or "common"). All
    persons, the suspect too, are drawn with coancestry `fst`.
    """
    asked = {**_USUAL, **condition}
    if asked["suspect"] not in SUSPECTS:
        raise SurefootError(f"A suspect is {', '.join(SUSPECTS)}, not '{asked['suspect']}'.")
    generator, several = np.random.default_rng(seed), int(asked["contributors"])
    dropout = [dropout_of(one) for one in _amounts(asked, several)]
    suspect: dict[str, list[str]] = {}
    known: list[dict[str, list[str]]] = [{} for _ in range(min(int(asked["known"]), several - 1))]
    replicates: list[dict[str, list[str]]] = [{} for _ in range(int(asked["replicates"]))]
    for name, frequencies in list(population(str(asked["population"])).loci.items())[: int(asked["loci"])]:
        persons = _persons(generator, frequencies, several + 1, float(asked["fst"]))
        if asked["suspect"] == "sibling":
            shared = generator.random(2) < 0.5
            persons[-1] = [persons[0][k] if shared[k] else persons[-1][k] for k in (0, 1)]
        if asked["novel"] and not suspect:
            persons[0] = [NOVEL, persons[0][1]]
        for place, profile in enumerate(known, 1):
            profile[name] = persons[place]
        suspect[name] = persons[0 if asked["suspect"] == "contributor" else -1]
        for replicate in replicates:
            replicate[name] = _seen(generator, persons[:several], dropout, frequencies, float(asked["dropin"]))
    declared = int(asked["declared"]) or several
    stated = _amounts(asked, declared)
    lost = [dropout_of(one) for one in stated]
    evidence = {name: asked[name] for name in ("population", "dropin", "fst")}
    evidence |= {"contributors": declared, "suspect": suspect, "known": known, "replicates": replicates}
    common = asked["dropout_model"] == "common"
    evidence |= {"dropout": [float(np.mean(lost))] * declared} if common else {"amounts": stated}
    return evidence, {"contributor": asked["suspect"] == "contributor", "contributors": several}


_USUAL: Mapping[str, Any] = {
    **{"population": "synthetic", "contributors": 2, "picograms": 400.0, "minor": 0.3, "replicates": 1, "dropin": 0.02},
    **{"fst": 0.01, "loci": 99, "suspect": "unrelated", "declared": 0, "dropout_model": "each"},
    **{"known": 0, "novel": False},
}


def _amounts(asked: Mapping[str, Any], several: int) -> list[float]:
    total, share = float(asked["picograms"]), float(asked["minor"])
    return [total * share, *[total * (1 - share) / (several - 1)] * (several - 1)] if several > 1 else [total]


def _persons(draw: np.random.Generator, frequencies: Mapping[str, float], persons: int, fst: float) -> list[list[str]]:
    """Two alleles of each person, drawn from an urn that remembers: Balding and Nichols' population."""
    fresh = draw.choice(list(frequencies), size=2 * persons, p=list(frequencies.values())).tolist()
    copied, which = draw.random((2, 2 * persons)).tolist()
    drawn: list[str] = []
    for n, allele in enumerate(fresh):
        remembers = n and copied[n] < n * fst / (1 + (n - 1) * fst)
        drawn.append(drawn[int(which[n] * n)] if remembers else allele)
    return [drawn[k : k + 2] for k in range(0, 2 * persons, 2)]


def _seen(
    generator: np.random.Generator,
    persons: Sequence[Sequence[str]],
    dropout: Sequence[float],
    frequencies: Mapping[str, float],
    dropin: float,
) -> list[str]:
    luck = generator.random((len(persons), 2)).tolist()
    each = zip(persons, dropout, luck, strict=True)
    held = [(allele, u >= d) for pair, d, us in each for allele, u in zip(pair, us, strict=True)]
    kept = {allele for allele, stays in held if stays}
    strays = generator.random(len(frequencies)) < dropin * np.array(list(frequencies.values()))
    kept.update(allele for allele, here in zip(frequencies, strays, strict=True) if here)
    return [allele for allele in (*frequencies, NOVEL) if allele in kept]


@dataclass(frozen=True, kw_only=True)
class Mixture:
    """A real mixture: its type (`PICOGRAMS`), contributors, replicate, and the alleles by locus."""

    kind: str
    contributors: int
    replicate: int
    alleles: Mapping[str, Sequence[str]]


@lru_cache(maxsize=8)
def laboratory_mixtures(donors: int = 1, threshold: str = "high") -> tuple[Mixture, ...]:
    """The published mixtures of a donor set (1 to 4) at the "low" or "high" detection threshold.

    Names are as `1L_11148_1A2`: replicate (L: low threshold); then donor set, type and number of contributors.
    Raises where there is no such file of published data.
    """
    path = published("mixtures", f"dataset_{donors}_DT{threshold[:1].upper()}.tsv.gz")
    samples: dict[str, dict[str, list[str]]] = {}
    with gzip.open(path, "rt", encoding="utf-8", newline="") as lines:
        for row in csv.DictReader(lines, delimiter="\t"):
            alleles = [row[name] for name in row if name and name.startswith("Allele#") and row[name]]
            samples.setdefault(row["Sample Name"], {})[row["Marker"]] = alleles
    parts = [(name[0], name.rsplit("_", 1)[1], alleles) for name, alleles in samples.items()]
    return tuple(Mixture(kind=m[1], contributors=int(m[2]), replicate=int(r), alleles=a) for r, m, a in parts)


def contributors_by_count(evidence: Mapping[str, Any], seed: int = 0) -> dict[str, object]:
    """The least number of contributors that explains the most alleles at one locus: a rule in daily use.

    Evidence: `alleles` by locus. Loci on sex chromosomes are left out.
    """
    counts = {name: len(set(found)) for name, found in evidence["alleles"].items() if name not in _SEX}
    if not counts:
        raise SurefootError("The evidence has no alleles at any autosomal locus.")
    most = max(counts, key=lambda name: counts[name])
    return {"contributors": max(1, -(-counts[most] // 2)), "locus": most, "alleles": counts[most]}


def laboratory_stain(condition: Mapping[str, Any], seed: int) -> tuple[Values, Values]:
    """The alleles of one published mixture, drawn by seed among those of the condition, and the true number.

    The condition may have `donors` (all four sets), `threshold`, `kind`, `contributors` and `replicate`. Raises when no
    mixture has it.
    """
    sets = [int(condition["donors"])] if "donors" in condition else [1, 2, 3, 4]
    found = [one for donors in sets for one in laboratory_mixtures(donors, str(condition.get("threshold", "high")))]
    for name in {"kind", "contributors", "replicate"} & {*condition}:
        found = [one for one in found if getattr(one, name) == condition[name]]
    if not found:
        raise SurefootError(f"No published mixture has the condition {dict(condition)}.")
    one = found[int(np.random.default_rng(seed).integers(len(found)))]
    truth = {"contributors": one.contributors, "picograms": list(PICOGRAMS[one.kind][: one.contributors])}
    return {"alleles": {name: list(seen) for name, seen in one.alleles.items()}}, truth
