"""Whole audits of systems of known truth: how often a correct one is shown to fail, how often intervals hold the truth.

    python benchmarks/scrutiny_coverage.py [--alarms 200] [--stains 200] [--coverage 600]

`alarms` audits of a system that just keeps its claims (three rates at their bounds, a mean ratio of 1), and `stains` of
the sound genotyping program near cases that are drawn, each with a seed of its own: a false alarm is an audit that
shows any claim to fail. `coverage` audits of a system whose failure rate at every condition is known: the share of
intervals that hold it, in samples, and after a search with fresh seeds.
Audits run in this process, without bundles.
"""

import argparse
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from random import Random

from surefoot.scrutiny import Domain, Scrutiny, ScrutinyPlan
from surefoot.stats import clopper_pearson
from surefoot.studies.scrutiny import case

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "scrutiny"))
from simulated import at_the_bound, audited, intervals, known_rate  # pyright: ignore[reportMissingImports]

PLAN = ScrutinyPlan(overall=60, near=60, at_case=40, methods=("local", "cma"), budget=30, approach=15, confirm=100)


def stain(number: int) -> Scrutiny:
    """The sound program near another case: one or two persons, amount, share and coancestry drawn."""
    asked, draw = case("genotyping of two"), Random(number)
    drawn = {
        "contributors": draw.choice((1, 2)),
        "picograms": draw.uniform(100.0, 3000.0),
        "minor": draw.uniform(0.05, 0.33),
        "fst": draw.uniform(0.0, 0.02),
        "suspect": "unrelated",
    }
    may = tuple(replace(one, case=drawn.get(one.name, one.case)) for one in asked.domain.variables)
    plan = replace(PLAN, overall=20, near=20, at_case=20, methods=("cma",), budget=6, approach=3, confirm=40)
    return replace(asked, domain=Domain(variables=may), plan=plan)


def alarms(name: str, audits: int, made: Callable[[int], Scrutiny]) -> None:
    start, shown = time.process_time(), Counter()
    for number in range(audits):
        asked = made(number)
        found, _ = audited(replace(asked, plan=replace(asked.plan, seed=1 + 1_000_000_000 * number)))
        shown["any"] += any(one["verdict"].startswith("fails") for one in found["claims"])
        shown.update(one["name"] for one in found["claims"] if one["verdict"].startswith("fails"))
    spent, share = time.process_time() - start, clopper_pearson(shown["any"], audits)
    print(
        f"{name}: {shown['any']} of {audits} audits shown to fail [{share.low:.3f}, {share.high:.3f}], {dict(shown)}, "
        f"{spent:.0f} s",
        flush=True,
    )


def coverage(audits: int) -> None:
    held, asked = Counter(), Counter()
    for number in range(audits):
        told = intervals(known_rate(replace(PLAN, seed=1 + 1_000_000_000 * number)))
        held.update(name for name, inside in told.items() if inside)
        asked.update(told.keys())
    for name, n in asked.items():
        share = clopper_pearson(held[name], n)
        print(f"interval {name}: holds in {held[name]} of {n}, [{share.low:.3f}, {share.high:.3f}]", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser()
    for name, usual in (("alarms", 200), ("stains", 200), ("coverage", 600)):
        parser.add_argument(f"--{name}", type=int, default=usual)
    given = parser.parse_args()
    alarms("at the bounds", given.alarms, lambda number: at_the_bound(PLAN))
    coverage(given.coverage)
    alarms("stains", given.stains, stain)


if __name__ == "__main__":
    main()
