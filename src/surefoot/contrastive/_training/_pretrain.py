"""Pretrain: a contrastive image-text model from scratch."""

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from surefoot.contrastive._models._artifact import WEIGHTS, ModelDescription, fill, read_description, save_model
from surefoot.contrastive._models._build import build
from surefoot.contrastive._models._cost import count_gmacs, count_parameters
from surefoot.contrastive._models._ladder import ladder_config
from surefoot.contrastive._models._pixels import Pixels, normalized
from surefoot.contrastive._models._tokenizer import RestrictedTokenizer, vocabulary_of
from surefoot.contrastive._pictures._directory import read_captions
from surefoot.contrastive._training._augment import Augmentation, augmented
from surefoot.contrastive._training._batches import Batches, read_pairs
from surefoot.core import Inputs, Measurement, Step, SurefootError
from surefoot.training import (
    Decay,
    Schedule,
    adamw,
    check_settings,
    generator_for,
    last_tenth,
    moments_of,
    reproducible,
    seed_for,
    set_moments,
    train,
)

if TYPE_CHECKING:
    import torch

MOST_LOGIT_SCALE = math.log(100)
MOMENTS = "moments.safetensors"


@dataclass(frozen=True, kw_only=True)
class Pretrain(Step):
    """A contrastive image-text model trained from scratch on pictures with captions.

    `data` is a Step whose directory holds `images.npy` (n, height, width, 3) uint8 and `captions.json`, n lists of
    alternative captions: each time a picture is seen, one of them is drawn. `model` is a name on the `ladder()`.
    `samples` is the number of image-text pairs seen, repeats counted (rounded up to whole batches). The loss is
    OpenCLIP's symmetric cross-entropy over a batch (Radford et al. 2021, 2103.00020); AdamW, warm-up over a fraction of
    the steps, then a cosine to zero.

    With `decay` "constant" the rate stays after the warm-up, and the moments of the optimizer are kept: a trunk from
    which one long training gives every smaller one. `start` is such a trunk of the same model, batch and seed: a
    training that goes on from it (`samples` are its own), on its data or on other with the words that it knows, at the
    constant rate, or with `decay` "cooldown" along a line to zero (Hägele et al. 2024, 2405.18392). `samples` and
    `gmacs` are then measured of the whole training.

    `after` are Steps that must be made first, such as a prediction of what this model will score.

    On one machine the same Step gives the same bits, also after a kill: `threads` is a field because the number of
    threads changes sums; leave it at 1 and let Steps run side by side. The directory is a model artifact (see
    `surefoot.contrastive.load_model`) and `history.json`. Measures `loss` (mean over the last tenth of the steps),
    `parameters`, `gmacs_per_sample` (billions of multiply-accumulates of a forward pass), `samples`, `gmacs` (their
    product). Raises `SurefootError` for an unknown model, pictures without captions, and a loss that diverges.
    """

    data: Step
    model: str
    samples: int
    batch: int = 32
    learning_rate: float = 1e-3
    weight_decay: float = 0.1
    warmup: float = 0.1
    augmentation: Augmentation = "shift"
    after: tuple[Step, ...] = ()
    seed: int = 0
    threads: int = 1
    decay: Decay = "cosine"
    start: Step | None = None
    requires: ClassVar[tuple[str, ...]] = ("torch", "open_clip", "safetensors")
    cost_fields: ClassVar[tuple[str, ...]] = ("samples",)

    def __post_init__(self) -> None:
        ladder_config(self.model, vocabulary_size=1)  # an unknown name is refused before anything is made

    def make(self, out: Path, inputs: Inputs) -> Iterable[Measurement]:
        """Train, and write the model."""
        check_settings(self, samples=1, batch=2, threads=1)
        if (self.decay == "cooldown") > (self.start is not None) or (self.start and self.decay == "cosine"):
            raise SurefootError('A cool-down needs a start, and what goes on from a start is "constant" or "cooldown".')
        with reproducible(self.threads):
            return _pretrain(self, out, inputs[self.data], inputs[self.start] if self.start else None)


def _pretrain(step: Pretrain, out: Path, data: Path, start: Path | None) -> list[Measurement]:
    import torch
    from safetensors.torch import load_file, save_file

    captions = read_captions(data)
    known = read_description(start).vocabulary if start else None
    vocabulary = known or vocabulary_of(text for texts in captions for text in texts)
    config = ladder_config(step.model, vocabulary_size=len(vocabulary) + 1)
    tokenizer = RestrictedTokenizer(vocabulary, config["text_cfg"]["context_length"])
    pixels = Pixels(size=config["vision_cfg"]["image_size"], interpolation="bilinear")
    torch.manual_seed(seed_for("weights", step.seed))
    model = build(config).to(memory_format=torch.channels_last)
    batches = Batches(pairs=read_pairs(data, captions, tokenizer, pixels), size=step.batch, seed=step.seed)
    schedule = _schedule_of(step, start)
    optimizer = adamw(model, step.learning_rate, step.weight_decay)
    if start:
        fill(model, load_file(start / WEIGHTS), start / WEIGHTS, step.model)
        set_moments(optimizer, load_file(start / MOMENTS))
    loss_at = contrastive_loss(step, model, batches, pixels)
    losses = train(model, optimizer, lambda number: loss_at(schedule.first + number), schedule, out)
    samples = schedule.all_steps * step.batch
    if step.decay == "constant":
        save_file({name: value.contiguous() for name, value in moments_of(optimizer).items()}, out / MOMENTS)
    description = ModelDescription(
        name=step.model,
        config=config,
        pixels=pixels,
        vocabulary=vocabulary,
        parameters=count_parameters(model),
        gmacs_per_sample=count_gmacs(config),
        samples=samples,
    )
    save_model(model, description, out)
    return [last_tenth(losses), *_costs(description)]


def _costs(description: ModelDescription) -> Iterator[Measurement]:
    """What the model weighs and what its training took."""
    for name in ("parameters", "gmacs_per_sample", "samples"):
        yield Measurement(metric=name, value=getattr(description, name), n=1)
    yield Measurement(metric="gmacs", value=description.gmacs_per_sample * description.samples, n=1)


def _schedule_of(step: Pretrain, start: Path | None) -> Schedule:
    return Schedule(
        steps=math.ceil(step.samples / step.batch),
        batch=step.batch,
        learning_rate=step.learning_rate,
        warmup=step.warmup,
        first=read_description(start).samples // step.batch if start else 0,
        decay=step.decay,
    )


def contrastive_loss(
    step: Pretrain, model: "torch.nn.Module", batches: Batches, pixels: Pixels
) -> "Callable[[int], torch.Tensor]":
    """The loss of any step of a training: a function of the step and the model alone."""
    import torch
    from open_clip.loss import ClipLoss

    loss = ClipLoss()
    logit_scale: torch.Tensor = model.logit_scale  # pyright: ignore[reportAssignmentType]

    def at(number: int) -> "torch.Tensor":
        with torch.no_grad():  # CLIP keeps the scale of its logits at most 100
            logit_scale.clamp_(0, MOST_LOGIT_SCALE)
        images, tokens = batches.at(number)
        changed = augmented(images, step.augmentation, generator_for("augment", step.seed, number))
        prepared = normalized(changed, pixels).contiguous(memory_format=torch.channels_last)
        torch.manual_seed(seed_for("dropout", step.seed, number))
        return loss(*model(prepared, tokens))

    return at
