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
from surefoot.cli._language._reading import (
    AboveOption,
    AbstainOption,
    FormatOption,
    OutOption,
    RuleName,
    RuleOption,
    percent_of,
    rule_of,
    unscored,
)
from surefoot.cli._output import check_place, emit, say
from surefoot.cli._study import make_missing
from surefoot.core import Step, Store, StoredInputs, Study, SurefootError, Table

if TYPE_CHECKING:
    from surefoot.language import CausalReader, Prices, ReadingScores, Request

TemplateOption = Annotated[Literal["completion", "chat"], Parameter(help="How a causal model is asked.")]
Price = tuple[float, float]
_ANSWERS = (".json", ".jsonl", ".parquet", ".gz")
_COLUMNS = ("data", "group", "metric", "value", "low", "high", "n", "key")
_SKIP = "Go on where an endpoint refuses a question, or fails at it at every try: it stays without an answer."


def evaluate(
    *,
    model: Annotated[
        str,
        Parameter(
            help="A directory of a span model or a causal model, a .gguf file, http(s)://host/v1#name, smollm2, "
            "sliding-window, or a file of predictions."
        ),
    ],
    data: Annotated[tuple[Path, ...], Parameter(help="A question file; may be given again.", consume_multiple=False)],
    rule: RuleOption = None,
    abstain: AbstainOption = (),
    no_answer_above: AboveOption = None,
    sample: Annotated[int | None, Parameter(help="Ask so many questions of each file, drawn by --seed.")] = None,
    seed: Annotated[int, Parameter(help="Of the sample and of the shots.")] = 0,
    shots: Annotated[int, Parameter(help="Examples in the prompt of a causal model.")] = 0,
    shots_from: Annotated[Path | None, Parameter(help="The question file that they are drawn from.")] = None,
    template: TemplateOption = "completion",
    max_tokens: Annotated[int, Parameter(help="The longest answer of a causal model.")] = 32,
    context: Annotated[int, Parameter(help="The window of a causal model in tokens.")] = 2048,
    connections: Annotated[int, Parameter(help="Requests at an endpoint at once.")] = 8,
    per_minute: Annotated[float | None, Parameter(help="Requests to an endpoint a minute, at most.")] = None,
    skip_refused: Annotated[bool, Parameter(help=_SKIP, negative=())] = False,
    price: Annotated[Price | None, Parameter(help="Of a million tokens of prompts, of answers: says the cost.")] = None,
    dry_run: Annotated[bool, Parameter(help="Count requests, tokens and cost; ask nothing.", negative=())] = False,
    examples: Annotated[Path | None, Parameter(help="A folder for a file of examples a data set: for compare.")] = None,
    store: StoreOption = None,
    format: FormatOption = None,
    out: OutOption = None,
) -> Exit:
    """Ask a reader the questions of files and score its answers: span models, causal models, endpoints, files.

    All goes through the store: what is answered is never asked again, also after a kill.

    Example: surefoot reading evaluate --model ./bert-squad --data dev-v1.1.json --sample 500
    """
    from surefoot.language import CausalReader, Prices, QuestionFile, ReadingScores, read_question_file

    check_place(out, format)
    stems = [_stem(file) for file in dict.fromkeys(data)]
    twice = next((stem for stem in stems if stems.count(stem) > 1), None)
    if examples and twice is not None:
        raise SurefootError(f"Two data sets would be written to {examples / twice}.parquet: give them different names.")
    place, reader = open_store(store), reader_of(model, template)
    if isinstance(reader, CausalReader):
        drawn = QuestionFile(path=str(shots_from)).pinned() if shots_from else None
        reader = replace(reader, shots=shots, examples=drawn, seed=seed, max_tokens=max_tokens, context=context)
        reader = replace(reader, skip_refused=skip_refused, connections=connections, per_minute=per_minute)
        if bool(shots_from) != bool(shots):
            raise SurefootError("--shots says how many examples stand in the prompt, --shots-from of which file: both.")
    elif shots or shots_from or dry_run:
        raise SurefootError("--shots, --shots-from and --dry-run are for causal models.")
    prices = Prices(prompt=price[0], completion=price[1]) if price else None
    asked: dict[str, ReadingScores] = {}
    for file in data:
        questions = questions_of(file, sample, seed)
        asked[str(file)] = ReadingScores(
            predictions=answers_of(reader, questions), questions=questions, shift=_stem(file),
            rule=rule or rule_of(*read_question_file(file)), abstain=abstain, no_answer_above=no_answer_above,
        )  # fmt: skip
    if dry_run and isinstance(reader, CausalReader):
        emit(_counted(reader, asked, place, prices), format, out)
        return Exit.HOLDS
    failed = make_here(tuple(asked.values()), place)
    made = {name: step for name, step in asked.items() if place.has(step)}
    for name, step in made.items():
        for sentence in (*_counts(step, place, step.rule), *remarks_of(step.predictions, place, prices)):
            say(f"{name}: {sentence}")
    told = [(name, step.key, one) for name, step in made.items() for one in place.measurements(step)]
    rows = [(name, one.group, one.metric, *percent_of(one), one.n, key) for name, key, one in told]
    emit(Table(_COLUMNS, tuple(row for row in rows if row[2] in ("exact_match", "f1"))), format, out)
    if examples:
        examples.mkdir(parents=True, exist_ok=True)
        for name, step in made.items():
            shutil.copyfile(place.path(step) / "examples.parquet", examples / f"{_stem(Path(name))}.parquet")
        say(f"Examples: {examples}")
    return Exit.CONTRADICTED if failed else Exit.HOLDS


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
    """Train the packaged MiniLM, or an encoder of yours, into a span reader in Hugging Face's form.

    A training that was stopped goes on.

    Example: surefoot reading train --questions train.json --out my-reader --layers 3
    """
    from surefoot.language import MiniLM, SpanModel, SpanReader, read_questions

    if out.exists():
        raise SurefootError(f"{out} is there already: name a new directory.")
    count = len(read_questions(questions)) if examples is None else examples
    step = SpanReader(
        encoder=MiniLM() if encoder == "minilm" else SpanModel(path=encoder).pinned(),
        questions=questions_of(questions, examples, seed),
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


def questions_of(file: Path, n: int | None, seed: int = 0) -> Step:
    """The questions of a file, or so many of them."""
    from surefoot.language import QuestionFile, QuestionSample

    every = QuestionFile(path=str(file)).pinned()
    return every if n is None else QuestionSample(questions=every, n=n, seed=seed)


def answers_of(reader: Step, questions: Step) -> Step:
    """What a reader answers; a file of predictions has them already."""
    from surefoot.language import PredictionFile, ReaderAnswers

    return reader if isinstance(reader, PredictionFile) else ReaderAnswers(reader=reader, questions=questions)


def reader_of(model: str, template: Literal["completion", "chat"]) -> Step:
    """The Step that a model's name means."""
    from surefoot.language import CausalReader, PredictionFile, SlidingWindow, SpanModel

    path = Path(model)
    if model == "sliding-window":
        return SlidingWindow()
    if "://" in model or model == "smollm2":
        return CausalReader(endpoint=model, template=template)
    if path.is_dir() and _has_span_head(path):
        return SpanModel(path=model).pinned()
    if path.is_dir() or model.endswith(".gguf"):
        return CausalReader(path=model, template=template).pinned()
    if model.endswith(_ANSWERS):
        return PredictionFile(path=model).pinned()
    raise SurefootError(f"{model} is no model: give a directory, a .gguf file, a URL, or answers.")


def _stem(file: Path) -> str:
    return file.name.split(".")[0]


def _has_span_head(directory: Path) -> bool:
    """By the architecture that the config names. Raises for one that is neither span nor causal model."""
    try:
        told = json.loads((directory / "config.json").read_text(encoding="utf-8"))
        names = [str(name) for name in told.get("architectures") or ()]
    except (OSError, ValueError, AttributeError) as error:
        raise SurefootError(f"{directory} is not a model: its config.json cannot be read ({error}).") from error
    spans = any(name.endswith("QuestionAnswering") for name in names)
    if not spans and not any(name.endswith(("CausalLM", "LMHeadModel")) for name in names):
        raise SurefootError(
            f"{directory} is neither a span model nor a causal one (architectures: {', '.join(names) or 'none'}). To "
            "train an encoder into a reader: surefoot reading train --encoder."
        )
    return spans


def _counts(step: Step, place: Store, rule: RuleName = "squad-1.1") -> Iterator[str]:
    counts = {one.metric: int(one.value) for one in place.measurements(step)}
    yield from (f"{count} {said}." for name, said in unscored(rule).items() if (count := counts.get(name)))


def remarks_of(told: Step, place: Store, prices: "Prices | None" = None) -> Iterator[str]:
    """What a reader's answers do not show: what was cut, refused, or spent, and who answered."""
    from surefoot.language import CausalReader, ReaderAnswers, answers_file, read_questions, usage

    if not isinstance(told, ReaderAnswers):
        return
    yield from _counts(told, place)
    reader, inputs = told.reader, StoredInputs(place)
    if not isinstance(reader, CausalReader) or "://" not in reader.endpoint:
        return
    with reader.client(inputs, answers_file(place.root)) as client:
        asked = [one for one, _ in reader.requests(read_questions(inputs[told.questions]), reader.drawn(inputs))]
        answers = client.answer(list(set(asked) - set(client.missing(asked))))
    used = usage((replace(one, cached=False) for one in answers), prices)
    how, cost = " (estimated)" * used.estimated, "" if used.cost is None else f", {used.cost:g} at these prices"
    tokens = f"{used.prompt_tokens:,} tokens of prompts and {used.completion_tokens:,} of answers{how}{cost}"
    yield f"{used.requests} requests took {tokens}."
    counts = {
        f"were cut at {reader.max_tokens} tokens": used.cut,
        "are empty": sum(not one.text.strip() for one in answers),
        "are longer than was allowed": sum(one.completion_tokens > reader.max_tokens for one in answers),
    }
    yield from (f"{count} answers {said}." for said, count in counts.items() if count)
    if used.builds:
        yield f"The endpoint says that {', '.join(used.builds)} answered."


def _counted(reader: "CausalReader", asked: "dict[str, ReadingScores]", place: Store, prices: "Prices | None") -> Table:
    """What would be asked; only question files are read."""
    from surefoot.language import answers_file, count_requests, read_questions

    sets = [step.questions for step in asked.values()]
    make_here((*sets, *([reader.examples] if reader.examples else [])), place)
    inputs, rows = StoredInputs(place), []
    before: set[Request] = set()
    shots = reader.drawn(inputs)
    with reader.client(inputs, answers_file(place.root)) as client:
        for name, step in asked.items():
            requests = reader.requests(read_questions(inputs[step.questions]), shots)
            every = {request for request, _ in requests}
            one, cut = count_requests(client, list(every - before), prices), sum(cut for _, cut in requests)
            before |= every  # what two sets share is asked once
            known = len(every) - one.asked
            rows.append((name, one.asked, known, one.prompt_tokens, one.completion_tokens, one.cost, cut))
    return Table(("data", "asked", "cached", "prompt tokens", "longest answers", "cost", "cut"), tuple(rows))
