"""The search server: one set, on loopback, for one's own browser and for clients of clip-retrieval."""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from dataclasses import asdict, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from surefoot.core import SurefootError
from surefoot.pairs._download._address import Ended
from surefoot.pairs._download._decoders import Decoders
from surefoot.pairs._search._pictures import picture_of, plain, shard_of
from surefoot.pairs._search._query import as_opened
from surefoot.pairs._search._where import write_rows
from surefoot.pairs._serve._ask import PairSet, answer, read_ask, read_client, read_ids, rows_by_id

LARGEST_BODY = 16 << 20
_PAGE = Path(__file__).with_name("page")
_KINDS = {"page.html": "text/html", "page.css": "text/css", "page.js": "text/javascript"}
_LOOPBACK = re.compile(r"(localhost|127\.0\.0\.1|\[::1\])(:\d{1,5})?")
_DECODED = {"size": 384, "resize": "keep_ratio", "quality": 90, "exact": False, "most": 89_478_484}
_HEADERS = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff", "referrer-policy": "no-referrer", "cache-control": "no-cache",
    "cross-origin-resource-policy": "same-origin",
}  # fmt: skip
_T = TypeVar("_T")


class _RefusedError(SurefootError):
    def __init__(self, status: int, text: str) -> None:
        self.args, self.status = (text,), status


def search_app(pairs: PairSet, style: str) -> Starlette:
    """The application: the page at `/`, its API below `/api/`, and `/knn-service`, `/metadata`, `/indices-list`.

    Nothing is fetched from anywhere; pictures are decoded in programs of their own. A wrong question has one sentence
    and a status of 400 to 499.
    """
    server = _Server(pairs)
    files = {name: (_PAGE / name).read_text(encoding="utf-8") for name in _KINDS}
    files["page.css"] = style + files["page.css"]

    def page(request: Request) -> Response:
        name = request.path_params.get("name", "page.html")
        if name not in files:
            raise _RefusedError(404, "There is no such page.")
        return Response(files[name], media_type=_KINDS[name])

    told = {"/api/about": _about(pairs), "/indices-list": [pairs.name]}
    gets = {"/": page, "/page/{name}": page, "/thumbnail/{id:int}": server.thumbnail} | {
        path: lambda request, known=known: JSONResponse(known) for path, known in told.items()
    }
    posts = {"/api/search": server.search, "/api/export/{form}": server.export, "/knn-service": server.knn,
             "/metadata": server.metadata}  # fmt: skip
    routes = [Route(path, one, methods=["GET"]) for path, one in gets.items()]
    routes += [Route(path, one, methods=["POST"]) for path, one in posts.items()]
    guard, said = Middleware(BaseHTTPMiddleware, dispatch=_guard), {SurefootError: _say}
    return Starlette(routes=routes, middleware=[guard], exception_handlers=said, lifespan=server.running)


def _about(pairs: PairSet) -> dict[str, Any]:
    told, safe = pairs.index.told, {"columns": [name for name, _ in pairs.safe_by], "threshold": pairs.threshold}
    known = {"name": pairs.name, "rows": told.rows, "model": told.model.get("model"), "dimension": told.dimension}
    return known | {"facets": [asdict(facet) for facet in pairs.facets], "safe": safe}


def _say(request: Request, error: Exception) -> Response:
    text, status = str(error).encode("utf-8", "replace").decode(), getattr(error, "status", 400)
    # ClipClient passes on whatever is JSON as results: what is none is an error there.
    client = request.url.path in ("/knn-service", "/metadata")
    return PlainTextResponse(text, status) if client else JSONResponse({"error": text}, status)


async def _guard(request: Request, go_on: Callable[[Request], Awaitable[Response]]) -> Response:
    """Only our own page may ask: a page of another site may know the port, or give its own name our address."""
    given = request.headers
    host = given.get("host", "")
    own = _LOOPBACK.fullmatch(host) and given.get("origin", f"http://{host}") == f"http://{host}"
    foreign = given.get("sec-fetch-site") in ("cross-site", "same-site") and given.get("sec-fetch-mode") != "navigate"
    if not own or foreign:
        text = "This server answers its own page at localhost, and programs of this machine, alone."
        return JSONResponse({"error": text}, 403)
    response = await go_on(request)
    for name, value in _HEADERS.items():
        response.headers.setdefault(name, value)
    return response


