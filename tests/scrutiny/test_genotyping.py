"""The likelihood ratio of a stain against closed forms, full enumeration, and what any likelihood ratio must obey."""

from itertools import combinations_with_replacement, product
from math import inf, log10, prod

import numpy as np
import pytest

from surefoot.core import SurefootError
from surefoot.scrutiny._forensic._genotyping import by_locus, dropout_of, genotype_ratio
from surefoot.scrutiny._forensic._likelihood import Locus, log10_likelihoods
from surefoot.scrutiny._forensic._populations import SYNTHETIC, population

P = {"a": 0.1, "b": 0.25, "c": 0.3, "d": 0.35}


def ratio(replicates, suspect, dropout, *, known=(), dropin=0.0, fst=0.0, frequencies=P):
    """The ratio of one locus for these contributors: the suspect, the known, and unknown persons to the number."""
    typed = [suspect, *known]
    locus = Locus(frequencies=frequencies, replicates=replicates, typed=typed)
    first, theirs, unknown = dropout[0], dropout[1 : 1 + len(known)], dropout[1 + len(known) :]
    pairs = [[one] for one in known]
    model = {"dropin": dropin, "fst": fst}
    above = log10_likelihoods([locus], [[suspect], *pairs], [first, *theirs], unknown=unknown, **model)
    below = log10_likelihoods([locus], pairs, theirs, unknown=[first, *unknown], **model)
    return 10 ** float(above[0] - below[0])


def enumerated(replicates, suspect, dropout, *, dropin, fst, with_suspect):
    """The probability of the replicates by adding up every genotype of every unknown person, allele by allele."""

    def draws(alleles):
        counts, probability = {name: list(suspect).count(name) for name in P}, 1.0
        for allele in alleles:
            n = sum(counts.values())
            probability *= (fst * counts[allele] + (1 - fst) * P[allele]) / (1 + (n - 1) * fst)
            counts[allele] += 1
        return probability

    def shown(genotypes):
        total = 1.0
        for replicate, allele in product(replicates, P):
            kept = prod(d ** list(pair).count(allele) for d, pair in zip(dropout, genotypes, strict=True))
            absent = kept * (1 - dropin * P[allele])
            total *= 1 - absent if allele in replicate else absent
        return total

    several = len(dropout) - with_suspect
    total = 0.0
    for alleles in product(P, repeat=2 * several):
        pairs = [alleles[2 * k : 2 * k + 2] for k in range(several)]
        total += draws(alleles) * shown([suspect, *pairs] if with_suspect else pairs)
    return total


def test_one_clean_person_is_one_over_2pq_and_one_over_p_squared() -> None:
    assert ratio([["a", "b"]], ["a", "b"], [0.0]) == pytest.approx(1 / (2 * 0.1 * 0.25))
    assert ratio([["a"]], ["a", "a"], [0.0]) == pytest.approx(1 / 0.01)
    assert ratio([["a", "b"]], ["a", "c"], [0.0]) == 0.0


def test_related_populations_follow_balding_and_nichols() -> None:
    t = 0.03
    both = (t + (1 - t) * 0.1) * (t + (1 - t) * 0.25)
    assert ratio([["a", "b"]], ["a", "b"], [0.0], fst=t) == pytest.approx((1 + t) * (1 + 2 * t) / (2 * both))
    same = (2 * t + (1 - t) * 0.1) * (3 * t + (1 - t) * 0.1)
    assert ratio([["a"]], ["a", "a"], [0.0], fst=t) == pytest.approx((1 + t) * (1 + 2 * t) / same)


def test_two_persons_as_in_the_textbooks() -> None:
    a, b, c, d = P.values()
    # four alleles, no drop-out: the other is {c, d} in 2cd; two unknown in 6 pairs of genotypes, 24abcd in all
    assert ratio([list("abcd")], ["a", "b"], [0.0, 0.0]) == pytest.approx(2 * c * d / (24 * a * b * c * d))
    # three alleles {a, b, c}: the other holds c: cc, ac, bc; without the suspect 12abc(a + b + c)
    above = c * c + 2 * a * c + 2 * b * c
    assert ratio([list("abc")], ["a", "b"], [0.0, 0.0]) == pytest.approx(above / (12 * a * b * c * (a + b + c)))
    # a victim {a, b} and a suspect {c, d}: one over the frequency of the only genotype that explains the rest
    assert ratio([list("abcd")], ["c", "d"], [0.0, 0.0], known=[["a", "b"]]) == pytest.approx(1 / (2 * c * d))


def test_a_lost_allele_by_hand() -> None:
    a, q, d = 0.1, 0.9, 0.2
    above = (1 - d) * d
    below = a * a * (1 - d * d) + 2 * a * q * (1 - d) * d
    assert ratio([["a"]], ["a", "b"], [d]) == pytest.approx(above / below)
    kept = (1 - d) ** 2 * d**2  # two replicates, another allele in each
    others = 2 * a * 0.25 * kept
    assert ratio([["a"], ["b"]], ["a", "b"], [d]) == pytest.approx(kept / others)


