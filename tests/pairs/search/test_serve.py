"""The search page and its API: what is found, what is refused, and how it looks to a browser."""

import base64
import io
import json
import os
import socket
import tarfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow
import pyarrow.parquet as pq
import pytest
from PIL import Image

from surefoot.pairs import (
    PairEncoder,
    RemovalRequest,
    build_index,
    embed_pairs,
    open_index,
    remove_pairs,
    search_pairs,
    search_server,
)
from surefoot.pairs._search._pictures import picture_of
from surefoot.pairs._serve._facets import safe_condition
from surefoot.report import page_style

Png = Callable[..., bytes]
EVIL = "<img src=x onerror=\"document.title='owned'\">"
COLOURS = ("red", "green", "blue", "white")


@dataclass
class Served:
    """A running server, asked over a connection of its own each time."""

    port: int

    def ask(
        self, path: str, told: object = None, headers: dict[str, str] | None = None, body: bytes | None = None
    ) -> tuple[int, Any, dict[str, str]]:
        line = HTTPConnection("127.0.0.1", self.port, timeout=30)
        data = body if body is not None else None if told is None else json.dumps(told).encode()
        line.request("GET" if data is None else "POST", path, data, headers or {})
        answer = line.getresponse()
        content, kind = answer.read(), answer.headers.get("content-type", "")
        line.close()
        return answer.status, json.loads(content) if "json" in kind else content, dict(answer.headers.items())

    def found(self, **told: object) -> list[dict[str, Any]]:
        status, said, _ = self.ask("/api/search", told)
        assert status == 200, said
        return said["results"]


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory, png: Png) -> Path:
    """Two shards with rows beside them: four colours, sizes, languages, marks of safety, hostile texts and places."""
    place = tmp_path_factory.mktemp("shards")
    for number in range(2):
        rows = []
        with tarfile.open(place / f"part-0000{number}.tar", "w") as tar:
            for at in range(12):
                key, colour = f"{number:05d}{at:06d}", COLOURS[at % 4]
                data = png(colour, (40 + at, 30), seed=100 * number + at // 8 if at % 8 < 4 else 50 + at + number)
                member = tarfile.TarInfo(f"{key}.png")
                member.size = len(data)
                tar.addfile(member, io.BytesIO(data))
                rows.append({
                    "key": key, "url": f"https://example.org/{key}.png" if at else f"javascript:alert({number})",
                    "text": EVIL if at == 1 else f"a {colour} thing", "language": ("en", "de", None)[at % 3],
                    "license": "CC0", "punsafe": [0.1, 0.9, None, 0.2][at % 4],
                    "violent_text": at == 4, "toxicity": number * (at == 3), "intoxicated": 0.9,
                    "tag nsfw \"x\"": at / 10,
                })  # fmt: skip
        pq.write_table(pyarrow.Table.from_pylist(rows), place / f"part-0000{number}.parquet")
    return place


@pytest.fixture(scope="module")
def served(shards: Path, colour_model: PairEncoder, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    place = tmp_path_factory.mktemp("set")
    embed_pairs(shards, place / "embedded", colour_model)
    build_index(place / "embedded", place / "index")
    with open_index(place / "index") as index, socket.create_server(("127.0.0.1", 0)) as line:
        server = search_server("my set", index, colour_model, pictures=shards, style=page_style())
        thread = threading.Thread(target=server.run, args=([line],))
        thread.start()
        while not server.started:
            time.sleep(0.01)
        yield Served(line.getsockname()[1])
        server.should_exit = True
        thread.join()


def words(results: list[dict[str, Any]]) -> list[str]:
    return [one["row"]["text"] for one in results]


def test_texts_pictures_urls_and_rows_are_mixed_and_kept_away_from(served: Served, png: Png) -> None:
    assert words(served.found(texts=["blue"], k=6, fold=None, safe=False)) == ["a blue thing"] * 6
    picture = base64.b64encode(png("white")).decode()
    assert words(served.found(images=[picture], k=4, fold=None, safe=False)) == ["a white thing"] * 4
    own = served.found(urls=["https://example.org/00001000006.png"], k=1, safe=False)[0]
    assert own["row"]["text"] == "a blue thing" and own["score"] > 0.999
    assert served.found(ids=[own["id"]], k=1, safe=False)[0]["score"] > 0.999
    mixed = served.found(texts=["red"], images=[base64.b64encode(png("blue")).decode()], k=24, safe=False, fold=None)
    near = served.found(texts=["red"], k=24, safe=False, fold=None)
    assert mixed[0]["score"] < near[0]["score"]
    away = served.found(texts=["white"], without=["red"], k=24, safe=False, fold=None)
    scores = {one["row"]["text"]: one["score"] for one in away}
    assert scores["a red thing"] < min(scores["a blue thing"], scores[EVIL])


def test_safe_mode_is_on_and_hides_what_is_unsafe_or_not_judged(served: Served) -> None:
    """Of every four rows one is unsafe and one not judged; another column leaves those up to 0.5; 3 are harmful."""
    status, said, _ = served.ask("/api/search", {"texts": ["red"], "k": 24, "fold": None})
    assert status == 200
    shown = [one["row"] for one in said["results"]]
    assert all(row["punsafe"] <= 0.5 and row['tag nsfw "x"'] <= 0.5 for row in shown)
    assert (len(shown), said["matching"], said["hidden"]) == (3, 24, 21)
    assert len(served.found(texts=["red"], k=24, fold=None, safe=False)) == 24


def test_numbers_of_a_csv_file_are_judged_as_numbers() -> None:
    """They are texts there: none of them is a word that says safe, and all rows would be hidden."""
    texts = ["0.2", "0.5", "0.51", "UNLIKELY", "LIKELY", "nan", "", None]
    with duckdb.connect() as connection:
        for kind, values in (("VARCHAR", texts), ("BOOLEAN", [False, True, None])):
            connection.execute(f"CREATE OR REPLACE TABLE rows AS SELECT unnest(?)::{kind} AS unsafe", [values])
            asked = f"SELECT unsafe FROM rows WHERE {safe_condition([('unsafe', kind)], 0.5)}"
            found = [one for (one,) in connection.execute(asked).fetchall()]
            assert found == (["0.2", "0.5", "UNLIKELY"] if kind == "VARCHAR" else [False])


def test_facets_narrow_to_k_results_where_there_are_k(served: Served) -> None:
    _, about, _ = served.ask("/api/about")
    facets = {one["column"]: one for one in about["facets"]}
    assert facets["language"]["values"] == [["de", 8], ["en", 8], [None, 8]]
    assert (facets["width"]["low"], facets["width"]["high"]) == (40, 51)
    assert not {"key", "id", "root"} & facets.keys()  # of a key every value differs
    found = served.found(texts=["red"], facets={"language": {"is": ["de", None]}, "width": {"min": 44, "max": 47.5}},
                         safe=False, fold=None)  # fmt: skip
    assert [one["row"]["language"] for one in found].count(None) == 2 and len(found) == 6
    assert all(one["row"]["language"] in ("de", None) and 44 <= one["row"]["width"] <= 47 for one in found)
    assert found[:4] == served.found(texts=["red"], safe=False, fold=None, k=4, facets={
        "language": {"is": ["de", None]}, "width": {"min": 44, "max": 47.5}})  # fmt: skip
    quoted = {'tag nsfw "x"': {"max": 0.05}, "text": {"is": ["a red thing", "it's"]}}
    assert len(served.found(texts=["red"], facets=quoted, safe=False, fold=None)) == 2
    unfolded = served.found(texts=["red"], k=24, safe=False, fold=None)
    folded = served.found(texts=["red"], k=24, safe=False)
    assert len(folded) < len(unfolded) == len(folded) + sum(len(one["folded"]) for one in folded)


def test_a_result_is_exported_as_uids_rows_and_a_shard_that_can_be_embedded(
    served: Served, shards: Path, colour_model: PairEncoder, tmp_path: Path
) -> None:
    told = {"texts": ["blue"], "k": 5, "safe": False, "fold": None}
    uids = [one["row"]["uid"] for one in served.found(**told)]
    status, npy, headers = served.ask("/api/export/npy", told)
    assert (status, headers["content-disposition"]) == (200, 'attachment; filename="subset.npy"')
    kept = np.load(io.BytesIO(npy))
    assert kept.dtype == np.dtype("u8,u8") and [f"{a:016x}{b:016x}" for a, b in kept] == sorted(uids)
    _, rows, _ = served.ask("/api/export/parquet", told)
    assert set(pq.read_table(io.BytesIO(rows))["uid"].to_pylist()) == set(uids)
    _, shard, _ = served.ask("/api/export/tar", told)
    (tmp_path / "shards").mkdir()
    (tmp_path / "shards" / "subset.tar").write_bytes(shard)
    again = embed_pairs(tmp_path / "shards", tmp_path / "out", colour_model)
    assert again.kept == 5
    with tarfile.open(tmp_path / "shards" / "subset.tar") as tar, tarfile.open(shards / "part-00000.tar") as first:
        known = {first.extractfile(one).read() for one in first}  # type: ignore[union-attr]
        assert any(tar.extractfile(one).read() in known for one in tar if one.name.endswith(".png"))  # type: ignore[union-attr]


def test_clients_of_clip_retrieval_are_answered(served: Served) -> None:
    """The body that its ClipClient sends, and what its front end reads."""
    client = {
        "text": "green", "image": None, "image_url": None, "embedding_input": None, "deduplicate": True,
        "use_safety_model": True, "use_violence_detector": True, "indice_name": "my set", "use_mclip": False,
        "aesthetic_score": 9, "aesthetic_weight": 0.5, "modality": "image", "num_images": 2, "num_result_ids": 3,
    }  # fmt: skip
    assert served.ask("/indices-list")[1] == ["my set"]
    status, found, _ = served.ask("/knn-service", client | {"use_safety_model": False, "deduplicate": False})
    assert status == 200 and len(found) == 3
    assert found[0]["caption"] == "a green thing" or found[0]["caption"] == EVIL
    assert {"id", "similarity", "url"} <= found[0].keys() and found[2].keys() == {"id", "similarity"}
    assert "root" not in found[0]
    blank = {"image": "", "image_url": "", "embedding_input": [], "deduplicate": None, "num_result_ids": None}
    plain = client | {"use_safety_model": False, "deduplicate": False, "num_result_ids": 2}
    assert served.ask("/knn-service", plain | blank)[:2] == served.ask("/knn-service", plain)[:2]
    near = plain | {"text": "", "image_url": found[0]["url"]}
    assert served.ask("/knn-service", near)[1][0]["similarity"] > 0.999
    _, said, _ = served.ask("/metadata", {"ids": [found[2]["id"], 10**9], "indice_name": "my set"})
    assert [one["id"] for one in said] == [found[2]["id"]] and "caption" in said[0]["metadata"]
    vector = [1.0] + [0.0] * 15
    assert served.ask("/knn-service", client | {"text": None, "embedding_input": vector})[0] == 200
    for wrong in ({"modality": "text"}, {"text": None, "embedding_input": vector[:3]}, {"text": "\ud800"}):
        status, said, headers = served.ask("/knn-service", client | wrong)
        assert status == 400 and headers["content-type"].startswith("text/plain")
        with pytest.raises(ValueError, match="Expecting value"):  # as the client reads it: an error, not results
            json.loads(said)


def test_a_server_does_not_answer_by_rows_of_an_index_that_was_changed(
    shards: Path, colour_model: PairEncoder, tmp_path: Path
) -> None:
    """Its vectors are those it opened; by their ids it read rows of the new table, which moved at a removal."""
    embed_pairs(shards, tmp_path / "embedded", colour_model)
    build_index(tmp_path / "embedded", tmp_path / "index")
    with open_index(tmp_path / "index") as index, socket.create_server(("127.0.0.1", 0)) as line:
        server = search_server("my set", index, colour_model, pictures=shards, style="")
        thread = threading.Thread(target=server.run, args=([line],))
        thread.start()
        while not server.started:
            time.sleep(0.01)
        served, asked = Served(line.getsockname()[1]), {"ids": [2], "k": 1, "safe": False, "fold": None}
        assert served.found(**asked)[0]["row"]["url"] == "https://example.org/00000000002.png"
        urls = tuple(f"https://example.org/0000000000{at}.png" for at in (1, 2))
        remove_pairs([tmp_path / "embedded", tmp_path / "index"], RemovalRequest(urls=urls))
        asked |= {"ids": [9]}
        answers = [served.ask(f"/api/{path}", asked) for path in ("search", "export/parquet")]
        answers += [served.ask("/metadata", {"ids": [2]}), served.ask("/thumbnail/2")]
        server.should_exit = True
        thread.join()
    assert all(status in (400, 404) and "changed after it was opened" in str(told) for status, told, _ in answers)
    with open_index(tmp_path / "index") as index:
        assert search_pairs(index, np.eye(16, dtype=np.float32)[0], k=1)


def test_a_picture_is_read_where_its_shard_has_it_now(tmp_path: Path) -> None:
    """A removal moves what stands behind it; where it stood was remembered by the name of the tar alone."""
    for size in (700, 70):
        with tarfile.open(tmp_path / "a.tar", "w") as tar:
            for name, data in (("first.jpg", b"1" * size), ("second.jpg", b"2" * 9)):
                member = tarfile.TarInfo(name)
                member.size = len(data)
                tar.addfile(member, io.BytesIO(data))
        os.utime(tmp_path / "a.tar", (size, size))
        assert picture_of({"picture": "a.tar/second"}, tmp_path) == b"2" * 9


def test_a_set_whose_pictures_are_not_found_says_so(
    shards: Path, colour_model: PairEncoder, tmp_path: Path, surefoot: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr("surefoot.cli._pairs._search.conse_encoder", lambda: colour_model)
    embed_pairs(shards, tmp_path / "embedded", colour_model)
    build_index(tmp_path / "embedded", tmp_path / "index")
    with open_index(tmp_path / "index") as index:
        with pytest.warns(UserWarning, match=r"No picture of this set is found.* by --pictures\."):
            search_server("x", index, colour_model)
        with pytest.warns(UserWarning, match="No picture"):
            search_server("x", index, colour_model, pictures=tmp_path)
        search_server("x", index, colour_model, pictures=shards)
    ended = surefoot("pairs", "search", tmp_path / "index", "red", "-k", "1")
    assert "The place of a picture is in the folder that 'surefoot pairs embed' read." in ended.err
    refused = surefoot("pairs", "search", tmp_path / "index", "\udcff", "-k", "1")
    assert refused.code == 2 and "no UTF-8" in refused.err


def test_facets_are_of_columns_that_group_rows(tmp_path: Path) -> None:
    from surefoot.pairs._search._where import rows_of
    from surefoot.pairs._serve._facets import facets_of

    rows = [
        {"id": n, "sha256": f"{n:064x}", "fetched": f"2026-01-01T00:{n:02d}:00Z", "bytes": 1000 + n,
         "text": f"thing {n}", "url": f"https://e.org/{n}", "kind": f"{'long' * 20}-{n % 3}", "good": n % 2 == 0}
        for n in range(30)
    ]  # fmt: skip
    pq.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "rows.parquet")
    with rows_of([tmp_path / "rows.parquet"]) as connection:
        found = {one.column: (one.kind, len(one.values), one.low, one.high) for one in facets_of(connection)}
    assert found == {
        "bytes": ("number", 0, 1000, 1029), "text": ("text", 0, None, None), "url": ("text", 0, None, None),
        "kind": ("choice", 3, None, None), "good": ("choice", 2, None, None),
    }  # fmt: skip


def test_a_number_of_32_bits_meets_the_bound_that_is_written_as_it_is_shown(tmp_path: Path) -> None:
    from surefoot.pairs._search._where import rows_of, select
    from surefoot.pairs._serve._facets import condition_of, facets_of

    values = pyarrow.array([0.1, 0.26, 0.3], pyarrow.float32())  # as 64 bits .1 is above the .1 that is written
    table = pyarrow.table({"id": [0, 1, 2], "similarity": values, "punsafe": values})
    pq.write_table(table, tmp_path / "rows.parquet")
    with rows_of([tmp_path / "rows.parquet"]) as connection:
        asked = condition_of({"similarity": {"min": 0.26}, "punsafe": {"max": 0.3}}, facets_of(connection))
        written = "similarity >= 0.26 AND punsafe <= 0.3"
        assert select(connection, "id", asked) == select(connection, "id", written) == [(1,), (2,)]
        assert select(connection, "id", safe_condition([("punsafe", "FLOAT")], 0.1)) == [(0,)]


HOSTILE: dict[str, object] = {
    "nothing": {}, "no object": [], "a number": 3, "unknown": {"evil": 1}, "k 0": {"texts": ["a"], "k": 0},
    "k of truth": {"texts": ["a"], "k": True}, "large k": {"texts": ["a"], "k": 10**400}, "deep": None, "cut": None,
    "NaN": None, "infinite": None, "fold": {"texts": ["a"], "fold": 7}, "no text": {"texts": [{}]},
    "long": {"texts": ["a" * 5000]}, "many": {"texts": ["a"] * 99}, "NUL": {"texts": ["a\0"]},
    "half a character": {"texts": ["\ud800 red"]},
    "half of a facet": {"texts": ["a"], "facets": {"text": {"is": ["\ud800"]}}},
    "no base64": {"images": ["%%%"]}, "no picture": {"images": ["aGVsbG8="]}, "no row": {"ids": [10**9]},
    "huge row": {"ids": [10**30]}, "another's URL": {"urls": ["http://127.0.0.1:1/secret.png"]},
    "file URL": {"urls": ["file:///etc/passwd"]}, "short vector": {"vector": [1.0]}, "zeros": {"vector": [0] * 16},
}  # fmt: skip
FACETS: dict[str, dict[str, object]] = {
    "no column": {"nope\ud800": {"min": 1}}, "root": {"root": {"has": "/"}}, "empty": {"language": {}},
    "injected": {'width" OR 1=1 --': {"min": 1}}, "text for a number": {"width": {"min": "1 OR 1"}},
    "list of lists": {"language": {"is": [["en"]]}}, "another kind": {"width": {"has": "4"}},
}  # fmt: skip
HOSTILE |= {name: {"texts": ["a"], "facets": facets} for name, facets in FACETS.items()}
RAW = {
    "deep": b"[" * 100_000,
    "cut": b'{"texts": ["a"',
    "NaN": b'{"vector": [NaN]}',
    "infinite": b'{"vector": [1e999]}',
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_wrong_question_has_one_sentence_and_400(served: Served, name: str) -> None:
    status, said, _ = served.ask("/api/search", HOSTILE[name], body=RAW.get(name))
    assert status == 400, said
    assert said.keys() == {"error"} and said["error"].endswith((".", ")")) and said["error"][0].isupper()


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Host": "evil.example"}, 403),
        ({"Host": "127.0.0.1.evil.example:80"}, 403),
        ({"Host": ""}, 403),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"}, 403),
        ({"Sec-Fetch-Site": "same-site", "Sec-Fetch-Mode": "cors"}, 403),
        ({"Host": "localhost:1"}, 200),
        ({"Host": "[::1]:7700", "Origin": "http://[::1]:7700"}, 200),
    ],
)
def test_pages_of_others_get_nothing(served: Served, headers: dict[str, str], status: int) -> None:
    """A name of a stranger that leads here (DNS rebinding), and pages that only send."""
    assert served.ask("/api/about", headers=headers)[0] == status
    answered = served.ask("/knn-service", {"text": "red", "num_images": 1}, headers)
    assert answered[0] == status
    assert "access-control-allow-origin" not in {name.lower() for name in answered[2]}


def test_large_bodies_are_refused_and_the_server_lives_on(served: Served, png: Png) -> None:
    assert served.ask("/api/search", body=b" " * (17 << 20))[0] == 413
    bomb = io.BytesIO()
    Image.new("1", (12_000, 12_000)).save(bomb, "PNG")
    status, said, _ = served.ask("/api/search", {"images": [base64.b64encode(bomb.getvalue()).decode()]})
    assert status == 400 and "pixels" in said["error"]
    assert served.found(texts=["red"], k=1)


def test_thumbnails_are_decoded_anew_and_paths_lead_nowhere(
    served: Served, shards: Path, colour_model: PairEncoder, tmp_path: Path
) -> None:
    row = served.found(texts=["red"], k=1)[0]
    status, data, headers = served.ask(f"/thumbnail/{row['id']}")
    assert (status, headers["content-type"], headers["x-content-type-options"]) == (200, "image/jpeg", "nosniff")
    with Image.open(io.BytesIO(data)) as picture:
        assert picture.format == "JPEG" and min(picture.size) == 384
    for path in ("/thumbnail/999", "/thumbnail/-1", f"/thumbnail/{10**40}", "/thumbnail/..%2f..%2fetc%2fpasswd",
                 "/page/..%2f_app.py", "/page/_app.py", "/../../etc/passwd", "/api/export/exe"):  # fmt: skip
        assert served.ask(path)[0] in (404, 405), path
    assert served.ask("/api/export/exe", {"texts": ["red"]})[0] == 404


@pytest.mark.parametrize(
    "place", ["../outside.png", "/outside.png", "link.png", "x.tar/../../outside", "rows.parquet", ""]
)
def test_a_row_that_names_a_place_outside_its_folder_has_no_picture(tmp_path: Path, place: str, png: Png) -> None:
    from surefoot.core import SurefootError
    from surefoot.pairs._search._pictures import picture_of

    inside = tmp_path / "inside"
    inside.mkdir()
    (tmp_path / "outside.png").write_bytes(png("red"))
    (inside / "link.png").symlink_to(tmp_path / "outside.png")
    (inside / "own.png").write_bytes(png("blue"))
    (inside / "rows.parquet").write_bytes(b"secret")
    assert picture_of({"picture": "own.png", "root": str(inside)}) == png("blue")
    with pytest.raises(SurefootError, match="picture"):
        picture_of({"picture": place.replace("/outside", f"{tmp_path}/outside"), "root": str(inside)})


def until(page: Any, selector: str, count: int) -> None:
    """Waits until so many are there; the page's policy forbids to evaluate texts in it."""
    for _ in range(300):
        if page.locator(selector).count() == count:
            return
        page.wait_for_timeout(50)
    pytest.fail(f"{page.locator(selector).count()} of {selector}, not {count}: {page.inner_text('#status')}")


@pytest.fixture
def tab(chromium: Any, served: Served) -> Iterator[Callable[..., Any]]:
    """Opens the page at a question, and holds that only our server was asked, without complaints."""
    contexts, complaints, asked = [], list[str](), list[str]()

    def open_at(question: str = "", width: int = 1280, **options: Any) -> Any:
        contexts.append(chromium.new_context(viewport={"width": width, "height": 900}, **options))
        page = contexts[-1].new_page()
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("request", lambda request: asked.append(request.url))
        page.goto(f"http://localhost:{served.port}/{question}")
        page.wait_for_selector("html[data-ready=true]")
        return page

    yield open_at
    for context in contexts:
        context.close()
    assert not [one for one in complaints if "400 (Bad Request)" not in one]
    assert all(one.startswith((f"http://localhost:{served.port}/", "blob:", "data:")) for one in asked)


def test_the_page_finds_narrows_and_keeps_its_state_in_the_address(tab: Callable[..., Any], png: Png) -> None:
    page = tab()
    page.keyboard.press("/")
    page.keyboard.type("blue")
    page.keyboard.press("Enter")
    page.wait_for_selector("#results li button:focus")  # the first result: arrows and m go on from there
    page.keyboard.press("ArrowRight")
    assert page.locator("#results li:nth-child(2) button:focus").count() == 1
    page.keyboard.press("/")
    page.keyboard.press("Escape")
    assert page.input_value("#q") == "blue" and page.locator("#q:focus").count() == 0
    assert "hidden by safe mode" in page.inner_text("#status")
    page.uncheck("#safe")
    page.uncheck("#fold")
    page.click("[data-column=language] >> text=de")
    until(page, "#results li", 8)
    address = page.url
    assert "q=blue" in address and "safe=0" in address and "f=" in address
    again = tab("?" + address.partition("?")[2])
    assert again.inner_text("#results") == page.inner_text("#results")
    assert again.is_checked("[data-column=language] label:has-text('de') input")
    page.go_back()
    until(page, "#results li", 24)
    page.set_input_files("#file", {"name": "my.png", "mimeType": "image/png", "buffer": png("white")})
    page.wait_for_selector("#chips li")
    page.fill("#q", "")
    page.press("#q", "Enter")
    page.wait_for_selector("#results li:first-child:has-text('a white thing')")
    with page.expect_download() as taken:
        page.click("#export")
    assert np.load(taken.value.path()).dtype == np.dtype("u8,u8")


def test_hostile_captions_stay_text_and_hostile_urls_no_links(tab: Callable[..., Any]) -> None:
    page = tab("?q=green&safe=0&fold=0")
    page.locator("#results .caption", has_text=EVIL).first.click()
    assert page.inner_text("#detail-title") == EVIL and page.title() == "my set: search pairs"
    assert page.locator("#detail a").count() == 1
    page = tab("?q=red&safe=0&fold=0")
    for place in range(page.locator("#results li").count()):
        page.locator("#results button").nth(place).click()
        assert all(one.startswith("https://example.org/") for one in page.locator("#detail a").evaluate_all(
            "links => links.map((one) => one.href)"))  # fmt: skip
        page.keyboard.press("Escape")


def test_keys_go_between_results_and_ask_for_more_like_one(tab: Callable[..., Any]) -> None:
    page = tab("?q=red&safe=0&fold=0")
    focused = "[...document.querySelectorAll('#results button')].indexOf(document.activeElement)"
    for key, place in (("ArrowDown", 0), ("ArrowRight", 1), ("ArrowRight", 2), ("ArrowLeft", 1)):
        page.keyboard.press(key)
        assert page.evaluate(focused) == place
    page.keyboard.press("ArrowDown")
    assert page.evaluate(focused) > 2
    page.keyboard.press("Enter")
    assert page.locator("dialog[open]").count() == 1
    page.keyboard.press("Escape")
    page.keyboard.press("m")
    page.wait_for_selector("#chips li")
    assert "q=" not in page.url and "id=" in page.url
    for _ in range(300):  # its answer has come when the first result has the focus
        if page.evaluate(focused) == 0:
            break
        page.wait_for_timeout(50)
    page.keyboard.press("ArrowRight")
    page.keyboard.press("a")
    until(page, "#chips li", 2)


@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_fits_a_phone_and_a_desk_in_light_and_dark(tab: Callable[..., Any], width: int, scheme: str) -> None:
    page = tab("?q=red&id=1&safe=0", width, color_scheme=scheme)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    tops = page.eval_on_selector_all("#results li", "all => all.map((one) => one.offsetTop)")
    assert tops.count(tops[0]) == (2 if width == 390 else 4)
    paper = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (paper == "rgb(255, 255, 255)") is (scheme == "light")
    page.wait_for_load_state("networkidle")
    assert page.eval_on_selector_all(".picture img", "all => all.some((one) => one.naturalHeight === 384)")
