"""Removal from finished sets: all folders are written anew beside, then put into place; a stop is mended."""

from __future__ import annotations

import json
import secrets
import shutil
import tarfile
import warnings
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from surefoot.core import SurefootError, Table, alone, digest_of, full_disk_is_said, whole_members, write_text
from surefoot.pairs._extract._page import spellings
from surefoot.pairs._remove._find import LEDGER, WORK, RemovalRequest, doomed, folders_of, tables_of
from surefoot.pairs._remove._proof import cells, vectors_in, verify_removal
from surefoot.pairs._search._index import INDEX, read_index, shrink_index, sweep
from surefoot.pairs._stages._manifest import MANIFEST, Part, manifest_of, read_manifest, sources_in, write_manifest
from surefoot.pairs._stages._tombs import KEY, TOMBS, digest, tombs
from surefoot.pairs._stages._work import BUSY, described_part


@dataclass
class _Removed:
    """What was met while files were written anew: values of rows that go and that stay, uids, digests of files."""

    key: bytes
    gone: set[str] = field(default_factory=set)
    stays: set[str] = field(default_factory=set)
    uids: set[str] = field(default_factory=set)
    stems: set[str] = field(default_factory=set)
    moved: dict[str, str] = field(default_factory=dict)

    def note(self, values: Any, goes: bool) -> None:
        (self.gone if goes else self.stays).update(digest(self.key, value) for value in values)


def remove_pairs(places: Sequence[Path], request: RemovalRequest) -> Table:
    """Remove rows from all stages and indexes of a set, and prove it: the table of `verify_removal`.

    `places` are folders of stages and indexes, or folders of such. With a row go its picture in the tar, its vectors,
    its row in the index, and all rows anywhere that have its uid, URL, or bytes (`sha256`, `md5`). Each folder gets
    `removed.json` (when, how many rows, digests of files before and after, keyed digests of what went) and the key,
    `removed.key`, which is to be kept to yourself. Stopped at any moment, it is finished, or undone and begun again,
    by the next call. It warns of URLs that name no row and were not removed before. Raises `SurefootError` where no row
    is named, or a file is of no kind that can be written anew, and while another run works in a folder.
    """
    with ExitStack() as held:
        for folder in (folders := folders_of(places)):
            held.enter_context(alone(folder, BUSY.format(folder)))
        return _removed_from(places, folders, request)


def _removed_from(places: Sequence[Path], folders: Sequence[Path], request: RemovalRequest) -> Table:
    finished = [folder for folder in folders if finish_removal(folder)]
    gone, uids, unknown = doomed(folders, request)
    if not any(gone.values()):
        if finished:
            return verify_removal(places)
        raise SurefootError("No row is named by this: nothing was removed.")
    lead = folders[0]
    known = next((tombs(folder)[0] for folder in folders if (folder / KEY).exists()), secrets.token_bytes(16))
    before = {mark for folder in folders if (folder / TOMBS).exists() for mark in tombs(folder)[1]["digests"]}
    marks = {url: {digest(known, one.encode("utf-8", "replace")) for one in spellings(url)} for url in unknown}
    if unknown := sorted(url for url, some in marks.items() if before.isdisjoint(some)):
        told = f"{len(unknown)} of {len(request.urls)} URLs name no row of this set, so that nothing of them is removed"
        warnings.warn(f"{told}, such as {unknown[0]}: write them as 'surefoot pairs why' knows them.", stacklevel=2)
    removed = _Removed(key=known, uids=uids)
    try:
        with full_disk_is_said(lead):
            for folder in folders:
                (folder / WORK / "new").mkdir(parents=True)
                told = {"lead": str(lead), "folders": [str(one) for one in folders]}
                write_text(folder / WORK / "set.json", json.dumps(told))
            indexes = [folder for folder in folders if (folder / INDEX).exists()]
            stages = {folder: _parts(folder, gone, removed) for folder in folders if folder not in indexes}
            for folder, parts in stages.items():  # a manifest names parts of other folders
                _manifest(folder, parts, removed)
            for folder in indexes:  # and an index manifests
                _index(folder, gone, removed)
            for folder in folders:
                _tombs(folder, sum(len(gone[file]) for file in tables_of(folder)), request, removed)
            for ledger in (one for place in {*places, lead.parent} for one in place.glob(f"{LEDGER}*")):
                ledger.unlink(missing_ok=True)
            write_text(lead / WORK / "commit", "")
    finally:
        finish_removal(lead)
    return verify_removal(places)


