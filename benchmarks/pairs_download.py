"""CPU per picture of `surefoot pairs download` against img2dataset, on the same URLs of a server on loopback.

Run with the Python of Surefoot; `--peer` is the Python of an environment with img2dataset 1.47.0. Both write
WebDataset, 256 pixels with a border, quality 95, with two processes that decode. CPU and memory are of whole process
trees without the server; the cost of starting (a run over two URLs) is subtracted. Memory is the largest sum of the
proportional shares (PSS) of a tree, looked at five times a second.
"""

import argparse
import asyncio
import io
import json
import os
import re
import resource
import shutil
import ssl
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

import duckdb
import numpy as np
from PIL import Image

PEER = """
import sys
from img2dataset import download
if __name__ == "__main__":
    download(url_list=sys.argv[1], input_format="csv", url_col="url", caption_col="text", output_folder=sys.argv[2],
        output_format="webdataset", image_size=256, resize_mode="border", encode_quality=95, processes_count=2,
        thread_count=32, number_sample_per_shard=1000, compute_hash="sha256")
"""
OURS = "from surefoot.cli import main; main()"


def photograph(width: int, height: int, quality: int, seed: int) -> bytes:
    """A picture with the detail of a photograph."""
    drawn = np.random.default_rng(seed)
    coarse = np.clip(drawn.normal(128, 60, (height // 16 + 2, width // 16 + 2, 3)), 0, 255).astype(np.uint8)
    smooth = np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC), float)
    out = io.BytesIO()
    noisy = np.clip(smooth + drawn.normal(0, 6, smooth.shape), 0, 255).astype(np.uint8)
    Image.fromarray(noisy).save(out, "JPEG", quality=quality)
    return out.getvalue()


SIZES = {"21 KB": (390, 300, 79), "101 KB": (1000, 760, 69)}


async def serve(port: int, bodies: list[bytes], certificate: Path | None) -> None:
    """Answers every GET with one of the pictures, over kept connections."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                path = head.split(b" ", 2)[1]
                number = path[1:-4]
                body, status = (bodies[int(number) % len(bodies)], b"200 OK") if number.isdigit() else (b"", b"404 No")
                writer.write(b"HTTP/1.1 %s\r\nContent-Length: %d\r\n\r\n" % (status, len(body)) + body)
                await writer.drain()
                if b"connection: close" in head.lower():
                    break
        except (asyncio.IncompleteReadError, ConnectionError, ssl.SSLError):
            pass
        finally:
            writer.close()

    context = None
    if certificate:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(certificate, certificate.with_suffix(".key"))
    server = await asyncio.start_server(answer, "127.0.0.1", port, ssl=context, backlog=512)
    async with server:
        await server.serve_forever()


def spent(command: list[str], environment: dict[str, str]) -> tuple[float, float]:
    """CPU seconds and the most MiB of a command and all below it."""
    before, most = resource.getrusage(resource.RUSAGE_CHILDREN), 0.0
    silent = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    with subprocess.Popen(command, env=environment, **silent) as running:
        while running.poll() is None:
            most = max(most, sum(map(share, tree(running.pid))))
            time.sleep(0.2)
    if running.returncode:
        raise SystemExit(f"{command} ended with {running.returncode}.")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, most


def tree(process: int) -> list[int]:
    """A process and all below it."""
    below = []
    for file in Path(f"/proc/{process}/task").glob("*/children"):
        with suppress(OSError):
            below += map(int, file.read_text().split())
    return [process, *(one for child in below for one in tree(child))]


def share(process: int) -> float:
    """MiB that a process has for itself, and of what it shares its part."""
    with suppress(OSError):
        told = re.search(r"^Pss:\s+(\d+)", Path(f"/proc/{process}/smaps_rollup").read_text(), re.MULTILINE)
        return int(told[1]) / 1024 if told else 0.0
    return 0.0


def table(place: Path, base: str, count: int) -> Path:
    """The URLs."""
    path = place / f"urls{count}.csv"
    path.write_text("url,text\n" + "".join(f"{base}/{number}.jpg,picture {number}\n" for number in range(count)))
    return path


def both(place: Path, base: str, count: int, peer: str, environment: dict[str, str]) -> dict[str, tuple[float, float]]:
    """CPU seconds and MiB of both over so many URLs; every one must give a picture."""
    urls, found = table(place, base, count), {}
    (place / "peer.py").write_text(PEER)
    for name in ("ours", "peer"):
        out = place / "out"
        shutil.rmtree(out, ignore_errors=True)
        ours = [sys.executable, "-c", OURS, "pairs", "download", str(urls), "--out", str(out), "--allow-private"]
        ours += ["--per-host", "64", "--contact", "benchmark"]
        theirs = [peer, str(place / "peer.py"), str(urls), str(out)]
        found[name] = spent(ours if name == "ours" else theirs, environment)
        kept = duckdb.sql(f"SELECT count(*) FROM '{out}/*.parquet' WHERE status = 'success'").fetchall()[0][0]
        if kept != count:
            raise SystemExit(f"{name}: {kept} of {count} URLs gave a picture.")
    return found


def main() -> None:
    """Print ratios."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--peer", required=True, help="the Python with img2dataset")
    parser.add_argument("--count", type=int, default=500)
    parser.add_argument("--only", default="", help="cases that begin so: http, https")
    parser.add_argument("--port", type=int, default=18743)
    parser.add_argument("--serve", nargs=2, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.serve:
        size, certificate = given.serve
        bodies = [photograph(*SIZES[size], seed) for seed in range(40)]
        asyncio.run(serve(given.port, bodies, Path(certificate) if certificate else None))
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        certificate = place / "own.pem"
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=127.0.0.1",
             "-addext", "subjectAltName=IP:127.0.0.1",
             "-keyout", str(certificate.with_suffix(".key")), "-out", str(certificate)],
            check=True, capture_output=True,
        )  # fmt: skip
        trust = place / "trust.pem"
        known = ssl.get_default_verify_paths().cafile or "/etc/ssl/certs/ca-certificates.crt"
        trust.write_text(Path(known).read_text() + certificate.read_text())  # as many authorities as elsewhere
        environment = os.environ | {"SSL_CERT_FILE": str(trust), "CURL_CA_BUNDLE": str(trust), "OMP_NUM_THREADS": "1"}
        environment |= {"NO_ALBUMENTATIONS_UPDATE": "1"}
        for case, (size, scheme) in {"http, 21 KB": ("21 KB", "http"), "http, 101 KB": ("101 KB", "http"),
                                     "https, 21 KB": ("21 KB", "https")}.items():  # fmt: skip
            if not case.startswith(given.only):
                continue
            mine = [sys.executable, __file__, "--peer", "x", "--port", str(given.port), "--serve", size]
            with subprocess.Popen([*mine, str(certificate) if scheme == "https" else ""]) as server:
                base = f"{scheme}://127.0.0.1:{given.port}"
                subprocess.run(
                    ["curl", "-sk", "--retry", "60", "--retry-connrefused", "--retry-delay", "1", base], check=False
                )
                start, whole = (both(place, base, count, given.peer, environment) for count in (2, given.count))
                each = {name: (whole[name][0] - start[name][0]) / (given.count - 2) for name in whole}
                told = {"cpu_per_picture": round(each["ours"] / each["peer"], 3)}
                told |= {
                    "start": round(start["ours"][0] / start["peer"][0], 3),
                    "ours_ms": round(each["ours"] * 1000, 2),
                }
                told |= {"peer_ms": round(each["peer"] * 1000, 2), "ours_mib": round(whole["ours"][1])}
                print(case, json.dumps(told | {"peer_mib": round(whole["peer"][1])}), flush=True)
                server.terminate()
            given.port += 1


if __name__ == "__main__":
    main()
