"""Our own grid: models by samples seen by amount of data, what each is measured on, and forecasts of the largest."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import product
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np

from surefoot.contrastive import (
    GROUPS,
    Drawings,
    DrawnTask,
    IconPairs,
    LabelledFeatures,
    PooledPairs,
    Pretrain,
    TrainingPairs,
    count_gmacs,
    embed_pictures,
    fit_probe,
    ladder_config,
    load_model,
    read_captions,
    read_items,
    retrieve,
    vocabulary_of,
)
from surefoot.core import Inputs, Measurement, Step, SurefootError
from surefoot.examples import write_examples
from surefoot.laws import ExponentDifference, ScalingFit
from surefoot.stats import shuffled, wilson

SEEN_STYLES = ("noto", "fluent-emoji-flat", "fluent-emoji", "noto-v1", "emojione", "fxemoji")
UNSEEN_STYLES = ("twemoji", "openmoji", "emojione-v1")
SEEN = "styles seen"
SHIFTS = (SEEN, *UNSEEN_STYLES)
TASKS = {"naming": "top1", "retrieval": "image_retrieval_recall@5", "probe": "top1"}
NAMES, GALLERY, SHOTS = 25, 100, 40
AMOUNTS = {"few": "1,000 pairs", "all": "all pairs of the styles", "icons": "nine in ten icons"}
Amount = Literal["few", "all", "icons"]


@dataclass(frozen=True, kw_only=True)
class StyleScores(Step):
    """What a model makes of drawings of known things, set by set (`names` name the sets).

    Things are put into galleries by an order of hashes. `naming`: `top1`, the name of a drawing among 25 names;
    `retrieval`: `image_retrieval_recall@5`, the drawing of a name among 100; `probe`: `top1` of a 40-shot probe of the
    eight groups of things, trained on drawings of `probe`. What no whole gallery holds is left out. `examples.parquet`
    has the naming.
    """

    model: Step
    sets: tuple[Step, ...]
    names: tuple[str, ...]
    probe: Step
    requires: ClassVar[tuple[str, ...]] = ("torch", "open_clip", "safetensors")

    def make(self, out: Path, inputs: Inputs) -> Iterable[Measurement]:
        """Embed each set once, rank within galleries, probe."""
        import torch

        torch.set_num_threads(1)
        loaded = load_model(inputs[self.model])
        probe = fit_probe(_grouped(embed_pictures(loaded, inputs[self.probe]), inputs[self.probe]), shots=SHOTS)
        examples: dict[str, float] = {}
        for name, step in zip(self.names, self.sets, strict=True):
            images, items = embed_pictures(loaded, inputs[step]), read_items(inputs[step])
            ids = {f"{item['style']}:{item['hexcode']}": row for row, item in enumerate(items)}
            order = [ids[one] for one in shuffled(ids, 0)]
            named: list[float] = []
            found: list[float] = []
            for size, hits in ((NAMES, named), (GALLERY, found)):
                for start in range(0, len(order) - size + 1, size):
                    rows = order[start : start + size]
                    ranked = retrieve(loaded, images[rows], [[items[row]["label"]] for row in rows])
                    hits += [*(ranked.text_ranks == 1 if size == NAMES else ranked.image_ranks <= 5)]
            examples |= {f"{name}/{items[row]['hexcode']}": hit for row, hit in zip(order, named, strict=False)}
            probed = probe.classify(_grouped(images, inputs[step])).ranks == 1
            for task, hits in (("naming", named), ("retrieval", found), ("probe", probed)):
                yield _share(TASKS[task], np.array(hits), task, name)
        write_examples(out, {"example": [*examples], "score": [float(one) for one in examples.values()]})


def _grouped(features: "object", data: Path) -> LabelledFeatures:
    items = read_items(data)
    groups = tuple(item["group"] for item in items)
    ids = tuple(f"{item['style']}:{item['hexcode']}" for item in items)
    return LabelledFeatures(features=features, labels=groups, ids=ids, keys=GROUPS)  # pyright: ignore[reportArgumentType]


def _share(metric: str, hits: "np.ndarray", task: str, shift: str) -> Measurement:
    bounds = wilson(float(hits.sum()), len(hits))
    where = {"n": len(hits), "task": task, "shift": shift}
    return Measurement(metric=metric, value=float(hits.mean()), low=bounds.low, high=bounds.high, **where)


@dataclass(frozen=True, kw_only=True)
class Forecast(Step):
    """What laws say of a training that was not begun: `model` on the ladder, `samples` of the pairs of `data`.

    `laws` are of one amount of data, over the compute of smaller models. Compute is counted without training. Measures
    `gmacs`, and `error` by task and shift, with the 95 percent interval of a new run. Raises `SurefootError` beyond the
    curves of the laws, ten times the compute of their models.
    """

    laws: tuple[ScalingFit, ...]
    data: Step
    model: str
    samples: int
    requires: ClassVar[tuple[str, ...]] = ("torch", "open_clip")

    def make(self, out: Path, inputs: Inputs) -> Iterable[Measurement]:
        """Read the bands of the laws at the compute."""
        words = vocabulary_of(text for texts in read_captions(inputs[self.data]) for text in texts)
        gmacs = count_gmacs(ladder_config(self.model, vocabulary_size=len(words) + 1)) * self.samples
        yield Measurement(metric="gmacs", value=gmacs, n=1)
        for law in self.laws:
            record = json.loads((inputs[law] / "law.json").read_text(encoding="utf-8"))
            columns = {name: np.log([row[name] for row in record["curve"]]) for name in ("x", "y", "low", "high")}
            if not columns["x"][0] <= np.log(gmacs) <= columns["x"][-1]:
                most = np.exp(columns["x"][-1])
                raise SurefootError(f"{self.model} at {gmacs:.3g} GMACs is out of what the laws say, to {most:.3g}.")
            at = {name: float(np.exp(np.interp(np.log(gmacs), columns["x"], columns[name]))) for name in columns}
            where = {"n": record["n"], "task": law.task, "shift": law.shift}
            yield Measurement(metric="error", value=at["y"], low=at["low"], high=min(1.0, at["high"]), **where)


@dataclass(frozen=True, kw_only=True)
class Grid:
    """Which models are trained: `cells` are (samples, seeds), `largest` (size, samples), held out, the largest last.

    Laws are of models that see all pairs of the styles; models of the other `amounts` see as many samples as the most.
    `cooled` are a size and the points at which a cool-down is compared with a cosine.
    """

    sizes: tuple[str, ...] = ("rn-4", "rn-8", "rn-16")
    cells: tuple[tuple[int, int], ...] = ((1_000, 2), (4_000, 2), (16_000, 1))
    amounts: tuple[Amount, ...] = ("few", "icons")
    largest: tuple[tuple[str, int], ...] = (("rn-24", 16_000), ("rn-24", 64_000))
    cooled: tuple[str, tuple[int, ...]] = ("rn-8", (4_000, 8_000, 16_000))
    pairs: int = 50_000
    styles: tuple[str, ...] = SEEN_STYLES
    unseen: tuple[str, ...] = UNSEEN_STYLES

    def data(self, amount: Amount) -> PooledPairs:
        """The pairs of an amount, without the drawings that are tested on."""
        aside = (self._drawings_of("test"),)
        styles = TrainingPairs(drawings=self._drawn, variants=False, held_out=0)
        if amount == "icons":
            return PooledPairs(sources=(styles, IconPairs(limit=self.pairs - 5_000)), without=aside)
        return PooledPairs(sources=(styles,), limit=1_000 if amount == "few" else None, without=aside)

    @property
    def _drawn(self) -> tuple[Drawings, ...]:
        return tuple(Drawings(style=style) for style in self.styles)

    def _drawings_of(self, part: Literal["test", "validation"]) -> DrawnTask:
        return DrawnTask(drawings=self._drawn, part=part, least=3)

    def model(self, size: str, samples: int, amount: Amount = "all", seed: int = 0) -> Pretrain:
        """A training along a cosine."""
        return Pretrain(data=self.data(amount), model=size, samples=samples, seed=seed)

    def scores(self, model: Pretrain) -> StyleScores:
        """A model on all sets."""
        unseen = (DrawnTask(drawings=(Drawings(style=style),), part="all", least=1) for style in self.unseen)
        return StyleScores(
            model=model,
            sets=(self._drawings_of("test"), *unseen),
            names=(SEEN, *self.unseen),
            probe=self._drawings_of("validation"),
        )

    def models(self, amount: Amount = "all") -> list[Pretrain]:
        """The models of the grid, the longest first; with other data than all of the styles those alone."""
        most = max(samples for samples, _ in self.cells)
        cells = sorted(product(self.sizes, self.cells), key=lambda cell: -cell[1][0])
        return [
            self.model(size, samples, amount, seed)
            for size, (samples, seeds) in cells
            for seed in range(seeds)
            if amount == "all" or samples == most
        ]

    @cached_property
    def laws(self) -> tuple[ScalingFit, ...]:
        """A law for each task and set, over the compute of the models with all pairs of the styles."""
        models = tuple(self.models())
        shared = {"runs": tuple(map(self.scores, models)), "x_runs": models, "x_metric": "gmacs"}
        return tuple(
            ScalingFit(**shared, metric=metric, task=task, shift=shift)
            for task, metric in TASKS.items()
            for shift in (SEEN, *self.unseen)
        )

    @cached_property
    def held_out(self) -> tuple[tuple[Forecast, StyleScores], ...]:
        """The forecast of each of the largest models, and the scores of the model, whose training waits for it."""
        found = []
        for size, samples in self.largest:
            forecast = Forecast(laws=self.laws, data=self.data("all"), model=size, samples=samples)
            found.append((forecast, self.scores(replace(self.model(size, samples), after=(forecast,)))))
        return tuple(found)

    @cached_property
    def schedules(self) -> tuple[tuple[StyleScores, StyleScores], ...]:
        """At each point a cool-down from a common trunk, the last fifth of the samples, and the cosine of as many."""
        size, points = self.cooled
        found, trunk, before = [], None, 0
        for samples in points:
            shared = {"data": self.data("all"), "model": size}
            trunk = Pretrain(**shared, samples=samples * 4 // 5 - before, decay="constant", start=trunk)
            before = samples * 4 // 5
            cooled = Pretrain(**shared, samples=samples - before, decay="cooldown", start=trunk)
            found.append((self.scores(cooled), self.scores(self.model(size, samples))))
        return tuple(found)

    @cached_property
    def shift_of_exponents(self) -> ExponentDifference:
        """Whether error falls faster in the styles seen than in each unseen one, task by task, on the same models."""
        laws = {(law.task, law.shift): law for law in self.laws}
        pairs = [(task, shift) for task in TASKS for shift in self.unseen]
        return ExponentDifference(
            first=tuple(laws[task, SEEN] for task, _ in pairs),
            second=tuple(laws[pair] for pair in pairs),
            names=tuple(f"{task}, {shift}" for task, shift in pairs),
            paired=True,
        )

    def steps(self) -> Iterator[Step]:
        """All of it, each once: laws and forecasts before the largest models."""
        held_out = [step for pair in self.held_out for step in pair]
        cooled = [step for pair in self.schedules for step in pair]
        others = [self.scores(model) for amount in self.amounts for model in self.models(amount)]
        last = held_out[-1:]
        yield from dict.fromkeys((*self.laws, self.shift_of_exponents, *held_out[:-1], *cooled, *others, *last))


BUDGET = Grid()
FULL = Grid(
    sizes=("rn-4", "rn-8", "rn-16", "rn-24"),
    cells=((1_000, 3), (4_000, 3), (16_000, 3), (64_000, 2)),
    largest=(("rn-24", 256_000), ("rn-32", 256_000), ("rn-44", 192_000)),
)
