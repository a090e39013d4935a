"""The best size and data for compute, by each family's law of both: table, comparison in words, figure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from surefoot.core import Figure, SurefootError, Table
from surefoot.figures import scaling_curve
from surefoot.laws._results._table import plain_cell
from surefoot.laws._scaling._predict import places_of
from surefoot.laws._scaling._types import ScalingLaws
from surefoot.stats import ComputeOptimal, compute_optimal, exponent_difference, holm

_SIZE, _DATA = ("n", "params", "parameters", "size"), ("d", "data", "tokens", "samples", "samples_seen")
_COLUMNS = ("size", "data", "value")


@dataclass(frozen=True, kw_only=True)
class OptimalPlans:
    """The best N and D of each family at the compute asked for, and over the range for a figure; with sentences."""

    plans: Mapping[str, ComputeOptimal]
    curves: Mapping[str, ComputeOptimal]
    words: tuple[str, ...]


def optimal_plans(laws: ScalingLaws, compute: Sequence[str], *, cost: float = 6.0) -> OptimalPlans:
    """The plans of all families at `compute` (as people write numbers), their exponents compared by Welch and Holm."""
    if not cost > 0:
        raise SurefootError(f"The compute of one parameter and sample must be above 0; got {cost}.")
    asked = places_of(compute, ("compute",))[:, 0]
    plans, curves = {}, {}
    for fit in laws.fits:
        if len(fit.points.x_names) != 2:
            raise SurefootError("The best size is that of a law of size and data: --x N D --form two-variable.")
        size, data = (name.strip().lower() for name in fit.points.x_names)
        if size in _DATA or data in _SIZE:
            raise SurefootError(
                f"The size comes first and the data second: --x {' '.join(reversed(fit.points.x_names))}, not "
                f"--x {' '.join(fit.points.x_names)}."
            )
        seen = cost * fit.used_x.prod(axis=1)
        grid = np.geomspace(min(seen.min(), asked.min()), max(10 * seen.max(), asked.max()), 40)
        for made, budget in ((plans, asked), (curves, grid)):
            made[fit.points.family] = compute_optimal(
                fit.law, fit.intervals, budget, cost=cost, level=fit.options.level
            )
    return OptimalPlans(plans=plans, curves=curves, words=tuple(_words(plans)))


def plan_table(plans: OptimalPlans) -> Table:
    """A row a family and compute: N, D and the law there, with bounds; what is not known is None."""
    bounds = [f"{name}{side}" for name in _COLUMNS for side in ("", "_low", "_high")]
    rows = [
        (family, *map(plain_cell, row))
        for family, plan in plans.plans.items()
        for row in zip(plan.compute, *(getattr(plan, name) for name in bounds), strict=True)
    ]
    named = [name.replace("size", "N").replace("data", "D") for name in bounds]
    return Table(("family", "compute", *named), tuple(rows))


def plan_figure(plans: OptimalPlans) -> Figure:
    """The best size against compute with its band, and the budgets that were asked for as points."""
    points = [
        {"x": x, "y": y, "low": low, "high": high, "family": family, "label": f"D = {data:.3g}"}
        for family, plan in plans.plans.items()
        for x, y, low, high, data in _rows(plan)
    ]
    curve = [
        {"x": x, "y": y, "low": low, "high": high, "family": family}
        for family, plan in plans.curves.items()
        for x, y, low, high, _ in _rows(plan)
    ]
    return scaling_curve(
        points,
        curve,
        name="optimal",
        title="The best size for compute",
        caption=f"By the law of size and data; bands: {_level(plans):.0%}. {'. '.join(plans.words)}.",
        x_title="Compute",
        y_title="Parameters N",
        unit="number",
        families=list(plans.plans),
    )


def _rows(plan: ComputeOptimal) -> list[list[float | None]]:
    table = np.column_stack([plan.compute, plan.size, plan.size_low, plan.size_high, plan.data])
    return [[plain_cell(cell) for cell in row] for row in table]


def _level(plans: OptimalPlans) -> float:
    return next(iter(plans.plans.values())).exponent.level


def _words(plans: Mapping[str, ComputeOptimal]) -> list[str]:
    said = [
        f"{f'{family}: ' if family else ''}the best N grows as compute^{plan.exponent}"
        for family, plan in plans.items()
    ]
    # Where alpha and beta are tied, the exponent is one half whatever the data.
    free = [name for name, plan in plans.items() if plan.exponent_error > 1e-9]
    pairs = list(combinations(free, 2))
    found = [exponent_difference(plans[a], plans[b]) for a, b in pairs]
    adjusted = holm([p for _, p in found]) if found else ()
    for (a, b), (difference, p), corrected in zip(pairs, found, adjusted, strict=True):
        verdict = "differ" if corrected < 1 - difference.level else "undecided" if np.isfinite(p) else "untestable"
        by_holm = f", {corrected:.2g} by Holm over {len(found)} comparisons" if len(found) > 1 else ""
        tested = f"p = {p:.2g}{by_holm}" if np.isfinite(p) else "no degree of freedom"
        said.append(f"{a} against {b}: {verdict}: exponents of N differ by {difference} ({tested})")
    return said
