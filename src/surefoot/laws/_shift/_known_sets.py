"""What is known of public evaluation sets by their names: how many examples, and whether on a subset of classes."""

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
_QUANTITIES = """n k nr id idx index row rank seed fold run replicate param parameter mparam size flop gflop tflop mac
gmac compute layer depth width head dim resolution patch epoch step iteration iter update token sample shot example
image pixel data batch bs lr wd decay warmup dropout temperature year month day date time runtime walltime duration
latency throughput fps speed second minute hour gpu cpu tpu memory ram vram disk cost price usd energy power kwh watt
co2 emission loss perplexity ppl nll bpb ece stderr std sd se sem ci ci95 variance iqr pvalue"""
_MEASURES = """num number total max min mean log log10 log2 model dataset train training val test eval inference embed
fewshot seen learning rate weight peak used count per of m b g t s h ms us kb mb gb tb million billion"""
_ERRORS = "stderr std ci ci95 loss nll ppl latency runtime"
_BOUNDS = "se sd sem err error var n low lower lo high upper hi half width count"
_MISTAKES = {"error", "errors", "err", "wer", "cer"}
_UNNAMED = re.compile(r"(unnamed(-\d+)?|column-?\d*|index-level-\d+|x)?")


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


def no_accuracy(name: str, beside: Sequence[str] = ()) -> str:
    """What a column holds in place of accuracies, by its name and those beside it; '' where the name does not tell."""
    plain, quantities, errors = normal_name(name), set(_QUANTITIES.split()), set(_ERRORS.split())
    every = quantities | set(_MEASURES.split())
    if _UNNAMED.fullmatch(plain):
        return "no name says what they hold"
    for spelling in (plain, normal_name(re.sub(r"(?<=[a-z])(?=[A-Z])", "-", name))):
        words = spelling.split("-")
        known = {one if one in every else one.removesuffix("s") for one in words}
        if (known <= every and known & quantities) or {words[0], words[-1]} & errors:
            return "no accuracies by their names"
    endings = [
        plain.removeprefix(f"{one}-").split("-") for one in map(normal_name, beside) if plain.startswith(f"{one}-")
    ]
    bounds = any(set(words) <= errors | set(_BOUNDS.split()) for words in endings)
    return "errors, bounds or sizes of another column by their names" if bounds else ""


def is_error(name: str) -> bool:
    """Whether a column holds errors, by a word of its name: less is better there."""
    return bool(_MISTAKES & set(normal_name(name).split("-")))


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
