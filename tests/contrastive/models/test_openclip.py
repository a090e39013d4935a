"""Models and preparations are those of OpenCLIP itself: for every published pair, every kind of tower, every file."""

import json
from copy import deepcopy
from dataclasses import asdict
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import pytest
import torch
from open_clip.transform import PreprocessCfg, image_transform_v2, merge_preprocess_dict
from PIL import Image
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, models, pre_tokenizers

from surefoot.contrastive import (
    Finetune,
    ImageFolder,
    OpenClipModel,
    PixelOptions,
    Pixels,
    PromptedModel,
    WeightEdit,
    ZeroShot,
    embed_texts,
    load_model,
    load_openclip,
    name_pictures,
    normalized,
    openclip_config,
)
from surefoot.contrastive._models._pixels import preparer_of
from surefoot.contrastive._models._preparation import _hash_in, prepare
from surefoot.core import Store, SurefootError, open_pool, run
from surefoot.training import Average

PAIRS = open_clip.list_pretrained()
PICTURES = [
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8))
    for seed, (height, width) in enumerate([(33, 47), (91, 30), (400, 620)])
]


def published(name: str, tag: str) -> PreprocessCfg:
    """What OpenCLIP itself sets for the tag, as `create_model` merges it."""
    merged = merge_preprocess_dict(PreprocessCfg(), open_clip.get_pretrained_cfg(name, tag))
    merged["size"] = openclip_config(name)["vision_cfg"].get("image_size", 224)
    return PreprocessCfg(**merged)


@pytest.mark.parametrize("mode", ["shortest", "squash", "longest"])
def test_every_published_pair_is_prepared_as_by_openclip(mode: str, tmp_path: Path) -> None:
    ways: dict[Pixels, Any] = {}
    for name, tag in PAIRS:
        found = prepare(name, openclip_config(name), tmp_path / "x.pt", tag=tag)
        theirs = published(name, tag)
        assert found.config.get("quick_gelu", False) == (
            open_clip.get_pretrained_cfg(name, tag).get("quick_gelu", False)
            or openclip_config(name).get("quick_gelu", False)
        )
        if mode == theirs.resize_mode or (mode == "longest" and theirs.size == 224):
            theirs.resize_mode = mode
            options = PixelOptions(resize_mode=mode)  # pyright: ignore[reportArgumentType]
            ways[prepare(name, found.config, tmp_path / "x.pt", tag=tag, options=options).pixels] = theirs
    for pixels, theirs in ways.items():
        prepared = preparer_of(pixels)
        transform: Any = image_transform_v2(theirs, is_train=False)
        for picture in PICTURES:
            ours = normalized(torch.from_numpy(np.array(prepared(picture))[None]).permute(0, 3, 1, 2), pixels)
            assert torch.equal(ours[0], transform(picture))
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
    for file in tmp_path.rglob("*.safetensors"):  # open_clip leaves a part of CoCa as it lies in memory
        state = {name: torch.nan_to_num(value, 0.0, 0.0, 0.0).clamp(-10, 10) for name, value in load_file(file).items()}
        save_file(state, file, metadata={"format": "pt"})
    loaded = load_openclip("", folder)
    found = name_pictures([PromptedModel(loaded=loaded, templates=("a photo of {}", "{}"))], shown, batch=4)

    made: Any = open_clip.create_model_and_transforms(f"local-dir:{folder / 'own'}", pretrained_text=False)
    model, transform = made[0].eval(), made[2]
    tokens = open_clip.get_tokenizer(f"local-dir:{folder}")
    names = ["blue sea", "green", "red"]
    head = open_clip.build_zero_shot_classifier(model, tokens, names, ["a photo of {}", "{}"])
    files = sorted(shown.rglob("*.png"))
    with torch.no_grad():
        batch = torch.stack([transform(Image.open(file)) for file in files])
        logits = model.logit_scale.exp() * model.encode_image(batch, normalize=True) @ head
    expected = [names[guess].replace(" ", "_") for guess in logits.argmax(dim=1).tolist()]
    assert found.columns[0]["prediction"] == expected
    assert found.columns[0]["probability"] == pytest.approx(logits.softmax(dim=1).max(dim=1).values.numpy(), abs=2e-6)


