"""Search engines over HTTP: one GET of JSON from an address that a user named, and from no other."""

import ipaddress
import os
import re
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import quote

from surefoot.core import SurefootError, missing_module
from surefoot.language._unpacked import json_of

LARGEST = 8 << 20


@dataclass(frozen=True, kw_only=True)
class SearchResult:
    """What was found: `source` is the document's id, or the engine that an HTTP service names; `url` may be ''."""

    title: str
    snippet: str
    url: str = ""
    source: str = ""


@dataclass(frozen=True)
class Query:
    """What a strategy wants to know from the search engine, and how many results it can use."""

    text: str
    k: int


@dataclass(frozen=True, kw_only=True)
class HttpSearch:
    """A search engine over HTTP that answers with JSON.

    `url` holds {query} and may hold {k} and, for keys, ${NAME} of an environment variable, which is not recorded.
    `results` is the path to the list of results ("web.results"), `title`, `snippet`, `link` and `source` the names in
    each; `answers` is the path to an answer that the engine gives itself, a text, an object or a list of them, which
    then is the first result. An address in a private network is asked only where the URL names it as a number or as
    localhost, or with `private`; redirects are not followed.
    """

    url: str
    results: str = "results"
    title: str = "title"
    snippet: str = "snippet"
    link: str = "url"
    source: str = "source"
    answers: str = ""
    private: bool = False
    timeout: float = 30.0

    @property
    def identity(self) -> str:
        """The URL with its place holders."""
        return f"http {self.url}"

    def search(self, query: str, k: int) -> tuple[SearchResult, ...]:
        """Ask, and read what came. Raises `SurefootError` for every failure; nothing is tried twice."""
        told = _fetched(self, _filled(self.url, query, k))
        own = _at(told, self.answers) if self.answers else None
        found = [self._result(one) for one in (*_listed(own), *_listed(_at(told, self.results)))]
        return tuple(one for one in found if one.snippet)[:k]

    def _result(self, told: object) -> SearchResult:
        row = told if isinstance(told, dict) else {"answer": told}
        snippet = row.get("answer") or row.get(self.snippet) or ""
        texts = [str(row.get(name) or "") for name in (self.title, self.link, self.source)]
        return SearchResult(title=texts[0], snippet=str(snippet), url=texts[1], source=texts[2])


def searxng(address: str, *, private: bool = False) -> HttpSearch:
    """A SearXNG instance by its address, which must offer JSON (`search.formats` in its settings)."""
    url = f"{address.rstrip('/')}/search?q={{query}}&format=json"
    return HttpSearch(url=url, snippet="content", source="engine", answers="answers", private=private)


def _at(told: object, path: str) -> object:
    for name in path.split("."):
        told = told.get(name) if isinstance(told, dict) else None
    return told


def _listed(told: object) -> Sequence[object]:
    return told if isinstance(told, list) else [] if told is None else [told]


def _filled(template: str, query: str, k: int) -> str:
    """The URL with the query, the number of results, and the values of environment variables."""

    def value(found: re.Match[str]) -> str:
        if found[1] not in os.environ:
            raise SurefootError(f"The variable {found[1]}, which the URL of the search engine names, is not set.")
        return quote(os.environ[found[1]], safe="")

    url = re.sub(r"\$\{(\w+)\}", value, template)
    return url.replace("{query}", quote(query, safe="")).replace("{k}", str(k))


def _fetched(engine: HttpSearch, url: str) -> object:
    """The JSON at a URL. Raises `SurefootError`, without the keys in the URL, for whatever goes wrong."""
    try:
        import httpx
    except ImportError as error:
        raise missing_module("httpx") from error
    try:
        _check_address(httpx.URL(url).host, engine)
        with httpx.stream("GET", url, timeout=engine.timeout, headers={"Accept": "application/json"}) as answer:
            status, data = answer.status_code, b""
            for part in answer.iter_bytes():
                data += part
                if len(data) > LARGEST:
                    raise SurefootError(f"The search engine {engine.url} sent more than {LARGEST >> 20} MiB.")
    except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
        said = str(error).split(" for url", 1)[0] or type(error).__name__
        raise SurefootError(f"The search engine {engine.url} cannot be asked: {said}.") from None
    if status != 200:
        hint = " (SearXNG: allow json in search.formats)" if status == 403 else ""
        raise SurefootError(f"The search engine {engine.url} answered with status {status}{hint}.")
    return json_of(data, f"The answer of the search engine {engine.url}")


def _check_address(host: str, engine: HttpSearch) -> None:
    """Refuse a host whose name leads into a private network, unless the user wrote the address itself or allows it."""
    named = host == "localhost" or re.fullmatch(r"[0-9.]+|.*:.*", host) is not None
    if engine.private or named:
        return
    found = {str(one[4][0]).partition("%")[0] for one in socket.getaddrinfo(host, None)}
    inside = sorted(one for one in found if not ipaddress.ip_address(one).is_global)
    if inside:
        raise SurefootError(
            f"The search engine {engine.url} lies in a private network ({inside[0]}): to ask it all the same, add "
            "--private."
        )
