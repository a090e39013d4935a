"""The stage tag: heads, prompts and a user's own function score the vectors and texts of pairs, as columns."""

from __future__ import annotations

import re
import runpy
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self, cast

import numpy as np

from surefoot.core import (
    Inputs,
    Measurement,
    Step,
    SurefootError,
    check_pinned,
    digest_of,
    report_progress,
    resume_directory,
    unkeyed,
)  # fmt: skip
from surefoot.pairs._search._embed import IMAGES, TEXTS, has_direction
from surefoot.pairs._search._encoders import PairEncoder, encoder_of
from surefoot.pairs._stages._manifest import Manifest, Recipe, Source, read_manifest, sources_in
from surefoot.pairs._stages._work import Progress, carry, finished, make_parts
from surefoot.pairs._tag._heads import Activation, Head, read_head

if TYPE_CHECKING:
    import pyarrow
    from numpy.typing import ArrayLike, NDArray

_SPEC = re.compile(r"([a-z_][a-z0-9_]*)=(.+?)((?:,(?:activation|output)=[a-z]+)*)")


@dataclass(frozen=True, kw_only=True)
class EmbeddedRows:
    """What a tag sees: unit vectors (n, dimension) of pictures and texts (zeros: no text), and the rows they are of."""

    images: NDArray[np.float32]
    texts: NDArray[np.float32]
    rows: pyarrow.Table


@dataclass(frozen=True, kw_only=True)
class Tagger:
    """A column to be: its name, the digest of what makes it, and the function that does: n values, NaN or None: none.

    `model` is the digest of the encoder that its vectors must come from; empty: any.
    """

    name: str
    digest: str
    values: Callable[[EmbeddedRows], ArrayLike]
    model: str = ""
    dimension: int = 0


def head_taggers(name: str, head: Head) -> tuple[Tagger, Tagger]:
    """A head on pictures, as the column `name`, and on texts, as `name` and `_text`: what is said may be worse."""
    common = {"digest": head.digest, "model": head.model, "dimension": head.dimension}
    return (
        Tagger(name=name, values=lambda seen: head(seen.images), **common),
        Tagger(name=f"{name}_text", values=lambda seen: _of_texts(head, seen.texts), **common),
    )


def prompt_head(encoder: PairEncoder, low: Sequence[str], high: Sequence[str]) -> Head:
    """The cosine with the mean of the texts `high`, less that with the mean of `low` (Q16, Schramowski et al. 2022)."""
    means = [encoder.texts(list(texts)).mean(0) for texts in (low, high)]
    weight = np.stack([one / np.linalg.norm(one) for one in means]).astype(np.float32)
    return Head(layers=((weight, np.zeros(2, np.float32)),), model=encoder.digest)


def read_taggers(
    *, heads: Sequence[str] = (), prompts: Sequence[str] = (), functions: Sequence[str] = (),
    encoder: Callable[[], PairEncoder] | None = None,
) -> tuple[Tagger, ...]:  # fmt: skip
    """Taggers as they are named on the command line, each `NAME=FILE`.

    A head may add `,activation=relu,output=sigmoid`. Prompts are a text file: the lines before the first blank one are
    `low`, those behind it `high`. A function is `score(rows: EmbeddedRows)` of a Python file, which is run.
    Raises `SurefootError` for what is none of these.
    """
    found: list[Tagger] = []
    for spec in heads:
        name, path, more = _parsed(spec)
        found += head_taggers(name, read_head(path, **more))
    for spec in prompts:
        name, path, _ = _parsed(spec)
        low, _, high = path.read_text(encoding="utf-8-sig").strip().partition("\n\n")
        sides = [[line.strip() for line in side.splitlines() if line.strip()] for side in (low, high)]
        if not all(sides) or encoder is None:
            raise SurefootError(f"{path} needs prompts of a low score, a blank line, and prompts of a high score.")
        found += head_taggers(name, prompt_head(encoder(), *sides))
    for spec in functions:
        name, path, _ = _parsed(spec)
        values = runpy.run_path(str(path)).get("score")
        if not callable(values):
            raise SurefootError(f"{path} must define `score(rows)`, which gives a value for each of `rows.images`.")
        found.append(Tagger(name=name, digest=digest_of(path), values=cast("Callable[[EmbeddedRows], Any]", values)))
    return tuple(found)


