"""The systems that the study audits, each with its case, what may differ from it, and what it must do."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from functools import cache, partial
from importlib import import_module
from math import isfinite, log10
from typing import Any

import numpy as np

from surefoot import scrutiny
from surefoot.core import SurefootError
from surefoot.scrutiny import Judged, PythonSystem, Ratios, Scrutiny, Trial, Variable

Evidence = Mapping[str, Any]
System = Callable[[Evidence, int], Mapping[str, object]]
_PLAN = scrutiny.ScrutinyPlan(overall=200, near=200, at_case=100, budget=90, approach=30, confirm=200)
_RATIOS = Ratios(value="log10_lr", truth="same")
_MOVES = partial(scrutiny.invariant, value="log10_lr", tolerance=1e-9)


def case(name: str, scale: float = 1.0) -> Scrutiny:
    """One audit by name: one of `CASES`, or "genotyping: DEFECT"; `scale` multiplies every count of its plan.

    "genotyping of two" is the same program near a stain of two persons. Raises for an unknown name.
    """
    system, _, defect = name.partition(": ")
    if system not in CASES:
        raise SurefootError(f"There is no audit '{name}'. Known: {', '.join(CASES)}.")
    made = CASES[system](*([defect] if defect else []))
    counted = ("overall", "near", "at_case", "budget", "approach", "confirm")
    counts = {one: max(1, round(scale * getattr(made.plan, one))) for one in counted}
    return replace(made, plan=replace(made.plan, seed=1, **counts))


def _may(name: str, usual: Any, *others: Any, to: tuple[float, float] | None = None, scale: float = 1.0) -> Variable:
    ends: dict[str, Any] = {"low": to[0], "high": to[1]} if to else {"choices": (usual, *others)}
    return Variable(name=name, case=usual, scale=scale, source="declared for this study", **ends)


def _number(trial: Trial, name: str) -> float:
    return float(str(trial.reply.output[name]))


def _audit(
    question: str, call: System, may: tuple[Variable, ...], generate: Any, claims: Iterable[scrutiny.ValidityClaim], *,
    other: PythonSystem | None = None, propositions: tuple[str, str] = ("", ""), population: str = "",
    plan: scrutiny.ScrutinyPlan = _PLAN,
) -> Scrutiny:  # fmt: skip
    system, domain = PythonSystem(call=call, version="of this study"), scrutiny.Domain(variables=may)
    return Scrutiny(
        name="scrutiny", question=question, system=system, domain=domain, generate=generate, claims=tuple(claims),
        other=other, propositions=propositions, population=population, plan=plan,
    )  # fmt: skip


def _genotyping(defect: str = "", several: int = 3) -> Scrutiny:
    """The semi-continuous model, sound or with a planted defect; every claim holds of the sound one by construction."""

    def planted(evidence: Evidence, seed: int) -> Mapping[str, object]:
        return scrutiny.defective_ratio(defect, evidence, int(evidence.get("asked", seed)))

    def stain(condition: Evidence, seed: int) -> tuple[Evidence, Evidence]:
        evidence, truth = scrutiny.simulate_stain(condition, seed)
        return evidence, {"same": truth["contributor"]}

    return _audit(
        f"Does the program hold for stains like this one, of {several} persons?",
        planted if defect else scrutiny.genotype_ratio,
        (
            _may("contributors", several, 1, *([2] if several > 2 else []), scale=0.5),
            _may("picograms", 900.0, to=(60.0, 5000.0), scale=500.0),
            _may("minor", 0.3, to=(0.05, 0.33), scale=0.1),
            _may("replicates", 1, to=(1, 2)),
            _may("fst", 0.01, to=(0.0, 0.02), scale=0.01),
            _may("dropin", 0.01, 0.0),
            _may("known", 0, 1),
            _may("suspect", "contributor", "unrelated"),
            _may("novel", False, True),
        ),
        stain,
        (
            *scrutiny.ratio_bounds((100.0,), _RATIOS),
            _MOVES("nanograms", lambda one, seed: {**one, "amounts": [a / 1e3 for a in one["amounts"]], "unit": "ng"}),
            _MOVES("replicates turned", lambda one, seed: {**one, "replicates": one["replicates"][::-1]}),
            _MOVES("another seed", lambda one, seed: {**one, "asked": seed + 1}),
            scrutiny.worst_case("one person by hand", _by_hand, bound=0.02),
            scrutiny.ValidityClaim(
                name="a match is lost",
                sentence="A suspect who no longer matches at the locus of common alleles gets a lower ratio.",
                judge=_is_lower,
                change=lambda one, seed: {**one, "suspect": {**one["suspect"], _commonest(one): ["97", "98"]}},
                ratio=True,
            ),
            scrutiny.same_in_versions(tolerance=1e-6),
        ),
        other=PythonSystem(call=scrutiny.genotype_ratio, version="sound"),
        propositions=("the suspect is a contributor", "an unrelated person is, in the suspect's place"),
        population="synthetic",
    )


def _unsealed(several: int) -> Scrutiny:
    """The defect of the unsealed program beside the program without it, near a stain of so many persons.

    Frequencies of alleles that are seen sum to .97 where many are seen: the number of persons decides.
    """
    usual = {"population": "SGMPlus_UK", "dropin": 0.0, "suspect": "contributor"}

    def stain(condition: Evidence, seed: int) -> tuple[Evidence, Evidence]:
        n = int(condition["contributors"])
        evidence, truth = scrutiny.simulate_stain(
            usual | {"contributors": n, "minor": 1 / n, "picograms": n * condition["each"]}, seed
        )
        return evidence, {"same": truth["contributor"]}

    return _audit(
        f"Does the program leave out a locus of a stain like this one, of {several} persons?",
        partial(scrutiny.defective_ratio, "common locus dropped"),
        (
            _may("contributors", several, *{1, 2, 3} - {several}, scale=0.5),
            _may("each", 300.0, to=(100.0, 500.0), scale=100.0),
        ),
        stain,
        [scrutiny.same_in_versions(tolerance=1e-6)],
        other=PythonSystem(call=scrutiny.genotype_ratio, version="sound"),
        plan=replace(_PLAN, overall=100, near=200, at_case=600, budget=30),
    )


def _by_hand(trial: Trial) -> float | None:
    """How far the ratio is from Balding and Nichols' of one person whose whole profile is seen, where it is.

    Their formula knows no drop-in, which alone moves the ratio of a homozygous profile by up to .05.
    """
    evidence, total = trial.evidence, 0.0
    alone = evidence["contributors"] == 1 and not evidence["dropin"] and len(evidence["replicates"]) == 1
    if not alone or evidence["amounts"][0] < 900:
        return None
    t, people = float(evidence["fst"]), scrutiny.population(evidence["population"])
    for name, (one, other) in evidence["suspect"].items():
        if set(evidence["replicates"][0][name]) != {one, other}:
            return None
        p, q = (people.frequency(name, allele) for allele in (one, other))
        twice, a, b = (1, 2, 3) if one == other else (2, 1, 1)
        total += log10((1 + t) * (1 + 2 * t) / (twice * (a * t + (1 - t) * p) * (b * t + (1 - t) * q)))
    return abs(total - _number(trial, "log10_lr"))


def _commonest(evidence: Evidence) -> str:
    """The locus whose seen alleles are the most frequent together: where a match says least."""
    return max(evidence["suspect"], key=partial(scrutiny.seen_frequency, evidence))


def _is_lower(trial: Trial) -> Judged | None:
    first, second = _number(trial, "log10_lr"), float(str(trial.second["a match is lost"].output["log10_lr"]))
    name = _commonest(trial.evidence)
    seen = {*trial.evidence["suspect"][name]} <= {*trial.evidence["replicates"][0][name]}
    return Judged(second - first + 1e-9) if seen and isfinite(first) else None


def _count() -> Scrutiny:
    """The number of contributors by the most alleles at a locus, on real mixtures of four donor sets."""

    kinds, thresholds = _may("kind", "D", "A", "B", "C", "E"), _may("threshold", "high", "low")
    return _audit(
        "Is the number of contributors right for a mixture of four with a minor one at 30 pg?",
        scrutiny.contributors_by_count,
        (_may("contributors", 4, to=(2, 5), scale=0.5), kinds, thresholds),
        scrutiny.laboratory_stain,
        [
            scrutiny.worst_case(
                "wrong number",
                lambda one: abs(_number(one, "contributors") - one.truth["contributors"]),
                bound=0.5,
                rate=0.2,
            )
        ],
    )


def _glass(call: System, *, scores: bool = True) -> Scrutiny:
    """Two pieces of glass, from windows that no training saw; the case is of two windows that are much alike."""

    def score(condition: Evidence, seed: int) -> tuple[Evidence, Evidence]:
        evidence, truth = scrutiny.glass_pair(condition, seed)
        return {"score": scrutiny.glass_ratio(evidence)["score"], "column": False}, truth

    of_scores = (
        scrutiny.monotone("a higher score", lambda one, seed: {**one, "score": one["score"] + 0.2}, value="log10_lr"),
        _MOVES("as a column", lambda one, seed: {**one, "column": True}),
    )
    infinite = scrutiny.worst_case("infinite ratio", lambda one: not isfinite(_number(one, "log10_lr")), bound=0.5)
    claims = (scrutiny.false_inclusion(0.05, _RATIOS), infinite)
    return _audit(
        "Does the ratio mislead where two windows are nearest in composition?",
        call,
        (_may("rank", 1, to=(0, 300)), _may("part", "triplo", "duplo"), _may("same", False, True)),
        score if scores else scrutiny.glass_pair,
        (*claims, *(of_scores if scores else ())),
        propositions=("both sets of pieces come from one window", "they come from two windows of the population"),
        population="float glass of Dutch casework",
    )


def _bounded(call: System, *, scores: bool = False) -> Scrutiny:
    """Ratios of glass as they are handed out, within the bounds that the calibration data support (ELUB)."""
    ratios = replace(_RATIOS, value="log10_lr_elub")

    claims = (
        scrutiny.false_inclusion(0.05, ratios),
        *scrutiny.ratio_bounds((100.0,), ratios),
        scrutiny.calibration(ratios, bound=0.4),
        scrutiny.worst_case(
            "beyond its bounds",
            lambda one: abs(_number(one, "log10_lr") - _number(one, "log10_lr_elub")),
            bound=0.0,
            rate=0.2,
        ),
    )
    return replace(_glass(call, scores=scores), claims=claims)


def _tablets() -> Scrutiny:
    """Two tablets, of batches that no training saw; the case is of two batches that are much alike."""
    return _audit(
        "Does the ratio mislead where two batches of tablets are nearest?",
        scrutiny.tablet_ratio,
        (_may("rank", 1, to=(0, 79)), _may("same", False, True)),
        scrutiny.tablet_pair,
        (scrutiny.false_inclusion(0.05, _RATIOS), *scrutiny.ratio_bounds((100.0,), _RATIOS)),
        propositions=("both tablets come from one batch", "they come from two batches of the population"),
        population="batches of tablets of the published benchmark",
    )


def _calibrated(make: str) -> System:
    """A calibrator that others wrote, fitted to the scores of half of the training windows, a row or a column."""

    @cache
    def fitted(column: bool) -> Any:
        known = scrutiny.trained_on_glass()
        x = known.scores[:, None] if column else known.scores
        if make == "isotonic":
            from sklearn.isotonic import IsotonicRegression

            return IsotonicRegression(out_of_bounds="clip").fit(x, known.same).predict
        if make == "kernel":
            made = import_module("lir.algorithms.kde").KDECalibrator(bandwidth="silverman")
        else:
            made = getattr(import_module("lir.algorithms.logistic_regression"), make)()
        return made.fit(x, known.same.astype(int)).transform

    @cache
    def supported() -> tuple[float, float]:
        known = scrutiny.trained_on_glass()
        ratios = np.ravel(fitted(False)(known.scores))
        return scrutiny.elub(ratios[known.same], ratios[~known.same])

    def call(evidence: Evidence, seed: int) -> Mapping[str, object]:
        x = np.reshape(evidence["score"], (1, 1)[: 1 + evidence["column"]])
        found = float(np.ravel(fitted(evidence["column"])(x))[0])
        share = scrutiny.trained_on_glass().same.mean()
        with np.errstate(divide="ignore"):
            odds = np.log10(found) - np.log10(1 - found) - log10(share / (1 - share)) if make == "isotonic" else found
        bounded = {"log10_lr_elub": float(np.clip(odds, *supported()))} if make == "LogitCalibrator" else {}
        return {"log10_lr": float(odds)} | bounded

    return call


def _striations() -> Scrutiny:
    """A correlation of two marks, of tools that share a feature of their make."""
    return _audit(
        "Can marks of two tools of one make match as well as those of one tool do?",
        scrutiny.striation_score,
        (_may("feature", 0.5, to=(0.0, 0.9), scale=0.2), _may("noise", 0.3, to=(0.1, 0.6), scale=0.1)),
        scrutiny.simulate_striations,
        [scrutiny.worst_case("two tools above .8", lambda trial: _number(trial, "score"), bound=0.8, rate=0.05)],
    )


CASES: Mapping[str, Callable[..., Scrutiny]] = {
    "genotyping": _genotyping,
    "genotyping of two": partial(_genotyping, several=2),
    "count of alleles": _count,
    "glass, two-level": partial(_glass, scrutiny.glass_ratio, scores=False),
    "glass, isotonic (scikit-learn)": partial(_glass, _calibrated("isotonic")),
    "glass, logistic (lir)": partial(_glass, _calibrated("FourParameterLogisticCalibrator")),
    "glass, kernel (lir)": partial(_glass, _calibrated("kernel")),
    "toolmarks": _striations,
    "glass, two-level within bounds": partial(_bounded, scrutiny.glass_ratio),
    "glass, learned score within bounds (lir)": partial(_bounded, _calibrated("LogitCalibrator"), scores=True),
    "tablets, two-level": _tablets,
    "unsealed defect, three persons": partial(_unsealed, 3),
    "unsealed defect, two persons": partial(_unsealed, 2),
}
"""Every audit: those of lir need that package."""
