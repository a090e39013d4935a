"""What the questions leave open of the study's own landscape: all its readers were asked the same ones."""

from collections.abc import Mapping
from functools import lru_cache

import duckdb
import numpy as np
from numpy.typing import NDArray

from surefoot.core import Results, Step, Store
from surefoot.examples import EXAMPLES
from surefoot.language import ReadingScores
from surefoot.laws import AVERAGE, ShiftFit
from surefoot.stats import from_axis, resample_counts, to_axis
from surefoot.studies._hypotheses import Same
from surefoot.studies.reading._published import IN_DISTRIBUTION

Floats = NDArray[np.float64]
_REPLICATES = 400


def question_errors(results: Results, step: ShiftFit) -> Mapping[tuple[str, str], float]:
    """The standard error, by group and shift, of mean effective robustness from the questions alone, as a fraction.

    A bootstrap of whole articles of each set, the same for all readers, with the line fitted anew each time: what is
    hard for all of them moves readers and line together, and does not count. Empty before the answers are there.
    """
    return _errors(Same(results), step)


@lru_cache(maxsize=8)
def _errors(same: Same, step: ShiftFit) -> dict[tuple[str, str], float]:
    names, store = tuple(dict.fromkeys(step.models)), same.results.store
    group_of = dict(zip(step.models, step.groups, strict=True))
    by_set: dict[str, dict[str, Step]] = {}
    for name, result in zip(step.models, step.results, strict=True):
        if isinstance(result, ReadingScores) and store.has(result):
            by_set.setdefault(result.task, {})[name] = result
    if not by_set or any(len(found) < len(names) for found in by_set.values()):
        return {}
    drawn = {
        task: _resampled(store, [found[name] for name in names], seed)
        for seed, (task, found) in enumerate(by_set.items())
    }
    x = drawn.pop(IN_DISTRIBUTION)
    baseline = np.array([name in step.baseline for name in names])
    shifts = {AVERAGE: np.mean(list(drawn.values()), axis=0), **drawn}
    errors: dict[tuple[str, str], float] = {}
    for shift, y in shifts.items():
        over = y - _lines(x, y, baseline, step)
        for group in dict.fromkeys(step.groups):
            members = [place for place, name in enumerate(names) if group_of[name] == group]
            errors[group, shift] = float(over[:, members].mean(axis=1).std(ddof=1))
    return errors


def _resampled(store: Store, results: list[Step], seed: int) -> Floats:
    """Mean F1 of each reader in each draw of the articles, (draws, readers)."""
    rows = []
    for place, result in enumerate(results):
        query = "SELECT article, sum(score), count(*) FROM read_parquet(?) GROUP BY article"
        rows += [(place, *row) for row in duckdb.execute(query, [str(store.path(result) / EXAMPLES)]).fetchall()]
    articles = {name: column for column, name in enumerate(sorted({row[1] for row in rows}))}
    totals = np.zeros((2, len(articles), len(results)))
    for place, article, score, n in rows:
        totals[:, articles[article], place] = score, n
    counts = resample_counts(len(articles), _REPLICATES, seed=seed)
    return (counts @ totals[0]) / np.maximum(counts @ totals[1], 1)


def _lines(x: Floats, y: Floats, baseline: NDArray[np.bool_], step: ShiftFit) -> Floats:
    """What the line of each draw gives each reader, (draws, readers)."""
    across, up = (to_axis(np.clip(one, 0.005, 0.995), step.axis) for one in (x, y))
    centred = across - across[:, baseline].mean(axis=1, keepdims=True)
    level, spread = up[:, baseline].mean(axis=1, keepdims=True), (centred[:, baseline] ** 2).sum(axis=1, keepdims=True)
    slope = (centred[:, baseline] * up[:, baseline]).sum(axis=1, keepdims=True) / np.maximum(spread, 1e-9)
    return from_axis(level + slope * centred, step.axis)
