"""A web server on loopback that answers as it is told, and remembers what it was asked."""

import gzip
import io
import struct
import threading
import time
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from PIL import Image

Route = Callable[["Handler"], None]


def picture(form: str = "JPEG", size: tuple[int, int] = (300, 200), mode: str = "RGB", **more: object) -> bytes:
    """A picture with a dark upper left quarter."""
    image = Image.linear_gradient("L").resize(size).convert(mode)
    image.paste(Image.new(mode, (size[0] // 2, size[1] // 2)))
    out = io.BytesIO()
    image.save(out, form, **more)
    return out.getvalue()


def exif_picture() -> bytes:
    """300 x 200, to be turned by 90 degrees, with a place on the earth."""
    exif = Image.Exif()
    exif[0x0112] = 6
    exif.get_ifd(0x8825)[1] = "N"
    return picture(exif=exif)


@cache
def png_bomb(side: int) -> bytes:
    """A small file of side x side black pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    packer = zlib.compressobj(1)
    rows = b"".join(packer.compress(bytes(1 + side)) for _ in range(side)) + packer.flush()
    head = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def reply(body: bytes = b"", status: int = 200, *headers: tuple[str, str], length: int | None = None) -> Route:
    def answer(handler: "Handler") -> None:
        handler.send_response(status)
        for name, value in headers:
            handler.send_header(name, value)
        handler.send_header("Content-Length", str(len(body) if length is None else length))
        handler.end_headers()
        handler.wfile.write(body)
        handler.close_connection = length is not None

    return answer


def zipped(body: bytes) -> Route:
    return reply(gzip.compress(body), 200, ("Content-Encoding", "gzip"))


def endless(handler: "Handler") -> None:
    handler.send_response(200)
    handler.end_headers()
    handler.close_connection = True
    with suppress(OSError):
        while True:
            handler.wfile.write(b"\xff\xd8\xff" + bytes(65536))


def slow(handler: "Handler") -> None:
    handler.send_response(200)
    handler.send_header("Content-Length", "1000")
    handler.end_headers()
    handler.close_connection = True
    with suppress(OSError):
        for _ in range(30):
            handler.wfile.write(b"x")
            time.sleep(0.2)


def hang_up(handler: "Handler") -> None:
    handler.close_connection = True


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    web: "Web"

    def do_GET(self) -> None:
        self.web.see(self)

    def log_message(self, format: str, *args: object) -> None: ...


class Server(ThreadingHTTPServer):
    request_queue_size = 128
    daemon_threads = True

    def handle_error(self, *given: object) -> None:
        """Clients hang up on purpose."""


class Web:
    """`routes` by path; what has none is 404. `asked` counts paths, `most` is the largest number at once."""

    def __init__(self, host: str) -> None:
        self.routes: dict[str, Route] = {}
        self.asked: Counter[str] = Counter()
        self.hosts: Counter[str] = Counter()
        self.agents: set[str] = set()
        self.now = self.most = 0
        self.wait = 0.0
        self._lock = threading.Lock()
        self.server = Server((host, 0), type("Own", (Handler,), {"web": self}))
        self.base = f"http://{host}:{self.server.server_port}"

    def see(self, handler: Handler) -> None:
        with self._lock:
            self.asked[handler.path] += 1
            self.hosts[handler.headers["Host"]] += 1
            self.agents.add(handler.headers["User-Agent"])
            self.now += 1
            self.most = max(self.most, self.now)
        time.sleep(self.wait)
        with self._lock:
            self.now -= 1
        self.routes.get(handler.path, reply(b"no such page", 404))(handler)


@contextmanager
def serving(host: str = "127.0.0.1") -> Iterator[Web]:
    web = Web(host)
    thread = threading.Thread(target=web.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield web
    finally:
        web.server.shutdown()
        web.server.server_close()
        thread.join()
