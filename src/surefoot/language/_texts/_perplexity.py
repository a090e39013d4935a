"""Perplexity: how well a language model expects a text."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from surefoot.core import Inputs, Measurement, Step, SurefootError, report_progress
from surefoot.examples import write_examples
from surefoot.language._models._language import LanguageModel, load_language, token_losses, windows_of
from surefoot.language._texts._styles import read_texts
from surefoot.stats import clustered_mean, t_quantile
from surefoot.training import reproducible

WINDOWS_AT_ONCE = 4
WINDOW = 128
MOST_LOSS = 709.0  # its exponential is the largest that a float holds


@dataclass(frozen=True, kw_only=True)
class Perplexity(Step):
    """The perplexity of a language model on texts.

    `model` is a Step whose directory `load_language` reads; `data` one with a `texts.json` (see `TextSet`). Each text
    is cut into windows of `length` tokens that begin anew from the end-of-text token. `task` and `shift` are written in
    the measurements. Writes `examples.parquet`: example, score (nats per token), document, tokens. Measures `loss`
    (nats per token) and `perplexity` (its exponential), see `language_measurements`. `threads` is a field because the
    number of threads changes sums. Raises `SurefootError` where the model or the texts cannot be read.
    """

    model: Step
    data: Step
    length: int = WINDOW
    task: str = "perplexity"
    shift: str = ""
    threads: int = 1
    version: ClassVar[int] = 2
    requires: ClassVar[tuple[str, ...]] = ("torch", "safetensors", "transformers")

    def make(self, out: Path, inputs: Inputs) -> Iterable[Measurement]:
        """Read every text once."""
        rows = read_texts(inputs[self.data])
        documents = [row["document"] for row in rows]
        with reproducible(self.threads):
            found = text_losses(load_language(inputs[self.model]), [row["text"] for row in rows], self.length, out)
        columns = {"example": [row["id"] for row in rows], "score": found.losses / found.tokens}
        write_examples(out, columns | {"document": documents, "tokens": found.tokens})
        return language_measurements(found, documents, task=self.task, shift=self.shift)


@dataclass(frozen=True, kw_only=True)
class TextLosses:
    """Of each of n texts: the sum of its tokens' cross-entropies in nats, and how many tokens it has."""

    losses: NDArray[np.float64]
    tokens: NDArray[np.int64]

    @property
    def loss(self) -> float:
        """Mean cross-entropy in nats per token, every token counted alike."""
        return float(self.losses.sum() / self.tokens.sum())

    @property
    def perplexity(self) -> float:
        """The exponential of the loss: 1 is certainty, the vocabulary's size is chance; infinity past all floats."""
        return math.exp(self.loss) if not self.loss > MOST_LOSS else math.inf


def text_losses(
    loaded: LanguageModel, texts: Sequence[str], length: int = WINDOW, out: Path | None = None
) -> TextLosses:
    """The cross-entropies of n texts under a model in memory. Progress is told in the directory `out` of a Step."""
    import torch

    if not texts:
        raise SurefootError("There are no texts to measure a perplexity on.")
    windows = windows_of(loaded, texts, length)
    losses, tokens = np.zeros(len(texts)), np.zeros(len(texts), dtype=np.int64)
    loaded.model.eval()
    with torch.inference_mode():
        for at in range(0, len(windows.tokens), WINDOWS_AT_ONCE):
            rows = slice(at, at + WINDOWS_AT_ONCE)
            counted = windows.counted[rows]
            sums = (token_losses(loaded, windows.tokens[rows]).double() * counted).sum(dim=1)
            np.add.at(losses, windows.text[rows].numpy(), sums.numpy())
            np.add.at(tokens, windows.text[rows].numpy(), counted.sum(dim=1).numpy())
            if out is not None:
                report_progress(out, at + len(counted), len(windows.tokens))
    return TextLosses(losses=losses, tokens=tokens)


def language_measurements(
    found: TextLosses, documents: Sequence[str], *, task: str, shift: str = ""
) -> list[Measurement]:
    """`loss` and `perplexity` of n texts, with Student's interval over whole documents (see `clustered_mean`).

    Excerpts of one document are alike, so documents are the sample; one document gives no interval, nor do losses that
    are all equal. The bounds of the perplexity are the exponentials of those of the loss.
    """
    counted = len(found.tokens)
    loss = Measurement(metric="loss", value=found.loss, n=counted, task=task, shift=shift)
    perplexity = replace(loss, metric="perplexity", value=found.perplexity)
    if len(set(documents)) < 2:
        return [loss, perplexity]
    mean = clustered_mean(found.losses, np.asarray(documents), sizes=found.tokens)
    half = t_quantile(0.95, mean.freedom) * mean.stderr
    if not half > 0:
        return [loss, perplexity]
    low, high = found.loss - half, found.loss + half
    ends = [math.exp(min(end, MOST_LOSS)) for end in (low, high)]
    return [replace(loss, stderr=mean.stderr, low=low, high=high), replace(perplexity, low=ends[0], high=ends[1])]
