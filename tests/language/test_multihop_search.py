"""Search engines behind one protocol: documents, HTTP on loopback, and what was recorded."""

import json
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from surefoot.core import SurefootError
from surefoot.language import (
    Document,
    HttpSearch,
    LocalSearch,
    RecordedSearch,
    SearchResult,
    open_search,
    read_documents,
    searxng,
)

Serve = Callable[[int | Callable[[], int], object], str]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """A server on loopback that gives one answer to every query, and its address."""
    servers: list[ThreadingHTTPServer] = []

    def start(status: int | Callable[[], int], told: object) -> str:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                asked = parse_qs(urlsplit(self.path).query)
                answer = told(asked) if callable(told) else told
                body = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
                self.send_response(status() if callable(status) else status)
                if status == 302:
                    self.send_header("Location", "http://127.0.0.1:1/")
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                """Tests print nothing."""

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        servers.append(server)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        return f"http://127.0.0.1:{server.server_port}"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def test_local_search_finds_by_words_and_never_what_shares_none() -> None:
    documents = [
        Document(id=name, text=text) for name, text in [("a", "red fox"), ("b", "red red fox den"), ("c", "blue")]
    ]
    engine = LocalSearch(documents)
    assert [one.source for one in engine.search("fox", 5)] == ["a", "b"]
    assert engine.search("fox", 1)[0].snippet == "red fox"
    assert engine.search("zebra the", 5) == ()
    with pytest.raises(SurefootError, match="no documents"):
        LocalSearch([])


def test_scores_are_those_of_bm25_by_its_formula() -> None:
    import math

    texts = ["a cat sat", "a dog sat down today", "cat cat bird"]
    engine = LocalSearch([Document(id=str(at), text=text) for at, text in enumerate(texts)])
    words = [["cat", "sat"], ["dog", "sat", "down", "today"], ["cat", "cat", "bird"]]
    mean = sum(map(len, words)) / 3

    def score(one: list[str], word: str) -> float:
        found = sum(word in other for other in words)
        frequency = one.count(word)
        idf = math.log(1 + (3 - found + 0.5) / (found + 0.5))
        return idf * frequency / (frequency + 1.5 * (1 - 0.75 + 0.75 * len(one) / mean))

    expected = sorted(range(3), key=lambda at: -(score(words[at], "cat") + score(words[at], "sat")))
    assert [int(one.source) for one in engine.search("cat sat", 3)] == expected


def test_documents_come_from_folders_lines_and_question_files(tmp_path: Path) -> None:
    folder = tmp_path / "docs"
    (folder / "deep").mkdir(parents=True)
    (folder / "deep" / "one.md").write_text("Text one")
    (folder / "two.txt").write_text("Text two")
    (folder / "empty.txt").write_text("")
    (folder / "no.csv").write_text("x")
    assert [(one.id, one.title) for one in read_documents(folder)] == [("deep/one.md", "one"), ("two.txt", "two")]
    lines = tmp_path / "docs.jsonl"
    lines.write_text('{"id": "d1", "contents": "Hello"}\n\n{"title": "T", "text": "World"}\n')
    assert [(one.id, one.text) for one in read_documents(lines)] == [("d1", "Hello"), ("T", "World")]
    question = {"question": "Q?", "answers": ["a"], "documents": [{"id": "d", "text": "t"}, {"id": "d", "text": "t"}]}
    asked = tmp_path / "questions.jsonl"
    asked.write_text(json.dumps(question) + "\n")
    assert [one.id for one in read_documents(asked)] == ["d"]
    lines.write_text('{"text": 5}\n')
    with pytest.raises(SurefootError, match=r"docs.jsonl, line 1: 'text' must be text"):
        read_documents(lines)
    with pytest.raises(SurefootError, match="holds no documents"):
        read_documents(_made(tmp_path / "nothing"))


def _made(place: Path) -> Path:
    place.mkdir()
    return place


