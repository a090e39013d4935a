"""Why URLs gave no picture: counts by reason and by host, with what helps."""

from __future__ import annotations

from glob import escape
from pathlib import Path

from surefoot.core import Table, in_memory
from surefoot.pairs._stages._manifest import read_manifest

_ADVICE = {
    "name not found": "Gone, or the resolver is overloaded: run a caching one nearby, lower --connections.",
    "timeout": "Raise --timeout, or lower --connections: the line may be full.",
    "no connection": "Run it again later; many hosts at once mean a firewall or a full line here.",
    "TLS": "Certificates are not valid: nothing helps but the host.",
    "HTTP 429": "Hosts want fewer requests: run it again later, with --per-host 1.",
    "HTTP 403": "Hosts refuse robots: say who you are with --contact, and respect it.",
    "HTTP 404": "The picture is gone; about 1 percent of URLs a month are lost.",
    "HTTP 410": "The picture is gone.",
    "HTTP 5": "Hosts are overloaded: run it again later.",
    "robots.txt": "Hosts forbid it, or cannot say now.",
    "decoding time": "The machine was busy, or the picture is hostile: run it again when it is idle.",
    "deadline": "Raise --deadline, or run it again: only these are asked.",
    "host given up": "Run it again later: only these are asked.",
    "asked to wait": "Run it again later: only these are asked.",
    "no picture": "The host sends a page in place of a picture.",
    "private address": "Names lead into private networks: for a server of your own, --allow-private.",
    "bytes": "Raise --max-bytes if you want larger files.",
}
_HOST = "lower(regexp_extract(url, '^[a-zA-Z]+://([^/?#]*)', 1))"


def outcomes(directory: Path) -> Table:
    """How the URLs of a finished download ended: state, reason, URLs, share, hosts, the host with most, advice."""
    listed = (
        "SELECT state, coalesce(reason, ''), sum(n)::BIGINT, round(sum(n) / sum(sum(n)) OVER (), 4), count(*), "
        "max_by(host, n) FROM counted GROUP BY ALL ORDER BY 3 DESC, 1, 2"
    )
    rows = [(*row, _advice(row[1])) for row in _counted(directory, listed)]
    return Table(("state", "reason", "urls", "share", "hosts", "most_at", "advice"), tuple(rows))


def failing_hosts(directory: Path, most: int = 20) -> Table:
    """The hosts where most URLs failed: host, URLs, those without a picture, the most frequent reason."""
    failed = "coalesce(sum(n) FILTER (state <> 'ok'), 0)::BIGINT"
    listed = (
        f"SELECT host, sum(n)::BIGINT, {failed}, max_by(reason, n) FILTER (state <> 'ok') FROM counted "
        f"GROUP BY host HAVING {failed} > 0 ORDER BY 3 DESC, 1 LIMIT {most:d}"
    )
    return Table(("host", "urls", "failed", "reason"), tuple(_counted(directory, listed)))


def _counted(directory: Path, listed: str) -> list[tuple[object, ...]]:
    parts = [escape(str(directory / part.file)) for part in read_manifest(directory).parts]
    if not parts:
        return []
    counted = f"SELECT state, reason, {_HOST} AS host, count(*) AS n FROM read_parquet(?) WHERE state IS NOT NULL"
    with in_memory() as connection:
        return connection.execute(f"WITH counted AS ({counted} GROUP BY ALL) {listed}", [parts]).fetchall()


def _advice(reason: object) -> str:
    return next((text for start, text in _ADVICE.items() if str(reason).startswith(start)), "")
