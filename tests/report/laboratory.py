"""A small study with invented but realistic numbers, published in a store without running anything."""

import json
import math
from base64 import b64encode
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from surefoot.core import (
    Claim,
    Figure,
    Inputs,
    Measurement,
    Results,
    Step,
    Store,
    Study,
    Verdict,
    verdict_above,
    verdict_below,
    walk,
    write_record,
)
from surefoot.figures import (
    coefficient_curve,
    contact_sheet,
    heat_table,
    interval_plot,
    residual_plot,
    robustness_scatter,
    scaling_curve,
)
from surefoot.stats import from_axis, to_axis, wilson

STYLES = ("noto", "fluent", "openmoji", "emojione-monotone", "emojione-v1")
SOURCES = ("noto", "fluent", "noto + fluent")
SIZES = {"nano": 200_000, "micro": 600_000, "mini": 1_800_000, "small": 4_200_000}
HOSTILE = '<script>window.hacked = 1</script><img src=x onerror="window.hacked = 1">'


@dataclass(frozen=True, kw_only=True)
class Source(Step):
    """Pictures with captions."""

    name: str

    def make(self, out: Path, inputs: Inputs) -> Iterable[Measurement]:
        return ()


@dataclass(frozen=True, kw_only=True)
class Pretrain(Step):
    """A contrastive model."""

    source: Source
    model: str
    samples: int
    learning_rate: float = 1e-3
    seed: int = 0
    cost_fields: ClassVar[tuple[str, ...]] = ("samples",)

    def make(self, out: Path, inputs: Inputs) -> Iterable[Measurement]:
        return ()


@dataclass(frozen=True, kw_only=True)
class ZeroShot(Step):
    """Accuracy in one style."""

    model: Pretrain
    style: str

    def make(self, out: Path, inputs: Inputs) -> Iterable[Measurement]:
        return ()


def evaluations(samples: tuple[int, ...] = (100_000, 300_000)) -> tuple[ZeroShot, ...]:
    """Every model of the grid in every style."""
    return tuple(
        ZeroShot(model=Pretrain(source=Source(name=source), model=model, samples=count), style=style)
        for source in SOURCES
        for model in SIZES
        for count in samples
        for style in STYLES
    )


def compute(model: Pretrain) -> float:
    """Multiply-accumulates of a training."""
    return 64.0 * SIZES[model.model] * model.samples


def accuracy(step: ZeroShot, n: int = 964) -> Measurement:
    """An accuracy that follows a power law of compute, with the noise of n examples and a penalty for shift."""
    generator = np.random.default_rng(int(step.key[:12], 16))
    error = 34 * compute(step.model) ** -0.135 * (1.06 if step.model.source.name == "fluent" else 1.0)
    place = to_axis(1 - min(error, 0.97)) + 0.1 * generator.standard_normal()
    if step.style not in step.model.source.name:
        place = 0.85 * place - 0.9 - 0.25 * STYLES.index(step.style) + 0.35 * ("+" in step.model.source.name)
    right = generator.binomial(n, float(from_axis(place)))
    interval = wilson(right, n)
    return Measurement(
        metric="accuracy",
        value=interval.estimate,
        n=n,
        low=interval.low,
        high=interval.high,
        shift=step.style,
        task="naming",
    )


def publish(store: Store, step: Step, measurements: Iterable[Measurement], seconds: float = 1.0) -> None:
    """Put a finished Step into the store."""
    path = store.path(step)
    path.mkdir(parents=True, exist_ok=True)
    (path / "record.json").unlink(missing_ok=True)
    write_record(path, step, measurements, provenance(seconds))


def provenance(seconds: float) -> dict[str, Any]:
    """What the worker would have written."""
    machine = {"name": "bench", "system": "Linux-6.1", "processor": "Example 9000", "cores": 2, "python": "3.11.7"}
    return {
        "started": "2026-11-01T10:00:00.000+00:00",
        "ended": "2026-11-01T10:00:01.000+00:00",
        "wall_seconds": seconds,
        "cpu_seconds": seconds,
        "peak_memory_bytes": 412_000_000,
        "commit": "0123456789abcdef0123456789abcdef01234567",
        "source": "0123456789abcdef",
        "machine": machine,
        "packages": {"numpy": "2.3.1", "surefoot": "0.1.0", "torch": "2.14.0"},
        "files": {"examples.parquet": [12345, "ab" * 32]},
    }


