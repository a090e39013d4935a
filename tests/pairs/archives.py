"""Small web archives as crawlers write them, the WAT that belongs to a WARC, and hostile records."""

import gzip
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class WebPage:
    """A page and how its server sent it."""

    url: str
    body: bytes
    headers: Mapping[str, str] = field(default_factory=lambda: {"Content-Type": "text/html"})
    brackets: bool = False


def record(kind: str, url: str, content_type: str, payload: bytes, length: int | None = None) -> bytes:
    """One WARC record; `length` is what its header says, if that is a lie."""
    head = {
        "WARC-Type": kind, "WARC-Target-URI": url, "WARC-Date": "2026-01-02T03:04:05Z",
        "WARC-Record-ID": "<urn:uuid:00000000-0000-0000-0000-000000000000>", "Content-Type": content_type,
        "Content-Length": str(len(payload) if length is None else length),
    }  # fmt: skip
    lines = "".join(f"{name}: {value}\r\n" for name, value in head.items())
    return f"WARC/1.0\r\n{lines}\r\n".encode() + payload + b"\r\n\r\n"


def response(page: WebPage, length: int | None = None) -> bytes:
    """A page as a response record; wget writes the address in angle brackets."""
    head = "".join(f"{name}: {value}\r\n" for name, value in page.headers.items())
    payload = f"HTTP/1.1 200 OK\r\n{head}\r\n".encode() + page.body
    url = f"<{page.url}>" if page.brackets else page.url
    return record("response", url, "application/http;msgtype=response", payload, length)


def chunked(body: bytes, size: int = 7) -> bytes:
    parts = [body[place : place + size] for place in range(0, len(body), size)]
    return b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"


def write_archive(path: Path, records: Iterable[bytes]) -> Path:
    """A file of records: each its own gzip member when the name ends in .gz."""
    packed = path.suffix == ".gz"
    path.write_bytes(b"".join(gzip.compress(one, mtime=0) if packed else one for one in records))
    return path


def wat(page: WebPage, **json_options: object) -> bytes:
    """What Common Crawl's extractor writes of a page: its links in order, an anchor where it closes."""
    found = _Links()
    found.feed(page.body.decode("utf-8", "replace"))
    metadata: dict[str, object] = {"Head": {"Title": "a"} | ({"Base": found.base} if found.base else {})}
    metadata |= {"Links": found.links} if found.links else {}
    envelope = {
        "Format": "WARC", "WARC-Header-Metadata": {"WARC-Target-URI": page.url},
        "Payload-Metadata": {"HTTP-Response-Metadata": {"Headers": {"Base": "no"}, "HTML-Metadata": metadata}},
    }  # fmt: skip
    whole = {"Container": {"Filename": "a.warc.gz"}, "Envelope": envelope}
    options = {"separators": (",", ":"), "ensure_ascii": False} | json_options
    return record("metadata", page.url, "application/json", json.dumps(whole, **options).encode())  # type: ignore[arg-type]


class _Links(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.links: list[dict[str, str]] = []
        self.base = ""
        self._open: list[dict[str, str]] = []

    def handle_starttag(self, tag: str, attrs: Sequence[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if tag == "base" and not self.base:
            self.base = given.get("href", "")
        elif tag == "img" and "src" in given:
            rest = {name: given[name] for name in ("alt", "title") if name in given}
            self.links.append({"path": "IMG@/src", "url": given["src"]} | rest)
        elif tag == "a" and "href" in given:
            self._open.append({"path": "A@/href", "url": given["href"]})

    def handle_endtag(self, tag: str) -> None:
        if tag == "a" and self._open:
            self.links.append(self._open.pop())
