"""What is known of public evaluation sets by their names: how many examples, and whether on a subset of classes."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class KnownSet:
    """An evaluation set: a part of its name, its number of examples, and its classes if fewer than the x axis has."""

    name: str
    examples: int | None = None
    classes: int | None = None


# The first that fits decides, so that the subset of a set stands before the set.
KNOWN_SETS = (
    KnownSet(name="on-imagenet-a-classes", examples=200 * 50),
    KnownSet(name="on-imagenet-r-classes", examples=200 * 50),
    KnownSet(name="on-objectnet-classes", examples=113 * 50),
    KnownSet(name="imagenet-a", examples=7_500, classes=200),
    KnownSet(name="imagenet-r", examples=30_000, classes=200),
    KnownSet(name="imagenet-o", examples=2_000, classes=200),
    KnownSet(name="objectnet", examples=18_574, classes=113),
    KnownSet(name="vid-robust", classes=30),
    KnownSet(name="ytbb-robust", classes=24),
    KnownSet(name="imagenet-sketch", examples=50_889),
    KnownSet(name="imagenet-v2", examples=10_000),
    KnownSet(name="imagenetv2", examples=10_000),
)
IMAGENET_VALIDATION = re.compile(r"^(imagenet(-?1k)?(-val)?|ilsvrc(-?2012)?(-val)?|in-?1k)$")
NO_ACCURACY = re.compile(
    r"^(\d*-?(n|num|number|total|max|min|log|log10)-)?(m?params?|parameters?|size|model-size|[gt]?flops?|g?macs?|compute|"
    r"gmacs-total|layers?|depth|width|heads|dim|embed-dim|image-size|resolution|patch-size|epochs?|steps?|iterations?|"
    r"tokens?|samples?|samples-seen|examples|images|data|dataset-size|batch|batch-size|bs|lr|learning-rate|wd|"
    r"weight-decay|warmup|dropout|temperature|seeds?|runs?|replicates?|folds?|rank|index|idx|id|row|year|month|day|date|"
    r"time|seconds|hours|gpus?|k|shots|fewshot-k|loss|val-loss|train-loss|perplexity|ppl|stderr|std|se)"
    r"(-(m|b|k|millions?|billions?|seen|total|count))?$"
)
"""Names, as `normal_name` writes them, of columns that hold no accuracy, whatever their values."""


def normal_name(name: str) -> str:
    """A name in lower case, with hyphens for all that is not a letter or digit."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")


def known_set(name: str, beside: Sequence[str] = ()) -> KnownSet | None:
    """The known evaluation set that a column name means, or None; `val` means ImageNet beside a set made from it."""
    normal = normal_name(name)
    of_imagenet = normal == "val" and any(known_set(other) for other in beside)
    if of_imagenet or IMAGENET_VALIDATION.match(normal):
        return KnownSet(name="imagenet", examples=50_000)
    if "subsampled-class" in normal:
        return None
    return next((known for known in KNOWN_SETS if re.search(rf"(^|-){known.name}(-|$)", normal)), None)


def is_no_accuracy(name: str) -> bool:
    """Whether a column is of something else (parameters, year, epoch), by its name."""
    return bool(NO_ACCURACY.match(normal_name(re.sub(r"(?<=[a-z])(?=[A-Z])", "-", name))))


def is_matched_axis(name: str) -> bool:
    """Whether a column is an x axis restricted to the classes of a shift, by its name (`val-on-objectnet-classes`)."""
    normal = normal_name(name)
    return bool(re.search(r"-on-.+-classes$", normal)) or "subsampled-class" in normal


def matched_axis(shift: str, columns: Sequence[str]) -> str | None:
    """The column that holds the x axis on the classes of `shift`, or None."""
    known = known_set(shift)
    if known is None or known.classes is None:
        return None
    ending = f"-on-{known.name}-classes"
    return next((name for name in columns if normal_name(name).endswith(ending)), None)
