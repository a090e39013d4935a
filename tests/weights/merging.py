"""Small models of the shape of a language model, and merge configurations over them, for comparison with mergekit."""

import json
from pathlib import Path
from typing import Any

import numpy as np

LAYERS, WIDTH, INNER, WORDS = 3, 16, 24, 20


def shapes() -> dict[str, tuple[int, ...]]:
    """Names and shapes of the tensors of a model."""
    found: dict[str, tuple[int, ...]] = {"model.embed_tokens.weight": (WORDS, WIDTH)}
    for layer in range(LAYERS):
        prefix = f"model.layers.{layer}."
        found |= {f"{prefix}self_attn.{name}_proj.weight": (WIDTH, WIDTH) for name in "qkvo"}
        found |= {f"{prefix}mlp.{name}_proj.weight": (INNER, WIDTH) for name in ("gate", "up")}
        found[f"{prefix}mlp.down_proj.weight"] = (WIDTH, INNER)
        found |= {f"{prefix}{name}_layernorm.weight": (WIDTH,) for name in ("input", "post_attention")}
    return found | {"model.norm.weight": (WIDTH,)}


def values(model: int) -> dict[str, np.ndarray]:
    """Model 0 is the base; 1 to 3 are tuned from it."""
    made = {}
    for number, (name, shape) in enumerate(shapes().items()):
        made[name] = np.random.default_rng([0, number]).standard_normal(shape).astype(np.float32) * np.float32(0.02)
        if model:
            change = np.random.default_rng([model, number]).standard_normal(shape).astype(np.float32)
            made[name] += change * np.float32(0.004)
    return made


def write_models(folder: Path) -> None:
    """Write base, a, b and c as folders with a model.safetensors and a config.json."""
    from safetensors.numpy import save_file

    config = {
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": WIDTH, "vocab_size": WORDS,
        "intermediate_size": INNER, "num_hidden_layers": LAYERS, "num_attention_heads": 1, "num_key_value_heads": 1,
        "tie_word_embeddings": True, "torch_dtype": "float32", "rms_norm_eps": 1e-5, "max_position_embeddings": 64,
    }  # fmt: skip
    for model, name in enumerate(("base", "a", "b", "c")):
        place = folder / name
        place.mkdir()
        save_file(values(model), place / "model.safetensors")
        (place / "config.json").write_text(json.dumps(config))


def _models(**settings: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"model": name, "parameters": setting} for name, setting in settings.items()]


def _weights(**more: Any) -> list[dict[str, Any]]:
    return _models(a={"weight": 0.5, **more}, b={"weight": 0.3, **more}, c={"weight": -0.2, **more})


def _source(model: str, first: int, end: int) -> dict[str, Any]:
    return {"model": model, "layer_range": [first, end]}


CONFIGURATIONS: dict[str, dict[str, Any]] = {
    "linear": {"models": _models(base={"weight": 0.2}, a={"weight": 0.5}, b={"weight": 0.4})},
    "linear_sum": {
        "merge_method": "linear",
        "models": _models(a={"weight": 0.5}, b={"weight": 0.4}),
        "parameters": {"normalize": False},
    },
    "slerp": {"base_model": "base", "models": _models(base={}, a={}), "parameters": {"t": 0.35}},
    "slerp_gradient": {
        "merge_method": "slerp",
        "base_model": "base",
        "models": _models(base={}, a={}),
        "parameters": {"t": [{"filter": "self_attn", "value": [0, 0.5, 1, 0.2]}, {"value": 0.6}]},
    },
    "task_arithmetic": {"base_model": "base", "models": _weights(), "parameters": {"lambda": 0.8}},
    "task_arithmetic_filtered": {
        "merge_method": "task_arithmetic",
        "base_model": "base",
        "models": _models(a={"weight": [{"filter": "mlp", "value": [0.1, 0.9]}, {"value": 0.3}]}, b={"weight": 0.5}),
        "parameters": {"normalize": True},
    },
    "ties": {"base_model": "base", "models": _weights(density=0.4)},
    "ties_sum": {
        "merge_method": "ties",
        "base_model": "base",
        "models": _weights(density=0.3),
        "parameters": {"normalize": False, "lambda": 1.5, "int8_mask": True},
    },
    "breadcrumbs": {"base_model": "base", "models": _weights(density=0.6, gamma=0.05)},
    "dare_linear": {"base_model": "base", "models": _weights(density=1.0)},
    "dare_ties": {"base_model": "base", "models": _weights(density=1.0)},
    "della": {"base_model": "base", "models": _weights(density=1.0)},
    "model_stock": {"base_model": "base", "models": _models(a={}, b={}, c={})},
    "nuslerp": {"models": _models(a={"weight": 0.7}, b={"weight": 0.4})},
    "nuslerp_base": {
        "merge_method": "nuslerp",
        "base_model": "base",
        "models": _models(a={"weight": 0.7}, b={"weight": 0.4}),
    },
    "sce": {"base_model": "base", "models": _models(a={}, b={}, c={})},
    "sce_selected": {
        "merge_method": "sce",
        "base_model": "base",
        "models": _models(a={}, b={}, c={}),
        "parameters": {"select_topk": 0.4},
    },
    "karcher": {"models": _models(base={}, a={}, b={}, c={})},
    "multislerp": {"models": _models(a={"weight": 0.7}, b={"weight": 0.4}, c={"weight": 0.2})},
    "multislerp_base": {
        "merge_method": "multislerp",
        "base_model": "base",
        "models": _models(a={"weight": 0.7}, b={"weight": 0.4}, c={"weight": 0.2}),
        "parameters": {"normalize_weights": False},
    },
    "arcee_fusion": {"base_model": "base", "models": _models(base={}, a={})},
    "nearswap": {"base_model": "base", "models": _models(base={}, a={}), "parameters": {"t": 0.002}},
    "della_linear": {"base_model": "base", "models": _weights(density=1.0), "parameters": {"lambda": 1.3}},
    "breadcrumbs_ties": {
        "base_model": "base",
        "models": _weights(density=0.6, gamma=0.05),
        "parameters": {"normalize": True},
    },
    "passthrough": {
        "slices": [{"sources": [_source("a", 0, 2)]}, {"sources": [_source("b", 1, 3)]}],
    },
    "slices": {
        "merge_method": "task_arithmetic",
        "base_model": "base",
        "slices": [
            {
                "sources": [_source("base", 0, 1), {**_source("a", 0, 1), "parameters": {"weight": 0.5}}],
            },
            {
                "sources": [_source("base", 1, 3), {**_source("b", 1, 3), "parameters": {"weight": [0.1, 0.7]}}],
            },
        ],
    },
}


def configuration(name: str, folder: Path) -> dict[str, Any]:
    """One configuration, over the models in `folder`."""

    def placed(value: Any, key: str = "") -> Any:
        if isinstance(value, dict):
            return {inner: placed(one, inner) for inner, one in value.items()}
        if isinstance(value, list):
            return [placed(one) for one in value]
        return str(folder / value) if key in ("model", "base_model") else value

    return {"merge_method": name, "dtype": "float32", **placed(CONFIGURATIONS[name])}