@pytest.mark.parametrize("kind", ["siglip", "bert"])
def test_a_model_of_another_tokenizer_can_be_tuned_edited_and_measured(kind: str, tmp_path: Path) -> None:
    """What training and editing write holds the tokenizer too: without, hours of training could not be measured."""
    hub, shown = hub_folder(tmp_path / "hub", kind), pictures(tmp_path / "pictures")
    base = OpenClipModel(checkpoint=str(hub)).pinned()
    data = ImageFolder(path=str(shown), size=32).pinned()
    tuned = Finetune(model=base, data=(data,), samples=8, batch=4)
    edit = WeightEdit(base=base, plus=(tuned,), objective="transfer", target=(data,), grid=(0.5,))
    mean = Average(models=(tuned, edit))
    store = Store(tmp_path / "store")
    with open_pool("here") as pool:
        events = [*run([ZeroShot(model=one, data=data) for one in (edit, mean)], store, pool)]
    assert [event.error for event in events if event.kind == "failed"] == []
    words = [load_model(store.path(one)).tokenizer(["a red sea"]).tolist() for one in (base, tuned, edit, mean)]
    assert words == 4 * [load_openclip("", hub).tokenizer(["a red sea"]).tolist()]


def test_a_checkpoint_is_read_as_trainers_save_it(tmp_path: Path) -> None:
    folder = hub_folder(tmp_path / "hub", "siglip")
    state = load_file(folder / "open_clip_model.safetensors")
    (folder / "open_clip_model.safetensors").unlink()
    expected = load_openclip("", folder / "own", tokenizer=folder).model.state_dict()
    wrapped = {f"module._orig_mod.{name}": one for name, one in state.items()}
    wrapped["module._orig_mod.text.transformer.embeddings.position_ids"] = torch.arange(12)
    wrapped["module._orig_mod.logit_scale"] = state["logit_scale"].reshape(1)
    del wrapped["module._orig_mod.logit_bias"]
    torch.save({"epoch": 3, "model": wrapped, "ema": {"x": torch.zeros(1)}}, folder / "epoch_3.pt")
    found = load_openclip("", folder, key="model").model.state_dict()
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], expected[name]) for name in found if name != "logit_bias")
    state["visual.proj"][0, 0] = torch.nan
    save_file(state, folder / "open_clip_model.safetensors")
    with pytest.raises(SurefootError, match=r"1 weights in 1 tensors are NaN or infinite, first 1 of 'visual\.proj'"):
        load_openclip("", folder)


def vit(name: str, place: Path, **options: Any) -> Pixels:
    return prepare(name, openclip_config(name), place, **options).pixels


def test_the_preparation_is_found_beside_the_weights_by_their_name_or_in_what_all_share(tmp_path: Path) -> None:
    inception = (0.5, 0.5, 0.5)
    for name in (
        "laion2b_s32b_b82k.safetensors",
        "ViT-L-14-laion2b_s32b_b82k.pt",
        "CLIP-ViT-L-14-laion2B-s32B-b82K.bin",
    ):
        (tmp_path / name).touch()
        assert vit("ViT-L-14", tmp_path / name).mean == inception
    cached = (
        tmp_path / "models--laion--CLIP-ViT-L-14-laion2B-s32B-b82K" / "snapshots" / "0f" / "open_clip_model.safetensors"
    )
    cached.parent.mkdir(parents=True)
    cached.touch()
    assert vit("ViT-L-14", cached).mean == inception
    (tmp_path / "my.pt").touch()
    with pytest.raises(
        SurefootError, match=r"published ViT-L-14 differ in mean, std .*--pretrained-tag.*, or give --mean"
    ):
        vit("ViT-L-14", tmp_path / "my.pt")
    options = PixelOptions(mean=(0.1, 0.2, 0.3), std=(1, 1, 1))
    assert vit("ViT-L-14", tmp_path / "my.pt", options=options).mean == (0.1, 0.2, 0.3)
    assert vit("ViT-L-14", tmp_path / "my.pt", tag="openai").mean == open_clip.OPENAI_DATASET_MEAN
    assert vit("ViT-B-16-SigLIP", tmp_path / "my.pt").resize_mode == "squash"  # all of that name
    with pytest.raises(SurefootError, match=r"has published no ViT-L-14 as 'laion9b'. Its tags: openai"):
        vit("ViT-L-14", tmp_path / "my.pt", tag="laion9b")
    with pytest.raises(SurefootError, match=r"--pretrained-tag openai is for OpenCLIP's models by name, and .* folder"):
        prepare("", openclip_config("ViT-B-32"), tmp_path, tag="openai")
    unsure = prepare("ViT-B-32", openclip_config("ViT-B-32"), tmp_path / "my.pt")
    assert "openai, laion400m_e31" in unsure.notes[0]
    assert not unsure.config.get("quick_gelu")