def test_searxng_gives_its_answer_first_then_results(serve: Serve) -> None:
    def told(asked: dict[str, list[str]]) -> object:
        assert asked == {"q": ["capital of Chad & co"], "format": ["json"]}
        results = [
            {"title": "Chad", "content": "A country.", "url": "http://x", "engine": "wikipedia"},
            {"title": "Empty", "url": "http://y"},
            {"title": "Lake", "content": "A lake.", "url": "http://z", "engine": "bing"},
        ]
        return {"answers": [{"answer": "N'Djamena"}], "results": results}

    found = searxng(serve(200, told)).search("capital of Chad & co", 2)
    assert found == (
        SearchResult(title="", snippet="N'Djamena"),
        SearchResult(title="Chad", snippet="A country.", url="http://x", source="wikipedia"),
    )


def test_any_engine_by_template_with_a_key_that_is_not_told(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEST_SEARCH_KEY", "sec/ret")

    def told(asked: dict[str, list[str]]) -> object:
        assert asked["key"] == ["sec/ret"]
        return {"web": {"items": [{"name": "T", "text": asked["n"][0], "href": "u"}]}, "box": {"answer": "Box"}}

    url = serve(200, told) + "/s?key=${TEST_SEARCH_KEY}&q={query}&n={k}"
    fields = {"results": "web.items", "title": "name", "snippet": "text", "link": "href", "answers": "box"}
    engine = open_search(url, fields=fields)
    assert [one.snippet for one in engine.search("x", 3)] == ["Box", "3"]
    assert "sec" not in engine.identity
    monkeypatch.delenv("TEST_SEARCH_KEY")
    with pytest.raises(SurefootError, match="TEST_SEARCH_KEY"):
        engine.search("x", 3)


@pytest.mark.parametrize(
    ("status", "told", "message"),
    [
        (403, {}, r"status 403 \(SearXNG: allow json"),
        (302, {}, "status 302"),
        (500, {}, "status 500"),
        (200, b"<html>", "is not JSON that can be read"),
        (200, b" " * (9 << 20), "more than 8 MiB"),
    ],
)
def test_what_an_engine_does_wrong_is_one_sentence(serve: Serve, status: int, told: object, message: str) -> None:
    with pytest.raises(SurefootError, match=message):
        replace(searxng(serve(status, told)), first_wait=0.001).search("x", 1)


@pytest.mark.parametrize(
    ("told", "message"),
    [
        ([], "has no 'results' .it is no object"),
        ({}, "has no 'results' .it has nothing"),
        ({"error": "quota exceeded"}, "has no 'results' .*quota exceeded"),
        ({"results": None}, "has no 'results'"),
        ({"results": {"a": 1}}, "something else than a list as 'results'"),
        ({"results": "x"}, "something else than a list"),
        (
            {"results": [1, None, {"content": None}, {"content": ["x"]}, {"content": " "}]},
            "none of its 5 results a text",
        ),
        ({"results": [], "errors": ["key"]}, "has no results, but an error"),
        ({"results": [], "unresponsive_engines": [["google", "timeout"]]}, "google.*timeout"),
    ],
)
def test_a_failure_that_calls_itself_a_success_is_an_error_and_is_not_kept(
    serve: Serve, tmp_path: Path, told: object, message: str
) -> None:
    file = tmp_path / "searches.jsonl"
    with pytest.raises(SurefootError, match=message):
        RecordedSearch(searxng(serve(200, told)), file=file).search("x", 5)
    assert not file.exists()


def test_nothing_found_is_no_failure(serve: Serve) -> None:
    assert searxng(serve(200, {"results": []})).search("x", 5) == ()
    some = {"results": [{"content": "x"}, {"content": None}], "unresponsive_engines": [["google", "timeout"]]}
    assert [one.snippet for one in searxng(serve(200, some)).search("x", 5)] == ["x"]
    url = serve(200, {"kind": "search"}) + "?q={query}"
    assert open_search(url, fields={"results": "items?"}).search("x", 1) == ()  # Google leaves items out
    assert [one.snippet for one in searxng(serve(200, {"answers": ["A"]})).search("x", 5)] == ["A"]


def test_an_engine_that_fails_for_a_while_is_asked_again(serve: Serve) -> None:
    left = [500, 429, 503]

    def told(_: object) -> object:
        return {"results": [{"content": "at last"}]}

    engine = HttpSearch(url=serve(lambda: left.pop() if left else 200, told) + "?q={query}", snippet="content")
    assert replace(engine, first_wait=0.001).search("x", 1)[0].snippet == "at last"
    assert not left
    left += [500] * 3
    with pytest.raises(SurefootError, match="status 500"):
        replace(engine, first_wait=0.001, retries=1).search("x", 1)


def test_what_was_kept_with_other_fields_is_asked_again(serve: Serve, tmp_path: Path) -> None:
    url = serve(200, {"results": [{"snippet": "short", "text": "long"}]}) + "?q={query}"
    found = [
        RecordedSearch(open_search(url, fields=fields), file=tmp_path / "searches.jsonl").search("x", 1)[0].snippet
        for fields in ({}, {"snippet": "text"}, {})
    ]
    assert found == ["short", "long", "short"]
    assert len((tmp_path / "searches.jsonl").read_text().splitlines()) == 2


@pytest.mark.parametrize(
    "named", ["searxng:", "searxng:localhost:8080", "searxng:http://", "http://me:secret@host/?q={query}", "http://["]
)
def test_an_address_that_is_none_or_holds_a_password_is_refused_without_it(named: str) -> None:
    with pytest.raises(SurefootError) as error:
        open_search(named)
    assert "secret" not in str(error.value)
    assert "earch engine" in str(error.value)


def test_a_name_that_leads_into_a_private_network_is_refused_unless_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    def inside(host: str, port: object) -> list[tuple[object, ...]]:
        return [(socket.AF_INET, 1, 6, "", ("10.1.2.3", 0))]

    monkeypatch.setattr(socket, "getaddrinfo", inside)
    with pytest.raises(SurefootError, match=r"private network \(10.1.2.3\).*--private"):
        searxng("http://search.example").search("x", 1)
    monkeypatch.undo()
    with pytest.raises(SurefootError, match="cannot be asked"):  # the address itself was named
        HttpSearch(url="http://127.0.0.1:1/?q={query}", timeout=2, first_wait=0.001).search("x", 1)


def test_a_record_answers_again_without_its_engine_and_survives_a_torn_line(tmp_path: Path) -> None:
    class Counted:
        identity = "counted"
        asked = 0

        def search(self, query: str, k: int) -> tuple[SearchResult, ...]:
            self.asked += 1
            return (SearchResult(title=query, snippet=str(k)),)

    file, engine = tmp_path / "searches.jsonl", Counted()
    recorded = RecordedSearch(engine, file=file)
    assert recorded.search("a", 1) == recorded.search("a", 1)
    recorded.search("a", 2)
    recorded.search("b", 1)
    assert engine.asked == 3
    file.write_bytes(file.read_bytes()[:-9])  # killed while it wrote
    again = RecordedSearch(engine, file=file)
    again.search("a", 2)
    assert engine.asked == 3
    again.search("b", 1)
    assert engine.asked == 4
    alone = RecordedSearch(file=file, identity="counted")
    assert alone.search("b", 1)[0].title == "b"
    with pytest.raises(SurefootError, match="No results of counted for 'c'"):
        alone.search("c", 1)


def test_an_engine_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SurefootError, match=r"needs \{query\}"):
        open_search("http://example.com/")
    with pytest.raises(SurefootError, match="'colour' is no field"):
        open_search("http://example.com/{query}", fields={"colour": "x"})
    with pytest.raises(SurefootError, match="no file"):
        open_search(str(tmp_path / "nothing"))
