"""OpenCLIP models by name, with weights from a local file."""

import pickle
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from surefoot.core import Inputs, Measurement, Step, SurefootError
from surefoot.data import sha256_of
from surefoot.models._artifact import LoadedModel, ModelDescription, save_model
from surefoot.models._build import build, openclip_config
from surefoot.models._cost import count_gmacs, count_parameters
from surefoot.models._pixels import Pixels

if TYPE_CHECKING:
    import torch

State = dict[str, "torch.Tensor"]


@dataclass(frozen=True, kw_only=True)
class OpenClipModel(Step):
    """A user's own OpenCLIP model as a model artifact: make one with `openclip_model`, which fills in `digest`.

    `model` is one of OpenCLIP's names, `checkpoint` a local file (.safetensors, or .pt/.pth/.bin of tensors only). It
    can be fine-tuned, edited and measured like a model that was trained here. Measures `parameters` and
    `gmacs_per_sample`. Raises `SurefootError` as `load_openclip` does, and for a file that has changed since.
    """

    model: str
    checkpoint: str
    digest: str
    requires: ClassVar[tuple[str, ...]] = ("torch", "open_clip", "safetensors")

    def make(self, out: Path, inputs: Inputs) -> Iterable[Measurement]:
        """Read the checkpoint, and write the model."""
        path = Path(self.checkpoint)
        loaded = load_openclip(self.model, path)
        if sha256_of(path) != self.digest:
            raise SurefootError(f"{path} has changed since this Step was described: call openclip_model again.")
        config = openclip_config(self.model)
        description = ModelDescription(
            name=self.model,
            config=config,
            pixels=loaded.pixels,
            vocabulary=None,
            parameters=count_parameters(loaded.model),
            gmacs_per_sample=count_gmacs(config),
            samples=0,
        )
        save_model(loaded.model, description, out)
        return [
            Measurement(metric="parameters", value=description.parameters, n=1),
            Measurement(metric="gmacs_per_sample", value=description.gmacs_per_sample, n=1),
        ]


def openclip_model(name: str, checkpoint: Path | str) -> OpenClipModel:
    """An `OpenClipModel` whose digest is that of the file as it is now. Raises `SurefootError` where there is none."""
    path = Path(checkpoint).resolve()
    _check_file(path)
    openclip_config(name)
    return OpenClipModel(model=name, checkpoint=str(path), digest=sha256_of(path))


def load_openclip(name: str, checkpoint: Path | str) -> LoadedModel:
    """One of OpenCLIP's models with the weights of a local checkpoint (.safetensors, or .pt/.pth/.bin of tensors only).

    Pictures are prepared with OpenCLIP's default mean, standard deviation and bicubic interpolation at the model's
    image size. Raises `SurefootError` for an unknown name, a missing or damaged file, a pickle that holds code, and
    weights of another architecture.
    """
    import open_clip

    config, path = openclip_config(name), Path(checkpoint)
    state = read_state(path)
    model = build(config)
    fill(model, state, path, name)
    size = config["vision_cfg"].get("image_size", 224)
    pixels = Pixels(size=size, mean=open_clip.OPENAI_DATASET_MEAN, std=open_clip.OPENAI_DATASET_STD)
    return LoadedModel(model=model.eval(), tokenizer=open_clip.get_tokenizer(name), pixels=pixels, name=name)


def read_state(path: Path) -> State:
    """The tensors of a checkpoint by name, without running code that the file may hold."""
    import torch

    _check_file(path)
    state = _read_safetensors(path) if path.suffix == ".safetensors" else _read_pickle(path)
    state = state["state_dict"] if isinstance(state.get("state_dict"), dict) else state
    if not state or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise SurefootError(f"{path} is not a checkpoint of a model: it must map names to tensors.")
    prefixed = all(name.startswith("module.") for name in state)
    return {name.removeprefix("module.") if prefixed else name: value for name, value in state.items()}


def _check_file(path: Path) -> None:
    if not path.is_file():
        raise SurefootError(f"There is no checkpoint {path}: give the path of a file.")


def fill(model: "torch.nn.Module", state: State, path: Path, name: str) -> None:
    """Put the tensors into the model. Raises `SurefootError` when a name or a shape does not fit."""
    from open_clip.factory import convert_state_dict, convert_to_custom_text_state_dict

    state = convert_state_dict(model, state)  # pyright: ignore[reportArgumentType]
    if "positional_embedding" in state and not hasattr(model, "positional_embedding"):
        state = convert_to_custom_text_state_dict(state)
    wanted = model.state_dict()
    problems = [
        *(f"it lacks {key}" for key in wanted if key not in state),
        *(f"the model has no {key}" for key in state if key not in wanted),
        *(
            f"{key} is {tuple(state[key].shape)}, the model's is {tuple(value.shape)}"
            for key, value in wanted.items()
            if key in state and state[key].shape != value.shape
        ),
    ]
    if problems:
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        raise SurefootError(f"The checkpoint {path} is not one of a {name}: {problems[0]}{more}.")
    model.load_state_dict(state)


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
