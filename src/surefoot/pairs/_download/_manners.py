"""How hosts are asked: how many requests at once, when to wait, when to stop asking, who we are."""

from __future__ import annotations

import asyncio
import re
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path

from surefoot.core import SurefootError
from surefoot.pairs._download._address import PORTS, Ended

_LONGEST_PAUSE = 60.0  # seconds that a host is waited for; what asks for more is asked again by a later run
_LONGEST_DELAY = 30.0  # of a Crawl-delay


@dataclass(frozen=True, kw_only=True)
class Manners:
    """How to ask. Nothing of this changes a picture, so that none of it is part of what a Step is."""

    contact: str = ""
    """A URL or e-mail address for those who are asked; it goes into the user agent."""
    per_host: int = 2
    """Requests to a host at once."""
    connections: int = 64
    """Requests at once."""
    timeout: float = 30.0
    """Seconds of a request."""
    retries: int = 1
    """Times that a failed request is made again."""
    deadline: float = 3600.0
    """Seconds for a part of the rows; what is left then is retryable."""
    patience: int = 10
    """Failures in a row after which a host is left for a later run."""
    opt_outs: int = 10
    """Reserved pictures after which a host is never asked again."""
    do_not_ask: str = ""
    """The file of such hosts, which runs may share. Default: do-not-ask.txt beside the parts."""
    hash_list: tuple[str, ...] = ()
    """Files of MD5, SHA-1 or SHA-256, of pictures or URLs, that are not kept."""
    decoders: int = 0
    """Programs that decode. Default: the number of cores."""
    allow_private: bool = False
    """Ask private addresses and any port: for servers of your own."""

    def __post_init__(self) -> None:
        least = {"per_host": 1, "connections": 1, "retries": 0, "patience": 1, "opt_outs": 1, "decoders": 0}
        wrong = [name for name, low in least.items() if getattr(self, name) < low]
        wrong += [name for name in ("timeout", "deadline") if not 0 < getattr(self, name) < 1e7]
        if wrong:
            raise SurefootError(f"'{wrong[0]}' may not be {getattr(self, wrong[0])}: give a larger number.")
        if re.search(r"[^ -~]", self.contact):
            raise SurefootError("The contact goes into a header: use plain ASCII, a URL or an e-mail address.")

    @property
    def ports(self) -> range | tuple[int, ...]:
        """The ports that may be asked: with `allow_private`, which is for tests and one's own servers, any."""
        return range(1, 65536) if self.allow_private else PORTS


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

    def slow_down(self, delay: float) -> None:
        """A Crawl-delay: so many seconds between requests, within reason."""
        self.delay = max(self.delay, min(delay, _LONGEST_DELAY))

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
            lines = self.path.read_text(encoding="utf-8", errors="replace").splitlines()
            self.hosts |= {line.split()[0].lower() for line in lines if line.strip() and not line.startswith("#")}

    def add(self, host: str, reason: str) -> None:
        """Never again, in this run or another."""
        if host not in self.hosts:
            self.hosts.add(host)
            with self.path.open("a", encoding="utf-8") as file:
                file.write(f"{host}\t{datetime.now(UTC):%Y-%m-%d}\t{reason}\n")


def _seconds(retry_after: str, otherwise: float) -> float:
    """The seconds that a Retry-After names, as a number or a date."""
    if re.fullmatch(r"\d{1,9}", retry_after):
        return float(retry_after)
    try:
        return max(0.0, (parsedate_to_datetime(retry_after) - datetime.now(UTC)).total_seconds())
    except (ValueError, TypeError):
        return otherwise
