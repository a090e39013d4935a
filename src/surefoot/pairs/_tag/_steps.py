"""Tagging as a Step."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import ClassVar, Self

from surefoot.contrastive import load_model
from surefoot.core import Inputs, Measurement, Step, check_pinned, digest_of, report_progress, resume_directory, unkeyed
from surefoot.pairs._search._encoders import conse_encoder, openclip_encoder
from surefoot.pairs._stages._work import keep
from surefoot.pairs._tag._tags import read_taggers, spec_file, tag_pairs


@dataclass(frozen=True, kw_only=True)
class Tag(Step):
    """Scores as columns beside embedded pairs, as `tag_pairs` writes them, of what `read_taggers` reads (`.pinned()`).

    `model` is the Step whose model embeds prompts, as in `Embed`. Measures `rows` and `kept`.
    """

    embedded: Step
    heads: tuple[str, ...] = unkeyed(())
    prompts: tuple[str, ...] = unkeyed(())
    functions: tuple[str, ...] = unkeyed(())
    model: Step | None = None
    digest: str = ""
    requires: ClassVar[tuple[str, ...]] = ("pyarrow",)

    def pinned(self) -> Self:
        """With whole paths, and the digest of what is told of the files and of their contents now."""
        whole: dict[str, tuple[str, ...]] = {}
        told: list[str] = []
        for kind in ("heads", "prompts", "functions"):
            specs: tuple[str, ...] = getattr(self, kind)
            parsed = [(spec, spec_file(spec)) for spec in specs]
            whole[kind] = tuple(spec.replace(str(file), str(file.resolve()), 1) for spec, file in parsed)
            told += [f"{kind} {spec.replace(str(file), digest_of(file), 1)}" for spec, file in parsed]
        return replace(self, **whole, digest=sha256("\n".join(told).encode()).hexdigest())

    def make(self, out: Path, inputs: Inputs) -> Iterable[Measurement]:
        """Score part by part; what is finished survives a stop."""
        check_pinned(self)
        taggers = read_taggers(
            heads=self.heads, prompts=self.prompts, functions=self.functions,
            encoder=lambda: openclip_encoder(load_model(inputs[self.model])) if self.model else conse_encoder(),
        )  # fmt: skip
        work = resume_directory(out) / "tagged"
        made = tag_pairs(inputs[self.embedded], work, taggers, progress=partial(report_progress, out))
        keep(work, out)
        return [
            Measurement(metric=name, value=n, n=made.rows) for name, n in (("rows", made.rows), ("kept", made.kept))
        ]
