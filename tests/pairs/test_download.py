"""Downloading from a server that does everything it should not."""

import asyncio
import gzip
import hashlib
import io
import json
import random
import re
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tarfile
import time
import tracemalloc
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pytest
from hostile_web import (
    Handler,
    Web,
    endless,
    exif_picture,
    hang_up,
    picture,
    png_bomb,
    reply,
    serving,
    slow,
    zipped,
)  # fmt: skip
from PIL import Image, ImageOps
from scipy.fft import dctn

from surefoot.cli import app
from surefoot.core import Inputs, Measurement, Step, SurefootError, digest_of
from surefoot.pairs import (
    Download,
    Manifest,
    Manners,
    PictureForm,
    download,
    failing_hosts,
    outcomes,
    pairs_from_tables,
    read_manifest,
    sources_in,
)  # fmt: skip
from surefoot.pairs._download import _decode, _decoders, _fetch, _options, _part, _transfer
from surefoot.pairs._download._address import Ended, address_of, is_public
from surefoot.pairs._download._decoders import Decoders
from surefoot.pairs._download._fetch import DoNotAsk

MARKUP = "<script>alert('caption')</script> \u00e9 \U0001f600"
HOP = ("Location", "/ok.jpg")


@pytest.fixture
def web() -> Iterator[Web]:
    with serving() as served:
        served.routes["/ok.jpg"] = reply(picture())
        yield served


