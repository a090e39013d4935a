"""An OpenAI-compatible endpoint, asked with patience and believed nothing."""

import os
import random
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from threading import Event
from typing import TYPE_CHECKING, Any

from surefoot.core import SurefootError, missing_module
from surefoot.language._clients._client import Call, GivenUpError, RefusedError
from surefoot.language._clients._protocol import ClientOptions, Completion, Request
from surefoot.language._clients._wire import ShapeError, api_of, body_of, error_of, read_completion, read_json

if TYPE_CHECKING:
    import httpx

_PATHS = {"completions": "/completions", "chat": "/chat/completions"}
_LOOPBACK = ("localhost", "127.0.0.1", "::1")
_NO_CREDIT = ("insufficient_quota", "billing_hard_limit_reached")  # status 429 that no wait will mend


@dataclass(frozen=True)
class _Reply:
    status: int
    headers: Mapping[str, str]
    content: bytes

    @property
    def told(self) -> tuple[str, Mapping[str, Any]]:
        try:
            return error_of(read_json(self.content))
        except ShapeError:
            return " ".join(self.content[:200].decode("utf-8", "replace").split()), {}


@dataclass(frozen=True)
class Endpoint:
    """The model `model` at the base URL `url` (`https://host/v1`)."""

    url: str
    model: str
    options: ClientOptions
    key: str = field(repr=False)
    http: "httpx.Client"
    answered: Event = field(default_factory=Event, repr=False, compare=False)

    @property
    def name(self) -> str:
        """The model's name, else the URL."""
        return self.model or self.url

    @property
    def identity(self) -> str:
        """What is served (the build where it is known, else the URL), the model's name, and the form of requests."""
        form = (self.options.api, self.options.token_limit, *sorted(map(repr, self.options.body)))
        return " | ".join(("endpoint", self.options.build or self.url, self.model, *form))

    def close(self) -> None:
        """Close the connections."""
        self.http.close()

    def ask(self, request: Request, call: Call) -> Completion:
        """The whole answer, after as many tries as the options allow."""
        path = _PATHS[api_of(request, self.options)]
        reply = self._patiently(path, body_of(request, self.options, self.model), call)
        if reply.status >= 300:
            raise self._refusal(reply, path)
        try:
            told = read_json(reply.content, reply.headers.get("content-type", ""))
            return read_completion(told, request, self.model)
        except (ShapeError, RefusedError) as error:
            raise self._error(f"{error}.", type(error)) from error

    def _patiently(self, path: str, body: dict[str, Any], call: Call) -> _Reply:
        import httpx

        wait, trouble = 0.0, ""
        for tried in range(self.options.retries + 1):
            call.sleep(wait)
            wait = min(self.options.first_wait * 2**tried, self.options.longest_wait) * random.uniform(0.75, 1.25)
            try:
                with call.turn():
                    reply = self._once(path, body, call)
            except (httpx.TransportError, TimeoutError) as error:
                if "CERTIFICATE" in str(error):
                    raise self._error(f"has no certificate that is trusted here: {error}.") from error
                new = not self.answered.is_set()
                if new and isinstance(error, httpx.ConnectError) and tried >= min(1, self.options.retries):
                    why = "nothing listens there" if "refused" in str(error) else "no connection"
                    raise self._error(f"cannot be reached: {why} ({error}).") from error
                trouble = f"{type(error).__name__}: {error}"
                continue
            if not _may_pass(reply):
                return reply
            trouble, asked_for = f"status {reply.status}: {reply.told[0]}", _retry_after(reply.headers)
            if asked_for is not None:
                if asked_for > self.options.longest_wait:
                    raise self._error(f"wants a wait of {asked_for:.0f} seconds ({trouble}): ask again later.")
                call.queue.pause(asked_for)
                wait = asked_for
        said = f"failed {self.options.retries + 1} times ({trouble})."
        if trouble.startswith("status 429"):  # it would answer, later: no request is refused
            raise self._error(f"{said} Run again later to go on.")
        raise self._error(said, GivenUpError)

    def _once(self, path: str, body: dict[str, Any], call: Call) -> _Reply:
        """One try. Raises `TimeoutError` also for a server that sends a byte now and then."""
        import httpx

        seconds = max(0.01, call.left(self.options.timeout))
        ends, content = time.monotonic() + seconds, bytearray()
        try:
            with self.http.stream("POST", self.url + path, json=body, timeout=seconds) as response:
                for chunk in response.iter_bytes():
                    content += chunk
                    if len(content) > self.options.largest_response:
                        raise self._error(f"sent more than {self.options.largest_response} bytes (largest_response).")
                    if time.monotonic() > ends:
                        raise TimeoutError(f"no whole answer in {seconds:.0f} seconds")
                self.answered.set()
                return _Reply(response.status_code, response.headers, bytes(content))
        except httpx.DecodingError as error:
            raise self._error(f"sent bytes that are not what their encoding says: {error}.") from error

    def _refusal(self, reply: _Reply, path: str) -> SurefootError:
        message, details = reply.told
        if {"n_prompt_tokens", "n_ctx"} <= details.keys():
            long = f"refused a prompt of {details['n_prompt_tokens']} tokens: its window is {details['n_ctx']}."
            return self._error(long, RefusedError)
        said = f"status {reply.status}" + (f": {message}" if message else "")
        if reply.status < 400:
            where = reply.headers.get("location", "elsewhere")
            return self._error(f"redirects to {where} (redirects are not followed): give the URL itself.")
        if reply.status in (401, 403):
            how = f"The key is read from {self.options.key_variable}, which is {'refused' if self.key else 'not set'}."
            return self._error(f"refused access ({said}). {how}")
        if reply.status == 429:
            return self._error(f"will not answer before it is paid ({said}).")
        if reply.status in (404, 405, 501):
            other = "chat" if path == _PATHS["completions"] else "completions"
            hint = f"Check both, or try api='{other}' (--template {other.removesuffix('s')})"
            return self._error(f"has no {path}, or no model '{self.model}' ({said}). {hint}.")
        return self._error(f"refused a request ({said}).", RefusedError)

    def _error(self, what: str, kind: type[SurefootError] = SurefootError) -> SurefootError:
        """A sentence that begins with the endpoint; a key that a server repeats is not repeated."""
        said = f"The endpoint {self.url} {what}"
        return kind(said.replace(self.key, "[key]") if self.key else said)


