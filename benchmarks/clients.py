"""Requests a second of the client of endpoints, against a server on loopback that answers at once.

Beside it: httpx in a plain loop on one connection, which keeps nothing, and the server's own limit, asked by threads
that write and read bytes on open sockets. All in turns, in one run, in a process apart from the server. Also: how many
known answers a second are read from the cache.

    python benchmarks/clients.py [requests] [rounds]
"""

import json
import multiprocessing
import socket
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from multiprocessing.connection import Connection
from pathlib import Path
from urllib.parse import urlsplit

import httpx

from surefoot.language import ClientOptions, Request, open_client

ANSWER = json.dumps({"choices": [{"text": "an answer", "finish_reason": "stop"}]}).encode()
CONNECTIONS = 8


class _AtOnce(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(ANSWER)}\r\n\r\n"
        self.wfile.write(head.encode() + ANSWER)

    def log_message(self, format: str, *args: object) -> None:
        pass


def serve(told: Connection) -> None:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _AtOnce)
    server.daemon_threads = True
    told.send(f"http://127.0.0.1:{server.server_port}/v1")
    server.serve_forever()


def ours(url: str, count: int, directory: Path) -> None:
    with open_client(url, ClientOptions(connections=CONNECTIONS), cache=directory / "answers.sqlite") as client:
        client.answer([Request(prompt=f"question {at}") for at in range(count)])


def plain(url: str, count: int, directory: Path) -> None:
    with httpx.Client(trust_env=False) as client:
        for at in range(count):
            client.post(f"{url}/completions", json={"prompt": f"question {at}", "max_tokens": 256}).json()


def limit(url: str, count: int, directory: Path) -> None:
    def ask(share: int) -> None:
        with socket.create_connection((urlsplit(url).hostname, urlsplit(url).port or 80)) as wire:
            body = json.dumps({"prompt": "question", "max_tokens": 256}).encode()
            head = f"POST /v1/completions HTTP/1.1\r\nHost: here\r\nContent-Length: {len(body)}\r\n\r\n".encode()
            for _ in range(share):
                wire.sendall(head + body)
                while not wire.recv(65536).endswith(ANSWER):
                    pass

    with ThreadPoolExecutor(CONNECTIONS) as pool:
        list(pool.map(ask, [count // CONNECTIONS] * CONNECTIONS))


def known(url: str, count: int, directory: Path) -> None:
    ours(url, count, directory)


def measure(ways: dict[str, Callable[[str, int, Path], None]], url: str, count: int, rounds: int) -> None:
    rates: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        with tempfile.TemporaryDirectory() as directory:
            for name, way in ways.items():
                begun = time.perf_counter()
                way(url, count, Path(directory))
                rates[name].append(count / (time.perf_counter() - begun))
    for name, found in rates.items():
        ratio = statistics.median(one / base for one, base in zip(found, rates["httpx in a loop"], strict=True))
        print(f"{name:40} {statistics.median(found):9.0f} a second, {ratio:6.2f} times httpx in a loop")


def main() -> None:
    count, rounds = (int(value) for value in [*sys.argv[1:], "800", "5"][:2])
    mine, theirs = multiprocessing.Pipe()
    server = multiprocessing.get_context("spawn").Process(target=serve, args=(theirs,), daemon=True)
    server.start()
    url = mine.recv()
    ways = {
        "httpx in a loop": plain,
        f"the client, {CONNECTIONS} connections": ours,
        "the client, all known": known,
        f"the server's limit, {CONNECTIONS} sockets": limit,
    }
    measure(ways, url, count, rounds)
    server.terminate()


if __name__ == "__main__":
    main()
