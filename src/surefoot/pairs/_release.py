"""The release of a set: one manifest of its stages, and a datasheet with the statistics of what is kept."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from surefoot.core import SurefootError, digest_of, write_text
from surefoot.pairs._search._where import is_number, rows_of
from surefoot.pairs._set import ends_of, made_of, places_of, ways_of
from surefoot.pairs._stages._manifest import MANIFEST, Manifest, sources_in

_MOST, _BINS = 20, 10
_NUMBERS = {"similarity": "similarity", "width": "width", "height": "height", "length of the text": "length(text)"}


@dataclass(frozen=True)
class ReleaseTable:
    """A part of a datasheet: a sentence and a table; of `drawn` ones the rows are (label, rows, share)."""

    title: str
    sentence: str
    columns: tuple[str, ...]
    rows: tuple[tuple[object, ...], ...]
    drawn: bool = False


def release_set(path: Path, out: Path, *, about: str = "") -> tuple[ReleaseTable, ...]:
    """Write `release.json` and `datasheet.md` of a set into `out`, and give the tables of the datasheet.

    `release.json` has each stage's recipe, counts and the SHA-256 of its own manifest, which has those of all files.
    `about` stands first in the datasheet: purpose, licence, contact, which nobody else can know.
    """
    stages = places_of(path).stages
    if not stages:
        raise SurefootError(f"{path} has an index alone, and no manifest to release: name the folder of its stages.")
    made = tuple((one.stage, one.recipe.name, one.rows, one.kept) for _, one in stages)
    sources = [next((other for _, other in stages if made_of(one, other)), None) for _, one in stages]
    counts = ((one.stage, why, n - (source.reasons.get(why, 0) if source else 0))  # a row keeps its reasons
              for (_, one), source in zip(stages, sources, strict=True) for why, n in one.reasons.items())  # fmt: skip
    dropped = tuple(count for count in (*counts, *_vanished(stages, sources)) if count[2] > 0)
    said = "Stages in their order; a row that a rule drops stays, with its reasons."
    tables = (
        ReleaseTable("How it was made", said, ("stage", "recipe", "rows", "kept"), made),
        ReleaseTable("What each rule dropped", "Rows by stage and reason.", ("stage", "reason", "rows"), dropped),
        *_distributions([source.path for end, _ in ends_of(stages) for source in sources_in(end)]),
    )
    out.mkdir(parents=True, exist_ok=True)
    listed = [{"folder": at.name, "manifest_sha256": digest_of(at / MANIFEST)} | asdict(one) for at, one in stages]
    write_text(out / "release.json", json.dumps({"format": 1, "stages": listed}, indent=1, ensure_ascii=False) + "\n")
    lines = [f"# Datasheet of {path.resolve().name}", "", about or "Purpose, licence and contact: to be written.", ""]
    for table in tables:
        lines += [f"## {table.title}", "", table.sentence, "", *_markdown([table.columns, *table.rows]), ""]
    write_text(out / "datasheet.md", "\n".join(lines))
    return tables


def _vanished(
    stages: Sequence[tuple[Path, Manifest]], sources: Sequence[Manifest | None]
) -> Iterator[tuple[str, str, int]]:
    """Rows that a stage has no more: left out by a condition, named by a hash list, removed afterwards."""
    for (_, one), source in zip(stages, sources, strict=True):
        if one.stage == "subset" and source:
            yield one.stage, f"not ({one.recipe.rules['where']})", source.kept - one.kept
        yield one.stage, "named by a hash list", one.faults.get("screened", 0)
    gone = [[stages[at][1].faults.get("removed", 0) for at in way] for way in ways_of(stages)]
    yield "remove", "removed afterwards", sum(map(max, gone))


def _markdown(rows: Sequence[tuple[object, ...]]) -> list[str]:
    texts = [[f"{cell:.1%}" if isinstance(cell, float) else str(cell) for cell in row] for row in rows]
    lines = [" | ".join(cell.replace("|", "\\|").replace("<", "&lt;") for cell in row) for row in texts]
    return [f"| {line} |" for line in (lines[0], " | ".join("---" for _ in rows[0]), *lines[1:])]


def _distributions(files: Sequence[Path]) -> list[ReleaseTable]:
    """Languages, and histograms of the numbers that every set may have, of the rows that are kept."""
    tables, kept = [], "FROM rows WHERE len(reasons) = 0"
    with rows_of(files) as rows:
        known = {name for name, kind, *_ in rows.execute("DESCRIBE rows").fetchall() if is_number(kind)}
        counted = f"SELECT coalesce(language, 'not known'), count(*) {kept} GROUP BY 1 ORDER BY 2 DESC, 1"
        languages = rows.execute(counted).fetchall()
        rest = [(f"{len(languages) - _MOST} others", sum(n for _, n in languages[_MOST:]))]
        found = {"language": languages[:_MOST] + (rest if len(languages) > _MOST else [])}
        for title, sql in _NUMBERS.items():
            if title in known or "(" in sql:
                kept = f"FROM rows WHERE len(reasons) = 0 AND isfinite(({sql})::DOUBLE)"
                ((low, high),) = rows.execute(f"SELECT min({sql})::DOUBLE, max({sql})::DOUBLE {kept}").fetchall()
                wide = ((high or 0) - (low or 0)) / _BINS or 1.0
                place = f"least({_BINS - 1}, floor(({sql} - {low or 0}) / {wide}))"
                counted = f"SELECT {place}, count(*) {kept} GROUP BY 1 ORDER BY 1"
                bins = rows.execute(counted).fetchall()
                bounds = [(low + at * wide, min(high, low + (at + 1) * wide), n) for at, n in bins]
                found[title] = [(f"{one:.4g} to {other:.4g}" if one < other else f"{one:.4g}", n)
                                for one, other, n in bounds]  # fmt: skip
    for title, counts in found.items():
        total = sum(n for _, n in counts)
        shares = tuple((label, n, n / total) for label, n in counts)
        said = f"Of {total:,} rows that are kept."
        if total:
            tables.append(ReleaseTable(title.capitalize(), said, (title, "rows", "share"), shares, drawn=True))
    return tables
