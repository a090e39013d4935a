"""A study small enough to run in a test: numbers, sums of them, a failing sum, scores, claims and a figure."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from surefoot.core import (
    Claim,
    Figure,
    Inputs,
    Measurement,
    Results,
    Step,
    Study,
    SurefootError,
    verdict_above,
    verdict_below,
)
from surefoot.examples import write_examples


@dataclass(frozen=True, kw_only=True)
class Number(Step):
    """A number in a file."""

    value: int = 0

    def make(self, out: Path, inputs: Inputs) -> Iterable[Measurement]:
        (out / "number.txt").write_text(str(self.value))
        return [Measurement(metric="number", value=self.value, n=1)]


@dataclass(frozen=True, kw_only=True)
class Sum(Step):
    """A number and something added; 13 is refused."""

    number: Number
    add: int = 1

    def make(self, out: Path, inputs: Inputs) -> Iterable[Measurement]:
        if self.add == 13:
            raise ValueError("13 is not added here")
        total = int((inputs[self.number] / "number.txt").read_text()) + self.add
        return [
            Measurement(metric="total", value=total, n=1, low=total - 0.5, high=total + 0.5, shift=f"by {self.add}")
        ]


@dataclass(frozen=True, kw_only=True)
class Answers(Step):
    """Right and wrong answers to 40 questions, by a seeded coin."""

    skill: float
    seed: int = 0

    def make(self, out: Path, inputs: Inputs) -> Iterable[Measurement]:
        right = np.random.default_rng(self.seed).random(40) < self.skill
        write_examples(out, {"example": [f"q{number}" for number in range(40)], "score": right.astype(float)})
        return [Measurement(metric="top1", value=float(right.mean()), n=40)]


def study(
    *, count: int = 2, adds: tuple[int, ...] = (1, 2), bound: float = 0.0, width: float = 0.0, mistake: str = ""
) -> Study:
    """A grid of sums."""
    sums = tuple(Sum(number=Number(value=value), add=add) for value in range(count) for add in adds)
    return Study(
        name="arithmetic_study",
        title="Sums",
        summary="Numbers and their sums.",
        steps=(*sums, Answers(skill=0.9), Answers(skill=0.2)),
        claims=(
            Claim(
                name="positive",
                sentence="Sums are above the bound.",
                check=lambda results: _above(results, bound),
                needed_width=width or None,
            ),
            Claim(name="small", sentence="Sums are below 100.", check=_small),
            *(
                [Claim(name="mistaken", sentence="A claim with a mistake.", check=_MISTAKES[mistake])]
                if mistake
                else []
            ),
        ),
        figures=(_figure,),
    )


def _above(results: Results, bound: float) -> object:
    lows = [item.measurement.low for item in results.select(Sum, metric="total")]
    first = results.one(Sum, metric="total", shift="by 1", value=1).measurement
    return verdict_above(first.value, min(lows), first.high, len(lows), bound=bound)


def _small(results: Results) -> object:
    highs = [item.measurement.high for item in results.select(Sum, metric="total")]
    if not highs:
        raise SurefootError("no sum was measured")
    return verdict_below(max(highs), 0.0, max(highs), len(highs), bound=100.0)


def _misspelt(results: Results) -> object:
    return verdict_above(results.one(Sum, metric="totall").value, 0.0, 1.0, 1)


_MISTAKES = {"name": lambda results: misspelt(results, 1), "metric": _misspelt, "none": lambda results: None}  # noqa: F821


def _figure(results: Results) -> Figure:
    rows = tuple({"number": item.step.number.value, "total": item.value} for item in results.select(Sum))
    return Figure(name="sums", title="Sums", caption="Each sum.", rows=rows, vega_lite={"mark": "point"})