def candidates(folder: Path, urls: Sequence[str], **more: Sequence[str]) -> Path:
    """A stage's directory of URLs, all with the same caption."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = [
        {"url": url, "text": MARKUP} | {name: values[place] for name, values in more.items()}
        for place, url in enumerate(urls)
    ]
    (folder / "urls.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    pairs_from_tables([folder / "urls.jsonl"], folder / "candidates", rows=10_000)
    return folder / "candidates"


def remade(given: Path, columns: str) -> None:
    """The one part of candidates with other columns, and the manifest that fits it."""
    part, manifest = given / "part-00000.parquet", given / "manifest.json"
    before = digest_of(part)
    duckdb.sql(f"COPY (SELECT * {columns} FROM '{part}') TO '{part}'")
    manifest.write_text(manifest.read_text().replace(before, digest_of(part)))


def asked(folder: Path, given: Path, form: PictureForm | None = None, **manners: Any) -> Manifest:
    told = {"allow_private": True, "retries": 0, "timeout": 3.0, "decoders": 1} | manners
    return download(sources_in(given), folder / "out", form=form or PictureForm(), manners=Manners(**told))


def rows_of(out: Path) -> dict[str, dict[str, Any]]:
    found = duckdb.sql(f"SELECT * FROM read_parquet('{out}/*.parquet')")
    rows = [dict(zip(found.columns, row, strict=True)) for row in found.fetchall()]
    assert len({row["key"] for row in rows}) == len(rows)
    return {row["url"]: row for row in rows}


def members(out: Path) -> dict[str, bytes]:
    found = {}
    for path in sorted(out.glob("*.tar")):
        with tarfile.open(path) as tar:
            for member in tar:
                assert member.isfile() and member.name not in found
                stream = tar.extractfile(member)
                found[member.name] = stream.read() if stream else b""
    return found


HOSTILE: dict[str, tuple[Any, str, str]] = {
    "/ok.jpg": (reply(picture()), "ok", ""),
    "/gif": (reply(picture("GIF")), "ok", ""),
    "/webp": (reply(picture("WEBP")), "ok", ""),
    "/alpha.png": (reply(picture("PNG", mode="RGBA")), "ok", ""),
    "/cmyk.jpg": (reply(picture(mode="CMYK")), "ok", ""),
    "/grey.jpg": (reply(picture(mode="L")), "ok", ""),
    "/exif.jpg": (reply(exif_picture()), "ok", ""),
    "/polyglot.jpg": (reply(picture() + b"<html>PAYLOAD</html>"), "ok", ""),
    "/zipped.jpg": (zipped(picture()), "ok", ""),
    "/hop": (reply(b"", 302, HOP), "ok", ""),
    "/other-agent": (reply(picture(), 200, ("X-Robots-Tag", "otherbot: noai")), "ok", ""),
    "/missing": (reply(b"", 404), "gone", "HTTP 404"),
    "/missing-noindex": (reply(b"x", 404, ("X-Robots-Tag", "noindex")), "gone", "HTTP 404"),
    "/refused": (reply(b"", 403), "blocked", "HTTP 403"),
    "/broken-server": (reply(b"", 500), "retryable", "HTTP 500"),
    "/hang-up": (hang_up, "retryable", "broken off"),
    "/slow": (slow, "retryable", "timeout"),
    "/short": (reply(picture(), length=90_000), "retryable", "broken off"),
    "/long": (reply(picture(), length=700), "undecodable", "broken picture"),
    "/truncated.jpg": (reply(picture()[:-500]), "undecodable", "broken picture"),
    "/endless": (endless, "too_big", "bytes"),
    "/declared": (reply(b"", length=10**11), "too_big", "bytes"),
    "/gzip-bomb": (zipped(bytes(50_000_000)), "too_big", "bytes"),
    "/no-gzip": (reply(b"x" * 99, 200, ("Content-Encoding", "gzip")), "undecodable", "content encoding"),
    "/png-bomb": (reply(png_bomb(12_000)), "too_big", "pixels"),
    "/thread.png": (reply(picture("PNG", (8, 3000))), "ok", ""),
    "/svg": (reply(b'<svg xmlns="http://www.w3.org/2000/svg"/>'), "undecodable", "no picture"),
    "/page": (reply(b"<html>not found</html>"), "undecodable", "no picture"),
    "/empty": (reply(b""), "undecodable", "no picture"),
    "/broken.png": (reply(picture("PNG")[:100]), "undecodable", "broken picture"),
    "/noai": (reply(picture(), 200, ("X-Robots-Tag", "noai")), "opted_out", "X-Robots-Tag: noai"),
    "/ours": (reply(picture(), 200, ("X-Robots-Tag", "surefoot: none")), "opted_out", "X-Robots-Tag: none"),
    "/tdm": (reply(picture(), 200, ("TDM-Reservation", "1")), "opted_out", "TDM-Reservation: 1"),
    "/private/x.jpg": (reply(picture()), "opted_out", "robots.txt"),
    "/hop-private": (reply(b"", 301, ("Location", "/private/x.jpg")), "opted_out", "robots.txt"),
    "/loop": (reply(b"", 302, ("Location", "/loop")), "blocked", "redirects"),
    "/nowhere": (reply(b"", 302), "blocked", "redirects"),
    "/hop-file": (reply(b"", 302, ("Location", "file:///etc/passwd")), "blocked", "scheme"),
    "/hop-bad": (reply(b"", 302, ("Location", "http://[")), "blocked", "redirects"),
    "file:///etc/passwd": (None, "blocked", "scheme"),
    "/etc/hostname": (None, "blocked", "scheme"),
    "data:image/png;base64,AAAA": (None, "blocked", "scheme"),
    "ftp://127.0.0.1/x": (None, "blocked", "scheme"),
    "http://user:word@127.0.0.1/x": (None, "blocked", "bad URL"),
    "http://": (None, "blocked", "bad URL"),
    "http://127.0.0.1\\@example.org/": (None, "blocked", "bad URL"),
}
Hostile = tuple[Web, Path, dict[str, dict[str, Any]]]


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hostile]:
    """One run over all of it."""
    folder = tmp_path_factory.mktemp("hostile")
    with serving() as web:
        web.routes = {path: route for path, (route, _, _) in HOSTILE.items() if route}
        web.routes["/robots.txt"] = reply(b"User-agent: *\nDisallow: /private/")
        urls = [web.base + path if route else path for path, (route, _, _) in HOSTILE.items()]
        form = PictureForm(max_bytes=1_000_000, max_pixels=50_000_000)
        asked(folder, candidates(folder, urls), form, per_host=8, timeout=3.0, patience=99, opt_outs=99)
        rows = {url.removeprefix(web.base): row for url, row in rows_of(folder / "out").items()}
        yield web, folder / "out", rows


def test_what_a_server_left_on_a_kept_connection_is_no_answer_to_the_next_request(tmp_path: Path) -> None:
    used: set[int] = set()

    def rules(handler: Handler) -> None:
        used.add(id(handler))
        reply(b"User-agent: *")(handler)

    def photo(handler: Handler) -> None:
        if id(handler) in used:
            handler.wfile.write(b"the rest of it\r\n\r\n")
            handler.close_connection = True
        else:
            reply(picture())(handler)

    with serving() as web:
        web.routes = {"/robots.txt": rules, "/a.jpg": photo}
        asked(tmp_path, candidates(tmp_path, [f"{web.base}/a.jpg"]))
        assert web.asked == {"/robots.txt": 1, "/a.jpg": 2}
        assert rows_of(tmp_path / "out")[f"{web.base}/a.jpg"]["state"] == "ok"


@pytest.mark.parametrize("path", HOSTILE)
def test_each_hostile_thing_ends_in_its_state(hostile: Hostile, path: str) -> None:
    row = hostile[2][path]
    assert (row["state"], row["reason"] or "") == HOSTILE[path][1:], row["error_message"]
    assert row["reasons"] == ([] if row["state"] == "ok" else [f"download_{row['state']}"])
    assert row["caption"] == row["text"] == MARKUP
    assert (row["status"] == "success") is (row["state"] == "ok") is (row["width"] is not None)


def test_only_pictures_are_in_the_tar_as_our_own_jpegs(hostile: Hostile) -> None:
    _, out, rows = hostile
    kept = members(out)
    good = {row["key"] for row in rows.values() if row["state"] == "ok"}
    assert set(kept) == {f"{key}.{suffix}" for key in good for suffix in ("jpg", "txt", "json")}
    for path, row in rows.items():
        if row["state"] == "ok":
            data = kept[row["key"] + ".jpg"]
            with Image.open(io.BytesIO(data)) as image:
                assert (image.format, image.size, image.mode) == ("JPEG", (256, 256), "RGB"), path
            assert b"Exif" not in data and b"PAYLOAD" not in data
            assert kept[row["key"] + ".txt"].decode() == MARKUP
            assert json.loads(kept[row["key"] + ".json"])["url"].endswith(path)


def test_rows_testify(hostile: Hostile) -> None:
    web, _, rows = hostile
    body = picture()
    row = rows["/ok.jpg"]
    assert (row["md5"], row["sha256"]) == (hashlib.md5(body).hexdigest(), hashlib.sha256(body).hexdigest())
    assert (row["bytes"], row["original_width"], row["original_height"]) == (len(body), 300, 200)
    assert row["robots"] == "allowed" and row["http_status"] == 200 and row["hops"] == []
    assert rows["/hop"]["hops"] == [web.base.replace("127.0.0.1:", "127.0.0.1:") + "/ok.jpg"]
    assert len(rows["/loop"]["hops"]) == 5
    assert rows["/polyglot.jpg"]["phash"] == row["phash"]
    assert not web.asked["/private/x.jpg"]
    assert web.asked["/robots.txt"] == 1
    assert all(agent.startswith("surefoot/") for agent in web.agents)


def test_orientation_is_applied_and_places_are_gone(hostile: Hostile) -> None:
    _, out, rows = hostile
    row = rows["/exif.jpg"]
    assert (row["original_width"], row["original_height"]) == (200, 300)
    with Image.open(io.BytesIO(members(out)[row["key"] + ".jpg"])) as image:
        assert not image.getexif()
        assert image.getpixel((190, 60))[0] < 30 < image.getpixel((60, 60))[0] + 40  # the dark quarter is upper right
        assert image.getpixel((10, 128)) == (255, 255, 255)


def test_outcomes_and_hosts_are_told_with_advice(hostile: Hostile) -> None:
    _, out, rows = hostile
    table = outcomes(out).records()
    assert sum(row["urls"] for row in table) == len(rows) and table[0]["state"] == "ok"
    assert {row["reason"]: row for row in table}["HTTP 404"]["urls"] == 2
    assert "Raise --timeout" in {row["reason"]: row for row in table}["timeout"]["advice"]
    assert failing_hosts(out).rows[0][0].startswith("127.0.0.1:")
    hosts = [
        re.split("[/?#]", str(row["url"]).partition("://")[2])[0].lower()
        for row in rows.values()
        if row["state"] not in ("ok", None)
    ]
    assert {row[0]: row[2] for row in failing_hosts(out, 1000).rows} == Counter(hosts)


def test_a_second_run_asks_only_what_can_succeed_and_keeps_the_rest(web: Web, tmp_path: Path) -> None:
    web.routes |= {"/late": reply(b"", 503), "/gone": reply(b"", 404)}
    given = candidates(tmp_path, [web.base + path for path in ("/late", "/ok.jpg", "/gone")])
    first = asked(tmp_path, given)
    before = members(tmp_path / "out")
    assert (first.kept, first.reasons) == (1, {"download_gone": 1, "download_retryable": 1})
    web.asked.clear()
    web.routes["/late"] = reply(picture("PNG"))
    second = asked(tmp_path, given)
    assert web.asked == {"/robots.txt": 1, "/late": 1}
    assert (second.kept, second.rows, second.reasons) == (2, 3, {"download_gone": 1})
    rows, after = rows_of(tmp_path / "out"), members(tmp_path / "out")
    assert before.items() <= after.items() and len(after) == 6
    assert after[rows[web.base + "/late"]["key"] + ".txt"].decode() == MARKUP
    web.asked.clear()
    assert asked(tmp_path, given) == second and not web.asked
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "manifest.json", "part-00000.parquet", "part-00000.tar"
    ]  # fmt: skip


@pytest.mark.parametrize("layout", ["files", "parquet"])
def test_other_layouts_hold_the_same_and_can_be_asked_again(web: Web, tmp_path: Path, layout: Any) -> None:
    web.routes["/late"] = reply(b"", 503)
    given = candidates(tmp_path, [web.base + "/late", web.base + "/ok.jpg"])
    form = PictureForm(layout=layout, resize="keep_ratio", size=64)
    asked(tmp_path, given, form)
    web.routes["/late"] = reply(picture())
    asked(tmp_path, given, form)
    out = tmp_path / "out"
    for row in rows_of(out).values():
        data = row["jpg"] if layout == "parquet" else (out / "part-00000" / f"{row['key']}.jpg").read_bytes()
        with Image.open(io.BytesIO(data)) as image:
            assert image.size == (row["width"], row["height"]) == (96, 64)
    assert not list(out.glob("*.tar"))


def test_it_works_where_a_loop_runs_already_as_in_a_notebook(web: Web, tmp_path: Path) -> None:
    given = candidates(tmp_path, [web.base + "/ok.jpg"])

    async def cell() -> int:
        return asked(tmp_path, given).kept

    assert asyncio.run(cell()) == 1


def test_what_another_run_made_is_not_touched(web: Web, tmp_path: Path) -> None:
    given = candidates(tmp_path, [web.base + "/ok.jpg"])
    asked(tmp_path, given)
    with pytest.raises(SurefootError, match="recipe differs"):
        asked(tmp_path, given, PictureForm(size=64))
    with pytest.raises(SurefootError, match="'size' lies between"):
        PictureForm(size=0)
    with pytest.raises(SurefootError, match="'per_host' may not be 0"):
        Manners(per_host=0)
    with pytest.raises(SurefootError, match="plain ASCII"):
        Manners(contact="me\r\nX-Evil: 1")


def test_killed_at_any_moment_it_loses_and_doubles_nothing(web: Web, tmp_path: Path) -> None:
    paths = [f"/{number}.jpg" for number in range(120)]
    web.routes |= dict.fromkeys(paths, reply(picture()))
    web.wait = 0.02
    given = candidates(tmp_path, [web.base + path for path in paths])
    line = [sys.executable, "-c", "from surefoot.cli import main; main()", "pairs", "download", str(given)]
    line += ["--out", str(tmp_path / "out"), "--allow-private", "--contact", "me"]
    log, seen = tmp_path / "out" / ".unfinished" / "part-00000.log", 0
    for kill in range(3):
        process = subprocess.Popen(line, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while process.poll() is None and not (log.exists() and log.read_bytes().count(b"\n") > seen + 5):
            time.sleep(0.01)
        time.sleep(random.Random(kill).random() / 20)
        process.send_signal(signal.SIGKILL)
        process.wait()
        if log.exists():
            seen = log.read_bytes().count(b"\n")
            with log.open("ab") as torn:  # and the power goes, too
                torn.write(b'{"key": "000')
    assert 10 < seen < 120
    with (tmp_path / "out" / ".unfinished" / "part-00000.tar").open("ab") as tar:
        tar.write(b"half a sample")
    manifest = asked(tmp_path, given)
    rows, kept = rows_of(tmp_path / "out"), members(tmp_path / "out")
    assert (manifest.kept, len(rows), len(kept)) == (120, 120, 360)
    assert {row["state"] for row in rows.values()} == {"ok"}
    assert max(web.asked[path] for path in paths) <= 1 + 3 and web.asked["/robots.txt"] == 4


@pytest.mark.parametrize("renames", [1, 2, 3])
def test_killed_while_it_publishes_it_publishes_again(
    web: Web, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, renames: int
) -> None:
    web.routes["/late"] = reply(b"", 503)
    given = candidates(tmp_path, [web.base + "/ok.jpg", web.base + "/late"])
    asked(tmp_path, given)
    web.routes["/late"] = reply(picture())
    done, real = [0], Path.replace

    def dies(path: Path, target: Path) -> Path:
        done[0] += ".part" in str(path) or "draft" in path.name or "part-" in path.name
        if done[0] == renames:
            raise KeyError("killed")
        return real(path, target)

    with monkeypatch.context() as patched, pytest.raises(KeyError):
        patched.setattr(Path, "replace", dies)
        asked(tmp_path, given)
    assert asked(tmp_path, given).kept == 2
    assert len(members(tmp_path / "out")) == 6 and len(rows_of(tmp_path / "out")) == 2


def test_a_damaged_end_of_the_tar_is_asked_again(web: Web, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given = candidates(tmp_path, [web.base + "/ok.jpg", web.base + "/ok.jpg?2"])
    web.routes["/ok.jpg?2"] = reply(picture())
    with monkeypatch.context() as patched, pytest.raises(KeyError):
        patched.setattr(_part.PartWork, "publish", lambda self: {}["power"])
        asked(tmp_path, given)
    tar = tmp_path / "out" / ".unfinished" / "part-00000.tar"
    tar.write_bytes(tar.read_bytes()[:-2000] + bytes(2000))
    web.asked.clear()
    assert asked(tmp_path, given).kept == 2
    assert sum(web.asked.values()) == 2  # robots.txt, and one picture
    assert len(members(tmp_path / "out")) == 6


def test_a_full_disk_is_one_message_and_the_next_run_goes_on(
    web: Web, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = candidates(tmp_path, [web.base + "/ok.jpg"])

    def full(*given: object) -> bytes:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched, pytest.raises(SurefootError, match="is full: free some space"):
        patched.setattr(_part, "sample", full)
        asked(tmp_path, given)
    assert asked(tmp_path, given).kept == 1


def test_two_runs_do_not_share_a_folder(web: Web, tmp_path: Path) -> None:
    given = candidates(tmp_path, [web.base + "/ok.jpg"])
    failed: list[str] = []

    def meanwhile(handler: Any) -> None:
        try:
            asked(tmp_path, given)
        except SurefootError as error:
            failed.append(str(error))
        reply(picture())(handler)

    web.routes["/ok.jpg"] = meanwhile
    assert asked(tmp_path, given).kept == 1
    assert "Another run works in" in failed[0]


def test_a_bomb_is_unpacked_no_further_than_the_limit() -> None:
    bomb = gzip.compress(bytes(100_000_000), 1)
    tracemalloc.start()
    with pytest.raises(Ended):
        _transfer._plain(_transfer.Answer(200, [("content-encoding", "gzip")], bomb), 100_000, False)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 10_000_000


@pytest.mark.parametrize("text", [
    "127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.0", "224.0.0.1",
    "255.255.255.255", "240.0.0.1", "192.0.2.1", "198.18.0.1", "::1", "::", "fe80::1", "fe80::1%eth0", "fc00::1",
    "fd12::1", "ff02::1", "fec0::1", "2001:db8::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::127.0.0.1",
    "64:ff9b::7f00:1", "64:ff9b:1::a00:1", "2002:7f00:1::", "2002:a00:1::1", "2001::1", "::ffff:0:127.0.0.1",
])  # fmt: skip
def test_addresses_that_are_not_public_are_known(text: str) -> None:
    assert not is_public(text)


@pytest.mark.parametrize("text", ["93.184.216.34", "2606:2800:220:1::1", "::ffff:93.184.216.34", "64:ff9b::5db8:d822"])
def test_addresses_that_are_public_are_known(text: str) -> None:
    assert is_public(text)


@pytest.mark.parametrize("url", [
    "http://127.0.0.1/x", "http://127.1/x", "http://2130706433/", "http://0x7f.1/", "http://0177.0.0.1/",
    "http://[::1]/", "http://[::ffff:127.0.0.1]/", "http://[64:ff9b::127.0.0.1]/", "https://localhost/", "http://0/",
    "http://127.0.0.1:22/", "http://LOCALHOST./", "http://\uff11\uff12\uff17.0.0.1/", "http://127.0.0.1:80#@example.org/",
])  # fmt: skip
def test_private_addresses_are_refused_in_every_spelling(tmp_path: Path, url: str) -> None:
    asked(tmp_path, candidates(tmp_path, [url]), allow_private=False)
    (row,) = rows_of(tmp_path / "out").values()
    assert row["state"] == "blocked" and row["reason"] in ("private address", "port"), row["error_message"]


def test_of_a_name_with_one_private_address_none_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    both = [(2, 1, 6, "", ("93.184.216.34", 0)), (2, 1, 6, "", ("127.0.0.1", 0))]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *given, **more: both)
    asked(tmp_path, candidates(tmp_path, ["http://two.example/x"]), allow_private=False)
    (row,) = rows_of(tmp_path / "out").values()
    assert (row["state"], row["reason"]) == ("blocked", "private address")


def test_the_checked_address_is_the_one_that_is_asked(
    web: Web, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The name changes its mind after the first look."""
    answers = iter(["127.0.0.1", "127.0.0.9", "127.0.0.9"])
    looked = lambda *given, **more: [(2, 1, 6, "", (next(answers), 0))]  # noqa: E731
    monkeypatch.setattr(socket, "getaddrinfo", looked)
    port = web.base.rpartition(":")[2]
    urls = [f"http://rebind.example:{port}/ok.jpg", f"http://rebind.example:{port}/gone"]
    asked(tmp_path, candidates(tmp_path, urls))
    assert {row["state"] for row in rows_of(tmp_path / "out").values()} == {"ok", "gone"}
    assert set(web.hosts) == {f"rebind.example:{port}"} and next(answers) == "127.0.0.9"


