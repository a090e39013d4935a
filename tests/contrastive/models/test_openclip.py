"""Models and preparations are those of OpenCLIP itself: for every published pair, every kind of tower, every file."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import pytest
import torch
from open_clip.transform import PreprocessCfg, image_transform_v2, merge_preprocess_dict
from PIL import Image
from safetensors.torch import save_file
from tokenizers import Tokenizer, models, pre_tokenizers

from surefoot.contrastive import PixelOptions, Pixels, PromptedModel, load_openclip, name_pictures
from surefoot.contrastive._models._pixels import normalized, preparer_of
from surefoot.contrastive._models._preparation import prepare

PAIRS = open_clip.list_pretrained()
PICTURES = [
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8))
    for seed, (height, width) in enumerate([(33, 47), (91, 30), (400, 620)])
]


def published(name: str, tag: str) -> PreprocessCfg:
    """What OpenCLIP itself sets for the tag, as `create_model` merges it."""
    merged = merge_preprocess_dict(PreprocessCfg(), open_clip.get_pretrained_cfg(name, tag))
    merged["size"] = open_clip.get_model_config(name)["vision_cfg"].get("image_size", 224)
    return PreprocessCfg(**merged)


@pytest.mark.parametrize("mode", ["shortest", "squash", "longest"])
def test_every_published_pair_is_prepared_as_by_openclip(mode: str, tmp_path: Path) -> None:
    ways: dict[Pixels, Any] = {}
    for name, tag in PAIRS:
        found = prepare(name, open_clip.get_model_config(name), tmp_path / "x.pt", tag=tag)
        theirs = published(name, tag)
        assert found.config.get("quick_gelu", False) == (
            open_clip.get_pretrained_cfg(name, tag).get("quick_gelu", False)
            or open_clip.get_model_config(name).get("quick_gelu", False)
        )
        if mode == theirs.resize_mode or (mode == "longest" and theirs.size == 224):
            theirs.resize_mode = mode
            options = PixelOptions(resize_mode=mode)  # pyright: ignore[reportArgumentType]
            ways[prepare(name, found.config, tmp_path / "x.pt", tag=tag, options=options).pixels] = theirs
    for pixels, theirs in ways.items():
        prepared, transform = preparer_of(pixels), image_transform_v2(theirs, is_train=False)
        for picture in PICTURES:
            ours = normalized(torch.from_numpy(np.array(prepared(picture))[None]).permute(0, 3, 1, 2), pixels)
            assert torch.equal(ours[0], transform(picture))  # pyright: ignore[reportCallIssue]
    assert len(ways) >= 2


TEXT = {"context_length": 12, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1}
VISION = {"image_size": 32, "layers": 1, "width": 32, "patch_size": 16, "head_width": 16}
HOSTED = {"hf_tokenizer_name": "some/tokenizer", "vocab_size": 40, "tokenizer_kwargs": {"clean": "canonicalize"}}
TIMM = {"image_size": 32, "timm_model_name": "resnet10t", "timm_pool": "", "timm_proj": "linear"}
CONFIGS: dict[str, dict[str, Any]] = {
    "vit": {"vision_cfg": VISION, "text_cfg": TEXT},
    "quick": {"vision_cfg": VISION, "text_cfg": TEXT, "quick_gelu": True},
    "resnet": {
        "vision_cfg": {"image_size": 32, "layers": [1, 1, 1, 1], "width": 8, "patch_size": None},
        "text_cfg": TEXT,
    },
    "timm": {"vision_cfg": TIMM, "text_cfg": TEXT, "custom_text": True},
    "siglip": {
        "vision_cfg": VISION,
        "text_cfg": TEXT | HOSTED | {"no_causal_mask": True, "pool_type": "last"},
        "custom_text": True,
        "init_logit_bias": -10,
        "init_logit_scale": 2.3,
    },
    "coca": {
        "vision_cfg": VISION | {"attentional_pool": True, "attn_pooler_heads": 2, "output_tokens": True},
        "text_cfg": TEXT | {"embed_cls": True, "output_tokens": True},
        "multimodal_cfg": {"context_length": 12, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1},
        "custom_text": True,
    },
    "bert": {
        "vision_cfg": VISION,
        "text_cfg": {
            "hf_model_name": "some/bert",
            "hf_tokenizer_name": "some/bert",
            "hf_proj_type": "mlp",
            "hf_pooler_type": "mean_pooler",
            "context_length": 12,
        },
        "custom_text": True,
    },
}
BERT = {
    "model_type": "bert", "vocab_size": 40, "hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2,
    "intermediate_size": 32, "max_position_embeddings": 16, "pad_token_id": 0,
}  # fmt: skip
PREPROCESSING = {"mean": [0.4, 0.5, 0.6], "std": [0.2, 0.3, 0.3], "interpolation": "bilinear", "resize_mode": "squash"}
CLASSES = ("red", "blue sea", "green")


def hub_folder(folder: Path, kind: str) -> Path:
    """A model of OpenCLIP with random weights in a folder, as on a hub."""
    config = {"embed_dim": 16} | json.loads(json.dumps(CONFIGS[kind]))
    folder.mkdir(parents=True)
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": config, "preprocess_cfg": PREPROCESSING}))
    if "hf_tokenizer_name" in config["text_cfg"]:
        words = ["<pad>", "</s>", "<unk>", "a", "of", "photo", "red", "blue", "sea", "green"]
        tokenizer = Tokenizer(models.WordLevel({word: place for place, word in enumerate(words)}, unk_token="<unk>"))
        tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
        tokenizer.save(str(folder / "tokenizer.json"))
        told = {"tokenizer_class": "PreTrainedTokenizerFast", "pad_token": "<pad>", "eos_token": "</s>"}
        (folder / "tokenizer_config.json").write_text(json.dumps(told | {"unk_token": "<unk>"}))
        (folder / "config.json").write_text(json.dumps(BERT))
    if "hf_model_name" in config["text_cfg"]:
        config["text_cfg"] |= {"hf_model_name": str(folder), "hf_model_pretrained": False}
    torch.manual_seed(0)
    (folder / "own").mkdir()
    (folder / "own" / "open_clip_config.json").write_text(
        json.dumps({"model_cfg": config, "preprocess_cfg": PREPROCESSING})
    )
    model = open_clip.create_model(f"local-dir:{folder / 'own'}", pretrained_text=False)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape))
    save_file(
        {name: one.contiguous() for name, one in model.state_dict().items()}, folder / "open_clip_model.safetensors"
    )
    save_file(
        {name: one.contiguous() for name, one in model.state_dict().items()}, folder / "own" / "model.safetensors"
    )
    return folder


def pictures(folder: Path) -> Path:
    for place, picture in enumerate(PICTURES * 2):
        target = folder / CLASSES[place % 3].replace(" ", "_") / f"{place}.png"
        target.parent.mkdir(parents=True, exist_ok=True)
        picture.rotate(place).save(target)
    return folder


@pytest.mark.parametrize("kind", CONFIGS)
def test_every_kind_of_tower_answers_as_in_openclip(kind: str, tmp_path: Path) -> None:
    folder, shown = hub_folder(tmp_path / "hub", kind), pictures(tmp_path / "pictures")
    loaded = load_openclip("", folder)
    found = name_pictures([PromptedModel(loaded=loaded, templates=("a photo of {}", "{}"))], shown, batch=4)

    model, _, transform = open_clip.create_model_and_transforms(f"local-dir:{folder / 'own'}", pretrained_text=False)
    model.eval()
    assert isinstance(transform, object)
    tokens = open_clip.get_tokenizer(f"local-dir:{folder}")
    names = ["blue sea", "green", "red"]
    head = open_clip.build_zero_shot_classifier(model, tokens, names, ["a photo of {}", "{}"])
    files = sorted(shown.rglob("*.png"))
    with torch.no_grad():
        batch = torch.stack([transform(Image.open(file)) for file in files])  # pyright: ignore[reportCallIssue]
        logits = model.logit_scale.exp() * model.encode_image(batch, normalize=True) @ head  # pyright: ignore
    expected = [names[guess].replace(" ", "_") for guess in logits.argmax(dim=1).tolist()]
    assert found.columns[0]["prediction"] == expected
    assert found.columns[0]["probability"] == pytest.approx(logits.softmax(dim=1).max(dim=1).values.numpy(), abs=2e-6)
