"""`surefoot reading evaluate` and `reading train`: readers of the user, asked and trained through the store."""

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from surefoot.cli._common import Exit, StoreOption, open_store
from surefoot.cli._language._reading import RuleOption, rule_of
from surefoot.cli._output import Format, emit, say
from surefoot.cli._study import make_missing
from surefoot.core import Step, Store, StoredInputs, Study, SurefootError, Table

if TYPE_CHECKING:
    from surefoot.language import CausalReader, ReadingScores

_ANSWERS = (".json", ".jsonl", ".parquet", ".gz")
_BASELINE = "sliding-window"


def evaluate(
    *,
    model: Annotated[
        str,
        Parameter(
            help="A directory of a span model or a causal model, a .gguf file, http(s)://host/v1#name, smollm2, "
            "sliding-window, or a file of predictions."
        ),
    ],
    data: Annotated[
        tuple[Path, ...], Parameter(help="A question file; may be given again.", negative=(), consume_multiple=False)
    ],
    rule: Annotated[RuleOption | None, Parameter(help="The rule of scoring. Default: by the data.")] = None,
    abstain: Annotated[
        tuple[str, ...], Parameter(help="A phrase that counts as the empty answer; may be given again.", negative=())
    ] = (),
    no_answer_above: Annotated[
        float | None, Parameter(help="Count a question as not answered where that score is larger (span models: 0).")
    ] = None,
    sample: Annotated[int | None, Parameter(help="Ask so many questions of each file, drawn by --seed.")] = None,
    seed: Annotated[int, Parameter(help="Of the sample and of the shots.")] = 0,
    shots: Annotated[int, Parameter(help="Examples in the prompt of a causal model.")] = 0,
    shots_from: Annotated[Path | None, Parameter(help="The question file that they are drawn from.")] = None,
    template: Annotated[Literal["completion", "chat"], Parameter(help="How a causal model is asked.")] = "completion",
    max_tokens: Annotated[int, Parameter(help="The longest answer of a causal model.")] = 32,
    context: Annotated[int, Parameter(help="The window of a causal model in tokens.")] = 2048,
    price: Annotated[
        tuple[float, float] | None, Parameter(help="Of a million tokens of prompts, and of answers: for --dry-run.")
    ] = None,
    dry_run: Annotated[bool, Parameter(help="Count requests, tokens and cost; ask nothing.", negative=())] = False,
    examples: Annotated[Path | None, Parameter(help="A folder for a file of examples a data set: for compare.")] = None,
    store: StoreOption = None,
    format: Annotated[Format | None, Parameter(help="Default: text on a terminal, TSV in a pipe.")] = None,
    out: Annotated[Path | None, Parameter(help="A file: .tsv, .csv, .json, .md, .tex, .parquet or .txt.")] = None,
) -> Exit:
    """Ask a reader, score its answers, and say how well it reads each file, with 95 percent intervals by article."""
    from surefoot.language import (
        CausalReader,
        PredictionFile,
        QuestionFile,
        QuestionSample,
        ReaderAnswers,
        ReadingScores,
        read_question_file,
    )

    _check_names(data, examples)
    place, reader = open_store(store), reader_of(model)
    if isinstance(reader, CausalReader):
        drawn = QuestionFile(path=str(shots_from)).pinned() if shots_from else None
        reader = replace(
            reader, shots=shots, examples=drawn, seed=seed, template=template, max_tokens=max_tokens, context=context
        )
        if shots_from and not shots:
            raise SurefootError("--shots-from needs --shots: how many examples stand in the prompt.")
    elif shots or shots_from or dry_run:
        raise SurefootError("--shots, --shots-from and --dry-run are for causal models.")
    asked: dict[str, ReadingScores] = {}
    for file in data:
        questions: Step = QuestionFile(path=str(file)).pinned()
        questions = questions if sample is None else QuestionSample(questions=questions, n=sample, seed=seed)
        answers = reader if isinstance(reader, PredictionFile) else ReaderAnswers(reader=reader, questions=questions)
        asked[str(file)] = ReadingScores(
            predictions=answers, questions=questions, rule=rule or rule_of(*read_question_file(file)),
            abstain=abstain, no_answer_above=no_answer_above, shift=_stem(file),
        )  # fmt: skip
    if dry_run and isinstance(reader, CausalReader):
        _count(reader, asked, place, price=price, format=format, out=out)
        return Exit.HOLDS
    failed = make_here(tuple(asked.values()), place)
    made = {name: step for name, step in asked.items() if place.has(step)}
    emit(Table(_COLUMNS, tuple(row for name, step in made.items() for row in _rows(name, step, place))), format, out)
    if examples:
        examples.mkdir(parents=True, exist_ok=True)
        for name, step in made.items():
            shutil.copyfile(place.path(step) / "examples.parquet", examples / f"{_stem(Path(name))}.parquet")
        say(f"Examples: {examples}")
    return Exit.CONTRADICTED if failed else Exit.HOLDS


