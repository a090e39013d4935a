"""The pictures of a page, from its HTML or what a WAT file has of it, and the URLs that a browser would ask for."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

from surefoot.pairs._extract._body import utf8

if TYPE_CHECKING:
    from surefoot.pairs._extract._archive import Capture

_LICENSES = "creativecommons.org/licenses/"
_WANTED = f'img,base[href],a[href*="{_LICENSES}"],area[href*="{_LICENSES}"]'
_LAZY = ("data-src", "data-original", "data-lazy-src")
_SETS = ("srcset", "data-srcset")
_CANDIDATE = re.compile(
    r"[\s,]*+([^\s,]\S*+)(?:(?<!,)\s++(?:(\d++(?:\.\d++)?|\.\d++)[wx])?[^,]*+)?", re.ASCII
)  # possessive: a page of spaces must not take hours
_PLAIN = re.compile(
    r"https?://(?!\S*(?:xn--|/\.|/%2e))[a-z0-9-]+(?:\.[a-z0-9-]+)*\.[a-z][a-z0-9-]*/[A-Za-z0-9._~:@!$&()*+,;=/?%-]*",
    re.ASCII,
)
"""URLs that the URL Standard leaves as they are."""
_MOST_TAGS, _MOST_SEPARATORS = 30_000, 60_000
_SEPARATORS = b" \t\n\r\f/\"'"
_TAG = re.compile(rb"<(?:img|base|a|area)[\s/][^<>]{0,4000}>", re.IGNORECASE)


class Picture(NamedTuple):
    """A picture as the page has it: its URL as written, its alternative text, the attribute of the URL, the license."""

    url: str
    text: str
    attribute: str
    license: str | None


@dataclass(frozen=True, slots=True)
class Page:
    """The pictures of a page in order, and the URL that theirs are relative to."""

    base: str
    pictures: list[Picture]


def page_of(capture: Capture, faults: Counter[str]) -> Page:
    """The pictures of a capture. Counts `page_scanned` (so many tags that only those of pictures are read) and
    `json_broken`.

    The license is LAION's guess: the last link to a Creative Commons license before the picture.
    """
    if capture.content_type is None:
        return _of_wat(capture, faults)
    return _of_html(capture.url, utf8(capture.body, capture.content_type), faults)


def resolve(url: str, base: str) -> str | None:
    """The URL that a browser asks for (WHATWG URL Standard), or None where it finds it invalid."""
    whole = "/".join(base.split("/", 3)[:3]) + url if url[:1] == "/" != url[1:2] else url
    if _PLAIN.fullmatch(whole):
        return whole
    from ada_url import join_url

    with suppress(ValueError):
        return join_url(base, url)
    return None


def spellings(url: str) -> tuple[str, ...]:
    """A URL as it is written, and as a browser asks for it and a crawl keeps it."""
    return tuple(dict.fromkeys([url, resolve(url, url) or url]))


def _of_html(url: str, body: bytes, faults: Counter[str]) -> Page:
    from selectolax.lexbor import LexborHTMLParser

    separators = len(body) - len(body.translate(None, _SEPARATORS))
    if body.count(b"<") > _MOST_TAGS or separators > _MOST_SEPARATORS:
        # The time of a parser grows with the square of the depth of a page, and of the attributes of a tag.
        faults["page_scanned"] += 1
        body = b"</a>".join(_TAG.findall(body))
    base, license, coming, inside = "", None, None, 0
    pictures: list[Picture] = []
    for node in LexborHTMLParser(body).css(_WANTED):
        attributes = node.attributes
        if node.tag == "img":
            if found := _source(attributes):
                pictures.append(Picture(found[0], attributes.get("alt") or "", found[1], license))
            inside -= 1
            if not inside:
                license = coming
        elif node.tag == "base":
            base = base or resolve(attributes["href"] or "", url) or ""
        else:  # as in a WAT file, a link counts from its end
            coming, inside = (attributes["href"] or "")[:80], len(node.css("img"))
            license = license if inside else coming
    return Page(base if base.startswith("http") else url, pictures)


def _source(attributes: Mapping[str, str | None]) -> tuple[str, str] | None:
    """The URL of a picture, and the attribute that has it: lazy pictures have a placeholder in `src`, or none."""
    found = [(value.strip(), name) for name in (*_LAZY, "src") if (value := attributes.get(name)) and value.strip()]
    if found and not found[0][0].startswith("data:"):
        return found[0]
    for name in _SETS:
        listed = _CANDIDATE.finditer((attributes.get(name) or "").strip(" \t\n\r\f,"))
        sizes = [(float(one[2] or 1), one[1].rstrip(",")) for one in listed]
        if sizes:
            return max(sizes, key=lambda size: size[0])[1], name
    return found[0] if found else None


def _of_wat(capture: Capture, faults: Counter[str]) -> Page:
    body = capture.body
    if b"IMG@" not in body:
        return Page(capture.url, [])
    import orjson

    try:
        links = _links_of_pictures(body)
        base = ""
        if links is None:
            way = ("Envelope", "Payload-Metadata", "HTTP-Response-Metadata", "HTML-Metadata")
            metadata = _member(orjson.loads(body), *way)
            links, base = _member(metadata, "Links"), _member(metadata, "Head", "Base")
    except orjson.JSONDecodeError:
        faults["json_broken"] += 1
        return Page(capture.url, [])
    base = resolve(base, capture.url) if isinstance(base, str) and base else None
    return Page(base if base and base.startswith("http") else capture.url, list(_pictures(links)))


def _member(data: Any, *names: str) -> Any:
    for name in names:
        data = data.get(name) if isinstance(data, dict) else None
    return data


def _links_of_pictures(body: bytes) -> list[Any] | None:
    """The links of a WAT record that are pictures, the rest left unread; None where all must be read.

    The bytes are cut at the braces beside a link's path. A brace of a text leaves it open, which is no JSON: then all
    is read.
    """
    import orjson

    parts = body.split(b"IMG@")
    # The base is in the head, which stands before or after the array of links.
    if b'"Base":"' in parts[0] or b'"Base":"' in parts[-1] or _LICENSES.encode() in body:
        return None
    cuts = list(pairwise(parts))
    if not all(before.endswith(b'"path":"') and after.startswith(b'/src"') for before, after in cuts):
        return None  # written in another way, or a text about it
    links = [before[before.rfind(b"{") :] + b"IMG@" + after[: after.find(b"}") + 1] for before, after in cuts]
    try:
        found = orjson.loads(b"[" + b",".join(links) + b"]")
    except orjson.JSONDecodeError:
        return None
    return found if len(found) == len(links) else None


def _pictures(links: Any) -> Iterator[Picture]:
    license = None
    for link in links if isinstance(links, list) else ():
        url = link.get("url") if isinstance(link, dict) else None
        if not isinstance(url, str):
            continue
        if link.get("path") == "IMG@/src":
            text = link.get("alt")
            if url := url.strip():
                yield Picture(url, text if isinstance(text, str) else "", "src", license)
        elif link.get("path") in ("A@/href", "AREA@/href") and _LICENSES in url:
            license = url[:80]
