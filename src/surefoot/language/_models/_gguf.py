"""A Llama out of a GGUF file (llama.cpp's format): weights as float32, and the tokenizer."""

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from surefoot.core import SurefootError
from surefoot.language._models._llama import LlamaConfig

if TYPE_CHECKING:
    import numpy as np
    import torch

_SIZES = {
    "vocab_size": "vocab_size",
    "hidden_size": "embedding_length",
    "intermediate_size": "feed_forward_length",
    "num_hidden_layers": "block_count",
    "num_attention_heads": "attention.head_count",
    "num_key_value_heads": "attention.head_count_kv",
    "rope_theta": "rope.freq_base",
    "rms_norm_eps": "attention.layer_norm_rms_epsilon",
    "max_position_embeddings": "context_length",
}
_TENSORS = {"token_embd": "model.embed_tokens", "output_norm": "model.norm", "output": "lm_head"}
_IN_BLOCK = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
_SPECIAL = 3  # llama.cpp's type of tokens that no text holds, such as the end of a text


def read_gguf(path: Path) -> tuple[LlamaConfig, "dict[str, torch.Tensor]", Any]:
    """Config, weights by Hugging Face's names (float32), and tokenizer of a GGUF file that holds a Llama.

    Raises `SurefootError` for another architecture, or a tokenizer that is not SmolLM's kind.
    """
    import torch
    from gguf import GGUFReader
    from gguf.quants import dequantize

    reader = GGUFReader(path)
    told = {name: field.contents() for name, field in reader.fields.items()}
    kind = told["general.architecture"], told["tokenizer.ggml.model"], told["tokenizer.ggml.pre"]
    if kind != ("llama", "gpt2", "smollm"):
        raise SurefootError(f"{path.name} holds {kind}: only a Llama with SmolLM's tokenizer is read.")
    sizes: dict[str, Any] = {name: told[f"llama.{key}"] for name, key in _SIZES.items()}
    tied = all(tensor.name != "output.weight" for tensor in reader.tensors)
    config = LlamaConfig(**sizes, tie_word_embeddings=tied)
    weights = {
        _renamed(tensor.name): _in_halves(tensor.name, dequantize(tensor.data, tensor.tensor_type), config)
        for tensor in reader.tensors
    }
    return config, {name: torch.from_numpy(value) for name, value in weights.items()}, _tokenizer(told)


def _renamed(name: str) -> str:
    found = re.fullmatch(r"blk\.(\d+)\.(\w+)\.weight", name)
    if found:
        return f"model.layers.{found[1]}.{_IN_BLOCK[found[2]]}.weight"
    return f"{_TENSORS[name.removesuffix('.weight')]}.weight"


def _in_halves(name: str, values: "np.ndarray", config: LlamaConfig) -> "np.ndarray":
    """Rows of queries and keys as Hugging Face orders them: llama.cpp turns neighbouring rows, Hugging Face halves."""
    import numpy as np

    if ".attn_q." in name or ".attn_k." in name:
        pairs = values.reshape(-1, config.head_size // 2, 2, values.shape[-1])
        values = pairs.swapaxes(1, 2).reshape(values.shape)
    return np.array(values, dtype=np.float32)


def _tokenizer(told: dict[str, Any]) -> Any:
    """SmolLM's byte-level byte-pair encoding, in which every digit is a token."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

    tokens: list[str] = told["tokenizer.ggml.tokens"]
    merges = [tuple(merge.split(" ")) for merge in told["tokenizer.ggml.merges"]]
    tokenizer = Tokenizer(models.BPE(vocab={token: id for id, token in enumerate(tokens)}, merges=merges))
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), byte_level])
    tokenizer.decoder = decoders.ByteLevel()
    kinds = zip(tokens, told["tokenizer.ggml.token_type"], strict=True)
    tokenizer.add_special_tokens([AddedToken(token, special=True) for token, kind in kinds if kind == _SPECIAL])
    return tokenizer
