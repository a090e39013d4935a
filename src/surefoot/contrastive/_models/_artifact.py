"""A model artifact: `model.safetensors` and `model.json` in one directory, and the model that is read from it."""

import json
import shutil
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from surefoot.contrastive._models._build import Tokenizer, build, open_tokenizer
from surefoot.contrastive._models._pixels import Pixels
from surefoot.contrastive._models._tokenizer import RestrictedTokenizer
from surefoot.core import SurefootError
from surefoot.weights import read_state

if TYPE_CHECKING:
    import torch

WEIGHTS, DESCRIPTION, TOKENIZER = "model.safetensors", "model.json", "tokenizer"
State = dict[str, "torch.Tensor"]
InferencePrecision = Literal["float32", "bfloat16", "float16"]
_NO_WEIGHTS = ("position_ids", "input_resolution", "context_length", "vocab_size")
_TOKENIZER_SUFFIXES = (".json", ".model", ".txt", ".tiktoken")


@dataclass(frozen=True, kw_only=True)
class ModelDescription:
    """What `model.json` says. `config` is an OpenCLIP model config (embed_dim, vision_cfg, text_cfg).

    `vocabulary` are OpenCLIP's token ids that the text tower knows, in the order of its own ids 1, 2, ...; None: all.
    `gmacs_per_sample` are billions of multiply-accumulates of one forward pass over an image and a text. `samples` are
    the image-text pairs seen in training, repeats counted. `source` says whose `pixels` are, of a user's model.
    """

    name: str
    config: dict[str, Any]
    pixels: Pixels
    vocabulary: tuple[int, ...] | None
    parameters: int
    gmacs_per_sample: float
    samples: int
    source: str = ""


@dataclass(frozen=True, kw_only=True)
class LoadedModel:
    """An OpenCLIP model ready to embed: in evaluation mode, on the CPU in 32 bits unless placed elsewhere.

    `tokenizer(texts)` gives an int64 tensor (texts, context_length). `pixels` says how pictures are prepared.
    """

    model: Any
    tokenizer: Tokenizer
    pixels: Pixels
    name: str
    description: ModelDescription
    tokenizer_directory: Path | None = None
    device: str = "cpu"
    precision: InferencePrecision = "float32"

    @property
    def knows_words(self) -> bool:
        """Whether it has a text tower; an encoder of pictures alone has none."""
        return hasattr(self.model, "encode_text")


def placed(loaded: LoadedModel, device: str, precision: InferencePrecision) -> LoadedModel:
    """The model on a device ("cuda", "mps"), embedding by automatic mixed precision unless in 32 bits.

    Raises `SurefootError` for a device that this machine does not have.
    """
    import torch

    try:
        torch.zeros(1, device=device).cpu()  # nothing comes back from "meta"
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise SurefootError(f"There is no device '{device}' here: {str(error).splitlines()[0]}") from error
    loaded.model.to(device)
    return replace(loaded, device=device, precision=precision)


def save_model(
    model: "torch.nn.Module", description: ModelDescription, out: Path, tokenizer: Path | None = None
) -> None:
    """Write a model artifact into the directory `out`, with a copy of the files of its tokenizer."""
    from safetensors.torch import save_file

    tensors = {name: tensor.detach().contiguous().clone() for name, tensor in model.state_dict().items()}
    save_file(tensors, out / WEIGHTS, metadata={"format": "pt"})
    (out / DESCRIPTION).write_text(json.dumps({"format": 1, **asdict(description)}, indent=1) + "\n", encoding="utf-8")
    if tokenizer:
        keep = (one for one in tokenizer.iterdir() if one.is_file() and one.suffix in _TOKENIZER_SUFFIXES)
        (out / TOKENIZER).mkdir()
        for file in keep:
            shutil.copyfile(file, out / TOKENIZER / file.name)


def read_description(directory: Path) -> ModelDescription:
    """What a model artifact is. Raises `SurefootError` when the directory holds none."""
    path = directory / DESCRIPTION
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
        told.pop("format")
        pixels = told.pop("pixels")
        vocabulary = told.pop("vocabulary")
        pixels: Any = {name: tuple(value) if isinstance(value, list) else value for name, value in pixels.items()}
        known = None if vocabulary is None else tuple(vocabulary)
        return ModelDescription(pixels=Pixels(**pixels), vocabulary=known, **told)
    except FileNotFoundError as error:
        raise SurefootError(f"{directory} is not a model: it has no {DESCRIPTION}.") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise SurefootError(f"{path} does not describe a model: {error!r}.") from error


def load_model(directory: Path | str) -> LoadedModel:
    """Read a model artifact. Raises `SurefootError` when it is missing, damaged, or its weights fit no such model."""
    directory = Path(directory)
    told = read_description(directory)
    kept = directory / TOKENIZER if (directory / TOKENIZER).is_dir() else None
    model = build(told.config, kept)
    if told.vocabulary is None:
        tokenizer = open_tokenizer(told.config, kept)
    else:
        tokenizer = RestrictedTokenizer(told.vocabulary, told.config["text_cfg"]["context_length"])
    fill(model, read_state(directory / WEIGHTS), directory / WEIGHTS, told.name)
    return LoadedModel(
        model=model.eval(),
        tokenizer=tokenizer,
        pixels=told.pixels,
        name=told.name,
        description=told,
        tokenizer_directory=kept,
    )


def fill(model: "torch.nn.Module", state: State, path: Path, name: str) -> None:
    """Put the tensors into the model. Raises `SurefootError` when a name or a shape does not fit."""
    from open_clip.factory import convert_state_dict, convert_to_custom_text_state_dict

    state = convert_state_dict(model, state)  # pyright: ignore[reportArgumentType]
    if "positional_embedding" in state and not hasattr(model, "positional_embedding"):
        state = convert_to_custom_text_state_dict(state)
    wanted = model.state_dict()
    state = {key: value for key, value in state.items() if key in wanted or not key.endswith(_NO_WEIGHTS)}
    for key in ("logit_scale", "logit_bias"):  # a number, or an array of one
        if key in state and key in wanted and state[key].numel() == 1:
            state[key] = state[key].reshape(wanted[key].shape)
    if "logit_bias" in wanted:  # it changes no ranking, and models tuned without it have none
        state.setdefault("logit_bias", wanted["logit_bias"] * 0)
    problems = [
        *(f"it lacks {key}" for key in wanted if key not in state),
        *(f"the model has no {key}" for key in state if key not in wanted),
        *(
            f"{key} is {tuple(state[key].shape)}, the model's is {tuple(value.shape)}"
            for key, value in wanted.items()
            if key in state and state[key].shape != value.shape
        ),
        *(
            f"{key} is {state[key].dtype}, the model's is {value.dtype}"  # quantised, without what scales it
            for key, value in wanted.items()
            if key in state and value.is_floating_point() and not state[key].is_floating_point()
        ),
    ]
    if problems:
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        raise SurefootError(f"The checkpoint {path} is not one of a {name}: {problems[0]}{more}.")
    model.load_state_dict(state)
