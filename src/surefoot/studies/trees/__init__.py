"""Subgroups: tree ensembles against robust and fair learners, measured on validation-chosen configurations.

The published system is arXiv 2211.12703. Its released networks end in a ReLU before the sigmoid, its grids differ in
size by a factor of a thousand, and its best values are chosen on test; here none of that is so.
"""

from collections.abc import Callable, Mapping

from surefoot.core import Figure, Results, Study, SurefootError
from surefoot.studies.trees._beside import beside_the_paper, papers_table, single_configurations
from surefoot.studies.trees._claims import difference_claims, paper_claims
from surefoot.studies.trees._figures import brittleness, cost, differences, equal_budget, sensitivity, trade_off
from surefoot.studies.trees._groups import by_learner, frontier, groups_of_tables, in_groups
from surefoot.studies.trees._results import Pooled, by_table, name_of, over_tables
from surefoot.tabular import (
    BEST_ON_TEST,
    BY_ACCURACY,
    BY_WORST_GROUP,
    LEARNERS,
    RECIPES,
    Configuration,
    Design,
    FairTable,
    PublicTable,
    Table,
    TableComparison,
    TableFits,
    Value,
    configuration,
    full_grid,
    random_configurations,
    size_of_grid,
)

_SMALL = ("german", "communities", "compas", "star")
_LARGE = ("acs-income", "acs-public-coverage", "brfss")
_COSTLY: Mapping[str, int] = {"reduction-gbm": 4, "svm": 4, "marginal-dro": 4, "forest": 2, "gbm": 2}
"""Learners that get a part of the budget: one configuration of theirs costs as much as many of the others."""
_LONGEST: Mapping[str, int] = {"reduction-gbm": 64, "gbm": 256, "threshold-gbm": 256}
"""The longest ensembles of the learners to which length is dear: the reduction refits its own some sixty times."""

SWEPT = ("logistic", "lightgbm", "xgboost", "mlp", "group-dro", "constrained-lightgbm")
"""The learners of a sweep over a user's table, unless others are named: one or two of each family."""


_BY_THE_PAPERS_RULE = by_learner(
    "worst_group_accuracy",
    name="best-on-test",
    title="Worst-group accuracy by the paper's rule",
    caption="The best of a learner's configurations on test, as the paper chooses, averaged over splits: what it is "
    "above the table of worst-group accuracy is optimism.",
    x_title="Worst-group accuracy",
    alone=False,
    rule=BEST_ON_TEST,
)


def study(
    *,
    budget: int = 16,
    splits: int = 3,
    rows: int = 4000,
    epochs: int = 12,
    halving: int = 1,
    tables: tuple[str, ...] = tuple(RECIPES),
    learners: tuple[str, ...] = tuple(LEARNERS),
) -> Study:
    """The study on public tables: `budget` random configurations of each learner on each of `splits` random splits.

    `rows` limits the training rows (0: all), `epochs` the passes of the networks; `halving` above 1 is successive
    halving within each learner's budget. A budget of 100,000 is the full grid.
    """
    for name in tables:
        if name not in RECIPES:
            raise SurefootError(f"There is no public table named '{name}'. Known: {', '.join(RECIPES)}.")
    _check(budget=budget, splits=splits, rows=rows, epochs=epochs, halving=halving)
    designs = [
        Design(table=PublicTable(name=name), seed=seed, rows=rows, validation=_share(name), test=_share(name))
        for seed in range(splits)
        for name in tables
    ]
    return Study(
        name="trees",
        title="Subgroups: trees against robust and fair learners",
        summary=_summary(budget, splits, rows, epochs),
        steps=(*(comparison(design, learners, budget, epochs, halving) for design in designs), *references(tables)),
        claims=paper_claims(),
        figures=(
            groups_of_tables,
            differences,
            trade_off,
            frontier,
            *_by_learner(alone=False),
            _BY_THE_PAPERS_RULE,
            papers_table,
            *((single_configurations, beside_the_paper) if "adult" in tables else ()),
            equal_budget,
            sensitivity,
            brittleness,
            cost,
        ),
        credits=tuple(dict.fromkeys(f"{RECIPES[name].title}: {RECIPES[name].credit}" for name in tables)),
    )


