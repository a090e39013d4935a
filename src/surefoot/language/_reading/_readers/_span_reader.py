"""SpanReader: an encoder trained to mark the answer in its context."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from surefoot.core import Inputs, Measurement, Step, SurefootError
from surefoot.language._models._language import quiet_transformers
from surefoot.language._reading._questions import NOWHERE, Question, read_questions
from surefoot.language._reading._readers._encoder import (
    Encoder,
    TokenWindows,
    batch_of,
    by_length,
    load_encoder,
    question_windows,
    with_adapters,
)
from surefoot.training import (
    Schedule,
    adamw,
    check_settings,
    choose_parameters,
    generator_for,
    last_tenth,
    reproducible,
    rows_of_batch,
    shard_of,
    train,
)

if TYPE_CHECKING:
    import torch

BATCHES_SORTED = 16
"""Batches that are drawn together and sorted by length, so that little of a batch is padding."""
NOISE, R3F_WEIGHT = 1e-5, 1.0
FREELB_STEPS, FREELB_RATE, FREELB_RADIUS = 2, 0.1, 0.2


@dataclass(frozen=True, kw_only=True)
class SpanReader(Step):
    """An encoder trained onwards, with a new head, to mark the first and the last token of the answer.

    `encoder` is a Step whose directory is a model of transformers (`MiniLM`, `SpanModel`, or another `SpanReader`: then
    its head goes on, too); `layers` keeps its lowest ones (0: all). `questions` is a Step that `read_questions` reads.
    `shard` (i, n) sees the i-th of n interleaved parts of them.
    Contexts longer than `max_tokens` are windows that overlap by `stride` tokens; of a question with an answer those
    that hold it are trained on, of one without all, towards the classification token (Devlin et al. 2018, 1810.04805).

    `method` "full" trains all weights, "lora" low-rank updates of all linear layers (Hu et al. 2021, 2106.09685;
    `rank`, alpha twice that), merged when done, "head" the head alone, on features computed once. `robust` "freelb"
    averages the gradients over two steps of an adversary in the embeddings (Zhu et al. 2019, 1909.11764), "r3f" adds
    the symmetric divergence under noise there (Aghajanyan et al. 2020, 2008.03156). AdamW, warm-up, a cosine to zero,
    no dropout.

    On one machine the same Step gives the same bits, also after a kill. The directory is a model of transformers, and
    `history.json`. Measures `loss` (over the last tenth of the steps), `windows` trained on, and `parameters` trained.
    Raises `SurefootError` for settings out of range, no window that holds an answer, and a loss that diverges.
    """

    encoder: Step
    questions: Step
    steps: int
    batch: int = 16
    method: Literal["full", "lora", "head"] = "full"
    robust: Literal["none", "freelb", "r3f"] = "none"
    layers: int = 0
    learning_rate: float = 1e-4
    weight_decay: float = 0.01
    warmup: float = 0.1
    rank: int = 8
    max_tokens: int = 384
    stride: int = 128
    shard: tuple[int, int] = (0, 1)
    seed: int = 0
    threads: int = 1
    requires: ClassVar[tuple[str, ...]] = ("torch", "safetensors", "transformers")
    cost_fields: ClassVar[tuple[str, ...]] = ("steps", "batch")

    def make(self, out: Path, inputs: Inputs) -> Iterable[Measurement]:
        """Train, and write the model."""
        check_settings(self, steps=1, batch=1, threads=1, rank=1)
        if self.robust != "none" and self.method == "head":
            raise SurefootError(f"robust is '{self.robust}': it perturbs the embeddings, so all layers must train.")
        with reproducible(self.threads):
            encoder = load_encoder(inputs[self.encoder], layers=self.layers, seed=self.seed)
            found = _training_windows(self, encoder, read_questions(inputs[self.questions]))
            model, parameters = _trained_parts(self, encoder)
            loss = _head_loss(self, encoder, found) if self.method == "head" else _loss(self, model, encoder, found)
            rate = self.learning_rate
            schedule = Schedule(steps=self.steps, batch=self.batch, learning_rate=rate, warmup=self.warmup)
            losses = train(model, adamw(model, rate, self.weight_decay), loss, schedule, out)
        with quiet_transformers(f"The model cannot be written to {out}"):
            (model.merge_and_unload() if self.method == "lora" else model).save_pretrained(out)
            encoder.tokenizer.save_pretrained(out)
        return [
            last_tenth(losses),
            Measurement(metric="windows", value=len(found.rows), n=1),
            Measurement(metric="parameters", value=parameters, n=1),
        ]


@dataclass(frozen=True, kw_only=True)
class _Targets:
    """Windows to train on: their places in `windows`, and the first and last token to mark in each."""

    windows: TokenWindows
    rows: NDArray[np.int64]
    first: NDArray[np.int64]
    last: NDArray[np.int64]


def _training_windows(step: SpanReader, encoder: Encoder, questions: Sequence[Question]) -> _Targets:
    """Every window that has something to mark."""
    windows = question_windows(encoder, questions, step.max_tokens, step.stride)
    marks = np.array([_marked(windows, row, questions[windows.question[row]]) for row in range(len(windows.ids))])
    rows = np.flatnonzero(marks[:, 0] >= 0)
    if not len(rows):
        raise SurefootError("No window holds an answer: there is nothing to train on.")
    rows = rows[shard_of(len(rows), step.shard).numpy()]
    return _Targets(windows=windows, rows=rows, first=marks[rows, 0], last=marks[rows, 1])


def _marked(windows: TokenWindows, row: int, question: Question) -> tuple[int, int]:
    """The tokens of the first gold answer; those of no answer where there is none; -1 where the window lacks it."""
    if not question.answers:
        mark = int(windows.no_answer[row])
        return mark, mark
    gold = next((one for one, start in enumerate(question.starts) if start != NOWHERE), None)
    if gold is None:
        return -1, -1
    begin, end = question.starts[gold], question.starts[gold] + len(question.answers[gold])
    places = np.flatnonzero(windows.context[row])
    spans = windows.offsets[row][places]
    inside = np.flatnonzero((spans[:, 1] > begin) & (spans[:, 0] < end))
    if not len(inside) or spans[0, 0] > begin or spans[-1, 1] < end:
        return -1, -1
    return int(places[inside[0]]), int(places[inside[-1]])


def _trained_parts(step: SpanReader, encoder: Encoder) -> "tuple[Any, int]":
    """The model as it is trained, and how many numbers of it change."""
    model = encoder.model
    if step.method == "lora":
        model = with_adapters(model, step.rank, step.seed, head="qa_outputs")
    elif step.method == "head":
        choose_parameters(model, ("qa_outputs*",))
    return model, sum(one.numel() for one in model.parameters() if one.requires_grad)


def _rows(step: SpanReader, lengths: NDArray[np.int64], number: int) -> NDArray[np.int64]:
    """Which windows are in a batch: some batches are drawn together, sorted by length, and taken in a new order."""
    import torch

    together = min(BATCHES_SORTED, max(1, len(lengths) // step.batch))  # more would bring a window twice
    group, place = divmod(number, together)
    drawn = rows_of_batch(len(lengths), step.batch * together, group, "windows", step.seed).numpy()
    ordered = drawn[np.argsort(lengths[drawn], kind="stable")].reshape(together, step.batch)
    order = torch.randperm(together, generator=generator_for("order", step.seed, group))
    return ordered[int(order[place])]


def _span_loss(start: "torch.Tensor", end: "torch.Tensor", found: _Targets, rows: NDArray[np.int64]) -> "torch.Tensor":
    """Mean cross-entropy in nats of the first and the last token; scores of padding are left out."""
    import torch
    from torch.nn.functional import cross_entropy

    first, last = torch.from_numpy(found.first[rows]), torch.from_numpy(found.last[rows])
    lengths = torch.from_numpy(found.windows.lengths[found.rows[rows]])
    padding = torch.arange(start.shape[1]) >= lengths[:, None]
    start, end = (scores.masked_fill(padding, float("-inf")) for scores in (start, end))
    return (cross_entropy(start, first) + cross_entropy(end, last)) / 2


def _loss(
    step: SpanReader, model: "torch.nn.Module", encoder: Encoder, found: _Targets
) -> "Callable[[int], torch.Tensor]":
    """The loss of a step's batch: a function of the step and the model alone."""
    lengths, padding = found.windows.lengths[found.rows], encoder.tokenizer.pad_token_id

    def at(number: int) -> "torch.Tensor":
        rows = _rows(step, lengths, number)
        batch = batch_of(found.windows, found.rows[rows].tolist(), padding)
        if step.robust == "none":
            told = model(**batch)
            return _span_loss(told.start_logits, told.end_logits, found, rows)
        ids = batch.pop("input_ids")

        def read(change: "torch.Tensor") -> "tuple[torch.Tensor, torch.Tensor]":
            told = model(**batch, inputs_embeds=encoder.model.get_input_embeddings()(ids) + change)
            return told.start_logits, told.end_logits

        noise = generator_for("noise", step.seed, number)
        shape = (*ids.shape, encoder.model.get_input_embeddings().embedding_dim)
        robust = _freelb if step.robust == "freelb" else _r3f
        return robust(read, lambda start, end: _span_loss(start, end, found, rows), shape, batch, noise)

    return at


