"""What a set says of a URL: CPU milliseconds a URL, on N candidates in three stages, one URL a call and 1,000 a call.

python benchmarks/pairs_why.py 100000
"""

import random
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import duckdb

from surefoot.pairs import DuplicateRules, deduplicate, explain_urls, pairs_from_tables, subset

N = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000


def timed(urls: list[list[str]], place: Path) -> tuple[float, float]:
    """CPU and wall milliseconds a URL."""
    cpu, wall = time.process_time(), time.perf_counter()
    for some in urls:
        assert {row[0] for row in explain_urls(place, some).rows} == {*some}
    count = sum(map(len, urls)) / 1000
    return (time.process_time() - cpu) / count, (time.perf_counter() - wall) / count


with TemporaryDirectory() as folder:
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
