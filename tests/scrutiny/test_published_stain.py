"""A published stain of little DNA, analysed by another program: what the model assumes moves its ratio most.

`published_stain.json` has the alleles of three replicates of an example that comes with EuroForMix (ESX17, of little
DNA; facts), the profiles of three persons, and the frequencies of its table. That program states for its qualitative
model (three persons, drop-in .05, FST .01, one drop-out probability for all, each proposition at its own likeliest)
log10 ratios of -.461 from the first replicate and of 2.960 from all; with a probability for each contributor they are
1.059 and 6.773. Its model leaves out what makes all stains sum to one, so that ours differs by some hundredths.
"""

import json
from pathlib import Path

import numpy as np
import pytest
from scipy.optimize import minimize

from surefoot.scrutiny._forensic._likelihood import REST, Locus, log10_likelihoods

LOCI = json.loads(Path(__file__).with_name("published_stain.json").read_text())
DROPIN = 0.05


def likelihood(replicates: int, dropout: list[float], *, third: bool) -> float:
    """log10 of the stain's probability if it comes from all three persons, or from two and an unknown one.

    The first person is not typed at four loci: there he is one more unknown.
    """
    found = 0.0
    for row in LOCI:
        rest = 1 - sum(row["frequencies"].values())
        typed = [one for one in row["references"] if one]
        locus = Locus(
            frequencies={**row["frequencies"], REST: max(rest, 0.0)},
            replicates=row["replicates"][:replicates],
            typed=typed,
            unseen=[DROPIN * one for one in row["others"]],
        )
        stated = list(zip(row["references"], dropout, strict=True))
        known = [(pair, lost) for pair, lost in stated[: 2 + third] if pair]
        unknown = [lost for pair, lost in stated if (pair, lost) not in known]
        pairs, lost = [[pair] for pair, _ in known], [one for _, one in known]
        found += float(log10_likelihoods([locus], pairs, lost, unknown=unknown, dropin=DROPIN, fst=0.01)[0])
    return found


def likeliest(replicates: int, *, common: bool, third: bool) -> float:
    """The greatest likelihood over the drop-out of all, or of each."""
    start = np.zeros(1) if common else np.array([-0.7, -0.2, 1.0])

    def lost(at: np.ndarray) -> float:
        return -likelihood(replicates, [*(1 / (1 + np.exp(-at)))] * (3 if common else 1), third=third)

    return -float(minimize(lost, start, method="L-BFGS-B", tol=1e-5).fun)


@pytest.mark.parametrize(("replicates", "one", "each"), [(1, -0.461, 1.059), (3, 2.960, 6.773)])
def test_one_dropout_or_one_each_moves_a_published_ratio_as_published(replicates: int, one: float, each: float) -> None:
    def ratio(common: bool) -> float:
        above, below = (likeliest(replicates, common=common, third=third) for third in (True, False))
        return above - below

    assert ratio(common=True) == pytest.approx(one, abs=0.1)
    assert ratio(common=False) == pytest.approx(each, abs=0.1)