@pytest.mark.parametrize("form", ["https://openaipublic.example/{whole}/ViT-L-14.pt", "https://a.example/b-{short}.pt"])
def test_weights_of_any_name_are_known_by_the_hash_in_their_published_address(
    form: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, told = tmp_path / "renamed.pt", open_clip.get_pretrained_cfg
    file.write_bytes(b"the published weights")
    digest = sha256(file.read_bytes()).hexdigest()
    address = form.format(whole=digest, short=digest[:8])

    def get(name: str, tag: str) -> dict[str, Any]:
        return told(name, tag) | ({"url": address} if tag == "laion2b_s32b_b82k" else {})

    monkeypatch.setattr(open_clip, "get_pretrained_cfg", get)
    found = prepare("ViT-L-14", openclip_config("ViT-L-14"), file)
    assert found.source == "OpenCLIP's ViT-L-14 laion2b_s32b_b82k"
    assert found.pixels.mean == (0.5, 0.5, 0.5)
    file.write_bytes(b"the published weights, changed")
    with pytest.raises(SurefootError, match="It is unclear how pictures are prepared"):
        prepare("ViT-L-14", openclip_config("ViT-L-14"), file)


def test_hashes_are_read_from_addresses_as_openclip_reads_them() -> None:
    read = 0
    for name, tag in PAIRS:
        url = str(open_clip.get_pretrained_cfg(name, tag).get("url") or "")
        if "openaipublic" in url or "mlfoundations" in url:  # the two kinds that OpenCLIP compares downloads with
            expected = url.split("/")[-2] if "openaipublic" in url else Path(url).stem.split("-")[-1]
            assert _hash_in(url) == expected
            read += 1
    assert read > 20


def test_a_config_of_another_model_beside_the_weights_stops(tmp_path: Path) -> None:
    config = openclip_config("ViT-B-16")
    (tmp_path / "x.pt").touch()
    (tmp_path / "open_clip_config.json").write_text(json.dumps({"model_cfg": config, "preprocess_cfg": PREPROCESSING}))
    assert vit("ViT-B-16", tmp_path / "x.pt").mean == (0.4, 0.5, 0.6)
    assert vit("ViT-B-16", tmp_path / "x.pt", tag="openai").mean == open_clip.OPENAI_DATASET_MEAN
    with pytest.raises(SurefootError, match=r"describes another model: patch_size is 16, not 32"):
        vit("ViT-B-32", tmp_path / "x.pt")
    quick = json.dumps({"model_cfg": config | {"quick_gelu": True}, "preprocess_cfg": {}})
    (tmp_path / "open_clip_config.json").write_text(quick)
    assert prepare("ViT-B-16", config, tmp_path / "x.pt").config["quick_gelu"]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("interpolation", "lanczos"),
        ("resize_mode", "crop"),
        ("mean", [0.5, 0.5]),
        ("mean", ["a", "b", "c"]),
        ("std", 127),
        ("mean", [0.5, 0.5, float("nan")]),
        ("mean", True),
        ("std", [True, 0.5, 0.5]),
        ("interpolation", ["bicubic"]),
        ("interpolation", ""),
        ("mode", "L"),
        ("fill_color", [10, 200]),
        ("fill_color", 256),
        ("fill_color", "red"),
        ("fill_color", [0.1, 0.2, 0.3]),
    ],
)
def test_what_a_config_says_of_pictures_is_checked(tmp_path: Path, field: str, value: object) -> None:
    (tmp_path / "x.pt").touch()
    told = {"model_cfg": openclip_config("ViT-B-16"), "preprocess_cfg": PREPROCESSING | {field: value}}
    (tmp_path / "open_clip_config.json").write_text(json.dumps(told))
    with pytest.raises(SurefootError, match=rf"open_clip_config\.json: {field} is "):
        vit("ViT-B-16", tmp_path / "x.pt")


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        (("preprocess_cfg",), ["mean"], "preprocess_cfg must be objects"),
        (("model_cfg", "vision_cfg"), [], "vision_cfg, text_cfg and preprocess_cfg must be objects"),
        (("model_cfg", "quick_gelu"), "false", "quick_gelu is 'false', not true or false"),
        (("model_cfg", "vision_cfg", "image_size"), -16, "image_size is -16: it must be a number of pixels"),
        (("model_cfg", "vision_cfg", "image_size"), [16, 16, 3], "or height and width"),
        (("model_cfg", "vision_cfg", "image_size"), 16.0, "image_size is 16.0"),
        (("model_cfg", "vision_cfg", "layers"), "x", "is of none that OpenCLIP can build: 'str' object"),
        (("model_cfg", "heads_of_text"), 3, "unexpected keyword argument 'heads_of_text'"),
    ],
)
def test_a_folder_whose_config_makes_no_sense_is_refused(
    tmp_path: Path, place: tuple[str, ...], value: object, message: str
) -> None:
    told: dict[str, Any] = {"model_cfg": {"embed_dim": 8, **deepcopy(CONFIGS["vit"])}, "preprocess_cfg": {}}
    inner = told
    for name in place[:-1]:
        inner = inner[name]
    inner[place[-1]] = value
    (tmp_path / "open_clip_config.json").write_text(json.dumps(told))
    with pytest.raises(SurefootError, match=message):
        load_openclip("", tmp_path)


