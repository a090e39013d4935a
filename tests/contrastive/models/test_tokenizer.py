"""The tokenizer is OpenCLIP's with fewer tokens."""

import torch
from hypothesis import given
from hypothesis import strategies as st
from open_clip import SimpleTokenizer

from surefoot.contrastive import RestrictedTokenizer, vocabulary_of

TEXTS = ["a red square", "the green disc, rolling", "squares & discs: 42 of them"]
FULL = SimpleTokenizer(context_length=16)


def restricted(context_length: int = 16) -> RestrictedTokenizer:
    return RestrictedTokenizer(vocabulary_of(TEXTS), context_length)


def back(tokenizer: RestrictedTokenizer, ids: torch.Tensor) -> torch.Tensor:
    """Our ids as OpenCLIP's."""
    return torch.tensor([0, *tokenizer.vocabulary])[ids]


def test_a_text_of_known_tokens_gives_openclips_tokens() -> None:
    tokenizer = restricted()
    assert torch.equal(back(tokenizer, tokenizer(TEXTS)), FULL(TEXTS))


def test_unknown_tokens_are_left_out() -> None:
    tokenizer = restricted()
    assert torch.equal(tokenizer(["a red zebra square"]), tokenizer(["a red square"]))
    assert [tokenizer.knows(text) for text in ("a red zebra square", "a red square", "")] == [False, True, True]


@given(st.lists(st.sampled_from(["a", "red", "square", "disc", "green", "42", "zebra"]), max_size=40))
def test_the_end_of_text_has_the_highest_id_and_is_never_cut_off(words: list[str]) -> None:
    ids = restricted(context_length=8)([" ".join(words)])
    assert ids.shape == (1, 8)
    assert ids.max() == len(restricted().vocabulary)
    assert ids[0, 0] == len(restricted().vocabulary) - 1


def test_the_vocabulary_holds_each_token_once_in_openclips_order() -> None:
    vocabulary = vocabulary_of(TEXTS)
    assert list(vocabulary) == sorted(set(vocabulary))
    assert set(FULL(TEXTS).unique().tolist()) - {0} == set(vocabulary)
