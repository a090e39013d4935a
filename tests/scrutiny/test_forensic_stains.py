"""Simulated stains, planted defects, and the number of contributors of real mixtures."""

import os
from math import log10

import numpy as np
import pytest

from surefoot.core import SurefootError
from surefoot.scrutiny._forensic._defects import DEFECTS, defective_ratio, seen_frequency
from surefoot.scrutiny._forensic._genotyping import genotype_ratio
from surefoot.scrutiny._forensic._mixtures import (
    NOVEL,
    contributors_by_count,
    laboratory_mixtures,
    laboratory_stain,
    simulate_stain,
)
from surefoot.scrutiny._forensic._populations import population
from surefoot.stats import clopper_pearson

needs_data = pytest.mark.skipif(not os.environ.get("SUREFOOT_DATA"), reason="SUREFOOT_DATA has the published data")
CLEAN = {"contributors": 1, "picograms": 1e6, "dropin": 0.0}


def test_a_stain_is_a_function_of_condition_and_seed() -> None:
    assert simulate_stain({"contributors": 3}, 4) == simulate_stain({"contributors": 3}, 4)
    assert simulate_stain({"contributors": 3}, 4) != simulate_stain({"contributors": 3}, 5)


def test_drop_out_falls_on_the_contributor_with_little() -> None:
    """Of a minor contributor at 30 pg half of the alleles are lost; the share seen says so."""
    kept = []
    for seed in range(150):
        found, _ = simulate_stain({**CLEAN, "picograms": 30.0, "suspect": "contributor"}, seed)
        shown = [allele in found["replicates"][0][n] for n, pair in found["suspect"].items() for allele in {*pair}]
        het = [len({*pair}) == 2 for pair in found["suspect"].values() for _ in {*pair}]
        kept += [one for one, two in zip(shown, het, strict=True) if two]
    assert np.mean(kept) == pytest.approx(0.5, abs=0.03)


def test_siblings_share_half_of_their_alleles_by_descent() -> None:
    """A sibling of the only donor has at a locus both alleles alike by descent in a quarter of cases."""
    same = {"sibling": 0, "unrelated": 0}
    for kind in same:
        for seed in range(80):
            found, truth = simulate_stain({**CLEAN, "suspect": kind, "fst": 0.0}, seed)
            pairs = [(sorted({*found["suspect"][n]}), sorted(seen)) for n, seen in found["replicates"][0].items()]
            same[kind] += sum(one == two for one, two in pairs)
            assert not truth["contributor"]
    assert same["sibling"] / 960 == pytest.approx(0.25 + same["unrelated"] / 960, abs=0.17)
    assert same["sibling"] > 3 * same["unrelated"]


def test_coancestry_makes_persons_alike_as_it_says() -> None:
    """Homozygotes at a locus are the share F + (1 - F) sum p^2, and the suspect is drawn from the same urn."""
    t, same = 0.3, []
    for seed in range(300):
        found, _ = simulate_stain({**CLEAN, "fst": t, "loci": 4}, seed)
        same += [one == other for one, other in found["suspect"].values()]
    loci = list(population("synthetic").loci.values())[:4]
    assert np.mean(same) == pytest.approx(
        np.mean([t + (1 - t) * sum(p * p for p in one.values()) for one in loci]), abs=0.04
    )


def test_ratios_of_others_have_mean_one_and_those_of_contributors_are_high() -> None:
    hard = {"picograms": 30.0, "loci": 2, "fst": 0.03}
    others = [genotype_ratio(simulate_stain(hard, seed)[0])["lr"] for seed in range(800)]
    mean, error = np.mean(others), np.std(others) / np.sqrt(800)
    assert abs(mean - 1) < 3 * error < 0.3
    inside = [genotype_ratio(simulate_stain({"suspect": "contributor"}, seed)[0])["log10_lr"] for seed in range(20)]
    assert np.mean(inside) > 5


def test_what_the_analyst_assumes_may_differ_from_the_truth() -> None:
    found, truth = simulate_stain({"contributors": 3, "declared": 2, "dropout_model": "common", "known": 1}, 0)
    assert (truth["contributors"], found["contributors"], len(found["dropout"])) == (3, 2, 2)
    assert len(set(found["dropout"])) == 1 and len(found["known"]) == 1
    novel, _ = simulate_stain({**CLEAN, "suspect": "contributor", "novel": True}, 0)
    assert NOVEL in novel["suspect"]["L1"]


