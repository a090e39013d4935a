"""Subgroups: tree ensembles against robust and fair learners, chosen on validation, tested on every row.

The published system is arXiv 2211.12703. Its released networks end in a ReLU before the sigmoid, its grids differ in
size by a factor of a thousand, its best values are chosen on test, and its networks took about 11,700 steps.

Stated before it was run:

- **Estimand.** The mean over tables of a hierarchy whose tables differ (`_results.over_tables`), of predictions of
  all test rows: small tables in five folds, large ones in three, each fold with its own choice on validation.
- **What it can see.** The rows alone give a difference of worst groups a standard error of .1 to .2 points on each
  census table and the health survey, .5 on Adult, 1 to 1.5 on COMPAS and STAR, 2 to 4 on Communities and German credit:
  together about .1. A claim on worst groups needs .25. Where tables truly differ, by a standard deviation of one point
  or more, eight of them cannot give that: the mean then has .35 points or more, and the verdict is `imprecise`.
  (Since it was run, claims on worst groups take bounds that hold whichever groups are the worst: about twice as much.
  Against robust learners the mean has .18 points on the weight of 3.8 tables: 1.2 points wide, where one was wanted.)
- **Chance.** Each claim is tested at 5 percent: of 14 one would be decided by chance in every other study. A verdict
  holds after Holm's correction over all of them.
- **Budgets.** Every learner has as many configurations, its default first and the others drawn from the cheap part of
  its published grid (at most 256 trees, 64 for the reduction that refits them sixty times, and two layers of 64 for
  networks). Compute is not equal: it is a figure.
"""

from collections.abc import Callable

from surefoot.core import Figure, Results, Study, SurefootError
from surefoot.studies._find import refuse_idle
from surefoot.studies._hypotheses import Pooled, claims_of
from surefoot.studies.trees._beside import papers_table, single_configurations
from surefoot.studies.trees._claims import PAPER_CLAIMS, RIVALS, difference_claims
from surefoot.studies.trees._figures import brittleness, cost, differences, equal_budget, more_rows, sensitivity
from surefoot.studies.trees._groups import by_learner, groups_of_table, in_groups
from surefoot.studies.trees._plan import CURVE, SMALL, STUDIED, designs, epochs_of, fits, references
from surefoot.studies.trees._results import by_table, name_of, over_tables
from surefoot.tabular import (
    BEST_ON_TEST,
    BY_ACCURACY,
    BY_WORST_GROUP,
    LEARNERS,
    MAJORITY,
    RECIPES,
    Design,
    Table,
    TableComparison,
)

SWEPT = ("logistic", "lightgbm", "xgboost", "mlp", "group-dro", "constrained-lightgbm")
"""The learners of a sweep over a user's table, unless others are named: one or two of each family."""
_FOLDS = 5
"""A sweep tests a fifth of the rows a fold."""


