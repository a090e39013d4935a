"""Open a client by what the user names: a directory, a GGUF file, an endpoint, or the packaged model."""

from pathlib import Path
from urllib.parse import SplitResult, urldefrag, urlsplit

from surefoot.core import SurefootError
from surefoot.language._clients._client import Answers, Client, Queue, Source
from surefoot.language._clients._endpoint import open_endpoint
from surefoot.language._clients._llama import Llama, gguf_file, llama_build
from surefoot.language._clients._protocol import ClientOptions
from surefoot.language._clients._torch import Torch
from surefoot.language._models._language import model_digest

DEFAULT_OPTIONS = ClientOptions()


def open_client(model: str | Path, options: ClientOptions = DEFAULT_OPTIONS, *, cache: Path | None = None) -> Client:
    """A client of the model that is named; close it, or use it in a `with`.

    `model` is a directory in Hugging Face's form (run by torch), a `.gguf` file (run by llama.cpp in this process),
    `http(s)://host/v1#name` (an OpenAI-compatible endpoint and the model's name there), or "smollm2" (the packaged
    SmolLM2-135M-Instruct, run by llama.cpp). `cache` is the file of all answers, see `answers_file`; without it they
    are kept in memory alone. Raises `SurefootError` for anything else.
    """
    most = options.connections if "://" in str(model) else 1  # here, so that no answer depends on its neighbours
    queue = Queue(options.per_minute, options.timeout, most)
    return Client(_source(str(model), options), options, Answers(cache), queue)


def _source(model: str, options: ClientOptions) -> Source:
    if "://" in model:
        return open_endpoint(*endpoint_of(model, options.key_variable), options)
    if model == "smollm2" or model.endswith(".gguf"):
        path = gguf_file(model)
        return Llama(path, options, llama_build(path, options))
    if (Path(model) / "config.json").is_file():
        return Torch(Path(model), options, model_digest(Path(model)))
    raise SurefootError(
        f"'{model}' is no model: give a directory with config.json, a .gguf file, http(s)://host/v1#name, or smollm2."
    )


def endpoint_of(model: str, key_variable: str = DEFAULT_OPTIONS.key_variable) -> tuple[str, str]:
    """The base URL and the model's name in `http(s)://host/v1#name`. Raises for what is none or holds a secret."""
    url, name = urldefrag(model)
    parts = web_address(url)
    if parts.username or parts.password or parts.query:
        raise SurefootError(
            f"The URL of {parts.hostname} holds a user, a password or a query: give the key in the environment "
            f"variable {key_variable}, so that it is written nowhere."
        )
    return url.rstrip("/"), name


def web_address(url: str, what: str = "The URL") -> SplitResult:
    """The parts of an http or https URL. Raises for what is none."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        raise SurefootError(f"{what} cannot be read: its host or port is none.") from error
    if parts.scheme not in ("http", "https") or not host:
        raise SurefootError(f"{what} {url} must begin with http:// or https:// and name a host.")
    return parts
