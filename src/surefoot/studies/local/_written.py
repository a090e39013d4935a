"""Lo-fi where models read: on readers of SQuAD and on a language model, each method at its own best rate."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from surefoot.core import Figure, Results, Step, SurefootError, Unit
from surefoot.figures import interval_plot
from surefoot.language import (
    TEXT_STYLES,
    FinetuneLanguage,
    MiniLM,
    Perplexity,
    QuestionFile,
    QuestionSample,
    ReaderAnswers,
    ReadingScores,
    SmolLM2,
    SpanReader,
    TextSet,
)
from surefoot.stats import crossed_error
from surefoot.studies._drawn import LEAST_SEEDS, changes_by, seeds_row
from surefoot.studies._hypotheses import Hypothesis, Pooled
from surefoot.studies.local._claims import LOFI
from surefoot.studies.local._steps import MAIN
from surefoot.training import Average

_OWN_TEXTS, _OTHER_TEXTS = "scripture", ("novel", "address")
_QUESTIONS, _CHOOSING = 150, 100
_LAST_BLOCKS = ("model.layers.2?.*",)  # a third of the 30 blocks: a third of the cost of training them all
_SHIFTED_FILES = {
    "new Wikipedia": "squadshifts_new_wiki_v1.0.json.gz",
    "Amazon reviews": "squadshifts_amazon_reviews_v1.0.json.gz",
    "Reddit": "squadshifts_reddit_v1.0.json.gz",
}


@dataclass(frozen=True, kw_only=True)
class WrittenSeed:
    """Of one seed, by learning rate: the workers, their average `lofi`, and `together`, one training on all they see.

    What the workers start from is `base`.
    """

    base: Step
    alone: Mapping[float, tuple[Step, ...]]
    lofi: Mapping[float, Average]
    together: Mapping[float, Step]

    def methods(self) -> Mapping[str, Mapping[float, Step]]:
        """The models of each method by rate; one worker stands for all."""
        worker = {rate: workers[0] for rate, workers in self.alone.items()}
        return {"one worker alone": worker, "lo-fi": self.lofi, "together at each step": self.together}


@dataclass(frozen=True, kw_only=True)
class Written:
    """A kind of model that reads: its trials by seed, and how it is measured: `score` of a model on a set by its name.

    The first of `tests` is of what was trained on, the others are shifted. A score's examples are means by `cluster`,
    and better when lower where `lower`. `parity` is the difference that does not matter.
    """

    name: str
    noun: str
    trials: tuple[WrittenSeed, ...]
    chosen_on: Step
    tests: Mapping[str, Step]
    score: Callable[[Step, Step, str], Step]
    metric: str
    cluster: str
    parity: float
    unit: Unit
    lower: bool = False

    def measured(self) -> Iterator[Step]:
        for trial in self.trials:
            for models in trial.methods().values():
                for model in models.values():
                    yield self.score(model, self.chosen_on, "")
            for model in (trial.base, *(one for models in trial.methods().values() for one in models.values())):
                yield from (self.score(model, data, name) for name, data in self.tests.items())

    def hypotheses(self) -> Iterator[Hypothesis]:
        """As accurate as together in what was trained on, better under shift, and the average above one worker."""
        own, *shifted = self.tests
        pair = ("lo-fi", "together at each step")
        close = f"{100 * self.parity:g} points" if self.unit == "points" else f"{self.parity:g}"
        alone = f"{MAIN} workers that never communicate"
        yield self._hypothesis(
            "lofi-parity", f"{alone} are as good, to {close} of {self.noun}", pair, (own,), within=self.parity
        )
        yield self._hypothesis("lofi-helps-under-shift", f"Under shift {alone} are better", pair, shifted)
        pair = ("lo-fi", "one worker alone")
        yield self._hypothesis("average-above-worker", "The average is better than a worker", pair, (own,))

    def _hypothesis(
        self, name: str, said: str, pair: tuple[str, str], sets: Sequence[str], within: float = 0.0
    ) -> Hypothesis:
        return Hypothesis(
            name=f"{self.name}-{name}",
            sentence=f"{said}, of {self.name} ({', '.join(sets)}).",
            source=f"{LOFI}, abstract",
            effect=partial(_effect, self, pair, tuple(sets)),
            bound=within,
            within=within > 0,
            unit=self.unit,
            counted="seeds",
        )


def readers(seeds: Sequence[int], steps: int, rates: Sequence[float], folder: Path, start: int = 40) -> Written:
    """Span readers on SQuAD of MiniLM's lowest four layers: `start` steps of 16 in common, then `steps` a worker."""
    squad = QuestionFile(path=str(folder / "squad_v1.1_dev.json.gz")).pinned()
    known = QuestionSample(questions=squad, part="train")
    every, chosen_on = (QuestionSample(questions=known, part=part, split_seed=1) for part in ("train", "held-out"))
    files = {name: QuestionFile(path=str(folder / file)).pinned() for name, file in _SHIFTED_FILES.items()}

    def trial(seed: int) -> WrittenSeed:
        base = SpanReader(
            encoder=MiniLM(), questions=every, steps=start, layers=4, learning_rate=3e-4, max_tokens=256, seed=seed
        )
        return _trial(base, replace(base, encoder=base, layers=0, steps=steps, seed=100 * seed), rates)

    def score(model: Step, data: Step, name: str) -> Step:
        answers = ReaderAnswers(reader=model, questions=data, max_tokens=256)
        return ReadingScores(predictions=answers, questions=data, task="lo-fi", shift=name)

    held_out = partial(QuestionSample, questions=squad, part="held-out")
    return Written(
        name="readers",
        noun="F1",
        trials=tuple(map(trial, seeds)),
        chosen_on=replace(chosen_on, n=_CHOOSING),
        tests={"SQuAD": held_out(n=2 * _QUESTIONS)}
        | {name: QuestionSample(questions=file, n=_QUESTIONS) for name, file in files.items()},
        score=score,
        metric="f1",
        cluster="article",
        parity=0.01,
        unit="points",
    )


