"""Configurations for tests of sweeps: drawn from a grid so that every value and whole ensembles come up."""

from collections.abc import Mapping, Sequence

import numpy as np

from surefoot.tabular import DEFAULTS, GRIDS, Configuration, configuration, full_grid


def random_configurations(learner: str, budget: int, seed: int) -> tuple[Configuration, ...]:
    """The learner's default, then `budget` - 1 different ones drawn from the grid (all of it when it has no more).

    The draw is spread: every value of every hyper-parameter comes up about as often as the others. Ensembles
    are drawn with all their lengths (`n_estimators`), which cost no more than the longest. A larger budget keeps the
    configurations of a smaller one. What is drawn stands in the grid's order.
    """
    grid = full_grid(learner)
    default = configuration(DEFAULTS[learner])
    if budget - 1 >= len(grid):
        return (default, *(each for each in grid if each != default))
    # The lengths of an ensemble stand beside each other, in every grid that has them.
    lengths = max(len(axes.get("n_estimators", ("",))) for axes in GRIDS[learner])
    ensembles = [dict(each) for each in grid[::lengths]]
    drawn = _spread(ensembles, -(-budget // lengths), np.random.default_rng([seed, len(grid)]))
    chosen = [place for ensemble in drawn for place in range(ensemble * lengths, (ensemble + 1) * lengths)]
    rest = [place for place in chosen if grid[place] != default][: budget - 1]
    return (default, *(grid[place] for place in sorted(rest)))


def _spread(candidates: Sequence[Mapping[str, object]], count: int, generator: np.random.Generator) -> list[int]:
    """Places drawn one after another: at random among those whose values were drawn least often before."""
    names = sorted({name for each in candidates for name in each})
    columns = [np.unique([repr(each.get(name)) for each in candidates], return_inverse=True)[1] for name in names]
    drawn: list[int] = []
    # What a value costs is how often it was drawn, times the number of values of its axis.
    cost = 0.5 * generator.random(len(candidates))
    for _ in range(count):
        place = int(cost.argmin())
        drawn.append(place)
        cost += sum((column == column[place]) * (int(column.max()) + 1) for column in columns if column.max() > 0)
        cost[place] = np.inf
    return drawn
