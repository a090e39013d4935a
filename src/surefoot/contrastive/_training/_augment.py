"""Light augmentation of whole batches of pictures."""

from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import torch

Augmentation = Literal["none", "shift", "colour"]
SHIFT = 0.1
SCALE = 0.2
JITTER = 0.3
GREY = 0.2


def augmented(images: "torch.Tensor", kind: Augmentation, generator: "torch.Generator") -> "torch.Tensor":
    """Pictures (n, 3, height, width) uint8 as float32 in 0 to 1, changed at random.

    "shift" moves each by up to a tenth of its side and scales it by 0.8 to 1.2; its edges go on outwards. "colour"
    does this too, scales the channels and the brightness by up to 30 percent, and makes a fifth of the pictures grey.
    Pictures are not mirrored: arrows, letters and flags would become others.
    """
    values = images.float().div_(255)
    if kind == "none":
        return values
    values = _moved(values, generator)
    return _recoloured(values, generator) if kind == "colour" else values


def _moved(values: "torch.Tensor", generator: "torch.Generator") -> "torch.Tensor":
    import torch
    import torch.nn.functional as F

    count = len(values)
    affine = torch.zeros(count, 2, 3)
    scale = 1 + SCALE * _symmetric(count, generator=generator)
    affine[:, 0, 0] = affine[:, 1, 1] = scale
    affine[:, :, 2] = 2 * SHIFT * _symmetric(count, 2, generator=generator)  # the picture's side is 2 in these units
    grid = F.affine_grid(affine, list(values.shape), align_corners=False)
    return F.grid_sample(values, grid, padding_mode="border", align_corners=False)


def _recoloured(values: "torch.Tensor", generator: "torch.Generator") -> "torch.Tensor":
    import torch

    count = len(values)
    gains = 1 + JITTER * _symmetric(count, 3, 1, 1, generator=generator)
    lift = JITTER / 2 * _symmetric(count, 1, 1, 1, generator=generator)
    values = values * gains + lift
    grey = torch.rand(count, 1, 1, 1, generator=generator) < GREY
    return torch.where(grey, values.mean(dim=1, keepdim=True), values).clamp_(0, 1)


def _symmetric(*shape: int, generator: "torch.Generator") -> "torch.Tensor":
    import torch

    return torch.rand(shape, generator=generator).mul_(2).sub_(1)
