"""What a set says of a URL: CPU milliseconds a URL, on N candidates in three stages, one URL a call and 1,000 a call.

python benchmarks/pairs_why.py 100000
python benchmarks/pairs_why.py 100000 crawl

The second asks a crawl: archives of small pages, extracted by a program that is killed (`kill -9`) and started again,
without duplicates, with a stage as a download leaves it, and after two removals of six URLs. Every answer is held
against how the crawl was made.
"""

import random
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import duckdb
import numpy as np

from surefoot.pairs import (
    DuplicateRules,
    RemovalRequest,
    deduplicate,
    explain_urls,
    pairs_from_tables,
    remove_pairs,
    subset,
)

N = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
TESTS = Path(__file__).parent.parent / "tests" / "pairs"


def ask_crawl(folder: Path) -> None:
    """Print milliseconds over 1,000 URLs, 12 of them removed and two never seen, one a call."""
    sys.path[:0] = [str(TESTS), str(TESTS / "search")]
    import test_why as made  # pyright: ignore[reportMissingImports]

    made.N, made.FILES = N, 20
    place, draw = made.crawled(folder), random.Random(0)
    by_url: dict[str, list[int]] = {}
    for number in range(N):
        by_url.setdefault(made.url_of(number), []).append(number)
    asked = [*draw.sample(sorted(by_url), 998), "https://nobody.org/x.jpg", "https://nobody.org/y.jpg"]
    for gone in (asked[:6], asked[6:12]):
        remove_pairs([place], RemovalRequest(urls=tuple(gone)))
    start = time.process_time()
    made.explained(place, asked[:1])
    print(f"{N:,} candidates of a crawl; the rows by URL, once: {time.process_time() - start:.2f} CPU s")
    removed = asked[:12]
    draw.shuffle(asked)
    spent = []
    for url in asked:
        cpu, wall = time.process_time(), time.perf_counter()
        found = made.explained(place, [url])
        spent.append((1000 * (time.process_time() - cpu), 1000 * (time.perf_counter() - wall)))
        made.check(url, found, by_url.get(url, []), {*removed})
    for name, some in zip(("CPU", "clock"), np.array(spent).T, strict=True):
        print(f"1,000 URLs, all answered right, {name}: median {np.median(some):.1f} ms, 95 percent under "
              f"{np.quantile(some, 0.95):.1f}, most {some.max():.0f}; {np.mean(some < 50):.1%} under 50")  # fmt: skip


def timed(urls: list[list[str]], place: Path) -> tuple[float, float]:
    """CPU and wall milliseconds a URL."""
    cpu, wall = time.process_time(), time.perf_counter()
    for some in urls:
        assert {row[0] for row in explain_urls(place, some).rows} == {*some}
    count = sum(map(len, urls)) / 1000
    return (time.process_time() - cpu) / count, (time.perf_counter() - wall) / count


def ask_table(folder: Path) -> None:
    """Print milliseconds over the URLs of a table."""
    place = Path(folder, "set")
    place.mkdir()
    duckdb.sql(
        f"""COPY (SELECT 'https://host' || n % 997 || '.org/' || md5(n::VARCHAR) || '.jpg' AS url,
        'a picture of ' || n AS text, 'https://page.org/' || n // 20 AS page_url, n AS record_offset, n % 1000 AS width,
        md5((n * 7)::VARCHAR) AS sha256 FROM range({N}) t(n)) TO '{folder}/rows.parquet' (FORMAT parquet)"""
    )
    pairs_from_tables([Path(folder, "rows.parquet")], place / "read")
    deduplicate(place / "read", place / "unique", DuplicateRules(by=("url", "text")))
    subset(place / "unique", "width > 500", place / "subset")
    urls = [url for (url,) in duckdb.sql(f"SELECT url FROM '{folder}/rows.parquet'").fetchall()]
    start = time.process_time()
    explain_urls(place, urls[:1])
    print(f"the rows by URL, once: {time.process_time() - start:.2f} CPU s")
    print(f"they take {sum(one.stat().st_size for one in place.glob('.why-*')) / 1e6:.1f} MB")
    drawn = random.Random(0).sample(urls, 1000)
    for name, some in (("one URL a call", [[url] for url in drawn[:100]]), ("1,000 URLs a call", [drawn])):
        cpu, wall = timed(some, place)
        print(f"{name}: {cpu:.2f} CPU ms a URL, {wall:.2f} ms of the clock")


with TemporaryDirectory() as temporary:
    (ask_crawl if sys.argv[2:] == ["crawl"] else ask_table)(Path(temporary))
