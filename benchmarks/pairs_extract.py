"""WAT files to pairs: Surefoot beside the method of cc2dataset, in one process, turn about, CPU seconds.

The method: FastWARC over the metadata records, the whole JSON of each made into Python objects by simdjson, pictures
with a text chosen, URLs made absolute, an MD5 as the name. It is written here in our own words. Both must give the
same pairs; simdjson is installed by `pip install pysimdjson`. Run: python benchmarks/pairs_extract.py [pages] [rounds]
"""

import gzip
import hashlib
import json
import random
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urljoin

import simdjson
from fastwarc.warc import ArchiveIterator, WarcRecordType

from surefoot.pairs import CANDIDATE_RULES, Source, uid_of
from surefoot.pairs._extract._archive import captures
from surefoot.pairs._extract._candidates import extract_part
from surefoot.pairs._extract._language import language_of
from surefoot.pairs._extract._page import page_of, resolve

WORDS = [
    "a",
    "red",
    "small",
    "cat",
    "dog",
    "house",
    "on",
    "river",
    "tree",
    "blue",
    "old",
    "car",
    "photo",
    "woman",
    "sea",
]
Pair = tuple[str, str, str, str]


def write_wat(path: Path, pages: int) -> int:
    """Pages of 300 links, 19 of them pictures: about 1.6 KB of JSON a picture. Returns the raw bytes."""
    draw, raw = random.Random(0), 0
    with path.open("wb") as out:
        for number in range(pages):
            url = f"https://www.site{number % 97}.org/section/{number}.html"
            links = [_link(draw, place) for place in range(300)]
            metadata = {"Head": {"Title": _text(draw), "Metas": [{"name": "viewport", "content": "w"}]}, "Links": links}
            payload = {"HTTP-Response-Metadata": {"HTML-Metadata": metadata, "Headers": {"Server": "nginx"}}}
            envelope = {"WARC-Header-Metadata": {"WARC-Target-URI": url}, "Payload-Metadata": payload}
            whole = json.dumps({"Container": {"Filename": "a"}, "Envelope": envelope}, separators=(",", ":")).encode()
            head = f"WARC/1.0\r\nWARC-Type: metadata\r\nWARC-Target-URI: {url}\r\nContent-Type: application/json\r\n"
            out.write(gzip.compress(f"{head}Content-Length: {len(whole)}\r\n\r\n".encode() + whole + b"\r\n\r\n", 6))
            raw += len(whole)
    return raw


def _text(draw: random.Random) -> str:
    return " ".join(draw.choices(WORDS, k=draw.randint(3, 16)))


def _link(draw: random.Random, place: int) -> dict[str, str]:
    if place % 16:
        return {"path": "A@/href", "url": f"../{draw.choice(WORDS)}/{draw.randint(0, 10**9)}.html", "text": _text(draw)}
    name = f"{draw.choice(WORDS)}-{draw.randint(0, 10**9)}.jpg"
    url = draw.choice([f"https://cdn.pictures.net/{name}", f"https://img.b.com/2024/{name}?w=640", f"/images/{name}"])
    return {"path": "IMG@/src", "url": url} | ({"alt": _text(draw)} if draw.random() < 0.7 else {})


def peer(path: Path) -> list[Pair]:
    """The method of cc2dataset."""
    found = []
    with path.open("rb") as stream:
        for record in ArchiveIterator(stream, record_types=WarcRecordType.metadata, parse_http=False):
            envelope = simdjson.load(record.reader)["Envelope"]
            page = envelope["WARC-Header-Metadata"]["WARC-Target-URI"]
            metadata = envelope["Payload-Metadata"]["HTTP-Response-Metadata"]["HTML-Metadata"]
            base = urljoin(page, metadata.get("Head", {}).get("Base", ""))
            for link in metadata.get("Links", []):
                if link.get("path") == "IMG@/src" and link.get("alt"):
                    url = link["url"]
                    url = url if url.startswith(("http://", "https://")) else urljoin(base, url)
                    name = hashlib.md5((link["alt"] + url).encode(), usedforsecurity=False).hexdigest()
                    found.append((name, url, link["alt"], page))
    return found


def ours(path: Path) -> list[Pair]:
    """The same pairs, by what the stage reads with."""
    found: list[Pair] = []
    for capture in captures(path, faults := Counter()):
        page = page_of(capture, faults)
        found += [
            (uid_of(url, picture.text), url, picture.text, capture.url)
            for picture in page.pictures
            if picture.text and (url := resolve(picture.url, page.base))
        ]
    return found


def seconds(call: Callable[[], object]) -> float:
    start = time.process_time()
    call()
    return time.process_time() - start


def main(pages: int = 2000, rounds: int = 7) -> None:
    """Print a line a way: CPU seconds (the least of the rounds), MB of JSON a second, and the ratio to the method."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "a.wat.gz")
        megabytes = write_wat(path, pages) / 1e6
        assert peer(path) == ours(path)
        source, rules = Source(path=path, sha256=""), CANDIDATE_RULES["laion5b"]
        ways: dict[str, Callable[[], object]] = {
            "the method of cc2dataset": lambda: peer(path),
            "Surefoot, the same pairs": lambda: ours(path),
            "Surefoot, the whole stage": lambda: extract_part(rules, source, Path(folder, "part.parquet")),
        }
        taken: dict[str, list[float]] = {name: [] for name in ways}
        for _ in range(rounds):
            for name, way in ways.items():
                language_of.cache_clear()
                taken[name].append(seconds(way))
        base = taken["the method of cc2dataset"]
        for name, times in taken.items():
            ratio = statistics.median(other / one for other, one in zip(base, times, strict=True))
            print(f"{name:28s} {min(times):7.3f} s  {megabytes / min(times):7.1f} MB/s  {ratio:5.2f} times")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
