"""Archives to candidates: every picture of every page is a row, kept or with the reasons against it."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import asdict
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

from surefoot.pairs._extract._archive import captures
from surefoot.pairs._extract._language import language_of
from surefoot.pairs._extract._page import page_of, resolve
from surefoot.pairs._extract._rules import LARGEST_TEXT, LARGEST_URL, CandidateRules, cleaned, reasons_of
from surefoot.pairs._stages._columns import pair_schema, uid_of
from surefoot.pairs._stages._manifest import Manifest, Recipe, Source, sources_of
from surefoot.pairs._stages._work import Progress, make_parts

_ROWS = 50_000
"""Rows that are held at once, and a row group of the Parquet file."""
_MORE = {"language_score": "float32", "attribute": "string", "record_offset": "int64"}


def extract(
    files: Sequence[Path], out: Path, rules: CandidateRules, *, pool: Executor | None = None,
    progress: Progress | None = None,
) -> Manifest:  # fmt: skip
    """Write the candidates of WARC and WAT files to `out`, a part a file; resumed as `make_parts` says.

    Beside the columns of pairs: `language_score` (0 to 1), `attribute` (of the picture that had the URL) and
    `record_offset` (where the page's record begins in its file). Raises `SurefootError` as `make_parts` does.
    """
    told = {name: value for name, value in asdict(rules).items() if name not in ("name", "version")}
    recipe = Recipe(name=rules.name, version=rules.version, rules=told)
    make = partial(extract_part, rules)
    return make_parts("extract", recipe, sources_of(files), out, make, pool=pool, progress=progress)


def extract_part(rules: CandidateRules, source: Source, path: Path) -> Mapping[str, int]:
    """Write the candidates of one file to a Parquet file; how often each fault was met."""
    import pyarrow
    from pyarrow.parquet import ParquetWriter

    faults: Counter[str] = Counter()
    rows, schema = candidates(source.path, rules, faults), pair_schema(**_MORE)
    with ParquetWriter(path, schema, compression="zstd") as writer:
        while batch := list(islice(rows, _ROWS)):
            columns = map(pyarrow.array, zip(*batch, strict=True), schema.types)
            writer.write_table(pyarrow.table(list(columns), schema=schema))
    return +faults


def candidates(path: Path, rules: CandidateRules, faults: Counter[str]) -> Iterator[tuple[Any, ...]]:
    """A row of every picture of a file in order, with the columns that `extract` says."""
    for capture in captures(path, faults):
        page = page_of(capture, faults)
        for picture in page.pictures:
            url, text = resolve(picture.url, page.base), cleaned(rules, picture.text)
            language, score = language_of(text)
            reasons = reasons_of(rules, url, text, language, score)
            url = url or picture.url
            yield (
                uid_of(url, text), url[:LARGEST_URL], text[:LARGEST_TEXT], capture.url, picture.license, language,
                score >= rules.reliable, score, picture.attribute, capture.offset, reasons,
            )  # fmt: skip