EXPOSING = {
    "common locus dropped": {"contributors": 3, "picograms": 900.0},
    "swallowed locus": {**CLEAN},
    "contributors counted": {"contributors": 3, "minor": 0.05},
    "no least frequency": {"novel": True, "suspect": "contributor"},
    "known contributor forgotten": {"known": 1},
    "first replicate alone": {"replicates": 2},
    "extrapolated drop-out": {"picograms": 40.0},
}
"""Conditions under which a defect shows; the others show under the usual one."""


def turned(evidence: dict) -> dict:
    """The same question in nanograms."""
    return {**evidence, "amounts": [one / 1000 for one in evidence["amounts"]], "unit": "ng"}


@pytest.mark.parametrize("name", DEFECTS)
def test_each_defect_moves_the_ratio_and_not_the_report(name: str) -> None:
    moved = False
    for seed in range(60):
        evidence = turned(simulate_stain({"suspect": "unrelated", **EXPOSING.get(name, {})}, seed)[0])
        sound, planted = genotype_ratio(evidence, seed), defective_ratio(name, evidence, seed)
        moved = bool(abs(np.subtract(*np.clip([sound["log10_lr"], planted["log10_lr"]], -400, 400))) > 1e-6)
        assert {n: v for n, v in sound.items() if "lr" not in n} == {n: v for n, v in planted.items() if "lr" not in n}
        if moved:
            break
    assert moved
    with pytest.raises(SurefootError, match="no planted defect"):
        defective_ratio("none", {})


@pytest.mark.parametrize("name", ["unit ignored", "known contributor forgotten", "swallowed locus"])
def test_a_defect_hides_where_nothing_calls_it(name: str) -> None:
    evidence, _ = simulate_stain({"suspect": "contributor"}, 1)
    assert defective_ratio(name, evidence)["log10_lr"] == pytest.approx(genotype_ratio(evidence)["log10_lr"])


@needs_data
def test_a_clean_person_of_a_published_population_is_one_over_2pq() -> None:
    people = population("NGM_Holland")
    evidence, _ = simulate_stain({**CLEAN, "population": "NGM_Holland", "suspect": "contributor", "fst": 0.0}, 3)
    by_hand = 0.0
    for name, (one, other) in evidence["suspect"].items():
        p, q = people.frequency(name, one), people.frequency(name, other)
        by_hand -= log10(p * q * (1 if one == other else 2))
    assert genotype_ratio(evidence)["log10_lr"] == pytest.approx(by_hand, abs=1e-3)


@needs_data
def test_the_dropped_locus_fires_among_three_persons_and_never_among_two() -> None:
    """In a trial of the rule of the FST program: 207 of 1,500 stains of three persons, none of two."""
    fired = {}
    for several in (2, 3):
        asked = {
            "population": "SGMPlus_UK",
            "contributors": several,
            "picograms": 300.0 * several,
            "minor": 1 / several,
        }
        stains = [simulate_stain({**asked, "dropin": 0.0}, seed)[0] for seed in range(500)]
        fired[several] = sum(any(seen_frequency(one, name) >= 0.97 for name in one["suspect"]) for one in stains)
    found = clopper_pearson(fired[3], 500, level=0.99)
    assert fired[2] == 0 and found.low < 207 / 1500 < found.high


@needs_data
def test_the_count_of_alleles_is_right_as_often_as_in_the_trial() -> None:
    right: dict[int, list[bool]] = {}
    for one in laboratory_mixtures(1, "high"):
        found = contributors_by_count({"alleles": one.alleles})
        right.setdefault(one.contributors, []).append(found["contributors"] == one.contributors)
    assert {n: (sum(found), len(found)) for n, found in right.items()} == {
        2: (13, 15),
        3: (14, 15),
        4: (7, 14),
        5: (8, 14),
    }


@needs_data
def test_real_stains_are_drawn_by_condition() -> None:
    evidence, truth = laboratory_stain({"donors": 2, "kind": "D", "contributors": 4, "threshold": "low"}, 7)
    assert truth["picograms"] == [150, 30, 60, 30] and len(evidence["alleles"]) == 27
    with pytest.raises(SurefootError, match="No published mixture"):
        laboratory_stain({"kind": "A", "replicate": 9}, 0)
    with pytest.raises(SurefootError, match=r"There is no file of published data .*dataset_5_DTH"):
        laboratory_mixtures(5)


def test_the_count_needs_alleles_and_leaves_sex_out() -> None:
    found = contributors_by_count({"alleles": {"AMEL": ["X", "Y"], "FGA": ["20", "21", "22"], "DYS391": ["1"] * 9}})
    assert (found["contributors"], found["locus"], found["alleles"]) == (2, "FGA", 3)
    with pytest.raises(SurefootError, match="no alleles"):
        contributors_by_count({"alleles": {"AMEL": ["X"]}})
