"""LinearProbe: logistic regression on a model's features, on all or on a few labelled pictures of each class."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from numpy.typing import NDArray

from surefoot.contrastive._pictures._directory import read_classes
from surefoot.contrastive._tasks._features import PictureFeatures, read_features
from surefoot.contrastive._tasks._zero_shot import Classified, classification_measurements
from surefoot.core import Inputs, Measurement, Step, SurefootError
from surefoot.examples import write_examples
from surefoot.stats import shuffled

if TYPE_CHECKING:
    import torch

STRENGTHS = tuple(10.0 ** (place / 8) for place in range(-48, 49))
"""What is searched for the inverse strength of the penalty: 1e-6 to 1e6, eight a decade."""

_COARSE = 16
_ITERATIONS = 1000
_HELD = 5  # without a validation set, one picture of so many of each class is held out to choose the penalty
Labels = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class LinearProbe(Step):
    """A linear probe: L2-regularised logistic regression on the unit features of a frozen image tower.

    `train` and `test` are features of classification sets by one model; classes are joined by key. The inverse strength
    of the penalty is chosen as in CLIP (Radford et al. 2021, 2103.00020, A.3): by accuracy on `validation`, first at
    seven values from 1e-6 to 1e6, then around the best, to an eighth of a decade; full-batch L-BFGS throughout. Without
    `validation` a fifth of the training pictures of each class is held out for that. Then the probe is fitted on all of
    them together. With `shots` only so many pictures of each class are trained on, drawn by `seed`, and as many others
    of each class choose the penalty and are not trained on (few-shot).
    Writes `examples.parquet` as `ZeroShot` does. Measures `top1`, `top5`, `mean_per_class_recall`, `inverse_penalty`
    (of the sum of losses, as C in scikit-learn), `trained` and `validated` (pictures).
    """

    train: PictureFeatures
    test: PictureFeatures
    validation: PictureFeatures | None = None
    shots: int | None = None
    seed: int = 0
    task: str = "linear probe"
    shift: str = ""
    requires: ClassVar[tuple[str, ...]] = ("torch", "open_clip", "safetensors")

    def make(self, out: Path, inputs: Inputs) -> Iterable[Measurement]:
        """Choose the penalty, fit, and write what came out for every example."""
        if any(one.model != self.train.model for one in (self.test, self.validation) if one):
            raise SurefootError("The features of a LinearProbe must be of one model.")
        sets = {
            name: labelled_features(inputs[one], inputs[one.data])
            for name, one in (("train", self.train), ("validation", self.validation), ("test", self.test))
            if one
        }
        probe = fit_probe(sets["train"], sets.get("validation"), shots=self.shots, seed=self.seed)
        test = sets["test"]
        result = probe.classify(test)
        write_examples(out, result.columns(test.ids, probe.keys), {"classes": probe.keys})
        counts = {"inverse_penalty": probe.strength, "trained": probe.trained, "validated": probe.validated}
        yield from classification_measurements(result, task=self.task, shift=self.shift)
        where = {"task": self.task, "shift": self.shift, "n": probe.trained}
        yield from (Measurement(metric=name, value=value, **where) for name, value in counts.items())


@dataclass(frozen=True, kw_only=True)
class LabelledFeatures:
    """Unit features (n, d) of pictures, the class key and the name of each, and all class keys."""

    features: "torch.Tensor"
    labels: tuple[str, ...]
    ids: tuple[str, ...]
    keys: tuple[str, ...]


def labelled_features(features: Path, data: Path) -> LabelledFeatures:
    """The features and classes in the directories of `PictureFeatures` and of its set."""
    classes = read_classes(data)
    labels = tuple(classes.keys[label] for label in classes.labels)
    return LabelledFeatures(features=read_features(features), labels=labels, ids=classes.ids, keys=classes.keys)


@dataclass(frozen=True, kw_only=True)
class Probe:
    """A fitted probe: `weights` (classes, d), `bias` (classes,), its penalty and how many pictures it saw."""

    keys: tuple[str, ...]
    weights: "torch.Tensor"
    bias: "torch.Tensor"
    strength: float
    trained: int
    validated: int

    def classify(self, test: LabelledFeatures) -> Classified:
        """Name the pictures. Raises `SurefootError` for a class that was not trained on."""
        logits = test.features.double() @ self.weights.T + self.bias
        return Classified.of_logits(logits, _numbered(test, self.keys))


def fit_probe(
    train: LabelledFeatures, validation: LabelledFeatures | None = None, *, shots: int | None = None, seed: int = 0
) -> Probe:
    """Choose the penalty and fit, as `LinearProbe` says."""
    import torch

    present = set(train.labels)
    keys = tuple(key for key in train.keys if key in present)
    if len(keys) < 2:
        raise SurefootError(f"A probe tells classes apart: the training pictures have {len(keys)}.")
    labels = _numbered(train, keys)
    fitted, rest = _split(train, shots, seed, hold=validation is None)
    x, y = train.features.double(), torch.from_numpy(labels)
    held = x[rest], y[rest]
    if validation is not None:
        held = validation.features.double(), torch.from_numpy(_numbered(validation, keys))
    strength = _best_strength((x[fitted], y[fitted]), held, len(keys)) if len(held[1]) else 1.0
    x, y = x[fitted], y[fitted]
    if shots is None:
        x, y = torch.cat([x, held[0]]), torch.cat([y, held[1]])
    weights, bias = fit_logistic(x, y, len(keys), strength)
    return Probe(keys=keys, weights=weights, bias=bias, strength=strength, trained=len(y), validated=len(held[1]))


def fit_logistic(
    features: "torch.Tensor", labels: "torch.Tensor", classes: int, strength: float, start: "torch.Tensor | None" = None
) -> "tuple[torch.Tensor, torch.Tensor]":
    """Weights (classes, d) and bias (classes,) of multinomial logistic regression by full-batch L-BFGS in 64 bits.

    The minimum of strength x (sum of cross-entropies) and half of the squared length of the weights, the bias without a
    penalty. `start` (classes, d + 1) is where the search begins.
    """
    import torch
    from scipy.optimize import minimize

    n, width = features.shape
    inputs = torch.cat([features.double(), torch.ones(n, 1, dtype=torch.float64, device=features.device)], dim=1)
    target = torch.nn.functional.one_hot(labels, classes).double()
    scale = 1 / (strength * n)

    def cost(flat: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        both = torch.from_numpy(flat).to(inputs.device).reshape(classes, width + 1)
        logits = inputs @ both.T
        penalty = torch.cat([both[:, :-1], torch.zeros_like(both[:, -1:])], dim=1)
        loss = (logits.logsumexp(dim=1) - (logits * target).sum(dim=1)).mean() + scale * (penalty**2).sum() / 2
        slope = (logits.softmax(dim=1) - target).T @ inputs / n + scale * penalty
        return float(loss), slope.flatten().cpu().numpy()

    begin = torch.zeros(classes, width + 1, dtype=torch.float64) if start is None else start
    options = {"maxiter": _ITERATIONS, "gtol": 1e-7, "ftol": 1e-12}
    found = minimize(cost, begin.flatten().numpy(), jac=True, method="L-BFGS-B", options=options)
    both = torch.from_numpy(found.x).reshape(classes, width + 1)
    return both[:, :-1], both[:, -1]


def _best_strength(
    train: "tuple[torch.Tensor, torch.Tensor]", held: "tuple[torch.Tensor, torch.Tensor]", classes: int
) -> float:
    """The strength with the best accuracy on what is held out, of equals the smallest; each fitted once, from the
    nearest before it."""
    import torch

    found: dict[int, tuple[float, torch.Tensor]] = {}
    places, span = [*range(0, len(STRENGTHS), _COARSE)], _COARSE
    while True:
        for place in (one for one in places if one not in found and 0 <= one < len(STRENGTHS)):
            near = min(found, key=lambda one: abs(one - place), default=None)
            start = None if near is None else found[near][1]
            weights, bias = fit_logistic(*train, classes, STRENGTHS[place], start)
            right = ((held[0] @ weights.T + bias).argmax(dim=1) == held[1]).double().mean()
            found[place] = float(right), torch.cat([weights, bias[:, None]], dim=1)
        peak = max(sorted(found), key=lambda place: found[place][0])
        if span == 1:
            return STRENGTHS[peak]
        span //= 2
        places = [peak - span, peak + span]


def _split(train: LabelledFeatures, shots: int | None, seed: int, *, hold: bool) -> tuple[list[int], list[int]]:
    """The rows to fit on and those that choose the penalty, of each class in an order by hash."""
    rows: dict[str, dict[str, int]] = {}
    for row, (name, label) in enumerate(zip(train.ids, train.labels, strict=True)):
        rows.setdefault(label, {})[name] = row
    fitted: list[int] = []
    held: list[int] = []
    for label, of in rows.items():
        order = [of[name] for name in shuffled(of, seed)]
        if shots is not None and not 1 <= shots <= len(order):
            raise SurefootError(f"shots is {shots}, and of the class {label} there are {len(order)} pictures.")
        aside = 0 if not hold else shots or max(1, len(order) // _HELD)
        first = shots or max(1, len(order) - aside)
        fitted += order[:first]
        held += order[first : first + aside]
    return sorted(fitted), sorted(held)


def _numbered(features: LabelledFeatures, keys: Sequence[str]) -> Labels:
    number = {key: place for place, key in enumerate(keys)}
    if unknown := next((label for label in features.labels if label not in number), None):
        raise SurefootError(f"No picture of the class {unknown} was trained on: a probe cannot answer it.")
    return np.array([number[label] for label in features.labels], np.int64)
