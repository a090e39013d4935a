"""Embeddings of pictures and texts, and class embeddings for zero-shot classification."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from surefoot.contrastive._models._artifact import LoadedModel
from surefoot.contrastive._models._pixels import normalized, resized, transform_of

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray

BATCH = 128


def embed_images(loaded: LoadedModel, images: "NDArray[np.uint8]", *, batch: int = BATCH) -> "torch.Tensor":
    """Unit embeddings (n, dimension) of uint8 pictures (n, height, width, 3)."""
    import torch

    def part(rows: slice) -> "torch.Tensor":
        prepared = normalized(resized(images[rows], loaded.pixels), loaded.pixels)
        return loaded.model.encode_image(prepared, normalize=True)

    loaded.model.to(memory_format=torch.channels_last)
    return _in_batches(part, len(images), batch)


def embed_pictures(loaded: LoadedModel, pictures: Sequence[Any], *, batch: int = BATCH) -> "torch.Tensor":
    """Unit embeddings (n, dimension) of PIL pictures of any size, through OpenCLIP's own transform."""
    import torch

    transform = transform_of(loaded.pixels)

    def part(rows: slice) -> "torch.Tensor":
        prepared = torch.stack([transform(picture) for picture in pictures[rows]])
        return loaded.model.encode_image(prepared, normalize=True)

    return _in_batches(part, len(pictures), batch)


def embed_texts(loaded: LoadedModel, texts: Sequence[str], *, batch: int = BATCH) -> "torch.Tensor":
    """Unit embeddings (n, dimension) of texts."""

    def part(rows: slice) -> "torch.Tensor":
        return loaded.model.encode_text(loaded.tokenizer(list(texts[rows])), normalize=True)

    return _in_batches(part, len(texts), batch)


def embed_classes(loaded: LoadedModel, classes: Sequence[str], templates: Sequence[str]) -> "torch.Tensor":
    """Unit embeddings (classes, dimension): the mean over templates of the unit embeddings of the filled templates.

    Prompt ensembling in the space of embeddings (Radford et al. 2021, 2103.00020, section 3.1.4). A template has `{}`
    where the name of the class goes.
    """
    import torch.nn.functional as F

    texts = [template.replace("{}", name) for name in classes for template in templates]
    each = embed_texts(loaded, texts).view(len(classes), len(templates), -1)
    return F.normalize(each.mean(dim=1), dim=-1)


def _in_batches(part: Callable[[slice], "torch.Tensor"], count: int, batch: int) -> "torch.Tensor":
    import torch

    with torch.inference_mode():
        return torch.cat([part(slice(start, start + batch)) for start in range(0, count, batch)])
