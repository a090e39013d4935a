"""OpenCLIP models by name, with weights from a local file."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar, Self

from surefoot.contrastive._models._artifact import LoadedModel, ModelDescription, fill, save_model
from surefoot.contrastive._models._build import build, openclip_config
from surefoot.contrastive._models._cost import count_gmacs, count_parameters
from surefoot.contrastive._models._pixels import Pixels
from surefoot.core import Inputs, Measurement, Step, check_pinned, digest_of, unkeyed
from surefoot.training import check_checkpoint, read_state


@dataclass(frozen=True, kw_only=True)
class OpenClipModel(Step):
    """A user's own OpenCLIP model as a model artifact, known by its contents (see `pinned`).

    `model` is one of OpenCLIP's names, `checkpoint` a local file (.safetensors, or .pt/.pth/.bin of tensors only). It
    can be fine-tuned, edited and measured like a model that was trained here. Measures `parameters` and
    `gmacs_per_sample`. Raises `SurefootError` as `load_openclip` does, and for a file that has changed since.
    """

    model: str
    checkpoint: str = unkeyed("")
    digest: str = ""
    requires: ClassVar[tuple[str, ...]] = ("torch", "open_clip", "safetensors")

    def pinned(self) -> Self:
        """With the whole path and the digest of the checkpoint as it is now. Raises where there is none."""
        path = Path(self.checkpoint).resolve()
        check_checkpoint(path)
        openclip_config(self.model)
        return replace(self, checkpoint=str(path), digest=digest_of(path))

    def make(self, out: Path, inputs: Inputs) -> Iterable[Measurement]:
        """Read the checkpoint, and write the model."""
        check_pinned(self)
        path = Path(self.checkpoint)
        loaded = load_openclip(self.model, path)
        config = openclip_config(self.model)
        description = ModelDescription(
            name=self.model,
            config=config,
            pixels=loaded.pixels,
            vocabulary=None,
            parameters=count_parameters(loaded.model),
            gmacs_per_sample=count_gmacs(config),
            samples=0,
        )
        save_model(loaded.model, description, out)
        return [
            Measurement(metric="parameters", value=description.parameters, n=1),
            Measurement(metric="gmacs_per_sample", value=description.gmacs_per_sample, n=1),
        ]


def load_openclip(name: str, checkpoint: Path | str) -> LoadedModel:
    """One of OpenCLIP's models with the weights of a local checkpoint (.safetensors, or .pt/.pth/.bin of tensors only).

    Pictures are prepared with OpenCLIP's default mean, standard deviation and bicubic interpolation at the model's
    image size. Raises `SurefootError` for an unknown name, a missing or damaged file, a pickle that holds code, and
    weights of another architecture.
    """
    import open_clip

    config, path = openclip_config(name), Path(checkpoint)
    state = read_state(path)
    model = build(config)
    fill(model, state, path, name)
    size = config["vision_cfg"].get("image_size", 224)
    pixels = Pixels(size=size, mean=open_clip.OPENAI_DATASET_MEAN, std=open_clip.OPENAI_DATASET_STD)
    return LoadedModel(model=model.eval(), tokenizer=open_clip.get_tokenizer(name), pixels=pixels, name=name)
