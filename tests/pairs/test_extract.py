"""Web archives to candidates: bodies of servers, WAT beside WARC, hostile records, rules, language, commands, Steps."""

import gzip
import json
import os
import subprocess
import sys
import zlib
from itertools import pairwise
from pathlib import Path
from urllib.parse import urljoin

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from surefoot.core import Store, SurefootError, open_pool, run
from surefoot.pairs import (
    CANDIDATE_RULES,
    CandidateRules,
    Deduplicate,
    Extract,
    extract,
    read_manifest,
    rules_text,
    uid_of,
)
from surefoot.pairs._extract._page import _PLAIN, resolve
from surefoot.pairs._extract._rules import reasons_of

sys.path.insert(0, str(Path(__file__).parent))
from archives import WebPage, chunked, record, response, wat, write_archive

ANY = CandidateRules(name="any")
Found = list[tuple[str, ...]]


def found(
    folder: Path, records: list[bytes], *columns: str, rules: CandidateRules = ANY, packed: bool = False
) -> Found:
    """The rows of an archive in order, and nothing else."""
    out = folder / f"out{len(list(folder.iterdir()))}"
    name = f"{out.name}.warc{'.gz' if packed else ''}"
    extract([write_archive(folder / name, records)], out, rules)
    chosen = ", ".join(columns or ("url", "text"))
    return duckdb.sql(f"SELECT {chosen} FROM read_parquet('{out}/*.parquet')").fetchall()


def faults(folder: Path) -> dict[str, int]:
    newest = max(folder.glob("out*/manifest.json"), key=lambda path: int(path.parent.name.removeprefix("out")))
    return json.loads(newest.read_text())["faults"]


def page(body: str | bytes, url: str = "http://www.a.org/x/y.html", **headers: str) -> WebPage:
    body = body.encode() if isinstance(body, str) else body
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    return WebPage(url=url, body=body, headers={"Content-Type": "text/html"} | sent)


def test_urls_are_those_that_a_browser_asks_for(tmp_path: Path) -> None:
    body = """<base href="/b/"><base href="/no/"><img src=1.jpg alt=one><img src="//cdn.org/é 2.jpg" alt="t&amp;wo">
    <img data-src=3.jpg src="data:image/gif;base64,xx" alt=three><img src="http://H.org:80/a/../4.jpg" alt=four>
    <img srcset="s.jpg 100w, /l,1.jpg 900w, m.jpg 300w" alt=five><img alt="no url"><img src="" alt="empty">
    <img src="\\\\h.org\\6.jpg" alt><noscript><img src=7.jpg alt=seven></noscript>"""
    assert found(tmp_path, [response(page(body))], "url", "text", "page_url", "attribute", "uid") == [
        (url, text, "http://www.a.org/x/y.html", attribute, uid_of(url, text))
        for url, text, attribute in (
            ("http://www.a.org/b/1.jpg", "one", "src"),
            ("http://cdn.org/%C3%A9%202.jpg", "t&wo", "src"),
            ("http://www.a.org/b/3.jpg", "three", "data-src"),
            ("http://h.org/4.jpg", "four", "src"),
            ("http://www.a.org/l,1.jpg", "five", "srcset"),
            ("http://h.org/6.jpg", "", "src"),
            ("http://www.a.org/b/7.jpg", "seven", "src"),
        )
    ]


# What the URL Standard's own tests say of these, relative to http://example.org/foo/bar.
@pytest.mark.parametrize(
    ("url", "right"),
    [
        ("../../x.png", "http://example.org/x.png"),
        ("?q", "http://example.org/foo/bar?q"),
        ("  \ta\nb.png ", "http://example.org/foo/ab.png"),
        ("http://EXAMPLE.com/../x", "http://example.com/x"),
        ("http://0x7f.1/x", "http://127.0.0.1/x"),
        ("http:x", "http://example.org/foo/x"),
        ("\\x\\y", "http://example.org/x/y"),
        ("http://faß.de/", "http://xn--fa-hia.de/"),
        ("http://a b/", None),
        ("http://a:99999/", None),
        ("http://[::1/", None),
        ("javascript:alert(1)", "javascript:alert(1)"),
    ],
)
def test_urls_as_the_standard_has_them(url: str, right: str | None) -> None:
    assert resolve(url, "http://example.org/foo/bar") == right


