"""Compare learners on a table: chosen on validation, reported on the test rows of all folds as one."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from surefoot.core import Inputs, Measurement, Step, SurefootError, in_memory
from surefoot.stats import (
    DISPARITIES,
    LEAST_ROWS,
    GroupMetrics,
    calibration_bounds,
    disparity_bounds,
    disparity_difference,
    error_of_bounds,
    group_metrics,
    rate_bounds,
    resample_accuracies,
    resample_disparities,
    share_difference,
    t_quantile,
    worst_group,
    worst_group_difference,
)
from surefoot.tabular._learners._fit import LEARNERS
from surefoot.tabular._sweep._fits import TableFits, flat_metrics, write_columns
from surefoot.tabular._sweep._names import LEARNED, LOST_BY_CVAR, NEAR_BEST, difference_in, family_party, pair_of
from surefoot.tabular._tables._design import Design, OpenedDesign, open_design
from surefoot.tabular._tables._table import FileTable

Floats = NDArray[np.float64]
Columns = Mapping[str, NDArray[Any]]
Pick = tuple[int, ...]
"""The row of the table of configurations that is chosen in each fold."""

BY_ACCURACY, BY_WORST_GROUP, BY_CVAR = "chosen by accuracy", "chosen by worst group", "chosen by CVaR"
BEST_ON_TEST = "best on test (the paper's rule)"
_BEST = ("accuracy", "worst_group_accuracy")
"""What the paper reports the best of."""
METRICS = ("accuracy", "balanced_accuracy")
"""What configurations may be chosen by, over all rows and in the worst group."""
MAJORITY = "the more frequent answer"
"""The party that answers everybody alike: what a learner must be better than."""
_CRITERIA = {
    BY_ACCURACY: ("goal_accuracy", 1),
    BY_WORST_GROUP: ("goal_worst_group_accuracy", 1),
    BY_CVAR: ("validation_cvar", -1),
}
PAIRS = {
    "accuracy ~ worst-group accuracy": ("accuracy", "worst_group_accuracy"),
    "accuracy ~ CVaR": ("accuracy", "cvar"),
}
_OVER_ALL = ("accuracy", "balanced_accuracy", "selection_rate")
_COMPARED = {BY_ACCURACY: ("accuracy",), BY_WORST_GROUP: ("worst_group_accuracy", "accuracy_disparity")}
_OF_GROUPS = {"worst_group_accuracy": worst_group_difference, "accuracy_disparity": disparity_difference}
"""Differences of what is an extreme of groups, with bounds that hold whichever groups are the extremes."""
_SIGNS = np.array([1.0, -1.0])
NEAR = 0.02


@dataclass(frozen=True, kw_only=True)
class TableComparison(Step):
    """All fits on the folds of one split: what learners and families reach, how they differ, what choices depend on.

    In each fold a configuration is chosen on validation; its predictions of the test rows of all folds are put
    together and measured as one. All configurations are kept in one `configurations.parquet`, with the table and the
    fold. Measurements have the learner, the family or the pair in `group` and the rule of choice in `shift`. A standard
    error is that of `replicates` bootstrap samples of the test rows within groups, the same for all that is compared,
    or, when it is larger, the spread of the folds over the root of their number, which has the training rows' part in
    it; the worst group is then the one that is the worst of all folds together. In simulations the interval covered
    94 to 96 percent where training rows move a fold half as much as its test rows, 90 to 92 where as much (three to
    five folds), 85 to 88 where twice. `pairs` are learners to compare with each other, beside trees with each other
    family. Configurations are chosen by `metric`, one of `METRICS`, over all rows and in the worst group. The intervals
    of worst groups and disparities hold whichever groups are the extremes. The party `MAJORITY` gives everybody the
    more frequent answer. With `simultaneous` those of differences between parties hold so, too (without it they are the
    bootstrap's, which covered 77 to 100 percent), and their standard error is the one behind such bounds. Raises
    `SurefootError` for fits of other tables or splits, or another metric.
    """

    version: ClassVar[int] = 8

    fits: tuple[TableFits, ...]
    replicates: int = 1000
    pairs: tuple[tuple[str, str], ...] = ()
    metric: str = "accuracy"
    simultaneous: bool = False

    def make(self, out: Path, inputs: Inputs) -> Iterable[Measurement]:
        """Compare; every configuration that was fitted in full takes part."""
        designs = list(dict.fromkeys(fit.design for fit in self.fits))
        if len({replace(design, fold=0).key for design in designs}) != 1:
            raise SurefootError(f"A comparison is of fits on the folds of one split, got {len(designs)} others.")
        if self.metric not in METRICS:
            raise SurefootError(f"Configurations are chosen by {' or '.join(METRICS)}, got '{self.metric}'.")
        table = _gather([inputs[fit] / "configurations.parquet" for fit in self.fits])
        table["fold"] = np.array([designs.index(fit.design) for fit in self.fits])[table["fit"]]
        write_columns(out / "configurations.parquet", table | _named(table, designs))
        full = {name: column[table["share"] == 1] for name, column in table.items()}
        full |= {f"goal_{name}": full[f"validation_{name.replace('accuracy', self.metric)}"] for name in _BEST}
        parts = [open_design(inputs[design]) for design in designs]
        board = _Board.of(full, [inputs[fit] / "scores.npz" for fit in self.fits], parts, self.replicates)
        found = [
            *_reached(full, board),
            *_majority(parts),
            *_in_groups(full, board),
            *_differences(full, board, self),
            *_cvar_costs(full, board),
        ]
        return [*found, *_correlations(full), *_sensitivity(full, parts), *_costs(table)]


@dataclass(frozen=True, kw_only=True)
class _Board:
    """Metrics of the picks on the test rows of all folds together, and their bootstrap draws (replicates, picks).

    `bounds` hold whichever groups are the extremes.
    `groups` are their names; `folds` (folds, picks, groups + 1) accuracies in each fold, overall last;
    `correct` (picks, n) says which rows each pick gets right, `codes` (n,) their groups.
    """

    place: Mapping[Pick, int]
    values: Mapping[str, Floats]
    bounds: Mapping[str, tuple[Floats, Floats]]
    draws: Mapping[str, Floats]
    groups: tuple[str, ...]
    folds: Floats
    sizes: NDArray[np.intp]
    correct: NDArray[np.bool_]
    codes: NDArray[Any]

    @staticmethod
    def of(full: Columns, scores: Sequence[Path], parts: Sequence[OpenedDesign], replicates: int) -> _Board:
        picks = sorted({pick for rows in _parties(full).values() for pick in _candidates(full, rows)})
        kept = [np.load(path)["test"] for path in scores]
        said = np.concatenate(
            [
                np.stack([kept[full["fit"][row]][int(full["place"][row])] for row in rows])
                for rows in zip(*picks, strict=True)
            ],
            axis=1,
        )
        labels, codes = (np.concatenate([getattr(part.test, name) for part in parts]) for name in "yg")
        names = parts[0].groups
        sizes = np.bincount(codes, minlength=len(names))
        correct = (said >= 0.5) == (labels == 1)
        overall, by_group = resample_accuracies(correct, codes, len(sizes), replicates=replicates)
        large = sizes >= LEAST_ROWS
        worst = by_group[:, :, large].min(axis=2) if large.any() else np.full_like(overall, np.nan)
        draws = {"accuracy": overall, "worst_group_accuracy": worst}
        if large.sum() > 1:
            draws |= resample_disparities(correct, labels, codes, large, replicates=replicates)
        metrics = group_metrics(labels, said, codes, groups=names)
        values = flat_metrics(metrics)
        decided = [not all(LEARNERS[full["learner"][row]].probabilities for row in pick) for pick in picks]
        values["calibration_error"] = np.where(decided, np.nan, values["calibration_error"])
        return _Board(
            place={pick: at for at, pick in enumerate(picks)},
            values=values,
            bounds=_bounds(metrics) | {"calibration_error": calibration_bounds(labels, said, replicates=replicates)},
            draws=draws,
            groups=names,
            folds=_by_fold(correct, codes, [len(part.test.y) for part in parts], len(sizes)),
            sizes=sizes,
            correct=correct,
            codes=codes,
        )

    @property
    def n(self) -> int:
        return int(self.sizes.sum())

    def measured(self, metric: str, picks: Sequence[Pick | None], named: Mapping[str, Any]) -> Iterator[Measurement]:
        """A metric of a pick, or of two their difference on the same rows; nothing where one is not known."""
        places = [self.place[pick] for pick in picks if pick is not None]
        signs = _SIGNS[: len(places)]
        if metric not in self.draws or len(places) < len(picks):
            return
        value = float(self.values[metric][places] @ signs)
        if np.isfinite(value):
            draws, spread = self.draws[metric][:, places] @ signs, self._spread(metric, places, signs)
            drawn = _with_draws(value, draws, spread, {"n": self.n, **named})
            yield self._inside(drawn, metric, places[0], spread) if len(places) == 1 else drawn

    def _inside(self, drawn: Measurement, metric: str, place: int, spread: float) -> Measurement:
        """With the bounds of what is a share, widened to Student's interval of the folds where that is wider."""
        if metric not in self.bounds:
            return drawn
        low, high = (float(bound[place]) for bound in self.bounds[metric])
        half = t_quantile(0.95, len(self.folds) - 1) * spread if spread > 0 else 0.0
        bounds = {"low": max(min(low, drawn.value - half), 0.0), "high": min(max(high, drawn.value + half), 1.0)}
        return replace(drawn, **bounds)

    def apart(self, drawn: Measurement, metric: str, picks: Sequence[Pick | None]) -> Measurement:
        """A difference of two picks with bounds that hold whichever groups are the extremes, and the error behind them.

        Of accuracy they are at least Tango's: the draws of two picks with the same answers have no width. They are at
        least Student's of the folds, whose t the error has not: where tables are pooled it would count twice.
        """
        places = [self.place[pick] for pick in picks if pick is not None]
        first, second = self.correct[places]
        if metric in _OF_GROUPS:
            rows = self.sizes[self.codes] >= LEAST_ROWS
            found, ends = _OF_GROUPS[metric](first[rows], second[rows], self.codes[rows]), []
        else:
            found = share_difference((first & ~second).sum(), (second & ~first).sum(), self.n)
            ends = [each for each in (drawn.low, drawn.high) if each is not None]
        half = t_quantile(0.95, len(self.folds) - 1) * spread if (spread := self._spread(metric, places, _SIGNS)) else 0
        return replace(
            drawn,
            low=min(found.low, drawn.value - half, *ends),
            high=max(found.high, drawn.value + half, *ends),
            stderr=max(drawn.stderr or 0.0, error_of_bounds(found.low, found.high)),
        )

    def bounded(self, metric: str, pick: Pick | None, named: Mapping[str, Any]) -> Iterator[Measurement]:
        """A metric of a pick that has bounds and no draws."""
        if pick is not None and np.isfinite(value := float(self.values[metric][self.place[pick]])):
            low, high = (float(bound[self.place[pick]]) for bound in self.bounds[metric])
            yield Measurement(metric=metric, value=value, n=self.n, low=low, high=high, **named)

    def _spread(self, metric: str, places: Sequence[int], signs: Floats) -> float:
        """The standard error that the folds' own values give, 0 where there is one fold or none is followed."""
        if len(self.folds) < 2 or metric not in _BEST:
            return 0.0
        groups = [-1 if metric == "accuracy" else int(self.values["worst_group"][place]) for place in places]
        values = self.folds[:, places, groups] @ signs
        return float(values.std(ddof=1) / len(values) ** 0.5) if np.isfinite(values).all() else 0.0


def _bounds(metrics: GroupMetrics) -> dict[str, tuple[Floats, Floats]]:
    """Intervals (picks,) of rates over all rows, of worst groups, and of what groups differ by."""
    found = {}
    for name in _OVER_ALL:
        low, high = rate_bounds(metrics, name)
        found[name] = (low[:, -1], high[:, -1])
    low, high = rate_bounds(metrics, "accuracy")
    found |= {f"accuracy_of_{place}": (low[:, place], high[:, place]) for place in range(len(metrics.groups))}
    for name in METRICS:
        worst = worst_group(metrics, name)
        found[f"worst_group_{name}"] = (worst.low, worst.high)
    for title in DISPARITIES:
        apart = disparity_bounds(metrics, title)
        found[title] = (apart.low, apart.high)
    return found


def _by_fold(correct: NDArray[np.bool_], codes: NDArray[Any], sizes: Sequence[int], groups: int) -> Floats:
    found, ends = [], np.cumsum(sizes)
    for begin, end in zip(ends - sizes, ends, strict=True):
        inside, code = correct[:, begin:end], codes[begin:end]
        kept = [inside[:, code == group] for group in range(groups)] + [inside]
        found.append(np.stack([each.mean(1) if each.shape[1] else np.full(len(each), np.nan) for each in kept], axis=1))
    return np.stack(found)


def _with_draws(value: float, draws: Floats, spread: float, named: Mapping[str, Any]) -> Measurement:
    """A measurement with the wider of two intervals: of the draws, or with the standard error `spread`."""
    stderr = float(draws.std(ddof=1))
    low, high = value - np.quantile(draws, (0.025, 0.975))
    wider = max(1.0, spread / stderr) if stderr > 0 else 1.0
    bounds = {"low": value - wider * max(float(low), 0.0), "high": value - wider * min(float(high), 0.0)}
    return Measurement(value=value, stderr=max(stderr, spread), **bounds, **named)


def _gather(paths: Sequence[Path]) -> dict[str, NDArray[Any]]:
    with in_memory() as connection:
        tables = [connection.execute("SELECT * FROM read_parquet(?)", [str(path)]).fetchnumpy() for path in paths]
    names = list(dict.fromkeys(name for table in tables for name in table))
    gathered = {name: np.concatenate([_column(table, name) for table in tables]) for name in names}
    return gathered | {"fit": np.repeat(np.arange(len(tables)), [len(table["place"]) for table in tables])}


def _named(columns: Columns, designs: Sequence[Design]) -> dict[str, NDArray[Any]]:
    """The name of the table and the number of the split and fold as columns, so that files of several can be one."""
    table = designs[0].table
    name = Path(table.path).stem if isinstance(table, FileTable) else table.name
    splits = np.array([f"{design.seed}.{design.fold}" for design in designs], dtype=object)
    return {"table": np.full(len(columns["fold"]), name, dtype=object), "split": splits[columns["fold"]]}


def _column(table: Mapping[str, Any], name: str) -> NDArray[Any]:
    values = table.get(name)
    if values is None:
        return np.full(len(table["place"]), np.nan)
    return values.filled(np.nan) if isinstance(values, np.ma.MaskedArray) and values.mask.any() else np.asarray(values)


def _parties(full: Columns) -> dict[str, NDArray[np.intp]]:
    learners = list(dict.fromkeys(full["learner"].tolist()))
    found = {name: np.flatnonzero(full["learner"] == name) for name in learners}
    families = dict.fromkeys(LEARNERS[name].family for name in learners)
    for family in families:
        members = [name for name in learners if LEARNERS[name].family == family]
        found[family_party(family)] = np.flatnonzero(np.isin(full["learner"], members))
    return found


def _choose(full: Columns, rows: NDArray[np.intp], values: NDArray[Any], sign: int = 1) -> Pick | None:
    """In each fold the row with the highest (sign -1: lowest) value, or None when one fold has none that is known."""
    known = rows[np.isfinite(values[rows].astype(np.float64))]
    folds = _fold_rows(full, known)
    return tuple(int(each[np.argmax(sign * values[each])]) for each in folds) if all(map(len, folds)) else None


def _by_rule(full: Columns, rows: NDArray[np.intp], rule: str) -> Pick | None:
    name, sign = _CRITERIA[rule]
    return _choose(full, rows, full[name], sign) if name in full else None


def _candidates(full: Columns, rows: NDArray[np.intp]) -> list[Pick]:
    known = rows[np.isfinite(full["validation_cvar"][rows])] if "validation_cvar" in full else rows[:0]
    chosen = [_by_rule(full, rows, rule) for rule in _CRITERIA] + [_by_rule(full, known, BY_ACCURACY)]
    chosen += [_choose(full, rows, full[f"test_{metric}"]) for metric in _BEST]
    return [pick for pick in chosen if pick is not None]


def _reached(full: Columns, board: _Board) -> Iterator[Measurement]:
    for party, rows in _parties(full).items():
        for rule in (BY_ACCURACY, BY_WORST_GROUP):
            pick = _by_rule(full, rows, rule)
            for metric in board.draws:
                yield from board.measured(metric, [pick], {"metric": metric, "group": party, "shift": rule})
            for metric in ("balanced_accuracy", "worst_group_balanced_accuracy", "selection_rate", "calibration_error"):
                yield from board.bounded(metric, pick, {"group": party, "shift": rule})
        for metric in _BEST:
            pick = _choose(full, rows, full[f"test_{metric}"])
            yield from board.measured(metric, [pick], {"metric": metric, "group": party, "shift": BEST_ON_TEST})
        count = len(rows) // len(board.folds)
        yield Measurement(metric="configurations", value=count, n=count, group=party)


def _majority(parts: Sequence[OpenedDesign]) -> Iterator[Measurement]:
    labels, codes = (np.concatenate([getattr(part.test, name) for part in parts]) for name in "yg")
    answer = np.full(len(labels), float(labels.mean() >= 0.5))
    metrics = group_metrics(labels, answer, codes, groups=parts[0].groups, probabilities=False)
    values, bounds = flat_metrics(metrics), _bounds(metrics)
    for name in ("accuracy", "worst_group_accuracy", "balanced_accuracy", "accuracy_disparity", "equalised_odds"):
        if np.isfinite(value := float(values[name][0])):
            low, high = (float(bound[0]) for bound in bounds[name])
            yield Measurement(metric=name, value=value, n=len(labels), low=low, high=high, group=MAJORITY)


def _in_groups(full: Columns, board: _Board) -> Iterator[Measurement]:
    """The accuracy in each large group of what a learner or family reaches by its worst group on validation."""
    for party, rows in _parties(full).items():
        pick = _by_rule(full, rows, BY_WORST_GROUP)
        for place in np.flatnonzero(board.sizes >= LEAST_ROWS):
            for found in board.bounded(f"accuracy_of_{place}", pick, {"group": party, "shift": BY_WORST_GROUP}):
                yield replace(found, metric=f"accuracy in {board.groups[place]}", n=int(board.sizes[place]))


def _families(full: Columns) -> dict[str, NDArray[np.intp]]:
    prefix = family_party("")
    return {name.removeprefix(prefix): rows for name, rows in _parties(full).items() if name.startswith(prefix)}


def _differences(full: Columns, board: _Board, step: TableComparison) -> Iterator[Measurement]:
    """Trees minus each other family, and the pairs asked for, each by its best on validation, on the same rows."""
    parties, families = _parties(full), _families(full)
    pairs = {
        pair_of("trees", other): (family_party("trees"), family_party(other)) for other in families if other != "trees"
    }
    pairs |= {pair_of(first, second): (first, second) for first, second in step.pairs}
    for pair, both in pairs.items():
        for rule, metrics in _COMPARED.items() if set(both) <= parties.keys() else ():
            picks = [_by_rule(full, parties[party], rule) for party in both]
            for metric in metrics:
                named = {"metric": difference_in(metric), "group": pair, "shift": rule}
                for drawn in board.measured(metric, picks, named):
                    yield board.apart(drawn, metric, picks) if step.simultaneous else drawn


def _cvar_costs(full: Columns, board: _Board) -> Iterator[Measurement]:
    """Worst-group accuracy lost when a family is chosen by CVaR in place of accuracy."""
    for family, rows in _families(full).items() if "validation_cvar" in full else ():
        known = rows[np.isfinite(full["validation_cvar"][rows])]
        picks = [_by_rule(full, known, rule) for rule in (BY_ACCURACY, BY_CVAR)]
        named = {"metric": LOST_BY_CVAR, "group": family_party(family), "shift": BY_CVAR}
        yield from board.measured("worst_group_accuracy", picks, named)


def _fold_rows(full: Columns, rows: NDArray[np.intp]) -> list[NDArray[np.intp]]:
    return [rows[full["fold"][rows] == fold] for fold in range(int(full["fold"].max()) + 1)]


def _correlations(full: Columns) -> Iterator[Measurement]:
    """Pearson correlations of metrics over a learner's configurations, at least eight, the mean of the folds."""
    for learner in dict.fromkeys(full["learner"].tolist()):
        for pair, names in PAIRS.items():
            found: list[float] = []
            for rows in _fold_rows(full, np.flatnonzero(full["learner"] == learner)):
                x, y = (full.get(f"test_{name}", np.full(len(full["fold"]), np.nan))[rows] for name in names)
                known = np.isfinite(x) & np.isfinite(y)
                if known.sum() >= 8 and np.ptp(x[known]) > 0 and np.ptp(y[known]) > 0:
                    found.append(float(np.corrcoef(x[known], y[known])[0, 1]))
            if found:
                value = sum(found) / len(found)
                yield Measurement(metric="correlation", value=value, n=len(found), group=learner, shift=pair)


def _sensitivity(full: Columns, parts: Sequence[OpenedDesign]) -> Iterator[Measurement]:
    """How much depends on the configuration, in the mean of the folds.

    The share that learned (better on validation than the more frequent label alone), the share of those that is near
    the best of them, and the best of k, chosen on validation.
    """
    shares = [float(np.mean(part.validation.y)) for part in parts]
    bars = np.array([max(share, 1 - share) for share in shares])[full["fold"]]
    learned = full["validation_accuracy"] > bars
    for party, rows in _parties(full).items():
        known = rows[np.isfinite(full["test_worst_group_accuracy"] + full["validation_worst_group_accuracy"])[rows]]
        folds = _fold_rows(full, known)
        if not all(map(len, folds)):
            continue
        yield Measurement(metric=LEARNED, value=learned[known].mean(), n=len(known), group=party)
        worst = [full["test_worst_group_accuracy"][each[learned[each]]] for each in folds]
        if all(map(len, worst)):
            near = float(np.mean([np.mean(each >= each.max() - NEAR) for each in worst]))
            yield Measurement(metric=NEAR_BEST, value=near, n=sum(map(len, worst)), group=party)
        for k in [2**power for power in range(int(math.log2(min(map(len, folds)))) + 1)]:
            columns = ("test_worst_group_accuracy", "validation_worst_group_accuracy")
            test, goal = ([full[name][each] for each in folds] for name in columns)
            value = float(np.mean([best_of(*fold, k) for fold in zip(test, goal, strict=True)]))
            yield Measurement(
                metric="worst_group_accuracy", value=value, n=k, group=party, shift="best of random", replicate=k
            )


def best_of(test: Floats, goal: Floats, k: int) -> float:
    """The expected `test` of the one with the highest `goal` among k of them drawn without replacement, exactly."""
    n = len(goal)
    ordered = test[np.argsort(-goal, kind="stable")]
    weights = np.array([math.comb(n - rank - 1, k - 1) for rank in range(n)], dtype=object)
    return float(np.dot(ordered, (weights / math.comb(n, k)).astype(np.float64)))


def _costs(table: Columns) -> Iterator[Measurement]:
    for learner in dict.fromkeys(table["learner"].tolist()):
        spent = table["cpu_seconds"][table["learner"] == learner]
        yield Measurement(metric="cpu_seconds_each", value=float(spent.mean()), n=len(spent), group=learner)
