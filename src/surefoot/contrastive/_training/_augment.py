"""Light augmentation of whole batches of pictures."""

from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import torch

Augmentation = Literal["none", "shift"]
SHIFT = 0.1
SCALE = 0.2


def augmented(images: "torch.Tensor", kind: Augmentation, generator: "torch.Generator") -> "torch.Tensor":
    """Pictures (n, 3, height, width) uint8 as float32 in 0 to 1, changed at random.

    "shift" moves each by up to a tenth of its side and scales it by 0.8 to 1.2; its edges go on outwards. Pictures are
    not mirrored: arrows, letters and flags would become others.
    """
    import torch
    import torch.nn.functional as F

    values, count = images.float().div_(255), len(images)
    if kind == "none":
        return values
    affine = torch.zeros(count, 2, 3)
    scale = 1 + SCALE * _symmetric(count, generator=generator)
    affine[:, 0, 0] = affine[:, 1, 1] = scale
    affine[:, :, 2] = 2 * SHIFT * _symmetric(count, 2, generator=generator)  # the picture's side is 2 in these units
    grid = F.affine_grid(affine, list(values.shape), align_corners=False)
    return F.grid_sample(values, grid, padding_mode="border", align_corners=False)


def _symmetric(*shape: int, generator: "torch.Generator") -> "torch.Tensor":
    import torch

    return torch.rand(shape, generator=generator).mul_(2).sub_(1)
