"""The Steps of the study of task vectors, by seed."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from itertools import permutations
from typing import Literal

from surefoot.contrastive import (
    GROUPS,
    DirectionAngles,
    Drawings,
    DrawnTask,
    Finetune,
    RandomDirection,
    WeightEdit,
    ZeroShot,
)
from surefoot.core import Step
from surefoot.studies._drawn import SHORT, drawings, drawn_task, start_model
from surefoot.training import Merge

TASKS = ("food-drink", "animals-nature", "travel-places", "smileys-emotion", "people-body", "activities")
"""The groups that models are tuned on; all eight groups are measured."""

ANALOGY_GROUPS = TASKS[:3]
ANALOGY_STYLES = ("emojione", "emojione-monotone")
"""A design in colour, and the same design as silhouettes."""

METHODS = {
    "TIES": ("ties", (("density", 0.2),), (("normalize", False),)),
    "DARE": ("dare_linear", (("density", 0.5),), ()),
}
"""Merges beside the plain sum: the largest fifth of each vector, summed where signs agree (2306.01708), and a random
half of each, doubled (2311.03099). Both are sums, so that one line of coefficients serves all three."""

ALONE, ANALOGY = "the known task alone", "analogy"


@dataclass(frozen=True, kw_only=True)
class ArithmeticSettings:
    """What a user of the study can change."""

    seeds: tuple[int, ...]
    size: str
    pretrain_samples: int
    samples: int
    learning_rate: float
    points: int

    @property
    def grid(self) -> tuple[float, ...]:
        """The coefficients that are tried: from 0 to 1 in so many steps."""
        return tuple(step / self.points for step in range(self.points + 1))


@dataclass(frozen=True, kw_only=True)
class Analogy:
    """`a` is to `b` as `c` is to what was never seen: models, the edits with and without the style, the test."""

    group: str
    helper: str
    alone: WeightEdit
    edit: WeightEdit
    supervised: Finetune
    test: DrawnTask


@dataclass(frozen=True, kw_only=True)
class ArithmeticSeed:
    """All models of one seed, by task where there is one for each."""

    seed: int
    base: Step
    tests: Mapping[str, DrawnTask]
    tuned: Mapping[str, Finetune]
    negated: Mapping[str, WeightEdit]
    random: Mapping[str, WeightEdit]
    ascended: Mapping[str, Finetune]
    added: Mapping[tuple[str, ...], WeightEdit]
    merged: Mapping[str, WeightEdit]
    joint: Finetune
    analogies: tuple[Analogy, ...]
    angles: DirectionAngles

    @property
    def start(self) -> Mapping[str, Step]:
        """The start, as the model of every task."""
        return dict.fromkeys(self.tuned, self.base)

    def others(self, group: str) -> list[DrawnTask]:
        """The test sets of all other groups: the control."""
        return [test for name, test in self.tests.items() if name != group]

    def measured(self) -> Iterator[ZeroShot]:
        """Every model on every group's test set, and the analogies on theirs."""
        many: list[Step] = [self.base, self.joint]
        for models in (self.tuned, self.negated, self.random, self.ascended, self.added, self.merged):
            many += models.values()
        for model in many:
            for group, test in self.tests.items():
                yield ZeroShot(model=model, data=test, task=SHORT[group], shift="task styles")
        for one in self.analogies:
            for model in (self.base, one.alone, one.edit, one.supervised):
                yield ZeroShot(model=model, data=one.test, task=SHORT[one.group], shift=ANALOGY_STYLES[1])


