"""Image encoders of the user: any of timm, or any module of torch, with weights from a local file."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Self

from surefoot.contrastive._models._artifact import LoadedModel, ModelDescription, fill, save_model
from surefoot.contrastive._models._build import ENCODER, build, open_tokenizer
from surefoot.contrastive._models._cost import count_parameters
from surefoot.contrastive._models._pixels import CROP_MODES, Pixels
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
    size: int | None = None
    version: ClassVar[int] = 2
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
    name: str,
    checkpoint: Path | None,
    *,
    options: PixelOptions = AS_FOUND,
    size: int | None = None,
    key: str | None = None,
) -> LoadedModel:
    """An image encoder: `timm:NAME`, or `torch:MODULE:FUNCTION`, a function without arguments that gives a module.

    The module gives (n, d) features of pictures (n, 3, `size`, `size`; 224). Weights are those of `checkpoint`, else
    those that the function gives; a model of timm needs one, nothing is downloaded. Of the checkpoint a classifier is
    left out, which is said: what timm's configuration calls so, else parts of which the module has nothing. Pictures
    are prepared as timm's configuration says, with its crop, else by 0.5 and 0.5, `options` first. Raises for what fits
    no model, and for a `size` of a model of timm, which has its own.
    """
    config = {ENCODER: name, "vision_cfg": {}, "text_cfg": {}}
    model: Any = build(config)
    if name.startswith("timm:") and size:
        raise SurefootError(f"{name} has its own size: leave --size out.")
    if name.startswith("timm:") and checkpoint is None:
        raise SurefootError(f"Give the checkpoint of {name} with --pretrained: nothing is downloaded.")
    told = getattr(model.visual, "pretrained_cfg", None)
    found = _timm_pixels(told, size) if told else Pixels(size=size or 224)
    pixels = replace(found, **options.given)
    source = "timm's configuration" if told else "0.5 and 0.5 a channel"
    source = f"{', '.join(options.given)} as given, else {source}" if options.given else source
    if checkpoint:
        wanted, state = model.state_dict(), read_state(checkpoint, key=key)
        own = {one.removeprefix("visual.") for one in wanted}
        left = sorted(one for one in state if one not in own and _is_classifier(one, told, own))
        kept = {f"visual.{one}": value for one, value in state.items() if one not in left}
        fill(model, {"logit_scale": wanted["logit_scale"]} | kept, checkpoint, name)
        source += f". Left out of the checkpoint: {', '.join(left)}" if left else ""
    description = ModelDescription(
        name=name,
        config=config,
        pixels=pixels,
        vocabulary=None,
        parameters=count_parameters(model),
        gmacs_per_sample=0.0,
        samples=0,
        source=source,
    )
    tokenizer = open_tokenizer(config, None)
    return LoadedModel(model=model.eval(), tokenizer=tokenizer, pixels=pixels, name=name, description=description)


def _timm_pixels(told: dict[str, Any], size: int | None) -> Pixels:
    from timm.data.config import resolve_data_config

    found = resolve_data_config({"img_size": size}, pretrained_cfg=told)
    mode = next(name for name, mode in CROP_MODES.items() if mode == found["crop_mode"])
    same = {name: found[name] for name in ("mean", "std", "interpolation")}
    return Pixels(size=tuple(found["input_size"][1:]), resize_mode=mode, crop=found["crop_pct"], **same)


def _is_classifier(name: str, told: dict[str, Any] | None, own: Iterable[str]) -> bool:
    if not told:
        return name.partition(".")[0] not in {one.partition(".")[0] for one in own}
    heads = told.get("classifier") or ()
    return name.startswith(tuple(f"{one}." for one in ([heads] if isinstance(heads, str) else heads)))