@pytest.mark.parametrize("fst", [0.0, 0.05])
@pytest.mark.parametrize("persons", [1, 2, 3])
def test_the_polynomial_is_the_sum_over_all_genotypes(persons: int, fst: float) -> None:
    dropout, replicates, suspect = [0.3, 0.1, 0.2][:persons], [["a", "c"], ["a"]], ["a", "d"]
    sums = [enumerated(replicates, suspect, dropout, dropin=0.05, fst=fst, with_suspect=side) for side in (True, False)]
    assert ratio(replicates, suspect, dropout, dropin=0.05, fst=fst) == pytest.approx(sums[0] / sums[1], rel=1e-10)


def test_stains_sum_to_one_and_so_does_the_mean_ratio_of_those_who_are_not_in_it() -> None:
    stains = [[name for name, here in zip(P, shown, strict=True) if here] for shown in product([0, 1], repeat=4)]
    dropout, fst = [0.3, 0.1], 0.02
    for suspect in combinations_with_replacement(P, 2):
        total = mean = 0.0
        for stain in stains:
            locus = Locus(frequencies=P, replicates=[stain], typed=[suspect])
            found = log10_likelihoods([locus], [], [], unknown=dropout, dropin=0.04, fst=fst)
            total += 10 ** float(found[0])
            mean += 10 ** float(found[0]) * ratio([stain], suspect, dropout, dropin=0.04, fst=fst)
        assert (total, mean) == pytest.approx((1.0, 1.0))


def whole(**changed):
    people = population("synthetic")
    third = {name: list(found)[2:4] for name, found in people.loci.items()}
    seen = {name: list(found)[1:5] for name, found in people.loci.items()}
    return {
        **{"population": "synthetic", "suspect": third, "contributors": 2, "dropout": [0.1, 0.3], "dropin": 0.02},
        **{"replicates": [seen, {name: alleles[:3] for name, alleles in seen.items()}], "fst": 0.01, **changed},
    }


def test_alleles_that_nobody_has_may_be_pooled() -> None:
    pooled, people = by_locus(whole()), population("synthetic")
    name, frequencies = "L4", people.of("L4")
    evidence = whole()
    locus = Locus(
        frequencies=frequencies,
        replicates=[one[name] for one in evidence["replicates"]],
        typed=[evidence["suspect"][name]],
    )
    full = log10_likelihoods([locus], [], [], unknown=[0.1, 0.3], dropin=0.02, fst=0.01)
    assert pooled[name][1] == pytest.approx(float(full[0]), abs=1e-9)


def test_orders_and_units_change_nothing_and_the_seed_neither() -> None:
    base = genotype_ratio(whole(), 1)
    assert base == genotype_ratio(whole(), 2)
    turned = whole(replicates=[{n: one[n][::-1] for n in reversed(one)} for one in whole()["replicates"][::-1]])
    assert genotype_ratio(turned)["log10_lr"] == pytest.approx(base["log10_lr"])
    del turned["dropout"]
    small, large = (
        genotype_ratio(turned | {"amounts": a, "unit": u}) for a, u in (([90, 45], "pg"), ([0.09, 0.045], "ng"))
    )
    assert small == large
    assert dropout_of(30.0) == 0.5 and dropout_of(0.0) == 1.0 and dropout_of(300.0) < 0.01


def test_a_ratio_comes_with_its_propositions_and_its_population() -> None:
    victim = {name: list(found)[:2] for name, found in population("synthetic").loci.items()}
    found = genotype_ratio(whole(known=[victim], contributors=3, dropout=[0.1, 0.1, 0.3]))
    assert "the suspect, 1 known and 1 unrelated unknown" in str(found["prosecution"])
    assert "1 known and 2 unrelated unknown" in str(found["defence"]) and found["population"] == "synthetic"
    assert "drop-in 0.02; FST 0.01" in str(found["model"]) and found["loci"] == 12
    assert found["log10_lr"] == pytest.approx(log10(float(str(found["lr"]))))


def test_an_excluded_person_has_ratio_nought() -> None:
    others = {name: list(found)[5:7] for name, found in population("synthetic").loci.items()}
    clean = whole(dropout=[0.0, 0.0], dropin=0.0, suspect=others, replicates=whole()["replicates"][:1])
    found = genotype_ratio(clean)
    assert (found["lr"], found["log10_lr"]) == (0.0, -inf)
    with pytest.raises(SurefootError, match="No 1 unknown persons can give the stain at L1"):
        genotype_ratio(clean | {"contributors": 1, "dropout": [0.0]})


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"contributors": 3}, "names 3 contributors"),
        ({"replicates": []}, "no 'replicates'"),
        ({"population": "nowhere.csv"}, "no file of published data"),
        ({"dropout": [1.2, 0.1]}, "below 1"),
        ({"suspect": {"L1": ["8"]}}, "two alleles"),
        ({"suspect": {"Q9": ["8", "9"]}}, "no locus 'Q9'"),
    ],
)
def test_wrong_evidence_is_refused_with_a_sentence(changed: dict, said: str) -> None:
    with pytest.raises(SurefootError, match=said):
        genotype_ratio(whole(**changed))


def test_drawn_populations_differ_as_they_say() -> None:
    one, other = (population(name) for name in SYNTHETIC)
    p, q = (np.array([v for f in each.loci.values() for v in f.values()]) for each in (one, other))
    assert all(sum(found.values()) == pytest.approx(1.0) for found in one.loci.values())
    assert 0.005 < float(((p - q) ** 2).sum() / 12) < 0.1
