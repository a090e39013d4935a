"""Retrieval: finding the picture of a caption, and a caption of a picture."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from surefoot.contrastive._models._artifact import LoadedModel, load_model
from surefoot.contrastive._models._embed import embed_texts
from surefoot.contrastive._pictures._directory import read_captions
from surefoot.contrastive._tasks._features import PictureFeatures, read_features
from surefoot.core import Inputs, Measurement, Step, SurefootError
from surefoot.examples import write_examples
from surefoot.stats import clustered_mean, share_interval

if TYPE_CHECKING:
    import torch

RECALLS = (1, 5, 10)
_ROWS = 512
Captions = Sequence[Sequence[str]]


@dataclass(frozen=True, kw_only=True)
class Retrieval(Step):
    """Image-text retrieval both ways: recall at 1, 5 and 10 among all pictures, and among all captions, of a set.

    `features` are those of a set with `captions.json`, one or several captions a picture. Writes `examples.parquet`: a
    row a picture (`direction` "text": the rank of the best of its captions among all captions) and a row a caption
    (`direction` "image": the rank of its picture among all pictures), with `picture` to cluster by. Measures
    `text_retrieval_recall@k` and `image_retrieval_recall@k`, see `retrieval_measurements`.
    """

    features: PictureFeatures
    task: str = "retrieval"
    shift: str = ""
    requires: ClassVar[tuple[str, ...]] = ("torch", "open_clip", "safetensors")

    def make(self, out: Path, inputs: Inputs) -> Iterable[Measurement]:
        """Embed the captions, rank, and write what came out for every picture and caption."""
        captions = read_captions(inputs[self.features.data])
        loaded = load_model(inputs[self.features.model])
        found = retrieve(loaded, read_features(inputs[self.features]), captions)
        write_examples(out, found.columns([str(row) for row in range(len(captions))]), found.asked)
        return retrieval_measurements(found, task=self.task, shift=self.shift)


@dataclass(frozen=True, kw_only=True)
class Retrieved:
    """Ranks, from 1: of each picture's best caption (pictures,), and of each caption's picture (captions,).

    `pictures` (captions,) says which picture each caption is of.
    """

    text_ranks: NDArray[np.int64]
    image_ranks: NDArray[np.int64]
    pictures: NDArray[np.int64]

    @property
    def asked(self) -> dict[str, list[str]]:
        """Among how many was searched."""
        return {"candidates": [f"{len(self.text_ranks)} pictures", f"{len(self.image_ranks)} captions"]}

    def columns(self, names: Sequence[str]) -> dict[str, Any]:
        """The columns of `examples.parquet`; `score` is 1 where the first guess is right."""
        count = [0] * len(names)
        examples = []
        for picture in self.pictures:
            count[picture] += 1
            examples.append(f"{names[picture]} caption {count[picture]}")
        ranks = np.concatenate([self.text_ranks, self.image_ranks])
        return {
            "example": [*names, *examples],
            "picture": [*names, *(names[picture] for picture in self.pictures)],
            "direction": ["text"] * len(names) + ["image"] * len(examples),
            "score": (ranks == 1).astype(np.float64),
            "rank": ranks.astype(np.int32),
        }


def retrieve(loaded: LoadedModel, images: "torch.Tensor", captions: Captions) -> Retrieved:
    """Rank captions and pictures by cosine, from unit embeddings of the pictures (n, d) and their captions (n lists).

    Each different caption is embedded once. A caption that several pictures share is no rival to itself, and counts
    as often as it occurs among the rivals of the others. Ties count against the model.
    """
    import torch

    pictures = np.array([row for row, texts in enumerate(captions) for _ in texts])
    said = [text for texts in captions for text in texts]
    number = {text: place for place, text in enumerate(dict.fromkeys(said))}
    which = torch.tensor([number[text] for text in said])
    texts = embed_texts(loaded, list(number)).double()
    often = torch.bincount(which).double()
    of = torch.from_numpy(pictures)
    images = images.double()
    if len(images) != len(captions) or len(images) < 2:
        raise SurefootError(f"Retrieval is among pictures: {len(images)} of them, and captions of {len(captions)}.")
    text_ranks, image_ranks = torch.empty(len(images), dtype=torch.long), torch.empty(len(said), dtype=torch.long)
    for start in range(0, len(images), _ROWS):
        cosines = images[start : start + _ROWS] @ texts.T
        own = torch.zeros(cosines.shape, dtype=torch.bool)
        here = (of >= start) & (of < start + _ROWS)
        own[of[here] - start, which[here]] = True
        best = cosines.masked_fill(~own, -2).amax(dim=1, keepdim=True)
        text_ranks[start : start + _ROWS] = 1 + (((cosines >= best) & ~own).double() @ often).long()
    for start in range(0, len(said), _ROWS):
        rows = slice(start, start + _ROWS)
        cosines = texts[which[rows]] @ images.T
        image_ranks[rows] = (cosines >= cosines.gather(1, of[rows, None])).sum(dim=1)
    return Retrieved(text_ranks=text_ranks.numpy(), image_ranks=image_ranks.numpy(), pictures=pictures)


def retrieval_measurements(found: Retrieved, *, task: str, shift: str) -> list[Measurement]:
    """`image_retrieval_recall@k` (of captions) and `text_retrieval_recall@k` (of pictures) at k of 1, 5 and 10.

    As `clip-benchmark` counts: a picture is right when any of its captions is among the first k. A k that is not below
    the number of candidates is left out. The intervals are 95 percent; captions of one picture are a cluster.
    """
    sides = (
        ("image", found.image_ranks, found.pictures, len(found.text_ranks)),
        ("text", found.text_ranks, np.arange(len(found.text_ranks)), len(found.image_ranks)),
    )
    return [
        _recall(f"{side}_retrieval_recall@{k}", ranks <= k, clusters, task, shift)
        for side, ranks, clusters, candidates in sides
        for k in RECALLS
        if k < candidates
    ]


def _recall(metric: str, hits: NDArray[np.bool_], clusters: NDArray[np.int64], task: str, shift: str) -> Measurement:
    mean = clustered_mean(hits, clusters)
    found = share_interval(mean.estimate, mean.stderr, mean.clusters)
    where = {"n": len(hits), "task": task, "shift": shift}
    return Measurement(metric=metric, value=mean.estimate, stderr=mean.stderr, low=found.low, high=found.high, **where)
