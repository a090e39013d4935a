"""ZeroShot: naming pictures by comparing them with the names of classes."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from surefoot.contrastive._models._artifact import LoadedModel, load_model
from surefoot.contrastive._models._cost import picture_cost
from surefoot.contrastive._models._embed import class_head
from surefoot.contrastive._pictures._directory import read_classes
from surefoot.contrastive._tasks._features import PictureFeatures, embed_pictures, read_features
from surefoot.core import Inputs, Measurement, Step, SurefootError
from surefoot.examples import write_examples
from surefoot.stats import binomial_stderr, error_of_bounds, mean_of_shares, wilson

if TYPE_CHECKING:
    import torch

TEMPLATES = ("{}",)


@dataclass(frozen=True, kw_only=True)
class ZeroShot(Step):
    """Zero-shot classification of a model on a classification set, with prompt ensembling as in CLIP.

    `model` is a Step that gives a model artifact; `data` one whose directory holds `images.npy` (n, height, width, 3)
    uint8 (or `files.json`, as an `ImageFolder` keeps), `labels.npy` (n) int, `classes.json` (names) and `ids.json` (n
    names of the examples). Each template has `{}` for the name of the class.
    `features`, where given, are those of this model and these pictures, which are then not embedded again.
    `task` and `shift` are written into the measurements. Writes `examples.parquet`: example,
    label, prediction, score (1 where the first guess is right), rank of the label (from 1), probability of the
    prediction. Measures `top1`, `top5` and `mean_per_class_recall`, see `classification_measurements`.
    """

    model: Step
    data: Step
    templates: tuple[str, ...] = TEMPLATES
    task: str = "zero-shot"
    shift: str = ""
    features: PictureFeatures | None = None
    requires: ClassVar[tuple[str, ...]] = ("torch", "open_clip", "safetensors")

    @cached_property
    def cost(self) -> float:
        """As of every Step, times what a picture takes in its model."""
        return super().cost * picture_cost(self.model)

    def make(self, out: Path, inputs: Inputs) -> Iterable[Measurement]:
        """Embed, compare, and write what came out for every example."""
        check_templates(self.templates)
        if self.features and (self.features.model, self.features.data) != (self.model, self.data):
            raise SurefootError("The features of ZeroShot are of another model or other pictures.")
        images = read_features(inputs[self.features]) if self.features else None
        scores, columns = classify(load_model(inputs[self.model]), inputs[self.data], self.templates, images)
        write_examples(out, columns, {"classes": read_classes(inputs[self.data]).keys, "prompts": self.templates})
        return classification_measurements(scores, task=self.task, shift=self.shift)


def classify(
    loaded: LoadedModel, data: Path, templates: Sequence[str], images: "torch.Tensor | None" = None
) -> "tuple[Classified, dict[str, Any]]":
    """Name the pictures of a classification set's directory; also gives the columns of `examples.parquet`.

    `images` are their embeddings (n, d), where there are any yet.
    """
    classes = read_classes(data)
    head = class_head(loaded, classes.names, templates).embeddings
    found = embed_pictures(loaded, data) if images is None else images
    result = Classified.of(found, head, classes.labels, scale_of(loaded))
    return result, result.columns(classes.ids, classes.keys)


def scale_of(loaded: LoadedModel) -> float:
    """What a model multiplies cosines by. Raises where it is 0 or infinite: all classes would be tied."""
    log_scale = loaded.model.logit_scale.detach().float()
    scale = float(log_scale.exp())
    if not 0 < scale < float("inf"):
        raise SurefootError(f"The logit_scale of {loaded.name} is {float(log_scale):g}, and its exponential {scale:g}.")
    return scale


@dataclass(frozen=True, kw_only=True)
class Classified:
    """How each of n examples was classified: labels and predictions are class numbers, ranks count from 1.
    `classes` is how many there are to choose from.

    `probability` is that of the prediction, by the softmax over the classes at the model's own temperature.
    """

    labels: NDArray[np.int64]
    predictions: NDArray[np.int64]
    ranks: NDArray[np.int64]
    probability: NDArray[np.float64]
    classes: int

    @staticmethod
    def of(images: "torch.Tensor", head: "torch.Tensor", labels: NDArray[np.int64], scale: float) -> "Classified":
        """Compare unit embeddings of pictures (n, d) with those of classes (k, d). Ties count against the model."""
        if not (images.isfinite().all() and head.isfinite().all()):
            raise SurefootError("The model gives embeddings that are not finite.")
        return Classified.of_logits(scale * images.double() @ head.double().T, labels)

    @staticmethod
    def of_logits(logits: "torch.Tensor", labels: NDArray[np.int64]) -> "Classified":
        """The largest of the logits (n, k) of each example is the answer; ties count against the model."""
        import torch

        truth = torch.as_tensor(labels, dtype=torch.long)
        own = logits.gather(1, truth[:, None])
        ranks = (logits >= own).sum(dim=1)
        probability, predictions = logits.softmax(dim=1).max(dim=1)
        return Classified(
            labels=truth.numpy(),
            predictions=predictions.numpy(),
            ranks=ranks.numpy(),
            probability=probability.numpy(),
            classes=logits.shape[1],
        )

    def with_wrong(self, labels: NDArray[np.int64]) -> "Classified":
        """With more examples, to which no class was answered (prediction -1, the last rank)."""
        more = len(labels)
        return Classified(
            labels=np.concatenate([self.labels, labels]),
            predictions=np.concatenate([self.predictions, np.full(more, -1)]),
            ranks=np.concatenate([self.ranks, np.full(more, max(self.classes, 6))]),
            probability=np.concatenate([self.probability, np.zeros(more)]),
            classes=self.classes,
        )

    def columns(self, names: Sequence[str], classes: Sequence[str]) -> dict[str, Any]:
        """The columns of `examples.parquet`."""
        return {
            "example": list(names),
            "label": [classes[label] for label in self.labels],
            "prediction": [classes[prediction] if prediction >= 0 else "" for prediction in self.predictions],
            "score": (self.ranks == 1).astype(np.float64),
            "rank": self.ranks.astype(np.int32),
            "probability": self.probability,
        }


def classification_measurements(scores: Classified, *, task: str, shift: str) -> list[Measurement]:
    """`top1` and `top5` with Wilson's interval, `mean_per_class_recall` with that of `mean_of_shares`.

    `top5` is left out where there are five classes or fewer. The recall is the mean over the classes that occur. All
    are fractions from 0 to 1, their intervals 95 percent.
    """
    shares = {"top1": scores.ranks == 1} | ({"top5": scores.ranks <= 5} if scores.classes > 5 else {})
    measurements = [_share(name, hits, task, shift) for name, hits in shares.items()]
    return [*measurements, _recall(scores, task, shift)]


def check_templates(templates: Sequence[str]) -> None:
    """Raise `SurefootError` where a template has no place for the name of the class."""
    if not templates:
        raise SurefootError("There must be at least one template, such as '{}'.")
    for template in templates:
        if "{}" not in template:
            raise SurefootError(f"The template '{template}' has no {{}} for the name of the class.")


def _share(metric: str, hits: NDArray[np.bool_], task: str, shift: str) -> Measurement:
    n, share = len(hits), float(hits.mean())
    bounds = wilson(float(hits.sum()), n)
    stderr = float(binomial_stderr(share, n))
    return Measurement(
        metric=metric, value=share, n=n, stderr=stderr, low=bounds.low, high=bounds.high, task=task, shift=shift
    )


def _recall(scores: Classified, task: str, shift: str) -> Measurement:
    """Mean over the classes that occur of the recall, an interval as wide as a class of few pictures leaves it."""
    _, member = np.unique(scores.labels, return_inverse=True)
    size, hits = np.bincount(member), np.bincount(member, weights=scores.ranks == 1)
    found = mean_of_shares(hits, size)
    return Measurement(
        metric="mean_per_class_recall",
        value=found.estimate,
        n=len(member),
        stderr=error_of_bounds(found.low, found.high, level=found.level),
        low=found.low,
        high=found.high,
        task=task,
        shift=shift,
    )