def trial(seed: int, settings: ArithmeticSettings) -> ArithmeticSeed:
    """The Steps of one seed: it decides the start, the split of the drawings, and the order of training."""
    base = start_model(seed, size=settings.size, samples=settings.pretrain_samples)
    train = {group: drawn_task(group, "train", seed) for group in TASKS}
    validation = {group: drawn_task(group, "validation", seed) for group in GROUPS}
    tuned = {group: _tuned(base, (train[group],), settings, seed) for group in TASKS}
    added = {groups: _added(base, groups, tuned, validation, settings) for groups in _subsets(seed)}
    random = {group: RandomDirection(base=base, like=model, seed=seed) for group, model in tuned.items()}
    return ArithmeticSeed(
        seed=seed,
        base=base,
        tests={group: drawn_task(group, "test", seed) for group in GROUPS},
        tuned=tuned,
        negated={group: _negated(base, model, group, validation, settings) for group, model in tuned.items()},
        random={group: _negated(base, model, group, validation, settings) for group, model in random.items()},
        ascended={group: _tuned(base, (train[group],), settings, seed, ascent=True) for group in TASKS},
        added=added,
        merged=dict(_merged(max(added.values(), key=lambda edit: len(edit.plus)))),
        joint=_tuned(base, tuple(train.values()), settings, seed),
        analogies=tuple(_analogies(base, seed, settings)),
        angles=DirectionAngles(base=base, models=tuple(tuned.values()), names=tuple(SHORT[group] for group in TASKS)),
    )


def _tuned(
    base: Step, data: tuple[DrawnTask, ...], settings: ArithmeticSettings, seed: int, *, ascent: bool = False
) -> Finetune:
    """Joint training sees as many pictures of each task as one task alone; ascent needs a quarter to run away."""
    samples = settings.samples // 4 if ascent else settings.samples
    rate = settings.learning_rate
    return Finetune(model=base, data=data, samples=samples, learning_rate=rate, seed=seed, ascent=ascent)


def _negated(
    base: Step, model: Step, group: str, validation: Mapping[str, DrawnTask], settings: ArithmeticSettings
) -> WeightEdit:
    target, control = (validation[group],), tuple(one for name, one in validation.items() if name != group)
    return WeightEdit(base=base, minus=(model,), objective="forget", target=target, control=control, grid=settings.grid)


def _added(
    base: Step,
    groups: tuple[str, ...],
    tuned: Mapping[str, Finetune],
    validation: Mapping[str, DrawnTask],
    settings: ArithmeticSettings,
) -> WeightEdit:
    models = tuple(tuned[group] for group in groups)
    target = tuple(validation[group] for group in groups)
    return WeightEdit(base=base, plus=models, objective="add", target=target, alone=models, grid=settings.grid)


def _merged(added: WeightEdit) -> Iterator[tuple[str, WeightEdit]]:
    """A sum of vectors with a merge of the same models for the sum."""
    for name, (method, each, whole) in METHODS.items():
        merge = Merge(base=added.base, models=added.plus, method=method, of_each=each, settings=whole)
        yield name, replace(added, plus=(merge,))


def _subsets(seed: int) -> list[tuple[str, ...]]:
    """Two to six tasks: three pairs, two triples, and one of each larger number; other ones for every seed."""
    turned = (*TASKS[seed % len(TASKS) :], *TASKS[: seed % len(TASKS)])
    stride = (*turned[::2], *turned[1::2])
    pairs = [stride[0:2], stride[2:4], stride[4:6]]
    return [tuple(sorted(one)) for one in (*pairs, turned[:3], turned[3:], turned[:4], turned[:5], turned)]


def _analogies(base: Step, seed: int, settings: ArithmeticSettings) -> Iterator[Analogy]:
    """For each ordered pair of groups: helper in colour is to helper in silhouette as group in colour is to the target.

    The coefficient is chosen on half of the target's things and tested on the other; the supervised model is tuned on
    the first half.
    """
    known, new = drawings(ANALOGY_STYLES)

    def whole(group: str, style: Drawings, half: Literal[0, 1] | None = None) -> DrawnTask:
        return DrawnTask(
            drawings=(style,), groups=(group,), part="all", least=1, half=half, halved="things", split_seed=seed
        )

    models = {
        (group, style): _tuned(base, (whole(group, style),), settings, seed)
        for group in ANALOGY_GROUPS
        for style in (known, new)
    }
    for helper, group in permutations(ANALOGY_GROUPS, 2):
        shown = (whole(group, new, 0),)
        own, new_style, known_style = models[group, known], models[helper, new], models[helper, known]
        transfer = partial(WeightEdit, base=base, objective="transfer", target=shown, grid=settings.grid)
        yield Analogy(
            group=group,
            helper=helper,
            alone=transfer(plus=(own,)),
            edit=transfer(plus=(own, new_style), minus=(known_style,)),
            supervised=_tuned(base, shown, settings, seed),
            test=whole(group, new, 1),
        )