class _Server:
    def __init__(self, pairs: PairSet) -> None:
        self._pairs = pairs
        self._thread = ThreadPoolExecutor(1)  # the tables and the model are used by one at a time

    @asynccontextmanager
    async def running(self, app: Starlette) -> AsyncIterator[None]:
        self._decoders = Decoders(2, _DECODED)
        await self._decoders.check()
        yield
        self._decoders.close()
        self._thread.shutdown(cancel_futures=True)

    async def search(self, request: Request) -> Response:
        begun = time.perf_counter()
        found, matching, hidden = await self._answer(await _told(request, read_ask))
        results = [{"id": one.id, "score": one.score, "folded": one.folded, "row": plain(one.row)} for one in found]
        took = round(1000 * (time.perf_counter() - begun), 1)
        return JSONResponse({"results": results, "matching": matching, "hidden": hidden, "milliseconds": took})

    async def export(self, request: Request) -> Response:
        form = request.path_params["form"]
        if form not in ("npy", "parquet", "tar"):
            raise _RefusedError(404, "A result is exported as npy, parquet or tar.")
        found, *_ = await self._answer(await _told(request, read_ask))
        if not found:
            raise SurefootError("There is no result to export.")
        headers = {"content-disposition": f'attachment; filename="subset.{form}"'}
        if form == "tar":
            return StreamingResponse(
                shard_of(self._pictured([one.row for one in found])), 200, headers, "application/x-tar"
            )
        data = await self._apart(_table, self._pairs, [one.id for one in found], form)
        return Response(data, 200, headers, "application/octet-stream")

    async def thumbnail(self, request: Request) -> Response:
        number = request.path_params["id"]
        try:
            row = (await self._apart(rows_by_id, self._pairs, [min(number, 1 << 62)], "root, picture"))[number]
            picture = await self._decoded(await asyncio.to_thread(picture_of, row, self._pairs.pictures))
        except (SurefootError, KeyError) as error:
            raise _RefusedError(404, f"There is no thumbnail of row {number}: {error}") from None
        return Response(picture, media_type="image/jpeg", headers={"cache-control": "private, max-age=3600"})

    async def knn(self, request: Request) -> Response:
        ask, shown = await _told(request, read_client)
        found, *_ = await self._answer(ask)
        rows = [_for_client(one.row) if place < shown else {} for place, one in enumerate(found)]
        listed = zip(rows, found, strict=True)
        return JSONResponse([row | {"id": one.id, "similarity": one.score} for row, one in listed])

    async def metadata(self, request: Request) -> Response:
        ids = await _told(request, read_ids)
        rows = await self._apart(rows_by_id, self._pairs, ids)
        return JSONResponse([{"id": one, "metadata": _for_client(rows[one])} for one in ids if one in rows])

    async def _apart(self, work: Callable[..., _T], *given: Any) -> _T:
        def safely() -> _T:
            with as_opened(self._pairs.index):
                return work(*given)

        return await asyncio.get_running_loop().run_in_executor(self._thread, safely)

    async def _answer(self, ask: Any) -> Any:
        """Pictures of strangers are decoded apart, and go on as JPEG of our own."""
        pictures = [await self._decoded(one) for one in ask.images]
        return await self._apart(answer, self._pairs, replace(ask, images=tuple(pictures)))

    async def _decoded(self, data: bytes) -> bytes:
        try:
            return (await self._decoders.decode(data))[1]
        except Ended as ended:
            raise SurefootError(f"The picture cannot be used: {ended.reason} ({ended.detail}).") from None

    def _pictured(self, rows: list[Mapping[str, Any]]) -> Iterator[tuple[Mapping[str, Any], bytes]]:
        """Rows with their pictures; one whose picture is not there has none."""
        for row in rows:
            picture = b""
            with suppress(SurefootError):
                picture = picture_of(row, self._pairs.pictures)
            yield row, picture


def _table(pairs: PairSet, ids: list[int], form: str) -> bytes:
    with TemporaryDirectory() as folder:
        file = Path(folder, f"subset.{form}")
        write_rows(pairs.index.rows, f"id IN ({', '.join(map(str, ids))})", file)
        return file.read_bytes()


def _for_client(row: Mapping[str, Any]) -> dict[str, Any]:
    return {"caption" if name == "text" else name: value for name, value in plain(row).items() if name != "id"}


async def _told(request: Request, read: Callable[[object], _T]) -> _T:
    """What the body says, read by `read`."""
    body = bytearray()
    async for piece in request.stream():
        body += piece
        if len(body) > LARGEST_BODY:
            raise _RefusedError(413, f"A question has at most {LARGEST_BODY >> 20} MiB.")
    try:
        told = json.loads(body, parse_constant=_refused)
    except (ValueError, RecursionError) as error:
        raise SurefootError(f"The question is no JSON: {error!s:.80}.") from None
    return read(told)


def _refused(name: str) -> None:
    raise ValueError(f"{name} is no number of JSON")
