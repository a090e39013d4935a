"""One request: through libcurl, to a checked address, never more than a number of bytes and seconds."""

from __future__ import annotations

import re
import socket
import ssl
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import pycurl

from surefoot.pairs._download._address import Address, Ended, is_public

Headers = list[tuple[str, str]]
Judge = Callable[[int, Headers], Ended | None]
"""Looks at status and headers before the body is read, and may end the URL there."""
_SLOWEST = 500  # bytes a second, over a third of the time allowed
_LARGEST_REFUSAL = 65_536  # of the body of an answer that is no picture: read, so that the connection can be used again
_REASONS = {
    pycurl.E_COULDNT_CONNECT: "no connection", pycurl.E_OPERATION_TIMEDOUT: "timeout",
    pycurl.E_PARTIAL_FILE: "broken off", pycurl.E_GOT_NOTHING: "broken off", pycurl.E_RECV_ERROR: "broken off",
    pycurl.E_SEND_ERROR: "broken off",
    pycurl.E_SSL_CONNECT_ERROR: "TLS failure", pycurl.E_PEER_FAILED_VERIFICATION: "TLS certificate not valid",
    pycurl.E_UNSUPPORTED_PROTOCOL: "no HTTP",
}  # fmt: skip


@dataclass(slots=True)
class Answer:
    """What a server said."""

    status: int
    headers: Headers
    body: bytes

    def header(self, name: str) -> str:
        """The last value of a header, or nothing."""
        return next((value for key, value in reversed(self.headers) if key == name), "")


@dataclass(slots=True)
class _Reading:
    """An answer while it comes in."""

    limit: int
    judge: Judge
    cut: bool
    allow_private: bool
    headers: Headers = field(default_factory=list)
    body: bytearray = field(default_factory=bytearray)
    status: int = 0
    ended: Ended | None = None
    full: bool = False
    opened: list[socket.socket] = field(default_factory=list)

    def head(self, line: bytes) -> None:
        text = line.decode("latin-1").strip()
        if text.startswith("HTTP/"):
            words = [*text.split(maxsplit=2), ""]
            self.status, self.headers = int(words[1]) if re.fullmatch(r"\d{3}", words[1], re.ASCII) else 0, []
        elif ":" in text:
            name, _, value = text.partition(":")
            self.headers.append((name.strip().lower(), value.strip()))

    def write(self, data: bytes) -> int | None:
        self.ended = self.ended or (None if self.body else self.judge(self.status, self.headers))
        usable = 200 <= self.status < 300
        self.full = len(self.body) + len(data) > (self.limit if usable else _LARGEST_REFUSAL)
        if self.full and usable and not self.cut:
            self.ended = self.ended or Ended("too_big", "bytes", f"more than {self.limit:,}")
        if self.ended or self.full:
            return -1
        self.body += data
        return None

    def open(self, purpose: int, address: tuple[int, int, int, tuple[Any, ...]]) -> socket.socket | int:
        """The last wall: the address of the very connection, whatever was looked up before."""
        family, kind, protocol, place = address
        host = place[0].decode() if isinstance(place[0], bytes) else str(place[0])
        if not self.allow_private and not is_public(host):
            self.ended = Ended("blocked", "private address", host)
            return pycurl.SOCKET_BAD
        self.opened.append(socket.socket(family, kind, protocol))
        return self.opened[-1]


