"""A download from candidates to the directory of a stage: stopped at any moment, it goes on where it was."""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal, get_args

from surefoot.core import SurefootError, full_disk_is_said, missing_module, write_text
from surefoot.pairs._download._manners import Manners
from surefoot.pairs._stages._manifest import (
    MANIFEST,
    Manifest,
    Recipe,
    Source,
    manifest_of,
    read_manifest,
    write_manifest,
)  # fmt: skip
from surefoot.pairs._stages._work import WORK, begin, check_same, headed

Resize = Literal["border", "keep_ratio", "crop", "none"]
Layout = Literal["webdataset", "files", "parquet"]


@dataclass(frozen=True, kw_only=True)
class PictureForm:
    """The form in which pictures are kept, as JPEG without metadata, turned upright."""

    size: int = 256
    """Pixels of a side."""
    resize: Resize = "border"
    """Fitted into a square on white, the shorter side made so long, the middle square cut out, or left."""
    quality: int = 95
    """Of the JPEG."""
    exact: bool = False
    """Decode JPEGs in full, not at the smallest of their own scales that is large enough."""
    max_bytes: int = 10_000_000
    """The largest body."""
    max_pixels: int = 89_478_484
    """The most pixels, by the header."""
    layout: Layout = "webdataset"
    """Tars, single files, or a column of the Parquet files."""

    def __post_init__(self) -> None:
        for name, low, high in (
            ("size", 1, 8192),
            ("quality", 1, 100),
            ("max_bytes", 1, 1 << 30),
            ("max_pixels", 1, 1 << 30),
        ):
            if not low <= getattr(self, name) <= high:
                raise SurefootError(f"'{name}' lies between {low:,} and {high:,}, not at {getattr(self, name):,}.")
        for name, choices in (("resize", get_args(Resize)), ("layout", get_args(Layout))):
            if getattr(self, name) not in choices:
                raise SurefootError(f"'{name}' is one of {', '.join(choices)}, not {getattr(self, name)}.")


def download(
    sources: Sequence[Source],
    out: Path,
    *,
    form: PictureForm | None = None,
    manners: Manners | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Manifest:
    """Download the pictures of candidates into `out`: a part of a stage for each source, a row a URL with its state.

    Called again it goes on; of a finished output it asks the `retryable` rows again, and puts what it gets into the
    same parts. Raises `SurefootError` when `out` holds something else, or another run works in it. `progress` is told
    the rows done and begun.
    """
    for name in ("pycurl", "simplejpeg", "PIL"):
        if find_spec(name) is None:
            raise missing_module(name)
    from surefoot.pairs._download._engine import Engine
    from surefoot.pairs._download._hashes import read_hash_lists

    form, manners = form or PictureForm(), manners or Manners()
    inputs = {source.path.name: source.sha256 for source in sources}
    recipe = Recipe(name="download", rules=asdict(form))
    lists = read_hash_lists(manners.hash_list)
    out.mkdir(parents=True, exist_ok=True)
    with full_disk_is_said(out), _alone(out):
        if not _begun(out, asdict(manifest_of("download", recipe, inputs, ())), sources, form):
            return read_manifest(out)
        parts = asyncio.run(Engine(out, form, manners, lists, progress).parts(sources))
        manifest = manifest_of("download", recipe, inputs, parts)
        write_manifest(out, manifest)
        shutil.rmtree(out / WORK, ignore_errors=True)
    return manifest


@contextmanager
def _alone(out: Path) -> Iterator[None]:
    descriptor = os.open(out, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError:
        raise SurefootError(f"Another run downloads into {out}: wait for it, or name another folder.") from None
    finally:
        os.close(descriptor)


def _begun(out: Path, head: dict[str, Any], sources: Sequence[Source], form: PictureForm) -> bool:
    """Whether there is anything to do. A finished output is opened again where rows may still succeed."""
    if not (out / MANIFEST).exists():
        begin(out, head)
        return True
    manifest = read_manifest(out)
    check_same(out, asdict(headed(manifest)), head)
    if not manifest.reasons.get("download_retryable"):
        return False
    from surefoot.pairs._download._part import PartWork

    work = out / WORK
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir()
    for number, (source, part) in enumerate(zip(sources, manifest.parts, strict=True)):
        if part.reasons.get("download_retryable"):
            screened = part.faults.get("screened", 0)
            PartWork(number, source.path, out, work, layout=form.layout, screened=screened).close()
        else:
            write_text(work / f"{part.file}.json", json.dumps(asdict(part), ensure_ascii=False))
    write_text(work / "stage.json", json.dumps(head, ensure_ascii=False))
    (out / MANIFEST).unlink()
    return True
