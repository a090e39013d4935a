"""Embeddings of pictures and texts, and class embeddings for zero-shot classification."""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from hashlib import blake2b
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np

from surefoot.contrastive._models._artifact import LoadedModel
from surefoot.contrastive._models._pixels import normalized, preparer_of, resized
from surefoot.contrastive._models._tokenizer import RestrictedTokenizer
from surefoot.contrastive._pictures._classes import OTHER_NAMES
from surefoot.contrastive._pictures._photos import RefusedPictureError, Stored, decode, read_stored
from surefoot.core import SurefootError, counted
from surefoot.training import keep_memory

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray

BATCH = 128
_UNIT = 0.1  # how far from 1 a length is in 16 bits, and more
_LARGE = 1e9  # no weight of a model that works
_AHEAD = 3  # batches that are decoded before they are needed


@dataclass(frozen=True, kw_only=True)
class EmbeddedFiles:
    """Unit embeddings (n, dimension) of the pictures at `rows` by each model, and why the others were refused.

    `contents` (n) are digests of the pictures' bytes.
    """

    embeddings: "tuple[torch.Tensor, ...]"
    rows: tuple[int, ...]
    contents: tuple[str, ...]
    refused: dict[int, str]


@dataclass(frozen=True, kw_only=True)
class _Prepared:
    """A picture for each way to prepare it, or why it was refused."""

    arrays: "tuple[NDArray[np.uint8], ...]" = ()
    content: str = ""
    refused: str = ""


@dataclass(frozen=True, kw_only=True)
class ClassHead:
    """Unit embeddings (classes, dimension), the classes whose prompts are the same for the model, and all prompts."""

    embeddings: "torch.Tensor"
    alike: tuple[tuple[int, ...], ...]
    prompts: tuple[str, ...]


Known = dict[str, "tuple[torch.Tensor, ...]"]
Read = Callable[[], bytes]


def embed_files(
    models: Sequence[LoadedModel],
    stored: Iterable[Stored | Read],
    *,
    batch: int = BATCH,
    workers: int | None = None,
    known: Known | None = None,
) -> EmbeddedFiles:
    """Embed pictures where they lie, each read and decoded once for all models, by `workers` threads (all cores).

    `known` are embeddings by the digest of a picture's bytes, for these models in this order: what is in it is not
    decoded again, what is not comes into it, so that several tasks on the same pictures share them. Models that are one
    with one preparation are run once.
    """
    import torch

    kept: Known = {} if known is None else known
    preparers = {loaded.pixels: preparer_of(loaded.pixels) for loaded in models}

    def prepared(one: Stored | Read) -> _Prepared:
        try:
            data = read_stored(one) if isinstance(one, Stored) else one()
            content = blake2b(data, digest_size=8).hexdigest()
            if content in kept:
                return _Prepared(content=content)
            picture = decode(data)
            return _Prepared(arrays=tuple(prepare(picture) for prepare in preparers.values()), content=content)
        except RefusedPictureError as error:
            return _Prepared(refused=str(error))

    answers: list[_Prepared] = []
    for found in _decoded(prepared, stored, batch, workers or os.cpu_count() or 1):
        if new := {one.content: one.arrays for one in found if one.arrays and one.content not in kept}:
            arrays = dict(zip(preparers, map(np.stack, zip(*new.values(), strict=True)), strict=True))
            of = {(id(one.model), one.pixels): one for one in models}
            done = {key: _encoded(one, torch.from_numpy(arrays[one.pixels])) for key, one in of.items()}
            columns = [done[id(one.model), one.pixels] for one in models]
            kept.update(zip(new, zip(*columns, strict=True), strict=True))
        answers += [replace(one, arrays=()) for one in found]
    rows = tuple(row for row, one in enumerate(answers) if not one.refused)
    contents = tuple(answers[row].content for row in rows)
    return EmbeddedFiles(
        embeddings=tuple(torch.stack(column) for column in zip(*(kept[one] for one in contents), strict=True)),
        rows=rows,
        contents=contents,
        refused={row: one.refused for row, one in enumerate(answers) if one.refused},
    )


def _decoded(
    prepared: "Callable[[Stored | Read], _Prepared]", stored: Iterable[Stored | Read], batch: int, workers: int
) -> "Iterator[list[_Prepared]]":
    left = iter(stored)
    with ThreadPoolExecutor(workers, thread_name_prefix="decode") as pool:
        waiting: list[list[Future[_Prepared]]] = []
        while part := list(islice(left, batch)):
            waiting.append([pool.submit(prepared, one) for one in part])
            if len(waiting) > _AHEAD:
                yield [future.result() for future in waiting.pop(0)]
        for futures in waiting:
            yield [future.result() for future in futures]


def embed_images(loaded: LoadedModel, images: "NDArray[np.uint8]", *, batch: int = BATCH) -> "torch.Tensor":
    """Unit embeddings (n, dimension) of uint8 pictures (n, height, width, 3)."""
    import torch

    loaded.model.to(memory_format=torch.channels_last)
    return torch.cat(
        [
            _encoded(loaded, resized(images[start : start + batch], loaded.pixels).permute(0, 2, 3, 1))
            for start in range(0, len(images), batch)
        ]
    )


def _encoded(loaded: LoadedModel, images: "torch.Tensor") -> "torch.Tensor":
    """Embeddings on the CPU in 32 bits of uint8 pictures (n, height, width, 3) of the model's size."""
    import torch

    keep_memory()
    with torch.inference_mode(), _precision(loaded):
        batch = normalized(images.to(loaded.device).permute(0, 3, 1, 2), loaded.pixels)
        found = loaded.model.encode_image(batch, normalize=True).float().cpu()
    return _checked(found, images, loaded, "picture")


