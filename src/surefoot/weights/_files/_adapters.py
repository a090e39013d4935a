"""Low-rank adapters: what a folder with an adapter_config.json says, as changes of matrices."""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from math import isfinite
from pathlib import Path
from typing import Any

import numpy as np

from surefoot.core import SurefootError
from surefoot.weights._files._checkpoint import Checkpoint, LowRank, StoredTensor, load
from surefoot.weights._files._types import FLOATS, WRAPPERS

# What may stand in adapter_config.json beside base + s B A; any other setting that is on is one that PEFT acts on.
_PLAIN = {
    "task_type", "peft_type", "auto_mapping", "peft_version", "base_model_name_or_path", "revision", "inference_mode",
    "r", "target_modules", "exclude_modules", "lora_alpha", "lora_dropout", "fan_in_fan_out", "bias", "use_rslora",
    "init_lora_weights", "layers_to_transform", "layers_pattern", "rank_pattern", "alpha_pattern", "megatron_core",
    "eva_config", "qalora_group_size", "enable_lora",
}  # fmt: skip
_CHOICES = ("target_modules", "exclude_modules", "layers_to_transform")
_CURE = "Merge it into its base with PEFT (merge_and_unload) first"
_OURS = re.compile(rf"^(?:module\.|{'|'.join(map(re.escape, WRAPPERS))})*base_model\.model\.")  # PEFT's part of names
_STARTS = (True, False, None, "gaussian", "orthogonal", "eva", "mica")  # those that leave the base as it is


def adapter_changes(opened: Checkpoint, config: Path) -> Checkpoint:
    """LoRA (arXiv 2106.09685): a matrix changes by (alpha / r) B A; by (alpha / sqrt(r)) B A where rank-stabilised."""
    try:
        options = json.loads(config.read_text("utf-8"))
    except (OSError, ValueError, RecursionError):
        raise SurefootError(f"{opened.label}: A LoRA adapter needs a readable {config.name} beside it.") from None
    patterns = ("alpha_pattern", "rank_pattern")
    if not isinstance(options, dict) or not all(isinstance(options.get(one) or {}, dict) for one in patterns):
        raise SurefootError(f"{config}: Not the configuration of a LoRA adapter: a mapping is expected.")
    _check_kind(config, options)
    tensors: dict[str, StoredTensor] = {}
    for name, tensor in opened.tensors.items():
        stem, factor, _ = name.partition(".lora_A.")
        other = name.replace(".lora_A.", ".lora_B.")
        if not factor and ".lora_B." in name and name.replace(".lora_B.", ".lora_A.") in opened.tensors:
            continue
        if not factor or other not in opened.tensors:
            raise SurefootError(
                f"{opened.label}: {name!r} is not a LoRA factor with a partner (PEFT saves layers of the base "
                "as well where embeddings were tuned); only A and B are merged."
            )
        module = _OURS.sub("", stem)
        if f"{module}.weight" in tensors:
            raise SurefootError(f"{opened.label}: It holds several adapters of {module}: save the one that is meant.")
        if ".base_layer." in module:
            raise SurefootError(
                f"{opened.label}: {name!r} is of a layer that PEFT wraps whole (nn.MultiheadAttention). {_CURE}."
            )
        if setting := _leaving_out(config, options, module):
            raise SurefootError(
                f"{config}: By {setting} {module} is not adapted, and PEFT would leave it as it is, but the adapter "
                "has factors of it: this is not their configuration."
            )
        alpha = _setting(config, options, module, ("alpha_pattern", "lora_alpha"))
        made = _low_rank(name, (tensor, opened.tensors[other]), options, alpha)
        if "r" in options and (told := _setting(config, options, module, ("rank_pattern", "r"))) != tensor.shape[0]:
            raise SurefootError(
                f"{config}: The rank of {module} is {told:g} by r and rank_pattern; its factors {list(tensor.shape)} "
                f"and {list(opened.tensors[other].shape)} have {tensor.shape[0]}: this is not their configuration."
            )
        tensors[f"{module}.weight"] = made
    return replace(opened, tensors=tensors)


def _check_kind(config: Path, options: Mapping[str, Any]) -> None:
    kind, start = str(options.get("peft_type", "LORA")), options.get("init_lora_weights")
    if kind.upper() != "LORA":
        raise SurefootError(f"{config}: peft_type {kind} is no LoRA adapter. {_CURE}.")
    if (start.lower() if isinstance(start, str) else start) not in _STARTS:
        raise SurefootError(
            f"{config}: init_lora_weights {start!r} changes the base weights, too, so that this adapter is not a "
            f"change of the base. {_CURE}, or save it as a difference (path_initial_model_for_weight_conversion)."
        )
    more = {name: value for name, value in options.items() if name not in _PLAIN and value}
    more |= {"bias": options["bias"]} if options.get("bias", "none") not in ("none", None) else {}
    if more:
        name, value = next(iter(more.items()))
        raise SurefootError(
            f"{config}: {name} {str(value)[:60]!r} is more than base + s B A, all that is merged here. {_CURE}."
        )