def texts(seeds: Sequence[int], steps: int, rates: Sequence[float]) -> Written:
    """SmolLM2-135M on the King James Bible, its last ten blocks trained: `steps` of four windows a worker."""
    train = TextSet(style=_OWN_TEXTS, part="train", excerpts=4 * MAIN * steps)

    def trial(seed: int) -> WrittenSeed:
        whole = FinetuneLanguage(
            model=SmolLM2(), data=train, steps=steps, learning_rate=rates[0], trained=_LAST_BLOCKS, seed=100 * seed
        )
        return _trial(whole.model, whole, rates)

    styles = {style: TextSet(style=style, part="test", excerpts=32) for style in (_OWN_TEXTS, *_OTHER_TEXTS)}
    return Written(
        name="language model",
        noun="nats a token",
        trials=tuple(map(trial, seeds)),
        chosen_on=TextSet(style=_OWN_TEXTS, part="validation", excerpts=16),
        tests={TEXT_STYLES[style].title: data for style, data in styles.items()},
        score=lambda model, data, name: Perplexity(model=model, data=data, task="lo-fi", shift=name),
        metric="loss",
        cluster="document",
        parity=0.02,
        unit="number",
        lower=True,
    )


def _trial(base: Step, whole: SpanReader | FinetuneLanguage, rates: Sequence[float]) -> WrittenSeed:
    """Workers with their own part of the data and their own order; together, one batch of all of them."""
    alone = {
        rate: tuple(
            replace(whole, learning_rate=rate, shard=(part, MAIN), seed=whole.seed + part) for part in range(MAIN)
        )
        for rate in rates
    }
    return WrittenSeed(
        base=base,
        alone=alone,
        lofi={rate: Average(models=workers, base=base, only=()) for rate, workers in alone.items()},
        together={rate: replace(whole, learning_rate=rate, batch=MAIN * whole.batch) for rate in rates},
    )


