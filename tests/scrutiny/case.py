"""A toy: the ratio of a score, wrong for small amounts of kind b."""

import random
from collections.abc import Mapping
from typing import Any

from surefoot.scrutiny import (
    Domain,
    KnownRate,
    PythonSystem,
    Ratios,
    Scrutiny,
    ScrutinyPlan,
    Variable,
    answers,
    deterministic,
    false_inclusion,
    monotone,
)

RATIOS = Ratios(value="log10_lr", truth="contributor")


def ratio(evidence: Mapping[str, Any], seed: int) -> Mapping[str, Any]:
    wrong = 3.0 if evidence["amount"] < 60 and evidence["kind"] == "b" else 0.0
    return {"log10_lr": (2 * evidence["score"] - 2) / 2.302585 + wrong, "text": "The donor is supported."}


def generate(condition: Mapping[str, Any], seed: int) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    draw = random.Random(seed)
    same = draw.random() < 0.3
    score = draw.gauss(2.0 if same else 0.0, 1)
    return {"score": score, "amount": condition["amount"], "kind": condition["kind"]}, {"contributor": same}


def scrutiny() -> Scrutiny:
    domain = Domain(
        variables=(
            Variable(name="amount", case=150.0, low=10.0, high=400.0, scale=100.0, source="validation study, table 3"),
            Variable(name="kind", case="a", choices=("a", "b"), source="expert, report of 3 May"),
        )
    )
    return Scrutiny(
        name="toy",
        question="Does the ratio hold in a case of 150 pg?",
        system=PythonSystem(call=ratio, version="1.0"),
        domain=domain,
        generate=generate,
        claims=(
            false_inclusion(0.25, RATIOS),
            deterministic(),
            answers(),
            monotone(
                "higher score", lambda evidence, seed: {**evidence, "score": evidence["score"] + 1}, value="log10_lr"
            ),
        ),
        plan=ScrutinyPlan(overall=32, near=32, at_case=10, budget=24, approach=24, confirm=40, seed=5),
        propositions=("the person of interest is a donor", "an unknown person is"),
        population="toy population",
        known={"false inclusion above 1": KnownRate(failed=2, n=60, source="maker's validation, 2021")},
    )