def open_endpoint(url: str, model: str, options: ClientOptions) -> Endpoint:
    """An endpoint with its connections and the key of the environment."""
    try:
        import httpx
    except ImportError as error:
        raise missing_module("httpx") from error
    key = os.environ.get(options.key_variable, "").strip()
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    limits = httpx.Limits(max_connections=options.connections, max_keepalive_connections=options.connections)
    local = httpx.URL(url).host in _LOOPBACK  # never through a proxy
    secure = not url.startswith("http:")  # plain HTTP needs no certificates, and reading them takes long
    http = httpx.Client(headers=headers, limits=limits, trust_env=not local, follow_redirects=False, verify=secure)
    return Endpoint(url, model, options, key, http)


def _may_pass(reply: _Reply) -> bool:
    """Whether the same request may be answered later."""
    if reply.status == 429:
        details = reply.told[1]
        return not {str(details.get("code")), str(details.get("type"))} & set(_NO_CREDIT)
    return reply.status == 408 or (reply.status >= 500 and reply.status != 501)


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds that a server asks to wait, given as seconds or as a date; None where it says nothing readable."""
    told = headers.get("retry-after", "")
    with suppress(ValueError):
        return max(0.0, float(told))
    with suppress(ValueError):
        moment = parsedate_to_datetime(told)
        return max(0.0, (moment - datetime.now(UTC)).total_seconds()) if moment.tzinfo else None
    return None
