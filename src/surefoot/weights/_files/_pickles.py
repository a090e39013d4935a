"""Pickles of plain tensors, through the weights-only loader of torch: no code in them is ever run."""

import argparse
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from surefoot.core import SurefootError, missing_module
from surefoot.weights._files._checkpoint import Checkpoint, from_state

_KNOWN = ("state_dict", "model_state_dict", "model")  # what trainers call the state of a model in their files


def open_pickle(path: Path, allowed: bool, key: str | None = None) -> Checkpoint:
    """The tensors of a pickle by name; of the states that it holds the one that `key` names (`ema`, `teacher.model`).

    Without a key it is the one under state_dict, model_state_dict or model, or the whole, or the only one there is;
    `metadata` says which was taken and which were not. Raises SurefootError where that leaves a choice.
    """
    if not allowed:
        raise SurefootError(f"{path} is a pickle; pickles are opened only when asked for (pickle=True, --pickle).")
    loaded = _loaded(path)
    if not isinstance(loaded, dict):
        raise SurefootError(f"{path}: Expected a mapping from names to tensors, found {type(loaded).__name__}.")
    states = {str(name): one for name, one in loaded.items() if _is_state(one)}
    named, key = key, _chosen(path, loaded, states) if key is None else key
    state = _at(path, loaded, key) if key else loaded
    others = {"other keys": ", ".join(name for name in states if name != key)} if set(states) - {key} else {}
    if named is None and others:
        told = f"{path} holds several states: {key or 'that at its top'} is taken, not {others['other keys']}"
        warnings.warn(f"{told}. Name another by its key (--key NAME, key='NAME').", stacklevel=3)
    return from_state(state, label=str(path), metadata={"key": key, **others} if key else others)


def _loaded(path: Path) -> Any:
    try:
        import torch
    except ImportError:
        raise missing_module("torch") from None
    try:
        with warnings.catch_warnings(), torch.serialization.safe_globals([argparse.Namespace]):
            warnings.simplefilter("ignore")  # advice to load what is refused here
            # Files of before torch 1.6 are no archives and cannot be mapped: they are read as a whole.
            return torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    except Exception as error:  # torch raises many kinds for one reason: the file is not plain tensors
        raise SurefootError(
            f"{path}: Not a file of plain tensors (a whole model, TorchScript or damaged: {type(error).__name__}), "
            "and nothing else is loaded; save the model's state dict as safetensors where it was made."
        ) from None


def _is_state(value: Any) -> bool:
    return isinstance(value, Mapping) and any(hasattr(one, "dtype") and hasattr(one, "shape") for one in value.values())


def _chosen(path: Path, loaded: Mapping[Any, Any], states: Mapping[str, Any]) -> str:
    known = [name for name in _KNOWN if name in states]
    if len(known) == 1 or (_is_state(loaded) and not known):
        return known[0] if known else ""
    if len(states) != 1:
        what = f"several states ({', '.join(states)})" if states else f"no tensors, only {', '.join(map(repr, loaded))}"
        raise SurefootError(f"{path} holds {what[:300]}: name one by its key (--key NAME, key='NAME').")
    return next(iter(states))


def _at(path: Path, loaded: Mapping[Any, Any], key: str) -> Mapping[str, Any]:
    found: Any = loaded.get(key)
    if key not in loaded:  # teacher.model: one within another
        found = loaded
        for part in key.split("."):
            found = found.get(part) if isinstance(found, Mapping) else None
    if not _is_state(found):
        raise SurefootError(f"{path} has no state under the key {key!r}; it has {', '.join(map(repr, loaded))[:300]}.")
    return found
