"""Checkpoints as torch has them: a state dict of tensors, whoever saved it."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from surefoot.core import SurefootError, missing_module
from surefoot.weights._files._checkpoint import OF_TORCH, Files
from surefoot.weights._files._opening import open_checkpoint

if TYPE_CHECKING:
    import torch


def read_state(
    path: Path | str,
    *,
    key: str | None = None,
    rename: Mapping[str, str] | None = None,
    nonfinite: Literal["refuse", "allow"] = "refuse",
) -> "dict[str, torch.Tensor]":
    """The state dict in a file or folder that `open_checkpoint` reads, pickles among them, as torch tensors by name.

    `key` and `rename` as there; no code of a pickle is run. Raises SurefootError for what is no checkpoint of weights,
    and, naming the tensor, for weights that are NaN or infinite unless these are allowed.
    """
    try:
        import torch
    except ImportError:
        raise missing_module("torch") from None
    opened = open_checkpoint(path, pickle=True, rename=rename, key=key)
    if opened.is_adapter or not opened.tensors:
        what = "a LoRA adapter: merge it into its base first" if opened.is_adapter else "empty: it has no tensors"
        raise SurefootError(f"{opened.label} is {what}.")
    kinds = {safe: getattr(torch, name) for name, safe in OF_TORCH.items() if hasattr(torch, name)}
    state: dict[str, torch.Tensor] = {}
    with Files() as files:
        for name, one in opened.tensors.items():
            if one.dtype not in kinds:
                raise SurefootError(
                    f"{opened.label}: tensor {name!r} is {one.dtype}, which this torch has no type for."
                )

            raw = files.read(one, 0, one.size, np.empty(one.nbytes, np.uint8))  # pyright: ignore[reportArgumentType]
            state[name] = torch.from_numpy(raw).view(kinds[one.dtype]).reshape(one.shape)
    floats = {name: one for name, one in state.items() if one.is_floating_point()}
    wide = {name: one.float() if one.itemsize == 1 else one for name, one in floats.items()}  # torch asks no 8 bits
    wrong = {name: int((~one.isfinite()).sum()) for name, one in wide.items()}
    if nonfinite == "refuse" and (bad := {name: count for name, count in wrong.items() if count}):
        name, count = next(iter(bad.items()))
        raise SurefootError(
            f"{opened.label}: {sum(bad.values())} weights in {len(bad)} tensors are NaN or infinite, first {count} of "
            f"{name!r}. Look at it with surefoot weights inspect --values."
        )
    return state