def test_the_socket_itself_is_a_wall(web: Web) -> None:
    """Even if what was looked up were wrong, nothing is connected to that is not public."""

    async def ask() -> None:
        client = _transfer.Client(agent="a", seconds=2, connections=1, allow_private=False)
        try:
            address = address_of(web.base + "/ok.jpg", range(65536))
            await client.get(address, ["127.0.0.1"], limit=1000, judge=lambda status, headers: None)
        finally:
            await client.close()

    with pytest.raises(Ended) as ended:
        asyncio.run(ask())
    assert (ended.value.state, ended.value.reason) == ("blocked", "private address")
    assert not web.asked


def test_a_redirect_to_a_private_address_is_refused(web: Web, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with serving("127.0.0.2") as inner:
        for room in (_fetch, _transfer):
            monkeypatch.setattr(room, "is_public", lambda address: address == "127.0.0.1")
        monkeypatch.setattr(_options, "PORTS", range(65536))
        inner.routes["/secret.jpg"] = reply(picture())
        web.routes["/hop"] = reply(b"", 302, ("Location", f"{inner.base}/secret.jpg"))
        asked(tmp_path, candidates(tmp_path, [web.base + "/hop"]), allow_private=False)
        (row,) = rows_of(tmp_path / "out").values()
        assert (row["state"], row["reason"]) == ("blocked", "private address")
        assert row["hops"] == [f"{inner.base}/secret.jpg"] and not inner.asked


def test_proxies_of_the_environment_are_not_used(web: Web, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with serving("127.0.0.3") as proxy:
        for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "all_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy.base)
        assert asked(tmp_path, candidates(tmp_path, [web.base + "/ok.jpg"])).kept == 1
        assert not proxy.asked


def test_a_storm_of_429_ends_with_few_requests(web: Web, tmp_path: Path) -> None:
    paths = [f"/{number}" for number in range(60)]
    web.routes |= dict.fromkeys(paths, reply(b"", 429, ("Retry-After", "0")))
    manifest = asked(tmp_path, candidates(tmp_path, [web.base + path for path in paths]), patience=5)
    assert manifest.reasons == {"download_retryable": 60}
    assert sum(web.asked[path] for path in paths) <= 5 + 2
    assert {row["reason"] for row in rows_of(tmp_path / "out").values()} == {"HTTP 429", "host given up"}


def test_retry_after_is_obeyed(web: Web, tmp_path: Path) -> None:
    times: list[float] = []

    def busy(handler: Any) -> None:
        times.append(time.monotonic())
        reply(picture() if len(times) > 1 else b"", 200 if len(times) > 1 else 503, ("Retry-After", "1"))(handler)

    web.routes["/busy"] = busy
    assert asked(tmp_path, candidates(tmp_path, [web.base + "/busy"]), retries=1).kept == 1
    assert len(times) == 2 and times[1] - times[0] >= 0.99


@pytest.mark.parametrize("status", [429, 503])
def test_a_host_that_wants_an_hour_of_rest_gets_it(web: Web, tmp_path: Path, status: int) -> None:
    paths = [f"/{number}" for number in range(20)]
    web.routes |= dict.fromkeys(paths, reply(b"", status, ("Retry-After", "3600")))
    asked(tmp_path, candidates(tmp_path, [web.base + path for path in paths]), per_host=2)
    assert sum(web.asked[path] for path in paths) <= 2
    assert {row["state"] for row in rows_of(tmp_path / "out").values()} == {"retryable"}


def test_a_server_that_died_is_given_up(web: Web, tmp_path: Path) -> None:
    with serving("127.0.0.4") as dead:
        base = dead.base
    urls = [f"{base}/{number}" for number in range(20)] + [web.base + "/ok.jpg"]
    manifest = asked(tmp_path, candidates(tmp_path, urls), patience=3)
    assert (manifest.kept, manifest.reasons) == (1, {"download_retryable": 20})
    assert all(row["reason"] == "no connection" for url, row in rows_of(tmp_path / "out").items() if url in urls[:20])


def test_nothing_outlives_the_deadline(web: Web, tmp_path: Path) -> None:
    paths = [f"/{number}" for number in range(20)]
    web.routes |= dict.fromkeys(paths, reply(picture()))
    web.wait = 0.5
    asked(tmp_path, candidates(tmp_path, [web.base + path for path in paths]), per_host=1, deadline=2.0)
    states = [row["reason"] for row in rows_of(tmp_path / "out").values() if row["state"] == "retryable"]
    assert 10 <= len(states) < 20 and set(states) == {"deadline"}


def test_no_more_requests_at_once_than_a_host_allows(web: Web, tmp_path: Path) -> None:
    paths = [f"/{number}" for number in range(12)]
    web.routes |= dict.fromkeys(paths, reply(picture()))
    web.wait = 0.05
    assert asked(tmp_path, candidates(tmp_path, [web.base + path for path in paths]), per_host=2).kept == 12
    assert web.most == 2


def test_a_host_that_reserves_its_pictures_is_left_for_good(web: Web, tmp_path: Path) -> None:
    paths = [f"/{number}" for number in range(12)]
    web.routes |= dict.fromkeys(paths, reply(picture(), 200, ("X-Robots-Tag", "noai")))
    listed = tmp_path / "never.txt"
    given = candidates(tmp_path, [web.base + path for path in paths])
    asked(tmp_path, given, per_host=1, opt_outs=3, do_not_ask=str(listed))
    assert sum(web.asked[path] for path in paths) == 3
    assert listed.read_text().split("\t")[0] == "127.0.0.1" and "noai" in listed.read_text()
    web.asked.clear()
    other = tmp_path / "other"
    asked(other, candidates(other, [web.base + "/ok.jpg"]), do_not_ask=str(listed))
    assert not web.asked and {row["state"] for row in rows_of(other / "out").values()} == {"opted_out"}


@pytest.mark.parametrize(
    ("line", "host"),
    [
        ("\ufeffExample.org.\t2026-12-01\tnoai", "example.org"), ("a.org, by letter", "a.org"), ("a.org:8080", "a.org"),
        ("https://a.org/pictures/", "a.org"), ("fa\u00df.de", "xn--fa-hia.de"),
        ("2001:DB8:0::1", "2001:db8::1"), ("[2001:db8::1]:80", "2001:db8::1"), ("# a.org", None), ("", None),
    ],
)  # fmt: skip
def test_hosts_of_a_list_are_known_however_they_are_written(tmp_path: Path, line: str, host: str | None) -> None:
    (tmp_path / "never.txt").write_text(line, encoding="utf-8")
    listed = DoNotAsk(tmp_path / "never.txt")
    assert listed.hosts == ({host} if host else set())
    listed.add("2001:db8::2", "noai")
    assert DoNotAsk(tmp_path / "never.txt").hosts == listed.hosts


def test_a_list_with_what_is_no_host_is_refused_before_anything_is_touched(web: Web, tmp_path: Path) -> None:
    web.routes["/a"] = reply(b"", 503)
    given = candidates(tmp_path, [web.base + "/a"])
    asked(tmp_path, given)
    (tmp_path / "never.txt").write_text("example.org\n*.example.org\n")
    with pytest.raises(SurefootError, match=r"never.txt: \*.example.org is no host"):
        asked(tmp_path, given, do_not_ask=str(tmp_path / "never.txt"))
    assert read_manifest(tmp_path / "out").reasons == {"download_retryable": 1}


@pytest.mark.parametrize(("status", "state"), [(500, "retryable"), (429, "retryable"), (404, "ok"), (403, "ok")])
def test_robots_that_cannot_be_read_forbid_and_those_that_are_not_there_allow(
    web: Web, tmp_path: Path, status: int, state: str
) -> None:
    web.routes["/robots.txt"] = reply(b"User-agent: *\nAllow: /", status)
    asked(tmp_path, candidates(tmp_path, [web.base + "/ok.jpg"]))
    (row,) = rows_of(tmp_path / "out").values()
    assert row["state"] == state and web.asked["/ok.jpg"] == (state == "ok")


def test_an_endless_robots_file_is_read_to_its_limit(web: Web, tmp_path: Path) -> None:
    def robots(handler: Any) -> None:
        handler.send_response(200)
        handler.end_headers()
        handler.wfile.write(b"User-agent: *\nDisallow: /ok\n")
        endless(handler)

    web.routes["/robots.txt"] = robots
    assert asked(tmp_path, candidates(tmp_path, [web.base + "/ok.jpg"])).reasons == {"download_opted_out": 1}


def test_hash_lists_act_before_anything_is_kept_and_only_count(web: Web, tmp_path: Path) -> None:
    bodies = {
        f"/{name}": picture(size=(100 + place, 90))
        for place, name in enumerate(("md5", "sha1", "sha256", "url", "free"))
    }
    web.routes |= {path: reply(body) for path, body in bodies.items()}
    lines = [hashlib.new(path[1:], body).hexdigest() for path, body in list(bodies.items())[:3]]
    lines.append(hashlib.md5(f"{web.base}/url".encode()).hexdigest())
    (tmp_path / "list.txt").write_text("# digests\n" + "\n".join(line.upper() + ", x" for line in lines) + "\n")
    given = candidates(tmp_path, [web.base + path for path in bodies])
    manifest = asked(tmp_path, given, hash_list=(str(tmp_path / "list.txt"),))
    assert manifest.faults == {"screened": 4} and not web.asked["/url"]
    assert list(rows_of(tmp_path / "out")) == [web.base + "/free"] and len(members(tmp_path / "out")) == 3
    everything = b"".join(path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file())
    assert not any(word.encode() in everything for word in (*lines, web.base + "/sha256"))
    for text, message in (("nothing hex", "line 1 is no MD5"), ("", "holds no digest")):
        (tmp_path / "list.txt").write_text(text)
        with pytest.raises(SurefootError, match=message):
            asked(tmp_path / "x", given, hash_list=(str(tmp_path / "list.txt"),))


def test_hash_lists_name_urls_as_a_browser_asks_for_them_and_those_that_redirects_lead_to(
    web: Web, tmp_path: Path
) -> None:
    """A list was held against the URL as it is written in the table, and where that led was not looked at."""
    web.routes |= {path: reply(picture()) for path in ("/%C3%BC.jpg", "/listed.jpg", "/free.jpg")}
    web.routes["/hop"] = reply(b"", 302, ("Location", "/listed.jpg"))
    named = [hashlib.md5((web.base + path).encode()).hexdigest() for path in ("/%C3%BC.jpg", "/listed.jpg")]
    (tmp_path / "list.txt").write_text("\n".join(named))
    given = candidates(tmp_path, [web.base + path for path in ("/\u00fc.jpg", "/hop", "/free.jpg")])
    assert asked(tmp_path, given, hash_list=(str(tmp_path / "list.txt"),)).faults == {"screened": 2}
    assert list(rows_of(tmp_path / "out")) == [web.base + "/free.jpg"]


@pytest.mark.parametrize("kind", ["md5", "sha256"])
def test_a_picture_that_is_not_the_promised_one_is_changed(kind: str, web: Web, tmp_path: Path) -> None:
    promised = [digest := hashlib.new(kind, picture()).hexdigest().upper(), "0" * len(digest)]
    web.routes["/new.jpg"] = reply(picture())
    asked(tmp_path, candidates(tmp_path, [web.base + "/ok.jpg", web.base + "/new.jpg"], **{kind: promised}))
    rows = rows_of(tmp_path / "out")
    assert [row["state"] for row in rows.values()] == ["ok", "changed"]
    assert [row[f"candidate_{kind}"] for row in rows.values()] == promised and len(members(tmp_path / "out")) == 3
    assert [row["status"] for row in rows.values()] == ["success", "failed_to_download"]


def test_a_crawl_delay_is_obeyed(web: Web, tmp_path: Path) -> None:
    """Ten seconds between requests: one picture, and what could not be asked in a second is left for later."""
    web.routes["/robots.txt"] = reply(b"User-agent: *\nCrawl-delay: 10")
    asked(tmp_path, candidates(tmp_path, [f"{web.base}/ok.jpg?{number}" for number in range(3)]), deadline=1.0)
    assert [row["reason"] for row in rows_of(tmp_path / "out").values()].count("deadline") == 2


def test_candidates_may_be_hostile_themselves(web: Web, tmp_path: Path) -> None:
    given = candidates(tmp_path, [web.base + "/ok.jpg"])
    columns = """'a' || chr(0) || 'b' AS text, 1 AS "x"" FROM read_text('/etc/h') --", 7 AS "WIDTH", 'k' AS key"""
    remade(given, f"EXCLUDE (text), {columns}")
    assert asked(tmp_path, given).kept == 1
    (row,) = rows_of(tmp_path / "out").values()
    assert row["caption"] == row["text"] == "a\0b" and row["x\" FROM read_text('/etc/h') --"] == 1
    assert (row["candidate_width"], row["width"], row["candidate_key"], row["key"]) == (7, 256, "k", "00000000000")
    assert set(members(tmp_path / "out")) == {"00000000000.jpg", "00000000000.txt", "00000000000.json"}


@pytest.mark.skipif(not shutil.which("openssl"), reason="openssl makes the certificate")
def test_certificates_are_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made, key = tmp_path / "own.pem", tmp_path / "own.key"
    line = "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=x -addext subjectAltName=IP:127.0.0.1"
    subprocess.run([*line.split(), "-keyout", key, "-out", made], check=True, capture_output=True)
    with serving() as web:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(made, key)
        web.server.socket = context.wrap_socket(web.server.socket, server_side=True)
        web.routes["/ok.jpg"] = reply(picture())
        given = candidates(tmp_path, [web.base.replace("http:", "https:") + "/ok.jpg"])
        assert asked(tmp_path, given).reasons == {"download_retryable": 1}
        assert [row["reason"] for row in rows_of(tmp_path / "out").values()] == ["TLS certificate not valid"]
        monkeypatch.setenv("SSL_CERT_FILE", str(made))
        assert asked(tmp_path, given).kept == 1


def test_rows_with_reasons_stay_and_are_not_asked(web: Web, tmp_path: Path) -> None:
    given = candidates(tmp_path, [web.base + "/ok.jpg", web.base + "/never"])
    reasons = "CASE WHEN url LIKE '%never' THEN ['text_short'] ELSE [] END AS reasons"
    remade(given, f"REPLACE ({reasons})")
    manifest = asked(tmp_path, given)
    assert manifest.reasons == {"text_short": 1} and not web.asked["/never"]
    assert rows_of(tmp_path / "out")[web.base + "/never"]["state"] is None


OPTIONS = {"size": 64, "resize": "border", "quality": 95, "exact": False, "most": 10**9}


def decoded(data: bytes, **options: Any) -> tuple[dict[str, Any], bytes]:
    return _decode.encoded(data, **(OPTIONS | options))


def test_a_decoder_has_little_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_decoders, "_MEMORY", 400 << 20)

    async def both() -> tuple[str, int]:
        decoders = Decoders(1, OPTIONS)
        try:
            with pytest.raises(Ended) as ended:
                await decoders.decode(png_bomb(12_000))
            return ended.value.reason, (await decoders.decode(picture()))[0]["width"]
        finally:
            decoders.close()

    assert asyncio.run(both()) == ("memory", 64)


FAILED = ("undecodable", "decoder failed")


@pytest.mark.parametrize(("program", "end"), [
    ("import sys; sys.stdin.buffer.raw.read(1)", FAILED),
    ("import time; time.sleep(60)", ("retryable", "decoding time")),
    ("import socket, time; s = socket.socket(fileno=0); s.sendall(b'\\xff' * 99); time.sleep(9)", FAILED),
    ("import socket, struct; s = socket.socket(fileno=0); s.recv(9); t = b'{\"width\": \"x\", \"phash\": \"zz\"}';"
     "s.sendall(struct.pack('<II', len(t), 3) + t + b'ELF'); s.recv(1 << 20)", FAILED),
])  # fmt: skip
def test_a_decoder_that_fails_costs_one_picture(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, program: str, end: tuple[str, str]
) -> None:
    (tmp_path / "program.py").write_text(program)
    real = _decoders._PROGRAM

    async def two() -> tuple[str, str, int]:
        monkeypatch.setattr(_decoders, "_PROGRAM", tmp_path / "program.py")
        monkeypatch.setattr(_decoders, "_SECONDS", 20 if end == FAILED else 0.5)
        decoders = Decoders(1, OPTIONS)
        monkeypatch.setattr(_decoders, "_PROGRAM", real)
        try:
            await decoders.decode(picture())
        except Ended as ended:
            monkeypatch.setattr(_decoders, "_SECONDS", 20)
            return ended.state, ended.reason, (await decoders.decode(picture()))[0]["width"]
        finally:
            decoders.close()
        return "", "", 0

    assert asyncio.run(two()) == (*end, 64)


def test_decoders_that_do_not_work_at_all_stop_the_run(
    web: Web, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "program.py").write_text("raise SystemExit")
    given = candidates(tmp_path, [web.base + "/ok.jpg"])
    with monkeypatch.context() as patched, pytest.raises(SurefootError, match="decoder does not work"):
        patched.setattr(_decoders, "_PROGRAM", tmp_path / "program.py")
        asked(tmp_path, given)
    assert not web.asked and asked(tmp_path, given).kept == 1


@pytest.mark.parametrize(("resize", "size", "wide", "tall"), [
    ("border", 64, (64, 64), (64, 64)), ("keep_ratio", 64, (96, 64), (64, 96)),
    ("crop", 64, (64, 64), (64, 64)), ("none", 64, (300, 200), (200, 300)), ("keep_ratio", 400, (600, 400), (400, 600)),
])  # fmt: skip
def test_resizing_gives_the_sizes_that_its_name_says(resize: str, size: int, wide: Any, tall: Any) -> None:
    for data, wanted in ((picture(), wide), (picture("PNG"), wide), (exif_picture(), tall)):
        told, jpeg = decoded(data, resize=resize, size=size)
        with Image.open(io.BytesIO(jpeg)) as image:
            assert image.size == (told["width"], told["height"]) == wanted


def test_scaled_decoding_is_near_to_exact_and_exact_is_pillows() -> None:
    data = picture(size=(1200, 800), quality=90)
    seen = [
        np.asarray(Image.open(io.BytesIO(decoded(data, resize="keep_ratio", exact=exact)[1])), float)
        for exact in (False, True)
    ]
    with Image.open(io.BytesIO(data)) as image:
        reference = np.asarray(image.resize((96, 64), Image.Resampling.BOX), float)
    assert np.abs(seen[1] - reference).mean() < 1.5
    assert np.abs(seen[0] - seen[1]).mean() < 3


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP"])
def test_every_orientation_is_shown_as_it_is_meant(form: str) -> None:
    """Against Pillow's own reading; values that mean nothing turn nothing."""
    quarters = np.zeros((40, 64, 3), np.uint8)
    quarters[:20, :32, 0] = quarters[:20, 32:, 1] = quarters[20:, :32, 2] = 255
    for orientation in range(10):
        out, exif = io.BytesIO(), Image.Exif()
        exif[0x0112] = orientation
        Image.fromarray(quarters).save(out, form, exif=exif, quality=100)
        told, jpeg = decoded(out.getvalue(), resize="none")
        with Image.open(io.BytesIO(out.getvalue())) as image, Image.open(io.BytesIO(jpeg)) as seen:
            meant = ImageOps.exif_transpose(image).convert("RGB")
            assert (told["original_width"], told["original_height"]) == meant.size == seen.size
            assert np.abs(np.asarray(seen, float) - np.asarray(meant, float)).mean() < 8, orientation


def test_the_largest_picture_and_the_longest_are_those_of_the_limits() -> None:
    for width, state in ((200, ""), (201, "aspect"), (210, "pixels")):
        out = io.BytesIO()
        Image.new("RGB", (width, 10)).save(out, "PNG")
        told = _decode.answer(out.getvalue(), OPTIONS | {"size": 10, "resize": "keep_ratio", "most": 2010})[0]
        assert told.get("reason", "") == state


def test_sixteen_bits_are_scaled_and_transparency_is_white() -> None:
    grey = Image.fromarray(np.full((64, 64), 32768, np.uint16))
    clear = Image.new("RGBA", (64, 64), (255, 0, 0, 0))
    for image, value, more in ((grey, 127, {}), (clear, 255, {}), (grey, 255, {"transparency": 32768})):
        out = io.BytesIO()
        image.save(out, "PNG", **more)
        with Image.open(io.BytesIO(decoded(out.getvalue())[1])) as jpeg:
            assert abs(jpeg.getpixel((30, 30))[0] - value) <= 2


def test_perceptual_hash_is_the_sign_of_low_frequencies() -> None:
    noise = np.random.default_rng(3).integers(0, 255, (8, 8, 3)).astype(np.uint8)
    out = io.BytesIO()
    Image.fromarray(noise).resize((256, 256), Image.Resampling.BICUBIC).save(out, "PNG")
    told, _ = decoded(out.getvalue(), size=256)
    with Image.open(io.BytesIO(out.getvalue())) as image:
        grey = np.asarray(image.convert("L").resize((32, 32), Image.Resampling.BOX), float)
    low = dctn(grey, type=2)[:8, :8]
    wanted = np.packbits((low > np.median(low)).ravel())
    found = np.frombuffer(bytes.fromhex(told["phash"]), np.uint8)
    assert np.unpackbits(wanted ^ found).sum() <= 2
    smaller, _ = decoded(out.getvalue(), size=100)
    assert bin(int(smaller["phash"], 16) ^ int(told["phash"], 16)).count("1") <= 6
    turned, exif = io.BytesIO(), Image.Exif()
    exif[0x0112] = 6  # it is shown a quarter to the right of how it lies
    with Image.open(io.BytesIO(out.getvalue())) as image:
        image.transpose(Image.Transpose.ROTATE_90).save(turned, "PNG", exif=exif)
    assert bin(int(decoded(turned.getvalue(), size=256)[0]["phash"], 16) ^ int(told["phash"], 16)).count("1") <= 2


@dataclass(frozen=True, kw_only=True)
class Given(Step):
    """Candidates of a test."""

    def make(self, out: Path, inputs: Inputs) -> list[Measurement]:
        raise NotImplementedError


class Made(dict[Step, Path], Inputs):
    """Directories of Steps."""

    def measurements(self, step: Step) -> tuple[Measurement, ...]:
        return ()


def test_a_download_is_a_step_that_another_one_goes_on_with(web: Web, tmp_path: Path) -> None:
    web.routes["/late"] = reply(b"", 503)
    given, out = Given(), tmp_path / "first" / "out"
    made = Made({given: candidates(tmp_path, [web.base + path for path in ("/ok.jpg", "/late", "/gone")])})
    first = Download(candidates=given, date="2026-11-29", allow_private=True, retries=0)
    out.mkdir(parents=True)
    shares = {one.metric: one.value for one in first.make(out, made)}
    assert shares == {"share_ok": 1 / 3, "share_gone": 1 / 3, "share_retryable": 1 / 3}
    assert first == Download(candidates=given, date="2026-11-29", contact="me", per_host=1)
    web.routes["/late"] = reply(picture())
    web.asked.clear()
    again = Download(candidates=given, date="2026-12-01", again=first, allow_private=True, retries=0)
    later = tmp_path / "again" / "out"
    later.mkdir(parents=True)
    assert {one.metric: one.value for one in again.make(later, Made(made | {first: out}))} == {
        "share_ok": 2 / 3, "share_gone": 1 / 3
    }  # fmt: skip
    assert web.asked == {"/robots.txt": 1, "/late": 1} and len(members(later)) == 6 and len(members(out)) == 3


def test_a_hash_list_of_a_step_is_known_by_its_contents(tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()
    for name, text in (("a", "0" * 32), ("x/a", "0" * 32), ("b", "1" * 32)):
        (tmp_path / name).write_text(text)
    keys = [Download(candidates=Given(), date="d", hash_list=(str(tmp_path / name),)).pinned().key
            for name in ("a", "x/a", "b")]  # fmt: skip
    assert keys[0] == keys[1] != keys[2]
    assert Download(candidates=Given(), date="d").pinned().key == Download(candidates=Given(), date="d").key
    with pytest.raises(SurefootError, match="pinned"):
        Download(candidates=Given(), date="d", hash_list=("a",)).make(tmp_path, Made({}))


def test_the_command_says_why_first_and_how_to_go_on(
    web: Web, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    web.routes["/late"] = reply(b"", 503)
    (tmp_path / "urls.csv").write_text(f"URL,TEXT\n{web.base}/ok.jpg,a\n{web.base}/late,b\n")
    line = ["pairs", "download", str(tmp_path / "urls.csv"), "--url", "URL", "--text", "TEXT", "--allow-private"]
    line += ["--out", str(tmp_path / "out"), "--retries", "0"]
    app(line, result_action="return_value")
    told = capsys.readouterr()
    assert "1 of 2 URLs gave a picture (50.0%)" in told.err and "1 may still succeed" in told.err
    assert "no --contact" in told.err and "HTTP 503" in told.out and "run it again later" in told.out
    web.routes["/late"] = reply(picture())
    app([*line, "--contact", "me@example.org"], result_action="return_value")
    assert "2 of 2" in capsys.readouterr().err
    assert any("(+me@example.org)" in agent for agent in web.agents)
    with pytest.raises(SurefootError, match="no candidates at"):
        app(
            ["pairs", "download", str(tmp_path / "nothing.csv"), "--out", str(tmp_path / "x")],
            result_action="return_value",
        )
