"""Planted defects: queries until each is seen, by way of choosing conditions.

    python benchmarks/scrutiny_defects.py [--budget 60] [--repeats 8]

The systems run in this process, so that queries are counted and not processes. A defect is seen at the first query that
fails a claim, with and without the claim that compares with a sound second version; a search ends there. In each cell:
the median, the interval that holds the true median with 95 percent (by order statistics; a search that found nothing
counts as longer than all), and how many of the repeats found it. `scrutiny_coverage.py` has the false alarms.
"""

import argparse
import math
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import Any

from scipy.stats import binom

from surefoot.core import SurefootError
from surefoot.scrutiny import DEFECTS, Reply, Scrutiny, Trial, genotype_ratio, simulate_stain
from surefoot.scrutiny._claims import Judged, judge
from surefoot.scrutiny._search import Weighed, search
from surefoot.studies.scrutiny import case

METHODS = ("random", "latin hypercube", "local", "cma", "hypothesis")


def judged(asked: Scrutiny, condition: Any, seed: int) -> dict[str, Judged | None]:
    """What each claim says of one query, asked in this process."""
    evidence, truth = asked.generate(condition, seed)
    first = replied(asked.system, evidence, seed)
    trial = Trial(condition=condition, evidence=evidence, truth=truth, reply=first)
    for claim in asked.claims:
        if claim.change:
            again = replied(asked.other if claim.other else asked.system, claim.change(evidence, seed), seed)
            trial = replace(trial, second={**trial.second, claim.name: again})
    told: dict[str, Judged | None] = {}
    for claim in asked.claims:
        with suppress(SurefootError):  # without an answer only `answers` judges
            told[claim.name] = judge(claim, trial)
    return told


def replied(system: Any, evidence: Any, seed: int) -> Reply:
    try:
        return Reply(status="answered", output=system.call(evidence, seed))
    except Exception as error:
        return Reply(status="failed", error=str(error))


class _FoundError(BaseException):
    """The search is over; hypothesis would take an `Exception` for a failing example, and draw it again."""


def queries_to_find(asked: Scrutiny, method: Any, budget: int, seed: int, alone: bool) -> int | None:
    """Queries until a claim fails, those of ratios left out: one query cannot refute them."""
    seen: list[bool] = []

    def weigh(conditions: Any) -> list[Weighed]:
        told = []
        for condition in conditions:
            found = judged(asked, condition, seed * 100_000 + len(seen))
            margins = [one.margin for name, one in found.items() if one and counts(name, alone)]
            seen.append(max(margins, default=-math.inf) > 0)
            if seen[-1]:
                raise _FoundError
            told.append(Weighed(max(margins, default=-math.inf), False))
        return told

    with suppress(_FoundError):
        search(method, asked.domain, weigh, budget=budget, seed=seed)
    return seen.index(True) + 1 if any(seen) else None


def counts(name: str, alone: bool) -> bool:
    return name not in ("ratio of 100", "mean ratio") and not (alone and "versions" in name)


def cell(tries: list[int | None]) -> str:
    """Median, its interval, and how many found it."""
    n, found = len(tries), sum(one is not None for one in tries)
    ranked = sorted(math.inf if one is None else one for one in tries)
    least = max((k for k in range(1, n // 2 + 1) if 2 * binom.cdf(k - 1, n, 0.5) <= 0.05), default=None)
    ends = (ranked[least - 1], ranked[n - least]) if least else (1, math.inf)
    words = ["-" if math.isinf(one) else f"{one:.0f}" for one in (ranked[(n - 1) // 2], *ends)]
    return "{} [{}, {}] {}/{}".format(*words, found, n) if found else f"- 0/{n}"


def timed(label: str, call: Callable[[int], object], repeats: int) -> None:
    start = time.process_time()
    for seed in range(repeats):
        call(seed)
    print(f"{label}: {(time.process_time() - start) / repeats * 1e3:.2f} ms")


def main() -> None:
    parser = argparse.ArgumentParser()
    for name, usual in (("budget", 60), ("repeats", 8)):
        parser.add_argument(f"--{name}", type=int, default=usual)
    asked = parser.parse_args()
    for persons in (1, 2, 3):
        evidence = simulate_stain({"contributors": persons}, 0)[0]
        timed(f"a ratio of {persons} persons", lambda seed, one=evidence: genotype_ratio(one, seed), 50)
    for alone in (False, True):
        print("\nqueries to find", "without a second version" * alone)
        print("| defect |", " | ".join(METHODS), "|", flush=True)
        for defect in DEFECTS:
            planted = case(f"genotyping: {defect}")
            cells = [
                cell([queries_to_find(planted, method, asked.budget, seed, alone) for seed in range(asked.repeats)])
                for method in METHODS
            ]
            print(f"| {defect} |", " | ".join(cells), "|", flush=True)


if __name__ == "__main__":
    main()
