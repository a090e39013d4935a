"""The sources, the models of each and of their mixtures, and the two-way accuracy that they are compared by."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property
from itertools import product
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from surefoot.contrastive import (
    CaptionedPictures,
    ClassificationSet,
    Drawings,
    ImageFolder,
    LoadedModel,
    MixedPairs,
    Pretrain,
    TrainingPairs,
    WeightEdit,
    class_head,
    embed_images,
    load_model,
)
from surefoot.core import Inputs, Measurement, Step
from surefoot.examples import write_examples
from surefoot.laws import MixtureFit
from surefoot.registry import read_json
from surefoot.stats import mean_t
from surefoot.studies.pairs import DrawnThings, Photographs

PHOTOS, DRAWN = "photographs", "drawings of the same things"
STYLES_SEEN = ("noto", "noto-v1", "twemoji", "openmoji", "fluent-emoji-flat", "fluent-emoji-high-contrast")
SOURCES = (*STYLES_SEEN, PHOTOS)
REFERENCE, *_SHIFTS = UNSEEN = ("emojione", "emojione-monotone", "emojione-v1", "fxemoji")
SHIFTS = tuple(_SHIFTS)
"""Styles that no model was trained on: accuracy in the shifts is set against that in the reference."""

JUDGES = ("twemoji", "fluent-emoji-high-contrast")
"""Whose models filter a pool of the two: one draws in colour, as most do, the other in black alone."""

RATIOS = (0.25, 0.5, 0.75)
CHANCE = 0.5
METRIC = "two_way"
HELD_OUT_SEEDS = 1000  # and above: those of the mixtures that are held out
_TIE = 1e-9  # between logits: classes of the same words
_ALL_THINGS = 993  # of the classes: styles are held out, not things


@dataclass(frozen=True, kw_only=True)
class TwoWay(Step):
    """How often models name the right one of two classes, the other drawn at random: chance is one half.

    Over pictures the mean share of the other classes that get a lower logit than the right one. A tie counts half: a
    model that never read the words of two classes is at chance. Of several `models` the logits are averaged (output
    mixing). `tests` are classification sets, each with
    its shift. Writes `examples.parquet` (example as `shift:id`, score), measures `two_way` under each shift.
    """

    models: tuple[Step, ...]
    tests: tuple[Step, ...]
    shifts: tuple[str, ...]
    template: str = "a photo of a {}"
    requires: ClassVar[tuple[str, ...]] = ("torch", "open_clip", "safetensors")

    def make(self, out: Path, inputs: Inputs) -> Iterable[Measurement]:
        """Name the pictures of every test."""
        loaded = [load_model(inputs[model]) for model in self.models]
        examples: dict[str, list[object]] = {"example": [], "score": []}
        for test, shift in zip(self.tests, self.shifts, strict=True):
            scores = two_way_scores(loaded, inputs[test], self.template)
            examples["example"] += [f"{shift}:{name}" for name in read_json(inputs[test] / "ids.json")]
            examples["score"] += scores.tolist()
            found = mean_t(scores)
            yield Measurement(metric=METRIC, value=found.estimate, low=found.low, high=found.high, n=len(scores),
                              shift=shift)  # fmt: skip
        write_examples(out, examples)


def two_way_scores(loaded: Sequence[LoadedModel], data: Path, template: str) -> NDArray[np.float64]:
    """Of each picture of a classification set the share of other classes below the right one, by the mean logits."""
    import torch

    pictures, names = np.load(data / "images.npy", mmap_mode="r"), read_json(data / "classes.json")
    labels = torch.as_tensor(np.load(data / "labels.npy"))[:, None]
    logits = torch.zeros(len(pictures), len(names), dtype=torch.float64)
    for one in loaded:
        head = class_head(one, names, (template,)).embeddings.double()
        scale = float(one.model.logit_scale.detach().exp()) / len(loaded)
        logits += scale * embed_images(one, pictures).double() @ head.T
    over = logits.gather(1, labels) - logits
    tied = over.abs() < _TIE
    below = ((over > 0) & ~tied).sum(dim=1) + (tied.sum(dim=1) - 1) / 2
    return (below / (len(names) - 1)).double().numpy()


@dataclass(frozen=True)
class Mix:
    """What a model is trained on: shares of the sources, how many pairs, a seed; a judge's model keeps a share."""

    shares: tuple[float, ...]
    size: int
    seed: int
    judge: str = ""
    kept: float = 1.0

    @property
    def counts(self) -> tuple[int, ...]:
        """How many pairs of each source: whole numbers that add up to the size before anything is kept."""
        ends = np.rint(np.cumsum(self.shares) / sum(self.shares) * self.size).astype(int)
        return tuple(np.diff(ends, prepend=0).tolist())


@cache
def only(*sources: str) -> tuple[float, ...]:
    """Equal shares of these sources, and none of the others."""
    return tuple(float(name in sources) / len(sources) for name in SOURCES)


