"""Pretraining learns, says what it cost, and ends with the same bits whatever happened on the way."""

import importlib.util
import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import open_clip
import pytest
import torch
from scipy.special import log_softmax

from surefoot.contrastive import (
    Batches,
    Pixels,
    RestrictedTokenizer,
    build,
    class_head,
    count_gmacs,
    embed_images,
    ladder_config,
    load_model,
    normalized,
    read_captions,
    read_pairs,
    vocabulary_of,
)
from surefoot.contrastive._training._pretrain import contrastive_loss
from surefoot.core import Measurement, SurefootError, write_record
from surefoot.studies.quickstart import study as quickstart

SCRIPT = Path(__file__).with_name("train_shapes.py")


@pytest.fixture(scope="module")
def shapes() -> ModuleType:
    spec = importlib.util.spec_from_file_location("train_shapes", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def unbroken(shapes: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Measurement]]:
    """One training, from start to end, in this process."""
    directory = tmp_path_factory.mktemp("unbroken")
    return directory, shapes.train_in(directory)


@pytest.fixture(scope="module")
def learnt(shapes: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Measurement]]:
    """A training that is long enough to learn."""
    directory = tmp_path_factory.mktemp("learnt")
    return directory, shapes.train_in(directory, shapes.STEP)


def bits(directory: Path) -> bytes:
    return (directory / "work" / "part" / "model.safetensors").read_bytes()


def by_metric(measurements: list[Measurement]) -> dict[str, float]:
    return {measurement.metric: measurement.value for measurement in measurements}


def test_it_learns_to_tell_shapes_and_colours(learnt: tuple[Path, list[Measurement]]) -> None:
    directory, measurements = learnt
    loaded = load_model(directory / "work" / "part")
    data = next((directory / "store").glob("*TrainingPairs/*"))
    captions = [texts[0] for texts in json.loads((data / "captions.json").read_text())]
    classes = sorted(set(captions))
    images = embed_images(loaded, np.load(data / "images.npy"))
    named = (images @ class_head(loaded, classes, ("{}", "a {}")).embeddings.T).argmax(dim=1)
    right = sum(classes[guess] == caption for guess, caption in zip(named.tolist(), captions, strict=True))
    assert right / len(captions) > 0.5  # chance is 1 in 8
    assert by_metric(measurements)["loss"] < 2.2  # a batch of 16 at chance: 2.77


def test_it_measures_what_it_cost(learnt: tuple[Path, list[Measurement]]) -> None:
    directory, measurements = learnt
    told, values = load_model(directory / "work" / "part").description, by_metric(measurements)
    assert told is not None
    assert set(values) == {"loss", "parameters", "gmacs_per_sample", "samples", "gmacs"}
    assert values["samples"] == told.samples == 1600
    assert values["gmacs_per_sample"] == told.gmacs_per_sample == count_gmacs(told.config)
    assert values["gmacs"] == pytest.approx(1600 * told.gmacs_per_sample)
    assert values["parameters"] == sum(
        value.numel() for value in load_model(directory / "work/part").model.parameters()
    )


def test_the_history_tells_loss_and_learning_rate(learnt: tuple[Path, list[Measurement]]) -> None:
    every = 16  # samples of a batch: fewer than 200 batches are told one by one
    history = json.loads((learnt[0] / "work" / "part" / "history.json").read_text())
    assert [row["samples"] for row in history["rows"]] == list(range(every, 1601, every))
    assert max(row["learning_rate"] for row in history["rows"]) == pytest.approx(3e-3)
    assert history["rows"][-1]["loss"] < history["rows"][0]["loss"]
    assert history["samples_per_second"] > 0


def test_a_training_killed_twice_ends_with_the_same_bits_as_one_of_another_process(
    unbroken: tuple[Path, list[Measurement]], tmp_path: Path
) -> None:
    ended = subprocess.run([sys.executable, SCRIPT, tmp_path], check=False, capture_output=True, text=True)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert bits(tmp_path) == bits(unbroken[0])
    whole = [json.loads((path / "work/part/history.json").read_text())["rows"] for path in (tmp_path, unbroken[0])]
    assert whole[0] == whole[1]


