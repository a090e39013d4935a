"""An image tower alone, in the shape of an OpenCLIP model. Imports torch: imported where a model is built."""

from collections.abc import Mapping
from importlib import import_module
from typing import Any

import torch

from surefoot.contrastive._models._preparation import check_timm
from surefoot.core import SurefootError


class ImageTower(torch.nn.Module):
    """A model of pictures without words: `encode_image` as OpenCLIP's, and a temperature for a head of features."""

    def __init__(self, visual: torch.nn.Module) -> None:
        torch.nn.Module.__init__(self)
        self.visual = visual
        self.logit_scale = torch.nn.Parameter(torch.tensor(3.0))

    def encode_image(self, image: torch.Tensor, normalize: bool = False) -> torch.Tensor:
        """Features (n, d) of pictures (n, 3, height, width), of unit length where `normalize`."""
        try:
            found = self.visual(image)
        except Exception as error:
            why = f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"
            raise SurefootError(f"The encoder fails on pictures of the shape {tuple(image.shape)}: {why}.") from error
        tensor = isinstance(found, torch.Tensor)
        if not tensor or found.ndim != 2 or len(found) != len(image) or not found.is_floating_point():
            given = f"{tuple(found.shape)}" if tensor else f"a {type(found).__name__}"
            given += f" of {found.dtype}" if tensor and not found.is_floating_point() else ""
            raise SurefootError(f"The encoder gives {given} for {len(image)} pictures: it must be floats (n, d).")
        return torch.nn.functional.normalize(found, dim=-1) if normalize else found


def build_tower(name: str, arguments: Mapping[str, Any]) -> ImageTower:
    """`timm:NAME` without its classifier, or what a function gives (`torch:MODULE:FUNCTION`), in 32 bits.

    `arguments` are timm's (`global_pool`, `img_size` ...). Raises for another.
    """
    kind, _, rest = name.partition(":")
    if kind == "timm":
        check_timm(rest)
        try:
            built = import_module("timm").create_model(rest, pretrained=False, num_classes=0, **arguments)
        except Exception as error:  # any model's own constructor
            raise SurefootError(f"timm builds no {rest} with {dict(arguments)}: {error}.") from error
        return ImageTower(built)
    place, _, function = rest.partition(":")
    try:
        found = getattr(import_module(place), function)()
        if not isinstance(found, torch.nn.Module):
            raise TypeError(f"it is a {type(found).__name__}, not a torch module")
        return ImageTower(found.float())
    except Exception as error:  # the user's own code
        why = f"{type(error).__name__}: {error}"
        raise SurefootError(f"{name} gives no model ({why}). Write torch:MODULE:FUNCTION.") from error
