"""Questions as windows of tokens, and the best span of each window: shared by training and answering."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from surefoot.core import SurefootError

if TYPE_CHECKING:
    import torch

MOST_QUESTION_TOKENS = 64
"""A longer question is cut, as the first BERT for SQuAD cut it (Devlin et al. 2018, 1810.04805)."""
TOKENS_AT_ONCE = 4096


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


def by_length(windows: TokenWindows, rows: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
    """The rows in batches of like lengths, of at most `TOKENS_AT_ONCE` tokens with their padding."""
    lengths = windows.lengths[rows]
    order = rows[np.argsort(lengths, kind="stable")]
    begin = 0
    for end in range(1, len(order) + 1):
        if end == len(order) or (end + 1 - begin) * len(windows.ids[order[end]]) > TOKENS_AT_ONCE:
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
