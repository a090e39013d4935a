"""Compare learners on one split: chosen on validation, reported on test, with the test rows resampled together."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from surefoot.core import Inputs, Measurement, Step, SurefootError
from surefoot.stats import LEAST_ROWS, resample_accuracies, resample_calibration, resample_disparities
from surefoot.tabular._learners._fit import LEARNERS
from surefoot.tabular._sweep._fits import TableFits, write_columns
from surefoot.tabular._tables._design import Design, Part, Parts, open_design
from surefoot.tabular._tables._table import FileTable

Floats = NDArray[np.float64]
Columns = Mapping[str, NDArray[Any]]

BY_ACCURACY, BY_WORST_GROUP, BY_CVAR = "chosen by accuracy", "chosen by worst group", "chosen by CVaR"
BEST_ON_TEST = "best on test (the paper's rule)"
_BEST = {"accuracy": 1, "worst_group_accuracy": 1, "accuracy_disparity": -1}
"""What the paper reports the best of, and whether high or low is good."""
_CRITERIA = {
    BY_ACCURACY: ("validation_accuracy", 1),
    BY_WORST_GROUP: ("validation_worst_group_accuracy", 1),
    BY_CVAR: ("validation_cvar", -1),
}
PAIRS = {
    "accuracy ~ worst-group accuracy": ("accuracy", "worst_group_accuracy"),
    "CVaR ~ CVaR-DORO": ("cvar", "cvar_doro"),
    "demographic parity ~ equalised odds": ("demographic_parity", "equalised_odds"),
    "accuracy ~ CVaR": ("accuracy", "cvar"),
    "accuracy ~ demographic parity": ("accuracy", "demographic_parity"),
}
_COMPARED = {BY_ACCURACY: ("accuracy",), BY_WORST_GROUP: ("worst_group_accuracy", "accuracy_disparity")}
NEAR = 0.02
TRADE_OFFS: Mapping[float, str] = {weight: f"chosen by {weight:.2f} accuracy" for weight in (0.0, 0.25, 0.5, 0.75, 1.0)}
"""The rules of a frontier: chosen by this share of accuracy, the rest worst-group accuracy."""
_RIVALS = (("xgboost", "group-dro"), ("xgboost", "chi-square-dro"))
"""The pairs of learners that the paper tests against each other."""


@dataclass(frozen=True, kw_only=True)
class TableComparison(Step):
    """All fits on one design: what each learner and family reaches, how they differ, and what the choice depends on.

    It keeps all configurations in one `configurations.parquet`, with the table and the split. Measurements have the
    learner, the family or the pair of families in `group` and the rule of choice in `shift`; standard errors are of
    `replicates` bootstrap samples of the test rows within groups, the same for all that is compared. Raises
    `SurefootError` for fits of other designs.
    """

    version: ClassVar[int] = 3

    fits: tuple[TableFits, ...]
    replicates: int = 1000

    def make(self, out: Path, inputs: Inputs) -> Iterable[Measurement]:
        """Compare; every configuration that was fitted in full takes part."""
        designs = {fit.design.key for fit in self.fits}
        if len(designs) != 1:
            raise SurefootError(f"A comparison is of fits on one design, got {len(designs)}.")
        table = _gather([inputs[fit] / "configurations.parquet" for fit in self.fits])
        table |= _named(self.fits[0].design, len(table["place"]))
        write_columns(out / "configurations.parquet", table)
        full = {name: column[table["share"] == 1] for name, column in table.items()}
        parts = open_design(inputs[self.fits[0].design])
        board = _Board.of(full, [inputs[fit] / "scores.npz" for fit in self.fits], parts, self.replicates)
        found = [
            *_reached(full, board),
            *_in_groups(full, board),
            *_differences(full, board),
            *_frontiers(full, board),
            *_cvar_costs(full, board),
        ]
        return [*found, *_correlations(full), *_sensitivity(full), *_costs(table)]


@dataclass(frozen=True, kw_only=True)
class _Board:
    """Bootstrap draws of test metrics, (replicates, chosen) by row of the table; `groups` those of each large group."""

    place: Mapping[int, int]
    draws: Mapping[str, Floats]
    groups: Mapping[str, Floats]
    sizes: NDArray[np.intp]

    @staticmethod
    def of(full: Columns, scores: Sequence[Path], parts: Parts, replicates: int) -> _Board:
        rows = sorted({row for members in _parties(full).values() for row in _candidates(full, members)})
        kept = [np.load(path) for path in scores]
        test, names = parts.test, parts.groups
        correct = np.stack([_correct(kept[full["fit"][row]], int(full["place"][row]), test) for row in rows])
        codes = np.asarray(test.g)
        sizes = np.bincount(codes, minlength=len(names))
        overall, by_group = resample_accuracies(correct, codes, len(sizes), replicates=replicates)
        large = sizes >= LEAST_ROWS
        worst = by_group[:, :, large].min(axis=2) if large.any() else np.full_like(overall, np.nan)
        draws = {"accuracy": overall, "worst_group_accuracy": worst}
        if large.sum() > 1:
            draws |= resample_disparities(correct, test.y, codes, large, replicates=replicates)
        said = np.stack([kept[full["fit"][row]]["test"][int(full["place"][row])] for row in rows])
        draws["calibration_error"] = resample_calibration(test.y, said, replicates=replicates)
        named = {names[place]: by_group[:, :, place] for place in np.flatnonzero(large)}
        return _Board(place={row: at for at, row in enumerate(rows)}, draws=draws, groups=named, sizes=sizes)

    @property
    def n(self) -> int:
        """Test rows."""
        return int(self.sizes.sum())

    def of_row(self, metric: str, row: int) -> Floats:
        """The draws of one configuration."""
        return self.draws[metric][:, self.place[row]]


def _gather(paths: Sequence[Path]) -> dict[str, NDArray[Any]]:
    """The configurations of all fits in one table, with the number of the fit that each is of."""
    import duckdb

    with duckdb.connect() as connection:
        connection.execute("SET preserve_insertion_order=true")
        tables = [connection.execute("SELECT * FROM read_parquet(?)", [str(path)]).fetchnumpy() for path in paths]
    names = list(dict.fromkeys(name for table in tables for name in table))
    gathered = {name: np.concatenate([_column(table, name) for table in tables]) for name in names}
    return gathered | {"fit": np.repeat(np.arange(len(tables)), [len(table["place"]) for table in tables])}


def _named(design: Design, count: int) -> dict[str, NDArray[Any]]:
    """The name of the table and the number of the split as columns, so that files of several can be one."""
    table = design.table
    name = Path(table.path).stem if isinstance(table, FileTable) else table.name
    return {
        "table": np.array([name] * count, dtype=object),
        "split": np.array([str(design.seed)] * count, dtype=object),
    }


def _column(table: Mapping[str, Any], name: str) -> NDArray[Any]:
    values = table.get(name)
    if values is None:
        return np.full(len(table["place"]), np.nan)
    return values.filled(np.nan) if isinstance(values, np.ma.MaskedArray) and values.mask.any() else np.asarray(values)


def _parties(full: Columns) -> dict[str, NDArray[np.intp]]:
    """The rows of each learner, and of each family of learners."""
    learners = list(dict.fromkeys(full["learner"].tolist()))
    found = {name: np.flatnonzero(full["learner"] == name) for name in learners}
    families = dict.fromkeys(LEARNERS[name].family for name in learners)
    for family in families:
        members = [name for name in learners if LEARNERS[name].family == family]
        found[f"family: {family}"] = np.flatnonzero(np.isin(full["learner"], members))
    return found


def _choose(full: Columns, rows: NDArray[np.intp], values: NDArray[Any], sign: int = 1) -> int | None:
    """The row with the highest (sign -1: lowest) value, or None when none is known."""
    known = rows[np.isfinite(values[rows].astype(np.float64))]
    return int(known[np.argmax(sign * values[known])]) if len(known) else None


def _by_rule(full: Columns, rows: NDArray[np.intp], rule: str) -> int | None:
    name, sign = _CRITERIA[rule]
    return _choose(full, rows, full[name], sign) if name in full else None


def _weighted(full: Columns, part: str, weight: float) -> Floats:
    return weight * full[f"{part}_accuracy"] + (1 - weight) * full[f"{part}_worst_group_accuracy"]


def _candidates(full: Columns, rows: NDArray[np.intp]) -> list[int]:
    """Every row that some rule chooses."""
    chosen = [_by_rule(full, rows, rule) for rule in _CRITERIA]
    chosen += [_choose(full, rows, _weighted(full, "validation", weight)) for weight in TRADE_OFFS]
    chosen += [_choose(full, rows, full[f"test_{metric}"], sign) for metric, sign in _BEST.items()]
    return [row for row in chosen if row is not None]


def _correct(scores: Any, place: int, test: Part) -> NDArray[np.bool_]:
    return (scores["test"][place] >= 0.5) == (np.asarray(test.y) == 1)


def _reached(full: Columns, board: _Board) -> Iterator[Measurement]:
    """What each learner and family reaches on test under each rule of choice."""
    for party, rows in _parties(full).items():
        for rule in (BY_ACCURACY, BY_WORST_GROUP):
            row = _by_rule(full, rows, rule)
            if row is not None:
                yield from _row_measured(full, board, row, (party, rule))
        for metric in (name for name in _BEST if name in board.draws):
            row = _choose(full, rows, full[f"test_{metric}"], _BEST[metric])
            if row is not None:
                value = float(full[f"test_{metric}"][row])
                yield _with_draws(metric, value, board.of_row(metric, row), board.n, at=(party, BEST_ON_TEST))
        yield Measurement(metric="configurations", value=len(rows), n=len(rows), group=party)


def _row_measured(full: Columns, board: _Board, row: int, at: tuple[str, str]) -> Iterator[Measurement]:
    for metric in board.draws:
        value = full[f"test_{metric}"][row] if f"test_{metric}" in full else np.nan
        if np.isfinite(value):
            yield _with_draws(metric, value, board.of_row(metric, row), board.n, at=at)


def _in_groups(full: Columns, board: _Board) -> Iterator[Measurement]:
    """The accuracy in each large group of what a learner or family reaches by its worst group on validation."""
    for party, rows in _parties(full).items():
        row = _by_rule(full, rows, BY_WORST_GROUP)
        for place, (name, draws) in zip(_large(board), board.groups.items(), strict=True):
            if row is not None:
                value = float(full[f"test_accuracy_of_{place}"][row])
                drawn, n = draws[:, board.place[row]], int(board.sizes[place])
                yield _with_draws(f"accuracy in {name}", value, drawn, n, at=(party, BY_WORST_GROUP))


def _large(board: _Board) -> list[int]:
    return np.flatnonzero(board.sizes >= LEAST_ROWS).tolist()


def _with_draws(metric: str, value: float, draws: Floats, n: int, *, at: tuple[str, str]) -> Measurement:
    low, high = np.quantile(draws, (0.025, 0.975))
    return Measurement(
        metric=metric,
        value=float(value),
        n=n,
        stderr=float(draws.std(ddof=1)),
        low=min(float(low), float(value)),
        high=max(float(high), float(value)),
        group=at[0],
        shift=at[1],
    )


def _families(full: Columns) -> dict[str, NDArray[np.intp]]:
    prefix = "family: "
    return {name.removeprefix(prefix): rows for name, rows in _parties(full).items() if name.startswith(prefix)}


def _differences(full: Columns, board: _Board) -> Iterator[Measurement]:
    """Trees minus each other family, and the rivals, each by its best on validation, on the same resampled rows."""
    parties, families = _parties(full), _families(full)
    pairs = {f"trees - {other}": ("family: trees", f"family: {other}") for other in families if other != "trees"}
    pairs |= {f"{first} - {second}": (first, second) for first, second in _RIVALS}
    for pair, both in pairs.items():
        if not set(both) <= parties.keys():
            continue
        for rule, metrics in _COMPARED.items():
            first, second = (_by_rule(full, parties[party], rule) for party in both)
            for metric in metrics if first is not None and second is not None else ():
                value = float(full[f"test_{metric}"][first] - full[f"test_{metric}"][second])
                if metric in board.draws and np.isfinite(value):
                    draws = board.of_row(metric, int(first or 0)) - board.of_row(metric, int(second or 0))
                    yield _with_draws(f"difference in {metric}", value, draws, board.n, at=(pair, rule))


def _frontiers(full: Columns, board: _Board) -> Iterator[Measurement]:
    """What each family reaches at each weight w of w * accuracy + (1 - w) * worst group; trees minus the others.

    The difference, averaged over w, is the mean width between the two convex hulls of the paper's frontier, in the
    directions that matter.
    """
    families = _families(full)
    chosen = {
        name: [_choose(full, rows, _weighted(full, "validation", weight)) for weight in TRADE_OFFS]
        for name, rows in families.items()
    }
    for name, rows in chosen.items():
        for rule, row in zip(TRADE_OFFS.values(), rows, strict=True):
            yield from _on_frontier(full, board, row, (f"family: {name}", rule))
    for other in (name for name in families if name != "trees" and "trees" in families):
        values, draws = [], []
        for weight, *pair in zip(TRADE_OFFS, chosen["trees"], chosen[other], strict=True):
            if None in pair:
                continue
            test = _weighted(full, "test", weight)
            drawn = [_drawn(board, int(row or 0), weight) for row in pair]
            values.append(test[pair[0]] - test[pair[1]])
            draws.append(drawn[0] - drawn[1])
        if values:
            mean = float(np.mean(values))
            yield _with_draws("frontier difference", mean, np.mean(draws, axis=0), board.n, at=(f"trees - {other}", ""))


def _on_frontier(full: Columns, board: _Board, row: int | None, at: tuple[str, str]) -> Iterator[Measurement]:
    for metric in ("accuracy", "worst_group_accuracy") if row is not None else ():
        yield _with_draws(
            metric, float(full[f"test_{metric}"][row]), board.of_row(metric, int(row or 0)), board.n, at=at
        )


def _drawn(board: _Board, row: int, weight: float) -> Floats:
    return weight * board.of_row("accuracy", row) + (1 - weight) * board.of_row("worst_group_accuracy", row)


def _cvar_costs(full: Columns, board: _Board) -> Iterator[Measurement]:
    """Worst-group accuracy lost when a family is chosen by CVaR in place of accuracy."""
    for family, rows in _families(full).items():
        known = rows[np.isfinite(full["validation_cvar"][rows])] if "validation_cvar" in full else rows[:0]
        pair = [_by_rule(full, known, rule) for rule in (BY_ACCURACY, BY_CVAR)] if len(known) else [None]
        if None in pair or any(row not in board.place for row in pair):
            continue
        by_accuracy, by_cvar = (int(row or 0) for row in pair)
        metric = "worst_group_accuracy"
        value = float(full[f"test_{metric}"][by_accuracy] - full[f"test_{metric}"][by_cvar])
        draws = board.of_row(metric, by_accuracy) - board.of_row(metric, by_cvar)
        yield _with_draws("lost by choosing CVaR", value, draws, board.n, at=(f"family: {family}", BY_CVAR))


def _correlations(full: Columns) -> Iterator[Measurement]:
    """Pearson correlations between metrics over the configurations of each learner that has at least eight."""
    for learner in dict.fromkeys(full["learner"].tolist()):
        rows = full["learner"] == learner
        for pair, (first, second) in PAIRS.items():
            x, y = (full.get(f"test_{name}", np.full(len(rows), np.nan))[rows] for name in (first, second))
            known = np.isfinite(x) & np.isfinite(y)
            if known.sum() >= 8 and np.ptp(x[known]) > 0 and np.ptp(y[known]) > 0:
                value = float(np.corrcoef(x[known], y[known])[0, 1])
                yield Measurement(metric="correlation", value=value, n=int(known.sum()), group=learner, shift=pair)


def _sensitivity(full: Columns) -> Iterator[Measurement]:
    """How much depends on the configuration: the share near the best, and the best of k chosen on validation."""
    for party, rows in _parties(full).items():
        test, goal = (full[f"{part}_worst_group_accuracy"][rows] for part in ("test", "validation"))
        known = np.isfinite(test) & np.isfinite(goal)
        if not known.any():
            continue
        test, goal = test[known], goal[known]
        near = float(np.mean(test >= test.max() - NEAR))
        yield Measurement(metric="share near the best", value=near, n=len(test), group=party)
        for k in [2**power for power in range(int(math.log2(len(test))) + 1)]:
            value = best_of(test, goal, k)
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
    """CPU seconds a configuration, by learner: all that was spent over all that was asked."""
    for learner in dict.fromkeys(table["learner"].tolist()):
        spent = table["cpu_seconds"][table["learner"] == learner]
        yield Measurement(metric="cpu_seconds_each", value=float(spent.mean()), n=len(spent), group=learner)
