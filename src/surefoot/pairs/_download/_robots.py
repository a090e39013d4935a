"""What a host forbids: robots.txt as RFC 9309 says, and the headers that reserve a picture."""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterable
from dataclasses import dataclass

PRODUCT = "surefoot"
LARGEST_ROBOTS = 500 * 1024
_RESERVED = {"noai", "noimageai", "noindex", "noimageindex", "none"}
_AGENT = re.compile(r"\s*([\w*.-]+)\s*:\s*(.*)", re.DOTALL).fullmatch
_WITH_VALUE = {"unavailable_after", "max-snippet", "max-image-preview", "max-video-preview"}
_RECORD = re.compile(r"^[ \t]*(user-agent|allow|disallow|crawl-delay)[ \t]*:([^#\n]*)", re.IGNORECASE | re.MULTILINE)
_UNRESERVED = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")


@dataclass(frozen=True, slots=True)
class Robots:
    """The rules of one robots.txt for us, the longest first: pattern, and whether it allows."""

    rules: tuple[tuple[str, bool], ...] = ()
    delay: float = 0.0

    def forbids(self, url: str) -> str | None:
        """The pattern that forbids a URL, if one does: the longest that matches decides, and of two as long Allow."""
        path = _normal("/" + re.sub("^[^:]*://[^/?#]*/?|#.*", "", url), "*$")
        if path == "/robots.txt":
            return None
        found = next(((pattern, allows) for pattern, allows in self.rules if _matches(pattern, path)), None)
        return None if found is None or found[1] else found[0]


def parse_robots(body: bytes, product: str = PRODUCT) -> Robots:
    """The rules for a product token. Whatever the bytes are, what can be read counts and the rest is left out."""
    cut = body[:LARGEST_ROBOTS]
    utf16 = cut.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    text = cut.decode("utf-16" if utf16 else "utf-8-sig", "replace").replace("\0", "")
    groups: dict[str, list[tuple[str, str]]] = {}
    agents, named = list[str](), False
    for found in _RECORD.finditer(text.replace("\r", "\n")):
        name, value = found[1].lower(), found[2].strip()
        if name == "user-agent":
            token = re.match(r"[A-Za-z_-]*", value)
            agents = [*(agents if named else []), "*" if value[:1] == "*" else token[0].lower() if token else ""]
            groups.setdefault(agents[-1], [])
            named = True
        else:
            named = named and name == "crawl-delay"  # other records do not end the list of agents
            for agent in agents:
                groups[agent].append((name, value))
    ours = groups.get(product.lower(), groups.get("*", []))
    told = [(value.removesuffix("$"), value[-1:], name == "allow") for name, value in ours if name != "crawl-delay"]
    rules = [(_normal(path, "$") + "$" * (end == "$"), allows) for path, end, allows in told if end]
    delays = [float(value) for name, value in ours if name == "crawl-delay" and re.fullmatch(r"\d{1,6}(\.\d*)?", value)]
    ordered = sorted(dict.fromkeys(rules), key=lambda rule: (-len(rule[0].encode()), not rule[1]))
    return Robots(tuple(ordered), max(delays, default=0.0))


def reservation(headers: Iterable[tuple[str, str]], product: str = PRODUCT) -> str | None:
    """The header by which a host reserves what it sends, if one does."""
    for name, value in headers:
        if name == "x-robots-tag" and (word := _tag(value, product)):
            return f"X-Robots-Tag: {word}"
        if name == "tdm-reservation" and value.strip() == "1":
            return "TDM-Reservation: 1"
        if name == "content-usage" and re.search(r"\btrain-ai\s*=\s*n\b", value.lower()):
            return "Content-Usage: train-ai=n"
    return None


def _tag(value: str, product: str) -> str | None:
    """The first directive that is meant for us: what stands behind the name of another agent is not."""
    ours = True
    for piece in value.lower().split(","):
        named = _AGENT(piece)
        if named and named[1] not in _WITH_VALUE:
            ours, word = named[1] in ("*", product), named[2].strip()
        else:
            word = piece.strip()
        if ours and word in _RESERVED:
            return word
    return None


def _normal(path: str, escaped: str = "") -> str:
    """Percent-encoded alike: unreserved characters plain, all beyond ASCII and `escaped` encoded (RFC 9309, 2.2.2)."""

    def spelt(match: re.Match[str]) -> str:
        byte = int(match[1], 16)
        return chr(byte) if byte in _UNRESERVED else f"%{byte:02X}"

    plain = re.sub(r"%([0-9A-Fa-f]{2})", spelt, path)
    odd = re.compile(f"[^\0-~]|[{re.escape(escaped)}]" if escaped else "[^\0-~]")
    return odd.sub(lambda mark: "".join(f"%{byte:02X}" for byte in mark[0].encode("utf-8", "replace")), plain)


def _matches(pattern: str, path: str) -> bool:
    """`*` is any characters, `$` at the end is the end; no search goes back, so that no pattern can be slow."""
    anchored = pattern.endswith("$")
    first, *pieces = pattern.removesuffix("$").split("*")
    if not path.startswith(first):
        return False
    place = len(first)
    if not pieces:
        return not anchored or place == len(path)
    for piece in pieces[:-1]:
        found = path.find(piece, place)
        if found < 0:
            return False
        place = found + len(piece)
    if anchored:
        return path.endswith(pieces[-1]) and len(path) - len(pieces[-1]) >= place
    return path.find(pieces[-1], place) >= 0
