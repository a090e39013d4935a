"""What a set says of 1,000 URLs of 5,000 candidates, after a kill and two removals, against how they were made."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet as pq
import pytest
from archives import WebPage, response, write_archive

from surefoot.core import SurefootError
from surefoot.pairs import (
    DuplicateRules,
    Recipe,
    RemovalRequest,
    Source,
    deduplicate,
    explain_urls,
    make_parts,
    pairs_from_tables,
    remove_pairs,
    sources_in,
    subset,
)

N, FILES, PER_PAGE = 5000, 5, 25
KINDS = ("kept", "kept", "text_short", "url_kind", "duplicate_url", "download_gone", "download_opted_out", "kept")


def kind_of(number: int) -> str:
    return KINDS[number % len(KINDS)] if number >= 100 else "kept"


def url_of(number: int) -> str:
    """A duplicate has the URL of the first hundred, that two thirds of them share."""
    if kind_of(number) == "duplicate_url":
        return url_of(number % 60)
    return f"https://host{number % 97}.org/p{number}.{'gif' if kind_of(number) == 'url_kind' else 'jpg'}"


def archive(folder: Path, place: int) -> Path:
    pages = []
    for start in range(place * N // FILES, (place + 1) * N // FILES, PER_PAGE):
        tags = [
            f'<img src="{url_of(n)}" alt="{"tiny" if kind_of(n) == "text_short" else f"picture {n}"}">'
            for n in range(start, start + PER_PAGE)
        ]
        body = f"<html><body>{''.join(tags)}</body></html>".encode()
        pages.append(response(WebPage(url=f"https://pages.org/{start}.html", body=body)))
    return write_archive(folder / f"crawl-{place}.warc.gz", pages)


def fetched(source: Source, path: Path) -> dict[str, int]:
    """A part as `download` leaves it, without a web."""
    table = pq.read_table(source.path)
    kinds = [kind_of(int(url.rsplit("/p", 1)[1].split(".")[0])) for url in table["url"].to_pylist()]
    reasons = table["reasons"].to_pylist()
    asked = [not why for why in reasons]
    states = [kind.removeprefix("download_") if "download" in kind else "ok" for kind in kinds]
    for number, state in enumerate(states):
        if asked[number] and state != "ok":
            reasons[number] = [f"download_{state}"]
    columns: dict[str, list[Any]] = {
        "state": [one if ask else None for one, ask in zip(states, asked, strict=True)],
        "reason": ["robots.txt" if one == "opted_out" else None for one in states],
        "robots": [("Disallow: /" if one == "opted_out" else "allowed") if ask else None
                   for one, ask in zip(states, asked, strict=True)],
        "bytes": [7_000 if ask else None for ask in asked],
        "original_width": [640 if ask else None for ask in asked],
        "original_height": [480 if ask else None for ask in asked],
    }  # fmt: skip
    for name, values in columns.items():
        table = table.append_column(name, pyarrow.array(values))
    hops = [["https://hop.org/1"] if ask else [] for ask in asked]
    table = table.append_column("hops", pyarrow.array(hops, pyarrow.list_(pyarrow.string())))
    table = table.set_column(table.column_names.index("reasons"), "reasons",
                             pyarrow.array(reasons, pyarrow.list_(pyarrow.string())))  # fmt: skip
    pq.write_table(table, path)
    return {}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return crawled(tmp_path_factory.mktemp("why"))


def crawled(folder: Path) -> Path:
    """N candidates, extracted by a program that is killed after its first part and started again, and two stages."""
    files = [archive(folder, place) for place in range(FILES)]
    place, call = (
        folder / "set",
        [sys.executable, "-c", "from surefoot.cli import main; main()", "pairs", "extract", *map(str, files)],
    )
    call += ["--recipe", "laion5b", "--out", str(place / "candidates")]
    running = subprocess.Popen(call, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while running.poll() is None and not [*(place / "candidates" / ".unfinished").glob("part-*.json")]:
        time.sleep(0.01)
    if running.poll() is None:
        os.kill(running.pid, signal.SIGKILL)
    running.wait()
    subprocess.run(call, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deduplicate(place / "candidates", place / "unique", DuplicateRules())
    recipe = Recipe(name="download", rules={"max_bytes": 10_000, "max_pixels": 1_000_000})
    make_parts("download", recipe, sources_in(place / "unique"), place / "pictures", fetched)
    return place


@dataclass
class Testimony:
    """What is said of one row: the verdict, the stage of it, and its facts by stage and name."""

    __test__ = False
    url: str
    uid: str
    verdict: str
    stage: str
    reasons: tuple[str, ...]
    facts: dict[tuple[str, str], tuple[object, object, object]] = field(default_factory=dict)


def explained(place: Path, urls: list[str]) -> list[Testimony]:
    """Rows of a pair that stands twice under one name come one after the other."""
    found: list[Testimony] = []
    for url, uid, verdict, by, reasons, stage, fact, value, threshold, dropped in explain_urls(place, urls).rows:
        key = (str(stage), str(fact))
        if not found or (found[-1].url, found[-1].uid) != (url, uid) or key == next(iter(found[-1].facts)):
            found.append(Testimony(str(url), str(uid), str(verdict), str(by), tuple(str(reasons).split())))
        found[-1].facts[key] = (value, threshold, dropped)
    return found


def facts(one: Testimony, stage: str) -> dict[str, tuple[object, object, object]]:
    return {fact: told for (where, fact), told in one.facts.items() if where == stage}


def check(url: str, found: list[Testimony], numbers: list[int], removed: set[str]) -> None:
    if url in removed or not numbers:
        assert [one.verdict for one in found] == ["removed" if url in removed else "never a candidate"]
        return
    kinds = ["kept", *["duplicate_url"] * (len(numbers) - 1)] if len(numbers) > 1 else [kind_of(numbers[0])]
    assert len(found) == len(numbers)
    by_text = {facts(one, "extract")["text"][0]: one for one in found}
    for number, kind in zip(numbers, kinds, strict=True):
        one = by_text["tiny" if kind == "text_short" else f"picture {number}"]
        told = facts(one, "extract")
        assert told["page_url"][0] == f"https://pages.org/{number // PER_PAGE * PER_PAGE}.html"
        assert told["file"][0] == f"crawl-{number * FILES // N}.warc.gz"
        assert isinstance(told.get("record_offset", (0,))[0], int)
        assert told["text_short"] == (len(str(told["text"][0])), 5, kind == "text_short")
        assert told["url_kind"][0] == ([".gif"] if kind == "url_kind" else [])
        stage = "extract" if kind in ("text_short", "url_kind") else "deduplicate" if "dup" in kind else "download"
        assert (one.verdict, one.stage) == ("kept" if kind == "kept" else "dropped", stage)
        assert one.reasons == (() if kind == "kept" else (kind,))
        if stage == "deduplicate":
            first = next(other for other in found if other.verdict != "dropped")
            assert facts(one, stage)["duplicate_of"][0] == first.uid
        if stage == "download":
            told = facts(one, stage)
            assert told["robots"][0] == ("Disallow: /" if kind == "download_opted_out" else "allowed")
            assert told["max_bytes"] == (7_000, 10_000, False) and told["original_width"][0] == 640
            assert told["hops"][0] == ["https://hop.org/1"]


def test_a_thousand_urls_are_answered_as_they_were_made_after_a_kill_and_two_removals(
    whole: Path, surefoot: Callable[..., Any]
) -> None:
    draw = random.Random(0)
    by_url: dict[str, list[int]] = {}
    for number in range(N):
        by_url.setdefault(url_of(number), []).append(number)
    gone = draw.sample(sorted(by_url), 12)
    assert explained(whole, gone[:1])[0].verdict in ("kept", "dropped")
    assert len([*whole.glob(".why-*")]) == 1
    for some in (gone[:6], gone[6:]):
        remove_pairs([whole], RemovalRequest(urls=tuple(some)))
        assert not [*whole.glob(".why-*")]
    asked = [*draw.sample(sorted(by_url), 985), *gone, "https://nobody.org/x.jpg", "https://nobody.org/y.jpg", ""]
    found: dict[str, list[Testimony]] = {url: [] for url in asked}
    for one in explained(whole, [*found]):
        found[one.url].append(one)
    for url, told in found.items():
        check(url, told, by_url.get(url, []), {*gone})
    (ledger,) = whole.glob(".why-*")
    written = "\n".join(pq.read_table(ledger)["row"].to_pylist())
    assert not any(f'"{url}"' in written for url in gone)
    ended = surefoot("pairs", "why", gone[0], asked[0], whole, "--format", "json")
    rows = json.loads(ended.out)
    lines = [row for row in rows if row["url"] == gone[0]]
    assert [(row["verdict"], row["fact"]) for row in lines] == [("removed", "removed"), ("removed", "digest")]
    assert lines[0]["value"].count("-") == 2 and lines[0]["threshold"] == "urls"
    text = surefoot("pairs", "why", "https://nobody.org/x.jpg", whole, "--format", "text").out
    assert text.splitlines()[1].split() == ["https://nobody.org/x.jpg", "never", "a", "candidate"]


def test_what_a_subset_leaves_out_and_a_folder_of_one_stage_testify(
    tmp_path: Path, surefoot: Callable[..., Any]
) -> None:
    rows = [{"url": f"u{n}", "text": "a", "width": n, "score": float("nan")} for n in range(4)] + [{"url": "u1"}]
    (tmp_path / "set").mkdir()
    pq.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "rows.parquet")
    pairs_from_tables([tmp_path / "rows.parquet"], tmp_path / "set" / "read")
    subset(tmp_path / "set" / "read", "width > 1", tmp_path / "set" / "subset")
    one, other, *twins = explained(tmp_path / "set", ["u0", "u2", "u1"])
    assert (one.verdict, one.stage, facts(one, "subset")) == ("absent", "subset", {"where": (None, "width > 1", True)})
    assert (other.verdict, other.stage) == ("kept", "subset")
    assert [(twin.uid == twins[0].uid, twin.verdict) for twin in twins] == [(True, "absent"), (False, "absent")]
    (alone,) = explained(tmp_path / "set" / "read", ["u0"])
    assert alone.verdict == "kept" and not [*(tmp_path / "set" / "read").glob(".why*")]
    assert facts(alone, "read")["width"] == (0, None, None)
    assert surefoot("pairs", "why", tmp_path / "set").code == 2
    with pytest.raises(SurefootError, match="no output of a stage"):
        explain_urls(tmp_path, ["u0"])


def test_a_url_is_known_as_it_is_written_and_as_a_browser_asks_for_it(tmp_path: Path) -> None:
    """A crawl keeps the URL Standard's spelling, a list of the user's his own; people paste either."""
    kept = ("http://example.org/a%20b/%C3%BC.jpg", "HTTP://Example.org/own.jpg", "http://example.org/none.jpg")
    pq.write_table(pyarrow.table({"url": kept[:2], "text": ["one", "two"]}), tmp_path / "urls.parquet")
    place = tmp_path / "set"
    place.mkdir()
    pairs_from_tables([tmp_path / "urls.parquet"], place / "read")
    pasted = "http://EXAMPLE.org:80/x/../a b/ü.jpg"

    def verdicts(*urls: str) -> list[tuple[object, ...]]:
        return list(dict.fromkeys((row[0], row[2]) for row in explain_urls(place, urls).rows))

    assert verdicts(pasted, kept[1], kept[2], "no URL") == [
        (kept[0], "kept"), (kept[1], "kept"), (kept[2], "never a candidate"), ("no URL", "never a candidate")
    ]  # fmt: skip
    assert remove_pairs([place], RemovalRequest(urls=(pasted,))).rows[0][1] == 1
    assert verdicts(pasted, kept[1]) == [(kept[0], "removed"), (kept[1], "kept")]


def _measured(source: Source, path: Path) -> dict[str, int]:
    table = pq.read_table(source.path)
    place = table.column_names.index("similarity")
    pq.write_table(table.set_column(place, "similarity", pyarrow.array([0.1, 0.9], pyarrow.float32())), path)
    return {}


def test_a_removal_by_a_condition_goes_by_the_last_stage_with_its_columns(tmp_path: Path) -> None:
    """The user's own table has a similarity, too, which says the contrary."""
    table = pyarrow.table({"url": ["u", "v"], "text": ["", ""], "similarity": [0.9, 0.1]})
    pq.write_table(table, tmp_path / "own.parquet")
    pairs_from_tables([tmp_path / "own.parquet"], first := tmp_path / "set" / "z")
    make_parts("embed", Recipe(name="embed"), sources_in(first), last := tmp_path / "set" / "a", _measured)
    remove_pairs([tmp_path / "set"], RemovalRequest(where="similarity < 0.5"))
    assert [pq.read_table(one / "part-00000.parquet")["url"].to_pylist() for one in (first, last)] == [["v"], ["v"]]
