"""The proof of a removal: digests with a key of all that was removed, sought in every file of the set."""

from __future__ import annotations

import json
import tarfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from surefoot.core import SurefootError, Table, digest_of
from surefoot.pairs._remove._find import WORK, folders_of
from surefoot.pairs._search._index import INDEX, exact_of, library, read_index
from surefoot.pairs._stages._manifest import MANIFEST, read_manifest
from surefoot.pairs._stages._tombs import KEY, TOMBS, digest, tombs

_COMMON = {"license", "language", "reasons", "state", "reason", "status", "error_message", "robots", "attribute",
           "fetched", "root"}  # fmt: skip
"""Columns whose values are said of many rows."""


def cells(table: Any) -> Iterator[bytes]:
    """All texts and bytes in the rows of an Arrow table that are a row's own."""
    for name, column in zip(table.column_names, table.columns, strict=True):
        if name not in _COMMON:
            yield from strings(column.to_pylist() if _textual(str(column.type)) else [])


def strings(value: Any) -> Iterator[bytes]:
    """The texts and bytes in lists and dictionaries, but empty ones."""
    if isinstance(value, str | bytes) and value:
        yield value.encode("utf-8", "replace") if isinstance(value, str) else value
    elif isinstance(value, dict):
        yield from strings([*value, *value.values()])
    elif isinstance(value, list):
        for one in value:
            yield from strings(one)


def vectors_in(file: Path) -> np.ndarray:
    """The 16-bit vectors in an index or a file beside a part."""
    if file.suffix == ".npy":
        return np.load(file, mmap_mode="r", allow_pickle=False)
    index = exact_of(library().read_index(str(file)))
    return index.reconstruct_n(0, index.ntotal).astype(np.float16)


def verify_removal(places: Sequence[Path]) -> Table:
    """Look for what was removed in every file of a set: folder, files and values looked at, and what is `found`.

    Found are values whose keyed digest is that of a removed text, hash, vector or picture, and files that are not
    those of the manifest. Raises `SurefootError` where nothing was removed, or the key is not there.
    """
    rows = []
    for folder in folders_of(places):
        if (folder / WORK).exists():
            raise SurefootError(f"A removal was stopped in {folder}: 'surefoot pairs remove {folder}' finishes it.")
        key, gone = tombs(folder)
        files = sorted(one for one in folder.rglob("*") if one.is_file() and one.name not in (KEY, TOMBS))
        looked, found = 0, _strangers(folder)
        for file in files:
            for value in (file.stem.encode(), *_values(file)):
                looked += 1
                found += bool(value) and digest(key, value) in gone["digests"]
        rows.append((folder.name, sum(one["rows"] for one in gone["removals"]), len(files), looked, found))
    return Table(("folder", "removed", "files", "values", "found"), tuple(rows))


def _textual(kind: str) -> bool:
    return any(word in kind for word in ("string", "binary", "struct"))


def _values(file: Path) -> Iterator[bytes]:
    import pyarrow.parquet as pq

    if file.suffix == ".parquet":
        yield from cells(pq.ParquetFile(file).read())
    elif file.suffix in (".npy", ".faiss"):
        yield from (row.tobytes() for row in vectors_in(file))
    elif file.suffix == ".tar":
        with tarfile.open(file, "r:", ignore_zeros=True) as archive:
            for member in archive:
                stream = archive.extractfile(member)
                data = stream.read() if stream else b""
                yield from (member.name.partition(".")[0].encode(), data, *_parsed(data))
    else:
        data = file.read_bytes()
        yield from (data, *data.splitlines(), *_parsed(data))


def _parsed(data: bytes) -> Iterator[bytes]:
    try:
        yield from strings(json.loads(data) if data[:1] in (b"{", b"[") else [])
    except (ValueError, RecursionError):
        return


def _strangers(folder: Path) -> int:
    """Files of a stage or an index that are not those of its manifest."""
    if (folder / INDEX).exists():
        listed = [*read_index(folder).digests.items()]
    else:
        parts = read_manifest(folder).parts if (folder / MANIFEST).exists() else ()
        listed = [told for part in parts for told in ((part.file, part.sha256), *part.beside.items())]
    return sum(digest_of(folder / name) != told for name, told in listed)