def finish_removal(folder: Path) -> bool:
    """Finish a removal that was stopped after it was ready, or take back one that was not."""
    if not (folder / WORK).exists():
        return False
    told = folder / WORK / "set.json"
    found = json.loads(told.read_text(encoding="utf-8")) if told.exists() else {"lead": str(folder), "folders": []}
    lead = Path(found["lead"])
    ready = (lead / WORK / "commit").exists()
    for one in [*(Path(name) for name in found["folders"] if name != str(lead)), lead]:
        if ready:
            _put(one)
        shutil.rmtree(one / WORK, ignore_errors=True)
    return ready


def _put(folder: Path) -> None:
    """Move what is new into its place. While files are mixed there is no manifest, so that nobody reads them."""
    new = folder / WORK / "new"
    told = folder / WORK / "stems"
    stems = set(told.read_text().split()) if told.exists() else set[str]()
    for file in [*folder.rglob("*")] if stems else []:  # thumbnails and single files are called by what they are of
        if file.stem in stems and file.is_file() and WORK not in file.parts:
            file.unlink()
    heads = [name for name in (MANIFEST, INDEX) if (new / name).exists()]
    for name in heads:
        (folder / name).unlink(missing_ok=True)
    files = [one for one in sorted(new.iterdir()) if one.name not in heads] if new.exists() else []
    for file in [*files, *(new / name for name in heads)]:
        if file.is_dir() and (folder / file.name).exists():
            shutil.rmtree(folder / file.name)
        file.replace(folder / file.name)


def _digest(place: Path) -> str:
    return digest_of(place) if place.is_file() or any(place.iterdir()) else ""  # the last single file of a part went


def _places(rows: set[int]) -> np.ndarray:
    return np.array(sorted(rows), np.int64)


def _split(file: Path, rows: set[int], removed: _Removed) -> tuple[Any, Any]:
    """The rows that stay, which no longer name one that goes, and those that go."""
    import pyarrow
    import pyarrow.parquet as pq

    table = pq.ParquetFile(file).read()
    stays, goes = table.take(_places({*range(len(table))} - rows)), table.take(_places(rows))
    if "duplicate_of" in table.column_names:
        named = [None if uid in removed.uids else uid for uid in stays["duplicate_of"].to_pylist()]
        stays = stays.set_column(table.column_names.index("duplicate_of"), "duplicate_of",
                                 pyarrow.array(named, pyarrow.string()))  # fmt: skip
    removed.note(cells(goes), True)
    removed.note(cells(stays), False)
    return stays, goes


def _parts(folder: Path, gone: Mapping[Path, set[int]], removed: _Removed) -> list[Part]:
    import pyarrow
    import pyarrow.parquet as pq

    new, parts = folder / WORK / "new", list[Part]()
    sources_in(folder)  # raises for vectors of another order: those of another row would go
    for part in read_manifest(folder).parts:
        file = folder / part.file
        singles = [file.stem] if file.with_suffix("").is_dir() else []
        stays, goes = _split(file, gone[file], removed)
        keys = set(goes["key"].to_pylist()) if "key" in goes.column_names else set[str]()
        at = stays["vector"].to_pylist() if "vector" in stays.column_names else []
        kept = sorted({place for place in at if place is not None})
        removed.stems |= keys
        for name in (*part.beside, *singles):
            _beside(folder / name, new / name, keys, kept, removed)
        if at:
            places = dict(zip(kept, range(len(kept)), strict=True))
            column = pyarrow.array(map(places.get, at), pyarrow.int64())
            stays = stays.set_column(stays.column_names.index("vector"), "vector", column)
        pq.write_table(stays, new / part.file, compression="zstd")
        count = part.faults.get("removed", 0) + len(gone[file])
        made = described_part(new / part.file, dict(part.faults) | ({"removed": count} if count else {}))
        removed.moved |= {part.sha256: made.sha256} | {old: made.beside[name] for name, old in part.beside.items()}
        parts.append(made)
    return parts