def study(
    *,
    budget: int = 8,
    repeats: int = 1,
    folds: int = 5,
    rows: tuple[int, ...] = (4000, 16000, 64000),
    updates: int = 1500,
    tables: tuple[str, ...] = tuple(RECIPES),
    learners: tuple[str, ...] = STUDIED,
) -> Study:
    """The study on public tables: `budget` configurations of each learner on every fold of each table.

    The first `folds` of the five folds of small tables, `repeats` times, and of the three of large ones, with as many
    training rows as the least of `rows`; some learners (`CURVE`) also get the other numbers, on the first fold.
    Networks take about `updates` steps. A budget of 100,000 is the full grids.
    """
    if unknown := [name for name in tables if name not in RECIPES]:
        raise SurefootError(f"There is no public table named '{unknown[0]}'. Known: {', '.join(RECIPES)}.")
    _check(budget=budget, repeats=repeats, folds=folds, updates=updates, rows=min(rows, default=0))
    families = {LEARNERS[name].family for name in learners if name in LEARNERS}
    refuse_idle(
        study, locals(), ({*tables} <= {*SMALL}, "small tables alone", "rows"),
        ({*tables}.isdisjoint(SMALL), "large tables alone", "repeats"),
        (families.isdisjoint({"network", "robust"}), "learners that are no networks", "updates"),
    )  # fmt: skip
    first = min(rows, default=0)

    def compared(table: str, seed: int, count: int, limit: int, names: tuple[str, ...]) -> TableComparison:
        epochs = epochs_of(table, limit, updates)
        parts = [fits(each, names, budget, epochs) for each in designs(table, seed, limit, count)]
        return TableComparison(fits=tuple(fit for part in parts for fit in part), pairs=RIVALS, simultaneous=True)

    curve = tuple(name for name in CURVE if name in learners)
    large = [name for name in tables if name not in SMALL and name != "adult" and curve and len(rows) > 1]
    return Study(
        name="trees",
        title="Subgroups: trees against robust and fair learners",
        summary=_summary(budget, (repeats, folds), sorted(rows), updates, len(learners)),
        steps=(
            *(
                compared(name, seed, folds, first, learners)
                for name in tables
                for seed in range(repeats if name in SMALL else 1)
            ),
            *references(tables),
            *(compared(name, 0, 1, limit, curve) for limit in rows for name in large),
        ),
        claims=claims_of([*difference_claims(learners), *PAPER_CLAIMS]),
        figures=(
            differences,
            *_by_learner(alone=False),
            papers_table,
            *((single_configurations,) if "adult" in tables else ()),
            *((more_rows,) if large else ()),
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
    splits: int = 5,
    rows: int = 0,
    epochs: int = 20,
    halving: int = 1,
    metric: str = "accuracy",
) -> Study:
    """A sweep over a user's own table, with the same figures and the claims that hold for any table.

    Each of the `splits` tests another fifth of the rows; from the sixth on they are split anew.
    """
    _check(budget=budget, splits=splits, epochs=epochs, halving=halving)
    _check(0, rows=rows)

    def compared(seed: int, count: int) -> TableComparison:
        parts = [
            Design(table=table, seed=seed, rows=rows, validation=0.2, test=1 / _FOLDS, fold=fold)
            for fold in range(count)
        ]
        found = [fits(design, learners, budget, epochs, halving) for design in parts]
        fitted = tuple(fit for part in found for fit in part)
        return TableComparison(fits=fitted, metric=metric, simultaneous=True)

    counts = [min(_FOLDS, splits - begin) for begin in range(0, splits, _FOLDS)]
    return Study(
        name=f"sweep-{name_of(table)}",
        title=f"Subgroups of {name_of(table)}",
        summary=f"{budget} configurations of each of {len(learners)} learners, the default first, on {splits} splits "
        "(60 / 20 / 20). Everything is chosen on validation and reported on the test rows of all splits together.",
        steps=tuple(compared(seed, count) for seed, count in enumerate(counts)),
        claims=claims_of(difference_claims(learners)),
        figures=(
            groups_of_table,
            *_by_learner(alone=True),
            in_groups,
            *((differences,) if {"trees"} < {LEARNERS[name].family for name in learners} else ()),
            equal_budget,
            sensitivity,
            cost,
        ),
    )


def _by_learner(*, alone: bool) -> tuple[Callable[[Results], Figure], ...]:
    """Worst group and accuracy of each learner; of one table disparities and calibration too, else the paper's rule."""
    shown = _SHOWN if alone else (*_SHOWN[:2], _BY_THE_PAPERS_RULE)
    return tuple(
        by_learner(metric, name=name, title=title, caption=caption, x_title=title, alone=alone, rule=rule)
        for metric, name, title, rule, caption in shown
    )


_CHOSEN = "Of the configuration with the best worst group on validation, measured on the test rows of all folds"
_SHOWN = (
    ("worst_group_accuracy", "worst-group", "Worst-group accuracy", BY_WORST_GROUP, f"{_CHOSEN}."),
    (
        *("accuracy", "accuracy", "Accuracy", BY_ACCURACY),
        "Of the configuration with the best accuracy on validation, measured on the test rows of all folds.",
    ),
    (
        *("accuracy_disparity", "disparity", "Accuracy disparity", BY_WORST_GROUP),
        f"{_CHOSEN}: the highest minus the lowest accuracy of a group. Lower is better; a maximum of noisy numbers "
        "minus a minimum is above zero even where groups are alike.",
    ),
    (
        *("equalised_odds", "equalised-odds", "Equalised odds difference", BY_WORST_GROUP),
        f"{_CHOSEN}: the larger of the differences between groups of true and of false positive rates. Lower is "
        "better.",
    ),
    (
        *("calibration_error", "calibration", "Calibration error", BY_WORST_GROUP),
        f"{_CHOSEN}: expected calibration error in ten bins, over all groups together. Learners that give decisions or "
        "margins have none. Lower is better.",
    ),
)
"""Metric, name, title, rule of choice and caption."""
_BY_THE_PAPERS_RULE = (
    *("worst_group_accuracy", "best-on-test", "Worst-group accuracy by the paper's rule", BEST_ON_TEST),
    "The best of a learner's configurations on test in each fold, as the paper chooses: what it is above the table of "
    "worst-group accuracy is optimism.",
)


def _check(least: int = 1, /, **options: int) -> None:
    for name, value in options.items():
        if value < least:
            raise SurefootError(f"The option {name} must be at least {least}, got {value}.")


_ONE_FOLD = "With one fold, errors of a table are of its test rows alone, not of which rows were trained on. "


def _summary(budget: int, tested: tuple[int, int], rows: list[int], updates: int, learners: int) -> str:
    repeats, folds = tested
    more = f" {', '.join(LEARNERS[name].title for name in CURVE)} also on {', '.join(map('{:,}'.format, rows[1:]))}."
    return (
        f"{budget} configurations of each of {learners} learners, the default first, the others drawn from the cheap "
        f"part of the paper's grids. Of small tables {min(folds, 5)} of five fifths are tested ({repeats} times), of "
        f"large ones {min(folds, 3)} of three thirds, with {rows[0]:,} training rows."
        f"{more if len(rows) > 1 else ''} Networks take about "
        f"{updates:,} steps. {_ONE_FOLD if folds == 1 else ''}"
        "Configurations are chosen on validation; predictions of the test rows of all folds are measured as one. "
        "The mean over tables is that of a hierarchy in which tables differ; verdicts hold after "
        "Holm's correction over all claims. Groups are the paper's two by two. The paper's eighth table (LARC) is not "
        "public: the pupils of Tennessee STAR stand in for it. ACS Income and BRFSS differ from the paper's in year or "
        "features, as their notes say."
    )


def reached(results: Results, party: str) -> dict[str, str | float | None]:
    """One line of a sweep's table: what a learner reaches on test, chosen by its worst group on validation.

    Bounds are NAME_low and NAME_high. Of `MAJORITY`, what the more frequent answer for everybody reaches. Empty when
    the learner was not fitted.
    """
    alone = party == MAJORITY

    def mean(metric: str, rule: str = BY_WORST_GROUP) -> Pooled | None:
        parts = by_table(results, metric, party, "" if alone else rule)
        return over_tables(parts.values()) if parts else None

    if mean("worst_group_accuracy") is None:
        return {}
    tried, answers = mean("configurations", ""), mean("selection_rate")
    line: dict[str, str | float | None] = {"learner": MAJORITY if alone else LEARNERS[party].title}
    line["configurations"] = None if tried is None else round(tried.value)
    for name in _MEASURED:
        found = mean(name)
        line[name] = None if found is None else found.value
        if name in _BOUNDED:
            bounds = None if found is None else found.bounds
            line |= {f"{name}_low": bounds and bounds[0], f"{name}_high": bounds and bounds[1]}
    seconds = mean("cpu_seconds_each", "")
    constant = alone or (answers is not None and answers.value in (0.0, 1.0))
    note = "gives everybody one answer" if constant else ""
    return line | {"cpu_seconds": None if seconds is None else seconds.value, "note": note}


_BOUNDED = ("accuracy", "worst_group_accuracy", "accuracy_disparity", "equalised_odds")
_MEASURED = (*_BOUNDED[:2], "balanced_accuracy", "worst_group_balanced_accuracy", *_BOUNDED[2:], "calibration_error")
