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
        if not isinstance(found, torch.Tensor) or found.ndim != 2 or len(found) != len(image):
            given = tuple(found.shape) if isinstance(found, torch.Tensor) else f"a {type(found).__name__}"
            raise SurefootError(f"The encoder gives {given} for {len(image)} pictures: it must be a tensor (n, d).")
        return torch.nn.functional.normalize(found, dim=-1) if normalize else found


def build_tower(name: str) -> ImageTower:
    """`timm:NAME` without its classifier, or what a function gives (`torch:MODULE:FUNCTION`). Raises for another."""
    kind, _, rest = name.partition(":")
    if kind == "timm":
        timm: Any = _imported("timm")
        if not timm.is_model(rest):
            raise SurefootError(f"timm has no model '{rest}': timm.list_models() names them all.")
        return ImageTower(timm.create_model(rest, pretrained=False, num_classes=0))
    place, _, function = rest.partition(":")
    try:
        found = getattr(import_module(place), function)()
        if not isinstance(found, torch.nn.Module):
            raise TypeError(f"it is a {type(found).__name__}, not a torch module")
        return ImageTower(found)
    except (ImportError, AttributeError, ValueError, TypeError) as error:
        raise SurefootError(f"{name} gives no model: {error}. Write torch:MODULE:FUNCTION.") from error


def _imported(name: str) -> Any:
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        raise missing_module(name) from error
