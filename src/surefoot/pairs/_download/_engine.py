"""The engine of one download: rows are asked, decoded and kept, many at once, whatever happens to each."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from surefoot.core import write_text
from surefoot.pairs._download._address import Ended
from surefoot.pairs._download._decoders import Decoders
from surefoot.pairs._download._fetch import DoNotAsk, Fetcher, Trace
from surefoot.pairs._download._hashes import HashLists
from surefoot.pairs._download._options import Manners, PictureForm
from surefoot.pairs._download._part import PartWork, Row
from surefoot.pairs._stages._manifest import Part, Source
from surefoot.pairs._stages._work import WORK, part_name

_WINDOW = 2048  # rows that are asked, or wait for their host, at once
_LANES = 2  # parts at once: while the slow end of one is waited for, the next one runs
_WAITING_BYTES = 1 << 26  # of bodies that no decoder has taken yet


class Engine:
    """The engine of one call: its fetcher, its decoders, what waits between them."""

    def __init__(
        self, out: Path, form: PictureForm, manners: Manners, lists: HashLists, *, listed: DoNotAsk,
        progress: Callable[[int, int], None] | None,
    ) -> None:  # fmt: skip
        self._out, self._form, self._manners, self._lists, self._progress = out, form, manners, lists, progress
        self._listed = listed
        self._waiting = self._done = self._begun = 0

    async def parts(self, sources: Sequence[Source]) -> list[Part]:
        """Make all parts that are not recorded yet."""
        options = {"size": self._form.size, "resize": self._form.resize, "quality": self._form.quality}
        options |= {"exact": self._form.exact, "most": self._form.max_pixels}
        self._fetcher = Fetcher(self._manners, self._listed, self._form.max_bytes)
        self._decoders = Decoders(self._manners.decoders or os.cpu_count() or 1, options)
        self._window = asyncio.Semaphore(_WINDOW)
        made: dict[int, Part] = {}
        numbered = iter(enumerate(sources))
        try:
            await self._decoders.check()
            async with asyncio.TaskGroup() as group:
                for _ in range(_LANES):
                    group.create_task(self._lane(numbered, made))
        except BaseExceptionGroup as several:
            raise _first_of(several) from None
        finally:
            await self._fetcher.close()
            self._decoders.close()
        return [made[number] for number in range(len(sources))]

    async def _lane(self, numbered: Iterator[tuple[int, Source]], made: dict[int, Part]) -> None:
        for number, source in numbered:
            record = self._out / WORK / f"{part_name(number)}.json"
            if not record.is_file():
                part = await self._part(number, source)
                write_text(record, json.dumps(asdict(part), ensure_ascii=False))
            made[number] = Part(**json.loads(record.read_text(encoding="utf-8")))

    async def _part(self, number: int, source: Source) -> Part:
        work = PartWork(number, source.path, self._out, self._out / WORK, layout=self._form.layout)
        try:
            rows = await asyncio.to_thread(work.pending)
            self._begun += len(rows)
            until = asyncio.get_running_loop().time() + self._manners.deadline
            async with asyncio.TaskGroup() as group:
                for row in rows:
                    await self._window.acquire()
                    group.create_task(self._row(row, work, until))
            return await asyncio.to_thread(work.publish)
        finally:
            work.close()

    async def _row(self, row: Row, work: PartWork, until: float) -> None:
        """One row to its end. Whatever happens to it, it has a line in the log."""
        trace, told, picture = Trace(), dict[str, Any](), b""
        try:
            picture = await self._picture(row, trace, until, told)
        except Ended as ended:
            message = f"{ended.reason}: {ended.detail}" if ended.detail else ended.reason
            came = "bytes" in told and ended.state != "changed"
            told |= {"state": ended.state, "reason": ended.reason, "error_message": message,
                     "status": "failed_to_resize" if came else "failed_to_download"}  # fmt: skip
        finally:
            self._window.release()
        if told["state"] == "screened":
            work.add(row, told)
        else:
            way = {"http_status": trace.status, "hops": trace.hops, "robots": trace.robots}
            work.add(row, told | way | {"fetched": f"{datetime.now(UTC):%FT%TZ}"}, picture)
        self._done += 1
        if self._progress and (self._done % 100 == 0 or self._done == self._begun):
            self._progress(self._done, self._begun)

    async def _picture(self, row: Row, trace: Trace, until: float, told: dict[str, Any]) -> bytes:
        """The picture of a row, and in `told` what is known of it. Raises `Ended`."""
        if self._lists.name_url(row.url):
            told["state"] = "screened"
            return b""
        try:
            async with asyncio.timeout_at(until):
                body = await self._fetcher.fetch(row.url, trace)
        except TimeoutError:
            raise Ended("retryable", "deadline", "the time for this part of the rows is over") from None
        if self._lists.name(body) or any(map(self._lists.name_url, trace.hops)):
            told["state"] = "screened"
            return b""
        digests = {name: hashlib.new(name, body, usedforsecurity=False).hexdigest() for name in ("md5", "sha256")}
        told |= {"bytes": len(body)} | digests
        for name, digest in digests.items():
            if getattr(row, name) not in (None, "", digest):
                raise Ended("changed", "changed", f"its {name} is not the one that was promised")
        seen, picture = await self._decoded(body)
        told |= {"state": "ok", "status": "success"} | seen
        return picture

    async def _decoded(self, body: bytes) -> tuple[dict[str, Any], bytes]:
        """While too many bytes wait for a decoder, nothing more is asked."""
        self._waiting += len(body)
        if self._waiting > _WAITING_BYTES:
            self._fetcher.room.clear()
        try:
            return await self._decoders.decode(body)
        finally:
            self._waiting -= len(body)
            if self._waiting <= _WAITING_BYTES:
                self._fetcher.room.set()


def _first_of(several: BaseExceptionGroup) -> BaseException:
    """What made the others stop."""
    first = several.exceptions[0]
    return _first_of(first) if isinstance(first, BaseExceptionGroup) else first