def _precision(loaded: LoadedModel) -> Any:
    import torch

    kind = torch.device(loaded.device).type
    return torch.autocast(kind, getattr(torch, loaded.precision), enabled=loaded.precision != "float32")


def embed_texts(loaded: LoadedModel, texts: Sequence[str], *, batch: int = BATCH) -> "torch.Tensor":
    """Unit embeddings (n, dimension) of texts."""
    return _embed_tokens(loaded, loaded.tokenizer(list(texts)), batch)


def cut_said(loaded: LoadedModel, texts: Sequence[str]) -> tuple[str, ...]:
    """How many texts the model reads only in part, by its length and its vocabulary."""
    found = loaded.tokenizer(list(texts))
    length, padding = found.shape[1], loaded.tokenizer([""])[0, -1]
    full = [text for text, last in zip(texts, found[:, -1], strict=True) if last != padding]
    longer = loaded.tokenizer([*full, ""], context_length=length + 1)[:, -1]
    known = loaded.tokenizer.knows if isinstance(loaded.tokenizer, RestrictedTokenizer) else bool
    parts = {
        f"longer than the {length} tokens that it reads, and cut": [
            text for text, last in zip(full, longer[:-1], strict=True) if last != longer[-1]
        ],
        "with words that it was not trained on, which are left out": [
            text for text in texts if text and not known(text)
        ],
    }
    return tuple(
        f"{loaded.name}: {len(some)} of {counted(len(texts), 'text')} are {why}, such as '{some[0]}'."
        for why, some in parts.items()
        if some
    )


def _embed_tokens(loaded: LoadedModel, tokens: "torch.Tensor", batch: int = BATCH) -> "torch.Tensor":
    import torch

    with torch.inference_mode(), _precision(loaded):
        parts = [
            loaded.model.encode_text(tokens[start : start + batch].to(loaded.device), normalize=True)
            for start in range(0, len(tokens), batch)
        ]
        return _checked(torch.cat(parts).float().cpu(), tokens, loaded, "text")


def are_units(embeddings: "torch.Tensor") -> "torch.Tensor":
    """Which rows (n) have length 1: not those with a NaN, and not the zeros that a norm of 0 or infinity leaves."""
    return (embeddings.float().norm(dim=-1) - 1).abs() < _UNIT


def _checked(found: "torch.Tensor", given: "torch.Tensor", loaded: LoadedModel, what: str) -> "torch.Tensor":
    """The embeddings, refused where they say nothing of what was given: all accuracies from them would be 0."""
    wrong = "" if found.isfinite().all() else "that are not finite"
    if not wrong and not are_units(found).all():
        wrong = "of length 0 (a feature is zero, or too large for its norm)"
    if not wrong and len(found) > 1 and (found == found[0]).all() and (given != given[0]).any():
        wrong = f"that are the same for each {what}"
    if not wrong:
        return found
    raise SurefootError(
        f"{loaded.name} gives {what} embeddings {wrong} in {loaded.precision}.{_suspects(loaded, what)}"
    )


def _suspects(loaded: LoadedModel, what: str) -> str:
    """The weights of the tower that are all zero, or so large that features overflow."""
    sizes = {
        name: float(tensor.abs().max())
        for name, tensor in loaded.model.state_dict().items()
        if tensor.ndim and name.startswith("visual.") == (what == "picture") and not name.endswith("bias")
    }
    odd = [f"{name} (up to {size:.2g})" for name, size in sizes.items() if size > _LARGE]
    odd += [f"{name} (all zero)" for name, size in sizes.items() if size == 0]
    return f" Look at its weights: {', '.join(odd[:3])}{', ...' if len(odd) > 3 else ''}." if odd else ""


def class_head(loaded: LoadedModel, classes: Sequence[str], templates: Sequence[str]) -> ClassHead:
    """Of each class the mean over templates of the unit embeddings of the filled templates, of unit length.

    Prompt ensembling in the space of embeddings (Radford et al. 2021, 2103.00020, section 3.1.4). A template has `{}`
    where the name of the class goes; of several names (`cat | house cat`) the mean is over them, too. Classes that the
    model cannot tell apart, since their prompts have the same tokens, are named as alike. Raises for a single class.
    """
    import torch
    import torch.nn.functional as F

    if len(classes) < 2:
        raise SurefootError(f"Every answer would be right: the one class is {', '.join(classes)}. Give at least two.")

    prompts = [[one.replace("{}", name) for name in names.split(OTHER_NAMES) for one in templates] for names in classes]
    every = [text for texts in prompts for text in texts]
    tokens = loaded.tokenizer(every)
    counts = [len(texts) for texts in prompts]
    each = _embed_tokens(loaded, tokens).split(counts)
    means = torch.stack([rows.mean(dim=0) for rows in each])
    by_tokens: dict[bytes, list[int]] = {}
    for place, rows in enumerate(tokens.split(counts)):
        by_tokens.setdefault(rows.numpy().tobytes(), []).append(place)
    alike = tuple(tuple(places) for places in by_tokens.values() if len(places) > 1)
    for places in alike:  # the last bits depend on the batch that a prompt was in
        means[list(places)] = means[places[0]].clone()
    return ClassHead(embeddings=F.normalize(means, dim=-1), alike=alike, prompts=tuple(every))
