"""Which URLs and addresses may be asked at all: http and https, usual ports, addresses of the public internet."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from urllib.parse import quote, urlsplit

STATES = ("ok", "retryable", "gone", "opted_out", "blocked", "too_big", "changed", "undecodable")
"""How a URL can end. Only `retryable` is asked again by a later run."""
PORTS = (80, 443)
_LONGEST_URL = 4096
_HOST = re.compile(r"[a-z0-9_]([a-z0-9_.-]{0,252}[a-z0-9_.])?").fullmatch
_KEPT = "%/:=&~+!$,;'@()*[]?|"
_UNSAFE = re.compile(r"[\x00-\x20\x7f\\]").search
_EMBEDDING = (IPv6Network("64:ff9b::/96"), IPv6Network("::/96"))  # the last 32 bits are an IPv4 address
_LOCAL = IPv6Network("64:ff9b:1::/48")  # translation within a network; older Pythons call it global


class Ended(Exception):
    """The end of a URL without a picture: its state, a short reason that is counted, and what more is known."""

    def __init__(self, state: str, reason: str, detail: str = "") -> None:
        Exception.__init__(self, reason, detail)
        self.state, self.reason, self.detail = state, reason, detail

    def again(self) -> Ended:
        """The same end for another URL."""
        return Ended(self.state, self.reason, self.detail)


@dataclass(frozen=True, slots=True)
class Address:
    """A URL that may be asked, and its parts; `url` is as it goes to the wire."""

    url: str
    origin: str
    host: str
    port: int


def address_of(url: str, ports: Iterable[int] = PORTS) -> Address:
    """The parts of a URL. Raises `Ended` for what must not or cannot be asked."""
    if len(url) > _LONGEST_URL or _UNSAFE(url.strip()):
        raise Ended("blocked", "bad URL", "too long, or with spaces, control characters or backslashes")
    try:
        parts = urlsplit(url.strip())
        host, port = (parts.hostname or "").rstrip("."), parts.port
        named = str(IPv6Address(host)) if ":" in host else _ascii(host)
        rest = quote((parts.path or "/") + ("?" + parts.query if parts.query else ""), safe=_KEPT)
    except ValueError:  # UnicodeError, too
        raise Ended("blocked", "bad URL", "malformed") from None
    if parts.scheme not in ("http", "https"):
        raise Ended("blocked", "scheme", "only http and https are asked")
    if parts.username is not None or parts.password is not None:
        raise Ended("blocked", "bad URL", "with a user name or a password")
    if ":" not in host and not _HOST(named):
        raise Ended("blocked", "bad URL", "without a valid host")
    port = port or (443 if parts.scheme == "https" else 80)
    if port not in ports:
        raise Ended("blocked", "port", f"{port} is not asked")
    origin = f"{parts.scheme}://{f'[{named}]' if ':' in named else named}:{port}"
    return Address(origin + rest, origin, named, port)


def _ascii(host: str) -> str:
    """A name as browsers write it (UTS 46): by the older rules of Python straße.de is another host, strasse.de."""
    if not host.isascii():
        from ada_url import idna_to_ascii

        host = idna_to_ascii(host).decode()
    return host.encode("idna").decode().lower()  # raises for labels that are empty or too long


def host_of(word: str) -> str:
    """The host of a URL, or that is named with or without a port, as it is asked. Raises `Ended` for what is none."""
    bare = f"[{word}]" if word.count(":") > 1 and "[" not in word else word
    return address_of(word if "://" in word else f"http://{bare}", range(1, 65536)).host


def is_public(text: str) -> bool:
    """Whether an address is one of the public internet; what is mapped, embedded or tunnelled is looked at inside."""
    address = ip_address(text.partition("%")[0])
    if isinstance(address, IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour
        if inner is None and any(address in network for network in _EMBEDDING):
            inner = IPv4Address(int(address) & 0xFFFFFFFF)
        return (
            is_public(str(inner)) if inner else _is_public(address) and not (address.is_site_local or address in _LOCAL)
        )
    return _is_public(address)


def _is_public(address: IPv4Address | IPv6Address) -> bool:
    return address.is_global and not (address.is_multicast or address.is_reserved or address.is_unspecified)