def _manifest(folder: Path, parts: Sequence[Part], removed: _Removed) -> None:
    manifest, new = read_manifest(folder), folder / WORK / "new"
    moved = {name: [told[at : at + 64] for at in range(0, len(told), 64)] for name, told in manifest.inputs.items()}
    inputs = {name: "".join(removed.moved.get(one, one) for one in told) for name, told in moved.items()}
    before = digest_of(folder / MANIFEST)
    write_manifest(new, manifest_of(manifest.stage, manifest.recipe, inputs, parts))
    removed.moved[before] = digest_of(new / MANIFEST)


def _beside(old: Path, new: Path, keys: set[str], kept: Sequence[int], removed: _Removed) -> None:
    if old.suffix == ".npy":
        vectors = vectors_in(old)
        np.save(new, vectors[kept])
        removed.note((row.tobytes() for row in np.delete(vectors, kept, 0) if row.any()), True)
        removed.note((row.tobytes() for row in vectors[kept]), False)
    elif old.suffix == ".tar":
        with tarfile.open(old, "r:") as archive, old.open("rb") as read, new.open("wb") as write:
            for member in whole_members(archive):
                goes = member.name.partition(".")[0] in keys
                read.seek(member.offset)
                whole = read.read(member.offset_data - member.offset + -(-member.size // 512) * 512)
                write.write(b"" if goes else whole)
                data = whole[member.offset_data - member.offset :][: member.size]
                if data and (goes or member.name.endswith(".jpg")):  # the text of many may be empty
                    removed.note([data], goes)
            write.write(bytes(1024))
    elif old.is_dir():
        goes = [one for one in sorted(old.iterdir()) if one.name.partition(".")[0] in keys]
        removed.note(filter(None, (one.read_bytes() for one in goes)), True)
        shutil.copytree(old, new, ignore=lambda _, names: {one.name for one in goes} & {*names})
    else:
        raise SurefootError(f"{old} is of no kind that can be written anew without a row: nothing was removed.")


def _index(folder: Path, gone: Mapping[Path, set[int]], removed: _Removed) -> None:
    (file,), told = tables_of(folder), read_index(folder)
    sweep(folder, told)
    stays, goes = _split(file, gone[file], removed)
    vectors = vectors_in(folder / told.vectors)
    for rows, go in ((goes, True), (stays, False)):
        removed.note((vectors[at].tobytes() for at in rows["id"].to_pylist()), go)
    shrink_index(folder, folder / WORK / "new", stays, removed.moved)


def _tombs(folder: Path, rows: int, request: RemovalRequest, removed: _Removed) -> None:
    new = folder / WORK / "new"
    before = tombs(folder)[1] if (folder / TOMBS).exists() else {"format": 1, "removals": [], "digests": {}}
    files = {one.name: [*map(_digest, (folder / one.name, one))] for one in sorted(new.iterdir())}
    asked = {name: len(value) for name, value in asdict(request).items() if value and name != "where"}
    told = {"date": f"{datetime.now(UTC):%Y-%m-%d}", "by": [*asked, *(["where"] if request.where else [])],
            "rows": rows, "files": files}  # fmt: skip
    digests = before["digests"] | dict.fromkeys(sorted(removed.gone - removed.stays), len(before["removals"]))
    whole = before | {"removals": [*before["removals"], told], "digests": digests}
    write_text(folder / WORK / "stems", "\n".join(sorted(removed.stems | removed.uids)))
    write_text(new / TOMBS, json.dumps(whole, indent=1) + "\n")
    (new / KEY).touch(mode=0o600)
    (new / KEY).write_text(removed.key.hex())
