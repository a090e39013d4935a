"""Pictures with captions to train on: of trained concepts only."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

from surefoot.contrastive._drawn._concepts import Emoji, captions, names_and_keywords, read_class_words, read_emoji
from surefoot.contrastive._drawn._drawings import Drawings
from surefoot.contrastive._drawn._split import held_out_concepts
from surefoot.contrastive._drawn._styles import EMOJIBASE
from surefoot.contrastive._pictures._directory import (
    Item,
    Row,
    copy_images,
    read_credit,
    read_items,
    write_captions,
    write_items,
)
from surefoot.core import Inputs, Measurement, Step, SurefootError
from surefoot.registry import fetch
from surefoot.stats import shuffled


@dataclass(frozen=True, kw_only=True)
class TrainingPairs(Step):
    """Pictures of trained concepts in one or more styles, with alternative captions for each.

    `drawings` are the sources; `held_out` concepts (and all their variants) are left out, by the split of `split_seed`,
    which is the same for all styles. `concepts` "trained" takes all others, "shared" only those pictures whose concept
    every source draws, and "held-out" those that were left out, for retrieval: each with its name, and its keywords, in
    the language. `variants` False leaves out the near duplicates (skin tones, genders). `limit` is the number of
    pictures in all: an equal share of each source, taken at random by `seed`; a larger limit of one seed contains a
    smaller one. `locale` is the language of the captions. Files:
    - `images.npy`: (N, size, size, 3) uint8;
    - `captions.json`: N lists of captions;
    - `items.json`: N objects as in `Drawings`; `credit.json`: whose pictures they are.
    Measures `pictures` and `concepts`. Raises `SurefootError` when a source has fewer pictures than its share.
    """

    drawings: tuple[Drawings, ...]
    concepts: Literal["trained", "shared", "held-out"] = "trained"
    held_out: int = 320
    split_seed: int = 0
    locale: str = "en"
    variants: bool = True
    limit: int | None = None
    seed: int = 0
    requires: ClassVar[tuple[str, ...]] = ("PIL", "resvg_py")

    def make(self, out: Path, inputs: Inputs) -> Iterable[Measurement]:
        """Choose, caption, and copy the pictures together."""
        if not self.drawings or len({source.size for source in self.drawings}) != 1:
            raise SurefootError("TrainingPairs needs at least one source, and all of one size.")
        package = fetch(EMOJIBASE)
        emoji, words = read_emoji(package, self.locale), read_class_words(package, self.locale)
        held_out = held_out_concepts(emoji, self.held_out, self.split_seed)
        sources = [read_items(inputs[source]) for source in self.drawings]
        rows = _share(_allowed(self, sources, emoji, held_out), sources, self)
        items = [sources[source][index] for source, index in rows]
        copy_images([inputs[source] for source in self.drawings], rows, out)
        of = names_and_keywords if self.concepts == "held-out" else lambda one: captions(one, words)
        write_captions(out, [of(emoji[item["hexcode"]]) for item in items])
        write_items(out, items, [row for source in self.drawings for row in read_credit(inputs[source])])
        counts = {"pictures": len(items), "concepts": len({item["concept"] for item in items})}
        return [Measurement(metric=name, value=count, n=len(items)) for name, count in counts.items()]


def _allowed(
    step: TrainingPairs, sources: list[list[Item]], emoji: dict[str, Emoji], held_out: frozenset[str]
) -> list[list[int]]:
    drawn = [{item["concept"] for item in items} for items in sources]
    common = set.intersection(*drawn) if step.concepts == "shared" else set().union(*drawn)
    usable = (common & held_out if step.concepts == "held-out" else common - held_out) - {""}
    return [
        [
            index
            for index, item in enumerate(items)
            if item["hexcode"] in emoji and item["concept"] in usable and (step.variants or not item["variant"])
        ]
        for items in sources
    ]


def _share(allowed: list[list[int]], sources: list[list[Item]], step: TrainingPairs) -> list[Row]:
    """The same number of pictures of each source when there is a limit, in the order of the sources."""
    rows: list[Row] = []
    for source, indices in enumerate(allowed):
        name = step.drawings[source].style
        chosen = indices if step.limit is None else _taken(indices, sources[source], name, source, step)
        rows.extend((source, index) for index in chosen)
    if not rows:
        raise SurefootError("No picture is left to train on: raise limit, or lower held_out.")
    return rows


def _taken(indices: list[int], items: list[Item], name: str, source: int, step: TrainingPairs) -> list[int]:
    limit, sources = step.limit or 0, len(step.drawings)
    share = limit // sources + (source < limit % sources)
    if share > len(indices):
        raise SurefootError(
            f"limit is {limit}, so each of {sources} sources must give {share} pictures, but {name} has "
            f"{len(indices)} to train on. The most that can be asked for is {sources * len(indices)}."
        )
    by_id = {f"{name}:{items[index]['hexcode']}": index for index in indices}
    return sorted(by_id[key] for key in shuffled(by_id, step.seed)[:share])
