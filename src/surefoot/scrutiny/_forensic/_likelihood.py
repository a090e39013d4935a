"""The probability of a stain's alleles under a hypothesis: a semi-continuous model with drop-out, drop-in and FST.

Each copy of an allele drops out of a replicate independently with its contributor's probability d (a homozygote's with
d squared); each allele of the population drops in with the drop-in probability times its frequency. So an allele is
absent with (1 - c p) prod d^copies, and the probabilities of all stains sum to one. Genotypes of unknown persons follow
Balding and Nichols (1994), given everybody who is typed. The sum over all of them is one coefficient of a product of
polynomials, one for each allele: a person's two copies are spread over the alleles.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import factorial, prod

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Profile = Mapping[str, Sequence[str]]
"""The two alleles of a person by locus."""
REST = ""
"""All alleles together that were neither seen nor typed; none of them is in any replicate."""


@dataclass(frozen=True, kw_only=True)
class Locus:
    """What the likelihood of one locus needs.

    `frequencies` are those of the alleles seen or typed and of the `REST`; `typed` holds two alleles for each typed
    person, contributor or not; `unseen` the drop-in probabilities of the single alleles in the rest.
    """

    frequencies: Mapping[str, float]
    replicates: Sequence[Sequence[str]]
    typed: Sequence[Sequence[str]]
    unseen: Sequence[float] = ()


def log10_likelihoods(
    loci: Sequence[Locus],
    known: Sequence[Sequence[Sequence[str]]],
    dropout: Sequence[float],
    *,
    unknown: Sequence[float],
    dropin: float = 0.0,
    fst: float = 0.0,
) -> Floats:
    """log10 of the probability of each locus' replicates, (loci,); -inf where the hypothesis cannot give them.

    `known[k][locus]` are the two alleles of the k-th known contributor, whose drop-out is `dropout[k]`; `unknown` holds
    the drop-out of each unknown contributor.
    """
    size = max(len(locus.frequencies) for locus in loci)
    powers, total, ways, start, step, end = _spread(len(unknown))
    lost = np.prod(np.asarray([*unknown, 1.0])[: len(unknown)] ** powers, axis=1)
    weight = np.zeros((len(loci), size, len(powers)))
    weight[:, :, 0] = 1.0
    for row, locus in enumerate(loci):
        weight[row, : len(locus.frequencies)] = _weights(locus, [one[row] for one in known], dropout, lost, dropin)
    weight *= _sampled(loci, size, total, fst) / ways
    state = np.zeros((len(loci), len(powers)))
    state[:, 0] = 1.0
    for allele in range(size):
        state = (state[:, start] * weight[:, allele, step]) @ end
    outside = [prod(1 - one for one in locus.unseen) ** len(locus.replicates) for locus in loci]
    with np.errstate(divide="ignore"):
        return np.log10(state[:, -1] * 2.0 ** len(unknown) * outside)


def _weights(
    locus: Locus, known: Sequence[Sequence[str]], dropout: Sequence[float], lost: Floats, dropin: float
) -> Floats:
    """The probability of what is seen of each allele by how the unknown persons hold it, (alleles, ways to hold)."""
    alleles = list(locus.frequencies)
    held = [
        prod(d ** list(pair).count(allele) for d, pair in zip(dropout, known, strict=True))
        * (1 - dropin * locus.frequencies[allele] * (allele != REST))
        for allele in alleles
    ]
    absent = np.multiply.outer(held, lost)
    seen = np.array([sum(allele in replicate for replicate in locus.replicates) for allele in alleles])[:, None]
    return absent ** (len(locus.replicates) - seen) * (1 - absent) ** seen


def _sampled(loci: Sequence[Locus], size: int, total: NDArray[np.int_], fst: float) -> Floats:
    """The probability of drawing each allele as often as the unknown persons hold it, (loci, alleles, ways)."""
    most = int(total[-1])
    frequency, seen, typed = np.zeros((len(loci), size, 1)), np.zeros((len(loci), size, 1)), np.zeros((len(loci), 1, 1))
    for row, locus in enumerate(loci):
        copies = [allele for pair in locus.typed for allele in pair]
        frequency[row, : len(locus.frequencies), 0] = list(locus.frequencies.values())
        seen[row, : len(locus.frequencies), 0] = [copies.count(allele) for allele in locus.frequencies]
        typed[row] = len(copies)
    drawn = np.arange(most)
    each = fst * (seen + drawn) + (1 - fst) * frequency
    rising = np.concatenate([np.ones((len(loci), size, 1)), np.cumprod(each, axis=2)], axis=2)[:, :, total]
    # every way to spread all copies draws `most` of them: the denominator is shared, and put on the first allele
    rising[:, 0] /= np.prod(1 + (typed + drawn - 1) * fst, axis=2)
    return np.asarray(rising, dtype=np.float64)


@lru_cache(maxsize=8)
def _spread(
    unknown: int,
) -> tuple[NDArray[np.int_], NDArray[np.int_], Floats, NDArray[np.int_], NDArray[np.int_], Floats]:
    """How `unknown` persons hold one allele (0, 1 or 2 copies each), and which two ways add to a third.

    Copies by person, in all, the product of their factorials; then the starts, the steps, and where each ends (0 or 1).
    """
    powers = np.array(list(np.ndindex(*[3] * unknown)), dtype=int).reshape(3**unknown, unknown)
    ways = np.array([prod(factorial(copies) for copies in row) for row in powers.tolist()], dtype=float)
    start, step = np.nonzero(((powers[:, None] + powers[None]) <= 2).all(axis=2))
    ends = ((powers[start] + powers[step]) * 3 ** np.arange(unknown)[::-1]).sum(axis=1)
    return powers, powers.sum(axis=1), ways, start, step, np.eye(len(powers))[ends]
