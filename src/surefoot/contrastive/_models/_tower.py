"""An image tower alone, in the shape of an OpenCLIP model. Imports torch: imported where a model is built."""

from importlib import import_module
from typing import Any

import torch

from surefoot.core import SurefootError, missing_module


class ImageTower(torch.nn.Module):
    """A model of pictures without words: `encode_image` as OpenCLIP's, and a temperature for a head of features."""

    def __init__(self, visual: torch.nn.Module) -> None:
        torch.nn.Module.__init__(self)
        self.visual = visual
        self.logit_scale = torch.nn.Parameter(torch.tensor(3.0))

    def encode_image(self, image: torch.Tensor, normalize: bool = False) -> torch.Tensor:
        """Features (n, d) of pictures (n, 3, height, width), of unit length where `normalize`."""
        found = self.visual(image)
        if found.ndim != 2:
            raise SurefootError(f"The encoder gives {tuple(found.shape)} for a batch of pictures: it must be (n, d).")
        return torch.nn.functional.normalize(found, dim=-1) if normalize else found


def build_tower(name: str) -> ImageTower:
    """`timm:NAME`, a model of timm without its classifier, or `torch:MODULE:FUNCTION`, what a function of yours gives.

    Weights are random. Raises `SurefootError` for a name that is neither.
    """
    kind, _, rest = name.partition(":")
    if kind == "timm":
        return ImageTower(_timm().create_model(_known(rest), pretrained=False, num_classes=0))
    place, _, function = rest.partition(":")
    try:
        made = getattr(import_module(place), function)()
    except (ImportError, AttributeError, ValueError) as error:
        raise SurefootError(f"{name} gives no model: {error}. Write torch:MODULE:FUNCTION.") from error
    if not isinstance(made, torch.nn.Module):
        raise SurefootError(f"{name} gives a {type(made).__name__}: it must give a torch.nn.Module.")
    return ImageTower(made)


def timm_preparation(name: str) -> dict[str, Any]:
    """What timm's default configuration of a model says of pictures: size, mean, std, interpolation."""
    found = _timm().data.resolve_data_config({}, model=_timm().create_model(_known(name), num_classes=0))
    return {"size": found["input_size"][-1], **{key: found[key] for key in ("mean", "std", "interpolation")}}


def _known(name: str) -> str:
    if not _timm().is_model(name):
        near = _timm().list_models(f"*{name.partition('.')[0].partition('_')[0]}*")[:3]
        raise SurefootError(f"timm has no model '{name}'.{' Did you mean ' + ' or '.join(near) + '?' if near else ''}")
    return name


def _timm() -> Any:
    try:
        import timm
        import timm.data
    except ModuleNotFoundError as error:
        raise missing_module("timm") from error
    return timm
