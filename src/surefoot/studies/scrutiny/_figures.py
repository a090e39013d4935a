"""The figures of the study: failures by distance, what a validation study would see, queries to find."""

from surefoot.core import Figure, Measurement, Results
from surefoot.figures import Row, interval_plot
from surefoot.scrutiny import DEFECTS
from surefoot.studies.scrutiny._steps import Audit, ByDistance, ValidationStudy

_ONE_BY_ONE = ("ratio of 100", "mean ratio")  # one query cannot refute them
_DISTANCE = (
    "Samples of each audit by the distance of their condition from the case, in the scales that its case states, with "
    "exact intervals. What a search chose is left out."
)
_VALIDATION = (
    "The chance that a study of as many stains as the routine one, but drawn from the domain of the case, shows a "
    "defect, with its exact interval; grouped by what the routine one shows. No second version is at hand."
)
_QUERIES = (
    "The fewest queries of one search of the audit until a claim is suspicious, by its way of choosing conditions. One "
    "search each: benchmarks/README.md has repetitions, with intervals."
)


def _row(label: str, one: Measurement, group: str) -> Row:
    return {"label": label, "value": one.value, "low": one.low, "high": one.high, "n": one.n, "group": group}


def by_distance(results: Results) -> Figure:
    """The failure rate against the distance from the case."""
    found = [(one.step, one.measurement) for one in results.select(ByDistance, metric="failure_rate")]
    rows = [_row(m.shift, m, s.audit.name) for s, m in found if isinstance(s, ByDistance)]
    words = {"name": "distance", "title": "Failures by distance from the case", "x_title": "Share of queries that fail"}
    return interval_plot(rows, **words, caption=_DISTANCE, unit="share", reference=None)


def by_validation(results: Results) -> Figure:
    """Of each planted defect the chance that a validation study shows it."""
    shown = {one.measurement.task: one.measurement.value for one in results.select(ValidationStudy, metric="shown")}
    chances = [one.measurement for one in results.select(ValidationStudy, metric="chance")]
    named = {True: "seen by routine stains", False: "missed by routine stains"}
    rows = [_row(one.task, one, named[shown[one.task] > 0]) for one in sorted(chances, key=lambda one: shown[one.task])]
    words = {"name": "validation", "title": "What a validation study would have seen", "x_title": "Chance to show it"}
    return interval_plot(rows, **words, caption=_VALIDATION, unit="share", reference=None)


def queries_to_find(results: Results) -> Figure:
    """The queries of each way of searching until a planted defect is seen."""
    least: dict[tuple[str, str], float] = {}
    for one in results.select(Audit, metric="queries_to_find"):
        name, method = one.step.name.partition(": ")[2] if isinstance(one.step, Audit) else "", one.measurement.group
        if name in DEFECTS and one.measurement.task not in _ONE_BY_ONE:
            least[name, method] = min(one.measurement.value, least.get((name, method), one.measurement.value))
    rows = [{"label": name, "family": method, "value": value} for (name, method), value in least.items()]
    words = {"name": "queries", "title": "Queries until a defect is seen", "x_title": "Queries"}
    return interval_plot(rows, **words, caption=_QUERIES, unit="number", reference=None)
