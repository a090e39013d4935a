"""Sources: how the source of pre-training data changes what a model keeps under shift, and what mixtures will score.

The design. Six drawing styles and photographs are sources; four other styles are the test. All are of known things:
what is held out is the hand that drew them. The measure is two-way accuracy (chance 50 percent), not the top of 40
kinds: a small model lies 14 to 19 points above chance where its top-1 accuracy is 7 percent, with a standard error of 1
point on 640 pictures. Of 4,096 samples models of 1,000 pairs saw each four times and lay below those of 250 in a trial;
so the budget is 12,288: the worth of some 230 trainings of 14 seconds, half an hour on two idle cores by those trials.

Power, worked out before it was run, took the models of one seed at four sizes for independent: a difference of two of
them, mean over three shifts, has a deviation of 1.2 points. They are not: their errors correlate by .15 to .6, for they
share first weights and draw. So three seeds are three draws of each source; the sources' differences have errors of 1
to 1.3 points with some four degrees of freedom, and the full study has five seeds. In the trainings of the trial a
single style and a mixture of four lay 4 points apart.
"""

from surefoot.core import Study, SurefootError
from surefoot.studies._drawn import check_seeds, credits_of
from surefoot.studies._folder import photo_archives
from surefoot.studies._hypotheses import claims_of
from surefoot.studies.pairs import Photographs
from surefoot.studies.sources._claims import hypotheses
from surefoot.studies.sources._figures import figures
from surefoot.studies.sources._steps import HELD_OUT_SEEDS, STYLES_SEEN, UNSEEN, Plan
from surefoot.studies.sources._steps import TwoWay as TwoWay

SUMMARY = """Small contrastive models are trained on drawings in one of six styles, on photographs, on pairs of these at
three ratios, and on all of them, with equal counts. They say what kind of thing a drawing shows in four styles that no
model was trained on, and name ten things in photographs and drawings. The measure is two-way accuracy: how often the
right one of two classes is named, the other drawn at random; chance is 50 percent. Effective robustness is accuracy
under shift less what the line of all single styles has at the same accuracy in emojione, the reference."""


def study(
    *, seeds: tuple[int, ...] = (0, 1, 2), sizes: tuple[int, ...] = (125, 250, 500, 1_000), pairs: int = 1_000,
    held_out: int = 30, model: str = "rn-8", samples: int = 12_288, tested: int = 600, photos: str = "",
) -> Study:  # fmt: skip
    """The study: single sources and all together at each of the `sizes`, couples of sources with `pairs` pictures.

    `held_out` mixtures are predicted from these before they are trained. `samples` is how many pairs each model sees;
    `tested` photographs and drawings of ten things are a test, too. `photos` is the folder of CIFAR-10 as for the study
    `pairs`: `train` and `test` with a folder a class, or archives of these.
    """
    check_seeds(seeds)
    if max(seeds) >= HELD_OUT_SEEDS or held_out < 2 or samples < 3 or tested < 100:
        least = "held_out 2 or more, samples 3 or more, and tested 100 or more, so that all ten things are among these"
        raise SurefootError(f"seeds must be below {HELD_OUT_SEEDS}, {least}.")
    if min(sizes, default=0) < 1 or sorted({*sizes}) != [*sizes] or not {pairs, pairs // 2} <= {*sizes}:
        raise SurefootError("sizes must be two or more in increasing order, with that of pairs and half of it.")
    train, test = photo_archives(photos)
    shown = Photographs(path=train, count=max(sizes)).pinned(), Photographs(path=test, count=tested).pinned()
    plan = Plan(seeds=seeds, sizes=sizes, pairs=pairs, held_out=held_out, model=model, samples=samples, photos=shown)
    return Study(
        name="sources",
        title="Quality, not quantity: what does the source of the data do to robustness?",
        summary=SUMMARY,
        steps=tuple(plan.steps),
        claims=claims_of(hypotheses(plan)),
        figures=figures(plan),
        credits=(
            "CIFAR-10 (Krizhevsky 2009; no licence stated; not redistributed)",
            *credits_of((*STYLES_SEEN, *UNSEEN)),
        ),
    )
