"""Readers out of causal models: prompts, with or without examples in context, and training on prompts."""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

from surefoot.core import Inputs, Measurement, Step, SurefootError, check_pinned, digest_of, unkeyed
from surefoot.language._clients._client import Client, answers_file
from surefoot.language._clients._open import endpoint_of, open_client
from surefoot.language._clients._protocol import ClientOptions, Request, estimated_tokens
from surefoot.language._models._language import load_language, save_language
from surefoot.language._reading._questions import Question, read_questions
from surefoot.language._reading._readers._answers import Answer, Answering, Reader
from surefoot.language._reading._readers._encoder import with_adapters
from surefoot.stats import shuffled
from surefoot.training import Schedule, adamw, last_tenth, reproducible, rows_of_batch, train

if TYPE_CHECKING:
    import torch

Template = Literal["completion", "chat"]
INSTRUCTION = (
    "Answer the question with the shortest part of the passage that answers it. Give that part and nothing else."
)
_LABEL = re.compile(
    r"^(?:(?:the )?(?:correct )?answer(?: to (?:this|the) question)? is\b\s*:?|(?:answer|a)\s*:)\s*", re.IGNORECASE
)
_QUOTES = "\"'`“”‘’«»*"


@dataclass(frozen=True, kw_only=True)
class CausalReader(Reader):
    """A causal language model that is asked: nothing of it is trained.

    The model is one of: `model`, a Step whose directory `open_client` takes; `endpoint`, a name that it takes
    (`http(s)://host/v1#name`, "smollm2"); or `path`, a directory or .gguf file of the user, known by its content after
    `.pinned()`. `template` "completion" sends passage, question and "Answer:" as a text to go on with, "chat" an
    instruction and turns. `shots` examples, drawn by `seed` from those of `examples` that have an answer, stand before
    the question: as many of them as fit into `context` tokens (estimated from characters) with `max_tokens` of answer;
    a passage that does not fit alone is cut at its end. Both are counted in `cut` of the answers.

    The answer is the first line that is not empty, without "Answer:" or "The answer is" before it, quotes around it,
    and a full stop at its end. It is asked at temperature 0 through the cache of the store: nothing is asked twice.
    With `skip_refused` a question that an endpoint refuses, or fails at in every try, has no answer, in place of an
    error. Measures `shots`.
    """

    model: Step | None = None
    endpoint: str = ""
    digest: str = ""
    template: Template = "completion"
    shots: int = 0
    examples: Step | None = None
    seed: int = 0
    max_tokens: int = 32
    context: int = 2048
    body: tuple[tuple[str, str | float | bool | None], ...] = ()
    skip_refused: bool = False
    path: str = unkeyed("")
    connections: int = unkeyed(8)
    per_minute: float | None = unkeyed(None)

    def __post_init__(self) -> None:
        if "://" in self.endpoint:
            endpoint_of(self.endpoint)  # a password in it would stand in the record of the Step
        if self.shots < 0:
            raise SurefootError(f"shots is {self.shots}: it must be at least 0.")

    def make(self, out: Path, inputs: Inputs) -> Iterable[Measurement]:
        """Check what is asked; the shots are drawn when they are needed."""
        if sum(map(bool, (self.model, self.endpoint, self.digest))) != 1:
            raise SurefootError("CausalReader takes one of model, endpoint and path (then write .pinned()).")
        return [Measurement(metric="shots", value=len(self.drawn(inputs)), n=1)]

    def pinned(self) -> Self:
        """With the whole path of the model and the digest of its files."""
        place = Path(self.path).absolute()
        return replace(self, path=str(place), digest=digest_of(place))

    def drawn(self, inputs: Inputs) -> list[Question]:
        """The examples in context, in their order. Raises `SurefootError` where there are too few."""
        known = read_questions(inputs[self.examples]) if self.shots and self.examples else []
        by_id = {one.id: one for one in known if one.answers}
        if len(by_id) < self.shots:
            raise SurefootError(f"shots is {self.shots}: there are {len(by_id)} examples with an answer to draw from.")
        return [by_id[id] for id in shuffled(by_id, self.seed)[: self.shots]]

    def client(self, inputs: Inputs, cache: Path) -> Client:
        """The model, opened; answers are kept in the file `cache`. Close it."""
        if self.digest:
            check_pinned(self)
        named = str(inputs[self.model]) if self.model else self.path if self.digest else self.endpoint
        options = ClientOptions(
            api="chat" if self.template == "chat" else "completions", body=self.body, context=self.context,
            on_error="record" if self.skip_refused else "raise",
            connections=self.connections, per_minute=self.per_minute,
        )  # fmt: skip
        return open_client(named, options, cache=cache)

    def answering(self, inputs: Inputs, out: Path) -> Answering:
        """See `Reader`."""
        shots = self.drawn(inputs)

        def answer(questions: Sequence[Question]) -> list[Answer]:
            asked = self.requests(questions, shots)
            with self.client(inputs, answers_file(out)) as client:
                told = client.answer([request for request, _ in asked])
            both = zip(told, asked, strict=True)
            return [Answer(clean_answer(one.text), None, cut, one.finish == "error") for one, (_, cut) in both]

        return answer

    def requests(self, questions: Sequence[Question], shots: Sequence[Question]) -> list[tuple[Request, bool]]:
        """What is asked for each question, and whether something was left out to fit it into the window."""
        return [self._fitting(one, list(shots)) for one in questions]

    def _fitting(self, question: Question, shots: list[Question]) -> tuple[Request, bool]:
        room, wanted = self.context - self.max_tokens - 16, len(shots)
        while shots and sum(estimated_tokens(text) for _, text in _turns(question, shots)) > room:
            shots = shots[:-1]
        over = sum(estimated_tokens(text) for _, text in _turns(question, shots)) - room
        if over > 0:
            question = replace(question, context=question.context[: max(1, len(question.context) - 4 * over)])
        cut = over > 0 or len(shots) < wanted
        if self.template == "chat":
            return Request(messages=_turns(question, shots), max_tokens=self.max_tokens), cut
        return Request(prompt=completion_prompt(question, shots), max_tokens=self.max_tokens, stop=("\n",)), cut


