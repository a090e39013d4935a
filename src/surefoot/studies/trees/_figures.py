"""The figures of a sweep: trade-off, tables of learners, differences, equal budgets, sensitivity, brittleness, cost."""

from collections.abc import Mapping
from typing import Any

from surefoot.core import Figure, Results
from surefoot.figures import interval_plot, robustness_scatter, scaling_curve
from surefoot.studies.trees._results import FAMILIES, Pooled, by_table, mean_over_splits, spread_over, table_of
from surefoot.tabular import BY_CVAR, BY_WORST_GROUP, LEARNERS, TableComparison


def trade_off(results: Results) -> Figure:
    """Accuracy against worst-group accuracy of the best of each family on each table."""
    points = []
    for family in FAMILIES:
        accuracy = by_table(results, "accuracy", f"family: {family}", BY_WORST_GROUP)
        worst = by_table(results, "worst_group_accuracy", f"family: {family}", BY_WORST_GROUP)
        for name in sorted(accuracy.keys() & worst.keys()):
            y = worst[name]
            bounds = {"y_low": max(y.low, 0.0), "y_high": min(y.high, 1.0)} if y.low is not None and y.high else {}
            point = {"x": accuracy[name].value, "y": y.value, "family": family, "label": f"{family}, {name}", "n": y.n}
            points.append(point | bounds)
    return robustness_scatter(
        points,
        name="trade-off",
        title="What each family reaches",
        caption="Test accuracy and worst-group accuracy, on each table, of the configuration of a family with the best "
        "worst group on validation, averaged over splits. The distance below y = x is what the worst group lacks.",
        x_title="Accuracy",
        y_title="Worst-group accuracy",
        axis="linear",
        families=[family for family in FAMILIES if any(point["family"] == family for point in points)],
        family_title="Family",
    )


def differences(results: Results) -> Figure:
    """Trees minus each other family, by table."""
    effects = []
    for family in FAMILIES[1:]:
        parts = by_table(results, "difference in worst_group_accuracy", f"trees - {family}", BY_WORST_GROUP)
        for name, part in sorted(parts.items()):
            bounds = {"low": part.low, "high": part.high}
            effects.append({"label": name, "value": part.value, "group": f"trees - {family}", "n": part.n, **bounds})
    return interval_plot(
        effects,
        name="differences",
        title="Trees against the others in worst-group accuracy",
        caption="The best configuration of each family on validation, compared on the same test rows. Right of the "
        "line: trees are better. Intervals join the bootstrap of the test rows and the spread of the splits.",
        x_title="Difference in worst-group accuracy",
    )


Tries = Mapping[tuple[str, int], Mapping[tuple[str, int], float]]
"""Worst-group error by learner and configurations tried, then by table and split."""


def equal_budget(results: Results) -> Figure:
    """The best of k random configurations of each learner, averaged over tables, with the mean of each family."""
    tries = _tries(results)
    most = max((len(errors) for errors in tries.values()), default=0)
    whole = {at: errors for at, errors in tries.items() if len(errors) == most}
    rows: list[dict[str, Any]] = [
        {
            "x": k,
            "y": sum(errors.values()) / len(errors),
            "family": LEARNERS[name].family,
            "label": LEARNERS[name].title,
            "n": len(errors),
        }
        for (name, k), errors in whole.items()
    ]
    return scaling_curve(
        rows,
        _family_lines(whole),
        name="equal-budget",
        title="Equal budgets",
        caption="Worst-group error on test of the best of k random configurations, chosen on validation: the exact "
        "mean over all draws of k, over tables and splits (n). Points are learners, lines the mean of a family's "
        "learners that have as many, bands its 95 percent interval over splits where there are enough of them. "
        "Learners with larger grids have no advantage here.",
        x_title="Configurations tried",
        y_title="Worst-group error",
        families=[family for family in FAMILIES if any(row["family"] == family for row in rows)],
        family_title="Family",
    )