_SEGMENT = st.text("abcXYZ019-_~", min_size=1, max_size=6)


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.one_of(_SEGMENT, st.just("..")), min_size=1, max_size=6), st.booleans(), st.lists(_SEGMENT, max_size=3)
)
def test_ordinary_relative_urls_are_as_urllib_has_them(parts: list[str], root: bool, folders: list[str]) -> None:
    base = "/".join(["http://a.example.org", *folders, "page.html"])
    url = "/" * root + "/".join([*parts, "x.jpg"])
    assert resolve(url, base) == urljoin(base, url)


@settings(max_examples=300, deadline=None)
@given(st.from_regex(_PLAIN, fullmatch=True))
def test_urls_that_are_taken_as_they_are_are_normal(url: str) -> None:
    from ada_url import normalize_url

    try:
        assert normalize_url(url) == url
    except ValueError:  # a host that is too long, or has a hyphen at a wrong place
        assert len(url.split("/")[2]) > 60


def test_the_license_of_a_page_is_the_last_link_before_a_picture(tmp_path: Path) -> None:
    by, zero = "https://creativecommons.org/licenses/by/4.0/", "http://creativecommons.org/licenses/zero/"
    body = f"<img src=1><a href={by}><img src=2></a><img src=3><a href={zero}>x</a><a href=/>y</a><img src=4>"
    for one in (response(page(body)), wat(page(body))):
        assert [row[0] for row in found(tmp_path, [one], "license")] == [None, None, by, zero]


BODIES = [
    '<img src=1.jpg alt="A cat"><p>x<img src="/2.jpg?a=1&amp;b=2" title=t alt="braces },{ and {&quot;"><img src=3>',
    '<base href="http://b.org/c/"><img alt="first" src=1.jpg><img src=2.jpg alt="}] [{ \\ &lt;">',
    '<img src=1.jpg alt=\'"path":"IMG@/src"\'><img src="a{b}.jpg" alt="IMG@/src">',
    '<a href="http://creativecommons.org/licenses/by/4.0">c</a><img src=1.jpg alt="see creativecommons.org/licenses/">',
    "<p>no picture</p>",
    "<a href=/x>y</a><img src=é.jpg alt='Größe 😀'>",
]


@pytest.mark.parametrize("options", [{}, {"ensure_ascii": True}, {"separators": (", ", ": ")}])
@pytest.mark.parametrize("packed", [False, True])
def test_a_wat_gives_the_pairs_of_its_warc(tmp_path: Path, options: dict[str, object], packed: bool) -> None:
    pages = [page(body, f"http://www.a.org/x/{number}.html") for number, body in enumerate(BODIES)]
    columns = ("uid", "url", "text", "page_url", "license", "language", "reasons")
    warc = found(tmp_path, [response(one) for one in pages], *columns, packed=packed)
    assert found(tmp_path, [wat(one, **options) for one in pages], *columns, packed=packed) == warc
    assert len(warc) == 9


_TEXT = st.text(st.one_of(st.sampled_from('{}[]",:\\/<&IMG@src'), st.characters(codec="utf-8")), max_size=12)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(_TEXT, _TEXT, st.booleans()), max_size=6))
def test_a_wat_read_in_part_is_as_read_whole(links: list[tuple[str, str, bool]]) -> None:
    from surefoot.pairs._extract._page import _links_of_pictures, _pictures

    written = [
        {"path": "IMG@/src", "url": f"u{url}", "alt": alt} if picture else {"path": "A@/href", "url": url, "text": alt}
        for url, alt, picture in links
    ]
    body = json.dumps({"Links": written, "Head": {"Title": "}]"}}, separators=(",", ":"), ensure_ascii=False).encode()
    partly = _links_of_pictures(body)
    assert partly is None or list(_pictures(partly)) == list(_pictures(written))