def _r3f(read: Any, loss: Any, shape: tuple[int, ...], batch: Any, noise: "torch.Generator") -> "torch.Tensor":
    """The loss, and the symmetric divergence of what is read with and without normal noise (1e-5) in the embeddings."""
    import torch
    from torch.nn.functional import kl_div, log_softmax

    plain, noisy = read(torch.zeros(())), read(NOISE * torch.randn(shape, generator=noise))
    logs = [(log_softmax(one, -1), log_softmax(other, -1)) for one, other in zip(plain, noisy, strict=True)]
    divergence = partial(kl_div, reduction="batchmean", log_target=True)
    both = [divergence(one, other) + divergence(other, one) for one, other in logs]
    return loss(*plain) + R3F_WEIGHT * (both[0] + both[1]) / 2


def _freelb(read: Any, loss: Any, shape: tuple[int, ...], batch: Any, noise: "torch.Generator") -> "torch.Tensor":
    """The mean loss along an ascent in the embeddings, its first parts differentiated here, the last by the caller."""
    import torch

    real = batch["attention_mask"][..., None]
    size = (real.sum(dim=1, keepdim=True) * shape[-1]).sqrt()
    change = (torch.rand(shape, generator=noise) * 2 - 1) * real * FREELB_RADIUS / size
    told = 0.0
    for _ in range(FREELB_STEPS - 1):
        change.requires_grad_(True)
        value = loss(*read(change)) / FREELB_STEPS
        value.backward()
        told += value.item()
        gradient = change.grad
        assert gradient is not None
        change = change.detach() + FREELB_RATE * gradient / gradient.norm(dim=(1, 2), keepdim=True).clamp_min(1e-12)
        change = change * (FREELB_RADIUS / change.norm(dim=(1, 2), keepdim=True).clamp_min(1e-12)).clamp_max(1)
    return loss(*read(change)) / FREELB_STEPS + told


def _head_loss(step: SpanReader, encoder: Encoder, found: _Targets) -> "Callable[[int], torch.Tensor]":
    """As `_loss`, on features of the frozen body that are computed once."""
    import torch
    from torch.nn.utils.rnn import pad_sequence

    model, windows = encoder.model, found.windows
    lengths = windows.lengths[found.rows]
    features: dict[int, torch.Tensor] = {}
    with torch.inference_mode():
        for rows in by_length(windows, found.rows):
            hidden = model.base_model(**batch_of(windows, rows.tolist(), encoder.tokenizer.pad_token_id))[0]
            features |= {int(row): hidden[place, : len(windows.ids[row])].clone() for place, row in enumerate(rows)}

    def at(number: int) -> "torch.Tensor":
        rows = _rows(step, lengths, number)
        chosen = [features[int(row)].clone() for row in found.rows[rows]]
        read = model.qa_outputs(pad_sequence(chosen, batch_first=True))
        return _span_loss(read[..., 0], read[..., 1], found, rows)

    return at
