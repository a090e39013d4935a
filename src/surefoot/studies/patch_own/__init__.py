"""Patch an OpenCLIP model of one's own for a task of one's own, and prove what was gained and what was kept."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from surefoot.contrastive import (
    Finetune,
    ImageFolder,
    OpenClipModel,
    WeightEdit,
    ZeroShot,
    openclip_config,
    wrong_sheet,
)
from surefoot.core import Claim, Figure, Results, Step, Study, SurefootError, Verdict, missing_module, verdict_above
from surefoot.figures import coefficient_curve, interval_plot
from surefoot.stats import mean_share_difference, mean_t
from surefoot.studies._drawn import TOP1, TaskAccuracies, accuracies_of, search_rows

PAPER = "the protocol of 2208.05592"
CLASSES = "classes.txt"
Part = Literal["train", "validation", "test"]
SUMMARY = """An OpenCLIP model is fine-tuned on one task with its text tower frozen, and put on the line between before
and after where validation data of the task and of what must be kept like it best. Test pictures are looked at once,
for the model before, the patched one and the tuned one."""

COSTS: Mapping[int, tuple[float, ...]] = {5: (0.5, 0.0, 0.1, -0.4, -0.5, -0.6), 10: (3.5, 2.6, 0.4, -0.8)}
"""By points gained on a task, what the supported ones had lost then: of each start that `patching` compared, five seeds
each: three sizes of drawings, the middle one after a quarter and a sixteenth of its training, and photographs. Not all
gain ten points with every seed."""


@dataclass(frozen=True, kw_only=True)
class OwnPatch:
    """The models, and the test pictures by the name of their folder: the task first, then what is kept."""

    base: OpenClipModel
    tuned: Finetune
    edit: WeightEdit
    tests: Mapping[str, ImageFolder]
    templates: tuple[str, ...]

    @property
    def models(self) -> dict[str, Step]:
        return {"before": self.base, "patched": self.edit, "fine-tuned": self.tuned}

    def measured(self) -> Iterator[ZeroShot]:
        for name, test in self.tests.items():
            for model in self.models.values():
                yield ZeroShot(model=model, data=test, templates=self.templates, task=name)


def study(
    *,
    model: str = "",
    checkpoint: str = "",
    tag: str = "",
    task: str = "",
    keep: tuple[str, ...] = (),
    template: str = "a photo of a {}.",
    samples: int = 12_800,
    batch: int = 64,
    learning_rate: float = 1e-5,
    margin: float = 0.01,
    guard: float | None = None,
    points: int = 21,
    threads: int = 1,
    seed: int = 0,
) -> Study:
    """The study. `model` is an OpenCLIP name, `checkpoint` its weights; `task` and each of `keep` are folders.

    `tag` is the published tag that the weights are or were tuned from, where these differ in how pictures are prepared.

    In a folder are `train` (for the task), `validation` and `test`, each with a folder of pictures a class, and
    perhaps `classes.txt`, one `FOLDER<tab>NAME` a line. `samples` pictures are seen in fine-tuning; accuracy on what
    is kept may fall by `margin`. With `guard` only points are taken at which it falls by no more on validation data.
    `points` coefficients from 0 to 1 are tried; `threads` are those of one training or search.
    """
    if not (model and checkpoint and task and keep):
        raise SurefootError(
            "patch_own needs a model, its weights, a task and what to keep: -o model=ViT-B-32 -o checkpoint=FILE "
            "-o task=FOLDER -o keep=FOLDER,FOLDER."
        )
    if points < 2:
        raise SurefootError(f"points is {points}: the two ends, 0 and 1, are the least.")
    names = [Path(one).resolve().name for one in (task, *keep)]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise SurefootError(f"Two folders of task and keep are called {twice}: what is measured on one would be lost.")
    size = _size_of(model)
    base = OpenClipModel(model=model, checkpoint=str(checkpoint), tag=tag or None).pinned()
    tuned = Finetune(
        model=base,
        data=(_pictures(task, "train", size),),
        samples=samples,
        batch=batch,
        learning_rate=learning_rate,
        templates=(template,),
        seed=seed,
        threads=threads,
    )
    edit = WeightEdit(
        base=base,
        plus=(tuned,),
        objective="patch",
        guard=guard,
        target=(_pictures(task, "validation", size),),
        control=tuple(_pictures(one, "validation", size) for one in keep),
        grid=tuple(point / (points - 1) for point in range(points)),
        templates=(template,),
        threads=threads,
    )
    tests = {name: _pictures(one, "test", size) for name, one in zip(names, (task, *keep), strict=True)}
    patch = OwnPatch(base=base, tuned=tuned, edit=edit, tests=tests, templates=(template,))
    expected = _expected_costs()
    return Study(
        name="patch_own",
        title=f"{model}, patched for {Path(task).name}",
        summary=f"{SUMMARY} {expected}",
        notice=expected,
        steps=tuple(patch.measured()),
        claims=_claims(patch, margin),
        figures=tuple(lambda results, draw=draw: draw(patch, results) for draw in (_curve, _accuracies, _wrong)),
    )


def _expected_costs() -> str:
    """What a patch may cost a start that was not measured: the interval of one more start like those that were.

    With few starts, most of them alike, this is wide: nothing that is known of a start before tuning narrows it yet.
    """
    said = []
    for gain, costs in COSTS.items():
        mean = mean_t(costs)
        half = (mean.high - mean.estimate) * (len(costs) + 1) ** 0.5  # of one more, where `mean_t` has the mean's
        said.append(f"{mean.estimate:z.1f} [{mean.estimate - half:z.1f}, {mean.estimate + half:z.1f}] where {gain}")
    return (
        f"To expect, for one more start like the {' and '.join(str(len(costs)) for costs in COSTS.values())} that the "
        "study `patching` compared (95 percent): what is kept loses "
        f"{' points are gained on the task, '.join(said)} are. Longer training on drawings lost most, a network of "
        "photographs nothing."
    )


def _size_of(model: str) -> int:
    try:
        return int(openclip_config(model)["vision_cfg"].get("image_size", 224))
    except ModuleNotFoundError as error:
        raise missing_module(str(error.name)) from error


def _pictures(folder: str, part: Part, size: int) -> ImageFolder:
    table = Path(folder) / CLASSES
    classes = str(table) if table.is_file() else None
    return ImageFolder(path=str(Path(folder) / part), classes=classes, size=size).pinned()


def _claims(patch: OwnPatch, margin: float) -> tuple[Claim, ...]:
    (own, test), *kept = patch.tests.items()
    points = "a point" if margin == 0.01 else f"{100 * margin:g} points"
    return (
        Claim(
            name="patch-gains",
            sentence=f"The patch raises accuracy on {own}.",
            check=lambda results: _verdict(patch, accuracies_of(results), [test], 0.0),
            source=PAPER,
        ),
        Claim(
            name="patch-keeps",
            sentence=f"Accuracy on {', '.join(name for name, _ in kept)} falls by less than {points}.",
            check=lambda results: _verdict(patch, accuracies_of(results), [one for _, one in kept], -margin),
            source=PAPER,
        ),
    )


def _verdict(patch: OwnPatch, found: TaskAccuracies, tests: list[ImageFolder], bound: float) -> Verdict:
    gaps = [_scores(found, patch.edit, test) - _scores(found, patch.base, test) for test in tests]
    right, wrong = ([int((sign * gap > 0).sum()) for gap in gaps] for sign in (1, -1))
    pictures = [len(gap) for gap in gaps]
    mean = mean_share_difference(right, wrong, pictures)
    before, after = (found.mean(model, tests) for model in (patch.base, patch.edit))
    detail = f"After less before, paired by picture: {after:.1%} less {before:.1%}, every set counted alike."
    return verdict_above(mean.estimate, mean.low, mean.high, sum(pictures), bound=bound, detail=detail, unit="points")


def _scores(found: TaskAccuracies, model: Step, test: Step) -> NDArray[np.float64]:
    return np.array([score for (score,) in found.examples(model, test, "score")])


def _curve(patch: OwnPatch, results: Results) -> Figure:
    names = {"target": "the task", "control": "what is kept"}
    table = search_rows(results, patch.edit)
    rows = [
        {"x": float(row["coefficients"]), "y": row["value"], "low": row["low"], "high": row["high"], "family": family}
        for metric, family in names.items()
        for row in table
        if row["metric"] == metric
    ]
    return coefficient_curve(
        rows,
        name="curve",
        title="From the model before to the tuned one",
        caption="Validation accuracy against the coefficient, with 95 percent bands over pictures. The dashed line is "
        f"what was chosen. The patched model is {patch.edit.kind}/{patch.edit.key} in the store.",
        x_title="Coefficient: 0 is the model before, 1 the fine-tuned one",
        y_title="Top-1 accuracy",
        chosen=next((float(row["coefficients"]) for row in table if row["chosen"]), None),
        families=list(names.values()),
    )


def _wrong(patch: OwnPatch, results: Results) -> Figure:
    found = TaskAccuracies(results)
    return wrong_sheet(
        results, {f"{name}, patched": found.observation(patch.edit, test) for name, test in patch.tests.items()}
    )


def _accuracies(patch: OwnPatch, results: Results) -> Figure:
    found = accuracies_of(results)
    measured = {
        (group, name): found.observation(model, test).measurement
        for group, test in patch.tests.items()
        for name, model in patch.models.items()
    }
    rows = [
        {
            "label": name,
            "group": group,
            "family": name,
            "value": one.value,
            "low": one.low,
            "high": one.high,
            "n": one.n,
        }
        for (group, name), one in measured.items()
    ]
    return interval_plot(
        rows,
        name="accuracies",
        title="Gained and kept",
        caption="Test accuracy, Wilson's 95 percent intervals. The claims compare picture by picture: that tells more.",
        **TOP1,
        families=list(patch.models),
    )
