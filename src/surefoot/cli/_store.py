"""The verbs of a store: show, table, stale, verify, export, clean."""

import json
import shutil
import sqlite3
import sys
import time
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from surefoot.cli._common import Exit, Options, StoreOption, existing_store, open_study
from surefoot.cli._output import Format, check_place, emit, say
from surefoot.core import (
    Artifact,
    Store,
    SurefootError,
    Table,
    connect,
    damages,
    full_disk_is_said,
    holder_is_alive,
    nobody_else,
    pivot,
    query,
    recorded,
    walk,
)
from surefoot.core import stale as stale_artifacts

_LONG = ("kind", "metric", "task", "shift", "group", "replicate", "value", "low", "high", "stderr", "n", "step")


def show(key: Annotated[str, Parameter(help="The beginning of a key.")], /, *, store: StoreOption = None) -> None:
    """Print one artifact as JSON: its spec, measurements, provenance and files."""
    artifact = Artifact(existing_store(store).find(key))
    shown = {
        "key": artifact.key,
        "path": str(artifact.path),
        **artifact.spec,
        "measurements": artifact.record["measurements"],
        "provenance": artifact.provenance,
    }
    print(json.dumps(shown, indent=1, ensure_ascii=False))


def table(
    study: Annotated[str | None, Parameter(help="Only the Steps of this study. Default: the whole store.")] = None,
    /,
    *,
    rows: Annotated[tuple[str, ...], Parameter(help="Fields that make the lines.", consume_multiple=True)] = (),
    columns: Annotated[tuple[str, ...], Parameter(help="Fields that make the columns.", consume_multiple=True)] = (),
    values: Annotated[tuple[str, ...], Parameter(help="What the cells show.", consume_multiple=True)] = ("value",),
    where: Annotated[
        str, Parameter(help="""An SQL condition: "metric = 'top1'"; a name with dots in double quotes.""")
    ] = "",
    option: Options = (),
    store: StoreOption = None,
    out: Annotated[Path | None, Parameter(help="A file: .tsv, .csv, .json, .md, .tex, .parquet or .txt.")] = None,
    format: Format | None = None,
) -> Exit:
    """Print measurements, by any field; without --rows it lists every measurement with its interval."""
    if not rows and (columns or values != ("value",)):
        raise SurefootError("--columns and --values need --rows: name the fields that make the lines.")
    check_place(out, format)
    keys = [step.key for step in walk(open_study(study, option).steps)] if study else None
    place = existing_store(store)
    asked = {"rows": rows, "columns": columns, "values": values} if rows else {"rows": _LONG, "values": ()}
    damaged: list[str] = []
    found = pivot(place, where=where, steps=keys, damaged=damaged, **asked)
    emit(found, format, out)
    if {"n", "stderr"}.intersection(values) and any(None in row[len({*rows}) :] for row in found.rows):
        say("surefoot: A blank n or stderr is that of several Steps, or of none: more --rows part them.")
    if not found.rows:
        say(f"surefoot: No measurement in {place.root}{' of the study' * bool(study)}{' fits --where' * bool(where)}.")
    for one in damaged:
        say(f"surefoot: Left out: {one}")
    return Exit.UNJUDGED if damaged else Exit.HOLDS


def stale(
    studies: Annotated[
        tuple[str, ...], Parameter(help="Study files whose Steps are in the store: a store knows no place of code.")
    ] = (),
    /,
    *,
    store: StoreOption = None,
    format: Format | None = None,
) -> None:
    """List artifacts whose code changed after they were made; nothing is recomputed."""
    for name in studies:
        open_study(name, ())
    changed = stale_artifacts(existing_store(store))
    emit(Table(("kind", "key", "reason"), tuple((item.kind, item.key, reason) for item, reason in changed)), format)


def verify(
    study: Annotated[str | None, Parameter(help="Only the Steps of this study. Default: the whole store.")] = None,
    /,
    *,
    option: Options = (),
    remove: Annotated[
        bool, Parameter(help="Remove what is damaged: the next run makes it again.", negative=())
    ] = False,
    store: StoreOption = None,
    format: Format | None = None,
) -> int:
    """Compare every file in the store with the digest that was recorded of it; exits with 1 when one is damaged."""
    place = existing_store(store)
    asked = {step.key for step in walk(open_study(study, option).steps)} if study else None
    if not (there := [key for _, key in place.places() if asked is None or key in asked]):
        raise SurefootError(
            f"There is nothing to verify: {place.root} holds {'none of its Steps' if study else 'no Steps'}."
        )
    damaged_files = list(damages(place, there))
    rows = tuple((artifact.kind, artifact.key, file, what) for artifact, file, what in damaged_files)
    damaged = {artifact.path: artifact for artifact, _, _ in damaged_files}
    emit(Table(("kind", "key", "file", "damage"), rows), format)
    for path in damaged if remove else ():
        place.remove(path)
    lacking = len((asked or {*there}) - {*there})
    missing = f", {lacking} Steps of the study are not in the store" if lacking else ""
    print(
        f"{len(there)} artifacts compared, {len(damaged)} damaged{' and removed' * remove}{missing}.", file=sys.stderr
    )
    return 1 if damaged_files else 0


