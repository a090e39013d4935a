"""Zero-shot classification agrees with OpenCLIP's, keeps a score for every example, and gives honest intervals."""

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import open_clip
import pytest
import torch
from cyclopts import ValidationError
from open_clip.transform import PreprocessCfg, image_transform_v2
from PIL import Image
from scipy.stats import rankdata
from statsmodels.stats.proportion import proportion_confint

from surefoot.cli import app
from surefoot.contrastive import (
    ClassificationSet,
    Classified,
    Drawings,
    ModelDescription,
    Pixels,
    TrainingPairs,
    ZeroShot,
    build,
    check_templates,
    classification_measurements,
    count_gmacs,
    count_parameters,
    embed_images,
    ladder_config,
    load_model,
    load_openclip,
    save_model,
    vocabulary_of,
)
from surefoot.contrastive._models._embed import class_head, embed_files
from surefoot.contrastive._pictures._photos import whole_file
from surefoot.core import Store, StoredInputs, SurefootError, write_record
from surefoot.examples import write_examples

CLASSES = ["red square", "green disc", "blue ring", "black star", "white cross", "grey line", "pink dot"]
DRAWINGS = Drawings(style="twemoji")
MODEL = TrainingPairs(drawings=(DRAWINGS,))  # its place in the store; what lies there is a model
STEP = ZeroShot(model=MODEL, data=ClassificationSet(drawings=DRAWINGS), templates=("{}", "a {}"), shift="nowhere")
PICTURES = np.random.default_rng(0).integers(0, 256, size=(21, 32, 32, 3), dtype=np.uint8)
LABELS = np.arange(21) % 7


def evaluate(model: object, images: Path, *words: object) -> int:
    """How `surefoot evaluate --model MODEL --images IMAGES WORDS` ends, in this process; a mistake is raised."""
    told = ["evaluate", "--model", str(model), "--images", str(images), *map(str, words)]
    return app(told, result_action="return_value", exit_on_error=False)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """A model with random weights and noisy pictures."""
    store = Store(tmp_path_factory.mktemp("store"))
    model_place, data_place = store.path(MODEL), store.path(STEP.data)
    for step, place in ((MODEL, model_place), (STEP.data, data_place)):
        place.mkdir(parents=True)
        write_record(place, step, ())
    torch.manual_seed(0)
    vocabulary = vocabulary_of([*CLASSES, "a"])
    config = ladder_config("rn-4", vocabulary_size=len(vocabulary) + 1)
    model = build(config)
    description = ModelDescription(
        name="rn-4",
        config=config,
        pixels=Pixels(size=32),
        vocabulary=vocabulary,
        parameters=count_parameters(model),
        gmacs_per_sample=count_gmacs(config),
        samples=0,
    )
    save_model(model, description, model_place)
    np.save(data_place / "images.npy", PICTURES)
    np.save(data_place / "labels.npy", LABELS)
    (data_place / "classes.json").write_text(json.dumps(CLASSES))
    (data_place / "ids.json").write_text(json.dumps([f"picture {row}" for row in range(21)]))
    return store


def test_every_prediction_is_that_of_openclips_classifier(store: Store, tmp_path: Path) -> None:
    measurements = {one.metric: one for one in STEP.make(tmp_path, StoredInputs(store))}
    loaded = load_model(store.path(MODEL))
    weights = open_clip.build_zero_shot_classifier(loaded.model, loaded.tokenizer, CLASSES, STEP.templates)
    logits = (embed_images(loaded, PICTURES) @ weights).numpy()
    rows = duckdb.read_parquet(str(tmp_path / "examples.parquet")).fetchall()
    assert [row[0] for row in rows] == [f"picture {row}" for row in range(21)]
    assert [row[1] for row in rows] == [CLASSES[label] for label in LABELS]
    assert [row[2] for row in rows] == [CLASSES[guess] for guess in logits.argmax(axis=1)]
    ranks = [rankdata(-line, method="max")[label] for line, label in zip(logits, LABELS, strict=True)]
    assert [row[4] for row in rows] == ranks
    assert measurements["top1"].value == np.mean([row[3] for row in rows]) == np.mean(np.array(ranks) == 1)
    assert measurements["top5"].value == np.mean(np.array(ranks) <= 5)
    assert all(one.shift == "nowhere" for one in measurements.values())


