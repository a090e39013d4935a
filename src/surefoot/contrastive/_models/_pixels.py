"""From uint8 pictures to the tensors that an image tower takes."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray


@dataclass(frozen=True, kw_only=True)
class Pixels:
    """How pictures become tensors: OpenCLIP's preprocessing, by the same names and with the same meaning.

    `mean` and `std` are of pixels in 0 to 1, one a channel. `resize_mode`: 'shortest' scales the shorter side and cuts
    the centre square, 'squash' scales both sides. `interpolation`: 'bilinear' or 'bicubic', antialiased.
    """

    size: int
    mean: tuple[float, float, float] = (0.5, 0.5, 0.5)
    std: tuple[float, float, float] = (0.5, 0.5, 0.5)
    interpolation: str = "bicubic"
    resize_mode: str = "shortest"


def resized(images: "NDArray[np.uint8]", pixels: Pixels) -> "torch.Tensor":
    """Pictures (n, height, width, 3) uint8 as a uint8 tensor (n, 3, size, size), in channels-last order in memory.

    Where they have this size already and can be written to, the tensor shares their memory: an array that is mapped
    copy-on-write is then read from the disk as its pictures are used.
    """
    import torch
    import torch.nn.functional as F

    batch = torch.from_numpy(images if images.flags.writeable else np.array(images)).permute(0, 3, 1, 2)
    height, width = batch.shape[-2:]
    if (height, width) != (pixels.size, pixels.size):
        scale = pixels.size / min(height, width)
        target = (pixels.size, pixels.size)
        if pixels.resize_mode == "shortest":
            target = (max(pixels.size, int(height * scale)), max(pixels.size, int(width * scale)))
        batch = F.interpolate(batch, size=target, mode=pixels.interpolation, antialias=True, align_corners=False)
        top, left = round((target[0] - pixels.size) / 2), round((target[1] - pixels.size) / 2)
        batch = batch[..., top : top + pixels.size, left : left + pixels.size]
    return batch.contiguous(memory_format=torch.channels_last)


def normalized(batch: "torch.Tensor", pixels: Pixels) -> "torch.Tensor":
    """A uint8 or 0-to-1 float tensor (n, 3, size, size) as the float32 input of an image tower."""
    import torch

    values = batch.float().div_(255) if batch.dtype == torch.uint8 else batch
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (pixels.mean, pixels.std))
    return (values - mean) / std


def transform_of(pixels: Pixels) -> Any:
    """OpenCLIP's own transform of one PIL picture into a float32 tensor (3, size, size)."""
    from open_clip.transform import PreprocessCfg, image_transform_v2

    names: dict[str, Any] = {"interpolation": pixels.interpolation, "resize_mode": pixels.resize_mode}
    config = PreprocessCfg(size=pixels.size, mean=pixels.mean, std=pixels.std, **names)
    return image_transform_v2(config, is_train=False)