def test_what_openclip_does_not_read_of_a_preparation_is_said(tmp_path: Path) -> None:
    (tmp_path / "x.pt").touch()
    told = {"model_cfg": openclip_config("ViT-B-16"), "preprocess_cfg": PREPROCESSING | {"interp": "bilinear"}}
    (tmp_path / "open_clip_config.json").write_text(json.dumps(told))
    found = prepare("ViT-B-16", openclip_config("ViT-B-16"), tmp_path / "x.pt")
    assert found.notes == ("Its preprocess_cfg has interp, which OpenCLIP does not read",)


def test_what_is_filled_has_the_colour_that_the_config_says(tmp_path: Path) -> None:
    (tmp_path / "x.pt").touch()
    for fill, expected in (([10, 200, 30], [10, 200, 30]), (7, [7, 7, 7])):
        told = PREPROCESSING | {"resize_mode": "longest", "fill_color": fill}
        content = {"model_cfg": openclip_config("ViT-B-16"), "preprocess_cfg": told}
        (tmp_path / "open_clip_config.json").write_text(json.dumps(content))
        pixels = vit("ViT-B-16", tmp_path / "x.pt")
        assert hash(pixels)
        prepared = preparer_of(pixels)(Image.new("RGB", (448, 224), "white"))
        assert prepared[0, 0].tolist() == expected
        assert prepared[112, 112].tolist() == [255, 255, 255]


def test_an_artifact_keeps_the_tokenizer_and_the_preparation(tmp_path: Path, made: Any) -> None:
    folder = hub_folder(tmp_path / "hub", "bert")
    kept = made(OpenClipModel(checkpoint=str(folder)).pinned())
    told = json.loads((kept / "model.json").read_text())
    assert told["pixels"] == asdict(load_openclip("", folder).pixels) | {
        "mean": [0.4, 0.5, 0.6],
        "std": [0.2, 0.3, 0.3],
    }
    assert told["source"].endswith("open_clip_config.json")
    again, texts = load_model(kept), ["a photo of red", "blue sea"]
    assert torch.equal(embed_texts(again, texts), embed_texts(load_openclip("", folder), texts))
    moved = OpenClipModel(checkpoint=str(folder)).pinned()
    (folder / "tokenizer_config.json").write_text("{}")
    assert moved.pinned().key != moved.key


def test_a_tokenizer_beside_the_weights_is_part_of_the_identity(tmp_path: Path) -> None:
    (tmp_path / "weights.pt").write_bytes(b"x")
    step = OpenClipModel(model="ViT-B-16-SigLIP", checkpoint=str(tmp_path / "weights.pt"))
    before = step.pinned()
    (tmp_path / "tokenizer.json").write_text("{}")
    assert step.pinned().key != before.key
