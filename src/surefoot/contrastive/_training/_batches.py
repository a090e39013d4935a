"""Image-text pairs in memory, and the batch of any step as a function of the seed and the step."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from surefoot.contrastive._models._build import Tokenizer
from surefoot.contrastive._models._pixels import Pixels, resized
from surefoot.contrastive._pictures._directory import open_images
from surefoot.core import SurefootError
from surefoot.training import generator_for, rows_of_batch

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, kw_only=True)
class TokenizedPairs:
    """Pictures (n, 3, size, size) uint8, and the token ids (captions, context) of all captions of all pictures.

    The captions of picture i are the rows `first[i]` to `first[i] + count[i]`.
    """

    images: "torch.Tensor"
    tokens: "torch.Tensor"
    first: "torch.Tensor"
    count: "torch.Tensor"

    def drawn(self, rows: "torch.Tensor", generator: "torch.Generator") -> "torch.Tensor":
        """Token ids (rows, context) of one caption of each of these pictures, drawn at random."""
        import torch

        place = torch.rand(len(rows), generator=generator, dtype=torch.float64) * self.count[rows]
        return self.tokens[self.first[rows] + place.long()]


@dataclass(frozen=True, kw_only=True)
class Batches:
    """Random batches: every picture once before any comes again, each time with one of its captions at random."""

    pairs: TokenizedPairs
    size: int
    seed: int

    def indices(self, step: int) -> "torch.Tensor":
        """The pictures of a step: int64 (size,)."""
        return rows_of_batch(len(self.pairs.count), self.size, step, "order", self.seed)

    def at(self, step: int) -> "tuple[torch.Tensor, torch.Tensor]":
        """Pictures (size, 3, height, width) uint8 and token ids (size, context) of a step."""
        rows = self.indices(step)
        return self.pairs.images[rows], self.pairs.drawn(rows, generator_for("captions", self.seed, step))


def read_pairs(
    directory: Path, captions: Sequence[Sequence[str]], tokenizer: Tokenizer, pixels: Pixels
) -> TokenizedPairs:
    """Pictures and tokenized captions of a Step's directory: `images.npy` (n, height, width, 3) uint8.

    Pictures are resized once. Raises `SurefootError` when pictures and captions do not match.
    """
    import torch

    images = np.array(open_images(directory))
    if len(images) != len(captions):
        raise SurefootError(f"{directory} has {len(images)} pictures and captions for {len(captions)}.")
    count = torch.tensor([len(texts) for texts in captions])
    tokens = tokenizer([text for texts in captions for text in texts])
    return TokenizedPairs(images=resized(images, pixels), tokens=tokens, first=count.cumsum(0) - count, count=count)
