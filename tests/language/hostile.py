"""A server on loopback that answers as it is told, and counts what it was asked."""

import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Reply:
    """What goes back: a status, a body (JSON, unless it is bytes), and headers.

    `cut` closes the connection half way; `drip` are seconds before each byte.
    """

    body: Any = None
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    cut: bool = False
    drip: float = 0.0


@dataclass
class Asked:
    """Where the server is, and what it was asked: bodies in order of arrival, headers, and prompts with their count."""

    url: str
    bodies: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)

    @property
    def prompts(self) -> Counter[str]:
        return Counter(body["prompt"] for body in self.bodies)


def said(text: str, **more: Any) -> dict[str, Any]:
    """A completion in the shape of the specification."""
    return {"choices": [{"text": text, "finish_reason": "stop"}], **more}


@contextmanager
def server(reply: Callable[[dict[str, Any], int], Reply]) -> Iterator[Asked]:
    """A server whose n-th answer (from 0) is `reply(body, n)`."""
    lock = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with lock:
                number = len(asked.bodies)
                asked.bodies.append(body)
                asked.headers.append(dict(self.headers))
                asked.paths.append(self.path)
            told = reply(body, number)
            content = told.body if isinstance(told.body, bytes) else json.dumps(told.body).encode()
            head = {"Content-Type": "application/json", "Content-Length": str(len(content))} | told.headers
            lines = "".join(f"{name}: {value}\r\n" for name, value in head.items())
            try:
                self.wfile.write(f"HTTP/1.1 {told.status} Told\r\n{lines}\r\n".encode())
                for byte in content if told.drip else ():
                    time.sleep(told.drip)
                    self.wfile.write(bytes([byte]))
                self.wfile.write(b"" if told.drip else content[: len(content) // 2] if told.cut else content)
                self.close_connection = told.cut
            except (BrokenPipeError, ConnectionResetError):
                self.close_connection = True

        def log_message(self, format: str, *args: Any) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        request_queue_size = 128

        def handle_error(self, request: Any, client_address: Any) -> None:
            pass

    listening = Server(("127.0.0.1", 0), Handler)
    asked = Asked(url=f"http://127.0.0.1:{listening.server_port}/v1")
    thread = threading.Thread(target=listening.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield asked
    finally:
        listening.shutdown()
        listening.server_close()
        thread.join()
