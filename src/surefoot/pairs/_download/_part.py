"""One part while it is downloaded: a log and a tar that only grow, and the publishing of both as a part of a stage.

A row is in the log when it is done, with the place in the tar where its sample ends and the checksum of it; what was
cut short by a kill is dropped when the log is read again. Publishing can be repeated: it starts from the published tar
as it was when the log was begun.
"""

from __future__ import annotations

import json
import os
import shutil
import tarfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from glob import escape
from pathlib import Path
from typing import IO, Any

import duckdb

from surefoot.core import SurefootError, in_memory
from surefoot.pairs._stages._manifest import Part
from surefoot.pairs._stages._work import described_part
from surefoot.tables import literal, quote

COLUMNS = {
    "key": "VARCHAR", "caption": "VARCHAR", "state": "VARCHAR", "reason": "VARCHAR", "status": "VARCHAR",
    "error_message": "VARCHAR", "http_status": "INTEGER", "width": "INTEGER", "height": "INTEGER",
    "original_width": "INTEGER", "original_height": "INTEGER", "bytes": "BIGINT", "md5": "VARCHAR",
    "sha256": "VARCHAR", "phash": "VARCHAR", "hops": "VARCHAR[]", "robots": "VARCHAR", "fetched": "VARCHAR",
}  # fmt: skip
"""What downloading adds to a row; a column of the candidates with one of these names becomes `candidate_` and it."""
_END = bytes(1024)


@dataclass(frozen=True, slots=True)
class Row:
    """A pair to download; the digests are those that its table promised, if it did."""

    key: str
    url: str
    text: str
    md5: str | None
    sha256: str | None


class PartWork:
    """The rows of one part that are still to be asked, and the place where what comes back is kept."""

    def __init__(self, number: int, source: Path, out: Path, work: Path, *, layout: str, screened: int = 0) -> None:
        self._final, self._layout = out / f"part-{number:05d}.parquet", layout
        self._log_path, self._tar_path = work / f"part-{number:05d}.log", work / f"part-{number:05d}.tar"
        self._draft = work / f"part-{number:05d}.draft"
        again = f"SELECT * FROM read_parquet({literal(escape(str(self._final)))})"  # `[` and `*` would be a pattern
        self._base = again if self._final.exists() else _first_query(source, number)
        self._log, self._done, self._head = self._replayed(screened)
        self._tar = self._tar_path.open("r+b")
        self._place = self._tar.seek(0, os.SEEK_END)

    def pending(self) -> list[Row]:
        """What is to be asked, in an order that spreads the hosts."""
        with duckdb.connect(config={"threads": 1}) as connection:
            promised = "lower(candidate_md5), lower(candidate_sha256)"
            wanted = "url IS NOT NULL AND (state IS NULL AND len(reasons) = 0 OR state = 'retryable')"
            chosen = f"SELECT key, url, caption, {promised} FROM ({self._base}) WHERE {wanted} ORDER BY hash(url)"
            return [Row(*row) for row in connection.execute(chosen).fetchall() if row[0] not in self._done]

    def add(self, row: Row, told: dict[str, Any], picture: bytes = b"") -> None:
        """Keep a finished row: its sample first, then the line that says so."""
        told = {"key": row.key} | told
        if picture:
            words = {"url": row.url, "caption": row.text} | told
            whole = sample(row.key, row.text, words, picture)
            self._tar.write(whole)
            self._tar.flush()
            self._place += len(whole)
            told = told | {"end": self._place, "crc": zlib.crc32(whole)}
        self._log.write(json.dumps(told).encode() + b"\n")
        self._log.flush()

    def publish(self) -> Part:
        """Put the part into its place: pictures, then rows. What was retried replaces what stood there."""
        for file in (self._tar, self._log):
            os.fsync(file.fileno())
            file.close()
        folder = self._final.with_suffix("") if self._layout == "files" else self._draft.with_suffix(".jpgs")
        if self._layout == "webdataset":
            self._publish_tar()
        else:
            folder.mkdir(exist_ok=True)
            for name, data in _members(self._tar_path):
                (folder / name).write_bytes(data)
        with duckdb.connect(config={"threads": 1}) as connection:
            screened = self._write_rows(connection, folder)
        self._draft.replace(self._final)
        count = screened + self._head["screened"]
        return described_part(self._final, {"screened": count} if count else None)

    def close(self) -> None:
        """Leave the part as it is."""
        self._tar.close()
        self._log.close()

    def _replayed(self, screened: int) -> tuple[IO[bytes], set[str], dict[str, int]]:
        """The log to append to, the keys in it, and its first line; what was cut short is cut off."""
        beside = self._final.with_suffix(".tar")
        head = {"base": max(0, beside.stat().st_size - len(_END)) if beside.exists() else 0, "screened": screened}
        done, good, place = set[str](), 0, 0
        self._tar_path.touch()
        if self._log_path.exists():
            with self._log_path.open("rb") as log, self._tar_path.open("rb") as tar:
                for told, line_end in _whole_lines(log):
                    if "base" in told:
                        head = told
                    elif "end" in told and zlib.crc32(tar.read(told["end"] - place)) != told["crc"]:
                        break
                    else:
                        done.add(told["key"])
                    good, place = line_end, told.get("end", place)
        os.truncate(self._tar_path, place)
        log = self._log_path.open("ab")
        log.truncate(good)
        if not good:
            log.write(json.dumps(head).encode() + b"\n")
        return log, done, head

    def _publish_tar(self) -> None:
        target = self._final.with_suffix(".tar")
        with self._draft.open("wb") as draft:
            if self._head["base"]:
                with target.open("rb") as old:
                    _copy(old, draft, self._head["base"])
            with self._tar_path.open("rb") as new:
                shutil.copyfileobj(new, draft, 1 << 20)
            draft.write(_END)
        self._draft.replace(target)

    def _write_rows(self, connection: duckdb.DuckDBPyConnection, folder: Path) -> int:
        """Write the rows, those of the log anew, without those that a hash list names; returns how many these are."""
        types = ", ".join(f"'{name}': '{kind}'" for name, kind in COLUMNS.items())
        read = f"read_json(?, format = 'newline_delimited', maximum_object_size = 100000000, columns = {{{types}}})"
        logged = f"CREATE TABLE log AS SELECT * FROM {read} WHERE key IS NOT NULL"
        connection.execute(logged, [escape(str(self._log_path))])
        asked = [name for name in COLUMNS if name not in ("key", "caption")]
        newer = [f"CASE WHEN l.key IS NULL THEN b.{name} ELSE l.{name} END AS {name}" for name in asked]
        kept = "[one FOR one IN b.reasons IF NOT starts_with(one, 'download_')]"
        added = "CASE WHEN l.state = 'ok' THEN [] ELSE ['download_' || l.state] END"
        newer.append(f"CASE WHEN l.key IS NULL THEN b.reasons ELSE list_concat({kept}, {added}) END AS reasons")
        base, pictures = self._base, ""
        if self._layout == "parquet":
            base = base if self._final.exists() else f"SELECT *, NULL::BLOB AS jpg FROM ({base})"
            if any(folder.glob("*.jpg")):
                newer.append("coalesce(p.content, b.jpg) AS jpg")
                blobs = literal(Path(escape(str(folder)), "*.jpg"))
                pictures = f"LEFT JOIN read_blob({blobs}) p ON parse_filename(p.filename, true) = b.key"
        joined = f"({base}) b LEFT JOIN log l ON b.key = l.key {pictures}"
        rows = f"SELECT b.* REPLACE ({', '.join(newer)}) FROM {joined} WHERE l.state IS DISTINCT FROM 'screened'"
        written = f"TO {literal(self._draft)} (FORMAT parquet, COMPRESSION zstd)"
        connection.execute(f"COPY ({rows} ORDER BY b.key) {written}")
        ((screened,),) = connection.execute("SELECT count(*) FROM log WHERE state = 'screened'").fetchall()
        return screened