def test_bodies_as_servers_send_them(tmp_path: Path) -> None:
    html = '<meta charset="x"><img src=a.jpg alt="é">'.encode()
    deflate = zlib.compressobj(wbits=-15)
    bare = deflate.compress(html) + deflate.flush()
    sent = [
        page(html), page(chunked(html), Transfer_Encoding="chunked"),
        page(gzip.compress(html), Content_Encoding="gzip"),
        page(chunked(gzip.compress(html)), Transfer_Encoding="chunked", Content_Encoding="gzip"),
        page(zlib.compress(html), Content_Encoding="deflate"), page(bare, Content_Encoding="deflate"),
        page(html, Content_Encoding="gzip", Transfer_Encoding="chunked"),  # an archive that keeps old headers
        page(chunked(html) + b"junk", Transfer_Encoding="chunked"), page(html, Content_Type="application/xhtml+xml"),
    ]  # fmt: skip
    assert found(tmp_path, [response(one) for one in sent], "text") == [("é",)] * len(sent)
    assert faults(tmp_path) == {}
    broken = page(chunked(html, 99)[:-5] + b"ZZ\r\n", Transfer_Encoding="chunked")
    cut = page(gzip.compress(html + os.urandom(40_000))[:30_000], Content_Encoding="gzip")
    assert len(found(tmp_path, [response(broken), response(cut), response(page(html))])) == 3
    assert faults(tmp_path) == {"body_broken": 2}


@pytest.mark.parametrize(
    ("content_type", "encoding", "declared"),
    [
        ("text/html; charset=utf-8", "utf-8", ""),
        ("text/html; charset=iso-8859-1", "utf-8", ""),  # it lies
        ("text/html; charset=utf-8", "cp1252", ""),  # it lies
        ("text/html", "cp1252", ""),
        ('text/html; charset="ISO-8859-1"', "cp1252", ""),
        ("text/html", "cp1251", '<meta charset="windows-1251">'),
        ("text/html", "cp932", '<meta http-equiv="Content-Type" content="text/html; charset=Shift_JIS">'),
        ("text/html; charset=gb2312", "gb18030", ""),
        ("text/html", "iso2022_jp", '<meta charset="iso-2022-jp">'),
        ("text/html; charset=x-sjis", "cp932", ""),  # names that browsers know and Python does not
        ("text/html", "euc_jp", '<meta charset="x-euc-jp">'),
        ("text/html; charset=windows-31j", "cp932", ""),
        ("text/html; charset=GB_2312-80", "gb18030", ""),
        ("text/html; charset=x-x-big5", "big5hkscs", ""),
        ("text/html; charset=x-mac-cyrillic", "mac_cyrillic", ""),
        ("text/html", "utf-16", ""),
        ("text/html; charset=rot13", "utf-8", ""),
        ("text/html; charset=no-such-thing", "cp1252", ""),
    ],
)
def test_character_sets(tmp_path: Path, content_type: str, encoding: str, declared: str) -> None:
    japanese = dict.fromkeys(("cp932", "iso2022_jp", "euc_jp"), "猫の写真")
    cyrillic = dict.fromkeys(("cp1251", "mac_cyrillic"), "Кошка")
    text = ({"gb18030": "猫䶮", "big5hkscs": "貓嘅"} | japanese | cyrillic).get(encoding, "“é” Größe")
    body = f"{declared}<img src=a.jpg alt='{text}'>".encode(encoding)
    right = (
        text.encode("cp1252").decode("utf-8", "replace")
        if content_type.endswith("utf-8") and encoding == "cp1252"
        else text
    )
    assert found(tmp_path, [response(page(body, Content_Type=content_type))], "text") == [(right,)]


