"""Finetune: onwards from a contrastive model, with the text tower as it is: on classes or on captions."""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from surefoot.contrastive._models._artifact import LoadedModel, load_model, save_model
from surefoot.contrastive._models._cost import picture_cost
from surefoot.contrastive._models._embed import class_head, embed_images
from surefoot.contrastive._models._pixels import normalized, resized
from surefoot.contrastive._pictures._directory import has_captions, open_images, read_captions, read_classes
from surefoot.contrastive._training._augment import Augmentation, augmented
from surefoot.contrastive._training._batches import TokenizedPairs, read_pairs
from surefoot.contrastive._training._pretrain import MOMENTS
from surefoot.core import Inputs, Measurement, Step, SurefootError
from surefoot.training import (
    Schedule,
    adamw,
    check_settings,
    choose_parameters,
    generator_for,
    last_tenth,
    moments_of,
    reproducible,
    rows_of_batch,
    set_moments,
    shard_of,
    train,
)

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, kw_only=True)
class Finetune(Step):
    """A contrastive model, trained onwards on one or more classification sets or sets of image-text pairs.

    `model` is a Step that gives a model artifact; each Step of `data` gives a directory with `images.npy` (n, height,
    width, 3) uint8, and `labels.npy` (n) with `classes.json`, or `captions.json` as `CaptionedPictures` have. The text
    tower turns the names of the classes (through `templates`) into a head that stays as it is, so the model keeps its
    words and gets no new parameters (Ilharco et al. 2022, 2212.04089, appendix B). Pictures with captions are told
    from the others of their batch by CLIP's symmetric cross-entropy at the model's own temperature, which stays; each
    time one of a picture's captions is drawn. With several sets each is seen `samples` times in turn: joint training.
    Only parameters that fit one of the patterns `trained` change; the statistics of batch normalisation stay the
    model's, so that differences of weights are all there is to an edit, unless `statistics` lets them follow the data:
    for a model that edits will start from.

    `samples` are the pictures seen of each set, rounded up to whole batches; `ascent` goes up the loss instead of down
    (the control called gradient ascent). `shard` (i, n) sees the i-th of n interleaved parts of every set. The rate
    rises over `warmup` and falls along a cosine.

    A training can be cut into parts that are Steps of their own: a part goes on at step `first_step` of `whole_steps`
    steps (None: the training ends with this part), with the data and rates of those steps of the whole; `samples` are
    the part's. The moments of the optimizer start anew in each part, or go on from those of `moments`: a `Finetune` of
    the same parameters that kept its own (`keep_moments`, in `moments.safetensors`).

    Measures `loss` (mean over the last tenth) and `samples`. Raises `SurefootError` for settings that fit no training,
    and a loss that diverges.
    """

    model: Step
    data: tuple[Step, ...]
    samples: int
    batch: int = 64
    learning_rate: float = 3e-4
    weight_decay: float = 0.1
    warmup: float = 0.1
    augmentation: Augmentation = "shift"
    templates: tuple[str, ...] = ("{}",)
    trained: tuple[str, ...] = ("visual.*",)
    ascent: bool = False
    statistics: bool = False
    shard: tuple[int, int] = (0, 1)
    first_step: int = 0
    whole_steps: int | None = None
    moments: Step | None = None
    keep_moments: bool = False
    seed: int = 0
    threads: int = 1
    requires: ClassVar[tuple[str, ...]] = ("torch", "open_clip", "safetensors")
    cost_fields: ClassVar[tuple[str, ...]] = ("samples",)

    @cached_property
    def cost(self) -> float:
        """As of every Step, times what a picture takes in its model."""
        return super().cost * picture_cost(self.model)

    def make(self, out: Path, inputs: Inputs) -> Iterable[Measurement]:
        """Train, and write the model."""
        check_settings(self, samples=1, batch=2, threads=1)
        if not self.data:
            raise SurefootError("Finetune needs data.")
        with reproducible(self.threads):
            return _finetune(self, out, inputs)


@dataclass(frozen=True, kw_only=True)
class LabelledPictures:
    """A classification set: pictures (n, 3, size, size) uint8, labels (n), and its head (classes, d)."""

    images: "torch.Tensor"
    labels: "torch.Tensor"
    head: "torch.Tensor"


Pictures = LabelledPictures | TokenizedPairs


