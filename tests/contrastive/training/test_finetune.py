"""Fine-tuning learns a task with the text tower as it is, and changes nothing else."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from open_clip.loss import ClipLoss
from PIL import Image
from safetensors.numpy import load_file
from scipy.special import log_softmax

from surefoot.contrastive import (
    CaptionedPictures,
    Drawings,
    DrawnTask,
    Finetune,
    ImageEncoder,
    Pretrain,
    WeightEdit,
    classify,
    load_model,
    normalized,
    read_captions,
    read_pairs,
    resized,
)
from surefoot.contrastive._training._finetune import _batch, finetuning_loss, read_labelled
from surefoot.core import Measurement, Step, SurefootError
from surefoot.training import generator_for, seed_for

Made = Callable[[Step], tuple[Path, list[Measurement]]]
WARM = DrawnTask(drawings=(Drawings(style="twemoji"),), groups=("food-drink",), least=1, part="all")
COLD = DrawnTask(drawings=(Drawings(style="twemoji"),), groups=("objects",), least=1, part="all")


@pytest.fixture(scope="module")
def warm(start: Pretrain) -> Finetune:
    return Finetune(model=start, data=(WARM,), samples=480, batch=16, learning_rate=2e-3)


def accuracy(made: Made, model: Step, data: Step) -> float:
    scores, _ = classify(load_model(made(model)[0]), made(data)[0], ("{}",))
    return float((scores.ranks == 1).mean())


def test_it_learns_its_task(made: Made, start: Pretrain, warm: Finetune) -> None:
    before, after = accuracy(made, start, WARM), accuracy(made, warm, WARM)
    assert after > before + 0.2
    assert after > 0.6  # chance is 1 in 4
    assert {one.metric: one.value for one in made(warm)[1]}["samples"] == 480


def test_words_and_batch_statistics_stay_as_they_were(made: Made, start: Pretrain, warm: Finetune) -> None:
    before, after = (load_file(made(step)[0] / "model.safetensors") for step in (start, warm))
    assert before.keys() == after.keys()
    changed = {name for name in before if before[name].tobytes() != after[name].tobytes()}
    assert changed
    assert all(name.startswith("visual.") for name in changed)
    assert not any("running_" in name or "num_batches" in name for name in changed)


def test_batch_statistics_follow_the_data_where_that_is_asked_for(made: Made, warm: Finetune) -> None:
    before = load_file(made(warm.model)[0] / "model.safetensors")
    after = load_file(made(replace(warm, samples=32, statistics=True))[0] / "model.safetensors")
    followed = [name for name in before if name.startswith("visual.") and "running_mean" in name]
    assert followed
    assert all((before[name] != after[name]).any() for name in followed)


def test_the_loss_is_the_cross_entropy_against_the_frozen_head(made: Made, warm: Finetune) -> None:
    plain = replace(warm, augmentation="none")
    loaded = load_model(made(warm.model)[0])
    data = read_labelled(made(WARM)[0], loaded, plain.templates)
    rows = _batch(len(data.labels), plain, 0, 3)
    with torch.no_grad():
        loss = float(finetuning_loss(plain, loaded, [data])(3))
        images = loaded.model.encode_image(normalized(data.images[rows], loaded.pixels), normalize=True)
        scale = float(loaded.model.logit_scale.exp())
    logits = scale * images.double().numpy() @ data.head.double().numpy().T
    expected = -log_softmax(logits, axis=1)[np.arange(len(rows)), data.labels[rows].numpy()].mean()
    assert loss == pytest.approx(expected, rel=1e-5)


@pytest.fixture(scope="module")
def captioned(made: Made, start: Pretrain, tmp_path_factory: pytest.TempPathFactory) -> Finetune:
    """The warm pictures as a user's folder, with two captions beside each."""
    place, folder = made(WARM)[0], tmp_path_factory.mktemp("captioned")
    names, labels = json.loads((place / "classes.json").read_text()), np.load(place / "labels.npy")
    for row, (picture, label) in enumerate(zip(np.load(place / "images.npy"), labels, strict=True)):
        colour, shape = names[label].split()
        Image.fromarray(picture).save(folder / f"{row}.png")
        (folder / f"{row}.txt").write_text(f"{names[label]}\na {shape} that is {colour}\n")
    pairs = CaptionedPictures(path=str(folder), size=32).pinned()
    return Finetune(model=start, data=(pairs,), samples=1600, batch=16, learning_rate=2e-3)


def test_it_learns_from_captions_of_the_user(made: Made, start: Pretrain, captioned: Finetune) -> None:
    assert accuracy(made, captioned, WARM) > accuracy(made, start, WARM) + 0.1
    before, after = (load_file(made(step)[0] / "model.safetensors") for step in (start, captioned))
    assert {name for name in before if before[name].tobytes() != after[name].tobytes()} <= {
        name for name in before if name.startswith("visual.")
    }


def test_classes_and_captions_are_learned_together(made: Made, start: Pretrain, captioned: Finetune) -> None:
    joint = replace(captioned, data=(COLD, *captioned.data))
    assert accuracy(made, joint, COLD) > accuracy(made, start, COLD)
    assert accuracy(made, joint, WARM) > accuracy(made, start, WARM)


