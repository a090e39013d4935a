"""Image encoders of the user: any of timm, or any module of torch, with weights from a local file."""

import json
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Self

from surefoot.contrastive._models._artifact import LoadedModel, ModelDescription, fill, save_model
from surefoot.contrastive._models._build import ENCODER, ENCODER_ARGUMENTS, build, open_tokenizer
from surefoot.contrastive._models._cost import count_parameters
from surefoot.contrastive._models._pixels import CROP_MODES, Pixels
from surefoot.contrastive._models._preparation import AS_FOUND, PixelOptions, check_timm, three
from surefoot.core import Inputs, Measurement, Step, SurefootError, check_pinned, digest_of, unkeyed
from surefoot.weights import read_state

ENCODERS = ("timm:", "torch:")
_WRAPPED = "module."
_FIELDS = ("mean", "std", "interpolation", "crop_mode", "crop_pct", "input_size")
_OPTIONS = {"crop_mode": "resize_mode"}  # what the options call them
Told = tuple[dict[str, Any], dict[str, Any], str]


@dataclass(frozen=True, kw_only=True)
class ImageEncoder(Step):
    """A user's own image encoder as a model artifact: `ImageEncoder(model=...).pinned()`. Measures `parameters`.

    Fields as in `load_encoder`. It can be probed and fine-tuned (`LinearProbe`, `Finetune`), and has no words.
    """

    model: str
    checkpoint: str = unkeyed("")
    digest: str = ""
    size: int | None = None
    version: ClassVar[int] = 4  # of what Finetune makes of it: its classes' features were those of a training
    requires: ClassVar[tuple[str, ...]] = ("torch", "open_clip", "safetensors")

    def pinned(self) -> Self:
        """With the whole path and the digest of the checkpoint, and of timm's `config.json` beside it, as they are now.

        What a function gives has none.
        """
        if not self.checkpoint:
            return self
        path = Path(self.checkpoint).resolve()
        beside = _timm_beside(path) if path.is_file() and self.model.startswith("timm:") else None
        digests = [digest_of(one) for one in (path, beside) if one]
        digest = digests[0] if len(digests) == 1 else "+".join(one[:32] for one in digests)
        return replace(self, checkpoint=str(path), digest=digest)

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
    are prepared as `_timm_told` finds, with its crop, else by 0.5 and 0.5, `options` first. Raises for what fits
    no model, and for a `size` of a model of timm, which has its own.
    """
    config: dict[str, Any] = {ENCODER: name, "vision_cfg": {}, "text_cfg": {}}
    told, source = None, "0.5 and 0.5 a channel"
    if name.startswith("timm:"):
        check_timm(name.removeprefix("timm:"))
        if size:
            raise SurefootError(f"{name} has its own size: leave --size out.")
        if checkpoint is None:
            raise SurefootError(f"Give the checkpoint of {name} with --pretrained: nothing is downloaded.")
        told, config[ENCODER_ARGUMENTS], source = _timm_told(name.removeprefix("timm:"), checkpoint, options)
    model: Any = build(config)
    if told is None and (told := getattr(model.visual, "pretrained_cfg", None)):
        source = "timm's configuration"
    found = _timm_pixels(told, size) if told else Pixels(size=size or 224)
    pixels = replace(found, **options.given)
    source = f"{', '.join(options.given)} as given, else {source}" if options.given else source
    if checkpoint and (left := _fill_from(model, checkpoint, key, told, name)):
        source += f". Left out of the checkpoint: {', '.join(left)}"
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


def _fill_from(model: Any, checkpoint: Path, key: str | None, told: dict[str, Any] | None, name: str) -> list[str]:
    """Put the tensors of a checkpoint into the tower; those of its classifier are left out and named."""
    wanted, state = model.state_dict(), read_state(checkpoint, key=key)
    own = {one.removeprefix("visual.") for one in wanted if one != "logit_scale"}
    if all(one.startswith(_WRAPPED) for one in own):  # which is taken off what is read
        state = {f"{_WRAPPED}{one}": value for one, value in state.items()}
    left = sorted(one for one in state if one not in own and _is_classifier(one, told, own))
    kept = {f"visual.{one}": value for one, value in state.items() if one not in left}
    fill(model, {"logit_scale": wanted["logit_scale"]} | kept, checkpoint, name)
    return left


def _is_classifier(name: str, told: dict[str, Any] | None, own: Iterable[str]) -> bool:
    if not told:
        return name.partition(".")[0] not in {one.partition(".")[0] for one in own}
    heads = told.get("classifier") or ()
    heads = [heads] if isinstance(heads, str) else heads
    parents = [one.rpartition(".")[0] for one in heads]  # of head.linear: without a classifier all of it may be gone
    gone = [one for one in parents if one and not any(kept.startswith(f"{one}.") for kept in own)]
    return name.startswith(tuple(f"{one}." for one in (*heads, *gone)))


def _timm_beside(checkpoint: Path) -> Path | None:
    """The `config.json` of timm beside a checkpoint, as hubs have it: it names an architecture."""
    path = (checkpoint if checkpoint.is_dir() else checkpoint.parent) / "config.json"
    return path if path.is_file() and "architecture" in _read(path) else None


def _timm_told(name: str, checkpoint: Path, options: PixelOptions) -> Told:
    """Of a model of timm its configuration, the arguments to build it with, and the source of both.

    The file beside the checkpoint comes first, then the tag in `name` (`ARCHITECTURE.TAG`) or in the name of the file
    or a folder above it, else what all published weights of the architecture share. Raises `SurefootError` where these
    differ in what `options` do not give, and for a file that is of another model.
    """
    from timm.models import list_pretrained

    architecture, _, tag = name.partition(".")
    if beside := _timm_beside(checkpoint):
        return _read_beside(beside, architecture, tag)
    tags = {one: _published(one) for one in list_pretrained(f"{architecture}.*")}
    parts = [checkpoint.name if checkpoint.is_dir() else checkpoint.stem, *checkpoint.resolve().parent.parts[-4:]]
    known = name if tag else next((one for one in tags if any(part.endswith(one) for part in parts)), None)
    if known:
        return _published(known), {}, f"timm's configuration of {known}"
    unclear = [
        field
        for field in _FIELDS
        if len({str(one[field]) for one in tags.values()}) > 1 and _OPTIONS.get(field, field) not in options.given
    ]
    if unclear:
        values = {str(one[unclear[0]]): tag for tag, one in reversed(tags.items())}
        raise SurefootError(
            f"It is unclear how pictures are prepared for {checkpoint}: published {architecture} differ in "
            f"{', '.join(unclear)} ({'; '.join(f'{value} for {tag}' for value, tag in values.items())}). Say which it "
            f"is or was tuned from: {', '.join(f'timm:{one}' for one in tags)}."
        )
    return _published(name), {}, "timm's configuration"


def _timm_pixels(told: dict[str, Any], size: int | None) -> Pixels:
    """The pictures that timm's configuration asks for."""
    from timm.data.config import resolve_data_config

    found = resolve_data_config({"img_size": size}, pretrained_cfg=told)
    mode = next(name for name, mode in CROP_MODES.items() if mode == found["crop_mode"])
    return Pixels(
        size=tuple(found["input_size"][1:]),
        resize_mode=mode,
        crop=found["crop_pct"],
        interpolation=found["interpolation"],
        mean=three(found["mean"]),
        std=three(found["std"]),
    )


