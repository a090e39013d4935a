"""Arrays of pictures are prepared as OpenCLIP's own transform prepares single pictures."""

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from open_clip.transform import PreprocessCfg, image_transform_v2
from PIL import Image

from surefoot.contrastive import Pixels, normalized, resized
from surefoot.contrastive._models._pixels import preparer_of
from surefoot.contrastive._pictures._photos import RefusedPictureError

PICTURES = np.random.default_rng(0).integers(0, 256, size=(3, 30, 45, 3), dtype=np.uint8)


def transform(pixels: Pixels) -> Any:
    return image_transform_v2(
        PreprocessCfg(**{name: value for name, value in asdict(pixels).items() if name != "crop"}), is_train=False
    )


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
@pytest.mark.parametrize("resize_mode", ["shortest", "squash", "longest"])
@pytest.mark.parametrize("size", [16, 30, 40])
def test_resizing_an_array_agrees_with_openclips_transform(interpolation: str, resize_mode: str, size: int) -> None:
    pixels = Pixels(size=size, mean=(0.4, 0.5, 0.6), interpolation=interpolation, resize_mode=resize_mode)
    ours = normalized(resized(PICTURES, pixels), pixels)
    theirs = torch.stack([transform(pixels)(Image.fromarray(picture)) for picture in PICTURES])
    one_level = 1 / 255 / 0.5
    assert ours.shape == theirs.shape == (3, 3, size, size)
    assert (ours - theirs).abs().max() <= 2 * one_level
    assert (ours - theirs).abs().mean() <= 0.3 * one_level


def test_pictures_of_the_right_size_keep_their_values() -> None:
    square = PICTURES[:, :, :30]
    assert np.array_equal(resized(square, Pixels(size=30)).permute(0, 2, 3, 1).numpy(), square)


def test_pictures_of_the_right_size_stay_where_they_are(tmp_path: Path) -> None:
    """So that an array that is mapped copy-on-write is read as its pictures are used, however many there are."""
    kept = np.random.default_rng(0).integers(0, 256, (5, 32, 32, 3), dtype=np.uint8)
    np.save(tmp_path / "images.npy", kept)
    mapped = np.load(tmp_path / "images.npy", mmap_mode="c")
    batch = resized(mapped, Pixels(size=32))
    assert batch.data_ptr() == mapped.ctypes.data
    assert np.array_equal(batch.permute(0, 2, 3, 1).numpy(), kept)
    batch[0] = 0
    assert np.array_equal(np.load(tmp_path / "images.npy"), kept)


def test_sides_may_differ_and_a_picture_too_narrow_to_be_scaled_is_refused() -> None:
    pixels = Pixels(size=(20, 30), interpolation="bicubic")
    theirs = torch.stack([transform(pixels)(Image.fromarray(picture)) for picture in PICTURES])
    assert torch.equal(normalized(resized(PICTURES, pixels), pixels), theirs)
    with pytest.raises(RefusedPictureError, match="it is 1 x 500 pixels, too narrow"):
        preparer_of(pixels)(Image.new("RGB", (1, 500)))
    with pytest.raises(RefusedPictureError, match="it is 150 x 1 pixels, too narrow"):
        preparer_of(replace(pixels, resize_mode="longest"))(Image.new("RGB", (150, 1)))
