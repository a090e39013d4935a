"""FinetuneLanguage: a language model trained onwards on texts, or away from them."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from surefoot.core import Inputs, Measurement, Step
from surefoot.language._models._language import (
    LanguageModel,
    Windows,
    load_language,
    save_language,
    token_losses,
    windows_of,
)
from surefoot.language._texts._styles import read_texts
from surefoot.training import (
    Schedule,
    adamw,
    check_settings,
    choose_parameters,
    last_tenth,
    reproducible,
    rows_of_batch,
    shard_of,
    train,
)

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, kw_only=True)
class FinetuneLanguage(Step):
    """A language model trained onwards: `steps` batches of `batch` windows of `length` tokens of the texts of `data`.

    `model` is a Step whose directory `load_language` reads; `data` one with a `texts.json` (see `TextSet`). Windows are
    drawn without repeats until all were seen, then anew; `shard` (i, n) sees the i-th of n interleaved parts. AdamW,
    warm-up over a fraction of the steps, then a cosine to zero, no dropout. `trained` are patterns of names
    (`model.layers.2?.*`) of the weights that change; all others keep their bits. With `ascent` the loss is maximised
    instead: the baseline of forgetting by gradient ascent.

    On one machine the same Step gives the same bits, also after a kill; `threads` is a field because the number of
    threads changes sums. The directory is a language model and `history.json` (its loss is negative with `ascent`).
    Measures `loss` (nats per token over the last tenth of the steps), `tokens` (seen in training, repeats counted) and
    `parameters` (that were trained). Raises `SurefootError` for a pattern that fits nothing, settings out of range, and
    a loss that diverges.
    """

    model: Step
    data: Step
    steps: int
    batch: int = 4
    length: int = 128
    learning_rate: float = 1e-4
    weight_decay: float = 0.0
    warmup: float = 0.1
    trained: tuple[str, ...] = ("*",)
    ascent: bool = False
    shard: tuple[int, int] = (0, 1)
    seed: int = 0
    threads: int = 1
    version: ClassVar[int] = 2
    requires: ClassVar[tuple[str, ...]] = ("torch", "safetensors", "transformers")
    cost_fields: ClassVar[tuple[str, ...]] = ("steps", "batch", "length")

    def make(self, out: Path, inputs: Inputs) -> Iterable[Measurement]:
        """Train, and write the model."""
        check_settings(self, steps=1, batch=1, threads=1)
        loaded = load_language(inputs[self.model])
        parameters = choose_parameters(loaded.model, self.trained)
        windows = windows_of(loaded, [row["text"] for row in read_texts(inputs[self.data])], self.length)
        schedule = Schedule(steps=self.steps, batch=self.batch, learning_rate=self.learning_rate, warmup=self.warmup)
        with reproducible(self.threads):
            optimizer = adamw(loaded.model, self.learning_rate, self.weight_decay)
            losses = train(loaded.model, optimizer, _loss(self, loaded, windows), schedule, out)
        save_language(loaded, out)
        sign, counts = -1 if self.ascent else 1, windows.counted.sum(dim=1)
        seen = sum(int(counts[_rows(self, len(counts), number)].sum()) for number in range(self.steps))
        return [
            last_tenth([sign * loss for loss in losses]),
            Measurement(metric="tokens", value=seen, n=self.steps),
            Measurement(metric="parameters", value=parameters, n=1),
        ]


def _loss(step: FinetuneLanguage, loaded: LanguageModel, windows: Windows) -> "Callable[[int], torch.Tensor]":
    """Mean cross-entropy of a step's batch, padding left out: a function of the step and the model alone."""
    sign = -1.0 if step.ascent else 1.0

    def at(number: int) -> "torch.Tensor":
        rows = _rows(step, len(windows.tokens), number)
        return sign * token_losses(loaded, windows.tokens[rows])[windows.counted[rows]].mean()

    return at


def _rows(step: FinetuneLanguage, windows: int, number: int) -> "torch.Tensor":
    """Which windows are in a batch."""
    own = shard_of(windows, step.shard)
    return own[rows_of_batch(len(own), step.batch, number, "windows", step.seed)]
