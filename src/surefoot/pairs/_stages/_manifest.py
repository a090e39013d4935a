"""A stage's directory: parts (`part-00000.parquet` ...), what lies beside them, and `manifest.json`, written last."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from surefoot.core import SurefootError, digest_of, write_text

MANIFEST = "manifest.json"
_FORMAT = 1


@dataclass(frozen=True, kw_only=True)
class Source:
    """A file that a part is made of, and the SHA-256 of its bytes."""

    path: Path
    sha256: str


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """What a stage was told: the name and version of its rules, and all of their values (plain JSON data)."""

    name: str
    version: int = 1
    rules: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Part:
    """One Parquet file: its rows, how many are kept (no reason against them), rows a reason, faults of what was read.

    `beside` are the other files of the part (tars, for instance), each with its SHA-256.
    """

    file: str
    sha256: str
    rows: int
    kept: int
    reasons: Mapping[str, int]
    faults: Mapping[str, int] = field(default_factory=dict)
    beside: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """What a stage made of what: `rows` counts all rows, `kept` those without a reason; nothing vanishes."""

    stage: str
    recipe: Recipe
    inputs: Mapping[str, str]
    rows: int
    kept: int
    reasons: Mapping[str, int]
    faults: Mapping[str, int]
    parts: tuple[Part, ...]


def manifest_of(stage: str, recipe: Recipe, inputs: Mapping[str, str], parts: Sequence[Part]) -> Manifest:
    """The manifest of finished parts: their counts summed."""
    reasons, faults = (
        dict(sorted(sum((Counter(getattr(part, name)) for part in parts), Counter[str]()).items()))
        for name in ("reasons", "faults")
    )
    rows, kept = sum(part.rows for part in parts), sum(part.kept for part in parts)
    return Manifest(
        stage=stage, recipe=recipe, inputs=inputs, rows=rows, kept=kept, reasons=reasons, faults=faults,
        parts=tuple(parts),
    )  # fmt: skip


def write_manifest(out: Path, manifest: Manifest) -> None:
    """Write `manifest.json` in one rename: it is there when all parts are."""
    text = json.dumps({"format": _FORMAT} | asdict(manifest), indent=1, ensure_ascii=False, allow_nan=False)
    write_text(out / MANIFEST, text + "\n")


def read_manifest(directory: Path) -> Manifest:
    """The manifest of a stage's directory. Raises `SurefootError` where there is none, or another format's."""
    try:
        found = json.loads((directory / MANIFEST).read_text(encoding="utf-8"))
        if found.pop("format") != _FORMAT:
            raise ValueError("another format")
        found |= {"recipe": Recipe(**found["recipe"]), "parts": tuple(Part(**part) for part in found["parts"])}
        manifest = Manifest(**found)
        if manifest != manifest_of(manifest.stage, manifest.recipe, manifest.inputs, manifest.parts):
            raise ValueError("its counts are not the sums of those of its parts")
        return manifest
    except FileNotFoundError:
        if (directory / ".removal").exists():
            raise SurefootError(f"A removal was stopped in {directory}: 'surefoot pairs remove' finishes it.") from None
        raise SurefootError(
            f"{directory} has no {MANIFEST}: it is no finished output of a stage. Run that stage again to finish it."
        ) from None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise SurefootError(f"{directory / MANIFEST} is not the manifest of a stage: {error}.") from None


def sources_in(directory: Path) -> tuple[Source, ...]:
    """The parts of a stage's directory, with their digests. Raises as `read_manifest`, for none, and for other files of
    rows.
    """
    parts = read_manifest(directory).parts
    if not parts:
        raise SurefootError(f"{directory} has no parts: there is nothing to work on.")
    for name, digest in files_of(parts).items():
        if name.endswith((".parquet", ".npy")):
            check_file(directory / name, digest)
    return tuple(Source(path=directory / part.file, sha256=part.sha256) for part in parts)


def files_of(parts: Iterable[Part]) -> dict[str, str]:
    """The files of parts by name, each with its SHA-256."""
    return {name: one for part in parts for name, one in {**part.beside, part.file: part.sha256}.items()}


def check_file(file: Path, known: str) -> str:
    """The SHA-256 of a file. Raises where it is missing, and for another one than the manifest has."""
    if not file.is_file() or digest_of(file) != known:
        raise SurefootError(f"{file} is not the file of {MANIFEST}: put that back, or make it all anew.")
    return known


def sources_of(files: Sequence[Path]) -> tuple[Source, ...]:
    """Files of a user as sources. Raises for one that is missing, and for two of one name."""
    twice = [name for name, count in Counter(file.name for file in files).items() if count > 1]
    if twice:
        raise SurefootError(f"Two inputs have the name {twice[0]}, by which the manifest knows them: rename one.")
    return tuple(Source(path=file, sha256=digest_of(file)) for file in files)
