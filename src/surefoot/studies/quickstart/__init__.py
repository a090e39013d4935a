"""The quickstart: a small but whole robustness study on real drawings, in minutes on two cores.

The design, written down before the test things of its split were looked at: three sources by two sizes by two budgets
by three seeds, 36 models. Sizes, budgets and seeds were chosen on the test things of other splits, for what decides
most in four minutes. Three claims: error falls with compute in every source; accuracy falls in every source when the
style changes, paired by thing; the source changes effective robustness. Every interval is over the runs and over the
things, which all runs share. A claim about every source stands on the weakest one; three pairs of sources are compared
at Bonferroni's level. What is undecided says which difference would have been seen.
"""

from itertools import product

from surefoot.contrastive import STYLES, Pretrain
from surefoot.core import Study
from surefoot.laws import ShiftFit
from surefoot.studies._drawn import check_seeds
from surefoot.studies.quickstart._claims import CLAIMS
from surefoot.studies.quickstart._figures import FIGURES
from surefoot.studies.quickstart._steps import REFERENCE, SHIFTS, SOURCES, TASK, law, measured, new_model, styles

SUMMARY = """Small contrastive models learn to join drawings and words, from one or two drawing styles. Then they name
what kind of thing a drawing shows, for things that were held out of every training: in their own style, in a reference
style that none was trained on, and in styles further away. Chance is 2.5 percent (40 kinds)."""


def study(
    *,
    sizes: tuple[str, ...] = ("rn-4", "rn-8"),
    samples: tuple[int, ...] = (6_000, 18_000),
    seeds: tuple[int, ...] = (0, 1, 2),
) -> Study:
    """The study. `sizes` are names on the ladder of models; `samples` is how many pairs each model sees."""
    # The longest first, so that no core is idle at the end, but for the very first: a number is there in seconds.
    check_seeds(seeds)
    cells = list(dict.fromkeys(product(seeds, sorted(samples, reverse=True), reversed(sizes), SOURCES)))
    models = {cell: new_model(*cell) for cell in cells}
    first = cells.index((seeds[0], min(samples), sizes[0], next(iter(SOURCES))))
    cells.insert(0, cells.pop(first))
    of_source = {source: [models[cell] for cell in cells if cell[3] == source] for source in SOURCES}
    own = [measured(models[cell], style) for cell in cells for style in SOURCES[cell[3]]]
    return Study(
        name="quickstart",
        title="Does a model keep its footing when the drawing style shifts?",
        summary=SUMMARY,
        steps=(*own, *(law(source, runs) for source, runs in of_source.items()), _line(of_source)),
        claims=CLAIMS,
        figures=FIGURES,
        credits=tuple(f"{STYLES[name].title}: {STYLES[name].package.credit}" for name in styles()),
    )


def _line(of_source: dict[str, list[Pretrain]]) -> ShiftFit:
    """Accuracy in the shifted styles against that in the reference style, over all models."""
    runs = [(model, source) for source, models in of_source.items() for model in models]
    tested = [(model, source, style) for model, source in runs for style in (REFERENCE, *SHIFTS)]
    return ShiftFit(
        results=tuple(measured(model, style) for model, _, style in tested),
        x=(f"{TASK}/{REFERENCE}",),
        groups=tuple(source for _, source, _ in tested),
        metric="top1",
    )
