"""From a URL to the bytes of a picture: redirects hop by hop, robots.txt, reservations, rest for hosts."""

from __future__ import annotations

import asyncio
import os
import re
import socket
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

from surefoot import __version__
from surefoot.core import SurefootError
from surefoot.pairs._download._address import Address, Ended, address_of, host_of, is_public
from surefoot.pairs._download._options import Manners
from surefoot.pairs._download._robots import LARGEST_ROBOTS, PRODUCT, Robots, parse_robots, reservation
from surefoot.pairs._download._transfer import Answer, Client, Headers, Judge

_LONGEST_PAUSE = 60.0  # seconds that a host is waited for; what asks for more is asked again by a later run
_LONGEST_DELAY = 30.0  # of a Crawl-delay
_MOST_HOPS = 5
_MOST_HOSTS = 50_000  # remembered at once
_LOOKUP_SECONDS, _ROBOTS_SECONDS = 600.0, 86_400.0
_BUSY = (429, 503)
_LATER = (408, 425, 429)
_REFUSED = (401, 402, 403, 407, 451)


@dataclass(slots=True)
class Trace:
    """What happened on the way: redirects, the answer of robots.txt, the last status."""

    hops: list[str] = field(default_factory=list)
    robots: str = ""
    status: int | None = None


@dataclass(slots=True)
class Host:
    """What is known of a host while it is asked."""

    slots: asyncio.Semaphore
    ready: float = 0.0
    delay: float = 0.0
    failures: int = 0
    reserved: int = 0
    closed: Ended | None = None

    async def wait(self) -> None:
        """Until it may be asked. Raises `Ended` when that is too far away, or it is not asked any more."""
        while True:
            if self.closed:
                raise self.closed.again()
            left = self.ready - time.monotonic()
            if left <= 0:
                self.ready = time.monotonic() + self.delay
                return
            if left > _LONGEST_PAUSE:
                raise Ended("retryable", "asked to wait", f"the host wants {left:.0f} seconds of rest")
            await asyncio.sleep(left)

    def rest(self, retry_after: str, attempt: int) -> None:
        """Do not ask before the time that it named, or for a while that doubles."""
        self.ready = max(self.ready, time.monotonic() + _seconds(retry_after, 2.0**attempt))

    def failed(self, patience: int) -> None:
        """One more failure; too many in a row close it for this run."""
        self.failures += 1
        if self.failures >= patience and not self.closed:
            self.closed = Ended("retryable", "host given up", f"it failed {self.failures} times in a row")


@dataclass
class DoNotAsk:
    """Hosts that reserved their pictures, in a file that outlives runs: host, day, reason."""

    path: Path
    hosts: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        if self.path.exists():
            lines = self.path.read_text(encoding="utf-8-sig", errors="replace").splitlines()
            words = {re.split(r"[\s,;]", line.strip(), maxsplit=1)[0] for line in lines}
            self.hosts |= {self._host(word) for word in words if word and not word.startswith("#")}

    def _host(self, word: str) -> str:
        try:
            return host_of(word)
        except Ended:
            raise SurefootError(f"{self.path}: {word:.80} is no host. Give one a line, as example.org.") from None

    def add(self, host: str, reason: str) -> None:
        """Never again, in this run or another."""
        if host not in self.hosts:
            self.hosts.add(host)
            with self.path.open("ab+") as file:
                file.seek(max(0, file.seek(0, os.SEEK_END) - 1))
                start = "\n" * (file.read() not in (b"", b"\n"))  # a last line that somebody left without its end
                file.write(f"{start}{host}\t{datetime.now(UTC):%Y-%m-%d}\t{reason}\n".encode())


def _seconds(retry_after: str, otherwise: float) -> float:
    """The seconds that a Retry-After names, as a number or a date."""
    if re.fullmatch(r"\d{1,9}", retry_after):
        return float(retry_after)
    try:
        return max(0.0, (parsedate_to_datetime(retry_after) - datetime.now(UTC)).total_seconds())
    except (ValueError, TypeError, OverflowError):
        return otherwise


