"""Whole audits in this process of systems whose failure rates are known: without bundle or limits."""

import random
from collections.abc import Mapping
from math import log
from pathlib import Path
from typing import Any
from unittest.mock import patch

from surefoot.core import open_pool
from surefoot.scrutiny import (
    Domain,
    PythonSystem,
    Ratios,
    Reply,
    Scrutiny,
    ScrutinyPlan,
    ValidityClaim,
    Variable,
    _run,
    ratio_bounds,
    worst_case,
)

AT_THE_BOUND, TRUE_AT_CASE, RISE, POWER = 0.1, 0.1, 0.5, 1.5


class Here:
    """A system that is asked in this process."""

    had: Mapping[str, Any] = {}

    def __init__(self, system: Any) -> None:
        self.system = system

    def ask(self, evidence: Mapping[str, Any], seed: int) -> Reply:
        return Reply(status="answered", output=self.system.call(evidence, seed))


class Kept:
    """Records in memory, in place of a chain."""

    def __init__(self) -> None:
        self.records: dict[Any, Any] = {}

    def append(self, record: dict[str, Any]) -> None:
        self.records[record["stage"], record["number"]] = record


def audited(asked: Scrutiny) -> tuple[dict[str, Any], dict[Any, Any]]:
    """What an audit finds, and its records."""
    kept = Kept()
    loaded = patch.multiple(_run, load_scrutiny=lambda _: asked, _session=lambda _, which: Here(getattr(asked, which)))
    with loaded, open_pool("here") as pool:
        run: Any = _run._Run
        return run(Path(), asked, kept.records, kept, pool).findings(), kept.records


def rate_at(x: float) -> float:
    """The true failure rate at a condition x of 0 to 1; the case is 0."""
    return TRUE_AT_CASE + RISE * x**POWER


def _fails(name: str, rate: Any, bound: float) -> ValidityClaim:
    """A claim that fails with the rate of the condition, by a draw of its own from the query's seed."""
    return worst_case(
        name, lambda trial: float(trial.reply.output[name] < rate(trial.condition)), bound=0.5, rate=bound
    )


def _draws(evidence: Mapping[str, Any], seed: int) -> Mapping[str, Any]:
    draw = random.Random(seed)
    told = {name: draw.random() for name in ("first", "second", "third")}
    return told | {"log10_lr": (1.2 * draw.gauss(0.0, 1.0) - 0.72) / log(10)}  # of mean 1 before its logarithm


def _scrutiny(claims: tuple[ValidityClaim, ...], plan: ScrutinyPlan) -> Scrutiny:
    ranges = {"low": 0.0, "high": 1.0, "source": "none"}
    may = (Variable(name="x", case=0.0, scale=0.25, **ranges), Variable(name="y", case=0.5, scale=0.25, **ranges))
    return Scrutiny(
        name="known", question="?", system=PythonSystem(call=_draws, version="1"), domain=Domain(variables=may),
        generate=lambda condition, seed: (dict(condition), {"donor": False}), claims=claims, plan=plan,
        propositions=("p", "q"), population="none",
    )  # fmt: skip


def at_the_bound(plan: ScrutinyPlan) -> Scrutiny:
    """A system that just keeps all of its claims, anywhere: three rates at their bounds, and a mean ratio of 1."""
    rates = [_fails(name, lambda _: AT_THE_BOUND, AT_THE_BOUND) for name in ("first", "second", "third")]
    mean = ratio_bounds((10,), Ratios(value="log10_lr", truth="donor"))[1]
    return _scrutiny((*rates, mean), plan)


def known_rate(plan: ScrutinyPlan) -> Scrutiny:
    """A system whose failure rate rises with the distance from the case as `rate_at` says."""
    return _scrutiny((_fails("first", lambda one: rate_at(one["x"]), 0.02),), plan)


def failing_beyond(edge: float, plan: ScrutinyPlan) -> Scrutiny:
    """A system that always fails where x is above an edge, and nowhere else."""
    return _scrutiny((_fails("first", lambda one: float(one["x"] > edge), 0.02),), plan)


def intervals(asked: Scrutiny) -> dict[str, bool]:
    """Whether each interval of one audit of `known_rate` holds the true rate.

    Samples by Sobol have the mean rate of their range: x up to 1, or .25 near the case, of which the mean is known.
    """
    found, records = audited(asked)
    assert len({one["seed"] for one in records.values()}) == len(records)  # no seed is asked twice
    claim = found["claims"][0]
    upto = {"overall": 1.0, "near": 0.25, "at the case": 0.0}
    truth = {name: TRUE_AT_CASE + RISE * end**POWER / (POWER + 1) for name, end in upto.items()}
    told = {one["sample"]: one["low"] <= truth[one["sample"]] <= one["high"] for one in claim["samples"]}
    for one in claim["found"]:
        assert one["n"] == sum(stage == f"confirm/{one['which']}/first" for stage, _ in records)
        told[one["which"]] = one["low"] <= rate_at(one["condition"]["x"]) <= one["high"]
    return told