def _first_query(source: Path, number: int) -> str:
    """The candidates of a part as rows that nobody has asked yet."""
    read = literal(escape(str(source)))
    with in_memory() as connection:
        described = connection.execute(f"DESCRIBE SELECT * FROM read_parquet({read})").fetchall()
    names = [name for name, *_ in described]
    missing = {"url", "text", "reasons"} - set(names)
    if missing:
        raise SurefootError(f"{source} has no column {sorted(missing)[0]}: it is no part of a stage.")
    ours = {name.lower() for name in (*COLUMNS, "jpg")}
    named = [quote(name) + (f" AS candidate_{name.lower()}" if name.lower() in ours else "") for name in names]
    taken = {f"candidate_{name.lower()}" for name in names if name.lower() in ours} | set(names)
    named += [f"NULL::VARCHAR AS {name}" for name in ("candidate_md5", "candidate_sha256") if name not in taken]
    named += [f"NULL::{kind} AS {name}" for name, kind in COLUMNS.items() if name not in ("key", "caption")]
    named.append("coalesce(text, '') AS caption")
    key = f"format('{number:05d}{{:06d}}', file_row_number) AS key"
    return f"SELECT {', '.join(named)}, {key} FROM read_parquet({read}, file_row_number = true)"


def _whole_lines(log: IO[bytes]) -> Iterator[tuple[dict[str, Any], int]]:
    """The lines that were written to their end, each with the place behind it."""
    place = 0
    for line in log:
        place += len(line)
        try:
            told = json.loads(line)
        except ValueError:  # after a power cut there may be anything
            return
        if not line.endswith(b"\n"):
            return
        yield told, place


def sample(key: str, text: str, words: dict[str, Any], picture: bytes, suffix: str = "jpg") -> bytes:
    """The members of one sample of a tar: KEY.jpg (none without a picture), KEY.txt and KEY.json: names of ours."""
    members = {suffix: picture} if picture else {}
    members |= {"txt": text.encode("utf-8", "replace"), "json": json.dumps(words).encode()}
    whole = bytearray()
    for ending, data in members.items():
        member = tarfile.TarInfo(f"{key}.{ending}")
        member.size, member.mode = len(data), 0o644
        whole += member.tobuf(tarfile.USTAR_FORMAT) + data + bytes(-len(data) % 512)
    return bytes(whole)


def _members(tar: Path) -> Iterator[tuple[str, bytes]]:
    with tarfile.open(tar, "r:", ignore_zeros=True) as archive:
        for member in archive:
            stream = archive.extractfile(member)
            yield member.name, stream.read() if stream else b""


def _copy(old: IO[bytes], new: IO[bytes], length: int) -> None:
    while length and (piece := old.read(min(length, 1 << 20))):
        new.write(piece)
        length -= len(piece)
