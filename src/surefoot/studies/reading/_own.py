"""The study's own landscape: readers trained and asked here, in small and in full."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import inf
from pathlib import Path
from typing import Any, Literal

from surefoot.core import Step
from surefoot.language import (
    CausalReader,
    MiniLM,
    PromptReader,
    QuestionFile,
    QuestionSample,
    ReaderAnswers,
    ReadingScores,
    SlidingWindow,
    SmolLM2,
    SpanReader,
    SpanRegression,
)
from surefoot.laws import ShiftFit
from surefoot.stats import AXES, smallest_seen
from surefoot.studies.reading._published import BASELINE, CONTROL, IN_DISTRIBUTION

BudgetName = Literal["small", "full"]
SETS = {
    IN_DISTRIBUTION: "squad_v1.1_dev.json.gz",
    "squadshifts_new_wiki": "squadshifts_new_wiki_v1.0.json.gz",
    "squadshifts_amazon": "squadshifts_amazon_reviews_v1.0.json.gz",
    "squadshifts_reddit": "squadshifts_reddit_v1.0.json.gz",
    "natural questions": "nq_gold_paragraph.jsonl.gz",
}
"""The sets at hand: SQuAD in distribution, by articles held out, and four shifts."""
_CONTROL_FILE, _CONTROL_QUESTIONS = "xquad.en.json.gz", 256
"""XQuAD in English is SQuAD itself; so many of its questions are on articles that are held out."""
FREE = "no fine-tuning of an encoder"
"""Readers outside of the paper's adaptations: words in common, a logistic regression, a head on frozen features."""


@dataclass(frozen=True, kw_only=True)
class Budget:
    """How many questions a set a span reader and a causal model are asked; what is trained, on how many, for how long.

    `pool` questions are all that "fully fine-tuned" means here; None takes every one that is not held out.
    """

    questions: int
    asked: int
    pool: int | None
    layers: tuple[int, ...]
    steps: tuple[int, ...]
    few: tuple[int, ...]
    few_layers: tuple[int, ...]
    few_steps: int
    robust_layers: tuple[int, ...]
    robust_steps: int
    seeds: int
    shots: tuple[int, ...]
    prompted: tuple[tuple[int, int], ...]
    """Of each prompt fine-tuned model: examples and steps."""


BUDGETS: dict[BudgetName, Budget] = {
    "small": Budget(
        questions=150, asked=20, pool=2048, layers=(4, 6), steps=(15, 40, 100), few=(16, 64, 256),
        few_layers=(4, 6), few_steps=20, robust_layers=(4,), robust_steps=40, seeds=2, shots=(1,), prompted=(),
    ),
    "full": Budget(
        questions=1000, asked=200, pool=None, layers=(1, 2, 3, 4, 6), steps=(60, 250, 1000), few=(16, 64, 256, 1024),
        few_layers=(2, 4, 6), few_steps=60, robust_layers=(2, 4, 6), robust_steps=250, seeds=3, shots=(1, 4),
        prompted=((64, 32), (8192, 300)),
    ),
}  # fmt: skip


@dataclass(frozen=True)
class OwnReader:
    """A reader of the grid: how it was adapted, the Step that answers, and how many questions a set it is asked."""

    name: str
    adaptation: str
    reader: Step
    questions: int

    @property
    def family(self) -> str:
        """Span readers are a family by depth, others by what their name begins with."""
        layers = self.reader.layers if isinstance(self.reader, SpanReader) else 0
        return f"MiniLM, {layers} layers" if layers else self.name.split(",", maxsplit=1)[0]


def own_readers(budget: Budget, training: Step) -> Iterator[OwnReader]:
    """The grid, weakest first: everything is trained on questions of `training`, its articles are not tested."""
    every = QuestionSample(questions=training, part="train", n=budget.pool)
    yield OwnReader("sliding window", FREE, SlidingWindow(), budget.questions)
    for n in (512, 2000):
        regression = SpanRegression(questions=_few(training, n))
        yield OwnReader(f"logistic regression, {n}", FREE, regression, budget.questions)
    for seed in range(budget.seeds):
        for name, adaptation, options in _span_readers(budget, training, seed):
            given = {"encoder": MiniLM(), "questions": every, "learning_rate": 3e-4, "max_tokens": 256, "seed": seed}
            step = SpanReader(**given | options)
            yield OwnReader(f"{name}, {step.layers} layers, seed {seed}", adaptation, step, budget.questions)
    yield from _causal_readers(budget, training, every)