class Client:
    """Requests over one pool of connections and one TLS context; made inside a running loop."""

    def __init__(self, *, agent: str, seconds: float, connections: int, allow_private: bool) -> None:
        self._multi = pycurl.AsyncCurlMulti(close_handles=True)  # pyright: ignore[reportAttributeAccessIssue]
        self._multi.setopt(pycurl.M_MAXCONNECTS, 2 * connections)
        self._agent, self._seconds, self._allow_private = agent, seconds, allow_private
        self._idle: list[pycurl.Curl] = []

    async def get(
        self,
        address: Address,
        pinned: Sequence[str],
        *,
        limit: int,
        judge: Judge,
        cut: bool = False,
        fresh: bool = False,
    ) -> Answer:
        """Ask for a URL at the pinned addresses. Raises `Ended` for what gives no whole answer.

        A body above the limit is an end, or with `cut` the first bytes of it are the answer. With `fresh`
        no kept connection is used.
        """
        reading = _Reading(limit=limit, judge=judge, cut=cut, allow_private=self._allow_private)
        curl = self._idle.pop() if self._idle else self._fresh()
        curl.setopt(pycurl.URL, address.url)
        curl.setopt(pycurl.FRESH_CONNECT, int(fresh))
        if ":" not in address.host:
            places = ",".join(f"[{place}]" if ":" in place else place for place in pinned)
            curl.setopt(pycurl.RESOLVE, [f"+{address.host}:{address.port}:{places}"])
        curl.setopt(pycurl.MAXFILESIZE_LARGE, 0 if cut else limit)
        curl.setopt(pycurl.HEADERFUNCTION, reading.head)
        curl.setopt(pycurl.WRITEFUNCTION, reading.write)
        curl.setopt(pycurl.OPENSOCKETFUNCTION, reading.open)
        try:
            await self._multi.perform(curl)  # a handle whose transfer is cancelled is not used again
            self._idle.append(curl)
        except pycurl.error as error:
            self._idle.append(curl)
            if error.args[0] == pycurl.E_FTP_WEIRD_SERVER_REPLY and not reading.opened:
                # On a kept connection a server had said more than it announced: that is no answer to this request.
                return await self.get(address, pinned, limit=limit, judge=judge, cut=cut, fresh=True)
            if reading.ended or not reading.full:
                raise reading.ended or _ended(int(error.args[0]), str(error.args[-1]), limit) from None
        finally:
            for one in reading.opened:
                one.close()  # libcurl has its own copy
        ended = reading.ended or (None if reading.body else judge(reading.status, reading.headers))
        if ended:
            raise ended
        return _plain(Answer(reading.status, reading.headers, bytes(reading.body)), limit, cut)

    async def close(self) -> None:
        """Close all connections."""
        await self._multi.aclose()

    def _fresh(self) -> pycurl.Curl:
        """A handle that follows nothing, keeps no cookies, and listens to no environment."""
        curl = pycurl.Curl()
        milliseconds = round(self._seconds * 1000)
        options: dict[int, Any] = {
            pycurl.PROTOCOLS: pycurl.PROTO_HTTP | pycurl.PROTO_HTTPS, pycurl.FOLLOWLOCATION: 0,
            pycurl.PROXY: "", pycurl.NOPROXY: "*",
            pycurl.USERAGENT: self._agent, pycurl.NOSIGNAL: 1,
            pycurl.HTTP_VERSION: pycurl.CURL_HTTP_VERSION_1_1, pycurl.TIMEOUT_MS: milliseconds,
            pycurl.CONNECTTIMEOUT_MS: milliseconds // 2, pycurl.LOW_SPEED_LIMIT: _SLOWEST,
            pycurl.LOW_SPEED_TIME: max(1, round(self._seconds / 3)), pycurl.SSL_VERIFYPEER: 1, pycurl.SSL_VERIFYHOST: 2,
            pycurl.HTTPHEADER: ["Accept: image/*,*/*;q=0.5", "Accept-Encoding: identity"],
        }  # fmt: skip
        paths = ssl.get_default_verify_paths()
        if place := paths.cafile or paths.capath:
            options[pycurl.CAINFO if paths.cafile else pycurl.CAPATH] = place
        for option, value in options.items():
            curl.setopt(option, value)
        return curl


def _ended(code: int, message: str, limit: int) -> Ended:
    if code == pycurl.E_FILESIZE_EXCEEDED:
        return Ended("too_big", "bytes", f"more than {limit:,}")
    return Ended("retryable", _REASONS.get(code, "transfer failed"), re.sub(r"[^ -~]", "", message)[:120])


def _plain(answer: Answer, limit: int, cut: bool) -> Answer:
    """Some servers compress though nobody asked: unpacked up to the limit, and not a byte more."""
    if answer.header("content-encoding").lower() in ("gzip", "x-gzip", "deflate"):
        try:
            answer.body = zlib.decompressobj(47).decompress(answer.body, limit + 1)
        except zlib.error:
            raise Ended("undecodable", "content encoding", "the body is not in the one that its header names") from None
        if len(answer.body) > limit and not cut:
            raise Ended("too_big", "bytes", f"more than {limit:,} unpacked")
    return answer