def test_the_loss_on_captions_is_clips_with_the_models_temperature(made: Made, captioned: Finetune) -> None:
    plain, loaded = replace(captioned, augmentation="none", trained=("*",)), load_model(made(captioned.model)[0])
    place = made(captioned.data[0])[0]
    pairs = read_pairs(place, read_captions(place), loaded.tokenizer, loaded.pixels)
    rows = _batch(len(pairs.images), plain, 0, 5)
    loss = finetuning_loss(plain, loaded, [pairs])(5)
    with torch.no_grad():
        images = loaded.model.encode_image(normalized(pairs.images[rows], loaded.pixels), normalize=True)
        texts = loaded.model.encode_text(pairs.drawn(rows, generator_for("captions", 0, 0, 5)), normalize=True)
    theirs = ClipLoss()(images, texts, loaded.model.logit_scale.detach().exp())
    assert loss.item() == pytest.approx(float(theirs), rel=1e-5)
    loss.backward()
    gradients = {name: one.grad for name, one in loaded.model.named_parameters()}
    assert gradients["token_embedding.weight"] is not None
    assert gradients["logit_scale"] is None


def test_the_same_step_gives_the_same_bits(made: Made, warm: Finetune, tmp_path: Path) -> None:
    from surefoot.core import Store, StoredInputs

    first = made(warm)[0]
    out = tmp_path / "work" / "part"
    out.mkdir(parents=True)
    list(warm.make(out, StoredInputs(Store(first.parent.parent))))
    assert (out / "model.safetensors").read_bytes() == (first / "model.safetensors").read_bytes()


def test_going_up_the_loss_unlearns(made: Made, start: Pretrain, warm: Finetune) -> None:
    up = replace(warm, ascent=True)
    assert accuracy(made, up, WARM) < accuracy(made, start, WARM)
    losses = [row["loss"] for row in json.loads((made(up)[0] / "history.json").read_text())["rows"]]
    assert losses[-1] < losses[0] < 0  # the loss with its sign turned


def test_joint_training_sees_every_set_as_often_and_learns_both(made: Made, start: Pretrain, warm: Finetune) -> None:
    joint = replace(warm, data=(WARM, COLD))
    assert {one.metric: one.value for one in made(joint)[1]}["samples"] == 960
    before, after = (sum(accuracy(made, model, task) for task in (WARM, COLD)) for model in (start, joint))
    assert after > before + 0.2


def test_shards_share_no_picture_and_leave_none_out(warm: Finetune) -> None:
    seen = [set(_batch(50, replace(warm, batch=25, shard=(place, 3)), 0, 0).tolist()) for place in range(3)]
    assert set().union(*seen) == set(range(50))
    assert sum(map(len, seen)) == 50
    epoch = torch.cat([_batch(17, replace(warm, shard=(0, 1)), 0, turn) for turn in range(17)])
    assert torch.bincount(epoch).tolist() == [16] * 17


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"shard": (2, 2)}, r"a shard \(i, n\) has 0 <= i < n"),
        ({"data": ()}, "needs data"),
        ({"trained": ("vision.*",)}, r"No weight is named like 'vision\.\*'"),
        ({"learning_rate": 0.0}, "must be above 0"),
        ({"shard": (999, 1000)}, "has none for shard"),
    ],
)
def test_settings_that_fit_no_training_are_refused(
    made: Made, warm: Finetune, wrong: dict[str, object], message: str
) -> None:
    with pytest.raises(SurefootError, match=message):
        made(replace(warm, **wrong))


def network(width: int = 4, dropout: float = 0.3) -> torch.nn.Module:
    """A network of a user, with statistics that are not those of any pictures, and with dropout."""
    torch.manual_seed(0)
    norm = torch.nn.BatchNorm2d(width)
    norm.running_mean.fill_(0.3)  # pyright: ignore[reportOptionalMemberAccess]
    pooled = torch.nn.Sequential(torch.nn.AdaptiveAvgPool2d(2), torch.nn.Flatten(), torch.nn.Dropout(dropout))
    return torch.nn.Sequential(torch.nn.Conv2d(3, width, 3), norm, torch.nn.GELU(), *pooled)


@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_an_encoder_of_the_user_is_tuned_towards_its_features_before_any_training(
    made: Made, dropout: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch, "own_network", lambda: network(dropout=dropout), raising=False)
    encoder = ImageEncoder(model="torch:torch:own_network", size=32, digest=str(dropout))
    tuned = Finetune(model=encoder, data=(WARM,), samples=8, batch=8, augmentation="none")
    before, after = (load_file(made(step)[0] / "model.safetensors") for step in (encoder, tuned))
    assert {name for name in before if before[name].tobytes() == after[name].tobytes()} == {
        *("logit_scale", "visual.1.num_batches_tracked", "visual.1.running_mean", "visual.1.running_var")
    }
    loaded, place = load_model(made(encoder)[0]), made(WARM)[0]
    prepared = normalized(resized(np.load(place / "images.npy"), loaded.pixels), loaded.pixels)
    labels = torch.from_numpy(np.load(place / "labels.npy")).long()
    with torch.inference_mode():
        features = loaded.model.encode_image(prepared, normalize=True)
        head = torch.stack([features[labels == one].mean(dim=0) for one in range(int(labels.max()) + 1)])
        rows = _batch(len(labels), tuned, 0, 0)
        torch.manual_seed(seed_for("step", 0))
        loaded.model.visual.train()[1].eval()  # pyright: ignore[reportIndexIssue]
        images = loaded.model.encode_image(prepared[rows], normalize=True)
    logits = np.exp(3.0) * images @ torch.nn.functional.normalize(head, dim=-1).T
    expected = float(torch.nn.functional.cross_entropy(logits, labels[rows]))
    assert {one.metric: one.value for one in made(tuned)[1]}["loss"] == pytest.approx(expected, rel=1e-4)
    with pytest.raises(SurefootError, match="own_network knows no words to name classes by: WeightEdit is for models"):
        made(WeightEdit(base=encoder, plus=(tuned,), objective="transfer", target=(WARM,)))
    with pytest.raises(SurefootError, match=r"features before any training, which a part that goes on does not know"):
        made(replace(tuned, model=tuned, first_step=1, whole_steps=2))