def _span_readers(budget: Budget, training: Step, seed: int) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Name, adaptation, and what is not as with all: fully fine-tuned, with adapters, robustly, on few examples."""
    few = _few(training, 1024, seed)
    yield "head alone", FREE, {"method": "head", "questions": few, "layers": 6, "steps": 300, "learning_rate": 1e-2}
    for layers in budget.layers:
        for steps in budget.steps:
            yield f"{steps} steps", BASELINE, {"layers": layers, "steps": steps}
        options = {"method": "lora", "layers": layers, "steps": max(budget.steps), "learning_rate": 1e-3}
        yield "LoRA", "adapter", options
    for layers in budget.robust_layers:
        for robust in ("freelb", "r3f"):
            yield robust, "robust training", {"robust": robust, "layers": layers, "steps": budget.robust_steps}
    for layers in budget.few_layers:
        for n in budget.few:
            options = {"questions": _few(training, n, seed), "steps": budget.few_steps, "layers": layers}
            yield f"{n} examples", "few-shot span", options


def _causal_readers(budget: Budget, training: Step, every: Step) -> Iterator[OwnReader]:
    """SmolLM2 asked as it is, with examples in context, and tuned on prompts."""
    for template in ("completion", "chat"):
        asked = CausalReader(endpoint="smollm2", template=template)
        yield OwnReader(f"SmolLM2, zero-shot, {template}", "zero-shot", asked, budget.asked)
    for shots in budget.shots:
        for seed in range(budget.seeds):
            asked = CausalReader(endpoint="smollm2", shots=shots, examples=_few(training, 64), seed=seed)
            yield OwnReader(f"SmolLM2, {shots}-shot, seed {seed}", "in context", asked, budget.asked)
    for examples, steps in budget.prompted:
        for seed in range(budget.seeds):
            fully = examples >= 8192
            taken = every if fully else _few(training, examples, seed)
            tuned = CausalReader(model=PromptReader(model=SmolLM2(), questions=taken, steps=steps, seed=seed))
            name = f"SmolLM2, prompt fine-tuned on {examples}, seed {seed}"
            yield OwnReader(name, "prompt fine-tuned" if fully else "few-shot prompt", tuned, budget.asked)


def _few(training: Step, n: int, seed: int = 0) -> QuestionSample:
    return QuestionSample(questions=training, part="train", n=n, seed=seed)


def own_landscape(name: BudgetName, folder: Path) -> tuple[ShiftFit, ...]:
    """The fits over the grid: on logit axes first, on the others, of whole families, and where nothing shifts."""
    budget = BUDGETS[name]
    sets = SETS | {CONTROL: _CONTROL_FILE}
    files = {shown: QuestionFile(path=str(folder / file)).pinned() for shown, file in sets.items()}
    readers = list(own_readers(budget, files[IN_DISTRIBUTION]))
    main = _fit(readers, {shown: files[shown] for shown in SETS})
    control = _fit(readers, {shown: files[shown] for shown in (IN_DISTRIBUTION, CONTROL)})
    return (*(replace(main, axis=axis) for axis in AXES), replace(main, axis="logit", cluster=True), control)


def _fit(readers: Sequence[OwnReader], files: Mapping[str, QuestionFile]) -> ShiftFit:
    """A line over the readers' answers to these sets, of SQuAD and the control to held-out articles alone."""
    tested = [(one, shown) for one in readers for shown in files]
    results: list[ReadingScores] = []
    for one, shown in tested:
        part = "held-out" if shown in (IN_DISTRIBUTION, CONTROL) else "all"
        n = min(one.questions, _CONTROL_QUESTIONS) if shown == CONTROL else one.questions
        asked = QuestionSample(questions=files[shown], part=part, n=n)
        answers = ReaderAnswers(reader=one.reader, questions=asked, max_tokens=256)
        results.append(ReadingScores(predictions=answers, questions=asked, task=shown))
    models, groups, families = zip(*((one.name, one.adaptation, one.family) for one, _ in tested), strict=True)
    return ShiftFit(
        results=tuple(results), x=(IN_DISTRIBUTION,), models=models, groups=groups, families=families, metric="f1",
        baseline=tuple(one.name for one in readers if one.adaptation == BASELINE),
    )  # fmt: skip


def seen_beforehand(budget: Budget) -> str:
    """What questions alone leave open of one reader's effective robustness, worked out before anything is run.

    F1 of a question has a standard deviation of about .45; in SQuAD's about ten held-out articles the scores correlate
    by about .02 (BERT's and logistic regression's do by .016 and .03), elsewhere articles are many and small. The line
    has a slope below one: it is taken as one.
    """
    n, shifts = budget.questions, len(SETS) - 1
    across = 0.45 * ((1 + (n / 10 - 1) * 0.02) / n) ** 0.5
    error = ((0.45 / (n * shifts) ** 0.5) ** 2 + across**2) ** 0.5
    return (
        f"{n} questions a set leave one reader's effective robustness a standard error of {100 * error:.1f} points: "
        f"{100 * smallest_seen(error, inf):.0f} points would be seen nine times of ten, and less between groups, which "
        "share questions."
    )
