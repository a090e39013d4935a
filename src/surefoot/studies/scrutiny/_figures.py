"""The figures of the study: failures by distance, what a validation study would see, queries to find."""

from surefoot.core import Figure, Results
from surefoot.figures import interval_plot
from surefoot.scrutiny import DEFECTS
from surefoot.studies.scrutiny._steps import Audit, ByDistance, ValidationStudy

_ONE_BY_ONE = ("ratio of 100", "mean ratio")  # one query cannot refute them


def by_distance(results: Results) -> Figure:
    """The failure rate against the distance from the case."""
    rows = [
        {"label": one.measurement.shift, "value": one.measurement.value, "low": one.measurement.low}
        | {"high": one.measurement.high, "n": one.measurement.n, "group": f"{one.step.audit.name}: {one.step.claim}"}
        for one in results.select(ByDistance, metric="failure_rate")
        if isinstance(one.step, ByDistance)
    ]
    return interval_plot(
        rows, name="distance", title="Failures by distance from the case", unit="share", reference=None,
        caption="Samples of each audit by the distance of their condition from the case, in the scales that its case "
        "states, with exact intervals. What a search chose is left out.",
        x_title="Share of queries that fail",
    )  # fmt: skip


def by_validation(results: Results) -> Figure:
    """Of each planted defect the chance that a validation study shows it."""
    found = results.select(ValidationStudy, metric="chance")
    shown = {one.measurement.task: one.measurement for one in results.select(ValidationStudy, metric="shown")}
    rows = [
        {"label": one.measurement.task, "value": one.measurement.value, "low": one.measurement.low}
        | {"high": one.measurement.high, "group": _group(shown[one.measurement.task].value)}
        for one in found
    ]
    n = next(iter(shown.values())).n
    return interval_plot(
        sorted(rows, key=lambda row: row["group"]), name="validation", unit="share", reference=None,
        title="What a validation study would have seen",
        caption=f"By routine stains: what {n} of two persons with plenty of DNA show. The chance is that of a study of "
        f"{n} stains drawn from the domain of the case, with its exact interval. No second version is at hand.",
        x_title=f"Chance that {n} stains like the case's show the defect",
    )  # fmt: skip


def _group(shown: float) -> str:
    return "seen by routine stains" if shown else "missed by routine stains"


def queries_to_find(results: Results) -> Figure:
    """The queries of each way of searching until a planted defect is seen."""
    least: dict[tuple[str, str], float] = {}
    for one in results.select(Audit, metric="queries_to_find"):
        name, method = one.step.name.partition(": ")[2] if isinstance(one.step, Audit) else "", one.measurement.group
        if name in DEFECTS and one.measurement.task not in _ONE_BY_ONE:
            least[name, method] = min(one.measurement.value, least.get((name, method), one.measurement.value))
    rows = [{"label": name, "family": method, "value": value} for (name, method), value in least.items()]
    return interval_plot(
        rows, name="queries", title="Queries until a defect is seen", unit="number", reference=None,
        caption="The fewest queries of one search of the audit until a claim is suspicious, by its way of choosing "
        "conditions. One search each: benchmarks/README.md has repetitions, with intervals.",
        x_title="Queries",
    )  # fmt: skip