class Fetcher:
    """Asks hosts for pictures. Made inside a running loop; one a run."""

    def __init__(self, manners: Manners, do_not_ask: DoNotAsk, limit: int) -> None:
        self._manners, self._do_not_ask, self._limit = manners, do_not_ask, limit
        agent = f"{PRODUCT}/{__version__}" + (f" (+{manners.contact})" if manners.contact else "")
        self._client = Client(
            agent=agent, seconds=manners.timeout, connections=manners.connections, allow_private=manners.allow_private
        )
        self._connections = asyncio.Semaphore(manners.connections)
        self.room = asyncio.Event()
        """Cleared while more bodies wait to be decoded than memory should hold."""
        self.room.set()
        self._hosts: dict[str, Host] = {}
        self._known: dict[tuple[str, str], tuple[float, asyncio.Task[Any]]] = {}
        self._lookups = ThreadPoolExecutor(16, "lookup")

    async def close(self) -> None:
        """Give up what still runs."""
        for _, task in self._known.values():
            task.cancel()
        await self._client.close()
        self._lookups.shutdown(wait=False, cancel_futures=True)

    async def fetch(self, url: str, trace: Trace) -> bytes:
        """The body of a URL, at most five redirects on. Raises `Ended`; `trace` tells the way in any case."""

        async def allowed(address: Address) -> None:
            trace.robots = await self._allowed(address)

        def judge(status: int, headers: Headers) -> Ended | None:
            trace.status = status
            reserved = reservation(headers) if status < 400 else None  # error pages are often marked noindex
            return Ended("opted_out", reserved) if reserved else None

        return (await self._follow(url, judge, allowed, trace.hops)).body

    async def _follow(
        self, url: str, judge: Judge, allowed: Callable[[Address], Awaitable[None]] | None, hops: list[str]
    ) -> Answer:
        """The first answer that is no redirect; every hop is held against all rules anew."""
        while True:
            address = address_of(url, self._manners.ports)
            if address.host in self._do_not_ask.hosts:
                raise Ended("opted_out", "do not ask", "the host is on the list")
            if allowed:
                await allowed(address)
            answer = await self._ask(address, judge, robots=allowed is None)
            if answer.status not in (301, 302, 303, 307, 308):
                return _usable(answer)
            if len(hops) >= _MOST_HOPS or not answer.header("location"):
                raise Ended("blocked", "redirects", f"more than {_MOST_HOPS}, or one to nowhere")
            url = _joined(address.url, answer.header("location"))
            hops.append(url[:4096])

    async def _ask(self, address: Address, judge: Judge, robots: bool) -> Answer:
        """One URL of one host, as often as `retries` allow and its host bears."""
        host = self._host(address.host)
        for attempt in range(self._manners.retries + 1):
            last = attempt == self._manners.retries
            async with host.slots:
                await host.wait()
                try:
                    answer = await self._asked_once(address, judge, robots)
                except Ended as ended:
                    if ended.state == "opted_out":
                        self._reserved(address.host, host, ended.reason)
                    if ended.state != "retryable":
                        raise
                    host.failed(self._manners.patience)
                    if last:
                        raise
                    host.rest("", attempt - 1)
                    continue
                if answer.status < 500 and answer.status not in _LATER:
                    host.failures = 0
                    return answer
                host.failed(self._manners.patience)
                if answer.status in _BUSY or not last:
                    host.rest(answer.header("retry-after"), attempt)
                if last:
                    return answer
        raise AssertionError

    async def _asked_once(self, address: Address, judge: Judge, robots: bool) -> Answer:
        pinned = await self._remembered("lookup", address.host, _LOOKUP_SECONDS, lambda: self._looked_up(address.host))
        await self.room.wait()
        async with self._connections:
            limit = LARGEST_ROBOTS if robots else self._limit
            return await self._client.get(address, pinned, limit=limit, judge=judge, cut=robots)

    def _reserved(self, name: str, host: Host, reason: str) -> None:
        host.reserved += 1
        if host.reserved >= self._manners.opt_outs:
            host.closed = Ended("opted_out", "do not ask", f"the host reserved {host.reserved} pictures ({reason})")
            self._do_not_ask.add(name, reason)

    def _host(self, name: str) -> Host:
        if len(self._hosts) > _MOST_HOSTS:
            idle = [key for key, host in self._hosts.items() if not host.slots.locked() and not host.closed]
            for key in idle[: _MOST_HOSTS // 2]:
                del self._hosts[key]
        if name not in self._hosts:
            self._hosts[name] = Host(asyncio.Semaphore(self._manners.per_host))
        return self._hosts[name]

    async def _allowed(self, address: Address) -> str:
        """What robots.txt says. Raises `Ended` when it forbids the URL, or cannot be read now."""
        robots = await self._remembered("robots", address.origin, _ROBOTS_SECONDS, lambda: self._robots(address.origin))
        if robots is None:
            return "none"
        host = self._host(address.host)
        host.delay = max(host.delay, min(robots.delay, _LONGEST_DELAY))
        pattern = robots.forbids(address.url)
        if pattern is not None:
            raise Ended("opted_out", "robots.txt", f"Disallow: {pattern:.200}")
        return "allowed"

    async def _robots(self, origin: str) -> Robots | Ended | None:
        """The rules of an origin; none where it has no such file; `Ended` where it cannot say (RFC 9309, 2.3.1)."""

        answered = list[int]()

        def judge(status: int, headers: Headers) -> Ended | None:
            answered.append(status)
            return None

        try:
            return parse_robots((await self._follow(f"{origin}/robots.txt", judge, None, [])).body)
        except Ended as ended:
            if not answered:
                return ended
            if ended.state in ("gone", "blocked"):
                return None
            return Ended("retryable", "robots.txt", f"cannot be read now: {ended.reason}")

    async def _looked_up(self, host: str) -> tuple[str, ...] | Ended:
        """All addresses of a host; when one of them is not public, none is used."""
        loop = asyncio.get_running_loop()
        try:
            found = await loop.run_in_executor(
                self._lookups, lambda: socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
            )
        except socket.gaierror as error:
            state = "gone" if error.errno in (socket.EAI_NONAME, socket.EAI_NODATA) else "retryable"
            return Ended(state, "name not found", str(error.strerror))
        except (UnicodeError, OSError) as error:
            return Ended("gone", "name not found", type(error).__name__)
        addresses = tuple(dict.fromkeys(str(place[0]) for *_, place in found))
        private = [address for address in addresses if not is_public(address)]
        if private and not self._manners.allow_private:
            return Ended("blocked", "private address", f"{host} is {private[0]}")
        return addresses

    async def _remembered(self, what: str, name: str, seconds: float, make: Callable[[], Any]) -> Any:
        """What `make` gave for a name, asked for once by all who need it, for a while."""
        until, task = self._known.get((what, name), (0.0, None))
        if task is None or until < time.monotonic():
            if len(self._known) > 2 * _MOST_HOSTS:
                old = [key for key, (_, done) in self._known.items() if done.done()]
                for key in old[:_MOST_HOSTS]:
                    del self._known[key]
            task = asyncio.ensure_future(make())
            self._known[what, name] = time.monotonic() + seconds, task
        found = await asyncio.shield(task)
        if isinstance(found, Ended):
            raise found.again()
        return found


def _usable(answer: Answer) -> Answer:
    status = answer.status
    if 200 <= status < 300:
        return answer
    later = status >= 500 or status in _LATER
    raise Ended("retryable" if later else "blocked" if status in _REFUSED else "gone", f"HTTP {status}")


def _joined(url: str, location: str) -> str:
    try:
        return urljoin(url, location.encode("latin-1").decode("utf-8", "replace"))
    except ValueError:
        raise Ended("blocked", "redirects", "one to a malformed URL") from None
