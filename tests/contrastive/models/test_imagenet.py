"""ImageNetModel: its image tower is the network of the package, and only what is fresh learns words."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from surefoot.contrastive import ALIGNED, CaptionedPictures, Finetune, ImageNetModel, imagenet_network, load_model
from surefoot.core import Store, open_pool, run


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The model as it begins, and after a step on two pictures with captions."""
    place = tmp_path_factory.mktemp("imagenet")
    (place / "own").mkdir()
    generator = np.random.default_rng(0)
    from PIL import Image

    for name in ("a red ship", "a small dog"):
        Image.fromarray(generator.integers(0, 255, (32, 32, 3), np.uint8)).save(place / "own" / f"{name[-3:]}.png")
        (place / "own" / f"{name[-3:]}.txt").write_text(name)
    pairs = CaptionedPictures(path=str(place / "own"), size=32).pinned()
    start = ImageNetModel(data=pairs, size=32)
    aligned = Finetune(model=start, data=(pairs,), samples=2, batch=2, learning_rate=1e-2, trained=ALIGNED)
    store = Store(place / "store")
    with open_pool("here") as pool:
        assert not [event for event in run([aligned], store, pool) if event.kind == "failed"]
    return store.path(start), store.path(aligned)


def test_the_tower_is_the_network_of_the_package(models: tuple[Path, Path]) -> None:
    """What the classifier of 1,000 classes makes of the tower's features is what the whole network answers."""
    network, loaded = imagenet_network(), load_model(models[0])
    pictures = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(1)) * 2 - 1
    with torch.inference_mode():
        features = loaded.model.visual.trunk(pictures)
        assert features.shape == (2, 1280)
        torch.testing.assert_close(network.classifier(features), network(pictures))
        assert loaded.model.encode_image(pictures).shape == (2, 64)


def test_words_are_learned_and_the_tower_stays(models: tuple[Path, Path]) -> None:
    before, after = (load_model(one).model.state_dict() for one in models)
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert "visual.head.proj.weight" in changed
    assert "token_embedding.weight" in changed
    assert not [name for name in changed if name.startswith("visual.trunk.")]


def test_its_words_are_those_of_the_captions(models: tuple[Path, Path]) -> None:
    described = json.loads((models[0] / "model.json").read_text())
    assert len(described["vocabulary"]) == len({"a", "red", "ship", "small", "dog"}) + 2
    assert described["config"]["text_cfg"]["vocab_size"] == len(described["vocabulary"]) + 1
    assert described["parameters"] == sum(one.numel() for one in load_model(models[0]).model.parameters())