def read_labelled(directory: Path, loaded: LoadedModel, templates: Sequence[str]) -> LabelledPictures:
    """Read a classification set for a model: pictures are resized once, class names are embedded once.

    An encoder without words has for its head the mean feature of each class before the training, of unit length.

    Pictures of the model's size stay on the disk until they are used. Raises `SurefootError` for a set without an
    array of pictures.
    """
    import torch

    classes = read_classes(directory)
    labels = torch.from_numpy(classes.labels)
    if loaded.knows_words:
        head = class_head(loaded, classes.names, templates).embeddings.clone()
    else:
        features = embed_images(loaded, open_images(directory)).clone()
        sums = torch.zeros(len(classes.names), features.shape[1]).index_add_(0, labels, features)
        head = torch.nn.functional.normalize(sums, dim=-1)
    return LabelledPictures(images=resized(open_images(directory, "c"), loaded.pixels), labels=labels, head=head)


def _finetune(step: Finetune, out: Path, inputs: Inputs) -> list[Measurement]:
    import torch
    from safetensors.torch import load_file, save_file

    loaded = load_model(inputs[step.model])
    if step.first_step and not loaded.knows_words:
        raise SurefootError(
            f"{loaded.name} knows no words: it is tuned towards its features before any training, which a part that "
            "goes on does not know. Train it in one part."
        )
    sets = [
        read_pairs(inputs[one], read_captions(inputs[one]), loaded.tokenizer, loaded.pixels)
        if has_captions(inputs[one])
        else read_labelled(inputs[one], loaded, step.templates)
        for one in step.data
    ]  # heads are of the model as it is used: without dropout, and with its own statistics
    model: torch.nn.Module = loaded.model.train().to(memory_format=torch.channels_last)
    choose_parameters(model, step.trained)
    steps = math.ceil(step.samples / step.batch) * len(sets)
    schedule = Schedule(
        steps=steps,
        batch=step.batch,
        learning_rate=step.learning_rate,
        warmup=step.warmup,
        first=step.first_step,
        whole=step.whole_steps,
    )
    optimizer = adamw(model, step.learning_rate, step.weight_decay)
    if step.moments:
        if not (kept := inputs[step.moments] / MOMENTS).is_file():
            raise SurefootError("The Step in moments kept none: give it keep_moments=True.")
        set_moments(optimizer, load_file(kept))
    loss_at, sign = finetuning_loss(step, loaded, sets), -1 if step.ascent else 1
    losses = train(model, optimizer, lambda number: loss_at(step.first_step + number), schedule, out)
    description = replace(loaded.description, samples=loaded.description.samples + steps * step.batch)
    save_model(model, description, out, loaded.tokenizer_directory)
    if step.keep_moments:
        save_file({name: value.contiguous() for name, value in moments_of(optimizer).items()}, out / MOMENTS)
    return [last_tenth([sign * loss for loss in losses]), Measurement(metric="samples", value=steps * step.batch, n=1)]


def finetuning_loss(step: Finetune, loaded: LoadedModel, sets: Sequence[Pictures]) -> "Callable[[int], torch.Tensor]":
    """The loss of any step: cross-entropy of one set's batch against its frozen head or its captions, sets in turn."""
    import torch

    scale = loaded.model.logit_scale.detach().exp()
    norms = [part for part in loaded.model.modules() if isinstance(part, torch.nn.modules.batchnorm._BatchNorm)]

    def at(number: int) -> "torch.Tensor":
        for part in norms:
            part.train(step.statistics)
        which, turn = number % len(sets), number // len(sets)
        one = sets[which]
        rows = _batch(len(one.images), step, which, turn)
        changed = augmented(one.images[rows], step.augmentation, generator_for("augment", step.seed, which, turn))
        prepared = normalized(changed, loaded.pixels).contiguous(memory_format=torch.channels_last)
        images = scale * loaded.model.encode_image(prepared, normalize=True)
        if isinstance(one, LabelledPictures):
            loss = torch.nn.functional.cross_entropy(images @ one.head.T, one.labels[rows])
        else:
            tokens = one.drawn(rows, generator_for("captions", step.seed, which, turn))
            loss = _symmetric(images @ loaded.model.encode_text(tokens, normalize=True).T)
        return -loss if step.ascent else loss

    return at


def _symmetric(logits: "torch.Tensor") -> "torch.Tensor":
    """Cross-entropy of naming the own caption of each picture and the own picture of each caption, in equal parts."""
    import torch

    loss, own = torch.nn.functional.cross_entropy, torch.arange(len(logits))
    return (loss(logits, own) + loss(logits.T, own)) / 2


def _batch(total: int, step: Finetune, which: int, turn: int) -> "torch.Tensor":
    own = shard_of(total, step.shard)
    return own[rows_of_batch(len(own), step.batch, turn, "order", step.seed, which)]