def _rate(results: Results, kind: Written, method: str) -> float:
    """The rate at which the mean over seeds on the data for choosing is best."""
    means = {
        rate: np.mean([_value(results, kind, trial.methods()[method][rate], kind.chosen_on) for trial in kind.trials])
        for rate in kind.trials[0].lofi
    }
    return min(means, key=lambda rate: means[rate] if kind.lower else -means[rate])


def _value(results: Results, kind: Written, model: Step, data: Step, name: str = "") -> float:
    step = kind.score(model, data, name)
    _needed(results, step)
    return next(one.value for one in results.store.measurements(step) if one.metric == kind.metric)


def _needed(results: Results, *steps: Step) -> None:
    if not all(results.store.has(step) for step in steps):
        raise SurefootError("The models that read were not measured yet.")


def _effect(kind: Written, pair: tuple[str, str], sets: Sequence[str], results: Results) -> tuple[Pooled, str]:
    """How much better the first method is than the second, over seeds and over what the sets' questions are of."""
    rates = {method: _rate(results, kind, method) for method in pair}
    rows = []
    for trial in kind.trials:
        ours, theirs = (trial.methods()[method][rate] for method, rate in rates.items())
        rows.append(np.concatenate([_by_cluster(results, kind, ours, theirs, name) for name in sets]) / len(sets))
    table = np.array(rows)
    table *= table.shape[1]  # so that the mean of all is the mean of the sets' means
    error, freedom = crossed_error(table)
    doubt = "" if len(table) >= LEAST_SEEDS else f"{len(table)} seeds decide nothing, {LEAST_SEEDS} are the least."
    ends = {min(kind.trials[0].lofi): "the lowest offered", max(kind.trials[0].lofi): "the highest offered"}
    said = " and ".join(
        f"{method} at {rate:g}{f', {ends[rate]}' if rate in ends else ''}" for method, rate in rates.items()
    )
    found = Pooled(value=float(table.mean()), stderr=error, n=len(table), freedom=freedom, doubt=doubt)
    return found, f"Rates chosen on other data: {said}"


def _by_cluster(results: Results, kind: Written, ours: Step, theirs: Step, name: str) -> NDArray[np.float64]:
    """By cluster its part of the mean difference over the set's examples, better being above zero."""
    steps = [kind.score(model, kind.tests[name], name) for model in (theirs, ours)]
    _needed(results, *steps)
    sums, counts = changes_by(kind.cluster, results, *steps)
    return sums / counts.sum() * (-1 if kind.lower else 1)


def written_figure(kind: Written) -> Callable[[Results], Figure]:
    """What each method reaches at its own rate, on each set."""

    def make(results: Results) -> Figure:
        rates = {method: _rate(results, kind, method) for method in kind.trials[0].methods()}
        models: dict[str, list[Step]] = {"start": [trial.base for trial in kind.trials]}
        models |= {method: [trial.methods()[method][rate] for trial in kind.trials] for method, rate in rates.items()}
        rows = [
            seeds_row(
                [_value(results, kind, one, data, name) for one in found],
                shares=kind.unit == "points",
                label=method,
                group=name,
                family=method,
            )
            for name, data in kind.tests.items()
            for method, found in models.items()
        ]
        return interval_plot(
            rows,
            name=f"lofi-{kind.name.replace(' ', '-')}",
            title=f"{MAIN} workers of {kind.name}, alone and together",
            caption=f"{kind.metric} on test data, each method at the rate that other data chose "
            f"({', '.join(f'{method} {rate:g}' for method, rate in rates.items())}). Bars: 95 percent, over seeds.",
            x_title=kind.noun,
            unit="share" if kind.unit == "points" else "number",
            reference=None,
            families=list(models),
        )

    return make
