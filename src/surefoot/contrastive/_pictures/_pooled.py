"""PooledPairs: the image-text pairs of several Steps together, or so many of them at random."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from surefoot.contrastive._pictures import _directory as kept
from surefoot.core import Inputs, Measurement, Step, SurefootError
from surefoot.stats import shuffled


@dataclass(frozen=True, kw_only=True)
class PooledPairs(Step):
    """`limit` of the pairs of several sources together, drawn by `seed`: a larger limit holds a smaller one.

    `sources` are Steps that leave pictures with captions of one size, such as `TrainingPairs` and `IconPairs`.
    Pictures of the sets `without` (by style and name) are left out: what is tested on. Files as in `TrainingPairs`.
    Measures `pictures`. Raises `SurefootError` where there are fewer than the limit.
    """

    sources: tuple[Step, ...]
    limit: int | None = None
    without: tuple[Step, ...] = ()
    seed: int = 0

    def make(self, out: Path, inputs: Inputs) -> Iterable[Measurement]:
        """Choose, and copy the pictures together."""
        aside = {_name(item) for step in self.without for item in kept.read_items(inputs[step])}
        items = [kept.read_items(inputs[source]) for source in self.sources]
        rows = {
            _name(item): (source, row)
            for source, of in enumerate(items)
            for row, item in enumerate(of)
            if _name(item) not in aside
        }
        if not rows or (self.limit or 0) > len(rows):
            raise SurefootError(f"limit is {self.limit}: the sources have {len(rows)} pairs to draw from.")
        chosen = sorted(rows[name] for name in shuffled(rows, self.seed)[: self.limit])
        kept.copy_images([inputs[source] for source in self.sources], chosen, out)
        captions = [kept.read_captions(inputs[source]) for source in self.sources]
        kept.write_captions(out, [captions[source][row] for source, row in chosen])
        credit = [row for source in self.sources for row in kept.read_credit(inputs[source])]
        kept.write_items(out, [items[source][row] for source, row in chosen], credit)
        return [Measurement(metric="pictures", value=len(chosen), n=len(rows))]


def _name(item: dict[str, str]) -> str:
    return f"{item.get('style', '')}:{item['name']}"
