"""A language model is read, written, edited and run, with the numbers that its weights give."""

import json
import math
import socket
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from small_gguf import count_of, cut_gguf, read_gguf
from tiny_language import saved, tiny
from transformers import GPT2Config, GPT2LMHeadModel

from surefoot.core import Store, StoredInputs, SurefootError
from surefoot.language import (
    LanguageModel,
    Request,
    SmolLM2,
    load_language,
    open_client,
    save_language,
    token_losses,
    windows_of,
)
from surefoot.language._models import _language
from surefoot.language._models._language import packaged_gguf
from surefoot.weights import TaskVector, apply_to, open_checkpoint

PROSE = (
    "The committee met on Tuesday to discuss the budget for the coming year. Several members argued that spending on "
    "roads should be increased, while others wanted to reduce taxes. After a long debate, the chairman proposed a "
    "compromise, which was accepted by a narrow majority."
)
TINY = tiny()


def changed_config(directory: Path, **values: Any) -> None:
    path = directory / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


@pytest.mark.parametrize("tied", [True, False])
def test_a_model_is_read_as_it_was_written(tied: bool, tmp_path: Path) -> None:
    before = tiny(tied=tied)
    after = load_language(saved(before, tmp_path / "model"))
    assert all(torch.equal(value, before.model.state_dict()[name]) for name, value in after.model.state_dict().items())
    assert ("lm_head.weight" in open_checkpoint(tmp_path / "model").tensors) is not tied
    assert after.encoded([PROSE, "ab 12 é"]) == before.encoded([PROSE, "ab 12 é"])
    assert after.tokenizer.chat_template == before.tokenizer.chat_template


def test_nothing_is_asked_of_a_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    directory = saved(tiny(), tmp_path / "model")

    def refuse(*_: object) -> None:
        raise AssertionError("a connection was opened")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    assert load_language(directory).window == 64


def test_another_architecture_is_read_and_its_losses_are_its_own(tmp_path: Path) -> None:
    torch.manual_seed(0)
    config = GPT2Config(vocab_size=258, n_positions=32, n_embd=16, n_layer=1, n_head=2, bos_token_id=0, eos_token_id=0)
    other = GPT2LMHeadModel(config).eval()
    directory = saved(LanguageModel(model=other, tokenizer=TINY.tokenizer, name="gpt2"), tmp_path / "model")
    loaded = load_language(directory)
    tokens = windows_of(loaded, ["a text", "another"], 8).tokens
    with torch.no_grad():
        expected = torch.stack([other(row[None], labels=row[None]).loss for row in tokens])
        torch.testing.assert_close(token_losses(loaded, tokens).mean(dim=1), expected)
    with pytest.raises(SurefootError, match="it must be from 1 to 31"):
        windows_of(loaded, ["text"], 32)


def test_a_tokenizer_without_a_config_is_read_as_it_is(tmp_path: Path) -> None:
    directory = saved(tiny(), tmp_path / "model")
    (directory / "tokenizer_config.json").unlink()
    assert load_language(directory).encoded(["ab 12 é"]) == TINY.encoded(["ab 12 é"])


def test_edits_of_weights_work_on_it(tmp_path: Path) -> None:
    base, tuned = saved(tiny(seed=0), tmp_path / "base"), saved(tiny(seed=1), tmp_path / "tuned")
    vector = TaskVector(open_checkpoint(base), open_checkpoint(tuned))
    loaded = load_language(base)
    for coefficient, expected in ((1.0, tiny(seed=1)), (0.0, tiny(seed=0))):
        apply_to(vector, loaded.model, coefficient)
        for name, value in loaded.model.state_dict().items():
            assert torch.equal(value, expected.model.state_dict()[name])


@given(st.lists(st.text(min_size=1, max_size=90), min_size=1, max_size=5), st.integers(1, 40))
def test_windows_hold_every_token_of_every_text_once(texts: list[str], length: int) -> None:
    windows = windows_of(TINY, texts, length)
    assert (windows.tokens[:, 0] == 0).all()
    for number, text in enumerate(texts):
        own = windows.text == number
        found = windows.tokens[own, 1:][windows.counted[own]].tolist()
        assert [found] == TINY.encoded([text])
        assert TINY.tokenizer.decode(found) == text


def test_padding_changes_no_loss_of_a_token() -> None:
    alone, padded = windows_of(TINY, ["padding"], 7), windows_of(TINY, ["padding", "a longer text"], 13)
    with torch.no_grad():
        ours = token_losses(TINY, padded.tokens)[0][padded.counted[0]]
        torch.testing.assert_close(ours, token_losses(TINY, alone.tokens)[0])


def test_a_loss_is_the_negative_logarithm_of_the_probability_of_the_next_token() -> None:
    tokens = windows_of(TINY, ["By hand."], 8).tokens
    with torch.no_grad():
        probabilities = TINY.model(tokens[:, :-1]).logits.double().softmax(dim=-1)[0]
        by_hand = [-math.log(probabilities[at, token]) for at, token in enumerate(tokens[0, 1:].tolist())]
        assert token_losses(TINY, tokens)[0].tolist() == pytest.approx(by_hand, rel=1e-5)


def test_the_loss_of_a_token_depends_on_no_later_one() -> None:
    tokens = windows_of(TINY, ["stuvwxyz", "stuvzzzz"], 8).tokens
    with torch.no_grad():
        first, second = token_losses(TINY, tokens)
    assert first[:4].tolist() == pytest.approx(second[:4].tolist(), abs=1e-5)
    assert abs(first[4:] - second[4:]).max() > 0.01


