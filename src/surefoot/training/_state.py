"""The tensors of a checkpoint, for torch."""

import pickle
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from surefoot.core import SurefootError

if TYPE_CHECKING:
    import torch

State = dict[str, "torch.Tensor"]


def read_state(path: Path) -> State:
    """The tensors of a checkpoint by name, without running code that the file may hold."""
    import torch

    check_checkpoint(path)
    state = _read_safetensors(path) if path.suffix == ".safetensors" else _read_pickle(path)
    state = state["state_dict"] if isinstance(state.get("state_dict"), dict) else state
    if not state or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise SurefootError(f"{path} is not a checkpoint of a model: it must map names to tensors.")
    prefixed = all(name.startswith("module.") for name in state)
    return {name.removeprefix("module.") if prefixed else name: value for name, value in state.items()}


def check_checkpoint(path: Path) -> None:
    """Raise when there is no such file."""
    if not path.is_file():
        raise SurefootError(f"There is no checkpoint {path}: give the path of a file.")


def _read_safetensors(path: Path) -> Any:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except SafetensorError as error:
        raise SurefootError(f"{path} is damaged or not a safetensors file: {error}.") from error


def _read_pickle(path: Path) -> Any:
    import torch

    try:
        loaded = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise SurefootError(
            f"{path} was refused: it holds Python objects or code, not only tensors ({_first_line(error)}). "
            "Convert it to safetensors where you trust it."
        ) from error
    except (RuntimeError, EOFError, ValueError, OSError, zipfile.BadZipFile) as error:
        if "TorchScript" in str(error):
            raise SurefootError(f"{path} was refused: a TorchScript archive is a program. Save its tensors.") from error
        raise SurefootError(f"{path} is damaged or cut short: {_first_line(error)}") from error
    return loaded if isinstance(loaded, dict) else {}


def _first_line(error: Exception) -> str:
    text = str(error).strip()
    return text.splitlines()[0][:160] if text else type(error).__name__
