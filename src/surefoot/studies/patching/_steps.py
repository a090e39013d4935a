"""The Steps of the study of patching, by seed."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

from surefoot.contrastive import DirectionAngles, DrawnTask, Finetune, Typographic, WeightEdit, ZeroShot
from surefoot.core import Step
from surefoot.studies._drawn import PHOTOGRAPHS, SEEN_STYLES, SHORT, TASK_STYLES, drawings, drawn_task, start_model

LINES = "line drawings"
LINE_GROUPS = ("food-drink", "animals-nature", "travel-places")
LINE_STYLES = ("emojione-monotone", "fluent-emoji-high-contrast")
"""Two designs without colour: the first to train and test on, the second to choose the coefficient on."""

PATCHED = ("food", "faces", LINES)
SUPPORTED = ("people-body", "animals-nature", "travel-places", "activities", "objects", "symbols")
"""The groups of things, in the styles of tasks, on which accuracy must be kept."""

READ_GROUPS = ("food-drink", "animals-nature", "travel-places", "activities")
"""The groups whose kinds are written over pictures: their words are short and differ."""

GRID = tuple(step / 10 for step in range(11))
GUARD = 0.01
"""How far a guarded patch may let the accuracy on supported validation data fall."""

READING_RATE, GENTLE_RATE = 2e-3, 2.5e-4
"""Learning rates of learning to read, and of patches against words."""

TRIALS = tuple(float(trial) for trial in range(40))  # as many evaluations for the search of several coefficients
PARALLEL, SEQUENTIAL, JOINT = "parallel", "sequential", "joint"
Part = Literal["train", "validation", "test"]
Half = Literal[0, 1]


@dataclass(frozen=True, kw_only=True)
class PatchingSettings:
    """What a user of the study can change."""

    seeds: tuple[int, ...]
    sizes: tuple[str, ...]
    pretrain_samples: int
    samples: int
    learning_rate: float
    reading_samples: int
    shorter: tuple[int, ...]
    photograph_samples: int

    @property
    def size(self) -> str:
        """The size that all but the comparison of sizes is done with: the middle one."""
        return self.sizes[len(self.sizes) // 2]


@dataclass(frozen=True, kw_only=True)
class Task:
    """A classification task in three parts."""

    name: str
    train: Step
    validation: Step
    test: Step


@dataclass(frozen=True, kw_only=True)
class PatchedTask:
    """A task, the model tuned on it, and the point between that and the start which validation data chose."""

    task: Task
    tuned: Finetune
    edit: WeightEdit

    @cached_property
    def guarded(self) -> WeightEdit:
        """The point that validation data chose among those that lose next to nothing of the supported tasks."""
        return replace(self.edit, guard=GUARD)


@dataclass(frozen=True, kw_only=True)
class Rung:
    """The patches of one size of model, and how far fine-tuning moved its weights."""

    size: str
    base: Step
    patches: tuple[PatchedTask, ...]
    moved: DirectionAngles


@dataclass(frozen=True, kw_only=True)
class Attack:
    """The same test drawings twice: as they are, and with words of other classes written over them."""

    clean: DrawnTask
    attacked: Typographic


@dataclass(frozen=True, kw_only=True)
class WordsRead:
    """A model that reads, patches against words that mislead, and the tests.

    `repaired` is tuned on pictures of half of the classes with wrong words, `control` on the same pictures without;
    both in the styles that the start knows, so that they learn of words and not of styles. `own` are drawings of the
    classes that were patched, in other styles; `unseen` those of the other classes, with words that no patch has seen.
    """

    base: Finetune
    repaired: PatchedTask
    control: PatchedTask
    own: Attack
    unseen: Attack

    def models(self) -> Mapping[str, Step]:
        return {"before": self.base, "patched without words": self.control.edit, "patched": self.repaired.edit}


@dataclass(frozen=True, kw_only=True)
class PatchingSeed:
    """All models of one seed. `transfers` are patches on half of the classes; their task's test shows the others.

    `starts` are patches of other starts than those of the `rungs`: of shorter training, and one of photographs.
    """

    seed: int
    supported: Mapping[str, DrawnTask]
    rungs: dict[str, Rung]
    starts: dict[str, Rung]
    middle: Rung
    several: Mapping[str, WeightEdit]
    transfers: tuple[PatchedTask, ...]
    reading: WordsRead

    def measured(self) -> Iterator[ZeroShot]:
        """Every model on what it was patched for and on what it must keep."""
        supported: dict[str, Step] = {**self.supported}
        for size, rung in (self.rungs | self.starts).items():
            tests = {patch.task.name: patch.task.test for patch in rung.patches}
            yield from self._on(rung.base, tests | supported)
            for patch in rung.patches:
                guarded = (patch.guarded,) if size == self.middle.size else ()
                for model in (patch.edit, patch.tuned, *guarded):
                    yield from self._on(model, {patch.task.name: patch.task.test} | supported)
            if size == self.middle.size:
                for model in self.several.values():
                    yield from self._on(model, tests | supported)
        for patch in self.transfers:
            for model in (self.middle.base, patch.tuned, patch.edit, patch.guarded):
                yield from self._on(model, {patch.task.name: patch.task.test}, shift="unseen classes")
        for model in self.reading.models().values():
            for name, attack in (("patched classes", self.reading.own), ("unseen classes", self.reading.unseen)):
                yield from self._on(model, {name: attack.clean})
                yield from self._on(model, {name: attack.attacked}, shift="wrong words")

    def _on(self, model: Step, tests: Mapping[str, Step], shift: str = "task styles") -> Iterator[ZeroShot]:
        for name, test in tests.items():
            yield ZeroShot(model=model, data=test, task=SHORT.get(name, name), shift=shift)


def trial(seed: int, settings: PatchingSettings) -> PatchingSeed:
    """The Steps of one seed: it decides the start, the split of the drawings, and the order of training."""
    control = tuple(drawn_task(group, "validation", seed) for group in SUPPORTED)
    rungs = {size: _rung(size, seed, settings, control) for size in settings.sizes}
    middle = rungs[settings.size]
    return PatchingSeed(
        seed=seed,
        supported={group: drawn_task(group, "test", seed) for group in SUPPORTED},
        rungs=rungs,
        starts=_starts(seed, settings, control),
        middle=middle,
        several=_several(middle, seed, settings, control),
        transfers=tuple(_patch(middle.base, task, seed, settings, control) for task in tasks(seed, halved=True)),
        reading=_reading(middle.base, seed, settings),
    )


def tasks(seed: int, *, halved: bool = False) -> tuple[Task, ...]:
    """What models are patched for: two groups of things in unseen styles, and things without colour.

    When `halved`, training and validation show half of the classes and the test shows the other half.
    """
    shown, tested = (0, 1) if halved else (None, None)

    def group(name: str, key: str) -> Task:
        train, validation = (drawn_task(key, part, seed, half=shown) for part in ("train", "validation"))
        return Task(name=name, train=train, validation=validation, test=drawn_task(key, "test", seed, half=tested))

    return group("food", "food-drink"), group("faces", "smileys-emotion"), _line_task(seed, halved)


def _line_task(seed: int, halved: bool) -> Task:
    """Where the classes are halved, both styles test; else things are, and the second style validates on the others."""
    own, other = LINE_STYLES[:1], LINE_STYLES[1:]
    kind: Literal["classes", "things"] = "classes" if halved else "things"
    return Task(
        name=LINES,
        train=_lines(own, seed, 0, kind),
        validation=_lines(other, seed, 0 if halved else 1, kind),
        test=_lines(LINE_STYLES if halved else own, seed, 1, kind),
    )


def _lines(styles: tuple[str, ...], seed: int, half: Half, halved: Literal["classes", "things"]) -> DrawnTask:
    shown = drawings(styles)
    return DrawnTask(drawings=shown, groups=LINE_GROUPS, part="all", least=1, half=half, halved=halved, split_seed=seed)


def _tuned(model: Step, data: tuple[Step, ...], seed: int, settings: PatchingSettings) -> Finetune:
    rate = settings.learning_rate
    return Finetune(model=model, data=data, samples=settings.samples, learning_rate=rate, seed=seed)


def _patch(base: Step, task: Task, seed: int, settings: PatchingSettings, control: tuple[Step, ...]) -> PatchedTask:
    tuned = _tuned(base, (task.train,), seed, settings)
    edit = WeightEdit(
        base=base, plus=(tuned,), objective="patch", target=(task.validation,), control=control, grid=GRID
    )
    return PatchedTask(task=task, tuned=tuned, edit=edit)


def _starts(seed: int, settings: PatchingSettings, control: tuple[Step, ...]) -> dict[str, Rung]:
    """The middle size after less pre-training, and a tower of photographs, by what figures call them."""
    shorter = [replace(settings, pretrain_samples=samples) for samples in settings.shorter]
    found = {
        f"{settings.size}, {own.pretrain_samples:,} seen": _rung(settings.size, seed, own, control) for own in shorter
    }
    if not settings.photograph_samples:
        return found
    own = replace(settings, samples=settings.photograph_samples)
    return found | {PHOTOGRAPHS: _rung(PHOTOGRAPHS, seed, own, control)}


def _rung(size: str, seed: int, settings: PatchingSettings, control: tuple[Step, ...]) -> Rung:
    base = start_model(seed, size=size, samples=settings.pretrain_samples)
    patches = tuple(_patch(base, task, seed, settings, control) for task in tasks(seed))
    moved = DirectionAngles(base=base, models=tuple(patch.tuned for patch in patches), names=PATCHED)
    return Rung(size=size, base=base, patches=patches, moved=moved)


def _several(rung: Rung, seed: int, settings: PatchingSettings, control: tuple[Step, ...]) -> dict[str, WeightEdit]:
    """One model for all tasks, in the three ways of the paper (section 5)."""
    target = tuple(patch.task.validation for patch in rung.patches)
    joint = _tuned(rung.base, tuple(patch.task.train for patch in rung.patches), seed, settings)
    order = (*rung.patches[seed % len(rung.patches) :], *rung.patches[: seed % len(rung.patches)])
    model, kept = order[0].edit, (*control, order[0].task.validation)
    for patch in order[1:]:  # what was patched before counts among what must be kept
        model = _patch(model, patch.task, seed, settings, kept).edit
        kept = (*kept, patch.task.validation)
    return {
        PARALLEL: WeightEdit(
            base=rung.base,
            plus=tuple(patch.tuned for patch in rung.patches),
            objective="patch",
            target=target,
            control=control,
            grid=TRIALS,
            separate=True,
            seed=seed,
        ),
        SEQUENTIAL: model,
        JOINT: WeightEdit(base=rung.base, plus=(joint,), objective="patch", target=target, control=control, grid=GRID),
    }


def _reading(start: Step, seed: int, settings: PatchingSettings) -> WordsRead:
    """Teach the start to read from pictures many of which show a word and nothing else, and patch it against words.

    Pre-training on pictures with words did not teach models of this size to read (measured: words misled none).
    A patch takes half of the samples at a low rate: more of either cost the other classes their accuracy.
    """
    base = Finetune(
        model=start,
        data=(written(_read(SEEN_STYLES, "all"), "right", share=0.8, erased=0.6),),
        samples=settings.reading_samples,
        learning_rate=READING_RATE,
        statistics=True,
        seed=seed,
    )
    gentle = replace(settings, samples=settings.samples // 2, learning_rate=GENTLE_RATE)
    shown = _read(SEEN_STYLES, "all", 0, seed)
    target = written(_read(TASK_STYLES, "validation", 0, seed), "wrong")
    kept = tuple(_read(TASK_STYLES, "validation", half, seed) for half in (0, 1))
    tests = (_read(TASK_STYLES, "test", half, seed) for half in (0, 1))
    own, unseen = (Attack(clean=clean, attacked=written(clean, "wrong")) for clean in tests)

    def patch(name: str, train: Step) -> PatchedTask:
        return _patch(base, Task(name=name, train=train, validation=target, test=own.attacked), seed, gentle, kept)

    return WordsRead(
        base=base,
        repaired=patch("wrong words", written(shown, "wrong")),
        control=patch("no words", shown),
        own=own,
        unseen=unseen,
    )


def _read(
    styles: tuple[str, ...],
    part: Literal["train", "validation", "test", "all"],
    half: Half | None = None,
    seed: int = 0,
) -> DrawnTask:
    shown, least = drawings(styles), 1 if part == "all" else 4
    return DrawnTask(drawings=shown, groups=READ_GROUPS, part=part, half=half, least=least, split_seed=seed)


def written(data: Step, word: Literal["right", "wrong"], *, share: float = 1.0, erased: float = 0.0) -> Typographic:
    """Four letters, as large as the width allows: what can still be told apart at 32 pixels."""
    return Typographic(data=data, word=word, share=share, erased=erased, letters=4, largest=18)
