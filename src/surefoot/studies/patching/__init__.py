"""Patching: a model learns a task it is bad at and keeps what it is good at, by interpolating weights."""

from surefoot.core import Study
from surefoot.studies._drawn import SEEN_STYLES, TASK_STYLES, check_seeds, credits_of
from surefoot.studies.patching._claims import claims
from surefoot.studies.patching._figures import figures
from surefoot.studies.patching._steps import LINE_STYLES, PatchingSettings, trial

SUMMARY = """A small contrastive model is bad at some tasks: kinds of food and of faces in drawing styles that it never
saw, and things drawn in black lines. Fine-tuned on one of them it forgets some of the others. A patch is the point
between the two models that validation data like best. The study patches one task, then three in one model in three
ways, asks whether a patch on half of the classes helps with the other half, compares sizes of models, and repairs a
model that reads words written over pictures instead of looking. Test data were looked at once."""


def study(
    *,
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4),
    sizes: tuple[str, ...] = ("rn-4", "rn-8", "rn-16"),
    pretrain_samples: int = 96_000,
    samples: int = 12_288,
    learning_rate: float = 2e-4,
    reading_samples: int = 36_864,
    shorter: tuple[int, ...] = (6_000, 24_000),
    photograph_samples: int = 2_048,
) -> Study:
    """The study. `samples` are pictures seen in fine-tuning on one task, `reading_samples` in learning to read.

    Patches of one task each are made from other starts, too: of the middle size after `shorter` pre-training, and of
    EfficientNet-Lite0 as ImageNet left it, tuned on `photograph_samples` (0: not at all; it needs timm).
    `sizes` go from small to large; all but their comparison is done with the middle one. Each seed has its own start,
    its own split of the drawings and its own halves of classes. The rate was chosen among 1e-4, 2e-4 and 5e-4 by
    validation data of a split that the study does not use.
    """
    check_seeds(seeds)
    settings = PatchingSettings(**locals())
    trials = [trial(seed, settings) for seed in seeds]
    measured = {step.key: step for one in trials for step in one.measured()}
    return Study(
        name="patching",
        title="Patching: learn a task and keep the others, by interpolating weights",
        summary=SUMMARY,
        steps=(*measured.values(), *(rung.moved for one in trials for rung in (one.rungs | one.starts).values())),
        claims=claims(trials),
        figures=figures(trials),
        credits=credits_of(dict.fromkeys((*SEEN_STYLES, *TASK_STYLES, *LINE_STYLES))),
    )