def test_what_a_model_is_not_is_said(tmp_path: Path) -> None:
    with pytest.raises(SurefootError, match=r"is not a model of transformers: it has no config\.json"):
        load_language(tmp_path)
    directory = saved(tiny(), tmp_path / "model")
    (directory / "config.json").write_text("{")
    with pytest.raises(SurefootError, match=r"model cannot be read: .*JSON"):
        load_language(directory)
    saved(tiny(), directory)
    (directory / "model.safetensors").write_bytes(b"\x10\0\0\0\0\0\0\0{}")
    with pytest.raises(SurefootError, match="cannot be read"):
        load_language(directory)


def test_a_pickle_is_not_read(tmp_path: Path) -> None:
    directory = saved(tiny(), tmp_path / "model")
    torch.save(tiny().model.state_dict(), directory / "pytorch_model.bin")
    (directory / "model.safetensors").unlink()
    with pytest.raises(SurefootError, match=r"pytorch_model\.bin is a pickle, which could run code"):
        load_language(directory)


def test_code_beside_the_weights_is_not_run(tmp_path: Path) -> None:
    directory = saved(tiny(), tmp_path / "model")
    (directory / "own.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n")
    auto = {"AutoConfig": "own.Config", "AutoModelForCausalLM": "own.Model"}
    changed_config(directory, model_type="unheard-of", architectures=["Model"], auto_map=auto)
    with pytest.raises(SurefootError, match="cannot be read"):
        load_language(directory)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"model_type": "unheard-of"}, "unheard-of"),
        ({"num_hidden_layers": 3}, r"do not fit config\.json beside them: the model lacks model\.layers\.2"),
        ({"num_hidden_layers": 1}, r"do not fit config\.json beside them: the model does not use model\.layers\.1"),
        ({"intermediate_size": 41}, "cannot be read"),
    ],
)
def test_a_config_of_another_model_is_refused(values: dict[str, Any], message: str, tmp_path: Path) -> None:
    directory = saved(tiny(), tmp_path / "model")
    changed_config(directory, **values)
    with pytest.raises(SurefootError, match=message):
        load_language(directory)


def test_weights_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    broken = tiny()
    with torch.no_grad():
        broken.model.model.norm.weight[0] = math.nan
    with pytest.raises(SurefootError, match=r"are damaged: model\.norm\.weight holds a NaN"):
        load_language(saved(broken, tmp_path / "model"))


@pytest.mark.parametrize("length", [0, 64])
def test_a_length_that_the_model_was_not_made_for_is_refused(length: int) -> None:
    with pytest.raises(SurefootError, match="it must be from 1 to 63"):
        windows_of(TINY, ["text"], length)


def test_an_empty_text_is_refused() -> None:
    with pytest.raises(SurefootError, match="Text 1 is empty"):
        windows_of(TINY, ["text", ""], 8)


@pytest.mark.slow
def test_smollm2_is_read_from_its_package_and_says_what_llama_cpp_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of its 30 layers two, of its 49,152 words the first 4,096: all is read as of the whole, in little time."""
    small, out = tmp_path / "small.gguf", tmp_path / "part"
    assert count_of(read_gguf(packaged_gguf())[1]) == 134_515_008
    parameters = count_of(cut_gguf(packaged_gguf(), small, layers=2, words=4096))
    monkeypatch.setattr(_language, "packaged_gguf", lambda: small)
    out.mkdir()
    (measurement,) = SmolLM2().make(out, StoredInputs(Store(tmp_path / "store")))
    assert (measurement.metric, measurement.value) == ("parameters", parameters)
    assert json.loads((out / "credit.json").read_text())[0]["licence"] == "Apache-2.0"
    assert (out / "model.safetensors").stat().st_size == pytest.approx(4 * parameters, rel=1e-3)
    loaded = load_language(out)
    indented = "the\n    0\n    12"  # a digit is a token, and takes no space from the run before it
    tokens = loaded.tokenizer.convert_ids_to_tokens(loaded.encoded([indented])[0])
    assert tokens == ["the", "ĊĠĠĠĠ", "0", "ĊĠĠĠĠ", "1", "2"]
    asked = [Request(prompt=text, max_tokens=1, top_logprobs=9) for text in ("The capital of France is", PROSE)]
    asked += [Request(messages=(("user", f"Hi {indented}"),), max_tokens=1, top_logprobs=9)]
    with open_client(out) as ours, open_client(small) as theirs:
        pairs = zip(*(client.answer(asked) for client in (ours, theirs)), strict=True)
    for one, other in pairs:
        assert one.prompt_tokens == other.prompt_tokens
        nearest, also = (dict(answer.top_logprobs[0]) for answer in (one, other))
        both = nearest.keys() & also.keys()
        assert len(both) > 4  # llama.cpp computes with the rounded weights
        assert [nearest[token] for token in both] == pytest.approx([also[token] for token in both], abs=0.25)


def test_a_saved_model_is_saved_alike_again(tmp_path: Path) -> None:
    first = saved(tiny(), tmp_path / "first")
    second = tmp_path / "second"
    second.mkdir()
    save_language(load_language(first), second)
    for name in ("model.safetensors", "tokenizer.json", "tokenizer_config.json"):
        assert (first / name).read_bytes() == (second / name).read_bytes()