def _stem(file: Path) -> str:
    return file.name.split(".")[0]


def _check_names(data: tuple[Path, ...], examples: Path | None) -> None:
    """Two files of one name would be one file of examples."""
    stems = [_stem(file) for file in dict.fromkeys(data)]
    twice = next((stem for stem in stems if stems.count(stem) > 1), None)
    if examples and twice is not None:
        raise SurefootError(f"Two data sets would be written to {examples / twice}.parquet: give them different names.")


def train(
    *,
    questions: Annotated[Path, Parameter(help="A question file with answers that stand in their paragraphs.")],
    out: Annotated[Path, Parameter(help="The directory of the model; it must not exist.")],
    encoder: Annotated[str, Parameter(help="minilm (packaged), or a directory of transformers.")] = "minilm",
    method: Annotated[Literal["full", "lora", "head"], Parameter(help="What is trained.")] = "full",
    robust: Annotated[Literal["none", "freelb", "r3f"], Parameter(help="Training against perturbation.")] = "none",
    layers: Annotated[int, Parameter(help="The lowest layers to keep; 0 keeps all.")] = 0,
    examples: Annotated[int | None, Parameter(help="Train on so many questions, drawn by --seed.")] = None,
    steps: Annotated[int | None, Parameter(help="Default: twice over the questions.")] = None,
    batch: Annotated[int, Parameter(help="Windows a step.")] = 16,
    rate: Annotated[float, Parameter(help="The highest learning rate.")] = 1e-4,
    max_tokens: Annotated[int, Parameter(help="The longest window of question and context.")] = 384,
    stride: Annotated[int, Parameter(help="Tokens by which windows overlap.")] = 128,
    seed: Annotated[int, Parameter(help="Of the sample, the head and the order.")] = 0,
    threads: Annotated[int, Parameter(help="Threads of the training; they change its last bits.")] = 1,
    store: StoreOption = None,
) -> Exit:
    """Train an encoder into a span reader, in Hugging Face's form; a training that was stopped goes on."""
    from surefoot.language import MiniLM, QuestionFile, QuestionSample, SpanModel, SpanReader, read_questions

    if out.exists():
        raise SurefootError(f"{out} is there already: name a new directory.")
    data: Step = QuestionFile(path=str(questions)).pinned()
    count = len(read_questions(questions)) if examples is None else examples
    data = data if examples is None else QuestionSample(questions=data, n=examples, seed=seed)
    step = SpanReader(
        encoder=MiniLM() if encoder == "minilm" else SpanModel(path=encoder).pinned(), questions=data,
        steps=ceil(2 * count / max(1, batch)) if steps is None else steps,
        batch=batch, method=method, robust=robust, layers=layers,
        learning_rate=rate, max_tokens=max_tokens, stride=stride, seed=seed, threads=threads,
    )  # fmt: skip
    place = open_store(store)
    if make_here((step,), place):
        return Exit.CONTRADICTED
    shutil.copytree(place.path(step), out, ignore=shutil.ignore_patterns("record.json"))
    loss = next(one for one in place.measurements(step) if one.metric == "loss")
    say(f"The reader is in {out}; its loss over the last tenth of the steps is {loss.value:.3g} nats.")
    return Exit.HOLDS