def _leaving_out(config: Path, options: Mapping[str, Any], module: str) -> str | None:
    """The setting by which PEFT leaves a module as it is, read as PEFT reads it: its factors would not be used."""
    targets, excluded, layers = (options.get(name) for name in _CHOICES)
    patterns = options.get("layers_pattern") or []
    numbers = layers if isinstance(layers, list) else [] if layers is None else [layers]
    try:
        if excluded and _is_named(excluded, module):
            return _CHOICES[1]
        if targets and str(targets).lower() != "all-linear" and not _is_named(targets, module):
            return _CHOICES[0]
        starts = [rf"(?:^|.*?\.){one}" for one in ([patterns] if isinstance(patterns, str) else patterns)]
        found = (re.match(rf"{start}\.(\d+)\.", module) for start in starts or [r".*?\.[^.]*"])
        at = next((int(one[one.re.groups]) for one in found if one), None)
    except (re.error, TypeError) as error:
        raise SurefootError(f"{config}: The modules that it names cannot be read: {error}.") from None
    whole = isinstance(targets, list) and module in targets  # what is named whole is adapted in every layer
    return _CHOICES[2] if numbers and at not in numbers and not whole else None


def _is_named(names: str | list[str], module: str) -> bool:
    if isinstance(names, str):
        return re.fullmatch(names, module) is not None
    return any(f".{module}".endswith("." + name) for name in names)


def _low_rank(
    name: str, factors: tuple[StoredTensor, StoredTensor], options: Mapping[str, Any], alpha: float
) -> LowRank:
    if not all(one.dtype in FLOATS and len(one.shape) == 2 and one.size for one in factors):
        said = ", ".join(f"{one.dtype} {list(one.shape)}" for one in factors)
        raise SurefootError(f"{name!r}: LoRA factors are two matrices of floating-point numbers that fit, not {said}.")
    down, up = map(load, factors)
    rank = down.shape[0]
    if up.shape[1] != rank:
        raise SurefootError(
            f"{name!r}: LoRA factors {list(up.shape)} and {list(down.shape)} are not two matrices that fit."
        )
    scale = alpha / (rank**0.5 if options.get("use_rslora") else rank)
    up = up * up.dtype.type(scale)
    transposed = bool(options.get("fan_in_fan_out"))
    if transposed:
        down, up = np.ascontiguousarray(up.T), np.ascontiguousarray(down.T)
    return LowRank(up=up, down=down, transposed=transposed, path=getattr(factors[0], "path", Path()))


def transposed_layers(base: Mapping[str, StoredTensor], modules: Iterable[str]) -> set[bool]:
    """Whether layers are stored transposed (GPT-2), as their biases say; both where some are, none where none says."""

    def kinds(some: Iterable[str]) -> Iterator[bool]:
        for module in some:
            bias, shape = base.get(f"{module}.bias"), base[f"{module}.weight"].shape
            if bias is None:
                yield False  # layers that are stored transposed always have one
            elif len(shape) == 2 and shape[0] != shape[1] and bias.shape in ((shape[0],), (shape[1],)):
                yield bias.shape == (shape[1],)

    # Square matrices say nothing: they are stored as the other layers of the model are.
    biased = (name.removesuffix(".bias") for name in base if name.endswith(".bias"))
    return set(kinds(modules)) or set(kinds(one for one in biased if f"{one}.weight" in base))


def check_transposed(base: Mapping[str, StoredTensor], adapter: Checkpoint, names: Iterable[str]) -> None:
    """Raise where fan_in_fan_out, one setting for all layers, may be wrong of a square one: PEFT looks at each."""
    changes = {name: one for name in names if name in base and isinstance(one := adapter.tensors[name], LowRank)}
    for module, one in ((name.removesuffix(".weight"), one) for name, one in changes.items()):
        if one.shape[0] == one.shape[1] and transposed_layers(base, [module]) - {one.transposed}:
            raise SurefootError(
                f"{adapter.label}: fan_in_fan_out is {one.transposed}, but by its biases the base has layers that are "
                f"stored the other way, and the square {module} may be one. {_CURE}."
            )


def _setting(config: Path, options: Mapping[str, Any], module: str, names: tuple[str, str]) -> float:
    # A key of the patterns is a regular expression for the end of a module's name, as PEFT reads it.
    pattern, plain = names
    try:
        fits = (
            value for key, value in (options.get(pattern) or {}).items() if re.fullmatch(rf"(.*\.)?({key})", module)
        )
        value = next(fits, options.get(plain))
    except re.error as error:
        raise SurefootError(f"{config}: The key {pattern} is not a regular expression: {error}.") from None
    if isinstance(value, bool) or not isinstance(value, int | float) or not isfinite(value):
        raise SurefootError(f"{config}: The key {plain} must be a number, not {value!r}.")
    return float(value)
