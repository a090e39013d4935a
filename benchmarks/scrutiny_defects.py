"""Planted defects: queries until each is seen, by way of choosing conditions; and false alarms of sound audits.

    python benchmarks/scrutiny_defects.py [--budget 60] [--repeats 3] [--sound 200] [--queries 40]

The systems run in this process, so that queries are counted and not processes. A defect is seen at the first query that
fails a claim, with and without the claim that compares with a sound second version. A false alarm is an audit of the
sound program near its case of which, after Holm's correction over its claims, one is refuted.
"""

import argparse
import math
import time
from collections.abc import Callable
from dataclasses import replace
from statistics import median
from typing import Any

from surefoot.scrutiny import DEFECTS, Reply, Scrutiny, Trial, genotype_ratio, sample, simulate_stain
from surefoot.scrutiny._claims import Judged, assess, judge
from surefoot.scrutiny._search import Weighed, search
from surefoot.stats import clopper_pearson, holm
from surefoot.studies.scrutiny import case

METHODS = ("random", "latin hypercube", "local", "cma", "hypothesis")


def judged(asked: Scrutiny, condition: Any, seed: int) -> dict[str, Judged | None]:
    """What each claim says of one query, asked in this process."""
    evidence, truth = asked.generate(condition, seed)
    first = Reply(status="answered", output=asked.system.call(evidence, seed))  # type: ignore[union-attr]
    trial = Trial(condition=condition, evidence=evidence, truth=truth, reply=first)
    for claim in asked.claims:
        if claim.change:
            system: Any = asked.other if claim.other else asked.system
            again = Reply(status="answered", output=system.call(claim.change(evidence, seed), seed))
            trial = replace(trial, second={**trial.second, claim.name: again})
    return {claim.name: judge(claim, trial) for claim in asked.claims}


def queries_to_find(asked: Scrutiny, method: Any, budget: int, seed: int, alone: bool) -> int | None:
    """Queries until a claim fails, those of ratios left out: one query cannot refute them."""
    seen: list[bool] = []

    def weigh(conditions: Any) -> list[Weighed]:
        told = []
        for condition in conditions:
            found = judged(asked, condition, seed * 100_000 + len(seen))
            margins = [one.margin for name, one in found.items() if one and counts(name, alone)]
            seen.append(max(margins, default=-math.inf) > 0)
            told.append(Weighed(max(margins, default=-math.inf), seen[-1]))
        return told

    search(method, asked.domain, weigh, budget=budget, seed=seed)
    return seen.index(True) + 1 if any(seen) else None


def counts(name: str, alone: bool) -> bool:
    return name not in ("ratio of 100", "mean ratio") and not (alone and "versions" in name)


def false_alarm(asked: Scrutiny, queries: int, seed: int) -> bool:
    near = sample(asked.domain.within(1.0), queries, method="sobol", seed=seed)
    found = [judged(asked, condition, seed * 1000 + place) for place, condition in enumerate(near)]
    by_claim = [assess(claim, [one[claim.name] for one in found if one[claim.name]]) for claim in asked.claims]
    return bool(min(holm([one.p for one in by_claim])) <= 0.05)


def timed(label: str, call: Callable[[int], object], repeats: int) -> None:
    start = time.process_time()
    for seed in range(repeats):
        call(seed)
    print(f"{label}: {(time.process_time() - start) / repeats * 1e3:.2f} ms")


def main() -> None:
    parser = argparse.ArgumentParser()
    for name, usual in (("budget", 60), ("repeats", 3), ("sound", 200), ("queries", 40)):
        parser.add_argument(f"--{name}", type=int, default=usual)
    asked = parser.parse_args()
    for persons in (1, 2, 3):
        evidence = simulate_stain({"contributors": persons}, 0)[0]
        timed(f"a ratio of {persons} persons", lambda seed, one=evidence: genotype_ratio(one, seed), 50)
    alarms = sum(false_alarm(case("genotyping"), asked.queries, seed) for seed in range(asked.sound))
    share = clopper_pearson(alarms, asked.sound)
    print(f"false alarms: {alarms} of {asked.sound} audits, [{share.low:.3f}, {share.high:.3f}]", flush=True)
    for alone in (False, True):
        print("queries to find, median of those that found it (found of repeats)", "without a second version" * alone)
        print(f"{'defect':30s}", *(f"{method:>16s}" for method in METHODS))
        for defect in DEFECTS:
            cells = []
            for method in METHODS:
                tries = [
                    queries_to_find(case(f"genotyping: {defect}"), method, asked.budget, seed, alone)
                    for seed in range(asked.repeats)
                ]
                hits = [one for one in tries if one]
                cells.append(f"{median(hits):.0f} ({len(hits)})" if hits else "-")
            print(f"{defect:30s}", *(f"{cell:>16s}" for cell in cells), flush=True)


if __name__ == "__main__":
    main()
