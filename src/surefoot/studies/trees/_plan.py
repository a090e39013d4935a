"""The Steps of the study: which learners, configurations and rows, for a budget that a small machine can run."""

from collections.abc import Iterable, Mapping

import numpy as np

from surefoot.core import SurefootError
from surefoot.tabular import (
    DEFAULTS,
    LEARNERS,
    Configuration,
    Design,
    FairTable,
    PublicTable,
    TableFits,
    configuration,
    full_grid,
    table_fits,
)

SMALL: Mapping[str, int] = {"german": 600, "communities": 1196, "compas": 4329, "star": 3447}
"""Tables of which every fifth is tested in turn, and all other rows are used; with their training rows."""
_VALIDATED: Mapping[str, float] = {"adult": 0.1, "acs-income": 0.02, "acs-public-coverage": 0.02, "brfss": 0.02}
"""Tables of which every third is tested in turn, and the share that choices are made on."""
STUDIED = (
    *("logistic", "forest", "lightgbm", "xgboost", "mlp", "group-dro", "chi-square-dro", "cvar-dro", "mwld"),
    *("reduction-gbm", "threshold-gbm", "group-dro-lightgbm", "constrained-lightgbm"),
)
CURVE = ("lightgbm", "xgboost", "mlp", "group-dro")
"""The learners that are also fitted on more rows than the first number of them."""
_CHEAP: Mapping[str, int] = {"n_estimators": 256, "layers": 2, "width": 64}
"""A budget is drawn from the part of each grid that has no longer ensembles and no larger networks than these."""
_SHORT = {"reduction-gbm": 64}
"""The reduction refits its ensemble some sixty times."""
_BATCH_ROWS, _MOST_EPOCHS = 128, 100


def configurations(learner: str, budget: int) -> tuple[Configuration, ...]:
    """The learner's default and `budget` - 1 drawn at random, the same for every table; or the default and its grid.

    A larger budget keeps what a smaller one has.
    """
    if learner not in LEARNERS:
        raise SurefootError(f"There is no learner named '{learner}'. Known: {', '.join(LEARNERS)}.")
    default = configuration(DEFAULTS[learner])
    grid = [each for each in full_grid(learner) if each != default]
    if budget > len(grid):
        return (default, *grid)
    most = {**_CHEAP, "n_estimators": _SHORT.get(learner, _CHEAP["n_estimators"])}
    cheap = [each for each in grid if all(dict(each).get(name, 0) <= most[name] for name in most)]  # type: ignore[operator]
    pool = cheap if budget <= len(cheap) else grid
    order = np.random.default_rng([0, len(pool)]).permutation(len(pool))
    return (default, *(pool[place] for place in order[: budget - 1]))


def designs(table: str, seed: int, rows: int, folds: int) -> list[Design]:
    """The first folds of one seed: at most five of a small table, three of a large one with `rows` training rows."""
    whole, share, limit = (5, 0.2, 0) if table in SMALL else (3, _VALIDATED[table], rows)
    source = PublicTable(name=table)
    return [
        Design(table=source, seed=seed, validation=share, test=1 / whole, fold=fold, rows=limit)
        for fold in range(min(folds, whole))
    ]


def fits(design: Design, learners: Iterable[str], budget: int, epochs: int, halving: int = 1) -> tuple[TableFits, ...]:
    """The configurations of the budget of each learner on one design, in Steps of at most 256."""
    found: list[TableFits] = []
    for name in learners:
        chosen = configurations(name, budget)
        stages = _representations(design, chosen) if name == "representation-gbm" else ()
        found += table_fits(design, name, chosen, epochs=epochs, halving=halving, representations=stages)
    return tuple(found)


def epochs_of(table: str, rows: int, updates: int) -> int:
    """Passes that make about `updates` steps of a network, at most a hundred."""
    return min(_MOST_EPOCHS, max(1, round(updates * _BATCH_ROWS / SMALL.get(table, rows))))


def _representations(design: Design, chosen: tuple[Configuration, ...]) -> tuple[FairTable, ...]:
    """One stage for each pair of weights, whatever is fitted on it."""
    weights = sorted({(float(dict(each)["label"]), float(dict(each)["parity"])) for each in chosen})
    return tuple(FairTable(design=design, label=label, parity=parity) for label, parity in weights)


def references(tables: Iterable[str]) -> tuple[TableFits, ...]:
    """The defaults of some learners on all rows of Adult, by its official test rows: nothing is chosen."""
    design = Design(table=PublicTable(name="adult"), official=True)
    chosen = ("lightgbm", "xgboost", "mlp", "cvar-dro", "chi-square-dro") if "adult" in tables else ()
    return tuple(
        TableFits(design=design, learner=name, configurations=(configuration(DEFAULTS[name]),), epochs=12)
        for name in chosen
    )
