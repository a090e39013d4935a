"""What a removal takes: the folders of a set, the rows that a request names, and those that are the same picture."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from surefoot.core import SurefootError, Table
from surefoot.pairs._download._hashes import HashLists, read_hash_lists
from surefoot.pairs._extract._page import spellings
from surefoot.pairs._search._index import INDEX, read_index
from surefoot.pairs._search._where import rows_of, select
from surefoot.pairs._set import in_order
from surefoot.pairs._stages._manifest import MANIFEST, read_manifest

WORK = ".removal"
LEDGER = ".why-"
"""The beginning of a file in the folder of a set: its rows by URL, made anew when it changed."""
_SAME = ("uid", "url", "sha256", "md5")


@dataclass(frozen=True, kw_only=True)
class RemovalRequest:
    """What is to go: rows of these URLs, rows that hash lists name, and rows for which an SQL condition holds, in the
    last stage that has its columns.
    """

    urls: tuple[str, ...] = ()
    hash_lists: tuple[str, ...] = ()
    where: str = ""


def folders_of(places: Sequence[Path]) -> list[Path]:
    """The stages and indexes in these folders, or right below them. Raises `SurefootError` where there are none."""
    opened = [place for place in places if place.is_dir() and not (place / INDEX).exists()]
    found = [one.resolve() for at in places for one in (at, *(sorted(at.iterdir()) if at in opened else ()))]
    found = [one for one in dict.fromkeys(found) if any((one / name).exists() for name in (MANIFEST, INDEX, WORK))]
    if not found:
        raise SurefootError(f"No stage and no index lies in {', '.join(map(str, places))}: name folders of a set.")
    return found


def tables_of(folder: Path) -> list[Path]:
    """The Parquet files of a stage's rows, or that of an index."""
    if (folder / INDEX).exists():
        return [folder / read_index(folder).table]
    return [folder / part.file for part in read_manifest(folder).parts]


def screen_pairs(places: Sequence[Path], hash_lists: Sequence[str]) -> Table:
    """How many rows of a finished set hash lists name, by folder; no row is shown.

    Pictures are known by the `md5` and `sha256` of their bytes as they came, URLs by MD5, SHA-1 or SHA-256.
    """
    lists = read_hash_lists(hash_lists)
    rows = []
    for folder in folders_of(places):
        named = [_listed(lists, one) for file in tables_of(folder) for one in _identities(file)]
        rows.append((folder.name, len(named), sum(named)))
    return Table(("folder", "rows", "named"), tuple(rows))


def doomed(folders: Sequence[Path], request: RemovalRequest) -> tuple[dict[Path, set[int]], set[str], set[str]]:
    """The places of the rows to remove, by file, and their uids: what is named, and the same uid, URL or bytes; and the
    URLs that name no row.
    """
    known = {file: list(_identities(file)) for folder in folders for file in tables_of(folder)}
    lists, urls = read_hash_lists(request.hash_lists), {one for url in request.urls for one in spellings(url)}
    chosen = _chosen(folders, request.where)
    gone = {
        file: {at for at, one in enumerate(rows) if one[0] in chosen or one[1] in urls or _listed(lists, one)}
        for file, rows in known.items()
    }
    names: set[tuple[int, str]] = set()
    while True:
        more = {(kind, value) for file, rows in gone.items() for at in rows
                for kind, value in enumerate(known[file][at]) if value} - names  # fmt: skip
        if not more:
            there = {one[1] for rows in known.values() for one in rows}
            unknown = {url for url in request.urls if there.isdisjoint(spellings(url))}
            return gone, {value for kind, value in names if not kind}, unknown
        names |= more
        for file, rows in known.items():
            gone[file] |= {at for at, one in enumerate(rows) if any(pair in more for pair in enumerate(one))}


def _identities(file: Path) -> Iterator[tuple[str | None, ...]]:
    import pyarrow.parquet as pq

    there = pq.read_schema(file).names
    table = pq.ParquetFile(file).read(columns=[name for name in _SAME if name in there])
    return zip(*(table[name].to_pylist() if name in there else [None] * len(table) for name in _SAME), strict=True)


def _listed(lists: HashLists, row: tuple[str | None, ...]) -> bool:
    _, url, *digests = row
    return bool(url and lists.name_url(url)) or any(lists.holds(one) for one in digests if one)


def _chosen(folders: Sequence[Path], where: str) -> set[str | None]:
    """The uids of rows for which a condition holds, each by the last stage that has its columns: the `similarity` or
    `width` of a table of candidates is another than what was measured.
    """
    if not where:
        return set()
    indexes = [one for one in folders if (one / INDEX).exists()]
    stages = in_order([(one, read_manifest(one)) for one in folders if one not in indexes])
    tables = [files for one in (*(one for one, _ in stages), *indexes) if (files := tables_of(one))]
    found, refused = set[str | None](), list[SurefootError]()
    for files in tables:
        with rows_of(files) as connection:
            try:
                chosen = {uid for (uid,) in select(connection, "uid", where)}
                found = (found - {uid for (uid,) in select(connection, "uid", "true")}) | chosen
            except SurefootError as error:
                refused.append(error)
    if refused and len(refused) == len(tables):
        raise refused[0]
    return found
