"""A download from candidates to the directory of a stage: stopped at any moment, it goes on where it was."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import Coroutine, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, fields, replace
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any, ClassVar, Self, TypeVar

from surefoot.core import (
    Inputs,
    Measurement,
    Step,
    alone,
    check_installed,
    check_pinned,
    digest_of,
    full_disk_is_said,
    report_progress,
    resume_directory,
    unkeyed,
    write_text,
)  # fmt: skip
from surefoot.pairs._download._options import Layout, Manners, PictureForm, Resize
from surefoot.pairs._stages._manifest import (
    MANIFEST,
    Manifest,
    Recipe,
    Source,
    manifest_of,
    read_manifest,
    sources_in,
    write_manifest,
)  # fmt: skip
from surefoot.pairs._stages._work import BUSY, WORK, Progress, begin, check_same, headed, keep

_Told = TypeVar("_Told")


def download(
    sources: Sequence[Source], out: Path, *, form: PictureForm | None = None, manners: Manners | None = None,
    progress: Progress | None = None,
) -> Manifest:  # fmt: skip
    """Download the pictures of candidates into `out`: a part of a stage for each source, a row a URL with its state.

    Called again it goes on; of a finished output it asks the `retryable` rows again, and puts what it gets into the
    same parts. Raises `SurefootError` when `out` holds something else, or another run works in it. `progress` is told
    the rows done and begun.
    """
    check_installed(("pycurl", "simplejpeg", "PIL", "ada_url"))
    from surefoot.pairs._download._engine import Engine
    from surefoot.pairs._download._fetch import DoNotAsk
    from surefoot.pairs._download._hashes import read_hash_lists

    form, manners = form or PictureForm(), manners or Manners()
    inputs = {source.path.name: source.sha256 for source in sources}
    recipe = Recipe(name="download", rules=asdict(form))
    lists, listed = read_hash_lists(manners.hash_list), DoNotAsk(Path(manners.do_not_ask or out / "do-not-ask.txt"))
    out.mkdir(parents=True, exist_ok=True)
    with full_disk_is_said(out), alone(out, BUSY.format(out)):
        if not _begun(out, asdict(manifest_of("download", recipe, inputs, ())), sources, form):
            return read_manifest(out)
        parts = _completed(Engine(out, form, manners, lists, listed=listed, progress=progress).parts(sources))
        manifest = manifest_of("download", recipe, inputs, parts)
        write_manifest(out, manifest)
        shutil.rmtree(out / WORK, ignore_errors=True)
    return manifest


def _completed(asked: Coroutine[Any, Any, _Told]) -> _Told:
    """What it gives; in a notebook, where a loop runs in this thread already, from a thread of its own."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(asked)  # here an interrupt ends it
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, asked).result()


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


@dataclass(frozen=True, kw_only=True)
class Download(Step):
    """The pictures of candidates, as the web gave them on a `date` (in words of your own: it is part of the key).

    The fields are those of `PictureForm` and `Manners`. `again` is an earlier one: its pictures are kept, and what
    was `retryable` there is asked once more. A hash list is known by its contents (`.pinned()`). Measures the share of
    URLs that gave a picture, and how the others ended.
    """

    candidates: Step
    date: str
    size: int = 256
    resize: Resize = "border"
    quality: int = 95
    exact: bool = False
    max_bytes: int = 10_000_000
    max_pixels: int = 89_478_484
    layout: Layout = "webdataset"
    hash_list: tuple[str, ...] = unkeyed(())
    digest: str = ""
    again: Download | None = None
    contact: str = unkeyed("")
    per_host: int = unkeyed(2)
    connections: int = unkeyed(64)
    timeout: float = unkeyed(30.0)
    retries: int = unkeyed(1)
    deadline: float = unkeyed(3600.0)
    do_not_ask: str = unkeyed("")
    allow_private: bool = unkeyed(False)
    version: ClassVar[int] = 4  # 2: all of RFC 9309; 3: mirrored pictures are turned; 4: hosts with ß and the like
    requires: ClassVar[tuple[str, ...]] = ("pycurl", "simplejpeg", "PIL", "ada_url", "pyarrow")

    def pinned(self) -> Self:
        """With whole paths of the hash lists, and the digest of what they hold now."""
        paths = [Path(file).resolve() for file in self.hash_list]
        digest = sha256("\n".join(sorted(map(digest_of, paths))).encode()).hexdigest() if paths else ""
        return replace(self, hash_list=tuple(map(str, paths)), digest=digest)

    def make(self, out: Path, inputs: Inputs) -> Iterable[Measurement]:
        if self.hash_list:
            check_pinned(self)
        work = resume_directory(out) / "download"
        if self.again and not work.exists():
            shutil.copytree(inputs[self.again], work.with_name("copy"), dirs_exist_ok=True)
            work.with_name("copy").rename(work)
        form = PictureForm(**{own.name: getattr(self, own.name) for own in fields(PictureForm)})
        manners = Manners(**{own.name: getattr(self, own.name) for own in fields(Manners) if hasattr(self, own.name)})
        sources, progress = sources_in(inputs[self.candidates]), partial(report_progress, out)
        manifest = download(sources, work, form=form, manners=manners, progress=progress)
        keep(work, out)
        ends = {name.removeprefix("download_"): n for name, n in manifest.reasons.items() if "download_" in name}
        asked = manifest.kept + sum(ends.values())
        counts = {"ok": manifest.kept} | ends
        return [Measurement(metric=f"share_{end}", value=n / asked, n=asked) for end, n in counts.items() if asked]
