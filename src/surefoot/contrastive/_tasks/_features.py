"""PictureFeatures: what a model makes of a set's pictures, computed once for all that is measured on them."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from surefoot.contrastive._models._artifact import LoadedModel, load_model
from surefoot.contrastive._models._embed import embed_files, embed_images
from surefoot.contrastive._pictures._directory import has_array, open_images, read_files
from surefoot.core import Inputs, Measurement, Step, SurefootError

if TYPE_CHECKING:
    import torch

_FEATURES = "features.npy"


@dataclass(frozen=True, kw_only=True)
class PictureFeatures(Step):
    """Unit embeddings of all pictures of a Step by the image tower of a model: `features.npy` (n, d) float32.

    `model` is a Step that gives a model artifact, `data` one that leaves pictures. `ZeroShot`, `Retrieval` and
    `LinearProbe` read them, so that each picture goes through the tower once. Measures `pictures`.
    """

    model: Step
    data: Step
    requires: ClassVar[tuple[str, ...]] = ("torch", "open_clip", "safetensors")

    def make(self, out: Path, inputs: Inputs) -> Iterable[Measurement]:
        """Embed, and write."""
        features = embed_pictures(load_model(inputs[self.model]), inputs[self.data])
        np.save(out / _FEATURES, features.numpy())
        return [Measurement(metric="pictures", value=len(features), n=len(features))]


def embed_pictures(loaded: LoadedModel, data: Path) -> "torch.Tensor":
    """Unit embeddings (n, d) of the pictures in the directory of a Step."""
    if has_array(data):
        return embed_images(loaded, open_images(data))
    found = embed_files([loaded], stored := read_files(data))
    if found.refused:
        row, reason = next(iter(found.refused.items()))
        raise SurefootError(f"The picture in {stored[row].file}, which could be decoded before, cannot now: {reason}.")
    return found.embeddings[0]


def read_features(directory: Path) -> "torch.Tensor":
    """The embeddings (n, d) that `PictureFeatures` left."""
    import torch

    return torch.from_numpy(np.load(directory / _FEATURES))