def make_here(steps: tuple[Step, ...], place: Store) -> int:
    """Make what is missing of the Steps, one after another in this process; how many failed."""
    return make_missing(Study(name="reading", title="", summary="", steps=steps), place, ("here", 1), retry=True)


_COLUMNS = ("data", "group", "metric", "value", "low", "high", "n", "key")


def _rows(name: str, step: "ReadingScores", place: Store) -> Iterator[tuple[object, ...]]:
    """Exact match and F1 in percent, of all questions and, where some have no answer, of those with and without."""
    for one in place.measurements(step):
        if one.metric in ("exact_match", "f1"):
            bounds = (None if bound is None else 100 * bound for bound in (one.low, one.high))
            yield (name, one.group, one.metric, 100 * one.value, *bounds, one.n, step.key)


def reader_of(model: str) -> Step:
    """The Step that a model's name means."""
    from surefoot.language import CausalReader, PredictionFile, SlidingWindow, SpanModel

    path = Path(model)
    if model == _BASELINE:
        return SlidingWindow()
    if "://" in model or model == "smollm2":
        return CausalReader(endpoint=model)
    if model.endswith(".gguf"):
        return CausalReader(path=model).pinned()
    if path.is_dir():
        return SpanModel(path=model).pinned() if _has_span_head(path) else CausalReader(path=model).pinned()
    if model.endswith(_ANSWERS):
        return PredictionFile(path=model).pinned()
    raise SurefootError(f"{model} is no model: give a directory, a .gguf file, a URL, or answers.")


def _has_span_head(directory: Path) -> bool:
    """By the architecture that the config names. Raises for one that is neither span nor causal model."""
    try:
        told = json.loads((directory / "config.json").read_text(encoding="utf-8"))
        names = [str(name) for name in told.get("architectures") or ()]
    except (OSError, ValueError, AttributeError) as error:
        raise SurefootError(f"{directory} is not a model: its config.json cannot be read ({error}).") from error
    if any(name.endswith("QuestionAnswering") for name in names):
        return True
    if any(name.endswith(("CausalLM", "LMHeadModel")) for name in names):
        return False
    said = ", ".join(names) or "none"
    raise SurefootError(
        f"{directory} is neither a span model nor a causal one (architectures: {said}). To train an encoder into a "
        "reader: surefoot reading train --encoder."
    )


def _count(
    reader: "CausalReader", asked: "dict[str, ReadingScores]", place: Store, *, price: tuple[float, float] | None,
    format: Format | None, out: Path | None,
) -> None:  # fmt: skip
    """What would be asked; only question files are read."""
    from surefoot.language import Prices, answers_file, count_requests, read_questions

    sets = [step.questions for step in asked.values()]
    make_here((*sets, *([reader.examples] if reader.examples else [])), place)
    inputs = StoredInputs(place)
    shots, prices, rows = reader.drawn(inputs), Prices(prompt=price[0], completion=price[1]) if price else None, []
    with reader.client(inputs, answers_file(place.root)) as client:
        for name, step in asked.items():
            requests = reader.requests(read_questions(inputs[step.questions]), shots)
            found = count_requests(client, [request for request, _ in requests], prices)
            cut = sum(cut for _, cut in requests)
            rows.append(
                (name, found.asked, found.cached, found.prompt_tokens, found.completion_tokens, found.cost, cut)
            )
    columns = ("data", "asked", "cached", "prompt tokens", "longest answers", "cost", "cut")
    emit(Table(columns, tuple(rows)), format, out)
