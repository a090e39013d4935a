"""OpenCLIP models from their configs, never from a download."""

from collections.abc import Callable, Mapping
from copy import deepcopy
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from surefoot.core import SurefootError, missing_module

if TYPE_CHECKING:
    import torch
    from open_clip import CLIP, CoCa, CustomTextCLIP

Config = dict[str, Any]
Tokenizer = Callable[..., "torch.Tensor"]  # (texts, context_length=None): ids (texts, length)
TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "spiece.model", "sentencepiece.bpe.model", "vocab.txt")
_TOWER = "hf_model_name"
ENCODER, ENCODER_ARGUMENTS = "encoder", "encoder_arguments"


def build(config: Config, tokenizer: Path | None = None) -> "CLIP | CustomTextCLIP | CoCa":
    """A new OpenCLIP model with random weights from torch's generator. Raises for a config that fits no model.

    A text tower of Hugging Face is described by `config.json` in the directory of its `tokenizer`. A config with an
    `encoder` is an image tower alone.
    """
    if encoder := config.get(ENCODER):
        from surefoot.contrastive._models._tower import build_tower

        tower: Any = build_tower(encoder, config.get(ENCODER_ARGUMENTS, {}))
        return tower
    from open_clip import CLIP, CoCa, CustomTextCLIP

    config = deepcopy(config)
    text, coca = config["text_cfg"], "multimodal_cfg" in config
    custom = config.pop("custom_text", False) or _TOWER in text or coca
    make: Any = CoCa if coca else CustomTextCLIP if custom else CLIP
    config["vision_cfg"]["timm_model_pretrained"] = False
    if text.get(_TOWER):
        text[_TOWER], text["hf_model_pretrained"] = str(_tower(tokenizer, text[_TOWER])), False
    try:
        return make(**config)
    except (TypeError, ValueError, AttributeError, KeyError, AssertionError, ArithmeticError) as error:
        raise SurefootError(
            f"The model's config is of none that OpenCLIP can build: {str(error).partition(chr(10))[0]}."
        ) from error


def _tower(tokenizer: Path | None, name: str) -> Path:
    if tokenizer is None or not (tokenizer / "config.json").is_file():
        raise SurefootError(
            f"The text tower {name} is described by its config.json, which is not in "
            f"{tokenizer or 'a directory given with --tokenizer'}: put both there, nothing is downloaded here."
        )
    try:
        import transformers
    except ModuleNotFoundError as error:
        raise missing_module("transformers") from error
    transformers.logging.set_verbosity_error()
    return tokenizer


def openclip_config(name: str) -> Config:
    """The config of one of OpenCLIP's models. Raises for an unknown name."""
    import open_clip

    config = open_clip.get_model_config(name) if not name.startswith(("hf-hub:", "local-dir:")) else None
    if config is None:
        near = get_close_matches(name, open_clip.list_models(), n=3)
        hint = f"Did you mean {' or '.join(near)}?" if near else "open_clip.list_models() names them all."
        raise SurefootError(f"OpenCLIP has no model named '{name}'. {hint}")
    return config


def hosted_tokenizer(config: Config) -> str | None:
    """The tokenizer of Hugging Face that a model needs, None for those that OpenCLIP brings."""
    return config["text_cfg"].get("hf_tokenizer_name") or config["text_cfg"].get(_TOWER)


def tokenizer_in(*folders: Path | None) -> Path | None:
    """The first of the folders that holds the files of a tokenizer."""
    return next((one for one in folders if one and any((one / name).is_file() for name in TOKENIZER_FILES)), None)


def open_tokenizer(config: Config, directory: Path | None) -> Tokenizer:
    """The tokenizer of a model: OpenCLIP's own, or one of Hugging Face from a directory on disk."""
    if ENCODER in config:
        return _no_words
    import open_clip

    text: Mapping[str, Any] = config["text_cfg"]
    length = text.get("context_length", open_clip.tokenizer.DEFAULT_CONTEXT_LENGTH)
    options = dict(text.get("tokenizer_kwargs") or {})
    if not (hosted := hosted_tokenizer(config)):
        return open_clip.SimpleTokenizer(context_length=length, **options)
    if directory is None:
        raise SurefootError(
            f"The model needs the tokenizer {hosted}: give the directory of its files "
            f"({TOKENIZER_FILES[0]}, ...) with --tokenizer, nothing is downloaded here."
        )
    try:
        return open_clip.tokenizer.HFTokenizer(
            str(directory),
            context_length=length,
            tokenizer_mode=text.get("tokenizer_mode"),
            local_files_only=True,
            **options,
        )
    except ModuleNotFoundError as error:
        raise missing_module("transformers") from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise SurefootError(
            f"{directory} holds no tokenizer that can be read: {str(error).splitlines()[0]}."
        ) from error


def _no_words(texts: list[str], context_length: int | None = None) -> NoReturn:
    raise SurefootError("An image encoder knows no words: measure it with --task probe or few-shot, or tune it.")
