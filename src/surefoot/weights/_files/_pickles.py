"""Pickles of plain tensors, through the weights-only loader of torch: no code in them is ever run."""

import warnings
import zipfile
from pathlib import Path

from surefoot.core import SurefootError, missing_module
from surefoot.weights._files._checkpoint import Checkpoint, from_state


def open_pickle(path: Path, allowed: bool) -> Checkpoint:
    if not allowed:
        raise SurefootError(f"{path} is a pickle; pickles are opened only when asked for (pickle=True, --pickle).")
    try:
        import torch
    except ImportError:
        raise missing_module("torch") from None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # advice to load what is refused here
            # Files of before torch 1.6 are no archives and cannot be mapped: they are read as a whole.
            loaded = torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    except Exception as error:  # torch raises many kinds for one reason: the file is not plain tensors
        raise SurefootError(
            f"{path}: Not a file of plain tensors (a whole model, TorchScript or damaged: {type(error).__name__}), "
            "and nothing else is loaded; save the model's state dict as safetensors where it was made."
        ) from None
    for key in ("state_dict", "model_state_dict", "model"):
        if isinstance(loaded, dict) and isinstance(loaded.get(key), dict):
            loaded = loaded[key]
            break
    if not isinstance(loaded, dict):
        raise SurefootError(f"{path}: Expected a mapping from names to tensors, found {type(loaded).__name__}.")
    state = from_state(loaded, label=str(path))
    everywhere = bool(state.tensors) and all(name.startswith("module.") for name in state.tensors)
    return state.renamed({"module.": ""}) if everywhere else state
