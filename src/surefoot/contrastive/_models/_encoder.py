"""Image encoders of the user: any of timm, or any module of torch, with weights from a local file."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Self

from surefoot.contrastive._models._artifact import LoadedModel, ModelDescription, fill, save_model
from surefoot.contrastive._models._build import ENCODER, build, open_tokenizer
from surefoot.contrastive._models._cost import count_parameters
from surefoot.contrastive._models._pixels import Pixels
from surefoot.contrastive._models._preparation import AS_FOUND, PixelOptions
from surefoot.core import Inputs, Measurement, Step, SurefootError, check_pinned, digest_of, unkeyed
from surefoot.weights import read_state

ENCODERS = ("timm:", "torch:")


@dataclass(frozen=True, kw_only=True)
class ImageEncoder(Step):
    """A user's own image encoder as a model artifact: `ImageEncoder(model=...).pinned()`. Measures `parameters`.

    Fields as in `load_encoder`. It can be probed and fine-tuned (`LinearProbe`, `Finetune`), and has no words.
    """

    model: str
    checkpoint: str = unkeyed("")
    digest: str = ""
    size: int = 224
    requires: ClassVar[tuple[str, ...]] = ("torch", "open_clip", "safetensors")

    def pinned(self) -> Self:
        """With the whole path and the digest of the checkpoint as it is now; what a function gives has none."""
        path = Path(self.checkpoint).resolve() if self.checkpoint else None
        return replace(self, checkpoint=str(path), digest=digest_of(path)) if path else self

    def make(self, out: Path, inputs: Inputs) -> Iterable[Measurement]:
        """Read the checkpoint, and write the model."""
        if self.checkpoint:
            check_pinned(self)
        loaded = load_encoder(self.model, Path(self.checkpoint) if self.checkpoint else None, size=self.size)
        save_model(loaded.model, loaded.description, out)
        return [Measurement(metric="parameters", value=loaded.description.parameters, n=1)]


def load_encoder(
    name: str, checkpoint: Path | None, *, options: PixelOptions = AS_FOUND, size: int = 224, key: str | None = None
) -> LoadedModel:
    """An image encoder: `timm:NAME`, or `torch:MODULE:FUNCTION`, a function without arguments that gives a module.

    The module gives (n, d) features of pictures (n, 3, `size`, `size`). Weights are those of `checkpoint` (a classifier
    in it is left out), else those that the function gives; a model of timm needs one, nothing is downloaded. Pictures
    are prepared as timm's configuration says, else by 0.5 and 0.5, `options` first. Raises for what fits no model.
    """
    config = {ENCODER: name, "vision_cfg": {}, "text_cfg": {}}
    model: Any = build(config)
    if name.startswith("timm:") and checkpoint is None:
        raise SurefootError(f"Give the checkpoint of {name} with --pretrained: nothing is downloaded.")
    told = getattr(model.visual, "pretrained_cfg", None) or {"input_size": (3, size, size)}
    found = {key: told[key] for key in ("mean", "std", "interpolation") if key in told} | options.given
    pixels = replace(Pixels(size=told["input_size"][-1]), **found)
    if checkpoint:
        wanted, state = model.state_dict(), read_state(checkpoint, key=key)
        state = {f"visual.{one}": value for one, value in state.items() if f"visual.{one}" in wanted}
        fill(model, {"logit_scale": wanted["logit_scale"]} | state, checkpoint, name)
    source = "timm's configuration (but for its crop)" if name.startswith("timm:") else "0.5 and 0.5 a channel"
    description = ModelDescription(
        name=name,
        config=config,
        pixels=pixels,
        vocabulary=None,
        parameters=count_parameters(model),
        gmacs_per_sample=0.0,
        samples=0,
        source=f"{', '.join(options.given)} as given, else {source}" if options.given else source,
    )
    tokenizer = open_tokenizer(config, None)
    return LoadedModel(model=model.eval(), tokenizer=tokenizer, pixels=pixels, name=name, description=description)
