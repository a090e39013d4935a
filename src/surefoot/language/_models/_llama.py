"""A Llama: its modules under the names that Hugging Face gives them, and the functions that run it."""

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

from surefoot.core import SurefootError

if TYPE_CHECKING:
    import torch

_ONLY = {
    "model_type": ("llama",),
    "hidden_act": ("silu",),
    "attention_bias": (False,),
    "mlp_bias": (False,),
    "rope_scaling": (None,),
}
"""Settings of a `config.json` that are computed in one way only here; where they are missing, that way is meant."""


@dataclass(frozen=True, kw_only=True)
class LlamaConfig:
    """The sizes of a Llama (Touvron et al. 2023, 2302.13971), with the names that a `config.json` has for them."""

    vocab_size: int
    hidden_size: int
    intermediate_size: int
    num_hidden_layers: int
    num_attention_heads: int
    num_key_value_heads: int
    rope_theta: float = 10000.0
    rms_norm_eps: float = 1e-6
    max_position_embeddings: int = 2048
    tie_word_embeddings: bool = False

    @property
    def head_size(self) -> int:
        """Numbers in one head's query."""
        return self.hidden_size // self.num_attention_heads


def llama_config(told: dict[str, Any]) -> LlamaConfig:
    """The config in a `config.json`. Raises `SurefootError` for another architecture, or a missing size."""
    for name, allowed in _ONLY.items():
        if told.get(name, allowed[0]) not in allowed:
            raise SurefootError(
                f"{name} is {told[name]!r} in the model's config: only {allowed[0]!r} is computed here."
            )
    told = told | {"rope_theta": _rope_theta(told)}
    try:
        config = LlamaConfig(**{one.name: told[one.name] for one in fields(LlamaConfig) if one.name in told})
    except TypeError as error:
        raise SurefootError(f"The model's config is not whole: {error}.") from error
    if told.get("head_dim") not in (None, config.head_size):
        raise SurefootError(
            f"head_dim is {told['head_dim']}, not hidden_size / num_attention_heads: not computed here."
        )
    return config


def _rope_theta(told: dict[str, Any]) -> float:
    """Older configs name it at the top, newer ones in `rope_parameters`."""
    parameters = told.get("rope_parameters") or {}
    if parameters.get("rope_type", "default") != "default":
        raise SurefootError(f"rope_type is {parameters['rope_type']!r} in the model's config: not computed here.")
    return float(told.get("rope_theta") or parameters.get("rope_theta") or LlamaConfig.rope_theta)


def build_llama(config: LlamaConfig, *, empty: bool = False) -> "torch.nn.ModuleDict":
    """The modules of a Llama, with random weights from torch's generator (normal, deviation 0.02).

    With `empty` the weights have shapes and no memory, until a state is assigned to them.
    """
    import torch

    with torch.device("meta" if empty else "cpu"):
        model = _modules(config)
    for parameter in model.parameters():
        if parameter.ndim >= 2:
            torch.nn.init.normal_(parameter, std=0.02)
    return model


def _modules(config: LlamaConfig) -> "torch.nn.ModuleDict":
    from torch import nn

    def linear(inputs: int, outputs: int) -> nn.Linear:
        return nn.Linear(inputs, outputs, bias=False)

    def block() -> nn.ModuleDict:
        wide, narrow = config.hidden_size, config.head_size * config.num_key_value_heads
        attention = {"q_proj": (wide, wide), "k_proj": (wide, narrow), "v_proj": (wide, narrow), "o_proj": (wide, wide)}
        inner = config.intermediate_size
        mlp = {"gate_proj": (wide, inner), "up_proj": (wide, inner), "down_proj": (inner, wide)}
        return nn.ModuleDict(
            {
                "input_layernorm": nn.RMSNorm(wide, eps=config.rms_norm_eps),
                "self_attn": nn.ModuleDict({name: linear(*size) for name, size in attention.items()}),
                "post_attention_layernorm": nn.RMSNorm(wide, eps=config.rms_norm_eps),
                "mlp": nn.ModuleDict({name: linear(*size) for name, size in mlp.items()}),
            }
        )

    body = {
        "embed_tokens": nn.Embedding(config.vocab_size, config.hidden_size),
        "layers": nn.ModuleList(block() for _ in range(config.num_hidden_layers)),
        "norm": nn.RMSNorm(config.hidden_size, eps=config.rms_norm_eps),
    }
    head = {} if config.tie_word_embeddings else {"lm_head": linear(config.hidden_size, config.vocab_size)}
    return nn.ModuleDict({"model": nn.ModuleDict(body), **head})


def llama_logits(model: Any, config: LlamaConfig, tokens: "torch.Tensor") -> "torch.Tensor":
    """Logits (sequences, length, vocabulary) of the token after each of `tokens` (sequences, length) int64."""
    body = model["model"]
    states, rotation = body["embed_tokens"](tokens), _rotation(config, tokens.shape[1])
    for block in body["layers"]:
        states = states + _attention(block["self_attn"], block["input_layernorm"](states), config, rotation)
        states = states + _mlp(block["mlp"], block["post_attention_layernorm"](states))
    head = body["embed_tokens"] if config.tie_word_embeddings else model["lm_head"]
    return body["norm"](states) @ head.weight.T


def _attention(block: Any, states: "torch.Tensor", config: LlamaConfig, rotation: Any) -> "torch.Tensor":
    """Causal attention in which several heads of queries share one of keys and values (Ainslie 2023, 2305.13245)."""
    from torch.nn.functional import scaled_dot_product_attention

    def heads(name: str) -> "torch.Tensor":
        return block[name](states).unflatten(-1, (-1, config.head_size)).transpose(1, 2)

    shared = config.num_attention_heads // config.num_key_value_heads
    keys, values = (
        one.repeat_interleave(shared, dim=1) for one in (_rotated(heads("k_proj"), rotation), heads("v_proj"))
    )
    mixed = scaled_dot_product_attention(_rotated(heads("q_proj"), rotation), keys, values, is_causal=True)
    return block["o_proj"](mixed.transpose(1, 2).flatten(-2))


def _mlp(block: Any, states: "torch.Tensor") -> "torch.Tensor":
    from torch.nn.functional import silu

    return block["down_proj"](silu(block["gate_proj"](states)) * block["up_proj"](states))


def _rotation(config: LlamaConfig, length: int) -> Any:
    """Cosine and sine (length, head) of rotary positions (Su et al. 2021, 2104.09864), in halves, not in pairs."""
    import torch

    frequencies = config.rope_theta ** -(torch.arange(0, config.head_size, 2, dtype=torch.float32) / config.head_size)
    angles = torch.outer(torch.arange(length, dtype=torch.float32), frequencies).repeat(1, 2)
    return angles.cos(), angles.sin()


def _rotated(states: "torch.Tensor", rotation: Any) -> "torch.Tensor":
    import torch

    first, second = states.chunk(2, dim=-1)
    return states * rotation[0] + torch.cat((-second, first), dim=-1) * rotation[1]