def scores_of(labels: list[int], ranks: list[int], classes: int) -> Classified:
    return Classified(
        labels=np.array(labels),
        predictions=np.array(
            [label if rank == 1 else (label + 1) % classes for label, rank in zip(labels, ranks, strict=True)]
        ),
        ranks=np.array(ranks),
        probability=np.ones(len(labels)),
        classes=classes,
    )


def test_a_class_of_several_names_is_the_mean_of_their_prompts(numbered_model: Path) -> None:
    loaded = load_openclip("", numbered_model)
    head = class_head(loaded, ["red | old cat", "dog"], ["{}", "a {}"]).embeddings
    tokens = loaded.tokenizer(["red", "a red", "old cat", "a old cat", "dog", "a dog"])
    with torch.no_grad():
        each = loaded.model.encode_text(tokens, normalize=True)
    means = torch.stack([each[:4].mean(dim=0), each[4:].mean(dim=0)])
    assert torch.allclose(head, means / means.norm(dim=1, keepdim=True), atol=1e-6)


def test_one_model_with_two_preparations_sees_other_pictures(numbered_model: Path, tmp_path: Path) -> None:
    loaded = load_openclip("", numbered_model)
    wide = Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 90, 3), np.uint8))
    wide.save(tmp_path / "wide.png")
    modes = ("shortest", "squash", "shortest", "longest")
    models = [replace(loaded, pixels=replace(loaded.pixels, resize_mode=mode)) for mode in modes]
    found = embed_files(models, [whole_file(tmp_path / "wide.png")]).embeddings
    for mode, embedded in zip(modes, found, strict=True):
        told = PreprocessCfg(**{name: value for name, value in vars(loaded.pixels).items() if name != "crop"})
        theirs: Any = image_transform_v2(replace(told, resize_mode=mode), is_train=False)
        with torch.no_grad():
            expected = loaded.model.encode_image(theirs(wide)[None], normalize=True)
        assert torch.allclose(embedded, expected, atol=1e-5), mode


def test_shares_have_wilsons_interval() -> None:
    found = {
        one.metric: one
        for one in classification_measurements(scores_of([0] * 40, [1] * 9 + [3] * 31, 8), task="", shift="")
    }
    assert (found["top1"].low, found["top1"].high) == pytest.approx(proportion_confint(9, 40, method="wilson"))
    assert found["top5"].value == 1
    assert found["top1"].n == 40
    assert found["top1"].stderr == pytest.approx((0.225 * 0.775 / 40) ** 0.5)


def test_recall_weighs_every_class_alike() -> None:
    scores = scores_of([0] * 90 + [1] * 10, [1] * 90 + [2] * 10, 2)
    found = {one.metric: one for one in classification_measurements(scores, task="t", shift="s")}
    assert found["mean_per_class_recall"].value == pytest.approx(0.5)
    assert "top5" not in found  # with two classes it says nothing


def test_the_interval_of_the_recall_covers_the_truth() -> None:
    generator = np.random.default_rng(1)
    size, truth = np.array([12, 25, 40, 8, 30, 16]), np.array([0.3, 0.6, 0.5, 0.7, 0.2, 0.45])
    labels = np.repeat(np.arange(6), size).tolist()
    covered = 0
    for _ in range(300):
        hits = generator.random(len(labels)) < truth[labels]
        found = classification_measurements(scores_of(labels, np.where(hits, 1, 2).tolist(), 6), task="", shift="")
        recall = next(one for one in found if one.metric == "mean_per_class_recall")
        assert recall.low is not None
        assert recall.high is not None
        covered += recall.low <= truth.mean() <= recall.high
    assert 0.90 <= covered / 300 <= 0.99


