"""What a fitted law shows, in one sentence, with what stands in the way of believing it."""

from collections.abc import Iterator

from surefoot.laws._scaling._types import WIDER, FamilyLaw
from surefoot.stats import restriction_p

_LIKELY, SEEN, _SURE = 0.1, 0.05, 0.01


def verdict_of(fit: FamilyLaw) -> str:
    """The law with its exponent, or why there is none; then every doubt about it."""
    law, found = fit.law, fit.intervals
    if law.trouble:
        body = law.trouble
    else:
        first = next(iter(found.by_name))
        name = "exponent" if "exponent" in found.by_name else first
        value = f"{law.parameters[name]:.4g} (n = {law.n})"
        value = value if law.exact else f"{found.by_name[name]} ({found.method}, n = {law.n})"
        body = f"y = {law.problem.form.formula} with {name} {value}"
    return "; ".join(
        [
            body,
            *_restrictions(fit),
            *_shape(fit),
            *_noise(fit),
            *law.notes,
            *([found.note] if found.note else []),
            *_choice(fit),
        ]
    )


def _restrictions(fit: FamilyLaw) -> Iterator[str]:
    """Do the points contradict what was fixed or tied?"""
    if fit.free is None:
        return
    p, held = restriction_p(fit.law, fit.free), ", ".join((*fit.options.fixed, *fit.options.tied))
    if p < SEEN:
        freed = ", ".join(f"{name} {value:.4g}" for name, value in fit.free.parameters.items())
        yield f"{'WRONG: ' if p < _SURE else ''}the points contradict {held} (p = {p:.2g}; left free: {freed})"
    elif fit.free.exact and not fit.law.exact:
        yield f"WRONG: the points contradict {held}: they lie on the law without it exactly"


def _shape(fit: FamilyLaw) -> Iterator[str]:
    """Does the law bend where the form cannot, and does a floor predict better?"""
    checks, floor = fit.law.checks, floor_gain(fit)
    wrong = checks.curve_p < _SURE or (floor is not None and checks.curve_p < _LIKELY)
    if checks.curve_p < SEEN:
        yield f"{'WRONG SHAPE: ' if wrong else ''}the residuals are curved (p = {checks.curve_p:.2g})"
    if floor:
        yield f"a floor lowers the held-out error from {floor[0]:.3g} to {floor[1]:.3g} (p = {checks.floor_p:.2g})"
    if wrong:
        yield "do not believe the exponent or its interval: try --form auto"


def floor_gain(fit: FamilyLaw) -> tuple[float, float] | None:
    """Held-out error without and with a floor, where a floor lowers it visibly and the points show one (p < .05)."""
    if fit.choice is None or fit.floored is None:
        return None
    plain = next((held.score for held in fit.choice.held_out if held.form == fit.law.form), None)
    if plain is None or float(f"{plain:.3g}") <= float(f"{fit.floored.score:.3g}"):
        return None
    return plain, fit.floored.score


def _noise(fit: FamilyLaw) -> Iterator[str]:
    checks, method = fit.law.checks, fit.intervals.method
    if checks.noise_p < SEEN:
        way = "grows" if checks.noise_slope > 0 else "falls"
        met = "" if method in ("t", "wild", "pairs") else ", which this interval does not hold"
        yield f"the noise {way} with x (p = {checks.noise_p:.2g}){met}"


def _choice(fit: FamilyLaw) -> Iterator[str]:
    if fit.options.form == "auto" and fit.choice is not None and len(fit.choice.held_out) > 1:
        spans = "exponent" in fit.law.names and not fit.law.exact and fit.law.form != WIDER and WIDER in fit.laws
        held = f"; the interval of the exponent spans that of {WIDER} too" if spans else ""
        yield f"the form was chosen among {len(fit.choice.held_out)} by held-out error{held}"
    if fit.options.selection != "all":
        chosen = "the lowest points of bins" if fit.options.selection == "envelope" else "the points of a Pareto front"
        yield f"{chosen} are no independent runs, so the interval is only indicative"
