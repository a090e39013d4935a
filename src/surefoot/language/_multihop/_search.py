"""Search engines behind one protocol: documents of the user, an engine over HTTP, and what was recorded of either."""

import ipaddress
import json
import os
import re
import socket
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Protocol, cast
from urllib.parse import quote

import numpy as np

from surefoot.core import SurefootError, digest_of, missing_module
from surefoot.language._clients._open import web_address
from surefoot.language._multihop._questions import Document, document_of, read_multihop
from surefoot.language._unpacked import Row, json_of, rows_of, unpacked

AT_ONCE = 4
LARGEST = 8 << 20
_TEXTS = (".txt", ".md")
_FIELDS = ("results", "title", "snippet", "link", "source", "answers")


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


class SearchEngine(Protocol):
    """Whatever can be searched; `identity` says what its results depend on beside the query."""

    @property
    def identity(self) -> str:
        """The engine, and the digest of its documents or the address that it asks."""
        ...

    def search(self, query: str, k: int) -> tuple[SearchResult, ...]:
        """At most `k` results, the best first. Raises `SurefootError` where the engine cannot be asked."""
        ...


def search_all(engine: SearchEngine, queries: Sequence[Query]) -> list[tuple[SearchResult, ...]]:
    """The results of each query; a few are asked at once, equal ones only once."""
    different = list(dict.fromkeys(queries))
    with ThreadPoolExecutor(AT_ONCE) as pool:
        found = dict(zip(different, pool.map(lambda one: engine.search(one.text, one.k), different), strict=True))
    return [found[query] for query in queries]


class LocalSearch:
    """BM25 over documents (Lucene's variant, k1 1.5, b 0.75; English stop words). Ties go to the earlier document."""

    def __init__(self, documents: Sequence[Document], *, name: str = "documents") -> None:
        try:
            import bm25s
        except ImportError as error:
            raise missing_module("bm25s") from error
        if not documents:
            raise SurefootError(f"{name} holds no documents to search.")
        self.identity = f"bm25 {name}, {len(documents)} documents"
        self._documents = documents
        texts = [f"{one.title}\n{one.text}" for one in documents]
        self._index = bm25s.BM25()
        self._index.index(_tokens(texts), show_progress=False)

    def search(self, query: str, k: int) -> tuple[SearchResult, ...]:
        """The `k` documents of the highest scores; those that share no word with the query are none."""
        words = [word for word in dict.fromkeys(_tokens([query])[0]) if word in self._index.vocab_dict]
        if not words:
            return ()
        scores = self._index.get_scores(words)
        best = [int(at) for at in np.argsort(-scores, kind="stable")[:k] if scores[at] > 0]
        found = [self._documents[at] for at in best]
        return tuple(SearchResult(title=one.title, snippet=one.text, source=one.id) for one in found)


def _tokens(texts: list[str]) -> list[list[str]]:
    import bm25s

    return cast(list[list[str]], bm25s.tokenize(texts, stopwords="en", return_ids=False, show_progress=False))


def read_documents(path: Path) -> list[Document]:
    """The documents of a folder (each .txt and .md file is one), of JSON lines (`text` or `contents`, `id`, `title`),
    or those that a file of questions gives: a fixed corpus. Raises `SurefootError` for what holds none."""
    if path.is_dir() or path.suffix.lower() in _TEXTS:
        inside = sorted(path.rglob("*")) if path.is_dir() else [path]
        files = [file for file in inside if file.suffix.lower() in _TEXTS and file.is_file() and file.stat().st_size]
        texts = {file: unpacked(file).decode("utf-8", "replace").strip() for file in files}
        ids = {file: file.relative_to(path).as_posix() if file != path else path.name for file in files}
        found = [Document(id=ids[file], title=file.stem, text=text) for file, text in texts.items()]
    else:
        data = unpacked(path)
        first = data.lstrip().split(b"\n", 1)[0]
        if first.startswith(b"{") and b'"question"' not in first and b'"Question"' not in first:
            found = [document_of(row) for row in rows_of(data, str(path))]
        else:
            given = [one for question in read_multihop(path).questions for one in question.documents]
            found = list({one.id: one for one in given}.values())
    if not found:
        raise SurefootError(f"{path} holds no documents: expected .txt or .md files, or JSON lines with 'text'.")
    return found


class PassingError(SurefootError):
    """A search engine failed in a way that may pass."""


