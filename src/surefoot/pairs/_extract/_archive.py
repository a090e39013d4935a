"""WARC and WAT files, record by record, in bounded memory: what is good of a damaged file is kept, faults counted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from mmap import ACCESS_READ, mmap
from pathlib import Path
from typing import TYPE_CHECKING

from surefoot.pairs._extract._body import decoded_body

if TYPE_CHECKING:
    from fastwarc.warc import WarcRecord

LARGEST_BODY = 8 << 20
"""Bytes of a page or of a WAT record that are read; the rest of a larger one is skipped."""
_NEXT_RECORD = b"\r\n\r\nWARC/1."


@dataclass(frozen=True, slots=True)
class Capture:
    """One page of an archive: its URL, where its record begins, and its HTML (with the header `content_type`), or the
    JSON that a WAT file has of it.
    """

    url: str
    offset: int
    body: bytes
    content_type: str | None


def captures(path: Path, faults: Counter[str]) -> Iterator[Capture]:
    """The HTML pages and WAT records of a file (plain or gzip), in order.

    Counts `record_broken` (unreadable bytes between pages, after which reading goes on at the next record, or a file
    without a record), `record_cut` (shorter than it says), `page_cut` (larger than `LARGEST_BODY`: its beginning is
    used), and what `decoded_body` counts.
    """
    from fastwarc.warc import ArchiveIterator, WarcRecordType

    wanted = WarcRecordType.response | WarcRecordType.resource | WarcRecordType.metadata
    known = WarcRecordType.any_type ^ WarcRecordType.unknown
    if not path.stat().st_size:
        return
    with path.open("rb") as stream, mmap(stream.fileno(), 0, access=ACCESS_READ) as whole:
        mark, start = b"\x1f\x8b\x08" if whole[:2] == b"\x1f\x8b" else b"WARC/1.", 0
        broken = False
        while start >= 0:
            stream.seek(start)
            try:
                for record in ArchiveIterator(stream, record_types=wanted):
                    faults["record_broken"] += broken
                    broken, start = False, record.stream_pos
                    if found := _capture(record, faults):
                        yield found
                break
            except (OSError, ValueError):  # FastWARC's faults of gzip and of headers
                broken, start = True, whole.find(mark, start + 1)
        stream.seek(0)
        faults["record_broken"] += broken or (start == 0 and not any(ArchiveIterator(stream, record_types=known)))


def _capture(record: WarcRecord, faults: Counter[str]) -> Capture | None:
    kind = (record.headers.get("Content-Type") or "").lower()
    wat = kind.startswith("application/json")
    headers = {name.lower(): value for name, value in record.http_headers.items()} if record.http_headers else {}
    kind = kind if wat or not record.is_http else (headers.get("content-type") or "html").lower()
    if not wat and "html" not in kind:
        # Cut short in the header of WARC or of HTTP.
        faults["record_broken"] += "Content-Length" not in record.headers or kind.startswith("application/http")
        return None
    expected = record.content_length
    body = record.reader.read(LARGEST_BODY)
    faults["page_cut"] += expected > LARGEST_BODY
    faults["record_cut"] += len(body) < min(expected, LARGEST_BODY)
    if b"\r" in body and (end := body.find(_NEXT_RECORD)) >= 0:  # its length is a lie, and it runs into its neighbour
        faults["record_broken"] += 1
        body = body[:end]
    # wget writes the address in angle brackets.
    url, offset = (record.headers.get("WARC-Target-URI") or "").strip("<> "), record.stream_pos
    if wat:
        return Capture(url, offset, body, None)
    body = decoded_body(body, headers, LARGEST_BODY, faults)
    return Capture(url, offset, body, kind)
