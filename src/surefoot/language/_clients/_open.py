"""Open a client by what the user names: a directory, a GGUF file, an endpoint, or the packaged model."""

from pathlib import Path

from surefoot.core import SurefootError
from surefoot.language._clients._options import ClientOptions
from surefoot.language._clients._protocol import LanguageClient

DEFAULT_OPTIONS = ClientOptions()


def open_client(
    model: str | Path, options: ClientOptions = DEFAULT_OPTIONS, *, cache: Path | None = None
) -> LanguageClient:
    """A client of the model that is named.

    `model` is a directory in Hugging Face's form (run by torch), a `.gguf` file (run by llama.cpp in this process),
    `http(s)://host/v1#name` (an OpenAI-compatible endpoint and the model's name there), or "smollm2" (the packaged
    SmolLM2-135M-Instruct). `cache` is the file of all answers, see `answers_file`; without it nothing is kept.
    """
    raise SurefootError(f"The model {model} cannot be opened yet.")