def between(first: str, second: str, share: float) -> tuple[float, ...]:
    """A share of the first source, the rest of the second."""
    return tuple(share * a + (1 - share) * b for a, b in zip(only(first), only(second), strict=True))


Draw = tuple[tuple[str | float, ...], int]
"""What is trained, and its seed."""


def _keys(tests: Iterable[Step]) -> tuple[str, ...]:
    return tuple(test.key for test in tests)


@dataclass(frozen=True, kw_only=True, eq=False)
class Plan:
    """The grid of the study: the mixtures by purpose, and the Steps of each."""

    seeds: tuple[int, ...]
    sizes: tuple[int, ...]
    pairs: int
    held_out: int
    model: str
    samples: int
    photos: tuple[Photographs, Photographs]
    drawn_at: int = 48

    @cached_property
    def pool(self) -> Mapping[str, Step]:
        """All pairs of each source."""
        styles = {name: TrainingPairs(drawings=(drawn,), variants=False, held_out=0)
                  for name, drawn in self.drawings(STYLES_SEEN).items()}  # fmt: skip
        return {**styles, PHOTOS: CaptionedPictures(pairs=self.photos[0], size=self.drawn_at)}

    def drawings(self, styles: Iterable[str]) -> dict[str, Drawings]:
        """The drawings of these styles, by their names."""
        return {name: Drawings(style=name, size=self.drawn_at) for name in styles}

    @cached_property
    def couples(self) -> list[tuple[str, str]]:
        """Pairs of sources, each style in two of them or three; the last joins the photographs."""
        return [*zip(STYLES_SEEN, (*STYLES_SEEN[2:], *STYLES_SEEN[:2]), strict=True), (STYLES_SEEN[0], PHOTOS)]

    @cached_property
    def known(self) -> list[Mix]:
        """The single sources at every size, pairs at every ratio, and all together: what the laws are fitted on."""
        alone = [(share, size) for share, size in product((*map(only, SOURCES), only(*SOURCES)), self.sizes)]
        pairs = [(between(*couple, ratio), self.pairs) for couple, ratio in product(self.couples, RATIOS)]
        return [Mix(*each, seed) for seed, each in product(self.seeds, (*alone, *pairs))]

    @cached_property
    def filtered(self) -> list[Mix]:
        """What each judge keeps of a pool of both judges' sources, at all sizes but the least, and as many at random.

        The pool has as many pairs of each source as the largest size.
        """
        shares = between(*JUDGES, 0.5)
        most = max(self.sizes)
        kept = [(2 * most, judge, size / 2 / most) for size, judge in product(self.sizes[1:], JUDGES)]
        every = product(self.seeds, (*kept, *((size, "", 1.0) for size in self.sizes[1:])))
        return [Mix(shares, size, seed, judge, share) for seed, (size, judge, share) in every]

    @cached_property
    def mixtures(self) -> list[Mix]:
        """Mixtures of two to all sources at any size, drawn once; they are predicted before they are trained."""
        generator, found = np.random.default_rng(2208_05516), list[Mix]()
        for number in range(self.held_out):
            chosen = generator.permutation(len(SOURCES))[: generator.integers(2, len(SOURCES) + 1)]
            shares = np.zeros(len(SOURCES))
            shares[chosen] = generator.dirichlet(np.ones(len(chosen)))
            size = round(float(np.exp(generator.uniform(*np.log([self.sizes[1], self.sizes[-1]])))))
            found.append(Mix(tuple(shares.round(3).tolist()), size, HELD_OUT_SEEDS + number))
        return found

    @cached_property
    def forecast(self) -> MixtureFit:
        """The predictions, from what is known."""
        return MixtureFit(
            sources=SOURCES,
            results=tuple(self.tested(mix) for mix in self.known),
            shares=tuple(mix.shares for mix in self.known),
            sizes=tuple(float(mix.size) for mix in self.known),
            asked=tuple(mix.shares for mix in self.mixtures),
            asked_sizes=tuple(float(mix.size) for mix in self.mixtures),
            shifts=UNSEEN,
            metric=METRIC,
            chance=CHANCE,
        )

    @cache  # noqa: B019  (a plan lives as long as its study)
    def trained(self, mix: Mix, start: Pretrain | None = None) -> Pretrain:
        """The model of a mixture; from a `start` it goes on a third as long."""
        judge = self.trained(Mix(only(mix.judge), max(self.sizes), mix.seed)) if mix.judge else None
        after = (self.forecast,) if mix.seed >= HELD_OUT_SEEDS else ()
        there = [(self.pool[name], count) for name, count in zip(SOURCES, mix.counts, strict=True) if count]
        sources, counts = zip(*there, strict=True)
        data = MixedPairs(sources=sources, counts=counts, seed=mix.seed, judge=judge, kept=mix.kept, after=after)
        whole = Pretrain(data=data, model=self.model, samples=self.samples, batch=64, learning_rate=2e-3, seed=mix.seed)
        return replace(whole, samples=self.samples // 3, start=start, decay="cooldown") if start else whole

    @cache  # noqa: B019
    def tested(self, *mixes: Mix) -> TwoWay:
        """The accuracies of the model of a mixture, or of the averaged logits of several."""
        return self._two_way(*map(self.trained, mixes))

    def _two_way(self, *models: Step) -> TwoWay:
        return TwoWay(models=models, tests=tuple(self.tests.values()), shifts=tuple(self.tests))

    @cache  # noqa: B019
    def merged(self, couple: tuple[str, str], seed: int) -> tuple[TwoWay, TwoWay]:
        """The mean of the weights of two models of single sources, and one model of their mixture.

        All go on from one model of all sources together: only models of one beginning can be averaged.
        """
        start = replace(self.trained(Mix(only(*SOURCES), max(self.sizes), seed)), decay="constant")
        alone = tuple(self.trained(Mix(only(name), self.pairs, seed), start) for name in couple)
        mean = WeightEdit(base=start, plus=alone, objective="transfer", target=(self.tests[REFERENCE],), grid=(0.5,),
                          only=("*",))  # fmt: skip
        return self._two_way(mean), self._two_way(self.trained(Mix(between(*couple, 0.5), self.pairs, seed), start))

    def single(self, source: str, size: int, seed: int) -> TwoWay:
        """The accuracies of a model of one source."""
        return self.tested(Mix(only(source), size, seed))

    def together(self, size: int, seed: int) -> TwoWay:
        """Those of a model of all sources in equal shares."""
        return self.tested(Mix(only(*SOURCES), size, seed))

    def mixed(self, couple: tuple[str, str], ratio: float, seed: int) -> TwoWay:
        """Those of a model of two sources, so much of the first; at 0 and 1 that of one source."""
        return self.tested(Mix(between(*couple, ratio), self.pairs, seed))

    def output_mixed(self, couple: tuple[str, str], seed: int) -> TwoWay:
        """Those of two models of single sources, each of half as many pairs as the mixture has."""
        return self.tested(*(Mix(only(name), self.pairs // 2, seed) for name in couple))

    @cached_property
    def draws(self) -> Mapping[Draw, Mapping[str, tuple[str, ...]]]:
        """Of what was drawn with a seed the keys of its tests, each with those of the same test on the other seeds.

        Models of one source and seed, whatever their size, start from the same weights, and their data hold each
        other's: they are one draw. So are a mean of weights and the model of the mixture, which go on from one start.
        """
        found: dict[Draw, dict[str, tuple[str, ...]]] = {}
        for seed, couple in product(self.seeds, self.couples[:-1]):
            others = [[self.output_mixed(couple, one), *self.merged(couple, one)] for one in self.others(seed)]
            output, *merged = zip(*others, strict=True)
            found[("logits", *couple), seed] = {self.output_mixed(couple, seed).key: _keys(output)}
            both = zip(self.merged(couple, seed), merged, strict=True)
            found[("weights", *couple), seed] = {test.key: _keys(same) for test, same in both}
        for mix in (*self.known, *self.filtered):
            same = [self.tested(replace(mix, seed=seed)) for seed in self.others(mix.seed)]
            found.setdefault(((mix.judge, *mix.shares), mix.seed), {})[self.tested(mix).key] = _keys(same)
        return found

    @property
    def of_styles(self) -> list[TwoWay]:
        """All models of single styles."""
        return [self.single(source, size, seed) for source, (seed, size) in product(STYLES_SEEN, self.by_size)]

    @property
    def by_size(self) -> list[tuple[int, int]]:
        """Seeds and sizes: rows that have models of their own."""
        return list(product(self.seeds, self.sizes))

    @property
    def by_couple(self) -> list[tuple[int, tuple[str, str]]]:
        """Seeds and pairs of styles: rows that have models of their own."""
        return list(product(self.seeds, self.couples[:-1]))

    def others(self, seed: int) -> list[int]:
        """The other seeds, on which it is chosen what this one measures."""
        return [one for one in self.seeds if one != seed]

    @cached_property
    def tests(self) -> Mapping[str, Step]:
        """Kinds of things in the unseen styles; and ten things in photographs and in drawings in these styles."""
        styles = self.drawings(UNSEEN)
        kinds = {name: ClassificationSet(drawings=one, held_out=_ALL_THINGS) for name, one in styles.items()}
        photos = ImageFolder(pictures=self.photos[1], size=32)
        things = ImageFolder(pictures=DrawnThings(drawings=tuple(styles.values())), size=32)
        return {**kinds, PHOTOS: photos, DRAWN: things}

    @property
    def steps(self) -> list[Step]:
        """Everything that is measured, the predictions before the mixtures that they are about."""
        outputs = [self.output_mixed(couple, seed) for seed, couple in product(self.seeds, self.couples)]
        known, filtered = ([self.tested(mix) for mix in mixes] for mixes in (self.known, self.filtered))
        merged = [test for seed, couple in self.by_couple for test in self.merged(couple, seed)]
        return [*known, self.forecast, *map(self.tested, self.mixtures), *outputs, *filtered, *merged]
