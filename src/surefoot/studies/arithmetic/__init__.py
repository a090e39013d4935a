"""Task vectors: forget by subtraction, learn by addition, and reach by analogy what no model was shown."""

from dataclasses import fields

from surefoot.core import Study, SurefootError
from surefoot.studies._drawn import PHOTOGRAPHS, SEEN_STYLES, TASK_STYLES, check_seeds, credits_of
from surefoot.studies._find import refuse_idle
from surefoot.studies.arithmetic._claims import claims
from surefoot.studies.arithmetic._figures import figures
from surefoot.studies.arithmetic._language import language, language_claims, language_figure
from surefoot.studies.arithmetic._steps import ANALOGY_STYLES
from surefoot.studies.arithmetic._steps import TASKS as TASKS
from surefoot.studies.arithmetic._steps import ArithmeticSeed as ArithmeticSeed
from surefoot.studies.arithmetic._steps import ArithmeticSettings as ArithmeticSettings
from surefoot.studies.arithmetic._steps import trial as trial

SUMMARY = """A small contrastive model is fine-tuned on six tasks, each a group of things to be named in drawing styles
that pre-training never showed; its text tower stays frozen as the head. What fine-tuning changed is a vector in weight
space. Subtracted, it should make the model forget that task alone; added to others, do several tasks at once; and an
analogy of three should reach a combination of task and style that no model saw. A language model of 135 million
parameters goes through the same with styles of text. Coefficients are chosen on validation
drawings; every number in a claim is from test data, which were looked at once."""


def study(
    *,
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4),
    size: str = "rn-8",
    pretrain_samples: int = 36_000,
    samples: int = 12_288,
    learning_rate: float = 5e-4,
    points: int = 20,
    language_steps: int = 24,
) -> Study:
    """The study. `samples` are pictures seen in fine-tuning on one task; each seed has its own start and split.

    Coefficients from 0 to 1 are tried in `points` steps. With `size` "photographs" the start is EfficientNet-Lite0 as
    ImageNet left it: some five hours on two cores.
    `language_steps` batches of 512 tokens tune the language model on each style; with 0 that part is left out.
    """
    check_seeds(seeds)
    if points < 1:
        raise SurefootError(f"points is {points}: coefficients are tried in at least one step from 0 to 1.")
    refuse_idle(study, given := locals(), (size == PHOTOGRAPHS, "size=photographs", "pretrain_samples"))
    settings = ArithmeticSettings(**{field.name: given[field.name] for field in fields(ArithmeticSettings)})
    trials = [trial(seed, settings) for seed in seeds]
    texts = language(language_steps) if language_steps else None
    return Study(
        name="arithmetic",
        title="Task arithmetic: forget, add, and reason by analogy, in weight space",
        summary=SUMMARY,
        steps=(
            *(texts.measured() if texts else ()),  # the longest first
            *(step for one in trials for step in (*one.measured(), one.angles)),
        ),
        claims=(*claims(trials), *(language_claims(texts) if texts else ())),
        figures=(*figures(trials), *((language_figure(texts),) if texts else ())),
        credits=credits_of(dict.fromkeys((*SEEN_STYLES, *TASK_STYLES, *ANALOGY_STYLES))),
    )
