"""Many thousand configurations of a sweep, packed so that the page itself sorts, filters and turns their pages."""

import base64
import gzip
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from surefoot.core import Results, Study, in_memory

FILE = "configurations.parquet"
SHOWN: Mapping[str, str] = {
    "table": "table",
    "split": "split",
    "learner": "learner",
    "configuration": "configuration",
    "validation_worst_group_accuracy": "validation worst group",
    "test_worst_group_accuracy": "test worst group",
    "test_worst_group_low": "low",
    "test_worst_group_high": "high",
    "validation_accuracy": "validation accuracy",
    "test_accuracy": "test accuracy",
    "test_accuracy_disparity": "disparity",
    "test_demographic_parity": "demographic parity",
    "test_equalised_odds": "equalised odds",
    "test_calibration_error": "calibration error",
    "test_cross_entropy": "cross-entropy",
    "test_cvar": "CVaR",
    "share": "share of the full fit",
    "cpu_seconds": "CPU seconds",
}
"""The columns of a comparison's file that the page shows, and their headings; a group's own rates stay in the file."""


@dataclass(frozen=True, kw_only=True)
class Browsed:
    """A table as columns: `packed` is base64 of gzip of one 4-byte number a cell, column after column.

    A number column holds float32 (NaN: unknown), a text column uint32 places in its `levels`. `first` are the first
    rows as they are, for readers without scripts.
    """

    columns: tuple[tuple[str, str], ...]
    levels: tuple[tuple[str, ...], ...]
    count: int
    packed: str
    first: tuple[tuple[Any, ...], ...]

    def payload(self) -> dict[str, Any]:
        return {"columns": self.columns, "levels": self.levels, "count": self.count, "packed": self.packed}


def browse_configurations(study: Study, results: Results, *, first: int) -> Browsed | None:
    """The configurations that the study's outermost Steps keep, or None when they keep none."""
    made = results.store.made()
    paths = [results.store.file(step, FILE) for step in study.steps if step.key in made]
    columns = _read([path for path in paths if path.is_file()])
    shown = {SHOWN[name]: values for name, values in columns.items() if _tells(name, values)}
    return pack(shown, first=first) if shown else None


def pack(columns: Mapping[str, NDArray[Any]], *, first: int) -> Browsed:
    """Columns of equal length, numbers or texts, as the page reads them."""
    cells: list[NDArray[Any]] = []
    levels: list[tuple[str, ...]] = []
    for values in columns.values():
        if values.dtype.kind in "OUT":
            known, codes = np.unique(values.astype(str), return_inverse=True)
            levels.append(tuple(known.tolist()))
            cells.append(codes.astype("<u4"))
        else:
            levels.append(())
            cells.append(np.round(values.astype(np.float64), 5).astype("<f4"))
    # Bytes of equal weight beside each other: they repeat, and pack to half the size.
    planes = np.stack([cell.view(np.uint8).reshape(-1, 4).T for cell in cells]).tobytes()
    kinds = tuple((name, "text" if level else "number") for name, level in zip(columns, levels, strict=True))
    packed = base64.b64encode(gzip.compress(planes, compresslevel=6, mtime=0)).decode()
    count = len(cells[0]) if cells else 0
    rows = zip(*(_plain(values[:first]) for values in columns.values()), strict=True)
    return Browsed(columns=kinds, levels=tuple(levels), count=count, packed=packed, first=tuple(rows))


def _tells(name: str, values: NDArray[Any]) -> bool:
    """Whether a column differs between rows; learner and configuration always tell."""
    if values.dtype.kind in "OUT":
        return name in ("learner", "configuration") or len(set(values.tolist())) > 1
    return not bool((values == values[:1]).all() or np.isnan(values).all())


def _plain(values: NDArray[Any]) -> list[Any]:
    return [None if isinstance(value, float) and np.isnan(value) else value for value in values.tolist()]


def _read(paths: Sequence[Path]) -> dict[str, NDArray[Any]]:
    if not paths:
        return {}
    with in_memory() as connection:
        source = "read_parquet(?, union_by_name=true)"
        files = [str(path) for path in paths]
        named = [name for name, *_ in connection.execute(f"DESCRIBE SELECT * FROM {source}", [files]).fetchall()]
        if "table" not in named:
            return {}
        wanted = ", ".join(f'"{name}"' for name in SHOWN if name in named)
        sql = f'SELECT {wanted} FROM {source} WHERE "table" IS NOT NULL'
        found = connection.execute(sql, [files]).fetchnumpy()
    told = {name: _filled(values) for name, values in found.items()}
    if "configuration" in told:  # kept as JSON: each different one is read once
        different, places = np.unique(told["configuration"].astype(str), return_inverse=True)
        words = [", ".join(f"{name} {value}" for name, value in json.loads(text).items()) for text in different]
        told["configuration"] = np.array(words, dtype=object)[places]
    return told


def _filled(values: Any) -> NDArray[Any]:
    """NULL is NaN; whole numbers with none stay whole."""
    plain = np.ma.getdata(values)
    missing = np.ma.getmaskarray(values)
    return np.where(missing, np.nan, plain.astype(np.float64)) if missing.any() else plain