def sweep(
    table: Table,
    *,
    learners: tuple[str, ...] = SWEPT,
    budget: int = 16,
    splits: int = 2,
    rows: int = 0,
    epochs: int = 20,
    halving: int = 1,
) -> Study:
    """A sweep over a user's own table, with the same figures and the claims that hold for any table."""
    _check(budget=budget, splits=splits, rows=rows, epochs=epochs, halving=halving)
    designs = [Design(table=table, seed=seed, rows=rows, validation=0.2, test=0.2) for seed in range(splits)]
    return Study(
        name=f"sweep-{name_of(table)}",
        title=f"Subgroups of {name_of(table)}",
        summary=f"{budget} configurations of each of {len(learners)} learners on {splits} random splits "
        "(60 / 20 / 20). Everything is chosen on validation and reported on test.",
        steps=tuple(comparison(design, learners, budget, epochs, halving) for design in designs),
        claims=difference_claims(learners),
        figures=(
            groups_of_tables,
            *_by_learner(alone=True),
            in_groups,
            frontier,
            *((differences,) if {"trees"} < {LEARNERS[name].family for name in learners} else ()),
            equal_budget,
            sensitivity,
            cost,
        ),
    )


def _by_learner(*, alone: bool) -> tuple[Callable[[Results], Figure], ...]:
    """Worst group, accuracy, disparities and calibration of every learner."""
    mean = "measured on test, averaged over splits"
    chosen = f"Of the configuration with the best worst group on validation, {mean}"
    accuracy = by_learner(
        "accuracy",
        name="accuracy",
        title="Accuracy",
        caption=f"Of the configuration with the best accuracy on validation, {mean}.",
        x_title="Accuracy",
        alone=alone,
        rule=BY_ACCURACY,
    )
    first, *rest = (
        by_learner(metric, name=name, title=title, caption=f"{chosen}{said}", x_title=x_title, alone=alone)
        for metric, name, title, x_title, said in _SHOWN
    )
    return (first, accuracy, *rest)


_SHOWN = (
    (
        "worst_group_accuracy",
        "worst-group",
        "Worst-group accuracy",
        "Worst-group accuracy",
        ". The interval joins the bootstrap of the test rows and the spread of the splits.",
    ),
    (
        "accuracy_disparity",
        "disparity",
        "Disparity",
        "Accuracy disparity",
        ": the highest minus the lowest accuracy of a group. Lower is better; a maximum of noisy numbers minus a "
        "minimum is above zero even where groups are alike.",
    ),
    (
        "equalised_odds",
        "equalised-odds",
        "Equalised odds",
        "Equalised odds difference",
        ": the larger of the differences between groups of true and of false positive rates. Lower is better.",
    ),
    (
        "calibration_error",
        "calibration",
        "Calibration",
        "Calibration error",
        ": expected calibration error in ten bins, over all groups together. Learners that give decisions or margins "
        "have none. Lower is better.",
    ),
)
"""Metric, name, title, axis and what follows the rule of choice in the caption."""


def _check(**options: int) -> None:
    """Raise for a number that leaves nothing to do."""
    for name, value in options.items():
        least = 0 if name == "rows" else 1
        if value < least:
            raise SurefootError(f"The option {name} must be at least {least}, got {value}.")


def comparison(
    design: Design, learners: tuple[str, ...], budget: int, epochs: int, halving: int = 1
) -> TableComparison:
    """All learners on one design, each with the configurations of the budget, the same on every table and split."""
    unknown = [name for name in learners if name not in LEARNERS]
    if unknown:
        raise SurefootError(f"There is no learner named '{unknown[0]}'. Known: {', '.join(LEARNERS)}.")
    fits = tuple(
        TableFits(
            design=design,
            learner=name,
            configurations=(chosen := configurations(name, budget)),
            epochs=epochs,
            halving=halving,
            representations=_representations(design, chosen) if name == "representation-gbm" else (),
        )
        for name in learners
    )
    return TableComparison(fits=fits)


