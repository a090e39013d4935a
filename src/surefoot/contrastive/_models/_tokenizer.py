"""OpenCLIP's tokenizer, restricted to the tokens that occur."""

from collections.abc import Iterable, Sequence
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch
    from open_clip import SimpleTokenizer

PADDING = 0


class RestrictedTokenizer:
    """Token ids 1, 2, ... for the kept tokens of OpenCLIP's byte-pair vocabulary in their own order; 0 pads.

    Called with texts it gives an int64 tensor (texts, context_length), as OpenCLIP's tokenizers do. A token outside
    the vocabulary is left out of the text: its embedding was never trained. The end-of-text token keeps the highest
    id, where CLIP's text tower looks for it.
    """

    def __init__(self, vocabulary: Sequence[int], context_length: int) -> None:
        self.vocabulary = tuple(vocabulary)
        self.context_length = context_length
        self._new_id = {token: position for position, token in enumerate(self.vocabulary, start=1)}

    def __call__(self, texts: str | Sequence[str], context_length: int | None = None) -> "torch.Tensor":
        import torch

        texts = [texts] if isinstance(texts, str) else list(texts)
        length = context_length or self.context_length
        ids = torch.full((len(texts), length), PADDING, dtype=torch.long)
        for row, text in zip(ids, texts, strict=True):
            kept = self.encode(text, length)
            row[: len(kept)] = torch.tensor(kept)
        return ids

    def knows(self, text: str) -> bool:
        """Whether all tokens of a text are in the vocabulary."""
        return all(token in self._new_id for token in openclip_encode(text))

    def encode(self, text: str, length: int | None = None) -> list[int]:
        """The ids of one text between start and end of text, cut to the context length, the end kept."""
        length = length or self.context_length
        start, end = special_tokens()
        known = [self._new_id[token] for token in openclip_encode(text) if token in self._new_id]
        return [self._new_id[start], *known[: length - 2], self._new_id[end]]


def vocabulary_of(texts: Iterable[str]) -> tuple[int, ...]:
    """The OpenCLIP tokens that occur in the texts, with start and end of text, in increasing order."""
    return tuple(sorted({*special_tokens(), *(token for text in texts for token in openclip_encode(text))}))


@lru_cache(2**16)  # one training after the other reads the same captions
def openclip_encode(text: str) -> tuple[int, ...]:
    return tuple(_tokenizer().encode(text))


def special_tokens() -> tuple[int, int]:
    tokenizer: Any = _tokenizer()
    return tokenizer.sot_token_id, tokenizer.eot_token_id


@cache
def _tokenizer() -> "SimpleTokenizer":
    from open_clip import SimpleTokenizer

    return SimpleTokenizer()