def _tries(results: Results) -> Tries:
    found: dict[tuple[str, int], dict[tuple[str, int], float]] = {}
    for each in results.select(TableComparison, metric="worst_group_accuracy", shift="best of random"):
        at = each.measurement
        if at.group in LEARNERS and isinstance(each.step, TableComparison):
            split = (table_of(each), each.step.fits[0].design.seed)
            found.setdefault((at.group, at.replicate), {})[split] = 1 - each.value
    return found


def _family_lines(tries: Tries) -> list[dict[str, Any]]:
    """The mean over the same learners of a family at every k: those that were tried most often."""
    lines = []
    for family in FAMILIES:
        inside = {at: errors for at, errors in tries.items() if LEARNERS[at[0]].family == family}
        most = max((k for _, k in inside), default=0)
        members = [name for name, k in inside if k == most]
        for k in sorted({k for _, k in inside}):
            known = [inside[name, k] for name in members if (name, k) in inside]
            if known:
                means = {split: sum(errors[split] for errors in known) / len(known) for split in known[0]}
                lines.append({"x": k, "family": family, **mean_over_splits(means)})
    return lines


def sensitivity(results: Results) -> Figure:
    """The share of configurations near the best, by learner."""
    effects = []
    for learner, described in LEARNERS.items():
        parts = list(by_table(results, "share near the best", learner, "").values())
        if parts:
            effects.append(_near_the_best(parts) | {"label": described.title, "family": described.family})
    return interval_plot(
        effects,
        name="sensitivity",
        title="How much hangs on the configuration",
        caption="The share of a learner's configurations whose worst-group accuracy on test is within two points of "
        "its best, with the interval over tables (of one table: over splits); n is how many configurations. A high "
        "share means that little tuning is needed.",
        x_title="Configurations within two points of the best",
        unit="share",
        reference=None,
        families=[family for family in FAMILIES if any(row["family"] == family for row in effects)],
        family_title="Family",
    )


def _near_the_best(parts: list[Pooled]) -> dict[str, Any]:
    """The mean over tables, with the interval of their spread where there are two (else of the splits'), in 0 to 1."""
    found = spread_over([part.value for part in parts]) if len(parts) > 1 else parts[0]
    bounds = {} if found.low is None else {"low": max(found.low, 0.0), "high": min(found.high or 1.0, 1.0)}
    return {"value": found.value, "n": parts[0].rows, **bounds}


def brittleness(results: Results) -> Figure:
    """What choosing by CVaR in place of accuracy costs trees and robust learners, by table."""
    effects = [
        {"label": name, "value": part.value, "low": part.low, "high": part.high, "n": part.n, "group": family}
        for family in FAMILIES[:3]
        for name, part in sorted(by_table(results, "lost by choosing CVaR", f"family: {family}", BY_CVAR).items())
    ]
    return interval_plot(
        effects,
        name="brittleness",
        title="What it costs to choose by the wrong metric",
        caption="Worst-group accuracy on test that is lost when a family's configuration is chosen by CVaR on "
        "validation, in place of accuracy. A small loss in the tail is not a right decision: a model that says one "
        "half to everybody has a low CVaR.",
        x_title="Worst-group accuracy lost",
    )


def cost(results: Results) -> Figure:
    """CPU seconds a configuration."""
    spent: dict[str, list[float]] = {}
    for each in results.select(TableComparison, metric="cpu_seconds_each"):
        spent.setdefault(each.measurement.group, []).append(each.value)
    worst = {name: by_table(results, "worst_group_accuracy", name, BY_WORST_GROUP) for name in spent}
    rows = [
        {
            "x": max(sum(seconds) / len(seconds), 1e-3),
            "y": 1 - sum(part.value for part in worst[name].values()) / len(worst[name]),
            "family": LEARNERS[name].family,
            "label": LEARNERS[name].title,
            "n": len(seconds),
        }
        for name, seconds in spent.items()
        if worst[name]
    ]
    return scaling_curve(
        rows,
        name="cost",
        title="Cost",
        caption="CPU seconds a configuration on one core, and worst-group error on test, both averaged over tables. "
        "Configurations that come out of another's fit (shorter ensembles) cost next to nothing and count.",
        x_title="CPU seconds a configuration",
        y_title="Worst-group error",
        families=[family for family in FAMILIES if any(row["family"] == family for row in rows)],
        family_title="Family",
    )
