"""What a set can say of a URL: where it was found, what every stage did with it, and why it is not there."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from glob import escape
from hashlib import sha256
from itertools import groupby
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from surefoot.core import Table, full_disk_is_said
from surefoot.pairs._extract._page import spellings
from surefoot.pairs._extract._rules import CandidateRules, checks
from surefoot.pairs._remove._find import LEDGER
from surefoot.pairs._set import places_of, ways_of
from surefoot.pairs._stages._manifest import MANIFEST, Manifest
from surefoot.pairs._stages._tables import pairs_directory
from surefoot.pairs._stages._tombs import TOMBS, digest, tombs
from surefoot.tables import database, literal

_COLUMNS = ("url", "uid", "verdict", "by", "reasons", "stage", "fact", "value", "threshold", "dropped")
_VALUES = {"max_bytes": "bytes", "phash_distance": "phash", "cosine": "duplicate_of", "by": "duplicate_of"}
_NEVER = "never a candidate"
_OURS = {"reasons", "file_row_number", "filename"}
_Stages = tuple[tuple[Path, Manifest], ...]


def explain_urls(place: Path, urls: Sequence[str]) -> Table:
    """What the stages in a folder say of URLs: of each of their rows the verdict, then fact by fact, stage by stage.

    `verdict` is "kept", "dropped", "absent" (a stage has no row of it any more), "removed" or "never a candidate"; `by`
    is its stage. A fact is a column that is new or other in a stage, or a rule: the row's value, the threshold, whether
    it dropped the row. The first call after a change writes the rows by URL into the folder (into none of a stage). Of
    what was removed the keyed digest is looked for. Raises as `places_of`, and where a key is lost.
    """
    import pyarrow.parquet as pq

    stages = places_of(place).stages
    way_of = {at: way for way in ways_of(stages) for at in way}
    with TemporaryDirectory() if pairs_directory(place) else nullcontext(place) as home:
        ledger, asked = _ledger(Path(home), stages), [one for url in urls for one in spellings(url)]
        only = [("url", "in", asked)]
        table = pq.read_table(ledger, filters=only, use_threads=False, memory_map=True, pre_buffer=False)
        found = sorted(table.to_pylist(), key=lambda one: (one["uid"], way_of[one["stage"]], one["same"]))
    rows = list[tuple[object, ...]]()
    for url in dict.fromkeys(urls):
        told = [[(name, *line) for key, way in groupby(
            [one for one in found if one["url"] == name] or [{"stage": -1, "uid": "", "same": 0}],
            lambda one: (one["uid"], way_of.get(one["stage"], [*range(len(stages))]), one["same"]))
            for line in _said(name, stages, key[1], [*way])]
            for name in spellings(url)]  # fmt: skip
        rows += next((one for one in told if one[0][2] != _NEVER), told[0])
    return Table(_COLUMNS, tuple(rows))


def _ledger(home: Path, stages: _Stages) -> Path:
    """The rows of all stages as JSON, ordered by URL; those of one name are counted: all stages keep their order."""
    made = sha256(b"".join((folder / MANIFEST).read_bytes() for folder, _ in stages)).hexdigest()
    ledger = home / f"{LEDGER}{made[:16]}.parquet"
    if not ledger.is_file():
        for old in home.glob(f"{LEDGER}*"):
            old.unlink()
        parts = {at: [str(folder / part.file) for part in one.parts] for at, (folder, one) in enumerate(stages)}
        rows = " UNION ALL ".join(
            f"SELECT {at} AS stage, list_position($f{at}, filename) - 1 AS part, url, uid, to_json(p)::VARCHAR AS row, "
            "row_number() OVER (PARTITION BY uid ORDER BY part, file_row_number) AS same FROM (SELECT COLUMNS(lambda c:"
            f" c <> 'jpg') FROM read_parquet($r{at}, file_row_number = true, filename = true, union_by_name = true)) p"
            for at, names in parts.items() if names)  # fmt: skip
        named = {f"f{at}": names for at, names in parts.items() if names}
        named |= {f"r{at}": [*map(escape, names)] for at, names in parts.items() if names}
        with full_disk_is_said(home), database() as connection:
            draft = f"COPY (FROM ({rows}) ORDER BY url) TO {literal(ledger.with_suffix('.tmp'))}"
            connection.execute(f"{draft} (FORMAT parquet, ROW_GROUP_SIZE 2048)", named)
        ledger.with_suffix(".tmp").replace(ledger)
    return ledger


def _said(url: str, stages: _Stages, places: Sequence[int], way: Sequence[Any]) -> Iterator[tuple[object, ...]]:
    facts, before, there = list[Any](), dict[str, Any](), {one["stage"]: one for one in way}
    said = (way[0]["uid"], _NEVER, "", "")
    for at in places:
        folder, manifest = stages[at]
        if at in there:
            row = json.loads(there[at]["row"], parse_constant=lambda _: None)
            facts += _facts(manifest, there[at]["part"], row, before)
            if not before.get("reasons"):
                said = (row["uid"], "dropped" if row["reasons"] else "kept", manifest.stage, " ".join(row["reasons"]))
            before = row
        elif why := _gone(folder, manifest, url, bool(before)):
            facts += why
            end = "removed" if why[0][1] == "removed" else "absent"
            said = said if said[1] == "dropped" else (said[0], end, manifest.stage, "")
            break
    yield from ((*said, *fact) for fact in facts or [("", "", None, None, None)])


def _gone(folder: Path, manifest: Manifest, url: str, was_there: bool) -> list[tuple[object, ...]]:
    """Why a stage has no row of a URL."""
    stage = manifest.stage
    if (folder / TOMBS).is_file():
        key, told = tombs(folder)
        if (mark := digest(key, url.encode("utf-8", "replace"))) in told["digests"]:
            removal = told["removals"][told["digests"][mark]]
            removed = (stage, "removed", removal["date"], ", ".join(removal["by"]), True)
            return [removed, (stage, "digest", mark, None, None)]
    where = manifest.recipe.rules.get("where") if stage == "subset" else None
    screened = "a hash list names it" if manifest.faults.get("screened") else None
    return [(stage, "where" if where else "row", None, where or screened, True)] if was_there else []


def _facts(manifest: Manifest, part: int, row: Any, before: Any) -> Iterator[tuple[object, ...]]:
    """A row's columns that are new, the rules with its values and their thresholds, and the other reasons."""
    stage, told = manifest.stage, manifest.recipe.rules
    new = [reason for reason in row["reasons"] if reason not in before.get("reasons", ())]
    if stage == "extract":
        yield stage, "file", [*manifest.inputs][part], None, None
    for name, value in row.items():
        if name not in _OURS and value is not None and (name not in before or before[name] != value):
            yield stage, name, value, None, None
    if stage == "extract":
        more: Any = {name: tuple(value) if isinstance(value, list) else value for name, value in told.items()}
        rules = CandidateRules(name=manifest.recipe.name, version=manifest.recipe.version, **more)
        url, score = None if "url_invalid" in new else row["url"], row["language_score"] or 0.0
        rest = [one[:3] for one in checks(rules, url, row["text"], row["language"], score)]
    else:
        rest = [(name, row.get(_VALUES.get(name, name)), limit) for name, limit in told.items() if name not in row]
    yield from ((stage, *one, one[0] in new) for one in rest)
    why = row.get("duplicate_of" if stage == "deduplicate" else "reason")
    yield from ((stage, name, why, None, True) for name in new if name not in [one[0] for one in rest])
