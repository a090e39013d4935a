"""A small OpenCLIP model whose weights come from numpy, so that a peer of any version can be given the same ones."""

import json
from pathlib import Path

import numpy as np
import open_clip
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

TEXT = {"context_length": 12, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1}
VISION = {"image_size": 32, "layers": 1, "width": 32, "patch_size": 8, "head_width": 16}
CONFIG = {"model_cfg": {"embed_dim": 16, "vision_cfg": VISION, "text_cfg": TEXT}, "preprocess_cfg": {}}
WORDS = [
    "red",
    "green",
    "blue",
    "dark",
    "light",
    "round",
    "square",
    "long",
    "old",
    "new",
    "cat",
    "dog",
    "owl",
    "fox",
    "hen",
]
PICTURES = 60


def picture(row: int) -> Image.Image:
    """Four colours in a 32 x 32 picture: of the size that the model takes, so that nothing is resized."""
    colours = np.random.default_rng(row).integers(0, 256, (2, 2, 3), np.uint8)
    return Image.fromarray(np.repeat(np.repeat(colours, 16, axis=0), 16, axis=1))


def captions_of(row: int) -> list[str]:
    """One to three captions, every one of another picture's."""
    drawn = np.random.default_rng(1000 + row).choice(len(WORDS), (1 + row % 3, 4))
    return [" ".join(WORDS[place] for place in line) + f" {row}" for line in drawn]


def write_numbered_model(folder: Path) -> None:
    """The folder of an OpenCLIP model: config, and weights that are normal numbers of numpy."""
    (folder / "open_clip_config.json").write_text(json.dumps(CONFIG))
    state = open_clip.CLIP(**CONFIG["model_cfg"]).state_dict()
    generator = np.random.default_rng(7)
    for name, tensor in state.items():
        if tensor.ndim:
            scale = 1 / max(tensor.shape[-1], 1) ** 0.5 if tensor.ndim > 1 else 0.1
            drawn = generator.standard_normal(tuple(tensor.shape)) * scale + ("ln_" in name and name.endswith("weight"))
            state[name] = torch.from_numpy(drawn.astype(np.float32))
    save_file({name: tensor.contiguous() for name, tensor in state.items()}, folder / "open_clip_model.safetensors")


@pytest.fixture(scope="module")
def numbered_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("numbered")
    write_numbered_model(folder)
    return folder


@pytest.fixture(scope="module")
def captioned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures in a folder a class, with their captions beside them."""
    folder = tmp_path_factory.mktemp("captioned")
    for row in range(PICTURES):
        place = folder / ("cat", "dog", "owl", "fox", "hen", "bee")[row % 6]
        place.mkdir(exist_ok=True)
        picture(row).save(place / f"{row:03d}.png")
        (place / f"{row:03d}.txt").write_text("\n".join(captions_of(row)))
    return folder