@dataclass(frozen=True, kw_only=True)
class HttpSearch:
    """A search engine over HTTP that answers with JSON.

    `url` holds {query} and may hold {k} and, for keys, ${NAME} of an environment variable, which is not recorded.
    `results` is the path to the list of results ("web.results"), `title`, `snippet`, `link` and `source` the names in
    each; `answers` is the path to an answer that the engine gives itself, a text, an object or a list of them, which
    then is the first result. An address in a private network is asked only where the URL names it as a number or as
    localhost, or with `private`; redirects are not followed. After status 429, 408, 5xx or a lost connection it is
    asked `retries` times more, after `first_wait` seconds, then twice as long. A path of results that ends in "?" may
    be missing where nothing is found. Raises `SurefootError` for a URL that is none or holds a user or a password.
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
    retries: int = 4
    first_wait: float = 0.5

    def __post_init__(self) -> None:
        parts = web_address(self.url, "The address of the search engine")
        if "@" in re.sub(r"\$\{\w+\}(:\$\{\w+\})?@", "", parts.netloc):
            raise SurefootError(
                f"The URL of the search engine at {parts.netloc.rpartition('@')[2]} holds a user or a password, which "
                "would be recorded: name environment variables in their place, as ${NAME}."
            )

    @property
    def identity(self) -> str:
        """The URL with its place holders, and the names by which its answers are read."""
        return f"http {self.url} " + ",".join(f"{name}={getattr(self, name)}" for name in _FIELDS)

    def search(self, query: str, k: int) -> tuple[SearchResult, ...]:
        """Ask, and read what came. Raises `SurefootError` for every failure, also for one that calls itself a success:
        an answer without the results, or with an error in the place of them."""
        told = _asked(self, _filled(self.url, query, k))
        own, listed = _at(told, self.answers) if self.answers else None, _at(told, self.results.removesuffix("?"))
        found = self._read(own if isinstance(own, list) else [own], ("answer", self.snippet))
        if listed is None and (found or self.results.endswith("?")):
            listed = []
        if not isinstance(listed, list):
            what = "has no" if listed is None else "has something else than a list as"
            there = f"it has {', '.join(told)[:200] or 'nothing'}" if isinstance(told, dict) else "it is no object"
            raise self._failed(f"{what} '{self.results}' ({there}){_error_in(told)}; --search-fields names the place")
        found += self._read(listed, (self.snippet,))
        if not found and listed:
            raise self._failed(f"gives none of its {len(listed)} results a text '{self.snippet}'")
        if not found and _error_in(told):
            raise self._failed(f"has no results{_error_in(told)}")
        return tuple(found[:k])

    def _read(self, given: Sequence[object], names: Sequence[str]) -> list[SearchResult]:
        """Those that have a text, under the first of the names that has one."""
        rows = [one if isinstance(one, dict) else {names[0]: one} for one in given]
        texts = [[_text(row.get(name)) for name in (self.title, self.link, self.source)] for row in rows]
        snippets = [next(filter(None, (_text(row.get(name)) for name in names)), "") for row in rows]
        return [
            SearchResult(title=title, snippet=snippet, url=link, source=source)
            for (title, link, source), snippet in zip(texts, snippets, strict=True)
            if snippet
        ]

    def _failed(self, what: str) -> SurefootError:
        return SurefootError(f"The answer of the search engine {self.url} {what}. Nothing of it is kept.")


def _text(value: object) -> str:
    return value.strip() if isinstance(value, str) else ""


def _error_in(told: object) -> str:
    """What an answer says of its own failure; SearXNG names engines that did not respond. '' where it says nothing."""
    names = ("error", "errors", "unresponsive_engines")
    said = [told[name] for name in names if told.get(name)] if isinstance(told, dict) else []
    return f", but an error: {json.dumps(said[0], ensure_ascii=False)[:200]}" if said else ""


def searxng(address: str, *, private: bool = False) -> HttpSearch:
    """A SearXNG instance by its address, which must offer JSON (`search.formats` in its settings)."""
    url = f"{address.rstrip('/')}/search?q={{query}}&format=json"
    return HttpSearch(url=url, snippet="content", source="engine", answers="answers", private=private)


def _asked(engine: HttpSearch, url: str) -> object:
    """The JSON at a URL, after as many tries as the engine allows."""
    for tried in range(engine.retries + 1):
        try:
            return _fetched(engine, url)
        except PassingError:
            if tried == engine.retries:
                raise
        time.sleep(engine.first_wait * 2**tried)
    raise AssertionError


def _at(told: object, path: str) -> object:
    for name in path.split("."):
        told = told.get(name) if isinstance(told, dict) else None
    return told


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
        kind = PassingError if isinstance(error, httpx.TransportError) else SurefootError
        raise kind(f"The search engine {engine.url} cannot be asked: {said}.") from None
    if status != 200:
        hint = " (SearXNG: allow json in search.formats)" if status == 403 else ""
        kind = PassingError if status in (408, 429) or status >= 500 else SurefootError
        raise kind(f"The search engine {engine.url} answered with status {status}{hint}.")
    return json_of(data, f"The answer of the search engine {engine.url}")


def _check_address(host: str, engine: HttpSearch) -> None:
    """Refuse a host whose name leads into a private network, unless the user wrote the address itself or allows it."""
    named = host == "localhost" or re.fullmatch(r"[0-9.]+|.*:.*", host) is not None
    if engine.private or named:
        return
    found = {str(one[4][0]).partition("%")[0] for one in socket.getaddrinfo(host, None)}
    inside = sorted(one for one in found if not ipaddress.ip_address(one).is_global)
    if inside:
        where = f"The search engine {engine.url} lies in a private network ({inside[0]})"
        raise SurefootError(f"{where}: to ask it all the same, add --private.")


class RecordedSearch:
    """What an engine found: nothing is asked twice, and without an engine only what is known is answered.

    With a `file` each answer is a line of it as soon as it comes, so that a run that was killed goes on; one file may
    hold several engines and numbers of results.
    """

    def __init__(
        self,
        engine: SearchEngine | None = None,
        *,
        file: Path | None = None,
        known: Mapping[Query, tuple[SearchResult, ...]] | None = None,
        identity: str = "",
    ) -> None:
        self.identity = engine.identity if engine else identity
        self._engine, self._file = engine, file
        self._known = {(self.identity, one.text, one.k): found for one, found in (known or {}).items()}
        if file and file.exists():
            os.truncate(file, file.read_bytes().rfind(b"\n") + 1)  # half a line of a killed run is asked again
            if file.stat().st_size:
                self._known |= dict(map(read_search, rows_of(unpacked(file), str(file))))

    def search(self, query: str, k: int) -> tuple[SearchResult, ...]:
        """What is known, else what the engine says. Raises `SurefootError` where neither knows."""
        key = (self.identity, query, k)
        if key not in self._known:
            if self._engine is None:
                raise SurefootError(f"No results of {self.identity} for '{query[:80]}' were recorded.")
            self._known[key] = self._engine.search(query, k)
            if self._file:
                line = search_line(*key, self._known[key]).encode()
                with self._file.open("ab", buffering=0) as stream:  # one write a line: others may append, too
                    stream.write(line)
                    os.fsync(stream.fileno())
        return self._known[key]


def search_line(engine: str, query: str, k: int, found: Sequence[SearchResult]) -> str:
    """A query and its results as a line of JSON."""
    told = {"engine": engine, "query": query, "k": k, "results": [asdict(one) for one in found]}
    return json.dumps(told, ensure_ascii=False) + "\n"


def read_search(row: Row) -> tuple[tuple[str, str, int], tuple[SearchResult, ...]]:
    """What `search_line` wrote: (engine, query, k), and the results."""
    names = [one.name for one in fields(SearchResult)]
    results = [SearchResult(**{name: one.text(name, "") for name in names}) for one in row.rows("results", "a result")]
    return (row.text("engine"), row.text("query"), row.whole("k")), tuple(results)


def open_search(named: str, *, private: bool = False, fields: Mapping[str, str] | None = None) -> SearchEngine:
    """The engine that a user names.

    A folder or a file of documents (see `read_documents`), "searxng:" and the address of an instance, or a URL with
    {query} of an engine that answers with JSON, whose `fields` are those of `HttpSearch`.
    """
    if named.startswith("searxng:"):
        return searxng(named.removeprefix("searxng:").strip(), private=private)
    if named.startswith(("http://", "https://")):
        wrong = [name for name in fields or {} if name not in _FIELDS]
        if wrong or "{query}" not in named:
            said = f"'{wrong[0]}' is no field of it: there is {', '.join(_FIELDS)}" if wrong else "it needs {query}"
            raise SurefootError(f"The search engine {named.partition('?')[0].rpartition('@')[2]}: {said}.")
        return replace(HttpSearch(url=named, private=private), **(fields or {}))
    path = Path(named)
    return LocalSearch(read_documents(path), name=f"{path.name} {digest_of(path)[:12]}")
