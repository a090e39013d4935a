"""The linear probe is scikit-learn's logistic regression, with the penalty chosen as CLIP chose it."""

from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from surefoot.contrastive import (
    STRENGTHS,
    ImageFolder,
    LabelledFeatures,
    LinearProbe,
    OpenClipModel,
    PictureFeatures,
    fit_logistic,
    fit_probe,
)
from surefoot.core import Store, SurefootError, open_pool, run
from surefoot.stats import shuffled

CLASSES = ("owl", "cat", "dog")


def labelled(seed: int, count: int, *, keys: tuple[str, ...] = CLASSES, spread: float = 0.9) -> LabelledFeatures:
    """Unit features around a centre for each class."""
    generator = np.random.default_rng(seed)
    labels = [keys[row % len(keys)] for row in range(count)]
    centre = {key: np.random.default_rng(place).standard_normal(8) for place, key in enumerate(CLASSES)}
    drawn = np.array([centre[label] for label in labels]) + spread * generator.standard_normal((count, 8))
    unit = drawn / np.linalg.norm(drawn, axis=1, keepdims=True)
    names = tuple(f"{seed} {row}" for row in range(count))
    return LabelledFeatures(
        features=torch.from_numpy(unit.astype(np.float32)), labels=tuple(labels), ids=names, keys=keys
    )


@pytest.mark.parametrize("strength", [0.03, 3.0, 300.0])
def test_the_weights_are_scikit_learns(strength: float) -> None:
    data = labelled(0, 150)
    number = np.array([CLASSES.index(label) for label in data.labels])
    weights, bias = fit_logistic(data.features, torch.from_numpy(number), 3, strength)
    peer = LogisticRegression(C=strength, tol=1e-10, max_iter=5000).fit(data.features.numpy().astype(float), number)
    assert weights.numpy() == pytest.approx(peer.coef_, abs=2e-3 * np.abs(peer.coef_).max())
    found, theirs = bias.numpy() - bias.numpy().mean(), peer.intercept_ - peer.intercept_.mean()
    assert found == pytest.approx(theirs, abs=2e-3 * np.abs(peer.coef_).max())


def test_the_penalty_is_the_best_of_the_grid_on_the_validation_pictures() -> None:
    train, validation = labelled(1, 60, spread=1.6), labelled(2, 300, spread=1.6)
    probe = fit_probe(train, validation)
    number = {
        name: np.array([CLASSES.index(label) for label in one.labels])
        for name, one in (("train", train), ("validation", validation))
    }
    scores = [
        LogisticRegression(C=strength, max_iter=3000, tol=1e-8)
        .fit(train.features.numpy().astype(float), number["train"])
        .score(validation.features.numpy(), number["validation"])
        for strength in STRENGTHS[16::16]
    ]
    chosen = (
        LogisticRegression(C=probe.strength, max_iter=3000, tol=1e-8)
        .fit(train.features.numpy().astype(float), number["train"])
        .score(validation.features.numpy(), number["validation"])
    )
    assert chosen >= max(scores) - 1e-9
    assert (probe.trained, probe.validated) == (360, 300)  # then on both, as CLIP does


def test_of_penalties_that_score_alike_the_strongest_is_taken() -> None:
    train, validation = labelled(1, 60, spread=0.1), labelled(2, 90, spread=0.1)
    assert fit_probe(train, validation).strength == STRENGTHS[0]
    for strength in STRENGTHS[::48]:  # indeed all are right
        labels = torch.tensor([CLASSES.index(label) for label in train.labels])
        weights, bias = fit_logistic(train.features, labels, 3, strength)
        right = (validation.features.double() @ weights.T + bias).argmax(dim=1).numpy()
        assert [CLASSES[place] for place in right] == list(validation.labels)


@pytest.mark.parametrize("shots", [None, 5])
def test_without_validation_the_penalty_is_chosen_on_pictures_that_are_held_out(shots: int | None) -> None:
    train = labelled(11, 60, spread=1.6)
    fitted, held = [], []
    for key in CLASSES:  # 20 of each: a fifth is held out, or as many as the shots
        order = shuffled([name for name, label in zip(train.ids, train.labels, strict=True) if label == key], 0)
        fitted += order[: shots or 16]
        held += order[shots or 16 : 2 * shots if shots else 20]
    rows = {name: [train.ids.index(one) for one in names] for name, names in (("fitted", fitted), ("held", held))}
    number, x = np.array([CLASSES.index(label) for label in train.labels]), train.features.numpy().astype(float)

    def right(strength: float) -> float:
        peer = LogisticRegression(C=strength, max_iter=3000, tol=1e-8).fit(x[rows["fitted"]], number[rows["fitted"]])
        return float(peer.score(x[rows["held"]], number[rows["held"]]))

    probe = fit_probe(train, shots=shots)
    assert right(probe.strength) >= max(map(right, STRENGTHS[::16])) - 1e-9
    assert (probe.trained, probe.validated) == ((60, 12) if shots is None else (15, 15))


def test_few_shots_are_drawn_by_the_seed_and_validation_is_not_trained_on() -> None:
    train, test = labelled(3, 90), labelled(4, 60)
    first, again, other = (fit_probe(train, shots=4, seed=seed) for seed in (0, 0, 1))
    assert (first.trained, first.validated) == (12, 12)
    assert torch.equal(first.weights, again.weights)
    assert not torch.equal(first.weights, other.weights)
    assert fit_probe(train, labelled(5, 30), shots=4).trained == 12
    assert (first.classify(test).ranks == 1).mean() > 0.5
    with pytest.raises(SurefootError, match=r"shots is 31, and of the class owl there are 30 pictures"):
        fit_probe(train, shots=31)


def test_classes_are_joined_by_their_keys_in_any_order() -> None:
    train, test = labelled(6, 120, spread=0.2), labelled(7, 60, keys=("dog", "owl"), spread=0.2)
    probe = fit_probe(train)
    assert (probe.classify(test).ranks == 1).mean() > 0.95
    with pytest.raises(SurefootError, match="No picture of the class cat was trained on"):
        fit_probe(labelled(8, 40, keys=("dog", "owl"))).classify(train)
    with pytest.raises(SurefootError, match="A probe tells classes apart"):
        fit_probe(labelled(9, 10, keys=("dog",)))


def test_the_step_measures_what_the_functions_do(numbered_model: Path, captioned: Path, tmp_path: Path) -> None:
    model = OpenClipModel(checkpoint=str(numbered_model)).pinned()
    features = PictureFeatures(model=model, data=ImageFolder(path=str(captioned), size=32).pinned())
    step, store = LinearProbe(train=features, test=features, shots=3), Store(tmp_path)
    with open_pool("here") as pool:
        assert not [event for event in run((step,), store, pool) if event.kind == "failed"]
    found = {one.metric: one for one in store.measurements(step)}
    assert found["trained"].value == found["validated"].value == 18
    assert found["top1"].n == 60
    assert found["top1"].value > 0.25  # a third was trained on
    assert found["inverse_penalty"].value in STRENGTHS