def _published(name: str) -> dict[str, Any]:
    from timm.models import get_pretrained_cfg

    try:
        found = get_pretrained_cfg(name)
    except RuntimeError as error:
        raise SurefootError(f"timm has no {name}: {error}.") from error
    return found.to_dict() if found else {}


def _read(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise SurefootError(f"{path} cannot be read: {error}.") from error
    return content if isinstance(content, dict) else {}


def _read_beside(path: Path, architecture: str, tag: str) -> Told:
    content = _read(path)
    told = content.get("pretrained_cfg", content)
    of, _, own = str(content["architecture"]).partition(".")
    own = str(told.get("tag") or own)
    if of != architecture or (tag and own and own != tag):
        raise SurefootError(
            f"{path} is of timm:{'.'.join(filter(None, (of, own)))}, not {'.'.join(filter(None, (architecture, tag)))}:"
            f" write timm:{of}, or keep the checkpoint elsewhere."
        )
    built = {name: value for name, value in (content.get("model_args") or {}).items() if name != "num_classes"}
    told = _published(of) | {name: value for name, value in told.items() if value is not None}
    if built.get("img_size") and told.get("fixed_input_size"):
        side = built["img_size"]
        told["input_size"] = (3, *([side, side] if isinstance(side, int) else side))
    return told, built, str(path)
