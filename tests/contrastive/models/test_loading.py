"""Models are read from local files, and what is wrong with a file is said in one line."""

import json
from pathlib import Path

import numpy as np
import open_clip
import pytest
import torch
from safetensors.torch import save_file

from surefoot.contrastive import (
    ModelDescription,
    Pixels,
    build,
    class_head,
    count_gmacs,
    count_parameters,
    embed_images,
    embed_texts,
    ladder_config,
    load_model,
    load_openclip,
    save_model,
    vocabulary_of,
)
from surefoot.core import SurefootError

TEXTS = ("red square", "green disc", "blue square")
NAME = "RN50"


@pytest.fixture(scope="module")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model artifact of our ladder with random weights."""
    directory = tmp_path_factory.mktemp("artifact")
    torch.manual_seed(0)
    vocabulary = vocabulary_of(TEXTS)
    config = ladder_config("rn-4", vocabulary_size=len(vocabulary) + 1)
    model = build(config)
    description = ModelDescription(
        name="rn-4",
        config=config,
        pixels=Pixels(size=32, interpolation="bilinear"),
        vocabulary=vocabulary,
        parameters=count_parameters(model),
        gmacs_per_sample=count_gmacs(config),
        samples=0,
    )
    save_model(model, description, directory)
    return directory


def test_an_artifact_is_read_back_as_it_was_written(artifact: Path) -> None:
    loaded = load_model(artifact)
    torch.manual_seed(0)
    expected = build(loaded.description.config).eval() if loaded.description else None
    assert expected is not None
    for name, value in expected.state_dict().items():
        assert torch.equal(loaded.model.state_dict()[name], value)
    assert not loaded.model.training
    assert loaded.description is not None
    assert loaded.description.parameters == sum(value.numel() for value in expected.parameters())


def test_openclip_itself_can_read_the_weights(artifact: Path) -> None:
    config = json.loads((artifact / "model.json").read_text())["config"]
    model = build(config)
    open_clip.load_checkpoint(model, str(artifact / "model.safetensors"))
    loaded = load_model(artifact)
    ids = loaded.tokenizer(list(TEXTS))
    with torch.no_grad():
        assert torch.equal(model.eval().encode_text(ids), loaded.model.encode_text(ids))


def test_the_zero_shot_head_is_that_of_openclip(artifact: Path) -> None:
    loaded = load_model(artifact)
    templates = ("{}", "red {}", "{} disc")
    theirs = open_clip.build_zero_shot_classifier(loaded.model, loaded.tokenizer, TEXTS, templates)
    assert torch.allclose(class_head(loaded, TEXTS, templates).embeddings, theirs.T, atol=1e-6)


def test_embeddings_do_not_depend_on_the_batch(artifact: Path) -> None:
    loaded = load_model(artifact)
    images = np.random.default_rng(0).integers(0, 256, size=(7, 32, 32, 3), dtype=np.uint8)
    whole, parts = embed_images(loaded, images), embed_images(loaded, images, batch=3)
    assert torch.allclose(whole, parts, atol=1e-5)
    assert torch.allclose(whole.norm(dim=1), torch.ones(7), atol=1e-5)
    assert embed_texts(loaded, TEXTS).shape == (3, whole.shape[1])


def test_a_damaged_description_names_the_file(artifact: Path, tmp_path: Path) -> None:
    (tmp_path / "model.json").write_text('{"format": 1, "name": "rn-4"}')
    with pytest.raises(SurefootError, match=r"model\.json does not describe a model"):
        load_model(tmp_path)
    with pytest.raises(SurefootError, match=r"is not a model: it has no model\.json"):
        load_model(tmp_path / "elsewhere")


@pytest.fixture(scope="module")
def small_state() -> dict[str, torch.Tensor]:
    return {"visual.conv1.weight": torch.zeros(2, 2)}


def test_an_unknown_name_gets_suggestions(tmp_path: Path) -> None:
    with pytest.raises(SurefootError, match=r"OpenCLIP has no model named 'ViT-B-33'\. Did you mean .*ViT-B-32"):
        load_openclip("ViT-B-33", tmp_path / "weights.safetensors")


def test_a_model_whose_tokenizer_is_a_download_is_refused(tmp_path: Path) -> None:
    (tmp_path / "weights.safetensors").touch()
    with pytest.raises(SurefootError, match="nothing is downloaded here"):
        load_openclip("ViT-B-16-SigLIP", tmp_path / "weights.safetensors")


def test_a_missing_checkpoint_is_named(tmp_path: Path) -> None:
    with pytest.raises(SurefootError, match=r"There is no checkpoint .*weights\.pt"):
        load_openclip(NAME, tmp_path / "weights.pt")


@pytest.mark.parametrize("suffix", [".safetensors", ".pt"])
def test_a_file_that_was_cut_short_is_refused(
    tmp_path: Path, suffix: str, small_state: dict[str, torch.Tensor]
) -> None:
    path = tmp_path / f"weights{suffix}"
    if suffix == ".pt":
        torch.save(small_state, path)
    else:
        save_file(small_state, path)
    whole = path.read_bytes()
    for size in (0, 7, len(whole) // 2, len(whole) - 3):
        path.write_bytes(whole[:size])
        with pytest.raises(SurefootError, match=r"weights\.(pt|safetensors): "):
            load_openclip(NAME, path)


class Harmful:
    """Unpickling it would create a file."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[object, tuple[Path]]:
        return Path.touch, (self.target,)


def test_a_pickle_with_code_is_refused_and_not_run(tmp_path: Path) -> None:
    path, target = tmp_path / "weights.pt", tmp_path / "harm"
    torch.save({"state_dict": Harmful(target)}, path)
    with pytest.raises(SurefootError, match=r"Not a file of plain tensors"):
        load_openclip(NAME, path)
    assert not target.exists()


def test_weights_of_another_architecture_name_the_first_tensor_that_differs(
    tmp_path: Path, small_state: dict[str, torch.Tensor]
) -> None:
    save_file(small_state, tmp_path / "weights.safetensors")
    with pytest.raises(SurefootError, match=r"is not one of a RN50: it lacks .* \(and \d+ more\)"):
        load_openclip(NAME, tmp_path / "weights.safetensors")