@dataclass(frozen=True, kw_only=True)
class PromptReader(Step):
    """A causal model trained on prompts of questions with their answers; `CausalReader(model=...)` then asks it.

    `model` is a Step whose directory is a causal model of transformers. The prompt is that of `CausalReader` without
    shots, as "completion"; the loss is on the tokens of the first answer and the line's end alone. What is longer than
    `max_tokens` loses the beginning of its passage. `method` "full" trains all weights, "lora" low-rank updates of all
    linear layers (`rank`, alpha twice that), merged when done. On one machine the same Step gives the same bits, also
    after a kill. Measures `loss` (nats a token of the answers), and `parameters` trained.
    """

    model: Step
    questions: Step
    steps: int
    batch: int = 4
    method: Literal["full", "lora"] = "lora"
    learning_rate: float = 1e-4
    warmup: float = 0.1
    rank: int = 8
    max_tokens: int = 384
    seed: int = 0
    threads: int = 1
    requires: ClassVar[tuple[str, ...]] = ("torch", "safetensors", "transformers", "peft")
    cost_fields: ClassVar[tuple[str, ...]] = ("steps", "batch")

    def make(self, out: Path, inputs: Inputs) -> Iterable[Measurement]:
        """Train, and write the model."""
        questions = [one for one in read_questions(inputs[self.questions]) if one.answers]
        if not questions or min(self.steps, self.batch, self.rank) < 1:
            raise SurefootError("PromptReader needs questions with answers, and steps, batch and rank of at least 1.")
        with reproducible(self.threads):
            loaded = load_language(inputs[self.model])
            trained = with_adapters(loaded.model, self.rank, self.seed) if self.method == "lora" else loaded.model
            rate, loss = self.learning_rate, _loss(self, trained, loaded.tokenizer, questions)
            schedule = Schedule(steps=self.steps, batch=self.batch, learning_rate=rate, warmup=self.warmup)
            losses = train(trained, adamw(trained, rate, 0.0), loss, schedule, out)
        count = sum(one.numel() for one in trained.parameters() if one.requires_grad)
        model = trained.merge_and_unload() if self.method == "lora" else trained
        save_language(replace(loaded, model=model), out)
        return [last_tenth(losses), Measurement(metric="parameters", value=count, n=1)]


def clean_answer(text: str) -> str:
    """A model's words as an answer: see `CausalReader`."""
    line = next((one.strip() for one in text.splitlines() if one.strip()), "")
    return _LABEL.sub("", line).strip(_QUOTES + " ").removesuffix(".").strip(_QUOTES + " ")


def completion_prompt(question: Question, shots: Sequence[Question] = ()) -> str:
    """Passage, question and "Answer:" of each shot with its answer, and of the question without."""
    parts = [f"{_asked(one)} {one.answers[0]}" for one in shots]
    return "\n\n".join([*parts, _asked(question)])


def _asked(one: Question) -> str:
    return f"{one.context.strip()}\nQuestion: {one.question.strip()}\nAnswer:"


def _turns(question: Question, shots: Sequence[Question]) -> tuple[tuple[str, str], ...]:
    """A chat: the instruction, each shot with its answer, the question."""
    told: list[tuple[str, str]] = [("system", INSTRUCTION)]
    for one in shots:
        told += [("user", _asked(one)), ("assistant", one.answers[0])]
    return (*told, ("user", _asked(question)))


def _loss(
    step: PromptReader, model: "torch.nn.Module", tokenizer: Any, questions: Sequence[Question]
) -> "Callable[[int], torch.Tensor]":
    import torch
    from torch.nn.functional import cross_entropy
    from torch.nn.utils.rnn import pad_sequence

    prompts = tokenizer([completion_prompt(one) for one in questions], add_special_tokens=False)["input_ids"]
    ends = tokenizer([f" {one.answers[0]}\n" for one in questions], add_special_tokens=False)["input_ids"]
    kept = [prompt[-max(1, step.max_tokens - len(end)) :] for prompt, end in zip(prompts, ends, strict=True)]
    rows = [torch.tensor([*prompt, *end]) for prompt, end in zip(kept, ends, strict=True)]
    goals = [torch.tensor([*[-100] * len(prompt), *end]) for prompt, end in zip(kept, ends, strict=True)]

    def at(number: int) -> "torch.Tensor":
        chosen = rows_of_batch(len(rows), step.batch, number, "prompts", step.seed).tolist()
        ids = pad_sequence([rows[row] for row in chosen], batch_first=True)
        goal = pad_sequence([goals[row] for row in chosen], batch_first=True, padding_value=-100)
        real = (torch.arange(ids.shape[1]) < torch.tensor([[len(rows[row])] for row in chosen])).long()
        logits = model(input_ids=ids, attention_mask=real).logits
        return cross_entropy(logits[:, :-1].flatten(0, 1), goal[:, 1:].flatten(), ignore_index=-100)

    return at
