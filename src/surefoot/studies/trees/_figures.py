"""The figures of a sweep and of the study: differences, rows, budgets, sensitivity, the wrong metric, cost."""

from collections.abc import Mapping
from typing import Any

from surefoot.core import Figure, Results
from surefoot.figures import interval_plot, scaling_curve
from surefoot.studies.trees._results import (
    FAMILIES,
    by_table,
    comparison_of,
    observed,
    over_tables,
    spread_over,
    table_of,
)
from surefoot.tabular import (
    BY_CVAR,
    BY_WORST_GROUP,
    LEARNED,
    LEARNERS,
    LOST_BY_CVAR,
    NEAR_BEST,
    difference_in,
    family_party,
    pair_of,
)


def differences(results: Results) -> Figure:
    """Trees minus each other family, by table and over them."""
    effects = []
    for family in FAMILIES[1:]:
        parts = by_table(results, difference_in("worst_group_accuracy"), pair_of("trees", family), BY_WORST_GROUP)
        shown = dict(sorted(parts.items())) | ({"over tables": over_tables(parts.values())} if len(parts) > 1 else {})
        for name, part in shown.items():
            bounds = {"low": part.low, "high": part.high}
            effects.append(
                {"label": name, "value": part.value, "group": pair_of("trees", family), "n": part.rows, **bounds}
            )
    return interval_plot(
        effects,
        name="differences",
        title="Trees against the others in worst-group accuracy",
        caption="The best configuration of each family on validation, compared on the same test rows (n). Right of the "
        "line: trees are better. Intervals are of the bootstrap of the test rows, or of the spread of the folds where "
        "that is wider; over tables, of a hierarchy in which tables differ.",
        x_title="Difference in worst-group accuracy",
    )


def more_rows(results: Results) -> Figure:
    """Worst-group error by training rows, on the same test rows, averaged over the tables that have all numbers."""
    errors: dict[tuple[str, int], dict[str, float]] = {}
    for learner in LEARNERS:
        for each in observed(results, "worst_group_accuracy", learner, BY_WORST_GROUP, curve=True):
            rows = comparison_of(each).fits[0].design.rows
            errors.setdefault((learner, rows), {})[table_of(each)] = 1 - each.value
    most = max(map(len, errors.values()), default=0)
    points: list[dict[str, Any]] = [
        {"x": rows, "y": sum(found.values()) / most, "family": LEARNERS[learner].title, "n": most}
        for (learner, rows), found in sorted(errors.items())
        if len(found) == most
    ]
    return scaling_curve(
        points,
        [{name: point[name] for name in ("x", "y", "family")} for point in points],
        name="more-rows",
        title="More training rows",
        caption="Worst-group error on the same test rows (a third of each large table), chosen on validation, averaged "
        "over tables (n). Networks take as many steps at every number of rows.",
        x_title="Training rows",
        y_title="Worst-group error",
        family_title="Learner",
    )


def equal_budget(results: Results) -> Figure:
    """The best of k random configurations of each learner, averaged over tables, with the mean of each family."""
    tries: dict[tuple[str, int], list[float]] = {}
    for learner in LEARNERS:
        for each in observed(results, "worst_group_accuracy", learner, "best of random"):
            tries.setdefault((learner, each.measurement.replicate), []).append(1 - each.value)
    most = max(map(len, tries.values()), default=0)
    means = {at: sum(errors) / most for at, errors in tries.items() if len(errors) == most}
    rows: list[dict[str, Any]] = [
        {"x": k, "y": y, "family": LEARNERS[name].family, "label": LEARNERS[name].title, "n": most}
        for (name, k), y in means.items()
    ]
    return scaling_curve(
        rows,
        _family_lines(means),
        name="equal-budget",
        title="Equal budgets",
        caption="Worst-group error on test of the best of k configurations of the budget, chosen on validation: the "
        "exact mean over all draws of k, over folds and tables (n). Points are learners, lines the mean of a family's.",
        x_title="Configurations tried",
        y_title="Worst-group error",
        families=[family for family in FAMILIES if any(row["family"] == family for row in rows)],
        family_title="Family",
    )


def _family_lines(means: Mapping[tuple[str, int], float]) -> list[dict[str, Any]]:
    """The mean over the same learners of a family at every k: those that were tried most often."""
    lines = []
    for family in FAMILIES:
        inside = {at: y for at, y in means.items() if LEARNERS[at[0]].family == family}
        most = max((k for _, k in inside), default=0)
        members = [name for name, k in inside if k == most]
        for k in sorted({k for _, k in inside}):
            known = [inside[name, k] for name in members if (name, k) in inside]
            lines.append({"x": k, "family": family, "y": sum(known) / len(known)})
    return lines


def sensitivity(results: Results) -> Figure:
    """The share of configurations near the best, by learner, and the share that learned at all."""
    effects = []
    for learner, described in LEARNERS.items():
        for metric, title in ((NEAR_BEST, "near the best"), (LEARNED, "learned")):
            if parts := list(by_table(results, metric, learner, "").values()):
                found = spread_over([part.value for part in parts]) if len(parts) > 1 else parts[0]
                bounds = {} if found.low is None else {"low": max(found.low, 0), "high": min(found.high or 1, 1)}
                row = {"label": described.title, "family": described.family, "n": sum(part.rows for part in parts)}
                effects.append({**row, "value": found.value, "group": title, **bounds})
    return interval_plot(
        sorted(effects, key=lambda effect: effect["group"], reverse=True),
        name="sensitivity",
        title="How much hangs on the configuration",
        caption="Of the configurations that learned (more accurate on validation than the more frequent label), the "
        "share whose worst-group accuracy on test is within two points of the best of them, and the share that "
        "learned; n is how many configurations, of all tables and folds. A high share means that little tuning is "
        "needed. Intervals are over tables.",
        x_title="Configurations",
        unit="share",
        reference=None,
        families=[family for family in FAMILIES if any(row["family"] == family for row in effects)],
        family_title="Family",
    )


def brittleness(results: Results) -> Figure:
    """What choosing by CVaR in place of accuracy costs trees and robust learners, by table."""
    effects = [
        {"label": name, "value": part.value, "low": part.low, "high": part.high, "n": part.rows, "group": family}
        for family in FAMILIES[:3]
        for name, part in sorted(by_table(results, LOST_BY_CVAR, family_party(family), BY_CVAR).items())
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
    rows = []
    for learner, described in LEARNERS.items():
        seconds = by_table(results, "cpu_seconds_each", learner, "")
        worst = by_table(results, "worst_group_accuracy", learner, BY_WORST_GROUP)
        if seconds and worst:
            x = max(sum(part.value for part in seconds.values()) / len(seconds), 1e-3)
            y = 1 - sum(part.value for part in worst.values()) / len(worst)
            rows.append({"x": x, "y": y, "family": described.family, "label": described.title, "n": len(seconds)})
    return scaling_curve(
        rows,
        name="cost",
        title="Cost",
        caption="CPU seconds a configuration on one core, predictions of all test rows included, and worst-group error "
        "on test, both averaged over tables. Configurations that come out of another's fit (shorter ensembles) cost "
        "next to nothing and count.",
        x_title="CPU seconds a configuration",
        y_title="Worst-group error",
        families=[family for family in FAMILIES if any(row["family"] == family for row in rows)],
        family_title="Family",
    )