def export(
    out: Annotated[Path, Parameter(help="A new file: .sqlite, .db or .parquet.")], /, *, store: StoreOption = None
) -> None:
    """Write everything measured into one file: SQLite (steps, edges, measurements) or Parquet (one wide table)."""
    place = existing_store(store)
    if out.suffix not in (".sqlite", ".db", ".parquet"):
        raise SurefootError(f"No format for {out}: its suffix must be .sqlite, .db or .parquet.")
    check_place(out, "parquet")
    if out.exists():
        raise SurefootError(f"{out} is there already: remove it or choose another name.")
    draft = out.with_name(f"{out.name}.part")
    draft.unlink(missing_ok=True)
    try:
        with full_disk_is_said(out.parent):
            _export_sqlite(place, draft) if out.suffix != ".parquet" else _export_parquet(place, draft)
            draft.replace(out)
    finally:
        draft.unlink(missing_ok=True)
    print(out)


def clean(
    *,
    keep: Annotated[
        tuple[str, ...],
        Parameter(
            help="Also remove what only other studies made. These are kept with every option that they were run with.",
            consume_multiple=True,
        ),
    ] = (),
    option: Annotated[Options, Parameter(help="Keep the one study of --keep with these options alone.")] = (),
    unknown: Annotated[
        bool, Parameter(help="Also remove artifacts of which no run says for what study they are.", negative=())
    ] = False,
    yes: Annotated[bool, Parameter(help="Remove; without it the list is only shown.", negative=())] = False,
    store: StoreOption = None,
) -> None:
    """Remove unfinished work, leases of the dead and records of failures; with --keep also unused artifacts."""
    if option and len(keep) != 1:
        raise SurefootError("Options say how to keep one study: give one --keep STUDY with them.")
    place = existing_store(store)
    with nobody_else(place) if yes else nullcontext():
        leftovers = [path for path in place.leftovers() if not holder_is_alive(path)]
        unused, unexplained = _unused(place, keep, option) if keep else ([], [])
        unused += unexplained if unknown else []
        for path in [*leftovers, *unused]:
            print(path)
        if yes:
            for path in leftovers:
                shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
            for path in unused:
                place.remove(path)
    end = "removed." if yes else "found: add --yes to remove them."
    print(f"{len(leftovers)} leftovers and {len(unused)} unused artifacts {end}")
    if unexplained and not unknown:
        print(f"{len(unexplained)} artifacts stay: no run says for what study they are (--unknown removes them).")


def _unused(place: Store, keep: tuple[str, ...], option: tuple[str, ...]) -> tuple[list[Path], list[Path]]:
    """Artifacts that only other studies use, and artifacts of which no study is known."""
    kept, records = [open_study(name, option) for name in keep], recorded(place)
    used = {step.key for study in kept for step in walk(study.steps)}
    if not option:
        names = {study.name for study in kept}
        used |= {key for record in records if record.study in names for key in record.keys}
    known = {key for record in records for key in record.keys}
    others = {key: path for key, path in place.made().items() if key not in used}
    return [path for key, path in others.items() if key in known], [
        path for key, path in others.items() if key not in known
    ]


def _export_parquet(place: Store, path: Path) -> None:
    with connect(place) as connection:
        joined = connection.sql("SELECT * FROM measurements JOIN steps USING (step) ORDER BY step")
        joined.write_parquet(str(path))


def _export_sqlite(place: Store, path: Path) -> None:
    connection = sqlite3.connect(path)
    try:
        for name in ("steps", "edges", "measurements"):
            content = query(place, f"SELECT * FROM {name}")
            columns = ", ".join(f'"{column}"' for column in content.columns)
            connection.execute(f"CREATE TABLE {name} ({columns})")
            marks = ", ".join("?" * len(content.columns))
            connection.executemany(f"INSERT INTO {name} VALUES ({marks})", content.rows)
        connection.execute("CREATE INDEX measurement_step ON measurements (step)")
        connection.execute("CREATE TABLE exported (at TEXT)")
        connection.execute("INSERT INTO exported VALUES (?)", [time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())])
        connection.commit()
    finally:
        connection.close()
