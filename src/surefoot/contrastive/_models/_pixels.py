"""From uint8 pictures to the tensors that an image tower takes."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from surefoot.contrastive._pictures._photos import RefusedPictureError
from surefoot.core import SurefootError

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray
    from PIL import Image

MAX_ASPECT = 200
CROP_MODES = {"shortest": "center", "longest": "border", "squash": "squash"}
"""What timm calls the ways to scale."""


@dataclass(frozen=True, kw_only=True)
class Pixels:
    """How pictures become tensors: OpenCLIP's preprocessing, by the same names and with the same meaning.

    `size` is a side in pixels, or height and width. `mean` and `std` are of pixels in 0 to 1, one a channel.
    `resize_mode`: 'shortest' scales the shorter side and cuts the centre, 'squash' scales both sides, 'longest' scales
    the longer side and fills the rest with `fill_color`. `interpolation`: 'bilinear' or 'bicubic', antialiased.
    With a `crop` it is timm's preprocessing: pictures are scaled to 1 / `crop` of the size and their centre is kept;
    'longest' fills with the mean.
    """

    size: int | tuple[int, int]
    mean: tuple[float, float, float] = (0.5, 0.5, 0.5)
    std: tuple[float, float, float] = (0.5, 0.5, 0.5)
    interpolation: str = "bicubic"
    resize_mode: str = "shortest"
    fill_color: int | tuple[int, ...] = 0
    crop: float | None = None

    def __post_init__(self) -> None:
        if not (all(0 <= one <= 1 for one in self.mean) and all(0 < one <= 1 for one in self.std)):
            raise SurefootError(
                f"Pictures cannot be prepared: {self.said}. A mean is from 0 to 1, a deviation above 0 to 1: divide "
                "what is meant for channels to 255 by 255."
            )

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width."""
        return (self.size, self.size) if isinstance(self.size, int) else self.size

    @property
    def said(self) -> str:
        """All of it in a line."""
        mean, std = (" ".join(f"{value:.4g}" for value in values) for values in (self.mean, self.std))
        height, width = self.shape
        crop = f" (crop {self.crop:.4g})" if self.crop else ""
        return f"{height} x {width} pixels, {self.resize_mode}{crop}, {self.interpolation}, mean {mean}, std {std}"


def resized(images: "NDArray[np.uint8]", pixels: Pixels) -> "torch.Tensor":
    """Pictures (n, height, width, 3) uint8 as a uint8 tensor (n, 3, size, size), in channels-last order in memory.

    Where they have this size already and can be written to, the tensor shares their memory: an array that is mapped
    copy-on-write is then read from the disk as its pictures are used.
    """
    import torch
    import torch.nn.functional as F

    size = pixels.shape[0]
    singly = pixels.crop or pixels.resize_mode == "longest" or len(set(pixels.shape)) > 1
    if images.shape[1:3] != pixels.shape and singly:
        from PIL import Image

        prepare = preparer_of(pixels)
        images = np.stack([prepare(Image.fromarray(np.asarray(image))) for image in images])
    batch = torch.from_numpy(images if images.flags.writeable else np.array(images)).permute(0, 3, 1, 2)
    height, width = batch.shape[-2:]
    if (height, width) != pixels.shape:
        scale = size / min(height, width)
        target = (size, size)
        if pixels.resize_mode == "shortest":
            target = (max(size, int(height * scale)), max(size, int(width * scale)))
        batch = F.interpolate(batch, size=target, mode=pixels.interpolation, antialias=True, align_corners=False)
        top, left = round((target[0] - size) / 2), round((target[1] - size) / 2)
        batch = batch[..., top : top + size, left : left + size]
    return batch.contiguous(memory_format=torch.channels_last)


def normalized(batch: "torch.Tensor", pixels: Pixels) -> "torch.Tensor":
    """A uint8 or 0-to-1 float tensor (n, 3, size, size) as the float32 input of an image tower."""
    import torch

    values = batch.float().div_(255) if batch.dtype == torch.uint8 else batch
    mean, std = (torch.tensor(each, device=batch.device).view(1, 3, 1, 1) for each in (pixels.mean, pixels.std))
    return (values - mean) / std


def preparer_of(pixels: Pixels) -> "Callable[[Image.Image], NDArray[np.uint8]]":
    """OpenCLIP's or timm's own transform of an RGB picture, to pixels (height, width, 3) uint8, for `normalized`."""
    told: dict[str, Any] = {name: value for name, value in vars(pixels).items() if name != "crop"}
    if pixels.crop:
        from timm.data.transforms_factory import transforms_imagenet_eval

        same = {name: told[name] for name in ("interpolation", "mean", "std")}
        mode = CROP_MODES[pixels.resize_mode]
        whole: Any = transforms_imagenet_eval(pixels.shape, crop_pct=pixels.crop, crop_mode=mode, **same)
    else:
        from open_clip.transform import PreprocessCfg, image_transform_v2

        whole = image_transform_v2(PreprocessCfg(**told), is_train=False)
    steps = whole.transforms[:-2]

    def prepare(picture: "Image.Image") -> "NDArray[np.uint8]":
        short, long = sorted(picture.size)
        size = f"{picture.width} x {picture.height} pixels"
        if short * MAX_ASPECT < long:
            raise RefusedPictureError(f"it is {size}, too narrow to be scaled")
        try:
            for step in steps:
                picture = step(picture)
        except ValueError as error:  # 'longest' leaves no pixel of its shorter side
            raise RefusedPictureError(f"it is {size}, too narrow to be scaled ({error})") from error
        return np.asarray(picture)

    return prepare
