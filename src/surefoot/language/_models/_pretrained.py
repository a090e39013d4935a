"""Models of transformers in directories: which files they are, and how they are read without noise, network or code."""

import json
import logging
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any

from surefoot.core import SurefootError, digest_of, missing_module

CONFIG, TOKENIZER, TOKENIZER_CONFIG = "config.json", "tokenizer.json", "tokenizer_config.json"
WEIGHTS = "model.safetensors"
_FILES = re.compile(
    r".*config\.json|.*\.safetensors(\.index\.json)?|(token|vocab|merges|special_tokens|added_tokens).*\.(json|txt)"
    r"|.*\.(model|jinja)"
)


def model_files(directory: Path) -> list[Path]:
    """Configs, weights that run no code, and the tokenizer's. Raises `SurefootError` for no model, and for a pickle."""
    if not directory.is_dir():
        raise SurefootError(f"{directory} is not a directory with a model in it.")
    files = sorted(file for file in directory.iterdir() if _FILES.fullmatch(file.name))
    names = {file.name for file in files}
    if CONFIG not in names:
        raise SurefootError(f"{directory} is not a model of transformers: it has no {CONFIG}.")
    if not any(name.endswith(".safetensors") for name in names):
        pickles = [*directory.glob("*.bin"), *directory.glob("*.pt")]
        cure = f"{pickles[0].name} is a pickle, which could run code: save it as safetensors" if pickles else "add them"
        raise SurefootError(f"{directory} has no weights in safetensors: {cure}.")
    if not any(re.fullmatch(r"tokenizer.*\.json|vocab\..*|.*\.model", name) for name in names):
        raise SurefootError(f"{directory} has no tokenizer: add {TOKENIZER}.")
    return files


def model_digest(directory: Path) -> str:
    """One digest of the files of a model, which say what it answers. 64 hexadecimal digits. Raises as `model_files`."""
    told = [[path.name, digest_of(path)] for path in model_files(directory)]
    return sha256(json.dumps(told).encode()).hexdigest()


def check_weights(model: Any, tokenizer: Any, directory: Path) -> None:
    """Raises `SurefootError` for weights that are not finite, and for more tokens than the model has embeddings of."""
    for name, value in model.state_dict().items():
        if not value.isfinite().all():
            raise SurefootError(f"The weights in {directory} are damaged: {name} holds a NaN or an infinite number.")
    if len(tokenizer) > model.get_input_embeddings().num_embeddings:
        raise SurefootError(
            f"The tokenizer in {directory} has {len(tokenizer)} tokens: the model has embeddings of fewer."
        )


@contextmanager
def quiet_transformers(failing: str) -> Iterator[None]:
    """transformers without network, progress bars and hints; whatever it raises is a sentence that begins `failing`."""
    os.environ.setdefault("HF_HUB_OFFLINE", "1")  # read when the hub's client is first imported
    try:
        from transformers.utils import logging as told
    except ImportError as error:
        raise missing_module("transformers") from error
    level, bars = told.get_verbosity(), told.is_progress_bar_enabled()
    told.set_verbosity(logging.CRITICAL)
    told.disable_progress_bar()
    try:
        yield
    except SurefootError:
        raise
    except Exception as error:  # of many kinds, from many libraries
        reason = " ".join(str(error).split())[:300]
        raise SurefootError(f"{failing}: {reason.rstrip('.')}.") from error
    finally:
        told.set_verbosity(level)
        if bars:
            told.enable_progress_bar()
