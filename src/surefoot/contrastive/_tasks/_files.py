"""Zero-shot classification of pictures where they lie, by one or several models in one pass."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from surefoot.contrastive._models._artifact import LoadedModel
from surefoot.contrastive._models._embed import EmbeddedFiles, Known, class_head, cut_said, embed_files
from surefoot.contrastive._pictures._folder import read_labelled
from surefoot.contrastive._pictures._listing import Listing
from surefoot.contrastive._tasks._zero_shot import Classified, check_templates, scale_of
from surefoot.core import SurefootError

_NAMED = 5
Refused = dict[str, str]


@dataclass(frozen=True, kw_only=True)
class PromptedModel:
    """A model and the templates of its prompts; `casing` changes how names of classes and captions are written."""

    loaded: LoadedModel
    templates: tuple[str, ...]
    casing: Callable[[str], str] = str


@dataclass(frozen=True, kw_only=True)
class NamedPictures:
    """What each model made of the pictures: the results, the columns of `examples.parquet`, and what should be said.

    `refused` are the pictures that cannot be decoded (`{name, label, reason}`), `unread` files that are no pictures,
    `classes` those among which each was named.
    """

    results: tuple[Classified, ...]
    columns: tuple[dict[str, Any], ...]
    refused: tuple[Refused, ...]
    unread: tuple[str, ...]
    notes: tuple[str, ...]
    classes: tuple[str, ...]


def name_pictures(
    models: Sequence[PromptedModel],
    pictures: Path,
    classes: Path | None = None,
    *,
    count_refused: bool = False,
    batch: int = 64,
    workers: int | None = None,
    known: Known | None = None,
) -> NamedPictures:
    """Name the pictures of a folder or of WebDataset shards by the names of their classes, each decoded once.

    `classes` as in `ImageFolder`, `known` as in `embed_files`. Pictures that cannot be decoded are left out, or with
    `count_refused` counted as wrong. Raises `SurefootError` when none can be decoded, and where it is unclear which
    class a picture has.
    """
    for model in models:
        check_templates(model.templates)
    listing, labels = read_labelled(pictures, classes)
    heads = [
        class_head(model.loaded, [model.casing(name) for name in labels.names.values()], model.templates)
        for model in models
    ]
    stored = [item.stored for item in listing.pictures]
    found = embed_files([one.loaded for one in models], stored, batch=batch, workers=workers, known=known)
    refused = tuple(
        {"name": listing.pictures[row].name, "label": labels.keys[row], "reason": reason}
        for row, reason in found.refused.items()
    )
    if not found.rows:
        raise SurefootError(f"No picture in {pictures} can be decoded. The first: {refused[0]['reason']}.")
    rows, n = [*found.rows, *(found.refused if count_refused else ())], len(found.rows)
    keys = tuple(labels.names)
    number = {key: index for index, key in enumerate(keys)}
    truth = np.array([number[labels.keys[row]] for row in rows], np.int64)
    results = tuple(
        Classified.of(embedded, head.embeddings, truth[:n], scale_of(model.loaded)).with_wrong(truth[n:])
        for model, head, embedded in zip(models, heads, found.embeddings, strict=True)
    )
    names = [listing.pictures[row].name for row in rows]
    beside = {"content": [*found.contents, *[""] * (len(rows) - n)], "task": ["zero-shot"] * len(rows)}
    ends = {0, len(models) - 1}  # others differ in the preparation
    cut = (said for place in sorted(ends) for said in cut_said(models[place].loaded, heads[place].prompts))
    told = (
        *_repeated_said(found, listing, labels.keys),
        _refused_said(refused, len(stored), count_refused),
        listing.unread_said,
        listing.repeated_said,
        *labels.notes,
        *dict.fromkeys(cut),
        *_alike_said((places for head in heads for places in head.alike), keys),
    )
    return NamedPictures(
        results=results,
        columns=tuple(one.columns(names, keys) | beside for one in results),
        refused=refused,
        unread=listing.unread,
        notes=tuple(one for one in told if one),
        classes=keys,
    )


def _repeated_said(found: EmbeddedFiles, listing: Listing, keys: Sequence[str]) -> Iterator[str]:
    classes: dict[str, dict[str, str]] = {}
    for row, content in zip(found.rows, found.contents, strict=True):
        classes.setdefault(content, {}).setdefault(keys[row], listing.pictures[row].name)
    torn = [[*names.values()] for names in classes.values() if len(names) > 1]
    if torn:
        yield f"Pictures that stand in several classes: {len(torn)}, such as {' and '.join(torn[0])}."
    if copies := len(found.rows) - sum(map(len, classes.values())):
        yield f"Copies of other pictures of their class: {copies}. Each counts, so that the intervals are too narrow."


def _alike_said(alike: Iterable[tuple[int, ...]], keys: Sequence[str]) -> Iterator[str]:
    for places in dict.fromkeys(alike):
        names = ", ".join(keys[place] for place in places)
        yield f"The prompts of these classes are the same, so that none of their pictures counts as right: {names}."


def _refused_said(refused: Sequence[Refused], pictures: int, count: bool) -> str:
    if not refused:
        return ""
    some = "; ".join(f"{one['name']}: {one['reason']}" for one in refused[:_NAMED])
    more = "; ..." if len(refused) > _NAMED else ""
    told = "counted as wrong" if count else "left out"
    return f"{len(refused)} of {pictures} pictures cannot be decoded and are {told} ({some}{more})."