def configurations(learner: str, budget: int) -> tuple[Configuration, ...]:
    """The random configurations that a learner gets; where length is dear, of short ensembles (all of a whole grid)."""
    count = max(1, budget // _COSTLY.get(learner, 1))
    if learner not in _LONGEST or count >= size_of_grid(learner):
        return random_configurations(learner, count, seed=0)
    lengths = {int(dict(each)["n_estimators"]) for each in full_grid(learner)}
    short = [length for length in lengths if length <= _LONGEST[learner]]
    ensembles = max(1, round(count / len(short)))
    default, *drawn = random_configurations(learner, 1 + ensembles * len(lengths), seed=0)
    return (default, *(each for each in drawn if dict(each)["n_estimators"] in short))[:count]


def _representations(design: Design, chosen: tuple[Configuration, ...]) -> tuple[FairTable, ...]:
    """One stage for each pair of weights, whatever is fitted on it."""
    weights = sorted({(float(dict(each)["label"]), float(dict(each)["parity"])) for each in chosen})
    return tuple(FairTable(design=design, label=label, parity=parity) for label, parity in weights)


_NETWORK = {"layers": 2, "width": 64, "momentum": 0.9, "weight_decay": 0.0, "learning_rate": 0.01}
_BOOSTING = {"n_estimators": 100, "learning_rate": 0.1, "max_depth": 6}
REFERENCES: Mapping[str, Mapping[str, Mapping[str, Value]]] = {
    "adult": {
        "logistic": {"C": 1.0},
        "forest": {"n_estimators": 100},
        "lightgbm": {"n_estimators": 100},
        "xgboost": {"n_estimators": 100},
        "mlp": _NETWORK,
        "group-dro": {**_NETWORK, "step": 0.01},
        "cvar-dro": {**_NETWORK, "alpha": 0.6},
        "chi-square-dro": {**_NETWORK, "size": 0.1},
        "cvar-doro": {**_NETWORK, "alpha": 0.6, "outliers": 0.001},
        "group-dro-lightgbm": {**_BOOSTING, "step": 0.01},
        "constrained-lightgbm": {**_BOOSTING, "step": 0.1, "allowed": 0.0, "constraint": "loss"},
    },
    "acs-public-coverage": {"lightgbm": {"n_estimators": 100}, "xgboost": {"n_estimators": 100}},
}
"""One sound configuration of a learner on all rows of a table and the paper's shares of them: nothing is chosen."""


def references(tables: tuple[str, ...]) -> tuple[TableFits, ...]:
    """The single configurations of `REFERENCES`: Adult by its official test rows, Public Coverage in three thirds."""
    designs = {
        "adult": Design(table=PublicTable(name="adult"), official=True),
        "acs-public-coverage": Design(table=PublicTable(name="acs-public-coverage"), validation=0.33, test=0.33),
    }
    return tuple(
        TableFits(design=designs[name], learner=learner, configurations=(configuration(values),), epochs=12)
        for name, learners in REFERENCES.items()
        if name in tables
        for learner, values in learners.items()
    )


def _share(name: str) -> float:
    """The share of validation, and of test: a quarter of a small table, or its groups would have a dozen rows each."""
    return 0.25 if name in _SMALL else 0.02 if name in _LARGE else 0.1


def _summary(budget: int, splits: int, rows: int, epochs: int) -> str:
    limit = f"at most {rows:,} training rows" if rows else "all training rows"
    return (
        f"{budget} configurations of each learner (a quarter to a half of that for the costliest), drawn evenly from "
        f"the paper's grids, on {splits} random splits of each table, with {limit} and {epochs} epochs for networks. "
        "Configurations are chosen on validation and reported on test; the paper's own rule, the best on test, stands "
        "beside it. Groups are the paper's two by two; a group with fewer than 20 rows is named and left out. The "
        "paper's eighth table (LARC) is not public: the pupils of Tennessee STAR stand in for it. ACS Income and BRFSS "
        "differ from the paper's in year or features, as their notes say."
    )


def reached(results: Results, learner: str) -> tuple[str | float | None, ...]:
    """One line of a sweep's table: what a learner reaches on test, chosen by its worst group on validation.

    Title, how many configurations, accuracy, worst-group accuracy with its bounds, accuracy disparity, equalised odds,
    calibration error and CPU seconds a configuration; empty when the learner was not fitted.
    """

    def mean(metric: str, rule: str = BY_WORST_GROUP) -> Pooled | None:
        parts = by_table(results, metric, learner, rule)
        return over_tables(parts.values()) if parts else None

    accuracy, worst = mean("accuracy"), mean("worst_group_accuracy")
    if accuracy is None or worst is None:
        return ()
    others = [mean(metric) for metric in ("accuracy_disparity", "equalised_odds", "calibration_error")]
    shown = [*others, mean("cpu_seconds_each", "")]
    values = [None if part is None else part.value for part in shown]
    tried = mean("configurations", "")
    count = None if tried is None else round(tried.value)
    return (LEARNERS[learner].title, count, accuracy.value, worst.value, worst.low, worst.high, *values)
