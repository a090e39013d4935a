"""MixedPairs: image-text pairs of several sources at given counts, and what a model keeps of them."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from surefoot.contrastive._models._artifact import load_model
from surefoot.contrastive._models._embed import embed_images, embed_texts
from surefoot.contrastive._pictures._directory import (
    Row,
    copy_images,
    open_images,
    read_captions,
    read_credit,
    write_captions,
    write_items,
)
from surefoot.core import Inputs, Measurement, Step, SurefootError
from surefoot.registry import CREDIT
from surefoot.stats import shuffled


@dataclass(frozen=True, kw_only=True)
class MixedPairs(Step):
    """Pairs of several sources, so many of each, for `Pretrain`.

    `sources` are Steps of image-text pairs (`images.npy` (n, size, size, 3) uint8 of one size, `captions.json`);
    `counts` of each are taken at random by `seed`, and a larger count of one seed holds a smaller one. With a `judge`,
    a Step that gives a model, only the share `kept` is left whose pictures it finds most similar to their captions
    (the mean over captions of the cosine). `after` are Steps that must be made first: predictions of what a model will
    score are then older than the model. Files as in `TrainingPairs`, `items.json` naming
    the source and row of each. Measures `pictures`, and `threshold` with a judge.
    Raises `SurefootError` where a source has too few pairs.
    """

    sources: tuple[Step, ...]
    counts: tuple[int, ...]
    seed: int = 0
    judge: Step | None = None
    kept: float = 1.0
    after: tuple[Step, ...] = ()
    requires: ClassVar[tuple[str, ...]] = ("torch", "open_clip", "safetensors")

    def make(self, out: Path, inputs: Inputs) -> Iterable[Measurement]:
        """Draw, judge, and copy the pairs together."""
        if len(self.counts) != len(self.sources) or not sum(self.counts) or not 0 < self.kept <= 1:
            raise SurefootError("MixedPairs needs a count a source, some pairs, and to keep a share above 0, up to 1.")
        places = [inputs[source] for source in self.sources]
        rows = [row for number, count in enumerate(self.counts) for row in _drawn(places, number, count, self.seed)]
        captions = [read_captions(place) for place in places]
        found: dict[str, float] = {}
        if self.judge is not None:
            similar = _similarities(inputs[self.judge], places, captions, rows)
            best = np.sort(np.argsort(-similar, kind="stable")[: max(1, round(self.kept * len(rows)))])
            rows, found = [rows[place] for place in best], {"threshold": float(similar[best].min())}
        copy_images(places, rows, out)
        write_captions(out, [captions[source][row] for source, row in rows])
        credit = [one for place in places if (place / CREDIT).exists() for one in read_credit(place)]
        write_items(out, [{"source": source, "row": row} for source, row in rows], credit)
        values = {"pictures": len(rows), **found}
        return [Measurement(metric=name, value=value, n=sum(self.counts)) for name, value in values.items()]


def _drawn(places: Sequence[Path], source: int, count: int, seed: int) -> list[Row]:
    there = len(open_images(places[source]))
    if not 0 <= count <= there:
        raise SurefootError(f"Source {source + 1} of the mixture has {there:,} pairs, not the {count:,} asked for.")
    names = shuffled([f"{row}" for row in range(there)], seed)[:count]
    return [(source, row) for row in sorted(map(int, names))]


def _similarities(
    judge: Path, places: Sequence[Path], captions: Sequence[list[list[str]]], rows: Sequence[Row]
) -> NDArray[np.float64]:
    loaded, arrays = load_model(judge), [open_images(place) for place in places]
    pictures = embed_images(loaded, np.stack([arrays[source][row] for source, row in rows]))
    texts = [captions[source][row] for source, row in rows]
    said = embed_texts(loaded, [text for each in texts for text in each]).split([len(each) for each in texts])
    return np.array([float((each @ one).mean()) for each, one in zip(said, pictures, strict=True)])