def scaling(results: Results) -> Figure:
    """Error against compute."""
    found = results.select(ZeroShot, shift="noto")
    points = [
        {
            "x": compute(step.model),
            "y": 1 - item.value,
            "low": 1 - (item.measurement.high or 0),
            "high": 1 - (item.measurement.low or 0),
            "n": item.measurement.n,
            "family": step.model.source.name,
            "label": f"{step.model.model}, {step.model.samples:,} samples",
            "held_out": step.model.model == "small",
        }
        for item in found
        if isinstance(step := item.step, ZeroShot)
    ]
    grid = np.geomspace(1e12, 4e14, 40)
    fit = []
    for family in SOURCES:
        own = [row for row in points if row["family"] == family and not row["held_out"]]
        slope, intercept = np.polyfit([math.log(row["x"]) for row in own], [math.log(row["y"]) for row in own], 1)
        for x in grid:
            y = float(np.exp(intercept + slope * math.log(x)))
            spread = 0.02 + 0.012 * abs(math.log(x / 3e13))
            fit.append({"family": family, "x": x, "y": y, "low": y * math.exp(-spread), "high": y * math.exp(spread)})
    return scaling_curve(
        points,
        fit,
        name="scaling",
        title="Error falls as a power law of training compute",
        caption="Naming of held-out concepts in the noto style. Hollow points were held out of the fit.",
        x_title="Training compute (multiply-accumulates)",
        y_title="Error of zero-shot naming",
        family_title="Training source",
    )


def robustness(results: Results) -> Figure:
    """Accuracy under shift against accuracy in distribution."""
    by_model: dict[str, dict[str, Any]] = {}
    for item in results.select(ZeroShot, shift=("noto", "openmoji")):
        step = item.step
        assert isinstance(step, ZeroShot)
        row = by_model.setdefault(step.model.key, {"family": step.model.source.name, "label": step.model.model})
        side = "x" if step.style == "noto" else "y"
        row |= {
            side: item.value,
            f"{side}_low": item.measurement.low,
            f"{side}_high": item.measurement.high,
            "n": item.measurement.n,
        }
    points = list(by_model.values())
    x = to_axis([row["x"] for row in points])
    slope, intercept = np.polyfit(x, to_axis([row["y"] for row in points]), 1)
    grid = np.linspace(x.min(), x.max(), 25)
    fit = [
        {
            "x": float(from_axis(place)),
            "y": float(from_axis(slope * place + intercept)),
            "low": float(from_axis(slope * place + intercept - 0.12)),
            "high": float(from_axis(slope * place + intercept + 0.12)),
        }
        for place in grid
    ]
    return robustness_scatter(
        points,
        fit,
        name="robustness",
        title="Accuracy under shift follows accuracy in distribution, and the sources lie apart",
        caption="Each point is a model; the line is fitted on the logit axes.",
        x_title="Accuracy in the style of training (noto)",
        y_title="Accuracy in a style never trained on (openmoji)",
        family_title="Training source",
    )


def effects(results: Results) -> Figure:
    """Effective robustness by source and style."""
    rows = []
    for style in STYLES[2:]:
        for source in SOURCES:
            values = [
                item.value
                for item in results.select(ZeroShot, shift=style)
                if isinstance(item.step, ZeroShot) and item.step.model.source.name == source
            ]
            mean, half = float(np.mean(values)) - 0.28, 2.4 * float(np.std(values)) / math.sqrt(len(values))
            rows.append(
                {
                    "label": source,
                    "group": style,
                    "value": mean,
                    "low": mean - half,
                    "high": mean + half,
                    "n": len(values),
                    "family": source,
                }
            )
    return interval_plot(
        rows,
        name="effective",
        title="Effective robustness by source",
        caption="Mean residual from the reference line, with its 95 percent t interval over models.",
        x_title="Effective robustness",
        family_title="Training source",
    )


def residuals(results: Results) -> Figure:
    """What the scaling fit leaves over."""
    generator = np.random.default_rng(0)
    rows = [
        {"x": x, "y": y, "low": y - 0.05, "high": y + 0.05, "family": SOURCES[index % 3], "held_out": x > 1e14}
        for index, (x, y) in enumerate(
            zip(np.geomspace(1e12, 3e14, 24), 0.04 * generator.standard_normal(24), strict=True)
        )
    ]
    return residual_plot(
        rows,
        name="residuals",
        title="Residuals of the scaling fit",
        caption="Observed error over fitted error, minus one.",
        x_title="Training compute (multiply-accumulates)",
        y_title="Relative residual",
    )


def patching(results: Results) -> Figure:
    """Interpolation between two sets of weights."""
    rows = []
    for alpha in np.linspace(0, 1, 11):
        new, old = 0.31 + 0.52 * alpha**0.6, 0.62 - 0.03 * alpha - 0.16 * alpha**3
        rows += [
            {"x": alpha, "y": value, "low": value - 0.03, "high": value + 0.03, "n": 964, "family": family}
            for family, value in (("patched task", new), ("control tasks", old))
        ]
    return coefficient_curve(
        rows,
        name="patching",
        title="Patching by interpolation of weights",
        caption="The dashed line is the coefficient chosen on validation data.",
        x_title="Mixing coefficient",
        y_title="Accuracy",
        chosen=0.6,
    )


