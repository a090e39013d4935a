"""The figures of a sweep: trade-off, tables of learners, differences, equal budgets, cost, the paper beside us."""

from surefoot.core import Figure, Results
from surefoot.figures import heat_table, interval_plot, robustness_scatter, scaling_curve
from surefoot.models.tabular import LEARNERS
from surefoot.studies._trees_results import by_table
from surefoot.tasks import BEST_ON_TEST, BY_ACCURACY, BY_WORST_GROUP

FAMILIES = ("trees", "robust trees", "robust", "fair", "network", "linear")
PAPER_PEAKS = {
    "adult": {"lightgbm": (0.874, 0.837), "xgboost": (0.875, 0.836), "gbm": (0.873, 0.833), "forest": (0.865, 0.824)}
    | {"mlp": (0.857, 0.814), "logistic": (0.852, 0.808), "svm": (0.857, 0.815), "group-dro": (0.850, 0.807)}
    | {"cvar-dro": (0.778, 0.712), "chi-square-dro": (0.774, 0.707), "cvar-doro": (0.852, 0.810)}
    | {"chi-square-doro": (0.851, 0.808), "mwld": (0.864, 0.826), "reduction-gbm": (0.870, 0.845)}
    | {"representation-gbm": (0.827, 0.781), "threshold-gbm": (0.842, 0.809)},
}
"""Best on test over whole grids, overall and worst-group accuracy: arXiv 2211.12703, appendix tables."""


def trade_off(results: Results) -> Figure:
    """Accuracy against worst-group accuracy of each learner on each table."""
    points = []
    for learner, described in LEARNERS.items():
        accuracy = by_table(results, "accuracy", learner, BY_WORST_GROUP)
        worst = by_table(results, "worst_group_accuracy", learner, BY_WORST_GROUP)
        for name in accuracy.keys() & worst.keys():
            x, y = accuracy[name], worst[name]
            points.append(
                {
                    "x": x.value,
                    "y": y.value,
                    "family": described.family,
                    "label": f"{described.title}, {name}",
                    "n": y.n,
                }
                | (
                    {"y_low": max(y.low, 0.0), "y_high": min(y.high, 1.0)}
                    if y.low is not None and y.high is not None
                    else {}
                )
            )
    return robustness_scatter(
        sorted(points, key=lambda point: (point["family"], point["label"])),
        name="trade-off",
        title="What each learner reaches",
        caption="Test accuracy and worst-group accuracy of the configuration with the best worst group on validation, "
        "averaged over splits. The distance below y = x is what the worst group lacks.",
        x_title="Accuracy",
        y_title="Worst-group accuracy",
        axis="linear",
        families=[family for family in FAMILIES if any(point["family"] == family for point in points)],
        family_title="Family",
    )


def worst_group_table(results: Results) -> Figure:
    """Worst-group accuracy by learner and table."""
    cells = [
        {"row": described.title, "column": name, "value": part.value, "low": part.low, "high": part.high, "n": part.n}
        for learner, described in LEARNERS.items()
        for name, part in sorted(by_table(results, "worst_group_accuracy", learner, BY_WORST_GROUP).items())
    ]
    return heat_table(
        cells,
        name="worst-group",
        title="Worst-group accuracy",
        caption="Chosen by worst-group accuracy on validation, measured on test, averaged over splits. Percent.",
        row_title="Learner",
        column_title="Table",
        value_title="Worst-group accuracy",
        row_order=[described.title for described in LEARNERS.values()],
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


def equal_budget(results: Results) -> Figure:
    """The best of k random configurations of each learner, averaged over tables."""
    from surefoot.tasks import TableComparison

    sums: dict[tuple[str, int], list[float]] = {}
    for each in results.select(TableComparison, metric="worst_group_accuracy", shift="best of random"):
        if each.measurement.group in LEARNERS:
            sums.setdefault((each.measurement.group, each.measurement.replicate), []).append(1 - each.value)
    most = max((len(values) for values in sums.values()), default=0)
    rows = [
        {
            "x": k,
            "y": sum(values) / len(values),
            "family": LEARNERS[name].family,
            "label": LEARNERS[name].title,
            "n": len(values),
        }
        for (name, k), values in sums.items()
        if len(values) == most
    ]
    return scaling_curve(
        rows,
        name="equal-budget",
        title="Equal budgets",
        caption="Worst-group error on test of the best of k random configurations, chosen on validation: the exact "
        "mean over all draws of k, over tables and splits. Learners with larger grids have no advantage here.",
        x_title="Configurations tried",
        y_title="Worst-group error",
        families=[family for family in FAMILIES if any(row["family"] == family for row in rows)],
        family_title="Family",
    )


def beside_the_paper(results: Results) -> Figure:
    """Worst-group accuracy on Adult by the paper's rule, ours and theirs."""
    effects = []
    for learner, (_, worst) in PAPER_PEAKS["adult"].items():
        for rule, group in ((BEST_ON_TEST, "best on test, as in the paper"), (BY_WORST_GROUP, "chosen on validation")):
            part = by_table(results, "worst_group_accuracy", learner, rule).get("adult")
            if part is not None:
                bounds = {
                    "low": None if part.low is None else part.low - worst,
                    "high": None if part.high is None else part.high - worst,
                }
                title = LEARNERS[learner].title
                effects.append({"label": title, "value": part.value - worst, "group": group, "n": part.n, **bounds})
    return interval_plot(
        effects,
        name="beside-the-paper",
        title="Adult: ours minus the paper's worst-group accuracy",
        caption="The paper's numbers are maxima on test over whole grids; ours are over the budget of this run, on "
        "other splits. The two DRO rows of the paper are lower by more than ten points than a correct network.",
        x_title="Ours minus the paper's",
    )


def cost(results: Results) -> Figure:
    """CPU seconds a configuration."""
    from surefoot.tasks import TableComparison

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


def chosen_by_accuracy(results: Results) -> Figure:
    """Accuracy by learner and table."""
    cells = [
        {"row": described.title, "column": name, "value": part.value, "low": part.low, "high": part.high, "n": part.n}
        for learner, described in LEARNERS.items()
        for name, part in sorted(by_table(results, "accuracy", learner, BY_ACCURACY).items())
    ]
    return heat_table(
        cells,
        name="accuracy",
        title="Accuracy",
        caption="Chosen by accuracy on validation, measured on test, averaged over splits. Percent.",
        row_title="Learner",
        column_title="Table",
        row_order=[described.title for described in LEARNERS.values()],
    )
