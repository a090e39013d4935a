"""A landscape as claims and figures read it: the fit on logit axes, and what moves it."""

import csv
from collections.abc import Iterator, Mapping
from functools import lru_cache
from math import hypot, inf
from typing import TypeVar

from surefoot.core import Measurement, Results, Step, SurefootError
from surefoot.laws import AVERAGE, ShiftFit
from surefoot.stats import Axis, error_of_bounds, t_quantile
from surefoot.studies._hypotheses import Pooled, Same
from surefoot.studies.reading._noise import question_errors
from surefoot.studies.reading._published import BASELINE, PublishedLandscape

Landscape = type[PublishedLandscape] | type[ShiftFit]
MEAN, R2, OUTSIDE = "mean_effective_robustness", "r2", "extrapolated_share"
Fit = TypeVar("Fit", bound=PublishedLandscape | ShiftFit)
Found = Mapping[tuple[str, str, str], Measurement]


def found_in(results: Results, kind: Landscape, *, axis: Axis = "logit", cluster: bool = False) -> Found:
    """The Measurements of a landscape by metric, shift and group. Raises when it is not in the store."""
    found = _by_choice(Same(results), kind).get((axis, cluster))
    if not found:
        raise SurefootError(f"The landscape on {axis} axes is not in the store: run the study first.")
    return found


def robustness_of(results: Results, kind: Landscape, group: str, shift: str = AVERAGE) -> Pooled:
    """Mean effective robustness of an adaptation over the line of the fully fine-tuned, as a fraction.

    Bounds are those of the bootstrap over models and line together; the error is the one that they stand for.
    """
    main = found_in(results, kind)
    measured = main.get((MEAN, shift, group))
    if measured is None or measured.low is None or measured.high is None or measured.n < 2:
        raise SurefootError(f"The landscape has too few readers that were '{group}' for an interval.")
    low, high = _with_questions(results, kind, measured)
    error = error_of_bounds(low, high, freedom=measured.n - 1)
    beyond = main[OUTSIDE, shift, group].value == 1.0
    return Pooled(
        value=measured.value / 100,
        stderr=error / 100,
        n=measured.n,
        freedom=measured.n - 1,
        bounds=(low / 100, high / 100),
        doubt=f"All {measured.n} lie beyond the range of the {BASELINE} readers, where the line is extrapolated and "
        "not measured."
        if beyond
        else "",
    )


def _with_questions(results: Results, kind: Landscape, measured: Measurement) -> tuple[float, float]:
    """The bounds, over readers and line, widened by what the questions leave open where their answers are known."""
    low, high = (measured.value if end is None else end for end in (measured.low, measured.high))
    if kind is PublishedLandscape:
        return low, high
    error = question_errors(results, main_fit(results, ShiftFit)).get((measured.group, measured.shift), 0.0)
    half = 100 * error * t_quantile(0.95, inf)
    return measured.value - hypot(measured.value - low, half), measured.value + hypot(high - measured.value, half)


def inside_of(results: Results, kind: Landscape, group: str) -> tuple[int, int]:
    """How many readers of an adaptation lie inside the baseline's range, and how many there are."""
    share = found_in(results, kind)[OUTSIDE, AVERAGE, group]
    return round((1 - share.value) * share.n), share.n


def by_shift(results: Results, kind: Landscape, group: str) -> dict[str, Measurement]:
    """Mean effective robustness of an adaptation under each shift alone, the least first."""
    found = {key[1]: one for key, one in found_in(results, kind).items() if key[0] == MEAN and key[2] == group}
    return dict(sorted(((name, one) for name, one in found.items() if name != AVERAGE), key=lambda item: item[1].value))


def moved_by(results: Results, kind: Landscape, group: str) -> dict[str, dict[str, float]]:
    """The average of an adaptation in points: under "axis" by the other axes, under "without-family" by families."""
    main = main_fit(results, kind)
    found: dict[str, dict[str, float]] = {"axis": {}, "without-family": {}}
    for row in read_section(results, main, "sensitivity"):
        if (row["shift"], row["group"]) == (AVERAGE, group) and row["changed"] in found and row["points"]:
            found[row["changed"]][row["to"]] = float(row["points"])
    return found


def main_fit(results: Results, kind: type[Fit]) -> Fit:
    """The fit of a landscape on logit axes over all readers."""
    return next(step for step in results.steps if isinstance(step, kind) and _choice(step) == ("logit", False))


def read_section(results: Results, step: Step, section: str) -> Iterator[dict[str, str]]:
    """The rows of one of the tables that a fit wrote."""
    text = (results.store.path(step) / f"{section}.tsv").read_text(encoding="utf-8")
    return csv.DictReader(text.splitlines(), delimiter="\t")


def what_moves_it(results: Results, kind: Landscape, group: str) -> str:
    """In words: how many are inside the range, over families, on other axes, without a family, the range of shifts."""
    inside, n = inside_of(results, kind, group)
    told = [f"{inside} of {n} inside the range of the baseline"]
    families = _by_choice(Same(results), kind).get(("logit", True), {}).get((MEAN, AVERAGE, group))
    if families is not None and families.low is not None and families.high is not None:
        told.append(f"with whole families drawn [{families.low:+.1f}, {families.high:+.1f}]")
    moved = moved_by(results, kind, group)
    told += [f"{axis} axes {points:+.1f}" for axis, points in moved["axis"].items()]
    if without := moved["without-family"].values():
        told.append(f"the line without one of its families {min(without):+.1f} to {max(without):+.1f}")
    shifts = list(by_shift(results, kind, group).items())
    if shifts:
        (least, low), (most, high) = shifts[0], shifts[-1]
        told.append(f"by shift from {low.value:+.1f} ({least}) to {high.value:+.1f} ({most})")
    return "; ".join(told)


@lru_cache(maxsize=4)
def _by_choice(same: Same, kind: Landscape) -> dict[tuple[Axis, bool], dict[tuple[str, str, str], Measurement]]:
    found: dict[tuple[Axis, bool], dict[tuple[str, str, str], Measurement]] = {}
    for each in same.results.select(kind):
        measured = each.measurement
        found.setdefault(_choice(each.step), {})[measured.metric, measured.shift, measured.group] = measured
    return found


def _choice(step: Step) -> tuple[Axis, bool]:
    if not isinstance(step, (PublishedLandscape, ShiftFit)):
        raise SurefootError(f"{type(step).__name__} is no landscape.")
    return step.axis, step.cluster