def cells(results: Results) -> Figure:
    """Source by style."""
    rows = []
    for source in SOURCES:
        for style in STYLES:
            found = [
                item.measurement
                for item in results.select(ZeroShot, shift=style)
                if isinstance(item.step, ZeroShot) and item.step.model.source.name == source
            ]
            best = max(found, key=lambda measurement: measurement.value)
            rows.append(
                {"row": source, "column": style, "value": best.value, "low": best.low, "high": best.high, "n": best.n}
            )
    return heat_table(
        rows,
        name="cells",
        title="Best accuracy by training source and test style",
        caption="Percent of 964 pictures; the interval of each cell is in its tooltip and in the table.",
        row_title="Trained on",
        column_title="Tested on",
    )


def sheet(results: Results) -> Figure:
    """Pictures of each style."""
    rows = []
    for style in STYLES:
        best = max((item.measurement for item in results.select(ZeroShot, shift=style)), key=lambda found: found.value)
        measured = {"metric": "best accuracy", "value": best.value, "low": best.low, "high": best.high, "n": best.n}
        rows += [
            {"image": picture(STYLES.index(style), index), "label": f"concept {index}", "section": style, **measured}
            for index in range(12)
        ]
    return contact_sheet(rows, name="styles", title="The styles", caption="The same twelve concepts in every style.")


def picture(style: int, index: int) -> str:
    """A drawing as a data URI."""
    colour = f"hsl({(index * 31) % 360} {(0 if style == 3 else 60)}% {45 + 4 * style}%)"
    shape = (
        f'<circle cx="32" cy="32" r="{18 + index}" fill="{colour}"/>'
        f'<path d="M20 {38 + style} q12 {10 - index} 24 0" stroke="#222" fill="none" stroke-width="3"/>'
    )
    svg = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 64 64">{shape}</svg>'
    return f"data:image/svg+xml;base64,{b64encode(svg.encode()).decode()}"


CLAIMS = (
    Claim(
        name="power-law",
        sentence="The error of zero-shot naming falls with training compute, as a power law.",
        check=lambda results: verdict_below(-0.131, -0.148, -0.114, 24, detail="Exponent of the fit to all sources."),
        source="arXiv 2212.07143, section 4",
    ),
    Claim(
        name="mixture",
        sentence="A mixture of two sources is more robust than the better of the two.",
        check=lambda results: verdict_above(-0.042, -0.071, -0.013, 8, detail="Difference of effective robustness."),
        source="arXiv 2208.05516, section 5",
    ),
    Claim(
        name="source-exponent",
        sentence="The training source changes the exponent of the law.",
        check=lambda results: verdict_above(
            0.008, -0.019, 0.035, 16, detail="Difference of exponents, noto against fluent."
        ),
        source="arXiv 2212.07143, abstract",
    ),
    Claim(
        name="not-measured",
        sentence="Larger batches help.",
        check=lambda results: Verdict(status="undecided", detail="Expected one measurement, found 0."),
    ),
)
FIGURES = (scaling, robustness, effects, residuals, patching, cells, sheet)


def study_in(root: Path) -> tuple[Study, Results]:
    """The study, with all but one of its Steps in a store under `root`; that one failed."""
    store, wanted = Store(root), evaluations()
    study = Study(
        name="laboratory",
        title="Does the source of the pictures change how models scale and how they survive a change of style?",
        summary="Small contrastive models of four sizes are trained on three sources of drawings and name held-out "
        "concepts in five styles, two of which are trained on and three never seen.",
        steps=wanted,
        claims=CLAIMS,
        figures=FIGURES,
        credits=(
            "Noto Emoji, Apache-2.0, @iconify-json/noto 1.2.9",
            "OpenMoji, CC BY-SA 4.0, @iconify-json/openmoji 1.2.29",
        ),
    )
    for step in walk(wanted):
        if isinstance(step, ZeroShot):
            publish(store, step, [accuracy(step)], seconds=2.0)
        else:
            publish(store, step, [], seconds=31.5 if isinstance(step, Pretrain) else 0.4)
    fail(store, wanted[-1], "ValueError: the pictures of style 'emojione-v1' are 48 pixels wide, the model wants 64")
    return study, Results(store=store, steps=tuple(walk(wanted)))


def fail(store: Store, step: Step, error: str) -> None:
    """Take a Step out of the store and record that it failed."""
    store.remove(store.path(step))
    record = {"error": error, "trace": f"Traceback (most recent call last):\n{error}"}
    (store.path(step).parent / f"{step.key}.failed.json").write_text(json.dumps(record))
