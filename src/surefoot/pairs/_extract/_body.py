"""What a server sent, back to HTML: chunks joined, compression undone, characters as UTF-8, all within a limit."""

from __future__ import annotations

import codecs
import re
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import suppress

_CHUNK = re.compile(rb"\s*([0-9a-fA-F]{1,8})[ \t]*(?:;[^\r\n]*)?\r?\n")
_CHARSET = re.compile(rb"""charset\s*=\s*["']?\s*([a-zA-Z0-9._:-]+)""", re.IGNORECASE)
_MARKS = ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"))
_READ_AS = {
    "ascii": "cp1252", "iso8859-1": "cp1252", "iso8859-9": "cp1254", "iso8859-11": "cp874", "gb2312": "gb18030",
    "gbk": "gb18030", "shift_jis": "cp932", "euc_kr": "cp949", "big5": "big5hkscs",
}  # fmt: skip
"""Encodings that browsers take for a wider one, by Python's names."""
_LABELS = {
    "windows-31j": "cp932", "windows-874": "cp874", "windows-949": "cp949", "ks_c_5601-1989": "cp949", "gb_2312": "gbk",
    "gb_2312-80": "gbk", "cn-big5": "big5", "iso-8859-8-i": "iso8859-8", "iso-8859-6-e": "iso8859-6", "koi": "koi8-r",
    "koi8": "koi8-r", "koi8-ru": "koi8-u", "mac-ukrainian": "mac-cyrillic",
}  # fmt: skip
"""Names of the Encoding Standard that Python does not know, without `x-`."""
_ESCAPED = re.compile(rb"\x1b[$(]")  # ISO-2022 is valid UTF-8, too
_PEEKED = 4096


def decoded_body(body: bytes, headers: Mapping[str, str], limit: int, faults: Counter[str]) -> bytes:
    """The content of an HTTP body; `headers` by lower-case name. At most `limit` bytes of what it unpacks to.

    A body that is not what its headers say is taken as it is: archives keep headers of what they unpacked. Counts
    `body_broken` (the good beginning is kept), `body_cut` (larger than the limit), `body_unknown` (how it is packed).
    """
    if "chunked" in headers.get("transfer-encoding", "").lower() and _CHUNK.match(body):
        body = b"".join(_chunks(body, faults))
    for name in reversed(headers.get("content-encoding", "").lower().replace(" ", "").split(",")):
        if name in ("gzip", "x-gzip", "deflate"):
            body = _inflated(body, limit, faults)
        elif name not in ("", "identity"):
            faults["body_unknown"] += body[:1] != b"<"
    return body


def utf8(body: bytes, content_type: str) -> bytes:
    """A page in UTF-8, whatever it says of itself: valid UTF-8 is taken as it, then what header and page declare."""
    head = body[:_PEEKED]
    declared = [named for mark, named in _MARKS if head.startswith(mark)]
    if not declared:
        declared = [found[1].decode() for where in (content_type.encode(), head) if (found := _CHARSET.search(where))]
        if not _ESCAPED.search(head):
            with suppress(UnicodeDecodeError):
                body.decode("utf-8")
                return body
    for name in (*declared, "cp1252"):
        with suppress(LookupError, UnicodeError):
            name = name.lower().removeprefix("x-").removeprefix("x-")  # noqa: PLW2901
            found = codecs.lookup(_LABELS.get(name, name))
            known = found.name
            if known not in ("utf-16", "utf-32") and found._is_text_encoding:
                return body.decode(_READ_AS.get(known, known), errors="replace").encode("utf-8", "replace")
    return body


def _chunks(body: bytes, faults: Counter[str]) -> Iterator[bytes]:
    place = 0
    while place < len(body):
        head = _CHUNK.match(body, place)
        size = int(head[1], 16) if head else 0
        if not head:
            faults["body_broken"] += 1
        if not head or not size:
            return
        yield body[head.end() : head.end() + size]
        place = head.end() + size


def _inflated(body: bytes, limit: int, faults: Counter[str]) -> bytes:
    """Unpacked gzip, zlib or bare deflate, the good beginning of a broken one, or what was not packed at all."""
    for window in (zlib.MAX_WBITS | 32, -zlib.MAX_WBITS):
        unpacker = zlib.decompressobj(window)
        whole = bytearray()
        try:
            for place in range(0, len(body), 1 << 14):
                whole += unpacker.decompress(body[place : place + (1 << 14)], limit - len(whole) + 1)
                if len(whole) > limit:
                    faults["body_cut"] += 1
                    return bytes(whole[:limit])
            faults["body_broken"] += not unpacker.eof
            return bytes(whole)
        except zlib.error:
            if whole:
                faults["body_broken"] += 1
                return bytes(whole)
    return body
