"""The Steps of the study of workers that do not communicate, by seed."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import pairwise

from surefoot.contrastive import DrawnTask, Finetune, ZeroShot
from surefoot.core import Step
from surefoot.studies._drawn import drawings, start_model
from surefoot.training import Average, OuterStep

TUNED_STYLES = ("twemoji", "openmoji", "noto-v1")
KNOWN = "styles tuned on"
SHIFTS: Mapping[str, tuple[str, ...]] = {
    "other hands": ("emojione", "emojione-v1", "fxemoji"),
    "line drawings": ("emojione-monotone",),
}
"""Test sets in styles of designers of whom neither pre-training nor fine-tuning showed anything."""

COUNTS = (2, 4, 8)
MAIN = 4
"""The number of workers that the variants are compared at."""


@dataclass(frozen=True, kw_only=True)
class LocalSettings:
    """What a user of the study can change: `steps` of `batch` pictures for each worker, in `rounds` where there are."""

    seeds: tuple[int, ...]
    size: str
    pretrain_samples: int
    weaker_samples: int
    steps: int
    batch: int
    rounds: int
    learning_rate: float


@dataclass(frozen=True, kw_only=True)
class Start:
    """A start, and what four workers make of it: `lofi` without communication, `together` with it at each step."""

    base: Step
    lofi: Step
    together: Step


@dataclass(frozen=True, kw_only=True)
class LocalSeed:
    """All models of one seed; by number of workers: `alone`, their average `lofi`, and `together`, the baseline.

    `single` is one worker on all data, and `longer` the same with the pictures of all workers, in as many more steps:
    the baseline's larger batch and its number of pictures, told apart. `weaker` is from a start that saw less.
    """

    seed: int
    base: Step
    known: DrawnTask
    shifted: tuple[DrawnTask, ...]
    alone: Mapping[int, tuple[Finetune, ...]]
    lofi: Mapping[int, Average]
    together: Mapping[int, Finetune]
    single: Finetune
    longer: Finetune
    lost: Average
    partly: Average
    local: OuterStep
    diloco: OuterStep
    weaker: Start

    @property
    def stronger(self) -> Start:
        return Start(base=self.base, lofi=self.lofi[MAIN], together=self.together[MAIN])

    def methods(self) -> dict[str, tuple[Step, ...]]:
        """The models of each way to share the work of four, by its name in figures."""
        return {
            "start": (self.base,),
            "one worker alone": self.alone[MAIN],
            "lo-fi": (self.lofi[MAIN],),
            "lo-fi, a worker lost": (self.lost,),
            "together for a quarter, then lo-fi": (self.partly,),
            "local SGD": (self.local,),
            "DiLoCo": (self.diloco,),
            "together at each step": (self.together[MAIN],),
            "one worker on all data": (self.single,),
            f"one worker on all data, {MAIN} times the steps": (self.longer,),
        }

    def measured(self) -> Iterator[ZeroShot]:
        many = [model for models in self.methods().values() for model in models]
        many += [*self.lofi.values(), *self.together.values()]
        sets = {KNOWN: self.known, **dict(zip(SHIFTS, self.shifted, strict=True))}
        for model in dict.fromkeys(many):
            for shift, data in sets.items():
                yield ZeroShot(model=model, data=data, task="kinds of things", shift=shift)
        for model in (one for one in (self.weaker.base, self.weaker.lofi, self.weaker.together) if one not in many):
            yield ZeroShot(model=model, data=self.known, task="kinds of things", shift=KNOWN)


def trial(seed: int, settings: LocalSettings) -> LocalSeed:
    """The Steps of one seed: it decides the start, the split of the drawings, and the order of training."""
    base = start_model(seed, size=settings.size, samples=settings.pretrain_samples)
    tuned_on = drawings(TUNED_STYLES)
    train, test = (DrawnTask(drawings=tuned_on, part=part, least=3, split_seed=seed) for part in ("rest", "test"))
    whole = Finetune(
        model=base,
        data=(train,),
        samples=settings.steps * settings.batch,
        batch=settings.batch,
        learning_rate=settings.learning_rate,
        whole_steps=settings.steps,
        seed=seed,
    )
    alone = {count: _workers(whole, count) for count in COUNTS}
    return LocalSeed(
        seed=seed,
        base=base,
        known=test,
        shifted=tuple(DrawnTask(drawings=drawings(styles), part="all", least=1) for styles in SHIFTS.values()),
        alone=alone,
        lofi={count: Average(models=models, base=base) for count, models in alone.items()},
        together={count: _together(whole, count) for count in COUNTS},
        single=whole,
        longer=replace(whole, samples=whole.samples * MAIN, whole_steps=settings.steps * MAIN),
        lost=Average(models=alone[MAIN][:-1], base=base),
        partly=_partly(whole, settings),
        local=_rounds(whole, settings, rate=1.0, momentum=0.0),
        diloco=_rounds(whole, settings, rate=0.7, momentum=0.9),
        weaker=_from_weaker(whole, settings),
    )


def _from_weaker(whole: Finetune, settings: LocalSettings) -> Start:
    base = start_model(whole.seed, size=settings.size, samples=settings.weaker_samples)
    own = replace(whole, model=base)
    return Start(base=base, lofi=Average(models=_workers(own, MAIN), base=base), together=_together(own, MAIN))


def _workers(whole: Finetune, count: int) -> tuple[Finetune, ...]:
    """One training for each worker, with its own part of the data and its own order."""
    return tuple(replace(whole, shard=(part, count), seed=100 * whole.seed + part) for part in range(count))


def _together(whole: Finetune, count: int) -> Finetune:
    """Averaging the gradients of equal batches is one batch of all of them."""
    return replace(whole, samples=whole.samples * count, batch=whole.batch * count)


def _part(whole: Finetune, start: Step, first: int, end: int) -> Finetune:
    return replace(whole, model=start, samples=(end - first) * whole.batch, first_step=first)


def _partly(whole: Finetune, settings: LocalSettings) -> Average:
    quarter = settings.steps // 4
    common = _part(_together(whole, MAIN), whole.model, 0, quarter)
    return Average(models=_workers(_part(whole, common, quarter, settings.steps), MAIN), base=common)


def _rounds(whole: Finetune, settings: LocalSettings, *, rate: float, momentum: float) -> OuterStep:
    """Each worker goes on with the moments of its own optimizer, from the weights that all agreed on."""
    ends = [settings.steps * done // settings.rounds for done in range(settings.rounds + 1)]
    outer: Step = whole.model
    before: tuple[Finetune | None, ...] = (None,) * MAIN
    for first, end in pairwise(ends):
        part = replace(_part(whole, outer, first, end), keep_moments=end < settings.steps)
        before = tuple(replace(worker, moments=last) for worker, last in zip(_workers(part, MAIN), before, strict=True))
        outer = OuterStep(previous=outer, workers=before, rate=rate, momentum=momentum)
    assert isinstance(outer, OuterStep)
    return outer
