"""A download as a Step: what was asked on a day."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import ClassVar

from surefoot.core import Inputs, Measurement, Step, report_progress, resume_directory, unkeyed
from surefoot.pairs._download._manners import Manners
from surefoot.pairs._download._run import Layout, PictureForm, Resize, download
from surefoot.pairs._stages._manifest import sources_in


@dataclass(frozen=True, kw_only=True)
class Download(Step):
    """The pictures of candidates, as the web gave them on a `date` (in words of your own: it is part of the key).

    The fields are those of `PictureForm` and `Manners`. `again` is an earlier one: its pictures are kept, and what
    was `retryable` there is asked once more. Measures the share of URLs that gave a picture, and how the others ended.
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
    hash_list: tuple[str, ...] = ()
    again: Download | None = None
    contact: str = unkeyed("")
    per_host: int = unkeyed(2)
    connections: int = unkeyed(64)
    timeout: float = unkeyed(30.0)
    retries: int = unkeyed(1)
    deadline: float = unkeyed(3600.0)
    do_not_ask: str = unkeyed("")
    allow_private: bool = unkeyed(False)
    requires: ClassVar[tuple[str, ...]] = ("pycurl", "simplejpeg", "PIL", "pyarrow")

    def make(self, out: Path, inputs: Inputs) -> Iterable[Measurement]:
        work = resume_directory(out) / "download"
        if self.again and not work.exists():
            shutil.copytree(inputs[self.again], work.with_name("copy"), dirs_exist_ok=True)
            work.with_name("copy").rename(work)
        form = PictureForm(**{own.name: getattr(self, own.name) for own in fields(PictureForm)})
        manners = Manners(**{own.name: getattr(self, own.name) for own in fields(Manners) if hasattr(self, own.name)})
        manifest = download(
            sources_in(inputs[self.candidates]), work, form=form, manners=manners,
            progress=lambda done, begun: report_progress(out, done, begun),
        )  # fmt: skip
        shutil.copytree(work, out, dirs_exist_ok=True)
        ends = {name.removeprefix("download_"): n for name, n in manifest.reasons.items() if "download_" in name}
        asked = manifest.kept + sum(ends.values())
        counts = {"ok": manifest.kept} | ends
        return [Measurement(metric=f"share_{end}", value=n / asked, n=asked) for end, n in counts.items() if asked]
