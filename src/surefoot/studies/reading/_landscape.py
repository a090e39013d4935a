"""A landscape as claims and figures read it: the fit on logit axes, what moves it, what questions leave open."""

import csv
from collections.abc import Iterator, Mapping
from math import hypot, inf
from typing import TypeVar

import duckdb
import numpy as np
from numpy.typing import NDArray

from surefoot.core import Measurement, Results, Step, Store, SurefootError
from surefoot.examples import EXAMPLES
from surefoot.language import ReadingScores
from surefoot.laws import AVERAGE, ShiftFit
from surefoot.stats import Axis, error_of_bounds, from_axis, resample_counts, t_quantile, to_axis
from surefoot.studies._hypotheses import Pooled, read_once
from surefoot.studies.reading._published import BASELINE, CONTROL, IN_DISTRIBUTION, PublishedLandscape

Floats = NDArray[np.float64]
_REPLICATES = 400

Landscape = type[PublishedLandscape] | type[ShiftFit]
MEAN, R2, OUTSIDE = "mean_effective_robustness", "r2", "extrapolated_share"
Fit = TypeVar("Fit", bound=PublishedLandscape | ShiftFit)
Found = Mapping[tuple[str, str, str], Measurement]


def found_in(results: Results, kind: Landscape, *, axis: Axis = "logit", cluster: bool = False) -> Found:
    """The Measurements of a landscape by metric, shift and group. Raises when it is not in the store."""
    found = _by_choice(results, kind).get((axis, cluster))
    if not found:
        raise SurefootError(f"The landscape on {axis} axes is not in the store: run the study first.")
    return found


def robustness_of(results: Results, kind: Landscape, group: str, shift: str = AVERAGE) -> Pooled:
    """Mean effective robustness of an adaptation over the line of the fully fine-tuned, as a fraction.

    Bounds are those of the bootstrap over models and line together, widened by what the questions leave open where
    their answers are known; the error is the one that they stand for.
    """
    main = found_in(results, kind)
    measured = main.get((MEAN, shift, group))
    if measured is None or measured.low is None or measured.high is None or measured.n < 2:
        raise SurefootError(f"The landscape has too few readers that were '{group}' for an interval.")
    value, low, high = measured.value, measured.low, measured.high
    if kind is ShiftFit:
        error = question_errors(results, main_fit(results, ShiftFit)).get((group, shift), 0.0)
        half = 100 * error * t_quantile(0.95, inf)
        low, high = value - hypot(value - low, half), value + hypot(high - value, half)
    beyond = f"All {measured.n} lie beyond the range of the {BASELINE} readers, where the line is extrapolated and not"
    error, doubt = error_of_bounds(low, high, freedom=measured.n - 1) / 100, f"{beyond} measured."
    return Pooled(
        value=value / 100, stderr=error, n=measured.n, freedom=measured.n - 1, bounds=(low / 100, high / 100),
        doubt=doubt if main[OUTSIDE, shift, group].value == 1.0 else "",
    )  # fmt: skip


def by_shift(results: Results, kind: Landscape, group: str) -> dict[str, Measurement]:
    """Mean effective robustness of an adaptation under each shift alone, the least first."""
    found = {key[1]: one for key, one in found_in(results, kind).items() if key[0] == MEAN and key[2] == group}
    return dict(
        sorted(
            ((name, one) for name, one in found.items() if name not in (AVERAGE, CONTROL)),
            key=lambda item: item[1].value,
        )
    )


def main_fit(results: Results, kind: type[Fit]) -> Fit:
    """The fit of a landscape on logit axes over all readers."""
    return next(step for step in results.steps if isinstance(step, kind) and _choice(step) == ("logit", False))


def read_section(results: Results, step: Step, section: str) -> Iterator[dict[str, str]]:
    """The rows of one of the tables that a fit wrote."""
    text = results.store.file(step, f"{section}.tsv").read_text(encoding="utf-8")
    return csv.DictReader(text.splitlines(), delimiter="\t")


def what_moves_it(results: Results, kind: Landscape, group: str) -> str:
    """In words: how many are inside the range, over families, on other axes, without a family, the range of shifts."""
    share = found_in(results, kind)[OUTSIDE, AVERAGE, group]
    told = [f"{round((1 - share.value) * share.n)} of {share.n} inside the range of the baseline"]
    families = _by_choice(results, kind).get(("logit", True), {}).get((MEAN, AVERAGE, group))
    if families is not None and families.low is not None and families.high is not None:
        told.append(f"with whole families drawn [{families.low:+.1f}, {families.high:+.1f}]")
    rows = read_section(results, main_fit(results, kind), "sensitivity")
    moved = [row for row in rows if (row["shift"], row["group"]) == (AVERAGE, group) and row["points"]]
    told += [f"{row['to']} axes {float(row['points']):+.1f}" for row in moved if row["changed"] == "axis"]
    if without := [float(row["points"]) for row in moved if row["changed"] == "without-family"]:
        told.append(f"the line without one of its families {min(without):+.1f} to {max(without):+.1f}")
    if shifts := list(by_shift(results, kind, group).items()):
        (least, low), (most, high) = shifts[0], shifts[-1]
        told.append(f"by shift from {low.value:+.1f} ({least}) to {high.value:+.1f} ({most})")
    return "; ".join(told)


@read_once
def _by_choice(results: Results, kind: Landscape) -> dict[tuple[Axis, bool], dict[tuple[str, str, str], Measurement]]:
    found: dict[tuple[Axis, bool], dict[tuple[str, str, str], Measurement]] = {}
    for each in results.select(kind):
        measured = each.measurement
        found.setdefault(_choice(each.step), {})[measured.metric, measured.shift, measured.group] = measured
    return found


def _choice(step: Step) -> tuple[Axis, bool]:
    if not isinstance(step, (PublishedLandscape, ShiftFit)):
        raise SurefootError(f"{type(step).__name__} is no landscape.")
    return step.axis, step.cluster


@read_once
def question_errors(results: Results, step: ShiftFit) -> Mapping[tuple[str, str], float]:
    """The standard error, by group and shift, of mean effective robustness from the questions alone, as a fraction.

    A bootstrap of whole articles of each set, the same for all readers, with the line fitted anew each time: what is
    hard for all of them moves readers and line together, and does not count. Empty before the answers are there.
    """
    names, store = tuple(dict.fromkeys(step.models)), results.store
    group_of = dict(zip(step.models, step.groups, strict=True))
    by_set: dict[str, dict[str, Step]] = {}
    for name, result in zip(step.models, step.results, strict=True):
        if isinstance(result, ReadingScores) and store.has(result):
            by_set.setdefault(result.task, {})[name] = result
    if not by_set or any(len(found) < len(names) for found in by_set.values()):
        return {}
    sets = enumerate(by_set.items())
    drawn = {task: _resampled(store, [found[name] for name in names], seed) for seed, (task, found) in sets}
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
        rows += [(place, *row) for row in duckdb.execute(query, [str(store.file(result, EXAMPLES))]).fetchall()]
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
