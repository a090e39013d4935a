"""robots.txt by RFC 9309, on files as they are found; headers that reserve a picture."""

import pytest

from surefoot.pairs._download._robots import parse_robots, reservation

SITE = "http://example.org:80"


def forbidden(robots: bytes | str, path: str) -> bool:
    body = robots.encode() if isinstance(robots, str) else robots
    return parse_robots(body).forbids(SITE + path) is not None


@pytest.mark.parametrize(
    ("pattern", "path", "matches"),
    [  # the examples of RFC 9309, 2.2.2 and 2.2.3, and of its section 5.2
        ("/foo/bar?baz=quz", "/foo/bar?baz=quz", True),
        ("/foo/bar?baz=https://foo.bar", "/foo/bar?baz=https://foo.bar", True),
        ("/foo/bar/\u30c4", "/foo/bar/%E3%83%84", True),
        ("/foo/bar/%E3%83%84", "/foo/bar/\u30c4", True),
        ("/foo/bar/%62%61%7A", "/foo/bar/baz", True),
        ("/path/file-with-a-%2A.html", "/path/file-with-a-*.html", True),
        ("/path/foo-%24", "/path/foo-$", True),
        ("/a%2fb", "/a%2Fb", True),
        ("/a%2Fb", "/a/b", False),
        ("*.gif$", "/a/b.gif", True),
        ("*.gif$", "/a/b.gif?x", False),
        ("/foo/*/qux", "/foo/bar/qux", True),
        ("/foo/*/qux", "/foo/qux", False),
        ("/example/page/", "/example/page", False),
        ("/Foo", "/foo", False),
        ("/a*b*c$", "/axbxc", True),
        ("/a*b*c$", "/axbxcx", False),
        ("/ab*b$", "/ab", False),
        ("/$", "/", True),
        ("/$", "/x", False),
        ("/a$b", "/a$b", True),  # within a pattern it is itself
        ("/a$*", "/a$b", True),
        ("/*?", "/a?", True),  # a query is there, if an empty one
        ("/", "", True),
        ("/?a/b", "?a/b", True),
        ("/b", "/a#/b", False),
    ],
)
def test_patterns_match_as_the_rfc_says(pattern: str, path: str, matches: bool) -> None:
    assert forbidden(f"User-agent: *\nDisallow: {pattern}", path) is matches


@pytest.mark.parametrize(
    ("robots", "verdict"),
    [
        ("User-agent: *\nDisallow: /\nAllow: /p", False),  # the longest match decides
        ("User-agent: *\nAllow: /\nDisallow: /p", True),
        ("User-agent: *\nDisallow: /p\nAllow: /p", False),  # of two as long, Allow
        ("User-agent: *\nDisallow:\n", False),
        ("User-agent: *\nDisallow: /\n\nUser-agent: surefoot\nDisallow: /other", False),  # our group alone
        ("User-agent: *\nDisallow: /other\nUser-agent: SureFoot/2.0\nDisallow: /p", True),  # names without case
        ("User-agent: sure\nDisallow: /", False),  # another robot whose name begins ours
        ("User-agent: surefootbot\nDisallow: /", False),
        ("User-agent: surefoot\nDisallow: /a\nUser-agent: x\nDisallow: /\nUser-agent: surefoot\nDisallow: /p", True),
        ("User-agent: x\nUser-agent: surefoot\nDisallow: /p", True),
        ("User-agent: x\nCrawl-delay: 5\nUser-agent: surefoot\nDisallow: /p", True),  # other records end no list
        ("User-agent: x\nSitemap: /s\nUser-agent: surefoot\nDisallow: /p", True),
        ("User-agent: x\nDisallow: /p\nUser-agent: surefoot\nAllow: /", False),
        ("Disallow: /", False),  # no group
        ("user-AGENT :*\n  disallow :  /p  # private", True),
        ("User-agent: *\rDisallow: /p\r", True),  # lone carriage returns
        ("User-agent: *\r\n\r\nDisallow: /p", True),  # blank lines end nothing
        ("User-agent: *\x0bDisallow: /p", False),  # a vertical tab is no line end
        ("\ufeffUser-agent: *\nDisallow: /p", True),
        ("User-agent: *\u2028Disallow: /p", False),
        ("User-agent: *\0\nDisallow: /p\0", True),
        ("<!doctype html><html>\n<p>User-agent: *</p>\nDisallow: /\n</html>", False),
        ("<html>\nUser-agent: *\nDisallow: /p\n", True),
        ("User-agent: *\nDisallow: /robots.txt\nDisallow: /p", True),
        ("\n" * 600_000 + "User-agent: *\nDisallow: /", False),  # beyond 500 KiB
        ("User-agent: *\nDisallow: /p\n" + "#" * 600_000, True),
        ("", False),
    ],
)
def test_files_as_they_are_found_have_the_verdict_of_the_rfc(robots: str, verdict: bool) -> None:
    assert forbidden(robots, "/p/x.jpg") is verdict
    assert not forbidden(robots, "/robots.txt")


@pytest.mark.parametrize("order", ["utf-16-le", "utf-16-be"])
def test_a_file_in_utf_16_counts_when_its_mark_says_so(order: str) -> None:
    assert forbidden("\ufeffUser-agent: *\nDisallow: /p".encode(order), "/p")


def test_bytes_of_any_kind_raise_nothing() -> None:
    for seed in range(30):
        body = bytes((seed * 31 + place * place * 7) % 256 for place in range(400))
        parse_robots(b"User-agent: *\nDisallow: /" + body).forbids(SITE + "/x%zz%")


def test_a_pattern_of_many_stars_is_answered_at_once() -> None:
    assert not forbidden("User-agent: *\nDisallow: /" + "*a" * 1000 + "*b$", "/" + "a" * 4000)


def test_crawl_delay_is_read() -> None:
    assert (
        parse_robots(b"User-agent: *\nCrawl-delay: 2.5\nCrawl-delay: nan\nCrawl-delay: -1\nDisallow: /x").delay == 2.5
    )


@pytest.mark.parametrize(
    ("name", "value", "reserved"),
    [
        ("x-robots-tag", "noai", "noai"),
        ("x-robots-tag", "nofollow, NoImageAI", "noimageai"),
        ("x-robots-tag", "noindex", "noindex"),
        ("x-robots-tag", "noimageindex", "noimageindex"),
        ("x-robots-tag", "none", "none"),  # noindex and nofollow
        ("x-robots-tag", "otherbot: noai", None),
        ("x-robots-tag", "otherbot: noai, noindex", None),
        ("x-robots-tag", "Surefoot: noai", "noai"),
        ("x-robots-tag", "otherbot: nofollow, surefoot: noindex", "noindex"),
        ("x-robots-tag", "*: noai", "noai"),
        ("x-robots-tag", "unavailable_after: Tue, 25 Jun 2030 15:00:00 PST, noai", "noai"),
        ("x-robots-tag", "max-snippet: 10, noai", "noai"),
        ("x-robots-tag", "all", None),
        ("x-robots-tag", "", None),
        ("tdm-reservation", "1", "TDM"),
        ("tdm-reservation", "0", None),
        ("content-usage", "train-ai=n", "train-ai"),
        ("content-usage", "train-ai=y", None),
        ("server", "noai", None),
    ],
)
def test_headers_reserve_for_whom_they_name(name: str, value: str, reserved: str | None) -> None:
    found = reservation([("server", "x"), (name, value)])
    assert (found is None) if reserved is None else (found is not None and reserved in found)
