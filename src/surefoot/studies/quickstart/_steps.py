"""The Steps of the quickstart, and what was measured of them thing by thing."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from surefoot.contrastive import ClassificationSet, Drawings, Pretrain, TrainingPairs, ZeroShot
from surefoot.core import Results, Step, SurefootError
from surefoot.examples import EXAMPLES, read_examples
from surefoot.laws import AVERAGE, ScalingFit, ShiftFit
from surefoot.stats import axis_slope, from_axis, to_axis
from surefoot.studies._hypotheses import read_once

Floats = NDArray[np.float64]
REFERENCE = "twemoji"
SHIFTS = ("openmoji", "emojione-v1", "emojione-monotone")
UNSEEN = (REFERENCE, *SHIFTS)
"""The styles that no model was trained on."""

SOURCES = {
    "noto": ("noto",),
    "fluent flat": ("fluent-emoji-flat",),
    "noto + fluent flat": ("noto", "fluent-emoji-flat"),
}
TASK = "kind of thing"
SPLIT = 2
"""Which things are held out. The recipe was chosen on split 0, sizes and seeds on split 1; this one was kept."""


def styles() -> list[str]:
    """Every style: the unseen ones, then those that are trained on."""
    return [*UNSEEN, *dict.fromkeys(style for own in SOURCES.values() for style in own)]


def new_model(seed: int, samples: int, size: str, source: str) -> Pretrain:
    """A model trained on one source."""
    drawings = tuple(Drawings(style=style) for style in SOURCES[source])
    pairs = TrainingPairs(drawings=drawings, variants=False, split_seed=SPLIT)
    return Pretrain(data=pairs, model=size, samples=samples, seed=seed)


def measured(model: Pretrain, style: str) -> ZeroShot:
    """A model on the held-out things in one style."""
    data = ClassificationSet(drawings=Drawings(style=style), split_seed=SPLIT)
    return ZeroShot(model=model, data=data, task=TASK, shift=style)


def law(source: str, models: Sequence[Pretrain]) -> ScalingFit:
    """Error in distribution (the first style of the source) against compute."""
    own = SOURCES[source][0]
    runs = tuple(measured(model, own) for model in models)
    return ScalingFit(runs=runs, x_runs=tuple(models), x_metric="gmacs", metric="top1", task=TASK, shift=own)


def source_of(model: Step) -> str:
    """The name of the source that a model was trained on."""
    drawn = getattr(getattr(model, "data", None), "drawings", ())
    return next(name for name, own in SOURCES.items() if own == tuple(one.style for one in drawn))


def label(model: Pretrain) -> str:
    return f"{source_of(model)}, {model.model}, {model.samples:,} samples, seed {model.seed}"


def models_of(results: Results) -> dict[str, list[Pretrain]]:
    """The models of each source, in one order of size, budget and seed."""
    found = [step for step in results.steps if isinstance(step, Pretrain)]
    found.sort(key=lambda model: (model.model, model.samples, model.seed))
    return {source: [model for model in found if source_of(model) == source] for source in SOURCES}


def scores_by_thing(results: Results, steps: Sequence[Step]) -> dict[Step, Floats]:
    """Of each Step whether each thing was named rightly, over the things that all of them show, in one order."""
    if any(not results.store.has(step) for step in steps):
        raise SurefootError("Not all models were tested yet.")
    read = read_examples({step.key: results.store.file(step, EXAMPLES) for step in steps})
    return dict(zip(steps, read.scores, strict=True))


@read_once
def robustness_by_thing(results: Results, style: str = AVERAGE) -> Mapping[str, Floats]:
    """Effective robustness, a table (runs, things) of each source; the mean over things is that of the run.

    It is accuracy in the shifted style (or their mean) less what the line through all models gives at the accuracy in
    the reference style. By thing, the line is its tangent there; it is taken for known, which is common to all sources.
    """
    shifts = SHIFTS if style == AVERAGE else (style,)
    runs = models_of(results)
    everyone = [model for models in runs.values() for model in models]
    scores = scores_by_thing(results, [measured(model, each) for model in everyone for each in (REFERENCE, *shifts)])
    where = {"shift": style if style == AVERAGE else f"{TASK}/{style}"}
    slope, intercept = (results.one(ShiftFit, metric=metric, **where).value for metric in ("slope", "intercept"))

    def of(model: Pretrain) -> Floats:
        known = scores[measured(model, REFERENCE)]
        shifted = np.mean([scores[measured(model, each)] for each in shifts], axis=0)
        share = float(np.clip(known.mean(), 0.5 / len(known), 1 - 0.5 / len(known)))
        expected = from_axis(intercept + slope * to_axis(share))
        tangent = slope * axis_slope(share) / axis_slope(expected)
        return shifted - expected - tangent * (known - known.mean())

    return {source: np.array([of(model) for model in models]) for source, models in runs.items()}