def test_the_loss_of_a_step_is_openclips_loss_on_the_batch_of_that_step(shapes: ModuleType, tmp_path: Path) -> None:
    shapes.write_shapes(tmp_path / "data")
    captions = read_captions(tmp_path / "data")
    vocabulary = vocabulary_of(text for texts in captions for text in texts)
    config = ladder_config("rn-4", vocabulary_size=len(vocabulary) + 1)
    tokenizer, pixels = RestrictedTokenizer(vocabulary, 16), Pixels(size=32)
    batches = Batches(pairs=read_pairs(tmp_path / "data", captions, tokenizer, pixels), size=12, seed=3)
    model = build(config).eval()
    step = replace(shapes.SHORT, augmentation="none", seed=3)
    images, tokens = batches.at(7)
    with torch.no_grad():
        ours = contrastive_loss(step, model, batches, pixels)(7)
        scale = model.logit_scale.exp()
        features = model.encode_image(normalized(images, pixels), normalize=True)
        words = model.encode_text(tokens, normalize=True)
        theirs = open_clip.ClipLoss()(features, words, scale)
    logits = (scale * features @ words.T).double().detach().numpy()
    by_hand = -(np.diag(log_softmax(logits, axis=0)).mean() + np.diag(log_softmax(logits, axis=1)).mean()) / 2
    assert ours.item() == pytest.approx(theirs.item(), rel=1e-6)
    assert ours.item() == pytest.approx(by_hand, rel=1e-5)


def test_another_seed_gives_another_model(
    shapes: ModuleType, unbroken: tuple[Path, list[Measurement]], tmp_path: Path
) -> None:
    shapes.train_in(tmp_path, replace(shapes.SHORT, seed=1))
    assert bits(tmp_path) != bits(unbroken[0])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model": "rn-5"}, r"There is no model 'rn-5' on the ladder\. Choose one of: rn-4, "),
        ({"samples": 0}, "samples is 0: it must be at least 1"),
        ({"batch": 1}, "batch is 1: it must be at least 2"),
        ({"learning_rate": 0.0}, r"learning_rate is 0\.0: it must be above 0"),
        ({"learning_rate": 1e30, "samples": 160}, r"The training diverged: the loss of step \d+ is nan"),
    ],
)
def test_settings_that_cannot_work_are_refused(
    shapes: ModuleType, tmp_path: Path, change: dict[str, object], message: str
) -> None:
    with pytest.raises(SurefootError, match=message):
        shapes.train_in(tmp_path, replace(shapes.STEP, **change))


def test_an_unknown_model_is_refused_when_the_study_is_built() -> None:
    with pytest.raises(SurefootError, match="no model 'moon' on the ladder"):
        quickstart(sizes=("moon",))


def test_a_training_that_goes_on_from_a_trunk_ends_with_the_bits_of_one_that_never_stopped(
    shapes: ModuleType, tmp_path: Path
) -> None:
    whole = replace(shapes.STEP, samples=96, decay="constant", warmup=0.0)
    first = replace(whole, samples=48)
    second = replace(whole, samples=48, start=first)
    cooled = replace(second, decay="cooldown")
    places = {}
    for step in (whole, first, second, cooled):
        place = shapes.StoredInputs(shapes.Store(tmp_path / "store"))
        measured = {one.metric: one.value for one in shapes.train_in(tmp_path, step)}
        places[step.key] = place.store.path(step)
        shutil.copytree(tmp_path / "work" / "part", places[step.key])
        shutil.rmtree(tmp_path / "work")
        write_record(places[step.key], step, ())
        assert measured["samples"] == (48 if step is first else 96)
    models = {key: (place / "model.safetensors").read_bytes() for key, place in places.items()}
    assert models[second.key] == models[whole.key]
    assert models[cooled.key] != models[whole.key]
    assert not (places[cooled.key] / "moments.safetensors").exists()


@pytest.mark.parametrize(("decay", "started"), [("cooldown", False), ("cosine", True)])
def test_what_goes_on_and_what_does_not_is_said(shapes: ModuleType, tmp_path: Path, decay: str, started: bool) -> None:
    step = replace(shapes.SHORT, decay=decay, start=shapes.SHORT if started else None)
    with pytest.raises(SurefootError, match="A cool-down needs a start"):
        shapes.train_in(tmp_path, step)
