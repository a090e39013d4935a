"""A split of a table and its design matrix: train, validation and test as numbers, encoded from the training rows."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from surefoot.core import Inputs, Measurement, Step, SurefootError
from surefoot.tabular._tables._arrays import TableArrays, open_table
from surefoot.tabular._tables._columns import Column
from surefoot.tabular._tables._raw import RawTable
from surefoot.tabular._tables._table import FileTable, PublicTable

PARTS = ("train", "validation", "test")
_BLOCK_ROWS = 65_536


@dataclass(frozen=True, kw_only=True)
class Design(Step):
    """One random split of a table, stratified by group and label, with everything learned from the training rows.

    Categories become indicator columns, without the most frequent level; levels rarer than the share `rare` are pooled.
    Numbers are standardised, with missing ones at the median and an indicator beside them. `validation` and `test` are
    shares of the rows; `official` takes the published test rows and halves them, as the paper does; `rows` limits the
    training rows (0: all). `fold` moves the parts along: with a test share of a fifth, folds 0 to 4 of one seed test
    every row once. Memory is bounded: it is written in blocks of 65,536 rows.
    """

    table: PublicTable | FileTable | RawTable
    seed: int = 0
    validation: float = 0.1
    test: float = 0.1
    official: bool = False
    rows: int = 0
    rare: float = 0.005
    fold: int = 0

    def make(self, out: Path, inputs: Inputs) -> Iterable[Measurement]:
        """Write the three parts; measures the rows of each group in each."""
        table = open_table(inputs[self.table])
        chosen = split_rows(table, self)
        encoders = [_encoder(column, values[chosen["train"]], self.rare) for column, values in _columns(table)]
        kept = [encoder for encoder in encoders if encoder.names]
        if not (names := [name for encoder in kept for name in encoder.names]):
            raise SurefootError("Every feature is constant in the training rows: nothing can be learned.")
        for part, rows in chosen.items():
            _write_part(out, part, table, rows, kept)
        said = {"features": names, "groups": table.group_names, "notes": [*table.notes, *_notes(encoders)]}
        (out / "design.json").write_text(json.dumps(said, ensure_ascii=False, indent=1), encoding="utf-8")
        return [
            Measurement(metric="rows", value=size, n=size, shift=part, group=table.group_names[group])
            for part, rows in chosen.items()
            for group, size in enumerate(np.bincount(table.groups[rows], minlength=len(table.group_names)).tolist())
        ]


@dataclass(frozen=True, kw_only=True)
class GroupedRows:
    """Rows with labels and groups: `x` (rows, features), `y` (rows,) 0 or 1, `g` (rows,) numbers."""

    x: NDArray[Any]
    y: NDArray[Any]
    g: NDArray[Any]


@dataclass(frozen=True, kw_only=True)
class OpenedDesign:
    """An opened design: three parts mapped from the disk (shared between processes), and the names of things."""

    train: GroupedRows
    validation: GroupedRows
    test: GroupedRows
    features: tuple[str, ...]
    groups: tuple[str, ...]
    notes: tuple[str, ...]


def open_design(path: Path) -> OpenedDesign:
    """Open what a Design wrote, without reading it into memory."""
    said = json.loads((path / "design.json").read_text(encoding="utf-8"))
    train, validation, test = (
        GroupedRows(**{name: np.load(path / f"{part}_{name}.npy", mmap_mode="r") for name in "xyg"}) for part in PARTS
    )
    names = {name: tuple(said[name]) for name in ("features", "groups", "notes")}
    return OpenedDesign(train=train, validation=validation, test=test, **names)


def split_rows(table: TableArrays, design: Design) -> dict[str, NDArray[np.intp]]:
    """Sorted row numbers of each part. Raises `SurefootError` when a part would be empty or have one label."""
    generator = np.random.default_rng(design.seed)
    labels, groups = np.asarray(table.labels), np.asarray(table.groups)
    strata = 2 * groups.astype(np.intp) + labels
    place = _places(generator, strata)
    if design.official:
        held = np.asarray(table.official)
        if not held.any():
            raise SurefootError("This table has no official test rows: leave out official.")
        half = _places(generator, np.where(held, strata, strata.max() + 1)) < 0.5
        parts = {"train": ~held, "validation": held & half, "test": held & ~half}
    else:
        if min(design.validation, design.test) <= 0 or design.validation + design.test >= 1:
            raise SurefootError("The shares validation and test must be above 0 and leave rows for training.")
        if not 0 <= design.fold < round(1 / design.test, 9):
            raise SurefootError(f"Fold {design.fold} of test share {design.test:g} is past the last row.")
        # By whole parts, not by differences of borders: every row is then in the test part of one fold exactly.
        held = np.floor(place / design.test) == design.fold
        moved = (place - (design.fold + 1) * design.test) % 1.0
        parts = {"train": ~held, "validation": ~held & (moved < design.validation), "test": held}
        parts["train"] &= ~parts["validation"]
    if design.rows and parts["train"].sum() > design.rows:
        # Folds draw their training rows apart from each other.
        generator = np.random.default_rng([design.seed, design.fold]) if design.fold else generator
        order = np.where(parts["train"], _places(generator, np.where(parts["train"], strata, -1)), 2.0)
        parts["train"] = parts["train"] & (order <= np.partition(order, design.rows - 1)[design.rows - 1])
    for part, mask in parts.items():
        if len(np.unique(labels[mask])) < 2:
            raise SurefootError(f"The {part} part of {len(labels)} rows has one label only: there are too few rows.")
    return {part: np.flatnonzero(parts[part]) for part in PARTS}


def _places(generator: np.random.Generator, strata: NDArray[Any]) -> NDArray[np.float64]:
    """A random place between 0 and 1 for each row, evenly spread within its stratum."""
    order = np.lexsort((generator.random(len(strata)), strata))
    _, starts, sizes = np.unique(strata[order], return_index=True, return_counts=True)
    rank = np.arange(len(strata)) - np.repeat(starts, sizes)
    # A random offset for each stratum: else every small stratum would round to the same part.
    offset = np.repeat(generator.random(len(starts)), sizes)
    place = np.empty(len(strata))
    place[order] = (rank + offset) / np.repeat(sizes, sizes)
    return place


@dataclass(frozen=True, kw_only=True)
class _Encoder:
    """How one column becomes numbers: standardised, or one indicator a level. `row` is its row of the table."""

    row: int
    names: tuple[str, ...]
    notes: tuple[str, ...] = ()
    middle: float = 0.0
    mean: float = 0.0
    deviation: float = 1.0
    indicator: bool = False
    places: NDArray[np.intp] | None = None
    """Of a category: the indicator column of each level (the last entry: missing); -1 for the level left out."""

    def encode(self, values: NDArray[np.float32]) -> NDArray[np.float32]:
        missing = np.isnan(values)
        if self.places is not None:
            level = np.where(missing, len(self.places) - 1, np.nan_to_num(values)).astype(np.intp)
            return (self.places[level][:, None] == np.arange(len(self.names))).astype(np.float32)
        number = (np.where(missing, self.middle, values) - self.mean) / self.deviation
        return np.column_stack([number, missing] if self.indicator else [number]).astype(np.float32)


def _columns(table: TableArrays) -> list[tuple[tuple[int, Column], NDArray[np.float32]]]:
    return [((row, column), table.values[row]) for row, column in enumerate(table.columns)]


def _encoder(placed: tuple[int, Column], train: NDArray[np.float32], rare: float) -> _Encoder:
    row, column = placed
    return _category(row, column, train, rare) if column.levels else _number(row, column.name, train)


def _number(row: int, name: str, train: NDArray[np.float32]) -> _Encoder:
    missing = np.isnan(train)
    middle = float(np.median(train[~missing])) if not missing.all() else 0.0
    filled = np.where(missing, middle, train).astype(np.float64)
    deviation = float(filled.std())
    if deviation == 0 and not 0 < missing.sum() < len(train):
        return _Encoder(row=row, names=(), notes=(f"Column {name} is constant in the training rows.",))
    some = bool(missing.any())
    return _Encoder(
        row=row,
        names=(name, f"{name} is missing") if some else (name,),
        notes=(f"Column {name}: missing values are at the median {middle:g}, with an indicator.",) if some else (),
        middle=middle,
        mean=float(filled.mean()),
        deviation=deviation or 1.0,
        indicator=some,
    )


def _category(row: int, column: Column, train: NDArray[np.float32], rare: float) -> _Encoder:
    levels = len(column.levels)
    codes = np.where(np.isnan(train), levels, np.nan_to_num(train)).astype(np.intp)
    counts = np.bincount(codes, minlength=levels + 1)
    frequent = [level for level in range(levels) if counts[level] and counts[level] >= rare * len(train)]
    pooled = [level for level in range(levels) if counts[level] and level not in set(frequent)]
    named = sorted(frequent, key=lambda level: -counts[level])
    names = [f"{column.name} = {column.levels[level]}" for level in named]
    places = np.full(levels + 1, -1)
    places[named] = np.arange(len(named))
    if pooled:
        places[pooled] = len(names)
        names.append(f"{column.name} = one of {len(pooled)} rare values")
    if counts[levels]:
        places[levels] = len(names)
        names.append(f"{column.name} is missing")
    notes = [f"Column {column.name}: {len(pooled)} rare values are pooled."] if len(pooled) > 1 else []
    if len(names) == 1:
        all_rare = f"each of its {len(pooled)} values is rare" if pooled else "it is constant"
        notes = [f"Column {column.name} says nothing in the training rows, where {all_rare}: it was left out."]
    return _Encoder(row=row, names=tuple(names[1:]), notes=tuple(notes), places=np.maximum(places - 1, -1))


def _write_part(out: Path, part: str, table: TableArrays, rows: NDArray[np.intp], encoders: list[_Encoder]) -> None:
    width = sum(len(encoder.names) for encoder in encoders)
    x = np.lib.format.open_memmap(out / f"{part}_x.npy", "w+", np.float32, (len(rows), width))
    for begin in range(0, len(rows), _BLOCK_ROWS):
        block = rows[begin : begin + _BLOCK_ROWS]
        encoded = [encoder.encode(table.values[encoder.row][block]) for encoder in encoders]
        x[begin : begin + len(block)] = np.concatenate(encoded, axis=1)
    x.flush()
    np.save(out / f"{part}_y.npy", table.labels[rows])
    np.save(out / f"{part}_g.npy", table.groups[rows])


def _notes(encoders: list[_Encoder]) -> list[str]:
    return [note for encoder in encoders for note in encoder.notes]
