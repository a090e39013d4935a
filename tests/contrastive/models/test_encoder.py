"""An image encoder of timm or torch: its pictures are timm's own, and its checkpoint is all there."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from safetensors.torch import save_file

from surefoot.contrastive import load_encoder, normalized, resized
from surefoot.contrastive._models._pixels import preparer_of
from surefoot.contrastive._models._preparation import PixelOptions
from surefoot.core import SurefootError

PICTURES = np.random.default_rng(0).integers(0, 256, (2, 190, 310, 3), np.uint8)
NAME = "test_resnet"


def saved(path: Path, **changes: torch.Tensor | None) -> Path:
    """Weights of the small ResNet with its classifier, and with tensors added, or taken out (None)."""
    torch.manual_seed(0)
    state: dict[str, Any] = timm.create_model(NAME, pretrained=False).state_dict() | changes
    save_file({name: one.contiguous() for name, one in state.items() if one is not None}, path)
    return path


@pytest.mark.parametrize("mode", ["center", "squash", "border"])
@pytest.mark.parametrize(("crop", "shape"), [(0.875, (160, 160)), (0.95, (160, 160)), (1.0, (96, 128))])
def test_pictures_are_prepared_by_timms_own_transform(
    mode: str, crop: float, shape: tuple[int, int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = timm.create_model(NAME, pretrained=False, num_classes=0)
    network.pretrained_cfg |= {"crop_mode": mode, "crop_pct": crop, "input_size": (3, *shape)}
    monkeypatch.setattr(torch, "own_network", lambda: network, raising=False)
    pixels = load_encoder("torch:torch:own_network", None).pixels
    transform: Any = timm.data.create_transform(**timm.data.resolve_model_data_config(network), is_training=False)
    theirs = torch.stack([transform(Image.fromarray(one)) for one in PICTURES])
    prepared = [torch.from_numpy(preparer_of(pixels)(Image.fromarray(one)).copy()) for one in PICTURES]
    assert torch.allclose(normalized(torch.stack(prepared).permute(0, 3, 1, 2), pixels), theirs, atol=1e-6)
    assert torch.allclose(normalized(resized(PICTURES, pixels), pixels), theirs, atol=1e-6)


def test_what_is_used_is_said_and_options_come_first(tmp_path: Path) -> None:
    weights = saved(tmp_path / "w.safetensors")
    loaded = load_encoder(f"timm:{NAME}", weights, options=PixelOptions(interpolation="bicubic"))
    assert loaded.pixels.said.startswith("160 x 160 pixels, shortest (crop 0.95), bicubic, mean 0.5")
    assert loaded.description.source == (
        "interpolation as given, else timm's configuration. Left out of the checkpoint: fc.bias, fc.weight"
    )
    with pytest.raises(SurefootError, match="timm:test_resnet has its own size: leave --size out"):
        load_encoder(f"timm:{NAME}", weights, size=96)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"layer4.7.conv1.weight": torch.zeros(2)}, "the model has no visual.layer4.7.conv1.weight"),
        ({"extra.weight": torch.zeros(2)}, "the model has no visual.extra.weight"),
        ({"fc2.weight": torch.zeros(2)}, "the model has no visual.fc2.weight"),
        ({"conv1.0.weight": None}, "it lacks visual.conv1.0.weight"),
        ({"bn1.running_mean": None}, "it lacks visual.bn1.running_mean"),
    ],
)
def test_a_checkpoint_with_more_or_fewer_tensors_than_the_encoder_and_its_classifier_is_refused(
    changes: dict[str, Any], said: str, tmp_path: Path
) -> None:
    with pytest.raises(SurefootError, match=said):
        load_encoder(f"timm:{NAME}", saved(tmp_path / "w.safetensors", **changes))


def test_of_a_function_of_the_user_only_parts_of_which_it_has_nothing_are_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make = lambda: torch.nn.Sequential(torch.nn.Conv2d(3, 4, 8), torch.nn.Flatten())  # noqa: E731
    monkeypatch.setattr(torch, "own_network", make, raising=False)
    state = make().state_dict() | {"head.weight": torch.zeros(2, 4)}
    save_file(state, tmp_path / "w.safetensors")
    loaded = load_encoder("torch:torch:own_network", tmp_path / "w.safetensors", size=8)
    assert loaded.pixels.shape == (8, 8)
    assert loaded.description.source.endswith("Left out of the checkpoint: head.weight")
    save_file(state | {"0.extra": torch.zeros(2)}, tmp_path / "w.safetensors")
    with pytest.raises(SurefootError, match=r"the model has no visual\.0\.extra"):
        load_encoder("torch:torch:own_network", tmp_path / "w.safetensors", size=8)
