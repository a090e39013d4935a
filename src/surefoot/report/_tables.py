"""The tables of a page as columns and rows of plain values, bounded in size."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any, Literal

from surefoot.core import Figure, Observation, Step, flatten, shortened
from surefoot.report._numbers import bounds

ColumnKind = Literal["text", "number", "key"]
Column = tuple[str, ColumnKind]
_FIELD_COLUMNS = 8
_ALWAYS = ("step", "value", "low", "high", "n")
_MEASURED = ("metric", "task", "shift", "group", "value", "low", "high", "n", "replicate")


@dataclass(frozen=True, kw_only=True)
class PageTable:
    """Columns (name and kind) and rows of equal length; `total` counts the rows before any were left out."""

    columns: tuple[Column, ...]
    rows: tuple[tuple[Any, ...], ...]
    total: int

    @property
    def complete(self) -> bool:
        return len(self.rows) == self.total


def choose(observations: Sequence[Observation], limit: int) -> list[Observation]:
    """At most `limit` observations, in their order; each pair of kind of Step and metric gets an equal share."""
    if len(observations) <= limit:
        return list(observations)
    seen: Counter[tuple[str, str]] = Counter()
    ranks = []
    for item in observations:
        cell = item.step.kind, item.measurement.metric
        ranks.append(seen[cell])
        seen[cell] += 1
    chosen = sorted(range(len(observations)), key=lambda index: ranks[index])[:limit]
    return [observations[index] for index in sorted(chosen)]


def measurement_table(chosen: Sequence[Observation], total: int) -> PageTable:
    """The measurements with the Step behind each and the fields in which those Steps differ."""
    steps = {item.step.key: item.step for item in chosen}
    fields = {key: {name: _exact(value) for name, value in flatten(step).items()} for key, step in steps.items()}
    varying = varying_fields(fields.values())
    rows = [
        (
            item.step.key,
            *_measured(item),
            item.step.kind.rpartition(".")[2],
            *(fields[item.step.key].get(name) for name in varying),
        )
        for item in chosen
    ]
    names: list[Column] = [("step", "key")]
    names += [_column(name, (row[1 + index] for row in rows)) for index, name in enumerate(_MEASURED)]
    names += [("kind", "text"), *(_column(name, (row.get(name) for row in fields.values())) for name in varying)]
    return _without_empty(names, rows, total)


def varying_fields(rows: Iterable[dict[str, Any]]) -> list[str]:
    """The paths of the plain fields that take two values or more, the shortest paths first, at most eight."""
    values: dict[str, set[Any]] = defaultdict(set)
    for row in rows:
        for name, value in row.items():
            values[name].add(value)
    told = [
        name for name, found in values.items() if len(found) > 1 and name.rpartition(".")[2] not in ("kind", "version")
    ]
    kept = set(sorted(told, key=lambda name: (name.count("."), name))[:_FIELD_COLUMNS])
    return [name for name in told if name in kept]


def summary_table(observations: Sequence[Observation]) -> PageTable:
    """Count, smallest, median and largest value by metric, task and shift, over all measurements."""
    cells: dict[tuple[str, str, str], list[float]] = defaultdict(list)
    for item in observations:
        cells[item.measurement.metric, item.measurement.task, item.measurement.shift].append(item.value)
    rows = [(*cell, len(values), min(values), median(values), max(values)) for cell, values in cells.items()]
    texts: list[Column] = [("metric", "text"), ("task", "text"), ("shift", "text")]
    numbers: list[Column] = [(name, "number") for name in ("count", "smallest", "median", "largest")]
    return _without_empty([*texts, *numbers], rows, len(rows))


def figure_columns(figure: Figure) -> list[Column]:
    """The columns of a figure's table: every name that some row fills; pictures are shown, not listed."""
    rows = figure.table()
    names = dict.fromkeys(name for row in rows for name, value in row.items() if value is not None and name != "image")
    return [_column(name, (row.get(name) for row in rows)) for name in names]


def labels(steps: Sequence[Step]) -> list[str]:
    """What tells Steps of one kind apart, each in one line: their own plain fields and what varies below them."""
    fields = [flatten(step) for step in steps]
    varying = set(varying_fields(fields))
    return [", ".join(_told(row, varying)) for row in fields]


def _told(row: dict[str, Any], varying: set[str]) -> Iterable[str]:
    for name, value in row.items():
        if name in varying or ("." not in name and name not in ("kind", "version")):
            yield f"{name}={shortened(value)}"


def _measured(item: Observation) -> tuple[Any, ...]:
    low, high = bounds(item.measurement)
    found = {"low": low, "high": high}
    return tuple(found[name] if name in found else getattr(item.measurement, name) for name in _MEASURED)


def _exact(value: Any) -> Any:
    """A whole number that a browser would round (a long seed) as text."""
    return str(value) if type(value) is int and abs(value) > 1 << 53 else value


def _column(name: str, values: Iterable[Any]) -> Column:
    known = [value for value in values if value is not None]
    plain = all(isinstance(value, (int, float)) and not isinstance(value, bool) for value in known)
    return name, "number" if known and plain else "text"


def _without_empty(names: Sequence[Column], rows: Sequence[tuple[Any, ...]], total: int) -> PageTable:
    """The table without columns that tell nothing or repeat another, and with those last that never change."""
    values = [{row[index] for row in rows} for index in range(len(names))]
    told = [index for index, found in enumerate(values) if found - {None, "", 0} or names[index][0] in _ALWAYS]
    first = {tuple(row[index] for row in rows): index for index in reversed(told) if names[index][1] == "text"}
    told = [index for index in told if names[index][1] != "text" or index in first.values()]
    kept = sorted(told, key=lambda index: len(values[index]) == 1 and names[index][0] not in _ALWAYS)
    return PageTable(
        columns=tuple(names[index] for index in kept),
        rows=tuple(tuple(row[index] for index in kept) for row in rows),
        total=total,
    )
