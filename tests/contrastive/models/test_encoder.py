"""An image encoder of timm or torch: its pictures are timm's own, and its checkpoint is all there."""

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from safetensors.torch import save_file

from surefoot.contrastive import ImageEncoder, LoadedModel, load_encoder, load_model, normalized, resized
from surefoot.contrastive._models._embed import embed_files
from surefoot.contrastive._models._pixels import preparer_of
from surefoot.contrastive._models._preparation import PixelOptions
from surefoot.contrastive._pictures._photos import whole_file
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


def features(loaded: LoadedModel, folder: Path) -> torch.Tensor:
    """Unit features of the two pictures, from files."""
    files = [folder / f"{row}.png" for row in range(len(PICTURES))]
    for file, picture in zip(files, PICTURES, strict=True):
        Image.fromarray(picture).save(file)
    return embed_files([loaded], map(whole_file, files)).embeddings[0]


@pytest.mark.parametrize("name", ["test_vit", "test_vit.r160_in1k"])
def test_a_folder_of_timm_says_how_its_model_is_built_and_its_pictures_are_prepared(name: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    network: Any = timm.create_model("test_vit", pretrained=False, num_classes=3, global_pool="avg")
    told = {"mean": (0.485, 0.456, 0.406), "std": (0.2, 0.3, 0.4), "crop_pct": 0.8, "interpolation": "bilinear"}
    network.pretrained_cfg.update(told)
    timm.models.save_for_hf(network, str(tmp_path / "hub"))
    network.reset_classifier(0)
    transform: Any = timm.data.create_transform(**timm.data.resolve_model_data_config(network), is_training=False)
    with torch.inference_mode():
        pictures = torch.stack([transform(Image.fromarray(one)) for one in PICTURES])
        theirs = torch.nn.functional.normalize(network.eval()(pictures), dim=-1)
    for weights in (tmp_path / "hub", tmp_path / "hub" / "pytorch_model.bin"):
        step = ImageEncoder(model=f"timm:{name}", checkpoint=str(weights)).pinned()
        made = tmp_path / f"made from {weights.name}"
        made.mkdir()
        step.make(made, {})  # pyright: ignore[reportArgumentType]
        for loaded in (load_encoder(f"timm:{name}", weights), load_model(made)):
            assert torch.allclose(features(loaded, tmp_path), theirs, atol=1e-6)
    beside = tmp_path / "hub" / "config.json"
    beside.write_text(beside.read_text().replace("0.485", "0.25"))
    assert load_encoder("timm:test_vit", tmp_path / "hub").pixels.mean[0] == 0.25
    assert ImageEncoder(model="timm:test_vit", checkpoint=str(weights)).pinned().digest != step.digest
    with pytest.raises(SurefootError, match=r"is of timm:test_vit\.r160_in1k, not test_vit2: write timm:test_vit"):
        load_encoder("timm:test_vit2", tmp_path / "hub")


def test_where_published_tags_differ_a_checkpoint_says_which_it_is(tmp_path: Path) -> None:
    state = timm.create_model("resnet34", pretrained=False).state_dict()
    save_file(state, tmp_path / "mine.safetensors")
    with pytest.raises(SurefootError, match=r"timm has no resnet34\.mine: "):
        load_encoder("timm:resnet34.mine", tmp_path / "mine.safetensors")
    with pytest.raises(SurefootError, match=r"published resnet34 differ in mean, std.*timm:resnet34\.bt_in1k"):
        load_encoder("timm:resnet34", tmp_path / "mine.safetensors")
    found = load_encoder("timm:resnet34.ra4_e3600_r224_in1k", tmp_path / "mine.safetensors").pixels
    assert (found.mean, found.crop, found.interpolation) == ((0.5, 0.5, 0.5), 0.9, "bicubic")
    (tmp_path / "mine.safetensors").rename(tmp_path / "resnet34.tv_in1k.safetensors")
    named = load_encoder("timm:resnet34", tmp_path / "resnet34.tv_in1k.safetensors")
    assert (named.pixels.crop, named.pixels.interpolation) == (0.875, "bilinear")
    assert named.description.source.startswith("timm's configuration of resnet34.tv_in1k.")


@pytest.mark.parametrize("kind", [torch.float16, torch.float64])
def test_a_module_of_other_precision_is_used_in_32_bits(
    kind: torch.dtype, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 8), torch.nn.Flatten())
    monkeypatch.setattr(torch, "own_network", lambda: made.to(kind), raising=False)
    assert features(load_encoder("torch:torch:own_network", None, size=8), tmp_path).dtype == torch.float32


class Whole(torch.nn.Module):
    """Whole numbers."""

    def forward(self, given: torch.Tensor) -> torch.Tensor:
        return given.long()


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: torch.nn.Conv2d(1, 4, 8), r"The encoder fails on pictures of the shape \(2, 3, 8, 8\): RuntimeError"),
        (lambda: torch.nn.Linear(8, 4), r"gives \(2, 3, 8, 4\) for 2 pictures"),
        (lambda: torch.nn.Sequential(torch.nn.Flatten(), Whole()), r"gives \(2, 192\) of torch.int64 for 2 pictures"),
        (lambda: (_ for _ in ()).throw(RuntimeError("no file")), r"gives no model \(RuntimeError: no file\)"),
    ],
)
def test_what_goes_wrong_in_code_of_the_user_is_told(
    make: Any, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch, "own_network", make, raising=False)
    with pytest.raises(SurefootError, match=said):
        features(load_encoder("torch:torch:own_network", None, size=8), tmp_path)


def test_of_a_wrapped_module_the_checkpoint_is_read_wrapped_or_not_and_one_in_whole_numbers_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bare: Any = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 8), torch.nn.Flatten())
    monkeypatch.setattr(torch, "own_network", lambda: torch.nn.DataParallel(copy.deepcopy(bare)), raising=False)
    file = tmp_path / "w.safetensors"
    for prefix in ("", "module."):
        save_file({f"{prefix}{name}": one + 1 for name, one in bare.state_dict().items()}, file)
        loaded = load_encoder("torch:torch:own_network", file, size=8)
        assert torch.equal(loaded.model.visual.module[0].weight, bare[0].weight + 1)
    save_file({name: (one * 99).to(torch.int8) for name, one in bare.state_dict().items()}, file)
    with pytest.raises(SurefootError, match=r"visual\.module\.0\.weight is torch.int8, the model's is torch.float32"):
        load_encoder("torch:torch:own_network", file, size=8)


def test_a_classifier_of_several_parts_is_left_out_whole(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network: Any = timm.create_model("efficientvit_m0", pretrained=False)
    save_file(network.state_dict(), tmp_path / "w.safetensors")
    loaded = load_encoder("timm:efficientvit_m0", tmp_path / "w.safetensors")
    assert "head.bn.bias, head.bn.num_batches_tracked" in loaded.description.source
    network.reset_classifier(0)
    given = torch.rand(2, 3, 224, 224)
    with torch.inference_mode():
        assert torch.equal(loaded.model.encode_image(given), network.eval()(given))
