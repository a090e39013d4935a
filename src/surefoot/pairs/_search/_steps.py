"""Embedding and indexing as Steps."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import ClassVar, Self

from surefoot.core import Inputs, Measurement, Step, check_pinned, report_progress, resume_directory, unkeyed
from surefoot.pairs._search._embed import embed_pairs
from surefoot.pairs._search._encoders import encoder_of
from surefoot.pairs._search._index import IndexKind, build_index
from surefoot.pairs._stages._work import finished


@dataclass(frozen=True, kw_only=True)
class Embed(Step):
    """Pictures and texts as vectors beside their rows, as `embed_pairs` writes them.

    `pairs` is a Step of downloaded pairs, or `path` a folder, table or shards of the user (`.pinned()`). `model` is a
    Step of a model artifact, None the model of packages (`conse_encoder`). Measures `rows`, `kept` (without a reason),
    and `rows` of each reason (its `group`).
    """

    pairs: Step | None = None
    path: str = unkeyed("")
    digest: str = ""
    model: Step | None = None
    template: str | None = None
    requires: ClassVar[tuple[str, ...]] = ("torch", "open_clip", "pyarrow", "PIL")

    def pinned(self) -> Self:
        """With the whole path and the digest of the files as they are now."""
        from surefoot.contrastive import CaptionedPictures

        known = CaptionedPictures(path=self.path).pinned()
        return replace(self, path=known.path, digest=known.digest)

    def make(self, out: Path, inputs: Inputs) -> Iterable[Measurement]:
        """Embed part by part; what is finished survives a stop."""
        if self.pairs is None:
            check_pinned(self)
        source, work = inputs[self.pairs] if self.pairs else Path(self.path), resume_directory(out) / "embedded"
        encoder = encoder_of(self.model and inputs[self.model])
        told = embed_pairs(source, work, encoder, template=self.template, progress=partial(report_progress, out))
        return finished(told, work, out, dropped="rows")


@dataclass(frozen=True, kw_only=True)
class Index(Step):
    """An index for search of embedded pairs (`build_index`, whose fields these are).

    Measures `rows`, `left_out` if any, and `recall` at ten with its interval for each kind of held-out query (`group`).
    """

    embedded: Step
    index: IndexKind | None = None
    recall: float = 0.99
    seed: int = 0
    requires: ClassVar[tuple[str, ...]] = ("faiss", "pyarrow")

    def make(self, out: Path, inputs: Inputs) -> Iterable[Measurement]:
        """Train, add, measure."""
        told = build_index(inputs[self.embedded], out, kind=self.index, recall=self.recall, seed=self.seed)
        found = [Measurement(metric="recall", value=one.value, low=one.low, high=one.high, n=one.n, group=one.queries)
                 for one in told.recall]  # fmt: skip
        found += [Measurement(metric="left_out", value=told.left_out, n=told.rows)] if told.left_out else []
        return [Measurement(metric="rows", value=told.rows, n=told.rows), *found]