def broken_files() -> dict[str, tuple[bytes, int]]:
    """Bytes of files with faults, and which of pages 0 to 4 are lost."""
    pages = [page(f"<img src={number}.jpg alt=x>{'y' * 300}") for number in range(5)]
    plain, packed = [response(one) for one in pages], [gzip.compress(response(one), mtime=0) for one in pages]
    spoiled = bytearray(packed[2])
    spoiled[60:70] = bytes(10)
    join = b"".join
    return {
        "garbage between": (join([*plain[:2], b"garbage\r\n" * 9, *plain[2:]]), -1),
        "gz garbage between": (join([*packed[:2], b"garbage" * 9, *packed[2:]]), -1),
        "gz spoiled": (join([*packed[:2], bytes(spoiled), *packed[3:]]), 2),
        "gz truncated": (join(packed)[: -len(packed[4]) // 2], 4),
        "too long": (join([*plain[:2], response(pages[2], len(plain[2]) + 300), *plain[3:]]), -1),
        "too short": (join([*plain[:2], response(pages[2], 120), *plain[3:]]), -1),
        "gz too long": (join([*packed[:2], gzip.compress(response(pages[2], len(plain[2]) + 300)), *packed[3:]]), -1),
    }


@pytest.mark.parametrize("name", broken_files())
def test_what_is_good_of_a_damaged_file_is_kept_and_the_fault_counted(tmp_path: Path, name: str) -> None:
    content, lost = broken_files()[name]
    file = tmp_path / f"a.warc{'.gz' if name.startswith('gz') else ''}"
    file.write_bytes(content)
    made = extract([file], tmp_path / "out", ANY)
    urls = [url for (url,) in duckdb.sql(f"SELECT url FROM '{tmp_path}/out/*.parquet'").fetchall()]
    assert [url for url in urls if url != "http://www.a.org/x/4.jpg" or lost != 4] == [
        f"http://www.a.org/x/{number}.jpg" for number in range(5) if number != lost
    ]
    assert made.faults


UNIX = response(WebPage(url="http://a.org/", body=b"<img src=a.jpg alt=x>")).replace(b"\r", b"")


@pytest.mark.parametrize("content", [b"\x1f\x8b", b"no archive at all\n" * 9, b"WARC/1.0\r\n", UNIX])
def test_what_is_no_archive_gives_no_row_and_is_said(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.warc.gz").write_bytes(content)
    (tmp_path / "b.warc.gz").write_bytes(b"")
    (tmp_path / "c.warc").write_bytes(record("request", "http://a.org/", "application/http", b"GET / HTTP/1.1\r\n\r\n"))
    made = extract([tmp_path / "a.warc.gz", tmp_path / "b.warc.gz", tmp_path / "c.warc"], tmp_path / "out", ANY)
    assert (made.rows, made.faults) == (0, {"record_broken": 1})


def test_a_broken_record_counts_once_whatever_stands_before_it(tmp_path: Path) -> None:
    asked = gzip.compress(record("request", "http://a.org/", "application/http", b"GET / HTTP/1.1\r\n\r\n"))
    pages = [gzip.compress(response(page(f"<img src={number}.jpg alt=x>{'y' * 300}"))) for number in range(4)]
    spoiled = bytearray(pages[1])
    spoiled[60:70] = bytes(10)
    (tmp_path / "a.warc.gz").write_bytes(
        b"".join([pages[0], asked, asked, spoiled, asked, pages[2], spoiled, pages[3]])
    )
    made = extract([tmp_path / "a.warc.gz"], tmp_path / "out", ANY)
    assert (made.rows, made.faults) == (3, {"record_broken": 2})


@pytest.mark.parametrize(
    ("srcset", "right"),
    [
        (" " * 50_000 + "a.jpg 1x" + " " * 9_000, "a.jpg"), ("a.jpg ...w, b.jpg 2w", "b.jpg"),
        ("a.jpg 1.2.3x, b.jpg 1.5x", "b.jpg"), ("," * 1_000_000 + "a.jpg," + "," * 1_000_000, "a.jpg"),
        ("a,1.jpg, b.jpg 3x ,,c.jpg 2x", "b.jpg"), ("a.jpg 1x (, b.jpg .5x", "a.jpg"),
        ("a.jpg\t100w\n, b.jpg " + "9" * 400 + "w", "b.jpg"), ("a.jpg " + "1" * 500_000, "a.jpg"),
    ],
)  # fmt: skip
def test_no_srcset_stops_a_crawl(tmp_path: Path, srcset: str, right: str) -> None:
    rows = found(tmp_path, [response(page(f'<img srcset="{srcset}" alt=x><img src=z.jpg alt=y>'))])
    assert [url.rpartition("/")[2] for url, _ in rows] == [right, "z.jpg"]


def test_broken_json_loses_its_own_record_alone(tmp_path: Path) -> None:
    good = wat(page(BODIES[0]))
    links = (
        b'{"Payload-Metadata":{"HTTP-Response-Metadata":{"HTML-Metadata":{"Links":[1,{"path":"IMG@/src","url":7}]}}}}'
    )
    broken = (b'{"Links":[{"path":"IMG@/src"', b"[" * 9999 + b"IMG@/")
    odd = (b'{"Envelope":[1,{"path":"IMG@/src"}]}', b'["IMG@/src"]', b'{"Envelope":%s}' % links)
    bad = [record("metadata", "http://b.org/", "application/json", text) for text in (*broken, *odd)]
    assert len(found(tmp_path, [good, *bad, good])) == 6
    assert faults(tmp_path) == {"json_broken": 2}


BOMB = """
import gzip, resource, sys
from pathlib import Path
from surefoot.pairs import CandidateRules, extract
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
made = extract([Path(sys.argv[1])], Path(sys.argv[2]), CandidateRules(name="any"))
print(made.rows, made.faults, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before >> 10)
"""


def test_bombs_do_not_fill_the_memory(tmp_path: Path) -> None:
    """A gigabyte of zeros in a megabyte: as a record, and as a body."""
    zeros = b"".join([(packer := zlib.compressobj(9, wbits=31)).compress(bytes(1 << 24))] + [
        packer.compress(bytes(1 << 24)) for _ in range(15)]) + packer.flush()  # fmt: skip
    good = gzip.compress(response(page("<img src=a.jpg alt=x>")))
    body = gzip.compress(response(page(zeros, Content_Encoding="gzip")))
    whole = gzip.compress(response(page(bytes(1 << 28))), 1)
    (tmp_path / "a.warc.gz").write_bytes(good + body + whole + good)
    ended = subprocess.run(
        [sys.executable, "-c", BOMB, str(tmp_path / "a.warc.gz"), str(tmp_path / "out")],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    rows, rest = ended.stdout.split(" ", 1)
    assert rows == "2"
    assert "'body_cut': 1" in rest
    assert "'page_cut': 1" in rest
    assert int(rest.split()[-1]) < 300, rest  # MiB, the libraries included


def test_pages_that_take_a_parser_long_are_scanned(tmp_path: Path) -> None:
    """Depth and attributes cost a parser their square: a megabyte of <div> takes minutes."""
    img = b"<img src=a.jpg alt=x>"
    deep, wide = b"<div>" * 200_000 + img, b"<p " + b" ".join(b"a%d" % n for n in range(100_000)) + b">" + img
    assert found(tmp_path, [response(page(deep)), response(page(wide))]) == [("http://www.a.org/x/a.jpg", "x")] * 2
    assert faults(tmp_path) == {"page_scanned": 2}


def reasons(folder: Path, name: str, url: str, text: str) -> list[str]:
    body = f'<img src="{url}" alt="{text}">'
    return found(folder, [response(page(body))], "reasons", rules=CANDIDATE_RULES[name])[0][0]  # type: ignore[return-value]


ENGLISH = "A large brown dog runs over the green meadow in the summer"
FRENCH = "Un grand chien brun court sur la prairie verte pendant les vacances"


@pytest.mark.parametrize(
    ("name", "url", "text", "right"),
    [
        ("laion5b", "a.jpg", ENGLISH, []),
        ("laion5b", "a.jpg", FRENCH, []),
        ("laion5b", "a.jpg", "cat", ["text_short"]),
        ("laion5b", "a.jpg", " cats\n", ["text_short"]),
        ("laion5b", "a.jpg", "horse", []),
        ("laion5b", "a.svg?x", ENGLISH, ["url_kind"]),
        ("laion5b", "data:image/png;base64,xx", "", ["url_scheme", "text_missing"]),
        ("laion5b", f"http://{'a' * 50}.{'b' * 8}.org/a.jpg", ENGLISH, ["host_long"]),
        ("laion5b", f"http://{'a' * 50}.{'b' * 5}.org/a.jpg", ENGLISH, []),
        ("laion5b", "http://a b/", ENGLISH, ["url_invalid"]),
        ("laion5b", "x" * 2000, ENGLISH, ["url_long"]),
        ("laion400m", "a.jpg", FRENCH, ["language"]),
        ("laion400m", "a.jpg", ENGLISH, []),
        ("datacomp-basic", "a.jpg", "big dog", ["words_few"]),
        ("datacomp-basic", "a.gif", ENGLISH, []),
        ("datacomp-basic", "a.jpg", FRENCH, ["language"]),
        ("coyo", "a.jpg", "a b c", ["text_short", "language"]),
        ("coyo", "a.jpg", "the dog " * 129, ["text_long", "words_many"]),
        ("coyo", "a.jpg", "  The\n small   dog  sleeps in the house ", []),
    ],
)
def test_each_rule_gives_a_reason(tmp_path: Path, name: str, url: str, text: str, right: list[str]) -> None:
    assert reasons(tmp_path, name, url, text) == right


def test_texts_are_mended_as_the_recipe_says(tmp_path: Path) -> None:
    body = "<img src=a alt='Ã© caf&amp;eacute;\nx\x07y'><img src=b alt='  two   words '>"
    assert [row[1] for row in found(tmp_path, [response(page(body))], rules=CANDIDATE_RULES["laion5b"])] == [
        "é café xy", "two   words"
    ]  # fmt: skip
    assert [row[1] for row in found(tmp_path, [response(page(body))], rules=CANDIDATE_RULES["coyo"])][1] == "two words"


@settings(max_examples=100, deadline=None)
@given(st.text(st.characters(min_codepoint=32, max_codepoint=126, exclude_characters="&"), max_size=40))
def test_plain_text_needs_no_mending(text: str) -> None:
    from ftfy import fix_text

    assert fix_text(text) == text


def test_language_is_told_with_its_reliability(tmp_path: Path) -> None:
    body = "".join(f'<img src=a alt="{text}">' for text in (ENGLISH, FRENCH, "IMG_0234", "12345 67"))
    told = found(tmp_path, [response(page(body))], "language", "language_reliable", "language_score")
    assert [row[:2] for row in told[:2]] == [("en", True), ("fr", True)]
    assert told[2][1] is False
    assert told[3] == (None, False, 0.0)


def test_wget_writes_brackets_and_resources_are_pages_too(tmp_path: Path) -> None:
    wget = WebPage(url="http://w.org/a/b.html", body=b"<img src=/1.jpg alt=x>", brackets=True)
    resource = record("resource", "http://r.org/c", "text/html", b"<img src=2.jpg alt=y>")
    other = response(page(b"<img src=3.jpg>", Content_Type="text/plain"))
    rows = found(tmp_path, [response(wget), resource, other], "url", "page_url", "record_offset")
    assert [row[:2] for row in rows] == [
        ("http://w.org/1.jpg", "http://w.org/a/b.html"), ("http://r.org/2.jpg", "http://r.org/c")
    ]  # fmt: skip
    assert rows[1][2] == len(response(wget))


def test_two_workers_give_the_bytes_of_one(tmp_path: Path) -> None:
    files = [
        write_archive(tmp_path / f"{number}.warc.gz", [response(page(body)) for body in BODIES[number:]])
        for number in range(3)
    ]
    with open_pool("processes", 2) as pool:
        pooled = extract(files, tmp_path / "a", CANDIDATE_RULES["laion5b"], pool=pool)
    assert pooled == extract(files, tmp_path / "b", CANDIDATE_RULES["laion5b"])
    assert all(earlier.file < later.file for earlier, later in pairwise(pooled.parts))


def test_steps_know_their_files_by_content(tmp_path: Path) -> None:
    records = [response(page(body)) for body in (*BODIES, *BODIES)]
    file = write_archive(tmp_path / "a.warc.gz", [*records, records[0][:-9]])
    step = Extract(files=(str(file),), rules="laion5b").pinned()
    (tmp_path / "b").mkdir()
    moved = Extract(files=(str(file.rename(tmp_path / "b" / file.name)),), rules="laion5b").pinned()
    assert moved.key == step.key != Extract(files=moved.files, rules="coyo").pinned().key
    unique, store = Deduplicate(pairs=moved, by=("url+text",)), Store(tmp_path / "store")
    with open_pool("here") as pool:
        assert not [event.error for event in run([unique], store, pool) if event.error]
    measured = {(one.metric, one.group): one.value for one in store.measurements(unique)}
    assert (measured["rows", ""], measured["dropped", "duplicate_url+text"]) == (20, 10)
    own = CandidateRules(name="own", shortest_text=2)
    assert Extract(files=moved.files, rules=rules_text(own)).pinned().rules == rules_text(own)
    with pytest.raises(SurefootError, match="no rules named 'laion'"):
        Extract(files=moved.files, rules="laion").pinned()
    told = read_manifest(store.path(moved)).faults
    assert told == {one.group: one.value for one in store.measurements(moved) if one.metric == "faults"} != {}
    assert (store.path(unique) / "manifest.json").is_file()


def test_shards_of_a_cluster_have_the_bytes_of_one_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An archive a Step, each deduplicated against those before it: so a set grows without a new pass over all.

    Ray, which takes fifteen seconds to begin, is compared with the others in the tests of pools.
    """
    monkeypatch.chdir(tmp_path)  # Dask writes there
    shards: tuple[Deduplicate, ...] = ()
    for number in range(3):
        records = [response(page(body)) for body in BODIES[number:]]
        file = write_archive(tmp_path / f"{number}.warc.gz", records)
        pairs = Extract(files=(str(file),), rules="laion5b").pinned()
        shards = (*shards, Deduplicate(pairs=pairs, by=("url",), against=shards))
    made = list[dict[str, bytes]]()
    for name in ("here", "dask"):
        store = Store(tmp_path / name)
        with open_pool(name, 2) as pool:
            assert not [event.error for event in run(shards, store, pool) if event.error]
        files = [*store.root.rglob("part-*"), *store.root.rglob("manifest.json")]
        made.append({str(file.relative_to(store.root)): file.read_bytes() for file in files})
    assert made[0] == made[1] and len(made[0]) == 12
    assert "contaminated_url" in [one.group for one in store.measurements(shards[2])]


def test_the_commands_give_files_a_summary_and_sentences(tmp_path: Path) -> None:
    file = write_archive(tmp_path / "a.warc.gz", [response(page(body)) for body in (*BODIES, *BODIES)])
    (tmp_path / "own.py").write_text("from surefoot.pairs import CandidateRules\nrules = CandidateRules(name='own')\n")

    def told(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", "from surefoot.cli import main; main()", "pairs", *arguments]
        return subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)

    made = told("extract", str(file), "--recipe", "own.py", "--out", "found")
    assert not made.returncode, made.stderr
    assert made.stdout.splitlines() == ["what\treason\tcount", "rows\t\t18", "kept\t\t16", "dropped\ttext_missing\t2"]
    unique = told("deduplicate", "found", "--by", "url,text", "--out", "unique", "--format", "json")
    assert {one["reason"]: one["count"] for one in json.loads(unique.stdout)}["duplicate_url"] == 10
    wrong = told("extract", str(file), "--recipe", "laion", "--out", "other")
    assert (wrong.returncode, wrong.stderr.startswith("surefoot: There is no recipe 'laion'")) == (2, True)


def test_a_value_at_the_very_threshold_passes_every_rule() -> None:
    rules = CandidateRules(name="own", shortest_text=7, longest_text=7, fewest_words=2, most_words=2, longest_host=5,
                           languages=("de",), reliable=0.7)  # fmt: skip
    assert reasons_of(rules, "http://a.org/" + "x" * 1987, "der Hut", "de", 0.7) == []
    assert reasons_of(rules, "http://b.info/" + "x" * 1987, "ein Hut b", "de", 0.6999) == [
        "url_long", "host_long", "text_long", "words_many", "language",
    ]  # fmt: skip
    assert reasons_of(rules, "http://a.org/", "Hut", "en", 0.9) == ["text_short", "words_few", "language"]