def test_ties_count_against_the_model() -> None:
    same = torch.ones(1, 2) / 2**0.5
    scores = Classified.of(same, torch.cat([same, same, same]), np.array([0]), 10.0)
    assert scores.ranks.tolist() == [3]
    assert scores.probability[0] == pytest.approx(1 / 3)


@pytest.mark.parametrize(("templates", "message"), [((), "at least one template"), (("a thing",), r"has no \{\}")])
def test_templates_need_a_place_for_the_class(templates: tuple[str, ...], message: str) -> None:
    with pytest.raises(SurefootError, match=message):
        check_templates(templates)


def test_one_class_is_no_question(store: Store, tmp_path: Path) -> None:
    shutil.copytree(store.root, tmp_path / "copy")
    place = Store(tmp_path / "copy").path(STEP.data)
    (place / "classes.json").write_text('["dog"]')
    np.save(place / "labels.npy", np.zeros(21, np.int64))
    with pytest.raises(SurefootError, match=r"Every answer would be right: the one class is dog\. Give at least two"):
        STEP.make(tmp_path, StoredInputs(Store(tmp_path / "copy")))


def test_examples_need_columns_of_one_length(tmp_path: Path) -> None:
    with pytest.raises(SurefootError, match="all of one length"):
        write_examples(tmp_path, {"example": ["a"], "score": [1.0, 2.0]})
    with pytest.raises(SurefootError, match="need the columns example and score"):
        write_examples(tmp_path, {"example": ["a"]})


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The pictures as files, a folder a class."""
    place = tmp_path_factory.mktemp("pictures")
    for row, picture in enumerate(PICTURES):
        (place / CLASSES[LABELS[row]]).mkdir(exist_ok=True)
        Image.fromarray(picture).save(place / CLASSES[LABELS[row]] / f"{row}.png")
    return place


def test_evaluate_gives_the_numbers_of_the_step(
    store: Store, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "templates.txt").write_text("{}\na {}\n")
    evaluate(
        store.path(MODEL),
        folder,
        "--templates",
        tmp_path / "templates.txt",
        "--examples",
        tmp_path / "examples",
        "--format",
        "json",
    )
    (tmp_path / "step").mkdir()
    expected = {one.metric: one.value for one in STEP.make(tmp_path / "step", StoredInputs(store))}
    told = {row["metric"]: row["value"] for row in json.loads(capsys.readouterr().out)}
    assert told == pytest.approx(expected)
    assert len(duckdb.read_parquet(str(tmp_path / "examples" / "examples.parquet")).fetchall()) == 21


def test_evaluate_says_what_is_wrong(store: Store, folder: Path, tmp_path: Path) -> None:
    (tmp_path / "classes.tsv").write_text("name\tclass\nred square\tred square\n")
    own = str(store.path(MODEL))
    with pytest.raises(SurefootError, match="nothing is downloaded"):
        evaluate("RN50", folder)
    with pytest.raises(SurefootError, match="There is no checkpoint"):
        evaluate("RN50", folder, "--pretrained", tmp_path / "no.pt")
    with pytest.raises(SurefootError, match="has its own weights: leave out --pretrained"):
        evaluate(own, folder, "--pretrained", tmp_path / "no.pt")
    with pytest.raises(SurefootError, match="is not a model"):
        evaluate(folder, folder)
    with pytest.raises(ValidationError, match="does not exist"):
        evaluate(own, tmp_path / "nowhere")
    with pytest.raises(SurefootError, match="has no row for"):
        evaluate(own, folder, "--classes", tmp_path / "classes.tsv")
    with pytest.raises(SurefootError, match=r"templates .*no\.txt cannot be read"):
        evaluate(own, folder, "--templates", tmp_path / "no.txt")


def test_at_the_command_line_a_mistake_is_one_line_without_a_traceback(folder: Path) -> None:
    command = [sys.executable, "-c", "from surefoot.cli import main; main()", "evaluate", "--model", "RN50"]
    done = subprocess.run([*command, "--images", str(folder)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.splitlines() == [
        "surefoot: Give the checkpoint of RN50 with --pretrained: nothing is downloaded."
    ]