def tag_pairs(directory: Path, out: Path, taggers: Sequence[Tagger], *, progress: Progress | None = None) -> Manifest:
    """Write the parts of an embedded stage again with a column a tagger; vectors lie beside as before.

    Every row with a picture is scored, also one that a rule dropped; the others have no value. No threshold is drawn:
    `subset` draws it later. Raises `SurefootError` for a column that is there already, and vectors of another model.
    """
    import pyarrow.parquet

    rules = dict(read_manifest(directory).recipe.rules)
    sources = sources_in(directory)
    columns = {name for source in sources for name in pyarrow.parquet.read_schema(source.path).names}
    names = [tagger.name for tagger in taggers]
    if not names or "vector" not in columns:
        raise SurefootError(f"There is nothing to tag: {directory} needs embeddings, and a tagger at least.")
    if twice := [name for name in names if name in columns or names.count(name) > 1]:
        raise SurefootError(f"{directory} has a column {twice[0]} already, or two taggers are called so: name another.")
    for tagger in taggers:
        model, dimension = rules.get("digest"), rules.get("dimension")
        if (tagger.model or model) != model or (tagger.dimension or dimension) != dimension:
            raise SurefootError(
                f"The tag {tagger.name} is for vectors of another model: {directory} was embedded by "
                f"{rules.get('model')}, {dimension} numbers a vector."
            )
    told = rules | {"tags": rules.get("tags", {}) | {tagger.name: tagger.digest for tagger in taggers}}
    make = partial(_tag_part, taggers=taggers)
    return make_parts("tag", Recipe(name="tag", rules=told), sources, out, make, progress=progress)


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
            parsed = [(spec, _parsed(spec)[1]) for spec in specs]
            whole[kind] = tuple(spec.replace(str(file), str(file.resolve()), 1) for spec, file in parsed)
            told += [f"{kind} {spec.replace(str(file), digest_of(file), 1)}" for spec, file in parsed]
        return replace(self, **whole, digest=sha256("\n".join(told).encode()).hexdigest())

    def make(self, out: Path, inputs: Inputs) -> Iterable[Measurement]:
        """Score part by part; what is finished survives a stop."""
        check_pinned(self)
        taggers = read_taggers(
            heads=self.heads, prompts=self.prompts, functions=self.functions,
            encoder=lambda: encoder_of(self.model and inputs[self.model]),
        )  # fmt: skip
        work = resume_directory(out) / "tagged"
        made = tag_pairs(inputs[self.embedded], work, taggers, progress=partial(report_progress, out))
        return finished(made, work, out)


def _tag_part(source: Source, out: Path, *, taggers: Sequence[Tagger]) -> Mapping[str, int]:
    import pyarrow
    import pyarrow.parquet as pq

    table = pq.ParquetFile(source.path).read()
    carry(source.path, out)
    at = table["vector"].to_pylist()
    images, texts = (np.load(source.path.with_suffix(suffix), mmap_mode="r") for suffix in (IMAGES, TEXTS))
    good = has_direction(images)
    rows = [row for row, place in enumerate(at) if place is not None and good[place]]
    images, texts = (vectors[[at[row] for row in rows]].astype(np.float32) for vectors in (images, texts))
    seen = EmbeddedRows(images=images, texts=texts, rows=table.take(np.array(rows, np.int64)))
    places = dict(zip(rows, range(len(rows)), strict=True))
    index = pyarrow.array(map(places.get, range(len(table))), pyarrow.int64())
    for tagger in taggers:
        values: Any = tagger.values(seen)
        if len(values) != len(rows):
            raise SurefootError(f"The tag {tagger.name} gave {len(values)} values for {len(rows)} rows.")
        column = pyarrow.array(values, from_pandas=True)
        column = column.cast(pyarrow.float32()) if pyarrow.types.is_floating(column.type) else column
        table = table.add_column(table.column_names.index("reasons"), tagger.name, column.take(index))
    pq.write_table(table, out)
    return {}


def _parsed(spec: str) -> tuple[str, Path, dict[str, Activation]]:
    found = _SPEC.fullmatch(spec)
    if not found or not Path(found[2]).is_file():
        raise SurefootError(f"'{spec}' is not NAME=FILE: a column's name (a to z, digits, _) and a file that is there.")
    more: Any = dict(one.split("=") for one in found[3].split(",")[1:])
    return found[1], Path(found[2]), more


def _of_texts(head: Head, texts: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.where(has_direction(texts), head(texts), np.nan)
